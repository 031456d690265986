"""What a platform and an operator see of a tenant store that is late, there, and lost: /readyz and /metrics."""

import re
import unittest
import urllib.error
import urllib.request

from harness import PgweirCase, Redis, free_port, wait_until


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


if __name__ == "__main__":
    unittest.main()
