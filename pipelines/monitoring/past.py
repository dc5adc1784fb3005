"""Past forecasts beside what really happened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.scale import mase_scale
from forecasting.errors import DataError
from forecasting.quantiles import column_of, level_of
from pipelines.forecasts.kept import native

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


OFF_GRID_SHARE = 0.5  # more stamps than this off the data's grid: it is another frequency

# Keys of the counts of forecast rows, as `gatecast monitor --json` gives them.
STRANGERS, OFF_GRID = "series not in the data", "off the grid"


@dataclass(frozen=True)
class Joined:
    """Forecast rows that have come true, and what became of the others.

    Attributes
    ----------
    rows
        ``unique_id, series, version, cutoff, ds, step, time, y, median, low, high, scaled,
        signed, inside``; `series` is the position in the panel, `time` counts steps on one axis
        for all series, errors are in units of the series' scale.
    nominal
        Coverage the interval promises; NaN when the forecasts hold no symmetric pair of levels.
    counts
        Rows by what became of them.
    """

    rows: pd.DataFrame
    nominal: float
    counts: dict[str, int]


def join(forecasts: pd.DataFrame, panel: Panel, season: int) -> Joined:
    """Put beside each forecast what happened.

    Raises
    ------
    DataError
        Most stamps of the forecasts do not lie on the data's grid: another frequency or zone.
    """
    ds = native(forecasts["ds"], panel, "ds")
    place = pd.Index(panel.ids.astype(str)).get_indexer(pd.Index(forecasts["unique_id"]))
    known = place >= 0
    at = np.maximum(place, 0)
    empty = not len(panel)
    if empty or not len(forecasts):
        known[:] = False
    start = panel.start[at] if not empty else ds
    position = panel.freq.steps_between(start, ds) if len(ds) else np.empty(0, np.int64)
    on_grid = panel.freq.shift(start, position) == ds if len(ds) else known
    off = known & ~on_grid
    if off.sum() > OFF_GRID_SHARE * max(known.sum(), 1):
        first = forecasts.iloc[int(np.flatnonzero(off)[0])]
        raise DataError(
            f"the forecasts do not lie on the grid of the data (freq = {panel.freq.alias}): "
            f"series {first['unique_id']!r} has a forecast for {first['ds']}; the data have "
            "another frequency or zone than the model was used with"
        )
    length = panel.lengths[at] if not empty else np.zeros(len(ds), np.int64)
    within = known & on_grid & (position >= 0) & (position < length)
    row = np.where(within, panel.offsets[:-1][at] + position if not empty else 0, 0)
    y = np.where(within, panel.y[row], np.nan) if panel.rows else np.full(len(ds), np.nan)
    matched = np.isfinite(y) & np.isfinite(forecasts["q0.5"].to_numpy(np.float64))
    counts = {
        "judged": int(matched.sum()),
        "not yet known": int((known & on_grid & (position >= length)).sum()),
        "value missing": int((within & ~matched).sum()),
        "older than the data": int((known & on_grid & (position < 0)).sum()),
        STRANGERS: int((~known).sum()),
        OFF_GRID: int(off.sum()),
    }
    rows = forecasts.loc[matched, ["unique_id", "version", "step", "cutoff"]].assign(
        series=place[matched],
        ds=ds[matched],
        time=_axis(panel, ds[matched]),
        y=y[matched],
        median=forecasts["q0.5"].to_numpy(np.float64)[matched],
    )
    rows["step"] = rows["step"].astype(np.int64)
    rows["version"] = rows["version"].astype(np.int64)
    pair = widest(forecasts.columns)
    bounds = [forecasts[column_of(p)].to_numpy(np.float64)[matched] for p in pair] if pair else None
    rows["low"], rows["high"] = bounds if bounds else (np.nan, np.nan)
    scale = _scales(panel, rows, season)
    rows["signed"] = (rows["median"] - rows["y"]) / scale
    rows["scaled"] = rows["signed"].abs()
    inside = ((rows["y"] >= rows["low"]) & (rows["y"] <= rows["high"])).astype(float)
    rows["inside"] = inside.where(rows["low"].notna() & rows["high"].notna())
    return Joined(rows.reset_index(drop=True), pair[1] - pair[0] if pair else np.nan, counts)


def scores_by(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Scores by a column: ``rows, mase, bias, coverage``; by time the stamp is there too."""
    if rows.empty:
        return pd.DataFrame(columns=[key, "rows", "mase", "bias", "coverage"])
    groups = rows.groupby(key, sort=True)
    out = groups.agg(
        rows=("y", "size"),
        mase=("scaled", "mean"),
        bias=("signed", "mean"),
        coverage=("inside", "mean"),
    )
    if key == "time":
        out.insert(0, "ds", groups["ds"].first())
    return out.reset_index()


def widest(columns: Any) -> tuple[float, float] | None:
    """The outermost pair of levels p and 1 - p among columns ``q<level>``."""
    levels = sorted(level for c in columns if (level := level_of(str(c))) is not None)
    for low in levels:
        for high in levels:
            if low < 0.5 and abs(low + high - 1.0) < 1e-9:
                return low, high
    return None


def _axis(panel: Panel, ds: Array) -> Array:
    """Steps on one axis for all series."""
    if not len(ds):
        return np.empty(0, np.int64)
    origin = ds.min()
    if panel.freq.integer:
        return np.asarray((ds - origin) // panel.freq.size)
    return np.asarray(panel.freq.steps_between(np.full(len(ds), origin), ds))


def _scales(panel: Panel, rows: pd.DataFrame, season: int) -> Array:
    """[R] mean absolute seasonal difference of the history before a series' first judged stamp.

    Of the whole series where that is too short to have one; NaN for a constant series.
    """
    if rows.empty:
        return np.empty(0)
    series = rows["series"].to_numpy()
    first = pd.Series(rows["ds"].to_numpy()).groupby(series).min()
    chosen = first.index.to_numpy()
    rows_before = panel.freq.steps_between(panel.start[chosen], first.to_numpy())
    picked = panel.select(chosen)
    scale = mase_scale(picked.y, picked.offsets, season)
    before = picked.lengths - rows_before
    cut = np.where(rows_before > season, before, 0)
    early = picked.truncate(cut)
    early_scale = mase_scale(early.y, early.offsets, season)
    scale = np.where(np.isfinite(early_scale) & (early_scale > 0), early_scale, scale)
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, np.nan)
    return np.asarray(scale[np.searchsorted(chosen, series)])
