"""Every route of the service.

A new one is a file beside this one, or in the room `asked`, and a line here.
"""

from __future__ import annotations

from serving.routes import (
    explorer,
    forecast,
    health,
    hooks,
    invocations,
    models,
    openapi,
    series,
    tools,
)
from serving.routes.asked import anomalies, explain, scenarios

ROUTES = (
    *forecast.ROUTES,
    *anomalies.ROUTES,
    *explain.ROUTES,
    *scenarios.ROUTES,
    *series.ROUTES,
    *invocations.ROUTES,
    *models.ROUTES,
    *hooks.ROUTES,
    *health.ROUTES,
    *openapi.ROUTES,
    *tools.ROUTES,
    *explorer.ROUTES,
)
