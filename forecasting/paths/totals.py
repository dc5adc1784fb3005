"""Totals of joint paths over steps and over groups of series, with their quantiles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.panel import public_stamps
from forecasting.errors import DataError, SeriesProblem
from forecasting.paths.sampling import Labels, Paths
from forecasting.quantiles import column_of

if TYPE_CHECKING:
    import pandas as pd

KEYS = ("steps", "blocks", "by", "groups")
# What the group of all series is called, and that of those whose category is not known.
EVERYTHING = "total"
UNKNOWN = "unknown"
MOST_COLUMNS = 8
BEYOND_FLOAT = "no finite number; look for extreme values in y"
# Between the categories of several columns in a group's name.
BETWEEN = "/"


class TotalError(DataError):
    """A total that cannot be asked for.

    Attributes
    ----------
    path : of the wrong value in what was given. code : of the mistake.
    """

    def __init__(self, path: tuple[str | int, ...], code: str, text: str) -> None:
        super().__init__(".".join(map(str, path)) + f": {text}" if path else text)
        self.path, self.code, self.text = path, code, text


@dataclass(frozen=True)
class Total:
    """What is added up.

    Attributes
    ----------
    steps : the first so many, or with ``blocks`` every so many, as many as are whole; None: each
        step stays alone.
    by : static columns whose equal categories make a group; of no column: one group of all.
        groups : names of series by group. None of both: each series stays alone.
    """

    steps: int | None = None
    blocks: bool = False
    by: tuple[str, ...] | None = None
    groups: Mapping[str, tuple[str, ...]] | None = None

    @classmethod
    def of(cls, given: Any, horizon: int, columns: Collection[str]) -> Total:
        """From an object of `KEYS`.

        Parameters
        ----------
        horizon : steps of the paths. columns : static columns of categories that there are.

        Raises
        ------
        TotalError : naming the first wrong value.
        """
        need_keys(given, KEYS, "{steps: 7}")
        steps, blocks = _steps(given, horizon)
        by, groups = given.get("by"), given.get("groups")
        if by is not None and groups is not None:
            raise TotalError(("groups",), "conflict", "give by or groups, not both")
        if steps is None and by is None and groups is None:
            raise TotalError((), "empty", "names neither steps nor by nor groups to add up")
        return cls(
            steps,
            blocks,
            None if by is None else columns_of(by, columns),
            None if groups is None else _groups(groups),
        )


@dataclass(frozen=True)
class Totals:
    """G totals of B stretches of steps.

    Attributes
    ----------
    names : [G] of groups or series. first, last : [B] steps of each stretch, from 1.
    mean : [G, B]. values : [G, B, S] in each path. forecast : what was added up.
    start : [G] stamp of the first step. problems : groups that have no total.
    """

    names: list[str]
    first: Array
    last: Array
    mean: Array
    values: Array
    forecast: Forecast
    start: Array
    problems: list[SeriesProblem]

    def quantiles(self, levels: Sequence[float]) -> Array:
        """[G, B, Q] of the totals."""
        return quantiles_of_paths(self.values, levels)

    def stamps(self) -> Array:
        """[G, B] of the first step of each stretch."""
        whole = self.forecast.freq.stamps(self.start, 0, int(self.last.max(initial=1)))
        return np.asarray(whole[:, self.first - 1])

    def to_frame(self, levels: Sequence[float]) -> pd.DataFrame:
        """Table ``unique_id, ds, first_step, last_step, mean, q<level>…``."""
        import pandas as pd

        count, stretches = self.mean.shape
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(np.array(self.names, object), stretches),
                "ds": public_stamps(self.stamps().ravel(), self.forecast),
                "first_step": np.tile(self.first, count),
                "last_step": np.tile(self.last, count),
                "mean": self.mean.ravel(),
            }
        )
        quantiles = self.quantiles(levels)
        for k, level in enumerate(levels):
            frame[column_of(level)] = quantiles[..., k].ravel()
        return frame

    def whole(self) -> Totals:
        """The same, where every group has a total; `DataError` names the first that has none."""
        if self.problems:
            first = self.problems[0]
            raise DataError(
                f"{len(self.problems)} of {len(self.problems) + len(self.names)} totals cannot be "
                f"made; first: {first.id!r}: {first.detail}"
            )
        return self


def add_up(paths: Paths, total: Total) -> Totals:
    """The totals of paths; a group of which not all can be added up is a problem instead."""
    first, last = stretches(paths.values.shape[1], total)
    values = in_stretches(paths.values, first, last)
    mean = in_stretches(paths.forecast.mean, first, last)
    begin = paths.forecast.start
    if total.by is None and total.groups is None:
        names = [str(name) for name in paths.names]
        return _finite(Totals(names, first, last, mean, values, paths.forecast, begin, []))
    rows = {str(name): k for k, name in enumerate(paths.names.tolist())}
    ids = {str(name) for name in paths.asked.tolist()}
    names, members, problems = [], [], []
    for name, series_ids in groups_of(paths, total).items():
        problem = _problem(name, series_ids, rows, ids, paths.forecast.start)
        if problem is not None:
            problems.append(problem)
            continue
        names.append(name)
        members.append([rows[series] for series in series_ids])
    flat = np.array([row for each in members for row in each], np.int64)
    begins = np.concatenate([[0], np.cumsum([len(each) for each in members])])[:-1]
    begins = begins.astype(np.int64)
    if not names:
        shape = (0, *values.shape[1:])
        nothing = np.zeros(shape[:2])
        return Totals(
            [], first, last, nothing, np.zeros(shape), paths.forecast, begin[:0], problems
        )
    with np.errstate(over="ignore", invalid="ignore"):
        totals = Totals(
            names,
            first,
            last,
            np.add.reduceat(mean[flat], begins, axis=0),
            np.add.reduceat(values[flat], begins, axis=0),
            paths.forecast,
            begin[flat[begins]],
            problems,
        )
    return _finite(totals)


def _finite(found: Totals) -> Totals:
    """The same without totals beyond float's range, each named a problem."""
    fine = np.asarray(
        np.isfinite(found.values).all(axis=(1, 2)) & np.isfinite(found.mean).all(axis=1)
    )
    if fine.all():
        return found
    lost = [name for name, finite in zip(found.names, fine, strict=True) if not finite]
    detail = f"its total is {BEYOND_FLOAT}"
    return replace(
        found,
        names=[name for name, finite in zip(found.names, fine, strict=True) if finite],
        mean=found.mean[fine],
        values=found.values[fine],
        start=found.start[fine],
        problems=[*found.problems, *(SeriesProblem(name, "not_finite", detail) for name in lost)],
    )


def groups_of(paths: Paths, total: Total) -> Mapping[str, Sequence[str]]:
    """Names of the series of each group, in the order in which groups come first."""
    if total.groups is not None:
        return total.groups
    series = [str(name) for name in paths.asked.tolist()]
    alike = by_categories(paths.labels, total.by or (), len(series), ("by",))
    return {name_of(key): [series[row] for row in rows] for key, rows in alike.items()}


def by_categories(
    labels: Labels, columns: Sequence[str], count: int, path: tuple[str | int, ...]
) -> dict[tuple[str, ...], list[int]]:
    """Of ``count`` series the rows of equal categories, in the order in which these come first.

    Raises
    ------
    TotalError : at ``path``, where two groups would bear one name: ``a/b`` with ``c``, and ``a``
        with ``b/c``.
    """
    categories = [[UNKNOWN if label is None else label for label in labels[c]] for c in columns]
    groups: dict[tuple[str, ...], list[int]] = {}
    for row in range(count):
        groups.setdefault(tuple(column[row] for column in categories), []).append(row)
    named: dict[str, tuple[str, ...]] = {}
    for key in groups:
        other = named.setdefault(name_of(key), key)
        if other is not key:
            detail = (
                f"groups {list(other)} and {list(key)} would both be called {name_of(key)!r}; "
                f"name categories without {BETWEEN!r}"
            )
            raise TotalError(path, "ambiguous", detail)
    return groups


def name_of(key: Sequence[str]) -> str:
    """What a group of categories is called."""
    return BETWEEN.join(key) or EVERYTHING


def stretches(horizon: int, total: Total) -> tuple[Array, Array]:
    """[B] first and last steps of what is added up, from 1."""
    if total.steps is None:
        each = np.arange(1, horizon + 1)
        return each, each
    count = horizon // total.steps if total.blocks else 1
    last = np.arange(1, count + 1) * total.steps
    return last - total.steps + 1, last


def in_stretches(values: Array, first: Array, last: Array) -> Array:
    """[N, B, ...] sums of [N, h, ...] over neighbouring stretches of one length."""
    width = int(last[0] - first[0]) + 1
    if width == 1:
        return values[:, : len(first)]
    used = values[:, : len(first) * width]
    with np.errstate(over="ignore"):
        sums = used.reshape(len(values), len(first), width, *values.shape[2:]).sum(axis=2)
    return np.asarray(sums)


def quantiles_of_paths(values: Array, levels: Iterable[float]) -> Array:
    """[..., Q] of values [..., S]: each path stands for the middle of its share.

    So at a single step they are the forecast's own quantiles at the levels of the paths.
    """
    levels, paths = np.array(list(levels), np.float64), values.shape[-1]
    place = np.clip(levels * paths - 0.5, 0.0, paths - 1.0)
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, paths - 1)
    rising = np.sort(values, axis=-1)
    below, above = rising[..., low], rising[..., high]
    return np.asarray(below + (above - below) * (place - low))


def _problem(
    name: str,
    wanted: Sequence[str],
    rows: Mapping[str, int],
    asked: Collection[str],
    start: Array,
) -> SeriesProblem | None:
    lost = next((series for series in wanted if series not in rows), None)
    if lost is not None:
        known = lost in asked
        code = "member_without_forecast" if known else "unknown_series"
        why = "has no forecast" if known else "is none of the series given"
        return SeriesProblem(name, code, f"series {lost!r} {why}", {"series": lost})
    other = next((s for s in wanted if start[rows[s]] != start[rows[wanted[0]]]), None)
    if other is not None:
        detail = (
            f"forecasts of {wanted[0]!r} and {other!r} begin at {start[rows[wanted[0]]]} and "
            f"{start[rows[other]]}: only steps of the same stamps add up"
        )
        return SeriesProblem(name, "starts_differ", detail, {"series": other})
    return None


def _steps(given: Mapping[str, Any], horizon: int) -> tuple[int | None, bool]:
    steps, blocks = given.get("steps"), given.get("blocks", False)
    if not isinstance(blocks, bool):
        raise TotalError(("blocks",), "wrong_type", f"must be true or false, not {blocks!r}")
    if steps is None:
        if blocks:
            raise TotalError(("blocks",), "missing", "needs steps: how many a block has")
        return None, False
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer):
        raise TotalError(("steps",), "wrong_type", f"must be a whole number, not {steps!r}")
    if not 1 <= steps <= horizon:
        raise TotalError(
            ("steps",), "out_of_range", f"{steps} is outside 1..{horizon}, the horizon"
        )
    return int(steps), blocks


def need_keys(given: Any, keys: Collection[str], example: str) -> None:
    """`TotalError` where ``given`` is no object, or has a key that is none of ``keys``."""
    if not isinstance(given, Mapping):
        raise TotalError((), "wrong_type", f"must be an object such as {example}")
    for key in given:
        if key not in keys:
            raise TotalError((str(key),), "unknown_key", f"allowed: {', '.join(keys)}")


def columns_of(
    by: Any, columns: Collection[str], path: tuple[str | int, ...] = ("by",)
) -> tuple[str, ...]:
    """Static columns by name, each once and each of ``columns``; `TotalError` names the place."""
    listed = [by] if isinstance(by, str) else by
    if not isinstance(listed, list | tuple):
        raise TotalError(path, "wrong_type", "must be a list of static columns")
    if len(listed) > MOST_COLUMNS:
        raise TotalError(path, "out_of_range", f"at most {MOST_COLUMNS} columns")
    for k, column in enumerate(listed):
        if not isinstance(column, str):
            raise TotalError((*path, k), "wrong_type", "must be a column's name")
        if column not in columns:
            there = ", ".join(columns) or "none"
            detail = f"{column!r} is no static column of categories; there are: {there}"
            raise TotalError((*path, k), "unknown_column", detail)
        if listed.index(column) != k:
            raise TotalError((*path, k), "duplicate", f"{column!r} is named twice")
    return tuple(listed)


def _groups(groups: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(groups, Mapping) or not groups:
        raise TotalError(("groups",), "wrong_type", "must be an object: series by group")
    by_group: dict[str, tuple[str, ...]] = {}
    for name, members in groups.items():
        if not isinstance(members, list | tuple) or not members:
            raise TotalError(("groups", str(name)), "wrong_type", "must be a list of series")
        for k, member in enumerate(members):
            if not isinstance(member, str):
                raise TotalError(("groups", str(name), k), "wrong_type", "must be a series' name")
        if len(set(members)) != len(members):
            raise TotalError(("groups", str(name)), "duplicate", "names a series twice")
        by_group[str(name)] = tuple(members)
    return by_group
