// Settings that follow a client.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

using State = SessionCore::State;

TEST_CASE("a client's settings go ahead of its first request, in the same send") {
  Place place;
  Client client(place, {{"work_mem", "8MB"}, {"TimeZone", "UTC"}});
  client.says(query("select 1"));
  client.granted(place.server);
  CHECK(told_to_server(client.to_server) == "P:pgweir_set B:pgweir_set E B:pgweir_set E S Q:select 1");
  const std::string ours =
      parsed() + bound() + row() + done() + bound() + row() + done() + parameter("TimeZone", "UTC") + ready();
  CHECK(client.hears(ours).empty());
  CHECK(client.to_client.empty());
  CHECK(client.hears(rows()) == "release");
  CHECK(client.to_client == rows());
  CHECK(place.server.applied == client.core.wanted());
  CHECK_FALSE(place.server.dirty);

  SECTION("only the difference is sent, and nothing to a server that has them") {
    CHECK(client.runs(query("select 2"), rows(), place.server) == "Q:select 2");
    Client other(place, {{"work_mem", "8MB"}});
    other.says(query("select 1"));
    other.granted(place.server);
    CHECK(other.sent() == "B:pgweir_set E S Q:select 1");
    other.hears(bound() + row() + done() + parameter("TimeZone", "GMT") + ready() + rows());
    CHECK(place.server.applied == other.core.wanted());
    CHECK(other.seen() == "T D C:SELECT 1 Z:I");
  }
  SECTION("cut at every byte they are swallowed all the same") {
    place.books.settings.mark_returned("work_mem");
    const std::string answer = bound() + row() + done() + bound() + row() + done() + ready() + rows();
    for (std::size_t cut = 0; cut < answer.size(); ++cut) {
      Client other(place);
      const SettingsRef before = place.server.applied;
      other.says(query("select 1"));
      other.granted(place.server);
      CHECK(other.hears(answer.substr(0, cut)).empty());
      const std::string did = other.hears(answer.substr(cut));
      CHECK(did == "release");
      CHECK(other.to_client == rows());
      place.server.applied = before;
    }
  }
}

TEST_CASE("settings that the server refuses in the middle of a session end it before it sees an answer") {
  Place place;
  Client client(place, {{"work_mem", "8MB"}});
  client.says(query("insert"));
  client.granted(place.server);
  SECTION("nothing else has come") {
    CHECK(client.hears(parsed() + bound() + error("22023")) == "close drop");
  }
  SECTION("answers have come already") {
    CHECK(client.hears(parsed() + bound() + error("22023") + ready() + done("INSERT 0 1") + ready()) ==
          "close drop");
  }
  SECTION("half an answer has come") {
    CHECK(client.hears(parsed() + bound() + error("22023") + ready() + row().substr(0, 9)) == "close drop");
  }
  SECTION("what came before is told, in one piece or many") {
    CHECK(client.hears(parsed() + notification() + error("22023") + ready()) == "close drop");
    CHECK(client.seen() == "A E:08006:FATAL");
    return;
  }
  CHECK(client.seen() == "E:08006:FATAL");
}

TEST_CASE("settings are proven on a server before the client is welcomed") {
  Place place;
  place.reports({{"client_encoding", "SQL_ASCII"}});
  Client client(place, {{"work_mem", "8MB"}, {"client_encoding", "utf8"}});
  CHECK_FALSE(client.core.wanted()->proven);
  CHECK(client.step([&] { client.core.prove(client.out); }) == "ask");
  client.held = query("select 1");  // an impatient client
  CHECK(client.says("").empty());
  CHECK(client.granted(place.server).empty());
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E B:pgweir_set E S");
  SECTION("they are good") {
    CHECK(client.hears(parsed() + bound() + row("UTF8") + done() + bound() + row("8MB") + done() +
                       parameter("client_encoding", "UTF8") + ready()) == "proven release");
    CHECK(client.out.transactions == 0);
    CHECK(client.core.wanted()->proven);
    CHECK(place.books.settings.welcome(*client.core.wanted()).at("client_encoding") == "UTF8");
    CHECK(client.again() == "ask");
    client.granted(place.server);
    CHECK(client.sent() == "Q:select 1");
    client.hears(rows());
  }
  SECTION("they are not: the client hears Postgres's own words and the server is as before") {
    CHECK(client.hears(parsed() + bound() + error("22023", "invalid value \"8MB\" of \"work_mem\"")).empty());
    CHECK(client.hears(ready()) == "close release");
    CHECK(client.out.reason == "invalid value \"***\" of \"work_mem\"");
    CHECK(client.out.sqlstate == "22023");
    CHECK(client.seen() == "E:22023:FATAL");
    CHECK(place.server.clean());
    CHECK(place.server.applied == place.books.settings.empty());
    Client next(place, {{"work_mem", "4MB"}});
    next.says(query("select 1"));
    next.granted(place.server);
    CHECK(next.sent() == "C:pgweir_set P:pgweir_set B:pgweir_set E S Q:select 1");
    next.hears(closed() + parsed() + bound() + row() + done() + ready() + rows());
    CHECK(next.seen() == "T D C:SELECT 1 Z:I");
  }
  SECTION("no server: it is refused for good") {
    client.hears(parsed() + bound() + row() + done() + bound() + row() + done() + ready());
    Client other(place, {{"work_mem", "9MB"}});
    other.step([&] { other.core.prove(other.out); });
    CHECK(other.step([&] { other.core.refused({"53300", "full", {}, {}}, {}, other.out); }) == "leave close");
    CHECK(other.seen() == "E:53300:FATAL");
  }
  SECTION("it leaves meanwhile") {
    CHECK(client.step([&] { client.core.client_gone(client.out); }) == "abandon");
  }
  SECTION("the server dies meanwhile") {
    CHECK(client.step([&] { client.core.server_gone("x", client.out); }) == "close drop");
  }
}

TEST_CASE("a server that already has the settings proves them at once") {
  Place place;
  Client client(place);
  client.step([&] { client.core.prove(client.out); });
  CHECK(client.granted(place.server) == "proven release");
}

TEST_CASE("what a client sets and Postgres reports follows it to the next server") {
  Place place;
  place.reports({{"TimeZone", "Etc/UTC"}, {"client_encoding", "UTF8"}});
  Client client(place);
  client.runs(query("set timezone = 'Asia/Tokyo'"),
              done("SET") + parameter("TimeZone", "Asia/Tokyo") + ready(), place.server);
  CHECK(place.server.applied == client.core.wanted());
  CHECK(client.core.wanted()->values.at("TimeZone") == "Asia/Tokyo");
  CHECK(client.runs(query("select 1"), parsed() + bound() + row() + done() + ready() + rows(), place.other) ==
        "P:pgweir_set B:pgweir_set E S Q:select 1");
  SECTION("and back to the default") {
    client.runs(query("reset timezone"), done("RESET") + parameter("TimeZone", "Etc/UTC") + ready(),
                place.other);
    CHECK(client.core.wanted() == place.books.settings.empty());
    CHECK(place.other.applied == place.books.settings.empty());
  }
  SECTION("what is not the client's to choose does not") {
    client.runs(query("select 1"), parameter("is_superuser", "on") + rows(), place.other);
    CHECK(client.core.wanted()->values.size() == 1);
  }
}

TEST_CASE("a server whose Postgres has changed its role is not used again") {
  Place place;
  Client client(place);
  client.says(query("select 1"));
  client.granted(place.server);
  CHECK(client.hears(parameter("in_hot_standby", "off") + rows()) == "drop");
  CHECK(client.core.state() == SessionCore::State::Idle);
}

TEST_CASE("how Postgres spells a value stays known when another one changes") {
  Place place;
  place.reports({{"TimeZone", "Etc/UTC"}, {"client_encoding", "SQL_ASCII"}});
  Client client(place, {{"client_encoding", "utf8"}});
  client.runs(query("select 1"), parsed() + bound() + row("UTF8") + done() + ready() + rows(), place.server);
  client.runs(query("set timezone = 'UTC'"), done("SET") + parameter("TimeZone", "UTC") + ready(),
              place.server);
  CHECK(place.books.settings.welcome(*client.core.wanted()).at("client_encoding") == "UTF8");
}

TEST_CASE("what a role is taken back to is no spelling of the next one") {
  Place place;
  place.server.applied = place.books.settings.intern({{"role", "reader"}});
  Client client(place, {{"role", "writer"}});
  client.runs(query("select 1"),
              parsed() + bound() + row("none") + done() + bound() + row("writer") + done() + ready() + rows(),
              place.server);
  Client other(place, {{"role", "writer"}});
  other.says(query("set role none"));
  other.granted(place.other);
  other.hears(parsed() + bound() + row("writer") + done() + ready() + done("SET") + ready());
  CHECK(other.hears(parsed() + answered(row("none"))) == "release");
  CHECK(other.core.wanted()->values.at("role") == "none");
}

TEST_CASE("cleaning counts only when DISCARD ALL has succeeded") {
  ServerCore::Audience nobody;
  Place place;
  Client client(place, {{"TimeZone", "UTC"}});
  client.says(function_call());
  client.granted(place.server);
  client.hears(parsed() + bound() + row() + done() + ready() + function_result() + ready());
  CHECK_FALSE(place.server.clean());
  protocol::Gather to_server, to_client;
  place.server.begin_cleaning(to_server);
  const std::string cleaning = told_to_server(to_server.text());
  CHECK(cleaning.starts_with("Q:SET statement_timeout TO DEFAULT Q:SELECT pg_catalog.setseed("));
  CHECK(cleaning.ends_with(" Q:DISCARD ALL"));
  // Whether the former went well is not asked: DISCARD ALL takes the timeout away, too. Whether functions may
  // be run is the database's to say.
  const std::string set =
      GENERATE(done("SET"), error("57014")) + ready() + GENERATE(rows(), error("42501") + ready());
  SECTION("it has") {
    const std::string all = set + done("DISCARD ALL") + parameter("TimeZone", "GMT") + ready();
    CHECK(place.server.read(all, to_client, nobody).broken == nullptr);
    CHECK(place.server.clean());
    CHECK(place.server.applied == place.books.settings.empty());
    CHECK(client.runs(query("select 1"), parsed() + bound() + row() + done() + ready() + rows(),
                      place.server) == "P:pgweir_set B:pgweir_set E S Q:select 1");
  }
  SECTION("it has not") {
    place.server.read(set + error("57014") + ready(), to_client, nobody);
    CHECK(place.server.quiet());
    CHECK_FALSE(place.server.clean());
  }
  CHECK(to_client.empty());
}

TEST_CASE("a client's own timeout is given last, and one that is short is taken back first") {
  const auto names = [](const std::string& bytes) {
    std::string out;
    for (const std::string& one : split(bytes)) {
      if (one[0] != 'B') continue;
      for (const Bytes name : {"role", "statement_timeout", "transaction_timeout", "work_mem", "zone"})
        if (one.find(name) != std::string::npos) out += (out.empty() ? "" : " ") + std::string(name);
    }
    return out;
  };
  struct Row {
    const char* had;
    const char* wants;
    const char* sent;
  };
  for (const Row& each :
       {Row{"", "1", "work_mem zone role statement_timeout"},
        Row{"1ms", "", "statement_timeout work_mem zone role"},
        Row{"1ms", "2ms", "statement_timeout work_mem zone role statement_timeout"},
        Row{"1ms", "1ms", "statement_timeout work_mem zone role statement_timeout"},
        Row{"30s", "30s", "work_mem zone role"}, Row{"30s", "10s", "work_mem zone role statement_timeout"},
        Row{"30s", "", "statement_timeout work_mem zone role"}}) {
    CAPTURE(each.had, each.wants);
    Place place;
    if (*each.had) place.server.applied = place.books.settings.intern({{"statement_timeout", each.had}});
    SettingsMap::Values wanted{{"work_mem", "1MB"}, {"zone.a", "b"}, {"role", "reader"}};
    if (*each.wants) wanted["statement_timeout"] = each.wants;
    Client client(place, wanted);
    REQUIRE(client.says(query("select 1")) == "ask");
    REQUIRE(client.granted(place.server).empty());
    CHECK(names(client.to_server) == each.sent);
  }
}

TEST_CASE("what is asked behind a client's transaction has time") {
  Place place;
  SECTION("under a short timeout of its own") {
    Client client(place, {{"statement_timeout", "1ms"}});
    client.says(query("set work_mem = '1MB'"));
    client.granted(place.server);
    client.hears(parsed() + bound() + row("1ms") + done() + ready());
    client.sent();
    client.hears(done("SET") + ready());
    CHECK(client.sent() == "P:pgweir_patience B:pgweir_patience E P:pgweir_value B:pgweir_value E S");
    CHECK(client.hears(parsed() + bound() + row("10s") + done() + parsed() + answered(row("1MB"))) ==
          "release");
    CHECK(client.core.wanted()->values.at("work_mem") == "1MB");
    CHECK(client.core.wanted()->values.at("statement_timeout") == "1ms");
  }
  SECTION("which may be the one that it has just set, and is asked for first") {
    Client client(place);
    CHECK(
        suspected(client, "set work_mem = 1; set statement_timeout = 1; set a.b = 1", "SET", place.server) ==
        "P:pgweir_value B:pgweir_value E P:pgweir_patience B:pgweir_patience E B:pgweir_value E "
        "B:pgweir_value E S");
    const auto one = [](Bytes value) { return bound() + row(value) + done(); };
    CHECK(client.hears(parsed() + one("1ms") + parsed() + one("0") + one("1") + one("2kB") + ready()) ==
          "release");
    CHECK(client.core.wanted()->values.at("statement_timeout") == "1ms");
    CHECK(client.core.wanted()->values.at("work_mem") == "2kB");
  }
  SECTION("but not inside of one, where it would keep that") {
    Client client(place, {{"statement_timeout", "1ms"}});
    client.says(query("begin"));
    client.granted(place.server);
    client.hears(parsed() + bound() + row("1ms") + done() + ready() + done("BEGIN") + ready('T'));
    client.says(query("reset all"));
    client.hears(done("RESET") + ready('T'));
    client.sent();
    CHECK(client.says(query("select 1")) == "stalled");
    CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
  }
}

TEST_CASE("settings beyond ASCII are given in their client's encoding, and do not change it") {
  Place place;
  place.reports({{"client_encoding", "UTF8"}});
  Client client(place, {{"app.a", "\xe9"}, {"client_encoding", "LATIN1"}});
  REQUIRE(client.says(query("select 1")) == "ask");
  client.granted(place.server);
  const std::string sent = client.out.to_server.text();
  CHECK(sent.find("LATIN1") < sent.find('\xe9'));
  client.hears(parsed() + bound() + row("LATIN1") + done() + bound() + row("\xe9") + done() +
               parameter("client_encoding", "LATIN1") + ready());
  client.again();
  REQUIRE(client.hears(rows()) == "release");
  const char* encoding = GENERATE("UTF8", "LATIN1");
  CAPTURE(encoding);
  const bool other = encoding != std::string("LATIN1");
  REQUIRE(client.says(query("set client_encoding = x")) == "ask");
  REQUIRE(client.granted(place.server).empty());
  const std::string told = client.hears(parameter("client_encoding", encoding) + done("SET") + ready());
  CHECK(told == (other ? "" : "release"));
  CHECK(client.core.pins() == (other ? pin::kSettings : Pins{0}));
}
