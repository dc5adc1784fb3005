"""Seasons that nobody told: found in a panel's own differences, or not found.

Differences of a random walk are white, so a walk shows no season; those of a seasonal series repeat
after one period, after two, and so on. A period is believed when the autocorrelation of the
differences stands out there over all series together, is still there a period later (a cycle that
fades is no season), and foretells the newest season better than its mean does.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel

# Longest period looked for, in steps, and periods that a series must hold to speak of one.
LONGEST = 400
PERIODS_NEEDED = 3
# Series looked at, the longest ones: more say the same.
MOST_SERIES = 200
# Series that are held against each other to see how far what moves one moves all.
COMPARED = 40
# Chance of a period standing out by luck, over all periods tried.
FALSE_ALARMS = 0.02
# Of a period's autocorrelation, the share that must be left one period later.
LASTING = 0.65
# Power of their number by which more multiples of a period count for more.
MORE_MULTIPLES = 0.2
# Deviations, in median absolute ones, beyond which a difference is an accident.
ACCIDENT = 6.0


@dataclass(frozen=True)
class Season:
    """A period that was found.

    Attributes
    ----------
    period : steps. series : how many show it, of ``asked`` that are long enough to.
    strength : autocorrelation of their differences one period apart, mean over the series.
    """

    period: int
    series: int
    asked: int
    strength: float

    def __str__(self) -> str:
        return f"season {self.period}, found in {self.series} of {self.asked} series"


def find_seasons(panel: Panel, longest: int = LONGEST, most: int = 2) -> tuple[Season, ...]:
    """The seasons of a panel by its values alone, the strongest first; empty when there is none.

    Parameters
    ----------
    longest : period to look for, in steps. most : seasons to look for; what one explains is taken
        out before the next.
    """
    chosen = np.sort(np.argsort(-panel.lengths, kind="stable")[:MOST_SERIES])
    moves = [_moves(panel.y[panel.offsets[i] : panel.offsets[i + 1]]) for i in chosen]
    moves = [m for m in moves if np.isfinite(m).sum() >= 2 * PERIODS_NEEDED and np.nanstd(m) > 0]
    seasons: list[Season] = []
    while moves and len(seasons) < most:
        season = _strongest(moves, longest, [s.period for s in seasons])
        if season is None:
            break
        seasons.append(season)
        moves = [_without(m, season.period) for m in moves]
        moves = [m for m in moves if np.nanstd(m) > 0]
    return tuple(seasons)


def _moves(y: Array) -> Float:
    """Differences of a series without accidents, NaN where one of the two values is missing."""
    known = y[~np.isnan(y)]
    if len(known) and known.min() > 0:
        y = np.log(y)
    moves = np.diff(y)
    if not np.isfinite(moves).any():
        return moves
    middle = np.nanmedian(moves)
    usual = np.nanmedian(np.abs(moves - middle))
    if usual > 0:
        moves = np.clip(moves, middle - ACCIDENT * usual, middle + ACCIDENT * usual)
    return np.asarray(moves - np.nanmean(moves))


def _autocorrelation(moves: Float, lags: int) -> Float:
    """[lags + 1] of differences with gaps; pairs with a gap are not counted."""
    seen = np.isfinite(moves)
    values = np.where(seen, moves, 0.0)
    size = 1 << int(2 * len(moves) - 1).bit_length()
    spectrum = np.fft.rfft(values, size)
    products = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    mask = np.fft.rfft(seen.astype(float), size)
    pairs = np.round(np.fft.irfft(mask * mask.conj(), size)[: lags + 1])
    variance = products[0] / max(pairs[0], 1.0)
    # Shrunk as the usual estimate is: few pairs far apart say little.
    return np.asarray(products / (pairs[0] * variance))


def _strongest(moves: list[Float], longest: int, shorter: list[int]) -> Season | None:
    """The season that stands out most over all series; a whole number of each of ``shorter``."""
    limit = min(max(len(m) + 1 for m in moves) // PERIODS_NEEDED, longest)
    if limit < 2:
        return None
    lags = np.arange(2 * limit + 1)
    table = np.full((len(moves), len(lags)), np.nan)
    for row, move in enumerate(moves):
        own = min((len(move) + 1) // PERIODS_NEEDED, limit)
        table[row, : 2 * own + 1] = _autocorrelation(move, 2 * own)
    sizes = np.array([np.isfinite(m).sum() for m in moves], float)
    asked = np.isfinite(table).sum(axis=0)
    speaks = np.isfinite(table)
    # Normal scores: of white differences, the shrunk estimate's variance is (n - lag) / n².
    scores = table * sizes[:, None] / np.sqrt(np.maximum(sizes[:, None] - lags, 1.0))
    # Stouffer's sum, of series that say partly the same.
    together = np.sqrt(np.maximum(asked, 1) * (1.0 + (asked - 1) * _shared(moves)))
    total = np.where(speaks, scores, 0.0).sum(axis=0) / together
    mean = np.where(speaks, table, 0.0).sum(axis=0) / np.maximum(asked, 1)
    periods = np.arange(2, limit + 1)
    needed = _normal_score(1.0 - FALSE_ALARMS / len(periods))
    # A smooth season's autocorrelation is flat at its top: its multiples tell the neighbours apart.
    comb = np.array(
        [_comb(np.where(speaks, table, 0.0).sum(axis=0), asked, p) for p in range(1, limit + 2)]
    )
    peak = (comb[periods - 1] >= comb[periods - 2]) & (comb[periods - 1] >= comb[periods])
    lasting = mean[2 * periods] >= LASTING * mean[periods] * _kept(sizes, periods)
    candidates = periods[(total[periods] > needed) & (peak | (periods == 2)) & lasting]
    candidates = np.array(
        [p for p in candidates if _holds(int(p), shorter) and _foretells(moves, int(p))], dtype=int
    )
    if not len(candidates):
        return None
    period = int(candidates[comb[candidates - 1].argmax()])
    # A part of it that says as much is the season, though the newest one was no good example.
    parts = [p for p in range(2, period) if period % p == 0 and _holds(p, shorter)]
    as_much = (p for p in parts if total[p] > needed and comb[p - 1] >= comb[period - 1])
    period = next(as_much, period)
    own = scores[speaks[:, period], period]
    found = int((own > _normal_score(0.95)).sum())
    return Season(period, found, int(speaks[:, period].sum()), float(mean[period]))


def _holds(period: int, shorter: list[int]) -> bool:
    """Whether a period is a larger whole number of each of the seasons found before."""
    return all(period % season == 0 and period > season for season in shorter)


def _shared(moves: list[Float]) -> float:
    """Mean squared correlation of two series' differences, less what chance makes of it, 0..1.

    It is how far two series' autocorrelations tell the same. Series are aligned by their ends.
    """
    some = moves[:: max(len(moves) // COMPARED, 1)]
    length = int(np.median([len(m) for m in some]))
    rows = np.array([m[-length:] for m in some if len(m) >= length])
    if len(rows) < 2:
        return 0.0
    seen = np.isfinite(rows).astype(float)
    values = np.where(seen > 0, rows, 0.0)
    power = np.sqrt((values**2) @ seen.T)
    correlation = (values @ values.T) / np.maximum(power * power.T, 1e-300)
    pairs = ~np.eye(len(rows), dtype=bool)
    return float(np.clip((correlation[pairs] ** 2).mean() - 1.0 / length, 0.0, 1.0))


def _comb(sums: Float, counts: Array, period: int) -> float:
    """How much a period and its multiples say: their mean autocorrelation, more for more of them.

    A season's own multiples say as much at each place, but have fewer; a part of a season has
    more, most of which say nothing.
    """
    at = slice(period, None, period)
    pairs = counts[at].sum()
    return float(sums[at].sum() / max(pairs, 1) * pairs**MORE_MULTIPLES)


def _kept(sizes: Float, periods: Array) -> Float:
    """Of a lasting season's autocorrelation, what the shrunk estimate shows one period later."""
    size = float(np.median(sizes))
    return np.asarray(np.maximum(size - 2 * periods, 0.0) / np.maximum(size - periods, 1.0))


def _foretells(moves: list[Float], period: int) -> bool:
    """Whether earlier seasons foretell the newest one's differences better than their mean does."""
    gain = total = 0.0
    for move in moves:
        if len(move) < PERIODS_NEEDED * period - 1:
            continue
        before, newest = move[:-period], move[-period:]
        place = (np.arange(len(before)) - len(before)) % period
        seen = np.isfinite(before)
        count = np.bincount(place[seen], minlength=period)
        total_at = np.bincount(place[seen], weights=before[seen], minlength=period)
        pattern = total_at / np.maximum(count, 1)
        usual = max(float(np.nanvar(move)), 1e-300)
        known = np.isfinite(newest) & (count > 0)
        gain += float((newest[known] ** 2 - (newest[known] - pattern[known]) ** 2).sum()) / usual
        total += float(known.sum())
    return total > 0 and gain > 0.0


def _without(moves: Float, period: int) -> Float:
    """Differences less their mean at each place of a season."""
    place = np.arange(len(moves)) % period
    seen = np.isfinite(moves)
    count = np.bincount(place[seen], minlength=period)
    total = np.bincount(place[seen], weights=moves[seen], minlength=period)
    return np.asarray(moves - (total / np.maximum(count, 1))[place])


def _normal_score(level: float) -> float:
    return NormalDist().inv_cdf(level)
