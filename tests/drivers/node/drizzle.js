// drizzle over node pg and over postgres.js.
"use strict";
const { drizzle } = require("drizzle-orm/node-postgres");
const { drizzle: overPostgres } = require("drizzle-orm/postgres-js");
const { pgTable, serial, text, integer, jsonb } = require("drizzle-orm/pg-core");
const { eq, sql, sum, relations } = require("drizzle-orm");
const pg = require("pg");
const postgres = require("postgres");
const { token, scenario, main, equal, fails, versionOf } = require("./contract");

const account = pgTable(`account_${token}`, { id: serial("id").primaryKey(), name: text("name").unique(), data: jsonb("data") });
const order = pgTable(`order_${token}`, { id: serial("id").primaryKey(), amount: integer("amount"), accountId: integer("account_id").references(() => account.id) });
const schema = { account, order, a: relations(account, ({ many }) => ({ orders: many(order) })), o: relations(order, ({ one }) => ({ account: one(account, { fields: [order.accountId], references: [account.id] }) })) };
const pool = new pg.Pool({ max: 3 });
const raw = postgres({ max: 3, onnotice: () => {} });
const both = { pg: drizzle(pool, { schema }), postgres: overPostgres(raw, { schema }) };

for (const [over, db] of Object.entries(both)) {
  scenario(`create_tables_${over}`, async () => {
    await db.execute(sql.raw(`drop table if exists order_${token}, account_${token}`));
    await db.execute(sql.raw(`create table account_${token} (id serial primary key, name text unique, data jsonb)`));
    await db.execute(sql.raw(`create table order_${token} (id serial primary key, amount int, account_id int references account_${token})`));
  });

  scenario(`insert_and_query_${over}`, async () => {
    for (let n = 0; n < 15; n++) {
      const [{ id }] = await db.insert(account).values({ name: `${token}/${n}`, data: { who: token } }).returning({ id: account.id });
      await db.insert(order).values(Array.from({ length: 10 }, (_, amount) => ({ amount, accountId: id })));
    }
    const found = await db.query.account.findMany({ with: { orders: true }, orderBy: (a, { asc }) => asc(a.id) });
    equal(found.map((a) => `${a.name} ${a.orders.length} ${a.data.who ?? JSON.parse(a.data).who}`), Array.from({ length: 15 }, (_, n) => `${token}/${n} 10 ${token}`));
    equal(await db.select({ total: sum(order.amount) }).from(order).innerJoin(account, eq(account.id, order.accountId)).where(eq(account.name, `${token}/7`)), [{ total: "45" }]);
  });

  scenario(`prepared_${over}`, async () => {
    const prepared = db.select({ name: account.name }).from(account).where(eq(account.name, sql.placeholder("name"))).prepare(`by_name`);
    for (let n = 0; n < 30; n++) equal(await prepared.execute({ name: `${token}/${n % 15}` }), [{ name: `${token}/${n % 15}` }]);
  });

  scenario(`transactions_${over}`, async () => {
    await db.transaction(async (tx) => {
      await tx.insert(account).values({ name: `${token}/kept` });
      await fails("23505", tx.transaction((inner) => inner.insert(account).values({ name: `${token}/1` })));
    }, { isolationLevel: "repeatable read" });
    await db.transaction(async (tx) => { await tx.insert(account).values({ name: `${token}/gone` }); tx.rollback(); }).catch((error) => equal(error.constructor.name, "TransactionRollbackError"));
    equal((await db.select().from(account)).length, 16);
  });

  scenario(`many_at_once_${over}`, async () => {
    const got = await Promise.all(Array.from({ length: 50 }, (_, n) => db.select({ who: sql`${token}::text`, n: sql`${n}::int` }).from(account).limit(1)));
    equal(got.map(([row]) => row), Array.from({ length: 50 }, (_, n) => ({ who: token, n })));
  });
}

main({
  version: `${versionOf("drizzle-orm")} on pg, postgres`,
  connect: async () => { const client = new pg.Client(); await client.connect(); return Object.assign(drizzle(client), { end: () => client.end() }); },
  close: (one) => one.end(),
  exec: (one, text) => one.execute(sql.raw(text)),
  rows: async (one, text) => (await one.execute(sql.raw(text))).rows,
  end: () => Promise.all([pool.end(), raw.end()]),
});
