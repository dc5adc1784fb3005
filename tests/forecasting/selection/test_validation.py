"""Held-back origins: what judges, stops and calibrates a training sees nothing it must not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.training.members import member_seed
from tests.forecasting.samples import MIXES, make_panel, same_weights, settings, with_y


def _validated(**training: Any) -> ForecasterConfig:
    values = {"validation": "refit", "validation_windows": 2, "epoch_steps": 2, "max_steps": 6}
    return settings(training=values | training, calibrate=True)


def _until(panel: Panel, held: int) -> np.ndarray:
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    return np.asarray(position < (panel.lengths - held)[panel.series])


def test_held_back_values_reach_neither_weights_nor_stopping_nor_scaling() -> None:
    """Everything after the validation cutoff may change: what was trained before it stays."""
    panel = make_panel([60, 50], schema=MIXES["all"], horizon=3)
    past = _until(panel, 6)
    y = np.where(past, panel.y, panel.y * 100.0 + 7.0)
    block = {n: np.where(past[:, None], getattr(panel, n), 1.0) for n in ("past", "future")}
    changed = replace(panel, y=y, **block)
    config = _validated(validation="holdout")
    a, b = (Forecaster.train(p, config, device="cpu") for p in (panel, changed))
    assert same_weights(a, b)
    assert a.schema == b.schema
    losses = [[row["train_loss"] for row in f.history] for f in (a, b)]
    assert losses[0] == losses[1]
    # Scores and calibration are what the held-back values are for.
    assert a.swing != b.swing


def test_refit_trains_again_on_everything() -> None:
    panel = make_panel([40, 30])
    refitted = Forecaster.train(panel, _validated(), device="cpu")
    phases = [row["phase"] for row in refitted.history]
    assert phases == ["validation"] * 3 + ["final"] * 3
    plain = Forecaster.train(panel, _validated(validation="none"), device="cpu")
    assert same_weights(refitted, plain)
    assert plain.swing == {}
    assert plain.correction is None
    assert refitted.swing["min"] <= refitted.swing["median"] <= refitted.swing["max"]


def test_a_judged_network_that_has_read_nearly_all_forecasts_along() -> None:
    panel = make_panel([200, 180])
    pair = Forecaster.train(panel, _validated(), device="cpu")
    assert [n.config.training.seed for n in pair.networks] == [0, member_seed(0, 1)]
    asked = Forecaster.train(panel, _validated(members=2), device="cpu")
    assert len(asked.networks) == 2
    assert (
        len(Forecaster.train(panel, _validated(validation="holdout"), device="cpu").networks) == 1
    )


@pytest.mark.parametrize("head", ["quantiles", "student_t"])
def test_sampled_paths_can_be_watched(head: str) -> None:
    config = _validated(patience=1).replace(model={"decoder": "recursive", "head": head})
    forecaster = Forecaster.train(make_panel([60, 50]), config, device="cpu")
    assert all(math.isfinite(r["val_loss"]) for r in forecaster.history if "val_loss" in r)


def test_early_stopping_keeps_the_best_weights_and_refits_for_as_long() -> None:
    panel = make_panel([60, 50, 40])
    config = _validated(patience=1, max_steps=60, learning_rate=1.0, schedule="constant",
                        clip_norm=None, epoch_steps=4, ema=0.0)  # fmt: skip
    forecaster = Forecaster.train(panel, config, device="cpu")
    watched = [r for r in forecaster.history if r["phase"] == "validation"]
    losses = [row["val_loss"] for row in watched]
    best = int(np.argmin(losses))
    assert len(watched) < 15, "a learning rate of 1 must stop early"
    assert best == len(losses) - 2
    final = [r for r in forecaster.history if r["phase"] == "final"]
    assert final[-1]["step"] == watched[best]["step"]


def test_short_series_are_watched_at_their_held_back_origins() -> None:
    from forecasting.training.epochs import watched_windows

    config = _validated(patience=1)
    panel = make_panel([16, 60])
    batches = watched_windows(panel, config, torch.device("cpu"), 6)
    assert len(batches) == 2
    for batch, back in zip(batches, (6, 3), strict=True):
        assert batch["valid"].sum(1).tolist() == [1.0, 1.0]
        rows = batch["y"].shape[1] - 3
        for i in range(2):
            y = batch["y"][i] * batch["unit"][i] + batch["centre"][i]
            stop = panel.offsets[i + 1] - back
            np.testing.assert_allclose(y[rows:], panel.y[stop : stop + 3], rtol=1e-4, atol=1e-3)
            assert float(y[rows - 1]) == pytest.approx(panel.y[stop - 1], abs=1e-3)


def test_one_odd_series_does_not_widen_the_others_intervals() -> None:
    """A series that lay still until the cutoff has no spread to measure its errors in."""
    rng = np.random.default_rng(0)
    y = rng.normal(size=(12, 60)).cumsum(axis=1)
    y[::3, :54] = 5.0
    y[::3, 54:] = 1e6
    panel = with_y(make_panel([60] * 12), y.ravel())
    forecaster = Forecaster.train(panel, _validated(), device="cpu")
    assert forecaster.correction is not None
    assert np.abs(forecaster.correction).max() < 100


def test_one_series_is_calibrated_by_errors_all_along_its_history() -> None:
    """One horizon held back of one series says next to nothing of how far it errs."""
    rng = np.random.default_rng(0)
    walk = with_y(make_panel([80]), rng.normal(size=80).cumsum())
    forecaster = Forecaster.train(walk, _validated(), device="cpu")
    correction = forecaster.correction
    assert correction is not None
    # As far down as up, so that no interval leans to the side the last horizon fell on.
    np.testing.assert_allclose(correction, -correction[:, ::-1])
    assert (correction[:, -1] >= 0).all()
    assert Forecaster.train(walk.tail(5), _validated(), device="cpu").correction is None
    asked_not_to = Forecaster.train(walk, _validated(validation="none"), device="cpu")
    assert asked_not_to.correction is None


def test_constant_series_are_trained_and_saved_without_a_score(tmp_path: Path) -> None:
    panel = make_panel([60, 50])
    forecaster = Forecaster.train(with_y(panel, np.full(110, 7.0)), _validated(), device="cpu")
    assert forecaster.swing == {}
    forecaster.save(tmp_path / "b")
    assert Forecaster.load(tmp_path / "b").swing == {}
