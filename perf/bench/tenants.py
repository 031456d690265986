"""Contestants for whom many tenants share few server connections. Case `shared`: all are one database and role to Postgres;
else each has a database of its own."""

from harness import machine

from .poolers import CLIENTS_MAX, DATABASE, USER, Pgbouncer, Pgweir, PgweirOneThread

POOL, MOST = 2, 5  # servers of a tenant: sure of, and at most


def tenant_name(number):
    return f"t{number}"


def most_of(tenants, servers):
    """Servers of one tenant at most: where there are few tenants, each may have his part."""
    return max(MOST, servers // tenants)


class TenantsPgweir(Pgweir):
    def __init__(self, postgres, case, tenants, servers, clients_max=CLIENTS_MAX):
        super().__init__(postgres)
        self.case, self.tenants, self.servers, self.clients_max = case, tenants, servers, clients_max

    def command(self):
        binary, option, _ = super().command()
        database = f", database: {DATABASE}" if self.case == "shared" else ""
        config = f"""\
listen: {{ addresses: ["127.0.0.1"], port: {self.port} }}
process: {{ threads: {self.threads} }}
client: {{ max: {self.clients_max} }}
auth: {{ method: trust }}
users: {{ {USER}: unused }}
http: {{ port: 0 }}
backends:
  main: {{ host: 127.0.0.1, port: {self.postgres.port}, max_server_connections: {self.servers}, tls_mode: disable }}
tiers:
  bench:
    pool_size: {POOL}
    max_server_connections: {most_of(self.tenants, self.servers)}
    max_clients: {max(1000, self.clients_max // self.tenants)}
    queue_timeout: 60s
tenants:
  "t*": {{ tier: bench, backend: main{database} }}
"""
        return [binary, option, machine.write(self.dir / "pgweir.yaml", config)]


class TenantsPgweirOneThread(TenantsPgweir):
    name = "pgweir-1"
    threads = PgweirOneThread.threads


class TenantsPgbouncer(Pgbouncer):
    def __init__(self, postgres, case, tenants, servers, clients_max=CLIENTS_MAX):
        super().__init__(postgres)
        self.case, self.tenants, self.servers, self.clients_max = case, tenants, servers, clients_max

    def command(self):
        program, _ = super().command()
        real = (lambda _: DATABASE) if self.case == "shared" else tenant_name
        databases = "".join(
            f"{tenant_name(n)} = host=127.0.0.1 port={self.postgres.port} dbname={real(n)}\n" for n in range(self.tenants)
        )
        config = f"""\
[databases]
{databases}[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.dir}/users.txt
pool_mode = transaction
default_pool_size = {most_of(self.tenants, self.servers)}
max_user_connections = {self.servers}
max_client_conn = {self.clients_max}
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
"""
        return [program, machine.write(self.dir / "pgbouncer.ini", config)]


KINDS = {kind.name: kind for kind in (TenantsPgbouncer, TenantsPgweirOneThread, TenantsPgweir)}
