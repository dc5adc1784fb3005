"""``POST /v1/scenarios``: what if other things were known ahead, and what would it change."""

from __future__ import annotations

from forecasting.paths.scenarios import compare
from serving.models.batcher import SMALL
from serving.models.keeper import Loaded
from serving.reading.asked.scenario_options import (
    SCENARIOS,
    asked,
    blocks_of,
    check_scenarios,
)
from serving.reading.query import Query
from serving.routes.asked.asking import (
    DRAWS_OF_NUMBER,
    DRAWS_PER_SECOND,
    LARGE_ANSWER,
    answer_question,
    document,
)
from serving.routes.route import Call, Reply, Route
from serving.security import FORECAST
from serving.writing.planned import write_planned


async def scenarios(call: Call) -> Reply:
    """Every series in every scenario, beside the base."""
    return await answer_question(call, SCENARIOS, _seconds, _compared, _small)


def _seconds(loaded: Loaded, query: Query) -> float:
    forecasts, options = check_scenarios(query, loaded.spec), asked(query)
    numbers = forecasts * options.horizon * options.draws.paths
    return loaded.seconds_of(forecasts, 1) + numbers / DRAWS_PER_SECOND


def _small(loaded: Loaded, query: Query) -> bool:
    options = asked(query)
    forecasts = len(query.sizes) * options.runs
    numbers = forecasts * options.horizon * options.draws.paths
    return forecasts <= SMALL and numbers // DRAWS_OF_NUMBER <= LARGE_ANSWER


def _compared(loaded: Loaded, query: Query) -> bytes:
    options, engine = asked(query), loaded.predictor
    comparison = None
    if len(query.sizes):
        panel = query.panel(loaded.spec)
        comparison = compare(
            engine,
            panel,
            blocks_of(query, panel),
            base=options.base,
            draws=options.draws,
            horizon=options.horizon,
            quantiles=options.levels,
            names=[query.ids[place] for place in query.position.tolist()],
        )
    return write_planned(comparison, query, loaded.spec, loaded.origin, engine.dependence.learned)


ROUTES = (
    Route(
        "POST",
        "/v1/scenarios",
        scenarios,
        summary="Forecast under other known-future covariates, and say what they change",
        document=document("Plan", "Forecasts of every scenario, and how they differ from the base"),
        statuses=(400, 404, 408, 413, 415, 422),
        guard=FORECAST,
    ),
)
