"""When: cron lines, intervals and time zones, read before anything is put on the clock."""

from __future__ import annotations

import datetime
import os
import re
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from forecasting.errors import ConfigError

SHORTEST_SECONDS = 5.0
SHOWN_NEXT = 3
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def schedule_of(cron: str | None, every: str | None, zone: str) -> Any:
    """Prefect's schedule of a cron line or an interval; `ConfigError` says which is wrong."""
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

    if (cron is None) == (every is None):
        raise ConfigError("give either --cron '0 3 * * *' or --every 6h")
    if not _is_zone(zone):
        raise ConfigError(f"--tz {zone!r}: no such time zone; use a name such as Europe/Paris")
    if every is not None:
        return IntervalSchedule(interval=interval_of(every), timezone=zone)
    assert cron is not None
    if len(cron.split()) != 5:
        raise ConfigError(
            f"--cron {cron!r}: five fields are needed, minute hour day month weekday: '0 3 * * *'"
        )
    try:
        schedule = CronSchedule(cron=cron, timezone=zone)
        upcoming(schedule, 1)
    except ValueError as error:  # pydantic's, and croniter's on a date that never comes
        lines = str(error).strip().splitlines()
        reason = lines[-1].split("[type=")[0].strip() if lines else type(error).__name__
        raise ConfigError(f"--cron {cron!r}: {reason.removeprefix('Value error, ')}") from None
    return schedule


def interval_of(text: str) -> datetime.timedelta:
    """The interval that ``30m``, ``6h`` or ``1d`` names; else a `ConfigError`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip())
    if match is None:
        raise ConfigError(f"--every {text!r}: write a number and a unit, such as 30m, 6h or 1d")
    seconds = float(match[1]) * UNITS[match[2]]
    if seconds < SHORTEST_SECONDS:
        raise ConfigError(f"--every {text!r}: the shortest interval is {SHORTEST_SECONDS:g}s")
    return datetime.timedelta(seconds=seconds)


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown, no name or file, a folder
        return False
    return True


def upcoming(
    schedule: Any, count: int = SHOWN_NEXT, start: datetime.datetime | None = None
) -> list[datetime.datetime]:
    """The next times of a schedule, as its server computes them."""
    import asyncio

    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

    kind = CronSchedule if hasattr(schedule, "cron") else IntervalSchedule
    same = kind.model_validate(schedule.model_dump())
    return list(asyncio.run(same.get_dates(count, start)))


def words(clock: Any) -> str:
    """A schedule in words."""
    interval = getattr(clock, "interval", None)
    if interval is None:
        return getattr(clock, "cron", None) or "never"
    seconds = interval.total_seconds()
    unit = next(u for u in reversed(UNITS) if seconds % UNITS[u] == 0 or u == "s")
    return f"every {seconds / UNITS[unit]:g}{unit}"


def machine_zone() -> str:
    """The zone of this machine: ``TZ``, else ``/etc/localtime``, else UTC."""
    candidates = [os.environ.get("TZ", "").removeprefix(":")]
    target = os.path.realpath("/etc/localtime")
    if "zoneinfo/" in target:
        candidates.append(target.split("zoneinfo/", 1)[1])
    for name in candidates:
        if name and _is_zone(name):
            return name
    return "UTC"
