// sequelize: models, sync, transactions.
"use strict";
const { Sequelize, DataTypes, Transaction } = require("sequelize");
const { me, token, scenario, main, equal, fails, versionOf } = require("./contract");

const make = (max = 1) => new Sequelize(process.env.DATABASE_URL, { logging: false, pool: { max }, timezone: "+00:00" });
const db = make(3);
const Account = db.define("Account", { name: { type: DataTypes.STRING, unique: `u_${token}` }, data: DataTypes.JSONB }, { tableName: `account_${token}` });
const Order = db.define("Order", { amount: DataTypes.INTEGER, kind: DataTypes.ENUM("a", "b") }, { tableName: `order_${token}` });
Account.hasMany(Order);
Order.belongsTo(Account);

scenario("sync", async () => {
  await db.sync({ force: true });
  await db.sync({ alter: true });
});

scenario("create_and_find", async () => {
  for (let n = 0; n < 15; n++) {
    const account = await Account.create({ name: `${token}/${n}`, data: { who: token } });
    await Order.bulkCreate(Array.from({ length: 6 }, (_, amount) => ({ amount, kind: "a", AccountId: account.id })));
  }
  const found = await Account.findAll({ include: Order, order: ["id"] });
  equal(found.map((a) => `${a.name} ${a.Orders.length} ${a.data.who}`), Array.from({ length: 15 }, (_, n) => `${token}/${n} 6 ${token}`));
  equal(await Order.sum("amount"), 225);
  const [one, created] = await Account.findOrCreate({ where: { name: `${token}/3` } });
  equal([one.name, created], [`${token}/3`, false]);
});

scenario("transactions", async () => {
  await fails("23505", db.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.SERIALIZABLE }, async (transaction) => {
    await Account.create({ name: `${token}/gone` }, { transaction });
    await Account.create({ name: `${token}/1` }, { transaction });
  }));
  const outer = await db.transaction();
  await Account.create({ name: `${token}/kept` }, { transaction: outer });
  const inner = await db.transaction({ transaction: outer });
  await Account.create({ name: `${token}/inner` }, { transaction: inner });
  await inner.rollback();
  await outer.commit();
  equal(await Account.count(), 16);
});

scenario("bound_parameters", async () => {
  for (let n = 0; n < 30; n++) equal(await db.query("select $1::text as who, $2::int as n", { bind: [token, n], plain: true }), { who: token, n });
});

scenario("many_at_once", async () => {
  const got = await Promise.all(Array.from({ length: 40 }, (_, n) => db.query("select :who as who, :n as n", { replacements: { who: token, n }, plain: true })));
  equal(got, Array.from({ length: 40 }, (_, n) => ({ who: token, n })));
});

main({
  version: `${versionOf("sequelize")} on pg`,
  connect: async () => { const one = make(); await one.authenticate(); return one; },
  close: (one) => one.close(),
  exec: (one, text) => one.query(text.replaceAll("$$", "$body$")),
  rows: (one, text) => one.query(text, { raw: true, type: "SELECT" }),
  end: () => db.close(),
});
