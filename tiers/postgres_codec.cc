#include "tiers/postgres_codec.h"

#include <algorithm>
#include <map>

#include "pooler/base/check.h"
#include "tiers/tier.h"

namespace pgweir::tiers {

namespace {

constexpr std::string_view kLimits =
    "limits";  // the column of overrides; what it cannot be comes as a field of this name
constexpr std::string_view kTierColumn = "tier";

// Columns of a table are named as the fields are.
std::vector<std::string> columns(PostgresTable table) {
  std::vector<std::string> names;
  if (table == PostgresTable::Tiers) return names;
  names.emplace_back(kTierColumn);
  for (const TenantField& field : tenant_fields()) names.emplace_back(field.key);
  return names;
}

}  // namespace

PostgresQuery postgres_fetch(PostgresTable table, std::span<const std::string> names) {
  const bool tenants = table == PostgresTable::Tenants;
  const std::string most = std::to_string(kRowBytesMax), too_long = std::to_string(kRowBytesMax + 1);
  PostgresQuery query;
  query.text = std::string("select r.name, f.key, left(f.value, ") + too_long + ") from (select t." +
               (tenants ? "id" : "name") + " as name, to_jsonb(t) as row from pgweir." +
               (tenants ? "tenants" : "tiers") + " t where t." + (tenants ? "id" : "name") +
               " = any($1::text[])) r, lateral ("
               "select key, value from jsonb_each_text(r.row - 'limits') where key = any($2::text[]) "
               "union all select key, value from jsonb_each_text(case "
               "when coalesce(jsonb_typeof(r.row->'limits'), 'null') = 'null' then '{}' "
               "when jsonb_typeof(r.row->'limits') = 'object' and octet_length((r.row->'limits')::text) <= " +
               most + " then r.row->'limits' else '{\"limits\": \"\"}' end)) f where f.value is not null";
  query.values = {postgres_array(names), postgres_array(columns(table))};
  return query;
}

PostgresQuery postgres_set(std::string_view tenant, const Change& change) {
  const std::vector<std::string> known = columns(PostgresTable::Tenants);
  PostgresQuery query;
  query.values.emplace_back(tenant);
  const auto parameter = [&query](const std::string& value) {
    query.values.push_back(value);
    return "$" + std::to_string(query.values.size());
  };
  std::string assigned;
  std::vector<std::string> names, values;
  for (const auto& [key, value] : change.set) {
    if (std::find(known.begin(), known.end(), key) == known.end()) {
      names.push_back(key);
      values.push_back(value);
      continue;
    }
    assigned += (assigned.empty() ? "\"" : ", \"") + key + "\" = " + parameter(value);
  }
  if (!names.empty() || !change.drop.empty()) {
    assigned += assigned.empty() ? "limits = " : ", limits = ";
    assigned += "(coalesce(limits, '{}') - " + parameter(postgres_array(change.drop)) + "::text[])";
    assigned += " || jsonb_object(" + parameter(postgres_array(names)) + "::text[], ";
    assigned += parameter(postgres_array(values)) + "::text[])";
  }
  PGWEIR_CHECK(!assigned.empty());
  query.text = "update pgweir.tenants set " + assigned + " where id = $1 returning 1";
  return query;
}

// The figures of each row are an array of names and values in turn, itself as text: so arrays of arrays need
// not have the same size.
PostgresQuery postgres_put_usage(std::span<const PostgresUsage> rows) {
  std::vector<std::string> days, runs, tenants, figures;
  for (const auto& [key, fields] : rows) {
    const std::size_t day = key.find(':'), run = key.find(':', day + 1);
    PGWEIR_CHECK(run != std::string_view::npos);
    days.push_back(key.substr(0, day));
    runs.push_back(key.substr(day + 1, run - day - 1));
    tenants.push_back(key.substr(run + 1));
    std::vector<std::string> pairs;
    for (const auto& [name, value] : fields) {
      pairs.push_back(name);
      pairs.push_back(value);
    }
    figures.push_back(postgres_array(pairs));
  }
  return {
      "insert into pgweir.usage (day, run, tenant, figures) "
      "select r.day, r.run, r.tenant, jsonb_object(r.figures::text[]) "
      "from unnest($1::date[], $2::text[], $3::text[], $4::text[]) as r (day, run, tenant, figures) "
      "on conflict (day, run, tenant) do update set figures = excluded.figures",
      {postgres_array(days), postgres_array(runs), postgres_array(tenants), postgres_array(figures)}};
}

PostgresQuery postgres_try_usage() {
  return {
      "insert into pgweir.usage (day, run, tenant, figures) select current_date, '', '', '{}' where false "
      "on conflict (day, run, tenant) do update set figures = excluded.figures",
      {}};
}

std::string postgres_setup(std::chrono::milliseconds timeout) {
  // None at all would be 0.
  const auto most = std::max<std::chrono::milliseconds::rep>(timeout.count() * 3 / 4, 1);
  return "set search_path = pg_catalog; set statement_timeout = " + std::to_string(most) +
         "; select from pgweir.tenants limit 0; select from pgweir.tiers limit 0; listen " +
         std::string(kPostgresChannel);
}

// As Postgres checks it: no null byte, no overlong form, no surrogate, nothing beyond U+10FFFF.
bool is_postgres_text(std::string_view name) {
  for (std::size_t at = 0; at < name.size();) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(name[i]); };
    const unsigned first = byte(at);
    const std::size_t size = first < 0x80   ? 1
                             : first < 0xc2 ? 0
                             : first < 0xe0 ? 2
                             : first < 0xf0 ? 3
                             : first < 0xf5 ? 4
                                            : 0;
    if (first == 0 || size == 0 || size > name.size() - at) return false;
    for (std::size_t i = 1; i < size; ++i)
      if ((byte(at + i) & 0xc0U) != 0x80U) return false;
    if (size > 2) {
      const unsigned second = byte(at + 1);
      if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
          (first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
        return false;
    }
    at += size;
  }
  return true;
}

std::string postgres_array(std::span<const std::string> texts) {
  std::string out = "{";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ',';
    out += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    out += '"';
  }
  return out += '}';
}

std::vector<Expected<Fields>> postgres_fields(std::span<const std::string> names,
                                              std::vector<PostgresRow> rows) {
  std::map<std::string_view, std::size_t> places;
  for (std::size_t i = 0; i < names.size(); ++i) places.emplace(names[i], i);
  std::vector<Expected<Fields>> all(names.size(), Fields());
  for (PostgresRow& row : rows) {
    if (row.size() != 3 || !row[0] || !row[1] || !row[2]) continue;
    const auto place = places.find(*row[0]);
    if (place == places.end()) continue;
    Expected<Fields>& fields = all[place->second];
    if (!fields) continue;
    if (*row[1] == kLimits)
      fields = fail(sqlstate::kConfigFileError,
                    "limits must be a JSON object of at most " + std::to_string(kRowBytesMax) + " bytes");
    else
      fields->emplace_back(std::move(*row[1]), std::move(*row[2]));
  }
  // Whoever is named again has the same row.
  for (std::size_t i = 0; i < names.size(); ++i)
    if (const std::size_t first = places.at(names[i]); first != i) all[i] = all[first];
  return all;
}

bool postgres_blames_row(std::string_view sqlstate) { return sqlstate.starts_with("22"); }
bool postgres_refuses_row(std::string_view sqlstate) {
  return postgres_blames_row(sqlstate) || sqlstate.starts_with("23") || sqlstate.starts_with("P0");
}

bool postgres_was_slow(std::string_view sqlstate) { return sqlstate == "57014"; }

std::string_view postgres_hint(std::string_view sqlstate) {
  if (sqlstate == "42P01" || sqlstate == "3F000" || sqlstate == "42703")
    return "run tenant_store.sql (packaging/postgres, or /usr/share/doc/pgweir/examples) on that database";
  if (sqlstate == "42501")
    return "grant its user usage of the schema pgweir, select on pgweir.tenants and pgweir.tiers, update on "
           "pgweir.tenants for the console, and select, insert, update on pgweir.usage";
  if (sqlstate == "25006") return "it is a standby; name the primary in tenant_store.postgres_url";
  return {};
}

}  // namespace pgweir::tiers
