"""The base of tests in which something befalls a Postgres while clients keep a ledger in it."""

import time
import unittest

from .bystander import Bystander
from .case import PgweirCase
from .ledger import HONEST, Ledger
from .machine import wait_until
from .postgres import TRUST, Postgres

ENTRIES = 200  # before a fault begins and after it has ended
FAULT_SECONDS = 2
RECOVERY_SECONDS = 5
# Of a client of the other backend, on a machine that is busy with this test as well: what the fault adds to its wait;
# and one query, where a client that has to wait for the fault itself would wait for FAULT_SECONDS.
ADDED_SECONDS = 0.1
WORST_SECONDS = 1.5


class FaultCase(PgweirCase):
    """The database `bank` is where the fault is, `calm` on a Postgres of its own is not."""

    postgres_options = {"hba": TRUST}
    calm = None  # one for all classes of a module

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.create_bank()
        if FaultCase.calm is None:
            FaultCase.calm = Postgres(hba=TRUST)
            unittest.addModuleCleanup(cls._stop_calm)
            cls.calm.create_user("app", "s3cret")
            cls.calm.create_database("calm", owner="app")

    @staticmethod
    def _stop_calm():
        FaultCase.calm.stop()
        FaultCase.calm = None

    @classmethod
    def create_bank(cls):
        cls.postgres.create_database("bank", owner="app")

    def setUp(self):
        if self.postgres.process is None:
            self.postgres.start()
        Ledger.prepare(self.postgres)

    def main_host(self):
        """Where pgweir finds the Postgres of `bank`."""
        return self.postgres

    def weir(self, bank=None, **config):
        """`bank`: limits of that tenant's tier."""
        tier = {"pool_size": 6, "max_server_connections": 6, "max_clients": 100, "queue_timeout": "30s"}
        main = self.main_host()
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {
                    "main": {"host": main.host, "port": main.port},
                    "calm": {"host": self.calm.host, "port": self.calm.port},
                },
                "tiers": {"bank": {**tier, **(bank or {})}, "calm": tier},
                "tenants": {
                    "bank": {"tier": "bank", "backend": "main"},
                    "calm": {"tier": "calm", "backend": "calm"},
                },
                **config,
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    @staticmethod
    def breaker_states(weir):
        columns, rows = weir.console("SHOW BREAKERS")
        return {row[columns.index("state")] for row in rows}

    def suffer(self, weir, begin, clear, *, honest=HONEST, seconds=FAULT_SECONDS, working=False):
        """Clients write, the fault begins, is cleared, and they go on. The ledger.

        `begin` and `clear` are called with the ledger and may take their time. `working`: entries must succeed
        meanwhile.
        """
        with Bystander(weir, "app", "calm") as bystander, Ledger(weir, honest=honest, by_wire=True) as ledger:
            wait_until(lambda: len(ledger.acknowledged) > ENTRIES, seconds=60, what="entries")
            wait_until(lambda: bystander.asked > 100, seconds=60, what="queries of the bystander")
            self.assertEqual(ledger.errors, 0)
            begun = time.monotonic()
            begin(ledger)
            before = len(ledger.acknowledged)
            time.sleep(seconds)
            if working:
                wait_until(lambda: len(ledger.acknowledged) > before, seconds=30, what="an entry meanwhile")
            clear(ledger)
            cleared = time.monotonic()
            wait_until(lambda: ledger.first_answer_after(cleared), seconds=30, what="an answer")
            recovered = ledger.first_answer_after(cleared) - cleared
            more = len(ledger.acknowledged) + ENTRIES
            wait_until(lambda: len(ledger.acknowledged) > more, seconds=60, what="more entries")
        added = bystander.added(begun, cleared)
        print(
            f"\n  fault of {cleared - begun:.1f} s: {ledger.errors} errors {dict(ledger.codes)}, answered {recovered:.2f} s after it;"
            f" another backend's client waited {added * 1000:.1f} ms more than before (95 %),"
            f" {bystander.worst * 1000:.0f} ms at most",
            flush=True,
        )
        ledger.check(self.postgres)
        self.assertEqual(ledger.codes[None], 0, "connections that ended without a word")
        self.assertLess(recovered, RECOVERY_SECONDS)
        self.assertEqual(bystander.errors, [])
        self.assertLess(added, ADDED_SECONDS)
        self.assertLess(bystander.worst, WORST_SECONDS)
        return ledger
