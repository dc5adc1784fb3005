"""Keeps passwords out of what is logged and answered."""

from __future__ import annotations

import re
from typing import Any

from forecasting.masking import HIDDEN, masked, secrets_in

_KEY = re.compile(r"gck_[A-Za-z0-9_-]{43}")  # a caller's
_secrets: set[str] = set()


def keep_secret(*texts: str | None) -> None:
    """Hide these texts wherever they turn up."""
    _secrets.update(text for text in texts if text)


def keep_secrets_of(*addresses: str | None) -> None:
    """Hide the passwords and tokens of these addresses wherever they turn up, even alone."""
    for address in addresses:
        _secrets.update(secrets_in(address or ""))


def hide(text: str) -> str:
    """A text without credentials of addresses, and without any secret known."""
    text = masked(text)
    if "gck_" in text:
        text = _KEY.sub(HIDDEN, text)
    for secret in sorted(_secrets, key=len, reverse=True):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def hide_in(value: Any) -> Any:
    """Plain values with every text in them without secrets; what is no plain value as its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {str(key): hide_in(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hide_in(inner) for inner in value]
    return hide(str(value))
