"""From a panel to a trained `Forecaster`: members, validation in time order, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from forecasting import pretrained
from forecasting.config import ForecasterConfig, Schema
from forecasting.data.panel import Panel
from forecasting.ensemble import Ensemble
from forecasting.errors import ConfigError, DataError, TrainingError
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.hardware.threads import threads_of
from forecasting.networks import ForecastNetwork
from forecasting.selection.choice import best, held_back, judged
from forecasting.selection.judging import (
    ENOUGH_TO_BLEND,
    blended,
    judge,
    validation_rows,
    without_idle,
)
from forecasting.training.defaults import STARTS, TUNED_READ, TUNED_ROWS, resolve, started
from forecasting.training.members import train_members
from forecasting.windows.prediction import STILL

# Share of the typical history that may be held back from networks that forecast all the same.
KEPT_SHARE = 0.125


@dataclass(frozen=True)
class _Left:
    """What a user left to held-back origins: the share of Theta, how linear paths come about."""

    blend: bool
    mix: bool


def fit(
    panel: Panel,
    config: ForecasterConfig,
    *,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
) -> Ensemble:
    """Train every member on the panel's history.

    Parameters
    ----------
    config : settings; what is ``None`` is chosen from the panel (`defaults.resolve`).
    callbacks : further Lightning callbacks, handed to every member's Trainer.
    on_epoch : called with each row of ``Forecaster.history`` as it is made.
    device : ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Returns
    -------
    Ensemble : calibrated, with ``history`` and ``swing`` filled.

    Raises
    ------
    TrainingError : nothing to learn from, or a loss that is not a number.
    """
    where = pick_device(device)
    left = _Left(
        blend=config.model.blend is None and config.model.head != "negative_binomial",
        mix=config.training.linear_mix is None,
    )
    asked, config = config, resolve(config, panel)
    _check_counts(panel, config)
    panel = replace(panel, schema=_encoded(panel.schema, config))
    start = started(asked, config, panel)
    history, record = _recorder(on_epoch)
    with threads_of(config):
        if start is None:
            return _fit_from_nothing(panel, config, callbacks, history, record, where, left=left)
        return _fit_started(panel, config, start, callbacks, history, record, where, left=left)


def refit(
    trained: Ensemble,
    panel: Panel,
    *,
    backs: Sequence[int],
    steps: int | None = None,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
) -> Ensemble:
    """Train again, on the whole panel, what was trained without the panel's last rows.

    Parameters
    ----------
    trained : on the panel's rows up to the earliest of the origins in `backs`.
    backs : origins it has not seen beyond, as rows before each series' end. Its errors there
        give the swing of the members and the correction of the quantiles.
    steps : training steps of each member; default: what the settings say.

    Returns
    -------
    Ensemble : with the settings of `trained`, and weights that know every row.
    """
    where = pick_device(device)
    config = trained.config
    history, record = _recorder(on_epoch)
    panel = replace(panel, schema=_encoded(panel.schema, config))
    with threads_of(config):
        known = replace(panel, schema=trained.schema)
        swing, correction = judge(trained.networks, known, config, list(backs))
        panel = replace(panel, schema=fitted_schema(panel))
        networks = trained.networks
        if config.training.start != "shipped":
            networks, _ = train_members(
                panel, _shorter(config), callbacks, record, where, steps=steps, phase="final",
                begin=_beginning(config, panel.schema),
            )  # fmt: skip
    return Ensemble(
        config=config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing=swing,
    )


def _encoded(schema: Schema, config: ForecasterConfig) -> Schema:
    if not config.model.encoding:
        return schema
    return Schema(
        covariates=tuple(c.replace(encoding=config.model.encoding) for c in schema.covariates)
    )


def _recorder(on_epoch: OnEpoch | None) -> tuple[list[dict[str, Any]], OnEpoch]:
    history: list[dict[str, Any]] = []

    def record(row: dict[str, Any]) -> None:
        history.append(row)
        if on_epoch is not None:
            on_epoch(row)

    return history, record


def _fit_started(
    panel: Panel,
    config: ForecasterConfig,
    start: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    history: list[dict[str, Any]],
    record: OnEpoch,
    where: torch.device,
    *,
    left: _Left,
) -> Ensemble:
    """The pretrained start as it is, tuned, or none: what held-back origins say.

    ``config`` : resolved to train from nothing; ``start`` : to begin from the start.
    """
    only = start.training.start
    own = validation_rows(panel, config)
    held = own or held_back(panel, start)
    if not held:
        start = start.replace(training={"start": only or "shipped"})
        panel = replace(panel, schema=fitted_schema(panel))
        networks = shipped = _beginning(start, panel.schema)
        if only == "tuned":
            networks, _ = train_members(
                panel, _shorter(start), callbacks, record, where, phase="final", begin=shipped
            )
        return Ensemble(config=start, schema=panel.schema, networks=networks, history=history)
    panel = replace(panel, schema=fitted_schema(panel.truncate(held)))
    past = panel.truncate(held)
    backs = list(range(held, config.horizon - 1, -config.horizon))
    shipped = _beginning(start, panel.schema)
    found = []
    if only != "tuned":
        found.append(judged("shipped", shipped, panel, start, backs, open_blend=left.blend))
    if only == "tuned" or (only is None and past.rows >= TUNED_ROWS):
        networks, _ = train_members(
            past, _shorter(start), callbacks, record, where, phase="validation", begin=shipped
        )
        found.append(judged("tuned", networks, panel, start, backs, open_blend=left.blend))
    if only is None and own:
        networks, _ = train_members(past, config, callbacks, record, where, phase="validation")
        found.append(judged("none", networks, panel, config, backs, open_blend=left.blend))
    chosen = best(found)
    scores = {f"start_{each.name}": each.mase for each in found}
    if chosen.name == "none":
        forecaster = _fit_from_nothing(
            panel, chosen.config, callbacks, history, record, where,
            left=_Left(blend=False, mix=left.mix), trained=chosen.networks,
        )  # fmt: skip
        forecaster.swing = {**forecaster.swing, **scores}
        return forecaster
    swing, correction = judge(chosen.networks, panel, chosen.config, backs)
    networks = chosen.networks
    if chosen.name == "tuned" and config.training.validation == "refit":
        panel = replace(panel, schema=fitted_schema(panel))
        networks, _ = train_members(
            panel, _shorter(chosen.config), callbacks, record, where, phase="final", begin=shipped
        )
    return Ensemble(
        config=chosen.config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing={**swing, **scores},
    )


def _shorter(config: ForecasterConfig) -> ForecasterConfig:
    """To train on from a start: it reads further when it forecasts than there it needs to."""
    if config.training.start == "none":
        return config
    return config.replace(model={"steps": min(config.model.steps or 1, TUNED_READ)})


def _beginning(config: ForecasterConfig, schema: Schema) -> list[ForecastNetwork]:
    """The pretrained networks that settings begin from; none where they train from nothing."""
    if config.training.start == "none":
        return []
    return pretrained.load(STARTS[config.season or 1], config, schema)


def _fit_from_nothing(
    panel: Panel,
    config: ForecasterConfig,
    callbacks: Sequence[pl.Callback],
    history: list[dict[str, Any]],
    record: OnEpoch,
    where: torch.device,
    *,
    left: _Left,
    trained: list[ForecastNetwork] | None = None,
) -> Ensemble:
    """Train from nothing; ``trained`` are networks made without what is held back."""
    held = validation_rows(panel, config)
    swing: dict[str, float] = {}
    correction = None
    best_steps = None
    networks: list[ForecastNetwork] = []
    if held:
        # Covariates are standardised by what was known at the cutoff, like all else.
        panel = replace(panel, schema=fitted_schema(panel.truncate(held)))
        past = panel.truncate(held)
        networks, best_steps = (trained, None) if trained else train_members(
            past, config, callbacks, record, where, watched=panel, held=held, phase="validation"
        )  # fmt: skip
        backs = list(range(held, config.horizon - 1, -config.horizon))
        if left.mix and "solved" in (config.training.linear_mix or ()):
            networks, config = without_idle(networks, panel, config, backs)
        if left.blend and len(backs) * len(panel) >= ENOUGH_TO_BLEND:
            config = blended(networks, panel, config, backs)
        swing, correction = judge(networks, panel, config, backs)
    if not held or config.training.validation == "refit":
        first_networks, known = networks, panel.schema
        panel = replace(panel, schema=fitted_schema(panel))
        # A single network's forecasts swing with its start. Where little was held back from the
        # judged one, it forecasts along: an ensemble of two at no more training.
        share = held / max(float(np.median(panel.lengths)), 1.0)
        alone = config.training.members == 1 and known == panel.schema
        kept = first_networks if alone and share <= KEPT_SHARE else []
        networks, _ = train_members(
            panel, config, callbacks, record, where, steps=best_steps, phase="final",
            first=len(kept),
        )  # fmt: skip
        networks = [*kept, *networks]
    return Ensemble(
        config=config,
        schema=panel.schema,
        networks=networks,
        correction=correction,
        history=history,
        swing=swing,
    )


def pick_device(name: str) -> torch.device:
    """The device of a name; ``auto`` takes a GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device = {name}: choose auto, cpu, cuda or cuda:1") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device = cuda, but this machine shows no GPU; use device = cpu")
    return device


def _check_counts(panel: Panel, config: ForecasterConfig) -> None:
    below = np.flatnonzero(panel.y < 0)
    if config.model.head == "negative_binomial" and len(below):
        at = int(below[0])
        series = panel.ids[panel.series[at]]
        raise DataError(
            f"series {series!r} has y = {panel.y[at]:g}, but model.head = negative_binomial "
            "forecasts counts, from 0 up; choose quantiles or student_t"
        )


def fitted_schema(panel: Panel) -> Schema:
    """The schema with mean and deviation of real columns taken from this panel alone."""
    fitted = []
    blocks = {"past": panel.past, "future": panel.future, "static": panel.static}
    column = {"past": 0, "future": 0, "static": 0}
    for covariate in panel.schema.covariates:
        values = blocks[covariate.role][:, column[covariate.role]]
        column[covariate.role] += 1
        known = values[~np.isnan(values)]
        if covariate.type == "real" and len(known):
            spread, still = float(known.std()), STILL * float(np.abs(known).max())
            covariate = covariate.replace(
                mean=float(known.mean()), std=spread if spread > still else 0.0
            )
        fitted.append(covariate)
    return Schema(covariates=tuple(fitted))
