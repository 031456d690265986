// Settings that Postgres would not take from the client, or that a transaction has not left: they do not
// follow it, and nobody else comes to hear of them.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

namespace {
// The answer to Question::Kind::Origin. `may`: whether the role may set it, too.
std::string origin(Bytes value, std::optional<std::string> source, std::optional<std::string> may = "t") {
  std::string out;
  protocol::put_data_row(out, {std::string(value), std::move(source), std::move(may)});
  return out;
}

const std::string kApplied = parsed() + bound() + row() + done() + ready();
}  // namespace

TEST_CASE("a setting that was refused is nothing of the client's") {
  Place place;
  const bool started = GENERATE(false, true);
  Client client(place, started ? SettingsMap::Values{{"log_statement", "all"}} : SettingsMap::Values{});
  const SettingsRef before = client.core.wanted();
  client.says(query("set log_statement = 'all'"));
  client.granted(place.server);
  if (started) client.hears(kApplied);
  client.sent();
  client.hears(error("42501") + ready());
  CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
  CHECK(client.hears(parsed() + answered(started ? origin("all", "session") : origin("none", "default"))) ==
        "release");
  CHECK(client.core.wanted() == before);
  CHECK(place.server.applied == before);
  CHECK(place.server.clean());
}

TEST_CASE("a default that is seen behind what was undone is nothing of the client's") {
  Place place;
  Client client(place);
  const char* const answer = "P:pgweir_origin B:pgweir_origin E S";
  SECTION("by ROLLBACK") {
    client.says(query("begin"));
    client.granted(place.server);
    client.hears(done("BEGIN") + ready('T'));
    client.says(query("set work_mem = '1MB'"));
    client.hears(done("SET") + ready('T'));
    client.says(query("rollback"));
    client.sent();
    client.hears(done("ROLLBACK") + ready());
  }
  SECTION("in part, whatever the text may call it") {
    client.says(query("begin"));
    client.granted(place.server);
    client.hears(done("BEGIN") + ready('T'));
    for (const char* sql : {"savepoint a", "set work_mem = '1MB'"}) {
      client.says(query(sql));
      client.hears(done("SET") + ready('T'));
    }
    client.says(parse("r", "rollback to a") + bind("r") + execute() + sync_message());
    client.hears(parsed() + bound() + done("ROLLBACK") + ready('T'));
    client.says(query("commit"));
    client.sent();
    client.hears(done("COMMIT") + ready());
  }
  SECTION("by an error of the same text, one byte at a time") {
    client.says(query("set work_mem = '1MB'; select 1/0"));
    client.granted(place.server);
    client.sent();
    for (const char each : done("SET") + error("22012") + ready()) client.hears(Bytes(&each, 1));
  }
  CHECK(client.sent() == answer);
  CHECK(client.hears(parsed() + answered(origin("4MB", "configuration file"))) == "release");
  CHECK(client.core.wanted() == place.books.settings.empty());
  CHECK(place.server.applied == place.books.settings.empty());
}

TEST_CASE("a setting that was set and not undone is asked for its value only") {
  Place place;
  Client client(place);
  CHECK(suspected(client, "set work_mem = '1MB'", "SET", place.server) ==
        "P:pgweir_value B:pgweir_value E S");
  CHECK(client.hears(parsed() + answered(row("1MB"))) == "release");
  CHECK(client.core.wanted()->values.at("work_mem") == "1MB");
  SECTION("also behind an error of another transaction") {
    client.says(query("select 1/0"));
    client.granted(place.server);
    client.hears(error("22012") + ready());
    client.sent();
    CHECK(suspected(client, "set work_mem = '2MB'", "SET", place.server) == "B:pgweir_value E S");
    client.hears(answered(row("2MB")));
  }
}

TEST_CASE("what only another role may set keeps its server, which is cleaned") {
  Place place;
  SECTION("set by a call, whoever the function runs as") {
    Client client(place);
    CHECK(suspected(client, "select set_config('log_statement', 'all', false)", "SELECT 1", place.server) ==
          "P:pgweir_origin B:pgweir_origin E S");
    CHECK(client.hears(parsed() + answered(origin("all", "session", "f"))).empty());
    CHECK(client.core.pins() == pin::kSettings);
    CHECK(client.core.wanted() == place.books.settings.empty());
    CHECK(place.server.applied == place.books.settings.empty());
    CHECK_FALSE(place.server.clean());
  }
  SECTION("set in a role that the client has taken") {
    Client client(place);
    suspected(client, "set role admin", "SET", place.server);
    client.hears(parsed() + answered(row("admin")));
    CHECK(suspected(client, "set log_statement = 'all'", "SET", place.server) ==
          "P:pgweir_origin B:pgweir_origin E S");
    client.hears(parsed() + answered(origin("all", "session", "f")));
    CHECK(client.core.pins() == pin::kSettings);
    CHECK(client.core.wanted()->values.size() == 1);
  }
  SECTION("one that the client may set goes with it") {
    Client client(place);
    suspected(client, "select set_config('work_mem', '1MB', false)", "SELECT 1", place.server);
    CHECK(client.hears(parsed() + answered(origin("1MB", "session"))) == "release");
    CHECK(client.core.wanted()->values.at("work_mem") == "1MB");
  }
  SECTION("so does one that Postgres lists nowhere") {
    Client client(place);
    suspected(client, "select set_config('app.user', 'joe', false)", "SELECT 1", place.server);
    CHECK(client.hears(parsed() + answered(origin("joe", {}, {}))) == "release");
    CHECK(client.core.wanted()->values.at("app.user") == "joe");
  }
}

TEST_CASE("nothing is sent before it is known that a server gives up what another client has set") {
  Place place;
  place.server.applied = place.books.settings.intern({{"work_mem", "1MB"}});
  Client client(place);
  client.says(query("select 1"));
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
  SECTION("it does") {
    CHECK(client.hears(kApplied).empty());
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:select 1");
    CHECK(client.hears(rows()) == "release");
    // Known from now on.
    place.other.applied = place.books.settings.intern({{"work_mem", "2MB"}});
    CHECK(client.runs(query("select 2"), kApplied + rows(), place.other) ==
          "P:pgweir_set B:pgweir_set E S Q:select 2");
    CHECK(client.seen() == "T D C:SELECT 1 Z:I T D C:SELECT 1 Z:I");
  }
  SECTION("it does not: it is closed, and the client asks for another one") {
    CHECK(client.hears(parsed() + bound() + error("42501") + ready()) == "drop");
    CHECK(client.core.state() == State::Idle);
    CHECK(client.to_client.empty());
    CHECK(client.again() == "ask");
    client.granted(place.other);
    CHECK(client.sent() == "Q:select 1");
    CHECK(client.hears(rows()) == "release");
  }
}

TEST_CASE("what others have left does not refuse a client that connects") {
  Place place;
  place.server.applied = place.books.settings.intern({{"log_statement", "all"}});
  Client client(place, {{"work_mem", "1MB"}});
  client.step([&] { client.core.prove(client.out); });
  client.granted(place.server);
  CHECK(client.hears(parsed() + bound() + error("42501") + ready()) == "drop");
  CHECK(client.core.state() == State::Idle);
  CHECK(client.to_client.empty());
  CHECK(client.step([&] { client.core.prove(client.out); }) == "ask");
  client.granted(place.other);
  CHECK(client.hears(kApplied) == "proven release");
}

TEST_CASE("a refused setting that only a superuser may look at is not asked for again") {
  Place place;
  Client client(place);
  client.says(query("set session_preload_libraries = 'x'; set work_mem = '1MB'"));
  client.granted(place.server);
  client.sent();
  client.hears(error("42501") + ready());
  CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E B:pgweir_origin E S");
  client.seen();
  // current_setting() refuses it, too: Postgres skips the rest of ours.
  CHECK(client.hears(parsed() + bound() + error("42501") + ready()).empty());
  CHECK(client.sent() == "C:pgweir_origin P:pgweir_origin B:pgweir_origin E S");
  CHECK(client.hears(closed() + parsed() + answered(origin("4MB", "default"))) == "release");
  CHECK(client.seen().empty());
  CHECK(client.core.wanted()->values.empty());
  CHECK_FALSE(place.server.clean());  // a function of a superuser's may have set it
}

TEST_CASE("whom a superuser speaks as follows the client and stays with nobody else") {
  Place place;
  place.reports({{"session_authorization", "postgres"}});
  Client client(place), next(place);
  const auto changes = [&](Bytes sql, Bytes tag, Bytes to, ServerCore& server) {
    REQUIRE(client.says(query(sql)) == "ask");
    client.granted(server);
    client.hears(done(tag) + parameter("session_authorization", to) + ready());
    // It has taken any role away.
    CHECK(client.sent().ends_with("B:pgweir_origin E S"));
    CHECK(client.hears(parsed() + answered(origin("none", std::nullopt))) == "release");
  };
  changes("set session authorization reader", "SET", "reader", place.server);
  CHECK(client.core.wanted()->values.at("session_authorization") == "reader");
  const std::string given = "P:pgweir_set B:pgweir_set E S Q:select 1";
  CHECK(next.runs(query("select 1"), kApplied + rows(), place.server) == given);
  CHECK(client.runs(query("select 1"), kApplied + rows(), place.other) == given);
  changes("reset session authorization", "RESET", "postgres", place.other);
  CHECK(client.core.wanted()->values.empty());
}
