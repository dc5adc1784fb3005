"""Which way to read a panel: what its stamps say, what its values say, and what held up before."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel
from forecasting.data.seasons import find_seasons
from forecasting.zero.decoding import Reads, Way, decode
from forecasting.zero.patches import CONTEXT, LONGEST_SEASON, WIDTH

# Origins held back, at most, and the share of a history that all of them together may take.
ORIGINS = 3
SHARE = 1 / 3
# Series by which the way of a panel is chosen.
ENOUGH = 200
# Another way than the first must be better by so many standard errors.
SURE = 1.0
# Rows that are read: as many as the context's patches have slots.
ROWS = CONTEXT * WIDTH


def ends(panel: Panel, rows: int = ROWS) -> Float:
    """[N, R] the newest rows of each series, their ends aligned, NaN before and where missing."""
    lengths = np.minimum(panel.lengths, rows)
    width = int(lengths.max(initial=0))
    out = np.full((len(panel), width), np.nan)
    place = np.arange(width) >= width - lengths[:, None]
    back = np.arange(width) - width
    out[place] = panel.y[(panel.offsets[1:, None] + back)[place]]
    return out


def candidates(panel: Panel, season: int | None = None) -> list[Way]:
    """Ways that a panel may be read, the likeliest first, and without any season last.

    ``season`` : the one that is told; then only longer ones around it are tried beside it.
    """
    stamps = panel.freq.seasons
    if season is not None:
        ordered = [season, *stamps]
    else:
        found = [s.period for s in find_seasons(panel)]
        # What stamps say is sure; what values say is not, where stamps say something else.
        ordered = [*([panel.freq.season] if stamps else []), *found, *stamps]
    seasons = [s for s in dict.fromkeys(ordered) if 1 < s <= LONGEST_SEASON]
    if not seasons:
        return [Way()]
    main = seasons[0]
    around = [Way(main, s) for s in seasons if s > main]
    if season is not None:
        return [*around, Way(main)] if season > 1 else [Way()]
    return [*around, *map(Way, seasons), Way()]


def choose(network: Reads, y: Float, ways: Sequence[Way], horizon: int) -> Way:
    """The way of reading a panel that forecast its own ends best.

    Parameters
    ----------
    y : [N, R] as of `ends`. ways : the first one stays unless another is surely better.
    """
    if len(ways) == 1:
        return ways[0]
    lengths = np.isfinite(y).sum(axis=1)
    order = np.argsort(-lengths, kind="stable")[:ENOUGH]
    errors = held_back(network, y[np.sort(order)], ways, horizon)
    if errors is None:
        return ways[0]
    least = errors.mean(axis=1).argmin()
    gain = errors[0] - errors[least]
    doubt = gain.std() / np.sqrt(max(len(gain) - 1, 1))
    return ways[int(least)] if gain.mean() > SURE * doubt else ways[0]


def held_back(network: Reads, y: Float, ways: Sequence[Way], horizon: int) -> Array | None:
    """[W, n] error of each way at each held-back origin, in units of each one's mean over ways.

    None where histories are too short to hold anything back.
    """
    rows = y.shape[1]
    first = np.where(np.isfinite(y).any(axis=1), np.isfinite(y).argmax(axis=1), rows)
    found = []
    for origin in range(1, ORIGINS + 1):
        ahead = min(horizon, max(int(SHARE * rows / origin), 1))
        cut = rows - ahead * origin
        # As long before an origin as the share says after it.
        some = np.flatnonzero(first <= cut - 2 * ahead)
        some = some[np.isfinite(y[some, :cut]).any(axis=1)] if cut > 0 else some[:0]
        if not len(some):
            break
        actual = y[some, cut : cut + ahead]
        seen = np.isfinite(actual)
        each = []
        for way in ways:
            quantiles = decode(network, y[some, :cut], way, ahead, flip=False)
            middle = quantiles[..., quantiles.shape[-1] // 2]
            off = np.where(seen, np.abs(middle - np.where(seen, actual, 0.0)), 0.0)
            each.append(off.sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
        found.append(np.stack(each))
    if not found:
        return None
    errors = np.concatenate(found, axis=1)
    unit = errors.mean(axis=0)
    told = unit > 0
    return errors[:, told] / unit[told] if told.any() else None
