"""Endpoints that compute nothing: what HTTP alone costs, as BentoML comes and tuned.

bentoml serve benchmarks.empty:AsItComes
bentoml serve benchmarks.empty:Tuned
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if os.environ.get("EMPTY_PLAIN"):
    # `pip install bentoml` brings neither; uvicorn takes them where it finds them.
    sys.modules["uvloop"] = sys.modules["httptools"] = None  # type: ignore[assignment]

import bentoml
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

# An answer of the service, so that all endpoints send as many bytes.
ANSWER: dict[str, Any] = orjson.loads(Path(os.environ["EMPTY_ANSWER"]).read_bytes())


@bentoml.service
class AsItComes:
    """The shortest endpoint that BentoML's documentation would have one write."""

    @bentoml.api(route="/v1/forecast")
    def forecast(self, series: list[dict[str, Any]], horizon: int = 18) -> dict[str, Any]:
        return ANSWER


async def _forecast(request: Request) -> Response:
    orjson.loads(await request.body())
    return Response(orjson.dumps(ANSWER), media_type="application/json")


_tuned = Starlette(routes=[Route("/v1/forecast", _forecast, methods=["POST"])])


@bentoml.service(metrics={"enabled": False}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(_tuned, path="/")
class Tuned:
    """A Starlette route with orjson, without BentoML's metrics, traces and access log."""
