"""What /proc and strace say about a process."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of all threads, those that have ended included."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def resident_bytes(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def threads(pid):
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


class Syscalls:
    """Counts the system calls of a process, all threads, while the block runs."""

    def __init__(self, pid, directory):
        self.pid = pid
        self.path = Path(directory) / "strace.txt"
        self.total = None

    def __enter__(self):
        command = ["strace", "-c", "-f", "-p", str(self.pid), "-o", str(self.path)]
        self._strace = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._strace.stderr.readline()  # "strace: Process ... attached"
        time.sleep(0.2)
        if self._strace.poll() is not None:
            raise RuntimeError("strace cannot attach")
        return self

    def __exit__(self, *_):
        self._strace.send_signal(signal.SIGINT)
        self._strace.communicate(timeout=30)
        total = re.search(r"^100\.00\s+\S+\s+(?:\d+\s+)?(\d+)\s+(?:\d+\s+)?total$", self.path.read_text(), re.M)
        self.total = int(total.group(1)) if total else None
