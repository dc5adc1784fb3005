"""The ONNX graph of all members, and a golden input that every load can be checked with."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.ensemble import Ensemble
from forecasting.prediction.engine import ARITHMETIC
from forecasting.prediction.example import example_panel
from forecasting.windows.prediction import assemble

# The time axis of each input that has one. History and history with horizon differ in length, and
# the runtime plans its memory by these names: they must not be one.
_TIME_AXES = {
    **dict.fromkeys(("y", "mask", "past", "past_mask"), "rows"),
    **dict.fromkeys(("time", "future", "future_mask"), "rows_and_horizon"),
}


class Members(nn.Module):
    def __init__(self, networks: list[Any], names: list[str]) -> None:
        super().__init__()
        self.networks, self.names = nn.ModuleList(networks), names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch = dict(zip(self.names, inputs, strict=True))
        outputs = [network(batch) for network in self.networks]
        return (
            torch.stack([o.params[:, 0] for o in outputs], dim=1),
            torch.stack([o.level[:, 0, 0] for o in outputs], dim=1),
            torch.stack([o.scale[:, 0, 0] for o in outputs], dim=1),
        )


def export_onnx(forecaster: Ensemble, path: Path) -> None:
    """Write one graph with every member; batch and number of recurrent steps stay free."""
    batch, _, _ = assemble(example_panel(forecaster, 2), forecaster.config, 2)
    names = [n for n in batch if n not in ("centre", "unit")]
    example = tuple(torch.from_numpy(np.ascontiguousarray(batch[n])) for n in names)
    axes = {n: {0: "batch"} | ({1: _TIME_AXES[n]} if n in _TIME_AXES else {}) for n in names}
    axes |= {n: {0: "batch"} for n in ("params", "level", "scale")}
    members = Members(forecaster.networks, names).cpu().eval()
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            # The tracing exporter takes a tenth of a second where the newer one takes five, and
            # both write the fused LSTM and GRU operators.
            torch.onnx.export(
                members,
                example,
                str(path),
                input_names=names,
                output_names=["params", "level", "scale"],
                dynamic_axes=axes,
                dynamo=False,
                opset_version=17,
            )
    finally:
        logger.setLevel(level)
    forecaster.to(str(forecaster.device))


def golden(forecaster: Ensemble) -> dict[str, Any]:
    """Input and forecast of one made-up series, to be answered again after every load."""
    panel = example_panel(forecaster, 1)
    forecast = forecaster.predict_panel(panel, quantiles=(0.1, 0.5, 0.9))
    return {
        "mean": forecast.mean[0].tolist(),
        "quantiles": forecast.quantiles[0].tolist(),
        "levels": [0.1, 0.5, 0.9],
        "arithmetic": ARITHMETIC,
    }
