"""A proxy between pgweir and Postgres that does to the connections what networks and dying machines do."""

import asyncio
import os
import socket
import struct
import sys
import threading

from . import machine

CHUNK = 65536
GARBAGE_BYTES = 64


class FaultProxy:
    """Forwards to a Postgres, from a port of its own, until it is told otherwise.

    pass        forwards
    latency     forwards each piece after `seconds`
    blackhole   takes everything and says nothing, for connections that there are and for new ones
    garbage     answers with random bytes ahead of what Postgres says
    refuse      new connections are reset; those that there are go on
    swallow     new connections are accepted and never answered, also when that is over; those that there are go on
    mute        the same, but that they hear the first answer
    """

    def __init__(self, target):
        self.target = target
        self.host = "127.0.0.1"
        self.port = machine.free_port()
        self.mode = "pass"
        self.seconds = 0.5
        self.accepted = 0
        self._writers = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait(10)

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._changed = asyncio.Event()
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, self.host, self.port, backlog=256)
        )
        ready.set()
        self._loop.run_forever()
        # What was called off comes to its end.
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    def set(self, mode, seconds=0.5):
        """What happens from now on."""

        def change():
            self.mode, self.seconds = mode, seconds
            self._changed.set()
            self._changed = asyncio.Event()

        self._call(change)

    def reset(self):
        """All connections end with RST, in the middle of whatever they say."""

        def end():
            for writer in list(self._writers):
                self._abort(writer)

        self._call(end)

    def close(self):
        def end():
            self._server.close()
            for writer in list(self._writers):
                self._abort(writer)
            self._loop.stop()

        self._loop.call_soon_threadsafe(end)
        self._thread.join(10)
        self._loop.close()

    def _call(self, what):
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (what(), done.set()))
        done.wait(10)

    @staticmethod
    def _abort(writer):
        raw = writer.get_extra_info("socket")
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            return  # it is closed already
        writer.transport.abort()

    async def _serve(self, reader, writer):
        self.accepted += 1
        if self.mode == "refuse":
            return self._abort(writer)
        self._writers.add(writer)
        onward = None
        try:
            if self.mode == "swallow":
                while await reader.read(CHUNK):
                    pass
                return
            await self._while_silent()
            answers = 1 if self.mode == "mute" else sys.maxsize
            back, onward = await asyncio.open_connection(self.target.host, self.target.port)
            self._writers.add(onward)
            pumps = [
                asyncio.ensure_future(self._pump(reader, onward)),
                asyncio.ensure_future(self._pump(back, writer, answers)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            # The other side is told, after the last bytes.
            for side in (writer, onward):
                if side.can_write_eof() and not side.is_closing():
                    side.write_eof()
            await asyncio.wait(pumps, timeout=5)
            for pump in pumps:
                pump.cancel()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for side in (writer, onward):
                if side is not None:
                    self._writers.discard(side)
                    side.close()

    async def _while_silent(self):
        while self.mode == "blackhole":
            await self._changed.wait()

    async def _pump(self, reader, writer, answers=0):
        """`answers`: how many pieces of what the Postgres says are forwarded; 0: it is the other direction."""
        forwarded = 0
        try:
            while data := await reader.read(CHUNK):
                await self._while_silent()
                if self.mode == "latency":
                    await asyncio.sleep(self.seconds)
                if self.mode == "garbage" and answers:
                    data = b"\0" + os.urandom(GARBAGE_BYTES) + data
                forwarded += 1
                if answers and forwarded > answers:
                    continue
                writer.write(data)
                await writer.drain()
        except OSError:
            self._abort(writer)
