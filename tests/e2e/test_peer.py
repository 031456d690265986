"""The console over the unix socket: who has pgweir's own uid needs no password, and nobody else is let in."""

import os
import unittest

import psycopg

from harness import PgweirCase, machine, pg_program, run


class Peer(PgweirCase):
    def weir(self, **config):
        return self.pgweir({"console": {"admins": ["admin"]}, **config}, users={"admin": "adm1n", "app": "s3cret"})

    def psql(self, weir, user, database="pgbouncer", command="SHOW VERSION", host=None, as_us=False):
        """psql as pgweir's own user, or `as_us` as whoever runs the tests, without any password."""
        words = [pg_program("psql"), "-X", "-w", "-At", "-h", host or weir.socket_dir, "-p", str(weir.port)]
        words += ["-U", user, "-d", database, "-c", command]
        return run(words if as_us else machine.as_system_user(words), env={"PGPASSFILE": "/dev/null"})

    def assert_refused(self, done, *words):
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_our_uid_is_an_administrator(self):
        weir = self.weir()
        for user in ("pgbouncer", "pgweir"):
            for database in ("pgbouncer", "pgweir"):
                done = self.psql(weir, user, database)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn("pgweir", done.stdout)
        self.assertEqual(self.psql(weir, "pgweir", command="RELOAD").stdout.strip(), "RELOAD")
        weir.has_logged('"user":"pgbouncer"')  # each command is told of

    def test_nobody_else(self):
        weir = self.weir()
        self.assert_refused(self.psql(weir, "admin"), "password")
        self.assert_refused(self.psql(weir, "app", "app"), "password")
        self.assert_refused(self.psql(weir, "pgweir", "app"), "password")
        self.assert_refused(self.psql(weir, "pgbouncer", host="127.0.0.1"), "password")
        if os.geteuid() == 0:
            self.assert_refused(self.psql(weir, "pgbouncer", as_us=True), "password")  # not even root

    def test_it_can_be_closed(self):
        weir = self.weir(console={"admins": ["admin"], "peer": False})
        self.assert_refused(self.psql(weir, "pgbouncer"), "password")

    def test_a_user_of_that_name_still_has_his_password(self):
        weir = self.pgweir(
            {"console": {"stats": ["pgbouncer"], "peer": False}}, users={"pgbouncer": "b0uncer", "admin": "adm1n"}
        )
        with weir.connect("pgbouncer", "pgbouncer", host=weir.socket_dir) as console:
            console.execute("SHOW POOLS")
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                console.execute("RELOAD")

    def test_a_reload_takes_it_away(self):
        weir = self.weir()
        self.assertEqual(self.psql(weir, "pgweir").returncode, 0)
        weir.config["console"]["peer"] = False
        weir.reload()
        machine.wait_until(lambda: '"configuration reloaded"' in weir.log(), what="reload")
        self.assert_refused(self.psql(weir, "pgweir"), "password")


if __name__ == "__main__":
    unittest.main()
