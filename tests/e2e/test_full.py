"""Postgres has no place for one more connection, or for one more page."""

import time
import unittest

import psycopg

from harness import Bystander, FaultCase, Ledger, SmallDisk, Wire, wait_until
from harness.fault_case import TRUST
from harness.ledger import HONEST
from harness.wire import first_error, startup

MAX_CONNECTIONS = 25
FULL_SECONDS = 2
# Logins that Postgres refuses meanwhile: after 100 ms at first, and then ever more rarely.
LOGINS_MOST = 60
ROOM = 2
DISK_MEGABYTES = 24  # a new database takes 8
WAL_MEGABYTES = 48
REFUSED = '"sqlstate":"53300"'


class Others:
    """Who uses this Postgres past pgweir."""

    def __init__(self, postgres):
        self.postgres = postgres
        self.held = []

    def fill(self):
        """Takes every connection that is left."""
        while True:
            try:
                self.held.append(self.postgres.connect("postgres", "app"))
            except psycopg.OperationalError as error:
                assert "connection slots are reserved" in str(error), error
                return

    def leave(self, count):
        for _ in range(count):
            self.held.pop().close()

    def close(self):
        self.leave(len(self.held))


class Full(FaultCase):
    """max_connections of Postgres are used up by others (53300), or the disk of a database is full (53100)."""

    postgres_options = {**FaultCase.postgres_options, "settings": {"max_connections": str(MAX_CONNECTIONS)}}

    @classmethod
    def setUpClass(cls):
        # Before Postgres is started, which would not see it otherwise.
        cls.disk = SmallDisk(DISK_MEGABYTES)
        cls.addClassCleanup(cls.disk.close)
        super().setUpClass()

    @classmethod
    def create_bank(cls):
        cls.postgres.sql(f"create tablespace small location '{cls.disk.room()}'")
        cls.postgres.sql("create database bank owner app tablespace small")

    def others(self):
        others = Others(self.postgres)
        self.addCleanup(others.close)
        return others

    def servers(self):
        return self.postgres.sql(
            "select count(*) from pg_stat_activity where datname = 'bank' and backend_type = 'client backend'"
        )[0][0]

    def test_clients_wait_for_a_place(self):
        others = self.others()
        others.fill()
        weir = self.weir()
        with Bystander(weir, "app", "calm") as bystander, Ledger(weir) as ledger:
            wait_until(lambda: REFUSED in weir.log(), what="a refused login")
            time.sleep(FULL_SECONDS)
            self.assertEqual(len(ledger.acknowledged), 0)
            refused = weir.log().count(REFUSED)
            self.assertLessEqual(refused, LOGINS_MOST)
            # It is full, and there: that opens no breaker.
            self.assertEqual(self.breaker_states(weir), {"closed"})
            others.leave(ROOM)
            wait_until(lambda: len(ledger.acknowledged) > 100, seconds=20, what="work with what there is")
            self.assertLessEqual(self.servers(), ROOM)
            others.close()
            wait_until(lambda: self.servers() == 6, seconds=20, what="as many servers as clients want")
            more = len(ledger.acknowledged) + 100
            wait_until(lambda: len(ledger.acknowledged) > more, seconds=60, what="more entries")
        print(f"\n  {refused} logins were refused in {FULL_SECONDS} s", flush=True)
        self.assertEqual(ledger.errors, 0)
        ledger.check(self.postgres)
        self.assertEqual(bystander.errors, [])
        self.assertLess(bystander.worst, 0.5)

    def test_under_load(self):
        others = self.others()

        def begin(ledger):
            others.fill()
            # Who comes first has the places of those that end: pgweir's servers, or others.
            for _ in range(2):
                self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where datname = 'bank'")
                others.fill()

        ledger = self.suffer(self.weir(), begin, lambda ledger: others.close())
        self.assertEqual(ledger.codes["53300"], 0)

    def test_who_waits_too_long_is_told_what_is_full(self):
        others = self.others()
        others.fill()
        weir = self.weir({"queue_timeout": "1s"})
        with Wire(weir.port) as wire:
            wire.send(startup("app", "bank"))
            error = first_error(wire.until_closed())
        self.assertEqual(error["C"], "53300", error)
        self.assertIn("connection slots are reserved", error["M"])
        self.assertIn("queue_timeout", error["H"])

    def use_up(self, ledger):
        """The disk, and the room in the pages that there are: small rows would need no new one for a while."""
        self.disk.fill()
        # What was rolled back keeps its room until a vacuum.
        with self.assertRaises(psycopg.errors.DiskFull):
            self.postgres.sql("insert into ledger select 0, 0 from generate_series(1, 10000000)", "bank")
        wait_until(lambda: ledger.codes["53100"], seconds=60, what="an entry that finds no room")

    def test_the_disk_of_a_tablespace(self):
        weir = self.weir()
        ledger = self.suffer(
            weir,
            self.use_up,
            lambda ledger: self.disk.free(),
            honest=HONEST | {"53100"},
        )
        self.assertEqual(set(ledger.codes), {"53100"})
        # An error of a statement is no failure of the backend, and costs no server.
        self.assertEqual(self.breaker_states(weir), {"closed"})
        self.assertNotIn('"message":"server closed"', weir.log())


class Wal(FaultCase):
    """The disk of the WAL is full: Postgres panics, comes up, and panics again, until there is room."""

    @classmethod
    def setUpClass(cls):
        cls.disk = SmallDisk(WAL_MEGABYTES)
        cls.addClassCleanup(cls.disk.close)
        cls.postgres_options = {
            "hba": TRUST,
            "wal_dir": cls.disk.room(),
            "settings": {"min_wal_size": "2MB", "max_wal_size": "4MB"},
        }
        super().setUpClass()

    def use_up(self):
        """What WAL there is ahead, too."""
        self.disk.fill()
        while self.postgres.process.poll() is None:
            try:
                self.postgres.sql("select pg_switch_wal() from pg_logical_emit_message(true, '', 'x')")
            except psycopg.OperationalError:
                return

    def come_up(self):
        self.disk.free()
        try:
            self.postgres.wait_ready()
        except RuntimeError:  # it has given up, as somebody who was told to start it would see
            self.postgres.process = None
            self.postgres.start()

    def test_the_wal(self):
        ledger = self.suffer(
            self.weir(),
            lambda ledger: self.use_up(),
            lambda ledger: self.come_up(),
            honest=HONEST | {"53100"},
        )
        self.assertRegex(self.postgres.log(), r"PANIC: .*No space left on device")
        self.assertGreater(ledger.errors, 0)


if __name__ == "__main__":
    unittest.main()
