// Texts that would give a session values above its ceilings.
#include <algorithm>

#include "tests/pooler/ceilings_help.h"
#include "tests/pooler/routines_help.h"

using namespace pgweir;
using namespace pgweir::test;

namespace {

// What a server is sent that is asked to run the text, and what the client is told when it has.
std::string ruled(Held& place, Bytes sql) {
  Client client(place);
  REQUIRE(client.says(query(sql)) == "ask");
  REQUIRE(client.granted(place.server).empty());
  const std::string sent = client.sent();
  if (sent != "Q:refused_by_pgweir") {
    client.step([&] { client.core.server_gone("x", client.out); });
    place.server = ServerCore(place.books.settings.empty());
    return sent.substr(2);
  }
  CHECK(client.hears(error("42601") + ready()) == "release");
  return client.seen();
}

}  // namespace

TEST_CASE("values above the ceiling give way to it, and what cannot be lowered is refused") {
  struct Row {
    const char* text;
    const char* ruled;
  };
  const Row rows[] = {
      {"select 1", "select 1"},
      {"set work_mem = '1MB'", "set work_mem = '1MB'"},
      {"set work_mem = '1GB'", "SET SESSION \"work_mem\" TO '4MB'"},
      {"set SORT_MEM to 4097", "SET SESSION \"work_mem\" TO '4MB'"},
      {"set local work_mem to '1GB' ; select 1", "SET LOCAL \"work_mem\" TO '4MB'; select 1"},
      {"SET statement_timeout = 0", "SET SESSION \"statement_timeout\" TO '10s'"},
      {"set jit = on; set jit = off", "SET SESSION \"jit\" TO 'off'; set jit = off"},
      {"select set_config('work_mem', '1GB', false)", "select set_config('work_mem', '4MB', false)"},
      {"select set_config('work_mem', $$1GB$$::text, $1), set_config('jit', 'on', true)",
       "select set_config('work_mem', '4MB'::pg_catalog.text, $1), set_config('jit', 'off', true)"},
      // A domain of the user's may be called text, and cut off what comes behind "work_mem".
      {"select set_config('work_memory'::text, cast('1GB' as \"text\"), false)",
       "select set_config('work_memory'::pg_catalog.text, cast('1GB' as pg_catalog.\"text\"), false)"},
      {"select set_config(text 'a.b', '1'::varchar, false)",
       "select set_config(pg_catalog.text 'a.b', '1'::varchar, false)"},
      {"select set_config('a.b'::mine.text, '1', false)", "E:42601 Z:I"},
      {"select set_config('work_mem', '1MB'::mine.text, false)", "E:42601 Z:I"},
      // A table may be called pg_settings, and an operator =.
      {"select set_config(name, 'x', false) from pg_settings where name = 'a.b'",
       "select set_config('a.b', 'x', false) from pg_settings where name = 'a.b'"},
      {"select set_config(name, '1GB', false) from mine.pg_settings where name = 'Sort_Mem'",
       "select set_config('sort_mem', '4MB', false) from mine.pg_settings where name = 'Sort_Mem'"},
      {"select set_config(name, 'x', false) from pg_settings where name = 'a''b'", "E:42601 Z:I"},
      {"select set_config(U&\"name\", 'x', false) from pg_settings where name = 'a.b'", "E:42601 Z:I"},
      {"set a.b = 'c'; select set_config('a.d', $1, true)",
       "set a.b = 'c'; select set_config('a.d', $1, true)"},
      {"reset work_mem; set jit to default", "reset work_mem; set jit to default"},
      {"set app.tenant_id = 'acme'", "set app.tenant_id = 'acme'"},
      {"set app.tenant_id = 'other'", "E:42501 Z:I"},
      {"select set_config('app.tenant_id', 'other', true)", "E:42501 Z:I"},
      {"select set_config($1, '1', true)", "E:42601 Z:I"},
      {"select set_config('work_mem', $1, true)", "E:42601 Z:I"},
      {"select set_config('work_mem', '1'\n'GB', true)", "E:42501 Z:I"},
      {"update pg_settings set setting = '1GB' where name = 'work_mem'", "E:42601 Z:I"},
      {"select query_to_xml($1, true, true, '')", "E:42601 Z:I"},
      {"create view v as select * from pg_settings s", "E:42601 Z:I"},
      {"create view v as select name from pg_settings, t",
       "create view v as select name from pg_settings, t"},
      {"create rule \"_RETURN\" as on select to t do instead select * from pg_settings", "E:42601 Z:I"},
      {"select * from crosstab('select 1', 'select set_config(1)') as c (a int)", "E:42601 Z:I"},
      {"select * from crosstab('select 1', $1) as c (a int)", "E:42601 Z:I"},
      {"select * from crosstab('select 1', 'select 2') as c (a int)",
       "select * from crosstab('select 1', 'select 2') as c (a int)"},
      {"select * from crosstab('select 1', 2) as c (a int)",
       "select * from crosstab('select 1', 2) as c (a int)"},
      {"select * from connectby('t', 'a', 'b', 'f()', 1::text, 0) as c (a int)", "E:42601 Z:I"},
      {"alter role r set work_mem = '1GB'", "E:42501 Z:I"},
      {"create function f() returns int language sql set work_mem = '1GB' as 'select 1'", "E:42501 Z:I"},
      {"set work_mem = 'much'", "E:22023 Z:I"},
      {"set names 'sjis'", "E:0A000 Z:I"},
      {"execute pgweir_set('work_mem', '1GB')", "E:26000 Z:I"},
      {"explain analyze execute U&\"pgweir\\005Fset\"('work_mem', '1GB')", "E:26000 Z:I"},
      {"create table t as execute pgweir_1", "E:26000 Z:I"},
      {"select 1; deallocate pgweir_value", "E:26000 Z:I"},
      {"prepare pgweir_value (text) as select '4MB'", "E:42501 Z:I"},
      {"set standard_conforming_strings = off", "E:0A000 Z:I"},
  };
  for (const Row& row : rows) {
    Held place;
    INFO(row.text);
    CHECK(ruled(place, row.text) == row.ruled);
  }
}

TEST_CASE("strict refuses what may hide a value, standard does not, off looks at nothing") {
  for (const char* text : {"do $$ begin perform 1; end $$", "call p()",
                           "create function f() returns int language sql as 'select 1'"}) {
    Held strict(tiers::Inspection::Strict), standard;
    CHECK(ruled(strict, text) == "E:0A000 Z:I");
    CHECK(ruled(standard, text) == text);
  }
  Held strict(tiers::Inspection::Strict), standard, off(tiers::Inspection::Off);
  CHECK(ruled(strict, "set this is no sql") == "E:42601 Z:I");
  CHECK(ruled(standard, "set this is no sql") == "set this is no sql");
  CHECK(ruled(off, "set work_mem = '1GB'") == "set work_mem = '1GB'");
}

TEST_CASE("the client is told of a lowered value ahead of its answer") {
  Held place;
  Client client(place);
  client.says(query("set local work_mem = '1GB'"));
  client.granted(place.server);
  CHECK(client.hears(done("SET") + ready()) == "release");
  CHECK(client.seen() == "N C:SET Z:I");
  CHECK(place.guard.tally() == CeilingTally{{"work_mem", {1, 0, 0}}});

  SECTION("once") {
    client.says(query("set local work_mem = '3GB'; set local statement_timeout = 0"));
    client.granted(place.server);
    client.hears(done("SET") + done("SET") + ready());
    CHECK(client.seen() == "N C:SET C:SET Z:I");
    CHECK(place.guard.tally() == CeilingTally{{"statement_timeout", {1, 0, 0}}, {"work_mem", {2, 0, 0}}});
  }
  SECTION("not when the statement fails") {
    client.says(query("set local work_mem = '2GB'"));
    client.granted(place.server);
    client.hears(error("25P02") + ready());
    CHECK(client.seen() == "E:25P02 Z:I");
  }
}

TEST_CASE("a statement with a value above the ceiling is another statement when it is bound") {
  Held place;
  Client client(place);
  SECTION("a named one, until it is closed") {
    client.says(parse("s", "set local work_mem = '1GB'") + bind("s") + execute() + sync_message());
    client.granted(place.server);
    CHECK(client.sent() == "P:pgweir_1 P:pgweir_2 B:pgweir_2 E S");
    CHECK(client.hears(parsed() + parsed() + bound() + done("SET") + ready()) == "release");
    CHECK(client.seen() == "1 N 2 C:SET Z:I");
    client.says(bind("s") + execute() + sync_message());
    client.granted(place.server);
    CHECK(client.sent() == "B:pgweir_2 E S");
    client.hears(bound() + done("SET") + ready());
    CHECK(client.seen() == "2 C:SET Z:I");
  }
  SECTION("the unnamed one") {
    client.says(parse("", "set local work_mem = '1GB'") + bind("") + execute() + sync_message());
    client.granted(place.server);
    CHECK(client.to_server.find("SET LOCAL \"work_mem\" TO '4MB'") != std::string::npos);
    CHECK(client.hears(parsed() + parsed() + bound() + done("SET") + ready()) == "release");
    CHECK(client.seen() == "1 N 2 C:SET Z:I");
  }
  SECTION("refused where it cannot be lowered") {
    client.says(parse("", "select set_config('work_mem', $1, true)") + bind("") + execute() + sync_message());
    client.granted(place.server);
    client.hears(parsed() + error("26000") + ready());
    CHECK(client.seen() == "1 E:42601 Z:I");
  }
}

TEST_CASE("who is told what was held has the text of it at hand") {
  Held place;
  std::string told;
  place.guard.on_held = [&](const CeilingGuard::Held& held, std::uint64_t) {
    told += std::string(held.parameter) + ": " + std::string(held.sql) + "; ";
  };
  ruled(place, "set work_mem = '1GB' /* a */");
  ruled(place, "alter role app set work_mem = '1GB' /* b */");
  CHECK(told ==
        "work_mem: set work_mem = '1GB' /* a */; work_mem: alter role app set work_mem = '1GB' /* b */; ");
}

TEST_CASE(
    "what is found above the ceiling behind a transaction is set back before the server serves anyone") {
  Held place;
  std::string told;
  place.guard.on_held = [&](const CeilingGuard::Held& held, std::uint64_t count) {
    told += std::string(held.parameter) + "=" + std::string(held.value) + " " + std::to_string(count);
  };
  Client client(place);
  const std::string asked =
      suspected(client, "do $$ begin execute 'set work_mem = ''1GB'''; end $$", "DO", place.server);
  CHECK(asked.find("B:pgweir_value") != std::string::npos);
  // The timeout, by which no other is to be ended, what the text names, those with a ceiling in order of
  // their names, then the injected one.
  const auto value = [](const char* text) { return bound() + row(text) + done(); };
  std::string own;
  protocol::put_data_row(own, {"1GB", "session", "t"});
  client.hears(parsed() + value("10s") + parsed() + value("10s") + parsed() + bound() + own + done() +
               value("off") + value("1MB") + value("acme") + ready());
  CHECK(told == "work_mem=1GB 1");
  CHECK(place.guard.tally() == CeilingTally{{"work_mem", {0, 0, 1}}});
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"work_mem", "4MB"}});
  CHECK(place.server.applied->values == SettingsMap::Values{{"work_mem", "1GB"}});
}

TEST_CASE("of what was found above a ceiling only a number is told") {
  Held place;
  std::vector<std::string> told;
  place.guard.on_held = [&](const CeilingGuard::Held& held, std::uint64_t) {
    told.push_back(std::string(held.parameter) + "=" + std::string(held.value));
  };
  const struct {
    const char *parameter, *found, *told;
  } rows[] = {
      {"work_mem", "1GB", "work_mem=1GB"},
      {"work_mem", "2000000", "work_mem=2000000"},
      {"statement_timeout", "0", "statement_timeout=0"},
      {"work_mem", "my secret value", "work_mem="},
      {"work_mem", "1GB of mine", "work_mem="},
      {"jit", "my secret value", "jit="},
      // What is injected may be anything, and has no ceiling.
      {"app.tenant_id", "my secret value", "app.tenant_id="},
      {"app.tenant_id", "4711", "app.tenant_id="},
  };
  for (const auto& row : rows) {
    CAPTURE(row.parameter, row.found);
    told.clear();
    Findings::Setting setting{row.parameter, row.found};
    place.guard.enforce(setting);
    CHECK(told == std::vector<std::string>{row.told});
  }
}

TEST_CASE("what asks behind a transaction is prepared anew where code has run that nobody has read") {
  Held place;
  Client client(place);
  suspected(client, "set a.b = 'c'", "SET", place.server);
  const std::string told = bound() + row("c") + done();
  client.hears(parsed() + told + ready());
  const char* const code = "do $$ begin execute 'deallocate pgweir_value'; end $$";
  const std::string asked = suspected(client, code, "DO", place.server);
  CHECK(asked.substr(0, 44) == "C:pgweir_value P:pgweir_value B:pgweir_value");
  CHECK(asked.find("C:pgweir_value", 1) == std::string::npos);
}

TEST_CASE("a FunctionCall of set_config is refused by the server's own error, others pass") {
  Held place;
  const auto call = [](std::uint32_t oid) {
    std::string bytes;
    protocol::Writer(bytes, 'F').u32(oid).u16(0).u16(0).u16(0);
    return bytes;
  };
  Linked client(place);
  client.says(call(2078));
  CHECK(client.to_server == call(0));
  client.hears(error("42883") + ready('E'));
  CHECK(client.seen() == "E:0A000 Z:E");
  client.to_server.clear();
  client.says(call(2924));  // query_to_xml
  CHECK(client.to_server == call(0));
  client.hears(error("42883") + ready('E'));
  client.to_server.clear();
  client.says(call(957));
  CHECK(client.to_server == call(957));
}

TEST_CASE("a lowered ceiling lowers what clients have set") {
  Held place;
  Client client(place, {{"work_mem", "2MB"}, {"TimeZone", "UTC"}});
  place.set({{"work_mem", "1MB"}});
  client.core.ceilings_changed();
  CHECK(client.core.wanted()->values == SettingsMap::Values{{"TimeZone", "UTC"}, {"work_mem", "1MB"}});
}

TEST_CASE("what code in a transaction has raised is set back in front of its next request") {
  Held place;
  Linked client(place);
  client.says(query("do $$ begin set work_mem = '1GB'; end $$"));
  CHECK(client.hears(done("DO") + ready('T')).empty());
  client.to_server.clear();
  CHECK(client.says(query("select 1")) == "stalled");
  CHECK(client.sent().find("Q:") == std::string::npos);
  // Where names are not dropped what the transaction has set is none of the session's yet.
  const SettingsRef before = client.core.wanted();
  SECTION("where it lies above") {
    CHECK(client.hears(first_values({"10s", "off", "1MB", "1GB", "acme"})).empty());
    CHECK(client.to_server.find(std::string("work_mem\0\0\0\0034MB", 15)) != std::string::npos);
    CHECK(client.sent() == "P:pgweir_set B:pgweir_set E S");
    CHECK(place.guard.tally() == CeilingTally{{"work_mem", {0, 0, 1}}});
  }
  SECTION("an injected one, too") {
    CHECK(client.hears(first_values({"10s", "off", "1MB", "1MB", "other"})).empty());
    CHECK(client.to_server.find(std::string("app.tenant_id\0\0\0\4acme", 21)) != std::string::npos);
    client.to_server.clear();
  }
  SECTION("else nothing is sent") {
    CHECK(client.hears(first_values({"10s", "off", "1MB", "1MB", "acme"})).empty());
    CHECK(client.sent().empty());
  }
  CHECK(client.core.wanted() == before);
  CHECK(client.again().empty());
  CHECK(client.sent() == "Q:select 1");
}

TEST_CASE("a function that raises something for its transaction only is looked behind, too") {
  struct Case {
    const char* body;
    bool looked;
  };
  const auto [body, looked] = GENERATE(
      Case{"begin set local work_mem = '1GB'; end", true},
      Case{"begin perform set_config('work_mem', much, true); end", true},
      Case{"begin perform set_config(which, much, true); end", true},
      Case{"begin set local app.x = '1'; perform set_config('lock_timeout', '1s', true); end", false});
  INFO(body);
  Held place;
  place.books.routines.follow(true);
  read(place.books.routines, "1 1", {{"1255 16400", "f", "plpgsql", body}}, {});
  Linked client(place);
  client.says(query("begin; select f()"));
  client.hears(done("BEGIN") + test::rows('T'));
  CHECK((client.says(query("select 1")) == "stalled") == looked);
}

TEST_CASE("what is copied in behind code belongs to its request") {
  Held place;
  Linked client(place);
  client.says(query("do $$ begin end $$; copy t from stdin"));
  client.hears(done("DO") + copy_in());
  client.to_server.clear();
  CHECK(client.says(copy_data("x") + copy_done()).empty());
  CHECK(client.sent() == "d c");
  client.hears(done("COPY 1") + ready('T'));
  CHECK(client.says(query("select 1")) == "stalled");
}

TEST_CASE("what is pipelined behind code waits until it is known what that has left") {
  Held place;
  Client client(place);
  const std::string code = query("do $$ begin set work_mem = '1GB'; end $$");
  client.says(code + query("select 1"));
  CHECK(client.granted(place.server) == "stalled");
  CHECK(client.sent().find("select 1") == std::string::npos);
  CHECK(client.hears(done("DO") + ready()).empty());
  CHECK(client.sent().find("B:pgweir_value") != std::string::npos);
}

TEST_CASE("in a transaction that has run code, what may go on with it or undo our value is looked behind") {
  struct Row {
    std::string request, answer;
    bool looked;
  };
  const Row rows[] = {
      {query("select 2"), test::rows('T'), false},
      {query("rollback to a"), done("ROLLBACK") + ready('T'), true},
      {query("fetch all from c"), test::rows('T'), true},
      {query("create function f() returns int language sql as 'select 1'"),
       done("CREATE FUNCTION") + ready('T'), false},
      {query("do $$ begin end $$"), done("DO") + ready('T'), true},
      {query("commit and chain"), done("COMMIT") + ready('T'), true},
      {query("set constraints all immediate"), done("SET CONSTRAINTS") + ready('T'), true},
      {parse("", "select 2") + bind("") + execute() + sync_message(),
       parsed() + bound() + done() + ready('T'), false},
      {parse("", "rollback to a") + bind("") + execute() + sync_message(),
       parsed() + bound() + done() + ready('T'), true},
      // A portal that was bound before.
      {execute() + sync_message(), done() + ready('T'), true},
      {parse("", "select 2") + bind("") + execute("p") + sync_message(),
       parsed() + bound() + done() + ready('T'), true},
  };
  for (const Row& row : rows) {
    INFO(told_to_server(row.request));
    Held place;
    Linked client(place);
    client.says(query("do $$ begin set work_mem = '1GB'; end $$"));
    client.hears(done("DO") + ready('T'));
    client.says(row.request);
    client.hears(first_values({"10s", "off", "1MB", "1MB", "acme"}));
    client.again();
    client.hears(row.answer);
    client.to_server.clear();
    const bool looked = client.says(query("select 3")) == "stalled";
    CHECK(looked == row.looked);
    CHECK((client.sent().find("pgweir_value") != std::string::npos) == row.looked);
  }
}

TEST_CASE("a server that reads texts otherwise than we do is given up") {
  Held place;
  Client client(place);
  client.says(query("select f()"));
  client.granted(place.server);
  CHECK(client.hears(parameter("standard_conforming_strings", "off") + rows()) == "close drop");
}

TEST_CASE("a server whose temporary buffers were set and may be in use serves nobody else") {
  for (const bool used : {false, true}) {
    Held place;
    place.server.temp_used = used;
    Client client(place, {{"temp_buffers", "800kB"}});
    client.says(query("select 1"));
    client.granted(place.server);
    const std::string ours = parsed() + bound() + row("800kB") + done() + ready();
    CHECK(client.hears(ours + rows()) == (used ? "drop" : "release"));
  }
}

TEST_CASE("who says temp_buffers is known before there is a server, where one is stuck with its own") {
  const struct {
    bool used;
    SettingsMap::Values started;
    std::string request;
    bool named;
  } rows[] = {
      {true, {}, query("set Temp_Buffers = '850kB'"), true},
      {true, {}, test::parse("", "set temp_buffers = '850kB'") + test::bind() + sync_message(), true},
      {true, {}, query("select 1"), false},
      {true, {{"temp_buffers", "850kB"}}, query("select 1"), true},
      {false, {}, query("set temp_buffers = '850kB'"), false},
  };
  for (const auto& row : rows) {
    CAPTURE(row.request);
    Held place;
    place.books.temp_used = row.used;
    Client client(place, row.started);
    CHECK(client.says(row.request) == "ask");
    CHECK(place.books.buffers_named == row.named);
  }
  // In a transaction it is known for those who come.
  Held place;
  Client client(place);
  client.says(query("begin"));
  client.granted(place.server);
  client.hears(done("BEGIN") + ready('T'));
  CHECK_FALSE(place.books.buffers_named);
  client.says(query("set local temp_buffers = '850kB'"));
  CHECK(place.books.buffers_named);
}

TEST_CASE("a table that ends with its transaction leaves temporary buffers behind, too") {
  for (const char* text : {"create temp table t (a int) on commit drop", "create temp table t (a int)",
                           "begin; create temp table t on commit drop as select 1; commit"}) {
    CAPTURE(text);
    Held place;
    Client client(place);
    client.says(query(text));
    client.granted(place.server);
    CHECK(place.server.temp_used);
    client.step([&] { client.core.server_gone("x", client.out); });
  }
}

TEST_CASE("what no session may set is not looked for behind code that could hide it") {
  Held place;
  place.set({{"temp_file_limit", "1GB"}});
  const auto& names = place.guard.names();
  CHECK(std::find(names.begin(), names.end(), "temp_file_limit") == names.end());
  CHECK(std::find(names.begin(), names.end(), "work_mem") != names.end());
}

TEST_CASE("a long text is read before it is sent, and where nothing matters in it nothing is looked for") {
  Held place;
  Client client(place);
  const std::string values = "('set work_mem = 1; do $$ call')";
  std::string insert = "insert into t values " + values;
  while (insert.size() < 900'000) insert += ", " + values;
  const std::string request = query(insert);
  REQUIRE(client.says(Bytes(request).substr(0, 500'000)).empty());
  REQUIRE(client.says(Bytes(request).substr(500'000)) == "ask");
  REQUIRE(client.granted(place.server).empty());
  CHECK(client.to_server == request);
  CHECK(client.hears(done("INSERT 0 1") + ready()) == "release");
  CHECK(place.server.clean());
  client.to_server.clear();
  const std::string set = query("/*" + std::string(900'000, 'x') + "*/ set work_mem = '1GB'");
  REQUIRE(client.says(set) == "ask");
  REQUIRE(client.granted(place.server).empty());
  CHECK(client.to_server.ends_with(z("SET SESSION \"work_mem\" TO '4MB'")));
  client.core.client_gone(client.out);
}

TEST_CASE("what is left of a refused text keeps no server") {
  Held place(tiers::Inspection::Strict);
  Client client(place);
  const std::string text = query("select '" + std::string(2 << 20, 'x') + "'");
  REQUIRE(client.says(Bytes(text).substr(0, 1 << 20)) == "ask");
  REQUIRE(client.granted(place.server).empty());
  CHECK(client.sent() == "Q:refused_by_pgweir");
  CHECK(client.hears(error("42601") + ready()) == "release");
  // The rest is the same message still.
  CHECK(client.says(Bytes(text).substr(1 << 20)).empty());
  CHECK(client.runs(query("select 1"), rows(), place.server) == "Q:select 1");
}
