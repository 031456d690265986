"""Who gets in: every method and kind of secret on the client's side, every method of Postgres on the other."""

import hashlib
import struct
import unittest

import psycopg

from harness import TRUST, PgweirCase, Wire
from harness.wire import error_fields, startup

# AuthenticationRequest codes
OK, CLEARTEXT, MD5, SASL = 0, 3, 5, 10
METHODS = {"trust": OK, "password": CLEARTEXT, "md5": MD5, "scram-sha-256": SASL}

PASSWORD = 'open "sesame" 100% \\o/'


def md5_secret(user, password):
    return "md5" + hashlib.md5((password + user).encode()).hexdigest()


class Clients(PgweirCase):
    """Clients log in to pgweir; its own login to Postgres is free here."""

    postgres_options = {"hba": TRUST}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("maker", PASSWORD)
        verifier = cls.postgres.sql("select rolpassword from pg_authid where rolname = 'maker'")[0][0]
        for user in ("plain", "hashed", "verified"):
            cls.postgres.sql(f"create role {user} login")
        cls.users = {
            "plain": PASSWORD,
            "hashed": md5_secret("hashed", PASSWORD),
            "verified": verifier,
        }

    def login(self, weir, user, password):
        with weir.connect("postgres", user, password=password) as client:
            return client.execute("select current_user").fetchone()[0]

    def refusal(self, weir, user, password):
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.login(weir, user, password)
        return str(caught.exception)

    def asked_for(self, weir, user):
        """The code of pgweir's first AuthenticationRequest."""
        with Wire(weir.port) as wire:
            wire.send(startup(user, "postgres"))
            kind, payload = wire.receive()
            self.assertEqual(kind, b"R")
            return struct.unpack("!i", payload[:4])[0]

    def method(self, method):
        return self.pgweir({"auth": {"method": method}}, self.users)

    def test_trust(self):
        weir = self.method("trust")
        for user in self.users:
            self.assertEqual(self.login(weir, user, "anything"), user)

    def check(self, method, good, bad=()):
        weir = self.method(method)
        for user in good:
            with self.subTest(user, method=method):
                self.assertEqual(self.login(weir, user, PASSWORD), user)
                self.assertIn(f'password authentication failed for user "{user}"', self.refusal(weir, user, "wrong"))
        for user in bad:
            with self.subTest(user, method=method):
                self.assertIn(f'password authentication failed for user "{user}"', self.refusal(weir, user, PASSWORD))
        self.assertEqual(self.asked_for(weir, "plain"), METHODS[method])
        return weir

    def test_password(self):
        self.check("password", ["plain", "hashed", "verified"])

    def test_md5(self):
        self.check("md5", ["plain", "hashed"])

    def test_scram(self):
        # No proof can be checked against an MD5 secret.
        self.check("scram-sha-256", ["plain", "verified"], bad=["hashed"])

    def test_an_unknown_user_looks_like_a_known_one(self):
        # Where users have secrets of several kinds, an unknown name looks like one of them, always the same one.
        for method in ("password", "md5", "scram-sha-256"):
            for user, secret in self.users.items():
                with self.subTest(method=method, user=user):
                    weir = self.pgweir({"auth": {"method": method}}, {user: secret})
                    known = self.refusal(weir, user, "wrong")
                    unknown = self.refusal(weir, "nobody", "wrong")
                    self.assertEqual(known.replace(user, "USER"), unknown.replace("nobody", "USER"))
                    self.assertEqual(self.asked_for(weir, "nobody"), self.asked_for(weir, user))

    def test_the_sqlstate_of_a_wrong_password(self):
        weir = self.method("password")
        for user in ("plain", "nobody"):
            with Wire(weir.port) as wire:
                wire.send(startup(user, "postgres"))
                wire.receive()
                wire.send(b"p" + struct.pack("!i", 10) + b"wrong\0")
                kind, payload = wire.receive()
                fields = error_fields(payload)
                self.assertEqual((kind, fields["S"], fields["C"]), (b"E", "FATAL", "28P01"))
                self.assertEqual(wire.until_closed(), [])

    def test_an_empty_password_is_never_right(self):
        weir = self.method("password")
        self.refusal(weir, "plain", "")
        self.refusal(weir, "nobody", "")


SERVER_HBA = """\
local all all trust
host db_trust all 127.0.0.1/32 trust
host db_password all 127.0.0.1/32 password
host db_md5 all 127.0.0.1/32 md5
host db_scram all 127.0.0.1/32 scram-sha-256
host db_reject all 127.0.0.1/32 reject
"""


class Servers(PgweirCase):
    """pgweir logs in to Postgres by each of its methods."""

    postgres_options = {"hba": SERVER_HBA}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("scrammed", PASSWORD)
        cls.postgres.create_user("hashed", PASSWORD, encryption="md5")
        for database in ("db_trust", "db_password", "db_md5", "db_scram", "db_reject"):
            cls.postgres.create_database(database)
        rows = cls.postgres.sql("select rolname, rolpassword from pg_authid where rolpassword is not null")
        cls.stored = dict(rows)

    def weir(self, users, config=None):
        base = {"client": {"query_wait_timeout": "3s"}}
        return self.pgweir({**base, **(config or {})}, users)

    def who(self, weir, database, user, password=PASSWORD):
        with weir.connect(database, user, password=password) as client:
            return client.execute("select current_user::text, current_database()::text").fetchone()

    def test_each_method(self):
        weir = self.weir({"scrammed": PASSWORD, "hashed": PASSWORD})
        cases = [
            ("db_trust", "scrammed"),
            ("db_trust", "hashed"),
            ("db_md5", "hashed"),
            ("db_md5", "scrammed"),  # Postgres takes SCRAM where the stored secret is one
            ("db_scram", "scrammed"),
        ]
        for database, user in cases:
            with self.subTest(database, user=user):
                self.assertEqual(self.who(weir, database, user), (user, database))

    def test_a_password_does_not_travel_in_clear(self):
        weir = self.weir({"scrammed": PASSWORD})
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.who(weir, "db_password", "scrammed")
        self.assertNotIn(PASSWORD, str(caught.exception))
        self.assertNotIn(PASSWORD, weir.log())

    def test_a_clear_password_over_a_unix_socket(self):
        self.postgres.set_hba("local db_password all password\n" + SERVER_HBA)
        self.addCleanup(self.postgres.set_hba, SERVER_HBA)
        backend = {"main": {"host": self.postgres.socket_dir, "port": self.postgres.port}}
        weir = self.weir({"scrammed": PASSWORD}, {"backends": backend})
        self.assertEqual(self.who(weir, "db_password", "scrammed"), ("scrammed", "db_password"))

    def test_md5_secret_on_both_sides(self):
        weir = self.weir({"hashed": self.stored["hashed"]}, {"auth": {"method": "md5"}})
        self.assertEqual(self.who(weir, "db_md5", "hashed"), ("hashed", "db_md5"))

    def test_scram_passes_through(self):
        """The user list holds what Postgres holds, and nobody but the client knows the password."""
        weir = self.weir({"scrammed": self.stored["scrammed"]})
        self.assertEqual(self.who(weir, "db_scram", "scrammed"), ("scrammed", "db_scram"))
        self.assertEqual(self.who(weir, "db_scram", "scrammed"), ("scrammed", "db_scram"))

    def test_a_stale_verifier_says_what_is_wrong(self):
        self.postgres.create_user("moved", PASSWORD)
        stale = self.postgres.sql("select rolpassword from pg_authid where rolname = 'moved'")[0][0]
        self.postgres.sql("alter role moved password 'another'")
        weir = self.weir({"moved": stale})
        with self.assertRaises(psycopg.OperationalError):
            self.who(weir, "db_scram", "moved")

    def test_a_wrong_password_in_the_user_list(self):
        self.postgres.create_user("drifted", PASSWORD)
        weir = self.weir({"drifted": "not what Postgres holds", "scrammed": PASSWORD})
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.who(weir, "db_scram", "drifted", "not what Postgres holds")
        self.assertIn("password authentication failed", str(caught.exception))
        # A refused login counts against its own user only.
        self.assertEqual(self.who(weir, "db_scram", "scrammed"), ("scrammed", "db_scram"))

    def test_refused_by_hba(self):
        weir = self.weir({"scrammed": PASSWORD})
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.who(weir, "db_reject", "scrammed")
        self.assertIn("pg_hba.conf", str(caught.exception))
        self.assertEqual(self.who(weir, "db_scram", "scrammed"), ("scrammed", "db_scram"))

    def pinned(self, methods):
        backend = {"host": self.postgres.host, "port": self.postgres.port, "auth_methods": methods}
        return self.weir({"scrammed": PASSWORD, "hashed": PASSWORD}, {"backends": {"main": backend}})

    def test_pinned_methods(self):
        weir = self.pinned(["scram-sha-256"])
        self.assertEqual(self.who(weir, "db_scram", "scrammed"), ("scrammed", "db_scram"))
        for database in ("db_trust", "db_md5"):
            with self.subTest(database), self.assertRaises(psycopg.OperationalError):
                self.who(weir, database, "hashed")

    def test_a_tenant_with_a_login_of_its_own(self):
        """Clients known only to pgweir; the tenant's own role works on the server."""
        tenant = {"backend": "main", "database": "db_scram", "user": "scrammed", "password": PASSWORD}
        weir = self.weir({"outsider": "in"}, {"tenants": {"shop": {"tier": "pro", **tenant}}})
        self.assertEqual(self.who(weir, "shop", "outsider", "in"), ("scrammed", "db_scram"))


if __name__ == "__main__":
    unittest.main()
