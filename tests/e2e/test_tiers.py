"""Tenants from Redis: sized by their rows, changed while they work, unharmed by a Redis that is not."""

import json
import re
import socket
import threading
import time
import unittest
import urllib.request

import psycopg

from harness import TRUST, Authority, PgweirCase, Redis, Wire, free_port, pg_program, run, wait_until
from harness.machine import as_system_user, write
from harness.wire import first_error, kinds, startup

SOON = 5  # a change has to hold within a second; a busy machine gets more


class FakeRedis:
    """Takes connections on a port and answers whatever comes with the same bytes."""

    def __init__(self, port, answer):
        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", port))
        self._clients = []
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._clients.append(client)
            threading.Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client):
        try:
            while client.recv(4096):
                client.sendall(self._answer)
        except OSError:
            pass

    def stop(self):
        self._socket.shutdown(socket.SHUT_RDWR)
        for each in [self._socket, *self._clients]:
            each.close()


class TierCase(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared", "own")

    def redis(self, **options):
        redis = Redis(**options)
        self.addCleanup(redis.stop)
        return redis

    def weir(self, redis, *, store=None, url=None, **config):
        store = {"kind": "redis", "redis_url": url or redis.url(), **(store or {})}
        pool = {"unknown_tenants": False, **config.pop("pool", {})}
        return self.pgweir({"tenant_store": store, "pool": pool, **config}, {"app": "s3cret", "admin": "adm1n"})

    def client(self, weir, tenant, user="app", **options):
        options.setdefault("password", "s3cret")
        connection = weir.connect(tenant, user, **options)
        self.addCleanup(connection.close)
        return connection

    def refusal(self, weir, tenant, user="app", **options):
        with self.assertRaises(psycopg.OperationalError) as caught:
            self.client(weir, tenant, user, **options)
        return str(caught.exception)

    def serves(self, weir, tenant):
        try:
            with weir.connect(tenant, "app", password="s3cret") as client:
                return client.execute("select current_database()").fetchone()[0]
        except psycopg.OperationalError:
            return None


class Rows(TierCase):
    def test_a_tenant_of_redis(self):
        redis = self.redis()
        redis.tenant("acme", tier="pro", database="shared", colour="blue")
        weir = self.weir(redis)
        client = self.client(weir, "acme")
        weir.has_logged("field of the tenant store has no meaning")
        self.assertEqual(client.execute("select current_database()").fetchone(), ("shared",))
        self.assertIn("does not exist", self.refusal(weir, "nobody"))
        # It comes into being while pgweir remembers that it does not exist.
        redis.tenant("nobody", database="own")
        wait_until(lambda: self.serves(weir, "nobody") == "own", seconds=SOON, what="a new tenant served")

    def test_unknown_tenants_get_the_default_tier_where_that_is_allowed(self):
        redis = self.redis()
        redis.tier("free", max_clients=1)
        weir = self.weir(redis, pool={"unknown_tenants": True, "default_tier": "free"})
        client = self.client(weir, "own")
        self.assertEqual(client.execute("select current_database()").fetchone(), ("own",))
        self.assertIn("too many connections for tenant", self.refusal(weir, "own"))

    def test_a_tenants_database_is_no_tenant_of_its_own(self):
        redis = self.redis()
        weir = self.weir(redis, pool={"unknown_tenants": True}, tenants={"acme": {"database": "shared"}})
        said = self.refusal(weir, "shared")
        self.assertIn("no tenant is named 'shared'", said)
        self.assertIn("That is the database of a tenant by another name", said)
        self.assertEqual(self.serves(weir, "acme"), "shared")
        self.assertEqual(self.serves(weir, "own"), "own")
        weir = self.weir(
            redis, pool={"unknown_tenants": True}, tenants={"acme": {"database": "shared"}, "shared": {}}
        )
        self.assertEqual(self.serves(weir, "shared"), "shared")

    def test_the_configurations_tenants_stay(self):
        redis = self.redis()
        redis.tenant("acme", database="own")
        weir = self.weir(redis, tenants={"acme": {"database": "shared"}, "beta": {"database": "shared"}})
        self.assertEqual(self.serves(weir, "acme"), "own")
        self.assertEqual(self.serves(weir, "beta"), "shared")

    def test_a_server_user_of_its_own(self):
        redis = self.redis()
        self.postgres.create_user("acme_user", "t0psecret")
        redis.tenant("acme", database="shared", user="acme_user", password="t0psecret")
        weir = self.weir(redis)
        client = self.client(weir, "acme")
        self.assertEqual(client.execute("select current_user").fetchone(), ("acme_user",))
        redis("HSET", "pgweir:tenant:acme", "password", "t0psecret\n", "backend", "nowhere")
        redis("PUBLISH", "pgweir:changed", "acme")
        wait_until(lambda: "row of the tenant store refused" in weir.log(), what="garbage logged")
        self.assertNotIn("t0psecret", weir.log())

    def test_login_to_redis(self):
        redis = self.redis(password="r3dis", database=3)
        redis.tenant("acme", database="shared")
        redis("ACL", "SETUSER", "pooler", "on", ">acl@/s3cret", "~pgweir:*", "&pgweir:*", "+@read", "+subscribe",
              "+select", "+ping", "+auth")
        for url in (redis.url(), f"redis://pooler:acl%40%2Fs3cret@{redis.host}:{redis.port}/3"):
            weir = self.weir(redis, url=url)
            self.assertEqual(self.serves(weir, "acme"), "shared")
            self.assertNotIn("s3cret", weir.log())
            self.assertNotIn("r3dis", weir.log())
        wrong = self.weir(redis, url=redis.url().replace("r3dis", "wr0ng"))
        self.assertIn("cannot be looked up now", self.refusal(wrong, "acme"))
        wait_until(lambda: "login refused" in wrong.log(), what="the refused login logged")
        self.assertNotIn("wr0ng", wrong.log())

    def test_redis_by_tls(self):
        authority, stranger = Authority(), Authority("stranger")
        redis = self.redis(certificate=authority.issue("localhost"), authority=authority.path)
        redis.tenant("acme", database="shared")
        weir = self.weir(redis, store={"redis_ca_file": str(authority.path)})
        self.assertEqual(self.serves(weir, "acme"), "shared")
        doubtful = self.weir(redis, store={"redis_ca_file": str(stranger.path)})
        self.assertIn("cannot be looked up now", self.refusal(doubtful, "acme"))


class Naming(TierCase):
    def test_by_user_and_by_option(self):
        redis = self.redis()
        redis.tenant("acme", database="shared")
        redis.tenant("beta", database="own")
        weir = self.weir(redis, client={"tenant_named_by": ["option", "user", "database"]})
        asked = "select current_database(), current_user, current_setting('pgweir.tenant', true)"
        client = self.client(weir, "whatever", "app.acme")
        self.assertEqual(client.execute(asked).fetchone(), ("shared", "app", None))
        client = self.client(weir, "whatever", options="-c pgweir.tenant=beta -c work_mem=3MB")
        self.assertEqual(client.execute(asked).fetchone(), ("own", "app", None))
        self.assertEqual(client.execute("show work_mem").fetchone(), ("3MB",))
        self.assertEqual(self.client(weir, "beta").execute(asked).fetchone(), ("own", "app", None))
        self.assertIn("does not exist", self.refusal(weir, "beta", "app.nobody"))
        self.assertIn("password authentication failed", self.refusal(weir, "x", "app.acme", password="wrong"))
        with weir.connect("pgweir", "admin", cursor_factory=psycopg.ClientCursor) as console:
            console.execute("SHOW VERSION")

    def test_an_option_that_does_not_name_is_refused(self):
        redis = self.redis()
        redis.tenant("acme", database="shared")
        weir = self.weir(redis)
        why = self.refusal(weir, "acme", options="-c pgweir.tenant=beta")
        self.assertIn("pgweir.tenant does not name the tenant here", why)

    def test_an_option_that_names_nobody_is_refused(self):
        """Who meant a tenant by it is not to be taken for the one of the database's name."""
        redis = self.redis()
        redis.tenant("acme", database="shared")
        weir = self.weir(redis, client={"tenant_named_by": ["option", "database"]})
        why = self.refusal(weir, "acme", options="-c pgweir.tenant=")
        self.assertIn("pgweir.tenant must name a tenant, and is empty", why)
        for option in ("pgweir.tennant=beta", "PGWEIR.Tenants=beta", "pgweir.foo="):
            why = self.refusal(weir, "acme", options=f"-c {option}")
            self.assertIn(f"unrecognized option '{option.split('=')[0].lower()}'", why)
            self.assertIn("Options of pgweir's are pgweir.tenant and pgweir.pool_mode.", why)
        for option in ("pgweir.pool_mode=transaction", "pgweir.tenant=acme", "other.tenant=x"):
            client = self.client(weir, "acme", options=f"-c {option}")
            self.assertEqual(client.execute("select current_database()").fetchone(), ("shared",))

    def test_by_sni(self):
        redis, authority = self.redis(), Authority()
        redis.tenant("acme", database="shared")
        certificate = authority.issue("localhost")
        weir = self.weir(
            redis,
            client={
                "tenant_named_by": ["sni", "database"],
                "sni_domain": "db.example.com",
                "tls_mode": "allow",
                "tls_cert_file": str(certificate.cert),
                "tls_key_file": str(certificate.key),
            },
        )
        client = self.client(weir, "x", host="ACME.db.example.com", hostaddr="127.0.0.1", sslmode="require")
        self.assertEqual(client.execute("select current_database()").fetchone(), ("shared",))
        for host in ("acme.db.example.org", "db.example.com"):
            why = self.refusal(weir, "x", host=host, hostaddr="127.0.0.1", sslmode="require")
            self.assertIn('database "x" does not exist', why)


class Changes(TierCase):
    def test_an_upgrade_holds_from_the_next_transaction(self):
        redis = self.redis()
        redis.tier("small", pool_size=1, max_server_connections=1, max_clients=5)
        redis.tier("large", pool_size=2, max_server_connections=4, max_clients=5)
        redis.tenant("acme", tier="small", database="shared", version=1)
        weir = self.weir(redis)
        holder, waiter = self.client(weir, "acme"), self.client(weir, "acme")
        holder.execute("begin")
        holder.execute("select 1")
        done = threading.Event()
        worker = threading.Thread(target=lambda: (waiter.execute("select 1"), done.set()), daemon=True)
        worker.start()
        self.assertFalse(done.wait(0.5), "the tenant had more than one server before its upgrade")
        begun = time.monotonic()
        redis.tenant("acme", tier="large", version=2)
        self.assertTrue(done.wait(SOON), "the upgrade did not take effect")
        print(f"an upgrade held after {time.monotonic() - begun:.3f} s (with two runs of redis-cli)")
        worker.join(5)
        holder.execute("commit")
        wait_until(lambda: "tier_upgrade" in weir.log(), what="the event")

    def test_a_tiers_change_reaches_its_tenants(self):
        redis = self.redis()
        redis.tier("small", max_clients=3)
        redis.tenant("acme", tier="small", database="shared")
        weir = self.weir(redis)
        clients = [self.client(weir, "acme") for _ in range(2)]
        redis.tier("small", max_clients=2)
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=SOON, what="the event")
        self.assertIn("max_clients of tier small", self.refusal(weir, "acme"))
        for client in clients:
            self.assertEqual(client.execute("select 1").fetchone(), (1,))

    def test_a_hint_knows_the_tiers_of_the_store(self):
        redis = self.redis()
        redis.tier("free", max_clients=1)
        redis.tier("gold", max_clients=6)
        for tenant, row in {"acme": {"tier": "free"}, "rich": {"tier": "gold"}, "odd": {"tier": "free", "max_clients": 2}}.items():
            redis.tenant(tenant, database="shared", **row)
        http = free_port()
        weir = self.weir(redis, http={"port": http})
        for tenant in ("acme", "odd", "odd"):
            self.client(weir, tenant)
        too_many = "Close connections that are not needed, or "
        # free allows 1 here, and of gold nobody has heard yet.
        self.assertIn(f"{too_many}choose a tier that allows more; starter allows 50.", self.refusal(weir, "acme"))
        self.client(weir, "rich")
        self.assertIn(f"{too_many}choose a tier that allows more; gold allows 6.", self.refusal(weir, "acme"))
        self.assertIn(f"{too_many}have max_clients raised, of which the tenant has a value of its own.", self.refusal(weir, "odd"))
        shown = dict(weir.console("SHOW TIERS tier, max_clients")[1])
        self.assertEqual((shown["free"], shown["gold"], shown["starter"]), ("1", "6", "50"))
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/api/v1/tiers", timeout=20) as answer:
            listed = {row["tier"]: row["max_clients"] for row in json.load(answer)["tiers"]}
        self.assertEqual({str(listed["free"]), str(listed["gold"])}, {"1", "6"})
        redis.tier("gold", max_clients=7)
        wait_until(lambda: dict(weir.console("SHOW TIERS tier, max_clients")[1])["gold"] == "7", seconds=SOON, what="a tier's change")

    def test_a_suspended_tenant(self):
        redis = self.redis()
        redis.tenant("acme", tier="pro", database="shared")
        redis.tenant("beta", tier="pro", database="shared")
        weir = self.weir(redis, auth={"method": "trust"})
        idle, busy, pinned = (self.wire(weir, "acme") for _ in range(3))
        driver, other = self.client(weir, "acme"), self.client(weir, "beta")
        pinned.query("create temporary table mine (i int)")
        pinned.query("begin")
        busy.query("begin")
        busy.query("create table kept as select 1 as i")
        redis.tenant("acme", state="suspended", reason="invoice 7 is open")
        self.assert_ended(idle)
        with self.assertRaises(psycopg.OperationalError) as caught:
            driver.execute("select 1")
        self.assertIn("suspended: invoice 7 is open", str(caught.exception))
        # A transaction is not cut: it ends, and then the session does.
        self.assertEqual(busy.value("select count(*) from kept"), "1")
        for wire in (busy, pinned):
            self.assertEqual(kinds(wire.query("commit")), "CZ")
            self.assert_ended(wire)
        weir.has_logged("tenant_suspended")
        self.assertEqual(self.postgres.sql("select count(*) from kept", "shared"), [(1,)])
        with Wire(weir.port) as wire:
            wire.send(startup("app", "acme"))
            error = first_error(wire.until_closed())
        self.assertEqual((error["S"], error["C"]), ("FATAL", "28000"))
        self.assertEqual(error["M"], 'tenant "acme" is suspended: invoice 7 is open')
        self.assertEqual(other.execute("select 1").fetchone(), (1,))
        redis.tenant("acme", state="active")
        wait_until(lambda: self.works(weir, "acme"), seconds=SOON, what="the tenant resumed")

    def test_who_is_suspended_is_listed(self):
        """Also who has no client, whether one was refused or not; and who was resumed without one is not."""
        redis = self.redis()
        port = free_port()
        weir = self.weir(redis, http={"port": port}, tenants={"filed": {"tier": "pro", "state": "suspended", "reason": "old"}})

        def listed():
            rows = weir.console("SHOW TENANTS tenant, state, suspended_reason")[1]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/tenants", timeout=20) as answer:
                told = json.load(answer)["tenants"]
            self.assertEqual(rows, [(one["tenant"], one["state"], one["suspended_reason"]) for one in told])
            return {row[0]: row[1:] for row in rows}

        def suspended():
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                return float(re.search(r"^pgweir_suspended_tenants (\S+)$", answer.read().decode(), re.M)[1])

        self.assertEqual(listed(), {"filed": ("suspended", "old")})
        self.assertEqual(suspended(), 1)
        for name in ("acme", "other", "filed"):
            redis.tenant(name, tier="pro", database="shared", state="active", reason="")
        self.client(weir, "acme").execute("select 1")
        wait_until(lambda: self.works(weir, "filed"), seconds=SOON, what="the tenant that the store serves")
        redis.tenant("acme", state="suspended", reason="invoice 7 is open")
        redis.tenant("other", state="suspended", reason="unpaid")
        self.assertIn("suspended: unpaid", self.refusal(weir, "other"))
        wait_until(lambda: listed().get("acme") == ("suspended", "invoice 7 is open"), seconds=SOON, what="acme's state")
        self.assertEqual(listed()["other"], ("suspended", "unpaid"))
        self.assertEqual(listed()["filed"], ("active", ""))
        self.assertEqual(suspended(), 2)
        redis.tenant("other", state="active")
        wait_until(lambda: listed()["other"] == ("active", ""), seconds=SOON, what="other's state")
        self.assertEqual(suspended(), 1)

    def wire(self, weir, tenant):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", tenant)

    def test_suspended_by_a_reload(self):
        weir = self.pgweir(
            {"auth": {"method": "trust"}, "tenants": {"acme": {"database": "shared"}}}, {"app": "s3cret"}
        )
        idle = self.wire(weir, "acme")
        weir.config["tenants"]["acme"].update(state="suspended", reason="invoice 7 is open")
        weir.reload()
        self.assert_ended(idle)
        self.assertIn("suspended: invoice 7 is open", self.refusal(weir, "acme"))

    def assert_ended(self, wire):
        error = first_error(wire.until_closed())
        self.assertEqual((error["S"], error["C"]), ("FATAL", "57P01"))
        self.assertEqual(error["M"], 'terminating connection: tenant "acme" is suspended: invoice 7 is open')

    def works(self, weir, tenant):
        try:
            self.client(weir, tenant).execute("select 1")
            return True
        except psycopg.OperationalError:
            return False


class Trouble(TierCase):
    """What Redis does is no business of the tenants that are known."""

    STORE = {"ttl": "200ms", "negative_ttl": "200ms", "timeout": "300ms"}

    def load(self, weir, tenants, seconds_after):
        """Runs queries and logins for all tenants until the returned function is called, which tells what went wrong."""
        over, errors, done = threading.Event(), [], [0]

        def work(tenant):
            try:
                kept = weir.connect(tenant, "app", password="s3cret")
                while not over.is_set():
                    kept.execute("select 1")
                    with weir.connect(tenant, "app", password="s3cret") as fresh:
                        fresh.execute("select 1")
                    done[0] += 1
                kept.close()
            except psycopg.Error as error:
                errors.append(f"{tenant}: {error}")

        workers = [threading.Thread(target=work, args=(tenant,), daemon=True) for tenant in tenants]
        for worker in workers:
            worker.start()

        def finish():
            time.sleep(seconds_after)
            over.set()
            for worker in workers:
                worker.join(20)
            self.assertEqual(errors, [])
            self.assertGreater(done[0], 10)

        return finish

    def known(self, redis, weir, count=4):
        names = [f"t{i}" for i in range(count)]
        for name in names:
            redis.tenant(name, tier="pro", database="shared")
            self.client(weir, name).execute("select 1")
        return names

    def test_who_is_not_known_yet_while_redis_is_away(self):
        """His row may name another database: where nothing else is asked for, he is not let into that of his name."""
        redis = self.redis()
        redis.tenant("own", tier="pro", database="shared")
        redis.stop()
        allowed = {"unknown_tenants": True, "default_tier": "free"}
        weir = self.weir(redis, store=self.STORE, pool=allowed, tenants={"beta": {"database": "shared"}})
        self.assertIn("cannot be looked up now", self.refusal(weir, "own"))
        self.assertEqual(self.serves(weir, "beta"), "shared")
        loose = self.weir(redis, store={**self.STORE, "serve_unreachable": True}, pool=allowed)
        self.assertEqual(self.serves(loose, "own"), "own")

    def test_killed_and_back(self):
        redis = self.redis()
        weir = self.weir(redis, store=self.STORE)
        finish = self.load(weir, self.known(redis, weir), 1)
        redis.stop()
        wait_until(lambda: "tenant store lost" in weir.log(), what="the loss logged")
        time.sleep(1)
        self.assertIn("cannot be looked up now", self.refusal(weir, "stranger"))
        redis.start()
        # Empty now, which takes nobody's tier away. What it is told is heard again.
        wait_until(lambda: weir.log().count('"message":"tenant store connected"') >= 4, seconds=20, what="both connections back")
        redis.tenant("t0", tier="pro", database="shared", max_clients=77)
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=SOON, what="a change after the loss")
        finish()

    def test_paused(self):
        redis = self.redis()
        weir = self.weir(redis, store=self.STORE)
        finish = self.load(weir, self.known(redis, weir), 2)
        redis.pause()
        begun = time.monotonic()
        self.assertIn("cannot be looked up now", self.refusal(weir, "stranger"))
        self.assertLess(time.monotonic() - begun, 3)
        finish()
        redis.resume()
        redis.tenant("late", database="shared")
        wait_until(lambda: "t" in self.try_login(weir, "late"), seconds=20, what="an answer after the pause")

    def try_login(self, weir, tenant):
        try:
            self.client(weir, tenant)
            return "t"
        except psycopg.OperationalError:
            return ""

    def test_garbage_in_rows(self):
        redis = self.redis()
        weir = self.weir(redis, store=self.STORE)
        names = self.known(redis, weir)
        finish = self.load(weir, names, 2)
        redis("DEL", "pgweir:tenant:t0")
        redis("SET", "pgweir:tenant:t0", "no hash")
        redis("HSET", "pgweir:tenant:t1", "max_clients", "-1")
        redis("HSET", "pgweir:tenant:t2", "database", "x" * 60000)
        redis("HSET", "pgweir:tier:pro", "max_clients", "99999999999999999999", "pool_size", "abc")
        fields = [word for i in range(600) for word in (f"field{i}", "value")]
        redis("HSET", "pgweir:tenant:t3", *fields)
        lines = [f"HSET pgweir:tenant:g{i} tier nonsense state {i}" for i in range(20000)]
        lines += [f"PUBLISH pgweir:changed {word}" for word in ("*", "t0", "x" * 1000, "tier:pro", "g5") * 400]
        redis.pipe("\n".join(lines) + "\n")
        redis("PUBLISH", "pgweir:changed", "*")
        wait_until(lambda: weir.log().count('"message":"row of the tenant store refused"') >= 4, what="garbage logged")
        finish()
        log = weir.log()
        self.assertEqual(log.count('"tenant":"\'t1\'"') + log.count("tenant='t1'"), 1, "logged more than once")

    def test_a_row_that_is_too_much_is_nobody_elses_trouble(self):
        redis = self.redis()
        # On a busy machine it takes long to be read to its end.
        weir = self.weir(redis, store={**self.STORE, "timeout": "10s"})
        names = self.known(redis, weir)
        finish = self.load(weir, names, 0.5)
        redis("EVAL", "return redis.call('HSET', KEYS[1], 'database', string.rep('x', 1000000))", 1, "pgweir:tenant:t0")
        for key in ("pgweir:tenant:t1", "pgweir:tier:pro"):
            redis("HSET", key, *[word for i in range(600) for word in (f"field{i}", "value")])
        redis("PUBLISH", "pgweir:changed", "*")
        for row in ("'t0'", "'t1'", "'pro'"):
            wait_until(lambda: row in "".join(line for line in weir.log().splitlines() if "row of the tenant store refused" in line), what=f"{row} named")
        # While those are asked for again all the time, since they are in use.
        for i in range(10):
            redis.tenant(f"cold{i}", tier="pro", database="shared")
            self.assertEqual(self.serves(weir, f"cold{i}"), "shared")
        finish()
        log = weir.log()
        self.assertEqual(log.count('"message":"row of the tenant store refused"'), 3, "logged more than once")
        self.assertIn("must be a hash of at most 128 fields and 16384 bytes", log)
        self.assertEqual(log.count('"message":"tenant store connected"'), 2)
        self.assertNotIn("tenant store lost", log)

    def test_garbage_instead_of_redis(self):
        redis = self.redis()
        weir = self.weir(redis, store=self.STORE)
        finish = self.load(weir, self.known(redis, weir), 0.5)
        redis.stop()
        answers = [b"*1\r\n" * 10000, b"$999999999\r\n" + b"x" * 200000, b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n"]
        for answer in [*answers, b"*-7\r\n", b":1\r\n" * 1000]:
            fake = FakeRedis(redis.port, answer)
            try:
                wait_until(lambda: fake.connections >= 2, seconds=20, what="a visit to the false Redis")
                time.sleep(0.3)
            finally:
                fake.stop()
        finish()

    # What the rows of known tenants become, by commands of Redis; {row} is such a row.
    NONSENSE = (
        "SET {row} none",
        "RPUSH {row} tier pro",
        "SADD {row} tier",
        "HSET {row} max_clients -1 pool_size -7 weight -9223372036854775809",
        "HSET {row} max_clients 99999999999999999999 pool_size 1e9 weight NaN",
        "HSET {row} tier {long} database {long}",
        'HSET {row} tier {"tier":' + 2000 * "[" + 2000 * "]" + "}",
        'HSET {row} database "a\\x00b" state "\\xff\\xfe" user ""',
    )
    FLOOD = """
        for i = tonumber(ARGV[1]), tonumber(ARGV[2]) do
          redis.call('HSET', 'pgweir:tenant:f' .. i, 'tier', string.rep('x', i % 50), 'max_clients', -i)
          if i % 10 == 0 then redis.call('PUBLISH', 'pgweir:changed', 'f' .. i) end
        end
        return redis.call('DBSIZE')"""

    def pgbench(self, weir, tenant, *options):
        """Runs of 3 s, one behind the other, until the returned function is called, which tells what came of them."""
        script = write(weir.dir / "one.sql", "select 1;\n")
        command = [pg_program("pgbench"), "-n", "-h", weir.host, "-p", weir.port, "-U", "app", "-f", script, "-T", "3"]
        over, runs = threading.Event(), []

        def work():
            while not over.is_set():
                runs.append(run(as_system_user([*command, *options, tenant])))

        worker = threading.Thread(target=work, daemon=True)
        worker.start()

        def finish():
            over.set()
            worker.join(60)
            done = 0
            for each in runs:
                output = each.stdout + each.stderr
                self.assertEqual(each.returncode, 0, output)
                self.assertIn("number of failed transactions: 0 ", output)
                self.assertNotIn("error", output.lower())
                done += int(output.split("number of transactions actually processed: ")[1].split()[0])
            return done

        return finish

    def test_pgbench_through_all_of_it(self):
        redis = self.redis()
        weir = self.weir(redis, store=self.STORE, auth={"method": "trust"})
        names = [*self.known(redis, weir, 1), "kept"]
        redis.tenant("kept", tier="pro", database="shared")
        self.client(weir, "kept")
        redis.stop()
        redis.start()
        # One with connections that last, one that logs in for every transaction; both pause a little.
        loads = [self.pgbench(weir, "kept", "-c", "4", "-R", "400"), self.pgbench(weir, "t0", "-c", "4", "-C", "-R", "100")]
        redis.stop()
        time.sleep(1)
        redis.start()
        wait_until(lambda: weir.log().count('"message":"tenant store connected"') >= 4, seconds=10, what="both connections back")
        redis.pause()
        time.sleep(1)
        redis.resume()
        long = 60_000 * "x"
        for line in self.NONSENSE:
            for name in names:
                row = f"pgweir:tenant:{name}"
                redis.pipe(f"DEL {row}\n" + line.replace("{row}", row).replace("{long}", long) + "\n")
                redis("PUBLISH", "pgweir:changed", name)
        keys = 0
        for first in range(0, 1_000_000, 100_000):
            keys = int(redis("EVAL", self.FLOOD, "0", first, first + 99_999))
        self.assertGreaterEqual(keys, 1_000_000)
        done = [finish() for finish in loads]
        print(f"{done} transactions without an error, {keys} keys")
        self.assertGreater(min(done), 300)
        weir.has_logged("row of the tenant store refused")

    def test_too_old_rows_fall_to_the_default_tier(self):
        redis = self.redis()
        weir = self.weir(
            redis,
            store={**self.STORE, "stale_max": "2s"},
            tiers={"free": {"max_clients": 1}},
            pool={"default_tier": "free"},
        )
        redis.tenant("acme", tier="pro", database="shared")
        clients = [self.client(weir, "acme") for _ in range(3)]
        redis.stop()
        wait_until(lambda: "tier_downgrade" in weir.log(), seconds=15, what="the default tier")
        self.assertIn("max_clients of tier free", self.refusal(weir, "acme"))
        for client in clients:
            self.assertEqual(client.execute("select current_database()").fetchone(), ("shared",))

    # Rows are too old after a second.
    FORGETFUL = {**STORE, "stale_max": "1s"}

    def limit(self, weir, tenant, name):
        """Its value and the rule."""
        columns, rows = weir.console(f"SHOW LIMIT {tenant}")
        return next((row[columns.index("value")], row[columns.index("rule")]) for row in rows if row[columns.index("limit")] == name)

    def test_who_was_away_for_long_has_his_plan_at_once(self):
        redis = self.redis()
        redis.tenant("acme", tier="large", database="shared")
        redis.tenant("beta", tier="large", database="shared")
        weir = self.weir(redis, store=self.FORGETFUL, tiers={"free": {"max_clients": 1}, "large": {"max_clients": 7}}, pool={"default_tier": "free"})
        kept = self.client(weir, "beta")
        self.assertEqual(self.serves(weir, "acme"), "shared")
        time.sleep(2)
        back = self.client(weir, "acme")
        self.assertEqual(self.limit(weir, "acme", "max_clients"), ("7", "tier large"))
        self.assertEqual(back.execute("select current_database()").fetchone(), ("shared",))
        self.assertEqual(kept.execute("select 1").fetchone(), (1,))
        for event in ("tier_upgrade", "tier_downgrade"):
            self.assertNotIn(event, weir.log())

    def test_an_emptied_redis_changes_who_somebody_is_in_nothing(self):
        redis = self.redis()
        redis.tenant("acme", tier="pro", database="shared", max_clients=3)
        redis.tenant("away", tier="pro", database="shared")
        redis.tenant("gone", tier="pro", database="shared", state="suspended", reason="invoice 7 is open")
        # Without the rows they would be let into the databases of their names.
        weir = self.weir(redis, store=self.FORGETFUL, pool={"default_tier": "free", "unknown_tenants": True})
        client = self.client(weir, "acme")
        self.assertEqual(self.serves(weir, "away"), "shared")
        self.assertIn("suspended: invoice 7 is open", self.refusal(weir, "gone"))
        redis("FLUSHALL")
        # The store is not silent: it says that there is no such row.
        too_old = "the tenant store has told no good row of it for tenant_store.stale_max"
        wait_until(lambda: too_old in self.limit(weir, "acme", "max_clients")[1], seconds=15, what="the default tier")
        time.sleep(2)
        self.assertEqual(self.limit(weir, "acme", "max_clients")[0], "3")
        self.assertEqual(client.execute("select current_database()").fetchone(), ("shared",))
        for tenant in ("acme", "away"):
            self.assertEqual(self.serves(weir, tenant), "shared")
        self.assertIn("suspended: invoice 7 is open", self.refusal(weir, "gone"))
        redis.tenant("acme", tier="pro", database="shared")
        wait_until(lambda: self.limit(weir, "acme", "max_clients")[0] == "200", seconds=SOON, what="the plan again")


if __name__ == "__main__":
    unittest.main()
