"""The service as a process of its own, as users start it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.serving.store import Store

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-for-tests"
START_SECONDS = 60.0


def environment(store: Store, **more: str) -> dict[str, str]:
    """Of a process that finds the store; no proxy stands in its way."""
    kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": str(ROOT),
        "GATECAST_HOME": str(store.home),
        "GATECAST_API_KEY": KEY,
        "GATECAST_POLL_SECONDS": "0.1",
        "GATECAST_THREADS": "1",
        **more,
    }


class Server:
    """``python -m serving``, or another command, from its start to its end."""

    def __init__(
        self,
        store: Store,
        *models: str,
        command: list[str] | None = None,
        port: int = 0,
        ready: str = "/readyz",
        **variables: str,
    ) -> None:
        self.store, self.port, self.ready = store, port, ready
        self.log = store.home / f"service-{'-'.join(models) or 'other'}-{id(self)}.log"
        named = [word for model in models for word in ("--model", model)]
        words = [sys.executable, "-m", "serving", *named, "--port", str(port), "--workers", "1"]
        self.command, self.variables = command or words, variables

    def __enter__(self) -> Server:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command,
                env=environment(self.store, **self.variables),
                cwd=self.store.home,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < end, self.text()
            time.sleep(0.05)
        self.http = httpx.Client(base_url=self.address, timeout=30, trust_env=False)
        return self

    def _is_ready(self) -> bool:
        if not self.port:
            found = re.search(r"on http://127\.0\.0\.1:(\d+)", self.text())
            if found is None:
                return False
            self.port = int(found[1])
        try:
            url = f"http://127.0.0.1:{self.port}{self.ready}"
            return httpx.get(url, trust_env=False, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.http.close()
        self.stop()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise
        return int(self.process.wait())

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self) -> list[dict[str, Any]]:
        """Its log, without what is not structured."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def forecast(self, body: Any, **options: Any) -> Any:
        answer = self.http.post("/v1/forecast", json=body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()
