// kysely: builder, transactions with savepoints, migrations with an advisory lock, streams.
"use strict";
const { Kysely, PostgresDialect, Migrator, sql, CompiledQuery } = require("kysely");
const pg = require("pg");
const Cursor = require("pg-cursor");
const { me, token, scenario, main, equal, fails, versionOf } = require("./contract");

const make = (max = 1) => new Kysely({ dialect: new PostgresDialect({ pool: new pg.Pool({ max }), cursor: Cursor }) });
const db = make(3);
const table = `person_${token}`;

scenario("migrations", async () => {
  const provider = {
    getMigrations: async () => ({
      1: { up: (on) => on.schema.createTable(table).addColumn("id", "serial", (c) => c.primaryKey()).addColumn("name", "text", (c) => c.unique()).execute() },
      2: { up: (on) => on.schema.alterTable(table).addColumn("data", "jsonb").execute() },
    }),
  };
  const migrator = new Migrator({ db, provider, migrationTableName: `m_${token}`, migrationLockTableName: `ml_${token}` });
  // It looks at all tables of the database, and stumbles over those that other clients drop meanwhile.
  let done = await migrator.migrateToLatest();
  for (let tries = 0; done.error?.code === "42P01" && tries < 20; tries++) done = await migrator.migrateToLatest();
  const { error, results } = done;
  if (error) throw error;
  equal(results.map((result) => result.status), ["Success", "Success"]);
});

scenario("insert_and_select", async () => {
  for (let n = 0; n < 30; n++) {
    const row = await db.insertInto(table).values({ name: `${token}/${n}`, data: { who: token } }).returning(["name", "data"]).executeTakeFirstOrThrow();
    equal(row, { name: `${token}/${n}`, data: { who: token } });
  }
  const { count } = await db.selectFrom(table).select((e) => e.fn.countAll().as("count")).where("name", "like", `${token}/%`).executeTakeFirstOrThrow();
  equal(count, "30");
});

scenario("transactions", async () => {
  await fails("23505", db.transaction().execute(async (trx) => {
    await trx.insertInto(table).values({ name: `${token}/new` }).execute();
    await trx.insertInto(table).values({ name: `${token}/1` }).execute();
  }));
  const trx = await db.startTransaction().setIsolationLevel("serializable").execute();
  const point = await trx.savepoint("one").execute();
  await fails("23505", point.insertInto(table).values({ name: `${token}/1` }).execute());
  await point.rollbackToSavepoint("one").execute();
  await trx.updateTable(table).set({ name: `${token}/renamed` }).where("name", "=", `${token}/2`).execute();
  await trx.commit().execute();
  equal((await db.selectFrom(table).select("name").where("name", "in", [`${token}/new`, `${token}/renamed`]).execute()), [{ name: `${token}/renamed` }]);
});

scenario("stream", async () => {
  let rows = 0;
  for await (const row of db.selectFrom(table).selectAll().stream(7)) rows += row.name.startsWith(token) ? 1 : NaN;
  equal(rows, 30);
});

scenario("many_at_once", async () => {
  const got = await Promise.all(Array.from({ length: 60 }, (_, n) => sql`select ${token}::text as who, ${n}::int as n`.execute(db)));
  equal(got.map((each) => each.rows[0]), Array.from({ length: 60 }, (_, n) => ({ who: token, n })));
});

scenario("one_connection", async () => {
  await db.connection().execute(async (one) => {
    await sql`set timezone = ${sql.lit(`Etc/GMT+${me}`)}`.execute(one);
    for (let n = 0; n < 4; n++) equal((await sql`show timezone`.execute(one)).rows, [{ TimeZone: `Etc/GMT+${me}` }]);
  });
});

main({
  version: `${versionOf("kysely")} on pg`,
  connect: async () => make(),
  close: (one) => one.destroy(),
  exec: (one, text) => one.executeQuery(CompiledQuery.raw(text)),
  rows: async (one, text) => (await one.executeQuery(CompiledQuery.raw(text))).rows,
  end: () => db.destroy(),
});
