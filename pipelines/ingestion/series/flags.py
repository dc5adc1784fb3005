"""What looks odd in the values of a series: flagged, and changed only where the config says so."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from pipelines.ingestion.config import FlagConfig
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.segments import bounds, medians, middles, reduce, runs, sort_segments
from pipelines.ingestion.series.table import Table

SHORTEST_FLAT = 8
SHORTEST_LEVEL, LONGEST_LEVEL = 12, 336
FEWEST_FOR_SPIKES = 12
ALONE = 3.0


def raise_flags(
    table: Table, offsets: Array, config: FlagConfig, freq: Frequency, ledger: Ledger
) -> dict[str, Array]:
    """Flat lines, spikes and changes of unit into the ledger; odd series as masks [N].

    ``table.y`` is replaced when a policy says that a flagged value is missing.
    """
    at = np.flatnonzero(~np.isnan(table.y))
    values, codes = table.y[at], table.codes[at]
    count = len(offsets) - 1
    if config.units == "flag":
        _units(table, at, values, codes, config, freq, ledger)
    lost = [
        _flat(table, at, values, codes, config, ledger),
        _spikes(table, at, values, codes, config, ledger),
    ]
    gone = np.concatenate(lost)
    if len(gone):
        table.y = table.y.copy()
        table.y[gone] = np.nan
    return series_flags(table.y, offsets, config, count)


def series_flags(y: Array, offsets: Array, config: FlagConfig, count: int) -> dict[str, Array]:
    """Series without values, too short for training, or constant."""
    seen = ~np.isnan(y)
    total = np.concatenate([[0], np.cumsum(seen)])
    number = total[offsets[1:]] - total[offsets[:-1]]
    low = reduce(np.fmin, y, offsets, np.nan)
    high = reduce(np.fmax, y, offsets, np.nan)
    with np.errstate(invalid="ignore"):
        constant = (number > 1) & (low == high)
    return {
        "no_values": number == 0,
        "too_short": (number > 0) & (number < config.min_rows),
        "constant": constant,
    }


def _flat(
    table: Table, at: Array, values: Array, codes: Array, config: FlagConfig, ledger: Ledger
) -> Array:
    """Runs of one value that are longer than the series' other runs make likely."""
    nothing = np.empty(0, np.int64)
    if config.flat_policy == "keep" or not len(values):
        return nothing
    count = len(table.ids)
    offsets = bounds(codes, count)
    starts, lengths = runs(values, offsets)
    pairs = np.maximum(np.diff(offsets) - 1, 0)
    # Of n rows in r runs, n - r repeat the row before them.
    equal = pairs + 1 - np.bincount(codes[starts], minlength=count)
    candidates = lengths >= (config.flat or SHORTEST_FLAT)
    starts, lengths = starts[candidates], lengths[candidates]
    owner = codes[starts]
    long = np.ones(len(starts), bool)
    if not config.flat:
        # How often a neighbour repeats its value, were this run not there.
        share = (equal[owner] - (lengths - 1) + 1) / (pairs[owner] - (lengths - 1) + 2)
        likely = np.log(np.maximum(pairs[owner], 2)) / -np.log(np.clip(share, 1e-6, 1 - 1e-9))
        long = lengths >= 3 + 3 * likely
    long &= lengths < np.diff(offsets)[owner]
    if not long.any():
        return nothing
    rows = at[np.repeat(starts[long], lengths[long]) + _within(lengths[long])]
    gone = config.flat_policy == "missing"
    ledger.note(
        "flat" if gone else "flat_kept", "changed" if gone else "flagged",
        "the same value over many rows" + (", read as missing" if gone else ""),
        **table.places(rows), column="y", before=table.y[rows], repair=gone,
    )  # fmt: skip
    return rows if gone else nothing


def _within(lengths: Array) -> Array:
    """0 … n - 1 for each length, one after the other."""
    ends = np.cumsum(lengths)
    return np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)


def _spikes(
    table: Table, at: Array, values: Array, codes: Array, config: FlagConfig, ledger: Ledger
) -> Array:
    """Values far from their neighbours and far from all of the series."""
    nothing = np.empty(0, np.int64)
    if config.spikes == "keep" or len(values) < FEWEST_FOR_SPIKES:
        return nothing
    count = len(table.ids)
    far = far_from_all(values, codes, count, config.spike_size)
    if not far.any():
        return nothing
    # Only series that have such a value are looked at more closely.
    rows = np.flatnonzero((np.bincount(codes[far], minlength=count) > 0)[codes])
    local = values[rows] - _neighbours(values[rows], codes[rows])
    size = np.abs(local)
    number = np.bincount(codes[rows], minlength=count)
    spread = _sigma(medians(size, codes[rows], count), size, codes[rows], number)
    lonely = size > config.spike_size * spread[codes[rows]]
    spikes = at[rows[lonely & far[rows]]]
    gone = config.spikes == "missing"
    ledger.note(
        "spike" if gone else "spike_kept", "changed" if gone else "flagged",
        f"more than {config.spike_size:g} robust sigmas from its series"
        + (", read as missing" if gone else ""),
        **table.places(spikes), column="y", before=table.y[spikes], repair=gone,
    )  # fmt: skip
    return spikes if gone else nothing


def far_from_all(values: Array, codes: Array, count: int, size: float) -> Array:
    """[T] whether a value is alone and far from its series' median.

    Far: by more than ``size`` robust sigmas. Alone: three times as far as all but the furthest
    per cent (two at least), since the tails of sales and counts are long by nature.
    """
    offsets = bounds(codes, count)
    number = np.diff(offsets)
    distance = np.abs(values - medians(values, codes, count)[codes])
    ranked = sort_segments(distance, offsets)
    few = np.maximum(np.ceil(0.01 * number).astype(np.int64), 2)
    enough = number >= FEWEST_FOR_SPIKES
    limit = np.full(count, np.inf)
    limit[enough] = ALONE * ranked[offsets[1:][enough] - 1 - few[enough]]
    furthest = np.full(count, -np.inf)
    furthest[enough] = ranked[offsets[1:][enough] - 1]
    if not (furthest > limit).any():
        return np.zeros(len(values), bool)
    limit = np.maximum(limit, size * _sigma(middles(ranked, offsets), distance, codes, number))
    return np.asarray(distance > limit[codes])


def _sigma(middle: Array, size: Array, codes: Array, number: Array) -> Array:
    """Robust sigma per series; of the mean distance where most distances are zero."""
    total = np.bincount(codes, weights=np.minimum(size, 1e300), minlength=len(number))
    sigma = 1.4826 * middle
    return np.where(sigma > 0, sigma, 1.2533 * total / np.maximum(number, 1))


def _neighbours(values: Array, codes: Array) -> Array:
    """Median of up to two values on each side, of the same series."""
    sides = np.full((4, len(values)), np.nan)
    for line, shift in enumerate((-2, -1, 1, 2)):
        here, there = (slice(-shift, None), slice(None, shift)) if shift < 0 else (
            slice(None, -shift), slice(shift, None)
        )  # fmt: skip
        same = codes[here] == codes[there]
        sides[line, here] = np.where(same, values[there], np.nan)
    sides.sort(axis=0)
    number = 4 - np.isnan(sides).sum(axis=0)
    low = np.maximum((number - 1) // 2, 0)
    high = np.maximum(number // 2, 0)
    column = np.arange(len(values))
    middle = 0.5 * (sides[low, column] + sides[np.minimum(high, 3), column])
    return np.where(number > 0, middle, values)


def _units(
    table: Table, at: Array, values: Array, codes: Array, config: FlagConfig, freq: Frequency,
    ledger: Ledger,
) -> None:  # fmt: skip
    """A jump of the level by a factor, between stretches of two seasons or so."""
    width = max(SHORTEST_LEVEL, min(2 * freq.season, LONGEST_LEVEL))
    used = np.flatnonzero(values != 0)
    if len(used) < 2 * width:
        return
    size, codes = np.abs(values[used]), codes[used]
    factor = config.unit_factor
    leap = (size[1:] > factor * size[:-1]) | (size[:-1] > factor * size[1:])
    jump = np.flatnonzero(leap & (codes[1:] == codes[:-1])) + 1
    if not len(jump):
        return
    size, threshold = np.log(size), np.log(factor)
    begin, end = jump - width, jump + width - 1
    inside = (begin >= 0) & (end < len(size))
    jump, begin, end = jump[inside], begin[inside], end[inside]
    whole = (codes[begin] == codes[jump]) & (codes[end] == codes[jump])
    jump, begin, end = jump[whole], begin[whole], end[whole]
    if not len(jump):
        return
    total = np.concatenate([[0.0], np.cumsum(size)])
    change = (total[end + 1] - total[jump] - total[jump] + total[begin]) / width
    square = np.concatenate([[0.0], np.cumsum(size**2)])
    mean = np.stack([(total[jump] - total[begin]) / width, (total[end + 1] - total[jump]) / width])
    power = np.stack(
        [(square[jump] - square[begin]) / width, (square[end + 1] - square[jump]) / width]
    )
    noise = np.sqrt(np.maximum(power - mean**2, 0)).max(axis=0)
    lasting = (np.abs(change) > threshold) & (np.abs(change) > 2 * noise)
    jump, change = jump[lasting], change[lasting]
    rows = at[used[jump]]
    ledger.note(
        "unit_change", "flagged",
        "from here on the level differs by the factor given: a change of unit? "
        "See values.scale and values.unit",
        **table.places(rows), column="y", before=[f"× {f:.3g}" for f in np.exp(change)],
        repair=False,
    )  # fmt: skip
