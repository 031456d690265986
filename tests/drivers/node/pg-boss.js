// pg-boss: a job queue; installs its schema under an advisory lock, fetches with SKIP LOCKED.
"use strict";
const PgBoss = require("pg-boss");
const { me, token, scenario, main, equal, waitFor, versionOf } = require("./contract");

// A schema for each client: creating queues in one schema at once deadlocks without any pooler, too.
let boss;
const errors = [];
const jobs = `jobs_${token}`;

scenario("start", async () => {
  boss = new PgBoss({ connectionString: process.env.DATABASE_URL, schema: `boss_${token}`, max: 3, supervise: true, schedule: true });
  boss.on("error", (error) => errors.push(error.message));
  await boss.start();
  await boss.createQueue(jobs);
  equal((await boss.getQueue(jobs)).name, jobs);
});

scenario("send_and_work", async () => {
  const got = [];
  for (let n = 0; n < 20; n++) await boss.send(jobs, { who: token, n });
  await boss.work(jobs, { batchSize: 5, pollingIntervalSeconds: 0.5 }, async (batch) => { for (const job of batch) got.push(job.data); });
  await waitFor("jobs done", () => got.length >= 20, 20000);
  await boss.offWork(jobs);
  equal(got.sort((a, b) => a.n - b.n), Array.from({ length: 20 }, (_, n) => ({ who: token, n })));
});

scenario("fetch_and_complete", async () => {
  await boss.createQueue(`${jobs}_f`);
  const id = await boss.send(`${jobs}_f`, { who: token }, { retryLimit: 2, singletonKey: token });
  const [job] = await boss.fetch(`${jobs}_f`);
  equal([job.id, job.data], [id, { who: token }]);
  await boss.complete(`${jobs}_f`, id);
  equal((await boss.getJobById(`${jobs}_f`, id)).state, "completed");
});

scenario("insert_many_and_schedule", async () => {
  await boss.createQueue(`${jobs}_m`);
  await boss.insert(Array.from({ length: 50 }, (_, n) => ({ name: `${jobs}_m`, data: { who: token, n } })));
  equal(await boss.getQueueSize(`${jobs}_m`), 50);
  await boss.schedule(`${jobs}_m`, "0 3 * * *", { who: token });
  equal((await boss.getSchedules()).filter((each) => each.name === `${jobs}_m`).length, 1);
  await boss.unschedule(`${jobs}_m`);
});

scenario("stop", async () => {
  await boss.stop({ graceful: true, timeout: 5000 });
  equal(errors, []);
});

main({ version: `${versionOf("pg-boss")} on pg`, connect: async () => {}, close: async () => {}, without: "all" });
