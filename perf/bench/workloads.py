"""What is run through each contestant."""

import math
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import machine

from .listeners import Listeners

from .poolers import DATABASE, POOL, USER


@dataclass
class Run:
    """The outcome of one run. `work` counts transactions, or megabytes where `unit` says so."""

    work: float
    seconds: float
    latencies_us: list = field(default_factory=list)

    @property
    def rate(self):
        return self.work / self.seconds if self.seconds else 0.0


@dataclass
class Workload:
    """pgbench with a script of its own."""

    name: str
    script: str = "SELECT 1;\n"  # none: pgbench's own
    mode: str = "simple"
    clients: int = 1
    per_transaction: bool = False  # a new connection for each
    megabytes: int = 0  # in each transaction; then work is counted in MB
    variables: dict = field(default_factory=dict)

    @property
    def unit(self):
        return "MB" if self.megabytes else "tx"

    def possible(self, pooler):
        if self.mode == "prepared" and not pooler.shares_prepared:
            # Servers are not shared as long as there are enough for all; pgbouncer shares them anyway.
            return pooler.name == "floor" and self.clients <= POOL
        return not (pooler.name == "direct" and self.clients > 120)

    def prepare(self, directory):
        if self.script:
            machine.write(Path(directory) / "script.sql", self.script)

    def run(self, pooler, directory, *, seconds=None, transactions=None, latencies=True):
        """For a time, or for so many transactions of each client."""
        logs = Path(directory) / "latency"
        command = [machine.pg_program("pgbench"), "-n", "-h", "127.0.0.1", "-p", pooler.port, "-U", USER]
        command += ["-M", self.mode, "-c", self.clients, "-j", min(2, self.clients)]
        command += ["-f", Path(directory) / "script.sql"] if self.script else ["-b", "tpcb-like"]
        command += [f"-D{name}={value}" for name, value in self.variables.items()]
        command += ["-T", math.ceil(seconds)] if seconds else ["-t", transactions]
        if self.per_transaction:
            command.append("-C")
        if latencies:
            command += ["-l", f"--log-prefix={logs}"]
            if not self.megabytes and not self.per_transaction:
                command.append("--sampling-rate=0.1")
        begun = time.monotonic()
        limit = 60 + 20 * (seconds or 0) + (transactions or 0) * self.clients / 20
        done = machine.run([*command, DATABASE], timeout=limit, cwd=directory)
        took = time.monotonic() - begun
        if done.returncode != 0:
            raise RuntimeError(f"pgbench: {done.stderr.strip()[-500:]}")
        count = int(re.search(r"actually processed: (\d+)", done.stdout).group(1))
        rate = float(re.search(r"^tps = ([0-9.]+)", done.stdout, re.M).group(1))
        per = self.megabytes or 1
        return Run(count * per, count / rate if rate else took, self._latencies(logs))

    @staticmethod
    def _latencies(prefix):
        values = []
        for path in prefix.parent.glob(prefix.name + ".*"):
            with open(path) as lines:
                values += [int(line.split()[2]) for line in lines if line.count(" ") >= 2]
            path.unlink()
        return values


# Settings of the client's own, told once and followed from then on. Postgres' own statements, so that a pooler
# that does not follow them can take part: its clients mix up theirs.
OWN_SETTINGS = """\
\\if :told
\\else
SET application_name = 'worker :client_id';
SET search_path = tenant_:client_id, public;
\\set told true
\\endif
SELECT 1;
"""

# ... and changed between transactions.
SET_HEAVY = """\
\\set n random(1, 3)
SET application_name = 'worker :client_id';
SELECT 1;
SET search_path = tenant_:client_id, archive_:n, public;
SELECT 1;
"""


@dataclass
class Listen(Workload):
    """One transaction in ten notifies clients that only listen; each must hear of all."""

    script: str = "\\set n random(1, 10)\n\\if :n = 1\nNOTIFY heard;\n\\else\nSELECT 1;\n\\endif\n"
    listeners: int = 8

    def possible(self, pooler):
        return pooler.keeps_listeners

    def run(self, pooler, directory, **options):
        with Listeners(pooler.port, USER, DATABASE, "heard", self.listeners) as listeners:
            result = super().run(pooler, directory, **options)
            listeners.settle()
            if options.get("seconds") and not all(listeners.heard):
                raise RuntimeError("nobody was heard")
        return result


@dataclass
class Orm:
    """Requests of a web application through SQLAlchemy; see orm.py."""

    name: str
    clients: int = 2
    unit: str = "tx"

    PROGRAM = Path(__file__).resolve().parent / "orm.py"

    def possible(self, pooler):
        return pooler.name != "floor"  # SQLAlchemy asks what the session is like, which it does not tell

    def prepare(self, directory):
        pass

    def run(self, pooler, directory, *, seconds=None, transactions=None, latencies=True):
        url = f"postgresql://{USER}@127.0.0.1:{pooler.port}/{DATABASE}"
        amount = ["--seconds", seconds] if seconds else ["--transactions", transactions]
        running = [
            subprocess.Popen(
                ["/usr/bin/python3", "-B", self.PROGRAM, url, str(number), *map(str, amount)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number in range(self.clients)
        ]
        work, took = 0, 0.0
        for process in running:
            output, errors = process.communicate(timeout=60 + 20 * (seconds or 0) + (transactions or 0))
            if process.returncode != 0:
                raise RuntimeError(f"orm.py: {errors.strip()[-500:]}")
            count, each = output.split()
            work, took = work + int(count), max(took, float(each))
        return Run(work, took)


@dataclass
class Copy:
    """psql copies so many megabytes, some of them at once."""

    name: str
    into: bool = False
    clients: int = 2
    unit: str = "MB"

    ROW = "x" * 1990  # under the limit from which Postgres compresses

    def possible(self, pooler):
        return True

    def prepare(self, directory):
        rows = 10_000_000 // (len(self.ROW) + 10)
        if self.into:
            text = "".join(f"{n}\t{self.ROW}\n" for n in range(rows))
            machine.write(Path(directory) / "rows.txt", text)
            self._command = f"\\copy copied from '{directory}/rows.txt'\n"
        else:
            query = f"select n, repeat('x', {len(self.ROW)}) from generate_series(1, {rows}) n"
            self._command = f"\\copy ({query}) to '/dev/null'\n"

    def run(self, pooler, directory, *, seconds=None, transactions=None, latencies=True):
        """`seconds` only sets how much is copied: about 60 MB for each of them."""
        each = max(1, round((seconds or 1) * 6 / self.clients)) if transactions is None else transactions
        script = machine.write(Path(directory) / "copy.sql", self._command * each)
        if self.into:
            self._empty(pooler)
        command = [machine.pg_program("psql"), "-Xq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(pooler.port)]
        command += ["-U", USER, "-d", DATABASE, "-f", str(script)]
        begun = time.monotonic()
        running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(self.clients)
        ]
        for process in running:
            _, errors = process.communicate(timeout=60 + 30 * each)
            if process.returncode != 0:
                raise RuntimeError(f"psql: {errors.strip()[-500:]}")
        return Run(each * self.clients * 10.0, time.monotonic() - begun)

    @staticmethod
    def _empty(pooler):
        pooler.postgres.sql("truncate copied", DATABASE)


def all_workloads():
    found = []
    for mode in ("simple", "extended", "prepared"):
        for clients in (1, 16, 100):
            found.append(Workload(f"{mode}-{clients}", mode=mode, clients=clients))
    found.append(Workload("own-settings-16", script=OWN_SETTINGS, clients=16, variables={"told": "false"}))
    found.append(Workload("set-heavy-16", script=SET_HEAVY, clients=16))
    found.append(Listen("listen-16", clients=16))
    found.append(Workload("tpcb-16", script=None, clients=16))
    found.append(Orm("orm"))
    found.append(Workload("churn", clients=8, per_transaction=True))
    found.append(Workload("rows-10mb", script="SELECT repeat('x', 10000000);\n", clients=2, megabytes=10))
    found.append(Copy("copy-out"))
    found.append(Copy("copy-in", into=True))
    return {workload.name: workload for workload in found}


def prepare_database(postgres):
    postgres.sql(f"create role {USER} login")
    postgres.create_database(DATABASE, owner=USER)
    with postgres.connect(DATABASE, USER) as connection:
        connection.execute("create unlogged table copied (n bigint, t text)")
        connection.execute("alter table copied alter t set storage plain")
    machine.run(
        [machine.pg_program("pgbench"), "-iq", "-s", "5", "--unlogged-tables", "-h", postgres.socket_dir]
        + ["-p", postgres.port, "-U", USER, DATABASE],
        check=True,
    )
    url = f"postgresql://{USER}@127.0.0.1:{postgres.port}/{DATABASE}"
    machine.run(["/usr/bin/python3", "-B", Orm.PROGRAM, url, "0", "--prepare"], check=True)
