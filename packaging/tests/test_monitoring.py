"""Rules, dashboards, runbook: Prometheus takes them, alerts fire when they should, series and commands exist."""

import json
import re
import subprocess
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "packaging/prometheus/pgweir.rules.yml"
TESTS = sorted(RULES.parent.glob("*.test.yml"))
RUNBOOK = RULES.with_name("runbook.md").read_text()
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "packaging/grafana").glob("*.json"))}
NAME = re.compile(r"(?<![:\w])(?:pgweir|pgbouncer|tenant|db|circuit)_[a-z_]+\b(?!:)")
RECORD = re.compile(r"\btier:\w+:\w+")

# Which rows of pooler/console_*.cc become series of tiers, workers, backends, breakers and ceilings, which of
# tenants.
PREFIXES = {
    "kPools": ("pgweir_", "pgweir_tenant_"),
    "kQuantities": ("pgweir_", "pgweir_tenant_"),
    "kErrors": ("pgweir_", "pgweir_tenant_"),
    "kDatabases": ("pgweir_tenant_",),
    "kWorkers": ("pgweir_",),
    "kBackends": ("pgweir_",),
    "kBreakers": ("pgweir_",),
    "kCeilingRows": ("pgweir_",),
    "kStore": ("pgweir_",),
    "pin_figures": ("pgweir_",),
    "limit_hits": ("pgweir_", "pgweir_tenant_"),
    "kUsed": ("pgweir_", "pgweir_tenant_"),
}


def existing():
    """Every series that /metrics may have, from the tables that make it."""
    names = set()
    tables = "".join(path.read_text() for path in sorted((ROOT / "pooler").glob("console_*.cc")))
    parts = re.split(r"\nconstexpr (?:std::array|Metric|auto) (\w+)", tables)
    for table, text in zip(parts[1::2], parts[2::2]):
        rows = re.findall(r'\{(kGauge|kCounter),\s*"(\w+)"', text)
        if rows and table not in PREFIXES:
            raise AssertionError(f"say in PREFIXES how the rows of {table} are named")
        for kind, name in rows:
            end = "_total" if kind == "kCounter" else ""
            names.update(f"{prefix}{name}{end}" for prefix in PREFIXES[table])
    metrics = (ROOT / "pooler/metrics.cc").read_text()
    names.update(re.findall(r'out\.(?:gauge|counter)\(\s*"(\w+)"', metrics))
    for name in re.findall(r'out\.histogram\(\s*"(\w+)"', metrics):
        names.update(f"{name}{end}" for end in ("_bucket", "_sum", "_count"))
    return names


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panels():
    """(dashboard, panel) of all."""
    return [(name, panel) for name, dashboard in DASHBOARDS.items() for panel in dashboard["panels"]]


def expressions():
    """(where, expression) of all rules, panels and variables."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for name, panel in panels():
        for target in panel["targets"]:
            yield f"{name}: {panel['title']}", target["expr"]
    for name, dashboard in DASHBOARDS.items():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{name}: {variable['name']}", variable["query"]["query"]


class Monitoring(unittest.TestCase):
    def promtool(self, *arguments):
        done = subprocess.run(
            ["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_rules(self):
        self.assertIn("SUCCESS", self.promtool("check", "rules", RULES.name))
        self.promtool("test", "rules", *(path.name for path in TESTS))

    def test_every_alert_is_tried(self):
        """Each fires somewhere, and somewhere it does not, or not for all series that there are."""
        alerts = {rule["alert"] for rule in rules() if "alert" in rule}
        fired, silent = set(), set()
        for path in TESTS:
            for test in yaml.safe_load(path.read_text())["tests"]:
                for tried in test.get("alert_rule_test", []):
                    (fired if tried["exp_alerts"] else silent).add(tried["alertname"])
                    if 0 < len(tried["exp_alerts"]) < len(test["input_series"]):
                        silent.add(tried["alertname"])
        self.assertEqual(alerts - fired, set(), "these never fire")
        self.assertEqual(alerts - silent, set(), "these always fire")

    def test_runbook(self):
        """An entry for each alert, none for others; what it names is there."""
        entries = re.split(r"^## (\S+)$", RUNBOOK, flags=re.M)[1:]
        text = dict(zip(entries[::2], entries[1::2]))
        self.assertEqual(list(text), [rule["alert"] for rule in rules() if "alert" in rule])
        for alert, entry in text.items():
            self.assertEqual(re.findall(r"^\*\*(.+?):\*\* \S", entry, re.M), ["Clients notice", "Look", "Do"], alert)
        console = (ROOT / "pooler/console_core.cc").read_text()
        commands = {word for command in re.findall(r'(?:Command\{|table\()\s*"([A-Z_ ]+)', console) for word in command.split()}
        named = set(re.findall(r"\b[A-Z][A-Z_]{3,}\b", RUNBOOK)) - {"ADMIN", "CONNECTION", "HOST", "PING", "SQLSTATE"}
        self.assertEqual(named - commands, set())
        self.assertGreater(len(named), 20)
        settings = (ROOT / "conf/reference.md").read_text() + (ROOT / "tiers/reference.md").read_text()
        looks_like_one = r"`((?:client|pool|tenant_store|http)\.\w+|(?:queue|breaker|at|max|pool)_\w+)\b"
        for setting in re.findall(looks_like_one, RUNBOOK):
            self.assertIn(f"`{setting}`", settings)
        for alert in re.findall(r"\bPgweir\w+", RUNBOOK):
            self.assertIn(alert, text)

    def test_every_series_exists(self):
        known = existing()
        self.assertGreater(len(known), 60)
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        seen = set()
        for where, text in expressions():
            names, records = set(NAME.findall(text)), set(RECORD.findall(text))
            self.assertTrue(names or records or "up{" in text, f"{where}: {text}")
            self.assertEqual(names - known - recorded, set(), where)
            self.assertEqual(records - recorded, set(), where)
            seen |= names | records
        self.assertGreater(len(seen), 70)
        self.assertEqual(recorded - seen, set(), "these are recorded for nobody")

    def test_expressions_of_the_dashboards_are_understood(self):
        """As rules of a file of Prometheus's, with Grafana's variables filled in."""
        filled = []
        for _, panel in panels():
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "1m")
                filled.append({"record": f"r{len(filled)}", "expr": re.sub(r"\$\w+", ".*", text)})
        content = json.dumps({"groups": [{"name": "dashboards", "rules": filled}]})
        done = subprocess.run(
            ["promtool", "check", "rules", "/dev/stdin"], input=content, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_panels(self):
        for name, dashboard in DASHBOARDS.items():
            cells, numbers = set(), set()
            for panel in dashboard["panels"]:
                where = f"{name}: {panel['title']}"
                self.assertNotIn(panel["id"], numbers, where)
                numbers.add(panel["id"])
                self.assertTrue(panel["title"] and panel["description"].endswith("."), where)
                place = panel["gridPos"]
                self.assertLessEqual(place["x"] + place["w"], 24, where)
                own = {
                    (x, y)
                    for x in range(place["x"], place["x"] + place["w"])
                    for y in range(place["y"], place["y"] + place["h"])
                }
                self.assertFalse(own & cells, f"{where} lies over another panel")
                cells |= own

    def test_dashboards(self):
        """Overview, tenant and backend; each asks for its own variables only, and leads to the others."""
        self.assertEqual(set(DASHBOARDS), {"pgweir", "pgweir-tenant", "pgweir-backend"})
        for name, dashboard in DASHBOARDS.items():
            self.assertEqual((dashboard["uid"], "pgweir" in dashboard["tags"]), (name, True))
            self.assertEqual([link["tags"] for link in dashboard["links"]], [["pgweir"]])
            own = {variable["name"] for variable in dashboard["templating"]["list"]}
            asked = set(re.findall(r"\$(\w+)", json.dumps([panel["targets"] for panel in dashboard["panels"]])))
            self.assertEqual(asked - {"__rate_interval"}, own - {"datasource"}, name)


if __name__ == "__main__":
    unittest.main()
