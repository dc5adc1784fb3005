"""Which series of a panel a model can forecast, and what is wrong with each of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.encoding import unseen
from forecasting.data.panel import Panel
from forecasting.data.strides import said, strides
from forecasting.errors import DataError, SeriesProblem
from forecasting.prediction.zeros import stays_zero, takes_zeros
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import STILL


def whole_steps(horizon: Any) -> int:
    """A horizon as a number of steps; `DataError` where it is none, such as 2.7 or "3"."""
    if isinstance(horizon, bool) or not isinstance(horizon, int | float | np.number):
        raise DataError(f"horizon = {horizon!r} must be a whole number of steps")
    if not float(horizon).is_integer():
        raise DataError(f"horizon = {horizon!r} must be a whole number of steps")
    return int(horizon)


def usable(
    panel: Panel, window: Panel, config: Resolved, schema: Schema, steps: int
) -> tuple[Array, list[SeriesProblem]]:
    """Positions of the series that can be forecast, and the problems of the others.

    Parameters
    ----------
    window : the rows of each series that a forecast looks at. steps : asked for, at most the
        trained horizon.
    """
    silent, problems = _without_values(window, config)
    below, more = _outside_the_domain(window, config)
    problems += [p for i, p in more if not silent[i]]
    other, sparse = _of_another_step(panel, config)
    problems += [p for i, p in sparse if not silent[i]]
    good = ~silent & ~below & ~other
    if schema.future:
        unknown = [config.ahead.get(c.name) == "unknown" for c in schema.future]
        short, lacking = _without_what_is_ahead(panel, schema, steps, np.array(unknown))
        problems += [p for i, p in lacking if not silent[i]]
        good &= ~short
    return np.flatnonzero(good), problems


def _without_values(window: Panel, config: Resolved) -> tuple[Array, list[SeriesProblem]]:
    """[N] whether a series shows nothing to go by in its window."""
    mask = ~np.isnan(config.model.y_transform.forward(window.y))
    # reduceat would misread empty series; bincount counts them as nothing observed.
    silent = np.bincount(window.series, weights=mask, minlength=len(window)) == 0
    detail = f"no value is observed in the last {Geometry.of(config).rows} steps"
    if takes_zeros(config):
        silent &= ~stays_zero(window)
        detail += " that is above 0, as this model needs to say how much"
    return silent, [
        SeriesProblem(str(window.ids[i]), "no_observations", detail, {"column": "y"})
        for i in np.flatnonzero(silent)
    ]


def _of_another_step(
    panel: Panel, config: Resolved
) -> tuple[Array, list[tuple[int, SeriesProblem]]]:
    """[N] whether a series keeps to a longer step than the model's, as none did in training."""
    stride = strides(panel)
    other = (stride != 1) & ~np.isin(stride, config.model.strides)
    alias = panel.freq.alias
    problems = []
    for i in np.flatnonzero(other):
        seen = np.flatnonzero(~np.isnan(panel.y[panel.offsets[i] : panel.offsets[i + 1]]))[:2]
        stamps = [str(panel.freq.shift(panel.start[i : i + 1], step)[0]) for step in seen]
        detail = (
            f"its values stand {said(int(stride[i]), panel)} apart ({stamps[0]}, {stamps[1]}): "
            f"this model forecasts steps of {alias}, and no series in its training was so; give a "
            f"value for each {alias}, or train a model of the longer step"
        )
        problem = SeriesProblem(str(panel.ids[i]), "other_step", detail, {"column": "y"})
        problems.append((int(i), problem))
    return other, problems


def _outside_the_domain(
    window: Panel, config: Resolved
) -> tuple[Array, list[tuple[int, SeriesProblem]]]:
    """[N] whether a series holds values that its model cannot read; they are no gaps."""
    model = config.model
    bad = unreadable(window.y, config)
    code, why = (
        "outside_domain",
        (
            f"this model reads y with transform = {model.transform}: where it stands for a value "
            "that is missing leave it empty, else train with model.transform = asinh or identity "
            "to forecast such series"
        ),
    )
    if model.counts:
        code, why = (
            "negative_count",
            (
                "this model forecasts counts, from 0 up: where it stands for a value that is "
                "missing leave it empty"
            ),
        )
    how_many = np.bincount(window.series, weights=bad, minlength=len(window)).astype(np.int64)
    first = np.zeros(len(window), np.int64)
    rows = np.flatnonzero(bad)[::-1]
    first[window.series[rows]] = rows
    return how_many > 0, [
        (
            int(i),
            SeriesProblem(
                str(window.ids[i]),
                code,
                f"{how_many[i]} of its last {window.lengths[i]} values cannot be read, the first "
                f"is {window.y[first[i]]:g}; {why}",
                {"column": "y"},
            ),
        )
        for i in np.flatnonzero(how_many)
    ]


def unreadable(y: Array, config: Resolved) -> Array:
    """[T] which known values a model cannot read, and no gaps: below 0 under logs, or of counts."""
    model = config.model
    if model.counts:
        with np.errstate(invalid="ignore"):
            return np.asarray(y < 0.0)
    bad = ~np.isnan(y) & np.isnan(model.y_transform.forward(y))
    return np.asarray(bad & (y != 0.0) if takes_zeros(config) else bad)


def _without_what_is_ahead(
    panel: Panel, schema: Schema, steps: int, unknown: Array
) -> tuple[Array, list[tuple[int, SeriesProblem]]]:
    """[N] whether known-future covariates are missing for some of the steps.

    ``unknown`` : [F] those that may be.
    """
    ahead = np.full((len(panel), steps, len(schema.future)), np.nan)
    if panel.horizon is not None:
        horizon = panel.horizon[:, :steps]
        ahead[:, : horizon.shape[1]] = horizon
    missing = np.isnan(ahead) & ~unknown
    short = missing.any(axis=(1, 2))
    problems = []
    for i in np.flatnonzero(short):
        step, column = (int(v[0]) for v in np.nonzero(missing[i]))
        name = schema.future[column].name
        detail = f"known-future covariate {name!r} is not given for step {step + 1} of {steps}"
        where = {"column": name, "step": step + 1}
        problems.append(
            (int(i), SeriesProblem(str(panel.ids[i]), "missing_future_covariate", detail, where))
        )
    return short, problems


def unknown_categories(panel: Panel, schema: Schema) -> list[str]:
    """What is to be said of categories of a panel that another schema does not know."""
    if panel.schema is schema:
        return []
    by_name, notes = {c.name: c for c in schema.covariates}, []
    for own, values in _columns(panel):
        covariate = by_name.get(own.name, own)
        if own.categories == covariate.categories:
            continue
        codes = np.unique(values)
        held = [own.categories[int(code) - 1] for code in codes[codes >= 1]]
        notes += [note] if (note := unseen(covariate, held)) else []
    return notes


def unfamiliar(panel: Panel) -> list[str]:
    """What is to be said of real covariates that leave what training saw of them.

    ``panel`` : under the schema of the training.
    """
    notes = []
    for covariate, values in _columns(panel):
        if covariate.type != "real":
            continue
        off = beyond_training(values, covariate)
        if not off.any():
            continue
        example = f"{values[off][0]:g}"
        if _never_moved(covariate):
            notes.append(
                f"covariate {covariate.name!r} was {covariate.mean:g} in all of the training "
                f"data and is now {example}: nothing was learned of its moves, so the "
                "forecast does not heed them; train again on rows where it moves"
            )
        else:
            notes.append(
                f"covariate {covariate.name!r} lay within {covariate.low:g} to "
                f"{covariate.high:g} in training and is now {example}: so far outside nothing "
                "was learned of it; check its unit, or train again on rows like these"
            )
    return notes


def _columns(panel: Panel) -> Iterator[tuple[Covariate, Array]]:
    """Each covariate of a panel with all its values, those ahead too."""
    blocks = {"past": [panel.past], "future": [panel.future], "static": [panel.static]}
    if panel.horizon is not None:
        blocks["future"].append(panel.horizon)
    for role, parts in blocks.items():
        for j, covariate in enumerate(panel.schema.role(role)):
            yield covariate, np.concatenate([part[..., j].ravel() for part in parts])


def beyond_training(values: Array, covariate: Covariate) -> Array:
    """[K] bool: which values of a real covariate lie far beyond those that training saw.

    Beyond the range there by more than its width; where it never moved there, any move counts.
    """
    if _never_moved(covariate):
        # Room for the rounding of a mean of equal values.
        room = 1e3 * STILL * abs(covariate.mean)
        return np.asarray(np.abs(values - covariate.mean) > room)
    if covariate.low is None or covariate.high is None:
        return np.zeros(len(values), bool)
    width = covariate.high - covariate.low
    return np.asarray((values < covariate.low - width) | (values > covariate.high + width))


def _never_moved(covariate: Covariate) -> bool:
    return covariate.std <= STILL * abs(covariate.mean)
