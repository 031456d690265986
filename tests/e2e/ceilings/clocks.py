"""Holding on to a server: each of these leaves the tenant's only one busy and does not let go."""

from .case import Case, bind, bound_messages, describe, execute, flush, message, parse, query, sync

_NAPS = 12  # each shorter than what one statement may take, together far longer than the neighbour waits
_NAP = "select pg_sleep(0.3)"
_MANY_ROWS = "select repeat('x', 1000) from generate_series(1, 200000)"


def _sends(*messages):
    def attack(wire):
        wire.send(*messages)

    return attack


def _after(first, *messages):
    """`first` is answered before the rest is sent."""

    def attack(wire):
        wire.query(first)
        wire.send(*messages)

    return attack


def _in_copy(first, then=b""):
    def attack(wire):
        wire.send(first)
        while wire.receive()[0] != b"G":
            pass
        wire.send(then)

    return attack


def _case(group, name, attack, **more):
    return Case(group, name, attack, judge="served", known={}, **more)


def _timed(group, name, attack):
    """For this Postgres has a timer itself, which the tenant has not taken off."""
    return _case(group, name, attack, bites=False)


_TIMERS = "timers"
_COPY = "copy stalls"
_FLUSH = "flush tricks"
_READERS = "slow readers"
_TABLE = "create table if not exists public.clocked (a text)"
_SLOW_TRIGGER = (
    "create table if not exists public.slow (a int)",
    "create or replace function public.doze() returns trigger language plpgsql as "
    "$$ begin perform pg_sleep(4); return null; end $$",
    "create or replace trigger late after insert on public.slow for each row execute function public.doze()",
    "drop trigger late on public.slow",
    "drop trigger if exists later on public.slow",
    "create constraint trigger later after insert on public.slow deferrable initially deferred "
    "for each row execute function public.doze()",
)

CASES = [
    _timed(_TIMERS, "a long statement", _sends(query("select pg_sleep(10)"))),
    _timed(_TIMERS, "a long statement, extended", _sends(bound_messages("select pg_sleep(10)") + sync())),
    _timed(_TIMERS, "a statement without end", _sends(query("select count(*) from generate_series(1, 10000000000)"))),
    _timed(_TIMERS, "an idle transaction", _after("begin")),
    _timed(_TIMERS, "an idle failed transaction", _after("begin", query("select 1/0"))),
    _case(_TIMERS, "an idle transaction, no limit asked", _after("set idle_in_transaction_session_timeout = 0; begin")),
    _case(
        _TIMERS,
        "an idle transaction, no limit for it",
        _after("begin; set local idle_in_transaction_session_timeout = 0"),
    ),
    _case(
        _TIMERS,
        "an idle transaction, no limit by DO",
        _after("begin; do $$ begin set idle_in_transaction_session_timeout = 0; end $$"),
    ),
    _timed(
        _TIMERS,
        "an idle transaction with a portal",
        _after("begin", parse("select generate_series(1, 10)"), bind(), execute(rows=1), sync()),
    ),
    _timed(_TIMERS, "half a message in a transaction", _after("begin", query("select 1")[:7])),
    _timed(_TIMERS, "half a message outside of one", _sends(query("select 1")[:7])),
    _timed(_TIMERS, "half of a long message", _sends(query("select '" + "x" * 3_000_000 + "'")[:2_000_000])),
    _timed(_TIMERS, "half a FunctionCall", _sends(message(b"F", b"\0" * 100)[:40])),
    _case(_TIMERS, "naps in one text", _sends(query(";".join([_NAP] * _NAPS)))),
    _case(_TIMERS, "naps in one pipeline", _sends(bound_messages(_NAP) * _NAPS + sync())),
    _case(_TIMERS, "naps in one transaction", _sends(query("begin") + query(_NAP) * _NAPS)),
    _case(
        _TIMERS,
        "a deferred trigger",
        _after("begin; insert into public.slow values (1)", query("commit")),
        made=_SLOW_TRIGGER,
    ),
    _case(
        _TIMERS,
        "a cursor that is held",
        _after(
            "begin; declare c cursor with hold for select pg_sleep(0.1) from generate_series(1, 40)", query("commit")
        ),
    ),
    _case(
        _TIMERS,
        "a cancel that is caught",
        _sends(
            query(
                "do $$ begin for i in 1..10 loop begin perform pg_sleep(4); exception when query_canceled then null; "
                "end; end loop; end $$"
            )
        ),
    ),
    _case(_COPY, "silence", _in_copy(query("copy public.clocked from stdin")), made=(_TABLE,)),
    _case(
        _COPY,
        "silence, extended",
        _in_copy(bound_messages("copy public.clocked from stdin") + flush()),
        made=(_TABLE,),
    ),
    _case(
        _COPY,
        "half of a row",
        _in_copy(query("copy public.clocked from stdin"), message(b"d", b"x" * 1000)[:500]),
        made=(_TABLE,),
    ),
    _case(
        _COPY,
        "no Sync behind the end",
        _in_copy(bound_messages("copy public.clocked from stdin") + flush(), message(b"d", b"x\n") + message(b"c")),
        made=(_TABLE,),
    ),
    _case(_FLUSH, "BEGIN and Flush", _sends(bound_messages("begin") + flush())),
    _case(_FLUSH, "BEGIN, then Flush", _after("begin", flush())),
    _case(_FLUSH, "a statement and Flush", _sends(bound_messages("select 1") + flush())),
    _case(_FLUSH, "only Parse and Flush", _sends(parse("select 1") + flush())),
    _case(_FLUSH, "Describe and Flush", _sends(parse("select 1") + describe(b"S") + flush())),
    _case(_FLUSH, "a failed statement and Flush", _sends(bound_messages("select 1/0") + flush())),
    _case(_FLUSH, "nothing behind Parse", _sends(parse("select 1"))),
    _timed(_READERS, "many rows", _sends(query(_MANY_ROWS))),
    _timed(_READERS, "many rows, extended", _sends(bound_messages(_MANY_ROWS) + sync())),
    _timed(_READERS, "COPY", _sends(query(f"copy ({_MANY_ROWS}) to stdout"))),
    _case(
        _READERS,
        "one large value",
        _sends(query("select repeat('x', 20000000)")),
    ),
]
