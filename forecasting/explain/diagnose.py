"""What a trained network does with time: does the signal reach the past, what do the gates hold?

Three questions, answered in arrays (`Diagnosis`), in JSON (`Diagnosis.summary`) and in one picture
(`plot_diagnosis`), all three of `forecasting.explain.diagnosis`:

* *Gradient by time step*: how strongly the forecast depends on the input of each recurrent step,
  beside a vanilla ``nn.RNN`` of the same size, whose signal fades.
* *Saturation*: how often each gate is all but shut or all but open.
* *Memory*: how many steps each unit of each layer keeps what it has read, from its forget or
  update gate.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock
from forecasting.ensemble import Ensemble
from forecasting.errors import ConfigError, DataError
from forecasting.explain import reference
from forecasting.explain.diagnosis import (
    OPEN,
    SHUT,
    UNTRAINED,
    Diagnosis,
    GateUse,
    LayerDiagnosis,
    plot_diagnosis,
)
from forecasting.hardware.torch_state import own_randomness
from forecasting.networks.cells import LayerNormLSTM
from forecasting.networks.network import ForecastNetwork
from forecasting.networks.output import tensors_of
from forecasting.networks.recurrent import memory_steps
from forecasting.parts import CELLS
from forecasting.prediction.example import example_panel
from forecasting.saving.save import load
from forecasting.windows.batch import Batch
from forecasting.windows.prediction import assemble

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Diagnosis", "diagnose", "diagnose_bundle", "gate_values", "plot_diagnosis"]

# Series looked at: enough for steady means.
SERIES = 64
# The gate that decides how much of the state is kept.
MEMORY_GATE = {name: cell.memory for name, cell in CELLS.items() if cell.memory is not None}
GATES = {
    "lstm": ("forget", "input", "output"),
    "layer_norm_lstm": ("forget", "input", "output"),
    "gru": ("reset", "update"),
}


def diagnose(
    forecaster: Ensemble,
    panel: Panel,
    *,
    member: int = 0,
    beside: Mapping[str, Ensemble] | None = None,
) -> Diagnosis:
    """Look into one member at the ends of a panel's longest series.

    Parameters
    ----------
    panel : with the model's covariates; the `SERIES` longest of its series are read.
    beside : further forecasters whose gradients are shown too, for instance one trained with
        ``cell = rnn``. A vanilla RNN of the same size as PyTorch starts it is always shown.

    Raises
    ------
    DataError : a panel that does not fit the model. ConfigError : a bidirectional encoder, or no
        such member.
    """
    if forecaster.config.model.bidirectional:
        raise ConfigError(
            "model.bidirectional = true reads each window both ways, so a step has no past side "
            "to look into: diagnose a forecaster with model.bidirectional = false"
        )
    if not 0 <= member < len(forecaster.networks):
        raise ConfigError(f"member = {member}: there are 0 to {len(forecaster.networks) - 1}")
    batch, used = _windows(forecaster, panel)
    network = _copy_of(forecaster.networks[member])
    cell = network.config.model.cell
    gradients = {f"{cell}, trained": _gradient(network, batch)}
    for name, other in (beside or {}).items():
        theirs, _ = _windows(other, panel)
        gradients[name] = _gradient(_copy_of(other.networks[0]), theirs)
    vanilla = network.config.replace(model={"cell": "rnn", "initialisation": "default"})
    with own_randomness():
        torch.manual_seed(0)
        fresh = ForecastNetwork(vanilla, network.schema, network.calendar).eval()
    gradients[UNTRAINED] = _gradient(fresh, batch)
    return Diagnosis(
        cell=cell,
        segment=forecaster.geometry.segment,
        freq=forecaster.freq.alias,
        series=used,
        gradients=gradients,
        layers=tuple(_layer(gates, cell) for gates in gate_values(network, batch)),
    )


def diagnose_bundle(
    bundle_dir: str | Path,
    data: Panel | pd.DataFrame | None = None,
    out_png: str | Path | None = None,
    *,
    member: int = 0,
) -> Diagnosis:
    """Diagnose a saved forecaster on a panel or long table, and draw it to ``out_png``.

    Without data the made-up seasonal series that every bundle can forecast are read.
    """
    forecaster = load(bundle_dir)
    if data is None:
        panel = example_panel(forecaster, 4)
    elif isinstance(data, Panel):
        panel = data
    else:
        panel = forecaster.panel_of(data)
    diagnosis = diagnose(forecaster, panel, member=member)
    if out_png is not None:
        plot_diagnosis(diagnosis, out_png)
    return diagnosis


def gate_values(network: ForecastNetwork, batch: Batch[Tensor]) -> list[dict[str, Array]]:
    """Per layer, bottom first, the activations [B, S, H] of its gates by name."""
    seen: list[Tensor] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        for layer in network.encoder.layers
    ]
    with torch.no_grad():
        x, _, _ = network.features(batch)
        network.read(x)
    for hook in hooks:
        hook.remove()
    return [
        _gates(layer, x, network.config.model.cell)
        for layer, x in zip(network.encoder.layers, seen, strict=True)
    ]


def _windows(forecaster: Ensemble, panel: Panel) -> tuple[Batch[Tensor], int]:
    """The last windows of the longest series, as the network takes them."""
    forecaster.check(panel, 1, (), extend=False)
    wall = on_wall_clock(panel)
    panel = panel if wall is None else wall.panel
    usable = forecaster.geometry.steps_for(panel.lengths)
    if len(panel) == 0 or panel.rows == 0:
        raise DataError("the panel has no rows to diagnose the model with")
    steps = int(usable.max())
    chosen = np.flatnonzero(usable == steps)[:SERIES]
    arrays, _, _ = assemble(forecaster.as_read(panel).select(chosen), forecaster.config, steps)
    return tensors_of(arrays), len(chosen)


def _copy_of(network: ForecastNetwork) -> ForecastNetwork:
    """On the CPU and ours alone: hooks and gradients must not meet a forecast under way."""
    return copy.deepcopy(network).cpu().eval()


def _gradient(network: ForecastNetwork, batch: Batch[Tensor]) -> Array:
    """[S] mean norm of d(mean scaled median over the horizon) / d(input), last step first.

    The linear skip is left out: it sees the last step alone, and would only raise that one.
    """
    inputs, shown, _ = network.features(batch)
    x = inputs.detach().requires_grad_()
    hidden, states = network.read(x)
    origin = torch.tensor([x.shape[1] - 1])
    params = network.decode(batch, hidden[:, -1:], states, shown[:, -1:].detach(), origin)
    answer = network.head.point(params).mean(dim=-1).sum()
    (gradient,) = torch.autograd.grad(answer, x)
    return np.asarray(gradient.norm(dim=-1).mean(dim=0).flip(0).numpy(), dtype=np.float64)


def _gates(layer: nn.Module, x: Tensor, cell: str) -> dict[str, Array]:
    if isinstance(layer, LayerNormLSTM):
        return _layer_norm_gates(layer, x)
    tensors = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    trace = reference.read(x.numpy().astype(np.float64), reference.layer_of(tensors, cell))
    return {name: getattr(trace, name) for name in GATES.get(cell, ())}


@torch.no_grad()
def _layer_norm_gates(layer: LayerNormLSTM, x: Tensor) -> dict[str, Array]:
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    zeros = x.new_zeros(x.shape[0], layer.hidden_size)
    state: tuple[Tensor, ...] = (zeros, zeros)
    gates: list[Tensor] = []
    for t in range(x.shape[1]):
        drive = layer.norm_input(x[:, t] @ layer.weight_ih_l0.T) + bias
        drive = drive + layer.norm_hidden(state[0] @ layer.weight_hh_l0.T)
        gates.append(torch.sigmoid(drive))
        state = layer.step(x[:, t], state)
    i, f, _, o = torch.stack(gates, dim=1).chunk(4, dim=-1)
    return {"forget": f.numpy(), "input": i.numpy(), "output": o.numpy()}


def _layer(gates: dict[str, Array], cell: str) -> LayerDiagnosis:
    uses = {
        name: GateUse(
            shut=float((value < SHUT).mean()),
            open=float((value > OPEN).mean()),
            mean=float(value.mean()),
        )
        for name, value in gates.items()
    }
    memory = np.empty(0)
    if cell in MEMORY_GATE:
        # What is left after a stretch is the product of its gates: their geometric mean counts.
        shares = np.exp(np.log(np.maximum(gates[MEMORY_GATE[cell]], 1e-6)).mean(axis=(0, 1)))
        memory = np.sort(memory_steps(torch.from_numpy(shares)).numpy())
    return LayerDiagnosis(uses, memory)
