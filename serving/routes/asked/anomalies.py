"""``POST /v1/anomalies``: what was expected of every point of a history, and which are odd."""

from __future__ import annotations

from forecasting.prediction.anomalies.watch import watch
from serving.models.keeper import Loaded
from serving.reading.asked.watch_options import WATCH, WatchOptions, check_points
from serving.reading.query import Query
from serving.routes.asked.asking import answer_question, document
from serving.routes.route import Call, Reply, Route
from serving.security import FORECAST
from serving.writing.watched import write_watched


async def anomalies(call: Call) -> Reply:
    """Every point beside what was expected of it."""
    return await answer_question(call, WATCH, _seconds, _judged)


def _seconds(loaded: Loaded, query: Query) -> float:
    return loaded.seconds_of(check_points(query, loaded.spec), 1)


def _judged(loaded: Loaded, query: Query) -> bytes:
    options = query.options
    if not isinstance(options, WatchOptions):
        raise AssertionError("a body read as WATCH has its options")
    if not len(query.sizes):
        return write_watched(None, query, loaded.origin, options.rate)
    points, _ = watch(loaded.predictor, query.panel(loaded.spec), options.rate, last=options.last)
    return write_watched(points, query, loaded.origin, options.rate)


ROUTES = (
    Route(
        "POST",
        "/v1/anomalies",
        anomalies,
        summary="Judge every point of a history by the points before it",
        document=document(
            "Watch",
            "Every point beside what was expected, and the series that could not be judged",
        ),
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
