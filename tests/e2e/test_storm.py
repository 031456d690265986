"""After an outage all come back at once: everybody is served, and Postgres sees as many logins as it can bear."""

import re
import time
import unittest

from harness import PgweirCase, wait_until
from harness.fault_case import TRUST
from harness.storm import Storm, files_suffice

CLIENTS = 2_000
DATABASES = [f"tenant{number}" for number in range(5)]
SERVERS = 20  # of the backend, over all tenants
LOGINS_AT_ONCE = 4
# A connection that another tenant wants is given up after a run of 100 ms, so a slower machine sees more of them.
LOGINS_MOST = CLIENTS // 10
SERVED_SECONDS = 60
AWAY_SECONDS = 2
# Of each tenant's database: as often as retry_pause() lets it try while Postgres is away.
FAILED_MOST = 30 * len(DATABASES)
PROCESS = re.compile(r"\[(\d+)\]")
AUTHORIZED = "connection authorized: user=app"
STARTED = '"message":"server connected"'
FAILED = '"message":"server login failed"'


@unittest.skipUnless(files_suffice(CLIENTS), "needs a descriptor for each client")
class LoginStorm(PgweirCase):
    postgres_options = {"hba": TRUST, "settings": {"log_connections": "on"}}
    databases = DATABASES

    def storm(self, weir):
        storm = Storm(weir, CLIENTS, "app", DATABASES, SERVED_SECONDS)
        self.addCleanup(storm.close)
        return storm

    def weir(self):
        tier = {"pool_size": 4, "max_server_connections": 8, "max_clients": CLIENTS, "queue_timeout": "60s"}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {
                    "main": {"max_server_connections": SERVERS, "max_logins_at_once": LOGINS_AT_ONCE}
                },
                "tiers": {"test": tier},
                "pool": {"unknown_tenants": True, "default_tier": "test"},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    @staticmethod
    def most_at_once(log):
        """How many connections over TCP were about to log in at the same time, by Postgres's own account."""
        coming, most = set(), 0
        for line in log.splitlines():
            found = PROCESS.search(line)
            if not found:
                continue
            if "connection received: host=127.0.0.1" in line:
                coming.add(found[1])
                most = max(most, len(coming))
            elif "connection authorized" in line or "FATAL" in line:
                coming.discard(found[1])
        return most

    def check(self, storm, before):
        log = self.postgres.log()[before:]
        logins, most = log.count(AUTHORIZED), self.most_at_once(log)
        storm.served.sort()
        print(
            f"\n  {len(storm.served)} clients served, half within {storm.served[len(storm.served) // 2]:.1f} s,"
            f" all within {storm.served[-1]:.1f} s; Postgres saw {logins} logins, {most} at a time;"
            f" {storm.refused} connects to pgweir were refused",
            flush=True,
        )
        self.assertEqual(storm.errors[:5], [])
        self.assertEqual(len(storm.served), CLIENTS)
        self.assertLessEqual(most, LOGINS_AT_ONCE)
        # Whoever gives a connection up for another tenant does so after a short run, not for each client.
        self.assertLessEqual(logins, LOGINS_MOST)
        return logins

    def test_postgres_was_away(self):
        # pgweir has seen nobody yet, so that nobody can be welcomed from memory.
        weir = self.weir()
        self.postgres.stop()
        before = len(self.postgres.log())
        storm = self.storm(weir)
        wait_until(lambda: FAILED in weir.log(), what="a failed login")
        wait_until(lambda: self.waiting(weir) == CLIENTS, seconds=60, what="clients that wait")
        self.postgres.start()
        logins = self.check(storm.end(), before)
        weir.has_logged(STARTED, logins)
        self.assertLessEqual(weir.log().count(FAILED), FAILED_MOST)

    @staticmethod
    def waiting(weir):
        columns, rows = weir.console("SHOW POOLS")
        return sum(row[columns.index("cl_waiting")] for row in rows)

    def test_the_pooler_was_away(self):
        weir = self.weir()
        weir.stop()
        before = len(self.postgres.log())
        storm = self.storm(weir)
        time.sleep(AWAY_SECONDS)
        weir.start()
        self.check(storm.end(), before)
        # Most were there before it was.
        self.assertGreater(storm.refused, CLIENTS / 2)


if __name__ == "__main__":
    unittest.main()
