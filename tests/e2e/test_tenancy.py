"""Tenants that share one role: row level security told by signed tokens, on a real Postgres."""

import hashlib
import hmac
import re
import time
from pathlib import Path

import psycopg
from harness import PgweirCase, machine, pg_program, run

SECRET = "b1946ac92492d2347c6235b4d2611184b1946ac92492d2347c6235b4d2611184"
OTHER = "another secret, of which nobody has told Postgres yet"
SCRIPT = Path(__file__).resolve().parents[2] / "packaging/postgres/tenancy.sql"
FREE = {"inspection": "off", "statement_timeout": "none", "work_mem": "none"}


def token(tenant, pid, expires, *, secret=SECRET, database="shop", role="app"):
    """As pgweir makes them: whoever has the secret can, and nobody else."""

    def mac(text):
        return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    text = f"1.{mac('pgweir tenancy key')[:16]}.{int(expires)}.{pid}.{tenant.encode().hex()}"
    return f"{text}.{mac(f'{text}.{database.encode().hex()}.{role.encode().hex()}')}"


class Tenancy(PgweirCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        postgres = cls.postgres
        postgres.create_user("app", "s3cret")
        postgres.create_user("stranger", "s3cret")
        postgres.create_database("shop")
        cls.install(SECRET)
        cls.install(SECRET)  # may be run again
        postgres.sql(
            "create table orders (tenant text not null default pgweir.tenant(), item text);"
            "alter table orders enable row level security;"
            "create policy own on orders using (tenant = (select pgweir.tenant()));"
            "grant all on orders to app;"
            "create schema toys; grant all on schema toys to app;"
            "insert into orders values ('acme', 'anvil'), ('globex', 'laser')",
            "shop",
        )

    @classmethod
    def install(cls, secret, users="app"):
        path = cls.postgres.dir / "tenant.secret"
        machine.write(path, secret + "\n", 0o600)
        psql = [pg_program("psql"), "-X", "-q", "-h", cls.postgres.socket_dir, "-p", str(cls.postgres.port)]
        done = run(
            [*psql, "-U", "postgres", "-d", "shop", "-v", f"secret_file={path}", "-v", f"users={users}"]
            + ["-f", str(SCRIPT)]
        )
        assert done.returncode == 0 and not done.stderr, done.stderr

    def weir(self, tier=None, backend=None, tenant=None):
        """Two tenants on one role, and one server for both."""
        both = {"tier": "shared", "backend": "main", "database": "shop", "user": "app", "password": "s3cret"}
        both.update(tenant or {})
        return self.pgweir(
            {
                "backends": {"main": {"tenant_secret": SECRET, "max_server_connections": 1, **(backend or {})}},
                "tiers": {"shared": {"pool_size": 1, "max_server_connections": 1, **(tier or {})}},
                "tenants": {"acme": both, "globex": both},
            },
            {"alice": "pw", "admin": "pw"},
        )

    def client(self, weir, tenant, **options):
        connection = weir.connect(tenant, "alice", **options)
        self.addCleanup(connection.close)
        return connection

    def one(self, connection, sql, *values):
        return connection.execute(sql, values or None).fetchone()[0]

    def refused(self, connection, sql, message, sqlstate="42501"):
        with self.assertRaises(psycopg.Error) as caught:
            connection.execute(sql)
        self.assertIn(message, str(caught.exception))
        self.assert_sqlstate(caught.exception, sqlstate)

    def test_each_sees_its_own_rows_on_the_same_server(self):
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        pids = set()
        for _ in range(5):
            for connection, name, item in ((acme, "acme", "anvil"), (globex, "globex", "laser")):
                self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
                self.assertEqual(connection.execute("select * from orders").fetchall(), [(name, item)])
                pids.add(self.one(connection, "select pg_backend_pid()"))
        self.assertEqual(len(pids), 1)
        acme.execute("insert into orders (item) values ('rocket')")
        self.assertEqual(self.one(globex, "select count(*) from orders"), 1)
        self.refused(globex, "insert into orders values ('acme', 'gift')", "row-level security")
        self.assertEqual(acme.execute("delete from orders where item = 'rocket'").rowcount, 1)

    def test_prepared_and_pipelined(self):
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        for _ in range(4):
            for connection, name in ((acme, "acme"), (globex, "globex")):
                rows = connection.execute("select tenant from orders", prepare=True).fetchall()
                self.assertEqual(rows, [(name,)])
                with connection.pipeline():
                    cursors = [connection.execute("select pgweir.tenant(), %s::int", (i,)) for i in range(3)]
                self.assertEqual([c.fetchone() for c in cursors], [(name, i) for i in range(3)])

    def test_without_pgweir_nobody_is_known(self):
        with self.postgres.connect("shop", "app") as direct:
            self.refused(direct, "select * from orders", "no tenant is known")
            self.refused(direct, "insert into orders (item) values ('x')", "no tenant is known")
            self.refused(direct, "select * from pgweir.tenant_keys", "permission denied")
            self.refused(direct, "select pgweir.hmac_block('x', 1)", "permission denied")
        with self.postgres.connect("shop", "stranger") as direct:
            self.refused(direct, "select pgweir.tenant()", "permission denied")

    def test_a_grant_by_mistake_shows_no_secret(self):
        self.postgres.sql("grant select on pgweir.tenant_keys to app", "shop")
        try:
            with self.postgres.connect("shop", "app") as direct:
                self.assertEqual(self.one(direct, "select count(*) from pgweir.tenant_keys"), 0)
        finally:
            self.postgres.sql("revoke all on pgweir.tenant_keys from app", "shop")

    def test_a_client_may_not_set_it(self):
        weir = self.weir({"statement_timeout": "1min", "inspection": "standard"})
        acme = self.client(weir, "acme")
        for sql in (
            "set pgweir.tenant_token = 'x'",
            'set "PGWEIR".tenant_token to \'x\'',
            "set local pgweir.tenant_token = 'x'",
            "select set_config('pgweir.tenant_token', 'x', false)",
            "select set_config('pgweir.' || 'tenant_token', 'x', false)",
            "create function toys.f() returns int language sql set pgweir.tenant_token = 'x' as 'select 1'",
        ):
            with self.subTest(sql):
                with self.assertRaises(psycopg.Error):
                    acme.execute(sql)
                self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
        startup = self.client(weir, "acme", options="-c pgweir.tenant_token=x")
        self.assertEqual(self.one(startup, "select pgweir.tenant()"), "acme")

    def test_forged_replayed_and_expired_tokens(self):
        """Where nothing inspects what clients set: all of it reaches Postgres."""
        weir = self.weir(FREE)
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        pid = self.one(globex, "select pg_backend_pid()")
        soon = time.time() + 600
        good = self.one(acme, "select current_setting('pgweir.tenant_token')")
        self.assertRegex(good, rf"^1\.[0-9a-f]{{16}}\.\d+\.{pid}\.61636d65\.[0-9a-f]{{64}}$")
        tampered = good.replace(".61636d65.", "." + b"globex".hex() + ".")
        later = good.replace(good.split(".")[2], str(int(soon) + 10**6))
        cases = [
            ("", "no tenant is known"),
            ("acme", "not one of pgweir"),
            ("1.2.3.4.5.6", "not one of pgweir"),
            (good[:-1] + ("0" if good[-1] != "0" else "1"), "not one of pgweir"),
            (tampered, "not one of pgweir"),
            (later, "not one of pgweir"),
            (token("acme", pid, soon, secret=OTHER), "not one of pgweir"),
            (token("acme", pid, soon, database="other"), "not one of pgweir"),
            (token("acme", pid, soon, role="stranger"), "not one of pgweir"),
            (token("acme", pid + 1, soon), "for another connection"),
            (token("acme", pid, time.time() - 2), "has expired"),
        ]
        for forged, message in cases:
            with self.subTest(forged), globex.transaction(force_rollback=True):
                globex.execute("select set_config('pgweir.tenant_token', %s, true)", (forged,))
                with globex.transaction(force_rollback=True):
                    self.refused(globex, "select * from orders", message)
        # It lasts no longer than that, and what it sets for good it sets for itself alone.
        self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")
        globex.execute("select set_config('pgweir.tenant_token', 'mine', false)")
        self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
        self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")

    def test_what_remains_a_token_that_was_given_away(self):
        """Who is told another's token holds it on that very server until it expires. Documented."""
        weir = self.weir(FREE, {"tenant_token_life": "2s"})
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        given_away = self.one(acme, "select current_setting('pgweir.tenant_token')")
        sql = f"set local pgweir.tenant_token = '{given_away}'; select pgweir.tenant()"
        with globex.transaction():
            globex.execute(f"set local pgweir.tenant_token = '{given_away}'")
            self.assertEqual(self.one(globex, "select pgweir.tenant()"), "acme")
        time.sleep(3.1)
        self.refused(globex, sql, "has expired")
        # On another server it is worth nothing from the beginning.
        with self.postgres.connect("shop", "app") as direct:
            fresh = self.one(acme, "select current_setting('pgweir.tenant_token')")
            direct.execute("select set_config('pgweir.tenant_token', %s, false)", (fresh,))
            self.refused(direct, "select pgweir.tenant()", "for another connection")

    def test_nobody_else_sees_it(self):
        weir = self.weir()
        acme = self.client(weir, "acme")
        mine = self.one(acme, "select current_setting('pgweir.tenant_token')")
        self.postgres.sql("create table if not exists public.held (i int)", "shop")
        with self.postgres.connect("shop", "app") as spy:
            seen = spy.execute("select query from pg_stat_activity").fetchall()
            self.assertTrue(any("current_setting('pgweir" in row[0] for row in seen if row[0]), seen)
            self.assertFalse(any(mine in row[0] for row in seen if row[0]))
        self.assertNotIn(mine, weir.log() + self.postgres.log())
        self.assertNotIn(SECRET, weir.log() + self.postgres.log())

    def test_resets_of_the_client(self):
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        for sql in ("reset all", "discard all", "reset pgweir.tenant_token", "deallocate all"):
            with self.subTest(sql):
                acme.execute(sql)
                self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
                self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")
        self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")

    def test_resets_inside_of_a_transaction(self):
        """A transaction that goes on still has its tenant, whatever is rolled back."""
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex", options="-c work_mem=77kB")
        for connection, name in ((acme, "acme"), (globex, "globex")):
            for sql in (
                "reset all",
                "reset pgweir.tenant_token",
                "set pgweir.tenant_token to default",
                "do $$ begin execute 'reset ' || 'all'; end $$",
            ):
                with self.subTest(sql, tenant=name):
                    work_mem = self.one(connection, "show work_mem")
                    with connection.transaction():
                        connection.execute(sql)
                        self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
                        with connection.transaction(force_rollback=True):
                            connection.execute(sql)
                            self.assertEqual(self.one(connection, "select count(*) from orders"), 1)
                        self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
                        with self.assertRaises(psycopg.errors.DivisionByZero), connection.transaction():
                            connection.execute(sql)
                            connection.execute("select 1/0")
                        self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
                        with connection.pipeline():
                            connection.execute(sql)
                        self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
                        if sql == "reset all":
                            self.assertEqual(self.one(connection, "show work_mem"), work_mem)
                    self.assertEqual(self.one(connection, "select pgweir.tenant()"), name)
        self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")

    def test_it_is_renewed_for_all_kinds_of_clients(self):
        weir = self.weir(
            {"session_mode": True, "max_server_connections": 3},
            {"tenant_token_life": "1s", "max_server_connections": 3},
        )
        plain = self.client(weir, "acme")
        in_session = self.client(weir, "acme", options="-c pgweir.pool_mode=session")
        pinned = self.client(weir, "acme")
        pinned.execute("create temporary table t (i int)")
        seen = {connection: set() for connection in (plain, in_session, pinned)}
        end = time.monotonic() + 4
        while time.monotonic() < end:
            for connection, tokens in seen.items():
                self.assertEqual(self.one(connection, "select pgweir.tenant()"), "acme")
                tokens.add(self.one(connection, "select current_setting('pgweir.tenant_token')"))
            time.sleep(0.2)
        for tokens in seen.values():
            self.assertGreaterEqual(len(tokens), 4)

    def test_a_transaction_outlives_its_token(self):
        weir = self.weir(backend={"tenant_token_life": "1s"})
        acme = self.client(weir, "acme")
        with acme.transaction():
            self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
            time.sleep(2.5)
            self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")

    def test_settings_that_fail_run_nothing_under_the_tenant_before(self):
        """globex makes its own settings fail as it is handed the server that acme had."""
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        globex.execute("create text search configuration toys.mine (copy = simple)")
        globex.execute("set default_text_search_config = 'toys.mine'")
        self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")
        acme.execute("drop text search configuration toys.mine")
        self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
        before = self.postgres.sql("select count(*) from orders", "shop")
        with self.assertRaises(psycopg.OperationalError):
            globex.execute("insert into orders (item) values ('smuggled')")
        self.assertEqual(self.postgres.sql("select count(*) from orders", "shop"), before)

    def test_a_timeout_of_the_tenant_before(self):
        weir = self.weir({"statement_timeout": "none"})
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        for _ in range(20):
            acme.execute("set statement_timeout = 1")
            try:
                self.assertEqual(self.one(globex, "select pgweir.tenant()"), "globex")
            except psycopg.OperationalError:
                globex = self.client(weir, "globex")  # ended, and not served as somebody else
            acme.execute("reset statement_timeout")

    def test_another_secret(self):
        weir = self.weir()
        acme, globex = self.client(weir, "acme"), self.client(weir, "globex")
        old = self.one(acme, "select current_setting('pgweir.tenant_token')").split(".")[1]
        self.install(OTHER)
        weir.config["backends"]["main"]["tenant_secret"] = OTHER
        weir.reload()
        deadline = time.monotonic() + 10
        while (key := self.one(acme, "select current_setting('pgweir.tenant_token')").split(".")[1]) == old:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.postgres.sql(f"delete from pgweir.tenant_keys where id = '{old}'", "shop")
        self.assertEqual(self.one(acme, "select pgweir.tenant()"), "acme")
        # Without one, no server goes on with what it was told.
        weir.config["backends"]["main"].pop("tenant_secret")
        weir.reload()
        machine.wait_until(lambda: "configuration reloaded" in weir.log() and self.unknown(globex), what="no token")
        self.refused(acme, "select pgweir.tenant()", "no tenant is known")
        self.install(SECRET)
        self.postgres.sql(f"delete from pgweir.tenant_keys where id = '{key}'", "shop")

    def unknown(self, connection):
        try:
            connection.execute("select pgweir.tenant()")
            return False
        except psycopg.errors.InsufficientPrivilege:
            return True

    def test_parallel_workers(self):
        weir = self.weir({"max_parallel_workers_per_gather": "2"})
        acme = self.client(weir, "acme")
        self.postgres.sql(
            "create table if not exists many as select 'acme' as tenant, i from generate_series(1, 50000) i;"
            "alter table many enable row level security;"
            "drop policy if exists own on many;"
            "create policy own on many using (tenant = (select pgweir.tenant()));"
            "grant select on many to app; analyze many",
            "shop",
        )
        with acme.transaction():
            acme.execute("set local parallel_setup_cost = 0")
            acme.execute("set local parallel_tuple_cost = 0")
            acme.execute("set local min_parallel_table_scan_size = 0")
            plan = "\n".join(row[0] for row in acme.execute("explain (analyze) select count(*) from many"))
            self.assertRegex(plan, r"Workers Launched: [12]")
            self.assertEqual(self.one(acme, "select count(*) from many"), 50000)

    def test_the_secret_is_masked_and_may_stand_in_a_file(self):
        weir = self.weir()
        path = weir.dir / "tenant.secret"
        machine.write(path, SECRET + "\n", 0o644)
        weir.config["backends"]["main"].pop("tenant_secret")
        weir.config["backends"]["main"]["tenant_secret_file"] = str(path)
        weir.write_files()
        done = weir.command_line("--config", weir.config_path, "--print-config")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"backends\.main\.tenant_secret = \*+ ")
        self.assertNotIn(SECRET, done.stdout + done.stderr)
        machine.write(path, "short\n", 0o644)
        done = weir.command_line("--config", weir.config_path, "--check-config")
        self.assertEqual(done.returncode, 78)
        self.assertTrue(re.search(r"tenant_secret: must have at least 32 bytes, not 5", done.stderr), done.stderr)
