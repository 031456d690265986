#include "protocol/sql_words.h"

#include <catch2/catch.hpp>
#include <string>

using pgweir::Bytes;
using pgweir::protocol::may_leave_state;

TEST_CASE("texts that may leave something behind in the session are recognized") {
  const Bytes texts[] = {
      "SET work_mem = '1MB'",
      "set session work_mem = 1",
      "set local to 5.5",
      "SET TRANSACTION TO 1",
      "SeT tImEzOnE to 'UTC'",
      "set time zone 'UTC'",
      "set role x",
      "set session authorization x",
      "set session characteristics as transaction read only",
      "set",
      "set local.name = 'a setting called local.name'",
      "set local /* c */ . name = 1",
      "set transaction.name = 1",
      "set local = 1",
      "set \"local\".x = 1",
      "reset all",
      "RESET work_mem",
      "discard all",
      "discard temp",
      "deallocate s",
      "DEALLOCATE ALL",
      "prepare s as select 1",
      "prepare transaction 'x'",
      "execute s",
      "explain execute s",
      "explain analyze execute s",
      "explain (analyze, verbose) execute s",
      "explain (analyze) /* */ execute s",
      "declare c cursor with hold for select 1",
      "do $$ begin perform 1; end $$",
      "call p()",
      "listen x",
      "unlisten *",
      "load 'auto_explain'",
      "create temp table t (a int)",
      "CREATE TEMPORARY VIEW v AS SELECT 1",
      "create local temp table t as select 1",
      "create or replace temp view v as select 1",
      "create temporary sequence s",
      "explain analyze create temp table t as select 1",
      "select 1 into temp t",
      "select * into temporary table t from u",
      "create table pg_temp.t (a int)",
      "create function pg_temp.f() returns int return 1",
      "drop database d",
      "DROP /* x */ DATABASE IF EXISTS d",
      "create database d",
      "alter database d rename to e",
      "select pg_advisory_lock(1)",
      "select pg_catalog.pg_try_advisory_lock_shared(1, 2)",
      "select PG_ADVISORY_UNLOCK_ALL()",
      "select set_config('a.b', 'c', false)",
      "select pg_catalog.set_config($1, $2, $3)",
      "select \"set_config\"('a.b', 'c', false)",
      "values (set_config('a.b', 'c', false))",
      "with x as (select set_config('a.b', 'c', false)) select * from x",
      "update pg_settings set setting = 1 where name = 'work_mem'",
      "update \"pg_settings\" set setting = 1",
      "select setseed(0.5)",
      "select set_limit(0.5)",
      "select dblink_connect('c', '')",
      "select pg_replication_origin_session_setup('x')",
      "select query_to_xml('select set_config(...)', true, true, '')",
      "select cursor_to_xml('c', 1, true, true, '')",
      "select * from ts_stat('select set_config(...)')",
      "select schema_to_xml('s', true, true, '')",
      "select array_in('{a}', 16400, -1)",
      "select pg_input_is_valid('a', 'd')",
      "begin; set work_mem = 1; commit",
      "select 1;set work_mem = 1",
      "select 1;;;set work_mem = 1",
      "select ';'; set work_mem = 1",
      "/* c */ set work_mem = 1",
      "/* a /* nested */ b */ set work_mem = 1",
      "-- c\nset work_mem = 1",
      "-- c\rset work_mem = 1",
      "--\n\t  \f set work_mem = 1",
      "set/**/work_mem = 1",
      "(set work_mem = 1)",
      "select $$ text $$; set x = 1",
      "select $a$ $b$ $a$; set x = 1",
      "select $1; set x = 1",
      "select $1$$ text $$; set x = 1",
      "select 'a''b'; set x = 1",
      "select 'a\\'; set x = 1; --'",
      "select E'a\\'; '; set x = 1",
      "select e'\\\\'; set x = 1",
      "select E'a'\n'b\\'', set_config('x', 'y', false), ''",
      "select E'a' -- c\n 'b\\'', set_config('x', 'y', false), ''",
      "select \"a;b\"; set x = 1",
      "select U&\"\\0073et_config\"('a.b', 'c', false)",
      "select u&'\\0027'",
      "select 1 -- it's\n; set x = 1",
      "select 1 /* it's */; set x = 1",
      "select a*/* c */b; set x = 1",
      "select xe'a\\'; set x = 1; --'",
      "select B'01'; set x = 1",
  };
  for (const Bytes text : texts) {
    CAPTURE(text);
    CHECK(may_leave_state(text));
  }
}

TEST_CASE("everyday texts cost no cleaning") {
  const Bytes texts[] = {
      "",
      ";",
      "select 1",
      "SELECT * FROM t WHERE a = $1 AND b = 'set x = 1'",
      "insert into t values (1, 'set', 'temp')",
      "update t set a = 1",
      "UPDATE t SET a = 1 WHERE b = 2",
      "insert into t values (1) on conflict do nothing",
      "insert into t values (1) on conflict (a) do update set a = 1",
      "delete from t",
      "merge into t using u on true when matched then update set a = 1",
      "begin",
      "BEGIN ISOLATION LEVEL SERIALIZABLE; select 1; COMMIT",
      "start transaction read only",
      "commit",
      "rollback to savepoint s",
      "savepoint set1",
      "set local work_mem = 1",
      "SET LOCAL \"a.b\" = 'c'",
      "set /* c */ local lock_timeout = 1",
      "set -- c\n transaction isolation level serializable",
      "SET CONSTRAINTS ALL DEFERRED",
      "begin; set local work_mem = 1; commit",
      "alter table t set (fillfactor = 70)",
      "alter table t alter column a set default 1",
      "alter role x set work_mem = 1",
      "alter role x reset all",
      "create table templates (temporal int)",
      "create table t (a int)",
      "create function f() returns int language sql set work_mem = 1 as 'select 1'",
      "create trigger g after insert on t for each row execute function f()",
      "copy t from stdin",
      "vacuum analyze t",
      "analyze t",
      "explain select 1",
      "explain (analyze, buffers) update t set a = 1",
      "show work_mem",
      "notify x, 'set y = 1'",
      "fetch 10 from c",
      "close c",
      "select current_setting('work_mem')",
      "select set, reset, discard from t",
      "select a.set from t a",
      "select \"set x = 1\"",
      "select 'it''s; set x = 1'",
      "select E'\\'; set x = 1; '",
      "select e'a' || 'b'",
      "select $$; set x = 1;$$",
      "select $tag$ $$; set x = 1; $$ $tag$",
      "select 1 -- ; set x = 1",
      "select 1 /* ; set x = 1; /* nested */ ; set y = 1 */",
      "select a$b$ from t; select 1 as c$b$",
      "select 1e5, 1.5, .5, 0x1f",
      "select x'1F', b'01', n'text'",
      "select $1, $2::int",
      "select '\xc3\xa4; set', \xc3\xa4set from t",
      "select pg_advice, templ, setter, dblin, loader",
      "select 'unterminated ; set x = 1",
      "select \"unterminated ; set x = 1",
      "select $$unterminated ; set x = 1",
      "/* unterminated ; set x = 1",
      "-- set x = 1",
      "(select 1) union (select 2)",
      "with x as (select 1) update t set a = 1",
      "values (1), (2)",
      "table t",
      "lock table t",
      "truncate t",
      "grant set on parameter work_mem to x",
      "select E'",
      "select E'\\",
      "select 'a\\'",
      "$",
      "$$",
      "$a",
      "\"",
      "'",
  };
  for (const Bytes text : texts) {
    CAPTURE(text);
    CHECK_FALSE(may_leave_state(text));
  }
}

TEST_CASE("a word is found wherever a text is cut before it, and no text is read past its end") {
  const std::string text = "select E'a\\'b', $t$ x $t$, \"q\" /* c /* d */ */ -- e\n, 'f'; set x = 1";
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const std::string exact(text, 0, size);  // so that a sanitizer sees the end
    CAPTURE(exact);
    CHECK(may_leave_state(exact) == (size >= text.find("set x") + 3));
  }
}

TEST_CASE("texts that give settings values, or make code, are recognized where they leave nothing") {
  using pgweir::protocol::sql_words;
  using pgweir::protocol::SqlWords;
  for (const Bytes text :
       {"set local work_mem = '1GB'", "SET LOCAL \"work_mem\" = 1",
        "begin; set local lock_timeout = 0; commit", "set transaction read only",
        "alter role r set work_mem = '1GB'", "alter role d set jit = on",
        "create or replace function f() returns int language sql set work_mem = '1GB' as 'select 1'",
        "create aggregate a (int) (sfunc = f, stype = int)",
        "/* c */ alter function f() set work_mem = '1GB'"})
    CHECK(sql_words(text) == SqlWords::Values);
  for (const Bytes text :
       {"select 1", "update t set local = 1", "select 'set local work_mem = 1'",
        "select created from t -- alter", "comment on database d is 'drop'", "select database from drop_log",
        "grant connect on database d to r", "insert into alter_log values ('create')"})
    CHECK(sql_words(text) == SqlWords::Harmless);
  CHECK(sql_words("set local work_mem = 1; reset all") == SqlWords::State);
}
