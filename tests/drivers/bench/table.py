"""The drivers: one row each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Driver:
    name: str
    command: tuple
    needs: tuple = ()  # steps of builds.STEPS with their arguments
    ci: bool = True
    timeout: int = 90  # seconds, for all clients of one phase


def python(name, **more):
    return Driver(name, ("/usr/bin/python3", "-B", f"{{here}}/python/{name.replace('-', '_')}_driver.py"), **more)


def node(name, *, needs=(("npm",),), **more):
    return Driver(name, ("node", f"{{here}}/node/{name}.js"), needs=needs, **more)


def go(name, **more):
    return Driver(name, (f"{{out}}/{name}",), needs=(("go", name),), **more)


DRIVERS = (
    python("psql"),
    python("pgbench"),
    python("pg_dump"),
    python("psycopg2"),
    python("psycopg3"),
    python("asyncpg"),
    python("sqlalchemy"),
    python("django"),
    python("peewee"),
    python("psqlodbc"),
    node("pg"),
    node("postgres"),
    node("knex"),
    node("kysely", ci=False),
    node("drizzle"),
    node("typeorm"),
    node("sequelize", ci=False),
    node("prisma", needs=(("prisma",),)),
    node("pg-boss"),
    node("graphile-worker"),
    go("lib_pq"),
    go("pgx"),
    Driver(
        "pgjdbc",
        ("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", "{jdbc}:{out}", "PgJdbc", "{here}/session.txt"),
        (("java", "PgJdbc"),),
    ),
    Driver("ruby-pg", ("/usr/bin/ruby", "{here}/ruby/pg.rb")),
    Driver("dbd_pg", ("/usr/bin/perl", "{here}/perl/dbd_pg.pl")),
    Driver("php", ("php", "{here}/php/pdo_and_pgsql.php")),
    Driver("libpq", ("{out}/libpq_pipeline",), (("cpp", "libpq_pipeline", "libpq_pipeline.cc", "-lpq"),)),
    Driver("libpqxx", ("{out}/libpqxx",), (("cpp", "libpqxx", "libpqxx.cc", "-lpqxx", "-lpq"),)),
    Driver("tokio_postgres", ("{out}/tokio_postgres", "{here}/session.txt"), (("rust", "tokio_postgres"),), ci=False),
    Driver("active_record", ("/usr/bin/ruby", "{here}/ruby/active_record.rb"), ci=False),
)
