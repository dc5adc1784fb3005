"""Covariates that are y itself: what is learned of them is of no use where y is not known yet."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Float
from forecasting.errors import listed, warn

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

# Series that are looked at, and the newest rows of each; fewer of both for the shifts.
SERIES, ROWS = 64, 512
FEW, SHORT = 16, 256
# Shifts beyond this many steps are not looked for.
FURTHEST = 48
# Share of y's variance that a copy leaves unexplained, of its levels and of its steps; and one that
# was rounded, which has as many different values as no price list has.
EXACT, LEFT, ROUNDED = 1e-9, 1e-3, 16
# Pairs and different values of a series that can tell, and of one that tells alone.
PAIRS, VALUES = 8, 4
MANY_PAIRS, MANY_VALUES = 24, 8


@dataclass(frozen=True)
class Leak:
    """A column that is a linear function of y.

    Attributes
    ----------
    role : ``past`` or ``future``. shift : of y so many steps later; before, where below 0.
    series : the first in which it was seen.
    """

    column: str
    role: str
    shift: int
    series: str


def leaks(panel: Panel, horizon: int = 1) -> list[Leak]:
    """Covariates that tell a model what it is to forecast, and will not when it is asked.

    Known-future ones that are a copy of y, a linear function of it, or either shifted: to later
    rows, and to earlier ones by less than the horizon. Past ones, only those that hold a later y.
    Of a covariate that was known when y was not, neither is to be expected.

    Parameters
    ----------
    panel : what is trained on. horizon : steps that are forecast; a y of so long ago is rightly
        known.

    Returns
    -------
    One `Leak` for each such column, those known ahead first.
    """
    if not panel.schema.future and not panel.schema.past:
        return []
    part, copies = _part(panel), []
    bounds = list(zip(part.offsets[:-1].tolist(), part.offsets[1:].tolist(), strict=True))
    for role, block in (("future", part.future), ("past", part.past)):
        for j, covariate in enumerate(part.schema.role(role)):
            if covariate.type != "real":
                continue
            pairs = [(part.y[begin:end], block[begin:end, j]) for begin, end in bounds]
            seen = _copied(pairs, horizon if role == "future" else 0, same=role == "future")
            if seen is not None:
                at, shift = seen
                copies.append(Leak(covariate.name, role, shift, str(part.ids[at])))
    return copies


def said_of_leaks(copies: list[Leak]) -> str:
    """One line that names them, and what to do; "" for none."""
    if not copies:
        return ""
    named = listed([f"{leak.column} ({_how(leak)})" for leak in copies], 8)
    return (
        f"covariates that are y itself: {named}, first seen in series {copies[0].series!r}. Scores "
        "will shine, and forecasts cannot: nobody knows these values ahead. Leave out "
        f"{'this column' if len(copies) == 1 else 'these columns'}, or give what was known at the "
        "time (a plan, or y of longer ago than the horizon)"
    )


def say_leaks(panel: Panel, horizon: int) -> None:
    """Warn of `leaks`."""
    line = said_of_leaks(leaks(panel, horizon))
    if line:
        warn(line)


def _how(leak: Leak) -> str:
    if leak.shift == 0:
        return "that of its row"
    count, when = abs(leak.shift), "later" if leak.shift > 0 else "before"
    return f"that of {count} {'step' if count == 1 else 'steps'} {when}"


def _part(panel: Panel) -> Panel:
    """The newest rows of series whose y moves enough to tell, spread over the panel."""
    able = np.flatnonzero(panel.lengths >= PAIRS)
    spread = np.unique(np.linspace(0, len(able) - 1, min(4 * SERIES, len(able))).astype(np.int64))
    part = panel.select(able[spread]).tail(ROWS)
    telling = [
        i for i in range(len(part)) if _telling(part.y[part.offsets[i] : part.offsets[i + 1]])
    ]
    return part.select(np.asarray(telling[:: _every(telling, SERIES)], np.int64))


def _every(some: Sized, most: int) -> int:
    """Of how many one is taken, that they are not more than ``most``."""
    return max(-(-len(some) // most), 1)


def _telling(y: Float) -> bool:
    """Whether a copy of a series tells anything: not of one that repeats or goes on by itself.

    Of a steady trend or a season without noise every honest calendar is a function.
    """
    if len(np.unique(y[~np.isnan(y)])) < VALUES:
        return False
    y = y[-SHORT:]
    lags = range(1, min(FURTHEST, len(y) - PAIRS) + 1)
    return not any(_explains(*_both(y[lag:], y[:-lag])[0], EXACT) for lag in lags)


def _copied(
    pairs: list[tuple[Float, Float]], horizon: int, *, same: bool
) -> tuple[int, int] | None:
    """Place of the first series in which a column is y, and by how many steps it is shifted."""
    if same and (at := _first(pairs, 0)) is not None:
        return at, 0
    every = _every(pairs, FEW)
    few = [(y[-SHORT:], x[-SHORT:]) for y, x in pairs[::every]]
    longest = min(max((len(y) for y, _ in few), default=0) - PAIRS, FURTHEST)
    for steps in range(1, longest + 1):
        for shift in (steps, -steps):
            if shift < 0 and steps >= horizon:
                continue
            at = _first(few, shift)
            if at is not None:
                return at * every, shift
    return None


def _first(pairs: list[tuple[Float, Float]], shift: int) -> int | None:
    """The first series in which a column is y ``shift`` steps later; None where it is in too few.

    In half of those that can tell, or in one that tells alone.
    """
    able, linear, alone = 0, [], False
    for k, (y, x) in enumerate(pairs):
        later = (y[shift:], x[: len(x) - shift]) if shift >= 0 else (y[:shift], x[-shift:])
        level, step = _both(*later)
        kinds = [len(np.unique(values)) for values in level]
        if len(level[0]) < PAIRS or kinds[0] < VALUES:
            continue
        able += 1
        left = EXACT if kinds[1] < ROUNDED else LEFT
        if kinds[1] >= VALUES and _explains(*level, left) and _explains(*step, left):
            linear.append(k)
            alone |= len(level[0]) >= MANY_PAIRS and min(kinds) >= MANY_VALUES
    return linear[0] if linear and (alone or 2 * len(linear) >= able) else None


def _both(y: Float, x: Float) -> tuple[tuple[Float, Float], tuple[Float, Float]]:
    """Rows where both are known, and the steps between such neighbours."""
    known = np.isfinite(y) & np.isfinite(x)
    next_to = known[1:] & known[:-1]
    return (y[known], x[known]), (np.diff(y)[next_to], np.diff(x)[next_to])


def _explains(y: Float, x: Float, left: float) -> bool:
    """Whether a linear function of x leaves no more than a share of y's variance."""
    if len(y) < PAIRS - 1:
        return False
    # Of any size: squares of large numbers overflow.
    y, x = (v / (np.abs(v).max() or 1.0) for v in (y, x))
    y, x = y - y.mean(), x - x.mean()
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    rounding = 1e-20 * len(y)
    return xx > rounding and yy > rounding and yy - xy * xy / xx <= left * yy
