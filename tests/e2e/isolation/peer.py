"""One raw connection that knows which answers are still owed, and watches for what was never meant for it."""

import asyncio
import collections
import os
import socket
import struct

from harness.wire import CANCEL_REQUEST, special, startup

from . import messages as m

HISTORY = int(os.environ.get("PGWEIR_ISOLATION_HISTORY") or 30)
ANSWER_WITHIN = float(os.environ.get("PGWEIR_ISOLATION_PATIENCE") or 90)  # seconds; more than a queue takes, less than a person's patience


class Violation(Exception):
    """What must never happen."""


class Gone(Violation):
    """The other side closed."""


class Peer:
    def __init__(self, name, port, client, host="127.0.0.1"):
        self.name = name
        self.address = (host, port)
        self.client = client  # number: whose tokens may come
        self.history = collections.deque(maxlen=HISTORY)
        self.answers = 0
        self.reset()

    def reset(self):
        self.key = b""
        self.owed = ""
        self.skipping = False  # an error stands, and no Sync was sent since
        self.batch_open = False  # requests were sent, and no Sync since
        self.copying = False
        self.status = "I"
        self.mail = []  # notifications that others have sent
        self.own = {}  # those that it has sent itself, by channel; a pooler tells them when it has them
        self.last = (b"", b"")  # message that came
        self._buffer = bytearray()

    async def connect(self, **parameters):
        """Logs in with trust; what came up to ReadyForQuery."""
        self.reset()
        self._note("--", f"connect {parameters}")
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        self.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.writer.write(startup("app", parameters.pop("database"), **parameters))
        self.owed = "S"
        said = await self.answer()
        for kind, payload in said:
            if kind == b"K":
                self.key = payload
        return said

    def _note(self, direction, text):
        self.history.append(f"{direction} {text}")

    def send(self, said, pieces=()):
        """`pieces`: where to cut it, to be written one after the other by trickle()."""
        for text in m.in_words(said.data):
            self._note("->", text)
        for letter in said.owed:
            if letter == "S":
                self.skipping = False
            self.batch_open = letter not in "QS"
            if not self.skipping:
                self.owed += letter
        if not pieces:
            self.writer.write(said.data)
            return None
        return self._trickle(said.data, pieces)

    async def _trickle(self, data, pieces):
        at = 0
        for cut in [*sorted(pieces), len(data)]:
            self.writer.write(data[at:cut])
            at = cut
            await asyncio.sleep(0.001)

    async def _fill(self, size):
        while len(self._buffer) < size:
            try:
                more = await asyncio.wait_for(self.reader.read(1 << 17), ANSWER_WITHIN)
            except asyncio.TimeoutError:
                raise Violation(f"{self.name}: no answer within {ANSWER_WITHIN} s, owed: {self.owed}") from None
            except OSError as error:
                raise Gone(f"{self.name}: {error}, owed: {self.owed}") from None
            if not more:
                raise Gone(f"{self.name}: closed with {len(self._buffer)} bytes of a message, owed: {self.owed}")
            self._buffer += more

    async def receive(self):
        await self._fill(5)
        (size,) = struct.unpack_from("!i", self._buffer, 1)
        if size < 4:
            raise Violation(f"{self.name}: message of length {size}")
        await self._fill(size + 1)
        kind, payload = bytes(self._buffer[:1]), bytes(self._buffer[5 : size + 1])
        del self._buffer[: size + 1]
        self.last = (kind, payload)
        self._note("<-", m.one_in_words(kind, payload))
        for token in m.TOKEN.findall(payload):
            if int(token) != self.client:
                raise Violation(f"{self.name}: a token of client {token.decode()} came to client {self.client}")
        return kind, payload

    async def answer(self):
        """All messages until nothing is owed, or the server waits for COPY data."""
        said = []
        while self.owed:
            kind, payload = await self.receive()
            if kind == b"A" and payload[4:].startswith(b"mail_"):
                self.mail.append(payload[4:])
                continue
            if kind == b"A" and payload[4:].startswith(b"own_"):
                channel, text, _ = payload[4:].split(b"\0")
                self.own.setdefault(channel, []).append(text)
                continue
            said.append((kind, payload))
            self._settle(kind, payload)
            if kind == b"G":
                break
        self.answers += len(said)
        return said

    def _settle(self, kind, payload):
        head = self.owed[0]
        if kind == b"E":
            self.copying = False
            if head != "Q":
                sync = self.owed.find("S")
                # Behind such an error everything is skipped, a simple query too.
                self.owed = self.owed[sync:] if sync >= 0 else ""
                self.skipping = sync < 0
        elif kind == b"Z":
            if head not in "QS":
                raise Violation(f"{self.name}: ReadyForQuery, but owed is {self.owed}")
            self.owed = self.owed[1:]
            self.status = payload.decode()
        elif kind == b"G":
            self.copying = True
        elif {b"1": "P", b"2": "B", b"3": "C", b"n": "D"}.get(kind) == head:
            self.owed = self.owed[1:]
        elif (kind == b"T" and head == "D") or (kind in (b"C", b"I", b"s") and head == "E"):
            self.owed = self.owed[1:]
        elif kind in (b"1", b"2", b"3", b"n", b"s") or (kind in (b"D", b"C", b"I") and head not in "QE"):
            raise Violation(f"{self.name}: {kind.decode()} answers nothing, owed: {self.owed}")

    async def cancel(self):
        """Returns when the server has closed the request's connection, that is, when the signal is sent."""
        self._note("--", "CancelRequest")
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(special(CANCEL_REQUEST, self.key))
        try:
            await asyncio.wait_for(reader.read(), ANSWER_WITHIN)
        except OSError:
            pass
        writer.close()

    def hang_up(self, how):
        """'reset', or anything else for an ordinary end of the connection."""
        self._note("--", f"hang up: {how}")
        if how == "reset":
            self.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            self.writer.transport.abort()
        else:
            self.writer.close()
