"""Judged points as a caller gets them, in the form of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from forecasting.errors import SeriesProblem
from forecasting.prediction.anomalies.found import KINDS, Found
from serving.reading.query import Query
from serving.reading.stamps import write_stamps
from serving.writing.answer import JSON_OPTIONS, Origin, notes_by_id


def write_watched(found: Found | None, query: Query, origin: Origin, rate: float) -> bytes:
    """The JSON of an answer; numbers that are not known are null.

    ``found`` : None where no series could be asked about.
    """
    content: dict[str, Any] = {"model": origin.public(), "rate": rate}
    problems = list(query.problems)
    if found is not None:
        content |= _flat(found, query) if query.flat else {"series": _readable(found, query)}
        for i, problem in found.problems.items():
            place = int(query.position[i])
            named = SeriesProblem(query.ids[place], problem.code, problem.detail, problem.where)
            problems.append((place, named))
    elif not query.flat:
        content["series"] = []
    content["errors"] = [
        {"id": p.id, "code": p.code, "detail": p.detail, "where": p.where}
        for _, p in sorted(problems, key=lambda pair: pair[0])
    ]
    return orjson.dumps(content, option=JSON_OPTIONS)


def _columns(found: Found, query: Query) -> Mapping[str, Any]:
    """What is said of each point, by name."""
    stamps = write_stamps(found.stamps[None], found.panel.freq, query.tz)[0]
    kinds = [KINDS[kind] or None for kind in found.kind.tolist()]
    return {
        "ds": stamps,
        "expected": found.median,
        "low": found.low,
        "high": found.high,
        "p": found.chance,
        "anomaly": found.anomaly,
        "kind": kinds,
    }


def _readable(found: Found, query: Query) -> list[dict[str, Any]]:
    columns, ends = _columns(found, query), np.cumsum(found.sizes).tolist()
    records = []
    for i, (end, size) in enumerate(zip(ends, found.sizes.tolist(), strict=True)):
        place = int(query.position[i])
        if i in found.problems:
            continue
        one = {name: values[end - size : end] for name, values in columns.items()}
        notes = {"notes": query.notes[place]} if place in query.notes else {}
        records.append({"id": query.ids[place], **one, **notes})
    return records


def _flat(found: Found, query: Query) -> dict[str, Any]:
    answered = np.array([i not in found.problems for i in range(len(found.sizes))], bool)
    rows = np.flatnonzero(np.repeat(answered, found.sizes))
    columns = {
        name: np.ascontiguousarray(values[rows])
        if isinstance(values, np.ndarray)
        else [values[row] for row in rows.tolist()]
        for name, values in _columns(found, query).items()
    }
    ids = [query.ids[i] for i in query.position[answered].tolist()]
    content = {"ids": ids, "sizes": found.sizes[answered], **columns}
    if query.notes:
        content["notes"] = notes_by_id(query)
    return content
