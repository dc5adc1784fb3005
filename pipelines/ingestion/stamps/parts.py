"""Stamps whose parts stand in several columns: year and week, date and hour, date and half-hour."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.arrays import Array
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig, StampConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import Raw, shown
from pipelines.ingestion.stamps.short import month_number
from pipelines.ingestion.stamps.stamps import Stamps, read_stamps
from pipelines.ingestion.stamps.weeks import refuse_52

_SIGN = "\x1f"
# What a column's name says it is; the first that fits.
_ROLES = {
    "day of year": r"day_?of_?(the_?)?year|doy|yday|julian.*|ordinal",
    "weekday": r"day_?of_?(the_?)?week|dow|week_?day|wochentag",
    "half": r"half(_?year)?|halbjahr|semester|semestre",
    "quarter": r"quarter|quartal|trimestre|qtr|q",
    "month": r"month|monat|mois|mese?|mon|mm?|m[eê]s",
    "week": r"(iso_?)?week(_?no|_?nr|_?number)?|woche|kw|wk|ww|semaine|semana|settimana",
    "day": r"day(_?of_?(the_?)?month)?|tag|jour|d[ií]a|giorno|dd?|dom",
    "year": r"(iso_?)?(year|yr)|yyyy|jahr|ann[eé]e|a[nñ]o|anno|y",
    "minute": r"min(ute)?s?",
    "second": r"sec(ond)?s?",
    "hour": r"(hour|hr|stunde|heure|hora|ora)(_?ending|s|_?of_?(the_?)?day)?|hh?|he",
}
# Years that begin elsewhere, and their parts.
_FISCAL = re.compile(
    r"f\.?y|fm|fp|fq|(fiscal|financial|fin|tax|business|marketing|crop|academic|school|water|budget)"
    r"_?(year|yr|month|period|quarter|qtr)|gesch(ä|ae)ftsjahr|wirtschaftsjahr|gj|exercice"
    r"|ejercicio|season|saison"
)
# Share of rows whose months follow each other for the order of the rows to say something.
MOSTLY = 0.8
# Years from which on it is seen that none has a twelfth month.
FEW_YEARS = 3
# Parts of a day that count from 1 or from 0, by how many there are.
_SLOTS = (48, 96, 144, 288, 1440)
_DATE = r"^\d{8}$|^\d{4}-\d{1,2}-\d{1,2}$|^\d{1,4}[./]\d{1,2}[./]\d{1,4}$"


def stamps_of(raw: Raw, config: DataConfig) -> Stamps:
    """The stamps of the rows, from one column or several."""
    names = config.ds or ("ds",)
    columns = [_day(raw.column(n, "ds"), alone=len(names) == 1) for n in names]
    if len(columns) == 1:
        return read_stamps(columns[0], names[0], config.stamps)
    return read_parts(columns, names, config.stamps)


def _day(column: pa.ChunkedArray, alone: bool) -> pa.ChunkedArray:
    """Typed midnights beside other parts of a stamp are days: their time is in another column."""
    if alone or not pa.types.is_timestamp(column.type) or column.type.tz is not None:
        return column
    days = column.cast(pa.date32(), safe=False)
    whole = pc.all(pc.equal(days.cast(column.type), column)).as_py()
    return days if whole is not False else column


def read_parts(
    columns: Sequence[pa.ChunkedArray], names: Sequence[str], config: StampConfig
) -> Stamps:
    """Several columns as one stamp.

    With ``stamps.formats`` they are joined by blanks and read so. Otherwise their names, and for
    parts of a day their numbers, say what each of them is.

    Raises
    ------
    DataError : a part is none of what its column says; with the cure.
    """
    refuse_fiscal(names, config)
    parts = [pc.utf8_trim_whitespace(c.cast(pa.string())) for c in columns]
    name = " ".join(names)
    if config.formats:
        return read_stamps(pc.binary_join_element_wise(*parts, " "), name, config)
    joined = pc.binary_join_element_wise(*parts, _SIGN)
    joined = pa.chunked_array(joined) if isinstance(joined, list) else joined
    coded = joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
    coded = coded.dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks()
    texts = coded.dictionary.to_pandas().astype("str").str.split(_SIGN, expand=True, regex=False)
    written, form, note = _written([texts[k].str.strip() for k in range(len(names))], names)
    _refuse_turned_years(texts, np.asarray(pc.fill_null(coded.indices, -1)), names)
    encoded = pa.DictionaryArray.from_arrays(coded.indices, pa.array(written, pa.string()))
    read = read_stamps(encoded, name, config.replace(formats=[form]) if form else config)
    if form.startswith("%G-%V"):
        refuse_52(read.values[read.values != NAT], name, 'stamps.formats: ["%G %V"]')
    if note:
        earlier = read.facts.get("reading")
        read.facts["reading"] = f"{earlier}; {note}" if earlier else note
        read.weeks = True
    return read


def refuse_fiscal(names: Sequence[str], config: StampConfig, form: str = "%Y %m") -> None:
    """Parts of years that begin in another month than January, by their name.

    Parameters
    ----------
    form : how they are read where they are the calendar's after all.

    Raises
    ------
    DataError : read as the calendar's, some of their months would be moved by a year.
    """
    named = [n for n in names if _FISCAL.fullmatch(re.sub(r"[\s\-.]+", "_", n.strip().lower()))]
    if named and not config.formats:
        raise DataError(
            f"column {named[0]} counts years that may begin in another month than January, and "
            "then some of their parts lie in another year of the calendar: write that year and its "
            f'months; where they are the same, say how they are read: stamps.formats: ["{form}"]'
        )


def _refuse_turned_years(texts: pd.DataFrame, index: Array, names: Sequence[str]) -> None:
    """Months or quarters that follow each other by row, while the year changes before another.

    Parameters
    ----------
    texts : distinct parts, a column each. index : [T] which of them each row has, -1 for none.

    Raises
    ------
    DataError : the years begin in another month than January, and would be thrown in disorder.
    """
    role = {_role(n): k for k, n in enumerate(names)}
    part = next((r for r in ("month", "quarter") if set(role) == {"year", r}), None)
    if part is None:
        return
    written = texts[role[part]].str.strip()
    bare = written.map(month_number) if part == "month" else written.str.extract(r"([1-4])")[0]
    number = pd.to_numeric(bare, errors="coerce").to_numpy(np.float64)[index]
    year = pd.to_numeric(texts[role["year"]], errors="coerce").to_numpy(np.float64)[index]
    last = 12 if part == "month" else 4
    up, down = (((np.diff(number) % last) == step) for step in (1, last - 1))
    if down.sum() > up.sum():
        number, year, up = number[::-1], year[::-1], down[::-1]
    new = np.diff(year)
    turn = up & (number[1:] == 1)
    other = up & ~turn & (new == 1)
    if up.mean() < MOSTLY or not turn.any() or not other.any() or (new[turn] != 0).any():
        return
    at = int(np.flatnonzero(other)[0])
    raise DataError(
        f"columns {', '.join(names)}: row by row the {part}s follow each other, but the year "
        f"changes from {part} {number[at]:.0f} to {number[at + 1]:.0f} and not before the first: "
        f"they are years that begin elsewhere, and {part}s would be thrown in disorder: write the "
        'year of the calendar; if they are right, set stamps.formats: ["%Y %m"]'
    )


def _written(texts: list[pd.Series], names: Sequence[str]) -> tuple[pd.Series, str, str]:
    """Parts as one text, the form it is to be read in ("" to find out), and what is to be said."""
    role = {_role(n): k for k, n in enumerate(names)}
    plain = [t.str.replace(r"\.0+$", "", regex=True) for t in texts]
    joined = _joined(texts, " ")
    if len(role) < len(names):
        return joined, "", ""
    if len(names) == 2 and not {"month", "quarter", "half", "week", "day of year"} & set(role):
        note = _as_months(plain, names)
        if note:
            return joined, "", note
    if "year" in role:
        return _of_years({r: plain[k] for r, k in role.items()}, joined, names)
    if len(texts) == 2 and texts[0].str.fullmatch(_DATE).all():
        return _of_days(_iso(texts[0]), plain[1], names, joined)
    return joined, "", ""


def _as_months(texts: list[pd.Series], names: Sequence[str]) -> str:
    """What is to be said of numbers 1 to 12 beside a year, in a column not called month.

    Raises
    ------
    DataError : they are something else by their column's name, or no year has all twelve.
    """
    if not texts[0].str.fullmatch(r"\d{4}").all() or not texts[1].str.fullmatch(r"\d{1,2}").all():
        return ""
    numbers = np.unique(texts[1].astype(int))
    if not len(numbers) or numbers[0] < 1 or numbers[-1] > 31:
        return ""
    role = _role(names[1])
    if role in _ROLES:
        raise DataError(
            f"column {names[1]} says which {role} a row is of, and {names[0]} the year alone: the "
            f"month is in no column: name its column too, or, if {names[1]} holds months, rename it"
        )
    if numbers[-1] > 12:
        return ""
    full = texts[1].astype(int).groupby(texts[0]).max()
    if numbers[-1] in range(5, 12) and len(full) >= FEW_YEARS and (full == numbers[-1]).all():
        raise DataError(
            f"column {names[1]}: every year of {names[0]} ends with {numbers[-1]}, as parts of "
            f"years do and months do not: write one column of stamps; if they are months, set "
            'stamps.formats: ["month"] and freq: MS'
        )
    return (
        f"numbers {numbers[0]} to {numbers[-1]} in column {names[1]} are months of the calendar, "
        f"1 its January; where {names[0]} begins in another month, write the calendar's year and "
        "month"
    )


def _role(name: str) -> str:
    plain = re.sub(r"[\s\-.]+", "_", name.strip().lower())
    return next((r for r, named in _ROLES.items() if re.fullmatch(named, plain)), plain)


def _of_years(
    parts: dict[str, pd.Series], joined: pd.Series, names: Sequence[str]
) -> tuple[pd.Series, str, str]:
    year = parts["year"]
    rest = set(parts) - {"year"}
    full = year.str.fullmatch(r"\d{4}").all()
    if not full:
        return joined, "", ""
    if rest == {"quarter"} or rest == {"half"}:
        which, last = ("quarter", 4) if "quarter" in rest else ("half", 2)
        part = _numbers(parts[which].str.replace(r"(?i)^[qhs]", "", regex=True), which, 1, last)
        return year + "-" + part, "half_year" if which == "half" else "quarter", ""
    if rest == {"week"} or rest == {"week", "weekday"}:
        week = _numbers(parts["week"].str.replace(r"(?i)^(kw|wk|w)", "", regex=True), "week", 1, 53)
        _refuse_53(year, week)
        day = _numbers(parts["weekday"], "weekday", 1, 7) if "weekday" in rest else "1"
        note = "weeks are those of ISO 8601: the first of a year holds its first Thursday"
        return year + "-" + week.str.zfill(2) + "-" + day, "%G-%V-%u", note
    of_year = parts.get("day of year")
    if of_year is None and rest == {"day"} and pd.to_numeric(parts["day"], "coerce").max() > 31:
        of_year = parts["day"]
    if of_year is not None and len(rest) == 1:
        return year + "-" + _numbers(of_year, "day", 1, 366).str.zfill(3), "%Y-%j", ""
    if not rest >= {"month"} or not rest <= {"month", "day", "hour", "minute", "second"}:
        return joined, "", ""
    number = parts["month"].map(month_number)
    if number.isna().any():
        return joined, "", ""
    date = year + "-" + _numbers(number.astype(int).astype("str"), "month", 1, 12).str.zfill(2)
    if rest == {"month"}:
        return date, "", ""
    if "day" not in rest:
        return joined, "", ""
    date = date + "-" + _numbers(parts["day"], "day", 1, 31).str.zfill(2)
    if rest == {"month", "day"}:
        return date, "", ""
    if rest == {"month", "day", "hour"}:
        return _of_days(date, parts["hour"], [n for n in names if _role(n) == "hour"], joined)
    if rest >= {"hour", "minute"}:
        clock = [_numbers(parts[r], r, 0, 59).str.zfill(2) for r in ("hour", "minute", "second")
                 if r in rest]  # fmt: skip
        return _joined([date, _joined(clock, ":")], " "), "", ""
    return joined, "", ""


def _refuse_53(year: pd.Series, week: pd.Series) -> None:
    """A week 53 in a year that has none by ISO 8601: the weeks are counted otherwise.

    Raises
    ------
    DataError : they would be read up to a week off.
    """
    long = np.flatnonzero((week == "53").to_numpy(dtype=bool))
    none = [i for i in long if datetime.date(int(year.iloc[i]), 12, 28).isocalendar().week < 53]
    if none:
        raise DataError(
            f"{year.iloc[none[0]]} has no week 53 by ISO 8601, which counts weeks from that of the "
            "first Thursday: they are counted otherwise here, from the first Monday or Sunday or "
            "the first of January: write the first day of each week as its date"
        )


def _of_days(
    date: pd.Series, part: pd.Series, names: Sequence[str], joined: pd.Series
) -> tuple[pd.Series, str, str]:
    """A date and a number: an hour, hours and minutes as 715, or the n-th part of the day."""
    part = part.str.replace(r"(?i)^(he|hr|h)\s?(?=\d)", "", regex=True)
    if not part.str.fullmatch(r"\d{1,4}").all():
        return joined, "", ""
    number = part.astype(int)
    distinct = np.unique(number.to_numpy())
    low, high = int(distinct[0]), int(distinct[-1])
    named, example = names[-1], f"{shown(joined.iloc[0])} and its like"
    if high <= 24 and not (high < 24 and part.str.fullmatch(r"\d{3,4}").any()):
        ends = f"{example} are hours from 1 to 24: 24 is the midnight that follows; "
        ends += "stamps.label: end moves each to the start of its hour"
        return date + " " + part.str.zfill(2) + ":00", "", ends if low and high == 24 else ""
    minutes = number % 100
    if _role(named) != "hour":
        for count in _SLOTS:
            for first in (1, 0):
                if np.array_equal(distinct, np.arange(first, first + count)):
                    return _slots(date, number - first, count, f"{example} are")
    if high >= 60 and high <= 2400 and int(minutes.max()) < 60:
        clock = part.str.zfill(4)
        return date + " " + clock.str[:2] + ":" + clock.str[2:], "", ""
    raise DataError(
        f"columns {', '.join(names)}: {shown(joined.iloc[0])} … {high} are no hours (0 to 24), no "
        f"hours and minutes (715), and not all of {', '.join(map(str, _SLOTS))} parts of a day, "
        f"counted from 0 or 1: write {named} as a time of day, 07:15"
    )


def _slots(date: pd.Series, number: pd.Series, count: int, said: str) -> tuple[pd.Series, str, str]:
    """The n-th part of a day, from 0, as the moment at which it begins."""
    minutes = number * (1440 // count)
    clock = (minutes // 60).astype("str").str.zfill(2)
    clock = clock + ":" + (minutes % 60).astype("str").str.zfill(2)
    note = f"{said} the start of one of {count} parts of a day, of {1440 // count} minutes each"
    return date + " " + clock, "", note


def _numbers(text: pd.Series, what: str, low: int, high: int) -> pd.Series:
    """Whole numbers in their range, without zeros in front."""
    number = pd.to_numeric(text, errors="coerce")
    wrong = np.flatnonzero(~(number.between(low, high) & (number % 1 == 0)).to_numpy(dtype=bool))
    if len(wrong):
        raise DataError(
            f"{shown(text.iloc[wrong[0]])} is no {what} ({low} to {high}): mend it, or leave its "
            "rows out"
        )
    return number.astype(int).astype("str")


def _joined(texts: list[pd.Series], sign: str) -> pd.Series:
    out = texts[0]
    for text in texts[1:]:
        out = out + sign + text
    return out


def _iso(date: pd.Series) -> pd.Series:
    """20240131 as 2024-01-31, which a time of day may follow."""
    return date.str.replace(r"^(\d{4})(\d{2})(\d{2})$", r"\g<1>-\g<2>-\g<3>", regex=True)
