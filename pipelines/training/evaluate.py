"""Rolling origins of candidates, champion and baselines, and what the gate is told of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import GatecastError, MissingGroupError
from forecasting.evaluation.backtest import Backtest, Model, Refitted, backtest
from forecasting.evaluation.catalogue import BASELINES, METRICS
from pipelines.config import ExperimentConfig
from pipelines.training.case import Judged

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.data.forecast import Forecast
    from forecasting.data.panel import Panel
    from forecasting.prediction.predictor import Predictor


CHAMPION_MODEL = "champion"
FEWEST_SERIES = 10  # with fewer, a series at an origin is the unit of the bootstrap
LATENCY_CALLS = 15
MEGABYTE = 1e6


@dataclass(frozen=True)
class Evaluation:
    """A backtest of everything there is to compare.

    Attributes
    ----------
    latency_ms
        Per candidate, the median time of one series on one thread.
    champion_problem
        Why the champion could not be compared, if it could not.
    """

    backtest: Backtest
    season: int
    latency_ms: dict[str, float] = field(default_factory=dict)
    champion_problem: str | None = None

    @property
    def has_champion(self) -> bool:
        """Whether the champion was compared too."""
        return CHAMPION_MODEL in self.backtest.models

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per model, the same columns for networks and baselines."""
        return self.backtest.scores()

    def scores_of(self, model: str) -> dict[str, float]:
        """Metric → value of one model."""
        row = self.scores.loc[[model]].to_dict("records")[0]
        return {str(k): float(v) for k, v in row.items()}

    def best(self, names: list[str], metric: str) -> str:
        """The model with the smallest error; one whose error is no number never wins."""
        values = self.scores.loc[names, metric]
        if not np.isfinite(values).any():
            raise GatecastError(f"no candidate has a finite {metric} on the backtest")
        return str(values.idxmin())

    @cached_property
    def _units(self) -> tuple[Array, Array]:
        """[M] unit of each origin, and [U] the series' name of each unit."""
        ids, codes = np.unique(self.backtest.ids.astype(str), return_inverse=True)
        if len(ids) >= FEWEST_SERIES:
            return codes, ids
        return np.arange(len(codes)), self.backtest.ids.astype(str)

    def unit_errors(self, model: str, metric: str) -> Array:
        """[U] the metric of each unit; NaN where the model gave no forecast."""
        codes, names = self._units
        measure = METRICS[metric]
        per_origin = measure.by_origin(self.backtest.outcomes(model))
        known = np.isfinite(per_origin)
        totals = np.bincount(codes[known], per_origin[known], len(names))
        counts = np.bincount(codes[known], minlength=len(names))
        out = np.full(len(names), np.nan)
        np.divide(totals, counts, out=out, where=counts > 0)
        return measure.finish(out)

    def segments(self, panel: Panel, column: str | None) -> Array | None:
        """[U] the segment of each unit: the value of a static column of its series."""
        if column is None:
            return None
        names = [c.name for c in panel.schema.static]
        if column not in names:
            there = ", ".join(names) or "none"
            raise GatecastError(f"gate.segment: no static column {column!r}; there are: {there}")
        covariate = panel.schema.static[names.index(column)]
        values = panel.static[:, names.index(column)]
        if covariate.type == "categorical":
            labels = np.array(["(missing)", *covariate.categories], dtype=object)
            values = labels[np.nan_to_num(values).astype(int)]
        by_id = dict(zip(panel.ids.astype(str), values.astype(str), strict=True))
        return np.array([by_id[name] for name in self._units[1]], dtype=object)


def load_predictor(bundle: Path, *, threads: int = 1) -> Predictor:
    """The engine the service uses, so that what is judged is what will be served.

    The bundle was made here, or checked when it was fetched.
    """
    from forecasting.prediction.predictor import Predictor

    return Predictor.load(bundle, threads=threads, trusted=True)


def evaluate(
    panel: Panel,
    predictors: Mapping[str, Predictor],
    config: ExperimentConfig,
    *,
    champion: Predictor | None = None,
    champion_problem: str | None = None,
    refitted: Mapping[str, Callable[[Panel], Predictor]] | None = None,
) -> Evaluation:
    """Backtest every model on the same origins.

    Parameters
    ----------
    panel
        The whole history; models only ever see it up to each cutoff.
    predictors
        One or more. Their season is that of MASE and of the baselines: the one that the network
        settled on and its bundle keeps, so that every command measures a model alike.
    champion
        The model in production, judged beside the candidates when it fits this data.
    refitted
        By name, what trains a model on what was known at a cutoff: asked at every so many of them
        as ``backtest.refit`` says.
    """
    settings = config.backtest
    model_season = next(iter(predictors.values())).config.season
    season = model_season or config.season or panel.freq.season
    horizon, levels = config.horizon, settings.levels

    def network(predictor: Predictor) -> Callable[[Panel], Forecast]:
        # Codes and standardisation are the model's own, as they are when it serves.
        return lambda known: predictor.predict_panel(known, horizon=horizon, quantiles=levels)

    models: dict[str, Model] = {name: network(predictor) for name, predictor in predictors.items()}
    if champion is not None:
        try:
            network(champion)(panel.truncate(horizon, horizon).select(np.arange(1)))
            models[CHAMPION_MODEL] = network(champion)
        except GatecastError as error:
            champion_problem = str(error)
    for name, train in (refitted or {}).items():
        models[name] = Refitted(_asked(train, network), settings.refit or 1)
    for name in settings.baselines:
        models[name] = _baseline(name, horizon, season, levels)
    result = backtest(
        panel,
        models,
        horizon=horizon,
        season=season,
        windows=settings.windows,
        step=settings.step,
        levels=levels,
    )
    latency = {name: _latency(p, panel, horizon) for name, p in predictors.items()}
    return Evaluation(result, season, latency, champion_problem)


def _asked(
    train: Callable[[Panel], Predictor], network: Callable[[Predictor], Model]
) -> Callable[[Panel], Model]:
    return lambda known: network(train(known))


def _baseline(
    name: str, horizon: int, season: int, levels: tuple[float, ...]
) -> Callable[[Panel], Forecast]:
    baseline = BASELINES[name].forecast
    return lambda known: baseline(known, horizon, season=season, levels=levels)


def check_baselines(config: ExperimentConfig) -> None:
    """Raise where a baseline needs what is not installed: before any work, not after it.

    Raises
    ------
    GatecastError
        Names the baseline and how to install what it needs.
    """
    for name in config.backtest.baselines:
        if missing := BASELINES[name].missing:
            raise MissingGroupError(
                "baselines",
                f"backtest.baselines: {name} needs {', '.join(missing)}, which is not installed: "
                "pip install 'gatecast[baselines]', or leave it out",
            )


def _latency(predictor: Predictor, panel: Panel, horizon: int) -> float:
    """Median milliseconds of a forecast of one series."""
    one = panel.truncate(horizon, horizon).select(np.arange(1)).under(predictor.schema)
    seconds = []
    for _ in range(LATENCY_CALLS):
        began = time.perf_counter()
        predictor.predict_panel(one, horizon=horizon)
        seconds.append(time.perf_counter() - began)
    return 1000.0 * float(np.median(seconds))


def judge(
    evaluation: Evaluation, model: str, config: ExperimentConfig, *, bundle: Path | None = None
) -> Judged:
    """What the gate is told of a model."""
    result = evaluation.backtest
    median = result.median(model)
    observed = np.isfinite(result.actual)
    predicted = np.isfinite(median)
    both = observed & predicted
    size = np.abs(result.actual[both]).sum()
    bias = float((median[both] - result.actual[both]).sum() / size) if size > 0 else 0.0
    unanswered = ~predicted.any(axis=1) & observed.any(axis=1)
    # A series that was left out is all NaN; NaN or infinity elsewhere is a broken network.
    finite = bool(np.isfinite(result.quantiles[model][predicted.any(axis=1)]).all())
    return Judged(
        name=model,
        errors=evaluation.unit_errors(model, config.gate.metric),
        coverage=result.coverage(model, round(100 * config.gate.interval)),
        bias=bias,
        finite=finite,
        refused=float(unanswered.mean()),
        latency_ms=evaluation.latency_ms.get(model),
        size_mb=_size(bundle) if bundle is not None else None,
    )


def _size(folder: Path) -> float:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / MEGABYTE
