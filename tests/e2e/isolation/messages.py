"""What a client sends, and what it owes for it; what a server says, in a form that can be compared."""

import re
import struct

from harness.wire import message

TOKEN = re.compile(rb"tok(\d+)_")

# Raised by pgweir in Postgres's place, or by a Parse that it has put in front of a Bind: the line of Postgres's
# source is another one, or none.
SPOKEN_FOR = {"26000", "42P05", "25P02"}


class Said:
    """Messages to send together, and the answers that they will have: one letter each."""

    def __init__(self, data=b"", owed=""):
        self.data = data
        self.owed = owed

    def __add__(self, other):
        return Said(self.data + other.data, self.owed + other.owed)


def query(sql):
    return Said(message(b"Q", sql.encode() + b"\0"), "Q")


def parse(sql, name="", types=()):
    body = f"{name}\0{sql}\0".encode() + struct.pack(f"!h{len(types)}i", len(types), *types)
    return Said(message(b"P", body), "P")


def bind(statement="", portal="", values=(), binary=False):
    body = f"{portal}\0{statement}\0".encode() + struct.pack("!hh", 0, len(values))
    for value in values:
        if value is None:
            body += struct.pack("!i", -1)
        else:
            text = str(value).encode()
            body += struct.pack("!i", len(text)) + text
    body += struct.pack("!hh", 1, 1) if binary else struct.pack("!h", 0)
    return Said(message(b"B", body), "B")


def describe(what, name=""):
    return Said(message(b"D", what.encode() + name.encode() + b"\0"), "D")


def execute(portal="", rows=0):
    return Said(message(b"E", portal.encode() + b"\0" + struct.pack("!i", rows)), "E")


def close(what, name=""):
    return Said(message(b"C", what.encode() + name.encode() + b"\0"), "C")


def sync():
    return Said(message(b"S"), "S")


def flush():
    return Said(message(b"H"))


def copy_data(data):
    return Said(message(b"d", data))


def copy_done():
    return Said(message(b"c"))


def copy_fail(why):
    return Said(message(b"f", why.encode() + b"\0"))


def terminate():
    return Said(message(b"X"))


def in_words(data, longest=400):
    """The messages in `data`, one text each, for people."""
    texts = []
    while len(data) >= 5:
        (size,) = struct.unpack("!i", data[1:5])
        texts.append(one_in_words(data[:1], data[5 : size + 1], longest))
        data = data[size + 1 :]
    if data:
        texts.append(f"half a message: {data[:longest]!r}")
    return texts


def one_in_words(kind, payload, longest=400):
    text = repr(payload[:longest])[2:-1]
    more = f"... {len(payload)} bytes" if len(payload) > longest else ""
    return f"{kind.decode(errors='replace')} {text}{more}"


def error_fields(payload):
    return {chr(part[0]): part[1:].decode(errors="replace") for part in payload.split(b"\0") if part}


def sqlstate(payload):
    return error_fields(payload).get("C", "")


def comparable(messages, binds_in_failed=True, parameters_before_error=True):
    """Without what differs between two servers that did the same: process numbers, table numbers.

    `binds_in_failed`: whether errors must tell a Bind with too few values from one in a failed transaction.
    `parameters_before_error`: whether a ParameterDescription that an error follows counts.
    """
    result = []
    for kind, payload in messages:
        if kind == b"E" and not parameters_before_error and result and result[-1][0] == b"t":
            result.pop()
        if kind == b"T":
            result.append((kind, _without_tables(payload)))
        elif kind in (b"E", b"N"):
            fields = error_fields(payload)
            if kind == b"N" and fields.get("M", "").startswith("still waiting for a server connection"):
                continue
            if fields.get("C") in SPOKEN_FOR:
                for field in "FLR":
                    fields.pop(field, None)
            text = repr(sorted(fields.items()))
            said = fields.get("M", "")
            if not binds_in_failed and said.startswith(("bind message supplies", "current transaction is ab")):
                text = "a Bind with too few values, or in a failed transaction"
            result.append((kind, re.sub(r"pg_(toast_)?temp_\d+", "pg_temp_N", text).encode()))
        elif kind == b"A":
            result.append((kind, payload[4:]))
        else:
            result.append((kind, payload))
    # Changed settings are told together, in an order that nobody promises.
    start = 0
    while start < len(result):
        end = start
        while end < len(result) and result[end][0] == b"S":
            end += 1
        result[start:end] = sorted(result[start:end])
        start = end + 1
    return result


def _without_tables(payload):
    (count,) = struct.unpack("!h", payload[:2])
    result, at = payload[:2], 2
    for _ in range(count):
        end = payload.index(b"\0", at) + 1
        (table,) = struct.unpack("!i", payload[end : end + 4])
        result += payload[at:end] + (b"table" if table else b"none") + payload[end + 4 : end + 18]
        at = end + 18
    return result


def difference(left, right):
    """Two messages, from a little before where they differ."""
    if len(left[1]) > 200 and len(right[1]) > 200:
        # The lengths in front of two values often differ with them: look for the values first.
        same = next((i for i, (a, b) in enumerate(zip(left[1][16:], right[1][16:]), 16) if a != b), 16)
        left, right = ((kind, b"[...]" + payload[max(0, same - 60) : same + 140]) for kind, payload in (left, right))
    return one_in_words(*left), one_in_words(*right)
