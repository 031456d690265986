"""What one client leaves for the next one on its server."""

from .case import Bound, Case, Raw, bound_messages, flush, function_call, sync


def _left(name, attack=None, **more):
    return Case("leaks", name, attack, judge="leak", **more)


CASES = [
    _left("SET", "set app.mark = 'left'"),
    _left("SET LOCAL", "begin; set local app.mark = 'left'; commit"),
    _left("set_config", "select set_config('app.mark', 'left', false)"),
    _left("set_config, bound", Bound("select set_config('app.mark', $1, false)", ("left",))),
    _left("set_config, extended and named", Raw(bound_messages("set app.mark = 'left'", name="left_here") + sync())),
    _left("SET in one go with other statements", "select 1; set app.mark = 'left'; select 2"),
    _left("SET and a failure", ("set app.mark = 'left'", "select 1/0")),
    _left("SET behind a savepoint", "begin; savepoint a; set app.mark = 'left'; release a; commit"),
    _left("SET in a pipeline without an end", Raw(bound_messages("set app.mark = 'left'") + sync() + flush())),
    _left("SET in PREPARE", ("prepare left_here as select set_config('app.mark', 'left', false)", "execute left_here")),
    _left("UPDATE of pg_settings", "update pg_settings set setting = 'left' where name = 'application_name'"),
    _left("application_name", "set application_name = 'left'"),
    _left("application_name by the startup packet", startup={"application_name": "left"}, attack="select 1"),
    _left("the time zone", "set time zone 'Asia/Tokyo'"),
    _left("the time zone by the startup packet", startup={"TimeZone": "Asia/Tokyo"}, attack="select 1"),
    _left("the path", "set search_path = theirs"),
    _left("the path by options", startup={"options": "-c search_path=theirs"}, attack="select 1"),
    _left("a lower limit", "set statement_timeout = '15s'"),
    _left("a role", "set role {reader}"),
    _left("a role by set_config", "select set_config('role', '{reader}', false)"),
    _left("a temporary table", "create temp table left_here (a int)"),
    _left("a temporary table by SELECT INTO", "select 1 as a into temp left_here"),
    _left("a temporary table by its path", "set search_path = pg_temp; create table left_here (a int)"),
    _left("a cursor", "begin; declare c cursor with hold for select 1; commit"),
    _left("a lock", "select pg_advisory_lock(1)"),
    _left("a lock of two keys, tried", "select pg_try_advisory_lock_shared(1, 2)"),
    _left("a statement", "prepare left_here as select 1"),
    _left("a channel", "listen left_here"),
    _left(
        "the pooler's own statement, replaced",
        (
            "set app.mark = 'left'",
            "deallocate pgweir_set",
            "prepare pgweir_set (text, text) as select $2",
            "deallocate pgweir_statements",
            "prepare pgweir_statements as select 1 where false",
        ),
        startup={"application_name": "left"},
    ),
    _left("an open transaction", "begin; set app.mark = 'left'; create temp table left_here (a int)"),
    _left("DO", "do $$ begin perform set_config('app.mark', 'left', false); end $$"),
    _left("DO, a ceiling", "do $$ begin perform set_config('work_mem', '1GB', false); end $$"),
    _left("DO, a temporary table", "do $$ begin create temp table left_here (a int); end $$"),
    _left("DO, the time zone", "do $$ begin set time zone 'Asia/Tokyo'; end $$"),
    _left(
        "CALL",
        "call leave()",
        made=(
            "create or replace procedure leave() language plpgsql as "
            "$$ begin set app.mark = 'left'; set work_mem = '64MB'; end $$",
        ),
        known={},
    ),
    _left("query_to_xml", "select query_to_xml('select set_config(''app.mark'', ''left'', false)', true, true, '')"),
    _left("a very long text", "/*" + "x" * 300_000 + "*/ set app.mark = 'left'; set work_mem = '64MB'"),
    _left(
        "a function that exists",
        "select lf()",
        made=(
            "create or replace function lf() returns void language plpgsql as $$ begin set app.mark = 'left'; end $$",
        ),
    ),
    _left(
        "a function that exists, a ceiling",
        "select lf()",
        made=(
            "create or replace function lf() returns void language plpgsql as $$ begin set work_mem = '1GB'; end $$",
        ),
    ),
    _left(
        "a function that exists, a temporary table",
        "select lf()",
        made=(
            "create or replace function lf() returns void language plpgsql as "
            "$$ begin create temp table left_here (a int); end $$",
        ),
    ),
    _left(
        "a function that was just made",
        (
            "create or replace function lg() returns void language plpgsql as $$ begin set app.mark = 'left'; end $$",
            "select lg()",
        ),
    ),
    _left(
        "a FunctionCall",
        Raw(function_call(2078, b"app.mark", b"left", b"f")),
    ),
]
