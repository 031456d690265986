// postgres.js: prepares everything under names of its own, pipelines, one pool.
"use strict";
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const postgres = require("postgres");
const { me, token, scenario, main, equal, fails, waitFor, pause, versionOf } = require("./contract");

const quiet = { onnotice: () => {} };

async function connect(options = {}) {
  const sql = postgres({ max: 1, idle_timeout: 0, max_lifetime: null, connect_timeout: 30, ...quiet, ...options });
  await sql`select 1`;
  return sql;
}

scenario("tagged_templates", async (sql) => {
  for (let n = 0; n < 40; n++) {
    const rows = await sql`select ${me}::int as a, ${`${token}/${n}`}::text as b, ${[me, n]}::int[] as c, ${sql.json({ who: token })} as d`;
    equal([...rows], [{ a: me, b: `${token}/${n}`, c: [me, n], d: { who: token } }]);
  }
});

scenario("many_statements", async (sql) => {
  for (let turn = 0; turn < 2; turn++) for (let n = 0; n < 250; n++) equal([...(await sql.unsafe(`select $1::text as who, ${n} as n`, [token], { prepare: true }))], [{ who: token, n }]);
});

scenario("pipelined_queries", async (sql) => {
  const asked = Array.from({ length: 100 }, (_, n) => sql`select ${token}::text as who, ${n}::int as n`);
  equal((await Promise.all(asked)).map((rows) => ({ ...rows[0] })), Array.from({ length: 100 }, (_, n) => ({ who: token, n })));
});

scenario("pipelined_errors", async (sql) => {
  const asked = Array.from({ length: 40 }, (_, n) => sql`select 10 / ${n % 4}::int as q`);
  const got = await Promise.allSettled(asked);
  equal(got.map((each) => each.reason?.code ?? each.value[0].q), Array.from({ length: 40 }, (_, n) => (n % 4 ? Math.trunc(10 / (n % 4)) : "22012")));
});

scenario("pool_of_connections", async () => {
  const sql = postgres({ max: 4, ...quiet });
  const asked = Array.from({ length: 80 }, (_, n) => sql`select ${token}::text as who, ${n}::int as n`);
  equal((await Promise.all(asked)).map((rows) => rows[0].n), Array.from({ length: 80 }, (_, n) => n));
  await sql.end();
});

scenario("unprepared", async () => {
  const sql = await connect({ prepare: false });
  for (let n = 0; n < 30; n++) equal([...(await sql`select ${token}::text as who, ${n}::int as n`)], [{ who: token, n }]);
  await sql.end();
});

scenario("begin_and_savepoint", async (sql) => {
  await sql`create table ${sql(`t_${token}`)} (n int primary key, who text)`;
  for (let n = 0; n < 12; n++) {
    await sql.begin("isolation level repeatable read", async (tx) => {
      await tx`insert into ${tx(`t_${token}`)} ${tx({ n, who: token })}`;
      await fails("23505", tx.savepoint((point) => point`insert into ${point(`t_${token}`)} ${point({ n, who: "again" })}`));
      if (n % 3 === 0) throw new Error("rolled back");
    }).catch((error) => equal(error.message, "rolled back"));
  }
  equal((await sql`select n, who from ${sql(`t_${token}`)} order by n`).map((row) => `${row.n}${row.who}`), Array.from({ length: 12 }, (_, n) => n).filter((n) => n % 3).map((n) => `${n}${token}`));
});

scenario("pipelined_transaction", async (sql) => {
  const got = await sql.begin((tx) => [tx`select ${token}::text as who`, tx`select txid_current() as a`, tx`select txid_current() as a`]);
  equal(got[0][0].who, token);
  equal(got[1][0].a, got[2][0].a);
});

scenario("reserved_connection", async () => {
  const sql = postgres({ max: 3, ...quiet });
  const one = await sql.reserve();
  for (let n = 0; n < 5; n++) equal((await one`select ${token}::text as who`)[0].who, token);
  one.release();
  await sql.end();
});

scenario("cursor_rows", async (sql) => {
  let sum = 0;
  for await (const rows of sql`select n, ${token}::text as who from generate_series(1, 500) n`.cursor(60)) for (const row of rows) sum += row.who === token ? row.n : NaN;
  equal(sum, 125250);
});

scenario("for_each", async (sql) => {
  let sum = 0;
  await sql`select n from generate_series(1, 500) n where ${token} = ${token}`.forEach((row) => (sum += row.n));
  equal(sum, 125250);
});

scenario("copy", async (sql) => {
  await sql`create table ${sql(`c_${token}`)} (n int, who text)`;
  await pipeline(Readable.from(Array.from({ length: 3000 }, (_, n) => `${n}\t${token}\n`)), await sql`copy ${sql(`c_${token}`)} from stdin`.writable());
  let out = "";
  for await (const piece of await sql`copy (select who from ${sql(`c_${token}`)}) to stdout`.readable()) out += piece;
  equal(out, `${token}\n`.repeat(3000));
});

scenario("listen_notify", async (sql) => {
  const got = [];
  const listening = await sql.listen(`channel_${token}`, (payload) => got.push(payload));
  for (let n = 0; n < 3; n++) await sql.notify(`channel_${token}`, `${token}/${n}`);
  await waitFor("notifications", () => got.length === 3);
  equal(got, [0, 1, 2].map((n) => `${token}/${n}`));
  await listening.unlisten();
});

scenario("cancel", async (sql) => {
  for (let n = 0; n < 2; n++) {
    const running = sql`select pg_sleep(30)`.execute();
    running.catch(() => {}); // fails() hears of it, but perhaps later than it happens
    await pause(300);
    running.cancel();
    await fails("57014", running);
    await pause(100); // on a busy machine a cancel may reach Postgres itself once more
    equal((await sql`select ${token}::text as who`)[0].who, token);
  }
});

scenario("describe", async (sql) => {
  const described = await sql`select ${1}::int as a, 'x'::text as b`.describe();
  return `${described.types} ${described.columns.map((column) => `${column.name}:${column.type}`)}`;
});

scenario("startup_parameters", async () => {
  const sql = await connect({ connection: { application_name: `app ${token}`, timezone: `Etc/GMT+${me}`, search_path: `s${token},public`, statement_timeout: 9000 + me } });
  for (let n = 0; n < 5; n++) {
    equal({ ...(await sql`select current_setting('application_name') as a, current_setting('timezone') as b, current_setting('search_path') as c, current_setting('statement_timeout') as d`)[0] },
      { a: `app ${token}`, b: `Etc/GMT+${me}`, c: `s${token},public`, d: `${9000 + me}ms` });
  }
  equal(sql.parameters.application_name, `app ${token}`);
  await sql.end();
});

scenario("insert_many_and_dynamic_columns", async (sql) => {
  await sql`create table ${sql(`m_${token}`)} (n int, who text)`;
  await sql`insert into ${sql(`m_${token}`)} ${sql(Array.from({ length: 500 }, (_, n) => ({ n, who: token })), "n", "who")}`;
  equal((await sql`select count(*)::int as n from ${sql(`m_${token}`)} where who in ${sql([token, "x"])}`)[0].n, 500);
});

scenario("table_changes_under_a_statement", async (sql) => {
  await sql.unsafe(`create table ch_${token} as select ${me} as a`);
  const ask = () => sql`select * from ${sql(`ch_${token}`)} where a = ${me}`;
  equal({ ...(await ask())[0] }, { a: me });
  await sql.unsafe(`alter table ch_${token} add column b text default '${token}'`);
  equal({ ...(await ask())[0] }, { a: me, b: token });
  equal({ ...(await ask())[0] }, { a: me, b: token });
});

main({
  version: versionOf("postgres"),
  connect,
  close: (sql) => sql.end({ timeout: 5 }),
  exec: (sql, text) => sql.unsafe(text),
  rows: (sql, text) => sql.unsafe(text, [], { prepare: true }),
});
