"""Commands of the console in states and with names that they do not fit: each succeeds, fails or waits as PgBouncer's.

One table of scenes, and two to play them: pgweir, and Debian's PgBouncer where that is installed, so that what is
wanted here is what administrators are used to.
"""

import shutil
import subprocess
import unittest

from harness import PgweirCase, Wire, free_port, machine, wait_until
from harness.wire import CANCEL_REQUEST, Closed, first_error, query, special, startup

OK, ERROR, WAITS, CANCELED = "ok", "error", "waits", "canceled"
WAIT = 0.3  # seconds in which a command that waits must not be answered

LEAVE, CANCEL = "console: (leaves)", "console: (cancels)"  # without a word, as who is killed; by a CancelRequest

# A command on the console, or who runs what: `app` and `other` are clients of these databases, `second` is another
# console, and nothing to run is the answer to what waited.
SCENES = [
    [("RESUME", ERROR)],
    [("RESUME app", ERROR)],
    [("RESUME nowhere", ERROR)],
    [("PAUSE", OK), ("PAUSE", ERROR), ("RESUME", OK), ("RESUME", ERROR)],
    [("PAUSE", OK), ("PAUSE app", ERROR)],
    [("PAUSE", OK), ("RESUME app", ERROR), ("app: select 1", WAITS), ("RESUME", OK), ("app:", OK)],
    [("PAUSE app", OK), ("PAUSE app", OK), ("RESUME app", OK), ("RESUME app", ERROR)],
    [("PAUSE app", OK), ("RESUME", ERROR), ("app: select 1", WAITS), ("RESUME app", OK), ("app:", OK)],
    [("PAUSE app", OK), ("PAUSE", OK), ("RESUME", OK), ("other: select 1", OK), ("app: select 1", WAITS)],
    [("PAUSE app", OK), ("other: select 1", OK), ("RESUME other", ERROR)],
    [("PAUSE nowhere", ERROR)],
    [("PAUSE app other", ERROR)],
    [("PAUSE 'app'", ERROR)],
    [('PAUSE "app"', OK)],
    [("app: begin", OK), ("PAUSE app", WAITS), ("app: commit", OK), ("", OK)],
    [("app: begin", OK), ("PAUSE", WAITS), ("second: PAUSE", ERROR), ("app: commit", OK), ("", OK)],
    # A PAUSE holds also when its console has gone before it was answered.
    [("app: begin", OK), ("PAUSE app", WAITS), (LEAVE, OK), ("app: commit", OK), ("app: select 1", WAITS),
     ("second: RESUME app", OK), ("app:", OK)],
    [("app: begin", OK), ("PAUSE", WAITS), (LEAVE, OK), ("app: commit", OK), ("app: select 1", WAITS),
     ("second: RESUME", OK), ("app:", OK)],
    [("SUSPEND", OK), ("SUSPEND", ERROR), ("PAUSE", ERROR), ("KILL app", ERROR), ("RESUME app", ERROR), ("RESUME", OK)],
    [("PAUSE", OK), ("SUSPEND", ERROR), ("KILL app", ERROR)],
    [("PAUSE app", OK), ("SUSPEND", ERROR)],
    [("SUSPEND x", ERROR)],
    [("KILL app", OK), ("KILL app", OK), ("RESUME", ERROR), ("RESUME app", OK)],
    [("app: select 1", OK), ("KILL app", OK), ("app: select 1", ERROR)],
    [("KILL nowhere", ERROR)],
    [("KILL_CLIENT 5", ERROR)],
    [("DISABLE", ERROR)],
    [("DISABLE app", OK), ("DISABLE app", OK), ("RESUME app", ERROR), ("app: select 1", ERROR), ("ENABLE app", OK)],
    [("DISABLE nowhere", ERROR)],
    [("ENABLE", ERROR)],
    [("ENABLE app", OK)],
    [("ENABLE nowhere", ERROR)],
    [("RECONNECT", OK), ("RECONNECT app", OK), ("RECONNECT nowhere", ERROR)],
    [("WAIT_CLOSE", OK), ("WAIT_CLOSE app", OK), ("WAIT_CLOSE nowhere", ERROR)],
    [("app: begin", OK), ("WAIT_CLOSE app", OK)],
    [("app: begin", OK), ("RECONNECT app", OK), ("WAIT_CLOSE app", WAITS), ("app: commit", OK), ("", OK)],
    [(f"{verb} pgbouncer", ERROR) for verb in "PAUSE RESUME KILL DISABLE ENABLE RECONNECT WAIT_CLOSE".split()],
    [("SET", ERROR), ("SET nowhere = 1", ERROR), ("SET query_timeout = nonsense", ERROR)],
    [("SET query_timeout = 5", OK), ("SET query_timeout = '5'", OK), ("SET query_timeout TO 5", OK)],
    [("RELOAD now", ERROR), ("RELOAD", OK)],
    [("SHUTDOWN nonsense", ERROR), ("SHUTDOWN now please", ERROR), ("SHOW VERSION", OK)],
    [("SHOW", ERROR), ("SHOW nonsense", ERROR), ("nonsense", ERROR), ("  show  version ;", OK)],
]


class Scene:
    """Who takes part, each with a connection of his own from his first word on."""

    def __init__(self, port):
        self.port, self.wires = port, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for wire in self.wires.values():
            wire.close()

    def play(self, line, wanted):
        """What comes of it. Only what is to wait has little time, so that a slow machine makes no difference."""
        who, _, sql = line.rpartition(":")
        who, sql = who or "console", sql.strip()
        try:
            if who not in self.wires:
                self.wires[who] = Wire(self.port, timeout=20)
                user, database = ("app", who) if who in ("app", "other") else ("admin", "pgbouncer")
                self.wires[who].send(startup(user, database))
                self.answer(who, wanted)
            if who + ": " + sql == LEAVE:
                self.wires.pop(who).close()
                return OK
            if who + ": " + sql == CANCEL:
                with Wire(self.port) as other:
                    other.send(special(CANCEL_REQUEST, self.wires[who].key))
                    other.until_closed()
                return OK
            if sql:
                self.wires[who].send(query(sql))
            error = first_error(self.answer(who, wanted))
            return (CANCELED if error["C"] == "57014" else ERROR) if error else OK
        except TimeoutError:
            return WAITS
        except (Closed, ConnectionError):
            return ERROR

    def answer(self, who, wanted):
        wire = self.wires[who]
        wire.socket.settimeout(WAIT if wanted == WAITS else 20)
        messages = wire.until_ready()
        wire.key = dict(messages).get(b"K", wire.key)
        return messages


class States(PgweirCase):
    databases = ("app", "other")

    def play(self, scene, port):
        with self.subTest(" / ".join(line for line, _ in scene)), Scene(port) as stage:
            for line, wanted in scene:
                self.assertEqual((line, stage.play(line, wanted)), (line, wanted))

    def test_pgweir(self):
        weir = self.pgweir(
            {
                "auth": {"method": "trust"},
                "pool": {"unknown_tenants": False},
                "tenants": {name: {"tier": "free"} for name in ("app", "other")},
            },
            users={"app": "s3cret", "admin": "adm1n"},
        )
        for scene in SCENES:
            self.play(scene, weir.port)
            with Scene(weir.port) as after:
                for line in ("RESUME", "RESUME app", "ENABLE app"):
                    after.play(line, OK)

    def test_a_pause_that_is_called_off_is_told(self):
        weir = self.pgweir({"auth": {"method": "trust"}}, users={"app": "s3cret", "admin": "adm1n"})
        for pause, resume in (("PAUSE", "RESUME"), ("PAUSE app", "RESUME app")):
            with Scene(weir.port) as stage:
                for line, wanted in (("app: begin", OK), (pause, WAITS), (f"second: {resume}", OK), ("", ERROR)):
                    self.assertEqual((line, stage.play(line, wanted)), (line, wanted))
                self.assertEqual(stage.play("app: commit", OK), OK)

    def test_what_waits_is_called_off_by_a_cancel(self):
        """Where PgBouncer resumes all, tells its console nothing, and leaves one database paused, we tell and undo."""
        weir = self.pgweir({"auth": {"method": "trust"}}, users={"app": "s3cret", "admin": "adm1n"})
        for scene in (
            [("app: begin", OK), ("PAUSE app", WAITS), (CANCEL, OK), ("", CANCELED), ("RESUME app", ERROR),
             ("app: commit", OK), ("app: select 1", OK)],
            [("app: begin", OK), ("PAUSE", WAITS), (CANCEL, OK), ("", CANCELED), ("RESUME", ERROR),
             ("other: select 1", OK), ("app: commit", OK), ("app: select 1", OK)],
            # It waits for who keeps a server between transactions, too.
            [("app: create temporary table t (i int)", OK), ("PAUSE app", WAITS), (CANCEL, OK), ("", CANCELED),
             ("app: select * from t", OK)],
            # Who waits is served then, and the next command is not meant.
            [("app: begin", OK), ("PAUSE app", WAITS), ("other: select 1", OK), (CANCEL, OK), ("", CANCELED),
             (CANCEL, OK), ("PAUSE other", OK), ("RESUME other", OK), ("app: commit", OK)],
            # What another PAUSE has paused stays so.
            [("app: begin", OK), ("second: PAUSE app", WAITS), ("PAUSE app", WAITS), (CANCEL, OK), ("", CANCELED),
             ("app: commit", OK), ("second:", OK), ("app: select 1", WAITS), ("second: RESUME app", OK), ("app:", OK)],
            [("app: begin", OK), ("RECONNECT app", OK), ("WAIT_CLOSE app", WAITS), (CANCEL, OK), ("", CANCELED),
             ("app: commit", OK), ("WAIT_CLOSE app", OK)],
        ):
            self.play(scene, weir.port)

    @unittest.skipUnless(shutil.which("pgbouncer"), "there is no PgBouncer to compare with")
    def test_pgbouncer(self):
        directory, port = machine.scratch("bouncer"), free_port()
        machine.write(directory / "users.txt", '"app" ""\n"admin" ""\n')
        databases = "\n".join(
            f"{name} = host={self.postgres.host} port={self.postgres.port} user=app password=s3cret"
            for name in ("app", "other")
        )
        config = f"""\
[databases]
{databases}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users.txt
pool_mode = transaction
admin_users = admin
"""
        command = [shutil.which("pgbouncer"), machine.write(directory / "pgbouncer.ini", config)]

        def listens():
            with Scene(port) as stage:
                return stage.play("SHOW VERSION", OK) == OK

        # It remembers failed logins, of which a PAUSE makes some: each scene has a new one.
        for scene in SCENES:
            bouncer = subprocess.Popen(machine.as_system_user(command), stderr=subprocess.DEVNULL)
            try:
                wait_until(listens, what="PgBouncer listening")
                self.play(scene, port)
            finally:
                bouncer.terminate()
                bouncer.wait(20)


if __name__ == "__main__":
    unittest.main()
