"""The pooler's own clocks on a real Postgres: each way past Postgres's timers that we know comes to an end, and
whoever has the server next notices nothing."""

import itertools
import random
import socket
import threading
import time
import unittest
from pathlib import Path

from harness import TRUST, PgweirCase, Wire, pg_program, run, side_by_side, wait_until
from harness.wire import (
    bind,
    error_fields,
    execute,
    first_error,
    flush,
    kinds,
    message,
    parse,
    query,
    sync,
)

TIER = {
    "pool_size": 1,
    "max_server_connections": 1,
    "max_clients": 50,
    "queue_timeout": "30s",
    "statement_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "transaction_timeout": "4s",
}
# The outer loop is for a cancel that comes right behind another one, before the inner block has begun anew.
STUBBORN = """do $$ begin loop begin
    loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop;
  exception when query_canceled then null; end; end loop; end $$"""
SCHEMA = """
create function sleep_on_commit() returns trigger language plpgsql as
  $$ begin perform pg_sleep(20); return null; end $$;
create table slow (i int);
create constraint trigger later after insert on slow deferrable initially deferred
  for each row execute function sleep_on_commit();
"""
SIDE_ROLE = Path(__file__).resolve().parents[2] / "packaging/postgres/side_role.sql"


class ClocksCase(PgweirCase):
    postgres_options = {"hba": TRUST}
    side = {}
    _numbers = itertools.count(1)
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.postgres.connect("app", "app") as connection:
            connection.execute(SCHEMA)
        done = run(
            [
                *(pg_program("psql"), "-X", "-q", "-h", cls.postgres.socket_dir, "-p", str(cls.postgres.port)),
                *("-U", "postgres", "-v", "role=pgweir side", "-v", "password=s1de", "-f", str(SIDE_ROLE)),
            ]
        )
        assert done.returncode == 0, done.stderr
        # Without a password it would prove nothing.
        cls.postgres.set_hba('host postgres "pgweir side" 127.0.0.1/32 scram-sha-256\n' + TRUST)

    def setUp(self):
        """A database of its own: the tests run side by side."""
        self.database = f"app{next(self._numbers)}"
        self.postgres.sql(f"create database {self.database} template app owner app")

    def weir(self, **tier):
        limits = {key: value for key, value in {**TIER, **tier}.items() if value is not None}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {"main": self.side},
                "tiers": {"timed": {**dict.fromkeys(("work_mem", "temp_buffers"), "none"), **limits}},
                "tenants": {"app": {"tier": "timed", "backend": "main", "database": self.database}},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def wire(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app")

    def error_of(self, wire):
        while True:
            kind, payload = wire.receive()
            if kind == b"E":
                return error_fields(payload)

    def processes(self, condition):
        text = f"select count(*) from pg_stat_activity where datname = '{self.database}' and usename = 'app' and "
        return self.postgres.sql(text + "backend_type = 'client backend' and " + condition)[0][0]

    def terminate_all(self):
        self.postgres.sql(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{self.database}'")

    def assert_unaffected(self, weir):
        """Whoever comes next has a server, and nothing of the last one's end meets him."""
        client = self.wire(weir)
        for i in range(3):
            self.assertEqual(client.value(f"select 'next {i}' from pg_sleep(0.2)"), f"next {i}")
        client.close()

    def assert_tier_named(self, error, code, ceiling):
        self.assertEqual(error["C"], code, error)
        self.assertIn(f'due to {ceiling} of tier "timed"', error["M"])
        self.assertIn(ceiling, error["D"])
        self.assertTrue(error["H"])

    def ends(self, weir, messages, code, ceiling, severity="FATAL", within=7.0):
        """Sends it, and is told of the end in time; answers the connection."""
        client = self.wire(weir)
        self.assertEqual(client.value("select 1"), "1")
        begun = time.monotonic()
        client.send(*messages)
        error = self.error_of(client)
        self.assertLess(time.monotonic() - begun, within)
        self.assert_tier_named(error, code, ceiling)
        self.assertEqual(error["S"], severity)
        if severity == "FATAL":
            client.until_closed()
        return client


class Holes:
    """Run twice: with a side role and without."""

    def test_several_statements_in_one_text(self):
        weir = self.weir()
        self.ends(weir, [query("select pg_sleep(0.7);" * 12)], "25P04", "transaction_timeout")
        self.assert_unaffected(weir)

    def test_pipeline_of_executes(self):
        weir = self.weir()
        steps = [parse("select pg_sleep(0.7)")] + [bind(), execute()] * 12
        self.ends(weir, [*steps, sync()], "25P04", "transaction_timeout")
        self.assert_unaffected(weir)

    def test_request_timeout_bounds_them_together(self):
        weir = self.weir(request_timeout="1500ms")
        text = query("select pg_sleep(0.7);" * 12)
        client = self.ends(weir, [text], "57014", "request_timeout", "ERROR", within=4)
        self.assertEqual(client.until_ready()[-1], (b"Z", b"I"))
        self.assertEqual(client.value("select 'still here'"), "still here")
        self.assert_unaffected(weir)

    def test_commit_with_deferred_triggers(self):
        weir = self.weir()
        client = self.wire(weir)
        self.assertEqual(kinds(client.query("begin; insert into slow values (1)")), "CCZ")
        begun = time.monotonic()
        messages = client.query("commit")
        self.assertLess(time.monotonic() - begun, 3)
        self.assert_tier_named(first_error(messages), "57014", "statement_timeout")
        self.assertEqual(messages[-1], (b"Z", b"I"))
        self.assertEqual(client.value("select count(*) from slow"), "0")
        self.assert_unaffected(weir)

    def test_sync_with_deferred_triggers(self):
        weir = self.weir()
        steps = [parse("insert into slow values (2)"), bind(), execute(), sync()]
        client = self.ends(weir, steps, "57014", "statement_timeout", "ERROR", within=3)
        client.until_ready()
        self.assertEqual(client.value("select count(*) from slow"), "0")
        self.assert_unaffected(weir)

    def test_execute_without_sync(self):
        weir = self.weir()
        steps = [parse("select 1"), bind(), execute(), flush()]
        self.ends(weir, steps, "57014", "statement_timeout", within=3)
        wait_until(lambda: self.processes("state <> 'idle'") == 0, what="the server is free")
        self.assert_unaffected(weir)

    def test_silent_copy(self):
        weir = self.weir()
        copy = [query("copy slow from stdin")]
        self.ends(weir, copy, "57014", "statement_timeout", within=3)
        wait_until(lambda: self.processes("state = 'active'") == 0, what="the COPY is over")
        self.assert_unaffected(weir)

    def test_copy_that_trickles(self):
        weir = self.weir()
        client = self.wire(weir)
        client.send(query("copy slow from stdin"))
        self.assertEqual(client.receive()[0], b"G")
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            client.send(message(b"d", b"1\n"))
            time.sleep(0.05)
        self.assertEqual(self.error_of(client)["C"], "57014")
        wait_until(lambda: self.processes("state = 'active'") == 0, what="the COPY is over")
        self.assert_unaffected(weir)

    def test_reader_that_does_not_read(self):
        weir = self.weir()
        client = Wire(weir.port)
        self.addCleanup(client.close)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.login("app", "app")
        client.send(query("select repeat('x', 1000) from generate_series(1, 5000000)"))
        wait_until(lambda: self.processes("state = 'active'") == 1, what="it runs")
        wait_until(lambda: self.processes("state = 'active'") == 0, seconds=5, what="it is over")
        self.assert_unaffected(weir)

    def test_flush_behind_begin(self):
        weir = self.weir()
        self.ends(weir, [query("begin"), flush()], "25P03", "idle_in_transaction_session_timeout", within=3)
        wait_until(lambda: self.processes("state like 'idle in%'") == 0, what="its transaction is over")
        self.assert_unaffected(weir)

    def test_idle_in_a_failed_transaction(self):
        weir = self.weir()
        client = self.wire(weir)
        client.query("begin; lock table slow")
        client.query("nonsense")
        client.send(flush())
        error = self.error_of(client)
        self.assertEqual(error["C"], "25P03", error)
        self.assert_unaffected(weir)

    def test_transaction_of_short_statements(self):
        weir = self.weir()
        client = self.wire(weir)
        client.query("begin")
        begun = time.monotonic()
        error = None
        while not error and time.monotonic() - begun < 8:
            client.send(query("select pg_sleep(0.3)"))
            kind = b""
            while kind not in (b"Z", b"E"):
                kind, payload = client.receive()
            error = error_fields(payload) if kind == b"E" else None
        self.assert_tier_named(error, "25P04", "transaction_timeout")
        self.assert_unaffected(weir)

    def test_client_that_keeps_its_server(self):
        """At rest between its transactions nothing is timed, inside of one everything is."""
        weir = self.weir(max_pinned_clients=1, statement_timeout=None)
        client = self.wire(weir)
        client.query("create temp table mine as select 1 as i")
        time.sleep(2.5)
        self.assertEqual(client.value("select i from mine"), "1")
        client.send(query("begin"))
        self.assertEqual(self.error_of(client)["C"], "25P03")
        self.assert_unaffected(weir)

    def test_honest_requests_are_left_alone(self):
        weir = self.weir()
        client = self.wire(weir)
        text = "select pg_sleep(0.5);" * 5
        self.assertEqual(kinds(client.query(text)), "TDC" * 5 + "Z", "each statement has its time")
        steps = [parse("select pg_sleep(0.5)")] + [bind(), execute()] * 5
        client.send(*steps, sync())
        self.assertIsNone(first_error(client.until_ready()))
        error = first_error(client.query("select pg_sleep(3)"))
        self.assertEqual(error["C"], "57014")
        self.assertNotIn("tier", error["M"], "Postgres's own timer comes first")
        self.assertEqual(client.value("select 'still here'"), "still here")

    def test_clocks_can_be_switched_off(self):
        weir = self.weir(clocks=False)
        client = self.wire(weir)
        client.send(parse("select 1"), bind(), execute(), flush())
        time.sleep(2.5)
        client.send(sync())
        self.assertIsNone(first_error(client.until_ready()))

    def test_no_cancel_meets_the_next_client(self):
        """Requests end just when they are to be canceled; those of others on the same server never fail."""
        none = {key: "none" for key in TIER if key.endswith("_timeout") and key != "queue_timeout"}
        weir = self.weir(**none, request_timeout="300ms")
        errors, stop = [], threading.Event()

        def neighbour():
            client = self.wire(weir)
            while not stop.is_set():
                error = first_error(client.query("select pg_sleep(0.02)"))
                if error:
                    errors.append(error)

        others = [threading.Thread(target=neighbour) for _ in range(2)]
        for other in others:
            other.start()
        client, canceled = self.wire(weir), 0
        for _ in range(12):
            seconds = 0.8 + random.uniform(-0.012, 0.012)
            error = first_error(client.query(f"select pg_sleep({seconds})"))
            canceled += error is not None
            if error:
                self.assert_tier_named(error, "57014", "request_timeout")
        stop.set()
        for other in others:
            other.join()
        self.assertEqual(errors, [])
        print(f"{canceled} of 12 were canceled", flush=True)


class WithoutSideRole(Holes, ClocksCase):
    def test_function_that_catches_cancels(self):
        weir = self.weir()
        self.ends(weir, [query(STUBBORN)], "57014", "statement_timeout", within=3)
        wait_until(lambda: "without a side role" in weir.log(), what="the log says that it may go on")
        self.terminate_all()
        self.assert_unaffected(weir)


class WithSideRole(Holes, ClocksCase):
    side = {"side_user": "pgweir side", "side_password": "s1de"}

    def test_function_that_catches_cancels(self):
        weir = self.weir()
        self.ends(weir, [query(STUBBORN)], "57014", "statement_timeout", within=3)
        wait_until(lambda: self.processes("state = 'active'") == 0, seconds=3, what="its process is gone")
        wait_until(lambda: "server_terminated" in weir.log(), what="the log says so")
        self.assert_unaffected(weir)

    def test_many_at_once(self):
        weir = self.weir(max_server_connections=8, pool_size=8)
        clients = [self.wire(weir) for _ in range(8)]
        for client in clients:
            client.send(query(STUBBORN))
        for client in clients:
            self.assertEqual(self.error_of(client)["C"], "57014")
        wait_until(lambda: self.processes("state = 'active'") == 0, seconds=5, what="all are gone")
        self.assert_unaffected(weir)

    def test_client_that_leaves_such_a_function_behind(self):
        weir = self.weir()
        client = self.wire(weir)
        client.send(query(STUBBORN))
        wait_until(lambda: self.processes("state = 'active'") == 1, what="it runs")
        client.close()
        wait_until(lambda: self.processes("state = 'active'") == 0, seconds=15, what="its process is gone")
        self.assert_unaffected(weir)

    def test_role_without_rights(self):
        self.postgres.create_user("weak", "w3ak")
        self.side = {"side_user": "weak", "side_password": "w3ak"}
        weir = self.weir()
        self.ends(weir, [query(STUBBORN)], "57014", "statement_timeout", within=3)
        wait_until(lambda: "could not be terminated" in weir.log(), what="the log says why it goes on")
        self.assertIn("must be a member", weir.log().replace("permission denied", "must be a member"))
        self.terminate_all()
        self.assert_unaffected(weir)

    def test_side_role_that_cannot_log_in(self):
        self.side = {"side_user": "pgweir side", "side_password": "wrong"}
        weir = self.weir()
        self.ends(weir, [query(STUBBORN)], "57014", "statement_timeout", within=3)
        wait_until(lambda: "could not be terminated" in weir.log(), what="the log says why it goes on")
        weir.has_logged("password authentication failed")
        self.terminate_all()
        self.assert_unaffected(weir)


def load_tests(loader, tests, pattern):
    return side_by_side(tests, WithoutSideRole, WithSideRole)


if __name__ == "__main__":
    unittest.main()
