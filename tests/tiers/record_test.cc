#include "tiers/record.h"

#include <array>
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
  std::vector<Lowered> lowered;
  CHECK(row->apply(tier, lowered));
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

TEST_CASE("a row is changed field by field, however they are spelled") {
  struct Case {
    Fields row;
    Change change;
    Fields after;
  };
  const Case cases[] = {
      {{{"tier", "pro"}}, {{{"tier", "free"}}, {}}, {{"tier", "free"}}},
      {{{"tier", "pro"}}, {{{"max_clients", "7"}}, {}}, {{"tier", "pro"}, {"max_clients", "7"}}},
      {{{"max_clients", "7"}}, {{{"max_clients", "8"}}, {}}, {{"max_clients", "8"}}},
      {{{"max_clients", "7"}, {"tier", "pro"}}, {{}, {"max_clients"}}, {{"tier", "pro"}}},
      {{{"tier", "pro"}}, {{}, {"max_clients"}}, {{"tier", "pro"}}},
      {{{"ceiling.work_mem", "1MB"}}, {{{"work_mem", "2MB"}}, {}}, {{"work_mem", "2MB"}}},
      {{{"ceiling_jit", "off"}}, {{}, {"ceiling.JIT"}}, {}},
      {{{"work_mem", "1MB"}}, {{}, {"ceiling.work_mem"}}, {}},
      {{{"inject.jit", "on"}}, {{}, {"default.jit"}}, {{"inject.jit", "on"}}},
  };
  for (const Case& each : cases) {
    INFO((each.change.empty()       ? "nothing"
          : each.change.set.empty() ? each.change.drop[0]
                                    : each.change.set[0].first));
    CHECK(with(each.row, spelled(each.row, each.change)) == each.after);
  }
  const Error error =
      no_override("acme", "max_client", {{"tier", "pro"}, {"max_clients", "7"}, {"ceiling_jit", "on"}});
  CHECK(error.message == "tenant 'acme' has no value of its own for max_client; did you mean max_clients?");
  CHECK(error.hint == "It has its own ceiling.jit, max_clients.");
  CHECK(no_override("acme", "weight", {{"tier", "pro"}}).hint == "All that it has is its tier's.");
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

TEST_CASE("whatever gives a tenant less is a downgrade") {
  const struct {
    const char *key, *more, *less;
  } rows[] = {
      {"pool_size", "3", "2"},
      {"max_server_connections", "9", "8"},
      {"min_server_connections", "1", "0"},
      {"max_clients", "21", "20"},
      {"weight", "2", "1"},
      {"server_idle_timeout", "10min", "5min"},
      {"server_idle_timeout", "0", "5min"},
      {"queue_timeout", "30s", "5s"},
      {"queue_timeout", "never", "1h"},
      {"max_pinned_clients", "2", "0"},
      {"max_waiting_clients", "0", "5"},
      {"max_waiting_clients", "6", "5"},
      {"max_client_statements", "0", "100"},
      {"max_client_statement_bytes", "2000", "1000"},
      {"transactions_per_minute", "0", "1000"},
      {"at_clients", "queue", "reject"},
      {"at_pool", "queue", "reject"},
      {"at_rate", "throttle", "reject"},
      {"at_breaker", "queue", "reject"},
      {"session_mode", "true", "false"},
      {"replication", "true", "false"},
      {"inspection", "off", "standard"},
      {"inspection", "standard", "strict"},
      {"clocks", "false", "true"},
      {"request_timeout", "never", "1min"},
      {"work_mem", "8MB", "4MB"},
      {"work_mem", "none", "4MB"},
      {"ceiling.jit", "off|on", "off"},
      {"ceiling.max_parallel_workers", "4", "2"},
  };
  for (const auto& row : rows) {
    INFO(row.key << " " << row.more << " " << row.less);
    Tier more, less;
    REQUIRE(set_tier_field(more, row.key, row.more));
    REQUIRE(set_tier_field(less, row.key, row.less));
    CHECK(move_between(more, less) == Move::Downgrade);
    CHECK(move_between(less, more) == Move::Upgrade);
    CHECK(move_between(less, less) == Move::None);
    // With one thing more it is a downgrade all the same, and what stays is none.
    const auto other = std::string_view(row.key) == "max_clients" ? &Tier::weight : &Tier::max_clients;
    ++(less.*other);
    CHECK(move_between(more, less) == Move::Downgrade);
    Tier wider = less;
    ++(wider.*other);
    CHECK(move_between(less, wider) == Move::Upgrade);
  }
  // Neither gives less.
  for (const auto& [key, from, to] :
       {std::array{"slow_transaction", "2s", "1s"}, std::array{"burst", "0", "9"},
        std::array{"pool_mode", "session", "transaction"}, std::array{"work_mem", "4MB", "4096kB"}}) {
    INFO(key);
    Tier a, b;
    REQUIRE(set_tier_field(a, key, from));
    REQUIRE(set_tier_field(b, key, to));
    CHECK(move_between(a, b) != Move::Downgrade);
    CHECK(move_between(b, a) != Move::Downgrade);
  }
  Tier fast, slow;
  fast.transactions_per_minute = slow.transactions_per_minute = 100;
  fast.burst = 150;
  CHECK(move_between(fast, slow) == Move::Downgrade);  // without one it is 100
  CHECK(move_between(slow, fast) == Move::Upgrade);
}
