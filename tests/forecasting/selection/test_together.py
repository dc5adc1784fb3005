"""The dependence that training learns, and keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forecasting.copula.learning import USUAL
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from tests.forecasting.samples import MIXES, asked, make_panel, with_y

HELD = {"validation": "refit", "validation_windows": 4, "max_steps": 5}


def moved_together(share: float) -> Forecaster:
    """Trained on white noise of which a share moves all series at once."""
    panel = make_panel([150] * 12, schema=MIXES["static"])
    rng = np.random.default_rng(0)
    y = np.sqrt(share) * np.tile(rng.normal(size=150), 12)
    panel = with_y(panel, y + np.sqrt(1.0 - share) * rng.normal(size=12 * 150))
    return Forecaster.train(panel, asked(training=HELD, calibrate=True))


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.15), (0.8, 0.5, 0.9)])
def test_training_learns_what_moves_all_series(
    share: float, least: float, most: float, tmp_path: Path
) -> None:
    forecaster = moved_together(share)
    learned = forecaster.dependence
    assert learned.learned
    found = sum(learned.shared.values()) + sum(sum(w.values()) for w in learned.groups.values())
    assert least <= found <= most
    forecaster.save(tmp_path / "b")
    assert Predictor.load(tmp_path / "b").dependence == learned
    again = Forecaster.load(tmp_path / "b").refit(
        make_panel([150] * 12, schema=MIXES["static"]), backs=[3, 6], steps=2
    )
    assert again.dependence.learned
    assert again.dependence != learned


def test_what_holds_nothing_back_has_the_usual_dependence(tmp_path: Path) -> None:
    forecaster = Forecaster.train(make_panel([60] * 3), asked())
    assert forecaster.dependence == USUAL
    forecaster.save(tmp_path / "b")
    assert Predictor.load(tmp_path / "b").dependence == USUAL
