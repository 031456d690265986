"""A wire that is tapped: passes bytes on to a server and keeps what was said to it."""

import socket
import threading


class Recorder:
    """Listens on a port of its own; `said` has the bytes of each connection, in order of coming."""

    def __init__(self, host, port):
        self.said = []
        self._to = (host, port)
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.host, self.port = self._socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._socket.accept()
                far = socket.create_connection(self._to)
            except OSError:
                return
            said = bytearray()
            self.said.append(said)
            threading.Thread(target=self._pass_on, args=(near, far, said), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(far, near, bytearray()), daemon=True).start()

    @staticmethod
    def _pass_on(source, target, said):
        try:
            while more := source.recv(65536):
                said += more
                target.sendall(more)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            target.close()
        finally:
            source.close()

    def close(self):
        self._socket.close()
