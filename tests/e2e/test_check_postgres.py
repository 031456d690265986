"""check_postgres, as it watches a PgBouncer: its ten actions for one."""

import re
import subprocess
import unittest

from harness import PgweirCase, free_port, machine, wait_until
from harness.pgweir import environment

POOLS = ("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "maxwait")
OK, WARNING, CRITICAL, UNKNOWN = range(4)


class CheckPostgres(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # It names its database `pgbouncer` and takes a password from a file.
        cls.weir = cls.class_pgweir(
            {"console": {"stats": ["watcher"]}}, users={"app": "s3cret", "watcher": "w4tch", "admin": "adm1n"}
        )
        cls.passwords = machine.write(machine.scratch("pgpass") / "pgpass", "*:*:*:watcher:w4tch\n", mode=0o600)

    def check(self, action, *arguments, port=None):
        """(exit code, what it says) of one check."""
        done = subprocess.run(
            [
                "check_postgres",
                f"--action={action}",
                "--host=127.0.0.1",
                f"--port={port or self.weir.port}",
                "--dbuser=watcher",
                "--dbname=pgbouncer",
                *arguments,
            ],
            capture_output=True,
            text=True,
            env=environment({"PGPASSFILE": str(self.passwords), "LC_ALL": "C"}),
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def settings(self):
        return {row[0]: row[1] for row in self.weir.console("SHOW CONFIG")[1]}

    def test_pools(self):
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            for figure in POOLS:
                with self.subTest(figure):
                    code, said = self.check(f"pgb_pool_{figure}", "--warning=5", "--critical=9")
                    self.assertEqual(code, OK, said)
                    self.assertRegex(said, rf"POSTGRES_PGB_POOL_{figure.upper()} OK: .*app=\d+")

    def test_pools_beyond_a_bound(self):
        clients = [self.weir.connect("app", "app") for _ in range(3)]
        try:
            wait_until(lambda: self.check("pgb_pool_cl_active", "--warning=2", "--critical=9")[0] == WARNING)
            code, said = self.check("pgb_pool_cl_active", "--warning=1", "--critical=3")
            self.assertEqual(code, CRITICAL, said)
            self.assertRegex(said, r"app=3")
        finally:
            for client in clients:
                client.close()

    def test_backends(self):
        with self.weir.connect("app", "app"):
            code, said = self.check("pgbouncer_backends", "--warning=90%", "--critical=95%")
            self.assertEqual(code, OK, said)
            self.assertEqual(self.check("pgbouncer_backends", "--warning=1", "--critical=9")[0], WARNING)
        most = re.search(r"(\d+) of (\d+) connections", said)
        self.assertTrue(most, said)
        self.assertEqual(most[2], self.settings()["max_client_conn"])

    def test_checksum(self):
        """Of what SHOW CONFIG says: the same as long as nobody changes it."""
        code, said = self.check("pgbouncer_checksum", "--critical=0")
        found = re.search(r"checksum: ([0-9a-f]{32})", said)
        self.assertTrue(found, said)
        code, said = self.check("pgbouncer_checksum", f"--critical={found[1]}")
        self.assertEqual(code, OK, said)
        self.weir.console("SET query_wait_timeout = 77")
        self.assertEqual(self.settings()["client.query_wait_timeout"], "77s")
        code, said = self.check("pgbouncer_checksum", f"--critical={found[1]}")
        self.assertEqual(code, CRITICAL, said)

    def test_nobody_there(self):
        code, said = self.check("pgbouncer_backends", "--warning=90%", "--critical=95%", port=free_port())
        self.assertIn(code, (CRITICAL, UNKNOWN), said)


if __name__ == "__main__":
    unittest.main()
