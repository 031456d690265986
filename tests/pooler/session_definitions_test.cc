// Prepared statements whose tables, search_path or way to read literals have changed since their Parse.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

TEST_CASE("a statement whose result has changed is prepared anew, but not behind the back of who holds it") {
  const std::string stale =
      message('E', std::string("SERROR\0VERROR\0C0A000\0Mcached plan\0RRevalidateCachedQuery\0", 56) +
                       std::string(1, '\0'));
  Place place;
  Client holder(place), other(place);
  holder.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server);
  holder.runs(bind("s") + execute() + sync_message(), stale + ready(), place.server);
  holder.seen();
  SECTION("other clients get a new statement") {
    CHECK(other.runs(parse("x", "select * from t") + bind("x") + execute() + sync_message(),
                     parsed() + rows_of_batch(), place.server) == "P:pgweir_2 B:pgweir_2 E S");
  }
  SECTION("so does the holder when it prepares again") {
    CHECK(holder.runs(parse("s2", "select * from t") + bind("s2") + execute() + sync_message(),
                      parsed() + rows_of_batch(), place.server) == "P:pgweir_2 B:pgweir_2 E S");
  }
  SECTION("under the old name it hears the error on every server") {
    CHECK(holder.runs(bind("s") + execute() + sync_message(), error("26000") + ready(), place.other) ==
          "B:pgweir_none E S");
    CHECK(holder.seen() == "E:0A000 Z:I");
  }
  SECTION("unless it is told of the columns in the same breath") {
    CHECK(holder.runs(bind("s") + describe() + execute() + sync_message(),
                      parsed() + bound() + row_description() + row() + done() + ready(),
                      place.other) == "P:pgweir_2 B:pgweir_2 D E S");
  }
  SECTION("another error changes nothing") {
    other.runs(parse("y", "select 1") + sync_message(), parsed() + ready(), place.server);
    other.runs(bind("y") + sync_message(), error("0A000") + ready(), place.server);
    CHECK(other.runs(bind("y") + sync_message(), bound() + ready(), place.server) == "B:pgweir_2 S");
  }
}

TEST_CASE("what a text means depends on settings, so clients with other ones share no statement") {
  Place place;
  Client ymd(place), dmy(place, {{"DateStyle", "ISO, DMY"}}), named(place, {{"application_name", "tea"}});
  const std::string request = parse("s", "select date '03/04/2021'") + sync_message();
  const std::string set = parsed() + bound() + row("ISO, DMY") + done() + ready();
  CHECK(ymd.runs(request, parsed() + ready(), place.server) == "P:pgweir_1 S");
  CHECK(dmy.runs(request, set + parsed() + ready(), place.server).ends_with("P:pgweir_2 S"));
  CHECK(named
            .runs(request,
                  bound() + row("tea") + done() + bound() + row() + done() + ready() + closed() + parsed() +
                      ready(),
                  place.server)
            .ends_with("C:pgweir_1 P:pgweir_1 S"));
}

TEST_CASE("who prepares a text after a change of definitions shares no statement with those before") {
  for (const Bytes tag : {"ALTER TABLE", "CREATE VIEW", "DROP TABLE"}) {
    CAPTURE(tag);
    Place place;
    Client before(place), after(place);
    before.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server);
    Linked changer(place, query("begin"));
    changer.hears(done("BEGIN") + ready('T'));
    changer.says(query("alter table"));
    changer.hears(done(tag) + ready('T'));
    // Seen by itself at once ...
    CHECK(changer.says(parse("s", "select * from t") + sync_message()).empty());
    CHECK(changer.sent().ends_with("P:pgweir_2 S"));
    changer.hears(parsed() + ready('T'));
    changer.says(query("commit"));
    CHECK(changer.hears(done("COMMIT") + ready()) == "release");
    // ... and by all others when it is committed.
    CHECK(after.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server) ==
          "P:pgweir_3 S");
    CHECK(before.runs(bind("s") + sync_message(), bound() + ready(), place.server) == "B:pgweir_1 S");
  }
  Place place;
  Client client(place);
  for (const Bytes tag : {"COMMIT", "DO", "DELETE 1", "COPY 1", "CLOSE CURSOR", "DECLARE CURSOR"}) {
    CAPTURE(tag);
    client.runs(query("select 1"), done(tag) + ready(), place.server);
    client.runs(parse("s", "select 1") + close('S', "s") + sync_message(),
                (tag == "COMMIT" ? parsed() : closed() + parsed()) + closed() + ready(), place.server);
    CHECK(client.seen().ends_with("1 3 Z:I"));
  }
  CHECK(place.books.statements.size() == 1);
}

TEST_CASE("other columns than before are told as such by a server that learns the statement now") {
  const auto other_columns = [](const char* state, const char* routine) {
    return message('E', z("SERROR") + z("VERROR") + z(std::string("C") + state) + z("Mformats") +
                            z(std::string("R") + routine) + std::string(1, '\0'));
  };
  struct Row {
    const char* state;
    const char* routine;
    bool changed;
    const char* told;
  };
  for (const Row& each : {Row{"08P01", "PortalSetResultFormat", true, "E:0A000 Z:I"},
                          Row{"08P01", "PortalSetResultFormat", false, "E:08P01 Z:I"},
                          Row{"08P01", "exec_bind_message", true, "E:08P01 Z:I"},
                          Row{"XX000", "PortalSetResultFormat", true, "E:XX000 Z:I"}}) {
    CAPTURE(each.state, each.routine, each.changed);
    Place place;
    Client client(place);
    client.runs(parse("s", "select * from t") + sync_message(), parsed() + ready(), place.server);
    if (each.changed) client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
    client.seen();
    client.runs(bind("s") + execute() + sync_message(),
                parsed() + other_columns(each.state, each.routine) + ready(), place.other);
    const bool by_routine = client.to_client.find(z("RRevalidateCachedQuery")) != std::string::npos;
    CHECK(client.seen() == each.told);
    if (each.told != std::string("E:0A000 Z:I")) continue;
    CHECK(by_routine);  // what drivers know it by
    // As from a server that had it: until it is prepared anew.
    client.runs(bind("s") + execute() + sync_message(), error("26000") + ready(), place.server);
    CHECK(client.seen() == each.told);
  }
}

namespace {
// Columns of type text, in the format that is asked for.
std::string columns(const std::vector<std::string>& names, std::uint16_t format = 0) {
  std::string out;
  std::vector<protocol::Column> all;
  for (const std::string& name : names) all.push_back({name, protocol::kTextOid, format});
  protocol::put_row_description(out, all);
  return out;
}
}  // namespace

TEST_CASE("a server that would learn a statement after a change is asked for its columns first") {
  Place place;
  Client client(place);
  const std::string told = GENERATE(describe('S', "s"), bind("s") + describe());
  CAPTURE(test::told_to_server(told));
  const bool by_portal = told[0] == 'B';
  client.runs(parse("s", "select * from t") + told + sync_message(),
              parsed() + (by_portal ? bound() + columns({"a"}, 1) : parameters() + columns({"a"})) + ready(),
              place.server);
  const bool asks_anew = GENERATE(false, true);
  // Who says the format of each column relies on those that it was told of.
  const bool by_column = GENERATE(false, true);
  const std::string formats("\0\2\0\0\0\1", 6);
  const std::string binds =
      by_column ? message('B', z("") + z("s") + std::string(4, '\0') + formats) : bind("s");
  const std::string request = binds + (asks_anew ? describe() : "") + execute() + sync_message();
  SECTION("tables, or the like") {
    client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
    client.seen();
    client.sent();
    REQUIRE(client.says(request) == "ask");
    REQUIRE(client.granted(place.other) == "stalled");
    CHECK(client.sent() == "P:pgweir_2 D:pgweir_2 H");
    const std::string more = asks_anew ? "B:pgweir_2 D E S" : "B:pgweir_2 E S";
    SECTION("the same") {
      const std::string answer = parsed() + parameters() + columns({"a"});
      const std::size_t piece = GENERATE(std::size_t{1}, std::size_t{100});
      for (std::size_t at = 0; at < answer.size(); at += piece) {
        if (at > 0) CHECK(client.again() == "stalled");
        client.sent();
        client.hears(answer.substr(at, piece));
        CHECK(client.sent().empty());
      }
      client.again();
      CHECK(client.sent() == more);
      CHECK(client.hears(bound() + (asks_anew ? columns({"a"}) : "") + row() + done() + ready()) ==
            "release");
      CHECK(client.seen() == (asks_anew ? "2 T D C:SELECT 1 Z:I" : "2 D C:SELECT 1 Z:I"));
      // Another server is not asked again.
      place.server.statements.clear();
      CHECK(client.runs(bind("s") + execute() + sync_message(), parsed() + rows_of_batch(), place.server) ==
            "P:pgweir_2 B:pgweir_2 E S");
    }
    SECTION("others") {
      client.hears(parsed() + parameters() + columns({"a", "b"}));
      client.again();
      if (asks_anew && !by_column) {
        CHECK(client.sent() == more);
        CHECK(client.hears(bound() + columns({"a", "b"}) + row() + done() + ready()) == "release");
        return;
      }
      CHECK(client.sent() == (asks_anew ? "B:pgweir_none D E S" : "B:pgweir_none E S"));
      CHECK(client.hears(error("26000") + ready()) == "release");
      CHECK(client.to_client.find(z("RRevalidateCachedQuery")) != std::string::npos);
      CHECK(client.seen() == "E:0A000 Z:I");
      // It is told of them when it prepares again.
      CHECK(client.runs(close('S', "s") + parse("s", "select * from t") + sync_message(),
                        closed() + closed() + parsed() + ready(),
                        place.other) == "C:pgweir_none C:pgweir_2 P:pgweir_2 S");
    }
    SECTION("none, because it cannot be prepared") {
      client.hears(error("42P01"));
      client.again();
      CHECK(client.hears(ready()) == "release");
      CHECK(client.seen() == "E:42P01 Z:I");
    }
    SECTION("none, because it was canceled") {
      client.hears(parsed() + error("57014"));
      client.again();
      CHECK(client.hears(ready()) == "release");
      CHECK(client.seen() == "E:57014 Z:I");
    }
  }
  SECTION("but not for what it knows, nor inside of a transaction that may have changed what names mean") {
    client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
    CHECK(client.runs(bind("s") + execute() + sync_message(), rows_of_batch(), place.server) ==
          "B:pgweir_1 E S");
    REQUIRE(client.says(query("begin; set local search_path = a")) == "ask");
    REQUIRE(client.granted(place.other).empty());
    client.hears(done("BEGIN") + done("SET") + ready('T'));
    client.sent();
    client.says(bind("s") + execute() + sync_message());
    CHECK(client.sent() == "P:pgweir_2 B:pgweir_2 E S");
  }
}

TEST_CASE("what executes a statement of SQL's is not asked for its columns, which are the client's own") {
  Place place;
  Client client(place);
  client.runs(parse("s", "execute p") + describe('S', "s") + sync_message(),
              parsed() + parameters() + columns({"a"}) + ready(), place.server);
  client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
  REQUIRE(client.says(bind("s") + execute() + sync_message()) == "ask");
  client.sent();
  CHECK(client.granted(place.other).empty());
  CHECK(client.sent() == "P:pgweir_1 B:pgweir_1 E S");
}

TEST_CASE("literals of a statement are read as its Parse would have read them, whatever server learns it") {
  Place place;
  place.reports({{"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}});
  Client client(place), other(place);
  const std::string text = GENERATE("select timestamptz '2021-07-01 12:00'", "show timezone");
  CAPTURE(text);
  client.runs(parse("s", text) + sync_message(), parsed() + ready(), place.server);
  client.runs(query("set timezone = 'Asia/Tokyo'"),
              done("SET") + parameter("TimeZone", "Asia/Tokyo") + ready(), place.server);
  client.seen();
  const std::string settings = parsed() + bound() + row("Asia/Tokyo") + done() + ready();
  REQUIRE(client.says(bind("s") + execute() + sync_message()) == "ask");
  client.to_server.clear();
  REQUIRE(client.granted(place.other).empty());
  const std::string sent = client.to_server;
  if (text.starts_with("show")) {
    // It has none, and others like it might be refused behind a query.
    CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S P:pgweir_1 B:pgweir_1 E S");
    CHECK(client.hears(settings + parsed() + rows_of_batch()) == "release");
    return;
  }
  CHECK(client.sent() ==
        "P:pgweir_set B:pgweir_set E S C:pgweir_read P:pgweir_read B:pgweir_read E P:pgweir_1 B:pgweir_read E"
        " C:pgweir_read B:pgweir_1 E S");
  const std::size_t then = sent.find("UTC"), at = sent.find(text);
  REQUIRE((then != std::string::npos && at != std::string::npos));
  CHECK(then < at);
  CHECK(at < sent.find("Asia/Tokyo", at));
  const std::string reading = bound() + row() + done();
  CHECK(client.hears(settings + closed() + parsed() + reading + parsed() + reading + closed() +
                     rows_of_batch()) == "release");
  CHECK(client.seen() == "2 D C:SELECT 1 Z:I");
  // So who shares it finds what it means to him.
  const std::string taken_back = bound() + row() + done() + ready();
  other.runs(parse("s", text) + sync_message(), parsed() + taken_back + closed() + parsed() + ready(),
             place.server);
  CHECK(other.runs(bind("s") + execute() + sync_message(), taken_back + rows_of_batch(), place.other)
            .ends_with("B:pgweir_1 E S"));
}

TEST_CASE("behind what may have ended the transaction nobody knows which settings literals are read under") {
  Place place;
  place.reports({{"TimeZone", "UTC"}, {"DateStyle", "ISO, MDY"}});
  Client client(place);
  client.runs(parse("s", "select timestamptz '2021-07-01 12:00'") + sync_message(), parsed() + ready(),
              place.server);
  REQUIRE(client.says(query("begin; set local timezone = 'Asia/Tokyo'")) == "ask");
  REQUIRE(client.granted(place.other).empty());
  client.hears(done("BEGIN") + done("SET") + parameter("TimeZone", "Asia/Tokyo") + ready('T'));
  client.sent();
  const std::string asked = bind("s") + execute() + sync_message();
  SECTION("whose TimeZone would be the client's until its end") {
    client.says(parse("", "commit") + bind() + execute() + parse("", "begin") + bind() + execute() + asked);
    CHECK(client.sent() == "P B E P B E H");
    client.hears(parsed() + bound() + done("COMMIT") + parsed() + bound() + done("BEGIN"));
    client.again();
    // All of them, and the server keeps what they were.
    const std::string read = "B:pgweir_read E B:pgweir_read E ";
    CHECK(client.sent() ==
          "C:pgweir_read P:pgweir_read " + read + "P:pgweir_1 " + read + "C:pgweir_read B:pgweir_1 E S");
  }
  SECTION("first in its batch it is known") {
    client.says(asked);
    CHECK(client.sent() ==
          "C:pgweir_read P:pgweir_read B:pgweir_read E P:pgweir_1 B:pgweir_read E C:pgweir_read B:pgweir_1 E "
          "S");
  }
}

TEST_CASE(
    "a server that learns a statement after a change learns it with the parameter types that were told") {
  const std::string text = "insert into t values ($1, $2)";
  const std::string declared("\0\1\0\0\0\x19", 6), types("\0\2\0\0\0\x19\0\0\0\x17", 10);
  Place place;
  Client client(place), later(place);
  const std::string parse_s = message('P', z("s") + z(text) + declared);
  const std::string answer = parsed() + parameters({25, 23}) + no_data() + ready();
  const std::size_t piece = GENERATE(std::size_t{1}, std::size_t{100});
  REQUIRE(client.says(parse_s + describe('S', "s") + sync_message()) == "ask");
  client.granted(place.server);
  for (std::size_t at = 0; at < answer.size(); at += piece) client.hears(answer.substr(at, piece));
  client.sent();
  SECTION("tables, or the like") {
    client.runs(query("alter table"), done("ALTER TABLE") + ready(), place.server);
    REQUIRE(client.says(bind("s") + execute() + sync_message()) == "ask");
    REQUIRE(client.granted(place.other) == "stalled");
    CHECK(client.sent().ends_with("P:pgweir_2 D:pgweir_2 H"));
    CHECK(client.out.to_server.text().find(z(text) + types) != std::string::npos);
    client.hears(parsed() + parameters({25, 23}) + no_data());
    client.again();
    CHECK(client.sent() == "B:pgweir_2 E S");
    // Who prepares it now is told of those of now.
    later.says(parse_s + sync_message());
    later.granted(place.server);
    CHECK(later.sent() == "P:pgweir_3 S");
    CHECK(later.to_server.find(z(text) + types) == std::string::npos);
  }
  SECTION("nothing has changed") {
    CHECK(client.runs(bind("s") + execute() + sync_message(), parsed() + rows_of_batch(), place.other) ==
          "P:pgweir_1 B:pgweir_1 E S");
    CHECK(client.to_server.find(z(text) + types) == std::string::npos);
  }
}

TEST_CASE("who alters a role or a database makes sessions begin otherwise, when it is committed") {
  struct Row {
    const char* tag;
    const char* superuser;
    NewStarts whose;
  };
  for (const Row& each :
       {Row{"ALTER ROLE", "off", starts::kOfUser}, Row{"ALTER DATABASE", "off", starts::kOfDatabase},
        Row{"ALTER ROLE", "on", starts::kOfAll}, Row{"ALTER DATABASE", "on", starts::kOfAll},
        Row{"ALTER TABLE", "on", 0}}) {
    CAPTURE(each.tag, each.superuser);
    Place place;
    place.reports({{"is_superuser", each.superuser}});
    Linked client(place);
    client.says(query("alter something"));
    client.hears(done(each.tag) + ready('T'));
    CHECK(client.out.new_starts == 0);
    client.says(query("commit"));
    client.hears(done("COMMIT") + ready());
    CHECK(client.out.new_starts == each.whose);
    client.runs(query("select 1"), rows(), place.server);
    CHECK(client.out.new_starts == 0);
  }
}
