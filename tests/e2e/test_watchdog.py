"""The watchdog: a loop that stands still is told, and ends the process when it does not go on."""

import ctypes
import os
import signal
import time
import unittest

from harness import TRUST, PgweirCase, Wire, wait_until

PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


def ptrace(what, thread):
    if libc.ptrace(what, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def hold_first_loop(weir):
    """Keeps pgweir's main thread from running, as a bug would that never comes back to its loop."""
    time.sleep(1)  # it is watched from its first answer on
    ptrace(PTRACE_SEIZE, weir.process.pid)
    ptrace(PTRACE_INTERRUPT, weir.process.pid)
    os.waitpid(weir.process.pid, WALL)


class Watchdog(PgweirCase):
    postgres_options = {"hba": TRUST}
    databases = ("app",)

    def weir(self, patience):
        return self.pgweir(
            {"auth": {"method": "trust"}, "process": {"watchdog": patience, "threads": 2}},
            {"app": "s3cret", "admin": "adm1n"},
        )

    def test_a_loop_that_stands_still_is_told_and_goes_on(self):
        weir = self.weir("60s")
        hold_first_loop(weir)
        wait_until(lambda: '"message":"loop stalled"' in weir.log(), seconds=10, what="the stall is told")
        weir.has_logged("loop 0 has stood still for 1000 ms")
        ptrace(PTRACE_DETACH, weir.process.pid)
        wait_until(lambda: '"message":"loop turns again"' in weir.log(), seconds=10, what="it turns again")
        with Wire(weir.port) as wire:
            self.assertEqual(wire.login("app", "app").value("select 1"), "1")

    def test_a_process_that_was_stopped_as_a_whole_finds_nobody_guilty(self):
        weir = self.weir("2s")
        weir.signal(signal.SIGSTOP)
        time.sleep(4)
        weir.signal(signal.SIGCONT)
        time.sleep(1)
        self.assertTrue(weir.alive)
        self.assertNotIn("loop stalled", weir.log())

    def test_a_loop_that_does_not_go_on_ends_the_process(self):
        weir = self.weir("2s")
        begun = time.monotonic()
        hold_first_loop(weir)
        wait_until(lambda: "the process aborts" in weir.log(), seconds=20, what="the end is told")
        code = weir.wait_end()
        self.assertEqual(code, -signal.SIGABRT)
        self.assertGreater(time.monotonic() - begun, 1.7)


if __name__ == "__main__":
    unittest.main()
