"""Weights of a network in one of other covariates: what both know is taken over, by name.

What is new begins as if it did not exist: a covariate's inputs have weights of zero, and a category
is read as an unknown one. So the network forecasts what the old one did until it has learned more.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from forecasting.errors import TrainingError
from forecasting.networks.covariates import CovariateEncoder
from forecasting.networks.network import ForecastNetwork

Labels = list[Hashable]
ROLES = ("past", "future", "static")
# Of the input that stands for a category that is not known.
UNKNOWN = ""


@torch.no_grad()
def transfer(old: ForecastNetwork, new: ForecastNetwork) -> None:
    """Give ``new`` the weights of ``old``, whose settings are the same but for the covariates.

    Raises
    ------
    TrainingError : the covariates change the network's form, not only its inputs: the first one
        known ahead, or the last one gone.
    """
    state, columns = dict(old.state_dict()), _columns(old, new)
    for role in ROLES:
        state = _without_tables(state, role)
        _take_tables(getattr(old, role), getattr(new, role))
    own = new.state_dict()
    for name, value in own.items():
        if any(name.startswith(f"{role}.tables.") for role in ROLES):
            continue
        if name not in state:
            raise _other_form()
        weight = state.pop(name)
        if name in columns:
            value.copy_(_by_label(weight, *columns[name]))
        elif weight.shape == value.shape:
            value.copy_(weight)
        else:
            raise _other_form()
    if state:
        raise _other_form()


def _other_form() -> TrainingError:
    return TrainingError(
        "these covariates give the network another form: covariates known ahead are there for the "
        "first time, or no more; train it anew"
    )


def _columns(old: ForecastNetwork, new: ForecastNetwork) -> dict[str, tuple[Labels, Labels]]:
    """Of the weights that read covariates, by name, what each column reads: before, and now."""
    both = old, new
    inputs = tuple(_inputs(n) for n in both)
    ahead, context = tuple(_ahead(n) for n in both), tuple(_labels(n.static) for n in both)
    hidden: Labels = [("hidden", k) for k in range(old.config.model.hidden_size)]
    by_weight = {
        "decoder.ahead.weight": ahead,
        "skip_ahead.weight": ahead,
        "decoder.context.weight": tuple([*hidden, *labels] for labels in context),
        "decoder.inputs.weight": tuple([*a, *c] for a, c in zip(ahead, context, strict=True)),
    }
    first = "embedding.weight" if new.embedding is not None else None
    for name in new.state_dict():
        if name == first or (first is None and name.startswith("encoder.layers.0.weight_ih")):
            by_weight[name] = inputs
    return {name: (before, now) for name, (before, now) in by_weight.items()}


def _inputs(network: ForecastNetwork) -> Labels:
    """What each input of a recurrent step is, in the order of `ForecastNetwork.features`."""
    geometry = network.geometry
    width = geometry.window + sum(geometry.lag_widths())
    labels: Labels = [("shown", k) for k in range(width)]
    labels += [("observed", k) for k in range(geometry.window)]
    labels += [("calendar", k) for k in range(network.calendar)]
    for encoder in (network.past, network.future):
        own = _labels(encoder)
        labels += [("row", k, label) for k in range(geometry.segment) for label in own]
    return labels + _labels(network.static)


def _ahead(network: ForecastNetwork) -> Labels:
    """What is known of each step ahead, in the order of `ForecastNetwork.horizon_features`."""
    if not network.looks_ahead:
        return []
    labels = _labels(network.future)
    labels += [("amount", c.name) for c in network.schema.future if c.type == "real"]
    return labels + [("calendar", k) for k in range(network.calendar)]


def _labels(encoder: CovariateEncoder | None) -> Labels:
    """What each feature of an encoder tells."""
    labels: Labels = []
    if encoder is None:
        return labels
    for covariate in encoder.covariates:
        if covariate.type == "real":
            labels += [(covariate.name, "value"), (covariate.name, "known")]
        elif covariate.encoding == "onehot":
            labels += [(covariate.name, "is", c) for c in (UNKNOWN, *covariate.categories)]
        else:
            size = _table(encoder, covariate.name).shape[1]
            labels += [(covariate.name, "embedded", k) for k in range(size)]
    return labels


def _table(encoder: CovariateEncoder, name: str) -> Tensor:
    """The embedding [categories + 1, size] of a covariate."""
    place = [c.name for c in encoder.covariates].index(name)
    weight = encoder.tables[str(place)].weight
    assert isinstance(weight, Tensor)
    return weight


def _by_label(given: Tensor, before: Sequence[Hashable], now: Sequence[Hashable]) -> Tensor:
    """[R, new] columns picked by label; those of what is new are 0, of a new category unknown's."""
    if given.shape[1] != len(before):
        raise _other_form()
    place = {label: k for k, label in enumerate(before)}
    out = given.new_zeros(given.shape[0], len(now))
    for k, label in enumerate(now):
        at = place.get(label, place.get(_unknown(label), -1))
        if at >= 0:
            out[:, k] = given[:, at]
    return out


def _unknown(label: Hashable) -> Hashable:
    """The label of the unknown category in the place of one."""
    if isinstance(label, tuple) and len(label) == 3:
        if label[1] == "is":
            return (label[0], "is", UNKNOWN)
        if label[0] == "row":
            return ("row", label[1], _unknown(label[2]))
    return label


def _without_tables(state: dict[str, Tensor], role: str) -> dict[str, Tensor]:
    return {name: v for name, v in state.items() if not name.startswith(f"{role}.tables.")}


def _take_tables(old: CovariateEncoder | None, new: CovariateEncoder | None) -> None:
    """Rows of embeddings by category; a new one begins as the unknown one."""
    if old is None or new is None:
        return
    by_name = {c.name: c for c in old.covariates}
    for key in new.tables:
        covariate = new.covariates[int(key)]
        before = by_name.get(covariate.name)
        if before is None or before.type != "categorical" or before.encoding != "embedding":
            continue
        weight = _table(old, covariate.name)
        place = {name: code for code, name in enumerate(before.categories, 1)}
        codes = [0, *(place.get(name, 0) for name in covariate.categories)]
        _table(new, covariate.name).copy_(weight[codes])
