"""What tenants have used is kept in Redis: all of it after an orderly end, all but a minute after a crash."""

import re
import unittest

from harness import TRUST, PgweirCase, Redis, Wire, wait_until



class Usage(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared",)

    def setUp(self):
        self.redis = Redis()
        self.addCleanup(self.redis.stop)
        for tenant in ("acme", "beta"):
            self.redis.tenant(tenant, tier="pro", database="shared")

    def weir(self, url=None, **store):
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tenant_store": {"kind": "redis", "redis_url": url or self.redis.url(), **store},
                "pool": {"unknown_tenants": False},
            },
            {"app": "s3cret"},
        )

    def work(self, weir, tenant, queries):
        with Wire(weir.port) as wire:
            wire.login("app", tenant)
            for _ in range(queries):
                wire.query("select 1")

    def rows(self, tenant):
        keys = self.redis("KEYS", f"pgweir:usage:*:{tenant}").split()
        rows = []
        for key in keys:
            words = self.redis("HGETALL", key).splitlines()
            rows.append(dict(zip(words[::2], words[1::2])))
            self.assertGreater(int(self.redis("TTL", key)), 24 * 3600)
        return rows

    def total(self, tenant, figure="queries"):
        return sum(float(row[figure]) for row in self.rows(tenant))

    def test_an_orderly_end_loses_nothing(self):
        for run in range(1, 3):
            weir = self.weir()
            self.work(weir, "acme", 5)
            self.work(weir, "acme", 2)
            self.work(weir, "beta", 1)
            weir.stop()
            self.assertEqual(len(self.rows("acme")), run)
            self.assertEqual(self.total("acme"), 7 * run)
            self.assertEqual(self.total("acme", "connections"), 2 * run)
            self.assertEqual(self.total("beta"), run)
            self.assertGreater(self.total("acme", "server_connection_seconds"), 0)

    def test_a_crash_loses_a_minute_at_most_and_counts_nothing_twice(self):
        weir = self.weir()
        self.work(weir, "acme", 5)
        # Kept every minute, without anybody's doing.
        wait_until(lambda: self.total("acme") == 5, seconds=75, what="the first minute kept")
        self.work(weir, "acme", 3)
        weir.process.kill()
        weir.process.wait(10)
        weir.process = None
        self.assertEqual(self.total("acme"), 5)
        weir.start()
        self.work(weir, "acme", 2)
        weir.stop()
        self.assertEqual(self.total("acme"), 7)
        self.assertEqual(len(self.rows("acme")), 2)

    def test_it_is_kept_as_long_as_the_configuration_says(self):
        day = 24 * 3600
        for days, store in ((35, {}), (3, {"usage_kept": "3d"})):
            weir = self.weir(**store)
            self.work(weir, "acme", 1)
            weir.stop()
            key, = self.redis("KEYS", "pgweir:usage:*:acme").split()
            self.assertTrue((days - 1) * day < int(self.redis("TTL", key)) <= days * day)
            self.redis("DEL", key)

    def test_a_redis_that_takes_no_usage_is_told_of(self):
        self.redis("ACL", "SETUSER", "weir", "on", ">r3dis", "~pgweir:*", "&pgweir:*", "+@all", "-expire")
        weir = self.weir(f"redis://weir:r3dis@127.0.0.1:{self.redis.port}/0")
        self.work(weir, "acme", 5)
        weir.stop()
        weir.has_logged('"message":"usage is not kept"', times=1)
        weir.has_logged(re.compile(r"its user needs HSET and EXPIRE on pgweir:usage"), times=1)
        lost = [line for line in weir.log().splitlines() if "usage is lost" in line]
        self.assertEqual(len(lost), 1)
        self.assertIn("NOPERM", lost[0])
        self.assertRegex(lost[0], r'"of_the_last":"\d+s"')

    def test_without_redis_it_ends_all_the_same(self):
        weir = self.weir()
        self.work(weir, "acme", 5)
        self.redis.stop()
        weir.stop()
        weir.has_logged("usage is lost")


if __name__ == "__main__":
    unittest.main()
