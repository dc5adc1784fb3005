"""The account of a choice says what each candidate erred by, as the origins themselves do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting import Forecaster
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.ensemble import Ensemble
from forecasting.evaluation import metrics
from forecasting.evaluation.choice import Choice
from forecasting.resolved import Resolved
from forecasting.training import fit as training
from forecasting.training.defaults import resolve
from tests.forecasting.samples import seasonal_frame

SHORT = {"max_steps": 4, "threads": 1}


def fitted(frame: pd.DataFrame, **training: Any) -> Forecaster:
    return Forecaster.fit(
        frame,
        horizon=4,
        config={"model": {"hidden_size": 8}, "training": {**SHORT, **training}},
        verbose=False,
    )


def rows(choice: Choice, question: str) -> dict[str, Any]:
    return {t.name: t for t in choice.tried if t.question == question}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return seasonal_frame(series=6, rows=80)


@pytest.mark.parametrize("members", [1, 3])
def test_shares_add_up_and_what_is_kept_is_what_forecasts(
    frame: pd.DataFrame, members: int
) -> None:
    forecaster = fitted(frame, members=members, start="none", validation="holdout")
    choice, blend = forecaster.choice, forecaster.config.model.blend
    assert choice.origins > 0
    assert choice.forecasts == 6 * choice.origins
    networks, classical = rows(choice, "networks"), rows(choice, "classical")
    whole = "those kept" if members > 1 else "the network"
    assert networks[whole].share == pytest.approx(1.0 - blend, abs=1e-3)
    assert len(networks) == (members + 1 if members > 1 else 1)
    total = list(classical.values())[-1]
    assert total.share == pytest.approx(blend, abs=1e-3)
    if len(classical) > 1:
        parts = [t.share for name, t in classical.items() if t is not total]
        assert sum(parts) == pytest.approx(blend, abs=0.01)
        assert set(forecaster.config.model.pool) <= set(classical)
    (kept,) = rows(choice, "together").values()
    assert kept.error == pytest.approx(forecaster.swing["ensemble"], rel=0.1)


def test_errors_are_those_of_the_origins(frame: pd.DataFrame) -> None:
    """The slow way: cut the table at each origin and ask the finished forecaster again."""
    forecaster = fitted(frame, start="none", validation="holdout", validation_windows=2)
    season, scaled = forecaster.config.season, {"kept": [], "naive": []}
    for back in (8, 4):
        for _, series in frame.groupby("unique_id"):
            known, actual = series.iloc[:-back], series["y"].to_numpy()[-back:][:4]
            y = known["y"].to_numpy()
            scale = np.abs(y[season:] - y[:-season]).mean()
            kept = forecaster.predict(known)["q0.5"].to_numpy()
            naive = np.resize(y[-season:], 4)
            scaled["kept"].append(metrics.mase(actual[None], kept[None], np.array([scale])).mean())
            scaled["naive"].append(np.abs(actual - naive).mean() / scale)
    (kept,) = rows(forecaster.choice, "together").values()
    (naive,) = rows(forecaster.choice, "beside").values()
    assert naive.error == pytest.approx(np.mean(scaled["naive"]), rel=1e-6)
    assert kept.error == pytest.approx(np.mean(scaled["kept"]), rel=1e-4)


def test_a_network_alone_is_scored_without_classical_forecasts(frame: pd.DataFrame) -> None:
    forecaster = fitted(frame, members=2, start="none", validation="holdout", validation_windows=1)
    shared = forecaster.config.replace(calibrate=False, model={"blend": 0.0})
    season, networks = shared.season, rows(forecaster.choice, "networks")
    for number, network in enumerate(forecaster.networks):
        alone = Ensemble(config=shared, schema=forecaster.reads, networks=[network])
        scaled = []
        for _, series in frame.groupby("unique_id"):
            y, known = series["y"].to_numpy()[:-4], series.iloc[:-4]
            scale = np.abs(y[season:] - y[:-season]).mean()
            told = alone.predict(known)["q0.5"].to_numpy()
            scaled.append(np.abs(series["y"].to_numpy()[-4:] - told).mean() / scale)
        (one,) = (t for name, t in networks.items() if name.endswith(f" {number + 1}"))
        assert one.error == pytest.approx(np.mean(scaled), rel=1e-4)


def test_a_choice_travels_with_its_bundle(frame: pd.DataFrame, tmp_path: Path) -> None:
    forecaster = fitted(frame)
    forecaster.save(tmp_path / "bundle")
    assert repr(Forecaster.load(tmp_path / "bundle").choice) == repr(forecaster.choice)


def test_where_nothing_is_held_back_it_is_said(frame: pd.DataFrame) -> None:
    choice = fitted(frame, start="none", validation="none").choice
    assert not choice.tried
    assert "training.validation = none" in choice.reasons[0]
    few = frame.groupby("unique_id").head(6)
    choice = fitted(few).choice
    assert not choice.tried
    assert "too short" in choice.reasons[0]


def test_ways_to_begin_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    def shortly(config: ForecasterConfig, panel: Panel) -> Resolved:
        # A length of training that a user gave would leave no way to begin from a start.
        return resolve(config, panel).replace(training={"max_steps": 3, "threads": 1})

    monkeypatch.setattr(training, "resolve", shortly)
    monthly = seasonal_frame(series=2, rows=90, freq="MS")
    choice = Forecaster.fit(monthly, horizon=4, verbose=False).choice
    begun = rows(choice, "beginning")
    assert {"shipped", "none"} <= set(begun)
    assert sum(t.kept for t in begun.values()) == 1
    assert any("errs" in reason and "'shipped'" in reason for reason in choice.reasons)
