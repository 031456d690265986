"""A scratch Redis."""

import signal
import socket
import subprocess

from . import machine


class Redis:
    """Started by the constructor, with nothing saved to disk. `tls`: a certificate; then it speaks nothing else."""

    def __init__(self, *, password=None, database=0, options=(), certificate=None, authority=None):
        self.dir = machine.scratch("redis")
        self.host = "127.0.0.1"
        self.port = machine.free_port()
        self.password = password
        self.database = database
        self.log_path = self.dir / "redis.log"
        self.process = None
        self._options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", *options]
        if certificate:
            self._options += ["--port", "0", "--tls-port", self.port, "--tls-auth-clients", "no"]
            self._options += ["--tls-cert-file", certificate.cert, "--tls-key-file", certificate.key]
            self._options += ["--tls-ca-cert-file", authority]
        else:
            self._options += ["--port", self.port]
        if password:
            self._options += ["--requirepass", password]
        self._tls = certificate is not None
        self._authority = authority
        self.start()

    def url(self, *, user=""):
        login = f"{user}:{self.password}@" if self.password else ""
        scheme = "rediss" if self._tls else "redis"
        return f"{scheme}://{login}{self.host}:{self.port}/{self.database}"

    def start(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                machine.as_system_user(["redis-server", *self._options]),
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        machine.wait_until(self._listens, seconds=20, what="Redis listening")

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"Redis ended:\n{self.log_path.read_text()[-2000:]}")
        try:
            with socket.create_connection((self.host, self.port), timeout=1):
                return True
        except OSError:
            return False

    def stop(self):
        """At once, as a crash would."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def pause(self):
        """It takes connections, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def __call__(self, *words):
        """Runs one command; the answer as redis-cli prints it."""
        command = ["redis-cli", "-h", self.host, "-p", self.port, "-n", self.database]
        if self._tls:
            command += ["--tls", "--cacert", self._authority]
        if self.password:
            command += ["-a", self.password, "--no-auth-warning"]
        done = machine.run([*command, *words], timeout=20)
        text = done.stdout.strip()
        if done.returncode != 0 or text.startswith(("ERR", "WRONG", "NOAUTH")):
            raise AssertionError(f"redis-cli {words}: {text} {done.stderr}")
        return text

    def pipe(self, text):
        """Many commands at once."""
        command = ["redis-cli", "-h", self.host, "-p", self.port]
        done = machine.run(command, input=text, timeout=120)
        assert done.returncode == 0, done.stderr

    def tenant(self, name, **fields):
        """Writes a row, whole, and says that it has changed."""
        self._row("tenant", name, name, fields)

    def tier(self, name, **fields):
        self._row("tier", name, f"tier:{name}", fields)

    def _row(self, kind, name, what, fields):
        words = [str(word) for pair in fields.items() for word in pair]
        self("HSET", f"pgweir:{kind}:{name}", *words)
        self("PUBLISH", "pgweir:changed", what)
