"""The audit stream of a running pgweir: every event that it promises, with who, from where and how it ended."""

import base64
import json
import os
import unittest
import urllib.error
import urllib.request
from contextlib import suppress

import psycopg

from harness import PgweirCase, Wire, machine, wait_until
from harness.wire import VERSION_3_0, special

TIERS = {
    "small": {"pool_size": 1, "max_clients": 2, "statement_timeout": "500ms", "inspection": "standard"},
    "large": {"pool_size": 4, "max_clients": 9, "statement_timeout": "500ms", "inspection": "standard"},
}
SCHEMA = """
create function nap() returns trigger language plpgsql as $$ begin perform pg_sleep(8); return null; end $$;
create table slow (i int);
create constraint trigger nap after insert on slow deferrable initially deferred for each row
  execute function nap();
alter table slow owner to app;
"""


class Audit(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.postgres.connect("app") as owner:
            owner.execute(SCHEMA)

    def weir(self, target=None, http=None, unknown_tenants=False, **audit):
        weir = self.pgweir(
            {
                "tiers": TIERS,
                "tenants": {"app": {"tier": "large"}},
                "audit": {"target": target, **audit},
                "console": {"stats": ["reader"]},
                "pool": {"unknown_tenants": unknown_tenants},
                "http": http or {"port": 0},
            },
            users={"app": "s3cret", "admin": "adm1n", "reader": "re4der"},
            start=False,
        )
        weir.audit_path = weir.dir / "audit.json"
        if target is None:
            weir.config["audit"]["target"] = str(weir.audit_path)
        return weir.start()

    def lines(self, path, action=None):
        """Only whole lines: the last one may be on its way."""
        text = path.read_text() if path.exists() else ""
        all_lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in all_lines if action in (None, line["event.action"])]

    def waited(self, weir, action, count=1):
        wait_until(
            lambda: len(self.lines(weir.audit_path, action)) >= count, seconds=5, what=f"{count} {action}"
        )
        return self.lines(weir.audit_path, action)

    def test_logins(self):
        weir = self.weir()
        with weir.connect("app", "app") as client:
            client.execute("select 'never-in-the-audit'")
        with self.assertRaises(psycopg.OperationalError):
            weir.connect("app", "app", password="wrong-hunter2")
        with self.assertRaises(psycopg.OperationalError):
            weir.connect("nowhere", "app")
        with self.assertRaises(psycopg.OperationalError):
            weir.connect("pgweir", "app")
        with weir.connect("app", "app", host=weir.socket_dir):
            pass
        first, unix = self.waited(weir, "login", 2)
        self.assertEqual(
            [first[key] for key in ("event.category", "event.outcome", "user.name", "source.ip", "pgweir.tenant")],
            [["authentication"], "success", "app", "127.0.0.1", "app"],
        )
        self.assertEqual((first["pgweir.tier"], first["event.dataset"]), ("large", "pgweir.audit"))
        self.assertGreater(first["source.port"], 0)
        self.assertEqual((unix["source.address"], "source.ip" in unix), ("unix", False))
        refused = self.waited(weir, "login_refused", 3)
        self.assertEqual([line["error.code"] for line in refused], ["28P01", "3D000", "42501"])
        self.assertEqual({line["event.outcome"] for line in refused}, {"failure"})
        self.assertEqual(refused[0]["event.reason"], 'password authentication failed for user "app"')
        text = weir.audit_path.read_text()
        for secret in ("s3cret", "hunter2", "never-in-the-audit"):
            self.assertNotIn(secret, text)
        self.assertEqual(weir.audit_path.stat().st_mode & 0o777, 0o640)

    def test_logins_that_postgres_refuses(self):
        """Behind a good password, and yet no login: what Postgres says of the database, the settings, the role."""
        weir = self.weir(unknown_tenants=True)
        cases = (
            ("nodb_here", {}, "3D000", 'database "nodb_here" does not exist'),
            ("app", {"options": "-c role=nobody_here"}, "22023", 'role "nobody_here" does not exist'),
            ("app", {"options": "-c timezone=nowhere"}, "22023", 'invalid value for parameter "TimeZone"'),
        )
        for database, options, _, message in cases:
            with self.subTest(message), self.assertRaisesRegex(psycopg.OperationalError, message):
                weir.connect(database, "app", **options)
        refused = self.waited(weir, "login_refused", len(cases))
        self.assertEqual([line["pgweir.database"] for line in refused], [case[0] for case in cases])
        self.assertEqual([line["error.code"] for line in refused], [case[2] for case in cases])
        for line, case in zip(refused, cases):
            self.assertIn(case[3].replace("nobody_here", "***"), line["event.reason"])  # no value that was asked for
            self.assertEqual((line["user.name"], line["source.ip"]), ("app", "127.0.0.1"))
        self.assertIn('"***"', refused[2]["event.reason"])
        for value in ("nobody_here", "nowhere"):
            self.assertNotIn(value, weir.audit_path.read_text() + weir.log())
        with weir.connect("app", "app", options="-c work_mem=1MB"):
            pass
        self.assertEqual([line["event.outcome"] for line in self.waited(weir, "login")], ["success"])

    def test_a_client_that_leaves_before_it_is_let_in(self):
        weir = self.weir()
        weir.console("PAUSE app")
        with self.assertRaises(psycopg.OperationalError):  # Postgres is to try this setting first
            weir.connect("app", "app", options="-c work_mem=1MB", connect_timeout=2)
        left = [line for line in self.waited(weir, "login", 2) if line["pgweir.database"] == "app"]
        self.assertEqual([(line["event.outcome"], line["event.reason"]) for line in left], [("unknown", "client gone")])

    def test_console_tenants_and_tiers(self):
        weir = self.weir()
        client = weir.connect("app", "app")
        self.addCleanup(client.close)
        weir.console("SET TIER app small")
        weir.console("SET TIER app large")
        with self.assertRaises(psycopg.Error):
            weir.console("SHOW NONSENSE")
        with weir.connect("pgweir", "reader") as reader, self.assertRaises(psycopg.Error):
            reader.execute("PAUSE")
        weir.console("SUSPEND_TENANT app 'invoice of bob@example.com'")
        with self.assertRaises(psycopg.OperationalError):
            weir.connect("app", "app")
        weir.console("RESUME_TENANT app")
        weir.connect("app", "app").close()
        commands = self.waited(weir, "console_command", 6)
        told = [(c["user.name"], c["pgweir.command"], c["event.outcome"], c.get("error.code")) for c in commands]
        self.assertIn(("admin", "SET TIER", "success", None), told)
        self.assertIn(("admin", "(unread)", "failure", "42601"), told)
        self.assertIn(("reader", "PAUSE", "failure", "42501"), told)
        self.assertEqual({c["source.ip"] for c in commands}, {"127.0.0.1"})
        down, up = self.waited(weir, "tier_downgrade")[0], self.waited(weir, "tier_upgrade")[0]
        self.assertEqual((down["pgweir.tier_before"], down["pgweir.tier"]), ("large", "small"))
        self.assertEqual((up["pgweir.tier_before"], up["pgweir.tier"]), ("small", "large"))
        self.assertEqual(self.waited(weir, "tenant_suspended")[0]["event.reason"], "invoice of ***@example.com")
        self.assertEqual(self.waited(weir, "tenant_resumed")[0]["pgweir.tenant"], "app")
        self.assertEqual(self.waited(weir, "login_refused")[0]["error.code"], "28000")

    def test_rows_that_change(self):
        """Those of the configuration, by a reload and by commands, whether anybody is connected or not."""
        weir = self.weir()
        weir.config["tenants"]["app"] = {"tier": "small", "max_clients": 1, "user": "app", "password": "hunter2"}
        weir.config["tenants"]["new"] = {"tier": "large"}
        weir.config["tiers"] = {**TIERS, "large": {**TIERS["large"], "max_clients": 8}}
        weir.write_files()
        weir.console("RELOAD")
        weir.console("SET OVERRIDE new max_clients 3")
        tenants = self.waited(weir, "tenant_changed", 3)
        self.assertEqual(
            [(line["pgweir.tenant"], line["pgweir.changed"]) for line in tenants],
            [
                ("app", "max_clients from none to '1', password, tier from 'large' to 'small', user from none to 'app'"),
                ("new", "new: backend 'main', tier 'large'"),
                ("new", "max_clients from none to '3'"),
            ],
        )
        (tier,) = self.waited(weir, "tier_changed")
        self.assertEqual((tier["pgweir.tier"], tier["pgweir.changed"]), ("large", "max_clients from '9' to '8'"))
        self.assertEqual((tier["event.category"], tier["event.outcome"]), (["configuration"], "success"))
        self.assertNotIn("hunter2", weir.audit_path.read_text())

    def test_ceilings_and_clocks(self):
        weir = self.weir()
        with weir.connect("app", "app") as client:
            client.execute("set statement_timeout = '1h'")
            with self.assertRaises(psycopg.Error):
                client.execute("select set_config('statement_timeout', %s, false)", ("1h",))
        with weir.connect("app", "app") as client:
            with self.assertRaises(psycopg.Error):
                client.execute("insert into slow values (1)")
        lowered = self.waited(weir, "ceiling_lowered")[0]
        self.assertEqual(
            (lowered["pgweir.parameter"], lowered["pgweir.tenant"], lowered["pgweir.times"]),
            ("statement_timeout", "app", 1),
        )
        self.assertEqual(self.waited(weir, "ceiling_refused")[0]["event.outcome"], "failure")
        clock = self.waited(weir, "ceiling_clock")[0]
        self.assertEqual((clock["user.name"], clock["pgweir.parameter"]), ("app", "statement_timeout"))
        self.assertGreaterEqual(clock["pgweir.ran_ms"], 500)

    def test_a_wrong_password_over_http(self):
        port = machine.free_port()
        weir = self.weir(http={"port": port, "addresses": ["127.0.0.1"], "allow": []})
        shown = base64.b64encode(b"admin:wrong-hunter2").decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1/tiers", headers={"Authorization": f"Basic {shown}"}
        )
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=10)
        caught.exception.close()
        self.assertEqual(caught.exception.code, 401)
        refused = self.waited(weir, "http_login_refused")[0]
        self.assertEqual((refused["user.name"], refused["event.outcome"]), ("admin", "failure"))
        self.assertEqual(refused["source.ip"], "127.0.0.1")
        self.assertGreater(refused["source.port"], 0)
        # A token, where there is none; who shows nothing has tried nothing.
        for headers in ({}, {"Authorization": "Bearer wrong-hunter2"}):
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(request.full_url, headers=headers), timeout=10)
        token = self.waited(weir, "http_login_refused", 2)[1]
        self.assertEqual((token["event.reason"], token["source.ip"]), ("wrong token", "127.0.0.1"))
        self.assertNotIn("user.name", token)
        weir.stop()
        self.assertEqual(len(self.lines(weir.audit_path, "http_login_refused")), 2)
        self.assertNotIn("hunter2", weir.audit_path.read_text() + weir.log())

    def test_a_flood_is_cut_in_the_log_and_whole_in_the_audit_stream(self):
        weir = self.weir()
        times = 300
        for _ in range(times):
            with Wire(weir.port) as wire:  # without a user, and so without a name
                wire.send(special(VERSION_3_0, b"\0"))
                wire.until_closed()
        for user, command in (("reader", "PAUSE"), ("admin", "ENABLE app")):
            with weir.connect("pgweir", user, cursor_factory=psycopg.ClientCursor) as console:
                for _ in range(times):
                    with suppress(psycopg.errors.InsufficientPrivilege):
                        console.execute(command)
        self.waited(weir, "console_command", 2 * times)
        self.assertEqual(len(self.lines(weir.audit_path, "login_refused")), times)
        weir.stop()
        refused = [line["pgweir"] for line in self.lines(weir.log_path, "login refused")]
        commands = [line["pgweir"] for line in self.lines(weir.log_path, "console_command")]
        ordered = [told for told in commands if told.get("role") == "admin"]
        self.assertEqual(len(ordered), times)
        for cut in (refused, [told for told in commands if told not in ordered]):
            repeated = [told["repeated"] for told in cut if "repeated" in told]
            self.assertGreater(sum(repeated), 0)
            self.assertEqual(len(cut) - len(repeated) + sum(repeated), times)

    def test_rotation_and_sighup(self):
        weir = self.weir(file_size="64kB", files=2)
        with weir.connect("pgweir", "admin") as console:
            for _ in range(600):
                console.execute("SHOW VERSION")
        wait_until(lambda: (weir.dir / "audit.2.json").exists(), seconds=5, what="two files put aside")
        self.assertFalse((weir.dir / "audit.3.json").exists())
        self.assertLessEqual((weir.dir / "audit.1.json").stat().st_size, 64 << 10)
        moved = weir.dir / "moved"
        os.rename(weir.audit_path, moved)
        weir.reload()
        wait_until(weir.audit_path.exists, seconds=5, what="the file opened anew")
        before = len(self.lines(moved))
        weir.console("SHOW STATE")
        self.waited(weir, "console_command")
        self.assertEqual(len(self.lines(moved)), before)

    def test_stdout_keeps_both_streams_apart_by_their_dataset(self):
        weir = self.weir("stdout")
        weir.connect("app", "app").close()
        wait_until(lambda: '"event.action":"login"' in weir.log(), seconds=5, what="the login on stdout")
        line = next(line for line in weir.log().splitlines() if '"event.action":"login"' in line)
        self.assertEqual(json.loads(line)["event.dataset"], "pgweir.audit")

    def test_a_target_that_cannot_be_opened_ends_the_start(self):
        weir = self.pgweir({"audit": {"target": "/proc/none/audit.json"}}, users={}, start=False)
        weir.start(wait=False)
        self.assertNotEqual(weir.wait_end(), 0)
        weir.has_logged("audit.target")


if __name__ == "__main__":
    unittest.main()
