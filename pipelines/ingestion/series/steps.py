"""The frequency of each series and of the panel, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import MONTHS, WEEKDAYS, Frequency
from forecasting.data.steps import business_ends, days_of_months, rule_of
from forecasting.data.whole import calendar_form, refuse_gaps, refuse_size
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.segments import bounds, inside, mode, reduce
from pipelines.ingestion.stamps.readings import DAY, exchanged, fit_of

MINUTE = 60_000_000
# Steps that measuring devices keep, up to jitter.
_USUAL = np.array(
    [1e6, 5e6, 10e6, 15e6, 30e6, *(m * MINUTE for m in (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240,
     360, 480, 720)), DAY, 7 * DAY]
)  # fmt: skip
MIN_STEPS, CLEAR = 4, 0.8
# What helps where a spreadsheet has exchanged days and months.
REPAIR = (
    "export it once more with dates as 2024-01-31, or exchange them back before ingesting it: "
    "where the day is 12 or less it is the month"
)
# Distinct stamps under which holes between them say nothing.
FEW_STAMPS = 5


@dataclass
class Steps:
    """What steps the series keep.

    Attributes
    ----------
    freq : of the panel.
    alias : [N] each series' own, "" where it cannot tell.
    share : [N] of a series' steps that are its own commonest.
    evidence : for the report.
    """

    freq: Frequency
    alias: Array
    share: Array
    evidence: dict[str, Any]


def find_steps(codes: Array, ds: Array, ids: Array, freq: str | None, integer: bool) -> Steps:
    """The step of every series and of all, from rows sorted by series and stamp.

    Raises
    ------
    DataError : no series has two rows, or no step is common; the message says what to set.
    """
    count = len(ids)
    offsets = bounds(codes, count)
    same = inside(offsets, len(ds))
    gaps = np.diff(ds)
    if not same.all():
        gaps, owner = gaps[same], codes[1:][same]
    else:
        owner = codes[1:]
    keys, share, steps = _own(codes, ds, gaps, owner, offsets, count, integer)
    alias = _aliases(keys, ds, offsets, integer)
    evidence: dict[str, Any] = {}
    if freq is not None:
        chosen = Frequency.parse(freq)
        evidence["given"] = chosen.alias
        if chosen.unit in ("listed", "open"):
            # A rule's steps are of several lengths: the rows tell whether they keep to it.
            alias = np.where(keys[:, 0] > 0, chosen.alias, alias)
        if chosen.unit == "month" and not integer and business_ends(ds.astype("datetime64[us]")):
            # Moved to the months' end or begin, which is what was asked for.
            alias = np.where(keys[:, 0] > 0, chosen.alias, alias)
    elif not integer and (ruled := rule_of(ds.astype("datetime64[us]"), offsets, ids)) is not None:
        chosen = ruled
        alias = np.where(keys[:, 0] > 0, chosen.alias, alias)
        evidence["rule"] = chosen.alias
    else:
        if not integer and (days := days_of_months(ds.astype("datetime64[us]"), offsets)):
            raise DataError(
                f"the stamps lie on the days {', '.join(map(str, days))} of each month (31: its "
                "last), which is no regular step; count them to months with freq: MS and "
                "irregular: {policy: resample, aggregate: sum}"
            )
        if not integer and (which := business_ends(ds.astype("datetime64[us]"))):
            _refuse_business_ends(ds, which)
        chosen = _vote(keys, share, steps, gaps, alias, ids, evidence)
    if freq is None and integer:
        numbers = np.unique(ds)
        if form := calendar_form(numbers):
            raise DataError(
                f"the whole numbers in ds, from {numbers[0]} to {numbers[-1]}, leave holes as "
                f"steps and none as dates ({form}): {_cure(form, int(numbers[0]))}, or set "
                "freq: step"
            )
        refuse_gaps(numbers)
        refuse_size(chosen.size, int(numbers[np.abs(numbers).argmin()]))
        _refuse_beside(ds, ds[offsets[codes]], chosen.size)
    if chosen.integer != integer:
        kind = "integers" if integer else "time stamps"
        raise DataError(f"ds holds {kind}, which freq = {chosen.alias} does not fit")
    names, counts = np.unique(alias[alias != ""].astype(str), return_counts=True)
    evidence["series per step"] = dict(zip(names.tolist(), counts.tolist(), strict=True))
    total = float(steps.sum())
    evidence["share of steps kept"] = (
        round(float((share * steps).sum() / total), 4) if total else None
    )
    return Steps(chosen, alias, share, evidence)


def _refuse_business_ends(ds: Array, which: str) -> None:
    """Months are told what to set; longer steps are near enough to be snapped to their own grid."""
    months = np.unique(ds).astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    if int(np.median(np.diff(months))) == 1:
        raise DataError(
            f"the stamps are the {which} business day of each month, which is no regular step: set "
            f"freq: {'ME' if which == 'last' else 'MS'}, which moves them to the {which} day"
        )


def _refuse_beside(ds: Array, first: Array, size: int) -> None:
    """Whole numbers beside the steps that most of them keep are no steps of that size, but dates.

    Parameters
    ----------
    ds : [T] whole numbers. first : [T] that of each one's series.
    """
    beside = (ds - first) % size != 0
    if size > 1 and beside.any():
        raise DataError(
            f"the whole numbers in ds are {size:,} apart most of the time, and {ds[beside][0]} and "
            f"{int(beside.sum()) - 1:,} more lie beside that, as dates do that are written as one "
            'number: if they are dates, give their format, such as stamps.formats: ["%d%m%Y"]; if '
            f"they are steps, set freq: step, or freq: {size}step to move those beside it"
        )


def _cure(form: str, first: int) -> str:
    if form == "quarter" and first < 10_000:
        return "write quarters with four digits of their year, 2024Q1"
    return f'set stamps.formats: ["{form}"]'


def _own(
    codes: Array, ds: Array, gaps: Array, owner: Array, offsets: Array, count: int, integer: bool
) -> tuple[Array, Array, Array]:
    """Per series: a key (kind, size, end), the share of steps that keep it, and their number.

    Kinds: 0 unknown, 1 a fixed length, 2 months, 3 business days.
    """
    keys = np.zeros((count, 3), np.int64)
    steps = np.bincount(owner, minlength=count)
    size, often = mode(owner, gaps, count)
    has = steps > 0
    keys[has, 0], keys[has, 1] = 1, size[has]
    share = np.divide(often, steps, out=np.zeros(count), where=has)
    if integer:
        return keys, share, steps
    long = has & (size >= 28 * DAY) & (size % DAY == 0)
    if long.any():
        _months(keys, share, steps, codes, ds, owner, offsets, long)
    _business(keys, share, codes, ds, offsets, has & (size == DAY))
    return keys, share, steps


def _months(
    keys: Array, share: Array, steps: Array, codes: Array, ds: Array, owner: Array, offsets: Array,
    long: Array,
) -> None:  # fmt: skip
    rows = np.flatnonzero(long[codes])
    count = len(long)
    days = ds[rows].astype("datetime64[us]").astype("datetime64[D]")
    month = days.astype("datetime64[M]")
    of_month = (days - month.astype("datetime64[D]")).astype(np.int64)
    last = (month + 1).astype("datetime64[D]") - 1 == days
    sub = bounds(codes[rows], count)
    low = reduce(np.minimum, of_month, sub, 99)
    high = reduce(np.maximum, of_month, sub, -1)
    is_end = reduce(np.logical_and, last, sub, False) & (high >= 27)
    if len(rows) > 1:
        same = inside(sub, len(rows))
        between = np.diff(month.astype(np.int64))[same]
        size, often = mode(codes[rows][1:][same], between, count)
    else:
        return
    # A day of the month that stays makes months; so does the last day of each. Days 29 to 31 are
    # cut short in February.
    fixed = long & ((low == high) | is_end | ((high >= 28) & (low >= 27))) & (size > 0)
    keys[fixed, 0], keys[fixed, 1] = 2, size[fixed]
    keys[fixed, 2] = (is_end & (low != high))[fixed]
    # All on the 28th, 29th, 30th or 31st: month ends when every month in them ends so.
    keys[fixed & is_end, 2] = 1
    share[fixed] = (often / np.maximum(steps, 1))[fixed]


def _business(
    keys: Array, share: Array, codes: Array, ds: Array, offsets: Array, daily: Array
) -> None:
    if not daily.any():
        return
    sizes = np.diff(offsets)
    rows = np.flatnonzero(daily[codes]) if not daily.all() else slice(None)
    weekday = (ds[rows] // DAY + 3) % 7
    weekends = np.bincount(codes[rows], weights=weekday >= 5, minlength=len(daily))
    business = daily & (weekends == 0) & (sizes >= 6)
    keys[business, 0], keys[business, 1] = 3, 1
    # Steps over a weekend are steps of business days too; recounted only for those series.
    if business.any():
        at = np.flatnonzero(business[codes])
        days = ds[at].astype("datetime64[us]").astype("datetime64[D]")
        same = codes[at][1:] == codes[at][:-1]
        one = np.busday_count(days[:-1][same], days[1:][same]) == 1
        owner = codes[at][1:][same]
        regular = np.bincount(owner, weights=one, minlength=len(daily))
        total = np.bincount(owner, minlength=len(daily))
        share[business] = (regular / np.maximum(total, 1))[business]


def _aliases(keys: Array, ds: Array, offsets: Array, integer: bool) -> Array:
    """Each series' alias; made once per distinct key."""
    first = ds[np.minimum(offsets[:-1], max(len(ds) - 1, 0))] if len(ds) else np.zeros(len(keys))
    anchor = np.zeros(len(keys), np.int64)
    weekly = (keys[:, 0] == 1) & (keys[:, 1] > 0) & (keys[:, 1] % (7 * DAY) == 0)
    anchor[weekly] = (first[weekly] // DAY + 3) % 7
    monthly = (keys[:, 0] == 2) & (keys[:, 1] % 3 == 0)
    month = first.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
    anchor[monthly] = month[monthly]
    full = np.column_stack([keys, anchor])
    distinct, inverse = np.unique(full, axis=0, return_inverse=True)
    names = np.array(
        [_alias(k[0], k[1], k[2], k[3], integer) for k in distinct.tolist()], dtype=object
    )
    return names[inverse.ravel()]


def common_alias(freq: Frequency, start: Array) -> str:
    """The alias with the weekday or month on which most series begin."""
    if freq.unit == "time" and freq.size % (7 * DAY) == 0:
        anchor = np.bincount((start // DAY + 3) % 7)
        return _alias(1, freq.size, 0, int(anchor.argmax()), False)
    if freq.unit == "month" and freq.size % 3 == 0:
        month = start.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
        return _alias(2, freq.size, int(freq.end), int(np.bincount(month).argmax()), False)
    return freq.alias


def _alias(kind: int, size: int, end: int, anchor: int, integer: bool) -> str:
    if kind == 0 or size <= 0:
        return ""
    if integer:
        return Frequency("step", size).alias
    if kind == 3:
        return Frequency("business", size).alias
    if kind == 2:
        # A quarter that ends in March is one that ends in December.
        anchor = anchor + (11 - anchor) // size * size if end else anchor % size
        month = MONTHS[anchor % 12] if size % 3 == 0 else ""
        return Frequency("month", size, month, bool(end)).alias
    return Frequency("time", size, WEEKDAYS[anchor] if size % (7 * DAY) == 0 else "").alias


def _vote(
    keys: Array, share: Array, steps: Array, gaps: Array, alias: Array, ids: Array,
    evidence: dict[str, Any],
) -> Frequency:  # fmt: skip
    voters = np.flatnonzero((keys[:, 0] > 0) & (steps > 0))
    if not len(voters):
        raise DataError(
            "the frequency cannot be told: no series has two rows; name it with freq, "
            "for instance freq: D"
        )
    weight = share * steps
    distinct, inverse = np.unique(keys[voters], axis=0, return_inverse=True)
    inverse = inverse.ravel()
    votes = np.bincount(inverse, weights=weight[voters])
    best = int(votes.argmax())
    kind, size, _ = distinct[best].tolist()
    days = np.flatnonzero((distinct[:, 0] == 1) & (distinct[:, 1] == DAY))
    if kind == 3 and len(days) and votes[days[0]] > 0.05 * votes[best]:
        best = int(days[0])
        kind, size, _ = distinct[best].tolist()
    mine = voters[inverse == best]
    share_kept = float(votes[best] / max(steps[voters].sum(), 1))
    evidence["inferred from"] = (
        f"{votes[best]:,.0f} of {int(steps[voters].sum()):,} steps, in {len(mine):,} of "
        f"{len(ids):,} series"
    )
    if kind == 1 and share_kept < 0.3 and len(gaps) >= 3:
        usual = _usual(gaps)
        if usual:
            evidence["inferred from"] = (
                f"steps between {gaps.min() / 6e7:.4g} and {gaps.max() / 6e7:.4g} minutes, "
                "most within a quarter of this one"
            )
            return Frequency("time", usual)
        if len(np.unique(keys[voters], axis=0)) == 1 or steps.max() >= 10:
            raise DataError(
                f"no regular step: only {share_kept:.0%} of the steps are the commonest one "
                f"({alias[mine[0]] or size}); set freq and irregular.policy: resample"
            )
    names, counts = np.unique(alias[mine].astype(str), return_counts=True)
    return Frequency.parse(str(names[counts.argmax()]))


def _usual(gaps: Array) -> int:
    """A usual step that most gaps keep up to jitter; 0 for none."""
    middle = float(np.median(gaps))
    nearest = float(_USUAL[np.abs(np.log(_USUAL / max(middle, 1.0))).argmin()])
    close = np.abs(gaps - nearest * np.maximum(np.round(gaps / nearest), 1)) < 0.3 * nearest
    return int(nearest) if abs(middle / nearest - 1) < 0.2 and close.mean() > 0.8 else 0


def refuse_others(
    steps: Steps, codes: Array, ids: Array, policy: str, *, resampled: bool = False
) -> Array:
    """[N] series that clearly keep another step; an error unless the config allows them.

    A shorter step is no other one when rows are ``resampled`` to the panel's.
    """
    freq = steps.freq
    counts = np.bincount(codes, minlength=len(ids)) - 1
    sure = (steps.share >= CLEAR) & (counts >= MIN_STEPS) & (steps.alias != "")
    names = np.unique(steps.alias[sure].astype(str))
    other = np.array(
        [
            n
            for n, own in ((n, Frequency.parse(n)) for n in names)
            if not _alike(own, freq) and not (resampled and _length(own) <= _length(freq))
        ],
        dtype=object,
    )
    wrong = sure & np.isin(steps.alias.astype(object), other)
    if wrong.any() and policy == "refuse":
        listed = []
        for name in other:
            members = np.flatnonzero(wrong & (steps.alias == name))
            listed.append(f"{len(members)} with {name} (such as {ids[members[0]]!r})")
        raise DataError(
            f"series keep different steps: the panel's is {freq.alias}, but there are "
            + "; ".join(listed)
            + "; ingest them apart, or set freq, other_freq: drop or keep, or, for a longer freq, "
            "irregular.policy: resample"
        )
    return wrong


def _length(freq: Frequency) -> int:
    """The shortest that a step can be, in microseconds."""
    return {"time": freq.size, "open": freq.size, "month": 28 * DAY * freq.size}.get(
        freq.unit, DAY * freq.size
    )


def _alike(own: Frequency, panel: Frequency) -> bool:
    """Whether a series of one step fits a panel of another, if only with gaps."""
    if own.unit == "business" and panel.unit == "time":
        return panel.size == DAY
    if own.unit != panel.unit:
        return False
    if own.unit == "month":
        return own.end == panel.end and own.size == panel.size
    return own.size == panel.size


def refuse_growth(
    ds: Array, rows: int, freq: Frequency, config: DataConfig, facts: dict[str, Any]
) -> None:
    """A table whose stamps are a few among many, in each series and in all together.

    One series may have holes where others have none, and series may lie years apart; where
    neither explains the holes, the step or the reading of the stamps is more likely wrong than the
    data are.

    Parameters
    ----------
    ds : [T] stamps as they were read. rows : of the finished table, holes filled.
    """
    by_config = config.freq is not None or config.irregular.policy == "resample"
    few = rows < config.stamps.most_growth * len(ds)
    if by_config or few or config.other_freq != "refuse":
        return
    fit = fit_of(ds, freq)
    if fit.holes >= config.stamps.most_growth and fit.stamps > FEW_STAMPS:
        reading = facts.get("reading") or facts.get("stamps")
        other = fit_of(exchanged(ds)) if not freq.integer else fit
        if other.rules_out(fit):
            raise DataError(
                f"day and month of the stamps up to the 12th are exchanged: as they are, {fit}; "
                f"the other way, {other}. A program that reads the other order of day and month "
                f"has stored the table; {REPAIR}"
            )
        raise DataError(
            f"the table would grow {fit.holes:.1f} times (stamps.most_growth = "
            f"{config.stamps.most_growth:g}): {fit}; its stamps were read as {reading}, from "
            f"{_day(ds.min(), freq)} to {_day(ds.max(), freq)}. If that is wrong, say how they are "
            f"written in stamps.formats; if it is right, confirm the step: freq: {freq.alias}"
        )


def _day(stamp: int, freq: Frequency) -> str:
    return str(stamp if freq.integer else np.datetime64(int(stamp), "us").astype("datetime64[D]"))
