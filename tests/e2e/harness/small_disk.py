"""A file system that gets full."""

import ctypes
import os
import unittest

from . import machine

CLONE_NEWNS = 0x00020000
PIECE = bytes(64 << 10)

_private = False


def _own_mounts():
    """What is mounted from now on only this thread and the processes that it starts see; it ends with them."""
    global _private
    if _private:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise unittest.SkipTest(f"may not mount anything: {os.strerror(ctypes.get_errno())}")
    _mount("--make-rprivate", "/")
    _private = True


def _mount(*arguments):
    done = machine.run(["mount", *arguments])
    if done.returncode != 0:
        raise unittest.SkipTest(f"may not mount anything: {done.stderr}")


class SmallDisk:
    """A tmpfs, mounted by the constructor, which skips the test where that is not allowed.

    Made by the main thread before it starts others, since those who came before do not see it.
    """

    def __init__(self, megabytes):
        _own_mounts()
        self.dir = machine.scratch("disk")
        _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(self.dir))
        machine.own(self.dir, 0o755)
        self._ballast = self.dir / "ballast"

    def room(self):
        """A new directory on it that the servers' user owns."""
        directory = self.dir / "room"
        directory.mkdir()
        machine.own(directory, 0o700)
        return directory

    def fill(self):
        """To the last page."""
        with open(self._ballast, "ab", buffering=0) as file:
            try:
                while file.write(PIECE):
                    pass
            except OSError:
                return  # no space left

    def free(self):
        self._ballast.unlink(missing_ok=True)

    def close(self):
        machine.run(["umount", "--lazy", self.dir])
