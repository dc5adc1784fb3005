"""Slots of a schedule: none twice, none lost, across both changes of the clock."""

from __future__ import annotations

import datetime
import itertools
from zoneinfo import ZoneInfo

import pytest

from pipelines.scheduling.times import schedule_of, upcoming
from tests.faults.rows import Measure

UTC = datetime.UTC
CASES = [
    ("30 2 * * *", "Europe/Paris"),
    ("0 3 * * *", "America/New_York"),
    ("15 1 * * 1", "Australia/Lord_Howe"),
    ("0 0 1 * *", "America/Sao_Paulo"),
    ("45 23 * * 0-4", "Asia/Kathmandu"),
]


def slow_slots(
    cron: str, zone: str, start: datetime.datetime, count: int
) -> list[tuple[int, int, int]]:
    """Local days that a daily, weekly or monthly line falls on, counted day by day."""
    _, _, day, _, weekday = cron.split()
    days = {int(weekday)} if weekday.isdigit() else set(range(7))
    if "-" in weekday:
        low, high = map(int, weekday.split("-"))
        days = set(range(low, high + 1))
    found: list[tuple[int, int, int]] = []
    at = start.astimezone(ZoneInfo(zone)).date()
    while len(found) < count:
        at += datetime.timedelta(days=1)
        if (at.weekday() + 1) % 7 in days and (day == "*" or at.day == int(day)):
            found.append((at.year, at.month, at.day))
    return found


@pytest.mark.fault("schedule")
@pytest.mark.timeout(1200)
def test_slots_fall_on_every_day_of_theirs_once(measure: Measure) -> None:
    count = measure.count(60, 1000)
    start = datetime.datetime(2026, 1, 10, 12, tzinfo=UTC)
    changes = 0
    for cron, zone in CASES:
        slots: list[datetime.datetime] = []
        at = start
        while len(slots) < count:
            # In pieces, as a scheduler that starts again asks for them.
            piece = upcoming(schedule_of(cron, None, zone), min(97, count - len(slots)), at)
            piece = [when for when in piece if when > at]
            slots += piece
            at = slots[-1]
        local = [when.astimezone(ZoneInfo(zone)) for when in slots[:count]]
        days = [(when.year, when.month, when.day) for when in local]
        assert len(set(slots[:count])) == count
        assert days == slow_slots(cron, zone, start, count), (cron, zone)
        offsets = [when.utcoffset() for when in local]
        changes += sum(a != b for a, b in itertools.pairwise(offsets))
    assert changes > 0
    measure.says(
        f"{count:,} slots of {len(CASES)} lines in zones of their own, over {changes} changes of "
        "the clock: none twice, none lost. Killed runs and outages of a real Prefect server: "
        "`make slow PYTEST_ARGS=tests/pipelines/scheduling` (one scheduler, 2 runs killed, one "
        "outage). **Four schedulers at once were not run**",
        slots=count * len(CASES),
        changes=changes,
    )
