"""Several pgweirs and one Redis: a tenant's rate is that of all of them together."""

import threading
import time
import unittest

from harness import TRUST, PgweirCase, Redis, Wire, side_by_side, wait_until
from harness.wire import first_error



class Fleet(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def setUp(self):
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def fleet(self, size=2, **tier):
        row = {"pool_size": 4, "max_server_connections": 4, "max_clients": 50, "queue_timeout": "30s", **tier}
        store = {"kind": "redis", "redis_url": self.redis.url(), "rates": "fleet", "timeout": "300ms"}
        config = {"auth": {"method": "trust"}, "tiers": {"test": row}, "tenants": {"app": {"tier": "test"}}}
        return [self.pgweir({**config, "tenant_store": store}, {"app": "s3cret"}) for _ in range(size)]

    def wire(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app")

    def work(self, fleet, seconds, clients=3):
        """As many transactions as they may begin, for some time: those that did, by pgweir, and the errors."""
        done, errors, over = [0] * len(fleet), [], threading.Event()

        def loop(nth, wire):
            while not over.is_set():
                error = first_error(wire.query("select 1"))
                if error:
                    errors.append(error)
                    time.sleep(0.01)
                else:
                    done[nth] += 1

        wires = [(nth, self.wire(weir)) for nth, weir in enumerate(fleet) for _ in range(clients)]
        workers = [threading.Thread(target=loop, args=pair, daemon=True) for pair in wires]
        begun = time.monotonic()
        for worker in workers:
            worker.start()
        time.sleep(seconds)
        over.set()
        for worker in workers:
            worker.join(20)
        return done, errors, time.monotonic() - begun

    def test_together_they_keep_to_the_rate(self):
        fleet = self.fleet(transactions_per_minute=1800, burst=20, at_rate="throttle")
        done, errors, passed = self.work(fleet, 6)
        self.assertEqual(errors, [])
        allowed = 20 + 30 * passed
        # A batch of each that is ahead, what its clients began before the first answer, and one each at the end.
        slack = 2 * (4 + 20) + 6
        print(f"{done} transactions in {passed:.2f} s: {sum(done)}, {allowed:.0f} are allowed, stated slack {slack}")
        self.assertLessEqual(sum(done), allowed + slack)
        self.assertGreaterEqual(sum(done), 30 * (passed - 1))
        self.assertGreater(min(done), 10)

    def questions(self):
        stats = self.redis("INFO", "commandstats")
        return next(int(line.split("calls=")[1].split(",")[0]) for line in stats.splitlines() if "stat_eval:" in line)

    def test_where_transactions_are_many_it_asks_for_batches(self):
        """A tenth of a second's at a time: at 1,000 a second 100 transactions are one question, and 10 a second come by time."""
        fleet = self.fleet(transactions_per_minute=60_000, burst=20, at_rate="throttle")
        done, errors, _ = self.work(fleet, 6)
        self.assertEqual(errors, [])
        asked = self.questions()
        print(f"{sum(done)} transactions, {asked} questions to Redis")
        self.assertLess(asked, sum(done) / 4)

    def test_the_one_that_works_may_have_it_all(self):
        fleet = self.fleet(transactions_per_minute=1800, burst=20, at_rate="throttle")
        self.wire(fleet[1]).query("select 1")
        done, errors, passed = self.work(fleet[:1], 4)
        self.assertEqual(errors, [])
        self.assertGreaterEqual(done[0], 30 * (passed - 1) + 10)

    def test_who_stays_below_the_rate_is_never_refused(self):
        fleet = self.fleet(transactions_per_minute=3000, burst=50, at_rate="reject")
        wires = [self.wire(weir) for weir in fleet for _ in range(2)]
        refused = 0
        for _ in range(40):
            for wire in wires:
                refused += first_error(wire.query("select 1")) is not None
                time.sleep(0.025)
        self.assertEqual(refused, 0)
        # And who does not, is.
        done, errors, passed = self.work(fleet, 3)
        self.assertTrue(errors)
        self.assertEqual({error["C"] for error in errors}, {"53400"})
        self.assertLessEqual(sum(done), 50 + 50 * passed + 2 * (5 + 50))

    def test_a_silent_redis_leaves_each_to_itself(self):
        fleet = self.fleet(transactions_per_minute=1800, burst=10, at_rate="throttle")
        self.work(fleet, 1)
        for trouble, end in ((self.redis.pause, self.redis.resume), (self.redis.stop, self.redis.start)):
            trouble()
            time.sleep(1)
            done, errors, passed = self.work(fleet, 4)
            self.assertEqual(errors, [])
            print(f"without Redis: {done} transactions in {passed:.2f} s")
            for each in done:
                self.assertLessEqual(each, 10 + 30 * passed + 4)
                self.assertGreater(each, 20 * (passed - 1))
            end()
        # Together again.
        wait_until(lambda: self.redis("PING") == "PONG", what="Redis back")
        time.sleep(6)
        done, errors, passed = self.work(fleet, 4)
        self.assertEqual(errors, [])
        self.assertLessEqual(sum(done), 10 + 30 * passed + 2 * (4 + 10) + 6)

    def test_a_redis_that_tells_nonsense_of_rates(self):
        fleet = self.fleet(size=1, transactions_per_minute=1800, burst=10, at_rate="throttle")
        self.redis("SET", "pgweir:rate:app", "no hash")
        done, errors, passed = self.work(fleet, 2)
        self.assertEqual(errors, [])
        self.assertGreater(done[0], 30)
        self.assertIn("tenant store tells no rates", fleet[0].log())
        self.redis("DEL", "pgweir:rate:app")
        self.redis("HSET", "pgweir:rate:app", "spent", "-1e300", "at", "nonsense")
        done, errors, passed = self.work(fleet, 2)
        self.assertEqual(errors, [])
        self.assertGreater(done[0], 30)


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Fleet)


if __name__ == "__main__":
    unittest.main()
