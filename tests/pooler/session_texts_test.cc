// What SQL texts do to the virtual session: settings, and what needs no server.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {
std::string two_values(const std::string& value, const std::optional<std::string>& source) {
  std::string out;
  protocol::put_data_row(out, {value, source, source ? std::optional<std::string>("t") : std::nullopt});
  return out;
}
}  // namespace

// --- settings

TEST_CASE("a SET follows the client with the value that the server tells") {
  Place place;
  Client client(place);
  CHECK(suspected(client, "set work_mem = '5120kB'", "SET", place.server) ==
        "P:pgweir_value B:pgweir_value E S");
  CHECK(client.seen() == "C:SET Z:I");
  CHECK(client.hears(parsed() + answered(row("5MB"))) == "release");
  CHECK(client.seen().empty());
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "5MB"}});
  CHECK(place.server.clean());
  CHECK(place.server.applied == client.core.wanted());
  CHECK(client.runs(query("select 1"), parsed() + bound() + row("5MB") + done() + ready() + rows(),
                    place.other) == "P:pgweir_set B:pgweir_set E S Q:select 1");
  CHECK(client.runs(query("select 1"), rows(), place.server) == "Q:select 1");
}

TEST_CASE("a setting that is back at its default is forgotten") {
  Place place;
  Client client(place);
  suspected(client, "set work_mem = '5MB'", "SET", place.server);
  client.hears(parsed() + answered(row("5MB")));
  CHECK(suspected(client, "reset work_mem", "RESET", place.server) == "P:pgweir_origin B:pgweir_origin E S");
  CHECK(client.hears(parsed() + answered(two_values("4MB", "default"))) == "release");
  CHECK(client.core.wanted() == place.books.settings.empty());
}

TEST_CASE("what servers report by themselves needs no question") {
  Place place;
  place.reports({{"TimeZone", "Etc/UTC"}});
  Client client(place);
  CHECK(client.runs(query("set timezone = 'UTC'"), done("SET") + parameter("TimeZone", "UTC") + ready(),
                    place.server) == "Q:set timezone = 'UTC'");
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"TimeZone", "UTC"}});
}

TEST_CASE("settings of a transaction only are not asked for") {
  for (const Bytes sql : {"set local work_mem = '5MB'", "set transaction read only",
                          "select set_config('a.b', 'x', true)", "set constraints all deferred"}) {
    CAPTURE(sql);
    Place place;
    Client client(place);
    CHECK_FALSE(client.runs(query(sql), done("SET") + ready(), place.server).empty());
    CHECK(place.server.clean());
  }
}

TEST_CASE("a SET inside a transaction is asked for when it has ended") {
  Place place;
  Linked client(place);
  CHECK(client.says(query("set work_mem = '5MB'")).empty());
  CHECK(client.hears(done("SET") + ready('T')).empty());
  client.sent();
  CHECK(client.says(query("rollback")).empty());
  CHECK(client.hears(done("ROLLBACK") + ready()).empty());
  CHECK(client.sent() == "Q:rollback P:pgweir_origin B:pgweir_origin E S");
  CHECK(client.hears(parsed() + answered(two_values("4MB", "session"))) == "release");
  CHECK(client.core.wanted()->values.at("work_mem") == "4MB");
}

TEST_CASE("a prepared SET counts when it is bound, on whatever server") {
  Place place;
  Client client(place);
  client.runs(parse("s", "set work_mem = '5MB'") + sync_message(), parsed() + ready(), place.server);
  client.says(bind("s") + execute() + sync_message());
  client.granted(place.other);
  client.sent();
  CHECK(client.hears(parsed() + bound() + done("SET") + ready()).empty());
  CHECK(client.sent() == "P:pgweir_value B:pgweir_value E S");
  CHECK(client.hears(parsed() + answered(row("5MB"))) == "release");
}

TEST_CASE("requests behind an audit wait for it") {
  Place place;
  Client client(place);
  suspected(client, "set work_mem = '5MB'", "SET", place.server);
  CHECK(client.says(query("select 1")) == "stalled");
  CHECK(client.sent().empty());
  CHECK(client.hears(parsed() + answered(row("5MB"))) == "release");
  CHECK(client.again() == "ask");
}

TEST_CASE("an audit that fails or makes no sense ends the client and the server") {
  for (const std::string& answer :
       {error("42501") + ready(), bound() + message('D', "\x01") + done() + ready()}) {
    Place place;
    Client client(place);
    suspected(client, "set work_mem = '5MB'", "SET", place.server);
    client.seen();
    CHECK(client.hears(parsed() + answer) == "close drop");
    CHECK(client.seen() == "E:08006:FATAL");
  }
}

TEST_CASE("an audit that a late cancel meets is asked again") {
  Place place;
  Client client(place);
  suspected(client, "set work_mem = '5MB'", "SET", place.server);
  // Whether it came before the question was prepared is not known.
  CHECK(client.hears(GENERATE(parsed(), std::string()) + error("57014") + ready()).empty());
  CHECK(client.sent() == "C:pgweir_value P:pgweir_value B:pgweir_value E S");
  CHECK(client.hears(closed() + parsed() + answered(row("5MB"))) == "release");
  CHECK(client.core.wanted()->values.at("work_mem") == "5MB");
  CHECK(suspected(client, "set work_mem = '6MB'", "SET", place.server) == "B:pgweir_value E S");
}

TEST_CASE("a client whose settings are refused leaves no doubt to the next one of its server") {
  Place place;
  Client refused(place, {{"work_mem", "5MB"}});
  REQUIRE(refused.step([&] { refused.core.prove(refused.out); }) == "ask");
  REQUIRE(refused.granted(place.server).empty());
  CHECK(refused.sent() == "P:pgweir_set B:pgweir_set E S");
  CHECK(refused.hears(error("57014") + ready()) == "close release");
  Client next(place, {{"work_mem", "6MB"}});
  CHECK(next.says(query("select 1")) == "ask");
  next.granted(place.server);
  CHECK(next.sent() == "C:pgweir_set P:pgweir_set B:pgweir_set E S Q:select 1");
}

TEST_CASE("settings beyond what is carried along pin the client instead") {
  Place place;
  Client client(place);
  SECTION("too many names") {
    std::string sql;
    for (int i = 0; i < 300; ++i) sql += "set a.b" + std::to_string(i) + " = 1;";
    suspected(client, sql, "SET", place.server);
    std::string answer = parsed();
    for (int i = 0; i < 256; ++i) answer += bound() + row() + done();
    CHECK(client.hears(answer + ready()).empty());
  }
  SECTION("too many bytes") {
    suspected(client, "set a.b = 'long'", "SET", place.server);
    CHECK(client.hears(parsed() + answered(row(std::string(70'000, 'x')))).empty());
    CHECK(client.core.wanted() == place.books.settings.empty());
  }
  SECTION("a row that comes in pieces") {
    suspected(client, "set a.b = 'long'", "SET", place.server);
    const std::string answer = parsed() + answered(row(std::string(70'000, 'x')));
    CHECK(client.hears(answer.substr(0, 1000)).empty());
    CHECK(client.hears(answer.substr(1000)).empty());
  }
  CHECK(client.core.pins() == pin::kSettings);
  CHECK(place.server.dirty);
}

// --- what a client began with

TEST_CASE("what a client began with is its own again behind a RESET") {
  for (const Bytes sql :
       {"reset work_mem", "set work_mem to default", "select 1; reset all", "discard all"}) {
    CAPTURE(sql);
    Place place;
    const SettingsRef start = place.books.settings.intern({{"work_mem", "5MB"}});
    place.server.applied = start;
    Client client(place, {{"work_mem", "5MB"}});
    suspected(client, "set work_mem = '6MB'", "SET", place.server);
    client.hears(parsed() + answered(row("6MB")));
    CHECK(client.core.wanted()->values.at("work_mem") == "6MB");
    client.says(parse("", sql) + bind() + execute() + sync_message());
    client.granted(place.server);
    client.sent();
    client.hears(parsed() + bound() + done("RESET") + ready());
    CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
    CHECK(client.hears(parsed() + answered(two_values("4MB", "configuration file"))) == "release");
    CHECK(client.core.wanted() == start);
    CHECK(place.server.applied == place.books.settings.empty());
  }
}

TEST_CASE("what a RESET that failed has left is what was before") {
  Place place;
  place.server.applied = place.books.settings.intern({{"work_mem", "5MB"}});
  Client client(place, {{"work_mem", "5MB"}});
  suspected(client, "set work_mem = '6MB'", "SET", place.server);
  client.hears(parsed() + answered(row("6MB")));
  client.says(query("reset work_mem; select 1/0"));
  client.granted(place.server);
  client.hears(done("RESET") + error("22012") + ready());
  CHECK(client.hears(parsed() + answered(two_values("6MB", "session"))) == "release");
  CHECK(client.core.wanted()->values.at("work_mem") == "6MB");
  CHECK(place.server.applied == client.core.wanted());
}

TEST_CASE("a client is told of what it began with, not of the server's default") {
  Place place;
  place.reports({{"TimeZone", "UTC"}});
  place.server.applied = place.books.settings.intern({{"TimeZone", "Asia/Tokyo"}});
  Client client(place, {{"TimeZone", "Asia/Tokyo"}});
  SECTION("and of nothing that it has already") {
    // Servers that come may begin otherwise; this one does not.
    if (GENERATE(false, true)) place.books.settings.forget_baseline();
    client.says(query("reset timezone"));
    client.granted(place.server);
    client.hears(done("RESET") + parameter("TimeZone", "UTC") + ready());
    CHECK(client.seen() == "C:RESET Z:I");
    CHECK(client.hears(parsed() + answered(two_values("UTC", "default"))) == "release");
    CHECK(client.seen().empty());
  }
  SECTION("when it had another value") {
    client.runs(query("set timezone = 'Asia/Seoul'"),
                done("SET") + parameter("TimeZone", "Asia/Seoul") + ready(), place.server);
    client.seen();
    client.says(query("set time zone local"));
    client.granted(place.server);
    client.hears(done("SET") + parameter("TimeZone", "UTC") + ready());
    CHECK(client.to_client == done("SET") + parameter("TimeZone", "Asia/Tokyo") + ready());
    client.seen();
    CHECK(client.hears(parsed() + answered(two_values("UTC", "default"))) == "release");
    CHECK(client.seen().empty());
  }
  SECTION("unless it has chosen that") {
    client.says(query("reset timezone; set timezone = 'UTC'"));
    client.granted(place.server);
    client.hears(done("RESET") + done("SET") + parameter("TimeZone", "UTC") + ready());
    CHECK(client.seen() == "C:RESET C:SET Z:I");
    CHECK(client.hears(parsed() + answered(two_values("UTC", "session"))) == "release");
    CHECK(client.to_client == parameter("TimeZone", "UTC"));
    CHECK(client.core.wanted()->values.empty());
    return;
  }
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"TimeZone", "Asia/Tokyo"}});
  CHECK(place.server.applied == place.books.settings.empty());
}

TEST_CASE("requests behind a RESET of what a client began with wait for the end of the transaction") {
  Place place;
  place.server.applied = place.books.settings.intern({{"work_mem", "5MB"}});
  Client client(place, {{"work_mem", "5MB"}});
  client.says(query("reset work_mem") + query("select 1"));
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent() == "Q:reset work_mem");
  CHECK(client.hears(done("RESET") + ready()).empty());
  CHECK(client.hears(parsed() + answered(two_values("4MB", "default"))) == "release");
  CHECK(client.again() == "ask");
}

namespace {
// In a transaction, on a server that has what its client began with.
struct Begun : Client {
  explicit Begun(Place& p) : Client(p, {{"TimeZone", "Asia/Tokyo"}}) {
    place.server.applied = start;
    says(query("begin"));
    granted(place.server);
    hears(done("BEGIN") + ready('T'));
  }
  const SettingsRef start = place.books.settings.intern({{"TimeZone", "Asia/Tokyo"}});
};
}  // namespace

TEST_CASE("inside of a transaction what a RESET took of the start is given back before the next request") {
  Place place;
  place.reports({{"TimeZone", "UTC"}});
  Begun client(place);
  client.says(query("reset all") + query("select 1"));
  client.hears(done("RESET") + parameter("TimeZone", "UTC") + ready('T'));
  client.sent();
  client.seen();
  CHECK(client.again() == "stalled");
  CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
  const std::string origin = bound() + two_values("UTC", "default") + done();
  SECTION("and stays, or goes with it") {
    CHECK(client.hears(parsed() + origin + ready('T')).empty());
    CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:select 1");
    client.hears(parsed() + bound() + row("Asia/Tokyo") + done() + parameter("TimeZone", "Asia/Tokyo") +
                 ready('T') + rows('T'));
    CHECK(client.seen() == "T D C:SELECT 1 Z:T");
    CHECK(place.server.applied == client.start);
    client.says(query("rollback"));
    client.hears(done("ROLLBACK") + ready());
    CHECK(client.sent().ends_with("B:pgweir_origin E S"));
    CHECK(client.hears(bound() + two_values("Asia/Tokyo", "session") + done() + ready()) == "release");
    CHECK(client.core.wanted() == client.start);
    CHECK(place.server.applied == client.start);
  }
  SECTION("unless a cancel meets the question: then the transaction has failed") {
    CHECK(client.hears(error("57014") + ready('E')).empty());
    CHECK(client.again().empty());
    CHECK(client.sent() == "Q:refused_by_pgweir");
    client.hears(error("25P02") + ready('E'));
    CHECK(client.seen() == "E:57014 Z:E");
    client.says(query("select 2"));
    CHECK(client.sent() == "Q:select 2");
    client.hears(error("25P02") + ready('E'));
    CHECK(client.seen() == "E:25P02 Z:E");
    client.says(query("rollback"));
    client.hears(done("ROLLBACK") + parameter("TimeZone", "Asia/Tokyo") + ready());
    client.hears(parsed() + origin + ready());
  }
}

// A COMMIT would be answered by ROLLBACK, which many drivers take for done.
TEST_CASE("a cancel that meets a question inside of a transaction is told to the request behind it") {
  Place place;
  Begun client(place);
  const auto asked = [&](const std::string& next) {
    client.says(query("reset all") + next);
    client.hears(done("RESET") + parameter("TimeZone", "UTC") + ready('T'));
    client.again();
    CHECK(client.hears(error("57014") + ready('E')).empty());
    client.sent();
    client.seen();
    client.again();
    return client.sent();
  };
  SECTION("a COMMIT") {
    CHECK(asked(query("commit")) == "Q:refused_by_pgweir");
    client.hears(error("25P02") + ready('E'));
    CHECK(client.seen() == "E:57014 Z:E");
  }
  SECTION("a batch") {
    CHECK(asked(parse("", "commit") + bind() + execute() + sync_message()).starts_with("B:"));
    client.hears(error("25P02") + ready('E'));
    CHECK(client.seen() == "E:57014 Z:E");
  }
  SECTION("but not to who gives up by himself") {
    const char* const text = GENERATE("rollback", "rollback to s", "ABORT");
    CHECK(asked(query(text)) == std::string("Q:") + text);
  }
  client.says(query("rollback"));
}

TEST_CASE("a pinned client has what it began with at once") {
  Place place;
  place.server.applied = place.books.settings.intern({{"work_mem", "5MB"}});
  Client client(place, {{"work_mem", "5MB"}});
  suspected(client, "create temp table t (i int); reset work_mem", "RESET", place.server);
  client.hears(parsed() + bound() + two_values("4MB", "default") + done() + parsed() + answered(row()));
  CHECK(client.core.pins() == pin::kTemp);
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
  CHECK_FALSE(client.core.resting());
  CHECK(client.says(query("select 1")).empty());
  client.seen();
  client.hears(parsed() + bound() + row("5MB") + done() + ready() + rows());
  CHECK(client.seen() == "T D C:SELECT 1 Z:I");
  CHECK(client.core.resting());
}

TEST_CASE("a RESET that only is described takes nothing back") {
  Place place;
  place.server.applied = place.books.settings.intern({{"work_mem", "5MB"}});
  Client client(place, {{"work_mem", "5MB"}});
  CHECK(client.runs(parse("s", "reset all") + describe('S', "s") + sync_message(),
                    parsed() + no_data() + ready(), place.server) == "P:pgweir_1 D:pgweir_1 S");
}

TEST_CASE("while nobody knows what servers report, settings are not reset without one") {
  Place place;
  Client client(place);
  CHECK(client.says(query("discard all")).empty());
  client.seen();
  suspected(client, "set work_mem = '5MB'", "SET", place.server);
  client.hears(parsed() + answered(row("5MB")));
  CHECK(client.says(query("discard plans")).empty());
  CHECK(client.says(query("discard all")) == "ask");
}

TEST_CASE("RESET ALL leaves the role") {
  Place place;
  place.reports({{"TimeZone", "UTC"}});
  Client client(place);
  suspected(client, "set role reader", "SET", place.server);
  client.hears(parsed() + answered(row("reader")));
  CHECK(client.says(query("reset all")).empty());
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"role", "reader"}});
  CHECK(client.says(query("discard all")).empty());
  CHECK(client.core.wanted()->values.empty());
}

TEST_CASE("behind an open batch the server is asked, for it must end the batch") {
  Place place;
  Client client(place);
  client.says(parse("", "select 1") + bind() + execute() + flush());
  client.granted(place.server);
  client.hears(parsed() + bound() + row() + done());
  client.sent();
  CHECK(client.says(query("discard plans")).empty());
  CHECK(client.sent() == "Q:discard plans");
}

// --- without a server

TEST_CASE("what concerns the virtual session only is answered without a server") {
  struct Row {
    Bytes sql, seen;
  };
  for (const Row& row : {Row{"DISCARD ALL", "C:DISCARD ALL Z:I"}, Row{" discard all;", "C:DISCARD ALL Z:I"},
                         Row{"DISCARD TEMP", "C:DISCARD TEMP Z:I"}, Row{"RESET ALL", "C:RESET Z:I"},
                         Row{"DEALLOCATE ALL", "C:DEALLOCATE ALL Z:I"}, Row{"UNLISTEN *", "C:UNLISTEN Z:I"},
                         Row{"CLOSE ALL", "C:CLOSE CURSOR ALL Z:I"}}) {
    CAPTURE(row.sql);
    Place place;
    Client client(place);
    CHECK(client.says(query(row.sql)).empty());
    CHECK(client.seen() == row.seen);
    CHECK(client.held.empty());
  }
}

TEST_CASE("what is more than that is not") {
  for (const Bytes sql : {"DISCARD ALL; SELECT 1", "DEALLOCATE s", "RESET work_mem", "UNLISTEN a", "CLOSE c",
                          "DISCARD nonsense", "drop table t"}) {
    CAPTURE(sql);
    Place place;
    Client client(place);
    CHECK(client.says(query(sql)) == "ask");
  }
}

TEST_CASE("DISCARD ALL forgets statements, and settings but for those from the start") {
  Place place;
  place.reports({{"application_name", ""}, {"TimeZone", "Etc/UTC"}});
  Client client(place, {{"application_name", "tea"}});
  client.runs(parse("s", "select 1") + sync_message(),
              parsed() + bound() + row("tea") + done() + ready() + parsed() + ready(), place.server);
  client.runs(query("set timezone = 'UTC'"), done("SET") + parameter("TimeZone", "UTC") + ready(),
              place.server);
  client.seen();
  CHECK(client.says(query("discard all") + parse("s", "select 2") + sync_message()) == "ask");
  CHECK(client.seen() == "C:DISCARD ALL S:TimeZone Z:I");
  CHECK(client.core.statement_count() == 0);
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"application_name", "tea"}});
}

TEST_CASE("a text that needs no server is skipped like others behind an error of its batch") {
  Place place;
  Client client(place);
  REQUIRE(client.says(parse("s", "select 1/0") + bind("s") + execute() + query("select 1") +
                      query("close all")) == "ask");
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent() == "P:pgweir_1 B:pgweir_1 E Q:select 1");
  // Postgres ignores the Query in its batch, and so everything up to the Sync.
  client.hears(parsed() + bound() + error());
  CHECK(client.again().empty());
  CHECK(client.says(sync_message()).empty());
  CHECK(client.sent() == "Q:close all S");
  CHECK(client.hears(ready()) == "release");
  CHECK(client.seen() == "1 2 E:22012 Z:I");
}

// --- texts that were seen lately

TEST_CASE("a text that was seen lately does what it did when it was seen first") {
  struct Circumstance {
    const char* what;
    SettingsMap::Values settings;
    void (*begin)(Place&, Client&);
  };
  const Circumstance circumstances[] = {
      {"nothing", {}, [](Place&, Client&) {}},
      {"a prepared statement",
       {},
       [](Place&, Client& client) {
         client.says(parse("touched", "select 2") + sync_message());
         client.hears(parsed() + ready('T'));
       }},
      {"a prepared DEALLOCATE that has not ended",
       {},
       [](Place&, Client& client) {
         client.says(parse("touched", "select 2") + parse("d", "deallocate touched") + bind("d") + execute() +
                     sync_message());
       }},
      {"a DEALLOCATE among others that has not ended",
       {},
       [](Place&, Client& client) {
         client.says(parse("touched", "select 2") + sync_message());
         client.hears(parsed() + ready('T'));
         client.says(query("deallocate touched; select 1"));
       }},
      {"an unnamed statement", {}, [](Place&, Client& client) { client.says(parse("", "select 2")); }},
      {"other strings", {{"standard_conforming_strings", "off"}}, [](Place&, Client&) {}},
      {"strings that are changed",
       {},
       [](Place&, Client& client) {
         client.says(query("set standard_conforming_strings = off"));
         client.hears(done("SET") + parameter("standard_conforming_strings", "off") + ready('T'));
       }},
      {"functions that nobody has read",
       {},
       [](Place& place, Client&) { place.books.routines.follow(true); }},
      {"a temporary table",
       {},
       [](Place&, Client& client) {
         client.says(query("create temp table t (i int)"));
         client.hears(done("CREATE TABLE") + ready('T'));
       }},
      {"a temporary table from before",
       {},
       [](Place&, Client& client) {
         client.says(query("create temp table t (i int)"));
         client.hears(done("CREATE TABLE") + ready('T'));
         client.says(query("commit"));
         client.hears(done("COMMIT") + ready());
         client.hears(parsed() + answered(row()));
         REQUIRE(client.core.pins() == pin::kTemp);
         client.says(query("begin"));
         client.hears(done("BEGIN") + ready('T'));
       }},
      {"code under ceilings",
       {},
       [](Place& place, Client& client) {
         REQUIRE(tiers::set_tier_field(place.tenant.limits, "work_mem", "4MB"));
         place.guard.renew();
         client.says(query("do $$ begin end $$"));
         client.hears(done("DO") + ready('T'));
         REQUIRE(client.says(query("select 2")) == "stalled");
         client.hears(parsed() + bound() + row("4MB") + done() + ready('T'));
         client.again();
         REQUIRE(client.hears(rows('T')).empty());
       }},
      {"channels",
       {},
       [](Place& place, Client& client) {
         place.books.listener.name_fence("f");
         client.says(query("listen a"));
         client.hears(done("LISTEN") + ready('T'));
       }},
      {"a sequence",
       {},
       [](Place& place, Client& client) {
         place.server.others_sequences = true;
         client.says(query("select lastval()"));
         client.hears(rows('T'));
       }},
      {"ceilings",
       {},
       [](Place& place, Client&) {
         REQUIRE(tiers::set_tier_field(place.tenant.limits, "work_mem", "4MB"));
         place.guard.renew();
       }},
  };
  const char* const texts[] = {
      "select 1 from t",        "close all   ",       "drop table touched",
      "select touched()",       "select 1; select 2", "rollback to a",
      R"(select '\'' as a)",    "fetch all in c",     "update t set a = 'execute touched'",
      "delete from t; commit;", "commit work",        "rollback work"};
  for (const Circumstance& each : circumstances)
    for (const char* const text : texts) {
      CAPTURE(each.what, text);
      std::string did[2];
      for (const bool seen : {false, true}) {
        Place place;
        place.server.applied = place.books.settings.intern(each.settings);
        Client client(place, each.settings);
        client.says(query("begin"));
        client.granted(place.server);
        client.hears(done("BEGIN") + ready('T'));
        each.begin(place, client);
        if (seen) place.texts.read_settings(text);
        std::string& all = did[seen ? 1 : 0];
        const auto note = [&](const std::string& step) {
          all += step + " [" + client.sent() + "] " + std::to_string(client.core.statements_left()) +
                 (place.server.dirty ? " dirty" : "") + (place.server.temp_used ? " temp" : "") + " pins " +
                 std::to_string(client.core.pins()) + "; ";
        };
        client.sent();
        const auto hears = [&](const std::string& answer) {
          return client.core.state() == SessionCore::State::Linked ? client.hears(answer) : "closed";
        };
        note(client.says(query(text) + query("select 3")));
        note(hears(done("DONE") + ready('T')));
        note(hears(rows('T')));
        note(client.says(query("commit")));
        note(hears(done("COMMIT") + ready()));
        client.core.leave_channels();
        if (client.core.state() == SessionCore::State::Linked)
          client.step([&] { client.core.server_gone("x", client.out); });
      }
      CHECK(did[0] == did[1]);
    }
}
