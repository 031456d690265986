// graphile-worker: a job queue; migrations, LISTEN for new jobs, named prepared statements.
"use strict";
const { run, runOnce, makeWorkerUtils, Logger } = require("graphile-worker");
const { token, scenario, main, equal, waitFor, versionOf } = require("./contract");

// A schema for each client: a worker takes the jobs of all others otherwise.
const schema = `worker_${token}`;
const errors = [];
const logger = new Logger(() => (level, message) => { if (level === "error") errors.push(message); });
const options = { connectionString: process.env.DATABASE_URL, schema, logger, noHandleSignals: true, maxPoolSize: 4 };
let utils;

scenario("migrate", async () => {
  utils = await makeWorkerUtils(options);
  await utils.migrate();
});

scenario("run_once", async () => {
  const got = [];
  for (let n = 0; n < 15; n++) await utils.addJob("note", { who: token, n });
  await runOnce({ ...options, taskList: { note: async (payload) => void got.push(payload) } });
  equal(got.sort((a, b) => a.n - b.n), Array.from({ length: 15 }, (_, n) => ({ who: token, n })));
});

scenario("jobs_found_by_polling", async () => {
  const got = [];
  const runner = await run({ ...options, concurrency: 3, pollInterval: 300, taskList: { polled: async (payload) => void got.push(payload) } });
  for (let n = 0; n < 10; n++) await utils.addJob("polled", { who: token, n });
  await waitFor("jobs", () => got.length === 10, 15000);
  await runner.stop();
  equal(got.sort((a, b) => a.n - b.n), Array.from({ length: 10 }, (_, n) => ({ who: token, n })));
});

scenario("jobs_told_by_notify", async () => {
  const got = [];
  const runner = await run({ ...options, concurrency: 2, pollInterval: 60000, taskList: { told: async (payload) => void got.push(payload) } });
  await new Promise((resolve) => setTimeout(resolve, 700));
  try {
    for (let n = 0; n < 4; n++) await utils.addJob("told", { who: token, n });
    await waitFor("told of jobs", () => got.length === 4, 3000);
  } finally {
    await runner.stop();
  }
  equal(got.sort((a, b) => a.n - b.n), Array.from({ length: 4 }, (_, n) => ({ who: token, n })));
});

scenario("failing_job_is_kept", async () => {
  const job = await utils.addJob("broken", { who: token }, { maxAttempts: 3, jobKey: token });
  await runOnce({ ...options, taskList: { broken: async () => { throw new Error(`by ${token}`); } } });
  const { rows } = await utils.withPgClient((client) => client.query(`select last_error from ${schema}._private_jobs where id = $1`, [job.id]));
  equal(rows[0].last_error.split("\n")[0], `by ${token}`);
});

scenario("release", () => utils.release());

main({ version: `${versionOf("graphile-worker")} on pg`, connect: async () => {}, close: async () => {}, without: "all" });
