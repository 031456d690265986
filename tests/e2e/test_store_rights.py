"""What the user of a tenant store needs in Redis is what SECURITY.md lists: with that all works, with less it is told."""

import re
import unittest
from pathlib import Path

import psycopg

from harness import TRUST, PgweirCase, Postgres, Redis, Sentinels, Wire, replica_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "packaging/postgres/tenant_store.sql"
LISTED = re.findall(r"^   - (.+): `(\+[^`]+)`$", (ROOT / "SECURITY.md").read_text(), re.M)


def rights(*purposes):
    """The words behind ACL SETUSER for these lines of the list, each of which is there once."""
    user = re.search(r"`ACL SETUSER pgweir (on >secret [^`]+)`", (ROOT / "SECURITY.md").read_text())[1].split()
    for purpose in purposes:
        found = [words for line, words in LISTED if purpose in line]
        assert len(found) == 1, (purpose, LISTED)
        user += found[0].split()
    return user


class StoreRights(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared",)

    def redis(self, *purposes, **options):
        redis = Redis(**options)
        self.addCleanup(redis.stop)
        redis("ACL", "SETUSER", "pgweir", *rights(*purposes))
        return redis

    def weir(self, redis, **store):
        url = f"redis://pgweir:secret@127.0.0.1:{redis.port}/{redis.database}"
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tenant_store": {"kind": "redis", "redis_url": url, **store},
                "pool": {"unknown_tenants": False},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def refused(self, redis):
        """Commands that its user was not allowed."""
        words = redis("ACL", "LOG").splitlines()
        return {words[i + 1] for i, word in enumerate(words) if word == "object"}

    def serves(self, weir, redis, tier="pro"):
        """A client of the store's tenant, and then a change that the store tells of."""
        redis.tenant("acme", tier="free", database="shared")
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        self.assertEqual(wire.login("app", "acme").value("select 1"), "1")
        redis.tenant("acme", tier=tier)
        self.becomes(weir, tier)
        return wire

    def becomes(self, weir, tier):
        wait_until(lambda: dict(weir.console("SHOW TENANTS tenant, tier")[1])["acme"] == tier, what=f"tier {tier}")

    def test_every_line_is_tried(self):
        self.assertEqual(len(LISTED), 7, LISTED)

    def test_to_be_told(self):
        redis = self.redis("told of tenants")
        weir = self.weir(redis)
        self.serves(weir, redis)
        self.assertEqual(self.refused(redis), set())
        with self.assertRaisesRegex(psycopg.Error, "NOPERM"):
            weir.console("SET TIER acme free")
        weir.stop()
        weir.has_logged('"message":"usage is not kept"', times=1)

    def test_another_database(self):
        redis = self.redis("told of tenants", "another database", database=3)
        self.serves(self.weir(redis), redis)
        self.assertEqual(self.refused(redis), set())

    def test_sentinel(self):
        redis = self.redis("told of tenants", "with Sentinel")
        self.addCleanup(replica_of(redis).stop)  # without one no sentinel is content
        sentinels = Sentinels(redis)
        self.addCleanup(sentinels.stop)
        weir = self.weir(redis, redis_url=sentinels.url().replace("://", "://pgweir:secret@"))
        self.serves(weir, redis)
        self.assertEqual(self.refused(redis), set())

    def test_usage(self):
        redis = self.redis("told of tenants", "keep usage")
        weir = self.weir(redis)
        self.serves(weir, redis)
        weir.stop()
        self.assertEqual(self.refused(redis), set())
        key, = redis("KEYS", "pgweir:usage:*:acme").split()
        self.assertGreater(int(redis("TTL", key)), 24 * 3600)

    def test_orders(self):
        redis = self.redis("told of tenants", "orders")
        weir = self.weir(redis)
        self.serves(weir, redis)
        for order in ("SET TIER acme free", "SET OVERRIDE acme max_clients 7", "RESET OVERRIDE acme max_clients"):
            weir.console(order)
        self.assertEqual(redis("HGETALL", "pgweir:tenant:acme").split()[::2], ["tier", "database"])
        self.becomes(weir, "free")
        weir.console("SUSPEND_TENANT acme 'why'")
        weir.console("RESUME_TENANT acme")
        self.assertEqual(self.refused(redis), set())

    def test_fleet_rates(self):
        redis = self.redis("told of tenants", "rates: fleet")
        weir = self.weir(redis, rates="fleet")
        redis.tenant("acme", transactions_per_minute=6000, burst=100)
        wire = self.serves(weir, redis)
        wait_until(
            lambda: wire.value("select 1") == "1" and redis("EXISTS", "pgweir:rate:acme") == "1", what="a common bucket"
        )
        self.assertEqual(self.refused(redis), set())

    def test_copies(self):
        platform = Postgres(hba=TRUST)
        self.addCleanup(platform.stop)
        platform.sql(TABLES.read_text(), "postgres")
        platform.sql("insert into pgweir.tenants (id, tier, database) values ('acme', 'free', 'shared')", "postgres")
        redis = self.redis("told of tenants", "copies of what")
        url = f"postgres://postgres@{platform.host}:{platform.port}/postgres"
        weir = self.weir(redis, kind="postgres", postgres_url=url)
        with Wire(weir.port) as wire:
            self.assertEqual(wire.login("app", "acme").value("select 1"), "1")
            wait_until(lambda: redis("EXISTS", "pgweir:cached:tenant:acme") == "1", what="a copy")
            platform.sql("update pgweir.tenants set tier = 'pro'", "postgres")
            self.becomes(weir, "pro")
            self.assertEqual(wire.value("select 2"), "2")
        self.assertEqual(self.refused(redis), set())


if __name__ == "__main__":
    unittest.main()
