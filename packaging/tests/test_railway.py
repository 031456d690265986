"""The files for Railway: their form, and that pgweir understands what they set."""

import json
import os
import re
import subprocess
import unittest
from pathlib import Path

import jsonschema

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "packaging/railway"

# What Railway puts in the place of a reference before a service sees it.
REFERENCES = {
    "${{Postgres.DATABASE_URL}}": "postgres://postgres:s%40cret@postgres.railway.internal:5432/railway",
    "${{Postgres.PGUSER}}": "postgres",
    "${{Redis.REDIS_URL}}": "redis://default:secret@redis.railway.internal:6379",
    "${{secret(32)}}": "0123456789abcdef0123456789abcdef",
}


def read(name):
    return json.loads((FOLDER / name).read_text())


def resolved(variables):
    return {name: REFERENCES.get(row["default"], row["default"]) for name, row in variables.items()}


class Railway(unittest.TestCase):
    def check(self, variables):
        kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        return subprocess.run(
            [os.environ["PGWEIR_BINARY"], "--print-config"],
            env={**kept, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_form(self):
        for name in ("railway", "template"):
            schema = read(f"{name}.schema.json")
            jsonschema.Draft202012Validator.check_schema(schema)
            validator = jsonschema.Draft202012Validator(schema)
            content = read(f"{name}.json")
            self.assertEqual([error.message for error in validator.iter_errors(content)], [], name)

    def test_the_schemas_refuse(self):
        validator = jsonschema.Draft202012Validator(read("railway.schema.json"))
        for section, key, value in (
            ("deploy", "drainingSeconds", 0),
            ("deploy", "healthcheckPath", "/"),
            ("deploy", "restartPolicyType", "on_failure"),
            ("deploy", "drainSeconds", 40),
            ("build", "builder", "NIXPACKS"),
        ):
            content = read("railway.json")
            content[section][key] = value
            self.assertFalse(validator.is_valid(content), key)
        validator = jsonschema.Draft202012Validator(read("template.schema.json"))
        content = read("template.json")
        del content["services"]["pgweir"]["variables"]["PORT"]["description"]
        self.assertFalse(validator.is_valid(content))

    def test_paths(self):
        config = read("railway.json")
        self.assertTrue((ROOT / config["build"]["dockerfilePath"]).is_file())
        for service in read("template.json")["services"].values():
            self.assertTrue((ROOT / service["config"]).is_file())
        for pattern in config["build"]["watchPatterns"]:
            self.assertTrue(list(ROOT.glob(pattern)), pattern)
        self.assertIn(config["deploy"]["healthcheckPath"], (ROOT / "pooler/http_routes.cc").read_text())

    def test_the_applications_user_is_no_administrator(self):
        variables = read("template.json")["services"]["pgweir"]["variables"]
        self.assertNotIn("Postgres", variables["PGWEIR_CONSOLE__ADMINS"]["default"])
        steps = re.search(r"## From zero to psql\n(.*?)\n## ", (FOLDER / "README.md").read_text(), re.S)[1]
        self.assertNotIn("ADMINS", steps)

    def test_the_steps_choose_a_tier(self):
        """By itself DATABASE_URL's database is `free`, whose ceilings are for whoever pays nothing; `pro` keeps a
        Postgres awake that is to sleep."""
        steps = re.search(r"## From zero to psql\n(.*?)\n## ", (FOLDER / "README.md").read_text(), re.S)[1]
        variables = dict(re.findall(r"^ *([A-Z_]+)=(.*)$", steps, re.M))
        idle = "PGWEIR_TIERS__PRO__SERVER_IDLE_TIMEOUT"
        self.assertEqual(set(variables), {"DATABASE_URL", "PORT", "PGWEIR_POOL__DEFAULT_TIER", idle})
        done = self.check({name: REFERENCES.get(value, value) for name, value in variables.items()})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("pool.default_tier = pro  # environment\n", done.stdout)

    def test_a_deploy_cuts_no_transaction(self):
        deploy = read("railway.json")["deploy"]
        variables = read("template.json")["services"]["pgweir"]["variables"]
        timeout = variables["PGWEIR_PROCESS__SHUTDOWN_TIMEOUT"]["default"]
        self.assertGreaterEqual(deploy["drainingSeconds"], int(timeout.removesuffix("s")) + 35)  # see README, Signals

    def test_pgweir_takes_the_variables(self):
        template = read("template.json")
        variables = resolved(template["services"]["pgweir"]["variables"])
        done = self.check(variables)
        self.assertEqual(done.returncode, 0, done.stderr)
        for line in (
            "backends.default.host = postgres.railway.internal",
            "http.port = 9127",
            "client.max = 1000",
            "server.max_prepared_statements = 200",
            "tenants.railway.pool_size = 20",
            "tenants.railway.max_server_connections = 20",
            "tenants.railway.max_clients = 1000",
            "tenants.railway.pool_mode = transaction",
            "pool.default_tier = pro",
            "console.admins = operator",
        ):
            self.assertIn(f"{line}  # environment\n", done.stdout)
        # Every variable has an effect: what it sets no longer is the default's.
        self.assertNotIn("s@cret", done.stdout)
        for name in variables:
            without = self.check({key: value for key, value in variables.items() if key != name})
            self.assertNotEqual(without.stdout, done.stdout, f"{name} does nothing")

    def test_pgweir_takes_the_optional_variables(self):
        template = read("template.json")
        variables = resolved(template["services"]["pgweir"]["variables"])
        optional = resolved(template["optional"])
        optional.pop("DATABASE_URL_FILE")  # stands for DATABASE_URL
        done = self.check({**variables, **optional})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("tenant_store.kind = redis  # environment", done.stdout)
        self.assertIn("tenant_store.redis_url = ********  # environment", done.stdout)
        for line in ("tiers.pro.statement_timeout = 5min", "tiers.gold.weight = 6"):
            self.assertIn(f"{line}  # environment: PGWEIR_TIERS:1\n", done.stdout)

    def test_the_guide_names_every_variable(self):
        guide = (FOLDER / "README.md").read_text()
        template = read("template.json")
        for name in [*template["services"]["pgweir"]["variables"], *template["optional"]]:
            self.assertIn(f"`{name}`", guide)
        steps = re.findall(r"^\d\. ", guide, re.M)
        self.assertEqual(len(steps), 5)


if __name__ == "__main__":
    unittest.main()
