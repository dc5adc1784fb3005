"""One measurement of Gatecast, or of the bare loop it is held against; started by `speed.py`."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from speed_clock import Blocks, answer, peak_mb, timed, versions
from torch import nn

from forecasting.config import ForecasterConfig
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.evaluation import baselines, metrics
from forecasting.forecaster import Forecaster
from forecasting.hardware.allocation import kept_memory
from forecasting.prediction.predictor import Predictor
from forecasting.schema import Schema
from forecasting.training.defaults import resolve
from forecasting.training.module import ForecastModule
from forecasting.windows.training import Windows

warnings.filterwarnings("ignore")
PACKAGES = ("gatecast", "torch", "pytorch-lightning", "numpy", "onnxruntime")
CPU = torch.device("cpu")


class Timer(pl.Callback):
    """Times blocks of steps of a fit."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.blocks()


class Logging(pl.Callback):
    """What a run that is watched does: metrics every 10 steps, the learning rate, weights kept."""

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if trainer.global_step % 10 == 0:
            self.rows.append({"step": trainer.global_step, "lr": trainer.optimizers[0].param_groups[
                0]["lr"], "loss": module.recent_loss[-1]})  # fmt: skip

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []


def panel_of(data: Any, freq: str = "h") -> Panel:
    sizes = data["sizes"]
    start = np.full(len(sizes), np.datetime64("2020-01-01", "us"))
    return Panel.from_arrays([f"s{i}" for i in range(len(sizes))], data["y"], sizes, start, freq)


def plain(task: dict[str, Any], steps: int) -> ForecasterConfig:
    """The peers' network in Gatecast's terms: one value per step, a point head, the last origin."""
    return ForecasterConfig.parse(
        {
            "horizon": task["horizon"],
            "freq": "h",
            "season": 24,
            "calibrate": False,
            "model": {"cell": task["cell"], "hidden_size": task["hidden"], "layers": 2,
                      "segment": 1, "window": 1, "steps": task["context"], "lags": [],
                      "calendar": False, "cycle": 0, "transform": "identity", "level": "mean",
                      "spread": "mad", "scale_window": 24, "dropout": 0.0, "embedding": False,
                      "head": "point", "blend": 0.0, "decoder_size": 128},
            "training": {"max_steps": steps, "batch_size": task["batch"], "validation": "none",
                         "origins": task.get("origins", "last"), "threads": task["threads"],
                         "epoch_steps": 50},
        }
    )  # fmt: skip


def train(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Windows per second of `fit`, Lightning and all."""
    blocks = Blocks(task["steps"])
    Forecaster.train(
        panel_of(data), plain(task, blocks.total), callbacks=[Timer(blocks)], device="cpu"
    )
    return blocks.result(task["batch"]) | {"peak_mb": peak_mb()}


def default(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Windows per second of the network that the rules choose."""
    blocks, panel = Blocks(task["steps"]), panel_of(data)
    training = {"max_steps": blocks.total, "validation": "none", "threads": task["threads"],
                "batch_size": task["batch"]}  # fmt: skip
    options = {"horizon": task["horizon"], "calibrate": False, "training": training,
               "model": {"cell": task["cell"]}}  # fmt: skip
    Forecaster.train(
        panel, ForecasterConfig.parse(options), callbacks=[Timer(blocks)], device="cpu"
    )
    return blocks.result(task["batch"])


class TimerByMember(pl.Callback):
    """Times blocks of members trained at once: a block has ended when the last member's has."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.blocks: dict[int, Blocks] = {}

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        self.blocks.setdefault(module.config.training.seed, Blocks(self.size))()

    def result(self, windows: int) -> dict[str, Any]:
        whole = Blocks(self.size)
        ends = zip(*(blocks.ends for blocks in self.blocks.values()), strict=True)
        whole.ends = [max(each) for each in ends]
        return whole.result(windows * len(self.blocks))


def at_once(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Windows per second of members trained at once, each a thread of its own."""
    timer = TimerByMember(task["steps"])
    config = plain(task, Blocks(task["steps"]).total).replace(
        training={"members": task["members"], "at_once": task["members"]}
    )
    Forecaster.train(panel_of(data), config, callbacks=[timer], device="cpu")
    return timer.result(task["batch"]) | {"peak_mb": peak_mb()}


def products(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Windows per second if nothing but the matrix products of a step had to be computed.

    Of two layers: what the state drives, step by step, there and back; what the input drives, and
    the weights' gradients, over all steps at once. The first layer's input is too narrow to count.
    """
    hidden, steps, batch = task["hidden"], task["context"], task["batch"]
    gates = {"lstm": 4, "gru": 3}[task["cell"]] * hidden
    weights = torch.randn(gates, hidden)
    state, driven = torch.randn(batch, hidden), torch.empty(batch, gates)
    of_driven, of_state = torch.randn(batch, gates), torch.empty(batch, hidden)
    states, of_all = torch.randn(batch * steps, hidden), torch.randn(batch * steps, gates)
    all_driven, of_states = torch.empty_like(of_all), torch.empty_like(states)
    of_weights = torch.empty_like(weights)
    blocks = Blocks(task["steps"])
    while not blocks.done:
        torch.mm(states, weights.T, out=all_driven)
        for _ in range(2 * steps):
            torch.mm(state, weights.T, out=driven)
        for _ in range(2 * steps):
            torch.mm(of_driven, weights, out=of_state)
        for _ in range(3):
            torch.mm(of_all.T, states, out=of_weights)
        torch.mm(of_all, weights, out=of_states)
        blocks()
    return blocks.result(batch)


class Bare(nn.Module):
    """What the loop of hand trains: torch's own layers and the same decoder."""

    def __init__(self, task: dict[str, Any]) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[task["cell"]]
        self.recurrent = kind(2, task["hidden"], 2, batch_first=True)
        self.decoder = nn.Sequential(
            nn.Linear(task["hidden"], 128), nn.GELU(), nn.Linear(128, task["horizon"])
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.decoder(self.recurrent(x)[0][:, -1])
        return out


def bare(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """A loop by hand over windows that were cut out and scaled beforehand."""
    width, starts = task["context"] + task["horizon"], []
    for end in np.cumsum(data["sizes"]):
        starts.append(end - width)
    windows = torch.tensor(
        np.stack([data["y"][s : s + width] for s in starts]), dtype=torch.float32
    )
    windows = (windows - windows.mean(1, keepdim=True)) / (windows.std(1, keepdim=True) + 1e-6)
    torch.manual_seed(0)
    network = Bare(task)
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    blocks = Blocks(task["steps"])
    with kept_memory() if task.get("kept") else nullcontext():
        while not blocks.done:
            pick = windows[torch.randint(len(windows), (task["batch"],))]
            history = pick[:, : task["context"], None]
            x = torch.cat([history, torch.ones_like(history)], dim=-1)
            loss = (network(x) - pick[:, task["context"] :]).abs().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            blocks()
    return blocks.result(task["batch"]) | {"peak_mb": peak_mb()}


class Alternating(pl.Callback):
    """After every block of Lightning's steps as many by hand, on the same module and windows.

    Blocks are short and many, and each is set against its neighbour: the machine's own speed
    drifts by more than what is measured here.
    """

    def __init__(self, windows: Windows, batch: int, size: int) -> None:
        self.windows, self.batch, self.size = windows, batch, size
        self.generator = torch.Generator().manual_seed(0)
        self.steps = 0
        self.lightning: list[tuple[float, float]] = []
        self.by_hand: list[tuple[float, float]] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        self.steps += 1
        if self.steps == 2:
            self.began = _now()
        elif self.steps > 2 and (self.steps - 2) % self.size == 0:
            self.lightning.append(_since(self.began))
            began = _now()
            for _ in range(self.size):
                self._step(module, trainer.optimizers[0])
            self.by_hand.append(_since(began))
            self.began = _now()

    def _step(self, module: ForecastModule, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss = module.training_step(self.windows.draw(self.batch, self.generator), 0)
        loss.backward()
        module.configure_gradient_clipping(optimizer)
        optimizer.step()
        ForecastModule.on_train_batch_end(module)


def overhead(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Seconds per step of `fit` with logging and callbacks, and of the same step by hand."""
    panel, size = panel_of(data), task["steps"]
    steps = 2 + task["pairs"] * size
    config = plain(task, steps)
    if task.get("network") == "default":
        training = {"max_steps": steps, "validation": "none"}
        training["threads"] = task["threads"]
        options = {"horizon": task["horizon"], "calibrate": False, "training": training}
        config = resolve(ForecasterConfig.parse(options), panel)
    turns = Alternating(Windows(panel, config, CPU), config.training.batch_size or 1, size)
    Forecaster.train(panel, config, callbacks=[Logging(), turns], device="cpu")
    names = ("wall_s", "cpu_s")
    found: dict[str, Any] = {"batch": config.training.batch_size, "steps_per_block": size}
    for clock, name in enumerate(names):
        lightning = [t[clock] / size for t in turns.lightning]
        by_hand = [t[clock] / size for t in turns.by_hand]
        found[f"lightning_step_{name}"] = statistics.median(lightning)
        found[f"by_hand_step_{name}"] = statistics.median(by_hand)
        found[f"lightning_blocks_{name}"], found[f"by_hand_blocks_{name}"] = lightning, by_hand
        ratios = [ours / bare for ours, bare in zip(lightning, by_hand, strict=True)]
        found[f"over_{name}"] = statistics.median(ratios) - 1.0
    return found


def accuracy(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """OWA after trainings of some lengths, each with a schedule of its own, in default settings."""
    panel, actual = panel_of(data), data["test"]
    horizon = actual.shape[1]
    score = scorer(panel, actual)
    if "forecast" in task:
        return {"owa": score(np.load(task["forecast"]))}
    runs = []
    for steps in task["lengths"]:
        for seed in range(task["seeds"]):
            config = ForecasterConfig.parse(
                {"horizon": horizon, "calibrate": False,
                 "training": {"max_steps": steps, "seed": seed, "validation": "none",
                              "threads": task["threads"]}}
            )  # fmt: skip
            began = _now()
            trained = Forecaster.train(panel, config, device="cpu")
            wall, cpu = _since(began)
            median = trained.predict_panel(panel, quantiles=(0.5,)).quantiles[..., 0]
            runs.append({"steps": steps, "seed": seed, "cpu_s": cpu, "wall_s": wall,
                         "owa": score(median)})  # fmt: skip
    return {"runs": runs}


def scorer(panel: Panel, actual: np.ndarray) -> Callable[[np.ndarray], float]:
    """OWA of forecasts [N, H], as the M4 competition counts it."""
    scale = mase_scale(panel.y, panel.offsets, 24)
    reference = baselines.naive2(panel, actual.shape[1], season=24).mean

    def score(forecast: np.ndarray) -> float:
        found = [
            (metrics.smape(actual, f), metrics.mase(actual, f, scale))
            for f in (forecast, reference)
        ]
        return float(metrics.owa(*found[0], *found[1]))

    return score


def predict(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Seconds to forecast every series, in process on torch and from a saved bundle."""
    panel = panel_of(data)
    config = plain(task, 1)
    if task["network"] == "default":
        config = ForecasterConfig.parse(
            {"horizon": task["horizon"], "season": 12, "calibrate": False,
             "model": {"cell": task["cell"], "hidden_size": task["hidden"]},
             "training": {"max_steps": 1, "validation": "none", "threads": task["threads"]}}
        )  # fmt: skip
    few = panel.select(np.arange(64))
    trained = Forecaster.train(few, config, device="cpu")
    torch.set_num_threads(task["threads"])
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder) / "bundle")
        served = Predictor.load(Path(folder) / "bundle", threads=task["threads"])
    found: dict[str, Any] = {"steps": served.config.model.steps}
    for name, engine in (("torch", trained), ("onnxruntime", served)):
        if name in task["engines"]:
            found[name] = timed(lambda e=engine: e.predict_panel(panel), task["repeats"])
    return found | {"peak_mb": peak_mb()}


def memory(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Peak memory of training on a panel, from this process's start to its end."""
    y = np.load(task["y"], mmap_mode="r" if task["kept_as"] == "mapped" else None)
    count, rows = len(y) // task["length"], len(y)
    nothing = np.empty((rows, 0))
    panel = Panel(
        ids=np.array([f"s{i}" for i in range(count)], dtype=object),
        offsets=np.arange(count + 1) * task["length"],
        y=y,
        start=np.full(count, np.datetime64("2020-01-01", "us")),
        freq=Frequency.parse("h"),
        tz=None,
        schema=Schema(),
        past=nothing,
        future=nothing,
        horizon=None,
        static=np.empty((count, 0)),
    )
    before = peak_mb()
    blocks = Blocks(2)
    Forecaster.train(panel, plain(task, blocks.total), callbacks=[Timer(blocks)], device="cpu")
    return {"peak_mb": peak_mb(), "before_training_mb": before, "rows": len(y)}


def scale(task: dict[str, Any], data: Any) -> dict[str, Any]:
    """Cost of windows over some number of series: making them ready, and drawing a batch."""
    y = np.load(task["y"])
    sizes = np.full(task["series"], len(y) // task["series"])
    panel = panel_of({"sizes": sizes, "y": y[: sizes.sum()]})
    config = plain(task, 10)
    ready = timed(lambda: Windows(panel, config, CPU), task["repeats"])
    windows, generator = Windows(panel, config, CPU), torch.Generator().manual_seed(0)

    def draw() -> None:
        for _ in range(20):
            windows.draw(task["batch"], generator)

    drawn = timed(draw, task["repeats"])
    return {"ready": ready, "draw": {k: drawn[k] / 20 for k in ("wall_s", "cpu_s")}}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    now = _now()
    return now[0] - began[0], now[1] - began[1]


MEASURES = {
    m.__name__: m
    for m in (train, default, at_once, products, bare, overhead, accuracy, predict, memory, scale)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", help="what to measure, as JSON")
    task = json.loads(parser.parse_args().task)
    torch.set_num_threads(task["threads"])
    data = dict(np.load(task["data"])) if "data" in task else {}
    answer(MEASURES[task["what"]](task, data) | {"versions": versions(*PACKAGES)})


if __name__ == "__main__":
    main()
