"""Plan changes while a tenant works: by the console and by Redis, with their grace; SHOW LIMIT and SHOW USAGE."""

import contextlib
import re
import subprocess
import time
import unittest
import urllib.request

import psycopg

from harness import TRUST, FaultProxy, PgweirCase, Redis, Wire, free_port, wait_until
from harness.machine import as_system_user
from harness.wire import Closed, error_fields, first_error, kinds, parse, query, startup, sync

TIERS = {
    "small": {"pool_size": 1, "max_server_connections": 1, "max_clients": 2, "queue_timeout": "30s"},
    "large": {"pool_size": 4, "max_server_connections": 4, "max_clients": 20, "queue_timeout": "30s"},
}


class Plans(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared",)

    def weir(self, *, redis=None, tenants=None, grace="15min", store=None, **config):
        store = {"tenant_store": {"kind": "redis", "redis_url": redis.url(), **(store or {})}} if redis else {}
        row = {"acme": {"tier": "large", "database": "shared"}} if tenants is None else tenants
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": TIERS,
                "tenants": row,
                "pool": {"downgrade_grace": grace, "unknown_tenants": False, **config.pop("pool", {})},
                **store,
                **config,
            },
            {"app": "s3cret", "admin": "adm1n", "reader": "re4der"},
        )

    def empty_redis(self):
        redis = Redis()
        self.addCleanup(redis.stop)
        return redis

    def redis(self):
        redis = self.empty_redis()
        for name, row in TIERS.items():
            redis.tier(name, **row)
        return redis

    def wire(self, weir, tenant="acme"):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", tenant)

    def limits(self, weir, tenant="acme"):
        columns, rows = weir.console(f"SHOW LIMIT {tenant}")
        self.assertEqual(columns, ["limit", "value", "in_use", "rule"])
        return {row[0]: row[1:] for row in rows}

    def refused(self, weir, command):
        with self.assertRaises(psycopg.Error) as caught:
            weir.console(command)
        return caught.exception

    def test_set_tier_of_a_configured_tenant_holds_until_the_next_reload(self):
        weir = self.weir(tenants={"acme": {"tier": "large", "database": "shared", "max_clients": 7}, "t_*": {
            "tier": "large", "database": "shared"}})
        wire = self.wire(weir)
        self.assertEqual(self.limits(weir)["max_clients"], ("7", "1", "override: the tenant's own row"))
        self.assertEqual(self.limits(weir)["pool_size"][::2], ("4", "tier large"))
        begun = time.monotonic()
        weir.console("SET TIER acme small")
        self.assertEqual(self.limits(weir)["pool_size"][::2], ("1", "tier small"))
        print(f"SET TIER held after {time.monotonic() - begun:.3f} s (with two connections to the console)")
        self.assertEqual(self.limits(weir)["max_clients"][0], "7")  # its own value stays
        weir.has_logged("tier_downgrade")
        weir.has_logged('"command":"SET TIER","argument":"acme small","outcome":"ok"')
        self.assertEqual(wire.value("select 1"), "1")
        # One that a pattern matches gets a row of its own, and keeps its database.
        weir.console("SET TIER t_1 small")
        self.assertEqual(self.limits(weir, "t_1")["pool_size"][0], "1")
        self.assertEqual(self.limits(weir, "t_2")["pool_size"][0], "4")
        self.assertEqual(self.wire(weir, "t_1").value("select current_database()"), "shared")
        weir.console("RELOAD")
        self.assertEqual(self.limits(weir)["pool_size"][::2], ("4", "tier large"))
        error = self.refused(weir, "SET TIER acme huge")
        self.assertEqual(error.sqlstate, "42704")
        self.assertEqual(error.diag.message_hint, "There are enterprise, free, large, pro, small, starter.")
        self.assertEqual(self.refused(weir, "SET TIER nobody small").sqlstate, "3D000")
        self.assertEqual(self.refused(weir, "SET TIER acme").sqlstate, "42601")

    def test_another_database_under_live_clients_doubles_no_limit(self):
        """Its home follows its database, but not while it has clients: what is held there is counted there."""
        for name in range(6):
            self.postgres.create_database(f"home{name}", owner="app")
        weir = self.weir(tenants={"acme": {"tier": "small", "database": "home0"}}, process={"threads": 4})
        clients = []
        for name in range(6):
            weir.config["tenants"]["acme"]["database"] = f"home{name}"
            weir.write_files()
            weir.console("RELOAD")  # which answers when it is in force
            while len(clients) <= 12:
                with contextlib.suppress(Closed):
                    clients.append(self.wire(weir))
                    continue
                break
        self.assertEqual(len(clients), TIERS["small"]["max_clients"])
        self.assertEqual(self.limits(weir)["max_clients"][1], "2")
        self.assertEqual({one.value("select current_database()") for one in clients}, {"home0"})
        for one in clients:
            one.close()
        wait_until(lambda: self.limits(weir)["max_clients"][1] == "0", what="clients gone")
        self.assertEqual(self.wire(weir).value("select current_database()"), "home5")
        wait_until(lambda: len(weir.console("SHOW TENANTS")[1]) == 1, what="one row")

    def test_orders_for_who_has_not_come_yet(self):
        weir = self.weir(pool={"unknown_tenants": True})
        with Wire(weir.port) as console:
            console.login("admin", "pgweir")
            # The first notice of two: that nobody is called so.
            answer = console.query("SUSPEND_TENANT acmee")
            self.assertEqual(kinds(answer), "NNCZ")
            self.assertEqual(error_fields(answer[0][1])["M"], "no client of that name has connected yet, and no record names it")
            with Wire(weir.port) as client:
                client.send(startup("app", "acmee"))
                self.assertIn('tenant "acmee" is suspended', first_error(client.until_closed())["M"])
            # Known by that order, by the configuration, and by a client that has been there.
            self.wire(weir, "postgres").close()
            for order in ("RESUME_TENANT acmee", "SET TIER acme small", "SET TIER postgres small"):
                self.assertEqual(kinds(console.query(order)), "NCZ", order)

    def test_orders_for_who_cannot_be_a_tenant(self):
        weir = self.weir(pool={"unknown_tenants": True}, tenants={"t_*": {"tier": "large", "database": "shared"}})
        for name in ("*", "t_*", "pgweir", "pgbouncer"):
            for order in ('SUSPEND_TENANT "{}"', 'RESUME_TENANT "{}"', 'SET TIER "{}" small', 'SET OVERRIDE "{}" max_clients 1',
                          'RESET OVERRIDE "{}" max_clients', 'MOVE "{}" TO main', 'SHOW LIMIT "{}"'):
                error = self.refused(weir, order.format(name))
                self.assertEqual(error.sqlstate, "22023", order)
                self.assertIn("is a pattern" if "*" in name else "is for tenants, not for the console", str(error))
        self.assertEqual(self.wire(weir, "t_1").value("select 1"), "1")

    def test_override_of_a_configured_tenant_holds_until_the_next_reload(self):
        weir = self.weir(tenants={"acme": {"tier": "small", "database": "shared"}})
        wire = self.wire(weir)
        weir.console("SET OVERRIDE acme max_server_connections 3; SET OVERRIDE acme Work_Mem '3MB'")
        limits = self.limits(weir)
        self.assertEqual(limits["max_server_connections"][::2], ("3", "override: the tenant's own row"))
        self.assertEqual(limits["work_mem"][::2], ("3MB", "override: the tenant's own row"))
        self.assertEqual(limits["pool_size"][::2], ("1", "tier small"))
        self.assertEqual(wire.value("show work_mem"), "3MB")
        weir.has_logged("tier_")
        weir.has_logged('"command":"SET OVERRIDE","argument":"acme max_server_connections 3","outcome":"ok"')
        weir.console("RESET OVERRIDE acme ceiling.work_mem")
        self.assertEqual(self.limits(weir)["work_mem"][::2], ("none", "tier small"))
        error = self.refused(weir, "RESET OVERRIDE acme work_mem")
        self.assertEqual(error.sqlstate, "42704")
        self.assertIn("tenant 'acme' has no value of its own for work_mem", str(error))
        self.assertEqual(error.diag.message_hint, "It has its own max_server_connections.")
        for order, why in (
            ("SET OVERRIDE acme max_client 5", "'max_client' is no field of a tier; did you mean max_clients?"),
            ("SET OVERRIDE acme max_clients 0", "max_clients must lie between 1 and"),
            ("SET OVERRIDE acme pool_size 9", "pool_size must not exceed max_server_connections, but 9 > 3"),
            ("RESET OVERRIDE acme max_client", "'max_client' is no field of a tier; did you mean max_clients?"),
        ):
            error = self.refused(weir, order)
            self.assertEqual(error.sqlstate, "22023", order)
            self.assertIn(why, str(error))
        self.assertEqual(self.refused(weir, "SET OVERRIDE nobody weight 2").sqlstate, "3D000")
        weir.console("RELOAD")
        self.assertEqual(self.limits(weir)["max_server_connections"][::2], ("1", "tier small"))

    def test_override_of_a_stored_tenant_is_written_to_redis(self):
        redis = self.redis()
        redis.tenant("acme", tier="small", database="shared", colour="blue", ceiling_jit="off")
        redis.tenant("bare", max_clients=3)
        weir = self.weir(redis=redis, tenants={}, pool={"default_tier": "small"})
        wire = self.wire(weir)
        weir.console("SET OVERRIDE acme max_clients 7")
        wait_until(lambda: self.limits(weir)["max_clients"][0] == "7", seconds=5, what="the override")
        self.assertEqual(self.limits(weir)["max_clients"][2], "override: the tenant's row in the tenant store")
        row = {"tier": "small", "database": "shared", "colour": "blue", "ceiling_jit": "off", "max_clients": "7"}
        self.assertEqual(self.row(redis), row)
        self.assertEqual(wire.value("select 1"), "1")
        # A ceiling that is there already in another spelling is not there twice.
        weir.console("SET OVERRIDE acme ceiling.jit on")
        del row["ceiling_jit"]
        self.assertEqual(self.row(redis), {**row, "ceiling.jit": "on"})
        weir.console("RESET OVERRIDE acme ceiling.jit; RESET OVERRIDE acme max_clients")
        del row["max_clients"]
        self.assertEqual(self.row(redis), row)
        wait_until(lambda: self.limits(weir)["max_clients"][::2] == ("2", "the tenant store: the row of tier small"),
                   seconds=5, what="the tier's")
        error = self.refused(weir, "RESET OVERRIDE acme max_clients")
        self.assertEqual((error.sqlstate, error.diag.message_hint), ("42704", "All that it has is its tier's."))
        # What the limits of its tier say counts, too.
        self.assertIn("but 9 > 1", str(self.refused(weir, "SET OVERRIDE acme pool_size 9")))
        self.assertEqual(self.row(redis), row)
        # The last field of a row leaves a row: a tenant without one would be none.
        weir.console("RESET OVERRIDE bare max_clients")
        self.assertEqual(self.row(redis, "bare"), {"state": "active"})
        self.assertEqual(self.limits(weir, "bare")["max_clients"][0], "2")

    def test_a_lower_plan_also_closes_servers_that_are_starting(self):
        proxy = FaultProxy(self.postgres)
        self.addCleanup(proxy.close)
        weir = self.weir(backends={"main": {"host": proxy.host, "port": proxy.port}})
        wires = [self.wire(weir) for _ in range(4)]
        wires[0].query("begin")
        begun = proxy.accepted
        proxy.set("latency", 1.0)
        for wire in wires[1:]:
            wire.send(query("select 1"))
        wait_until(lambda: proxy.accepted >= begun + 3, what="three servers that start")
        weir.console("SET TIER acme small")
        proxy.set("pass")
        wires[0].query("commit")
        for wire in wires[1:]:
            self.assertEqual(kinds(wire.until_ready())[-3:], "DCZ")
        time.sleep(3)  # in which those that were starting would have come
        text = "select count(*) from pg_stat_activity where datname = 'shared' and usename = 'app'"
        wait_until(lambda: self.postgres.sql(text) == [(1,)], what="one server, as the lower plan allows")

    def test_suspend_and_resume(self):
        weir = self.weir()
        wire = self.wire(weir)
        weir.console("SUSPEND_TENANT acme 'invoice 7 is open'")
        error = first_error(wire.until_closed())
        self.assertEqual(error["M"], 'terminating connection: tenant "acme" is suspended: invoice 7 is open')
        self.assertEqual(self.limits(weir)["state"], ("suspended", "", "invoice 7 is open"))
        weir.console("RESUME_TENANT acme")
        self.assertEqual(self.wire(weir).value("select 1"), "1")

    def test_changes_are_counted(self):
        port = free_port()
        weir = self.weir(http={"port": port})
        wire = self.wire(weir)
        for command in ("SET TIER acme small", "SET TIER acme large", "SET TIER acme small", "SUSPEND_TENANT acme"):
            weir.console(command)
        wire.until_closed()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
            lines = answer.read().decode().splitlines()
        wanted = {
            'tenant_tier_demotion_total{tier="small"}': 2,
            'tenant_tier_promotion_total{tier="large"}': 1,
            'tenant_tier_promotion_total{tier="small"}': 0,
            'pgweir_tenant_suspended_total{tier="small"}': 1,
        }
        for series, count in wanted.items():
            self.assertIn(f"{series} {count}", lines)
        for event, count in (("tier_downgrade", 2), ("tier_upgrade", 1), ("tenant_suspended", 1)):
            weir.has_logged(f'"message":"{event}"', count)

    def test_set_tier_of_a_stored_tenant_is_written_to_redis(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared", version=3)
        weir = self.weir(redis=redis, tenants={})
        wire = self.wire(weir)
        self.assertEqual(self.limits(weir)["max_clients"][0], "20")
        weir.console("SET TIER acme small")
        wait_until(lambda: self.limits(weir)["max_clients"][0] == "2", seconds=5, what="the new tier")
        self.assertEqual(redis("HGET", "pgweir:tenant:acme", "tier"), "small")
        self.assertEqual(redis("HGET", "pgweir:tenant:acme", "version"), "3")
        self.assertEqual(wire.value("select 1"), "1")
        # One that nobody has used yet is only in the store.
        redis.tier("huge", max_clients=30)
        weir.console("SET TIER acme huge")
        wait_until(lambda: self.limits(weir)["max_clients"][0] == "30", seconds=5, what="a tier of the store alone")
        weir.console("SET TIER acme small")
        error = self.refused(weir, "SET TIER acme hug")
        self.assertEqual(error.sqlstate, "42704")
        self.assertIn("no tier is named 'hug'; did you mean huge?", str(error))
        self.assertEqual(error.diag.message_hint, "There are enterprise, free, huge, large, pro, small, starter.")
        self.assertEqual(redis("HGET", "pgweir:tenant:acme", "tier"), "small")
        weir.console("SUSPEND_TENANT acme")
        self.assertIn("is suspended", first_error(wire.until_closed())["M"])

    def row(self, redis, name="acme"):
        words = redis("HGETALL", f"pgweir:tenant:{name}").split("\n") + [""]  # a last value may be empty
        return dict(zip(words[::2], words[1::2]))

    def test_what_is_ordered_after_redis_was_emptied_leaves_a_whole_row(self):
        redis = self.redis()
        row = {"tier": "large", "database": "shared", "max_clients": "7"}
        orders = {
            "SUSPEND_TENANT {} 'invoice 7 is open'": {"state": "suspended", "reason": "invoice 7 is open"},
            "RESUME_TENANT {}": {"state": "active", "reason": ""},
            "SET TIER {} small": {"tier": "small"},
            "SET OVERRIDE {} max_clients 9": {"max_clients": "9"},
            "MOVE {} TO other": {"backend": "other"},
        }
        names = [f"t{i}" for i in range(len(orders))]
        for name in names:
            redis.tenant(name, **row)
        here = {"host": self.postgres.host, "port": self.postgres.port}
        weir = self.weir(redis=redis, tenants={}, backends={"main": here, "other": here})
        for name in names:
            self.assertEqual(self.limits(weir, name)["max_clients"][0], "7")
        redis("FLUSHALL")
        for name, (order, change) in zip(names, orders.items()):
            weir.console(order.format(name))
            self.assertEqual(self.row(redis, name), {**row, **change}, order)
        self.assertEqual(self.wire(weir, names[1]).value("select current_database()"), "shared")
        weir.has_logged('"message":"row of the tenant store was gone"', len(orders))

    def test_a_row_that_is_there_keeps_what_others_have_written(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared", colour="blue")
        weir = self.weir(redis=redis, tenants={})
        self.limits(weir)
        redis("HSET", "pgweir:tenant:acme", "max_clients", "9")  # and tells nobody
        weir.console("SUSPEND_TENANT acme")
        self.assertEqual(self.row(redis), {"tier": "large", "database": "shared", "colour": "blue", "max_clients": "9",
                                           "state": "suspended", "reason": ""})

    def test_an_order_that_would_make_a_row_that_is_refused_is_refused(self):
        redis = self.redis()
        row = {"tier": "large", "database": "shared"}
        redis.tenant("acme", **row)
        weir = self.weir(redis=redis, tenants={"ours": {"tier": "large", "database": "shared"}})
        wire = self.wire(weir)
        for order in (f"SUSPEND_TENANT {{}} '{201 * 'x'}'", "SUSPEND_TENANT {} 'two\nlines'"):
            for tenant in ("acme", "ours"):
                error = self.refused(weir, order.format(tenant))
                self.assertIn("reason must", str(error))
                self.assertEqual(error.sqlstate, "22023" if tenant == "acme" else "F0000")
        self.assertEqual(self.row(redis), row)
        self.assertNotIn("row of the tenant store refused", weir.log())
        self.assertEqual(wire.value("select 1"), "1")
        # One that is garbage already: what would mend it is done, anything else is refused.
        redis("HSET", "pgweir:tenant:acme", "max_clients", "-1")
        error = self.refused(weir, "SUSPEND_TENANT acme")
        self.assertIn("its row would be refused: max_clients must be a whole number", str(error))
        self.assertEqual((error.sqlstate, error.diag.message_hint), ("55000", "Mend its row in the store first."))
        redis("HDEL", "pgweir:tenant:acme", "max_clients")
        redis("HSET", "pgweir:tenant:acme", "reason", 201 * "x")
        weir.console("SUSPEND_TENANT acme 'invoice 7 is open'")
        self.assertIn("invoice 7 is open", first_error(wire.until_closed())["M"])
        redis("SET", "pgweir:tenant:acme", "no hash")
        error = self.refused(weir, "RESUME_TENANT acme")
        self.assertIn("its row is not to be read", str(error))
        self.assertEqual(error.sqlstate, "55000")

    def test_what_is_beyond_a_lower_plan_is_closed_after_the_grace(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared")
        weir = self.weir(redis=redis, tenants={}, grace="2s")
        wires = []
        for _ in range(5):
            wires.append(self.wire(weir))
            time.sleep(0.02)
        for wire in wires[:2]:  # both of those that stay hold a server
            wire.query("begin")
        redis.tenant("acme", tier="small")
        begun = time.monotonic()
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=5, what="the downgrade")
        self.assertIn("grace", self.limits(weir))
        for wire in wires[:2]:
            self.assertEqual(wire.value("select 1"), "1")
        for wire in wires[2:]:
            error = first_error(wire.until_closed())
            self.assertEqual((error["S"], error["C"]), ("FATAL", "57P01"))
            self.assertIn('the plan of tenant "acme" has changed to small', error["M"])
            self.assertIn("max_clients of tier small: 5 of 2", error["D"])
        self.assertGreater(time.monotonic() - begun, 1.5)
        # Of the two open transactions the older one may go on.
        self.assertIn("max_server_connections of tier small: 2 of 1", first_error(wires[1].until_closed())["D"])
        self.assertEqual(wires[0].value("select 1"), "1")
        self.assertEqual(kinds(wires[0].query("commit")), "CZ")

    FORGETFUL = {"ttl": "200ms", "stale_max": "1s", "timeout": "300ms"}

    def closed_beyond_small(self, wires):
        for wire in wires[2:]:
            self.assertIn("max_clients of tier small: 5 of 2", first_error(wire.until_closed())["D"])
        for wire in wires[:2]:
            self.assertEqual(wire.value("select 1"), "1")

    def test_a_lower_plan_behind_a_silence_of_the_store_has_its_grace(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared")
        least = {"pool_size": 1, "max_server_connections": 1, "max_clients": 1}
        weir = self.weir(redis=redis, tenants={}, grace="1s", store=self.FORGETFUL, tiers={**TIERS, "free": least})
        wires = [self.wire(weir) for _ in range(5)]
        redis.stop()
        wait_until(lambda: '"message":"tier_downgrade"' in weir.log(), seconds=15, what="the default tier")
        redis.start()
        redis.tenant("acme", tier="small", database="shared")
        self.closed_beyond_small(wires)
        weir.has_logged(re.compile('"message":"tier_downgrade".*"from":"large","to":"small"'))
        self.assertNotIn('"message":"tier_upgrade"', weir.log())

    def test_a_grace_that_ends_while_the_store_is_silent_ends_when_it_speaks(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared")
        weir = self.weir(redis=redis, tenants={}, grace="6s", store=self.FORGETFUL)
        wires = [self.wire(weir) for _ in range(5)]
        redis.tenant("acme", tier="small")
        wait_until(lambda: "grace" in self.limits(weir), seconds=5, what="the downgrade")
        redis.stop()
        rule = "the lower of the tenant's own tier and pool.default_tier free"
        silent = f"{rule}: the tenant store has told no good row of it for tenant_store.stale_max"
        wait_until(lambda: self.limits(weir)["max_clients"][2] == silent, seconds=5, what="the silence")
        wait_until(lambda: self.limits(weir)["grace"][0] == "0s", seconds=20, what="the end of the grace")
        for wire in wires:
            self.assertEqual(wire.value("select 1"), "1")
        redis.start()
        redis.tenant("acme", tier="small", database="shared")
        self.closed_beyond_small(wires)
        self.assertNotIn("grace", self.limits(weir))

    def test_a_plan_that_comes_back_within_the_grace_closes_nobody(self):
        weir = self.weir(grace="1s")
        wires = [self.wire(weir) for _ in range(5)]
        weir.console("SET TIER acme small")
        weir.console("SET TIER acme large")
        time.sleep(2)
        for wire in wires:
            self.assertEqual(wire.value("select 1"), "1")

    def test_no_transaction_is_lost_while_plans_change_under_load(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared")
        redis.tier("small", max_clients=20)  # nobody is in excess of that
        weir = self.weir(redis=redis, tenants={})
        self.postgres.sql("create table hits (i bigint)", "shared")
        self.postgres.sql("grant all on hits to app", "shared")
        script = self.postgres.dir / "hit.sql" if hasattr(self.postgres, "dir") else None
        self.assertIsNotNone(script)
        script.write_text("begin;\ninsert into hits values (1);\ncommit;\n")
        script.chmod(0o644)
        command = ["pgbench", "-n", "-h", "127.0.0.1", "-p", weir.port, "-U", "app", "-c", "8", "-T", "8",
                   "-f", script, "acme"]
        load = subprocess.Popen(as_system_user(command), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        took = []
        time.sleep(1)
        for tier in ("small", "large") * 3:
            begun = time.monotonic()
            redis.tenant("acme", tier=tier)
            wanted = str(TIERS[tier]["max_server_connections"])
            wait_until(lambda: self.limits(weir)["max_server_connections"][0] == wanted, seconds=10, what=tier)
            took.append(time.monotonic() - begun)
        output, _ = load.communicate(timeout=60)
        self.assertEqual(load.returncode, 0, output)
        self.assertIn("number of failed transactions: 0", output)
        done = int(output.split("number of transactions actually processed: ")[1].split()[0])
        self.assertEqual(self.postgres.sql("select count(*) from hits", "shared"), [(done,)])
        self.assertLess(sorted(took)[len(took) // 2], 1)
        print(f"{len(took)} plan changes under {done} transactions: held after at most {max(took):.3f} s "
              "(with two runs of redis-cli and a login to the console)")

    def test_why_clients_wait(self):
        weir = self.weir(tenants={"acme": {"tier": "small", "database": "shared"}})
        holder, queued = self.wire(weir), self.wire(weir)
        holder.query("begin")
        queued.send(query("select 1"))
        wait_until(lambda: self.limits(weir)["clients that wait"][0] == "1", what="the waiting client")
        why = self.limits(weir)["clients that wait"][2]
        self.assertIn('tenant "acme" (tier small): 1 of max_server_connections 1 are in use, 1 clients wait', why)
        kind, payload = queued.receive()
        self.assertEqual(kind, b"N")
        notice = error_fields(payload)
        self.assertIn("1 of max_server_connections 1 are in use", notice["D"])
        self.assertRegex(notice["M"], r"^still waiting for a server connection: no server connection became free within 5\.\ds$")
        for told in (notice["D"], notice["H"]):
            self.assertIn(told, self.limits(weir)["clients that wait"][2])
        self.assertEqual(self.limits(weir)["max_server_connections"], ("1", "1", "tier small"))
        holder.query("commit")
        self.assertEqual(kinds(queued.until_ready()), "TDCZ")

    def test_only_clients_of_the_tenant_itself_are_told_to_wait(self):
        weir = self.weir(tenants={"acme": {"tier": "small", "database": "shared"},
                                  "beta": {"tier": "small", "database": "shared", "max_clients": 20}})
        waiting = []
        for tenant, count in (("acme", 1), ("beta", 3)):
            self.wire(weir, tenant).query("begin")
            for _ in range(count):
                waiting.append(self.wire(weir, tenant))
                waiting[-1].send(query("select 1"))
        for tenant, count in (("acme", 1), ("beta", 3)):
            wait_until(lambda: self.limits(weir, tenant)["clients that wait"][0] == str(count), what="those that wait")
            self.assertIn(f"are in use, {count} clients wait", self.limits(weir, tenant)["clients that wait"][2])

    def test_which_rule_gives_a_value_beside_a_store(self):
        redis = self.redis()
        redis.tier("large", max_clients=33)
        redis.tenant("acme", tier="large", database="shared", pool_size=2)
        weir = self.weir(redis=redis, tenants={
            "ours": {"tier": "large", "database": "shared", "max_clients": 7},
            "plain": {"tier": "large", "database": "shared"},
        })
        stored, filed = "the tenant store: the row of tier large", "tier large"
        wanted = {"acme": (("33", stored), stored), "ours": (("7", "override: the tenant's own row"), filed),
                  "plain": (("33", stored), stored)}
        for tenant, (clients, servers) in wanted.items():
            limits = self.limits(weir, tenant)
            self.assertEqual(limits["max_clients"][::2], clients)
            # The row of the store says the same as the file. Whoever has a value of its own there has all from there.
            self.assertEqual(limits["max_server_connections"][::2], ("4", servers))
            self.assertEqual(limits["weight"][::2], ("1", filed))

    def test_values_that_contradict_their_tier_are_told(self):
        redis = self.empty_redis()
        redis.tier("large", max_server_connections=3)
        redis.tenant("acme", tier="large", database="shared", min_server_connections=9)
        weir = self.weir(redis=redis, tenants={"ours": {"tier": "large", "database": "shared", "pool_size": 4}})
        wire = self.wire(weir)
        room = "max_server_connections, which it must not exceed; else it would be "
        limits = self.limits(weir)
        self.assertEqual(limits["pool_size"][::2], ("3", room + "4"))
        self.assertEqual(limits["min_server_connections"][::2], ("3", room + "9"))
        self.assertEqual(limits["max_server_connections"][::2], ("3", "the tenant store: the row of tier large"))
        weir.has_logged("min_server_connections 9 is lowered to max_server_connections 3", times=1)
        weir.has_logged("pool_size 4 is lowered to max_server_connections 3", times=1)
        # Who has a value of its own in the file has all others from there, even where the store's is the same.
        limits = self.limits(weir, "ours")
        self.assertEqual(limits["max_server_connections"][::2], ("4", "tier large"))
        self.assertEqual(limits["pool_size"][::2], ("4", "override: the tenant's own row"))
        self.assertEqual(wire.value("select 1"), "1")

    def test_limits_of_a_tenant_whose_row_is_refused(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared", max_clients="-1")
        weir = self.weir(redis=redis, tenants={})
        with Wire(weir.port) as wire:
            wire.send(startup("app", "acme"))
            self.assertEqual(first_error(wire.until_closed())["C"], "3D000")
        error = self.refused(weir, "SHOW LIMIT acme")
        self.assertEqual(error.sqlstate, "3D000")
        why = "max_clients must be a whole number between 1 and 100000, not '-1'"
        self.assertEqual(error.diag.message_hint, f"The tenant store's row of it was refused: {why}.")
        redis.tenant("acme", max_clients="7")
        wait_until(lambda: self.serves(weir), what="the row that is good")
        self.assertNotIn("row of the tenant store", self.limits(weir))
        redis.tenant("acme", max_clients="-1")
        wait_until(lambda: self.limits(weir).get("row of the tenant store") == ("refused", "", why), what="the refusal")
        self.assertEqual(self.limits(weir)["max_clients"][0], "7")

    def serves(self, weir, tenant="acme"):
        try:
            with Wire(weir.port) as wire:
                return wire.login("app", tenant).value("select 1") == "1"
        except (Closed, AssertionError):
            return False

    def test_limits_while_the_store_is_away(self):
        redis = self.redis()
        redis.stop()
        weir = self.weir(redis=redis, tenants={}, store={"serve_unreachable": True},
                         pool={"unknown_tenants": True, "default_tier": "small"})
        wire = self.wire(weir, "shared")
        self.assertEqual(wire.value("select 1"), "1")
        limits = self.limits(weir, "shared")
        self.assertEqual(limits["max_clients"], ("2", "1", "tier small"))
        self.assertEqual(limits["tenant store"][0], "silent")
        self.assertEqual(self.limits(weir, "other")["max_clients"], ("2", "0", "tier small"))

    def test_ceilings_are_those_of_the_store_and_its_words_are_for_administrators(self):
        redis = self.redis()
        redis.tier("large", work_mem="3MB", **{"inject.app.key": "hunter2", "default.app.label": "hunter3"})
        redis.tier("other", work_mem="1MB")
        redis.tenant("acme", tier="large", database="shared", work_mem="2MB")
        redis.tenant("beta", tier="other", database="shared")
        weir = self.weir(redis=redis, console={"stats": ["reader"]})
        self.wire(weir), self.wire(weir, "beta")

        def told(command, user="admin"):
            with weir.connect("pgweir", user, cursor_factory=psycopg.ClientCursor) as console:
                return {row[:2]: row[2:5] for row in console.execute(command).fetchall()}

        all_tiers, acme = told("SHOW CEILINGS"), told("SHOW CEILINGS acme")
        self.assertEqual(all_tiers["large", "work_mem"], ("ceiling", "3MB", "tier"))
        self.assertEqual(all_tiers["other", "work_mem"], ("ceiling", "1MB", "tier"))
        self.assertEqual(all_tiers["large", "app.key"], ("injected", "hunter2", "tier"))
        self.assertEqual(acme["large", "work_mem"], ("ceiling", "2MB", "tenant"))
        self.assertEqual(acme["large", "app.key"], ("injected", "hunter2", "tier"))
        for command in ("SHOW CEILINGS", "SHOW CEILINGS acme"):
            shown = told(command, "reader")
            self.assertEqual(shown["large", "app.key"], ("injected", "********", "tier"))
            self.assertEqual(shown["large", "app.label"], ("default", "********", "tier"))
        self.assertEqual(told("SHOW CEILINGS acme", "reader")["large", "work_mem"], ("ceiling", "2MB", "tenant"))

    def test_whose_statements_have_no_room_is_told(self):
        weir = self.weir(pool={"prepared_statement_bytes": "64kB"})
        wire = self.wire(weir)
        for number in range(3):
            wire.send(parse(f"select {number} -- {30_000 * 'x'}", f"s{number}"), sync())
            error = first_error(wire.until_ready())
        self.assertEqual((error["C"], error["M"]), ("53400", 'no room for another prepared statement of tenant "acme" '
                                                    "(tier large)"))
        self.assertRegex(error["D"], "^pool.prepared_statement_bytes: 6[0-9]{4} of 65536 bytes are used by all clients of "
                                     "this tenant")

    def test_statements_of_one_tenant_take_no_room_of_others_that_share_its_servers(self):
        weir = self.weir(pool={"prepared_statement_bytes": "64kB"},
                         tenants={name: {"tier": "large", "database": "shared"} for name in ("acme", "beta")})

        def prepare(wire, name, number):
            wire.send(parse(f"select {number} -- {20_000 * 'x'}", name), sync())
            return first_error(wire.until_ready())

        def full(wire, tenant):
            error = prepare(wire, "more", 100)
            self.assertEqual((error["C"], error["M"]), ("53400", "no room for another prepared statement of tenant "
                                                        f'"{tenant}" (tier large)'))
            self.assertEqual(wire.value("select 1"), "1")

        first, second, beta = self.wire(weir), self.wire(weir), self.wire(weir, "beta")
        for number in range(3):
            self.assertIsNone(prepare((first, second)[number % 2], f"s{number}", number))
        full(first, "acme")
        full(second, "acme")
        # What they share, and what not.
        self.assertIsNone(prepare(second, "again", 0))
        for number in (2, 3, 4):
            self.assertIsNone(prepare(beta, f"s{number}", number))
        full(beta, "beta")
        for tenant, most in (("acme", 4), ("beta", 3)):
            value, used, rule = self.limits(weir, tenant)["pool.prepared_statement_bytes"]
            self.assertEqual((value, rule), ("65536", "the configuration, for each tenant"))
            self.assertTrue(60_000 < int(used) < 65_536, (most, used))
        # Of a text that two clients have, the one who leaves makes no room.
        self.assertIsNone(first_error(first.query("deallocate s0")))
        full(first, "acme")
        self.assertIsNone(first_error(second.query("deallocate all")))
        self.assertIsNone(prepare(first, "s5", 5))
        full(beta, "beta")
        for wire in (first, second, beta):
            wire.close()
        for tenant in ("acme", "beta"):
            wait_until(lambda name=tenant: self.limits(weir, name)["pool.prepared_statement_bytes"][1] == "0",
                       what="statements gone")

    def usage(self, weir):
        columns, rows = weir.console("SHOW USAGE")
        return {row[0]: dict(zip(columns, row)) for row in rows}

    def test_usage(self):
        weir = self.weir(tenants={"acme": {"tier": "small", "database": "shared"},
                                  "beta": {"tier": "large", "database": "shared"}})
        first, second = self.wire(weir), self.wire(weir)
        begun = time.monotonic()
        for _ in range(10):
            first.query("select 1")
        first.query("begin")
        second.send(query("select 1"))
        first.query("select pg_sleep(1)")
        first.query("commit")
        second.until_ready()
        with Wire(weir.port) as third:
            with self.assertRaises(Exception):
                third.login("app", "acme")
        first.query("create temporary table pins_me (i int)")
        beta = self.wire(weir, "beta")
        beta.query("select 1")
        # The client has its answer before it is known what it has left.
        wait_until(lambda: int(self.usage(weir)["acme"]["pins"]) == 1, what="the pin")
        used = self.usage(weir)
        passed = time.monotonic() - begun
        acme = used["acme"]
        self.assertEqual((int(acme["connections"]), int(acme["transactions"]), int(acme["client_limit_hits"])),
                         (2, 13, 1))
        self.assertEqual((acme["peak_clients"], acme["peak_servers"], int(acme["pins"])), (2, 1, 1))
        self.assertEqual(int(acme["server_limit_hits"]), 1)  # the one that waited, though it was served
        self.assertGreater(float(acme["busy_seconds"]), 1)
        self.assertGreater(float(acme["wait_seconds"]), 0.9)
        # One connection, open all the time and used by nobody else so far.
        self.assertGreater(float(acme["server_connection_seconds"]), 1)
        self.assertLess(float(acme["server_connection_seconds"]), passed + 1)
        self.assertEqual(int(used["beta"]["transactions"]), 1)
        later = self.usage(weir)["acme"]
        self.assertGreater(float(later["server_connection_seconds"]), float(acme["server_connection_seconds"]))

    def test_a_wait_that_ends_without_a_server_is_counted(self):
        row = {"tier": "small", "database": "shared", "queue_timeout": "1s"}
        weir = self.weir(tenants={"acme": row, "beta": {**row, "queue_timeout": "30s"}})
        for tenant in ("acme", "beta"):
            self.wire(weir, tenant).query("begin")
        refused, gone = self.wire(weir), self.wire(weir, "beta")
        for wire in (refused, gone):
            wire.send(query("select 1"))
        self.assertEqual(first_error(refused.until_ready())["C"], "53300")
        gone.close()
        wait_until(lambda: float(self.usage(weir)["beta"]["wait_seconds"]) > 0.9, what="the wait of one that left")
        used = self.usage(weir)
        self.assertGreater(float(used["acme"]["wait_seconds"]), 0.9)
        # Counted when it began, and not again when it was refused.
        self.assertEqual([int(used[tenant]["server_limit_hits"]) for tenant in ("acme", "beta")], [1, 1])

    def test_every_wait_at_the_ceiling_is_counted_once(self):
        tiers = {"queues": {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "30s"},
                 "rejects": {"pool_size": 1, "max_server_connections": 1, "at_pool": "reject"},
                 "short": {"pool_size": 1, "max_server_connections": 1, "max_waiting_clients": 1},
                 "roomy": {"pool_size": 1, "max_server_connections": 4}}
        weir = self.weir(tenants={name: {"tier": name, "database": "shared"} for name in tiers}, tiers=tiers,
                         http={"port": free_port()})
        metric = re.compile(r'^pgweir_limit_hits_total\{tier="(\w+)",limit="max_server_connections"\} (\d+)$', re.M)

        def hits():
            with urllib.request.urlopen(f"http://127.0.0.1:{weir.config['http']['port']}/metrics", timeout=20) as page:
                told = {tier: int(count) for tier, count in metric.findall(page.read().decode()) if tier in tiers}
            used = self.usage(weir)
            self.assertEqual(told, {name: int(used[name]["server_limit_hits"]) for name in tiers})
            return told

        holders = {name: self.wire(weir, name) for name in tiers}
        for holder in holders.values():
            holder.query("begin")
        self.assertEqual(hits(), dict.fromkeys(tiers, 0))
        queued = [self.wire(weir, "queues") for _ in range(3)]
        for wire in queued:
            wire.send(query("select 1"))
        for _ in range(2):
            self.assertEqual(first_error(self.wire(weir, "rejects").query("select 1"))["C"], "53300")
        short = [self.wire(weir, "short") for _ in range(2)]
        short[0].send(query("select 1"))
        wait_until(lambda: hits()["short"] == 1, what="one that waits")
        self.assertIn("max_waiting_clients", first_error(short[1].query("select 1"))["D"])
        for _ in range(2):
            self.wire(weir, "roomy").query("select 1")
        wait_until(lambda: hits()["queues"] == 3, what="all that wait")
        for name in ("queues", "short"):
            holders[name].query("commit")
        for wire in (*queued, short[0]):
            wire.until_ready()
        self.assertEqual(hits(), {"queues": 3, "rejects": 2, "short": 1, "roomy": 0})

    def test_an_idle_connection_is_billed_to_who_used_it_last(self):
        weir = self.weir(tenants={name: {"tier": "large", "database": "shared"} for name in ("acme", "beta", "idle")})
        for name in ("idle", "beta"):
            self.wire(weir, name)
        with Wire(weir.port) as acme:
            acme.login("app", "acme").query("select 1")
        wait_until(lambda: not self.clients_of(weir, "acme"), what="its client gone")
        before = self.usage(weir)
        begun = time.monotonic()
        time.sleep(2)
        after = self.usage(weir)
        passed = time.monotonic() - begun

        def billed(tenant):
            column = "server_connection_seconds"
            return float(after[tenant][column]) - float(before[tenant][column])

        self.assertEqual([billed("idle"), billed("beta")], [0, 0])
        self.assertTrue(1.9 < billed("acme") < passed + 1, billed("acme"))

    def clients_of(self, weir, tenant):
        return dict(weir.console("SHOW TENANTS tenant, clients")[1])[tenant]


if __name__ == "__main__":
    unittest.main()
