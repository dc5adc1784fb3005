"""What the data looked like: the reference profile a later panel is checked against."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array

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
        sha.update(np.ascontiguousarray(block).tobytes())
    return sha.hexdigest()[:32]


def panel_profile(panel: Panel, *, recent: int) -> dict[str, float]:
    """Sizes, and the typical level and spread of the series over their last `recent` rows.

    Level is the median over series of the mean of |y|, spread the median over series of the mean
    absolute change from row to row; medians, so that one odd series does not move them.
    """
    tail = panel.tail(recent)
    level = _series_mean(np.abs(tail.y), tail.offsets)
    change = np.abs(np.diff(tail.y, prepend=np.nan))
    change[tail.offsets[:-1]] = np.nan
    spread = _series_mean(change, tail.offsets)
    return {
        "series": float(len(panel)),
        "rows": float(panel.rows),
        "missing": float(np.isnan(panel.y).mean()) if panel.rows else 0.0,
        "level": _median(level),
        "spread": _median(spread),
    }


def shift(profile: dict[str, float], reference: dict[str, float]) -> float:
    """Largest ``|ln(now / then)|`` of level and spread; 0 where either is not known."""
    found = [0.0]
    for name in ("level", "spread"):
        now, then = profile.get(name, 0.0), reference.get(name, 0.0)
        if now > 0 and then > 0:
            found.append(abs(float(np.log(now / then))))
    return max(found)


def _series_mean(values: Array, offsets: Array) -> Array:
    known = np.isfinite(values)
    totals = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    total = totals[offsets[1:]] - totals[offsets[:-1]]
    count = counts[offsets[1:]] - counts[offsets[:-1]]
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _median(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else 0.0
