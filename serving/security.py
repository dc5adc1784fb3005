"""Who may do what: one key, compared in constant time."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from serving.errors import RequestError
from serving.settings import ServingSettings


def check_key(headers: Mapping[str, str], settings: ServingSettings) -> None:
    """Let a caller with the key through; the key comes as a bearer token or ``X-API-Key``."""
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
