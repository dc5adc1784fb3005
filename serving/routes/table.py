"""Every route of the service. A new one is a file beside this one, and a line here."""

from __future__ import annotations

from serving.routes import (
    anomalies,
    explain,
    explorer,
    forecast,
    health,
    hooks,
    invocations,
    models,
    openapi,
    scenarios,
    series,
    tools,
)

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
