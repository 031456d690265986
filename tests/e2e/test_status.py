"""The status page in a browser, and the API behind it."""

import base64
import html
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse

import unittest

import jsonschema

from harness import free_port, machine, side_by_side, wait_until
from harness.browser import Browser
from harness.pgweir import BINARY, environment
from test_metrics import HttpCase

SOURCE = machine.Path(__file__).resolve().parents[2]
# Where screenshots are kept for somebody to look at: beside the program that was built, unless told otherwise.
KEEP = machine.os.environ.get("PGWEIR_SCREENSHOTS") or str(machine.Path(BINARY).resolve().parent / "screenshots")


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Api(HttpCase):
    weir_config = {"console": {"stats": ["reader"]}}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.document = json.loads((SOURCE / "pooler" / "openapi.json").read_text())

    def get(self, path, status=200, port=None, headers=None):
        """The answer, which must be what the description says of this path and status."""
        got, body, answered = self.ask("/api/v1" + path, port, headers=headers)
        self.assertEqual(got, status, body)
        bare = path.split("?")[0]
        for front in ("/tenants/", "/limits/"):
            if bare.startswith(front):
                bare = front + "{name}"
        answers = self.document["paths"][bare]["get"]["responses"]
        ((kind, content),) = answers[str(status)]["content"].items()
        self.assertEqual(answered["Content-Type"], kind)
        value = json.loads(body)
        schema = {**content["schema"], "components": self.document["components"]}
        jsonschema.Draft202012Validator(schema).validate(value)
        return value, answered

    def test_every_path_answers_what_the_description_says(self):
        with self.weir.connect("app", "app") as client:
            client.execute("select 1")
            for path in self.document["paths"]:
                self.get(path.replace("{name}", "app"))
            tenant, _ = self.get("/tenants/app")
            self.assertEqual((tenant["tier"], tenant["clients"], tenant["pools"][0]["user"]), ("free", 1, "app"))
            self.assertGreaterEqual(tenant["stats"]["total_xact_count"], 1)
        self.assertEqual(self.get("/openapi.json")[0], self.document)
        self.assertEqual({tier["tier"] for tier in self.get("/tiers")[0]["tiers"]}, {
            "free", "starter", "pro", "enterprise"})

    def test_waiters(self):
        """Whoever has waited longest comes first, and nobody who does not wait comes at all."""
        port = free_port()
        tiers = {"narrow": {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "60s"}}
        weir = self.pgweir({"http": {"port": port}, "tiers": tiers, "tenants": {"app": {"tier": "narrow"}}}, self.users)
        self.assertEqual(self.get("/waiters", port=port)[0], {"waiters": [], "total": 0})
        names = ["first", "then"]
        with weir.connect("app", "app") as holder:
            waiting = []
            with holder.transaction():
                holder.execute("select 1")
                for name in names:
                    client = weir.connect("app", "app", application_name=name)
                    self.addCleanup(client.close)
                    waiting.append(threading.Thread(target=client.execute, args=("select 1",)))
                    waiting[-1].start()
                    told = lambda: self.get("/waiters", port=port)[0]["waiters"]  # noqa: E731
                    wait_until(lambda: len(told()) == len(waiting), what="a client that waits")
                rows = told()
                self.assertEqual([row["application_name"] for row in rows], names)
                self.assertEqual({(row["tenant"], row["user"], row["addr"]) for row in rows}, {("app", "app", "127.0.0.1")})
                self.assertGreater(rows[0]["wait_us"], rows[1]["wait_us"])
                ids = {row["id"] for row in rows}
                self.assertEqual(ids, {int(row[0]) for row in weir.console("SHOW CLIENTS id, state")[1]
                                       if row[1] == "waiting"})
                one, _ = self.get("/waiters?limit=1", port=port)
                self.assertEqual([row["application_name"] for row in one["waiters"]], ["first"])
                self.assertEqual(one["total"], 2)
                self.get("/waiters?cursor=eA==", 400, port=port)
            for thread in waiting:
                thread.join(20)

    def test_breakers(self):
        (row,) = self.get("/breakers")[0]["breakers"]
        self.assertEqual((row["backend"], row["database"], row["state"], row["mode"]), ("main", None, "closed", "auto"))
        self.weir.console("BREAKER OPEN main")
        self.addCleanup(self.weir.console, "BREAKER AUTO main")
        (row,) = self.get("/breakers?limit=5")[0]["breakers"]
        self.assertEqual((row["state"], row["mode"]), ("open", "ordered"))
        self.get("/breakers?like=x", 400)

    def test_problems(self):
        self.assertEqual(self.get("/tenants/nobody", 404)[0]["status"], 404)
        self.get("/limits/app?limit=1", 400)
        self.get("/tenants?limit=0", 400)
        self.get("/tenants?colour=red", 400)
        self.get("/tenants?limit=1&limit=2", 400)
        self.get("/limits/pgweir", 404)
        self.assertEqual(self.ask("/api/v1")[2]["Content-Type"], "application/problem+json")
        status, body, headers = self.ask("/api/v1/none")
        self.assertEqual((status, headers["Content-Type"]), (404, "application/problem+json"))
        self.assertEqual(self.ask("/api/v1/tiers", method="POST")[0], 405)
        long = "a" * 20000
        for path in self.document["paths"]:
            self.get(path.replace("{name}", "app") + "?" + long, 414)
            self.get(path.replace("{name}", "app"), 431, headers={"X-Long": long})

    def test_limits_are_those_of_the_console(self):
        """Of a tenant that has not come, too; one that there is not is none."""
        port = free_port()
        strange = "sl/ash \"%"
        tenants = {"app": {"tier": "pro", "pool_size": 1, "max_server_connections": 1}, strange: {"tier": "free"}}
        config = {"http": {"port": port}, "tenants": tenants, "pool": {"unknown_tenants": False}}
        weir = self.pgweir(config, self.users)

        def told(name):
            value, _ = self.get("/limits/" + urllib.parse.quote(name, safe=""), port=port)
            self.assertEqual(value["tenant"], name)
            return [tuple(row.values()) for row in value["limits"]]

        for name in tenants:
            quoted = name.replace('"', '""')
            self.assertEqual(told(name), weir.console(f'SHOW LIMIT "{quoted}"')[1])
        rules = {row[0]: row for row in told("app")}
        self.assertEqual(rules["pool_size"], ("pool_size", "1", "", "override: the tenant's own row"))
        self.assertEqual(rules["weight"][3], "tier pro")
        with weir.connect("app", "app") as client, weir.connect("app", "app") as other:
            with client.transaction():
                client.execute("select 1")
                waiting = threading.Thread(target=lambda: other.execute("select 1"))
                waiting.start()
                waits = ("clients that wait", "1")
                wait_until(lambda: waits in [row[:2] for row in told("app")], what="a client that waits")
                self.assertIn("1 of max_server_connections 1 are in use, 1 clients wait.", told("app")[-1][3])
            waiting.join(20)
        self.assertIn("does not exist", self.get("/limits/nobody", 404, port=port)[0]["detail"])

    def test_limits_while_the_store_is_silent(self):
        port = free_port()
        store = {"kind": "redis", "redis_url": f"redis://127.0.0.1:{free_port()}/0"}
        config = {"http": {"port": port}, "tenant_store": store, "tenants": None}
        self.pgweir(config, self.users)
        self.assertIn("does not answer", self.get("/limits/app", 503, port=port)[0]["detail"])

    def test_pages(self):
        port = free_port()
        names = sorted(["plain", "sl/ash", "per%cent", "plus+", "é", "quote\"d", "sp ace"])
        self.pgweir({"http": {"port": port}, "tenants": {name: {"tier": "pro"} for name in names}}, self.users)
        seen, path = [], "/tenants?limit=2"
        while path:
            value, headers = self.get(path, port=port)
            seen += [row["tenant"] for row in value["tenants"]]
            link = re.fullmatch(r'</api/v1(.*)>; rel="next"', headers.get("Link", ""))
            path = link and link[1]
        self.assertEqual(seen, sorted(names, key=str.encode))
        for name in names:
            self.assertEqual(self.get("/tenants/" + urllib.parse.quote(name, safe=""), port=port)[0]["tenant"], name)
        self.assertEqual(len(self.get("/tenants?like=p%25", port=port)[0]["tenants"]), 3)

    def test_who_may_read(self):
        port = free_port()
        weir = self.pgweir(
            {"http": {"port": port, "allow": ["10.0.0.0/8"]}, "console": {"stats": ["reader"]}}, self.users)
        for path in ("/", "/metrics", "/api/v1/tiers"):
            self.assertEqual(self.ask(path, port)[0], 401)
            for user, status in (("admin", 200), ("reader", 200), ("app", 401), ("nobody", 401)):
                headers = basic(user, self.users.get(user, "x"))
                self.assertEqual(self.ask(path, port, headers=headers)[0], status, (path, user))
            self.assertEqual(self.ask(path, port, headers=basic("admin", "n0tmine"))[0], 401)
        self.get("/tiers", 401, port=port)
        self.assertEqual(self.ask("/", port)[2]["WWW-Authenticate"], 'Basic realm="pgweir"')
        for path in ("/healthz", "/readyz"):
            self.assertEqual(self.ask(path, port)[0], 200)
        # A password that was good is so no more after a reload.
        weir.users["reader"] = "other"
        weir.write_users()
        weir.console("RELOAD")
        self.assertEqual(self.ask("/", port, headers=basic("reader", self.users["reader"]))[0], 401)
        self.assertEqual(self.ask("/", port, headers=basic("reader", "other"))[0], 200)
        weir.has_logged("http_login_refused")
        self.assertNotIn("n0tmine", weir.log())
        # Neither is who asks by a name that a stranger may have given to this host.
        for path in ("/api/v1/tiers", "/metrics", "/"):
            self.assertEqual(self.ask(path, headers={"Host": "rebound.example.com"})[0], 401, path)
            self.assertEqual(self.ask(path, headers={"Host": "localhost:1"})[0], 200, path)
        # Behind a proxy nobody is a neighbour.
        self.assertEqual(self.ask("/api/v1/tiers")[0], 200)
        for header in ("X-Forwarded-For", "x-forwarded-host", "Forwarded", "VIA", "X-Real-IP", "x-client-ip",
                       "True-Client-IP", "CF-Connecting-IP", "X-Envoy-External-Address", "X-Amzn-Trace-Id"):
            for path in ("/api/v1/tiers", "/metrics", "/"):
                self.assertEqual(self.ask(path, headers={header: "127.0.0.1"})[0], 401, (path, header))

    def test_clients_that_drip(self):
        """Hundreds of them keep nobody out, and each has its time."""
        port = free_port()
        self.pgweir({"http": {"port": port}}, self.users)
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        began = time.monotonic()
        ended = threading.Event()

        def drip():
            while not ended.wait(0.5):
                for one in slow:
                    try:
                        one.send(b"G")
                    except OSError:
                        pass

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            for _ in range(20):
                began_one = time.monotonic()
                self.assertEqual(self.ask("/healthz", port)[0], 200)
                self.assertLess(time.monotonic() - began_one, 2)
            last = slow[-1]
            last.settimeout(40)
            try:
                last.recv(1000)
            except ConnectionResetError:
                pass
            self.assertLess(time.monotonic() - began, 30)
        finally:
            ended.set()
            dripping.join()
            for one in slow:
                one.close()


@unittest.skipUnless(shutil.which("chromium"), "needs chromium")
class Page(HttpCase):
    def browse(self, fragment="", width=1200, height=1400, picture=None, port=None):
        """(the page as it stands in the end, what its console said)"""
        profile = machine.scratch("browser")
        what = [f"--screenshot={picture}"] if picture else ["--dump-dom"]
        done = subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio",
             f"--user-data-dir={profile}", f"--window-size={width},{height}", "--hide-scrollbars",
             "--enable-logging=stderr", "--virtual-time-budget=3000", *what,
             f"http://127.0.0.1:{port or self.port}/{fragment}"],
            capture_output=True, text=True, timeout=120, env=environment({"HOME": str(profile)}))
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout, re.findall(r".*(?:CONSOLE|Refused to|Uncaught).*", done.stderr)

    def test_a_tenant_is_on_the_page(self):
        self.postgres.create_database("fresh", owner="app")
        with self.weir.connect("app", "app") as client, self.weir.connect("fresh", "app") as fresh:
            for _ in range(20):
                client.execute("select 1")
            fresh.execute("select 1")
            wait_until(lambda: '"fresh"' in self.ask("/api/v1/overview")[1], seconds=25, what="a look at the tenants")
            page, said = self.browse("#tenant=app")
            self.assertEqual(said, [])
            for wanted in ("Live, every 10 seconds.", "<th scope=\"row\">app</th>", "<th scope=\"row\">fresh</th>",
                           "<th scope=\"row\">main</th>", "<dd>free</dd>", "<dd>active</dd>", '<td class="words">active</td>'):
                self.assertIn(wanted, page)
            self.assertRegex(page, '<h3 id="pools-title">Its pools</h3>.*<th scope="row">app</th><td>1</td><td>0</td>')
            for limit, value, _, rule in self.weir.console("SHOW LIMIT app")[1]:
                row = f"<th scope=\"row\">{limit.replace('_', ' ')}</th><td>{html.escape(value, False) or '-'}</td>"
                self.assertRegex(page, re.escape(row) + "<td>[^<]*</td>" + re.escape(f"<td>{rule or '-'}</td>"))
            # What a screen reader goes by.
            self.assertEqual(page.count('role="img"'), 3)
            self.assertEqual(len(re.findall(r'aria-label="[^"]+ now, at most [^"]+"', page)), 3)
            for place in re.findall(r'aria-labelledby="([^"]+)"', page):
                self.assertIn(f'id="{place}"', page)
            self.assertIn('<html lang="en">', page)
            self.assertIn('<label for="name">', page)
            self.assertIn('role="status"', page)
            self.assertEqual(len(re.findall("<h1", page)), 1)
            self.assertNotRegex(page, r'<th(?! scope="(?:row|col)")[ >]')

    def picture(self, name, fragment, width, height, port=None):
        """Keeps what the page looks like, and says where."""
        machine.os.makedirs(KEEP, exist_ok=True)
        path = machine.Path(KEEP) / f"status-{name}.png"
        path.unlink(missing_ok=True)
        self.browse(fragment, width, height, path, port)
        self.assertEqual(path.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        print(f"screenshot: {path}", flush=True)

    def test_why_the_clients_of_a_tenant_wait(self):
        """The search box tells each limit, its rule, and what its clients wait for."""
        port = free_port()
        tiers = {"narrow": {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "60s"}}
        tenants = {"app": {"tier": "narrow"}, "spare": {"tier": "pro", "pool_size": 3}}
        weir = self.pgweir({"http": {"port": port}, "tiers": tiers, "tenants": tenants}, self.users)
        with weir.connect("app", "app") as client, weir.connect("app", "app") as other:
            with client.transaction():
                client.execute("select 1")
                waiting = threading.Thread(target=lambda: other.execute("select 1"))
                waiting.start()
                wait_until(lambda: weir.console("SHOW LIMIT app value, limit")[1][-1] == ("1", "clients that wait"),
                           what="a client that waits")
                # The page has its figures from a look every ten seconds.
                wait_until(lambda: '"waiting":1' in self.ask("/api/v1/overview", port)[1], seconds=25, what="that look")
                page, said = self.browse("#tenant=app", port=port)
                self.assertEqual(said, [])
                why = 'tenant "app" (tier narrow): 1 of max_server_connections 1 are in use, 1 clients wait.'
                told = "1 of its clients wait: no server connection became free within [0-9.]+s: "
                self.assertRegex(page, told + re.escape(why))
                row = "max server connections</th><td>1</td><td>1</td><td>tier narrow</td>"
                self.assertIn(f'<th scope="row">{row}', page)
                for name, width, height in (("wide", 1200, 2600), ("phone", 500, 4000)):
                    self.picture(name, "#tenant=app", width, height, port)
            waiting.join(20)
        page, said = self.browse("#tenant=spare", port=port)
        self.assertEqual(said, [])
        self.assertIn('<th scope="row">pool size</th><td>3</td><td>-</td><td>override: the tenant\'s own row</td>', page)
        self.assertNotIn('id="why"', page)

    def test_pools_and_waiters_on_a_phone(self):
        """The longest waiting, pools by pages, and nothing that is wider than the screen, whatever the names."""
        port = free_port()
        long = "a-tenant-with-" + "a" * 45
        tiers = {"narrow": {"pool_size": 1, "max_server_connections": 1, "queue_timeout": "120s", "max_clients": 100}}
        tenants = {name: {"tier": "narrow", "database": "app"} for name in [long, *(f"t{i:02}" for i in range(22))]}
        weir = self.pgweir({"http": {"port": port}, "tiers": tiers, "tenants": tenants}, self.users)
        clients = {name: weir.connect(name, "app") for name in tenants}
        for client in clients.values():
            self.addCleanup(client.close)
            client.execute("select 1")
        holder = clients[long]
        holder.execute("begin; select 1")
        others = [weir.connect(long, "app", application_name=f"waiter {i}") for i in range(22)]
        waiting = [threading.Thread(target=other.execute, args=("select 1",)) for other in others]
        for thread in waiting:
            thread.start()
        try:
            shown = lambda: weir.console("SHOW CLIENTS state")[1].count(("waiting",))  # noqa: E731
            wait_until(lambda: shown() == 22, seconds=20, what="clients that wait")
            wait_until(lambda: '"waiting":22' in self.ask("/api/v1/overview", port)[1], seconds=25, what="a look")
            with Browser() as browser:
                for fragment in ("", "#tenant=" + long):
                    browser.open(f"http://127.0.0.1:{port}/{fragment}", 360)
                    live = "document.getElementById('news')?.textContent.startsWith('Live')"
                    wait_until(lambda: browser.ask(live), seconds=60, what="figures on the page")
                    if fragment:
                        found = "document.getElementById('limits') && " + live
                        wait_until(lambda: browser.ask(found), seconds=60, what="the tenant's limits")
                    self.assertEqual(browser.ask("innerWidth"), 360)
                    for of in ("document.documentElement", "document.body"):
                        self.assertEqual(browser.ask(of + ".scrollWidth"), 360, fragment)
                rows = lambda place: browser.ask(  # noqa: E731
                    f"[...document.querySelectorAll('#{place} tbody tr')].map(row => row.innerText)")
                press = lambda place, name: browser.ask(  # noqa: E731
                    f"[...document.querySelectorAll('#{place}-pages button')].filter(one => !one.hidden)"
                    f".find(one => one.textContent === '{name}').click()")
                self.assertEqual((len(rows("waiters")), len(rows("all-pools"))), (20, 20))
                self.assertIn("waiter ", rows("waiters")[0])
                self.assertIn(long, rows("all-pools")[0])
                self.assertEqual(browser.ask("document.getElementById('waiters-more').textContent"), "2 more wait.")
                press("all-pools", "Next page")
                wait_until(lambda: len(rows("all-pools")) == 3, seconds=20, what="the next page")
                press("all-pools", "First page")
                wait_until(lambda: len(rows("all-pools")) == 20, seconds=20, what="the first page")
        finally:
            holder.execute("commit")
            for thread, other in zip(waiting, others):
                thread.join(60)
                other.close()

    def test_by_keyboard_alone(self):
        """To a tenant's limits, whose figures go on then, and are read aloud once."""
        port = free_port()
        weir = self.pgweir({"http": {"port": port}}, self.users)
        with weir.connect("app", "app") as client, Browser() as browser:
            client.execute("select 1")
            browser.open(f"http://127.0.0.1:{port}/", 1200)
            live = "document.getElementById('news')?.textContent.startsWith('Live')"
            wait_until(lambda: browser.ask(live), seconds=60, what="figures on the page")
            focus = lambda: browser.ask("document.activeElement.id || document.activeElement.className")  # noqa: E731
            browser.press("Tab", 9)
            self.assertEqual(focus(), "skip")
            self.assertGreaterEqual(browser.ask("document.activeElement.getBoundingClientRect().left"), 0)
            browser.press("Tab", 9)
            self.assertEqual(focus(), "name")
            browser.write("app")
            browser.press("Enter", 13)
            news = "document.getElementById('found-news').textContent"
            wait_until(lambda: browser.ask(news) == "Tenant app, every 10 seconds.", seconds=20, what="the tenant")
            self.assertEqual(browser.ask("location.hash"), "#tenant=app")
            told = browser.ask("document.querySelector('#limits').innerText")
            self.assertIn("max server connections", told)
            reached = set()
            for _ in range(20):
                browser.press("Tab", 9)
                reached.add(focus())
            self.assertLessEqual({"limits", "tiers", "tenants", "all-pools", "backends", "breakers", "workers"}, reached)
            # It changes without a further word, and only what was asked for is announced.
            browser.ask("document.activeElement.blur()")
            browser.ask("window.said = 0, new MutationObserver(() => ++window.said).observe("
                        "document.getElementById('found-news'), {childList: true, characterData: true, subtree: true})")
            clients = ("[...document.querySelectorAll('#limits tr')].find("
                       "row => row.cells[0].textContent === 'max clients').cells[2].textContent")
            self.assertEqual(browser.ask(clients), "1")
            with weir.connect("app", "app"):
                wait_until(lambda: browser.ask(clients) == "2", seconds=30, what="the other client on the page")
            self.assertEqual(browser.ask("window.said"), 0)
            self.assertEqual(browser.ask("document.querySelectorAll('#found [aria-live], [aria-live] #limits').length"), 0)

    def test_light_and_dark(self):
        """The colours follow the user's, and words are to be read on both (WCAG 2.1, 1.4.3: 4.5 to 1)."""
        contrast = """(() => {
          const light = text => {
            const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(Number).map(
              one => (one /= 255) <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const bad = document.createElement('p');
          bad.className = 'bad';
          document.querySelector('main section').append(bad);
          const pairs = [['body', 'body'], ['#news', 'body'], ['h2', 'section'], ['dt', 'section'],
                         ['.bad', 'section'], ['button', 'button'], ['#name', '#name'], ['th', 'section']];
          const found = pairs.map(([text, ground]) => {
            const style = place => getComputedStyle(document.querySelector(place));
            const [a, b] = [light(style(text).color), light(style(ground).backgroundColor)];
            return [text, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
          });
          bad.remove();
          return found;
        })()"""
        port = free_port()
        weir = self.pgweir({"http": {"port": port}}, self.users)
        with weir.connect("app", "app") as client, Browser() as browser:
            client.execute("select 1")
            grounds = []
            for scheme in ("light", "dark"):
                browser.scheme(scheme)
                browser.open(f"http://127.0.0.1:{port}/", 1200)
                ready = "document.querySelector('#tiers th') && document.querySelector('#sums dt')"
                wait_until(lambda: browser.ask(f"!!({ready})"), seconds=60, what="figures on the page")
                for of, ratio in browser.ask(contrast):
                    self.assertGreaterEqual(ratio, 4.5, (scheme, of))
                grounds.append(browser.ask("getComputedStyle(document.body).backgroundColor"))
            self.assertEqual(len(set(grounds)), 2, grounds)

    def test_an_open_breaker_is_on_the_page(self):
        port = free_port()
        weir = self.pgweir({"http": {"port": port}}, self.users)
        weir.console("BREAKER OPEN main")
        page, said = self.browse(port=port)
        self.assertEqual(said, [])
        self.assertIn("Circuit breakers", page)
        self.assertIn('<td class="words">open</td><td class="words">ordered</td>', page)

    def test_an_open_breaker_comes_first_however_many_there_are(self):
        port = free_port()
        where = {"host": self.postgres.host, "port": self.postgres.port}
        backends = {f"b{number:04}": where for number in range(1, 1102)}
        weir = self.pgweir({"http": {"port": port}, "backends": backends}, self.users)
        weir.console("BREAKER OPEN b1101")
        page, said = self.browse(port=port)
        self.assertEqual(said, [])
        (table,) = re.findall(r'<div class="wide" id="breakers".*?</table>', page, re.DOTALL)
        rows = re.findall(r'<th scope="row">(\w+)</th><td class="words">(\w+)</td>', table)
        self.assertEqual(rows[:2], [("b1101", "open"), ("b0001", "closed")])
        self.assertRegex(page, r'id="breakers-more">[\d,.]+ more have met less\.<')

    def test_a_tenant_that_is_not_there(self):
        page, said = self.browse("#tenant=%3Cimg%20src=x%3E")
        self.assertIn("Nobody knows a tenant '&lt;img src=x&gt;' now.", page)
        self.assertIn('id="limits-title"', page)  # the default tier would take it
        self.assertFalse([line for line in said if "404" not in line], said)


def load_tests(loader, tests, pattern):
    return side_by_side(tests, Page)


if __name__ == "__main__":
    unittest.main()
