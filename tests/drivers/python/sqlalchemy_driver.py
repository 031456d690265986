"""SQLAlchemy over psycopg2: core, ORM, its pool."""

import sqlalchemy as sa
from sqlalchemy import event, orm

from contract import ME, TOKEN, equal, fails, main, scenario

engine = sa.create_engine("postgresql+psycopg2://", pool_size=3, future=True)
autocommit = sa.create_engine("postgresql+psycopg2://", poolclass=sa.pool.NullPool, isolation_level="AUTOCOMMIT", future=True)
Base = orm.declarative_base()


class Account(Base):
    __tablename__ = f"account_{TOKEN}"
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.String, nullable=False, unique=True)
    orders = orm.relationship("Order", back_populates="account")


class Order(Base):
    __tablename__ = f"order_{TOKEN}"
    id = sa.Column(sa.Integer, primary_key=True)
    amount = sa.Column(sa.Integer)
    details = sa.Column(sa.JSON)
    account_id = sa.Column(sa.ForeignKey(Account.id))
    account = orm.relationship(Account, back_populates="orders")


def connect():
    return autocommit.connect()


def do(connection, text):
    connection.exec_driver_sql(text)


def rows(connection, text):
    return connection.exec_driver_sql(text).fetchall()


@scenario
def create_all(_):
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    equal(sa.inspect(engine).get_foreign_keys(f"order_{TOKEN}")[0]["referred_table"], f"account_{TOKEN}")


@scenario
def unit_of_work(_):
    for n in range(10):
        with orm.Session(engine) as session, session.begin():
            account = Account(name=f"{TOKEN}/{n}")
            account.orders = [Order(amount=k, details={"who": TOKEN}) for k in range(5)]
            session.add(account)
    with orm.Session(engine) as session:
        loaded = session.scalars(sa.select(Account).options(orm.selectinload(Account.orders)).order_by(Account.id)).all()
        equal([a.name for a in loaded], [f"{TOKEN}/{n}" for n in range(10)])
        equal({order.details["who"] for a in loaded for order in a.orders}, {TOKEN})
        equal(session.scalar(sa.select(sa.func.sum(Order.amount))), 100)


@scenario
def update_and_delete(_):
    with orm.Session(engine) as session:
        account = session.scalars(sa.select(Account).where(Account.name == f"{TOKEN}/3").with_for_update()).one()
        account.name = f"{TOKEN}/three"
        session.commit()
        equal(session.get(Account, account.id).name, f"{TOKEN}/three")
        session.rollback()
        session.execute(sa.delete(Order).where(Order.account_id == account.id))
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).select_from(Order)), 45)


@scenario
def errors_and_savepoints(_):
    with orm.Session(engine) as session:
        session.add(Account(name=f"{TOKEN}/kept"))
        session.flush()

        def twice():
            with session.begin_nested():
                session.add(Account(name=f"{TOKEN}/0"))
                session.flush()

        fails("23505", twice)
        session.commit()
        equal(session.scalar(sa.select(sa.func.count()).where(Account.name == f"{TOKEN}/kept")), 1)


@scenario
def rollback(_):
    with orm.Session(engine) as session:
        session.add(Account(name=f"{TOKEN}/gone"))
        session.flush()
        session.rollback()
        equal(session.scalar(sa.select(sa.func.count()).where(Account.name == f"{TOKEN}/gone")), 0)


@scenario
def bulk_insert(_):
    with engine.begin() as connection:
        connection.execute(sa.insert(Order), [{"amount": n, "details": {"who": TOKEN}} for n in range(1000)])
    with engine.connect() as connection:
        equal(connection.scalar(sa.select(sa.func.count()).select_from(Order)), 1045)


@scenario
def returning_and_upsert(_):
    from sqlalchemy.dialects.postgresql import insert

    statement = insert(Account).values(name=f"{TOKEN}/0")
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"name": f"{TOKEN}/zero"}).returning(Account.name)
    with engine.begin() as connection:
        equal(connection.execute(statement).scalar(), f"{TOKEN}/zero")


@scenario
def stream_results(_):
    with engine.connect() as connection:
        result = connection.execution_options(stream_results=True, max_row_buffer=50).execute(
            sa.text("select n, :who from generate_series(1, 1000) n"), {"who": TOKEN}
        )
        equal(sum(n for n, who in result if who == TOKEN), 500500)


@scenario
def isolation_levels(_):
    for level in ("SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"):
        with engine.connect().execution_options(isolation_level=level) as connection:
            equal(connection.scalar(sa.text("show transaction_isolation")).upper(), level)


@scenario
def pool_pre_ping(_):
    other = sa.create_engine("postgresql+psycopg2://", pool_pre_ping=True, pool_size=1, future=True)
    for n in range(10):
        with other.connect() as connection:
            equal(connection.execute(sa.text("select :who, :n"), {"who": TOKEN, "n": n}).one(), (TOKEN, n))
    other.dispose()


@scenario
def set_on_connect(_):
    """Usual: an event handler that sets something once per connection of the pool."""
    other = sa.create_engine("postgresql+psycopg2://", pool_size=1, future=True)

    @event.listens_for(other, "connect")
    def on_connect(connection, _):
        with connection.cursor() as cursor:
            cursor.execute(f"set timezone = 'Etc/GMT+{ME}'; set work_mem = '1{ME}MB'; set search_path = s{TOKEN}, public")
        connection.commit()

    for n in range(5):
        with other.connect() as connection:
            equal(connection.scalar(sa.text("show timezone")), f"Etc/GMT+{ME}")
            equal(connection.scalar(sa.text("show work_mem")), f"1{ME}MB")
            equal(connection.scalar(sa.text("show search_path")), f"s{TOKEN}, public")
    other.dispose()


@scenario
def reflection(_):
    metadata = sa.MetaData()
    table = sa.Table(f"order_{TOKEN}", metadata, autoload_with=engine)
    equal([column.name for column in table.columns], ["id", "amount", "details", "account_id"])


main(f"{sa.__version__} on psycopg2", connect, lambda c: c.close(), do, rows)
