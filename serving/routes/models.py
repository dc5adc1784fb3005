"""``/v1/models``: what is served, what it expects and how good it was; and follow the alias now."""

from __future__ import annotations

from typing import Any

from forecasting.errors import GatecastError
from serving.errors import RETRY_SECONDS, RequestError
from serving.models import describe
from serving.routes.route import Call, Reply, Route, Service
from serving.running.daemons import beside
from serving.security import FORECAST, REFRESH


async def list_models(call: Call) -> Reply:
    """A summary of each."""
    models = call.service.models
    keepers = models.keepers.values()
    return Reply.json({"models": [describe.summary(k, models.default) for k in keepers]})


async def show_model(call: Call) -> Reply:
    """Covariates, scores and lineage of the version that answers."""
    keeper = call.service.keeper(call.arguments["name"])
    return Reply.json(describe.describe(keeper, call.service.models.default))


async def refresh(call: Call) -> Reply:
    """Follow the alias now. A version that cannot be loaded leaves the one that answers."""
    keeper = call.service.keeper(call.arguments["name"])
    keeper.nudge()
    try:
        swapped = await beside(keeper.refresh, f"refresh {keeper.name}")
    except GatecastError as error:
        raise RequestError(
            503,
            "refresh_failed",
            f"{error}" + ("; the version that answers stays" if keeper.current else ""),
            headers={"retry-after": RETRY_SECONDS},
        ) from None
    loaded = keeper.current
    return Reply.json({"model": loaded.origin.public() if loaded else None, "swapped": swapped})


def _named(service: Service) -> dict[str, Any]:
    schema = {"type": "string", "enum": list(service.models.keepers)}
    return {"parameters": [{"name": "name", "in": "path", "required": True, "schema": schema}]}


def _plain(service: Service) -> dict[str, Any]:
    return {}


ROUTES = (
    Route("GET", "/v1/models", list_models, "The models served", _plain, guard=FORECAST),
    Route(
        "GET",
        "/v1/models/{name}",
        show_model,
        summary="What a model expects, its scores and its lineage",
        document=_named,
        statuses=(404,),
        guard=FORECAST,
    ),
    Route(
        "POST",
        "/v1/models/{name}/refresh",
        refresh,
        summary="Follow the alias now",
        document=_named,
        statuses=(404,),
        guard=REFRESH,
    ),
)
