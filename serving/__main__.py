"""Start the service: ``python -m serving --model NAME``.

Exit codes: 0 stopped, 1 failed, 2 a setting that cannot be used, an unknown model, a port in use.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from forecasting.errors import ConfigError, GatecastError, need
from serving.settings import ServingSettings, quiet

if TYPE_CHECKING:
    from serving.models.registry import Registry

BACKLOG = 2048
GRACE_SECONDS = 30
HEALTH_SECONDS = 30  # without a sign of life, and a worker is started anew
NEEDED = ("bentoml", "httptools", "orjson", "prometheus_client", "starlette", "uvicorn")
EXAMPLE = "example: python -m serving --model m3-monthly --port 3000"


def main(arguments: list[str] | None = None) -> int:
    """Read the settings, take the port, serve until stopped."""
    quiet()
    # What is written here holds models and their data: for its owner only.
    os.umask(0o077)
    try:
        need("the service", *NEEDED)
        settings = _settings(arguments)
        if settings.mcp:
            need("GATECAST_MCP = true", "mcp")
        from serving.running import tracing

        tracing.check(settings)
        _check_ring(settings)
        listener = _take_port(settings)
        settings = settings.model_copy(update={"port": listener.getsockname()[1]})
        _check_models(settings)
    except GatecastError as error:
        print(f"gatecast: {error}", file=sys.stderr)
        return 2
    os.environ.update(settings.variables())
    serve = _serve_here if settings.workers == 1 else _serve_workers
    return serve(settings, listener)


def _settings(arguments: list[str] | None) -> ServingSettings:
    parser = argparse.ArgumentParser(
        prog="python -m serving", description="Serve forecasts over HTTP.", epilog=EXAMPLE
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME",
        help="registered model, or zero, the pretrained network; may be repeated",
    )
    parser.add_argument("--alias", help="alias that is followed [champion]")
    parser.add_argument("--host", help="address to listen on [127.0.0.1]")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one [3000]")
    parser.add_argument("--workers", type=int, help="processes [1]")
    parser.add_argument("--threads", type=int, help="threads per worker [cores / workers]")
    parser.add_argument("--poll-seconds", type=float, help="between looks at the registry [5]")
    parser.add_argument(
        "--shadow", metavar="ALIAS", help="compute this alias beside the answers, and keep both"
    )
    parser.add_argument(
        "--canary", type=float, metavar="SHARE", help="of the series, answered by the challenger"
    )
    parser.add_argument("--access-log", action="store_true", default=None, help="log each request")
    options = vars(parser.parse_args(arguments))
    models = options.pop("model")
    settings = ServingSettings.read(models=tuple(models) if models else None, **options)
    if not settings.models:
        raise ConfigError("no model to serve: name one with --model NAME")
    return settings


def _check_ring(settings: ServingSettings) -> None:
    """A ring that is no folder trusts nobody: better said now than of every version."""
    from forecasting.signing import Ring

    if settings.key_ring is None:
        return
    if not Ring(settings.key_ring).held():
        raise ConfigError(
            f"GATECAST_KEY_RING = {settings.key_ring} holds no key: correct the name, or put one "
            "there with `gatecast keys new`"
        )


def _take_port(settings: ServingSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {reason}; stop what uses it, or "
            "choose another with --port"
        ) from None
    listener.set_inheritable(True)
    return listener


def _check_models(settings: ServingSettings) -> None:
    """An unknown model stops the start; an unreachable registry does not, if there is a copy."""
    from serving.models.pretrained import NAME
    from serving.models.registry import RegistryError, open_registry
    from serving.models.remembered import remembered

    registry = open_registry(settings.store)
    for name in settings.models:
        if name == NAME:
            if _is_registered(registry, name):
                raise ConfigError(
                    f"a registered model is called {NAME!r}, which is the name of the pretrained "
                    "network: train it under another name, or delete it there"
                )
            continue
        try:
            registry.resolve(name, settings.alias)
        except RegistryError:
            if remembered(settings, name) is None:
                raise


def _is_registered(registry: Registry, name: str) -> bool:
    """Whether a model has the name, as far as the registry can be asked."""
    from serving.models.registry import RegistryError

    try:
        return name in registry.names()
    except RegistryError:
        return False


def _serve_here(settings: ServingSettings, listener: socket.socket) -> int:
    """One worker in this process: no supervisor, no second start."""
    import uvicorn

    from serving import service

    _announce(settings)
    # The server raises the signal that stopped it again, once it has stopped in order.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    server = uvicorn.Server(_config(service.application()))
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _serve_workers(settings: ServingSettings, listener: socket.socket) -> int:
    """Several workers, and a parent that only watches them."""
    from serving.running.workers import Workers

    _announce(settings)
    config = _config("serving.service:application", factory=True, workers=settings.workers)
    workers = Workers(config, [listener], GRACE_SECONDS)
    workers.run()
    return 1 if workers.failed else 0


def _config(application: Any, **more: Any) -> Any:
    import uvicorn

    from serving.running.connections import server_options

    return uvicorn.Config(
        application,
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        backlog=BACKLOG,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=HEALTH_SECONDS,
        **server_options(),
        **more,
    )


def _leave(code: int) -> NoReturn:
    """End now, whatever a thread may still compute: nobody waits for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _announce(settings: ServingSettings) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    names = ", ".join(settings.models)
    print(f"serving {names} on http://{host}:{settings.port} (docs: /docs)", flush=True)


if __name__ == "__main__":
    _leave(main())
