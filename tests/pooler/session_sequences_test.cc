// lastval() and currval(), which must know of no other client's nextval().
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

TEST_CASE("lastval and currval know of no other client's nextval") {
  Place place;
  Client first(place), second(place);
  CHECK(first.runs(query("select nextval('s')"), rows(), place.server) == "Q:select nextval('s')");
  // As long as nobody asks, nothing is done for it.
  CHECK(second.runs(query("select 1"), rows(), place.server) == "Q:select 1");
  CHECK(first.runs(query("select lastval()"), done("DISCARD SEQUENCES") + ready() + rows(), place.server) ==
        "Q:DISCARD SEQUENCES Q:select lastval()");
  CHECK(first.seen().ends_with("T D C:SELECT 1 Z:I"));
  CHECK(first.runs(query("select lastval()"), rows(), place.server) == "Q:select lastval()");
  CHECK(second.runs(query("select 1"), done("DISCARD SEQUENCES") + ready() + rows(), place.server) ==
        "Q:DISCARD SEQUENCES Q:select 1");
  CHECK(first.runs(query("select 1"), rows(), place.other) == "Q:select 1");
}

TEST_CASE("a prepared statement that asks for lastval is no exception, and one's own nextval is kept") {
  Place place;
  Client first(place), second(place);
  first.runs(query("select 1"), rows(), place.server);
  REQUIRE(second.says(parse("s", "select currval('s')") + sync_message()) == "ask");
  CHECK(second.granted(place.server).empty());
  CHECK(second.sent() == "Q:DISCARD SEQUENCES P:pgweir_1 S");
  CHECK(second.hears(done("DISCARD SEQUENCES") + ready() + parsed() + ready()) == "release");

  Place another;
  Client third(another), fourth(another);
  third.runs(query("select 1"), rows(), another.server);
  REQUIRE(fourth.says(query("begin")) == "ask");
  fourth.granted(another.server);
  CHECK(fourth.hears(done("BEGIN") + ready('T')).empty());
  fourth.says(query("select nextval('s')"));
  CHECK(fourth.hears(rows('T')).empty());
  fourth.sent();
  fourth.says(query("select currval('s')"));
  // Its own nextval is kept, which Postgres tells by its lock; another's is forgotten.
  const std::string sent = fourth.sent();
  CHECK(sent.starts_with("Q:DO LANGUAGE plpgsql $$ BEGIN IF NOT EXISTS"));
  CHECK(sent.find("THEN DISCARD SEQUENCES;") != std::string::npos);
  CHECK(sent.ends_with(" Q:select currval('s')"));
  fourth.seen();
  CHECK(fourth.hears(done("DO") + ready('T') + rows('T')).empty());
  CHECK(fourth.seen() == "T D C:SELECT 1 Z:T");
  fourth.says(query("select currval('s')"));
  CHECK(fourth.sent() == "Q:select currval('s')");
  fourth.step([&] { fourth.core.server_gone("x", fourth.out); });
}

TEST_CASE("inside of a transaction the first who asks for lastval hears of no other client's nextval") {
  Place place;
  Client first(place);
  first.runs(query("select nextval('s')"), rows(), place.server);
  Client client(place);
  REQUIRE(client.says(query("begin")) == "ask");
  client.granted(place.server);
  client.hears(done("BEGIN") + ready('T'));
  client.sent();
  const auto asked = [](const std::string& sent) { return sent.starts_with("Q:DO LANGUAGE plpgsql"); };
  SECTION("in a simple query") {
    client.says(query("select lastval()"));
    CHECK(asked(client.sent()));
  }
  SECTION("as it is prepared, in front of its batch, and once") {
    client.says(parse("", "select lastval()") + bind() + execute() + sync_message());
    const std::string sent = client.sent();
    CHECK(asked(sent));
    CHECK(sent.ends_with("$$ P B E S"));
    CHECK(client.hears(done("DO") + ready('T') + parsed() + bound() + row() + done() + ready('T')).empty());
    client.says(bind() + execute() + sync_message());
    CHECK(client.sent() == "B E S");
  }
  SECTION("by a FunctionCall") {
    client.says(function_call(2559));
    CHECK(asked(client.sent()));
  }
  SECTION("behind what has not been answered, when it has") {
    CHECK(client.says(query("select 1") + query("select lastval()")) == "stalled");
    CHECK(client.sent() == "Q:select 1");
    client.hears(rows('T'));
    client.again();
    CHECK(asked(client.sent()));
  }
  SECTION("behind other requests of its batch, where nobody can tell") {
    client.says(parse("", "insert into t values (1)") + bind() + execute() + parse("", "select lastval()") +
                bind() + execute() + sync_message());
    CHECK(client.sent() == "P B E P B:pgweir_none E S");
    client.seen();
    client.hears(parsed() + bound() + done("INSERT 0 1") + parsed() + error("26000") + ready('E'));
    CHECK(client.seen() == "1 2 C:INSERT 0 1 1 E:55000 Z:E");
  }
  SECTION("not in one that has failed") {
    client.says(query("select 1/0"));
    client.hears(error("22012") + ready('E'));
    client.sent();
    client.says(query("select lastval()"));
    CHECK(client.sent() == "Q:select lastval()");
  }
  client.step([&] { client.core.server_gone("x", client.out); });
}
