"""Metrics and health over HTTP, as Prometheus and a platform ask for them."""

import http.client
import re
import shutil
import socket
import threading
import time
import unittest

import psycopg

from harness import PgweirCase, free_port, run, wait_until

SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)$')
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"')

# What dashboards made for PgBouncer's exporter and the platform's plan ask for.
WANTED = """
pgbouncer_up pgbouncer_version_info pgbouncer_pools_client_active_connections
pgbouncer_pools_client_waiting_connections pgbouncer_pools_client_maxwait_seconds
pgbouncer_pools_server_active_connections pgbouncer_pools_server_idle_connections
pgbouncer_pools_server_used_connections pgbouncer_pools_server_login_connections
pgbouncer_pools_server_testing_connections pgbouncer_stats_queries_pooled_total
pgbouncer_stats_sql_transactions_pooled_total pgbouncer_stats_client_wait_seconds_total
pgbouncer_stats_queries_duration_seconds_total pgbouncer_stats_server_in_transaction_seconds_total
pgbouncer_stats_received_bytes_total pgbouncer_stats_sent_bytes_total pgbouncer_databases_max_connections
pgbouncer_databases_current_connections pgbouncer_databases_pool_size pgbouncer_databases_paused
pgbouncer_config_max_client_connections pgbouncer_config_max_user_connections pgbouncer_databases_disabled
pgbouncer_databases_reserve_pool pgbouncer_pools_client_active_cancel_connections
pgbouncer_pools_client_waiting_cancel_connections pgbouncer_pools_server_active_cancel_connections
pgbouncer_stats_client_parses_total pgbouncer_stats_server_parses_total pgbouncer_stats_binds_total pgbouncer_users
pgbouncer_pools pgbouncer_free_clients pgbouncer_free_servers pgbouncer_cached_dns_names pgbouncer_cached_dns_zones
pgbouncer_in_flight_dns_queries pgbouncer_used_clients pgbouncer_used_servers
pgweir_build_info pgweir_clients_waiting pgweir_transactions_total pgweir_query_duration_seconds_bucket
pgweir_transaction_duration_seconds_bucket pgweir_wait_duration_seconds_bucket
pgweir_connect_duration_seconds_bucket pgweir_backend_server_connections pgweir_worker_clients
tenant_tier_current tenant_queries_per_minute db_query_duration_seconds_bucket db_connections_active
""".split()


def read(text):
    """{(name, frozenset of labels): value}; insists on the exposition format."""
    samples, typed = {}, {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, what, name, _ = line.split(" ", 3)
            if what == "TYPE":
                if name in typed:
                    raise AssertionError(f"type told twice: {name}")
                typed[name] = line
            continue
        match = SAMPLE.match(line)
        if not match:
            raise AssertionError(f"no sample: {line!r}")
        name, labels, value = match.groups()
        key = (name, frozenset(LABEL.findall(labels or "")))
        if key in samples:
            raise AssertionError(f"twice: {line}")
        samples[key] = float(value)
    return samples


class HttpCase(PgweirCase):
    weir_config = {}
    databases = ("app", "b", "c")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {"app": "s3cret", "admin": "adm1n", "reader": "re4der"}
        cls.port = free_port()
        cls.weir = cls.class_pgweir({"http": {"port": cls.port}, **cls.weir_config}, cls.users)

    def ask(self, path, port=None, method="GET", host="127.0.0.1", headers=None):
        """(status, body, headers)"""
        connection = http.client.HTTPConnection(host, port or self.port, timeout=20)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), dict(answer.getheaders())
        finally:
            connection.close()


class Http(HttpCase):
    def metrics(self, port=None):
        status, body, headers = self.ask("/metrics", port)
        self.assertEqual(status, 200, body)
        self.assertTrue(headers["Content-Type"].startswith("text/plain; version=0.0.4"), headers)
        return body

    def value(self, samples, metric, **labels):
        return samples.get((metric, frozenset(labels.items())))

    def test_health_on_both_families(self):
        hosts = ["127.0.0.1"]
        if socket.has_ipv6:
            hosts.append("::1")
        for host in hosts:
            self.assertEqual(self.ask("/healthz", host=host)[:2], (200, "alive\n"))
            self.assertEqual(self.ask("/readyz?probe=1", host=host)[:2], (200, "ready\n"))

    def test_health_does_not_need_postgres(self):
        port = free_port()
        self.pgweir({"http": {"port": port}, "backends": {"main": {"host": "127.0.0.1", "port": free_port()}}})
        self.assertEqual(self.ask("/healthz", port)[0], 200)
        self.assertEqual(self.ask("/readyz", port)[0], 200)
        read(self.metrics(port))

    def test_what_is_not_there(self):
        self.assertEqual(self.ask("/nothing")[0], 404)
        self.assertEqual(self.ask("/metrics/../etc/passwd")[0], 404)
        status, _, headers = self.ask("/metrics", method="POST")
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD"))
        status, body, headers = self.ask("/healthz", method="HEAD")
        self.assertEqual((status, body, headers["Content-Length"]), (200, "", "6"))

    def say(self, request):
        """What comes to a request whose body never does."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
            client.sendall(request)
            answer = client.recv(4096)
            return int(answer.split()[1]), answer

    def test_odd_requests(self):
        for request, status in (
            ("GET http://x/healthz HTTP/1.1", 200),
            ("GET http://other:99/healthz?a=b HTTP/1.1", 200),
            ("GET /healthz%00 HTTP/1.1", 404),
            ("GET /%68ealthz HTTP/1.1", 200),
            ("GET /healthz?a=%00 HTTP/1.1", 200),
            ("GET /api/v1/tenants?like=%00 HTTP/1.1", 200),
            ("POST /healthz HTTP/1.1\r\nContent-Length: 99999999999", 405),
            ("POST /api/v1/tiers HTTP/1.1\r\nTransfer-Encoding: chunked", 405),
            ("GET /healthz HTTP/1.1\r\nContent-Length: 99999999999", 413),
            ("GET /api/v1/tiers HTTP/1.1\r\nContent-Length: 99999999999", 413),
        ):
            with self.subTest(request):
                told, answer = self.say(f"{request}\r\nHost: x\r\n\r\n".encode())
                self.assertEqual(told, status, answer)
                self.assertEqual(b"problem+json" in answer, "/api/" in request and status > 400)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        for body in (b"some", None):  # a small body is dropped, and the connection stays
            connection.request("GET", "/healthz", body=body)
            self.assertEqual(connection.getresponse().read(), b"alive\n")

    def test_what_is_no_http(self):
        """The library answers by itself, or ends the connection: an error, and the next request is served."""
        for request, status in (
            (b"GET /api/v1/tiers\r\n\r\n", 400),
            (b"GET /api/v1/tiers HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
            (b"GET /api/v1/tiers HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n", 400),
            (b"GET /api/v1/tiers HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", 413),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (b"garbage\r\n\r\n", None),
        ):
            with self.subTest(request[:60]):
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as client:
                    client.sendall(request)
                    answer = client.recv(4096)
                self.assertEqual(int(answer.split()[1]) if answer else None, status)
            self.assertEqual(self.ask("/healthz")[0], 200)

    def test_heads_that_are_too_long(self):
        """Refused as everything else is: in words, and for programs as a problem."""
        for path, fields, status in (
            ("/api/v1/tenants?like=" + "a" * 8000, "", 200),
            ("/api/v1/tenants?like=" + "a" * 9000, "", 414),
            ("/api/v1/" + "a" * 40000, "", 414),
            ("/metrics?" + "a" * 20000, "", 414),
            ("/api/v1/tiers", "X-Long: " + "x" * 15000, 200),
            ("/api/v1/tiers", "X-Long: " + "x" * 17000, 431),
            ("/healthz", "X-Long: " + "x" * 50000, 431),
            ("/api/v1/tiers", "\r\n".join(["X: y"] * 500), 200),
        ):
            with self.subTest(path=path[:20], path_bytes=len(path), fields=len(fields)):
                told, answer = self.say(f"GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode()
                                        .replace(b"\r\n\r\n\r\n", b"\r\n\r\n"))
                self.assertEqual(told, status, answer)
                if status > 400:
                    kind = b"application/problem+json" if "/api/" in path else b"text/plain; charset=utf-8"
                    self.assertIn(b"Content-Type: " + kind, answer)
                    self.assertNotIn(b"<html", answer.lower())
        self.assertEqual(self.ask("/healthz")[0], 200)

    def test_figures_are_those_of_the_console(self):
        with self.weir.connect("app", "app") as client:
            for _ in range(7):
                client.execute("select 1")
            with client.transaction():
                client.execute("select pg_sleep(0.02)")
                samples = read(self.metrics())
                self.assertEqual(self.value(samples, "pgweir_tenant_servers_active", tenant="app", tier="free"), 1)
                self.assertEqual(self.value(samples, "db_connections_active", tier="free"), 1)
                self.assertEqual(self.value(samples, "pgbouncer_databases_current_connections", **{
                    "name": "app", "host": self.postgres.host, "port": str(self.postgres.port),
                    "database": "app", "force_user": "", "pool_mode": "transaction"}), 1)
            text = self.metrics()
            columns, rows = self.weir.console("SHOW STATS_TOTALS")
            shown = next(dict(zip(columns, row)) for row in rows if row[0] == "app")
            samples = read(text)
            for metric, column in (
                ("pgbouncer_stats_queries_pooled_total", "query_count"),
                ("pgbouncer_stats_sql_transactions_pooled_total", "xact_count"),
                ("pgbouncer_stats_received_bytes_total", "bytes_received"),
                ("pgbouncer_stats_sent_bytes_total", "bytes_sent"),
            ):
                self.assertEqual(self.value(samples, metric, database="app"), float(shown[column]), metric)
            names = {name for name, _ in samples}
            self.assertEqual([name for name in WANTED if name not in names], [])
            slow = self.value(samples, "pgweir_query_duration_seconds_count", tier="free")
            fast = self.value(samples, "pgweir_query_duration_seconds_bucket", tier="free", le="0.01")
            self.assertGreaterEqual(slow - fast, 1)
            buckets = [
                (float(dict(labels)["le"]), value)
                for (name, labels), value in samples.items()
                if name == "pgweir_transaction_duration_seconds_bucket" and dict(labels)["tier"] == "free"
            ]
            counts = [value for _, value in sorted(buckets)]
            self.assertEqual(counts, sorted(counts))
            done = run([shutil.which("promtool"), "check", "metrics"], input=text)
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_refused_logins(self):
        """By tier and reason; those that Postgres refuses are no requests that failed."""
        port = free_port()
        weir = self.pgweir(
            {
                "http": {"port": port},
                "client": {"login_timeout": "1s"},
                "pool": {"unknown_tenants": False},
                "tiers": {"one": {"max_clients": 1, "at_clients": "reject"}},
                "tenants": {
                    "app": {"tier": "one"},
                    "nowhere": {"tier": "pro", "database": "not_there"},
                    "odd": {"tier": "pro", "database": "app"},
                    "b": {"tier": "pro"},
                },
            },
            {**self.users, "stranger": "in Postgres he is none"},
        )

        def refuse(sqlstate, database, user, **options):
            with self.assertRaises(psycopg.Error) as error:
                weir.connect(database, user, **options)
            if sqlstate:
                self.assertIn(sqlstate, str(error.exception))

        refuse("password authentication failed", "app", "app", password="wrong")
        refuse("password authentication failed", "app", "nobody", password="wrong")
        refuse("does not exist", "no_such_tenant", "app")
        refuse("does not exist", "nowhere", "app")
        refuse("application_nam", "odd", "app", options="-c application_nam=x")
        refuse("console", "pgweir", "app")
        refuse("stranger", "b", "stranger")
        with weir.connect("app", "app") as client:
            refuse("max_clients", "app", "app")
            weir.console("DISABLE odd")
            refuse("disabled", "odd", "app")
            with socket.create_connection(("127.0.0.1", weir.port), timeout=20) as silent:
                while silent.recv(4096):
                    pass
            client.execute("select 1")
        samples = read(self.metrics(port))
        told = {
            (dict(labels)["tier"], dict(labels)["reason"]): value
            for (name, labels), value in samples.items()
            if name == "pgweir_logins_refused_total" and value
        }
        self.assertEqual(told, {
            ("one", "password"): 2, ("", "name"): 1, ("pro", "name"): 1, ("pro", "setting"): 1,
            ("", "not_allowed"): 1, ("pro", "backend"): 1, ("one", "limit"): 1, ("pro", "ordered"): 1,
            ("", "silent"): 1,
        })
        for tier, failed in (("one", 1), ("pro", 1), ("", 0)):
            self.assertEqual(self.value(samples, "pgweir_logins_failed_total", tier=tier), failed, tier)
        for tier in ("one", "pro"):
            self.assertEqual(self.value(samples, "pgweir_errors_total", tier=tier), 0, tier)

    def test_logins_that_the_service_fails(self):
        """A full pooler, a Postgres that is not there, a tenant store that is silent: the fault is told by tier."""
        port, store_port = free_port(), free_port()
        tier = {"at_breaker": "reject", "queue_timeout": "1s"}
        nowhere = {"host": "127.0.0.1", "port": free_port()}
        main = {"host": self.postgres.host, "port": self.postgres.port}
        weir = self.pgweir(
            {
                "http": {"port": port},
                "client": {"max": 1},
                "backends": {"main": main, "away": nowhere},
                "tiers": {"hasty": tier},
                "tenants": {"app": {"tier": "pro", "backend": "main"}, "gone": {"tier": "hasty", "backend": "away"}},
            },
            self.users,
        )
        silent = self.pgweir(
            {
                "http": {"port": store_port},
                "tenant_store": {"kind": "redis", "redis_url": f"redis://127.0.0.1:{free_port()}/0"},
                "tenants": None,
            },
            self.users,
        )
        with self.assertRaises(psycopg.OperationalError):
            weir.connect("gone", "app")
        with weir.connect("app", "app"), self.assertRaises(psycopg.OperationalError) as full:
            weir.connect("app", "app")
        self.assertIn("too many clients", str(full.exception))
        with self.assertRaises(psycopg.OperationalError) as unknown:
            silent.connect("app", "app")
        self.assertIn("cannot be looked up", str(unknown.exception))
        for asked, told in (
            (port, {("pro", "max_clients"), ("hasty", "backend")}),
            (store_port, {("", "store")}),
        ):
            samples = read(self.metrics(asked))
            refused = {
                (dict(labels)["tier"], dict(labels)["reason"])
                for (name, labels), value in samples.items()
                if name == "pgweir_logins_refused_total" and value
            }
            self.assertEqual(refused, told)
            for tier, _ in told:
                self.assertEqual(self.value(samples, "pgweir_logins_failed_total", tier=tier), 1, tier)
                if tier:
                    self.assertEqual(self.value(samples, "pgweir_errors_total", tier=tier), 0, tier)

    def test_pins_usage_and_limits_of_tenants(self):
        port = free_port()
        tier = {"pool_size": 2, "max_server_connections": 3, "max_pinned_clients": 1}
        weir = self.pgweir(
            {"http": {"port": port}, "tiers": {"narrow": tier}, "tenants": {"app": {"tier": "narrow"}}}, self.users
        )
        with weir.connect("app", "app") as pinned, weir.connect("app", "app") as refused:
            pinned.execute("create temporary table t (i int)")
            with self.assertRaises(psycopg.Error) as error:
                refused.execute("create temporary table u (i int)")
            self.assert_sqlstate(error.exception, "53400")
            samples = read(self.metrics(port))
            tier = {"tier": "narrow"}
            self.assertEqual(self.value(samples, "pgweir_clients_pinned", **tier), 1)
            self.assertEqual(self.value(samples, "pgweir_clients_pinned_by_reason", reason="temp", **tier), 1)
            self.assertEqual(self.value(samples, "pgweir_clients_pinned_by_reason", reason="lock", **tier), 0)
            hits = {"tenant": "app", "limit": "max_pinned_clients", **tier}
            self.assertEqual(self.value(samples, "pgweir_tenant_limit_hits_total", **hits), 1)
            pool = {"database": "app", "user": "app"}
            self.assertEqual(self.value(samples, "pgbouncer_pools_server_active_connections", **pool), 1)
            used = self.value(samples, "pgweir_tenant_server_connection_seconds_total", tenant="app", **tier)
            self.assertGreater(used, 0)
            pinned.execute("drop table t")
            # One request of a tenant that has just come is one a minute at most, in the next period, too.
            self.assertLessEqual(self.value(samples, "tenant_queries_per_minute", tenant="app", **tier), 5)
        samples = read(self.metrics(port))
        pins = [self.value(samples, f"pgweir_{name}_total", **tier) for name in ("pins", "unpins")]
        self.assertEqual(pins, [1, 1])
        self.assertEqual(self.value(samples, "pgweir_clients_pinned", **tier), 0)

    def test_counters_never_fall(self):
        port = free_port()
        self.pgweir({"http": {"port": port, "metrics_tenants": 1}}, self.users)
        weir = self._test_weirs[-1]
        before = {}
        for round in range(6):
            # Now one, now the other has series of its own.
            for name in ("app", "b", "c"):
                with weir.connect(name, "app", prepare_threshold=None) as client:
                    for _ in range(1 + 5 * (name == ("app", "b", "c")[round % 3])):
                        client.execute("select 1")
            samples = read(self.metrics(port))
            tenants = {dict(labels)["tenant"] for name, labels in samples if name == "tenant_tier_current"}
            self.assertEqual(len(tenants), 1)
            for (name, labels), value in samples.items():
                if name.endswith("_total"):
                    self.assertGreaterEqual(value, before.get((name, labels), 0), (name, labels))
            before = {**before, **samples}
            total = self.value(samples, "pgweir_queries_total", tier="free")
            told = [value for (name, _), value in samples.items() if name == "pgbouncer_stats_queries_pooled_total"]
            if round == 0:
                self.assertEqual(sum(told), total)
        self.assertEqual(total, 6 * (6 + 1 + 1))

    def test_strange_names_of_databases(self):
        port = free_port()
        weir = self.pgweir(
            {"http": {"port": port}, "tenants": {"*": {"tier": "free", "database": "app"}}}, self.users
        )
        names = ['quote"d', "back\\slash", "new\nline", "é", "(others)", "{a=b}"]
        for name in names:
            with weir.connect(name, "app") as client:
                client.execute("select 1")
        text = self.metrics(port)
        self.assertEqual(len({labels for name, labels in read(text) if name == "tenant_tier_current"}), 5)
        done = run([shutil.which("promtool"), "check", "metrics"], input=text)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_closed_to_the_world(self):
        port = free_port()
        weir = self.pgweir({"http": {"port": port, "metrics_token": "0pen sesame"}}, self.users)
        status, body, headers = self.ask("/metrics", port)
        self.assertEqual((status, headers["WWW-Authenticate"]), (401, 'Bearer realm="pgweir"'))
        self.assertNotIn("0pen", body)
        self.assertEqual(self.ask("/metrics", port, headers={"Authorization": "Bearer no"})[0], 401)
        self.assertEqual(self.ask("/metrics", port, headers={"Authorization": "Bearer 0pen sesame"})[0], 200)
        self.assertEqual(self.ask("/healthz", port)[0], 200)
        self.assertNotIn("0pen", str(weir.console("SHOW CONFIG")))
        weir.config["http"]["metrics_token"] = "other"
        weir.write_files()
        weir.console("RELOAD")
        self.assertEqual(self.ask("/metrics", port, headers={"Authorization": "Bearer 0pen sesame"})[0], 401)
        self.assertEqual(self.ask("/metrics", port, headers={"Authorization": "Bearer other"})[0], 200)

    def test_the_platform_chooses_the_port(self):
        port = free_port()
        self.pgweir({"http": {"port": None}}, self.users, env={"PORT": str(port)})
        self.assertEqual(self.ask("/healthz", port)[0], 200)

    def test_the_platform_says_where_it_runs(self):
        self.assertNotIn("pgweir_deployment_info", self.metrics())
        port = free_port()
        told = {"RAILWAY_REPLICA_ID": "r1", "RAILWAY_ENVIRONMENT_NAME": 'a "b"', "RAILWAY_DEPLOYMENT_ID": "d2"}
        self.pgweir({"http": {"port": port}}, self.users, env=told)
        self.assertIn(
            'pgweir_deployment_info{replica="r1",environment="a \\"b\\"",deployment="d2"} 1\n', self.metrics(port)
        )

    def test_a_port_that_is_taken(self):
        weir = self.pgweir({"http": {"port": self.port}}, self.users, start=False)
        weir.start(wait=False)
        self.assertEqual(weir.wait_end(), 1)
        weir.has_logged(f"{self.port}")

    def test_ready_no_more_when_it_shuts_down(self):
        port = free_port()
        weir = self.pgweir({"http": {"port": port}}, self.users)
        with weir.connect("app", "app") as client, client.transaction():
            client.execute("select 1")
            weir.signal()
            wait_until(lambda: self.ask("/readyz", port)[0] == 503, what="not ready")
            self.assertEqual(self.ask("/healthz", port)[0], 200)
            read(self.metrics(port))
        self.assertEqual(weir.wait_end(), 0)

    def test_many_scrapes_at_once(self):
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(self.ask("/metrics")[0])) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [200] * 30)

    def test_bad_clients(self):
        port = free_port()
        weir = self.pgweir({"http": {"port": port}}, self.users)
        with socket.create_connection(("127.0.0.1", port)) as large:
            large.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n")
            large.settimeout(20)
            try:
                self.assertRegex(large.recv(100), rb"^HTTP/1.1 4(31|13|00) ")
            except ConnectionResetError:
                pass
        with socket.create_connection(("127.0.0.1", port)) as nonsense:
            nonsense.sendall(b"\x16\x03\x01\x00\xff" * 100 + b"\r\n\r\n")
            nonsense.settimeout(20)
            self.assertNotIn(b" 200 ", nonsense.recv(100))
        # Those who say nothing keep nobody out, and their time ends.
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        for one in slow:
            one.sendall(b"GET /metrics HTTP/1.1\r\nHo")
        began = time.monotonic()
        self.assertEqual(self.ask("/healthz", port)[0], 200)
        with weir.connect("app", "app") as client:
            client.execute("select 1")
        self.assertLess(time.monotonic() - began, 5)
        slow[0].settimeout(30)
        slow[0].recv(1000)
        for one in slow:
            one.close()


if __name__ == "__main__":
    unittest.main()
