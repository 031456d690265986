"""Scenes that a client plays, step by step: pgweir must answer each request as Postgres itself does.

With ceilings, too, under which texts are read and judged; none of those here is lowered or refused.
"""

import unittest
from contextlib import ExitStack

from harness import PgweirCase
from harness.pgweir import LOFTY_TIMES, rotating
from harness.postgres import TRUST
from harness.wire import Wire, bind, error_fields, execute, message, parse, query, sync

SERVERS = 4
TENANTS = ("app", "lofty")
TIER = {"pool_size": SERVERS, "max_server_connections": SERVERS, "max_clients": 100, "max_pinned_clients": 100}
DMY, MDY = "set datestyle = 'ISO, DMY'", "set datestyle = 'ISO, MDY'"
DAY = "prepare w as select '01/02/2026'::date"


def by_protocol(sql, name):
    return parse(sql, name) + sync()


def runs(name):
    return bind(name) + execute() + sync()


def told(messages):
    """What counts of the answers: of errors not the line of Postgres' source."""
    answers = []
    for kind, payload in messages:
        fields = error_fields(payload) if kind in b"EN" else {}
        answers.append((kind, {key: fields[key] for key in fields if key not in "FLR"} if fields else payload))
    return answers


class SameAnswers(PgweirCase):
    databases = (*TENANTS, "direct")
    postgres_options = {"hba": TRUST, "settings": LOFTY_TIMES}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.weir = cls.class_pgweir(rotating(TIER), users={"app": "s3cret", "admin": "adm1n"})
        for tenant in TENANTS:
            clients = [Wire(cls.weir.port).login("app", tenant) for _ in range(SERVERS)]
            for sql in ("begin", "commit"):
                for client in clients:
                    client.query(sql)
            for client in clients:
                client.close()

    def play(self, *steps):
        """Each step is a query, or messages up to one Sync."""
        with ExitStack() as stack:
            places = [(self.postgres.port, "direct"), *((self.weir.port, tenant) for tenant in TENANTS)]
            clients = [stack.enter_context(Wire(port).login("app", database)) for port, database in places]
            for number, step in enumerate(steps):
                for client in clients:
                    client.send(query(step) if isinstance(step, str) else step)
                    answers = told(client.until_ready())
                    if client is clients[0]:
                        wanted = answers
                    self.assertEqual(answers, wanted, f"step {number}: {step}")


class PreparedBySql(SameAnswers):
    def test_a_name_that_is_taken(self):
        self.play("prepare w as select 7", "prepare w as select 8", "execute w", "deallocate w", "execute w")
        self.play("prepare w as select 7", "prepare w as select * from nope", "prepare w as select from from", "execute w")
        self.play("prepare w as select 7", "begin", "select 1/0", "prepare w as select 8", "rollback", "execute w")
        self.play("prepare w as select 7", "set lc_messages = 'C'; prepare w as select 8", "execute w")
        self.play(by_protocol("select 5", "w"), "prepare w as select 6", runs("w"), "execute w")
        again = by_protocol("prepare w as select 8", "x")
        self.play("prepare w as select 7", again, runs("x"), "execute w", "deallocate w", runs("x"), "execute w")

    def test_a_name_that_is_taken_by_what_no_server_can_learn_any_more(self):
        begins = ("create table gone (a int)", "prepare w as select * from gone", "drop table gone")
        self.play(*begins, "prepare w as select 2", "execute w", "deallocate w", "prepare w as select 3", "execute w")
        self.play(*begins, "deallocate w; prepare w as select 3", "execute w")

    def test_in_a_transaction_that_goes_on(self):
        taken = ("prepare w as select 7", "begin", "savepoint a", "prepare w as select 2", "rollback to a")
        self.play(*taken, "execute w; select 1", "execute w", "deallocate w", "prepare w as select 3", "commit", "execute w")
        self.play(*taken, "deallocate w", "execute w", "rollback to a", "prepare w as select 8", "commit", "execute w")
        self.play(*taken, "prepare w as select 8", "rollback", "execute w")
        self.play(by_protocol("select 5", "w"), *taken[1:], runs("w"), "commit", "execute w")

    def test_deallocate_beside_it(self):
        self.play("prepare w as select 7", "deallocate w; prepare w as select 8", "execute w")
        self.play("prepare w as select 7", "prepare w as select 9; deallocate w", "execute w")
        self.play("prepare w as select 7", "deallocate all; prepare w as select 8", "execute w", "discard all", "execute w")
        both = "begin; deallocate w; savepoint a; prepare w as select 11; prepare w as select 12"
        self.play("prepare w as select 7", both, "rollback", "execute w")
        kept = ("prepare w as select 7", "begin", "savepoint a", "select 1/0; deallocate w", "rollback to a")
        self.play(*kept, "execute w; select 1", "deallocate w", "prepare w as select 8", "commit", "execute w")

    def test_behind_a_transaction_that_has_failed(self):
        for level in ("", " isolation level serializable"):
            failed = ("prepare w as select 7", f"begin{level}", "select 1/0")
            for way in ("rollback", "commit", "end", "abort", "rollback and chain", "commit and chain", "end and no chain"):
                with self.subTest(way=way, level=level):
                    ends = ("show transaction_isolation", "rollback")
                    self.play(*failed, f"{way}; execute w; show transaction_isolation", *ends, "execute w")
                    self.play(*failed, f"{way}; deallocate w", *ends, "execute w")
                    self.play(*failed, f"{way}; prepare w as select 8", *ends, "execute w")
                    self.play(*failed, f"{way}; deallocate w; prepare w as select 8; execute w", *ends, "execute w")

    def test_literals_mean_what_they_did(self):
        self.play(DMY, DAY, MDY, "prepare w as select 1", "execute w", "execute w")
        self.play(DMY, DAY, f"execute w; {MDY}", "execute w", "execute w; select 1", "execute w")
        self.play(DMY, DAY, MDY, "execute w; select 1", "begin; execute w; commit", "execute w")
        self.play(DMY, DAY, MDY, "begin", "execute w; select 1", "do $$ begin execute 'execute w'; end $$", "commit", "execute w")
        for _ in range(SERVERS):
            self.play(DAY, "set datestyle = 'YMD'", "begin", "select 1/0", "end and chain; execute w", "rollback", runs("w"))
            self.play(DAY, parse("set datestyle = 'German'") + bind() + execute() + bind("w") + execute() + sync(), runs("w"))
            begins = (parse(text) + bind() + execute() for text in ("commit", "begin", DMY, "set intervalstyle = 'iso_8601'"))
            self.play(DAY, "begin; set local datestyle = 'YMD'", b"".join(begins) + runs("w"), "rollback", "execute w", runs("w"))

    def test_literals_of_a_prepare_that_others_stand_around(self):
        moment = "select '2020-01-01 10:00'::timestamptz"
        makes, zone = f"prepare w as {moment}", "set timezone = 'Asia/Tokyo'"
        local, code = "set local timezone = 'Asia/Tokyo'", f"execute 'prepare w as {moment.replace(chr(39), chr(39) * 2)}'"
        uses = (runs("w"), "execute w", "execute w; select 1", "deallocate w", "execute w")

        def run(text):
            return parse(text) + bind() + execute()

        scenes = (
            (f"{makes}; {zone}",),
            (f"{zone}; {makes}", "set timezone = 'UTC'"),
            (f"set timezone = 'America/New_York'; {makes}; {zone}",),
            (run(makes) + run(zone) + sync(),),
            (run(zone) + run(makes) + sync(), "set timezone = 'UTC'"),
            ("begin", makes, zone, "commit"),
            ("begin", makes, zone, "rollback"),
            ("begin", local, makes, "commit"),
            ("begin", local, run(makes) + sync(), "commit"),
            (f"begin; {local}; {makes}; commit",),
            (run("begin") + run(local) + run(makes) + run("commit") + sync(),),
            ("begin", local, f"commit; {makes}"),
            ("begin", f"savepoint s; {zone}", f"rollback to s; {makes}", "commit"),
            ("prepare s as select set_config('timezone', 'Asia/Tokyo', false)", f"execute s; {makes}", "set timezone = 'UTC'"),
            (f"do $$ begin {code}; {zone}; end $$",),
            ("begin", makes, zone, f"do $$ begin execute 'deallocate w'; {code}; end $$", "commit", "set timezone = 'UTC'"),
            (f"{makes}, 'é'; {zone}", "prepare other as select 1", "drop table if exists nothing", "deallocate other"),
            (makes, zone, "set role none"),
            ("set role none", makes, zone, "reset role"),
        )
        for scene in scenes:
            self.play(*scene, *uses)

    def test_leaving_a_failed_transaction_in_a_batch(self):
        for way in ("rollback", "commit", "commit and chain"):
            begins = ("prepare w as select 7", "begin", "select 1/0")
            leaves = parse(way) + bind() + execute()
            self.play(*begins, leaves + parse("prepare w as select 8") + runs(""), "rollback", "execute w")
            self.play(*begins, leaves + parse("execute w") + runs(""), "rollback", "execute w")
            self.play(*begins, leaves + runs("w"), "rollback", "execute w")

    def test_errors_tell_the_clients_names(self):
        closes = message(b"C", b"Sw\0")
        self.play(by_protocol("select $1::int", "w"), bind("w") + closes + sync(), bind("w") + execute() + sync())


if __name__ == "__main__":
    unittest.main()
