"""Numbers that are dates: year and month, quarter, week or day of the year, written as one number.

As plain steps 202201 … 202212, 202301 would leave 88 holes in every year. What can only be a date
is read as one; what may be either is refused, and the message says what settles it.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.whole import refuse_gaps, working_week
from forecasting.errors import DataError
from pipelines.ingestion.stamps.epochs import DAYS, count_to_stamps, last_believed
from pipelines.ingestion.stamps.readings import Fit, fit_of

FIRST_YEAR = 1700
LAST_YEAR = 2200
# Two digits of a year from which on they are of the last century.
TURN = 69
# Numbers that two digits of a year are looked for in, at least; of eight and ten digits fewer will
# do, since hardly any but dates are dates in all their parts.
FEW_NUMBERS, FEW_LONG = 6, {8: 2, 10: 3}
# Patterns of fixed width that begin with no year of four digits, by how many digits they have.
_SHORT = {
    4: ("%y%m", "%g%V", "%y%j"), 5: ("%y%j",), 6: ("%y%m%d", "%d%m%y", "%m%d%y", "%m%Y"),
    8: ("%d%m%Y", "%m%d%Y", "%y%m%d%H"), 10: ("%y%m%d%H%M",),
}  # fmt: skip
# Years all of which lie before this one are more often weeks: 1811, 1812, 1813 of 2018.
OLD_YEARS = 1900
# Steps from which on numbers of eight digits are dates whose last places stand still.
_STILL = 10_000
# What a column's name says of its numbers.
YEARS = re.compile(r"(?i)year|jahr|ann[eé]e|a[nñ]o|anno")
WEEKS = re.compile(r"(?i)week|woche|semaine|semana|settiman|(^|[^a-z])(kw|wk|yyww)([^a-z]|$)")
WEEKDAYS = re.compile(
    r"(?i)(?:day[ _-]?of[ _-]?(?:the[ _-]?)?week|week[ _-]?day|w_?day|dow|wochentag"
    r"|jour[ _-]?semaine|d[ií]a[ _-]?semana)(?:[ _-]?(?:num(?:ber)?|nr|no|index|idx))?"
)
_STEPS = "plain steps"
_LENGTHS = (
    ("%Y", 1700, 2201), ("%Y%m", 170_001, 220_013), ("%Y%m%d", 17_000_101, 22_001_232)
)  # fmt: skip
_WORDS = {
    "%g%V": "years of two digits and their weeks",
    "%y%j": "years of two digits and their days",
    "%y%m": "years of two digits and their months",
    "%y%m%d": "days as year, month, day",
    "%d%m%y": "days as day, month, year",
    "%m%d%y": "days as month, day, year",
    "%d%m%Y": "days as day, month, year",
    "%m%d%Y": "days as month, day, year",
    "%y%m%d%H": "hours as year, month, day, hour",
    "%y%m%d%H%M": "minutes as year, month, day, hour, minute",
    "epoch_d": "days since 1970",
    "excel": "days of a spreadsheet",
    "%Y": "years",
    "%Y%m": "years and their months",
    "%m%Y": "months and their years",
    "%G%V": "years and their weeks",
}


def date_kind(values: Array, name: str, width: int = 0) -> str:
    """What distinct whole numbers say of time: ``month``, ``quarter``, a strptime pattern, or "".

    "" is said of what is no such date; patterns are those that no four digits of a year begin.

    Parameters
    ----------
    width : digits that all were written with, where zeros stood in front; 0 where it is not known.

    Raises
    ------
    DataError : a year and its week, or its day, which may as well be plain steps, and two digits
        of a year that may as well be something else.
    """
    if len(values) and WEEKDAYS.fullmatch(name.strip()) and {*values.tolist()} <= {*range(8)}:
        raise DataError(
            f"column {name}: the numbers {values.min()} to {values.max()} are days of a week, "
            "without the week that they are of: name the column of the dates as ds, or write the "
            "dates of the rows into one"
        )
    if not len(values) or int(values.min()) <= 0:
        return ""
    if short := _with_short_years(np.unique(values), name, width):
        return short
    digits = {len(str(int(v))) for v in (values.min(), values.max())}
    if len(digits) > 1:
        _refuse_lengths(np.unique(values), name)
        return ""
    length = digits.pop()
    if length not in (5, 6, 7):
        return ""
    unit = 10 ** (length - 4)
    years, parts = values // unit, values % unit
    if int(years.min()) < FIRST_YEAR or int(years.max()) > LAST_YEAR or int(parts.min()) < 1:
        return ""
    last, several = int(parts.max()), len(np.unique(years)) > 1
    if length == 5 and last <= 4 and len(values) > 1:
        if several and len(np.unique(parts)) == 4:
            return "quarter"
        raise _either(name, values, "years and their quarters", "quarter")
    if length == 5 and not several and len(values) > 1:
        raise _either(name, values, "a year and its weeks, days of a spreadsheet", "excel")
    if length == 6 and last <= 53 and WEEKS.search(name):
        return "%G%V"
    if length == 6 and last <= 4 and several and _quarters(years, parts):
        what = "years and their quarters, or months of which only the first four are there"
        raise _either(name, values, what, "quarter", "%Y%m")
    if length == 6 and last <= 12:
        return "month"
    if length == 6 and last <= 53:
        raise _either(name, values, "years and their weeks", "%G%V")
    if length == 7 and last <= 366:
        raise _either(name, values, "years and their days", "%Y%j")
    return ""


def _with_short_years(values: Array, name: str, width: int) -> str:
    """Which of `_SHORT` is meant; "" for none.

    Parameters
    ----------
    values : [K] distinct, in order. Zeros in front, which numbers lose, are put back.
    """
    last = int(values[-1])
    written = width
    width = width or max(len(str(last)), 4)
    width += width in (7, 9)  # a zero in front is lost to a number
    if width not in _SHORT or len(values) < FEW_LONG.get(width, FEW_NUMBERS):
        return ""
    text = pd.Series(values.astype(str)).str.zfill(width)
    if width == 8 and _fit(text, "%Y%m%d") is not None:
        return ""  # days before their years are never read so: their month would be 19 or 20
    short = {form: _fit(text, form) for form in _SHORT[width]}
    fits = {form: fit for form, fit in short.items() if fit is not None}
    if "%g%V" in fits and WEEKS.search(name):
        return "%g%V"
    if not fits:
        return ""
    best = min(fits, key=lambda form: fits[form].growth)
    others = _otherwise(values, text) | {form: fit for form, fit in fits.items() if form != best}
    if any(fit.rules_out(fits[best]) for fit in others.values()):
        return ""
    rivals = [form for form, fit in others.items() if not fits[best].rules_out(fit)]
    if not rivals and best == "%y%j" and width == 4 and not written and working_week(values):
        raise DataError(
            f"column {name}: numbers such as {values[0]} may be {_WORDS[best]}, or days counted "
            'from some date, weekends left out: set stamps.formats: ["%y%j"] or such as ["days '
            'since 2000-01-01"], or freq: step'
        )
    if not rivals:
        return best
    usual = (width == 4 and last < 1_000 and not written) or best == "%y%j"
    if "%Y" in rivals or (usual and _STEPS in rivals):
        # Years, steps of three digits, and of five without holes, are more usual.
        return ""
    possible = [best, *rivals]
    cures = [f'["{form}"]' for form in possible if form != _STEPS]
    readings = ", or ".join(_WORDS.get(form, form) for form in possible)
    raise DataError(
        f"column {name}: numbers such as {text.iloc[0]} may be {readings}; set stamps.formats: "
        f"{' or '.join(cures)}, or freq: step"
    )


def _otherwise(values: Array, text: pd.Series) -> dict[str, Fit]:
    """What else numbers of four and six digits may be, and how well it fits."""
    size, often = np.unique(np.diff(values), return_counts=True)
    slots = int(values[-1] - values[0]) // int(size[often.argmax()]) + 1
    fits = {_STEPS: Fit("step", slots, len(values))}
    if len(text.iloc[0]) == 8:
        return {} if int(size[often.argmax()]) >= _STILL else fits
    if len(text.iloc[0]) == 10:
        return fits
    if len(text.iloc[0]) == 5:
        fits |= {kind: fit_of(count_to_stamps(values, kind)) for kind in _counts(values)}
    unit = 10 ** (text.str.len().max() - 4)
    years, parts = values // unit, values % unit
    if years[0] < FIRST_YEAR or years[-1] > LAST_YEAR:
        return fits
    if unit == 1:
        dates = {"%Y": _fit(text, "%Y")}
    elif int(parts.min()) >= 1 and int(parts.max()) <= 12:
        dates = {"%Y%m": _fit(text, "%Y%m")}
    else:
        dates = {"%G%V": _fit(text + "1", "%G%V%u")}
    return {form: fit for form, fit in dates.items() if fit is not None} | fits


def _counts(values: Array) -> list[str]:
    """The origins from which whole numbers of five digits may count days of the last decades."""
    limit = np.datetime64(f"{last_believed()}-12-31", "us").astype(np.int64)
    since = np.datetime64("1982-01-01", "us").astype(np.int64)
    ends = {kind: count_to_stamps(values[[0, -1]], kind) for kind in DAYS}
    return [kind for kind, (low, high) in ends.items() if low >= since and high < limit]


def _fit(text: pd.Series, form: str) -> Fit | None:
    """How well the calendar bears out one reading of all texts; None where one is no such date."""
    if form == "%y%j":
        text = text.str.zfill(5)
    if form == "%g%V":
        text, form = with_century(text) + "1", "%G%V%u"
    stamps = pd.to_datetime(text, format=form, errors="coerce")
    if stamps.isna().any():
        return None
    if form == "%y%j" and stamps.dt.year.nunique() > len(stamps) / 2:
        # A day of each year is none that anybody numbers so: 12013, 22013 are quarters of 2013.
        return None
    if form in ("%d%m%Y", "%m%d%Y") and not stamps.dt.year.between(1800, last_believed()).all():
        return None
    return fit_of(stamps.to_numpy().astype("datetime64[us]").astype(np.int64))


def with_century(text: pd.Series) -> pd.Series:
    """Texts that begin with two digits of a year, with four: 69 is 1969, 68 is 2068."""
    late = pd.to_numeric(text.str[:2], errors="coerce") < TURN
    return ("20" + text).where(late, "19" + text)


def refuse_odd_years(values: Array, name: str) -> None:
    """Years far ahead, or all of them long ago, are believed where the column says years.

    They are, too, where they can be nothing else, but no two of every seven are left out of years.

    Raises
    ------
    DataError : with what else they may be, and the cure.
    """
    if not YEARS.search(name):
        refuse_gaps(values)
    believed = OLD_YEARS <= int(values[-1]) <= last_believed()
    if YEARS.search(name) or believed or not _weeks(values):
        return
    raise DataError(
        f"column {name}: numbers from {values[0]} to {values[-1]} may be years, {_WORDS['%g%V']} "
        'or plain steps; set stamps.formats: ["year"] or ["%g%V"], or freq: step'
    )


def also(values: Array, kind: str) -> str:
    """What else numbers may be that were read as one ``kind``, for the report; "" for nothing.

    Parameters
    ----------
    values : [K] distinct, in order.
    """
    first = int(values[0]) if len(values) else 0
    if kind == "month" and len(np.unique(values // 100)) == 1:
        return f'numbers such as {first} are months; if they are weeks: stamps.formats: ["%G%V"]'
    if kind == "year" and len(values) > 1 and _weeks(values):
        return f'numbers such as {first} are years; if they are weeks: stamps.formats: ["%g%V"]'
    return ""


def _weeks(values: Array) -> bool:
    parts = values % 100
    return bool(parts.min() >= 1 and parts.max() <= 53)


def _refuse_lengths(values: Array, name: str) -> None:
    """2019 among 201901 … 201912: a year beside its months, and no step that numbers keep."""
    parts = {form: values[(values >= low) & (values < high)] for form, low, high in _LENGTHS}
    held = {form: part for form, part in parts.items() if len(part)}
    if len(held) < 2 or sum(map(len, held.values())) < len(values):
        return
    texts = {f: pd.to_datetime(p.astype(str), format=f, errors="coerce") for f, p in held.items()}
    if any(stamps.isna().any() for stamps in texts.values()):
        return
    usual = max(held, key=lambda form: len(held[form]))
    other = next(form for form in held if form != usual)
    rest = len(values) - len(held[usual])
    share = min((20 * (rest + 1) // len(values) + 2) / 20, 1)
    raise DataError(
        f"column {name}: numbers such as {held[other][0]} name another length of time than the "
        f"others, such as {held[usual][0]}: rows of totals among the rest would be taken for its "
        f'own. To leave them out, set stamps: {{formats: ["{usual}"], max_unreadable: {share:g}}}'
    )


def _quarters(years: Array, parts: Array) -> bool:
    """Whether parts 1 to 4 follow each other as quarters do, where months would leave holes."""
    quarters, months = np.unique(years * 4 + parts), np.unique(years * 12 + parts)
    return bool((np.diff(quarters) == 1).all() and (np.diff(months) > 1).any())


def _either(name: str, values: Array, what: str, *forms: str) -> DataError:
    first = int(values.min())
    cures = " or ".join(f'["{form}"]' for form in forms)
    return DataError(
        f"column {name}: numbers such as {first} may be {what}, or plain steps; set "
        f"stamps.formats: {cures} to read them as dates, or freq: step"
    )
