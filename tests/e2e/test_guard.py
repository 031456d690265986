"""pgweir_guard: no route leads an ordinary role above its ceilings, and who keeps below them notices nothing.

Built into a scratch directory and loaded from there by its whole path; nothing is installed. Each test stands
for a route that was tried on a Postgres without the module, where it works.
"""

import shutil
import struct
import unittest
from pathlib import Path

import psycopg

from harness import TRUST, PgweirCase, Wire, machine, pg_program
from harness.wire import first_error, message, startup

SOURCE = Path(__file__).parents[2] / "packaging" / "postgres" / "pgweir_guard"
CEILINGS = "work_mem=4MB, statement_timeout=10s, lock_timeout = 5s, temp_buffers=8MB, hash_mem_multiplier=1.5, "
CEILINGS += "max_parallel_workers_per_gather=1, temp_file_limit=64MB"
ABOVE = {
    "work_mem": ["4097", "'1GB'", "'0x1001'", "5e3"],
    "statement_timeout": ["10001", "'1h'", "0", "'0.4ms'"],
    "lock_timeout": ["0", "'6s'"],
    "hash_mem_multiplier": ["1.6", "1000"],
    "max_parallel_workers_per_gather": ["2", "1024"],
}
EACH_ABOVE = [(name, value) for name, values in ABOVE.items() for value in values]


def build():
    """The path of the module, made by PGXS outside of the source tree."""
    place = machine.scratch("guard")
    for name in ("Makefile", "pgweir_guard.c"):
        shutil.copy(SOURCE / name, place / name)
    flags = ["with_llvm=no", f"PG_CONFIG={pg_program('pg_config')}", "PG_CFLAGS=-Wall -Wshadow -Werror"]
    done = machine.run(["make", "-C", place, *flags])
    if done.returncode != 0:
        raise AssertionError(f"pgweir_guard was not built:\n{done.stdout}{done.stderr}")
    return place / "pgweir_guard.so"


class Guard(PgweirCase):
    @classmethod
    def setUpClass(cls):
        cls.module = build()
        cls.postgres_options = {"hba": TRUST, "settings": {"session_preload_libraries": str(cls.module)}}
        super().setUpClass()
        cls.postgres.sql(
            f"""
            create role tenant login;
            alter role tenant set pgweir_guard.ceilings = '{CEILINGS}';
            create role free login;
            create role stranger;
            grant stranger to tenant;
            """
        )
        cls.postgres.create_database("acme", owner="tenant")

    def tenant(self, **options):
        # DISCARD ALL takes away what the driver prepares.
        connection = self.postgres.connect("acme", "tenant", prepare_threshold=None, **options)
        self.addCleanup(connection.close)
        return connection

    def refused(self, connection, text, *codes, parameters=None):
        with self.assertRaises(psycopg.Error, msg=text) as caught:
            connection.execute(text, parameters)
        self.assert_sqlstate(caught.exception, *(codes or ("22023",)))

    def value(self, connection, name):
        return connection.execute("select current_setting(%s)", (name,)).fetchone()[0]

    # --- what a session begins with

    def test_a_session_begins_at_its_ceilings_where_the_defaults_lie_above(self):
        tenant = self.tenant()
        shown = {name: self.value(tenant, name) for name in ABOVE}
        expected = {
            "work_mem": "4MB",
            "statement_timeout": "10s",
            "lock_timeout": "5s",
            "hash_mem_multiplier": "1.5",
            "max_parallel_workers_per_gather": "1",
        }
        self.assertEqual(shown, expected)
        self.assertEqual(self.value(tenant, "temp_file_limit"), "64MB")
        for reset in ("reset all", "discard all", "set work_mem to default", "reset statement_timeout"):
            tenant.execute(reset)
            self.assertEqual({name: self.value(tenant, name) for name in ABOVE}, expected, reset)

    def test_what_a_superuser_or_a_database_sets_too_high_is_lowered(self):
        self.postgres.sql("alter role tenant set work_mem = '1GB'; alter database acme set lock_timeout = 0")
        self.addCleanup(self.postgres.sql, "alter role tenant reset work_mem; alter database acme reset lock_timeout")
        tenant = self.tenant()
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")
        self.assertEqual(self.value(tenant, "lock_timeout"), "5s")
        tenant.execute("reset all")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")

    def test_lower_values_of_role_and_database_hold(self):
        self.postgres.sql("alter role tenant set work_mem = '1MB'")
        self.addCleanup(self.postgres.sql, "alter role tenant reset work_mem")
        tenant = self.tenant()
        self.assertEqual(self.value(tenant, "work_mem"), "1MB")
        tenant.execute("set work_mem = '4MB'; reset work_mem")
        self.assertEqual(self.value(tenant, "work_mem"), "1MB")

    def test_a_file_that_is_read_again_lifts_nothing(self):
        tenant = self.tenant()
        self.postgres.sql("alter system set work_mem = '2GB'")
        self.addCleanup(self.postgres.sql, "select pg_reload_conf()")
        self.addCleanup(self.postgres.sql, "alter system reset work_mem")
        self.postgres.sql("select pg_reload_conf()")
        fresh = self.postgres.connect("acme", "free")
        self.addCleanup(fresh.close)
        machine.wait_until(lambda: self.value(fresh, "work_mem") == "2GB", what="reload")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")
        tenant.execute("reset work_mem")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")

    # --- routes

    def test_set(self):
        tenant = self.tenant()
        for name, value in EACH_ABOVE:
            with self.subTest(name=name, value=value):
                self.refused(tenant, f"set {name} = {value}")
                self.refused(tenant, f"set session {name} to {value}")
                self.refused(tenant, f"begin; set local {name} = {value}")
                tenant.execute("rollback")

    def test_spellings_of_set(self):
        tenant = self.tenant()
        for text in (
            'SET "work_mem" = \'1GB\'',
            "set WORK_MEM=E'\\x31GB'",
            "set U&\"work\\005Fmem\" = '1GB'",
            "set/*/*x*/*/work_mem/**/to--\r'1GB'",
            "set sort_mem = '1GB'",
            "set work_mem = 1073741.8",
            "set standard_conforming_strings = off; set work_mem = '1\\GB'",
        ):
            with self.subTest(text=text):
                self.refused(tenant, text)

    def test_set_config_wherever_an_expression_stands(self):
        tenant = self.tenant()
        call = "set_config('work_mem', '1GB', false)"
        for text in (
            f"select {call}",
            f"with x as materialized (select {call}) select * from x",
            f"select * from {call}",
            f"select 1 limit length({call})",
            f"explain analyze select {call}",
            f"declare c cursor with hold for select {call}",
            f"prepare p as select {call}; execute p",
            f"create view v as select {call}; select * from v",
            f"create temp table t (a text default {call}); insert into t default values",
            f"create domain d as text check (value <> {call}); select 'x'::d",
            f"do $$ begin perform {call}; end $$",
            f"select query_to_xml($$select {call}$$, true, true, '')",
            f"select ts_stat($$select to_tsvector({call})$$)",
            "create aggregate a(text, boolean) (sfunc = set_config, stype = text, initcond = 'work_mem'); "
            "select a('1GB', false)",
            "update pg_settings set setting = '1GB' where name = 'work_mem'",
        ):
            with self.subTest(text=text):
                self.refused(tenant, text)
        with self.assertRaises(psycopg.Error) as caught, tenant.cursor() as cursor:
            with cursor.copy(f"copy (select {call}) to stdout") as copy:
                list(copy)
        self.assert_sqlstate(caught.exception, "22023")
        for name, value in EACH_ABOVE:
            with self.subTest(name=name, value=value):
                bound = (name, value.strip("'"))
                self.refused(tenant, "select set_config(%s, %s, true)", parameters=bound)

    def test_function_call_message(self):
        with Wire(self.postgres.port) as wire:
            wire.login("tenant", "acme")
            body = struct.pack("!ihhh", 2078, 1, 0, 3)
            for argument in (b"work_mem", b"1GB", b"f"):
                body += struct.pack("!i", len(argument)) + argument
            wire.send(message(b"F", body + struct.pack("!h", 0)))
            error = first_error(wire.until_ready())
            self.assertEqual(error["C"], "22023")

    def test_functions_with_settings(self):
        tenant = self.tenant()
        tenant.execute("create function f() returns text language sql as $$ select current_setting('work_mem') $$")
        self.refused(tenant, "alter function f() set work_mem = '1GB'")
        self.refused(tenant, "create function g() returns int language sql set statement_timeout = 0 as 'select 1'")
        # Made by a superuser, run by the tenant.
        self.postgres.sql("alter function f() set work_mem = '1GB'", "acme")
        self.refused(tenant, "select f()")
        tenant.execute("alter function f() set work_mem = '1MB'")
        self.assertEqual(tenant.execute("select f()").fetchone()[0], "1MB")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")
        tenant.execute("drop function f()")

    def test_functions_that_set_from_inside(self):
        tenant = self.tenant()
        tenant.execute(
            "create function h() returns void language plpgsql as $$ begin execute 'set work_mem = ''1GB'''; end $$"
        )
        self.refused(tenant, "select h()")
        tenant.execute("create procedure q() language plpgsql as $$ begin set statement_timeout = 0; end $$")
        self.refused(tenant, "call q()")
        tenant.execute("create temp table t (a int)")
        tenant.execute(
            "create function tr() returns trigger language plpgsql as $$ begin perform h(); return new; end $$"
        )
        tenant.execute("create trigger tr before insert on t for each row execute function tr()")
        self.refused(tenant, "insert into t values (1)")

    def test_roles_and_databases(self):
        tenant = self.tenant()
        for text in (
            "alter role current_user set work_mem = '1GB'",
            "alter role tenant in database acme set statement_timeout = 0",
            "alter database acme set work_mem = '1GB'",
            "alter user tenant set hash_mem_multiplier = 2",
        ):
            with self.subTest(text=text):
                self.refused(tenant, text)
        tenant.execute("alter role current_user set work_mem = '2MB'")
        self.assertEqual(self.value(self.tenant(), "work_mem"), "2MB")
        tenant.execute("alter role current_user reset all")
        self.assertEqual(self.value(self.tenant(), "work_mem"), "4MB")

    def test_startup_options(self):
        for options in (
            "-c work_mem=1GB",
            "-cwork_mem=1GB",
            "--work-mem=1GB",
            "-S 262144",
            "-c statement_timeout=0",
            "-c sort_mem=1GB",
            "-c work_mem=64 -c work_mem=5000",
        ):
            with self.subTest(options=options):
                with self.assertRaises(psycopg.OperationalError) as caught:
                    self.tenant(options=options)
                self.assertIn("must not exceed", str(caught.exception))
        self.assertEqual(self.value(self.tenant(options="-c work_mem=1MB"), "work_mem"), "1MB")
        with Wire(self.postgres.port) as wire:
            wire.send(startup("tenant", "acme", WORK_mem="1GB"))
            self.assertEqual(first_error(wire.until_closed())["C"], "22023")

    def test_another_role_lifts_nothing(self):
        tenant = self.tenant()
        tenant.execute("set role stranger")
        self.refused(tenant, "set work_mem = '1GB'")
        self.refused(tenant, "set session authorization postgres", "42501")

    # --- the module itself

    def test_the_ceilings_are_not_the_tenants(self):
        tenant = self.tenant()
        for text in (
            "set pgweir_guard.ceilings = ''",
            "reset pgweir_guard.ceilings",
            "select set_config('pgweir_guard.ceilings', '', false)",
            "alter role current_user set pgweir_guard.ceilings = ''",
            "alter role current_user reset pgweir_guard.ceilings",
            "alter database acme set pgweir_guard.ceilings = ''",
            "alter role current_user set session_preload_libraries = ''",
            "alter database acme set session_preload_libraries = ''",
            "alter system set session_preload_libraries = ''",
        ):
            with self.subTest(text=text):
                self.refused(tenant, text, "42501")
        tenant.execute("alter role current_user reset all")
        tenant.execute("alter database acme reset all")
        tenant.execute("discard all")
        self.refused(tenant, "set work_mem = '1GB'")
        self.refused(self.tenant(), "set work_mem = '1GB'")

    def test_no_startup_packet_goes_before_the_ceilings(self):
        for options in (
            "-c pgweir_guard.ceilings=",
            "-c PGWEIR_guard.Ceilings=work_mem=1GB",
            "-c session_preload_libraries=",
        ):
            with self.subTest(options=options):
                with self.assertRaises(psycopg.OperationalError) as caught:
                    self.tenant(options=options)
                self.assertIn("permission denied", str(caught.exception))

    def test_ceilings_that_cannot_be_read_let_nobody_in(self):
        self.postgres.sql("create role broken login; create role broken2 login")
        # Written where the module is not loaded, or before a version knew better.
        self.postgres.sql(
            "insert into pg_db_role_setting select 0, oid, array['pgweir_guard.ceilings=work_mem=lots'] from pg_roles "
            "where rolname = 'broken'"
        )
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.postgres.connect("acme", "broken")
        self.assertIn("cannot be read", str(caught.exception))
        for text in (
            "work_mem",
            "work_mem=",
            "work_mem=-1",
            "work_mem=64mb",
            "statement_timeout=0",
            "nonsense=1",
            "jit=off",
        ):
            with self.subTest(text=text), self.assertRaises(psycopg.Error) as caught:
                self.postgres.sql(f"alter role broken2 set pgweir_guard.ceilings = '{text}'")
            self.assert_sqlstate(caught.exception, "22023")
        self.postgres.sql("drop role broken, broken2")

    def test_the_script_gives_a_role_its_ceilings(self):
        self.postgres.sql("create role scripted login")
        script = SOURCE / "role.sql"

        def give(ceilings, user="postgres"):
            return machine.run(
                ["psql", "-X", "-q", "-h", self.postgres.socket_dir, "-p", self.postgres.port, "-U", user, "-d", "acme"]
                + ["-v", "role=scripted", "-v", f"ceilings={ceilings}", "-v", "temp_file_limit=32MB", "-f", script]
            )

        done = give("work_mem=2MB")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with self.postgres.connect("acme", "scripted") as scripted:
            self.refused(scripted, "set work_mem = '3MB'")
            self.assertEqual(self.value(scripted, "temp_file_limit"), "32MB")
        for ceilings, user in (("work_mem=lots", "postgres"), ("work_mem=1GB", "free")):
            self.assertEqual(give(ceilings, user).returncode, 3)
        with self.postgres.connect("acme", "scripted") as scripted:
            self.refused(scripted, "set work_mem = '3MB'")
        self.postgres.sql("drop role scripted")

    # --- who is free

    def test_superusers_and_roles_without_ceilings_are_free(self):
        with self.postgres.connect("acme") as superuser:
            superuser.execute("set work_mem = '1GB'")
            superuser.execute("set statement_timeout = 0")
            superuser.execute("alter role free set work_mem = '2GB'")
        with self.postgres.connect("acme", "free") as free:
            self.assertEqual(self.value(free, "work_mem"), "2GB")
            free.execute("set work_mem = '3GB'")
            self.refused(free, "set pgweir_guard.ceilings = ''", "42501")
        self.postgres.sql("alter role free reset work_mem")

    def test_a_superuser_gives_ceilings_to_his_own_session(self):
        with self.postgres.connect("acme") as connection:
            connection.execute("set pgweir_guard.ceilings = 'work_mem=4MB'")
            connection.execute("set work_mem = '8MB'")
            connection.execute("set role free")
            self.refused(connection, "set work_mem = '9MB'")
            connection.execute("set work_mem = '2MB'")

    # --- honest work

    def test_values_below_pass_and_roll_back(self):
        tenant = self.tenant()
        for name, value in (("work_mem", "64kB"), ("statement_timeout", "1ms"), ("hash_mem_multiplier", "1")):
            tenant.execute(f"begin; set {name} = '{value}'; rollback")
            tenant.execute(f"begin; set local {name} = '{value}'; commit")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")
        tenant.execute("begin; set work_mem = '1MB'; savepoint s; set work_mem = '2MB'; rollback to s")
        self.assertEqual(self.value(tenant, "work_mem"), "1MB")
        self.refused(tenant, "set work_mem = '1GB'")
        tenant.execute("rollback")
        self.assertEqual(self.value(tenant, "work_mem"), "4MB")

    def test_a_value_of_a_superuser_is_rolled_back_to(self):
        with self.postgres.connect("acme") as connection:
            connection.execute("set pgweir_guard.ceilings = 'work_mem=4MB'; set work_mem = '8MB'; set role free")
            connection.execute("begin; set work_mem = '1MB'; rollback")
            self.assertEqual(self.value(connection, "work_mem"), "8MB")

    def test_parallel_workers_take_over_what_their_leader_has(self):
        with self.postgres.connect("acme") as connection:
            connection.execute("create table big as select generate_series(1, 200000) a; analyze big")
            connection.execute("grant select on big to public")
            connection.execute("set pgweir_guard.ceilings = 'work_mem=4MB, statement_timeout=10s'")
            connection.execute("set work_mem = '8MB'; set statement_timeout = '1h'; set role free")
            self.in_parallel(connection)
        tenant = self.tenant()
        self.in_parallel(tenant)
        tenant.execute(
            "create function deep() returns int language sql parallel safe set work_mem = '1MB' as 'select 1'"
        )
        self.in_parallel(tenant, "deep()")
        self.postgres.sql("alter function deep() set work_mem = '1GB'", "acme")
        self.refused(tenant, "select count(*) from big where a % 7 = deep()")
        tenant.execute("drop function deep()")

    def in_parallel(self, connection, value="1"):
        for name in ("parallel_setup_cost", "parallel_tuple_cost", "min_parallel_table_scan_size"):
            connection.execute(f"set {name} = 0")
        query = f"explain (analyze, costs off, timing off) select count(*) from big where a % 7 = {value}"
        plan = "\n".join(row[0] for row in connection.execute(query))
        self.assertRegex(plan, r"Workers Launched: [1-9]")

    # --- what a ceiling does

    def test_effects(self):
        tenant = self.tenant()
        tenant.execute("set statement_timeout = '50ms'")
        self.refused(tenant, "select pg_sleep(5)", "57014")
        tenant.execute("reset statement_timeout")
        plan = "\n".join(
            row[0]
            for row in tenant.execute(
                "explain (analyze, costs off) select * from generate_series(1, 200000) g order by g desc"
            )
        )
        self.assertIn("external merge", plan)

    def test_the_cases_bite_without_the_module(self):
        """The same routes with nobody in their way."""
        with self.postgres.connect("acme", "free") as free:
            free.execute("set work_mem = '1GB'")
            free.execute("select set_config('statement_timeout', '0', false)")
            free.execute("create temp table t (a text default set_config('work_mem', '2GB', false))")
            free.execute("insert into t default values")
            self.assertEqual(self.value(free, "work_mem"), "2GB")
        with self.postgres.connect("acme", "free", options="-S 262144") as free:
            self.assertEqual(self.value(free, "work_mem"), "256MB")


class ByShared(PgweirCase):
    def test_shared_preload_is_refused(self):
        module = build()
        self.postgres.stop()
        self.postgres._settings["shared_preload_libraries"] = str(module)
        self.postgres._write_settings()
        self.postgres.start(wait=False)
        self.assertNotEqual(self.postgres.process.wait(30), 0)
        self.postgres.process = None
        self.assertIn("must be loaded by session_preload_libraries", self.postgres.log())


if __name__ == "__main__":
    unittest.main()
