"""One client of the crowd. What it sends goes to pgweir and, word for word, to a Postgres session of its own.

The twin is what makes any mix of requests checkable: whatever it answers is right. Both databases of a client
hold the same, because nobody else writes to its tables.
"""

import asyncio
import random
import time

from . import messages as m
from .peer import ANSWER_WITHIN, Gone, Peer, Violation
from .texts import BY_SESSION, COMMON, NAMES, Texts


class Ended(Exception):
    """Postgres has ended both sessions, in the same words."""


# Texts that Postgres refuses behind others of their batch, or of their transaction.
FIRST = ("start transaction isolation", "set transaction", "discard all")


class Client:
    def __init__(self, crowd, number):
        self.crowd = crowd
        self.number = number
        self.rng = random.Random(f"{crowd.seed}/{number}")
        self.texts = Texts(self.rng, number, crowd.allowed)
        self.pooled = Peer("pgweir", crowd.port, number)
        self.twin = Peer("twin", crowd.twin_port, number)
        self.parameters = {}
        self.scene = "start"
        self.named = {}  # name -> number of parameters, as far as anybody knows
        self.pipelining = False  # several transactions at once
        self.named_in_batch = False  # a named statement is asked for in the batch that is said now
        self.mailbox = None  # messages that others have sent while we listened
        self.mail_lock = asyncio.Lock()

    # What is said and what comes back

    async def say(self, *said, pieces=None):
        """Sends to both, reads all that is owed from both, compares. What pgweir said."""
        said = sum(said, m.Said())
        if pieces is None:
            pieces = self._pieces(len(said.data))
        slow = self.pooled.send(said, pieces)
        self.twin.send(said)
        answers = [self.pooled.answer(), self.twin.answer(), *([slow] if slow else [])]
        ours, theirs, *_ = await asyncio.gather(*answers, return_exceptions=True)
        if isinstance(ours, Gone) and isinstance(theirs, Gone) and self.ended_alike():
            raise Ended
        for each in (ours, theirs):
            if isinstance(each, BaseException):
                raise each
        return self.compare(ours, theirs)

    def ended_alike(self):
        """Postgres 15 ends a session by a FATAL that releases a savepoint in a pipeline without BEGIN."""
        last = self.pooled.last
        return last == self.twin.last and last[0] == b"E" and last[1].startswith(b"SFATAL\0VFATAL\0CXX000\0")

    def _pieces(self, size):
        if self.rng.random() > 0.1:
            return ()
        return [self.rng.randrange(size + 1) for _ in range(self.rng.randrange(1, 4))]

    def compare(self, ours, theirs):
        exact = [self.crowd.allowed(each) for each in ("binds_in_failed", "parameters_before_error")]
        left, right = m.comparable(ours, *exact), m.comparable(theirs, *exact)
        if left != right:
            at = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))
            nothing = (b"", b"nothing")
            came, wanted = m.difference(*(each[at] if at < len(each) else nothing for each in (left, right)))
            raise Violation(f"message {at + 1} of the answer:\n    came:  {came}\n    right: {wanted}")
        self.compare_own()
        return ours

    def compare_own(self):
        """Of what it has sent itself it hears nothing twice, out of order, or that a session would not hear."""
        for channel, texts in self.pooled.own.items():
            right = iter(self.twin.own.get(channel, []))
            if not all(text in right for text in texts):
                raise Violation(f"of {channel} came: {texts}\n    right: {self.twin.own.get(channel)}")

    async def ask(self, sql):
        return await self.say(m.query(sql), pieces=())

    @property
    def status(self):
        return self.twin.status

    # Beginning and end of a connection

    async def connect(self):
        self.texts.life += 1
        self.texts.must_discard = False
        self.named = {}
        await asyncio.gather(*(self._close(peer) for peer in (self.pooled, self.twin)))
        self.parameters = self._startup() if self.rng.random() < 0.5 else {}
        self.texts.bare = not self.parameters
        ours, theirs = await asyncio.gather(
            self.pooled.connect(database=self.crowd.database, **self.parameters),
            self.twin.connect(database=self.crowd.twin_database, **self.parameters),
        )
        without_key = lambda said: sorted(each for each in said if each[0] != b"K")  # noqa: E731
        self.compare(without_key(ours), without_key(theirs))
        await self.ask(f"truncate public.own{self.number}")
        await self.verify()

    def _startup(self):
        rng, token = self.rng, self.texts.token
        choices = {
            "application_name": token(),
            "TimeZone": rng.choice(("Asia/Tokyo", "America/New_York")),
            "datestyle": rng.choice(("German", "SQL, DMY")),
            "work_mem": f"{self.number + 2}MB",
            "app.token": token(),
            "search_path": "sb, public",
            "options": f"-c app.other={token()} -c statement_timeout={300_000 + self.number}",
            "statement_timeout": "400s",
            "client_encoding": "UTF8",
            "extra_float_digits": "2",
        }
        return {name: choices[name] for name in rng.sample(sorted(choices), rng.randrange(1, 4))}

    async def _close(self, peer):
        writer = getattr(peer, "writer", None)
        if writer:
            writer.close()

    async def reconnect(self):
        await self.vanish(self.rng.choice(("terminate", "close", "reset")))

    async def vanish(self, how):
        if how == "terminate":
            self.pooled.send(m.terminate())
            how = "close"
        self.pooled.hang_up(how)
        self.twin.hang_up("close")
        await self.connect()

    # The life of a client

    async def live(self):
        await self.connect()
        while not self.crowd.over():
            try:
                await self.turn()
            except Ended:
                await self.connect()
        await self.settle()
        self.pooled.hang_up("close")
        self.twin.hang_up("close")

    async def turn(self):
        """Some requests, and no transaction open at the end."""
        scenes = [
            (30, self.mix),
            (5, self.copy_in),
            (3, self.copy_out),
            (4, self.portals),
            (2, self.cancel),
            (1, self.cancel_at_any_time),
            (2, self.vanish_somehow),
            (1, self.reconnect),
            (2, self.savepoints),
            (3, self.send_mail),
            (4, self.keep_things),
            (1, self.listen_for_mail),
            (1, self.seeded),
            (2, self.changing_table),
            (2, self.after_failure),
        ]
        scenes = [(w, s) for w, s in scenes if self.crowd.allowed(s.__name__)]
        scene = self.rng.choices([s for _, s in scenes], [w for w, _ in scenes])[0]
        self.scene = scene.__name__
        await scene()
        await self.settle()

    async def settle(self):
        """Ends whatever is open. Checks the session now and then."""
        if self.pooled.copying or self.twin.copying:
            await self.say(m.copy_fail("enough"), m.sync())
        if self.twin.skipping or self.twin.batch_open:
            await self.say(m.sync())
        if self.status != "I":
            await self.ask(self.rng.choice(("commit", "rollback")))
        if self.rng.random() < 0.3:
            await self.verify()

    async def verify(self):
        for text in self.texts.verify():
            await self.ask(text)

    # Requests at random

    async def mix(self, steps=None):
        for _ in range(steps or self.rng.randrange(1, 8)):
            await self.step()

    async def step(self):
        if self.status != "I" and self.rng.random() < 0.15:
            await self.ask(self.rng.choice(("commit", "rollback")))
        units = 1 if self.rng.random() < 0.8 else self.rng.randrange(2, 6)
        self.pipelining = units > 1
        said = m.Said()
        for _ in range(units):
            said += self.unit()
        await self.say(said)
        if self.twin.batch_open or self.twin.skipping:
            # Flushed so far: more of the same batch, or its end.
            while self.rng.random() < 0.4:
                await self.say(self.portion(), m.flush())
            await self.say(m.sync())
        self.named_in_batch = False

    def unit(self):
        """Ends with a ReadyForQuery, or now and then with a Flush."""
        kind = self.rng.choices(("simple", "several", "unnamed", "lib/pq", "batch", "named"), (8, 3, 5, 4, 6, 8))[0]
        texts = self.texts
        if kind == "simple":
            return m.query(texts.statement())
        if kind == "several":
            return m.query("; ".join(self.several()))
        if kind == "unnamed":
            return self.unnamed() + m.sync()
        if kind == "lib/pq":
            text, values = self.text_with_values()
            return (
                m.sync() + m.parse(text) + m.describe("S") + m.sync()
                + m.bind(values=values) + m.execute() + m.sync()
            )  # fmt: skip
        if kind == "named":
            return self.named_request() + m.sync()
        said = m.Said()
        for _ in range(self.rng.randrange(1, 6)):
            said += self.portion()
            if self.rng.random() < 0.1:
                said += m.flush()
        if self.rng.random() < 0.15:
            return said + m.flush()
        self.named_in_batch = False
        return said + m.sync()

    def several(self):
        return [self.texts.statement() for _ in range(self.rng.randrange(2, 5))]

    def portion(self):
        return self.unnamed() if self.rng.random() < 0.5 else self.named_request()

    def in_transaction(self):
        """Or what is said now may be read in one."""
        return self.status != "I" or self.pipelining

    def text_with_values(self):
        if self.rng.random() < 0.4:
            text, count, *needs = self.rng.choice(COMMON + BY_SESSION)
            if all(self.texts.allowed(each) for each in needs):
                return text, self.values(count)
        if self.rng.random() < 0.3:
            return f"select $1::text, '{self.texts.token()}'", self.values(1)
        return self.texts.statement(), ()

    def values(self, count):
        return tuple(
            self.rng.choice((self.texts.token(), self.texts.token(), self.rng.randrange(9), None)) for _ in range(count)
        )

    def unnamed(self):
        text, values = self.text_with_values()
        if self.named_in_batch and text.lower().startswith(FIRST) and not self.crowd.allowed("readings_in_batch"):
            text = self.texts.plain()
        said = m.parse(text)
        if self.rng.random() < 0.3:
            said += m.describe("S")
        said += m.bind(values=values, binary=self.rng.random() < 0.1)
        if self.rng.random() < 0.5:
            said += m.describe("P")
        said += m.execute(rows=self.rng.choice((0, 0, 0, 2)))
        if self.rng.random() < 0.1:
            said += m.bind(values=values) + m.execute()
        if self.rng.random() < 0.1:
            said += m.close("S")
        return said

    def nameable(self, text):
        if text.startswith("execute "):
            return self.crowd.allowed("named_executes")
        return "from item" not in text or self.crowd.allowed("other_columns")

    def named_request(self):
        self.named_in_batch = True
        name = self.rng.choice(NAMES)
        roll = self.rng.random()
        if roll < 0.3 or name not in self.named:
            text, values = self.text_with_values()
            if not values and not self.nameable(text):
                text = self.texts.plain()
            said = m.Said()
            if self.rng.random() < 0.85:
                said += m.close("S", name)
            self.named[name] = len(values)
            said += m.parse(text, name)
            if self.rng.random() < 0.4:
                said += m.describe("S", name)
            return said
        if roll < 0.36:
            if self.rng.random() < 0.9:
                self.named.pop(name)
            return m.close("S", name)
        if roll < 0.42 and (self.crowd.allowed("describe_in_failed") or not self.in_transaction()):
            return m.describe("S", name)
        if roll < 0.44 and self.texts.sticky:
            return m.bind(self.rng.choice(("p1", "p2"))) + m.execute()
        portal = self.rng.choice(("", "", "", "q1"))
        said = m.bind(name, portal, self.values(self.named[name]), self.rng.random() < 0.1)
        if self.rng.random() < 0.4:
            said += m.describe("P", portal)
        said += m.execute(portal, self.rng.choice((0, 0, 3)))
        if self.rng.random() < 0.1:
            said += m.execute(portal, 1)
        if portal and self.rng.random() < 0.7:
            said += m.close("P", portal)
        return said

    # Scenes

    async def copy_in(self):
        table = f"public.own{self.number}"
        extended = self.rng.random() < 0.4
        await self.ask("begin") if self.rng.random() < 0.3 else None
        if self.rng.random() < 0.3:
            await self.ask(f"set app.token = '{self.texts.token()}'")
        text = f"copy {table} (id, v) from stdin"
        if extended:
            await self.say(m.parse(text), m.bind(), m.execute(), m.flush())
        else:
            await self.ask(text)
        if not self.twin.copying:
            return
        rows = [f"{100 + i}\t{self.texts.token()}\n" for i in range(self.rng.randrange(1, 200))]
        if self.rng.random() < 0.2:
            rows[self.rng.randrange(len(rows))] = f"{self.texts.token()}\n"
        data = "".join(rows).encode()
        said, at = m.Said(), 0
        while at < len(data):
            size = self.rng.randrange(1, 2000)
            said += m.copy_data(data[at : at + size])
            at += size
        # Answered by an error or not at all, so only the end is waited for.
        end = m.copy_fail(self.texts.token()) if self.rng.random() < 0.2 else m.copy_done()
        said += end
        for peer in (self.pooled, self.twin):
            peer.copying = False
        if extended:
            said += m.sync()
        await self.say(said)
        if self.status == "I" or self.status == "T":
            await self.ask(f"select * from {table} where id >= 100 order by id")
            await self.ask(f"delete from {table} where id >= 100")

    async def copy_out(self):
        text = self.rng.choice(
            (
                f"copy (select g, '{self.texts.token()}' from generate_series(1, 300) g) to stdout",
                f"copy (select * from public.own{self.number} order by id) to stdout",
                f"copy (select repeat('{self.texts.token()}', 5000) from generate_series(1, 5)) to stdout",
                f"copy (select 1/(5 - g), '{self.texts.token()}' from generate_series(1, 9) g) to stdout",
                f"select '{self.texts.token()}'; copy (values ('{self.texts.token()}')) to stdout; select 1",
            )
        )
        if self.rng.random() < 0.5 and ";" not in text:
            await self.say(m.parse(text), m.bind(), m.describe("P"), m.execute(), m.sync())
        else:
            await self.ask(text)

    async def portals(self):
        """Several portals with row limits, taken in turns, inside a transaction."""
        await self.ask("begin")
        if self.rng.random() < 0.5:
            await self.ask(f"set local app.token = '{self.texts.token()}'")
        open_portals = {}
        for portal in ("q1", "q2", "q3")[: self.rng.randrange(1, 4)]:
            rows = self.rng.randrange(0, 12)
            text = f"select '{self.texts.token()}/' || g from generate_series(1, {rows}) g"
            await self.say(m.parse(text), m.bind(portal=portal), m.describe("P", portal), m.sync())
            open_portals[portal] = rows
        for _ in range(self.rng.randrange(1, 8)):
            said = m.Said()
            for _ in range(self.rng.randrange(1, 4)):
                said += m.execute(self.rng.choice(sorted(open_portals)), self.rng.randrange(0, 4))
            await self.say(said, m.sync())
            if self.rng.random() < 0.2:
                await self.step()
                if self.status == "I":
                    return
        if self.rng.random() < 0.3:
            await self.say(m.execute("q9"), m.sync())

    async def cancel(self):
        """A query that surely runs is cancelled; nothing else is."""
        if self.rng.random() < 0.4:
            await self.ask("begin; set local app.token = 'x'")
        text = f"select '{self.texts.token()}', pg_sleep(60)"
        said = m.query(text) if self.rng.random() < 0.5 else m.parse(text) + m.bind() + m.execute() + m.sync()
        self.pooled.send(said)
        self.twin.send(said)
        ours, theirs = await asyncio.gather(
            self._cancelled(self.pooled), self._cancelled(self.twin)
        )
        if [kind for kind, _ in ours] != [b"E", b"Z"] or "F" in m.error_fields(ours[0][1]):
            self.compare(ours, theirs)
        elif m.sqlstate(ours[0][1]) != "57014":  # pgweir's own words: it was cancelled in the queue
            raise Violation(f"cancelled in the queue: {ours}")
        await self.mix(2)

    async def _cancelled(self, peer):
        answer = asyncio.ensure_future(peer.answer())
        while not answer.done():
            await asyncio.sleep(0.05)
            await peer.cancel()
        return await answer

    async def cancel_at_any_time(self):
        """Cancels around requests that pgweir follows with requests of its own: the client's answer is cancelled
        or it is not; nothing else may happen, and what comes behind is not cancelled."""
        for _ in range(self.rng.randrange(1, 4)):
            token = self.texts.token()
            text = self.rng.choice(
                (
                    f"set app.token = '{token}'",
                    f"select set_config('app.token', '{token}', false)",
                    f"set work_mem = '9MB'; select '{token}'",
                    f"listen own_x{self.number}; unlisten *; select '{token}'",
                    f"do $$ begin perform set_config('app.token', '{token}', false); end $$",
                )
            )
            self.pooled.send(m.query(text))
            pause = self.rng.random() * 0.004
            async def cancel_later():
                await asyncio.sleep(pause)
                for _ in range(self.rng.randrange(1, 4)):
                    await self.pooled.cancel()
            answer = asyncio.ensure_future(self.pooled.answer())
            canceller = asyncio.ensure_future(cancel_later())
            ours = await answer
            quick = self.rng.random() < 0.5 and self.crowd.allowed("late_cancels")
            if not quick:
                await canceller
            errors = [m.sqlstate(payload) for kind, payload in ours if kind == b"E"]
            if errors not in ([], ["57014"]):
                raise Violation(f"cancelled, and the answer is {errors}")
            if quick:
                # The cancel may still hit this one.
                self.pooled.send(m.query("select 'next'"))
                ours = await self.pooled.answer()
                await canceller
                errors = [m.sqlstate(payload) for kind, payload in ours if kind == b"E"]
                if errors not in ([], ["57014"]):
                    raise Violation(f"cancelled late, and the answer is {errors}")
            await self.ask("select 'behind a cancel'")
        # Nobody knows what has come through: both begin anew.
        await self.vanish("close")

    async def vanish_somehow(self):
        """Leaves in the middle of something that no later check will look at."""
        token = self.texts.token()
        how = self.rng.choice(("close", "reset", "terminate"))
        kind = self.rng.choice(
            ("query", "half", "copy in", "rows", "transaction", "audit", "parse", "batch", "crash table", "copy out")
        )
        both = lambda said: (self.pooled.send(said), self.twin.send(m.query("select 1")))  # noqa: E731
        if kind == "query":
            both(m.query(f"set app.token = '{token}'; select pg_sleep(0.05)"))
        elif kind == "half":
            said = m.query(f"set app.token = '{token}'")
            both(m.Said(said.data[: self.rng.randrange(1, len(said.data))]))
        elif kind == "copy in":
            await self.ask("copy crash from stdin")
            if self.twin.copying:
                self.pooled.send(m.copy_data(f"{token}\n".encode() * 100))
                if self.rng.random() < 0.5:
                    self.pooled.send(m.Said(m.copy_data(f"{token}\n".encode() * 100).data[:50]))
        elif kind == "rows":
            both(m.query(f"select repeat('{token}', 20000) from generate_series(1, 100)"))
        elif kind == "copy out":
            both(m.query(f"copy (select repeat('{token}', 20000) from generate_series(1, 100)) to stdout"))
        elif kind == "transaction":
            await self.ask("begin")
            await self.mix(3)
        elif kind == "audit":
            # What it left is asked for as soon as it has been answered.
            self.pooled.send(
                m.query(
                    self.rng.choice(
                        (
                            f"set app.token = '{token}'",
                            f"set app.token = '{token}'; set work_mem = '8MB'; set application_name = '{token}'",
                            "select pg_advisory_lock(77, " + str(self.rng.randrange(1 << 30)) + ")",
                            f"create temp table scratch as select '{token}' as a",
                            f"prepare p1 as select '{token}'",
                            "discard all",
                            f"listen own_x{self.number}",
                            f"declare c1 cursor with hold for select '{token}'",
                        )
                    )
                )
            )
            if self.rng.random() < 0.7:
                await self.pooled.answer()
        elif kind == "parse":
            both(m.parse(f"select '{token}'", "s1") + m.flush())
        elif kind == "batch":
            both(m.parse(f"set app.token = '{token}'") + m.bind() + m.execute())
        elif kind == "crash table":
            both(m.query(f"insert into crash select '{token}' from generate_series(1, 1000)"))
        if self.rng.random() < 0.5:
            await asyncio.sleep(self.rng.random() * 0.03)
        await self.vanish(how)

    async def savepoints(self):
        """A transaction with savepoints around settings, checked at each point."""
        await self.ask("begin")
        for _ in range(self.rng.randrange(2, 7)):
            await self.ask(self.rng.choice((self.texts.setting, self.texts.setting, self.texts.transaction))())
            if self.status == "I":
                break
            if self.rng.random() < 0.3:
                await self.ask(self.texts.shown())
        if self.status == "E" and self.rng.random() < 0.6:
            await self.ask(f"rollback to {self.rng.choice('ab')}")
        await self.settle()
        await self.ask(self.texts.all_settings())

    async def after_failure(self):
        """A SET in a transaction that has failed, with requests pipelined behind the end of it."""
        said = m.query("begin") + m.query(self.texts.setting()) + m.query(self.texts.failing())
        for _ in range(self.rng.randrange(0, 3)):
            said += self.rng.choice((m.query(self.texts.setting()), self.unit_to_sync()))
        said += m.query(self.rng.choice(("commit", "rollback")))
        for _ in range(self.rng.randrange(0, 3)):
            said += self.rng.choice((m.query(self.texts.all_settings()), self.unit_to_sync()))
        await self.say(said)

    def unit_to_sync(self):
        self.pipelining = True
        return self.portion() + m.sync()

    async def seeded(self):
        """setseed() lives where no question reaches it."""
        async with self.crowd.sticky:
            await self.ask(f"select setseed(0.{self.number})")
            for _ in range(3):
                await self.ask("select random()")
                if self.rng.random() < 0.5:
                    await self.mix(1)
            await self.settle()
            # DISCARD ALL would leave the seed, so nothing but the end of the connection frees the server.
            await self.vanish("close")

    async def changing_table(self):
        """A prepared statement outlives the shape of its table: 0A000, or what the table is now."""
        table = f"shape{self.number}"
        await self.ask(f"drop table if exists public.{table}; create table public.{table} (a int)")
        text = f"select *, '{self.texts.token()}' as t from public.{table}"
        await self.say(m.close("S", "s9"), m.parse(text, "s9"), m.describe("S", "s9"), m.sync())
        await self.say(m.bind("s9"), m.describe("P"), m.execute(), m.sync())
        await self.ask(f"alter table public.{table} add b text default '{self.texts.token()}'")
        for _ in range(2):
            said = m.bind("s9") + m.describe("P") + m.execute() + m.sync()
            self.pooled.send(said)
            self.twin.send(said)
            ours, theirs = await asyncio.gather(self.pooled.answer(), self.twin.answer())
            if [m.sqlstate(p) for k, p in theirs if k == b"E"] != ["0A000"]:
                self.compare(ours, theirs)
                continue
            if [m.sqlstate(p) for k, p in ours if k == b"E"] != ["0A000"]:
                self.twin.send(m.query(text))
                theirs = await self.twin.answer()
                now = lambda said: [each for each in m.comparable(said) if each[0] not in b"2ZC"]  # noqa: E731
                self.compare(now(ours), now(theirs))
        await self.say(m.close("S", "s9"), m.parse(text, "s9"), m.describe("S", "s9"), m.sync())
        await self.say(m.close("S", "s9"), m.sync())
        await self.ask(f"drop table public.{table}")

    # What keeps its server

    async def keep_things(self):
        async with self.crowd.sticky:
            self.texts.sticky = True
            try:
                for _ in range(self.rng.randrange(1, 4)):
                    await self.mix()
                    await self.settle()
                await self.verify()
                if self.rng.random() < 0.2:
                    return await self.vanish_somehow()
                await self.drop_things()
            finally:
                self.texts.sticky = False

    async def drop_things(self):
        if self.texts.must_discard or self.rng.random() < 0.3:
            if not self.texts.allowed("resets"):
                return await self.vanish("close")
            await self.ask("discard all")
            self.texts.must_discard = False
            self.named = {}
        elif self.rng.random() < 0.2:
            await self.reconnect()
        else:
            # One by one, in any order; those that are not there fail, which is an answer as well.
            ends = [
                "drop view if exists scratch_view",
                "drop table if exists scratch cascade",
                "drop table if exists scratch2 cascade",
                "drop sequence if exists scratch_seq",
                "close all",
                "select pg_advisory_unlock_all()",
                "unlisten *",
                *(self.rng.choice((["deallocate all"], ["deallocate p1", "deallocate p2"]))),
            ]
            self.rng.shuffle(ends)
            for text in ["set role none", "set session characteristics as transaction read write", *ends]:
                if self.rng.random() < 0.3:
                    await self.say(m.parse(text), m.bind(), m.execute(), m.sync())
                else:
                    await self.ask(text)
            # What was prepared here must not be executed where nothing may be kept.
            await self.ask("deallocate all")
            await self.say(m.parse(""), m.sync())
            self.named = {}
        await self.verify()

    async def listen_for_mail(self):
        """Listens on a channel that others write to; at the end it has got all of it, each once."""
        async with self.crowd.sticky:
            channel = f"mail_{self.number}"
            # What was prepared before may take it away.
            await self.ask("deallocate all")
            self.named = {}
            await self.ask(f"listen {channel}")
            self.mailbox = []
            self.texts.forgetful = False
            try:
                for _ in range(self.rng.randrange(2, 6)):
                    await self.mix(2)
                    await self.settle()
                    if self.rng.random() < 0.5:
                        await self.ask(f"set app.token = '{self.texts.token()}'")
                    await asyncio.sleep(0.02)
            finally:
                self.texts.forgetful = True
                async with self.mail_lock:
                    expected, self.mailbox = self.mailbox, None
            await self.ask(f"select '{self.texts.token()}'")
            # Through pgweir it comes by another connection than the answers: soon, but not before them.
            end = time.monotonic() + ANSWER_WITHIN
            while len(self.pooled.mail) < len(expected) and time.monotonic() < end:
                await asyncio.sleep(0.02)
                await self.ask(f"select '{self.texts.token()}'")
            for peer in (self.twin, self.pooled):
                got, peer.mail = sorted(peer.mail), []
                if got != sorted(expected):
                    raise Violation(f"{peer.name}: mail came: {got}, sent: {sorted(expected)}")
            await self.drop_things()

    async def send_mail(self):
        """Writes to somebody who listens. The text holds the token of the one who is to read it."""
        readers = [client for client in self.crowd.clients if client.mailbox is not None]
        if not readers:
            return
        reader = self.crowd.chance.choice(readers)
        async with reader.mail_lock:
            if reader.mailbox is None:
                return
            text = f"{reader.texts.token()} from {self.number}"
            said = await self.ask(f"notify mail_{reader.number}, '{text}'")
            if not any(kind == b"E" for kind, _ in said):
                reader.mailbox.append(f"mail_{reader.number}\0{text}\0".encode())
