"""Values in mapped files: read as those in memory are, and gone with their reader."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data import mapped
from forecasting.data.mapped import (
    Filling,
    blocks,
    by_series,
    folder_of,
    least,
    let_go,
    parts_of,
    ranges,
    rows_of,
    running,
)
from forecasting.data.panel import Panel, observed
from forecasting.data.scale import mase_scale
from forecasting.data.strides import strides
from forecasting.errors import DataError
from forecasting.evaluation.backtest import backtest
from forecasting.evaluation.baselines import naive2, naive2_arrays, naive_arrays, seasonal_naive
from forecasting.training.defaults import resolve
from forecasting.windows.conditioning import usual_spread
from tests.forecasting.samples import make_panel

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=12)


def in_files(panel: Panel, folder: Path) -> Panel:
    """The same panel, its y in a file."""
    filling = Filling(folder, panel.rows)
    for first, last in blocks(panel.offsets, 16):
        filling.add(panel.y[panel.offsets[first] : panel.offsets[last]])
    return replace(panel, y=filling.done())


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "BLOCK_ROWS", 24)


@given(SIZES, st.integers(1, 12))
def test_blocks_hold_every_series_once_whole_and_few_rows(sizes: list[int], rows: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    found = list(blocks(offsets, rows))
    assert [i for first, last in found for i in range(first, last)] == list(range(len(sizes)))
    for first, last in found:
        assert last - first == 1 or offsets[last] - offsets[first] <= rows


@pytest.mark.parametrize("most", [0, 40, 10**9])
@pytest.mark.parametrize("rows", [None, 12, 5])
def test_what_is_filled_is_what_was_added(most: int, rows: int | None, tmp_path: Path) -> None:
    filling = Filling(tmp_path, rows, most=most, width=(2,))
    parts = [np.arange(8.0).reshape(4, 2), np.empty((0, 2)), np.arange(16.0).reshape(8, 2)]
    for part in parts:
        filling.add(part)
    values = filling.done()
    np.testing.assert_array_equal(values, np.concatenate(parts))
    assert folder_of(values) == (None if most == 10**9 else tmp_path)
    assert folder_of(np.asarray(values)[2:, 1]) == folder_of(values)


def test_a_file_is_gone_when_it_is_mapped_and_when_it_never_is(tmp_path: Path) -> None:
    filling = Filling(tmp_path)
    filling.add(np.ones(3))
    assert len(list(tmp_path.iterdir())) == 1
    values = filling.done()
    assert not list(tmp_path.iterdir())
    assert values.sum() == 3.0
    left = Filling(tmp_path)
    left.add(np.ones(3))
    del left
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    filling = Filling(tmp_path / "taken")
    with pytest.raises(DataError, match=r"taken: .* exists.*GATECAST_HOME.*data\.store"):
        filling.add(np.ones(1))


def test_mapped_values_cannot_be_written_to(tmp_path: Path) -> None:
    values = in_files(make_panel([5]), tmp_path).y
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 1.0


@pytest.mark.usefixtures("small_blocks")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(SIZES, st.integers(0, 2**32 - 1))
def test_parts_are_those_cut_out_one_by_one(tmp_path: Path, sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=60)
    lengths = np.array(sizes)
    begin = rng.integers(0, 51, len(sizes))
    expected = np.concatenate([values[b : b + n] for b, n in zip(begin, lengths, strict=True)])
    filling = Filling(tmp_path)
    filling.add(values)
    for held in (values, filling.done()):
        found = parts_of(held, begin, lengths)
        np.testing.assert_array_equal(found, expected)
        assert folder_of(found) == (folder_of(held) if len(expected) > 24 else None)


@pytest.mark.parametrize(
    "told",
    [
        partial(mase_scale, season=4),
        lambda y, o: np.stack(observed(y, o)),
        lambda y, o: naive_arrays(y, o, 3, 4).quantiles,
        lambda y, o: naive2_arrays(y, o, 3, 4).quantiles,
        lambda y, o: np.array(usual_spread(y, o, "identity")),
    ],
)
def test_what_is_said_of_blocks_of_series_is_what_is_said_of_all_at_once(
    told: Callable[[Array, Array], Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel([30, 7, 41, 1, 12, 28], missing=0.1)
    whole = told(panel.y, panel.offsets)
    monkeypatch.setattr(mapped, "BLOCK_ROWS", 24)
    np.testing.assert_array_equal(told(panel.y, panel.offsets), whole)


def test_by_series_of_nothing_is_nothing() -> None:
    nothing = by_series(lambda y, o: mase_scale(y, o, 2), np.empty(0), np.zeros(1, np.int64))
    assert nothing.shape == (0,)
    assert np.isnan(least(np.empty(0)))


@pytest.mark.usefixtures("small_blocks")
def test_a_mapped_panel_is_cut_into_mapped_panels_with_the_same_values(tmp_path: Path) -> None:
    panel = make_panel([30, 7, 41, 5, 12, 28], missing=0.2)
    panel = replace(panel, y=np.where(np.arange(panel.rows) < 3, np.nan, panel.y))
    held = in_files(panel, tmp_path)
    for cut in (
        lambda p: p.truncate(6, 3),
        lambda p: p.tail(5),
        lambda p: p.begun(),
        lambda p: p.select(np.array([4, 0, 2])),
        lambda p: p.select(slice(1, 4)),
        lambda p: p.truncate(6).truncate(2).tail(9),
    ):
        expected, found = cut(panel), cut(held)
        np.testing.assert_array_equal(found.y, expected.y)
        np.testing.assert_array_equal(found.offsets, expected.offsets)
        np.testing.assert_array_equal(found.start, expected.start)
        assert found.rows <= 24 or folder_of(found.y) == tmp_path
        assert folder_of(expected.y) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("positive", [True, False])
def test_settings_are_chosen_alike_from_a_mapped_panel(tmp_path: Path, positive: bool) -> None:
    panel = make_panel([60, 47, 41], positive=positive, missing=0.1)
    held = in_files(panel, tmp_path)
    asked = ForecasterConfig(horizon=4)
    assert resolve(asked, held) == resolve(asked, panel)
    np.testing.assert_array_equal(strides(held), strides(panel))


@pytest.mark.usefixtures("small_blocks")
def test_a_mapped_panel_is_backtested_as_one_in_memory(tmp_path: Path) -> None:
    panel = make_panel([30, 7, 41], missing=0.1)
    held = in_files(panel, tmp_path)
    levels = (0.1, 0.5, 0.9)
    models = {
        "naive2": lambda known: naive2(known, 3, season=4, levels=levels),
        "seasonal": lambda known: seasonal_naive(known, 3, season=4, levels=levels),
    }
    one, other = (
        backtest(p, models, horizon=3, season=4, windows=2, levels=levels) for p in (panel, held)
    )
    assert folder_of(other.quantiles["naive2"]) == tmp_path
    assert one.scores().equals(other.scores())
    assert one.by_series().equals(other.by_series())


@pytest.mark.usefixtures("small_blocks")
def test_a_running_total_is_that_of_all_at_once(tmp_path: Path) -> None:
    panel = make_panel([30, 7, 41, 5])
    whole = np.concatenate([[0.0], np.cumsum(np.abs(panel.y))])
    for held in panel, in_files(panel, tmp_path):
        np.testing.assert_array_equal(running(np.abs, held.y, held.offsets), whole)


def test_pages_that_were_let_go_are_read_again(tmp_path: Path) -> None:
    panel = make_panel([30, 7])
    held = in_files(panel, tmp_path)
    for values in held.y, np.asarray(held.y)[3:20], panel.y:
        before = values.copy()
        let_go(values)
        np.testing.assert_array_equal(values, before)


@given(st.integers(0, 4), st.integers(1, 5), st.integers(1, 7), st.integers(1, 6), st.booleans())
@settings(max_examples=200, deadline=None)
def test_parts_that_lie_evenly_are_read_as_any_others(
    first: int, count: int, apart: int, length: int, even: bool
) -> None:
    begin = first + apart * np.arange(count)
    lengths = np.full(count, length)
    if not even:
        begin[-1], lengths[0] = first, 0
    values = np.arange(first + apart * count + length, dtype=np.float64)
    found = rows_of(values, begin, lengths)
    np.testing.assert_array_equal(found, values[ranges(begin, lengths)])
    assert not np.shares_memory(found, values)
