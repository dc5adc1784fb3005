"""Series that may be one under two names are said; two that live side by side are two."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingestion import DataConfig, ingest

SPELLINGS = (
    lambda k: f"SKU-{k}", lambda k: f"sku{k}", lambda k: f"SKU 00{k}", lambda k: f"SKU_{k}",
    lambda k: f"Sku.{k}.0",
)  # fmt: skip


def notes(first: str, second: str, apart: int) -> list[str]:
    """What is told of two series, the second of which begins so many days after the first."""
    days = pd.date_range("2024-01-01", periods=20 + apart)
    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": range(len(stamps))})
        for name, stamps in ((first, days[:20]), (second, days[apart:]))
    )
    told = ingest(DataConfig(), source=frame).report.notes
    return [note for note in told if "almost alike" in note or "shortens" in note]


@given(
    st.sampled_from(SPELLINGS), st.sampled_from(SPELLINGS), st.integers(1, 500), st.integers(0, 40)
)
@settings(max_examples=40, deadline=None)
def test_a_series_that_goes_on_under_another_spelling_is_named(
    one: object, two: object, number: int, apart: int
) -> None:
    first, second = one(number), two(number)  # type: ignore[operator]
    if first.casefold() == second.casefold():
        return
    told = notes(first, second, apart)
    assert bool(told) == (apart >= 20)
    if told:
        assert repr(first) in told[0]
        assert repr(second) in told[0]


@given(st.lists(st.sampled_from("ab/1-0 "), min_size=1, max_size=6).map("".join))
@settings(max_examples=30, deadline=None)
def test_other_numbers_are_other_series(tail: str) -> None:
    name = f"x{tail}"
    assert not notes(f"{name}|3", f"{name}|4", 20)
    assert not notes("1/11", "11/1", 20)
    assert not notes("10", "100", 20)


@pytest.mark.parametrize("name", ["1.23E+12", "8,71E+12", "5E+10"])
def test_shortened_numbers_are_named(name: str) -> None:
    assert "export the ids as text" in notes(name, "other", 0)[0]
