"""What a caller is told when a request cannot be answered: RFC 9457 problem details."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

PROBLEM_TYPE = "application/problem+json"
RETRY_SECONDS: Final = "1"  # in `Retry-After`, where waiting a moment may help
# More would say nothing new, and a body of nulls must not be answered with one of errors.
MAX_FAULTS = 20
MAX_SHOWN = 60
MAX_TEXT = 2_000  # characters of a detail
MAX_BODY = 64 * 1024  # bytes of a refusal

TITLES = {
    400: "Malformed request",
    401: "Key needed",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    408: "Too slow",
    409: "Conflict",
    413: "Request too large",
    415: "Unsupported media type",
    421: "Unknown host",
    422: "Invalid request",
    429: "Too many requests",
    431: "Headers too large",
    500: "Internal error",
    503: "Not available now",
}


def new_request_id() -> str:
    """An id that no other request has: 16 hexadecimal digits."""
    return os.urandom(8).hex()


@dataclass(frozen=True)
class Fault:
    """One wrong value: its place as a JSON pointer and as a person would write it."""

    path: tuple[str | int, ...]
    code: str
    detail: str

    def public(self) -> dict[str, str]:
        """As a ``problem+json`` answer lists it."""
        return {
            "pointer": shortened(pointer(self.path)),
            "place": shortened(place(self.path)),
            "code": self.code,
            "detail": shortened(self.detail),
        }


@dataclass(eq=False)
class RequestError(Exception):
    """A request that is wrong as a whole; becomes a ``problem+json`` answer."""

    status: int
    code: str
    detail: str
    faults: list[Fault] = field(default_factory=list)
    omitted: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.status} {self.code}: {self.detail}"

    def body(self, request_id: str) -> bytes:
        """The answer's JSON."""
        content: dict[str, Any] = {
            "type": f"urn:gatecast:problem:{self.code}",
            "title": TITLES.get(self.status, "Error"),
            "status": self.status,
            "code": self.code,
            "detail": shortened(self.detail),
            "request_id": request_id,
            **self.extra,
        }
        errors = [fault.public() for fault in self.faults]
        omitted = self.omitted
        while True:
            if errors:
                content["errors"] = errors
            if omitted:
                content["errors_omitted"] = omitted
            body = orjson.dumps(content)
            if len(body) <= MAX_BODY or not errors:
                return body
            # Long names and quotes: half of them say as much.
            omitted += len(errors) - len(errors) // 2
            errors = errors[: len(errors) // 2]
            content.pop("errors")


class Faults:
    """Collects wrong values, up to a number that a person can use."""

    def __init__(self) -> None:
        self.found: list[Fault] = []
        self.omitted = 0

    def __bool__(self) -> bool:
        return bool(self.found)

    def add(self, path: tuple[str | int, ...], code: str, detail: str) -> None:
        """Keep a wrong value; beyond ``MAX_FAULTS`` they are only counted."""
        if len(self.found) < MAX_FAULTS:
            self.found.append(Fault(path, code, detail))
        else:
            self.omitted += 1

    @property
    def count(self) -> int:
        """Faults so far, listed or not."""
        return len(self.found) + self.omitted

    @property
    def full(self) -> bool:
        """Whether further faults would only be counted."""
        return len(self.found) >= MAX_FAULTS

    def stop(self) -> None:
        """Raise the problem, if there is one."""
        if not self.found:
            return
        first = self.found[0]
        where = place(first.path)
        more = f" (and {self.count - 1} more)" if self.count > 1 else ""
        detail = f"{where}: {first.detail}{more}" if where else f"{first.detail}{more}"
        raise RequestError(422, "invalid_request", detail, self.found, self.omitted)


def shortened(text: str) -> str:
    """A text that a caller's own names cannot make long."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def pointer(path: Iterable[str | int]) -> str:
    """RFC 6901: ``/series/3/future/promo/17``."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def place(path: Iterable[str | int]) -> str:
    """``series[3].future.promo[17]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def show(value: Any) -> str:
    """A wrong value as it is quoted in a message: JSON-like and short."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f'"{value[:MAX_SHOWN]}"' if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN + 2 else text[:MAX_SHOWN] + "…"
