"""asyncpg; its prepared statements have names of their own, also those of fetch()."""

import asyncio
import datetime
import io
import time

import asyncpg

from contract import ME, TOKEN, equal, main, scenario, sqlstate

loop = asyncio.new_event_loop()
wait = loop.run_until_complete


def connect(**options):
    return wait(asyncpg.connect(timeout=30, **options))


def close(connection):
    wait(connection.close(timeout=10))


def do(connection, text):
    wait(connection.execute(text))


def rows(connection, text):
    return wait(connection.fetch(text))


def asynchronous(function):
    """A scenario that is a coroutine."""

    def run(connection):
        return wait(function(connection))

    run.__name__ = function.__name__
    return scenario(run)


async def fails(state, awaitable):
    try:
        got = await awaitable
    except Exception as error:  # noqa: BLE001
        equal(sqlstate(error), state)
        return error
    raise AssertionError(f"no {state} but {got!r}")


@asynchronous
async def parameters(connection):
    for n in range(30):
        row = await connection.fetchrow("select $1::int, $2::text, $3::int[], $4::bytea, $5::timestamptz", ME, f"{TOKEN}/{n}", [ME, n], TOKEN.encode(), None)
        equal(tuple(row), (ME, f"{TOKEN}/{n}", [ME, n], TOKEN.encode(), None))


@asynchronous
async def prepared_statement(connection):
    statement = await connection.prepare(f"select $1::int, '{TOKEN}'::text")
    for n in range(40):
        equal(tuple(await statement.fetchrow(n)), (n, TOKEN))
    equal([p.name for p in statement.get_parameters()], ["int4"])


@asynchronous
async def many_statements(connection):
    """More than its cache keeps; Close of the oldest follows."""
    for _ in range(2):
        for n in range(250):
            equal(tuple(await connection.fetchrow(f"select $1::text, {n}", TOKEN)), (TOKEN, n))


@asynchronous
async def without_a_cache(_):
    connection = await asyncpg.connect(statement_cache_size=0)
    for n in range(30):
        equal(tuple(await connection.fetchrow(f"select $1::text, {n}::int", TOKEN)), (TOKEN, n))
    await connection.close()


@asynchronous
async def unnamed_types_are_looked_up(connection):
    """A type that it does not know sends it to the catalog, inside of the caller's work."""
    await connection.execute(f"create type mood_{TOKEN} as enum ('sad', '{TOKEN}'); create type pair_{TOKEN} as (a int, b mood_{TOKEN})")
    for _ in range(5):
        equal(tuple(await connection.fetchval(f"select row({ME}, '{TOKEN}')::pair_{TOKEN}")), (ME, TOKEN))
        equal(await connection.fetchval(f"select array['{TOKEN}']::mood_{TOKEN}[]"), [TOKEN])


@asynchronous
async def table_changes_under_a_statement(connection):
    await connection.execute(f"create table ch_{TOKEN} (a int); insert into ch_{TOKEN} values ({ME})")
    equal(tuple(await connection.fetchrow(f"select * from ch_{TOKEN} where a = $1", ME)), (ME,))
    await connection.execute(f"alter table ch_{TOKEN} add column b text default '{TOKEN}'")
    for _ in range(4):
        equal(tuple(await connection.fetchrow(f"select * from ch_{TOKEN} where a = $1", ME)), (ME, TOKEN))


@asynchronous
async def transactions(connection):
    await connection.execute(f"create table t_{TOKEN} (n int primary key, who text)")
    for n in range(20):
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        await connection.execute(f"insert into t_{TOKEN} values ($1, $2)", n, TOKEN)

        async def again():
            async with connection.transaction():
                await connection.execute(f"insert into t_{TOKEN} values ($1, 'again')", n)

        await fails("23505", again())
        await (transaction.commit() if n % 3 else transaction.rollback())
    got = await connection.fetch(f"select n, who from t_{TOKEN} order by n")
    equal([tuple(row) for row in got], [(n, TOKEN) for n in range(20) if n % 3])


@asynchronous
async def executemany(connection):
    await connection.execute(f"create table m_{TOKEN} (n int, who text)")
    await connection.executemany(f"insert into m_{TOKEN} values ($1, $2)", [(n, TOKEN) for n in range(2000)])
    equal(tuple(await connection.fetchrow(f"select count(*), min(who), max(who) from m_{TOKEN}")), (2000, TOKEN, TOKEN))
    await connection.execute(f"create table nn_{TOKEN} (n int not null)")
    await fails("23502", connection.executemany(f"insert into nn_{TOKEN} values ($1)", [(1,), (None,)]))
    equal(await connection.fetchval(f"select count(*) from nn_{TOKEN}"), 0)


@asynchronous
async def cursors(connection):
    async with connection.transaction():
        total = 0
        async for row in connection.cursor("select n, $1::text as who from generate_series(1, 1000) n", TOKEN, prefetch=70):
            equal(row["who"], TOKEN)
            total += row["n"]
        equal(total, 500500)
        cur = await connection.cursor("select n from generate_series(1, 100) n")
        await cur.forward(10)
        equal([row[0] for row in await cur.fetch(3)], [11, 12, 13])


@asynchronous
async def copy(connection):
    await connection.execute(f"create table c_{TOKEN} (n int, who text)")
    told = await connection.copy_records_to_table(f"c_{TOKEN}", records=[(n, TOKEN) for n in range(3000)])
    out = io.BytesIO()
    await connection.copy_from_query(f"select who from c_{TOKEN} where n < $1", 2000, output=out)
    equal(out.getvalue(), f"{TOKEN}\n".encode() * 2000)
    await fails("22P02", connection.copy_to_table(f"c_{TOKEN}", source=io.BytesIO(b"x\ty\n")))
    equal(await connection.fetchval(f"select count(*) from c_{TOKEN}"), 3000)
    return told


@asynchronous
async def listen_notify(connection):
    got = asyncio.Queue()
    await connection.add_listener(f"channel_{TOKEN}", lambda *a: got.put_nowait(a[3]))
    other = await asyncpg.connect()
    for n in range(3):
        await other.execute("select pg_notify($1, $2)", f"channel_{TOKEN}", f"{TOKEN}/{n}")
    await other.close()
    equal([await asyncio.wait_for(got.get(), 2) for _ in range(3)], [f"{TOKEN}/{n}" for n in range(3)])


@asynchronous
async def cancel(connection):
    """A timeout of the client makes asyncpg send a CancelRequest."""
    for _ in range(2):
        started = time.monotonic()
        try:
            await connection.fetch("select pg_sleep(30)", timeout=0.3)
            raise AssertionError("not cancelled")
        except asyncio.TimeoutError:
            pass
        assert time.monotonic() - started < 15
        equal(await connection.fetchval("select $1::text", TOKEN), TOKEN)


@asynchronous
async def pool(_):
    """release() resets with pg_advisory_unlock_all, CLOSE ALL, UNLISTEN, RESET ALL in one query."""
    async with asyncpg.create_pool(min_size=2, max_size=4) as connections:

        async def work(n):
            async with connections.acquire() as connection:
                await connection.execute(f"set timezone = 'Etc/GMT+{ME}'")
                async with connection.transaction():
                    return tuple(await connection.fetchrow("select $1::text, $2::int", TOKEN, n))

        equal(await asyncio.gather(*(work(n) for n in range(40))), [(TOKEN, n) for n in range(40)])
        async with connections.acquire() as connection:
            equal(await connection.fetchval("select current_setting('timezone') like 'Etc/GMT+%'"), False)


@asynchronous
async def server_settings(_):
    connection = await asyncpg.connect(server_settings={"application_name": f"app {TOKEN}", "timezone": f"Etc/GMT+{ME}", "work_mem": f"1{ME}MB", "jit": "off"})
    for _ in range(5):
        got = await connection.fetchrow("select current_setting('application_name'), current_setting('timezone'), current_setting('work_mem'), current_setting('jit')")
        equal(tuple(got), (f"app {TOKEN}", f"Etc/GMT+{ME}", f"1{ME}MB", "off"))
    equal(connection.get_settings().TimeZone, f"Etc/GMT+{ME}")
    await connection.close()


@asynchronous
async def settings_follow(connection):
    await connection.execute(f"set timezone = 'Etc/GMT+{ME}'")
    equal(connection.get_settings().TimeZone, f"Etc/GMT+{ME}")
    for _ in range(4):
        equal(await connection.fetchval("show timezone"), f"Etc/GMT+{ME}")
    await connection.reset()
    equal(connection.get_settings().TimeZone, await connection.fetchval("show timezone"))


@asynchronous
async def types(connection):
    when = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    got = await connection.fetchrow("select $1::timestamptz, $2::numeric, $3::interval, $4::jsonb, $5::text[]", when, ME, datetime.timedelta(hours=ME), f'"{TOKEN}"', [TOKEN, None])
    equal(tuple(got), (when, ME, datetime.timedelta(hours=ME), f'"{TOKEN}"', [TOKEN, None]))


@asynchronous
async def notices(connection):
    notes = []
    connection.add_log_listener(lambda _, note: notes.append(note.message))
    for _ in range(3):
        await connection.execute(f"do $$ begin raise notice 'for {TOKEN}'; end $$")
    await asyncio.sleep(0)
    equal(notes, [f"for {TOKEN}"] * 3)


@asynchronous
async def big_rows(connection):
    for size in (1, 70_000, 2_000_000):
        text = (TOKEN * size)[:size]
        equal(await connection.fetchval("select $1::text", text), text)


main(asyncpg.__version__, connect, close, do, rows)
