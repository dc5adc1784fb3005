"""Headless Chromium over its DevTools protocol: open a page, wait for text, take its picture."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CANDIDATES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 60.0
CODES = {
    "Tab": 9, "Enter": 13, "Escape": 27, "Space": 32, "PageUp": 33, "PageDown": 34, "End": 35,
    "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40,
    "Backspace": 8, "Delete": 46,
}  # fmt: skip
TEXTS = {"Enter": "\r"}


def executable() -> str | None:
    """Chromium's path, if there is one; ``GATECAST_CHROMIUM`` names another."""
    names = (os.environ.get("GATECAST_CHROMIUM", ""), *CANDIDATES)
    return next((path for name in names if name and (path := shutil.which(name))), None)


class Page:
    """One tab."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._last = 0
        self.complaints: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer; events in between are passed over."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            self._listen(answer)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def _listen(self, event: dict[str, Any]) -> None:
        """Keep what the browser complains of: exceptions, refused scripts and styles."""
        if event.get("method") == "Runtime.exceptionThrown":
            details = event["params"]["exceptionDetails"]
            thrown = details.get("exception", {}).get("description", "")
            self.complaints.append(f"{details.get('text')} {thrown}")
        elif event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            if entry["level"] == "error":
                self.complaints.append(f"{entry['text']} {entry.get('url', '')}")

    def watch(self) -> None:
        """From now on `complaints` holds what the browser complains of."""
        self.call("Runtime.enable")
        self.call("Log.enable")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def choose(self, selector: str, *files: Path) -> None:
        """Give files to an input, as a person does with the browser's dialog."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(f.resolve()) for f in files])

    def press(self, *keys: str) -> None:
        """Press keys by their names, one after the other: Tab, Enter, ArrowLeft, Space, a."""
        for key in keys:
            name, text = (" ", " ") if key == "Space" else (key, TEXTS.get(key, ""))
            text = key if len(key) == 1 else text
            code = {"windowsVirtualKeyCode": CODES[key]} if key in CODES else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=name, text=text, **code)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=name, **code)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def text(self) -> str:
        """What a person reads on the page."""
        return str(self.run("document.body ? document.body.innerText : ''"))

    def wait(self, *texts: str, seconds: float = 90.0) -> str:
        """Until the page shows all of `texts`; its text then."""
        deadline = time.monotonic() + seconds
        while True:
            shown = self.text()
            missing = [text for text in texts if text not in shown]
            if not missing:
                return shown
            if time.monotonic() > deadline:
                raise AssertionError(f"the page never showed {missing}; it shows:\n{shown}")
            time.sleep(0.3)

    def click(
        self, text: str, selector: str = "a, button, [role=tab], [role=menuitem], label"
    ) -> None:
        """Click the first element that a person would call by this text."""
        script = f"""(() => {{
            const found = [...document.querySelectorAll({json.dumps(selector)})]
                .filter(e => e.offsetParent !== null)
                .find(e => (e.innerText || e.ariaLabel || '').trim() === {json.dumps(text)});
            if (found) found.click();
            return Boolean(found);
        }})()"""
        if not self.run(script):
            raise AssertionError(f"nothing to click is called {text!r}; the page: {self.text()}")

    def picture(self, path: Path) -> None:
        """The visible part as PNG."""
        data = self.call("Page.captureScreenshot", format="png")["data"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(data))


@contextmanager
def chromium(width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A tab of a browser of its own, without a network but this machine's."""
    from websockets.sync.client import connect

    path = executable()
    if path is None:
        raise RuntimeError("no Chromium on this machine")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(path, "--headless=new", "--remote-debugging-port=0", "--no-first-run"),
                *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
                *("--disable-background-networking", f"--user-data-dir={profile}"),
                *(f"--window-size={width},{height}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = _tab(Path(profile) / "DevToolsActivePort")
            with connect(address, max_size=None, proxy=None) as socket:
                page = Page(socket)
                page.call(
                    "Emulation.setDeviceMetricsOverride",
                    width=width, height=height, deviceScaleFactor=1, mobile=False,
                )  # fmt: skip
                yield page
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()


def _tab(file: Path) -> str:
    """The first tab's WebSocket address, once the browser has written its port."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
            port = int(file.read_text().splitlines()[0])
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                tabs = json.loads(answer.read())
            return str(next(t["webSocketDebuggerUrl"] for t in tabs if t["type"] == "page"))
        time.sleep(0.1)
    raise RuntimeError("the browser did not start")
