"""Who may do what: one key, compared in constant time; and by which name the service is called."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from serving.errors import RequestError, show
from serving.settings import ServingSettings, is_loopback

# A name or an address, IPv6 in brackets, and a port.
_HOST = re.compile(r"(?:\[(?P<address>[^\]]*)\]|(?P<name>[^:\[\]]+))(?::\d*)?")


def check_key(headers: Mapping[str, str], settings: ServingSettings) -> None:
    """Let a caller with the key through; the key comes as a bearer token or ``X-API-Key``.

    Raises
    ------
    RequestError : 401 without the right key, 403 where the service has none.
    """
    if settings.api_key is None:
        raise RequestError(
            403, "no_key_configured", "this needs a key, and none is set: set GATECAST_API_KEY"
        )
    given = headers.get("x-api-key")
    if given is None:
        kind, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if kind.lower() == "bearer" else None
    if given is None:
        raise RequestError(
            401,
            "key_needed",
            "send the key as Authorization: Bearer <key>",
            headers={"www-authenticate": "Bearer"},
        )
    expected = settings.api_key.get_secret_value()
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise RequestError(
            401, "wrong_key", "the key is not right", headers={"www-authenticate": "Bearer"}
        )


def check_host(headers: Mapping[str, str], arrived: str | None, settings: ServingSettings) -> None:
    """Refuse a name that only a web page would use to reach a service on this machine.

    A page can point a name of its own at 127.0.0.1 and then read, from its visitor's browser, what
    the service tells everybody here. Addresses, ``localhost``, names below it and
    those of ``GATECAST_HOSTS`` are known.

    Parameters
    ----------
    arrived : the address of this machine that the connection came to, where it is known.

    Raises
    ------
    RequestError : 421, a name that is not known.
    """
    if settings.protect or arrived is None or not (settings.hosts or is_loopback(arrived)):
        return
    host = headers.get("host", "")
    if host and not _known(host, settings.hosts):
        raise RequestError(
            421,
            "unknown_host",
            f"the service does not go by the name {show(host)}: call it by an address, or start it "
            "with this name in GATECAST_HOSTS",
        )


@lru_cache(1024)
def _known(host: str, names: tuple[str, ...]) -> bool:
    parts = _HOST.fullmatch(host.lower())
    if parts is None:
        return False
    name = parts["address"] or parts["name"].rstrip(".")
    is_address = is_loopback(name) or _is_address(name)
    return is_address or name.endswith(".localhost") or name in (n.lower() for n in names)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
