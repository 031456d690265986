"""MOVE: a tenant goes to another backend while its clients are connected."""

import re
import socket
import threading
import time
import unittest

import psycopg

from harness import TRUST, PgweirCase, Postgres, Redis, Wire, free_port, wait_until
from harness.wire import Closed, first_error, query

STRICT = "local all all trust\nhost all all 127.0.0.1/32 reject\n"
IDLE_PAUSE_MS = 100


class Move(PgweirCase):
    postgres_options = {"hba": TRUST}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = Postgres(hba=TRUST)
        cls.addClassCleanup(lambda: cls.other.stop())
        for postgres, place in ((cls.postgres, "old"), (cls.other, "new")):
            postgres.create_user("app", "s3cret")
            for database in ("acme", "umbra"):
                postgres.create_database(database, owner="app")
                # What an operator has copied before, but for its name.
                postgres.sql(f"create table place as select '{place}' as name", database)
                postgres.sql("grant all on place to app", database)
                postgres.sql("create table ledger (id int); grant all on ledger to app", database)

    def weir(self, **more):
        tier = {"pool_size": 4, "max_server_connections": 8, "max_clients": 50, "queue_timeout": "30s"}
        here = {"host": self.other.host, "port": self.other.port}
        backends = {"other": here, "gone": {"host": "127.0.0.1", "port": free_port()}}
        self.tenants = {
            "acme": {"tier": "test", "backend": "main"},
            "umbra": {"tier": "test", "backend": "main"},
            "twin": {"tier": "test", "backend": "main", "database": "umbra"},
        }
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": backends,
                "tiers": {"test": tier},
                "tenants": self.tenants,
                **more,
            },
            {"app": "s3cret", "admin": "adm1n"},
        )
        return weir

    def client(self, weir, database="acme"):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", database)

    @staticmethod
    def place(client):
        return client.value("select name from place")

    def move(self, weir, order):
        """The notices of it."""
        notices = []
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            console.add_notice_handler(lambda notice: notices.append(notice.message_primary))
            console.execute(order)
        return notices

    def refused(self, weir, order, pattern):
        with self.assertRaisesRegex(psycopg.Error, pattern) as caught:
            self.move(weir, order)
        return caught.exception

    def test_connected_clients_follow(self):
        weir = self.weir()
        clients = [self.client(weir) for _ in range(3)]
        bystander = self.client(weir, "umbra")
        prepared = self.client(weir)
        prepared.query("set application_name = 'kept'")
        for client in clients:
            self.assertEqual(self.place(client), "old")
        (notice,) = self.move(weir, "MOVE acme TO other")
        held = int(re.search(r"4 clients go on there; .* held for (\d+)ms", notice)[1])
        print(f"\n  an idle tenant was held for {held} ms", flush=True)
        self.assertLess(held, IDLE_PAUSE_MS)
        for client in clients:
            self.assertEqual(self.place(client), "new")
        self.assertEqual(prepared.value("show application_name"), "kept")
        self.assertEqual(self.place(self.client(weir)), "new")
        self.assertEqual(self.place(bystander), "old")
        self.assertEqual(
            self.postgres.sql("select count(*) from pg_stat_activity where datname = 'acme'"), [(0,)]
        )
        self.move(weir, "MOVE acme TO main")
        self.assertEqual(self.place(clients[0]), "old")
        self.refused(weir, "MOVE acme TO main", "on backend 'main' already")

    def test_running_transactions_end_where_they_began(self):
        weir = self.weir()
        busy, waiting = self.client(weir), self.client(weir)
        self.assertEqual(self.place(waiting), "old")
        busy.query("begin")
        busy.query("insert into ledger values (1)")
        moving = threading.Thread(target=self.move, args=(weir, "MOVE acme TO other"), daemon=True)
        moving.start()
        wait_until(lambda: "move asked for" in weir.log(), what="the order")
        time.sleep(0.3)
        waiting.send(query("select name from place"))
        busy.query("insert into ledger values (2)")
        self.assertTrue(moving.is_alive())
        self.assertIsNone(first_error(busy.query("commit")))
        moving.join(10)
        self.assertFalse(moving.is_alive())
        self.assertIn(b"new", b"".join(payload for kind, payload in waiting.until_ready() if kind == b"D"))
        self.assertEqual(self.place(busy), "new")
        self.assertEqual(self.postgres.sql("select count(*) from ledger", "acme"), [(2,)])
        self.assertEqual(self.other.sql("select count(*) from ledger", "acme"), [(0,)])

    def test_clients_that_keep_their_server_call_it_off(self):
        weir = self.weir()
        pinned, free = self.client(weir), self.client(weir)
        pinned.query("create temporary table t (a int)")
        self.assertEqual(self.place(free), "old")
        begun = time.monotonic()
        error = self.refused(weir, "MOVE acme TO other 1", "1 of its clients still had a server after 1s")
        self.assertLess(time.monotonic() - begun, 10)
        self.assertEqual(error.sqlstate, "55006")
        self.assertRegex(error.diag.message_detail, r"Clients \d+ \(pinned: .+\)\.")
        self.assertIn("KILL_CLIENT", error.diag.message_hint)
        self.assertEqual(self.place(free), "old")
        self.assertIsNone(first_error(pinned.query("select * from t")))
        pinned.close()
        self.move(weir, "MOVE acme TO other 10")
        self.assertEqual(self.place(free), "new")

    def canceled(self, weir, order, at_work):
        """The order is given, and called off as Ctrl-C in psql does, once `at_work()`; the console goes on."""
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            refused = []

            def ask():
                try:
                    console.execute(order)
                except psycopg.Error as error:
                    refused.append(error.sqlstate)

            asking = threading.Thread(target=ask, daemon=True)
            asking.start()
            wait_until(at_work, what=f"{order} at work")
            console.cancel()
            asking.join(10)
            self.assertFalse(asking.is_alive())
            self.assertEqual(refused, ["57014"])
            self.assertEqual(len(console.execute("SHOW VERSION").fetchall()), 1)

    def test_a_cancel_leaves_the_tenant_where_it_was(self):
        weir = self.weir(pool={"move_timeout": "60s"})
        busy, waiting, late = (self.client(weir) for _ in range(3))
        busy.query("begin")
        self.assertEqual(self.place(waiting), "old")

        def held():
            late.send(query("select name from place"))
            late.socket.settimeout(0.3)
            try:
                late.until_ready()
                return False
            except TimeoutError:
                return True
            finally:
                late.socket.settimeout(20)

        self.canceled(weir, "MOVE acme TO other", held)
        self.assertIn(b"old", b"".join(payload for kind, payload in late.until_ready() if kind == b"D"))
        self.assertEqual([self.place(client) for client in (waiting, busy)], ["old", "old"])
        busy.query("commit")
        self.assertEqual(self.place(self.client(weir)), "old")
        self.move(weir, "MOVE acme TO other")
        self.assertEqual([self.place(client) for client in (waiting, busy)], ["new", "new"])
        # One that is not there any more calls nothing off.
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            console.cancel()
            console.execute("MOVE acme TO main")
        self.assertEqual(self.place(waiting), "old")

    def test_a_cancel_does_not_wait_for_a_target_that_is_silent(self):
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        weir = self.weir()
        weir.config["backends"]["silent"] = {"host": "127.0.0.1", "port": silent.getsockname()[1]}
        weir.write_files()
        weir.console("RELOAD")
        client = self.client(weir)
        self.assertEqual(self.place(client), "old")
        self.canceled(weir, "MOVE acme TO silent", lambda: "move asked for" in weir.log())
        self.assertEqual(self.place(client), "old")
        self.move(weir, "MOVE acme TO other")
        self.assertEqual(self.place(client), "new")

    def test_a_target_that_cannot_be_logged_in_to_changes_nothing(self):
        weir = self.weir()
        client = self.client(weir)
        self.assertEqual(self.place(client), "old")
        error = self.refused(weir, "MOVE acme TO gone", "connection refused")
        self.assertEqual(error.sqlstate, "08006")
        self.refused(weir, "MOVE acme TO nowhere", "no backend is named 'nowhere'")
        self.refused(weir, "MOVE nobody_ TO", "MOVE takes tenant TO backend")
        self.other.set_hba(STRICT)
        try:
            wait_until(lambda: not self.reachable(self.other), what="a Postgres that rejects")
            error = self.refused(weir, "MOVE acme TO other", "user 'app' cannot log in to database 'acme'")
            self.assertEqual(error.sqlstate, "28000")
        finally:
            self.other.set_hba(TRUST)
            wait_until(lambda: self.reachable(self.other), what="a Postgres that accepts")
        self.assertEqual(self.place(client), "old")
        self.assertEqual(self.place(self.client(weir)), "old")

    @staticmethod
    def reachable(postgres):
        try:
            psycopg.connect(host=postgres.host, port=postgres.port, dbname="acme", user="app").close()
            return True
        except psycopg.OperationalError:
            return False

    def test_a_shared_database_is_not_torn_apart(self):
        weir = self.weir()
        one, two = self.client(weir, "umbra"), self.client(weir, "twin")
        self.assertEqual([self.place(one), self.place(two)], ["old", "old"])
        self.refused(weir, "MOVE umbra TO other", "clients of tenant 'twin' use the same database and user")
        two.close()
        wait_until(lambda: len(weir.console("SHOW CLIENTS")[1]) == 2, what="one client beside the console")
        self.move(weir, "MOVE umbra TO other")
        self.assertEqual(self.place(one), "new")

    def test_reloads_keep_to_it_while_the_file_names_the_former_backend(self):
        weir = self.weir()
        client = self.client(weir)
        self.assertEqual(self.place(client), "old")
        self.move(weir, "MOVE acme TO other")
        weir.console("RELOAD")
        self.assertEqual(self.place(client), "new")
        self.assertEqual(self.place(self.client(weir)), "new")
        # A file that names a third one is obeyed, from the next login on.
        weir.config["backends"]["third"] = {"host": self.postgres.host, "port": self.postgres.port}
        weir.config["tenants"]["acme"]["backend"] = "third"
        weir.write_files()
        weir.console("RELOAD")
        self.assertEqual(self.place(self.client(weir)), "old")
        self.assertEqual(self.place(client), "new")

    def test_a_tenant_of_a_store_has_its_row_changed(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        redis.tenant("stored", tier="test", database="acme", backend="main")
        weir = self.weir(tenant_store={"kind": "redis", "redis_url": redis.url()})
        client = self.client(weir, "stored")
        self.assertEqual(self.place(client), "old")
        self.move(weir, "MOVE stored TO other")
        self.assertEqual(redis("HGET", "pgweir:tenant:stored", "backend"), "other")
        self.assertEqual(self.place(client), "new")
        self.assertEqual(self.place(self.client(weir, "stored")), "new")
        weir.console("RELOAD")
        self.assertEqual(self.place(client), "new")
        # A row that somebody sets back is obeyed from the next login on.
        redis.tenant("stored", backend="main")
        redis("PUBLISH", "pgweir:changed", "stored")
        wait_until(lambda: self.place(self.client(weir, "stored")) == "old", what="the row is read")
        self.assertEqual(self.place(client), "new")
        redis.stop()
        error = self.refused(weir, "MOVE stored TO other", "the tenant store was not changed|cannot be looked up")
        self.assertEqual(error.sqlstate, "57P03")
        self.assertEqual(self.place(client), "new")

    def is_there(self, weir, tenant, backend):
        """By its own account; where it does not know yet, it writes once more what is written already."""
        try:
            self.move(weir, f"MOVE {tenant} TO {backend}")
        except psycopg.Error as error:
            return f"is on backend '{backend}' already" in str(error)
        return False

    def test_several_pgweirs_of_a_store(self):
        """In the order that README gives: whoever does not move it holds it, and lets its clients come again."""
        redis = Redis()
        self.addCleanup(redis.stop)
        redis.tenant("stored", tier="test", database="acme", backend="main")
        store = {"kind": "redis", "redis_url": redis.url()}
        first, second = (self.weir(tenant_store=store, pool={"unknown_tenants": False}) for _ in range(2))
        here, busy, idle = self.client(first, "stored"), self.client(second, "stored"), self.client(second, "stored")
        self.assertEqual([self.place(client) for client in (here, busy, idle)], ["old"] * 3)
        self.addCleanup(self.postgres.sql, "delete from ledger", "acme")
        before = [self.entries(postgres) for postgres in (self.postgres, self.other)]
        busy.query("begin")
        busy.query("insert into ledger values (1)")
        pausing = threading.Thread(target=second.console, args=("PAUSE stored",), daemon=True)
        pausing.start()
        wait_until(lambda: self.paused(second, "stored"), what="a pause")
        idle.send(query("insert into ledger values (2)"))
        self.assertIsNone(first_error(busy.query("commit")))
        pausing.join(10)
        self.assertFalse(pausing.is_alive())
        self.move(first, "MOVE stored TO other")
        second.console("KILL stored")
        with self.assertRaises(Closed):
            idle.until_ready()
        wait_until(lambda: self.is_there(second, "stored", "other"), what="the row read by the other one")
        second.console("RESUME stored")
        self.assertEqual(self.place(self.client(second, "stored")), "new")
        self.assertEqual(self.place(here), "new")
        # What was committed was so before the move, and nothing came to the former backend after it.
        after = [self.entries(postgres) for postgres in (self.postgres, self.other)]
        self.assertEqual(after, [before[0] + 1, before[1]])

    @staticmethod
    def entries(postgres):
        return postgres.sql("select count(*) from ledger", "acme")[0][0]

    @staticmethod
    def paused(weir, database):
        columns, rows = weir.console("SHOW DATABASES")
        return {row[columns.index("name")]: row[columns.index("paused")] for row in rows}.get(database) == 1

    def test_several_pgweirs_of_a_configuration(self):
        """Each is given the order, while the others hold the tenant; its clients stay connected."""
        first, second = self.weir(), self.weir()
        clients = [self.client(weir) for weir in (first, second)]
        self.assertEqual([self.place(client) for client in clients], ["old", "old"])
        for weir in (first, second):
            weir.console("PAUSE acme")
        for weir, client in zip((first, second), clients):
            client.send(query("select name from place"))
            self.move(weir, "MOVE acme TO other")
        for weir in (first, second):
            weir.console("RESUME acme")
        for client in clients:
            self.assertIn(b"new", b"".join(payload for kind, payload in client.until_ready() if kind == b"D"))
            self.assertEqual(self.place(client), "new")

    def test_who_listens_goes_on_listening(self):
        weir = self.weir()
        client = self.client(weir)
        client.query("listen news")
        self.assertIsNone(first_error(client.query("select 1")))
        self.move(weir, "MOVE acme TO other")
        wait_until(lambda: weir.log().count('"message":"listener connected"') == 2, what="the listener there")
        time.sleep(0.2)
        self.other.sql("notify news, 'from there'", "acme")
        kind, payload = client.receive()
        self.assertEqual(kind, b"A")
        self.assertIn(b"from there", payload)

    def test_a_tenant_without_clients_moves_untried(self):
        weir = self.weir()
        (notice,) = self.move(weir, "MOVE acme TO other")
        self.assertIn("no login to it was tried", notice)
        self.assertEqual(self.place(self.client(weir)), "new")

    def test_under_load_nobody_notices(self):
        weir = self.weir()
        stop, errors, seen = threading.Event(), [], set()

        def load():
            client = self.client(weir)
            while not stop.is_set():
                try:
                    error = first_error(client.query("begin; select name from place; commit"))
                    if error:
                        errors.append(error)
                    seen.add(self.place(client))
                except Closed as closed:
                    errors.append(closed)
                    return

        threads = [threading.Thread(target=load, daemon=True) for _ in range(12)]
        for thread in threads:
            thread.start()
        wait_until(lambda: seen, what="load")
        for target in ("other", "main", "other", "main", "other"):
            self.move(weir, f"MOVE acme TO {target}")
            time.sleep(0.1)
        stop.set()
        for thread in threads:
            thread.join(20)
            self.assertFalse(thread.is_alive())
        self.assertEqual(errors, [])
        self.assertEqual(seen, {"old", "new"})


if __name__ == "__main__":
    unittest.main()
