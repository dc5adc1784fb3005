"""The stacked encoder: states in and out, what stands between layers, how it starts."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from docs.copy_task import train
from forecasting.config import ForecasterConfig
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.networks import RecurrentStack
from forecasting.networks.cells import LayerNormLSTM, LoopGRU, LoopLSTM
from forecasting.networks.recurrent import memory_steps
from tests.forecasting.samples import CELLS, make_panel, settings, untrained

SIZES = {
    "cell": st.sampled_from(CELLS),
    "layers": st.integers(1, 4),
    "hidden": st.integers(1, 8),
    "inputs": st.integers(1, 8),
    "batch": st.integers(1, 4),
    "steps": st.integers(1, 10),
}
few = hypothesis_settings(max_examples=25, deadline=None, derandomize=True)


def stack(inputs: int, *, seed: int = 0, **model: Any) -> RecurrentStack:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = settings(model=model, training={"origins": "last"})
        return RecurrentStack(inputs, config.model).eval()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@few
@given(**SIZES)
def test_all_hidden_states_and_the_final_states_of_every_layer_come_back(
    cell: str, layers: int, hidden: int, inputs: int, batch: int, steps: int
) -> None:
    network = stack(inputs, cell=cell, layers=layers, hidden_size=hidden, residual=False)
    out, states = network(noise(batch, steps, inputs))
    assert out.shape == (batch, steps, hidden)
    assert len(states) == layers
    for state in states:
        assert len(state) == (2 if "lstm" in cell else 1)
        assert all(part.shape == (1, batch, hidden) for part in state)
    # Without a residual the last hidden state is the top layer's final h.
    torch.testing.assert_close(out[:, -1], states[-1][0][0])


@few
@given(**SIZES, residual=st.booleans(), norm=st.booleans(), data=st.data())
def test_two_readings_with_the_states_carried_over_are_one(
    cell: str,
    layers: int,
    hidden: int,
    inputs: int,
    batch: int,
    steps: int,
    residual: bool,
    norm: bool,
    data: st.DataObject,
) -> None:
    network = stack(
        inputs, cell=cell, layers=layers, hidden_size=hidden, residual=residual, layer_norm=norm
    )
    x = noise(batch, steps + 1, inputs)
    cut = data.draw(st.integers(1, steps))
    whole, final = network(x)
    first, states = network(x[:, :cut])
    second, last = network(x[:, cut:], states)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(last, final, atol=1e-6, rtol=1e-5)


@few
@given(cell=st.sampled_from(("lstm", "gru")), layers=st.integers(1, 3), residual=st.booleans())
def test_a_stack_of_loop_cells_equals_the_fused_stack(
    cell: str, layers: int, residual: bool
) -> None:
    fused = stack(4, cell=cell, layers=layers, residual=residual)
    spelled = stack(4, cell=cell, layers=layers, residual=residual)
    loop = LoopLSTM if cell == "lstm" else LoopGRU
    for depth, layer in enumerate(fused.layers):
        slow = loop(layer.input_size, layer.hidden_size)
        slow.load_state_dict(layer.state_dict())
        spelled.layers[depth] = slow
    x = noise(3, 7, 4)
    found, states = spelled(x)
    expected, final = fused(x)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(states, final, atol=1e-6, rtol=1e-5)
    # From a given state too.
    torch.testing.assert_close(spelled(x, states)[0], fused(x, final)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_blind_to_what_comes_later(cell: str) -> None:
    network = stack(3, cell=cell, layers=2)
    x = noise(2, 8, 3)
    changed = x.clone()
    changed[:, 5:] += 10.0
    before, after = network(x)[0], network(changed)[0]
    torch.testing.assert_close(before[:, :5], after[:, :5], atol=0.0, rtol=0.0)
    assert (before[:, 5:] - after[:, 5:]).abs().amin() > 0


def test_a_residual_adds_each_layers_input_where_the_widths_agree() -> None:
    network = stack(4, layers=2, residual=True, hidden_size=6)
    x = noise(2, 5, 4)
    first, _ = network.layers[0](x)
    second, _ = network.layers[1](first)
    torch.testing.assert_close(network(x)[0], second + first)


def test_a_norm_stands_behind_every_layer() -> None:
    network = stack(4, layers=2, residual=False, layer_norm=True)
    assert [type(norm) for norm in network.norms] == [nn.LayerNorm] * 2
    out = network(noise(2, 5, 4))[0]
    torch.testing.assert_close(out.mean(-1), torch.zeros(2, 5), atol=1e-5, rtol=0.0)


def test_dropout_stands_between_layers_and_acts_in_training_only() -> None:
    network = stack(6, layers=2, dropout=0.5, residual=False)
    x = noise(2, 5, 6)
    torch.testing.assert_close(network(x)[0], network(x)[0])
    network.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one, states = network(x)
        other, again = network(x)
    assert (one - other).abs().max() > 1e-3
    # The first layer reads the whole input: what is dropped lies behind it.
    torch.testing.assert_close(states[0], again[0], atol=0.0, rtol=0.0)
    single = stack(6, layers=1, dropout=0.5).train()
    torch.testing.assert_close(single(x)[0], single(x)[0])


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_bidirectional_encoder_reads_both_ways(cell: str) -> None:
    network = stack(3, cell=cell, layers=2, bidirectional=True)
    x = noise(2, 7, 3)
    out, states = network(x)
    assert out.shape == (2, 7, 6)
    assert all(part.shape == (2, 2, 3) for state in states for part in state)
    changed = x.clone()
    changed[:, -1] += 1.0
    assert (network(changed)[0][:, 0] - out[:, 0]).abs().max() > 1e-4


def test_a_bidirectional_encoder_may_not_be_trained_at_every_origin() -> None:
    with pytest.raises(ConfigError, match=r"training\.origins = last"):
        ForecasterConfig.parse({"horizon": 2, "model": {"bidirectional": True}})
    allowed = settings(model={"bidirectional": True}, training={"origins": "last"})
    assert untrained(allowed).predict_panel(make_panel([20])).problems == []


def test_a_layer_norm_lstm_is_chosen_trained_and_saved_by_config(tmp_path: Any) -> None:
    panel = make_panel([30, 30])
    forecaster = Forecaster.train(panel, settings(model={"cell": "layer_norm_lstm"}), device="cpu")
    layers = forecaster.networks[0].encoder.layers
    assert all(isinstance(layer, LayerNormLSTM) for layer in layers)
    opened = type(forecaster).load(forecaster.save(tmp_path / "bundle"))
    found, expected = opened.predict_panel(panel), forecaster.predict_panel(panel)
    torch.testing.assert_close(found.quantiles, expected.quantiles, atol=1e-6, rtol=1e-6)


# -- Initialisation --------------------------------------------------------------------------


def gate_bias(layer: Any, gates: int, index: int) -> Tensor:
    """The bias a gate starts with: what is added for x and for h together."""
    bias: Tensor = layer.bias_ih_l0 + layer.bias_hh_l0
    return bias.detach().chunk(gates)[index]


@pytest.mark.parametrize("cell", ["lstm", "layer_norm_lstm"])
def test_the_forget_gate_starts_open(cell: str) -> None:
    for layer in stack(3, cell=cell, layers=2).layers:
        torch.testing.assert_close(gate_bias(layer, 4, 1), torch.ones(6))
        for other in (0, 2, 3):
            torch.testing.assert_close(gate_bias(layer, 4, other), torch.zeros(6))


def test_the_grus_update_gate_starts_open_and_its_bias_can_be_set() -> None:
    for layer in stack(3, cell="gru", layers=2).layers:
        torch.testing.assert_close(gate_bias(layer, 3, 1), torch.ones(6))
    for layer in stack(3, cell="gru", gate_bias=-0.5).layers:
        torch.testing.assert_close(gate_bias(layer, 3, 1), torch.full((6,), -0.5))


@pytest.mark.parametrize(("cell", "gates"), [("lstm", 4), ("gru", 3), ("layer_norm_lstm", 4)])
def test_chrono_spreads_the_memories_over_the_window(cell: str, gates: int) -> None:
    steps = 50
    network = stack(3, cell=cell, hidden_size=64, initialisation="chrono", steps=steps)
    for layer in network.layers:
        memory = gate_bias(layer, gates, 1)
        # A gate held at sigma(log(T - 1)) forgets over about T steps.
        assert memory.min() >= 0.0
        assert memory.max() <= math.log(steps - 1)
        assert memory.exp().std() > steps / 8
        if cell != "gru":
            torch.testing.assert_close(gate_bias(layer, gates, 0), -memory)


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_matrices_start_orthogonal_gate_by_gate(cell: str) -> None:
    for layer in stack(3, cell=cell, layers=2).layers:
        for block in layer.weight_hh_l0.detach().split(6):
            torch.testing.assert_close(block @ block.T, torch.eye(6), atol=1e-5, rtol=0.0)


def test_the_default_start_is_the_librarys_own() -> None:
    layer = stack(3, cell="lstm", initialisation="default").layers[0]
    assert layer.weight_hh_l0.abs().max() <= 6**-0.5
    assert layer.bias_ih_l0.abs().max() <= 6**-0.5


def test_a_gate_that_keeps_a_share_remembers_so_many_steps() -> None:
    kept = torch.tensor([math.exp(-1.0), math.exp(-0.01), 0.5])
    expected = torch.tensor([1.0, 100.0, 1.0 / math.log(2.0)])
    torch.testing.assert_close(memory_steps(kept), expected, rtol=1e-4, atol=0.0)
    for dtype in (torch.float32, torch.float64):
        shut, held = memory_steps(torch.tensor([0.0, 1.0], dtype=dtype))
        assert 0.0 < shut < 0.1
        assert 1e6 < held < math.inf


# -- What it can learn -----------------------------------------------------------------------


def recall_error(cell: str, delay: int, updates: int, initialisation: str = "chrono") -> float:
    """Squared error, as a share of the variance, of recalling a value ``delay`` steps back."""
    return train(cell, delay, updates=updates, initialisation=initialisation)[-1]


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_gated_stack_learns_to_recall_a_value_and_a_vanilla_one_does_not(cell: str) -> None:
    assert recall_error(cell, 30, 250) < 0.05
    assert recall_error("rnn", 30, 250, "default") > 0.8


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_gated_stack_recalls_a_value_from_a_hundred_steps_back(cell: str) -> None:
    assert recall_error(cell, 100, 800) < 0.05
    assert recall_error("rnn", 100, 800, "default") > 0.8
