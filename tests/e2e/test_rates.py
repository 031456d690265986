"""What a tier answers at its limits: rates that reject or throttle, clients and pools that reject or queue."""

import threading
import time
import unittest
import urllib.request

from harness import TRUST, PgweirCase, Wire, free_port, side_by_side, wait_until
from harness.wire import error_fields, first_error, kinds, query, startup



class Answers(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def weir(self, http=None, **tier):
        row = {"pool_size": 2, "max_server_connections": 2, "max_clients": 50, "queue_timeout": "10s", **tier}
        more = {"http": {"port": http, "addresses": ["127.0.0.1"]}} if http else {}
        return self.pgweir(
            {"auth": {"method": "trust"}, "tiers": {"test": row}, "tenants": {"app": {"tier": "test"}}, **more},
            {"app": "s3cret", "admin": "adm1n"},
        )

    def wire(self, weir, **parameters):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app", **parameters)

    def refused_login(self, weir):
        with Wire(weir.port) as wire:
            wire.send(startup("app", "app"))
            return first_error(wire.until_closed())

    def answers(self, wire, count):
        """One query after another; what each answered."""
        return [first_error(wire.query("select 1")) for _ in range(count)]

    def test_a_rate_that_rejects(self):
        weir = self.weir(transactions_per_minute=60, burst=5, at_rate="reject")
        wire = self.wire(weir)
        answers = self.answers(wire, 8)
        self.assertEqual([bool(error) for error in answers], [False] * 5 + [True] * 3)
        error = answers[-1]
        self.assertEqual((error["S"], error["C"]), ("ERROR", "53400"))
        self.assertIn('tenant "app"', error["M"])
        self.assertIn("transactions_per_minute of tier test: 60 are allowed, and 5 of the 5 that may begin at once have begun; ", error["D"])
        self.assertIn("any number", error["H"])  # the shipped tiers have no rate
        # The session goes on, and a second later it may run one more.
        wait_until(lambda: first_error(wire.query("select 1")) is None, seconds=5, what="the next token")
        # A whole transaction takes one.
        time.sleep(1.1)
        for text in ("begin", "select 1", "select 2", "commit"):
            self.assertIsNone(first_error(wire.query(text)), text)
        # So does a batch of the extended protocol, whose Sync is answered, too.
        wire.send(b"".join(query("select 1") for _ in range(50)))
        replies = [wire.until_ready() for _ in range(50)]
        refused = [reply for reply in replies if first_error(reply)]
        self.assertEqual([kinds(reply) for reply in refused], ["EZ"] * len(refused))
        self.assertGreater(len(refused), 40)

    def test_a_rate_that_throttles(self):
        weir = self.weir(transactions_per_minute=600, burst=5, at_rate="throttle")
        wires = [self.wire(weir) for _ in range(5)]
        self.postgres.sql("create sequence turns; grant usage on turns to app", "app")
        turns, errors, over = [], [], threading.Event()

        def work(wire):
            while not over.is_set():
                before = time.monotonic()
                wire.send(query("select nextval('turns')"))
                behind = time.monotonic()
                answer = wire.until_ready()
                if first_error(answer):
                    errors.append(first_error(answer))
                    return
                turns.append((int(answer[1][1][6:]), before, behind))

        begun = time.monotonic()
        workers = [threading.Thread(target=work, args=(wire,), daemon=True) for wire in wires]
        for worker in workers:
            worker.start()
        time.sleep(4)
        over.set()
        for worker in workers:
            worker.join(10)
        passed = time.monotonic() - begun
        self.assertEqual(errors, [])
        print(f"{len(turns)} transactions in {passed:.2f} s, at most {5 + 10 * passed:.0f} are allowed")
        self.assertLessEqual(len(turns), 5 + 10 * passed + 1)
        self.assertGreaterEqual(len(turns), 5 + 10 * (passed - 1) - 10)
        # In turn: nobody is served before one who had asked well before him.
        for mine, _, asked in turns:
            overtaken = [(other, before - asked) for other, before, _ in turns if other < mine and before > asked + 0.3]
            self.assertEqual(overtaken, [], f"turn {mine}")

    def test_a_throttled_client_is_told_and_refused_in_the_end(self):
        weir = self.weir(transactions_per_minute=1, burst=1, at_rate="throttle", queue_timeout="6s")
        wire, gone, canceled = (self.wire(weir) for _ in range(3))
        self.assertEqual(self.answers(wire, 1), [None])
        begun = time.monotonic()
        for each in (wire, gone, canceled):
            each.send(query("select 1"))
        gone.close()
        kind, payload = wire.receive()
        self.assertEqual(kind, b"N")
        notice = error_fields(payload)
        self.assertEqual(notice["M"], 'still waiting for its turn: too many transactions of tenant "app"')
        self.assertIn("transactions_per_minute of tier test", notice["D"])
        reply = wire.until_ready()
        self.assertEqual(first_error(reply)["C"], "53400")
        self.assertGreater(time.monotonic() - begun, 5.5)
        self.assertLess(time.monotonic() - begun, 15)
        # A lifted rate lets everybody go.
        weir.config["tiers"]["test"]["transactions_per_minute"] = 0
        wire.send(query("select 1"))
        weir.reload()
        self.assertIsNone(first_error(wire.until_ready()))

    def test_a_throttled_client_waits_in_every_table(self):
        port = free_port()
        weir = self.weir(port, transactions_per_minute=1, burst=1, at_rate="throttle", queue_timeout="60s")
        held, idle = self.wire(weir), self.wire(weir)

        def shown(what):
            columns, rows = weir.console(f"SHOW {what}")
            return [dict(zip(columns, row)) for row in rows]

        def pool():
            (row,) = [row for row in shown("POOLS") if row["database"] == "app"]
            return row["cl_active"], row["cl_waiting"]

        self.assertIsNone(first_error(held.query("select 1")))
        self.assertEqual(pool(), (2, 0))
        held.send(query("select 1"))
        wait_until(lambda: pool() == (1, 1), what="one that waits")
        states = sorted(row["state"] for row in shown("CLIENTS") if row["database"] == "app")
        self.assertEqual(states, ["idle", "waiting"])
        self.assertEqual(sum(row["waiting"] for row in shown("WORKERS")), 1)
        time.sleep(1.1)
        (row,) = [row for row in shown("POOLS") if row["database"] == "app"]
        self.assertGreaterEqual(row["maxwait"], 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            samples = page.read().decode()
        self.assertIn('pgweir_clients_waiting{tier="test"} 1\n', samples)
        self.assertIn('pgweir_tenant_clients_waiting{tenant="app",tier="test"} 1\n', samples)
        # Whoever leaves waits no more, and nobody else did.
        held.close()
        wait_until(lambda: pool() == (1, 0), what="nobody that waits")
        self.assertEqual(sum(row["waiting"] for row in shown("WORKERS")), 0)
        idle.close()

    def test_pipelined_transactions_are_counted(self):
        weir = self.weir(transactions_per_minute=60, burst=10, at_rate="reject")
        wire = self.wire(weir)
        wire.send(b"".join(query(f"select {n}") for n in range(10)))
        for _ in range(10):
            wire.until_ready()
        self.assertEqual(first_error(wire.query("select 1"))["C"], "53400")

    def test_a_pool_that_rejects(self):
        weir = self.weir(pool_size=1, max_server_connections=1, at_pool="reject")
        holder, other = self.wire(weir), self.wire(weir)
        # Nobody is refused because the first server is still to be opened.
        self.assertEqual(self.answers(other, 3), [None] * 3)
        holder.query("begin")
        begun = time.monotonic()
        error = first_error(other.query("select 1"))
        self.assertLess(time.monotonic() - begun, 2)
        self.assertEqual(error["C"], "53300")
        self.assertIn("1 of max_server_connections 1", error["D"])
        self.assertIn("starter allows 10" if "starter" in error["H"] else "free allows 5", error["H"])
        holder.query("commit")
        self.assertEqual(self.answers(other, 3), [None] * 3)

    def test_clients_that_queue_in_vain(self):
        weir = self.weir(max_clients=2, at_clients="queue", queue_timeout="2s")
        for _ in range(2):
            self.wire(weir)
        begun = time.monotonic()
        error = self.refused_login(weir)
        self.assertEqual((error["S"], error["C"]), ("FATAL", "53300"))
        self.assertIn("max_clients of tier test: 2 of 2", error["D"])
        self.assertIn("free allows 20", error["H"])
        self.assertGreater(time.monotonic() - begun, 1.8)

    def test_clients_that_queue_get_the_places_in_turn(self):
        weir = self.weir(max_clients=2, at_clients="queue", queue_timeout="60s")
        clients = [self.wire(weir) for _ in range(2)]
        first, second = Wire(weir.port), Wire(weir.port)
        self.addCleanup(first.close)
        self.addCleanup(second.close)
        for number, wire in enumerate((first, second), 1):
            wire.send(startup("app", "app") + query("select 7"))
            wait_until(lambda: self.limit(weir, "logins that wait")[1] == str(number), what="it at the door")
        clients.pop().close()
        first.until_ready()
        self.assertEqual(kinds(first.until_ready()), "TDCZ")
        # The second has waited since, and gets the next place.
        first.close()
        second.until_ready()
        self.assertEqual(kinds(second.until_ready()), "TDCZ")

    def test_a_login_that_waits_long_is_told_why(self):
        """In front of what ends a login, where drivers take it."""
        weir = self.weir(max_clients=1, at_clients="queue", queue_timeout="60s")
        holder = self.wire(weir)
        waiting = Wire(weir.port)
        self.addCleanup(waiting.close)
        waiting.send(startup("app", "app"))
        self.assertEqual(waiting.receive()[0], b"R")  # it is in the queue, in front of the driver
        driver = []
        thread = threading.Thread(target=lambda: driver.append(weir.connect("app", "app", connect_timeout=60)))
        thread.start()
        kind, payload = waiting.receive()
        self.assertEqual(kind, b"N")
        notice = error_fields(payload)
        self.assertEqual(notice["M"], "still waiting to be let in: too many connections for tenant \"app\"")
        self.assertEqual(notice["D"], "max_clients of tier test: 1 of 1 connections are in use.")
        self.assertEqual(notice["H"], "Close connections that are not needed, or choose a tier that allows more; "
                                      "free allows 20.")
        wait_until(lambda: self.limit(weir, "logins that wait")[1] == "2", what="both at the door")
        self.assertIn('too many connections for tenant "app": max_clients of tier test: 1 of 1',
                      self.limit(weir, "logins that wait")[3])
        time.sleep(0.5)  # the driver, which came behind it, has had its notice, too
        holder.close()
        self.assertEqual(kinds(waiting.until_ready())[-1], "Z")
        self.assertEqual(waiting.value("select 7"), "7")
        waiting.close()
        thread.join(60)
        self.assertEqual(driver[0].execute("select 8").fetchone(), (8,))
        driver[0].close()

    def test_a_login_that_waits_for_postgres_is_told_why(self):
        here = {"host": "127.0.0.1", "port": free_port()}
        weir = self.pgweir({"auth": {"method": "trust"}, "backends": {"main": here}}, {"app": "s3cret"})
        with Wire(weir.port) as waiting:
            waiting.send(startup("app", "app"))
            self.assertEqual(waiting.receive()[0], b"R")
            kind, payload = waiting.receive()
            self.assertEqual(kind, b"N")
            notice = error_fields(payload)
            self.assertRegex(notice["M"], r"^still waiting for a server connection: no server connection within 5\.\ds: connect to "
                                          r".*: connection refused$")
            self.assertRegex(notice["D"], r'^backend "main", database "app": \d+ login attempts failed in a row\.$')
            # The same as an operator is told.
            why = self.limit(weir, "clients that wait")[3]
            for said in ("connection refused", "login attempts failed in a row.", notice["H"]):
                self.assertIn(said, why)

    def test_who_waits_for_an_operator_is_told_so(self):
        weir = self.weir()
        with self.wire(weir) as waiting:
            self.assertEqual(waiting.value("select 1"), "1")
            weir.console("PAUSE app")
            waiting.send(query("select 2"))
            kind, payload = waiting.receive()
            self.assertEqual(kind, b"N")
            notice = error_fields(payload)
            self.assertEqual(notice["M"], 'still waiting for a server connection: tenant "app" is paused')
            self.assertRegex(notice["D"], r"^It has been waiting for 5\.\ds\.$")
            self.assertEqual(notice["H"], "RESUME on the console lets it go on.")
            weir.console("RESUME app")
            self.assertEqual(kinds(waiting.until_ready()), "TDCZ")

    def limit(self, weir, name):
        return next(row for row in weir.console("SHOW LIMIT app")[1] if row[0] == name)

    def test_a_queue_of_logins_does_not_keep_who_has_left(self):
        weir = self.weir(max_clients=1, at_clients="queue", queue_timeout="60s")
        holder = self.wire(weir)
        for _ in range(200):
            with Wire(weir.port) as wire:
                wire.send(startup("app", "app"))
        waiting = Wire(weir.port)
        self.addCleanup(waiting.close)
        waiting.send(startup("app", "app"))
        time.sleep(0.3)
        holder.close()
        self.assertEqual(kinds(waiting.until_ready())[-1], "Z")


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Answers)


if __name__ == "__main__":
    unittest.main()
