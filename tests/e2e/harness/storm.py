"""Many clients that come at the same moment, in a process of their own: each has a descriptor."""

import asyncio
import json
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

from .wire import error_fields, query, startup

READY = b"Z"
ERROR = b"E"
SPARE_FILES = 100
AGAIN_SECONDS = 0.2


class Storm:
    """Begins to blow at once: `clients` clients log in to the `databases` in turn, ask for a value and go.

    By trust. One whose connect is refused tries again; what it hears from pgweir is final. After end(), `served` has
    the seconds from the beginning until each had its value, `refused` counts connects.
    """

    def __init__(self, weir, clients, user, databases, seconds):
        arguments = {"host": weir.host, "port": weir.port, "clients": clients, "user": user}
        arguments |= {"databases": databases, "seconds": seconds}
        self._seconds = seconds
        self._process = subprocess.Popen(
            [sys.executable, "-B", "-m", "harness.storm", json.dumps(arguments)],
            cwd=Path(__file__).parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self):
        output, _ = self._process.communicate(timeout=self._seconds + 30)
        result = json.loads(output)
        self.served, self.errors, self.refused = (result[key] for key in ("served", "errors", "refused"))
        return self

    def close(self):
        self._process.kill()
        self._process.communicate()


class Clients:
    def __init__(self, host, port, user):
        self.served, self.errors, self.refused = [], [], 0
        self._to, self._user = (host, port), user

    async def come(self, clients, databases, seconds):
        begun = time.monotonic()
        names = [databases[number % len(databases)] for number in range(clients)]
        tasks = [asyncio.ensure_future(self._client(begun, name)) for name in names]
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for task in late:
            task.cancel()
            self.errors.append("not served in time")
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connect(self):
        while True:
            try:
                return await asyncio.open_connection(*self._to)
            except OSError:
                self.refused += 1
                await asyncio.sleep(AGAIN_SECONDS)

    async def _client(self, begun, database):
        reader, writer = await self._connect()
        try:
            for request in (startup(self._user, database), query("select 1")):
                writer.write(request)
                await self._until_ready(reader)
            self.served.append(time.monotonic() - begun)
        except (ConnectionError, asyncio.IncompleteReadError, RuntimeError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        finally:
            writer.close()

    @staticmethod
    async def _until_ready(reader):
        while True:
            head = await reader.readexactly(5)
            (size,) = struct.unpack("!i", head[1:])
            body = await reader.readexactly(size - 4)
            if head[:1] == ERROR:
                raise RuntimeError(error_fields(body))
            if head[:1] == READY:
                return


def main(host, port, clients, user, databases, seconds):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Clients(host, port, user)
    asyncio.run(crowd.come(clients, databases, seconds))
    print(json.dumps({"served": crowd.served, "errors": crowd.errors, "refused": crowd.refused}))


def files_suffice(clients):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most == resource.RLIM_INFINITY or most >= clients + SPARE_FILES


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
