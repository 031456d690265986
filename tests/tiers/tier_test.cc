#include "tiers/tier.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using namespace std::chrono_literals;

TEST_CASE("fields of a tier are set from text") {
  Tier tier;
  REQUIRE(set_tier_field(tier, "pool_size", "20"));
  REQUIRE(set_tier_field(tier, "max_server_connections", "050"));
  REQUIRE(set_tier_field(tier, "max_clients", "100000"));
  REQUIRE(set_tier_field(tier, "server_idle_timeout", "5min"));
  REQUIRE(set_tier_field(tier, "queue_timeout", "250"));
  CHECK(tier.pool_size == 20);
  CHECK(tier.max_server_connections == 50);
  CHECK(tier.max_clients == 100'000);
  CHECK(tier.server_idle_timeout == 5min);
  CHECK(tier.queue_timeout == 250ms);
  REQUIRE(set_tier_field(tier, "server_idle_timeout", "never"));
  CHECK(tier.server_idle_timeout == 0ms);
  REQUIRE(set_tier_field(tier, "pool_mode", "session"));
  CHECK(tier.pool_mode == PoolMode::Session);
  REQUIRE(set_tier_field(tier, "pool_mode", "transaction"));
  CHECK(tier.pool_mode == PoolMode::Transaction);
  for (const bool yes : {true, false})
    for (const char* word : {yes ? "true" : "false", yes ? "on" : "off", yes ? "yes" : "no"}) {
      tier.session_mode = !yes;
      REQUIRE(set_tier_field(tier, "session_mode", word));
      CHECK(tier.session_mode == yes);
    }
}

TEST_CASE("what happens at a limit is a word, and each limit has its own") {
  Tier tier;
  REQUIRE(set_tier_field(tier, "at_clients", "queue"));
  REQUIRE(set_tier_field(tier, "at_pool", "reject"));
  REQUIRE(set_tier_field(tier, "at_rate", "reject"));
  CHECK(tier.at_clients == AtCeiling::Queue);
  CHECK(tier.at_pool == AtCeiling::Reject);
  CHECK(tier.at_rate == AtRate::Reject);
  REQUIRE(set_tier_field(tier, "at_rate", "throttle"));
  CHECK(tier.at_rate == AtRate::Throttle);
  CHECK_FALSE(set_tier_field(tier, "at_rate", "queue"));
  CHECK_FALSE(set_tier_field(tier, "at_clients", "throttle"));
}

TEST_CASE("a tier's field that is wrong says what is right and changes nothing") {
  struct Row {
    std::string_view key, value, message;
  };
  const Row rows[] = {
      {"pool_size", "900", "pool_size must lie between 1 and 500, not 900"},
      {"pool_size", "0", "pool_size must lie between 1 and 500, not 0"},
      {"pool_size", "-3", "pool_size must be a whole number between 1 and 500, not '-3'"},
      {"pool_size", "many", "pool_size must be a whole number between 1 and 500, not 'many'"},
      {"pool_size", "99999999999999999999", "pool_size must lie between 1 and 500, not 99999999999999999999"},
      {"pool_size", "4294967298", "pool_size must lie between 1 and 500, not 4294967298"},
      {"max_server_connections", "10001", "max_server_connections must lie between 1 and 10000, not 10001"},
      {"max_clients", "100001", "max_clients must lie between 1 and 100000, not 100001"},
      {"server_idle_timeout", "31d", "server_idle_timeout must be never or at most 30d, not 31d"},
      {"queue_timeout", "5m",
       "queue_timeout must be a duration such as 250ms, 30s, 5min, 1h or 2d (never or at most 1h), not '5m'"},
      {"pool_mode", "statement", "pool_mode must be one of transaction, session, not 'statement'"},
      {"session_mode", "1", "session_mode must be one of true, false, on, off, yes, no, not '1'"},
      {"pol_size", "5", "'pol_size' is no field of a tier; did you mean pool_size?"},
      {"colour", "red", "'colour' is no field of a tier"},
      {"backend", "main", "'backend' is no field of a tier"},
  };
  for (const Row& row : rows) {
    Tier tier;
    const auto set = set_tier_field(tier, row.key, row.value);
    REQUIRE_FALSE(set);
    CHECK(set.error().message == row.message);
    const Tier fresh;
    for (const TierField& field : tier_fields()) CHECK(tier_text(tier, field) == tier_text(fresh, field));
  }
}

TEST_CASE("every field's own text is read back, and its bounds are allowed") {
  for (const TierField& field : tier_fields()) {
    CAPTURE(std::string(field.key));
    Tier tier;
    REQUIRE(set_tier_field(tier, field.key, tier_text(Tier{}, field)));
    CHECK(tier_text(tier, field) != "");
    if (field.least == field.most) continue;  // words
    CHECK(set_tier_field(tier, field.key, std::to_string(field.least)));
    CHECK(set_tier_field(tier, field.key, std::to_string(field.most)));
    CHECK_FALSE(set_tier_field(tier, field.key, std::to_string(field.most + 1)));
  }
}

TEST_CASE("a tenant has fields of its own and overrides its tier's") {
  Tenant tenant;
  REQUIRE(set_tenant_field(tenant, "backend", "main"));
  REQUIRE(set_tenant_field(tenant, "database", "acme_db"));
  REQUIRE(set_tenant_field(tenant, "user", "owner"));
  REQUIRE(set_tenant_field(tenant, "password", "s3cret"));
  REQUIRE(set_tenant_field(tenant, "pool_size", "3"));
  CHECK(tenant.backend == "main");
  CHECK(tenant.database == "acme_db");
  CHECK(tenant.user == "owner");
  CHECK(tenant.password == "s3cret");
  CHECK(tenant.limits.pool_size == 3);
  REQUIRE(set_tenant_field(tenant, "ceiling.work_mem", "1MB"));
  REQUIRE(set_tenant_field(tenant, "max_clients", "4"));
  REQUIRE(set_tenant_field(tenant, "pool_size", "2"));
  REQUIRE_FALSE(set_tenant_field(tenant, "weight", "-1"));
  CHECK(tenant.overrides == std::vector<std::string>{"max_clients", "pool_size", "work_mem"});
}

TEST_CASE("a tenant's own value is checked beside what its limits are") {
  Tier pro;
  pro.pool_size = 20;
  pro.max_server_connections = 50;
  struct Case {
    const char* key;
    const char* value;
    const char* why;  // "": it may have it
  };
  const Case cases[] = {
      {"max_clients", "500", ""},
      {"work_mem", "8MB", ""},
      {"ceiling.jit", "on|off", ""},
      {"max_server_connections", "10", ""},  // and the floor with it
      {"pool_size", "50", ""},
      {"pool_size", "51", "pool_size must not exceed max_server_connections, but 51 > 50"},
      {"max_clients", "0", "max_clients must lie between 1 and 100000, not 0"},
      {"max_client", "5", "'max_client' is no field of a tier; did you mean max_clients?"},
      {"backend", "main", "'backend' is no field of a tier"},
      {"tier", "pro", "'tier' is no field of a tier"},
      {"at_pool", "quee", "at_pool must be one of reject, queue, not 'quee'"},
  };
  for (const Case& each : cases) {
    INFO(each.key << " " << each.value);
    const auto good = check_override(pro, each.key, each.value);
    CHECK((good ? std::string() : good.error().message) == each.why);
  }
}

TEST_CASE("a tenant's field that is wrong says so without its secret") {
  struct Row {
    std::string key, value, message;
  };
  const Row rows[] = {
      {"pasword", "hunter2", "'pasword' is no field of a tenant; did you mean password?"},
      {"pol_size", "5", "'pol_size' is no field of a tenant; did you mean pool_size?"},
      {"pool_size", "900", "pool_size must lie between 1 and 500, not 900"},
      {"teir", "pro", "'teir' is no field of a tenant; did you mean tier?"},
      {"password", std::string("hunter2\n"), "password must not hold control characters"},
      {"password", std::string(1025, 'x'), "password must have at most 1024 bytes, not 1025"},
      {"database", std::string(64, 'x'), "database must have at most 63 bytes, not 64"},
      {"user", std::string("a\0b", 3), "user must not hold control characters"},
  };
  for (const Row& row : rows) {
    Tenant tenant;
    const auto set = set_tenant_field(tenant, row.key, row.value);
    REQUIRE_FALSE(set);
    CHECK(set.error().message == row.message);
  }
}

TEST_CASE("the pool of a tier is not larger than what it may have at most") {
  Tier tier;
  tier.pool_size = tier.max_server_connections = 7;
  CHECK(check_tier(tier));
  tier.pool_size = 8;
  REQUIRE_FALSE(check_tier(tier));
  CHECK(check_tier(tier).error().message == "pool_size must not exceed max_server_connections, but 8 > 7");
}

TEST_CASE("a tier that says nothing is inspected, has clocks, and lets nobody choose session mode") {
  const Tier tier;
  CHECK(tier.inspection == Inspection::Standard);
  CHECK(tier.clocks);
  CHECK_FALSE(tier.session_mode);
}
