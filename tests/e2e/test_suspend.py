"""SUSPEND: what was read is passed on, then nothing moves until RESUME, and then all of it goes on."""

import os
import socket
import threading
import time
import unittest

import psycopg

from harness import PgweirCase, Wire, wait_until
from harness.wire import error_fields, kinds, query, startup

TIER = {"pool_size": 2, "max_server_connections": 2, "max_clients": 50, "queue_timeout": "1s"}


class Suspend(PgweirCase):
    databases = ("app",)

    def setUp(self):
        self.weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"small": TIER},
                "tenants": {"app": {"tier": "small"}},
                "client": {"query_timeout": "2s"},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        # Connected as long as the test: without any console SUSPEND ends.
        self.console = self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor)
        self.addCleanup(self.console.close)

    def wire(self, **parameters):
        wire = Wire(self.weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app", **parameters)

    def state(self):
        return dict(self.console.execute("SHOW STATE").fetchall())

    def silent(self, wire, seconds=0.5):
        """Nothing is to be heard from it."""
        wire.socket.settimeout(seconds)
        try:
            with self.assertRaises(TimeoutError):
                wire.receive()
        finally:
            wire.socket.settimeout(20)

    def test_nothing_moves_until_resume(self):
        idle, running, transaction = self.wire(), self.wire(), self.wire()
        transaction.query("begin")
        running.send(query("select pg_sleep(0.3), 'ran'"))
        time.sleep(0.1)
        self.assertEqual(self.console.execute("SUSPEND").statusmessage, "SUSPEND")
        self.assertEqual(self.state(), {"active": "no", "paused": "no", "suspended": "yes"})
        idle.send(query("select 'idle'"))
        transaction.send(query("select 'transaction'"))
        newcomer = Wire(self.weir.port)
        self.addCleanup(newcomer.close)
        newcomer.send(startup("app", "app"))
        self.assertEqual(newcomer.receive()[0], b"R")  # who it is, is found out
        for wire in (idle, running, transaction, newcomer):
            self.silent(wire)
        # Longer than queue_timeout and query_timeout: clocks stand still.
        time.sleep(1)
        self.assertEqual(self.console.execute("RESUME").statusmessage, "RESUME")
        self.assertEqual(self.state(), {"active": "yes", "paused": "no", "suspended": "no"})
        self.assertEqual(kinds(running.until_ready()), "TDCZ")
        self.assertEqual(kinds(transaction.until_ready()), "TDCZ")
        self.assertEqual(kinds(transaction.query("commit")), "CZ")
        self.assertEqual(kinds(idle.until_ready()), "TDCZ")
        newcomer.until_ready()
        self.assertEqual(newcomer.value("select 'new'"), "new")

    def test_who_waits_for_a_server_goes_on_waiting(self):
        holders = [self.wire(), self.wire()]
        for holder in holders:
            holder.query("begin")
        waiter = self.wire()
        waiter.send(query("select 'at last'"))
        time.sleep(0.2)
        self.console.execute("SUSPEND")
        time.sleep(1.5)
        self.console.execute("RESUME")
        time.sleep(0.2)
        holders[0].query("commit")
        self.assertEqual(kinds(waiter.until_ready()), "TDCZ")

    def test_it_waits_until_buffers_are_empty(self):
        """A client that reads slowly is given all that Postgres had sent before; one that does not read is
        dropped in the end."""
        slow, deaf = self.wire(), self.wire()
        for wire in (slow, deaf):
            wire.send(query("select repeat('x', 1000) from generate_series(1, 30000)"))
        time.sleep(1)
        done = threading.Event()
        waiter = threading.Thread(target=lambda: (self.console.execute("SUSPEND"), done.set()))
        begun = time.monotonic()
        waiter.start()
        self.addCleanup(waiter.join)
        self.assertFalse(done.wait(1))
        received = 0
        slow.socket.settimeout(3)  # a busy machine pauses, too
        while True:
            try:
                received += len(slow.socket.recv(1 << 20))
            except TimeoutError:
                break
        self.assertGreater(received, 100_000)
        self.assertTrue(done.wait(20))
        self.assertGreater(time.monotonic() - begun, 9)
        self.assertIn("SUSPEND on the pooler's console waits", self.tail_of(deaf))
        self.console.execute("RESUME")
        slow.socket.settimeout(20)
        total = received
        while total < 30_000 * 1000:
            total += len(slow.socket.recv(1 << 20))

    def test_a_cancel_ends_the_wait_and_resumes(self):
        deaf = self.wire()
        deaf.send(query("select repeat('x', 1000) from generate_series(1, 30000)"))
        time.sleep(1)
        refused = []

        def suspend():
            try:
                self.console.execute("SUSPEND")
            except psycopg.Error as error:
                refused.append(error.sqlstate)

        waiter = threading.Thread(target=suspend)
        waiter.start()
        self.addCleanup(waiter.join)
        with self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as other:
            suspended = ("suspended", "yes")
            wait_until(lambda: suspended in other.execute("SHOW STATE").fetchall(), what="SUSPEND at work")
        self.console.cancel()
        waiter.join(20)
        self.assertEqual(refused, ["57014"])
        self.assertEqual(self.state(), {"active": "yes", "paused": "no", "suspended": "no"})
        self.assertEqual(len(deaf.until_ready()), 30000 + 3)

    def test_it_ends_with_the_last_console(self):
        """As PgBouncer 1.18 does: whoever stays keeps it, also one that has not ordered it; nobody left ends it."""
        client, other = self.wire(), self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor)
        self.addCleanup(other.close)
        self.console.execute("SUSPEND")
        client.send(query("select 'at last'"))
        self.console.close()
        self.silent(client)
        self.assertEqual(dict(other.execute("SHOW STATE").fetchall())["suspended"], "yes")
        other.close()
        self.assertEqual(kinds(client.until_ready()), "TDCZ")
        wait_until(lambda: "the last console has gone" in self.weir.log(), what="the log's word of it")
        # Whose connection breaks while SUSPEND waits for somebody who does not read.
        deaf, breaking = self.wire(), self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor)
        deaf.send(query("select repeat('x', 1000) from generate_series(1, 30000)"))
        time.sleep(1)

        def suspend():
            with self.assertRaises(psycopg.OperationalError):
                breaking.execute("SUSPEND")

        waiter = threading.Thread(target=suspend)
        waiter.start()
        self.addCleanup(waiter.join)
        wait_until(lambda: self.weir.log().count('"message":"suspended"') == 2, what="SUSPEND at work")
        client.send(query("select 'at last'"))
        self.silent(client)
        socket.socket(fileno=os.dup(breaking.fileno())).shutdown(socket.SHUT_RDWR)
        self.assertEqual(kinds(client.until_ready()), "TDCZ")
        self.assertEqual(len(deaf.until_ready()), 30000 + 3)

    def test_pause_stays_without_a_console(self):
        """As in PgBouncer 1.18, whether it waits or not."""
        busy, client = self.wire(), self.wire()
        busy.query("begin")

        def pause():
            with self.assertRaises(psycopg.OperationalError):
                self.console.execute("PAUSE")

        waiter = threading.Thread(target=pause)
        waiter.start()
        self.addCleanup(waiter.join)
        wait_until(lambda: '"message":"paused"' in self.weir.log(), what="PAUSE at work")
        socket.socket(fileno=os.dup(self.console.fileno())).shutdown(socket.SHUT_RDWR)
        waiter.join()
        busy.query("commit")
        with self.weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            self.assertEqual(dict(console.execute("SHOW STATE").fetchall())["paused"], "yes")
        client.send(query("select 'at last'"))
        self.silent(client)
        self.weir.console("RESUME")
        self.assertEqual(kinds(client.until_ready()), "TDCZ")

    def tail_of(self, wire):
        """What stands at the end of all that comes."""
        tail = b""
        try:
            while more := wire.socket.recv(1 << 20):
                tail = (tail + more)[-4000:]
        except ConnectionResetError:
            return "SUSPEND on the pooler's console waits"  # in the middle of a row there is no place for words
        return tail.decode(errors="replace")

    def test_orders_that_do_not_fit(self):
        self.console.execute("SUSPEND")
        for command in ("SUSPEND", "PAUSE", "PAUSE app"):
            with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
                self.console.execute(command)
        self.console.execute("RESUME")
        self.console.execute("PAUSE")
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
            self.console.execute("SUSPEND")
        self.console.execute("RESUME")
        self.assertEqual(self.wire().value("select 1"), "1")

    def test_kill_cancel_and_notify_meanwhile(self):
        victim, listener, speaker = self.wire(application_name="victim"), self.wire(), self.wire()
        listener.query("listen news")
        speaker.query("select 1")
        victim.query("begin")
        rows = self.console.execute("SHOW CLIENTS").fetchall()
        (victims_id,) = [row[-1] for row in rows if "victim" in row]
        self.console.execute("SUSPEND")
        self.postgres.sql("notify news, 'hello'", dbname="app")
        self.silent(listener)
        self.console.execute(f"KILL_CLIENT {victims_id}")
        messages = victim.until_closed()
        self.assertEqual(error_fields(messages[-1][1])["C"], "57P01")
        self.console.execute("RESUME")
        self.assertEqual(listener.receive()[0], b"A")
        self.assertEqual(speaker.value("select 2"), "2")

    def test_shutdown_does_not_wait_for_resume(self):
        client = self.wire()
        client.query("begin")
        client.send(query("select pg_sleep(0.2)"))
        time.sleep(0.1)
        self.console.execute("SUSPEND")
        begun = time.monotonic()
        self.weir.signal()
        self.console.close()
        self.assertEqual(kinds(client.until_ready())[-1], "Z")
        client.send(query("commit"))
        client.until_closed()
        client.close()
        self.assertEqual(self.weir.wait_end(), 0)
        self.assertLess(time.monotonic() - begun, 4)


if __name__ == "__main__":
    unittest.main()
