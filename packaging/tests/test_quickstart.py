"""packaging/quickstart, one of the README's two commands, with the program that is under test."""

import glob
import os
import re
import signal
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORK = "/tmp/pgweir-quickstart.*"
PATIENCE = 120


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.before = set(glob.glob(WORK))

    def start(self, *arguments):
        process = subprocess.Popen(
            [os.path.join(ROOT, "packaging/quickstart"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # what a terminal's Ctrl-C reaches
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))
        return process

    def assert_nothing_left(self, process):
        self.assertEqual(set(glob.glob(WORK)) - self.before, set())
        with self.assertRaises(ProcessLookupError):
            os.killpg(process.pid, 0)

    def test_the_tour(self):
        process = self.start("--once")
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, 0, output)
        self.assertRegex(output, r"acme +\| acme +\| +42\n")
        servers = {name: int(count) for name, count in re.findall(r"^ (acme|demo) +\| +(\d+)$", output, re.MULTILINE)}
        self.assertEqual(servers["acme"], 1)
        self.assertLessEqual(servers["demo"], 5, "more server connections than the free tier has")
        self.assertEqual(len(re.findall(r"postgres://(?:acme|demo|admin):[0-9a-f]{32}@127\.0\.0\.1:\d+/", output)), 3)
        self.assert_nothing_left(process)

    def test_ctrl_c_stops_all_that_it_started(self):
        process = self.start()
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "Ctrl-C" in line:
                break
        else:
            self.fail("".join(lines))
        url = re.search(r"acme \(pro\) +(\S+)", "".join(lines))[1]
        ask = ["psql", "-X", "-At", url, "-c", "select 6 * 7"]
        self.assertEqual(subprocess.run(ask, capture_output=True, text=True, check=True).stdout, "42\n")
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assert_nothing_left(process)

    def test_what_it_does_not_know(self):
        process = self.start("--twice")
        output, _ = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, output), (64, "usage: packaging/quickstart [--once]\n"))


if __name__ == "__main__":
    unittest.main()
