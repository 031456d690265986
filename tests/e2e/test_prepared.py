"""Statements that SQL prepares, though each transaction runs on another server and nobody keeps one."""

import psycopg

from test_virtual_session import SERVERS, VirtualSession


def told(connection, sql):
    """What a text is answered: rows, a tag, or an error with what belongs to it."""
    result = connection.pgconn.exec_(sql.encode())
    if result.error_message:
        fields = psycopg.pq.DiagnosticField
        names = (fields.SQLSTATE, fields.MESSAGE_PRIMARY, fields.MESSAGE_DETAIL, fields.STATEMENT_POSITION)
        return tuple(result.error_field(name) for name in names)
    rows = [tuple(result.get_value(i, j) for j in range(result.nfields)) for i in range(result.ntuples)]
    return result.command_status, rows


class Prepared(VirtualSession):
    def assert_as_postgres(self, *texts, free=True):
        """Answers are the same on a connection of its own."""
        with self.connect() as pooled, self.postgres.connect("app", "app", autocommit=True) as direct:
            for sql in texts:
                self.assertEqual(told(pooled, sql), told(direct, sql), sql)
            if free:
                self.assert_free(pooled)

    def test_it_is_executed_on_any_server(self):
        def work(connection, me):
            connection.execute(f"prepare mine (int) as select pg_backend_pid(), $1 + {me * 1000}")
            seen = set()
            for n in range(40):
                pid, value = connection.execute(f"execute mine({n})").fetchone()
                self.assertEqual(value, n + me * 1000)
                seen.add(pid)
            self.assertGreater(len(seen), 1)

        self.at_once(work)

    def test_servers_learn_each_once(self):
        count = "select count(*) from pg_prepared_statements where statement like '%shared by all%'"
        with self.connect() as one, self.connect() as other:
            for client in (one, other):
                client.execute("prepare p as select 'shared by all'")
                for _ in range(3 * SERVERS):
                    self.assertEqual(self.value(client, "execute p"), "shared by all")
            for _ in range(2 * SERVERS):
                self.assertEqual(self.value(one, count), 1)

    def test_errors_are_those_of_postgres(self):
        self.assert_as_postgres(
            "create table if not exists errors (a int, b text)",
            "prepare p (int, text) as select a, $2 from errors where a = $1",
            "execute p(1, 'x')",
            "prepare p as select 1",
            "prepare p as select nonsense",
            "execute p(1)",
            "execute p('a', 'b')",
            "execute p(nonsense, 'b')",
            "/* é */ execute \"p\" ( 1, nonsense)",
            "explain (costs off) execute p(1, nonsense)",
            "execute q",
            "deallocate q",
            "prepare q (nonsense) as select $1",
            "prepare \"Q u\"\"o\" (numeric(5,2), int[]) as select $1, $2[1]",
            "execute \"Q u\"\"o\"(1.234, '{7}')",
            "deallocate \"Q u\"\"o\"",
            "execute \"Q u\"\"o\"(1.234, '{7}')",
            "alter table errors drop column if exists a",
            "execute p(1, 'x')",
            "select 1; execute p(1, 'x')",
            "deallocate p",
            "execute p(1, 'x')",
            "drop table if exists errors",
        )

    def test_transactions(self):
        self.assert_as_postgres(
            "begin",
            "prepare p as select 1",
            "execute p",
            "rollback",
            "execute p",  # PREPARE is not undone
            "begin",
            "execute p",
            "deallocate p",
            "rollback",
            "execute p",  # nor is DEALLOCATE
            "prepare p as select 2",
            "begin",
            "select 1/0",
            "execute p",
            "prepare q as select 3",
            "rollback",
            "execute q",
            "execute p",
            "begin; savepoint a",
            "prepare p as select 4",
            "rollback to a",
            "execute p; execute p",
            "commit",
            "deallocate all",
            "execute p",
        )

    def test_texts_that_are_not_simple(self):
        self.assert_as_postgres(
            "prepare p as select 1; execute p; prepare q (int) as select $1 + 1; execute q(2)",
            "execute p",
            "execute q(5)",
            "select 0; execute p; execute q(1)",
            "execute p; deallocate p; prepare p as select 10; execute p",
            "execute p",
            "do $$ begin execute 'prepare r as select 42'; end $$",
            "execute r",
            "do $$ declare x int; begin execute 'execute r' into x; raise exception 'found %', x; end $$",
            "do $$ begin execute 'deallocate r'; end $$",
            "execute r",
            "begin; create table made as execute q(8); select * from made; rollback",
            "create temp table gone on commit drop as execute q(8)",
            "explain (costs off) execute p",
            "explain (costs off) create table made as execute q(1)",
            "deallocate p; select 1",
            "execute p",
            "deallocate all; prepare p as select 5",
            "execute p",
            "execute q(1)",
        )

    def test_literals_are_read_as_when_it_was_prepared(self):
        text = "select timestamptz '2021-07-01 12:00' = '2021-07-01 12:00+00', date '03/04/2021'::text, 'é'"
        with self.connect() as neighbour:
            # Shares the text, and sets nothing else.
            neighbour.pgconn.exec_(b"set timezone = 'UTC'")
            neighbour.pgconn.prepare(b"s", text.encode())

            def work(connection, me):
                of = connection.pgconn

                def assert_read(zone):
                    for _ in range(SERVERS):
                        result = of.exec_prepared(b"s", [])
                        values = tuple(result.get_value(0, i) for i in range(3))
                        self.assertEqual(values, (b"t", b"04.03.2021", b"\xe9"), result.error_message)
                        self.assertEqual(of.exec_(b"show timezone").get_value(0, 0), zone)

                of.exec_(b"set timezone = 'UTC'")
                of.prepare(b"s", text.encode())
                of.exec_(b"set timezone = 'Asia/Tokyo'; set datestyle = 'German, YMD'; set client_encoding = 'LATIN1'")
                assert_read(b"Asia/Tokyo")
                of.exec_(b"begin")
                of.exec_(b"set local timezone = 'America/New_York'")
                assert_read(b"America/New_York")
                of.exec_(b"commit")
                assert_read(b"Asia/Tokyo")
                for _ in range(SERVERS):
                    result = neighbour.pgconn.exec_prepared(b"s", []) if me == 1 else None
                    self.assertEqual(result.get_value(0, 0) if result else b"t", b"t")

            self.at_once(work)

    def test_the_names_of_protocol_and_sql_are_the_same(self):
        def work(connection, me):
            of = connection.pgconn
            connection.execute(f"prepare s as select {me}")
            self.assertIn(b"already exists", of.prepare(b"s", b"select 0").error_message)
            for _ in range(SERVERS):
                self.assertEqual(of.exec_prepared(b"s", []).get_value(0, 0), str(me).encode())
                self.assertEqual(of.describe_prepared(b"s").nfields, 1)
            of.prepare(b"t", b"select $1::int + %d" % me)
            for n in range(SERVERS):
                self.assertEqual(self.value(connection, f"execute t({n})"), n + me)
            with self.assertRaises(psycopg.errors.DuplicatePreparedStatement):
                connection.execute("prepare t as select 1")
            self.assertEqual(self.value(connection, "execute t(1)"), 1 + me)
            connection.execute("begin; prepare u as select 1")
            self.assertIn(b"already exists", of.prepare(b"u", b"select 0").error_message)
            connection.execute("rollback")
            self.assertEqual(self.value(connection, "execute u"), 1)

        self.at_once(work)
        with self.connect() as connection:
            self.assert_free(connection)

    def test_by_the_extended_protocol(self):
        def work(connection, me):
            def run(sql):
                result = connection.pgconn.exec_params(sql.encode(), [])
                self.assertFalse(result.error_message, result.error_message)
                return result.get_value(0, 0)

            run(f"prepare p (int) as select $1 + {me}")
            for n in range(6):
                self.assertEqual(run(f"execute p({n})"), str(n + me).encode())
            connection.pgconn.prepare(b"twice", b"execute p(100)")
            for _ in range(6):
                result = connection.pgconn.exec_prepared(b"twice", [])
                self.assertEqual(result.get_value(0, 0), str(me + 100).encode(), result.error_message)
            self.assertIn(b"already exists", connection.pgconn.exec_params(b"prepare p as select 1", []).error_message)
            run("deallocate p")
            self.assertIn(b"does not exist", connection.pgconn.exec_params(b"execute p(1)", []).error_message)

        self.at_once(work)
        with self.connect() as connection:
            self.assert_free(connection)

    def test_what_a_statement_sets_is_the_clients(self):
        def work(connection, me):
            connection.execute("prepare become (text) as select set_config('app.me', $1, false)")
            connection.execute("prepare lock as select pg_advisory_xact_lock_shared(1)")
            for n in range(6):
                connection.execute(f"execute become('{me}/{n}')")
                connection.execute("execute lock")
                self.assertEqual(self.value(connection, "select current_setting('app.me')"), f"{me}/{n}")

        self.at_once(work)

    def test_what_a_do_sets_is_the_clients(self):
        def work(connection, me):
            for n in range(6):
                connection.execute(f"do $$ begin perform set_config('app.me', '{me}/{n}', false); end $$")
                self.assertEqual(self.value(connection, "select current_setting('app.me')"), f"{me}/{n}")
                connection.execute(f"do $$ begin if true then set work_mem = '{me + n}MB'; end if; end $$")
                self.assertEqual(self.value(connection, "show work_mem"), f"{me + n}MB")
            connection.execute("do $$ begin create temp table mine (a int); end $$")
            connection.execute(f"insert into mine values ({me})")
            self.assertEqual(self.value(connection, "select a from mine"), me)

        self.at_once(work)
        with self.connect() as connection:
            connection.execute("do $$ begin perform set_config('app.me', '1', false); end $$")
            self.assert_free(connection)

    def test_a_long_one_keeps_its_server(self):
        with self.connect() as connection:
            connection.execute(f"prepare long as select 1 /* {'x' * 20_000} */")
            for _ in range(SERVERS):
                self.assertEqual(self.value(connection, "execute long"), 1)
            self.assert_pinned(connection)
            connection.execute("deallocate long")
            self.assert_free(connection)
