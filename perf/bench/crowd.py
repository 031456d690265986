"""Clients of many tenants, of which only so many have a transaction in flight at a time."""

import random
import selectors
import socket
import time

from harness.wire import query, startup

READY = b"Z\x00\x00\x00\x05I"
ASK = query("SELECT 1")


class Crowd:
    """Logs in `clients` clients, the nth to tenant n modulo `tenants`; `name` makes a database of a number."""

    def __init__(self, port, user, name, clients, tenants, seed=1):
        self.chance = random.Random(seed)
        self.tenant = {}
        self.answers = [0] * tenants
        self.latencies_us = []
        self.errors = 0
        self._selector = selectors.DefaultSelector()
        self._asked = {}
        self._heard = {}
        for number in range(clients):
            client = socket.create_connection(("127.0.0.1", port), timeout=60)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(startup(user, name(number % tenants)))
            self._until_ready(client)
            client.setblocking(False)
            self.tenant[client] = number % tenants
            self._heard[client] = b""
            self._selector.register(client, selectors.EVENT_READ)
        self._idle = list(self.tenant)

    @staticmethod
    def _until_ready(client):
        heard = b""
        while not heard.endswith(READY):
            more = client.recv(4096)
            if not more:
                raise RuntimeError(f"closed while logging in: {heard[-200:]!r}")
            heard += more

    def _ask(self):
        place = self.chance.randrange(len(self._idle))
        self._idle[place], self._idle[-1] = self._idle[-1], self._idle[place]
        client = self._idle.pop()
        self._asked[client] = time.monotonic()
        client.send(ASK)

    def run(self, seconds, in_flight):
        """Always so many transactions are under way, each of a client taken by chance. Returns the time it took."""
        self.answers = [0] * len(self.answers)
        self.latencies_us.clear()
        begun = time.monotonic()
        while len(self._asked) < in_flight:
            self._ask()
        while (now := time.monotonic()) - begun < seconds:
            for key, _ in self._selector.select(0.1):
                client = key.fileobj
                heard = self._heard[client] + client.recv(65536)
                if not heard.endswith(READY):
                    self._heard[client] = heard
                    if not heard:
                        raise RuntimeError("a client was disconnected")
                    continue
                self._heard[client] = b""
                if heard[:1] == b"E":
                    self.errors += 1
                else:
                    self.answers[self.tenant[client]] += 1
                self.latencies_us.append((now - self._asked.pop(client)) * 1e6)
                self._idle.append(client)
                self._ask()
        return time.monotonic() - begun

    def fairness(self):
        """Jain's index: 1 when all tenants have had the same, 1/n when one has had all."""
        squares = sum(count * count for count in self.answers)
        return sum(self.answers) ** 2 / (len(self.answers) * squares) if squares else 0.0

    def close(self):
        for client in self.tenant:
            client.close()
        self._selector.close()
