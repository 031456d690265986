"""SHOW STATEMENTS: what is prepared, by whom it is used and where it is known."""

import unittest

from harness import PgweirCase, Wire
from harness.wire import bind, describe, execute, first_error, kinds, message, parse, sync


class Statements(PgweirCase):
    databases = ("app", "other")

    def setUp(self):
        self.weir = self.pgweir({"auth": {"method": "trust"}}, users={"app": "s3cret", "admin": "adm1n"})

    def wire(self, database="app"):
        wire = Wire(self.weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", database)

    def rows(self, command="SHOW STATEMENTS"):
        columns, rows = self.weir.console(command)
        return [dict(zip(columns, row)) for row in rows]

    def runs(self, client, sql, name, times=1):
        client.send(parse(sql, name), sync())
        client.until_ready()
        for _ in range(times):
            client.send(bind(name), execute(), sync())
            client.until_ready()

    def test_clients_that_share_a_text(self):
        one, two = self.wire(), self.wire()
        self.runs(one, "select 'a secret'", "x", times=3)
        self.runs(two, "select 'a secret'", "y", times=2)
        (row,) = self.rows()
        self.assertEqual((row["backend"], row["database"], row["user"]), ("main", "app", "app"))
        self.assertEqual((row["clients"], row["servers"]), (2, 1))
        self.assertEqual((row["parses"], row["binds"]), (2, 5))
        self.assertRegex(row["statement"], "^pgweir_[0-9]+$")
        self.assertRegex(row["fingerprint"], "^[0-9a-f]{16}$")
        self.assertGreater(row["bytes"], len("select 'a secret'"))
        self.assertNotIn("secret", str(row))
        # A second server learns it; then nobody uses it, and it is still known.
        one.query("begin")
        two.send(bind("y"), execute(), sync())
        two.until_ready()
        self.assertEqual(self.rows()[0]["servers"], 2)
        one.query("commit")
        for client in (one, two):
            client.query("deallocate all")
        (row,) = self.rows()
        self.assertEqual((row["clients"], row["servers"], row["binds"]), (0, 2, 6))

    def test_other_columns_than_were_told_are_refused_by_every_server(self):
        keeper, client, other = self.wire(), self.wire(), self.wire()
        other.query("create table shape (a int); insert into shape values (1)")
        for one in (client, other):
            one.send(parse("select * from shape", "s"), describe(b"S", "s"), sync())
            one.until_ready()
        asked = (bind("s"), execute(), sync())

        def on_both_servers(one, *said):
            """The first is the one that has the statement."""
            for text in ("commit", "begin"):
                keeper.query(text)
                one.send(*said)
                yield one.until_ready()

        keeper.query("alter table shape alter a set default 7")
        for answer in on_both_servers(client, *asked):
            self.assertIsNone(first_error(answer))
        keeper.query("commit; alter table shape add b text default 'x'")
        for answer in on_both_servers(client, *asked):
            error = first_error(answer)
            self.assertEqual((error["C"], error["R"]), ("0A000", "RevalidateCachedQuery"))
            self.assertEqual(error["M"], "cached plan must not change result type")
        # Whoever is told of them in the same breath is given them.
        other.send(bind("s"), describe(b"P"), execute(), sync())
        self.assertEqual(kinds(other.until_ready()), "2TDCZ")

    def test_parameter_types_that_were_told_stay(self):
        """As in a session of one's own, where Postgres finds them once: a client binds four bytes to what is 8 now."""
        keeper, client = self.wire(), self.wire()
        client.query("create table wide (a int)")
        client.send(parse("insert into wide values ($1) returning a", "s"), describe(b"S", "s"), sync())
        client.until_ready()
        keeper.query("alter table wide alter a type bigint")
        binary = b"\0s\0\0\1\0\1\0\1\0\0\0\4\0\1\0\0\0\0"
        for begin in ("begin", "commit; begin"):
            keeper.query(begin)
            client.send(message(b"B", binary), describe(b"P"), execute(), sync())
            answer = client.until_ready()
            self.assertEqual((kinds(answer), first_error(answer)), ("2TDCZ", None))
            self.assertEqual(answer[2][1][-5:], b"65536")

    def test_pages(self):
        client, other = self.wire(), self.wire("other")
        for i in range(25):
            self.runs(client, f"select {i} as c{i}", f"s{i}", times=0)
        self.runs(other, "select 1", "s", times=0)
        whole = [row["name"] for row in self.rows()]
        self.assertEqual(len(whole), 26)
        self.assertEqual(whole, sorted(whole))
        seen, after = [], ""
        while page := [row["name"] for row in self.rows(f"SHOW STATEMENTS LIMIT 10 AFTER '{after}'")]:
            self.assertLessEqual(len(page), 10)
            seen += page
            after = page[-1]
        self.assertEqual(seen, whole)
        self.assertEqual([row["database"] for row in self.rows("SHOW STATEMENTS LIKE 'oth%'")], ["other"])
        self.assertEqual(self.rows("SHOW STATEMENTS LIKE 'nobody'"), [])
        self.assertEqual(self.rows("SHOW STATEMENTS LIMIT 0"), [])

    def test_many(self):
        client = self.wire()
        client.send(*(parse(f"select {i} as c{i}", f"s{i}") for i in range(3000)), sync())
        client.until_ready()
        self.assertEqual(len(self.rows("SHOW STATEMENTS LIMIT 5000")), 3000)
        self.assertEqual(len(self.rows()), 1000)


if __name__ == "__main__":
    unittest.main()
