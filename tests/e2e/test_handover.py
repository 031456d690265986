"""listen.reuse_port: a new pgweir is started beside the old one, which is then told to end."""

import contextlib
import os
import re
import signal
import threading
import time
import unittest
from pathlib import Path

import psycopg

from harness import TRUST, PgweirCase, Wire, pg_program, run, wait_until
from harness.machine import write
from harness.wire import Closed, error_fields, first_error, kinds, query

CLIENTS = 8
DEPLOYS = 2
PGBENCH_SECONDS = 12


class Regulars:
    """Clients that keep their connection, and have one transaction after the other, with pauses."""

    def __init__(self, port, clients):
        self.done = 0
        self.told = 0
        self.errors = []
        self._port = port
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._come, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _come(self):
        while not self._stop.is_set():
            try:
                with Wire(self._port) as wire:
                    wire.login("app", "app")
                    while not self._stop.is_set() and self._transaction(wire):
                        time.sleep(0.02)
            except (AssertionError, Closed, OSError) as error:
                with self._lock:
                    self.errors.append(repr(error))

    def _transaction(self, wire):
        """False: it was told to go, before anything was begun."""
        wire.send(query("begin"))
        messages = [wire.receive()]
        if messages[0][0] == b"E":
            told = error_fields(messages[0][1])
            with self._lock:
                self.told += 1
                if told["C"] != "57P01" or not told.get("H"):
                    self.errors.append(told)
            return False
        messages += wire.until_ready()
        for statement in ("select 1", "commit"):
            messages += wire.query(statement)
        assert kinds(messages) == "CZTDCZCZ", messages
        with self._lock:
            self.done += 1
        return True


def in_pools(weir, column):
    columns, rows = weir.console("SHOW POOLS")
    return sum(int(row[columns.index(column)]) for row in rows)


class Handover(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def pair(self, **listen):
        """The old one runs; both are made for the same places."""
        config = {
            "auth": {"method": "trust"},
            "listen": {"reuse_port": True, **listen},
            "pool": {"unknown_tenants": True, "default_tier": "test"},
            "tiers": {"test": {"pool_size": 8, "max_server_connections": 16, "max_clients": 100}},
            "process": {"shutdown_timeout": "20s"},
        }
        old = self.pgweir(config, {"app": "s3cret", "admin": "adm1n"})
        new = self.pgweir(config, {"app": "s3cret", "admin": "adm1n"}, start=False)
        new.port = new.config["listen"]["port"] = old.port
        new.socket_dir = new.config["listen"]["unix_socket_dir"] = old.socket_dir
        return old, new

    def start_new(self, new):
        new.start(wait=False)
        wait_until(lambda: "pgweir ready" in new.log(), seconds=20, what="the new pgweir ready")

    def keep_handshakes(self):
        """What README asks of the kernel, where we may: in the middle of the TCP handshake clients go to the other one."""
        setting = Path("/proc/sys/net/ipv4/tcp_migrate_req")
        with contextlib.suppress(OSError):
            before = setting.read_text()
            setting.write_text("1")
            self.addCleanup(setting.write_text, before)

    def test_no_transaction_that_ends_in_time_fails(self):
        self.keep_handshakes()
        old, new = self.pair()
        stop, errors, done = threading.Event(), [], [0]

        def load():
            while not stop.is_set():
                try:
                    # As applications without a pool of their own do: a connection for each transaction.
                    with Wire(old.port) as wire:
                        wire.login("app", "app")
                        for statement in ("begin", "select 1", "commit"):
                            error = first_error(wire.query(statement))
                            if error:
                                errors.append(error)
                        done[0] += 1
                except (Closed, OSError) as error:
                    errors.append(error)

        threads = [threading.Thread(target=load, daemon=True) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        wait_until(lambda: done[0] > 200, what="load")
        long = Wire(old.port).login("app", "app")
        self.addCleanup(long.close)
        long.query("begin")
        self.start_new(new)
        before = done[0]
        wait_until(lambda: done[0] > before + 100, what="load on both")
        old.signal(signal.SIGTERM)
        before = done[0]
        wait_until(lambda: done[0] > before + 200, what="load on the new one")
        # The old one lives for as long as somebody has a transaction there.
        self.assertTrue(old.alive)
        self.assertIsNone(first_error(long.query("select 1")))
        self.assertIsNone(first_error(long.query("commit")))
        self.assertEqual(old.wait_end(), 0)
        stop.set()
        for thread in threads:
            thread.join(20)
        print(f"\n  {done[0]} transactions, each on a connection of its own, {len(errors)} errors", flush=True)
        self.assertEqual(errors, [])
        with Wire(new.port) as wire:
            self.assertEqual(wire.login("app", "app").value("select 2"), "2")

    def test_deploys_one_after_the_other_under_pgbench(self):
        self.keep_handshakes()
        old, new = self.pair()
        script = write(old.dir / "transaction.sql", "begin;\nselect 1;\nselect pg_sleep(0.005);\ncommit;\n")
        command = [pg_program("pgbench"), "-h", old.host, "-p", old.port, "-U", "app", "-n", "-C", "-c", CLIENTS, "-j"]
        command += [CLIENTS, "-T", PGBENCH_SECONDS, "-f", script, "app"]
        results = []
        pgbench = threading.Thread(target=lambda: results.append(run(command)), daemon=True)
        pgbench.start()
        with Regulars(old.port, CLIENTS) as regulars:
            for _ in range(DEPLOYS):
                before = regulars.done
                wait_until(lambda before=before: regulars.done > before + 100, seconds=30, what="work")
                self.start_new(new)
                old.signal(signal.SIGTERM)
                self.assertEqual(old.wait_end(), 0)
                self.assertTrue(pgbench.is_alive(), "pgbench ended before the deploys did")
                old, new = new, self.successor(new)
            pgbench.join(60)
        output = results[0].stdout + results[0].stderr
        transactions = int(re.search(r"actually processed: (\d+)", output)[1])
        print(
            f"\n  {DEPLOYS} deploys: {transactions} transactions of pgbench, each on a connection of its own;"
            f" {regulars.done} of clients that stay, {regulars.told} of whom were told to come again",
            flush=True,
        )
        self.assertEqual(results[0].returncode, 0, output[-3000:])
        self.assertRegex(output, r"failed transactions: 0 \(")
        # libpq may print the 57P01 that stands behind the last answer of a connection; nobody waits for one.
        self.assertNotRegex(output, re.compile("error:|abort"))
        self.assertGreater(transactions, 200)
        # Each was told once a deploy, between two transactions, and what to do.
        self.assertEqual(regulars.errors, [])
        self.assertEqual(regulars.told, DEPLOYS * CLIENTS)

    def successor(self, weir):
        after = self.pgweir(weir.config, weir.users, start=False)
        after.port, after.socket_dir = weir.port, weir.socket_dir
        return after

    def test_the_unix_socket_is_taken_over(self):
        old, new = self.pair()

        def answer():
            with psycopg.connect(
                host=old.socket_dir, port=old.port, dbname="app", user="app", connect_timeout=10
            ) as connection:
                return connection.execute("select 3").fetchone()[0]

        self.assertEqual(answer(), 3)
        path = f"{old.socket_dir}/.s.PGSQL.{old.port}"
        before = os.stat(path).st_ino
        self.start_new(new)
        self.assertNotEqual(os.stat(path).st_ino, before)
        self.assertEqual(answer(), 3)
        old.signal(signal.SIGTERM)
        self.assertEqual(old.wait_end(), 0)
        # The path is the new one's: the old one has left it alone.
        self.assertEqual(answer(), 3)
        new.stop()
        self.assertFalse(os.path.exists(path))

    def drain_with_queue(self, reuse_port, **tier):
        """Clients that all ask at once, more than there are servers; what each hears after SIGTERM."""
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "listen": {"reuse_port": reuse_port},
                "pool": {"unknown_tenants": True, "default_tier": "test"},
                "tiers": {"test": {"max_clients": 100, "queue_timeout": "60s", **tier}},
                "process": {"shutdown_timeout": "60s"},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )
        wires = [Wire(weir.port, timeout=60).login("app", "app") for _ in range(6)]
        for wire in wires:
            self.addCleanup(wire.close)
            wire.query("select 1")
        return weir, wires

    def assert_served_and_told(self, messages):
        messages = [each for each in messages if each[0] != b"N"]  # who waits for long is told so
        self.assertEqual(kinds(messages), "TDCZE", messages)
        told = error_fields(messages[-1][1])
        self.assertEqual((told["S"], told["C"]), ("FATAL", "57P01"))
        self.assertIn("Connect again", told["H"])

    def test_who_queues_is_served_before_he_is_told_to_go(self):
        for reuse_port in (False, True):
            with self.subTest(reuse_port=reuse_port):
                weir, wires = self.drain_with_queue(reuse_port, pool_size=3, max_server_connections=3)
                for wire in wires:
                    wire.send(query("select pg_sleep(2)"))
                wait_until(lambda weir=weir: in_pools(weir, "cl_waiting") == 3, what="3 that queue")
                weir.signal(signal.SIGTERM)
                for wire in wires:
                    self.assert_served_and_told(wire.until_closed())
                self.assertEqual(weir.wait_end(), 0)

    def test_who_keeps_his_server_is_told_to_go_behind_his_request(self):
        weir, wires = self.drain_with_queue(
            False, pool_mode="session", pool_size=6, max_server_connections=6, max_pinned_clients=6
        )
        for wire in wires:
            wire.send(query("select pg_sleep(3)"))
        wait_until(lambda: in_pools(weir, "cl_active") == 6, what="all at work")
        weir.signal(signal.SIGTERM)
        for wire in wires:
            self.assert_served_and_told(wire.until_closed())
        self.assertEqual(weir.wait_end(), 0)

    def test_who_is_refused_while_the_process_ends_is_told_to_go(self):
        weir, wires = self.drain_with_queue(False, pool_size=1, max_server_connections=1, queue_timeout="2s")
        for wire in wires[:2]:
            wire.send(query("begin; select pg_sleep(4); commit"))
        wait_until(lambda: in_pools(weir, "cl_waiting") == 1, what="one that queues")
        weir.signal(signal.SIGTERM)
        ends = sorted((wire.until_closed() for wire in wires[:2]), key=len)
        self.assertEqual([kinds(each) for each in ends], ["EZE", "CTDCCZE"])
        self.assertEqual([error_fields(text)["C"] for kind, text in ends[0] if kind == b"E"], ["53300", "57P01"])
        self.assertEqual(weir.wait_end(), 0)

    def test_who_is_paused_is_not_waited_for(self):
        weir, wires = self.drain_with_queue(False, pool_size=2, max_server_connections=2)
        weir.console("PAUSE app")
        wires[0].send(query("select 1"))
        wait_until(lambda: in_pools(weir, "cl_waiting") == 1, what="one that queues")
        weir.signal(signal.SIGTERM)
        self.assertEqual(kinds(wires[0].until_closed()), "E")
        self.assertEqual(weir.wait_end(), 0)

    def test_idle_clients_are_closed_between_transactions(self):
        old, _ = self.pair()
        idle = Wire(old.port).login("app", "app")
        idle.query("select 1")
        fresh = Wire(old.port).login("app", "app")
        self.addCleanup(idle.close)
        self.addCleanup(fresh.close)
        begun = time.monotonic()
        old.signal(signal.SIGTERM)
        self.assertEqual(first_error(idle.until_closed())["C"], "57P01")
        # One that has just come may have a transaction, for a moment.
        self.assertIsNone(first_error(fresh.query("select 1")))
        self.assertEqual(first_error(fresh.until_closed())["C"], "57P01")
        late = Wire(old.port) if self._listens(old) else None
        self.assertIsNone(late)
        self.assertEqual(old.wait_end(), 0)
        self.assertLess(time.monotonic() - begun, 10)

    @staticmethod
    def _listens(weir):
        try:
            Wire(weir.port).close()
            return True
        except OSError:
            return False

    def test_without_it_the_port_is_taken(self):
        old, new = self.pair(reuse_port=False)
        new.start(wait=False)
        self.assertNotEqual(new.wait_end(), 0)
        self.assertIn("address already in use", new.log())
        self.assertTrue(old.alive)


if __name__ == "__main__":
    unittest.main()
