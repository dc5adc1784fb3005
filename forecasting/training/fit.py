"""From a panel to a trained `Ensemble`: members, validation in time order, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from forecasting import pretrained
from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.copula.dependence import Dependence
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock, wall_backs
from forecasting.ensemble import Ensemble
from forecasting.errors import ConfigError, DataError
from forecasting.evaluation.choice import Choice
from forecasting.hardware.devices import pick_device
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.hardware.threads import threads_of
from forecasting.known.occasions import kept, with_occasions
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.selection.account import account, unseen
from forecasting.selection.decider import Decider
from forecasting.selection.held_back import (
    Evidence,
    Origin,
    origins_within,
    parted,
    rows_to_judge_a_start,
    rows_to_validate,
)
from forecasting.selection.judging import correction_and_swing, rolled_widening
from forecasting.selection.starts import Start, best
from forecasting.selection.together import dependence_of
from forecasting.training.checkpoints import Checkpoints
from forecasting.training.checks import refuse_no_counts, say_unreached, say_unread
from forecasting.training.defaults import STARTS, TUNED_READ, TUNED_ROWS, resolve, started
from forecasting.training.members import Beginning, Trained, train_members
from forecasting.training.minutes import within_minutes
from forecasting.training.pace import EXPECTED, Expecting
from forecasting.training.schemas import encoded, fitted, fitted_schema

# Share of the typical history that may be held back from networks that forecast all the same.
KEPT_SHARE = 0.125


@dataclass(frozen=True)
class Fitting:
    """What a training carries through all its phases.

    Attributes
    ----------
    decider : what a user left to held-back origins; ``open_start`` : whether what becomes of a
        pretrained start, too.
    checkpoints : where unfinished members are kept, if anywhere.
    history : one row per epoch, as `Ensemble.history`; ``on_epoch`` is told of each.
    expected : seconds that its trainings were expected to take; ``on_epoch`` is told the first.
    """

    callbacks: Sequence[pl.Callback]
    on_epoch: OnEpoch | None
    device: torch.device
    checkpoints: Checkpoints | None = None
    decider: Decider = field(default_factory=Decider)
    open_start: bool = False
    history: list[dict[str, Any]] = field(default_factory=list)
    expected: list[float] = field(default_factory=list)

    def record(self, row: dict[str, Any]) -> None:
        """Keep a row of history, and tell it; how long it will take is told alone, and once."""
        if EXPECTED in row:
            if isinstance(self.on_epoch, Expecting) and not self.expected:
                self.on_epoch.expect(row[EXPECTED])
            self.expected.append(row[EXPECTED])
            return
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
        begin: Beginning | None = None,
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
        dependence: Dependence | None = None,
        choice: Choice | None = None,
    ) -> Ensemble:
        """The outcome, with the history of how it came about."""
        return Ensemble(
            config=config,
            schema=schema,
            networks=networks,
            correction=correction,
            dependence=dependence,
            history=self.history,
            choice=choice,
        )


def fit(
    panel: Panel,
    config: ForecasterConfig,
    *,
    callbacks: Sequence[pl.Callback] = (),
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
    checkpoints: str | Path | None = None,
) -> Ensemble:
    """Train every member on the panel's history.

    Parameters
    ----------
    config : settings; what is ``None`` is chosen from the panel (`defaults.resolve`).
    callbacks : further Lightning callbacks, handed to every member's Trainer.
    on_epoch : called with each row of ``Forecaster.history`` as it is made.
    device : ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
    checkpoints : a folder for members under way; the same call goes on from what lies there, and
        ends with the weights of one that was never stopped. Delete it when the outcome is saved.
        What callbacks of your own hold is not kept.

    Returns
    -------
    Ensemble : calibrated, with ``history`` and ``choice`` filled.

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
        Checkpoints.within(checkpoints),
        Decider(
            blend=config.model.blend is None and not config.model.counts,
            pool=config.model.pool is None and not config.model.counts,
            members=config.training.linear_mix is None,
        ),
        open_start=config.training.start is None,
    )
    if config.training.minutes is not None and config.training.max_steps is not None:
        raise ConfigError(
            "training.minutes: training.max_steps says already how long to train; give one of them"
        )
    if config.calendar is not None:
        config = config.replace(occasions=kept(config.calendar, panel))
        panel = with_occasions(panel, config.occasions, config.horizon)
    panel = as_networks_read(panel)
    resolved = resolve(config, panel)
    refuse_no_counts(panel, resolved)
    say_unread(panel, resolved)
    panel = replace(panel, schema=encoded(panel.schema, resolved))
    start = started(config, resolved, panel)
    with threads_of(resolved):
        resolved = within_minutes(panel, resolved, fitting.device)
        if start is None:
            say_unreached(panel, resolved)
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
    checkpoints: str | Path | None = None,
) -> Ensemble:
    """Train again, on the whole panel, what was trained without the panel's last rows.

    Parameters
    ----------
    trained : on the panel's rows up to the earliest of the origins in `backs`.
    backs : origins it has not seen beyond, as rows before each series' end. Its errors there
        give the swing of the members and the correction of the quantiles.
    steps : training steps of each member; default: what the settings say.
    checkpoints : as in `fit`.

    Returns
    -------
    Ensemble : with the settings of `trained`, and as many networks, each of which knows every row.

    Raises
    ------
    DataError : a panel of another frequency, or origins that it does not hold.
        ConfigError, TrainingError : as `fit`.
    """
    fitting = Fitting(callbacks, on_epoch, pick_device(device), Checkpoints.within(checkpoints))
    _check_refit(trained, panel, backs)
    config, backs = trained.config, wall_backs(panel, list(backs))
    panel = as_networks_read(with_occasions(panel, config.occasions, config.horizon))
    panel = replace(panel, schema=encoded(panel.schema, config))
    with threads_of(config):
        as_judged = panel.under(trained.reads)
        evidence = Evidence.of(trained.networks, Origin.each(as_judged, config, backs), config)
        # Too few errors at these origins say nothing against what earlier ones have shown.
        correction, swing = correction_and_swing(evidence, as_judged, trained.correction)
        learned = dependence_of(evidence, as_judged, correction, max(backs))
        dependence = trained.dependence if learned is None else learned
        panel = fitted(panel)
        networks = trained.networks
        if config.training.start != "shipped":
            networks = fitting.members(
                panel,
                _shorter(config),
                "final",
                numbers=range(len(trained.networks)),
                steps=steps,
                begin=Beginning(_beginning(config, panel.schema)),
            ).networks
    choice = replace(trained.choice, swing=swing)
    return fitting.ensemble(config, panel.schema, networks, correction, dependence, choice)


def as_networks_read(panel: Panel) -> Panel:
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


def _parted_as_known(panel: Panel, rows: int) -> tuple[Panel, Panel]:
    """What is judged by its last ``rows`` rows, and what was known before: covariates as then."""
    judging, past = parted(panel, rows)
    schema = fitted_schema(past)
    return judging.under(schema), past.under(schema)


def _fit_started(fitting: Fitting, panel: Panel, config: Resolved, start: Resolved) -> Ensemble:
    """The pretrained start as it is, tuned, or none: what held-back origins say.

    ``config`` : resolved to train from nothing; ``start`` : to begin from the start.
    """
    open_start, kind = fitting.open_start, start.training.start
    validated = rows_to_validate(panel, config)
    rows = validated or rows_to_judge_a_start(panel, start)
    if not rows:
        return _started_unseen(fitting, panel, start)
    whole = panel
    panel, past = _parted_as_known(panel, rows)
    # Of pretrained members none has a linear path that was solved.
    decider = replace(fitting.decider, members=False)
    # Read once for all starts, and so are the classical forecasts from there.
    origins = Origin.each(panel, start, origins_within(rows, config.horizon))
    shipped = _beginning(start, panel.schema)

    def candidate(name: str, networks: list[ForecastNetwork], settings: Resolved) -> Start:
        anew = fitting.decider if name == "none" else decider
        return Start.of(name, Evidence.of(networks, origins, settings), anew)

    starts = []
    if open_start or kind == "shipped":
        starts.append(candidate("shipped", shipped, start))
    if kind == "tuned" or (open_start and past.rows >= TUNED_ROWS):
        tuned = fitting.members(past, _shorter(start), "validation", begin=Beginning(shipped))
        starts.append(candidate("tuned", tuned.networks, start))
    if open_start and validated:
        anew = fitting.members(past, config, "validation")
        starts.append(candidate("none", anew.networks, config))
    chosen = best(starts)
    scores = {f"start_{s.name}": s.score for s in starts if np.isfinite(s.score)}
    if chosen.name == "none":
        return _fit_from_nothing(
            fitting,
            whole,
            config,
            trained=chosen,
            scores=scores,
            starts=starts,
        )
    errors = chosen.decided.unseen_errors()
    correction, swing = correction_and_swing(chosen.evidence, panel, errors=errors)
    dependence = dependence_of(chosen.evidence, panel, correction, rows)
    networks = chosen.networks
    if chosen.name == "tuned" and config.training.validation == "refit":
        panel = fitted(whole)
        begin = Beginning(shipped)
        networks = fitting.members(panel, _shorter(chosen.config), "final", begin=begin).networks
    choice = account(chosen.evidence, starts=starts, begun=chosen.name)
    choice = replace(choice, swing={**swing, **scores})
    return fitting.ensemble(chosen.config, panel.schema, networks, correction, dependence, choice)


def _started_unseen(fitting: Fitting, panel: Panel, start: Resolved) -> Ensemble:
    """From a start where nothing can be held back to judge it."""
    panel = fitted(panel)
    networks = shipped = _beginning(start, panel.schema)
    if start.training.start == "tuned":
        begin = Beginning(shipped)
        networks = fitting.members(panel, _shorter(start), "final", begin=begin).networks
    correction = rolled_widening(networks, panel, start)
    choice = unseen(_nothing_held_back(start))
    return fitting.ensemble(start, panel.schema, networks, correction, choice=choice)


def _nothing_held_back(config: Resolved) -> str:
    if config.training.validation == "none":
        return (
            "training.validation = none holds nothing back to choose by: rules for such panels do"
        )
    return (
        "most histories are too short to hold a horizon back and to learn from what is left: "
        f"rules for such panels choose, beginning {config.training.start!r} and "
        f"{config.model.blend:.0%} of the median from classical forecasts"
    )


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
    starts: Sequence[Start] = (),
) -> Ensemble:
    """Train from nothing.

    ``trained`` : networks made without what is held back, and judged, the best of ``starts``.
    ``scores`` : of those, for the swing.
    """
    rows = rows_to_validate(panel, config)
    swing: dict[str, float] = {}
    correction, dependence, steps = None, None, None
    judged: list[ForecastNetwork] = []
    whole = panel
    choice = unseen(_nothing_held_back(config))
    if rows:
        # Covariates are standardised by what was known at the cutoff, like all else.
        panel, past = _parted_as_known(panel, rows)
        if trained is None:
            judged, steps = fitting.members(past, config, "validation", watched=(panel, rows))
            origins = Origin.each(panel, config, origins_within(rows, config.horizon))
            decided = fitting.decider.decide(Evidence.of(judged, origins, config))
        else:
            decided = trained.decided
        evidence = decided.settled
        choice = account(evidence, before=decided.before, starts=starts, begun="none")
        config, judged = evidence.config, evidence.networks
        errors = decided.unseen_errors()
        correction, swing = correction_and_swing(evidence, panel, errors=errors)
        dependence = dependence_of(evidence, panel, correction, rows)
    if not rows or config.training.validation == "refit":
        as_judged, panel = panel.schema, fitted(whole)
        # A single network's forecasts swing with its start. Where little was held back from the
        # judged one, it forecasts along: an ensemble of two at no more training.
        share = rows / max(float(np.median(panel.lengths)), 1.0)
        single = config.training.members == 1 and as_judged == panel.schema
        reused = judged if single and share <= KEPT_SHARE else []
        numbers = range(len(reused), len(reused) + config.training.members)
        final = fitting.members(panel, config, "final", numbers=numbers, steps=steps)
        judged = [*reused, *final.networks]
    if not rows:
        correction = rolled_widening(judged, panel, config)
    choice = replace(choice, swing={**swing, **(scores or {})})
    return fitting.ensemble(config, panel.schema, judged, correction, dependence, choice)
