"""The contestants: each is started anew for every measurement and stopped after it."""

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
from harness import machine
from harness.pgweir import environment

from . import ROOT

POOL = 20
CLIENTS_MAX = 15_000
USER = "bench"
DATABASE = "bench"


class Pooler:
    """Listens on `port` once started. `pid` is None for a direct connection."""

    name = ""
    shares_prepared = True  # named statements work for more clients than servers
    keeps_listeners = True  # LISTEN lasts longer than its transaction

    def __init__(self, postgres, tls=None):
        self.postgres = postgres
        self.tls = tls  # a harness Certificate, to offer TLS to clients
        self.dir = machine.scratch("perf")
        self.port = machine.free_port()
        self.process = None

    @property
    def pid(self):
        return self.process.pid if self.process else None

    def command(self):
        raise NotImplementedError

    def start(self, prefix=()):
        """`prefix` runs it under another program, such as valgrind."""
        with open(self.dir / "log", "wb") as log:
            self.process = subprocess.Popen(
                machine.as_system_user([*prefix, *self.command()]),
                cwd=self.dir,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        machine.wait_until(self._listens, seconds=60, what=f"{self.name} listening")

    def _listens(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {self.log()[-2000:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def stop(self):
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self):
        return (self.dir / "log").read_text(errors="replace")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class Direct(Pooler):
    name = "direct"

    def start(self, prefix=()):
        self.port = self.postgres.port

    def stop(self):
        pass


class Pgweir(Pooler):
    name = "pgweir"
    threads = 0
    ceilings = ""  # lines of its tier

    def command(self):
        binary = machine.readable_binary(os.environ.get("PGWEIR_BINARY", ROOT / "build/release/pgweir"))
        client = f"  tls_mode: prefer\n  tls_cert_file: {self.tls.cert}\n  tls_key_file: {self.tls.key}\n" if self.tls else ""
        config = f"""\
listen:
  addresses: ["127.0.0.1"]
  port: {self.port}
process:
  threads: {self.threads}
client:
  max: {CLIENTS_MAX}
{client}auth:
  method: trust
users:
  {USER}: unused
console:
  admins: [{USER}]
backends:
  main:
    host: 127.0.0.1
    port: {self.postgres.port}
    max_server_connections: {POOL}
    tls_mode: disable
tiers:
  bench:
    pool_size: {POOL}
    max_server_connections: {POOL}
    max_clients: {CLIENTS_MAX}
    max_pinned_clients: {POOL // 2}
{self.ceilings}tenants:
  {DATABASE}:
    tier: bench
    backend: main
    database: {DATABASE}
"""
        return [binary, "--config", machine.write(self.dir / "pgweir.yaml", config)]

    def texts(self):
        """Queries of all clients so far, how many of their texts reached the SQL parser, and how many were remembered."""
        with psycopg.connect(
            **{"host": "127.0.0.1", "port": self.port, "dbname": "pgweir", "user": USER, "autocommit": True},
            cursor_factory=psycopg.ClientCursor,
        ) as console:
            cursor = console.execute("SHOW TOTALS")
            totals = dict(cursor.fetchall())
            workers = console.execute("SHOW WORKERS")
            names = [column.name for column in workers.description]
            rows = workers.fetchall()
            parsed, remembered = (
                sum(int(row[names.index(name)]) for row in rows) for name in ("texts_parsed", "texts_remembered")
            )
        return int(totals["total_query_count"]), parsed, remembered


class PgweirOneThread(Pgweir):
    name = "pgweir-1"
    threads = 1


class PgweirCeilings(PgweirOneThread):
    """With the ceilings of the shipped tier `pro`, which no workload meets."""

    name = "pgweir-dls"
    ceilings = """\
    statement_timeout: 60s
    transaction_timeout: 5min
    idle_in_transaction_session_timeout: 60s
    work_mem: 32MB
    temp_buffers: 16MB
    max_parallel_workers_per_gather: 2
"""


class Pgbouncer(Pooler):
    name = "pgbouncer"
    keeps_listeners = False

    def version(self):
        done = machine.run(["/usr/sbin/pgbouncer", "--version"])
        found = re.search(r"(\d+)\.(\d+)", done.stdout)
        return tuple(int(part) for part in found.groups()) if found else (0, 0)

    @property
    def shares_prepared(self):
        return self.version() >= (1, 21)

    def command(self):
        tls = (
            f"client_tls_sslmode = prefer\nclient_tls_cert_file = {self.tls.cert}\nclient_tls_key_file = {self.tls.key}\n"
            if self.tls
            else ""
        )
        prepared = "max_prepared_statements = 200\n" if self.shares_prepared else ""
        machine.write(self.dir / "users.txt", f'"{USER}" ""\n')
        config = f"""\
[databases]
{DATABASE} = host=127.0.0.1 port={self.postgres.port} dbname={DATABASE}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.dir}/users.txt
pool_mode = transaction
default_pool_size = {POOL}
max_client_conn = {CLIENTS_MAX}
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
ignore_startup_parameters = extra_float_digits
{prepared}{tls}"""
        return ["/usr/sbin/pgbouncer", machine.write(self.dir / "pgbouncer.ini", config)]


class Floor(Pooler):
    name = "floor"
    shares_prepared = False
    keeps_listeners = False

    def command(self):
        binary = machine.readable_binary(os.environ.get("PERF_FLOOR", ROOT / "build/release/perf/perf_floor"))
        return [binary, self.port, self.postgres.port, USER, DATABASE, POOL]


ALL = {kind.name: kind for kind in (Pgbouncer, PgweirOneThread, PgweirCeilings, Pgweir, Floor, Direct)}


def available(name):
    """None, or why this contestant cannot take part."""
    if name.startswith("pgweir"):
        path = Path(os.environ.get("PGWEIR_BINARY", ROOT / "build/release/pgweir"))
    elif name == "floor":
        path = Path(os.environ.get("PERF_FLOOR", ROOT / "build/release/perf/perf_floor"))
    elif name == "pgbouncer":
        path = Path("/usr/sbin/pgbouncer")
    else:
        return None
    return None if path.exists() else f"{path} is missing"
