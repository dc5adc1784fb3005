"""The season of each series, as far as it stands out of the noise, and the series without it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.block import Block


@dataclass(frozen=True)
class Adjusted:
    """A block without its season, and the season.

    Attributes
    ----------
    block : values less their season, or over it. season : m steps.
    index : [m, N] the season by row modulo m. ratios : [N] whether it multiplies.
    """

    block: Block
    season: int
    index: Array
    ratios: Array

    def again(self, forecast: Array) -> Array:
        """[H, N] forecasts from each series' end with the season put back."""
        ahead = np.arange(len(forecast))[:, None] + self.block.lengths
        index = np.take_along_axis(self.index, ahead % self.season, axis=0)
        return np.asarray(np.where(self.ratios, forecast * index, forecast + index))


def adjusted(block: Block, season: int, *, ratios: bool = True) -> Adjusted:
    """Take the season out.

    ``ratios`` : of positive series as shares of their level (a pattern of their logs); else, and
    of others, as amounts.
    """
    seen, y = block.seen, block.y
    positive = (y > 0.0).sum(axis=0) == block.lengths
    logs = positive & (block.lengths > 0) & ratios
    read = np.where(seen & logs, np.log(np.where(y > 0.0, y, 1.0)), y)
    index = seasonal_pattern(read.T, seen.T, season, block.lengths).T
    if ratios:
        index = np.where(logs, np.exp(index), index)
        index[:, logs] /= index[:, logs].mean(axis=0)
    here = np.take(index, np.arange(len(y)) % season, axis=0)
    without = np.where(logs, y / np.where(logs, here, 1.0), y - here)
    return Adjusted(block.with_values(without), season, index, logs)


def seasonal_pattern(y: Array, seen: Array, season: int, lengths: Array | None = None) -> Array:
    """[N, season] additive seasonal pattern by column modulo season, shrunk by its own noise.

    Parameters
    ----------
    y, seen : [N, R] values, and whether each is observed. season : m steps.
    lengths : [N] columns before each series' end; None: all.
    """
    count, rows = y.shape
    none = np.zeros((count, season))
    if season == 1 or rows < 2 * season:
        return none
    half = season // 2
    total, number = (_over_season(part.astype(np.float64), season) for part in (y, seen))
    inner = slice(half, rows - half)
    first = seen.argmax(axis=1)
    whole = np.arange(rows - 2 * half) >= first[:, None]
    if lengths is not None:
        whole &= np.arange(rows - 2 * half) < lengths[:, None] - 2 * half
    known = seen[:, inner] & whole & (number > 0.75 * season)
    rest = np.where(known, y[:, inner] - total / np.maximum(number, 1.0), 0.0)
    padding = -len(rest[0]) % season
    rest = np.pad(rest, ((0, 0), (0, padding))).reshape(count, -1, season)
    known = np.pad(known, ((0, 0), (0, padding))).reshape(count, -1, season)
    rest, known = np.roll(rest, half, axis=2), np.roll(known, half, axis=2)
    times = known.sum(axis=1)
    mean = rest.sum(axis=1) / np.maximum(times, 1)
    pattern = np.where(times > 0, mean, 0.0)
    pattern -= pattern.mean(axis=1, keepdims=True)
    noise = np.where(known, rest - mean[:, None], 0.0)
    free = np.maximum(known.sum(axis=(1, 2)) - (times > 0).sum(axis=1), 1)
    error = (noise**2).sum(axis=(1, 2)) / free
    cycles = times.mean(axis=1)
    power = (pattern**2).sum(axis=1) / max(season - 1, 1)
    # What noise alone would show of a pattern is taken off it (James & Stein).
    shrink = 1.0 - error / np.maximum(cycles, 1e-9) / np.maximum(power, 1e-300)
    usable = (times > 0).all(axis=1) & (known.sum(axis=(1, 2)) > season)
    return np.asarray(pattern * np.where(usable, np.clip(shrink, 0.0, 1.0), 0.0)[:, None])


def _over_season(values: Array, season: int) -> Array:
    """[N, R - 2h] sums of [N, R] over a season about each row; of an even one both ends by half."""
    half = season // 2
    along = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=along[:, 1:])
    total = along[:, 2 * half + 1 :] - along[:, : along.shape[1] - 2 * half - 1]
    if season % 2 == 0:
        total -= 0.5 * (values[:, 2 * half :] + values[:, : values.shape[1] - 2 * half])
    return total
