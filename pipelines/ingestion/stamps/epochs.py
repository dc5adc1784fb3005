"""Numbers that count time from some origin: which one is meant, and what is not believed.

Unix time, spreadsheet days, ticks and file times are all numbers. What is read must give dates that
somebody has data of and a step that somebody measures at; where it does not, another count may be
meant, and the table is refused with each of them named.
"""

from __future__ import annotations

import datetime
import re

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.stamps.readings import DAY, fit_of

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
# What any format may say: days since 1960-01-01.
_SINCE = re.compile(
    r"(?i)\s*(?P<unit>days?|hours?|minutes?|seconds?|milliseconds?|microseconds?)\s+since\s+"
    r"(?P<origin>-?\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?)?)\s*"
)
_UNITS = {
    "day": DAY, "hour": DAY // 24, "minute": DAY // 1440, "second": 1_000_000, "millisecond": 1_000,
    "microsecond": 1,
}  # fmt: skip
# From where else the numbers of programs are counted, by the unit.
_SAS_DAYS, _SAS_SECONDS = "days since 1960-01-01", "seconds since 1960-01-01"
_STATA = "milliseconds since 1960-01-01"
_JULIAN = "days since -4713-11-24"
DAYS = ("excel", "excel_1904", "epoch_d", "mjd", _SAS_DAYS, "days since 1900-01-01")
_SECONDS = (
    "epoch_s", _SAS_SECONDS, "seconds since 1904-01-01", "seconds since 1980-01-06",
    "seconds since 2000-01-01", "seconds since 2001-01-01",
)  # fmt: skip
_ALIKE = (DAYS, _SECONDS, ("epoch_ms", _STATA))
# What plain steps may be besides.
_COUNTING = (
    *DAYS, "days since 0000-12-31", "days since -0001-12-31", _JULIAN, "hours since 1970-01-01",
    "hours since 1900-01-01", "minutes since 1970-01-01",
)  # fmt: skip
# Smallest number that plain steps are looked at for it, and how many days tell a working week.
_LARGE, _WEEKS = 10_000, 10
# Year in which counts of plain steps end at least, and digits of those that count days.
_LATELY = 1990
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
    _SAS_DAYS: "days since 1960, as SAS and Stata count",
    _SAS_SECONDS: "seconds since 1960, as SAS counts",
    _STATA: "milliseconds since 1960, as Stata counts",
    _JULIAN: "Julian days, as astronomers count",
    "days since 0000-12-31": "days since the year 1, as Python's ordinals",
    "days since -0001-12-31": "days since the year 0, as MATLAB's",
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
# What days of a spreadsheet are confused with.
_LIKE_EXCEL = ("excel_1904", "mjd", "days since 1900-01-01")
# Days beyond which no steps but quarters, halves and years are believed of spreadsheets.
LONGEST = 92
# Microseconds beyond which stamps do not count.
_FARTHEST = 4e18
# Microseconds of the steps at which people measure.
_SECOND = 1_000_000
_USUAL = np.array(
    [_SECOND * k for k in (1, 2, 5, 10, 15, 20, 30)]
    + [60 * _SECOND * k for k in (1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30)]
    + [3_600 * _SECOND * k for k in (1, 2, 3, 4, 6, 8, 12)]
    + [DAY * k for k in (1, 7, 14, 28, 29, 30, 31, 90, 91, 92, 181, 182, 184, 365, 366)]
)


def is_count(kind: str) -> bool:
    """Whether a format counts time from an origin."""
    return kind in COUNTS or _SINCE.fullmatch(kind) is not None


def _count(kind: str) -> tuple[float, int]:
    """Microseconds of one count, and its origin in microseconds since 1970.

    Raises
    ------
    DataError : an origin that is no date.
    """
    if kind in COUNTS:
        return COUNTS[kind]
    parts = _SINCE.fullmatch(kind)
    assert parts is not None
    try:
        origin = np.datetime64(parts["origin"].replace(" ", "T"), "us")
    except ValueError as error:
        raise DataError(f"stamps.formats: {kind!r} counts from no date: {error}") from None
    return float(_UNITS[parts["unit"].lower().rstrip("s")]), int(origin.astype(np.int64))


def count_to_stamps(values: Array, kind: str) -> Array:
    """[K] microseconds since 1970 of whole numbers, or of numbers with a fraction.

    `NAT` where they lie beyond what microseconds can say.
    """
    unit, origin = _count(kind)
    far = np.abs(values.astype(np.float64)) * unit > _FARTHEST
    values = np.where(far, 0, values)
    if values.dtype.kind == "f":
        # A fraction of a day is exact to the second and no further.
        whole = _SECOND if unit >= _SECOND else 1
        moved = np.round(values * (unit / whole)).astype(np.int64) * whole
    else:
        moved = values * int(unit) if unit >= 1 else values // round(1 / unit)
    return np.asarray(np.where(far, NAT, moved + origin))


def likelier(values: Array, kind: str, name: str) -> str:
    """The count that numbers are, where the calendar bears out another than ``kind`` and not it.

    Monthly stamps lie on one day of their months, and those of working days on no weekend, from
    one origin only.

    Raises
    ------
    DataError : the calendar bears out several others; each is named.
    """
    numbers = np.unique(values)
    alike = next((kinds for kinds in _ALIKE if kind in kinds), ())
    # Programs that count seconds are younger than spreadsheets' dates may be.
    since = 0 if kind in DAYS else OLD
    others = [k for k in alike if k != kind and _fits(numbers, k) and _ends(numbers, k) >= since]
    if len(numbers) < 2 or not others:
        return kind
    candidates = _borne_out(numbers, [kind, *others])
    if kind in candidates:
        return kind
    if len(candidates) == 1:
        return candidates[0]
    raise _several(numbers, candidates, name)


def _borne_out(known: Array, kinds: list[str]) -> list[str]:
    """Those of several counts that no other one rules out."""
    stamps = {k: count_to_stamps(known, k) for k in kinds}
    fits = {k: fit_of(s) for k, s in stamps.items()}
    possible = [k for k in kinds if not any(fits[o].rules_out(fits[k]) for o in kinds)]
    if _step(known) * _count(kinds[0])[0] == DAY and len(known) >= _WEEKS:
        working = [k for k in possible if not ((stamps[k] // DAY + 3) % 7 >= 5).any()]
        possible = working or possible
    return possible


def day_count(values: Array, name: str) -> str:
    """The origin from which numbers of five digits count days, where only one is possible.

    Raises
    ------
    DataError : several are; each is named with its first date.
    """
    numbers = np.unique(values)
    possible = [k for k in DAYS[:-1] if _fits(numbers, k)] or ["excel"]
    candidates = _borne_out(numbers, possible) if len(numbers) > 1 else possible
    if len(candidates) == 1 and len(numbers) > 1:
        return candidates[0]
    raise _several(numbers, candidates, name, '["%y%j"] (two digits of a year and its days)')


def _several(known: Array, kinds: list[str], name: str, *more: str) -> DataError:
    readings = ", or ".join(f"{_said(k)} (from {_day(known[0], k)})" for k in kinds)
    cures = " or ".join([*(f'["{k}"]' for k in kinds), *more])
    return DataError(
        f"column {name}: numbers such as {known[0].item():.20g} may be {readings}: set "
        f"stamps.formats: {cures}, or write them as dates; for plain steps set freq: "
        f"{_plain(known)}"
    )


def also_counts(values: Array) -> str:
    """What plain steps would be if they counted time, for the report; "" for small numbers."""
    numbers = np.unique(values)
    if len(numbers) < 2 or int(numbers[0]) < _LARGE:
        return ""
    possible = [k for k in _COUNTING if _fits(numbers, k) and _ends(numbers, k) >= _LATELY]
    if not possible:
        return ""
    dates = ", ".join(f'{_day(numbers[0], k)} as ["{k}"]' for k in possible)
    return (
        f"whole numbers such as {numbers[0]} are plain steps; if they count time they begin at "
        f"{dates}: set stamps.formats"
    )


def _said(kind: str) -> str:
    return _WORDS.get(kind, kind)


def _ends(known: Array, kind: str) -> int:
    return _year(int(count_to_stamps(known[-1:], kind)[0]))


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
    numbers = np.unique(values)
    first, last = (_year(v) for v in count_to_stamps(numbers[[0, -1]], kind))
    alike = next((kinds for kinds in _ALIKE if kind in kinds), ())
    others = [k for k in dict.fromkeys((*COUNTS, *alike)) if k != kind and _fits(numbers, k)]
    ahead = last > last_believed() or first > last_believed() - FAR_AHEAD + 1
    far = (ahead and not late) or (kind in INSTANTS and last < OLD)
    if kind == "excel" and _step(numbers) > LONGEST and not _usual(_step(numbers) * DAY):
        raise DataError(
            f"column {name}: numbers such as {numbers[0].item():.20g} are "
            f"{_step(numbers):,.0f} apart, as dates are that are written as one number, and no "
            'days of a spreadsheet: give their format, such as stamps.formats: ["%m%d%y"], or set '
            'stamps.formats: ["excel"]'
        )
    step = _step(numbers) * _count(kind)[0]
    sharp = any(_count(k)[0] == COUNTS["ticks"][0] for k in others)
    example = f"numbers such as {numbers[0].item():.20g}"
    if far or (sharp and kind in INSTANTS and not (step >= 60 * _SECOND and _usual(step))):
        why = f"the years {first} to {last}" if far else f"steps of {step / _SECOND:g} s in {first}"
        possible = [kind, *others]
        sentence = ", or ".join(f"{_said(k)} (from {_day(numbers[0], k)})" for k in possible)
        cures = " or ".join(f'["{k}"]' for k in possible)
        raise DataError(
            f"column {name}: {example} would give {why} as {_said(kind)}; they may be {sentence}: "
            f"set stamps.formats: {cures}, or write them as dates; for plain steps set "
            f"freq: {_plain(numbers)}"
        )
    sentence = f"{example} are {_said(kind)}: {_day(numbers[0], kind)} to {_day(numbers[-1], kind)}"
    if kind not in (*EPOCHS, *DAYS):
        return sentence
    near = [k for k in alike if k in others and (kind != "excel" or k in _LIKE_EXCEL)]
    if kind in EPOCHS and last >= last_believed() - FAR_AHEAD - RECENT:
        # An origin after 1970 puts it at a time that has not come.
        near = [k for k in near if k in (_SAS_SECONDS, _STATA)]
    if len(numbers) > 1:
        near = _borne_out(numbers, [kind, *near])[1:]
    named = [f'{_day(numbers[0], k)} as {_said(k)}, stamps.formats: ["{k}"]' for k in near]
    return f"{sentence} (they may begin at {'; or at '.join(named)})" if named else sentence


def _fits(known: Array, kind: str) -> bool:
    """Whether another count gives dates of which people have data."""
    unit, origin = _count(kind)
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
