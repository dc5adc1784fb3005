"""Which way to read a panel: what its stamps say, what its values say, and what held up before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel
from forecasting.data.seasons import find_seasons
from forecasting.zero.decoding import Reads, Way, decode_each
from forecasting.zero.patches import CONTEXT, LONGEST_SEASON, WIDTH

# Origins held back, at most; the share of a history that all of them together may take; and the
# values that must lie before each, or twice as many as are forecast.
ORIGINS = 3
SHARE = 1 / 3
LEAST_HISTORY = 16
# Series by which the way of a panel is chosen.
ENOUGH = 200
# Another way than the first must be better by so many standard errors.
SURE = 1.0
# Logarithms by more: where they fit less well than they seem to, growth runs away.
SURE_OF_LOGS = 4.0
# Series from which on logarithms are tried: fewer cannot tell, and lose more than they gain.
MANY = 50
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
    """Ways that a panel may be read, the likeliest first.

    Beside seasons, and none, the logarithms of what is positive, where many series can judge that.

    Parameters
    ----------
    season : the one that is told; then only longer ones around it are tried beside it.
    """
    ways = _by_season(panel, season)
    if len(panel) >= MANY and np.nanmin(panel.y, initial=np.inf) > 0.0:
        ways.append(replace(ways[0], logs=True))
    return ways


def _by_season(panel: Panel, season: int | None) -> list[Way]:
    """The likeliest season first, and none last."""
    stamps = panel.freq.seasons
    if season is not None:
        ordered = [season, *stamps]
    elif stamps:
        ordered = [panel.freq.season, *stamps]
    else:
        ordered = [s.period for s in find_seasons(panel)]
    seasons = [s for s in dict.fromkeys(ordered) if 1 < s <= LONGEST_SEASON]
    if not seasons:
        return [Way()]
    main = seasons[0]
    around = [Way(main, s) for s in seasons if s > main]
    if season is not None:
        return [*around, Way(main)] if season > 1 else [Way()]
    return [*around, *map(Way, seasons), Way()]


def choose(network: Reads, panel: Panel, ways: Sequence[Way], horizon: int) -> Way:
    """The way of reading a panel that forecast its own ends best.

    Parameters
    ----------
    ways : the first one stays unless another is surely better.
    """
    if len(ways) == 1:
        return ways[0]
    counts = panel.counts
    longest = np.sort(np.argsort(-counts, kind="stable")[:ENOUGH])
    errors = held_back(network, ends(panel.select(longest)), ways, horizon)
    if errors is None:
        return ways[0]
    gain = errors[0] - errors
    doubt = gain.std(axis=1) / np.sqrt(max(gain.shape[1] - 1, 1))
    needed = np.array([SURE_OF_LOGS if way.logs else SURE for way in ways]) * doubt
    better = np.flatnonzero(gain.mean(axis=1) > needed)
    return ways[int(min(better, key=lambda k: errors[k].mean(), default=0))]


def held_back(network: Reads, y: Float, ways: Sequence[Way], horizon: int) -> Array | None:
    """[W, n] error of each way at each held-back origin, in units of each one's mean over ways.

    None where histories are too short to hold anything back.
    """
    rows = y.shape[1]
    ahead = min(horizon, max(int(SHARE * rows), 1))
    origins = min(ORIGINS, max(int(SHARE * rows) // ahead, 1))
    # Each origin as a series of its own, its end where the others' are.
    backs = [ahead * k for k in range(1, origins + 1) if ahead * k < rows]
    histories = [np.pad(y[:, : rows - b], ((0, 0), (b, 0)), constant_values=np.nan) for b in backs]
    came = [y[:, rows - b : rows - b + ahead] for b in backs]
    if not backs:
        return None
    history, actual = np.concatenate(histories), np.concatenate(came)
    seen = np.isfinite(actual)
    enough = np.isfinite(history).sum(axis=1) >= np.minimum(2 * ahead, LEAST_HISTORY)
    some = np.flatnonzero(enough & seen.any(axis=1))
    if not len(some):
        return None
    history, actual, seen = history[some], actual[some], seen[some]
    each = []
    for quantiles in decode_each(network, history, ways, ahead):
        middle = quantiles[..., quantiles.shape[-1] // 2]
        off = np.where(seen, np.abs(middle - np.where(seen, actual, 0.0)), 0.0)
        each.append(off.sum(axis=1) / seen.sum(axis=1))
    errors = np.stack(each)
    unit = errors.mean(axis=0)
    usable = unit > 0
    return errors[:, usable] / unit[usable] if usable.any() else None
