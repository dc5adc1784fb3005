"""From histories to quantiles of any number of steps ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.zero.patches import AHEAD, CONTEXT, WIDTH, Patches, beyond, cut, patch_length

# Series forecast at once: so many stay in cache.
AT_ONCE = 256


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
        patches = int(np.clip(-(-part.shape[1] // length), 1, CONTEXT))
        part = part[:, -patches * length :]
        if way.logs:
            part = np.log(part)
        found = _ahead(network, part, way, patches, horizon)
        if flip:
            turned = _ahead(network, -part, way, patches, horizon)
            found = (found - turned[..., ::-1]) / 2.0
        if way.logs:
            found = np.exp(found)
        if out is None:
            out = np.empty((len(y), horizon, found.shape[-1]))
        out[some] = found
    if out is None:
        raise ValueError("there is no series to forecast")
    return out


def _ahead(network: Reads, y: Float, way: Way, patches: int, horizon: int) -> Float:
    length = patch_length(way.season)
    wanted = -(-horizon // length)
    more = max(wanted - AHEAD, 0)
    made = cut(y, way.season, patches, way.longer)
    made = beyond(made, way.season, more, way.longer)
    quantiles, level, spread = network(made, more + 1)
    count = len(y)
    unit = made.unit[:, None, None, None]
    values = level[..., None, None] + spread[..., None, None] * quantiles.astype(np.float64)
    values = made.centre[:, None, None, None] + unit * values
    parts = values.reshape(count, more + 1, AHEAD, WIDTH, -1)[:, :, :, :length]
    # The first state speaks of its first patch, and each of its last one.
    whole = np.concatenate(
        [parts[:, :1, 0], *(parts[:, k : k + 1, -1] for k in range(more + 1))], 1
    )
    return np.asarray(whole.reshape(count, -1, values.shape[-1])[:, :horizon])
