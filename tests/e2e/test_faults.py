"""The network between pgweir and Postgres misbehaves: nothing acknowledged is lost, others notice nothing."""

import shutil
import socket
import time
import unittest

from harness import FaultCase, FaultProxy, PgweirCase, Wire, run, wait_until
from harness.fault_case import TRUST
from harness.ledger import HONEST
from harness.wire import first_error, query

STATEMENT_SECONDS = 1
WATCHED_AFTER = 2  # an answer that has been awaited for a second is
TCP_RTO_MAX_MS = 44
LOST_SECONDS = 4  # unbounded, a packet is sent again after 0.2, 0.6, 1.5, 3.2 and 6.6 s
AGAIN_SECONDS = 1.5
UNANSWERED_SECONDS = 10  # server.connect_timeout by default: 15
NOTICED_SECONDS = 6.0  # server.silence_max is 5 s, and the machine may be busy


class Faults(FaultCase):
    def setUp(self):
        super().setUp()
        self.proxy = FaultProxy(self.postgres)
        self.addCleanup(self.proxy.close)

    def main_host(self):
        return self.proxy

    def suffer_by_proxy(self, begin, **how):
        weir = self.weir({"statement_timeout": f"{STATEMENT_SECONDS}s"}, server={"connect_timeout": "3s"})
        return self.suffer(weir, lambda ledger: begin(), lambda ledger: self.proxy.set("pass"), **how)

    def test_latency(self):
        ledger = self.suffer_by_proxy(
            lambda: self.proxy.set("latency", 0.5), honest=HONEST | {"57014"}, working=True
        )
        # A transaction of four statements and a login of two rounds: slow is no error.
        self.assertLessEqual(ledger.errors, len(ledger.threads))

    def test_resets(self):
        def begin():
            for _ in range(20):
                self.proxy.reset()
                time.sleep(0.05)

        self.suffer_by_proxy(begin)

    def test_resets_and_refusals(self):
        def begin():
            self.proxy.set("refuse")
            self.proxy.reset()

        ledger = self.suffer_by_proxy(begin)
        # Each was in one transaction at most when it happened; who came after that waited.
        self.assertLessEqual(ledger.errors, len(ledger.threads))

    def test_a_black_hole(self):
        # Their statements have a ceiling: it ends them, and their connections.
        self.suffer_by_proxy(lambda: self.proxy.set("blackhole"), honest=HONEST | {"57014"})

    def test_garbage(self):
        self.suffer_by_proxy(lambda: self.proxy.set("garbage"), honest=HONEST | {"08P01"})

    def test_logins_that_are_never_answered_are_not_waited_for(self):
        self.get_over_silent_logins("swallow", "accepted the connection and said nothing for server.silence_max")

    def test_logins_that_are_answered_once_and_never_again_are_not_waited_for(self):
        self.get_over_silent_logins("mute", "fell silent in the middle of the login for server.silence_max")

    def get_over_silent_logins(self, how, told):
        weir = self.weir(server={"silence_max": "1s"})
        client = Wire(weir.port).login("app", "bank")
        self.addCleanup(client.close)
        self.assertEqual(client.value("select 1"), "1")
        self.proxy.set(how)
        self.proxy.reset()
        wait_until(lambda: self.servers(weir) == 0, what="servers gone")
        known = self.proxy.accepted
        client.send(query("select 2"))
        wait_until(lambda: self.proxy.accepted > known, what="a login that is not answered")
        self.proxy.set("pass")
        begun = time.monotonic()
        self.assertIsNone(first_error(client.until_ready()))
        waited = time.monotonic() - begun
        print(f"\n  answered {waited:.2f} s after the network was back", flush=True)
        self.assertLess(waited, UNANSWERED_SECONDS)
        weir.has_logged(told)

    @staticmethod
    def servers(weir):
        columns, rows = weir.console("SHOW SERVERS")
        return sum(row[columns.index("database")] == "bank" for row in rows)


def may_drop_packets():
    """Whether this user may have the kernel drop packets."""
    iptables = shutil.which("iptables")
    return bool(iptables) and run([iptables, "-w", "-n", "-L", "INPUT"]).returncode == 0


def may_bound_retransmission():
    """Whether this kernel can be told how long to wait at most before a lost packet is sent again."""
    with socket.socket() as one:
        try:
            one.setsockopt(socket.IPPROTO_TCP, TCP_RTO_MAX_MS, 1000)
        except OSError:
            return False
    return True


@unittest.skipUnless(may_drop_packets(), "needs iptables, and the right to use it")
class HalfOpen(PgweirCase):
    """Postgres's machine is gone without a word: no FIN, no RST, no acknowledgement."""

    postgres_options = {"hba": TRUST}
    databases = ("bank",)

    def silence(self, sides=("--sport", "--dport")):
        """Returns what ends it."""
        rules = [["INPUT", "-p", "tcp", side, self.postgres.port, "-j", "DROP"] for side in sides]
        for rule in rules:
            run(["iptables", "-w", "-I", *rule], check=True)

        def heal():
            for rule in rules:
                run(["iptables", "-w", "-D", *rule])

        self.addCleanup(heal)
        return heal

    def clients(self, count):
        weir = self.pgweir(
            {"auth": {"method": "trust"}, "pool": {"unknown_tenants": True}},
            {"app": "s3cret", "admin": "adm1n"},
        )
        clients = [Wire(weir.port).login("app", "bank") for _ in range(count)]
        for client in clients:
            self.addCleanup(client.close)
        return weir, clients

    @unittest.skipUnless(may_bound_retransmission(), "needs TCP_RTO_MAX_MS of Linux 6.15")
    def test_what_is_lost_is_sent_again_each_second(self):
        _, [client] = self.clients(1)
        self.assertEqual(client.value("select 1"), "1")
        heal = self.silence(["--dport"])  # the requests: of the answers Postgres's machine takes care
        client.send(query("select 2"))
        time.sleep(LOST_SECONDS)
        heal()
        begun = time.monotonic()
        messages = client.until_ready()
        waited = time.monotonic() - begun
        print(f"\n  answered {waited:.2f} s after the network was back", flush=True)
        self.assertIsNone(first_error(messages))
        self.assertLess(waited, AGAIN_SECONDS)

    def test_whoever_waits_for_an_answer_notices(self):
        weir, [waiting, other] = self.clients(2)
        # Two servers: one that will be idle, one at work.
        other.query("begin")
        waiting.query("select 1")
        other.query("commit")
        waiting.send(query("select pg_sleep(60)"))
        time.sleep(WATCHED_AFTER)
        begun = time.monotonic()
        self.silence()
        self.expect_notice(waiting, begun)
        wait_until(lambda: '"message":"host is silent"' in weir.log(), what="the event")
        columns, rows = weir.console("SHOW SERVERS")
        states = [row[columns.index("state")] for row in rows]
        self.assertNotIn("idle", states)

    def test_whoever_asks_into_the_void_notices(self):
        _, [client] = self.clients(1)
        self.assertEqual(client.value("select 1"), "1")
        self.silence()
        begun = time.monotonic()
        client.send(query("select 2"))
        self.expect_notice(client, begun)

    def test_whoever_listens_notices(self):
        """Nobody asks on that connection, and notifications that are sent meanwhile are lost."""
        weir, [client] = self.clients(1)
        client.query("listen news")
        weir.has_logged("listener connected")
        wait_until(lambda: [row for row in weir.console("SHOW SERVERS")[1] if "idle" in row], what="it is handed over")
        time.sleep(WATCHED_AFTER)
        begun = time.monotonic()
        self.silence()
        wait_until(lambda: '"message":"listener lost"' in weir.log(), seconds=60, what="the listener is lost")
        noticed = time.monotonic() - begun
        print(f"\n  noticed {noticed:.1f} s after the last packet", flush=True)
        self.assertLess(noticed, NOTICED_SECONDS)

    def expect_notice(self, client, begun):
        error = first_error(client.until_closed())
        noticed = time.monotonic() - begun
        print(f"\n  noticed {noticed:.1f} s after the last packet", flush=True)
        self.assertEqual(error["C"], "08006", error)
        self.assertLess(noticed, NOTICED_SECONDS)


if __name__ == "__main__":
    unittest.main()
