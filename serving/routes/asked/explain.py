"""``POST /v1/explain``: what each step's median is made of, adding up to it."""

from __future__ import annotations

from typing import Final

from forecasting.prediction.why.explain import explain
from serving.models.keeper import Loaded
from serving.reading.asked.why_options import WHY, WhyOptions, windows_of
from serving.reading.query import Query
from serving.routes.asked.asking import answer_question, document
from serving.routes.route import Call, Reply, Route
from serving.security import FORECAST
from serving.writing.explained import write_explained

# A window of a path takes about so much of the time that one of a forecast does: no head is read,
# no classical forecast is made, but gradients are.
LIKE_A_FORECAST: Final = 0.5


async def explain_forecast(call: Call) -> Reply:
    """Every median and its parts."""
    return await answer_question(call, WHY, _seconds, _explained)


def _seconds(loaded: Loaded, query: Query) -> float:
    return LIKE_A_FORECAST * loaded.seconds_of(windows_of(query, loaded.spec), 1)


def _explained(loaded: Loaded, query: Query) -> bytes:
    options, engine = query.options, loaded.predictor
    if not isinstance(options, WhyOptions):
        raise AssertionError("a body read as WHY has its options")
    if not len(query.sizes):
        return write_explained(None, query, loaded.origin)
    explanation = explain(
        engine,
        engine.members(),
        query.panel(loaded.spec),
        horizon=options.horizon,
        points=options.points,
    )
    return write_explained(explanation, query, loaded.origin)


ROUTES = (
    Route(
        "POST",
        "/v1/explain",
        explain_forecast,
        summary="What the median of every step is made of",
        document=document(
            "Why", "What every median is made of, and the series that could not be forecast"
        ),
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
