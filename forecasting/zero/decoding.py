"""From histories to quantiles of any number of steps ahead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.zero.patches import AHEAD, CONTEXT, WIDTH, Patches, cut, joined, patch_length

# Series forecast at once: so many stay in cache.
AT_ONCE = 256
# Patches are read in multiples of so many, so that ways of other patches go through one run.
TOGETHER = 4
LARGEST_LOG = 700.0


class Reads(Protocol):
    """A network: see `forecasting.zero.arithmetic.Network`."""

    def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
        """Quantiles after each of the last patches, and their level and spread."""


@dataclass(frozen=True)
class Way:
    """One way to read a series.

    Attributes
    ----------
    season, longer : in steps, 1 for none; the longer one is one around it. logs : whether its
        logarithm is forecast; of positive series.
    """

    season: int = 1
    longer: int = 1
    logs: bool = False


def decode(network: Reads, y: Float, way: Way, horizon: int, *, flip: bool = False) -> Float:
    """[N, horizon, Q] quantiles of what comes next, rising along Q.

    Patches further ahead than a state speaks of are read as ones in which nothing was seen, as in
    training; no forecast is ever fed back.

    Parameters
    ----------
    y : [N, R] histories whose ends are aligned, NaN where missing, each with a value.
    flip : whether the mean is taken with what is forecast upside down, turned back.
    """
    length = patch_length(way.season)
    rows = np.isfinite(y).argmax(axis=1)
    order = np.argsort(rows, kind="stable")
    out = None
    for begin in range(0, len(y), AT_ONCE):
        some = order[begin : begin + AT_ONCE]
        part = y[some, rows[some].min() :]
        patches = _patches(part, way)
        part = part[:, -patches * length :]
        part = _read(part, way)
        quantiles = _ahead(network, part, way, patches, horizon)
        if flip:
            turned = _ahead(network, -part, way, patches, horizon)
            quantiles = (quantiles - turned[..., ::-1]) / 2.0
        quantiles = _given_back(quantiles, way)
        if out is None:
            out = np.empty((len(y), horizon, quantiles.shape[-1]))
        out[some] = quantiles
    if out is None:
        raise ValueError("there is no series to forecast")
    return out


def decode_each(network: Reads, y: Float, ways: Sequence[Way], horizon: int) -> list[Float]:
    """What `decode` finds in each of several ways; of few series in one run of the network."""
    if len(y) * len(ways) > AT_ONCE:
        return [decode(network, y, way, horizon) for way in ways]
    part = y[:, np.isfinite(y).argmax(axis=1).min() :]
    groups: dict[tuple[int, int], list[int]] = {}
    for k, way in enumerate(ways):
        groups.setdefault((_patches(part, way), _more(way, horizon)), []).append(k)
    forecasts = [np.empty(0)] * len(ways)
    for (patches, more), chosen in groups.items():
        cuts = [
            cut(_read(part, ways[k]), ways[k].season, patches, ways[k].longer, more) for k in chosen
        ]
        answers = network(joined(cuts), more + 1)
        for place, k in enumerate(chosen):
            some = slice(place * len(y), (place + 1) * len(y))
            values = _values(cuts[place], [a[some] for a in answers], ways[k], horizon)
            forecasts[k] = _given_back(values, ways[k])
    return forecasts


def _read(y: Float, way: Way) -> Float:
    return np.log(y) if way.logs else y


def _given_back(values: Float, way: Way) -> Float:
    # However far a log is forecast, what it stands for stays within float's range.
    return np.exp(np.clip(values, -LARGEST_LOG, LARGEST_LOG)) if way.logs else values


def _ahead(network: Reads, y: Float, way: Way, patches: int, horizon: int) -> Float:
    more = _more(way, horizon)
    cuts = cut(y, way.season, patches, way.longer, more)
    return _values(cuts, network(cuts, more + 1), way, horizon)


def _patches(y: Float, way: Way) -> int:
    """Patches that are read of histories [N, R]: as in training, some may hold nothing."""
    count = -(-y.shape[1] // patch_length(way.season))
    return int(np.clip(-(-count // TOGETHER) * TOGETHER, TOGETHER, CONTEXT))


def _more(way: Way, horizon: int) -> int:
    """Patches that are read beyond the end, for steps that the last one's state says nothing of."""
    return max(-(-horizon // patch_length(way.season)) - AHEAD, 0)


def _values(made: Patches, answer: Sequence[Array], way: Way, horizon: int) -> Float:
    """[N, horizon, Q] of what the network says, in the series' own units."""
    length, more = patch_length(way.season), _more(way, horizon)
    quantiles, level, spread = answer
    count = len(quantiles)
    unit = made.unit[:, None, None, None]
    values = level[..., None, None] + spread[..., None, None] * quantiles.astype(np.float64)
    values = made.centre[:, None, None, None] + unit * values
    parts = values.reshape(count, more + 1, AHEAD, WIDTH, -1)[:, :, :, :length]
    # The first state speaks of its first patch, and each of its last one.
    whole = np.concatenate(
        [parts[:, :1, 0], *(parts[:, k : k + 1, -1] for k in range(more + 1))], 1
    )
    return np.asarray(whole.reshape(count, -1, values.shape[-1])[:, :horizon])
