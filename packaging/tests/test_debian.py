"""The Debian package: built, checked by lintian, installed into a root of its own, upgraded, removed, purged."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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
        built = run("packaging/deb")
        if built.returncode != 0:
            raise AssertionError(f"packaging/deb: {built.stdout[-2000:]}{built.stderr[-4000:]}")
        cls.package = Path(built.stdout.strip())
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

    def dpkg(self, *arguments):
        """Works on a root of its own, and runs the package's scripts without entering it."""
        force = ["--force-depends", "--force-script-chrootless", "--force-confold", "--force-not-root"]
        return run("dpkg", f"--root={self.root}", f"--log={self.work}/dpkg.log", *force, *arguments)

    def test_install_upgrade_remove_purge(self):
        self.root = self.work / "root"
        for folder in ("info", "updates", "triggers"):
            (self.root / "var/lib/dpkg" / folder).mkdir(parents=True)
        (self.root / "var/lib/dpkg/status").touch()
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


if __name__ == "__main__":
    unittest.main()
