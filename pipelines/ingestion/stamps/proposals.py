"""The ways in which a column's texts may be written, found out from the distinct ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from pipelines.ingestion.config import StampConfig, StampFormat
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.raw import shown
from pipelines.ingestion.stamps.epochs import likelier
from pipelines.ingestion.stamps.numbered import also, date_kind, refuse_odd_years
from pipelines.ingestion.stamps.periods import small_parts
from pipelines.ingestion.stamps.readings import Fit, fit_of
from pipelines.ingestion.stamps.short import month_texts, refuse_days, short_texts
from pipelines.ingestion.stamps.written import ISO, WEEK, before_latest, read_pattern

# Share of the texts above which one way of writing is taken for that of all.
MOSTLY = 0.9
_SETTLES = {
    "day first": "stamps.day_first: true",
    "month first": "stamps.day_first: false",
    "year first": "stamps.formats, such as %y/%m/%d",
}
_TIME = (
    "", " %H:%M", " %H", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", " %I %p",
)  # fmt: skip
# Readings that take each other's dates: which is meant, the calendar says.
_ORDERS = {
    "day first": ("%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    "month first": ("%m/%d/%Y", "%m.%d.%Y", "%m-%d-%Y", "%m/%d/%y", "%m.%d.%y", "%m-%d-%y"),
    "year first": ("%y/%m/%d", "%y.%m.%d", "%y-%m-%d"),
}
_OTHERS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%B-%Y",
    "%d-%b-%y", "%d %b %y", "%d/%b/%Y", "%d%b%Y", "%d. %b %Y", "%d. %B %Y", "%d.%b.%Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%Y-%b-%d", "%Y %b %d", "%b %Y", "%B %Y",
    "%b-%Y", "%Y %b", "%Y-%b", "%m/%Y", "%Y/%m", "%m.%Y", "%YM%m", "%Y %B",
)  # fmt: skip
_NAMED_HALF = r"(?i)^\d{4}[-\s/]?[HS][12]$|^[HS][12][-\s/]?\d{4}$"
_NAMED_QUARTER = r"^\d{4}[-\s/]?[Qq][1-4]$|^[Qq][1-4][-\s/]?\d{4}$"
# 2022/23, 2022-2023, FY2022, FY 2022/23.
_FINANCIAL = r"(?i)^(FY)?\s?(\d{4})(?:\s?[-/]\s?(\d{2}|\d{4}))?$"
_TIME_ALONE = r"(?i)^(?:\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]m)?|\d{1,2}\s?[ap]m)$"


class Notes(list[str]):
    """What is to be said of a reading, and whether it was chosen among several."""

    guessed = False

    def guess(self, note: str) -> None:
        """Say which of several readings was chosen."""
        self.append(note)
        self.guessed = True


def propose(
    text: pd.Series, config: StampConfig, name: str, notes: Notes
) -> tuple[StampFormat, ...]:
    """The formats that read the distinct values [K], the most telling first.

    Raises
    ------
    DataError : two readings are possible, or what is written is no stamp; with what settles it.
    """
    left = text[text != ""]
    chosen: list[StampFormat] = []

    def take(form: StampFormat, fits: Array) -> None:
        nonlocal left
        if fits.any():
            chosen.append(form)
            left = left[~fits]

    if form := small_parts(left, config, name):
        if form != "month":
            notes.append(f"{shown(left.iloc[0])} and its like are {form.replace('_', '-')}s")
        take(StampFormat(format=form), np.ones(len(left), bool))
    fractions = left.str.fullmatch(r"\d{4}\.\d+").to_numpy(dtype=bool)
    if fractions.any() and left[~fractions].str.fullmatch(r"\d{4}").all():
        take(StampFormat(format="month"), fractions & month_texts(left))
        if len(left):
            raise DataError(
                f"column {name}: {shown(left.iloc[-1])} is a year with a fraction, which is not "
                "read; write its months or quarters out, 2019-04 or 2019Q2"
            )
    financial = _financial(left)
    take(StampFormat(format="financial_year"), financial)
    if financial.any():
        notes.append("financial years, stamped with the January of the first of their two")
    take(StampFormat(format="iso"), left.str.fullmatch(ISO).to_numpy(dtype=bool))
    for digits in _long_digits(left, name):
        take(*digits)
    days = left.str.fullmatch(r"(1[6-9]|2[0-2])\d{2}(0[1-9]|1[0-2])([0-2]\d|3[01])")
    take(StampFormat(format="%Y%m%d"), days.to_numpy(dtype=bool))
    take(StampFormat(format="quarter"), left.str.fullmatch(_NAMED_QUARTER).to_numpy(dtype=bool))
    halves = left.str.fullmatch(_NAMED_HALF).to_numpy(dtype=bool)
    take(StampFormat(format="half_year"), halves)
    take(StampFormat(format="week"), left.str.fullmatch(WEEK).to_numpy(dtype=bool))
    years = left.str.fullmatch(r"(1[6-9]|2[0-2])\d{2}").to_numpy(dtype=bool)
    numbers = left.str.fullmatch(r"\d{1,8}").to_numpy(dtype=bool)
    kind = ""
    if len(left) and numbers.all():
        widths = left.str.len()
        zeros = left.str.startswith("0").any() and widths.min() == widths.max()
        kind = date_kind(left.astype(np.int64).to_numpy(), name, int(widths.max()) if zeros else 0)
    if kind:
        form = {"month": "%Y%m", "quarter": "quarter"}.get(kind, kind)
        words = f"years and their {kind}s" if kind != form or kind == "quarter" else kind
        other = also(np.unique(left.astype(np.int64).to_numpy()), kind)
        notes.guess(other or f"numbers such as {left.iloc[0]} are {words}")
        take(StampFormat(format=form), numbers)
    elif years.sum() > 0.9 * max(len(left), 1):
        distinct_years = np.unique(left[years].astype(np.int64).to_numpy())
        refuse_odd_years(distinct_years, name)
        notes += filter(None, [also(distinct_years, "year")])
        take(StampFormat(format="year"), years)
    elif len(left) and not chosen and numbers.sum() > 0.9 * len(left):
        # A number among dates is none of them, and no step either.
        take(StampFormat(format="step"), numbers)
    if len(left) and (short := short_texts(left)).mean() > MOSTLY:
        freq = Frequency.parse(config.freq) if config.freq else None
        notes.append(refuse_days(left[short], name, freq))
        take(StampFormat(format="month"), short)
    if len(left):
        for pattern, read in _patterns(left, config, name, notes):
            take(pattern, read[left.index.to_numpy()])
            if not len(left):
                break
    take(StampFormat(format="month"), month_texts(left))
    if len(left) and not chosen and left.str.fullmatch(_TIME_ALONE).all():
        raise DataError(
            f"column {name}: {shown(left.iloc[0])} is a time of day without a date; name the "
            "column of the dates with it, ds: [date, hour]"
        )
    return tuple(chosen)


def _long_digits(left: pd.Series, name: str) -> list[tuple[StampFormat, Array]]:
    """Dates with hours as digits alone, and Unix time, with the texts that are each."""
    formats = []
    read = np.zeros(len(left), bool)
    for length, compact_form in ((10, "%Y%m%d%H"), (12, "%Y%m%d%H%M"), (14, "%Y%m%d%H%M%S")):
        compact = left.str.fullmatch(rf"(1[7-9]|2[01])\d{{{length - 2}}}").to_numpy(dtype=bool)
        if compact.any() and (read_pattern(left[compact], compact_form)[0] != NAT).all():
            formats.append((StampFormat(format=compact_form), compact[~read]))
            read = read | compact
    for form, low, high in (
        ("epoch_s", 9, 10), ("epoch_ms", 12, 13), ("epoch_us", 15, 16), ("epoch_ns", 18, 19)
    ):  # fmt: skip
        fits = left.str.fullmatch(rf"\d{{{low},{high}}}").to_numpy(dtype=bool) & ~read
        if fits.any():
            kind = likelier(left[fits].astype(np.int64).to_numpy(), form, name)
            formats.append((StampFormat(format=kind), fits[~read]))
            read = read | fits
    return formats


def _financial(text: pd.Series) -> Array:
    """[K] which texts name a year and the one after it, where all of three and more do."""
    parts = text.str.extract(_FINANCIAL)
    first, second = (pd.to_numeric(parts[k], errors="coerce") for k in (1, 2))
    short = (parts[2].str.len() == 2).fillna(False)
    follows = second == (first + 1).where(~short, (first + 1) % 100)
    named = parts[0].notna() & (second.isna() | follows)
    fits = ((parts[2].notna() & follows) | named).fillna(False).to_numpy(dtype=bool)
    return fits if fits.all() and len(text) >= 3 else np.zeros(len(text), bool)


def _patterns(
    left: pd.Series, config: StampConfig, name: str, notes: Notes
) -> list[tuple[StampFormat, Array]]:
    """strptime patterns that read some of the values; their order is settled by all."""
    size = int(left.index.max()) + 1
    orders = {order: _read_all(left, dates) for order, dates in _ORDERS.items()}
    order = _settled(left, orders, config, name, notes)
    pairs = list(orders[order].items()) if order else []
    pairs += list(_read_all(left, _OTHERS).items())
    out = []
    for pattern, mask in sorted(pairs, key=lambda item: -int(item[1].sum())):
        full = np.zeros(size, bool)
        full[left.index.to_numpy()[mask]] = True
        out.append((StampFormat(format=pattern), full))
    return out


def _settled(
    left: pd.Series,
    orders: dict[str, dict[str, Array]],
    config: StampConfig,
    name: str,
    notes: Notes,
) -> str:
    """Which of `_ORDERS` is meant; "" where none reads anything.

    Raises
    ------
    DataError : two of them are possible; the message names both, and what settles it.
    """
    if config.day_first is not None:
        return "day first" if config.day_first else "month first"
    counts = {o: int(np.any([*m.values()], axis=0).sum()) if m else 0 for o, m in orders.items()}
    most = max(counts.values())
    if not most:
        return ""
    possible = [order for order, count in counts.items() if count == most]
    stamps = {order: _values_of(left, orders[order], config) for order in possible}
    if len(possible) == 1 or all((stamps[o] == stamps[possible[0]]).all() for o in possible):
        less = [o for o in counts if o != possible[0] and 0 < counts[o] < most]
        if less:
            notes.append(
                f"{possible[0]}: read so, {most:,} distinct stamps are dates, {less[0]} "
                f"{counts[less[0]]:,}"
            )
        return possible[0]
    freq = Frequency.parse(config.freq) if config.freq else None
    fits = {o: fit_of(stamps[o][stamps[o] != NAT], freq) for o in possible}
    best = min(possible, key=lambda o: fits[o].growth)
    for other in possible:
        same = bool((stamps[other] == stamps[best]).all())
        if other != best and not same and not fits[best].rules_out(fits[other]):
            raise DataError(_ambiguous(left, stamps, fits, (best, other), name))
    rest = "; ".join(f"{o}: {fits[o]}" for o in possible if o != best)
    notes.guess(f"{best}: {fits[best]} (not {rest})")
    return best


def _ambiguous(
    left: pd.Series,
    stamps: dict[str, Array],
    fits: dict[str, Fit],
    orders: tuple[str, str],
    name: str,
) -> str:
    """Both readings of a stamp that they read differently, and what settles it."""
    at = int(np.flatnonzero(stamps[orders[0]] != stamps[orders[1]])[0])
    days = [str(stamps[o][at].astype("datetime64[us]").astype("datetime64[D]")) for o in orders]
    settles = " or ".join(_SETTLES[o] for o in orders)
    return (
        f"column {name}: {shown(left.iloc[at])} is {days[0]} read {orders[0]} and {days[1]} read "
        f"{orders[1]}, and both are possible ({orders[0]}: {fits[orders[0]]}; {orders[1]}: "
        f"{fits[orders[1]]}); set {settles}, or say the step: freq"
    )


def _values_of(left: pd.Series, readings: dict[str, Array], config: StampConfig) -> Array:
    """[K] what one order's patterns read, the one that reads most first; `NAT` for the rest."""
    values = np.full(len(left), NAT)
    for pattern in sorted(readings, key=lambda p: -int(readings[p].sum())):
        read = before_latest(read_pattern(left, pattern)[0], pattern, config)
        values = np.where(values == NAT, read, values)
    return values


def _read_all(left: pd.Series, dates: tuple[str, ...]) -> dict[str, Array]:
    """Which values each pattern, with any time behind it, reads."""
    sample = left.iloc[:: max(len(left) // 200, 1)]
    masks = {}
    for date in dates:
        for time in _TIME:
            pattern = date + time
            if (read_pattern(sample, pattern)[0] != NAT).any():
                mask = read_pattern(left, pattern)[0] != NAT
                masks[pattern] = mask
    return masks
