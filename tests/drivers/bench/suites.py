"""The drivers' own test suites, one row each, and how one of them runs.

They come with Debian's packages of Go's drivers. A test counts by its outermost name: one that has parts passes
when all of them do.
"""

import re
import subprocess
import time
from dataclasses import dataclass, field

from harness import machine

from . import builds, stand

PHASES = ("pgweir",)
SECONDS = 200  # for a whole suite
VERDICT = re.compile(r"^--- (PASS|FAIL|SKIP): (\S+) \([0-9.]+s\)$")
RAN = "PASS", "FAIL"

# Where a suite finds its server: {words} of the phase.
PQ = {
    "PGHOST": "{host}",
    "PGPORT": "{port}",
    "PGUSER": "{user}",
    "PGPASSWORD": "{password}",
    "PGDATABASE": "{database}",
    "PGSSLMODE": "disable",
}
TCP = "host={host} port={port} user={user} password={password} database={database} sslmode=disable"
UNIX = TCP.replace("{host}", "{socket}")
PGX = {
    "PGX_TEST_DATABASE": TCP,
    # These tests ask for a pooler; their statements run direct, too.
    "PGX_TEST_PGBOUNCER_CONN_STRING": TCP,
}
# Its tests of PG* variables want none to be set.
PGCONN = {
    "PGX_TEST_CONN_STRING": TCP,
    "PGX_TEST_TCP_CONN_STRING": TCP,
    "PGX_TEST_SCRAM_PASSWORD_CONN_STRING": TCP,
    "PGX_TEST_UNIX_SOCKET_CONN_STRING": UNIX,
}
UINT64 = "create domain uint64 as numeric(20,0)"


@dataclass(frozen=True)
class Suite:
    name: str
    package: str  # of Go
    debian: str
    environment: dict
    setup: str = ""  # SQL that the suite's authors ask for

    @property
    def needs(self):
        return (("go_suite", self.name, self.package),)


SUITES = (
    Suite("lib_pq", "github.com/lib/pq", "golang-github-lib-pq-dev", PQ),
    Suite("pgx", "github.com/jackc/pgx/v4", "golang-github-jackc-pgx-v4-dev", PGX, UINT64),
    Suite("pgx_stdlib", "github.com/jackc/pgx/v4/stdlib", "golang-github-jackc-pgx-v4-dev", PGX, UINT64),
    Suite("pgxpool", "github.com/jackc/pgx/v4/pgxpool", "golang-github-jackc-pgx-v4-dev", PGX, UINT64),
    Suite("pgconn", "github.com/jackc/pgconn", "golang-github-jackc-pgconn-dev", PGCONN),
)


@dataclass
class Verdicts:
    """What one run of a suite said."""

    tests: dict = field(default_factory=dict)  # name -> PASS, FAIL or SKIP
    reasons: dict = field(default_factory=dict)  # name of a test that did not pass -> what it said
    trouble: str = ""  # why it did not come to its end
    seconds: float = 0

    def named(self, *verdicts):
        return [name for name, verdict in self.tests.items() if verdict in verdicts]


@dataclass
class Outcome:
    suite: Suite
    version: str = ""
    trouble: str = ""  # it could not be built
    direct: Verdicts = field(default_factory=Verdicts)
    pgweir: Verdicts = field(default_factory=Verdicts)


def version(package):
    done = machine.run(["dpkg-query", "-W", "-f", "${Version}", package])
    return done.stdout.strip() or "?"


def measure(here, suite, trouble):
    """Direct, then through pgweir, each in a new database."""
    if trouble:
        return Outcome(suite, trouble=trouble)
    return Outcome(
        suite,
        version(suite.debian),
        direct=run_phase(here, suite, "direct", here.postgres),
        pgweir=run_phase(here, suite, "pgweir", here.weir),
    )


def run_phase(here, suite, phase, server):
    database = here.database(f"{suite.name}_{phase}", owner=stand.SUPERUSER)
    try:
        if suite.setup:
            here.postgres.sql(suite.setup, database)
        if server is here.weir:
            here.warm(database, stand.SUPERUSER)
        return run(suite, database, server)
    finally:
        here.drop(database)


def run(suite, database, server):
    """Under the servers' user: some tests expect that root does not run them."""
    words = {
        "host": server.host,
        "port": server.port,
        "socket": server.socket_dir,
        "user": stand.SUPERUSER,
        "password": stand.PASSWORD,
        "database": database,
    }
    directory = machine.scratch("suite")
    environment = {name: text.format(**words) for name, text in suite.environment.items()}
    program = machine.readable_binary(builds.OUT / f"{suite.name}.test")
    started = time.monotonic()
    with open(directory / "output", "w+", errors="replace") as output:
        process = subprocess.Popen(
            machine.as_system_user([program, "-test.v", f"-test.timeout={SECONDS}s"]),
            cwd=directory,
            env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "TZ": "UTC", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            code = process.wait(SECONDS + 30)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        output.seek(0)
        found = read_output(output.read())
    found.seconds = time.monotonic() - started
    if not found.tests or code != (1 if found.named("FAIL") else 0):
        found.trouble = f"ended with {code}: {(directory / 'output').read_text(errors='replace')[-1500:]}"
    return found


def read_output(text):
    found, said = Verdicts(), {}
    speaker = ""  # whose lines follow: those of tests that run at the same time stand mixed
    for line in text.splitlines():
        match = VERDICT.match(line)
        if match:
            verdict, name = match.groups()
            found.tests[name] = verdict
            if verdict != "PASS":
                found.reasons[name] = " ".join(" ".join(said.get(name, [])).split())[:600]
        elif line.startswith("=== "):
            speaker = line.split()[-1].split("/")[0]
        elif line.startswith("    ") and not line.lstrip().startswith("---"):
            said.setdefault(speaker, []).append(line)
    return found
