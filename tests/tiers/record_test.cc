#include "tiers/record.h"

#include <catch2/catch.hpp>

using namespace pgweir;
using namespace pgweir::tiers;
using Catch::Matchers::Contains;

namespace {

// Why the row is refused, "" if it is not.
std::string why_tenant(const Fields& fields) {
  const auto row = Row::of_tenant(fields);
  return row ? "" : row.error().message;
}
std::string why_tier(const Fields& fields) {
  const auto row = Row::of_tier(fields);
  return row ? "" : row.error().message;
}

}  // namespace

TEST_CASE("a tenant's row becomes a record over its tier") {
  const auto row = Row::of_tenant({{"tier", "pro"},
                                   {"backend", "eu"},
                                   {"database", "acme_prod"},
                                   {"max_clients", "70"},
                                   {"work_mem", "2MB"},
                                   {"inject.app.tenant_id", "7"},
                                   {"state", "suspended"},
                                   {"reason", "unpaid"},
                                   {"version", "7"},
                                   {"colour", "blue"}});
  REQUIRE(row);
  CHECK(row->get("tier") == "pro");
  CHECK(row->get("colour").empty());
  CHECK(row->unknown_fields() == 1);
  Tenant tenant;
  tenant.limits.max_server_connections = 40;
  CHECK(row->apply(tenant));
  CHECK(tenant.backend == "eu");
  CHECK(tenant.database == "acme_prod");
  CHECK(tenant.limits.max_clients == 70);
  CHECK(tenant.limits.ceilings->limits == Ceilings::Values{{"work_mem", "2MB"}});
  CHECK(tenant.limits.ceilings->injected == Ceilings::Values{{"app.tenant_id", "7"}});
  CHECK(tenant.limits.max_server_connections == 40);
  CHECK(tenant.state == TenantState::Suspended);
  CHECK(tenant.reason == "unpaid");
  CHECK(tenant.version == 7);
}

TEST_CASE("one wrong value refuses the whole row, and says what would be right") {
  struct {
    Fields fields;
    const char* says;
  } const rows[] = {
      {{{"max_clients", "-5"}}, "max_clients must be a whole number between 1 and 100000, not '-5'"},
      {{{"max_clients", "many"}}, "max_clients must be a whole number"},
      {{{"max_clients", "99999999999999999999"}}, "max_clients must lie between 1 and 100000"},
      {{{"tier", ""}}, "tier must be the name of a tier"},
      {{{"tier", std::string(64, 't')}}, "tier must be the name of a tier"},
      {{{"state", "gone"}}, "state must be one of active, suspended, not 'gone'"},
      {{{"reason", std::string(201, 'r')}}, "reason must have at most 200 bytes"},
      {{{"reason", "two\nlines"}}, "reason must not hold control characters"},
      {{{"version", "1.5"}}, "version must be a whole number"},
      {{{"tier", "pro"}, {"tier", "free"}}, "tier is given twice"},
      {{{"pool_size", "9"}, {"max_server_connections", "3"}}, "pool_size must not exceed"},
      {Fields(kRowFieldsMax + 1, {"x", "y"}), "must have at most 128 fields, not 129"},
      {{{"x", std::string(kRowBytesMax, 'x')}}, "must have at most 16384 bytes"},
      {{{"database", std::string("a\0b", 3)}}, "database must not hold control characters"},
  };
  for (const auto& row : rows) CHECK_THAT(why_tenant(row.fields), Contains(row.says));
  CHECK_THAT(why_tier({{"queue_timeout", "2 weeks"}}), Contains("queue_timeout must be a duration"));
  CHECK(why_tier({{"backend", "eu"}}).empty());  // no field of a tier: counted, not fatal
  CHECK(why_tier({{"pool_size", "9"}}).empty());
}

TEST_CASE("a row that gives a low ceiling alone is none that contradicts itself") {
  for (const char* ceiling : {"1", "2", "10000"}) {
    CHECK(why_tenant({{"max_server_connections", ceiling}}).empty());
    CHECK(why_tier({{"max_server_connections", ceiling}}).empty());
  }
  CHECK_THAT(why_tenant({{"max_server_connections", "1"}, {"min_server_connections", "2"}}),
             Contains("min_server_connections must not exceed"));
}

TEST_CASE("a reason to refuse a row never repeats a secret") {
  const std::string secret = "hunter2" + std::string(1100, 'x');
  CHECK_THAT(why_tenant({{"password", secret}}), Contains("password") && !Contains("hunter2"));
  CHECK_THAT(why_tenant({{"password", "hunter2\n"}}), Contains("password") && !Contains("hunter2"));
  CHECK_THAT(why_tenant({{"password", "hunter2"}, {"password", "hunter3"}}), !Contains("hunter"));
}

TEST_CASE("what a row says lies over the tier, and the lower ceiling holds") {
  const auto row = Row::of_tier({{"max_server_connections", "3"}});
  REQUIRE(row);
  Tier tier;
  tier.pool_size = 20;
  tier.max_server_connections = 50;
  CHECK(row->apply(tier));
  CHECK(tier.max_server_connections == 3);
  CHECK(tier.pool_size == 3);
  CHECK(check_tier(tier));

  Tier high, low;
  high.max_clients = 200;
  high.queue_timeout = milliseconds(5);
  low.max_clients = 20;
  low.max_server_connections = 9;
  low.name = "low";
  const Tier both = lower_of(low, high);
  CHECK(both.max_clients == 20);
  CHECK(both.max_server_connections == high.max_server_connections);
  CHECK(both.name == "low");
}

TEST_CASE("of limits that are none at 0 any other is lower") {
  for (const auto field :
       {&Tier::max_waiting_clients, &Tier::max_client_statements, &Tier::max_client_statement_bytes}) {
    Tier none, few, more;
    few.*field = 3;
    more.*field = 5;
    CHECK(lower_of(none, few).*field == 3);
    CHECK(lower_of(few, none).*field == 3);
    CHECK(lower_of(more, few).*field == 3);
    CHECK(lower_of(none, none).*field == 0);
  }
}

TEST_CASE("a rate of 0 is none, so any other is lower") {
  Tier free, paid;
  free.transactions_per_minute = 100;
  free.burst = 120;
  CHECK(move_between(free, paid) == Move::Upgrade);
  CHECK(move_between(paid, free) == Move::Downgrade);
  CHECK(lower_of(paid, free).transactions_per_minute == 100);
  CHECK(lower_of(free, paid).transactions_per_minute == 100);
  CHECK(lower_of(paid, free).burst == 120);
  CHECK(lower_of(paid, paid).transactions_per_minute == 0);
}
