"""Scratch sentinels that watch over one scratch Redis and its replicas."""

import subprocess

from . import machine
from .redis import Redis

MASTER = "mymaster"


class Sentinels:
    """Started by the constructor; they replace a master that has been silent for a second."""

    def __init__(self, master, count=3):
        self.dir = machine.scratch("sentinel")
        self.ports = []
        self.processes = []
        for nth in range(count):
            port = machine.free_port()
            lines = [
                f"port {port}",
                "bind 127.0.0.1",
                f"dir {self.dir}",
                f"sentinel monitor {MASTER} {master.host} {master.port} {count // 2 + 1}",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 4000",
            ]
            # It writes what it learns into this file.
            path = machine.write(self.dir / f"{nth}.conf", "\n".join(lines) + "\n")
            with open(self.dir / f"{nth}.log", "ab") as log:
                process = subprocess.Popen(
                    machine.as_system_user(["redis-sentinel", path]),
                    cwd=self.dir,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            self.ports.append(port)
            self.processes.append(process)
        machine.wait_until(lambda: all(self._sees_others(port) for port in self.ports), seconds=30, what="sentinels ready")

    def url(self, master=MASTER):
        return "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in self.ports) + f"/{master}/0"

    def ask(self, port, *words):
        return machine.run(["redis-cli", "-h", "127.0.0.1", "-p", port, *words], timeout=10).stdout.split("\n")

    def _sees_others(self, port):
        words = self.ask(port, "SENTINEL", "MASTER", MASTER)
        facts = dict(zip(words[::2], words[1::2]))
        return facts.get("num-other-sentinels") == str(len(self.ports) - 1) and facts.get("num-slaves") != "0"

    def master_port(self):
        words = self.ask(self.ports[-1], "SENTINEL", "get-master-addr-by-name", MASTER)
        return int(words[1]) if len(words) > 1 and words[1] else None

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait(10)
        self.processes = []


def replica_of(master):
    return Redis(options=["--replicaof", f"{master.host} {master.port}"])
