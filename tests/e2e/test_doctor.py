"""pgweir doctor: real parts, whole and broken."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
import unittest
from pathlib import Path

from harness import Postgres, PgweirCase, Redis, machine, side_by_side
from harness.certificates import Authority, Certificate
from harness.pgweir import environment, binary

PACKAGED = Path(__file__).resolve().parents[2] / "packaging/postgres"
OK, START_FAILED, WARN, FAIL, CONFIG = 0, 1, 2, 3, 78
STORE_TIMEOUT = "5s"  # where the store is to answer, on a machine that is busy with the other tests
SECRETS = ("s1de", "s3cret", "r3dis")
HBA = """\
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
"""


class Doctor(PgweirCase):
    @classmethod
    def setUpClass(cls):
        cls.authority = Authority()
        cls.certificate = cls.authority.issue("localhost", days=30)
        cls._class_weirs = []
        cls.postgres = Postgres(hba=HBA, certificate=cls.certificate)
        cls.addClassCleanup(lambda: cls.postgres.stop())
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_user("side", "s1de")
        cls.postgres.sql("grant pg_signal_backend to side")
        cls.postgres.create_database("app", owner="app")

    def weir(self, *, postgres=None, backend=None, start=False, **config):
        postgres = postgres or self.postgres
        good = {
            "host": "localhost",
            "tls_mode": "verify-full",
            "tls_ca_file": str(self.authority.path),
            "side_user": "side",
            "side_password": "s1de",
            "max_server_connections": 50,
        }
        return self.pgweir(
            {
                "listen": {"addresses": ["127.0.0.1"]},
                "client": {"max": 200},
                "pool": {"unknown_tenants": False},
                "backends": {"main": {**good, **(backend or {})}},
                "tenants": {"app": {"backend": "main", "user": "app", "password": "s3cret"}},
                **config,
            },
            postgres=postgres,
            start=start,
        )

    def visit(self, weir, *, before=()):
        """Exit code, and (status, text) by check; of checks that come twice the last."""
        weir.write_files()
        started = time.monotonic()
        done = subprocess.run(
            machine.as_system_user([*before, binary(), "doctor", "--config", weir.config_path]),
            cwd=weir.dir,
            env=environment({"HOME": str(weir.dir)}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertLess(time.monotonic() - started, 40)
        self.assertNotIn("Sanitizer", done.stderr)
        for secret in SECRETS:
            self.assertNotIn(secret, done.stdout + done.stderr)
        rows = [[cell.strip() for cell in line.split(" | ", 2)] for line in done.stdout.splitlines()]
        if rows:
            self.assertEqual(rows[0], ["check", "status", "what to do"])
        return done.returncode, {row[0]: (row[1], row[2]) for row in rows[1:]}, done

    def expect(self, found, check, status, *words):
        self.assertIn(check, found)
        self.assertEqual(found[check][0], status, found[check])
        for word in words:
            self.assertIn(word, found[check][1])

    def test_all_is_well(self):
        redis = Redis(password="r3dis")
        self.addCleanup(redis.stop)
        weir = self.weir(tenant_store={"kind": "redis", "redis_url": redis.url(), "timeout": STORE_TIMEOUT})
        code, found, done = self.visit(weir)
        bad = {check: row for check, row in found.items() if row[0] != "ok"}
        self.assertEqual((code, bad), (OK, {}), done.stdout)
        self.expect(found, "backend main: name", "ok", "localhost is", "127.0.0.1")
        self.expect(found, "backend main: port", "ok", str(self.postgres.port))
        self.expect(found, "backend main: TLS", "ok", "CN=localhost")
        self.expect(found, "backend main: side role", "ok", "Postgres 15")
        self.expect(found, "backend main: clock", "ok")
        self.expect(found, "backend main: connections", "ok", "50 of")
        self.expect(found, "tenant app", "ok", "app logs in to app")
        self.expect(found, "redis: login", "ok")
        self.expect(found, "redis: clock", "ok")
        self.expect(found, "tenant store", "ok")
        self.expect(found, "port: clients", "ok", "free")
        self.expect(found, "host: open files", "ok")

    def test_postgres_is_down(self):
        weir = self.weir(backend={"port": machine.free_port()})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "backend main: port", "fail", "Connection refused", "is it running")
        self.assertNotIn("tenant app", found)  # one failure, told once

    def test_no_host_is_what_is_wanted(self):
        """Every login works, and yet no client would be let in."""
        hba = "local all all trust\nhost all all 127.0.0.1/32 trust\nlocal replication all trust\n"
        primary = Postgres(hba=hba)
        self.addCleanup(primary.stop)
        primary.create_user("app", "s3cret")
        primary.create_database("app", owner="app")
        standby = Postgres(hba=hba, primary=primary)
        self.addCleanup(standby.stop)
        places = [f"127.0.0.1:{each.port}" for each in (primary, standby)]

        def visit(hosts, attrs):
            backend = {"hosts": hosts, "target_session_attrs": attrs, "tls_mode": "disable"}
            weir = self.pgweir(
                {
                    "listen": {"addresses": ["127.0.0.1"]},
                    "client": {"max": 200},
                    "backends": {"main": backend},
                    "tenants": {"app": {"backend": "main", "user": "app", "password": "s3cret"}},
                },
                start=False,
            )
            weir.config["backends"]["main"] = backend
            return self.visit(weir)

        code, found, _ = visit(places[1:], "read-write")
        self.assertEqual(code, FAIL)
        self.expect(found, "tenant app", "ok", "logs in")
        self.expect(found, f"backend main, {places[1]}: role", "ok", "standby")
        self.expect(found, "backend main: roles", "fail", f"{places[1]}: standby", "no client is let in")
        _, found, _ = visit(places, "read-write")
        self.expect(found, f"backend main, {places[0]}: role", "ok", "primary")
        self.expect(found, f"backend main, {places[1]}: role", "ok", "standby")
        self.expect(found, "backend main: roles", "ok", f"{places[0]} is what read-write wants")
        _, found, _ = visit([places[0], f"127.0.0.1:{machine.free_port()}"], "standby")
        self.expect(found, "backend main: roles", "fail", f"{places[0]}: primary", "name a standby")

    def test_a_name_that_nobody_has(self):
        code, found, _ = self.visit(self.weir(backend={"host": "no-such-host.invalid"}))
        self.assertEqual(code, FAIL)
        self.expect(found, "backend main: name", "fail", "no-such-host.invalid cannot be resolved")

    def test_a_silent_host_is_left_in_time(self):
        deaf = socket.socket()
        self.addCleanup(deaf.close)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        weir = self.weir(backend={"port": deaf.getsockname()[1], "tls_mode": "prefer"})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "backend main: side role", "fail", "no answer")

    def test_something_else_than_a_postgres(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def be_a_web_server():
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.recv(100)
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=be_a_web_server, daemon=True).start()
        weir = self.weir(backend={"port": server.getsockname()[1]})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "backend main: TLS", "fail", "does not answer as Postgres does")

    def test_wrong_passwords(self):
        weir = self.weir(
            backend={"side_password": "wr0ng"},
            tenants={"app": {"user": "app", "password": "wr0ng"}, "gone": {"user": "app", "password": "s3cret"}},
        )
        code, found, done = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.assertNotIn("wr0ng", done.stdout)
        self.expect(found, "backend main: side role", "fail", "password is wrong", "side_password")
        self.expect(found, "tenant app", "fail", "password is wrong", "user and password of the tenant")
        self.expect(found, "tenant gone", "fail", 'database "gone" does not exist', "create the database")

    def test_roles_with_too_many_rights(self):
        self.postgres.create_user("mighty", "s3cret", options="superuser")
        self.addCleanup(self.postgres.sql, "drop role mighty")
        weir = self.weir(tenants={"app": {"user": "mighty", "password": "s3cret"}})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "tenant app", "fail", "mighty is a superuser")

    def test_a_redis_that_takes_no_usage(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        redis("ACL", "SETUSER", "weir", "on", ">r3dis", "~pgweir:*", "&pgweir:*", "+@all", "-hset")
        store = {"kind": "redis", "redis_url": f"redis://weir:r3dis@127.0.0.1:{redis.port}/0", "timeout": STORE_TIMEOUT}
        code, found, _ = self.visit(self.weir(tenant_store=store))
        self.assertEqual(code, WARN)
        self.expect(found, "tenant store", "ok")
        self.expect(found, "tenant store: usage", "warn", "NOPERM", "HSET and EXPIRE")
        redis("ACL", "SETUSER", "weir", "+hset")
        code, found, done = self.visit(self.weir(tenant_store=store))
        self.assertEqual(code, OK, done.stdout)
        self.expect(found, "tenant store: usage", "ok")
        machine.wait_until(lambda: redis("KEYS", "pgweir:usage:*") == "", what="what the doctor wrote gone")

    def test_a_store_beside_tenants_that_nobody_named(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        store = {"kind": "redis", "redis_url": redis.url(), "timeout": STORE_TIMEOUT}
        code, found, _ = self.visit(self.weir(tenant_store=store, pool={"unknown_tenants": True}))
        self.assertEqual(code, WARN)
        self.expect(found, "tenant store: unknown tenants", "warn", "pool.unknown_tenants", "set it to false")
        code, found, _ = self.visit(self.weir(pool={"unknown_tenants": True}))
        self.assertEqual((code, "tenant store: unknown tenants" in found), (OK, False))

    def test_a_redis_that_forgets_when_it_is_full(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        store = {"kind": "redis", "redis_url": redis.url(), "timeout": STORE_TIMEOUT}
        weir = self.weir(tenant_store=store)

        def found(policy, memory="100mb"):
            redis("CONFIG", "SET", "maxmemory", memory)
            redis("CONFIG", "SET", "maxmemory-policy", policy)
            code, found, _ = self.visit(weir)
            return code, found

        code, lines = found("volatile-lru")
        self.assertEqual(code, WARN)
        self.expect(lines, "redis: eviction", "warn", "volatile-lru", "noeviction")
        for policy, memory in (("noeviction", "100mb"), ("allkeys-lru", "0")):
            code, lines = found(policy, memory)
            self.assertEqual(code, OK)
            self.assertNotIn("redis: eviction", lines)
        # Who may not ask says nothing.
        found("allkeys-lru")
        redis("ACL", "SETUSER", "weir", "on", ">r3dis", "~pgweir:*", "&pgweir:*", "+@all", "-info")
        store["redis_url"] = f"redis://weir:r3dis@127.0.0.1:{redis.port}/0"
        code, lines, _ = self.visit(self.weir(tenant_store=store))
        self.assertEqual(code, OK)
        self.assertNotIn("redis: eviction", lines)

    def test_redis_is_down_or_refuses(self):
        redis = Redis(password="r3dis")
        store = {"kind": "redis", "redis_url": redis.url().replace("r3dis", "wr0ng")}
        code, found, _ = self.visit(self.weir(tenant_store=store))
        self.assertEqual(code, FAIL)
        self.expect(found, "redis: login", "fail", "WRONGPASS")
        self.expect(found, "tenant store", "fail")
        redis.pause()
        code, found, _ = self.visit(self.weir(tenant_store={**store, "redis_url": redis.url()}))
        redis.resume()
        self.assertEqual(code, FAIL)
        self.expect(found, "redis: login", "fail")
        redis.stop()
        code, found, _ = self.visit(self.weir(tenant_store={**store, "redis_url": redis.url()}))
        self.assertEqual(code, FAIL)
        self.expect(found, "redis: port", "fail", "Connection refused")
        self.expect(found, "tenant store", "fail")

    def test_the_store_of_a_platform(self):
        url = f"postgres://app:s3cret@127.0.0.1:{self.postgres.port}/app?sslmode=require"
        weir = self.weir(tenant_store={"kind": "postgres", "postgres_url": url, "timeout": STORE_TIMEOUT})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "tenant store", "fail", "tenant_store.sql")
        self.postgres.sql((PACKAGED / "tenant_store.sql").read_text(), "app")
        self.addCleanup(self.postgres.sql, "drop schema pgweir cascade", "app")
        self.postgres.sql("grant usage on schema pgweir to app; grant select on all tables in schema pgweir to app", "app")
        code, found, _ = self.visit(weir)
        self.assertEqual(code, WARN)
        self.expect(found, "tenant store", "ok")
        self.expect(found, "tenant store: usage", "warn", "permission denied for table usage", "select, insert and update")
        self.postgres.sql("grant insert, update on pgweir.usage to app", "app")
        code, found, done = self.visit(weir)
        self.assertEqual(code, OK, done.stdout)
        self.expect(found, "tenant store: usage", "ok")
        self.assertEqual(self.postgres.sql("select count(*) from pgweir.usage", "app"), [(0,)])

    def test_few_files(self):
        weir = self.weir()
        code, found, done = self.visit(weir, before=["prlimit", "--nofile=100:100"])
        self.assertEqual(code, FAIL, done.stderr)
        self.expect(found, "host: open files", "fail", "100 at most", "ulimit")

    def test_certificates(self):
        expired = self.expire(self.certificate)
        postgres = Postgres(hba=HBA, certificate=expired)
        self.addCleanup(postgres.stop)
        code, found, _ = self.visit(self.weir(postgres=postgres))
        self.assertEqual(code, FAIL)
        self.expect(found, "backend main: TLS", "fail", "has expired on")
        weir = self.weir(backend={"tls_ca_file": str(Authority("another").path)})
        code, found, _ = self.visit(weir)
        self.expect(found, "backend main: TLS", "fail", "is not trusted", "tls_ca_file")
        # Ours, which clients see.
        weir = self.weir(
            client={
                "max": 200,
                "tls_mode": "prefer",
                "tls_cert_file": str(expired.cert),
                "tls_key_file": str(expired.key),
            }
        )
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "clients: certificate", "fail", "has expired on")

    def expire(self, good):
        """Another certificate of the same key, that was good for a day."""
        cert = self.authority.dir / "expired.crt"
        request = self.authority.dir / "expired.csr"
        machine.run(["openssl", "req", "-new", "-key", good.key, "-subj", "/CN=localhost", "-out", request])
        database = self.authority.dir / "database"
        database.mkdir(exist_ok=True)
        (database / "index.txt").write_text("")
        settings = database / "ca.cnf"
        settings.write_text(
            f"[ca]\ndefault_ca=d\n[d]\ndatabase={database}/index.txt\nnew_certs_dir={database}\nrand_serial=yes\n"
            "default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
        )
        done = machine.run(
            ["openssl", "ca", "-batch", "-notext", "-config", settings, "-in", request, "-out", cert]
            + ["-cert", self.authority.path, "-keyfile", self.authority._key]
            + ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"]
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        machine.own(cert, 0o644)
        key = Path(f"{cert}.key")
        shutil.copy(good.key, key)
        machine.own(key, 0o600)
        return Certificate(cert, key)

    def test_ports_that_are_taken(self):
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        weir = self.weir(listen={"addresses": ["127.0.0.1"], "port": other.getsockname()[1], "unix_socket_dir": ""})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "port: clients", "fail", "cannot listen on 127.0.0.1", "already in use")
        # A Postgres is no pgweir.
        weir = self.weir(listen={"addresses": ["127.0.0.1"], "port": self.postgres.port, "unix_socket_dir": ""})
        code, found, _ = self.visit(weir)
        self.expect(found, "port: clients", "fail", "already in use")

    def test_the_port_of_http_is_taken(self):
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        http = {"port": other.getsockname()[1], "addresses": ["127.0.0.1"]}
        weir = self.weir(http=http)
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(found, "port: http", "fail", "already in use", "change http.port")
        self.expect_no_start(weir, "already in use", "change http.port")

    def test_files_of_secrets_that_everybody_reads(self):
        open_to_all = machine.write(machine.scratch("secrets") / "users.txt", "", 0o644)
        machine.own(open_to_all.parent, 0o755)
        code, found, done = self.visit(self.weir(auth={"users_file": str(open_to_all)}))
        self.assertEqual(code, WARN, done.stdout)
        self.expect(found, "secrets: users", "warn", str(open_to_all), "mode 0644", "chmod o=")

    def test_clients_of_other_machines_without_tls(self):
        addresses = {"addresses": ["127.0.0.1", "0.0.0.0"]}
        code, found, done = self.visit(self.weir(listen=addresses))
        self.assertEqual(code, WARN, done.stdout)
        self.expect(found, "clients: certificate", "warn", "0.0.0.0:", "in the clear", "client.tls_cert_file")

    def test_the_file_of_the_audit_stream(self):
        parent = machine.scratch("audit")
        machine.own(parent, 0o755)
        folder = parent / "made"
        code, found, done = self.visit(self.weir(audit={"target": str(folder / "audit.json")}))
        self.assertEqual(code, OK, done.stdout)
        self.expect(found, "audit: file", "ok", "can be written")
        self.assertFalse(folder.exists())  # it has only looked
        weir = self.weir(audit={"target": "/no-such-folder/deep/audit.json"})
        code, found, _ = self.visit(weir)
        self.assertEqual(code, FAIL)
        self.expect(
            found, "audit: file", "fail", "Permission denied", "create the folder /no-such-folder/deep", "audit.target"
        )
        self.expect_no_start(weir, "audit.target")

    def expect_no_start(self, weir, *words):
        done = subprocess.run(
            machine.as_system_user([binary(), "--config", weir.config_path]),
            cwd=weir.dir,
            env=environment({"HOME": str(weir.dir)}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, START_FAILED, done.stdout)
        for word in words:
            self.assertIn(word, done.stderr)

    def test_ports_of_a_pgweir_that_runs(self):
        http = machine.free_port()
        weir = self.weir(start=True, http={"port": http, "addresses": ["127.0.0.1"]})
        code, found, done = self.visit(weir)
        self.assertEqual(code, OK, done.stdout)
        self.expect(found, "port: clients", "ok", "runs already")
        self.expect(found, "port: http", "ok", "runs already")

    def test_a_wrong_configuration(self):
        weir = self.weir(backend={"tls_mode": "always"})
        code, _, done = self.visit(weir)
        self.assertEqual(code, CONFIG)
        self.assertIn("tls_mode", done.stderr)

    def test_warnings_alone(self):
        postgres = Postgres(hba=HBA, certificate=self.authority.issue("localhost", days=3))
        self.addCleanup(postgres.stop)
        postgres.create_user("side", "s1de")
        code, found, _ = self.visit(self.weir(postgres=postgres, tenants={}))
        self.assertEqual(code, WARN)
        self.expect(found, "backend main: TLS", "warn", "expires on", "renew")
        self.expect(found, "backend main: side role", "warn", "GRANT pg_signal_backend TO side")


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Doctor)


if __name__ == "__main__":
    unittest.main()
