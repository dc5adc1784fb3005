"""Explanations as a caller gets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from forecasting.errors import SeriesProblem
from forecasting.prediction.why.explain import Explained
from serving.reading.query import Query
from serving.reading.stamps import write_stamps
from serving.writing.answer import JSON_OPTIONS, Origin


def write_explained(found: Explained | None, query: Query, origin: Origin) -> bytes:
    """The JSON of an answer; None where no series could be asked about."""
    explanations: list[dict[str, Any]] = []
    problems = list(query.problems)
    if found is not None:
        freq = found.panel.freq
        stamps = write_stamps(query.ahead(found.kept, freq), freq, query.tz)
        # [N, C, h], so that each part of each series is one stretch of memory.
        parts = np.ascontiguousarray(np.moveaxis(found.parts, 2, 1))
        for k, i in enumerate(found.kept.tolist()):
            place = int(query.position[i])
            one: dict[str, Any] = {
                "id": query.ids[place],
                "ds": stamps[k],
                "median": np.ascontiguousarray(found.median[k]),
                "parts": dict(zip(found.names, parts[k], strict=True)),
            }
            if place in query.notes:
                one["notes"] = query.notes[place]
            explanations.append(one)
        for problem in found.problems:
            place = int(query.position[int(problem.id)])
            named = SeriesProblem(query.ids[place], problem.code, problem.detail, problem.where)
            problems.append((place, named))
    errors = [
        {"id": p.id, "code": p.code, "detail": p.detail, "where": p.where}
        for _, p in sorted(problems, key=lambda pair: pair[0])
    ]
    content = {"model": origin.public(), "explanations": explanations, "errors": errors}
    return orjson.dumps(content, option=JSON_OPTIONS)
