"""Django over psycopg2: migrations, ORM, iterator() (a cursor WITH HOLD outside of a transaction)."""

import os

import django
from django.conf import settings

from contract import ME, TOKEN, equal, fails, main, scenario

DATABASE = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": os.environ["PGDATABASE"],
    "USER": os.environ["PGUSER"],
    "PASSWORD": os.environ["PGPASSWORD"],
    "HOST": os.environ["PGHOST"],
    "PORT": os.environ["PGPORT"],
    "CONN_MAX_AGE": None,
}
settings.configure(
    DATABASES={"default": DATABASE, "session": dict(DATABASE), "session2": dict(DATABASE)},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    USE_TZ=True,
    TIME_ZONE="Europe/Rome",
    SECRET_KEY=TOKEN,
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import IntegrityError, connection, connections, models, transaction  # noqa: E402


class Account(models.Model):
    name = models.CharField(max_length=50, unique=True)
    created = models.DateTimeField(auto_now_add=True)
    data = models.JSONField(default=dict)

    class Meta:
        app_label = "auth"
        db_table = f"account_{TOKEN}"


class Order(models.Model):
    account = models.ForeignKey(Account, on_delete=models.CASCADE)
    amount = models.IntegerField()

    class Meta:
        app_label = "auth"
        db_table = f"order_{TOKEN}"


free = ["session", "session2"]


def connect():
    one = connections[free.pop()]
    one.ensure_connection()
    return one


def close(one):
    one.close()
    free.append(one.alias)


def do(one, text):
    with one.cursor() as cursor:
        cursor.execute(text)


def rows(one, text):
    with one.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall()


@scenario
def migrate(_):
    """All clients share the database: one migrates Django's own applications."""
    if ME == 1:
        call_command("migrate", verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(Account)
        editor.create_model(Order)
    with connection.schema_editor() as editor:
        field = models.CharField(max_length=20, default=TOKEN)
        field.set_attributes_from_name("note")
        editor.add_field(Order, field)
        editor.remove_field(Order, field)
    assert f"account_{TOKEN}" in connection.introspection.table_names()


@scenario
def create_and_query(_):
    for n in range(20):
        account = Account.objects.create(name=f"{TOKEN}/{n}", data={"who": TOKEN, "n": n})
        Order.objects.bulk_create([Order(account=account, amount=k) for k in range(10)])
    equal(Account.objects.filter(data__who=TOKEN).count(), 20)
    equal(Order.objects.filter(account__name=f"{TOKEN}/7").aggregate(total=models.Sum("amount"))["total"], 45)
    equal({a.name.split("/")[0] for a in Account.objects.prefetch_related("order_set")}, {TOKEN})
    account, created = Account.objects.get_or_create(name=f"{TOKEN}/3")
    equal((account.data["n"], created), (3, False))
    Account.objects.filter(name=f"{TOKEN}/3").update(data={"who": TOKEN, "n": 33})
    account.refresh_from_db()
    equal(account.data["n"], 33)


@scenario
def atomic(_):
    for n in range(5):
        with transaction.atomic():
            Account.objects.create(name=f"{TOKEN}/outer {n}")
            try:
                with transaction.atomic():
                    Account.objects.create(name=f"{TOKEN}/0")
                raise AssertionError("no IntegrityError")
            except IntegrityError:
                pass
    try:
        with transaction.atomic():
            Account.objects.create(name=f"{TOKEN}/gone")
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    equal(Account.objects.filter(name__startswith=f"{TOKEN}/outer").count(), 5)
    equal(Account.objects.filter(name=f"{TOKEN}/gone").exists(), False)


@scenario
def select_for_update(_):
    with transaction.atomic():
        account = Account.objects.select_for_update().get(name=f"{TOKEN}/1")
        account.data = {"who": TOKEN, "n": 11}
        account.save()
    equal(Account.objects.get(name=f"{TOKEN}/1").data["n"], 11)


@scenario
def iterator(_):
    """Several pieces, and other queries in between; outside of a transaction."""
    total = 0
    for order in Order.objects.order_by("id").iterator(chunk_size=30):
        total += order.amount
        if order.amount == 5:
            assert Account.objects.get(id=order.account_id).name.startswith(TOKEN)
    equal(total, 900)


@scenario
def iterator_in_a_transaction(_):
    with transaction.atomic():
        equal(sum(order.amount for order in Order.objects.order_by("id").iterator(chunk_size=30)), 900)


@scenario
def iterator_without_server_cursors(_):
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = True
    equal(sum(order.amount for order in Order.objects.order_by("id").iterator(chunk_size=30)), 900)
    connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False


@scenario
def time_zone(one):
    """Django sets the session's zone once per connection."""
    with one.cursor() as cursor:
        for _ in range(5):
            cursor.execute("select current_setting('timezone')")
            equal(cursor.fetchone()[0], "UTC")


@scenario
def users_and_sessions(_):
    """What the application `auth` and `sessions` do, in tables that all clients share."""
    import time

    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.db.utils import ProgrammingError

    for _ in range(100):
        try:
            User.objects.exists()
            SessionStore().exists("none")
            break
        except ProgrammingError:
            time.sleep(0.1)
    user = User.objects.create(username=TOKEN, email=f"{TOKEN}@example.org")
    equal(User.objects.get(username=TOKEN).pk, user.pk)
    store = SessionStore()
    store["who"] = TOKEN
    store.save()
    for _ in range(5):
        equal(SessionStore(session_key=store.session_key)["who"], TOKEN)


@scenario
def raw_sql(_):
    with connection.cursor() as cursor:
        cursor.execute("select %s, %s", [TOKEN, ME])
        equal(cursor.fetchone(), (TOKEN, ME))
    got = Account.objects.raw(f"select * from account_{TOKEN} where name = %s", [f"{TOKEN}/2"])
    equal([a.name for a in got], [f"{TOKEN}/2"])


@scenario
def error_state(_):
    fails("42P01", rows, connection, "select * from nowhere")
    equal(rows(connection, f"select '{TOKEN}'"), [(TOKEN,)])


main(f"{django.get_version()} on psycopg2", connect, close, do, rows)
