// Prisma: its WebAssembly query compiler over node pg (driver adapter).
"use strict";
const { PrismaPg } = require("@prisma/adapter-pg");
const { PrismaClient, Prisma } = require("./generated/prisma");
const pg = require("pg");
const { me, token, scenario, main, equal, waitFor, fails, versionOf } = require("./contract");

const db = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 3 }) });

scenario("create_tables", async () => {
  await db.$transaction(async (tx) => {
    await tx.$executeRawUnsafe("select pg_advisory_xact_lock(4711)");
    await tx.$executeRawUnsafe('create table if not exists "Account" (id serial primary key, client text not null, name text not null, unique (client, name))');
    await tx.$executeRawUnsafe('create table if not exists "Order" (id serial primary key, amount int not null, "accountId" int not null references "Account" (id))');
  }, { timeout: 20000, maxWait: 20000 });
});

scenario("create_and_find", async () => {
  for (let n = 0; n < 15; n++) {
    const account = await db.account.create({ data: { client: token, name: `${n}`, orders: { create: Array.from({ length: 4 }, (_, amount) => ({ amount })) } }, include: { orders: true } });
    equal(account.orders.length, 4);
  }
  const found = await db.account.findMany({ where: { client: token }, include: { orders: true }, orderBy: { id: "asc" } });
  equal(found.map((a) => `${a.client} ${a.name} ${a.orders.length}`), Array.from({ length: 15 }, (_, n) => `${token} ${n} 4`));
  equal((await db.order.aggregate({ _sum: { amount: true }, where: { account: { client: token } } }))._sum.amount, 90);
});

scenario("update_and_upsert", async () => {
  for (let n = 0; n < 15; n++) await db.account.update({ where: { client_name: { client: token, name: `${n}` } }, data: { name: `${n} renamed` } });
  const one = await db.account.upsert({ where: { client_name: { client: token, name: "3 renamed" } }, create: { client: token, name: "x" }, update: { name: "upserted" } });
  equal(one.name, "upserted");
  equal((await db.account.updateMany({ where: { client: token, name: { startsWith: "1" } }, data: { name: "again" } }).then(() => "ok", (error) => error.code)), "P2002");
});

scenario("batch_transaction", async () => {
  const [count, raw] = await db.$transaction([db.account.count({ where: { client: token } }), db.$queryRaw`select ${token}::text as who`], { isolationLevel: "Serializable" });
  equal([count, raw], [15, [{ who: token }]]);
});

scenario("interactive_transaction", async () => {
  await db.$transaction(async (tx) => {
    await tx.account.create({ data: { client: token, name: "gone" } });
    equal(await tx.account.count({ where: { client: token } }), 16);
    throw new Error("back");
  }, { timeout: 20000, maxWait: 20000 }).catch((error) => equal(error.message, "back"));
  equal(await db.account.count({ where: { client: token } }), 15);
});

scenario("many_at_once", async () => {
  const got = await Promise.all(Array.from({ length: 50 }, (_, n) => db.$queryRaw`select ${token}::text as who, ${n}::int as n`));
  equal(got.map(([row]) => row), Array.from({ length: 50 }, (_, n) => ({ who: token, n })));
});

scenario("errors", async () => {
  for (let n = 0; n < 5; n++) {
    const error = await db.account.create({ data: { client: token, name: "upserted" } }).then(() => null, (each) => each);
    equal(error.code, "P2002");
    equal((await db.$queryRaw`select ${token}::text as who`)[0].who, token);
  }
});

main({
  version: `${versionOf("@prisma/client")} wasm on pg`,
  connect: async () => { const one = new PrismaClient({ adapter: new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 1 }) }); await one.$connect(); return one; },
  close: (one) => one.$disconnect(),
  exec: (one, text) => one.$executeRawUnsafe(text),
  rows: (one, text) => one.$queryRawUnsafe(text),
  // It gives a connection up after an error.
  without: ["statement_timeout", "error_in_transaction", "savepoint", "sql_prepare"],
  end: () => db.$disconnect(),
});
