"""Addresses of databases, and what databases say when they refuse."""

from __future__ import annotations

POSTGRES = ("postgres", "postgresql")
REASON_LENGTH = 300  # characters of a refusal that are shown


def with_driver(url: str) -> str:
    """A URL with PostgreSQL's driver in it, where it names none: the one that we install."""
    scheme, mark, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if mark and scheme in POSTGRES else url


def reason(error: BaseException) -> str:
    """First line of what the database said."""
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0][:REASON_LENGTH]
