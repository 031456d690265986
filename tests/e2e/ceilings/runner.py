"""Runs cases against a stage, several at a time, and counts."""

import argparse
import itertools
import queue
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from harness.wire import Closed

from . import judges
from .case import MODES
from .catalog import HOSTILE, INNOCENT
from .innocent_run import Plain, compare
from .stage import LANES, TARGETS, Seat, Stage

TRIES = 3


@dataclass(frozen=True)
class Outcome:
    case: object
    mode: str
    broken: str  # None: held

    @property
    def expected_held(self):
        if self.mode in MODES:
            return self.mode not in self.case.known
        return not self.case.bites if self.mode == "plain" else None

    @property
    def surprise(self):
        """What is not as the table says, or None."""
        held = self.broken is None
        if self.expected_held is None or held == self.expected_held:
            return None
        if held:
            reason = self.case.known.get(self.mode, "it must bite on a plain Postgres")
            return f"{self.mode}: {self.case.full_name}: is held, though marked: {reason}"
        return f"{self.mode}: {self.case.full_name}: {self.broken}"


class Runner:
    def __init__(self, stage):
        self.stage = stage
        self._count = itertools.count(1)
        self._count_lock = threading.Lock()

    def _next(self):
        with self._count_lock:
            return next(self._count)

    def run(self, cases, modes):
        """Outcomes of all cases in all modes, side by side, and what went wrong beyond that."""
        outcomes, failures = [], []

        def lane(mode, number, work):
            while True:
                try:
                    case = work.get_nowait()
                except queue.Empty:
                    return
                try:
                    outcomes.append(Outcome(case, mode, self.run_one(case, mode, number)))
                except Exception as error:  # one case must not hide the others
                    failures.append(f"{mode}: {case.full_name}: {type(error).__name__}: {error}")

        threads = []
        for mode in modes:
            work = queue.SimpleQueue()
            for case in cases:
                # Without a pooler nobody shares a server, and without tiers nothing is lowered.
                if (mode != "plain" or case.judge != "leak") and (mode in MODES or not case.lowered):
                    work.put(case)
            threads += [threading.Thread(target=lane, args=(mode, number, work)) for number in range(LANES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        order = {case.full_name: place for place, case in enumerate(cases)}
        outcomes.sort(key=lambda each: (modes.index(each.mode), order[each.case.full_name]))
        return outcomes, failures

    def run_one(self, case, mode, lane):
        """None: held. A probe that fell to the load of the machine is tried again."""
        judge = judges.JUDGES[case.judge]
        seat = Seat(mode, lane, "lowered" if case.lowered else judge.kind)
        for attempt in range(TRIES):
            try:
                broken = self._attempt(case, judge, seat)
                break
            except judges.Inconclusive:
                if attempt == TRIES - 1:
                    raise
            finally:
                self._tidy(case, seat)
        return broken

    def _tidy(self, case, seat):
        if case.lowered:
            self.stage.widen(seat)
        # Servers are not handed on from case to case: what one leaves is not the next one's result.
        if case.group in ("roles and databases", "functions", "leaks", "stored expressions"):
            self.stage.restore(seat)
        else:
            self.stage.end_servers(seat)

    def _attempt(self, case, judge, seat):
        for text in case.made:
            with self.stage.past_the_pooler(seat) as connection:
                connection.execute(text)
        if case.made and seat.mode in MODES:
            self._tell_of_code(seat)
        if case.judge == "leak":
            return judges.leak_of(self.stage, seat, case, self._next)
        if case.judge == "served":
            return judges.hold_of(self.stage, seat, case)
        try:
            wire = self.stage.client(seat, **case.startup)
        except Closed:
            return None  # not let in
        with wire:
            attempt = judges.Attempt(wire, seat, self._next, self._expected(case, seat))
            try:
                if case.lowered:
                    attempt.send("create temp table kept (a int)")
                    self.stage.lower(seat)
                self._play(case, judge, attempt)
            except Closed:
                pass  # it was thrown out; what it saw before counts
            # A session of its own shows what was stored for later ones.
            if case.group == "roles and databases":
                self._fresh_probe(case, seat, judge, attempt)
        return judge.broken(attempt.text)

    def _tell_of_code(self, seat):
        """What was made around pgweir it would know within 30 s of use; behind a GRANT it looks at once."""
        with self.stage.client(seat) as wire:
            judges.Attempt(wire, seat, self._next).send("grant usage on schema public to current_user")

    def _play(self, case, judge, attempt):
        attacks = judges.each(case.attack) if case.attack is not None else ()
        # Behind the attack; in a transaction with it; in one text with it.
        for attack in attacks:
            attempt.send(attack)
        self._probe(judge, attempt)
        if judge.broken(attempt.text) or not attacks:
            return
        attempt.send("begin")
        for attack in attacks:
            attempt.send(attack)
        self._probe(judge, attempt)
        attempt.send("rollback")
        if isinstance(attacks[-1], str) and not case.behind:
            attempt.send(judges.one_text(attacks[-1], judge.probe))

    @staticmethod
    def _expected(case, seat):
        return seat.mode in MODES and seat.mode not in case.known

    @staticmethod
    def _probe(judge, attempt):
        seen = len(attempt.codes)
        attempt.send(judge.probe)
        told = attempt.codes[seen:]
        if judge.kind != "time" and judges.TIMEOUT in told:
            raise judges.Inconclusive("the probe was canceled")

    def _fresh_probe(self, case, seat, judge, attempt):
        self.stage.end_servers(seat)
        try:
            with self.stage.client(seat) as wire:
                fresh = judges.Attempt(wire, seat, self._next, self._expected(case, seat))
                if case.later:
                    fresh.send(case.later)
                self._probe(judge, fresh)
        except Closed:
            return
        attempt.text += fresh.text

    def innocents(self, cases, modes, programs=True):
        """mode -> what differs from Postgres's own answers, as sentences."""
        plain = Plain(self.stage, cases, programs)
        with ThreadPoolExecutor(len(modes)) as threads:
            wrong = threads.map(lambda mode: compare(self.stage, cases, mode, plain), modes)
            return dict(zip(modes, wrong))


def table(outcomes, modes):
    """Rows of text: per group, how many of the cases are held in each mode."""
    groups = list(dict.fromkeys(outcome.case.group for outcome in outcomes))
    held = Counter((outcome.case.group, outcome.mode) for outcome in outcomes if outcome.broken is None)
    total = Counter((outcome.case.group, outcome.mode) for outcome in outcomes)
    lines = ["| group | cases | " + " | ".join(modes) + " |", "|---" * (len(modes) + 2) + "|"]
    for group in groups:
        size = max(total[group, mode] for mode in modes)
        shown = [str(held[group, mode]) if total[group, mode] else "-" for mode in modes]
        lines.append(f"| {group} | {size} | " + " | ".join(shown) + " |")
    size = max(sum(total[group, mode] for group in groups) for mode in modes)
    sums = [str(sum(held[group, mode] for group in groups)) for mode in modes]
    lines.append(f"| all | {size} | " + " | ".join(sums) + " |")
    return lines


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Runs the hostile and innocent cases, and prints what is held.")
    parser.add_argument("--against", default=",".join(MODES), help=f"of {', '.join(TARGETS)}, with commas")
    parser.add_argument("-k", default="", help="only cases whose group and name hold this")
    parser.add_argument("-v", action="store_true", help="every case")
    options = parser.parse_args(arguments)
    modes = options.against.split(",")
    for mode in modes:
        if mode not in TARGETS:
            parser.error(f"--against: {mode} is none of {', '.join(TARGETS)}")
    hostile = [case for case in HOSTILE if options.k in case.full_name]
    innocent = [case for case in INNOCENT if options.k in f"innocent: {case.name}"]
    stage = Stage(modes if not innocent else dict.fromkeys([*modes, "plain"]))
    wrong, outcomes = [], []
    try:
        runner = Runner(stage)
        began = time.monotonic()
        outcomes, wrong = runner.run(hostile, modes)
        wrong += [outcome.surprise for outcome in outcomes if outcome.surprise]
        if options.v:
            for outcome in outcomes:
                print(f"{outcome.mode}: {outcome.case.full_name}: {outcome.broken or 'held'}")
        ours = [mode for mode in modes if mode in MODES]
        if ours and (innocent or not options.k):
            for differences in runner.innocents(innocent, ours, programs=not options.k).values():
                wrong += differences
        print(f"{len(hostile)} hostile, {len(innocent)} innocent, {time.monotonic() - began:.0f} s")
    finally:
        stage.close()
    if outcomes:
        print("\n".join(["", "held:", *table(outcomes, modes)]))
    for line in wrong:
        print(line)
    return 1 if wrong else 0


__all__ = ["Runner", "main", "table"]
