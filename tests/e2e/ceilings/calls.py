"""set_config wherever an expression may stand, and functions that run SQL they are given."""

import struct

from .case import CODE, Bound, Raw, execute, function_call, message, query, rows, sync
from .judges import SORT

_CALLS = "set_config places"
_EXECUTORS = "executors"
_CALL = "set_config('work_mem', '1GB', false)"
_QUOTED = "set_config(''work_mem'', ''1GB'', false)"
_OURS = {"startup": {"application_name": "x"}, "bites": False}
_CONNINFO = (
    "'host=127.0.0.1 port=' || current_setting('port') || "
    "' user={role} dbname={database} options=''-c work_mem=1GB'''"
)
_OWN_SESSION = f"select dblink_connect_u('c', {_CONNINFO})"
_SET_CONFIG, _QUERY_TO_XML, _TS_REWRITE = 2078, 2924, 3685

CASES = [
    *rows(
        _CALLS,
        {
            "select": f"select {_CALL}",
            "for the transaction": "select set_config('work_mem', '1GB', true)",
            "with its schema": f"select pg_catalog.{_CALL}",
            "quoted": "select \"pg_catalog\".\"set_config\"('work_mem', '1GB', false)",
            "capitals": "SELECT SET_CONFIG('WORK_MEM', '1GB', FALSE)",
            "escapes": "select U&\"set\\005Fconfig\"('work_mem', '1GB', false)",
            "names of its arguments": (
                "select set_config(new_value => '1GB', is_local => false, setting_name => 'work_mem')",
                {"bites": False},  # there are none in Postgres 15
            ),
            "as a column": "select set_config from set_config('work_mem', '1GB', false)",
            "the name computed": "select set_config('work_' || 'mem', '1GB', false)",
            "the value computed": "select set_config('work_mem', '1' || 'GB', false)",
            "the value from a column": "select set_config('work_mem', v, false) from (values ('1GB')) x (v)",
            "both from a column": "select set_config(n, v, false) from (values ('work_mem', '1GB')) x (n, v)",
            "from pg_settings": "select set_config(name, '1GB', false) from pg_settings where name = 'work_mem'",
            "from pg_settings, hidden": (
                "select set_config(name, max_val, false) from pg_settings where name like 'work__em'"
            ),
            "in a CASE": f"select case when true then {_CALL} end",
            "in a WITH": f"with x as materialized (select {_CALL}) select * from x",
            "in FROM": f"select * from {_CALL}",
            "in LATERAL": f"select * from (values (1)) v, lateral {_CALL}",
            "in WHERE": f"select 1 where {_CALL} <> ''",
            "in LIMIT": f"select 1 limit length({_CALL})",
            "in ORDER BY": f"select 1 as a order by {_CALL}",
            "in HAVING": f"select 1 having {_CALL} is not null",
            "in VALUES": f"values ({_CALL})",
            "in a row": f"select ({_CALL}, 1)",
            "in an array": f"select array[{_CALL}]",
            "in a subquery": f"select (select (select {_CALL}))",
            "in a filter": f"select count(*) filter (where {_CALL} <> '')",
            "in a window": f"select row_number() over (order by {_CALL})",
            "in INSERT": f"insert into scratch select {_CALL}",
            "in RETURNING": f"insert into scratch values ('x') returning {_CALL}",
            "in UPDATE": f"insert into scratch values ('x'); update scratch set a = {_CALL}",
            "in DELETE": f"insert into scratch values ('x'); delete from scratch where {_CALL} is null",
            "in MERGE": (
                f"merge into scratch using (select {_CALL} as v) s on a = 'no' when not matched then insert values (v)"
            ),
            "in EXPLAIN": f"explain analyze select {_CALL}",
            "in COPY": f"copy (select {_CALL}) to stdout",
            "in CREATE TABLE AS": f"create table c{{n}} as select {_CALL} as a",
            "in a cursor": (f"begin; declare c cursor for select {_CALL}; fetch c; commit",),
            "in a cursor WITH HOLD": f"declare c{{n}} cursor with hold for select {_CALL}",
            "in PREPARE": "prepare p{n} as select 1; deallocate all; prepare p as select "
            f"{_CALL}; execute p; deallocate p",
            "in PREPARE with a parameter": (
                "prepare p (text) as select set_config('work_mem', $1, false); execute p('1GB'); deallocate p"
            ),
            "in PREPARE with a name": (
                "prepare p (text) as select set_config($1, '1GB', false); execute p('work_mem'); deallocate p"
            ),
            "in a view": f"create or replace view v as select {_CALL} as a; select * from v",
            "in a materialized view": (
                f"create materialized view m{{n}} as select {_CALL} as a",
                {"bites": False},  # Postgres restricts what runs there
            ),
            "in a default": f"create temp table d (a text default {_CALL}, b int); insert into d values (default, 1); "
            "drop table d",
            "in a check of a domain": f"create domain d{{n}} as text check (value <> {_CALL}); "
            "do $$ begin end $$; drop domain if exists dd; "
            f"create domain dd as text check (value <> {_CALL}); select 'x'::dd; drop domain dd",
            "in a check of a table": f"create temp table d (a text check (a <> {_CALL})); insert into d values ('x'); "
            "drop table d",
            "in a policy": f"create temp table d (a text); alter table d enable row level security, "
            f"force row level security; create policy p on d using ({_CALL} <> ''); insert into d values ('x'); "
            "select * from d; drop table d",
            "in a rule": f"create temp table d (a text); create rule r as on insert to d do also select {_CALL}; "
            "insert into d values ('x'); drop table d",
            "in a rule by its row": "create temp table d (a text); create rule r as on insert to d do also "
            "select set_config('work_mem', new.a, false); insert into d values ('1GB'); drop table d",
            "as a state function": "create aggregate a{n}(text, boolean) (sfunc = set_config, stype = text, initcond = "
            "'work_mem'); create or replace aggregate ag(text, boolean) (sfunc = set_config, stype = text, initcond = "
            "'work_mem'); select ag('1GB', false)",
            "as a state function by a string": "create or replace aggregate ag2(text, boolean) (sfunc = "
            "'set_config', stype = text, initcond = 'work_mem'); select ag2('1GB', false)",
            "as a state function with escapes": "create or replace aggregate ag3(text, boolean) (sfunc = "
            "U&\"set!005fconfig\" uescape '!', stype = text, initcond = 'work_mem'); select ag3('1GB', false)",
            "UPDATE of pg_settings": "update pg_settings set setting = '1GB' where name = 'work_mem'",
            "UPDATE of pg_settings under a name": (
                "create or replace view ps as select * from pg_settings; "
                "update ps set setting = '1GB' where name = 'work_mem'"
            ),
            "UPDATE of pg_settings by a rule that makes a view": (
                "create table pr{n} (name text, setting text, unit text, category text, short_desc text, "
                "extra_desc text, context text, vartype text, source text, min_val text, max_val text, "
                "enumvals text[], boot_val text, reset_val text, sourcefile text, sourceline int, "
                "pending_restart bool); create rule \"_RETURN\" as on select to pr{n} do instead "
                "select * from pg_settings; update pr{n} set setting = '1GB' where name = 'work_mem'"
            ),
            "the name of a row of another pg_settings": (
                "create schema if not exists own; drop table if exists own.pg_settings; "
                "drop operator if exists own.= (text, text)",
                "create table own.pg_settings as select 'work_mem'::text as name",
                "create operator own.= (leftarg = text, rightarg = text, function = textne)",
                "set search_path = own, pg_catalog",
                "select set_config(name, '1GB', false) from pg_settings where name = 'timezone'",
            ),
            "a name that is cut": (
                "create schema if not exists own; drop domain if exists own.text; "
                "create domain own.text as varchar(8)",
                "set search_path = own, pg_catalog",
                "select set_config('work_memory'::text, '1GB', false)",
            ),
            "a name that is cut, by its schema": (
                "create schema if not exists own; drop domain if exists own.text; "
                "create domain own.text as varchar(8)",
                "select set_config('work_memory'::own.text, '1GB', false)",
            ),
            "a name that is cut, by a temporary domain": (
                "create domain pg_temp.text as varchar(8)",
                "select set_config('work_memory'::text, '1GB', false)",
            ),
            "a value that is cut": (
                "create schema if not exists own; drop domain if exists own.text; "
                "create domain own.text as varchar(6)",
                "select set_config('work_mem', '204800B'::own.text, false)",
            ),
            "UPDATE of pg_settings in a WITH": (
                "with x as (select 1) update pg_catalog.pg_settings set setting = '1GB' where name = 'work_mem'"
            ),
            "a statement timeout": ("select set_config('statement_timeout', '0', false)", {"judge": "sleep"}),
            "a timeout of the transaction": ("select set_config('statement_timeout', '0', true)", {"judge": "sleep"}),
            "a bound value": Bound("select set_config('work_mem', $1, false)", ("1GB",)),
            "a bound name": Bound("select set_config($1, '1GB', false)", ("work_mem",)),
            "a bound name and value": Bound("select set_config($1, $2, false)", ("work_mem", "1GB")),
            "all three bound": Bound("select set_config($1, $2, $3::text::boolean)", ("work_mem", "1GB", "f")),
            "a bound value in a WITH": Bound(
                "with x as (select set_config('work_mem', $1, false)) select * from x", ("1GB",)
            ),
            "a FunctionCall": Raw(function_call(_SET_CONFIG, b"work_mem", b"1GB", b"f")),
            "a FunctionCall of the transaction": Raw(function_call(_SET_CONFIG, b"work_mem", b"1GB", b"t")),
            "a FunctionCall in one write": Raw(
                query("select 1") + function_call(_SET_CONFIG, b"work_mem", b"1GB", b"f")
            ),
        },
    ),
    *rows(
        _EXECUTORS,
        {
            # The pooler's own statement, which is there once a session has settings.
            "EXECUTE of pgweir_set": ("execute pgweir_set('work_mem', '1GB')", _OURS),
            "EXECUTE of pgweir_set, escapes": ("execute U&\"pgweir\\005Fset\"('work_mem', '1GB')", _OURS),
            "EXECUTE of pgweir_set in EXPLAIN": ("explain analyze execute pgweir_set('work_mem', '1GB')", _OURS),
            "EXECUTE of pgweir_set in CREATE TABLE": (
                "create table o{n} as execute \"pgweir_set\"('work_mem', '1GB')",
                _OURS,
            ),
            "Bind of pgweir_set": (
                Raw(
                    message(b"B", b"\0pgweir_set\0" + struct.pack("!hhi8si3sh", 0, 2, 8, b"work_mem", 3, b"1GB", 0))
                    + execute()
                    + sync()
                ),
                _OURS,
            ),
            # Of an extension that the owner of a database may create.
            "connectby": (
                f"select * from connectby('(select {_QUOTED} as a, ''1'' as b) x', 'a', 'b', '1', 0) "
                "as t (a text, b text, c int)"
            ),
            "connectby, in a name": (
                f"select * from connectby('pg_namespace', '{_QUOTED}', 'nspname::text', 'public', 0) "
                "as t (a text, b text, c int)"
            ),
            "connectby, bound": Bound(
                "select * from connectby($1, 'a', 'b', '1', 0) as t (a text, b text, c int)",
                (f"(select {_CALL} as a, '1' as b) x",),
            ),
            "connectby, its order": (
                "create table if not exists tree (k text, p text); insert into tree values ('2', '1'), ('3', '1')",
                f"select * from connectby('tree', 'k', 'p', '{_QUOTED}', 1::text, 0) "
                "as t (a text, b text, c int, d int)",
            ),
            "crosstab": f"select * from crosstab('select {_QUOTED}, ''a''::text, 1') as t (a text, b int)",
            "crosstab, its categories": (
                f"select * from crosstab('select 1, ''a''::text, 1', 'select {_QUOTED}') as t (a int, b int)"
            ),
            "crosstab, its categories bound": Bound(
                "select * from crosstab('select 1, ''a''::text, 1', $1) as t (a int, b int)", (f"select {_CALL}",)
            ),
            "query_to_xml": f"select query_to_xml('select {_QUOTED}', true, true, '')",
            "query_to_xml, in dollars": f"select query_to_xml($$select {_CALL}$$, true, true, '')",
            "query_to_xml, a computed text": "select query_to_xml('select set_' || 'config(''work_mem'', ''1GB'', "
            "false)', true, true, '')",
            "query_to_xml, a bound text": Bound("select query_to_xml($1, true, true, '')", (f"select {_CALL}",)),
            "query_to_xml, escapes in the text": (
                "select query_to_xml(E'select set\\x5fconfig(\\'work_mem\\', \\'1GB\\', false)', true, true, '')"
            ),
            "query_to_xml, names of its arguments": (
                f"select query_to_xml(nulls => true, tableforest => true, targetns => '', query => 'select {_QUOTED}')"
            ),
            "query_to_xml, one in another": (
                "select query_to_xml($a$select query_to_xml($b$select set_config('work_mem', '1GB', false)$b$, true, "
                "true, '')$a$, true, true, '')"
            ),
            "query_to_xml, quoted": f"select pg_catalog.\"query_to_xml\"('select {_QUOTED}', true, true, '')",
            "query_to_xmlschema and the rest": f"select query_to_xml_and_xmlschema('select {_QUOTED}', true, true, '')",
            "query_to_xml in a function": (
                (
                    "create or replace function q2(text) returns xml language sql as "
                    "'select query_to_xml($1, true, true, '''')'",
                    f"select q2('select {_QUOTED}')",
                ),
                # Its text stands in the body, and is refused there or not at all.
                {"known": CODE},
            ),
            "ts_rewrite as a state function": (
                "create or replace aggregate ra(text) (sfunc = ts_rewrite, stype = tsquery, initcond = 'a'); "
                f"select ra('select ''a''::tsquery, ''b''::tsquery where {_QUOTED} <> ''''')"
            ),
            "ts_stat as a function of an operator": (
                "create operator ~~~> (leftarg = text, rightarg = text, function = ts_stat); "
                f"select 'select to_tsvector({_QUOTED})' ~~~> 'a'"
            ),
            "ts_stat": f"select * from ts_stat('select to_tsvector({_QUOTED})')",
            "ts_stat, with weights": f"select * from ts_stat('select to_tsvector({_QUOTED})', 'a')",
            "ts_stat, a bound text": Bound("select * from ts_stat($1)", (f"select to_tsvector({_CALL})",)),
            "ts_rewrite": (
                "select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, ''b''::tsquery where "
                "set_config(''work_mem'', ''1GB'', false) <> ''''')"
            ),
            "ts_rewrite, a bound text": Bound(
                "select ts_rewrite('a'::tsquery, $1)", (f"select 'a'::tsquery, 'b'::tsquery where {_CALL} <> ''",)
            ),
            "cursor_to_xml": (
                f"begin; declare c cursor for select {_CALL}; select cursor_to_xml('c', 1, true, true, '')",
            ),
            "table_to_xml of a view": f"create or replace view vx as select {_CALL} as a; "
            "select table_to_xml('vx', true, true, '')",
            "schema_to_xml of a view": f"create schema if not exists sx; create or replace view sx.v as select {_CALL} "
            "as a; select schema_to_xml('sx', true, true, '')",
            "query_to_xml by a FunctionCall": Raw(
                function_call(_QUERY_TO_XML, f"select {_CALL}".encode(), b"t", b"t", b"")
            ),
            "ts_rewrite by a FunctionCall": Raw(
                function_call(_TS_REWRITE, b"'a'", f"select 'a'::tsquery, 'b'::tsquery where {_CALL} <> ''".encode())
            ),
            "UPDATE of pg_settings in query_to_xml": (
                "select query_to_xml('with x as (update pg_settings set setting = ''1GB'' where name = ''work_mem'' "
                "returning 1) select * from x', true, true, '')",
                {"bites": False},  # the rule of the view allows no RETURNING
            ),
            "a statement timeout": (
                "select query_to_xml('select set_config(''statement_timeout'', ''0'', false)', true, true, '')",
                {"judge": "sleep"},
            ),
            # A session that Postgres itself opens passes by the pooler.
            "dblink": (_OWN_SESSION, f"select * from dblink('c', $${SORT}$$) as t (a text)"),
            "dblink, extended": (
                Bound(_OWN_SESSION),
                Bound("select * from dblink($1, $2) as t (a text)", ("c", SORT)),
            ),
            "dblink, in an operator": (
                "create operator ====> (leftarg = text, rightarg = text, function = dblink_connect_u)",
                f"select 'c' ====> ({_CONNINFO})",
                f"select * from dblink('c', $${SORT}$$) as t (a text)",
            ),
        },
    ),
]
