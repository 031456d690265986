"""A cancel ends the query that it was meant for, running or queued, and nothing else."""

import socket
import struct
import threading
import time
import unittest

import psycopg

from harness import TRUST, PgweirCase, Wire, wait_until
from harness.wire import CANCEL_REQUEST, VERSION_3_2, first_error, query, special


class Cancel(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("one", "many")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {
                    "single": {"pool_size": 1, "max_server_connections": 1, "max_clients": 100, "queue_timeout": "60s"},
                    "four": {"pool_size": 4, "max_server_connections": 4, "max_clients": 100, "queue_timeout": "60s"},
                },
                "tenants": {
                    "one": {"tier": "single", "database": "one"},
                    "many": {"tier": "four", "database": "many"},
                },
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )

    def connect(self, database="one"):
        return self.weir.connect(database, "app")

    def busy(self, database, count=1):
        """Waits until so many queries sleep in Postgres."""
        text = (
            "select count(*) from pg_stat_activity where datname = %s and state = 'active'"
            " and query like '%%pg_sleep%%' and pid <> pg_backend_pid()"
        )
        with self.postgres.connect() as direct:
            wait_until(
                lambda: direct.execute(text, (database,)).fetchone()[0] == count, what=f"{count} sleeping queries"
            )

    def in_background(self, connection, text, *arguments, **how):
        """Starts a query in a thread; join() gives its error or None."""
        outcome = []

        def work():
            try:
                connection.execute(text, *arguments, **how)
                outcome.append(None)
            except psycopg.Error as error:
                outcome.append(error)

        thread = threading.Thread(target=work)
        thread.start()

        def join():
            thread.join(30)
            self.assertFalse(thread.is_alive(), "the query did not end")
            return outcome[0]

        return join

    def test_a_running_query(self):
        with self.connect() as client:
            join = self.in_background(client, "select pg_sleep(60)")
            self.busy("one")
            client.cancel()
            self.assert_sqlstate(join(), "57014")
            self.assertEqual(client.execute("select 1").fetchone(), (1,))

    def test_a_prepared_query_that_its_server_learns_with_it(self):
        """Postgres tells of the Parse that pgweir puts in front only together with the answer to the query."""
        text = "select pg_sleep(%s)"
        with self.connect("many") as client, self.connect("many") as other:
            client.execute(text, (0,), prepare=True)
            other.execute("begin")  # on the server that knows the statement
            join = self.in_background(client, text, (60,), prepare=True)
            self.busy("many")
            client.cancel()
            self.assert_sqlstate(join(), "57014")
            other.execute("commit")

    def test_a_query_in_a_transaction(self):
        with self.connect() as client:
            client.execute("begin")
            join = self.in_background(client, "select pg_sleep(60)")
            self.busy("one")
            client.cancel()
            self.assert_sqlstate(join(), "57014")
            self.assertEqual(client.info.transaction_status, psycopg.pq.TransactionStatus.INERROR)
            client.execute("rollback")
            self.assertEqual(client.execute("select 1").fetchone(), (1,))

    def test_a_queued_query(self):
        with self.connect() as holder, self.connect() as queued:
            holder.execute("begin")
            join = self.in_background(queued, "select 'queued'")
            time.sleep(0.3)
            begun = time.monotonic()
            queued.cancel()
            self.assert_sqlstate(join(), "57014")
            self.assertLess(time.monotonic() - begun, 5)
            self.assertEqual(holder.execute("select 1").fetchone(), (1,))
            holder.execute("commit")
            self.assertEqual(queued.execute("select 2").fetchone(), (2,))

    def test_a_cancel_after_the_end_hits_nobody(self):
        """The same server serves the next client when the late cancel arrives."""
        with self.connect() as late, self.connect() as victim:
            late.execute("select 1")
            join = self.in_background(victim, "select pg_sleep(1.5)")
            self.busy("one")
            for _ in range(20):
                late.cancel()
            self.assertIsNone(join())

    def test_keys_that_nobody_was_given(self):
        with self.connect() as victim:
            join = self.in_background(victim, "select pg_sleep(1)")
            self.busy("one")
            real = self.postgres.sql(
                "select pid from pg_stat_activity where datname = 'one' and query like 'select pg_sleep%'"
            )[0][0]
            for key in (0, 1, -1, 0x7FFFFFFF):
                for pid in (real, 0, victim.info.backend_pid):
                    self.cancel_request(struct.pack("!ii", pid, key))
            self.assertIsNone(join())

    def cancel_request(self, key):
        with socket.create_connection((self.weir.host, self.weir.port), timeout=10) as other:
            other.sendall(special(CANCEL_REQUEST, key))
            self.assertEqual(other.recv(100), b"", "a cancel is not answered")

    def test_clients_have_keys_of_their_own(self):
        keys = set()
        for _ in range(20):
            with Wire(self.weir.port) as wire:
                wire.login("app", "many")
                keys.add(wire.key)
        self.assertEqual(len(keys), 20)

    def test_long_keys(self):
        """Those of protocol 3.2, whose secrets have more than the four bytes of 3.0."""
        with Wire(self.weir.port) as client, Wire(self.weir.port) as holder:
            client.login("app", "one", version=VERSION_3_2)
            holder.login("app", "one")
            self.assertEqual(len(holder.key), 4 + 4)
            key = client.key
            self.assertEqual(len(key), 4 + 32)

            client.send(query("select pg_sleep(60)"))
            self.busy("one")
            self.cancel_request(key)
            self.assertEqual(first_error(client.until_ready())["C"], "57014")

            holder.query("begin")
            client.send(query("select 'queued'"))
            wait_until(lambda: self.waiting("one") == 1, what="a client in the queue")
            self.cancel_request(key)
            self.assertEqual(first_error(client.until_ready())["C"], "57014")
            self.assertEqual(holder.query("commit")[-1], (b"Z", b"I"))
            self.assertEqual(client.value("select 2"), "2")

            client.send(query("select pg_sleep(1.5)"))
            self.busy("one")
            cut = [key[:size] for size in (8, 20, 35)]
            wrong = [key[:at] + bytes([key[at] ^ 1]) + key[at + 1 :] for at in range(len(key))]
            for other in (*cut, *wrong, key + b"\0", key + key[4:], key[:4] + bytes(32), key[:4] + bytes(256)):
                self.cancel_request(other)
            self.assertIsNone(first_error(client.until_ready()))

    def waiting(self, database):
        columns, rows = self.weir.console("show pools")
        pools = (dict(zip(columns, row)) for row in rows)
        return sum(int(pool["cl_waiting"]) for pool in pools if pool["database"] == database)

    def test_a_cancel_that_comes_before_the_query_was_read(self):
        """Sent in the same moment on two connections, in any order: 57014 or the answer, and never a hang."""
        with Wire(self.weir.port) as wire:
            wire.login("app", "many")
            for n in range(30):
                wire.send(query("select pg_sleep(0.01)"))
                self.cancel_request(wire.key)
                self.assertEqual(wire.until_ready()[-1], (b"Z", b"I"))
                self.assertEqual(wire.value(f"select {n}"), str(n))

    def test_a_storm_of_late_cancels(self):
        """Six clients cancel queries that are done or about to be; four others share their servers unharmed."""
        end = time.monotonic() + 6
        harmed, counts = [], {"victim": 0, "cancelled": 0, "cancels": 0}
        lock = threading.Lock()

        def count(what):
            with lock:
                counts[what] += 1

        def canceller(number):
            with self.connect("many") as client:
                while time.monotonic() < end:
                    try:
                        client.execute("select %s::int", (number,))
                        client.cancel()
                        count("cancels")
                    except psycopg.errors.QueryCanceled:
                        count("cancelled")

        def victim(number):
            with self.connect("many") as client:
                n = 0
                while time.monotonic() < end:
                    n += 1
                    try:
                        row = client.execute("select pg_sleep(0.004), %s::int, %s::int", (number, n)).fetchone()
                        if row[1:] != (number, n):
                            harmed.append(row)
                        count("victim")
                    except psycopg.Error as error:
                        harmed.append(error)
                        if client.broken:
                            return

        threads = [threading.Thread(target=canceller, args=(n,)) for n in range(6)]
        threads += [threading.Thread(target=victim, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(harmed, [])
        self.assertGreater(counts["victim"], 50, counts)
        self.assertGreater(counts["cancels"], 50, counts)


if __name__ == "__main__":
    unittest.main()
