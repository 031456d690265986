"""Random sequences of requests from seeds: pgweir must answer each request as Postgres itself does.

What a client sets, prepares, declares and locks is asked for again behind every few steps, while other clients leave
other settings on the same servers. Of every four seeds two are played under ceilings, where texts are read and judged.
The seeds are always the same ones, and some of the day. PGWEIR_ANSWER_SEEDS=7..400,9000..9019 plays others; a failure
names its seed, its steps, and what plays it again behind the same ones.
"""

import os
import random
import re
import struct
import time
import unittest

from harness import PgweirCase
from harness.pgweir import LOFTY_TIMES, rotating
from harness.postgres import TRUST
from harness.wire import Closed, Wire, bind, describe, error_fields, execute, message, parse, query, sync

OF_THE_DAY = 20
TODAY = int(time.time() // 86400) * OF_THE_DAY
SEEDS = os.environ.get("PGWEIR_ANSWER_SEEDS") or f"1..150,{TODAY}..{TODAY + OF_THE_DAY - 1}"
TIER = {"pool_size": 4, "max_server_connections": 4, "max_clients": 100, "max_pinned_clients": 100}
SCHEMA = """
create table t (a int, b text);
insert into t select i, 'v' || i from generate_series(1, 6) i;
create schema s1; create table s1.t (a int, b text); insert into s1.t values (11, 's1');
create schema s2; create table s2.t (a int, b text);
create table kept (a int primary key);
create function set_work_mem(v text) returns text language plpgsql as
  $$ begin perform set_config('work_mem', v, false); return v; end $$;
create function set_and_fail(v text) returns text language plpgsql as $$ begin
  begin set work_mem = '11MB'; raise exception 'taken back';
  exception when others then perform set_config('app.caught', '1', false); end;
  return v; end $$;
"""
SETTINGS = {
    "work_mem": ("'1MB'", "'2MB'", "3000", "'bad'"),
    "app.x": ("'a'", "'b'"),
    "app.y": ("'q''r'", "c"),
    "search_path": ("s1", "s2, public", "'nope'", "''"),
    "datestyle": ("'DMY'", "'SQL'", "'German'", "'ISO, MDY'", "'YMD'"),
    "timezone": ("'UTC'", "'Asia/Tokyo'", "'x/y'"),
    "statement_timeout": ("'1min'", "0", "'70s'"),
    "default_transaction_isolation": ("serializable", "'read committed'"),
    "client_encoding": ("latin1", "utf8"),
}
OF_LITERALS = ("datestyle", "timezone")
NAMES = ", ".join(f"current_setting('{name}', true)" for name in [*SETTINGS, "app.caught"])
ALL = f"select {NAMES}, current_user::text, count(*) from public.kept"
# How often each family is drawn, and its texts.
FAMILIES = (
    (10, ("begin", "begin", "start transaction read only")),
    (10, ("commit", "rollback", "commit and chain", "rollback and chain", "abort", "end")),
    (10, ("savepoint a", "savepoint b", "rollback to a", "rollback to b", "release a", "release b")),
    (4, ("reset all", "discard all", "set role reader", "reset role", "set local role reader",
         "set session authorization default")),
    (5, ("select 1/0", "nonsense", "select * from nope")),
    (4, ("select public.set_work_mem('7MB')", "select public.set_and_fail('9MB')")),
    (10, ("prepare p as select '01/02/2026'::date", "prepare q as values ('2020-01-01 10:00'::timestamptz)",
          "prepare p as select 'sql', now() is null", "prepare q as select * from public.t", "prepare s as select 7",
          "prepare w(text) as select set_config('work_mem', $1, false)",
          "prepare v as select public.set_work_mem('10MB')")),
    (12, ("execute p", "execute q", "execute s", "execute v", "execute w('4MB')", "execute p; select 1",
          "deallocate p; prepare p as select 3", "commit; execute p", "rollback; prepare p as select 9; execute q",
          "end and chain; deallocate q; execute p")),
    (5, ("deallocate p", "deallocate q", "deallocate all", "deallocate s", "deallocate w", "deallocate p; execute p")),
    (5, ("create temp table tmp (a int)", "drop table tmp", "insert into tmp values (1)", "select * from tmp",
         "create temp table brief on commit drop as select 1 as x", "select * from brief", "discard temp")),
    (5, ("declare c cursor with hold for select a from public.t", "fetch c", "close c", "close all",
         "declare d cursor for select a from public.t", "fetch d")),
    (4, ("insert into public.kept values (1)", "insert into public.kept values (2)", "delete from public.kept")),
    (3, ("select a, b from t limit 1", "show work_mem", "show search_path")),
    (3, ("select pg_advisory_lock(7)", "select pg_advisory_unlock(7)", "select pg_advisory_unlock_all()",
         "select pg_advisory_xact_lock(8)")),
    (3, ("do $$ begin set work_mem = '6MB'; end $$", "do $$ begin set local app.x = 'd'; end $$",
         "do $$ begin perform set_config('app.y', 'dd', false); raise exception 'x'; end $$")),
    (3, (ALL,)),
)
# What is refused or lowered where there are ceilings, however high, and what is said there instead.
BELOW = {
    "set_config('work_mem', $1": "set_config('app.x', $1",  # the value is not in the text
    "'bad'": "'-7'",  # not a value at all
    "statement_timeout = 0": "statement_timeout = '80s'",  # no limit
    "'statement_timeout', '0'": "'statement_timeout', '80s'",
}
OF_PROTOCOL = ("select 'proto', now() is null", "select * from public.t limit 1", "select set_config('app.x', '7', false)")


SYNC = ("Sync", sync())


def simple(text):
    return text, query(text)


class Author:
    """What a client says, as its seed has it: steps, each a list of messages with what they are in words.

    Postgres reads the literals of a prepared statement anew when search_path has changed, pgweir does not: a client has
    other paths, or literals that could be read otherwise.
    """

    def __init__(self, seed, below=False):
        self._instead = BELOW if below else {}
        self._random = random.Random(seed)
        self._settings = [name for name in SETTINGS if name not in (OF_LITERALS if seed % 2 else ("search_path",))]

    def steps(self):
        for _ in range(self._random.randint(8, 30)):
            yield self._step()
            if self._random.random() < 0.3:
                yield [simple(ALL)]
        for last in ("rollback", ALL, ALL, "discard all", ALL, "delete from public.kept"):
            yield [simple(last)]

    def _statement(self):
        text = self._setting() if self._random.random() < 0.33 else self._other()
        for refused, instead in self._instead.items():
            text = text.replace(refused, instead)
        return text

    def _other(self):
        weights = [weight for weight, _ in FAMILIES]
        return self._random.choice(self._random.choices(FAMILIES, weights)[0][1])

    def _setting(self):
        name = self._random.choice(self._settings)
        value = self._random.choice(SETTINGS[name])
        text = value if value.startswith("'") else f"'{value}'"
        return self._random.choices(
            (f"set {name} = {value}", f"set local {name} = {value}", f"reset {name}", f"set {name} to default",
             f"select set_config('{name}', {text}, {self._random.choice(('true', 'false'))})"),
            (20, 8, 5, 3, 5))[0]

    def _step(self):
        kind = self._random.random()
        if kind < 0.5:
            return [simple(self._statement())]
        if kind < 0.65:
            return [simple("; ".join(self._statement() for _ in range(self._random.randint(2, 4))))]
        batch = []
        for _ in range(self._random.randint(1, 4)):
            name = self._random.choice("psqw")
            kind = self._random.random()
            if kind < 0.5:
                text = self._statement()
                batch.append((f"run {text}", parse(text) + bind() + execute()))
            elif kind < 0.65:
                text = self._random.choice(OF_PROTOCOL)
                batch.append((f"Parse {name}: {text}", parse(text, name)))
            elif kind < 0.8:
                batch.append((f"run {name}", bind(name) + describe(b"P") + execute()))
            elif kind < 0.88:
                batch.append((f"Describe {name}", describe(b"S", name)))
            elif kind < 0.95:
                batch.append((f"Close {name}", message(b"C", b"S" + name.encode() + b"\0")))
            else:
                batch += [SYNC, simple(self._statement())]
        return [*batch, SYNC]


def columns(payload):
    """What a RowDescription says: of tables whether there is one, since temporary ones have another number each time."""
    found, at = [], 2
    for _ in range(struct.unpack("!h", payload[:2])[0]):
        end = payload.index(b"\0", at)
        (table,) = struct.unpack("!i", payload[end + 1 : end + 5])
        found.append((payload[at:end], table > 0, payload[end + 5 : end + 19]))
        at = end + 19
    return tuple(found)


def row(payload):
    """A value that was never set is '' where somebody else has set it before: nobody takes that back."""
    values, at = [], 2
    for _ in range(struct.unpack("!h", payload[:2])[0]):
        (size,) = struct.unpack("!i", payload[at : at + 4])
        at += 4
        values.append(payload[at : at + max(size, 0)])
        at += max(size, 0)
    return tuple(values)


def told(messages):
    """What counts of the answers. ParameterStatus in a row have no order; temporary schemas are numbered."""
    answers = []
    for kind, payload in messages:
        if kind in b"EN":
            fields = error_fields(payload)
            payload = tuple((key, re.sub(r"pg_temp_\d+", "pg_temp", fields[key])) for key in sorted(fields) if key not in "FLR")
        read = {b"D": row, b"T": columns}.get(kind)
        answers.append((kind, read(payload) if read else payload))
    ordered = []
    for answer in answers:
        at = len(ordered)
        while answer[0] == b"S" and at > 0 and ordered[at - 1][0] == b"S" and ordered[at - 1] > answer:
            at -= 1
        ordered.insert(at, answer)
    return ordered


def same(direct, through):
    """In a failed transaction Postgres finds other faults of some requests before it says 25P02; pgweir does not."""
    if len(direct) != len(through):
        return False
    failed = direct[-1:] == [(b"Z", b"E")]
    return all(one == other or (failed and one[0] == b"E" and other[0] == b"E" and dict(other[1])["C"] == "25P02")
               for one, other in zip(direct, through))


class RandomAnswers(PgweirCase):
    databases = ("app",)
    postgres_options = {"hba": TRUST, "settings": LOFTY_TIMES}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.postgres.connect("app") as owner:
            owner.execute("create role reader; grant reader to app; set role app; " + SCHEMA)
        for name in ("lofty", "direct"):
            cls.postgres.sql(f"create database {name} template app owner app")  # with the same numbers of tables
        cls.weir = cls.class_pgweir(rotating(TIER), users={"app": "s3cret", "admin": "adm1n"})
        cls.others = {tenant: cls.crowd(tenant) for tenant in ("app", "lofty")}

    @classmethod
    def crowd(cls, tenant):
        """Clients who leave what they have on the servers of the tenant."""
        others = [Wire(cls.weir.port).login("app", tenant) for _ in range(3)]
        for number, other in enumerate(others):
            cls.addClassCleanup(other.close)
            other.query(f"set work_mem = '{20 + number}MB'; set app.x = 'other'; set app.y = 'other'; set datestyle = 'German';"
                        f"set search_path = nowhere; set timezone = 'Asia/Kolkata'; set statement_timeout = '{50 + number}s'")
            other.query("prepare p as select 'of another client'; prepare w as select 'of another client'")
        return others

    def answers(self, client, step):
        client.send(*(sent for _, sent in step))
        found = []
        try:
            for _ in range(sum(sent[:1] in b"QS" for _, sent in step)):
                found += client.until_ready()
        except Closed as closed:
            found += [*closed.messages, (b"!", b"closed")]
        return told(found)

    def play(self, seed):
        tenant = ("app", "lofty")[seed // 2 % 2]
        with (
            Wire(self.postgres.port).login("app", "direct") as direct,
            Wire(self.weir.port).login("app", tenant) as through,
        ):
            steps = []
            for step in Author(seed, below=tenant == "lofty").steps():
                for other in self.others[tenant][:2]:
                    other.query("execute p")
                steps.append(" | ".join(text for text, _ in step).replace(ALL, "ALL"))
                wanted, got = (self.answers(client, step) for client in (direct, through))
                if not same(wanted, got):
                    self.fail("\n".join([f"seed {seed} of {tenant}, behind", *steps, "Postgres:", *map(repr, wanted),
                                         "pgweir:", *map(repr, got)]))

    def test_random_answers(self):
        for at, part in enumerate(parts := SEEDS.split(",")):
            first, last = map(int, part.split(".."))
            for seed in range(first, last + 1):
                again = ",".join([*parts[:at], f"{first}..{seed}"])
                with self.subTest(f"PGWEIR_ANSWER_SEEDS={again}", seed=seed):
                    self.play(seed)


if __name__ == "__main__":
    unittest.main()
