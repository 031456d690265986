// The unnamed statement, which is the client's own on every server.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

TEST_CASE("the unnamed statement is the client's own on every server") {
  // Go's lib/pq prepares in one batch and binds in the next.
  Place place;
  Client a(place), b(place);
  CHECK(a.runs(parse("", "select 'a'") + describe('S') + sync_message(),
               parsed() + parameters() + row_description() + ready(), place.server) == "P D S");
  b.runs(parse("", "select 'b'") + sync_message(), parsed() + ready(), place.server);
  a.seen();
  a.says(bind() + execute() + sync_message());
  a.granted(place.server);
  CHECK(a.sent().ends_with("P B E S"));
  CHECK(a.hears(parsed() + rows_of_batch()) == "release");
  CHECK(a.seen() == "2 D C:SELECT 1 Z:I");

  SECTION("prepared again with the client's text, once per loan") {
    a.says(bind() + execute() + describe('S') + sync_message());
    a.granted(place.other);
    CHECK(a.to_server == parse("", "select 'a'") + bind() + execute() + describe('S') + sync_message());
    a.hears(parsed() + bound() + done() + parameters() + no_data() + ready());
  }
  SECTION("ended by a simple query, as in Postgres") {
    a.runs(query("select 1"), rows(), place.server);
    a.seen();
    CHECK(a.runs(bind() + execute() + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none E S");
    CHECK(a.seen() == "E:26000 Z:I");
  }
  SECTION("or by Close") {
    a.runs(close('S', "") + sync_message(), closed() + ready(), place.server);
    CHECK(a.runs(describe('S') + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none S");
  }
  SECTION("never another client's") {
    Client c(place);
    CHECK(c.runs(bind() + execute() + sync_message(), error("26000") + ready(), place.server) ==
          "B:pgweir_none E S");
  }
  SECTION("its state is its own too") {
    a.runs(parse("", "set a b c") + sync_message(), parsed() + ready(), place.server);
    CHECK_FALSE(place.other.dirty);
    a.says(bind() + execute() + sync_message());
    a.granted(place.other);
    a.hears(parsed() + bound() + done("SET") + ready());
    CHECK(a.hears(nothing_left()) == "release");
    CHECK(place.other.dirty);
  }
  SECTION("when it fails there the next use prepares it once more") {
    a.runs(bind() + sync_message(), error("42P01") + ready(), place.other);
    a.to_server.clear();
    CHECK(a.runs(bind() + sync_message(), parsed() + bound() + ready(), place.other) == "P B S");
  }
}

TEST_CASE("a Parse without a name that fails leaves none, and one that is skipped leaves the one before") {
  // "a" stands for the client's statement "select 'a'"; all of it is answered by the server that has that.
  const auto named = [](const char* which) { return parse("", std::string("select '") + which + '\''); };
  const std::string fails = error("42601"), none = error("26000"), uses = bind("missing");
  struct Row {
    const char* what;
    std::string request, answer;
    const char* left;  // "": none
  };
  const Row rows[] = {
      {"fails", named("b") + sync_message(), fails + ready(), ""},
      {"is skipped", uses + named("b") + sync_message(), none + ready(), "a"},
      {"the first stands", named("b") + uses + named("c") + sync_message(), parsed() + none + ready(), "b"},
      {"the first fails", named("b") + named("c") + sync_message(), fails + ready(), ""},
      {"the second fails", named("b") + named("c") + sync_message(), parsed() + fails + ready(), ""},
      {"by what is executed", named("b") + bind() + execute() + named("c") + sync_message(),
       parsed() + bound() + error("22012") + ready(), "b"},
      {"a batch fails, the next one goes well", named("b") + sync_message() + named("c") + sync_message(),
       fails + ready() + parsed() + ready(), "c"},
      {"is skipped, the next one goes well", uses + named("b") + sync_message() + named("c") + sync_message(),
       none + ready() + parsed() + ready(), "c"},
      {"is skipped in the second batch", named("b") + sync_message() + uses + named("c") + sync_message(),
       parsed() + ready() + none + ready(), "b"},
      {"is skipped in both", uses + named("b") + sync_message() + uses + named("c") + sync_message(),
       none + ready() + none + ready(), "a"},
      {"is skipped, the next one fails", uses + named("b") + sync_message() + named("c") + sync_message(),
       none + ready() + fails + ready(), ""},
      {"fails, the next one is skipped", named("b") + sync_message() + uses + named("c") + sync_message(),
       fails + ready() + none + ready(), ""},
      {"is closed", named("b") + close('S', "") + sync_message(), parsed() + closed() + ready(), ""},
      {"its Close is skipped", named("b") + uses + close('S', "") + sync_message(), parsed() + none + ready(),
       "b"},
  };
  for (const Row& each : rows) {
    CAPTURE(each.what);
    Place place;
    Client client(place);
    client.runs(named("a") + sync_message(), parsed() + ready(), place.server);
    REQUIRE(client.says(each.request) == "ask");
    REQUIRE(client.granted(place.server).empty());
    // Every answer by itself: what is known is known at once.
    std::string released;
    for (const std::string& one : split(each.answer)) released = client.hears(one);
    REQUIRE(released == "release");
    client.seen();
    client.to_server.clear();
    REQUIRE(client.says(bind() + sync_message()) == "ask");
    client.granted(place.other);
    if (*each.left != '\0') {
      CHECK(client.to_server == named(each.left) + bind() + sync_message());
      client.hears(parsed() + bound() + ready());
    } else {
      CHECK(client.sent() == "B:pgweir_none S");
      client.hears(none + ready());
      CHECK(client.seen() == "E:26000 Z:I");
    }
  }
}

TEST_CASE("a Bind waits for the earlier batch that decides which unnamed statement its server has") {
  // Where that is skipped, the server still has another client's.
  const std::string skips = bind("missing"), none = error("26000");
  Place place;
  Client client(place), before(place);
  before.runs(parse("", "select 'theirs'") + sync_message(), parsed() + ready(), place.server);
  struct Row {
    const char* what;
    std::string first, request, sent, last;
  };
  for (const Row& each :
       {Row{"a Parse that is skipped", "", skips + parse("", "select 'b'"), "B:missing P S",
            "B:pgweir_none S"},
        Row{"one prepared elsewhere", parse("", "select 'a'"), skips + bind(), "B:missing P B S", "P B S"},
        Row{"both", parse("", "select 'a'"), skips + parse("", "select 'b'"), "B:missing P S", "P B S"},
        Row{"a Close", parse("", "select 'a'"), skips + close('S', ""), "B:missing C S", "P B S"}}) {
    CAPTURE(each.what);
    if (!each.first.empty()) client.runs(each.first + sync_message(), parsed() + ready(), place.other);
    client.to_server.clear();
    REQUIRE(client.says(each.request + sync_message() + bind() + sync_message()) == "ask");
    REQUIRE(client.granted(place.server) == "stalled");
    CHECK(client.sent() == each.sent);
    CHECK(client.hears(none + ready()) == "release");
    CHECK(client.again() == "ask");
    client.granted(place.server);
    CHECK(client.sent() == each.last);
    const bool has = !each.first.empty();
    CHECK(client.hears((has ? parsed() + bound() : none) + ready()) == "release");
    client.runs(close('S', "") + sync_message(), closed() + ready(), place.server);
  }
}

TEST_CASE("the unnamed statement that a skipped Parse leaves is prepared where the server has it not") {
  for (const bool here : {false, true}) {
    CAPTURE(here);
    Place place;
    Client client(place);
    client.runs(parse("", "select 'a'") + parse("t", "begin") + sync_message(), parsed() + parsed() + ready(),
                place.server);
    client.says(bind("t") + execute() + (here ? bind() : std::string()) + sync_message());
    client.granted(place.other);
    client.hears(parsed() + bound() + done("BEGIN") + (here ? parsed() + bound() : std::string()) +
                 ready('T'));
    client.says(bind("missing") + parse("", "select 'b'") + sync_message());
    client.hears(error("26000") + ready('E'));
    client.sent();
    client.says(bind() + sync_message());
    CHECK(client.sent() == (here ? "B S" : "P B S"));
    client.step([&] { client.core.server_gone("x", client.out); });
  }
}

TEST_CASE("a simple query behind a batch waits until it is known which unnamed statement it ends") {
  Place place;
  Linked client(place);
  client.says(parse("", "select 'a'") + sync_message());
  client.hears(parsed() + ready('T'));
  client.sent();
  CHECK(client.says(bind("missing") + query("select 1")) == "stalled");
  CHECK(client.sent() == "B:missing H");
  CHECK(client.hears(error("26000")).empty());
  CHECK(client.says(sync_message() + bind() + sync_message()).empty());
  CHECK(client.sent() == "Q:select 1 S B S");  // skipped, it has ended nothing
  client.hears(ready('E') + error("25P02") + ready('E'));
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("... also where a Close that may be skipped stands between") {
  Place place;
  Linked client(place);
  client.says(parse("", "select 'a'") + sync_message());
  client.hears(parsed() + ready('T'));
  client.sent();
  CHECK(client.says(bind("missing") + close('S', "") + sync_message() + query("select 1") + describe('S') +
                    sync_message()) == "stalled");
  CHECK(client.sent() == "B:missing C S");
  client.hears(error("26000") + ready('E'));
  CHECK(client.says("").empty());
  CHECK(client.sent() == "Q:select 1 B:pgweir_none S");
  client.hears(error("25P02") + ready('E') + error("25P02") + ready('E'));
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("a long unnamed statement is not kept for the case that its successor is skipped") {
  Place place;
  Client client(place);
  const std::string longer = parse("", "select '" + std::string(5000, 'x') + "'");
  CHECK(client.says(longer + bind() + execute() + longer + sync_message()) == "ask");
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent() == "P B E H");
  CHECK(client.hears(parsed() + bound() + done("SELECT 1")).empty());
  CHECK(client.again().empty());
  CHECK(client.sent() == "P S");
  CHECK(client.hears(error("42601") + ready()) == "release");
  CHECK(client.runs(bind() + sync_message(), error("26000") + ready(), place.other) == "B:pgweir_none S");
}

TEST_CASE("a long unnamed statement is kept until it has been used") {
  struct Row {
    std::size_t size;
    bool second, third;  // whether the next two uses in other transactions find it
  };
  for (const Row& each :
       {Row{200'000, true, true}, Row{300'000, true, false}, Row{1'100'000, false, false}}) {
    CAPTURE(each.size);
    Place place;
    Client client(place);
    const std::string text = "select '" + std::string(each.size, 'x') + "'";
    client.runs(parse("", text) + describe('S') + sync_message(),
                parsed() + parameters() + row_description() + ready(), place.server);
    for (const bool found : {each.second, each.third}) {
      client.says(bind() + execute() + sync_message());
      client.granted(place.other);
      CHECK(client.sent().ends_with(found ? "P B E S" : "B:pgweir_none E S"));
      client.seen();
      client.hears(found ? parsed() + rows_of_batch() : error("26000") + ready());
      CHECK(client.seen() == (found ? "2 D C:SELECT 1 Z:I" : "E:54000 Z:I"));
    }
    // As soon as there is another one, nothing is said of its length.
    client.runs(query("select 1"), rows(), place.server);
    client.seen();
    client.runs(bind() + execute() + sync_message(), error("26000") + ready(), place.server);
    CHECK(client.seen() == "E:26000 Z:I");
  }
}
