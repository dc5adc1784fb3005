"""Who is told how the work goes on."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]  # gets one line of text for a person


def silent(_: str) -> None:
    """Tell nobody."""
