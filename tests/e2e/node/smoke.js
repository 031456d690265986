// node smoke.js CLIENTS ROUNDS - what an application on node-postgres does, checked answer by answer.
//
// The connection comes from PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE. Every client has values of its
// own, so that an answer that belongs to another one is noticed. Prints the number of checks.
'use strict';
const assert = require('assert');
const { Client, Pool } = require('pg');

const clients = Number(process.argv[2]);
const rounds = Number(process.argv[3]);
let checks = 0;

function same(actual, expected, what) {
  assert.deepStrictEqual(actual, expected, what);
  checks += 1;
}

async function plainQueries(client, me) {
  const rows = (await client.query(`select ${me} as me, 'text ${me}' as text, null as nothing`)).rows;
  same(rows, [{ me, text: `text ${me}`, nothing: null }], 'simple query');
  const several = await client.query(`select ${me} as a; select ${me} + 1 as b`);
  same(several.map((result) => Object.values(result.rows[0])[0]), [me, me + 1], 'two statements');
}

async function parameters(client, me) {
  const sent = { list: [me, 2, 3], deep: { me } };
  const { rows } = await client.query(
    'select $1::int as i, $2::text as t, $3::jsonb as j, $4::int[] as a, $5::bytea as b, $6::timestamptz as d',
    [me, `it's ${me}`, JSON.stringify(sent), [me, null, 7], Buffer.from([0, me % 256, 255]), new Date(me * 1000)],
  );
  same(rows[0].i, me);
  same(rows[0].t, `it's ${me}`);
  same(rows[0].j, sent);
  same(rows[0].a, [me, null, 7]);
  same([...rows[0].b], [0, me % 256, 255]);
  same(rows[0].d.getTime(), me * 1000);
}

// One name, another text for each client: they must never meet.
async function namedStatements(client, me, round) {
  const { rows } = await client.query({
    name: 'mine',
    text: `select ${me} as me, $1::int + ${me} as sum`,
    values: [round],
  });
  same(rows, [{ me, sum: round + me }], 'named statement');
  const shared = await client.query({ name: 'shared', text: 'select $1::text as x', values: [`${me}/${round}`] });
  same(shared.rows, [{ x: `${me}/${round}` }], 'shared text');
}

async function errors(client, me) {
  await assert.rejects(client.query('select 1/0'), { code: '22012' });
  await assert.rejects(client.query('select $1::int', ['not a number']), { code: '22P02' });
  await assert.rejects(client.query({ name: `bad ${me}`, text: 'select * from nowhere' }), { code: '42P01' });
  same((await client.query('select $1::int as n', [me])).rows, [{ n: me }], 'usable after errors');
}

async function transactions(client, me, round) {
  await client.query('begin');
  const first = (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
  await client.query('insert into node_smoke (client, n) values ($1, $2)', [me, round]);
  await client.query('savepoint here');
  await assert.rejects(client.query('insert into node_smoke (client, n) values ($1, $2)', [me, round]), {
    code: '23505',
  });
  await client.query('rollback to savepoint here');
  const last = (await client.query('select pg_backend_pid() as pid')).rows[0].pid;
  same(last, first, 'a transaction stays on its server');
  await client.query(round % 3 ? 'commit' : 'rollback');
}

async function pipelined(client, me) {
  const answers = await Promise.all(
    [...Array(20).keys()].map((n) => client.query('select $1::int * 1000 + $2::int as v', [me, n])),
  );
  same(answers.map((answer) => answer.rows[0].v), [...Array(20).keys()].map((n) => me * 1000 + n), 'queued queries');
}

async function bigValues(client, me) {
  const text = String.fromCharCode(97 + (me % 26)).repeat(300000);
  const { rows } = await client.query('select $1::text as t, length($1::text) as n', [text]);
  same(rows[0].n, 300000);
  assert.ok(rows[0].t === text, 'big value');
}

async function oneClient(me) {
  const client = new Client();
  await client.connect();
  try {
    for (let round = 0; round < rounds; round += 1) {
      await plainQueries(client, me);
      await parameters(client, me);
      await namedStatements(client, me, round);
      await errors(client, me);
      await transactions(client, me, round);
      await pipelined(client, me);
    }
    await bigValues(client, me);
    const { rows } = await client.query('select count(*)::int as n from node_smoke where client = $1', [me]);
    same(rows, [{ n: rounds - Math.ceil(rounds / 3) }], 'committed rows');
  } finally {
    await client.end();
  }
}

async function poolOfEight() {
  const pool = new Pool({ max: 8 });
  const work = [...Array(200).keys()].map(async (n) => {
    const { rows } = await pool.query('select $1::int as n, $2::text as t', [n, `value ${n}`]);
    same(rows, [{ n, t: `value ${n}` }], 'pooled');
  });
  await Promise.all(work);
  await pool.end();
}

async function main() {
  await Promise.all([...Array(clients).keys()].map((n) => oneClient(n + 1)));
  await poolOfEight();
  console.log(`ok ${checks}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
