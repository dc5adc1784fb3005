"""Forecasts as a caller gets them: the readable and the flat JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import numpy as np
import orjson

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import SeriesProblem
from serving.reading.query import Query
from serving.reading.stamps import write_stamps
from serving.writing.joint import Together

JSON_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


@dataclass(frozen=True)
class Origin:
    """Which model version an answer comes from."""

    name: str
    version: int
    run_id: str | None
    trained_horizon: int

    def public(self) -> dict[str, Any]:
        """As the answer names the model."""
        return {"name": self.name, "version": self.version, "run_id": self.run_id}


@dataclass(frozen=True)
class Canary:
    """Which series another version than the champion answers, of those that a request has.

    Attributes
    ----------
    ids : those that it answered. fell_back : those of its side that the champion answered.
    because : why it did: ``failed``, ``other_question`` (the challenger takes other covariates,
        steps or a shorter horizon) or ``together`` (series of both sides were asked for as one).
    """

    origin: Origin
    alias: str
    share: float
    ids: Sequence[str] = ()
    fell_back: Sequence[str] = ()
    because: str | None = None

    def public(self) -> dict[str, Any]:
        """As the answer tells it."""
        origin = self.origin
        fields: dict[str, Any] = {
            "alias": self.alias,
            "version": origin.version,
            "run_id": origin.run_id,
            "share": self.share,
            "ids": self.ids,
        }
        if self.fell_back:
            fields["fell_back"] = {"because": self.because, "ids": self.fell_back}
        return fields

    def header(self, count: int) -> str:
        """Of the answer's ``count`` series, how many which version answered."""
        return f"{self.origin.name}@{self.origin.version} {len(self.ids)}/{count}"


@dataclass(frozen=True)
class Answer:
    """Forecasts of M of the N series of a query.

    Attributes
    ----------
    position : [M] place in the request, rising. stamps : [M, h]. mean : [M, h].
    quantiles : [M, h, Q] in the order of ``query.options.levels``.
    problems : the other series, by place in the request. together : paths, totals, a hierarchy.
    canary : which series another version answered; None where none is on its side.
    """

    query: Query
    origin: Origin
    freq: Frequency
    position: Array
    stamps: Array
    mean: Array
    quantiles: Array
    problems: list[tuple[int, SeriesProblem]] = field(default_factory=list)
    together: Together | None = None
    canary: Canary | None = None

    @property
    def keys(self) -> list[str]:
        """Quantile levels as text: ``0.1``."""
        return [f"{level:g}" for level in self.query.options.levels]

    @property
    def joint(self) -> dict[str, Any]:
        """What is told of all series together, but for the paths themselves."""
        if self.together is None:
            return {}
        return self.together.public(self.query.options.levels, self.query.tz)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """The series without a forecast and why, in the order of the request."""
        return [
            {"id": p.id, "code": p.code, "detail": p.detail, "where": p.where}
            for _, p in sorted(self.problems, key=lambda pair: pair[0])
        ]

    @property
    def extended(self) -> dict[str, int] | None:
        """From which step on the forecast was continued by recursion."""
        if self.query.options.horizon <= self.origin.trained_horizon:
            return None
        trained = self.origin.trained_horizon
        return {"trained_horizon": trained, "from_step": trained + 1}


def write_json(answer: Answer) -> bytes:
    """The answer in the form of its request."""
    content: dict[str, Any] = {"model": answer.origin.public()}
    if answer.canary is not None:
        content["canary"] = answer.canary.public()
    if answer.extended:
        content["extended"] = answer.extended
    stamps = write_stamps(answer.stamps, answer.freq, answer.query.tz)
    # [M, Q, h], so that each level of each series is one stretch of memory.
    levels = np.ascontiguousarray(np.moveaxis(answer.quantiles, 2, 1))
    mean = np.ascontiguousarray(answer.mean)
    content |= (
        _flat(answer, stamps, mean)
        if answer.query.flat
        else _readable(answer, stamps, mean, levels)
    )
    content |= answer.joint
    content["errors"] = answer.errors
    return orjson.dumps(content, option=JSON_OPTIONS)


def _readable(answer: Answer, stamps: Any, mean: Array, levels: Array) -> dict[str, Any]:
    ids, notes, keys = answer.query.ids, answer.query.notes, answer.keys
    paths: Iterable[Any] = repeat(None)
    if answer.together is not None and answer.together.paths is not None:
        paths = answer.together.paths
    forecasts = []
    for position, ds, means, rows, drawn in zip(
        answer.position.tolist(), stamps, mean, levels, paths, strict=False
    ):
        forecast: dict[str, Any] = {
            "id": ids[position],
            "ds": ds,
            "mean": means,
            "quantiles": dict(zip(keys, rows, strict=True)),
        }
        if drawn is not None:
            forecast["paths"] = drawn
        if position in notes:
            forecast["notes"] = notes[position]
        forecasts.append(forecast)
    return {"forecasts": forecasts}


def notes_by_id(query: Query) -> list[dict[str, Any]]:
    """The notes of all series in their order, each with the series it is of: for flat forms."""
    return [
        {"id": query.ids[i], **note} for i, notes in sorted(query.notes.items()) for note in notes
    ]


def _flat(answer: Answer, stamps: Any, mean: Array) -> dict[str, Any]:
    query = answer.query
    content: dict[str, Any] = {
        "ids": [query.ids[i] for i in answer.position.tolist()],
        "horizon": query.options.horizon,
        "ds": stamps.ravel() if isinstance(stamps, np.ndarray) else list(chain(*stamps)),
        "mean": mean.ravel(),
        "quantiles": {
            key: np.ascontiguousarray(answer.quantiles[:, :, k]).ravel()
            for k, key in enumerate(answer.keys)
        },
    }
    if answer.together is not None and answer.together.paths is not None:
        content["paths"] = answer.together.paths.ravel()
    if query.notes:
        content["notes"] = notes_by_id(query)
    return content
