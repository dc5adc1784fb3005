"""A clean table and what was found on the way to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.ledger import NAT, Ledger
from pipelines.ingestion.series.steps import Steps


@dataclass
class Clean:
    """N regular series, and how they came about.

    Attributes
    ----------
    ids : [N]; offsets : [N + 1]; start : [N] int64 (microseconds or steps); y : [T].
    names : ids first, then names of series of which nothing is left; the ledger's numbers.
    columns : covariates that move in time [T]; static : covariates with one value per series [N].
    tz : the zone, or None; stamps are UTC where the step is sub-daily, else wall clock.
    rows_in : rows of the source; removed_lines : lines that never became rows, by reason.
    series_flags : per code, a mask [N] of series; None when nobody looked for them yet.
    aside : names of columns that nothing was made of.
    """

    ids: Array
    names: Array
    offsets: Array
    start: Array
    y: Array
    freq: Frequency
    tz: str | None
    columns: dict[str, Column]
    static: dict[str, Column]
    ledger: Ledger
    steps: Steps | None
    rows_in: int
    removed_lines: dict[str, int]
    facts: dict[str, Any]
    series_flags: dict[str, Array] | None
    aside: list[str] = field(default_factory=list)


def stamps(clean: Clean, first: int = 0, last: int | None = None) -> Array:
    """[T] the stamp of every row: UTC or wall clock, or steps; or of some series' rows only."""
    last = len(clean.offsets) - 1 if last is None else last
    offsets = clean.offsets[first : last + 1]
    sizes = np.diff(offsets)
    step = np.arange(offsets[0], offsets[-1]) - np.repeat(offsets[:-1], sizes)
    start = clean.start[first:last]
    start = start if clean.freq.integer else start.astype("datetime64[us]")
    return clean.freq.shift(np.repeat(start, sizes), step)


def stamp_texts(ds: Array, clean: Clean) -> list[Any]:
    """Stamps for people: steps as numbers, instants in UTC with a Z, days without a time."""
    known = ds != NAT
    if clean.freq.integer:
        return [int(d) if k else None for d, k in zip(ds, known, strict=True)]
    stamps = np.where(known, ds, 0).astype("datetime64[us]")
    daily = not clean.freq.sub_daily and bool((stamps == stamps.astype("datetime64[D]")).all())
    texts = np.datetime_as_string(stamps, unit="D" if daily else "s")
    mark = "Z" if clean.tz is not None and clean.freq.sub_daily else ""
    return [f"{t}{mark}" if k else None for t, k in zip(texts, known, strict=True)]
