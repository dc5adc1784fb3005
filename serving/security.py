"""Who may do what: named keys with scopes; and by which names the service is called."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

from serving.errors import RequestError, show
from serving.keys import ApiKey, KeyFileError, Keys
from serving.settings import ServingSettings, is_address, is_loopback

# A name or an address, IPv6 in brackets, and a port.
_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]+))(?::\d*)?")
BURST_SECONDS: Final = 10.0  # of a key's requests may come at once
_NEEDED: Final = "send the key as Authorization: Bearer <key>"
_BEARER: Final = {"www-authenticate": "Bearer"}


@dataclass(frozen=True)
class Caller:
    """Who asks. Without ``key`` nobody known: ``problem`` makes the refusal, were one needed."""

    key: ApiKey | None = None
    problem: Callable[[], RequestError] | None = None


@dataclass(frozen=True)
class Guard:
    """What a route needs a key for: its scope, and where it is needed.

    Attributes
    ----------
    closed : by the settings, and the address of this machine that the connection came to.
    """

    scope: str
    closed: Callable[[ServingSettings, str | None], bool]

    def check(self, caller: Caller, arrived: str | None, settings: ServingSettings) -> None:
        """Let a caller through who may pass.

        Raises
        ------
        RequestError : 401 without a good key, 403 where its scopes lack this one or there is none.
        """
        if not self.closed(settings, arrived):
            return
        if caller.problem is not None:
            raise caller.problem()
        if caller.key is not None and self.scope not in caller.key.scopes:
            raise RequestError(
                403,
                "scope_missing",
                f"the key {caller.key.name!r} may {', '.join(caller.key.scopes)}: this needs the "
                f"scope {self.scope!r}",
                extra={"scope": self.scope},
            )


def _forecasts(settings: ServingSettings, arrived: str | None) -> bool:
    if settings.protected:
        return True
    # Under `bentoml serve` only the connection tells that others than this machine can come.
    undecided = settings.protect is None and not settings.open
    return undecided and arrived is not None and is_address(arrived) and not is_loopback(arrived)


FORECAST: Final = Guard("forecast", _forecasts)
REFRESH: Final = Guard("refresh", lambda settings, arrived: True)
METRICS: Final = Guard("metrics", lambda settings, arrived: not settings.public_metrics)
DOCS: Final = Guard("forecast", lambda settings, arrived: not settings.public_docs)


def identify(headers: Mapping[str, str], keys: Keys) -> Caller:
    """Who a caller is, by a bearer token or ``X-API-Key``; refused is nobody here."""
    key_text = headers.get("x-api-key")
    if key_text is None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        key_text = token.strip() if kind.lower() == "bearer" else None
    if key_text is None:
        return Caller(problem=partial(_refusal, keys, "key_needed", _NEEDED))
    try:
        key = keys.find(key_text)
    except KeyFileError as error:
        return Caller(problem=partial(RequestError, 503, "keys_unreadable", str(error)))
    if key is None:
        return Caller(problem=partial(_refusal, keys, "wrong_key", "the key is not right"))
    if key.revoked is not None:
        text = f"the key {key.name!r} was revoked"
        return Caller(problem=partial(RequestError, 401, "revoked_key", text, headers=_BEARER))
    return Caller(key)


def _refusal(keys: Keys, code: str, text: str) -> RequestError:
    if not keys.any:
        return RequestError(
            403,
            "no_key_configured",
            "this needs a key, and none is set: set GATECAST_API_KEY, or make one with "
            "`gatecast keys api new`",
        )
    return RequestError(401, code, text, headers=_BEARER)


class Quotas:
    """How many requests each key has left in this worker: a bucket that fills by the clock."""

    def __init__(self, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.workers, self.clock = workers, clock
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, key: ApiKey | None) -> None:
        """Count a request of a key; 429 with ``Retry-After`` when it has none left."""
        if key is None or key.per_minute is None:
            return
        rate = key.per_minute / 60 / self.workers
        most = max(1.0, rate * BURST_SECONDS)
        now = self.clock()
        tokens, then = self._left.get(key.name, (most, now))
        tokens = min(most, tokens + (now - then) * rate)
        if tokens < 1:
            self._left[key.name] = tokens, now
            raise RequestError(
                429,
                "too_many_requests",
                f"the key {key.name!r} has {key.per_minute} requests a minute",
                headers={"retry-after": str(math.ceil((1 - tokens) / rate))},
            )
        self._left[key.name] = tokens - 1, now


def check_names(headers: Mapping[str, str], arrived: str | None, settings: ServingSettings) -> None:
    """Refuse names that only a web page would use to reach a service on this machine.

    A page can point a name of its own at 127.0.0.1 and then read, from its visitor's browser, what
    the service tells everybody here; or send what is written there to an address that it knows.
    Addresses, ``localhost``, names below it and those of ``GATECAST_HOSTS`` are known.

    Parameters
    ----------
    arrived : the address of this machine that the connection came to, where it is known.

    Raises
    ------
    RequestError : 421 for a Host, 403 for an Origin that is not known.
    """
    if settings.protected or arrived is None or not (settings.hosts or is_loopback(arrived)):
        return
    host = headers.get("host", "")
    if host and not _known(host, settings.hosts):
        raise RequestError(
            421,
            "unknown_host",
            f"the service does not go by the name {show(host)}: call it by an address, or start it "
            "with this name in GATECAST_HOSTS",
        )
    origin = headers.get("origin")
    if origin is not None and not _known(origin.partition("://")[2], settings.hosts):
        raise RequestError(
            403,
            "unknown_origin",
            f"pages of {show(origin)} may not use the service: start it with this name in "
            "GATECAST_HOSTS if they should",
        )


@lru_cache(1024)
def _known(host: str, names: tuple[str, ...]) -> bool:
    parts = _HOST.fullmatch(host.lower())
    if parts is None:
        return False
    name = parts["address"] or parts["name"].rstrip(".")
    is_fixed = is_loopback(name) or is_address(name)
    return is_fixed or name.endswith(".localhost") or name in (n.lower() for n in names)
