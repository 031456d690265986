"""The Debian package: built, checked by lintian, installed into a root of its own, started there, upgraded, removed.

PGWEIR_PACKAGE names one that is built already.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

import psycopg  # noqa: E402
from harness import Postgres, free_port, wait_until  # noqa: E402


def run(*command, env=None):
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


class DebianPackage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        package = os.environ.get("PGWEIR_PACKAGE")
        if not package:
            built = run("packaging/deb")
            if built.returncode != 0:
                raise AssertionError(f"packaging/deb: {built.stdout[-2000:]}{built.stderr[-4000:]}")
            package = built.stdout.strip()
        cls.package = Path(package)
        cls.work = Path(tempfile.mkdtemp(prefix="pgweir-deb-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.work)

    def good(self, done):
        self.assertEqual(done.returncode, 0, f"{done.args}: {done.stdout}{done.stderr}")
        return done.stdout

    def unpacked(self):
        root = self.work / "unpacked"
        if not root.exists():
            self.good(run("dpkg-deb", "-x", self.package, root))
        return root

    def test_lintian_has_nothing_to_say(self):
        done = run("lintian", "--allow-root", "--fail-on", "error,warning", self.package)
        self.assertEqual((done.returncode, re.findall(r"^[EW]: .*", done.stdout, re.M)), (0, []))

    def test_dependencies_are_those_of_the_program(self):
        depends = self.good(run("dpkg-deb", "-f", self.package, "Depends"))
        for library in ("libc6", "libssl3", "libuv1", "libyaml-cpp", "libpg-query"):
            self.assertIn(library, depends)

    def test_the_program_runs_and_takes_its_configuration(self):
        root = self.unpacked()
        version = re.search(r"project\(pgweir VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text())[1]
        self.assertEqual(self.good(run(root / "usr/bin/pgweir", "--version")), f"pgweir {version}\n")
        users = {"PGWEIR_AUTH__USERS_FILE": str(root / "etc/pgweir/users.txt")}
        for path in ("etc/pgweir/pgweir.yaml", "usr/share/doc/pgweir/examples/pgweir.yaml"):
            command = (root / "usr/bin/pgweir", "--check-config", "--config", root / path)
            self.assertEqual(self.good(run(*command, env=users)), "")
        # And it is that file of users which the service's configuration names.
        printed = run(root / "usr/bin/pgweir", "--print-config", "--config", root / "etc/pgweir/pgweir.yaml")
        self.assertIn("/etc/pgweir/users.txt", printed.stdout + printed.stderr)

    def test_secrets_are_roots_alone(self):
        listed = self.good(run("dpkg-deb", "-c", self.package))
        self.assertRegex(listed, r"(?m)^-rw------- root/root .* \./etc/pgweir/users\.txt$")
        self.assertNotRegex(listed, r"(?m)^.{8}w", "nothing that everybody may write")

    def test_pages_that_others_point_to(self):
        folder = self.unpacked() / "usr/share/doc/pgweir"
        for page in ("README.md", "examples/tenant_store.sql"):
            pointed = re.findall(r"\bpooler/\w+\.md\b", (folder / page).read_text())
            self.assertTrue(pointed, page)
            for path in pointed:
                self.assertTrue((folder / path).exists(), f"{page}: {path}")

    def test_manual_pages(self):
        folder = self.unpacked() / "usr/share/man"
        settings = re.findall(r"^\| `([a-z_.]+)` \| `PGWEIR", (ROOT / "conf/reference.md").read_text(), re.M)
        self.assertGreater(len(settings), 40)
        for page in ("man1/pgweir.1.gz", "man5/pgweir.yaml.5.gz"):
            shown = run("man", "--warnings", "-l", folder / page, env={"LC_ALL": "C.UTF-8", "MANWIDTH": "200"})
            self.assertEqual((shown.returncode, shown.stderr), (0, ""), page)
        for setting in settings:
            self.assertTrue(re.search(rf"(?m)^ +{re.escape(setting)}( |$)", shown.stdout), setting)
        page = run("man", "-l", folder / "man1/pgweir.1.gz", env={"LC_ALL": "C.UTF-8"}).stdout
        told = self.good(run(self.unpacked() / "usr/bin/pgweir", "--help"))
        options = re.findall(r"^  (--[a-z-]+)", told, re.M)
        self.assertGreater(len(options), 4)
        completion = (self.unpacked() / "usr/share/bash-completion/completions/pgweir").read_text()
        for option in options:
            self.assertRegex(page, rf"(?m)^ +{option}\b")
            self.assertIn(option, completion)
        for code in re.findall(r"^  (\d+) +\S", told, re.M):
            self.assertRegex(page, rf"(?m)^ +{code} ")

    def test_the_audit_file_is_turned_over_by_time(self):
        """As logrotate reads it, but for the place and how the service is told."""
        shipped = (self.unpacked() / "etc/logrotate.d/pgweir").read_text()
        folder = self.work / "log"
        folder.mkdir()
        audit, told = folder / "audit.json", folder / "told"
        self.assertIn("\n/var/log/pgweir/audit.json {", shipped)
        self.assertRegex(shipped, r"(?m)^ +systemctl kill .*--signal=HUP pgweir\.service\b")
        rules = folder / "rules"
        rules.write_text(re.sub(r"systemctl kill .*", f"touch {told}", shipped).replace("/var/log/pgweir", str(folder)))
        command = ("/usr/sbin/logrotate", "--state", folder / "state", "--force", "--verbose", rules)
        self.good(run(*command))
        self.assertFalse(told.exists(), "there is no audit file where none is wanted")
        audit.write_text("{}\n")
        done = run(*command)
        self.assertNotIn("error", self.good(done) + done.stderr)
        self.assertEqual(((folder / "audit.json.1").read_text(), audit.exists(), told.exists()), ("{}\n", False, True))

    def new_root(self, name):
        self.root = self.work / name
        for folder in ("info", "updates", "triggers"):
            (self.root / "var/lib/dpkg" / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
        (self.root / "etc").mkdir()

    def dpkg(self, *arguments, path=None):
        """Works on a root of its own, and runs the package's scripts without entering it."""
        force = ["--force-depends", "--force-script-chrootless", "--force-confold", "--force-not-root"]
        env = {"PATH": f"{path}:{os.environ['PATH']}"} if path else None
        return run("dpkg", f"--root={self.root}", f"--log={self.work}/dpkg.log", *force, *arguments, env=env)

    def test_install_upgrade_remove_purge(self):
        self.new_root("root")
        config, program = self.root / "etc/pgweir/pgweir.yaml", self.root / "usr/bin/pgweir"

        self.good(self.dpkg("-i", self.package))
        self.assertTrue(program.exists())
        status = run("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f", "${Status}", "pgweir")
        self.assertEqual(status.stdout, "install ok installed")

        config.write_text("# mine\n")
        self.good(self.dpkg("-i", self.package))
        self.assertEqual(config.read_text(), "# mine\n", "an upgrade keeps what the administrator wrote")

        self.good(self.dpkg("-r", "pgweir"))
        self.assertFalse(program.exists())
        self.assertTrue(config.exists())
        self.good(self.dpkg("-P", "pgweir"))
        self.assertFalse(config.exists())

    def successor(self):
        """The same package under a higher version; and that version."""
        folder = self.work / "successor"
        self.good(run("dpkg-deb", "-R", self.package, folder))
        control = folder / "DEBIAN/control"
        version = re.search(r"(?m)^Version: (\S+)", control.read_text())[1] + "+1"
        control.write_text(re.sub(r"(?m)^Version: .*", f"Version: {version}", control.read_text()))
        package = self.work / "successor.deb"
        self.good(run("dpkg-deb", "--root-owner-group", "-b", folder, package))
        return package, version

    def systemd(self):
        """A folder with what the package's scripts call where systemd runs: it writes down how it was called."""
        (self.root / "run/systemd/system").mkdir(parents=True)
        folder, calls = self.work / "systemd", self.work / "calls"
        folder.mkdir()
        calls.touch()
        for name in ("systemctl", "deb-systemd-invoke", "deb-systemd-helper"):
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{calls}\n')
            (folder / name).chmod(0o755)
        return folder, calls

    def furnish(self):
        """What the package depends on, as the program's loader finds it here."""
        found = re.findall(r"(/\S+) \(0x", self.good(run("ldd", self.root / "usr/bin/pgweir")))
        self.assertGreater(len(found), 5)
        for library in found:
            place = self.root / library.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, place)

    def serve(self, env):
        """As the unit starts it: by its user, who has the secrets as credentials."""
        command = ["/usr/sbin/chroot", "--userspec=pgweir:pgweir", self.root, "/usr/bin/pgweir"]
        command += ["--config", "/etc/pgweir/pgweir.yaml"]
        with open(self.work / "pgweir.log", "ab") as log:
            process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.addCleanup(process.kill)
        return process

    @unittest.skipUnless(os.geteuid() == 0, "chroot is for root")
    def test_it_serves_from_a_chroot_and_is_upgraded_and_removed(self):
        self.new_root("chroot")
        path, calls = self.systemd()
        self.good(self.dpkg("-i", self.package, path=path))
        self.assertRegex((self.root / "etc/passwd").read_text(), r"(?m)^pgweir:.*:/usr/sbin/nologin$")
        # A fresh service is left alone: nobody could log in yet.
        self.assertEqual(calls.read_text(), "systemctl --system daemon-reload\n")
        self.furnish()

        postgres = Postgres()
        self.addCleanup(postgres.stop)
        postgres.create_user("app", "s3cret")
        postgres.create_database("shop", owner="app")
        port = free_port()
        config = {
            "listen": {"addresses": ["127.0.0.1"], "port": port},
            "auth": {"method": "scram-sha-256"},
            "http": {"port": 0},
            "backends": {"main": {"host": postgres.host, "port": postgres.port}},
            "tenants": {"shop": {"tier": "pro", "backend": "main"}},
        }
        (self.root / "etc/pgweir/pgweir.yaml").write_text(json.dumps(config) + "\n")
        credentials = self.root / "run/users.txt"
        credentials.write_text('"app" "s3cret"\n')
        shutil.chown(credentials, *self.service_user())
        credentials.chmod(0o400)
        env = {"PGWEIR_AUTH__USERS_FILE": "/run/users.txt"}

        def answer():
            with psycopg.connect(
                host="127.0.0.1", port=port, dbname="shop", user="app", password="s3cret", connect_timeout=10
            ) as connection:
                return connection.execute("select 6 * 7").fetchone()[0]

        def answers(process):
            log = (self.work / "pgweir.log").read_text()
            self.assertIsNone(process.poll(), log[-3000:])
            try:
                return answer()
            except psycopg.OperationalError:
                return None

        old = self.serve(env)
        self.assertEqual(wait_until(lambda: answers(old), seconds=20, what="an answer"), 42)

        package, version = self.successor()
        self.good(self.dpkg("-i", package, path=path))
        self.assertIn("deb-systemd-invoke try-restart pgweir.service\n", calls.read_text())
        status = run("dpkg-query", f"--admindir={self.root}/var/lib/dpkg", "-W", "-f", "${Version}", "pgweir")
        self.assertEqual(status.stdout, version)
        # Its program is another file now; the process serves until it is told to end, and the new one after it.
        self.assertEqual(answer(), 42)
        old.terminate()
        self.assertEqual(old.wait(30), 0)
        new = self.serve(env)
        self.assertEqual(wait_until(lambda: answers(new), seconds=20, what="an answer after the upgrade"), 42)

        self.good(self.dpkg("-r", "pgweir", path=path))
        self.assertIn("deb-systemd-invoke stop pgweir.socket pgweir.service\n", calls.read_text())
        new.terminate()
        self.assertEqual(new.wait(30), 0)
        self.assertFalse((self.root / "usr/bin/pgweir").exists())
        self.assertTrue((self.root / "etc/pgweir/pgweir.yaml").exists())
        self.good(self.dpkg("-P", "pgweir", path=path))
        self.assertFalse((self.root / "etc/pgweir").exists())
        self.assertFalse((self.root / "etc/logrotate.d/pgweir").exists())

    def service_user(self):
        """Its numbers there: the user is not one of this machine."""
        row = re.search(r"(?m)^pgweir:x:(\d+):(\d+):", (self.root / "etc/passwd").read_text())
        return int(row[1]), int(row[2])


if __name__ == "__main__":
    unittest.main()
