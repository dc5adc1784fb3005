"""Where the time of a request goes: the application's functions timed while it answers."""

from __future__ import annotations

import asyncio
import importlib
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.servers import ARROW, JSON, MODEL, arrow, readable
from serving.settings import ServingSettings

SERVER, DECODE, CHECK = "server and sockets", "decode", "check"
AROUND, PANEL, WRITE = "routing, batching, metrics", "arrays to panel and back", "write"
ENGINE, NETWORK = "engine: around the network", "engine: network"
STAGES = (SERVER, DECODE, CHECK, AROUND, PANEL, ENGINE, NETWORK, WRITE)


class Clock:
    """Adds up the time spent in functions, by name."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.lock = threading.Lock()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                took = time.perf_counter() - began
                with self.lock:
                    self.spent[name] = self.spent.get(name, 0.0) + took

        return call


def stages(
    home: Path, counts: Mapping[str, int], turns: int, brief: bool = False
) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage inside the application, by request; medians.

    Parameters
    ----------
    counts : series of each request; many are sent in Arrow. brief : twice each: does it run?
    """
    from serving.app import Application

    settings = ServingSettings.read({}, models=(MODEL,), home=home, log_level="error")
    application = Application(settings)
    application.service.models.load()
    found = {}
    for name, count in counts.items():
        body, kind = (arrow(count), ARROW) if "Arrow" in name else (readable(count), JSON)
        repeats = (300 if count == 1 else 3) * turns if not brief else 2
        found[name] = asyncio.run(_requests(application, body, kind, repeats))
    application.service.close()
    return found


async def _requests(application: Any, body: bytes, kind: str, repeats: int) -> dict[str, float]:
    rows: list[dict[str, float]] = []
    await _through(application, body, kind)
    threads = application.service.models.keepers[MODEL].current.predictor.threads
    clock = Clock()
    with _patched(application, clock):
        for _ in range(repeats):
            clock.spent.clear()
            began = time.perf_counter()
            await _through(application, body, kind)
            whole = time.perf_counter() - began
            s = clock.spent
            # Chunks beside each other: their network's time is shared by as many threads.
            network = s.get("network", 0.0) + s.get("network of a chunk", 0.0) / threads
            if not network:
                raise RuntimeError("the network's time was not seen: none of its runners ran")
            rows.append(
                {
                    DECODE: s["decode"],
                    CHECK: s["check"],
                    WRITE: s["write"],
                    NETWORK: network,
                    ENGINE: s["engine"] - network,
                    PANEL: s["compute"] - s["engine"],
                    AROUND: whole - s["decode"] - s["check"] - s["write"] - s["compute"],
                }
            )
    return {key: 1e3 * statistics.median(row[key] for row in rows) for key in rows[0]}


@contextmanager
def _patched(application: Any, clock: Clock) -> Iterator[None]:
    """The application's functions, timed."""
    predictor = application.service.models.keepers[MODEL].current.predictor
    with ExitStack() as stack:
        for owner, attribute, name in (
            *_users("serving.reading.body", "decode_json", "decode"),
            *_users("serving.reading.arrow_form", "open_table", "decode"),
            *_users("serving.reading.json_form", "read_json", "check"),
            *_users("serving.reading.arrow_form", "read_arrow", "check"),
            *_users("serving.writing.answer", "write_json", "write"),
            *_users("serving.writing.arrow_form", "write_arrow", "write"),
            (application.service.batcher, "compute", "compute"),
            (predictor, "predict_panel", "engine"),
            (predictor, "runner", "network"),
            (predictor, "single_threaded", "network of a chunk"),
        ):
            if (function := getattr(owner, attribute)) is not None:
                timed = clock.timed(name, function)
                stack.enter_context(patch.object(owner, attribute, timed))
        yield


def _users(module: str, attribute: str, name: str) -> Iterator[tuple[Any, str, str]]:
    """Every module of the service that has the function by its name, wherever it is defined."""
    function = getattr(importlib.import_module(module), attribute)
    for user, loaded in list(sys.modules.items()):
        if user.startswith("serving.") and getattr(loaded, attribute, None) is function:
            yield loaded, attribute, name


async def _through(application: Any, body: bytes, kind: str) -> None:
    """A request through the application, without a server."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/forecast",
        "client": None,
        "headers": [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))],
    }
    statuses = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status"))

    await application(scope, receive, send)
    if statuses[0] != 200:
        raise RuntimeError(f"the application answered {statuses[0]}")


def draw(spent: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """The stages as bars, each request's as shares of its own time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "gatecast"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9.5, 1.6 + 0.8 * len(spent)), layout="constrained")
    colours = plt.get_cmap("Set3")
    for row, parts in enumerate(spent.values()):
        left, total = 0.0, sum(parts.values())
        for k, stage in enumerate(STAGES):
            width = 100 * parts[stage] / total
            label = stage if row == 0 else None
            axes.barh(row, width, left=left, color=colours(k), label=label, height=0.6)
            if width > 4:
                text = f"{parts[stage]:.2f}" if parts[stage] < 10 else f"{parts[stage]:.0f}"
                axes.text(left + width / 2, row, text, ha="center", va="center", fontsize=8)
            left += width
    axes.set_yticks(
        range(len(spent)), [f"{name}\n{sum(p.values()):.2f} ms" for name, p in spent.items()]
    )
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("% of the time a caller waits; the figures are milliseconds")
    figure.legend(ncols=4, fontsize=8, loc="outside lower center")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
