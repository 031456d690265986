"""A Postgres with tenants, and what stands between them and it.

A seat is what one case has for itself at a time: a mode, a lane of it (a database) and a kind (which of the
ceilings are low). Its name is that of the role, and of the tenant where there is pgweir.
"""

import contextlib
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from harness import TRUST, Pgweir, Postgres, Wire, machine, pg_program

from .case import MODES

TARGETS = (*MODES, "plain", "pgbouncer")  # the last two are there to be broken into
LANES = 3

WORK_MEM_KB = 256
WORKERS = 1
STATEMENT_TIMEOUT_MS = 400
HOLD_MS = 500  # of the clocks

COMMON = {
    "work_mem": f"{WORK_MEM_KB}kB",
    "hash_mem_multiplier": "1",
    "maintenance_work_mem": "2MB",
    "temp_buffers": "1MB",
    "max_parallel_workers_per_gather": str(WORKERS),
    "max_parallel_maintenance_workers": "0",
    "lock_timeout": "20s",
    "statement_timeout": "20s",
}
KINDS = {
    "memory": {},
    "time": {"statement_timeout": f"{STATEMENT_TIMEOUT_MS}ms", "lock_timeout": f"{STATEMENT_TIMEOUT_MS}ms"},
    # One server for all clients of the tenant, so that they meet.
    "leak": {},
    "hold": {
        "statement_timeout": f"{HOLD_MS}ms",
        "idle_in_transaction_session_timeout": f"{HOLD_MS}ms",
        "transaction_timeout": f"{2 * HOLD_MS}ms",
    },
    "identity": {},
    # Of sessions that have kept their servers since there were other ceilings (see Stage.lower).
    "lowered": {"statement_timeout": f"{STATEMENT_TIMEOUT_MS}ms"},
}
WIDE = {name: "20s" for name in ("statement_timeout", "lock_timeout")} | {"work_mem": "1GB"}
ONE_SERVER = ("leak", "hold")
INJECTED = {"memory": ("app.tenant_id",), "identity": ("app.tenant_id", "search_path", "role")}
NOT_GUARDED = ("transaction_timeout",)  # this Postgres may not know it
SETTINGS = {
    "max_connections": "120",
    "max_worker_processes": "16",
    "max_prepared_transactions": "2",
    "shared_buffers": "32MB",
    "autovacuum": "off",
}
GUARD = Path(__file__).parents[3] / "packaging" / "postgres" / "pgweir_guard"


@dataclass(frozen=True)
class Seat:
    mode: str
    lane: int
    kind: str

    @property
    def name(self):
        return f"{self.mode}{self.lane}_{self.kind}"

    @property
    def database(self):
        return f"{self.mode}{self.lane}"

    @property
    def reader(self):
        """The role that is injected where one is."""
        return f"{self.mode}{self.lane}_reader"

    @property
    def ceilings(self):
        return {**COMMON, **KINDS[self.kind]}

    @property
    def injected(self):
        values = {"app.tenant_id": self.name, "search_path": "mine", "role": self.reader}
        return {name: values[name] for name in INJECTED.get(self.kind, ())}


def build_guard():
    """The path of pgweir_guard, made by PGXS outside of the source tree."""
    place = machine.scratch("guard")
    for name in ("Makefile", "pgweir_guard.c"):
        shutil.copy(GUARD / name, place / name)
    done = machine.run(["make", "-C", place, "with_llvm=no", f"PG_CONFIG={pg_program('pg_config')}"])
    if done.returncode != 0:
        raise AssertionError(f"pgweir_guard was not built:\n{done.stdout}{done.stderr}")
    return place / "pgweir_guard.so"


class Stage:
    def __init__(self, modes):
        self.modes = tuple(modes)
        self.weir = self.bouncer = None
        self.postgres = Postgres(hba=TRUST, settings=SETTINGS)
        guard = build_guard() if "guard" in self.modes else None
        self.seats = [Seat(mode, lane, kind) for mode in self.modes for lane in range(LANES) for kind in KINDS]
        self._superuser = threading.local()
        self._connections = []
        self._make_tenants(guard)
        if any(mode in MODES for mode in self.modes):
            self.weir = Pgweir(self.postgres, self._configuration()).start()
        if "pgbouncer" in self.modes:
            self.bouncer = Bouncer(self.postgres, self.seats)

    def close(self):
        try:
            if self.weir:
                self.weir.stop()
        finally:
            if self.bouncer:
                self.bouncer.stop()
            for connection in self._connections:
                connection.close()
            self.postgres.stop()

    # --- the tenants on Postgres

    def _make_tenants(self, guard):
        for mode in self.modes:
            for lane in range(LANES):
                self._make_lane(mode, lane, guard)

    def _make_lane(self, mode, lane, guard):
        main = Seat(mode, lane, "memory")
        self.sql(f"create role {main.reader}")
        for kind in KINDS:
            seat = Seat(mode, lane, kind)
            self.sql(f"create role {seat.name} login; grant {main.reader} to {seat.name}")
            if guard and mode == "guard":
                held = ", ".join(f"{name}={value}" for name, value in seat.ceilings.items() if name not in NOT_GUARDED)
                self.sql(f"alter role {seat.name} set session_preload_libraries = '{guard}'")
                with self.postgres.connect() as loaded:
                    loaded.execute(f"load '{guard}'")
                    loaded.execute(f"alter role {seat.name} set pgweir_guard.ceilings = '{held}'")
            self.set_role(seat)
        self.sql(f"create database {main.database} owner {main.name}")
        with self.postgres.connect(main.database) as connection:
            connection.execute(
                f"""
                create extension tablefunc;
                create extension dblink;
                grant execute on all functions in schema public to public;
                create schema mine;
                create schema theirs;
                create table mine.landmark as select 'mine' as whose;
                create table theirs.landmark as select 'theirs' as whose;
                create table public.ledger (tenant text);
                insert into ledger values ('theirs');
                alter table ledger enable row level security;
                create policy own on ledger using (tenant = current_setting('app.tenant_id', true));
                create table public.big as select generate_series(1, 3000) as a;
                alter table big set (parallel_workers = 4);
                analyze big;
                create table public.secrets as select 'theirs' as whose;
                create table public.scratch (a text);
                create function public.raise_it() returns void language plpgsql as
                    $$ begin set work_mem = '1GB'; end $$;
                create function public.raise_late() returns trigger language plpgsql as
                    $$ begin set work_mem = '1GB'; return null; end $$;
                create table public.raising (a int);
                create constraint trigger late after insert on raising deferrable initially deferred
                    for each row execute function raise_late();
                grant insert on raising to public;
                grant select on ledger, big to public;
                grant all on scratch to public;
                grant create on schema public to public;
                grant usage, create on schema mine, theirs to public;
                grant select on mine.landmark, theirs.landmark to public;
                """
            )
            for kind in KINDS:
                seat = Seat(mode, lane, kind)
                connection.execute(f"create schema {seat.name} authorization {seat.name}")
                connection.execute(f"grant create on database {main.database} to {seat.name}")
                # What only the login role may see, and not the one that is injected.
                connection.execute(f"grant select on secrets to {seat.name}")

    def set_role(self, seat):
        """What the role begins with, on any Postgres; where nothing else holds it, the ceilings as well."""
        settings = {"parallel_setup_cost": "0", "parallel_tuple_cost": "0"}
        if seat.mode not in MODES:
            settings.update({**seat.ceilings, **seat.injected})
            settings.pop("transaction_timeout", None)  # of Postgres 17
        for name, value in settings.items():
            self.sql(f"alter role {seat.name} set {name} = '{value}'")

    def restore(self, seat):
        """After a case that has changed more than its session."""
        keep = "pgweir_guard.ceilings", "session_preload_libraries"
        for (row,) in self.sql(
            f"select split_part(unnest(setconfig), '=', 1) from pg_db_role_setting where "
            f"setrole = '{seat.name}'::regrole or setdatabase = "
            f"(select oid from pg_database where datname = '{seat.database}')"
        ):
            if row not in keep:
                self.sql(f"alter role {seat.name} reset {row}")
                self.sql(f"alter role {seat.name} in database {seat.database} reset {row}")
                self.sql(f"alter database {seat.database} reset {row}")
        self.set_role(seat)
        self.end_servers(seat)

    def end_servers(self, seat):
        self.sql(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = '{seat.name}'")

    def sql(self, text):
        """By a connection of the thread's own: what one of them waits for keeps no other."""
        if not hasattr(self._superuser, "connection"):
            self._superuser.connection = self.postgres.connect()
            self._connections.append(self._superuser.connection)
        cursor = self._superuser.connection.execute(text)
        return cursor.fetchall() if cursor.description else []

    # --- what stands in front

    def _configuration(self):
        tiers, tenants = {}, {}
        for seat in self.seats:
            if seat.mode not in MODES:
                continue
            one = seat.kind in ONE_SERVER
            tier = {f"inject.{name}": value for name, value in seat.injected.items()}
            tier.update({name: value for name, value in seat.ceilings.items()})
            tier.update(
                inspection="strict" if seat.mode == "strict" else "standard",
                pool_size=1 if one else 4,
                max_server_connections=1 if one else 8,
                max_clients=50,
                max_pinned_clients=4,
                session_mode=True,
            )
            tiers[seat.name] = tier
            if seat.kind == "lowered":
                tiers[f"{seat.name}_wide"] = {**tier, **WIDE}
            tenants[seat.name] = {"tier": self.wide_tier(seat), "backend": "main", "database": seat.database}
        return {"auth": {"method": "trust"}, "tiers": tiers, "tenants": tenants}

    @staticmethod
    def wide_tier(seat):
        return f"{seat.name}_wide" if seat.kind == "lowered" else seat.name

    def lower(self, seat):
        self.weir.console(f"SET TIER {seat.name} {seat.name}")

    def widen(self, seat):
        self.weir.console(f"SET TIER {seat.name} {seat.name}_wide")

    def client(self, seat, timeout=15, **parameters):
        """A session of the tenant that has logged in."""
        wire = Wire(self._port(seat), timeout=timeout)
        parameters = {name: value.replace("{role}", seat.name) for name, value in parameters.items()}
        try:
            return wire.login(seat.name, self._database(seat), **parameters)
        except BaseException:
            wire.close()
            raise

    def _port(self, seat):
        if seat.mode in MODES:
            return self.weir.port
        return self.postgres.port if seat.mode == "plain" else self.bouncer.port

    def _database(self, seat):
        return seat.database if seat.mode == "plain" else seat.name

    def address(self, seat):
        """For programs of Postgres."""
        return ["-h", "127.0.0.1", "-p", str(self._port(seat)), "-U", seat.name, "-d", self._database(seat)]

    def past_the_pooler(self, seat):
        return self.postgres.connect(seat.database, seat.name)


class Bouncer:
    """Debian's pgbouncer in transaction mode, set up as its users do."""

    def __init__(self, postgres, seats):
        self.dir = machine.scratch("bouncer")
        self.port = machine.free_port()
        databases, users = [], []
        for seat in seats:
            if seat.mode != "pgbouncer":
                continue
            size = 1 if seat.kind in ONE_SERVER else 8
            databases.append(
                f"{seat.name} = host=127.0.0.1 port={postgres.port} dbname={seat.database} pool_size={size}"
            )
            users.append(f'"{seat.name}" ""')
        machine.write(self.dir / "users.txt", "\n".join(users) + "\n", 0o600)
        machine.write(
            self.dir / "pgbouncer.ini",
            "\n".join(
                [
                    "[databases]",
                    *databases,
                    "[pgbouncer]",
                    "listen_addr = 127.0.0.1",
                    f"listen_port = {self.port}",
                    "unix_socket_dir =",
                    "auth_type = trust",
                    f"auth_file = {self.dir}/users.txt",
                    "pool_mode = transaction",
                    "ignore_startup_parameters = extra_float_digits",
                    "max_client_conn = 500",
                ]
            )
            + "\n",
            0o600,
        )
        with open(self.dir / "log", "ab") as log:
            self.process = subprocess.Popen(
                machine.as_system_user(["pgbouncer", self.dir / "pgbouncer.ini"]),
                cwd=self.dir,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        machine.wait_until(self._listens, what="pgbouncer listening")

    def _listens(self):
        if self.process.poll() is not None:
            raise AssertionError("pgbouncer ended:\n" + (self.dir / "log").read_text(errors="replace"))
        with contextlib.suppress(OSError), Wire(self.port, timeout=1):
            return True
        return False

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


__all__ = ["LANES", "MODES", "TARGETS", "Seat", "Stage"]
