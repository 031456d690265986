"""Tenants from tables of a platform's Postgres: sized by their rows, changed while they work, unharmed by its troubles."""

import re
import threading
import time
import unittest
from pathlib import Path

import psycopg

from harness import TRUST, PgweirCase, Postgres, Redis, Wire, machine, wait_until

PLATFORM = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
SOON = 5  # a change has to hold within a second; a busy machine gets more
SQL = Path(__file__).parents[2] / "packaging/postgres/tenant_store.sql"
GRANTS = """
grant usage on schema pgweir to pooler;
grant select on pgweir.tenants, pgweir.tiers to pooler;
grant update on pgweir.tenants to pooler;
grant select, insert, update on pgweir.usage to pooler;
"""


class Platform(Postgres):
    """Another Postgres than that of the tenants, with the tables of tenants in its database `platform`."""

    def __init__(self):
        super().__init__(hba=PLATFORM)
        self.create_user("pooler", "p1atform")
        self.create_database("platform")
        for _ in range(2):  # it may be run again
            done = machine.run(
                [machine.pg_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", self.socket_dir, "-p",
                 self.port, "-U", "postgres", "-f", SQL, "platform"]
            )  # fmt: skip
            assert done.returncode == 0 and not done.stderr, done.stderr
        self(GRANTS)

    def __call__(self, text):
        return self.sql(text, "platform")

    def url(self, password="p1atform", database="platform"):
        return f"postgres://pooler:{password}@{self.host}:{self.port}/{database}"


class StoreCase(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared", "own")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.platform = Platform()
        cls.addClassCleanup(lambda: cls.platform.stop())

    def setUp(self):
        if self.platform.process is None:
            self.platform.start()
        self.platform("truncate pgweir.tenants, pgweir.tiers, pgweir.usage")

    def weir(self, *, store=None, url=None, **config):
        store = {"kind": "postgres", "postgres_url": url or self.platform.url(), **(store or {})}
        pool = {"unknown_tenants": False, **config.pop("pool", {})}
        config = {"auth": {"method": "trust"}, "tenant_store": store, "pool": pool, **config}
        return self.pgweir(config, {"app": "s3cret", "admin": "adm1n"})

    def tenant(self, name, tier="pro", database="shared", limits="{}"):
        self.platform(
            f"insert into pgweir.tenants (id, tier, database, limits) values ('{name}', '{tier}', '{database}', '{limits}')"
        )

    def client(self, weir, tenant, **options):
        connection = weir.connect(tenant, "app", **options)
        self.addCleanup(connection.close)
        return connection

    def events(self, weir, name):
        return weir.log().count(f'"message":"{name}"')

    def refusal(self, weir, tenant):
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.client(weir, tenant)
        return str(caught.exception)

    def serves(self, weir, tenant):
        try:
            with weir.connect(tenant, "app") as client:
                return client.execute("select current_database()").fetchone()[0]
        except psycopg.OperationalError:
            return None


class Rows(StoreCase):
    def test_a_tenant_is_found_when_it_is_asked_for(self):
        self.tenant("acme")
        self.platform("alter table pgweir.tenants add column if not exists notes text default repeat('x', 100000)")
        self.addCleanup(self.platform, "alter table pgweir.tenants drop column notes")
        weir = self.weir()
        self.assertEqual(self.serves(weir, "acme"), "shared")
        self.assertIn("does not exist", self.refusal(weir, "nobody"))
        self.assertIn("does not exist", self.refusal(weir, "'); drop table pgweir.tenants; --{\"\\"))
        # It comes into being while pgweir remembers that it does not exist.
        self.tenant("nobody", database="own")
        wait_until(lambda: self.serves(weir, "nobody") == "own", seconds=SOON, what="a new tenant served")
        self.assertNotIn("p1atform", weir.log())

    def test_many_at_once(self):
        self.platform(
            "insert into pgweir.tenants (id, tier, database) select 't' || i, 'pro', 'shared' from generate_series(1, 300) i"
        )
        weir = self.weir(threads=None)
        missing = []

        def visit(names):
            missing.extend(name for name in names if self.serves(weir, name) != "shared")

        names = [f"t{i}" for i in range(1, 301)]
        workers = [threading.Thread(target=visit, args=(names[i::10],), daemon=True) for i in range(10)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
        self.assertEqual(missing, [])

    def test_what_is_due_together_is_asked_for_together(self):
        self.platform("alter role pooler set log_statement = 'all'")
        self.addCleanup(self.platform, "alter role pooler reset log_statement")
        self.platform(
            "insert into pgweir.tenants (id, tier, database) select 't' || i, 'pro', 'shared' from generate_series(1, 80) i"
        )
        weir = self.weir(store={"ttl": "1h", "stale_max": "3h"})
        for i in range(1, 81):
            self.client(weir, f"t{i}")
        before = len(self.platform.log())

        def questions():
            """The names of tenants that each question since has."""
            log = self.platform.log()[before:]
            asked = re.findall(r"from pgweir\.tenants t where.*\n.*arameters: \$1 = '\{([^}]*)\}'", log)
            return [names.split(",") for names in asked]

        self.platform("notify pgweir_changed, '*'")
        wait_until(lambda: len({n for names in questions() for n in names}) == 80, seconds=SOON, what="all looked up")
        self.assertLessEqual(len(questions()), 4, questions())

    def test_the_default_tier_and_tiers_of_the_table(self):
        self.platform("""insert into pgweir.tiers values ('free', '{"max_clients": 1}')""")
        self.platform("insert into pgweir.tenants (id, database) values ('acme', 'shared')")
        weir = self.weir(pool={"unknown_tenants": True, "default_tier": "free"})
        for name, database in (("acme", "shared"), ("own", "own")):
            client = self.client(weir, name)
            self.assertEqual(client.execute("select current_database()").fetchone(), (database,))
            self.assertIn("max_clients of tier free: 1 of 1", self.refusal(weir, name))
        self.platform("""update pgweir.tiers set limits = '{"max_clients": 2}'""")
        wait_until(lambda: self.serves(weir, "acme"), seconds=SOON, what="the tier's new limit")

    def limit(self, weir, name, tenant="acme"):
        return {row[0]: row[1:] for row in weir.console(f"SHOW LIMIT {tenant}")[1]}[name]

    def test_changed_from_the_console_and_billed(self):
        self.tenant("acme")
        weir = self.weir()
        client = self.client(weir, "acme")
        for _ in range(5):
            client.execute("select 1")
        weir.console("SET TIER acme starter")
        self.assertEqual(self.platform("select tier from pgweir.tenants"), [("starter",)])
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=SOON, what="the event")
        self.platform("""insert into pgweir.tiers values ('huge', '{"max_clients": 30}')""")
        weir.console("SET TIER acme huge")
        self.assertEqual(self.platform("select tier from pgweir.tenants"), [("huge",)])
        weir.console("SET OVERRIDE acme max_clients 7; SET OVERRIDE acme work_mem 3MB")
        self.assertEqual(self.platform("select limits from pgweir.tenants"), [({"max_clients": "7", "work_mem": "3MB"},)])
        wait_until(lambda: self.limit(weir, "max_clients")[::2] == ("7", "override: the tenant's row in the tenant store"),
                   seconds=SOON, what="the override")
        weir.console("RESET OVERRIDE acme max_clients")
        self.assertEqual(self.platform("select limits from pgweir.tenants"), [({"work_mem": "3MB"},)])
        wait_until(lambda: self.limit(weir, "max_clients")[0] == "30", seconds=SOON, what="the tier's value")
        client.close()
        weir.stop()
        rows = self.platform("select tenant, (figures->>'queries')::numeric from pgweir.usage where day >= current_date - 1")
        self.assertEqual([(tenant, int(count)) for tenant, count in rows], [("acme", 5)])


    def test_what_cannot_hold_is_not_written(self):
        self.tenant("acme")
        weir = self.weir()
        client = self.client(weir, "acme")

        def refused(order):
            with self.assertRaises(psycopg.Error) as caught:
                weir.console(order)
            return caught.exception

        error = refused(f"SUSPEND_TENANT acme '{201 * 'x'}'")
        self.assertIn("reason must have at most 200 bytes, not 201", str(error))
        self.assertEqual(error.sqlstate, "22023")
        self.assertEqual(self.platform("select state, reason from pgweir.tenants"), [("active", None)])
        # Nor is a row made that is not there: its trigger tells of it, and who tells nobody is asked.
        self.platform("alter table pgweir.tenants disable trigger all; delete from pgweir.tenants; "
                      "alter table pgweir.tenants enable trigger all")
        error = refused("SUSPEND_TENANT acme")
        self.assertIn("it has no row of 'acme'", str(error))
        self.assertEqual(error.sqlstate, "42704")
        self.assertEqual(self.platform("select count(*) from pgweir.tenants"), [(0,)])
        del client


class Changes(StoreCase):
    def test_a_plan_change_holds_within_a_second(self):
        self.platform(
            """insert into pgweir.tiers values
               ('small', '{"pool_size": 1, "max_server_connections": 1, "max_clients": 5}'),
               ('large', '{"pool_size": 2, "max_server_connections": 4, "max_clients": 5}')"""
        )
        self.tenant("acme", tier="small")
        weir = self.weir()
        holder, waiter = self.client(weir, "acme", autocommit=False), self.client(weir, "acme")
        holder.execute("select 1")
        took = []
        with self.platform.connect("platform") as owner:
            for _ in range(5):
                owner.execute("update pgweir.tenants set tier = 'small'")
                wait_until(lambda: self.allowed(weir) == 1, seconds=SOON, what="the lower plan")
                done = threading.Event()
                worker = threading.Thread(target=lambda: (waiter.execute("select 1"), done.set()), daemon=True)
                worker.start()
                self.assertFalse(done.wait(0.3), "the tenant had more than one server before its upgrade")
                begun = time.monotonic()
                owner.execute("update pgweir.tenants set tier = 'large'")
                self.assertTrue(done.wait(SOON), "the upgrade did not take effect")
                took.append(time.monotonic() - begun)
                worker.join(5)
        print("an upgrade held after " + ", ".join(f"{1000 * each:.1f}" for each in sorted(took)) + " ms")
        self.assertLess(sorted(took)[2], 1)
        holder.commit()
        weir.has_logged("tier_upgrade")

    def allowed(self, weir):
        """What the table of tiers says of servers, as the tenant is held to it."""
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            cursor = console.execute("SHOW TENANTS")
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor.fetchall()]
        return next(int(row["max_servers"]) for row in rows if row["tenant"] == "acme")

    def test_suspended_and_deleted(self):
        self.tenant("acme")
        weir = self.weir()
        client = self.client(weir, "acme")
        client.execute("select 1")
        self.platform("update pgweir.tenants set state = 'suspended', reason = 'invoice 7 is open'")
        wait_until(lambda: self.is_ended(client), seconds=SOON, what="the client's end")
        self.assertIn("suspended: invoice 7 is open", self.refusal(weir, "acme"))
        self.platform("update pgweir.tenants set state = 'active'")
        wait_until(lambda: self.serves(weir, "acme"), seconds=SOON, what="the tenant resumed")
        # A transaction is not cut by a DELETE either: it ends, and then the session does.
        client = self.client(weir, "acme", autocommit=False)
        client.execute("create table if not exists kept (i int)")
        self.platform("delete from pgweir.tenants")
        wait_until(lambda: "does not exist" in self.refusal_or_none(weir, "acme"), seconds=SOON, what="the refusal")
        client.execute("insert into kept values (1)")
        client.commit()
        wait_until(lambda: self.is_ended(client), seconds=SOON, what="the client's end")
        self.assertEqual(self.postgres.sql("select i from kept", "shared"), [(1,)])
        weir.has_logged("not in the tenant store any more")

    def refusal_or_none(self, weir, tenant):
        try:
            with weir.connect(tenant, "app"):
                return ""
        except psycopg.OperationalError as error:
            return str(error)

    def is_ended(self, client):
        try:
            client.execute("select 1")
            client.commit()
            return False
        except psycopg.OperationalError:
            return True


class Usage(StoreCase):
    """What many tenants have used, where a commit takes its time."""

    TENANTS = 5000
    # Statements that write usage take 0.5 s each; the second one fails, and the fourth loses its connection.
    SLOW = """
        create sequence if not exists pgweir.statements;
        grant usage on sequence pgweir.statements to pooler;
        alter sequence pgweir.statements restart;
        create or replace function pgweir.slow() returns trigger language plpgsql as $$
        declare
          number bigint := nextval('pgweir.statements');
        begin
          perform pg_sleep(0.5);
          if number = 2 then
            raise exception 'not now' using errcode = 'disk_full';
          elsif number = 4 then
            perform pg_terminate_backend(pg_backend_pid());
          end if;
          return null;
        end $$;
        create or replace trigger slow after insert on pgweir.usage for each statement execute function pgweir.slow();
    """

    def setUp(self):
        super().setUp()
        self.platform(
            f"insert into pgweir.tenants (id, tier, database) select 't' || i, 'pro', 'shared' from generate_series(1, {self.TENANTS}) i"
        )
        self.addCleanup(self.platform, "drop trigger if exists slow on pgweir.usage")

    def visited(self, names):
        """A pgweir that has let in a client of each of these tenants."""
        weir = self.weir(store={"timeout": "5s"})

        def visit(mine):
            for name in mine:
                with Wire(weir.port) as wire:
                    wire.login("app", name)

        names = list(names)
        workers = [threading.Thread(target=visit, args=(names[i::8],), daemon=True) for i in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(120)
        return weir

    def written(self):
        return self.platform("select count(*), count(distinct tenant), sum((figures->>'connections')::int) from pgweir.usage")

    def test_an_orderly_end_loses_nothing_of_many_and_counts_none_twice(self):
        self.platform(self.SLOW)
        weir = self.visited(f"t{i}" for i in range(1, self.TENANTS + 1))
        weir.stop()
        self.assertEqual(self.written(), [(self.TENANTS,) * 3])
        weir.has_logged('"message":"usage is not kept"')  # for a moment, twice
        self.assertNotIn("usage is lost", weir.log())

    def test_a_row_that_is_refused_costs_no_other(self):
        self.platform("alter table pgweir.usage add constraint picky check (tenant not in ('t7', 't300'))")
        self.addCleanup(self.platform, "alter table pgweir.usage drop constraint picky")
        weir = self.visited(f"t{i}" for i in range(1, 401))
        weir.stop()
        self.assertEqual(self.written(), [(398,) * 3])
        weir.has_logged('"message":"usage is lost"', times=1)


class Trouble(StoreCase):
    """What the platform's Postgres does is no business of the tenants that are known."""

    STORE = {"ttl": "200ms", "negative_ttl": "200ms", "timeout": "500ms"}

    def bench(self, weir, seconds):
        """Runs pgbench for the tenant acme beside what the test does; the returned function checks that no client had an error."""
        command = [machine.pg_program("pgbench"), "-n", "-S", "-c", "4", "-T", seconds, "-h", weir.host, "-p", weir.port]
        init = [machine.pg_program("pgbench"), "-i", "-q", "-h", self.postgres.socket_dir, "-p", self.postgres.port]
        done = machine.run([*init, "-U", "app", "shared"])
        self.assertEqual(done.returncode, 0, done.stderr)
        results = []
        worker = threading.Thread(
            target=lambda: results.append(machine.run([*command, "-U", "app", "acme"], timeout=60)), daemon=True
        )
        worker.start()

        def finish():
            worker.join(60)
            self.assertEqual(results[0].returncode, 0, results[0].stderr)
            self.assertNotIn("error", results[0].stderr)
            count = int(re.search(r"actually processed: (\d+)", results[0].stdout).group(1))
            self.assertIn("number of failed transactions: 0", results[0].stdout)
            self.assertGreater(count, 100)

        return finish

    def test_stopped_and_back(self):
        self.tenant("acme")
        weir = self.weir(store=self.STORE)
        finish = self.bench(weir, 6)
        wait_until(lambda: self.serves(weir, "acme"), what="the tenant known")
        self.platform.stop()
        wait_until(lambda: "tenant store lost" in weir.log(), what="the loss logged")
        time.sleep(0.5)
        # The known go on, new clients of theirs, too; others are refused at once.
        for _ in range(5):
            self.assertEqual(self.serves(weir, "acme"), "shared")
        begun = time.monotonic()
        self.assertIn("cannot be looked up now", self.refusal(weir, "stranger"))
        self.assertLess(time.monotonic() - begun, 3)
        self.platform.start()
        wait_until(lambda: self.events(weir, "tenant store connected") == 2, seconds=20, what="the connection back")
        self.platform("update pgweir.tenants set tier = 'starter'")
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=SOON, what="a change after the loss")
        finish()
        self.assertEqual(self.events(weir, "tenant store lost"), 1)

    def test_unknown_tenants_where_the_default_tier_is_theirs(self):
        pool = {"unknown_tenants": True}
        weir = self.weir(store=self.STORE, pool=pool)
        loose = self.weir(store={**self.STORE, "serve_unreachable": True}, pool=pool)
        for each in (weir, loose):
            each.has_logged("tenant store connected")
        self.platform.kill()
        for each in (weir, loose):
            each.has_logged("tenant store lost")
        self.assertIn("cannot be looked up now", self.refusal(weir, "own"))
        self.assertEqual(self.serves(loose, "own"), "own")

    def test_slow(self):
        self.tenant("acme")
        weir = self.weir(store=self.STORE)
        self.assertEqual(self.serves(weir, "acme"), "shared")
        finish = self.bench(weir, 3)
        with self.platform.connect("platform", autocommit=False) as owner:
            owner.execute("lock table pgweir.tenants in access exclusive mode")
            begun = time.monotonic()
            self.assertIn("cannot be looked up now", self.refusal(weir, "stranger"))
            self.assertLess(time.monotonic() - begun, 3)
            self.assertEqual(self.serves(weir, "acme"), "shared")
        finish()
        self.tenant("stranger")
        wait_until(lambda: self.serves(weir, "stranger"), seconds=20, what="an answer after that")

    def test_garbage_in_rows(self):
        names = [f"t{i}" for i in range(5)]
        for name in [*names, "acme"]:
            self.tenant(name)
        weir = self.weir(store=self.STORE)
        for name in names:
            self.assertEqual(self.serves(weir, name), "shared")
        self.platform("alter table pgweir.tenants drop constraint tenants_limits_check")
        self.platform("alter table pgweir.tenants drop constraint tenants_state_check")
        self.addCleanup(
            self.platform,
            "truncate pgweir.tenants;"
            "alter table pgweir.tenants add constraint tenants_limits_check check (jsonb_typeof(limits) = 'object');"
            "alter table pgweir.tenants add constraint tenants_state_check check (state in ('active', 'suspended'))",
        )
        finish = self.bench(weir, 3)
        for name, change in (
            ("t0", "limits = '[1, 2]'"),
            ("t1", """limits = '{"max_clients": -1}'"""),
            ("t2", "database = repeat('x', 1000000)"),
            ("t3", "limits = (select jsonb_object_agg('field' || i, repeat('v', 100)) from generate_series(1, 3000) i)"),
            ("t4", "state = 'drunk'"),
        ):
            self.platform(f"update pgweir.tenants set {change} where id = '{name}'")
        self.platform("""insert into pgweir.tiers values ('pro', '{"max_clients": 99999999999999999999, "pool_size": {"a": [[[]]]}}')""")
        for payload in ("", "x" * 5000, "tier:", "t1"):
            self.platform(f"select pg_notify('pgweir_changed', '{payload}') from generate_series(1, 100)")
        wait_until(lambda: self.events(weir, "row of the tenant store refused") >= 6, what="garbage logged")
        for name in names:
            self.assertEqual(self.serves(weir, name), "shared")
        finish()
        self.assertEqual(weir.log().count("'t1'"), 1, "logged more than once")

    def test_a_view_that_fails_for_one_row_fails_for_no_other(self):
        self.tenant("good")
        self.tenant("bad")
        self.platform(
            """alter table pgweir.tenants rename to kept;
               create view pgweir.tenants as
                 select id, tier, database, limits, (1 / (id <> 'bad')::int)::text as state_of_mind from pgweir.kept;
               grant select on pgweir.tenants to pooler"""
        )
        self.addCleanup(
            self.platform, "drop view pgweir.tenants; alter table pgweir.kept rename to tenants"
        )
        weir = self.weir(store=self.STORE)
        outcomes = {}
        workers = [
            threading.Thread(target=lambda name=name: outcomes.update({name: self.serves(weir, name)}), daemon=True)
            for name in ("good", "bad")
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(20)
        self.assertEqual(outcomes, {"good": "shared", "bad": None})
        wait_until(lambda: "division by zero" in weir.log(), what="garbage logged")

    def test_what_is_wrong_is_said(self):
        self.tenant("acme")
        for url, says in (
            (self.platform.url(password="wr0ng"), "password authentication failed .*user, password"),
            (self.platform.url(database="postgres"), "pgweir.* does not exist.*tenant_store.sql"),
            ("postgres://pooler@127.0.0.1:1/platform", "onnection refused.*check host, port"),
            (f"{self.platform.url()}?sslmode=require", "server does not support SSL.*sslmode"),
        ):
            weir = self.weir(url=url)
            self.assertIn("cannot be looked up now", self.refusal(weir, "acme"))
            wait_until(lambda: re.search(says, weir.log()), what=f"a log with {says}")
            self.assertNotIn("wr0ng", weir.log())
            weir.stop()
        self.platform("revoke select on pgweir.tiers from pooler")
        self.addCleanup(self.platform, GRANTS)
        weir = self.weir()
        self.assertIn("cannot be looked up now", self.refusal(weir, "acme"))
        wait_until(lambda: re.search("permission denied for table tiers.*grant", weir.log()), what="what to grant")


class Cached(StoreCase):
    """With a Redis that keeps copies of the rows for `ttl`."""

    def setUp(self):
        super().setUp()
        self.redis = Redis()
        self.addCleanup(self.redis.stop)

    def cached(self, **store):
        return self.weir(store={"redis_url": self.redis.url(), "ttl": "60s", "timeout": "500ms", **store})

    def test_a_copy_serves_while_postgres_is_down(self):
        self.tenant("acme")
        self.tenant("never_asked_for")
        first = self.cached()
        self.assertEqual(self.serves(first, "acme"), "shared")
        wait_until(lambda: self.redis("EXISTS", "pgweir:cached:tenant:acme") == "1", what="the copy")
        self.assertLessEqual(int(self.redis("PTTL", "pgweir:cached:tenant:acme")), 60_000)
        self.assertGreater(int(self.redis("PTTL", "pgweir:cached:tenant:acme")), 0)
        self.platform.stop()
        # One that has never asked Postgres.
        second = self.cached()
        self.assertEqual(self.serves(second, "acme"), "shared")
        self.assertIn("cannot be looked up now", self.refusal(second, "never_asked_for"))

    def test_a_change_is_never_hidden_by_a_copy(self):
        self.tenant("acme", limits='{"max_clients": 10}')
        fleet = [self.cached() for _ in range(2)]
        clients = [self.client(weir, "acme") for weir in fleet]
        for weir in fleet:
            wait_until(lambda: self.events(weir, "tenant store connected") == 3, what="all connections")
        took = []
        for limit in (9, 8, 7, 6, 5):
            begun = time.monotonic()
            self.platform(f"""update pgweir.tenants set limits = '{{"max_clients": {limit}}}'""")
            for weir in fleet:
                wait_until(lambda: self.max_clients(weir) == limit, seconds=SOON, what=f"a limit of {limit}")
            took.append(time.monotonic() - begun)
        print("a change held in two pgweirs after " + ", ".join(f"{1000 * each:.0f}" for each in sorted(took)) + " ms")
        self.assertLess(sorted(took)[2], 1)
        for client in clients:
            client.execute("select 1")
        # Cold, so from the copy or from Postgres, but not from before.
        cold = self.cached()
        self.assertEqual(self.serves(cold, "acme"), "shared")
        self.assertEqual(self.max_clients(cold), 5)

    def max_clients(self, weir, tenant="acme"):
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            cursor = console.execute("SHOW TENANTS")
            names = [column.name for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor.fetchall()]
        return next(int(row["max_clients"]) for row in rows if row["tenant"] == tenant)

    def test_without_redis_and_with_nonsense_in_it(self):
        self.tenant("acme")
        self.tenant("beta")
        self.redis("SET", "pgweir:cached:tenant:acme", "nonsense")
        weir = self.cached()
        self.assertEqual(self.serves(weir, "acme"), "shared")
        self.redis.stop()
        self.assertEqual(self.serves(weir, "beta"), "shared")
        self.assertIn("does not exist", self.refusal(weir, "nobody"))
        self.platform("update pgweir.tenants set state = 'suspended', reason = 'unpaid'")
        wait_until(lambda: not self.serves(weir, "acme"), seconds=SOON, what="the suspension")


if __name__ == "__main__":
    unittest.main()
