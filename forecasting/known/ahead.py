"""What stands where covariates known ahead are missing for some of the steps to come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from forecasting.arrays import Array
from forecasting.config import Ahead
from forecasting.data.panel import Panel

HOW: Mapping[str, str] = {
    "last": "the last known value is taken",
    "seasonal": "the value of a season before is taken",
    "unknown": "they count as unknown",
}


def filled_ahead(panel: Panel, ways: Mapping[str, Ahead], steps: int, season: int) -> Panel:
    """A panel whose covariates known ahead are filled by their way, for ``steps`` after its end.

    ``last`` and ``seasonal`` look into the steps before, filled ones too, and into the history;
    where nothing is known there the value stays missing. ``unknown`` becomes what the network reads
    as unknown: `usable` takes it for given.
    """
    names = [c.name for c in panel.schema.future]
    chosen = {names.index(name): way for name, way in ways.items() if name in names}
    if not chosen or not steps:
        return panel
    width = 0 if panel.horizon is None else panel.horizon.shape[1]
    horizon = np.full((len(panel), max(width, steps), len(names)), np.nan)
    if panel.horizon is not None:
        horizon[:, :width] = panel.horizon
    for column, way in chosen.items():
        if way == "unknown":
            continue
        back = 1 if way == "last" else max(season, 1)
        before = _before(panel, column, back)
        block = np.concatenate([before, horizon[:, :, column]], axis=1)
        for step in range(back, back + steps):
            block[:, step] = np.where(
                np.isnan(block[:, step]), block[:, step - back], block[:, step]
            )
        horizon[:, :, column] = block[:, back:]
    return replace(panel, horizon=horizon)


def said_of_filled(panel: Panel, ways: Mapping[str, Ahead], steps: int) -> list[str]:
    """A line for each covariate that is filled somewhere."""
    notes = []
    for column, covariate in enumerate(panel.schema.future):
        way = ways.get(covariate.name)
        if way is None:
            continue
        lacking = missing_ahead(panel, column, steps)
        if lacking.any():
            first = str(panel.ids[int(np.flatnonzero(lacking.any(axis=1))[0])])
            notes.append(
                f"known-future covariate {covariate.name!r} is not given for "
                f"{int(lacking.sum()):,} of {lacking.size:,} steps, the first in series {first!r}: "
                f"{HOW[way]}"
            )
    return notes


def missing_ahead(panel: Panel, column: int, steps: int) -> Array:
    """[N, steps] whether a covariate known ahead is not given."""
    lacking = np.ones((len(panel), steps), bool)
    if panel.horizon is not None:
        own = np.isnan(panel.horizon[:, :steps, column])
        lacking[:, : own.shape[1]] = own
    return lacking


def _before(panel: Panel, column: int, back: int) -> Array:
    """[N, back] the last values of a covariate in each history; a gap has the value before it."""
    values = panel.future[:, column]
    if back == 1:
        at = np.where(np.isnan(values), -1, np.arange(panel.rows))
        seen = np.maximum.accumulate(at) if panel.rows else at
        last = np.where(panel.lengths > 0, seen[panel.offsets[1:] - 1], -1)
        known = last >= panel.offsets[:-1]
        return np.where(known, values[np.maximum(last, 0)], np.nan)[:, None]
    place = panel.offsets[1:, None] - back + np.arange(back)
    inside = place >= panel.offsets[:-1, None]
    return np.where(inside, values[np.maximum(place, 0)], np.nan)
