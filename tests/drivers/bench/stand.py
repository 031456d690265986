"""Where drivers run: one Postgres, one pgweir in rotation, and a database per driver and phase.

A phase is `direct`, `single` (one client through pgweir) or `crowd` (eight at once, in a tier with ceilings, under which
texts are read and judged). Each gets a new database, so that no driver finds what another one, or its own last phase,
has left.
"""

import os
import re
import select
import subprocess
import time
from dataclasses import dataclass, field

from harness import Pgweir, Postgres, machine
from harness.pgweir import LOFTY, LOFTY_TIMES

from . import builds

CROWD = 8
WARM = 5
# Clients that keep a server to themselves leave enough for second connections of all others. A crowd of pg_dump -j 3 is
# 32 connections, each of which may come to keep its server: it gives a setting that its text does not name.
TIER = {"pool_size": 40, "max_server_connections": 40, "max_clients": 200, "max_pinned_clients": 36}
USER, PASSWORD = "app", "s3cret"
SUPERUSER = "suite"  # what the drivers' own tests expect to be
LINE = re.compile(r"(ok|FAIL) (\S+)(?: (.*))?")


@dataclass
class Program:
    """What one run of a driver's program said."""

    results: dict = field(default_factory=dict)  # scenario -> "ok", "ok DETAIL" or "FAIL REASON"
    version: str = ""
    trouble: str = ""  # why it did not come to its end


@dataclass
class Outcome:
    driver: object
    trouble: str = ""  # it could not be built
    phases: dict = field(default_factory=dict)  # phase -> [Program]
    seconds: dict = field(default_factory=dict)  # phase -> how long it took


class Stand:
    def __enter__(self):
        self.postgres = Postgres(settings={"max_connections": "300", "max_prepared_transactions": "10", **LOFTY_TIMES})
        self.postgres.create_user(USER, PASSWORD)
        self.postgres.create_user(SUPERUSER, PASSWORD, options="superuser")
        self.weir = Pgweir(
            self.postgres,
            {
                "server": {"rotation": True},
                "tiers": {"drivers": TIER, "ceilings": {**TIER, **LOFTY}},
                "tenants": {"*_crowd": {"tier": "ceilings"}},
                "pool": {"default_tier": "drivers"},
                "backends": {"main": {"max_server_connections": 200}},
            },
            users={USER: PASSWORD, SUPERUSER: PASSWORD, "admin": "adm1n"},
        )
        self.weir.start()
        return self

    def __exit__(self, kind, *_):
        try:
            self.weir.stop()
        finally:
            self.postgres.stop()

    def database(self, name, owner=USER):
        self.postgres.create_database(name, owner)
        return name

    def drop(self, name):
        """The servers of a finished phase would only use up connections."""
        self.postgres.sql(f'drop database "{name}" with (force)')

    def warm(self, database, user=USER):
        """Opens servers: as many transactions at once. They take turns from then on."""
        clients = [self.weir.connect(database, user) for _ in range(WARM)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            client.execute("commit")
            client.close()
        servers = self.postgres.sql(
            f"select count(*) from pg_stat_activity where datname = '{database}' and usename = '{user}'"
        )[0][0]
        assert servers >= 4, f"only {servers} servers are warm"


def measure(stand, driver, trouble):
    """All phases of one driver."""
    outcome = Outcome(driver, trouble or "")
    if not trouble:
        run_phase(stand, outcome, "direct", stand.postgres.port, 1)
        run_phase(stand, outcome, "single", stand.weir.port, 1)
        run_phase(stand, outcome, "crowd", stand.weir.port, CROWD)
        if crowd_differs(outcome):
            # Is it the crowd or pgweir?
            run_phase(stand, outcome, "direct crowd", stand.postgres.port, CROWD)
    return outcome


def crowd_differs(outcome):
    """Something went wrong that a single client does not see."""
    single = outcome.phases["single"][0]
    return any(
        bool(program.trouble) > bool(single.trouble)
        or any(not said.startswith("ok") and single.results.get(name, "").startswith("ok") for name, said in program.results.items())
        for program in outcome.phases["crowd"]
    )


def run_phase(stand, outcome, phase, port, clients):
    driver = outcome.driver
    database = stand.database(re.sub("[^a-z0-9]", "_", f"{driver.name}_{phase}"))
    started = time.monotonic()
    try:
        if port == stand.weir.port:
            stand.warm(database)
        outcome.phases[phase] = run_programs(driver, database, port, clients)
    finally:
        stand.drop(database)
        outcome.seconds[phase] = time.monotonic() - started


def run_programs(driver, database, port, clients):
    """They connect, say `ready`, and begin together when the last one has said so."""
    deadline = time.monotonic() + driver.timeout
    running = [Running(driver, database, port, client) for client in range(1, clients + 1)]
    for program in running:
        program.wait_ready(deadline)
    for program in running:
        program.begin()
    return [program.finish(deadline) for program in running]


class Running:
    """One process of a driver."""

    def __init__(self, driver, database, port, client):
        self.directory = machine.scratch("driver")
        self.output = b""
        self.error = open(self.directory / "stderr", "w+b")  # noqa: SIM115
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "--", *map(str, builds.command(driver))],
            cwd=self.directory,
            env=environment(database, port, client, self.directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.error,
            start_new_session=True,
        )

    def wait_ready(self, deadline):
        while b"ready\n" not in self.output and self._read(deadline):
            pass

    def _read(self, deadline):
        """False at the end of the output, and when the time is over."""
        readable, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
        more = os.read(self.process.stdout.fileno(), 65536) if readable else b""
        self.output += more
        return bool(more)

    def begin(self):
        try:
            self.process.stdin.write(b"go\n")
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def finish(self, deadline):
        while self._read(deadline):
            pass
        late = time.monotonic() >= deadline
        try:
            code = self.process.wait(max(0.1, min(5, deadline - time.monotonic())) if not late else 0.1)
        except subprocess.TimeoutExpired:
            late = True
        if late:
            os.killpg(self.process.pid, 9)
            code = self.process.wait()
        self.process.stdout.close()
        program = read_output(self.output.decode(errors="replace"))
        self.error.seek(0)
        words = self.error.read().decode(errors="replace").strip()
        self.error.close()
        if late:
            program.trouble = f"did not end in time; its last words: {last_line(self.output.decode(errors='replace'))}"
        elif code != 0 or program.trouble:
            program.trouble = f"ended with {code}: {words[-600:] or last_line(self.output.decode(errors='replace'))}"
        return program


def last_line(text):
    return text.strip().split("\n")[-1][-300:]


def read_output(text):
    program = Program(trouble="did not say `done`")
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        if match:
            verdict, name, detail = match.groups()
            if name in program.results:
                detail = f"said twice ({detail})"
                verdict = "FAIL"
            program.results[name] = f"{verdict} {detail}" if detail else verdict
        elif line.startswith("version "):
            program.version = line[len("version ") :]
        elif line == "done":
            program.trouble = ""
    return program


def environment(database, port, client, directory):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    return {
        **kept,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": USER,
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": database,
        "PGCONNECT_TIMEOUT": "30",
        "DATABASE_URL": f"postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{database}",
        "CLIENT": str(client),
        "SCRATCH": str(directory),
        "TZ": "UTC",
    }
