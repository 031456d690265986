"""What the end-to-end tests stand on: a scratch Postgres, a pgweir, certificates, raw sockets.

Everything lives in its own directory under /tmp, runs as the system user `postgres` when the tests run as
root, listens on loopback only, and dies with the test process.
"""

from .bystander import Bystander
from .case import PgweirCase
from .certificates import Authority
from .fault_case import FaultCase
from .fault_proxy import FaultProxy
from .ledger import Ledger
from .machine import free_port, pg_program, run, scratch, wait_until
from .pgweir import FREES_AT_ONCE, Pgweir
from .postgres import TRUST, Postgres
from .recorder import Recorder
from .redis import Redis
from .sentinel import Sentinels, replica_of
from .side_by_side import side_by_side
from .small_disk import SmallDisk
from .sniffer import Sniffer
from .wire import Wire

__all__ = [
    "FREES_AT_ONCE",
    "TRUST",
    "Authority",
    "Bystander",
    "FaultCase",
    "FaultProxy",
    "Ledger",
    "Pgweir",
    "PgweirCase",
    "Postgres",
    "Recorder",
    "Redis",
    "Sentinels",
    "SmallDisk",
    "Sniffer",
    "Wire",
    "free_port",
    "pg_program",
    "run",
    "replica_of",
    "scratch",
    "side_by_side",
    "wait_until",
]
