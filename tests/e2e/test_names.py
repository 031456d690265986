"""Names of backends as a platform's private network has them: late, with an IPv6 address alone, and moving."""

import shutil
import subprocess
import threading
import time
import unittest

from harness import PgweirCase, Wire, run, wait_until
from harness.machine import has_ipv6, runs_as_root, scratch, write

TRUST = """\
local all all trust
host all all 127.0.0.1/32 trust
host all all ::1/128 trust
"""
NAME = "postgres.railway.internal"
UNKNOWN_SECONDS = 1.5
RACED_SECONDS = 4  # server.silence_max, when a connect that is not answered is given up, is 5
# In a mount namespace of its own names are what a file of the test says.
OWN_NAMES = 'mount --bind "$1" /etc/hosts && mount --bind "$2" /etc/nsswitch.conf && shift 2 && exec "$@"'


def may_have_own_names():
    return runs_as_root() and run(["unshare", "--mount", "true"]).returncode == 0


def may_drop_packets():
    """Whether this user may have the kernel drop packets of IPv6."""
    tables = shutil.which("ip6tables")
    return bool(tables) and run([tables, "-w", "-n", "-L", "INPUT"]).returncode == 0


@unittest.skipUnless(has_ipv6() and may_have_own_names(), "needs IPv6, and root for names of its own")
class Names(PgweirCase):
    postgres_options = {"hba": TRUST, "settings": {"listen_addresses": "127.0.0.1, ::1"}}
    databases = ("app",)

    def weir(self, *addresses):
        folder = scratch("names")
        self.hosts = write(folder / "hosts", "")
        order = write(folder / "nsswitch.conf", "hosts: files\n")
        self.name_is(*addresses)
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "backends": {"main": {"host": NAME, "port": self.postgres.port}},
                "tenants": {"app": {"tier": "pro", "backend": "main"}},
            },
            {"app": "s3cret", "admin": "adm1n"},
            start=False,
        )
        weir.within = ["unshare", "--mount", "/bin/sh", "-c", OWN_NAMES, "names", self.hosts, order]
        return weir.start()

    def name_is(self, *addresses):
        self.hosts.write_text("".join(f"{address} {NAME}\n" for address in addresses))

    def client(self, weir):
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", "app")

    @staticmethod
    def address(client):
        return client.value("select host(inet_server_addr())")

    def test_a_name_that_comes_late_and_has_no_ipv4(self):
        weir = self.weir()
        answers = []
        asking = threading.Thread(target=lambda: answers.append(self.address(self.client(weir))), daemon=True)
        asking.start()
        wait_until(lambda: f"{NAME}:{self.postgres.port}: the name does not resolve" in weir.log(), what="no name")
        time.sleep(UNKNOWN_SECONDS)
        self.assertEqual(answers, [])
        self.name_is("::1")
        begun = time.monotonic()
        asking.join(20)
        self.assertEqual(answers, ["::1"])
        print(f"\n  answered {time.monotonic() - begun:.2f} s after the name was there", flush=True)

    def test_each_connection_asks_anew(self):
        weir = self.weir("::1")
        client = self.client(weir)
        self.assertEqual(self.address(client), "::1")
        self.name_is("127.0.0.1")
        self.assertEqual(self.address(client), "::1")  # it is connected
        weir.console("RECONNECT")
        self.assertEqual(self.address(client), "127.0.0.1")

    @unittest.skipUnless(may_drop_packets(), "needs ip6tables, and the right to use it")
    def test_a_family_that_is_silent_is_not_waited_for(self):
        rule = ["INPUT", "-p", "tcp", "-d", "::1", "--dport", str(self.postgres.port), "-j", "DROP"]
        subprocess.run(["ip6tables", "-w", "-I", *rule], check=True)
        self.addCleanup(run, ["ip6tables", "-w", "-D", *rule])
        weir = self.weir("::1", "127.0.0.1")
        begun = time.monotonic()
        self.assertEqual(self.address(self.client(weir)), "127.0.0.1")
        waited = time.monotonic() - begun
        print(f"\n  connected within {waited:.2f} s", flush=True)
        self.assertLess(waited, RACED_SECONDS)


if __name__ == "__main__":
    unittest.main()
