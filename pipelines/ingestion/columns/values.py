"""What single values may be: codes, units, infinities, ranges, sentinels, signs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.numbers import Numbers, mixed_signs
from pipelines.ingestion.config import FlagConfig, ValueConfig
from pipelines.ingestion.ledger import Action, Places
from pipelines.ingestion.raw import shown
from pipelines.ingestion.segments import bounds, reduce

SENTINELS = np.array(
    [-9.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0, -999.9, -999.99, -9999.9, -32768.0,
     -2147483648.0]
)  # fmt: skip
# Nines, the largest numbers of types, and what netCDF fills with: codes only where they return, far
# above all else.
HIGH_SENTINELS = (
    999.0, 9999.0, 99999.0, 999999.0, 9999999.0, 99999999.0, 999999999.0, 999.9, 999.99, 9999.9,
    9999.99, 99999.9, 99999.99, 32767.0, 65535.0, 2147483647.0, 4294967295.0, 1e20,
    9.969209968386869e36, 3.4028234663852886e38,
)  # fmt: skip
FAR_ABOVE = 3.0  # times the size of the largest other value of its series
MANY = 3  # rows of a column that hold the same code
_LEFT_OUT = "signs left out of "
# -9 and -99 are plausible values: they are looked at only where a series is far from them.
_SURE = SENTINELS <= -999.0


def note_codes(numbers: Numbers, column: str, places: Places) -> None:
    """Write down cells that held a code for missing, or no number at all."""
    places.note(
        numbers.codes,
        ("missing_code", "changed", "a code for missing was read as missing"),
        column=column,
        before=numbers.code_text,
        repair=False,
    )
    places.note(
        numbers.unreadable,
        ("not_a_number", "changed", "text that is no number was read as missing"),
        column=column,
        before=numbers.unreadable_text,
    )


def note_signs(numbers: Numbers, column: str, places: Places, config: ValueConfig) -> None:
    """Say which signs of money and per cent were left out.

    Raises
    ------
    DataError : a series in two currencies, or in per cent and not, without a column of units.
    """
    if numbers.signs is None:
        return
    mixed = mixed_signs(numbers, places.codes) if config.unit is None else None
    if mixed is not None:
        first, second = (
            f"{shown(numbers.signs.text(at) or f'{numbers.values[at]:g}')} ({places.shown(at)})"
            for at in mixed
        )
        raise DataError(
            f"column {column}: {first} and {second} are of two units; write one unit for the "
            "series, or name the column of each row's unit: values.unit: {column: …, scale: {…}}"
        )
    kinds, counts = np.unique(numbers.signs.what.astype(str), return_counts=True)
    listed = ", ".join(f"{kind} ({count:,})" for kind, count in zip(kinds, counts, strict=True))
    shares = ": 5 % is read as 5" if "%" in kinds else ""
    places.ledger.facts[f"{_LEFT_OUT}{column}"] = f"{listed}{shares}"


def signs_of(facts: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """The signs that `note_signs` says were left out of a column, in order."""
    return tuple(re.findall(r"(\S+) \([\d,]+\)", str(facts.get(f"{_LEFT_OUT}{column}", ""))))


def note_spellings(found: tuple[Array, Any], column: str, places: Places) -> None:
    """Write down categories that are written in another case than most rows write them.

    Parameters
    ----------
    found : the rows, and what was written there.
    """
    rows, before = found
    places.note(
        rows,
        ("category_case", "changed", "the category was written differently for the same one"),
        column=column,
        before=before,
    )


def check_values(
    values: Array, column: str, config: ValueConfig, flags: FlagConfig, places: Places
) -> Array:
    """Values with impossible ones made missing, by policy; a copy only when something changes.

    Rows must be sorted by series.
    """
    if not len(values):
        return values
    checked = _Checked(values, column, config, flags, places)
    checked.infinite()
    checked.sentinels()
    checked.negative_codes()
    checked.zeros()
    checked.limits()
    checked.negatives()
    return checked.values


@dataclass
class _Checked:
    """The values of a column while they are looked at, one kind of fault after the other."""

    values: Array
    column: str
    config: ValueConfig
    flags: FlagConfig
    places: Places

    @property
    def low(self) -> float:
        """The smallest value; NaN where none is known."""
        return float(np.fmin.reduce(self.values))

    @property
    def high(self) -> float:
        """The largest value; NaN where none is known."""
        return float(np.fmax.reduce(self.values))

    def blank(self, mask: Array, code: str, detail: str) -> None:
        """Make values missing, and write it down."""
        self._note(mask, code, "changed", detail)
        self.values = np.where(mask, np.nan, self.values)

    def flag(self, mask: Array, code: str, detail: str) -> None:
        """Write down values that stay."""
        self._note(mask, code, "flagged", detail)

    def _note(self, mask: Array, code: str, action: Action, detail: str) -> None:
        at = np.flatnonzero(mask)
        self.places.note(
            at,
            (code, action, detail),
            column=self.column,
            before=self.values[at],
            repair=action != "flagged",
        )

    def refuse(self, mask: Array, what: str, mend: str) -> None:
        """Name the first of some values, how many there are, and what to do."""
        at = int(np.flatnonzero(mask)[0])
        raise DataError(
            f"column {self.column}, {self.places.shown(at)}: {self.values[at]:g} {what} "
            f"({int(mask.sum()):,} values); {mend}"
        )

    def infinite(self) -> None:
        """Infinite values."""
        if not (np.isinf(self.low) or np.isinf(self.high)):
            return
        mask = np.isinf(self.values)
        if self.flags.infinite == "refuse":
            self.refuse(mask, "is infinite", "leave it empty if it is missing")
        self.blank(mask, "infinite", "an infinite value was read as missing")

    def sentinels(self) -> None:
        """Numbers that stand for missing, below all else and above it."""
        if self.flags.sentinels == "keep":
            return
        if self.low <= -9.0 and self.config.minimum is None:
            self._low_sentinels()
        if self.high >= HIGH_SENTINELS[0] and self.config.maximum is None:
            mask, meant = _high_sentinels(self.values, self.places.codes, self.places.count)
            if meant and self.flags.sentinels == "missing":
                self.blank(mask, "sentinel", "a number that stands for missing was read so")
            elif meant:
                self.flag(mask, "sentinel_high", _high_words(meant, self.column))

    def _low_sentinels(self) -> None:
        sentinels = SENTINELS if self.flags.sentinels == "missing" else SENTINELS[_SURE]
        mask = np.isin(self.values, sentinels)
        if not mask.any():
            return
        doubtful = np.zeros(len(mask), bool)
        if self.flags.sentinels != "missing":
            rest = np.where(mask, np.nan, self.values)
            offsets = bounds(self.places.codes, self.places.count)
            lowest = reduce(np.fmin, rest, offsets, np.nan)
            # A series that is negative elsewhere may mean it.
            doubtful = mask & ~(lowest >= 0)[self.places.codes]
            if self.flags.sentinels == "flag":
                doubtful = mask
        if doubtful.any():
            self.flag(
                doubtful,
                "sentinel_kept",
                "looks like a code for missing, but the series is negative elsewhere; add it to "
                "values.missing if it is one",
            )
        if (mask & ~doubtful).any():
            self.blank(mask & ~doubtful, "sentinel", "a number that stands for missing was read so")

    def negative_codes(self) -> None:
        """One negative value again and again in a series that is else not negative."""
        if self.flags.sentinels == "keep" or self.config.minimum is not None or not self.low < 0:
            return
        mask = _negative_codes(self.values, self.places.codes, self.places.count)
        if mask.any():
            meant = np.unique(self.values[mask])
            named = ", ".join(f"{v:g}" for v in meant[:3]) + (", …" if len(meant) > 3 else "")
            self.flag(
                mask,
                "sentinel_kept",
                f"the only negative value of its series, again and again ({named}), looks like a "
                "code for missing; add it to values.missing if it is one",
            )

    def zeros(self) -> None:
        """Zeros that are configured to be missing."""
        if self.config.zeros == "missing" and (self.values == 0).any():
            self.blank(self.values == 0, "zero", "a zero was read as missing, as configured")

    def limits(self) -> None:
        """Values outside the range that is configured."""
        for limit, name, wrong in (
            (self.config.minimum, "below the minimum", np.less),
            (self.config.maximum, "above the maximum", np.greater),
        ):
            if limit is None:
                continue
            with np.errstate(invalid="ignore"):
                mask = wrong(self.values, limit)
            if mask.any():
                self._outside(mask, f"is {name} of {limit:g}")

    def _outside(self, mask: Array, what: str) -> None:
        if self.config.outside == "refuse":
            self.refuse(mask, what, "mend it, or set values.outside: missing or flag")
        if self.config.outside == "missing":
            detail = "a value outside the range allowed was read as missing"
            self.blank(mask, "out_of_range", detail)
        else:
            self.flag(mask, "out_of_range_kept", "a value lies outside the range allowed")

    def negatives(self) -> None:
        """The few negative values of a series of y that is else not negative."""
        open_below = self.column == "y" and self.config.minimum is None
        if not open_below or self.flags.negative == "keep" or not self.low < 0:
            return
        rare = _rare_negatives(self.values, self.places.codes, self.places.count)
        if not rare.any():
            return
        if self.flags.negative == "refuse":
            self.refuse(rare, "is negative in a series that is else not", "mend it")
        if self.flags.negative == "missing":
            self.blank(rare, "negative", "a negative value in a series that is else not negative")
        else:
            self.flag(
                rare,
                "negative_kept",
                "a negative value in a series that is else (99 %) not negative",
            )


def _high_sentinels(values: Array, codes: Array, count: int) -> tuple[Array, list[str]]:
    """[T] which values are a code that returns far above all else in its series, and the codes."""
    mask = np.zeros(len(values), bool)
    present = [s for s in HIGH_SENTINELS if np.count_nonzero(values == s) >= MANY]
    if not present:
        return mask, []
    coded = np.isin(values, present)
    others = np.where(coded, np.nan, np.abs(values))
    largest = reduce(np.fmax, others, bounds(codes, count), np.nan)[codes]
    with np.errstate(invalid="ignore"):
        far = coded & (values > FAR_ABOVE * largest)
    meant = []
    for code in present:
        here = far & (values == code)
        if np.count_nonzero(here) >= MANY:
            mask |= here
            meant.append(f"{code:.10g}")
    return mask, meant


def _high_words(meant: list[str], column: str) -> str:
    where = "values.missing" if column == "y" else f"the covariate's missing ({column})"
    return (
        f"{', '.join(meant)} in column {column}, again and again and far above all else, looks "
        f"like a code for missing; add it to {where} if it is one, or set flags.sentinels: keep"
    )


def count_high_sentinels(values: Array, highest: float, counts: dict[float, int]) -> bool:
    """Whether a code such as 9999 stands `MANY` times in the values counted so far.

    Parameters
    ----------
    highest : the largest value. counts : rows per code, added to.
    """
    for code in HIGH_SENTINELS:
        if code <= highest and (count := int(np.count_nonzero(values == code))):
            counts[code] = counts.get(code, 0) + count
    return max(counts.values(), default=0) >= MANY


def _negative_codes(values: Array, codes: Array, count: int) -> Array:
    """[T] which values are the only negative one of their series, `MANY` times and not mostly."""
    with np.errstate(invalid="ignore"):
        negative = values < 0
    have = np.bincount(codes[negative], minlength=count)
    seen = np.bincount(codes, weights=~np.isnan(values), minlength=count)
    below = np.where(negative, values, np.nan)
    offsets = bounds(codes, count)
    one = reduce(np.fmin, below, offsets, np.nan) == reduce(np.fmax, below, offsets, np.nan)
    return negative & (one & (have >= MANY) & (2 * have < seen))[codes]


def _rare_negatives(values: Array, codes: Array, count: int) -> Array:
    with np.errstate(invalid="ignore"):
        negative = values < 0
    have = np.bincount(codes[negative], minlength=count)
    seen = np.bincount(codes, weights=~np.isnan(values), minlength=count)
    rare = (have > 0) & (have <= np.maximum(0.01 * seen, 1)) & (seen >= 10)
    return negative & rare[codes]
