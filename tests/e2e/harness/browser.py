"""Chromium without a window, driven by its DevTools: for what a page's source cannot tell, such as its width."""

import json
import os
import select
import subprocess
import time

from . import machine
from .pgweir import environment

TIMEOUT_S = 60


class Browser:
    """One page. Speaks JSON with a zero behind each message, by two pipes."""

    def __init__(self):
        profile = machine.scratch("browser")
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()

        def place_pipes():
            spare = [os.dup(to_read), os.dup(to_write)]  # either may be where the other goes
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self._process = subprocess.Popen(
            ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-background-networking", "--mute-audio",
             f"--user-data-dir={profile}", "--hide-scrollbars", "--remote-debugging-pipe"],
            preexec_fn=place_pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment({"HOME": str(profile)}))
        os.close(to_read)
        os.close(to_write)
        self._received, self._last_id, self._session = b"", 0, None
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        os.close(self._to)
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._from)

    def _message(self, deadline):
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError("the browser does not answer")
            more = os.read(self._from, 1 << 16)
            if not more:
                raise AssertionError("the browser has gone")
            self._received += more
        message, self._received = self._received.split(b"\0", 1)
        return json.loads(message)

    def _call(self, method, **parameters):
        self._last_id += 1
        asked = {"id": self._last_id, "method": method, "params": parameters}
        if self._session:
            asked["sessionId"] = self._session
        os.write(self._to, json.dumps(asked).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            message = self._message(deadline)
            if message.get("id") == self._last_id:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]

    def open(self, url, width, height=800):
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self._call("Page.navigate", url=url)

    def scheme(self, name):
        """`light` or `dark`, as its user prefers."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def press(self, key, code):
        """A key that writes nothing, by its name and its number: ("Tab", 9)."""
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self._call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def write(self, text):
        """Where the focus is."""
        self._call("Input.insertText", text=text)

    def ask(self, expression):
        """The value of a JavaScript expression in the page."""
        done = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise AssertionError(f"{expression}: {done['exceptionDetails']}")
        return done["result"].get("value")
