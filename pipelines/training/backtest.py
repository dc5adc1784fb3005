"""A backtest alone: models judged on rolling origins, nothing registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from forecasting.errors import ConfigError
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import Prepared, prepare
from pipelines.data.profile import panel_digest
from pipelines.machine.say import Progress, Say, heard_by, no_progress, once, silent
from pipelines.machine.state import home
from pipelines.registry.registry import Registry
from pipelines.spread.places import each, open_place
from pipelines.tracking.store import connect
from pipelines.training.candidates import Making, need_training, origins, split
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
        name, _, alias = model.partition("@")
        registry = Registry(connect(config.tracking.uri))
        version = registry.version(name, alias or None)
        folder = registry.download_judged(version, home() / "cache" / "bundles")
        label = f"{name}@{version.version}"
        say(f"{label} as it was when it was judged, before it saw the rows of its own backtest")
        if config.backtest.refit is not None:
            raise ConfigError(
                f"backtest.refit trains candidates anew, and {model} is asked as it is: leave "
                "--model out, or backtest.refit"
            )
        with heard_by(once(say)):
            return evaluate(data.panel, {label: load_predictor(folder)}, config)
    train_data = split(data, config)
    with open_place(config.spread, say) as place:
        making = Making(config, progress=progress, place=place, say=say)
        calls = []
        for name in config.candidates:
            settings = config.forecaster(name, freq=data.panel.freq.alias)
            say(f"training {name} · {describe(settings)}")
            calls.append(partial(_predictor, making, name, train_data))
        predictors = dict(zip(config.candidates, each(place, calls), strict=True))
        every = config.backtest.refit
        refitted = {}
        if every is not None:
            say(f"and each anew at every {every}. origin" if every > 1 else "and at every origin")
            refitted = _refitted(replace(making, say=silent), data, every)
    with heard_by(once(say)):
        return evaluate(data.panel, predictors, config, refitted=refitted)


def _predictor(making: Making, name: str, known: Prepared) -> Predictor:
    settings = making.config.forecaster(name, freq=known.panel.freq.alias)
    return load_predictor(making.candidate(name, settings, known).bundle)


def _refitted(
    making: Making, data: Prepared, every: int
) -> dict[str, Callable[[Panel], Predictor]]:
    """By name, what finds a candidate trained on what was known at a cutoff, as it would have been
    trained then. All of these trainings are done at once: none depends on another.
    """
    horizon = making.config.horizon
    backs = [back for back in origins(making.config) if (data.panel.lengths > back).any()]
    cutoffs = [_until(data, back, horizon) for back in backs[::every]]
    pairs = [(name, known) for name in making.config.candidates for known in cutoffs]
    calls = [partial(_predictor, making, name, known) for name, known in pairs]
    predictors = {
        (name, known.digest): predictor
        for (name, known), predictor in zip(pairs, each(making.place, calls), strict=True)
    }

    def of(name: str) -> Callable[[Panel], Predictor]:
        return lambda known: predictors[name, panel_digest(known)]

    return {f"{name}, refitted": of(name) for name in making.config.candidates}


def _until(data: Prepared, back: int, horizon: int) -> Prepared:
    """What was known at a cutoff, as `backtest` asks its models."""
    return replace(data, panel=data.panel.truncate(back, horizon))
