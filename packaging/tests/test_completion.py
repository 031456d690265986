"""What bash completes behind `pgweir`."""

import subprocess
import unittest
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "pgweir.bash-completion"


class Completion(unittest.TestCase):
    def completed(self, *words):
        done = subprocess.run(
            ["bash", "-c", '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pgweir; printf "%s\\n" "${COMPREPLY[@]}"']
            + [str(SCRIPT), *words],
            capture_output=True,
            text=True,
            check=True,
            cwd="/etc",
        )
        return done.stdout.split()

    def test_options(self):
        self.assertEqual(self.completed("pgweir", "--check"), ["--check-config", "--check-backend"])
        self.assertIn("doctor", self.completed("pgweir", ""))

    def test_files(self):
        """Bash takes --config=FILE apart into three words."""
        for words in (["--config", "/etc/pass"], ["--config", "=", "/etc/pass"]):
            self.assertIn("/etc/passwd", self.completed("pgweir", *words))
        self.assertIn("passwd", self.completed("pgweir", "--config", "="))


if __name__ == "__main__":
    unittest.main()
