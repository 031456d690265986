"""Clients of many tenants in one process. They log in, and then ask `SELECT 1`, each transaction by itself."""

import collections
import errno
import os
import random
import selectors
import socket
import time

from harness.wire import query, startup

READY = b"Z\x00\x00\x00\x05I"
ASK = query("SELECT 1")
SILENCE = 60  # seconds without any answer, after which nobody waits any longer
ASKS_AT_ONCE = 50  # then answers are looked at
IP_BIND_ADDRESS_NO_PORT = 24  # of Linux: a source address takes a port only when it connects


class Client:
    __slots__ = ("answers", "asked", "heard", "socket", "tenant")

    def __init__(self, tenant):
        self.tenant = tenant
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = b""
        self.asked = None  # since when it waits for an answer
        self.answers = 0


class Crowd:
    """`clients` clients that come from `source`, the nth of tenant `first` + n modulo `tenants`; `name` makes a database
    of that number."""

    def __init__(self, port, user, name, clients, tenants, *, first=0, seed=1, source="127.0.0.1"):
        self.chance = random.Random(seed)
        self.clients = []
        self.failures = []  # logins that did not succeed, by reason
        self.logins_us = []
        self.answers = [0] * tenants
        self.latencies_us = []
        self.errors = 0
        self.late = 0
        self._port, self._source = port, source
        self._packets = [startup(user, name(number)) for number in range(tenants)]
        self._to_come = [(first + number) % tenants for number in range(clients)]
        self._selector = selectors.DefaultSelector()
        self._owed = 0

    def log_in(self, together=1):
        """So many at a time. Returns the time that it took; who fails is told in `failures` and is no client."""
        begun = time.monotonic()
        to_come, under_way = iter(self._to_come), 0
        while True:
            while under_way < together and (tenant := next(to_come, None)) is not None:
                under_way += self._connect(Client(tenant))
            if under_way == 0:
                return time.monotonic() - begun
            events = self._selector.select(SILENCE)
            if not events:
                raise RuntimeError(f"{under_way} logins had no answer for {SILENCE} s")
            for key, event in events:
                if event & selectors.EVENT_WRITE:
                    self._selector.modify(key.fileobj, selectors.EVENT_READ, key.data)
                    under_way -= not self._introduce(key.data)
                elif self._welcomed(key.data):
                    under_way -= 1

    def _connect(self, client):
        client.asked = time.monotonic()
        try:
            client.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            client.socket.bind((self._source, 0))
            trouble = client.socket.connect_ex(("127.0.0.1", self._port))
        except OSError as error:
            trouble = error.errno
        if trouble not in (0, errno.EINPROGRESS):
            return self._failed(client, os.strerror(trouble))
        self._selector.register(client.socket, selectors.EVENT_WRITE, client)
        return True

    def _failed(self, client, why):
        self.failures.append(why)
        if client.socket.fileno() in self._selector.get_map():
            self._selector.unregister(client.socket)
        client.socket.close()
        return False

    def _introduce(self, client):
        trouble = client.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if trouble:
            return self._failed(client, os.strerror(trouble))
        client.socket.send(self._packets[client.tenant])
        return True

    def _welcomed(self, client):
        """Whether this login is at its end, good or bad."""
        try:
            more = client.socket.recv(4096)
        except OSError as error:
            more = b""
            client.heard = client.heard or str(error).encode()
        client.heard += more
        if not more:
            self._failed(client, f"closed while logging in: {client.heard[-200:]!r}")
            return True
        if not client.heard.endswith(READY):
            return False
        self.logins_us.append((time.monotonic() - client.asked) * 1e6)
        client.asked, client.heard = None, b""
        self.clients.append(client)
        return True

    def _forget_answers(self):
        self.answers = [0] * len(self.answers)
        self.latencies_us = []
        self.errors = self.late = 0
        for client in self.clients:
            client.answers = 0

    def _ask(self, client):
        client.asked = time.monotonic()
        client.socket.send(ASK)
        self._owed += 1

    def _heard(self, timeout):
        """Those who have their whole answer now."""
        done = []
        for key, _ in self._selector.select(timeout):
            client = key.data
            more = client.socket.recv(65536)
            client.heard += more
            if not more:
                raise RuntimeError(f"a client was disconnected: {client.heard[-200:]!r}")
            if not client.heard.endswith(READY):
                continue
            if client.heard[:1] == b"E":
                self.errors += 1
            else:
                self.answers[client.tenant] += 1
                client.answers += 1
            self.latencies_us.append((time.monotonic() - client.asked) * 1e6)
            client.asked, client.heard = None, b""
            self._owed -= 1
            done.append(client)
        return done

    def run(self, seconds, in_flight):
        """Always so many transactions are under way, each of a client taken by chance. Returns the time it took."""
        self._forget_answers()
        idle = [client for client in self.clients if client.asked is None]

        def ask_one():
            place = self.chance.randrange(len(idle))
            idle[place], idle[-1] = idle[-1], idle[place]
            self._ask(idle.pop())

        begun = time.monotonic()
        while self._owed < in_flight:
            ask_one()
        while time.monotonic() - begun < seconds:
            for client in self._heard(0.1):
                idle.append(client)
                ask_one()
        return time.monotonic() - begun

    def think(self, seconds, every):
        """Each client asks once in `every` seconds, all of them spread evenly; who still waits for its last answer
        lets its turn pass (`late`). Returns the time until the last one was answered."""
        per_second = len(self.clients) / every
        return self._take_turns(round(seconds * per_second), lambda passed: int(passed * per_second) + 1)

    def ask_at_once(self):
        """Each client asks once. Returns the time until the last one was answered."""
        return self._take_turns(len(self.clients), lambda _: len(self.clients))

    def _take_turns(self, turns, due_after):
        self._forget_answers()
        order = collections.deque(self.chance.sample(self.clients, len(self.clients)))
        begun = heard_last = time.monotonic()
        taken = 0
        while taken < turns or self._owed:
            now = time.monotonic()
            due = min(turns, due_after(now - begun), taken + ASKS_AT_ONCE)
            while taken < due:
                client = order[0]
                order.rotate(-1)
                taken += 1
                if client.asked is None:
                    self._ask(client)
                else:
                    self.late += 1
            behind = taken < min(turns, due_after(now - begun))
            if self._heard(0 if behind else 0.001 if taken < turns else 1):
                heard_last = now
            elif self._owed and now - heard_last > SILENCE:
                raise RuntimeError(f"{self._owed} transactions had no answer for {SILENCE} s")
        return time.monotonic() - begun

    def fairness(self):
        """Jain's index: 1 when all tenants have had the same, 1/n when one has had all."""
        return jain(self.answers)

    def close(self):
        for client in self.clients:
            client.socket.close()
        self._selector.close()


def jain(answers):
    squares = sum(count * count for count in answers)
    return sum(answers) ** 2 / (len(answers) * squares) if squares else 0.0
