"""Tenants from a Redis that Sentinel watches over: when its master dies, nobody but strangers notices."""

import re
import threading
import time
import unittest

import psycopg

from harness import TRUST, PgweirCase, Redis, Sentinels, free_port, machine, replica_of, side_by_side, wait_until

SOON = 5


class Failover(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        done = machine.run(
            [machine.pg_program("pgbench"), "-i", "-q", "-h", cls.postgres.socket_dir, "-p", cls.postgres.port, "-U", "app", "shared"]
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def setUp(self):
        self.master = Redis()
        self.addCleanup(self.master.stop)
        self.replica = replica_of(self.master)
        self.addCleanup(self.replica.stop)
        self.sentinels = Sentinels(self.master)
        self.addCleanup(self.sentinels.stop)

    def weir(self, url):
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tenant_store": {"kind": "redis", "redis_url": url, "ttl": "500ms", "timeout": "500ms"},
                "pool": {"unknown_tenants": False},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def serves(self, weir, tenant):
        try:
            with weir.connect(tenant, "app") as client:
                return client.execute("select current_database()").fetchone()[0]
        except psycopg.OperationalError:
            return None

    def test_the_master_dies_while_clients_work(self):
        self.master.tenant("acme", tier="pro", database="shared")
        # One of the sentinels is not there.
        url = self.sentinels.url().replace("//", f"//127.0.0.1:{free_port()},")
        weir = self.weir(url)
        self.assertEqual(self.serves(weir, "acme"), "shared")
        bench = [machine.pg_program("pgbench"), "-n", "-S", "-C", "-c", "2", "-T", "12", "-h", weir.host, "-p", weir.port]
        results = []
        worker = threading.Thread(
            target=lambda: results.append(machine.run([*bench, "-U", "app", "acme"], timeout=60)), daemon=True
        )
        worker.start()
        time.sleep(1)
        self.master.stop()
        begun = time.monotonic()
        wait_until(lambda: self.sentinels.master_port() == self.replica.port, seconds=30, what="the new master")
        switched = time.monotonic() - begun
        # Read again, heard again, written again.
        self.replica.tenant("beta", tier="pro", database="shared")
        wait_until(lambda: self.serves(weir, "beta"), seconds=20, what="a tenant of the new master")
        print(f"Sentinel had a new master after {switched:.1f} s, pgweir read from it after {time.monotonic() - begun:.1f} s")
        wait_until(
            lambda: weir.log().count(f'"addr":"127.0.0.1:{self.replica.port}"') >= 2, seconds=20, what="both connections"
        )
        client = weir.connect("beta", "app")
        self.addCleanup(client.close)
        client.execute("select 1")
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor, password="adm1n") as console:
            console.execute("SET TIER beta free")
        self.assertEqual(self.replica("HGET", "pgweir:tenant:beta", "tier"), "free")
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=SOON, what="the event")
        self.replica.tenant("beta", tier="enterprise")
        wait_until(lambda: "tier_upgrade" in weir.log(), seconds=SOON, what="a change heard")
        worker.join(60)
        self.assertEqual(results[0].returncode, 0, results[0].stderr)
        self.assertIn("number of failed transactions: 0", results[0].stdout)
        self.assertGreater(int(re.search(r"actually processed: (\d+)", results[0].stdout).group(1)), 20)

    def test_a_master_that_is_replaced_in_order(self):
        self.master.tenant("acme", tier="pro", database="shared")
        weir = self.weir(self.sentinels.url())
        self.assertEqual(self.serves(weir, "acme"), "shared")
        self.sentinels.ask(self.sentinels.ports[0], "SENTINEL", "FAILOVER", "mymaster")
        wait_until(lambda: self.sentinels.master_port() == self.replica.port, seconds=30, what="the new master")
        wait_until(
            lambda: weir.log().count(f'"addr":"127.0.0.1:{self.replica.port}"') >= 2, seconds=30, what="both connections"
        )
        self.replica.tenant("beta", tier="pro", database="shared")
        wait_until(lambda: self.serves(weir, "beta"), seconds=20, what="a tenant of the new master")

    def test_a_master_that_no_sentinel_knows(self):
        weir = self.weir(self.sentinels.url("othermaster"))
        wait_until(lambda: "the sentinel knows no master 'othermaster'" in weir.log(), what="the reason logged")
        self.assertIsNone(self.serves(weir, "acme"))


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Failover)


if __name__ == "__main__":
    unittest.main()
