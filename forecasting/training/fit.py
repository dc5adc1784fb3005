"""From a panel to a trained `Ensemble`: members, validation in time order, calibration."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from forecasting import pretrained
from forecasting.arrays import Array
from forecasting.config import ForecasterConfig, Schema
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock, wall_backs
from forecasting.ensemble import Ensemble
from forecasting.errors import DataError
from forecasting.hardware.devices import pick_device
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.hardware.threads import threads_of
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.selection.choice import Start, best
from forecasting.selection.held_back import (
    Evidence,
    origins_within,
    rows_to_judge_a_start,
    rows_to_validate,
)
from forecasting.selection.judging import (
    correction_and_swing,
    idle_members,
    with_shares,
)
from forecasting.training.defaults import STARTS, TUNED_READ, TUNED_ROWS, resolve, started
from forecasting.training.members import Trained, train_members
from forecasting.windows.prediction import STILL

# Share of the typical history that may be held back from networks that forecast all the same.
KEPT_SHARE = 0.125


@dataclass(frozen=True)
class Fitting:
    """What a training carries through all its phases.

    Attributes
    ----------
    open_blend, open_pool, open_mix, open_start : whether a user left the share of classical
        forecasts, their weights, how linear paths come about, and what becomes of a pretrained
        start to held-back origins.
    history : one row per epoch, as `Ensemble.history`; ``on_epoch`` is told of each.
    """

    callbacks: Sequence[pl.Callback]
    on_epoch: OnEpoch | None
    device: torch.device
    open_blend: bool = False
    open_pool: bool = False
    open_mix: bool = False
    open_start: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)

    def record(self, row: dict[str, Any]) -> None:
        """Keep a row of history, and tell it."""
        self.history.append(row)
        if self.on_epoch is not None:
            self.on_epoch(row)

    def members(
        self,
        panel: Panel,
        config: Resolved,
        phase: str,
        *,
        numbers: Sequence[int] | None = None,
        steps: int | None = None,
        watched: tuple[Panel, int] | None = None,
        begin: Sequence[ForecastNetwork] = (),
    ) -> Trained:
        """Train networks on a panel; see `train_members`."""
        return train_members(
            panel,
            config,
            self,
            phase,
            numbers=range(config.training.members) if numbers is None else numbers,
            steps=steps,
            watched=watched,
            begin=begin,
        )

    def ensemble(
        self,
        config: Resolved,
        schema: Schema,
        networks: list[ForecastNetwork],
        correction: Array | None = None,
        swing: dict[str, float] | None = None,
    ) -> Ensemble:
        """The outcome, with the history of how it came about."""
        return Ensemble(
            config=config,
            schema=schema,
            networks=networks,
            correction=correction,
            history=self.history,
            swing=swing,
        )


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
    TrainingError : nothing to learn from, a loss that is not a number, or no GPU where one is asked
        for. DataError : a panel without series, or values that are no counts for a model of counts.
        ConfigError : a device that is none.
    """
    fitting = Fitting(
        callbacks,
        on_epoch,
        pick_device(device),
        open_blend=config.model.blend is None and not config.model.counts,
        open_pool=config.model.pool is None and not config.model.counts,
        open_mix=config.training.linear_mix is None,
        open_start=config.training.start is None,
    )
    panel = _as_networks_read(panel)
    resolved = resolve(config, panel)
    _check_counts(panel, resolved)
    _say_unread(panel, resolved)
    panel = replace(panel, schema=_encoded(panel.schema, resolved))
    start = started(config, resolved, panel)
    with threads_of(resolved):
        if start is None:
            _say_unreached(panel, resolved)
            return _fit_from_nothing(fitting, panel, resolved)
        return _fit_started(fitting, panel, resolved, start)


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
    Ensemble : with the settings of `trained`, and as many networks, each of which knows every row.

    Raises
    ------
    DataError : a panel of another frequency, or origins that it does not hold.
        ConfigError, TrainingError : as `fit`.
    """
    fitting = Fitting(callbacks, on_epoch, pick_device(device))
    _check_refit(trained, panel, backs)
    config, backs = trained.config, wall_backs(panel, list(backs))
    panel = _as_networks_read(panel)
    panel = replace(panel, schema=_encoded(panel.schema, config))
    with threads_of(config):
        as_judged = panel.under(trained.schema)
        evidence = Evidence.of(trained.networks, as_judged, config, list(backs))
        correction, swing = correction_and_swing(evidence)
        # Too few errors at these origins say nothing against what earlier ones have shown.
        correction = trained.correction if correction is None else correction
        panel = _fitted(panel)
        networks = trained.networks
        if config.training.start != "shipped":
            networks = fitting.members(
                panel,
                _shorter(config),
                "final",
                numbers=range(len(trained.networks)),
                steps=steps,
                begin=_beginning(config, panel.schema),
            ).networks
    return fitting.ensemble(config, panel.schema, networks, correction, swing)


def _as_networks_read(panel: Panel) -> Panel:
    """Instants by the wall clock of their zone, each series from its first value on."""
    wall = on_wall_clock(panel)
    return (panel if wall is None else wall.panel).begun()


def _check_refit(trained: Ensemble, panel: Panel, backs: Sequence[int]) -> None:
    whole = all(isinstance(b, (int, np.integer)) and b >= 1 for b in backs)
    if not len(backs) or not whole or max(backs) >= int(panel.lengths.max(initial=0)):
        raise DataError(
            f"backs = {list(backs)}: name the origins to calibrate by, as whole numbers of rows "
            f"before each series' end, from 1 to less than the longest of "
            f"{int(panel.lengths.max(initial=0))} rows"
        )
    if not panel.freq.same_step(trained.freq):
        raise DataError(
            f"the series have freq = {panel.freq.alias}, what is trained again has "
            f"{trained.freq.alias}"
        )


def _encoded(schema: Schema, config: Resolved) -> Schema:
    if not config.model.encoding:
        return schema
    return Schema(
        covariates=tuple(c.replace(encoding=config.model.encoding) for c in schema.covariates)
    )


def _fit_started(fitting: Fitting, panel: Panel, config: Resolved, start: Resolved) -> Ensemble:
    """The pretrained start as it is, tuned, or none: what held-back origins say.

    ``config`` : resolved to train from nothing; ``start`` : to begin from the start.
    """
    open_start, asked = fitting.open_start, start.training.start
    validated = rows_to_validate(panel, config)
    rows = validated or rows_to_judge_a_start(panel, start)
    if not rows:
        return _started_unseen(fitting, panel, start)
    whole, panel = panel, _fitted(panel, panel.truncate(rows))
    past = panel.truncate(rows)
    backs = origins_within(rows, config.horizon)
    shipped = _beginning(start, panel.schema)

    def candidate(name: str, networks: list[ForecastNetwork], settings: Resolved) -> Start:
        evidence = Evidence.of(networks, panel, settings, backs)
        return Start.of(name, evidence, open_blend=fitting.open_blend, open_pool=fitting.open_pool)

    starts = []
    if open_start or asked == "shipped":
        starts.append(candidate("shipped", shipped, start))
    if asked == "tuned" or (open_start and past.rows >= TUNED_ROWS):
        tuned = fitting.members(past, _shorter(start), "validation", begin=shipped)
        starts.append(candidate("tuned", tuned.networks, start))
    if open_start and validated:
        anew = fitting.members(past, config, "validation")
        starts.append(candidate("none", anew.networks, config))
    chosen = best(starts)
    scores = {f"start_{s.name}": s.score for s in starts if np.isfinite(s.score)}
    if chosen.name == "none":
        return _fit_from_nothing(
            replace(fitting, open_blend=False, open_pool=False),
            whole,
            chosen.config,
            trained=chosen,
            scores=scores,
        )
    correction, swing = correction_and_swing(chosen.evidence)
    networks = chosen.networks
    if chosen.name == "tuned" and config.training.validation == "refit":
        panel = _fitted(whole)
        networks = fitting.members(panel, _shorter(chosen.config), "final", begin=shipped).networks
    return fitting.ensemble(chosen.config, panel.schema, networks, correction, {**swing, **scores})


def _started_unseen(fitting: Fitting, panel: Panel, start: Resolved) -> Ensemble:
    """From a start where nothing can be held back to judge it."""
    panel = _fitted(panel)
    networks = shipped = _beginning(start, panel.schema)
    if start.training.start == "tuned":
        networks = fitting.members(panel, _shorter(start), "final", begin=shipped).networks
    return fitting.ensemble(start, panel.schema, networks)


def _shorter(config: Resolved) -> Resolved:
    """To train on from a start: it reads further when it forecasts than there it needs to."""
    if config.training.start == "none":
        return config
    return config.replace(model={"steps": min(config.model.steps, TUNED_READ)})


def _beginning(config: Resolved, schema: Schema) -> list[ForecastNetwork]:
    """The pretrained networks that settings begin from; none where they train from nothing."""
    if config.training.start == "none":
        return []
    return pretrained.load(STARTS[config.season], config, schema)


def _fit_from_nothing(
    fitting: Fitting,
    panel: Panel,
    config: Resolved,
    *,
    trained: Start | None = None,
    scores: dict[str, float] | None = None,
) -> Ensemble:
    """Train from nothing.

    ``trained`` : networks made without what is held back, and judged. ``scores`` : of the starts,
    for the swing.
    """
    rows = rows_to_validate(panel, config)
    swing: dict[str, float] = {}
    correction, steps = None, None
    judged: list[ForecastNetwork] = []
    whole = panel
    if rows:
        # Covariates are standardised by what was known at the cutoff, like all else.
        panel = _fitted(panel, panel.truncate(rows))
        if trained is None:
            past = panel.truncate(rows)
            judged, steps = fitting.members(past, config, "validation", watched=(panel, rows))
            evidence = Evidence.of(judged, panel, config, origins_within(rows, config.horizon))
        else:
            evidence = trained.evidence
        evidence = _settled(fitting, evidence)
        config, judged = evidence.config, evidence.networks
        correction, swing = correction_and_swing(evidence)
    if not rows or config.training.validation == "refit":
        as_judged, panel = panel.schema, _fitted(whole)
        # A single network's forecasts swing with its start. Where little was held back from the
        # judged one, it forecasts along: an ensemble of two at no more training.
        share = rows / max(float(np.median(panel.lengths)), 1.0)
        single = config.training.members == 1 and as_judged == panel.schema
        kept = judged if single and share <= KEPT_SHARE else []
        numbers = range(len(kept), len(kept) + config.training.members)
        final = fitting.members(panel, config, "final", numbers=numbers, steps=steps)
        judged = [*kept, *final.networks]
    return fitting.ensemble(config, panel.schema, judged, correction, {**swing, **(scores or {})})


def _settled(fitting: Fitting, evidence: Evidence) -> Evidence:
    """The evidence without members that are idle, under the best classical shares."""
    config = evidence.config
    if fitting.open_mix and "solved" in (config.training.linear_mix):
        idle = idle_members(evidence)
        if idle:
            members = [m for m in range(len(evidence.networks)) if m not in idle]
            settings = {"linear_mix": (), "members": len(members)}
            evidence = evidence.only(members, config.replace(training=settings))
    return with_shares(evidence, blend=fitting.open_blend, pool=fitting.open_pool)


def _check_counts(panel: Panel, config: Resolved) -> None:
    below = np.flatnonzero(panel.y < 0)
    if config.model.counts and len(below):
        at = int(below[0])
        series = panel.ids[panel.series[at]]
        raise DataError(
            f"series {series!r} has y = {panel.y[at]:g}, but model.head = negative_binomial "
            "forecasts counts, from 0 up; choose quantiles or student_t"
        )


def _say_unread(panel: Panel, config: Resolved) -> None:
    """Warn of values that the transform cannot read: to the networks they are gaps."""
    transform = config.model.y_transform
    unread = np.flatnonzero(~np.isnan(panel.y) & np.isnan(transform.forward(panel.y)))
    if not len(unread):
        return
    at = int(unread[0])
    zeros = int((panel.y[unread] == 0.0).sum())
    below = len(unread) - zeros
    parts = [f"{n:,} values {what}" for n, what in ((zeros, "of 0"), (below, "below 0")) if n]
    later = (
        "series with values below 0 are refused when they are to be forecast"
        if below
        else "zeros are forecast by how often they come, not by the network"
    )
    warnings.warn(
        f"model.transform = {config.model.transform} cannot read {' and '.join(parts)} of "
        f"{int((~np.isnan(panel.y)).sum()):,}, the first in series "
        f"{str(panel.ids[panel.series[at]])!r}: the network is trained without them, and {later}; "
        "leave model.transform out, or set it to asinh or identity",
        UserWarning,
        stacklevel=3,
    )


def _say_unreached(panel: Panel, config: Resolved) -> None:
    """Warn of steps ahead that no series of the panel is long enough to show."""
    reached = int(panel.lengths.max(initial=0)) - 1
    if 0 < reached < config.horizon:
        warnings.warn(
            f"the longest series has {reached + 1} rows, so none shows what comes after step "
            f"{reached} of horizon = {config.horizon}: what is forecast there was learned from "
            f"nothing; give longer histories, or ask for horizon = {max(reached // 2, 1)}",
            UserWarning,
            stacklevel=3,
        )


def fitted_schema(panel: Panel) -> Schema:
    """The schema with what this panel alone says of its columns.

    Of real ones mean and deviation, of categorical ones the categories that networks are shown:
    weights of others would stay as they were drawn.
    """
    fitted = []
    blocks = {"past": panel.past, "future": panel.future, "static": panel.static}
    shown = _shown(panel)
    column = {"past": 0, "future": 0, "static": 0}
    for covariate in panel.schema.covariates:
        values = blocks[covariate.role][:, column[covariate.role]]
        column[covariate.role] += 1
        known = values[~np.isnan(values)]
        if covariate.type == "real" and len(known):
            spread, still = float(known.std()), STILL * float(np.abs(known).max())
            covariate = covariate.replace(
                mean=float(known.mean()),
                std=spread if spread > still else 0.0,
                low=float(known.min()),
                high=float(known.max()),
            )
        elif covariate.type == "categorical":
            codes = np.unique(values[shown[covariate.role]])
            kept = [covariate.categories[int(c) - 1] for c in codes[codes >= 1]]
            covariate = covariate.replace(categories=tuple(kept) or covariate.categories)
        fitted.append(covariate)
    return Schema(covariates=tuple(fitted))


def _shown(panel: Panel) -> dict[str, Array]:
    """By role, which rows (or series) of covariates are ever read in training: bool."""
    seen = ~np.isnan(panel.y)
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    last = np.full(len(panel), -1, np.int64)
    np.maximum.at(last, panel.series[seen], position[seen])
    ends = last[panel.series]
    several = np.bincount(panel.series, weights=seen, minlength=len(panel)) >= 2
    inside = several[panel.series]
    return {
        "past": inside & (position < ends),
        "future": inside & (position <= ends),
        "static": several,
    }


def _fitted(panel: Panel, to: Panel | None = None) -> Panel:
    """A panel under the schema that fits another, or itself."""
    return panel.under(fitted_schema(panel if to is None else to))
