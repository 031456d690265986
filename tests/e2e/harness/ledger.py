"""Clients that write unique entries and remember what became of each."""

import collections
import itertools
import threading
import time

import psycopg

from .wire import Closed, Wire, first_error

# What a client may see while Postgres is gone; None is a connection that ended without a word.
HONEST = {"57P01", "57P02", "57P03", "08006", "08001", "08003", "53300", None}
CLIENTS = 12


class WireClient:
    """Speaks the protocol itself, by trust: what it was told last it tells by its SQLSTATE.

    A driver that finds the connection closed behind an error may tell of the close alone.
    """

    def __init__(self, weir):
        try:
            self._wire = Wire(weir.port)
        except OSError as error:
            raise psycopg.OperationalError(str(error)) from None
        self._do(lambda: self._wire.login("app", "bank"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._wire.close()

    def execute(self, text, values=()):
        self._do(lambda: self._wire.query(text % values))

    @staticmethod
    def _do(what):
        try:
            messages = what()
        except Closed as closed:
            raise _told(first_error(closed.messages), str(closed)) from None
        except OSError as error:
            raise _told(None, str(error)) from None
        error = first_error(messages) if isinstance(messages, list) else None
        if error:
            raise _told(error, str(error))


def _told(fields, text):
    error = psycopg.OperationalError(text)
    error.sqlstate = fields["C"] if fields else None
    return error


class Ledger:
    """Of a database `bank` with the table that prepare() makes.

    Acknowledged, refused, or uncertain: the connection ended between the commit and its answer.
    """

    def __init__(self, weir, clients=CLIENTS, honest=HONEST, *, by_wire=False):
        self.weir = weir
        self._by_wire = by_wire
        self.honest = honest
        self.acknowledged = set()
        self.uncertain = set()
        self.answered_at = []  # (moment, client)
        self.errors = 0
        self.codes = collections.Counter()  # SQLSTATE to how many errors had it
        self.unexpected = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(clients)]

    @staticmethod
    def prepare(postgres):
        # No unique index: a doubled entry must be able to show.
        with postgres.connect("bank", "app") as connection:
            connection.execute("drop table if exists ledger")
            connection.execute("create table ledger (id bigint, client int)")
            connection.execute("create index on ledger (client)")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"

    def _client(self, number):
        while not self._stop.is_set():
            try:
                with self._connect() as connection:
                    while not self._stop.is_set():
                        self._enter(connection, number)
            except psycopg.Error as error:
                self._note(error)
                time.sleep(0.005)

    def _connect(self):
        if self._by_wire:
            return WireClient(self.weir)
        return self.weir.connect("bank", "app", connect_timeout=30)

    def _enter(self, connection, client):
        with self._lock:
            entry = next(self._numbers)
        sent = False
        try:
            if entry % 3 == 0:
                # A statement that commits by itself.
                sent = True
                connection.execute("insert into ledger values (%s, %s)", (entry, client))
            else:
                connection.execute("begin")
                connection.execute("insert into ledger values (%s, %s)", (entry, client))
                connection.execute("select count(*) from ledger where client = %s", (client,))
                sent = True
                connection.execute("commit")
        except psycopg.Error:
            if sent:
                with self._lock:
                    self.uncertain.add(entry)
            raise
        with self._lock:
            self.acknowledged.add(entry)
            self.answered_at.append((time.monotonic(), client))

    def _note(self, error):
        with self._lock:
            self.errors += 1
            self.codes[error.sqlstate] += 1
        if error.sqlstate not in self.honest:
            with self._lock:
                self.unexpected.append(f"{error.sqlstate} {type(error).__name__}: {error}")

    def first_answer_after(self, moment):
        return min(self.answered_after(moment).values(), default=None)

    def answered_after(self, moment):
        """Client to its first answer after that."""
        first = {}
        with self._lock:
            for answered, client in reversed(self.answered_at):
                if answered <= moment:
                    break
                first[client] = answered
        return first

    def check(self, postgres):
        rows = postgres.sql("select id, count(*) from ledger group by id", "bank")
        found = {entry for entry, _ in rows}
        doubled = [entry for entry, count in rows if count > 1]
        lost = self.acknowledged - found
        invented = found - self.acknowledged - self.uncertain
        assert not lost, f"acknowledged and lost: {sorted(lost)[:20]}"
        assert not doubled, f"written twice: {sorted(doubled)[:20]}"
        assert not invented, f"refused and yet there: {sorted(invented)[:20]}"
        assert not self.unexpected, self.unexpected[:5]
