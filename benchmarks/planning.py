"""What scenarios and kept series cost over HTTP, beside plain requests; a part of questions.py.

Requests are sent in turns over one connection to one service: what is slow today is slow for all.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd

from benchmarks.servers import JSON, MODEL, Server, free_port, register
from forecasting import Forecaster

HORIZON, SHORT = 12, 24
SCENARIOS, MANY = 10, 20
HISTORIES = (200, 2_000, 10_000)
START = "1500-01-01"
Request = tuple[str, str, bytes | None]


def sales(count: int, rows: int) -> pd.DataFrame:
    """Monthly series with a promotion that is known ahead."""
    rng, t = np.random.default_rng(0), np.arange(rows)
    parts = []
    for i in range(count):
        promo = rng.integers(0, 2, rows).astype(float)
        wave = 20 * np.sin(2 * np.pi * t / 12)
        y = 100 + 10 * i + wave + 8 * promo + rng.normal(0, 2, rows)
        stamps = pd.date_range("2010-01-01", periods=rows, freq="MS")
        one = {"unique_id": f"s{i}", "ds": stamps, "y": y, "promo": promo}
        parts.append(pd.DataFrame(one))
    return pd.concat(parts)


def bundle(folder: Path, brief: bool) -> Path:
    """A network of the usual size, trained for a moment."""
    small = {"model": {"hidden_size": 8, "layers": 1}} if brief else {}
    steps = {"max_steps": 5 if brief else 60, "threads": 1, "start": "none"}
    config = {"training": steps, **small}
    made = Forecaster.fit(
        sales(6 if brief else 60, 120),
        horizon=HORIZON,
        freq="MS",
        future=["promo"],
        config=config,
        verbose=False,
    )
    return made.save(folder)


def request(series: int, rows: int) -> dict[str, Any]:
    """A body of so many series and rows."""
    rng = np.random.default_rng(1)
    told = [
        {
            "id": f"s{i}",
            "start": START,
            "y": np.round(100 + rng.normal(0, 5, rows), 2).tolist(),
            "future": {"promo": rng.integers(0, 2, rows + HORIZON).tolist()},
        }
        for i in range(series)
    ]
    return {"model": MODEL, "series": told}


class Line:
    """One connection to the service."""

    def __init__(self, port: int) -> None:
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send(self, *requests: Request) -> float:
        """Seconds that requests take, one after the other."""
        began = time.perf_counter()
        for method, path, content in requests:
            self.http.request(method, path, content, {"Content-Type": JSON} if content else {})
            answer = self.http.getresponse()
            told = answer.read()
            if answer.status != 200:
                raise SystemExit(f"{method} {path}: {answer.status} {told[:300]!r}")
        return time.perf_counter() - began


def planning(brief: bool) -> list[list[str]]:
    """Rows of the table: what, ours, beside, ratio."""
    rounds = 5 if brief else 200
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        register(bundle(home / "bundle", brief), home)
        port = free_port()
        place = {"GATECAST_HOME": folder, "GATECAST_LOG_LEVEL": "warning", "GATECAST_THREADS": "1"}
        command = [sys.executable, "-m", "serving", "--model", MODEL, "--port", str(port)]
        server = Server("gatecast", command, place, port, "/readyz")
        server.start()
        try:
            server.wait()
            return [*_scenarios(Line(port), rounds), *_states(Line(port), rounds, brief)]
        finally:
            server.stop()


def _paired(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, asked in turns; what is cold is not counted."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for k in range(rounds + 5):
        for name, way in ways.items():
            seconds = way()
            if k >= 5:
                taken[name].append(seconds)
    return taken


def _scenarios(line: Line, rounds: int) -> Iterator[list[str]]:
    for count in (1, MANY):
        body = request(count, 100)
        plans = [
            {"name": f"plan {k}", "future": {"promo": [(j + k) % 2 for j in range(HORIZON)]}}
            for k in range(SCENARIOS)
        ]
        plain = ("POST", "/v1/forecast", orjson.dumps(body))
        paths = ("POST", "/v1/forecast", orjson.dumps({**body, "paths": 200}))
        asked = ("POST", "/v1/scenarios", orjson.dumps({**body, "scenarios": plans}))
        taken = _paired(
            {
                "plain": lambda r=plain: line.send(r),
                "paths": lambda r=paths: line.send(r),
                "plans": lambda r=asked: line.send(r),
                "apart": lambda r=plain: line.send(*[r] * (SCENARIOS + 1)),
            },
            rounds if count == 1 else max(rounds // 4, 5),
        )
        what = f"{SCENARIOS} scenarios of {count} series"
        beside = {"plain": "one plain request", "paths": "one with 200 paths",
                  "apart": f"{SCENARIOS + 1} plain requests"}  # fmt: skip
        for name, told in beside.items():
            yield _row(f"{what}, beside {told}", taken["plans"], taken[name])


def _states(line: Line, rounds: int, brief: bool) -> Iterator[list[str]]:
    stamps = pd.date_range(START, periods=max(HISTORIES) + rounds + 10, freq="MS", unit="us")
    plain = ("POST", "/v1/forecast", orjson.dumps(request(1, SHORT)))
    for rows in HISTORIES[:1] if brief else HISTORIES:
        (series,) = request(1, rows)["series"]
        path, place = f"/v1/series/{rows}", [rows, rows]
        begin = {"start": START, "y": series["y"], "future": series["future"], "begin": True}
        line.send(*(("POST", f"{path}{k}/append", orjson.dumps(begin)) for k in "ab"))

        def append(k: int, more: dict[str, Any], path: str = path, place: list[int] = place) -> Any:
            body = {"start": str(stamps[place[k]]), "y": [101.5], **more}
            body["future"] = {"promo": [0] + [1] * HORIZON}
            place[k] += 1
            return "POST", f"{path}{'ab'[k]}/append", orjson.dumps(body)

        ask = ("GET", f"{path}a/forecast", None)
        taken = _paired(
            {
                "plain": lambda: line.send(plain),
                "both": lambda a=append, ask=ask: line.send(a(0, {}), ask),
                "one": lambda a=append: line.send(a(1, {"forecast": True})),
            },
            rounds,
        )
        beside = f"a history of {rows:,}, beside a request of {SHORT} points"
        yield _row(f"append, then forecast, {beside}", taken["both"], taken["plain"])
        yield _row(f"append with forecast, {beside}", taken["one"], taken["plain"])


def _row(what: str, ours: list[float], beside: list[float]) -> list[str]:
    one, other = statistics.median(ours), statistics.median(beside)
    return [what, f"{1e3 * one:.2f} ms", f"{1e3 * other:.2f} ms", f"{one / other:.2f}"]
