"""pg_dump and pg_restore: what comes back is what was there, and the pool is not spoilt by their settings."""

from contract import SCRATCH, TOKEN, equal, main, scenario
from programs import call, must, psql, version

SCHEMA = f"s_{TOKEN}"
SUMS = f"select count(*), sum(id), min(who), max(who) from {SCHEMA}.t; select count(*) from {SCHEMA}.v; select {SCHEMA}.f(20)"


@scenario
def make_something_to_dump(_):
    psql(f"""create schema {SCHEMA};
create table {SCHEMA}.t (id serial primary key, who text not null, data jsonb, at timestamptz default now());
create index on {SCHEMA}.t (who);
create table {SCHEMA}.child (t int references {SCHEMA}.t, "Ünï cödé" text);
insert into {SCHEMA}.t (who, data) select '{TOKEN}', jsonb_build_object('n', n) from generate_series(1, 2000) n;
insert into {SCHEMA}.child select id, '€ {TOKEN}' from {SCHEMA}.t;
create view {SCHEMA}.v as select * from {SCHEMA}.t where id < 100;
create function {SCHEMA}.f(n int) returns int language sql as 'select n * 2';""")


def dumped(*words):
    return must("pg_dump", "-n", SCHEMA, *words)


def lines(text):
    """Without the comments and the key that each dump makes up. Sorted: rows that several servers insert one after
    another need not lie in that order."""
    return sorted(line.rstrip(",;") for line in text.splitlines() if line and not line.startswith(("--", "\\restrict", "\\unrestrict")))


def round_trip(restore):
    before, sums = lines(dumped()), psql(SUMS)
    psql(f"drop schema {SCHEMA} cascade")
    restore()
    equal(psql(SUMS), sums)
    after = lines(dumped())
    equal([pair for pair in zip(after, before) if pair[0] != pair[1]][:1], [])
    equal(len(after), len(before))


@scenario
def dump_is_qualified(_):
    """pg_dump empties search_path before its transaction, and writes down what it sees in it."""
    return next(line for line in lines(dumped()) if "search_path" in line)


@scenario
def plain(_):
    text = dumped()
    round_trip(lambda: psql(text))


@scenario
def inserts(_):
    text = dumped("--inserts", "--rows-per-insert=50", "--column-inserts")
    round_trip(lambda: psql(text))


@scenario
def custom_format(_):
    file = SCRATCH / "custom"
    dumped("-Fc", "-f", file)
    round_trip(lambda: must("pg_restore", "-d", "postgres://", file))


@scenario
def directory_format_with_jobs(_):
    """pg_dump -j takes its parallel connections to one snapshot; pg_restore -j has four connections."""
    directory = SCRATCH / "directory"
    dumped("-Fd", "-j", 3, "-f", directory)
    round_trip(lambda: must("pg_restore", "-j", 4, "-d", "postgres://", directory))


@scenario
def single_transaction(_):
    file = SCRATCH / "single"
    dumped("-Fc", "-f", file)
    round_trip(lambda: must("pg_restore", "--single-transaction", "-d", "postgres://", file))


@scenario
def after_a_dump_all_is_as_before(_):
    """pg_dump empties search_path, pg_restore sets more than ten other settings."""
    for _ in range(10):
        got = psql("show search_path; show row_security; show statement_timeout; show default_table_access_method; show check_function_bodies").split("\n")
        equal(got, ['"$user", public', "on", "20d", "heap", "on", ""])
        call("pg_dump", "-s", "-n", SCHEMA)


psql("select 1")
main(version("pg_dump"), lambda: None, lambda _: None, None, None, without="all")
