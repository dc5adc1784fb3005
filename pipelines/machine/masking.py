"""Passwords and tokens, taken out of what is shown, logged or kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")
_TOKEN = re.compile(r"([?&;](?:password|pwd|token|secret|sig|signature|[\w-]*key)=)[^&;\s]*", re.I)


def masked(text: str) -> str:
    """A URL, or a text that holds one, without its passwords and tokens."""
    return _TOKEN.sub(rf"\1{HIDDEN}", _PASSWORD.sub(rf"\1:{HIDDEN}@", text))


def hide(value: Any) -> Any:
    """Plain values with every text in them `masked`."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: hide(inner) for key, inner in value.items()}
    return [hide(inner) for inner in value] if isinstance(value, list) else value
