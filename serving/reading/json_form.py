"""The readable JSON form: a list of objects, one per series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import SeriesProblem
from forecasting.schema import Covariate
from serving.errors import Faults, RequestError, show
from serving.reading import stamps
from serving.reading.columns import categories, is_list, numbers
from serving.reading.flat_form import read_flat
from serving.reading.joint import read_joint
from serving.reading.noted import note_unfamiliar
from serving.reading.query import (
    FORECAST,
    Options,
    Query,
    Question,
    Spec,
    check_size,
    refuse_covariate,
    refuse_unknown,
    remember_labels,
)

SERIES_KEYS = frozenset({"id", "start", "y", "past", "future", "static"})
ROLES = ("past", "future", "static")
MAX_ID = 1024


def read_json(
    body: Mapping[str, Any],
    spec: Spec,
    question: Question = FORECAST,
    *,
    no_booleans: bool = False,
) -> Query:
    """Check a decoded body and bring it into arrays.

    Parameters
    ----------
    question : what may be asked beside the series.
    no_booleans : there is no true or false anywhere in it, which saves a look at each value.

    Raises
    ------
    RequestError : 422 naming each wrong value; 413 for a request beyond the limits. What concerns
        single series is in ``Query.problems``.
    """
    faults = Faults()
    if "series" not in body and ("y" in body or "sizes" in body):
        return read_flat(body, spec, question, no_booleans=no_booleans)
    refuse_unknown(body, question.keys | {"series"}, (), faults)
    options = question.read(body, spec, faults)
    series: Any = body.get("series")
    if not is_list(series, ("series",), faults):
        faults.stop()
    if not series:
        faults.add(("series",), "empty", "holds no series")
        faults.stop()
    check_size(len(series), options, spec)
    if question.together:
        joint = read_joint(body, spec, options, len(series), faults)
        options = replace(options, joint=joint)
    return _Reader(spec, options, series, faults, no_booleans).read()


@dataclass
class _Reader:
    spec: Spec
    options: Options
    series: Sequence[Any]
    faults: Faults
    no_booleans: bool
    problems: list[tuple[int, SeriesProblem]] = field(default_factory=list)

    def read(self) -> Query:
        # A wrong horizon does not hide wrong values; only what has no shape cannot be read on.
        before = self.faults.count
        ids = self._shapes()
        if self.faults.count > before:
            self.faults.stop()
        series, schema = self.series, self.spec.schema
        values = [s["y"] for s in series]
        y = numbers(values, lambda i: ("series", i, "y"), self.faults, no_booleans=self.no_booleans)
        start, zone = stamps.read_starts(
            [s.get("start") for s in series],
            self.spec.freq,
            self.options.tz,
            lambda i: ("series", i, "start"),
            self.faults,
        )
        sizes = np.fromiter(map(len, values), np.int64, len(values))
        good = np.ones(len(series), bool)
        self._check_stamps(ids, start, sizes, good)
        past = {c.name: self._past(c, ids, sizes, good) for c in schema.past}
        future = {c.name: self._future(c, ids, sizes, good) for c in schema.future}
        static = {c.name: self._static(c) for c in schema.static}
        self.faults.stop()
        query = Query(
            options=self.options,
            ids=ids,
            position=np.arange(len(ids)),
            y=y,
            sizes=sizes,
            start=start,
            tz=zone,
            past=past,
            future=future,
            static=static,
            problems=self.problems,
        )
        note_unfamiliar(query, self.spec)
        remember_labels(query, self.spec.schema)
        return query if good.all() else query.keep(good)

    def _shapes(self) -> list[str]:
        """The ids, once every series is an object of lists; duplicates are faults."""
        ids: list[str] = []
        faults = self.faults
        for i, series in enumerate(self.series):
            if type(series) is not dict:
                detail = f"must be an object with id, start and y, not {show(series)}"
                faults.add(("series", i), "wrong_type", detail)
                continue
            if not series.keys() <= SERIES_KEYS:
                refuse_unknown(series, SERIES_KEYS, ("series", i), faults)
            name = series.get("id")
            if type(name) is not str or not 0 < len(name) <= MAX_ID:
                code = "missing" if name is None else "wrong_type"
                detail = f"must be text of 1 to {MAX_ID} characters, not {show(name)}"
                faults.add(("series", i, "id"), code, detail)
            else:
                ids.append(name)
            if type(series.get("y")) is not list:
                is_list(series.get("y"), ("series", i, "y"), faults)
            if len(series) > 3:
                self._covariate_shapes(i, series)
        if not faults and len(set(ids)) != len(ids):
            first: dict[str, int] = {}
            for i, name in enumerate(ids):
                if first.setdefault(name, i) != i:
                    detail = f"{show(name)} is series[{first[name]}], too"
                    faults.add(("series", i, "id"), "duplicate", detail)
        return ids

    def _covariate_shapes(self, i: int, series: Mapping[str, Any]) -> None:
        for role in ROLES:
            block = series.get(role)
            if block is None:
                continue
            where = ("series", i, role)
            if type(block) is not dict:
                detail = f"must be an object of columns, not {show(block)}"
                self.faults.add(where, "wrong_type", detail)
                continue
            names = [c.name for c in self.spec.schema.role(role)]
            for name, value in block.items():
                if name not in names:
                    refuse_covariate(where, name, self.spec, self.faults)
                elif role != "static":
                    if type(value) is not list:
                        is_list(value, (*where, name), self.faults)
                elif type(value) is list or type(value) is dict:
                    detail = f"must be a single value, not {show(value)}"
                    self.faults.add((*where, name), "wrong_type", detail)

    def _check_stamps(self, ids: list[str], start: Array, sizes: Array, good: Array) -> None:
        if self.faults:
            return
        freq, faulty = self.spec.freq, stamps.off_grid(start, self.spec.freq)
        for i in np.flatnonzero(faulty):
            stamp = self.series[int(i)]["start"]
            self._refuse(int(i), stamps.grid_problem(ids[i], stamp, freq), good)
        late = stamps.too_late(start, sizes, self.options.horizon, freq) & good
        for i in np.flatnonzero(late):
            detail = "the forecast would end after the year 9999"
            where = {"column": "start"}
            problem = SeriesProblem(ids[i], "out_of_range", detail, where)
            self._refuse(int(i), problem, good)

    def _refuse(self, i: int, problem: SeriesProblem, good: Array) -> None:
        if good[i]:
            good[i] = False
            self.problems.append((i, problem))

    def _column(self, role: str, covariate: Covariate, lists: list[list[Any]]) -> list[Any]:
        """Checked lists of one covariate; categories as text, numbers as they are."""

        def path(i: int) -> tuple[str | int, ...]:
            return ("series", i, role, covariate.name)

        single = role == "static"
        if covariate.type == "real":
            numbers(lists, path, self.faults, single=single)
            return lists
        flat = iter(categories(lists, path, self.faults, single=single))
        return [[next(flat) for _ in values] for values in lists]

    def _past(self, covariate: Covariate, ids: list[str], sizes: Array, good: Array) -> Any:
        name = covariate.name
        columns = [(s.get("past") or {}).get(name) for s in self.series]
        lists = self._column("past", covariate, [v if v is not None else [] for v in columns])
        filled = []
        for i, values in enumerate(lists):
            size = int(sizes[i])
            if columns[i] is None and size:
                detail = f"past covariate {name!r} is not given"
                problem = SeriesProblem(ids[i], "missing_past_covariate", detail, {"column": name})
                self._refuse(i, problem, good)
            elif len(values) != size:
                self._wrong_length(i, ids, name, len(values), f"{size}, as y has", good)
            filled.append(values if len(values) == size else [None] * size)
        return _array(covariate, filled)

    def _future(self, covariate: Covariate, ids: list[str], sizes: Array, good: Array) -> Any:
        """Values over the history and the horizon; a caller may leave the history out."""
        name, steps = covariate.name, self.options.horizon
        columns = [(s.get("future") or {}).get(name) or [] for s in self.series]
        lists = self._column("future", covariate, columns)
        filled = []
        for i, values in enumerate(lists):
            size = int(sizes[i])
            if len(values) == steps + size:
                filled.append(values)
                continue
            if len(values) <= steps:
                # What is missing at the end is found, and named, by the model.
                ahead = values + [None] * (steps - len(values))
                filled.append([None] * size + ahead)
                continue
            expected = f"{steps} (the horizon) or {size + steps} (history and horizon)"
            self._wrong_length(i, ids, name, len(values), expected, good)
            filled.append([None] * (size + steps))
        return _array(covariate, filled)

    def _wrong_length(
        self, i: int, ids: list[str], name: str, found: int, expected: str, good: Array
    ) -> None:
        detail = f"covariate {name!r} has {found} values; expected {expected}"
        problem = SeriesProblem(ids[i], "length_mismatch", detail, {"column": name})
        self._refuse(i, problem, good)

    def _static(self, covariate: Covariate) -> Any:
        values = [(s.get("static") or {}).get(covariate.name) for s in self.series]
        lists = self._column("static", covariate, [[v] for v in values])
        return _array(covariate, lists)


def _array(covariate: Covariate, lists: Sequence[list[Any]]) -> Array:
    flat = [value for values in lists for value in values]
    if covariate.type == "categorical":
        out = np.empty(len(flat), dtype=object)
        out[:] = flat
        return out
    try:
        return np.array(flat, dtype=np.float64)
    except (TypeError, ValueError):
        # A fault was noted already; the array is not used.
        return np.full(len(flat), np.nan)


def body_object(body: Any) -> dict[str, Any]:
    """The decoded body, which has to be an object."""
    if type(body) is not dict:
        detail = f"the body must be a JSON object, not {show(body)}"
        raise RequestError(422, "invalid_request", detail)
    return body
