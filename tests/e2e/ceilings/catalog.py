"""All cases."""

from . import calls, clocks, code, identity, innocent, leaks, startup, stored, texts

HOSTILE = [
    *startup.CASES,
    *texts.CASES,
    *calls.CASES,
    *code.CASES,
    *clocks.CASES,
    *leaks.CASES,
    *stored.CASES,
    *identity.CASES,
]
INNOCENT = innocent.CASES
