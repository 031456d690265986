#include "pooler/clocks.h"

#include <catch2/catch.hpp>
#include <string>

#include "tests/pooler/session_help.h"

namespace pgweir {
namespace {

using std::chrono::milliseconds;

Time at(int ms) { return Time(Duration(std::chrono::seconds(1000))) + milliseconds(ms); }
// What is limited to 1000 ms is due 1500 ms after its beginning.
constexpr int kDue = 1500;

ClockLimits only(Clock clock, int ms = 1000) {
  ClockLimits limits{};
  limits[static_cast<std::size_t>(clock)] = milliseconds(ms);
  return limits;
}

Holding running(int transaction, int request, int statement, std::uint32_t statements = 1) {
  return {at(transaction), at(request), at(statement), true, false, statements};
}
Holding silent(int transaction, int request) { return {at(transaction), at(request), at(0), false, true, 0}; }
Holding resting(int since) { return {at(since), at(since), at(since), false, false, 0}; }

TEST_CASE("each clock runs while what it measures goes on") {
  struct Row {
    Clock clock;
    Holding holding;
    std::optional<int> began;
  };
  const Row rows[] = {
      {Clock::Statement, running(0, 100, 50), 100},  // what ended before this request does not count
      {Clock::Statement, running(0, 100, 700), 700},
      {Clock::Statement, silent(0, 100), {}},
      {Clock::Statement, resting(100), {}},
      {Clock::Request, running(0, 100, 700), 100},
      {Clock::Request, silent(0, 100), {}},
      {Clock::IdleInTransaction, silent(0, 100), 100},
      {Clock::IdleInTransaction, running(0, 100, 0), {}},
      {Clock::IdleInTransaction, resting(100), {}},
      {Clock::Transaction, running(0, 100, 700), 0},
      {Clock::Transaction, silent(0, 100), 0},
      {Clock::Transaction, resting(100), {}},
  };
  for (const Row& row : rows) {
    CAPTURE(row_of(row.clock).ceiling, row.holding.request_runs, row.holding.in_transaction);
    Clocks clocks;
    CHECK(clocks.due(only(row.clock), row.holding) == (row.began ? at(*row.began + kDue) : kNever));
    CHECK(clocks.due(ClockLimits{}, row.holding) == kNever);
    CHECK_FALSE(clocks.look(ClockLimits{}, row.holding, true, at(1'000'000)));
    if (!row.began) {
      CHECK_FALSE(clocks.look(only(row.clock), row.holding, true, at(1'000'000)));
      continue;
    }
    CHECK_FALSE(clocks.look(only(row.clock), row.holding, true, at(*row.began + kDue - 1)));
    const auto alarm = clocks.look(only(row.clock), row.holding, true, at(*row.began + kDue));
    REQUIRE(alarm);
    CHECK(alarm->clock == row.clock);
    CHECK(alarm->cancel == row_of(row.clock).cancels);
    CHECK(alarm->ran == milliseconds(kDue));
  }
}

TEST_CASE("a cancel that does not help is followed by the end") {
  const ClockLimits limits = only(Clock::Statement);
  const Holding holding = running(0, 0, 0);
  Clocks clocks;
  REQUIRE(clocks.look(limits, holding, true, at(kDue + 7))->cancel);
  CHECK(clocks.due(limits, holding) == at(kDue + 7 + 200));
  CHECK_FALSE(clocks.look(limits, holding, true, at(kDue + 206)));
  const auto alarm = clocks.look(limits, holding, true, at(kDue + 207));
  REQUIRE(alarm);
  CHECK_FALSE(alarm->cancel);
}

TEST_CASE("a cancel that helped leaves the next statement all its time") {
  const ClockLimits limits = only(Clock::Statement);
  Clocks clocks;
  REQUIRE(clocks.look(limits, running(0, 0, 0), true, at(kDue))->cancel);
  SECTION("its error has come, and the client has not sent Sync") {
    const Holding holding = running(0, 0, kDue + 5);
    CHECK(clocks.due(limits, holding) == at(kDue + 5 + kDue));
    CHECK(clocks.look(limits, holding, true, at(kDue + 5 + kDue))->cancel);
  }
  SECTION("another request") {
    const Holding holding = running(0, kDue + 5, kDue + 5);
    CHECK(clocks.due(limits, holding) == at(kDue + 5 + kDue));
    CHECK(clocks.look(limits, holding, true, at(kDue + 5 + kDue))->cancel);
  }
}

TEST_CASE("where Postgres owes no answer nothing is canceled") {
  Clocks clocks;
  const auto alarm = clocks.look(only(Clock::Statement), running(0, 0, 0), false, at(kDue));
  REQUIRE(alarm);
  CHECK_FALSE(alarm->cancel);
}

TEST_CASE("one cancel is enough for the statement and its request") {
  ClockLimits limits = only(Clock::Statement);
  limits[static_cast<std::size_t>(Clock::Request)] = milliseconds(1100);
  const Holding holding = running(0, 0, 0);
  Clocks clocks;
  CHECK(clocks.look(limits, holding, true, at(kDue))->cancel);
  CHECK(clocks.due(limits, holding) == at(kDue + 200));
  CHECK_FALSE(clocks.look(limits, holding, true, at(kDue + 150)));
  CHECK_FALSE(clocks.look(limits, holding, true, at(kDue + 200))->cancel);
}

TEST_CASE("progress within a request moves the clock of statements only") {
  ClockLimits limits = only(Clock::Statement);
  limits[static_cast<std::size_t>(Clock::Request)] = milliseconds(3000);
  Clocks clocks;
  CHECK(clocks.due(limits, running(0, 0, 2000)) == at(3500));
  const auto alarm = clocks.look(limits, running(0, 0, 3400), true, at(3500));
  REQUIRE(alarm);
  CHECK(alarm->clock == Clock::Request);
}

TEST_CASE("each statement that may still run has the time of one") {
  const ClockLimits limits = only(Clock::Statement);
  Clocks clocks;
  CHECK(clocks.due(limits, running(0, 0, 0, 0)) == at(1500));
  CHECK(clocks.due(limits, running(0, 0, 0, 1)) == at(1500));
  CHECK(clocks.due(limits, running(0, 0, 700, 3)) == at(4200));
  const auto alarm = clocks.look(limits, running(0, 0, 700, 3), true, at(4200));
  REQUIRE(alarm);
  CHECK(alarm->statements == 3);
  tiers::Tier tier;
  CHECK(alarm_error(*alarm, tier, milliseconds(1'000)).detail ==
        "The statement took 3.5s by the pooler's clock; statement_timeout of tier  is 1s for each of 3.");
  // The longest timeout and the most statements that are counted.
  const Holding many = running(0, 0, 0, SessionCore::kStatementsCounted);
  ClockLimits longest = only(Clock::Statement);
  longest[0] = milliseconds(tiers::kGucMax);
  CHECK(clocks.due(longest, many) > at(0) + milliseconds(tiers::kGucMax));
}

TEST_CASE("of two clocks that are due the first one is told") {
  ClockLimits limits = only(Clock::IdleInTransaction);
  limits[static_cast<std::size_t>(Clock::Transaction)] = milliseconds(1000);
  Clocks clocks;
  CHECK(clocks.look(limits, silent(0, 300), true, at(9000))->clock == Clock::Transaction);
}

TEST_CASE("the limits of the clocks are the ceilings of the tier") {
  tiers::Tier tier;
  const auto set = [&](const char* key, const char* value) {
    REQUIRE(tiers::set_tier_field(tier, key, value).has_value());
  };
  CHECK(clock_limits(tier) == ClockLimits{});
  set("statement_timeout", "10s");
  set("transaction_timeout", "1min");
  set("inject.idle_in_transaction_session_timeout", "1500");
  CHECK(clock_limits(tier) ==
        ClockLimits{milliseconds(10'000), milliseconds(0), milliseconds(1'500), milliseconds(60'000)});
  set("request_timeout", "20s");
  set("statement_timeout", "none");
  CHECK(clock_limits(tier) ==
        ClockLimits{milliseconds(0), milliseconds(20'000), milliseconds(1'500), milliseconds(60'000)});
  CHECK(nearest_alarm(clock_limits(tier)) == milliseconds(2'000));
  set("clocks", "off");
  CHECK(clock_limits(tier) == ClockLimits{});
  CHECK(nearest_alarm(clock_limits(tier)) == Duration::max());
}

TEST_CASE("an alarm says which ceiling of which tier, and how long it took") {
  tiers::Tier tier;
  tier.name = "free";
  const Error cancel =
      alarm_error({Clock::Statement, true, milliseconds(10'612), 1}, tier, milliseconds(10'000));
  CHECK(std::string(cancel.sqlstate) == "57014");
  CHECK(cancel.message == "canceling statement due to statement_timeout of tier \"free\"");
  CHECK(cancel.detail ==
        "The statement took 10.612s by the pooler's clock; statement_timeout of tier free is 10s.");
  const Error end =
      alarm_error({Clock::Transaction, false, milliseconds(1'501), 1}, tier, milliseconds(1'000));
  CHECK(std::string(end.sqlstate) == "25P04");
  CHECK(end.message == "terminating connection due to transaction_timeout of tier \"free\"");
}

Error why() { return {sqlstate::kQueryCanceled, "ours", {}, {}}; }

std::string error_told(test::Client& client) {
  for (const std::string& one : test::split(std::exchange(client.to_client, {})))
    if (one[0] == 'E') return protocol::parse_error(Bytes(one).substr(5)).message;
  return {};
}

TEST_CASE("a cancel of ours is told in our words, any other error in Postgres's") {
  using namespace test;
  struct Row {
    const char* sqlstate;
    bool asked;
    const char* told;
  };
  for (const Row& row :
       {Row{"57014", true, "ours"}, Row{"57014", false, "theirs"}, Row{"22012", true, "theirs"}}) {
    CAPTURE(row.sqlstate, row.asked);
    Place place;
    Linked client(place);
    client.says(query("select 1"));
    if (row.asked) client.core.canceling(why());
    client.hears(error(row.sqlstate, "theirs"));
    CHECK(error_told(client) == row.told);
    CHECK(client.out.statements == 1);
    client.hears(ready('E'));
    // Of the next request nobody has asked for a cancel.
    client.says(query("select 2"));
    client.hears(error("57014", "theirs"));
    CHECK(error_told(client) == "theirs");
  }
}

TEST_CASE("a request is known to have at most so many statements") {
  using namespace test;
  struct Row {
    std::string request;
    std::uint32_t statements;
  };
  const Row rows[] = {{query("select 1"), 1},
                      {query("select 1;"), 1},
                      {query("select 1 ; \n;\t"), 1},
                      {query("select 1; select 2"), 2},
                      {query("a;b;c;"), 3},
                      {query("select ';'; --; ;"), 1},
                      {query("do $$ begin a; b; end $$"), 1},
                      {query(";;;"), 1},
                      {query(""), 1},
                      {parse("", "select 1") + bind() + execute() + sync_message(), 1},
                      {parse("", "select 1") + bind() + execute() + bind() + execute() + flush(), 2},
                      {function_call(), 1},
                      {query("select 1") + query("select 2"), 2}};
  for (const Row& each : rows) {
    CAPTURE(each.request);
    Place place;
    Linked client(place);
    client.says(each.request);
    CHECK(client.core.statements_left() == each.statements);
  }
  Place place;
  Linked client(place);
  client.says(query("a; b; c"));
  client.hears(done());
  CHECK(client.core.statements_left() == 2);
  client.hears(error() + ready('E'));
  CHECK(client.core.statements_left() == 0);
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "a;";
  client.says(query(many));
  CHECK(client.core.statements_left() == 1000);
}

TEST_CASE("what ends a statement is progress, and nothing else") {
  using namespace test;
  struct Row {
    std::string answer;
    unsigned statements;
  };
  const Row rows[] = {
      {done(), 1},        {done() + done(), 2}, {row_description() + row(), 0}, {error(), 1},
      {empty_query(), 1}, {notice(), 0},        {done("INSERT 0 1"), 1},        {done("CREATE TABLE"), 1}};
  for (const Row& each : rows) {
    Place place;
    Linked client(place);
    client.says(query("select 1; select 2"));
    client.hears(each.answer);
    CHECK(client.out.statements == each.statements);
  }
  Place place;
  Linked client(place);
  client.says(parse("", "select 1") + bind() + execute("", 1) + flush());
  client.hears(parsed() + bound() + row());
  CHECK(client.out.statements == 0);
  client.hears(suspended());
  CHECK(client.out.statements == 1);
}

}  // namespace
}  // namespace pgweir
