"""The ASGI shell around the routes: limits, ids, refusals, counters and the access log."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import Any, Final

from serving.errors import PROBLEM_TYPE, RequestError, new_request_id
from serving.reading import body
from serving.reading.body import GoneError
from serving.routes.route import CANARY, Call, Reply, Service, Table
from serving.routes.table import ROUTES
from serving.running import logs
from serving.security import Quotas, check_names, identify
from serving.settings import ServingSettings

Scope = Mapping[str, Any]
Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

NOT_MODIFIED: Final = 304
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Application:
    """Answers every request of a worker."""

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.service = Service(settings)
        self.service.routes = ROUTES
        self.table = Table(ROUTES)
        self.quotas = Quotas(settings.workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # No websocket is served; the server closes it when the application returns.
            return
        began = perf_counter()
        request_id, name = _request_id(scope), "other"
        metrics = self.service.metrics
        call: Call | None = None
        self.service.bodies.under_way += 1
        metrics.waiting.inc()
        try:
            route, arguments = self.table.find(
                scope["path"], scope["method"], scope.get("raw_path")
            )
            name = route.path
            headers = body.read_headers(scope)
            caller = identify(headers, self.service.keys)
            parameters = scope.get("query_string", b"").decode("latin-1")
            call = Call(self.service, receive, headers, request_id, arguments, caller, parameters)
            if not route.always:
                self.service.bodies.check_room()
                self.quotas.take(caller.key)
            arrived = (scope.get("server") or (None,))[0]
            if not route.by_any_name:
                check_names(headers, arrived, self.settings)
            if route.guard is not None:
                route.guard.check(caller, arrived, self.settings)
            reply = await route.answer(call)
        except RequestError as error:
            reply = self._refusal(error, request_id, scope["path"])
        except GoneError:
            metrics.requests.labels(name, "gone").inc()
            return
        except Exception as error:
            logs.failure("internal error", error, request_id=request_id, path=scope["path"])
            reply = self._refusal(_internal_error(), request_id, scope["path"])
        finally:
            self.service.bodies.release(call)
            self.service.bodies.under_way -= 1
            metrics.waiting.dec()
        await _send(reply, scope, send, request_id)
        seconds = perf_counter() - began
        metrics.requests.labels(name, str(reply.status)).inc()
        metrics.latency.labels(name).observe(seconds)
        if self.settings.access_log:
            logs.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=reply.status,
                ms=round(seconds * 1e3, 3),
                request_id=request_id,
                client=(scope.get("client") or [None])[0],
                key=call.caller.key.name if call is not None and call.caller.key else None,
                **({"canary": reply.headers[CANARY]} if CANARY in reply.headers else {}),
            )
        if reply.after is not None:
            reply.after()

    def _refusal(self, error: RequestError, request_id: str, path: str) -> Reply:
        self.service.metrics.errors.labels(error.code).inc()
        write = logs.error if error.code == "keys_unreadable" else logs.debug
        write(
            "refused",
            status=error.status,
            code=error.code,
            path=path,
            request_id=request_id,
            detail=error.detail,
        )
        return Reply(error.body(request_id), PROBLEM_TYPE, error.status, error.headers)


def _internal_error() -> RequestError:
    return RequestError(
        500,
        "internal_error",
        "the service failed on this request; its log has the reason under the request's id",
    )


async def _send(reply: Reply, scope: Scope, send: Send, request_id: str) -> None:
    headers = [
        (b"content-type", reply.kind.encode()),
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]
    if reply.status != NOT_MODIFIED:
        # There it would be the length of what was not sent again.
        headers.append((b"content-length", str(len(reply.content)).encode()))
    for name, value in reply.headers.items():
        headers.append((name.encode(), value.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    content = b"" if scope["method"] == "HEAD" else reply.content
    await send({"type": "http.response.body", "body": content})


def _request_id(scope: Scope) -> str:
    """The caller's, where it can stand in a log; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            identity = value.decode("latin-1")
            if REQUEST_ID.fullmatch(identity):
                return str(identity)
    return new_request_id()
