"""Every hostile and innocent case of ceilings/ against what is expected of it, in each mode.

A case that must be held and is not fails, and so does one that is marked as not held and is; and the counts in
README are those of the cases and their marks, but for the columns without pgweir, which are from a run by hand:
`python3 -B -m ceilings --help`.
"""

import re
import unittest
from collections import Counter
from pathlib import Path

from ceilings.case import MODES
from ceilings.catalog import HOSTILE, INNOCENT
from ceilings.innocent import PROGRAMS
from ceilings.runner import Runner, table
from ceilings.stage import Stage

HOSTILE_LEAST, INNOCENT_LEAST = 150, 40
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


class Counts(unittest.TestCase):
    def of(self, cases):
        """How many, and how many are held by mode."""
        return [len(cases), *(sum(mode not in case.known for case in cases) for mode in MODES)]

    def test_the_table(self):
        lines = README.split("| | cases | standard | strict | guard |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
        told = {}
        for line in lines:
            name, *counts = (cell.strip() for cell in line.strip("|").split("|"))
            told[name.split(":")[0]] = [int(count) for count in counts[: 1 + len(MODES)]]
        groups = {case.group: [] for case in HOSTILE}
        for case in HOSTILE:
            groups[case.group].append(case)
        held = {group: self.of(cases) for group, cases in groups.items()}
        self.assertEqual(told, {**held, "all": self.of(HOSTILE)})

    def test_the_sentences(self):
        text = " ".join(README.split())
        told = re.search(r"tries (\d+) ways around the ceilings", text)
        self.assertEqual(int(told[1]), len(HOSTILE))
        told = re.search(r"(\d+) innocent cases .*? and (\d+) runs of .*? but for the (\d+) that `strict` refuses", text)
        refused = [case for case in INNOCENT if "strict" in case.refused]
        self.assertEqual([int(count) for count in told.groups()], [len(INNOCENT), len(PROGRAMS), len(refused)])
        self.assertEqual([case.name for case in INNOCENT if set(case.refused) - {"strict"}], [])


class CeilingCases(unittest.TestCase):
    maxDiff = None
    @classmethod
    def setUpClass(cls):
        cls.stage = Stage([*MODES, "plain"])
        cls.addClassCleanup(cls.stage.close)
        cls.runner = Runner(cls.stage)

    def test_hostile(self):
        outcomes, failures = self.runner.run(HOSTILE, MODES)
        print("\n".join(["held:", *table(outcomes, MODES)]), flush=True)
        self.assertEqual(failures, [])
        for mode in MODES:
            with self.subTest(mode=mode):
                of_mode = [outcome for outcome in outcomes if outcome.mode == mode]
                self.assertEqual([outcome.surprise for outcome in of_mode if outcome.surprise], [])
        self.stage.weir.check_log()

    def test_innocent(self):
        for mode, wrong in self.runner.innocents(INNOCENT, MODES).items():
            with self.subTest(mode=mode):
                self.assertEqual(wrong, [])

    def test_names_are_unique_and_cases_many(self):
        names = Counter([case.full_name for case in HOSTILE] + [case.name for case in INNOCENT])
        self.assertEqual([name for name, count in names.items() if count > 1], [])
        self.assertGreaterEqual(len(HOSTILE), HOSTILE_LEAST)
        self.assertGreaterEqual(len(INNOCENT) + len(PROGRAMS), INNOCENT_LEAST)


if __name__ == "__main__":
    unittest.main()
