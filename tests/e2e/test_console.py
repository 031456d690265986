"""The console as drivers and administrators use it."""

import csv
import json
import re
import threading
import unittest
from pathlib import Path

import psycopg
import psycopg2

from harness import PgweirCase, pg_program, run, wait_until
from harness.wire import (
    Closed,
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

SOURCE = Path(__file__).resolve().parents[2]


class ConsoleCase(PgweirCase):
    databases = ("app", "other")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(
            {"console": {"stats": ["reader"]}},
            users={"app": "s3cret", "admin": "adm1n", "reader": "re4der"},
        )

    def rows(self, command, weir=None):
        columns, rows = (weir or self.weir).console(command)
        return [dict(zip(columns, row)) for row in rows]

    def pid(self, client):
        return client.execute("select pg_backend_pid()").fetchone()[0]

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
        wait_until(lambda: set(wanted) <= set(self.audit()), what=f"{wanted} in the log")


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


    def test_orders_are_logged_whatever_the_level(self):
        weir = self.pgweir(
            {"log": {"level": "error"}, "pool": {"unknown_tenants": False}, "tenants": {"app": {"tier": "free"}}},
            {"app": "s3cret", "admin": "adm1n"},
        )
        for order in ("SHOW POOLS", "PAUSE app", "RESUME app", "KILL app", "RESUME app", "SET log.level = warn"):
            weir.console(order)
        with self.assertRaises(psycopg.Error):
            weir.console("PAUSE nowhere")
        wanted = [("PAUSE", "app", "ok"), ("RESUME", "app", "ok"), ("KILL", "app", "ok"), ("RESUME", "app", "ok"),
                  ("SET key = value", "log.level = warn", "ok"), ("PAUSE", "nowhere", "3D000")]
        wait_until(lambda: [told[1:] for told in self.audit(weir)] == wanted, what=f"{wanted} alone in the log")
        lines = [json.loads(line)["pgweir"] for line in weir.log().splitlines() if '"console_command"' in line]
        self.assertEqual({(line["user"], line["addr"]) for line in lines}, {("admin", "127.0.0.1")})
        self.assertTrue(all(line["port"] > 0 for line in lines), lines)


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


# Names, order and types as PgBouncer 1.25 has them: tools read by position, too. A time of day is a text.
THEIRS = {
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
PINS = "temp cursor lock listen statement settings session replication".split()
COUNTS = """transactions queries errors bytes_in bytes_out pins client_limit_hits server_limit_hits rate_limit_hits
pin_limit_hits""".split()
TIERS_PAGE = (SOURCE / "tiers" / "reference.md").read_text()
FIELDS = re.findall(r"^\| `([a-z_]+)` \|", TIERS_PAGE.partition("## Fields of a tenant")[0], re.M)
OURS = {
    "TENANTS": """tenant:s tier:s backend:s database:s pool_mode:s clients:i max_clients:i servers:i pool_size:i
        max_servers:i paused:i state:s suspended_reason:s""",
    "TIERS": "tier:s " + " ".join(f"{name}:s" for name in FIELDS) + " tenants:i clients:i servers:i",
    "CEILINGS": "tier:s parameter:s kind:s value:s source:s firmness:s lowered:N refused:N enforced:N "
    "canceled:N ended:N",
    "BACKENDS": """name:s host:s port:i current_connections:i max_connections:i starved:i target_session_attrs:s
        hosts:s""",
    "BREAKERS": """backend:s database:s user:s state:s mode:s failures:i of:i opened:N failed:N rejected:N next_try_s:N
        last_error:s""",
    "PINS": "database:s tier:s pinned_clients:i max_pinned_clients:i " + " ".join(f"{pin}:i" for pin in PINS)
    + " pinned_total:N unpinned_total:N refused_total:N",
    "PINNED_CLIENTS": "database:s user:s pins:s addr:s port:i application_name:s ptr:s link:s id:i",
    "USAGE": "tenant:s connections:N server_connection_seconds:N busy_seconds:N wait_seconds:N "
    + " ".join(f"{name}:N" for name in COUNTS) + " peak_clients:i peak_servers:i "
    + "waiting_limit_hits:N statement_limit_hits:N statement_byte_limit_hits:N",
    "WORKERS": """worker:i tenants:i groups:i clients:i waiting:i logins:i consoles:i servers:i texts_by_words:N
        texts_remembered:N texts_parsed:N""",
    "STATEMENTS": """name:s backend:s database:s user:s statement:s fingerprint:s bytes:i clients:i servers:i parses:N
        binds:N""",
    "LIMIT": "limit:s value:s in_use:s rule:s",
}
COLUMNS = {**THEIRS, **OURS}
ARGUMENT = {"LIMIT": " app"}
# Tools find rows by these, too.
LISTS = """databases users peers pools peer_pools free_clients used_clients login_clients free_servers used_servers
dns_names dns_zones dns_queries dns_pending"""
TOTALS = [f"{kind}_{name}" for kind in ("total", "avg") for name in """server_assignment_count xact_count query_count
client_bytes server_bytes xact_time query_time wait_time ps_client_parse_count ps_server_parse_count
ps_bind_count""".split()]


def wanted(what):
    """[(name, OID)]"""
    return [(name, TYPES[kind]) for name, _, kind in (column.partition(":") for column in COLUMNS[what].split())]


class Tables(ConsoleCase):
    def ways(self, weir, user="admin"):
        """Functions that execute a command: by the simple protocol, and by the extended one in text and binary."""
        simple = weir.connect("pgweir", user, cursor_factory=psycopg.ClientCursor)
        extended = weir.connect("pgbouncer", user)
        for connection in (simple, extended):
            self.addCleanup(connection.close)
        return (
            simple.execute,
            lambda command: extended.execute(command, prepare=True),
            lambda command: extended.execute(command, binary=True),
        )

    def test_columns_of_every_show(self):
        """No SHOW that HELP tells of is left out."""
        with self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            told = []
            console.add_notice_handler(lambda notice: told.append(notice.message_primary))
            console.execute("SHOW HELP")
        self.assertEqual(set(re.findall(r"^SHOW ([A-Z_]+)", "".join(told), re.M)), {*COLUMNS, "HELP"})
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            for show in self.ways(self.weir):
                for what in COLUMNS:
                    command = f"SHOW {what}{ARGUMENT.get(what, '')}"
                    for spelling in (command, f" show\t{what.lower()}{ARGUMENT.get(what, '')} ;"):
                        with self.subTest(spelling):
                            cursor = show(spelling)
                            told = [(column.name, column.type_code) for column in cursor.description]
                            self.assertEqual(told, wanted(what))
                            self.assertEqual(cursor.statusmessage, "SHOW")
                            cursor.fetchall()

    def test_what_a_connection_is_told(self):
        """The parameters that tools look at, and what they say before anything else."""
        wanted = {"server_encoding": "UTF8", "client_encoding": "UTF8", "DateStyle": "ISO", "TimeZone": "UTC",
                  "standard_conforming_strings": "on"}
        for user, superuser in (("admin", "on"), ("reader", "off")):
            with self.weir.connect("pgbouncer", user, cursor_factory=psycopg.ClientCursor) as console:
                told = console.info.parameter_status
                self.assertEqual({name: told(name) for name in wanted}, wanted)
                self.assertEqual(told("is_superuser"), superuser)
                self.assertRegex(told("server_version"), r"^1\.25\.2/pgweir-[0-9.]+")
                for words, tag in (("SET client_encoding TO 'UTF8'", "SET"), ("set extra_float_digits = 3", "SET"),
                                   ("BEGIN", "BEGIN"), ("SELECT 1", "SELECT 1"), ("COMMIT", "COMMIT")):
                    self.assertEqual(console.execute(words).statusmessage, tag)
                self.assertIn("pgweir", console.execute("SELECT version()").fetchone()[0])

    def test_settings_of_the_session(self):
        """Those that drivers ask for and set, also of who may only look: PgBouncer's, and more."""
        with self.weir.connect("pgbouncer", "reader", application_name="look in") as console:
            told = console.info.parameter_status
            for name, value in (("client_encoding", "UTF8"), ("standard_conforming_strings", "on"),
                                ("DateStyle", "ISO"), ("TimeZone", "UTC")):
                cursor = console.execute(f"SHOW {name}")
                self.assertEqual(cursor.fetchall(), [(value,)])
                self.assertEqual((cursor.description[0].name, cursor.statusmessage), (name.lower(), "SHOW"))
                self.assertEqual(told(name), value)
            isolation = console.execute("SHOW default_transaction_isolation", binary=True).fetchone()
            self.assertEqual(isolation, ("read committed",))
            self.assertEqual(console.execute("SHOW application_name").fetchone(), ("look in",))
            console.execute("SET default_transaction_isolation = 'serializable'")
            console.execute("SET default_transaction_read_only TO on")

    def test_psycopg2_with_its_session(self):
        for user in ("admin", "reader"):
            password = self.weir.users[user]
            console = psycopg2.connect(host=self.weir.host, port=self.weir.port, dbname="pgweir", user=user,
                                       password=password)
            self.addCleanup(console.close)
            console.set_session(isolation_level="SERIALIZABLE", readonly=True, autocommit=True)
            with console.cursor() as cursor:
                cursor.execute("SHOW VERSION")
                self.assertIn("pgweir", cursor.fetchone()[0])

    def test_what_is_told_of_a_console_itself(self):
        with self.weir.connect("pgbouncer", "reader", application_name="look in") as console:

            def row():
                shown = self.rows("SHOW CLIENTS")
                (one,) = [each for each in shown if each["user"] == "reader"]
                return one

            told = row()
            self.assertEqual((told["database"], told["application_name"]), ("pgbouncer", "look in"))
            self.assertEqual(told["request_time"], told["connect_time"])

            def asked_later():
                console.execute("SHOW VERSION")
                one = row()
                return one["request_time"] > one["connect_time"] == told["connect_time"]

            wait_until(asked_later, what="a later request")
            console.execute("SET application_name = 'looks; on'")
            self.assertEqual(row()["application_name"], "looks; on")
        (own,) = [each for each in self.rows("SHOW CLIENTS") if each["user"] == "admin"]
        self.assertEqual((own["database"], own["application_name"]), ("pgweir", ""))

    def test_rows_that_have_names(self):
        self.assertEqual([row["list"] for row in self.rows("SHOW LISTS")], LISTS.split())
        self.assertEqual([row["name"] for row in self.rows("SHOW TOTALS")], TOTALS)
        self.assertEqual([row["key"] for row in self.rows("SHOW STATE")], ["active", "paused", "suspended"])

    def test_columns_may_be_chosen(self):
        """Of every table each one, and the values are those that stand in the whole table."""
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            for show in self.ways(self.weir):
                for what in COLUMNS:
                    names = [name for name, _ in wanted(what)]
                    chosen = [names[-1], names[0], names[-1]]
                    spelled = f"{chosen[0].upper()} ,\n\"{chosen[1]}\",{chosen[2]}"
                    argument = ARGUMENT.get(what, "")
                    with self.subTest(what):
                        cursor = show(f"show {what}{argument} {spelled};")
                        told = [(column.name, column.type_code) for column in cursor.description]
                        types = dict(wanted(what))
                        self.assertEqual(told, [(name, types[name]) for name in chosen])
                        rows = cursor.fetchall()
                        self.assertEqual({row[0] == row[2] for row in rows} - {True}, set())
                        if what in ("DATABASES", "TIERS", "LIMIT", "BACKENDS", "CONFIG", "POOLS"):
                            whole = show(f"SHOW {what}{argument}").fetchall()
                            self.assertEqual([row[:2] for row in rows], [(row[-1], row[0]) for row in whole])
                (row,) = show("SHOW CLIENTS database, state, user").fetchmany(1)
                self.assertEqual(row, ("app", "idle", "app"))
                rows = show("SHOW TENANTS tenant, tier LIKE 'a%' LIMIT 1 AFTER 'aa'").fetchall()
                self.assertEqual(rows, [("app", "free")])
                with self.assertRaises(psycopg.errors.UndefinedColumn) as unknown:
                    show("SHOW CLIENTS database, usr")
                self.assertIn("did you mean user?", unknown.exception.diag.message_primary)
                self.assertIn("type, user, database", unknown.exception.diag.message_hint)

    def test_psql_reads_them_all(self):
        commands = [f"SHOW {what}{ARGUMENT.get(what, '')}" for what in (*COLUMNS, "HELP")]
        psql = [pg_program("psql"), "-X", "--csv", "-v", "ON_ERROR_STOP=1", "-h", self.weir.host, "-p", self.weir.port]
        for command in commands:
            done = run([*psql, "-U", "reader", "-d", "pgbouncer", "-c", command], env={"PGPASSWORD": "re4der"})
            self.assertEqual(done.returncode, 0, f"{command}: {done.stderr}")
            self.assertTrue(done.stdout or "Console commands:" in done.stderr, command)

    def probe(self, command):
        """As Railway's probe asks: psql --csv, rows read by the names of columns."""
        done = run(
            [pg_program("psql"), "-X", "--csv", "-c", command],
            env={"PGHOST": self.weir.host, "PGPORT": str(self.weir.port), "PGUSER": "reader", "PGPASSWORD": "re4der",
                 "PGDATABASE": "pgbouncer", "PGCONNECT_TIMEOUT": "20"},
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""), command)
        return list(csv.DictReader(done.stdout.splitlines()))

    def test_railways_probe(self):
        with self.weir.connect("app", "app") as client, self.weir.connect("app", "app") as idle:
            idle.execute("select 1")
            before = next(row for row in self.probe("SHOW STATS") if row["database"] == "app")
            with client.transaction():
                client.execute("select 1")
                wanted = {"user": "app", "cl_active": "2", "cl_waiting": "0", "sv_active": "1", "maxwait": "0"}

                def pools():
                    return [row for row in self.probe("SHOW POOLS") if row["database"] == "app"]

                # Clients of the test before may be about to go.
                wait_until(lambda: [row for row in pools() if wanted.items() <= row.items()], what=f"{wanted}")
                servers = [row for row in self.probe("SHOW SERVERS;") if row["database"] == "app"]
                busy = [row for row in servers if row["state"] == "active"]
                self.assertEqual(len(busy), 1)
                self.assertEqual((busy[0]["type"], busy[0]["port"]), ("S", str(self.postgres.port)))
                self.assertEqual(int(busy[0]["remote_pid"]), self.pid(client))
            after = next(row for row in self.probe("SHOW STATS") if row["database"] == "app")
            for column in ("total_xact_count", "total_query_count", "total_received", "total_sent", "total_xact_time"):
                self.assertGreater(int(after[column]), int(before[column]), column)
            for column in ("avg_query_time", "avg_wait_time", "avg_recv"):
                self.assertGreaterEqual(int(after[column]), 0)

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
        # Where all rows may be wanted, as by who writes bills, there is no limit but the one that is given.
        tiers = [row["tier"] for row in self.rows("SHOW TIERS", weir)]
        self.assertEqual([r["tier"] for r in self.rows(f"SHOW TIERS LIMIT 2 AFTER '{tiers[0]}'", weir)], tiers[1:3])
        with self.assertRaises(psycopg.errors.SyntaxError):
            weir.console("SHOW USAGE LIMIT some")
        self.assertEqual([r["tenant"] for r in self.rows("SHOW TENANTS LIKE 't_49'", weir)], ["t049", "t149", "t249"])
        tiers = {row["tier"]: row for row in self.rows("SHOW TIERS", weir)}
        self.assertEqual(tiers["pro"]["tenants"], 250)

    def test_usage_and_pins_by_pages(self):
        weir = self.pgweir({}, {"app": "s3cret", "admin": "adm1n"})
        with weir.connect("app", "app") as one, weir.connect("other", "app") as two:
            for client in (one, two):
                client.execute("create temporary table t (i int)")
            for what, key in (("USAGE", "tenant"), ("PINS", "database")):
                names = [row[key] for row in self.rows(f"SHOW {what}", weir)]
                self.assertLessEqual({"app", "other"}, set(names))
                for page, wanted in (("LIKE 'app'", ["app"]), ("LIMIT 1", names[:1]), ("LIMIT 0", []),
                                     ("AFTER 'app' LIMIT 1", ["other"]), (f"AFTER '{names[-1]}'", [])):
                    with self.subTest(what, page=page):
                        self.assertEqual([row[key] for row in self.rows(f"SHOW {what} {page}", weir)], wanted)
                self.assertEqual(self.rows(f"SHOW {what} {key} LIKE 'oth%'", weir), [{key: "other"}])

    def test_the_other_lists_by_pages(self):
        weir = self.pgweir(
            {"backends": {"spare": {"host": "127.0.0.1", "port": 1}}, "tenants": {"gone": {"backend": "main"}}},
            {"app": "s3cret", "admin": "adm1n"},
        )

        def by_pages(what, key, size=2):
            """All rows, page by page, each behind the last key of the one before."""
            rows, after = [], ""
            while page := self.rows(f"SHOW {what} LIMIT {size} AFTER '{after}'", weir):
                self.assertLessEqual(len(page), size)
                rows += page
                after = "/".join(str(page[-1][part]) for part in key.split("/") if page[-1][part] not in (None, ""))
            return rows

        with weir.connect("app", "app") as one, weir.connect("other", "app") as two, weir.connect("app", "app") as three:
            for client in (one, two, three):
                client.execute("create temporary table t (i int)")
            with self.assertRaises(psycopg.OperationalError):
                weir.connect("gone", "app").close()
            broken = self.rows("SHOW BREAKERS LIKE 'main/gone/%'", weir)
            self.assertEqual([(row["backend"], row["database"], row["user"]) for row in broken], [("main", "gone", "app")])
            for what, key in (("BACKENDS", "name"), ("BREAKERS", "backend/database/user"), ("WORKERS", "worker"),
                              ("PINNED_CLIENTS", "id"), ("CEILINGS", "tier/parameter/kind"), ("LIMIT app", "limit")):
                with self.subTest(what):
                    # Figures go on meanwhile; names do not.
                    names = [[row[part] for part in key.split("/")] for row in self.rows(f"SHOW {what}", weir)]
                    paged = [[row[part] for part in key.split("/")] for row in by_pages(what, key)]
                    self.assertGreaterEqual(len(names), 1)
                    self.assertEqual(sorted(map(repr, paged)), sorted(map(repr, names)))
                    self.assertEqual(len(self.rows(f"SHOW {what} LIKE '%' LIMIT 1", weir)), 1)
                    self.assertEqual(self.rows(f"SHOW {what} LIKE 'no such'", weir), [])
            self.assertEqual([row["name"] for row in self.rows("SHOW BACKENDS LIKE 'sp%'", weir)], ["spare"])
            pinned = self.rows("SHOW PINNED_CLIENTS database LIKE 'oth%'", weir)
            self.assertEqual(pinned, [{"database": "other"}])
        for command, words in (("SHOW WORKERS AFTER x", "AFTER takes a number here, not 'x'"),
                               ("SHOW BREAKERS LIMIT many", "LIMIT takes a whole number, not 'many'")):
            with self.assertRaises(psycopg.errors.SyntaxError) as wrong:
                weir.console(command)
            self.assertEqual(wrong.exception.diag.message_primary, words)
            self.assertTrue(wrong.exception.diag.message_hint)

    def test_a_connection_that_listens_is_told_everywhere(self):
        weir = self.pgweir({}, {"app": "s3cret", "admin": "adm1n"})
        with weir.connect("app", "app") as client:
            client.execute("listen news")

            def told():
                states = [(row["state"], row["link"]) for row in self.rows("SHOW SERVERS", weir)]
                (pool,) = [row for row in self.rows("SHOW POOLS", weir) if row["database"] == "app"]
                (database,) = [row for row in self.rows("SHOW DATABASES", weir) if row["name"] == "app"]
                (backend,) = self.rows("SHOW BACKENDS", weir)
                lists = {row["list"]: row["items"] for row in self.rows("SHOW LISTS", weir)}
                return (sorted(states), pool["sv_active"], pool["sv_idle"], database["current_connections"],
                        backend["current_connections"], lists["used_servers"])

            # The one without a link listens.
            wanted = ([("active", ""), ("idle", "")], 1, 1, 2, 2, 2)
            wait_until(lambda: told() == wanted, what=f"{wanted}")

    def test_users(self):
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            row = next(row for row in self.rows("SHOW USERS") if row["name"] == "app")
            self.assertEqual((row["current_connections"], row["current_client_connections"]), (1, 1))


class Commands(ConsoleCase):
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
        wait_until(lambda: '"log.level":"debug"' in weir.log(), what="a line of the level debug")
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

    def test_every_setting_that_can_be_changed_can_be_set(self):
        """To what it is: each that SHOW CONFIG calls changeable is taken, each other one refused."""
        rows = {
            "tiers": {"gold": {"pool_size": 3, "work_mem": "8MB"}},
            "tenants": {"app": {"tier": "gold", "max_clients": 9}},
        }
        weir = self.pgweir(rows, self.users)
        before = self.rows("SHOW CONFIG", weir)
        self.assertLess(
            {"tiers.gold.pool_size", "tenants.app.max_clients"}, {row["key"] for row in before}
        )
        taken = refused = 0
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            for row in before:
                key, value = row["key"], row["value"].replace("'", "''")
                if "*" in value:
                    continue  # a secret is not shown
                order = f"SET {key} = '{value}'"
                with self.subTest(order):
                    if row["changeable"] == "yes":
                        self.assertEqual(console.execute(order).statusmessage, "SET")
                        taken += 1
                    else:
                        with self.assertRaises(psycopg.errors.InvalidParameterValue) as error:
                            console.execute(order)
                        if key.startswith(("tiers.", "tenants.")):
                            self.assertIn("SET OVERRIDE", str(error.exception))
                        elif "." in key:  # else it is a name of PgBouncer's for what is no setting here
                            self.assertIn("next start only", str(error.exception))
                        refused += 1
        self.assertGreater(taken, 60)
        self.assertGreater(refused, 10)
        self.assertEqual(self.rows("SHOW CONFIG", weir), before)

    def test_secrets_do_not_come_into_the_log(self):
        weir = self.pgweir({}, self.users)
        weir.console("SET http.metrics_token = 'hush hush'")
        weir.console("SET backends.main.side_password = 'x;hush'")
        for refused in (
            "SET backends.main.side_pasword = 'x;hush'",
            "SET users.bob = 'hush'",
            "SET OVERRIDE app password 'x hush'",
            "SET OVERRIDE app pasword 'hush'",
        ):
            with self.assertRaises(psycopg.Error):
                weir.console(refused)
        wait_until(lambda: len(self.audit(weir)) == 6, what="six commands in the log")
        self.assertIn("users.bob = ********", [told[2] for told in self.audit(weir)])
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

    def shut(self, weir):
        try:
            weir.connect("app", "app").close()
        except psycopg.OperationalError:
            return True
        return False

    def test_shutdown_that_waits_for_servers(self):
        """Longer than shutdown_timeout, for the one that is lent; the client that has none goes at once."""
        weir = self.pgweir({"auth": {"method": "trust"}, "process": {"shutdown_timeout": "1s"}}, self.users)
        # libpq takes for a notice what comes with the end of an answer.
        idle = Wire(weir.port).login("app", "app")
        self.addCleanup(idle.close)
        with weir.connect("app", "app", autocommit=False) as busy:
            busy.execute("select 1")
            weir.console("SHUTDOWN WAIT_FOR_SERVERS")
            with self.assertRaises(Closed) as closed:
                while True:  # its worker hears of the order a little later
                    idle.query("select 1")
            last = first_error(closed.exception.messages)
            self.assertEqual(last["C"], "57P01")
            self.assertIn("shutting down", last["M"])
            wait_until(lambda: self.shut(weir), what="a closed door at each worker")
            for _ in range(4):
                busy.execute("select pg_sleep(0.5)")
            self.assertTrue(weir.alive)
            busy.commit()
            self.assertEqual(weir.wait_end(), 0)

    def test_sigterm_ends_a_shutdown_that_waits_for_servers(self):
        weir = self.pgweir({"process": {"shutdown_timeout": "20s"}}, self.users)
        client = weir.connect("app", "app", autocommit=False)
        self.addCleanup(client.close)
        client.execute("select 1")
        weir.console("SHUTDOWN WAIT_FOR_SERVERS")
        weir.signal()
        with self.assertRaises(psycopg.OperationalError):
            client.execute("select pg_sleep(15)")
        self.assertEqual(weir.wait_end(), 70)
        weir.has_logged('"message":"signal: ends at once"', 1)
        weir.has_logged('"message":"transactions cut off"', 1)

    def test_shutdown_that_waits_for_clients(self):
        weir = self.pgweir({"process": {"shutdown_timeout": "1s"}}, self.users)
        with weir.connect("app", "app") as client:
            client.execute("select 1")
            weir.console("SHUTDOWN WAIT_FOR_CLIENTS")
            wait_until(lambda: self.shut(weir), what="a closed door at each worker")
            # Longer than shutdown_timeout, between and in transactions.
            for _ in range(4):
                client.execute("select pg_sleep(0.5)")
            self.assertTrue(weir.alive)
        self.assertEqual(weir.wait_end(), 0)

    def test_show_ceilings(self):
        config = {
            "tiers": {"gold": {"work_mem": "64MB", "inject.application_name": "{tenant}"}},
            "tenants": {"app": {"tier": "gold", "statement_timeout": "5s"}},
        }
        weir = self.pgweir(config, self.users)
        rows = self.rows("SHOW CEILINGS app", weir)
        held = {row["parameter"]: row for row in rows}
        none = dict.fromkeys(("lowered", "refused", "enforced", "canceled", "ended"), 0)
        timeout = {"tier": "gold", "parameter": "statement_timeout", "kind": "ceiling", "value": "5s", **none}
        self.assertEqual(held["statement_timeout"], {**timeout, "source": "tenant", "firmness": "advisory"})
        name = {"tier": "gold", "parameter": "application_name", "kind": "injected", "value": "app", **none}
        self.assertEqual(held["application_name"], {**name, "source": "tier", "firmness": "advisory"})
        self.assertEqual((held["work_mem"]["source"], held["work_mem"]["firmness"]), ("tier", "advisory"))
        tiers = {row["tier"] for row in self.rows("SHOW CEILINGS", weir)}
        self.assertLessEqual({"free", "gold"}, tiers)
        # With a role that may end what goes on in Postgres.
        weir = self.pgweir({**config, "backends": {"main": {"side_user": "side"}}}, self.users)
        for command, tier in (("SHOW CEILINGS app", "gold"), ("SHOW CEILINGS", "free")):
            held = {(row["tier"], row["parameter"]): row["firmness"] for row in self.rows(command, weir)}
            self.assertEqual(held["gold", "work_mem"], "advisory")
            self.assertEqual(held[tier, "statement_timeout"], "firm")


class LargeTables(PgweirCase):
    def test_a_table_of_many_pieces_comes_whole_also_to_who_reads_late(self):
        names = [f"tenant_{n:04}" for n in range(3000)]
        tenants = {name: {"tier": "free"} for name in names}
        weir = self.pgweir({"auth": {"method": "trust"}, "tenants": tenants}, users={"admin": "adm1n"})
        with Wire(weir.port) as wire:
            wire.login("admin", "pgweir")
            # More than the system holds for who does not read.
            wire.send(*[query("SHOW DATABASES")] * 20, query("SHOW VERSION"))
            wire.send(parse("SHOW DATABASES name"), bind(), execute(), sync())
            with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as other:
                self.assertEqual(len(other.execute("SHOW DATABASES").fetchall()), len(names))
            for _ in range(20):
                messages = wire.until_ready()
                self.assertEqual(kinds(messages), "T" + "D" * len(names) + "CZ")
                self.assertEqual([row[6:17].decode() for _, row in messages[1:-2]], names)
            self.assertEqual(kinds(wire.until_ready()), "TDCZ")
            self.assertEqual(kinds(wire.until_ready()), "12" + "D" * len(names) + "CZ")


if __name__ == "__main__":
    unittest.main()
