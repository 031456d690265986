"""Forty clients over six servers that take turns, each with whatever a session can hold; nobody sees another's.

Half of the time they have ceilings, under which their texts are read and judged.
Each client says the same to pgweir and to a Postgres session of its own, and both must answer the same, byte for
byte; nothing that it reads may hold another client's token. See isolation/__init__.py.

PGWEIR_ISOLATION_SECONDS (60) and PGWEIR_ISOLATION_SEED (21; with ceilings the number of the UTC day, which a
violation prints) say how long and what, _CLIENTS (40) how many,
_HISTORY (30) how many messages a violation shows, _KEEP_GOING (0) how many violations do not end the run, _KNOWN
which known bugs to run into all the same (isolation/crowd.py). By hand:

    PGWEIR_BINARY=... /usr/bin/python3 test_isolation.py --seconds 600 --seed 7
    /usr/bin/python3 test_isolation.py --ceilings         # as the shipped tiers have them
    /usr/bin/python3 test_isolation.py --direct           # Postgres against Postgres: are the expectations right?
"""

import argparse
import asyncio
import os
import sys
import time
import unittest

import psycopg

from harness import TRUST, PgweirCase, wait_until
from harness.pgweir import LOFTY, LOFTY_TIMES
from isolation.crowd import KNOWN, Crowd, prepare, prepare_users

CLIENTS = int(os.environ.get("PGWEIR_ISOLATION_CLIENTS") or 40)
SERVERS = 6
SECONDS = float(os.environ.get("PGWEIR_ISOLATION_SECONDS") or 60)
SEED = os.environ.get("PGWEIR_ISOLATION_SEED") or "21"
SEED_OF_THE_DAY = os.environ.get("PGWEIR_ISOLATION_SEED") or str(int(time.time() // 86400))
KEEP_GOING = int(os.environ.get("PGWEIR_ISOLATION_KEEP_GOING") or 0)  # violations after which it goes on
DIRECT_SHARE = 0.1  # of the seconds
POOLED_SHARE = 0.4  # and as much with ceilings; the rest goes into looking at what is left
CEILINGS = "pgweir with ceilings"

# What a server must not have when nobody uses it. Its own process number first.
LEFT = """
select pg_backend_pid(),
  (select string_agg(name || '=' || setting, ', ' order by name) from pg_settings
   where source = 'session' and setting is distinct from reset_val),
  nullif(current_setting('app.token', true), ''), nullif(current_setting('app.other', true), ''),
  nullif(current_setting('app.third', true), ''), current_user::text,
  (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()),
  (select count(*) from pg_cursors where is_holdable),
  (select string_agg(name, ',') from pg_prepared_statements where name not like 'pgweir%'),
  (select string_agg(c, ',') from pg_listening_channels() c),
  (select string_agg(relname, ',') from pg_class where relnamespace = pg_my_temp_schema())
"""


class Isolation(PgweirCase):
    postgres_options = {"hba": TRUST, "settings": {"max_connections": "250", "autovacuum": "off", **LOFTY_TIMES}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        prepare_users(cls.postgres)
        for database in ("pooled", "twin"):
            prepare(cls.postgres, database, CLIENTS)

    def crowd(self, seconds, port, what):
        known = os.environ.get("PGWEIR_ISOLATION_KNOWN", "").split(",")
        without = set() if "all" in known or what == "Postgres" else set(KNOWN) - set(known)
        seed = SEED
        if what == CEILINGS:
            without.add("beyond_ceilings")
            seed = SEED_OF_THE_DAY

        async def run():
            crowd = Crowd(
                seed=seed,
                seconds=seconds,
                clients=CLIENTS,
                port=port,
                database="pooled",
                twin_port=self.postgres.port,
                twin_database="twin",
                without=without,
                keep_going=KEEP_GOING,
            )
            await crowd.run()
            return crowd

        begun = time.monotonic()
        crowd = asyncio.run(run())
        took = time.monotonic() - begun
        print(f"{what}: seed {seed}, {took:.0f} s, {crowd.answers} messages checked", file=sys.stderr)
        for report in crowd.reports:
            print(report, file=sys.stderr)
        self.assertEqual(len(crowd.reports), 0, crowd.reports[:1] and crowd.reports[0].split("\n  last")[0])

    def test_1_direct(self):
        """Postgres against itself: nothing that the test expects is its own invention."""
        self.crowd(max(3, SECONDS * DIRECT_SHARE), self.postgres.port, "Postgres")

    def test_2_pooled(self):
        self.pooled("pgweir", {})

    def test_3_ceilings(self):
        self.pooled(CEILINGS, LOFTY)

    def pooled(self, what, ceilings):
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "client": {"query_wait_timeout": "60s"},
                "server": {"rotation": True},
                "tiers": {
                    "crowd": {
                        "pool_size": SERVERS,
                        "max_server_connections": SERVERS,
                        "max_pinned_clients": CLIENTS * 4,
                        "min_server_connections": SERVERS,
                        "max_clients": CLIENTS * 4,
                        **ceilings,
                    }
                },
                "tenants": {"pooled": {"tier": "crowd", "backend": "main", "database": "pooled"}},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        self.crowd(SECONDS * POOLED_SHARE, weir.port, what)
        self.assertTrue(weir.alive)
        self.nothing_is_left(weir)

    def nothing_is_left(self, weir):
        with self.postgres.connect("pooled", "app") as fresh:
            expected = fresh.execute(LEFT).fetchone()[1:]
        seen = {}
        with weir.connect("pooled", "app", prepare_threshold=None, application_name="") as client:
            end = time.monotonic() + 30
            while len(seen) < SERVERS and time.monotonic() < end:
                pid, *left = client.execute(LEFT).fetchone()
                seen[pid] = tuple(left)
            for _ in range(2 * SERVERS):
                with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
                    client.execute("select lastval()")
        self.assertEqual(len(seen), SERVERS, "not all servers came back to the pool")
        for left in seen.values():
            self.assertEqual(left, expected)
        wait_until(lambda: not self.in_use(weir), seconds=30, what="a pool that nobody uses")

    def in_use(self, weir):
        columns, rows = weir.console("show pools")
        pools = [row for row in (dict(zip(columns, row)) for row in rows) if row["database"] == "pooled"]
        return [row for row in pools if row["cl_active"] or row["cl_waiting"] or row["sv_active"]]


def main():
    global SEED, SEED_OF_THE_DAY, SECONDS
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--direct", action="store_true", help="Postgres against itself")
    arguments.add_argument("--ceilings", action="store_true", help="in a tier with ceilings")
    arguments.add_argument("--seconds", type=float, default=SECONDS)
    arguments.add_argument("--seed", default=None)
    given = arguments.parse_args()
    share = DIRECT_SHARE if given.direct else POOLED_SHARE
    if given.seed:
        SEED = SEED_OF_THE_DAY = given.seed
    SECONDS = given.seconds / share
    name = "test_1_direct" if given.direct else "test_3_ceilings" if given.ceilings else "test_2_pooled"
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite([Isolation(name)]))
    sys.exit(not result.wasSuccessful())


if __name__ == "__main__":
    main()
