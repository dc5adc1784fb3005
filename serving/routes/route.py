"""What a route is: what it is asked, what it answers with, and how the document describes it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import orjson
from starlette.routing import compile_path

from serving.errors import RETRY_SECONDS, RequestError, show
from serving.models.batcher import Batcher
from serving.models.canary import Canaries
from serving.models.keeper import Keeper, Loaded
from serving.models.keepers import Keepers
from serving.models.pretrained import Included, Pretrained
from serving.models.shadow import Shadow
from serving.reading import body
from serving.reading.body import JSON, Bodies, GoneError
from serving.running.deliveries import Deliveries
from serving.running.lanes import Lanes
from serving.running.masking import keep_secret, keep_secrets_of
from serving.running.memory import MUCH, Memory
from serving.running.metrics import Metrics
from serving.security import Caller, Guard
from serving.settings import ServingSettings
from serving.states.store import Store
from serving.writing.answer import Canary

T = TypeVar("T")
CANARY: Final = "x-gatecast-canary"
NAME = "name"  # the argument of a path that is a model's name

LEAST_PACKED: Final = 16 * 1024  # bytes; shorter answers are not worth compressing
READ_PER_SECOND: Final = 20_000_000  # bytes of a body that are parsed in a second, about


class Service:
    """What all routes share: settings, models, counters, and where work is done."""

    def __init__(self, settings: ServingSettings) -> None:
        keep_secrets_of(settings.store)
        keep_secret(
            settings.api_key.get_secret_value() if settings.api_key else None,
            settings.hook_secret.get_secret_value() if settings.hook_secret else None,
            os.environ.get("MLFLOW_TRACKING_PASSWORD"),
            os.environ.get("MLFLOW_TRACKING_TOKEN"),
        )
        self.settings = settings
        self.keys = settings.keys()
        self.metrics = Metrics()
        self.models = Keepers(settings, self.metrics)
        self.canaries = Canaries(self.models, self.metrics)
        self.lanes = Lanes()
        self.batcher = Batcher(self.metrics, self.lanes, together=settings.batching)
        self.memory = Memory()
        self.bodies = Bodies(settings)
        self.deliveries = Deliveries(settings.home.absolute() / "hooks")
        self.shadow: Shadow | None = None
        if settings.compares:
            self.shadow = Shadow(settings, self.metrics, lambda: self.bodies.under_way)
        self.states = Store(settings.states, settings.series_bytes, sync=settings.series_sync)
        self.routes: tuple[Route, ...] = ()

    def keeper(self, name: str) -> Keeper | Included:
        """The keeper of a model that is served; 404 names those there are."""
        keeper = self.models.keepers.get(name)
        if keeper is None:
            served = ", ".join(self.models.keepers)
            raise RequestError(
                404, "unknown_model", f"no model {show(name)} is served here; there are: {served}"
            )
        return keeper

    def loaded(self, name: str | None) -> Loaded:
        """The trained version that answers for a model, or for the default one."""
        loaded = self.answering(name)
        if isinstance(loaded, Pretrained):
            raise RequestError(
                422,
                "trained_only",
                f"model {loaded.origin.name!r} is the pretrained network, which answers "
                "/v1/forecast alone: ask a model that was trained, by its name in `model`",
            )
        return loaded

    def answering(self, name: str | None) -> Loaded | Pretrained:
        """What forecasts for a model, or for the default one."""
        keeper = self.keeper(name if name is not None else self.models.default)
        loaded = keeper.current
        if loaded is None:
            raise RequestError(
                503,
                "not_ready",
                f"model {keeper.name!r} has no version to answer with: "
                f"{keeper.problem or 'it is being loaded'}",
                headers={"retry-after": RETRY_SECONDS},
            )
        return loaded

    def close(self) -> None:
        """Let work under way end."""
        self.lanes.close()
        if self.shadow is not None:
            self.shadow.close()
        self.states.close()


@dataclass(frozen=True)
class Reply:
    """A complete answer; ``after`` : called once it is sent, and may not raise."""

    content: bytes
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    after: Callable[[], None] | None = None

    def of(self, canary: Canary | None, count: int) -> Reply:
        """The answer, whose headers say which of its ``count`` series a challenger answered."""
        if canary is None:
            return self
        # A header takes no other letters; the body has the name as it is.
        header = canary.header(count).encode("ascii", "replace").decode()
        return replace(self, headers={**self.headers, CANARY: header})

    @classmethod
    def json(cls, content: Any) -> Reply:
        """An answer of JSON."""
        return cls(orjson.dumps(content))


@dataclass(frozen=True, eq=False)
class Call:
    """One request under way."""

    service: Service
    receive: Callable[[], Awaitable[Any]]
    headers: Mapping[str, str]
    id: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    caller: Caller = field(default_factory=Caller)
    parameters: str = ""  # what stands behind the ? of the address

    async def body(self, most: int | None = None) -> bytes:
        """The whole body, as sent; of at most so many bytes, where the service takes more."""
        limit = self._at_most(self.service.settings.max_body)
        most = limit if most is None else min(limit, most)
        sent = await self.service.bodies.read(self.receive, self.headers, self, most)
        if len(sent) > MUCH:
            self.service.memory.release_soon()
        return sent

    def unpacked(self, sent: bytes) -> bytes:
        """The body without its content encoding."""
        most = self._at_most(self.service.settings.max_content)
        return body.unpack(sent, self.headers, most)

    def _at_most(self, size: int) -> int:
        """A limit of the service in bytes, or the caller's own if that is less."""
        own = self.caller.key.max_body if self.caller.key is not None else None
        return size if own is None else min(size, own)

    async def parse(self, work: Callable[[], T], size: int) -> T:
        """Parse a body of so many bytes beside the event loop."""
        return await self.service.lanes.run(work, size / READ_PER_SECOND)

    async def compute(self, work: Callable[[threading.Event], T], seconds: float) -> T:
        """Run what was estimated to take so many seconds, until the caller leaves.

        ``work`` gets an event that says it is no longer wanted; it looks at it often.
        """
        stop = threading.Event()
        gone = asyncio.ensure_future(self._gone())
        result = asyncio.ensure_future(self.service.lanes.run(lambda: work(stop), seconds))
        try:
            await asyncio.wait({gone, result}, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise GoneError
            return result.result()
        finally:
            stop.set()
            gone.cancel()
            result.cancel()

    async def _gone(self) -> None:
        """Returns once the caller has hung up."""
        message = await self.receive()
        if message["type"] != "http.disconnect":
            # Nothing else comes after a body; whatever does says nothing of the caller.
            await asyncio.Event().wait()

    def packed(self, content: bytes, kind: str) -> Reply:
        """An answer, compressed where it is long and the caller takes that."""
        content, encoding = body.pack(content, self.headers, LEAST_PACKED)
        headers = {"content-encoding": encoding, "vary": "accept-encoding"} if encoding else {}
        return Reply(content, kind, headers=headers)


Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True)
class Route:
    """One thing a caller may ask.

    Attributes
    ----------
    path : with arguments in braces, ``/v1/models/{name}``. summary : of the document.
    document : more of the operation in the document, by settings and an example request; None for
        a route that the document leaves out. statuses : of refusals beside those of every route.
    always : answered however busy the service is.
    by_any_name : answered whatever name the service is called by.
    guard : the scope that it needs, and where; None for what needs no key.
    """

    method: str
    path: str
    answer: Handler
    summary: str = ""
    document: Callable[[Service], dict[str, Any]] | None = None
    statuses: tuple[int, ...] = ()
    always: bool = False
    by_any_name: bool = False
    guard: Guard | None = None


class Table:
    """Routes by path: those without arguments at once, the others by their patterns."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self.plain: dict[str, dict[str, Route]] = {}
        self.patterns: list[tuple[Any, dict[str, Route]]] = []
        by_path: dict[str, dict[str, Route]] = {}
        for route in routes:
            by_path.setdefault(route.path, {})[route.method] = route
        for path, methods in by_path.items():
            if "{" in path:
                self.patterns.append((compile_path(path)[0], methods))
            else:
                self.plain[path] = methods

    def find(
        self, path: str, method: str, raw: bytes | None = None
    ) -> tuple[Route, Mapping[str, str]]:
        """The route and its arguments; 404 or 405 otherwise.

        ``raw`` : the path before it was decoded, where ``%2F`` is no border of an argument.
        """
        methods, arguments = self.plain.get(path), {}
        if methods is None:
            sent = path if raw is None else raw.decode("latin-1")
            for pattern, candidates in self.patterns:
                match = pattern.fullmatch(sent)
                if match is not None:
                    methods, arguments = candidates, match.groupdict()
                    break
            if raw is not None:
                arguments = {name: _decoded(text, path) for name, text in arguments.items()}
            if "/" in arguments.get(NAME, ""):
                methods = None  # no model is called so
        if methods is None:
            raise RequestError(404, "unknown_path", f"no such path: {show(path)}; see /docs")
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            name = next(iter(methods.values())).path
            raise RequestError(
                405, "method_not_allowed", f"{name} takes {allowed}", headers={"allow": allowed}
            )
        return route, arguments


def _decoded(text: str, path: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise RequestError(404, "unknown_path", f"no such path: {show(path)}; see /docs") from None
