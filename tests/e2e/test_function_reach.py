"""By what ways functions of the users' own are reached, and who else has to do with them: what they leave
reaches nobody else, and those who make them hold up nobody else."""

import unittest

import psycopg

from harness import PgweirCase
from harness.machine import wait_until

TIER = {"pool_size": 1, "max_server_connections": 1, "max_clients": 100, "max_pinned_clients": 100}
MARK = "perform set_config('app.who', 'leaked', false);"
LOCKS = "perform pg_advisory_lock(1);"
LEFT = (
    "select current_setting('app.who', true)",
    "select min(pid) from pg_locks where locktype = 'advisory'",
    "select to_regclass('pg_temp.ghost')",
    "select min(name) from pg_cursors where is_holdable",
)


def function(name, body, arguments="int", returns="int", more="immutable"):
    gives = {"void": "", "trigger": " return coalesce(new, old);", "event_trigger": ""}.get(returns, " return 1;")
    return f"create function {name}({arguments}) returns {returns} {more} language plpgsql as $$ begin {body}{gives} end $$"


class FunctionReach(PgweirCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_user("neighbour", "n")

    def setUp(self):
        self.database = f"db_{self._testMethodName}"
        self.postgres.create_database(self.database, owner="app")
        self.weir = self.start()
        self.mine, self.other = self.connect(), self.connect()

    def start(self, **limits):
        tenant = {"tier": "narrow", "backend": "main", "database": self.database}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"narrow": {**TIER, **limits}},
                "tenants": {self.database: tenant, f"{self.database}_2": {**tenant, "user": "neighbour"}},
            },
            users={"app": "s3cret", "neighbour": "n", "admin": "adm1n"},
        )

    def connect(self, weir=None, tenant=None, user="app", **options):
        options = {"autocommit": True, "prepare_threshold": None, **options}
        connection = (weir or self.weir).connect(tenant or self.database, user, **options)
        self.addCleanup(connection.close)
        return connection

    def value(self, connection, sql, **options):
        return connection.execute(sql, **options).fetchone()[0]

    def leaves_nothing(self, text):
        """What was left keeps the server until its client is gone, and then is cleaned away."""
        with self.connect() as one:
            one.execute(text)
        for sql in LEFT:
            self.assertIn(self.value(self.other, sql), (None, ""), f"{text}: {sql}")

    def test_made_before_or_behind_a_reading(self):
        long, letters = "z" * 63, "é" * 31
        for statement in (
            function("f", MARK),
            function("locks", LOCKS),
            function("fires", MARK, "", "trigger", ""),
            "create function holds(int) returns bool language plpgsql as $$ begin " + MARK + " return true; end $$",
            function('"-x"', MARK, ""),
            function('"a""b"', MARK, ""),
            function(long, MARK, ""),
            function(letters, MARK, ""),
            "create function by_sign() returns int language plpgsql as $$ begin return \"-x\"(); end $$",
            "create function by_quote() returns int language plpgsql as $$ begin return \"a\"\"b\"(); end $$",
            f"create function by_length() returns int language plpgsql as $$ begin return {long}zz(); end $$",
            "create domain held as int check (holds(value))",
            "create domain locked as int check (pg_advisory_lock(5) is not null)",
            "create type span as range (subtype = held)",
            "create table based (a held); create table rows_of (a based); create table many (a held[])",
            "create table rows as select generate_series(1, 10) a; create statistics st on (locks(a)), a from rows",
            "create table parent (id int primary key); create table child (id int references parent);"
            " create trigger t before truncate on child for each statement execute function fires()",
            "create materialized view kept as select f(1) with no data",
            "create table defaulted (a text default set_config('app.who', 'leaked', false))",
        ):
            self.mine.execute(statement)
        self.mine.execute("discard all")
        self.mine.execute("alter materialized view kept rename to kept_2")
        self.mine.execute("alter table defaulted rename to defaulted_2")
        self.mine.execute("create table checked (a locked)")
        for text in (
            "select f(1)",
            "select by_sign()",
            "select by_quote()",
            "select by_length()",
            f"select {letters}éé()",
            "select '{1}'::_held",
            "select '{1}'::_locked",
            "select '[1,2]'::span",
            "insert into many values ('{1}')",
            "insert into rows_of values ('(1)')",
            "insert into checked values (1)",
            "insert into defaulted_2 default values",
            "analyze rows",
            "truncate parent cascade",
            "refresh materialized view kept_2",
        ):
            with self.subTest(text):
                self.leaves_nothing(text)

    def test_by_event_triggers_and_operator_classes(self):
        """Only a superuser makes these, and any client's text fires them."""
        self.postgres.sql(
            function("on_ddl", MARK + LOCKS, "", "event_trigger", "")
            + ";create event trigger on_ddl on ddl_command_end execute function on_ddl();"
            "create function compare(int, int) returns int language plpgsql immutable as $$ begin " + MARK + LOCKS
            + " return $1 - $2; end $$;"
            "create operator class compared for type int using btree as operator 1 <, operator 2 <=, operator 3 =,"
            " operator 4 >=, operator 5 >, function 1 compare(int, int);"
            "create table classed (a int); create index on classed (a compared);"
            "grant all on classed to app; insert into classed values (1)",
            self.database,
        )
        self.weir = self.start()
        self.other = self.connect()
        for text in (
            "create table made (a int)",
            "comment on table made is 'x'",
            "insert into classed values (7), (8)",
            "set enable_seqscan = off; select count(*) from classed where a > 3",
            "drop table made",
        ):
            with self.subTest(text):
                self.leaves_nothing(text)

    def test_a_path_that_makes_tables_temporary(self):
        for name, path in (("a", "pg_temp"), ("b", "'pg_temp', 'public'"), ("c", "nowhere, pg_temp")):
            self.mine.execute(
                f"create function {name}() returns void language plpgsql set search_path = {path} as"
                " $$ begin create table ghost (a int); end $$"
            )
            with self.subTest(path):
                self.leaves_nothing(f"select {name}()")

    def test_in_a_database_of_another_encoding(self):
        self.postgres.sql("create database latin owner app encoding 'LATIN1' locale 'C' template template0")
        self.database = "latin"
        self.weir = self.start()
        self.mine, self.other = self.connect(client_encoding="UTF8"), self.connect(client_encoding="UTF8")
        name = "é" * 40
        self.mine.execute(function(name, MARK, ""))
        self.mine.execute("discard all")
        self.leaves_nothing(f"select {name}()")

    def test_ceilings_behind_what_a_quoted_name_hides(self):
        self.mine.execute(
            "create function \"-raise\"() returns int language plpgsql as"
            " $$ begin set work_mem = '1GB'; return 1; end $$;"
            "create function raises() returns int language plpgsql as $$ begin return \"-raise\"(); end $$"
        )
        weir = self.start(work_mem="8MB")
        with self.connect(weir) as one, self.connect(weir) as two:
            one.execute("select raises()")
            self.assertEqual(self.value(one, "show work_mem"), "8MB")
            self.assertNotEqual(self.value(two, "show work_mem"), "1GB")

    def test_prepared_statements_of_others_are_not_replaced(self):
        self.mine.execute(
            "create function \"-x\"() returns int language plpgsql as $$ declare r record; begin"
            " for r in select name from pg_prepared_statements where statement like '%honest%' loop"
            " execute 'deallocate ' || r.name;"
            " execute 'prepare ' || r.name || ' as select ''evil''::text /* honest */'; end loop; return 1; end $$;"
            "create function hijacks() returns int language plpgsql as $$ begin return \"-x\"(); end $$"
        )
        honest = "select 'honest'::text"
        for _ in range(2):
            self.assertEqual(self.value(self.other, honest, prepare=True), "honest")
        self.mine.execute("select hijacks()")
        self.assertEqual(self.value(self.other, honest, prepare=True), "honest")

    def test_an_operator_of_another_role_refuses_nothing(self):
        weir = self.start(max_pinned_clients=0)
        with self.connect(weir) as one:
            one.execute("select 1 + 1")
            self.postgres.sql(
                "create schema theirs authorization neighbour; set role neighbour;"
                "create function theirs.run(int, int) returns int language plpgsql as"
                " $$ declare n int; begin execute 'select ' || $1 into n; return n; end $$;"
                "create operator theirs.#+# (leftarg = int, rightarg = int, function = theirs.run)",
                self.database,
            )
        with self.connect(self.start(max_pinned_clients=0)) as one:
            kept = "select count(*) from pg_prepared_statements where name like 'pgweir%'"
            self.value(one, "select 1 + 1", prepare=True)
            before = self.value(one, kept)
            self.assertEqual(self.value(one, "select 2 + 3"), 5)
            self.assertEqual(self.value(one, kept), before, "the server was cleaned")

    def test_a_neighbour_who_fills_the_database_with_code(self):
        body = "begin " + "perform x.y(z1234567);" * 400 + " set app.q = 1; return 1; end"
        self.postgres.sql(
            "create schema many authorization neighbour; set role neighbour; set check_function_bodies = off;"
            "do $q$ begin for i in 1..300 loop execute format('create function many.%I() returns int"
            f" language plpgsql as $b${body}$b$', 'function' || i); end loop; end $q$",
            self.database,
        )
        # Volatile: an immutable one may be run when wraps() is planned, and then no more on that server.
        self.mine.execute(function("f", MARK, "", more="volatile"))
        self.mine.execute("create function wraps() returns int language plpgsql as $$ begin return f(); end $$")
        self.mine.execute("discard all")
        self.leaves_nothing("select wraps()")
        # It is known what it does, so that it follows its client.
        self.mine.execute("select wraps()")
        self.assertEqual(self.value(self.mine, LEFT[0]), "leaked")
        self.assertNotIn("cannot be read", self.weir.log())

    def test_what_a_text_does_not_show_asks_for_room(self):
        weir = self.start(max_pinned_clients=0)
        many = ",".join(f"set_config('app.p{i}', 'v', false)" for i in range(300))
        for text in (f"select {many}", "select set_config('app.long', repeat('x', 70000), false)"):
            with self.subTest(text[:40]), self.connect(weir) as one:
                with self.assertRaisesRegex(psycopg.OperationalError, "no room for another pinned client"):
                    one.execute(text)
                    wait_until(lambda: one.execute("select 1") is None, what="the end of the client")
        with self.connect(weir) as one:
            with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded):
                one.execute("set search_path = pg_temp, public")
            self.assertEqual(self.value(one, "select current_setting('app.long', true)") or "", "")
        self.assertEqual(weir.console("show pinned_clients")[1], [])


if __name__ == "__main__":
    unittest.main()
