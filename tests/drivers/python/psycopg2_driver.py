"""psycopg2."""

import io
import threading
import time

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from contract import ME, TOKEN, equal, fails, main, scenario


def connect(autocommit=True, **options):
    connection = psycopg2.connect("", **options)
    connection.autocommit = autocommit
    return connection


def do(connection, text):
    with connection.cursor() as cursor:
        cursor.execute(text)


def rows(connection, text, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(text, parameters)
        return cursor.fetchall()


@scenario
def parameters(connection):
    for n in range(30):
        equal(rows(connection, "select %s, %s, %s, %s", (ME, f"{TOKEN}'{n}", None, [ME, n])), [(ME, f"{TOKEN}'{n}", None, [ME, n])])


@scenario
def transactions(_):
    """Not autocommit, as the DB-API wants it."""
    connection = connect(autocommit=False)
    do(connection, f"create table t_{TOKEN} (n int primary key, who text)")
    connection.commit()
    for n in range(20):
        do(connection, f"insert into t_{TOKEN} values ({n}, '{TOKEN}')")
        if n % 3 == 0:
            fails("23505", do, connection, f"insert into t_{TOKEN} values ({n}, 'again')")
            fails("25P02", do, connection, "select 1")
            connection.rollback()
        else:
            connection.commit()
    equal(rows(connection, f"select n, who from t_{TOKEN} order by n"), [(n, TOKEN) for n in range(20) if n % 3])
    connection.close()


@scenario
def with_blocks(connection):
    connection.autocommit = False
    with connection:
        do(connection, f"create table w_{TOKEN} (n int)")
    try:
        with connection:
            do(connection, f"insert into w_{TOKEN} values (1)")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    equal(rows(connection, f"select count(*) from w_{TOKEN}"), [(0,)])


@scenario
def isolation_and_read_only(connection):
    """set_session sends SET SESSION CHARACTERISTICS only for autocommit; else BEGIN says it."""
    connection.autocommit = False
    connection.set_session(isolation_level="SERIALIZABLE", readonly=True)
    for _ in range(4):
        equal(rows(connection, "select current_setting('transaction_isolation'), current_setting('transaction_read_only')"), [("serializable", "on")])
        connection.rollback()


@scenario
def read_only_autocommit(connection):
    connection.set_session(readonly=True, autocommit=True)
    for _ in range(3):
        fails("25006", do, connection, f"create table never_{TOKEN} (n int)")


@scenario
def server_cursor(connection):
    connection.autocommit = False
    with connection.cursor(name=f"cur_{TOKEN}") as cursor:
        cursor.itersize = 100
        cursor.execute("select n, %s from generate_series(1, 1000) n", (TOKEN,))
        equal(sum(n for n, who in cursor if who == TOKEN), 500500)
    connection.rollback()


@scenario
def server_cursor_with_hold(connection):
    connection.autocommit = False
    cursor = connection.cursor(name=f"held_{TOKEN}", withhold=True)
    cursor.execute("select n, %s from generate_series(1, 500) n", (TOKEN,))
    connection.commit()
    equal(cursor.fetchmany(10), [(n, TOKEN) for n in range(1, 11)])
    connection.commit()
    equal(len(cursor.fetchall()), 490)
    cursor.close()
    connection.commit()


@scenario
def copy_in_and_out(connection):
    do(connection, f"create table c_{TOKEN} (n int, who text)")
    with connection.cursor() as cursor:
        cursor.copy_expert(f"copy c_{TOKEN} from stdin", io.StringIO("".join(f"{n}\t{TOKEN}\n" for n in range(5000))))
        equal(cursor.rowcount, 5000)
        out = io.StringIO()
        cursor.copy_expert(f"copy (select who from c_{TOKEN}) to stdout", out)
    equal(out.getvalue(), f"{TOKEN}\n" * 5000)
    with connection.cursor() as cursor:
        fails("22P02", cursor.copy_expert, f"copy c_{TOKEN} from stdin", io.StringIO(f"x\t{TOKEN}\n"))
    equal(rows(connection, f"select count(*) from c_{TOKEN}"), [(5000,)])


@scenario
def execute_values_and_batch(connection):
    do(connection, f"create table b_{TOKEN} (n int, who text)")
    with connection.cursor() as cursor:
        psycopg2.extras.execute_values(cursor, f"insert into b_{TOKEN} values %s", [(n, TOKEN) for n in range(500)])
        psycopg2.extras.execute_batch(cursor, f"insert into b_{TOKEN} values (%s, %s)", [(n, TOKEN) for n in range(250)])
    equal(rows(connection, f"select count(*), min(who), max(who) from b_{TOKEN}"), [(750, TOKEN, TOKEN)])


@scenario
def listen_notify(connection):
    do(connection, f"listen channel_{TOKEN}")
    other = connect()
    for n in range(3):
        do(other, f"notify channel_{TOKEN}, '{TOKEN}/{n}'")
    other.close()
    deadline = time.monotonic() + 2
    while len(connection.notifies) < 3 and time.monotonic() < deadline:
        connection.poll()
        time.sleep(0.02)
    equal([note.payload for note in connection.notifies], [f"{TOKEN}/{n}" for n in range(3)])


@scenario
def cancel(connection):
    for _ in range(2):
        threading.Timer(0.3, connection.cancel).start()
        started = time.monotonic()
        fails("57014", do, connection, "select pg_sleep(30)")
        assert time.monotonic() - started < 15
        equal(rows(connection, "select %s", (TOKEN,)), [(TOKEN,)])


@scenario
def large_objects(connection):
    connection.autocommit = False
    big = connection.lobject(0, "wb")
    big.write((TOKEN * 50_000).encode())
    big.close()
    connection.commit()
    read = connection.lobject(big.oid, "rb")
    read.seek(len(TOKEN) * 49_999)
    equal(read.read(), TOKEN.encode())
    read.close()
    connection.commit()
    connection.lobject(big.oid).unlink()
    connection.commit()


@scenario
def two_phase_commit(_):
    connection = connect(autocommit=False)
    do(connection, f"create table tpc_{TOKEN} (n int)")
    connection.commit()
    connection.tpc_begin(connection.xid(2, f"g{TOKEN}", "branch"))
    do(connection, f"insert into tpc_{TOKEN} values ({ME})")
    connection.tpc_prepare()
    connection.tpc_commit()
    equal(rows(connection, f"select n from tpc_{TOKEN}"), [(ME,)])
    connection.close()


@scenario
def reset_connection(connection):
    """connection.reset(): ABORT, RESET ALL, SET SESSION AUTHORIZATION DEFAULT."""
    do(connection, f"set timezone = 'Etc/GMT+{ME}'")
    connection.reset()
    connection.autocommit = True
    equal(rows(connection, "select current_setting('timezone') like 'Etc/GMT+%'"), [(False,)])


@scenario
def session_parameters(_):
    connection = connect(application_name=f"app {TOKEN}", options=f"-c timezone=Etc/GMT+{ME} -c work_mem=1{ME}MB")
    connection.set_client_encoding("LATIN1")
    for _ in range(5):
        text = "select current_setting('application_name'), current_setting('timezone'), current_setting('work_mem'), current_setting('client_encoding'), 'größe'"
        equal(rows(connection, text), [(f"app {TOKEN}", f"Etc/GMT+{ME}", f"1{ME}MB", "LATIN1", "größe")])
    equal(connection.get_parameter_status("TimeZone"), f"Etc/GMT+{ME}")
    connection.close()


@scenario
def hstore_and_json(connection):
    do(connection, f"create table j_{TOKEN} (d jsonb)")
    with connection.cursor() as cursor:
        cursor.execute(f"insert into j_{TOKEN} values (%s)", (psycopg2.extras.Json({"me": TOKEN}),))
    equal(rows(connection, f"select d from j_{TOKEN}"), [({"me": TOKEN},)])


@scenario
def notices(connection):
    do(connection, f"do $$ begin raise notice 'for {TOKEN}'; end $$")
    equal(connection.notices[-1].strip(), f"NOTICE:  for {TOKEN}")


@scenario
def asynchronous(_):
    connection = psycopg2.connect("", async_=True)
    psycopg2.extras.wait_select(connection)
    cursor = connection.cursor()
    for n in range(10):
        cursor.execute("select %s, %s", (TOKEN, n))
        psycopg2.extras.wait_select(connection)
        equal(cursor.fetchall(), [(TOKEN, n)])
    connection.close()


main(f"{psycopg2.__version__.split()[0]}", connect, lambda c: c.close(), do, rows)
