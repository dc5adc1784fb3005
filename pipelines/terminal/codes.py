"""What each code in an answer, a report or an error means, and what to do about it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CATALOGUE = Path(__file__).with_name("codes.yaml")
KINDS = {
    "command": "Of a command that failed",
    "request": "Of a request that was refused",
    "value": "Of a value in a request",
    "series": "Of a series that could not be forecast",
    "finding": "Of a finding in an ingestion report",
    "signature": "Of a model that is not trusted",
}


@dataclass(frozen=True)
class Code:
    """One code: where it stands, what it means, and the cure."""

    code: str
    kind: str
    means: str
    cure: str


@cache
def codes() -> tuple[Code, ...]:
    """All of them; a code of two kinds, such as `unknown_key`, stands there twice."""
    import yaml

    by_kind = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    return tuple(
        Code(code, kind, entry["means"], entry["cure"])
        for kind, named in by_kind.items()
        for code, entry in named.items()
    )


def entries(code: str) -> list[Code]:
    """What a code means; several where it stands in several places."""
    return [one for one in codes() if one.code == code]


def nearest(code: str) -> str:
    """A hint at a code that may be meant, as the end of a sentence; or nothing."""
    close = difflib.get_close_matches(code, [one.code for one in codes()], n=1)
    return f"; did you mean {close[0]}?" if close else ""
