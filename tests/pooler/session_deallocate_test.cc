// SQL's DEALLOCATE of what the protocol has prepared.
#include "tests/pooler/session_help.h"

using namespace pgweir;
using namespace pgweir::test;

TEST_CASE("DEALLOCATE of a statement prepared by the protocol") {
  Place place;
  Client client(place);
  client.runs(parse("s", "select 1") + sync_message(), parsed() + ready(), place.server);
  client.seen();
  SECTION("needs no server") {
    CHECK(client.says(query("deallocate prepare \"s\"")).empty());
    CHECK(client.seen() == "C:DEALLOCATE Z:I");
    CHECK(client.core.statement_count() == 0);
  }
  SECTION("inside a transaction waits for what was asked before") {
    client.says(query("begin") + query("deallocate s"));
    CHECK(client.granted(place.server) == "stalled");
    CHECK(client.hears(done("BEGIN") + ready('T')).empty());
    CHECK(client.again().empty());
    CHECK(client.seen() == "C:BEGIN Z:T C:DEALLOCATE Z:T");
    CHECK(client.core.statement_count() == 0);
  }
  SECTION("inside a failed one is Postgres's to refuse") {
    client.says(query("begin; select 1/0"));
    client.granted(place.server);
    client.hears(done("BEGIN") + error("22012") + ready('E'));
    client.sent();
    CHECK(client.says(query("deallocate s")).empty());
    CHECK(client.sent() == "Q:deallocate s");
    client.hears(error("25P02") + ready('E'));
    CHECK(client.core.statement_count() == 1);
  }
  SECTION("in a batch finds one of that name when it is executed, each time") {
    client.says(parse("", "DEALLOCATE s") + bind() + describe() + execute() + bind() + execute() +
                sync_message());
    client.granted(place.other);
    CHECK(client.sent() == "P:pgweir_1 S P B D C:s P:s E B E S");
    CHECK(client.core.statement_count() == 0);
    CHECK(client.hears(parsed() + bound() + no_data() + closed() + parsed() + done("DEALLOCATE") + bound() +
                       error("26000") + ready()) == "release");
    CHECK(client.seen() == "1 2 n C:DEALLOCATE 2 E:26000 Z:I");
    CHECK(client.core.statement_count() == 0);
  }
}

TEST_CASE("a prepared DEALLOCATE takes what the protocol prepared when it is executed, and only then") {
  const std::string made = closed() + parsed(), gone = done("DEALLOCATE"), failed = error("25P02");
  const std::string named = parse("d", "deallocate s");
  struct Row {
    std::string request;
    std::string answer;
    const char* sent;
    std::size_t left;  // beside "d" where that is prepared
  };
  for (const Row& each : {
           Row{parse("", "deallocate s") + bind(), parsed() + bound(), "P B", 1},
           Row{parse("", "deallocate s") + describe('S'), parsed() + parameters() + no_data(), "P D", 1},
           Row{named + bind("d") + execute(), parsed() + bound() + made + gone,
               "P:pgweir_2 B:pgweir_2 C:s P:s E", 1},
           Row{named + bind("d", "p") + execute("p"), parsed() + bound() + made + gone,
               "P:pgweir_2 B:pgweir_2 C:s P:s E", 1},
           // Another portal, and the same one for something else.
           Row{named + bind("d", "p") + bind("s") + execute(),
               parsed() + bound() + bound() + done("SELECT 1"), "P:pgweir_2 B:pgweir_2 B:pgweir_1 E", 2},
           Row{named + bind("d") + bind("s") + execute(), parsed() + bound() + bound() + done("SELECT 1"),
               "P:pgweir_2 B:pgweir_2 B:pgweir_1 E", 2},
           Row{parse("", "deallocate other") + bind() + execute(), parsed() + bound() + error("26000"),
               "P B E", 1},
           // Its name may be used again at once.
           Row{parse("", "deallocate s") + bind() + execute() + parse("s", "select 3") + bind("s"),
               parsed() + bound() + made + gone + parsed() + bound(), "P B C:s P:s E P:pgweir_2 B:pgweir_2",
               1},
       }) {
    CAPTURE(each.sent);
    Place place;
    Linked client(place);
    client.says(parse("s", "select 1") + sync_message());
    client.hears(parsed() + ready('T'));
    client.sent();
    CHECK(client.says(each.request + sync_message()).empty());
    CHECK(client.sent() == std::string(each.sent) + " S");
    client.hears(each.answer + ready('T'));
    CHECK(client.core.statement_count() == each.left);
  }
}

TEST_CASE("what names a statement that a DEALLOCATE may not have taken waits for that") {
  const Bytes asked = "P:pgweir_statements B:pgweir_statements E S";  // what is there now
  struct Row {
    std::string next;
    Bytes at_once, behind;
  };
  for (const Row& row :
       {Row{parse("", "deallocate s") + bind() + execute() + sync_message(), " P B H", "C:s P:s E S"},
        Row{query("select 1; deallocate s"), "", asked}, Row{query("deallocate s"), "", asked},
        Row{query("select 1; execute s"), "", asked}}) {
    Place place;
    Linked client(place);
    client.says(parse("s", "select 1") + sync_message());
    client.hears(parsed());  // ... and is not released yet
    client.sent();
    client.says(parse("n", "nonsense") + parse("d", "deallocate s") + bind("d") + execute() + sync_message() +
                row.next);
    INFO(row.next);
    CHECK(client.sent() == "P:pgweir_2 P:pgweir_3 B:pgweir_3 C:s P:s E S" + std::string(row.at_once));
    client.hears(ready() + error("42601") + ready());
    CHECK(client.core.statement_count() == 1);
    client.again();
    CHECK(client.sent() == row.behind);
  }
}

TEST_CASE("a prepared DEALLOCATE that does not come to run takes nothing, and leaves nothing on the server") {
  Place place;
  Linked client(place);
  client.says(parse("s", "select 1") + sync_message());
  client.hears(parsed() + ready('T'));
  client.sent();
  client.says(parse("", "deallocate s") + bind() + execute() + sync_message() + bind("s") + sync_message());
  SECTION("what uses the name in a later batch waits for it") {
    CHECK(client.sent() == "P B C:s P:s E S");
    CHECK(client.hears(parsed() + bound() + closed() + parsed() + done("DEALLOCATE") + ready('T')).empty());
    client.again();
    CHECK(client.sent() == "B:s S");
  }
  SECTION("here it fails, and there is what was made for it") {
    CHECK(client.hears(parsed() + bound() + closed() + parsed() + error("57014") + ready('E')).empty());
    CHECK(client.core.statement_count() == 1);
    client.again();
    client.hears(error("25P02") + ready('E'));
    client.sent();
    client.says(query("rollback"));
    CHECK(client.hears(done("ROLLBACK") + ready()).empty());
    client.sent();
    CHECK(client.hears(parsed() + answered(statement_row("s", "{}", "", "f"))).empty());
    CHECK(client.sent() == "C:s S");
    CHECK(client.hears(closed() + ready()) == "release");
    CHECK(client.core.statement_count() == 1);
  }
  SECTION("here all of it is skipped") {
    CHECK(client.hears(error("42601") + ready('E')).empty());
    CHECK(client.core.statement_count() == 1);
  }
}
