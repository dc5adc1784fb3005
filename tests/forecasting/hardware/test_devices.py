"""Devices by their names, and loggers that are left as they were."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from forecasting.errors import ConfigError, TrainingError
from forecasting.forecaster import Forecaster
from forecasting.hardware.devices import pick_device
from tests.forecasting.samples import make_panel, settings, untrained


def test_a_bundle_is_loaded_where_training_would_be_or_refused_in_the_same_words(
    tmp_path: Path,
) -> None:
    untrained(settings()).save(tmp_path / "bundle")
    assert Forecaster.load(tmp_path / "bundle", device="auto").device == pick_device("auto")
    with pytest.raises(ConfigError, match="device = tpu: choose auto, cpu, cuda"):
        Forecaster.load(tmp_path / "bundle", device="tpu")
    if not torch.cuda.is_available():
        with pytest.raises(TrainingError, match="shows no GPU"):
            Forecaster.load(tmp_path / "bundle", device="cuda")


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.NOTSET])
def test_a_fit_leaves_the_loggers_of_lightning_as_they_were(level: int) -> None:
    loggers = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(level)
        Forecaster.train(make_panel([30]), settings(training={"max_steps": 2}), device="cpu")
        assert [logger.level for logger in loggers] == [level, level]
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)
