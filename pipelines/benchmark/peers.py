"""What a forecaster is compared with in the same run, scored once per data and kept on disk.

Seasonal naive, Naive2, AutoETS and AutoTheta on every public task, and a global LightGBM model
through mlforecast where covariates are known ahead.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.evaluation.catalogue import BASELINES, Baseline
from pipelines.benchmark.scores import LEVELS, score_task
from pipelines.data.datasets import Task
from pipelines.data.profile import panel_digest
from pipelines.machine.files import aside, write_text

# Raised whenever scores of the same forecasts would come out differently.
SCORES_VERSION = 1
# Models fitted anew in each window take every so many origins where there are many.
STRIDE = 96
MANY_ORIGINS = 100
# Fewer series are fitted before further processes have started.
SERIES_TO_SHARE = 100

SEASONAL_NAIVE = BASELINES["seasonal_naive"].title
NAIVE2 = BASELINES["naive2"].title
AUTO_ETS = BASELINES["auto_ets"].title
AUTO_THETA = BASELINES["auto_theta"].title
LIGHTGBM = "LightGBM"
LIGHTGBM_PACKAGES = ("lightgbm", "mlforecast")


def _baselines() -> dict[str, Baseline]:
    """The baselines that are peers, by their titles."""
    return {baseline.title: baseline for baseline in BASELINES.values() if baseline.peer}


@dataclass(frozen=True)
class PeerScores:
    """Window scores of one peer on one task, and the seconds they took when they were made."""

    name: str
    scores: pd.DataFrame
    seconds: float
    cached: bool


def check_names(names: Sequence[str]) -> None:
    """Raise `DataError` for a name that no peer has."""
    known = dict.fromkeys([NAIVE2, SEASONAL_NAIVE, *_baselines(), LIGHTGBM])
    for name in names:
        if name and name not in known:
            raise DataError(f"no peer is called {name!r}; known: {', '.join(known)}")


def peers_of(task: Task) -> list[str]:
    """The peers that make sense on a task."""
    return [*_baselines(), *([LIGHTGBM] if task.full.schema.future else [])]


def available(peer: str) -> bool:
    """Whether the packages a peer needs are installed."""
    try:
        for package in _packages(peer):
            metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def _packages(peer: str) -> tuple[str, ...]:
    return LIGHTGBM_PACKAGES if peer == LIGHTGBM else _baselines()[peer].packages


def _fitted(peer: str) -> bool:
    """Whether a peer is fitted to one series after the other."""
    return peer != LIGHTGBM and _baselines()[peer].fitted


def peer_scores(task: Task, peer: str, *, cache: Path | None, jobs: int = 1) -> PeerScores:
    """Scores of a peer, from the cache if the same data were scored before.

    ``cache`` is a folder, or None to compute anew and keep nothing. ``jobs`` : processes that
    statistical models are fitted in.
    """
    every, rows = _reading(task, peer)
    stem = None if cache is None else cache / kept_as(task, peer)
    if stem is not None and stem.with_suffix(".json").is_file():
        record = json.loads(stem.with_suffix(".json").read_text("utf-8"))
        table = pd.read_parquet(stem.with_suffix(".parquet"))
        return PeerScores(peer, table, float(record["seconds"]), True)
    began = time.perf_counter()
    predict = predictor(task, peer, jobs)
    scores = score_task(task, predict, context=rows, every=every)
    seconds = time.perf_counter() - began
    if stem is not None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with aside(stem.with_suffix(".parquet")) as scratch:
            scores.to_parquet(scratch)
        about = {
            "task": task.name,
            "peer": peer,
            "seconds": round(seconds, 3),
            "every": every,
            "rows": rows,
            "versions": _versions(peer),
        }
        # The description is written last: where it stands, the scores are whole.
        write_text(json.dumps(about, indent=1), stem.with_suffix(".json"))
    return PeerScores(peer, scores, seconds, False)


def kept_as(task: Task, peer: str) -> str:
    """The name, without an ending, of what a peer makes of a task, told by all it depends on."""
    return f"{task.name}-{peer}-{_key(task, peer, *_reading(task, peer))}".replace(" ", "_")


def _reading(task: Task, peer: str) -> tuple[int, int | None]:
    """Each which origin a peer takes, and rows of history that it reads; None for all."""
    many = len(task.origins) > MANY_ORIGINS
    every = STRIDE if many and _fitted(peer) else 1
    return every, task.about.statistical_rows if many or _fitted(peer) else None


def predictor(task: Task, peer: str, jobs: int = 1) -> Callable[[Panel], Forecast]:
    """A peer's own way from a panel of a task to the quantiles at `LEVELS`.

    ``jobs`` : processes that statistical models are fitted in.
    """
    if peer == LIGHTGBM:
        from pipelines.benchmark.lightgbm import fit_lightgbm

        return fit_lightgbm(task.train, task.horizon, task.about.season)
    function, season = _baselines()[peer].forecast, task.about.measure_season
    logs = _in_logs(task, peer)
    slow = _fitted(peer) and len(task.full) * len(task.origins) >= SERIES_TO_SHARE
    extra = {"jobs": jobs} if slow else {}

    def predict(panel: Panel) -> Forecast:
        seen = replace(panel, y=np.log(panel.y)) if logs else panel
        forecast = function(seen, task.horizon, season=season, levels=LEVELS, **extra)
        if not logs:
            return forecast
        return replace(forecast, mean=np.exp(forecast.mean), quantiles=np.exp(forecast.quantiles))

    return predict


def _in_logs(task: Task, peer: str) -> bool:
    """Whether a peer forecasts logs: where logs are scored, ETS of units would be a straw man.

    Naive forecasts are the same either way, but the ends of a random walk of logs explode.
    """
    return task.about.metric == "mae_log" and _fitted(peer)


def _key(task: Task, peer: str, every: int, rows: int | None) -> str:
    parts: dict[str, Any] = {
        "scores": SCORES_VERSION,
        "levels": LEVELS,
        "data": panel_digest(task.full),
        "horizon": task.horizon,
        "season": task.about.measure_season,
        "point": task.about.point,
        "metric": task.about.metric,
        "origins": task.origins.tolist(),
        "train_back": task.train_back,
        "every": every,
        "rows": rows,
        "versions": _versions(peer),
    }
    if _in_logs(task, peer):
        parts["transform"] = "log"
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _versions(peer: str) -> dict[str, str]:
    return {package: metadata.version(package) for package in _packages(peer)}
