"""Seasons that nobody told: found in a panel's own values, or not found.

Looked at are differences from row to row, by their periodogram. A season of p steps in a history of
k seasons has all its power at every k-th frequency, and none at those between. Each of its
frequencies is held against its neighbours, so that noise of any colour (white, a walk, inertia, a
trend) says nothing; the test is exact for noise that is flat from neighbour to neighbour. What
stands out over all series together is confirmed in time: the newest season, held back, must
resemble the earlier ones, and seasons far apart must resemble each other as neighbours do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel

# Longest period looked for, in steps, and periods that a series must hold to speak of one.
LONGEST = 400
PERIODS_NEEDED = 3
# Series looked at, the longest ones, and rows of all of them: more say the same.
MOST_SERIES = 200
MOST_ROWS = 60_000
# Series counted at once.
AT_ONCE = 1_000
# Newest periods of a series looked at; or rows, where those are more.
MOST_PERIODS = 10
ENOUGH_ROWS = 1_200
# Series that are held against each other to see how far what moves one moves all.
COMPARED = 40
# Chance of a period standing out by luck, over all periods tried.
FALSE_ALARMS = 0.005
# Neighbours on either side of a frequency, at most; and their share of all frequencies.
NEIGHBOURS = 6
LOCAL = 1 / 8
# Of the likeness of neighbouring seasons, the share that must be left between those far apart.
LASTING = 0.5
# Likeness of the newest season to the earlier ones, and of neighbouring ones, -1 to 1.
ALIKE = 0.2
ALIKE_NEIGHBOURS = 0.15
# Deviations, in median absolute ones, beyond which a difference is an accident.
ACCIDENT = 6.0
# Periods of clocks and calendars. Where values cannot tell one from its neighbours, it is meant.
USUAL = (4, 7, 12, 24, 48, 52, 60, 96, 144, 168, 288, 336, 365)
# Share of the usual period's neighbour that it must explain.
ALMOST = 0.8
# Share of power in every second frequency (third, ...) from which on a period is a half (a third).
WHOLE = 0.85
# Share of a period by which whole steps may drift away from it over `MOST_PERIODS`.
DRIFT = 0.1
# A season within a season (a day in a week) is at most one in so many of its steps, has at least
# so many, and so large a share of its movement, or of what is sure of it.
NESTED = 5
LEAST_NESTED = 4
NESTED_SHARE = 0.4
# Frequencies this near to those of a season found before belong to it.
BESIDE = 2.5
# Waves in a period, of which one at least must stand out.
SLOWEST = 3
# Share by which a season may be longer or shorter than a whole number of steps.
ROUNDED = 0.005
# Weight of what series of three or four periods say.
CROWDED = 0.85


@dataclass(frozen=True)
class Season:
    """A period that was found.

    Attributes
    ----------
    period : steps. series : how many show it, of ``asked`` that are long enough to.
    strength : likeness of the newest season to those before it, all series together, up to 1.
    """

    period: int
    series: int
    asked: int
    strength: float

    def __str__(self) -> str:
        return f"season {self.period}, found in {self.series:,} of {self.asked:,} series"


def told(found: Sequence[Season], stamps: Sequence[int] = ()) -> str:
    """One line: the seasons found, the main one first, beside those that ``stamps`` say."""
    where = [f"{s.period}, found in {s.series:,} of {s.asked:,} series" for s in found]
    line = "season " + "; and ".join(where) if found else "no season found in the values"
    if not stamps:
        return line if found else f"{line}; set season where there is one"
    says = " and ".join(str(s) for s in stamps)
    return f"stamps say season {says}; {line}"


@dataclass(frozen=True)
class _Period:
    """What the differences say of one period.

    gain : log-likelihood won by its frequencies that stand out. frequencies : those, in cycles
    per period. sure : whether they stand out beyond luck. power : gain of each frequency.
    """

    period: int
    gain: float
    frequencies: Array
    sure: bool
    power: Float

    @property
    def slow(self) -> bool:
        """Whether a slow wave of it stands out, or most waves do; else it is some other thing."""
        most = 2 * len(self.frequencies) >= self.period // 2
        return most or bool(self.frequencies[0] <= max(SLOWEST, self.period // 50))


def find_seasons(panel: Panel, most: int = 2) -> tuple[Season, ...]:
    """The seasons of a panel by its values alone, the main one first; empty when there is none.

    See `seasons_in`.
    """
    return seasons_in(panel.y, panel.offsets, most)


def seasons_in(y: Array, offsets: Array, most: int = 2) -> tuple[Season, ...]:
    """The seasons of series by their values alone, the main one first.

    The main one is the shorter of two of which one is a whole number of the other (a day before
    a week), else the one that says more.

    Parameters
    ----------
    y : [T] values on regular steps, NaN where missing; offsets : [N + 1] where series begin.
    most : seasons to look for; what one explains is taken
        out before the next.
    """
    moves, lengths = _moves(y, offsets, _chosen(np.diff(offsets)))
    shared, rest = _shared(moves), moves
    all_periods: list[int] = []
    while len(all_periods) < most and len(moves):
        periods = _strongest(rest, lengths, all_periods, shared)
        if not periods:
            break
        all_periods += periods
        for period in periods:
            rest = _without(rest, period)
    return tuple(_counted(y, offsets, moves, lengths, p, shared) for p in all_periods[:most])


def _chosen(lengths: Array) -> Array:
    """The longest series, as many as say enough."""
    order = np.argsort(-lengths, kind="stable")[:MOST_SERIES]
    rows = np.cumsum(np.minimum(lengths[order], MOST_PERIODS * LONGEST))
    return np.sort(order[: max(int((rows <= MOST_ROWS).sum()), 1)])


def _moves(values: Array, offsets: Array, series: Array) -> tuple[Float, Array]:
    """Differences of some series without accidents: [n, width], their ends aligned, and [n] rows.

    Each series has deviation 1, and 0 where a difference is unknown. Series that do not move are
    left out.
    """
    longest = max(MOST_PERIODS * LONGEST, ENOUGH_ROWS)
    lengths = np.minimum(np.diff(offsets)[series], longest)
    width = int(lengths.max(initial=0))
    y = np.full((len(series), width), np.nan)
    place = np.arange(width) >= width - lengths[:, None]
    back = np.arange(width) - width
    y[place] = values[(offsets[1:][series][:, None] + back)[place]]
    known = np.isfinite(y)
    logs = known.any(axis=1) & (np.where(known, y, np.inf).min(axis=1, initial=np.inf) > 0)
    size = np.where(known, np.abs(y), 0.0).max(axis=1, initial=0.0)
    # Units do not matter, and squares of what is huge or tiny would.
    y = y / np.where(size > 0, size, 1.0)[:, None]
    y[logs] = np.log(y[logs])
    size = np.where(known, np.abs(y), 0.0).max(axis=1, initial=0.0)
    moves = np.diff(y, axis=1, prepend=np.nan)
    seen = np.isfinite(moves)
    some = seen.sum(axis=1) >= 2 * PERIODS_NEEDED
    moves, seen, lengths, size = moves[some], seen[some], lengths[some], size[some]
    if not len(moves):
        return moves, lengths
    middle = np.nanmedian(moves, axis=1, keepdims=True)
    usual = np.nanmedian(np.abs(moves - middle), axis=1, keepdims=True)
    limit = np.where(usual > 0, ACCIDENT * usual, np.inf)
    moves = np.clip(moves, middle - limit, middle + limit)
    moves -= np.nanmean(moves, axis=1, keepdims=True)
    moves = np.where(seen, moves, 0.0)
    deviation = np.sqrt((moves**2).sum(axis=1) / seen.sum(axis=1))
    moving = deviation > 1e-9 * np.maximum(size, 1e-9)
    return moves[moving] / deviation[moving, None], lengths[moving]


def _groups(lengths: Array, period: int) -> Iterator[tuple[Array, int]]:
    """Series that hold a period often enough, by how many they are asked for."""
    most = max(MOST_PERIODS, ENOUGH_ROWS // period)
    times = np.minimum(lengths // period, most)
    # A few sizes do: 3 to 8 periods, then steps of a quarter.
    sizes = [3, 4, 5, 6, 7, 8]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 5 // 4, most))
    counts = np.array([s for s in sizes if s <= most])
    at = np.searchsorted(counts, times, side="right") - 1
    for group in np.unique(at[at >= 0]):
        yield np.flatnonzero(at == group), int(counts[group])


def _gains(rows: Float, times: int) -> Float:
    """[n, period // 2] how far each frequency of a period stands out from its neighbours.

    It is the log-likelihood that the frequency wins, exponential of mean 1 where power is flat
    between neighbours.

    Parameters
    ----------
    rows : [n, times x period].
    """
    size = rows.shape[1]
    period = size // times
    power = np.abs(np.fft.rfft(rows, axis=1)) ** 2
    own = times * np.arange(1, period // 2 + 1)
    reach = min(times - 1, NEIGHBOURS, max(4, int(LOCAL * size / 2)))
    offsets = np.r_[-reach:0, 1 : reach + 1]
    beside = own[:, None] + offsets
    usable = (beside >= 1) & (beside <= (size - 1) // 2)
    count = usable.sum(axis=1)
    around = np.zeros((len(rows), len(own)))
    for column in range(len(offsets)):
        there = np.where(usable[:, column], beside[:, column], 0)
        around += np.where(usable[:, column], power[:, there], 0.0)
    # The highest frequency has one number and not two.
    parts = np.where(2 * own == size, 2.0, 1.0)
    # Of series that stand still nothing stands out.
    floor = np.maximum(1e-9 * power.mean(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.asarray(count * np.log1p(power[:, own] / (parts * (around + floor))))


def _said(
    moves: Float, lengths: Array, period: int, shared: float, tried: int, found: list[int]
) -> _Period | None:
    """What all series together say of a period; None where none is long enough.

    Frequencies of the seasons ``found`` before, and those beside them, say nothing more.
    """
    total, count = np.zeros(period // 2), 0
    for chosen, times in _groups(lengths, period):
        gains = _gains(moves[chosen, moves.shape[1] - times * period :], times)
        # Where there are few, neighbours are shared by two, and their sums vary more.
        total += (CROWDED if times <= 4 else 1.0) * gains.sum(axis=0) * _new(period, times, found)
        count += len(chosen)
    usable = _new(period, PERIODS_NEEDED, found)
    if not count or not usable.any():
        return None
    independent = count / (1.0 + (count - 1) * shared)
    power = total * independent / count
    each = np.where(usable, _deviations(power, independent), 0.0)
    together = _deviations(power[usable].sum(), independent * int(usable.sum()))
    level = FALSE_ALARMS / (2 * tried)
    alone = each > _normal_score(1.0 - level / len(power))
    sure = bool(alone.any() or together > _normal_score(1.0 - level))
    out = each > _normal_score(1.0 - 0.05 / len(power))
    gain = float((power - independent)[out].sum())
    return _Period(period, gain, np.flatnonzero(out) + 1, sure and bool(out.any()), power)


def _new(period: int, times: int, found: list[int]) -> Array:
    """[period // 2] which frequencies of a period are none of, nor beside, the seasons found."""
    own = np.arange(1, period // 2 + 1) / period
    out = np.ones(len(own), bool)
    for season in found:
        away = np.abs(own - np.round(own * season) / season)
        # Frequencies of a season that is no whole number of steps run away from it.
        out &= (away * times * period >= BESIDE) & (away >= ROUNDED * own)
    return out


def _strongest(moves: Float, lengths: Array, found: list[int], shared: float) -> list[int]:
    """The period that explains most, or the one within it; empty when none is sure."""
    limit = min(int(lengths.max()) // PERIODS_NEEDED, LONGEST)
    periods = [p for p in range(2, limit + 1) if _apart(p, found)]
    evidence = {p: _said(moves, lengths, p, shared, len(periods), found) for p in periods}
    candidates = {p: s for p, s in evidence.items() if s is not None and s.sure}
    for best in sorted(candidates, key=lambda p: -candidates[p].gain):
        period = _settled(_reduced(candidates[best]), candidates, lengths)
        # Confirmed by the waves that say most: those of a year of 52.18 weeks are 313 weeks'.
        slow = period in candidates and candidates[period].slow
        if slow and _lasts(moves, lengths, candidates[best]):
            whole = period == best and not found
            nested = _nested(moves, lengths, candidates[best], candidates) if whole else []
            # The longer one is looked for again without it: 7 and 365 look like 7 and 364.
            return nested or [period]
    return []


def _apart(period: int, found: list[int]) -> bool:
    """Whether a period is neither a neighbour of one found, nor its part, nor a few of it."""
    return all(
        abs(period - f) > max(1, f // 8) and f % period and (period % f or period >= NESTED * f)
        for f in found
    )


def _reduced(said: _Period) -> int:
    """The period whose frequencies stand out, where they are every second one, or every third.

    A year of 52.18 weeks is seen best as six years of 313. Where whole steps would drift away
    from it, the period is left as it is.
    """
    gains = said.power[said.frequencies - 1]
    for every in range(said.period // 2, 1, -1):
        inside = gains[said.frequencies % every == 0].sum()
        part = round(said.period / every)
        if part >= 2 and inside >= WHOLE * gains.sum():
            drift = abs(said.period / every - part) * MOST_PERIODS
            return part if drift <= DRIFT * part else said.period
    return said.period


def _settled(best: int, known: dict[int, _Period], lengths: Array) -> int:
    """The usual period beside the one that says most, where values cannot tell them apart."""
    if best in USUAL or best not in known:
        return best
    times = int(np.clip(np.median(lengths) // best, PERIODS_NEEDED, MOST_PERIODS))
    reach = max(1, best // (3 * times))
    least = ALMOST * known[best].gain - 3.0
    near = [p for p in USUAL if abs(p - best) <= reach and p in known and known[p].gain >= least]
    return max(near, key=lambda p: known[p].gain, default=best)


def _nested(moves: Float, lengths: Array, said: _Period, known: dict[int, _Period]) -> list[int]:
    """The shorter period in one that holds most of its movement, if one does."""
    power = np.zeros(len(said.power))
    for chosen, times in _groups(lengths, said.period):
        waves = _waves(moves[chosen], said.period, times, np.arange(1, len(power) + 1))
        power += (np.abs(waves.mean(axis=1)) ** 2).sum(axis=0)
    # Of values, and not of their differences, which make much of fast waves.
    power /= 2.0 - 2.0 * np.cos(2.0 * np.pi * np.arange(1, len(power) + 1) / said.period)
    parts = (power[said.frequencies - 1], said.power[said.frequencies - 1])
    best: tuple[float, int] | None = None
    for part in known:
        if said.period % part or part < LEAST_NESTED or said.period < NESTED * part:
            continue
        own = said.frequencies % (said.period // part) == 0
        # A day that moves more than the week, or one that is surer than the year.
        inside = max(float(p[own].sum() / p.sum()) for p in parts)
        if inside >= NESTED_SHARE and (best is None or inside > best[0]):
            best = inside, part
    return [] if best is None else [best[1]]


def _waves(moves: Float, period: int, times: int, frequencies: Array) -> Array:
    """[n, times, f] complex: the frequencies of a period that stand out, season by season."""
    rows = moves[:, moves.shape[1] - times * period :].reshape(len(moves), times, period)
    return np.asarray(np.fft.rfft(rows, axis=2)[:, :, frequencies])


def _likeness(moves: Float, lengths: Array, said: _Period) -> tuple[float, float, float]:
    """Likeness of the newest season to the earlier ones; of neighbours; of seasons far apart."""
    newest = whole = near = far = 0.0
    pairs = far_pairs = 0
    for chosen, times in _groups(lengths, said.period):
        waves = _waves(moves[chosen], said.period, times, said.frequencies)
        waves = waves / np.sqrt((np.abs(waves) ** 2).mean(axis=(0, 1)) + 1e-12)
        before, last = waves[:, :-1].mean(axis=1), waves[:, -1]
        newest += float((before.conj() * last).real.sum())
        size = np.linalg.norm(before) * np.linalg.norm(last)
        whole += float(size)
        near += float((waves[:, :-1].conj() * waves[:, 1:]).real.sum())
        pairs += len(chosen) * (times - 1)
        apart = max(times // 2, 2)
        far += float((waves[:, :-apart].conj() * waves[:, apart:]).real.sum())
        far_pairs += len(chosen) * (times - apart)
    count = len(said.frequencies)
    return newest / max(whole, 1e-12), near / max(pairs, 1) / count, far / max(far_pairs, 1) / count


def _lasts(moves: Float, lengths: Array, said: _Period) -> bool:
    """Whether the newest season, held back, and those far apart are like the others."""
    newest, near, far = _likeness(moves, lengths, said)
    return newest >= ALIKE and near >= ALIKE_NEIGHBOURS and far >= LASTING * near


def _counted(
    y: Array, offsets: Array, moves: Float, lengths: Array, period: int, shared: float
) -> Season:
    """A season with the series that show it, of all that are long enough."""
    evidence = _said(moves, lengths, period, shared, 1, [])
    assert evidence is not None
    used = evidence.frequencies if len(evidence.frequencies) else np.arange(1, period // 2 + 1)
    limit = _normal_score(0.95)
    long = np.flatnonzero(np.diff(offsets) >= PERIODS_NEEDED * period)
    count = 0
    for begin in range(0, len(long), AT_ONCE):
        some, rows = _moves(y, offsets, long[begin : begin + AT_ONCE])
        for chosen, times in _groups(rows, period):
            gains = _gains(some[chosen, some.shape[1] - times * period :], times)
            own = _deviations(gains[:, used - 1].sum(axis=1), float(len(used)))
            count += int((own > limit).sum())
    strength = _likeness(moves, lengths, evidence)[0] if len(evidence.frequencies) else 0.0
    return Season(period, count, len(long), strength)


def _shared(moves: Float) -> float:
    """Mean squared correlation of two series' differences, less what chance makes of it, 0..1.

    It is how far two series' periodograms tell the same. Series are aligned by their ends.
    """
    some = moves[:: max(len(moves) // COMPARED, 1)]
    if len(some) < 2:
        return 0.0
    seen = (some != 0).astype(float)
    power = np.sqrt((some**2) @ seen.T)
    correlation = (some @ some.T) / np.maximum(power * power.T, 1e-300)
    common = np.maximum(seen @ seen.T, 1.0)
    pairs = ~np.eye(len(some), dtype=bool)
    return float(np.clip((correlation**2 - 1.0 / common)[pairs].mean(), 0.0, 1.0))


def _without(moves: Float, period: int) -> Float:
    """Differences less their mean at each place of a season."""
    count, width = moves.shape
    short = -width % period
    rows = np.pad(moves, ((0, 0), (short, 0))).reshape(count, -1, period)
    seen = rows != 0
    means = rows.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return np.asarray(np.where(seen, rows - means, 0.0).reshape(count, -1)[:, short:])


def _deviations(gain: Array | float, shape: float) -> Array:
    """Normal scores of sums of ``shape`` exponential numbers of mean 1, by Wilson and Hilferty."""
    root = np.cbrt(np.asarray(gain) / shape)
    return np.asarray((root - 1.0 + 1.0 / (9.0 * shape)) * 3.0 * np.sqrt(shape))


def _normal_score(level: float) -> float:
    return NormalDist().inv_cdf(level)
