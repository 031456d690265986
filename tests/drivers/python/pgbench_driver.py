"""pgbench in all three protocols; the sums of its tables must agree at the end."""

import re

from contract import ME, SCRATCH, TOKEN, equal, main, scenario
from programs import must, psql, version

# All clients share the database, so each has a script over a table of its own.
SCRIPT = f"""\\set id random(1, 100)
\\set delta random(-50, 50)
begin;
update bank_{TOKEN} set balance = balance + :delta where id = :id and who = '{TOKEN}';
select balance from bank_{TOKEN} where id = :id \\gset
insert into log_{TOKEN} values (:id, :delta);
end;
select sum(balance) from bank_{TOKEN};
"""


@scenario
def prepare_tables(_):
    psql(f"create table bank_{TOKEN} as select n as id, 0 as balance, '{TOKEN}'::text as who from generate_series(1, 100) n;"
         f"create table log_{TOKEN} (id int, delta int);")
    (SCRATCH / "script").write_text(SCRIPT)


def run(*words):
    """A run without failed transactions; pgbench complains on standard error otherwise."""
    told = must("pgbench", "-n", *words)
    equal(re.search(r"number of failed transactions: (\d+)", told).group(1), "0")
    equal(psql(f"select (select sum(balance) from bank_{TOKEN}) - (select coalesce(sum(delta), 0) from log_{TOKEN})").strip(), "0")
    return re.search(r"number of transactions actually processed: (\S+)", told).group(1)


for mode in ("simple", "extended", "prepared"):

    def own_script(_, mode=mode):
        return run("-M", mode, "-c", 4, "-j", 2, "-t", 60, "-f", SCRATCH / "script")

    def a_connection_each_time(_, mode=mode):
        return run("-M", mode, "-C", "-c", 2, "-t", 8, "-f", SCRATCH / "script")

    own_script.__name__ = f"script_{mode}"
    a_connection_each_time.__name__ = f"connects_each_time_{mode}"
    scenario(own_script)
    scenario(a_connection_each_time)


@scenario
def pipelines(_):
    (SCRATCH / "pipe").write_text(
        "\\startpipeline\nbegin;\n" + f"insert into log_{TOKEN} values (1, 0);\n" * 5 + "select :client_id;\ncommit;\n\\endpipeline\n"
    )
    return run("-M", "prepared", "-c", 3, "-t", 40, "-f", SCRATCH / "pipe")


@scenario
def initialize_and_tpcb(_):
    """The usual benchmark; its tables have fixed names, so one client alone runs it."""
    if ME == 1:
        must("pgbench", "-i", "-s", 1, "-q")
        for mode in ("simple", "extended", "prepared"):
            told = must("pgbench", "-n", "-M", mode, "-c", 4, "-t", 50)
            assert "200/200" in told, told
        equal(psql("select (select sum(abalance) from pgbench_accounts) - (select sum(delta) from pgbench_history)").strip(), "0")


psql("select 1")
main(version("pgbench"), lambda: None, lambda _: None, None, None, without="all")
