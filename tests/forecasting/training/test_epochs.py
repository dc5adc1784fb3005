"""A loss that is no number ends training well."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

import forecasting.training.module
from forecasting.forecaster import Forecaster
from forecasting.training.epochs import LossError
from tests.forecasting.samples import make_panel, settings


def test_a_loss_that_is_no_number_names_its_series_and_keeps_the_weights_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = forecasting.training.module.training_loss, itertools.count()

    def spoiled(output: Any, batch: dict[str, Tensor], config: Any) -> Tensor:
        loss = honest(output, batch, config)
        bad = bool((batch["series"] == 1).any()) and next(calls) >= 6
        return loss * torch.nan if bad else loss

    monkeypatch.setattr(forecasting.training.module, "training_loss", spoiled)
    every_step = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=1)
    config = settings(training={"max_steps": 40, "epoch_steps": 20, "batch_size": 8})
    match = r"not a number at step \d+, in the batch of series 's1'"
    with pytest.raises(LossError, match=match) as caught:
        Forecaster.train(make_panel([40, 30, 35]), config, device="cpu", callbacks=[every_step])
    assert caught.value.series == ["s1"]
    assert 1 <= caught.value.step <= 20
    assert all(torch.isfinite(v).all() for v in caught.value.state.values())
    assert Path(every_step.best_model_path).is_file()


def test_weights_stay_as_they_were_before_a_loss_that_is_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, calls = forecasting.training.module.training_loss, itertools.count()
    seen: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            seen.append(
                torch.cat([p.detach().ravel().clone() for p in module.network.parameters()])
            )

    def spoiled(output: Any, batch: dict[str, Tensor], config: Any) -> Tensor:
        return honest(output, batch, config) * (torch.nan if next(calls) == 4 else 1.0)

    monkeypatch.setattr(forecasting.training.module, "training_loss", spoiled)
    config = settings(training={"max_steps": 8, "epoch_steps": 8})
    with pytest.raises(LossError, match="step 5,"):
        Forecaster.train(make_panel([40, 30]), config, device="cpu", callbacks=[Watch()])
    assert not torch.equal(seen[2], seen[3])
    for later in seen[4:]:
        assert torch.equal(later, seen[3])
