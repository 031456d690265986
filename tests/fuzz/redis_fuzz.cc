// tests/fuzz/redis_fuzz.cc - whatever a Redis answers, and however it is cut: bounded replies or an error,
// the same ones at once and byte by byte; and any hash, or cells of a table, as a row of a tenant or tier.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "pooler/base/check.h"
#include "tiers/postgres_codec.h"
#include "tiers/redis_codec.h"

using namespace pgweir;
using namespace pgweir::tiers;

namespace {

std::string text(const RedisReply& reply) {
  std::string all = std::to_string(static_cast<int>(reply.kind)) + " " + std::to_string(reply.integer) + " " +
                    reply.text + "\n";
  PGWEIR_CHECK(reply.elements.size() <= RedisReader::kElementsMax);
  for (const RedisReply& each : reply.elements) {
    PGWEIR_CHECK(each.kind != RedisReply::Kind::Array);
    all += text(each);
  }
  PGWEIR_CHECK(all.size() < 2 * RedisReader::kReplyBytesMax);
  return all;
}

void try_fields(const Expected<Fields>& fields);

// A hash; and the same texts as cells of a table, three of them a row.
void try_rows(const RedisReply& reply) {
  try_fields(redis_fields(reply));
  std::vector<std::string> names;
  std::vector<PostgresRow> rows;
  for (const RedisReply& each : reply.elements) {
    if (rows.empty() || rows.back().size() == 3) rows.emplace_back();
    if (rows.back().empty() && is_postgres_text(each.text)) names.push_back(each.text);
    rows.back().push_back(each.kind == RedisReply::Kind::Nil ? std::optional<std::string>() : each.text);
  }
  const auto all = postgres_fields(names, std::move(rows));
  PGWEIR_CHECK(all.size() == names.size());
  for (const auto& fields : all) try_fields(fields);
}

void try_fields(const Expected<Fields>& fields) {
  if (!fields) return;
  Tier base;
  base.max_server_connections = 3;
  if (const auto row = Row::of_tier(*fields)) {
    Tier tier = base;
    std::vector<Lowered> lowered;
    PGWEIR_CHECK(row->apply(tier, lowered).has_value());
    for (const Lowered& each : lowered) PGWEIR_CHECK(each.wanted > tier.max_server_connections);
    PGWEIR_CHECK(check_tier(tier).has_value());
  }
  if (const auto row = Row::of_tenant(*fields)) {
    Tenant tenant;
    tenant.limits = base;
    PGWEIR_CHECK(row->apply(tenant).has_value());
    PGWEIR_CHECK(check_tier(tenant.limits).has_value());
    PGWEIR_CHECK(row->bytes() <= kRowBytesMax + 2 * kRowFieldsMax + 16);
  }
}

std::string read(Bytes in, std::size_t step) {
  RedisReader reader;
  std::string all;
  while (!in.empty()) {
    const Bytes part = in.substr(0, step);
    in.remove_prefix(part.size());
    if (!reader.feed(part)) return all + "error";
    PGWEIR_CHECK(reader.held_bytes() <= RedisReader::kReplyBytesMax + part.size());
    for (;;) {
      const auto reply = reader.next();
      if (!reply) return all + "error";
      if (!*reply) break;
      all += text(**reply);
      (void)redis_message(**reply);
      (void)redis_master(**reply);
      (void)redis_is_master(**reply);
      (void)redis_grant(**reply, {60, 5, 0, 4});
      if (step > 1) try_rows(**reply);
    }
  }
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const Bytes input(reinterpret_cast<const char*>(data), size);
  if (size < RedisReader::kReplyBytesMax) PGWEIR_CHECK(read(input, size + 2) == read(input, 1));
  return 0;
}
