"""pgbench in all its modes, tens of thousands of transactions over four servers, and the books balance."""

import re

from harness import PgweirCase, pg_program, run
from harness.machine import write

SCALE = 4
TRANSACTIONS = 3_600  # in each mode, with and without rotation
POOL = {"pool_size": 4, "max_server_connections": 4, "max_clients": 100}


class Pgbench(PgweirCase):
    databases = ("bank",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {"app": "s3cret", "admin": "adm1n"}

    def bank(self, rotation):
        return self.pgweir(
            {
                "server": {"rotation": rotation},
                "tiers": {"bench": POOL},
                "tenants": {"bank": {"tier": "bench", "backend": "main", "database": "bank"}},
            },
            self.users,
        )

    def pgbench(self, weir, *arguments):
        command = [pg_program("pgbench"), "-h", weir.host, "-p", weir.port, "-U", "app", *arguments, "bank"]
        done = run(command, env={"PGPASSWORD": "s3cret"}, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr[-4000:])
        return done.stdout + done.stderr

    def transactions(self, weir, *arguments, clients, each):
        # One thread a client: pgbench prepares statements by blocking calls, and a thread that waits for a server
        # inside one would keep the servers that its other clients hold in open transactions.
        output = self.pgbench(weir, "-n", "-c", clients, "-j", clients, "-t", each, *arguments)
        self.assertIn(f"actually processed: {clients * each}/{clients * each}", output)
        self.assertRegex(output, r"failed transactions: 0 \(")
        self.assertNotRegex(output, re.compile("error|abort", re.I))

    def check_books(self, expected_history):
        sums = self.postgres.sql(
            "select (select sum(abalance) from pgbench_accounts), (select sum(tbalance) from pgbench_tellers),"
            " (select sum(bbalance) from pgbench_branches), (select sum(delta) from pgbench_history),"
            " (select count(*) from pgbench_history)",
            "bank",
        )[0]
        self.assertEqual(sums[4], expected_history)
        self.assertEqual(len(set(sums[:4])), 1, f"accounts, tellers, branches, history: {sums}")

    def servers_seen(self):
        return self.postgres.sql(
            "select count(*) from pg_stat_activity where datname = 'bank' and backend_type = 'client backend'"
        )[0][0]

    def run_all_modes(self, rotation):
        weir = self.bank(rotation)
        self.pgbench(weir, "-i", "-q", "-s", SCALE)
        done = 0
        for mode, clients in (("simple", 8), ("extended", 12), ("prepared", 20)):
            with self.subTest(mode=mode, rotation=rotation):
                each = TRANSACTIONS // clients
                self.transactions(weir, "-M", mode, clients=clients, each=each)
                self.assertLessEqual(self.servers_seen(), 4)
                done += clients * each
                self.check_books(done)

    def test_tpcb_like(self):
        self.run_all_modes(rotation=False)

    def test_tpcb_like_with_rotation(self):
        self.run_all_modes(rotation=True)

    def script(self, weir, text):
        return ("-f", write(weir.dir / "script.sql", text))

    def test_pipelines(self):
        weir = self.bank(rotation=True)
        script = self.script(
            weir,
            "\\set a random(1, 1000000)\n\\startpipeline\n"
            "select :a as one;\nselect :a + 1 as two;\nselect repeat('x', 3000) as three;\n\\endpipeline\n",
        )
        for mode in ("extended", "prepared"):
            with self.subTest(mode):
                self.transactions(weir, "-M", mode, *script, clients=10, each=300)

    def test_a_connection_for_each_transaction(self):
        weir = self.bank(rotation=False)
        script = self.script(weir, "select 1;\n")
        self.transactions(weir, "-C", *script, clients=8, each=40)

    def test_many_clients_wait_their_turn(self):
        weir = self.bank(rotation=False)
        script = self.script(weir, "begin;\nselect pg_sleep(0.002);\ncommit;\n")
        self.transactions(weir, "-M", "extended", *script, clients=60, each=20)
