"""pgweir under a service manager: what it tells it, and sockets that it gets from it."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import time

from harness import PgweirCase, machine, wait_until
from harness.pgweir import binary, environment


class Manager:
    """The end of NOTIFY_SOCKET that systemd would hold."""

    def __init__(self, directory):
        self.path = str(directory / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        machine.own(self.path)
        self.socket.settimeout(20)

    def hears(self):
        """The next message, without what a watchdog is told."""
        while True:
            text = self.socket.recv(4096).decode()
            if text != "WATCHDOG=1":
                return text

    def counts_beats(self, seconds):
        """How many of the watchdog's messages come in this time."""
        self.socket.setblocking(False)
        beats, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                beats += self.socket.recv(4096) == b"WATCHDOG=1"
            except BlockingIOError:
                time.sleep(0.01)
        self.socket.settimeout(20)
        return beats

    def close(self):
        self.socket.close()


class Service(PgweirCase):
    def managed(self, env=None):
        weir = self.pgweir({"console": {"admins": ["admin"]}}, {"admin": "s3cret"}, start=False)
        manager = Manager(weir.dir)
        self.addCleanup(manager.close)
        weir.env = {"NOTIFY_SOCKET": manager.path, **(env or {})}
        weir.start()
        return weir, manager

    def test_ready_reloading_stopping(self):
        weir, manager = self.managed()
        self.assertEqual(manager.hears(), "READY=1")
        with socket.create_connection((weir.host, weir.port), timeout=5):
            pass
        for config in (weir.config, {**weir.config, "backends": "nonsense"}):
            weir.config = config
            before = time.clock_gettime(time.CLOCK_MONOTONIC)
            weir.reload()
            state, stamp = manager.hears().split("\n")
            self.assertEqual(state, "RELOADING=1")
            name, usec = stamp.split("=")
            self.assertEqual(name, "MONOTONIC_USEC")
            self.assertGreaterEqual(int(usec) / 1e6, before)
            self.assertLessEqual(int(usec) / 1e6, time.clock_gettime(time.CLOCK_MONOTONIC))
            self.assertEqual(manager.hears(), "READY=1", "also when the new file is bad")
        weir.signal(signal.SIGTERM)
        self.assertEqual(manager.hears(), "STOPPING=1")
        self.assertEqual(weir.wait_end(), 0)

    def test_a_shutdown_from_the_console_is_told(self):
        weir, manager = self.managed()
        self.assertEqual(manager.hears(), "READY=1")
        weir.console("SHUTDOWN WAIT_FOR_SERVERS")
        self.assertEqual(manager.hears(), "STOPPING=1")
        self.assertEqual(weir.wait_end(), 0)

    def test_watchdog_is_fed_by_a_process_that_lives(self):
        weir, manager = self.managed({"WATCHDOG_USEC": "300000"})
        self.assertEqual(manager.hears(), "READY=1")
        self.assertGreaterEqual(manager.counts_beats(2), 7)  # 20 where nothing else runs
        weir.signal(signal.SIGSTOP)
        manager.counts_beats(0.2)
        self.assertEqual(manager.counts_beats(1), 0)
        weir.signal(signal.SIGCONT)
        self.assertGreaterEqual(manager.counts_beats(1), 2)

    def test_lines_of_the_log_tell_where_it_runs(self):
        weir, _ = self.managed({"RAILWAY_REPLICA_ID": "r1", "RAILWAY_DEPLOYMENT_ID": "d2"})
        weir.has_logged("pgweir ready")
        lines = [json.loads(line) for line in weir.log().splitlines()]
        for line in lines:
            self.assertEqual((line["service.node.name"], line["labels.railway_deployment_id"]), ("r1", "d2"))

    def test_watchdog_of_another_process(self):
        _, manager = self.managed({"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"})
        self.assertEqual(manager.hears(), "READY=1")
        self.assertEqual(manager.counts_beats(1), 0)

    def test_manager_that_is_not_there(self):
        weir = self.pgweir(env={"NOTIFY_SOCKET": "/nonexistent/notify"})
        wait_until(lambda: "NOTIFY_SOCKET /nonexistent/notify" in weir.log(), what="word of it in the log")


class Activation(PgweirCase):
    """Sockets that were opened before pgweir, as systemd's socket units do."""

    databases = ("app",)

    def activated(self, weir, *sockets, pid="$$"):
        """Starts it as systemd would: the sockets are its descriptors 3 and following."""
        weir.write_files()
        shuffle = " ".join(f"{3 + i}<&{one.fileno()}" for i, one in enumerate(sockets))
        script = f'exec {shuffle}; export LISTEN_PID={pid} LISTEN_FDS={len(sockets)}; exec "$@"'
        with open(weir.log_path, "ab") as log:
            weir.process = subprocess.Popen(
                machine.as_system_user(
                    ["/bin/bash", "-c", script, "activated", binary(), "--config", weir.config_path]
                ),
                cwd=weir.dir,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[one.fileno() for one in sockets],
            )
        return weir

    def listener(self, family, address):
        # A high number, so that the shell's 3 and following overwrite none of them.
        with socket.socket(family) as plain:
            plain.bind(address)
            plain.listen(16)
            one = socket.socket(fileno=fcntl.fcntl(plain.fileno(), fcntl.F_DUPFD_CLOEXEC, 100))
        self.addCleanup(one.close)
        return one

    def test_clients_are_served_over_inherited_sockets(self):
        weir = self.pgweir(users={"app": "s3cret"}, start=False)
        configured = weir.port
        tcp = self.listener(socket.AF_INET, ("127.0.0.1", 0))
        weir.port = tcp.getsockname()[1]
        directory = machine.scratch("activated")
        path = str(directory / f".s.PGSQL.{weir.port}")
        unix = self.listener(socket.AF_UNIX, path)
        os.chmod(path, 0o777)
        # Who comes before pgweir waits in the kernel's queue.
        early = socket.create_connection(("127.0.0.1", weir.port), timeout=20)
        self.addCleanup(early.close)
        self.activated(weir, tcp, unix)
        early.sendall(b"\0\0\0\x08\x04\xd2\x16\x2f")  # SSLRequest
        self.assertEqual(early.recv(1), b"N")
        for host in ("127.0.0.1", str(directory)):
            with weir.connect("app", "app", host=host) as connection:
                self.assertEqual(connection.execute("select 6 * 7").fetchone(), (42,))
        with self.assertRaises(ConnectionRefusedError, msg="the configured address is not opened too"):
            socket.create_connection(("127.0.0.1", configured), timeout=5)
        weir.has_logged(f"127.0.0.1:{weir.port}, {path}")
        weir.stop()
        self.assertTrue(os.path.exists(path), "the file of an inherited socket belongs to who made it")
        # The manager still holds the socket: the next process goes on where this one has stopped.
        waiting = socket.create_connection(("127.0.0.1", weir.port), timeout=20)
        waiting.close()

    def test_trust_is_refused_on_sockets_that_others_reach(self):
        everywhere = self.listener(socket.AF_INET, ("0.0.0.0", 0))
        here = self.listener(socket.AF_INET, ("127.0.0.1", 0))
        for allowed in (False, True):
            weir = self.pgweir({"auth": {"method": "trust", "trust_on_network": allowed}}, start=False)
            weir.port = everywhere.getsockname()[1]
            self.activated(weir, here, everywhere)
            if allowed:
                machine.wait_until(lambda: "pgweir ready" in weir.log(), what="pgweir ready")
                continue
            self.assertEqual(weir.wait_end(), 78)
            weir.has_logged(f"auth.method must not be trust on 0.0.0.0:{weir.port}")
        # A reload does not bring it in by the back door.
        weir = self.pgweir({"auth": {"method": "scram-sha-256"}}, start=False)
        weir.port = everywhere.getsockname()[1]
        self.activated(weir, everywhere)
        machine.wait_until(lambda: "pgweir ready" in weir.log(), what="pgweir ready")
        weir.config["auth"]["method"] = "trust"
        weir.reload()
        machine.wait_until(lambda: "must not be trust on" in weir.log(), what="the reload refused")

    def test_sockets_meant_for_another_process_are_left_alone(self):
        weir = self.pgweir(start=False)
        tcp = self.listener(socket.AF_INET, ("127.0.0.1", 0))
        self.activated(weir, tcp, pid="1")
        wait_until(weir._listens, seconds=20, what="pgweir on its own port")

    def test_what_does_not_listen_is_refused(self):
        weir = self.pgweir(start=False)
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(datagrams.close)
        self.activated(weir, datagrams)
        self.assertEqual(weir.wait_end(), 1)
        weir.has_logged("inherited descriptor 3: not a stream socket that listens")
