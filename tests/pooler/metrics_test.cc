#include "pooler/metrics.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>
#include <set>
#include <sstream>

using namespace pgweir;
using namespace pgweir::metrics;

namespace {

TenantSample tenant(const std::string& name, std::uint64_t busy_us, std::uint64_t queries = 0) {
  TenantSample one;
  one.name = name;
  one.tier = "free";
  one.busy_us = busy_us;
  one.total.queries = queries;
  one.total.received = queries;
  return one;
}

std::string names(const std::vector<TenantSample>& top) {
  std::string all;
  for (const TenantSample& one : top) all += one.name;
  return all;
}

Traffic queries(std::uint64_t count) {
  Traffic traffic;
  traffic.queries = traffic.received = count;
  return traffic;
}

std::string taken(Top& top) {
  std::vector<std::string> names = top.take();
  std::sort(names.begin(), names.end());
  return std::accumulate(names.begin(), names.end(), std::string());
}

// The lines of these series.
std::string series(const std::string& text, const std::string& name) {
  std::istringstream in(text);
  std::string line, found;
  while (std::getline(in, line))
    if (line.starts_with(name + "{") || line.starts_with(name + " ")) found += line + "\n";
  return found;
}

}  // namespace

TEST_CASE("the tenants with most load come to the top, in whatever order they are met") {
  std::vector<Standing> all{{1, 0, "a"}, {5, 0, "b"}, {3, 0, "c"}, {4, 0, "d"}, {2, 0, "e"}};
  for (int round = 0; round < 20; ++round) {
    Top top(3);
    for (const Standing& one : all) top.add(one);
    CHECK(taken(top) == "bcd");
    std::next_permutation(all.begin(), all.end(), [](auto& x, auto& y) { return x.name < y.name; });
  }
  Top none(0);
  none.add({1, 0, "a"});
  CHECK(none.take().empty());
  Top one(1);
  one.add({9, 0, "(others)"});
  CHECK(one.take().empty());
}

TEST_CASE("of equal load the tenants with more clients come first, then by name") {
  Top top(2);
  for (const char* name : {"d", "c", "b", "a"}) top.add({0, 0, name});
  top.add({0, 1, "z"});
  CHECK(taken(top) == "az");
}

TEST_CASE("what all others have done never falls") {
  Rest rest;
  const auto update = [&](std::uint64_t total, std::vector<TenantSample> top) {
    return rest.update(queries(total), top).queries;
  };
  // 30 in all, of which a has done 10.
  CHECK(update(30, {tenant("a", 1, 10)}) == 20);
  CHECK(update(37, {tenant("a", 1, 15)}) == 22);
  // b comes with a history of 20, which has been shown as the others': it stays there.
  CHECK(update(40, {tenant("a", 1, 15), tenant("b", 1, 20)}) == 22);
  CHECK(update(50, {tenant("b", 1, 28), tenant("a", 1, 16)}) == 23);
  // a goes: what it does from now on is the others'.
  CHECK(update(60, {tenant("b", 1, 33)}) == 28);
  // b was forgotten, and begins anew.
  CHECK(update(63, {tenant("b", 1, 2)}) == 29);
  CHECK(update(63, {}) == 29);
}

TEST_CASE("a tier's series are of all its tenants, whoever has series of his own") {
  Sample first, second;
  first.tiers["free"].tenants = 2;
  first.tiers["free"].meter.total = queries(7);
  first.tiers["free"].meter.query.add(3'000);
  first.top = {tenant("a", 9, 4), tenant("b", 1, 3)};
  first.top[0].pool_of("u").clients = 2;
  first.top[0].pool_of("v").clients = 3;
  first.top[0].pool_of("v").cl_waiting = 2;
  first.top[0].pool_of("v").maxwait = std::chrono::milliseconds(1500);
  first.top[1].pool_of("u").clients = 7;
  first.top[1].pool_of("u").maxwait = std::chrono::seconds(4);
  second.tiers["free"].tenants = 1;
  second.tiers["free"].meter.total = queries(1);
  second.tiers["free"].meter.query.add(2'000'000);
  second.tiers["free"].rest.clients = 1;
  second.tiers["free"].rest.sv_active = 3;
  second.tiers["free"].rest.sv_listening = 1;
  const Sample all = unite({first, second}, 1);
  CHECK(names(all.top) == "a");
  Rest rest;
  const std::string out = text(all, {}, rest);
  CHECK(series(out, "pgweir_tenants") == "pgweir_tenants{tier=\"free\"} 3\n");
  CHECK(series(out, "pgweir_clients_active") == "pgweir_clients_active{tier=\"free\"} 11\n");
  CHECK(series(out, "pgweir_clients_waiting") == "pgweir_clients_waiting{tier=\"free\"} 2\n");
  CHECK(series(out, "pgweir_servers_active") == "pgweir_servers_active{tier=\"free\"} 3\n");
  CHECK(series(out, "pgweir_servers_listening") == "pgweir_servers_listening{tier=\"free\"} 1\n");
  CHECK(series(out, "pgweir_client_maxwait_seconds") == "pgweir_client_maxwait_seconds{tier=\"free\"} 4\n");
  CHECK(series(out, "pgweir_queries_total") == "pgweir_queries_total{tier=\"free\"} 8\n");
  CHECK(series(out, "pgweir_tenant_queries_total") ==
        "pgweir_tenant_queries_total{tenant=\"a\",tier=\"free\"} 4\n");
  CHECK(series(out, "pgbouncer_stats_queries_pooled_total") ==
        "pgbouncer_stats_queries_pooled_total{database=\"a\"} 4\n"
        "pgbouncer_stats_queries_pooled_total{database=\"(others)\"} 4\n");
  CHECK(series(out, "pgbouncer_pools_client_maxwait_seconds") ==
        "pgbouncer_pools_client_maxwait_seconds{database=\"a\",user=\"u\"} 0\n"
        "pgbouncer_pools_client_maxwait_seconds{database=\"a\",user=\"v\"} 1.5\n"
        "pgbouncer_pools_client_maxwait_seconds{database=\"(others)\",user=\"(others)\"} 4\n");
  CHECK_THAT(series(out, "db_query_duration_seconds_bucket"),
             Catch::StartsWith("db_query_duration_seconds_bucket{tier=\"free\",le=\"0.001\"} 0\n"
                               "db_query_duration_seconds_bucket{tier=\"free\",le=\"0.0025\"} 0\n"
                               "db_query_duration_seconds_bucket{tier=\"free\",le=\"0.005\"} 1\n") &&
                 Catch::EndsWith("{tier=\"free\",le=\"1\"} 1\n"
                                 "db_query_duration_seconds_bucket{tier=\"free\",le=\"+Inf\"} 2\n"));
  CHECK(series(out, "pgweir_query_duration_seconds_sum") ==
        "pgweir_query_duration_seconds_sum{tier=\"free\"} 2.003\n");
}

TEST_CASE("a tenant's pools are told by user, the many of one tenant together") {
  TenantSample one = tenant("a", 1);
  for (int i = 0; i < 100; ++i) one.pool_of("u" + std::to_string(i)).sv_idle += 1;
  CHECK(one.pools.size() == TenantSample::kUsersMost + 1);
  CHECK(one.pool_of("u3").sv_idle == 1);
  CHECK(one.pool_of("u99").sv_idle == 100 - TenantSample::kUsersMost);
  CHECK(&one.pool_of("u99") == &one.pool_of("(others)"));
  CHECK(one.pool().sv_idle == 100);
}

TEST_CASE("pins are told by tier and reason, and limit hits by tenant, every limit of them") {
  Sample first, second;
  PinBook::Reasons reasons{};
  reasons[0] = 2;
  reasons[1] = 1;
  first.tiers["free"].pins.add({{}, {}, 2, 0, reasons, {}});
  second.tiers["free"].pins.add({{}, {}, 2, 0, reasons, {}});
  first.tiers["free"].meter.total.pinned = 9;
  first.tiers["free"].meter.total.unpinned = 5;
  first.tiers["free"].meter.total.server_us = 1'500'000;
  first.top = {tenant("a", 1)};
  std::uint64_t hits = 0;
  for (const tiers::LimitRow& row : tiers::kLimits) first.top[0].total.*hits_of(row.limit) = ++hits;
  first.pools = 2;
  second.pools = 1;
  Rest rest;
  const std::string out = text(unite({first, second}, 1), {}, rest);
  CHECK(series(out, "pgweir_clients_pinned") == "pgweir_clients_pinned{tier=\"free\"} 4\n");
  CHECK_THAT(series(out, "pgweir_clients_pinned_by_reason"),
             Catch::StartsWith("pgweir_clients_pinned_by_reason{tier=\"free\",reason=\"temp\"} 4\n"
                               "pgweir_clients_pinned_by_reason{tier=\"free\",reason=\"cursor\"} 2\n"
                               "pgweir_clients_pinned_by_reason{tier=\"free\",reason=\"lock\"} 0\n"));
  CHECK(series(out, "pgweir_pins_total") == "pgweir_pins_total{tier=\"free\"} 9\n");
  CHECK(series(out, "pgweir_unpins_total") == "pgweir_unpins_total{tier=\"free\"} 5\n");
  CHECK(series(out, "pgweir_server_connection_seconds_total") ==
        "pgweir_server_connection_seconds_total{tier=\"free\"} 1.5\n");
  std::uint64_t told = 0;
  for (const tiers::LimitRow& row : tiers::kLimits) {
    const std::string limit = ",limit=\"" + std::string(row.key) + "\"} ";
    const std::string tenants = series(out, "pgweir_tenant_limit_hits_total");
    CHECK_THAT(tenants,
               Catch::Contains("{tenant=\"a\",tier=\"free\"" + limit + std::to_string(++told) + "\n"));
    CHECK_THAT(series(out, "pgweir_limit_hits_total"), Catch::Contains("{tier=\"free\"" + limit + "0\n"));
  }
  CHECK(series(out, "pgbouncer_pools") == "pgbouncer_pools 3\n");
}

TEST_CASE("a label is valid UTF-8, and two names never share one") {
  const struct {
    std::string_view name;
    const char* label;
  } cases[] = {{"app", "app"},
               {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x98"},
               {"a\\xffb", "a\\\\xffb"},
               {"a\xff"
                "b",
                "a\\xffb"},
               {"\xc3", "\\xc3"},
               {"\xc0\x80", "\\xc0\\x80"},
               {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
               {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"},
               {"\xe2\x82", "\\xe2\\x82"},
               {"quote\" line\n", "quote\" line\n"}};
  for (const auto& one : cases) CHECK(label(one.name) == one.label);
}

TEST_CASE("dashboards of PgBouncer's exporter, and those of a platform, find the names that they ask for") {
  Sample sample;
  sample.tiers["free"].tenants = 1;
  sample.top = {tenant("a", 1)};
  sample.top[0].uptime_s = 2.5;
  Surroundings around;
  around.breakers.resize(1);
  Rest rest;
  const std::string out = text(sample, around, rest);
  for (const char* name : {"pgbouncer_up",
                           "pgbouncer_pools_client_waiting_connections",
                           "pgbouncer_pools_client_maxwait_seconds",
                           "pgbouncer_pools_server_active_connections",
                           "pgbouncer_pools_server_idle_connections",
                           "pgbouncer_pools_server_used_connections",
                           "pgbouncer_pools_server_login_connections",
                           "pgbouncer_pools_server_testing_connections",
                           "pgbouncer_stats_queries_pooled_total",
                           "pgbouncer_stats_sql_transactions_pooled_total",
                           "pgbouncer_stats_client_wait_seconds_total",
                           "pgbouncer_stats_client_parses_total",
                           "pgbouncer_stats_server_parses_total",
                           "pgbouncer_stats_binds_total",
                           "pgbouncer_pools_client_active_cancel_connections",
                           "pgbouncer_pools_client_waiting_cancel_connections",
                           "pgbouncer_pools_server_active_cancel_connections",
                           "pgbouncer_databases_disabled",
                           "pgbouncer_databases_reserve_pool",
                           "pgbouncer_config_max_user_connections",
                           "pgbouncer_users",
                           "pgbouncer_pools",
                           "pgbouncer_free_clients",
                           "pgbouncer_free_servers",
                           "pgbouncer_cached_dns_names",
                           "pgbouncer_cached_dns_zones",
                           "pgbouncer_in_flight_dns_queries",
                           "tenant_tier_current",
                           "tenant_queries_per_minute",
                           "tenant_uptime_seconds",
                           "tenant_tier_promotion_total",
                           "tenant_tier_demotion_total",
                           "tenant_resource_limit_hits",
                           "circuit_breaker_state",
                           "circuit_breaker_failures_total",
                           "db_query_duration_seconds_bucket",
                           "db_connections_active",
                           "pgweir_query_duration_seconds_bucket",
                           "pgweir_transaction_duration_seconds_bucket",
                           "pgweir_wait_duration_seconds_bucket",
                           "pgweir_connect_duration_seconds_bucket",
                           "pgweir_wake_duration_seconds_bucket"}) {
    INFO(name);
    CHECK_FALSE(series(out, name).empty());
  }
  CHECK(series(out, "tenant_uptime_seconds") == "tenant_uptime_seconds{tenant=\"a\",tier=\"free\"} 2.5\n");
}

TEST_CASE("a tenant store has its figures, and where there is none there are none") {
  Rest rest;
  Surroundings around;
  CHECK(text({}, around, rest).find("pgweir_tenant_store") == std::string::npos);
  console::StoreRow store;
  store.lookups = 9;
  store.failures = 2;
  store.stale = 3;
  store.silent = std::chrono::milliseconds(1500);
  store.usage_failures = 4;
  store.usage_late = std::chrono::seconds(61);
  around.store = store;
  around.suspended = 5;
  const std::string out = text({}, around, rest);
  CHECK(series(out, "pgweir_tenant_store_lookups_total") == "pgweir_tenant_store_lookups_total 9\n");
  CHECK(series(out, "pgweir_tenant_store_failures_total") == "pgweir_tenant_store_failures_total 2\n");
  CHECK(series(out, "pgweir_tenant_store_stale_tenants") == "pgweir_tenant_store_stale_tenants 3\n");
  CHECK(series(out, "pgweir_tenant_store_silent_seconds") == "pgweir_tenant_store_silent_seconds 1.5\n");
  CHECK(series(out, "pgweir_tenant_store_usage_failures_total") ==
        "pgweir_tenant_store_usage_failures_total 4\n");
  CHECK(series(out, "pgweir_tenant_store_usage_late_seconds") ==
        "pgweir_tenant_store_usage_late_seconds 61\n");
  CHECK(series(out, "pgweir_suspended_tenants") == "pgweir_suspended_tenants 5\n");
}

TEST_CASE("refused logins are told by tier and reason, every reason of them, and what failed in one") {
  Sample first, second;
  const auto place = [](LoginRefusal refusal) { return static_cast<std::size_t>(refusal); };
  first.tiers["free"].refused_logins[place(LoginRefusal::Password)] = 4;
  first.tiers["free"].refused_logins[place(LoginRefusal::Limit)] = 2;
  second.tiers["free"].refused_logins[place(LoginRefusal::Backend)] = 3;
  second.tiers["pro"].tenants = 1;
  first.refused_nameless[place(LoginRefusal::Name)] = 1;
  second.refused_nameless[place(LoginRefusal::Store)] = 5;
  Rest rest;
  const std::string out = text(unite({first, second}, 1), {}, rest);
  const std::string refused = series(out, "pgweir_logins_refused_total");
  for (const char* line : {"{tier=\"free\",reason=\"password\"} 4\n", "{tier=\"free\",reason=\"limit\"} 2\n",
                           "{tier=\"free\",reason=\"backend\"} 3\n", "{tier=\"pro\",reason=\"password\"} 0\n",
                           "{tier=\"\",reason=\"name\"} 1\n", "{tier=\"\",reason=\"store\"} 5\n"})
    CHECK_THAT(refused, Catch::Contains(line));
  CHECK(std::count(refused.begin(), refused.end(), '\n') == 3 * 15);
  CHECK(series(out, "pgweir_logins_failed_total") ==
        "pgweir_logins_failed_total{tier=\"free\"} 5\n"
        "pgweir_logins_failed_total{tier=\"pro\"} 0\n"
        "pgweir_logins_failed_total{tier=\"\"} 5\n");
  // A rule adds these up with errors and requests: a tier has all of them or none.
  CHECK(series(out, "pgweir_errors_total").find("{tier=\"free\"}") != std::string::npos);
  CHECK(series(out, "pgweir_errors_total").find("{tier=\"\"}") == std::string::npos);
}

TEST_CASE("every series has a name that Prometheus takes, and none comes twice") {
  Sample sample;
  sample.tiers["free"].tenants = 1;
  sample.tiers["pro"].tenants = 1;
  sample.top = {tenant("a", 1), tenant("\xff", 1), tenant("\\xff", 1)};
  sample.workers.resize(2);
  sample.workers[1].worker = 1;
  Surroundings around;
  around.backends.resize(1);
  around.breakers.resize(1);
  around.store.emplace();
  Rest rest;
  std::istringstream in(text(sample, around, rest));
  std::set<std::string> seen, told;
  std::string line;
  while (std::getline(in, line)) {
    INFO(line);
    if (line.starts_with("# ")) {
      CHECK(told.insert(line.substr(0, line.find(' ', 7))).second);
      continue;
    }
    const std::size_t end = line.rfind(' ');
    CHECK(seen.insert(line.substr(0, end)).second);
    CHECK(line.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") >= std::min(line.find('{'), end));
  }
  CHECK(seen.size() > 200);
}
