"""Directories, ports, users and processes of the machine that the tests run on."""

import atexit
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SYSTEM_USER = "postgres"
ROOT = Path("/tmp")  # every user can pass, and the path of a unix socket stays short

_directories = []


def _remove_directories():
    for directory in _directories:
        shutil.rmtree(directory, ignore_errors=True)


atexit.register(_remove_directories)
# A test that is told to end cleans up, too; unittest lets this exception pass.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def runs_as_root():
    return os.geteuid() == 0


def scratch(name):
    """A new directory that the servers' user owns; removed when the test process ends."""
    directory = Path(tempfile.mkdtemp(prefix=f"pgweir-{name}-", dir=ROOT))
    _directories.append(directory)
    directory.chmod(0o755)
    own(directory)
    return directory


def own(path, mode=None):
    """Gives a file or directory to the servers' user."""
    if mode is not None:
        os.chmod(path, mode)
    if runs_as_root():
        entry = pwd.getpwnam(SYSTEM_USER)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def write(path, text, mode=0o644):
    Path(path).write_text(text)
    own(path, mode)
    return Path(path)


def _port_is_free(port):
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family) as probe:
                probe.bind((address, port))
        except OSError as error:
            if family == socket.AF_INET6 and not has_ipv6():
                continue
            del error
            return False
    return True


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port():
    """A port outside the range that the kernel gives to outgoing connections."""
    for _ in range(200):
        port = random.SystemRandom().randrange(15000, 31000)
        if _port_is_free(port):
            return port
    raise RuntimeError("no free port found")


def pg_program(name):
    """A program of Postgres itself, not Debian's wrapper around it."""
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    wanted = f"/usr/lib/postgresql/15/bin/{name}"
    if wanted in found:
        return wanted
    return found[-1] if found else name


def as_system_user(command):
    """The command under the servers' user, ending with the process that starts it. The pid stays the same."""
    prefix = ["setpriv", "--pdeathsig=KILL"]
    if runs_as_root():
        prefix += [f"--reuid={SYSTEM_USER}", f"--regid={SYSTEM_USER}", "--init-groups"]
    return prefix + ["--"] + [str(word) for word in command]


def readable_binary(path):
    """`path`, or a copy of it where the servers' user can reach it."""
    reachable = subprocess.run(as_system_user(["test", "-x", path]), check=False).returncode == 0
    if reachable:
        return Path(path)
    copy = scratch("bin") / Path(path).name
    shutil.copy(path, copy)
    own(copy, 0o755)
    return copy


def run(command, *, env=None, input=None, timeout=120, check=False, cwd=None):
    """Runs a program to its end; stdout and stderr as text."""
    environment = {**os.environ, **(env or {})}
    return subprocess.run(
        [str(word) for word in command],
        env=environment,
        input=input,
        timeout=timeout,
        check=check,
        cwd=cwd,
        capture_output=True,
        text=True,
        errors="replace",
    )


def wait_until(condition, *, seconds=10, what="condition", pause=0.02):
    """Waits for a true value and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(pause)
