"""What a session remembers, though each transaction runs on another server and eight clients share four."""

import socket
import struct
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg

from harness import PgweirCase, wait_until
from harness.pgweir import rotating
from harness.wire import Wire, bind, execute, first_error, flush, kinds, message, parse, query, sync

SERVERS = 4
TIER = {"pool_size": SERVERS, "max_server_connections": SERVERS, "max_clients": 100, "max_pinned_clients": 100}


class VirtualSession(PgweirCase):
    databases = ("app",)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.postgres.create_user("boss", "b0ss", options="superuser")
        with cls.postgres.connect("app") as connection:
            connection.execute("create role reader; grant reader to app")
        cls.weir = cls.class_pgweir(rotating(TIER), users={"app": "s3cret", "boss": "b0ss", "admin": "adm1n"})
        clients = [cls.connect() for _ in range(SERVERS)]
        for client in clients:
            client.execute("begin")
        for client in clients:
            client.execute("commit")
            client.close()

    @classmethod
    def connect(cls, user="app", **options):
        return cls.weir.connect("app", user, **{"autocommit": True, "prepare_threshold": None, **options})

    def at_once(self, work, clients=8):
        """Runs work(connection, me) for clients of their own."""

        def one(me):
            with self.connect() as connection:
                return work(connection, me)

        with ThreadPoolExecutor(clients) as threads:
            return list(threads.map(one, range(1, clients + 1)))

    def value(self, connection, sql, *parameters):
        return connection.execute(sql, parameters or None).fetchone()[0]

    def pids(self, connection, count=12):
        return {self.value(connection, "select pg_backend_pid()") for _ in range(count)}

    def assert_free(self, connection):
        # A server that is being cleaned is not lent meanwhile.
        wait_until(lambda: len(self.pids(connection)) == SERVERS, what="no pin")

    def assert_pinned(self, connection):
        self.assertEqual(len(self.pids(connection)), 1, "not pinned")


class Settings(VirtualSession):
    def test_lastval_is_ones_own_or_none(self):
        with self.connect() as one:
            one.execute("create table if not exists numbered (id serial, who int)")
            with suppress(psycopg.errors.ObjectNotInPrerequisiteState):
                self.value(one, "select lastval()")  # from now on pgweir looks to it
            for _ in range(20):
                mine = self.value(one, "insert into numbered (who) values (0) returning id")
                self.assertEqual(self.value(one, "select lastval()"), mine)

        def work(connection, me):
            found = lost = 0
            for prepare in (False, True) * 50:
                insert = "insert into numbered (who) values (%s) returning id"
                mine = connection.execute(insert, [me], prepare=prepare).fetchone()[0]
                try:
                    last = connection.execute("select lastval()", prepare=prepare).fetchone()[0]
                except psycopg.errors.ObjectNotInPrerequisiteState:
                    lost += 1
                    continue
                self.assertEqual(last, mine)
                found += 1
            with connection.transaction():
                mine = self.value(connection, "insert into numbered (who) values (%s) returning id", me)
                self.assertEqual(self.value(connection, "select currval('numbered_id_seq')"), mine)
            return found

        self.assertGreater(sum(self.at_once(work)), 0)

    def test_every_way_to_set_one(self):
        def work(connection, me):
            ways = [
                ("set work_mem = '{}MB'", "work_mem"),
                ("set session statement_timeout to '{}min'", "statement_timeout"),
                ("set app.token = 'c{}'", "app.token"),
                ("set search_path = s{}, public", "search_path"),
                ("select set_config('app.other', 'o{}', false)", "app.other"),
                ("begin; set lock_timeout = '{}s'; commit", "lock_timeout"),
            ]
            for sql, name in ways:
                connection.execute(sql.format(me + 4))
                said = {self.value(connection, f"show {name}") for _ in range(8)}
                self.assertEqual(len(said), 1, name)
                self.assertIn(str(me + 4), said.pop())
            self.assertEqual(self.value(connection, "show work_mem"), f"{me + 4}MB")
            self.assertEqual(self.value(connection, "show app.token"), f"c{me + 4}")

        self.at_once(work)
        with self.connect() as fresh:
            self.assertEqual({self.value(fresh, "show work_mem") for _ in range(8)}, {"4MB"})
            self.assertEqual({self.value(fresh, "show search_path") for _ in range(8)}, {'"$user", public'})

    def test_long_values_follow(self):
        def work(connection, me):
            for size in (30_000, 60_000):
                connection.execute(f"set app.long = '{'x' * (size + me)}'")
                lengths = {self.value(connection, "select length(current_setting('app.long'))") for _ in range(8)}
                self.assertEqual(lengths, {size + me})
            self.assertEqual(self.weir.console("show pinned_clients")[1], [])

        self.at_once(work)

    def test_a_parameter_in_an_extended_query(self):
        with self.connect() as connection:
            self.value(connection, "select set_config('app.token', %s, false)", "mine")
            self.assertEqual({self.value(connection, "show app.token") for _ in range(8)}, {"mine"})

    def test_rollbacks_and_savepoints(self):
        with self.connect(autocommit=False) as connection:
            connection.execute("set work_mem = '5MB'")
            connection.commit()
            connection.execute("set work_mem = '6MB'")
            connection.rollback()
            self.assertEqual(self.value(connection, "show work_mem"), "5MB")
            connection.commit()
            connection.execute("set work_mem = '7MB'")
            connection.execute("savepoint s")
            connection.execute("set work_mem = '8MB'")
            connection.execute("set local lock_timeout = '9s'")
            connection.execute("rollback to s")
            connection.commit()
            for _ in range(6):
                self.assertEqual(self.value(connection, "show work_mem"), "7MB")
                self.assertEqual(self.value(connection, "show lock_timeout"), "0")
                connection.commit()

    def test_what_a_failed_execute_takes_back_is_told(self):
        """A statement that servers cannot learn any more ends the transaction, and what that has set with it."""
        with self.connect() as one:
            one.execute("create table gone (a int)")
            one.execute("prepare of_gone as select * from gone")
            one.execute("drop table gone")
            for name, value in (("timezone", "Asia/Tokyo"), ("default_transaction_read_only", "on")):
                before = self.value(one, f"show {name}")
                for scope in ("local", "session"):
                    with self.subTest(name, scope=scope):
                        one.execute("begin")
                        one.execute(f"set {scope} {name} = '{value}'")
                        with self.assertRaises(psycopg.errors.UndefinedTable):
                            one.execute("execute of_gone")
                        one.execute("rollback")
                        told = one.info.parameter_status(
                            {"timezone": "TimeZone"}.get(name, name),
                        )
                        self.assertEqual(told, before)
                        self.assertEqual({self.value(one, f"show {name}") for _ in range(12)}, {before})

    def test_a_part_of_the_date_style_has_nothing_of_another_clients(self):
        with self.connect() as one, self.connect() as reader:
            began = self.value(reader, "show datestyle")
            style, order = began.split(", ")
            one.execute("set datestyle = 'German, YMD'")
            for said, means in (("DMY", f"{style}, DMY"), ("SQL", f"SQL, {order}"), ("German", "German, DMY")):
                with self.subTest(said):
                    with self.connect(options=f"-c datestyle={said}") as other:
                        for _ in range(8):
                            self.value(one, "select 1")
                            self.assertEqual(self.value(other, "show datestyle"), means)
                        self.assertEqual(other.info.parameter_status("DateStyle"), means)

    def test_set_local_is_over_with_its_transaction(self):
        with self.connect() as connection:
            connection.execute("begin; set local work_mem = '9MB'")
            self.assertEqual(self.value(connection, "show work_mem"), "9MB")
            connection.execute("commit")
            self.assertEqual({self.value(connection, "show work_mem") for _ in range(8)}, {"4MB"})

    def test_reset_returns_to_what_the_client_began_with(self):
        with self.connect(options="-c work_mem=11MB -c app.token=start", application_name="tea") as connection:
            for reset in ("reset all", "discard all", "select 1; reset all", "begin; reset all; commit"):
                with self.subTest(reset=reset):
                    connection.execute("set work_mem = '5MB'")
                    connection.execute("set application_name = 'milk'")
                    connection.execute("set app.token = 'other'")
                    connection.execute("set lock_timeout = '5s'")
                    connection.execute(reset)
                    for _ in range(6):
                        self.assertEqual(self.value(connection, "show work_mem"), "11MB")
                        self.assertEqual(self.value(connection, "show application_name"), "tea")
                        self.assertEqual(self.value(connection, "show app.token"), "start")
                        self.assertEqual(self.value(connection, "show lock_timeout"), "0")
                    self.assertEqual(connection.info.parameter_status("application_name"), "tea")
            connection.execute("set work_mem = '5MB'")
            connection.execute("reset work_mem")
            self.assertEqual({self.value(connection, "show work_mem") for _ in range(8)}, {"11MB"})

    def test_a_role_follows_and_does_not_stay(self):
        with self.connect() as connection, self.connect() as other:
            connection.execute("set role reader")
            connection.execute("set work_mem = '5MB'")
            for _ in range(8):
                self.assertEqual(self.value(connection, "select current_user"), "reader")
                self.assertEqual(self.value(other, "select current_user"), "app")
            connection.execute("reset role")
            self.assertEqual({self.value(connection, "select current_user") for _ in range(8)}, {"app"})

    def test_letters_beyond_ascii(self):
        """Each client's in its own encoding; one that changes it keeps its server, which converts what it has."""
        with self.connect(client_encoding="latin1") as one, self.connect(client_encoding="utf8") as other:
            for client in (one, other):
                client.execute("set app.token = 'é'")
            for _ in range(2 * SERVERS):
                for client in (one, other):
                    told = client.execute("select current_setting('app.token'), length(current_setting('app.token'))")
                    self.assertEqual(told.fetchone(), ("é", 1))
            one.execute("set client_encoding = 'utf8'")
            for _ in range(SERVERS):
                self.assertEqual(self.value(one, "show app.token"), "é")
                self.assertEqual(self.value(other, "show app.token"), "é")
            self.assert_pinned(one)
            one.execute("discard all")
            # By its pins: of the servers it is given one that has its encoding.
            wait_until(lambda: not self.weir.console("SHOW PINNED_CLIENTS")[1], what="no pin")

    def test_a_bad_value_is_postgres_business(self):
        with self.connect() as connection:
            with self.assertRaises(psycopg.errors.InvalidParameterValue):
                connection.execute("set work_mem = 'plenty'")
            with self.assertRaises(psycopg.errors.UndefinedObject):
                connection.execute("set no_such_thing = 1")
            self.assertEqual(self.value(connection, "show work_mem"), "4MB")


class Privileges(VirtualSession):
    def test_what_only_a_superuser_may_look_at_ends_nobody(self):
        names = "session_preload_libraries data_directory dynamic_library_path config_file".split()
        refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.CantChangeRuntimeParam)
        with self.connect() as one:
            for name in names:
                for sql in (f"set {name} = 'x'", f"reset {name}", f"select set_config('{name}', 'x', false)"):
                    with self.subTest(sql=sql):
                        with self.assertRaises(refused):
                            one.execute(sql)
                        self.assertEqual(self.value(one, "show work_mem"), "4MB")
            one.execute("set work_mem = '5MB'; do $$ begin set session_preload_libraries = 'x';"
                        " exception when others then null; end $$")
            self.assertEqual({self.value(one, "show work_mem") for _ in range(8)}, {"5MB"})

    def test_what_the_role_may_not_set_ends_nobody(self):
        names = "session_replication_role log_statement lc_messages deadlock_timeout ssl shared_buffers".split()
        refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.CantChangeRuntimeParam)
        ways = ["set {0} to default", "select set_config('{0}', current_setting('{0}'), false)", "reset {0}"]
        with self.connect() as one, self.connect() as other:
            for name in names:
                for way in ways:
                    with self.subTest(name=name, way=way):
                        with self.assertRaises(refused):
                            one.execute(way.format(name))
                        one.execute("begin; set local work_mem = '9MB'; set lock_timeout = '9s'")
                        with suppress(psycopg.Error):
                            one.execute(way.format(name))
                        one.execute("rollback")
                        for _ in range(SERVERS):
                            for each in (one, other):
                                self.assertEqual(self.value(each, "show lock_timeout"), "0")
            self.assert_free(one)

    def test_what_its_owner_lets_a_function_set_keeps_its_server(self):
        name = "session_replication_role"
        with self.connect() as one:
            one.execute(
                "create function replay() returns text language sql as"
                f" $$ select set_config('{name}', 'replica', false) $$"
            )
        for owned in ("owner to postgres", "security definer"):
            self.postgres.sql(f"alter function replay() {owned}", "app")
        with self.connect() as other:
            with self.connect() as one:
                one.execute("select replay()")
                self.assertEqual({self.value(one, f"show {name}") for _ in range(8)}, {"replica"})
                self.assert_pinned(one)
                self.assertEqual({self.value(other, f"show {name}") for _ in range(8)}, {"origin"})
            self.assertEqual({self.value(other, f"show {name}") for _ in range(12)}, {"origin"})
            with self.connect() as one:
                one.execute("select replay()")
                one.execute("discard all")
                self.assert_free(one)
                self.assertEqual({self.value(one, f"show {name}") for _ in range(8)}, {"origin"})


class LongTexts(VirtualSession):
    """Too long to be looked at in one read, or at all."""

    SIZES = (20_000, 300_000, 1_300_000)

    def padded(self, sql, size):
        return f"/*{'x' * size}*/ {sql}"

    def test_what_they_set_follows(self):
        for size in self.SIZES:
            with self.subTest(size), self.connect() as connection:
                connection.execute(self.padded("set work_mem = '7MB'", size))
                self.assertEqual({self.value(connection, "show work_mem") for _ in range(8)}, {"7MB"})
                connection.execute(self.padded("reset work_mem; set role reader", size))
                self.assertEqual({self.value(connection, "show work_mem") for _ in range(8)}, {"4MB"})
                self.assertEqual({self.value(connection, "select current_user") for _ in range(8)}, {"reader"})
            with self.connect() as fresh:
                self.assertEqual({self.value(fresh, "show work_mem") for _ in range(8)}, {"4MB"})

    def test_what_they_leave_on_a_server_keeps_it(self):
        locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        cases = [
            ("create temp table mine as select 1 as a", "select a from mine", 1, "drop table mine"),
            ("select pg_advisory_lock(9)", locks, 1, "select pg_advisory_unlock(9)"),
            ("prepare mine as select 5", "execute mine", 5, "deallocate mine"),
        ]
        for size in self.SIZES:
            for begin, look, found, end in cases:
                with self.subTest(size=size, sql=begin), self.connect() as connection:
                    connection.execute(self.padded(begin, size))
                    self.assertEqual({self.value(connection, look) for _ in range(8)}, {found})
                    connection.execute(end)
                    self.assert_free(connection)

    def test_a_bulk_insert_keeps_nothing(self):
        with self.connect() as connection:
            connection.execute("create table if not exists bulk (t text)")
            for size in self.SIZES:
                connection.execute(f"insert into bulk values ('{'x' * size}')")
                self.assert_free(connection)

    def test_a_parameterless_text_by_the_extended_protocol(self):
        for size in self.SIZES:
            with self.subTest(size), self.connect() as connection:
                connection.pgconn.exec_params(self.padded("set work_mem = '7MB'", size).encode(), [])
                self.assertEqual({self.value(connection, "show work_mem") for _ in range(8)}, {"7MB"})

    def test_a_statement_without_a_name(self):
        def run(connection):
            result = connection.pgconn.exec_prepared(b"", [])
            return result.get_value(0, 0) or result.error_field(psycopg.pq.DiagnosticField.SQLSTATE)

        with self.connect() as connection:
            for size, said in ((20_000, [b"5", b"5"]), (300_000, [b"5", b"54000"]), (1_300_000, [b"54000"])):
                with self.subTest(size):
                    connection.pgconn.prepare(b"", self.padded("select 5", size).encode())
                    self.assertEqual([run(connection) for _ in said], said)
                    self.assertEqual(self.value(connection, "select 1"), 1)


class Names(VirtualSession):
    def test_too_long_ones_are_refused_by_their_limit(self):
        refused = [
            parse("select 1", "n" * 8192),
            parse("select 1", "n" * 200_000),
            parse("select 1") + bind("", "p" * 8192),
            parse("select 1") + bind("n" * 8192, "p"),
        ]
        for n, messages in enumerate(refused):
            with self.subTest(n), Wire(self.weir.port).login("app", "app") as wire:
                wire.send(messages, sync())
                error = first_error(wire.until_ready())
                self.assertEqual(error["C"], "54000", error)
                self.assertIn("8191", error["M"])
                self.assertEqual(wire.value("select 5"), "5")
        with Wire(self.weir.port).login("app", "app") as wire:
            name = "n" * 8191
            wire.send(parse("select 1", name), sync(), bind(name, name), sync())
            for _ in range(2):
                self.assertIsNone(first_error(wire.until_ready()))


class FunctionCalls(VirtualSession):
    SET_CONFIG, LOCK, UNLOCK_ALL = 2078, 2880, 2892  # of pg_proc

    def call(self, wire, oid, *arguments):
        body = struct.pack("!ihhh", oid, 1, 1 if oid == self.LOCK else 0, len(arguments))
        for each in arguments:
            body += struct.pack("!i", len(each)) + each
        wire.send(message(b"F", body + struct.pack("!h", 0)))
        self.assertIsNone(first_error(wire.until_ready()))

    def assert_not_pinned(self, wire):
        def pids():
            return {wire.value("select pg_backend_pid()") for _ in range(12)}

        wait_until(lambda: len(pids()) == SERVERS, what="no pin")

    def test_what_they_leave_is_kept(self):
        locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        with Wire(self.weir.port).login("app", "app") as wire:
            self.call(wire, self.SET_CONFIG, b"work_mem", b"9MB", b"f")
            self.assertEqual({wire.value("show work_mem") for _ in range(8)}, {"9MB"})
            self.assert_not_pinned(wire)
            self.call(wire, self.SET_CONFIG, b"app.token", b"mine", b"f")
            self.assertEqual({wire.value("show app.token") for _ in range(8)}, {"mine"})
            self.call(wire, self.LOCK, struct.pack("!q", 77))
            self.assertEqual({wire.value(locks) for _ in range(8)}, {"1"})
            self.call(wire, self.UNLOCK_ALL)
            self.assert_not_pinned(wire)
            self.assertEqual({wire.value("show work_mem") for _ in range(8)}, {"9MB"})


class Seeds(VirtualSession):
    def test_the_seed_of_random_is_left_to_nobody(self):
        """setseed(), and what nobody could name: a client that knows the seed could foretell what others draw."""
        told = self.postgres.sql("select random() from setseed(0.5)")[0][0]
        set_seed = struct.pack("!ihhi", 1599, 0, 1, 3) + b"0.5" + struct.pack("!h", 0)
        texts = (
            "do $$ begin execute 'select set' || 'seed(0.5)'; end $$",
            "do $$ begin perform set_config('se' || 'ed', '0.5', false); end $$",
        )
        for n in range(3 * SERVERS):
            with Wire(self.weir.port).login("app", "app") as wire:
                if n % 3 == 2:
                    wire.send(message(b"F", set_seed))
                    self.assertIsNone(first_error(wire.until_ready()))
                else:
                    self.assertIsNone(first_error(wire.query(texts[n % 3])))
        for _ in range(2 * SERVERS):
            with self.connect() as connection:
                self.assertNotEqual(self.value(connection, "select random()"), told)


class Sequences(VirtualSession):
    """Whoever asks first of all clients of pgweir."""

    LASTVAL = 2559

    def test_the_first_lastval_in_a_transaction_is_ones_own_or_none(self):
        with self.connect() as one:
            one.execute("create sequence first_of_all start 1000; create sequence own")
            for _ in range(2 * SERVERS):
                self.value(one, "select nextval('first_of_all')")
        # Each on a server that others have used, in the same moment: from then on pgweir looks to it.
        asking = [self.connect() for _ in range(2)]
        for connection in asking:
            self.addCleanup(connection.close)
            connection.execute("begin")
        self.assertEqual(self.value(asking[0], "select nextval('own')"), 1)
        with self.assertRaises(psycopg.errors.ObjectNotInPrerequisiteState):
            self.value(asking[1], "select lastval()")
        self.assertEqual(self.value(asking[0], "select lastval()"), 1)
        self.assertEqual(self.value(asking[0], "select currval('own')"), 1)


class SequencesByNumber(VirtualSession):
    def test_the_first_lastval_by_a_function_call_is_none_of_others(self):
        with self.connect() as one:
            one.execute("create sequence first_of_all start 1000")
            for _ in range(2 * SERVERS):
                self.value(one, "select nextval('first_of_all')")
        for begin in (False, True):
            with Wire(self.weir.port).login("app", "app") as wire:
                if begin:
                    wire.query("begin")
                wire.send(message(b"F", struct.pack("!ihhh", Sequences.LASTVAL, 0, 0, 0)))
                self.assertEqual(first_error(wire.until_ready())["C"], "55000")


class Starts(VirtualSession):
    """What sessions begin with is altered: servers that began otherwise are replaced, once a second at most."""

    def comes_to(self, value, *clients):
        def everywhere():
            return all(self.value(one, "show lock_timeout") == value for _ in range(2 * SERVERS) for one in clients)

        wait_until(everywhere, what=f"{value} on all servers")

    def test_by_the_user_itself(self):
        with self.connect() as one, self.connect() as other:
            one.execute("alter role app set lock_timeout = '77s'; alter role app set datestyle = 'ISO, DMY'")
            self.comes_to("77s", one, other)
            with self.connect() as late:
                self.assertEqual(late.info.parameter_status("DateStyle"), "ISO, DMY")
                late.execute("alter role app reset all")
            self.comes_to("0", one, other)

    def test_by_a_superuser(self):
        with self.connect() as one, self.connect("boss") as boss:
            one.execute("select 1")
            for order in ("role app", "database app", "role all", "role app in database app"):
                boss.execute(f"alter {order} set lock_timeout = '78s'")
                self.comes_to("78s", one)
                boss.execute(f"alter {order} reset lock_timeout")
                self.comes_to("0", one)

    def test_without_end(self):
        """Who shares the user goes on with his servers for a second."""
        with self.connect() as one:
            before = self.weir.log().count('"message":"server connected"')
            begun = time.monotonic()
            for n in range(300):
                one.execute(f"alter role app set lock_timeout = {n + 1000}")
            seconds = time.monotonic() - begun
            made = self.weir.log().count('"message":"server connected"') - before
            self.assertLessEqual(made, (seconds + 2) * (SERVERS + 1))
            one.execute("alter role app reset all")
            self.comes_to("0", one)


class Superusers(VirtualSession):
    def test_whom_one_speaks_as_follows_and_does_not_stay(self):
        with self.connect("boss") as one, self.connect("boss") as other:
            one.execute("set session authorization reader")
            for _ in range(2 * SERVERS):
                self.assertEqual(self.value(one, "select session_user"), "reader")
                self.assertEqual(self.value(other, "select session_user"), "boss")
            with self.assertRaises(psycopg.errors.InsufficientPrivilege):
                one.execute("select count(*) from pg_authid")
            one.execute("begin; set local session authorization app")
            self.assertEqual(self.value(one, "select session_user"), "app")
            one.execute("rollback")
            self.assertEqual({self.value(one, "select session_user") for _ in range(8)}, {"reader"})
            one.execute("reset session authorization")
            self.assertEqual({self.value(one, "select session_user") for _ in range(8)}, {"boss"})
        with self.connect("boss", options="-c session_authorization=reader") as one:
            self.assertEqual(self.value(one, "select session_user"), "boss")


class Doubts(VirtualSession):
    """What is sent before it is known which names the client has."""

    def test_a_name_whose_close_is_skipped(self):
        close = message(b"C", b"Ss\0")
        for text, code in (("prepare s as select 6", "42P05"), ("execute s", None)):
            with self.subTest(text=text), Wire(self.weir.port).login("app", "app") as wire:
                wire.send(parse("select 5", "s"), sync())
                wire.until_ready()
                wire.send(bind("none"), close, sync(), query(text))
                self.assertEqual(first_error(wire.until_ready())["C"], "26000")
                answer = first_error(wire.until_ready())
                self.assertEqual(answer and answer["C"], code)
                wire.send(bind("s"), execute(), sync())
                rows = [payload for kind, payload in wire.until_ready() if kind == b"D"]
                self.assertEqual(rows, [b"\0\1\0\0\0\x015"])

    def test_execute_behind_the_rollback_of_a_failed_transaction(self):
        for way in ("rollback", "rollback to a"):
            for _ in range(SERVERS):
                with self.subTest(way=way), Wire(self.weir.port).login("app", "app") as wire:
                    wire.send(parse("select 5", "s"), sync())
                    wire.until_ready()
                    for sql in ("begin", "savepoint a", "select 1/0"):
                        wire.query(sql)
                    self.assertEqual(wire.value(f"{way}; execute s"), "5")
                    for sql in ("begin", "savepoint a", "select 1/0"):
                        wire.query(sql)
                    answer = wire.query(f"{way}; prepare s as select 6")
                    self.assertEqual(first_error(answer)["C"], "42P05")
                    self.assertNotIn(b"N", {kind for kind, _ in answer})

    def test_code_that_executes_what_the_protocol_prepared(self):
        with Wire(self.weir.port).login("app", "app") as wire:
            wire.send(parse("select 2", "s2"), sync())
            wire.until_ready()
            for _ in range(SERVERS):
                self.assertIsNone(first_error(wire.query("do $$ begin execute 'execute s2'; end $$")))


class EqualSettings(PgweirCase):
    """Without rotation: each client goes where its settings are already."""

    def test_a_server_that_has_them_is_lent_first(self):
        postgres = self.postgres
        postgres.create_user("equal", "s3cret")
        postgres.create_database("equal", owner="equal")
        postgres.sql("alter database equal set log_statement = 'all'")
        weir = self.pgweir(
            {
                "tiers": {"equal": TIER},
                "tenants": {"equal": {"tier": "equal", "backend": "main", "database": "equal"}},
            },
            users={"equal": "s3cret", "admin": "adm1n"},
        )

        def connect(**options):
            client = weir.connect("equal", "equal", autocommit=True, prepare_threshold=None, **options)
            self.addCleanup(client.close)
            return client

        warm = [connect() for _ in range(SERVERS)]
        for client in warm:
            client.execute("begin")
        for client in warm:
            client.execute("commit")
        clients = [connect(options=f"-c work_mem={5 + n % 3}MB") for n in range(6)]
        plain = connect()

        def pid(client):
            return client.execute("select pg_backend_pid()").fetchone()[0]

        first = [pid(client) for client in clients]
        self.assertEqual(len(set(first)), 3)
        self.assertEqual(first[:3], first[3:])
        self.assertNotIn(pid(plain), first)
        before = postgres.log().count("pgweir_set")
        self.assertGreater(before, 0)
        for _ in range(10):
            self.assertEqual([pid(client) for client in clients], first)
            pid(plain)
        self.assertEqual(postgres.log().count("pgweir_set"), before)


class Pins(VirtualSession):
    def test_temporary_tables(self):
        def work(connection, me):
            connection.execute("create temp table t (who int)")
            connection.execute("insert into t values (%s)", (me,))
            for _ in range(5):
                self.assertEqual(self.value(connection, "select who from t"), me)
            connection.execute("drop table t")

        self.at_once(work)
        with self.connect() as connection:
            connection.execute("create temp table t (who int)")
            self.assert_pinned(connection)
            connection.execute("drop table t")
            self.assert_free(connection)
            connection.execute("begin; create temp table t (who int) on commit drop; commit")
            self.assert_free(connection)
            connection.execute("begin; create temp table t (who int); rollback")
            self.assert_free(connection)
            connection.execute("create temp table t (who int)")
            connection.execute("discard all")
            self.assert_free(connection)

    def test_a_client_that_leaves_leaves_nothing(self):
        for _ in range(SERVERS):
            connection = self.connect()
            connection.execute("create temp table left_over (who int)")
            connection.execute("select pg_advisory_lock(7)")
            connection.close()
        with self.connect() as connection:
            for _ in range(2 * SERVERS):
                with self.assertRaises(psycopg.errors.UndefinedTable):
                    connection.execute("select * from left_over")
                locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
                self.assertEqual(self.value(connection, locks), 0)

    def test_held_cursors(self):
        def work(connection, me):
            connection.execute(f"begin; declare c cursor with hold for select {me} from generate_series(1, 9); commit")
            for _ in range(5):
                self.assertEqual(self.value(connection, "fetch c"), me)
            connection.execute("close c")

        self.at_once(work)
        with self.connect() as connection:
            connection.execute("declare c cursor with hold for select 1")
            self.assert_pinned(connection)
            connection.execute("close all")
            self.assert_free(connection)

    def test_advisory_locks(self):
        with self.connect() as one, self.connect() as two:
            self.assertTrue(self.value(one, "select pg_try_advisory_lock(42)"))
            self.assert_pinned(one)
            for _ in range(SERVERS):
                self.assertFalse(self.value(two, "select pg_try_advisory_lock(42)"))
            self.assertTrue(self.value(one, "select pg_advisory_unlock(42)"))
            self.assert_free(one)
            self.assertTrue(self.value(two, "select pg_try_advisory_lock(42)"))
            two.execute("select pg_advisory_unlock_all()")
            self.assert_free(two)
            one.execute("begin; select pg_advisory_xact_lock(42); commit")
            self.assert_free(one)

    def test_listen(self):
        with self.connect() as ears, self.connect() as mouth:
            ears.execute("listen news")
            mouth.execute("notify news, 'hello'")
            mouth.execute("notify other, 'not for you'")
            heard = None
            deadline = time.monotonic() + 20
            while heard is None and time.monotonic() < deadline:
                ears.pgconn.consume_input()
                heard = ears.pgconn.notifies()
                time.sleep(0.01)
            self.assertEqual((heard.relname, heard.extra), (b"news", b"hello"))
            ears.execute("unlisten *")
            self.assert_free(ears)

    def test_sql_level_statements(self):
        def work(connection, me):
            connection.execute(f"prepare p (int) as select $1 + {me}")
            for n in range(5):
                self.assertEqual(self.value(connection, f"execute p({n})"), n + me)
            with self.assertRaises(psycopg.errors.DuplicatePreparedStatement):
                connection.execute("prepare p as select 1")
            connection.execute("deallocate p")
            with self.assertRaises(psycopg.errors.InvalidSqlStatementName):
                connection.execute("execute p(1)")

        self.at_once(work)

    def test_what_only_looks_like_state_pins_nobody(self):
        with self.connect() as connection:
            for sql in (
                "do $$ begin perform 1; end $$",
                "create table if not exists plain (temp int)",
                "select 'create temp table t (i int)'",
                "set transaction isolation level serializable",
            ):
                connection.execute(sql)
            self.assert_free(connection)


class Code(VirtualSession):
    def assert_free(self, connection):
        # One that is being cleaned is missing for a moment.
        wait_until(lambda: len(self.pids(connection)) == SERVERS, what="a client that keeps no server")

    def test_what_an_execute_sets_follows_its_client(self):
        rows = [
            "do $$ begin execute 'set app.who = ''{me}'''; end $$",
            "do $$ begin execute format('set app.who = %L', '{me}'); end $$",
            "do $$ declare v text := '{me}'; begin execute 'set app.who = ' || quote_literal(v); end $$",
            "do $a$ begin do $b$ begin set app.who = '{me}'; end $b$; end $a$",
            "do $a$ begin execute $b$ do 'begin execute ''set app.who = {me}''; end' $b$; end $a$",
            "do $$ begin execute 'select set_config($1, $2, false)' using 'app.' || 'who', '{me}';"
            " perform set_config('app.who', '{me}', false); end $$",
        ]

        def work(connection, me):
            for n, row in enumerate(rows):
                mine = f"c{me}_{n}"
                connection.execute(row.format(me=mine))
                for _ in range(SERVERS + 1):
                    self.assertEqual(self.value(connection, "select current_setting('app.who', true)"), mine, row)
                with self.assertRaises(psycopg.errors.DivisionByZero):
                    with connection.transaction():
                        connection.execute(row.format(me="never"))
                        connection.execute("select 1/0")
                self.assertEqual(self.value(connection, "select current_setting('app.who', true)"), mine, row)
            connection.execute("do $$ begin execute 'reset app.who'; end $$")
            for _ in range(SERVERS + 1):
                self.assertIn(self.value(connection, "select current_setting('app.who', true)"), ("", None))

        self.at_once(work)

    def test_a_path_that_is_made_at_run_time(self):
        with self.connect() as connection:
            connection.execute("do $$ begin execute format('set search_path to %I, public', 'odd name'); end $$")
            for _ in range(SERVERS + 1):
                self.assertEqual(self.value(connection, "show search_path"), '"odd name", public')
            with self.connect() as other:
                for _ in range(SERVERS + 1):
                    self.assertEqual(self.value(other, "show search_path"), '"$user", public')

    def test_what_an_execute_makes_keeps_the_server(self):
        with self.connect() as connection:
            for make in (
                "do $$ begin execute 'create temp table made (i int)'; end $$",
                "do $a$ begin do $b$ begin create temp table made (i int); end $b$; end $a$",
            ):
                connection.execute(make)
                self.assertEqual(self.value(connection, "select count(*) from made"), 0)
                self.assert_pinned(connection)
                connection.execute("drop table made")
                self.assert_free(connection)
            connection.execute("do $a$ begin do $b$ begin execute 'select pg_advisory_lock(77)'; end $b$; end $a$")
            self.assert_pinned(connection)
            connection.execute("select pg_advisory_unlock_all()")
            self.assert_free(connection)

    def test_any_of_many_statements(self):
        """Code that nobody can read may EXECUTE each of them; where they are too many, the error says so."""
        text = "do $$ begin execute 'execute p' || {}; end $$"

        def prepare(connection, numbers):
            for at in range(0, len(numbers), 25):
                connection.execute(";".join(f"prepare p{n} as select {n}" for n in numbers[at : at + 25]))

        with self.connect() as connection:
            prepare(connection, range(300))
            for n in (0, 299):
                connection.execute(text.format(n))
            self.assert_free(connection)
            prepare(connection, range(300, 1050))
            with self.assertRaises(psycopg.errors.ProgramLimitExceeded) as caught:
                connection.execute(text.format(1049))
            self.assertIn("is given 1000 of 1048576 bytes at most; the client has 1050 of", str(caught.exception))
            with self.assertRaises(psycopg.errors.ProgramLimitExceeded):
                connection.execute(text.format(7), binary=True)
            connection.execute("do $$ begin execute 'select ' || 1; end $$")
            self.assertEqual(self.value(connection, "execute p1049"), 1049)
            connection.execute(";".join(f"deallocate p{n}" for n in range(50)))
            connection.execute(text.format(1049))
            with self.assertRaises(psycopg.errors.InvalidSqlStatementName):
                connection.execute(text.format(7))
            self.assertEqual(self.value(connection, "execute p1049"), 1049)


class Hasty(VirtualSession):
    def test_a_tiny_timeout_ends_no_hand_over(self):
        """Neither that of the client who has it nor that of the next client of its server."""
        mine = "-c statement_timeout=1ms -c work_mem=7{me}kB -c timezone=UTC"

        def hasty(me):
            canceled = 0
            with self.connect(options=mine.format(me=me), application_name=f"hasty {me}") as connection:
                for n in range(150):
                    try:
                        self.assertEqual(self.value(connection, "show work_mem"), f"7{me}kB")
                        if n % 5 == 0 and me == 0:
                            connection.execute("set statement_timeout = '2ms'; create temp table if not exists t ()")
                            connection.execute("drop table if exists t; set statement_timeout = 1")
                    except psycopg.errors.QueryCanceled:
                        canceled += 1  # its own request
            return canceled

        def patient(me):
            with self.connect(options=f"-c work_mem=8{me}kB") as connection:
                for _ in range(300):
                    self.assertEqual(self.value(connection, "show work_mem"), f"8{me}kB")
                    self.assertNotIn(self.value(connection, "show statement_timeout"), ("1ms", "2ms"))

        burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
        try:
            with ThreadPoolExecutor(8) as threads:
                works = [threads.submit(work, me) for work in (hasty, patient) for me in range(4)]
                for work in works:
                    work.result()
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()


class Statements(VirtualSession):
    def test_deallocate_beside_what_fails(self):
        """It takes place as it is run, whatever becomes of the text; names that it never came to remain."""
        texts = [
            "deallocate a; select 1/0",
            "select 1/0; deallocate a",
            "deallocate a; select 1/0; deallocate b",
            "deallocate a; deallocate a; deallocate b",
            "deallocate nobody; deallocate a",
            "begin; deallocate a; rollback",
            "begin; deallocate a; select 1/0; deallocate b",
            "deallocate a; this is no sql",
            "deallocate a; select 1; deallocate prepare b",
            "deallocate c; deallocate a; select 1/0; deallocate b",
            "deallocate a; deallocate all; select 1/0",
        ]

        def left(connection, text):
            for name in ("a", "b"):
                connection.pgconn.prepare(name.encode(), b"select 1")
            connection.execute("prepare c as select 3")
            try:
                connection.execute(text)
                said = None
            except psycopg.Error as error:
                said = error.sqlstate
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("rollback")
            names = [n for n in ("a", "b") if not connection.pgconn.exec_prepared(n.encode(), []).error_message]
            try:
                connection.execute("execute c")
                names.append("c")
            except psycopg.errors.InvalidSqlStatementName:
                pass
            connection.execute("deallocate all")
            return said, names

        with self.connect() as through, self.postgres.connect("app", "app", prepare_threshold=None) as direct:
            for text in texts:
                with self.subTest(text):
                    for _ in range(2):
                        self.assertEqual(left(through, text), left(direct, text))

    def test_deallocate_finds_what_the_protocol_prepared(self):
        def work(connection, me):
            for n in range(5):
                name = f"s{me}"
                connection.pgconn.prepare(name.encode(), f"select {me}::int".encode())
                result = connection.pgconn.exec_prepared(name.encode(), [])
                self.assertEqual(result.get_value(0, 0), str(me).encode())
                if n % 2:
                    connection.execute("begin; select 1")
                    connection.execute(f"deallocate {name}")
                    connection.execute("commit")
                else:
                    connection.execute(f"deallocate prepare {name}")
                self.assertIn(b"does not exist", connection.pgconn.exec_prepared(name.encode(), []).error_message)

        self.at_once(work)

    def test_long_ones(self):
        with self.connect() as connection:
            for size in (10_000, 70_000, 200_000):
                text = f"select {size} /* {'x' * size} */".encode()
                for name in (b"", b"named%d" % size):
                    connection.pgconn.prepare(name, text)
                    for _ in range(SERVERS):
                        result = connection.pgconn.exec_prepared(name, [])
                        self.assertEqual(result.get_value(0, 0), str(size).encode(), result.error_message)

    def test_deallocate_in_a_pipeline(self):
        with self.connect() as connection:
            connection.pgconn.prepare(b"s", b"select 1")
            with connection.pipeline():
                before = connection.execute("select 'before'")
                connection.execute("deallocate s")
                after = connection.execute("select 'after'")
            self.assertEqual((before.fetchone()[0], after.fetchone()[0]), ("before", "after"))
            self.assertIn(b"does not exist", connection.pgconn.exec_prepared(b"s", []).error_message)

    def test_discard_all_forgets_them(self):
        with self.connect() as connection:
            connection.pgconn.prepare(b"s", b"select 1")
            connection.execute("discard all")
            self.assertIn(b"does not exist", connection.pgconn.exec_prepared(b"s", []).error_message)
            connection.pgconn.prepare(b"s", b"select 2")
            self.assertEqual(connection.pgconn.exec_prepared(b"s", []).get_value(0, 0), b"2")


class Schemas(VirtualSession):
    """A schema for each customer, chosen by each transaction; the text of the statement is the same for all."""

    CHOICES = (
        "set local search_path = {}",
        "set search_path = {}",
        "select set_config('search_path', '{}', true)",
        "do $$ begin set local search_path = {}; end $$",
    )

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.postgres.connect("app", "app", autocommit=True) as owner:
            for schema, kind in (("morning", "date"), ("evening", "timestamp"), ("night", "text")):
                owner.execute(f"create schema {schema}; create table {schema}.visits (at {kind}, who text)")
                owner.execute(f"insert into {schema}.visits values ('2021-04-03 00:00', 'midnight of {schema}')")
                owner.execute(f"insert into {schema}.visits values ('2021-04-03 12:00', 'noon of {schema}')")
            owner.execute("delete from morning.visits where who like 'noon%'")

    def test_each_finds_its_own(self):
        for choice in self.CHOICES:
            with self.subTest(choice), self.connect() as a, self.connect() as b, self.connect() as c:
                turns = [(a, "morning", "midnight"), (b, "evening", "noon"), (c, "night", "noon")]
                for client, schema, _ in turns:
                    client.execute("begin")
                    client.execute(choice.format(schema))
                    client.pgconn.prepare(b"visit", b"select who from visits where at = $1")
                    client.execute("commit")
                for _ in range(2 * SERVERS + 1):
                    for client, schema, when in turns:
                        client.execute("begin")
                        client.execute(choice.format(schema))
                        found = client.pgconn.exec_prepared(b"visit", [b"2021-04-03 12:00"])
                        self.assertEqual(found.ntuples, 1, found.error_message)
                        self.assertEqual(found.get_value(0, 0).decode(), f"{when} of {schema}")
                        client.execute("commit")

    def test_a_setting_behind_a_parse_in_its_transaction(self):
        with Wire(self.weir.port) as changing, self.connect() as steady:
            changing.login("app", "app")
            text = "select '03/04/2021'::date - '2021-01-01'::date"
            changing.send(parse(text, "s"), sync())
            changing.until_ready()
            steady.pgconn.prepare(b"s", text.encode())
            for n in range(2 * SERVERS):
                changing.query("begin")
                changing.query("set datestyle = 'ISO, DMY'")
                changing.send(parse("select 1"), bind(), execute(), bind("s"), execute(), sync())
                self.assertEqual(kinds(changing.until_ready()), "12DC2DCZ")
                changing.query("rollback")
                self.assertEqual(steady.pgconn.exec_prepared(b"s", []).get_value(0, 0), b"62", n)

    def test_what_constants_come_to(self):
        text = b"select '{1,null}'::text[] is null, 0.1::float8::text, '\\xff'::bytea::text"
        with self.connect() as a, self.connect() as b:
            a.execute("set extra_float_digits = -10")
            a.execute("set bytea_output = escape")
            a.execute("set array_nulls = off")
            for client in (a, b):
                client.pgconn.prepare(b"s", text)
            with self.postgres.connect("app", "app") as direct:
                expected = direct.pgconn.exec_(text).get_value(0, 1)
            for _ in range(2 * SERVERS):
                a.pgconn.exec_prepared(b"s", [])
                found = b.pgconn.exec_prepared(b"s", [])
                self.assertEqual((found.get_value(0, 1), found.get_value(0, 2)), (expected, b"\\xff"))


class Unsynced(VirtualSession):
    def test_what_is_left_before_its_sync_is_not_done(self):
        with self.connect() as owner:
            owner.execute("create table unsynced (n int)")
        insert = parse("insert into unsynced values (1)") + bind() + execute()
        for heard in (False, True):
            for last in (b"", message(b"X")):
                with Wire(self.weir.port) as wire:
                    wire.login("app", "app")
                    wire.send(insert, flush() if heard else b"")
                    if heard:
                        self.assertEqual(kinds(wire.receive() for _ in range(3)), "12C")
                    wire.send(last)
        for first in ("begin", "select 1"):
            with Wire(self.weir.port) as wire:
                wire.login("app", "app")
                wire.send(parse(first), bind(), execute(), insert)
        with self.connect() as watcher:
            for _ in range(2 * SERVERS):
                self.assertEqual(self.value(watcher, "select count(*) from unsynced"), 0)
        # Nothing of it is still to come.
        wait_until(
            lambda: self.postgres.sql("select count(*) from pg_stat_activity where usename = 'app' and state <> 'idle'")
            == [(0,)],
            what="idle servers",
        )
        self.assertEqual(self.postgres.sql("select count(*) from unsynced", "app"), [(0,)])


class Vanishing(VirtualSession):
    def test_the_query_is_canceled_and_the_server_used_again(self):
        with self.connect() as watcher:
            before = self.pids(watcher, 20)
            for sql in ("select pg_sleep(60)", "begin; select pg_sleep(60)", "begin"):
                client = self.connect()
                client.pgconn.send_query(sql.encode())
                client.pgconn.flush()
                time.sleep(0.2)
                fd = socket.socket(fileno=client.pgconn.socket)
                fd.shutdown(socket.SHUT_RDWR)
                fd.detach()
            running = "select count(*) from pg_stat_activity where state <> 'idle' and pid <> pg_backend_pid() " \
                      "and usename = 'app'"
            deadline = time.monotonic() + 20
            # Once is enough: pgweir itself asks its servers something now and then.
            while (left := self.value(watcher, running)) > 0 and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(left, 0)
            deadline = time.monotonic() + 20
            while self.pids(watcher, 20) != before and time.monotonic() < deadline:
                time.sleep(0.05)
            self.assertEqual(self.pids(watcher, 20), before)


if __name__ == "__main__":
    unittest.main()
