"""Going on from trained weights: what is kept, what is learned, what is taken in, what is not."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting.data.panel import Panel
from forecasting.errors import StartAnewError
from forecasting.forecaster import Forecaster
from forecasting.schema import Schema
from forecasting.training.carry_on import carry_on, merged
from forecasting.training.linear import is_solved
from forecasting.windows.training import Windows
from tests.forecasting.samples import (
    MIXES,
    asked,
    make_panel,
    quantiles,
    same_weights,
    seasonal_frame,
    with_y,
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return make_panel([60, 50, 70])


@pytest.fixture(scope="module")
def trained(panel: Panel) -> Forecaster:
    config = asked(training={"max_steps": 40, "members": 2, "validation": "refit"}, calibrate=True)
    return Forecaster.train(panel.truncate(12), config)


def test_the_same_inputs_give_the_same_weights_and_others_others(
    trained: Forecaster, panel: Panel
) -> None:
    first, again = (trained.carry_on(panel, steps=5) for _ in range(2))
    assert same_weights(first, again)
    assert not same_weights(first, trained)
    assert not same_weights(first, trained.carry_on(panel.truncate(3), steps=5))
    assert len(first.networks) == len(trained.networks)
    assert first.config.training.max_steps == trained.config.training.max_steps


def test_it_tells_the_rows_it_has_not_seen_by_the_newest_stamp(
    trained: Forecaster, panel: Panel, tmp_path: Path
) -> None:
    assert trained.rows_since(panel) == 12
    trained.save(tmp_path / "kept")
    kept = Forecaster.load(tmp_path / "kept")
    assert kept.rows_since(panel) == 12
    assert kept.rows_since(panel.truncate(20)) == 0
    assert same_weights(kept.carry_on(panel, steps=4), trained.carry_on(panel, steps=4))


def test_intervals_are_corrected_by_what_came_since(trained: Forecaster, panel: Panel) -> None:
    """Where a horizon of it is there; before that the corrections that were known stay."""
    many = make_panel([60] * 40)
    config = trained.config.replace(calibrate=True)
    start = Forecaster(config=config, schema=trained.schema, networks=trained.networks,
                       correction=np.full((3, 5), 0.25))  # fmt: skip
    kept = start.carry_on(many, steps=1, unseen=2).correction
    found = start.carry_on(many, steps=1, unseen=12).correction
    assert kept is not None
    assert found is not None
    assert (kept == 0.25).all()
    assert (found != 0.25).any()


def test_half_of_the_windows_end_among_the_recent_rows(trained: Forecaster) -> None:
    panel = make_panel([400, 400])
    windows = Windows(panel, trained.config, torch.device("cpu"), recent=10)
    batch = windows.draw(4000, torch.Generator().manual_seed(0))
    recent = batch["origin"] > int(panel.lengths[0]) - 2 - 10
    assert 0.47 < float(recent.float().mean()) < 0.56
    assert int(batch["origin"].max()) == int(panel.lengths[0]) - 2


def test_new_series_need_nothing(trained: Forecaster) -> None:
    more = make_panel([60, 50, 70, 30, 25], seed=3)
    carried, notes = carry_on(trained, more, unseen=12, steps=2)
    assert notes == ()
    assert np.isfinite(quantiles(carried, more)).all()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_new_covariates_and_categories_are_said_and_learned(cell: str) -> None:
    full = MIXES["all"]
    few = Schema(covariates=tuple(c for c in full.covariates if c.name not in ("temp", "size")))
    panel = make_panel([60, 60], schema=full)
    narrow = panel.under(few)
    shown = narrow.past.copy()
    shown[shown == 3.0] = 1.0
    start = Forecaster.train(replace(narrow, past=shown), asked(model={"cell": cell}))
    carried, notes = carry_on(start, panel, unseen=5, steps=3)
    assert notes == (
        "the past covariate 'temp' is new",
        "covariate 'kind' has new categories: 'c'",
        "the static covariate 'size' is new",
    )
    assert {c.name for c in carried.schema.covariates} == {c.name for c in full.covariates}
    kind = next(c for c in carried.schema.past if c.name == "kind")
    assert kind.categories == ("a", "b", "c")
    assert np.isfinite(quantiles(carried, panel)).all()
    back, told = carry_on(carried, narrow, unseen=5, steps=2)
    assert told == (
        "the past covariate 'temp' is gone",
        "the static covariate 'size' is gone",
    )
    assert np.isfinite(quantiles(back, narrow)).all()


def test_what_both_know_keeps_its_mean_and_its_codes() -> None:
    panel = make_panel([40, 40], schema=MIXES["all"])
    moved = replace(panel, past=panel.past * np.array([3.0, 1.0]))
    schema, notes = merged(MIXES["all"], moved)
    assert notes == ()
    for was, now in zip(MIXES["all"].covariates, schema.covariates, strict=True):
        assert (was.mean, was.std, was.categories) == (now.mean, now.std, now.categories)


def test_categories_that_the_new_rows_do_not_show_stay_known() -> None:
    panel = make_panel([80, 80], schema=MIXES["past"])
    trained = Forecaster.train(panel, asked(training={"max_steps": 20}))
    known = panel.under(trained.schema)
    hidden = known.past.copy()
    code = float(next(c for c in trained.schema.past if c.name == "kind").categories.index("b") + 1)
    hidden[hidden[:, 1] == code, 1] = 1.0 if code != 1.0 else 2.0
    carried = trained.carry_on(replace(known, past=hidden), steps=3)
    before, after = (f.networks[0].past.tables["1"].weight for f in (trained, carried))
    assert torch.allclose(before[int(code)], after[int(code)], atol=1e-3)
    assert not torch.equal(after[int(code)], after[0])


def test_values_that_the_transform_cannot_read_ask_for_another_network() -> None:
    panel = make_panel([60, 60], positive=True)
    trained = Forecaster.train(panel, asked(model={"transform": "log"}))
    y = panel.y.copy()
    y[-1] = 0.0
    with pytest.raises(StartAnewError, match=r"1 values, such as 0, cannot be read with .* = log"):
        trained.carry_on(with_y(panel, y))


def test_another_step_and_another_role_ask_for_another_network(trained: Forecaster) -> None:
    with pytest.raises(StartAnewError, match="freq = h now, and had D"):
        trained.carry_on(make_panel([60], freq="h"))
    panel = make_panel([40], schema=MIXES["past"])
    other = Schema(covariates=(MIXES["past"].covariates[0].replace(role="static"),))
    with pytest.raises(StartAnewError, match="is static and real now, and was past and real"):
        merged(MIXES["past"], make_panel([40], schema=other))
    assert len(panel) == 1


def test_a_solved_median_stays_as_it_was_solved() -> None:
    panel = make_panel([300, 300])
    config = asked(training={"members": 2, "linear_mix": ("trained", "solved"), "max_steps": 5})
    trained = Forecaster.train(panel.truncate(20), config)
    assert [is_solved(n) for n in trained.networks] == [False, True]
    carried = trained.carry_on(panel, steps=3)
    assert [is_solved(n) for n in carried.networks] == [False, True]
    before, after = (f.networks[1].skip for f in (trained, carried))
    assert before is not None
    assert after is not None
    assert torch.equal(before.weight, after.weight)


def test_a_table_goes_on_from_a_table_and_says_what_is_new() -> None:
    frame = seasonal_frame(rows=80)
    frame["shop"] = frame["unique_id"].map({"s0": "a", "s1": "b", "s2": "a"})
    early = frame[frame["ds"] < "2024-03-10"]
    quick = {"training": {"max_steps": 5, "validation": "none", "start": "none", "threads": 1}}
    start = Forecaster.fit(early, horizon=5, past=["shop"], config=quick, verbose=False)
    late = frame.assign(shop=frame["shop"].where(frame["ds"] < "2024-03-10", "c"))
    with pytest.warns(UserWarning, match="covariate 'shop' has new categories: 'c'"):
        carried = start.carry_on(late, steps=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = carried.predict(late)
    assert isinstance(forecast, pd.DataFrame)
    assert forecast["mean"].notna().all()
