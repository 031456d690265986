"""Bad input to the console: clear errors, the connection goes on, and a tenant's client notices nothing."""

import json
import random
import re
import string
import threading
import time
import unittest

import psycopg

from harness import PgweirCase, Wire, machine, wait_until
from harness.wire import bind, execute, first_error, kinds, message, parse, query, sync

TENANT = "o'brien\"; drop table t; --"  # one that is really called so
# None of them is a tenant, a database, a backend or a tier.
STRANGE_NAMES = (
    "'; drop table pgweir.tenants; --",
    "\" or \"\"=\"",
    "app' or '1'='1",
    "app; SHUTDOWN",
    "app\"; SHUTDOWN; --",
    "app\nSHUTDOWN",
    "app/*",
    "%",
    "*",
    "_pp",
    "../../etc/passwd",
    "$(reboot)",
    "`reboot`",
    "{} {0} {tenant} %s %n",
    "\r\nFLUSHALL\r\n",
    "\x01\x7f\x1b[2J",
    "ünïcödé 🐘",
    "APP",
    " app",
    "a" * 10_000,
)
WRONG = (
    "KILL_CLIENT -1",
    "KILL_CLIENT 99999999999999999999",
    "KILL_CLIENT 0x1",
    "KILL_CLIENT 1.5",
    "KILL_CLIENT 1; KILL_CLIENT x",
    "MOVE app TO main 0",
    "MOVE app TO main 1e9",
    "MOVE app TO main",  # it is there
    "SHOW",
    "SHOW TENANTS LIMIT -1",
    "SHOW TENANTS LIMIT 4294967296",
    "SHOW TENANTS LIKE",
    "SHOW TENANTS AFTER",
    "SHOW CLIENTS user state",
    "SHOW CLIENTS no_such_column",
    "SHOW CLIENTS user,",
    "PAUSE app, other",
    "SET client.max = -1",
    "SET client.max = 1e3",
    "SET client.max = ''",
    "SET no.such.key = 1",
    "SET listen.port = 1",
    "SET log.level = loud",
    'SET "" = 1',
    "select * from pg_class",
    "SHOW POOLS; select 1; drop table t",
    "\\d",
    'PAUSE "app',
    "PAUSE 'app",
    "/* PAUSE",
    "RELOAD;;x",
)
REFUSED = {
    "42601",  # not understood
    "42703",  # no such column
    "3D000",  # no such database or tenant
    "42704",  # no such backend or tier
    "22023",  # no such client or setting
}
STALL_MOST_S = 5  # of the healthy client; it takes milliseconds where nothing stands still
QUERY_MOST = 64 << 10  # bytes of a query of the console


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


class BadInput(PgweirCase):
    """A healthy client of a tenant works all the time, beside whatever the tests say to the console."""

    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.audit = machine.scratch("audit") / "audit.json"
        cls.weir = cls.class_pgweir(
            {
                "audit": {"target": str(cls.audit)},
                "auth": {"method": "trust"},
                "console": {"admins": ["admin"], "stats": ["reader"]},
                "pool": {"unknown_tenants": False},
                "tenants": {"app": {"tier": "pro"}, TENANT: {"tier": "free", "database": "app"}},
            },
            {"app": "s3cret", "admin": "adm1n", "reader": "re4der"},
        )

    def setUp(self):
        self._stop = threading.Event()
        self._failure = None
        self._answers = 0
        self._slowest = 0.0
        self._healthy = threading.Thread(target=self._work)
        self._healthy.start()
        self.addCleanup(self._check_healthy)
        wait_until(lambda: self._answers or self._failure, what="the healthy client's first answer")

    def _work(self):
        try:
            with self.weir.connect("app", "app") as client:
                while not self._stop.is_set():
                    begun = time.monotonic()
                    self._answers += 1
                    row = client.execute("select %s::int", (self._answers,)).fetchone()
                    assert row == (self._answers,), row
                    self._slowest = max(self._slowest, time.monotonic() - begun)
                    time.sleep(0.005)
        except Exception as error:  # reported by the main thread
            self._failure = error

    def _check_healthy(self):
        before = self._answers
        wait_until(lambda: self._answers > before or self._failure, what="another answer of the healthy client")
        self._stop.set()
        self._healthy.join(30)
        self.assertFalse(self._healthy.is_alive(), "the healthy client hangs")
        self.assertIsNone(self._failure)
        self.assertLess(self._slowest, STALL_MOST_S)

    def console(self, user="admin"):
        wire = Wire(self.weir.port)
        self.addCleanup(wire.close)
        return wire.login(user, "pgweir")

    def commands(self, user):
        """What HELP tells this user: {"PAUSE": "[database]"}, and other usages in the same way."""
        with self.weir.connect("pgweir", user, cursor_factory=psycopg.ClientCursor) as console:
            told = []
            console.add_notice_handler(lambda notice: told.append(notice.message_primary))
            console.execute("SHOW HELP")
        usages = {}
        for line in "".join(told).splitlines()[1:]:
            usage = re.split(r"  +", line)[0]
            words = re.match(r"[A-Z_]+(?: [A-Z_]+)*", usage)[0]
            usages[words] = usage[len(words) :].strip()
        self.assertIn("SHOW POOLS", usages)
        del usages["SHOW"]  # "SHOW ... column": of any of them
        return usages

    def examples(self, words, usage):
        """The command as it should be called, with and without what may be left out."""
        if usage == "key = value":
            return [f"{words} log.level = debug", f"{words} client.max TO 1"]
        values = {"database": "app", "backend": "main", "id": "1", "tenant": "app", "tier": "free", "reason": "'late'",
                  "seconds": "1", "field": "weight", "value": "2"}

        def fill(text):
            for name, value in values.items():
                text = re.sub(rf"'?\b{name}\b'?", value, text)
            return f"{words} {text}".strip()

        return sorted({fill(re.sub(r" ?\[.*\]", "", usage)), fill(usage.replace("[", "").replace("]", ""))})

    def refused(self, wire, text, codes):
        """The error, which must be the only answer; the connection goes on."""
        answer = wire.query(text)
        error = first_error(answer)
        self.assertIsNotNone(error, f"{text[:200]!r} was answered by {kinds(answer)}")
        self.assertIn(error["C"], codes, f"{text[:200]!r}: {error}")
        self.assertEqual((error["S"], kinds(answer)), ("ERROR", "EZ"))
        self.assertGreater(len(error["M"]), 10)
        self.assertLess(len(error["M"]), 400)
        return error

    def state(self):
        """What orders would change."""
        looks = ("STATE", "CONFIG", "DATABASES name, pool_size, paused, disabled", "TENANTS tenant, tier, backend",
                 "BREAKERS backend, state, mode")
        return {look: self.weir.console(f"SHOW {look}")[1] for look in looks}

    def denied_commands(self):
        """What the audit stream tells of the reader's commands that were refused for want of a right."""
        whole = [line for line in self.audit.read_text().splitlines(keepends=True) if line.endswith("\n")]
        lines = [json.loads(line) for line in whole]
        return {line["pgweir.command"] for line in lines
                if line["event.action"] == "console_command" and line.get("error.code") == "42501"
                and line["user.name"] == "reader"}

    def test_stats_may_give_no_order(self):
        mine, theirs = self.commands("reader"), self.commands("admin")
        self.assertLess(set(mine), set(theirs))
        self.assertEqual([words for words in mine if not words.startswith("SHOW")], [])
        orders = {words: usage for words, usage in theirs.items() if words not in mine}
        self.assertLessEqual({"PAUSE", "KILL", "KILL_CLIENT", "SHUTDOWN", "SET", "MOVE", "RELOAD"}, set(orders))
        before = self.state()
        wire = self.console("reader")
        tried = [text for words, usage in orders.items() for text in self.examples(words, usage)]
        for text in tried:
            with self.subTest(text):
                self.refused(wire, text, {"42501"})
                self.refused(wire, f" {text.lower()} ;", {"42501"})
                wire.send(parse(text), bind(), execute(), sync())
                answer = wire.until_ready()
                self.assertEqual((kinds(answer), first_error(answer)["C"]), ("12EZ", "42501"))
        self.assertEqual(self.state(), before)
        wanted = {"SET key = value" if words == "SET" else words for words in orders}
        wait_until(lambda: wanted <= self.denied_commands(), what=f"{wanted} in the audit stream")

    def test_names_are_names(self):
        """Whatever stands in them, nothing is done to anybody else."""
        before = self.state()
        wire = self.console()
        named = {words: usage for words, usage in self.commands("admin").items()
                 if re.search(r"\b(database|tenant|backend|tier)\b", usage)}
        self.assertLessEqual({"PAUSE", "MOVE", "SET TIER", "SET OVERRIDE", "SHOW LIMIT", "BREAKER OPEN", "SUSPEND_TENANT"}, set(named))
        for words, usage in named.items():
            for name in STRANGE_NAMES:
                with self.subTest(words, name=name[:40]):
                    texts = {
                        "MOVE": [f"{words} {quoted(name)} TO main", f"{words} app TO {quoted(name)}"],
                        "SET TIER": [f"{words} {quoted(name)} pro", f"{words} app {quoted(name)}"],
                        "SET OVERRIDE": [f"{words} {quoted(name)} weight 2", f"{words} app {quoted(name)} 2",
                                         f"{words} app weight {quoted(name)}"],
                        "RESET OVERRIDE": [f"{words} {quoted(name)} weight", f"{words} app {quoted(name)}"],
                    }.get(words, [f"{words} {quoted(name)}"])
                    for text in texts:
                        self.refused(wire, text, REFUSED)
                        wire.send(parse(text), bind(), execute(), sync())
                        self.assertIn(first_error(wire.until_ready())["C"], REFUSED)
                    # Without quotes it is more than a name, or one that nobody has.
                    if not re.fullmatch(r"\s*app\s*", re.split(r"--|/\*", name)[0]) and "SHUTDOWN" not in name:
                        self.refused(wire, f"{words} {name}", REFUSED)
        for name in (b"app\0", b"a\0pp", b"\0", b"\"app\0\""):
            for words in named:
                with self.subTest(words, name=name), Wire(self.weir.port) as cut:
                    cut.login("admin", "pgweir")
                    cut.send(message(b"Q", f"{words} ".encode() + name + b"\0"))
                    error = first_error(cut.until_closed())
                    self.assertEqual((error["S"], error["C"]), ("FATAL", "08P01"))
        for name in (b"\xff\xfe", b"\xc3(", b"\xed\xa0\x80"):
            for words in named:
                with self.subTest(words, name=name):
                    wire.send(message(b"Q", f"{words} ".encode() + name + b"\0"))
                    self.assertIn(first_error(wire.until_ready())["C"], REFUSED)
        self.assertEqual(self.state(), before)

    def test_a_tenant_with_such_a_name(self):
        """What is ordered for it happens to it alone."""
        wire = self.console()
        paused = "SHOW DATABASES name, paused, disabled"
        for order, undo, column in (("PAUSE", "RESUME", 1), ("DISABLE", "ENABLE", 2)):
            self.assertEqual(kinds(wire.query(f"{order} {quoted(TENANT)}")), "CZ")
            rows = {row[0]: row[column] for row in self.weir.console(paused)[1]}
            self.assertEqual(rows, {"app": 0, TENANT: 1})
            self.assertEqual(kinds(wire.query(f"{undo} {quoted(TENANT)}")), "CZ")
        self.assertEqual(kinds(wire.query(f"SET TIER {quoted(TENANT)} starter")), "NCZ")
        tiers = dict(self.weir.console("SHOW TENANTS tenant, tier")[1])
        self.assertEqual(tiers, {"app": "pro", TENANT: "starter"})
        self.assertEqual(kinds(wire.query(f"SUSPEND_TENANT {quoted(TENANT)} 'it''s \"late\"; --'")), "NCZ")
        rows = {row[0]: row[1:] for row in self.weir.console(f"SHOW LIMIT {quoted(TENANT)}")[1]}
        self.assertEqual(rows["state"], ("suspended", "", "it's \"late\"; --"))
        self.assertEqual(kinds(wire.query(f"RESUME_TENANT {quoted(TENANT)}; SET TIER {quoted(TENANT)} free")), "NCNCZ")

    def test_wrong_arguments(self):
        before = self.state()
        wire = self.console()
        commands = self.commands("admin")
        for words, usage in commands.items():
            wrong = [f"{words} 'a string'", f"{words} ,", f"{words} ()", f"{words} = ="]
            wrong += [f"{text} and much more" for text in self.examples(words, usage)]
            if usage and not usage.startswith("[") and usage != "...":
                wrong.append(words)
            for text in wrong:
                with self.subTest(text):
                    self.refused(wire, text, REFUSED)
        for text in WRONG:
            with self.subTest(text):
                self.refused(wire, text, REFUSED)
        self.assertEqual(self.state(), before)

    def test_nonsense(self):
        """As a user who may give no orders, since some of it means something."""
        wire = self.console("reader")
        chance = random.Random(11)
        words = [word for words in self.commands("admin") for word in words.split()]
        words += ["app", "main", "1", "'x'", '"x"', ";", ",", "=", "(", ")", "--", "/*", "*/", "'", '"', "\n", "\xa0"]
        for _ in range(400):
            text = " ".join(chance.choices(words, k=chance.randrange(1, 12)))
            answer = wire.query(text)
            self.assertEqual(kinds(answer)[-1:], "Z", text)
        for _ in range(200):
            text = "".join(chance.choices(string.printable, k=chance.randrange(1, 200)))
            self.assertEqual(kinds(wire.query(text))[-1:], "Z", text)
        self.assertTrue(wire.value("SHOW VERSION").startswith("PgBouncer "))

    def test_long_queries(self):
        megabyte = 1 << 20
        for what in (
            query("SHOW POOLS " + "x" * megabyte),
            query("PAUSE " + quoted("x" * megabyte)),
            query("SHOW POOLS;" * (megabyte // 11)),
            query(" " * megabyte),
            parse("SHOW CLIENTS " + "user, " * 180_000),
            parse("SHOW POOLS", "n" * megabyte),
        ):
            with self.subTest(what[:30]), Wire(self.weir.port) as wire:
                wire.login("reader", "pgweir")
                try:
                    wire.send(what)
                except (ConnectionResetError, BrokenPipeError):
                    pass  # shown out before it was all said
                error = first_error(wire.until_closed())
                if error:  # a reset may have eaten it
                    self.assertEqual((error["S"], error["C"]), ("FATAL", "08P01"))
                    self.assertIn("64 kB", error["M"])
        most = QUERY_MOST - 10
        wire = self.console("reader")
        for text, codes in (
            ("x" * most, {"42601"}),
            ("SHOW POOLS " + "x" * (most - 11), {"42703"}),
            ("SHOW POOLS;" * (most // 11), {"54000"}),
            ("SHOW CLIENTS " + "user, " * 10_000 + "user", {"54000"}),
            ('PAUSE "' + "x" * (most - 8) + '"', {"42501"}),
            ("SHOW LIMIT " + quoted("%" * (most - 20)), REFUSED),
            ("'" * (most - 1), REFUSED),
            ("(" * most, REFUSED),
        ):
            with self.subTest(text[:30]):
                error = self.refused(wire, text, codes)
                self.assertLess(len(error.get("H", "")), 2000)
        for text in (" " * most, "--" + "x" * (most - 2), ";" * most):
            self.assertEqual(kinds(wire.query(text)), "IZ")
        # Many of them that nobody reads, and one who leaves in the middle.
        with Wire(self.weir.port) as deaf:
            deaf.login("reader", "pgweir")
            deaf.socket.settimeout(2)
            try:
                for _ in range(2000):
                    deaf.send(query("SHOW CONFIG"))
            except TimeoutError:
                pass
        with Wire(self.weir.port) as half:
            half.login("admin", "pgweir")
            half.send(query("PAUSE app;" + " " * 60_000)[:-10])
        self.assertEqual(wire.value("SHOW STATE value"), "yes")


if __name__ == "__main__":
    unittest.main()
