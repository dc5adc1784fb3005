"""Numbers that count time from some origin: which one is meant, and what is not believed.

Unix time, spreadsheet days, ticks and file times are all numbers. What is read must give dates that
somebody has data of and a step that somebody measures at; where it does not, another count may be
meant, and the table is refused with each of them named.
"""

from __future__ import annotations

import datetime

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.stamps.readings import DAY

# Microseconds of one count, and its origin in microseconds since 1970.
COUNTS: dict[str, tuple[float, int]] = {
    "epoch_s": (1_000_000, 0),
    "epoch_ms": (1_000, 0),
    "epoch_us": (1, 0),
    "epoch_ns": (0.001, 0),
    "epoch_d": (DAY, 0),
    "excel": (DAY, -25_569 * DAY),
    "excel_1904": (DAY, -24_107 * DAY),
    "mjd": (DAY, -40_587 * DAY),
    "ticks": (0.1, -719_162 * DAY),
    "filetime": (0.1, -134_774 * DAY),
}
# Those that name an instant; the others are wall clock.
INSTANTS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns", "filetime")
_WORDS = {
    "epoch_s": "Unix time in seconds",
    "epoch_ms": "Unix time in milliseconds",
    "epoch_us": "Unix time in microseconds",
    "epoch_ns": "Unix time in nanoseconds",
    "epoch_d": "days since 1970",
    "excel": "days of a spreadsheet, counted from 1900",
    "excel_1904": "days of a spreadsheet, counted from 1904",
    "mjd": "modified Julian days",
    "ticks": "ticks of .NET, of 100 ns since the year 1",
    "filetime": "file times of Windows, of 100 ns since 1601",
}
# Years from now from which on a date is not believed without a word.
FAR_AHEAD = 20
# Unix time all of which lies before this year is more often a count of another unit.
OLD = 1980
# Years of the data that people have, for what else a number may be.
LIKELY = 1950
# Unix time that ends more years ago than this may be a count from another origin.
RECENT = 5
EPOCHS = ("epoch_s", "epoch_ms", "epoch_us", "epoch_ns")
_ORIGINS = ("1980-01-06", "2000-01-01", "2001-01-01")
# Days beyond which no steps but quarters, halves and years are believed of spreadsheets.
LONGEST = 92
# Microseconds of the steps at which people measure.
_SECOND = 1_000_000
_USUAL = np.array(
    [_SECOND * k for k in (1, 2, 5, 10, 15, 20, 30)]
    + [60 * _SECOND * k for k in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
    + [3_600 * _SECOND * k for k in (1, 2, 3, 4, 6, 8, 12)]
    + [DAY * k for k in (1, 7, 14, 28, 29, 30, 31, 90, 91, 92, 181, 182, 184, 365, 366)]
)


def count_to_stamps(values: Array, kind: str) -> Array:
    """[K] microseconds since 1970 of whole numbers, or of numbers with a fraction."""
    unit, origin = COUNTS[kind]
    if values.dtype.kind == "f":
        # A fraction of a day is exact to the second and no further.
        whole = _SECOND if unit >= _SECOND else 1
        return np.asarray(np.round(values * (unit / whole)).astype(np.int64) * whole + origin)
    moved = values * int(unit) if unit >= 1 else values // round(1 / unit)
    return np.asarray(moved + origin)


def last_believed() -> int:
    """The year after which dates are asked about."""
    return datetime.datetime.now(datetime.UTC).year + FAR_AHEAD


def refuse_count(values: Array, kind: str, name: str, *, late: bool = False) -> str:
    """What numbers read as one of `COUNTS` are, in a sentence for the report.

    Parameters
    ----------
    values : [K] whole numbers or such with a fraction, not all of them distinct.
    late : dates far ahead are believed.

    Raises
    ------
    DataError : their dates or their step speak for another count; the cures are named.
    """
    known = np.unique(values)
    first, last = (_year(v) for v in count_to_stamps(known[[0, -1]], kind))
    others = [k for k in COUNTS if k != kind and _fits(known, k)]
    ahead = last > last_believed() or first > last_believed() - FAR_AHEAD + 1
    far = (ahead and not late) or (kind in INSTANTS and last < OLD)
    if kind == "excel" and _step(known) > LONGEST and not _usual(_step(known) * DAY):
        raise DataError(
            f"column {name}: numbers such as {known[0].item():.20g} are {_step(known):,.0f} apart, "
            "as dates are that are written as one number, and no days of a spreadsheet: give their "
            'format, such as stamps.formats: ["%m%d%y"], or set stamps.formats: ["excel"]'
        )
    step = _step(known) * COUNTS[kind][0]
    sharp = any(COUNTS[k][0] == COUNTS["ticks"][0] for k in others)
    example = f"numbers such as {known[0].item():.20g}"
    if far or (sharp and kind in INSTANTS and not (step >= 60 * _SECOND and _usual(step))):
        why = f"the years {first} to {last}" if far else f"steps of {step / _SECOND:g} s in {first}"
        possible = [kind, *others]
        said = ", or ".join(f"{_WORDS[k]} (from {_day(known[0], k)})" for k in possible)
        cures = " or ".join(f'["{k}"]' for k in possible)
        raise DataError(
            f"column {name}: {example} would give {why} as {_WORDS[kind]}; they may be {said}: "
            f"set stamps.formats: {cures}, or write them as dates; for plain steps set "
            f"freq: {_plain(known)}"
        )
    said = f"{example} are {_WORDS[kind]}: {_day(known[0], kind)}"
    if kind == "excel":
        other = _day(known[0], "excel_1904")
        said += f' (old Macs count from 1904, {other}: stamps.formats: ["excel_1904"])'
        if "mjd" in others:
            said += f' (as modified Julian days {_day(known[0], "mjd")}: stamps.formats: ["mjd"])'
    if kind in EPOCHS and last < last_believed() - FAR_AHEAD - RECENT:
        said += _other_origins(known, kind)
    return said


def _other_origins(known: Array, kind: str) -> str:
    """The dates that old Unix time would be, counted from the origins of other programs."""
    last = int(count_to_stamps(known[-1:], kind)[0])
    limit = np.datetime64(f"{last_believed() - FAR_AHEAD + 1}-01-01", "us").astype(np.int64)
    moved = {
        origin: int(np.datetime64(origin, "us").astype(np.int64))
        for origin in _ORIGINS
        if last + np.datetime64(origin, "us").astype(np.int64) < limit
    }
    first = int(count_to_stamps(known[:1], kind)[0])
    named = [
        f"from {origin[:4]} they would begin at "
        f"{np.datetime64(first + shift, 'us').astype('datetime64[D]')}"
        for origin, shift in moved.items()
    ]
    return f" (counted {', '.join(named)}: write those as dates)" if named else ""


def _fits(known: Array, kind: str) -> bool:
    """Whether another count gives dates of which people have data."""
    unit, origin = COUNTS[kind]
    low, high = (float(v) * unit + origin for v in (known[0], known[-1]))
    # Small numbers are no Unix time of the first days of 1970.
    year = LIKELY if origin else 1971
    first = np.datetime64(f"{year}-01-01", "us").astype(np.int64)
    end = np.datetime64(f"{last_believed() - FAR_AHEAD + 2}-01-01", "us").astype(np.int64)
    return bool(low >= first and high < end)


def _step(known: Array) -> float:
    """The commonest distance of neighbours; 0 where there is none."""
    if len(known) < 2:
        return 0.0
    size, often = np.unique(np.diff(known), return_counts=True)
    return float(size[often.argmax()])


def _usual(step: float) -> bool:
    return bool((np.abs(_USUAL - step) <= 1e-6 * step).any())


def _plain(known: Array) -> str:
    step = int(_step(known))
    return f"{step}step" if step > 1 else "step"


def _year(stamp: int) -> int:
    return int(np.datetime64(int(stamp), "us").astype("datetime64[Y]").astype(np.int64)) + 1970


def _day(value: float, kind: str) -> str:
    stamp = count_to_stamps(np.array([value]), kind)[0]
    return str(np.datetime64(int(stamp), "us").astype("datetime64[D]"))
