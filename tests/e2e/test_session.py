"""What keeps a client on one server: how many clients may be kept, how they are shown, and what happens beyond."""

import unittest

import psycopg

from harness import TRUST, PgweirCase, Wire, wait_until
from harness.wire import bind, error_fields, execute, kinds, parse, query, sync

TEMP = "create temp table mine (a int)"


class Session(PgweirCase):
    """The stand; holds no test of its own."""

    postgres_options = {"hba": TRUST}
    databases = ("app", "other")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {"app": "s3cret", "admin": "adm1n"}

    def weir(self, tier=None, tenant=None, **config):
        row = {"pool_size": 4, "max_server_connections": 4, "max_clients": 50, **(tier or {})}
        tenants = {name: {"tier": "test", "backend": "main", "database": name} for name in ("app", "other")}
        tenants["app"].update(tenant or {})
        return self.pgweir(
            {
                "server": {"rotation": True},
                "auth": {"method": "trust"},
                "tiers": {"test": row},
                "tenants": tenants,
                **config,
            },
            self.users,
        )

    def client(self, weir, database="app", **options):
        client = weir.connect(database, "app", **options)
        self.addCleanup(client.close)
        return client

    def wire(self, weir, **parameters):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app", **parameters)

    def shown(self, weir, command):
        columns, rows = weir.console(command)
        return [dict(zip(columns, row)) for row in rows]

    def pins(self, weir, database="app"):
        """What SHOW PINS tells of the database."""
        return next((row for row in self.shown(weir, "SHOW PINS") if row["database"] == database), None)

    def pinned(self, weir):
        row = self.pins(weir)
        return row["pinned_clients"] if row else 0

    def wait_pinned(self, weir, clients):
        """A client has its answer before Postgres has told what is left of the transaction."""
        wait_until(lambda: self.pinned(weir) == clients, what=f"{clients} pinned clients")
        return self.pins(weir)

    def value(self, client, sql):
        return client.execute(sql).fetchone()[0]


class Pins(Session):
    CASES = {
        "temp": ("create temp table mine (a int)", "drop table mine"),
        "cursor": ("declare mine cursor with hold for select 1", "close mine"),
        "lock": ("select pg_advisory_lock(7)", "select pg_advisory_unlock(7)"),
        "statement": (f"prepare mine as select 1 /* {'too long to be kept here ' * 600} */", "deallocate mine"),
        "settings": ("select set_config('a.' || 'b', 'x', false)", "discard all"),
    }

    def test_every_reason_is_shown_and_goes(self):
        weir = self.weir()
        for reason, (begin, end) in self.CASES.items():
            with self.subTest(reason):
                client = self.client(weir)
                client.execute(begin)
                row = self.wait_pinned(weir, 1)
                self.assertEqual(row[reason], 1, row)
                self.assertEqual((row["tier"], row["max_pinned_clients"]), ("test", 2))
                (shown,) = self.shown(weir, "SHOW PINNED_CLIENTS")
                self.assertEqual((shown["database"], shown["user"], shown["pins"]), ("app", "app", reason))
                self.assertTrue(shown["link"])
                client.execute(end)
                row = self.wait_pinned(weir, 0)
                self.assertEqual(row[reason], 0, row)
                self.assertEqual(row["pinned_total"], row["unpinned_total"])
                client.close()
        self.assertEqual(self.shown(weir, "SHOW PINNED_CLIENTS"), [])

    def test_at_the_budget_others_are_refused_by_name(self):
        weir = self.weir({"max_pinned_clients": 1})
        holder = self.client(weir)
        holder.execute("create temp table held (a int)")
        for reason, (begin, _) in self.CASES.items():
            with self.subTest(reason):
                client = self.client(weir)
                with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded) as caught:
                    client.execute(begin)
                diag = caught.exception.diag
                self.assertIn(reason, diag.message_primary)
                self.assertIn("app", diag.message_primary)
                self.assertIn("max_pinned_clients of tier test: 1 of 1", diag.message_detail)
                self.assertTrue(diag.message_hint.endswith("or choose a tier that allows more; free allows 2."))
                self.assertEqual(self.value(client, "select 1"), 1)
        self.assertEqual(self.pins(weir)["refused_total"], len(self.CASES))
        self.client(weir, "other").execute("create temp table mine (a int)")  # another tenant has its own
        holder.execute("insert into held values (1)")
        holder.execute("listen also")  # who is pinned may be so for more reasons
        self.assertEqual(self.value(holder, "select count(*) from held"), 1)
        holder.close()
        self.wait_pinned(weir, 0)
        client = self.client(weir)
        client.execute("create temp table mine (a int)")
        client.execute("insert into mine values (1)")

    def test_none_allowed(self):
        weir = self.weir({"max_pinned_clients": 0})
        client = self.client(weir)
        for begin, _ in self.CASES.values():
            self.assertRaises(psycopg.errors.ConfigurationLimitExceeded, client.execute, begin)
        with client.transaction():
            client.execute("create temp table mine (a int) on commit drop")
            client.execute("insert into mine values (1)")
            client.execute("select pg_advisory_xact_lock(7)")
            client.execute("set local work_mem = '5MB'")
            self.assertEqual(self.value(client, "select count(*) from mine"), 1)
        client.execute("set work_mem = '6MB'")
        self.assertEqual(self.value(client, "show work_mem"), "6MB")

    def test_a_refusal_is_an_error_of_postgres_in_all_but_its_words(self):
        weir = self.weir({"max_pinned_clients": 0})
        wire = self.wire(weir)
        self.assertEqual(kinds(wire.query(TEMP)), "EZ")
        messages = wire.query("begin")
        messages += wire.query("create temp table mine (a int)")
        messages += wire.query("select 1")
        self.assertEqual(kinds(messages), "CZEZEZ")
        codes = [error_fields(payload)["C"] for kind, payload in messages if kind == b"E"]
        self.assertEqual(codes, ["53400", "25P02"])
        self.assertEqual(messages[-1][1], b"E")
        self.assertEqual(kinds(wire.query("rollback")), "CZ")
        batch = [parse(TEMP), bind(), execute(), parse("select 1"), bind(), execute(), sync()]
        wire.send(*batch, query("select 2"))
        messages = wire.until_ready()
        self.assertEqual(kinds(messages), "1EZ")
        self.assertEqual(error_fields(messages[1][1])["C"], "53400")
        self.assertEqual(kinds(wire.until_ready()), "TDCZ")

    def test_the_last_place_is_taken_once(self):
        """By the first who asks, although its transaction has not ended."""
        weir = self.weir({"max_pinned_clients": 1})
        first, second = self.client(weir), self.client(weir)
        first.execute("begin")
        first.execute(TEMP)
        self.assertRaises(psycopg.errors.ConfigurationLimitExceeded, second.execute, TEMP)
        first.execute("rollback")

        def has_place():
            try:
                return second.execute(TEMP)
            except psycopg.errors.ConfigurationLimitExceeded:
                return None

        wait_until(has_place, what="the place of a transaction that was rolled back")
        self.assertEqual(self.wait_pinned(weir, 1)["temp"], 1)

    def test_a_reload_changes_the_budget(self):
        weir = self.weir({"max_pinned_clients": 1})
        first, second = self.client(weir), self.client(weir)
        first.execute(TEMP)
        self.assertRaises(psycopg.errors.ConfigurationLimitExceeded, second.execute, TEMP)
        weir.config["tiers"]["test"]["max_pinned_clients"] = 2
        weir.write_files()
        weir.console("RELOAD")
        second.execute(TEMP)
        self.assertEqual(self.wait_pinned(weir, 2)["temp"], 2)


class SessionMode(Session):
    ASKED = {"options": "-c pgweir.pool_mode=session"}

    def live_there(self, client):
        """Everything that lasts as long as a session of Postgres does, on one server and without a question."""
        pid = client.info.backend_pid  # ours, not Postgres's
        server = self.value(client, "select pg_backend_pid()")
        self.assertNotEqual(pid, server)
        client.execute("create temp table mine (a int)")
        client.execute("set work_mem = '7MB'")
        client.execute("select set_config('a.' || 'b', 'x', false)")
        client.execute("prepare mine as select count(*) from mine")
        client.execute("listen mine")
        client.execute("select pg_advisory_lock(7)")
        client.execute("do $$ begin execute 'create temp table made (a int)'; end $$")
        client.execute("insert into mine values (1)")
        for _ in range(3):
            self.assertEqual(self.value(client, "execute mine"), 1)
            self.assertEqual(self.value(client, "show work_mem"), "7MB")
            self.assertEqual(self.value(client, "show a.b"), "x")
            self.assertEqual(self.value(client, "select count(*) from made"), 0)
            self.assertEqual(self.value(client, "select pg_backend_pid()"), server)
        return server

    def assert_nothing_left(self, server):
        """Of that server's last client; it may be used by others."""
        text = f"select count(*) from pg_locks where pid = {server} and locktype = 'advisory'"
        wait_until(lambda: self.postgres.sql(text)[0][0] == 0, what="DISCARD ALL on the server of a client that left")

    def test_of_a_tenant(self):
        weir = self.weir(tenant={"pool_mode": "session"})
        client = self.client(weir)
        server = self.live_there(client)
        row = self.wait_pinned(weir, 1)
        self.assertEqual((row["session"], row["temp"], row["listen"]), (1, 0, 0))
        self.assertEqual([row["pins"] for row in self.shown(weir, "SHOW PINNED_CLIENTS")], ["session"])
        for command, key in (("SHOW POOLS", "database"), ("SHOW DATABASES", "name")):
            modes = {row[key]: row["pool_mode"] for row in self.shown(weir, command)}
            self.assertEqual(modes["app"], "session", command)
            self.assertEqual(modes.get("other", "transaction"), "transaction", command)
        client.execute("discard all")
        self.assertEqual(self.value(client, "select pg_backend_pid()"), server)
        self.assertRaises(psycopg.errors.UndefinedTable, client.execute, "select from mine")
        self.assertEqual(self.value(client, "select count(*) from pg_prepared_statements where from_sql"), 0)
        self.live_there(client)
        client.close()
        self.wait_pinned(weir, 0)
        self.assert_nothing_left(server)
        for _ in range(4):
            after = self.client(weir)
            self.assertRaises(psycopg.errors.UndefinedTable, after.execute, "select from mine")
            self.assertEqual(self.value(after, "show work_mem"), "4MB")
            self.assertEqual(self.value(after, "select count(*) from pg_listening_channels()"), 0)
            after.close()
            self.wait_pinned(weir, 0)

    def test_on_demand(self):
        weir = self.weir({"session_mode": True})
        client = self.client(weir, **self.ASKED)
        server = self.live_there(client)
        self.assertEqual(self.wait_pinned(weir, 1)["session"], 1)
        with self.assertRaises(psycopg.errors.UndefinedObject):
            client.execute("show pgweir.pool_mode")  # not Postgres's business
        ordinary = self.client(weir)
        self.assertNotEqual(self.value(ordinary, "select pg_backend_pid()"), server)
        ordinary.execute("select 1")
        self.assertEqual(self.pinned(weir), 1)
        client.close()
        self.wait_pinned(weir, 0)
        self.assert_nothing_left(server)
        direct = self.wire(weir, **{"pgweir.pool_mode": "session"})
        pids = {direct.value("select pg_backend_pid()") for _ in range(5)}
        self.assertEqual(len(pids), 1)

    def refused(self, weir, mode):
        with self.assertRaises(psycopg.OperationalError) as caught:
            weir.connect("app", "app", options=f"-c pgweir.pool_mode={mode}")
        return str(caught.exception)

    def test_on_demand_where_it_is_not_allowed(self):
        weir = self.weir()
        text = self.refused(weir, "session")
        self.assertIn("session mode is not allowed", text)
        self.assertIn("tier test", text)
        self.assertIn("HINT", text)
        self.assertIn("must be transaction or session", self.refused(weir, "statement"))
        client = self.client(weir, options="-c pgweir.pool_mode=transaction")
        self.assertEqual(self.value(client, "select 1"), 1)

    def test_transactions_where_the_tenant_has_sessions(self):
        weir = self.weir(tenant={"pool_mode": "session"})
        client = self.client(weir, options="-c pgweir.pool_mode=transaction -c work_mem=5MB")
        self.assertEqual(self.value(client, "show work_mem"), "5MB")
        self.assertEqual(self.pinned(weir), 0)

    def test_the_budget(self):
        weir = self.weir({"max_pinned_clients": 1}, {"pool_mode": "session"})
        first, second = self.client(weir), self.client(weir)
        first.execute("select 1")
        with self.assertRaises(psycopg.errors.ConfigurationLimitExceeded) as caught:
            second.execute("select 1")
        self.assertIn("session", caught.exception.diag.message_primary)
        self.assertIn("1 of 1", caught.exception.diag.message_detail)
        first.close()
        self.wait_pinned(weir, 0)
        self.assertEqual(self.value(second, "select 2"), 2)

    def test_prepared_statements(self):
        """By name, on a server that may hold those of others."""
        weir = self.weir(tenant={"pool_mode": "session"})
        for n in (1, 2):
            client = self.client(weir, prepare_threshold=0)
            for _ in range(3):
                self.assertEqual(client.execute("select %s + 1", (n,)).fetchone()[0], n + 1)
            client.execute("deallocate all")
            client.close()

    def test_a_server_that_cannot_be_cleaned_is_closed(self):
        weir = self.weir(tenant={"pool_mode": "session"})
        client = self.client(weir)
        server = self.value(client, "select pg_backend_pid()")
        client.execute("select setseed(0.5)")
        client.close()
        text = f"select count(*) from pg_stat_activity where pid = {server}"
        wait_until(lambda: self.postgres.sql(text)[0][0] == 0, what="its server is closed")


if __name__ == "__main__":
    unittest.main()
