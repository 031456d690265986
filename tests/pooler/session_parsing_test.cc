// Prepared statements of transactions that are under other settings than their client.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {
// Begins a transaction, runs `text` in it, and answers what a Parse of "select 1" is sent as.
std::string prepares_behind(Place& place, ServerCore& server, Bytes text) {
  Client client(place);
  REQUIRE(client.says(query("begin")) == "ask");
  REQUIRE(client.granted(server).empty());
  client.hears(done("BEGIN") + ready('T'));
  client.says(query(text));
  client.hears(done("SET") + ready('T'));
  client.sent();
  client.says(parse("s", "select 1") + sync_message());
  return client.sent();
}
}  // namespace

TEST_CASE("statements of a transaction's own path are shared with those of the same path only") {
  for (const Bytes other : {"SET LOCAL search_path TO b", "select 2", "set search_path = b"}) {
    CAPTURE(other);
    Place place;
    CHECK(prepares_behind(place, place.server, "set local search_path = a") == "P:pgweir_1 S");
    CHECK(prepares_behind(place, place.other, other) == "P:pgweir_2 S");
  }
  for (const Bytes same : {"SET LOCAL search_path TO a", "set search_path = a", "set local schema 'a'"}) {
    CAPTURE(same);
    Place place;
    CHECK(prepares_behind(place, place.server, "set local search_path = a") == "P:pgweir_1 S");
    CHECK(prepares_behind(place, place.other, same) == "P:pgweir_1 S");
  }
}

TEST_CASE("where nobody knows what a transaction has set its statements are nobody else's") {
  for (const Bytes text : {"select set_config('search_path', 'a', true)", "select set_config($1, 'a', true)",
                           "set local search_path to default", "reset timezone_abbreviations",
                           "do $$ begin set local search_path = a; end $$", "reset all",
                           "set local search_path = a; set local search_path = b"}) {
    CAPTURE(text);
    Place place;
    CHECK(prepares_behind(place, place.server, text) == "P:pgweir_1 S");
    CHECK(prepares_behind(place, place.other, text) == "P:pgweir_2 S");
  }
  for (const Bytes text : {"set local work_mem = '1MB'", "select set_config('app.a', 'b', true)", "select 2",
                           "set local datestyle to default", "savepoint a"}) {
    CAPTURE(text);
    Place place;
    CHECK(prepares_behind(place, place.server, text) == "P:pgweir_1 S");
    CHECK(prepares_behind(place, place.other, text) == "P:pgweir_1 S");
  }
}

TEST_CASE("what may end a transaction that has set something leaves nobody knowing") {
  for (const Bytes text : {"rollback to a", "commit and chain", "ROLLBACK; begin", "select 1; end; begin"}) {
    CAPTURE(text);
    Place place;
    for (ServerCore* server : {&place.server, &place.other}) {
      Client client(place);
      REQUIRE(client.says(query("begin")) == "ask");
      REQUIRE(client.granted(*server).empty());
      client.hears(done("BEGIN") + ready('T'));
      client.says(query("set local search_path = a"));
      client.hears(done("SET") + ready('T'));
      client.sent();
      client.says(query(text) + parse("s", "select 1") + sync_message());
      CHECK(client.sent().ends_with(server == &place.server ? " P:pgweir_1 S" : " P:pgweir_2 S"));
    }
  }
}

TEST_CASE(
    "a setting in the same batch as a Parse, or unanswered in front of it, makes its statement nobody "
    "else's") {
  const std::string set = GENERATE(query("set datestyle = 'ISO, DMY'"),
                                   parse("", "set datestyle = 'ISO, DMY'") + bind() + execute());
  Place place;
  for (ServerCore* server : {&place.server, &place.other}) {
    Client client(place);
    REQUIRE(client.says(set + parse("s", "select 1") + sync_message()) == "ask");
    REQUIRE(client.granted(*server).empty());
    CHECK(client.sent().ends_with(server == &place.server ? "P:pgweir_1 S" : "P:pgweir_2 S"));
  }
}

TEST_CASE("each setting that decides what a text means parts those who have another value of it") {
  for (const char* name : {"DateStyle",
                           "IntervalStyle",
                           "TimeZone",
                           "client_encoding",
                           "search_path",
                           "role",
                           "session_authorization",
                           "standard_conforming_strings",
                           "timezone_abbreviations",
                           "array_nulls",
                           "backslash_quote",
                           "bytea_output",
                           "default_text_search_config",
                           "extra_float_digits",
                           "lc_monetary",
                           "lc_numeric",
                           "lc_time",
                           "quote_all_identifiers",
                           "transform_null_equals",
                           "xmlbinary",
                           "xmloption"}) {
    CAPTURE(name);
    SettingsBook book;
    CHECK(book.intern({{name, "a"}})->parsing != book.intern({{name, "b"}})->parsing);
  }
  SettingsBook book;
  CHECK(book.intern({{"work_mem", "1MB"}})->parsing.empty());
}

TEST_CASE("a server that learns a statement in an open batch learns it as its key says, too") {
  Place place;
  place.reports({{"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}});
  Client client(place), other(place);
  const std::string text = "select date '03/04/2021'";
  for (Client* each : {&client, &other})
    each->runs(parse("s", text) + sync_message(), (each == &other ? closed() : "") + parsed() + ready(),
               place.server);
  REQUIRE(client.says(query("begin")) == "ask");
  REQUIRE(client.granted(place.other).empty());
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("set datestyle = 'ISO, DMY'"));
  client.hears(parameter("DateStyle", "ISO, DMY") + done("SET") + ready('T'));
  client.sent();
  client.says(parse("", "select 1") + bind() + execute() + bind("s") + execute() + sync_message());
  CHECK(client.sent() == "P B E H");
  client.hears(parsed() + bound() + row() + done());
  client.again();
  const std::string read = "B:pgweir_read E B:pgweir_read E ";
  CHECK(client.sent() ==
        "C:pgweir_read P:pgweir_read " + read + "P:pgweir_1 " + read + "C:pgweir_read B:pgweir_1 E S");
  CHECK(other.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) ==
        "B:pgweir_1 E S");
}

TEST_CASE("a server that is asked for a statement's columns learns it under the settings of now") {
  Place place;
  Client client(place), other(place);
  client.runs(parse("s", "select * from t") + describe('S', "s") + sync_message(),
              parsed() + parameters() + row_description() + ready(), place.server);
  suspected(client, "set array_nulls = off", "SET", place.server);
  REQUIRE(client.hears(parsed() + answered(row("off"))) == "release");
  client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
  REQUIRE(client.says(bind("s") + execute() + sync_message()) == "ask");
  REQUIRE(client.granted(place.other) == "stalled");
  REQUIRE(client.sent().ends_with("P:pgweir_2 D:pgweir_2 H"));
  REQUIRE(other.says(parse("s", "select * from t") + sync_message()) == "ask");
  REQUIRE(other.granted(place.server) == "stalled");
  other.hears(parsed() + bound() + row("on") + done() + ready());
  other.again();
  CHECK(other.sent().ends_with("P:pgweir_3 S"));
}

TEST_CASE("a statement that an earlier batch teaches a server under the settings of now is waited for") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server);
  client.runs(parse("u", "select * from t") + sync_message(), closed() + parsed() + ready(), place.server);
  suspected(client, "set search_path = a", "SET", place.server);
  REQUIRE(client.hears(parsed() + answered(row("a"))) == "release");
  const std::string broken = parse("", "nonsense") + describe('S', "s") + sync_message();
  REQUIRE(client.says(broken + bind("u") + execute() + sync_message()) == "ask");
  client.granted(place.other);
  client.hears(parsed() + bound() + row("a") + done() + ready());
  client.again();
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S P P:pgweir_2 D:pgweir_2 S");
  REQUIRE(client.hears(error("42601") + ready()) == "release");
  REQUIRE(client.again() == "ask");
  REQUIRE(client.granted(place.other).empty());
  CHECK(client.sent() == "P:pgweir_2 B:pgweir_2 E S");
}
