"""What keeps a client on one server: how many clients may be kept, how they are shown, and what happens beyond."""

import unittest

import psycopg

from harness import PgweirCase, Wire, wait_until
from harness.wire import bind, error_fields, execute, kinds, parse, query, sync

TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\n"


class Session(PgweirCase):
    """The stand; holds no test of its own."""

    postgres_options = {"hba": TRUST}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        for database in ("app", "other"):
            cls.postgres.create_database(database, owner="app")
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
        "listen": ("listen mine", "unlisten mine"),
        "statement": ("prepare mine as select 1", "deallocate mine"),
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
                self.assertTrue(diag.message_hint)
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
        self.assertEqual(kinds(wire.query("listen mine")), "EZ")
        messages = wire.query("begin")
        messages += wire.query("create temp table mine (a int)")
        messages += wire.query("select 1")
        self.assertEqual(kinds(messages), "CZEZEZ")
        codes = [error_fields(payload)["C"] for kind, payload in messages if kind == b"E"]
        self.assertEqual(codes, ["53400", "25P02"])
        self.assertEqual(messages[-1][1], b"E")
        self.assertEqual(kinds(wire.query("rollback")), "CZ")
        batch = [parse("listen mine"), bind(), execute(), parse("select 1"), bind(), execute(), sync()]
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
        first.execute("listen mine")
        self.assertRaises(psycopg.errors.ConfigurationLimitExceeded, second.execute, "listen mine")
        first.execute("rollback")
        self.wait_pinned(weir, 0)
        second.execute("listen mine")
        self.assertEqual(self.wait_pinned(weir, 1)["listen"], 1)

    def test_a_reload_changes_the_budget(self):
        weir = self.weir({"max_pinned_clients": 1})
        first, second = self.client(weir), self.client(weir)
        first.execute("listen mine")
        self.assertRaises(psycopg.errors.ConfigurationLimitExceeded, second.execute, "listen mine")
        weir.config["tiers"]["test"]["max_pinned_clients"] = 2
        weir.write_files()
        weir.console("RELOAD")
        second.execute("listen mine")
        self.assertEqual(self.wait_pinned(weir, 2)["listen"], 2)


if __name__ == "__main__":
    unittest.main()
