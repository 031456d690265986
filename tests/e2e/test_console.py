"""The console as drivers and administrators use it."""

import json
import threading
import unittest

import psycopg

from harness import PgweirCase, machine, pg_program, run
from harness.wire import (
    Wire,
    bind,
    describe,
    execute,
    first_error,
    kinds,
    parse,
    query,
    sync,
)


class ConsoleCase(PgweirCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        for name in ("app", "other"):
            cls.postgres.create_database(name, owner="app")
        cls.weir = cls.class_pgweir(
            {"console": {"stats": ["reader"]}},
            users={"app": "s3cret", "admin": "adm1n", "reader": "re4der"},
        )

    def rows(self, command, weir=None):
        columns, rows = (weir or self.weir).console(command)
        return [dict(zip(columns, row)) for row in rows]

    def audit(self, weir=None):
        """What the log says of commands: (user, command, argument, outcome)."""
        told = []
        for line in (weir or self.weir).log().splitlines():
            if '"console_command"' in line:
                fields = json.loads(line)["pgweir"]
                told.append(tuple(fields[name] for name in ("user", "command", "argument", "outcome")))
        return told

    def assert_audited(self, *wanted):
        """The log is written by a thread of its own, so its lines come in their time."""
        machine.wait_until(lambda: set(wanted) <= set(self.audit()), what=f"{wanted} in the log")


class Extended(ConsoleCase):
    def test_psycopg_as_it_comes(self):
        """Its ordinary cursors speak the extended protocol, in text and in binary."""
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            with self.weir.connect("pgweir", "admin", autocommit=False) as console:
                for binary in (False, True):
                    for prepare in (False, True):
                        cursor = console.execute("SHOW POOLS", binary=binary, prepare=prepare)
                        row = dict(zip([column.name for column in cursor.description], cursor.fetchone()))
                        self.assertEqual((row["database"], row["cl_active"]), ("app", 1))
                        cursor = console.execute("SHOW STATS", binary=binary, prepare=prepare)
                        row = dict(zip([column.name for column in cursor.description], cursor.fetchone()))
                        self.assertGreaterEqual(row["total_query_count"], 1)
                        self.assertEqual(console.execute("SELECT 1", binary=binary).fetchone(), (1,))
                console.commit()
                self.assertEqual(console.execute("RELOAD").statusmessage, "RELOAD")
                with self.assertRaises(psycopg.errors.SyntaxError):
                    console.execute("SHOW NONSENSE")
                console.rollback()
                self.assertIn("pgweir", console.execute("SHOW VERSION").fetchone()[0])

    def console(self, user="admin"):
        connection = self.weir.connect("pgweir", user)
        self.addCleanup(connection.close)
        return connection

    def test_types_are_told_before_the_rows(self):
        with self.console() as console:
            text = console.execute("SHOW DATABASES")
            binary = console.execute("SHOW DATABASES", binary=True)
            self.assertEqual([c.type_code for c in text.description], [c.type_code for c in binary.description])
            self.assertEqual(text.fetchall(), binary.fetchall())

    def test_a_pipeline_and_an_error_in_it(self):
        weir = self.pgweir({"auth": {"method": "trust"}, "console": {"admins": ["admin"]}})
        with Wire(weir.port) as wire:
            wire.login("admin", "pgweir")
            batch = [parse("SHOW STATE"), bind(), describe(b"P"), execute()]
            wire.send(*batch, *batch, sync())
            self.assertEqual(kinds(wire.until_ready()), "12TDDDC12TDDDCZ")
            wire.send(*batch, parse("NONSENSE"), *batch, sync())
            messages = wire.until_ready()
            self.assertEqual(kinds(messages), "12TDDDCEZ")
            self.assertEqual(first_error(messages)["C"], "42601")
            wire.send(parse("SHOW STATE"), bind(), execute(rows=2), execute(rows=2), sync())
            self.assertEqual(kinds(wire.until_ready()), "12DDsDCZ")
            wire.send(query("SHOW STATE; SHOW VERSION"))
            self.assertEqual(kinds(wire.until_ready()), "TDDDCTDCZ")
            wire.send(b"P\x00\x00\x00\x05x", sync())
            self.assertEqual(first_error(wire.until_ready())["C"], "08P01")


class ByDefault(PgweirCase):
    def test_nobody_by_default(self):
        self.postgres.create_user("app", "s3cret")
        weir = self.pgweir({"console": {"admins": []}}, {"app": "s3cret", "admin": "s3cret"})
        for user in ("app", "admin"):
            with self.assertRaises(psycopg.OperationalError) as caught:
                weir.connect("pgweir", user)
            self.assertIn("console", str(caught.exception))


class Roles(ConsoleCase):
    def test_stats_may_look_and_nothing_else(self):
        with self.weir.connect("pgweir", "reader") as console:
            console.execute("SHOW POOLS")
            others = "KILL", "KILL_CLIENT 1", "RECONNECT", "WAIT_CLOSE"
            for command in ("RELOAD", "PAUSE", "PAUSE app", "RESUME", "SHUTDOWN", *others):
                with self.subTest(command):
                    with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                        console.execute(command)
        self.assert_audited(("reader", "SHOW POOLS", "", "ok"), ("reader", "PAUSE", "app", "42501"))

    def test_commands_are_logged_with_their_outcome(self):
        self.weir.console("RELOAD")
        with self.assertRaises(psycopg.Error):
            self.weir.console("SHOW secret_thing")
        self.assert_audited(("admin", "RELOAD", "", "ok"), ("admin", "(unread)", "", "42601"))


TYPES = {"s": 25, "i": 23, "q": 20, "N": 1700}
CONNECTION = """
type:s user:s database:s replication:s state:s addr:s port:i local_addr:s local_port:i connect_time:s request_time:s
wait:i wait_us:i close_needed:i ptr:s link:s remote_pid:i tls:s application_name:s prepared_statements:i id:i"""
SOCKET = "recv_pos:i pkt_pos:i pkt_remain:i send_pos:i send_remain:i pkt_avail:i send_avail:i"
SUMS = "server_assignment_count xact_count query_count {} {} xact_time query_time wait_time".split()
PARSED = "client_parse_count server_parse_count bind_count".split()


def numeric(prefix, received, sent, prefix_of_parsed=None):
    first = [prefix + name.format(received if i == 3 else sent) for i, name in enumerate(SUMS)]
    last = [(prefix if prefix_of_parsed is None else prefix_of_parsed) + name for name in PARSED]
    return " ".join(f"{name}:N" for name in first + last)


# Names, order and types as PgBouncer 1.25 has them: tools read by position, too.
COLUMNS = {
    "VERSION": "version:s",
    "STATE": "key:s value:s",
    "CONFIG": "key:s value:s default:s changeable:s",
    "DATABASES": """name:s host:s port:i database:s force_user:s pool_size:i min_pool_size:i reserve_pool_size:i
        server_lifetime:i pool_mode:s load_balance_hosts:s max_connections:i current_connections:i
        max_client_connections:i current_client_connections:i paused:i disabled:i""",
    "USERS": """name:s pool_size:s reserve_pool_size:s pool_mode:s max_user_connections:i current_connections:i
        max_user_client_connections:i current_client_connections:i""",
    "POOLS": """database:s user:s cl_active:i cl_waiting:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active:i
        sv_active_cancel:i sv_being_canceled:i sv_idle:i sv_used:i sv_tested:i sv_login:i maxwait:i maxwait_us:i
        pool_mode:s load_balance_hosts:s""",
    "CLIENTS": CONNECTION,
    "SERVERS": CONNECTION,
    "SOCKETS": f"{CONNECTION} {SOCKET}",
    "ACTIVE_SOCKETS": f"{CONNECTION} {SOCKET}",
    "LISTS": "list:s items:i",
    "STATS": "database:s " + numeric("total_", "received", "sent") + " " + numeric("avg_", "recv", "sent"),
    "STATS_TOTALS": "database:s " + numeric("", "bytes_received", "bytes_sent"),
    "STATS_AVERAGES": "database:s " + numeric("", "bytes_received", "bytes_sent", "avg_"),
    "TOTALS": "name:s value:N",
    "PEERS": "peer_id:i host:s port:i pool_size:i",
    "PEER_POOLS": "peer_id:i cl_active_cancel_req:i cl_waiting_cancel_req:i sv_active_cancel:i sv_login:i",
    "MEM": "name:s size:i used:i free:i memtotal:i",
    "DNS_HOSTS": "hostname:s ttl:q addrs:s",
    "DNS_ZONES": "zonename:s serial:q count:i",
}
OURS = ("TENANTS", "TIERS", "BACKENDS", "WORKERS", "PINS", "PINNED_CLIENTS", "STATEMENTS")


class Tables(ConsoleCase):
    def test_columns_of_every_show(self):
        with self.weir.connect("app", "app") as client, self.weir.connect("pgweir", "admin") as console:
            client.execute("select 1")
            for what, columns in COLUMNS.items():
                for spelling in (f"SHOW {what}", f" show  {what.lower()} ;"):
                    with self.subTest(spelling):
                        cursor = console.execute(spelling)
                        told = [(column.name, column.type_code) for column in cursor.description]
                        wanted = [(name, TYPES[kind]) for name, _, kind in (c.partition(":") for c in columns.split())]
                        self.assertEqual(told, wanted)
                        self.assertEqual(cursor.statusmessage, "SHOW")
            for what in OURS:
                console.execute(f"SHOW {what}").fetchall()

    def test_psql_reads_them_all(self):
        commands = [f"SHOW {what}" for what in (*COLUMNS, *OURS, "HELP")]
        psql = [pg_program("psql"), "-X", "--csv", "-v", "ON_ERROR_STOP=1", "-h", self.weir.host, "-p", self.weir.port]
        for command in commands:
            done = run([*psql, "-U", "reader", "-d", "pgbouncer", "-c", command], env={"PGPASSWORD": "re4der"})
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertTrue(done.stdout or "Console commands:" in done.stderr, command)

    def test_tenants_by_pages(self):
        names = [f"t{n:03}" for n in range(250)]
        weir = self.pgweir({"tenants": {name: {"tier": "pro"} for name in names}}, users={"admin": "adm1n"})
        seen, after = [], ""
        while True:
            page = [row["tenant"] for row in self.rows(f"SHOW TENANTS LIKE 't%' LIMIT 100 AFTER '{after}'", weir)]
            seen += page
            if not page:
                break
            after = page[-1]
        self.assertEqual(seen, names)
        self.assertEqual([r["tenant"] for r in self.rows("SHOW TENANTS LIKE 't_49'", weir)], ["t049", "t149", "t249"])
        tiers = {row["tier"]: row for row in self.rows("SHOW TIERS", weir)}
        self.assertEqual(tiers["pro"]["tenants"], 250)

    def test_users(self):
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            row = next(row for row in self.rows("SHOW USERS") if row["name"] == "app")
            self.assertEqual((row["current_connections"], row["current_client_connections"]), (1, 1))


class Commands(ConsoleCase):
    def pid(self, client):
        return client.execute("select pg_backend_pid()").fetchone()[0]

    def test_kill_client(self):
        with self.weir.connect("app", "app") as one, self.weir.connect("app", "app", application_name="bad") as two:
            one.execute("select 1")
            two.execute("select 1")
            bad = next(row["id"] for row in self.rows("SHOW CLIENTS") if row["application_name"] == "bad")
            self.weir.console(f"KILL_CLIENT {bad}")
            with self.assertRaises(psycopg.OperationalError):
                two.execute("select 1")
            one.execute("select 1")
            with self.assertRaises(psycopg.errors.InvalidParameterValue):
                self.weir.console(f"KILL_CLIENT {bad}")

    def test_reconnect_and_wait_close(self):
        with self.weir.connect("app", "app") as client:
            first = self.pid(client)
            self.weir.console("RECONNECT app")
            second = self.pid(client)
            self.assertNotEqual(first, second)
            with client.transaction():
                held = self.pid(client)
                self.weir.console("RECONNECT")
                done = threading.Event()
                waiter = threading.Thread(target=lambda: (self.weir.console("WAIT_CLOSE app"), done.set()))
                waiter.start()
                self.assertFalse(done.wait(0.3))
                self.assertEqual(self.pid(client), held)
            self.assertTrue(done.wait(20))
            waiter.join()
            self.assertNotEqual(self.pid(client), held)
            self.weir.console("WAIT_CLOSE")

    def test_kill_drops_all_and_pauses(self):
        with self.weir.connect("app", "app") as client, self.weir.connect("other", "app") as other:
            client.execute("begin")
            client.execute("select 1")
            self.weir.console("KILL app")
            with self.assertRaises(psycopg.OperationalError):
                client.execute("select 1")
            other.execute("select 1")
        paused = {row["name"]: row["paused"] for row in self.rows("SHOW DATABASES")}
        self.assertEqual((paused["app"], paused["other"]), (1, 0))
        self.assertEqual([row for row in self.rows("SHOW SERVERS") if row["database"] == "app"], [])
        self.weir.console("RESUME app")
        with self.weir.connect("app", "app") as client:
            self.assertEqual(client.execute("select 2").fetchone(), (2,))


class Settings(ConsoleCase):
    users = {"app": "s3cret", "admin": "adm1n", "reader": "re4der"}

    def config(self, weir, key):
        return {row["key"]: row["value"] for row in self.rows("SHOW CONFIG", weir)}[key]

    def test_set_holds_until_the_next_reload(self):
        weir = self.pgweir({}, self.users)
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            told = []
            console.add_notice_handler(lambda notice: told.append(notice.message_primary))
            console.execute("SET client.max = 1")
            self.assertIn("until", " ".join(told).replace("RELOAD or the next start", "until"))
        self.assertEqual(self.config(weir, "client.max"), "1")
        with weir.connect("app", "app"):
            with self.assertRaises(psycopg.OperationalError) as refused:
                weir.connect("app", "app")
            self.assertIn("too many clients", str(refused.exception))
        weir.console("SET log.level TO debug")
        with weir.connect("app", "app") as client:
            client.execute("select 1")
        self.assertIn('"log.level":"debug"', weir.log())
        weir.console("RELOAD")
        self.assertEqual(self.config(weir, "client.max"), "10000")
        self.assertIn(("admin", "SET key = value", "client.max = 1", "ok"), self.audit(weir))

    def test_set_refuses_what_a_file_could_not_say(self):
        for command, message in (
            ("SET client.max = 0", "must lie between"),
            ("SET listen.port = 1", "next start only"),
            ("SET client.maxx = 1", "did you mean client.max?"),
            ("SET client.tls_mode = require", "client.tls_cert_file must be set"),
        ):
            with self.assertRaises(psycopg.Error) as refused:
                self.weir.console(command)
            self.assertIn(message, str(refused.exception))
            self.assert_sqlstate(refused.exception, "22023")
        with self.weir.connect("pgweir", "reader", cursor_factory=psycopg.ClientCursor) as console:
            for command in ("SET client.max = 5", "DISABLE app", "SHUTDOWN WAIT_FOR_CLIENTS"):
                with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                    console.execute(command)

    def test_secrets_do_not_come_into_the_log(self):
        weir = self.pgweir({}, self.users)
        weir.console("SET http.metrics_token = 'hush hush'")
        self.assertNotIn("hush", weir.log())
        self.assertEqual(self.config(weir, "http.metrics_token"), "********")

    def test_disable_and_enable(self):
        weir = self.pgweir({}, self.users)
        with weir.connect("app", "app") as client:
            weir.console("DISABLE app")
            client.execute("select 1")
            with self.assertRaises(psycopg.OperationalError) as refused:
                weir.connect("app", "app")
            self.assertIn('database "app" is disabled', str(refused.exception))
            weir.connect("other", "app").close()
            disabled = {row["name"]: row["disabled"] for row in self.rows("SHOW DATABASES", weir)}
            self.assertEqual((disabled["app"], disabled["other"]), (1, 0))
        weir.console("RELOAD; ENABLE app")
        weir.connect("app", "app").close()

    def test_shutdown_that_waits_for_clients(self):
        weir = self.pgweir({"process": {"shutdown_timeout": "1s"}}, self.users)
        with weir.connect("app", "app") as client:
            client.execute("select 1")
            weir.console("SHUTDOWN WAIT_FOR_CLIENTS")
            with self.assertRaises(psycopg.OperationalError):
                weir.connect("app", "app")
            # Longer than shutdown_timeout, between and in transactions.
            for _ in range(4):
                client.execute("select pg_sleep(0.5)")
            self.assertTrue(weir.alive)
        self.assertEqual(weir.wait_end(), 0)

    def test_show_ceilings(self):
        weir = self.pgweir(
            {
                "tiers": {"gold": {"work_mem": "64MB", "inject.application_name": "{tenant}"}},
                "tenants": {"app": {"tier": "gold", "statement_timeout": "5s"}},
            },
            self.users,
        )
        rows = self.rows("SHOW CEILINGS app", weir)
        held = {row["parameter"]: row for row in rows}
        none = {"lowered": 0, "refused": 0, "enforced": 0}
        timeout = {"tier": "gold", "parameter": "statement_timeout", "kind": "ceiling", "value": "5s", **none}
        self.assertEqual(held["statement_timeout"], {**timeout, "source": "tenant", "firmness": "advisory"})
        name = {"tier": "gold", "parameter": "application_name", "kind": "injected", "value": "{tenant}", **none}
        self.assertEqual(held["application_name"], {**name, "source": "tier", "firmness": "advisory"})
        self.assertEqual(held["work_mem"]["source"], "tier")
        tiers = {row["tier"] for row in self.rows("SHOW CEILINGS", weir)}
        self.assertLessEqual({"free", "gold"}, tiers)


if __name__ == "__main__":
    unittest.main()
