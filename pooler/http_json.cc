#include "pooler/http_json.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "pooler/base/check.h"
#include "pooler/base/quoted.h"
#include "pooler/version.h"

namespace pgweir::http {

namespace {

using Json = nlohmann::ordered_json;
using console::Cell;

Json value_of(const Cell& cell) {
  if (!cell.value) return nullptr;
  switch (cell.kind) {
    case Cell::Kind::Words: return *cell.value;
    case Cell::Kind::Number:
      if (cell.value->find('.') != std::string::npos) return std::strtod(cell.value->c_str(), nullptr);
      return std::strtoull(cell.value->c_str(), nullptr, 10);
    case Cell::Kind::Truth: return *cell.value == "1";
  }
  return nullptr;
}
Json object(const std::vector<Cell>& cells) {
  Json made = Json::object();
  for (const Cell& cell : cells) made[cell.column] = value_of(cell);
  return made;
}
template <class Rows>
Json list(const Rows& rows) {
  Json made = Json::array();
  for (const auto& row : rows) made.push_back(object(console::cells(row)));
  return made;
}
// Names of tenants are bytes that a client chose.
std::string text(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string key_of(const console::DatabaseRow& row) { return row.name; }
std::string key_of(const console::PoolRow& row) { return row.database + '\0' + row.user; }
// A backend's own comes before those of its databases and users.
std::string key_of(const console::BreakerRow& row) {
  return row.backend + '\0' + row.database.value_or("") + '\0' + row.user.value_or("");
}

// `rows` is in the order of the keys; `make` makes an object of one.
template <class Rows, class Take, class Make>
Response page(const Call& call, const char* name, const Rows& rows, Take take, Make make) {
  Json found = Json::array();
  std::string last;
  bool more = false;
  for (const auto& row : rows) {
    std::string key = key_of(row);
    if (key <= call.after || !take(row)) continue;
    if ((more = found.size() == call.limit)) break;
    found.push_back(make(row));
    last = std::move(key);
  }
  Response response{.status = 200, .body = text({{name, found}}), .type = kJson};
  if (more) response.headers.emplace_back("Link", link_to_next(call, last));
  return response;
}

Response breakers(const Call& call, const console::Report& report) {
  std::vector<console::BreakerRow> rows = report.breakers;
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return key_of(a) < key_of(b); });
  return page(
      call, "breakers", rows, [](const console::BreakerRow&) { return true; },
      [](const console::BreakerRow& row) { return object(console::cells(row)); });
}

// Whoever has waited longest comes first. No pages: who is next has changed by then.
Response waiters(const Call& call, const console::Report& report) {
  std::vector<const console::ConnectionRow*> rows;
  for (const console::ConnectionRow& row : report.connections)
    if (row.state == std::string_view("waiting")) rows.push_back(&row);
  const std::size_t shown = std::min<std::size_t>(call.limit, rows.size());
  std::partial_sort(
      rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(shown), rows.end(),
      [](const auto* a, const auto* b) { return a->wait != b->wait ? a->wait > b->wait : a->id < b->id; });
  Json found = Json::array();
  for (std::size_t i = 0; i < shown; ++i) {
    const console::ConnectionRow& row = *rows[i];
    found.push_back({{"id", row.id},
                     {"tenant", row.database},
                     {"user", row.user},
                     {"addr", row.addr},
                     {"port", row.port},
                     {"application_name", row.application_name},
                     {"wait_us", row.wait.count()}});
  }
  return {
      .status = 200, .body = text({{"waiters", std::move(found)}, {"total", rows.size()}}), .type = kJson};
}

Response tenant(const Call& call, const console::Report& report) {
  const auto place = std::find_if(report.databases.begin(), report.databases.end(),
                                  [&](const auto& row) { return row.name == call.name; });
  if (place == report.databases.end())
    return problem(404, "Not found", "Nobody knows a tenant " + pgweir::quoted(call.name) + " now.");
  Json made = object(console::tenant_cells(*place));
  Json pools = Json::array(), stats;
  for (const console::PoolRow& row : report.pools)
    if (row.database == call.name) pools.push_back(object(console::cells(row)));
  for (const console::StatsRow& row : report.stats)
    if (row.database == call.name) stats = object(console::cells(row));
  made["stats"] = std::move(stats);
  made["pools"] = std::move(pools);
  return {.status = 200, .body = text(made), .type = kJson};
}

Json traffic(const Traffic& total) {
  return {{"transactions_total", total.transactions},
          {"queries_total", total.queries},
          {"wait_us_total", total.wait_us},
          {"limit_hits_total", total.limit_hits()}};
}
Json pool_sums(const console::PoolRow& pools) {
  return {{"clients", pools.clients},
          {"waiting", pools.cl_waiting},
          {"servers", pools.servers()},
          {"servers_active", pools.sv_active},
          {"longest_wait_us", pools.maxwait.count()}};
}

Json overview_tiers(const metrics::Sample& sample) {
  Json made = Json::array();
  for (const auto& [name, tier] : sample.tiers) {
    console::PoolRow pools = tier.rest;
    for (const metrics::TenantSample& tenant : sample.top)
      if (tenant.tier == name) pools.add(tenant.pool());
    Json row{{"tier", name}, {"tenants", tier.tenants}};
    row.update(pool_sums(pools));
    row.update(traffic(tier.meter.total));
    made.push_back(std::move(row));
  }
  return made;
}

Json overview_tenants(const metrics::Sample& sample) {
  Json made = Json::array();
  for (const metrics::TenantSample& tenant : sample.top) {
    Json row{{"tenant", tenant.name},
             {"tier", tenant.tier},
             {"paused", tenant.database.paused},
             {"state", tenant.database.state}};
    row.update(pool_sums(tenant.pool()));
    row["max_servers"] = tenant.database.max_connections;
    row["max_clients"] = tenant.database.max_clients;
    row["queries_per_minute"] = tenant.queries_per_minute;
    row["busy_us"] = tenant.busy_us;
    made.push_back(std::move(row));
  }
  return made;
}

// What passed between two moments, each second.
Json rates(const Moment& from, const Moment& to) {
  const auto seconds = static_cast<double>(std::max<std::int64_t>(1, to.time_s - from.time_s));
  const Traffic passed = to.total - from.total;
  const auto rate = [seconds](std::uint64_t sum) { return static_cast<double>(sum) / seconds; };
  return {{"time", to.time_s},
          {"transactions_per_second", rate(passed.transactions)},
          {"waited_seconds_per_second", rate(passed.wait_us) / 1e6},
          {"limit_hits_per_second", rate(passed.limit_hits())},
          {"clients", to.clients},
          {"waiting", to.waiting},
          {"servers", to.servers}};
}

}  // namespace

Moment moment(const metrics::Sample& sample, std::int64_t time_s) {
  Moment made;
  made.time_s = time_s;
  for (const console::WorkerRow& worker : sample.workers) {
    made.clients += worker.clients;
    made.waiting += worker.waiting;
    made.servers += worker.servers;
  }
  for (const auto& [name, tier] : sample.tiers) made.total += tier.meter.total;
  return made;
}

std::string backends_json(const std::vector<console::BackendRow>& rows) {
  return text({{"backends", list(rows)}});
}

Response limits_answer(const std::string& tenant, const Expected<std::vector<console::LimitView>>& limits) {
  if (limits)
    return {.status = 200, .body = text({{"tenant", tenant}, {"limits", list(*limits)}}), .type = kJson};
  const Error& error = limits.error();
  const std::string why = error.message + ". " + error.hint;
  return error.sqlstate == std::string_view(sqlstate::kInvalidCatalogName)
             ? problem(404, "Not found", why)
             : problem(503, "Service unavailable", why);
}

std::string version_json() { return text({{"name", "pgweir"}, {"version", kVersion}}); }

std::string overview_json(const Overview& overview) {
  Json history = Json::array();
  for (std::size_t i = 1; i < overview.history.size(); ++i)
    history.push_back(rates(overview.history[i - 1], overview.history[i]));
  return text({{"version", kVersion},
               {"time", overview.history.empty() ? 0 : overview.history.back().time_s},
               {"tiers", overview_tiers(overview.sample)},
               {"top_tenants", overview_tenants(overview.sample)},
               {"backends", list(overview.backends)},
               {"workers", list(overview.sample.workers)},
               {"history", std::move(history)}});
}

Response answer(const Call& call, const console::Report& report, const console::Beside& beside) {
  switch (call.resource) {
    case Resource::Tenant: return tenant(call, report);
    case Resource::Breakers: return breakers(call, report);
    case Resource::Tenants:
      return page(
          call, "tenants", report.databases,
          [&](const console::DatabaseRow& row) { return console::matches(row.name, call.like); },
          [](const console::DatabaseRow& row) { return object(console::tenant_cells(row)); });
    case Resource::Pools:
      return page(
          call, "pools", report.pools, [](const console::PoolRow&) { return true; },
          [](const console::PoolRow& row) { return object(console::cells(row)); });
    case Resource::Waiters: return waiters(call, report);
    case Resource::Tiers:
      return {.status = 200,
              .body = text({{"tiers", list(console::tier_rows(report, beside.tiers))}}),
              .type = kJson};
    case Resource::Workers:
      return {.status = 200, .body = text({{"workers", list(report.workers)}}), .type = kJson};
    case Resource::Backends:
    case Resource::Document:
    case Resource::Limits:
    case Resource::Overview:
    case Resource::Version: PGWEIR_CHECK(false);
  }
  PGWEIR_CHECK(false);
}

}  // namespace pgweir::http
