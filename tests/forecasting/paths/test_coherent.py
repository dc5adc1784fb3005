"""Forecasts of a hierarchy add up at every level, step and path."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.paths.coherent import coherent, errors_seen, sums_of
from forecasting.paths.hierarchy import Hierarchy, Levels
from forecasting.paths.reconcile import HOWS, How
from forecasting.paths.sampling import Draws, Paths, sample
from tests.forecasting.samples import MIXES, make_panel, settings, untrained, with_y

LEVELS = ((), ("state",), ("kind",), ("state", "kind"))
LABELS = {"state": list("aabbcc"), "kind": list("xyxyxx")}
LENGTHS = [40] * 6


def drawn(mix: str = "none", *, lift: float = 0.0) -> tuple[Forecaster, Panel, Paths]:
    engine = untrained(settings(horizon=3), MIXES[mix])
    panel = make_panel(LENGTHS, schema=MIXES[mix])
    panel = with_y(panel, panel.y + lift)
    return engine, panel, replace(sample(engine, panel, Draws(30)), labels=LABELS)


@examples(max_examples=15, deadline=None, derandomize=True)
@given(how=st.sampled_from(HOWS), nonnegative=st.booleans(), lift=st.sampled_from([0.0, 90.0]))
def test_everything_adds_up(how: How, nonnegative: bool, lift: float) -> None:
    engine, panel, paths = drawn(lift=lift)
    found = coherent(engine, panel, paths, Levels(LEVELS, how, nonnegative))
    matrix, count = found.hierarchy.matrix.toarray(), len(found.hierarchy)
    scale = np.abs(found.mean).max()
    np.testing.assert_allclose(matrix @ found.mean[count:], found.mean[:count], atol=1e-9 * scale)
    paths_of_sums = np.einsum("un,nhs->uhs", matrix, found.values)
    middle = np.quantile(paths_of_sums, 0.5, axis=-1, method="hazen")
    np.testing.assert_allclose(found.quantiles[:count, :, 1], middle, atol=1e-9 * scale)
    means = found.values.mean(axis=-1) + (paths.forecast.mean - paths.values.mean(axis=-1))
    if nonnegative:
        assert found.values.min() >= 0.0
        assert found.mean.min() >= 0.0
    else:
        np.testing.assert_allclose(means, found.mean[count:], atol=1e-9 * scale)


def test_bottom_up_leaves_the_series_as_they_are() -> None:
    engine, panel, paths = drawn()
    found = coherent(engine, panel, paths, Levels(LEVELS, "bottom_up"))
    np.testing.assert_array_equal(found.mean[len(found.hierarchy) :], paths.forecast.mean)
    np.testing.assert_array_equal(found.values, paths.values)


def test_histories_of_sums_are_sums_of_histories() -> None:
    panel = make_panel([10, 6, 10])
    # They end together: the shorter one begins later.
    start = panel.start.copy()
    start[1] = panel.freq.shift(start[1:2], 4)[0]
    y = panel.y.copy()
    y[[2, 12]] = np.nan
    panel = replace(panel, start=start, y=y)
    hierarchy = Hierarchy.of({"k": ["a", "a", "b"]}, [[], ["k"]], 3)
    engine = untrained(settings(horizon=3, season=4))
    sums = sums_of(engine, panel, hierarchy)
    rows = min(10, engine.context + 1)
    dense = np.zeros((3, 10))
    dense[0], dense[1, 4:], dense[2] = y[:10], y[10:16], y[16:]
    dense[0, 2] = dense[0, 1]  # as it stood last, for no season was seen before
    dense[1, 6] = dense[1, 5]
    wanted = hierarchy.matrix.toarray() @ dense
    wanted[1, 2] = np.nan  # the only one of its group that had begun is missing
    np.testing.assert_allclose(sums.y.reshape(3, -1), wanted[:, -rows:])
    assert (sums.last == panel.last[0]).all()


def test_a_sum_of_which_most_is_missing_is_missing() -> None:
    panel = make_panel([10, 10, 10])
    y = panel.y.copy()
    y[[15, 25]] = np.nan
    hierarchy = Hierarchy.of({}, [[]], 3)
    sums = sums_of(untrained(settings()), with_y(panel, y), hierarchy)
    assert np.flatnonzero(np.isnan(sums.y)).tolist() == [len(sums.y) - 5]


def test_sums_have_the_categories_that_their_series_share() -> None:
    schema = MIXES["static"]
    panel = make_panel([30, 30], schema=schema)
    place = [c.name for c in schema.static].index("region")
    labels = {"region": ["n", "s"]}
    hierarchy = Hierarchy.of(labels, [[], ["region"]], 2)
    sums = sums_of(untrained(settings(), schema), panel, hierarchy)
    assert sums.static[:, place].tolist() == [0.0, 1.0, 2.0]
    assert np.isnan(sums.static[:, 1 - place]).all()


def test_errors_are_seen_beyond_the_trained_horizon_where_that_is_extended() -> None:
    engine, panel, _ = drawn()
    paths = replace(sample(engine, panel, Draws(30), horizon=5, extend=True), labels=LABELS)
    found = coherent(engine, panel, paths, Levels(LEVELS, "mint_shrink"), extend=True)
    count = len(found.hierarchy)
    below = found.hierarchy.matrix @ found.mean[count:]
    np.testing.assert_allclose(below, found.mean[:count], atol=1e-9 * np.abs(below).max())
    errors = errors_seen(engine, [panel], 5, extend=True)
    known = engine.predict_panel(panel.truncate(5), horizon=5, extend=True)
    np.testing.assert_allclose(errors[:, :5], panel.after(5, 5) - known.mean)


def test_errors_at_past_origins_are_what_was_forecast_less_what_came() -> None:
    engine, panel, _ = drawn()
    errors = errors_seen(engine, [panel], 3)
    found = engine.predict_panel(panel.truncate(3), horizon=3)
    np.testing.assert_allclose(errors[:, :3], panel.after(3, 3) - found.mean)
    assert errors.shape[1] % 3 == 0
    with pytest.raises(DataError, match="too short"):
        errors_seen(engine, [make_panel([4, 4])], 3)


def test_a_model_with_covariates_ahead_adds_up_from_below_and_says_what_it_cannot() -> None:
    engine, panel, paths = drawn("all")
    found = coherent(engine, panel, paths, Levels(LEVELS))
    assert found.how == "bottom_up"
    with pytest.raises(DataError, match="how = ols needs forecasts of sums"):
        coherent(engine, panel, paths, Levels(LEVELS, "ols"))


def test_series_that_cannot_be_forecast_or_end_elsewhere_are_named() -> None:
    engine, panel, _ = drawn()
    y = panel.y.copy()
    y[40:80] = np.nan
    lacking = replace(sample(engine, with_y(panel, y), Draws(10)), labels=LABELS)
    with pytest.raises(DataError, match="hierarchy have no forecast, such as 's1'"):
        coherent(engine, with_y(panel, y), lacking, Levels(LEVELS))
    ragged = make_panel([40, 30, 40, 40, 40, 40])
    other = replace(sample(engine, ragged, Draws(10)), labels=LABELS)
    with pytest.raises(DataError, match="end at another stamp than 's0', such as 's1'"):
        coherent(engine, ragged, other, Levels(LEVELS))


def test_a_table_of_a_hierarchy_from_the_library() -> None:
    engine, panel, _ = drawn()
    static = pd.DataFrame({"unique_id": panel.ids, **LABELS})
    paths = engine.paths(panel.to_frame(), 40, static=static)
    table: Any = paths.coherent([[], "state"], how="wls", quantiles=[0.1, 0.9])
    assert list(table.columns) == ["level", "unique_id", "ds", "mean", "q0.1", "q0.9"]
    mean = table.groupby(["level", "ds"])["mean"].sum().unstack()
    np.testing.assert_allclose(mean.loc["total"], mean.loc["series"], rtol=1e-9)
    np.testing.assert_allclose(mean.loc["state"], mean.loc["series"], rtol=1e-9)


def test_wls_trusts_each_forecast_by_the_spread_that_its_quantiles_tell() -> None:
    engine, panel, paths = drawn()
    found = coherent(engine, panel, paths, Levels(LEVELS, "wls"))
    sums = sums_of(engine, panel, found.hierarchy)
    above = engine.predict_panel(sums, horizon=3, quantiles=(0.1, 0.9)).quantiles
    below = np.quantile(paths.values, [0.1, 0.9], axis=-1, method="hazen")
    spread = np.concatenate(
        [(above[..., 1] - above[..., 0]).mean(axis=1), (below[1] - below[0]).mean(axis=1)]
    )
    matrix = found.hierarchy.matrix.toarray()
    whole, weight = np.vstack([matrix, np.eye(len(panel))]), np.diag(1.0 / spread**2)
    wanted = np.linalg.solve(whole.T @ weight @ whole, whole.T @ weight @ found.base)
    np.testing.assert_allclose(found.mean[len(matrix) :], wanted, rtol=1e-6, atol=1e-6)


def test_paths_that_stay_above_zero_have_the_means_that_agree() -> None:
    engine, panel, paths = drawn(lift=5.0)
    found = coherent(engine, panel, paths, Levels(LEVELS, "wls_struct", True))
    own = found.mean[len(found.hierarchy) :]
    np.testing.assert_allclose(found.values.mean(axis=-1), own, atol=1e-9 * np.abs(own).max())
