"""Who waits is told how far the work is, how fast it goes, and how long it will take."""

from __future__ import annotations

import re
import sys
import time
from itertools import count

import pytest

from pipelines.terminal import outcome, waiting


@pytest.fixture(autouse=True)
def _nothing_asked() -> None:
    outcome.forget()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (200, "3:20 min"), (3900, "1:05 h")],
)
def test_a_span_is_written_as_people_read_it(seconds: float, shown: str) -> None:
    assert waiting.span(seconds) == shown


def test_a_pace_has_a_rate_and_the_time_left() -> None:
    assert waiting.pace(0.05, 0.5) == "5.0 %/s, 10 s left"
    assert waiting.pace(0.0005, 0.5) == "3.0 %/min, 16:40 min left"


def test_a_log_gets_a_line_at_every_quarter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = count()
    monkeypatch.setattr(waiting.time, "monotonic", lambda: float(next(clock)))
    with waiting.progress_bar() as show:
        for share in range(11):
            show("training", share / 10)
        show("training", 0.3)  # begun anew
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"training: (\d+) %", line)[1] for line in lines] == [  # type: ignore[index]
        "25", "50", "75", "100", "25",
    ]  # fmt: skip
    assert all("left" in line for line in (*lines[:3], lines[4]))
    assert "left" not in lines[3]


def test_quiet_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with outcome.answering("x", quiet=True, as_json=False):
        with waiting.progress_bar() as show:
            show("training", 0.5)
        with waiting.waiting("reading"):
            pass
    outcome.forget()
    assert capsys.readouterr() == ("", "")


def test_on_a_screen_what_takes_long_is_shown_and_wiped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with waiting.waiting("reading sales.csv"):
        time.sleep(0.1)
    err = capsys.readouterr().err
    assert "reading sales.csv, 0 s" in err
    assert err.endswith("\r\x1b[K")


def test_who_waits_sees_how_much_is_done_and_how_fast(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "BETWEEN_LINES", 0.05)
    with waiting.waiting("forecasting"):
        parts = []
        for part in waiting.counted(iter("abcd"), 4):
            parts.append(part)
            time.sleep(0.06)
    assert parts == ["a", "b", "c", "d"]
    lines = capsys.readouterr().err.splitlines()
    assert any(
        re.match(r"  forecasting, 0 s, (25|50|75) %, [\d.]+ %/s, \d+ s left$", x) for x in lines
    )


def test_where_nobody_waits_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    waiting.advance(0.5)
    assert list(waiting.counted([1, 2], 2)) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_what_is_quick_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    with waiting.waiting("reading"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_pace_is_told_only_of_work_that_took_some_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(waiting.time, "monotonic", lambda: now)
    quarters = waiting.Quarters()
    # Work of another process is heard at its end.
    quarters("far away", 0.75)
    quarters("here", 0.0)
    now = 2.0
    quarters("here", 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.strip() for line in lines] == [
        "far away: 75 %, 0 s",
        "here: 50 %, 2 s, 25.0 %/s, 2 s left",
    ]
