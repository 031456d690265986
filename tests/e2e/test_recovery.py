"""With the default configuration: how soon after a fault is cleared each client has an answer again."""

import os
import signal
import time
import unittest

from harness import FaultCase, FaultProxy, Ledger, wait_until
from harness.ledger import HONEST

SECONDS = 1.5  # of 99 in 100 clients
MEDIAN_SECONDS = 0.5  # where nothing else runs 0.1
ANSWERS = 5  # of each client between two faults
LATEST_SECONDS = 30


class Recovery(FaultCase):
    postgres_options = {**FaultCase.postgres_options, "fsync": True}

    def defaults(self):
        """Nothing but where Postgres is: a database that no tenant names, in the default tier."""
        self.proxy = FaultProxy(self.postgres)
        self.addCleanup(self.proxy.close)
        return self.pgweir(
            {"auth": {"method": "trust"}, "backends": {"main": {"host": self.proxy.host, "port": self.proxy.port}}},
            {"app": "s3cret", "admin": "adm1n"},
        )

    # Each fault ends when it is cleared.
    def proxied(self, mode, seconds, reset=False):
        def fault():
            self.proxy.set(mode)
            if reset:
                self.proxy.reset()
            time.sleep(seconds)
            self.proxy.set("pass")

        return fault

    def resets(self):
        for _ in range(10):
            self.proxy.reset()
            time.sleep(0.05)

    def crash(self):
        self.postgres.kill()
        time.sleep(1)
        self.postgres.start()

    def restart(self):
        self.postgres.stop()
        self.postgres.start()

    def one_process_killed(self):
        before = self.postgres.log().count("ready to accept connections")
        victim = "select pid from pg_stat_activity where datname = 'bank' and usename = 'app' limit 1"
        os.kill(self.postgres.sql(victim)[0][0], signal.SIGKILL)
        wait_until(
            lambda: self.postgres.log().count("ready to accept connections") > before, seconds=30, what="recovery"
        )

    def sessions_terminated(self):
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")

    def stall(self):
        pids = [self.postgres.process.pid, *self.postgres.children()]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(1)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def test_each_client_after_each_fault(self):
        weir = self.defaults()
        faults = {
            "resets": self.resets,
            "refused for 1 s": self.proxied("refuse", 1, reset=True),
            "refused for 4 s": self.proxied("refuse", 4, reset=True),
            "silent for 1 s": self.proxied("blackhole", 1),
            "garbage for 1 s": self.proxied("garbage", 1),
            "killed, and started after 1 s": self.crash,
            "one process killed": self.one_process_killed,
            "restarted": self.restart,
            "all sessions terminated": self.sessions_terminated,
            "stopped for 1 s and continued": self.stall,
        }
        waits = []
        with Ledger(weir, honest=HONEST | {"08P01"}) as ledger:
            for name, fault in faults.items():
                self.all_at_work(ledger)
                fault()
                cleared = time.monotonic()
                wait_until(
                    lambda cleared=cleared: len(ledger.answered_after(cleared)) == len(ledger.threads),
                    seconds=LATEST_SECONDS,
                    what=f"an answer of each client after the fault: {name}",
                )
                took = sorted(at - cleared for at in ledger.answered_after(cleared).values())
                waits += took
                print(f"\n  {name:30}: {took[0]:.3f} s the first client, {took[-1]:.3f} s the last", end="", flush=True)
            self.all_at_work(ledger)
        waits.sort()
        median, p90, p99 = (waits[len(waits) * part // 100] for part in (50, 90, 99))
        print(
            f"\n  {len(waits)} waits: median {median:.3f} s, p90 {p90:.3f} s, p99 {p99:.3f} s, worst {waits[-1]:.3f} s",
            flush=True,
        )
        ledger.check(self.postgres)
        self.assertLess(p99, SECONDS)
        self.assertLess(median, MEDIAN_SECONDS)

    def all_at_work(self, ledger):
        """Each client has had its answers since now."""
        begun, entered = time.monotonic(), len(ledger.acknowledged)
        wait_until(
            lambda: len(ledger.acknowledged) > entered + ANSWERS * len(ledger.threads)
            and len(ledger.answered_after(begun)) == len(ledger.threads),
            seconds=60,
            what="all clients at work",
        )


if __name__ == "__main__":
    unittest.main()
