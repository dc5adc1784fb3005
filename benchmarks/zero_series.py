"""Series that nobody measured: what `benchmarks.pretrain_zero` shows beside real histories.

Every series is a sum of some of: a level that wanders (integrated, near a unit root, with long
memory), a trend, seasons that drift, regimes and steps, noise of any tail and of changing size,
pulses, and chaos. Some are then made multiplicative, positive, intermittent or whole numbers, and
all may be censored, rounded, turned upside down, or have holes.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.signal import lfilter

from forecasting.arrays import Array, Float

# Seasons that are drawn, and how often each; 1 is none.
SEASONS = {
    1: 0.3, 4: 0.07, 5: 0.02, 7: 0.11, 12: 0.12, 24: 0.16, 48: 0.05, 52: 0.04, 96: 0.03,
    144: 0.01, 168: 0.04, 288: 0.01, 336: 0.02, 365: 0.02,
}  # fmt: skip
# Longer ones that lie around a season.
AROUND = {24: 168, 48: 336, 7: 365, 12: 120}
# How often each component is in a series, and the spread (in logs) of its size.
COMPONENTS = {
    "wander": (0.6, 0.8), "memory": (0.25, 0.8), "trend": (0.35, 0.8), "season": (0.85, 0.9),
    "regime": (0.12, 0.8), "pulse": (0.07, 0.8), "chaos": (0.03, 0.5), "seasonal_walk": (0.2, 0.8),
}  # fmt: skip
# Share of series that are steady, and how often those have each component.
STEADY, STEADILY = 0.15, {"wander": 0.4, "trend": 0.9, "season": 1.0}
LONGEST_TABLE = 400


def seasons(draw: Generator, count: int, rows: int) -> Array:
    """[count] seasons; those of which a series has fewer than two are none."""
    names = np.array(list(SEASONS))
    share = np.array(list(SEASONS.values()))
    found = names[draw.choice(len(names), count, p=share / share.sum())]
    any_other = draw.random(count) < 0.08
    found = np.where(any_other, draw.integers(2, 70, count), found)
    return np.asarray(np.where(2 * found > rows, 1, found))


def series(draw: Generator, season: Array, rows: int) -> Float:
    """[n, rows] series of the seasons [n]: none is missing, none stands still throughout."""
    count = len(season)
    # Turnover and the like: little noise, a season and growth that say nearly all, and multiply.
    steady = draw.random(count) < STEADY
    size = draw.normal(-1.0, 1.0, (count, 1)) - 1.5 * steady[:, None]
    out = _noise(draw, count, rows) * np.exp(size)
    for name, (share, spread) in COMPONENTS.items():
        chosen = draw.random(count) < np.where(steady, STEADILY.get(name, 0.5 * share), share)
        if name in ("season", "seasonal_walk"):
            chosen &= season > 1
        some = np.flatnonzero(chosen)
        if len(some):
            part = _MAKERS[name](draw, season[some], rows)
            part /= np.maximum(part.std(axis=1, keepdims=True), 1e-9)
            out[some] += part * np.exp(draw.normal(0.0, spread, (len(some), 1)))
    out /= np.maximum(out.std(axis=1, keepdims=True), 1e-9)
    return _finished(draw, out, season, steady)


def _noise(draw: Generator, count: int, rows: int) -> Float:
    """White or coloured, of normal or heavy tails, of steady or changing size."""
    noise = draw.standard_normal((count, rows))
    heavy = np.flatnonzero(draw.random(count) < 0.2)
    noise[heavy] = np.clip(draw.standard_t(3.0, (len(heavy), rows)), -12, 12)
    moving = np.flatnonzero(draw.random(count) < 0.2)
    if len(moving):
        size = lfilter([1.0], [1.0, -0.98], draw.standard_normal((len(moving), rows)), axis=1)
        noise[moving] *= np.exp(0.15 * size)
    for i in np.flatnonzero(draw.random(count) < 0.3):
        noise[i] = lfilter([1.0], [1.0, -draw.uniform(-0.5, 0.9)], noise[i])
    return noise


def _wander(draw: Generator, season: Array, rows: int) -> Float:
    """AR(2) with roots at and near the unit circle, begun long before."""
    count, before = len(season), 64
    shocks = _shocks(draw, count, rows + before)
    out = np.empty((count, rows))
    for i in range(count):
        first = 1.0 if draw.random() < 0.45 else 1.0 - 10.0 ** draw.uniform(-3.0, -0.5)
        second = draw.uniform(-0.4, 0.95) if draw.random() < 0.6 else 0.0
        made = lfilter([1.0], [1.0, -(first + second), first * second], shocks[i])
        out[i] = made[before:]
    return out


def _shocks(draw: Generator, count: int, rows: int) -> Float:
    shocks = draw.standard_normal((count, rows))
    rare = np.flatnonzero(draw.random(count) < 0.15)
    shocks[rare] *= draw.random((len(rare), rows)) < 0.05
    return shocks


def _memory(draw: Generator, season: Array, rows: int) -> Float:
    """Power laws of frequency, some with a broad peak: long memory to smooth curves."""
    count, size = len(season), 2 * rows
    frequency = np.fft.rfftfreq(size)
    frequency[0] = frequency[1]
    slope = draw.uniform(0.4, 3.5, (count, 1))
    power = frequency ** (-slope)
    peak = 10.0 ** draw.uniform(-2.2, -0.5, (count, 1))
    width = peak * draw.uniform(0.05, 0.4, (count, 1))
    bump = draw.random((count, 1)) < 0.4
    power += bump * power.max(axis=1, keepdims=True) * np.exp(
        -0.5 * ((frequency - peak) / width) ** 2
    ) * 0.1  # fmt: skip
    wave = draw.standard_normal((count, len(frequency), 2)) @ np.array([1.0, 1j])
    return np.fft.irfft(np.sqrt(power) * wave, size, axis=1)[:, :rows]


def _trend(draw: Generator, season: Array, rows: int) -> Float:
    """Straight, bent, damped or saturating; sized by what it covers in all."""
    count = len(season)
    time = np.linspace(-1.0, 1.0, rows)
    bend = draw.uniform(-0.8, 0.8, (count, 1))
    straight = time + draw.normal(0, 0.7, (count, 1)) * np.maximum(time - bend, 0)
    curved = time + draw.normal(0, 0.5, (count, 1)) * time**2
    rate = 10.0 ** draw.uniform(-0.3, 1.0, (count, 1))
    saturated = np.tanh(rate * (time - bend))
    grown = np.exp(draw.uniform(0.3, 2.5, (count, 1)) * time)
    kind = draw.integers(0, 4, (count, 1))
    sign = np.where(draw.random((count, 1)) < 0.65, 1.0, -1.0)
    return sign * np.choose(kind, [straight, curved, saturated, grown])


def _season(draw: Generator, season: Array, rows: int) -> Float:
    """Shapes of waves, of any table, or of a pulse, whose size and phase drift slowly."""
    count = len(season)
    time = np.arange(rows) + draw.integers(0, 10_000, (count, 1))
    out = _shape(draw, season, time)
    around = np.array([AROUND.get(int(s), 0) for s in season])
    both = np.flatnonzero((around > 0) & (2 * around < rows) & (draw.random(count) < 0.5))
    if len(both):
        longer = _shape(draw, around[both], time[both])
        times = draw.random((len(both), 1)) < 0.5
        size = np.exp(draw.normal(-0.7, 0.6, (len(both), 1)))
        out[both] = np.where(times, out[both] * (1 + 0.6 * longer), out[both] + size * longer)
    drift = np.cumsum(draw.standard_normal((count, rows)), axis=1) / np.sqrt(rows)
    strength = np.where(draw.random((count, 1)) < 0.5, draw.uniform(0, 0.7, (count, 1)), 0.0)
    return out * np.exp(strength * drift)


def _shape(draw: Generator, season: Array, time: Array) -> Float:
    """One shape for each season [n], read off at times [n, rows]; of deviation about 1."""
    count = len(season)
    table = np.zeros((count, LONGEST_TABLE))
    slots = np.arange(LONGEST_TABLE)
    kind = draw.random(count)
    for i, length in enumerate(season):
        inside = slots[:length]
        if kind[i] < 0.55:
            waves = np.arange(1, max(min(int(length) // 2, 10), 1) + 1)
            size = draw.standard_normal(len(waves)) * waves ** -draw.uniform(0.3, 2.2)
            turn = draw.uniform(0, 2 * np.pi, len(waves))
            angle = 2 * np.pi * np.outer(inside, waves) / length
            values = np.cos(angle + turn) @ size
        elif kind[i] < 0.8:
            values = draw.standard_normal(length)
            smooth = int(draw.integers(1, max(length // 4, 2)))
            padded = np.concatenate([values, values[: smooth - 1]])
            values = np.convolve(padded, np.ones(smooth), "valid")
        elif kind[i] < 0.92:
            values = np.exp(
                -0.5 * ((inside - length / 2) / (length * draw.uniform(0.03, 0.2))) ** 2
            )
            values = values * np.where(draw.random() < 0.8, 1.0, -1.0)
        else:
            part = draw.uniform(0.1, 0.9)
            values = np.where(inside < part * length, 1.0, draw.uniform(-0.5, 0.5))
        spread = values.std()
        table[i, :length] = (values - values.mean()) / (spread if spread > 1e-9 else 1.0)
    return table[np.arange(count)[:, None], time % season[:, None]]


def _seasonal_walk(draw: Generator, season: Array, rows: int) -> Float:
    """Each place of the season goes its own way, as in SARIMA."""
    out = np.empty((len(season), rows))
    for i, length in enumerate(season):
        cycles = -(-rows // int(length)) + 4
        shocks = draw.standard_normal((cycles, int(length)))
        shocks[0] *= draw.uniform(1.0, 8.0)
        memory = 1.0 if draw.random() < 0.5 else draw.uniform(0.5, 1.0)
        out[i] = lfilter([1.0], [1.0, -memory], shocks, axis=0).ravel()[-rows:]
    return out


def _regime(draw: Generator, season: Array, rows: int) -> Float:
    """Levels that hold for a while, a few of them or ever new ones."""
    count = len(season)
    rate = 10.0 ** draw.uniform(-2.7, -1.2, (count, 1))
    which = np.cumsum(draw.random((count, rows)) < rate, axis=1)
    few = draw.random((count, 1)) < 0.4
    which = np.where(few, which % draw.integers(2, 5, (count, 1)), which)
    levels = draw.standard_normal((count, int(which.max()) + 1))
    return np.take_along_axis(levels, which, axis=1)


def _pulse(draw: Generator, season: Array, rows: int) -> Float:
    """Rare spikes that die away, and saw teeth."""
    count = len(season)
    out = np.empty((count, rows))
    for i in range(count):
        hit = (draw.random(rows) < 10.0 ** draw.uniform(-2.3, -1.0)) * draw.exponential(1.0, rows)
        if draw.random() < 0.6:
            out[i] = lfilter([1.0], [1.0, -draw.uniform(0.0, 0.95)], hit)
        else:
            length = int(draw.integers(3, 80))
            out[i] = (np.arange(rows) + draw.integers(length)) % length / length
    return out


def _chaos(draw: Generator, season: Array, rows: int) -> Float:
    """Logistic maps, as they are or smoothed."""
    count = len(season)
    out = np.empty((count, rows))
    now, rate = draw.uniform(0.1, 0.9, count), draw.uniform(3.5, 4.0, count)
    for step in range(rows):
        now = rate * now * (1.0 - now)
        out[:, step] = now
    memory = draw.uniform(0.0, 0.9)
    return np.asarray(lfilter([1.0], [1.0, -memory], out, axis=1))


_MAKERS = {
    "wander": _wander, "memory": _memory, "trend": _trend, "season": _season, "regime": _regime,
    "pulse": _pulse, "chaos": _chaos, "seasonal_walk": _seasonal_walk,
}  # fmt: skip


def _finished(draw: Generator, y: Float, season: Array, steady: Array) -> Float:
    """What becomes of a sum of components before it is measured; the ``steady`` ones multiply."""
    count = len(y)
    kind = draw.random(count)
    kind = np.where(steady & (kind > 0.55), kind / 5.0, kind)
    grown = np.flatnonzero(kind < 0.2)
    y[grown] = np.exp(np.clip(y[grown], -8, 8) * draw.uniform(0.1, 0.9, (len(grown), 1)))
    raised = np.flatnonzero((kind >= 0.2) & (kind < 0.55))
    y[raised] += np.exp(draw.normal(1.3, 0.8, (len(raised), 1)))
    floored = np.flatnonzero((kind >= 0.55) & (kind < 0.6))
    y[floored] = np.maximum(y[floored] - draw.normal(-0.5, 0.7, (len(floored), 1)), 0.0)
    counted = np.flatnonzero((kind >= 0.6) & (kind < 0.66))
    mean = np.exp(np.clip(draw.normal(0.3, 1.3, (len(counted), 1)) + 0.6 * y[counted], -6, 6))
    y[counted] = draw.poisson(mean)
    rare = np.flatnonzero((kind >= 0.66) & (kind < 0.69))
    demand = draw.random((len(rare), y.shape[1])) < draw.uniform(0.05, 0.6, (len(rare), 1))
    y[rare] = demand * np.exp(0.5 * np.clip(y[rare], -8, 8))
    return y


def damaged(draw: Generator, y: Float) -> Float:
    """What happens to any series, real ones too, when it is measured: in place."""
    count = len(y)
    flipped = draw.random(count) < 0.12
    y[flipped] *= -1.0
    largest = np.where(np.isfinite(y), y, -np.inf).max(axis=1)
    spread = (largest - np.where(np.isfinite(y), y, np.inf).min(axis=1)) / 4.0
    for i in np.flatnonzero(draw.random(count) < 0.05):
        known = y[i][np.isfinite(y[i])]
        if len(known):
            low, high = np.quantile(known, [draw.uniform(0, 0.2), draw.uniform(0.8, 1.0)])
            y[i] = np.clip(y[i], low if draw.random() < 0.5 else -np.inf, high)
    rounded = np.flatnonzero((draw.random(count) < 0.08) & (spread > 0))
    unit = spread[rounded, None] * draw.uniform(0.05, 0.7, (len(rounded), 1))
    y[rounded] = np.round(y[rounded] / unit) * unit
    for i in np.flatnonzero(draw.random(count) < 0.1):
        if draw.random() < 0.5:
            y[i, draw.random(y.shape[1]) < draw.uniform(0, 0.3)] = np.nan
        else:
            begin = int(draw.integers(y.shape[1]))
            y[i, begin : begin + int(draw.integers(1, y.shape[1] // 4 + 2))] = np.nan
    return y
