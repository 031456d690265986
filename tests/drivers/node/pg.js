// node-postgres: named and unnamed statements, pool, cursor, stream, copy, LISTEN.
"use strict";
const { pipeline } = require("node:stream/promises");
const { Readable } = require("node:stream");
const pg = require("pg");
const Cursor = require("pg-cursor");
const QueryStream = require("pg-query-stream");
const copy = require("pg-copy-streams");
const { me, token, scenario, main, equal, fails, waitFor, versionOf } = require("./contract");

async function connect(options = {}) {
  const client = new pg.Client(options);
  await client.connect();
  return client;
}

scenario("parameters", async (client) => {
  for (let n = 0; n < 30; n++) {
    const { rows } = await client.query("select $1::int as a, $2::text as b, $3::int[] as c, $4::text as d", [me, `${token}/${n}`, [me, n], null]);
    equal(rows, [{ a: me, b: `${token}/${n}`, c: [me, n], d: null }]);
  }
});

scenario("named_statements", async (client) => {
  for (let n = 0; n < 60; n++) {
    const { rows } = await client.query({ name: `same${n % 5}`, text: `select $1::int as n, '${token}/${n % 5}' as who`, values: [n] });
    equal(rows, [{ n, who: `${token}/${n % 5}` }]);
  }
});

scenario("many_named_statements", async (client) => {
  for (let turn = 0; turn < 2; turn++) {
    for (let n = 0; n < 250; n++) {
      const { rows } = await client.query({ name: `many ${n}`, text: `select $1::text as who, ${n} as n`, values: [token] });
      equal(rows, [{ who: token, n }]);
    }
  }
});

scenario("named_statement_with_an_error", async (client) => {
  for (let n = 0; n < 10; n++) {
    await fails("22012", client.query({ name: "div", text: "select 1/$1::int as x", values: [0] }));
    equal((await client.query({ name: "div", text: "select 1/$1::int as x", values: [1] })).rows, [{ x: 1 }]);
    await fails("42P01", client.query({ name: `nowhere${n}`, text: "select * from nowhere" }));
  }
});

scenario("transactions", async (client) => {
  await client.query(`create table t_${token} (n int primary key, who text)`);
  const wanted = [];
  for (let n = 0; n < 20; n++) {
    await client.query("begin");
    await client.query({ name: "ins", text: `insert into t_${token} values ($1, $2)`, values: [n, token] });
    if (n % 3 === 0) {
      await fails("23505", client.query({ name: "ins", text: `insert into t_${token} values ($1, $2)`, values: [n, token] }));
      await fails("25P02", client.query("select 1"));
      await client.query("rollback");
    } else {
      wanted.push({ n, who: token });
      await client.query("commit");
    }
  }
  equal((await client.query(`select * from t_${token} order by n`)).rows, wanted);
});

scenario("queue_of_queries", async (client) => {
  const asked = Array.from({ length: 50 }, (_, n) => client.query("select $1::text as who, $2::int as n", [token, n]));
  equal((await Promise.all(asked)).map((result) => result.rows[0]), Array.from({ length: 50 }, (_, n) => ({ who: token, n })));
});

scenario("pool", async () => {
  const pool = new pg.Pool({ max: 4 });
  const asked = Array.from({ length: 60 }, (_, n) => pool.query({ name: "pooled", text: "select $1::text as who, $2::int as n", values: [token, n] }));
  equal((await Promise.all(asked)).map((result) => result.rows[0]), Array.from({ length: 60 }, (_, n) => ({ who: token, n })));
  await pool.end();
});

scenario("pool_sets_on_connect", async () => {
  const pool = new pg.Pool({ max: 2 });
  pool.on("connect", (client) => client.query(`set timezone = 'Etc/GMT+${me}'; set work_mem = '1${me}MB'`));
  for (let n = 0; n < 6; n++) {
    const { rows } = await pool.query("select current_setting('timezone') || '/' || current_setting('work_mem') as s");
    equal(rows, [{ s: `Etc/GMT+${me}/1${me}MB` }]);
  }
  await pool.end();
});

scenario("cursor_rows", async (client) => {
  await client.query("begin");
  const cursor = client.query(new Cursor("select n, $1::text as who from generate_series(1, 500) n", [token]));
  let sum = 0;
  for (let rows = await cursor.read(70); rows.length; rows = await cursor.read(70)) for (const row of rows) sum += row.who === token ? row.n : NaN;
  await cursor.close();
  await client.query("commit");
  equal(sum, 125250);
});

scenario("cursor_without_transaction", async (client) => {
  const cursor = client.query(new Cursor("select n, $1::text as who from generate_series(1, 500) n", [token]));
  equal((await cursor.read(3)).map((row) => row.n), [1, 2, 3]);
  equal((await cursor.read(2)).map((row) => row.n), [4, 5]);
  await cursor.close();
  equal((await client.query("select $1::text as who", [token])).rows, [{ who: token }]);
});

scenario("query_stream", async (client) => {
  let sum = 0;
  for await (const row of client.query(new QueryStream("select n, $1::text as who from generate_series(1, 2000) n", [token], { batchSize: 100 }))) sum += row.who === token ? row.n : NaN;
  equal(sum, 2001000);
});

scenario("copy", async (client) => {
  await client.query(`create table c_${token} (n int, who text)`);
  const lines = Array.from({ length: 5000 }, (_, n) => `${n}\t${token}\n`);
  await pipeline(Readable.from(lines), client.query(copy.from(`copy c_${token} from stdin`)));
  let out = "";
  for await (const piece of client.query(copy.to(`copy (select who from c_${token}) to stdout`))) out += piece;
  equal(out, `${token}\n`.repeat(5000));
  await fails("22P02", pipeline(Readable.from(["x\ty\n"]), client.query(copy.from(`copy c_${token} from stdin`))));
  equal((await client.query(`select count(*)::int as n from c_${token}`)).rows, [{ n: 5000 }]);
});

scenario("listen_notify", async (client) => {
  const got = [];
  client.on("notification", (note) => got.push(note.payload));
  await client.query(`listen channel_${token}`);
  const other = await connect();
  for (let n = 0; n < 3; n++) await other.query("select pg_notify($1, $2)", [`channel_${token}`, `${token}/${n}`]);
  await other.end();
  await waitFor("notifications", () => got.length === 3);
  equal(got, [0, 1, 2].map((n) => `${token}/${n}`));
});

scenario("notices", async (client) => {
  const got = [];
  client.on("notice", (note) => got.push(note.message));
  await client.query(`do $$ begin raise notice 'for ${token}'; end $$`);
  equal(got, [`for ${token}`]);
});

scenario("startup_parameters", async () => {
  const client = await connect({ application_name: `app ${token}`, statement_timeout: 9000 + me, idle_in_transaction_session_timeout: 8000, lock_timeout: 7000, options: `-c timezone=Etc/GMT+${me}` });
  for (let n = 0; n < 5; n++) {
    const { rows } = await client.query("select current_setting('application_name') as a, current_setting('statement_timeout') as b, current_setting('lock_timeout') as c, current_setting('timezone') as d");
    equal(rows, [{ a: `app ${token}`, b: `${9000 + me}ms`, c: "7s", d: `Etc/GMT+${me}` }]);
  }
  await client.end();
});

scenario("cancel", async (client) => {
  const pid = client.processID;
  equal(typeof pid, "number");
  const other = new pg.Client();
  setTimeout(() => other.cancel(client, client.activeQuery || client._activeQuery), 300);
  const running = client.query("select pg_sleep(30)");
  const started = Date.now();
  await fails("57014", running);
  if (Date.now() - started > 15000) throw new Error("late");
  equal((await client.query("select $1::text as who", [token])).rows, [{ who: token }]);
});

scenario("query_timeout", async () => {
  const client = await connect({ query_timeout: 300 });
  await client.query("select pg_sleep(1)").then(
    () => { throw new Error("no timeout"); },
    (error) => equal(error.message, "Query read timeout"),
  );
  await client.end();
});

scenario("several_statements", async (client) => {
  const results = await client.query(`select 1 as a; select '${token}' as b; begin; select 3 as c; commit`);
  equal(results.map((result) => result.command), ["SELECT", "SELECT", "BEGIN", "SELECT", "COMMIT"]);
  equal(results[1].rows, [{ b: token }]);
});

scenario("array_mode_and_types", async (client) => {
  const { rows, fields } = await client.query({ text: "select $1::jsonb, $2::numeric, $3::bytea, now() is null", values: [{ who: token }, "12.50", Buffer.from(token)], rowMode: "array" });
  equal(rows, [[{ who: token }, "12.50", Buffer.from(token), false]]);
  return fields.map((field) => field.dataTypeID).join(" ");
});

scenario("big_rows", async (client) => {
  for (const size of [1, 70_000, 2_000_000]) {
    const text = token.repeat(size).slice(0, size);
    equal((await client.query("select $1::text as x", [text])).rows[0].x === text, true);
  }
});

scenario("client_ends_in_a_transaction", async () => {
  const client = await connect();
  await client.query(`create table gone_${token} (n int)`);
  await client.query("begin");
  await client.query(`insert into gone_${token} values (1)`);
  await client.end();
  const again = await connect();
  equal((await again.query(`select count(*)::int as n from gone_${token}`)).rows, [{ n: 0 }]);
  await again.end();
});

main({
  version: versionOf("pg"),
  connect,
  close: (client) => client.end(),
  exec: (client, text) => client.query(text),
  rows: async (client, text) => (await client.query({ text, values: [] })).rows,
});
