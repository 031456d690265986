"""Slow transactions in the log: who, how long, a fingerprint and a trace, and never the text."""

import json
import time
import unittest

from harness import PgweirCase, Wire, wait_until
from harness.wire import bind, execute, first_error, parse, query, sync

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
COMMENT = f" /*application='shop',traceparent='00-{TRACE}-{SPAN}-01'*/"

# Told of are refusals only.
QUICK = {
    "tier": "watched",
    "slow_transaction": "0",
    "queue_timeout": "300ms",
    "work_mem": "4MB",
    "max_pinned_clients": 0,
    "max_client_statements": 2,
}


class SlowTransactions(PgweirCase):
    databases = ("app", "quick")

    def setUp(self):
        self.weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "tiers": {
                    "watched": {
                        "slow_transaction": "300ms",
                        "pool_size": 1,
                        "max_server_connections": 1,
                        "max_clients": 20,
                        "session_mode": True,
                    }
                },
                "tenants": {"app": {"tier": "watched"}, "quick": QUICK},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )

    def lines(self, event="slow_transaction"):
        told = []
        for line in self.weir.log().splitlines():
            if line.startswith("{") and json.loads(line)["event.action"] == event:
                told.append(json.loads(line))
        return told

    def told(self, count=1, event="slow_transaction"):
        wait_until(lambda: len(self.lines(event)) >= count, seconds=5, what=f"{count} {event}")
        lines = self.lines(event)
        self.assertEqual(len(lines), count)
        return lines[-1]

    def wire(self, database="app", **parameters):
        wire = Wire(self.weir.port)
        self.addCleanup(wire.close)
        return wire.login("app", database, **parameters)

    def test_what_is_told(self):
        client = self.wire(application_name="me")
        client.query("begin")
        client.query("select 'tell nobody'")
        client.query("select 'nor of this', pg_sleep(0.5)" + COMMENT)
        client.query("commit")
        line = self.told()
        fields = line["pgweir"]
        self.assertEqual((fields["tenant"], fields["tier"], fields["user"]), ("app", "watched", "app"))
        self.assertEqual((fields["addr"], fields["outcome"], fields["queries"]), ("127.0.0.1", "done", 4))
        self.assertGreaterEqual(fields["held_ms"], fields["longest_ms"])
        self.assertGreaterEqual(fields["longest_ms"], 500)
        self.assertLess(fields["wait_ms"], 500)
        self.assertRegex(fields["fingerprint"], "^[0-9a-f]{16}$")
        self.assertEqual((line["trace.id"], line["span.id"]), (TRACE, SPAN))
        for words in ("tell nobody", "nor of this", "pg_sleep"):
            self.assertNotIn(words, self.weir.log())
        # The same shape, other values, another way of asking; no trace.
        with self.weir.connect("app", "app", prepare_threshold=0) as connection:
            connection.execute("SELECT 'another', pg_sleep(0.6)")
        second = self.told(2)
        self.assertEqual(second["pgweir"]["fingerprint"], fields["fingerprint"])
        self.assertNotIn("trace.id", second)
        self.assertNotIn("span.id", second)

    def test_quick_ones_and_other_tiers_are_not_told(self):
        self.wire().query("select 1")
        self.wire("quick").query("select pg_sleep(0.5)")
        time.sleep(0.2)
        self.assertEqual(self.lines(), [])

    def test_a_statement_that_was_prepared_earlier(self):
        client = self.wire()
        client.send(parse("select pg_sleep(0.4)" + COMMENT, "nap"), sync())
        client.until_ready()
        other = self.wire()
        other.query("select 1")
        client.send(bind("nap"), execute(), sync())
        client.until_ready()
        line = self.told()
        self.assertEqual(line["trace.id"], TRACE)
        self.assertRegex(line["pgweir"]["fingerprint"], "^[0-9a-f]{16}$")

    def test_the_wait_before_is_told_apart(self):
        first, second = self.wire(), self.wire()
        first.send(query("select pg_sleep(0.8)"))
        time.sleep(0.2)
        second.query("select pg_sleep(0.4)")
        lines = wait_until(lambda: len(self.lines()) == 2 and self.lines(), what="two lines")
        waits = [line["pgweir"]["wait_ms"] for line in lines]
        self.assertLess(waits[0], 100)
        self.assertGreater(waits[1], 300)
        self.assertLess(lines[1]["pgweir"]["held_ms"], 800)

    def test_texts_that_nobody_understands_and_long_ones(self):
        client = self.wire()
        client.send(query("begin; select pg_sleep(0.4); selectt 'a secret'"))
        self.assertEqual(first_error(client.until_ready())["C"], "42601")  # Postgres parses first
        client.query("select pg_sleep(0.4), '" + "x" * 2_000_000 + "'" + COMMENT)
        line = self.told()
        self.assertRegex(line["pgweir"]["fingerprint"], "^~[0-9a-f]{16}$")
        self.assertNotIn("trace.id", line)  # its end was not here yet when it was passed on
        client.query("select pg_sleep(0.4), '" + "x" * 100_000 + "'" + COMMENT)
        self.assertEqual(self.told(2)["trace.id"], TRACE)

    def test_ends_in_the_middle(self):
        client = self.wire()
        client.query("begin")
        time.sleep(0.4)
        client.send(query("select pg_sleep(20)" + COMMENT))
        time.sleep(0.4)
        client.close()
        line = self.told()
        self.assertEqual(line["pgweir"]["outcome"], "client gone")
        self.assertEqual(line["trace.id"], TRACE)
        self.assertGreaterEqual(line["pgweir"]["longest_ms"], 300)
        killed = self.wire()
        killed.query("begin")
        killed.send(query("select pg_sleep(20)" + COMMENT))
        time.sleep(0.5)
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where query like '%sleep(20)%' "
                          "and pid <> pg_backend_pid()")
        killed.until_closed()
        self.assertEqual(self.told(2)["pgweir"]["outcome"], "cut off")
        closed = [line for line in self.lines("client closed") if line.get("trace.id") == TRACE]
        self.assertEqual(len(closed), 1)

    def test_a_client_that_keeps_its_server(self):
        client = self.wire(options="-c pgweir.pool_mode=session")
        for count in (1, 2):
            client.query("select 1")
            client.query("select pg_sleep(0.4)")
            self.assertEqual(self.told(count)["pgweir"]["queries"], 1)

    def test_a_refusal_at_a_limit_has_the_trace_of_what_was_asked(self):
        busy, refused = self.wire("quick"), self.wire("quick")
        refused.send(parse("select 'prepared'" + COMMENT, "earlier"), parse("select 3", "plain"), sync())
        refused.until_ready()
        busy.query("begin")
        requests = (
            ([query("select 'simple'" + COMMENT)], TRACE),
            ([parse("select 'parsed'" + COMMENT), bind(), execute(), sync()], TRACE),
            ([bind("earlier"), execute(), sync()], TRACE),
            ([query("select 'without'")], None),
            ([bind("plain"), execute(), sync()], None),
        )
        for count, (messages, trace) in enumerate(requests, 1):
            refused.send(*messages)
            self.assertEqual(first_error(refused.until_ready())["C"], "53300")
            line = self.told(count, "request_refused")
            self.assertEqual((line.get("trace.id"), line.get("span.id")), (trace, trace and SPAN))
            fields = line["pgweir"]
            self.assertEqual([fields[name] for name in ("tenant", "tier", "user", "sqlstate")],
                             ["quick", "watched", "app", "53300"])
            self.assertIn("no server connection became free", fields["reason"])
            self.assertGreaterEqual(fields["waited_ms"], 290)
        for words in ("simple", "parsed", "prepared", "without"):
            self.assertNotIn(f"'{words}'", self.weir.log())

    def test_a_refused_pin_and_a_ceiling_that_held_have_it_too(self):
        client = self.wire("quick")
        self.assertEqual(first_error(client.query("create temp table t (i int)" + COMMENT))["C"], "53400")
        line = self.told(1, "request_refused")
        self.assertEqual((line["trace.id"], line["span.id"]), (TRACE, SPAN))
        self.assertIn("no room for another pinned client", line["pgweir"]["reason"])
        self.assertIsNone(first_error(client.query("set work_mem = '1GB'" + COMMENT)))
        self.assertEqual(self.told(1, "ceiling_lowered")["trace.id"], TRACE)
        self.assertEqual(first_error(client.query("alter role app set work_mem = '1GB'" + COMMENT))["C"], "42501")
        line = self.told(1, "ceiling_refused")
        self.assertEqual((line["trace.id"], line["span.id"]), (TRACE, SPAN))
        self.assertEqual(line["pgweir"]["parameter"], "work_mem")
        for name, error in (("a", None), ("b", None), ("c", "53400")):
            client.send(parse(f"select '{name}'" + COMMENT, name), sync())
            self.assertEqual((first_error(client.until_ready()) or {}).get("C"), error)
        line = self.told(2, "request_refused")
        self.assertEqual((line["trace.id"], line["pgweir"]["sqlstate"]), (TRACE, "53400"))
        self.assertIn("no room for another prepared statement", line["pgweir"]["reason"])

    def test_it_can_be_changed_while_it_works(self):
        client = self.wire()
        client.query("select pg_sleep(0.4)")
        self.told()
        self.weir.config["tenants"]["app"]["slow_transaction"] = "never"
        self.weir.reload()
        wait_until(lambda: '"configuration reloaded"' in self.weir.log(), what="reload")
        client.query("select pg_sleep(0.4)")
        time.sleep(0.2)
        self.assertEqual(len(self.lines()), 1)


if __name__ == "__main__":
    unittest.main()
