// knex: migrations with its lock, builder, transactions, streams.
"use strict";
const makeKnex = require("knex");
const { me, token, scenario, main, equal, fails, login, versionOf } = require("./contract");

const make = (max = 1) => makeKnex({ client: "pg", connection: login, pool: { min: 0, max }, searchPath: undefined });
const knex = make(3);

const migrations = {
  getMigrations: async () => ["1_accounts", "2_orders"],
  getMigrationName: (name) => name,
  getMigration: async (name) =>
    name === "1_accounts"
      ? {
          up: (db) => db.schema.createTable(`account_${token}`, (t) => (t.increments(), t.string("name").unique(), t.jsonb("data"))),
          down: (db) => db.schema.dropTable(`account_${token}`),
        }
      : {
          up: (db) => db.schema.createTable(`order_${token}`, (t) => (t.increments(), t.integer("amount"), t.integer("account_id").references(`account_${token}.id`))),
          down: (db) => db.schema.dropTable(`order_${token}`),
        },
};
const migrate = { migrationSource: migrations, tableName: `migrations_${token}` };

scenario("migrations", async () => {
  const [, first] = await knex.migrate.latest(migrate);
  equal(first, ["1_accounts", "2_orders"]);
  const [, back] = await knex.migrate.rollback(migrate);
  equal(back, ["2_orders", "1_accounts"]);
  await knex.migrate.latest(migrate);
  equal(await knex.migrate.currentVersion(migrate), "2");
});

scenario("insert_and_join", async () => {
  for (let n = 0; n < 20; n++) {
    const [{ id }] = await knex(`account_${token}`).insert({ name: `${token}/${n}`, data: { who: token } }).returning("id");
    await knex.batchInsert(`order_${token}`, Array.from({ length: 10 }, (_, amount) => ({ amount, account_id: id })), 4);
  }
  const rows = await knex(`account_${token} as a`).join(`order_${token} as o`, "o.account_id", "a.id").groupBy("a.name").select("a.name").sum("o.amount as total").orderBy("a.name");
  equal(rows.length, 20);
  equal(new Set(rows.map((row) => `${row.name.split("/")[0]} ${row.total}`)), new Set([`${token} 45`]));
});

scenario("transactions", async () => {
  await knex.transaction(async (trx) => {
    await trx(`account_${token}`).insert({ name: `${token}/tx` });
    await fails("23505", trx.transaction((inner) => inner(`account_${token}`).insert({ name: `${token}/0` })));
  });
  await knex.transaction(async (trx) => { await trx(`account_${token}`).insert({ name: `${token}/gone` }); throw new Error("back"); }, { isolationLevel: "serializable" }).catch((error) => equal(error.message, "back"));
  equal((await knex(`account_${token}`).whereIn("name", [`${token}/tx`, `${token}/gone`])).length, 1);
});

scenario("many_at_once", async () => {
  const got = await Promise.all(Array.from({ length: 60 }, (_, n) => knex.select(knex.raw("?::text as who, ?::int as n", [token, n]))));
  equal(got.map(([row]) => row), Array.from({ length: 60 }, (_, n) => ({ who: token, n })));
});

scenario("stream", async () => {
  let sum = 0;
  for await (const row of knex(`order_${token}`).select("amount").stream({ highWaterMark: 20 })) sum += row.amount;
  equal(sum, 900);
});

scenario("upsert", async () => {
  const rows = await knex(`account_${token}`).insert({ name: `${token}/1`, data: { who: "new" } }).onConflict("name").merge().returning(["name", "data"]);
  equal(rows, [{ name: `${token}/1`, data: { who: "new" } }]);
});

scenario("timeout_cancels", async () => {
  const started = Date.now();
  await knex.raw("select pg_sleep(4)").timeout(300, { cancel: true }).then(() => { throw new Error("no timeout"); }, (error) => equal(error.name, "KnexTimeoutError"));
  // knex asks by pg_cancel_backend(); the connection is of use again once that has worked.
  await knex.raw("select 1");
  equal(Date.now() - started < 3000, true);
});

main({
  version: `${versionOf("knex")} on pg`,
  connect: async () => make(),
  close: (one) => one.destroy(),
  exec: (one, text) => one.raw(text.replaceAll("?", "\\?")),
  rows: async (one, text) => (await one.raw(text.replaceAll("?", "\\?"))).rows,
  end: () => knex.destroy(),
});
