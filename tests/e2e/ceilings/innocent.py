"""What honest clients, drivers, ORMs and migrations send. Names of objects are in the schema play."""

from .case import Bound, Innocent, Raw, function_call

_LO_CREATE, _LO_UNLINK = 715, 964
_STRICT = ("strict",)


def _case(name, *steps, **more):
    return Innocent(name, steps, **more)


def _words_in_strings():
    row = "('set work_mem = ''1GB''; do $$ set_config call function $$')"
    return "insert into play.t (a) values " + ", ".join([row] * 2000)


_TABLE = "create table play.t (a text, work_mem int, \"set_config\" text)"

CASES = [
    _case("a value below", "set work_mem = '128kB'", "show work_mem", "reset work_mem", "show work_mem"),
    _case("a value at the ceiling", "set work_mem = '256kB'; set statement_timeout = '20s'", "show work_mem"),
    _case("a value below in other units", "set work_mem = '0.125MB'", "show work_mem", "set work_mem = '131072B'"),
    _case("a value below as a number", "set statement_timeout = 5000", "show statement_timeout"),
    _case("a time in other units", "set statement_timeout = '0.1min'", "show statement_timeout"),
    _case(
        "a value for a transaction",
        "begin; set local work_mem = '64kB'",
        "show work_mem",
        "commit",
        "show work_mem",
    ),
    _case("a value and a rollback", "begin", "set work_mem = '64kB'", "rollback", "show work_mem"),
    _case(
        "a value and a savepoint",
        "begin; set work_mem = '128kB'; savepoint a; set work_mem = '64kB'; rollback to a",
        "show work_mem",
        "rollback",
    ),
    _case("a value and DEFAULT", "set work_mem = '64kB'; set work_mem to default", "show work_mem"),
    _case("RESET ALL and DISCARD ALL", "set work_mem = '64kB'", "reset all", "show work_mem", "discard all"),
    _case("no workers", "set max_parallel_workers_per_gather = 0", "explain (costs off) select count(*) from big"),
    _case("a value too small for Postgres", "set work_mem = 1"),
    _case("a setting that nobody knows", "set nonsense = 1", "show nonsense"),
    _case("settings of one's own", "set app.mark = 'x'", "show app.mark", "select current_setting('app.mark')"),
    _case("words in strings", "select 'set work_mem = ''1GB''', $$do $x$ begin end $x$; call f()$$"),
    _case("words in comments", "/* set work_mem = '1GB' */ select 1 -- set_config('work_mem', '1GB', false)"),
    _case(
        "names like settings",
        _TABLE,
        "insert into play.t values ('x', 1, 'y')",
        "update play.t set work_mem = 1073741824, \"set_config\" = '1GB' returning *",
        "select work_mem, \"set_config\", t.set_config from play.t",
    ),
    _case(
        "names like statements",
        "create table play.\"do\" (\"call\" int, \"set\" text, discard int)",
        "insert into play.\"do\" values (1, 'work_mem', 2)",
        "update play.\"do\" set \"set\" = 'statement_timeout', discard = discard + 1 returning *",
        "select reset, declare from (values (1, 2)) as load (reset, declare)",
    ),
    _case("a long text with words in its strings", _TABLE, _words_in_strings(), "select count(*) from play.t"),
    _case(
        "ALTER with SET",
        _TABLE,
        "alter table play.t set (fillfactor = 70)",
        "alter table play.t alter column a set default 'work_mem'",
        "alter table play.t alter column a set statistics 50",
        "create schema if not exists play2",
        "drop schema play2",
    ),
    _case(
        "ALTER ROLE of other things",
        "alter role current_user set search_path = public",
        "alter role current_user reset search_path",
    ),
    _case(
        "ALTER ROLE below",
        "alter role current_user set work_mem = '128kB'",
        "alter role current_user reset work_mem",
    ),
    _case("the settings read", "select name, setting, unit from pg_settings where name like '%work_mem' order by 1"),
    _case(
        "the settings read by current_setting",
        "select current_setting('work_mem'), current_setting('no.such', true)",
    ),
    _case("EXPLAIN", "set enable_seqscan = off", "explain (settings, costs off) select * from big where a = 1"),
    _case("COPY", _TABLE, "copy (select 1, 'set work_mem') to stdout", "copy play.t (a) from stdin"),
    _case(
        "COPY with code",
        _TABLE,
        "do $$ begin end $$; copy play.t (a) from stdin; select 1",
        "begin; do $$ begin end $$; copy play.t (a) from stdin",
        "copy play.t (a) from stdin",
        "rollback",
        refused=_STRICT,
    ),
    _case(
        "a cursor",
        "begin; declare c cursor with hold for select generate_series(1, 5)",
        "fetch 2 from c",
        "commit",
        "fetch all from c",
        "close c",
    ),
    _case("PREPARE and EXECUTE", "prepare p (int) as select $1 + 1", "execute p(1)", "deallocate p"),
    _case("a query in a string", "select query_to_xml('select 1 as a', true, true, '')"),
    _case(
        "words of full text",
        "select ts_rewrite('a & b'::tsquery, 'a'::tsquery, 'c'::tsquery)",
        "select * from ts_stat('select to_tsvector(''simple'', ''work mem'')') order by 1",
    ),
    _case(
        "large objects by FunctionCalls",
        "begin",
        Raw(function_call(_LO_CREATE, b"4242424")),
        Raw(function_call(_LO_UNLINK, b"4242424")),
        Raw(function_call(_LO_UNLINK, b"4242424")),
        "rollback",
    ),
    _case(
        "a function that sets for its transaction",
        "create function play.f() returns void language plpgsql as $$ begin set local work_mem = '64kB'; "
        "set local lock_timeout = '1s'; perform set_config('app.mark', 'x', true); end $$",
        "begin",
        "select play.f()",
        "show work_mem",
        "select current_setting('lock_timeout'), current_setting('app.mark')",
        "savepoint a",
        Bound("select current_setting('work_mem')"),
        "rollback to a",
        "show work_mem",
        "commit",
        "show work_mem",
        refused=_STRICT,
    ),
    _case("dblink named", "select count(*) from pg_proc where proname like 'dblink%'", "select 1 as dblink"),
    _case("LISTEN", "listen news", "notify news, 'set work_mem'", "unlisten *"),
    _case("a mistake", "selec 1", "select 1"),
    _case("a mistake in a transaction", "begin", "select no_such", "select 1", "rollback"),
    _case("a mistake, extended", Bound("select no_such"), Bound("select $1::int", ("x",)), Bound("select 1")),
    _case("a mistake in SET", "set work_mem =", "set = 1", refused=_STRICT),
    _case(
        "a transaction's own settings",
        "begin isolation level serializable read only",
        "set transaction_deferrable = on",
        "show transaction_isolation",
        "commit",
    ),
    _case(
        "SET TRANSACTION and CONSTRAINTS",
        "begin; set transaction isolation level repeatable read; set constraints all immediate",
        "commit",
    ),
    # --- drivers and ORMs
    _case(
        "Django",
        "set client_encoding to 'UTF8'",
        Bound("select set_config('TimeZone', $1, false)", ("UTC",)),
        "set constraints all immediate; set constraints all deferred",
        "show timezone",
    ),
    _case(
        "SQLAlchemy",
        "select pg_catalog.version()",
        "select current_schema() is null",
        "show standard_conforming_strings",
        "begin",
        "rollback",
        "show transaction isolation level",
    ),
    _case(
        "Rails",
        "set client_min_messages to 'warning'",
        "set standard_conforming_strings = on",
        "set intervalstyle = iso_8601",
        "set session timezone to 'UTC'",
        "set client_encoding to 'unicode'",
        "show max_identifier_length",
    ),
    _case(
        "Prisma",
        "set search_path = \"public\"",
        "deallocate all",
        Bound("select $1::int8", ("7",)),
        "show search_path",
    ),
    _case(
        "Hibernate and JDBC",
        "set extra_float_digits = 3",
        "set application_name = 'PostgreSQL JDBC Driver'",
        "set session characteristics as transaction isolation level read committed",
        "show transaction isolation level",
        startup={"DateStyle": "ISO", "TimeZone": "UTC", "client_encoding": "UTF8", "extra_float_digits": "2"},
    ),
    _case("JDBC with a time limit", Bound("set session statement_timeout to 10000"), "show statement_timeout"),
    _case(
        "PostgREST",
        "begin",
        Bound(
            "select set_config('search_path', $1, true), set_config('request.jwt.claims', $2, true), "
            "set_config('request.method', $3, true)",
            ("public", '{"a": 1}', "GET"),
        ),
        "select current_setting('request.jwt.claims')::json ->> 'a'",
        "commit",
    ),
    _case(
        "row security by a setting",
        "begin; set local app.user_id = '42'",
        "select current_setting('app.user_id')",
        "commit",
        "select current_setting('app.user_id', true) is null or current_setting('app.user_id', true) = ''",
    ),
    _case(
        "node-postgres",
        "set statement_timeout to 5000; set lock_timeout to 1000",
        "show lock_timeout",
        startup={"application_name": "node"},
    ),
    _case(
        "options below",
        "show work_mem",
        "show statement_timeout",
        startup={"options": "-c work_mem=128kB -c statement_timeout=5s -c timezone=UTC"},
    ),
    _case("a Latin client", "show client_encoding", startup={"client_encoding": "LATIN1"}),
    _case(
        "pg_dump's beginning",
        "select pg_catalog.set_config('search_path', '', false)",
        "set datestyle = iso; set intervalstyle = postgres; set extra_float_digits to 3; set "
        "synchronize_seqscans to off; set lock_timeout = '10s'; set row_security = off",
        "begin; set transaction isolation level repeatable read, read only",
        "commit",
    ),
    _case("a ping", "", ";", "-- ping", "/* ping */ select 1"),
    # --- migrations
    _case(
        "a migration of tables",
        "begin; set local lock_timeout = '2s'; create table play.m (id bigserial primary key, a text not "
        "null default 'x'); create index on play.m (a); alter table play.m add column b int; commit",
        "insert into play.m (a) values ('y') returning *",
    ),
    _case(
        "a migration with a function",
        "create function play.touch() returns trigger language plpgsql as $$ begin new.a := now(); return "
        "new; end $$",
        _TABLE,
        "create trigger touch before update on play.t for each row execute function play.touch()",
        refused=_STRICT,
    ),
    _case(
        "a migration with a safe function",
        "create function play.safe() returns int language sql security definer set search_path = "
        "pg_catalog, pg_temp as 'select 1'",
        "select play.safe()",
        refused=_STRICT,
    ),
    _case(
        "a migration with DO",
        "do $$ begin if not exists (select from pg_type where typname = 'mood') then create type play.mood "
        "as enum ('sad', 'ok'); end if; end $$",
        "select 'ok'::play.mood",
        refused=_STRICT,
    ),
    _case(
        "a migration with DO and a lower limit",
        "do $$ begin set local lock_timeout = '1s'; create table play.d (a int); end $$",
        "select * from play.d",
        refused=_STRICT,
    ),
    _case(
        "a migration with a procedure",
        "create procedure play.p(inout a int) language plpgsql as $$ begin a := a + 1; commit; end $$",
        "call play.p(1)",
        refused=_STRICT,
    ),
    _case(
        "a migration with an aggregate",
        "create aggregate play.total(int) (sfunc = int4pl, stype = int, initcond = '0')",
        "select play.total(a) from big",
        refused=_STRICT,
    ),
    _case(
        "a migration in one text",
        "create table play.m (a int); insert into play.m select generate_series(1, 10); analyze play.m; "
        "create view play.v as select a * 2 as b from play.m; comment on view play.v is 'set work_mem'; "
        "select sum(b) from play.v",
    ),
]


def _psql(*commands):
    return ["psql", "-X", "-A", *(word for command in commands for word in ("-c", command))]


# Programs of Postgres itself: the same words on their standard output, but for names and numbers of objects.
PROGRAMS = {
    "pg_dump": ["pg_dump", "-n", "play", "--no-owner"],
    "pg_dump as INSERTs, with privileges": ["pg_dump", "-n", "play", "--inserts", "-x"],
    "psql \\d": _psql("\\d play.*", "\\d+ play.m", "\\dt play.*", "\\dv play.*"),
    "psql \\df and its like": _psql("\\df pg_catalog.set_config", "\\dp ledger", "\\di play.*"),
    "psql \\dx, \\dconfig": _psql("\\dx", "\\dconfig work_mem", "\\dconfig statement_timeout"),
    "psql, variables": _psql("select 1 as x \\gset", "select :'VERSION' <> ''", "show work_mem"),
}
PLAYGROUND = (
    "create table play.m (id int primary key, a text not null default 'work_mem', \"set\" text)",
    "insert into play.m select g, 'set work_mem = ' || g from generate_series(1, 20) g",
    "create view play.v as select a, set_config from play.m, (values (1)) x (set_config)",
    "create index on play.m (a)",
)
