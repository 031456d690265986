"""peewee over psycopg2: models, its pool, and the Postgres extension."""

import os

import peewee
from playhouse.pool import PooledPostgresqlDatabase
from playhouse.postgres_ext import ArrayField, BinaryJSONField, PostgresqlExtDatabase

from contract import ME, TOKEN, equal, fails, main, scenario

SCHEMA = f"peewee_{TOKEN}"  # peewee names indexes without asking
NAME = os.environ["PGDATABASE"]
database = PostgresqlExtDatabase(NAME, autoconnect=False)
pooled = PooledPostgresqlDatabase(NAME, max_connections=4, stale_timeout=60, autoconnect=False)


class Account(peewee.Model):
    name = peewee.CharField(unique=True)

    class Meta:
        database = database
        schema = SCHEMA


class Order(peewee.Model):
    account = peewee.ForeignKeyField(Account, backref="orders")
    amount = peewee.IntegerField()
    details = BinaryJSONField(null=True)
    labels = ArrayField(peewee.TextField, null=True)

    class Meta:
        database = database
        schema = SCHEMA


def connect():
    """A connection of its own, without the transactions that peewee puts around each statement."""
    one = PostgresqlExtDatabase(NAME, autoconnect=False, server_side_cursors=False)
    one.connect()
    one.connection().autocommit = True
    return one


def do(one, text):
    one.execute_sql(text)


def rows(one, text):
    return one.execute_sql(text).fetchall()


@scenario
def create_tables(_):
    with database.connection_context():
        database.execute_sql(f"create schema {SCHEMA}")
        database.create_tables([Account, Order])
        database.create_tables([Account, Order])
        equal(database.table_exists("order", schema=SCHEMA), True)
        equal(database.get_foreign_keys("order", SCHEMA)[0].dest_table, "account")


@scenario
def create_and_find(_):
    with database.connection_context():
        for n in range(10):
            with database.atomic():
                account = Account.create(name=f"{TOKEN}/{n}")
                for amount in range(5):
                    Order.create(account=account, amount=amount, details={"who": TOKEN, "n": n}, labels=[TOKEN])
        found = peewee.prefetch(Account.select().order_by(Account.id), Order.select())
        equal([(a.name, len(a.orders)) for a in found], [(f"{TOKEN}/{n}", 5) for n in range(10)])
        equal({label for order in Order.select() for label in order.labels}, {TOKEN})
        equal(Order.select().where(Order.details["who"] == TOKEN).count(), 50)
        equal(Order.select(peewee.fn.SUM(Order.amount)).scalar(), 100)


@scenario
def get_or_create(_):
    with database.connection_context():
        for _ in range(5):
            account, created = Account.get_or_create(name=f"{TOKEN}/3")
            equal((account.name, created), (f"{TOKEN}/3", False))


@scenario
def transactions(_):
    with database.connection_context():
        with database.atomic() as outer:
            Account.create(name=f"{TOKEN}/kept")

            def twice():
                with database.atomic():
                    Account.create(name=f"{TOKEN}/kept")

            fails("23505", twice)
            with database.atomic() as inner:
                Account.create(name=f"{TOKEN}/inner")
                inner.rollback()
            outer.commit()
            Account.create(name=f"{TOKEN}/gone")
            outer.rollback()
        equal(Account.select().where(Account.name.in_([f"{TOKEN}/kept", f"{TOKEN}/inner", f"{TOKEN}/gone"])).count(), 1)


@scenario
def insert_many_and_upsert(_):
    with database.connection_context():
        account = Account.get(Account.name == f"{TOKEN}/0")
        made = [{"account": account, "amount": n, "details": {"who": TOKEN}} for n in range(1000)]
        for batch in peewee.chunked(made, 150):
            Order.insert_many(batch).execute()
        equal(Order.select().where(Order.account == account).count(), 1005)
        changed = (
            Account.insert(name=f"{TOKEN}/0")
            .on_conflict(conflict_target=[Account.name], update={Account.name: f"{TOKEN}/zero"})
            .returning(Account.name)
            .execute()
        )
        equal([row.name for row in changed], [f"{TOKEN}/zero"])


@scenario
def server_side_cursor(_):
    """A cursor WITH HOLD outside a transaction."""
    from playhouse.postgres_ext import ServerSide

    with database.connection_context():
        query = Order.select(Order.amount, Order.details).order_by(Order.id).limit(1000)
        equal(sum(1 for order in ServerSide(query) if order.details["who"] == TOKEN), 1000)
        with database.atomic():
            equal(sum(1 for _ in ServerSide(query)), 1000)


@scenario
def isolation_level(_):
    one = PostgresqlExtDatabase(NAME, isolation_level=3, autoconnect=False)  # psycopg2's SERIALIZABLE
    one.connect()
    for _ in range(4):
        with one.atomic():
            equal(one.execute_sql("show transaction_isolation").fetchone(), ("serializable",))
    one.close()


@scenario
def pool(_):
    for n in range(10):
        with pooled.connection_context():
            equal(pooled.execute_sql("select %s, %s", (TOKEN, n)).fetchone(), (TOKEN, n))
    pooled.close_all()


@scenario
def search_path_option(_):
    one = PostgresqlExtDatabase(NAME, options=f"-c search_path=p_{TOKEN},public -c work_mem=1{ME}MB", autoconnect=False)
    one.connect()
    for _ in range(5):
        equal(one.execute_sql("show search_path").fetchone(), (f"p_{TOKEN},public",))
        equal(one.execute_sql("show work_mem").fetchone(), (f"1{ME}MB",))
    one.close()


main(f"{peewee.__version__} on psycopg2", connect, lambda one: one.close(), do, rows)
