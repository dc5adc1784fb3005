"""Names of series that may be one series under two names, or several under one."""

from __future__ import annotations

import itertools
import re

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from pipelines.ingestion.raw import shown

# Series up to which names are compared, and pairs that are named.
MOST, NAMED = 100_000, 3
# What a spreadsheet makes of a long number.
_SHORTENED = re.compile(r"\d(?:[.,]\d+)?E\+\d{2,}")


def say_alike(ids: Array, offsets: Array, start: Array, freq: Frequency) -> str:
    """What is to be said of the names of series; "" for nothing.

    Names alike but for signs, blanks, zeros in front and ``.0`` are one series renamed where one
    begins after the other ends; ``1.23E+12`` stands for many long numbers.

    Parameters
    ----------
    ids : [N]. offsets : [N + 1]. start : [N] the first stamp of each series.
    """
    if len(ids) > MOST:
        return ""
    names = [str(i) for i in ids]
    if cut := next((n for n in names if _SHORTENED.fullmatch(n)), None):
        return (
            f"series {shown(cut)} is named as a spreadsheet shortens long numbers: several may "
            "stand under it; export the ids as text"
        )
    start = start if freq.integer else start.astype("datetime64[us]")
    groups: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        groups.setdefault(_bare(name), []).append(place)
    pairs = []
    for places in groups.values():
        ordered = sorted(places, key=lambda k: start[k])
        for one, two in itertools.pairwise(ordered):
            if freq.steps_between(start[one], start[two]) >= offsets[one + 1] - offsets[one]:
                pairs.append(f"{shown(names[one])} and {shown(names[two])}")
    if not pairs:
        return ""
    more = f" and {len(pairs) - NAMED:,} more pairs" if len(pairs) > NAMED else ""
    return (
        f"series {', '.join(pairs[:NAMED])}{more} are named almost alike, and the second begins "
        "after the first ends: where they are one series renamed, join them with ids.rename"
    )


def _bare(name: str) -> str:
    text = re.sub(r"(?<=\d)\.0+$", "", name.strip()).casefold()
    # Signs between two numbers part them: 1/11 is not 11/1.
    text = re.sub(r"(?<=\d)[\W_]+(?=\d)", "\0", text)
    text = re.sub(r"(?!\0)[\W_]+", "", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text) or name
