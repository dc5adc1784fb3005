"""Histories that are not what they seem: said, and forecast as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.codes import codes_for_missing, first_of_each
from forecasting.data.panel import Panel, observed
from forecasting.data.strides import CLOSED, closed, said_closed, strides
from forecasting.resolved import Resolved

# What each finding means, and what to do; {...} are of `Odd.where`.
WORDS = {
    "code_for_missing": (
        "y holds {value:g} in {rows} rows, which is read as a value: if it stands for one that is "
        "missing, leave it empty"
    ),
    "below_zero": (
        "y falls below 0 ({value:g}), and none did in training: if it stands for one that is "
        "missing, leave it empty; if it is one, train again on rows like these"
    ),
    "open_end": (
        "it ends without y ({rows} rows): the forecast starts after these rows, not after the "
        "last value; leave them out to start there"
    ),
    "equal_values": (
        "all values it has ({rows}) are {value:g}, which does not say how far it moves: its "
        "interval is a guess, by the series beside it that move, narrower the longer it stood, and "
        "none where it stood long or at 0"
    ),
    "closed": (
        "it never has a value for {when}, and this model forecasts that too: leave out what it "
        "says of it, or train a model on such series, or on a step without it (freq: B for "
        "weekends)"
    ),
}


@dataclass(frozen=True)
class Odd:
    """One finding: of which series of its panel, a code of `WORDS`, and where."""

    series: int
    code: str
    where: dict[str, Any]

    @property
    def detail(self) -> str:
        """One sentence for a person."""
        return WORDS[self.code].format(**self.where)


def odd_histories(panel: Panel, config: Resolved | None) -> list[Odd]:
    """What a caller should know of the histories of a panel, those of a kind together.

    Codes for missing, values below 0 where training had none, ends without values where no
    covariate is known ahead, weekdays or hours that never have a value where training had none so;
    where there was no training, series of one value.

    Parameters
    ----------
    panel : the rows that a forecast looks at. config : of the model; None: it is the pretrained
        network, which no panel was shown in training.
    """
    oddities = _values(panel, config)
    if np.isnan(panel.y).any():
        oddities += [] if panel.schema.future else _open_ends(panel)
        oddities += _closed(panel, config)
    return oddities if config is not None else oddities + equal_values(panel)


def equal_values(panel: Panel) -> list[Odd]:
    """Series of one value, or of equal ones: they do not say how far they move."""
    known, count = ~np.isnan(panel.y), panel.counts
    first, _ = observed(panel.y, panel.offsets)
    value = panel.y[panel.offsets[:-1] + np.maximum(first, 0)] if panel.rows else np.zeros(0)
    same = known & (panel.y == np.repeat(value, panel.lengths))
    alike = np.bincount(panel.series, weights=same, minlength=len(panel))
    return [
        Odd(
            int(i),
            "equal_values",
            {"column": "y", "value": float(value[i]), "rows": int(count[i])},
        )
        for i in np.flatnonzero((count > 0) & (alike == count))
    ]


def said_of(found: list[Odd], ids: Sequence[str] | Array) -> list[str]:
    """A sentence for each kind of finding: the first series that has it, and how many have."""
    sentences = []
    for code in WORDS:
        alike = [odd for odd in found if odd.code == code]
        if alike:
            more = f" ({len(alike):,} series are so)" if len(alike) > 1 else ""
            sentences.append(f"series {str(ids[alike[0].series])!r}: {alike[0].detail}{more}")
    return sentences


def _values(panel: Panel, config: Resolved | None) -> list[Odd]:
    codes = codes_for_missing(panel.y, panel.offsets)
    oddities = _of_rows("code_for_missing", codes, panel)
    if config is not None and config.model.nonnegative:
        with np.errstate(invalid="ignore"):
            below = (panel.y < 0.0) & ~codes
        if below.any():
            # What the model cannot read at all is a problem of its series.
            below &= ~np.isnan(config.model.y_transform.forward(panel.y))
            oddities += _of_rows("below_zero", below, panel)
    return oddities


def _of_rows(code: str, marked: Array, panel: Panel) -> list[Odd]:
    if not marked.any():
        return []
    return [
        Odd(int(i), code, {"column": "y", "value": float(panel.y[row]), "rows": int(many)})
        for i, row, many in zip(*first_of_each(marked, panel.offsets), strict=True)
    ]


def _open_ends(panel: Panel) -> list[Odd]:
    _, last = observed(panel.y, panel.offsets)
    after = panel.lengths - 1 - last
    return [
        Odd(int(i), "open_end", {"column": "y", "rows": int(after[i])})
        for i in np.flatnonzero((last >= 0) & (after > 0))
    ]


def _closed(panel: Panel, config: Resolved | None) -> list[Odd]:
    if config is not None and CLOSED in config.model.strides:
        return []
    part = closed(panel)
    some = np.flatnonzero(part >= 0)
    if len(some):
        some = some[strides(panel.select(some)) == 1]
    return [
        Odd(int(i), "closed", {"column": "y", "when": said_closed(int(part[i]), panel)})
        for i in some
    ]
