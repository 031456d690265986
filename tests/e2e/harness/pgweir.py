"""A pgweir under test."""

import json
import os
import re
import signal
import socket
import subprocess

import psycopg

from . import machine

BINARY = os.environ.get("PGWEIR_BINARY", "")

# What no log of a healthy run contains.
ALARMS = re.compile(
    r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|runtime error:|check failed|"
    r"terminate called|Assertion `"
)

SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


# Of a pgweir whose memory is measured: freed memory is not to be kept for the sanitizer's sake.
FREES_AT_ONCE = {"ASAN_OPTIONS": "halt_on_error=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}


def merge(base, extra):
    """Nested dictionaries over each other; a None in `extra` takes the key away."""
    merged = dict(base)
    for key, value in extra.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = value
    return merged


# Ceilings that nothing comes near: texts are read and judged as in the shipped tiers, and no client may notice. Of times
# no limit would be beyond them, so sessions of the Postgres itself begin with them, too.
LOFTY_TIMES = {
    "statement_timeout": "20d",
    "lock_timeout": "20d",
    "idle_in_transaction_session_timeout": "20d",
    "idle_session_timeout": "20d",
}
LOFTY = {
    **LOFTY_TIMES,
    "transaction_timeout": "20d",
    "request_timeout": "20h",
    "work_mem": "1TB",
    "default.work_mem": "4MB",
    "hash_mem_multiplier": "1000",
    "default.hash_mem_multiplier": "2",
    "maintenance_work_mem": "1TB",
    "default.maintenance_work_mem": "64MB",
    "temp_buffers": "1TB",
    "default.temp_buffers": "8MB",
    "max_parallel_workers_per_gather": "1024",
    "default.max_parallel_workers_per_gather": "2",
    "max_parallel_maintenance_workers": "1024",
    "default.max_parallel_maintenance_workers": "2",
    "effective_io_concurrency": "1000",
    "default.effective_io_concurrency": "1",
    "inspection": "standard",
}


def rotating(tier):
    """A configuration whose tenants, `app` and `lofty`, which has ceilings, take their servers in turn, so that clients
    meet what others have left."""
    return {
        "server": {"rotation": True},
        "auth": {"method": "trust"},
        "tiers": {"rotating": tier, "lofty": {**tier, **LOFTY}},
        "tenants": {
            "app": {"tier": "rotating", "backend": "main", "database": "app"},
            "lofty": {"tier": "lofty", "backend": "main", "database": "lofty"},
        },
    }


def environment(extra=None):
    """This process's environment without anything that would configure pgweir or libpq."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PGWEIR_", "PG")) and key not in ("DATABASE_URL", "PORT")
    }
    for key, value in SANITIZERS.items():
        kept.setdefault(key, value)
    return {**kept, **(extra or {})}


def binary():
    if not BINARY:
        raise RuntimeError("PGWEIR_BINARY is not set; run these tests by ctest")
    global _reachable
    if _reachable is None:
        _reachable = machine.readable_binary(BINARY)
    return _reachable


_reachable = None


class Pgweir:
    """Started by start(). `config` is laid over the defaults below; `users` maps names to secrets."""

    def __init__(self, postgres=None, config=None, users=None, env=None):
        self.dir = machine.scratch("weir")
        self.host = "127.0.0.1"
        self.port = machine.free_port()
        self.socket_dir = str(self.dir)
        self.log_path = self.dir / "pgweir.log"
        self.config_path = self.dir / "pgweir.yaml"
        self.users_path = self.dir / "users.txt"
        self.process = None
        self.within = []  # a command that ends by exec of the one behind it
        self.env = env
        self.users = dict(users or {})
        self.config = merge(self._defaults(postgres), config or {})

    def _defaults(self, postgres):
        addresses = ["127.0.0.1"] + (["::1"] if machine.has_ipv6() else [])
        defaults = {
            "listen": {
                "addresses": addresses,
                "port": self.port,
                "unix_socket_dir": self.socket_dir,
            },
            "process": {"threads": 2, "shutdown_timeout": "5s"},
            "auth": {"method": "scram-sha-256", "users_file": str(self.users_path)},
            "console": {"admins": ["admin"]},
            "http": {"port": 0},
        }
        if postgres:
            defaults["backends"] = {"main": {"host": postgres.host, "port": postgres.port}}
        return defaults

    def write_files(self):
        """JSON is YAML, so the configuration needs no library here."""
        machine.write(self.config_path, json.dumps(self.config, indent=2) + "\n")
        self.write_users()

    def write_users(self):
        def quoted(text):
            return '"' + text.replace('"', '""') + '"'

        lines = [f"{quoted(name)} {quoted(secret)}" for name, secret in self.users.items()]
        machine.write(self.users_path, "\n".join(lines) + "\n", 0o600)

    def start(self, arguments=None, *, wait=True):
        """With other arguments than --config and its file where a test wants that."""
        self.write_files()
        if arguments is None:
            arguments = ["--config", self.config_path]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.within, *machine.as_system_user([binary(), *arguments])],
                cwd=self.dir,
                env=environment(self.env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        if wait:
            machine.wait_until(self._listens, seconds=20, what="pgweir listening")
        return self

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"pgweir ended with {self.process.returncode}:\n{self.log()}")
        try:
            for port in filter(None, (self.port, self.config.get("http", {}).get("port"))):
                socket.create_connection((self.host, port), timeout=1).close()
            return True
        except OSError:
            return False

    @property
    def alive(self):
        return self.process is not None and self.process.poll() is None

    def reload(self):
        """SIGHUP with the configuration as it stands in `config` and `users`."""
        self.write_files()
        self.process.send_signal(signal.SIGHUP)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait_end(self, seconds=30):
        """Waits until it has ended, as it was told to; its exit code."""
        process, self.process = self.process, None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"pgweir did not end in {seconds} s:\n{self.log()[-3000:]}")

    def stop(self):
        """Ends it and insists that it was well all the time."""
        if self.process is None:
            return
        code = self.process.poll()
        if code is None:
            self.signal()
            code = self.wait_end()
        self.process = None
        assert code == 0, f"pgweir ended with {code}:\n{self.log()[-3000:]}"
        self.check_log()

    def check_log(self):
        text = self.log()
        alarm = ALARMS.search(text)
        if alarm:
            raise AssertionError(f"alarm in pgweir's log:\n{text[max(0, alarm.start() - 500):][:8000]}")

    def resident(self):
        """Bytes of memory."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmRSS:"))

    def log(self):
        try:
            return self.log_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def has_logged(self, what, times=None):
        """Waits for a text or a pattern: what has happened is told a moment later, by a thread of its own."""
        pattern = re.compile(re.escape(what)) if isinstance(what, str) else what
        count = lambda: len(pattern.findall(self.log()))  # noqa: E731
        machine.wait_until(lambda: count() >= (times or 1), seconds=20, what=f"{what} in the log")
        assert times is None or count() == times, f"{what}: {count()} times in the log, not {times}"

    def connect(self, dbname, user, **options):
        """A psycopg connection through pgweir; the password is the user's plain secret unless given."""
        options.setdefault("password", self.users.get(user))
        options.setdefault("autocommit", True)
        options.setdefault("connect_timeout", 20)
        options.setdefault("host", self.host)
        return psycopg.connect(port=self.port, dbname=dbname, user=user, **options)

    def console(self, command):
        """Runs a console command; (column names, rows)."""
        with self.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as connection:
            cursor = connection.execute(command)
            if not cursor.description:
                return [], []
            return [column.name for column in cursor.description], cursor.fetchall()

    def command_line(self, *arguments, env=None):
        """Runs the program to its end with these arguments."""
        command = [*self.within, *machine.as_system_user([binary(), *arguments])]
        return subprocess.run(
            command,
            cwd=self.dir,
            env=environment(env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
