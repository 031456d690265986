"""Postgres dies under load, pgweir is told to stop: no acknowledged commit is lost or doubled."""

import json
import os
import signal
import socket
import time
import unittest

import psycopg

from harness import Ledger, PgweirCase, Wire, machine, wait_until
from harness.wire import CANCEL_REQUEST, error_fields, first_error, kinds, query, special, startup

RECOVERY_SECONDS = 2


class Crash(PgweirCase):
    postgres_options = {"fsync": True}
    databases = ("bank",)

    def setUp(self):
        if self.postgres.process is None:
            self.postgres.start()
        Ledger.prepare(self.postgres)

    def tearDown(self):
        if self.postgres.process is None:
            self.postgres.start()
        super().tearDown()

    def weir(self, **config):
        tier = {"pool_size": 6, "max_server_connections": 6, "max_clients": 100, "queue_timeout": "30s"}
        return self.pgweir(
            {
                "tiers": {"test": tier},
                "tenants": {"bank": {"tier": "test", "backend": "main", "database": "bank"}},
                **config,
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def working(self, ledger, count):
        wait_until(lambda: len(ledger.acknowledged) >= count, seconds=60, what=f"{count} entries")

    def accepting_at(self):
        """Waits until Postgres accepts connections; the moment."""
        self.postgres.wait_ready()
        return time.monotonic()

    def check_recovery(self, ledger, ready):
        wait_until(lambda: ledger.first_answer_after(ready), seconds=30, what="an answer after the crash")
        took = ledger.first_answer_after(ready) - ready
        self.assertLess(took, RECOVERY_SECONDS, "recovery took too long")
        before = len(ledger.acknowledged)
        self.working(ledger, before + 200)

    def test_kill_9_of_everything(self):
        """The whole of Postgres is killed and started again, three times."""
        weir = self.weir()
        with Ledger(weir) as ledger:
            for round in range(3):
                self.working(ledger, len(ledger.acknowledged) + 300)
                self.postgres.kill()
                time.sleep((0.0, 0.3, 1.5)[round])
                self.postgres.start(wait=False)
                self.check_recovery(ledger, self.accepting_at())
        ledger.check(self.postgres)

    def test_kill_9_of_one_backend(self):
        """Postgres ends all sessions (57P02) and recovers on its own."""
        weir = self.weir()
        with Ledger(weir) as ledger:
            for _ in range(2):
                self.working(ledger, len(ledger.acknowledged) + 300)
                victim = self.postgres.sql(
                    "select pid from pg_stat_activity where datname = 'bank' and usename = 'app' limit 1"
                )[0][0]
                os.kill(victim, signal.SIGKILL)
                wait_until(lambda: "reinitializing" in self.postgres.log(), what="Postgres noticed")
                self.check_recovery(ledger, self.accepting_at())
        ledger.check(self.postgres)

    def test_orderly_restart(self):
        """A fast shutdown ends all sessions by 57P01."""
        weir = self.weir()
        with Ledger(weir) as ledger:
            self.working(ledger, 300)
            self.postgres.stop()
            self.postgres.start(wait=False)
            self.check_recovery(ledger, self.accepting_at())
        ledger.check(self.postgres)

    def test_sessions_are_terminated(self):
        """pg_terminate_backend again and again, and everybody else works on."""
        weir = self.weir()
        with Ledger(weir) as ledger:
            for _ in range(15):
                time.sleep(0.1)
                self.postgres.sql(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where usename = 'app' and random() < 0.5"
                )
            self.working(ledger, len(ledger.acknowledged) + 200)
        ledger.check(self.postgres)

    def test_what_a_client_is_told(self):
        """In the middle of a transaction, with nothing half sent: a true SQLSTATE, once, and the end."""
        weir = self.weir(auth={"method": "trust"})
        with Wire(weir.port) as wire:
            wire.login("app", "bank")
            wire.query("begin")
            pid = wire.value("select pg_backend_pid()")
            self.postgres.sql(f"select pg_terminate_backend({pid})")
            messages = wire.until_closed()
            self.assertEqual(kinds(messages), "E")
            self.assertEqual(first_error(messages)["C"], "57P01")

    def test_idle_clients_do_not_notice(self):
        weir = self.weir()
        with weir.connect("bank", "app") as client:
            client.execute("select 1")
            self.postgres.stop()
            self.postgres.start()
            self.assertEqual(client.execute("select 2").fetchone(), (2,))

    def test_waiting_clients_do_not_notice(self):
        """Who asks while Postgres is away waits, and is served when it is back."""
        weir = self.weir(auth={"method": "trust"})
        with Wire(weir.port) as wire:
            wire.login("app", "bank")
            self.assertEqual(wire.value("select 1"), "1")
            self.postgres.stop()
            wire.send(query("select 'patience'"))
            time.sleep(1)
            self.postgres.start(wait=False)
            messages = wire.until_ready()
            self.assertIn(b"patience", dict(messages)[b"D"])


class Stop(PgweirCase):
    databases = ("app",)

    def weir(self, shutdown_timeout="20s"):
        weir = self.pgweir({"process": {"shutdown_timeout": shutdown_timeout}}, {"app": "s3cret"})
        return weir

    def in_transaction(self, weir):
        client = weir.connect("app", "app")
        self.addCleanup(client.close)
        client.execute("begin")
        client.execute("create table if not exists drained (n int)")
        return client

    def refuses(self, weir):
        try:
            Wire(weir.port).close()
            return False
        except OSError:
            return True

    def test_sigterm_lets_transactions_finish(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number.name):
                weir = self.weir()
                client = self.in_transaction(weir)
                idle = weir.connect("app", "app")
                self.addCleanup(idle.close)
                weir.signal(number)
                wait_until(lambda weir=weir: self.refuses(weir), what="no more logins")
                client.execute("insert into drained values (1)")
                client.execute("commit")
                self.assertEqual(weir.wait_end(), 0)
                with self.assertRaises(psycopg.Error):
                    idle.execute("select 1")
        self.assertEqual(self.postgres.sql("select count(*) from drained", "app"), [(2,)])
        self.postgres.sql("drop table drained", "app")

    def assert_cut_off(self, weir, transactions):
        told = [line for line in weir.log().splitlines() if '"message":"transactions cut off"' in line]
        self.assertEqual([json.loads(line)["pgweir"]["count"] for line in told], [transactions] if transactions else [])

    def test_a_second_signal_that_meets_no_transaction(self):
        weir = self.pgweir({"auth": {"method": "trust"}, "process": {"shutdown_timeout": "20s"}}, {"app": "s3cret"})
        silent = [Wire(weir.port).login("app", "app") for _ in range(3)]  # the first signal waits 5 s for them
        for wire in silent:
            self.addCleanup(wire.close)
        silent[0].query("begin")
        silent[0].query("commit")
        weir.signal()
        wait_until(lambda: self.refuses(weir), what="no more logins")
        weir.signal()
        self.assertEqual(weir.wait_end(), 0)
        weir.has_logged('"message":"signal: ends at once"', 1)
        self.assert_cut_off(weir, 0)

    def test_a_second_signal_ends_at_once(self):
        weir = self.weir()
        client = self.in_transaction(weir)
        weir.signal()
        time.sleep(0.3)
        self.assertTrue(weir.alive)
        begun = time.monotonic()
        weir.signal()
        self.assertEqual(weir.wait_end(), 70)
        self.assertLess(time.monotonic() - begun, 10)
        with self.assertRaises(psycopg.Error):
            client.execute("commit")
        self.assert_cut_off(weir, 1)

    def test_a_second_signal_waits_for_no_client_that_keeps_its_side_open(self):
        weir = self.pgweir({"auth": {"method": "trust"}, "process": {"shutdown_timeout": "20s"}}, {"app": "s3cret"})
        silent = [Wire(weir.port) for _ in range(3)]  # none of them closes, nor reads a word
        for wire in silent:
            self.addCleanup(wire.close)
            wire.login("app", "app")
        silent[0].query("begin")
        weir.signal()
        wait_until(lambda: self.refuses(weir), what="no more logins")
        begun = time.monotonic()
        weir.signal()
        self.assertEqual(weir.wait_end(), 70)
        self.assertLess(time.monotonic() - begun, 4.5, "it waits 5 s for whoever is not in a hurry")
        for wire in silent:
            self.assertIn(b"57P01", wire.until_closed()[-1][1])

    def test_the_drain_has_an_end(self):
        weir = self.weir("1s")
        client = self.in_transaction(weir)
        begun = time.monotonic()
        weir.signal()
        self.assertEqual(weir.wait_end(), 70)
        self.assertGreater(time.monotonic() - begun, 0.8)
        weir.has_logged('"message":"shutdown_timeout is over"', 1)
        self.assert_cut_off(weir, 1)
        with self.assertRaises(psycopg.Error):
            client.execute("commit")
        self.assertEqual(self.postgres.sql("select to_regclass('drained') is null", "app"), [(True,)])

    def test_a_drain_without_an_end_waits_as_long_as_it_takes(self):
        for timeout in ("never", "0"):
            with self.subTest(timeout):
                weir = self.weir(timeout)
                client = self.in_transaction(weir)
                weir.signal()
                wait_until(lambda weir=weir: self.refuses(weir), what="no more logins")
                time.sleep(0.5)  # of no timeout, it would be over by now
                client.execute("insert into drained values (1)")
                client.execute("commit")
                self.assertEqual(weir.wait_end(), 0)
                self.assert_cut_off(weir, 0)
        self.assertEqual(self.postgres.sql("select count(*) from drained", "app"), [(2,)])
        self.postgres.sql("drop table drained", "app")

    def test_a_stop_under_load(self):
        """Clients at work when the signal comes: every acknowledged entry is there."""
        self.postgres.create_database("bank", owner="app")
        with self.postgres.connect("bank", "app") as connection:
            connection.execute("create table ledger (id bigint, client int)")
        weir = self.pgweir(
            {"tenants": {"bank": {"tier": "pro", "backend": "main", "database": "bank"}}}, {"app": "s3cret"}
        )
        with Ledger(weir) as ledger:
            wait_until(lambda: len(ledger.acknowledged) > 300, seconds=30, what="work")
            weir.signal()
            self.assertEqual(weir.wait_end(), 0)
        ledger.check(self.postgres)

    def test_who_has_not_said_what_it_wants_is_heard_first(self):
        weir = self.pgweir({"auth": {"method": "trust"}}, {"app": "s3cret"})
        sleeper = Wire(weir.port)
        self.addCleanup(sleeper.close)
        sleeper.login("app", "app")
        sleeper.send(query("select pg_sleep(60)"))
        wait_until(lambda: self.sleeping() == 1, what="the query")
        canceller, newcomer = Wire(weir.port), Wire(weir.port)  # accepted, and silent as yet
        for wire in (canceller, newcomer):
            self.addCleanup(wire.close)
        weir.connect("app", "app").close()  # accepted behind them
        weir.signal()
        wait_until(lambda: self.refuses(weir), what="no more logins")
        newcomer.send(startup("app", "app"))
        canceller.send(special(CANCEL_REQUEST, sleeper.key))
        self.assertEqual(canceller.until_closed(), [], "a cancel request has no answer")
        self.assertEqual(error_fields(newcomer.until_closed()[-1][1])["C"], "57P01")
        self.assertEqual(first_error(sleeper.until_closed())["C"], "57014")
        self.assertEqual(weir.wait_end(), 0)

    def sleeping(self):
        text = "select count(*) from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'"
        return self.postgres.sql(text)[0][0]

    def test_a_crash_of_pgweir_leaves_nothing_that_blocks_a_restart(self):
        weir = self.weir()
        held = weir.connect("app", "app")
        self.addCleanup(held.close)
        weir.signal(signal.SIGKILL)
        self.assertEqual(weir.wait_end(), -signal.SIGKILL)
        path = f"{weir.socket_dir}/.s.PGSQL.{weir.port}"
        self.assertTrue(os.path.exists(path), "nobody was there to remove it")
        weir.start()
        for host in (weir.host, weir.socket_dir):
            with weir.connect("app", "app", host=host) as client:
                self.assertEqual(client.execute("select 1").fetchone(), (1,))

    @unittest.skipUnless(machine.runs_as_root(), "a socket of somebody else")
    def test_a_socket_that_somebody_else_has_left(self):
        weir = self.pgweir(start=False)
        path = f"{weir.socket_dir}/.s.PGSQL.{weir.port}"
        os.chown(weir.socket_dir, 0, 0)
        os.chmod(weir.socket_dir, 0o1777)  # as /tmp
        for mode, told in ((0o777, "nobody answers on the socket that is there"), (0o700, "may not use the socket")):
            with socket.socket(socket.AF_UNIX) as left:
                left.bind(path)
                left.listen()
            os.chmod(path, mode)
            weir.write_files()
            done = weir.command_line("--config", weir.config_path)
            self.assertEqual(done.returncode, 1)
            self.assertIn(told, done.stderr)
            os.unlink(path)

    def test_the_port_is_free_again(self):
        weir = self.weir()
        weir.connect("app", "app").close()
        weir.stop()
        weir.start()
        with weir.connect("app", "app") as client:
            self.assertEqual(client.execute("select 1").fetchone(), (1,))


if __name__ == "__main__":
    unittest.main()
