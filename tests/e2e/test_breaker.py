"""Circuit breakers: a Postgres that is gone is knocked at once in a while, and clients hear of it as they wish."""

import base64
import os
import re
import signal
import threading
import time
import unittest
import urllib.request

from harness import PgweirCase, Wire, free_port, wait_until
from harness.wire import Closed, first_error, query, startup

HBA = """\
local all all trust
host locked all 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
VOLUME = 5
OPEN_SECONDS = 2
WINDOW_SECONDS = 3  # long enough for VOLUME logins on a busy machine
DOWN_SECONDS = 5
FAST_SECONDS = 0.001


class Breaker(PgweirCase):
    postgres_options = {"hba": HBA}
    databases = ("app", "other", "locked")

    def setUp(self):
        if self.postgres.process is None:
            self.postgres.start()

    def weir(self, at_breaker="reject", **backend):
        tier = {"pool_size": 4, "max_server_connections": 8, "queue_timeout": "10s", "at_breaker": at_breaker}
        rules = {"breaker_volume": VOLUME, "breaker_open_time": f"{OPEN_SECONDS}s", **backend}
        http = {"port": free_port(), "addresses": ["127.0.0.1"]}
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"test": {**tier, "max_clients": 100}},
                "pool": {"unknown_tenants": True, "default_tier": "test"},
                "backends": {"main": rules},
                "http": http,
            },
            {"app": "s3cret", "admin": "adm1n"},
        )
        weir.http_port = http["port"]
        return weir

    @staticmethod
    def series(weir, name):
        """Labels to value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{weir.http_port}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        rows = (line.removeprefix(name).rsplit(" ", 1) for line in lines if line.startswith(name + "{"))
        return {labels: float(value) for labels, value in rows}

    def client(self, weir, database="app"):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", database)

    def login_error(self, weir, database):
        with Wire(weir.port) as wire:
            wire.send(startup("app", database))
            return first_error(wire.until_closed())

    def breakers(self, weir):
        columns, rows = weir.console("SHOW BREAKERS")
        return {(row[0], row[1]): dict(zip(columns, row)) for row in rows}

    def state(self, weir, database=None):
        row = self.breakers(weir).get(("main", database))
        return row and row["state"]

    def states_scraped(self, weir):
        """Of the backend: one state is 1, the others 0."""
        found = self.series(weir, "circuit_breaker_state")
        self.assertEqual(len(found), 3, found)
        return {labels.split('state="')[1].split('"')[0] for labels, value in found.items() if value == 1}

    def ask_until(self, client, wanted, seconds=20):
        """Asks again and again until the answer is an error like `wanted`, or none; all errors until then."""
        errors = []

        def asked():
            error = first_error(client.query("select 1"))
            if error:
                errors.append(error)
            return wanted(error)

        wait_until(asked, seconds=seconds, what="the answer that is waited for")
        return errors

    @staticmethod
    def attempts(weir):
        return weir.log().count('"message":"server login failed"')

    def test_a_postgres_that_is_gone_is_told_at_once(self):
        weir = self.weir()
        # More than there are servers: some wait when it happens.
        clients = [self.client(weir) for _ in range(20)]
        stop, errors, served = threading.Event(), [], []

        def load(client):
            while not stop.is_set():
                try:
                    error = first_error(client.query("select 1"))
                except Closed:
                    return  # its server died under it
                (errors.append((time.monotonic(), error)) if error else served.append(time.monotonic()))
                if error:
                    time.sleep(0.002)

        workers = [threading.Thread(target=load, args=(client,), daemon=True) for client in clients]
        for worker in workers:
            worker.start()
        wait_until(lambda: len(served) > 500, what="load")
        self.postgres.kill()
        wait_until(lambda: self.state(weir) != "closed", what="an open breaker")
        opened = time.monotonic()
        before = self.attempts(weir)
        time.sleep(DOWN_SECONDS)
        # Probes for those who fail fast: one each time that the breaker has been open for long enough.
        self.assertLessEqual(self.attempts(weir) - before, DOWN_SECONDS / OPEN_SECONDS + 1)
        open_errors = [error for at, error in errors if at > opened + 0.5]
        self.assertGreater(len(open_errors), 500)
        self.assertEqual({error["C"] for error in open_errors}, {"57P03"})
        whose = [error for error in open_errors if "backend 'main': its circuit breaker is open" in error["M"]]
        self.assertGreater(len(whose), len(open_errors) * 0.9)
        self.assertRegex(whose[-1]["H"], r"Try again in \d+\.\ds")
        row = self.breakers(weir)["main", None]
        self.assertGreater(int(row["rejected"]), 500)
        self.assertGreaterEqual(int(row["opened"]), 1)
        self.assertIn("refused", row["last_error"])
        self.assertGreaterEqual(self.series(weir, "circuit_breaker_failures_total")['{backend="main"}'], VOLUME)
        self.postgres.start()
        back, count = time.monotonic(), len(served)
        wait_until(lambda: len(served) > count + 500, what="clients are served again")
        self.assertLess(served[count] - back, OPEN_SECONDS * 1.1 + 1)
        self.assertEqual(self.state(weir), "closed")
        stop.set()
        for worker in workers:
            worker.join(10)
        for event in ("opened", "half-open", "closed"):
            weir.has_logged(f'"message":"breaker {event}"')

    def test_the_refusal_is_fast(self):
        weir = self.weir(breaker_open_time="60s")
        client = self.client(weir)
        self.assertEqual(client.value("select 1"), "1")
        self.assertEqual(self.states_scraped(weir), {"closed"})
        weir.console("BREAKER OPEN main")
        self.ask_until(client, lambda error: error)
        self.assertEqual(self.states_scraped(weir), {"open"})
        waits = []
        for _ in range(300):
            begun = time.perf_counter()
            error = first_error(client.query("select 1"))
            waits.append(time.perf_counter() - begun)
            self.assertEqual(error["C"], "57P03")
        waits.sort()
        # A busy machine adds its own to most of them.
        fast, median = waits[len(waits) // 10], waits[len(waits) // 2]
        print(f"refused within {fast * 1e6:.0f} us (one in ten), {median * 1e6:.0f} us (half), over a socket")
        self.assertLess(fast, FAST_SECONDS)

    def test_who_queues_waits_for_a_postgres_that_comes_back(self):
        weir = self.weir("queue", breaker_open_time="60s")
        clients = [self.client(weir, name) for name in ("app", "other", "app", "other")]
        for client in clients:
            self.assertEqual(client.value("select 1"), "1")
        self.postgres.stop()
        answers = []
        asking = [
            threading.Thread(target=lambda c=client: answers.append(c.value("select 2")), daemon=True)
            for client in clients
        ]
        for one in asking:
            one.start()
        wait_until(lambda: self.state(weir) != "closed", what="an open breaker")
        before = self.attempts(weir)
        time.sleep(DOWN_SECONDS)
        # One probe over all, not one of each database; at first they come fast.
        self.assertLess(self.attempts(weir) - before, 40)
        self.assertEqual(answers, [])
        self.postgres.start()
        begun = time.monotonic()
        for one in asking:
            one.join(20)
        self.assertEqual(answers, ["2"] * 4)
        self.assertLess(time.monotonic() - begun, 2.5)
        self.assertEqual(self.state(weir), "closed")
        self.assertEqual(self.breakers(weir)["main", None]["rejected"], 0)

    def test_a_secret_whose_challenge_is_not_answered_hurts_nobody_else(self):
        """A user may set its own to what it likes."""
        self.addCleanup(lambda: self.postgres.sql("alter user app password 's3cret'"))
        key = base64.b64encode(bytes(32)).decode()
        for rounds, salt_bytes in ((150000, 16), (4096, 4000), (4096, 60000)):
            salt = base64.b64encode(bytes(salt_bytes)).decode()
            self.postgres.sql(f"alter user app password 'SCRAM-SHA-256${rounds}:{salt}${key}:{key}'")
            weir = self.weir(breaker_open_time="60s")
            for _ in range(VOLUME + 2):
                self.login_error(weir, "locked")
            self.assertEqual((self.state(weir, "locked"), self.state(weir)), ("open", "closed"), (rounds, salt_bytes))
            self.assertEqual(self.client(weir, "other").value("select 2"), "2")

    def test_what_is_refused_to_one_database_hurts_no_other(self):
        weir = self.weir(breaker_open_time="60s")
        good = self.client(weir)
        codes = {"nowhere": [], "locked": []}
        # pg_hba.conf wants a password for one of them, and SCRAM takes no other than the right one.
        self.postgres.sql("alter user app password 'another'")
        self.addCleanup(lambda: self.postgres.sql("alter user app password 's3cret'"))
        for _ in range(VOLUME + 2):
            for name, seen in codes.items():
                seen.append(self.login_error(weir, name)["C"])
        self.assertEqual(codes["nowhere"], ["3D000"] * VOLUME + ["57P03"] * 2)
        self.assertEqual(codes["locked"], ["28P01"] * VOLUME + ["57P03"] * 2)
        self.assertIn("database 'nowhere', user 'app' on backend 'main'", self.login_error(weir, "nowhere")["M"])
        breakers = self.breakers(weir)
        self.assertEqual(breakers["main", None]["state"], "closed")
        self.assertEqual(breakers["main", "nowhere"]["state"], "open")
        self.assertEqual(breakers["main", "locked"]["state"], "open")
        self.assertNotIn(("main", "app"), breakers)
        self.assertEqual(good.value("select 1"), "1")
        self.assertEqual(self.client(weir, "other").value("select 2"), "2")
        # Nor does who kills his own servers, however often.
        for _ in range(3 * VOLUME):
            with Wire(weir.port) as suicide:
                suicide.login("app", "other")
                suicide.send(query("select pg_terminate_backend(pg_backend_pid())"))
                self.assertEqual(first_error(suicide.until_closed())["C"], "57P01")
        self.assertEqual(self.state(weir), "closed")
        self.assertEqual(good.value("select 3"), "3")
        # What has been put right can be tried at once.
        self.postgres.create_database("nowhere", owner="app")
        self.addCleanup(lambda: self.postgres.sql("drop database nowhere with (force)"))
        self.assertEqual(self.login_error(weir, "nowhere")["C"], "57P03")
        weir.console("BREAKER AUTO main")
        self.assertEqual(self.client(weir, "nowhere").value("select 4"), "4")

    def test_orders(self):
        weir = self.weir()
        client = self.client(weir)
        self.assertEqual(client.value("select 1"), "1")
        client.query("begin")
        weir.console("BREAKER OPEN main")
        self.assertEqual(self.breakers(weir)["main", None]["mode"], "ordered")
        # What runs goes on to its end.
        self.assertEqual(client.value("select 2"), "2")
        client.query("commit")
        error = self.ask_until(client, lambda error: error)[-1]
        self.assertEqual(error["C"], "57P03")
        self.assertIn("BREAKER AUTO", error["H"])
        time.sleep(OPEN_SECONDS * 1.2)
        self.assertEqual(first_error(client.query("select 3"))["C"], "57P03")
        weir.console("BREAKER CLOSE main")
        self.assertEqual(client.value("select 4"), "4")
        self.assertEqual(self.state(weir), "closed")
        self.postgres.kill()
        begun = time.monotonic()
        client.send(query("select 5"))
        while self.attempts(weir) < 3 * VOLUME:
            self.assertLess(time.monotonic() - begun, 20)
            time.sleep(0.05)
        self.assertEqual(self.state(weir), "closed")  # as it was told
        self.postgres.start()
        client.until_ready()
        weir.console("BREAKER AUTO main")
        self.assertEqual(self.breakers(weir)["main", None]["mode"], "auto")
        with self.assertRaisesRegex(Exception, "no backend is named 'nobody'"):
            weir.console("BREAKER OPEN nobody")

    def tenant_scraped(self, weir, tenant):
        series = self.series(weir, "pgweir_tenant_breaker_state")
        return {labels.split('tenant="')[1].split('"')[0]: value for labels, value in series.items()}.get(tenant)

    def test_why_it_is_open_is_told_for_as_long_as_it_is(self):
        weir = self.weir(breaker_window=f"{WINDOW_SECONDS}s", breaker_open_time="1min")
        for _ in range(VOLUME):
            self.assertEqual(self.login_error(weir, "nowhere")["C"], "3D000")
        time.sleep(WINDOW_SECONDS * 1.2)
        error = self.login_error(weir, "nowhere")
        self.assertEqual(error["C"], "57P03")
        self.assertIn(f"{VOLUME} of the last {VOLUME} logins and servers have failed", error["D"])
        self.assertIn('database "nowhere" does not exist', error["D"])

    def test_orders_for_one_tenant(self):
        weir = self.weir()
        weir.config["tenants"] = {name: {"tier": "test", "database": "other"} for name in ("other", "twin")}
        weir.write_files()
        weir.console("RELOAD")
        client, other = self.client(weir), self.client(weir, "other")
        for one in (client, other):
            self.assertEqual(one.value("select 1"), "1")
        weir.console("BREAKER OPEN main TENANT app")
        error = self.ask_until(client, lambda error: error)[-1]
        self.assertEqual((error["C"], error["D"]), ("57P03", "An administrator has opened it."))
        self.assertIn("database 'app', user 'app' on backend 'main'", error["M"])
        self.assertEqual(other.value("select 2"), "2")
        # Whoever comes later is held to it; nobody else is, and orders for all do not end it.
        with self.client(weir) as late:
            self.assertEqual(first_error(late.query("select 1"))["C"], "57P03")
        weir.console("BREAKER AUTO main")
        weir.console("RELOAD")
        time.sleep(OPEN_SECONDS * 1.2)
        self.assertEqual(first_error(client.query("select 3"))["C"], "57P03")
        breakers = self.breakers(weir)
        self.assertEqual((breakers["main", None]["state"], breakers["main", None]["mode"]), ("closed", "auto"))
        self.assertEqual((breakers["main", "app"]["state"], breakers["main", "app"]["mode"]), ("open", "ordered"))
        self.assertNotIn(("main", "other"), breakers)
        self.assertEqual([self.tenant_scraped(weir, name) for name in ("app", "other")], [2, 0])
        weir.has_logged(re.compile('"message":"breaker opened".*"database":"app","user":"app"'))
        weir.console("BREAKER CLOSE main TENANT app")
        self.assertEqual(client.value("select 4"), "4")
        self.assertEqual(self.breakers(weir)["main", "app"]["mode"], "ordered")
        self.assertEqual(self.tenant_scraped(weir, "app"), 0)
        weir.console("BREAKER AUTO main TENANT app")
        self.assertEqual(client.value("select 5"), "5")
        self.assertNotIn(("main", "app"), self.breakers(weir))
        # A database that another one uses, too, has no breaker of one tenant's.
        twin = self.client(weir, "twin")
        with self.assertRaisesRegex(Exception, "clients of tenant 'twin' use the same database"):
            weir.console("BREAKER OPEN main TENANT other")
        self.assertEqual(other.value("select 6"), "6")
        self.assertEqual(twin.value("select 6"), "6")
        with self.assertRaisesRegex(Exception, "tenant 'app' is on backend 'main', not on 'spare'"):
            weir.config["backends"]["spare"] = {"host": "127.0.0.1", "port": 1}
            weir.write_files()
            weir.console("RELOAD")
            weir.console("BREAKER OPEN spare TENANT app")

    def test_an_order_for_a_tenant_that_has_moved_away_can_be_ended(self):
        weir = self.weir()
        weir.config["backends"]["spare"] = {"host": "127.0.0.1", "port": self.postgres.port}
        weir.write_files()
        weir.console("RELOAD")
        client = self.client(weir)
        self.assertEqual(client.value("select 1"), "1")
        weir.console("BREAKER OPEN main TENANT app")
        weir.console("MOVE app TO spare")
        self.assertEqual(client.value("select 2"), "2")
        self.assertEqual(self.breakers(weir)["main", "app"]["mode"], "ordered")
        for order in ("OPEN", "CLOSE"):
            with self.assertRaisesRegex(Exception, "tenant 'app' is on backend 'spare', not on 'main'"):
                weir.console(f"BREAKER {order} main TENANT app")
        weir.console("BREAKER AUTO main TENANT app")
        self.assertNotIn(("main", "app"), self.breakers(weir))
        with self.assertRaisesRegex(Exception, "tenant 'app' is on backend 'spare', not on 'main'"):
            weir.console("BREAKER AUTO main TENANT app")

    def test_who_queues_waits_until_the_order_for_a_tenant_ends(self):
        weir = self.weir(at_breaker="queue")
        weir.console("BREAKER OPEN main TENANT app")
        client = Wire(weir.port)
        self.addCleanup(client.close)
        client.send(startup("app", "app"))
        time.sleep(1)
        self.assertEqual(self.attempts(weir), 0)
        self.assertEqual(self.client(weir, "other").value("select 1"), "1")
        weir.console("BREAKER AUTO main TENANT app")
        client.until_ready()
        self.assertEqual(client.value("select 1"), "1")

    def test_a_postgres_that_does_not_answer(self):
        weir = self.weir(breaker_open_time="1s", breaker_volume=2)
        weir.config["server"] = {"connect_timeout": "500ms"}
        weir.reload()
        wait_until(lambda: "configuration reloaded" in weir.log(), what="the reload")
        # Nobody is connected yet, and nobody gets through.
        os.kill(self.postgres.process.pid, signal.SIGSTOP)
        try:
            codes = []

            def knock():
                codes.append(self.login_error(weir, "app")["C"])
                return self.state(weir) == "open"

            wait_until(knock, seconds=20, what="an open breaker")
            begun = time.monotonic()
            self.assertEqual(self.login_error(weir, "other")["C"], "57P03")
            self.assertLess(time.monotonic() - begun, 0.4)
        finally:
            os.kill(self.postgres.process.pid, signal.SIGCONT)
        self.assertEqual(set(codes), {"57P03"})
        wait_until(lambda: self.login_ok(weir), seconds=5, what="served again")

    def login_ok(self, weir):
        with Wire(weir.port) as wire:
            wire.send(startup("app", "app"))
            kind = b""
            while kind not in (b"Z", b"E"):
                kind, _ = wire.receive()
            return kind == b"Z"


if __name__ == "__main__":
    unittest.main()
