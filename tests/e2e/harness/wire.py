"""The Postgres protocol on a bare socket, for tests that say what no driver would."""

import socket
import struct

SSL_REQUEST = 80877103
CANCEL_REQUEST = 80877102
GSSENC_REQUEST = 80877104
VERSION_3_0 = 3 << 16
VERSION_3_2 = VERSION_3_0 + 2


def message(kind, payload=b""):
    return kind + struct.pack("!i", len(payload) + 4) + payload


def special(code, payload=b""):
    """SSLRequest, GSSENCRequest, CancelRequest."""
    return struct.pack("!ii", 8 + len(payload), code) + payload


def startup(user, database, version=VERSION_3_0, **parameters):
    fields = {"user": user, "database": database, **parameters}
    body = b"".join(
        part.encode() + b"\0" for pair in fields.items() for part in pair if pair[1] is not None
    )
    return struct.pack("!ii", len(body) + 9, version) + body + b"\0"


def query(sql):
    return message(b"Q", sql.encode() + b"\0")


def parse(sql, name=""):
    return message(b"P", f"{name}\0{sql}\0".encode() + b"\0\0")


def bind(statement="", portal="", values=()):
    """The values are texts."""
    given = [struct.pack("!i", len(value)) + value.encode() for value in values]
    counted = b"\0\0" + struct.pack("!h", len(given)) + b"".join(given) + b"\0\0"
    return message(b"B", f"{portal}\0{statement}\0".encode() + counted)


def execute(portal="", rows=0):
    return message(b"E", portal.encode() + b"\0" + struct.pack("!i", rows))


def describe(what, name=""):
    return message(b"D", what + name.encode() + b"\0")


def sync():
    return message(b"S")


def flush():
    return message(b"H")


def error_fields(payload):
    """Fields of an ErrorResponse or NoticeResponse: {'C': '57014', 'M': ...}."""
    fields = {}
    for part in payload.split(b"\0"):
        if part:
            fields[chr(part[0])] = part[1:].decode(errors="replace")
    return fields


class Closed(Exception):
    """The other side closed or reset the connection, maybe in the middle of a message."""

    def __init__(self, rest=b"", messages=()):
        text = f"closed with {len(rest)} bytes of an unfinished message"
        error = first_error(messages)
        super().__init__(f"{text} after {error}" if error else text)
        self.rest = rest
        self.messages = messages


class Wire:
    def __init__(self, port, host="127.0.0.1", timeout=20):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.key = b""
        self.parameters = {}
        self._buffer = bytearray()  # grows at its end and shrinks at its front without a copy of the rest

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, *messages):
        self.socket.sendall(b"".join(messages))

    def _fill(self, size):
        while len(self._buffer) < size:
            try:
                more = self.socket.recv(65536)
            except (ConnectionResetError, BrokenPipeError):
                more = b""
            if not more:
                raise Closed(bytes(self._buffer))
            self._buffer += more

    def take(self, size):
        self._fill(size)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def receive(self):
        """One message: (type, payload)."""
        self._fill(5)
        (size,) = struct.unpack("!i", self._buffer[1:5])
        whole = self.take(size + 1)
        return whole[:1], whole[5:]

    def until_ready(self):
        """All messages up to ReadyForQuery."""
        messages = []
        while True:
            try:
                messages.append(self.receive())
            except Closed as closed:
                raise Closed(closed.rest, messages) from None
            if messages[-1][0] == b"Z":
                return messages

    def until_closed(self):
        """All whole messages until the other side closes; a partial one is left in `rest`."""
        messages = []
        try:
            while True:
                messages.append(self.receive())
        except Closed as closed:
            self.rest = closed.rest
            return messages

    def login(self, user, database, **parameters):
        """Start-up with trust authentication, up to ReadyForQuery."""
        self.send(startup(user, database, **parameters))
        messages = self.until_ready()
        for kind, payload in messages:
            if kind == b"K":
                self.key = payload
            elif kind == b"S":
                name, value, _ = payload.split(b"\0")
                self.parameters[name.decode()] = value.decode()
        return self

    def query(self, sql):
        self.send(query(sql))
        return self.until_ready()

    def value(self, sql):
        """First column of the first row."""
        for kind, payload in self.query(sql):
            if kind == b"D":
                (size,) = struct.unpack("!i", payload[2:6])
                return payload[6 : 6 + size].decode()
            if kind == b"E":
                raise AssertionError(f"{sql}: {error_fields(payload)}")
        return None


def kinds(messages):
    """'TDCZ' for a query with one row."""
    return "".join(kind.decode() for kind, _ in messages)


def first_error(messages):
    for kind, payload in messages:
        if kind == b"E":
            return error_fields(payload)
    return None
