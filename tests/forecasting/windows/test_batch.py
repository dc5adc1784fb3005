"""One rule for what of a batch runs along time, beside cuts made by hand."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.networks.output import tensors_of
from forecasting.windows.batch import TIME, Batch, batch_of, cut, each, history, named
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import assemble
from forecasting.windows.training import Windows
from tests.forecasting.samples import MIXES, make_panel, settings

some = hypothesis_settings(max_examples=30, deadline=None)
MODEL = {"calendar": True, "cycle": 5, "steps": 4}


def made_up(rows: int, horizon: int, count: int = 2) -> Batch[Any]:
    """A batch whose values say where they stand: 100 for each series and 1 for each row."""
    ahead = np.arange(rows + horizon) + 100.0 * np.arange(count)[:, None]
    past, future = ahead[:, :rows, None] + [0.25, 0.5], ahead[:, :, None] + [0.75]
    return batch_of(
        {
            "y": ahead[:, :rows],
            "mask": np.ones((count, rows)),
            "time": future,
            "phase": np.arange(count),
            "past": past,
            "past_mask": past > 0,
            "future": future,
            "future_mask": future > 0,
            "static": np.ones((count, 3)),
            "static_mask": np.ones((count, 3)),
            "centre": np.arange(count) + 0.5,
            "unit": np.arange(count) + 1.5,
        }
    )


def cut_by_hand(batch: Batch[Any], begin: int, end: int, ahead: int) -> dict[str, list[Any]]:
    """The same with loops over series and rows, each entry by its own rule."""
    out: dict[str, list[Any]] = {}
    for name in ("y", "mask", "past", "past_mask"):
        out[name] = [[series[t] for t in range(begin, end)] for series in named(batch)[name]]
    for name in ("time", "future", "future_mask"):
        out[name] = [
            [series[t] for t in range(begin, end + ahead)] for series in named(batch)[name]
        ]
    out["phase"] = [first + begin for first in batch["phase"]]
    for name in ("static", "static_mask", "centre", "unit"):
        out[name] = list(named(batch)[name])
    return out


@some
@given(st.data())
def test_a_cut_is_what_loops_over_rows_cut(data: st.DataObject) -> None:
    rows, horizon = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 4))
    begin = data.draw(st.integers(0, rows - 1))
    end = data.draw(st.integers(begin + 1, rows))
    ahead = data.draw(st.none() | st.integers(0, horizon))
    batch = made_up(rows, horizon)
    wanted = cut_by_hand(batch, begin, end, horizon if ahead is None else ahead)
    for part in (cut(batch, begin, end, ahead), cut(tensors_of(batch), begin, end, ahead)):
        assert part.keys() == wanted.keys()
        for name, values in named(part).items():
            np.testing.assert_array_equal(np.asarray(values), np.array(wanted[name]), name)


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_a_cut_keeps_what_windows_assembled_there_hold(mix: str) -> None:
    config = settings(model=MODEL)
    geometry = Geometry.of(config)
    panel = make_panel([30, 9, 4], schema=MIXES[mix], missing=0.2)
    long, _, _ = assemble(panel, config, 4)
    short, _, _ = assemble(panel, config, 1)
    rows = geometry.length(4)
    last = cut(long, rows - geometry.reach, rows)
    assert last.keys() == short.keys()
    # y, centre and unit are conditioned by the whole window.
    for name in last.keys() - {"y", "centre", "unit", "phase"}:
        np.testing.assert_array_equal(named(last)[name], named(short)[name], name)
    np.testing.assert_array_equal(last["phase"] % 5, short["phase"])


def test_a_cut_leaves_the_batch_as_it_is() -> None:
    batch = made_up(6, 2)
    before = {name: value.copy() for name, value in named(batch).items()}
    cut(batch, 2, 4)
    history(batch, 3)
    for name, value in named(batch).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_windows_of_both_kinds_run_as_far_as_the_table_says(mix: str) -> None:
    config = settings(model=MODEL)
    geometry = Geometry.of(config)
    panel = make_panel([30, 20], schema=MIXES[mix])
    windows = Windows(panel, config, torch.device("cpu"))
    drawn = windows.draw(3, torch.Generator().manual_seed(0))
    length = {"rows": geometry.rows, "rows_and_horizon": geometry.rows + geometry.horizon}
    assert drawn["y"].shape == drawn["mask"].shape == (3, length["rows_and_horizon"])
    trained, _, _ = assemble(panel, config, geometry.steps)
    for batch in (named(history(drawn, geometry.rows)), named(tensors_of(trained))):
        assert batch.keys() <= get_type_hints(Batch).keys()
        for name, value in batch.items():
            if name in TIME:
                assert value.shape[1] == length[TIME[name]], name


def test_every_entry_with_a_time_axis_is_one_of_a_batch() -> None:
    assert TIME.keys() <= get_type_hints(Batch).keys()


def test_each_asks_for_every_entry_once() -> None:
    batch = made_up(4, 1)
    shapes = named(each(batch, lambda value: value.shape))
    assert shapes == {name: value.shape for name, value in named(batch).items()}
