// Statements of SQL's PREPARE on whatever server the client comes to.
#include "tests/pooler/session_help.h"

namespace pgweir::test {
namespace {

const Bytes kText = "prepare p (int) as select $1 + 1";

// Has prepared `text` as p, in a transaction of its own; the server has forgotten it.
struct Prepared : Client {
  explicit Prepared(Place& p, Bytes text = kText, Bytes types = "{23}", Bytes before = parsed()) : Client(p) {
    suspected(*this, text, "PREPARE", p.server);
    REQUIRE(hears(std::string(before) + answered(statement_row("p", types, text))).empty());
    REQUIRE(sent() == "C:p S");
    REQUIRE(hears(closed() + ready()) == "release");
    REQUIRE(core.pins() == 0);
    REQUIRE(core.statement_count() == 1);
    to_client.clear();
  }
  void asks(Bytes request, ServerCore& server) {
    REQUIRE(says(request) == "ask");
    REQUIRE(granted(server).empty());
  }
};

std::string error_at(const char* position, Bytes text) {
  std::string body = "SERROR" + std::string(1, '\0') + "VERROR" + std::string(1, '\0') + "C42703" +
                     std::string(1, '\0') + "M" + std::string(text) + std::string(1, '\0') + "P" + position +
                     std::string(2, '\0');
  return message('E', body);
}

}  // namespace

TEST_CASE("where anything may be executed, a name that nobody has is not taken for the one that there is") {
  Place place;
  Prepared client(place);
  place.books.routines.follow(true);  // not read yet
  client.asks(query("execute q(41)"), place.other);
  CHECK(client.sent().ends_with("Q:execute q(41)"));
}

TEST_CASE("what SQL prepares goes with the client, and is executed by the server's name for it") {
  Place place;
  Prepared client(place);
  client.asks(query("execute p(41)"), place.other);
  const std::vector<std::string> messages = split(client.to_server);
  CHECK(client.sent() == "P:pgweir_1 S Q:execute pgweir_1(41)");
  // Blanks for what stood in front of it, and the types that Postgres told.
  CHECK(messages[0].substr(5) ==
        z("pgweir_1") + z(std::string(19, ' ') + "select $1 + 1") + std::string("\0\1\0\0\0\27", 6));
  CHECK(client.hears(parsed() + ready() + rows()) == "release");
  CHECK(client.seen() == "T D C:SELECT 1 Z:I");
  SECTION("which needs it once") {
    CHECK(client.runs(query("explain execute p(41)"), rows(), place.other) ==
          "Q:explain execute pgweir_1(41)");
    Prepared same(place, kText, "{23}", {});
    CHECK(same.runs(query("execute \"p\" (1)"), rows(), place.other) == "Q:execute pgweir_1 (1)");
  }
  SECTION("like one of the protocol") {
    CHECK(client.runs(bind("p") + execute() + sync_message(), rows_of_batch(), place.other) ==
          "B:pgweir_1 E S");
  }
  SECTION("until it is deallocated") {
    CHECK(client.says(query("deallocate p")).empty());
    CHECK(client.core.statement_count() == 0);
    client.asks(query("execute p(1)"), place.other);
    CHECK(client.sent() == "Q:execute p(1)");
    client.hears(error("26000") + ready());
  }
}

TEST_CASE("EXECUTE finds what the protocol prepared") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  CHECK(client.runs(query("execute s"), rows(), place.server) == "Q:execute pgweir_1");
}

TEST_CASE("a statement that cannot be prepared any more fails its EXECUTE") {
  Place place;
  Prepared client(place);
  const std::string why = error("42P01", "relation \"t\" does not exist");
  SECTION("by itself") {
    client.asks(query("execute p(41)"), place.other);
    CHECK(client.hears(why + ready() + error("26000") + ready()) == "release");
    CHECK(client.seen() == "E:42P01 Z:I");
  }
  SECTION("in a transaction") {
    client.asks(query("begin"), place.other);
    client.hears(done("BEGIN") + ready('T'));
    client.says(query("execute p(41)"));
    CHECK(client.hears(why + ready('E') + error("25P02") + ready('E')).empty());
    CHECK(client.seen() == "C:BEGIN Z:T E:42P01 Z:E");
    client.sent();
    client.says(query("execute p(41)"));
    CHECK(client.sent() == "Q:execute p(41)");
    client.hears(error("25P02") + ready('E'));
  }
  SECTION("where another text fails for reasons of its own") {
    client.asks(query("select 1/0; execute p(41)"), place.other);
    CHECK(client.sent() == "P:p S Q:select 1/0; execute p(41)");
    CHECK(client.hears(why + ready() + error("22012") + ready()).empty());
    CHECK(client.seen() == "E:22012 Z:I");
    CHECK(client.hears(parsed() + answered("")) == "release");
  }
  CHECK(client.core.statement_count() == 1);
}

TEST_CASE("errors are told of the client's own text") {
  struct Row {
    const char *sql, *position, *told;
  };
  for (const Row& each :
       {Row{"execute p(foo)", "18", "11"}, Row{"execute p(foo)", "9", "9"},
        Row{"execute \"p\"(foo)", "18", "13"}, Row{"/* \xc3\xa9 */execute p(foo)", "25", "18"}}) {
    CAPTURE(each.sql, each.position);
    Place place;
    Prepared client(place);
    client.asks(query(each.sql), place.other);
    client.hears(parsed() + ready() + error_at(each.position, "\"pgweir_1\" and foo") + ready());
    CHECK(split(client.to_client)[0] == error_at(each.told, "\"p\" and foo"));
  }
}

TEST_CASE("to a text that is not that simple statements are lent by their own names") {
  struct Row {
    Bytes sql, sent;
  };
  for (const Row& each : {Row{"select 1; execute p(1)", "P:p S Q:select 1; execute p(1)"},
                          Row{"execute p(1); deallocate p", "P:p S Q:execute p(1); deallocate p"},
                          Row{"do $$ begin execute a; end $$", "P:p S Q:do $$ begin execute a; end $$"},
                          Row{"call f()", "P:p S Q:call f()"}}) {
    CAPTURE(each.sql);
    Place place;
    Prepared client(place);
    client.asks(query(each.sql), place.other);
    CHECK(client.sent() == each.sent);
    CHECK(client.core.statement_count() == 0);
  }
  Place place;
  Prepared client(place);
  client.asks(query("select 1; execute p(1)"), place.other);
  client.hears(parsed() + ready() + rows());
  SECTION("and taken back") {
    const std::string body = std::string(19, ' ') + "select $1 + 1";
    CHECK(client.hears(parsed() + answered(statement_row("p", "{23}", body, "f"))).empty());
    CHECK(client.hears(closed() + ready()) == "release");
    CHECK(place.books.statements.size() == 1);
    CHECK(client.runs(query("execute p(1)"), parsed() + ready() + rows(), place.server) ==
          "P:pgweir_1 S Q:execute pgweir_1(1)");
  }
  SECTION("or gone") {
    CHECK(client.hears(parsed() + answered("")) == "release");
    CHECK(client.core.statement_count() == 0);
  }
}

TEST_CASE("what a transaction has set is the client's no more when what is lent to it fails") {
  Place place;
  place.reports({{"application_name", ""}});
  Prepared client(place);
  client.asks(query("begin"), place.other);
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("set local application_name = 'one'"));
  client.hears(done("SET") + parameter("application_name", "one") + ready('T'));
  client.seen();
  client.sent();
  client.says(query("execute p(1)"));
  CHECK(client.sent() == "P:pgweir_1 S Q:execute pgweir_1(1)");
  // The Parse is ours, and Postgres says behind it what the end of the transaction has taken back.
  client.hears(error("42P01") + parameter("application_name", "") + ready('E') + error("25P02") + ready('E'));
  CHECK(client.seen() == "S:application_name E:42P01 Z:E");
  CHECK(client.says(query("rollback")).empty());
  CHECK(client.hears(done("ROLLBACK") + ready()) == "release");
  CHECK_FALSE(client.core.wanted()->values.contains("application_name"));
}

TEST_CASE("in a batch they are lent, too") {
  Place place;
  Prepared client(place);
  const std::string batch = parse("", "execute p(1)") + bind() + describe() + execute() + sync_message();
  client.asks(batch, place.other);
  CHECK(client.sent() == "P:p P B D E S");
  SECTION("and taken back") {
    client.hears(parsed() + parsed() + bound() + row_description() + row() + done() + ready());
    CHECK(client.seen() == "1 2 T D C:SELECT 1 Z:I");
    client.hears(parsed() + answered(statement_row("p", "{23}", "select $1 + 1", "f")));
    CHECK(client.hears(closed() + ready()) == "release");
  }
  SECTION("and are as before when that fails") {
    client.hears(error("42P01") + ready());
    CHECK(client.seen() == "E:42P01 Z:I");
    CHECK(client.hears(parsed() + answered("")) == "release");
  }
  CHECK(client.core.statement_count() == 1);
}

TEST_CASE("a name that the open transaction has prepared by SQL is taken for Parse, too") {
  Place place;
  Client client(place);
  client.says(query("begin"));
  client.granted(place.server);
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("prepare p as select 1"));
  client.hears(done("PREPARE") + ready('T'));
  client.sent();
  client.says(bind("p") + execute() + sync_message());
  CHECK(client.sent() == "B:p E S");
  client.hears(rows_of_batch('T'));
  client.says(parse("p", "select 2") + sync_message());
  CHECK(client.sent() == "P:p C:p P:pgweir_1 S");
  client.hears(error("42P05") + ready('E'));
  CHECK(client.core.statement_count() == 0);
}

TEST_CASE("what an executed statement leaves is followed") {
  Place place;
  // It might be executed in the transaction that prepares it, and was not.
  std::string unset;
  protocol::put_data_row(unset, {std::nullopt, std::nullopt, std::nullopt});
  Prepared client(place, "prepare p as select set_config('app.a', 'x', false)", "{}",
                  parsed() + bound() + unset + done() + parsed());
  client.asks(query("execute p"), place.other);
  client.sent();
  client.hears(parsed() + ready() + rows());
  CHECK(client.sent() == "P:pgweir_origin B:pgweir_origin E S");
  std::string found;
  protocol::put_data_row(found, {"x", std::nullopt, std::nullopt});
  CHECK(client.hears(parsed() + answered(found)) == "release");
  CHECK(client.core.wanted()->values.at("app.a") == "x");
}

TEST_CASE("what code that names any statement is given is followed when a later request executes it") {
  std::string unset;
  protocol::put_data_row(unset, {std::nullopt, std::nullopt, std::nullopt});
  Place place;
  Prepared client(place, "prepare p as select set_config('app.a', 'x', false)", "{}",
                  parsed() + bound() + unset + done() + parsed());
  client.asks(query("begin"), place.other);
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("do $$ begin execute what; end $$"));
  client.hears(parsed() + ready('T') + done("DO") + ready('T'));
  client.says(query("execute p") + query("commit"));
  client.sent();
  client.hears(rows('T') + done("COMMIT") + ready());
  CHECK(client.sent().starts_with("P:pgweir_origin B:pgweir_origin E"));
}

TEST_CASE("a PREPARE of what the client has finds a statement of that name, which does nothing") {
  Place place;
  Prepared client(place);
  const std::string again = "prepare p as select 2", made = closed() + parsed();
  const std::string refused = error("42P05") + ready('E');
  const auto rolls_back = [&client] {
    client.says(query("rollback to a"));
    client.hears(done("ROLLBACK") + ready('T'));
    client.sent();
  };
  client.asks(query("begin; savepoint a"), place.other);
  client.hears(done("BEGIN") + done("SAVEPOINT") + ready('T'));
  client.sent();
  SECTION("in a simple query") {
    client.says(query(again));
    CHECK(client.sent() == "C:p P:p S Q:" + again);
    client.hears(made + ready('T') + refused);
    CHECK(client.core.statement_count() == 1);
    rolls_back();
    client.says(query("select 1; execute p(1)"));
    CHECK(client.sent() == "C:p P:p S Q:select 1; execute p(1)");
  }
  SECTION("in a batch") {
    client.says(parse("", again) + sync_message());
    CHECK(client.sent() == "C:p P:p P S");
    client.hears(made + parsed() + ready('T'));
    client.says(bind() + execute() + sync_message());
    CHECK(client.sent() == "C:p P:p B E S");
    client.hears(made + bound() + refused);
    CHECK(client.core.statement_count() == 1);
    rolls_back();
    client.says(query("execute p(1)"));
    CHECK(client.sent() == "P:pgweir_1 S Q:execute pgweir_1(1)");
  }
  SECTION("of which nothing stays") {
    client.says(query(again) + query("rollback to a") + query("deallocate p"));
    CHECK(client.sent() == "C:p P:p S Q:" + again + " Q:rollback to a");
    client.hears(made + ready('T') + refused + done("ROLLBACK") + ready('T'));
    client.again();
    // The server has something of that name, too.
    CHECK(client.sent() == "C:p P:p S Q:deallocate p");
    client.hears(made + ready('T') + done("DEALLOCATE") + ready('T'));
    CHECK(client.core.statement_count() == 0);
    client.says(query(again));
    CHECK(client.sent() == "Q:" + again);
  }
  SECTION("which goes with its transaction") {
    client.says(query(again));
    client.hears(made + ready('T') + refused);
    client.says(query("commit"));
    client.sent();
    client.hears(done("COMMIT") + ready());
    CHECK(client.sent() == "P:pgweir_statements B:pgweir_statements E S");
    CHECK(client.hears(parsed() + answered(statement_row("p", "{}", "", "f"))).empty());
    CHECK(client.sent() == "C:p S");
    CHECK(client.hears(closed() + ready()) == "release");
    CHECK(client.core.statement_count() == 1);
    return;
  }
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("a statement means what its PREPARE has read, whatever is set around that") {
  const std::string text = "prepare p as select '1.2.2026'::date";
  Place place;
  place.reports({{"DateStyle", "ISO, MDY"}});
  Client client(place);
  const auto styled = [](const char* style, char status) {
    return done("SET") + parameter("DateStyle", style) + ready(status);
  };
  const auto ask = [&](const std::string& sql) {
    REQUIRE(client.says(query(sql)) == "ask");
    REQUIRE(client.granted(place.server).empty());
  };
  // What is asked behind it, and whether the client keeps its server for it.
  const auto prepared = [&](const std::string& as, const char* happens) {
    client.sent();
    const bool pinned = Bytes(happens) == "pinned";
    client.hears(parsed() + answered(statement_row("p", "{}", as)));
    CHECK(client.sent() == (pinned ? "" : "C:p S"));
    if (!pinned) CHECK(client.hears(closed() + ready()) == "release");
    CHECK(client.core.pins() == (pinned ? pin::kStatement : 0));
  };
  // Read by another server, under settings of now that are others.
  const auto read_as = [&](const char* style) {
    REQUIRE(client.says(query("execute p")) == "ask");
    REQUIRE(client.granted(place.other).empty());
    const std::string bytes = client.to_server;
    client.sent();
    CHECK(bytes.find(std::string("DateStyle") + std::string("\0\0\0", 3) + char(std::string(style).size()) +
                     style) != std::string::npos);
  };
  SECTION("in the open transaction") {
    ask("begin");
    client.hears(done("BEGIN") + ready('T'));
    client.says(query("set local datestyle = 'ISO, DMY'"));
    client.hears(styled("ISO, DMY", 'T'));
    client.says(query(text));
    client.hears(done("PREPARE") + ready('T'));
    client.says(query("commit"));
    client.hears(done("COMMIT") + parameter("DateStyle", "ISO, MDY") + ready());
    prepared(text, "");
    read_as("ISO, DMY");
  }
  SECTION("behind it, and the transaction is taken back") {
    ask("begin");
    client.hears(done("BEGIN") + ready('T'));
    client.says(query(text));
    client.hears(done("PREPARE") + ready('T'));
    client.says(query("set datestyle = 'ISO, DMY'"));
    client.hears(styled("ISO, DMY", 'T'));
    client.says(query("commit"));
    client.hears(done("COMMIT") + ready());
    prepared(text, "");
    read_as("ISO, MDY");
  }
  SECTION("in the same text, where nobody knows which came first") {
    const std::string both = text + "; set datestyle = 'ISO, DMY'";
    ask(both);
    client.hears(done("PREPARE") + styled("ISO, DMY", 'I'));
    prepared(both, "pinned");
    // So it stays, also when all else of it is known.
    client.says(query("prepare q as select 1"));
    client.hears(done("PREPARE") + ready());
    client.sent();
    client.hears(bound() + statement_row("p", "{}", both) +
                 statement_row("q", "{}", "prepare q as select 1") + done() + ready());
    CHECK(client.sent() == "C:q S");
    client.hears(closed() + ready());
    CHECK(client.core.pins() == pin::kStatement);
    client.says(query("deallocate p"));
    client.hears(done("DEALLOCATE") + ready());
    client.sent();
    CHECK(client.hears(bound() + done() + ready()) == "release");
    CHECK(client.core.pins() == 0);
  }
  SECTION("in the same text, of a statement without a string") {
    const std::string both = "prepare p as select 1; set datestyle = 'ISO, DMY'";
    ask(both);
    client.hears(done("PREPARE") + styled("ISO, DMY", 'I'));
    prepared(both, "");
  }
  SECTION("twice, of which one was refused") {
    ask("begin");
    client.hears(done("BEGIN") + ready('T'));
    for (const char* style : {"ISO, DMY", "ISO, YMD"}) {
      client.says(query(text));
      client.hears(done("PREPARE") + ready('T'));
      client.says(query("set datestyle = '" + std::string(style) + "'"));
      client.hears(styled(style, 'T'));
    }
    client.says(query("commit"));
    client.hears(done("COMMIT") + ready());
    prepared(text, "pinned");
  }
}

TEST_CASE("a statement that is lent is read as its PREPARE was, and means the same behind it") {
  const std::string text = "select '1.2.2026'::date", spaces(13, ' ');
  Place place;
  place.reports({{"DateStyle", "ISO, MDY"}});
  Prepared client(place, "prepare p as " + text, "{}");
  const std::string dmy = done("SET") + parameter("DateStyle", "ISO, DMY") + ready();
  SECTION("by other settings in front of it") {
    client.runs(query("set datestyle = 'ISO, DMY'"), dmy, place.server);
    client.sent();
    client.asks(query("select 1; execute p"), place.other);
    CHECK(client.sent() ==
          "P:pgweir_set B:pgweir_set E S C:pgweir_read P:pgweir_read B:pgweir_read E P:p B:pgweir_read E "
          "C:pgweir_read S Q:select 1; execute p");
    const std::string reading = bound() + row() + done();
    client.hears(parsed() + bound() + row("ISO, DMY") + done() + ready());
    client.hears(closed() + parsed() + reading + parsed() + reading + closed() + ready());
    client.hears(row() + done() + row() + done() + ready());
  }
  SECTION("by other settings behind it") {
    client.asks(query("execute p; set datestyle = 'ISO, DMY'"), place.other);
    CHECK(client.sent() == "P:p S Q:execute p; set datestyle = 'ISO, DMY'");
    client.hears(parsed() + ready() + row() + done() + dmy);
  }
  client.sent();
  client.hears(parsed() + answered(statement_row("p", "{}", spaces + text, "f")));
  CHECK(client.sent() == "C:p S");
  CHECK(client.hears(closed() + ready()) == "release");
  // One statement, and what the server knows of it is what the client means.
  CHECK(place.books.statements.size() == 1);
  client.asks(query("execute p"), place.other);
  const std::string sent = client.sent();
  CHECK((sent.find("P:pgweir_1 ") != std::string::npos && sent.ends_with("Q:execute pgweir_1")));
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("what a query has not deallocated is lent in place of what was made for that") {
  Place place;
  Prepared client(place);
  client.asks(query("begin; savepoint a"), place.other);
  client.hears(done("BEGIN") + done("SAVEPOINT") + ready('T'));
  client.says(query("select 1/0; deallocate p"));
  client.hears(closed() + parsed() + ready('T') + error("22012") + ready('E'));
  client.says(query("rollback to a"));
  client.hears(done("ROLLBACK") + ready('T'));
  client.sent();
  client.says(query("execute p(1); select 1"));
  CHECK(client.sent() == "C:p P:p S Q:execute p(1); select 1");
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("what cannot be taken over stays where it is") {
  struct Row {
    Bytes types, text;
  };
  for (const Row& each : {Row{"{}", "prepare p as select 1; prepare p as select 2"},
                          Row{"{}", "this is no sql"}, Row{"{}", "prepare q as select 1"}}) {
    Place place;
    Client client(place);
    suspected(client, kText, "PREPARE", place.server);
    CHECK(client.hears(parsed() + answered(statement_row("p", each.types, each.text))).empty());
    CHECK(client.core.pins() == pin::kStatement);
    CHECK(client.sent().empty());
    CHECK(client.says(query("execute p")).empty());
    CHECK(client.sent() == "Q:execute p");
  }
  Place small(300);
  Client client(small);
  suspected(client, kText, "PREPARE", small.server);
  CHECK(client.hears(parsed() + answered(statement_row("p", "{23}", kText))).empty());
  CHECK(client.core.pins() == pin::kStatement);
}

TEST_CASE("code that may name any statement is given all of them, within bounds") {
  struct Row {
    std::size_t count, bytes;  // of each text
    bool lent;
  };
  for (const Row& each :
       {Row{3, 100, true}, Row{900, 10, true}, Row{60, 11'000, true}, Row{100, 11'000, false}}) {
    CAPTURE(each.count, each.bytes);
    Place place(16 << 20);
    Client client(place);
    suspected(client, "prepare p as select 1", "PREPARE", place.server);
    std::string found, given_up, lent;
    for (std::size_t i = 0; i < each.count; ++i) {
      const std::string name = "p" + std::to_string(i);
      found += statement_row(name, "{}", "select " + name + std::string(each.bytes, ' '), "f");
      given_up += closed();
      lent += parsed();
    }
    REQUIRE(client.hears(parsed() + answered(found)).empty());
    REQUIRE(client.hears(given_up + ready()) == "release");
    REQUIRE(client.core.statement_count() == each.count);
    const auto parses = [&] {
      std::size_t count = 0;
      for (const std::string& one : split(client.to_server)) count += one[0] == 'P' ? 1 : 0;
      client.to_server.clear();
      return count;
    };
    const bool extended = GENERATE(false, true);
    CAPTURE(extended);
    const std::string sql = "do $$ begin execute what; end $$";
    client.seen();
    client.sent();
    REQUIRE(client.says(extended ? parse("", sql) + bind() + execute() + sync_message() : query(sql)) ==
            "ask");
    client.granted(place.server);
    if (each.lent && !extended) {
      CHECK(parses() == each.count);
      client.hears(lent + ready() + done("DO") + ready());
      CHECK(client.seen() == "C:DO Z:I");
    } else if (!each.lent) {
      CHECK(parses() == (extended ? 1 : 0));
      client.hears((extended ? parsed() + bound() : std::string()) + error("26000") + ready());
      CHECK(client.seen() == (extended ? "1 2 E:54000 Z:I" : "E:54000 Z:I"));
    }
  }
}

TEST_CASE("a malformed answer of statements is a broken server's") {
  for (const Bytes types : {"", "23", "{a}", "{1 2}"}) {
    Place place;
    Client client(place);
    suspected(client, kText, "PREPARE", place.server);
    CHECK(client.hears(parsed() + answered(statement_row("p", types, kText))) == "close drop");
  }
}

TEST_CASE("what is closed in a batch that fails is still there for the SQL behind it") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select 5") + sync_message(), parsed() + ready(), place.server);
  client.to_server.clear();
  const bool extended = GENERATE(false, true);
  const char* const text = GENERATE("prepare s as select 6", "execute s");
  CAPTURE(extended, text);
  REQUIRE(client.says(bind("none") + close('S', "s") + sync_message() +
                      (extended ? parse("", text) + bind() + execute() + sync_message() : query(text))) ==
          "ask");
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent().find(text) == std::string::npos);
  CHECK(client.hears(error("26000") + ready()) == "release");
  CHECK(client.again() == "ask");
  client.granted(place.server);
  const std::string sent = client.sent();
  CHECK((sent.find("P:s ") != std::string::npos || sent == "Q:execute pgweir_1"));
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("code is lent what the protocol has prepared where its text has the name") {
  Place place;
  Client client(place);
  client.runs(parse("S2", "select 1") + parse("other", "select 2") + sync_message(),
              parsed() + parsed() + ready(), place.server);
  client.sent();
  client.says(query("do $$ begin execute 'execute \"S2\"'; end $$"));
  client.granted(place.other);
  CHECK(client.sent().starts_with("P:S2 S Q:do"));
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("a name of the client's that is like ours is never given to a server") {
  const char* const text =
      GENERATE("execute pgweir_9", "prepare pgweir_9 as select 2", "deallocate pgweir_9; select 1",
               "do $$ begin execute 'execute pgweir_9'; end $$");
  CAPTURE(text);
  Place place;
  Client client(place);
  client.runs(parse("pgweir_9", "select 1") + sync_message(), parsed() + ready(), place.server);
  const bool extended = GENERATE(false, true);
  CAPTURE(extended);
  client.to_server.clear();
  client.says(extended ? parse("", text) + bind() + execute() + sync_message() : query(text));
  client.granted(place.other);
  CHECK(client.sent().find(":pgweir_9") == std::string::npos);
  client.step([&] { client.core.server_gone("x", client.out); });
}

TEST_CASE("a text that leaves a failed transaction first finds the client's statements") {
  struct Row {
    Bytes sql, left, given, failed;
  };
  const Bytes all = "Q:ROLLBACK AND CHAIN ", nothing = "C:p P:p ";
  // What the transaction has set is gone, and nobody knows what is now.
  const Bytes lent = "C:pgweir_read P:pgweir_read B:pgweir_read E P:p B:pgweir_read E C:pgweir_read ";
  const Bytes again = "Q:refused_by_pgweir ";  // it says ROLLBACK only where its transaction has failed
  const Row each = GENERATE_COPY(
      Row{"rollback; execute p(1)", all, lent, ""}, Row{"rollback and chain; execute p(1)", all, lent, ""},
      Row{"abort; prepare p as select 2", all, nothing, ""}, Row{"rollback; deallocate p", all, nothing, ""},
      Row{"commit; execute p(1)", all, lent, again},
      Row{"end and chain; prepare p as select 2", all, nothing, again},
      Row{"rollback to a; execute p(1)", "Q:rollback to a ", "P:p ", ""}, Row{"execute p(1)", "", "", ""},
      Row{"deallocate p", "", "", ""}, Row{"prepare p as select 2", "", "", ""});
  CAPTURE(each.sql);
  Place place;
  place.reports({{"TimeZone", "GMT"}});
  Prepared client(place);
  client.asks(query("begin"), place.server);
  client.hears(done("BEGIN") + ready('T'));
  client.says(query("set timezone = utc"));
  client.hears(done("SET") + parameter("TimeZone", "UTC") + ready('T'));
  client.says(query("select 1/0"));
  client.hears(error("22012") + ready('E'));
  client.seen();
  client.sent();
  CHECK(client.says(query(each.sql)).empty());
  CHECK(client.sent() == std::string(each.left) + std::string(each.given) +
                             std::string(each.left.empty() ? "" : "S ") + std::string(each.failed) +
                             "Q:" + std::string(each.sql));
  if (each.left == all) {
    // What it takes back is the client's to hear.
    client.hears(done("ROLLBACK") + parameter("TimeZone", "GMT") + ready('T'));
    const std::string reading = bound() + row() + done();
    client.hears(each.given == nothing ? closed() + parsed()
                                       : closed() + parsed() + reading + parsed() + reading + closed());
    client.hears(ready('T'));
    if (!each.failed.empty()) client.hears(error("42601") + ready('E'));
    CHECK(client.seen() == "S:TimeZone");
    CHECK(client.core.wanted()->values.empty());
    client.hears(done("ROLLBACK") + row_description() + row() + done() + ready());
    CHECK(client.seen() == "C:ROLLBACK T D C:SELECT 1 Z:I");
  } else if (!each.left.empty()) {
    client.hears(error("3B001") + ready('E') + error("25P02") + ready('E') + error("3B001") + ready('E'));
    CHECK(client.seen() == "E:3B001 Z:E");
  }
  client.step([&] { client.core.server_gone("x", client.out); });
}

}  // namespace pgweir::test
