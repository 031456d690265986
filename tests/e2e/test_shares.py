"""What tenants get of a Postgres for which they want more than there is: by weight, by floor, up to the ceiling.

Transactions sleep, so that servers are scarce and the machine is not.
"""

import subprocess
import threading
import time
import unittest

from harness import TRUST, PgweirCase, pg_program, wait_until
from harness.machine import as_system_user, write

USERS = {"app": "s3cret", "admin": "adm1n"}


class Shares(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared", "own_0", "own_1", "own_2")

    def weir(self, tenants, servers, **tier):
        tier = {"pool_size": 1, "max_server_connections": servers, "max_clients": 200, "queue_timeout": "60s", **tier}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {"main": {"max_server_connections": servers}},
                "tiers": {"bench": tier},
                "tenants": {name: {"tier": "bench", "backend": "main", **row} for name, row in tenants.items()},
            },
            USERS,
        )

    def saturate(self, weir, tenant, clients, work_ms):
        """Clients that always ask for the next transaction, until the test ends."""
        script = write(weir.dir / f"{tenant}.sql", f"select pg_sleep({work_ms / 1000});\n")
        command = [pg_program("pgbench"), "-n", "-h", weir.host, "-p", weir.port, "-U", "app", "-f", script]
        load = subprocess.Popen(
            as_system_user([*command, "-c", clients, "-T", "60", tenant]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def end():
            load.kill()
            load.wait()

        self.addCleanup(end)

    def usage(self, weir, tenants, column):
        columns, rows = weir.console("SHOW USAGE")
        place = columns.index(column)
        found = {row[0]: float(row[place]) for row in rows}
        return [found.get(tenant, 0.0) for tenant in tenants]

    def measure(self, databases, servers, seconds):
        """Shares of server time of three tenants whose weights are 1, 2 and 4."""
        names = [f"t{i}" for i in range(3)]
        weir = self.weir({name: {"database": databases[i], "weight": 2**i} for i, name in enumerate(names)}, servers)
        for name in names:
            self.saturate(weir, name, 2 * servers, 25)
        wait_until(lambda: all(each > 1 for each in self.usage(weir, names, "wait_seconds")), seconds=30, what="queues")
        time.sleep(2)
        begun, before = time.monotonic(), self.usage(weir, names, "busy_seconds")
        time.sleep(seconds)
        took, after = time.monotonic() - begun, self.usage(weir, names, "busy_seconds")
        used = [b - a for a, b in zip(before, after)]
        self.assertLess(sum(used), 1.02 * servers * took)
        return [each / sum(used) for each in used]

    def test_tenants_of_one_database_share_by_weight(self):
        shares = self.measure(["shared"] * 3, 14, 6)
        self.assert_fair(shares)

    def test_databases_of_their_own_share_by_weight(self):
        shares = self.measure(["own_0", "own_1", "own_2"], 14, 8)
        self.assert_fair(shares)

    def assert_fair(self, shares):
        off = [share / (2**i / 7) - 1 for i, share in enumerate(shares)]
        print("off their fair shares by " + ", ".join(f"{100 * each:+.1f} %" for each in off))
        self.assertLess(max(map(abs, off)), 0.05)

    def test_alone_a_tenant_has_all_up_to_its_ceiling(self):
        weir = self.weir({name: {"database": name} for name in ("own_0", "own_1")}, 12, max_server_connections=9)
        weir.connect("own_1", "app").close()  # another one that has been here
        self.saturate(weir, "own_0", 30, 50)
        busy = "select count(*) from pg_stat_activity where datname = 'own_0' and backend_type = 'client backend'"
        seen = set()
        wait_until(lambda: self.postgres.sql(busy)[0][0] == 9, seconds=20, what="nine servers")
        for _ in range(20):
            seen.add(self.postgres.sql(busy)[0][0])
            time.sleep(0.05)
        self.assertEqual(seen, {9})
        self.assertEqual(self.usage(weir, ["own_0"], "peak_servers"), [9])

    def test_users_of_one_tenant_share_its_floor_and_its_ceiling(self):
        self.postgres.create_user("second", "s3cret")
        weir = self.weir(
            {"own_0": {"database": "own_0"}, "own_1": {"database": "own_1"}},
            4,
            max_server_connections=3,
            queue_timeout="20s",
        )
        servers = "select count(*) from pg_stat_activity where datname = 'own_0' and backend_type = 'client backend'"

        def begin(tenant, user, count):
            clients = [weir.connect(tenant, user, autocommit=True) for _ in range(count)]
            for client in clients:
                self.addCleanup(client.close)
                client.execute("begin")
            return clients

        def end(clients):
            for client in clients:
                client.execute("commit")

        mine = begin("own_0", "app", 3)
        end(mine)
        # Three idle servers of one user are all that the tenant may have: they give way to the other's.
        others = begin("own_0", "second", 2)
        wait_until(lambda: self.postgres.sql(servers)[0][0] == 3, what="three servers of both")
        end(others)
        # Above its floor of one are two of them, whoever's they are.
        others = begin("own_1", "app", 3)
        wait_until(lambda: self.postgres.sql(servers)[0][0] == 1, what="its floor")
        end(others)
        # One user has left, and its servers count still.
        for client in mine:
            client.close()
        end(begin("own_0", "second", 3))
        wait_until(lambda: self.postgres.sql(servers)[0][0] == 3, what="three servers of the other")

    def test_a_floor_is_reached_within_one_transaction(self):
        work = 0.4
        for late in ("own_1", "shared"):
            with self.subTest(late=late):
                weir = self.weir({"greedy": {"database": "shared", "weight": 8}, "late": {"database": late}}, 6, pool_size=2)
                self.saturate(weir, "greedy", 90, 1000 * work)  # in a queue this would be 5 s
                wait_until(lambda: self.usage(weir, ["greedy"], "wait_seconds")[0] > 5, seconds=20, what="a queue")
                took = []

                def ask():
                    begun = time.monotonic()
                    with weir.connect("late", "app") as client:
                        client.execute("select 1")
                        took.append(time.monotonic() - begun)

                clients = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
                for client in clients:
                    client.start()
                for client in clients:
                    client.join(30)
                print(f"served after {', '.join(f'{each:.2f}' for each in took)} s; a transaction takes {work} s")
                self.assertEqual(len(took), 2)
                self.assertLess(max(took), work + 1)


if __name__ == "__main__":
    unittest.main()
