"""TLS on both sides: what each mode lets in, and what it keeps out."""

import socket
import ssl
import struct
import threading
import unittest

import psycopg

from harness import TRUST, Authority, PgweirCase, Recorder, Wire, wait_until
from harness.wire import CANCEL_REQUEST, SSL_REQUEST, query, special, startup

USERS = {"app": "s3cret"}


class ClientSide(PgweirCase):
    postgres_options = {"hba": TRUST}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.authority = Authority()
        cls.stranger = Authority("stranger")
        cls.server = cls.authority.issue("localhost")

    def mode(self, mode, **config):
        client = {"tls_mode": mode, "tls_cert_file": str(self.server.cert), "tls_key_file": str(self.server.key)}
        if mode.startswith("verify"):
            client["tls_ca_file"] = str(self.authority.path)
        return self.pgweir({"client": client, **config}, USERS)

    def in_use(self, weir, **options):
        """Logs in and tells whether the connection is encrypted."""
        with weir.connect("postgres", "app", **options) as client:
            self.assertEqual(client.execute("select 1").fetchone(), (1,))
            return client.pgconn.ssl_in_use

    def refused(self, weir, **options):
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.in_use(weir, **options)
        return str(caught.exception)

    def test_disable(self):
        weir = self.pgweir({"client": {"tls_mode": "disable"}}, USERS)
        self.assertFalse(self.in_use(weir, sslmode="disable"))
        self.assertFalse(self.in_use(weir, sslmode="prefer"))
        self.refused(weir, sslmode="require")

    def test_allow_and_prefer(self):
        for mode in ("allow", "prefer"):
            with self.subTest(mode):
                weir = self.mode(mode)
                self.assertFalse(self.in_use(weir, sslmode="disable"))
                self.assertTrue(self.in_use(weir, sslmode="prefer"))
                self.assertTrue(self.in_use(weir, sslmode="require"))

    def test_require(self):
        weir = self.mode("require")
        self.assertTrue(self.in_use(weir, sslmode="require"))
        self.assertRegex(self.refused(weir, sslmode="disable"), "TLS|SSL")

    def test_the_client_checks_us(self):
        weir = self.mode("require")
        self.assertTrue(self.in_use(weir, sslmode="verify-full", sslrootcert=str(self.authority.path)))
        self.assertTrue(self.in_use(weir, host="localhost", sslmode="verify-full", sslrootcert=str(self.authority.path)))
        self.refused(weir, sslmode="verify-ca", sslrootcert=str(self.stranger.path))

    def certificate(self, certificate):
        return {"sslmode": "require", "sslcert": str(certificate.cert), "sslkey": str(certificate.key)}

    def test_verify_ca(self):
        weir = self.mode("verify-ca")
        self.refused(weir, sslmode="disable")
        self.refused(weir, sslmode="require", sslcert="/nowhere")
        self.assertTrue(self.in_use(weir, **self.certificate(self.authority.issue("anyone", alternative_names=""))))
        self.refused(weir, **self.certificate(self.stranger.issue("app", alternative_names="")))

    def test_verify_full(self):
        """The certificate must also be the user's own."""
        weir = self.mode("verify-full")
        self.assertTrue(self.in_use(weir, **self.certificate(self.authority.issue("app", alternative_names=""))))
        self.refused(weir, **self.certificate(self.authority.issue("other", alternative_names="")))
        self.refused(weir, **self.certificate(self.stranger.issue("app", alternative_names="")))

    def test_big_answers(self):
        weir = self.mode("require")
        with weir.connect("postgres", "app", sslmode="require") as client:
            size = 5_000_000
            self.assertEqual(len(client.execute("select repeat('x', %s)", (size,)).fetchone()[0]), size)
            self.assertEqual(client.execute("select length(%s::text)", ("y" * size,)).fetchone(), (size,))

    def test_the_home_worker_may_be_another(self):
        """With several workers some of these connections move, TLS state and all."""
        weir = self.mode("require", process={"threads": 4})
        for database in ("postgres", "template1"):
            for n in range(12):
                with weir.connect(database, "app", sslmode="require") as client:
                    self.assertEqual(client.execute("select %s::int", (n,)).fetchone(), (n,))

    def test_bytes_stuffed_behind_the_request_for_tls(self):
        weir = self.mode("prefer", auth={"method": "trust"})
        for stuffed in (startup("app", "postgres"), query("select 1"), b"x"):
            with self.subTest(stuffed[:8]), Wire(weir.port) as wire:
                wire.send(special(SSL_REQUEST), stuffed)
                answer = b""
                wire.socket.settimeout(5)
                try:
                    while more := wire.socket.recv(4096):
                        answer += more
                except ConnectionResetError:
                    pass
                # At most the S and an error in clear; never an answer to what was stuffed in.
                self.assertNotIn(b"R\0\0\0", answer)
                self.assertNotIn(b"Z\0\0\0", answer)

    def test_direct_tls_needs_its_protocol_name(self):
        weir = self.mode("require")
        context = ssl.create_default_context(cafile=str(self.authority.path))
        self.assertEqual(self.direct(weir, context), "closed")
        context.set_alpn_protocols(["http/1.1"])
        self.assertEqual(self.direct(weir, context), "closed")
        context.set_alpn_protocols(["postgresql"])
        self.assertEqual(self.direct(weir, context), "R")

    def direct(self, weir, context):
        """TLS from the first byte; the type of pgweir's first message, or 'closed'."""
        with socket.create_connection((weir.host, weir.port), timeout=5) as plain:
            try:
                with context.wrap_socket(plain, server_hostname="localhost") as secured:
                    secured.sendall(startup("app", "postgres"))
                    return secured.recv(1).decode() or "closed"
            except (ssl.SSLError, ConnectionResetError, BrokenPipeError):
                return "closed"

    def test_old_versions_are_refused(self):
        weir = self.mode("require")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        with socket.create_connection((weir.host, weir.port), timeout=5) as plain:
            plain.sendall(special(SSL_REQUEST))
            self.assertEqual(plain.recv(1), b"S")
            with self.assertRaises((ssl.SSLError, ConnectionResetError)):
                context.wrap_socket(plain)

    def test_garbage_instead_of_a_handshake(self):
        weir = self.mode("prefer")
        with Wire(weir.port) as wire:
            wire.send(special(SSL_REQUEST))
            self.assertEqual(wire.take(1), b"S")
            wire.send(b"this is not TLS" * 20)
            wire.socket.settimeout(5)
            try:
                while wire.socket.recv(4096):
                    pass
            except ConnectionResetError:
                pass
        self.assertTrue(self.in_use(weir, sslmode="require"))

    def test_a_request_for_gssapi_comes_first(self):
        weir = self.mode("prefer")
        with Wire(weir.port) as wire:
            wire.send(struct.pack("!ii", 8, 80877104))
            self.assertEqual(wire.take(1), b"N")
            wire.send(special(SSL_REQUEST))
            self.assertEqual(wire.take(1), b"S")


SERVER_HBA = """\
local all all trust
hostssl secure all 127.0.0.1/32 scram-sha-256
hostssl secure all ::1/128 scram-sha-256
hostnossl plain all 127.0.0.1/32 scram-sha-256
"""


class ServerSide(PgweirCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.stranger = Authority("stranger")
        cls.postgres_options = {"hba": SERVER_HBA, "certificate": cls.authority.issue("localhost")}
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.sql("grant pg_monitor to app")
        for database in ("secure", "plain"):
            cls.postgres.create_database(database)

    def mode(self, mode, host=None, authority=None, port=None):
        backend = {"host": host or self.postgres.host, "port": port or self.postgres.port, "tls_mode": mode}
        if mode.startswith("verify"):
            backend["tls_ca_file"] = str((authority or self.authority).path)
        return self.pgweir({"client": {"query_wait_timeout": "2s"}, "backends": {"main": backend}}, USERS)

    def encrypted(self, weir, database):
        with weir.connect(database, "app") as client:
            return client.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()[0]

    def refused(self, weir, database):
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.encrypted(weir, database)
        return str(caught.exception)

    def test_disable(self):
        weir = self.mode("disable")
        self.assertFalse(self.encrypted(weir, "plain"))
        self.refused(weir, "secure")

    def test_prefer(self):
        weir = self.mode("prefer")
        self.assertTrue(self.encrypted(weir, "secure"))

    def test_require(self):
        weir = self.mode("require")
        self.assertTrue(self.encrypted(weir, "secure"))
        self.refused(weir, "plain")

    def test_verify_ca(self):
        self.assertTrue(self.encrypted(self.mode("verify-ca"), "secure"))

    def test_verify_full(self):
        self.assertTrue(self.encrypted(self.mode("verify-full"), "secure"))
        self.assertTrue(self.encrypted(self.mode("verify-full", host="localhost"), "secure"))

    def test_a_certificate_of_another_authority(self):
        for mode in ("verify-ca", "verify-full"):
            with self.subTest(mode):
                self.refused(self.mode(mode, authority=self.stranger), "secure")

    def test_a_certificate_of_another_name(self):
        # 127.0.0.2 is loopback, too, and stands in no certificate.
        self.postgres.sql("alter system set listen_addresses = '127.0.0.1, 127.0.0.2'")
        self.postgres.set_hba(SERVER_HBA + "hostssl secure all 127.0.0.0/8 scram-sha-256\n")
        self.postgres.stop()
        self.postgres.start()
        self.assertTrue(self.encrypted(self.mode("verify-ca", host="127.0.0.2"), "secure"))
        self.refused(self.mode("verify-full", host="127.0.0.2"), "secure")

    def test_a_server_without_tls(self):
        self.postgres.sql("alter system set ssl = off")
        self.postgres.sql("select pg_reload_conf()")
        try:
            self.refused(self.mode("require"), "plain")
            self.assertFalse(self.encrypted(self.mode("prefer"), "plain"))
        finally:
            self.postgres.sql("alter system set ssl = on")
            self.postgres.sql("select pg_reload_conf()")

    def cancelled(self, weir, database, before_cancel=lambda: None):
        """Cancels a query that runs; its server must serve on afterwards."""
        with weir.connect(database, "app") as client:
            pid = client.execute("select pg_backend_pid()").fetchone()
            outcome = []

            def sleep():
                try:
                    client.execute("select pg_sleep(30)")
                except psycopg.Error as error:
                    outcome.append(error.sqlstate)

            thread = threading.Thread(target=sleep)
            thread.start()
            asleep = "select 1 from pg_stat_activity where pid = %d and state = 'active' and query like '%%pg_sleep%%'"
            wait_until(lambda: self.postgres.sql(asleep % pid), what="the query running")
            before_cancel()
            client.cancel()
            thread.join(20)
            self.assertEqual(outcome, ["57014"])
            return pid == client.execute("select pg_backend_pid()").fetchone()

    def test_a_cancel_is_as_secret_as_its_connection(self):
        cases = [
            ("disable", "plain", False),
            ("allow", "plain", False),
            ("allow", "secure", True),
            ("prefer", "secure", True),
            ("require", "secure", True),
            ("verify-ca", "secure", True),
            ("verify-full", "secure", True),
        ]
        cancel = struct.pack("!i", CANCEL_REQUEST)
        for mode, database, secret in cases:
            with self.subTest(mode=mode, database=database):
                recorder = Recorder(self.postgres.host, self.postgres.port)
                self.addCleanup(recorder.close)
                weir = self.mode(mode, port=recorder.port)
                self.assertTrue(self.cancelled(weir, database))
                self.assertEqual(secret, not any(cancel in said for said in recorder.said), recorder.said)
                if secret:
                    hello = special(SSL_REQUEST) + b"\x16\x03"
                    self.assertEqual(sum(said.startswith(hello) for said in recorder.said), 2)

    def test_a_cancel_goes_where_its_connection_goes(self):
        """Also when a reload has named another host and no TLS meanwhile; and names are looked up once."""
        for host in ("127.0.0.1", "localhost"):
            with self.subTest(host):
                weir = self.mode("require", host=host)

                def move(weir=weir):
                    weir.config["backends"]["main"].update(host="127.0.0.2", port=1, tls_mode="disable")
                    weir.reload()
                    wait_until(lambda: "configuration reloaded" in weir.log(), what="the reload")
                    weir.config["backends"]["main"].update(
                        host=host, port=self.postgres.port, tls_mode="require"
                    )
                    threading.Timer(1, weir.reload).start()

                self.cancelled(weir, "secure", before_cancel=move)


if __name__ == "__main__":
    unittest.main()
