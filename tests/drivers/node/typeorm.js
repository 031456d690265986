// typeorm: synchronize, migrations, repositories, query runner, streams.
"use strict";
require("reflect-metadata");
const { DataSource, EntitySchema } = require("typeorm");
const { me, token, scenario, main, equal, fails, login, versionOf } = require("./contract");

const Account = new EntitySchema({
  name: `Account${token}`,
  tableName: `account_${token}`,
  columns: { id: { type: Number, primary: true, generated: true }, name: { type: String, unique: true }, data: { type: "jsonb", nullable: true } },
  relations: { orders: { type: "one-to-many", target: `Order${token}`, inverseSide: "account", cascade: true } },
});
const Order = new EntitySchema({
  name: `Order${token}`,
  tableName: `order_${token}`,
  columns: { id: { type: "uuid", primary: true, generated: "uuid" }, amount: { type: Number } },
  relations: { account: { type: "many-to-one", target: `Account${token}`, inverseSide: "orders" } },
});

class First1700000000000 {
  async up(runner) { await runner.query(`create table migrated_${token} (n int)`); await runner.query(`insert into migrated_${token} values (${me})`); }
  async down(runner) { await runner.query(`drop table migrated_${token}`); }
}

const make = (options = {}) => new DataSource({
  type: "postgres", host: login.host, port: login.port, username: login.user, password: login.password, database: login.database,
  entities: [Account, Order], migrations: [First1700000000000], migrationsTableName: `migrations_${token}`, uuidExtension: "pgcrypto", installExtensions: false,
  extra: { max: 3 }, ...options,
}).initialize();
let db;

scenario("synchronize", async () => {
  db = await make();
  await db.synchronize();
  await db.synchronize();
  equal(await db.hasMetadata(Account), true);
});

scenario("migrations", async () => {
  equal((await db.runMigrations()).length, 1);
  equal(await db.query(`select n from migrated_${token}`), [{ n: me }]);
  await db.undoLastMigration();
  await fails("42P01", db.query(`select n from migrated_${token}`));
});

scenario("save_and_find", async () => {
  const accounts = db.getRepository(Account);
  for (let n = 0; n < 15; n++) await accounts.save({ name: `${token}/${n}`, data: { who: token }, orders: Array.from({ length: 5 }, (_, amount) => ({ amount })) });
  const found = await accounts.find({ relations: { orders: true }, order: { id: "ASC" } });
  equal(found.map((a) => `${a.name} ${a.orders.length} ${a.data.who}`), Array.from({ length: 15 }, (_, n) => `${token}/${n} 5 ${token}`));
  equal(await db.getRepository(Order).sum("amount"), 150);
});

scenario("transactions", async () => {
  await fails("23505", db.transaction("SERIALIZABLE", async (manager) => {
    await manager.insert(Account, { name: `${token}/gone` });
    await manager.insert(Account, { name: `${token}/1` });
  }));
  await db.transaction(async (manager) => {
    await manager.insert(Account, { name: `${token}/kept` });
    await fails("23505", manager.transaction((inner) => inner.insert(Account, { name: `${token}/1` })));
  });
  equal((await db.getRepository(Account).find()).length, 16);
});

scenario("query_runner", async () => {
  const runner = db.createQueryRunner();
  await runner.connect();
  await runner.startTransaction();
  const first = await runner.query("select pg_backend_pid() as pid");
  const locked = await runner.manager.findOne(Account, { where: { name: `${token}/2` }, lock: { mode: "pessimistic_write" } });
  equal(locked.name, `${token}/2`);
  equal(await runner.query("select pg_backend_pid() as pid"), first);
  await runner.rollbackTransaction();
  await runner.release();
});

scenario("many_at_once", async () => {
  const got = await Promise.all(Array.from({ length: 50 }, (_, n) => db.query("select $1::text as who, $2::int as n", [token, n])));
  equal(got.map(([row]) => row), Array.from({ length: 50 }, (_, n) => ({ who: token, n })));
});

scenario("stream", async () => {
  let rows = 0;
  const stream = await db.getRepository(Order).createQueryBuilder("o").select("o.amount", "amount").stream();
  for await (const row of stream) rows += row.amount;
  equal(rows, 150);
});

scenario("upsert", async () => {
  await db.getRepository(Account).upsert({ name: `${token}/3`, data: { who: "new" } }, ["name"]);
  equal((await db.getRepository(Account).findOneBy({ name: `${token}/3` })).data, { who: "new" });
});

main({
  version: `${versionOf("typeorm")} on pg`,
  connect: () => make({ extra: { max: 1 } }),
  close: (one) => one.destroy(),
  exec: (one, text) => one.query(text),
  rows: (one, text) => one.query(text),
  end: () => db.destroy(),
});
