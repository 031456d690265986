"""The command line and the configuration: what is taken, and how mistakes are told."""

import subprocess
import unittest

import psycopg

from harness import Pgweir, PgweirCase, wait_until
from harness.machine import runs_as_root, write
from harness.pgweir import binary, environment

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
    postgres_options = {"hba": "local all all trust\nhost all all 127.0.0.1/32 trust\n"}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_database("app", owner="app")

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

    def enters(self, weir, password):
        try:
            weir.connect("app", "app", password=password).close()
            return True
        except psycopg.OperationalError:
            return False


if __name__ == "__main__":
    unittest.main()
