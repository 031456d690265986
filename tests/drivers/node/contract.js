// The contract of tests/drivers for programs in JavaScript; see ../README.md.
//
//   scenario("name", async (connection) => {...});        a connection of its own, made by `connect`
//   main({ version, connect, close, exec, rows });
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");

const me = Number(process.env.CLIENT);
const token = `c${me}`;
const list = [];
const scenario = (name, run) => list.push([name, run]);
const oneLine = (text) => String(text).split(/\s+/).join(" ").slice(0, 500);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const login = {
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT),
  user: process.env.PGUSER,
  password: process.env.PGPASSWORD,
  database: process.env.PGDATABASE,
};

function equal(got, wanted) {
  assert.deepStrictEqual(got, wanted, `${JSON.stringify(got)}, not ${JSON.stringify(wanted)}`);
}

// The SQLSTATE of an error, also of one that a library has wrapped.
function sqlstate(error) {
  for (let each = error; each; each = each.cause || each.original || each.parent || each.driverError) {
    for (const code of [each.meta?.driverAdapterError?.cause?.originalCode, each.code]) {
      if (/^[0-9A-Z]{5}$/.test(code || "")) return code;
    }
  }
  return undefined;
}

async function fails(state, run) {
  let got;
  try {
    got = await (typeof run === "function" ? run() : run);
  } catch (error) {
    if (sqlstate(error) !== state) throw new Error(`${sqlstate(error)}, not ${state}: ${error.message}`);
    return error;
  }
  throw new Error(`no ${state} but ${JSON.stringify(got)}`);
}

async function waitFor(what, condition, ms = 2000) {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms} ms`);
    await pause(20);
  }
}

// session.txt with our number and token: name -> [{other, verb, value, sql}].
function sessionScenarios() {
  const scenarios = new Map();
  let steps;
  for (let line of fs.readFileSync(path.join(__dirname, "..", "session.txt"), "utf8").split("\n")) {
    line = line.replaceAll("{c}", String(me)).replaceAll("{t}", token).replaceAll("{d}", process.env.PGDATABASE).trim();
    if (!line || line.startsWith("#")) continue;
    let [, other, verb, rest] = line.match(/^(other )?(\S+)\s+(.*)$/);
    if (verb === "scenario") {
      scenarios.set(rest, (steps = []));
      continue;
    }
    let value = "";
    if (verb !== "do") [, value, rest] = rest.match(/^(.*?) ?:: (.*)$/);
    steps.push({ other: Boolean(other), verb, value, sql: rest });
  }
  return scenarios;
}

async function play(steps, { connect, close, exec, rows }) {
  const connections = new Map();
  const isFirst = async (connection, sql, value) => {
    const found = await rows(connection, sql);
    if (!found.length) throw new Error(`no row, not ${value}`);
    equal(String(Object.values(found[0])[0]), value);
  };
  try {
    for (const [index, { other, verb, value, sql }] of steps.entries()) {
      if (!connections.has(other)) connections.set(other, await connect());
      const connection = connections.get(other);
      try {
        if (verb === "do") await exec(connection, sql);
        else if (verb === "is") await isFirst(connection, sql, value);
        else if (verb === "same") for (let n = 0; n < 5; n++) await isFirst(connection, sql, value);
        else if (verb === "none") equal((await rows(connection, sql)).length, 0);
        else if (verb === "fails") await fails(value, () => exec(connection, sql));
        else throw new Error(verb);
      } catch (error) {
        throw new Error(`step ${index + 1} (${verb} ${sql}): ${error.message}`);
      }
    }
  } finally {
    for (const connection of connections.values()) await close(connection);
  }
}

async function say(name, run) {
  try {
    const detail = await run();
    console.log(detail === undefined ? `ok ${name}` : `ok ${name} ${oneLine(detail)}`);
  } catch (error) {
    if (process.env.TRACE) console.error(error);
    console.log(`FAIL ${name} ${oneLine(error?.message || error)}`);
  }
}

function go() {
  return new Promise((resolve) => {
    process.stdin.once("data", resolve);
    process.stdin.once("end", resolve);
  });
}

// `without`: names of session.txt that it cannot play, or "all"; `end` closes what the program itself has opened.
function main({ version, connect, close, exec, rows, without = [], end = async () => {} }) {
  (async () => {
    await close(await connect());
    console.log(`version ${version}`);
    console.log("ready");
    await go();
    process.stdin.destroy();
    for (const [name, steps] of sessionScenarios()) {
      if (without !== "all" && !without.includes(name)) await say(name, () => play(steps, { connect, close, exec, rows }));
    }
    for (const [name, run] of list) {
      const connection = await connect();
      await say(name, () => run(connection));
      await close(connection);
    }
    await end();
    console.log("done");
    process.exit(0);
  })().catch((error) => {
    console.error(error);
    process.exit(1);
  });
}

const versionOf = (name) => {
  const file = path.join(__dirname, "node_modules", name, "package.json");
  return JSON.parse(fs.readFileSync(file, "utf8")).version;
};

module.exports = { me, token, scenario, main, equal, fails, sqlstate, waitFor, pause, login, versionOf };
