"""The end of each series as the arrays a network reads. NumPy only: the service runs it too."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.config import Covariate
from forecasting.data.calendar import calendar_features, calendar_names, phase
from forecasting.data.panel import Panel
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch
from forecasting.windows.conditioning import condition
from forecasting.windows.geometry import Geometry

# Share of a column's size below which its deviation is rounding: the column stands still.
STILL = 1e-9


# Deviations from its mean beyond which a real column counts as no further away.
FURTHEST = 10.0


def standardise(values: Array, covariates: tuple[Covariate, ...]) -> tuple[Array, Array]:
    """Real columns of [..., C] standardised by the schema, categorical ones left as codes.

    Returns
    -------
    values, mask : float32, same shape; missing values are 0 with mask 0 (a missing category is
        code 0, a category like any other, with mask 1). A column that never moved in training is 0
        whatever it does now: nothing was learned of it.
    """
    mean = np.array([c.mean if c.type == "real" else 0.0 for c in covariates])
    std = np.array([c.std if c.type == "real" else 1.0 for c in covariates])
    categorical = np.array([c.type == "categorical" for c in covariates], dtype=bool)
    moved = std > STILL * np.abs(mean)
    known = ~np.isnan(values)
    out = np.where(known & moved, (values - mean) / np.where(moved, std, 1.0), 0.0)
    # A column that moved once in training is no lever: beyond what was seen, further is as far.
    out = np.where(categorical, out, np.clip(out, -FURTHEST, FURTHEST))
    return out.astype(np.float32), (known | categorical).astype(np.float32)


def takes_centre(config: Resolved) -> bool:
    """Whether y is centred for float32: not where zero means something (counts)."""
    return not config.model.counts


def takes_unit(config: Resolved) -> bool:
    """Whether y is divided for float32: not where its unit means something (logs undivided)."""
    return config.model.spread != "none" and not config.model.counts


def assemble(panel: Panel, config: Resolved, steps: int) -> tuple[Batch[Array], Array, Array]:
    """The last ``steps`` recurrent steps of every series of a panel.

    Returns
    -------
    batch : with R = geometry.length(steps), what of `Batch` a network reads and undoes.
    centre, unit : [N] float64, to undo the conditioning.
    """
    geometry = Geometry.of(config)
    rows, horizon, count = geometry.length(steps), geometry.horizon, len(panel)
    window = panel.tail(rows)
    lengths = window.lengths
    t = config.model.y_transform.forward(window.y)
    known = ~np.isnan(t)
    series = window.series
    centre, unit = condition(
        t,
        known,
        series,
        count,
        centred=takes_centre(config),
        scaled=takes_unit(config),
        usual=config.model.usual_spread,
    )
    z = np.where(known, (t - centre[series]) / unit[series], 0.0)
    column = np.arange(window.rows) - window.offsets[series] + (rows - lengths)[series]
    y = np.zeros((count, rows), np.float32)
    mask = np.zeros((count, rows), np.float32)
    y[series, column] = z
    mask[series, column] = known
    batch: Batch[Array] = {"y": y, "mask": mask}
    batch["centre"], batch["unit"] = centre.astype(np.float32), unit.astype(np.float32)
    first = panel.lengths - rows
    if config.model.calendar and calendar_names(panel.freq):
        batch["time"] = _calendar(panel, first, rows + horizon)
    if config.model.cycle:
        at_start = phase(panel.start, panel.freq, config.model.cycle, panel.tz)
        batch["phase"] = (at_start + first) % config.model.cycle
    if panel.schema.past:
        block = np.full((count, rows, panel.past.shape[1]), np.nan)
        block[series, column] = window.past
        _blank_codes(block, panel.schema.past)
        batch["past"], batch["past_mask"] = standardise(block, panel.schema.past)
    if panel.schema.future:
        block = np.full((count, rows + horizon, panel.future.shape[1]), np.nan)
        block[series, column] = window.future
        if panel.horizon is not None:
            ahead = panel.horizon[:, :horizon]
            block[:, rows : rows + ahead.shape[1]] = ahead
        _blank_codes(block, panel.schema.future)
        batch["future"], batch["future_mask"] = standardise(block, panel.schema.future)
    if panel.schema.static:
        batch["static"], batch["static_mask"] = standardise(panel.static, panel.schema.static)
    return batch, centre, unit


def _calendar(panel: Panel, first: Array, length: int) -> Array:
    """[N, length, C] calendar features from step ``first`` [N] of each series on.

    Series that end together share their stamps: the features of each such set are made once.
    """
    if len(panel) == 1:
        stamps = panel.freq.stamps(panel.start, first, length)
        return calendar_features(stamps, panel.freq, panel.tz)
    spans = np.stack([panel.start.astype(np.int64), first], axis=1)
    _, chosen, of_series = np.unique(spans, axis=0, return_index=True, return_inverse=True)
    stamps = panel.freq.stamps(panel.start[chosen], first[chosen], length)
    return np.asarray(calendar_features(stamps, panel.freq, panel.tz)[of_series.reshape(-1)])


def _blank_codes(block: Array, covariates: tuple[Covariate, ...]) -> None:
    """Before a series begins its categories are code 0, as they are when missing."""
    for j, covariate in enumerate(covariates):
        if covariate.type == "categorical":
            block[..., j] = np.nan_to_num(block[..., j])
