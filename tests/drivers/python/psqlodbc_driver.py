"""psqlODBC: the ODBC driver of Postgres, through pyodbc."""

import os

import pyodbc

from contract import ME, TOKEN, equal, fails, main, scenario

pyodbc.pooling = False
NAMES = ("server", "PGHOST"), ("port", "PGPORT"), ("database", "PGDATABASE"), ("uid", "PGUSER"), ("pwd", "PGPASSWORD")
SERVER = ";".join(f"{name}={os.environ[variable]}" for name, variable in NAMES)


def connect(autocommit=True, **options):
    """`options` are words of psqlODBC: UseDeclareFetch, UseServerSidePrepare, Protocol ..."""
    words = "".join(f";{name}={value}" for name, value in options.items())
    return pyodbc.connect(f"driver=PostgreSQL Unicode;{SERVER}{words}", autocommit=autocommit)


def do(connection, text):
    connection.execute(text).close()


def rows(connection, text, *parameters):
    return [tuple(row) for row in connection.execute(text, *parameters).fetchall()]


@scenario
def parameters(connection):
    for n in range(30):
        got = rows(connection, "select ?::int, ?::text, ?::int", ME, f"{TOKEN}'{n}", n)
        equal(got, [(ME, f"{TOKEN}'{n}", n)])


@scenario
def prepared_on_the_client(_):
    connection = connect(UseServerSidePrepare=0)
    for n in range(10):
        equal(rows(connection, "select ?::text, ?::int", TOKEN, n), [(TOKEN, n)])
    connection.close()


@scenario
def prepared_statements(_):
    """One cursor prepares once and executes often; many cursors at the same time."""
    connection = connect(UseServerSidePrepare=1)
    cursors = [connection.cursor() for _ in range(8)]
    for n in range(10):
        for number, cursor in enumerate(cursors):
            got = cursor.execute(f"select ?::text, ?::int, {number}", TOKEN, n).fetchone()
            equal(tuple(got), (TOKEN, n, number))
    connection.close()


@scenario
def transactions(_):
    connection = connect(autocommit=False)
    do(connection, f"create table t_{TOKEN} (n int primary key, who text)")
    connection.commit()
    for n in range(20):
        connection.execute(f"insert into t_{TOKEN} values (?, ?)", n, TOKEN)
        if n % 3 == 0:
            fails("23505", connection.execute, f"insert into t_{TOKEN} values (?, ?)", n, "again")
            connection.rollback()
        else:
            connection.commit()
    got = rows(connection, f"select n, who from t_{TOKEN} order by n")
    equal(got, [(n, TOKEN) for n in range(20) if n % 3])
    connection.close()


@scenario
def rollback_of_a_statement(_):
    """Protocol=7.4-2: psqlODBC sets savepoints of its own, so an error undoes its statement only."""
    connection = connect(autocommit=False, Protocol="7.4-2")
    do(connection, f"create table s_{TOKEN} (n int primary key)")
    for n in range(6):
        connection.execute(f"insert into s_{TOKEN} values (?)", n)
        fails("23505", connection.execute, f"insert into s_{TOKEN} values (?)", n)
    connection.commit()
    equal(rows(connection, f"select count(*) from s_{TOKEN}"), [(6,)])
    connection.close()


@scenario
def declare_fetch(_):
    """Cursors on the server, 100 rows at a time."""
    connection = connect(autocommit=False, UseDeclareFetch=1, Fetch=100)
    for _ in range(3):
        cursor = connection.execute("select n, ?::text from generate_series(1, 1000) n", TOKEN)
        equal(sum(n for n, who in cursor if who == TOKEN), 500500)
        connection.commit()
    connection.close()


@scenario
def declare_fetch_with_autocommit(_):
    connection = connect(UseDeclareFetch=1, Fetch=100)
    for _ in range(3):
        cursor = connection.execute(f"select n, '{TOKEN}' from generate_series(1, 1000) n")
        equal(sum(n for n, who in cursor if who == TOKEN), 500500)
    connection.close()


@scenario
def many_rows_at_once(connection):
    do(connection, f"create table m_{TOKEN} (n int, who text)")
    cursor = connection.cursor()
    cursor.executemany(f"insert into m_{TOKEN} values (?, ?)", [(n, TOKEN) for n in range(300)])
    equal(rows(connection, f"select count(*), max(n), max(who) from m_{TOKEN}"), [(300, 299, TOKEN)])


@scenario
def catalog(connection):
    do(connection, f"create table c_{TOKEN} (id int primary key, name varchar(30))")
    cursor = connection.cursor()
    equal([row.table_name for row in cursor.tables(table=f"c_{TOKEN}")], [f"c_{TOKEN}"])
    equal([(row.column_name, row.type_name) for row in cursor.columns(table=f"c_{TOKEN}")], [("id", "int4"), ("name", "varchar")])
    equal([row.column_name for row in cursor.primaryKeys(table=f"c_{TOKEN}")], ["id"])


@scenario
def isolation_level(_):
    connection = connect(autocommit=False)
    connection.set_attr(pyodbc.SQL_ATTR_TXN_ISOLATION, pyodbc.SQL_TXN_SERIALIZABLE)
    for _ in range(4):
        equal(rows(connection, "show transaction_isolation"), [("serializable",)])
        connection.commit()
    connection.close()


@scenario
def settings_of_the_connection(_):
    """ConnSettings are SQL that psqlODBC sends after its login."""
    connection = connect(ConnSettings=f"set work_mem = '1{ME}MB'")
    for _ in range(5):
        equal(rows(connection, "show work_mem"), [(f"1{ME}MB",)])
    connection.close()


@scenario
def binary(connection):
    value = bytes(range(256)) * 200 + TOKEN.encode()
    equal(rows(connection, "select ?::bytea", value), [(value,)])


driver = connect()
version = driver.getinfo(pyodbc.SQL_DRIVER_VER)
driver.close()
# What a transaction does after an error is for the scenarios to see, not for savepoints of psqlODBC.
main(f"{version} with pyodbc {pyodbc.version}", lambda: connect(Protocol="7.4-0"), lambda connection: connection.close(), do, rows)
