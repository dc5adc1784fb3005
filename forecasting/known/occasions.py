"""Holidays, feasts and events as covariates that are known ahead: computed once, and kept.

What a calendar names (a country's holidays, Easter, days of one's own) becomes lists of days when a
forecaster is trained. They travel in its bundle: whoever forecasts needs no package, and gets what
training saw, whatever a later package thinks of a holiday. Columns are made of them from the stamps
alone: nobody has to give them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.config import CalendarConfig, EventConfig, Occasion, Occasions
from forecasting.data.calendar import Frequency, wall_clock
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, lacking
from forecasting.grids.openings import closed_days, is_opening, named, without_names
from forecasting.schema import Covariate, Schema

# Years after the last row whose days are kept, where the calendar names no other.
YEARS_AHEAD = 10
# Columns are called so, and by what they tell of.
PREFIX = "calendar."
# Steps beyond the horizon that a zone's clock may ask for.
OF_THE_CLOCK = 3
LAST_YEAR = 2100
# Whose closed days open times keep that name a country or a market.
CLOSED_YEARS = range(2000, 2046)


def kept(calendar: CalendarConfig, panel: Panel) -> Occasions:
    """The days that a calendar names, from the first row of a panel to some years after its last.

    Raises
    ------
    ConfigError : a country, market or feast that is not known, days that are none; integer stamps.
    """
    if panel.freq.integer:
        raise ConfigError("calendar: the stamps are plain steps, and have no holidays")
    first = int(str(panel.start.min())[:4])
    last = int(str(panel.last.max())[:4])
    until = calendar.until or min(last + YEARS_AHEAD, LAST_YEAR)
    if until < last:
        raise ConfigError(f"calendar.until = {until} is before the last row, of {last}")
    years = range(first - 1, until + 2)
    groups, sources = [], []
    if calendar.country is not None:
        named, source = _official(calendar, years)
        sources.append(source)
        wide = {"before": calendar.before, "after": calendar.after}
        if calendar.each:
            for kind in dict.fromkeys(name for _, name in named):
                days = tuple(day for day, name in named if name == kind)
                groups.append(Occasion(name=kind, days=days, **wide))
        else:
            days = tuple(sorted({day for day, _ in named}))
            groups.append(Occasion(name=calendar.country, days=days, **wide))
    for name, event in calendar.events.items():
        days = tuple(sorted(set(_days_of(name, event, years))))
        groups.append(Occasion(name=name, days=days, before=event.before, after=event.after))
    return Occasions(
        groups=tuple(groups),
        until=f"{until}-12-31",
        source="; ".join(sources),
        stamps="end" if panel.freq.end else calendar.stamps,
    )


def with_closed_days(freq: str) -> str:
    """Open times whose closed days are named, by a country or a market, with those days.

    ``D[MON-FRI; closed NYSE]`` becomes ``D[MON-FRI; closed 2000-01-17 2000-02-21 ...]``, for the
    years of `CLOSED_YEARS`: what is kept in a bundle needs no package, and never changes.

    Raises
    ------
    ConfigError : a name that the package holidays does not know.
    MissingGroupError : there is no such package.
    """
    if not is_opening(freq):
        return freq
    names = named(freq)
    if not names:
        return freq
    days = [day for name in names for day in _closed(name)]
    return closed_days(without_names(freq), np.array(days, dtype="datetime64[D]"))


def _closed(name: str) -> list[str]:
    holidays = _package("closed days that are named")
    try:
        country, _, part = name.partition("-")
        if name in holidays.list_supported_financial():
            days = holidays.financial_holidays(name, years=CLOSED_YEARS)
        else:
            days = holidays.country_holidays(country, subdiv=part or None, years=CLOSED_YEARS)
    except NotImplementedError as error:
        raise ConfigError(
            f"freq: closed {name}: {error}: name a country such as DE or DE-BY, a market such as "
            "NYSE, or days, 2024-12-25"
        ) from None
    return [day.isoformat() for day in sorted(days)]


def columns(occasions: Occasions) -> tuple[Covariate, ...]:
    """The covariates that are made of the days, in order."""
    return tuple(
        Covariate(name=name, role="future", type="real")
        for group in occasions.groups
        for name, _, _ in _parts(group)
    )


def without_occasions(schema: Schema, occasions: Occasions | None) -> Schema:
    """What a caller gives, of all that a network reads."""
    if occasions is None:
        return schema
    names = {c.name for c in columns(occasions)}
    return Schema(covariates=tuple(c for c in schema.covariates if c.name not in names))


def with_occasions(panel: Panel, occasions: Occasions | None, ahead: int) -> Panel:
    """A panel with the columns of the days, over its history and ``ahead`` steps after it.

    One that has them stays as it is.
    """
    if occasions is None:
        return panel
    covariates = columns(occasions)
    names = {c.name for c in panel.schema.covariates}
    if covariates and covariates[0].name in names:
        return panel
    if panel.tz is not None and panel.freq.sub_daily:
        ahead += OF_THE_CLOCK
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    history = panel.freq.shift(panel.start[panel.series], position)
    later = panel.freq.stamps(panel.start, panel.lengths, ahead)
    schema = Schema(covariates=(*panel.schema.covariates, *covariates))
    count, own = len(panel), panel.future.shape[1]
    width = max(ahead, 0 if panel.horizon is None else panel.horizon.shape[1])
    horizon = np.full((count, width, own + len(covariates)), np.nan)
    if panel.horizon is not None:
        horizon[:, : panel.horizon.shape[1], :own] = panel.horizon
    horizon[:, :ahead, own:] = values(occasions, later, panel.freq, panel.tz)
    block = values(occasions, history, panel.freq, panel.tz)
    future = np.concatenate([panel.future, block], axis=1)
    return replace(panel, schema=schema, future=future, horizon=horizon)


def values(occasions: Occasions, stamps: Array, freq: Frequency, tz: str | None) -> Array:
    """[..., C] what the days tell of stamps of any shape: how many fall into the step of each.

    Of the days before and after one, how near they are: 1 next to it, and less further away.
    """
    flat, back = np.unique(np.asarray(stamps).ravel(), return_inverse=True)
    first, last = _span(flat, freq, tz, occasions.stamps)
    out = np.empty((len(flat), len(columns(occasions))))
    column = 0
    for group in occasions.groups:
        days = np.array(group.days, dtype="datetime64[D]")
        for _, way, reach in _parts(group):
            out[:, column] = (
                _counted(days, first, last) if way == 0 else _near(days, first, last, way, reach)
            )
            column += 1
    return out[back].reshape(*np.shape(stamps), -1)


def beyond(panel: Panel, occasions: Occasions | None, steps: int) -> str | None:
    """What is to be said where a forecast reaches beyond the last day that is known."""
    if occasions is None or not len(panel):
        return None
    end = panel.freq.shift(panel.start, panel.lengths - 1 + steps).max()
    if end.astype("datetime64[D]") <= np.datetime64(occasions.until):
        return None
    return (
        f"the calendar's days are known up to {occasions.until}, and the forecast reaches to "
        f"{str(end)[:10]}: later days count as ordinary ones; train again, or set calendar.until"
    )


def _parts(group: Occasion) -> Iterator[tuple[str, int, int]]:
    """Columns of one group: name, 0 for the days themselves, -1 before, 1 after, and how far."""
    yield f"{PREFIX}{group.name}", 0, 0
    if group.before:
        yield f"{PREFIX}{group.name}.before", -1, group.before
    if group.after:
        yield f"{PREFIX}{group.name}.after", 1, group.after


def _span(stamps: Array, freq: Frequency, tz: str | None, side: str) -> tuple[Array, Array]:
    """The first and the last day of the step of each stamp."""
    if freq.sub_daily:
        day = wall_clock(stamps, tz).astype("datetime64[D]")
        return day, day
    day = stamps.astype("datetime64[D]")
    if side == "end":
        before = freq.shift(stamps, -1).astype("datetime64[D]")
        return before + 1, day
    # A business day has itself alone: what lies between it and the next is no day of business.
    after = (
        day + 1
        if freq.unit in ("business", "open")
        else freq.shift(stamps, 1).astype("datetime64[D]")
    )
    return day, after - 1


def _counted(days: Array, first: Array, last: Array) -> Array:
    low = np.searchsorted(days, first, side="left")
    return (np.searchsorted(days, last, side="right") - low).astype(np.float64)


def _near(days: Array, first: Array, last: Array, way: int, reach: int) -> Array:
    """How near the next day is (``way`` -1: it comes) or the last one was, 0 beyond ``reach``."""
    padded = np.concatenate([[np.datetime64("0001-01-01")], days, [np.datetime64("9999-12-31")]])
    if way < 0:
        neighbour = padded[1 + np.searchsorted(days, last, side="right")]
        gap = (neighbour - last).astype(np.int64)
    else:
        neighbour = padded[np.searchsorted(days, first, side="left")]
        gap = (first - neighbour).astype(np.int64)
    near = np.where((gap >= 1) & (gap <= reach), 1.0 - (gap - 1) / reach, 0.0)
    # What is a day of the kind itself is not told as being near to another.
    return np.where(_counted(days, first, last) > 0, 0.0, near)


def _package(what: str) -> Any:
    try:
        import holidays
    except ModuleNotFoundError as error:
        raise lacking(what, error, "or give the days themselves") from None
    return holidays


def _official(calendar: CalendarConfig, years: range) -> tuple[list[tuple[str, str]], str]:
    """[(day, name)] of a country's holidays, and where they are from."""
    holidays = _package("calendar.country")
    place = calendar.country or ""
    try:
        by_day = holidays.country_holidays(
            place, subdiv=calendar.subdivision, years=years, categories=calendar.kinds,
            language="en_US",
        )  # fmt: skip
    except NotImplementedError as error:
        raise ConfigError(
            f"calendar: {error}: country is an ISO 3166 code such as DE or US, subdivision that of "
            "a part of it, such as BY or CA"
        ) from None
    except ValueError as error:
        raise ConfigError(f"calendar.kinds = {', '.join(calendar.kinds)}: {error}") from None
    where = place + (f"-{calendar.subdivision}" if calendar.subdivision else "")
    named = [(day.isoformat(), str(name)) for day, name in sorted(by_day.items())]
    if not named:
        raise ConfigError(f"calendar: no holidays of {where} are known for {years[0]}–{years[-1]}")
    return named, f"holidays {holidays.__version__}, {where}"


def _days_of(name: str, event: EventConfig, years: range) -> Iterator[str]:
    """The days of one's own event, as ISO text; those of a feast, and of ranges, one by one."""
    for text in event.days:
        begin, _, end = text.partition("/")
        try:
            first, last = np.datetime64(begin, "D"), np.datetime64(end or begin, "D")
        except ValueError:
            raise ConfigError(
                f"calendar.events.{name}: {text!r} is no day and no range: write 2024-12-24, or "
                "2024-07-25/2024-09-06"
            ) from None
        if last < first:
            raise ConfigError(f"calendar.events.{name}: {text!r} ends before it begins")
        yield from (str(day) for day in np.arange(first, last + 1))
    if event.feast is not None:
        for year in years:
            yield str(easter(year, orthodox=event.feast == "orthodox_easter") + event.offset)


def easter(year: int, *, orthodox: bool = False) -> np.datetime64:
    """Easter Sunday, of the Gregorian reckoning or the Julian one, as a Gregorian date.

    Source: Meeus (1991), "Astronomical Algorithms", chapter 8.
    """
    if orthodox:
        d = (19 * (year % 19) + 15) % 30
        e = (2 * (year % 4) + 4 * (year % 7) - d + 34) % 7
        month, day = divmod(d + e + 114, 31)
        julian = np.datetime64(f"{year:04d}-{month:02d}-{day + 1:02d}", "D")
        # Days by which the Julian calendar is behind in that year.
        return np.datetime64(julian + (year // 100 - year // 400 - 2))
    a, b, c = year % 19, year // 100, year % 100
    d, e = divmod(b, 4)
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = divmod(c, 4)
    s = (32 + 2 * e + 2 * i - h - k) % 7
    m = (a + 11 * h + 22 * s) // 451
    month, day = divmod(h + s - 7 * m + 114, 31)
    return np.datetime64(f"{year:04d}-{month:02d}-{day + 1:02d}", "D")
