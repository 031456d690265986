"""Replication connections: Postgres's own programs through pgweir, what they count as, and who may have them."""

import signal
import subprocess
import threading
import time
import unittest
from pathlib import Path

from harness import Wire, machine, wait_until
from harness.pgweir import environment
from harness.wire import CANCEL_REQUEST, error_fields, kinds, message, query, special, startup
from test_session import TRUST, Session

HBA = TRUST + "host replication all 127.0.0.1/32 trust\n"
SETTINGS = {"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20"}


class Replication(Session):
    postgres_options = {"hba": HBA, "settings": SETTINGS}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.sql("alter role app replication")
        cls.postgres.sql("create role plain login")
        cls.postgres.sql("create table streamed (a int)", "app")

    def weir(self, tier=None, tenant=None, **config):
        row = {"replication": True, "max_server_connections": 6, "max_pinned_clients": 10, **(tier or {})}
        return super().weir(row, tenant, **config)

    # The programs of Postgres 15 ask for a database called replication whatever they are told, so the tenant is
    # named otherwise.
    NAMED = {"client": {"tenant_named_by": ["user", "database"]}}

    def start(self, weir, program, *arguments, user="app.app", database=None):
        """The program under way; it ends with the test."""
        command = [program, "-h", weir.host, "-p", str(weir.port), "-U", user, *map(str, arguments)]
        if database:
            command += ["-d", database]
        process = subprocess.Popen(
            machine.as_system_user(command),
            cwd=weir.dir,
            env=environment({"PGCONNECT_TIMEOUT": "20"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def finish(self, process, number=None, code=0):
        """Its output, when it has ended as expected."""
        if number:
            process.send_signal(number)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, code, out)
        return out

    def stream(self, weir, mode="true", database="app", **parameters):
        return self.wire(weir, replication=mode, **parameters)

    def walsenders(self):
        return self.postgres.sql("select count(*) from pg_stat_replication")[0][0]

    def wait_streaming(self, count=1):
        text = "select count(*) from pg_stat_replication where state = 'streaming'"
        wait_until(lambda: self.postgres.sql(text)[0][0] == count, what=f"{count} streams")

    def refused(self, weir, database="app", user="app", **parameters):
        """The error that a login is answered with."""
        with Wire(weir.port) as wire:
            wire.send(startup(user, database, **parameters))
            messages = wire.until_closed()
        self.assertEqual(messages[-1][0], b"E", messages)
        fields = error_fields(messages[-1][1])
        self.assertEqual(fields["S"], "FATAL")
        return fields


class Programs(Replication):
    def test_pg_receivewal(self):
        weir = self.weir(**self.NAMED)
        target = machine.scratch("wal")
        process = self.start(weir, "pg_receivewal", "-D", target, "--no-loop", "-s", "1")
        self.wait_streaming()
        row = self.wait_pinned(weir, 1)
        self.assertEqual((row["replication"], row["session"]), (1, 0), row)
        (shown,) = self.shown(weir, "SHOW PINNED_CLIENTS")
        self.assertEqual(shown["pins"], "replication")
        kinds_shown = {row["replication"] for row in self.shown(weir, "SHOW CLIENTS") if row["database"] == "app"}
        self.assertEqual(kinds_shown, {"physical"})
        self.postgres.sql("insert into streamed select generate_series(1, 20000)", "app")
        (segment,) = self.postgres.sql("select pg_walfile_name(pg_current_wal_lsn())")[0]
        self.postgres.sql("select pg_switch_wal()")
        wait_until(lambda: (target / segment).exists(), seconds=30, what="a whole segment")
        self.assertEqual((target / segment).read_bytes(), (self.postgres.data / "pg_wal" / segment).read_bytes())
        self.finish(process, signal.SIGINT)
        self.wait_pinned(weir, 0)
        wait_until(lambda: self.walsenders() == 0, what="its walsender is gone")

    def test_pg_recvlogical(self):
        weir = self.weir()
        options = ["--slot", "changes"]
        who = {"user": "app", "database": "app"}
        self.finish(self.start(weir, "pg_recvlogical", "--create-slot", "-P", "test_decoding", *options, **who))
        self.addCleanup(self.postgres.sql, "select pg_drop_replication_slot('changes')")
        target = machine.write(machine.scratch("changes") / "out", "")
        process = self.start(weir, "pg_recvlogical", "--start", "-f", target, "-F", "0", "-s", "1", *options, **who)
        self.wait_streaming()
        # Through the same pgweir, while the stream runs.
        self.client(weir).execute("create table if not exists told (a int)")
        self.client(weir).execute("insert into told values (4711)")
        wait_until(lambda: "a[integer]:4711" in Path(target).read_text(), what="the change")
        self.assertEqual(self.pins(weir)["replication"], 1)
        self.finish(process, signal.SIGINT)
        self.wait_pinned(weir, 0)

    def test_pg_basebackup(self):
        weir = self.weir(**self.NAMED)
        target = machine.scratch("backup") / "data"
        out = self.finish(
            self.start(weir, "pg_basebackup", "-D", target, "-X", "stream", "-c", "fast", "--no-sync")
        )
        verified = machine.run(machine.as_system_user(["/usr/lib/postgresql/15/bin/pg_verifybackup", target]))
        self.assertEqual(verified.returncode, 0, f"{out}{verified.stdout}{verified.stderr}")
        row = self.wait_pinned(weir, 0)
        self.assertEqual(row["pinned_total"], 2, row)  # one of them for the log
        wait_until(lambda: self.walsenders() == 0, what="its walsenders are gone")


class Refusals(Replication):
    def test_of_a_tier_without(self):
        weir = self.weir({"replication": False})
        for mode in ("true", "on", "yes", "1", "T", "database"):
            with self.subTest(mode):
                fields = self.refused(weir, replication=mode)
                self.assertEqual(fields["C"], "42501")
                self.assertIn('tenant "app"', fields["M"])
                self.assertIn("replication of tier test is false", fields["D"])
                self.assertIn("tier", fields["H"])
        for mode in ("false", "off", "no", "0"):
            self.assertEqual(self.stream(weir, mode).value("select 1"), "1")
        self.assertEqual(self.pinned(weir), 0)

    def test_nonsense_is_answered_as_by_postgres(self):
        weir = self.weir()
        with Wire(self.postgres.port) as direct:
            direct.send(startup("app", "app", replication="maybe"))
            theirs = error_fields(direct.until_closed()[-1][1])
        ours = self.refused(weir, replication="maybe")
        self.assertEqual({key: ours[key] for key in "SCMH"}, {key: theirs[key] for key in "SCMH"})

    def test_what_postgres_refuses(self):
        weir = self.weir(**self.NAMED)
        fields = self.refused(weir, user="plain", replication="true")
        self.assertEqual(fields["C"], "42501")
        self.assertIn("replication", fields["M"].lower())
        # Others of that user are served.
        client = weir.connect("app", "plain")
        self.addCleanup(client.close)
        self.assertEqual(self.value(client, "select 1"), 1)
        self.assertEqual(self.pinned(weir), 0)

    def test_a_parameter_that_postgres_does_not_know(self):
        weir = self.weir({"inspection": "off"})
        for _ in range(3):
            self.assertEqual(self.refused(weir, replication="true", no_such_thing="1")["C"], "42704")
        self.assertEqual(self.value(self.client(weir), "select 1"), 1)

    def test_the_budget(self):
        weir = self.weir({"max_pinned_clients": 1})
        first = self.stream(weir)
        fields = self.refused(weir, replication="true")
        self.assertEqual(fields["C"], "53400")
        self.assertIn("replication", fields["M"])
        self.assertIn("max_pinned_clients of tier test: 1 of 1", fields["D"])
        first.close()
        self.wait_pinned(weir, 0)
        self.assertEqual(kinds(self.stream(weir).query("IDENTIFY_SYSTEM")), "TDCZ")

    def test_the_servers_of_the_tier(self):
        weir = self.weir({"max_server_connections": 2, "pool_size": 1, "queue_timeout": "1s"})
        held = [self.stream(weir) for _ in range(2)]
        self.assertEqual(self.hits(weir), 0)  # each waited for its own connection only
        fields = self.refused(weir, replication="true")
        self.assertEqual(fields["C"], "53300")
        self.assertIn("2 of max_server_connections 2 are in use", fields["D"])
        self.assertEqual(self.refused(weir)["C"], "53300")  # an ordinary client has no server either
        self.assertEqual(self.hits(weir), 2)
        waiting = []
        thread = threading.Thread(target=lambda: waiting.append(self.stream(weir)))
        thread.start()
        held.pop().close()
        thread.join(20)
        self.assertEqual(kinds(waiting[0].query("IDENTIFY_SYSTEM")), "TDCZ")

    def hits(self, weir):
        return sum(int(row[0]) for row in weir.console("SHOW USAGE server_limit_hits")[1])

    def test_idle_servers_make_room(self):
        weir = self.weir({"max_server_connections": 2, "pool_size": 2})
        clients = [self.client(weir) for _ in range(2)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            client.execute("commit")
        first, second = self.stream(weir), self.stream(weir)
        for wire in (first, second):
            self.assertEqual(kinds(wire.query("IDENTIFY_SYSTEM")), "TDCZ")
        servers = [row for row in self.shown(weir, "SHOW SERVERS") if row["database"] == "app"]
        self.assertEqual(sorted(row["replication"] for row in servers), ["physical", "physical"])


class Streams(Replication):
    def begin(self, wire):
        position = self.postgres.sql("select pg_current_wal_lsn()")[0][0]
        wire.send(query(f"START_REPLICATION PHYSICAL {position}"))
        self.assertEqual(wire.receive()[0], b"W")
        return wire

    def status(self):
        """A standby's report, which asks for an answer."""
        return message(b"d", b"r" + b"\0" * 32 + b"\1")

    def keepalive(self, wire):
        """Waits for one; everything else in between is the log."""
        for _ in range(1000):
            kind, payload = wire.receive()
            self.assertEqual(kind, b"d", payload)
            if payload[:1] == b"k":
                return

    def test_both_ways_until_both_have_ended(self):
        weir = self.weir()
        wire = self.begin(self.stream(weir))
        for _ in range(3):
            wire.send(self.status())
            self.keepalive(wire)
        self.postgres.sql("insert into streamed select generate_series(1, 50000)", "app")
        wire.send(message(b"c"))
        messages = wire.until_ready()
        self.assertEqual(kinds([each for each in messages if each[0] != b"d"]), "cCCZ", messages[-5:])
        # The connection is good for another one.
        self.assertEqual(kinds(wire.query("IDENTIFY_SYSTEM")), "TDCZ")
        self.keepalive(self.send(self.begin(wire), self.status()))

    def send(self, wire, *messages):
        wire.send(*messages)
        return wire

    def test_no_timeout_ends_it(self):
        names = ("idle_timeout", "query_timeout", "transaction_timeout", "idle_transaction_timeout")
        times = {name: "1s" for name in names}
        tier = {"statement_timeout": "1s", "idle_in_transaction_session_timeout": "1s", "transaction_timeout": "1s"}
        weir = self.weir({**tier, "request_timeout": "1s"}, client=times)
        streaming, silent = self.begin(self.stream(weir)), self.stream(weir, "database")
        sql = self.stream(weir, "database")
        time.sleep(3)
        self.keepalive(self.send(streaming, self.status()))
        self.assertEqual(kinds(silent.query("IDENTIFY_SYSTEM")), "TDCZ")
        # SQL has its limits there, too.
        sql.send(query("select pg_sleep(10)"))
        kind, payload = sql.receive()
        while kind != b"E":
            kind, payload = sql.receive()
        self.assertIn(error_fields(payload)["C"], ("57014", "25P04"))

    def test_a_reader_that_does_not_read_keeps_nothing_in_memory(self):
        weir = self.weir(client={"idle_timeout": "60s"})
        wire = self.begin(self.stream(weir))
        self.postgres.sql("insert into streamed select generate_series(1, 600000)", "app")  # some 50 MB
        time.sleep(1)
        status = Path(f"/proc/{weir.process.pid}/status").read_text()
        before = self.memory(status)
        self.postgres.sql("insert into streamed select generate_series(1, 600000)", "app")
        time.sleep(1)
        after = self.memory(Path(f"/proc/{weir.process.pid}/status").read_text())
        self.assertLess(after - before, 16 << 10, "kB")
        wire.send(self.status())
        self.keepalive(wire)

    def memory(self, status):
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def test_sql_is_held_to_the_ceilings(self):
        weir = self.weir({"work_mem": "8MB"})
        wire = self.stream(weir, "database", work_mem="5MB")
        self.assertEqual(wire.value("select current_setting('work_mem')"), "5MB")
        self.assertEqual(kinds(wire.query("set work_mem = '1GB'")), "NCZ")
        self.assertEqual(wire.value("select current_setting('work_mem')"), "8MB")
        for text in ("do $$ begin perform set_config('work_mem', '1GB', false); end $$",
                     "IDENTIFY_SYSTEM; set work_mem = '1GB'", " SHOW work_mem; set work_mem = '1GB'",
                     "identify_system; set work_mem = '1GB'", "UPLOAD_MANIFEST; set work_mem = '1GB'"):
            with self.subTest(text):
                self.assertIn("E", kinds(wire.query(text)))
                self.assertEqual(wire.value("select current_setting('work_mem')"), "8MB")
        wire.query("reset work_mem")
        self.assertEqual(wire.value("select current_setting('work_mem')"), "5MB")
        self.assertEqual(self.stream(weir, "database").value("select current_setting('work_mem')"), "8MB")
        # Of all of it nothing is left to others.
        self.assertEqual(self.value(self.client(weir), "show work_mem"), "8MB")

    def test_a_cancel_ends_what_runs(self):
        weir = self.weir()
        wire = self.begin(self.stream(weir))
        self.keepalive(self.send(wire, self.status()))
        with Wire(weir.port) as cancel:
            cancel.send(special(CANCEL_REQUEST, wire.key))
            cancel.until_closed()
        messages = wire.until_ready()
        codes = [error_fields(body)["C"] for kind, body in messages if kind == b"E"]
        self.assertEqual(codes, ["57014"])

    def test_a_suspended_tenant_and_the_end_of_pgweir(self):
        weir = self.weir()
        wire = self.begin(self.stream(weir))
        weir.console("SUSPEND_TENANT app")
        self.assertEqual(wire.until_closed()[-1][0], b"E")
        wire.close()
        weir.console("RESUME_TENANT app")
        wire = self.begin(self.stream(weir))
        began = time.monotonic()
        weir.signal()
        self.assertEqual(error_fields(wire.until_closed()[-1][1])["C"], "57P01")
        wire.close()
        self.assertEqual(weir.wait_end(), 0)
        self.assertLess(time.monotonic() - began, 4, "a stream is not waited for")

    def test_postgres_goes_away(self):
        weir = self.weir()
        wire = self.begin(self.stream(weir))
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_replication")
        self.assertEqual(error_fields(wire.until_closed()[-1][1])["C"], "57P01")
        self.wait_pinned(weir, 0)


if __name__ == "__main__":
    unittest.main()
