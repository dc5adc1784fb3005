"""Panels: a long frame and back, regular grids, refusals, cutting, and the slow twins of each."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.calendar import Frequency
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from tests.forecasting.samples import MIXES, make_panel

FREQUENCIES = ["min", "15min", "30min", "h", "4h", "D", "B", "W-MON", "W-SUN", "MS", "ME",
               "QS-JAN", "QE-DEC", "YS-JAN", "YE-DEC"]  # fmt: skip

some = hypothesis_settings(max_examples=25, deadline=None)


@st.composite
def frames(draw: st.DrawFn) -> tuple[pd.DataFrame, str]:
    """Long frames of series that start anywhere, with missing values, in any row order."""
    freq = draw(st.sampled_from([*FREQUENCIES, "step", "3step"]))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    parts = []
    for k in range(draw(st.integers(1, 5))):
        rows, skip = draw(st.integers(1, 20)), draw(st.integers(0, 10))
        if freq.endswith("step"):
            size = Frequency.parse(freq).size
            ds: Any = np.arange(skip, skip + rows) * size
        else:
            ds = pd.date_range("2023-12-28", periods=rows + skip, freq=freq)[skip:]
        y = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows))
        parts.append(pd.DataFrame({"unique_id": f"series {k}", "ds": ds, "y": y}))
    return pd.concat(parts, ignore_index=True), freq


@some
@given(frames(), st.integers(0, 100))
def test_a_frame_becomes_a_panel_and_comes_back(made: tuple[pd.DataFrame, str], seed: int) -> None:
    frame, freq = made
    panel = Panel.from_frame(frame, freq=freq)
    back = panel.to_frame()
    assert list(back["unique_id"]) == list(frame["unique_id"])
    assert list(back["ds"]) == list(frame["ds"])
    np.testing.assert_array_equal(back["y"], frame["y"])
    shuffled = Panel.from_frame(frame.sample(frac=1.0, random_state=seed), freq=freq)
    expected = {k: v.reset_index(drop=True) for k, v in frame.groupby("unique_id")}
    for key, part in shuffled.to_frame().groupby("unique_id"):
        pd.testing.assert_frame_equal(part.reset_index(drop=True), expected[key], check_dtype=False)


@some
@given(frames(), st.integers(0, 100))
def test_absent_rows_become_missing_values(made: tuple[pd.DataFrame, str], seed: int) -> None:
    frame, freq = made
    rng = np.random.default_rng(seed)
    ends = ~frame["unique_id"].duplicated(keep="first") | ~frame["unique_id"].duplicated("last")
    keep = ends.to_numpy() | (rng.random(len(frame)) < 0.6)
    thin = Panel.from_frame(frame[keep], freq=freq).to_frame()
    expected = frame.copy()
    expected.loc[~keep, "y"] = np.nan
    pd.testing.assert_frame_equal(thin, expected, check_dtype=False)


def test_a_dense_sorted_frame_is_not_copied() -> None:
    frame = make_panel([100, 50]).to_frame()
    panel = Panel.from_frame(frame, freq="D")
    assert np.shares_memory(panel.y, frame["y"].to_numpy())


@pytest.mark.parametrize("dtype", [object, "string", "category", "int"])
def test_names_of_any_type_become_text(dtype: str) -> None:
    frame = pd.DataFrame({"unique_id": [1, 1, 2, 2], "ds": [1, 2, 1, 2], "y": 1.0})
    frame["unique_id"] = frame["unique_id"].astype(dtype)
    assert list(Panel.from_frame(frame).ids) == ["1", "2"]


def test_names_that_are_the_same_as_text_are_one_series() -> None:
    ids = pd.Series([1, 1, "1", "1"], dtype=object)
    frame = pd.DataFrame({"unique_id": ids, "ds": [1, 2, 3, 4], "y": [1.0, 2.0, 3.0, 4.0]})
    panel = Panel.from_frame(frame)
    assert list(panel.ids) == ["1"]
    np.testing.assert_array_equal(panel.y, [1.0, 2.0, 3.0, 4.0])


@pytest.mark.parametrize(
    ("values", "freq"),
    [
        ([1.0, 2.0, 3.0], "step"),
        (["2024-01-01", "2024-01-02", "2024-01-03"], "D"),
        ([np.int32(3), np.int32(4), np.int32(5)], "step"),
        (pd.period_range("2024-01", periods=3, freq="M"), "MS"),
        ([pd.Timestamp(f"2024-01-0{d}").date() for d in (1, 2, 3)], "D"),
        (["2024-01-01T00:00:00+02:00", "2024-01-01T01:00:00+02:00",
          "2024-01-01T02:00:00+02:00"], "h"),
    ],
)  # fmt: skip
def test_stamps_come_in_many_types(values: Any, freq: str) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": values, "y": [1.0, 2.0, 3.0]})
    panel = Panel.from_frame(frame)
    assert (panel.freq.alias, panel.rows) == (freq, 3)


# -- refusals ------------------------------------------------------------------------------


def _frame(**columns: Any) -> pd.DataFrame:
    base = {
        "unique_id": ["a", "a", "b", "b"],
        "ds": pd.to_datetime(["2024-01-01", "2024-01-02"] * 2),
        "y": [1.0, 2.0, 3.0, 4.0],
    }
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame().drop(columns="y"), "missing column y; the table has: unique_id, ds"),
        (_frame().iloc[:0], "no rows"),
        (_frame(ds=pd.to_datetime(["2024-01-01"] * 4)), "'a' has two rows for ds = 2024-01-01"),
        (_frame(unique_id=["a", None, "b", "b"]), "row 1: unique_id is missing"),
        (_frame(ds=[pd.NaT, *pd.to_datetime(["2024-01-01"] * 3)]), "row 0: ds is missing"),
        (_frame(y=["1", "two", "3", "4"]), "'two' is not a number .*'a'.*2024-01-02"),
        (_frame(y=[1.0, 2.0, np.inf, 4.0]), "column y is infinite .*'b'.*2024-01-01"),
        (_frame(y=[1.0, [2.0], 3.0, 4.0]), "is not a number"),
        (_frame(ds=["a", "b", "c", "d"]), "is text, but not in ISO 8601"),
        (_frame(ds=[1.0, 2.5, 1.0, 2.0]), "neither time stamps nor integers"),
        (pd.concat([_frame(), _frame()[["y"]]], axis=1), "column y stands twice"),
    ],
)
def test_a_bad_frame_is_refused_with_its_place(frame: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Panel.from_frame(frame, freq=None)


def test_an_irregular_stamp_names_series_stamp_and_grid() -> None:
    ds = list(pd.date_range("2024-01-01", periods=5, freq="h"))
    ds[3] += pd.Timedelta("7min")
    frame = pd.DataFrame({"unique_id": "meter-4", "ds": ds, "y": 1.0})
    with pytest.raises(DataError, match=r"'meter-4': ds = 2024-01-01T03:07.* freq = h .*1 such"):
        Panel.from_frame(frame, freq="h")


@pytest.mark.parametrize(
    ("freq", "stamps"),
    [
        ("B", ["2024-01-05", "2024-01-06"]),
        ("MS", ["2024-01-01", "2024-02-02"]),
        ("ME", ["2024-01-31", "2024-02-28"]),
        ("W-MON", ["2024-01-01", "2024-01-09"]),
        ("4h", ["2024-01-01 00:00", "2024-01-01 05:00"]),
        ("YS", ["2024-01-01", "2025-02-01"]),
    ],
)
def test_stamps_off_the_grid_are_refused(freq: str, stamps: list[str]) -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": pd.to_datetime(stamps), "y": 1.0})
    with pytest.raises(DataError, match="does not lie on the grid"):
        Panel.from_frame(frame, freq=freq)


def test_integers_and_times_do_not_mix() -> None:
    with pytest.raises(DataError, match="holds time stamps, which freq = step does not fit"):
        Panel.from_frame(_frame(), freq="step")
    with pytest.raises(DataError, match="holds integers, which freq = D does not fit"):
        Panel.from_frame(_frame(ds=[1, 2, 1, 2]), freq="D")


def test_one_stamp_far_off_is_refused_before_it_fills_the_memory() -> None:
    ds = pd.to_datetime(["2024-01-01 00:00", "2024-01-01 00:01", "9024-01-01"], format="mixed")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    with pytest.raises(DataError, match=r"'a'.*rows"):
        Panel.from_frame(frame, freq="min")


# -- zones ---------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["15min", "h", "D", "B", "W-MON", "MS", "ME", "QS-JAN", "YE-DEC"])
@pytest.mark.parametrize("tz", ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"])
def test_local_stamps_keep_their_step_through_changes_of_time(freq: str, tz: str) -> None:
    ds = pd.date_range("2023-01-02", periods=40, freq=freq, tz=tz)
    if freq in ("15min", "h"):
        # Both changes of the year, hour by hour.
        ds = pd.date_range("2023-10-28", periods=100, freq=freq, tz=tz)
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(len(ds), dtype=float)})
    panel = Panel.from_frame(frame)
    assert panel.freq.same_step(Frequency.parse(freq))
    if freq == "W-MON":
        assert panel.freq.alias == "W-MON"
    assert panel.rows == len(ds)
    assert list(panel.to_frame()["ds"]) == list(ds)
    ahead = panel.freq.stamps(panel.start, panel.lengths, 3)
    assert ahead.shape == (1, 3)


def test_a_missing_midnight_is_still_that_day() -> None:
    # In 2018 clocks in Brazil went from 4 November 00:00 to 01:00.
    ds = pd.date_range("2018-11-01", periods=8, freq="D").tz_localize(
        "America/Sao_Paulo", nonexistent="shift_forward"
    )
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": 1.0})
    panel = Panel.from_frame(frame)
    assert panel.freq.alias == "D"
    assert list(panel.to_frame()["ds"]) == list(ds)


# -- covariates ----------------------------------------------------------------------------


def _with_covariates() -> tuple[pd.DataFrame, pd.DataFrame]:
    frame = pd.DataFrame(
        {
            "unique_id": ["a"] * 6 + ["b"] * 5,
            "ds": [*range(1, 7), *range(3, 8)],
            "y": [1.0, 2, 3, 4, np.nan, np.nan, 5, 6, 7, np.nan, np.nan],
            "promo": [0.0, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1],
            "kind": ["x", "y", None, "x", "z", "z", "y", "x", "x", "y", "y"],
            "temp": [3.0, np.nan, 5, 6, np.nan, np.nan, 7, 8, 9, np.nan, np.nan],
        }
    )
    static = pd.DataFrame({"unique_id": ["b", "a"], "region": ["n", "s"], "size": [4.0, 5.0]})
    return frame, static


def test_trailing_rows_without_y_are_the_horizon() -> None:
    frame, static = _with_covariates()
    panel = Panel.from_frame(frame, static=static, past=["temp"], future=["promo", "kind"])
    np.testing.assert_array_equal(panel.lengths, [4, 3])
    assert panel.horizon is not None
    np.testing.assert_array_equal(panel.horizon[..., 0], [[1.0, 0.0], [0.0, 1.0]])
    kinds = panel.schema.future[1].categories
    assert kinds == ("x", "y", "z")
    np.testing.assert_array_equal(panel.horizon[..., 1], [[3.0, 3.0], [2.0, 2.0]])
    np.testing.assert_array_equal(panel.future[:4, 1], [1.0, 2.0, np.nan, 1.0])
    np.testing.assert_array_equal(panel.past[:, 0], [3.0, np.nan, 5, 6, 7, 8, 9])
    np.testing.assert_array_equal(panel.static[:, 1], [5.0, 4.0])
    assert panel.schema.past[0].mean == pytest.approx(np.mean([3, 5, 6, 7, 8, 9]))


def test_a_trained_schema_fixes_the_codes_and_an_unseen_category_is_zero() -> None:
    frame, static = _with_covariates()
    schema = Panel.from_frame(frame, static=static, future=["promo", "kind"]).schema
    other = frame.assign(kind=["y", "new", "x"] + ["z"] * 8)
    panel = Panel.from_frame(other, static=static.assign(region="west"), schema=schema)
    np.testing.assert_array_equal(panel.future[:3, 1], [2.0, 0.0, 1.0])
    np.testing.assert_array_equal(panel.static[:, 0], [0.0, 0.0])
    without = Panel.from_frame(other, schema=schema)
    assert np.isnan(without.static[:, 1]).all()


def test_numbers_can_be_categories_and_flags_are_numbers() -> None:
    frame, _ = _with_covariates()
    frame["code"] = [7, 7, 8, 8, 7, 7, 8, 8, 7, 7, 8]
    frame["open"] = [True, False] * 5 + [True]
    panel = Panel.from_frame(frame, future=["code", "open"], categorical=["code"])
    code, is_open = panel.schema.future
    assert (code.type, code.categories, is_open.type) == ("categorical", ("7", "8"), "real")


@pytest.mark.parametrize(
    ("static", "message"),
    [
        (pd.DataFrame({"unique_id": ["a", "a"], "size": [1.0, 2.0]}), "'a' stands twice"),
        (pd.DataFrame({"id": ["a"], "size": [1.0]}), "missing column unique_id"),
    ],
)
def test_a_bad_static_table_is_refused(static: pd.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Panel.from_frame(_frame(), static=static)


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_frames_carry_the_covariates_of_the_history(mix: str) -> None:
    panel = make_panel([5, 9], schema=MIXES[mix], missing=0.2)
    static = None
    if panel.schema.static:
        static = pd.DataFrame(
            {"unique_id": panel.ids, "size": panel.static[:, 0],
             "region": np.array([None, "n", "s"], dtype=object)[panel.static[:, 1].astype(int)]}
        )  # fmt: skip
    again = Panel.from_frame(panel.to_frame(), freq="D", static=static, schema=panel.schema)
    np.testing.assert_array_equal(again.past, panel.past)
    np.testing.assert_array_equal(again.static, panel.static)
    if not panel.schema.future:
        np.testing.assert_array_equal(again.y, panel.y)


# -- cutting, against plain loops ----------------------------------------------------------


def _rows(panel: Panel, i: int) -> dict[str, np.ndarray]:
    at = slice(panel.offsets[i], panel.offsets[i + 1])
    return {"y": panel.y[at], "past": panel.past[at], "future": panel.future[at]}


@some
@given(st.lists(st.integers(1, 15), min_size=1, max_size=5), st.data())
def test_cutting_equals_a_plain_loop(sizes: list[int], data: st.DataObject) -> None:
    panel = make_panel(sizes, schema=MIXES["all"], missing=0.2, horizon=4)
    count = len(sizes)
    assert panel.horizon is not None
    index = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=4)), dtype=int)
    chosen = panel.select(index)
    assert list(chosen.ids) == [panel.ids[i] for i in index]
    for j, i in enumerate(index):
        for name, block in _rows(chosen, j).items():
            np.testing.assert_array_equal(block, _rows(panel, i)[name])
        assert chosen.start[j] == panel.start[i]

    keep = data.draw(st.integers(1, 18))
    tail = panel.tail(keep)
    for i in range(count):
        for name, block in _rows(tail, i).items():
            np.testing.assert_array_equal(block, _rows(panel, i)[name][-keep:])
        assert tail.last[i] == panel.last[i]
    np.testing.assert_array_equal(tail.horizon, panel.horizon)

    back = np.array(data.draw(st.lists(st.integers(0, 12), min_size=count, max_size=count)))
    cut = panel.truncate(back, 6)
    left = [i for i in range(count) if sizes[i] > back[i]]
    assert list(cut.ids) == [panel.ids[i] for i in left]
    for j, i in enumerate(left):
        stop = sizes[i] - back[i]
        for name, block in _rows(cut, j).items():
            np.testing.assert_array_equal(block, _rows(panel, i)[name][:stop])
        known = np.concatenate([_rows(panel, i)["future"], panel.horizon[i]])[stop : stop + 6]
        assert cut.horizon is not None
        np.testing.assert_array_equal(cut.horizon[j, : len(known)], known)
        assert np.isnan(cut.horizon[j, len(known) :]).all()


@some
@given(st.integers(29, 31), st.integers(0, 11), st.integers(1, 60), st.integers(0, 40))
def test_what_follows_keeps_the_day_of_the_first_stamp(
    day: int, month: int, count: int, further: int
) -> None:
    """February, and a month of thirty days, cut the day of one step and of no other."""
    freq = Frequency.parse("MS")
    first = np.array([f"2019-{[1, 3, 5, 7, 8, 10, 12][month % 7]:02d}-{day}"], "datetime64[us]")
    panel = Panel.from_arrays(np.array(["a"]), np.ones(count), np.array([count]), first, freq)
    start, step = panel.following()
    np.testing.assert_array_equal(step.shift(start, further), freq.shift(first, count + further))


@some
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 7)), max_size=6))
def test_ranges_equal_a_plain_loop(pairs: list[tuple[int, int]]) -> None:
    begin = np.array([p[0] for p in pairs], dtype=int)
    lengths = np.array([p[1] for p in pairs], dtype=int)
    expected = [v for b, n in pairs for v in range(b, b + n)]
    np.testing.assert_array_equal(ranges(begin, lengths), expected)


def test_arrays_and_frames_make_the_same_panel() -> None:
    frame, static = _with_covariates()
    panel = Panel.from_frame(frame, static=static, past=["temp"], future=["promo", "kind"])
    other = Panel.from_arrays(
        ["a", "b"],
        np.array([1.0, 2, 3, 4, 5, 6, 7]),
        np.array([4, 3]),
        np.array([1, 3]),
        "step",
        schema=panel.schema,
        past={"temp": frame["temp"].to_numpy()[[0, 1, 2, 3, 6, 7, 8]]},
        future={"promo": frame["promo"].to_numpy(), "kind": frame["kind"].to_numpy(object)},
        future_sizes=np.array([6, 5]),
        static={"region": ["s", "n"], "size": [5.0, 4.0]},
    )
    for name in ("y", "past", "future", "horizon", "static", "offsets", "start"):
        np.testing.assert_array_equal(getattr(other, name), getattr(panel, name), err_msg=name)


def test_panels_are_not_changed_by_what_is_done_with_them() -> None:
    panel = make_panel([9, 4], schema=MIXES["all"])
    copies = {n: getattr(panel, n).copy() for n in ("y", "past", "future", "static", "offsets")}
    panel.select([1]), panel.tail(3), panel.truncate(2, 3), panel.to_frame()
    replace(panel, y=panel.y * 2)
    for name, before in copies.items():
        np.testing.assert_array_equal(getattr(panel, name), before)


@pytest.mark.parametrize("back", [1, 3, 8, 20])
@pytest.mark.parametrize("horizon", [1, 5])
def test_what_came_after_a_cutoff_is_of_the_series_that_reach_back_far_enough(
    back: int, horizon: int
) -> None:
    """One as long as the cut, one shorter: neither has a past, neither has actuals."""
    panel = make_panel([20, 2, 8, 30, 3, 9], missing=0.2)
    known = panel.truncate(back, horizon)
    found = panel.after(back, horizon)
    expected = []
    for i, name in enumerate(panel.ids):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        if name in known.ids:
            after = y[len(y) - back : len(y) - back + horizon]
            expected.append(np.pad(after, (0, horizon - len(after)), constant_values=np.nan))
    np.testing.assert_array_equal(found, np.array(expected).reshape(-1, horizon))
    assert len(known) == (panel.lengths > back).sum()
