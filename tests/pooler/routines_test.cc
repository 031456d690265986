#include "pooler/routines.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "tests/pooler/routines_help.h"

namespace pgweir {

using By = RoutineBook::By;

TEST_CASE("what a text may do is told by the names in it") {
  RoutineBook book = followed();
  CHECK(read(book, "4 99", kBodies, kUsers) == 5);
  CHECK(book.size() == 4);
  const auto settings = [&book](const char* sql) {
    const auto changes = book.changes_of(sql);
    return changes ? changes->settings : std::vector<std::string>{"none"};
  };
  using Names = std::vector<std::string>;
  CHECK(settings("select app.Set_Tenant($1)") == Names{"app.tenant"});
  CHECK(settings("select \"set_tenant\"('x')") == Names{"app.tenant"});
  CHECK(settings("select \"Set_tenant\"('x')") == Names{"none"});
  CHECK(settings("select 'set_tenant'") == Names{"none"});
  CHECK(settings("select touch() -- set_tenant") == Names{"none"});
  CHECK(settings("insert into tenants values (1)") == Names{"app.tenant"});
  CHECK(book.changes_of("insert into tenants values (1)")->temp);
  CHECK(book.changes_of("select \"Make Temp\"()")->temp);
  CHECK_FALSE(book.changes_of("select make temp"));
  CHECK(book.changes_of("select long()")->opaque);
  CHECK(book.changes_of("select U&\"l\\006Fng\"()")->opaque);
}

TEST_CASE("a text that may run what stands in its strings does what these name") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies, kUsers);
  struct Each {
    const char* sql;
    const char* settings;  // "none": nothing is named
    bool opaque;
  };
  for (const Each& each :
       {Each{"do $$ begin perform set_tenant('x'); end $$", "app.tenant", false},
        Each{"do 'begin perform set_tenant(''x''); end'", "app.tenant", false},
        Each{"do $a$ begin execute 'select set_tenant(''x'')'; end $a$", "app.tenant", false},
        Each{"do $a$ begin do $b$ begin insert into tenants values (1); end $b$; end $a$", "app.tenant",
             false},
        Each{"do E'begin perform set_t\\x65nant(1); end'", "", true},
        Each{"do $$ begin perform U&\"set\\005ftenant\"(1); end $$", "", true},
        Each{"do $$ begin perform touch(); end $$", "none", false}, Each{"do ''", "none", false},
        Each{"do 'set_tenant", "none", false}, Each{"do $$", "none", false}, Each{"do '", "none", false}}) {
    CAPTURE(each.sql);
    CHECK_FALSE(book.changes_of(each.sql));
    const auto changes = book.changes_of(each.sql, RoutineBook::Strings::Code);
    std::string settings = changes ? "" : "none";
    if (changes)
      for (const std::string& setting : changes->settings) settings += setting;
    CHECK(settings == each.settings);
    CHECK((changes && changes->opaque) == each.opaque);
  }
  std::string deep = "set_tenant";
  for (int i = 0; i < 12; ++i) {
    const std::string tag = "$t" + std::to_string(i) + "$";
    deep = tag + deep + tag;
  }
  CHECK(book.changes_of("do " + deep, RoutineBook::Strings::Code)->opaque);
}

TEST_CASE("a name is cut like Postgres cuts it") {
  RoutineBook book = followed();
  const std::string name(63, 'a');
  read(book, "1 1", {{"1255 16400", name, "sql", "select set_config('app.x', '1', false)"}}, {});
  CHECK(book.changes_of("select " + name + "bcd()"));
  CHECK_FALSE(book.changes_of("select " + name.substr(1) + "()"));
}

TEST_CASE("names that only quotes can spell are found") {
  RoutineBook book = followed();
  const char* const code = "select set_config('app.x', '1', false)";
  read(book, "1 1", {{"1255 16400", "say \"so\"", "sql", code}, {"1255 16401", "9lives", "sql", code}}, {});
  CHECK(book.changes_of("select \"say \"\"so\"\"\"()"));
  CHECK(book.changes_of("select \"9lives\"()"));
  CHECK_FALSE(book.changes_of("select \"say so\"()"));
  CHECK_FALSE(book.changes_of("select \""));
  CHECK_FALSE(book.changes_of("select \"\", \"say"));
}

TEST_CASE("what stands behind an operator may be done by every text") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies, {{"1255 16401", std::nullopt, ""}});
  CHECK(book.changes_of("select 1 @@@ 2")->temp);
  CHECK_FALSE(book.empty());
}

TEST_CASE("what expressions call that are kept with views, tables and types is told by their names") {
  RoutineBook book = followed();
  const char* const call = "SELECT set_config(x, x, x)";
  const Rows stored = {
      {"1259 16500", "setter", "sql", call},
      {"1259 16501", "settings", "sql", "; UPDATE pg_settings SET setting = x WHERE name = x"},
      {"1259 16502", "locker", "sql", "SELECT pg_advisory_lock(x, x, x)"},
      {"1259 16503", "brief", "sql", "SELECT pg_advisory_xact_lock(x, x, x)"},
      {"1247 16504", "checked", "sql", "SELECT schema_to_xml(x, x, x)"},
      {"1259 16505", "reader", "sql", "SELECT currval(x, x, x)"}};
  const Rows users = {{"1259 16500", "setter", ""},   {"1259 16500", "over_setter", ""},
                      {"1259 16501", "settings", ""}, {"1259 16502", "locker", ""},
                      {"1247 16504", "checked", "t"}, {"1259 16505", "reader", ""}};
  CHECK(read(book, "6 1", {}, users, {}, stored) == 5);
  CHECK(book.changes_of("select * from over_setter")->any_setting);
  CHECK(book.changes_of("update settings set setting = '1' where name = 'work_mem'")->any_setting);
  CHECK(book.changes_of("table locker")->advisory_lock);
  CHECK_FALSE(book.changes_of("table brief"));
  CHECK(book.changes_of("select 'a'::checked")->opaque);
  CHECK(book.changes_of("table reader")->reads_sequence);
  CHECK_FALSE(book.changes_of("select $1"));
  // Parameters of types: how many, and which.
  const auto bound = [&](Bytes types) {
    return book.changes_of("select $1", RoutineBook::Strings::Data, types);
  };
  CHECK(bound(Bytes("\0\2\0\0\0\x17\0\0\x40\x78", 10))->opaque);
  CHECK_FALSE(bound(Bytes("\0\1\0\0\0\x17", 6)));
  CHECK_FALSE(bound(Bytes("\0\0", 2)));
  CHECK_FALSE(bound(Bytes("\0\2\0\0", 4)));
}

TEST_CASE("what evaluates nothing uses no operator") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies, {{"1255 16401", std::nullopt, ""}});
  // A look behind one of these would be the query that no SET TRANSACTION may come after.
  for (const char* const sql :
       {"begin", "BEGIN;", "start transaction read only;;", "set transaction isolation level serializable",
        "set local work_mem = '1MB'", "show work_mem", "savepoint a", "release a",
        "/* a */ rollback to a -- b", "abort", "select 1", "begin; SELECT $1, 'a'; abort", "reset all",
        "begin; set transaction read only; show work_mem;", ""})
    CHECK_FALSE(book.changes_of(sql));
  for (const char* const sql :
       {"commit", "end", "set constraints all immediate", "begin; set /**/ Constraints a immediate",
        "begin; select 1 @@@ 2", "select 1 a; table t", "begin; (select 1)",
        "show a; prepare transaction 'a'", "lock a", "1", "\"begin\"", "beginning", "begin; commit; begin"})
    CHECK(book.changes_of(sql));
}

TEST_CASE("a database without functions takes one query, and so does one that has not changed") {
  RoutineBook book = followed();
  CHECK(book.awaited());
  CHECK(read(book, "0 0", {}, {}) == 1);
  CHECK_FALSE(book.unsure());
  CHECK(book.empty());
  CHECK(read(book, "4 99", kBodies, kUsers) == 5);
  const auto version = book.version();
  CHECK(read(book, "4 99", {}, {}) == 1);
  CHECK(book.version() == version);
  CHECK_FALSE(book.empty());
  CHECK(read(book, "4 100", {}, {}) == 3);
  CHECK(book.version() != version);
  CHECK(book.empty());
}

TEST_CASE("it is read when it is stale, and again after a while") {
  RoutineBook book;
  const Time start{Duration(1000)};
  CHECK_FALSE(book.due(start));
  CHECK_FALSE(book.awaited());
  book.follow(true);
  CHECK(book.due(start));
  read(book, "0 0", {}, {}, start);
  CHECK_FALSE(book.due(start + RoutineBook::kFresh - Duration(1)));
  CHECK(book.due(start + RoutineBook::kFresh));
  const auto epoch = book.epoch();
  book.definitions_changed(By::Own);
  CHECK(book.epoch() != epoch);
  CHECK(book.awaited());
  CHECK(book.due(start));
  book.start(start);
  CHECK_FALSE(book.due(start));
  // What is made while it is read may have been missed.
  book.definitions_changed(By::Own);
  REQUIRE(give(book, {"0 0"}));
  CHECK_FALSE(next(book));
  CHECK(book.awaited());
  CHECK(book.due(start));
  book.follow(false);
  CHECK_FALSE(book.due(start));
}

TEST_CASE("what takes long to read is read less often, and once for all roles of a database") {
  const Time start{std::chrono::seconds(100)};
  for (const auto& [took, fresh] :
       {std::pair<Duration, Duration>{std::chrono::milliseconds(5), RoutineBook::kFresh},
        {std::chrono::seconds(2), std::chrono::seconds(100)},
        {std::chrono::seconds(20), RoutineBook::kFreshMost}}) {
    RoutineBook book = followed(), same = followed(), other = followed(), unread = followed();
    read(book, "0 1", {}, {}, start);
    read(same, "0 1", {}, {}, start - std::chrono::seconds(20));
    read(other, "0 2", {}, {}, start - std::chrono::seconds(20));
    book.ended(start + took);
    for (RoutineBook* each : {&same, &other, &unread}) each->confirm(book);
    for (const RoutineBook* each : {&book, &same}) {
      CHECK_FALSE(each->due(start + fresh - Duration(1)));
      CHECK(each->due(start + fresh));
    }
    CHECK(other.due(start + std::chrono::seconds(10)));
    CHECK(unread.due(start));
    // A change is heeded all the same.
    same.definitions_changed(By::Own);
    CHECK(same.due(start));
  }
}

TEST_CASE("a reading tells whether it found what nobody here has made") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies, kUsers);
  CHECK_FALSE(book.surprised());
  read(book, "4 99", {}, {});
  CHECK_FALSE(book.surprised());
  read(book, "5 99", kBodies, kUsers);
  CHECK(book.surprised());
  book.definitions_changed(By::Own);
  read(book, "6 99", kBodies, kUsers);
  CHECK_FALSE(book.surprised());
  read(book, "7 99", {}, {});  // these have gone
  CHECK_FALSE(book.surprised());
}

TEST_CASE("what others change nobody waits for, and it is read once a second at most") {
  RoutineBook book = followed();
  const Time start{std::chrono::seconds(100)};
  read(book, "0 0", {}, {}, start);
  book.definitions_changed(By::Others);
  CHECK_FALSE(book.awaited());
  CHECK(book.unsure());
  CHECK_FALSE(book.due(start + RoutineBook::kPause - Duration(1)));
  CHECK(book.due(start + RoutineBook::kPause));
  book.definitions_changed(By::Own);
  CHECK(book.awaited());
  CHECK(book.due(start));
  book.definitions_changed(By::Others);
  CHECK(book.awaited());
  book.start(start);
  book.wait_no_longer();
  CHECK_FALSE(book.awaited());
  CHECK(book.unsure());
  REQUIRE(give(book, {"0 0"}));
  CHECK_FALSE(next(book));
  CHECK_FALSE(book.unsure());
  book.wait_no_longer();
  CHECK_FALSE(book.unsure());
}

TEST_CASE("until it is read, a text that calls something may have run anything") {
  RoutineBook book = followed();
  const bool failed = GENERATE(false, true);
  if (failed) {
    book.start({});
    CHECK_FALSE(next(book, false));
  }
  CHECK_FALSE(book.empty());
  for (const char* const sql :
       {"select f()", "insert into t values (1)", "select 1 + 1", "select a", "commit", "select 1::int",
        "do $$ begin end $$", "table v", "select 1; analyze"})
    CHECK(book.changes_of(sql)->opaque);
  for (const char* const sql : {"select 1", "SELECT 'a', 2; select", "select $1", "begin", "set a = 1", ""})
    CHECK_FALSE(book.changes_of(sql));
  const Bytes of_users("\0\1\0\0\x40\x78", 6);
  CHECK(book.changes_of("select $1", RoutineBook::Strings::Data, of_users)->opaque);
  CHECK_FALSE(book.changes_of("select f()", RoutineBook::Strings::Data, {}, RoutineBook::Told::Named));
  const auto version = book.version();
  read(book, "0 0", {}, {});
  CHECK(book.version() != version);
  CHECK_FALSE(book.changes_of("select f()"));
}

TEST_CASE("a reading that fails is tried again, ever later") {
  RoutineBook book = followed();
  Time now{std::chrono::seconds(100)};
  const int waits[] = {0, 5, 10, 20, 40, 60, 60};  // seconds
  for (const int wait : waits) {
    const Duration pause = std::chrono::seconds(wait);
    book.start(now);
    CHECK_FALSE(next(book, false));
    if (wait > 0) CHECK_FALSE(book.due(now + pause - Duration(1)));
    // Nor sooner when there is another change.
    book.definitions_changed(By::Own);
    CHECK_FALSE(book.awaited());
    if (wait > 0) CHECK_FALSE(book.due(now + pause - Duration(1)));
    now += pause;
    CHECK(book.due(now));
  }
  CHECK(book.failures() == std::size(waits));
  read(book, "0 0", {}, {}, now);
  CHECK(book.failures() == 0);
  CHECK_FALSE(book.unsure());
}

TEST_CASE("a server that is lost while it reads is waited for once more") {
  RoutineBook book = followed();
  const Time start{std::chrono::seconds(100)};
  book.start(start);
  book.stopped();
  CHECK(book.failures() == 1);
  CHECK(book.awaited());
  CHECK(book.due(start));
  book.start(start);
  const bool again = GENERATE(false, true);
  if (again) {
    book.stopped();
  } else {
    book.wait_no_longer();
  }
  CHECK_FALSE(book.awaited());
  CHECK(book.unsure());
  // Who did not wait for the former does not wait for the next one.
  RoutineBook slow = followed();
  slow.start(start);
  slow.wait_no_longer();
  slow.stopped();
  CHECK_FALSE(slow.awaited());
}

TEST_CASE("a reading that fails holds up nobody and forgets nothing") {
  RoutineBook book = followed();
  read(book, "4 99", kBodies, kUsers);
  book.definitions_changed(By::Own);
  book.start({});
  CHECK_FALSE(next(book, false));
  CHECK(book.failures() == 1);
  CHECK_FALSE(book.awaited());
  CHECK(book.size() == 4);
  const auto named = [&book](const char* sql) {
    return book.changes_of(sql, RoutineBook::Strings::Data, {}, RoutineBook::Told::Named);
  };
  CHECK(named("select set_tenant('x')")->settings == std::vector<std::string>{"app.tenant"});
  book.start({});
  book.stopped();
  CHECK(book.failures() == 2);
}

TEST_CASE("rows that answer something else are refused") {
  RoutineBook book = followed();
  CHECK_FALSE(give(book, {"4 99"}));
  book.start({});
  CHECK_FALSE(give(book, {"4", "99"}));
  CHECK_FALSE(book.row(Bytes("\0\1\0\0", 4)));
  REQUIRE(give(book, {"4 99"}));
  REQUIRE(next(book));
  CHECK_FALSE(give(book, {"1255 16400", ""}));
  for (const char* const key : {"16400", "1255 ", " 16400", "1255 16400 ", "a 16400"})
    CHECK_FALSE(give(book, {key, "f", "sql", "select set_config('app.x', '1', false)"}));
  CHECK_FALSE(give(book, {"1; drop table t", "f", "sql", "select set_config('app.x', '1', false)"}));
  // A row too long to be read may be of any function.
  CHECK(book.row({}));
  REQUIRE(next(book));
  CHECK_FALSE(next(book).has_value());
  CHECK(book.changes_of("select 1 + 1")->opaque);
}

TEST_CASE("code of another language that is too long to be read may keep something in its interpreter") {
  RoutineBook book = followed();
  read(book, "4 1",
       {{"1255 20000", "script", "plperl", std::nullopt},
        {"1255 20001", "commented", "plperl", "# this returns our total\nreturn 1"},
        {"1255 20002", "shares", "plperl", "$_SHARED{who} = 1"},
        {"1255 20003", "long", "plpgsql", std::nullopt}},
       {{"1255 20000", "script", ""}, {"1255 20002", "shares", ""}, {"1255 20003", "long", ""}});
  CHECK(book.changes_of("select script()")->opaque);
  CHECK(book.changes_of("select script()")->unfollowable);
  CHECK(book.changes_of("select shares()")->unfollowable);
  CHECK_FALSE(book.changes_of("select commented()"));
  CHECK(book.changes_of("select long()")->opaque);
  CHECK_FALSE(book.changes_of("select long()")->unfollowable);
}

}  // namespace pgweir
