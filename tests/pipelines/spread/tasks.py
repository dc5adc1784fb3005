"""Tasks that every place must do alike, and what is looked at of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from pipelines.spread import fits
from pipelines.spread.places import each
from pipelines.spread.task import Here, Place, Task
from tests.pipelines.small import monthly_panel

HORIZON = 3


class Wide(Here):
    """Three tasks are asked for at the same time, and done in turn: torch exports one by one."""

    workers = 3
    guard = threading.Lock()

    def do(self, task: Task) -> dict[str, Any]:
        """Does a task once no other is done."""
        with self.guard:
            return super().do(task)


@contextmanager
def wide(*_settings: Any) -> Iterator[Wide]:
    """In place of `open_place`."""
    yield Wide()


def waves(series: int = 6, rows: int = 48) -> Panel:
    """A panel with a season and some noise."""
    rng, t = np.random.default_rng(0), np.arange(rows)
    level = 10 + np.arange(series)[:, None]
    return monthly_panel(
        level + 3 * np.sin(2 * np.pi * t / 12) + rng.normal(0, 0.3, (series, rows))
    )


def settings(**training: Any) -> dict[str, Any]:
    """Of a small network, which is done in a moment."""
    own = {"max_steps": 12, "batch_size": 8, "threads": 1, "validation": "none", "start": "none"}
    config = ForecasterConfig.parse(
        {
            "horizon": HORIZON,
            "freq": "MS",
            "season": 12,
            "model": {"layers": 1, "hidden_size": 8, "steps": 4, "segment": 6},
            "training": {**own, **training},
        }
    )
    return config.model_dump(mode="json", exclude_unset=True)


def fit_task(
    place: Place, folder: Path, tell: Callable[[dict[str, Any]], None] = lambda _: None, **own: Any
) -> Task:
    """A training into a folder."""
    out = folder / "out"
    out.mkdir(parents=True)
    return Task(
        name="a training",
        work=fits.ANEW,
        parcel={"settings": settings(**own)},
        shared=(place.share(waves()),),
        tell=tell,
        out=out,
        kept=folder / "kept",
    )


def fitted(place: Place, folder: Path, seeds: range) -> list[dict[str, Any]]:
    """Trainings of several seeds at once: answers, told rows and weights of each."""
    rows: list[list[dict[str, Any]]] = [[] for _ in seeds]
    tasks = [
        fit_task(place, folder / str(seed), rows[k].append, seed=seed)
        for k, seed in enumerate(seeds)
    ]
    answers = list(each(place, [partial(place.do, task) for task in tasks]))
    for answer, task, told in zip(answers, tasks, rows, strict=True):
        assert task.out is not None
        answer["told"] = [without_clock(row) for row in told]
        answer["history"] = [without_clock(row) for row in answer["history"]]
        answer["weights"] = weights(task.out)
        del answer["seconds"]
    return answers


def weights(out: Path) -> dict[str, Any]:
    """The tensors of a bundle, by name."""
    return load_file(out / fits.BUNDLE / "model.safetensors")


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A row of history without what no two runs have alike."""
    return {k: v for k, v in row.items() if k not in ("windows_per_s", "seconds")}


def same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two answers are the same, weights to the last bit."""
    assert one.keys() == other.keys()
    assert one["told"] == one["history"] == other["told"] == other["history"]
    assert one["settings"] == other["settings"]
    assert one["weights"].keys() == other["weights"].keys()
    for name, tensor in one["weights"].items():
        assert tensor.tobytes() == other["weights"][name].tobytes(), name
