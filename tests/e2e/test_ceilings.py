"""Ceilings of tiers on a real Postgres: what sessions begin with, what their startup packets may say, and what
a change of plan does to who is connected."""

import json
import random
import subprocess
import time
import unittest
import urllib.request

import psycopg

from harness import TRUST, PgweirCase, Wire, free_port, wait_until
from harness.wire import Closed, error_fields, first_error, flush, query, startup

TIERS = {
    "small": {
        "statement_timeout": "10s",
        "work_mem": "4MB",
        "maintenance_work_mem": "32MB",
        "temp_buffers": "4MB",
        "hash_mem_multiplier": "1.5",
        "max_parallel_workers_per_gather": "1",
        "transaction_timeout": "1min",
        "ceiling.jit": "off",
    },
    "large": {"statement_timeout": "1min", "work_mem": "64MB"},
    "none": {},
}
# Every one of these was tried on Postgres; most are not what they look like.
NUMBERS = "0 1 64 100 1000 4096 4097 010 0200000 0x1000 0X1001 08 010.5 0x1.8 0x1p3 1e3 1e4 1E2 1e 1e+ .5 5. +64 -1 -0 "
NUMBERS += "1.5 2.5 0.4 -0.4 2147483647 2147483648 99999999999999999999 1e400 1e-400 inf nan 1_000 0b11 1,5 abc"
UNITS = ["", " ", "B", "kB", "MB", "GB", "TB", "KB", "mb", "us", "ms", "s", "min", "h", "d", " kB ", "\tmin", "kBx", "m"]


class Ceilings(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(cls.config(), {"app": "s3cret"})

    @staticmethod
    def config(tiers=None, **tenants):
        rows = {name: {"tier": name, "backend": "main", "database": "app"} for name in TIERS}
        marked = {"tier": "large", "backend": "main", "database": "app"}
        marked.update({"inject.app.tenant_id": "{tenant}/{tier}", "inject.search_path": "mine, public"})
        marked.update({"default.timezone": "Asia/Tokyo", "default.work_mem": "1MB"})
        base = {"max_clients": 200, "pool_size": 2, "max_server_connections": 3, "session_mode": True}
        tables = {name: {**base, "statement_timeout": "none", "work_mem": "none", **row} for name, row in TIERS.items()}
        for name, row in (tiers or {}).items():
            tables[name].update(row)
        return {
            "auth": {"method": "trust"},
            "tiers": tables,
            "tenants": {**rows, "marked": marked, "marked2": marked, **tenants},
        }

    def client(self, database, weir=None, **options):
        connection = (weir or self.weir).connect(database, "app", prepare_threshold=None, **options)
        self.addCleanup(connection.close)
        return connection

    @staticmethod
    def shown(connection, *names):
        return [connection.execute("select current_setting(%s, true)", (name,)).fetchone()[0] for name in names]

    # --- servers

    def test_sessions_begin_at_their_ceilings(self):
        small, large, none = (self.client(name) for name in ("small", "large", "none"))
        names = ("statement_timeout", "work_mem", "temp_buffers", "hash_mem_multiplier", "jit")
        self.assertEqual(self.shown(small, *names), ["10s", "4MB", "4MB", "1.5", "off"])
        self.assertEqual(self.shown(large, *names), ["1min", "64MB", "8MB", "2", "on"])
        self.assertEqual(self.shown(none, *names), ["0", "4MB", "8MB", "2", "on"])
        for _ in range(5):  # whichever server they are lent
            self.assertEqual(self.shown(small, "statement_timeout"), ["10s"])
            self.assertEqual(self.shown(large, "statement_timeout"), ["1min"])

    def test_the_way_back_ends_at_the_ceiling(self):
        small = self.client("small")
        for back in ("reset work_mem", "reset all", "set work_mem to default", "discard all"):
            with self.subTest(back=back):
                small.execute("set work_mem = '1MB'")
                self.assertEqual(self.shown(small, "work_mem"), ["1MB"])
                small.execute(back)
                self.assertEqual(self.shown(small, "work_mem"), ["4MB"])

    def test_roles_and_databases_say_less_than_the_tier(self):
        self.postgres.sql("alter role app set work_mem = '1GB'; alter database app set statement_timeout = 0")
        self.addCleanup(self.postgres.sql, "alter role app reset all; alter database app reset all")
        with self.pgweir(self.config(), {"app": "s3cret"}).connect("small", "app") as small:
            self.assertEqual(self.shown(small, "work_mem", "statement_timeout"), ["4MB", "10s"])

    def test_injected_values_and_defaults(self):
        marked, other = self.client("marked"), self.client("marked2")
        names = ("app.tenant_id", "search_path", "timezone", "work_mem")
        self.assertEqual(self.shown(marked, *names), ["marked/large", "mine, public", "Asia/Tokyo", "1MB"])
        self.assertEqual(self.shown(other, "app.tenant_id"), ["marked2/large"])
        self.assertEqual(marked.info.parameter_status("TimeZone"), "Asia/Tokyo")
        asked = self.client("marked", options="-c timezone=UTC -c work_mem=2MB")
        self.assertEqual(self.shown(asked, "timezone", "work_mem"), ["UTC", "2MB"])
        self.assertEqual(self.shown(marked, "timezone", "work_mem"), ["Asia/Tokyo", "1MB"])

    def test_an_effect(self):
        plan = "explain (analyze, costs off) select * from generate_series(1, 200000) g order by g desc"
        for database, expected in (("small", "external merge"), ("large", "quicksort")):
            rows = self.client(database).execute(plan).fetchall()
            self.assertIn(expected, "\n".join(row[0] for row in rows))
        brief = self.client("small", options="-c statement_timeout=100ms")
        with self.assertRaises(psycopg.errors.QueryCanceled):
            brief.execute("select pg_sleep(5)")

    # --- startup packets

    def test_startup_values_above_are_lowered(self):
        for options in (
            "-c work_mem=1GB",
            "-cwork_mem=1GB",
            "--work-mem=1GB",
            "-c WORK_mem=1GB",
            "-S 262144",
            "-S262144",
            "-c sort_mem=1GB",
            "-c work_mem=64kB -c work_mem=5000",
            "-c work_mem=64kB -c sort_mem=5000",
            "-c\twork_mem=1\\GB",
        ):
            with self.subTest(options=options):
                self.assertEqual(self.shown(self.client("small", options=options), "work_mem"), ["4MB"])
        small = self.client("small", options="-c vacuum_mem=1GB -c statement_timeout=0 -c jit=on")
        names = ("maintenance_work_mem", "statement_timeout", "jit")
        self.assertEqual(self.shown(small, *names), ["32MB", "10s", "off"])
        with Wire(self.weir.port) as wire:
            wire.login("app", "small", Work_Mem="1GB")
            self.assertEqual(wire.value("show work_mem"), "4MB")

    def test_startup_values_below_are_kept(self):
        small = self.client("small", options="-c work_mem=1MB -c statement_timeout=5s -c extra_float_digits=2")
        self.assertEqual(self.shown(small, "work_mem", "statement_timeout"), ["1MB", "5s"])
        small.execute("set work_mem = '2MB'")
        small.execute("reset all")
        self.assertEqual(self.shown(small, "work_mem"), ["1MB"])

    def refused(self, database, **parameters):
        with Wire(self.weir.port) as wire:
            wire.send(startup("app", database, **parameters))
            error = first_error(wire.until_closed())
            self.assertIsNotNone(error, f"{database} {parameters} was let in")
            return error["C"]

    def test_startup_values_that_are_refused(self):
        self.assertEqual(self.refused("small", work_mem="much"), "22023")
        self.assertEqual(self.refused("small", work_mem="4mb"), "22023")
        self.assertEqual(self.refused("small", work_mem="1"), "22023")  # by Postgres
        self.assertEqual(self.refused("small", nonsense="1"), "42501")
        self.assertEqual(self.refused("none", nonsense="1"), "42704")  # by Postgres
        self.assertEqual(self.refused("marked", **{"app.tenant_id": "other"}), "42501")
        self.assertEqual(self.refused("marked", **{"APP.Tenant_ID": "other"}), "42501")
        self.assertEqual(self.refused("marked", search_path="theirs"), "42501")
        self.client("marked", options="-c search_path=mine,\\ public")

    def test_options_are_switches_of_postgres(self):
        names = ("datestyle", "enable_seqscan", "enable_hashjoin", "work_mem", "timezone")

        def outcome(port, options):
            with Wire(port) as wire:
                wire.send(startup("app", "app" if port == self.postgres.port else "none", options=options))
                try:
                    wire.until_ready()
                except Closed as closed:
                    return first_error(closed.messages)["C"]
                return [wire.value(f"show {name}") for name in names]

        for options in (
            "-e -c timezone=UTC",
            "-eS 1024",
            "-ec timezone=UTC -fs -f hash",
            "-bEjnT -C x -D y -r z -v 3",
            "-c timezone=UTC --",
            "-- -e",
            "-fx",
            "-tx",
            "-z",
            "-S",
            "x",
            "-e x",
            # Only for superusers.
            "-O",
            "-s",
            "-t pa",
            "-tplan",
            "-te",
            "-d 5",
            "-d x",
            # Not for a session.
            "-B 64",
            "-N 5",
            "-p 5",
            "-h x",
            "-i",
            "-k x",
            "-l",
            "-F",
        ):
            with self.subTest(options=options):
                self.assertEqual(outcome(self.weir.port, options), outcome(self.postgres.port, options))

    # --- spellings: our reading of a value against that of Postgres

    def through(self, weir, name, value):
        """What a session has that asked for it at login, or the SQLSTATE of its refusal."""
        with Wire(weir.port) as wire:
            wire.send(startup("app", "small", **{name: value}))
            while True:
                kind, payload = wire.receive()
                if kind == b"E":
                    return error_fields(payload)["C"]
                if kind == b"Z":
                    break
            return wire.value(f"show {name}")

    def direct(self, connection, name, value):
        try:
            with connection.transaction():
                connection.execute("select set_config(%s, %s, true)", (name, value))
                row = connection.execute("select setting::float8 from pg_settings where name = %s", (name,))
                return row.fetchone()[0]
        except psycopg.Error as error:
            return error.sqlstate

    def test_values_are_read_as_postgres_reads_them(self):
        chance = random.Random(4711)
        ceilings = {"lock_timeout": 5000, "work_mem": 4096, "temp_buffers": 512, "hash_mem_multiplier": 1.5}
        ceilings["max_parallel_workers_per_gather"] = 1
        spellings = [number + unit for number in NUMBERS.split() for unit in UNITS]
        weir = self.pgweir(self.config({"small": {"lock_timeout": "5s"}}), {"app": "s3cret"})
        judged = 0
        with self.postgres.connect("app", "app", prepare_threshold=None) as direct:
            for name, ceiling in ceilings.items():
                for value in chance.sample(spellings, 110):
                    with self.subTest(name=name, value=value):
                        expected = self.direct(direct, name, value)
                        got = self.through(weir, name, value)
                        if isinstance(expected, str):
                            self.assertEqual(got, expected)
                            continue
                        if expected > ceiling or (expected == 0 and name == "lock_timeout"):
                            expected = ceiling
                        self.assertEqual(self.direct(direct, name, got), expected)
                        judged += 1
        self.assertGreater(judged, 60)

    # --- texts

    ROUTES = {
        "set": "set work_mem = '1GB'",
        "set of the session": "set session work_mem to 1048576",
        "set local": "set local work_mem = '1GB'",
        "an old name": "set sort_mem = 1048576",
        "a quoted name": 'set "work_mem" = 1e6',
        "escapes in the name": 'set U&"work!005Fmem" uescape \'!\' = 1048576',
        "comments": "/* /* */ */ set -- x\n work_mem/**/=/**/'1GB'",
        "a string with escapes": "set work_mem = E'1\\x47B'",
        "behind other statements": ";;; select 1; set work_mem = '1GB'",
        "set_config": "select set_config('work_mem', '1GB', false)",
        "set_config, any case": "select PG_CATALOG.\"set_config\"('Work_Mem', '1GB', false)",
        "set_config, dollars": "select set_config('work_mem', $a$1GB$a$, false)",
        "in a with": "with x as (select set_config('work_mem', '1GB', false)) select * from x",
        "in from": "select * from set_config('work_mem', '1GB', false)",
        "in limit": "select 1 limit length(set_config('work_mem', '1GB', false))",
        "in values": "values (set_config('work_mem', '1GB', false))",
        "in explain": "explain analyze select set_config('work_mem', '1GB', false)",
        "in prepare": "prepare p as select set_config('work_mem', '1GB', false); execute p",
        "a name that is computed": "select set_config('work_' || 'mem', '1GB', false)",
        "a value that is computed": "select set_config('work_mem', '1' || 'GB', false)",
        "update": "update pg_settings set setting = '1048576' where name = 'work_mem'",
        "query_to_xml": "select query_to_xml('select set_config(''work_mem'', ''1GB'', false)', true, true, '')",
        "ts_stat": "select * from ts_stat('select to_tsvector(set_config(''work_mem'', ''1GB'', false))')",
    }
    # What no text shows: held when the transaction has ended.
    HIDDEN = {
        "do": "do $$ begin perform set_config('work_mem', '1GB', false); end $$",
        "do, set": "do $$ begin set work_mem = '1GB'; end $$",
        "do, execute": "do $$ begin execute 'se' || 't work_mem = ''1GB'''; end $$",
    }

    def run_text(self, client, text):
        try:
            client.execute(text)
        except psycopg.Error as error:
            return error.sqlstate
        return None

    def test_no_text_gives_more_than_the_ceiling(self):
        small = self.client("small", autocommit=True)
        for route, text in self.ROUTES.items():
            with self.subTest(route=route):
                self.assertIn(self.run_text(small, text), (None, "42601", "42501"))
                self.assertEqual(self.shown(small, "work_mem"), ["4MB"])
        for route, text in self.ROUTES.items():
            with self.subTest(route=route, inside="a transaction"):
                small.execute("begin")
                if self.run_text(small, text) is None:
                    self.assertEqual(self.shown(small, "work_mem"), ["4MB"])
                small.execute("rollback")

    def test_what_texts_hide_is_set_back_behind_the_transaction(self):
        for mode in ("transaction", "session"):
            small = self.client("small", autocommit=True, options=f"-c pgweir.pool_mode={mode}")
            for route, text in self.HIDDEN.items():
                with self.subTest(route=route, mode=mode):
                    self.assertIsNone(self.run_text(small, text))
                    self.assertEqual(self.shown(small, "work_mem"), ["4MB"])

    def test_what_texts_hide_is_set_back_in_front_of_the_next_request(self):
        for mode in ("transaction", "session"):
            small = self.client("small", autocommit=True, options=f"-c pgweir.pool_mode={mode}")
            for route, text in self.HIDDEN.items():
                with self.subTest(route=route, mode=mode):
                    small.execute("begin")
                    for request in (text, f"{text}; savepoint a", "rollback to a", "commit and chain", text, "rollback"):
                        small.execute(request)
                        self.assertEqual(self.shown(small, "work_mem"), ["4MB"], request)
            # What lies within is the transaction's.
            small.execute("begin; do $$ begin set local work_mem = '1MB'; end $$")
            self.assertEqual(self.shown(small, "work_mem"), ["1MB"])
            small.execute("commit")
            self.assertEqual(self.shown(small, "work_mem"), ["4MB"])

    def test_long_texts_are_read_and_pass(self):
        small = self.client("small", autocommit=True)
        small.execute("create table if not exists bulk (a text)")
        for size in (10_000, 100_000, 900_000, 3_000_000):
            with self.subTest(size=size):
                small.execute("truncate bulk")
                row = "('set work_mem = ''1GB''; do $$ set_config call')"
                count = size // len(row)
                small.execute("insert into bulk values " + ", ".join([row] * count))
                self.assertEqual(small.execute("select count(*) from bulk").fetchone()[0], count)
                small.execute(f"/*{'x' * size}*/ set work_mem = '1GB'")
                self.assertEqual(self.shown(small, "work_mem"), ["4MB"])
        # A dump in one text: what it sets is lowered, all of it runs.
        dump = "set statement_timeout = 0; set lock_timeout = 0;" + "insert into bulk values ('x');" * 9000
        small.execute(f"truncate bulk; {dump} set work_mem = '1GB'")
        self.assertEqual(self.shown(small, "work_mem", "statement_timeout"), ["4MB", "10s"])
        self.assertEqual(small.execute("select count(*) from bulk").fetchone()[0], 9000)

    def test_what_asks_behind_a_transaction_cannot_be_replaced(self):
        small = self.client("small", autocommit=True)
        small.execute("create temp table kept (a int); set work_mem = '1MB'")  # it keeps its server
        fakes = {"pgweir_value(text)": "''4MB''::text", "pgweir_set(text, text)": "$2"}
        for name, value in fakes.items():
            drop = f"begin execute 'deallocate {name.split('(')[0]}'; exception when others then null; end;"
            self.run_text(small, f"do $$ begin {drop} execute 'prepare {name} as select {value}'; end $$")
        self.run_text(small, self.HIDDEN["do"])
        if not small.closed:
            self.assertEqual(self.shown(small, "work_mem"), ["4MB"])

    def test_the_client_is_told(self):
        small = self.client("small", autocommit=True)
        told = []
        small.add_notice_handler(lambda notice: told.append(notice.message_primary))
        small.execute("set statement_timeout = 0")
        small.execute("set statement_timeout = 0")
        self.assertEqual(told, ["statement_timeout lowered to 10s, the ceiling of tier small"])
        small.execute("set work_mem = '1GB'")
        self.assertEqual(told[1:], ["work_mem lowered to 4MB, the ceiling of tier small"])
        self.assertEqual(self.shown(small, "statement_timeout"), ["10s"])

    def test_injected_values_cannot_be_changed(self):
        marked = self.client("marked", autocommit=True)
        for text in ("set app.tenant_id = 'other'", "select set_config('app.tenant_id', 'other', false)"):
            self.assertEqual(self.run_text(marked, text), "42501")
        marked.execute("do $$ begin perform set_config('app.tenant_id', 'other', false); end $$")
        self.assertEqual(self.shown(marked, "app.tenant_id"), ["marked/large"])

    def test_a_tag_for_the_log_keeps_no_driver_out(self):
        tag = {"inject.application_name": "{tenant}/{tier}", "inject.row_security": "on"}
        weir = self.pgweir(self.config({"small": tag}), {"app": "s3cret"})
        shown = "select application_name from pg_stat_activity where pid = pg_backend_pid()"
        address = ["-h", "127.0.0.1", "-p", str(weir.port), "-U", "app", "-d", "small"]
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", *address, "-c", shown], capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual((done.stdout, done.stderr), ("small/small\n", ""))
        small = self.client("small", weir, autocommit=True, application_name="mine")
        notices = []
        small.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        for attempt in (
            "set application_name = 'PostgreSQL JDBC Driver'",
            "select set_config('application_name', 'mine', false)",
            "do $$ begin set application_name = 'mine'; end $$",
            "discard all",
        ):
            with self.subTest(attempt=attempt):
                small.execute(attempt)
                self.assertEqual(small.execute(shown).fetchone()[0], "small/small")
        for command in ("SHOW CLIENTS", "SHOW SERVERS"):
            columns, rows = weir.console(command)
            names = {row[columns.index("application_name")] for row in rows if row[columns.index("database")] == "small"}
            self.assertEqual(names, {"small/small"}, command)
        self.assertEqual(notices, ["application_name stays small/small, which tier small sets"])
        self.assertEqual(self.run_text(small, "set row_security = off"), "42501")
        self.assertIsNone(self.run_text(small, "set row_security = on"))

    def test_honest_settings_pass(self):
        small = self.client("small", autocommit=True)
        small.execute("set work_mem = '1MB'; set application_name = 'x'; set timezone = 'UTC'")
        small.execute("select set_config('app.user', %s, false)", ("me",))
        self.assertEqual(self.shown(small, "work_mem", "app.user"), ["1MB", "me"])
        small.execute("do $$ begin create temp table t (i int); drop table t; end $$")
        address = ["-h", "127.0.0.1", "-p", str(self.weir.port), "-U", "app", "-d", "small"]
        dump = subprocess.run(["pg_dump", *address], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(dump.returncode, 0, dump.stderr)
        self.assertIn("PostgreSQL database dump complete", dump.stdout)

    def test_a_server_that_reads_otherwise_ends(self):
        for change in ("client_encoding = 'SJIS'", "standard_conforming_strings = off"):
            with self.subTest(change=change):
                with Wire(self.weir.port) as small:
                    small.login("app", "small")
                    pid = small.value("select pg_backend_pid()")
                    small.send(query(f"do $$ begin set {change}; end $$"))
                    self.assertEqual(first_error(small.until_closed())["C"], "0A000")
                alive = f"select 1 from pg_stat_activity where pid = {pid}"
                wait_until(lambda pid=pid, sql=alive: not self.postgres.sql(sql), what="the end of the server")

    def test_what_is_held_is_counted_and_told(self):
        port = free_port()
        weir = self.pgweir({**self.config(), "http": {"port": port}}, {"app": "s3cret"})
        self.client("small", weir, options="-c work_mem=1GB")
        small = self.client("small", weir, autocommit=True)
        for _ in range(12):
            small.execute("set work_mem = '1GB'")
        self.assertIsNone(self.run_text(small, "set jit = on"))
        self.assertEqual(self.run_text(small, "set work_mem = 'much'"), "22023")
        self.assertEqual(self.run_text(small, "select set_config('work_' || 'mem', '1GB', false)"), "42601")
        self.assertIsNone(self.run_text(small, self.HIDDEN["do"]))
        self.assertEqual(self.shown(small, "work_mem"), ["4MB"])
        names, rows = weir.console("SHOW CEILINGS small")
        held = {row[names.index("parameter")]: dict(zip(names, row)) for row in rows}

        def counts(parameter):
            return tuple(int(held[parameter][name]) for name in ("lowered", "refused", "enforced"))

        self.assertEqual(counts("work_mem"), (13, 1, 1))
        self.assertEqual(counts("jit"), (1, 0, 0))
        self.assertEqual(counts("(any)"), (0, 1, 0))
        self.assertEqual(counts("statement_timeout"), (0, 0, 0))
        self.assertEqual(held["work_mem"]["firmness"], "advisory")
        names, rows = weir.console("SHOW CEILINGS")
        of_tier = [row for row in rows if row[0] == "small" and row[1] == "work_mem"]
        self.assertEqual([int(each) for each in of_tier[0][-5:]], [13, 1, 1, 0, 0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        self.assertIn('pgweir_ceiling_lowered_total{tier="small",parameter="work_mem"} 13', text)
        self.assertIn('pgweir_ceiling_enforced_total{tier="small",parameter="work_mem"} 1', text)
        self.assertIn('pgweir_ceiling_refused_total{tier="small",parameter="work_mem"} 1', text)
        # Of each parameter the first and the tenth.
        for event, times in (("ceiling_lowered", 3), ("ceiling_refused", 2), ("ceiling_enforced", 1)):
            weir.has_logged(f'"message":"{event}"', times)
        self.assertNotIn("set_config", weir.log())

    def test_of_what_was_found_only_a_number_is_told(self):
        weir = self.pgweir({**self.config(), "audit": {"target": "stdout"}}, {"app": "s3cret"})
        marked = self.client("marked", weir, autocommit=True)
        for name, value in (("app.tenant_id", "my secret value"), ("search_path", "secret_2"), ("work_mem", "1GB")):
            self.assertIsNone(self.run_text(marked, f"do $$ begin perform set_config('{name}', '{value}', false); end $$"))
            marked.execute("select 1")

        def lines(key):
            return [line for line in weir.log().splitlines() if f'"{key}":"ceiling_enforced"' in line]

        # The log and the audit stream both tell each.
        wait_until(lambda: len(lines("event.action")) == 6, what="six lines")
        told = [json.loads(line) for line in lines("event.action")]
        found = sorted(line.get("pgweir.found") or line.get("pgweir", {}).get("found") or "" for line in told)
        self.assertEqual(found, ["", "", "", "", "1GB", "1GB"])
        self.assertNotIn("secret", "".join(lines("event.action")))

    def test_what_clocks_do_is_counted_and_told(self):
        port = free_port()
        brief = {"statement_timeout": "200ms", "idle_in_transaction_session_timeout": "200ms"}
        weir = self.pgweir({**self.config({"small": brief}), "http": {"port": port}}, {"app": "s3cret"})
        hold = "declare c cursor with hold for select pg_sleep(0.1) from generate_series(1, 40)"
        with Wire(weir.port) as small:
            small.login("app", "small")
            small.send(query("begin; " + hold))
            small.until_ready()
            small.send(query("commit"))  # Postgres has no timer there
            self.assertEqual(first_error(small.until_ready())["C"], "57014")
            small.send(query("begin") + flush())  # nor behind this
            self.assertEqual(first_error(small.until_closed())["C"], "25P03")
        names, rows = weir.console("SHOW CEILINGS small")
        held = {row[names.index("parameter")]: dict(zip(names, row)) for row in rows}
        for parameter, counts in (
            ("statement_timeout", ("1", "0")),
            ("idle_in_transaction_session_timeout", ("0", "1")),
            ("work_mem", ("0", "0")),
        ):
            row = held[parameter]
            self.assertEqual((str(row["canceled"]), str(row["ended"])), counts, parameter)
        self.assertEqual((held["statement_timeout"]["firmness"], held["jit"]["firmness"]), ("advisory", "advisory"))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            text = answer.read().decode()
        self.assertIn('pgweir_ceiling_canceled_total{tier="small",parameter="statement_timeout"} 1', text)
        self.assertIn(
            'pgweir_ceiling_ended_total{tier="small",parameter="idle_in_transaction_session_timeout"} 1', text
        )
        weir.has_logged('"message":"ceiling_clock"', times=2)

    def test_strict_refuses_what_may_hide_a_value(self):
        weir = self.pgweir(self.config({"small": {"inspection": "strict"}}), {"app": "s3cret"})
        small = self.client("small", weir, autocommit=True)
        for text in (*self.HIDDEN.values(), "create function f() returns int language sql as 'select 1'"):
            self.assertEqual(self.run_text(small, text), "0A000")
        # What can be read is held, whatever its length.
        self.assertIsNone(self.run_text(small, "/*" + "x" * 300_000 + "*/ set work_mem = '1GB'"))
        self.assertEqual(self.run_text(small, "/*" + "x" * 2_000_000 + "*/ set work_mem = '1GB'"), "54000")
        self.assertEqual(self.shown(small, "work_mem"), ["4MB"])

    def test_without_inspection_texts_are_free(self):
        weir = self.pgweir(self.config({"small": {"inspection": "off"}}), {"app": "s3cret"})
        small = self.client("small", weir, autocommit=True)
        small.execute("set work_mem = '1GB'")
        self.assertEqual(self.shown(small, "work_mem"), ["1GB"])

    # --- a change of plan

    def test_a_downgrade_holds_for_who_is_connected(self):
        weir = self.pgweir(self.config(), {"app": "s3cret"})
        clients = [self.client("large", weir) for _ in range(3)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            self.assertEqual(self.shown(client, "work_mem"), ["64MB"])
        clients[0].execute("commit")
        weir.config["tiers"]["large"]["work_mem"] = "2MB"
        weir.reload()
        wait_until(lambda: self.shown(clients[0], "work_mem") == ["2MB"], what="the new ceiling")
        # Who is in a transaction ends it with what it began with.
        self.assertEqual(self.shown(clients[1], "work_mem"), ["64MB"])
        clients[1].execute("commit")
        clients[2].execute("commit")
        for _ in range(5):
            for client in clients:
                self.assertEqual(self.shown(client, "work_mem", "statement_timeout"), ["2MB", "1min"])
        self.assertEqual(self.shown(self.client("large", weir), "work_mem"), ["2MB"])

    def test_a_downgrade_holds_for_who_keeps_a_server(self):
        weir = self.pgweir(
            self.config({"large": {"max_server_connections": 8, "max_pinned_clients": 6}}), {"app": "s3cret"}
        )
        pinned, opened = self.client("large", weir, autocommit=True), self.client("large", weir, autocommit=True)
        session = self.client("large", weir, autocommit=True, options="-c pgweir.pool_mode=session")
        pinned.execute("create temp table kept (a int); insert into kept values (1)")
        opened.execute("begin; create temp table kept (a int)")
        session.execute("select 1")
        pid = pinned.info.backend_pid
        weir.config["tiers"]["large"].update({"work_mem": "2MB", "temp_buffers": "1MB"})
        weir.reload()
        other = self.client("large", weir, autocommit=True)
        wait_until(lambda: self.shown(other, "work_mem") == ["2MB"], what="the new ceiling")
        self.assertEqual(self.shown(opened, "work_mem"), ["64MB"])  # it ends with what it began with
        opened.execute("commit")
        back = ["reset work_mem", "reset all", "set work_mem to default", "set work_mem = '1GB'", "select 1; reset all"]
        back += ["select set_config('work_mem', null, false)", "do $$ begin reset work_mem; end $$"]
        back += ["do $$ begin reset all; end $$", "set work_mem = '1MB'; reset work_mem", "begin; reset all; commit"]
        for name, client in {"pinned": pinned, "in a transaction": opened, "session": session}.items():
            self.assertEqual(self.shown(client, "work_mem"), ["2MB"], name)
            for text in back:
                with self.subTest(client=name, text=text):
                    client.execute(text)
                    self.assertEqual(self.shown(client, "work_mem"), ["2MB"])
                    client.execute("begin")
                    if "begin;" not in text:
                        client.execute(text)
                    self.assertEqual(self.shown(client, "work_mem"), ["2MB"])
                    client.execute("commit")
            self.assertEqual(self.run_text(client, "reset all; select 1"), "0A000")
            self.assertEqual(self.shown(client, "work_mem"), ["2MB"])
        self.assertEqual(pinned.execute("select a from kept").fetchone()[0], 1)
        self.assertEqual(pid, pinned.info.backend_pid)
        for client in (session, pinned):
            client.execute("discard all")
            self.assertEqual(self.shown(client, "work_mem"), ["2MB"])
        # An upgrade holds for who was held down, too.
        pinned.execute("select 1")
        weir.config["tiers"]["large"]["work_mem"] = "32MB"
        weir.reload()
        wait_until(lambda: self.shown(pinned, "work_mem") == ["32MB"], what="the higher ceiling")

    # --- what Postgres ends or fixes on servers that are pooled

    def test_a_server_that_is_idle_too_long_is_nobody_elses_trouble(self):
        row = {"idle_session_timeout": "500ms", "pool_size": 1, "max_server_connections": 1}
        weir = self.pgweir(self.config({"large": row}), {"app": "s3cret"})
        # Who asks just when Postgres ends the server that was asked last.
        with Wire(weir.port) as wire:
            wire.login("app", "large")
            for i in range(16):
                self.assertEqual(wire.value("select 'served'"), "served")
                time.sleep(0.497 + 0.0004 * i)
            self.assertEqual(wire.value("select 'served'"), "served")
        # Who keeps a server is who it is for.
        for keep, options in (("create temp table kept (a int)", ""), ("select 1", "-c pgweir.pool_mode=session")):
            with self.subTest(keep=keep), Wire(weir.port) as wire:
                wire.login("app", "large", options=options)
                wire.query(keep)
                self.assertEqual(first_error(wire.until_closed())["C"], "57P05")
        # And who keeps none costs nothing.
        with Wire(weir.port) as wire:
            wire.login("app", "large")
            time.sleep(1)
            self.assertEqual(wire.value("select 'served'"), "served")

    def test_a_clients_own_idle_timeout_ends_no_others_server(self):
        one = {"pool_size": 1, "max_server_connections": 1}
        weir = self.pgweir(self.config({"none": one}), {"app": "s3cret"})
        with Wire(weir.port) as hasty, Wire(weir.port) as other:
            hasty.login("app", "none")
            other.login("app", "none")
            hasty.query("set idle_session_timeout = '300ms'")
            for i in range(16):
                self.assertEqual(hasty.value("show idle_session_timeout"), "300ms")
                time.sleep(0.297 + 0.0004 * i)
                self.assertEqual(other.value("show idle_session_timeout"), "0")

    def test_temporary_tables_leave_nobody_elses_temp_buffers_fixed(self):
        one = {"tier": "small", "backend": "main", "database": "app", "pool_size": 1, "max_server_connections": 1}
        for uses in (
            ["create temp table t (a int); insert into t values (1); drop table t", "discard temp"],
            ["begin; create temp table t (a int) on commit drop; insert into t values (1); commit"],
            ["begin", "create temp table t on commit drop as select 1", "commit"],
        ):
            with self.subTest(uses=uses):
                self.leaves_temp_buffers_open(self.pgweir(self.config(one=one), {"app": "s3cret"}), uses)

    def leaves_temp_buffers_open(self, weir, uses):
        clients = [Wire(weir.port).login("app", "one") for _ in range(3)]
        for client in clients:
            self.addCleanup(client.close)
        first, second, third = clients
        pid = first.value("select pg_backend_pid()")
        for _ in range(3):
            for text in uses:
                first.query(text)
        # Nobody has asked for another size: the server stays.
        self.assertEqual(second.value("select pg_backend_pid()"), pid)
        self.assertIsNone(first_error(second.query("set temp_buffers = '850kB'")))
        self.assertEqual(second.value("show temp_buffers"), "848kB")
        for text in uses:
            first.query(text)
        self.assertEqual(second.value("show temp_buffers"), "848kB")
        for text in uses:
            second.query(text)
        self.assertEqual(third.value("show temp_buffers"), "4MB")
        for text in uses:
            third.query(text)
        second.query("begin")
        self.assertIsNone(first_error(second.query("set local temp_buffers = '1200kB'")))
        second.query("commit")

    def test_an_encoding_that_cannot_be_read(self):
        self.postgres.create_database("odd", owner="app")
        self.postgres.sql("alter database odd set client_encoding = 'SJIS'")
        odd = {"tier": "small", "backend": "main", "database": "odd"}
        weir = self.pgweir(self.config(odd=odd), {"app": "s3cret"})
        for _ in range(2):
            with Wire(weir.port) as wire:
                wire.login("app", "odd", client_encoding="UTF8")
                self.assertEqual(wire.value("show client_encoding"), "UTF8")
                self.assertEqual(wire.value("select 'served'"), "served")
            with Wire(weir.port) as wire:
                wire.login("app", "odd")
                self.assertEqual(wire.value("select 'served'"), "served")  # which means the same in all encodings
                error = first_error(wire.query("select 'ソ'"))
                self.assertEqual(error["C"], "0A000")
                self.assertIn("under client_encoding 'SJIS'", error["M"])
                self.assertIn("Connect with client_encoding=UTF8, or ALTER DATABASE", error["H"])
        for field, value in (("inject.client_encoding", "SJIS"), ("inject.standard_conforming_strings", "off")):
            weir = self.pgweir(self.config({"small": {field: value}}), {"app": "s3cret"}, start=False)
            weir.write_files()
            done = weir.command_line("--check-config", "--config", weir.config_path)
            self.assertEqual(done.returncode, 78, done.stdout)
            self.assertIn(f"{field} must not be '{value}' while inspection is standard", done.stderr)

    def test_tenants_that_part_in_one_group(self):
        twin = {"tier": "large", "backend": "main", "database": "app"}
        weir = self.pgweir(self.config(twin=twin), {"app": "s3cret"})
        large, other = self.client("large", weir), self.client("twin", weir)
        pids = {client.execute("select pg_backend_pid()").fetchone()[0] for client in (large, other)}
        self.assertEqual(len(pids), 1, "equal ceilings share servers")
        weir.config["tenants"]["twin"]["work_mem"] = "1MB"
        weir.reload()
        wait_until(lambda: self.shown(other, "work_mem") == ["1MB"], what="the new ceiling")
        for _ in range(5):
            self.assertEqual(self.shown(large, "work_mem"), ["64MB"])
            self.assertEqual(self.shown(other, "work_mem"), ["1MB"])
        late = [self.client(name, weir) for name in ("large", "twin")]
        self.assertEqual([self.shown(client, "work_mem") for client in late], [["64MB"], ["1MB"]])

    def test_what_only_some_versions_know_is_told_when_the_version_is_known(self):
        weir = self.pgweir(self.config({"large": {"idle_session_timeout": "1h"}}), {"app": "s3cret"})
        self.assertEqual(self.shown(self.client("large", weir), "idle_session_timeout"), ["1h"])
        self.assertEqual(self.shown(self.client("small", weir), "idle_session_timeout"), ["0"])
        weir.has_logged("opened before the version of its Postgres was known", times=1)

    def test_a_ceiling_that_postgres_does_not_take_is_told(self):
        weir = self.pgweir(self.config({"large": {"ceiling.nonsense": "5"}}), {"app": "s3cret"})
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.client("large", weir)
        self.assertIn('unrecognized configuration parameter "nonsense"', str(caught.exception))


if __name__ == "__main__":
    unittest.main()
