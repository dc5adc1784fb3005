"""OpenTelemetry traces, where they are asked for; nothing of it is loaded otherwise."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from forecasting.errors import MissingGroupError
from serving.settings import ServingSettings

EXPORTER = "opentelemetry.exporter.otlp.proto.http"


def check(settings: ServingSettings) -> None:
    """`MissingGroupError` if the traces that are asked for cannot be sent."""
    if settings.traces == "otlp" and not _installed(EXPORTER):
        raise MissingGroupError(
            "traces",
            "GATECAST_TRACES = otlp (or OTEL_EXPORTER_OTLP_ENDPOINT) needs a package that is not "
            "installed: pip install 'gatecast[traces]'",
        )


class Tracing:
    """The application, each request in a span if ``settings.traces`` says so."""

    def __init__(self, application: Any, settings: ServingSettings) -> None:
        self.answer, self._provider = application, None
        if settings.traces == "none":
            return
        check(settings)
        from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # The quiet environment switches the SDK off; these traces were asked for.
        os.environ.pop("OTEL_SDK_DISABLED", None)
        name = os.environ.get("OTEL_SERVICE_NAME", "gatecast")
        provider = TracerProvider(resource=Resource.create({"service.name": name}))
        provider.add_span_processor(BatchSpanProcessor(_exporter(settings)))
        self._provider = provider
        self.answer = OpenTelemetryMiddleware(
            application,
            tracer_provider=provider,
            excluded_urls="livez,readyz,metrics",
            # A span for each message would say nothing that the request's does not.
            exclude_spans=["receive", "send"],
        )

    def close(self) -> None:
        """Send what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()


def _exporter(settings: ServingSettings) -> Any:
    if settings.traces == "console":
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter

        return ConsoleSpanExporter(out=sys.stdout)
    return import_module(f"{EXPORTER}.trace_exporter").OTLPSpanExporter()


def _installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False
