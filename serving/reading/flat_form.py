"""The flat JSON form, for machines: one array of values, and how many belong to each series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import SeriesProblem
from serving.errors import Faults, show
from serving.reading import stamps
from serving.reading.columns import categories, is_list, numbers
from serving.reading.joint import read_joint
from serving.reading.noted import note_unfamiliar
from serving.reading.query import (
    FORECAST,
    Query,
    Question,
    Spec,
    check_size,
    refuse_covariate,
    refuse_unknown,
    remember_labels,
)

FLAT_KEYS = frozenset({"y", "sizes", "start", "ids", "past", "future", "static"})


def read_flat(
    body: Mapping[str, Any],
    spec: Spec,
    question: Question = FORECAST,
    *,
    no_booleans: bool = False,
) -> Query:
    """Check a decoded body in the flat form; see `serving.reading.json_form.read_json`."""
    faults = Faults()
    refuse_unknown(body, question.keys | FLAT_KEYS, (), faults)
    options = question.read(body, spec, faults)
    lists = [is_list(body.get(key), (key,), faults) for key in ("y", "sizes")]
    if not all(lists):
        faults.stop()
    before = faults.count
    sizes = _sizes(body["sizes"], len(body["y"]), faults)
    if faults.count > before:
        faults.stop()
    count = len(sizes)
    check_size(count, options, spec)
    if question.together:
        options = replace(options, joint=read_joint(body, spec, options, count, faults))
    y = numbers([body["y"]], lambda _: ("y",), faults, no_booleans=no_booleans)
    ids = _ids(body.get("ids"), count, faults)
    start_field: Any = body.get("start")
    shared = type(start_field) is not list
    if not shared and len(start_field) != count:
        detail = (
            f"holds {len(start_field)} stamps for {count} series; give one for each, or one for all"
        )
        faults.add(("start",), "length_mismatch", detail)
        faults.stop()
    start, zone = stamps.read_starts(
        [start_field] if shared else start_field,
        spec.freq,
        options.tz,
        lambda i: ("start",) if shared else ("start", i),
        faults,
    )
    if shared:
        start = np.repeat(start, count)
    past = _block(body, "past", spec, [len(y)], faults)
    ahead = count * options.horizon
    future = _block(body, "future", spec, [ahead, len(y) + ahead], faults)
    static = _block(body, "static", spec, [count], faults)
    faults.stop()
    future = {name: with_history(v, sizes, options.horizon) for name, v in future.items()}
    query = Query(
        options=options,
        ids=ids,
        position=np.arange(count),
        y=y,
        sizes=sizes,
        start=start,
        tz=zone,
        past=past,
        future=future,
        static=static,
        flat=True,
    )
    return check_columns(query, spec, np.ones(count, bool))


def check_columns(query: Query, spec: Spec, good: Array) -> Query:
    """Series off the grid are refused, unseen categories noted; for all columnar forms.

    Parameters
    ----------
    good : [N] series that nothing was wrong with so far.
    """
    for i in np.flatnonzero(stamps.off_grid(query.start, spec.freq) & good):
        name = query.ids[i]
        query.problems.append((int(i), stamps.grid_problem(name, query.start[i], spec.freq)))
        good[i] = False
    late = stamps.too_late(query.start, query.sizes, query.options.horizon, spec.freq) & good
    for i in np.flatnonzero(late):
        detail = "the forecast would end after the year 9999"
        problem = SeriesProblem(query.ids[i], "out_of_range", detail, {"column": "start"})
        query.problems.append((int(i), problem))
        good[i] = False
    note_unfamiliar(query, spec)
    remember_labels(query, spec.schema)
    return query if good.all() else query.keep(good)


def _sizes(given: list[Any], rows: int, faults: Faults) -> Array:
    fits = bool(given)
    if not given:
        faults.add(("sizes",), "empty", "holds no series")
    for i, size in enumerate(given):
        if type(size) is not int or not 0 <= size <= rows:
            detail = f"must be a whole number from 0 to {rows}, the length of y, not {show(size)}"
            faults.add(("sizes", i), "wrong_type", detail)
            fits = False
    if not fits:
        return np.zeros(0, np.int64)
    sizes = np.array(given, np.int64)
    if int(sizes.sum()) != rows:
        detail = f"add up to {int(sizes.sum())}, and y holds {rows} values"
        faults.add(("sizes",), "length_mismatch", detail)
    return sizes


def _ids(given: Any, count: int, faults: Faults) -> list[str]:
    if given is None:
        return [str(i) for i in range(count)]
    if not is_list(given, ("ids",), faults):
        return []
    if len(given) != count:
        detail = f"holds {len(given)} names for {count} series"
        faults.add(("ids",), "length_mismatch", detail)
        return []
    first: dict[str, int] = {}
    for i, name in enumerate(given):
        if type(name) is not str or not name:
            faults.add(("ids", i), "wrong_type", f"must be text, not {show(name)}")
        elif first.setdefault(name, i) != i:
            faults.add(("ids", i), "duplicate", f"{show(name)} is ids[{first[name]}], too")
    return list(given)


def _block(
    body: Mapping[str, Any], role: str, spec: Spec, lengths: list[int], faults: Faults
) -> dict[str, Any]:
    """Columns of one role, each of one of the lengths; a missing past or future one is a fault."""
    block = body.get(role)
    expected = spec.schema.role(role)
    if block is None:
        block = {}
    if type(block) is not dict:
        detail = f"must be an object of columns, not {show(block)}"
        faults.add((role,), "wrong_type", detail)
        return {}
    for name in block.keys() - {c.name for c in expected}:
        refuse_covariate((role,), name, spec, faults)
    columns: dict[str, Any] = {}
    for covariate in expected:
        name, where = covariate.name, (role, covariate.name)
        if name not in block and role == "static":
            continue
        if not is_list(block.get(name), where, faults):
            continue
        values = block[name]
        if len(values) not in lengths:
            sizes = " or ".join(map(str, lengths))
            faults.add(where, "length_mismatch", f"has {len(values)} values; expected {sizes}")
            continue
        if covariate.type == "real":
            columns[name] = numbers([values], lambda _, w=where: w, faults)  # type: ignore[misc]
        else:
            column = np.empty(len(values), dtype=object)
            column[:] = categories([values], lambda _, w=where: w, faults)  # type: ignore[misc]
            columns[name] = column
    return columns


def with_history(values: Array, sizes: Array, steps: int) -> Array:
    """Values over the horizon alone, with the history before them missing."""
    total = int(sizes.sum()) + len(sizes) * steps
    if len(values) == total:
        return values
    widths = sizes + steps
    position = np.arange(total) - np.repeat(np.cumsum(widths) - widths, widths)
    out = np.full(total, None if values.dtype == object else np.nan, dtype=values.dtype)
    out[position >= np.repeat(sizes, widths)] = values
    return out
