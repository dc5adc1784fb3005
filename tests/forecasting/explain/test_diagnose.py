"""Gradients, gates and memory of networks whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forecasting.errors import ConfigError, DataError
from forecasting.explain.diagnose import diagnose, diagnose_bundle, gate_values, plot_diagnosis
from forecasting.forecaster import Forecaster
from forecasting.windows.prediction import assemble
from tests.forecasting.samples import CELLS, MIXES, make_panel, settings, untrained

STEPS = 12


def fresh(schema: str = "none", **model: Any) -> Forecaster:
    config = settings(model={"steps": STEPS, **model})
    return untrained(config, MIXES[schema], seed=5)


def hold_gate(forecaster: Forecaster, gate: int, bias: float) -> None:
    """Fix one gate of every layer at sigma(bias), whatever comes in."""
    size = forecaster.config.model.hidden_size
    for layer in forecaster.networks[0].encoder.layers:
        rows = slice(gate * size, (gate + 1) * size)
        with torch.no_grad():
            for name, weight in layer.named_parameters():
                weight[rows] = bias if name == "bias_ih_l0" else 0.0


@pytest.mark.parametrize(("cell", "gate", "name"), [("lstm", 1, "forget"), ("gru", 1, "update")])
def test_the_memory_of_a_gate_held_at_a_value_is_that_values_memory(
    cell: str, gate: int, name: str
) -> None:
    forecaster = fresh(cell=cell, segment=2)
    kept = 0.95
    hold_gate(forecaster, gate, float(np.log(kept / (1.0 - kept))))
    found = diagnose(forecaster, make_panel([60, 50]))
    for layer, logged in zip(found.layers, found.summary()["layers"], strict=True):
        np.testing.assert_allclose(layer.memory, -1.0 / np.log(kept), rtol=1e-4)
        assert layer.gates[name].open == 1.0
        assert layer.gates[name].mean == pytest.approx(kept, abs=1e-4)
        assert logged["memory_median_data_steps"] == pytest.approx(2 * 19.496, rel=1e-3)


def test_a_shut_update_gate_cuts_the_past_off_and_an_open_one_lets_it_through() -> None:
    panel = make_panel([60, 50])
    shut, open_ = fresh(cell="gru"), fresh(cell="gru")
    hold_gate(shut, 1, -8.0)
    hold_gate(open_, 1, 3.0)
    # The reset gate shut too: the candidate then sees the input alone.
    hold_gate(shut, 0, -8.0)
    name = "gru, trained"
    assert diagnose(shut, panel).reach(name) <= 2
    assert diagnose(open_, panel).reach(name) == STEPS


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder"])
def test_the_gradient_is_what_a_finite_difference_gives(cell: str, decoder: str) -> None:
    forecaster = fresh(cell=cell, decoder=decoder, skip=False)
    panel = make_panel([40])
    found = diagnose(forecaster, panel)
    network = forecaster.networks[0].double()
    arrays, _, _ = assemble(panel, forecaster.config, STEPS)
    batch = {k: torch.from_numpy(v).double() for k, v in arrays.items()}
    x, shown, _ = network.features(batch)

    def answer(x: torch.Tensor) -> float:
        hidden, states = network.read(x)
        last = torch.tensor([STEPS - 1])
        params = network.decode(batch, hidden[:, -1:], states, shown[:, -1:], last)
        return float(params[..., params.shape[-1] // 2].mean())

    for back in (0, 3):
        slope = np.zeros(x.shape[2])
        for j in range(x.shape[2]):
            moved = x.clone()
            moved[0, STEPS - 1 - back, j] += 1e-4
            slope[j] = (answer(moved) - answer(x)) / 1e-4
        expected = float(np.linalg.norm(slope))
        own = found.gradients[f"{cell}, trained"][back]
        assert own == pytest.approx(expected, rel=1e-2, abs=1e-6)
    forecaster.networks[0].float()


@pytest.mark.parametrize("cell", ["lstm", "gru", "layer_norm_lstm"])
def test_the_gates_lie_between_shut_and_open_and_account_for_all_activations(cell: str) -> None:
    forecaster = fresh(cell=cell, layers=3)
    panel = make_panel([40, 30])
    found = diagnose(forecaster, panel)
    assert len(found.layers) == 3
    names = {"forget", "input", "output"} if "lstm" in cell else {"reset", "update"}
    for layer in found.layers:
        assert set(layer.gates) == names
        assert all(0.0 <= g.shut <= 1.0 - g.open <= 1.0 for g in layer.gates.values())
        assert layer.memory.shape == (6,)
        assert (np.diff(layer.memory) >= 0).all()
    arrays, _, _ = assemble(panel, forecaster.config, STEPS)
    batch = {k: torch.from_numpy(v) for k, v in arrays.items()}
    values = gate_values(forecaster.networks[0], batch)
    assert all(v.shape == (2, STEPS, 6) for gates in values for v in gates.values())


def test_the_layer_norm_gates_rebuild_the_layers_own_cell_state() -> None:
    forecaster = fresh(cell="layer_norm_lstm", layers=1)
    arrays, _, _ = assemble(make_panel([40]), forecaster.config, 1)
    batch = {k: torch.from_numpy(v) for k, v in arrays.items()}
    network = forecaster.networks[0]
    (gates,) = gate_values(network, batch)
    with torch.no_grad():
        x, _, _ = network.features(batch)
        _, ((_, c),) = network.read(x)
    # After one step from zeros c = i * tanh(g), so |c| can never pass the input gate.
    assert (np.abs(c[0].numpy()) <= gates["input"][:, 0] + 1e-6).all()


def test_a_vanilla_network_fades_where_a_gated_one_does_not() -> None:
    config = settings(model={"cell": "lstm", "steps": 40, "hidden_size": 16, "gate_bias": 3.0})
    fitted = Forecaster.fit(make_panel([80, 80]).to_frame(), horizon=3, config=config, device="cpu")
    found = diagnose(fitted, make_panel([80, 80]))
    assert found.reach("lstm, trained") > found.reach("vanilla rnn, untrained")


def test_a_vanilla_forecaster_is_diagnosed_without_gates(tmp_path: Path) -> None:
    found = diagnose(fresh(cell="rnn"), make_panel([40]))
    assert all(not layer.gates and not len(layer.memory) for layer in found.layers)
    assert json.loads(json.dumps(found.summary()))["layers"] == [{"gates": {}}, {"gates": {}}]
    assert plot_diagnosis(found, tmp_path / "rnn.png").stat().st_size > 5_000


def test_a_bundle_is_diagnosed_from_a_table_a_panel_or_nothing(tmp_path: Path) -> None:
    forecaster = fresh("all", segment=2)
    folder = forecaster.save(tmp_path / "bundle")
    panel = make_panel([40, 35], schema=MIXES["all"])
    by_panel = diagnose_bundle(folder, panel, tmp_path / "out" / "diagnosis.png")
    image = (tmp_path / "out" / "diagnosis.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert by_panel.series == 2
    made_up = diagnose_bundle(folder)
    assert made_up.steps == STEPS
    by_table = diagnose_bundle(folder, panel.select([0, 1]).to_frame())
    assert by_table.summary()["data_steps"] == by_panel.summary()["data_steps"] == 2 * STEPS


def test_diagnosing_leaves_the_forecaster_as_it_was() -> None:
    forecaster, panel = fresh(), make_panel([40])
    before = forecaster.predict_panel(panel).quantiles
    state = torch.random.get_rng_state()
    diagnose(forecaster, panel)
    np.testing.assert_array_equal(forecaster.predict_panel(panel).quantiles, before)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(layer._forward_pre_hooks for layer in forecaster.networks[0].encoder.layers)


def test_what_cannot_be_diagnosed_is_refused() -> None:
    both_ways = settings(model={"bidirectional": True}, training={"origins": "last"})
    with pytest.raises(ConfigError, match="bidirectional"):
        diagnose(untrained(both_ways), make_panel([40]))
    with pytest.raises(ConfigError, match="there are 0 to 0"):
        diagnose(fresh(), make_panel([40]), member=1)
    with pytest.raises(DataError, match="no rows"):
        diagnose(fresh(), make_panel([40]).select([]))
