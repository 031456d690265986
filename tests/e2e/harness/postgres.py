"""A scratch Postgres."""

import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import psycopg

from . import machine

HBA = """\
local all all trust
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
"""

TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"  # the hba file of tests in which passwords do not matter

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "150",
    "shared_buffers": "32MB",
    "max_wal_size": "1GB",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}
# Where clusters that were never started are kept from one test program to the next; unset: nowhere.
CACHE = os.environ.get("PGWEIR_CLUSTER_CACHE", "")

_template = None
_template_lock = threading.Lock()


def _initdb(directory, *options):
    command = [machine.pg_program("initdb"), "-D", directory / "data", "-U", "postgres", "-A", "trust"]
    command += ["-E", "UTF8", "--locale=C.UTF-8", "--no-sync", *options]
    done = machine.run(machine.as_system_user(command), cwd=directory)
    if done.returncode != 0:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")
    return directory / "data"


def _copy_tree(source, target):
    """With owners and modes."""
    machine.run(["cp", "-a", "--reflink=auto", source, target], check=True)


def template():
    """A cluster to copy, which is several times as fast as to make one."""
    global _template
    with _template_lock:
        if _template is None:
            _template = _cached() if CACHE else _initdb(machine.scratch("template"))
        return _template


def _cached():
    version = machine.run([machine.pg_program("postgres"), "--version"], check=True).stdout
    kept = Path(CACHE) / "".join(letter if letter.isalnum() else "-" for letter in version.strip())
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        new = kept.with_name(f"{kept.name}.{os.getpid()}")
        _copy_tree(_initdb(machine.scratch("template")), new)
        try:
            new.rename(kept)
        except OSError:  # somebody else was faster
            shutil.rmtree(new)
    return kept


class Postgres:
    """Started by the constructor. `fsync=True` for tests that kill it and count what survived.

    With a `primary` it is a standby of that one, which streams from it under the name `standby`. With a
    `wal_dir`, an empty directory, its WAL is there, in small pieces. All others are copies of one cluster, down to
    its system identifier.
    """

    def __init__(self, *, fsync=False, settings=None, hba=HBA, certificate=None, primary=None, wal_dir=None):
        self.dir = machine.scratch("pg")
        self.data = self.dir / "data"
        self.port = machine.free_port()
        self.host = "127.0.0.1"
        self.socket_dir = str(self.dir)
        self.log_path = self.dir / "postgres.log"
        self.process = None
        self._settings = {**SETTINGS, "fsync": "on" if fsync else "off", **(settings or {})}
        if primary:
            self._copy(primary)
        elif wal_dir:
            _initdb(self.dir, "--waldir", wal_dir, "--wal-segsize=1")
        else:
            _copy_tree(template(), self.data)
        self.set_hba(hba)
        if certificate:
            self._use_certificate(certificate)
        self._write_settings()
        self.start()

    def _copy(self, primary):
        command = [machine.pg_program("pg_basebackup"), "-D", self.data, "-h", primary.socket_dir]
        command += ["-p", primary.port, "-U", "postgres", "--checkpoint=fast", "--no-sync", "-R"]
        done = machine.run(machine.as_system_user(command), cwd=self.dir)
        if done.returncode != 0:
            raise RuntimeError(f"pg_basebackup failed: {done.stdout}{done.stderr}")
        source = f"host={primary.socket_dir} port={primary.port} user=postgres application_name=standby"
        self._settings["primary_conninfo"] = source

    def _use_certificate(self, certificate):
        for source, name in ((certificate.cert, "server.crt"), (certificate.key, "server.key")):
            machine.write(self.data / name, Path(source).read_text(), 0o600)
        self._settings["ssl"] = "on"

    def _write_settings(self):
        lines = [f"{key} = '{value}'" for key, value in self._settings.items()]
        lines.append(f"port = {self.port}")
        lines.append(f"unix_socket_directories = '{self.dir}'")
        machine.write(self.data / "postgresql.auto.conf", "\n".join(lines) + "\n", 0o600)

    def set_hba(self, text):
        """Replaces pg_hba.conf; a running server is told."""
        machine.write(self.data / "pg_hba.conf", text, 0o600)
        if self.process:
            self.process.send_signal(signal.SIGHUP)

    def start(self, *, wait=True, options=()):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            command = [machine.pg_program("postgres"), "-D", self.data, *options]
            self.process = subprocess.Popen(
                machine.as_system_user(command),
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            self.wait_ready()

    def start_slowly(self):
        """Does not wait. It refuses logins (57P03) for some seconds: it asks an archive that takes its time."""
        machine.write(self.data / "recovery.signal", "")
        self.start(wait=False, options=["-c", "hot_standby=off", "-c", "restore_command=sleep 0.5; false"])

    def wait_ready(self, seconds=60):
        machine.wait_until(self._answers, seconds=seconds, what="Postgres ready")

    def _answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"Postgres ended:\n{self.log()[-4000:]}")
        try:
            with self.connect():
                return True
        except psycopg.OperationalError:
            return False

    def stop(self):
        """Fast shutdown: sessions are ended, nothing is lost."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def children(self):
        """Pids of the postmaster's children."""
        pid = self.process.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(word) for word in text.split()]

    def kill(self):
        """kill -9 of the postmaster and all its children, as a crash of the machine would."""
        # A stopped postmaster starts nobody new between the look and the kill.
        os.kill(self.process.pid, signal.SIGSTOP)
        children = self.children()
        for pid in [self.process.pid, *children]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait(10)
        self.process = None
        # A new postmaster refuses to start as long as one of them holds the shared memory.
        machine.wait_until(
            lambda: not any(Path(f"/proc/{pid}").exists() for pid in children),
            what="Postgres processes gone",
        )

    def log(self):
        return self.log_path.read_text(errors="replace")

    def connect(self, dbname="postgres", user="postgres", **options):
        """A connection past pgweir, over the unix socket, autocommit."""
        options.setdefault("autocommit", True)
        return psycopg.connect(
            host=self.socket_dir, port=self.port, dbname=dbname, user=user, **options
        )

    def sql(self, text, dbname="postgres"):
        """Runs statements as superuser; the rows of the last one, if it has any."""
        with self.connect(dbname) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else None

    def create_user(self, name, password, *, encryption="scram-sha-256", options=""):
        with self.connect() as connection:
            connection.execute(f"set password_encryption = '{encryption}'")
            connection.execute(f"create role \"{name}\" login {options} password '{password}'")

    def create_database(self, name, owner="postgres"):
        self.sql(f'create database "{name}" owner "{owner}"')
