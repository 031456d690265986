"""Clients that listen to a channel and do nothing else."""

import selectors
import threading
import time

import psycopg


class Listeners:
    """Counts, in a thread of its own, what each of them hears while the block runs."""

    def __init__(self, port, user, dbname, channel, count):
        self._clients = []
        for _ in range(count):
            client = psycopg.connect(host="127.0.0.1", port=port, user=user, dbname=dbname, autocommit=True)
            client.execute(f"listen {channel}")
            self._clients.append(client)
        self.heard = [0] * count
        self._over = False
        self._thread = threading.Thread(target=self._hear, daemon=True)

    def _hear(self):
        with selectors.DefaultSelector() as selector:
            for number, client in enumerate(self._clients):
                selector.register(client.fileno(), selectors.EVENT_READ, number)
            while not self._over:
                for key, _ in selector.select(timeout=0.1):
                    connection = self._clients[key.data].pgconn
                    connection.consume_input()
                    while connection.notifies():
                        self.heard[key.data] += 1

    def __enter__(self):
        self._thread.start()
        return self

    def settle(self, seconds=5):
        """All have heard as much as the others, and nothing more comes."""
        deadline = time.monotonic() + seconds
        before = None
        while len(set(self.heard)) > 1 or self.heard != before:
            if time.monotonic() > deadline:
                raise RuntimeError(f"listeners heard {self.heard} notifications")
            before = list(self.heard)
            time.sleep(0.1)

    def __exit__(self, *_):
        self._over = True
        self._thread.join()
        for client in self._clients:
            client.close()
