"""Types of columns: what is no number, no name and no stamp is refused, and the rest is right."""

from __future__ import annotations

import datetime
import decimal
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError

N = 12
DAYS = pd.date_range("2024-01-01", periods=N)
BASE: dict[str, Any] = {
    "unique_id": ["a"] * N, "ds": [d.to_pydatetime() for d in DAYS],
    "y": [k + 0.5 for k in range(N)],
}  # fmt: skip
KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": lambda c: pl.DataFrame(c, strict=False),
    "arrow": pa.table,
}
TIME, LIST, RECORD = datetime.time(1), [1.0], {"a": 1}


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [TIME, LIST, RECORD], ids=["time", "list", "record"])
@pytest.mark.parametrize("role", ["past", "future", "static"])
def test_what_names_no_category_is_refused(kind: str, value: Any, role: str) -> None:
    make = KINDS[kind]
    table, given = make({**BASE, "z": [value] * N}), {role: ["z"]}
    if role == "static":
        table, given = make(BASE), {"static": make({"unique_id": ["a"], "z": [value]})}
    with pytest.raises(DataError, match=r"column z holds (time values|lists or records)"):
        Panel.from_frame(table, **given)


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("value", [LIST, RECORD], ids=["list", "record"])
def test_what_names_no_series_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(DataError, match="column unique_id holds lists or records"):
        Panel.from_frame(KINDS[kind]({**BASE, "unique_id": [value] * N}))


def test_numbers_of_128_bits_are_refused_in_one_line() -> None:
    wide = pl.DataFrame({**BASE, "y": pl.Series(range(N), dtype=pl.Int128)})
    with pytest.raises(DataError, match="column y cannot be read through Arrow: cast it to Int64"):
        Panel.from_frame(wide)


@pytest.mark.parametrize(("unit", "years"), [("s", 300_000), ("ms", 300_000)])
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_stamps_beyond_all_years_do_not_wrap_around(
    unit: str, years: int, zone: str | None
) -> None:
    step = {"s": 86_400, "ms": 86_400_000}[unit]
    far = pa.array([int(years * 365.25 + k) * step for k in range(N)], pa.int64())
    table = pa.table({**BASE, "ds": far.cast(pa.timestamp(unit, zone))})
    with pytest.raises(DataError, match="beyond the years that stamps can have"):
        Panel.from_frame(table)


@given(st.integers(1, 999), st.sampled_from([None, "Europe/Berlin"]))
@settings(max_examples=10, deadline=None)
def test_stamps_finer_than_microseconds_are_not_cut(rest: int, zone: str | None) -> None:
    fine = (DAYS.as_unit("ns") + pd.Timedelta(rest, "ns")).tz_localize(zone)
    with pytest.raises(DataError, match=r"finer than microseconds.*dt\.round"):
        Panel.from_frame(pd.DataFrame({**BASE, "ds": fine}))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_covariate_without_any_value_is_said(kind: str) -> None:
    table = KINDS[kind]({**BASE, "z": [None] * N})
    with pytest.warns(UserWarning, match="without a value in any row: z.*nothing is learned"):
        Panel.from_frame(table, past=["z"])


@given(st.lists(st.decimals(-9, 9, places=1), min_size=N, max_size=N, unique=True))
@settings(max_examples=10, deadline=None)
def test_numbers_as_text_are_said_and_decimals_are_numbers(values: list[decimal.Decimal]) -> None:
    with pytest.warns(UserWarning, match=r"column z holds numbers as text.*pd\.to_numeric"):
        Panel.from_frame(pd.DataFrame({**BASE, "z": [str(v) for v in values]}), past=["z"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        codes = Panel.from_frame(pd.DataFrame({**BASE, "z": ["1", "2"] * (N // 2)}), past=["z"])
        real = Panel.from_frame(pa.table({**BASE, "z": values}), past=["z"])
    assert codes.schema.past[0].categories == ("1", "2")
    assert np.allclose(real.past[:, 0], [float(v) for v in values], rtol=1e-15)
