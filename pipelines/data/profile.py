"""What the data looked like: the reference profile a later panel is checked against."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import blocks, by_series

if TYPE_CHECKING:
    from forecasting.data.panel import Panel


def panel_digest(panel: Panel) -> str:
    """SHA-256 (32 digits) of everything in a panel: the data hash of runs and versions."""
    sha = hashlib.sha256()
    sha.update("\0".join(map(str, panel.ids)).encode())
    sha.update(f"{panel.freq.alias}|{panel.tz}|{panel.schema.model_dump_json()}".encode())
    blocks = (panel.offsets, panel.start, panel.y, panel.past, panel.future, panel.static)
    for block in blocks if panel.horizon is None else (*blocks, panel.horizon):
        sha.update(str(block.shape).encode())
        # A flat view of bytes, not a copy of them.
        sha.update(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
    return sha.hexdigest()[:32]


def panel_profile(panel: Panel, *, recent: int) -> dict[str, float]:
    """Sizes, and the typical level and spread of the series over their last `recent` rows.

    Level is the median over series of the mean of |y|, spread the median over series of the mean
    absolute change from row to row; medians, so that one odd series does not move them.
    """
    tail = panel.tail(recent)
    level = by_series(lambda y, offsets: _series_mean(np.abs(y), offsets), tail.y, tail.offsets)
    spread = by_series(_mean_change, tail.y, tail.offsets)
    missing = sum(
        int(np.isnan(panel.y[panel.offsets[first] : panel.offsets[last]]).sum())
        for first, last in blocks(panel.offsets)
    )
    return {
        "series": float(len(panel)),
        "rows": float(panel.rows),
        "missing": missing / panel.rows if panel.rows else 0.0,
        "level": _median(level),
        "spread": _median(spread),
    }


def shift(profile: dict[str, float], reference: dict[str, float]) -> float:
    """Largest ``|ln(now / then)|`` of level and spread; 0 where either is not known."""
    changes = [0.0]
    for name in ("level", "spread"):
        now, then = profile.get(name, 0.0), reference.get(name, 0.0)
        if now > 0 and then > 0:
            changes.append(abs(float(np.log(now / then))))
    return max(changes)


def _mean_change(y: Array, offsets: Array) -> Array:
    """[N] mean absolute change from row to row."""
    change = np.abs(np.diff(y, prepend=np.nan))
    change[offsets[:-1][offsets[:-1] < len(y)]] = np.nan
    return _series_mean(change, offsets)


def _series_mean(values: Array, offsets: Array) -> Array:
    known = np.isfinite(values)
    totals = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    total = totals[offsets[1:]] - totals[offsets[:-1]]
    count = counts[offsets[1:]] - counts[offsets[:-1]]
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _median(values: Array) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else 0.0
