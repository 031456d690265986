"""What a case is made of."""

import struct
from dataclasses import dataclass, field

from harness.wire import bind, describe, execute, flush, message, parse, query, sync

# In which ways pgweir holds a tenant (see stage.py).
MODES = ("standard", "strict", "guard")

# Why a case is not expected to be held, and in which modes. README says the same in "Ceilings".
CODE = {"standard": "what DO, CALL and functions run stands in no statement"}
EXISTING = {
    "standard": "a function that exists is called by an ordinary statement",
    "strict": "a function that exists is called by an ordinary statement",
}
CODE_WORDS = {**CODE, "guard": "pgweir_guard holds numbers; an injected value is words"}


@dataclass(frozen=True)
class Bound:
    """One statement by the extended protocol, with its parameters as text."""

    sql: str
    parameters: tuple = ()


@dataclass(frozen=True)
class Raw:
    """Messages as they are; `{n}` does not work in them."""

    messages: bytes

    @property
    def answers(self):
        """How many ReadyForQuery come back."""
        count, rest = 0, self.messages
        while rest:
            count += rest[:1] in (b"Q", b"S", b"F")
            rest = rest[1 + struct.unpack("!i", rest[1:5])[0] :]
        return count


# In SJIS and GBK the backslash is the second half of a letter, and the string ends behind it.
HIDDEN_QUOTE = Raw(message(b"Q", b"select E'\x95\x5c', set_config('work_mem', '1GB', false) --'\0"))


@dataclass(frozen=True)
class Case:
    group: str
    name: str
    attack: object = None  # a text, a Bound, a Raw; or of all of them several in a tuple
    judge: str = "sort"  # one of judges.JUDGES
    startup: dict = field(default_factory=dict)  # parameters of the StartupMessage
    later: object = None  # what a session does that begins after the attack
    made: tuple = ()  # texts run by the tenant's role past the pooler, such as a migration that ran elsewhere
    known: dict = field(default_factory=dict)  # mode -> why it is not held there
    behind: bool = False  # only what later requests see counts, not what the attack's own does
    lowered: bool = False  # the session keeps its server while the ceilings come down to what the judge looks for
    bites: bool = True  # on a plain Postgres

    @property
    def full_name(self):
        return f"{self.group}: {self.name}"


@dataclass(frozen=True)
class Innocent:
    """What must be answered exactly as Postgres answers it."""

    name: str
    steps: tuple  # texts, Bounds and Raws, one after the other on one connection
    startup: dict = field(default_factory=dict)
    refused: tuple = ()  # modes in which it is refused on purpose


def rows(group, table, **common):
    """Cases of one group: name -> attack, or name -> (attack, what differs)."""
    cases = []
    for name, attack in table.items():
        if isinstance(attack, tuple) and len(attack) == 2 and isinstance(attack[1], dict):
            cases.append(Case(group, name, attack[0], **{**common, **attack[1]}))
        else:
            cases.append(Case(group, name, attack, **common))
    return cases


def function_call(oid, *arguments):
    """A FunctionCall with arguments as text."""
    body = struct.pack("!ihh", oid, 0, len(arguments))
    for argument in arguments:
        body += struct.pack("!i", len(argument)) + argument
    return message(b"F", body + struct.pack("!h", 0))


def bound_messages(sql, parameters=(), name=""):
    """Parse, Bind and Execute of a statement, without an end."""
    bound = message(
        b"B",
        b"\0"
        + name.encode()
        + b"\0"
        + struct.pack("!hh", 0, len(parameters))
        + b"".join(struct.pack("!i", len(each.encode())) + each.encode() for each in parameters)
        + struct.pack("!h", 0),
    )
    return parse(sql, name) + bound + execute()


__all__ = [
    "HIDDEN_QUOTE",
    "CODE",
    "CODE_WORDS",
    "EXISTING",
    "MODES",
    "Bound",
    "Case",
    "Innocent",
    "Raw",
    "bind",
    "bound_messages",
    "describe",
    "execute",
    "flush",
    "function_call",
    "message",
    "parse",
    "query",
    "rows",
    "sync",
]
