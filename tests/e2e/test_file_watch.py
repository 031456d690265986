"""The configuration file is read again when it changes, however it is replaced; what is wrong with it changes nothing."""

import json
import os
import time

from harness import TRUST, PgweirCase, Wire, wait_until
from harness.machine import own, write

CHANGED = '"message":"configuration file has changed"'
RELOADED = '"message":"configuration reloaded"'
FAILED = '"message":"reload failed, the old configuration stays"'


class FileWatch(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("shared",)

    def weir(self, *, start=True, **config):
        return self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"small": {"pool_size": 1, "max_server_connections": 1, "max_clients": 5, "statement_timeout": "20s"}},
                "tenants": {"acme": {"tier": "small", "database": "shared"}},
                **config,
            },
            {"app": "s3cret", "admin": "adm1n"},
            start=start,
        )

    def text(self, weir, **tier):
        """The file with these values of the tier."""
        weir.config["tiers"]["small"].update(tier)
        return json.dumps(weir.config, indent=2) + "\n"

    def limit(self, weir, name):
        return {row[0]: row[1] for row in weir.console("SHOW LIMIT acme")[1]}[name]

    def wait_for(self, weir, name, value):
        wait_until(lambda: self.limit(weir, name) == value, what=f"{name} {value} in force")

    def count(self, weir, event):
        return weir.log().count(event)

    def test_written_in_place(self):
        weir = self.weir()
        wire = Wire(weir.port)
        self.addCleanup(wire.close)
        wire.login("app", "acme")
        self.assertEqual(wire.value("show statement_timeout"), "20s")
        begun = time.monotonic()
        write(weir.config_path, self.text(weir, max_server_connections=3, pool_size=2, statement_timeout="7s"))
        self.wait_for(weir, "max_server_connections", "3")
        print(f"the file held after {time.monotonic() - begun:.2f} s")
        self.assertEqual(self.limit(weir, "pool_size"), "2")
        self.assertEqual(wire.value("show statement_timeout"), "7s")  # also for who is connected
        self.assertEqual((self.count(weir, CHANGED), self.count(weir, FAILED)), (1, 0))

    def test_renamed_over(self):
        weir = self.weir()
        for clients in (11, 12):
            new = write(weir.dir / ".pgweir.yaml.swp", self.text(weir, max_clients=clients))
            os.replace(new, weir.config_path)
            self.wait_for(weir, "max_clients", str(clients))

    def test_gone_for_a_moment(self):
        """As by editors that move the old file away first. A file that is empty counts as gone."""
        weir = self.weir()
        os.rename(weir.config_path, weir.dir / "pgweir.yaml~")
        time.sleep(1.5)
        write(weir.config_path, "")
        time.sleep(1.5)
        write(weir.config_path, self.text(weir, max_clients=13))
        self.wait_for(weir, "max_clients", "13")
        self.assertEqual((self.count(weir, CHANGED), self.count(weir, FAILED)), (1, 0))

    def test_gone_for_good(self):
        weir = self.weir()
        time.sleep(1.5)  # it has been looked at
        os.unlink(weir.config_path)
        weir.has_logged('"message":"configuration file is gone or empty"', times=1)
        self.assertEqual(self.limit(weir, "max_clients"), "5")
        write(weir.config_path, self.text(weir, max_clients=14))
        self.wait_for(weir, "max_clients", "14")

    def test_a_link_that_is_turned(self):
        """As by Kubernetes, which mounts a ConfigMap so: pgweir.yaml -> ..data/pgweir.yaml, ..data -> ..1."""
        weir = self.weir(start=False)

        def version(number, text):
            folder = weir.dir / f"..{number}"
            folder.mkdir()
            own(folder, 0o755)
            write(folder / "pgweir.yaml", text)
            os.symlink(f"..{number}", weir.dir / "..data_tmp")
            os.replace(weir.dir / "..data_tmp", weir.dir / "..data")

        version(1, self.text(weir))
        link = weir.dir / "link.yaml"
        os.symlink("..data/pgweir.yaml", link)
        weir.start(["--config", link])
        self.assertEqual(self.limit(weir, "max_clients"), "5")
        version(2, self.text(weir, max_clients=14))
        self.wait_for(weir, "max_clients", "14")
        version(3, self.text(weir))  # another key of the map: this file says what it said
        time.sleep(2.5)
        self.assertEqual((self.count(weir, CHANGED), self.count(weir, FAILED)), (1, 0))

    def test_written_by_and_by(self):
        """A writer that stands still for a while may be read, which then is refused whole; what it ends with holds."""
        weir = self.weir()
        text = self.text(weir, max_clients=15)
        with open(weir.config_path, "w") as file:
            for begin in range(0, len(text), 40):
                file.write(text[begin : begin + 40])
                file.flush()
                time.sleep(0.05)
        self.wait_for(weir, "max_clients", "15")

    def test_a_bad_file_is_told_once_and_changes_nothing(self):
        weir = self.weir()
        good = self.text(weir, max_clients=16)
        write(weir.config_path, good.replace('"max_clients": 16', '"max_clients": 0'))
        wait_until(lambda: FAILED in weir.log(), what="the mistake in the log")
        line = 1 + good.splitlines().index('      "max_clients": 16,')
        weir.has_logged(f"{weir.config_path}:{line}:22: tiers.small.max_clients: ")
        self.assertEqual(self.limit(weir, "max_clients"), "5")
        time.sleep(2.5)
        os.utime(weir.config_path)  # no other text
        time.sleep(2.5)
        self.assertEqual((self.count(weir, FAILED), self.count(weir, RELOADED)), (1, 0))
        write(weir.config_path, good)
        self.wait_for(weir, "max_clients", "16")
        self.assertEqual((self.count(weir, FAILED), self.count(weir, RELOADED)), (1, 1))

    def test_what_an_order_has_read_is_not_read_again(self):
        """Else it would take back what the console has set since."""
        weir = self.weir()
        write(weir.config_path, self.text(weir, max_clients=17))
        weir.console("RELOAD; SET client.idle_timeout = 77s")
        self.assertEqual(self.limit(weir, "max_clients"), "17")
        time.sleep(2.5)
        self.assertEqual(self.count(weir, CHANGED), 0)
        settings = {row[0]: row[1] for row in weir.console("SHOW CONFIG")[1]}
        self.assertEqual(settings["client.idle_timeout"], "77s")

    def test_switched_off(self):
        weir = self.weir(process={"watch_file": False})
        write(weir.config_path, self.text(weir, max_clients=18))
        time.sleep(2.5)
        self.assertEqual(self.limit(weir, "max_clients"), "5")
        weir.console("RELOAD")
        self.assertEqual(self.limit(weir, "max_clients"), "18")
