"""OpenTelemetry traces, where they are asked for; nothing of it is loaded otherwise."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from forecasting.errors import ConfigError
from serving.settings import ServingSettings


def traced(application: Any, settings: ServingSettings) -> Any:
    """The application, each request in a span if ``settings.traces`` says so."""
    if settings.traces == "none":
        return application
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # The quiet environment switches the SDK off; these traces were asked for.
    os.environ.pop("OTEL_SDK_DISABLED", None)
    provider = TracerProvider(resource=Resource.create({"service.name": "gatecast"}))
    provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
    return OpenTelemetryMiddleware(
        application, tracer_provider=provider, excluded_urls="livez,readyz,metrics"
    )


def _exporter(settings: ServingSettings) -> Any:
    if settings.traces == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter()
    try:
        exporters = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise ConfigError(
            "GATECAST_TRACES = otlp needs a package that is not installed: "
            "pip install opentelemetry-exporter-otlp-proto-http"
        ) from None
    return exporters.OTLPSpanExporter()
