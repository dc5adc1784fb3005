"""From stamps as written to one clock: zones, and the hours daylight saving skips and doubles."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency, wall_clock
from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig, StampConfig
from pipelines.ingestion.ledger import NAT, Ledger
from pipelines.ingestion.stamps.axis import keeps_wall_clock
from pipelines.ingestion.stamps.readings import DAY
from pipelines.ingestion.stamps.stamps import Stamps
from pipelines.ingestion.stamps.written import NAIVE, UTC

UTC_NAME = "UTC"


@dataclass
class Clock:
    """One time for all rows.

    Attributes
    ----------
    ds : [T] int64: UTC when ``tz`` is given and the panel is sub-daily, else wall clock; or steps.
    tz : the zone, or None.
    daily : stamps are days or longer, whatever their zone.
    dropped : rows in an hour that does not exist, where the config drops them.
    """

    ds: Array
    tz: str | None
    integer: bool
    daily: bool
    dropped: Array = field(default_factory=lambda: np.empty(0, np.int64))


def set_clock(
    stamps: Stamps, codes: Array, row: Array, config: DataConfig, ledger: Ledger
) -> Clock:
    """All rows on one clock; rows without a readable stamp keep `NAT`."""
    values = stamps.rows()
    _check_range(values, stamps, row, config.stamps)
    if stamps.integer:
        return Clock(values, None, True, False)
    kinds = {int(z) for z in np.unique(stamps.zone[stamps.values != NAT])}
    zones = [stamps.zones[k - 1] for k in sorted(kinds) if k > 0]
    if NAIVE in kinds and len(kinds) > 1:
        row_zones = stamps.row_zones()
        naive = int(np.flatnonzero((row_zones == NAIVE) & (values != NAT))[0])
        aware = int(np.flatnonzero((row_zones != NAIVE) & (values != NAT))[0])
        raise DataError(
            f"some stamps have a zone (row {row[aware]}) and some have none (row {row[naive]}); "
            "set stamps.zone to the zone of those without"
        )
    tz = config.stamps.zone or stamps.tz or (zones[0] if zones else None)
    if kinds <= {NAIVE}:
        ledger.facts["zone"] = "none: stamps are wall clock; a skipped hour appears as a gap"
        return Clock(values, None, False, _daily(values, config))
    written = _as_written(values, stamps) if tz is None else None
    if written is not None and _midnights(written) and _daily(written, config):
        ledger.facts["zone"] = "none: stamps are midnights by the offset written beside them"
        return Clock(written, None, False, True)
    zone = stamps.row_zones()
    wall = None
    if len(kinds) == 1:  # else some rows are instants, or zones differ: no one wall clock
        wall = _wall(values, tz or UTC_NAME) if kinds == {UTC} else values
    if wall is not None and _daily(wall, config):
        ledger.facts["zone"] = f"{tz or UTC_NAME}: days of its wall clock"
        return Clock(wall, tz or UTC_NAME, False, True)
    wall = wall if written is None else written
    if wall is not None and keeps_wall_clock(
        wall, codes, config, lambda: values if kinds == {UTC} else _instants(values, str(tz))
    ):
        ledger.facts["zone"] = (
            f"none: steps of some hours keep the wall clock of {tz or 'the offsets'} through "
            "daylight saving, so it is the axis; stamps.axis: clock makes sure of it"
        )
        return Clock(wall, None, False, False)
    tz = tz or UTC_NAME
    out = values.copy()
    dropped = [np.empty(0, np.int64)]
    for number, name in enumerate(stamps.zones, start=1):
        if number in kinds:
            mask = (zone == number) & (values != NAT)
            dropped.append(_localise(out, mask, name, codes, row, config, ledger))
    ledger.facts.setdefault("zone", f"{tz}; stamps are kept in UTC")
    return Clock(out, tz, False, False, np.concatenate(dropped))


def _as_written(values: Array, stamps: Stamps) -> Array | None:
    """Wall clock of instants by the offsets written beside them; None when none was."""
    if stamps.offsets is None or stamps.index is None or not stamps.offsets.any():
        return None
    return np.where(values == NAT, NAT, values + stamps.offsets[stamps.index])


def _midnights(values: Array) -> bool:
    return bool((values[values != NAT] % DAY == 0).all())


def _instants(values: Array, tz: str) -> Array:
    """Wall clock of a zone as UTC, of doubled times the first."""
    out = np.full(len(values), NAT)
    known = values != NAT
    out[known] = _to_utc(pd.DatetimeIndex(values[known].astype("datetime64[us]")), tz, True)
    return out


def _wall(values: Array, tz: str) -> Array:
    known = values != NAT
    out = values.copy()
    out[known] = wall_clock(values[known].astype("datetime64[us]"), tz).astype(np.int64)
    return out


def _daily(values: Array, config: DataConfig) -> bool:
    """Whether every stamp is a midnight (or the frequency says days)."""
    if config.freq is not None:
        return not Frequency.parse(config.freq).sub_daily
    head = values[:1000]
    if (head[head != NAT] % DAY != 0).any():
        return False
    return _midnights(values)


def _check_range(values: Array, stamps: Stamps, row: Array, config: StampConfig) -> None:
    if stamps.integer:
        return
    limits = [np.datetime64(t, "us").astype(np.int64) for t in (config.earliest, config.latest)]
    known = stamps.values != NAT
    wrong = known & ((stamps.values < limits[0]) | (stamps.values >= limits[1] + DAY))
    if wrong.any():
        rows = np.flatnonzero(wrong if stamps.index is None else wrong[stamps.index])
        rows = rows[values[rows] != NAT]
        if not len(rows):
            return
        first = int(rows[0])
        stamp = np.datetime64(int(values[first]), "us")
        written = stamps.text(np.array([first]))[0]
        raise DataError(
            f"row {row[first]}: {written or str(stamp)[:19]} is outside {config.earliest} to "
            f"{config.latest} ({len(rows):,} rows); mend it, give its format in stamps.formats, "
            "or move stamps.earliest or stamps.latest"
        )


def _localise(
    out: Array, mask: Array, zone: str, codes: Array, row: Array, config: DataConfig, ledger: Ledger
) -> Array:
    """Wall clock of one zone to UTC, in place; returns rows that are dropped."""
    at = np.flatnonzero(mask)
    local = pd.DatetimeIndex(out[at].astype("datetime64[us]"))
    first = _to_utc(local, zone, True)
    second = _to_utc(local, zone, False)
    utc = first.copy()
    doubled = np.flatnonzero(first != second)
    policy = config.stamps
    if len(doubled):
        if policy.ambiguous == "refuse":
            raise DataError(
                f"row {row[at[doubled[0]]]}: {local[doubled[0]]} occurs twice in {zone} when "
                "daylight saving ends; set stamps.ambiguous: order, first or second"
            )
        later = np.full(len(doubled), policy.ambiguous == "second")
        if policy.ambiguous == "order":
            seen = pd.DataFrame({"code": codes[at[doubled]], "ds": out[at[doubled]]})
            upward = not _descending(codes[at], out[at])
            nth = seen.groupby(["code", "ds"]).cumcount(ascending=upward)
            later = nth.to_numpy() > 0
        utc[doubled] = np.where(later, second[doubled], first[doubled])
        ledger.note(
            "doubled_hour", "flagged",
            f"the wall clock of {zone} shows this time twice; the first row was taken as daylight "
            "saving time" if policy.ambiguous == "order" else
            f"the wall clock of {zone} shows this time twice; the {policy.ambiguous} was taken",
            series=codes[at[doubled]], ds=utc[doubled], row=row[at[doubled]], column="ds",
            before=np.datetime_as_string(out[at[doubled]].astype("datetime64[us]"), unit="s"),
            repair=False,
        )  # fmt: skip
    skipped = np.flatnonzero(
        wall_clock(utc.astype("datetime64[us]"), zone).astype(np.int64) != out[at]
    )
    if len(skipped):
        if policy.nonexistent == "refuse":
            raise DataError(
                f"row {row[at[skipped[0]]]}: {local[skipped[0]]} does not exist in {zone}: "
                "daylight saving skips it; set stamps.nonexistent: shift or drop"
            )
        drop = policy.nonexistent == "drop"
        written = np.datetime_as_string(out[at[skipped]].astype("datetime64[us]"), unit="s")
        if drop:
            utc[skipped] = NAT
            ledger.note(
                "skipped_hour", "removed", f"the wall clock of {zone} skips this time",
                series=codes[at[skipped]], row=row[at[skipped]], column="ds", before=written,
            )  # fmt: skip
        else:
            # The clock jumped ahead at this hour: the same instant, read with the old offset.
            day_before = local[skipped] - pd.Timedelta(days=1)
            wall = day_before.to_numpy().astype("datetime64[us]").astype(np.int64)
            old = _to_utc(day_before, zone, True) - wall
            utc[skipped] = out[at[skipped]] + old
            ledger.note(
                "skipped_hour", "changed",
                f"the wall clock of {zone} skips this time; it was moved ahead by the hour",
                series=codes[at[skipped]], ds=utc[skipped], row=row[at[skipped]], column="ds",
                before=written,
            )  # fmt: skip
    out[at] = utc
    ledger.facts["zone"] = (
        f"{zone}; stamps are kept in UTC; {len(doubled)} rows fall into a doubled hour, "
        f"{len(skipped)} into a skipped one"
    )
    gone = len(skipped) and policy.nonexistent == "drop"
    return at[skipped] if gone else np.empty(0, np.int64)


def _descending(codes: Array, ds: Array) -> bool:
    """Whether the source lists the latest rows first."""
    step = np.diff(ds)[codes[1:] == codes[:-1]]
    return bool((step < 0).sum() > 0.9 * max(len(step), 1))


def _to_utc(local: pd.DatetimeIndex, zone: str, dst: bool) -> Array:
    aware = local.tz_localize(zone, ambiguous=np.full(len(local), dst), nonexistent="shift_forward")
    utc = aware.tz_convert("UTC").tz_localize(None).to_numpy()
    return np.asarray(utc.astype("datetime64[us]").astype(np.int64))
