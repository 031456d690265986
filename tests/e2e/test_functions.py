"""Functions of the users' own that change the session: what they leave follows its client and reaches nobody
else, however they are called."""

import unittest

import psycopg

from harness import PgweirCase, Wire
from harness.machine import wait_until
from harness.wire import bind, execute, message, sync

TIER = {"pool_size": 1, "max_server_connections": 1, "max_clients": 100, "max_pinned_clients": 100}

SCHEMA = """
    create function become(who text) returns text language plpgsql as
        $$ begin return set_config('app.who', who, false); end $$;
    create function for_now(who text) returns text language sql as
        $$ select set_config('app.who', who, true) $$;
    create function set_any(name text, value text) returns text language sql as
        $$ select set_config(name, value, false) $$;
    create function caller() returns text language sql as $$ select become('by caller') $$;
    create function "Quoted"() returns text language sql as $$ select become('quoted') $$;
    create function standard() returns text begin atomic select become('atomic'); end;
    create function built(what text) returns void language plpgsql as
        $$ begin execute 'set ' || what; end $$;
    create function scratch() returns void language plpgsql as
        $$ begin create temp table if not exists scratch_rows (i int); end $$;
    create function lock_it() returns void language plpgsql as $$ begin perform pg_advisory_lock(7); end $$;
    create function let_go() returns bool language sql as $$ select pg_advisory_unlock(7) $$;
    create table watched (id int);
    create function on_insert() returns trigger language plpgsql as
        $$ begin perform become('by trigger'); return new; end $$;
    create trigger t before insert on watched for each row execute function on_insert();
    create view seen as select become('by view');
    create view sets as select set_config('app.who', 'by what a view keeps', false);
    create view over_sets as select * from sets;
    create table kept (who text default set_config('app.who', 'by default', false), n int);
    create table checked (n int check (set_config('app.who', 'by check', false) <> ''));
    create domain name_of as text check (value <> set_config('app.who', 'by domain', false));
    create type pair as (who name_of, n int);
    create table ruled (n int);
    create rule r as on insert to ruled do also select set_config('app.who', 'by rule', false);
    create table guarded (n int);
    insert into guarded values (1);
    alter table guarded enable row level security, force row level security;
    create policy p on guarded using (set_config('app.who', 'by policy', false) <> '');
    create table quiet (n int);
    create trigger w before update on quiet for each row
        when (set_config('app.who', 'by condition', false) <> '')
        execute function suppress_redundant_updates_trigger();
    create aggregate gathered(text, boolean) (sfunc = set_config, stype = text, initcond = 'app.who');
    create function by_argument(who text default set_config('app.who', 'by argument', false))
        returns text language sql as $$ select who $$;
    create view settings as select * from pg_settings;
    create view locks as select pg_try_advisory_lock(7);
    create schema apart;
    create view apart.seen_apart as select become('by schema');
    create table plain (id int);
    create function harmless(n int) returns int language plpgsql as
        $$ begin
             update plain
             set id = n; return n; end $$;
"""


class Functions(PgweirCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")

    def setUp(self):
        # Each test has a pool of its own: one server, which all its clients share.
        self.database = f"db_{self._testMethodName}"
        self.postgres.create_database(self.database, owner="app")
        self.postgres.sql("set role app;" + SCHEMA, self.database)
        self.weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"narrow": TIER},
                "tenants": {self.database: {"tier": "narrow", "backend": "main", "database": self.database}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        # A busy machine may take longer to read them than anybody is kept waiting.
        with self.connect() as probe:
            wait_until(lambda: self.value(probe, "select become('read')") and self.who(probe), what="functions read")
        self.mine, self.other = self.connect(), self.connect()

    def connect(self, **options):
        connection = self.weir.connect(self.database, "app", **{"autocommit": True, **options})
        self.addCleanup(connection.close)
        return connection

    def value(self, connection, sql, parameters=None, **options):
        return connection.execute(sql, parameters, **options).fetchone()[0]

    def who(self, connection):
        return self.value(connection, "select current_setting('app.who', true)") or None

    def assert_pinned(self, *expected):
        """A client has its answer before Postgres has said what is left."""

        def pinned():
            names, rows = self.weir.console("show pinned_clients")
            return [row[names.index("pins")] for row in rows]

        wait_until(lambda: pinned() == list(expected), what=f"pins {expected}")

    def assert_mine_only(self, who):
        self.assertEqual(self.who(self.other), None, "the other client has it")
        self.assertEqual(self.who(self.mine), who)
        self.assertEqual(self.who(self.other), None, "the other client has it")
        self.assert_pinned()

    def test_a_setting_follows_its_client(self):
        self.assertEqual(self.value(self.mine, "select become('me')"), "me")
        self.assert_mine_only("me")
        self.value(self.other, "select become('other')")
        self.assertEqual(self.who(self.mine), "me")
        self.assertEqual(self.who(self.other), "other")

    def test_a_setting_by_a_prepared_statement(self):
        for _ in range(3):
            self.value(self.mine, "select become(%s)", ["me"], prepare=True)
            self.assert_mine_only("me")
            self.mine.execute("reset app.who")

    def test_by_ways_around(self):
        for text, who in (
            ("select caller()", "by caller"),
            ('select "Quoted"()', "quoted"),
            ("select standard()", "atomic"),
            ("insert into watched values (1)", "by trigger"),
            ("table seen", "by view"),
            ("do $$ begin perform become('in do'); end $$", "in do"),
            ("do $$ begin execute 'select become(''in execute'')'; end $$", "in execute"),
            ("do $$ begin create function newest() returns text language sql as 'select become(''newest'')';"
             " perform newest(); drop function newest(); end $$", "newest"),
            ("with a as (select PUBLIC.Become('in cte')) select * from a", "in cte"),
        ):
            with self.subTest(text):
                self.mine.execute(text)
                self.assert_mine_only(who)
                self.mine.execute("reset app.who")

    def test_what_expressions_that_are_kept_call_reaches_nobody_else(self):
        # Of these pg_depend knows nothing, so what they set is not told: it lasts for the transaction.
        self.mine = self.connect(prepare_threshold=None)  # it discards all
        for text in (
            "table sets",
            "table over_sets",
            "insert into kept (n) values (1)",
            "insert into checked values (1)",
            "select 'x'::name_of",
            "select '(x,1)'::pair",
            "insert into ruled values (1)",
            "select count(*) from guarded",
            "insert into quiet values (1); update quiet set n = 2",
            "select gathered('by aggregate', false)",
            "select by_argument()",
            "select schema_to_xml('apart', true, true, '')",
            "select table_to_xml('apart.seen_apart', true, true, '')",
        ):
            with self.subTest(text), self.mine.transaction():
                self.mine.execute(text)
                self.assertNotEqual(self.who(self.mine), None)
            with self.subTest(text):
                self.assertEqual(self.who(self.other), None, "the other client has it")
                self.mine.execute("discard all")
        default = self.value(self.other, "show work_mem")
        self.mine.execute("update settings set setting = 99 where name = 'work_mem'")
        self.assertEqual(self.value(self.other, "show work_mem"), default)
        self.value(self.mine, "select * from locks")
        self.assert_pinned("lock")
        self.mine.execute("select pg_advisory_unlock_all()")
        self.assert_pinned()

    def test_a_parameter_of_a_type_that_runs_code(self):
        for name in ("name_of", "pair", "name_of[]"):
            value = {"name_of": "x", "pair": "(x,1)", "name_of[]": "{x}"}[name]
            oid = int(self.postgres.sql(f"select '{name}'::regtype::oid", self.database)[0][0])
            types = b"\0\1" + oid.to_bytes(4, "big")
            for statement in ("", "s_" + str(oid)):
                with self.subTest(name, statement=statement), Wire(self.weir.port) as wire:
                    wire.login("app", self.database)
                    wire.send(
                        message(b"P", statement.encode() + b"\0select $1\0" + types),
                        bind(statement, values=(value,)),
                        execute(),
                        sync(),
                    )
                    self.assertNotIn(b"E", [kind for kind, _ in wire.until_ready()])
                    self.assertEqual(self.who(self.other), None, "the other client has it")

    def test_what_code_from_elsewhere_leaves_does_not_stay(self):
        self.postgres.sql(
            "set role app; create function elsewhere() returns void language plpgsql as"
            " $$ begin perform set_config('app.who', 'unknown', false);"
            " create temp table left_over (i int); end $$",
            self.database,
        )
        with self.connect() as passer_by:
            passer_by.execute("select elsewhere()")
        left = "select to_regclass('left_over')"
        self.assertEqual(self.value(self.other, left), "left_over", "it is known already")
        # It is found out within half a minute of use.
        wait_until(lambda: self.value(self.other, left) is None, seconds=60, pause=1)
        self.assertEqual(self.who(self.other), None)

    def test_made_by_a_client_in_a_database_without_code(self):
        self.postgres.create_database("bare", owner="app")
        weir = self.pgweir(
            {"tiers": {"narrow": TIER}, "tenants": {"bare": {"tier": "narrow", "backend": "main", "database": "bare"}}},
            users={"app": "s3cret", "admin": "adm1n"},
        )
        options = {"autocommit": True, "prepare_threshold": None}
        with weir.connect("bare", "app", **options) as mine, weir.connect("bare", "app", **options) as other:
            for kind, name in (("view v as", "table v"), ("table t as select 1; create view w as", "table w")):
                mine.execute(f"create {kind} select set_config('app.who', 'left behind', false)")
                mine.execute(name)
                self.assertEqual(self.who(other), None)

    def test_rolled_back(self):
        self.value(self.mine, "select become('kept')")
        with self.assertRaises(psycopg.errors.DivisionByZero), self.mine.transaction():
            self.value(self.mine, "select become('lost')")
            self.mine.execute("select 1/0")
        self.assert_mine_only("kept")

    def test_for_the_transaction_only(self):
        with self.mine.transaction():
            self.value(self.mine, "select for_now('now')")
            self.assertEqual(self.who(self.mine), "now")
        self.assert_mine_only(None)

    def test_names_that_cannot_be_told_last_for_the_transaction(self):
        for text in ("select set_any('app.who', 'x')", "select built('app.who = 1')"):
            with self.subTest(text), self.mine.transaction():
                self.mine.execute(text)
                self.assertIn(self.who(self.mine), ("x", "1"))
            self.assert_mine_only(None)

    def test_what_is_made_at_run_time_reaches_nobody_else(self):
        for made in (
            "format('create temp table %I (i int)', 'left_' || 'over')",
            "'select pg_advisory_' || 'lock(9)'",
            "format('%s app.who = 1', 'set')",
            "'prepare left_over as ' || 'select 1'",
            "'listen ' || 'left_over'",
            "'declare left_over cursor with hold for ' || 'select 1'",
        ):
            # The only server is cleaned, or its client keeps it, before anybody else has it.
            with self.subTest(made), self.connect(prepare_threshold=None) as one:
                one.execute(f"do $$ begin execute {made}; end $$")
                one.execute("discard all")
                for sql in (
                    "select to_regclass('left_over')",
                    "select min(pid) from pg_locks where locktype = 'advisory'",
                    "select nullif(current_setting('app.who', true), '')",
                    "select min(name) from pg_prepared_statements where from_sql",
                    "select min(c) from pg_listening_channels() c",
                    "select min(name) from pg_cursors where name = 'left_over'",
                ):
                    self.assertEqual(self.value(self.other, sql), None, sql)

    def test_a_temporary_table_keeps_the_server(self):
        self.mine.execute("select scratch()")
        self.mine.execute("insert into scratch_rows values (1)")
        self.assert_pinned("temp")
        self.mine.execute("drop table scratch_rows")
        self.assert_pinned()
        self.assertEqual(self.value(self.other, "select to_regclass('scratch_rows')"), None)

    def test_an_advisory_lock_keeps_the_server(self):
        self.mine.execute("select lock_it()")
        self.assert_pinned("lock")
        self.assertTrue(self.value(self.mine, "select let_go()"))
        self.assert_pinned()

    def test_functions_made_meanwhile(self):
        self.assertEqual(self.who(self.other), None)
        self.mine.execute(
            "create function fresh() returns text language sql as $$ select set_config('app.who', 'fresh', false) $$"
        )
        self.value(self.mine, "select fresh()")
        self.assert_mine_only("fresh")
        self.mine.execute("reset app.who")
        # In the transaction that makes it, its effect lasts no longer.
        with self.mine.transaction():
            self.mine.execute(
                "create or replace function fresher() returns text language sql as"
                " $$ select set_config('app.who', 'fresher', false) $$"
            )
            self.value(self.mine, "select fresher()")
        self.assert_mine_only(None)
        self.mine.execute(
            "do $$ begin execute 'create function freshest() returns text language sql as"
            " ''select set_config(''''app.who'''', ''''freshest'''', false)'''; end $$"
        )
        self.value(self.mine, "select freshest()")
        self.assert_mine_only("freshest")

    def test_a_statement_prepared_before_its_function_changed(self):
        self.mine.execute("create function late() returns text language sql as $$ select 'x' $$")
        for _ in range(2):
            self.value(self.mine, "select late()", prepare=True)
        self.other.execute(
            "create or replace function late() returns text language sql as"
            " $$ select set_config('app.who', 'late', false) $$"
        )
        self.value(self.mine, "select late()", prepare=True)
        self.assert_mine_only("late")

    def test_a_server_is_cleaned_behind_those_functions_only(self):
        kept = "select count(*) from pg_prepared_statements where name like 'pgweir%'"
        self.value(self.mine, "select 1", prepare=True)
        before = self.value(self.mine, kept)
        self.assertGreater(before, 0)
        self.value(self.mine, "select harmless(1)")
        self.value(self.mine, "insert into plain values (1) returning id")
        self.assertEqual(self.value(self.mine, kept), before)
        self.mine.execute("select built('app.who = 1')")
        self.assertEqual(self.value(self.mine, kept), 0)

    def test_ways_that_are_made_later(self):
        mark = "perform set_config('app.who', 'leaked', false);"
        self.postgres.sql(
            "set role app;"
            f"create function mark(int) returns int immutable language plpgsql as $$ begin {mark} return 1; end $$;"
            f"create function holds(int) returns bool language plpgsql as $$ begin {mark} return true; end $$;"
            f"create function apart_of(int, int) returns float8 immutable language plpgsql as"
            f" $$ begin {mark} return $1 - $2; end $$;"
            f"create function fires() returns trigger language plpgsql as"
            f" $$ begin {mark} return coalesce(new, old); end $$;"
            f"create function \"-x\"() returns int language plpgsql as $$ begin {mark} return 1; end $$;"
            f"create function \"a\"\"b\"() returns int language plpgsql as $$ begin {mark} return 1; end $$;"
            "create domain held as int check (holds(value)); create type span as range (subtype = held);"
            "create type wide as range (subtype = int, subtype_diff = apart_of);"
            "create table based (a held); create view looked as select mark(1) as a;"
            "create table child (a int); create trigger t before insert or update or delete on child"
            " for each row execute function fires();"
            "create table parts (a int) partition by range (mark(a));"
            "create table part partition of parts for values from (0) to (10)",
            self.database,
        )
        self.mine = self.connect(prepare_threshold=None)
        for made, text in (
            ("create function by_sign() returns int language plpgsql as 'begin return \"-x\"(); end'", "select by_sign()"),
            ('create function by_quote() returns int language plpgsql as \'begin return "a""b"(); end\'',
             "select by_quote()"),
            ("create table indexed (a int); create index on indexed (mark(a))", "insert into indexed values (1)"),
            ("alter table indexed rename to renamed", "insert into renamed values (1)"),
            ("alter view looked rename to looked_at", "table looked_at"),
            ("create table column_of (a held)", "insert into column_of values (1)"),
            ("create table changed (a int); alter table changed alter a type held", "insert into changed values (1)"),
            ("create table many (a held[])", "insert into many values ('{1}')"),
            ("create table spans (a span)", "insert into spans values ('[1,2]')"),
            ("create table rows_of (a based)", "insert into rows_of values ('(1)')"),
            ("create table wides (a wide); create index on wides using gist (a)",
             "insert into wides select wide(g, g + 5) from generate_series(1, 2000) g"),
            ("create table above (a int); alter table child inherit above; insert into child values (1)",
             "update above set a = 2"),
            ("alter table child no inherit above; create table keys (a int primary key); insert into keys values (2);"
             "alter table child add foreign key (a) references keys on delete cascade", "delete from keys"),
            ("select 1", "insert into part values (1)"),
            ("select 1", "select '{1}'::_held"),
            ("select 1", "select '[1,2]'::span"),
            ("select 1", "select range_in('[1,2]', (select oid from pg_type where typname = chr(115) || 'pan'), -1)"),
        ):
            with self.subTest(text):
                self.mine.execute(made)
                self.mine.execute("discard all")
                self.mine.execute(text)
                self.assertEqual(self.who(self.other), None, "the other client has it")
                self.mine.execute("discard all")

    def test_what_upkeep_runs(self):
        self.mine = self.connect(prepare_threshold=None)
        self.mine.execute(
            "create function locks_it(int) returns int immutable language plpgsql as"
            " $$ begin perform pg_advisory_lock(1); return 1; end $$;"
            "create table kept_up as select generate_series(1, 10) a; create index on kept_up (locks_it(a));"
            "create index bri on kept_up using brin (locks_it(a)) with (pages_per_range = 1);"
            "create function temporarily() returns void language plpgsql set search_path = pg_temp as"
            " $$ begin create table ghost (a int); end $$;"
            "create function holding() returns void language sql as"
            " $$ declare held cursor with hold for select 42 $$"
        )
        self.mine.execute("discard all")
        for text in ("analyze", "reindex schema public", "select temporarily()", "select holding()"):
            with self.subTest(text), self.connect(prepare_threshold=None) as one:
                one.execute(text)
                wait_until(lambda: len(self.weir.console("show pinned_clients")[1]) == 1, what="a pin")
                one.execute("discard all")
            for sql in (
                "select min(pid) from pg_locks where locktype = 'advisory'",
                "select to_regclass('pg_temp.ghost')",
                "select min(name) from pg_cursors where is_holdable",
            ):
                self.assertEqual(self.value(self.other, sql), None, sql)

    def test_what_another_role_holds_or_makes(self):
        self.postgres.create_user("neighbour", "n")
        self.postgres.sql(
            "create schema theirs authorization neighbour; set role neighbour;"
            "create function theirs.run(int, int) returns int language plpgsql as"
            " $$ declare n int; begin execute 'select ' || $1 into n; return n; end $$;"
            "create operator theirs.#+# (leftarg = int, rightarg = int, function = theirs.run);"
            'create function theirs."insert"() returns int language plpgsql as'
            " $$ declare n int; begin execute 'select 1' || '' into n; return n; end $$;"
            "create table theirs.x (a int); create function theirs.counts() returns bigint language sql"
            " begin atomic; select count(*) from theirs.x; end",
            self.database,
        )
        with self.postgres.connect(self.database, autocommit=False) as holder:
            holder.execute("lock table theirs.x in access exclusive mode")
            kept = "select count(*) from pg_prepared_statements where name like 'pgweir%'"
            for _ in range(2):
                self.mine.execute("create or replace function changed() returns int language sql as 'select 1'")
                self.assertEqual(self.value(self.mine, "select become('me')"), "me")
                self.assertEqual(self.who(self.other), None)
            self.value(self.mine, "select 1 + 1", prepare=True)
            before = self.value(self.mine, kept)
            self.mine.execute("insert into plain values (1)")
            self.assertEqual(self.value(self.mine, kept), before, "the server was cleaned")
            self.assertNotIn("cannot be read", self.weir.log())

    def test_where_they_cannot_be_read(self):
        self.postgres.sql("revoke select on pg_trigger from public", self.database)
        weir = self.pgweir(
            {
                "tiers": {"narrow": {**TIER, "max_pinned_clients": 1}},
                "tenants": {self.database: {"tier": "narrow", "backend": "main", "database": self.database}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        options = {"autocommit": True, "prepare_threshold": None}
        with weir.connect(self.database, "app", **options) as mine, weir.connect(
            self.database, "app", **options
        ) as other:
            for text in ("select become('left behind')", "insert into watched values (1)", "table seen"):
                with self.subTest(text):
                    mine.execute(text)
                    self.assertEqual(self.who(other), None)
            # What a text itself shows is followed all the same.
            mine.execute("select set_config('app.who', 'mine', false)")
            self.assertEqual((self.who(mine), self.who(other)), ("mine", None))
            mine.execute("discard all")
            self.assertEqual(weir.log().count('"message":"functions of users cannot be read'), 1)
        self.postgres.sql("grant select on pg_trigger to public", self.database)

    def test_what_names_nothing_is_not_refused(self):
        self.mine.execute("create function add_up(int, int) returns int language plpgsql as"
                          " $$ declare n int; begin execute 'select ' || $1 + $2 into n; return n; end $$")
        self.mine.execute("create operator @+@ (leftarg = int, rightarg = int, function = add_up)")
        weir = self.pgweir(
            {
                "tiers": {"narrow": {**TIER, "max_pinned_clients": 0}},
                "tenants": {self.database: {"tier": "narrow", "backend": "main", "database": self.database}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        with weir.connect(self.database, "app", autocommit=True, prepare_threshold=None) as mine:
            self.assertEqual(self.value(mine, "select 1 @+@ 2"), 3)
            self.assertEqual(self.value(mine, "select count(*) from plain"), 0)
            with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
                mine.execute("select add_up(1, 2)")

    def test_switched_off(self):
        weir = self.pgweir(
            {
                "pool": {"read_functions": False},
                "tiers": {"narrow": TIER},
                "tenants": {self.database: {"tier": "narrow", "backend": "main", "database": self.database}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        options = {"autocommit": True, "prepare_threshold": None}
        with weir.connect(self.database, "app", **options) as mine:
            mine.execute("select become('left behind')")
            with weir.connect(self.database, "app", **options) as other:
                self.assertEqual(self.who(other), "left behind")


if __name__ == "__main__":
    unittest.main()
