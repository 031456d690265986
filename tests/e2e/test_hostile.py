"""Clients and servers that break every rule: they are shown out, and nobody else notices."""

import queue
import random
import socket
import struct
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

from harness import FREES_AT_ONCE, TRUST, PgweirCase, Wire, free_port, wait_until
from harness import fake_server as fake
from harness.wire import (
    CANCEL_REQUEST,
    SSL_REQUEST,
    VERSION_3_0,
    Closed,
    bind,
    error_fields,
    execute,
    first_error,
    kinds,
    message,
    parse,
    query,
    special,
    startup,
    sync,
)

CLOSES_WITHIN = 12  # more than the login timeout of these tests, less than any other
LANES = 4  # of what is tried at the same time
SINGLES = [f"single{lane}" for lane in range(LANES)]


class Hostile(PgweirCase):
    """The stand: one real tenant, tenants on lying servers, and a healthy client at work all the time."""

    postgres_options = {"hba": TRUST}
    databases = ("app", *SINGLES)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.liars = [fake.FakePostgres(free_port()) for _ in range(LANES)]
        for liar in cls.liars:
            cls.addClassCleanup(liar.close)
        small = {"pool_size": 1, "max_server_connections": 1, "max_clients": 200, "queue_timeout": "1s"}
        wide = {"pool_size": 4, "max_server_connections": 4, "max_clients": 200, "queue_timeout": "20s"}
        cls.weir = cls.class_pgweir(
            {
                "auth": {"method": "trust"},
                "client": {"login_timeout": "4s"},
                "server": {"connect_timeout": "2s"},
                # A server that lies at its login looks like one that wakes up. The first question that liars are
                # asked is to be the client's.
                "pool": {"wake_timeout": "1s", "read_functions": False},
                "backends": cls.lying_backends(),
                "tiers": {"small": small, "wide": wide},
                "tenants": {
                    "app": {"tier": "wide", "backend": "main", "database": "app"},
                    **{name: {"tier": "small", "backend": "main", "database": name} for name in SINGLES},
                    **cls.lied_tenants(),
                },
            },
            {"app": "s3cret"},
        )

    @classmethod
    def lying_backends(cls):
        return {f"liar{lane}": {"host": liar.host, "port": liar.port} for lane, liar in enumerate(cls.liars)}

    @staticmethod
    def lied_tenants():
        row = {"tier": "small", "database": "lied"}
        return {f"lied{lane}": {"backend": f"liar{lane}", **row} for lane in range(LANES)}

    def setUp(self):
        self._stop = threading.Event()
        self._failure = None
        self._answers = 0
        self._healthy = threading.Thread(target=self._work)
        self._healthy.start()
        self.addCleanup(self._check_healthy)

    def _work(self):
        try:
            with self.weir.connect("app", "app") as client:
                while not self._stop.is_set():
                    self._answers += 1
                    row = client.execute("select %s::int", (self._answers,)).fetchone()
                    assert row == (self._answers,), row
                    time.sleep(0.005)
        except Exception as error:  # reported by the main thread
            self._failure = error

    def _check_healthy(self):
        wait_until(lambda: self._answers or self._failure, what="the healthy client's first answer")
        self._stop.set()
        self._healthy.join(30)
        self.assertFalse(self._healthy.is_alive(), "the healthy client hangs")
        self.assertIsNone(self._failure)

    def each(self, rows, work):
        """work(lane, row) for each of the named rows, those of different lanes at the same time."""
        lanes = queue.SimpleQueue()
        for lane in range(LANES):
            lanes.put(lane)

        def one(row):
            lane = lanes.get()
            try:
                work(lane, row)
            except Exception as error:  # reported below, by its name
                return error
            finally:
                lanes.put(lane)
            return None

        with ThreadPoolExecutor(LANES) as threads:
            errors = list(threads.map(one, rows.values()))
        for name, error in zip(rows, errors):
            with self.subTest(name):
                if error:
                    raise error

    def ends(self, wire, seconds=CLOSES_WITHIN):
        """All messages until pgweir closes; fails if it does not."""
        wire.socket.settimeout(seconds)
        try:
            return wire.until_closed()
        except TimeoutError:
            self.fail("still open")


def truncations(text):
    """The packet, cut at every byte of its head and some of the rest."""
    cuts = list(range(min(len(text), 24))) + random.Random(1).sample(range(len(text)), 6)
    return [text[:cut] for cut in sorted(set(cuts))]


class BeforeLogin(Hostile):
    def hit(self, text, half_close=False):
        with Wire(self.weir.port) as wire:
            try:
                wire.send(text)
                if half_close:
                    wire.socket.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # closed already
            return self.ends(wire)

    def test_malformed(self):
        good = startup("app", "app")
        length = lambda size: struct.pack("!i", size) + good[4:]  # noqa: E731
        texts = {
            "length 0": length(0),
            "length 3": length(3),
            "length 7": length(7),
            "length -1": length(-1),
            "length 2^31-1": length(2**31 - 1),
            "length 10001": length(10_001) + b"a" * 10_000,
            "too long and nothing more": struct.pack("!ii", 10_000_000, VERSION_3_0),
            "protocol 1": struct.pack("!ii", 8, 1 << 16),
            "protocol 2": startup("app", "app", version=2 << 16),
            "protocol 4": startup("app", "app", version=4 << 16),
            "nothing in it": struct.pack("!ii", 8, VERSION_3_0),
            "no user": struct.pack("!ii", 9, VERSION_3_0) + b"\0",
            "empty user": startup("", "app"),
            "no end": good[:3] + bytes([good[3] - 1]) + good[4:-1],
            "bytes behind the end": struct.pack("!i", len(good) + 4) + good[4:] + b"more",
            "name without value": struct.pack("!ii", 13, VERSION_3_0) + b"user\0",
            "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "tls hello without being asked": bytes.fromhex("160301020001000001fc0303") + b"\0" * 500,
            "zeros": b"\0" * 20000,
            "ones": b"\xff" * 20000,
            "cancel too short": struct.pack("!ii", 8, CANCEL_REQUEST),
            "cancel too long": struct.pack("!ii", 2000, CANCEL_REQUEST) + b"x" * 1992,
            "second request for tls": special(SSL_REQUEST) * 3,
        }
        self.each(texts, lambda lane, text: self.assertNotIn("Z", kinds(self.hit_plain(text))))

    def hit_plain(self, text):
        """Messages of the answer, without the single byte that answers an SSLRequest."""
        with Wire(self.weir.port) as wire:
            try:
                wire.send(text)
            except OSError:
                pass
            wire.socket.settimeout(CLOSES_WITHIN)
            if text.startswith(special(SSL_REQUEST)):
                wire.take(1)
            return self.ends(wire)

    def test_truncated(self):
        for text in truncations(startup("app", "app", application_name="cut")):
            with self.subTest(len(text)):
                self.assertNotIn("Z", kinds(self.hit(text, half_close=True)))

    def test_options_that_lead_nowhere(self):
        for options in ("-c=", "-c", "-", "--", "-c =", "--=", "\\", "-c a", " " * 5000, "-c\\", "-S", "--a" * 2000):
            with self.subTest(options[:20]), Wire(self.weir.port) as wire:
                wire.send(startup("app", "app", options=options), query("select 1"), message(b"X"))
                self.ends(wire)

    def test_many_parameters(self):
        many = {f"app.p{n}": "x" * 10 for n in range(400)}
        self.hit(startup("app", "app", **many) + message(b"X"))

    def test_a_second_startup_message_during_authentication(self):
        weir = self.pgweir({"auth": {"method": "scram-sha-256"}}, {"app": "s3cret", "admin": "adm1n"})
        for second in (startup("admin", "pgweir"), special(SSL_REQUEST), special(CANCEL_REQUEST, b"\0" * 8)):
            with self.subTest(second[:8]), Wire(weir.port) as wire:
                wire.send(startup("app", "postgres"))
                self.assertEqual(wire.receive()[0], b"R")
                wire.send(second)
                error = first_error(self.ends(wire))
                self.assertEqual(error["C"], "08P01")

    def test_authentication_out_of_turn(self):
        weir = self.pgweir({"auth": {"method": "scram-sha-256"}}, {"app": "s3cret"})
        texts = {
            "query": query("select 1"),
            "sync": message(b"S"),
            "length 3": b"p" + struct.pack("!i", 3),
            "length 2^31-1": b"p" + struct.pack("!i", 2**31 - 1) + b"x" * 100,
            "70 kB": message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", 70_000) + b"n" * 70_000),
            "empty": message(b"p"),
            "no mechanism": message(b"p", b"\0"),
            "unknown mechanism": message(b"p", b"PLAIN\0" + struct.pack("!i", 1) + b"x"),
            "plus": message(b"p", b"SCRAM-SHA-256-PLUS\0" + struct.pack("!i", 8) + b"n,,n=,r="),
            "lying length": message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", 5000) + b"n,,n=,r=x"),
            "no nonce": message(b"p", b"SCRAM-SHA-256\0" + struct.pack("!i", 8) + b"n,,n=,r="),
            "final first": message(b"p", b"c=biws,r=abc,p=AAAA"),
            "password": message(b"p", b"s3cret\0"),
        }
        for name, text in texts.items():
            with self.subTest(name), Wire(weir.port) as wire:
                wire.send(startup("app", "postgres"))
                self.assertEqual(wire.receive()[0], b"R")
                wire.send(text)
                messages = self.ends(wire)
                self.assertNotIn("Z", kinds(messages))

    def test_a_crowd_that_says_nothing(self):
        crowd = [Wire(self.weir.port) for _ in range(150)]
        try:
            with Wire(self.weir.port) as wire:
                self.assertEqual(wire.login("app", "app").value("select 1"), "1")
            for wire in crowd:
                self.ends(wire)
        finally:
            for wire in crowd:
                wire.close()


class AfterLogin(Hostile):
    def hit(self, text, database="app"):
        """Sends it after a login and then a question; the messages until the end or the second answer."""
        with Wire(self.weir.port) as wire:
            wire.login("app", database)
            wire.socket.settimeout(CLOSES_WITHIN)
            messages = []
            try:
                wire.send(text)
                wire.send(query("select 'after'"))
                while True:
                    messages.append(wire.receive())
                    if messages[-1][0] == b"D" and messages[-1][1].endswith(b"after"):
                        return messages
            except (Closed, OSError) as error:
                if isinstance(error, TimeoutError):
                    self.fail(f"neither answered nor closed: {kinds(messages)}")
                return messages

    def assert_shown_out(self, messages):
        error = first_error(messages)
        if error:  # a reset may have eaten it
            self.assertEqual(error["C"], "08P01", error)
        self.assertNotIn("D", kinds(messages))

    def test_unknown_types(self):
        known = b"BCDEFHPQSXcdfp"
        for kind in [bytes([code]) for code in range(256) if code not in known][::5] + [b"Z", b"R", b"T", b"K"]:
            with self.subTest(kind):
                self.assert_shown_out(self.hit(message(kind, b"x")))

    def test_lengths(self):
        for kind in (b"Q", b"P", b"B", b"S", b"d", b"X"):
            for size in (0, 3, -1, -(2**31), 2**31 - 1):
                with self.subTest(kind, size=size):
                    self.assert_shown_out(self.hit(kind + struct.pack("!i", size) + b"x" * 50))

    def test_a_second_startup_message(self):
        self.assert_shown_out(self.hit(startup("postgres", "pgweir")))
        self.assert_shown_out(self.hit(special(SSL_REQUEST)))

    def test_a_password_after_the_login(self):
        self.assert_shown_out(self.hit(message(b"p", b"s3cret\0")))

    def test_bodies(self):
        """What is wrong inside a message is Postgres's to say or ours; the session goes on or ends."""
        texts = [
            message(b"Q", b"select 1"),
            message(b"Q", b""),
            message(b"Q", b"select 1\0select 2\0"),
            message(b"P", b""),
            message(b"P", b"name\0"),
            message(b"P", b"\0select 1\0\xff\xff"),
            message(b"P", b"\0select 1\0\x00\x02\0\0"),
            message(b"B", b"\0\0\0\1\0\7"),
            message(b"B", b"\0\0\x7f\xff"),
            message(b"B", b"nowhere\0nothing\0\0\0\0\0\0\0"),
            message(b"D", b"X\0"),
            message(b"D", b""),
            message(b"C", b"Q\0"),
            message(b"E", b"nowhere\0\0\0\0\0"),
            message(b"E", b""),
            message(b"F", b"\0\0\0\1"),
            message(b"F", b""),
            message(b"d", b"not in a copy"),
            message(b"c"),
            message(b"f", b"no\0"),
            message(b"S", b"more"),
            message(b"H", b"more"),
            message(b"Q", b"s" * 3_000_000 + b"\0"),
            message(b"P", b"n" * 100_000 + b"\0select 1\0\0\0"),
        ]
        for text in texts:
            with self.subTest(text[:20]):
                # After an error in an extended batch all is skipped up to a Sync.
                self.hit(text + message(b"S"))
                self.assert_clean()

    def assert_clean(self):
        with Wire(self.weir.port) as wire:
            self.assertEqual(wire.login("app", "app").value("select 'clean'"), "clean")

    def test_random_bytes(self):
        chance = random.Random(7)
        for _ in range(120):
            with Wire(self.weir.port) as wire:
                wire.login("app", "app")
                try:
                    wire.send(chance.randbytes(chance.choice((1, 5, 9, 60, 3000))))
                    wire.socket.shutdown(socket.SHUT_WR)  # some would be the head of a long message
                except OSError:
                    pass  # closed already
                self.ends(wire)
        self.assert_clean()

    def test_random_messages(self):
        chance = random.Random(8)
        for _ in range(150):
            parts = [
                message(bytes([chance.choice(b"BCDEFHPQScdf")]), chance.randbytes(chance.choice((0, 1, 8, 40))))
                for _ in range(chance.randrange(1, 6))
            ]
            self.hit(b"".join(parts) + message(b"S"))
            self.assert_clean()

    def leave(self, lane, *texts, reset=False, read=0):
        """Sends and goes, in a pool of one server; whoever comes next finds it clean."""
        wire = Wire(self.weir.port).login("app", SINGLES[lane])
        for text in texts:
            wire.send(text)
            time.sleep(0.03)
        for _ in range(read):
            wire.receive()
        if reset:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.close()

    def next_one(self, lane, mark):
        """The next client waits at most the second that its tier allows it to queue, and is tried again."""
        deadline = time.monotonic() + 15
        while True:
            try:
                with Wire(self.weir.port) as wire:
                    wire.login("app", SINGLES[lane])
                    return wire.value(f"select '{mark}' || pg_current_xact_id_if_assigned() is null")
            except (Closed, AssertionError):
                if time.monotonic() > deadline:
                    raise

    def test_leaving_in_the_middle(self):
        for database in SINGLES:
            self.postgres.sql("create table taken (t text); alter table taken owner to app", database)
        whole = query("select 1")
        scenes = {
            "half a header": [whole[:3]],
            "half a query": [whole[:-4]],
            "a transaction": [query("begin; select 1")],
            "a transaction and half a query": [query("begin; create table half (x int)"), whole[:-4]],
            "a failed transaction": [query("begin; select 1/0")],
            "a running query": [query("select pg_sleep(30)")],
            "a batch without its end": [message(b"P", b"\0select 1\0\0\0"), message(b"H")],
            "a copy": [query("copy pg_temp.nowhere from stdin")],
            "a copy in": [query("copy taken from stdin"), message(b"d", b"row\n")],
            "half a copy row": [query("copy taken from stdin"), message(b"d", b"row\n" * 100)[:-9]],
            "a copy out": [query("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout")],
            "a big answer": [query("select repeat('x', 1000) from generate_series(1, 200000)")],
            "a temporary table": [query("create temp table left_behind (x int)")],
            "a setting": [query("set work_mem = '7MB'")],
            "a lock": [query("select pg_advisory_lock(77)")],
        }

        def leaves(lane, row):
            texts, reset = row
            self.leave(lane, *texts, reset=reset)
            self.assertEqual(self.next_one(lane, "me"), "t")

        rows = {(name, reset): (texts, reset) for name, texts in scenes.items() for reset in (False, True)}
        self.each(rows, leaves)
        for database in SINGLES:
            with Wire(self.weir.port) as wire:
                wire.login("app", database)
                self.assertEqual(wire.value("show work_mem"), "4MB")
                self.assertEqual(wire.value("select count(*) from pg_locks where locktype = 'advisory'"), "0")
                left = "select to_regclass('left_behind') is null and to_regclass('half') is null"
                self.assertEqual(wire.value(left), "t")

    def test_asking_without_reading(self):
        """Thousands of requests, no answer read: pgweir stops reading, too (SendsWithoutReading measures it)."""
        with Wire(self.weir.port) as wire:
            wire.login("app", "app")
            wire.socket.settimeout(3)
            try:
                for _ in range(200):
                    wire.send(query("select repeat('y', 10000)") * 50)
            except TimeoutError:
                pass
        self.assert_clean()


class SendsWithoutReading(PgweirCase):
    """Of what pgweir answers by itself no server holds a client up: what it does not read must, as with a server."""

    postgres_options = {"hba": TRUST}
    SENDS_MOST = 24 << 20  # bytes of each client
    READS_MOST = 400_000  # bytes of the requests of a client that reads
    GROWS_MOST = 16 << 20  # bytes of the process, for all of them together
    FLOODS = {
        "Sync": ([], sync()),
        "DISCARD ALL": ([], query("discard all")),
        "DEALLOCATE ALL": ([], query("deallocate all")),
        "RESET ALL": ([], query("reset all")),
        "UNLISTEN *": ([], query("unlisten *")),
        "CLOSE ALL": ([], query("close all")),
        "DEALLOCATE ALL of a pinned client": (["create temp table mine (i int)"], query("deallocate all")),
        "Parse, Close, Sync": ([], parse("select 1", "a") + message(b"C", b"Sa\0") + sync()),
        "Close, Sync": ([], message(b"C", b"Sa\0") + sync()),
        "refused": ([], query("select 1")),
        "answers of a server": ([], query("select repeat('y', 10000)")),
    }
    CONSOLE_FLOODS = {
        "Sync": sync(),
        "an empty query": query(""),
        "what the console cannot read": query("select"),
        "Parse, Sync": parse("show version") + sync(),
    }

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_database("app", owner="app")
        wide = {"pool_size": 8, "max_server_connections": 8, "max_clients": 200}
        none = {
            "pool_size": 1,
            "max_server_connections": 1,
            "transactions_per_minute": 1,
            "at_rate": "reject",
        }
        backend = {"backend": "main", "database": "app"}
        cls.weir = cls.class_pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"wide": wide, "none": none},
                "tenants": {"app": {"tier": "wide", **backend}, "refused": {"tier": "none", **backend}},
            },
            {"app": "s3cret", "admin": "adm1n"},
            env=FREES_AT_ONCE,
        )

    def client(self, name):
        before, _ = self.FLOODS[name]
        wire = Wire(self.weir.port).login("app", "refused" if name == "refused" else "app")
        self.addCleanup(wire.close)
        wire.query("select 1")
        for sql in before:
            wire.query(sql)
        return wire

    def console(self):
        wire = Wire(self.weir.port).login("admin", "pgweir")
        self.addCleanup(wire.close)
        return wire

    def flood(self, wire, text, most):
        """Sends until nothing more is taken for a while; how many bytes went."""
        wire.socket.settimeout(2)
        piece, sent = text * (50_000 // len(text)), 0
        try:
            while sent < most:
                sent += wire.socket.send(piece[sent % len(text) :])
        except TimeoutError:
            pass
        return sent

    def test_memory(self):
        floods = [(name, self.client(name), text) for name, (_, text) in self.FLOODS.items()]
        floods += [(f"console: {name}", self.console(), text) for name, text in self.CONSOLE_FLOODS.items()]
        before = self.weir.resident()
        with ThreadPoolExecutor(len(floods)) as threads:
            sent = list(threads.map(lambda each: self.flood(*each[1:], self.SENDS_MOST), floods))
        grown = self.weir.resident() - before
        self.assertLess(grown, self.GROWS_MOST, {name: size for (name, _, _), size in zip(floods, sent)})
        for (name, _, _), size in zip(floods, sent):
            with self.subTest(name):
                self.assertLess(size, self.SENDS_MOST)

    def test_who_reads_late_hears_all(self):
        """What waited is answered in order as soon as the client reads, and then the next."""
        names = ("DISCARD ALL", "DEALLOCATE ALL of a pinned client", "Parse, Close, Sync")
        rows = [(name, self.client(name), self.FLOODS[name][1]) for name in names]
        rows += [("console", self.console(), self.CONSOLE_FLOODS["what the console cannot read"])]

        def asks_and_reads(row):
            _, wire, text = row
            # So that less of it waits in the kernel.
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
            sent = self.flood(wire, text, self.READS_MOST)
            time.sleep(0.5)  # in which pgweir answers until it has to wait
            rest = text[sent % len(text) :] if sent % len(text) else b""
            sender = threading.Thread(target=wire.socket.sendall, args=(rest,))
            wire.socket.settimeout(60)
            sender.start()
            for _ in range((sent + len(rest)) // len(text)):
                wire.until_ready()
            sender.join()
            wire.send(sync())
            return kinds(wire.until_ready())

        with ThreadPoolExecutor(len(rows)) as threads:
            for (name, _, _), last in zip(rows, threads.map(asks_and_reads, rows)):
                with self.subTest(name):
                    self.assertEqual(last, "Z")


class TakesWork(PgweirCase):
    """What one tenant sends, or has in its database, takes long to look through: a neighbour on the same loop goes
    on, and the watchdog finds nothing."""

    postgres_options = {"hba": TRUST}
    databases = ("one", "other")

    def setUp(self):
        tier = {"pool_size": 1, "max_server_connections": 1, "max_clients": 50, "work_mem": "1MB"}
        self.weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "process": {"threads": 1},
                "tiers": {"narrow": tier},
                "tenants": {
                    name: {"tier": "narrow", "backend": "main", "database": name} for name in ("one", "other")
                },
            },
            {"app": "s3cret"},
        )
        self.neighbour = Wire(self.weir.port, timeout=60).login("app", "other")
        self.addCleanup(self.neighbour.close)
        self.assertEqual(self.neighbour.value("select 1"), "1")

    def tenant(self):
        wire = Wire(self.weir.port, timeout=120).login("app", "one")
        self.addCleanup(wire.close)
        return wire

    def goes_on(self):
        self.assertEqual(self.neighbour.value("select 2"), "2")
        self.assertTrue(self.weir.alive)

    def test_code_with_many_executes(self):
        code = "begin " + "execute 'select 1'||',a.'||" * 1900 + "'x'; end"
        texts = ";".join(f"do $q{i}$ {code} $q{i}$" for i in range(6))
        self.assertGreater(len(texts), 300_000)
        error = first_error(self.tenant().query(texts))
        self.assertEqual(error["C"], "42704", error)
        self.goes_on()

    def test_functions_that_are_slow_to_read(self):
        executes = "execute 'select a'||" * 380
        body = "begin " + executes + "'" + ",1" * 1700 + "'; end"
        self.postgres.sql(
            "set role app; set check_function_bodies = off;"
            + "".join(
                f"create function f{i}() returns int language plpgsql as $$ {body} $$;" for i in range(60)
            ),
            "one",
        )
        self.assertEqual(self.tenant().value("select 1"), "1")
        self.goes_on()

    def test_a_pipeline_over_a_long_statement(self):
        # What no cache keeps: one long statement has a name, the other none.
        text = f"select set_config('app.a', '1', true) where 1 in ({'1,' * 3900}1) /*{'x' * 900_000}*/"
        for name, count in (("long", 1500), ("", 100)):
            with self.subTest(name=name):
                wire = self.tenant()
                uses = (bind(name) + execute()) * count
                sender = threading.Thread(target=wire.send, args=(parse(text, name) + uses + sync(),))
                sender.start()
                self.addCleanup(sender.join)
                done = threading.Event()
                answers = []
                reader = threading.Thread(target=lambda: (answers.extend(wire.until_ready()), done.set()))
                reader.start()
                self.addCleanup(reader.join)
                served = 0
                while not done.is_set():
                    self.assertEqual(self.neighbour.value("select 1"), "1")
                    served += 1
                self.assertEqual(kinds(answers), "1" + "2DC" * count + "Z")
                self.assertGreater(served, 5)
                self.goes_on()


class LyingServers(Hostile):
    def tearDown(self):
        for liar in self.liars:
            liar.behaviour = fake.honest("1")
            liar.hang_up()
        super().tearDown()

    def behave(self, behaviour, lane=0):
        self.liars[lane].behaviour = behaviour
        self.liars[lane].hang_up()
        time.sleep(0.05)

    def logged_in(self, lane=0):
        """A client of a lied-to tenant; the queue of its tier lasts one second, so it is tried again."""
        deadline = time.monotonic() + 20
        while True:
            wire = Wire(self.weir.port)
            try:
                return wire.login("app", f"lied{lane}")
            except Closed:
                wire.close()
                if time.monotonic() > deadline:
                    raise

    def raw_answer(self, wire):
        """Every byte that comes until the end."""
        wire.socket.settimeout(CLOSES_WITHIN)
        received = b""
        try:
            while more := wire.socket.recv(65536):
                received += more
        except ConnectionResetError:
            pass
        except TimeoutError:
            self.fail(f"still open after {received!r}")
        return received

    def test_death_at_every_byte(self):
        """What the client gets is a beginning of the true answer; an error stands behind a whole message only."""
        parts = [
            fake.row_description("name", "amount"),
            fake.data_row("the first row, whole", "10"),
            fake.data_row("the second row of the answer, E\0\0\0\x05Z", "20"),
            fake.complete("SELECT 2"),
            fake.READY,
        ]
        answer = b"".join(parts)
        boundaries = {sum(len(part) for part in parts[:n]) for n in range(len(parts) + 1)}

        def dies(lane, cut):
            then = fake.Session.reset if cut % 2 else (lambda session: None)
            self.behave(fake.answering(answer[:cut], then), lane)
            with self.logged_in(lane) as wire:
                wire.send(query("select name, amount from account"))
                received = self.raw_answer(wire)
            self.check_beginning(received, answer, boundaries)

        cuts = range(1, len(answer) - len(fake.READY))
        self.each({f"{'reset' if cut % 2 else 'close'} at {cut}": cut for cut in cuts}, dies)

    def check_beginning(self, received, answer, boundaries):
        same = 0
        while same < min(len(received), len(answer)) and received[same] == answer[same]:
            same += 1
        rest = received[same:]
        if rest:
            self.assertIn(same, boundaries, f"{rest!r} written into the middle of a message")
            self.assertEqual(rest[:1], b"E")
            (size,) = struct.unpack("!i", rest[1:5])
            fields = error_fields(rest[5 : 1 + size])
            self.assertIn(fields["C"], ("08006", "57P01", "57P02", "57P03", "08P01"), fields)
            self.assertIn(rest[1 + size :], (b"", fake.READY), "exactly one error")

    def test_lies_in_an_answer(self):
        row = fake.row_description("x") + fake.data_row("1")
        end = fake.complete("SELECT 1") + fake.READY
        lies = {
            "unknown type": row + message(b"\x80", b"what") + end,
            "length 3": row + b"D" + struct.pack("!i", 3) + end,
            "length -1": row + b"D" + struct.pack("!i", -1) + end,
            "length 2^31-1": row + b"D" + struct.pack("!i", 2**31 - 1) + b"x" * 1000,
            "authentication again": fake.AUTHENTICATION_OK + end,
            "asks for a password": message(b"R", struct.pack("!i", 3)) + end,
            "another key": message(b"K", b"\0" * 8) + end,
            "ready with a wrong status": fake.complete("SELECT 1") + message(b"Z", b"Q"),
            "ready without a status": fake.complete("SELECT 1") + message(b"Z"),
            "ready twice": row + end + fake.READY,
            "two answers": row + end + row + end,
            "a copy nobody asked for": message(b"G", b"\0\0\0") + end,
            "an error without any field": message(b"E", b"\0") + fake.READY,
            "an error without sqlstate": message(b"E", b"SERROR\0Mno code\0\0") + fake.READY,
            "an error without an end": message(b"E", b"SERROR") + fake.READY,
            "an empty error": message(b"E") + fake.READY,
            "a setting without a value": message(b"S", b"TimeZone") + end,
            "an empty setting": message(b"S") + end,
            "a client's message": message(b"Q", b"select 1\0") + end,
            "negotiation": message(b"v", b"\0\0\0\0\0\0\0\0") + end,
            "random bytes": random.Random(3).randbytes(500),
            "parse completes": message(b"1") + end,
        }
        # Of legal form, as far as a pooler can see: what is in such a message is for the client to read.
        passes = {
            "an error without any field",
            "an error without sqlstate",
            "an error without an end",
            "a setting without a value",
        }

        def tell(lane, named):
            name, lie = named
            self.behave(fake.answering(lie), lane)
            with self.logged_in(lane) as wire:
                wire.send(query("select x"))
                if name in passes:
                    wire.until_ready()
                else:
                    self.assert_blames_the_server(wire.until_closed())
            self.behave(fake.honest("7"), lane)
            with self.logged_in(lane) as wire:
                self.assertEqual(wire.value("select x"), "7")

        self.each({name: (name, lie) for name, lie in lies.items()}, tell)

    def assert_blames_the_server(self, messages):
        """Not the client, as 08P01 would."""
        self.assertEqual(kinds(messages).count("E"), 1)
        error = error_fields(messages[-1][1])
        self.assertEqual(
            (error["S"], error["C"], error["M"]), ("FATAL", "08006", "server connection broke the protocol")
        )
        self.assertRegex(error["D"], r"^The server (sent|answered) .*\.$")
        self.assertIn("Connect again", error["H"])

    def raw_answer_or_quiet(self, wire):
        """A lie of legal form may pass; a lie that promises more bytes leaves the client waiting for them."""
        wire.socket.settimeout(0.5)
        try:
            while wire.socket.recv(65536):
                pass
        except (ConnectionResetError, TimeoutError):
            pass

    def test_nothing_of_a_lie_reaches_the_next_client(self):
        """A server that says more than it was asked is not lent again."""
        row = fake.row_description("x") + fake.data_row("stray")
        end = fake.complete("SELECT 1") + fake.READY
        count = [0]

        def twice_at_first(session):
            count[0] += 1
            answer = fake.row_description("x") + fake.data_row("true") + end
            extra = row + end if count[0] == 1 else b""
            fake.answering(answer + extra)(session)

        self.behave(twice_at_first)
        with self.logged_in() as wire:
            wire.send(query("select x"), message(b"X"))
            self.raw_answer_or_quiet(wire)
        for _ in range(5):
            with self.logged_in() as wire:
                self.assertEqual(wire.value("select x"), "true")

    def test_talking_while_idle(self):
        for text in (fake.READY, message(b"D", b"\0\0"), b"\0" * 50, message(b"E", b"SFATAL\0C57P01\0Mgoing\0\0")):
            with self.subTest(text[:5]):
                said = threading.Event()

                def behaviour(session, text=text, said=said):
                    session.login()
                    session.receive()
                    session.send(fake.row_description("x"), fake.data_row("1"), fake.complete("SELECT 1"), fake.READY)
                    time.sleep(0.1)
                    if not said.is_set():
                        said.set()
                        session.send(text)
                        time.sleep(5)

                self.behave(behaviour)
                with self.logged_in() as wire:
                    self.assertEqual(wire.value("select x"), "1")
                said.wait(5)
                self.behave(fake.honest("2"))
                with self.logged_in() as wire:
                    self.assertEqual(wire.value("select x"), "2")

    def login_lie(self, *messages, wait=0.0):
        """A server that says this instead of a welcome."""

        def behaviour(session):
            session.startup()
            session.send(*messages)
            if wait:
                time.sleep(wait)
            while True:
                session.receive()

        return behaviour

    def test_lies_at_the_login(self):
        ask = lambda code, rest=b"": message(b"R", struct.pack("!i", code) + rest)  # noqa: E731
        scram = ask(10, b"SCRAM-SHA-256\0\0")
        lies = {
            "hangs up": [],
            "garbage": [b"\xff" * 100],
            "http": [b"HTTP/1.1 400 Bad Request\r\n\r\n"],
            "clear password": [ask(3)],
            "md5 with a short salt": [ask(5, b"ab")],
            "kerberos": [ask(7)],
            "unknown method": [ask(99)],
            "no mechanism": [ask(10, b"\0")],
            "another mechanism": [ask(10, b"PLAIN\0\0")],
            "continue without a beginning": [ask(11, b"r=x,s=eA==,i=4096")],
            "final without a beginning": [ask(12, b"v=AAAA")],
            "ok in the middle of scram": [scram, ask(0), fake.READY],
            "ready without authentication": [fake.READY],
            "length 2^31-1": [b"R" + struct.pack("!i", 2**31 - 1)],
            "length 3": [b"R" + struct.pack("!i", 3)],
            "no code": [message(b"R")],
            "an error without sqlstate": [message(b"E", b"SFATAL\0Mno\0\0")],
            "an empty error": [message(b"E")],
            "a row": [fake.data_row("x")],
            "no parameters": [fake.AUTHENTICATION_OK, fake.READY],
            "not idle": [fake.AUTHENTICATION_OK, message(b"S", b"a\0b\0"), message(b"Z", b"T")],
            "says nothing": None,
        }

        def tell(lane, lie):
            if lie is None:
                self.behave(lambda session: (session.startup(), time.sleep(5)), lane)
            elif not lie:
                self.behave(lambda session: session.startup(), lane)
            else:
                self.behave(self.login_lie(*lie), lane)
            with Wire(self.weir.port) as wire:
                wire.send(startup("app", f"lied{lane}"), query("select 1"))
                messages = self.ends(wire, seconds=20)
                self.assertNotIn("D", kinds(messages))
            self.assertNotIn(b"s3cret", self.liars[lane].received())

        self.each(lies, tell)
        for lane in range(LANES):
            self.behave(fake.honest("8"), lane)
            with self.logged_in(lane) as wire:
                self.assertEqual(wire.value("select x"), "8")

    def test_lies_about_functions(self):
        """They are asked for before the first client is served. Its own answer is true all the same."""
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": self.lying_backends(),
                "tiers": {"small": {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "20s"}},
                "tenants": self.lied_tenants(),
            },
            {"app": "s3cret"},
        )
        end = fake.complete("SELECT 1") + fake.READY
        print_row, body = fake.data_row("1 1"), ("16400", "f", "sql", "select set_config('a.b', '', false)")
        lies = {
            "nothing": [fake.READY],
            "an error": [message(b"E", b"SERROR\0C42501\0Mno\0\0") + fake.READY],
            "too few columns": [print_row + end, fake.data_row("16400") + end],
            "no number": [print_row + end, fake.data_row("0); drop table t --", *body[1:]) + end],
            "a long row": [print_row + end, fake.data_row("16400", "f", "sql", "x" * 100_000) + end],
            "half a row": [print_row[:9]],
            "half a message behind the answer": [print_row + end + message(b"N", bytes(40))[:20]],
            "an unknown message": [message(b"@", b"")],
            "rows for ever": [print_row * 50_000 + end, fake.data_row(*body) * 50_000 + end],
            "silence": [b""],
        }

        def tell(lane, answers):
            asked = []

            def behaviour(session):
                session.login()
                while True:
                    kind, payload = session.receive()
                    if kind == b"X":
                        return
                    if b"pg_catalog, pg_temp" in payload:
                        asked.append(payload)
                        session.send(answers[min(len(asked), len(answers)) - 1])
                        if len(answers[-1]) < 10:
                            time.sleep(10)
                    elif kind in (b"Q", b"S"):
                        session.send(fake.row_description("x"), fake.data_row("true"), end)

            self.behave(behaviour, lane)
            weir.console(f"reconnect lied{lane}")
            with Wire(weir.port) as wire:
                wire.login("app", f"lied{lane}")
                self.assertEqual(wire.value("select x"), "true")
            self.assertGreater(len(asked), 0)

        self.each(lies, tell)

    def scram_lie(self, first, final=None):
        """Speaks SCRAM up to the point where it lies; `first` and `final` make the server's messages."""

        def behaviour(session):
            session.startup()
            session.send(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
            _, payload = session.receive()
            nonce = payload.split(b"r=")[-1]
            session.send(message(b"R", struct.pack("!i", 11) + first(nonce)))
            session.receive()
            if final is not None:
                session.send(message(b"R", struct.pack("!i", 12) + final))
            session.send(fake.welcome())
            while True:
                session.receive()
                session.send(fake.row_description("x"), fake.data_row("1"), fake.complete("SELECT 1"), fake.READY)

        return behaviour

    def test_lies_in_scram(self):
        lies = {
            "a billion iterations": (lambda nonce: b"r=" + nonce + b"xx,s=c2FsdA==,i=2147483647", None),
            "no iterations": (lambda nonce: b"r=" + nonce + b"xx,s=c2FsdA==,i=0", None),
            "another nonce": (lambda nonce: b"r=another,s=c2FsdA==,i=4096", None),
            "our nonce only": (lambda nonce: b"r=" + nonce + b",s=c2FsdA==,i=4096", None),
            "a long nonce": (lambda nonce: b"r=" + nonce + b"y" * 60000 + b",s=c2FsdA==,i=4096", None),
            "bad base64": (lambda nonce: b"r=" + nonce + b"xx,s=***,i=4096", None),
            "no proof": (lambda nonce: b"r=" + nonce + b"xx,s=c2FsdA==,i=4096", None),
            "a wrong proof": (lambda nonce: b"r=" + nonce + b"xx,s=c2FsdA==,i=4096", b"v=" + b"A" * 43 + b"="),
            "an error for a proof": (lambda nonce: b"r=" + nonce + b"xx,s=c2FsdA==,i=4096", b"e=other-error"),
        }

        def tell(lane, lie):
            self.behave(self.scram_lie(*lie), lane)
            with Wire(self.weir.port) as wire:
                wire.send(startup("app", f"lied{lane}"), query("select 1"))
                messages = self.ends(wire, seconds=20)
                self.assertNotIn("D", kinds(messages), "a server that proved nothing was believed")

        self.each(lies, tell)


del Hostile  # so that unittest does not take it for a test class

if __name__ == "__main__":
    unittest.main()
