"""Which server is lent, and until when one is kept."""

import datetime
import json
import time
import unittest

from harness import TRUST, PgweirCase, Wire, wait_until

SERVERS = 4


class Pools(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def weir(self, size=SERVERS, **server):
        tier = {"pool_size": size, "max_server_connections": size, "server_idle_timeout": "never"}
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"test": tier},
                "tenants": {"app": {"tier": "test", "backend": "main", "database": "app"}},
                "server": server,
            },
            {"app": "s3cret"},
        )

    def client(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app")

    def pid(self, client):
        return int(client.value("select pg_backend_pid()"))

    def lent(self, clients):
        """The servers that they hold from now on, each by a transaction."""
        for client in clients:
            client.query("begin")
        return [self.pid(client) for client in clients]

    def give_back(self, clients):
        for client in clients:
            client.query("commit")

    def order(self, weir):
        """Servers in the order in which they were given back, and in which they are lent then."""
        clients = [self.client(weir) for _ in range(SERVERS)]
        given_back = self.lent(clients)
        self.assertEqual(len(set(given_back)), SERVERS)
        self.give_back(clients)
        lent = self.lent(clients)
        self.give_back(clients)
        return given_back, lent

    def test_the_last_one_given_back_is_lent_first(self):
        weir = self.weir()
        given_back, lent = self.order(weir)
        self.assertEqual(lent, given_back[::-1])
        # So one client that works alone leaves the others idle.
        client = self.client(weir)
        self.assertEqual({self.pid(client) for _ in range(20)}, {lent[-1]})

    def test_rotation_lends_the_first_one(self):
        given_back, lent = self.order(self.weir(rotation=True))
        self.assertEqual(lent, given_back)

    def test_a_server_in_use_is_closed_when_it_comes_back(self):
        weir = self.weir(lifetime="1s")
        client = self.client(weir)
        (pid,) = self.lent([client])
        time.sleep(1.5)
        self.assertEqual(self.pid(client), pid)
        self.give_back([client])
        weir.has_logged("server.lifetime, or made before a reload", 1)
        wait_until(lambda: not self.is_there(pid), what="its end")
        self.assertNotEqual(self.pid(client), pid)

    def is_there(self, pid):
        return self.postgres.sql(f"select count(*) from pg_stat_activity where pid = {pid}")[0][0] == 1

    def moments(self, weir, event):
        """When it was logged of each server."""
        found = {}
        for line in weir.log().splitlines():
            if f'"message":"{event}"' in line:
                fields = json.loads(line)
                found[fields["pgweir"]["server"]] = datetime.datetime.fromisoformat(
                    fields["@timestamp"].replace("Z", "+00:00")
                ).timestamp()
        return found

    def test_servers_that_were_opened_together_are_not_closed_together(self):
        """Each has lost some of the last tenth of its time: all of them back at once would be a storm of logins."""
        count, lifetime = 16, 5
        weir = self.weir(count, lifetime=f"{lifetime}s")
        clients = [self.client(weir) for _ in range(count)]
        self.lent(clients)
        self.give_back(clients)
        wait_until(lambda: len(self.moments(weir, "server closed")) == count, what="the end of all")
        opened, closed = (self.moments(weir, event) for event in ("server connected", "server closed"))
        ages = [closed[server] - opened[server] for server in opened]
        self.assertEqual(len(ages), count)
        self.assertGreater(min(ages), 0.7 * lifetime)
        # Of sixteen even chances in half a second hardly one in a billion lies so close together.
        self.assertGreater(max(ages) - min(ages), 0.1)


if __name__ == "__main__":
    unittest.main()
