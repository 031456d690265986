"""Runs what is innocent through pgweir and past it, and compares every answer."""

import itertools

from harness import pg_program, run
from harness.wire import Closed, error_fields

from .innocent import PLAYGROUND, PROGRAMS
from .judges import Attempt
from .stage import Seat

FIRST_USER_OID = 16384


def _plain(kind, payload):
    """What must be equal of a message; None: nothing. Object identifiers are another database's."""
    if kind in (b"S", b"A"):
        return None
    if kind == b"T":
        names, rest = [], payload[2:]
        while rest:
            name, _, rest = rest.partition(b"\0")
            known = int.from_bytes(rest[6:10], "big") < FIRST_USER_OID
            names.append((name, rest[6:18] if known else rest[10:18]))
            rest = rest[18:]
        return kind, names
    if kind in (b"E", b"N"):
        fields = error_fields(payload)
        return kind, {key: fields.get(key) for key in "SCMDHP"}
    return kind, payload


def _answers(stage, seat, case):
    with stage.past_the_pooler(Seat(seat.mode, seat.lane, "memory")) as connection:
        connection.execute("drop schema if exists play cascade; create schema play")
    try:
        with stage.client(seat, **case.startup) as wire:
            attempt = Attempt(wire, seat, lambda: 0)
            return [[_plain(*each) for each in attempt.send(step)] for step in case.steps]
    except Closed as closed:
        return [[("closed", str(closed))]]


def _kept(answers):
    return [[each for each in answer if each] for answer in answers]


def _is_refused(answers):
    return any(each and each[0] == b"E" and each[1]["C"] in ("0A000", "42601") for a in answers for each in a)


def _difference(case, mode, ours, theirs):
    if mode in case.refused:
        return None if _is_refused(ours) else f"{mode}: innocent: {case.name}: is not refused"
    ours, theirs = _kept(ours), _kept(theirs)
    if ours == theirs:
        return None
    for step, got, expected in zip(case.steps, ours, theirs):
        if got != expected:
            return f"{mode}: innocent: {case.name}: {str(step)[:80]!r}: {got} instead of {expected}"
    return f"{mode}: innocent: {case.name}: {ours} instead of {theirs}"


def _without_names(text, seat):
    text = text.replace(seat.name, "ROLE").replace(seat.database, "DATABASE")
    # Newer dumps are framed by words that nobody can guess.
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def _first_difference(ours, theirs):
    if ours[0] != theirs[0] or ours[0] != 0:
        return f"exit status {ours[0]} instead of {theirs[0]}"
    for got, expected in itertools.zip_longest(ours[1], theirs[1]):
        if got != expected:
            return f"{got!r} instead of {expected!r}"
    return "nothing"


def _run_case(stage, seat, case):
    answers = _answers(stage, seat, case)
    if any("alter role" in step for step in case.steps if isinstance(step, str)):
        stage.restore(seat)
    return answers


def _run_programs(stage, seat):
    """Name of a program -> (exit status, lines), and what it complained of."""
    with stage.past_the_pooler(seat) as connection:
        connection.execute("drop schema if exists play cascade; create schema play")
        for text in PLAYGROUND:
            connection.execute(text)
    outputs = {}
    for name, (program, *arguments) in PROGRAMS.items():
        done = run([pg_program(program), *stage.address(seat), *arguments])
        outputs[name] = (done.returncode, _without_names(done.stdout, seat)), done.stderr
    return outputs


class Plain:
    """What Postgres itself answers, asked once for all modes."""

    def __init__(self, stage, cases, programs=True):
        seat = Seat("plain", 0, "memory")
        self.answers = {case.name: _run_case(stage, seat, case) for case in cases}
        self.programs = _run_programs(stage, seat) if programs else {}


def compare(stage, cases, mode, plain):
    """What differs in a mode, as sentences."""
    wrong = []
    seat = Seat(mode, 0, "memory")
    for case in cases:
        wrong.append(_difference(case, mode, _run_case(stage, seat, case), plain.answers[case.name]))
    if plain.programs:
        for name, (ours, complaint) in _run_programs(stage, seat).items():
            theirs, their_complaint = plain.programs[name]
            if ours != theirs or ours[0] != 0:
                said = (their_complaint or complaint)[:200]
                wrong.append(f"{mode}: innocent: {name}: {_first_difference(ours, theirs)}; {said}")
    return [each for each in wrong if each]


__all__ = ["Plain", "compare"]
