"""pooler/log.md has every event that the sources log, with its levels and fields, and nothing else."""

import re
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = {path: path.read_text() for path in sorted((ROOT / "pooler").rglob("*.cc"))}
PAGE = (ROOT / "pooler/log.md").read_text()
CALL = re.compile(r"\blog(?:_|\(\))?(?:\.|->)(debug|info|warn|error|write)\(")
LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')
# An event that a call is given by name: the literals of these places in its file.
GIVEN = {
    "event": r'\bcomplain\(("[^"]+")',
    "readings_.front().news": r'("configuration reloaded"|"setting changed"|"tenant changed")',
}
# The log's own words about itself, which pass by its interface.
OWN = {"log lines lost": ({"warn"}, {"count"})}


def inside(text, at):
    """What stands between the bracket at this place and the one that closes it."""
    depth, quoted, i = 0, False, at
    while True:
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0:
                return text[at + 1 : i]
        i += 1


def parts(text):
    """Split at the commas that stand in no bracket and no literal."""
    found, depth, quoted, begin, i = [], 0, False, 0, 0
    while i < len(text):
        c = text[i]
        if quoted:
            i += c == "\\"
            quoted = c != '"'
        elif c == '"':
            quoted = True
        elif c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
        elif c == "," and depth == 0:
            found.append(text[begin:i].strip())
            begin = i + 1
        i += 1
    return [*found, text[begin:].strip()]


def literals(text):
    return LITERAL.findall(re.sub(r'"\s*"', "", text))


def fields_of(text, source):
    """Of `{{"key", value}, LogField::ours("key", value), made_before}`; a key may be one of two."""
    keys = set()
    for field in parts(inside(text, text.index("{"))):
        if re.fullmatch(r"\w+", field):
            field = re.search(rf"LogField {field} = (LogField::ours\([^;]*);", source)[1]
        opening = field.index("{") if field.startswith("{") else field.index("(")
        keys.update(literals(parts(inside(field, opening))[0]))
    return keys


def logged():
    """{event: (levels, fields)} of all calls."""
    events = {event: (set(levels), set(fields)) for event, (levels, fields) in OWN.items()}
    for path, text in SOURCES.items():
        for call in CALL.finditer(text):
            level, arguments = call[1], parts(inside(text, call.end() - 1))
            if level == "write":
                level, arguments = arguments[0].removeprefix("LogLevel::").lower(), arguments[1:]
            names = literals(arguments[0])
            if arguments[0] in GIVEN:
                names = [LITERAL.fullmatch(given)[1] for given in re.findall(GIVEN[arguments[0]], text)]
            fields = set()
            if len(arguments) > 1:
                given = arguments[1]
                if not given.startswith("{"):
                    given = re.search(rf"Log::Fields {given} = (\{{[^;]*\}});", text)[1]
                fields = fields_of(given, text)
            if not names or level not in ("debug", "info", "warn", "error"):
                raise AssertionError(f"{path.name}: what does this call log? {arguments[0]}")
            for name in names:
                levels, known = events.setdefault(name, (set(), set()))
                levels.add(level)
                known |= fields
    return events


def rows(heading):
    """Of the table behind this line: cells without their backticks."""
    lines = PAGE.split(heading, 1)[1].splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("|---"))
    found = []
    for line in lines[begin + 1 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


class LogReference(unittest.TestCase):
    def setUp(self):
        self.events = logged()

    def test_events(self):
        told = {}
        for event, levels, fields, when in rows("## Events"):
            name = event.strip("`")
            self.assertNotIn(name, told)
            told[name] = (set(levels.split(", ")), set(re.findall(r"`([\w.]+)`", fields)))
            self.assertRegex(when, r"\.$", name)
        self.assertEqual(list(told), sorted(told, key=str.lower))
        self.assertEqual(set(told) - set(self.events), set(), "nothing logs these")
        self.assertEqual(set(self.events) - set(told), set(), "pooler/log.md does not have these")
        for name, wanted in self.events.items():
            self.assertEqual(told[name], wanted, name)
        self.assertGreater(len(told), 70)

    def test_fields(self):
        told = [field.strip("`") for field, _ in rows("## Fields")]
        used = {field for _, fields in self.events.values() for field in fields} | {"repeated"}
        self.assertEqual(told, sorted(used))

    def test_calls_are_understood(self):
        """Nothing else in the sources looks like a call that logs."""
        for path, text in SOURCES.items():
            for line in text.splitlines():
                if re.search(r"\blog\w*(?:\(\))?(?:\.|->)(?:debug|info|warn|error)\(", line):
                    self.assertRegex(line, CALL, path.name)


if __name__ == "__main__":
    unittest.main()
