"""The database, all clients at once, and what must be left when they have gone."""

import asyncio
import random
import time

from .client import Client
from .peer import ANSWER_WITHIN, Violation
from .texts import ROLES, SCHEMAS

# What is left out of the mix because pgweir is known to answer otherwise than Postgres: each a bug until somebody
# decides that it is not. PGWEIR_ISOLATION_KNOWN=name,name (or all) puts it back in.
KNOWN = {
    # Wrong answers.
    "constants": "Postgres reads the constants of a named statement anew whenever the search_path has changed; each server"
    " does so at its own time. In a batch that has set others before they are read under the settings of now",
    "other_columns": "a named statement that means other tables now, as by search_path, answers with their columns where"
    " its batch asks for them, and in a transaction on a server that learns it now; Postgres says 0A000",
    "readings_in_batch": "where a server learns a statement in the batch that asks for it, and must read its constants"
    " under other settings for it, DISCARD ALL and isolation levels come behind a query there and are 25001",
    "named_executes": "a named statement that is an EXECUTE is described by what the name means when its server learns"
    " it; to Postgres by what it meant when it was parsed, whatever it will run",
    "sequences": "lastval() and currval() in another transaction than their nextval() are 55000 where the server was used"
    " by others since, and the first ones of all clients where it was before",
    "backslash_behind_code": "a text with a backslash that is sent behind a DO before that is answered is not read, since it"
    " could be read otherwise by then; what else it sets is lost",
    "resets_to_startup": "what was asked for at startup is given back behind the text, batch or SET LOCAL that took it"
    " away, not inside of it, and not for a set_config to NULL",
    # Looks.
    "own_names_in_views": "pg_prepared_statements tells what the server has, which it calls pgweir_<n>",
    "describe_in_failed": "in a failed transaction Describe of a statement that its server does not know is 25P02",
    "binds_in_failed": "in a failed transaction a Bind with too few values, of a statement that its server does not"
    " know, is 25P02",
    "parameters_before_error": "Describe of a statement that its server cannot learn now, as under another search_path,"
    " is told the error at once, without a ParameterDescription before it",
}

STICKY_AT_ONCE = 3  # clients that keep a server; fewer than there are servers


class Crowd:
    """`port` and `database` are under test; the twin is always Postgres."""

    def __init__(self, *, seed, seconds, clients, port, database, twin_port, twin_database, without=(), keep_going=0):
        self.seed = seed
        self.seconds = seconds
        self.port, self.database = port, database
        self.twin_port, self.twin_database = twin_port, twin_database
        self.without = set(without)
        self.keep_going = keep_going
        self.sticky = asyncio.Semaphore(STICKY_AT_ONCE)
        self.chance = random.Random(f"{seed}/crowd")
        self.reports = []
        self.scenes = {}
        self.clients = [Client(self, number) for number in range(1, clients + 1)]

    def allowed(self, ingredient):
        return ingredient not in self.without

    def over(self):
        return time.monotonic() > self.end or len(self.reports) > self.keep_going

    async def run(self):
        self.end = time.monotonic() + self.seconds
        lives = [asyncio.ensure_future(self._live(client)) for client in self.clients]
        late = self.seconds + ANSWER_WITHIN + 30
        done, stuck = await asyncio.wait(lives, timeout=late, return_when=asyncio.FIRST_EXCEPTION)
        for client, life in zip(self.clients, lives):
            if life in stuck and not any(each.exception() for each in done):
                self.reports.append(self._report(client, Violation(f"did not end within {late:.0f} s")))
            life.cancel()
        await asyncio.gather(*done)

    async def _live(self, client):
        while not self.over():
            try:
                return await client.live()
            except Violation as violation:
                self.reports.append(self._report(client, violation))
                client.mailbox = None
                if self.over():
                    return

    def _report(self, client, violation):
        lines = [
            f"seed {self.seed}, client {client.number}, life {client.texts.life}, scene {client.scene},"
            f" connected with {client.parameters}: {violation}"
        ]
        for peer in (client.pooled, client.twin):
            lines.append(f"  last messages of {peer.name}:")
            lines += [f"    {line}" for line in peer.history]
        return "\n".join(lines)

    @property
    def answers(self):
        return sum(client.pooled.answers for client in self.clients)


def prepare(postgres, database, clients):
    """Everything that the clients find, the same in the database under test and in the twin's."""
    postgres.create_database(database, owner="app")
    texts = [
        "create table shared (id int primary key, v text)",
        "insert into shared select g, 'everybody''s' from generate_series(1, 200) g",
        "create table crash (v text)",
    ]
    for number in range(1, clients + 1):
        texts += [
            f"create table own{number} (id int primary key check (id < 1000), v text)",
            f"create sequence seq{number} start {number * 1_000_000}",
        ]
    columns = ("a text default 'schema sa'", "b int default 5, a text default 'schema sb'", "c date default '2021-03-04'")
    for schema, column in zip(SCHEMAS, columns):
        texts += [
            f"create schema {schema}",
            f"create table {schema}.item ({column})",
            f"insert into {schema}.item default values",
            f"grant usage on schema {schema} to public; grant select on {schema}.item to public",
        ]
    texts.append("grant select on shared to public")
    with postgres.connect(database, "app") as connection:
        for text in texts:
            connection.execute(text)


def prepare_users(postgres):
    postgres.create_user("app", "s3cret")
    for role in ROLES:
        postgres.sql(f"create role {role}; grant {role} to app")
