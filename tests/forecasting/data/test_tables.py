"""Tables that are no tables, or do not speak of the same series, are told so."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.data.encoding import encode
from forecasting.data.panel import Panel
from forecasting.data.tables.warned import say_codes
from forecasting.errors import DataError
from forecasting.schema import moments

QUICK = {"training": {"max_steps": 2, "start": "none"}, "model": {"hidden_size": 4, "layers": 1}}
DAYS = pd.date_range("2024-01-01", periods=40)


def history(ids: list[Any], dtype: Any = None) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": i, "ds": DAYS, "y": np.arange(40.0) + k, "promo": 0.0})
        for k, i in enumerate(ids)
    ]
    table = pd.concat(parts, ignore_index=True)
    return table if dtype is None else table.astype({"unique_id": dtype})


def ahead(ids: list[Any], first: str = "2024-02-10") -> pd.DataFrame:
    days = pd.date_range(first, periods=3)
    parts = [pd.DataFrame({"unique_id": i, "ds": days, "promo": [1.0, 0.0, 1.0]}) for i in ids]
    return pd.concat(parts, ignore_index=True)


def static(ids: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"unique_id": ids, "size": np.arange(len(ids)) + 1.0})


@pytest.fixture(scope="module")
def model() -> Forecaster:
    return Forecaster.fit(
        history([1, 2]),
        horizon=3,
        future=["promo"],
        static=static([1, 2]),
        config=QUICK,
        device="cpu",
    )


# -- static values beside y ---


@pytest.mark.parametrize("form", ["every row", "first row", "with a plan"])
@pytest.mark.parametrize("kind", ["number", "text", "category"])
def test_static_columns_of_the_long_table_are_a_static_table(form: str, kind: str) -> None:
    ids = ["b", "a", "c"]
    values: Any = {"number": [3.0, 7.0, 9.0], "text": ["x", "y", "x"]}.get(kind, ["x", "y", "z"])
    table = pd.DataFrame({"unique_id": ids, "size": values})
    if kind == "category":
        table["size"] = table["size"].astype("category")
    schema = Panel.from_frame(history(ids), static=table, future=["promo"]).schema
    long = history(ids).merge(table, on="unique_id").sample(frac=1.0, random_state=0)
    plan = ahead(ids) if form == "with a plan" else None
    if form == "first row":
        long["size"] = long["size"].where(long["ds"] == DAYS[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = Panel.from_frame(long, schema=schema, future_frame=plan)
    apart = Panel.from_frame(history(ids), static=table, schema=schema, future_frame=plan)
    order = [list(found.ids).index(i) for i in apart.ids]
    np.testing.assert_array_equal(found.static[order], apart.static)


def test_a_static_column_with_two_values_is_refused_and_one_that_lacks_is_said(
    model: Forecaster,
) -> None:
    long = history(["1", "2"]).assign(size=1.0, area=2.0)
    long.loc[60, "size"] = 4.0
    with pytest.raises(DataError, match=r"column size is static .* series '2' has 1\.0 and 4\.0"):
        Panel.from_frame(long, schema=model.schema)
    both = Panel.from_frame(
        history([1, 2]), static=static([1, 2]).assign(area=[5.0, 6.0]), future=["promo"]
    ).schema
    with pytest.warns(UserWarning, match="the table has no size: missing"):
        found = Panel.from_frame(long.drop(columns="size"), schema=both)
    np.testing.assert_array_equal(found.static, [[np.nan, 2.0], [np.nan, 2.0]])


# -- columns that are not used ---


def test_columns_left_aside_are_said_with_how_to_use_them() -> None:
    long = history(["a"]).assign(price=2.0, size=1.0)
    options: dict[str, Any] = {"horizon": 3, "config": QUICK, "device": "cpu"}
    with pytest.warns(UserWarning, match=r"columns left aside: promo, price; .*past=\['promo'\]"):
        Forecaster.fit(long, static=static(["a"]), **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "columns left aside")
        Forecaster.fit(long, past=["price"], future=["promo"], static=static(["a"]), **options)


# -- ids of several tables ---------------------------------------------------------------------

FORMS = {"whole": int, "float": float, "text": str}


@settings(max_examples=40, deadline=None)
@given(
    numbers=st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=5, unique=True),
    here=st.sampled_from(sorted(FORMS)),
    there=st.sampled_from(sorted(FORMS)),
)
def test_a_number_names_the_same_series_in_every_form(
    numbers: list[int], here: str, there: str
) -> None:
    table = static([FORMS[there](n) for n in reversed(numbers)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel = Panel.from_frame(history([FORMS[here](n) for n in numbers]), static=table)
    assert list(panel.ids) == [str(n) for n in numbers]
    assert panel.static[:, 0].tolist() == list(range(len(numbers), 0, -1))


@pytest.mark.parametrize("other", [["001", "002"], ["x", "y"], [11, 12], ["1.0", "2.0"]])
def test_a_static_table_of_other_series_is_refused_with_one_id_of_each(other: list[Any]) -> None:
    with pytest.raises(DataError, match=f"none of the series.*'1'.*static table '{other[0]}'"):
        Panel.from_frame(history([1, 2]), static=static(other))


def test_series_without_a_static_row_are_said_and_missing() -> None:
    with pytest.warns(UserWarning, match=r"no row for 1 of 2 series, the first is '2'"):
        panel = Panel.from_frame(history([1, 2]), static=static([1, 9]))
    assert panel.static[0, 0] == 1.0
    assert np.isnan(panel.static[1, 0])


def test_a_static_table_left_out_is_said(model: Forecaster) -> None:
    with pytest.warns(UserWarning, match="no static table is given: size"):
        model.predict(history([1, 2]), future=ahead([1, 2]))


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        ([1, 2], "int64"),
        ([1, 2], "int32"),
        ([1, 2], "float64"),
        (["1", "2"], None),
        (["1", "2"], "category"),
        ([1, 2], "Int64"),
    ],
)
def test_a_forecast_has_the_ids_of_the_history(
    model: Forecaster, ids: list[Any], dtype: Any
) -> None:
    table = history(ids, dtype)
    out = model.predict(table, future=ahead([2, 1]), static=static([2, 1]))
    assert out["unique_id"].tolist() == [i for i in table["unique_id"].unique() for _ in range(3)]
    assert out["unique_id"].dtype == table["unique_id"].dtype
    assert len(out.merge(table[["unique_id"]].drop_duplicates(), on="unique_id")) == 6


def test_ids_of_several_types_come_back_as_they_were(model: Forecaster) -> None:
    table = history(["x", 7])
    out = model.predict(table, future=ahead(["x", 7]), static=static(["x", "7"]))
    assert out["unique_id"].tolist() == ["x"] * 3 + [7] * 3


# -- the future table --------------------------------------------------------------------------


def test_a_future_table_with_a_series_more_is_told_so(model: Forecaster) -> None:
    with pytest.raises(DataError, match=r"1 series that the history does not have.*'9'"):
        model.predict(history([1, 2]), future=ahead([1, 2, 9]), static=static([1, 2]))


def test_a_future_table_of_other_series_shows_one_id_of_each(model: Forecaster) -> None:
    with pytest.raises(DataError, match=r"none of the series.*'1'.*future table '001'"):
        model.predict(history([1, 2]), future=ahead(["001", "002"]), static=static([1, 2]))


@pytest.mark.parametrize("first", ["2024-02-09", "2024-02-07", "2023-01-01"])
def test_future_rows_inside_the_history_are_told_so(model: Forecaster, first: str) -> None:
    with pytest.raises(DataError, match=rf"inside the history.*series '1' for ds = {first}"):
        model.predict(history([1, 2]), future=ahead([1, 2], first), static=static([1, 2]))


def test_future_rows_are_taken_in_every_form_of_their_ids(model: Forecaster) -> None:
    right = model.predict(history([1, 2]), future=ahead([1, 2]), static=static([1, 2]))
    for ids in ([1.0, 2.0], ["1", "2"], [2, 1]):
        same = model.predict(history([1, 2]), future=ahead(ids), static=static([1, 2]))
        pd.testing.assert_frame_equal(same, right)


def test_a_zone_on_one_side_only_is_told_so(model: Forecaster) -> None:
    future = ahead([1, 2])
    future["ds"] = future["ds"].dt.tz_localize("UTC")
    with pytest.raises(DataError, match="no time zone in the history, but UTC in the future table"):
        model.predict(history([1, 2]), future=future, static=static([1, 2]))


def test_an_instant_of_the_future_is_the_same_in_any_zone() -> None:
    stamps = pd.date_range("2024-01-01", periods=48, freq="h", tz="Europe/Berlin")
    table = pd.DataFrame({"unique_id": "a", "ds": stamps[:45], "y": 1.0, "promo": 0.0})
    future = pd.DataFrame({"unique_id": "a", "ds": stamps[45:], "promo": [1.0, 2.0, 3.0]})
    panels = [
        Panel.from_frame(
            table, future=["promo"], future_frame=future.assign(ds=future["ds"].dt.tz_convert(zone))
        )
        for zone in ("Europe/Berlin", "UTC", "Asia/Tokyo")
    ]
    for panel in panels:
        assert panel.tz == "Europe/Berlin"
        assert panel.horizon is not None
        assert panel.horizon[0, :, 0].tolist() == [1.0, 2.0, 3.0]


# -- what is no table, no list, no number --------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "cure"),
    [
        (
            pa.table({"unique_id": ["a"]}).to_batches()[0],
            r"not a RecordBatch: make one with pa\.Table\.from_batches",
        ),
        ({"unique_id": ["a"]}, r"not a dict: make one with pd\.DataFrame"),
        ([1, 2], r"not a list: make one with pd\.DataFrame"),
        (np.zeros(3), r"not a ndarray: make one with pd\.DataFrame"),
        ("sales.csv", r"not a str: read it first, with pd\.read_csv"),
        (Path("sales.csv"), r"not a PosixPath: read it first, with pd\.read_csv"),
        (None, "not a NoneType"),
        (pd.Series([1.0]), "not a Series"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(table: Any, cure: str) -> None:
    with pytest.raises(DataError, match=cure) as error:
        Forecaster.fit(table, horizon=3)
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=cure):
        Panel.from_frame(table)


def test_columns_in_the_index_are_pointed_at() -> None:
    with pytest.raises(DataError, match=r"unique_id, ds in the index: call \.reset_index"):
        Panel.from_frame(history([1]).set_index(["unique_id", "ds"]))


@pytest.mark.parametrize("name", ["past", "future", "categorical"])
def test_a_text_where_a_list_is_meant_is_refused(name: str) -> None:
    with pytest.raises(DataError, match=rf'{name} = "promo" must be a list.*{name}=\["promo"\]'):
        Forecaster.fit(history([1]), horizon=3, **{name: "promo"})


def test_a_category_that_is_no_covariate_is_refused() -> None:
    with pytest.raises(DataError, match="'pormo', which is no covariate; there are: promo"):
        Panel.from_frame(history([1]), past=["promo"], categorical=["pormo"])


def test_a_covariate_has_one_role() -> None:
    with pytest.raises(DataError, match="'promo' is named twice"):
        Panel.from_frame(history([1]), past=["promo"], future=["promo"])
    for name in ("unique_id", "ds", "y"):
        with pytest.raises(DataError, match=f"{name} is no covariate"):
            Panel.from_frame(history([1]), past=[name])


@pytest.mark.parametrize("horizon", [2.7, "3", None, True, [3], np.float64(1.5), float("nan")])
def test_a_horizon_that_is_no_whole_number_is_refused(model: Forecaster, horizon: Any) -> None:
    with pytest.raises(DataError, match="must be a whole number of steps"):
        Forecaster.fit(history([1]), horizon=horizon)
    if horizon is not None:
        with pytest.raises(DataError, match="must be a whole number of steps"):
            model.predict(
                history([1, 2]), future=ahead([1, 2]), static=static([1, 2]), horizon=horizon
            )


@pytest.mark.parametrize("quantiles", [0.9, "0.9"])
def test_levels_that_are_no_list_are_refused(model: Forecaster, quantiles: Any) -> None:
    with pytest.raises(DataError, match="must be a list of levels"):
        model.predict(
            history([1, 2]), future=ahead([1, 2]), static=static([1, 2]), quantiles=quantiles
        )


@pytest.mark.parametrize("column", ["y", "promo"])
@pytest.mark.parametrize(
    "values",
    [
        DAYS,
        DAYS.tz_localize("UTC"),
        DAYS - DAYS[0],
        DAYS.to_period("D"),
        np.arange(40) * 1j,
        list(DAYS),
    ],
    ids=["stamps", "zoned", "spans", "periods", "complex", "objects"],
)
def test_dates_are_no_numbers(column: str, values: Any) -> None:
    table = history([1])
    table[column] = values
    with pytest.raises(DataError, match=f"column {column}"):
        Panel.from_frame(table, past=["promo"])


# -- a freq that names its weekday or month ------------------------------------------------------


@pytest.mark.parametrize(
    ("stamps", "freq"),
    [("QS-MAR", "QS-JAN"), ("W-MON", "W-SUN"), ("QE-DEC", "QE-JAN"), ("YS-JAN", "YS-APR")],
)
def test_stamps_off_the_anchor_that_is_named_are_refused(stamps: str, freq: str) -> None:
    ds = pd.date_range("2019-01-01", periods=12, freq=stamps)
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    with pytest.raises(DataError, match=f"does not lie on the grid of freq = {freq}"):
        Panel.from_frame(table, freq=freq)
    assert Panel.from_frame(table, freq=stamps).rows == 12


@pytest.mark.parametrize(("stamps", "freq"), [("QS-APR", "QS-JAN"), ("QE-DEC", "QE-MAR")])
def test_an_anchor_in_another_quarter_is_the_same_grid(stamps: str, freq: str) -> None:
    ds = pd.date_range("2019-01-01", periods=12, freq=stamps)
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    assert Panel.from_frame(table, freq=freq).rows == 12


def fitted(table: pd.DataFrame, **more: Any) -> tuple[Forecaster, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        forecaster = Forecaster.fit(table, horizon=2, config=QUICK, device="cpu", **more)
    return forecaster, [str(w.message) for w in caught]


@pytest.mark.parametrize("other", ["a ", " a", "A", "a\u00a0"])
def test_names_that_differ_in_blanks_or_capitals_are_said(other: str) -> None:
    table = history(["a", "b"])[["unique_id", "ds", "y"]]
    late = (table["unique_id"] == "a") & (table["ds"] >= DAYS[20])
    _, said = fitted(table.assign(unique_id=table["unique_id"].mask(late, other)))
    assert any("differ in blanks or capitals" in s and repr(other) in s for s in said)
    assert not any("capitals" in s for s in fitted(table)[1])


def test_series_of_a_longer_step_in_one_panel_are_said() -> None:
    months = pd.date_range("2015-01-01", periods=40, freq="MS")
    parts = [
        pd.DataFrame({"unique_id": name, "ds": months[::step], "y": np.arange(40.0)[::step]})
        for name, step in (("a", 1), ("b", 1), ("q", 3))
    ]
    _, said = fitted(pd.concat(parts))
    assert any("1 of 3 series, such as 'q', have values 3 steps of MS apart" in s for s in said)
    assert not any("apart" in s for s in fitted(pd.concat(parts[:2]))[1])


def test_a_target_of_true_and_false_is_said() -> None:
    table = history(["a", "b"])[["unique_id", "ds", "y"]]
    for kind in ("bool", "boolean"):
        _, said = fitted(table.assign(y=(table["y"] % 3 > 0).astype(kind)))
        assert any("read as 1 and 0" in s for s in said)
    assert not any("read as 1 and 0" in s for s in fitted(table)[1])


def test_covariates_without_any_value_are_said_when_forecasting() -> None:
    table = history(["a", "b"]).assign(price=lambda t: t["y"] % 5)
    static = pd.DataFrame({"unique_id": ["a", "b"], "size": [1.0, 2.0]})
    forecaster, _ = fitted(table, past=["price", "promo"], static=static)
    with pytest.warns(UserWarning, match="without a value in any row: price, size"):
        forecaster.predict(table.assign(price=np.nan), static=static.assign(size=np.nan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecaster.predict(table, static=static)


@pytest.mark.parametrize("value", ["1_5", "1_000", 10**400, "1,5", "0x10", [1.0]])
def test_what_is_no_number_is_refused_with_its_place(value: Any) -> None:
    table = history(["a"])[["unique_id", "ds", "y"]].astype({"y": object})
    table.at[3, "y"] = value
    with pytest.raises(DataError, match=r"is not a number \(series 'a', ds = 2024-01-04"):
        Panel.from_frame(table)


@given(st.permutations([True, 1, "a", False, 0]), st.sampled_from([bool, np.bool_]))
@settings(max_examples=10, deadline=None)
def test_true_is_another_name_than_one_in_ids_and_categories(ids: list[Any], kind: type) -> None:
    ids = [kind(i) if isinstance(i, bool) else i for i in ids]
    table = pd.DataFrame(
        {
            "unique_id": pd.Series(np.repeat(np.array(ids, dtype=object), 40), dtype=object),
            "ds": list(DAYS) * len(ids),
            "y": np.arange(40.0 * len(ids)),
        }
    )
    names = [str(i) for i in ids]
    assert list(Panel.from_frame(table).ids) == names
    kinds = table.assign(unique_id="s", ds=pd.date_range("2024-01-01", periods=len(table)))
    kinds["kind"] = table["unique_id"]
    panel = Panel.from_frame(kinds, future=["kind"], categorical=["kind"])
    known = panel.schema.future[0].categories
    assert sorted(known) == sorted(names)
    assert [known[int(c) - 1] for c in panel.future[::40, 0]] == names
    assert list(encode(list(table["unique_id"]), panel.schema.future[0])) == list(
        panel.future[:, 0]
    )


@given(
    st.sampled_from([-99.0, -999.0, -9999.0, 9999.0, 99999.0]),
    st.lists(st.integers(0, 78), min_size=2, max_size=8, unique=True),
)
@settings(max_examples=20, deadline=None)
def test_codes_for_missing_are_said_and_values_are_not(code: float, places: list[int]) -> None:
    y = 50.0 + np.arange(80.0) % 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        say_codes(y, np.array([0, len(y)]))
        for values in (
            np.where(np.arange(80) == 3, -5.0, y),
            np.append(np.arange(-2000.0, 2000.0), [-999.0, -999.0]),
            np.append(y * 1e4, [9999.0, 9999.0]),
        ):
            say_codes(values, np.array([0, len(values)]))
    y[places] = code
    with pytest.warns(UserWarning, match=rf"y holds {code:g} in {len(places)} rows"):
        say_codes(y, np.array([0, len(y)]))


@given(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=30))
def test_moments_are_of_the_values_that_are_there(values: list[float]) -> None:
    there = [value for value in values if value == value]
    found = moments(np.array(values, np.float64))
    if not there:
        assert found == {}
        return
    mean = sum(there) / len(there)
    spread = (sum((value - mean) ** 2 for value in there) / len(there)) ** 0.5
    assert found["mean"] == pytest.approx(mean, abs=1e-6)
    assert found["std"] == pytest.approx(spread, abs=1e-6) or (spread < 1e-6 and found["std"] == 1)


def test_what_never_moves_is_not_divided_by_nothing() -> None:
    assert moments(np.full(5, 3.0)) == {"mean": 3.0, "std": 1.0}
