"""Backends that move: a primary and its standby, one of which is used, and the other when the roles change."""

import contextlib
import os
import re
import signal
import threading
import time
import unittest

import psycopg

from harness import Ledger, PgweirCase, Postgres, Wire, free_port, pg_program, run, wait_until
from harness.fake_server import (
    PARAMETERS,
    READY,
    AUTHENTICATION_OK,
    FakePostgres,
    complete,
    data_row,
    row_description,
)
from harness.wire import Closed, error_fields, first_error, message, query

HBA = """\
local all all trust
local replication all trust
host all all 127.0.0.1/32 trust
"""
REJECT = "local all all trust\nhost all all 127.0.0.1/32 reject\n"
LOGIN_FAILED = '"message":"server login failed"'
RECOVERY_SECONDS = 5
DOWN_SECONDS = 2
FROZEN_SECONDS = 8  # until a primary that stands still is known to: its answer is awaited, and one to a login
PGBENCH_CLIENTS = 8
PGBENCH_SECONDS = 5
# Rounds that may fail once there is a primary again: one may be under way, one may come too early.
LATE_ROUNDS = 3


class Pair(PgweirCase):
    """A primary and a standby of their own for each test, since roles change for good."""

    @classmethod
    def setUpClass(cls):
        cls._class_weirs = []

    def pair(self, *, synchronous=False):
        self.primary = Postgres(hba=HBA, fsync=synchronous)
        self.addCleanup(lambda: self.primary.stop())
        self.primary.create_user("app", "s3cret")
        self.primary.create_database("bank", owner="app")
        self.standby = Postgres(hba=HBA, fsync=synchronous, primary=self.primary)
        self.addCleanup(lambda: self.standby.stop())
        if synchronous:
            self.primary.sql("alter system set synchronous_standby_names = 'standby'")
            self.primary.sql("select pg_reload_conf()")
        self.caught_up()

    def caught_up(self):
        state = "select count(*) from pg_stat_replication where state = 'streaming'"
        wait_until(lambda: self.primary.sql(state)[0][0] == 1, what="a standby that streams")
        position = self.primary.sql("select pg_current_wal_lsn()")[0][0]
        replayed = f"select pg_last_wal_replay_lsn() >= '{position}'"
        wait_until(lambda: self.standby.sql(replayed)[0][0], what="a standby that has caught up")

    def weir(self, hosts=None, backend=None, pool=None, **tier):
        hosts = hosts or [self.primary, self.standby]
        named = [f"{each.host}:{each.port}" for each in hosts]
        limits = {"pool_size": 4, "max_server_connections": 8, "max_clients": 50, "queue_timeout": "30s"}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {"main": {"hosts": named, **(backend or {})}},
                "tiers": {"test": {**limits, **tier}},
                "pool": {"unknown_tenants": True, "default_tier": "test", **(pool or {})},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def client(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "bank")

    def promote(self):
        self.standby.sql("select pg_promote()")
        self.assertEqual(self.standby.sql("select pg_is_in_recovery()"), [(False,)])

    def freeze(self, postgres):
        """Its postmaster first, which starts nobody new then. Until thawed."""
        pids = [postgres.process.pid]
        os.kill(pids[0], signal.SIGSTOP)
        pids += postgres.children()
        self.addCleanup(self.thaw, pids)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        return pids

    @staticmethod
    def thaw(pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @staticmethod
    def port_of(client):
        return int(client.value("select inet_server_port()"))

    @staticmethod
    def lets_in(postgres):
        try:
            psycopg.connect(host=postgres.host, port=postgres.port, dbname="bank", user="app").close()
            return True
        except psycopg.OperationalError:
            return False

    def backend(self, weir):
        columns, rows = weir.console("SHOW BACKENDS")
        return dict(zip(columns, rows[0]))

    def server_ports(self, weir):
        columns, rows = weir.console("SHOW SERVERS")
        return {int(row[columns.index("port")]) for row in rows if row[columns.index("state")] != "new"}


class Failover(Pair):
    def test_a_primary_dies_and_its_standby_is_promoted(self):
        self.pair(synchronous=True)
        Ledger.prepare(self.primary)
        # The wrong one first: which is which is learnt.
        weir = self.weir([self.standby, self.primary])
        with Ledger(weir) as ledger:
            wait_until(lambda: len(ledger.acknowledged) > 300, seconds=60, what="entries")
            self.assertEqual(ledger.errors, 0)
            self.assertEqual(self.server_ports(weir), {self.primary.port})
            self.primary.kill()
            time.sleep(DOWN_SECONDS)
            self.promote()
            promoted = time.monotonic()
            failed = weir.log().count(LOGIN_FAILED)
            wait_until(lambda: ledger.first_answer_after(promoted), seconds=30, what="an answer")
            late = weir.log().count(LOGIN_FAILED) - failed
            recovered = ledger.first_answer_after(promoted) - promoted
            print(f"\n  answered {recovered:.2f} s after the promotion, {late} failed rounds later", flush=True)
            self.assertLess(recovered, RECOVERY_SECONDS)
            self.assertLessEqual(late, LATE_ROUNDS)
            more = len(ledger.acknowledged) + 300
            wait_until(lambda: len(ledger.acknowledged) > more, seconds=60, what="more entries")
            # Those with a transaction under way lost it, each once, and nobody else heard anything.
            self.assertLessEqual(ledger.errors, len(ledger.threads))
            self.assertEqual(self.server_ports(weir), {self.standby.port})
        ledger.check(self.standby)
        told = self.backend(weir)
        self.assertEqual(int(told["port"]), self.standby.port)
        self.assertEqual(told["target_session_attrs"], "read-write")
        self.assertIn(f"127.0.0.1:{self.standby.port} primary", told["hosts"])
        self.assertIn(f"127.0.0.1:{self.primary.port} failed", told["hosts"])
        weir.has_logged('"message":"host changed"')

    def test_a_failover_that_nobody_waits_for(self):
        """With at_breaker: reject everywhere and an open breaker: it is found by requests that are refused at once."""
        self.pair()
        rules = {"breaker_volume": 2, "breaker_failures": 1, "breaker_open_time": "10min"}
        weir = self.weir(backend=rules, at_breaker="reject")
        clients = [self.client(weir) for _ in range(4)]
        self.assertEqual({self.port_of(client) for client in clients}, {self.primary.port})
        self.primary.kill()
        wait_until(lambda: not self.server_ports(weir), what="servers gone")

        def code(client):
            error = first_error(client.query("select 1"))
            return error and error["C"]

        wait_until(lambda: all([code(one) for one in clients]) and "breaker opened" in weir.log(), what="an open breaker")
        until = time.monotonic() + DOWN_SECONDS
        while time.monotonic() < until:
            self.assertEqual({code(one) for one in clients}, {"57P03"})
            time.sleep(0.05)
        self.promote()
        promoted = time.monotonic()
        wait_until(lambda: not any([code(one) for one in clients]), seconds=30, what="answers")
        recovered = time.monotonic() - promoted
        print(f"\n  answered {recovered:.2f} s after the promotion", flush=True)
        self.assertLess(recovered, RECOVERY_SECONDS)
        self.assertEqual({self.port_of(one) for one in clients}, {self.standby.port})
        weir.has_logged('"message":"breaker closed"')

    def test_waiting_clients_are_held(self):
        self.pair()
        weir = self.weir()
        client = self.client(weir)
        self.assertEqual(self.port_of(client), self.primary.port)
        self.primary.kill()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.port_of(client)), daemon=True)
        # Its server's death may not have been noticed yet; then this is the error of a server that is lost.
        wait_until(lambda: not self.server_ports(weir), what="servers gone")
        asking.start()
        time.sleep(DOWN_SECONDS)
        self.assertEqual(answers, [])
        self.promote()
        asking.join(20)
        self.assertEqual(answers, [self.standby.port])

    def test_the_former_primary_is_left_as_soon_as_another_is_found(self):
        self.pair()
        weir = self.weir()
        idle, busy = self.client(weir), self.client(weir)
        busy.query("begin")
        self.assertEqual(self.port_of(busy), self.primary.port)
        self.assertEqual(self.port_of(idle), self.primary.port)
        # Both are primaries now, and the former one lets nobody in any more.
        self.promote()
        self.primary.set_hba(REJECT)
        wait_until(lambda: not self.lets_in(self.primary), what="a Postgres that rejects")
        busier = [self.client(weir) for _ in range(2)]
        for client in busier:
            client.query("begin")
        self.assertEqual({self.port_of(client) for client in busier}, {self.primary.port, self.standby.port})
        for client in busier:
            client.query("commit")
        wait_until(lambda: self.port_of(idle) == self.standby.port, what="the idle servers left")
        # Who is in the middle of something ends it where it began.
        self.assertEqual(self.port_of(busy), self.primary.port)
        busy.query("commit")
        self.assertEqual(self.port_of(busy), self.standby.port)
        wait_until(lambda: self.server_ports(weir) == {self.standby.port}, what="one host in use")
        # The former one is back: nobody goes there as long as the present one works.
        self.primary.set_hba(HBA)
        wait_until(lambda: self.lets_in(self.primary), what="a Postgres that accepts")
        weir.console("RECONNECT")
        self.assertEqual(self.port_of(idle), self.standby.port)

    def test_a_primary_that_stands_still(self):
        """Its kernel acknowledges what comes. Clients hold all servers that there may be: no login would find the next."""
        self.pair()
        weir = self.weir(pool_size=2, max_server_connections=2)
        clients = [self.client(weir) for _ in range(3)]
        for client in clients[:2]:
            client.query("begin")
            self.assertEqual(self.port_of(client), self.primary.port)
        frozen = self.freeze(self.primary)
        ends = {}

        def ask(number):
            try:
                ends[number] = self.port_of(clients[number])
            except (Closed, AssertionError) as error:
                ends[number] = str(error)

        asking = [threading.Thread(target=ask, args=(number,), daemon=True) for number in range(3)]
        for each in asking:
            each.start()
        time.sleep(DOWN_SECONDS)
        self.assertEqual(ends, {})
        self.promote()
        promoted = time.monotonic()
        for each in asking:
            each.join(30)
        recovered = time.monotonic() - promoted
        print(f"\n  answered {recovered:.2f} s after the promotion", flush=True)
        self.assertLess(recovered, RECOVERY_SECONDS + FROZEN_SECONDS)
        for number in (0, 1):
            self.assertIn("its host does not answer, and another one is the primary now", ends[number])
        self.assertEqual(ends[2], self.standby.port)
        self.thaw(frozen)
        self.assertEqual(self.port_of(self.client(weir)), self.standby.port)
        self.assertEqual(self.server_ports(weir), {self.standby.port})

    def test_a_primary_that_works_for_long(self):
        """It answers logins: nobody is disturbed, whatever another host has become."""
        self.pair()
        weir = self.weir(pool_size=1, max_server_connections=1)
        client = self.client(weir)
        self.assertEqual(self.port_of(client), self.primary.port)
        self.promote()
        asked = "connection authorized: user=app database=bank application_name=pgweir"
        self.primary.sql("alter system set log_connections = on")
        self.primary.sql("select pg_reload_conf()")
        wait_until(lambda: self.primary.sql("show log_connections") == [("on",)], what="log_connections")
        answer = threading.Thread(target=lambda: client.query("select pg_sleep(4)"), daemon=True)
        answer.start()
        wait_until(lambda: asked in self.primary.log(), what="a login that asks")
        answer.join(30)
        self.assertEqual(self.port_of(client), self.primary.port)
        self.assertNotIn("host is silent", weir.log())

    def test_a_read_only_primary_is_passed_over(self):
        self.pair()
        self.primary.sql("alter database bank set default_transaction_read_only = on")
        self.caught_up()
        weir = self.weir(pool={"wake_timeout": "1s"})
        with self.assertRaises(Closed) as caught:
            self.client(weir)
        told = str(caught.exception)
        self.assertIn(f"127.0.0.1:{self.primary.port} is read-only by default_transaction_read_only", told)
        self.assertIn(f"127.0.0.1:{self.standby.port} is a standby", told)
        primary = self.weir(backend={"target_session_attrs": "primary"})
        self.assertEqual(self.port_of(self.client(primary)), self.primary.port)

    def test_a_switchover_under_pgbench(self):
        """By PAUSE and RESUME, as one that is planned: its clients are held, and none hears of it."""
        self.pair()
        self.primary.sql("create table entries (client int); grant all on entries to app", "bank")
        weir = self.weir()
        script = weir.dir / "entry.sql"
        script.write_text("begin;\ninsert into entries values (:client_id);\ncommit;\n")
        command = [pg_program("pgbench"), "-h", weir.host, "-p", weir.port, "-U", "app", "-n", "-f", script]
        command += ["-c", PGBENCH_CLIENTS, "-j", 2, "-T", PGBENCH_SECONDS, "bank"]
        results = []
        pgbench = threading.Thread(target=lambda: results.append(run(command)), daemon=True)
        pgbench.start()
        entries = "select count(*) from entries"
        wait_until(lambda: self.primary.sql(entries, "bank")[0][0] > 50, seconds=30, what="entries")
        weir.console("PAUSE")
        self.primary.stop()  # which waits until the standby has it all
        self.promote()
        before = self.standby.sql(entries, "bank")[0][0]
        weir.console("RESUME")
        wait_until(lambda: self.standby.sql(entries, "bank")[0][0] > before, seconds=30, what="entries there")
        pgbench.join(60)
        output = results[0].stdout + results[0].stderr
        self.assertEqual(results[0].returncode, 0, output[-3000:])
        self.assertRegex(output, r"failed transactions: 0 \(")
        self.assertNotRegex(output, re.compile("error:|abort"))
        done = int(re.search(r"actually processed: (\d+)", output)[1])
        print(f"\n  {done} transactions of pgbench, {done - before} of them behind the switchover", flush=True)
        self.assertEqual(self.standby.sql(entries, "bank"), [(done,)])


class Roles(Pair):
    def test_standbys(self):
        self.pair()
        weir = self.weir(backend={"target_session_attrs": "standby"}, pool={"wake_timeout": "1s"})
        client = self.client(weir)
        self.assertEqual(client.value("select pg_is_in_recovery()"), "t")
        self.assertEqual(client.parameters["in_hot_standby"], "on")
        reader = self.client(self.weir(backend={"target_session_attrs": "read-only"}))
        self.assertEqual(self.port_of(reader), self.standby.port)
        prefers = self.weir(backend={"target_session_attrs": "prefer-standby"})
        other = self.client(prefers)
        self.assertEqual(self.port_of(other), self.standby.port)
        self.standby.stop()
        wait_until(lambda: not self.server_ports(weir) and not self.server_ports(prefers), what="servers gone")
        self.assertEqual(self.port_of(other), self.primary.port)
        client.send(query("select 1"))
        kind, payload = client.receive()
        self.assertEqual(kind, b"E")
        error = error_fields(payload)
        self.assertEqual(error["C"], "57P03")
        self.assertIn("none of its hosts is a standby: ", error["M"])
        self.assertIn(f"127.0.0.1:{self.primary.port} is a primary", error["M"])
        self.assertIn(f"connect to 127.0.0.1:{self.standby.port}: connection refused", error["M"])

    def test_a_wrong_role_is_no_failure_of_the_backend(self):
        self.pair()
        weir = self.weir([self.standby, self.primary], {"breaker_volume": 1, "breaker_failures": 1})
        clients = [self.client(weir) for _ in range(8)]
        for client in clients:
            client.query("begin")
            self.assertEqual(self.port_of(client), self.primary.port)
        self.assertNotIn("breaker opened", weir.log())
        self.assertNotIn(LOGIN_FAILED, weir.log())
        # Which one it is was learnt by the first; the others knew.
        passed = weir.log().count('"message":"next host is tried"')
        self.assertTrue(1 <= passed <= 8, passed)

    def test_a_host_that_does_not_answer_is_passed_over(self):
        self.pair()
        port = free_port()
        silent = FakePostgres(port, lambda session: session.take(1 << 20))
        self.addCleanup(silent.close)
        weir = self.weir([silent, self.primary], {"host_timeout": "500ms"})
        begun = time.monotonic()
        self.assertEqual(self.port_of(self.client(weir)), self.primary.port)
        self.assertLess(time.monotonic() - begun, 5)
        weir.has_logged(f"127.0.0.1:{port} did not answer within host_timeout")
        self.assertRegex(self.backend(weir)["hosts"], rf"127.0.0.1:{port} failed, .*:\d+ primary")

    def test_a_refused_login_is_told_and_not_tried_for_ever(self):
        self.pair()
        weir = self.weir()
        with Wire(weir.port) as wire:
            with self.assertRaisesRegex(Exception, 'database "nowhere" does not exist'):
                wire.login("app", "nowhere")


OLD = {**PARAMETERS, "server_version": "13.9"}
OLD.pop("in_hot_standby")
OLD.pop("default_transaction_read_only")


def old_postgres(recovery, name):
    """Before version 14: what it is it says only when asked."""

    def behaviour(session):
        session.startup()
        told = b"".join(message(b"S", f"{key}\0{value}\0".encode()) for key, value in OLD.items())
        session.send(AUTHENTICATION_OK, told, message(b"K", bytes(8)), READY)
        while True:
            kind, payload = session.receive()
            if kind == b"X":
                return
            if b"pg_is_in_recovery" in payload:
                row = data_row(recovery, "on" if recovery == "t" else "off")
                columns = row_description("pg_is_in_recovery", "current_setting")
            else:
                row, columns = data_row(name), row_description("name")
            if kind == b"Q":
                session.send(columns, row, complete("SELECT 1"), READY)

    return behaviour


class Old(Pair):
    def test_an_old_postgres_is_asked(self):
        standby = FakePostgres(free_port(), old_postgres("t", "standby"))
        primary = FakePostgres(free_port(), old_postgres("f", "primary"))
        for each in (standby, primary):
            self.addCleanup(each.close)
        weir = self.weir([standby, primary], pool={"read_functions": False})
        self.assertEqual(self.client(weir).value("select name"), "primary")
        self.assertIn(b"pg_is_in_recovery", standby.received())
        self.assertIn(b"pg_is_in_recovery", primary.received())
        weir.has_logged("is a standby", times=1)
        # Where any host will do, nobody is asked.
        anyone = self.weir([standby], pool={"read_functions": False})
        before = standby.received().count(b"pg_is_in_recovery")
        self.assertEqual(self.client(anyone).value("select name"), "standby")
        self.assertEqual(standby.received().count(b"pg_is_in_recovery"), before)


if __name__ == "__main__":
    unittest.main()
