"""What a platform and an operator see of a tenant store that is late, there, and lost: /readyz and /metrics."""

import os
import re
import signal
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

from harness import TRUST, PgweirCase, Postgres, Redis, Wire, free_port, wait_until
from harness.wire import VERSION_3_0, special, startup

TABLES = Path(__file__).parents[2] / "packaging/postgres/tenant_store.sql"


class Readiness(PgweirCase):
    def ask(self, path):
        """(status, body)"""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def figure(self, name):
        status, text = self.ask("/metrics")
        self.assertEqual(status, 200, text)
        return float(re.search(rf"^{name} (\S+)$", text, re.M)[1])

    def test_a_store_that_comes_late_and_is_lost(self):
        self.postgres.create_user("app", "s3cret")
        self.postgres.create_database("acme", owner="app")
        redis = Redis()
        self.addCleanup(redis.stop)
        redis.stop()
        self.http = free_port()
        store = {"kind": "redis", "redis_url": redis.url(), "ttl": "200ms", "timeout": "300ms", "stale_max": "2s"}
        weir = self.pgweir(
            {"http": {"port": self.http}, "tenant_store": store, "pool": {"default_tier": "free"}}, {"app": "s3cret"}
        )
        self.assertEqual(self.ask("/healthz"), (200, "alive\n"))
        self.assertEqual(self.ask("/readyz"), (503, "not ready: waits for: the first answer of the tier store\n"))
        wait_until(lambda: self.figure("pgweir_tenant_store_silent_seconds") > 0, what="its silence")

        redis.start()
        wait_until(lambda: self.ask("/readyz") == (200, "ready\n"), seconds=20, what="readiness")
        redis.tenant("acme", tier="pro")
        wait_until(lambda: self.figure("pgweir_tenant_store_silent_seconds") == 0, seconds=20, what="its answers")
        with weir.connect("acme", "app") as client:
            client.execute("select 1")
            wait_until(lambda: self.figure("pgweir_tenant_store_known_tenants") == 1, what="a tenant of the store")
            self.assertGreater(self.figure("pgweir_tenant_store_fetches_total"), 0)
            self.assertEqual(self.figure("pgweir_tenant_store_stale_tenants"), 0)

            redis.stop()
            wait_until(lambda: self.figure("pgweir_tenant_store_stale_tenants") == 1, seconds=20, what="a stale tenant")
            self.assertGreater(self.figure("pgweir_tenant_store_silent_seconds"), 0)
            self.assertGreater(self.figure("pgweir_tenant_store_failures_total"), 0)
            # It was there once: clients that are known are served.
            self.assertEqual(self.ask("/readyz"), (200, "ready\n"))
            self.assertEqual(self.ask("/healthz"), (200, "alive\n"))
            client.execute("select 1")

    def trusting(self, store):
        self.http = free_port()
        config = {"http": {"port": self.http}, "tenant_store": store, "auth": {"method": "trust"}}
        return self.pgweir(config, {"app": "s3cret"})

    def watched(self, **store):
        weir = self.trusting({"timeout": "300ms", **store})
        wait_until(lambda: self.ask("/readyz") == (200, "ready\n"), seconds=20, what="readiness")
        return weir

    def look_while_it_stands_still(self, weir):
        """Clients of tenants that nobody knows keep the store's timeouts and reconnects going."""
        for turn in range(4):
            for place in range(3):
                stranger = Wire(weir.port)
                self.addCleanup(stranger.close)
                stranger.send(startup("app", f"stranger_{turn}_{place}"))
            for path in ("/healthz", "/readyz", "/metrics", "/", "/api/v1/overview"):
                self.assertEqual(self.ask(path)[0], 200, path)
            time.sleep(0.2)
        wait_until(lambda: self.figure("pgweir_tenant_store_silent_seconds") > 0, what="its silence")

    def test_a_redis_that_stands_still_delays_nobody_who_looks(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        weir = self.watched(kind="redis", redis_url=redis.url())
        redis.pause()
        try:
            self.look_while_it_stands_still(weir)
        finally:
            redis.resume()

    def platform(self):
        platform = Postgres(hba=TRUST)
        self.addCleanup(platform.stop)
        platform.sql(TABLES.read_text(), "postgres")
        url = f"postgres://postgres@{platform.host}:{platform.port}/postgres"
        return platform, {"kind": "postgres", "postgres_url": url}

    def test_a_postgres_that_stands_still_delays_nobody_who_looks(self):
        platform, store = self.platform()
        weir = self.watched(**store)
        stopped = [platform.process.pid]
        try:
            os.kill(stopped[0], signal.SIGSTOP)  # first, so that it starts nobody new
            for pid in platform.children():
                stopped.append(pid)
                os.kill(pid, signal.SIGSTOP)
            self.look_while_it_stands_still(weir)
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def test_a_name_that_no_store_can_have_is_no_answer_of_the_store(self):
        platform, store = self.platform()
        platform.stop()
        weir = self.trusting(store)
        with Wire(weir.port) as client:
            client.send(special(VERSION_3_0, b"user\0app\0database\0\xff\0\0"))
            client.until_closed()
        self.assertEqual(self.ask("/readyz")[0], 503)
        platform.start()
        wait_until(lambda: self.ask("/readyz") == (200, "ready\n"), seconds=20, what="readiness")


if __name__ == "__main__":
    unittest.main()
