// tiers/postgres_codec.h - what we say to a platform's Postgres about tenants, and what its rows mean.
//
// Tables of packaging/postgres/tenant_store.sql. A row comes flat, as one (name, field, value) per field:
// columns by their names, and the keys of the column `limits`, a JSON object, beside them. Columns that we do
// not know are the platform's own; Postgres does not send them. The sizes of what it sends are bounded in the
// question.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pooler/base/error.h"
#include "tiers/record.h"

namespace pgweir::tiers {

// What notifications of changes come on: a tenant, "tier:<name>" or "*".
inline constexpr std::string_view kPostgresChannel = "pgweir_changed";

// A statement with $1, $2 ... and their values, as texts.
struct PostgresQuery {
  std::string text;
  std::vector<std::string> values;
};

enum class PostgresTable : std::uint8_t { Tenants, Tiers };
// The rows of these names: each at most kRowBytesMax and a little.
PostgresQuery postgres_fetch(PostgresTable table, std::span<const std::string> names);
// Changes one tenant: its columns, and fields of a tier in `limits`. Its answer has a row if there is such a
// tenant.
PostgresQuery postgres_set(std::string_view tenant, const Change& change);
// A row of usage. `key`: "<day>:<run>:<tenant>".
struct PostgresUsage {
  std::string key;
  Fields fields;
};
// Sets these rows, whole. No two of them have the same key.
PostgresQuery postgres_put_usage(std::span<const PostgresUsage> rows);
// Fails as that one does where a role or a server may not write, and sets nothing.
PostgresQuery postgres_try_usage();
// Fails where the tables are not there or not to be read; then listens. Statements of this connection end
// before `timeout`, after which it is given up: the next may be faster.
std::string postgres_setup(std::chrono::milliseconds timeout);

// Whether Postgres can have such a name: others need not be asked for, and would fail all that are asked for
// with them.
bool is_postgres_text(std::string_view name);

// A text[] of these.
std::string postgres_array(std::span<const std::string> texts);

// What Postgres answered to postgres_fetch(): a cell is nothing where it is null.
using PostgresRow = std::vector<std::optional<std::string>>;
// For each of `names`, which may have one twice, its fields, none if there is no such row, or why it is not
// to be used.
std::vector<Expected<Fields>> postgres_fields(std::span<const std::string> names,
                                              std::vector<PostgresRow> rows);

// The error is about the values of the rows that were asked for, not about us: one by one, others may be
// good.
bool postgres_blames_row(std::string_view sqlstate);
// The same of rows that were to be written: a check or a trigger of the table's owner may refuse one, too.
bool postgres_refuses_row(std::string_view sqlstate);
// It took longer than postgres_setup() allows.
bool postgres_was_slow(std::string_view sqlstate);
// What to do about an error, for whoever runs pgweir; empty: nothing that we know.
std::string_view postgres_hint(std::string_view sqlstate);

}  // namespace pgweir::tiers
