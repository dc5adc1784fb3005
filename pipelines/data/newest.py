"""The newest rows of a delivery beside those of a season before, and what is usual of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.mapped import running
from forecasting.data.panel import observed

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

PAST_WINDOWS, FEWEST_WINDOWS = 24, 3
FEWEST_SERIES = 5  # that can be told to part from each other
SMALL = 0.05  # in logs; what is usual may be nothing at all
OUTLIER, PARTING = 1.5, 2.0  # times the largest change that the past knows is unusual
MOST_ROWS = 30  # newest rows whose level is looked at together


@dataclass(frozen=True)
class Change:
    """A change of the newest rows in natural logs, and how large one is usual; NaN: unknown."""

    value: float
    usual: float

    @classmethod
    def of(cls, windows: Array, times: float) -> Change:
        """The first of [W] windows beside the others, about their median; so many times theirs."""
        middle = float(np.median(windows[1:]))
        usual = float(np.abs(windows[1:] - middle).max())
        return cls(float(windows[0]) - middle, times * usual)

    def or_worse(self, other: Change) -> Change:
        """The one of the two that is further from what is usual."""
        known = np.isfinite(other.value)
        worse = not np.isfinite(self.value) or other._height > self._height
        return other if known and worse else self

    def allowing(self, usual: float) -> Change:
        """The same, where so much is usual too; NaN allows nothing more."""
        return replace(self, usual=max(self.usual, usual)) if np.isfinite(usual) else self

    @property
    def _height(self) -> float:
        return abs(self.value) / max(self.usual, SMALL)


UNKNOWN = Change(float("nan"), float("nan"))


def newest_rows(panel: Panel, typical: int, season: int) -> tuple[Change, Change, Change]:
    """How unusual the newest rows of all series together are: level, scatter, falls.

    The newest row alone, and all that have come since; the more unusual of the two.

    Parameters
    ----------
    panel : series that reach as far as most. typical : rows that have come since. season : steps.
    """
    level = scatter = falls = UNKNOWN
    for width in {1, min(max(typical, 1), MOST_ROWS)} if len(panel) else ():
        moved, spread, fell = _against_a_season_before(panel, width, season)
        if width > 1:
            # A level that the champion knows already is no news, though few wide spans show it.
            usual, _, _ = _against_a_season_before(panel.truncate(typical), 1, season)
            moved = moved.allowing(OUTLIER * abs(usual.value))
        level, scatter = level.or_worse(moved), scatter.or_worse(spread)
        falls = falls.or_worse(fell)
    return level, scatter, falls


def _against_a_season_before(
    panel: Panel, width: int, season: int
) -> tuple[Change, Change, Change]:
    """Of the last ``width`` rows over the same rows of a season before, and what is usual."""
    if not len(panel):
        return UNKNOWN, UNKNOWN, UNKNOWN
    back = -(-width // season) * season if season > 1 else width
    _, end = observed(panel.y, panel.offsets)
    end = end + 1
    windows = int(min((np.median(end) - back) // width - 1, PAST_WINDOWS))
    if windows < FEWEST_WINDOWS:
        again = season > 1
        unknown = (UNKNOWN, UNKNOWN, UNKNOWN)
        return _against_a_season_before(panel, width, 1) if again else unknown
    levels, signed = _Levels.of(panel, width, np.abs), _Levels.of(panel, width, np.asarray)
    logs = np.full((windows + 1, len(panel)), np.nan)
    fell = np.zeros(windows + 1)
    for window, out in enumerate(logs):
        until = end - window * width
        now, then = levels(until), levels(until - back)
        both = (now > 0) & (then > 0)
        if both.sum() * 2 >= len(panel):
            out[both] = np.log(now[both] / then[both])
        # Logs know no 0 and no sign.
        turned = signed(until) * signed(until - back) < 0
        fell[window] = ((then > 0) & ((now == 0) | turned)).mean()
    falls = Change(float(fell[0]), OUTLIER * float(fell[1:].max()))
    known = np.isfinite(logs).any(axis=1)
    if not known[0] or known.sum() <= FEWEST_WINDOWS:
        return UNKNOWN, UNKNOWN, falls
    middle = np.nanmedian(logs[known], axis=1)
    level = Change.of(middle, OUTLIER)
    if len(panel) < FEWEST_SERIES:
        return level, UNKNOWN, falls
    own = np.nanmedian(np.abs(logs[known] - middle[:, None]), axis=1)
    return level, Change.of(own, PARTING), falls


@dataclass(frozen=True)
class _Levels:
    """Means of values over windows of ``width`` rows, from running totals."""

    panel: Panel
    width: int
    total: Array
    count: Array

    @classmethod
    def of(cls, panel: Panel, width: int, part: Callable[[Array], Array]) -> _Levels:
        """``part`` : of each value, what the means are of."""
        total = running(lambda y: np.nan_to_num(part(y)), panel.y, panel.offsets)
        return cls(panel, width, total, running(np.isfinite, panel.y, panel.offsets))

    def __call__(self, until: Array) -> Array:
        """[N] before these rows; NaN where there are not so many, or none is known."""
        fits = until - self.width >= 0
        high = self.panel.offsets[:-1] + np.where(fits, until, 0)
        low = np.where(fits, high - self.width, high)
        known = self.count[high] - self.count[low]
        out = np.full(len(until), np.nan)
        np.divide(self.total[high] - self.total[low], known, out=out, where=fits & (known > 0))
        return out
