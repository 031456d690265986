"""psql sees through pgweir what it sees without: same output, same messages, same exit code."""

import os
import subprocess
import unittest

import psycopg

from harness import PgweirCase, pg_program, run, scratch, wait_until
from harness.machine import has_ipv6, own, write

PSQL = pg_program("psql")

SCHEMA = """
create table fruit (id int primary key, name text not null, price numeric(8,2) default 1.5);
create index fruit_name on fruit (name);
create view cheap as select * from fruit where price < 2;
create function twice(x int) returns int language sql as 'select 2 * x';
create type mood as enum ('fair', 'foul');
insert into fruit select n, 'fruit ' || n, n * 0.25 from generate_series(1, 500) n;
"""

# Input on stdin. {dir} is a directory both runs may write to.
SCRIPTS = {
    "describe": r"\d \d fruit \d+ cheap \dt \di \dv \df twice \dT mood \dn \l app \du app",
    "select": "select * from fruit order by id limit 5; select null, '', 'a|b', E'tab\\there', true;",
    "multiple statements in one line": r"select 1 \; select 2 \; select 3;",
    "many rows": "select n, md5(n::text) from generate_series(1, 50000) n;",
    "big rows": "select n, repeat(chr(64 + n), 3000000) from generate_series(1, 5) n;",
    "wide row": "select " + ",".join(f"{n} as c{n}" for n in range(1600)) + ";",
    "empty query": ";\n;\nselect 1;;",
    "syntax error": "select 1;\nselec 2;\nselect 3;",
    "error in the middle": r"select 1 \; select 1/0 \; select 3;" + "\nselect 4;",
    "unknown table": "select *\nfrom nowhere\nwhere x = 1;",
    "error details": "insert into fruit values (1, 'again'); insert into fruit values (null, 'x');",
    "notices": "do $$ begin raise notice 'look %', 7; raise warning 'out'; end $$; drop table if exists nope;",
    "transaction": "begin; update fruit set price = 9 where id = 1; select price from fruit where id = 1;"
    " rollback; select price from fruit where id = 1;",
    "savepoint": "begin; savepoint a; select 1/0; select 1; rollback to a; select 2; commit;",
    "aborted transaction": "begin; select 1/0; select 1; commit; select 2;",
    "autocommit off": "\\set AUTOCOMMIT off\nselect 1; rollback; select 2; commit;",
    "error rollback": "\\set ON_ERROR_ROLLBACK on\nbegin; select 1/0; select 1; commit;",
    "fetch count": "\\set FETCH_COUNT 7\nselect id, name from fruit order by id limit 40;",
    "gset": "select 41 + 1 as answer \\gset\n\\echo :answer\nselect :answer;",
    "gexec": "select format('select %s', n) from generate_series(1, 3) n \\gexec",
    "gdesc": "select 1 as a, 'x'::text as b, now() as c \\gdesc",
    "copy out": "copy (select id, name from fruit order by id limit 20) to stdout with csv header;",
    "copy in": "begin; create temp table t (a int, b text) on commit drop; copy t from stdin;\n1\tone\n2\ttwo\n"
    "3\t\\N\n\\.\nselect * from t order by a; commit;",
    "copy in with a bad line": "copy fruit from stdin;\n1000\tnew\t1\nabc\tbad\t1\n\\.\n"
    "select count(*) from fruit;",
    "backslash copy out": "\\copy (select n, n*n from generate_series(1,2000) n) to '{dir}/out.csv' with csv\n"
    "\\! cksum < {dir}/out.csv",
    "backslash copy in": "begin; create temp table t (a int, b int) on commit drop;\n"
    "\\copy t from '{dir}/in.csv' with csv\nselect count(*), sum(a), sum(b) from t; commit;",
    "large object": "\\lo_import '{dir}/in.csv'\n\\lo_export :LASTOID '{dir}/lo.out'\n\\! cksum < {dir}/lo.out\n"
    "\\lo_unlink :LASTOID",
    "reported settings": "select current_setting('client_encoding'), current_setting('DateStyle'),"
    " current_setting('TimeZone'), current_setting('application_name');",
    "unicode": "select 'grüße', '水', length('水');",
    "conversion": "set client_encoding to latin1; select convert_from('\\xc3a4', 'utf8') = chr(228);",
}


class Psql(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.sql("grant pg_read_all_stats to app")
        with cls.postgres.connect("app", "app") as connection:
            connection.execute(SCHEMA)
        cls.weir = cls.class_pgweir(users={"app": "s3cret", "admin": "adm1n"})
        cls.files = scratch("files")
        rows = "".join(f"{n},{n * n}\n" for n in range(1, 1001))
        write(cls.files / "in.csv", rows)
        own(cls.files, 0o777)

    def psql(self, *arguments, server=None, user="app", password="s3cret", database="app", **options):
        server = server or self.weir
        environment = {"PGPASSWORD": password, "PGCONNECT_TIMEOUT": "20", "LC_ALL": "C.UTF-8"}
        command = [PSQL, "-X", "-h", options.pop("host", server.host), "-p", server.port]
        command += ["-U", user, "-d", database, *arguments]
        return run(command, env=environment, **options)

    def both(self, *arguments, **options):
        """The same run direct and through pgweir."""
        return (
            self.psql(*arguments, server=self.postgres, **options),
            self.psql(*arguments, server=self.weir, **options),
        )

    def assert_same(self, direct, pooled, place=""):
        hide = [(str(self.postgres.port), "PORT"), (str(self.weir.port), "PORT")]
        texts = []
        for done in (direct, pooled):
            for stream in (done.stdout, done.stderr):
                for old, new in hide:
                    stream = stream.replace(old, new)
                texts.append(stream)
        self.assertEqual(texts[1], texts[3], f"stderr {place}")
        if texts[0] != texts[2]:
            self.assertEqual(texts[0][:5000], texts[2][:5000], f"stdout {place}")
            self.fail(f"stdout differs past its start {place}")
        self.assertEqual(direct.returncode, pooled.returncode, f"exit code {place}")

    def test_scripts(self):
        for name, script in SCRIPTS.items():
            with self.subTest(name):
                text = script.replace("{dir}", str(self.files))
                if "large object" in name:
                    # Each run makes an object with a number of its own.
                    options = ("-q", "-v", "QUIET=1")
                else:
                    options = ("-e",)
                self.assert_same(*self.both(*options, input=text), name)

    def test_stop_at_the_first_error(self):
        self.assert_same(*self.both("-v", "ON_ERROR_STOP=1", input="select 1;\nselect 1/0;\nselect 2;"))

    def test_commands_on_the_command_line(self):
        self.assert_same(*self.both("-At", "-c", "select 1; select 2; select 1/0; select 3", "-c", "select 4"))
        self.assert_same(*self.both("-1", "-c", "create table gone (x int)", "-c", "select 1/0"))
        self.assertEqual(self.psql("-Atc", "select to_regclass('gone') is null").stdout, "t\n")

    def test_wrong_password(self):
        direct, pooled = self.both("-c", "select 1", password="wrong")
        self.assert_same(direct, pooled)
        self.assertEqual(pooled.returncode, 2)
        self.assertIn('password authentication failed for user "app"', pooled.stderr)

    def test_unknown_database(self):
        direct, pooled = self.both("-c", "select 1", database="nowhere")
        self.assertIn('database "nowhere" does not exist', pooled.stderr)
        self.assertEqual(direct.returncode, pooled.returncode)

    def test_connection_string_options(self):
        text = "show statement_timeout; show search_path; show application_name; show geqo"
        string = f"host=127.0.0.1 port={self.weir.port} user=app dbname=app application_name=mine"
        string += " options='-c statement_timeout=4s -c search_path=pg_catalog -c geqo=off'"
        done = run([PSQL, "-XAt", string, "-c", text], env={"PGPASSWORD": "s3cret"})
        self.assertEqual(done.stdout, "4s\npg_catalog\nmine\noff\n", done.stderr)

    def test_unix_socket(self):
        done = self.psql("-Atc", "select 7", host=self.weir.socket_dir)
        self.assertEqual((done.stdout, done.returncode), ("7\n", 0), done.stderr)

    @unittest.skipUnless(has_ipv6(), "this machine has no ::1")
    def test_ipv6(self):
        done = self.psql("-Atc", "select 7", host="::1")
        self.assertEqual((done.stdout, done.returncode), ("7\n", 0), done.stderr)

    def test_many_psql_at_once(self):
        command = [PSQL, "-XAt", "-h", self.weir.host, "-p", str(self.weir.port), "-U", "app", "-d", "app"]
        running = []
        for number in range(12):
            text = f"begin; select pg_sleep(0.05); select {number}; commit"
            running.append(
                subprocess.Popen(
                    [*command, "-qc", text],
                    env={**os.environ, "PGPASSWORD": "s3cret"},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        for number, process in enumerate(running):
            output, _ = process.communicate(timeout=60)
            self.assertEqual((output.split(), process.returncode), ([str(number)], 0))


SHOW_COLUMNS = {
    "VERSION": "version",
    "CONFIG": "key value default changeable",
    "DATABASES": "name host port database force_user pool_size min_pool_size reserve_pool_size server_lifetime"
    " pool_mode load_balance_hosts max_connections current_connections max_client_connections"
    " current_client_connections paused disabled",
    "POOLS": "database user cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req sv_active"
    " sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login maxwait maxwait_us pool_mode"
    " load_balance_hosts",
    "CLIENTS": "type user database replication state addr port local_addr local_port connect_time request_time"
    " wait wait_us close_needed ptr link remote_pid tls application_name prepared_statements id",
    "STATS": "database"
    " total_server_assignment_count total_xact_count total_query_count total_received total_sent"
    " total_xact_time total_query_time total_wait_time total_client_parse_count total_server_parse_count"
    " total_bind_count"
    " avg_server_assignment_count avg_xact_count avg_query_count avg_recv avg_sent avg_xact_time"
    " avg_query_time avg_wait_time avg_client_parse_count avg_server_parse_count avg_bind_count",
}
SHOW_COLUMNS["SERVERS"] = SHOW_COLUMNS["CLIENTS"]


class Databases(PgweirCase):
    """Who makes and drops databases meets no connection that only pgweir keeps."""

    databases = ("app",)

    def setUp(self):
        self.postgres.sql("alter role app createdb")
        tenants = {"*": {"backend": "main"}}
        self.weir = self.pgweir({"process": {"threads": 2}, "tenants": tenants}, {"app": "s3cret"})

    def connected_to(self, database):
        count = f"select count(*) from pg_stat_activity where datname = '{database}'"
        return self.postgres.sql(count)[0][0]

    def visit(self, database):
        with self.weir.connect(database, "app") as client:
            self.assertEqual(client.execute("select current_database()").fetchone(), (database,))
        self.assertGreater(self.connected_to(database), 0, "it keeps the server")

    def test_idle_servers_leave_what_is_dropped_copied_or_renamed(self):
        with self.weir.connect("app", "app") as client:
            client.execute("create database fresh")
            self.visit("fresh")
            client.execute("create database copied template fresh")
            self.visit("copied")
            client.execute('alter database copied rename to "Re named"')
            self.visit("Re named")
            client.execute('drop database "Re named"')
        self.visit("fresh")
        for arguments in (["dropdb"], ["createdb", "-T", "app"], ["dropdb"]):
            done = run(
                [pg_program(arguments[0]), *arguments[1:], "-h", "127.0.0.1", "-p", self.weir.port, "-U", "app", "fresh"],
                env={"PGPASSWORD": "s3cret"},
            )
            self.assertEqual((done.returncode, done.stderr), (0, ""), arguments)

    def test_what_takes_long_beside_it_closes_nobodys_servers(self):
        with self.weir.connect("app", "app") as client:
            client.execute("create database kept")
            self.visit("kept")
            servers = self.connected_to("kept")
            for before in ("", "begin;"):
                with self.assertRaises(psycopg.errors.ActiveSqlTransaction):
                    client.execute(f"{before} select pg_sleep(0.8); drop database kept".encode())
                client.execute("rollback")
            with self.assertRaises(psycopg.errors.UndefinedObject):
                client.execute("alter database kept set tablespace nowhere")
            client.execute("select pg_sleep(0.8)")
            self.assertEqual(self.connected_to("kept"), servers)
            client.execute("drop database kept")

    def test_a_database_with_clients_is_in_use(self):
        with self.weir.connect("app", "app") as client:
            client.execute("create database busy")
            with self.weir.connect("busy", "app") as other:
                other.execute("select 1")
                with self.assertRaises(psycopg.errors.ObjectInUse):
                    client.execute("drop database busy")
                self.assertEqual(other.execute("select 1").fetchone(), (1,))
            client.execute("drop database busy")


class Console(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(users={"app": "s3cret", "admin": "adm1n"})

    def console_psql(self, command, user="admin", password="adm1n", database="pgweir"):
        base = [PSQL, "-X", "--csv", "-h", self.weir.host, "-p", self.weir.port, "-U", user, "-d", database]
        return run([*base, "-c", command], env={"PGPASSWORD": password})

    def test_columns(self):
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            for what, columns in SHOW_COLUMNS.items():
                with self.subTest(what):
                    done = self.console_psql(f"SHOW {what}")
                    self.assertEqual(done.returncode, 0, done.stderr)
                    self.assertEqual(done.stdout.splitlines()[0].split(","), columns.split())

    def test_the_other_name_of_the_console(self):
        done = self.console_psql("show version;", database="pgbouncer")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("pgweir", done.stdout)

    def rows(self, what):
        columns, rows = self.weir.console(f"SHOW {what}")
        return [dict(zip(columns, row)) for row in rows]

    def test_rows_tell_what_is_there(self):
        with self.weir.connect("app", "app", application_name="counted") as client:
            with client.transaction():
                client.execute("select 1")
                pools = [row for row in self.rows("POOLS") if (row["database"], row["user"]) == ("app", "app")]
                self.assertEqual([(row["cl_active"], row["sv_active"]) for row in pools], [(1, 1)])
                clients = [row for row in self.rows("CLIENTS") if row["database"] == "app"]
                self.assertEqual([(row["state"], row["application_name"]) for row in clients], [("active", "counted")])
                servers = [row for row in self.rows("SERVERS") if row["state"] == "active"]
                backend = client.info.backend_pid
                self.assertEqual(len(servers), 1)
                real = client.execute("select pg_backend_pid()").fetchone()[0]
                self.assertEqual(servers[0]["remote_pid"], real, f"the client was told {backend}")
            databases = [row["name"] for row in self.rows("DATABASES")]
            self.assertIn("app", databases)
            stats = [row for row in self.rows("STATS") if row["database"] == "app"]
            self.assertEqual(len(stats), 1)
            self.assertGreaterEqual(stats[0]["total_xact_count"], 1)
            config = {row["key"]: row["value"] for row in self.rows("CONFIG")}
            self.assertIn(str(self.weir.port), config.values())

    def test_statements_are_counted(self):
        def counted():
            rows = [row for row in self.rows("STATS") if row["database"] == "app"]
            names = ("client_parse", "server_parse", "bind")
            return [int(rows[0][f"total_{name}_count"]) for name in names] if rows else [0, 0, 0]

        before = counted()
        with self.weir.connect("app", "app") as client:
            for n in range(5):
                client.execute("select %s::int", (n,), prepare=True)
            client.execute("select 'no name'", prepare=False)
        self.assertEqual([after - b for after, b in zip(counted(), before)], [1, 1, 5])

    def test_texts_are_counted_by_how_they_were_read(self):
        """Most by their words; one that may change the session is parsed once, and remembered."""
        names = ("texts_by_words", "texts_remembered", "texts_parsed")

        def counted():
            rows = self.rows("WORKERS")
            return [sum(int(row[name]) for row in rows) for name in names]

        before = counted()
        with self.weir.connect("app", "app", cursor_factory=psycopg.ClientCursor) as client:
            for _ in range(5):
                client.execute("select 'only words'")
                client.execute("set app.counted = 'seen'")
        self.assertEqual([after - b for after, b in zip(counted(), before)], [5, 4, 1])

    def test_secrets_do_not_show(self):
        for what in ("CONFIG", "CLIENTS", "SERVERS", "DATABASES"):
            done = self.console_psql(f"SHOW {what}")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("s3cret", done.stdout)

    def test_reload_takes_a_new_user(self):
        self.assertEqual(self.console_psql("SHOW VERSION", "late", "1ate").returncode, 2)
        self.postgres.create_user("late", "1ate")
        self.weir.users["late"] = "1ate"
        self.weir.write_files()
        done = self.console_psql("RELOAD")
        self.assertEqual((done.returncode, done.stdout.strip()), (0, "RELOAD"), done.stderr)
        with self.weir.connect("app", "late") as client:
            self.assertEqual(client.execute("select current_user").fetchone()[0], "late")

    def test_pause_and_resume(self):
        self.assertEqual(self.console_psql("PAUSE app").stdout.strip(), "PAUSE")
        try:
            command = [PSQL, "-XAt", "-h", self.weir.host, "-p", str(self.weir.port), "-U", "app", "-d", "app"]
            waiting = subprocess.Popen(
                [*command, "-c", "select 'through'"],
                env={**os.environ, "PGPASSWORD": "s3cret"},
                stdout=subprocess.PIPE,
                text=True,
            )
            wait_until(
                lambda: any(row["cl_waiting"] for row in self.rows("POOLS") if row["database"] == "app"),
                what="a client waits in the paused database",
            )
            self.assertIsNone(waiting.poll())
        finally:
            resumed = self.console_psql("RESUME app")
        self.assertEqual(resumed.stdout.strip(), "RESUME")
        output, _ = waiting.communicate(timeout=20)
        self.assertEqual((output, waiting.returncode), ("through\n", 0))

    def test_who_may_not_enter(self):
        done = self.console_psql("SHOW VERSION", "app", "s3cret")
        self.assertEqual(done.returncode, 2, done.stdout)

    def test_unknown_commands(self):
        done = self.console_psql("SHOW NONSENSE")
        self.assertEqual(done.returncode, 1)
        self.assertIn("ERROR", done.stderr)
        done = self.console_psql("SELECT * FROM pg_class")
        self.assertEqual(done.returncode, 1)


if __name__ == "__main__":
    unittest.main()
