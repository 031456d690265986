"""Every hostile and innocent case of ceilings/ against what is expected of it, in each mode.

A case that must be held and is not fails, and so does one that is marked as not held and is: the table in
README stays true. By hand, and against a plain Postgres or pgbouncer: `python3 -B -m ceilings --help`.
"""

import unittest
from collections import Counter

from ceilings.case import MODES
from ceilings.catalog import HOSTILE, INNOCENT
from ceilings.innocent import PROGRAMS
from ceilings.runner import Runner, table
from ceilings.stage import Stage

HOSTILE_LEAST, INNOCENT_LEAST = 150, 40


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
