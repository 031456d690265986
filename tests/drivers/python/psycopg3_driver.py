"""psycopg 3."""

import threading
import time

import psycopg
from psycopg import sql

from contract import ME, TOKEN, equal, fails, main, scenario


def connect(**options):
    options.setdefault("autocommit", True)
    return psycopg.connect("", **options)


def do(connection, text):
    connection.execute(text)


def rows(connection, text):
    return connection.execute(text).fetchall()


def value(connection, text, *parameters, **options):
    return connection.execute(text, parameters or None, **options).fetchone()[0]


@scenario
def parameters(connection):
    for n in range(30):
        row = connection.execute(
            "select %s::int, %s::text, %s::int[], %s::bytea, %s::text", (ME, f"{TOKEN}/{n}", [ME, n], bytes([ME, n]), None)
        ).fetchone()
        equal(row, (ME, f"{TOKEN}/{n}", [ME, n], bytes([ME, n]), None))


@scenario
def binary(connection):
    cursor = connection.cursor(binary=True)
    for n in range(30):
        row = cursor.execute("select %s::int8, %s::float8, %s::jsonb, %s::text", (ME, n / 4, f'{{"me": {ME}}}', TOKEN))
        equal(row.fetchone(), (ME, n / 4, {"me": ME}, TOKEN))


@scenario
def prepared_at_once(_):
    with connect(prepare_threshold=0) as connection:
        for n in range(60):
            equal(connection.execute(f"select %s::int, '{TOKEN}'::text", (n,)).fetchone(), (n, TOKEN))


@scenario
def prepared_never(_):
    with connect(prepare_threshold=None) as connection:
        for n in range(60):
            equal(connection.execute(f"select %s::int, '{TOKEN}'::text", (n,)).fetchone(), (n, TOKEN))


@scenario
def prepared_later(connection):
    """The default: named from the fifth use on."""
    for n in range(30):
        with connection.transaction():
            equal(connection.execute(f"select %s::int, '{TOKEN}'::text", (n,)).fetchone(), (n, TOKEN))


@scenario
def up_to_100_statements(connection):
    for turn in range(2):
        for n in range(95):
            equal(connection.execute(f"select %s::text, {n}", (TOKEN,), prepare=True).fetchone(), (TOKEN, n))


@scenario
def more_than_100_statements(connection):
    """psycopg drops its oldest one with DEALLOCATE."""
    for turn in range(2):
        for n in range(250):
            equal(connection.execute(f"select %s::text, {n}", (TOKEN,), prepare=True).fetchone(), (TOKEN, n))


@scenario
def statement_outlives_a_change_of_its_table(_):
    with connect(prepare_threshold=0) as connection:
        name = sql.Identifier(f"alter_{TOKEN}")
        connection.execute(sql.SQL("create table {} (a int)").format(name))
        connection.execute(sql.SQL("insert into {} values (%s)").format(name), (ME,))
        query = sql.SQL("select a from {} where a = %s").format(name)
        for n in range(10):
            equal(connection.execute(query, (ME,)).fetchone(), (ME,))
            if n == 5:
                connection.execute(sql.SQL("alter table {} add column b text").format(name), prepare=False)


@scenario
def transactions(connection):
    connection.execute(f"create table t_{TOKEN} (n int primary key, who text)")
    for n in range(20):
        with connection.transaction(force_rollback=n % 3 == 0):
            pid = value(connection, "select pg_backend_pid()")
            connection.execute(f"insert into t_{TOKEN} values (%s, %s)", (n, TOKEN))
            with_nested_error(connection, n)
            equal(value(connection, "select pg_backend_pid()"), pid)
    found = connection.execute(f"select n, who from t_{TOKEN} order by n").fetchall()
    equal(found, [(n, TOKEN) for n in range(20) if n % 3])


def with_nested_error(connection, n):
    def insert_again():
        with connection.transaction():
            connection.execute(f"insert into t_{TOKEN} values (%s, %s)", (n, TOKEN))

    fails("23505", insert_again)


@scenario
def default_transactions(_):
    """Not autocommit, as the DB-API wants it."""
    with connect(autocommit=False) as connection:
        connection.execute(f"create table d_{TOKEN} (n int)")
        connection.commit()
        for n in range(10):
            connection.execute(f"insert into d_{TOKEN} values (%s)", (n,))
            (connection.commit if n % 2 else connection.rollback)()
        equal(connection.execute(f"select array_agg(n order by n) from d_{TOKEN}").fetchone()[0], [1, 3, 5, 7, 9])


@scenario
def isolation_level(connection):
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        equal(value(connection, "show transaction_isolation"), "repeatable read")
        fails("25006", connection.execute, "create table nothing (n int)")
        raise psycopg.Rollback
    equal(value(connection, "show transaction_isolation"), "read committed")


@scenario
def two_phase_commit(_):
    with connect(autocommit=False) as connection:
        connection.execute(f"create table tpc_{TOKEN} (n int)")
        connection.commit()
        xid = connection.xid(1, f"g{TOKEN}", "branch")
        connection.tpc_begin(xid)
        connection.execute(f"insert into tpc_{TOKEN} values (%s)", (ME,))
        connection.tpc_prepare()
        connection.tpc_commit()
        equal(value(connection, f"select n from tpc_{TOKEN}"), ME)


@scenario
def pipeline(connection):
    for n in range(10):
        with connection.pipeline():
            cursors = [connection.execute("select %s::text, %s::int", (TOKEN, k)) for k in range(25)]
            equal([cursor.fetchone() for cursor in cursors], [(TOKEN, k) for k in range(25)])


@scenario
def pipeline_prepared(_):
    with connect(prepare_threshold=0) as connection:
        for n in range(10):
            with connection.pipeline() as pipe:
                cursors = []
                for k in range(25):
                    cursors.append(connection.execute(f"select %s::text, {k % 7}", (TOKEN,)))
                    if k % 10 == 9:
                        pipe.sync()
                equal([cursor.fetchone() for cursor in cursors], [(TOKEN, k % 7) for k in range(25)])


@scenario
def pipeline_error(connection):
    for _ in range(5):
        connection.execute(f"drop table if exists p_{TOKEN}")

        def broken():
            with connection.pipeline() as pipe:
                connection.execute(f"create table p_{TOKEN} (n int)")
                pipe.sync()
                connection.execute("select 1/%s::int", (0,))
                connection.execute(f"insert into p_{TOKEN} values (1)")
                pipe.sync()

        fails("22012", broken)
        equal(value(connection, f"select count(*) from p_{TOKEN}"), 0)


@scenario
def executemany(connection):
    connection.execute(f"create table m_{TOKEN} (n int, who text)")
    with connection.cursor() as cursor:
        cursor.executemany(f"insert into m_{TOKEN} values (%s, %s)", [(n, TOKEN) for n in range(200)])
        equal(cursor.rowcount, 200)
        cursor.executemany(f"insert into m_{TOKEN} values (%s, %s) returning n", [(n, TOKEN) for n in range(5)], returning=True)
        got = [cursor.fetchone()[0]]
        while cursor.nextset():
            got.append(cursor.fetchone()[0])
        equal(got, [0, 1, 2, 3, 4])
    equal(connection.execute(f"select count(*), min(who), max(who) from m_{TOKEN}").fetchone(), (205, TOKEN, TOKEN))


@scenario
def copy_in_and_out(connection):
    connection.execute(f"create table c_{TOKEN} (n int, who text, b bytea)")
    with connection.cursor() as cursor:
        with cursor.copy(f"copy c_{TOKEN} from stdin") as copy:
            for n in range(3000):
                copy.write_row((n, TOKEN, bytes([n % 256])))
        with cursor.copy(f"copy c_{TOKEN} from stdin (format binary)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            for n in range(1000):
                copy.write_row((n, TOKEN, bytes([n % 256])))
        with cursor.copy(f"copy (select n, who from c_{TOKEN} order by n) to stdout") as copy:
            got = list(copy.rows())
    equal(len(got), 4000)
    equal({who for _, who in got}, {TOKEN})


@scenario
def copy_errors(connection):
    connection.execute(f"create table ce_{TOKEN} (n int, who text)")

    def bad_row():
        with connection.cursor() as cursor, cursor.copy(f"copy ce_{TOKEN} from stdin") as copy:
            copy.write(f"1\t{TOKEN}\nnot a number\tx\n")

    def given_up():
        with connection.cursor() as cursor, cursor.copy(f"copy ce_{TOKEN} from stdin") as copy:
            copy.write_row((1, TOKEN))
            raise ZeroDivisionError

    fails("22P02", bad_row)
    fails("57014", given_up)
    equal(value(connection, f"select count(*) from ce_{TOKEN}"), 0)


@scenario
def server_cursor(connection):
    with connection.transaction(), connection.cursor(name=f"cur_{TOKEN}") as cursor:
        cursor.itersize = 100
        cursor.execute("select n, %s from generate_series(1, 1000) n", (TOKEN,))
        total = 0
        for n, who in cursor:
            equal(who, TOKEN)
            total += n
        equal(total, 500500)


@scenario
def server_cursor_with_hold(connection):
    with connection.cursor(name=f"held_{TOKEN}", withhold=True) as cursor:
        cursor.itersize = 100
        cursor.execute("select n, %s from generate_series(1, 500) n", (TOKEN,))
        equal(sum(n for n, who in cursor if who == TOKEN), 125250)


@scenario
def stream(connection):
    got = [row for row in connection.cursor().stream("select n, %s from generate_series(1, 500) n", (TOKEN,))]
    equal(got, [(n, TOKEN) for n in range(1, 501)])


@scenario
def several_statements_in_one_query(connection):
    cursor = connection.execute(f"select 1; select '{TOKEN}'; create table if not exists s_{TOKEN} (n int); select 3")
    got = []
    while True:
        got.append(cursor.fetchone()[0] if cursor.description else cursor.statusmessage)
        if not cursor.nextset():
            break
    equal(got, [1, TOKEN, "CREATE TABLE", 3])


@scenario
def notices(connection):
    notes = []
    connection.add_notice_handler(lambda note: notes.append((note.severity, note.message_primary)))
    for n in range(5):
        connection.execute(f"do $$ begin raise notice 'for {TOKEN}'; raise warning 'beware {TOKEN}'; end $$")
    equal(notes, [("NOTICE", f"for {TOKEN}"), ("WARNING", f"beware {TOKEN}")] * 5)


@scenario
def listen_notify(connection):
    got = []
    connection.add_notify_handler(lambda note: got.append(note.payload))
    connection.execute(f"listen channel_{TOKEN}")
    with connect() as other:
        for n in range(3):
            other.execute("select pg_notify(%s, %s)", (f"channel_{TOKEN}", f"{TOKEN}/{n}"))
    deadline = time.monotonic() + 2
    while len(got) < 3 and time.monotonic() < deadline:
        connection.execute("select pg_sleep(0.05)")
    equal(got, [f"{TOKEN}/{n}" for n in range(3)])
    connection.execute("unlisten *")


@scenario
def cancel(connection):
    for _ in range(2):
        threading.Timer(0.3, connection.cancel).start()
        started = time.monotonic()
        fails("57014", connection.execute, "select pg_sleep(30)")
        assert time.monotonic() - started < 15
        equal(value(connection, "select %s::text", TOKEN), TOKEN)


@scenario
def startup_parameters(_):
    options = f"-c timezone=Etc/GMT+{ME} -c statement_timeout=9{ME}s -c work_mem=1{ME}MB -c search_path=a{TOKEN},public"
    with connect(application_name=f"app {TOKEN}", options=options) as connection:
        equal(connection.info.parameter_status("TimeZone"), f"Etc/GMT+{ME}")
        for _ in range(6):
            names = ("application_name", "timezone", "statement_timeout", "work_mem", "search_path")
            got = [value(connection, "select current_setting(%s)", name) for name in names]
            equal(got, [f"app {TOKEN}", f"Etc/GMT+{ME}", f"9{ME}s", f"1{ME}MB", f"a{TOKEN},public"])
        connection.execute("set work_mem = '2MB'")
        connection.execute("reset work_mem")
        equal(value(connection, "show work_mem"), f"1{ME}MB")


@scenario
def bad_startup_parameter(_):
    errors = []
    for options in ("-c work_mem=nonsense", "-c no_such_setting=1"):
        try:
            connect(options=options).close()
            errors.append("connected")
        except psycopg.OperationalError as error:
            errors.append(str(error).split("FATAL:")[-1].strip())
    return " / ".join(errors)


@scenario
def client_encoding(_):
    with connect(client_encoding="latin1") as connection:
        for _ in range(5):
            equal(value(connection, "select 'größer'::text || %s", "ß" + TOKEN), f"größerß{TOKEN}")
        equal(connection.info.encoding, "iso8859-1")


@scenario
def parameter_status_follows(connection):
    for n in range(4):
        connection.execute(f"set timezone = 'Etc/GMT+{n}'")
        equal(connection.info.parameter_status("TimeZone"), f"Etc/GMT+{n}")
        value(connection, "select 1")
        equal(connection.info.parameter_status("TimeZone"), f"Etc/GMT+{n}")
        connection.execute("begin")
        connection.execute("set timezone = 'Asia/Tokyo'")
        equal(connection.info.parameter_status("TimeZone"), "Asia/Tokyo")
        connection.execute("rollback")
        equal(connection.info.parameter_status("TimeZone"), f"Etc/GMT+{n}")


@scenario
def server_version(connection):
    return f"{connection.info.server_version} {value(connection, 'show server_version')}"


@scenario
def error_fields(connection):
    connection.execute(f"create table ef_{TOKEN} (n int constraint positive check (n > 0))")
    error = fails("23514", connection.execute, f"insert into ef_{TOKEN} values (%s)", (-ME,))
    equal(error.diag.table_name, f"ef_{TOKEN}")
    error2 = fails("42703", connection.execute, "select nothing from pg_class")
    return f"{error.diag.constraint_name} {error.diag.source_function} {error2.diag.statement_position} {error2.diag.message_primary}"


@scenario
def large_objects(connection):
    with connection.transaction():
        oid = value(connection, "select lo_from_bytea(0, %s)", (TOKEN * 5000).encode())
    with connection.transaction():
        handle = value(connection, "select lo_open(%s, 131072)", oid)
        equal(value(connection, "select loread(%s, 4)", handle), (TOKEN * 2).encode())
        equal(value(connection, "select lo_lseek(%s, 0, 2)", handle), len(TOKEN) * 5000)
    equal(value(connection, "select lo_unlink(%s)", oid), 1)


@scenario
def big_rows(connection):
    for size in (1, 70_000, 3_000_000):
        text = (TOKEN * size)[:size]
        equal(value(connection, "select %s::text", text), text)
        equal(value(connection, "select %s::bytea", text.encode()), text.encode())


@scenario
def many_columns_and_rows(connection):
    columns = ", ".join(f"n + {k} as c{k}" for k in range(200))
    got = connection.execute(f"select '{TOKEN}', {columns} from generate_series(1, 300) n").fetchall()
    equal((len(got), len(got[0]), {row[0] for row in got}), (300, 201, {TOKEN}))


@scenario
def connections_come_and_go(_):
    for n in range(15):
        with connect(prepare_threshold=0) as connection:
            equal(connection.execute("select %s::text, %s::int", (TOKEN, n)).fetchone(), (TOKEN, n))


@scenario
def threads_share_a_connection(connection):
    seen = []

    def work(thread):
        for n in range(10):
            seen.append(connection.execute("select %s::text, %s::int", (TOKEN, thread * 10 + n)).fetchone())

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(sorted(seen), [(TOKEN, n) for n in range(30)])


main(f"{psycopg.__version__} libpq {psycopg.pq.version()}", connect, lambda c: c.close(), do, rows)
