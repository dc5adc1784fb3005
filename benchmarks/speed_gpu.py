"""Speed on a GPU in one go: training, the bare limit, accuracy and prediction; one JSON.

python benchmarks/speed_gpu.py --peers-python PATH

The bare limit is a loop over ``nn.LSTM`` or ``nn.GRU`` (cuDNN) with its data on the device, each
step replayed as one CUDA graph. The peers run as in `speed.py`, on the GPU.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from speed import CELLS, NETWORK, PEERS, RESULTS, make_files, work
from speed_clock import BLOCKS, Blocks, machine, versions
from speed_ours import PACKAGES, Bare, Timer, TimerByMember, panel_of, plain, scorer

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster

WARM = 11
AT_ONCE = (1, 2, 4)
TARGET_OWA = 0.44
LENGTHS = (100, 200, 400, 800, 1600)


class SyncedTimer(Timer):
    """Waits for the device at the ends of blocks, and only there."""

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        ahead = self.blocks.steps + 1 - self.blocks.warm
        if ahead >= 0 and ahead % self.blocks.size == 0:
            torch.cuda.synchronize()
        self.blocks()


class SyncedTimerByMember(TimerByMember):
    """Each member waits for its own stream at the ends of its blocks."""

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        blocks = self.blocks.get(module.config.training.seed)
        ahead = blocks.steps + 1 - blocks.warm if blocks else -1
        if ahead >= 0 and ahead % self.size == 0:
            torch.cuda.current_stream().synchronize()
        super().on_train_batch_end(trainer, module)


def members(panel: Panel, task: dict[str, Any], at_once: int) -> dict[str, Any]:
    """Windows per second of all members, trained in streams of their own."""
    timer = SyncedTimerByMember(task["steps"])
    config = plain(task, Blocks(task["steps"]).total).replace(
        training={"members": at_once, "at_once": at_once}
    )
    Forecaster.train(panel, config, callbacks=[timer], device="cuda")
    return timer.result(task["batch"])


def train(
    panel: Panel, task: dict[str, Any], precision: str, graphs: bool | None = None
) -> dict[str, Any]:
    """Windows per second of `fit`, with steps replayed as graphs (the default) or without."""
    blocks = Blocks(task["steps"], warm=20)
    config = plain(task, blocks.total).replace(training={"precision": precision, "graphs": graphs})
    Forecaster.train(panel, config, callbacks=[SyncedTimer(blocks)], device="cuda")
    return blocks.result(task["batch"])


class Profiled(pl.Callback):
    """Share of some steps' time in which a kernel ran on the device."""

    def __init__(self, first: int, steps: int) -> None:
        self.first, self.steps, self.seen, self.share = first, steps, 0, 0.0

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.seen += 1
        if self.seen == self.first:
            torch.cuda.synchronize()
            self.profiler = torch.profiler.profile(
                activities=[torch.profiler.ProfilerActivity.CUDA]
            )
            self.profiler.start()
            self.began = time.perf_counter()
        elif self.seen == self.first + self.steps:
            torch.cuda.synchronize()
            seconds = time.perf_counter() - self.began
            self.profiler.stop()
            spans = [
                (e.time_range.start, e.time_range.end)
                for e in self.profiler.events()
                if e.device_type == torch.autograd.DeviceType.CUDA
            ]
            self.share = covered(spans) / 1e6 / seconds


def covered(spans: list[tuple[float, float]]) -> float:
    """Length of the union of intervals: kernels of several streams run at once."""
    total, until = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(end - max(begin, until), 0.0)
        until = max(until, end)
    return total


def busy(panel: Panel, task: dict[str, Any], precision: str) -> dict[str, Any]:
    """Share of training time in which the GPU works."""
    profiled = Profiled(30, 50)
    config = plain(task, 90).replace(training={"precision": precision})
    Forecaster.train(panel, config, callbacks=[profiled], device="cuda")
    return {"share": profiled.share}


def bare(panel: Panel, task: dict[str, Any]) -> dict[str, Any]:
    """The hand-written loop, its whole step one CUDA graph."""
    width, device = task["context"] + task["horizon"], torch.device("cuda")
    cut = np.stack([panel.y[end - width : end] for end in panel.offsets[1:]])
    cut = (cut - cut.mean(1, keepdims=True)) / (cut.std(1, keepdims=True) + 1e-6)
    windows = torch.tensor(cut, dtype=torch.float32, device=device)
    network = Bare(task).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True, capturable=True)

    def step() -> None:
        pick = windows[torch.randint(len(windows), (task["batch"],), device=device)]
        history = pick[:, : task["context"], None]
        x = torch.cat([history, torch.ones_like(history)], dim=-1)
        loss = (network(x) - pick[:, task["context"] :]).abs().mean()
        optimizer.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    blocks = Blocks(task["steps"])
    while not blocks.done:
        graph.replay()
        if (blocks.steps + 1 - blocks.warm) % blocks.size == 0:
            torch.cuda.synchronize()
        blocks()
    return blocks.result(task["batch"])


def accuracy(panel: Panel, actual: np.ndarray) -> dict[str, Any]:
    """Seconds of the shortest training, data to weights, whose OWA is at most 0.44."""
    score, runs = scorer(panel, actual), []
    for steps in LENGTHS:
        for seed in range(BLOCKS):
            config = ForecasterConfig.parse(
                {"horizon": actual.shape[1], "calibrate": False,
                 "training": {"max_steps": steps, "seed": seed, "validation": "none"}}
            )  # fmt: skip
            began = time.perf_counter()
            trained = Forecaster.train(panel, config, device="cuda")
            torch.cuda.synchronize()
            seconds = time.perf_counter() - began
            median = trained.predict_panel(panel, quantiles=(0.5,)).quantiles[..., 0]
            runs.append({"steps": steps, "seed": seed, "wall_s": seconds, "owa": score(median)})
        if np.median([r["owa"] for r in runs[-BLOCKS:]]) <= TARGET_OWA:
            break
    return {"runs": runs, "target": TARGET_OWA}


def predict(series: int, rows: int = 200, horizon: int = 18) -> dict[str, Any]:
    """Seconds to forecast many series, panel in, quantiles out."""
    rng = np.random.default_rng(0)
    y = 100.0 + rng.normal(size=(series, rows)).cumsum(1)
    panel = panel_of({"y": y.ravel(), "sizes": np.full(series, rows)})
    config = ForecasterConfig.parse(
        {"horizon": horizon, "season": 12, "calibrate": False,
         "model": {"hidden_size": 64}, "training": {"max_steps": 1, "validation": "none"}}
    )  # fmt: skip
    trained = Forecaster.train(panel.select(np.arange(min(series, 64))), config, device="cuda").to(
        "cuda"
    )
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        trained.predict_panel(panel)
        seconds.append(time.perf_counter() - began)
    return {"wall_s": float(np.median(seconds)), "series": series}


def measure(
    files: dict[str, str],
    pythons: list[str],
    keep: Callable[[dict[str, Any]], None],
    *,
    steps: int,
    series: int,
) -> dict[str, Any]:
    """Every measurement; what fails says why and stops no other, what is known is kept at once."""
    data = dict(np.load(files["m4_hourly"]))
    panel = panel_of(data)
    found: dict[str, Any] = {}

    def note(name: str, call: Any, *args: Any) -> None:
        began = time.perf_counter()
        try:
            found[name] = call(*args)
        except (RuntimeError, OSError) as error:
            found[name] = {"failed": str(error).splitlines()[0]}
        print(f"{name}: done in {time.perf_counter() - began:.0f} s", flush=True)
        keep(found)

    for cell in CELLS:
        task = NETWORK | {"cell": cell, "threads": 2, "steps": steps, "data": files["m4_hourly"]}
        note(f"train/{cell}/bare CUDA graph", bare, panel, task)
        for precision in ("32", "tf32", "bf16"):
            note(f"train/{cell}/gatecast {precision}", train, panel, task, precision)
            note(f"train/{cell}/gatecast {precision}, not replayed", train, panel, task, precision,
                 False)  # fmt: skip
        for count in AT_ONCE:
            note(f"members/{cell}/{count}", members, panel, task, count)
        note(f"busy/{cell}", busy, panel, task, "32")
        for peer in PEERS:
            job = task | {"what": "train", "peer": peer, "device": "gpu"}
            note(f"train/{cell}/{peer}", work, True, job, pythons)
    note("predict", predict, series)
    note("accuracy", accuracy, panel, data["test"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers-python", action="append", help="default: this interpreter")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/<gpu>-<date>.json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("this machine shows no GPU: nothing was measured", file=sys.stderr)
        return 2
    name = torch.cuda.get_device_name()
    kind = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    out = options.out or RESULTS / f"{kind}-{datetime.date.today().isoformat()}.json"
    about = {"machine": machine() | {"gpu": name}, "versions": versions(*PACKAGES)}
    out.parent.mkdir(parents=True, exist_ok=True)

    def keep(found: dict[str, Any]) -> None:
        out.write_text(json.dumps(found | about, indent=1, sort_keys=True) + "\n", "utf-8")

    with tempfile.TemporaryDirectory() as folder:
        files = make_files(Path(folder), ["train"])
        pythons = options.peers_python or [sys.executable]
        measure(files, pythons, keep, steps=50, series=1_000_000)
    print(f"written to {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
