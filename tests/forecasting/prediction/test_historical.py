"""Forecasts from every origin at once are those of each history cut there."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.prediction import historical
from forecasting.prediction.historical import Historical
from tests.forecasting.samples import LEVELS, MIXES, make_panel, seasonal_frame, settings, untrained


def one_by_one(forecaster: Forecaster, panel: Panel, found: Historical) -> np.ndarray:
    """[M, H, Q] of the same origins: each history cut and forecast alone."""
    out = []
    for series, row in zip(found.origins.series, found.origins.row, strict=True):
        alone = panel.select(np.array([series]))
        cut = alone.truncate(int(alone.lengths[0]) - 1 - int(row), forecaster.config.horizon)
        out.append(forecaster.predict_panel(cut, quantiles=LEVELS).quantiles[0])
    return np.stack(out)


@examples(max_examples=20, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    mix=st.sampled_from(sorted(MIXES)),
    missing=st.sampled_from([0.0, 0.3]),
    every=st.integers(1, 5),
    least=st.integers(1, 12),
    options=st.sampled_from([{}, {"calendar": True}, {"pool": {"theta": 1.0}, "blend": 0.5}]),
    zone=st.sampled_from([None, "Europe/Berlin"]),
    seed=st.integers(0, 99),
)
def test_every_origin_gets_the_forecast_of_the_history_cut_there(
    lengths: list[int],
    mix: str,
    missing: float,
    every: int,
    least: int,
    options: dict[str, Any],
    zone: str | None,
    seed: int,
) -> None:
    freq = "h" if zone else "D"
    panel = make_panel(lengths, schema=MIXES[mix], missing=missing, freq=freq, tz=zone, seed=seed)
    forecaster = untrained(settings(model=options, freq=freq), MIXES[mix])
    if max(lengths) < least:
        with pytest.raises(DataError, match="no series is long enough"):
            forecaster.historical_panel(panel, least=least)
        return
    found = forecaster.historical_panel(panel, quantiles=LEVELS, every=every, least=least)
    slow = one_by_one(forecaster, panel, found)
    assert found.quantiles == pytest.approx(slow, rel=1e-5, abs=1e-4)
    count = sum((n - least) // every + 1 for n in lengths if n >= least)
    assert len(found.origins) + found.left_out == count
    for k, (series, row) in enumerate(zip(found.origins.series, found.origins.row, strict=True)):
        own = panel.y[panel.offsets[series] : panel.offsets[series + 1]][row + 1 : row + 4]
        assert np.array_equal(found.actual[k, : len(own)], own, equal_nan=True)
        assert np.isnan(found.actual[k, len(own) :]).all()


def test_parts_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = make_panel([30, 25])
    forecaster = untrained(settings())
    whole = forecaster.historical_panel(panel)
    monkeypatch.setattr(historical, "ROWS_AT_ONCE", 60)
    parts = forecaster.historical_panel(panel)
    assert parts.quantiles == pytest.approx(whole.quantiles, rel=1e-6)
    assert np.array_equal(parts.origins.row, whole.origins.row)


def test_a_table_goes_in_and_comes_out_with_the_cutoffs() -> None:
    frame = seasonal_frame(rows=30)
    forecaster = untrained(settings())
    found = forecaster.historical(frame, last=2, every=7)
    assert list(found.columns) == [
        "unique_id", "cutoff", "step", "ds", "y", "mean", "q0.1", "q0.5", "q0.9",
    ]  # fmt: skip
    assert len(found) == 3 * 2 * 3
    ends = found[found["cutoff"] == frame["ds"].max()]
    assert ends["y"].isna().all()
    forecast = forecaster.predict(frame)
    assert ends["q0.5"].to_numpy() == pytest.approx(forecast["q0.5"].to_numpy(), rel=1e-6)
    early = found[found["cutoff"] < frame["ds"].max()].merge(frame, on=["unique_id", "ds"])
    assert (early["y_x"] == early["y_y"]).all()
    assert isinstance(forecaster.historical(pl.from_pandas(frame), last=1), pl.DataFrame)


def test_what_cannot_be_asked_is_refused_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = seasonal_frame(rows=30)
    forecaster = untrained(settings())
    with pytest.raises(DataError, match="every = 0"):
        forecaster.historical(frame, every=0)
    with pytest.raises(DataError, match="horizon = 9 is outside"):
        forecaster.historical(frame, horizon=9)
    monkeypatch.setattr(historical, "MOST_NUMBERS", 100)
    with pytest.raises(DataError, match=r"78 origins of 3 steps .* \(every=\)"):
        forecaster.historical(frame)


def test_origins_that_lack_covariates_known_ahead_are_told() -> None:
    panel = make_panel([30], schema=MIXES["future"], horizon=0)
    forecaster = untrained(settings(), MIXES["future"])
    with pytest.warns(UserWarning, match="3 of 26 origins cannot be forecast from: known-future"):
        found = forecaster.historical(panel.to_frame().assign(y=panel.y))
    assert len(found) == 23 * 3
