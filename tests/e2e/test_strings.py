"""What a text hides in its strings from who does not read them as Postgres does stays in its transaction."""

from harness import TRUST, PgweirCase, Wire
from harness.wire import bind, execute, first_error, parse, query, sync

SETTING = "standard_conforming_strings"
OFF, ON, RESET = f"set {SETTING} = off", f"set {SETTING} = on", f"reset {SETTING}"
# One string where they follow the standard.
HIDDEN = r"select '\'', set_config($$app.secret$$, $$mine$$, false) --'"
LEFT = "select coalesce(current_setting('app.secret', true), '')"


def batch(*texts):
    return b"".join(parse(text) + bind() + execute() for text in texts) + sync()


def use(name):
    return bind(name) + execute() + sync()


# What a client sends, each piece when the one before is answered.
WAYS = {
    "pipelined": [query(OFF) + query(HIDDEN)],
    "in a batch": [batch(OFF, HIDDEN)],
    "in pipelined batches": [batch(OFF) + batch(HIDDEN)],
    "by set_config": [query(f"select set_config('{SETTING}', 'off', false)") + query(HIDDEN)],
    "by code": [query(f"do $$ begin perform set_config('{SETTING}', 'off', false); end $$") + query(HIDDEN)],
    "by code at run time": [
        query(f"do $$ begin execute 'set ' || '{SETTING} = off'; end $$") + query(HIDDEN),
    ],
    "local": [query("begin"), query(OFF.replace("set", "set local")), query(HIDDEN), query("commit")],
    "local, pipelined": [query("begin"), query(OFF.replace("set", "set local")) + query(HIDDEN), query("commit")],
    "answered": [query(OFF), query(HIDDEN)],
    "taken back by ROLLBACK": [query(OFF), query("begin"), query(ON), query("rollback") + query(HIDDEN)],
    "taken back to a savepoint": [
        *[query(text) for text in (OFF, "begin", "savepoint a", ON)],
        query("rollback to a") + query(HIDDEN),
        query("commit"),
    ],
    "named": [query(OFF), parse(HIDDEN, "s") + sync(), query(ON), use("s")],
    "named, pipelined": [query(OFF) + parse(HIDDEN, "s") + sync() + query(ON), use("s")],
    "named, in a batch": [query(OFF), parse(HIDDEN, "s") + sync(), batch(ON)[:-5] + use("s")],
    "unnamed": [
        *[query(text) for text in ("begin", OFF)],
        parse(ON, "on") + parse(HIDDEN) + sync(),
        use("on"),
        use(""),
        query("commit"),
    ],
    "by PREPARE": [query(OFF) + query(f"prepare p as {HIDDEN}") + query(ON) + query("execute p")],
}
WAYS_FROM_OFF = {
    "taken back by RESET": [query(ON), query(RESET) + query(HIDDEN)],
    "taken back by RESET ALL": [query(ON), query("reset all") + query(HIDDEN)],
    "taken back by DISCARD ALL": [query(ON), query("discard all") + query(HIDDEN)],
}


def requests(sent):
    """How many ReadyForQuery will come."""
    count = at = 0
    while at < len(sent):
        count += sent[at : at + 1] in (b"Q", b"S")
        at += 1 + int.from_bytes(sent[at + 1 : at + 5], "big")
    return count


class Strings(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def hides(self, port, pieces, **startup):
        """What the text has left for the next one on that port, with the errors that the client heard."""
        errors = []
        with Wire(port) as wire:
            wire.login("app", "app", **startup)
            for piece in pieces:
                wire.send(piece)
                for _ in range(requests(piece)):
                    errors.append(first_error(wire.until_ready()))
            own = wire.value(LEFT)
        with Wire(port) as wire:
            wire.login("app", "app")
            left = wire.value(LEFT)
            self.assertEqual(wire.value(f"show {SETTING}"), "on")
        return left, own, [error for error in errors if error]

    def test_nobody_else_hears_what_a_text_has_hidden(self):
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {"one": {"pool_size": 1, "max_server_connections": 1}},
                "tenants": {"app": {"tier": "one", "backend": "main", "database": "app"}},
            },
            users={"app": "s3cret"},
        )
        off = {"options": f"-c {SETTING}=off"}
        for ways, startup in ((WAYS, {}), (WAYS_FROM_OFF, off)):
            for way, pieces in ways.items():
                with self.subTest(way):
                    left, _, errors = self.hides(weir.port, pieces, **startup)
                    self.assertEqual((left, errors), ("", []))
                    # It is not for want of trying.
                    _, own, errors = self.hides(self.postgres.port, pieces, **startup)
                    self.assertEqual((own, errors), ("mine", []))

    def test_what_means_the_same_either_way_follows_its_client(self):
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "server": {"rotation": True},
                "tiers": {"two": {"pool_size": 2, "max_server_connections": 2}},
                "tenants": {"app": {"tier": "two", "backend": "main", "database": "app"}},
            },
            users={"app": "s3cret"},
        )
        with weir.connect("app", "app", autocommit=True, options=f"-c {SETTING}=off") as client:
            client.execute("set app.secret = 'mine'")
            client.execute("prepare p as select 'a' || $1")
            for _ in range(4):
                self.assertEqual(client.execute(LEFT).fetchone(), ("mine",))
                self.assertEqual(client.execute("execute p('b')").fetchone(), ("ab",))
                self.assertEqual(client.execute(r"select '\141'").fetchone(), ("a",))
