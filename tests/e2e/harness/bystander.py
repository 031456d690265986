"""A client that a fault elsewhere is no business of."""

import threading
import time

from .wire import Wire, first_error

PAUSE_SECONDS = 0.002


class Bystander:
    """Asks all the time, from beginning to end, and keeps how long each answer took."""

    def __init__(self, weir, user, database):
        self.errors = []
        self._waits = []  # (asked at, seconds)
        self._stop = threading.Event()
        self._wire = Wire(weir.port).login(user, database)
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        while not self._stop.is_set():
            begun = time.monotonic()
            error = first_error(self._wire.query("select 1"))
            self._waits.append((begun, time.monotonic() - begun))
            if error:
                self.errors.append(error)
            time.sleep(PAUSE_SECONDS)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)
        self._wire.close()

    @property
    def asked(self):
        return len(self._waits)

    @property
    def worst(self):
        return max(wait for _, wait in self._waits)

    def added(self, since, until):
        """By how much the wait that one in twenty exceeds is longer between these two moments than before them."""

        def slow(waits):
            assert len(waits) >= 20, f"only {len(waits)} queries"
            return sorted(waits)[len(waits) * 95 // 100]

        before = slow([wait for at, wait in self._waits if at < since])
        return slow([wait for at, wait in self._waits if since <= at <= until]) - before
