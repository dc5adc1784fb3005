"""From a trained `Ensemble` to one that knows new rows too: a short training from its weights.

What is new in the panel is taken in: series need nothing, categories and covariates get weights
that begin as if they did not exist (`forecasting.networks.transfer`). What asks for another network
is refused, with the reason: then it is trained anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from forecasting.arrays import Array
from forecasting.data.mapped import least
from forecasting.data.panel import Panel
from forecasting.ensemble import Ensemble
from forecasting.errors import StartAnewError, TrainingError
from forecasting.hardware.devices import pick_device
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.hardware.threads import threads_of
from forecasting.hardware.torch_state import own_randomness
from forecasting.known.occasions import with_occasions
from forecasting.networks import ForecastNetwork
from forecasting.networks.transfer import transfer
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from forecasting.selection.held_back import Evidence, Origin, origins_within
from forecasting.selection.judging import correction_and_swing
from forecasting.training.checks import refuse_no_counts, say_unread
from forecasting.training.defaults import strides_of
from forecasting.training.fit import Fitting, as_networks_read
from forecasting.training.members import Beginning
from forecasting.training.schemas import encoded, fitted_schema

# Steps of the optimiser, as a share of those of a training from nothing; and at least so many.
STEPS_SHARE = 0.35
LEAST_STEPS = 40
# Their rate, as a share of the settings'.
RATE_SHARE = 0.4
# Horizons that the recent rows, in which half of the windows end, hold at least: the same few
# windows again and again teach what is theirs alone.
RECENT = 2
# Horizons that have come since, at most, by whose errors the intervals are corrected.
MOST_ORIGINS = 8


class CarriedOn(NamedTuple):
    """What went on, and what there is to say of it, a line each."""

    ensemble: Ensemble
    notes: tuple[str, ...]


def carry_on(
    trained: Ensemble,
    panel: Panel,
    *,
    unseen: int,
    steps: int | None = None,
    on_epoch: OnEpoch | None = None,
    device: str = "auto",
) -> CarriedOn:
    """Train on, from the weights of ``trained``, on new rows and old ones.

    Parameters
    ----------
    panel : all rows there are now. unseen : rows at its end that ``trained`` has not seen; 0 where
        that is not known. Half of the windows end among them, the others anywhere; and by its
        errors on them the intervals are corrected, where they hold a horizon.
    steps : of the optimiser; default: a share of those of a training from nothing.

    Returns
    -------
    CarriedOn : an ensemble with the settings of ``trained`` and as many networks.

    Raises
    ------
    StartAnewError : the panel asks for another network, with the reason.
        DataError, ConfigError, TrainingError : as `fit`.
    """
    fitting = Fitting((), on_epoch, pick_device(device))
    days = trained.config.occasions
    panel = as_networks_read(with_occasions(panel, days, trained.config.horizon))
    _refuse_another(trained, panel)
    refuse_no_counts(panel, trained.config)
    say_unread(panel, trained.config)
    panel = replace(panel, schema=encoded(panel.schema, trained.config))
    schema, notes = merged(trained.reads, panel)
    config = _settings(trained, panel)
    networks = _networks(trained, config, schema)
    panel = panel.under(schema)
    unseen = max(0, min(unseen, int(panel.lengths.max()) - 1))
    with threads_of(config):
        correction, swing = _errors_since(trained, networks, panel, config, unseen)
        if config.training.start != "shipped":
            shorter = config.replace(
                training={"learning_rate": RATE_SHARE * config.training.learning_rate}
            )
            recent = max(unseen, RECENT * config.horizon) if unseen else 0
            begin = Beginning(networks, share=1.0, carried=True, recent=recent)
            default_steps = max(int(STEPS_SHARE * config.training.max_steps), LEAST_STEPS)
            networks = fitting.members(
                panel,
                shorter,
                "carried on",
                numbers=range(len(networks)),
                steps=steps or default_steps,
                begin=begin,
            ).networks
    # How errors go together over steps and series is no matter of a few new rows.
    together = trained.dependence
    choice = trained.choice.because(["its networks were carried on with rows that came since"])
    choice = replace(choice, swing=swing)
    ensemble = fitting.ensemble(config, schema, networks, correction, together, choice)
    return CarriedOn(ensemble, notes)


def merged(known: Schema, panel: Panel) -> tuple[Schema, tuple[str, ...]]:
    """The covariates of a panel as networks that know others read them, and what is new in them.

    What both have keeps its mean, deviation and codes, so that weights mean what they did; new
    categories stand behind the known ones.

    Raises
    ------
    StartAnewError : a covariate that is now of another role or type.
    """
    before, schema = {c.name: c for c in known.covariates}, fitted_schema(panel)
    covariates, notes = [], []
    for own in schema.covariates:
        was = before.pop(own.name, None)
        if was is None:
            notes.append(f"the {own.role} covariate {own.name!r} is new")
            covariates.append(own)
        elif (was.role, was.type) != (own.role, own.type):
            raise StartAnewError(
                f"covariate {own.name!r} is {own.role} and {own.type} now, and was {was.role} "
                f"and {was.type}"
            )
        else:
            more = [name for name in own.categories if name not in was.categories]
            if more and own.type == "categorical":
                listed = ", ".join(map(repr, more[:3])) + (", …" if len(more) > 3 else "")
                notes.append(f"covariate {own.name!r} has new categories: {listed}")
            covariates.append(_widened(was, own, more))
    notes += [f"the {was.role} covariate {was.name!r} is gone" for was in before.values()]
    return Schema(covariates=tuple(covariates)), tuple(notes)


def _widened(was: Covariate, own: Covariate, more: list[str]) -> Covariate:
    """A covariate as it was, with the range and the categories that it has now too."""
    if own.type == "categorical":
        return was.replace(categories=(*was.categories, *more))
    if was.std == 0.0 and own.std > 0.0:
        # It never moved, and has no weights that mean anything.
        return own
    if was.low is None or was.high is None or own.low is None or own.high is None:
        return was
    return was.replace(low=min(was.low, own.low), high=max(was.high, own.high))


def _refuse_another(trained: Ensemble, panel: Panel) -> None:
    config = trained.config
    if not panel.freq.same_step(trained.freq):
        raise StartAnewError(
            f"the series have freq = {panel.freq.alias} now, and had {trained.freq.alias}"
        )
    values = panel.y[~np.isnan(panel.y)]
    unread = np.isnan(config.model.y_transform.forward(values))
    if unread.any():
        raise StartAnewError(
            f"{int(unread.sum()):,} values, such as {values[unread][0]:g}, cannot be read with "
            f"transform = {config.model.transform}"
        )


def _settings(trained: Ensemble, panel: Panel) -> Resolved:
    """The settings as they were, but for what only says what values there are."""
    config = trained.config
    model = config.model
    longer = sorted({*model.strides, *strides_of(panel)})
    width = getattr(trained.networks[0].decoder, "context", None)
    size = width.out_features if isinstance(width, torch.nn.Linear) else model.decoder_size
    return config.replace(
        model={
            "nonnegative": model.nonnegative and not least(panel.y) < 0.0,
            "strides": tuple(longer),
            # By rule the width goes by the number of covariates.
            "decoder_size": size,
        }
    )


def _networks(trained: Ensemble, config: Resolved, schema: Schema) -> list[ForecastNetwork]:
    """The networks in the form that the covariates of ``schema`` ask for."""
    if _form(schema) == _form(trained.reads):
        return trained.networks
    networks = []
    for old in trained.networks:
        with own_randomness():
            torch.manual_seed(config.training.seed)
            member = config.replace(model={"cell": old.config.model.cell})
            new = ForecastNetwork(member, schema, old.calendar)
        try:
            transfer(old, new)
        except TrainingError as error:
            raise StartAnewError(str(error)) from None
        networks.append(new.eval().requires_grad_(False))
    return networks


def _form(schema: Schema) -> list[tuple[object, ...]]:
    return [(c.name, c.role, c.type, c.encoding, c.categories) for c in schema.covariates]


def _errors_since(
    trained: Ensemble,
    networks: list[ForecastNetwork],
    panel: Panel,
    config: Resolved,
    unseen: int,
) -> tuple[Array | None, dict[str, float]]:
    """Correction and swing by what came since; those that were known where that is too little."""
    rows = min(unseen, MOST_ORIGINS * config.horizon)
    backs = [b for b in origins_within(rows, config.horizon) if (panel.lengths > b).any()]
    if not backs:
        return trained.correction, trained.swing
    evidence = Evidence.of(networks, Origin.each(panel, config, backs), config)
    correction, swing = correction_and_swing(evidence, panel, trained.correction)
    return correction, swing or trained.swing
