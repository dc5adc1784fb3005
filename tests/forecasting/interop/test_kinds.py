"""Tables of pandas, polars and Arrow: what goes in comes out, with the same numbers."""

from __future__ import annotations

import warnings
from datetime import date, datetime
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
from forecasting.interop.kinds import as_pandas, like
from tests.forecasting.samples import seasonal_frame

HISTORY = seasonal_frame(2, rows=20)


def _panel(table: Any, **options: Any) -> Panel:
    return Panel.from_frame(table, **options)


def _same(one: Panel, other: Panel) -> None:
    for name in ("ids", "offsets", "start"):
        assert (getattr(one, name) == getattr(other, name)).all(), name
    for name in ("y", "past", "future", "static"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.freq, one.tz, one.schema) == (other.freq, other.tz, other.schema)


@pytest.mark.parametrize("kind", [pl.from_pandas, pa.Table.from_pandas])
def test_a_table_of_any_kind_is_the_same_panel(kind: Any) -> None:
    rng = np.random.default_rng(0)
    frame = HISTORY.assign(
        temp=np.where(rng.random(40) < 0.2, np.nan, rng.normal(size=40)),
        promo=rng.integers(0, 2, 40),
        kind=rng.choice(["a", "b"], 40),
    )
    frame.loc[3, "y"] = np.nan
    static = pd.DataFrame({"unique_id": ["s0", "s1"], "region": ["n", "s"]})
    roles = {"past": ["temp"], "future": ["promo", "kind"]}
    _same(_panel(kind(frame), static=kind(static), **roles), _panel(frame, static=static, **roles))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", None])
@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_stamps_of_every_unit_and_zone_come_back_as_they_went_in(
    zone: str | None, unit: str
) -> None:
    stamps = pd.date_range("2024-03-30", periods=30, freq="h", tz=zone)
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(30.0)})
    table = pl.from_pandas(frame).with_columns(pl.col("ds").cast(pl.Datetime(unit, zone)))  # type: ignore[arg-type]
    _same(_panel(table), _panel(frame))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = like(as_pandas(table), table)
    assert back.schema == table.schema
    assert back.equals(table)
    arrow = table.to_arrow()
    assert like(as_pandas(arrow), arrow).schema.field("ds").type == arrow.schema.field("ds").type


def test_dates_are_stamps_of_days_and_come_back_as_dates() -> None:
    days = [date(2024, 1, d) for d in range(1, 21)]
    table = pl.DataFrame({"unique_id": ["a"] * 20, "ds": days, "y": [float(d) for d in range(20)]})
    assert _panel(table).freq.alias == "D"
    assert like(as_pandas(table), table).schema["ds"] == pl.Date


def test_a_forecast_between_days_is_no_date() -> None:
    given = pl.DataFrame({"unique_id": ["a"], "ds": [date(2024, 1, 1)]})
    hours = pd.DataFrame({"unique_id": ["a"], "ds": pd.to_datetime(["2024-01-01 06:00"])})
    assert like(hours, given)["ds"].to_list() == [datetime(2024, 1, 1, 6)]


def test_stamps_beyond_nanoseconds_are_kept_rather_than_wrong() -> None:
    given = pl.DataFrame({"unique_id": ["a"], "ds": [datetime(2024, 1, 1)]})
    given = given.with_columns(pl.col("ds").cast(pl.Datetime("ns")))
    late = pd.DataFrame({"unique_id": ["a"], "ds": np.array(["2500-01-01"], "datetime64[us]")})
    assert like(late, given)["ds"].to_list() == [datetime(2500, 1, 1)]


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series(["a", "b"]),
        pl.Series([1, 2], dtype=pl.Int16),
        pl.Series([1, 2], dtype=pl.UInt64),
        pl.Series(["a", "b"], dtype=pl.Categorical),
        pl.Series(["a", "b"], dtype=pl.Enum(["b", "a", "c"])),
    ],
    ids=lambda s: str(s.dtype),
)
def test_ids_keep_their_type_in_polars_and_arrow(ids: pl.Series) -> None:
    frame = HISTORY.assign(unique_id=np.where(HISTORY["unique_id"] == "s0", 0, 1))
    table = pl.from_pandas(frame).with_columns(ids.gather(frame["unique_id"].to_list())
                                               .alias("unique_id"))  # fmt: skip
    back = like(as_pandas(table), table)
    assert back.schema["unique_id"] == table.schema["unique_id"]
    assert back["unique_id"].to_list() == table["unique_id"].to_list()
    arrow = pa.table({"unique_id": ids.to_arrow(), "ds": [1, 2]})
    again = like(as_pandas(arrow), arrow)
    assert again.column("unique_id").to_pylist() == ids.to_list()


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=4),
            st.one_of(st.none(), st.floats(allow_nan=False, width=32)),
            st.integers(-(2**40), 2**40),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_there_and_back_loses_nothing(rows: list[tuple[str, float | None, int]]) -> None:
    table = pl.DataFrame(
        rows, schema={"unique_id": pl.String, "y": pl.Float64, "ds": pl.Int64}, orient="row"
    )
    back = like(as_pandas(table), table)
    assert back.schema == table.schema
    assert back["unique_id"].to_list() == table["unique_id"].to_list()
    assert back["ds"].to_list() == table["ds"].to_list()
    assert [None if v is None or v != v else v for v in back["y"]] == table["y"].to_list()


def test_decimals_and_an_index_of_pandas_are_read() -> None:
    frame = HISTORY.set_index("unique_id")
    table = pa.Table.from_pandas(frame)
    y = table.column("y").cast(pa.decimal128(18, 6), safe=False)
    table = table.set_column(table.schema.get_field_index("y"), "y", y)
    np.testing.assert_allclose(_panel(table).y, _panel(HISTORY).y, atol=1e-6)


def test_pandas_comes_back_untouched() -> None:
    assert as_pandas(HISTORY) is HISTORY
    assert like(HISTORY, HISTORY) is HISTORY


def test_what_cannot_be_read_or_is_not_there_yet_is_refused() -> None:
    table = pl.DataFrame({"unique_id": ["a"], "ds": [1], "y": [1.0]})
    with pytest.raises(DataError, match=r"LazyFrame: make one with \.collect\(\)"):
        _panel(table.lazy())
    objects = table.with_columns(pl.Series("thing", [object()], dtype=pl.Object))
    with pytest.raises(DataError, match="column thing of the polars table"):
        _panel(objects)
    with pytest.raises(DataError, match="missing column y"):
        _panel(table.drop("y"))
