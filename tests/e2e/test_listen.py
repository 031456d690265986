"""LISTEN, shared by all clients of a group: who hears what, and what it costs Postgres."""

import time
import unittest

import psycopg

from harness import PgweirCase
from harness.machine import wait_until

SERVERS = 4


class Listen(PgweirCase):
    TIER = {"pool_size": SERVERS, "max_server_connections": SERVERS, "max_clients": 400, "max_pinned_clients": 0}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_database("app", owner="app")

    def weir(self, **tier):
        return self.pgweir(
            {
                "server": {"rotation": True},
                "tiers": {"listening": {**self.TIER, **tier}},
                "tenants": {"app": {"tier": "listening", "backend": "main", "database": "app"}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )

    def client(self, weir, **options):
        client = weir.connect("app", "app", **{"autocommit": True, "prepare_threshold": None, **options})
        self.addCleanup(client.close)
        self.told[client] = []
        client.add_notify_handler(lambda one: self.told[client].append((one.channel, one.payload)))
        return client

    def setUp(self):
        super().setUp()
        self.told = {}

    def shown(self, weir, command):
        columns, rows = weir.console(command)
        return [dict(zip(columns, row)) for row in rows]

    def heard(self, client, count, seconds=20):
        """The next `count` notifications, and a moment later still no more."""
        got = []
        end = time.monotonic() + seconds
        while len(got) < count and time.monotonic() < end:
            self.take(client, got)
            time.sleep(0.005)
        time.sleep(0.1)
        return self.take(client, got)

    def take(self, client, got):
        client.pgconn.consume_input()
        got += self.told[client]
        self.told[client].clear()
        while (one := client.pgconn.notifies()) is not None:
            got.append((one.relname.decode(), one.extra.decode()))
        return got

    def pids(self, client):
        return {client.execute("select pg_backend_pid()").fetchone()[0] for _ in range(4 * SERVERS)}

    def settled(self, weir):
        """Nobody has a server."""

        def all_idle():
            return all(row["state"] == "idle" for row in self.shown(weir, "SHOW CLIENTS") if row["database"] == "app")

        wait_until(all_idle, what="listening clients that keep no server")

    def warm(self, weir):
        clients = [self.client(weir) for _ in range(SERVERS)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            client.execute("commit")
            client.close()

    def test_two_clients(self):
        weir = self.weir()
        self.warm(weir)
        one, two = self.client(weir), self.client(weir)
        one.execute("listen news")
        one.execute('listen "Odd ""name"""')
        two.execute("listen news")
        self.settled(weir)
        for n in range(20):
            two.execute(f"notify news, '{n}'")
        one.execute("notify \"Odd \"\"name\"\"\", 'mine'")
        two.execute("notify other, 'nobody''s'")
        news = [("news", str(n)) for n in range(20)]
        self.assertEqual(self.heard(one, 21), [*news, ('Odd "name"', "mine")])
        self.assertEqual(self.heard(two, 20), news)
        one.execute("unlisten news")
        two.execute("notify news, 'again'")
        self.assertEqual(self.heard(two, 1), [("news", "again")])
        self.assertEqual(self.heard(one, 0), [])
        two.execute("unlisten *")
        two.execute("notify news, 'and again'")
        one.execute("notify \"Odd \"\"name\"\"\", 'still'")
        self.assertEqual(self.heard(one, 1), [('Odd "name"', "still")])
        self.assertEqual(self.heard(two, 0), [])

    def test_transactions_decide(self):
        weir = self.weir(max_pinned_clients=2)
        self.warm(weir)
        ears, mouth = self.client(weir), self.client(weir)
        every = "notify a, '.'; notify b, '.'; notify c, '.'"
        rows = [
            ("begin; listen a; rollback", ""),
            ("begin; listen a; savepoint s; listen b; rollback to s; listen c; commit", "ac"),
            ("begin; listen b; select 1/0", "ac"),
            ("rollback", "ac"),
            ("unlisten a; select 1/0", "ac"),
            (["begin", "unlisten a", "rollback"], "ac"),
            (["begin", "savepoint s", "unlisten *", "rollback to s", "commit"], "ac"),
            (["begin", "savepoint s", "unlisten c", "release s", "unlisten a", "listen a", "commit"], "a"),
            (["begin", "unlisten *", "listen b", "commit"], "b"),
            ("unlisten *; listen c", "c"),
            ("begin; unlisten c; listen a; commit", "a"),
            (["begin", "listen b", "unlisten b", "commit"], "a"),
            ("do $$ begin execute 'listen c'; end $$", "ac"),
            ("begin; unlisten a; rollback", "ac"),
            ("discard all", ""),
            ("listen a; listen b", "ab"),
            ("unlisten *", ""),
        ]
        for texts, channels in rows:
            with self.subTest(texts):
                for text in [texts] if isinstance(texts, str) else texts:
                    try:
                        ears.execute(text)
                    except psycopg.errors.DivisionByZero:
                        pass
                if ears.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    continue
                if len(channels) > 1:
                    self.settled(weir)  # until then, what is told of different channels may change places
                mouth.execute(every)
                self.assertEqual(self.heard(ears, len(channels)), [(name, ".") for name in channels])

    def test_extended(self):
        weir = self.weir()
        self.warm(weir)
        ears, mouth = self.client(weir), self.client(weir)

        def run(text):
            ears.pgconn.exec_params(text.encode(), [])

        for texts, channels in [
            (["listen a"], "a"),
            (["begin", "listen b", "unlisten a", "rollback"], "a"),
            (["begin", "listen b", "unlisten a", "commit"], "b"),
            (["unlisten b"], ""),
            (["listen a", "listen b", "unlisten *"], ""),
        ]:
            with self.subTest(texts):
                for text in texts:
                    run(text)
                mouth.execute("notify a, '.'; notify b, '.'")
                self.assertEqual(self.heard(ears, len(channels)), [(name, ".") for name in channels])

    def test_nothing_is_told_inside_a_transaction(self):
        weir = self.weir()
        ears, mouth = self.client(weir), self.client(weir)
        ears.execute("listen a")
        self.settled(weir)
        ears.execute("begin")
        ears.execute("notify a, 'mine'")
        mouth.execute("notify a, 'one'")
        mouth.execute("begin")
        mouth.execute("notify a, 'never'")
        mouth.execute("rollback")
        self.assertEqual(self.heard(ears, 0), [])
        ears.execute("commit")
        self.assertEqual(self.heard(ears, 2), [("a", "one"), ("a", "mine")])

    def test_what_comes_while_it_is_handed_over(self):
        """Each notification once and in order, from the moment that LISTEN is answered."""
        weir = self.weir()
        mouth = self.client(weir)
        for round_ in range(20):
            ears = self.client(weir)
            ears.execute("listen a")
            for n in range(10):
                mouth.execute(f"notify a, '{round_}.{n}'")
            self.assertEqual(self.heard(ears, 10), [("a", f"{round_}.{n}") for n in range(10)])
            ears.close()

    def test_what_was_notified_before_an_unlisten(self):
        """Postgres tells it before it looks at the UNLISTEN; so does the shared connection."""
        weir = self.weir()
        mouth = self.client(weir)
        ends = [("unlisten a", {}), ("unlisten *", {}), ("discard all", {}), ("unlisten a", {"prepare": True})]
        for round_ in range(15):
            ears = [self.client(weir) for _ in ends]
            for ear, (end, how) in zip(ears, ends):
                if how:
                    ear.execute(end, **how)  # later only its name is sent
                ear.execute("listen a")
            self.settled(weir)
            told = []
            for n, (ear, (end, how)) in enumerate(zip(ears, ends)):
                told.append(f"{round_}.{n}")
                mouth.execute(f"notify a, '{told[-1]}'")
                ear.execute(end, **how)
                self.assertEqual([payload for _, payload in self.take(ear, [])], told, end)
            mouth.execute("notify a, 'late'")
            for ear in ears:
                self.assertEqual(self.heard(ear, 0), [])
                ear.close()

    def test_what_was_notified_before_an_unlisten_behind_others(self):
        """The same where the UNLISTEN is pipelined, behind another batch or in the same one."""
        weir = self.weir()
        mouth = self.client(weir)
        ways = [(end, sync) for end in ("unlisten a", "unlisten *") for sync in (True, False)]
        for round_ in range(10):
            ears = [self.client(weir) for _ in ways]
            for ear in ears:
                ear.execute("listen a")
            self.settled(weir)
            told = []
            for n, (ear, (end, sync)) in enumerate(zip(ears, ways)):
                told.append(f"{round_}.{n}")
                mouth.execute(f"notify a, '{told[-1]}'")
                with ear.pipeline() as pipeline:
                    before = ear.execute("select 'before'")
                    if sync:
                        pipeline.sync()
                    ear.execute(end)
                    after = ear.execute("select 'after'")
                self.assertEqual((before.fetchone()[0], after.fetchone()[0]), ("before", "after"))
                self.assertEqual([payload for _, payload in self.take(ear, [])], told, (end, sync))
            mouth.execute("notify a, 'late'")
            for ear in ears:
                self.assertEqual(self.heard(ear, 0), [])
                ear.close()

    def test_two_hundred_clients_hold_no_server(self):
        weir = self.weir()
        clients = [self.client(weir) for _ in range(200)]
        for n, client in enumerate(clients):
            client.execute(f"listen mine_{n % 50}")
            client.execute("listen everybody")
        self.settled(weir)
        self.assertEqual(self.shown(weir, "SHOW PINNED_CLIENTS"), [])
        mouth = self.client(weir)
        mouth.execute("notify everybody, 'x'")
        mouth.execute("notify mine_7, 'y'")
        for n, client in enumerate(clients):
            wanted = [("everybody", "x")] + ([("mine_7", "y")] if n % 50 == 7 else [])
            self.assertEqual(self.heard_now(client, len(wanted)), wanted)
        self.assertEqual(self.listening(), 1)
        for client in clients:
            client.close()
        wait_until(lambda: self.listening() == 0, seconds=20, what="no listener")
        again = self.client(weir)
        again.execute("listen everybody")
        mouth.execute("notify everybody, 'z'")
        self.assertEqual(self.heard(again, 1), [("everybody", "z")])

    def heard_now(self, client, count):
        got = []
        wait_until(lambda: len(self.take(client, got)) >= count, what=f"{count} notifications")
        return got

    def listening(self):
        """Connections to Postgres that listen, or have listened last."""
        text = "select count(*) from pg_stat_activity where datname = 'app' and query like '%LISTEN%'"
        return self.postgres.sql(text + " and query <> 'UNLISTEN *' and pid <> pg_backend_pid()")[0][0]

    def test_a_restart_of_postgres(self):
        weir = self.weir()
        ears = self.client(weir)
        ears.execute("listen a")
        self.settled(weir)
        self.postgres.stop()
        time.sleep(0.5)
        self.postgres.start()
        mouth = self.client(weir)
        got = []

        def heard():
            mouth.execute("notify a, 'back'")
            return self.take(ears, got)

        wait_until(heard, seconds=20, what="a notification behind the restart")
        self.assertEqual(ears.execute("select 1").fetchone()[0], 1)
        weir.has_logged("listener lost")

    def test_who_does_not_read_is_closed(self):
        weir = self.weir()
        ears, mouth = self.client(weir), self.client(weir)
        ears.execute("listen a")
        self.settled(weir)
        ears.execute("begin")
        ears.execute("select 1")
        text = "x" * 7000
        for _ in range(400):
            mouth.execute(f"notify a, '{text}{_}'")
        with self.assertRaises(psycopg.OperationalError) as caught:
            for _ in range(50):
                ears.execute("select 1")
                time.sleep(0.1)
        self.assertIn("notifications wait", str(caught.exception))

    def test_a_backend_without_room_keeps_the_pin(self):
        weir = self.weir(max_pinned_clients=2)
        weir.config["backends"]["main"]["max_server_connections"] = 3
        weir.write_files()
        weir.console("RELOAD")
        ears, mouth = self.client(weir), self.client(weir)
        ears.execute("listen a")
        wait_until(lambda: len(self.shown(weir, "SHOW PINNED_CLIENTS")) == 1, what="a pinned client")
        self.assertEqual(len(self.pids(ears)), 1)
        mouth.execute("notify a, 'x'")
        self.assertEqual(self.heard(ears, 1), [("a", "x")])


if __name__ == "__main__":
    unittest.main()
