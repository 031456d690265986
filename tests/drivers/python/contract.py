"""The contract of tests/drivers for programs in Python; see ../README.md.

    @scenario
    def simple(connection): ...           # a connection of its own, made by `connect`

    main(version, connect, close, Player)
"""

import os
import sys
import traceback
from pathlib import Path

ME = int(os.environ["CLIENT"])
TOKEN = f"c{ME}"
SCRATCH = Path(os.environ["SCRATCH"])
SESSION = Path(__file__).resolve().parent.parent / "session.txt"

_scenarios = []


def scenario(function):
    _scenarios.append((function.__name__, function))
    return function


def begin(version):
    """Says that we are connected, and waits until all clients are."""
    print(f"version {version}", flush=True)
    print("ready", flush=True)
    sys.stdin.readline()


def one_line(text):
    return " ".join(str(text).split())[:500]


def say(name, function, *arguments):
    try:
        detail = function(*arguments)
        print(f"ok {name}" if detail is None else f"ok {name} {one_line(detail)}", flush=True)
    except Exception as error:  # noqa: BLE001
        place = traceback.extract_tb(error.__traceback__)[-1 if isinstance(error, AssertionError) else 0]
        if os.environ.get("TRACE"):
            traceback.print_exc()
        print(f"FAIL {name} {type(error).__name__}: {one_line(error)} ({place.name}:{place.lineno})", flush=True)


def equal(got, wanted):
    assert got == wanted, f"{got!r}, not {wanted!r}"


def fails(state, function, *arguments, **named):
    """`function` raises an error of the database with that SQLSTATE."""
    try:
        got = function(*arguments, **named)
    except AssertionError:
        raise
    except Exception as error:  # noqa: BLE001
        found = sqlstate(error)
        assert found == state, f"{type(error).__name__} {found}, not {state}: {error}"
        return error
    raise AssertionError(f"no {state} but {got!r}")


def sqlstate(error):
    """psycopg2, psycopg 3, asyncpg; wrapped by SQLAlchemy, Django or peewee; pyodbc."""
    while error is not None:
        if type(error).__module__ == "pyodbc":
            return error.args[0]
        for name in ("sqlstate", "pgcode"):
            if getattr(error, name, None):
                return getattr(error, name)
        error = getattr(error, "orig", None) or error.__cause__
    return None


def session_scenarios():
    """session.txt with our number and token: name -> [(on the other connection, verb, value, SQL)]."""
    scenarios, steps = {}, None
    for line in SESSION.read_text().splitlines():
        line = line.replace("{c}", str(ME)).replace("{t}", TOKEN).replace("{d}", os.environ["PGDATABASE"]).strip()
        if not line or line.startswith("#"):
            continue
        verb, _, rest = line.partition(" ")
        if verb == "scenario":
            steps = scenarios.setdefault(rest, [])
            continue
        other = verb == "other"
        if other:
            verb, _, rest = rest.partition(" ")
        value, sql = ("", rest) if verb == "do" else map(str.strip, ("  " + rest).split(" :: ", 1))
        steps.append((other, verb, value, sql))
    return scenarios


def step(verb, value, sql, do, rows):
    """One step; do(sql) executes, rows(sql) gives rows."""
    if verb == "do":
        do(sql)
    elif verb == "is":
        first(rows(sql), value)
    elif verb == "same":
        for _ in range(5):
            first(rows(sql), value)
    elif verb == "none":
        equal(list(rows(sql)), [])
    elif verb == "fails":
        fails(value, do, sql)
    else:
        raise ValueError(verb)


def first(rows, wanted):
    rows = list(rows)
    assert rows, f"no row, not {wanted!r}"
    equal(str(rows[0][0]), wanted)


def play(steps, connect, close, do, rows):
    """A scenario of session.txt on connections of its own."""
    connections = {}
    try:
        for number, (other, verb, value, sql) in enumerate(steps, 1):
            if other not in connections:
                connections[other] = connect()
            connection = connections[other]
            try:
                step(verb, value, sql, lambda text: do(connection, text), lambda text: rows(connection, text))
            except Exception as error:
                raise type(error)(f"step {number} ({verb} {sql}): {error}") if isinstance(error, AssertionError) else error
    finally:
        for connection in connections.values():
            close(connection)


def main(version, connect, close, do, rows, *, without=()):
    """All scenarios; `without` names those of session.txt that this driver cannot play, or "all"."""
    close(connect())
    begin(version)
    for name, steps in session_scenarios().items():
        if without != "all" and name not in without:
            say(name, play, steps, connect, close, do, rows)
    for name, function in _scenarios:
        say(name, on_a_connection, connect, close, function)
    print("done", flush=True)


def on_a_connection(connect, close, function):
    connection = connect()
    try:
        return function(connection)
    finally:
        close(connection)
