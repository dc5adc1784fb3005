"""``POST /mcp``: what the service can be asked, as tools of the Model Context Protocol.

A tool is a route asked in JSON: by the same key, within the same limits, answered by the same
function. The protocol itself, in all its versions, is the official SDK's (``gatecast[mcp]``); it is
spoken without sessions, each request answered whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

import orjson

from serving.errors import RequestError
from serving.reading import body
from serving.reading.body import JSON, GoneError
from serving.routes import forecast, models
from serving.routes.asked import anomalies, explain
from serving.routes.openapi import release, schemas
from serving.routes.route import Call, Handler, Reply, Route
from serving.running import logs
from serving.security import FORECAST
from serving.settings import ServingSettings

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server
    from mcp_types import (
        CallToolRequestParams,
        CallToolResult,
        ListToolsResult,
        PaginatedRequestParams,
    )

PATH: Final = "/mcp"
CALL: Final = "gatecast.call"  # where the SDK's request holds the service's own
INSTRUCTIONS: Final = (
    "Forecasts of time series by models that were trained here, or by the pretrained network zero, "
    "where list_models has it, which needs freq and horizon. list_models names all; "
    "describe_model says which covariates one expects and how good it was. A series is given "
    "whole, oldest value first, with the stamp of its first value. An error names the wrong value "
    "by its place, and the cure."
)


@dataclass(frozen=True)
class Offer:
    """A tool: the handler that it asks, and what a model is told of it.

    Attributes
    ----------
    schema : of its arguments. named : whether the argument ``name`` belongs into the path.
    """

    answer: Handler
    title: str
    told: str
    schema: Callable[[], Mapping[str, Any]]
    named: bool = False


def _nothing() -> Mapping[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _name() -> Mapping[str, Any]:
    named = {"name": {"type": "string", "description": "as list_models has it"}}
    return {**_nothing(), "properties": named, "required": ["name"]}


def _series() -> Mapping[str, Any]:
    """The form with a list per series; the flat one is for tables."""
    readable: Mapping[str, Any] = schemas()["Request"]["oneOf"][0]
    return readable


OFFERS: Final[Mapping[str, Offer]] = {
    "list_models": Offer(
        models.list_models,
        "Models",
        "Names, frequencies and horizons of the models that are served.",
        _nothing,
    ),
    "describe_model": Offer(
        models.show_model,
        "A model",
        "The covariates that a model expects, its scores and its lineage.",
        _name,
        named=True,
    ),
    "forecast": Offer(
        forecast.forecast,
        "Forecast",
        "Quantiles of the next steps of one or more series.",
        _series,
    ),
    "explain": Offer(
        explain.explain_forecast,
        "Explain a forecast",
        "What the median of each step is made of: level, season, stretches of the history, each "
        "covariate. The parts add up to it.",
        lambda: schemas()["WhyRequest"],
    ),
    "anomalies": Offer(
        anomalies.anomalies,
        "Anomalies",
        "Every point of a history beside the interval it was expected in, and which are odd at a "
        "rate of false alarms.",
        lambda: schemas()["WatchRequest"],
    ),
}


@dataclass
class _Caught:
    """An answer of the SDK, caught on its way."""

    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message.get("headers", ())
            self.headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in pairs}
        else:
            self.content += message.get("body", b"")

    def reply(self) -> Reply:
        kind = self.headers.get("content-type", JSON)
        headers = {k: v for k, v in self.headers.items() if k in ("allow", "mcp-protocol-version")}
        return Reply(self.content, kind, self.status, headers)


async def speak(call: Call) -> Reply:
    """One message of the protocol, and its answer."""
    _offered(call.service.settings)
    body.media_type(call.headers, (JSON,))
    most = call.service.settings.max_content
    content = call.unpacked(await call.body())
    # The SDK takes NaN and keys that stand twice; they are refused here as everywhere.
    await call.parse(lambda: body.decode_json(content, most), len(content))
    server = await asyncio.to_thread(_server)
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    manager = StreamableHTTPSessionManager(
        server, json_response=True, stateless=True, max_request_body_size=most
    )
    caught = _Caught()
    # Without sessions nothing outlives the request: what the SDK began for it ends here, too.
    async with manager.run():
        await manager.handle_request(_scope(call), _once(content), caught.send)
    return caught.reply()


def _offered(settings: ServingSettings) -> None:
    if settings.mcp is False:
        problem = "is switched off here (GATECAST_MCP=false)"
    elif find_spec("mcp") is None:
        problem = "needs a package that is not installed here: pip install 'gatecast[mcp]'"
    else:
        return
    raise RequestError(404, "unknown_path", f"{PATH} {problem}; /docs shows what can be asked")


def _scope(call: Call) -> dict[str, Any]:
    """The request for the SDK: unpacked, and without what it holds of keys."""
    withheld = ("authorization", "x-api-key", "content-encoding", "content-length")
    headers = [(k, v) for k, v in call.headers.items() if k not in withheld]
    return {
        "type": "http",
        "method": "POST",
        "path": PATH,
        "query_string": b"",
        "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in headers],
        CALL: call,
    }


def _once(content: bytes, then: Callable[[], Any] | None = None) -> Callable[[], Any]:
    """A body that is there; what comes after it is asked of ``then``, or never comes."""
    parts = [content]

    async def receive() -> Any:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await (then() if then is not None else asyncio.Event().wait())

    return receive


@cache
def _server() -> Server[Any]:
    """The SDK's server; it keeps nothing from one request to the next."""
    from mcp.server.lowlevel import Server

    logging.getLogger("mcp").setLevel(logging.WARNING)
    return Server(
        "gatecast",
        version=release(),
        title="Gatecast",
        instructions=INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=_call_tool,
    )


async def _list_tools(
    context: ServerRequestContext[Any], params: PaginatedRequestParams | None
) -> ListToolsResult:
    from mcp_types import ListToolsResult, Tool, ToolAnnotations

    return ListToolsResult(
        tools=[
            Tool(
                name=name,
                title=offer.title,
                description=offer.told,
                input_schema=dict(offer.schema()),
                annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False),
            )
            for name, offer in OFFERS.items()
        ]
    )


async def _call_tool(
    context: ServerRequestContext[Any], params: CallToolRequestParams
) -> CallToolResult:
    """What the route answers, and what it refuses, both as JSON that a model can read."""
    from mcp.shared.exceptions import MCPError
    from mcp_types import INVALID_PARAMS, CallToolResult, TextContent

    offer = OFFERS.get(params.name)
    if offer is None:
        names = ", ".join(OFFERS)
        raise MCPError(INVALID_PARAMS, f"no tool of this name; there are: {names}")
    assert context.request is not None
    outer: Call = context.request.scope[CALL]
    refused = False
    try:
        content = await _asked(offer, outer, params.arguments or {})
    except RequestError as error:
        refused = True
        outer.service.metrics.errors.labels(error.code).inc()
        content = error.body(outer.id)
    return CallToolResult(
        content=[TextContent(text=content.decode())],
        structured_content=orjson.loads(content),
        is_error=refused,
    )


async def _asked(offer: Offer, outer: Call, arguments: Mapping[str, Any]) -> bytes:
    """The route's answer to arguments of a tool; `RequestError` as it would refuse them."""
    path: Mapping[str, str] = {}
    if offer.named:
        name = arguments.get("name")
        if not isinstance(name, str):
            raise RequestError(422, "invalid_request", "name: the name of a model, as a text")
        path = {"name": name}
    receive = _once(_written(arguments), outer.receive)
    headers = {"content-type": JSON, "accept": JSON}
    call = Call(outer.service, receive, headers, outer.id, path, outer.caller)
    try:
        reply = await offer.answer(call)
    except (RequestError, GoneError):
        raise
    except Exception as error:
        logs.failure("internal error", error, request_id=outer.id, path=PATH)
        raise RequestError(
            500,
            "internal_error",
            "the service failed on this request; its log has the reason under the request's id",
        ) from None
    finally:
        outer.service.bodies.release(call)
    return reply.content


def _written(arguments: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(arguments)
    except TypeError:
        # Whole numbers beyond 64 bits, which a route has its own word for.
        return json.dumps(arguments).encode()


ROUTES = (Route("POST", PATH, speak, guard=FORECAST),)
