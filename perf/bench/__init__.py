"""What perf/compare and perf/idle share. The scratch Postgres is the one of the end-to-end tests."""

import resource
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "e2e"))

# As many open files as the machine allows, for us and for what we start.
_soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (_hard, _hard))
OPEN_FILES = _hard
