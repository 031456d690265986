"""SQL at random. Whatever can be told apart holds the token of its client: tok<client>_<number>.

No text shows a time, a process or anything else that would differ between two servers, and none waits for
another client.
"""

SCHEMAS = ("sa", "sb", "sc")
ROLES = ("reader", "writer")
CUSTOM = ("app.token", "app.other", '"App"."Third"')
LIMITED = ("work_mem", "statement_timeout", "lock_timeout")  # where there are ceilings
SHOWN = (
    "work_mem statement_timeout lock_timeout search_path TimeZone DateStyle IntervalStyle application_name"
    " extra_float_digits bytea_output client_min_messages default_transaction_read_only client_encoding role"
    " default_transaction_isolation enable_seqscan standard_conforming_strings transaction_isolation"
    " transaction_read_only"
).split()
NAMES = ("s1", "s2", "s3", "s4")
CURSORS = ("c1", "c2")
# Texts that every client prepares alike.
COMMON = (
    ("select $1::text, nullif(current_setting('app.token', true), '')", 1),
    ("select $1::int + 1, current_setting('work_mem'), current_user", 1),
    ("select $1 || '/' || current_setting('search_path')", 1),
    ("select set_config('app.token', $1, false)", 1, "resets"),
    ("select set_config('app.other', coalesce($1, 'x'), false)", 1),
    ("select set_config('work_mem', '7MB', $1::text = 'x')", 1),
    ("select 1/$1::int", 1),
    ("select g, $1::text from generate_series(1, 7) g", 1),
    ("reset app.token", 0, "resets"),
    ("select current_setting('TimeZone'), current_setting('DateStyle')", 0),
)
# The same, but what they mean depends on the session that prepares them.
BY_SESSION = (
    ("select timestamptz '2021-07-01 12:00'", 0, "constants"),
    ("select date '03/04/2021'", 0, "constants"),
    ("select $1::text, timestamptz '2021-01-01 00:00' < '2021-01-01 00:00+00'", 1, "constants"),
    ("select * from item", 0, "other_columns"),
    ("select i.*, $1::text from item i", 1, "other_columns"),
    ("select * from scratch", 0, "other_columns"),
)


class Texts:
    def __init__(self, rng, client, allowed):
        self.rng = rng
        self.client = client
        self.in_the_mix = allowed  # tells of an ingredient's name whether it is used at all
        self.bare = True  # the client has asked for no settings when it connected
        self.count = 0
        self.sticky = False  # what keeps its server may be made now
        self.forgetful = True  # what takes away many things at once may be said
        self.must_discard = False  # something was made that only DISCARD ALL ends
        self.life = 0  # connections so far

    def allowed(self, ingredient):
        if ingredient == "resets":
            return self.bare or self.in_the_mix("resets_to_startup")
        return self.in_the_mix(ingredient)

    def token(self):
        self.count += 1
        return f"tok{self.client}_{self.count}"

    def pick(self, *choices):
        return self.rng.choice(choices)

    def weighted(self, *pairs):
        pairs = [pair for pair in pairs if pair[0] > 0]
        return self.rng.choices([what for _, what in pairs], [weight for weight, _ in pairs])[0]()

    def statement(self):
        return self.weighted(
            (6, self.plain),
            (3, self.own_table),
            (6, self.setting),
            (4, self.shown),
            (2, self.failing),
            (2, self.transaction),
            (1 if self.forgetful else 0, self.forgetting),
            (1 if self.allowed("sequences") else 0, self.sequence),
            (8 if self.sticky else 0, self.keeping),
        )

    def plain(self):
        return self.pick(
            f"select '{self.token()}' as v, {self.rng.randrange(1000)}",
            f"select '{self.token()}/' || g from generate_series(1, {self.rng.randrange(1, 40)}) g",
            f"select repeat('{self.token()} ', {self.pick(10, 1000, 10000, 30000)})",
            f"do $$ begin raise notice '{self.token()}'; end $$",
            f"values ('{self.token()}', null), (null, '{self.token()}')",
            f"select {self.bytes()}, 1.5::float8 / 7, interval '1 day 2 hours', now() is not null",
            f"select count(*), '{self.token()}' from public.shared",
            f"explain (costs off) select g, '{self.token()}' from generate_series(1, {self.client}) g",
            "select null::text",
            "select",
            "",
            f"/* {self.token()} */ select 1 -- set",
            f"with x as (select '{self.token()}'::text t) select t, current_user from x",
            f"select query_to_xml('select ''{self.token()}'' as t', true, false, '')",
        )

    def bytes(self):
        number = f"{self.client:04x}"
        return f"'\\x{number}'::bytea" if self.allowed("backslash_behind_code") else f"decode('{number}', 'hex')"

    def own_table(self):
        table = f"public.own{self.client}"
        return self.pick(
            f"insert into {table} values ({self.rng.randrange(50)}, '{self.token()}') on conflict do nothing",
            f"insert into {table} values ({self.rng.randrange(50)}, '{self.token()}') returning *",
            f"update {table} set v = '{self.token()}' where id < {self.rng.randrange(50)}",
            # Rows come in the order in which they lie, and that differs between two databases.
            f"with d as (delete from {table} where id > {self.rng.randrange(50)} returning *) select v from d order by id",
            f"delete from {table} where id = {self.rng.randrange(50)} returning v",
            f"select * from {table} order by id limit {self.rng.randrange(1, 9)}",
            f"select count(*), min(v) from {table}",
            f"truncate {table}",
            f"select * from {table} order by id for update",
        )

    def setting(self):
        name, value = self.pick(
            ("app.token", f"'{self.token()}'"),
            ("app.token", f"'{self.token()}'"),
            ("APP.Token", f"'{self.token()}'"),
            (self.pick(*CUSTOM), f"'{self.token()}'"),
            ("application_name", f"'{self.token()}'"),
            ("application_name", self.pick("''", "'wéir'" if self.allowed("constants") else "'weir'", "plain")),
            ("work_mem", self.pick(f"'{self.client + 1}MB'", f"{self.client * 64 + 64}", "'1 GB'")),
            ("statement_timeout", str(200_000 + self.client)),
            ("statement_timeout", self.pick("'9 min'", "0" if self.allowed("beyond_ceilings") else "'8 min'")),
            ("lock_timeout", str(100_000 + self.client)),
            ("search_path", self.path()),
            ("search_path", self.path()),
            ("TimeZone", self.pick("'Asia/Tokyo'", "'America/New_York'", "'UTC'", "'Europe/Berlin'", "7")),
            ("DateStyle", self.pick("'German'", "'SQL, DMY'", "'ISO, MDY'", "'ISO'", "'dmy'", "Postgres, YMD")),
            ("IntervalStyle", self.pick("'iso_8601'", "'postgres'", "'sql_standard'")),
            ("extra_float_digits", self.pick("0", "3", "-5")),
            ("bytea_output", self.pick("'escape'", "'hex'")),
            ("client_min_messages", self.pick("'warning'", "'notice'", "'error'")),
            ("enable_seqscan", self.pick("on", "off")),
            ("default_transaction_isolation", self.pick("'repeatable read'", "'read committed'")),
            ("default_transaction_read_only", self.pick("on", "off", "off")),
            ("client_encoding", self.pick("'LATIN1'", "'UTF8'", "'utf-8'", "'SQL_ASCII'")),
            ("work_mem" if self.allowed("beyond_ceilings") else "TimeZone", "'much'"),
            ("no_such_setting", "1"),
            ("role", self.pick(*ROLES, "none", "nobody_like_this")),
        )
        if name.startswith("default") and not self.allowed("resets"):
            name, value = "work_mem", "'3MB'"
        quoted = name.strip('"').replace('"."', ".")
        if name in LIMITED and not self.allowed("beyond_ceilings"):
            quoted = "app.token"
        return self.weighted(
            (6, lambda: f"set {name} = {value}"),
            (2, lambda: f"set session {name} to {value}"),
            (3, lambda: f"set local {name} = {value}"),
            (2 * self.allowed("resets"), lambda: f"reset {name}"),
            (1 * self.allowed("resets"), lambda: f"set {name} to default"),
            (1 * self.allowed("resets"), lambda: f"set local {name} to default"),
            (1, lambda: f"select set_config('{quoted}', '{self.token()}', {self.pick('true', 'false')})"),
            (1, lambda: f"select set_config('app.token', '{self.token()}', {self.pick('true', 'false')}), 1/0"),
            (1, lambda: f"with s as (select set_config('app.other', '{self.token()}', false) v) select v from s"),
            (1, lambda: f"do $$ begin perform set_config('app.token', '{self.token()}', false); end $$"),
            (1, lambda: f"do $$ begin set app.token = '{self.token()}'; end $$"),
            (1, lambda: "set time zone 'Asia/Tokyo'"),
            (1 * self.allowed("resets"), lambda: "set time zone local"),
            (1, lambda: "set session characteristics as transaction isolation level repeatable read"),
            (1, lambda: "set transaction read only"),
            (1, lambda: "set names 'LATIN1'"),
        )

    def path(self):
        return self.pick("sa", "sb, public", '"sc"', "public", '"$user", public', "sb, sa, public", "''")

    def shown(self):
        return self.pick(
            f"show {self.rng.choice([name for name in SHOWN if not name.startswith('default')])}",
            f"select nullif(current_setting('{self.pick('app.token', 'app.other', 'App.Third')}', true), '')",
            self.all_settings(),
            "select current_user, session_user",
            "select current_schemas(false)",
            "select application_name from pg_stat_activity where pid = pg_backend_pid()",
            "select * from item",
            "select '2021-07-01 12:00+00'::timestamptz::text, '2021-02-03'::date::text",
        )

    def all_settings(self):
        shown = [name for name in SHOWN if self.allowed("resets") or not name.startswith("default")]
        names = ", ".join(f"'{name}'" for name in shown)
        custom = ", ".join(
            f"nullif(current_setting('{name}', true), '')" for name in ("app.token", "app.other", "App.Third")
        )
        return (
            "select string_agg(n || '=' || current_setting(n), ';' order by n), " + custom
            + f" from unnest(array[{names}]) n"
        )

    def failing(self):
        return self.pick(
            f"select 1/0, '{self.token()}'",
            f"select '{self.token()}'::int",
            f"select * from no_such_table_{self.token()}",
            f"selec '{self.token()}'",
            f"do $$ begin raise exception '{self.token()}' using detail = '{self.token()}', hint = 'x'; end $$",
            f"insert into public.own{self.client} values (1000, '{self.token()}')",
            f"insert into public.shared values (1, '{self.token()}')",
            f"select '{self.token()}",
            f"set app.token = '{self.token()}'; select 1/0",
            f"select set_config('app.token', '{self.token()}', false); savepoint nowhere",
        )

    def transaction(self):
        return self.weighted(
            (4, lambda: "begin"),
            (1, lambda: "begin read only"),
            (1, lambda: "start transaction isolation level repeatable read"),
            (3, lambda: "commit"),
            (3, lambda: "rollback"),
            (1, lambda: "commit and chain"),
            (1, lambda: "rollback and chain"),
            (3, lambda: f"savepoint {self.pick('a', 'b')}"),
            (3, lambda: f"rollback to {self.pick('a', 'b')}"),
            (2, lambda: f"release {self.pick('a', 'b')}"),
            (1, lambda: "end"),
        )

    def forgetting(self):
        texts = [
            "discard plans",
            "discard sequences",
            "close all",
            "unlisten *",
            "select pg_advisory_unlock_all()",
        ]
        if self.allowed("resets"):
            texts += ["reset session authorization", "reset all"]
        texts += ["deallocate all", "deallocate prepare all"]
        texts += [f"deallocate {self.pick(*NAMES)}", f"DEALLOCATE PREPARE {self.pick(*NAMES)}"]
        if self.allowed("resets"):
            texts += ["discard all", "DISCARD ALL"]
        return self.pick(*texts)

    def sequence(self):
        return self.pick(f"select nextval('public.seq{self.client}')", "select lastval()", f"select currval('public.seq{self.client}')")

    def keeping(self):
        return self.weighted(
            (5, self.temp),
            (3, self.cursor),
            (4, self.lock),
            (3, self.listen),
            (4, self.sql_prepare),
            (1 * self.allowed("beyond_ceilings"), self.unnamed_setting),
        )

    def unnamed_setting(self):
        """A setting whose name is in no constant of the text."""
        self.must_discard = True
        return self.pick(
            f"update pg_settings set setting = '{self.client + 70}' where name = 'work_mem'",
            f"select set_config('app.' || 'token', '{self.token()}', false)",
            f"select set_config(n, '{self.token()}', false) from (values ('app.token'), ('app.other')) v(n)",
        )

    def temp(self):
        columns = ("a text", "a int, b text", "b text, a timestamptz")[self.client % 3]
        return self.weighted(
            (3, lambda: f"create temp table scratch ({columns})"),
            (1, lambda: f"create temp table if not exists scratch ({columns}) on commit delete rows"),
            (1, lambda: f"create temporary table scratch on commit drop as select '{self.token()}' as a"),
            (1, lambda: f"select '{self.token()}'::text as a into temp scratch"),
            (1, lambda: f"create table pg_temp.scratch as select '{self.token()}'::text as a"),
            (1, lambda: f"create temp view scratch_view as select '{self.token()}'::text as v"),
            (1, lambda: "create temp sequence scratch_seq"),
            (3, lambda: f"insert into scratch select '{self.token()}'"),
            (3, lambda: "select * from scratch order by 1"),
            (1, lambda: "select * from scratch_view"),
            (2, lambda: "drop table scratch"),
            (1, lambda: "drop view if exists scratch_view"),
            (1, lambda: "drop sequence if exists scratch_seq"),
            (1, lambda: "drop table if exists scratch cascade"),
            (1, lambda: "discard temp"),
            (1, self.temp_function),
            (1, lambda: "alter table scratch rename to scratch2"),
            (1, lambda: "select * from scratch2"),
        )

    def temp_function(self):
        # Whether the schema is there shows whether anybody has ever used it; so it is not asked for in vain.
        self.must_discard = True
        return (
            f"create or replace function pg_temp.f() returns text as $$select '{self.token()}'$$ language sql;"
            " select pg_temp.f()"
        )

    def cursor(self):
        name = self.pick(*CURSORS)
        hold = self.pick("with hold", "with hold", "")
        rows = f"select '{self.token()}/' || g as v from generate_series(1, 20) g"
        return self.weighted(
            (4, lambda: f"declare {name} cursor {hold} for {rows}"),
            (2, lambda: f"declare {name} scroll cursor {hold} for {rows}"),
            (4, lambda: f"fetch {self.pick('3', 'all', 'last', 'next')} from {name}"),
            (1, lambda: f"move 5 from {name}"),
            (2, lambda: f"close {name}"),
        )

    def lock(self):
        # What has died may hold its locks a while longer: every life has keys of its own.
        key = f"{self.client * 1000 + self.life}, {self.rng.randrange(1, 4)}"
        return self.weighted(
            (3, lambda: f"select pg_advisory_lock({key})"),
            (2, lambda: f"select pg_try_advisory_lock({key})"),
            (1, lambda: f"select pg_advisory_lock_shared({key})"),
            (1, lambda: f"select pg_try_advisory_lock_shared({key}), '{self.token()}'"),
            (1, lambda: f"select pg_advisory_xact_lock({key})"),
            (3, lambda: f"select pg_advisory_unlock({key})"),
            (1, lambda: f"select pg_advisory_unlock_shared({key})"),
            (1, lambda: f"do $$ begin perform pg_advisory_lock({key}); end $$"),
        )

    def listen(self):
        channel = f"own_{self.pick('x', 'y')}"
        return self.weighted(
            (3, lambda: f"listen {channel}{self.client}"),
            (1, lambda: f"unlisten {channel}{self.client}"),
            (4, lambda: f"notify {channel}{self.client}, '{self.token()}'"),
            (2, lambda: f"select pg_notify('{channel}{self.client}', '{self.token()}')"),
        )

    def sql_prepare(self):
        name = self.pick("p1", "p2")
        return self.weighted(
            (3, lambda: f"prepare {name} as select '{self.token()}'::text"),
            (2, lambda: f"prepare {name}(text) as select $1, '{self.token()}'"),
            (1, lambda: f"prepare {name} as insert into public.own{self.client} values (7, '{self.token()}')"),
            (2, lambda: f"execute {name}"),
            (2, lambda: f"execute {name}('{self.token()}')"),
            (2, lambda: f"deallocate {name}"),
            (1, lambda: f"prepare {name} as select set_config('app.token', '{self.token()}', false)"),
            (1, lambda: f"explain (costs off) execute {name}"),
            (1, lambda: f"execute {self.pick(*NAMES)}"),
        )

    def verify(self):
        """What the session holds, in one row each."""
        classes = f"{self.client * 1000} and {self.client * 1000 + 999}"
        life = self.client * 1000 + self.life
        own_names = ["select name, statement from pg_prepared_statements where from_sql order by name"]
        return [
            self.all_settings(),
            "select count(*) filter (where is_holdable), string_agg(statement, ';' order by name)"
            " filter (where is_holdable) from pg_cursors",
            *(own_names if self.allowed("own_names_in_views") else []),
            "select relname, relkind from pg_class where relnamespace = pg_my_temp_schema() order by 1",
            "select classid, objid, mode, count(*) from pg_locks where locktype = 'advisory' and database ="
            f" (select oid from pg_database where datname = current_database()) and classid = {life}"
            " and pid = pg_backend_pid() group by 1, 2, 3 order by 1, 2, 3",
            # Nobody else, and no life that ended in order, holds one of ours.
            "select count(*) from pg_locks where locktype = 'advisory' and database ="
            f" (select oid from pg_database where datname = current_database()) and classid between {classes}"
            f" and classid = {life} and pid <> pg_backend_pid()",
            f"select * from public.own{self.client} order by id",
        ]
