"""What views, rules, defaults, checks, policies and types run by themselves."""

from .case import Bound, rows

_GROUP = "stored expressions"
_MARK = "set_config('app.mark', 'left', false)"
_RAISE = "set_config('work_mem', '1GB', false)"
_SETTINGS = "drop view if exists st_settings cascade; create view st_settings as select * from pg_settings"


def _view(expression):
    return (f"create or replace view st_view as select {expression} as a",)


def _table(*definitions):
    return ("drop table if exists st_table cascade; create table st_table (a text)", *definitions)


_LEFT = {
    "a view": ("table st_view", {"made": _view(_MARK)}),
    "a view, bound": (Bound("select * from st_view where $1 <> ''", ("x",)), {"made": _view(_MARK)}),
    "a view over it": (
        "table st_over",
        {"made": (*_view(_MARK), "create or replace view st_over as table st_view")},
    ),
    "a view that was just made": (f"create or replace view st_new as select {_MARK}", "table st_new"),
    "a view, a lock": ("table st_view", {"made": _view("pg_try_advisory_lock(7) || ''")}),
    "a view, the path": ("table st_view", {"made": _view("set_config('search_path', 'theirs', false)")}),
    "a view of pg_settings": (
        "update st_settings set setting = 'left' where name = 'application_name'",
        {"made": (_SETTINGS,)},
    ),
    "a rule": (
        "insert into st_table values ('x')",
        {"made": _table(f"create rule r as on insert to st_table do also select {_MARK}")},
    ),
    "a rule that updates pg_settings": (
        "insert into st_table values ('x')",
        {
            "made": _table(
                "create rule r as on insert to st_table do also "
                "update pg_settings set setting = 'left' where name = 'application_name'"
            )
        },
    ),
    "a default": (
        "insert into st_table (b) values (1)",
        {"made": _table(f"alter table st_table alter a set default {_MARK}, add b int")},
    ),
    "a check": (
        "insert into st_table values ('x')",
        {"made": _table(f"alter table st_table add check ({_MARK} <> '')")},
    ),
    "a policy": (
        "table st_table",
        {
            "made": _table(
                "insert into st_table values ('x')",
                "alter table st_table enable row level security, force row level security",
                f"create policy p on st_table using ({_MARK} <> '')",
            )
        },
    ),
    "the condition of a trigger": (
        "insert into st_table values ('x')",
        {
            "made": _table(
                "create or replace function st_quiet() returns trigger language plpgsql as $$ begin return new; end $$",
                f"create trigger t before insert on st_table for each row when ({_MARK} <> '') "
                "execute function st_quiet()",
            )
        },
    ),
    "a domain": (
        "select 'x'::st_domain",
        {"made": (f"drop domain if exists st_domain; create domain st_domain as text check (value <> {_MARK})",)},
    ),
    "an aggregate": (
        "select st_all('left', false)",
        {
            "made": (
                "drop aggregate if exists st_all(text, boolean)",
                "create aggregate st_all(text, boolean) (sfunc = set_config, stype = text, initcond = 'app.mark')",
            )
        },
    ),
    "an argument's default": (
        "select st_argument()",
        {
            "made": (
                f"create or replace function st_argument(a text default {_MARK}) returns text "
                "language sql as 'select a'",
            )
        },
    ),
    "a schema in XML": (
        "select schema_to_xml('st_schema', true, true, '')",
        {"made": (f"create schema if not exists st_schema; create or replace view st_schema.v as select {_MARK}",)},
    ),
    "a table in XML": ("select table_to_xml('st_view', true, true, '')", {"made": _view(_MARK)}),
}

_RAISED = {
    "a view, work_mem": ("table st_view", {"made": _view(_RAISE)}),
    "a view of pg_settings, work_mem": (
        "update st_settings set setting = '1GB' where name = 'work_mem'",
        {"made": (_SETTINGS,)},
    ),
    "a rule, the row's own values": (
        "insert into st_pairs values ('work_mem', '1GB')",
        {
            "made": (
                "drop table if exists st_pairs; create table st_pairs (a text, b text)",
                "create rule r as on insert to st_pairs do also select set_config(new.a, new.b, false)",
            )
        },
    ),
    "a view, query_to_xml": (
        "select count(*) from st_view",
        {"made": _view("query_to_xml('select set_config(''work_mem'', ''1GB'', false)', true, true, '')::text")},
    ),
    "a view in XML": (
        "select schema_to_xml('st_raise', true, true, '')",
        {"made": (f"create schema if not exists st_raise; create or replace view st_raise.v as select {_RAISE}",)},
    ),
    "a view, no time limit": (
        "table st_view",
        {"made": _view("set_config('statement_timeout', '0', false)"), "judge": "sleep"},
    ),
}

CASES = [
    *rows(_GROUP, _LEFT, judge="leak"),
    *rows(_GROUP, _RAISED, behind=True),
]
