"""Who a session is to row-level policies, to names without a schema, and to Postgres."""

from .case import CODE_WORDS, MODES, Bound, Case, Raw, function_call, rows

_GROUP = "identity"
_FIXED = dict.fromkeys(MODES, "a function that exists is called by an ordinary statement")
_CALL = "set_config('app.tenant_id', 'theirs', false)"

CASES = [
    *rows(
        _GROUP,
        {
            "SET": "set app.tenant_id = 'theirs'",
            "SET LOCAL": "set local app.tenant_id = 'theirs'",
            "SET, capitals": "set APP.TENANT_ID to theirs",
            "SET, quoted": "set \"app\".\"tenant_id\" = 'theirs'",
            "SET, quoted as one": "set \"app.tenant_id\" = 'theirs'",
            "SET, escapes": "set U&\"app\".U&\"tenant\\005Fid\" = 'theirs'",
            "set_config": f"select {_CALL}",
            "set_config in a WITH of the statement": f"with x as materialized (select {_CALL}) "
            "select 'SAW ' || tenant from x, ledger",
            "set_config, bound": Bound("select set_config('app.tenant_id', $1, false)", ("theirs",)),
            "set_config, the name bound": Bound("select set_config($1, 'theirs', false)", ("app.tenant_id",)),
            "set_config, from rows": (
                "select set_config(n, v, false) from (values ('app.tenant_id', 'theirs')) x (n, v)"
            ),
            "a FunctionCall": Raw(function_call(2078, b"app.tenant_id", b"theirs", b"f")),
            "query_to_xml": (
                "select query_to_xml('select set_config(''app.tenant_id'', ''theirs'', false)', true, true, '')"
            ),
            "UPDATE of pg_settings": (
                "update pg_settings set setting = 'theirs' where name = 'app.tenant_id'",
                {"bites": False},  # it is not shown there
            ),
            "ALTER ROLE": ("alter role current_user set app.tenant_id = 'theirs'", {"bites": False}),
            "a SET clause": (
                (
                    "create or replace function fi() returns setof text language sql set app.tenant_id = 'theirs' as "
                    "$$ select 'SAW ' || tenant from public.ledger $$",
                    "select fi()",
                ),
                {"bites": False},  # Postgres takes parameters of extensions there from superusers only
            ),
            "a function": (
                (
                    "create or replace function fi() returns setof text language plpgsql as "
                    "$$ begin set app.tenant_id = 'theirs'; return query select 'SAW ' || tenant from ledger; end $$",
                    "select fi()",
                ),
                {"known": CODE_WORDS},
            ),
            "DO": (f"do $$ begin perform {_CALL}; end $$", {"known": CODE_WORDS}),
            "DO, for the transaction": (
                "do $$ begin perform set_config('app.tenant_id', 'theirs', true); end $$",
                {"known": CODE_WORDS},
            ),
            "CALL": (
                (
                    "create or replace procedure pi2() language plpgsql as "
                    "$$ begin set app.tenant_id = 'theirs'; end $$",
                    "call pi2()",
                ),
                {"known": CODE_WORDS},
            ),
        },
        judge="ledger",
    ),
    Case(
        _GROUP,
        "a function that exists",
        "select fx()",
        judge="ledger",
        made=("create or replace function fx() returns text language sql as $$ select " + _CALL + " $$",),
        known=_FIXED,
    ),
    *rows(
        _GROUP,
        {
            "the path": "set search_path = theirs",
            "the path for the transaction": "set local search_path = theirs",
            "the path by SET SCHEMA": "set schema 'theirs'",
            "the path by set_config": "select set_config('search_path', 'theirs', false)",
            "the path, in front of what is": "set search_path = theirs, mine",
            "the path by DO": ("do $$ begin set search_path = theirs; end $$", {"known": CODE_WORDS}),
            "the path by ALTER ROLE": ("alter role current_user set search_path = theirs", {"bites": False}),
        },
        judge="path",
    ),
    *rows(
        _GROUP,
        {
            "the role, none": "set role none",
            "the role, none for the transaction": "set local role none",
            "the role, by its name": "set role {role}",
            "the role, as a string": "set session role 'none'",
            "the role, RESET": ("reset role", {"bites": False}),
            # Postgres gives the role back then, since 15.9.
            "the role, RESET of who logged in": ("reset session authorization", {"bites": False}),
            "the role, TO DEFAULT of who logged in": ("set session authorization default", {"bites": False}),
            "the role, who logged in": "set session authorization {role}",
            "the role, who logged in, locally": ("set local session authorization default", {"bites": False}),
            "the role, set_config": "select set_config('role', 'none', false)",
            "the role, set_config of who logged in": "select set_config('session_authorization', '{role}', false)",
            "the role, DISCARD ALL": ("discard all", {"bites": False}),
            "the role, RESET ALL": ("reset all", {"bites": False}),
            "the role, DO": ("do $$ begin set role none; end $$", {"known": CODE_WORDS}),
            "the role, DO, who logged in": (
                "do $$ begin set session authorization default; end $$",
                {"bites": False},
            ),
        },
        judge="role",
    ),
]
