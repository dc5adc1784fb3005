"""Whether the process lives, whether every model can answer, and what was counted.

All of it is answered however busy the service is: who asks decides whether to send more.
"""

from __future__ import annotations

from typing import Any

from serving.errors import RETRY_SECONDS, RequestError
from serving.routes.route import Call, Reply, Route, Service
from serving.running.metrics import CONTENT_TYPE
from serving.security import METRICS


async def live(call: Call) -> Reply:
    """The process answers; models are `ready`'s business."""
    return Reply.json({"status": "live"})


async def ready(call: Call) -> Reply:
    """Ready once every model has answered its golden input."""
    models = call.service.models
    states = {
        name: keeper.current.origin.version if keeper.current else None
        for name, keeper in models.keepers.items()
    }
    if models.ready:
        return Reply.json({"status": "ready", "models": states})
    problems = {n: k.problem for n, k in models.keepers.items() if k.current is None}
    raise RequestError(
        503,
        "not_ready",
        "; ".join(f"{name}: {problem or 'loading'}" for name, problem in problems.items()),
        headers={"retry-after": RETRY_SECONDS},
        extra={"models": states},
    )


async def show_metrics(call: Call) -> Reply:
    """Prometheus' text."""
    return Reply(call.service.metrics.text(), CONTENT_TYPE)


def _plain(service: Service) -> dict[str, Any]:
    return {}


def _text(service: Service) -> dict[str, Any]:
    answer = {"description": "text exposition", "content": {"text/plain": {}}}
    return {"responses": {"200": answer}}


LIVE = "The process answers"
READY = "Every model has a version that answers"
ROUTES = (
    Route("GET", "/livez", live, LIVE, _plain, always=True, by_any_name=True),
    Route("GET", "/healthz", live, LIVE, _plain, always=True, by_any_name=True),
    Route("GET", "/readyz", ready, READY, _plain, (503,), always=True, by_any_name=True),
    Route("GET", "/ping", ready, READY, _plain, (503,), always=True, by_any_name=True),
    Route("GET", "/metrics", show_metrics, "Prometheus metrics", _text, always=True, guard=METRICS),
)
