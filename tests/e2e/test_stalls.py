"""Postgres stands still, or takes its time to start: whoever waits is served, and nobody is told twice."""

import os
import signal
import time
import unittest

from harness import FaultCase, Wire, wait_until
from harness.ledger import HONEST
from harness.wire import first_error, kinds, query

STALL_SECONDS = 6  # more than server.silence_max: the machine still answers, and so it is not given up
CEILING_SECONDS = 1
UNWATCHED = -1  # the entry of a client that is not the ledger's
# Logins that a Postgres refuses which starts for some seconds: after 100 ms at first, and then ever more rarely.
LOGINS_MOST = 60


class Stalls(FaultCase):
    def freeze(self, pids):
        """They stand still until thawed()."""
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        self.frozen = list(pids)
        self.addCleanup(self.thaw)

    def thaw(self):
        for pid in self.frozen:
            os.kill(pid, signal.SIGCONT)
        self.frozen = []

    def freeze_postgres(self):
        # The postmaster comes first: it starts nobody new then.
        postmaster = self.postgres.process.pid
        os.kill(postmaster, signal.SIGSTOP)
        self.freeze([postmaster, *self.postgres.children()])

    def test_the_whole_of_postgres(self):
        weir = self.weir()
        ledger = self.suffer(
            weir,
            lambda ledger: self.freeze_postgres(),
            lambda ledger: self.thaw(),
            seconds=STALL_SECONDS,
        )
        # It was slow, and that is all.
        self.assertEqual(ledger.errors, 0)
        self.assertNotIn('"message":"server closed"', weir.log())

    def test_the_whole_of_postgres_beyond_a_ceiling(self):
        weir = self.weir({"statement_timeout": f"{CEILING_SECONDS}s"})
        ledger = self.suffer(
            weir,
            lambda ledger: self.freeze_postgres(),
            lambda ledger: self.thaw(),
            honest=HONEST | {"57014"},
            seconds=3 * CEILING_SECONDS,
        )
        self.assertGreater(ledger.codes["57014"], 0)

    def in_transaction(self, weir):
        """A client that has written an entry and not committed it, and the process of its server."""
        client = Wire(weir.port).login("app", "bank")
        self.addCleanup(client.close)
        client.query("begin")
        client.query(f"insert into ledger values ({UNWATCHED}, {UNWATCHED})")
        return client, int(client.value("select pg_backend_pid()"))

    def test_one_process(self):
        weir = self.weir()
        answer = []

        # A process that stands still inside a transaction holds no lock that others need to go on.
        def begin(ledger):
            client, pid = self.in_transaction(weir)
            self.freeze([pid])
            client.send(query("commit"))
            answer.append(client)

        def clear(ledger):
            self.thaw()
            self.assertEqual(kinds(answer[0].until_ready()), "CZ")
            ledger.acknowledged.add(UNWATCHED)

        ledger = self.suffer(weir, begin, clear, working=True)
        self.assertEqual(ledger.errors, 0)

    def test_one_process_beyond_a_ceiling(self):
        weir = self.weir({"statement_timeout": f"{CEILING_SECONDS}s"})

        def begin(ledger):
            ledger.uncertain.add(UNWATCHED)
            client, pid = self.in_transaction(weir)
            self.freeze([pid])
            client.send(query("commit"))
            begun = time.monotonic()
            error = first_error(client.until_closed())
            self.assertEqual(error["C"], "57014", error)
            self.assertGreater(time.monotonic() - begun, CEILING_SECONDS)
            # Its place is filled: as many servers work as before.
            wait_until(lambda: self.servers_connected(weir) == 6, seconds=20, what="a server in its place")

        # On a busy machine a statement of another client may take as long as that.
        self.suffer(weir, begin, lambda ledger: self.thaw(), seconds=0.5, honest={"57014"}, working=True)

    @staticmethod
    def servers_connected(weir):
        columns, rows = weir.console("SHOW SERVERS")
        names = [dict(zip(columns, row)) for row in rows]
        return sum(row["database"] == "bank" and row["state"] in ("idle", "active", "tested") for row in names)

    def suffer_slow_start(self, end):
        weir = self.weir()

        def begin(ledger):
            end()
            self.postgres.start_slowly()

        ledger = self.suffer(weir, begin, lambda ledger: self.postgres.wait_ready(), seconds=0)
        refused = weir.log().count('"sqlstate":"57P03"')
        print(f"  {refused} logins were refused meanwhile", flush=True)
        self.assertIn("the database system is ", self.postgres.log())
        self.assertTrue(0 < refused <= LOGINS_MOST, refused)
        # Those with a transaction under way lost it, each once; that Postgres starts nobody is told who can wait.
        self.assertLessEqual(ledger.errors, len(ledger.threads))
        self.assertEqual(ledger.codes["57P03"], 0)
        return ledger

    def test_a_slow_start_after_a_crash(self):
        self.suffer_slow_start(self.postgres.kill)

    def test_a_slow_restart(self):
        ledger = self.suffer_slow_start(self.postgres.stop)
        self.assertGreater(ledger.codes["57P01"], 0)


if __name__ == "__main__":
    unittest.main()
