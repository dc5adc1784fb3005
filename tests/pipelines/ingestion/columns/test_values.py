"""Codes for missing that are large numbers are a finding of their own; facts are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingestion import DataConfig, IngestResult, ingest


def read(y: list[float], **config: Any) -> IngestResult:
    ds = pd.date_range("2024-01-01", periods=len(y), freq="D")
    return ingest(
        DataConfig.parse(config), source=pd.DataFrame({"unique_id": "a", "ds": ds, "y": y})
    )


def findings(result: IngestResult) -> dict[str, dict[str, Any]]:
    return {f["code"]: f for f in result.report.to_dict()["findings"]}


@given(
    code=st.sampled_from([9999.0, 99999.0, 999999.0, 999.0, 9999.9, 2147483647.0, 65535.0, 1e20]),
    places=st.sets(st.integers(0, 119), min_size=3, max_size=60),
    level=st.floats(1, 80),
)
@settings(max_examples=30, deadline=None)
def test_a_code_that_returns_far_above_all_else_is_named_with_its_cure(
    code: float, places: set[int], level: float
) -> None:
    y = list(np.round(level * (2 + np.sin(np.arange(120) / 5)), 2))
    for place in places:
        y[place] = code
    found = findings(read(y))
    assert found["sentinel_high"]["count"] == len(places)
    assert "values.missing" in found["sentinel_high"]["detail"]
    assert f"{code:.10g}" in found["sentinel_high"]["detail"]
    cured = read(y, values={"missing": [f"{code:.10g}"]})
    assert int(cured.frame["y"].isna().sum()) + (120 - len(cured.frame)) == len(places)
    assert "sentinel_high" not in findings(cured)
    made = read(y, flags={"sentinels": "missing"})
    assert not (made.frame["y"] == code).any()


@pytest.mark.parametrize("levels", [(9999.0, 9000.0), (999.0, 700.0), (99999.0, 60_000.0)])
def test_a_price_of_nines_among_its_like_is_a_fact(levels: tuple[float, float]) -> None:
    y = [levels[i % 2] for i in range(60)]
    assert "sentinel_high" not in findings(read(y))


def test_a_large_value_that_comes_once_is_no_code() -> None:
    y = [10.0 + i % 5 for i in range(60)]
    y[30] = 9999.0
    assert "sentinel_high" not in findings(read(y))


def coded(code: float) -> list[float]:
    return [code if k % 9 == 4 else 50.0 + k % 7 for k in range(60)]


@pytest.mark.parametrize("code", [-1.0, -99.0, -7777.0, -9999.25])
def test_one_negative_value_again_and_again_is_said(code: float) -> None:
    found = findings(read(coded(code)))
    finding = found.get("sentinel") or found["sentinel_kept"]
    assert finding["count"] == coded(code).count(code)
    assert f"{code:g}" in finding["detail"] or "sentinel" in found
    mended = read(coded(code), values={"missing": [code]}).frame["y"]
    assert mended.isna().sum() == coded(code).count(code)


def test_negative_values_of_several_sizes_are_no_codes() -> None:
    for y in (np.linspace(-5, 5, 60), np.where(np.arange(60) % 2, -1.0, 1.0)):
        assert "sentinel_kept" not in findings(read(y.tolist()))
