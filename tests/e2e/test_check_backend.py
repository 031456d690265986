"""pgweir --check-backend on a real Postgres: what it finds there, and how it ends."""

import unittest
from pathlib import Path

from ceilings.stage import build_guard
from harness import TRUST, PgweirCase, Redis, pg_program, run, wait_until

PACKAGED = Path(__file__).resolve().parents[2] / "packaging/postgres"
FINE, WEAK, WRONG, USAGE, UNAVAILABLE = 0, 2, 3, 64, 69
TIER = {
    "statement_timeout": "10s",
    "work_mem": "4MB",
    "temp_buffers": "none",
    "max_parallel_workers_per_gather": "none",
    "transaction_timeout": "1min",
    "temp_file_limit": "1GB",
    "inspection": "strict",
}


class CheckBackend(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.script("side_role.sql", role="side", password="s1de")
        cls.postgres.set_hba("host postgres side 127.0.0.1/32 scram-sha-256\n" + TRUST)

    @classmethod
    def script(cls, name, **variables):
        given = [part for pair in variables.items() for part in ("-v", "=".join(pair))]
        program = [pg_program("psql"), "-X", "-q", "-h", cls.postgres.socket_dir, "-p", str(cls.postgres.port)]
        done = run([*program, "-U", "postgres", *given, "-f", str(PACKAGED / name)])
        assert done.returncode == 0, done.stderr

    def check(self, *arguments, tier=None, backend=None, env=None):
        """Exit code, and the lines that begin with each word."""
        side = {"side_user": "side", "side_password": "s1de", "max_server_connections": 50}
        none = {key: "none" for key in TIER if key != "inspection"}
        tiers = {name: dict(none) for name in ("free", "starter", "pro", "enterprise")}
        for row in tiers.values():
            row["idle_in_transaction_session_timeout"] = "none"
        weir = self.pgweir(
            {
                "backends": {"main": {**side, **(backend or {})}},
                "tiers": {**tiers, "checked": {**TIER, **(tier or {})}},
                "tenants": {"app": {"tier": "checked", "backend": "main", "user": "app", "password": "s3cret"}},
                "pool": {"unknown_tenants": False},
            },
            start=False,
        )
        weir.write_files()
        done = weir.command_line("--config", weir.config_path, "--check-backend", *arguments, env=env)
        self.assertNotIn("Sanitizer", done.stderr)
        self.assertNotIn("s1de", done.stdout + done.stderr)
        return done.returncode, done.stdout

    def line(self, text, *words):
        found = [line for line in text.splitlines() if all(word in line for word in words)]
        self.assertEqual(len(found), 1, f"{words} in\n{text}")
        return found[0].split()[0]

    def test_all_that_holds(self):
        self.script("temp_file_limit.sql", role="app", temp_file_limit="512MB")
        self.addCleanup(self.postgres.sql, "alter role app reset temp_file_limit")
        code, text = self.check()
        self.assertEqual(code, FINE, text)
        self.assertEqual(self.line(text, "statement_timeout 10s", "firm"), "ok")
        self.assertEqual(self.line(text, "transaction_timeout 1min", "firm"), "ok")
        self.assertEqual(self.line(text, "work_mem 4MB", "firm with strict"), "ok")
        self.assertEqual(self.line(text, "temp_file_limit 1GB", "firm"), "ok")
        self.assertEqual(self.line(text, "Postgres 15"), "ok")
        self.assertEqual(self.line(text, "side role side has pg_signal_backend"), "ok")
        self.assertEqual(self.line(text, "superusers", "postgres"), "ok")

    def test_what_is_weak(self):
        code, text = self.check("main", tier={"inspection": "standard"})
        self.assertEqual(code, WEAK, text)
        self.assertEqual(self.line(text, "work_mem 4MB", "pgweir_guard"), "weak")
        self.assertEqual(self.line(text, "temp_file_limit 1GB", "advisory", "temp_file_limit.sql", "for app"), "weak")
        self.assertEqual(self.line(text, "statement_timeout 10s", "firm"), "ok")

    def test_what_the_guard_lets_a_role_have(self):
        self.postgres.sql(f"alter system set session_preload_libraries = '{build_guard()}'")
        self.postgres.sql("select pg_reload_conf()")
        self.addCleanup(self.postgres.sql, "select pg_reload_conf()")
        self.addCleanup(self.postgres.sql, "alter system reset session_preload_libraries")
        self.addCleanup(self.postgres.sql, "alter role app reset all; alter role app in database app reset all")
        standard = {"inspection": "standard", "temp_file_limit": "none"}
        wait_until(lambda: "pgweir_guard is loaded" in self.check(tier=standard)[1], seconds=60, what="the guard")

        def told(**tier):
            code, text = self.check(tier={**standard, **tier})
            self.assertIn(code, (FINE, WEAK), text)
            return text

        self.script("pgweir_guard/role.sql", role="app", ceilings="work_mem=64MB")
        lets = "run pgweir_guard/role.sql with work_mem=4MB for app (64MB now)"
        self.assertEqual(self.line(told(), "work_mem 4MB", lets), "weak")
        self.script("pgweir_guard/role.sql", role="app", ceilings="work_mem=4096, jit_above_cost=1")
        self.assertEqual(self.line(told(), "work_mem 4MB", "firm"), "ok")
        self.postgres.sql("alter role app in database app set pgweir_guard.ceilings = 'work_mem=64MB'")
        self.assertEqual(self.line(told(), "work_mem 4MB", lets), "weak")
        # What role.sql would refuse is not advised.
        self.assertNotIn("role.sql with jit", told(**{"ceiling.jit": "off"}))
        self.assertEqual(self.line(told(**{"ceiling.jit": "off"}), "jit off", "whole and real numbers only"), "weak")

    def test_a_parameter_that_this_postgres_does_not_know(self):
        for field in ("ceiling.nonsense", "inject.nonsense"):
            code, text = self.check(tier={field: "5"})
            self.assertEqual(code, WRONG, text)
            self.assertEqual(self.line(text, "no login: Postgres 15 does not know it", f"take {field} out"), "wrong")

    def test_a_side_role_without_rights(self):
        self.postgres.create_user("weak", "w3ak")
        self.addCleanup(self.postgres.sql, "drop role weak")
        code, text = self.check(backend={"side_user": "weak", "side_password": "w3ak"}, tier={"inspection": "standard"})
        self.assertEqual(code, WRONG, text)
        self.assertEqual(self.line(text, "weak may not end processes"), "wrong")
        self.assertEqual(self.line(text, "statement_timeout 10s", "catches cancels"), "weak")

    def test_another_role_by_the_environment(self):
        env = {"PGWEIR_BACKENDS__MAIN__SIDE_USER": "postgres"}
        code, text = self.check(env=env)
        self.assertEqual(code, WRONG, text)
        self.assertEqual(self.line(text, "postgres is a superuser"), "wrong")

    def test_prepared_transactions(self):
        self.postgres.sql("alter system set max_prepared_transactions = 4")
        self.postgres.stop()
        self.postgres.start()
        try:
            code, text = self.check()
            self.assertEqual(code, WRONG, text)
            self.assertEqual(self.line(text, "max_prepared_transactions is 4"), "wrong")
        finally:
            self.postgres.sql("alter system reset max_prepared_transactions")
            self.postgres.stop()
            self.postgres.start()

    def test_backends_that_cannot_be_asked(self):
        code, text = self.check(backend={"side_password": "wrong"})
        self.assertEqual(code, UNAVAILABLE, text)
        self.assertIn("password authentication failed", text)
        code, text = self.check(backend={"port": 1})
        self.assertEqual(code, UNAVAILABLE, text)
        self.assertIn("refused", text)
        code, text = self.check(backend={"side_user": ""})
        self.assertEqual(code, WRONG, text)
        self.assertIn("backends.main.side_user is not set", text)
        self.assertEqual(self.check("nobody")[0], USAGE)


class OfOneTenant(PgweirCase):
    """--check-backend --tenant: from the configuration, Redis and a platform's Postgres."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("app", "s3cret")
        cls.postgres.create_user("side", "s1de")
        cls.postgres.sql("grant pg_signal_backend to side")
        cls.postgres.create_database("shop", owner="app")
        cls.postgres.create_database("platform", owner="app")

    def check(self, tenant, *arguments, store=None, unknown=False):
        side = {"side_user": "side", "side_password": "s1de", "max_server_connections": 50}
        none = dict.fromkeys([key for key in TIER if key != "inspection"], "none")
        none["idle_in_transaction_session_timeout"] = "none"
        weir = self.pgweir(
            {
                "backends": {"main": side, "other": {"host": "127.0.0.1", "port": 1, **side}},
                "tiers": {**{name: none for name in ("free", "starter", "enterprise")}, "pro": {**none, "statement_timeout": "10s"}},
                "tenants": {"filed": {"tier": "pro", "backend": "main", "database": "shop", "user": "app", "password": "s3cret"}},
                "pool": {"unknown_tenants": unknown},
                **({"tenant_store": store} if store else {}),
            },
            start=False,
        )
        weir.write_files()
        done = weir.command_line("--config", weir.config_path, "--check-backend", *arguments, "--tenant", tenant)
        self.assertNotIn("Sanitizer", done.stderr)
        for secret in ("s1de", "s3cret", "r3dis"):
            self.assertNotIn(secret, done.stdout + done.stderr)
        return done.returncode, done.stdout, done.stderr

    def test_of_the_configuration(self):
        code, text, errors = self.check("filed")
        self.assertEqual(code, FINE, text + errors)
        for words in (
            "tenant filed (from the configuration)",
            "tenant filed: tier pro, database shop, role app",
            "database shop is there",
            "role app logs in to shop",
        ):
            self.assertIn(words, text)
        self.assertRegex(text, r"ok +statement_timeout 10s +firm")
        self.assertEqual(self.check("filed", "main")[0], FINE)
        code, _, errors = self.check("filed", "other")
        self.assertEqual(code, USAGE)
        self.assertIn("tenant 'filed' is on backend 'main', not on 'other'", errors)
        code, _, errors = self.check("nobody")
        self.assertEqual(code, USAGE)
        self.assertIn("there is no tenant 'nobody' in the configuration", errors)

    def test_of_redis(self):
        redis = Redis(password="r3dis")
        self.addCleanup(redis.stop)
        store = {"kind": "redis", "redis_url": redis.url(), "timeout": "500ms"}
        row = ("tier", "pro", "backend", "main", "database", "shop", "user", "app")
        redis("hset", "pgweir:tenant:acme", *row, "password", "s3cret")
        code, text, errors = self.check("acme", store=store)
        self.assertEqual(code, FINE, text + errors)
        self.assertIn("tenant acme (from the tenant store)", text)
        self.assertIn("role app logs in to shop", text)
        redis("hset", "pgweir:tenant:acme", "password", "wr0ng", "database", "gone", "state", "suspended")
        code, text, _ = self.check("acme", store=store)
        self.assertEqual(code, WRONG, text)
        self.assertIn("database gone is not there", text)
        self.assertRegex(text, "wrong +login as app to gone fails: password authentication failed")
        self.assertIn("tenant acme is suspended", text)
        redis("hset", "pgweir:tenant:acme", "backend", "other")
        code, text, _ = self.check("acme", store=store)
        self.assertEqual(code, UNAVAILABLE, text)
        self.assertIn("refused", text)
        self.assertIn("(from the configuration)", self.check("filed", store=store)[1])
        code, _, errors = self.check("nobody", store=store)
        self.assertEqual(code, USAGE)
        self.assertIn("there is no tenant 'nobody' in the tenant store or the configuration", errors)
        redis.stop()
        code, _, errors = self.check("acme", store=store)
        self.assertEqual(code, UNAVAILABLE)
        self.assertIn("the tenant store could not be asked for 'acme': tenant store lost (addr 127.0.0.1", errors)

    def test_of_a_platform(self):
        self.postgres.sql((PACKAGED / "tenant_store.sql").read_text(), "platform")
        self.postgres.sql(
            "grant usage on schema pgweir to app; grant select on all tables in schema pgweir to app;"
            "insert into pgweir.tenants (id, tier, backend, database, \"user\", password, limits) values"
            " ('acme', 'pro', 'main', 'shop', 'app', 's3cret', '{\"statement_timeout\": \"7s\"}')",
            "platform",
        )
        url = f"postgres://app:s3cret@127.0.0.1:{self.postgres.port}/platform"
        code, text, errors = self.check("acme", store={"kind": "postgres", "postgres_url": url})
        self.assertEqual(code, FINE, text + errors)
        self.assertIn("tenant acme (from the tenant store)", text)
        self.assertRegex(text, r"ok +statement_timeout 7s +firm")
        wrong = {"kind": "postgres", "postgres_url": url.replace("/platform", "/shop"), "timeout": "500ms"}
        code, _, errors = self.check("acme", store=wrong)
        self.assertEqual(code, UNAVAILABLE)
        self.assertIn("tenant_store.sql", errors)


if __name__ == "__main__":
    unittest.main()
