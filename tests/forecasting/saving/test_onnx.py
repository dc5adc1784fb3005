"""Exporting looks at the networks and leaves them as they are, whatever happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from forecasting.forecaster import Forecaster
from forecasting.saving.onnx import export_onnx
from tests.forecasting.samples import make_panel, quantiles, settings, untrained


def facts(forecaster: Forecaster) -> list[Any]:
    """Device, dtype, address and flags of everything that a network holds."""
    parts = [m for network in forecaster.networks for m in network.modules()]
    weights = [t for network in forecaster.networks for t in network.parameters()]
    return [
        [m.training for m in parts],
        [(t.device, t.dtype, t.data_ptr(), t.requires_grad) for t in weights],
    ]


def raise_an_error(*_: Any, **__: Any) -> None:
    raise RuntimeError("no room")


@pytest.mark.parametrize("fails", [False, True])
def test_the_networks_that_forecast_stay_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    forecaster = untrained(settings(), members=2)
    # Not as a saved one would be: whatever they are, they stay.
    forecaster.networks[0].train()
    forecaster.networks[1].requires_grad_(True)
    before = facts(forecaster)
    moved: list[nn.Module] = []
    plain = nn.Module._apply

    def watched(self: nn.Module, *arguments: Any, **named: Any) -> nn.Module:
        moved.append(self)
        return plain(self, *arguments, **named)

    monkeypatch.setattr(nn.Module, "_apply", watched)
    if fails:
        monkeypatch.setattr(torch.onnx, "export", raise_an_error)
        with pytest.raises(RuntimeError, match="no room"):
            export_onnx(forecaster, tmp_path / "model.onnx")
    else:
        export_onnx(forecaster, tmp_path / "model.onnx")
    assert facts(forecaster) == before
    live = {id(m) for network in forecaster.networks for m in network.modules()}
    assert not live & {id(m) for m in moved}


def test_an_ensemble_on_another_device_is_another_ensemble() -> None:
    forecaster = untrained(settings(), members=2)
    panel = make_panel([30, 20])
    before, held = quantiles(forecaster, panel), facts(forecaster)
    moved = forecaster.to("meta")
    assert type(moved) is type(forecaster)
    assert {p.device.type for n in moved.networks for p in n.parameters()} == {"meta"}
    assert (moved.device.type, forecaster.device.type) == ("meta", "cpu")
    assert facts(forecaster) == held
    assert (quantiles(forecaster, panel) == before).all()


def test_an_ensemble_moved_runs_its_own_networks() -> None:
    forecaster = untrained(settings())
    panel = make_panel([30, 20])
    copy = forecaster.to("cpu")
    before = quantiles(copy, panel)
    with torch.no_grad():
        for parameter in forecaster.networks[0].parameters():
            parameter.zero_()
    assert (quantiles(copy, panel) == before).all()
    assert not (quantiles(forecaster, panel) == before).all()
