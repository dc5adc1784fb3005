"""When a schedule runs next, said in words; what is no time is named with what is."""

from __future__ import annotations

import datetime
import re

import pytest

from forecasting.errors import ConfigError
from pipelines.scheduling import times
from pipelines.scheduling.times import interval_of, machine_zone, schedule_of, upcoming, words


@pytest.mark.parametrize(
    ("cron", "every", "zone", "said"),
    [
        (None, None, "UTC", "give either --cron '0 3 * * *' or --every 6h"),
        ("0 3 * * *", "6h", "UTC", "give either --cron '0 3 * * *' or --every 6h"),
        (
            "0 3 * * *", None, "Mars/Base",
            "--tz 'Mars/Base': no such time zone; use a name such as Europe/Paris",
        ),
        ("0 3 * * *", None, "", "--tz '': no such time zone; use a name such as Europe/Paris"),
        (
            "0 3 * *", None, "UTC",
            "--cron '0 3 * *': five fields are needed, minute hour day month weekday: '0 3 * * *'",
        ),
        (
            "0 3 * * * *", None, "UTC",
            "--cron '0 3 * * * *': five fields are needed, minute hour day month weekday: "
            "'0 3 * * *'",
        ),
        (None, "6 weeks", "UTC",
         "--every '6 weeks': write a number and a unit, such as 30m, 6h or 1d"),
        (None, "4.9s", "UTC", "--every '4.9s': the shortest interval is 5s"),
    ],
)  # fmt: skip
def test_what_is_no_time_is_said_in_a_line(
    cron: str | None, every: str | None, zone: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        schedule_of(cron, every, zone)


@pytest.mark.parametrize("cron", ["61 3 * * *", "0 3 31 2 *", "x 3 * * *"])
def test_a_line_that_the_scheduler_does_not_take_is_named_with_its_reason(cron: str) -> None:
    with pytest.raises(ConfigError) as refused:
        schedule_of(cron, None, "UTC")
    text = str(refused.value)
    assert text.startswith(f"--cron {cron!r}: ")
    assert len(text) > len(f"--cron {cron!r}: ") + 3
    assert not re.search(r"Value error|\[type=|\n", text)


@pytest.mark.parametrize(
    ("every", "spelled"),
    [
        ("5s", "every 5s"), ("90s", "every 90s"), ("120 s", "every 2m"), ("30m", "every 30m"),
        (" 6h", "every 6h"), ("1.5d", "every 36h"), ("48h", "every 2d"), ("7.5s", "every 7.5s"),
    ],
)  # fmt: skip
def test_intervals_are_said_in_the_largest_unit_they_are_whole_in(every: str, spelled: str) -> None:
    clock = schedule_of(None, every, "Europe/Paris")
    assert clock.timezone == "Europe/Paris"
    assert clock.interval == interval_of(every)
    assert words(clock) == spelled


def test_lines_are_said_as_they_are_and_nothing_is_never() -> None:
    line = schedule_of("0 3 * * 1", None, "Europe/Paris")
    assert (line.cron, line.timezone, words(line)) == ("0 3 * * 1", "Europe/Paris", "0 3 * * 1")
    assert words(object()) == "never"


def test_the_next_times_are_three_and_by_the_wall_clock() -> None:
    line = schedule_of("30 4 * * *", None, "Europe/Paris")
    start = datetime.datetime(2026, 3, 28, 0, 0, tzinfo=datetime.UTC)
    found = upcoming(line, start=start)
    assert [when.astimezone(datetime.UTC).strftime("%d %H:%M") for when in found] == [
        "28 03:30", "29 02:30", "30 02:30"
    ]  # fmt: skip
    assert len(upcoming(schedule_of(None, "6h", "UTC"), 5, start)) == 5


def test_the_machines_zone_is_what_it_says_or_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "/usr/share/zoneinfo/America/Lima"
    monkeypatch.setattr(times.os.path, "realpath", lambda _: place)
    monkeypatch.setenv("TZ", ":Asia/Kathmandu")
    assert machine_zone() == "Asia/Kathmandu"
    monkeypatch.setenv("TZ", "CET-1CEST")
    assert machine_zone() == "America/Lima"
    monkeypatch.delenv("TZ")
    assert machine_zone() == "America/Lima"
    place = "/etc/localtime"
    assert machine_zone() == "UTC"
    place = "/usr/share/zoneinfo/No/Where"
    assert machine_zone() == "UTC"
