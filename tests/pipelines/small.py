"""A small registered model, for tests of what is done with models rather than of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from pipelines.config import ExperimentConfig
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import Tracker


def small_bundle(config: ExperimentConfig, panel: Panel, folder: Path) -> Path:
    """A network of the config's first candidate after a few steps."""
    name = next(iter(config.candidates))
    settings = config.forecaster(name, freq=panel.freq.alias)
    settings = settings.replace(training={"max_steps": 3})
    Forecaster.train(panel, settings).save(folder)
    return folder


def crown(config: ExperimentConfig, bundle: Path, **tags: Any) -> int:
    """Register a bundle as the config's champion, with a pipeline run that keeps the config."""
    tracker = Tracker.open(config.name, system_metrics=False)
    registry = Registry(tracker.client)
    with tracker.run("pipeline") as run:
        run.text(config.to_yaml(), "config.yaml")
        version = registry.register(
            config.name, run, bundle, tags={"pipeline_run": run.id, **tags}, description=""
        )
    registry.promote(config.name, version, reason="test", action="forced")
    return version


def monthly_panel(y: np.ndarray, start: str = "2000-01-01", freq: str = "MS") -> Panel:
    """A panel of the rows of [N, T]."""
    count, length = y.shape
    return Panel.from_arrays(
        [f"s{i}" for i in range(count)],
        y.ravel(),
        np.full(count, length),
        np.array([start] * count, "datetime64[us]"),
        freq,
    )


def past_forecasts(panel: Panel, medians: np.ndarray, horizon: int, *, every: int) -> pd.DataFrame:
    """What a model that says `medians` [N, T + horizon] would have forecast, cutoff by cutoff."""
    count, length = medians.shape
    known = length - horizon
    parts = []
    for cutoff in range(known // 2, known, every):
        steps = np.arange(1, horizon + 1)
        middle = medians[:, cutoff + 1 : cutoff + 1 + horizon].ravel()
        parts.append(
            pd.DataFrame(
                {
                    "model": "watched",
                    "version": 1,
                    "run_id": "r",
                    "unique_id": np.repeat(panel.ids, horizon),
                    "cutoff": np.repeat(panel.freq.shift(panel.start, cutoff), horizon),
                    "step": np.tile(steps, count),
                    "ds": panel.freq.stamps(panel.start, cutoff + 1, horizon).ravel(),
                    "mean": middle,
                    "q0.1": middle - 1.2816,
                    "q0.5": middle,
                    "q0.9": middle + 1.2816,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
