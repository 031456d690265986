"""Every limit answers: with its SQLSTATE, which limit it was, and what to do."""

import itertools
import ssl
import struct
import threading
import time
import unittest
import urllib.request

from harness import FREES_AT_ONCE, TRUST, Authority, PgweirCase, Wire, free_port, side_by_side, wait_until
from harness.wire import (
    SSL_REQUEST,
    Closed,
    error_fields,
    first_error,
    kinds,
    parse,
    query,
    special,
    startup,
    sync,
)


class Limits(PgweirCase):
    postgres_options = {"hba": TRUST}
    _numbers = itertools.count(1)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.users = {"app": "s3cret", "admin": "adm1n"}

    def setUp(self):
        """Databases of its own for each of two tenants: the tests run side by side."""
        number = next(self._numbers)
        self.databases = {name: f"{name}{number}" for name in ("app", "other")}
        for database in self.databases.values():
            self.postgres.create_database(database, owner="app")

    def weir(self, tier=None, env=None, **config):
        row = {"pool_size": 2, "max_server_connections": 2, "max_clients": 50, "queue_timeout": "30s", **(tier or {})}
        tenants = {
            name: {"tier": "test", "backend": "main", "database": database} for name, database in self.databases.items()
        }
        return self.pgweir(
            {"auth": {"method": "trust"}, "tiers": {"test": row}, "tenants": tenants, **config}, self.users, env=env
        )

    def wire(self, weir, database="app", **parameters):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", database, **parameters)

    def refused_login(self, weir, database="app", **parameters):
        with Wire(weir.port) as wire:
            wire.send(startup("app", database, **parameters))
            error = first_error(wire.until_closed())
            self.assertIsNotNone(error, "the login was not refused")
            return error

    def next_error(self, wire):
        while True:
            kind, payload = wire.receive()
            if kind == b"E":
                return error_fields(payload)

    def assert_answered(self, error, code):
        self.assertEqual(error["C"], code, error)
        self.assertTrue(error["M"])

    def assert_timed(self, error, code, setting, did, limit):
        """How long it took is told, which limit that was, and its value."""
        self.assert_answered(error, code)
        self.assertEqual((error["S"], error["M"]), ("FATAL", f"terminating connection due to {setting}"))
        self.assertRegex(error["D"], rf"^{did} \d+(\.\d+)?s; {limit} are allowed\.$")
        self.assertRegex(error["H"], rf", or raise {setting}\.$")

    def test_clients_of_a_tenant(self):
        weir = self.weir({"max_clients": 3})
        clients = [self.wire(weir) for _ in range(3)]
        error = self.refused_login(weir)
        self.assert_answered(error, "53300")
        self.assertEqual(error["S"], "FATAL")
        self.assertIn("3", error["M"] + error["D"])
        self.assertIn("H", error)
        self.wire(weir, "other")  # another tenant does not notice
        clients.pop().close()
        wait_until(lambda: self.may_enter(weir), what="the place of a client that left")

    def may_enter(self, weir):
        with Wire(weir.port) as wire:
            wire.send(startup("app", "app"))
            try:
                return kinds(wire.until_ready()).endswith("Z")
            except Closed:
                return False

    def test_clients_in_all(self):
        weir = self.weir(client={"max": 4})
        clients = [self.wire(weir, database) for database in ("app", "other", "app", "other")]
        error = self.refused_login(weir)
        self.assert_answered(error, "53300")
        self.assertEqual(error["D"], "client.max allows 4 connections.")
        self.assertIn("raise client.max", error["H"])
        for client in clients:
            self.assertEqual(client.value("select 1"), "1")

    def test_logins_under_way_count(self):
        """Those who say nothing keep out neither clients, nor the console when clients have filled it."""
        weir = self.weir(client={"max": 4})
        silent = [Wire(weir.port) for _ in range(150)]
        for wire in silent:
            self.addCleanup(wire.close)
        clients = [self.wire(weir) for _ in range(4)]

        def connections():
            return self.count(weir, "login_clients") + len(clients)

        # 64 more may be about to log in; each of two workers has the newest and one that was told to go.
        wait_until(lambda: connections() <= 4 + 64 + 4, what="the oldest logins ended")
        self.assertGreater(connections(), 60)
        error = first_error(silent[0].until_closed())
        self.assert_answered(error, "53300")
        self.assertEqual(error["D"], "client.max allows 4 connections, and 64 more may be logging in.")
        self.assertIn("raise client.max", error["H"])
        self.assert_answered(self.refused_login(weir), "53300")
        for client in clients:
            self.assertEqual(client.value("select 1"), "1")
        clients.pop().close()
        wait_until(lambda: self.may_enter(weir), what="the place of a client that left")

    def count(self, weir, what):
        return dict(weir.console("SHOW LISTS")[1])[what]

    def test_the_queue(self):
        weir = self.weir({"pool_size": 1, "max_server_connections": 1, "queue_timeout": "1s"})
        holder, queued = self.wire(weir), self.wire(weir)
        holder.query("begin")
        begun = time.monotonic()
        queued.send(query("select 1"))
        error = self.next_error(queued)
        waited = time.monotonic() - begun
        self.assert_full(error, waiting=1)
        self.assertGreater(waited, 0.9)
        self.assertLess(waited, 6)
        self.assertEqual(kinds(holder.query("commit")), "CZ")

    def assert_full(self, error, waiting):
        self.assert_answered(error, "53300")
        self.assertIn("no server connection became free within", error["M"])
        self.assertEqual(
            error["D"],
            f'tenant "app" (tier test): 1 of max_server_connections 1 are in use, {waiting} clients wait.',
        )
        self.assertRegex(error["H"], "^Shorten transactions, or choose a tier that allows more")

    def test_the_queue_while_servers_are_replaced(self):
        """Each client in front ends with its server, and the next one has to log in: that is no outage."""
        # A wait that ends while nobody's server does: the third one ends at 3 s.
        row = {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "2500ms"}
        weir = self.weir({**row, "idle_in_transaction_session_timeout": "1s"})
        for _ in range(7):
            self.wire(weir).send(query("begin"))
        late = self.wire(weir)
        begun = time.monotonic()
        late.send(query("select 1"))
        self.assert_answered(self.next_error(late), "53300")
        waited = time.monotonic() - begun
        self.assertGreater(waited, 2.4)
        self.assertLess(waited, 6)

    def test_the_length_of_the_queue(self):
        weir = self.weir({"pool_size": 1, "max_server_connections": 1, "max_waiting_clients": 2})
        holder, late = self.wire(weir), self.wire(weir)
        waiting = [self.wire(weir) for _ in range(2)]
        holder.query("begin")
        for wire in waiting:
            wire.send(query("select 1"))

        def shown():
            rows = {row[0]: row for row in weir.console("SHOW LIMIT app")[1]}
            return rows["max_waiting_clients"]

        wait_until(lambda: shown()[2] == "2", what="two in the queue")
        self.assertEqual(shown()[1], "2")
        for _ in range(3):
            begun = time.monotonic()
            error = first_error(late.query("select 1"))
            self.assertLess(time.monotonic() - begun, 5)
            self.assert_answered(error, "53300")
            self.assertIn('tenant "app"', error["M"])
            self.assertIn("max_waiting_clients of tier test: 2 of 2", error["D"])
            self.assertTrue(error["H"])
        holder.query("commit")
        for wire in waiting:
            self.assertEqual(kinds(wire.until_ready()), "TDCZ")
        self.assertEqual(late.value("select 1"), "1")
        self.assertEqual(shown()[2], "0")

    def test_the_statements_of_a_client(self):
        weir = self.weir({"max_client_statements": 2, "max_client_statement_bytes": 1000}, http={"port": free_port()})
        wire = self.wire(weir)

        def prepare(name, sql="select 1"):
            wire.send(parse(sql, name), sync())
            return first_error(wire.until_ready())

        self.assertIsNone(prepare("a"))
        error = prepare("large", "select " + "1" * 2000)
        self.assert_answered(error, "53400")
        self.assertIn("max_client_statement_bytes of tier test", error["D"])
        self.assertIsNone(prepare("b"))
        error = prepare("c")
        self.assert_answered(error, "53400")
        self.assertIn('tenant "app"', error["M"])
        self.assertIn("max_client_statements of tier test: 2 of 2", error["D"])
        self.assertTrue(error["H"])
        rows = {row[0]: row for row in weir.console("SHOW LIMIT app")[1]}
        self.assertEqual(rows["max_client_statements"][1:3], ("2", "2"))
        with urllib.request.urlopen(f"http://127.0.0.1:{weir.config['http']['port']}/metrics", timeout=20) as answer:
            metrics = answer.read().decode()
        for limit in ("max_client_statements", "max_client_statement_bytes"):
            self.assertIn(f'pgweir_limit_hits_total{{tier="test",limit="{limit}"}} 1\n', metrics)
        self.assertIsNone(first_error(wire.query("deallocate a")))
        self.assertIsNone(prepare("c"))
        self.assertIsNone(first_error(self.wire(weir).query("select 1")))

    def test_a_long_wait_is_announced(self):
        weir = self.weir({"pool_size": 1, "max_server_connections": 1})
        holder, queued = self.wire(weir), self.wire(weir)
        holder.query("begin")
        queued.send(query("select 1"))
        kind, payload = queued.receive()
        self.assertEqual(kind, b"N", payload)
        holder.query("commit")
        self.assertEqual(kinds(queued.until_ready()), "TDCZ")

    def test_first_come_first_served(self):
        weir = self.weir({"pool_size": 1, "max_server_connections": 1})
        holder = self.wire(weir)
        holder.query("begin")
        order = []
        queued = []
        for n in range(6):
            wire = self.wire(weir)
            wire.send(query(f"select {n}, clock_timestamp()"))
            queued.append(wire)
            time.sleep(0.05)
        holder.query("commit")
        for n, wire in enumerate(queued):
            for kind, payload in wire.until_ready():
                if kind == b"D":
                    (size,) = struct.unpack("!i", payload[2:6])
                    order.append((payload[10 + size :], n))
        self.assertEqual([n for _, n in sorted(order)], list(range(6)))

    def servers(self, condition="true"):
        text = f"select count(*) from pg_stat_activity where datname = '{self.databases['app']}' and "
        return self.postgres.sql(text + "backend_type = 'client backend' and " + condition)[0][0]

    def sleeping(self):
        return self.servers("state = 'active' and query like 'select pg_sleep(%'")

    def test_query_timeout(self):
        weir = self.weir(client={"query_timeout": "1s"})
        client = self.wire(weir)
        self.assertEqual(client.value("select 1"), "1")
        client.send(query("select pg_sleep(60)"))
        self.assert_timed(self.next_error(client), "57014", "client.query_timeout", "The request ran for", "1s")
        wait_until(lambda: self.sleeping() == 0, what="the query ended in Postgres, too")
        self.assertEqual(self.wire(weir).value("select 2"), "2")

    def test_idle_in_transaction(self):
        weir = self.weir(client={"idle_transaction_timeout": "1s"})
        client = self.wire(weir)
        client.query("begin")
        client.query("lock table pg_description in access exclusive mode")
        self.assert_idle_in_transaction(self.next_error(client))
        wait_until(lambda: self.open_transactions() == 0, what="its transaction is rolled back")
        idle = self.wire(weir)
        time.sleep(1.5)
        self.assertEqual(idle.value("select 1"), "1", "outside a transaction nothing is timed")

    def assert_idle_in_transaction(self, error):
        setting = "client.idle_transaction_timeout"
        self.assert_timed(error, "25P03", setting, "The transaction was idle for", "1s")

    def open_transactions(self):
        return self.servers("state like 'idle in transaction%'")

    def test_a_flush_does_not_rearm_the_idle_clock(self):
        weir = self.weir(client={"idle_transaction_timeout": "1s"})
        client = self.wire(weir)
        client.query("begin")
        client.send(b"H\0\0\0\4")
        self.assert_idle_in_transaction(self.next_error(client))

    def test_transaction_timeout(self):
        weir = self.weir(client={"transaction_timeout": "1500ms"})
        client = self.wire(weir)
        client.query("begin")
        error = None
        for _ in range(100):
            client.send(query("select pg_sleep(0.1)"))
            kind = payload = b""
            while kind not in (b"Z", b"E"):
                kind, payload = client.receive()
            if kind == b"E":
                error = error_fields(payload)
                break
        self.assertIsNotNone(error, "ten seconds passed")
        self.assert_timed(error, "25P04", "client.transaction_timeout", "The transaction ran for", "1.5s")
        wait_until(lambda: self.open_transactions() == 0, what="its transaction is rolled back")

    def test_servers_kept_while_a_tenant_has_clients(self):
        weir = self.weir(tier={"min_server_connections": 2, "server_idle_timeout": "1s"})
        client = self.wire(weir)
        wait_until(lambda: self.servers() == 2, what="the second server is opened ahead")
        time.sleep(2.5)  # more than the idle time
        self.assertEqual(self.servers(), 2)
        client.close()
        wait_until(lambda: self.servers() == 0, what="both are closed when nobody is left")

    def test_idle_servers_are_closed_under_a_client(self):
        weir = self.weir(tier={"server_idle_timeout": "1s"})
        client = self.wire(weir)
        self.assertEqual(client.value("select 1"), "1")
        wait_until(lambda: self.servers() == 0, what="the last idle server is closed")
        self.assertEqual(client.value("select 2"), "2")

    def test_idle_client(self):
        weir = self.weir(client={"idle_timeout": "1s"})
        client = self.wire(weir)
        self.assertEqual(client.value("select 1"), "1")
        error = self.next_error(client)
        self.assert_timed(error, "57P05", "client.idle_timeout", "The session was idle for", "1s")
        self.assertEqual(client.until_closed(), [])

    def test_who_never_says_who_he_is(self):
        weir = self.weir(client={"login_timeout": "1s"}, auth={"method": "scram-sha-256"})
        half = startup("app", "app")[:20]
        silent = {"nothing": b"", "two bytes": b"\0\0", "half a packet": half, "no password": startup("app", "app")}
        sockets = {}
        for name, text in silent.items():
            sockets[name] = Wire(weir.port)
            self.addCleanup(sockets[name].close)
            sockets[name].send(text)
        begun = time.monotonic()
        for name, wire in sockets.items():
            with self.subTest(name):
                error = first_error(wire.until_closed())
                self.assertLess(time.monotonic() - begun, 6)
                self.assert_answered(error, "57014")
                self.assertEqual(error["D"], "The login was not complete after 1s.")
                self.assertIn("raise client.login_timeout", error["H"])
        self.assertGreater(time.monotonic() - begun, 0.8)

    def test_servers_of_a_backend(self):
        backend = {"host": self.postgres.host, "port": self.postgres.port, "max_server_connections": 3}
        weir = self.weir({"pool_size": 3, "max_server_connections": 3}, backends={"main": backend})
        most = 0
        stop = threading.Event()

        def watch():
            nonlocal most
            text = f"select count(*) from pg_stat_activity where datname in {tuple(self.databases.values())}"
            with self.postgres.connect() as direct:
                while not stop.is_set():
                    most = max(most, direct.execute(text).fetchone()[0])
                    time.sleep(0.01)

        def work(database):
            with weir.connect(database, "app") as client:
                for _ in range(30):
                    client.execute("select pg_sleep(0.01)")

        watcher = threading.Thread(target=watch)
        workers = [threading.Thread(target=work, args=(name,)) for name in ("app", "other") for _ in range(4)]
        for thread in [watcher, *workers]:
            thread.start()
        for thread in workers:
            thread.join(60)
        stop.set()
        watcher.join()
        self.assertLessEqual(most, 3)
        self.assertGreater(most, 0)

    def test_slow_reader_and_fast_server(self):
        """A client that does not read holds a bounded part of its answer in pgweir, and loses nothing of it."""
        certificate = Authority().issue("localhost")
        weir = self.weir(
            env=FREES_AT_ONCE,
            client={
                "tls_mode": "allow",
                "tls_cert_file": str(certificate.cert),
                "tls_key_file": str(certificate.key),
            },
        )
        for name, client in (("plain", self.wire(weir)), ("TLS", self.wire_with_tls(weir))):
            with self.subTest(name):
                self.assert_held_up(weir, client)

    def assert_held_up(self, weir, client):
        def ask(size):
            client.send(query(f"select repeat('x', {size})"))

        def answered(size):
            messages = client.until_ready()
            self.assertEqual(kinds(messages), "TDCZ")
            self.assertEqual(len(messages[1][1]), size + 6)

        ask(1_000_000)  # for what it needs once
        answered(1_000_000)
        before = weir.resident()
        ask(60_000_000)
        # Postgres waits to send, or has sent it all.
        still = "query like '%60000000%' and (wait_event = 'ClientWrite' or state = 'idle')"
        wait_until(lambda: all(time.sleep(0.1) or self.servers(still) == 1 for _ in range(5)), what="an end of it")
        self.assertLess(weir.resident() - before, 8 << 20)
        answered(60_000_000)

    def test_a_stream_that_pauses(self):
        """Much comes, and may be read in few pieces; where no more comes, nothing of it waits."""
        weir, client = self.weir(), None
        rows = "select repeat('x', 1000) from generate_series(1, 3000) union all select pg_advisory_xact_lock(7)::text"
        with self.postgres.connect(self.databases["app"]) as holder:
            for text in (f"copy ({rows}) to stdout", rows):
                holder.execute("select pg_advisory_lock(7)")
                client = client or self.wire(weir)
                client.send(query(text))
                come = [client.receive()[0] for _ in range(2990)]  # Postgres keeps up to 8 kB for itself
                self.assertEqual(set(come[1:]), {b"d"} if text.startswith("copy") else {b"D"})
                holder.execute("select pg_advisory_unlock(7)")
                self.assertEqual(len(client.until_ready()), 1 + 3001 + len("cCZ" if text.startswith("copy") else "CZ") - 2990)
                self.assertEqual(client.value("select 1"), "1")

    def wire_with_tls(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(lambda: wire.close())
        wire.send(special(SSL_REQUEST))
        self.assertEqual(wire.take(1), b"S")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        wire.socket = context.wrap_socket(wire.socket)
        return wire.login("app", "app")


class Down(PgweirCase):
    """Postgres is not there when pgweir starts."""

    postgres_options = {"hba": TRUST}

    def weir(self, queue_timeout):
        tier = {"pool_size": 2, "max_server_connections": 2, "max_clients": 50, "queue_timeout": queue_timeout}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "client": {"query_wait_timeout": queue_timeout},
                "tiers": {"test": tier},
                "tenants": {"postgres": {"tier": "test", "backend": "main", "database": "postgres"}},
            },
            {"postgres": "x"},
        )

    def setUp(self):
        self.postgres.stop()

    def tearDown(self):
        if self.postgres.process is None:
            self.postgres.start()
        super().tearDown()

    def test_clients_wait_and_are_told(self):
        weir = self.weir("2s")
        begun = time.monotonic()
        with Wire(weir.port) as wire:
            wire.send(startup("postgres", "postgres"), query("select 1"))
            error = first_error(wire.until_closed())
        self.assertEqual(error["C"], "57P03", error)
        self.assertGreater(time.monotonic() - begun, 1.5)
        self.assertLess(time.monotonic() - begun, 8)

    def test_who_waited_is_served_when_it_comes(self):
        weir = self.weir("30s")
        with Wire(weir.port) as wire:
            wire.send(startup("postgres", "postgres"))
            time.sleep(0.5)
            self.postgres.start()
            ready = time.monotonic()
            wire.until_ready()
            self.assertEqual(wire.value("select 1"), "1")
            self.assertLess(time.monotonic() - ready, 2)


class StartupParameters(PgweirCase):
    """What a client asks for in its startup packet holds, on whatever server it lands."""

    postgres_options = {"hba": TRUST}
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"test": {"pool_size": 1, "max_server_connections": 1, "max_clients": 50}},
                "tenants": {"app": {"tier": "test", "backend": "main", "database": "app"}},
            },
            {"app": "s3cret"},
        )

    def wire(self, port=None, **parameters):
        wire = Wire(port or self.weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app", **parameters)

    CASES = [
        ({"statement_timeout": "1234"}, "statement_timeout", "1234ms"),
        ({"search_path": "pg_catalog, public"}, "search_path", "pg_catalog, public"),
        ({"options": "-c geqo=off"}, "geqo", "off"),
        ({"options": "-c geqo=off --work-mem=8MB -capplication_name=a\\ b"}, "work_mem", "8MB"),
        ({"options": "-c geqo=off -capplication_name=a\\ b"}, "application_name", "a b"),
        ({"application_name": "mine"}, "application_name", "mine"),
        ({"client_encoding": "LATIN1"}, "client_encoding", "LATIN1"),
        ({"DateStyle": "German, DMY"}, "DateStyle", "German, DMY"),
        ({"TimeZone": "Asia/Tokyo"}, "TimeZone", "Asia/Tokyo"),
        ({"extra_float_digits": "3"}, "extra_float_digits", "3"),
        ({"default_transaction_isolation": "serializable"}, "transaction_isolation", "serializable"),
        ({"app.tenant": "seven"}, "app.tenant", "seven"),
    ]

    def test_they_hold(self):
        for parameters, name, expected in self.CASES:
            with self.subTest(name, **parameters):
                self.assertEqual(self.wire(**parameters).value(f"show {name}"), expected)

    def test_they_hold_for_their_client_only(self):
        clients = [(self.wire(**parameters), name, expected) for parameters, name, expected in self.CASES]
        plain = self.wire()
        defaults = {name: plain.value(f"select current_setting('{name}', true)") for _, name, _ in self.CASES}
        for _ in range(3):
            for client, name, expected in clients:
                self.assertEqual(client.value(f"show {name}"), expected)
                self.assertEqual(plain.value(f"select current_setting('{name}', true)"), defaults[name])

    def test_reported_as_asked(self):
        client = self.wire(application_name="mine", TimeZone="Asia/Tokyo", client_encoding="latin1")
        told = {key: client.parameters[key] for key in ("application_name", "TimeZone", "client_encoding")}
        self.assertEqual(told, {"application_name": "mine", "TimeZone": "Asia/Tokyo", "client_encoding": "LATIN1"})
        direct = self.wire(self.postgres.port)
        plain = self.wire()
        self.assertEqual(plain.parameters, direct.parameters)

    def refusal(self, port, **parameters):
        with Wire(port) as wire:
            wire.send(startup("app", "app", **parameters), query("select 1"))
            messages = wire.until_closed()
            error = first_error(messages)
            self.assertIsNotNone(error, kinds(messages))
            return error["S"], error["C"], error["M"]

    def test_what_postgres_refuses(self):
        for parameters in (
            {"statement_timeout": "soon"},
            {"nonsense": "1"},
            {"options": "-c nonsense=1"},
            {"options": "-c work_mem=1kB"},
            {"client_encoding": "EBCDIC"},
            {"TimeZone": "Mars/Olympus"},
            {"shared_buffers": "1GB"},
        ):
            with self.subTest(**parameters):
                direct = self.refusal(self.postgres.port, **parameters)
                self.assertEqual(self.refusal(self.weir.port, **parameters), direct)
                self.assertEqual(self.wire().value("select 1"), "1")

    def test_protocol_versions(self):
        for version, options, negotiated in (
            (3 << 16, {}, False),
            ((3 << 16) + 2, {}, False),
            ((3 << 16) + 9999, {}, True),
            (3 << 16, {"_pq_.nonsense": "1"}, True),
        ):
            with self.subTest(version=hex(version), **options), Wire(self.weir.port) as wire:
                wire.send(startup("app", "app", version=version, **options))
                messages = wire.until_ready()
                self.assertEqual([kind for kind, _ in messages].count(b"v"), int(negotiated), kinds(messages))
                self.assertEqual(wire.value("select 1"), "1")

    def test_an_error_in_a_batch_leaves_it_usable(self):
        client = self.wire()
        client.send(parse("select 1/0 from nowhere"), parse("select 1"), sync())
        self.assertEqual(kinds(client.until_ready()), "EZ")
        self.assertEqual(client.value("select 1"), "1")


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Limits)


if __name__ == "__main__":
    unittest.main()
