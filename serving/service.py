"""The BentoML shell: lifecycle, workers and packaging around the ASGI application.

``bentoml serve serving.service:ForecastService`` and ``python -m serving`` start the same
application. BentoML's own middlewares (traces, access log, metrics, context) cost more than a small
forecast, so requests go past them; under ``bentoml serve``, starting, stopping and the number of
workers are BentoML's.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from serving.settings import ServingSettings, quiet

quiet()

import bentoml  # noqa: E402  (reads the environment that `quiet` sets)
from starlette.applications import Starlette  # noqa: E402

from forecasting.errors import ConfigError  # noqa: E402
from serving.app import Application  # noqa: E402
from serving.running import logs  # noqa: E402
from serving.running.tracing import Tracing  # noqa: E402

ASGI = Callable[[Mapping[str, Any], Any, Any], Awaitable[None]]


def _close_control_port() -> None:
    """`bentoml serve` takes commands on TCP ports without a password: give it sockets of its owner.

    Only its supervisor needs this; workers, and ``python -m serving``, have no such port.
    """
    from bentoml._internal.utils import circus

    def arbiter(watchers: Any, *, threaded: bool = False, **options: Any) -> Any:
        # Made for its owner only; what stands in it cannot be reached by others.
        folder = tempfile.mkdtemp(prefix="gatecast-control-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        kind = circus.ThreadedArbiter if threaded else circus.Arbiter
        return kind(
            watchers,
            endpoint=f"ipc://{folder}/control",
            pubsub_endpoint=f"ipc://{folder}/events",
            check_delay=options.pop("check_delay", 10),
            **options,
        )

    circus.create_standalone_arbiter = arbiter


if "bentoml" in sys.argv[0] and "serve" in sys.argv[1:]:
    _close_control_port()


class Shell(bentoml.Service):  # type: ignore[misc]
    """A BentoML service whose requests are all answered by the mounted application."""

    def to_asgi(self, is_main: bool = True) -> ASGI:
        """BentoML's application for starting and stopping, ours for requests."""
        lifecycle = super().to_asgi(is_main)

        async def dispatch(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
            if scope["type"] == "lifespan":
                await lifecycle(scope, receive, send)
            else:
                await mounted.state.answer(scope, receive, send)

        return dispatch


@asynccontextmanager
async def _lifespan(app: Starlette) -> Any:
    settings = ServingSettings.read()
    if not settings.models:
        raise ConfigError(
            "no model to serve: set GATECAST_MODELS, or use python -m serving --model"
        )
    logs.configure(settings.log_level)
    if settings.key_ring is None:
        logs.info("models are served unsigned: no GATECAST_KEY_RING is set")
    application = Application(settings)
    tracing = Tracing(application, settings)
    app.state.answer = tracing.answer
    await asyncio.to_thread(application.service.models.load)
    # What is here now stays: collections need not look at it again, nor the end of the process.
    gc.collect()
    gc.freeze()
    following = asyncio.create_task(application.service.models.follow())
    logs.info("ready" if application.service.models.ready else "started without every model")
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        application.service.close()
        tracing.close()


async def _starting(scope: Mapping[str, Any], receive: Any, send: Any) -> None:
    raise RuntimeError("a request came before the service had started")


mounted = Starlette(lifespan=_lifespan)
mounted.state.answer = _starting


@bentoml.service(
    name="ForecastService",
    service_class=Shell,
    workers=ServingSettings.read().workers,
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(mounted, path="/")
class ForecastService:
    """Forecasts from the champions of the registry."""


def application() -> ASGI:
    """What a server process runs."""
    shell: Any = ForecastService
    answering: ASGI = shell.to_asgi()
    return answering
