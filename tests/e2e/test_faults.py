"""The network between pgweir and Postgres misbehaves: nothing acknowledged is lost, others notice nothing."""

import shutil
import threading
import time
import unittest

from harness import FaultProxy, Ledger, PgweirCase, Postgres, Wire, run, wait_until
from harness.ledger import HONEST
from harness.wire import first_error, query

HBA = "local all all trust\nhost all all 127.0.0.1/32 trust\n"
FAULT_SECONDS = 2
STATEMENT_SECONDS = 1
RECOVERY_SECONDS = 5
WATCHED_AFTER = 2  # an answer that has been awaited for a second is
SILENCE_SECONDS = 7  # server.silence_max, whole seconds of the kernel, and a busy machine
# Of a client of the other backend, for one query, on a machine that is busy with this test as well.
BYSTANDER_SECONDS = 0.5


class Bystander:
    """A client of another backend, which asks all the time."""

    def __init__(self, weir):
        self.worst = 0
        self.errors = []
        self.asked = 0
        self._stop = threading.Event()
        self._wire = Wire(weir.port).login("app", "calm")
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def _ask(self):
        while not self._stop.is_set():
            begun = time.monotonic()
            error = first_error(self._wire.query("select 1"))
            self.worst = max(self.worst, time.monotonic() - begun)
            self.asked += 1
            if error:
                self.errors.append(error)
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(20)
        self._wire.close()


class Faults(PgweirCase):
    postgres_options = {"hba": HBA}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.calm = Postgres(hba=HBA)
        cls.addClassCleanup(lambda: cls.calm.stop())
        for postgres, database in ((cls.postgres, "bank"), (cls.calm, "calm")):
            postgres.create_user("app", "s3cret")
            postgres.create_database(database, owner="app")

    def setUp(self):
        self.proxy = FaultProxy(self.postgres)
        self.addCleanup(self.proxy.close)
        Ledger.prepare(self.postgres)

    def weir(self):
        tier = {"pool_size": 6, "max_server_connections": 6, "max_clients": 100, "queue_timeout": "30s"}
        bounded = {**tier, "statement_timeout": f"{STATEMENT_SECONDS}s"}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {
                    "main": {"host": self.proxy.host, "port": self.proxy.port},
                    "calm": {"host": self.calm.host, "port": self.calm.port},
                },
                "tiers": {"test": tier, "bounded": bounded},
                "tenants": {
                    "bank": {"tier": "bounded", "backend": "main"},
                    "calm": {"tier": "test", "backend": "calm"},
                },
                "server": {"connect_timeout": "3s"},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def suffer(self, begin, honest=HONEST, working=False):
        """Clients write, the fault begins, is cleared, and they go on. The ledger."""
        weir = self.weir()
        with Bystander(weir) as bystander, Ledger(weir, honest=honest) as ledger:
            wait_until(lambda: len(ledger.acknowledged) > 200, seconds=60, what="entries")
            self.assertEqual(ledger.errors, 0)
            begin()
            begun, before = time.monotonic(), len(ledger.acknowledged)
            time.sleep(FAULT_SECONDS)
            if working:
                wait_until(lambda: len(ledger.acknowledged) > before, seconds=30, what="an entry meanwhile")
            self.proxy.set("pass")
            cleared = time.monotonic()
            wait_until(lambda: ledger.first_answer_after(cleared), seconds=30, what="an answer")
            recovered = ledger.first_answer_after(cleared) - cleared
            more = len(ledger.acknowledged) + 200
            wait_until(lambda: len(ledger.acknowledged) > more, seconds=60, what="more entries")
        print(
            f"\n  fault of {cleared - begun:.1f} s: {ledger.errors} errors, answered {recovered:.2f} s after it;"
            f" another backend's client waited {bystander.worst * 1000:.0f} ms at most",
            flush=True,
        )
        ledger.check(self.postgres)
        self.assertLess(recovered, RECOVERY_SECONDS)
        self.assertEqual(bystander.errors, [])
        self.assertGreater(bystander.asked, 100)
        self.assertLess(bystander.worst, BYSTANDER_SECONDS)
        return ledger

    def test_latency(self):
        ledger = self.suffer(lambda: self.proxy.set("latency", 0.5), HONEST | {"57014"}, working=True)
        # A transaction of four statements and a login of two rounds: slow is no error.
        self.assertLessEqual(ledger.errors, len(ledger.threads))

    def test_resets(self):
        def begin():
            for _ in range(20):
                self.proxy.reset()
                time.sleep(0.05)

        self.suffer(begin)

    def test_resets_and_refusals(self):
        def begin():
            self.proxy.set("refuse")
            self.proxy.reset()

        ledger = self.suffer(begin)
        # Each was in one transaction at most when it happened; who came after that waited.
        self.assertLessEqual(ledger.errors, len(ledger.threads))

    def test_a_black_hole(self):
        # Their statements have a ceiling: it ends them, and their connections.
        self.suffer(lambda: self.proxy.set("blackhole"), HONEST | {"57014"})

    def test_garbage(self):
        self.suffer(lambda: self.proxy.set("garbage"), HONEST | {"08P01"})


def may_drop_packets():
    """Whether this user may have the kernel drop packets."""
    iptables = shutil.which("iptables")
    return bool(iptables) and run([iptables, "-w", "-n", "-L", "INPUT"]).returncode == 0


@unittest.skipUnless(may_drop_packets(), "needs iptables, and the right to use it")
class HalfOpen(PgweirCase):
    """Postgres's machine is gone without a word: no FIN, no RST, no acknowledgement."""

    postgres_options = {"hba": HBA}

    def silence(self):
        for side in ("--sport", "--dport"):
            rule = ["INPUT", "-p", "tcp", side, self.postgres.port, "-j", "DROP"]
            run(["iptables", "-w", "-I", *rule], check=True)
            self.addCleanup(run, ["iptables", "-w", "-D", *rule])

    def test_whoever_waits_for_an_answer_notices(self):
        self.postgres.create_user("app", "s3cret")
        self.postgres.create_database("bank", owner="app")
        weir = self.pgweir(
            {"auth": {"method": "trust"}, "pool": {"unknown_tenants": True}},
            {"app": "s3cret", "admin": "adm1n"},
        )
        clients = [Wire(weir.port).login("app", "bank") for _ in range(2)]
        for client in clients:
            self.addCleanup(client.close)
        waiting, other = clients
        # Two servers: one that will be idle, one at work.
        other.query("begin")
        waiting.query("select 1")
        other.query("commit")
        waiting.send(query("select pg_sleep(60)"))
        time.sleep(WATCHED_AFTER)
        begun = time.monotonic()
        self.silence()
        error = first_error(waiting.until_closed())
        noticed = time.monotonic() - begun
        print(f"\n  noticed {noticed:.1f} s after the last packet", flush=True)
        self.assertEqual(error["C"], "08006", error)
        self.assertLess(noticed, SILENCE_SECONDS)
        wait_until(lambda: '"message":"host is silent"' in weir.log(), what="the event")
        columns, rows = weir.console("SHOW SERVERS")
        states = [row[columns.index("state")] for row in rows]
        self.assertNotIn("idle", states)


if __name__ == "__main__":
    unittest.main()
