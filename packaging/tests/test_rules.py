"""README's table of rules: each rule that sources and documents cite is there, and so is what shows it."""

import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| (R\d+) \| (.+?) \| (.+) \|$", re.M)
CITED = re.compile(r"\((R\d+(?:, R\d+)*)\)")


def tracked(*patterns):
    done = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=False)
    found = done.stdout.split() if done.returncode == 0 else []
    # Of a tree without its history.
    return [ROOT / name for name in found] or [path for each in patterns for path in ROOT.glob(f"**/{each}")]


class Rules(unittest.TestCase):
    def setUp(self):
        self.rows = {rule: shown for rule, _, shown in ROW.findall(README)}

    def test_they_are_numbered(self):
        self.assertEqual(list(self.rows), [f"R{number}" for number in range(1, len(self.rows) + 1)])
        self.assertEqual(len(self.rows), 14)

    def test_what_is_cited_is_there(self):
        cited = set()
        for path in tracked("*.cc", "*.h", "SECURITY.md"):
            if "node_modules" not in path.parts:
                cited |= {rule for group in CITED.findall(path.read_text()) for rule in group.split(", ")}
        self.assertGreater(len(cited), 10)
        self.assertEqual(cited - set(self.rows), set())

    def test_what_shows_them_is_there(self):
        files = {path.name: path for path in tracked("*.cc", "*.py") if "tests" in path.parts}
        for rule, shown in self.rows.items():
            for part in re.split(r"; (?=`)", shown):
                with self.subTest(rule, part=part):
                    name, rest = re.fullmatch(r"`([\w./]+)`(.*)", part).groups()
                    text = (ROOT / name if "/" in name else files[name]).read_text()
                    cases = [f'TEST_CASE("{case}")' for case in re.findall(r'"(.+?)"', rest)]
                    cases += [f"def {case}(" for case in re.findall(r"\btest_\w+", rest)]
                    self.assertEqual([case for case in cases if case not in text], [])


if __name__ == "__main__":
    unittest.main()
