"""A Postgres that lies: each test writes its answers."""

import socket
import struct
import threading

from .wire import GSSENC_REQUEST, SSL_REQUEST, message

AUTHENTICATION_OK = message(b"R", struct.pack("!i", 0))
READY = message(b"Z", b"I")

PARAMETERS = {
    "server_version": "15.4",
    "server_encoding": "UTF8",
    "client_encoding": "UTF8",
    "application_name": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
    "is_superuser": "off",
    "session_authorization": "app",
    "default_transaction_read_only": "off",
    "in_hot_standby": "off",
}


def row_description(*names):
    body = struct.pack("!h", len(names))
    for name in names:
        body += name.encode() + b"\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
    return message(b"T", body)


def data_row(*values):
    body = struct.pack("!h", len(values))
    for value in values:
        body += struct.pack("!i", len(value)) + value.encode()
    return message(b"D", body)


# What cleaning asks first.
SEED = b"SELECT PG_CATALOG.SETSEED("


def complete(tag):
    return message(b"C", tag.encode() + b"\0")


def welcome():
    told = b"".join(message(b"S", f"{name}\0{value}\0".encode()) for name, value in PARAMETERS.items())
    return AUTHENTICATION_OK + told + message(b"K", struct.pack("!ii", 4711, 815)) + READY


class Session:
    """One connection to the fake server."""

    def __init__(self, connection):
        self.connection = connection
        self.received = b""
        self._buffer = b""

    def take(self, size):
        while len(self._buffer) < size:
            more = self.connection.recv(65536)
            if not more:
                raise EOFError
            self.received += more
            self._buffer += more
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def startup(self):
        """Reads the StartupMessage, declining TLS and GSSAPI on the way."""
        while True:
            (size,) = struct.unpack("!i", self.take(4))
            body = self.take(size - 4)
            (code,) = struct.unpack("!i", body[:4])
            if code not in (SSL_REQUEST, GSSENC_REQUEST):
                return body
            self.send(b"N")

    def receive(self):
        kind = self.take(1)
        (size,) = struct.unpack("!i", self.take(4))
        return kind, self.take(size - 4)

    def send(self, *messages):
        self.connection.sendall(b"".join(messages))

    def reset(self):
        """Closes with RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def login(self):
        self.startup()
        self.send(welcome())


class FakePostgres:
    """Runs `behaviour(session)` for each connection, in a thread of its own; it may be replaced any time."""

    def __init__(self, port, behaviour=None):
        self.port = port
        self.host = "127.0.0.1"
        self.behaviour = behaviour or honest("1")
        self.sessions = []
        self._socket = socket.create_server((self.host, port), backlog=64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            session = Session(connection)
            self.sessions.append(session)
            threading.Thread(target=self._serve, args=(session,), daemon=True).start()

    def _serve(self, session):
        try:
            self.behaviour(session)
        except (EOFError, OSError, struct.error):
            pass
        finally:
            session.connection.close()

    def received(self):
        return b"".join(session.received for session in self.sessions)

    def hang_up(self):
        """Ends all connections, so that the next behaviour starts with a login."""
        for session in self.sessions:
            try:
                session.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.sessions.clear()

    def close(self):
        self._socket.close()
        self.hang_up()


def honest(value):
    """Answers each query with one row."""
    return answering(row_description("x") + data_row(value) + complete("SELECT 1") + READY)


def answering(answer, then=None):
    """Logs in, answers any Query or Sync with these bytes, and then calls then(session)."""

    def behaviour(session):
        session.login()
        while True:
            kind, payload = session.receive()
            if kind == b"X":
                return
            if kind == b"Q" and payload.upper().startswith((b"DISCARD", b"SET ", b"RESET", SEED)):
                session.send(complete(payload.split()[0].decode().strip("\0").upper()) + READY)
            elif kind in (b"Q", b"S"):
                session.send(answer)
                if then:
                    then(session)
                    return

    return behaviour
