"""A new delivery beside what the champion was trained on: what was changed, lost, moved or raised.

Models are compared on the new table alone; whether that table still tells the same story is said
here, by the `Fingerprint` of the old one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import observed
from forecasting.errors import DataError
from pipelines.data.fingerprint import Fingerprint, utc_now
from pipelines.data.newest import Change, newest_rows

if TYPE_CHECKING:
    from forecasting.data.calendar import Frequency
    from forecasting.data.panel import Panel

SAME = 1e-6  # relative difference below which a value is the one it was, written anew
MOST_LAGS = 60  # steps a series is looked for beside its stamps
ALIKE, UNLIKE = 0.9, 0.5  # shares of the newest rows: found elsewhere, and not where they were
LIVE = 90  # percentile of the last stamps that says how far a delivery reaches


@dataclass(frozen=True)
class Found:
    """How much of something there is, and an example.

    Attributes
    ----------
    count, of : series or values that it is true of, among how many.
    example : the name of a series it is true of; empty where there is none.
    """

    count: int
    of: int
    example: str = ""

    @property
    def share(self) -> float:
        """0 where there is nothing to count among."""
        return self.count / self.of if self.of else 0.0

    @classmethod
    def among(cls, mask: Array, ids: Array) -> Found:
        """Of series: ``mask`` [N] over them, ``ids`` [N] their names."""
        at = np.flatnonzero(mask)
        return cls(len(at), len(mask), str(ids[at[0]]) if len(at) else "")


@dataclass(frozen=True)
class Revision:
    """What a delivery did to the data.

    Attributes
    ----------
    lost : of the old series, those that are gone. new : of the delivered series, those not there
        before.
    revised : of the old values that were kept and lie in the delivery's range, those that changed.
    shifted : of the series in both, those whose newest old rows stand at other stamps now.
    jumped : of the series in both, those that share no stamp with what they were, end earlier by
        more than a step, or
        have lost more than half their rows at the front beyond what a moving window takes.
    stale : of the series in both that were up to date, those that have fallen behind since by more
        steps than may be: behind the others, or behind today where the old data did not.
    ahead : steps by which the farthest row lies beyond the others' newest, or beyond today;
        ahead_id : its series.
    newest : of the level of the newest rows over that of a season before, the median over series.
    unlike : of how far series part from that median: where they do all at once, they have become
        others.
    fallen : the share of series whose newest rows are 0, or of the other sign, and were not a
        season before; as shares, not logs.
    horizon : steps; the limit of what is counted in steps, where a config names none.
    """

    lost: Found
    new: Found
    revised: Found
    shifted: Found
    jumped: Found
    stale: Found
    ahead: int
    ahead_id: str
    newest: Change
    unlike: Change
    fallen: Change
    horizon: int

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def compare(
    before: Fingerprint,
    panel: Panel,
    *,
    season: int,
    horizon: int,
    slack: int | None = None,
    now: np.datetime64 | None = None,
) -> Revision:
    """Lay a delivery beside what was there before.

    Parameters
    ----------
    season, horizon
        Steps; of the model.
    slack
        Steps that a series may lag behind; default: the horizon.
    now
        In UTC; default: the machine's clock.

    Raises
    ------
    DataError
        The delivery has steps of another length.
    """
    if not before.freq.same_step(panel.freq):
        raise DataError(
            f"the data have steps of {panel.freq.alias}, those before had {before.freq.alias}"
        )
    sides = _Sides.of(before, panel, horizon if slack is None else slack)
    ids = sides.ids
    was, now_there = sides.values_at(0)
    there = sides.inside(0) & np.isfinite(was)
    changed = there & ~_same(was, now_there)
    at = np.flatnonzero(changed.any(axis=1))
    example = str(ids[at[0]]) if len(at) else ""
    old, fresh = before.ids.astype(str), panel.ids.astype(str)
    lags = min(max(season, horizon, 12), MOST_LAGS)
    now = utc_now() if now is None else now
    step_ahead, who = _ahead(sides, now)
    recent = sides.place[sides.current & (sides.advance >= sides.typical)]
    newest, unlike, fallen = newest_rows(panel.select(recent), sides.typical, season)
    return Revision(
        lost=Found.among(~np.isin(old, fresh), old),
        new=Found.among(~np.isin(fresh, old), fresh),
        revised=Found(int(changed.sum()), int(there.sum()), example),
        shifted=Found.among(_shifted(sides, there, changed, lags), ids),
        jumped=Found.among(_jumped(sides), ids),
        stale=sides.late(now),
        ahead=step_ahead,
        ahead_id=who,
        newest=newest,
        unlike=unlike,
        fallen=fallen,
        horizon=horizon,
    )


@dataclass(frozen=True)
class _Sides:
    """The M series there before and now, side by side.

    Attributes
    ----------
    old, place : [M] positions in the fingerprint and in the panel.
    begin : [M] row of the panel's series where the fingerprint's step 0 lies; may be outside.
    first, last : [M] rows of the first and last value now, counted from that step 0.
    slack : steps that a series may lie behind.
    """

    before: Fingerprint
    panel: Panel
    old: Array
    place: Array
    begin: Array
    first: Array
    last: Array
    slack: int

    @classmethod
    def of(cls, before: Fingerprint, panel: Panel, slack: int) -> _Sides:
        import pandas as pd

        low, high = observed(panel.y, panel.offsets)
        # A series without any value is as good as gone, but its name is there: it has jumped.
        place = pd.Index(panel.ids.astype(str)).get_indexer(pd.Index(before.ids.astype(str)))
        old = np.flatnonzero(place >= 0)
        place = place[old]
        begin = panel.freq.steps_between(panel.start[place], before.first[old])
        low, high = low[place] - begin, high[place] - begin
        return cls(before, panel, old, place, begin, low, high, slack)

    def only(self, mask: Array) -> _Sides:
        """Some of the series."""
        parts = ("old", "place", "begin", "first", "last")
        return replace(self, **{name: getattr(self, name)[mask] for name in parts})

    @property
    def ids(self) -> Array:
        return np.asarray(self.before.ids[self.old])

    @property
    def rows(self) -> Array:
        """[M] rows before."""
        return np.asarray(self.before.rows[self.old])

    @property
    def empty(self) -> Array:
        """[M] no value now."""
        return np.asarray(self.last + self.begin < 0)

    @property
    def advance(self) -> Array:
        """[M] steps from the last value before to the last value now."""
        return np.asarray(self.last - (self.rows - 1))

    @property
    def current(self) -> Array:
        """[M] up to date before, and with a value now."""
        return np.asarray((self.lag_before <= self.slack) & ~self.empty)

    @property
    def lag_before(self) -> Array:
        """[M] steps that a series lay behind the others then; negative: ahead of them."""
        last = self.before.last[self.old]
        return self.panel.freq.steps_between(last, _furthest(self.before.last, len(last)))

    @property
    def typical(self) -> int:
        """Steps that most series went on."""
        moved = self.advance[self.current]
        return int(np.median(moved)) if len(moved) else 0

    def inside(self, lag: int) -> Array:
        """[M, K] whether rows kept, moved by a lag, lie in the panel's series."""
        position = self.before.positions[self.old]
        row = self.begin[:, None] + position + lag
        lengths = self.panel.lengths[self.place][:, None]
        return np.asarray((position >= 0) & (row >= 0) & (row < lengths))

    def values_at(self, lag: int) -> tuple[Array, Array]:
        """[M, K] twice: values before, and those a lag later now (NaN outside)."""
        inside = self.inside(lag)
        row = self.begin[:, None] + self.before.positions[self.old] + lag
        flat = self.panel.offsets[:-1][self.place][:, None] + np.where(inside, row, 0)
        flat = np.minimum(flat, max(self.panel.rows - 1, 0))
        return self.before.values[self.old], np.where(inside, self.panel.y[flat], np.nan)

    def late(self, now: np.datetime64) -> Found:
        """Series that were up to date and have fallen behind since."""
        freq, chosen = self.panel.freq, np.flatnonzero(self.current)
        if not len(chosen):
            return Found(0, 0)
        last = freq.shift(self.before.first[self.old][chosen], self.last[chosen])
        behind = freq.steps_between(last, _furthest(last, len(last))) - self.lag_before[chosen]
        if not freq.integer:
            then = _steps(freq, self.before.newest, self.before.made)
            if 0 <= then <= self.slack:  # it came from day to day: it still should
                behind = np.maximum(behind, freq.steps_between(last, np.asarray(now)) - then)
        return Found.among(behind > self.slack, self.ids[chosen])


def _steps(freq: Frequency, start: Any, stamp: Any) -> int:
    return int(freq.steps_between(np.asarray(start), np.asarray(stamp)))


def _furthest(stamps: Array, count: int) -> Array:
    """[count] the stamp that a delivery reaches, whatever a few series far ahead say."""
    if not count:
        return stamps[:0]
    return np.full(count, np.sort(stamps)[min(len(stamps) * LIVE // 100, len(stamps) - 1)])


def _same(was: Array, now: Array) -> Array:
    scale = np.nanmax(np.abs(np.where(np.isfinite(was), was, 0.0)), axis=1, initial=0.0)
    allowed = SAME * np.abs(was) + 1e-3 * SAME * scale[:, None]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(now - was) <= allowed)


def _shifted(sides: _Sides, there: Array, changed: Array, lags: int) -> Array:
    """[M] whether the newest rows before are found again, beside their stamps and not at them."""
    run = sides.before.run
    was = sides.before.values[sides.old][:, :run]
    known = np.isfinite(was)
    enough = known.sum(axis=1) >= 2
    low, high = np.where(known, was, np.inf), np.where(known, was, -np.inf)
    enough &= high.max(axis=1, initial=-np.inf) > low.min(axis=1, initial=np.inf)
    stayed = (there & ~changed)[:, :run].sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    suspects = enough & (stayed < UNLIKE)
    few, known = sides.only(suspects), known[suspects]
    shifted = np.zeros(len(few.old), bool)
    for lag in range(-lags, lags + 1) if len(shifted) else ():
        values, moved = few.values_at(lag)
        inside = few.inside(lag)[:, :run] & known
        same = _same(values, moved)[:, :run] & inside
        # What falls off the end of the table cannot be found; half of it must be there.
        most = same.sum(axis=1) >= ALIKE * inside.sum(axis=1)
        shifted |= most & (inside.sum(axis=1) >= np.maximum(UNLIKE * known.sum(axis=1), 2))
    suspects[suspects] = shifted
    return np.asarray(suspects)


def _jumped(sides: _Sides) -> Array:
    """[M] see `Revision.jumped`; a series off the old grid has jumped, too."""
    apart = (sides.first > sides.rows - 1) | (sides.last < 0) | sides.empty
    back = sides.advance < -1
    dropped = sides.first - np.maximum(sides.advance, 0) > sides.rows / 2
    freq, start = sides.panel.freq, sides.panel.start[sides.place]
    off = freq.shift(start, sides.begin) != sides.before.first[sides.old]
    return np.asarray(apart | back | dropped | off)


def _ahead(sides: _Sides, now: np.datetime64) -> tuple[int, str]:
    """Steps of the farthest row beyond where the others end, or beyond today; and its series."""
    panel, before, freq = sides.panel, sides.before, sides.panel.freq
    _, high = observed(panel.y, panel.offsets)
    seen = np.flatnonzero(high >= 0)
    if not len(seen) or not len(before):
        return 0, ""
    last = freq.shift(panel.start[seen], high[seen])
    newest = freq.shift(np.asarray([before.newest]), max(sides.typical, 0))[0]
    beyond = freq.steps_between(np.full(len(last), newest), last)
    if not freq.integer and before.newest <= before.made:
        beyond = np.maximum(beyond, freq.steps_between(np.full(len(last), now), last))
    at = int(beyond.argmax())
    return max(int(beyond[at]), 0), str(panel.ids[seen[at]]) if beyond[at] > 0 else ""
