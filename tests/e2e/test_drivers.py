"""Three drivers through four servers that take turns, alone and eight at once, each with values of its own.

With `server.rotation` every transaction lands on another server, so whatever a driver believes to be there
from its last transaction is not, unless pgweir sees to it.
"""

import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg

from harness import PgweirCase, run, scratch

HERE = Path(__file__).parent
SERVERS = 4
PLACES = 12  # as many as one program of those below connects
ROOM = {"max_clients": PLACES, "at_clients": "queue", "queue_timeout": "60s"}
TIER = {"pool_size": SERVERS, "max_server_connections": SERVERS, "max_clients": 100}


class Drivers(PgweirCase):
    """The stand for all drivers; holds no test of its own."""

    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(
            {
                "server": {"rotation": True},
                "tiers": {"drivers": TIER, "room": ROOM},
                "tenants": {
                    "app": {"tier": "drivers", "backend": "main", "database": "app"},
                    "door": {"tier": "room", "backend": "main", "database": "app"},
                },
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        cls.warm()

    @classmethod
    def connect(cls, **options):
        return cls.weir.connect("app", "app", **options)

    @classmethod
    def warm(cls):
        """Opens all servers: as many transactions at once."""
        clients = [cls.connect() for _ in range(SERVERS)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            client.execute("commit")
            client.close()

    def table(self, text):
        """A fresh table of the tenant."""
        name = text.split()[0]
        with self.postgres.connect("app", "app") as connection:
            connection.execute(f"drop table if exists {name}")
            connection.execute(f"create table {text}")

    def at_the_door(self, work):
        """While others have all places for so long that who waits is told why, before it is let in."""
        holders = [self.weir.connect("door", "app") for _ in range(PLACES)]
        leave = threading.Timer(7, lambda: [holder.close() for holder in holders])
        leave.start()
        work()
        leave.join()

    def each_crowd(self, work):
        for clients in (1, 8):
            with self.subTest(clients=clients):
                work(clients)


class Psycopg(Drivers):
    """psycopg 3."""

    def at_once(self, clients, work, **options):
        """Runs work(connection, me) for each client in its own thread."""

        def one(me):
            with self.connect(**options) as connection:
                return work(connection, me)

        with ThreadPoolExecutor(clients) as threads:
            return list(threads.map(one, range(1, clients + 1)))

    def test_the_servers_take_turns(self):
        with self.connect() as client:
            seen = {client.execute("select pg_backend_pid()").fetchone()[0] for _ in range(20)}
        self.assertEqual(len(seen), SERVERS)

    def test_parameters(self):
        def work(connection, me):
            for n in range(60):
                row = connection.execute(
                    "select %s::int, %s::text, %s::int[], %s::bytea", (me, f"{me}/{n}", [me, n], bytes([me, n]))
                ).fetchone()
                self.assertEqual(row, (me, f"{me}/{n}", [me, n], bytes([me, n])))

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_prepared_at_once(self):
        """prepare_threshold=0: every statement is named at its first use."""

        def work(connection, me):
            for n in range(60):
                text = f"select %s::int + {me}, '{me}'::text"
                self.assertEqual(connection.execute(text, (n,)).fetchone(), (n + me, str(me)))

        self.each_crowd(lambda clients: self.at_once(clients, work, prepare_threshold=0))

    def test_more_statements_than_the_driver_keeps(self):
        """psycopg drops its oldest statement with DEALLOCATE once it holds 100."""

        def work(connection, me):
            for n in range(250):
                text = f"select %s::int, {n}"
                self.assertEqual(connection.execute(text, (me,), prepare=True).fetchone(), (me, n))

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_binary_and_server_side_binding(self):
        def work(connection, me):
            cursor = connection.cursor(binary=True)
            for n in range(40):
                row = cursor.execute("select %s::int8, %s::float8, %s::jsonb", (me, n / 4, f'{{"me": {me}}}')).fetchone()
                self.assertEqual(row, (me, n / 4, {"me": me}))

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_pipeline_mode(self):
        def work(connection, me):
            for n in range(10):
                with connection.pipeline():
                    cursors = [connection.execute("select %s::int * 100 + %s::int", (me, k)) for k in range(20)]
                    self.assertEqual([c.fetchone()[0] for c in cursors], [me * 100 + k for k in range(20)])

        self.each_crowd(lambda clients: self.at_once(clients, work))
        self.each_crowd(lambda clients: self.at_once(clients, work, prepare_threshold=0))

    def test_errors_in_a_pipeline(self):
        def work(connection, me):
            for _ in range(5):
                with self.assertRaises(psycopg.errors.DivisionByZero):
                    with connection.pipeline() as pipeline:
                        before = connection.execute("select %s::int", (me,))
                        pipeline.sync()
                        connection.execute("select 1/%s::int", (0,))
                        connection.execute("select 'skipped'")
                        pipeline.sync()
                self.assertEqual(before.fetchone()[0], me)
                self.assertEqual(connection.execute("select %s::int", (me,)).fetchone()[0], me)

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_transactions(self):
        def work(connection, me):
            for n in range(30):
                with connection.transaction(force_rollback=n % 3 == 0):
                    first = connection.execute("select pg_backend_pid()").fetchone()
                    connection.execute("insert into py_tx values (%s, %s)", (me, n))
                    with self.assertRaises(psycopg.errors.UniqueViolation):
                        with connection.transaction():
                            connection.execute("insert into py_tx values (%s, %s)", (me, n))
                    self.assertEqual(connection.execute("select pg_backend_pid()").fetchone(), first)
            rows = connection.execute("select n from py_tx where client = %s order by n", (me,)).fetchall()
            self.assertEqual([row[0] for row in rows], [n for n in range(30) if n % 3])

        def crowd(clients):
            self.table("py_tx (client int, n int, primary key (client, n))")
            self.at_once(clients, work)

        self.each_crowd(crowd)

    def test_cursor_on_the_server(self):
        def work(connection, me):
            with connection.transaction():
                with connection.cursor(name="mine") as cursor:
                    cursor.itersize = 50
                    cursor.execute("select n * %s from generate_series(1, 1000) n", (me,))
                    self.assertEqual(sum(row[0] for row in cursor), 500500 * me)

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_copy(self):
        def work(connection, me):
            for n in range(3):
                with connection.transaction(), connection.cursor() as cursor:
                    with cursor.copy("copy py_copy (client, n, t) from stdin") as copy:
                        for k in range(1000):
                            copy.write_row((me, n * 1000 + k, f"row {me}"))
                with connection.cursor() as cursor:
                    with cursor.copy(f"copy (select client, t from py_copy where client = {me}) to stdout") as copy:
                        rows = list(copy.rows())
                self.assertEqual(len(rows), (n + 1) * 1000)
                self.assertEqual(set(rows), {(str(me), f"row {me}")})
            with self.assertRaises(psycopg.errors.InvalidTextRepresentation):
                with connection.cursor() as cursor, cursor.copy("copy py_copy from stdin") as copy:
                    copy.write("not a number\t1\tx\n")
            with self.assertRaises(psycopg.errors.QueryCanceled):
                with connection.cursor() as cursor, cursor.copy("copy py_copy from stdin") as copy:
                    copy.write_row((me, 0, "given up"))
                    raise psycopg.errors.QueryCanceled("the client changes its mind")
            self.assertEqual(connection.execute("select count(*) from py_copy where client = %s", (me,)).fetchone(), (3000,))

        def crowd(clients):
            self.table("py_copy (client int, n int, t text)")
            self.at_once(clients, work)

        self.each_crowd(crowd)

    def test_errors(self):
        def work(connection, me):
            for _ in range(10):
                with self.assertRaises(psycopg.errors.UndefinedTable):
                    connection.execute("select * from nowhere")
                with self.assertRaises(psycopg.errors.InvalidTextRepresentation):
                    connection.execute("select %s::int", ("x",))
                self.assertEqual(connection.execute("select %s::int", (me,)).fetchone()[0], me)

        self.each_crowd(lambda clients: self.at_once(clients, work))

    def test_reported_settings_stay_with_their_client(self):
        zones = ["UTC", "Asia/Tokyo", "America/Lima", "Europe/Rome"]

        def work(connection, me):
            for n in range(20):
                row = connection.execute("select current_setting('TimeZone'), current_setting('application_name')")
                self.assertEqual(row.fetchone(), (zones[me % 4], f"app {me}"))

        def one(me):
            options = {"application_name": f"app {me}", "options": f"-c TimeZone={zones[me % 4]}"}
            with self.connect(**options) as connection:
                self.assertEqual(connection.info.parameter_status("TimeZone"), zones[me % 4])
                work(connection, me)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(one, range(1, 9)))

    def test_notices_reach_their_client(self):
        def work(connection, me):
            notes = []
            connection.add_notice_handler(lambda note: notes.append(note.message_primary))
            for n in range(10):
                connection.execute(f"do $$ begin raise notice 'for {me}'; end $$")
            self.assertEqual(notes, [f"for {me}"] * 10)

        self.each_crowd(lambda clients: self.at_once(clients, work))


class NodePg(Drivers):
    """node-postgres."""

    def smoke(self, clients, database="app"):
        self.table("node_smoke (client int, n int, primary key (client, n))")
        login = {
            "PGHOST": self.weir.host,
            "PGPORT": str(self.weir.port),
            "PGUSER": "app",
            "PGPASSWORD": "s3cret",
            "PGDATABASE": database,
        }
        done = run(["node", HERE / "node" / "smoke.js", clients, 10], env=login, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"^ok \d+")

    def test_smoke(self):
        self.assertTrue((HERE / "node" / "node_modules").exists(), "npm ci has not run in tests/e2e/node")
        self.each_crowd(self.smoke)

    def test_a_notice_before_it_is_let_in(self):
        self.at_the_door(lambda: self.smoke(1, "door"))


class PgJdbc(Drivers):
    """pgjdbc."""

    DRIVER = "/usr/share/java/postgresql.jar"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.classes = scratch("jdbc")
        done = run(["javac", "-cp", cls.DRIVER, "-d", cls.classes, HERE / "jdbc" / "Smoke.java"])
        if done.returncode != 0:
            raise AssertionError(done.stderr)

    def smoke(self, clients, database="app"):
        self.table("jdbc_smoke (client int, round int, n int, primary key (client, round, n))")
        url = f"jdbc:postgresql://{self.weir.host}:{self.weir.port}/{database}"
        command = ["java", "-Xshare:auto", "-cp", f"{self.DRIVER}:{self.classes}", "Smoke"]
        done = run([*command, url, "app", "s3cret", clients, 5], timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"^ok \d+")

    def test_smoke(self):
        self.each_crowd(self.smoke)

    def test_a_notice_before_it_is_let_in(self):
        self.at_the_door(lambda: self.smoke(1, "door"))


del Drivers  # so that unittest does not take it for a test class

if __name__ == "__main__":
    unittest.main()
