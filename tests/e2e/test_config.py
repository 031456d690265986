"""The command line and the configuration: what is taken, and how mistakes are told."""

import base64
import subprocess
import sys
import time
import unittest

import psycopg

from harness import TRUST, Pgweir, PgweirCase, Postgres, Wire, wait_until, without_ipv6
from harness.machine import runs_as_root, write
from harness.pgweir import binary, environment
from harness.wire import query

GOOD = """\
listen:
  addresses: ["127.0.0.1"]
  port: {port}
auth:
  method: trust
users:
  app: s3cret
backends:
  main:
    host: 127.0.0.1
    port: 5432
tenants:
  acme:
    tier: pro
    backend: main
    database: acme
    user: owner
    password: pa55word
"""

# (what is replaced, by what, line, words that the message must have)
MISTAKES = [
    ("  port: {port}", "  prot: 1", 3, ["listen.prot", "port"]),
    ("  port: {port}", "  port: 70000", 3, ["listen.port", "70000", "65535"]),
    ("  port: {port}", "  port: many", 3, ["listen.port", "many"]),
    ("  port: {port}", "  port: 1\n  port: 2", 4, ["listen.port"]),
    ("  method: trust", "  method: scram", 5, ["auth.method", "scram-sha-256"]),
    ("auth:", "authh:", 4, ["authh", "auth"]),
    ("    tier: pro", "    tier: prro", 14, ["prro", "pro"]),
    ("  acme:", "  pgbouncer:", 13, ["pgbouncer", "console"]),
    ("    backend: main", "    backend: mian", 15, ["mian", "main"]),
    ("    host: 127.0.0.1", "    hots: 127.0.0.1", 10, ["hots", "host"]),
    ("  addresses: [", "  addresses: [[", 2, []),
]


class CommandLine(PgweirCase):
    @classmethod
    def setUpClass(cls):
        cls._class_weirs = []
        cls.tool = Pgweir()

    def check(self, text, env=None):
        path = write(self.tool.dir / "tried.yaml", text)
        return self.tool.command_line("--config", path, "--check-config", env=env)

    def good(self, old="", new=""):
        return GOOD.replace(old, new).replace("{port}", str(self.tool.port))

    def test_version_and_help(self):
        done = self.tool.command_line("--version")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"^pgweir \d+\.\d+")
        done = self.tool.command_line("--help")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("--config", "--check-config", "--print-config"):
            self.assertIn(word, done.stdout)

    def test_usage(self):
        for arguments in (["--confg", "x"], ["--config"], ["stray"]):
            with self.subTest(arguments):
                done = self.tool.command_line(*arguments)
                self.assertEqual((done.returncode, done.stdout), (64, ""), done.stderr)
                self.assertTrue(done.stderr)

    def test_check(self):
        done = self.check(self.good())
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_mistakes(self):
        for old, new, line, words in MISTAKES:
            with self.subTest(new):
                self.assertIn(old, GOOD)
                done = self.check(self.good(old, new))
                self.assertEqual(done.returncode, 78, done.stdout + done.stderr)
                self.assertRegex(done.stderr, rf"tried\.yaml:{line}:\d+: ")
                for word in words:
                    self.assertIn(word, done.stderr)

    def test_scram_secrets_with_too_many_iterations(self):
        """No login could ever take so long: told at once, with the user, and not when he comes."""
        salt, key = base64.b64encode(b"salt").decode(), base64.b64encode(b"k" * 32).decode()
        for iterations, code in ((100_000, 0), (100_001, 78)):
            secret = f"SCRAM-SHA-256${iterations}:{salt}${key}:{key}"
            listed = write(self.tool.dir / "listed.txt", f'"bob" "x"\n"alice" "{secret}"\n')
            for text, place in (
                (self.good("  method: trust", f"  method: scram-sha-256\n  users_file: {listed}"), "line 2: user \"alice\""),
                (self.good("  app: s3cret", f"  alice: '{secret}'"), "tried.yaml:7:10: users.alice"),
            ):
                with self.subTest(iterations=iterations, place=place):
                    done = self.check(text)
                    self.assertEqual(done.returncode, code, done.stderr)
                    if code:
                        self.assertIn(place, done.stderr)
                        self.assertIn("between 1 and 100000, not 100001", done.stderr)
                        self.assertNotIn(key, done.stderr)

    def test_all_mistakes_at_once(self):
        text = self.good("  method: trust", "  method: scram").replace("    host:", "    hots:")
        done = self.check(text)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"tried\.yaml:5:")
        self.assertRegex(done.stderr, r"tried\.yaml:10:")

    def test_files_that_are_not_there(self):
        done = self.tool.command_line("--config", "/nowhere.yaml", "--check-config")
        self.assertEqual(done.returncode, 78)
        self.assertIn("/nowhere.yaml", done.stderr)
        done = self.check(self.good("  method: trust", "  method: trust\n  users_file: /nowhere.txt"))
        self.assertEqual(done.returncode, 78)
        self.assertIn("/nowhere.txt", done.stderr)
        tls = "client:\n  tls_key_file: /nowhere.key\n  tls_cert_file: /nowhere.pem\n"
        done = self.check(self.good() + tls)
        self.assertEqual(done.returncode, 78)
        self.assertRegex(done.stderr, r"tried\.yaml:\d+:\d+: client\.tls_cert_file: .*/nowhere\.pem")

    def test_a_bad_file_does_not_start(self):
        path = write(self.tool.dir / "tried.yaml", self.good("  port:", "  prot:"))
        done = self.tool.command_line("--config", path)
        self.assertEqual(done.returncode, 78)

    def test_print(self):
        path = write(self.tool.dir / "tried.yaml", self.good())
        done = self.tool.command_line("--config", path, "--print-config", env={"PGWEIR_PROCESS__THREADS": "3"})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(str(self.tool.port), done.stdout)
        self.assertRegex(done.stdout, r"(?i)environment")
        self.assertRegex(done.stdout, r"tried\.yaml:3")
        self.assertNotIn("pa55word", done.stdout)
        self.assertNotIn("s3cret", done.stdout)

    def test_mistakes_in_the_environment(self):
        done = self.check(self.good(), env={"PGWEIR_LISTEN__PORT": "many"})
        self.assertEqual(done.returncode, 78)
        self.assertIn("PGWEIR_LISTEN__PORT", done.stderr)
        done = self.check(self.good(), env={"PGWEIR_LISTEN__PROT": "1"})
        self.assertEqual(done.returncode, 78)
        self.assertIn("PGWEIR_LISTEN__PROT", done.stderr)

    @unittest.skipUnless(runs_as_root(), "only root can try to be root")
    def test_root_is_refused(self):
        path = write(self.tool.dir / "tried.yaml", self.good())
        done = subprocess.run(
            [binary(), "--config", path], env=environment(), capture_output=True, text=True, timeout=20, check=False
        )
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("root", done.stderr)

    def test_a_port_that_is_taken(self):
        first = self.pgweir({"backends": {"main": {"host": "127.0.0.1", "port": 1}}}, {"app": "x"})
        second = self.pgweir({**first.config}, {"app": "x"}, start=False)
        second.write_files()
        done = second.command_line("--config", second.config_path)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(str(first.port), done.stderr + done.stdout)


@unittest.skipUnless(without_ipv6.known(), "a filter of system calls for this machine")
class WithoutIpv6(PgweirCase):
    """A kernel that was started with ipv6.disable=1; containers listen on `::`."""

    databases = ("app",)
    WITHIN = [sys.executable, without_ipv6.__file__]

    def test_all_addresses_are_those_that_there_are(self):
        for address in ("::", "*"):
            weir = self.pgweir({"listen": {"addresses": [address]}}, {"app": "s3cret"}, start=False)
            weir.within = self.WITHIN
            weir.write_files()
            told = weir.command_line("doctor", "--config", weir.config_path)
            self.assertRegex(told.stdout, rf"(?m)^port: clients +\| ok +\| .*:{weir.port} is free$")
            weir.start()
            with weir.connect("app", "app") as connection:
                self.assertEqual(connection.execute("select 1").fetchone(), (1,))

    def test_an_address_that_there_is_not(self):
        weir = self.pgweir({"listen": {"addresses": ["::1"]}}, start=False)
        weir.within = self.WITHIN
        weir.start(wait=False)
        self.assertEqual(weir.wait_end(), 1)
        self.assertIn(f"listen on [::1]:{weir.port}: address family not supported", weir.log())


class Trust(PgweirCase):
    def test_refused_where_others_can_connect(self):
        weir = self.pgweir({"auth": {"method": "trust"}, "listen": {"addresses": ["0.0.0.0"]}}, start=False)
        weir.write_files()
        done = weir.command_line("--config", weir.config_path)
        self.assertEqual(done.returncode, 78)
        self.assertIn("auth.method: must not be trust, because listen.addresses has '0.0.0.0'", done.stderr)
        weir.config["auth"]["trust_on_network"] = True
        weir.start()
        with weir.connect("pgweir", "admin") as console:
            console.execute("show version")


class Environment(PgweirCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret/100%")
        cls.postgres.create_database("app", owner="app")

    def test_database_url_is_enough(self):
        weir = self.pgweir(users={"app": "s3cret/100%"}, start=False)
        url = f"postgres://app:s3cret%2F100%25@127.0.0.1:{self.postgres.port}/app"
        weir.env = {"DATABASE_URL": url, "PGWEIR_LISTEN__PORT": str(weir.port)}
        weir.start(arguments=[])
        with weir.connect("app", "app") as client:
            self.assertEqual(client.execute("select current_user::text").fetchone(), ("app",))
        self.assertNotIn("s3cret", weir.log())

    def test_a_value_over_the_file(self):
        weir = self.pgweir(
            {"listen": {"port": 1}, "auth": {"method": "trust"}},
            {"app": "s3cret/100%"},
            start=False,
        )
        weir.env = {"PGWEIR_LISTEN__PORT": str(weir.port)}
        weir.start()
        with weir.connect("app", "app") as client:
            self.assertEqual(client.execute("select 1").fetchone(), (1,))


class Reload(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def test_a_bad_file_leaves_the_old_one_in_force(self):
        weir = self.pgweir(users={"app": "s3cret", "admin": "adm1n"})
        with weir.connect("app", "app") as client:
            client.execute("begin")
            good = dict(weir.config)
            weir.config["client"] = {"maxx": 1}
            before = len(weir.log())
            weir.reload()
            wait_until(lambda: "maxx" in weir.log()[before:], what="the mistake in the log")
            self.assertEqual(client.execute("select 1").fetchone(), (1,))
            client.execute("commit")
            with weir.connect("app", "app") as another:
                self.assertEqual(another.execute("select 2").fetchone(), (2,))
            with self.assertRaises(psycopg.Error) as caught:
                weir.console("RELOAD")
            self.assert_sqlstate(caught.exception, "F0000")
            weir.config = good
            weir.write_files()
            self.assertEqual(weir.console("RELOAD"), ([], []))

    def test_users_and_limits_change(self):
        tier = {"pool_size": 2, "max_server_connections": 2, "max_clients": 50}
        weir = self.pgweir(
            {"tiers": {"test": tier}, "tenants": {"app": {"tier": "test", "backend": "main", "database": "app"}}},
            {"app": "s3cret", "admin": "adm1n"},
        )
        with weir.connect("app", "app") as first:
            first.execute("select 1")
            weir.config["tiers"]["test"]["max_clients"] = 1
            weir.users["app"] = "changed"
            weir.reload()
            wait_until(lambda: not self.enters(weir, "s3cret"), what="the old password refused")
            self.assertFalse(self.enters(weir, "changed"), "the only place is taken")
            self.assertEqual(first.execute("select 1").fetchone(), (1,))
            weir.config["tiers"]["test"]["max_clients"] = 50
            weir.reload()
            wait_until(lambda: self.enters(weir, "changed"), what="the new password")

    def loose(self, **config):
        """A pgweir whose tenant has room and whose servers live for ever."""
        tier = {"pool_size": 4, "max_server_connections": 4, "max_clients": 50, "server_idle_timeout": "never"}
        base = {
            "auth": {"method": "trust"},
            "server": {"idle_timeout": "never", "lifetime": "never"},
            "tiers": {"test": tier},
            "tenants": {"app": {"tier": "test", "backend": "main", "database": "app"}},
        }
        return self.pgweir({**base, **config}, {"app": "s3cret", "admin": "adm1n"})

    def servers(self):
        """What pgweir has open on the database, by process id."""
        rows = self.postgres.sql("select pid from pg_stat_activity where datname = 'app' and usename = 'app'")
        return {row[0] for row in rows}

    def warm_up(self, weir, count):
        """So many idle servers."""
        wait_until(lambda: not self.servers(), what="the servers of other tests gone")
        clients = [weir.connect("app", "app") for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
            client.execute("begin")
        for client in clients:
            client.execute("commit")
        self.assertEqual(len(self.servers()), count)
        return clients

    def change(self, weir, section, **settings):
        weir.config.setdefault(section, {}).update(settings)
        weir.write_files()
        weir.console("RELOAD")

    def test_a_client_that_is_idle_already(self):
        weir = self.loose()
        with weir.connect("app", "app") as client:
            client.execute("select 1")
            self.change(weir, "client", idle_timeout="500ms")
            with Wire(weir.port) as other:
                other.login("app", "app")
                self.assertIn(b"57P05", other.until_closed()[-1][1])
            with self.assertRaises(psycopg.OperationalError):
                client.execute("select 1")

    def test_a_client_that_waits_already(self):
        weir = self.loose()
        weir.config["tiers"]["test"].update(pool_size=1, max_server_connections=1)
        weir.write_files()
        weir.console("RELOAD")
        with weir.connect("app", "app") as holder, Wire(weir.port) as waiting:
            holder.execute("begin")
            waiting.login("app", "app")
            waiting.send(query("select 'served'"))
            time.sleep(0.3)
            self.change(weir, "client", query_wait_timeout="100ms")
            self.assertIn(b"53300", b"".join(body for _, body in waiting.until_ready()))
            self.change(weir, "client", query_wait_timeout="60s")
            waiting.send(query("select 'served'"))
            time.sleep(0.3)
            weir.config["tiers"]["test"].update(max_server_connections=2)
            self.change(weir, "tiers")
            self.assertIn(b"served", b"".join(body for _, body in waiting.until_ready()))

    def test_idle_servers_that_are_too_old_now(self):
        weir = self.loose()
        for setting in ("idle_timeout", "lifetime"):
            with self.subTest(setting):
                clients = self.warm_up(weir, 3)
                self.change(weir, "server", **{setting: "1s"})
                wait_until(lambda: not self.servers(), seconds=5, what="closed servers")
                self.change(weir, "server", **{setting: "never"})
                for client in clients:
                    client.close()

    def test_servers_beyond_a_lower_limit(self):
        for section, row in (("tiers", "test"), ("backends", "main")):
            with self.subTest(section):
                weir = self.loose()
                clients = self.warm_up(weir, 4)
                clients[0].execute("begin")
                clients[1].execute("begin")
                weir.config["tiers"]["test"]["pool_size"] = 1
                weir.config[section][row]["max_server_connections"] = 1
                self.change(weir, section)
                wait_until(lambda: len(self.servers()) == 2, what="no idle servers")
                for client in clients[:2]:
                    client.execute("commit")
                wait_until(lambda: len(self.servers()) == 1, what="one server")
                for client in clients:
                    self.assertEqual(client.execute("select 1").fetchone(), (1,))
                    self.assertEqual(len(self.servers()), 1)
                    client.close()
                weir.stop()

    def test_another_way_to_the_backend(self):
        weir = self.loose()
        clients = self.warm_up(weir, 2)
        before = self.servers()
        clients[0].execute("begin")
        weir.config["backends"]["main"]["auth_methods"] = ["trust"]
        self.change(weir, "backends")
        wait_until(lambda: len(self.servers()) == 1, what="the idle server closed")
        clients[0].execute("commit")
        wait_until(lambda: not self.servers() & before, what="the other one closed")
        for client in clients:
            self.assertEqual(client.execute("select 1").fetchone(), (1,))
            client.close()

    def test_fewer_statements_on_a_server(self):
        weir = self.loose()
        with weir.connect("app", "app") as client:
            for n in range(20):
                client.execute(f"select {n}", prepare=True)
            count = "select count(*)::int from pg_prepared_statements"
            self.assertGreaterEqual(client.execute(count, prepare=False).fetchone()[0], 20)
            before = self.servers()
            self.change(weir, "server", max_prepared_statements=5)
            wait_until(lambda: not self.servers() & before, what="a fresh server")
            self.assertEqual(client.execute("select 7", prepare=True).fetchone(), (7,))

    def test_the_log(self):
        weir = self.loose()
        weir.connect("app", "app").close()
        self.assertNotIn('"login"', weir.log())
        self.change(weir, "log", level="debug")
        weir.connect("app", "app").close()
        wait_until(lambda: '"login"' in weir.log(), what="an event at debug")

    def test_a_server_password_of_connected_clients(self):
        postgres = Postgres(hba="local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        self.addCleanup(postgres.stop)
        postgres.create_user("app", "s3cret")
        weir = self.pgweir(users={"app": "s3cret", "admin": "adm1n"}, postgres=postgres)
        with weir.connect("postgres", "app") as client:
            client.execute("select 1")
            postgres.sql("alter role app password 'changed'")
            weir.users["app"] = "changed"
            weir.write_files()
            weir.console("RELOAD")
            postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")
            wait_until(lambda: not weir.console("SHOW SERVERS")[1], what="the server gone")
            self.assertEqual(client.execute("select 2").fetchone(), (2,))

    def test_several_reloads_at_once(self):
        weir = self.loose()
        before = weir.log().count("configuration reloaded")
        for n in range(8):
            self.change_silently(weir, n)
        weir.console("RELOAD")
        after = weir.log().count("configuration reloaded")
        self.assertGreater(after, before)
        wait_until(lambda: ("client.idle_timeout", "107s") in self.shown(weir), what="the last one in force")

    def change_silently(self, weir, n):
        weir.config["client"] = {"idle_timeout": f"{100 + n}s"}
        weir.reload()

    def shown(self, weir):
        return [row[:2] for row in weir.console("SHOW CONFIG")[1]]

    def enters(self, weir, password):
        try:
            weir.connect("app", "app", password=password).close()
            return True
        except psycopg.OperationalError:
            return False


if __name__ == "__main__":
    unittest.main()
