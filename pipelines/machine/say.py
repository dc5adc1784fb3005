"""Who is told how the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from forecasting.errors import heard

Say = Callable[[str], None]  # gets one line of text for a person
Progress = Callable[[str, float], None]  # what is being done, and the share that is done


def once(say: Say) -> Say:
    """The same listener, who is told no line twice."""
    lines: set[str] = set()

    def tell(line: str) -> None:
        if line not in lines:
            lines.add(line)
            say(line)

    return tell


@contextmanager
def heard_by(say: Say) -> Iterator[None]:
    """What the library warns of within is said at its end, each line to ``say``."""
    notes: list[str] = []
    try:
        with heard() as notes:
            yield
    finally:
        for note in notes:
            say(note)


def silent(_: str) -> None:
    """Tell nobody."""


def no_progress(_what: str, _share: float) -> None:
    """Show no progress."""
