"""Every route of the service. A new one is a file beside this one, and a line here."""

from __future__ import annotations

from serving.routes import explorer, forecast, health, invocations, models, openapi

ROUTES = (
    *forecast.ROUTES,
    *invocations.ROUTES,
    *models.ROUTES,
    *health.ROUTES,
    *openapi.ROUTES,
    *explorer.ROUTES,
)
