"""Scale to zero: an idle tenant costs Postgres nothing, and its next query wakes it."""

import re
import signal
import threading
import time
import unittest
import urllib.error
import urllib.request

from harness import TRUST, PgweirCase, Sniffer, Wire, free_port, wait_until
from harness.wire import error_fields, first_error, query, startup

QUEUE_SECONDS = 1
CONNECTED = '"message":"server connected"'
DOWN_SECONDS = 5  # longer than the queue timeout
IDLE_SECONDS = 2
SETTLE_SECONDS = 0.5  # the last packets of connections that have just been closed


class Wake(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def weir(self, limits=None, server=None, backends=None, **pool):
        tier = {
            "pool_size": 2,
            "max_server_connections": 2,
            "server_idle_timeout": "500ms",
            "queue_timeout": f"{QUEUE_SECONDS}s",
            **(limits or {}),
        }
        tenants = {"app": {"tier": "test", "backend": "main", "database": "app"}}
        config = {
            "auth": {"method": "trust"},
            "tiers": {"test": tier},
            "tenants": tenants,
            "pool": pool,
            "server": server or {},
            "backends": backends or {},
            "http": {"port": free_port(), "addresses": ["127.0.0.1"]},
        }
        weir = self.pgweir(config, {"app": "s3cret", "admin": "adm1n"})
        weir.http_port = config["http"]["port"]
        return weir

    def client(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app")

    def servers(self):
        return self.postgres.sql(
            "select count(*) from pg_stat_activity where datname = 'app' and backend_type = 'client backend'"
        )[0][0]

    def asleep(self, weir):
        client = self.client(weir)
        self.assertEqual(client.value("select 1"), "1")
        wait_until(lambda: self.servers() == 0, what="the last server is closed")
        return client

    def test_an_idle_tenant_sends_nothing(self):
        weir = self.weir()
        client = self.asleep(weir)
        logins = self.postgres.log().count("connection authorized")
        connected = weir.log().count(CONNECTED)
        time.sleep(2)
        self.assertEqual(self.servers(), 0)
        self.assertEqual(self.postgres.log().count("connection authorized"), logins)
        self.assertEqual(weir.log().count(CONNECTED), connected)
        self.assertEqual(client.value("select 2"), "2")
        weir.has_logged(CONNECTED, connected + 1)

    def test_a_login_wakes_nobody(self):
        """What a server says at login is known; so a client comes in even while Postgres is stopped."""
        weir = self.weir()
        first = self.asleep(weir)
        logins = self.postgres.log().count("connection authorized")
        second = self.client(weir)
        self.assertEqual(second.parameters, first.parameters)
        self.assertIn("server_version", second.parameters)
        self.assertEqual(self.servers(), 0)
        self.assertEqual(self.postgres.log().count("connection authorized: user=app"), logins)
        self.postgres.stop()
        try:
            third = self.client(weir)
            self.assertEqual(third.parameters, first.parameters)
        finally:
            self.postgres.start()
        for n, client in enumerate((first, second, third)):
            self.assertEqual(client.value(f"select {n}"), str(n))

    def listens_to_idleness(self, weir):
        """Health checks ask all the time, and Postgres hears nothing of it."""
        time.sleep(SETTLE_SECONDS)
        asked = 0
        with Sniffer(self.postgres.port) as sniffer:
            end = time.monotonic() + IDLE_SECONDS
            while time.monotonic() < end:
                for path in ("healthz", "readyz", "metrics"):
                    try:
                        urllib.request.urlopen(f"http://127.0.0.1:{weir.http_port}/{path}", timeout=10).close()
                    except urllib.error.HTTPError as error:
                        self.assertEqual((path, error.code), ("readyz", 503))
                    asked += 1
                time.sleep(0.1)
        print(f"\n  {len(sniffer.packets)} packets in {IDLE_SECONDS} s and {asked} health checks", flush=True)
        self.assertEqual(sniffer.packets, [])

    def test_packets_are_counted(self):
        with Sniffer(self.postgres.port) as sniffer:
            self.client(self.weir()).query("select 1")
            wait_until(lambda: sniffer.packets, what="packets of a query")
        self.assertTrue(any(size > 0 and target == self.postgres.port for _, target, _, size in sniffer.packets))

    def test_idleness_is_silent(self):
        # Idle connections to a machine would be probed each second: there are none.
        weir = self.weir(server={"keepalive": "1s"})
        self.asleep(weir)
        self.listens_to_idleness(weir)

    def test_idleness_is_silent_where_nobody_came_yet(self):
        weir = self.weir()
        self.assertNotIn(CONNECTED, weir.log())
        self.listens_to_idleness(weir)

    def test_idleness_is_silent_after_a_failure(self):
        """Postgres is away, the breaker is open, and whoever wanted something has gone."""
        weir = self.weir(backends={"main": {"breaker_volume": 1, "breaker_open_time": "500ms"}})
        client = self.asleep(weir)
        self.postgres.stop()
        self.addCleanup(self.postgres.start)
        client.send(query("select 1"))
        wait_until(lambda: "breaker opened" in weir.log(), what="an open breaker")
        client.close()
        wait_until(lambda: self.waiting(weir) == 0, what="the client gone")
        self.listens_to_idleness(weir)

    @staticmethod
    def waiting(weir):
        columns, rows = weir.console("SHOW POOLS")
        return sum(row[columns.index("cl_waiting")] for row in rows)

    def wakes(self, weir):
        """Of the tier: how many there were, how long they took together, and how many took more than a second."""
        with urllib.request.urlopen(f"http://127.0.0.1:{weir.http_port}/metrics", timeout=10) as page:
            text = page.read().decode()

        def value(end, label=""):
            name = "pgweir_wake_duration_seconds_" + end
            return float(re.search(rf'^{name}\{{tier="test"{label}\}} (\S+)$', text, re.M)[1])

        return value("count"), value("sum"), value("bucket", ',le="\\+Inf"') - value("bucket", ',le="1"')

    def answers_after(self, weir, client, start):
        answer = []
        counted, took, long = self.wakes(weir)
        asked = time.monotonic()
        asking = threading.Thread(target=lambda: answer.append(client.value("select 3")), daemon=True)
        asking.start()
        time.sleep(DOWN_SECONDS)
        self.assertEqual(answer, [])
        start()
        begun = time.monotonic()
        asking.join(20)
        self.assertEqual(answer, ["3"])
        answered = time.monotonic()
        self.assertLess(answered - begun, 5)
        weir.has_logged(re.compile(r"woke_after_ms\W+[23456789]\d{3}\b"))
        now_counted, now_took, now_long = self.wakes(weir)
        self.assertEqual((now_counted - counted, now_long - long), (1, 1))
        self.assertTrue(DOWN_SECONDS - 1 < now_took - took <= answered - asked, now_took - took)

    def test_a_query_waits_for_a_postgres_that_is_started(self):
        weir = self.weir()
        client = self.asleep(weir)
        self.postgres.stop()
        self.answers_after(weir, client, self.postgres.start)

    def test_a_query_waits_for_a_postgres_that_does_not_answer(self):
        weir = self.weir()
        client = self.asleep(weir)
        self.postgres.process.send_signal(signal.SIGSTOP)
        try:
            self.answers_after(weir, client, lambda: self.postgres.process.send_signal(signal.SIGCONT))
        finally:
            self.postgres.process.send_signal(signal.SIGCONT)

    def test_the_wait_ends(self):
        weir = self.weir(wake_timeout="2s")
        client = self.asleep(weir)
        self.postgres.stop()
        try:
            begun = time.monotonic()
            client.send(query("select 4"))
            kind, payload = client.receive()
            while kind != b"E":
                kind, payload = client.receive()
            waited = time.monotonic() - begun
            error = error_fields(payload)
            self.assertEqual(error["C"], "57P03", error)
            self.assertIn("pool.wake_timeout", error["H"])
            self.assertTrue(1.9 < waited < 10, waited)
        finally:
            self.postgres.start()

    def test_a_name_that_does_not_resolve_is_tried_again(self):
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {"main": {"host": "no-such-host.invalid"}},
                "tenants": {"app": {"tier": "pro", "backend": "main", "database": "app"}},
                "pool": {"wake_timeout": "2s"},
            },
            {"app": "s3cret"},
        )
        with Wire(weir.port) as wire:
            begun = time.monotonic()
            wire.send(startup("app", "app"))
            error = first_error(wire.until_closed())
            waited = time.monotonic() - begun
        self.assertEqual(error["C"], "57P03", error)
        self.assertIn("no-such-host.invalid", error["M"])
        self.assertTrue(1.9 < waited < 15, waited)
        self.assertGreaterEqual(weir.log().count('"message":"server login failed"'), 2)

    def test_who_waits_for_the_rate_does_not_wait_for_postgres(self):
        weir = self.weir({"transactions_per_minute": 6, "burst": 2, "at_rate": "throttle"})
        first = self.asleep(weir)
        second = self.client(weir)
        self.postgres.stop()
        try:
            first.send(query("select 5"))  # the last that may begin for 10 s
            begun = time.monotonic()
            second.send(query("select 6"))
            kind, payload = second.receive()
            while kind != b"E":
                kind, payload = second.receive()
            waited = time.monotonic() - begun
            self.assertEqual(error_fields(payload)["C"], "53400", error_fields(payload))
            self.assertTrue(0.9 < waited < 4, waited)
        finally:
            self.postgres.start()


if __name__ == "__main__":
    unittest.main()
