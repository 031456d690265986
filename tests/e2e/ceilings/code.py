"""Code that runs inside of Postgres, and settings stored for later sessions."""

from harness.wire import bind, execute, parse, query, sync

from .case import CODE, EXISTING, HIDDEN_QUOTE, Bound, Case, Raw, rows
from .judges import SORT

_FUNCTIONS = "functions"
_ROLES = "roles and databases"
_BEHIND = "behind code"
_RAISE = "do $$ begin set work_mem = '1GB'; end $$"
_SORT_INSIDE = (
    "for r in execute 'explain (analyze, costs off, timing off, summary off) select g from "
    "generate_series(1, 20000) g order by -g' loop raise notice '%', r; end loop;"
)


def _existing(name, made, attack, **more):
    return Case(_FUNCTIONS, f"existing: {name}", attack, made=made, known=EXISTING, **more)


def _local(signature, body="set local work_mem = '1GB';", gives="void", value=""):
    """A function that raises work_mem until the transaction ends."""
    return (
        f"create or replace function {signature} returns {gives} language plpgsql as "
        f"$$ begin {body} return {value}; end $$"
    )


# What they have set ends with the transaction, but not with the request.
_FOR_THE_TRANSACTION = {
    "SET LOCAL": ("select local_set()", {"made": (_local("local_set()"),)}),
    "set_config": (
        "select local_sql()",
        {
            "made": (
                "create or replace function local_sql() returns text language sql as "
                "$$ select set_config('work_mem', '1GB', true) $$",
            )
        },
    ),
    "set_config of what it is given": (
        "select local_any('work_mem', '1GB')",
        {
            "made": (
                "create or replace function local_any(text, text) returns text language sql as "
                "$$ select set_config($1, $2, true) $$",
            )
        },
    ),
    "EXECUTE": ("select local_do()", {"made": (_local("local_do()", "execute 'set local work_mem = ''1GB''';"),)}),
    "DO inside": (
        "select local_deep()",
        {"made": (_local("local_deep()", "execute $q$do $w$ begin set local work_mem = '1GB'; end $w$ $q$;"),)},
    ),
    "in a block of its own": (
        "select local_block()",
        {
            "made": (
                _local("local_block()", "begin set local work_mem = '1GB'; exception when others then null; end;"),
            )
        },
    ),
    "a trigger": (
        "insert into local_table values (1)",
        {
            "made": (
                "drop table if exists local_table; create table local_table (a int)",
                _local("local_trigger()", gives="trigger", value="new"),
                "create trigger t before insert on local_table for each row execute function local_trigger()",
            )
        },
    ),
    "an operator": (
        "select 1 <@@@> 2",
        {
            "made": (
                _local("local_operator(int, int)", gives="int", value="1"),
                "drop operator if exists <@@@> (int, int)",
                "create operator <@@@> (leftarg = int, rightarg = int, function = local_operator)",
            )
        },
    ),
    "over another": (
        "select local_over()",
        {"made": (_local("local_set()"), _local("local_over()", "perform local_set();"))},
    ),
    "in a statement of before": (
        (
            Raw(parse("select local_set()", "before") + sync()),
            "commit; begin",
            Raw(bind("before") + execute() + sync()),
        ),
        {"made": (_local("local_set()"),)},
    ),
    "in a PREPARE of before": (
        ("prepare before as select local_set()", "commit; begin", "execute before", "deallocate before"),
        {"made": (_local("local_set()"),)},
    ),
    "no time limit": (
        "select local_time()",
        {"made": (_local("local_time()", "set local statement_timeout = 0;"),), "judge": "sleep"},
    ),
}

CASES = [
    *rows(
        _FUNCTIONS,
        {
            "DO, set_config": "do $$ begin perform set_config('work_mem', '1GB', false); end $$",
            "DO, SET": "do $$ begin set work_mem = '1GB'; end $$",
            "DO, SET LOCAL": "do $$ begin set local work_mem = '1GB'; end $$",
            "DO, EXECUTE": "do $$ begin execute 'set work_mem = ''1GB'''; end $$",
            "DO, EXECUTE of pieces": "do $$ begin execute 's' || 'et work_' || 'mem = ''1GB'''; end $$",
            "DO, EXECUTE of bytes": (
                "do $$ begin execute convert_from("
                "decode('73657420776f726b5f6d656d3d2731474227', 'hex'), 'utf8'); end $$"
            ),
            "DO, with escapes": "do E'begin set work\\x5fmem = \\'1GB\\'; end'",
            "DO, the language first": (
                "do language plpgsql $$ begin perform set_config('work_mem', '1GB', true); end $$"
            ),
            "DO, and the sort inside": (
                f"do $$ declare r text; begin set work_mem = '1GB'; {_SORT_INSIDE} end $$",
                {"judge": "sort"},
            ),
            "DO, workers": (
                "do $$ begin set max_parallel_workers_per_gather = 8; end $$",
                {"judge": "workers"},
            ),
            "DO, hashes": ("do $$ begin set hash_mem_multiplier = 100; end $$", {"judge": "hash"}),
            "DO, statement timeout": ("do $$ begin set statement_timeout = 0; end $$", {"judge": "sleep"}),
        },
        known=CODE,
    ),
    Case(
        _FUNCTIONS,
        "CALL",
        (
            "create or replace procedure pr() language plpgsql as $$ begin set work_mem = '1GB'; end $$",
            "call pr()",
        ),
        known=CODE,
    ),
    Case(
        _FUNCTIONS,
        "CALL with a COMMIT inside",
        (
            "create or replace procedure pc() language plpgsql as "
            f"$$ declare r text; begin set work_mem = '1GB'; commit; {_SORT_INSIDE} end $$",
            "call pc()",
        ),
        known=CODE,
    ),
    *rows(
        _FUNCTIONS,
        {
            "plpgsql": (
                "create or replace function f() returns void language plpgsql as "
                "$$ begin set work_mem = '1GB'; end $$",
                "select f()",
            ),
            "plpgsql by EXECUTE": (
                "create or replace function f() returns void language plpgsql as "
                "$$ begin execute 'set work_' || 'mem = ''1GB'''; end $$",
                "select f()",
            ),
            "sql": (
                "create or replace function f() returns text language sql as "
                "'select set_config(''work_mem'', ''1GB'', false)'",
                "select f()",
            ),
            "a wrapper with arguments": (
                "create or replace function f(a text, b text) returns text language sql as "
                "'select set_config(a, b, false)'",
                "select f('work_mem', '1GB')",
            ),
            "a sort of its own": (
                "create or replace function fs() returns setof text language plpgsql as "
                f"$$ declare r text; begin set local work_mem = '1GB'; {_SORT_INSIDE} end $$",
                "select fs()",
            ),
            "a trigger": (
                "create or replace function ft() returns trigger language plpgsql as "
                "$$ begin set work_mem = '1GB'; return new; end $$",
                "drop table if exists tt; create table tt (a int)",
                "create trigger t before insert on tt for each row execute function ft()",
                "insert into tt values (1)",
            ),
            "a default of a column": (
                "create or replace function f() returns text language plpgsql as "
                "$$ begin set work_mem = '1GB'; return ''; end $$",
                "drop table if exists td; create table td (a text default f(), b int)",
                "insert into td (b) values (1)",
            ),
            "an operator": (
                "create or replace function fo(int, int) returns text language plpgsql as "
                "$$ begin set work_mem = '1GB'; return ''; end $$",
                "drop operator if exists ===> (int, int); create operator ===> "
                "(leftarg = int, rightarg = int, function = fo)",
                "select 1 ===> 2",
            ),
            "an index": (
                (
                    "create or replace function fi(int) returns int immutable language plpgsql as "
                    "$$ begin set work_mem = '1GB'; return $1; end $$",
                    "drop table if exists ti; create table ti as select 1 as a",
                    "create index on ti (fi(a))",
                ),
                {"bites": False, "known": {}},  # Postgres restricts what runs there
            ),
            "a cast": (
                "drop type if exists ct cascade; create type ct as (a text)",
                "create or replace function fc(ct) returns int language plpgsql as "
                "$$ begin set work_mem = '1GB'; return 1; end $$",
                "create cast (ct as int) with function fc(ct)",
                "select row('x')::ct::int",
            ),
            "an aggregate": (
                "create or replace function fa(int, int) returns int language plpgsql as "
                "$$ begin set work_mem = '1GB'; return 1; end $$",
                "create or replace aggregate aa(int) (sfunc = fa, stype = int, initcond = '0')",
                "select aa(1)",
            ),
            "an event of the commit": (
                (
                    "create or replace function fe() returns trigger language plpgsql as "
                    "$$ begin perform set_config('work_mem', '1GB', false); return null; end $$",
                    "drop table if exists te; create table te (a int)",
                    "create constraint trigger t after insert on te deferrable initially deferred "
                    "for each row execute function fe()",
                    "insert into te values (1)",
                ),
                {"known": {}},  # it comes too late for its own transaction
            ),
            "no time limit": (
                (
                    "create or replace function f() returns void language plpgsql as "
                    "$$ begin set statement_timeout = 0; end $$",
                    "select f()",
                ),
                {"judge": "sleep"},
            ),
        },
        known=CODE,
    ),
    # The SET of a function stands in a text of its own, so a proxy sees it.
    Case(
        _FUNCTIONS,
        "a SET clause",
        (
            "create or replace function set_a() returns setof text language plpgsql set work_mem = '1GB' as "
            f"$$ declare r text; begin {_SORT_INSIDE} end $$",
            "select set_a()",
        ),
    ),
    Case(
        _FUNCTIONS,
        "a SET clause given later",
        (
            "create or replace function set_b() returns setof text language plpgsql as "
            f"$$ declare r text; begin {_SORT_INSIDE} end $$",
            "alter function set_b() set work_mem = '1GB'",
            "select set_b()",
        ),
    ),
    Case(
        _FUNCTIONS,
        "a SET clause by what the session has",
        (
            "create or replace function set_c() returns setof text language plpgsql set work_mem from current as "
            f"$$ declare r text; begin {_SORT_INSIDE} end $$",
            "select set_c()",
        ),
        bites=False,
    ),
    Case(
        _FUNCTIONS,
        "a SET clause of any routine",
        (
            "create or replace function set_d() returns setof text language plpgsql as "
            f"$$ declare r text; begin {_SORT_INSIDE} end $$",
            "alter routine set_d() set sort_mem = '1GB'",
            "select set_d()",
        ),
    ),
    _existing(
        "for the session",
        (
            "create or replace function ef() returns void language plpgsql as $$ begin set work_mem = '1GB'; end $$",
        ),
        "select ef()",
    ),
    _existing(
        "with a sort inside",
        (
            "create or replace function es() returns setof text language plpgsql as "
            f"$$ declare r text; begin set local work_mem = '1GB'; {_SORT_INSIDE} end $$",
        ),
        "select es()",
    ),
    _existing(
        "no time limit",
        (
            "create or replace function ef() returns void language plpgsql as "
            "$$ begin set statement_timeout = 0; end $$",
        ),
        "select ef()",
        judge="sleep",
    ),
    _existing(
        "any setting",
        (
            "create or replace function en(text, text) returns text language sql as "
            "'select set_config($1, $2, false)'",
        ),
        "select en('work_mem', '1GB')",
    ),
    *rows(
        _BEHIND,
        {
            "DO": _RAISE,
            "DO, SET LOCAL": "do $$ begin set local work_mem = '1GB'; end $$",
            "DO, extended": Bound(_RAISE),
            "DO, no time limit": ("do $$ begin set statement_timeout = 0; end $$", {"judge": "sleep"}),
            "DO, workers": ("do $$ begin set max_parallel_workers_per_gather = 8; end $$", {"judge": "workers"}),
            "two queries in one write": Raw(query(_RAISE) + query(SORT)),
            "two batches in one write": Raw(
                parse(_RAISE) + bind() + execute() + sync() + parse(SORT) + bind() + execute() + sync()
            ),
            "CALL": (
                "create or replace procedure pr() language plpgsql as $$ begin set work_mem = '1GB'; end $$",
                "call pr()",
            ),
            "a function that is made and called": (
                "create or replace function ef() returns void language plpgsql as "
                "$$ begin set work_mem = '1GB'; end $$",
                "select ef()",
            ),
            "a savepoint in the same text": (f"{_RAISE}; savepoint a", "rollback to a"),
            "a savepoint in the same text, extended": (f"{_RAISE}; savepoint a", Bound("rollback to a")),
            "COMMIT AND CHAIN": f"{_RAISE}; commit and chain",
            "ROLLBACK AND CHAIN": ("savepoint a", _RAISE, "rollback and chain"),
            "a portal that was bound before": (
                Raw(parse(_RAISE) + bind(portal="p") + sync()),
                "select 1",
                Raw(execute("p") + sync()),
            ),
            "behind 300 kB of comment": "/*" + "x" * 300_000 + f"*/ {_RAISE}",
            "behind 2 MB of comment": "/*" + "x" * 2_000_000 + "*/ set work_mem = '1GB'",
        },
        behind=True,
    ),
    *rows(
        _BEHIND,
        {
            "a function that exists": "select raise_it()",
            "a function that exists, extended": Bound("select raise_it()"),
            "a cursor over one that exists": ("declare c cursor for select raise_it()", "select 1", "fetch all from c"),
            "a deferred trigger": ("insert into raising values (1)", "set constraints all immediate"),
            "a function that exists, its values in one write": Raw(query("select raise_it()") + query(SORT)),
        },
        behind=True,
    ),
    *rows(
        _BEHIND,
        {f"for the transaction: {name}": case for name, case in _FOR_THE_TRANSACTION.items()},
        behind=True,
    ),
    *rows(
        _BEHIND,
        {
            # What a request does itself is not held where it runs code, nor where it brings back what that did.
            "ROLLBACK TO and a sort in one text": ((f"{_RAISE}; savepoint a", f"rollback to a; {SORT}"), {"known": CODE}),
            "ROLLBACK TO and a sort in one text, a function that exists": (
                ("select raise_it(); savepoint a", f"rollback to a; {SORT}"),
                {"known": EXISTING},
            ),
        },
        behind=True,
    ),
    *rows(
        "lowered",
        {
            "nothing": "select 1",
            "RESET": "reset work_mem",
            "RESET of an old name": "reset sort_mem",
            "SET TO DEFAULT": "set work_mem to default",
            "SET LOCAL TO DEFAULT": "set local work_mem to default",
            "set_config of NULL": "select set_config('work_mem', null, false)",
            "set_config of NULL with a type": "select set_config('work_mem', null::text, true)",
            "set_config of NULL, prepared": ("prepare p as select set_config('work_mem', null, false)", "execute p"),
            "RESET ALL": "reset all",
            "RESET ALL among others": "select 1; reset all; unlisten *",
            "DISCARD ALL": "discard all",
            "RESET, extended": Bound("reset work_mem"),
            "RESET ALL, extended": Bound("reset all"),
            "RESET ALL and the sort in one batch": Raw(
                parse("reset all") + bind() + execute() + parse(SORT) + bind() + execute() + sync()
            ),
            "RESET ALL behind the sort's Bind": Raw(
                parse(SORT, "s") + bind("s", "p") + parse("reset all") + bind() + execute() + execute("p") + sync()
            ),
            "RESET ALL by a portal": Raw(parse("reset all") + bind(portal="p") + execute("p") + sync() + query(SORT)),
            "RESET and the sort in one write": Raw(query("reset all") + query(SORT)),
            "a savepoint and back": ("savepoint a", "reset work_mem", "rollback to a"),
            "a higher value, then RESET": ("set work_mem = '1GB'", "reset work_mem"),
            "DO with RESET": ("do $$ begin reset work_mem; end $$", {"behind": True}),
            "DO with RESET ALL": ("do $$ begin reset all; end $$", {"behind": True}),
            "in session mode, RESET": ("reset work_mem", {"startup": {"options": "-c pgweir.pool_mode=session"}}),
            "in session mode, DISCARD ALL": (
                "discard all",
                {"startup": {"options": "-c pgweir.pool_mode=session"}},
            ),
            "no time limit": ("reset statement_timeout", {"judge": "sleep"}),
        },
        lowered=True,
    ),
    *rows(
        _ROLES,
        {
            "ALTER ROLE": "alter role current_user set work_mem = '1GB'",
            "ALTER USER": "alter user current_user set work_mem = '1GB'",
            "ALTER ROLE by its name": "alter role {role} set work_mem = '1GB'",
            "ALTER ROLE in the database": "alter role {role} in database {database} set sort_mem = '1GB'",
            "ALTER ROLE, no time limit": ("alter role current_user set statement_timeout = 0", {"judge": "sleep"}),
            "ALTER ROLE by DO": "do $$ begin execute 'alter role current_user set work_mem = ''1GB'''; end $$",
            "ALTER ROLE, then RESET": ("alter role current_user set work_mem = '1GB'", "reset work_mem"),
            "ALTER ROLE, then RESET ALL": ("alter role current_user set work_mem = '1GB'", "reset all"),
            "ALTER ROLE, then DISCARD ALL": ("alter role current_user set work_mem = '1GB'", "discard all"),
            "ALTER ROLE RESET": ("alter role current_user reset work_mem", {"judge": "sort"}),
            "ALTER ROLE RESET ALL": ("alter role current_user reset all", {"judge": "sort"}),
            "ALTER ROLE, hashes": ("alter role current_user set hash_mem_multiplier = 100", {"judge": "hash"}),
            "ALTER ROLE, strings with backslashes": (
                "alter role current_user set standard_conforming_strings = off",
                {"later": "select '\\'', set_config($$work_mem$$, $$1GB$$, false) --'"},
            ),
            "ALTER ROLE, another encoding": (
                "alter role current_user set client_encoding = 'SJIS'",
                {"later": HIDDEN_QUOTE},
            ),
            # What a role has goes before it on a plain Postgres.
            "ALTER DATABASE": ("alter database {database} set work_mem = '1GB'", {"bites": False}),
            "ALTER DATABASE by DO": (
                "do $$ begin execute format('alter database %I set work_mem = ''1GB''', current_database()); end $$",
                {"bites": False},
            ),
            "ALTER DATABASE, workers": (
                "alter database {database} set max_parallel_maintenance_workers = 8",
                {"judge": "maintenance_workers", "bites": False},
            ),
        },
    ),
]
