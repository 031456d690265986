// What keeps a client on its server, for how many clients, and session mode.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

// --- pins

TEST_CASE("what may stay on the server is asked for, by its kind") {
  struct Row {
    Bytes sql, asked;
    Pins pin;
  };
  for (const Row& each :
       {Row{"create temp table t (i int)", "temp", pin::kTemp},
        Row{"select 1 into temp t", "temp", pin::kTemp},
        Row{"declare c cursor with hold for select 1", "cursors", pin::kCursor},
        Row{"select pg_advisory_lock(1)", "locks", pin::kLock}, Row{"listen a", "listens", pin::kListen},
        Row{"prepare p as select 1", "statements", pin::kStatement}}) {
    CAPTURE(each.sql);
    const std::string name = "pgweir_" + std::string(each.asked);
    Place place;
    Client client(place);
    CHECK(suspected(client, each.sql, "OK", place.server) == "P:" + name + " B:" + name + " E S");
    SECTION(std::string(each.asked) + " are there") {
      // Which of the two it is, the text does not say.
      const std::string unclear = statement_row("p", "{}", "prepare p as select 1; prepare p as select 2");
      CHECK(client.hears(parsed() + answered(each.pin == pin::kStatement ? unclear : row())).empty());
      CHECK(client.core.pins() == each.pin);
      CHECK(client.core.resting());
    }
    SECTION(std::string(each.asked) + " are not") {
      CHECK(client.hears(parsed() + answered("")) == "release");
      CHECK(client.core.pins() == 0);
    }
  }
}

TEST_CASE("a pinned client goes on with its server until nothing of it is there") {
  Place place;
  Pinned client(place);
  CHECK(client.says(query("insert into t values (1)")).empty());
  CHECK(client.sent().ends_with("Q:insert into t values (1)"));
  CHECK(client.hears(done("INSERT 0 1") + ready()).empty());
  CHECK(client.out.transactions == 1);
  CHECK(client.core.resting());
  CHECK(client.says(query("DROP TABLE t")).empty());
  CHECK_FALSE(client.core.resting());
  client.sent();
  CHECK(client.hears(done("DROP TABLE") + ready()).empty());
  CHECK(client.sent() == "B:pgweir_temp E S");
  CHECK(client.hears(answered("")) == "release");
  CHECK(place.server.clean());
}

TEST_CASE("DISCARD ALL of a pinned client is Postgres's to do") {
  Place place;
  Pinned client(place);
  CHECK(client.says(query("discard all")).empty());
  CHECK(client.hears(done("DISCARD ALL") + ready()).empty());
  CHECK(client.hears(parsed() + answered("")) == "release");
}

TEST_CASE("the server of a pinned client that leaves is to be cleaned") {
  Place place;
  Pinned client(place);
  CHECK(client.step([&] { client.core.client_gone(client.out); }) == "release");
  CHECK(place.server.dirty);
}

TEST_CASE("a pinned client that says goodbye is let go") {
  Place place;
  Pinned client(place);
  CHECK(client.says(terminate()) == "close release");
  CHECK(place.server.dirty);
}

TEST_CASE("state that nobody can be asked for pins for good, and spoils the server") {
  Place place;
  Client client(place);
  client.says(query("select setseed(0.5)"));
  client.granted(place.server);
  CHECK(client.hears(rows()).empty());
  CHECK(client.core.pins() == pin::kSettings);
  CHECK(client.says(query("discard all")).empty());
  CHECK(client.hears(done("DISCARD ALL") + ready()).empty());
  CHECK(client.core.pins() == pin::kSettings);
  CHECK(client.step([&] { client.core.client_gone(client.out); }) == "drop");
}

TEST_CASE("settings that cannot be named pin until all are discarded") {
  Place place;
  Client client(place);
  client.says(query("select set_config('a.' || 'b', 'x', false)"));
  client.granted(place.server);
  CHECK(client.hears(rows()).empty());
  CHECK(client.hears(parsed() + answered("")).empty());  // it might have been search_path
  CHECK(client.core.pins() == pin::kSettings);
  CHECK(client.says(query("discard all")).empty());
  CHECK(client.hears(done("DISCARD ALL") + ready()) == "release");
}

TEST_CASE("a search_path of temporary objects pins, because what is made there does not say so") {
  Place place;
  Client client(place);
  suspected(client, "set search_path = pg_temp", "SET", place.server);
  CHECK(client.hears(parsed() + bound() + row("pg_temp") + done() + parsed() + answered("")).empty());
  CHECK(client.core.pins() == pin::kSettings);
}

TEST_CASE("who comes to keep its server by what was asked for no room is ended where there is none") {
  Place place;
  place.tenant.limits.max_pinned_clients = GENERATE(0, 1);
  const bool room = place.tenant.limits.max_pinned_clients == 1;
  Client client(place);
  suspected(client, "set a.b = 'long'", "SET", place.server);
  const std::string done_by = client.hears(parsed() + answered(row(std::string(70'000, 'x'))));
  CHECK(place.pins.pinned() == (room ? 1 : 0));
  CHECK(client.core.pins() == (room ? pin::kSettings : Pins{0}));
  CHECK(done_by == (room ? "" : "close release"));
  if (room) return;
  CHECK_THAT(client.to_client, Catch::Contains("53400"));
  CHECK(place.server.dirty);
  CHECK(place.pins.totals().refused == 1);
}

TEST_CASE("who has more settings than follow it is told how many do") {
  enum class How { LongValue, LongerRow, OneMore, InOneTransaction };
  const How how = GENERATE(How::LongValue, How::LongerRow, How::OneMore, How::InOneTransaction);
  CAPTURE(static_cast<int>(how));
  const auto name = [](std::size_t i) { return "a.b" + std::to_string(i); };
  Place place;
  place.tenant.limits.max_pinned_clients = 0;
  Client client(place);
  if (how == How::InOneTransaction || how == How::OneMore) {
    const std::size_t count = kSettingsMost + (how == How::InOneTransaction ? 1 : 0);
    client.says(query("begin"));
    client.granted(place.server);
    client.hears(done("BEGIN") + ready('T'));
    for (std::size_t i = 0; i < count; ++i) {
      client.says(query("set " + name(i) + " = 'x'"));
      client.hears(done("SET") + ready('T'));
    }
    client.says(query("commit"));
    client.hears(done("COMMIT") + ready());
    std::string values = parsed();
    for (std::size_t i = 0; i < kSettingsMost; ++i) values += bound() + row("x") + done();
    client.hears(values + ready());
    if (how == How::OneMore) {
      CHECK(client.core.pins() == 0);
      suspected(client, "set one.more = 'x'", "SET", place.server);
      client.hears(answered(row("x")));
    }
  } else {
    suspected(client, "set a.b = 'long'", "SET", place.server);
    const std::string value(kSettingsBytesMost + (how == How::LongerRow ? 5'000 : 0), 'x');
    const std::string answer = parsed() + answered(row(value));
    client.hears(Bytes(answer).substr(0, 50'000));
    client.hears(Bytes(answer).substr(50'000));
  }
  CHECK_THAT(client.to_client, Catch::Contains("53400"));
  CHECK_THAT(client.to_client, Catch::Contains("more settings than follow it to another server"));
  CHECK_THAT(client.to_client, Catch::Contains("256 of 65536 bytes together"));
  CHECK_THAT(client.to_client, !Catch::Contains("write the setting's name"));
  CHECK(place.pins.totals().refused == 1);
}

TEST_CASE("what cannot be read is looked for everywhere, and the server is cleaned") {
  Place place;
  Client client(place);
  CHECK(told_to_server(client.sent()).empty());
  CHECK(suspected(client, "call p()", "CALL", place.server) ==
        "P:pgweir_temp B:pgweir_temp E P:pgweir_cursors B:pgweir_cursors E P:pgweir_locks B:pgweir_locks E "
        "P:pgweir_listens B:pgweir_listens E P:pgweir_statements B:pgweir_statements E S");
  CHECK(client.hears(nothing_left()) == "release");
  CHECK(place.server.dirty);
}

TEST_CASE("what the grammar does not know is looked for, and cleaned away") {
  Place place;
  Client client(place);
  suspected(client, "set nonsense of the future", "SET", place.server);
  SECTION("it pins like all else") {
    CHECK(client
              .hears(parsed() + bound() + row() + done() +
                     nothing_left().substr(parsed().size() + bound().size() + done().size()))
              .empty());
    CHECK(client.core.pins() == pin::kTemp);
  }
  SECTION("nothing is there that could be asked for") { CHECK(client.hears(nothing_left()) == "release"); }
  CHECK(place.server.dirty);
}

// --- the budget of pins

TEST_CASE("a request that might pin is not run where there is no room for it") {
  enum class How { Simple, Unnamed, Named };
  struct Row {
    Bytes sql, reason;
  };
  const std::string too_long = "prepare p as select 1 /* " + std::string(13'000, 'x') + " */";
  for (const Row& each :
       {Row{"create temp table t (i int)", "(temp)"}, Row{"select 1; listen a; select 2", "(listen)"},
        Row{"declare c cursor with hold for select 1", "(cursor)"},
        Row{"select pg_advisory_lock(1)", "(lock)"}, Row{too_long, "(statement)"},
        Row{"select set_config('a.' || 'b', 'x', false)", "(settings)"}, Row{"load 'a'", "(settings)"},
        Row{"call p()", "(temp,cursor,lock,listen,statement)"}}) {
    for (const How how : {How::Simple, How::Unnamed, How::Named}) {
      CAPTURE(each.sql, static_cast<int>(how));
      Place place;
      place.tenant.limits.max_pinned_clients = 0;
      std::string told;
      place.pins.on_refused = [&told](tiers::Limit limit, const Error& error, Bytes sql) {
        CHECK(limit == tiers::Limit::Pins);
        told += error.sqlstate + std::string(" ").append(sql);
      };
      Client client(place);
      switch (how) {
        case How::Simple:
          client.says(query(each.sql));
          client.granted(place.server);
          CHECK(client.sent() == "Q:refused_by_pgweir");
          CHECK(client.hears(error("42601") + ready()) == "release");
          break;
        case How::Unnamed:
          client.says(parse("", each.sql) + bind() + execute() + sync_message());
          client.granted(place.server);
          CHECK(client.sent() == "P B:pgweir_none E S");
          CHECK(client.hears(parsed() + error("26000") + ready()) == "release");
          break;
        case How::Named:  // on whatever server
          client.runs(parse("s", each.sql) + sync_message(), parsed() + ready(), place.other);
          client.seen();
          client.sent();
          client.says(bind("s") + execute() + sync_message());
          client.granted(place.server);
          CHECK(client.sent() == "B:pgweir_none E S");
          CHECK(client.hears(error("26000") + ready()) == "release");
          break;
      }
      CHECK_THAT(client.to_client, Catch::Contains(std::string(each.reason)));
      CHECK(client.seen() == (how == How::Unnamed ? "1 E:53400 Z:I" : "E:53400 Z:I"));
      CHECK(place.server.clean());
      CHECK_FALSE(place.server.spoiled);
      CHECK(place.pins.totals().refused == 1);
      CHECK(told == "53400 " + std::string(each.sql));
    }
  }
}

TEST_CASE("a statement of which nobody would know how it was read needs room") {
  Place place;
  place.reports({{"DateStyle", "ISO, MDY"}});
  place.tenant.limits.max_pinned_clients = 0;
  const std::string makes = "prepare p as select '1.2.2026'::date";
  SECTION("and is refused where its text shows that") {
    Client client(place);
    client.says(query(makes + "; set datestyle = 'ISO, DMY'"));
    client.granted(place.server);
    CHECK(client.sent() == "Q:refused_by_pgweir");
    client.hears(error("42601") + ready());
    CHECK(client.seen() == "E:53400 Z:I");
  }
  SECTION("and ends its client where none does") {
    Linked client(place);
    for (const char* style : {"ISO, DMY", "ISO, YMD"}) {
      client.says(query(makes));
      client.hears(done("PREPARE") + ready('T'));
      client.says(query("set datestyle = '" + std::string(style) + "'"));
      client.hears(done("SET") + parameter("DateStyle", style) + ready('T'));
    }
    client.says(query("commit"));
    client.hears(done("COMMIT") + ready());
    CHECK(client.hears(parsed() + answered(statement_row("p", "{}", makes))) == "close release");
    CHECK_THAT(client.to_client, Catch::Contains("53400"));
    CHECK(place.server.dirty);
  }
}

TEST_CASE("what ends with its transaction needs no room") {
  for (const Bytes sql :
       {"create temp table t (i int) on commit drop", "select pg_advisory_xact_lock(1)",
        "set local work_mem = '5MB'", "declare c cursor for select 1", "unlisten a", "select 1; reset all",
        "deallocate p", "select set_config('search_path', current_schema, true)"}) {
    CAPTURE(sql);
    Place place;
    place.tenant.limits.max_pinned_clients = 0;
    Client client(place);
    client.says(query(sql));
    client.granted(place.server);
    CHECK(client.sent().ends_with("Q:" + std::string(sql)));
  }
}

TEST_CASE("a refusal aborts the transaction, and what waits behind it") {
  Place place;
  place.tenant.limits.max_pinned_clients = 0;
  Linked client(place);
  client.says(query("listen a") + query("select 1"));
  CHECK(client.sent() == "Q:refused_by_pgweir Q:select 1");
  client.hears(error("42601") + ready('E') + error("25P02") + ready('E'));
  CHECK(client.seen() == "E:53400 Z:E E:25P02 Z:E");
  CHECK(client.says(query("rollback")).empty());
  CHECK(client.hears(done("ROLLBACK") + ready()) == "release");
}

TEST_CASE("a refusal behind a failed batch is not told") {
  Place place;
  place.tenant.limits.max_pinned_clients = 0;
  Linked client(place);
  client.says(parse("s", "select 1/0") + bind("s") + execute() + query("listen a") + sync_message());
  CHECK(client.hears(parsed() + bound() + error("22012") + ready('E')).empty());
  CHECK(client.seen() == "1 2 E:22012 Z:E");
  CHECK(place.server.ops.empty());
}

TEST_CASE("clients are counted by what pins them") {
  Place place;
  {
    Pinned one(place);
    CHECK(place.pins.pinned() == 1);
    CHECK(place.pins.reasons() == PinBook::Reasons{1});
    CHECK(one.says(query("listen a")).empty());
    one.hears(done("LISTEN") + ready());
    one.hears(parsed() + answered(row()));
    CHECK(one.core.pins() == (pin::kTemp | pin::kListen));
    CHECK(place.pins.pinned() == 1);
    CHECK(place.pins.reasons() == PinBook::Reasons{1, 0, 0, 1});
    CHECK(one.says(query("drop table t")).empty());
    one.hears(done("DROP TABLE") + ready());
    one.hears(bound() + done() + bound() + row() + done() + ready());
    CHECK(place.pins.reasons() == PinBook::Reasons{0, 0, 0, 1});
  }
  CHECK(place.pins.pinned() == 0);
  CHECK(place.pins.reasons() == PinBook::Reasons{});
  CHECK(place.pins.totals() == PinBook::Totals{1, 1, 0});
}

TEST_CASE("a pinned client needs no more room, and makes some when it is free of its pins") {
  Place place;
  place.tenant.limits.max_pinned_clients = 1;
  Pinned one(place);
  CHECK_FALSE(place.pins.has_room());
  CHECK(one.says(query("listen a")).empty());
  one.hears(done("LISTEN") + ready());
  one.hears(parsed() + answered(row()));
  SECTION("as all is gone") {
    CHECK(one.says(query("discard all")).empty());
    one.hears(done("DISCARD ALL") + ready());
    CHECK(one.hears(parsed() + bound() + done() + parsed() + answered("")) == "release");
  }
  SECTION("as it leaves") { one.says(terminate()); }
  SECTION("as its server is lost") {
    one.step([&] { one.core.server_gone("crash", one.out); });
  }
  CHECK(place.pins.has_room());
}

TEST_CASE("who will be pinned when its transaction ends has a place from the request on") {
  Place place;
  place.tenant.limits.max_pinned_clients = 1;
  Client one(place), other(place);
  one.says(query("begin; listen a; listen b"));
  one.granted(place.server);
  one.hears(done("BEGIN") + done("LISTEN") + done("LISTEN") + ready('T'));
  CHECK_FALSE(place.pins.has_room());
  other.says(query("listen a"));
  other.granted(place.other);
  CHECK(other.sent() == "Q:refused_by_pgweir");
  CHECK(other.hears(error("42601") + ready()) == "release");
  CHECK_THAT(other.to_client, Catch::Contains("free: 1 of 1"));
  SECTION("until it turns out that nothing is left") {
    one.says(query("rollback"));
    one.hears(done("ROLLBACK") + ready());
    CHECK(one.hears(parsed() + answered("")) == "release");
  }
  SECTION("until it leaves") {
    CHECK(one.step([&] { one.core.client_gone(one.out); }) == "abandon");
  }
  CHECK(place.pins.has_room());
  CHECK(place.pins.totals() == PinBook::Totals{0, 0, 1});
}

TEST_CASE("what cannot be read holds no place") {
  Place place;
  place.tenant.limits.max_pinned_clients = 1;
  Client one(place);
  one.says(query("call p()"));
  one.granted(place.server);
  CHECK(one.sent() == "Q:call p()");
  CHECK(place.pins.has_room());
}

// --- session mode

namespace {
struct Resident : Client {
  explicit Resident(Place& p, SettingsMap::Values settings = {})
      : Client(p, std::move(settings), tiers::PoolMode::Session) {}
  // Its first request is through.
  void settles() {
    says(query("select 1"));
    granted(place.server);
    REQUIRE(hears(rows()).empty());
    to_client.clear();
    to_server.clear();
  }
};
}  // namespace

TEST_CASE("in session mode a client keeps its server until it leaves") {
  Place place;
  Resident client(place);
  CHECK(place.pins.pinned() == 0);
  client.settles();
  CHECK(client.core.pins() == pin::kSession);
  CHECK(client.core.resting());
  CHECK(place.pins.reasons() == PinBook::Reasons{0, 0, 0, 0, 0, 0, 1, 0});
  CHECK(client.says(query("select 2")).empty());
  CHECK(client.hears(rows()).empty());
  CHECK(client.out.transactions == 1);
  CHECK(client.says(terminate()) == "close release");
  CHECK(place.server.dirty);
  CHECK(place.pins.pinned() == 0);
}

TEST_CASE("in session mode texts pass as they are and nothing is asked") {
  for (const Bytes sql :
       {"create temp table t (i int)", "listen a", "set work_mem = '5MB'", "discard all", "deallocate all",
        "reset all", "close all", "unlisten *", "call p()", "select set_config('a.' || 'b', 'x', false)"}) {
    for (const bool first : {true, false}) {
      CAPTURE(sql, first);
      Place place;
      place.tenant.limits.max_pinned_clients = 1;
      Resident client(place);
      if (!first) client.settles();
      CHECK(client.says(query(sql)) == (first ? "ask" : ""));
      if (first) client.granted(place.server);
      CHECK(client.sent() == "Q:" + std::string(sql));
      CHECK(client.hears(done("DONE") + ready()).empty());
      CHECK(client.sent().empty());
      CHECK(client.core.resting());
      CHECK(client.core.pins() == pin::kSession);
    }
  }
}

TEST_CASE(
    "in session mode DISCARD ALL on the server takes statements, and gives back the client's settings") {
  Place place;
  Resident client(place, {{"work_mem", "5MB"}});
  client.says(parse("s", "select 1") + sync_message());
  client.granted(place.server);
  // SQL may have used the name.
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S P:s C:s P:pgweir_1 S");
  client.hears(parsed() + bound() + row("5MB") + done() + ready() + parsed() + closed() + parsed() + ready());
  CHECK(client.core.statement_count() == 1);
  client.says(query("discard all"));
  CHECK(client.sent() == "Q:discard all");
  client.hears(done("DISCARD ALL") + ready());
  CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
  std::string values;
  protocol::put_data_row(values, {"4MB", "default", "t"});
  client.hears(parsed() + answered(values));
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
  client.hears(parsed() + bound() + row("5MB") + done() + ready());
  CHECK(client.core.statement_count() == 0);
  CHECK(client.core.resting());
}

TEST_CASE("in session mode a statement prepared by the protocol is deallocated by its name") {
  Place place;
  Resident client(place);
  client.says(parse("s", "select 1") + sync_message());
  client.granted(place.server);
  client.hears(parsed() + closed() + parsed() + ready());
  CHECK(client.seen() == "1 Z:I");
  CHECK(client.says(query("deallocate s")).empty());
  CHECK(client.seen() == "C:DEALLOCATE Z:I");
}

TEST_CASE("in session mode what DISCARD ALL leaves spoils the server") {
  Place place;
  Resident client(place);
  client.settles();
  client.says(query("load 'a'"));
  CHECK(client.hears(done("LOAD") + ready()).empty());
  CHECK(client.core.pins() == pin::kSession);
  CHECK(place.server.spoiled);
}

TEST_CASE("a client in session mode has its place in the budget from its first request on") {
  Place place;
  place.tenant.limits.max_pinned_clients = 1;
  Resident one(place), other(place);
  CHECK(one.says(query("select 1")) == "ask");
  CHECK_FALSE(place.pins.has_room());
  CHECK(other.says(query("select 2") + parse("", "select 3") + bind() + execute() + sync_message()).empty());
  CHECK(other.seen() == "E:53400 Z:I E:53400 Z:I");
  CHECK(other.core.state() == State::Idle);
  SECTION("until it gets no server") {
    one.step([&] { one.core.refused({sqlstate::kTooManyConnections, "full", {}, {}}, one.held, one.out); });
    CHECK(one.seen() == "E:53300 Z:I");
  }
  SECTION("until it leaves the queue") {
    one.step([&] { one.core.client_gone(one.out); });
  }
  SECTION("until it is ended in the queue") {
    one.step([&] { one.core.fail({sqlstate::kAdminShutdown, "bye", {}, {}}, one.out); });
  }
  SECTION("until it leaves") {
    one.granted(place.server);
    CHECK_FALSE(place.pins.has_room());
    one.hears(rows());
    CHECK(one.says(terminate()) == "close release");
  }
  SECTION("until its server is lost") {
    one.granted(place.server);
    one.step([&] { one.core.server_gone("crash", one.out); });
  }
  CHECK(place.pins.has_room());
  CHECK(other.says(query("select 4")) == "ask");
}

TEST_CASE("a client in session mode needs no place to have its settings tried") {
  Place place;
  place.tenant.limits.max_pinned_clients = 0;
  Resident client(place, {{"work_mem", "5MB"}});
  CHECK(client.step([&] { client.core.prove(client.out); }) == "ask");
  CHECK(client.granted(place.server).empty());
  CHECK(client.hears(parsed() + bound() + row("5MB") + done() + ready()) == "proven release");
}

TEST_CASE("what a FunctionCall may leave is asked for") {
  constexpr std::uint32_t kSetConfig = 2078, kAdvisoryLock = 2880;
  Place place;
  Client client(place);
  const auto calls = [&](const std::string& call) {
    client.says(call);
    client.granted(place.server);
    client.sent();
    client.hears(function_result() + ready());
    return client.sent();
  };
  std::string setting;
  protocol::put_data_row(setting, {"9MB", "session", "t"});
  SECTION("a lock") {
    CHECK(calls(function_call(kAdvisoryLock)).find("B:pgweir_locks") != std::string::npos);
    const std::string none = parsed() + bound() + done();
    client.hears(none + none + parsed() + bound() + row() + done() + none + none + ready());
    CHECK(client.core.pins() == pin::kLock);
  }
  SECTION("a setting, by its name") {
    CHECK(calls(function_call(kSetConfig, "work_mem")) == "P:pgweir_origin B:pgweir_origin E S");
    CHECK(client.hears(parsed() + answered(setting)) == "release");
    CHECK(client.core.wanted()->values.at("work_mem") == "9MB");
  }
  SECTION("a setting whose name cannot be asked for, among all") {
    CHECK(calls(function_call(kSetConfig, "\xff")).ends_with("B:pgweir_sessions E S"));
  }
  SECTION("not of large objects") {
    CHECK(calls(function_call()).empty());
    CHECK(client.core.state() == SessionCore::State::Idle);
    CHECK_FALSE(place.server.spoiled);
  }
}

TEST_CASE("what a FunctionCall may leave that cannot be asked for spoils the server") {
  constexpr std::uint32_t kSetConfig = 2078, kSetSeed = 1599, kQueryToXml = 2924, kUsers = 16400;
  struct Row {
    const char* what;
    std::string call;
    Pins pins;
  };
  const Row row =
      GENERATE(Row{"the seed of random()", function_call(kSetSeed, "0.5"), pin::kSettings},
               Row{"the seed by its other name", function_call(kSetConfig, "Seed"), pin::kSettings},
               Row{"a query that nobody reads", function_call(kQueryToXml, "select 1"), Pins{0}},
               Row{"a function of which only the number is known", function_call(kUsers, "x"), Pins{0}});
  CAPTURE(row.what);
  Place place;
  Client client(place);
  client.says(row.call);
  client.granted(place.server);
  client.hears(function_result() + ready());
  std::string end;
  if (client.core.state() == SessionCore::State::Linked &&
      client.sent().find("B:pgweir_") != std::string::npos)
    end = client.hears(nothing_left());
  CHECK(client.core.pins() == row.pins);
  if (row.pins != 0) end = client.step([&] { client.core.client_gone(client.out); });
  CHECK(end == "drop");
}

TEST_CASE("a FunctionCall that would keep its server is refused where there is no room") {
  Place place;
  place.tenant.limits.max_pinned_clients = 0;
  Client client(place);
  client.says(function_call(1599, "0.5"));
  client.granted(place.server);
  CHECK(client.sent() == "F");
  CHECK(client.hears(error("42883") + ready()) == "release");
  CHECK(client.seen() == "E:53400 Z:I");
  CHECK_FALSE(place.server.spoiled);
}

TEST_CASE("a FunctionCall of lastval hears of no other client's nextval") {
  Place place;
  Client first(place), second(place);
  first.runs(query("select nextval('s')"), rows(), place.server);
  for (const std::uint32_t oid : {2559U, 1575U}) {
    place.books.reads_sequences = false;
    place.server.others_sequences = true;
    second.says(function_call(oid));
    second.granted(place.server);
    CHECK(second.sent() == "Q:DISCARD SEQUENCES F");
    second.hears(done("DISCARD SEQUENCES") + ready() + error("55000") + ready());
    CHECK(second.hears(nothing_left()) == "release");
    second.sent();
    place.server = ServerCore{place.books.settings.empty()};
    place.server.last_client = first.core.number();
  }
}

TEST_CASE("what a text has left that was too long to be read is asked for") {
  Place place;
  Client client(place);
  const std::string text = query("select '" + std::string(1 << 20, 'x') + "'");
  CHECK(client.says(Bytes(text).substr(0, 17'000)) == "ask");
  client.granted(place.server);
  client.says(Bytes(text).substr(17'000));
  CHECK(client.to_server == text);
  client.sent();
  client.hears(rows());
  CHECK(
      client.sent() ==
      "P:pgweir_origin B:pgweir_origin E P:pgweir_sessions B:pgweir_sessions E P:pgweir_temp B:pgweir_temp E "
      "P:pgweir_cursors B:pgweir_cursors E P:pgweir_locks B:pgweir_locks E P:pgweir_listens B:pgweir_listens "
      "E "
      "P:pgweir_statements B:pgweir_statements E S");
  std::string role, own, others;
  protocol::put_data_row(role, {"none", {}, {}});
  protocol::put_data_row(own, {"work_mem", "9MB", "t"});
  protocol::put_data_row(others, {"log_statement", "all", "f"});
  const std::string none = parsed() + bound() + done();
  const auto found = [&](const std::string& settings, const std::string& temp) {
    return parsed() + bound() + role + done() + parsed() + bound() + settings + done() + parsed() + bound() +
           temp + done() + none + none + none + none + ready();
  };
  SECTION("nothing, but settings") {
    CHECK(client.hears(found(own, "")) == "release");
    CHECK_FALSE(place.server.clean());
  }
  SECTION("a table") {
    CHECK(client.hears(found(own, row())).empty());
    CHECK(client.core.pins() == pin::kTemp);
  }
  SECTION("what may not be set elsewhere") {
    CHECK(client.hears(found(own + others, "")).empty());
    CHECK(client.core.pins() == pin::kSettings);
  }
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "9MB"}});
}

TEST_CASE("a text of up to 1 MB is read, and needs no server before it is there") {
  Place place;
  Client client(place);
  const std::string text = query("/*" + std::string(300'000, 'x') + "*/ set work_mem = '9MB'");
  CHECK(client.says(Bytes(text).substr(0, 200'000)).empty());
  CHECK(client.says(Bytes(text).substr(200'000)) == "ask");
  client.granted(place.server);
  client.sent();
  client.hears(done("SET") + ready());
  CHECK(client.sent() == "P:pgweir_value B:pgweir_value E S");
  client.hears(parsed() + answered(row("9MB")));
}
