"""Alert rules and dashboard: Prometheus takes them, alerts fire when they should, and every series exists."""

import json
import re
import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "packaging/prometheus/pgweir.rules.yml"
DASHBOARD = json.loads((ROOT / "packaging/grafana/pgweir.json").read_text())
NAME = re.compile(r"\b(?:pgweir|pgbouncer|tenant|db)_[a-z_]+\b")

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
}


def existing():
    """Every series that /metrics may have, from the tables that make it."""
    names = set()
    tables = "".join(path.read_text() for path in sorted((ROOT / "pooler").glob("console_*.cc")))
    parts = re.split(r"\nconstexpr (?:std::array|Metric) (k\w+)", tables)
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


def expressions():
    """(where, expression) of all rules, panels and variables."""
    for alert, text in re.findall(r"alert: (\w+)\n +expr: (?:>-\n +)?(.*)", RULES.read_text()):
        yield alert, text
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"]


class Monitoring(unittest.TestCase):
    def promtool(self, *arguments):
        done = subprocess.run(
            ["promtool", *arguments], cwd=RULES.parent, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_rules(self):
        self.assertIn("SUCCESS", self.promtool("check", "rules", RULES.name))
        self.promtool("test", "rules", "pgweir.test.yml")

    def test_every_alert_is_tried(self):
        alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
        tried = RULES.with_name("pgweir.test.yml").read_text()
        fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:\n", tried))
        self.assertEqual(alerts - fired, set(), "these never fire in pgweir.test.yml")

    def test_every_series_exists(self):
        known = existing()
        self.assertGreater(len(known), 60)
        seen = set()
        for where, text in expressions():
            names = set(NAME.findall(text))
            self.assertTrue(names or "up{" in text, f"{where}: {text}")
            self.assertEqual(names - known, set(), where)
            seen |= names
        self.assertGreater(len(seen), 25)

    def test_expressions_of_the_dashboard_are_understood(self):
        """As rules of a file of Prometheus's, with Grafana's variables filled in."""
        rules = []
        for panel in DASHBOARD["panels"]:
            for target in panel["targets"]:
                text = target["expr"].replace("$__rate_interval", "1m")
                rules.append({"record": f"r{len(rules)}", "expr": re.sub(r"\$\w+", ".*", text)})
        content = json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
        done = subprocess.run(
            ["promtool", "check", "rules", "/dev/stdin"], input=content, capture_output=True, text=True, check=False
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_panels(self):
        panels = DASHBOARD["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        cells = set()
        for panel in panels:
            self.assertTrue(panel["title"] and panel["description"].endswith("."), panel["title"])
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            own = {
                (x, y)
                for x in range(place["x"], place["x"] + place["w"])
                for y in range(place["y"], place["y"] + place["h"])
            }
            self.assertFalse(own & cells, f"{panel['title']} lies over another panel")
            cells |= own


if __name__ == "__main__":
    unittest.main()
