"""The Dockerfile without building it: what it copies exists, and what it installs can be installed.

packaging/tests/docker builds it.
"""

import fnmatch
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "packaging/Dockerfile").read_text()


def instructions():
    """(name, arguments) of each instruction, continued lines joined."""
    for line in TEXT.replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            name, arguments = line.split(None, 1)
            yield name, arguments


def ignored(path):
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    folders = [path, *(str(parent) for parent in Path(path).parents)]
    return any(
        fnmatch.fnmatch(part, pattern) or (pattern.startswith("**/") and fnmatch.fnmatch(part, pattern[3:]))
        for part in folders
        for pattern in patterns
    )


class Dockerfile(unittest.TestCase):
    def installed(self, group):
        """The packages of a group of packaging/install-deps."""
        text = (ROOT / "packaging/install-deps").read_text()
        found = re.search(rf"^    {group}\)(.*?);;", text, re.M | re.S)[1]
        return re.findall(r"(?<=[ \n])[a-z][a-z0-9.+-]+", found.replace("echo", "", 1))

    def test_what_is_copied_exists(self):
        copied = [arguments.split() for name, arguments in instructions() if name == "COPY"]
        self.assertTrue(copied)
        tracked = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        for *sources, _ in copied:
            for source in sources:
                self.assertTrue((ROOT / source).exists(), source)
                self.assertTrue(source == "." or source in tracked, f"{source} is not in the repository")
                self.assertFalse(ignored(source), f"{source} is in .dockerignore")

    def test_what_the_build_needs_is_not_ignored(self):
        for path in ("CMakeLists.txt", "CHANGELOG.md", "README.md", "perf/CMakeLists.txt", "conf/settings.cc",
                     "packaging/deb", "packaging/CMakeLists.txt", "tiers/reference.md"):  # fmt: skip
            self.assertTrue((ROOT / path).exists(), path)
            self.assertFalse(ignored(path), path)
        self.assertTrue(ignored("build/asan/pgweir"))

    def test_packages_can_be_installed(self):
        """By what apt knows of Debian 12, which the image is made of."""
        groups = re.search(r"RUN packaging/install-deps ([a-z ]+)", TEXT)[1].split()
        packages = sum((self.installed(group) for group in groups), [])
        self.assertIn("libuv1-dev", packages)
        runtime = re.search(r"apt-get -q install [^&]*", TEXT)[0]
        packages += [word for word in runtime.split()[3:] if word[0] not in "-/\\"]
        self.assertIn("ca-certificates", packages)
        for package in packages:
            done = subprocess.run(
                ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
            )
            if "installed" not in done.stdout:
                policy = subprocess.run(
                    ["apt-cache", "policy", package], capture_output=True, text=True, check=True
                ).stdout
                self.assertRegex(policy, r"Candidate: \d", package)

    def test_it_is_not_root_and_is_looked_after(self):
        lines = list(instructions())
        last_stage = max(i for i, (name, _) in enumerate(lines) if name == "FROM")
        stage = dict(lines[last_stage:])
        self.assertEqual(stage["USER"], "pgweir")
        self.assertIn("packaging/healthcheck", stage["COPY"])
        self.assertIn(f'["{stage["COPY"].split()[1]}"]', stage["HEALTHCHECK"])
        self.assertIn("PGWEIR_LISTEN__ADDRESSES=:: PGWEIR_LISTEN__PORT=5432", stage["ENV"])
        self.assertIn("GET /healthz ", (ROOT / "packaging/healthcheck").read_text())
        for name, arguments in lines:
            if name in ("ENV", "ARG"):
                self.assertNotRegex(arguments, r"(?i)password|secret|token|_url")


if __name__ == "__main__":
    unittest.main()
