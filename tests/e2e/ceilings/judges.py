"""Whether an attack had an effect, told by what Postgres then does."""

import re
import time
from dataclasses import dataclass

from harness.wire import Closed, error_fields, query

from . import stage as stage_module
from .case import Bound, Raw, bound_messages, sync

# How long something takes that the ceilings should end. Where they are expected to, a busy machine has room.
SLEEP_S = {True: 3.0, False: 0.9}
PATIENCE_S = {True: 6.0, False: 1.5}  # of a neighbour whose only server is held, with clocks of half a second
# Without a pooler there is no neighbour: its process is looked at when all clocks of pgweir's would be due.
HELD_S = 2.0
SETTLE_S = 0.1
TIMEOUT = "57014"


@dataclass(frozen=True)
class Judge:
    """`probe` is run behind the attack; `broken` looks at all that came and says what went wrong."""

    kind: str
    probe: str
    broken: object


class Inconclusive(Exception):
    """The probe itself fell to something else than what it looks for."""


def _sort(text):
    """A sort that took more memory than there is; below the ceiling it spills."""
    for method, size in re.findall(r"Sort Method: (\w+)[^\n]*?Memory: (\d+)kB", text):
        if int(size) > stage_module.WORK_MEM_KB:
            return f"a {method} took {size} kB"
    return None


def _workers(text):
    for workers in re.findall(r"Workers Planned: (\d+)", text):
        if int(workers) > stage_module.WORKERS:
            return f"{workers} workers"
    return None


def _slept(text):
    return "the sleep ended by itself" if "SLEPT" in text else None


def _saw(text):
    return "saw what is theirs" if "SAW theirs" in text else None


def _value(name, most):
    def broken(text):
        for value in re.findall(rf"VALUE {name}=(\S+)", text):
            if not 0 <= float(value) <= most:
                return f"{name} is {value}"
        return None

    probe = f"select 'VALUE {name}=' || setting from pg_settings where name = '{name}'"
    return Judge("memory", probe, broken)


SORT = "explain (analyze, costs off, timing off, summary off) select g from generate_series(1, 20000) g order by -g"
JUDGES = {
    "sort": Judge("memory", SORT, _sort),
    "sleep": Judge("time", "select pg_sleep({sleep}), 'SLEPT'", _slept),
    "workers": Judge("memory", "explain (costs off) select count(*) from big", _workers),
    "maintenance": _value("maintenance_work_mem", 2048),
    "temp_buffers": _value("temp_buffers", 128),
    "maintenance_workers": _value("max_parallel_maintenance_workers", 0),
    "hash": _value("hash_mem_multiplier", 1),
    "ledger": Judge("memory", "select 'SAW ' || tenant from public.ledger", _saw),
    "path": Judge("identity", "select 'SAW ' || whose from landmark", _saw),
    "role": Judge("identity", "select 'SAW ' || whose from public.secrets", _saw),
    # By the next client on the same server.
    "leak": Judge("leak", "", None),
    # ... which needs that server.
    "served": Judge("hold", "", None),
}


def words(messages):
    """All that a client can read in these."""
    parts = []
    for kind, payload in messages:
        if kind in (b"D", b"d"):
            parts.append(payload.decode(errors="replace"))
        elif kind in (b"E", b"N"):
            fields = error_fields(payload)
            parts.append(fields.get("M", "") + " " + fields.get("D", ""))
    return "\n".join(parts)


def codes(messages):
    return [error_fields(payload).get("C") for kind, payload in messages if kind == b"E"]


class Attempt:
    """One session that attacks and probes; `text` is all that it was told."""

    def __init__(self, wire, seat, counter, expected_held=True):
        self.wire = wire
        sleep = str(SLEEP_S[expected_held])
        self._names = {"{role}": seat.name, "{reader}": seat.reader, "{database}": seat.database, "{sleep}": sleep}
        self.text = ""
        self.codes = []
        self._counter = counter

    def send(self, attack):
        """One text, Bound or Raw, up to the end of its answer."""
        answers = 1
        if isinstance(attack, Raw):
            self.wire.send(attack.messages)
            answers = attack.answers
        elif isinstance(attack, Bound):
            self.wire.send(bound_messages(self._fill(attack.sql), attack.parameters), sync())
        else:
            self.wire.send(query(self._fill(attack)))
        answer = [message for _ in range(answers) for message in self._answer()]
        self.text += words(answer) + "\n"
        self.codes += codes(answer)
        return answer

    def _answer(self):
        messages = []
        while True:
            messages.append(self.wire.receive())
            if messages[-1][0] == b"G":
                self.wire.send(b"c\0\0\0\4")
            if messages[-1][0] == b"Z":
                return messages

    def _fill(self, sql):
        for name, value in self._names.items():
            sql = sql.replace(name, value)
        return sql.replace("{n}", str(self._counter()))


def each(attack):
    return attack if isinstance(attack, tuple) else (attack,)


def one_text(attack, probe):
    return f"{attack};\n{probe}"


def leak_of(stage, seat, case, counter):
    """What the next client on the same server sees; None: nothing of it."""
    try:
        wire = stage.client(seat, **case.startup)
    except Closed:
        return None  # not let in
    with wire:
        attempt = Attempt(wire, seat, counter)
        for attack in each(case.attack):
            attempt.send(attack)
    with stage.client(seat) as wire:
        attempt = Attempt(wire, seat, counter)
        for attack in LEAK_PROBES:
            attempt.send(attack)
    found = sorted(set(re.findall(r"LEAK (\w+)", attempt.text)))
    if _sort(attempt.text):
        found.append("sort")
    return " ".join(found) or None


LEAK_PROBES = (
    SORT,
    "select 'LEAK guc' where current_setting('app.mark', true) = 'left'",
    "select 'LEAK name' where current_setting('application_name') = 'left'",
    "select 'LEAK zone' where current_setting('timezone') = 'Asia/Tokyo'",
    "select 'LEAK path' where current_setting('search_path') like '%theirs%'",
    "select 'LEAK role' where current_user <> session_user",
    "select 'LEAK temp' where exists (select from pg_class where relpersistence = 't' "
    "and relnamespace = pg_my_temp_schema())",
    "select 'LEAK cursor' from pg_cursors",
    "select 'LEAK lock' from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
    "select 'LEAK prepared' from pg_prepared_statements where name = 'left_here'",
    "select 'LEAK channel' from pg_listening_channels()",
    "select 'LEAK timeout' where current_setting('statement_timeout') <> '20s'",
)


def held_process(stage, seat, case):
    with stage.client(seat, **case.startup) as holder:
        case.attack(holder)
        time.sleep(HELD_S)
        busy = f"select state from pg_stat_activity where usename = '{seat.name}' and state <> 'idle'"
        for (state,) in stage.sql(busy):
            return f"a process is {state} after {HELD_S} s"
    return None


def hold_of(stage, seat, case):
    """Whether a neighbour waits longer than the clocks allow for the only server."""
    if seat.mode == "plain":
        return held_process(stage, seat, case)
    patience = PATIENCE_S[seat.mode not in case.known]
    with stage.client(seat, **case.startup) as holder, stage.client(seat, timeout=patience) as neighbour:
        holder.socket.settimeout(15)
        case.attack(holder)
        time.sleep(SETTLE_S)  # two connections have no order between them
        began = time.monotonic()
        neighbour.send(query("select 'SERVED'"))
        try:
            served = "SERVED" in words(neighbour.until_ready())
        except (TimeoutError, Closed):
            served = False
        return None if served else f"the neighbour waited {time.monotonic() - began:.1f} s"
