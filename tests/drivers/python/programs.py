"""Postgres's own programs: how the drivers psql, pgbench and pg_dump call them."""

import os
import subprocess
from pathlib import Path

BIN = Path("/usr/lib/postgresql/15/bin")


def call(program, *words, text=None, seconds=60):
    """(exit code, standard output, standard error)."""
    done = subprocess.run(
        [str(BIN / program), *map(str, words)], input=text, capture_output=True, text=True, timeout=seconds, check=False, env=os.environ
    )
    return done.returncode, done.stdout, done.stderr


def must(program, *words, text=None):
    code, out, error = call(program, *words, text=text)
    assert code == 0, f"{program} ended with {code}: {error or out}"
    return out


def psql(text):
    """One session, quiet, unaligned, ending at the first error."""
    return must("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-", text=text)


def version(program):
    return must(program, "--version").strip().split()[2]
