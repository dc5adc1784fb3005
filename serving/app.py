"""The ASGI application: routes, stages of a forecast, and what every answer has in common."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import orjson

from forecasting.errors import GatecastError
from serving.errors import PROBLEM_TYPE, RequestError, show
from serving.models import describe
from serving.models.batcher import SMALL, Batcher
from serving.models.keeper import Keeper, Loaded, Models
from serving.reading import arrow_form as arrow
from serving.reading import body
from serving.reading.body import ARROW, JSON, GoneError
from serving.reading.json_form import body_object, read_json
from serving.reading.query import Query, read_model_name
from serving.routes import openapi
from serving.routes.invocations import invoke
from serving.running import logs
from serving.running.memory import MUCH, Memory
from serving.running.metrics import CONTENT_TYPE, Metrics
from serving.security import check_key
from serving.settings import ServingSettings
from serving.writing.answer import Answer, write_json
from serving.writing.arrow_form import write_arrow

Scope = Mapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

# Bodies above this are parsed beside the event loop.
LARGE_BODY = 64 * 1024
# And so are answers with more numbers than this.
LARGE_ANSWER = 20_000
# Answers below this are not worth compressing.
LEAST_PACKED = 16 * 1024
RETRY_SECONDS = "1"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
MODEL_PATH = re.compile(r"/v1/models/([^/]+)(/refresh)?")


@dataclass(frozen=True)
class Reply:
    """A complete answer."""

    content: bytes
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """One request under way."""

    scope: Scope
    receive: Receive
    headers: Mapping[str, str]
    id: str
    argument: str = ""


Handler = Callable[[Call], Awaitable[Reply]]


class Application:
    """Answers every request of a worker."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.models = Models(settings, self.metrics)
        self.batcher = Batcher(self.metrics, together=settings.batching)
        self.memory = Memory()
        self.under_way = 0
        self.routes: dict[str, dict[str, Handler]] = {
            "/v1/forecast": {"POST": self.forecast},
            "/invocations": {"POST": self.invocations},
            "/v1/models": {"GET": self.list_models},
            "/livez": {"GET": self.live},
            "/healthz": {"GET": self.live},
            "/ping": {"GET": self.ready},
            "/readyz": {"GET": self.ready},
            "/metrics": {"GET": self.show_metrics},
            "/openapi.json": {"GET": self.show_openapi},
            "/docs": {"GET": self.show_docs},
            "/": {"GET": self.to_docs},
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websocket is served; the server closes it when the application returns.
            return
        began = perf_counter()
        path, route = scope["path"], "other"
        request_id = ""
        self.under_way += 1
        self.metrics.waiting.inc()
        try:
            headers = body.read_headers(scope)
            request_id = _request_id(headers)
            if self.under_way > self.settings.max_waiting and path not in ("/livez", "/metrics"):
                raise RequestError(
                    503,
                    "too_busy",
                    f"{self.settings.max_waiting} requests are under way; try again shortly",
                    headers={"retry-after": RETRY_SECONDS},
                )
            route, handler, argument = self._find(path, scope["method"])
            reply = await handler(Call(scope, receive, headers, request_id, argument))
        except RequestError as error:
            reply = self._refusal(error, request_id, path)
        except GoneError:
            return
        except Exception as error:
            logs.failure("internal error", error, request_id=request_id, path=path)
            reply = self._refusal(
                RequestError(
                    500,
                    "internal_error",
                    "the service failed on this request; its log has the reason under the "
                    "request's id",
                ),
                request_id,
                path,
            )
        finally:
            self.under_way -= 1
            self.metrics.waiting.dec()
        await self._send(reply, scope, send, request_id)
        seconds = perf_counter() - began
        self.metrics.requests.labels(route, str(reply.status)).inc()
        self.metrics.latency.labels(route).observe(seconds)
        if self.settings.access_log:
            logs.info(
                "request",
                method=scope["method"],
                path=path,
                status=reply.status,
                ms=round(seconds * 1e3, 3),
                request_id=request_id,
                client=(scope.get("client") or [None])[0],
            )

    # -- routes ------------------------------------------------------------------------------

    async def forecast(self, call: Call) -> Reply:
        """``POST /v1/forecast``."""
        began = perf_counter()
        if self.settings.protect:
            check_key(call.headers, self.settings)
        kind = body.media_type(call.headers, (JSON, ARROW))
        wanted = _accepted(call.headers, kind)
        sent = await body.read_body(call.receive, call.headers, self.settings)
        self.metrics.stage["read"].observe(perf_counter() - began)
        if len(sent) > MUCH:
            self.memory.release_soon()
        if len(sent) > LARGE_BODY or "content-encoding" in call.headers:
            return await self.batcher.aside(lambda: self._forecast_large(call, sent, kind, wanted))
        began = perf_counter()
        loaded, query = self._parse(sent, kind)
        parsed = perf_counter() - began
        if _is_large(query, loaded):
            return await self.batcher.aside(
                lambda: self._finish(call, loaded, query, wanted, parsed)
            )
        began = perf_counter()
        answer = await self.batcher.forecast(loaded, query)
        return self._written(call, loaded, answer, wanted, parsed, perf_counter() - began)

    def _forecast_large(self, call: Call, sent: bytes, kind: str, wanted: str) -> Reply:
        """All stages in one go, on a thread of their own."""
        began = perf_counter()
        sent = body.unpack(sent, call.headers, self.settings.max_content)
        loaded, query = self._parse(sent, kind)
        return self._finish(call, loaded, query, wanted, perf_counter() - began)

    def _finish(
        self, call: Call, loaded: Loaded, query: Query, wanted: str, parsed: float
    ) -> Reply:
        began = perf_counter()
        answer = self.batcher.compute(loaded, [query])[0]
        return self._written(call, loaded, answer, wanted, parsed, perf_counter() - began)

    def _written(
        self,
        call: Call,
        loaded: Loaded,
        answer: Answer,
        wanted: str,
        parsed: float,
        computed: float,
    ) -> Reply:
        began = perf_counter()
        content = write_json(answer) if wanted == JSON else write_arrow(answer)
        reply = _packed(content, wanted, call)
        stage = self.metrics.stage
        stage["parse"].observe(parsed)
        stage["compute"].observe(computed)
        stage["write"].observe(perf_counter() - began)
        self.metrics.series.labels(loaded.origin.name).inc(len(answer.position))
        for _, problem in answer.problems:
            self.metrics.errors.labels(problem.code).inc()
        return reply

    def _parse(self, sent: bytes, kind: str) -> tuple[Loaded, Query]:
        if kind == JSON:
            content = body_object(body.decode_json(sent, self.settings.max_content))
            loaded = self._loaded(read_model_name(content))
            plain = b"true" not in sent and b"false" not in sent
            return loaded, read_json(content, loaded.spec, no_booleans=plain)
        table, options = arrow.open_table(sent, self.settings.max_content)
        loaded = self._loaded(read_model_name(options))
        return loaded, arrow.read_arrow(table, options, loaded.spec)

    async def invocations(self, call: Call) -> Reply:
        """MLflow's scoring protocol, on the default model or the one in ``params``."""
        if self.settings.protect:
            check_key(call.headers, self.settings)
        body.media_type(call.headers, (JSON,))
        sent = await body.read_body(call.receive, call.headers, self.settings)

        def work() -> bytes:
            unpacked = body.unpack(sent, call.headers, self.settings.max_content)
            content = body_object(body.decode_json(unpacked, self.settings.max_content))
            params = content.get("params")
            name = read_model_name(params) if isinstance(params, dict) else None
            return invoke(content, self._loaded(name))

        return _packed(await self.batcher.aside(work), JSON, call)

    async def list_models(self, call: Call) -> Reply:
        """``GET /v1/models``: a summary of each."""
        keepers, default = self.models.keepers.values(), self.models.default
        return _json({"models": [describe.summary(keeper, default) for keeper in keepers]})

    async def show_model(self, call: Call) -> Reply:
        """``GET /v1/models/{name}``: covariates, scores and lineage of the version that answers."""
        return _json(describe.describe(self._keeper(call.argument), self.models.default))

    async def refresh(self, call: Call) -> Reply:
        """Follow the alias now. A version that cannot be loaded leaves the one that answers."""
        check_key(call.headers, self.settings)
        keeper = self._keeper(call.argument)
        try:
            swapped = await self.batcher.aside(keeper.refresh)
        except GatecastError as error:
            raise RequestError(
                503,
                "refresh_failed",
                f"{error}" + ("; the version that answers stays" if keeper.current else ""),
                headers={"retry-after": RETRY_SECONDS},
            ) from None
        loaded = keeper.current
        return _json({"model": loaded.origin.public() if loaded else None, "swapped": swapped})

    async def live(self, call: Call) -> Reply:
        """The process answers; models are `ready`'s business."""
        return _json({"status": "live"})

    async def ready(self, call: Call) -> Reply:
        """Ready once every model has answered its golden input."""
        states = {
            name: keeper.current.origin.version if keeper.current else None
            for name, keeper in self.models.keepers.items()
        }
        if self.models.ready:
            return _json({"status": "ready", "models": states})
        problems = {n: k.problem for n, k in self.models.keepers.items() if k.current is None}
        raise RequestError(
            503,
            "not_ready",
            "; ".join(f"{name}: {problem or 'loading'}" for name, problem in problems.items()),
            headers={"retry-after": RETRY_SECONDS},
            extra={"models": states},
        )

    async def show_metrics(self, call: Call) -> Reply:
        """Prometheus' text; with a key only, unless the settings make it public."""
        if not self.settings.public_metrics:
            check_key(call.headers, self.settings)
        return Reply(self.metrics.text(), CONTENT_TYPE)

    async def show_openapi(self, call: Call) -> Reply:
        """The OpenAPI document, with an example of a model that is loaded."""
        loaded = next((k.current for k in self.models.keepers.values() if k.current), None)
        example = describe.example(loaded) if loaded else None
        return _json(openapi.document(list(self.models.keepers), example, self.settings))

    async def show_docs(self, call: Call) -> Reply:
        """The page that shows the OpenAPI document; it may load nothing from elsewhere."""
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
        headers = {"content-security-policy": f"{policy}; connect-src 'self'"}
        return Reply(openapi.page(), "text/html; charset=utf-8", headers=headers)

    async def to_docs(self, call: Call) -> Reply:
        """From the root to the page of the API."""
        return Reply(b"", "text/plain", 307, {"location": "/docs"})

    # -- what all of them share ----------------------------------------------------------------

    def _find(self, path: str, method: str) -> tuple[str, Handler, str]:
        route, argument = path, ""
        methods = self.routes.get(path)
        if methods is None:
            match = MODEL_PATH.fullmatch(path)
            if match is None:
                raise RequestError(404, "unknown_path", f"no such path: {show(path)}; see /docs")
            argument = match[1]
            route = "/v1/models/{name}" + (match[2] or "")
            methods = {"POST": self.refresh} if match[2] else {"GET": self.show_model}
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise RequestError(
                405,
                "method_not_allowed",
                f"{route} takes {allowed}",
                headers={"allow": allowed},
            )
        return route, handler, argument

    def _keeper(self, name: str) -> Keeper:
        keeper = self.models.keepers.get(name)
        if keeper is None:
            served = ", ".join(self.models.keepers)
            raise RequestError(
                404, "unknown_model", f"no model {show(name)} is served here; there are: {served}"
            )
        return keeper

    def _loaded(self, name: str | None) -> Loaded:
        keeper = self._keeper(name if name is not None else self.models.default)
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

    def _refusal(self, error: RequestError, request_id: str, path: str) -> Reply:
        request_id = request_id or _request_id({})
        self.metrics.errors.labels(error.code).inc()
        logs.debug(
            "refused", status=error.status, code=error.code, path=path, request_id=request_id,
            detail=error.detail,
        )  # fmt: skip
        return Reply(error.body(request_id), PROBLEM_TYPE, error.status, error.headers)

    async def _send(self, reply: Reply, scope: Scope, send: Send, request_id: str) -> None:
        headers = [
            (b"content-type", reply.kind.encode()),
            (b"content-length", str(len(reply.content)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        for name, value in reply.headers.items():
            headers.append((name.encode(), value.encode()))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        content = b"" if scope["method"] == "HEAD" else reply.content
        await send({"type": "http.response.body", "body": content})


def _is_large(query: Query, loaded: Loaded) -> bool:
    """Whether a request would hold up the event loop, and is worth two thread switches."""
    options, count = query.options, len(query.sizes)
    numbers = count * options.horizon * (len(options.levels) + 1)
    return count > SMALL or numbers > LARGE_ANSWER or options.horizon > loaded.spec.horizon


def _json(content: Any) -> Reply:
    return Reply(orjson.dumps(content))


def _packed(content: bytes, kind: str, call: Call) -> Reply:
    content, encoding = body.pack(content, call.headers, LEAST_PACKED)
    headers = {"content-encoding": encoding, "vary": "accept-encoding"} if encoding else {}
    return Reply(content, kind, headers=headers)


def _accepted(headers: Mapping[str, str], sent: str) -> str:
    """The type of the answer: as asked, else as sent."""
    accepted = headers.get("accept")
    if accepted is None:
        return sent
    kinds = [part.split(";")[0].strip().lower() for part in accepted.split(",")]
    for kind in kinds:
        if kind in (JSON, ARROW):
            return kind
    if any(kind in ("*/*", "application/*", "") for kind in kinds):
        return sent
    raise RequestError(406, "not_acceptable", f"answers are {JSON} or {ARROW}")


def _request_id(headers: Mapping[str, str]) -> str:
    given = headers.get("x-request-id")
    if given is not None and REQUEST_ID.fullmatch(given):
        return given
    return os.urandom(8).hex()
