"""The systemd units: how much the service may do, and that they agree with the program and its package."""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "packaging/systemd"
EXPOSURE_MOST = 2.0  # systemd's own scale from 0 to 10; Debian's services have 9


class Units(unittest.TestCase):
    def setting(self, unit, section, name):
        found, here = [], None
        for line in (UNITS / unit).read_text().splitlines():
            if line.startswith("["):
                here = line.strip("[]")
            elif here == section and line.startswith(f"{name}="):
                found.append(line.split("=", 1)[1])
        return found

    def test_exposure(self):
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", UNITS / "pgweir.service"],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
        score = re.search(r"Overall exposure level for pgweir\.service: ([\d.]+)", done.stdout)
        self.assertTrue(score, done.stdout + done.stderr)
        self.assertLess(float(score[1]), EXPOSURE_MOST, done.stdout)

    def test_units_are_understood(self):
        """With the program and its pages where the unit looks for them, there is nothing to warn of."""
        with tempfile.TemporaryDirectory(prefix="pgweir-units-", dir="/tmp") as folder:
            for unit in ("pgweir.service", "pgweir.socket"):
                text = (UNITS / unit).read_text().replace("/usr/bin/pgweir ", "/bin/true ")
                Path(folder, unit).write_text(re.sub(r"(?m)^Documentation=.*\n", "", text))
            done = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", f"{folder}/pgweir.service", f"{folder}/pgweir.socket"],
                capture_output=True,
                text=True,
                check=False,
            )
        ours = [line for line in done.stderr.splitlines() if "pgweir" in line]
        self.assertEqual(ours, [], done.stderr)

    def test_what_starting_again_does_not_mend(self):
        told = subprocess.run(
            [os.environ["PGWEIR_BINARY"], "--help"], capture_output=True, text=True, check=True
        ).stdout
        codes = [
            re.search(rf"^  (\d+) +{meaning}", told, re.M)[1]
            for meaning in ("told to stop", "the configuration is wrong")
        ]
        self.assertEqual(self.setting("pgweir.service", "Service", "RestartPreventExitStatus"), [" ".join(codes)])
        self.assertEqual(self.setting("pgweir.service", "Service", "Type"), ["notify"])

    def test_transactions_may_end_before_it_is_killed(self):
        default = re.search(
            r"`process\.shutdown_timeout` \| `\w+` \| `(\d+)s`", (ROOT / "conf/reference.md").read_text()
        )[1]
        stop = self.setting("pgweir.service", "Service", "TimeoutStopSec")[0]
        usage = re.search(r"kUsageWaitMost\{(\d+)\}", (ROOT / "pooler/tier_control.h").read_text())[1]
        self.assertGreaterEqual(int(stop.removesuffix("s")), int(default) + int(usage) + 5)

    def test_sockets_are_those_of_the_shipped_configuration(self):
        text = (ROOT / "conf/pgweir.yaml").read_text()
        port = re.search(r"^  port: (\d+)", text, re.M)[1]
        hosts = re.findall(r'"([^"]+)"', re.search(r"^  addresses: \[(.*)\]", text, re.M)[1])
        expected = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts]
        self.assertEqual(self.setting("pgweir.socket", "Socket", "ListenStream"), expected)


if __name__ == "__main__":
    unittest.main()
