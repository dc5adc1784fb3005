"""Our forecasters on public sets, beside published figures and peers scored in the same run.

Each set is trained on its official history only, with settings that rules choose from the data;
the test part is looked at once, to score.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.benchmark import peers
from pipelines.benchmark.scores import LEVELS, difference, score_task, summary
from pipelines.data.datasets import PublicSet, Task, inside, load
from pipelines.machine.say import Say, silent
from pipelines.machine.state import cores

# What each of our models changes in the settings; "chosen" leaves everything to the rules. With the
# cell set, small panels begin from nothing: the starting networks are of both cells. Another seed
# shows what luck is worth.
MODELS: Mapping[str, Mapping[str, Any]] = {
    "chosen": {},
    "LSTM": {"model": {"cell": "lstm"}, "training": {"cell_mix": ("lstm",)}},
    "GRU": {"model": {"cell": "gru"}, "training": {"cell_mix": ("gru",)}},
    "other seed": {"training": {"seed": 1}},
}
CACHE = Path("runs/cache/benchmark")
RESULTS = Path("runs/benchmark")
_PACKAGES = ("torch", "numpy", "statsforecast", "mlforecast", "lightgbm")


@dataclass(frozen=True)
class Row:
    """One model on one task.

    Attributes
    ----------
    kind : ``ours``, ``peer`` or ``published``.
    scores : averages by name; ``seconds`` of training and forecasting together.
    swing : least, middle and largest validation MASE of the members.
    versus : by peer, the difference in the task's metric and its 95 % interval over series.
    """

    task: str
    set: str
    metric: str
    model: str
    kind: str
    scores: dict[str, float]
    seconds: float | None = None
    swing: dict[str, float] = field(default_factory=dict)
    versus: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """Every row of a run, and the machine it ran on."""

    created: str
    machine: str
    versions: dict[str, str]
    rows: list[Row]

    def save(self, folder: Path) -> Path:
        """Write ``<created>.json`` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.created.replace(':', '')}-{os.getpid()}.json"
        path.write_text(json.dumps(asdict(self), indent=1), "utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Report:
        """Open what `save` wrote."""
        values = json.loads(path.read_text("utf-8"))
        rows = [
            Row(**{**r, "versus": {k: tuple(v) for k, v in r["versus"].items()}})
            for r in values["rows"]
        ]
        return cls(**{**values, "rows": rows})


def run(
    names: Sequence[str],
    *,
    models: Sequence[str] = tuple(MODELS),
    peer_names: Sequence[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    within: bool = False,
    cache: Path | None = CACHE,
    device: str = "auto",
    jobs: int | None = None,
    say: Say = silent,
) -> Report:
    """Score our models and their peers on sets.

    Parameters
    ----------
    names : sets as `pipelines.data.datasets.registry` knows them.
    models : which of `MODELS`. peer_names : which peers; None takes all that make sense.
    settings : of the forecaster, over the defaults, for every model (for ablations).
    within : score inside the histories instead (`datasets.inside`), to choose settings.
    cache : where peers' scores are kept; None computes them anew.
    jobs : processes of the statistical peers; None: one per core.
    say : called with one line per step.

    Raises
    ------
    DataError : an unknown set or model, missing or altered files.
    """
    for model in models:
        if model not in MODELS:
            raise DataError(f"no model is called {model!r}; known: {', '.join(MODELS)}")
    peers.check_names(peer_names or ())
    rows: list[Row] = []
    jobs = jobs or cores()

    for name in names:
        tasks = [inside(t) if within else t for t in load(name)]
        of_set: list[Row] = []
        for task in tasks:
            for row in _run_task(
                task, models, peer_names, settings or {}, cache, device, jobs, say
            ):
                of_set.append(row)
                rows.append(row)
        if len(tasks) > 1:
            for row in averaged(tasks[0].about, of_set):
                rows.append(row)
        for row in () if within else published(tasks[0].about):
            rows.append(row)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(created, machine(), versions(), rows)


def published(about: PublicSet) -> list[Row]:
    """Figures of others, from the registry."""
    return [
        Row(
            about.name,
            about.name,
            about.metric,
            str(figure["method"]),
            "published",
            {k: float(v) for k, v in figure.items() if k != "method"},
        )
        for figure in about.published
    ]


def averaged(about: PublicSet, rows: Sequence[Row]) -> list[Row]:
    """A model's plain mean over the tasks of a set; models that ran on all of them only."""
    tasks = {r.task for r in rows}
    out = []
    for model in dict.fromkeys(r.model for r in rows):
        mine = [r for r in rows if r.model == model]
        if {r.task for r in mine} != tasks:
            continue
        names = set.intersection(*(set(r.scores) for r in mine))
        scores = {
            n: float(np.mean([r.scores[n] for r in mine])) for n in mine[0].scores if n in names
        }
        seconds = sum(r.seconds or 0.0 for r in mine)
        out.append(Row(about.name, about.name, about.metric, model, mine[0].kind, scores, seconds))
    return out


def machine() -> str:
    """One line on the processor and its cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {cores()} cores, Python {platform.python_version()}"


def versions() -> dict[str, str]:
    """Versions of the packages that decide the figures."""
    installed = {}
    for package in _PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed


def _run_task(
    task: Task,
    models: Sequence[str],
    peer_names: Sequence[str] | None,
    settings: Mapping[str, Any],
    cache: Path | None,
    device: str,
    jobs: int,
    say: Say,
) -> list[Row]:
    chosen = [p for p in peers.peers_of(task) if peer_names is None or p in peer_names]
    tables: dict[str, pd.DataFrame] = {}
    rows = []
    # Naive2 is the unit of OWA, seasonal naive the least anyone is compared with.
    for peer in dict.fromkeys([peers.NAIVE2, peers.SEASONAL_NAIVE, *chosen]):
        if not peers.available(peer):
            say(f"{task.name}: {peer} is left out, its package is not installed")
            continue
        say(f"{task.name}: {peer}")
        result = peers.peer_scores(task, peer, cache=cache, jobs=jobs)
        tables[peer] = result.scores
        same = len(result.scores) == len(tables[peers.NAIVE2])
        scores = summary(result.scores, tables[peers.NAIVE2] if same else None)
        about = task.about
        rows.append(Row(task.name, about.name, about.metric, peer, "peer", scores, result.seconds))
    trained: list[tuple[ForecasterConfig, Row]] = []
    for model in models:
        say(f"{task.name}: {model}")
        config = configuration(task, model, settings)
        earlier = next((r for c, r in trained if c == config), None)
        if earlier is None:
            earlier = next((r for _, r in trained if _all_of_cell(r, config)), None)
        if earlier is not None:
            rows.append(replace(earlier, model=model))
            continue
        row = _train_and_score(task, model, config, tables, device)
        trained.append((config, row))
        rows.append(row)
    return rows


def _all_of_cell(row: Row, config: ForecasterConfig) -> bool:
    """Whether rules that were left everything chose nothing but the cell that is asked for."""
    cells = row.config["training"]["cell_mix"] or [row.config["model"]["cell"]]
    return (
        row.model == "chosen"
        and row.config["training"]["start"] == "none"
        and set(cells) == set(config.training.cell_mix)
    )


def configuration(task: Task, model: str, settings: Mapping[str, Any]) -> ForecasterConfig:
    """The settings a model is trained with, the rest left to the rules."""
    config = ForecasterConfig(horizon=task.horizon, season=task.about.season)
    return config.replace(**settings).replace(**MODELS[model])


def known_to(task: Task, config: ForecasterConfig) -> tuple[Panel, ForecasterConfig]:
    """What a model is given, and its settings: a set's validation part is what is held back.

    As the protocol of such sets has it, weights learn from the training part alone, and the
    validation part decides what is left to decide.
    """
    if not task.validation:
        return task.train, config
    windows = math.ceil(task.validation / task.horizon)
    panel = task.full.truncate(int(task.origins[0]))
    return panel, config.replace(training={"validation": "holdout", "validation_windows": windows})


def _train_and_score(
    task: Task,
    model: str,
    config: ForecasterConfig,
    tables: Mapping[str, pd.DataFrame],
    device: str,
) -> Row:
    from forecasting.forecaster import Forecaster

    began = time.perf_counter()
    forecaster = Forecaster.train(*known_to(task, config), device=device)
    table = score_task(
        task,
        lambda panel: forecaster.predict_panel(panel, quantiles=LEVELS),
        context=forecaster.context,
    )
    seconds = time.perf_counter() - began
    naive2 = tables[peers.NAIVE2]
    differences = {p: difference(task, table, t, naive2) for p, t in tables.items()}
    return Row(
        task.name,
        task.about.name,
        task.about.metric,
        model,
        "ours",
        summary(table, naive2),
        seconds,
        {k: float(v) for k, v in forecaster.swing.items()},
        {p: v for p, v in differences.items() if v is not None},
        forecaster.config.model_dump(mode="json"),
    )
