"""A backtest alone: models judged on rolling origins, nothing registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from forecasting.errors import ConfigError
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared, prepare
from pipelines.machine.say import Progress, Say, no_progress, silent
from pipelines.machine.state import home
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect
from pipelines.training.candidates import Making, need_training, split
from pipelines.training.evaluate import Evaluation, check_baselines, evaluate, load_predictor
from pipelines.training.trained import describe

if TYPE_CHECKING:
    from forecasting.data.panel import Panel
    from forecasting.prediction.predictor import Predictor


def backtest_only(
    config: ExperimentConfig,
    *,
    model: str | None = None,
    future: str | None = None,
    say: Say = silent,
    progress: Progress = no_progress,
) -> Evaluation:
    """Judge models on rolling origins and register nothing.

    Parameters
    ----------
    model
        ``NAME`` (its champion) or ``NAME@VERSION``; default: the config's candidates, fitted on
        what came before the origins.
    future
        A table of known-future covariates, where the table of the history lacks them.
    """
    if model is None:
        need_training()
    check_baselines(config)
    data = prepare(config, future=future)
    for line in data.said:
        say(line)
    if model is not None:
        name, _, wanted = model.partition("@")
        registry = Registry(connect(config.tracking.uri))
        version = registry.version(name, wanted or None)
        folder = registry.download_judged(version, home() / "cache" / "bundles")
        label = f"{name}@{version.version}"
        say(f"{label} as it was when it was judged, before it saw the rows of its own backtest")
        if config.backtest.refit is not None:
            raise ConfigError(
                f"backtest.refit trains candidates anew, and {model} is asked as it is: leave "
                "--model out, or backtest.refit"
            )
        return evaluate(data.panel, {label: load_predictor(folder)}, config)
    known = split(data, config)
    making = Making(config, progress=progress)
    trained = {}
    for name in config.candidates:
        settings = config.forecaster(name, freq=data.panel.freq.alias)
        say(f"training {name} · {describe(settings)}")
        trained[name] = making.candidate(name, settings, known)
    again = config.backtest.refit
    refitted = {}
    if again is not None:
        say(f"and each anew at every {again}. origin" if again > 1 else "and each at every origin")
        refitted = {f"{n}, refitted": _refit(making, n, data) for n in config.candidates}
    return evaluate(
        data.panel,
        {name: load_predictor(t.bundle) for name, t in trained.items()},
        config,
        refitted=refitted,
    )


def _refit(making: Making, name: str, data: Prepared) -> Callable[[Panel], Predictor]:
    """Trains a candidate on what was known at a cutoff, as it would have been trained then."""
    settings = making.config.forecaster(name, freq=data.panel.freq.alias)

    def train(known: Panel) -> Predictor:
        return load_predictor(making.candidate(name, settings, replace(data, panel=known)).bundle)

    return train
