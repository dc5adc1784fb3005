"""Months written with their year, 01/19, Jan-20, M01 2020; or days without any: Jan-20 again.

Which of both is meant, the calendar says; where it does not, the table is refused.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import shown
from pipelines.ingestion.stamps.readings import DAY, fit_of

_NAMES = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_MONTH = {name[:3]: k for k, name in enumerate(_NAMES, 1)}
_APART = r"[\s\-/.,_'\u2019]*"
_LETTERS = r"(?:[A-Za-z]{3,9})"
# A month by its name, M and a number, or a number; a year of four digits or of two.
_FORMS = {
    "month, year": rf"^(?P<m>{_LETTERS}|[Mm]?\d{{1,2}}){_APART}(?P<y>\d{{4}})$",
    "year, month": rf"^(?P<y>\d{{4}}){_APART}(?P<m>{_LETTERS}|[Mm]?\d{{1,2}})$",
    "month, short year": rf"^(?P<m>{_LETTERS}){_APART}(?P<y>\d{{1,2}})$",
    "short year, month": rf"^(?P<y>\d{{1,2}}){_APART}(?P<m>{_LETTERS})$",
    "numbers": r"^(?P<m>\d{1,2})[\-/.\s](?P<y>\d{1,2})$",
}
_SHORT = ("month, short year", "short year, month", "numbers")
# %y: 69 is 1969, 68 is 2068.
_TURN = 69
# A leap year, to lay days without a year upon.
_ANY_YEAR = 2000
# Digits alone are numbers: 202201 is read where numbers are.
_DIGITS = r"^\d+$"


def month_texts(text: pd.Series) -> Array:
    """[K] bool, which texts are a month and a year of four digits."""
    stamps = _months(text, ("month, year", "year, month"))
    return np.asarray(stamps != NAT) & ~text.str.fullmatch(_DIGITS).to_numpy(dtype=bool)


def short_texts(text: pd.Series) -> Array:
    """[K] bool, which texts are two short parts: a month's name and a number, or two numbers."""
    fits = np.zeros(len(text), bool)
    for form in _SHORT:
        parts = text.str.extract(_FORMS[form])
        known = parts["m"].notna()
        named = known if form == "numbers" else known & parts["m"].map(month_number).notna()
        fits |= named.to_numpy(dtype=bool)
    return fits


def with_tenths(text: pd.Series, name: str) -> pd.Series:
    """2019.09, 2019.1: a number has lost the zero of its October, which is put back.

    Raises
    ------
    DataError : 2019.9, 2019.1, 2019.11: January and October are one.
    """
    parts = text.str.extract(r"^(\d{4})\.(\d{1,2})$")[1]
    if parts.isna().any() or not (parts == "1").any():
        return text
    if parts.str.fullmatch(r"0\d").any():
        return text.where(parts != "1", text + "0")
    if not (parts == "10").any() and parts.isin(["11", "12"]).any():
        example = text[(parts == "1").to_numpy(dtype=bool)].iloc[0]
        raise DataError(
            f"column {name}: {shown(example)} is January or October: as numbers both are one; "
            "write months as text with two digits, 2019-10"
        )
    return text


def read_months(text: pd.Series) -> Array:
    """[K] microseconds of the first of each month; `NAT` for what is none.

    Of two numbers the month is the one that is never above 12; where both are, the order that
    leaves fewer holes, and the first of two equals.
    """
    stamps = _months(text, ("month, year", "year, month", "month, short year", "short year, month"))
    numbers = text.str.extract(_FORMS["numbers"])
    if numbers["m"].notna().any():
        orders = [_stamps(numbers["m"], numbers["y"]), _stamps(numbers["y"], numbers["m"])]
        most = max(int((o != NAT).sum()) for o in orders)
        orders = [o for o in orders if int((o != NAT).sum()) == most]
        own = min(orders, key=lambda o: fit_of(o[o != NAT]).growth)
        stamps = np.where(stamps == NAT, own, stamps)
    return stamps


def refuse_days(text: pd.Series, name: str, freq: Frequency | None) -> str:
    """Why two short parts are months and years; what may be days without a year is refused.

    Raises
    ------
    DataError : the calendar says days, or leaves both possible.
    """
    months = read_months(text)
    readings = {label: days for label, days in _days(text).items() if (days != NAT).all()}
    if not readings:
        return "months and their years"
    fits = {label: fit_of(days, freq) for label, days in readings.items()}
    best = min(readings, key=lambda label: fits[label].growth)
    example = shown(text.iloc[0])
    cure = "write the year with them, or name the column that holds it, ds: [year, date]"
    if (months == NAT).any():
        raise DataError(f"column {name}: {example} and its like are {best} without a year; {cure}")
    as_months = fit_of(months, freq)
    possible = [k for k in readings if not (as_months.rules_out(fits[k]) or _same_day(readings[k]))]
    if not possible:
        return f"months and their years: {as_months} (not {best} without a year: {fits[best]})"
    best = min(possible, key=lambda label: fits[label].growth)
    first = str(months[0].astype("datetime64[us]").astype("datetime64[M]"))
    raise DataError(
        f"column {name}: {example} may be the month {first} ({as_months}), or one of {best} "
        f'without a year ({fits[best]}); set stamps.formats: ["month"] for months, or, for days, '
        + cure
    )


def _same_day(days: Array) -> bool:
    """Twelve months of one year, Jan-20 … Dec-20, are no twentieths."""
    dates = days.astype("datetime64[us]").astype("datetime64[D]")
    of_month = dates - dates.astype("datetime64[M]").astype("datetime64[D]")
    return len(np.unique(of_month)) == 1


def _days(text: pd.Series) -> dict[str, Array]:
    """[K] microseconds per reading as days, in a year that is none of theirs."""
    out: dict[str, Array] = {}
    front, back = (text.str.extract(_FORMS[form]) for form in _SHORT[:2])
    month, day = (front[part].fillna(back[part]) for part in ("m", "y"))
    if month.notna().all():
        out["days"] = _around(_dates(month.map(month_number), pd.to_numeric(day)))
    numbers = text.str.extract(_FORMS["numbers"])
    if numbers["m"].notna().all():
        one, two = pd.to_numeric(numbers["m"]), pd.to_numeric(numbers["y"])
        out["days (month first)"] = _around(_dates(one, two))
        out["days (day first)"] = _around(_dates(two, one))
    return out


def _around(days: Array) -> Array:
    """Days that go on over the end of a year: those before the longest gap belong to the next."""
    distinct = np.unique(days[days != NAT])
    if len(distinct) < 2:
        return days
    year = int((np.datetime64("2001-01-01") - np.datetime64("2000-01-01")).astype(int)) * DAY
    gaps = np.diff(distinct)
    if gaps.max() <= distinct[0] + year - distinct[-1]:
        return days
    return np.where((days != NAT) & (days <= distinct[gaps.argmax()]), days + year, days)


def _dates(month: pd.Series, day: pd.Series) -> Array:
    parts = pd.DataFrame({"year": _ANY_YEAR, "month": month, "day": day})
    dates = pd.to_datetime(parts, errors="coerce")
    values = dates.to_numpy().astype("datetime64[us]").astype(np.int64)
    return np.where(dates.isna().to_numpy(), NAT, values)


def _months(text: pd.Series, forms: tuple[str, ...]) -> Array:
    stamps = np.full(len(text), NAT)
    for form in forms:
        parts = text.str.extract(_FORMS[form])
        if parts["m"].notna().any():
            stamps = np.where(stamps == NAT, _stamps(parts["m"], parts["y"]), stamps)
    return stamps


def _stamps(month: pd.Series, year: pd.Series) -> Array:
    number = month.map(month_number, na_action="ignore").astype(float)
    years = pd.to_numeric(year)
    short = (year.str.len() == 2).fillna(False).to_numpy(dtype=bool)
    years = years.where(~short, years + np.where(years < _TURN, 2000, 1900))
    known = (number.between(1, 12) & years.between(1600, 2300)).to_numpy(dtype=bool)
    count = (years.fillna(1970) - 1970) * 12 + number.fillna(1) - 1
    out = count.to_numpy(np.int64).astype("datetime64[M]").astype("datetime64[us]")
    return np.where(known, out.astype(np.int64), NAT)


def month_number(month: object) -> float:
    """The number of a month by its name, short or long, or as written; NaN for none."""
    word = str(month).lower()
    digits = re.fullmatch(r"m?(\d{1,2})", word)
    if digits:
        return float(digits[1])
    full = [name for name in _NAMES if name.startswith(word)] or (["september"] * (word == "sept"))
    return float(_MONTH[full[0][:3]]) if len(word) >= 3 and full else float("nan")
