"""What single values may be: codes, units, infinities, ranges, sentinels, signs."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.columns.numbers import Numbers
from pipelines.ingestion.config import FlagConfig, ValueConfig
from pipelines.ingestion.ledger import Ledger
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
# -9 and -99 are plausible values: they are looked at only where a series is far from them.
_SURE = SENTINELS <= -999.0


def note_codes(
    numbers: Numbers, column: str, codes: Array, ds: Array, row: Array, ledger: Ledger
) -> None:
    """Write down cells that held a code for missing, or no number at all."""
    at = numbers.codes
    ledger.note(
        "missing_code", "changed", "a code for missing was read as missing",
        series=codes[at], ds=ds[at], row=row[at], column=column, before=numbers.code_text,
        repair=False,
    )  # fmt: skip
    at = numbers.unreadable
    ledger.note(
        "not_a_number", "changed", "text that is no number was read as missing",
        series=codes[at], ds=ds[at], row=row[at], column=column, before=numbers.unreadable_text,
    )  # fmt: skip


def check_values(
    values: Array,
    column: str,
    config: ValueConfig,
    flags: FlagConfig,
    codes: Array,
    ds: Array,
    row: Array,
    ids: Array,
    ledger: Ledger,
) -> Array:
    """Values with impossible ones made missing, by policy; a copy only when something changes.

    Rows must be sorted by series.
    """

    def blank(mask: Array, code: str, detail: str) -> None:
        nonlocal values
        at = np.flatnonzero(mask)
        ledger.note(
            code, "changed", detail, series=codes[at], ds=ds[at], row=row[at], column=column,
            before=values[at],
        )  # fmt: skip
        values = values.copy()
        values[at] = np.nan

    def refuse(mask: Array, what: str, mend: str) -> None:
        at = int(np.flatnonzero(mask)[0])
        raise DataError(
            f"column {column}, row {row[at]}, series {ids[codes[at]]!r}: {values[at]:g} {what} "
            f"({int(mask.sum()):,} values); {mend}"
        )

    if not len(values):
        return values
    low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if np.isinf(low) or np.isinf(high):
        mask = np.isinf(values)
        if flags.infinite == "refuse":
            refuse(mask, "is infinite", "leave it empty if it is missing")
        blank(mask, "infinite", "an infinite value was read as missing")
        low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
    if flags.sentinels != "keep" and low <= -9.0 and config.minimum is None:
        _sentinels(values, column, flags, codes, ds, row, len(ids), ledger, blank)
    if flags.sentinels != "keep" and high >= HIGH_SENTINELS[0] and config.maximum is None:
        mask, meant = _high_sentinels(values, codes, len(ids))
        if meant and flags.sentinels == "missing":
            blank(mask, "sentinel", "a number that stands for missing was read so")
        elif meant:
            _flag_high(meant, np.flatnonzero(mask), values, column, (codes, ds, row), ledger)
    if config.zeros == "missing" and (values == 0).any():
        blank(values == 0, "zero", "a zero was read as missing, as configured")
    for limit, name, wrong in (
        (config.minimum, "below the minimum", np.less),
        (config.maximum, "above the maximum", np.greater),
    ):
        if limit is None:
            continue
        with np.errstate(invalid="ignore"):
            mask = wrong(values, limit)
        if not mask.any():
            continue
        what = f"is {name} of {limit:g}"
        if config.outside == "refuse":
            refuse(mask, what, "mend it, or set values.outside: missing or flag")
        if config.outside == "missing":
            blank(mask, "out_of_range", "a value outside the range allowed was read as missing")
        else:
            at = np.flatnonzero(mask)
            ledger.note(
                "out_of_range_kept", "flagged", "a value lies outside the range allowed",
                series=codes[at], ds=ds[at], row=row[at], column=column, before=values[at],
                repair=False,
            )  # fmt: skip
    if column == "y" and flags.negative != "keep" and low < 0 and config.minimum is None:
        rare = _rare_negatives(values, codes, len(ids))
        if rare.any():
            if flags.negative == "refuse":
                refuse(rare, "is negative in a series that is else not", "mend it")
            if flags.negative == "missing":
                blank(rare, "negative", "a negative value in a series that is else not negative")
            else:
                at = np.flatnonzero(rare)
                ledger.note(
                    "negative_kept", "flagged",
                    "a negative value in a series that is else (99 %) not negative",
                    series=codes[at], ds=ds[at], row=row[at], column=column, before=values[at],
                    repair=False,
                )  # fmt: skip
    return values


def _sentinels(
    values: Array, column: str, flags: FlagConfig, codes: Array, ds: Array, row: Array,
    count: int, ledger: Ledger, blank: Any,
) -> None:  # fmt: skip
    known = SENTINELS if flags.sentinels == "missing" else SENTINELS[_SURE]
    mask = np.isin(values, known)
    if not mask.any():
        return
    doubtful = np.zeros(len(values), bool)
    if flags.sentinels != "missing":
        rest = np.where(mask, np.nan, values)
        lowest = reduce(np.fmin, rest, bounds(codes, count), np.nan)
        # A series that is negative elsewhere may mean it.
        doubtful = mask & ~(lowest >= 0)[codes]
        if flags.sentinels == "flag":
            doubtful = mask
    if doubtful.any():
        at = np.flatnonzero(doubtful)
        ledger.note(
            "sentinel_kept", "flagged", "looks like a code for missing, but the series is negative "
            "elsewhere; add it to values.missing if it is one",
            series=codes[at], ds=ds[at], row=row[at], column=column, before=values[at],
            repair=False,
        )  # fmt: skip
    if (mask & ~doubtful).any():
        blank(mask & ~doubtful, "sentinel", "a number that stands for missing was read so")


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


def _flag_high(
    meant: list[str], at: Array, values: Array, column: str, places: tuple[Array, Array, Array],
    ledger: Ledger,
) -> None:  # fmt: skip
    codes, ds, row = places
    where = "values.missing" if column == "y" else f"the covariate's missing ({column})"
    ledger.note(
        "sentinel_high", "flagged",
        f"{', '.join(meant)} in column {column}, again and again and far above all else, looks "
        f"like a code for missing; add it to {where} if it is one, or set flags.sentinels: keep",
        series=codes[at], ds=ds[at], row=row[at], column=column, before=values[at], repair=False,
    )  # fmt: skip


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


def _rare_negatives(values: Array, codes: Array, count: int) -> Array:
    with np.errstate(invalid="ignore"):
        negative = values < 0
    have = np.bincount(codes[negative], minlength=count)
    seen = np.bincount(codes, weights=~np.isnan(values), minlength=count)
    rare = (have > 0) & (have <= np.maximum(0.01 * seen, 1)) & (seen >= 10)
    return negative & rare[codes]
