"""Stamps that name periods of different length, and short numbers beside years."""

from __future__ import annotations

import itertools
import json
import re

import pandas as pd
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecasting.errors import DataError
from tests.pipelines.ingestion.samples import attempt, read

FORMS = {
    "YS": ["%Y"],
    "QS": ["Q"],
    "MS": ["%Y-%m", "%b %Y", "%m/%Y", "%Y-M%m"],
    "W-MON": ["%G-W%V"],
    "D": ["%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%Y%m%d"],
    "h": ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M"],
}
ORDER = list(FORMS)


def written(stamp: pd.Timestamp, form: str) -> str:
    return f"{stamp.year}-Q{stamp.quarter}" if form == "Q" else stamp.strftime(form)


@st.composite
def mixtures(draw: st.DrawFn) -> tuple[list[str], list[pd.Timestamp]]:
    """Stamps of one step, with a total after each period of a longer one."""
    fine = draw(st.sampled_from(ORDER[1:]))
    coarse = draw(st.sampled_from(ORDER[: ORDER.index(fine)]))
    form, total = draw(st.sampled_from(FORMS[fine])), draw(st.sampled_from(FORMS[coarse]))
    count = {"QS": 24, "MS": 40, "W-MON": 120, "D": 100, "h": 100}[fine]
    if (coarse, fine) == ("YS", "D"):
        count = 400
    if fine == "h" and coarse in ("YS", "QS", "MS"):
        count = 1000
    true = list(pd.date_range("2019-10-07", periods=count, freq=fine))
    period = {"YS": "Y", "QS": "Q", "MS": "M", "W-MON": "W", "D": "D"}[coarse]
    texts = []
    for stamp, after in zip(true, [*true[1:], None], strict=True):
        texts.append(written(stamp, form))
        if after is not None and stamp.to_period(period) != after.to_period(period):
            texts.append(written(stamp, total))
    return texts, true


@given(mixtures())
@settings(max_examples=12, deadline=None)
def test_totals_among_the_rows_are_refused_and_the_cure_leaves_them_out(
    mixture: tuple[list[str], list[pd.Timestamp]],
) -> None:
    texts, true = mixture
    assume(len(texts) > len(true))
    result, refusal = attempt(texts)
    if result is not None:
        assert "without a readable stamp removed" in result.report.summary
        assert list(result.frame["ds"]) == true
        return
    cure = re.search(r"set (stamps: \{.*\})$", refusal)
    if cure is not None and "rows of totals" in refusal:
        assert list(read(texts, **yaml.safe_load(cure[1])).frame["ds"]) == true


@pytest.mark.parametrize(
    ("forms", "freq"),
    [
        (("%Y-%m", "%b %Y"), "MS"), (("%Y-%m", "%Y-%m-%d"), "MS"), (("%Y-%m-%d", "%d.%m.%Y"), "D"),
        (("%Y-%m-%d", "%Y-%m-%d %H:%M"), "D"),
    ],
)  # fmt: skip
def test_one_period_written_in_two_ways_is_one(forms: tuple[str, str], freq: str) -> None:
    true = pd.date_range("2019-01-01", periods=48, freq=freq)
    texts = [s.strftime(forms[k >= 24]) for k, s in enumerate(true)]
    assert list(read(texts).frame["ds"]) == list(true)


def test_midnights_may_stand_without_their_time() -> None:
    true = pd.date_range("2024-01-10", periods=100, freq="h")
    texts = [f"{s:%Y-%m-%d %H:%M}" if s.hour else f"{s:%Y-%m-%d}" for s in true]
    assert list(read(texts).frame["ds"]) == list(true)


@given(st.sampled_from(["%Y-%m-%d", "%m/%d/%Y", "%d %b %Y"]), st.booleans(), st.integers(30, 90))
@settings(max_examples=8, deadline=None)
def test_hours_with_and_without_pm_are_refused(date: str, seconds: bool, count: int) -> None:
    true = pd.date_range("2024-01-10", periods=count, freq="h")
    clock = ":00:00" if seconds else ":00"
    texts = [f"{s.strftime(date)} {s.hour % 12 or 12}{clock}" for s in true]
    some = [t + (" PM" if s.hour >= 12 else "") for t, s in zip(texts, true, strict=True)]
    with pytest.raises(DataError, match="neither AM nor PM"):
        read(some)
    whole = [t + (" PM" if s.hour >= 12 else " AM") for t, s in zip(texts, true, strict=True)]
    assert list(read(whole).frame["ds"]) == list(true)


@given(
    st.sampled_from(["{y}/{p}", "{p}/{y}", "{y}-{p}", "{y}.{p}", "{y} {p}", "{p}.{y}"]),
    st.sampled_from([("quarter", 4, "QS"), ("half_year", 2, "2QS")]),
    st.integers(4, 30),
    st.integers(2001, 2020),
)
@settings(max_examples=15, deadline=None)
def test_short_numbers_beside_years_are_asked_about(
    form: str, part: tuple[str, int, str], count: int, year: int
) -> None:
    kind, parts, freq = part
    true = pd.date_range(f"{year}-01-01", periods=count, freq=freq)
    texts = [form.format(y=s.year, p=(s.month - 1) * parts // 12 + 1) for s in true]
    with pytest.raises(DataError) as refused:
        read(texts)
    listed = re.search(r"stamps\.formats: (.*)$", str(refused.value))
    assert listed is not None
    cures = [json.loads(c)[0] for c in listed[1].split(" or ")]
    assert kind in cures
    assert list(read(texts, stamps={"formats": [kind]}).frame["ds"]) == list(true)
    assert list(read(texts, freq=freq).frame["ds"]) == list(true)


def test_months_of_whole_years_and_named_halves_are_read() -> None:
    months = pd.date_range("2019-01-01", periods=30, freq="MS")
    assert list(read([f"{m.year}/{m.month}" for m in months]).frame["ds"]) == list(months)
    halves = pd.date_range("2010-01-01", periods=20, freq="2QS")
    for form in ("{y}H{h}", "H{h} {y}", "{y}-S{h}"):
        texts = [form.format(y=s.year, h=1 + s.month // 7) for s in halves]
        assert list(read(texts).frame["ds"]) == list(halves)


@pytest.mark.parametrize("mark", ["*", " *", "**", " (p)", "(prov.)", " [r]", " p", "\u2020"])
@pytest.mark.parametrize("form", ["%Y-%m", "%b-%y", "%d.%m.%Y"])
def test_marks_of_values_that_are_not_final_are_left_out(mark: str, form: str) -> None:
    true = pd.date_range("2019-01-01", periods=48, freq="MS")
    texts = [s.strftime(form) + (mark if k >= 46 else "") for k, s in enumerate(true)]
    result = read(texts)
    assert list(result.frame["ds"]) == list(true)
    assert "not final" in " ".join(result.report.notes)


@pytest.mark.parametrize("write", [int, str])
@pytest.mark.parametrize(("form", "total"), [("%Y%m", "%Y"), ("%Y%m%d", "%Y%m"), ("%Y%m%d", "%Y")])
def test_totals_among_numbers_are_refused_and_left_out_by_the_cure(
    write: type, form: str, total: str
) -> None:
    step, period = ("MS", "Y") if form == "%Y%m" else ("D", total.replace("%", "")[-1].upper())
    true = pd.date_range("2019-11-01", periods=120, freq=step)
    ends = [a.to_period(period) != b.to_period(period) for a, b in itertools.pairwise(true)]
    texts = [
        t for s, end in zip(true, [*ends, False], strict=True)
        for t in (s.strftime(form), *([s.strftime(total)] * end))
    ]  # fmt: skip
    with pytest.raises(DataError, match="rows of totals") as refused:
        read([write(t) for t in texts])
    cure = re.search(r"set (stamps: \{.*\})$", str(refused.value))
    assert cure is not None
    found = read([write(t) for t in texts], **yaml.safe_load(cure[1])).frame["ds"]
    assert list(found) == list(true)
