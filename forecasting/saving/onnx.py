"""The ONNX graph of all members, and a golden input that every load can be checked with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from forecasting.ensemble import Ensemble
from forecasting.hardware.switches import errors_only, no_warnings
from forecasting.networks.output import stack, tensors_of
from forecasting.prediction.engine import ARITHMETIC
from forecasting.prediction.example import example_panel
from forecasting.quantiles import ASKED
from forecasting.windows.batch import TIME, named
from forecasting.windows.prediction import assemble


class Members(nn.Module):
    def __init__(self, networks: list[Any], names: list[str]) -> None:
        super().__init__()
        self.networks, self.names = nn.ModuleList(networks), names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch = dict(zip(self.names, inputs, strict=True))
        return stack([network(batch) for network in self.networks])


def export_onnx(forecaster: Ensemble, path: Path) -> None:
    """Write one graph with every member; batch and number of recurrent steps stay free."""
    panel = forecaster.as_read(example_panel(forecaster, 2))
    batch, _, _ = assemble(panel, forecaster.config, 2)
    names = [n for n in batch if n not in ("centre", "unit")]
    example = tuple(named(tensors_of(batch))[n] for n in names)
    # The runtime plans its memory by the axes' names: what differs in length must in name too.
    axes: dict[str, dict[int, str]] = {n: {0: "batch"} for n in names}
    for name in TIME.keys() & names:
        axes[name][1] = TIME[name]
    axes |= {n: {0: "batch"} for n in ("params", "level", "scale")}
    # The live networks may be forecasting in another thread.
    members = Members(copy.deepcopy(forecaster.networks), names).cpu().eval()
    with errors_only("torch.onnx"), no_warnings(), torch.no_grad():
        # The tracing exporter takes a tenth of a second where the newer one takes five, and both
        # write the fused LSTM and GRU operators.
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


def golden(forecaster: Ensemble) -> dict[str, Any]:
    """Input and forecast of one made-up series, to be answered again after every load."""
    panel = example_panel(forecaster, 1)
    forecast = forecaster.predict_panel(panel, quantiles=ASKED)
    return {
        "mean": forecast.mean[0].tolist(),
        "quantiles": forecast.quantiles[0].tolist(),
        "levels": list(ASKED),
        "arithmetic": ARITHMETIC,
    }
