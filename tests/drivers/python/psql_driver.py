"""psql: one process per connection, fed line by line."""

import signal
import subprocess
import time

from contract import ME, SCRATCH, TOKEN, equal, main, scenario
from programs import BIN, call, must, psql, version

END = "\x01 end"


class Failed(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.sqlstate = text.split("ERROR:")[-1].split("FATAL:")[-1].strip()[:5]


class Session:
    """A psql that says what it answers; VERBOSITY sqlstate shows an error as its SQLSTATE."""

    def __init__(self):
        words = [BIN / "psql", "-XqAt", "-v", "VERBOSITY=sqlstate", "-f", "-"]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask(self, text):
        self.process.stdin.write(f"{text}\n;\n\\echo '{END}'\n" if not text.startswith("\\") else f"{text}\n\\echo '{END}'\n")
        self.process.stdin.flush()
        lines = []
        while True:
            line = self.process.stdout.readline()
            assert line, f"psql ended: {lines}"
            if line.rstrip("\n") == END:
                break
            lines.append(line.rstrip("\n"))
        lines = [line for line in lines if ": WARNING:" not in line and ": NOTICE:" not in line]
        for line in lines:
            if "ERROR:" in line or "FATAL:" in line:
                raise Failed(line)
        return lines


def connect():
    session = Session()
    session.ask("select 1")
    return session


def close(session):
    session.process.stdin.close()
    session.process.wait(10)
    session.process.stdout.close()


def rows(session, text):
    return [[line.split("|")[0]] for line in session.ask(text)]


@scenario
def catalog_commands(session):
    session.ask(f"create table cat_{TOKEN} (n int primary key, who text default '{TOKEN}')")
    for _ in range(3):
        assert any(TOKEN in line for line in session.ask(f"\\d cat_{TOKEN}"))
        assert any(f"cat_{TOKEN}_pkey" in line for line in session.ask("\\di"))
        assert any(f"cat_{TOKEN}" in line for line in session.ask("\\dt"))
    return len(session.ask("\\df pg_catalog.abs"))


@scenario
def gexec_and_gset(session):
    session.ask(f"select format('create table gx_{TOKEN}_%s (n int)', n) from generate_series(1, 5) n \\gexec")
    session.ask(f"select '{TOKEN}' as me \\gset")
    equal(session.ask("select :'me'"), [TOKEN])
    equal(session.ask(f"select count(*) from pg_class where relname like 'gx_{TOKEN}_%'"), ["5"])


@scenario
def fetch_count(session):
    """Cursors behind the scenes."""
    session.ask("\\set FETCH_COUNT 100")
    got = session.ask(f"select n || '/{TOKEN}' from generate_series(1, 1000) n")
    equal(got, [f"{n}/{TOKEN}" for n in range(1, 1001)])


@scenario
def single_transaction(_):
    script = SCRATCH / "one.sql"
    script.write_text(f"create table st_{TOKEN} (n int); insert into st_{TOKEN} values (1); select 1/0;")
    code, _out, error = call("psql", "-Xq1", "-v", "ON_ERROR_STOP=1", "-f", script)
    equal((code, "division by zero" in error), (3, True))
    code, _out, error = call("psql", "-XqAtc", f"select count(*) from st_{TOKEN}")
    assert f'relation "st_{TOKEN}" does not exist' in error, error


@scenario
def copy_both_ways(session):
    data = SCRATCH / "data"
    data.write_text("".join(f"{n}\t{TOKEN}\n" for n in range(3000)))
    session.ask(f"create table cp_{TOKEN} (n int, who text)")
    session.ask(f"\\copy cp_{TOKEN} from '{data}'")
    session.ask(f"\\copy (select * from cp_{TOKEN} order by n) to '{SCRATCH}/out'")
    equal((SCRATCH / "out").read_text(), data.read_text())
    equal(psql(f"copy cp_{TOKEN} from stdin;\n1\t{TOKEN}\n\\.\nselect count(*) from cp_{TOKEN};\n").strip(), "3001")


@scenario
def large_objects(session):
    data = SCRATCH / "lo"
    data.write_text(TOKEN * 10000)
    session.ask(f"\\lo_import '{data}'")
    oid = session.ask("\\echo :LASTOID")[0]
    session.ask(f"\\lo_export {oid} '{SCRATCH}/lo.out'")
    equal((SCRATCH / "lo.out").read_text(), data.read_text())
    session.ask(f"\\lo_unlink {oid}")


@scenario
def interrupt(_):
    """Ctrl-C sends a CancelRequest."""
    process = subprocess.Popen([BIN / "psql", "-Xc", "select pg_sleep(20)"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=25)
    assert time.monotonic() - started < 10
    assert "ERROR:  canceling statement due to user request" in error, error


@scenario
def several_commands(_):
    return must("psql", "-XAt", "-c", f"begin; create table sc_{TOKEN} (n int); commit", "-c", "select 1; select 2", "-c", "show server_version_num")


@scenario
def reconnect(session):
    session.ask("\\c")
    equal(session.ask(f"select '{TOKEN}'"), [TOKEN])


@scenario
def on_error_rollback(session):
    session.ask("\\set ON_ERROR_ROLLBACK on")
    session.ask(f"begin; create table oer_{TOKEN} (n int)")
    for _ in range(3):
        try:
            session.ask("select 1/0")
        except Failed:
            pass
    session.ask(f"insert into oer_{TOKEN} values ({ME})")
    session.ask("commit")
    equal(session.ask(f"select n from oer_{TOKEN}"), [str(ME)])


main(version("psql"), connect, close, lambda session, text: session.ask(text), rows)
