"""What is kept of a series between requests: its rows, in pieces, and what an append makes of it.

Rows are counted from the first that was ever given, 0. They lie in pieces of `PIECE`, so that an
append writes the last of them anew and no other, however long the history.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from forecasting.data.calendar import Frequency
from serving.errors import Fault, RequestError, show
from serving.reading.stamps import write_stamps

PIECE: Final = 128
Y: Final = "y"
# Columns by name: ``y``, and ``past.NAME`` and ``future.NAME``; missing values are None.
Rows = Mapping[str, list[Any]]
# Reads a piece by its number.
Load = Callable[[int], Rows]


@dataclass(frozen=True)
class Kept:
    """A series, beside its rows.

    Attributes
    ----------
    freq : alias of its step. tz : of its stamps. begun : the first stamp ever given, in
        microseconds or steps. first, count : rows kept are ``first`` up to ``count``.
    static : by name. ahead : by known-future covariate the values of the rows that are to come.
    """

    freq: str
    tz: str | None
    begun: int
    first: int = 0
    count: int = 0
    static: Mapping[str, Any] = field(default_factory=dict)
    ahead: Mapping[str, list[Any]] = field(default_factory=dict)

    def stamp(self, row: int) -> Any:
        """The stamp of a row as an answer writes it."""
        return written(at(self.begun, row, Frequency.parse(self.freq)), self.freq, self.tz)


@dataclass(frozen=True)
class Given:
    """Rows of an append: as `Kept` has them.

    ``start`` : of its first row. future : by covariate the values from that row on, those ahead,
    too. begin : whether a series that is not there may begin with these.
    """

    freq: str
    tz: str | None
    start: int
    rows: Rows
    future: Mapping[str, list[Any]] = field(default_factory=dict)
    static: Mapping[str, Any] = field(default_factory=dict)
    begin: bool = False

    @property
    def count(self) -> int:
        """Rows that have happened."""
        return len(self.rows[Y])


@dataclass(frozen=True)
class Change:
    """What an append makes of a series: what is to be written, and how many rows were new.

    ``known`` : rows that stood there already. ``passed`` : those before what is kept, of which
    nobody can say any more whether they are the same.
    """

    kept: Kept
    pieces: Mapping[int, Rows]
    appended: int
    known: int
    passed: int


def at(begun: int, row: int, freq: Frequency) -> Any:
    """[1] the stamp of a row."""
    kind = np.int64 if freq.integer else "datetime64[us]"
    return freq.shift(np.array([begun], np.int64).astype(kind), np.array([row]))


def written(stamp: Any, alias: str, tz: str | None) -> Any:
    """A stamp [1] as an answer writes it."""
    value = write_stamps(stamp[:, None], Frequency.parse(alias), tz)[0][0]
    if isinstance(value, np.datetime64):
        whole = value == value.astype("datetime64[s]")
        return str(np.datetime_as_string(value, unit="s" if whole else "us"))
    return value.item() if isinstance(value, np.integer) else value


def joined(kept: Kept | None, load: Load, given: Given, keep: int) -> Change:
    """A series with the rows of an append.

    Parameters
    ----------
    kept : None where it is not there. keep : rows that are kept at least, where there are so many.

    Raises
    ------
    RequestError : 404 for a series that is not there and not begun; 409 for a gap, for rows before
        its first, and for what contradicts what is kept; 422 for a start off its grid.
    """
    if kept is None:
        if not given.begin:
            raise unknown_series()
        kept = Kept(given.freq, given.tz, given.start)
    _same_kind(kept, given)
    row = _row(kept, given)
    if row > kept.count:
        following = kept.stamp(kept.count)
        raise _refuse(
            ("start",),
            "gap",
            f"the next row of this series is that of {following}, and these begin "
            f"{row - kept.count} rows later, at {kept.stamp(row)}: send those between, too, null "
            "where nothing was observed",
            next=following,
        )
    _check_known(kept, load, given, row)
    static = _static(kept, given)
    new = max(row + given.count - kept.count, 0)
    pieces = _pieces(kept, load, given, row, new)
    count = kept.count + new
    first = max(kept.first, (count - keep) // PIECE * PIECE)
    ahead = _ahead(kept, given, row, new)
    overlap = max(min(given.count, kept.count - max(row, kept.first)), 0)
    return Change(
        replace(kept, first=first, count=count, static=static, ahead=ahead),
        {k: rows for k, rows in pieces.items() if (k + 1) * PIECE > first},
        appended=new,
        known=overlap,
        passed=given.count - new - overlap,
    )


def unknown_series() -> RequestError:
    """The refusal of a series that is not kept."""
    return RequestError(
        404,
        "unknown_series",
        "nothing is kept of this series for this model: it was never begun, was deleted, or made "
        'room for others; append its history with "begin": true',
    )


def _same_kind(kept: Kept, given: Given) -> None:
    if not Frequency.parse(kept.freq).same_step(Frequency.parse(given.freq)):
        raise other_step(kept, given.freq)
    if kept.tz is None and given.tz is not None:
        raise _refuse(
            ("start",), "other_zone", "the series has stamps without a zone, and this has one"
        )
    if kept.tz is not None and given.tz is None:
        raise _refuse(("start",), "other_zone", f"the stamps of this series are of {kept.tz}")


def other_step(kept: Kept, freq: str) -> RequestError:
    """The refusal of a series in another step than the model's."""
    return RequestError(
        409,
        "other_step",
        f"the series is kept in steps of {kept.freq}, and the model that answers now takes {freq}: "
        "delete it, and begin it again",
    )


def _row(kept: Kept, given: Given) -> int:
    """The number of the first row given."""
    freq = Frequency.parse(kept.freq)
    begun, start = (at(stamp, 0, freq) for stamp in (kept.begun, given.start))
    row = int(freq.steps_between(begun, start)[0])
    if int(at(kept.begun, row, freq).astype(np.int64)[0]) != given.start:
        raise _refuse(
            ("start",),
            "start_off_grid",
            f"is no stamp of the grid of freq = {kept.freq} on which this series goes on at "
            f"{kept.stamp(kept.count)}",
            status=422,
        )
    if row < 0:
        raise _refuse(
            ("start",),
            "before_begin",
            f"this series begins at {kept.stamp(0)}: nothing can be put before that; to do so, "
            "delete it, and begin it again",
        )
    return row


def _check_known(kept: Kept, load: Load, given: Given, row: int) -> None:
    """Rows that are there are the same: each value of each column that both name."""
    begin, end = max(row, kept.first), min(row + given.count, kept.count)
    columns = {**given.rows, **_futures(given)}
    for place in range(begin // PIECE, -(-end // PIECE) if end > begin else 0):
        rows = load(place)
        low, high = max(begin, place * PIECE), min(end, (place + 1) * PIECE)
        for name, values in columns.items():
            # A column that was never appended holds nothing: values of it are no news of the past.
            there = rows.get(name) or [None] * len(rows[Y])
            mine = there[low - place * PIECE : high - place * PIECE]
            theirs = values[low - row : high - row]
            if name.startswith("future."):
                # What is said of nothing ahead contradicts nothing.
                theirs = [
                    was if now is None else now for was, now in zip(mine, theirs, strict=True)
                ]
            if mine == theirs:
                continue
            k = next(
                k for k, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1]
            )
            raise _refuse(
                (*name.split(".", 1), low - row + k),
                "contradiction",
                f"{show(theirs[k])} at {kept.stamp(low + k)}, where {show(mine[k])} was appended "
                "before: to correct the past, delete the series and begin it again",
            )


def _futures(given: Given) -> dict[str, list[Any]]:
    return {f"future.{name}": values[: given.count] for name, values in given.future.items()}


def _static(kept: Kept, given: Given) -> dict[str, Any]:
    for name, value in given.static.items():
        before = kept.static.get(name)
        if before is not None and before != value:
            raise _refuse(
                ("static", name),
                "contradiction",
                f"{show(value)}, where {show(before)} was given before: to change it, delete the "
                "series and begin it again",
            )
    return {**kept.static, **given.static}


def _pieces(kept: Kept, load: Load, given: Given, row: int, new: int) -> dict[int, dict[str, Any]]:
    """The pieces that new rows fall into, whole."""
    if not new:
        return {}
    skip = kept.count - row
    columns = {name: values[skip:] for name, values in given.rows.items()}
    for name in {*kept.ahead, *given.future}:
        update = given.future.get(name, [])[skip : skip + new]
        plan = kept.ahead.get(name, [])[:new]
        columns[f"future.{name}"] = _over(plan, update, new)
    pieces: dict[int, dict[str, Any]] = {}
    for place in range(kept.count // PIECE, -(-(kept.count + new) // PIECE)):
        low, high = max(kept.count, place * PIECE), min(kept.count + new, (place + 1) * PIECE)
        held = low - place * PIECE
        before = load(place) if held else {}
        pieces[place] = {
            name: [
                *before.get(name, [None] * held),
                *columns.get(name, [None] * new)[low - kept.count : high - kept.count],
            ]
            for name in {*before, *columns}
        }
    return pieces


def _ahead(kept: Kept, given: Given, row: int, new: int) -> dict[str, list[Any]]:
    """What is known of the rows to come: as said now, and else as it was before."""
    columns = {}
    for name in {*kept.ahead, *given.future}:
        plan = kept.ahead.get(name, [])[new:]
        update = given.future.get(name, [])[kept.count + new - row :]
        values = _over(plan, update, max(len(plan), len(update)))
        while values and values[-1] is None:
            values.pop()
        if values:
            columns[name] = values
    return columns


def _over(said: list[Any], told: list[Any], size: int) -> list[Any]:
    """[size] values: what is told now, where it is told, else what was said before."""
    wide = [[*part, *[None] * (size - len(part))] for part in (said, told)]
    return [was if now is None else now for was, now in zip(*wide, strict=True)]


def _refuse(
    path: tuple[str | int, ...], code: str, detail: str, *, status: int = 409, **extra: Any
) -> RequestError:
    where = ".".join(str(part) for part in path)
    return RequestError(
        status,
        code if status == 409 else "invalid_request",
        f"{where}: {detail}",
        [Fault(path, code, detail)],
        extra=extra,
    )
