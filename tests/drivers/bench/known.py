"""The list of known differences.

    [why a client sees a difference]
    DRIVER: SCENARIO SCENARIO@crowd SCENARIO@single

A scenario without a phase differs in both. `SCENARIO?` may differ or not: only for what depends on chance. The
driver `*` stands for each one that has the scenario, but for those with `-SCENARIO` in a line of their own.
"""

import sys

PHASES = ("single", "crowd")


class Known:
    def __init__(self):
        self.reasons = {}  # (driver, scenario, phase) -> reason
        self.by_chance = set()
        self.excepted = set()  # (driver, scenario, phase) that a `*` does not mean

    def reason(self, driver, scenario, phase):
        return self.reasons.get(self._key(driver, scenario, phase))

    def must_differ(self, driver, scenario, phase):
        key = self._key(driver, scenario, phase)
        return key in self.reasons and key not in self.by_chance

    def scenarios(self, driver):
        """Those that its own lines name."""
        return {scenario for name, scenario, _ in self.reasons if name == driver}

    def _key(self, driver, scenario, phase):
        own = (driver, scenario, phase)
        return own if own in self.reasons or own in self.excepted else ("*", scenario, phase)


def read(path, drivers, phases=PHASES):
    listed = Known()
    reason = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        if line.startswith("[") and line.endswith("]"):
            reason = line[1:-1]
            continue
        driver, colon, scenarios = line.partition(":")
        if not colon or driver not in {*drivers, "*"} or reason is None:
            sys.exit(f"{path}:{number}: neither [reason] nor DRIVER: SCENARIO...")
        for word in scenarios.split():
            word, _, phase = word.partition("@")
            chance = word.endswith("?")
            scenario = word.rstrip("?")
            for each in [phase] if phase else phases:
                if scenario.startswith("-"):
                    listed.excepted.add((driver, scenario[1:], each))
                    continue
                if each not in phases or (driver, scenario, each) in listed.reasons:
                    sys.exit(f"{path}:{number}: {word}: listed twice, or no phase is called {each}")
                listed.reasons[driver, scenario, each] = reason
                if chance:
                    listed.by_chance.add((driver, scenario, each))
    return listed
