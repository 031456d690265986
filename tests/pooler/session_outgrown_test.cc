// Ceilings that are lowered while a client keeps its server.
#include "tests/pooler/ceilings_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {
// A client that keeps its server, whose ceiling is lowered.
struct Lowered : Held {
  Lowered() {
    server.opened_with =
        std::make_shared<SettingsMap::Values>(SettingsMap::Values{{"work_mem", "4MB"},
                                                                  {"statement_timeout", "10s"},
                                                                  {"temp_buffers", "1MB"},
                                                                  {"jit", "off"},
                                                                  {"app.tenant_id", "acme"}});
  }
  void lower(Client& client) {
    set({{"work_mem", "1MB"}});
    client.core.ceilings_changed();
  }
  // The same, up to the next request.
  void hold(Client& client) {
    lower(client);
    REQUIRE(client.says(query("select 1")) == "stalled");
    REQUIRE(client.hears(first_values({"10s", "off", "1MB", "4MB", "acme"}, true)).empty());
    REQUIRE(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "1MB"}});
    client.again();
    REQUIRE(client.hears(parsed() + bound() + row("1MB") + done() + ready() + test::rows()).empty());
    client.to_server.clear();
    client.to_client.clear();
  }
};
}  // namespace

TEST_CASE("who keeps a server has a lowered ceiling in front of its next request") {
  Lowered place;
  Pinned client(place);
  client.to_server.clear();
  place.lower(client);
  CHECK(client.says(query("select 1")) == "stalled");
  CHECK(client.sent().find("Q:") == std::string::npos);
  CHECK(client.hears(first_values({"10s", "off", "1MB", "4MB", "acme"}, true)).empty());
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "1MB"}});
  CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
  CHECK(client.again().empty());
  CHECK(client.sent() == "Q:select 1");
}

TEST_CASE("a ceiling that is lowered while a client is asked what it has left is looked for once more") {
  Lowered place;
  Client client(place);
  suspected(client, "create temp table t (i int)", "CREATE TABLE", place.server);
  place.lower(client);
  REQUIRE(client.hears(parsed() + answered(row())).empty());
  REQUIRE(client.core.pins() == pin::kTemp);
  client.to_server.clear();
  CHECK(client.says(query("select 1")) == "stalled");
  CHECK(client.sent().find("B:pgweir_value") != std::string::npos);
}

TEST_CASE("who comes to keep its server by the transaction during which a ceiling was lowered has it then") {
  Lowered place;
  Linked client(place);
  client.says(query("create temp table t (i int)"));
  client.hears(done("CREATE TABLE") + ready('T'));
  place.lower(client);
  client.says(query("commit"));
  client.to_server.clear();
  client.hears(done("COMMIT") + ready());
  CHECK(client.sent().find("B:pgweir_value") != std::string::npos);
}

TEST_CASE("a transaction that was open when a ceiling was lowered ends with what it began with") {
  Lowered place;
  Linked client(place);
  place.lower(client);
  client.says(query("select 1"));
  CHECK(client.sent() == "Q:select 1");
  client.hears(test::rows('T'));
  client.says(query("commit"));
  CHECK(client.hears(done("COMMIT") + ready()) == "release");
  CHECK(client.core.wanted()->values.empty());
}

TEST_CASE("on a server that was outgrown, what goes back goes to the ceiling of now") {
  struct Row {
    const char* text;
    const char* ruled;
  };
  const Row rows[] = {
      {"select 1", "select 1"},
      {"reset work_mem", "SET SESSION \"work_mem\" TO '1MB'"},
      {"RESET Sort_Mem; select 1", "SET SESSION \"work_mem\" TO '1MB'; select 1"},
      {"set work_mem to default", "SET SESSION \"work_mem\" TO '1MB'"},
      {"set local work_mem = default ; select 1", "SET LOCAL \"work_mem\" TO '1MB'; select 1"},
      {"select set_config('work_mem', null, false)", "select set_config('work_mem', '1MB', false)"},
      {"select set_config('work_mem', null::text, false)",
       "select set_config('work_mem', '1MB'::pg_catalog.text, false)"},
      {"reset statement_timeout; reset a.b", "reset statement_timeout; reset a.b"},
      {"set work_mem = '2MB'; reset work_mem",
       "SET SESSION \"work_mem\" TO '1MB'; SET SESSION \"work_mem\" TO '1MB'"},
      {"reset all", "reset all"},
      {"select 1; unlisten *; reset all", "select 1; unlisten *; reset all"},
      {"begin; reset all; commit", "begin; reset all; commit"},
      {"reset all; select 1", "E:0A000 Z:I"},
      {"reset all; set a.b = 'c'", "E:0A000 Z:I"},
  };
  for (const Row& row : rows) {
    INFO(row.text);
    Lowered place;
    Pinned client(place);
    place.hold(client);
    client.says(query(row.text));
    const std::string sent = client.sent();
    if (sent == "Q:refused_by_pgweir") {
      client.hears(error("42601") + ready());
      CHECK(client.seen() == row.ruled);
    } else {
      CHECK(sent == "Q:" + std::string(row.ruled));
    }
  }
  // As long as nothing was lowered all of them pass.
  for (const Row& row : rows) {
    Lowered place;
    Pinned client(place);
    client.to_server.clear();
    client.says(query(row.text));
    if (std::string(row.text).find("'2MB'") == std::string::npos &&
        std::string(row.text).find("::text") == std::string::npos)
      CHECK(client.sent() == "Q:" + std::string(row.text));
  }
}

TEST_CASE("on a server that was outgrown, what the client connected with comes before the ceiling of now") {
  Lowered place;
  Client client(place, {{"work_mem", "512kB"}}, tiers::PoolMode::Session);
  client.says(query("select 1"));
  client.granted(place.server);
  client.hears(parsed() + bound() + row("512kB") + done() + ready() + test::rows());
  place.lower(client);
  client.says(query("select 1"));
  client.hears(first_values({"10s", "off", "1MB", "512kB", "acme"}, true));
  client.again();
  client.hears(test::rows());
  client.to_server.clear();
  client.says(query("reset work_mem"));
  CHECK(client.sent() == "Q:SET SESSION \"work_mem\" TO '512kB'");
}

TEST_CASE("on a server that was outgrown, RESET ALL is the last that runs in its request") {
  Lowered place;
  Pinned client(place);
  place.hold(client);
  SECTION("what is set back is looked for behind it") {
    client.says(query("reset all"));
    client.to_server.clear();
    client.hears(done("RESET") + ready());
    CHECK(client.sent().find("B:pgweir_origin") != std::string::npos);
    const auto origin = [](const char* value) {
      std::string bytes;
      protocol::put_data_row(bytes, {std::string(value), "client", "t"});
      return bound() + bytes + done();
    };
    client.hears(parsed() + origin("10s") + bound() + row("10s") + done() + origin("off") + origin("1MB") +
                 origin("4MB") + origin("acme") + ready());
    CHECK(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "1MB"}});
    CHECK(client.sent() == "B:pgweir_set E S");
  }
  SECTION("an Execute behind it is refused") {
    client.says(parse("", "reset all") + bind("") + execute() + parse("", "select 1") + bind("") + execute() +
                sync_message());
    CHECK(client.sent() == "P B E P B B:pgweir_none S");
    client.hears(parsed() + bound() + done("RESET") + parsed() + bound() + error("26000") + ready('I'));
    CHECK(client.seen() == "1 2 C:RESET 1 2 E:0A000 Z:I");
  }
  SECTION("it may not be bound to a portal that stays") {
    client.says(parse("", "discard all") + bind("", "p") + sync_message());
    CHECK(client.sent() == "P B:pgweir_none S");
    client.hears(parsed() + error("26000") + ready('I'));
    CHECK(client.seen() == "1 E:0A000 Z:I");
  }
}

TEST_CASE("what a client was held to on a server that it had outgrown is not its own choice elsewhere") {
  Lowered place;
  Pinned client(place);
  place.hold(client);
  client.says(query("drop table t"));
  client.hears(done("DROP TABLE") + ready());
  CHECK(client.hears(answered("")) == "release");
  CHECK(client.core.wanted()->values.empty());
}

TEST_CASE("temporary buffers that are in use stay as large as they are") {
  Lowered place;
  Pinned client(place);
  place.set({{"temp_buffers", "800kB"}});
  client.core.ceilings_changed();
  client.says(query("select 1"));
  client.hears(first_values({"10s", "off", "1MB", "4MB", "acme"}, true));
  client.to_server.clear();
  CHECK(client.again().empty());
  CHECK(client.sent() == "Q:select 1");
  SECTION("also those of the client's choice, until it has another server") {
    place.set({{"temp_buffers", "1MB"}});
    Client own(place, {{"temp_buffers", "904kB"}}, tiers::PoolMode::Session);
    ServerCore used(place.books.settings.empty());
    used.opened_with = place.server.opened_with;
    used.temp_used = true;
    own.says(query("select 1"));
    own.granted(used);
    own.hears(parsed() + bound() + row("904kB") + done() + ready() + test::rows());
    place.set({{"temp_buffers", "800kB"}});
    own.core.ceilings_changed();
    CHECK(own.core.wanted()->values.at("temp_buffers") == "904kB");
    own.step([&] { own.core.client_gone(own.out); });
    CHECK(own.core.wanted()->values.at("temp_buffers") == "800kB");
  }
}
