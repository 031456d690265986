"""What is run through each contestant."""

import math
import re
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness import machine

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
    script: str = "SELECT 1;\n"
    mode: str = "simple"
    clients: int = 1
    per_transaction: bool = False  # a new connection for each
    megabytes: int = 0  # in each transaction; then work is counted in MB

    @property
    def unit(self):
        return "MB" if self.megabytes else "tx"

    def possible(self, pooler):
        if self.mode == "prepared" and not pooler.shares_prepared:
            # Servers are not shared as long as there are enough for all; pgbouncer shares them anyway.
            return pooler.name == "floor" and self.clients <= POOL
        return not (pooler.name == "direct" and self.clients > 120)

    def prepare(self, directory):
        machine.write(Path(directory) / "script.sql", self.script)

    def run(self, pooler, directory, *, seconds=None, transactions=None, latencies=True):
        """For a time, or for so many transactions of each client."""
        logs = Path(directory) / "latency"
        command = [machine.pg_program("pgbench"), "-n", "-h", "127.0.0.1", "-p", pooler.port, "-U", USER]
        command += ["-M", self.mode, "-c", self.clients, "-j", min(2, self.clients), "-f", Path(directory) / "script.sql"]
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
