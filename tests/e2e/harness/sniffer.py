"""Counts the packets of a port on the loopback interface."""

import socket
import struct
import threading
import unittest

ETH_P_ALL = 0x0003
ETHERNET = 14
TCP = 6
IPV4, IPV6 = 0x0800, 0x86DD


class Sniffer:
    """`packets` has (from port, to port, flags, bytes) of each TCP packet that came from the port or went there.

    The kernel shows packets of loopback twice, as sent and as received: the latter are counted.
    """

    def __init__(self, port):
        self.packets = []
        self._port = port
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        except PermissionError as error:
            raise unittest.SkipTest(f"may not look at packets: {error}") from None
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(10)
        self._socket.close()

    def _listen(self):
        while not self._over.is_set():
            try:
                frame, (_, _, kind, _, _) = self._socket.recvfrom(65536)
            except TimeoutError:
                continue
            if kind != socket.PACKET_OUTGOING:
                self._look_at(frame)

    def _look_at(self, frame):
        (protocol,) = struct.unpack("!H", frame[12:14])
        if protocol == IPV4 and frame[ETHERNET + 9] == TCP:
            at = ETHERNET + 4 * (frame[ETHERNET] & 15)
        elif protocol == IPV6 and frame[ETHERNET + 6] == TCP:
            at = ETHERNET + 40
        else:
            return
        source, target = struct.unpack("!HH", frame[at : at + 4])
        if self._port in (source, target):
            flags = frame[at + 13]
            self.packets.append((source, target, flags, len(frame) - at - 4 * (frame[at + 12] >> 4)))
