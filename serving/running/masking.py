"""Keeps passwords out of what is logged and answered."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
# Whatever stands between the scheme and the last @ of a word.
_CREDENTIALS = re.compile(r"(?<=://)[^\s'\"<>]*@")
_KEY = re.compile(r"gck_[A-Za-z0-9_-]{43}")  # a caller's
_secrets: set[str] = set()


def keep_secret(*texts: str | None) -> None:
    """Hide these texts wherever they turn up, and the passwords of those that are addresses."""
    for text in texts:
        if text is None:
            continue
        if "://" not in text:
            _secrets.add(text)
            continue
        password = _password(text)
        if password is not None:
            _secrets.update((password, unquote(password)))
    _secrets.discard("")


def hide(text: str) -> str:
    """A text without credentials of addresses, and without any secret known."""
    if "@" in text:
        text = _CREDENTIALS.sub(f"{HIDDEN}@", text)
    if "gck_" in text:
        text = _KEY.sub(HIDDEN, text)
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def _password(address: str) -> str | None:
    try:
        return urlsplit(address).password
    except ValueError:
        return None
