"""A real Prometheus scrapes a real run for a minute: what the dashboards and the recording rules ask for is there."""

import json
import re
import subprocess
import threading
import time
import unittest
import urllib.parse
import urllib.request

import psycopg

from harness import PgweirCase, Redis, free_port, machine, wait_until

PACKAGING = machine.Path(__file__).resolve().parents[2] / "packaging"
DASHBOARDS = [json.loads(path.read_text()) for path in sorted((PACKAGING / "grafana").glob("*.json"))]
PANELS = [panel for dashboard in DASHBOARDS for panel in dashboard["panels"]]
VARIABLES = [variable for dashboard in DASHBOARDS for variable in dashboard["templating"]["list"]]
RULES = PACKAGING / "prometheus" / "pgweir.rules.yml"
WINDOW = "20s"  # of rates, in place of Grafana's
MINUTE_S = 60


class Prometheus(PgweirCase):
    databases = ("app", "b")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.http = free_port()
        redis = Redis()
        cls.addClassCleanup(redis.stop)
        # One server for each: somebody always waits.
        cls.weir = cls.class_pgweir(
            {
                "http": {"port": cls.http},
                "tenant_store": {"kind": "redis", "redis_url": redis.url()},
                "tiers": {
                    "free": {"pool_size": 1, "max_server_connections": 1},
                    "pro": {"pool_size": 1, "max_server_connections": 1},
                },
                "tenants": {"app": {"tier": "free", "backend": "main"}, "b": {"tier": "pro", "backend": "main"}},
            },
            {"app": "s3cret", "admin": "adm1n"},
        )

    def setUp(self):
        super().setUp()
        self.port = free_port()
        directory = machine.scratch("prometheus")
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "2s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "pgweir", "static_configs": [{"targets": [f"127.0.0.1:{self.http}"]}]},
            ],
        }
        path = machine.write(directory / "prometheus.yml", json.dumps(config))
        self.log = open(directory / "log", "wb")
        self.addCleanup(self.log.close)
        self.process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self.log,
            stderr=self.log,
        )
        self.addCleanup(self.process.wait, 30)
        self.addCleanup(self.process.terminate)

    def query(self, text):
        """The samples: [(labels, value)]."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?" + urllib.parse.urlencode({"query": text})
        with urllib.request.urlopen(url, timeout=20) as answer:
            data = json.load(answer)["data"]
        self.assertEqual(data["resultType"], "vector", text)
        return [(sample["metric"], float(sample["value"][1])) for sample in data["result"]]

    def scraped(self):
        try:
            return self.query('up{job="pgweir"}') and self.query('up{job="pgweir"}')[0][1] == 1
        except OSError:
            return False

    def crowd(self, database, over, trouble):
        """Four clients that share one server, prepare, log in anew and meet errors; others than that are `trouble`."""

        def work():
            while not over.is_set():
                try:
                    with self.weir.connect(database, "app") as client:
                        for _ in range(20):
                            client.execute("select %s::int, pg_sleep(0.02)", (1,), prepare=True)
                        client.execute("select 1 / 0")
                except psycopg.errors.DivisionByZero:
                    continue
                except psycopg.Error as error:
                    trouble.append(str(error))

        return [threading.Thread(target=work) for _ in range(4)]

    def test_what_the_dashboards_and_the_rules_ask_for(self):
        over = threading.Event()
        trouble = []
        threads = self.crowd("app", over, trouble) + self.crowd("b", over, trouble)
        for thread in threads:
            thread.start()
        try:
            wait_until(self.scraped, seconds=30, what="a scrape")
            begun = time.monotonic()
            # `Refused logins` counts those that were refused: somebody has to be.
            while time.monotonic() - begun < MINUTE_S:
                with self.assertRaises(psycopg.OperationalError):
                    self.weir.connect("app", "nobody", password="wrong")
                time.sleep(1)
            for panel in PANELS:
                for target in panel["targets"]:
                    text = re.sub(r"\$\w+", ".*", target["expr"].replace("$__rate_interval", WINDOW))
                    with self.subTest(panel["title"], query=text):
                        found = self.query(text)
                        self.assertTrue(found, text)
                        self.assertTrue(all(value == value for _, value in found), found)  # no NaN
            for variable in VARIABLES:
                if variable["type"] == "query":
                    series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
                    values = [labels.get(label) for labels, _ in self.query(series)]
                    self.assertTrue(values and all(values), variable["name"])
            for name in re.findall(r"- record: (\S+)", RULES.read_text()):
                with self.subTest(record=name):
                    self.assertTrue(self.query(name), name)
            tiers = {labels["tier"] for labels, _ in self.query("pgweir_transactions_total")}
            self.assertLessEqual({"free", "pro"}, tiers)
            self.assertEqual(min(value for _, value in self.query('min_over_time(up{job="pgweir"}[50s])')), 1)
        finally:
            over.set()
            for thread in threads:
                thread.join()
        self.assertEqual(trouble, [])


if __name__ == "__main__":
    unittest.main()
