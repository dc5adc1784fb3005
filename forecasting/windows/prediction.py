"""The end of each series as the arrays a network reads. NumPy only: the service runs it too."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency, calendar_features, calendar_names, phase
from forecasting.data.panel import Panel
from forecasting.resolved import Resolved
from forecasting.schema import Covariate
from forecasting.windows.batch import Batch
from forecasting.windows.conditioning import condition_rows
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


def assemble(
    panel: Panel, config: Resolved, steps: int, geometry: Geometry | None = None
) -> tuple[Batch[Array], Array, Array]:
    """The last ``steps`` recurrent steps of every series of a panel.

    ``geometry`` : that of the settings, where it is known already.

    Returns
    -------
    batch : with R = geometry.length(steps), what of `Batch` a network reads and undoes.
    centre, unit : [N] float64, to undo the conditioning.
    """
    geometry = geometry or Geometry.of(config)
    rows, horizon = geometry.length(steps), geometry.horizon
    first = panel.lengths - rows
    where = None if len(panel) and first.min() >= 0 and _same(first) else _Places.of(panel, rows)
    t = config.model.y_transform.forward(_ends(panel.y, len(panel), rows, where))
    known = ~np.isnan(t)
    whole = bool(known.all())
    mask = np.ones(t.shape, np.float32) if whole else known.astype(np.float32)
    z, centre, unit = condition_rows(
        t,
        None if whole else known,
        centred=takes_centre(config),
        scaled=takes_unit(config),
        usual=config.model.usual_spread,
    )
    batch: Batch[Array] = {"y": z.astype(np.float32), "mask": mask}
    batch["centre"], batch["unit"] = centre.astype(np.float32), unit.astype(np.float32)
    if config.model.calendar and calendar_names(panel.freq):
        batch["time"] = _calendar(panel, first, rows + horizon)
    if config.model.cycle:
        at_start = phase(panel.start, panel.freq, config.model.cycle, panel.tz)
        batch["phase"] = (at_start + first) % config.model.cycle
    if panel.schema.past:
        block = _ends(panel.past, len(panel), rows, where)
        batch["past"], batch["past_mask"] = standardise(
            _without_blanks(block, panel.schema.past), panel.schema.past
        )
    if panel.schema.future:
        block = np.full((len(panel), rows + horizon, panel.future.shape[1]), np.nan)
        block[:, :rows] = _ends(panel.future, len(panel), rows, where)
        if panel.horizon is not None:
            ahead = panel.horizon[:, :horizon]
            block[:, rows : rows + ahead.shape[1]] = ahead
        batch["future"], batch["future_mask"] = standardise(
            _without_blanks(block, panel.schema.future), panel.schema.future
        )
    if panel.schema.static:
        batch["static"], batch["static_mask"] = standardise(panel.static, panel.schema.static)
    return batch, centre, unit


class _Places(NamedTuple):
    """[N, R] rows of the panel that windows show, and where they show none: before a series."""

    row: Array
    before: Array | None

    @classmethod
    def of(cls, panel: Panel, rows: int) -> _Places:
        row = (panel.offsets[1:] - rows)[:, None] + np.arange(rows)
        before = row < panel.offsets[:-1, None]
        if not before.any():
            return cls(row, None)
        return cls(np.maximum(row, np.minimum(panel.offsets[:-1, None], panel.rows - 1)), before)


def _ends(values: Array, count: int, rows: int, where: _Places | None) -> Array:
    """[N, R, ...] the last rows of flat values, NaN before a series begins.

    ``where`` : None for series of one length, all of ``rows`` or more: a view.
    """
    if where is None:
        return values.reshape(count, -1, *values.shape[1:])[:, -rows:]
    if not len(values):
        return np.full((count, rows, *values.shape[1:]), np.nan)
    out = values[where.row]
    if where.before is not None:
        out[where.before] = np.nan
    return np.asarray(out)


def _same(values: Array) -> bool:
    return len(values) == 1 or bool((values == values[0]).all())


def _calendar(panel: Panel, first: Array, length: int) -> Array:
    """[N, length, C] calendar features from step ``first`` [N] of each series on.

    Windows that begin together share their stamps: the features of each such set are made once,
    and kept for the next forecast.
    """
    begin = panel.freq.shift(panel.start, first)
    if panel.freq.unit == "month":
        # All that is said of such a stamp is its month.
        begin = begin.astype("datetime64[M]").astype("datetime64[us]")
    if _same(begin):
        own = _features(panel.freq, panel.tz, int(begin[0].astype(np.int64)), length)
        return np.repeat(own[None], len(panel), axis=0)
    begin, of_series = np.unique(begin, return_inverse=True)
    stamps = panel.freq.stamps(begin, 0, length)
    return np.asarray(calendar_features(stamps, panel.freq, panel.tz)[of_series.reshape(-1)])


@lru_cache(maxsize=32)
def _features(freq: Frequency, tz: str | None, begin: int, length: int) -> Array:
    """[length, C] of the window that begins at a stamp, in microseconds."""
    stamps = freq.stamps(np.array([begin]).astype("datetime64[us]"), 0, length)
    features = calendar_features(stamps, freq, tz)[0]
    features.flags.writeable = False
    return np.asarray(features)


def _without_blanks(block: Array, covariates: tuple[Covariate, ...]) -> Array:
    """Before a series begins its categories are code 0, as they are when missing."""
    categorical = [j for j, covariate in enumerate(covariates) if covariate.type == "categorical"]
    if categorical:
        block = block.copy()
        block[..., categorical] = np.nan_to_num(block[..., categorical])
    return block
