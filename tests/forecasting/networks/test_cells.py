"""The spelled-out cells against the fused kernels, and the layer-norm LSTM built on them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import Tensor, nn

from forecasting.networks.cells import LayerNormLSTM, LoopGRU, LoopLSTM

PAIRS: dict[str, tuple[Any, Any]] = {"lstm": (LoopLSTM, nn.LSTM), "gru": (LoopGRU, nn.GRU)}


def pair(cell: str, inputs: int, hidden: int) -> tuple[nn.Module, nn.Module]:
    """A spelled-out and a fused layer with the same weights."""
    loop, fused = PAIRS[cell]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(inputs * 10 + hidden)
        slow, quick = loop(inputs, hidden), fused(inputs, hidden, batch_first=True)
    quick.load_state_dict(slow.state_dict())
    return slow, quick


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


shapes = {
    "cell": st.sampled_from(tuple(PAIRS)),
    "batch": st.integers(1, 4),
    "steps": st.integers(1, 12),
    "inputs": st.integers(1, 6),
    "hidden": st.integers(1, 9),
}


@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
@given(**shapes, with_state=st.booleans())
def test_a_loop_cell_equals_the_fused_one(
    cell: str, batch: int, steps: int, inputs: int, hidden: int, with_state: bool
) -> None:
    slow, quick = pair(cell, inputs, hidden)
    x = noise(batch, steps, inputs)
    parts = slow.state_size
    state = tuple(noise(1, batch, hidden, seed=k + 1) for k in range(parts))
    given_state: Any = (state if parts == 2 else state[0]) if with_state else None
    expected, final = quick(x, given_state)
    found, last = slow(x, state if with_state else None)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    final = final if isinstance(final, tuple) else (final,)
    for mine, theirs in zip(last, final, strict=True):
        assert mine.shape == (1, batch, hidden)
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("cell", PAIRS)
def test_gradients_of_loop_and_fused_cells_agree(cell: str) -> None:
    slow, quick = pair(cell, 3, 5)
    x = noise(2, 8, 3)
    grads = []
    for layer in (slow, quick):
        layer(x)[0].square().sum().backward()
        grads.append({name: p.grad for name, p in layer.named_parameters()})
    for name, mine in grads[0].items():
        torch.testing.assert_close(mine, grads[1][name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "layer_norm_lstm"])
def test_two_pieces_with_the_state_handed_over_are_one_reading(cell: str) -> None:
    layer = LayerNormLSTM(3, 5) if cell == "layer_norm_lstm" else PAIRS[cell][0](3, 5)
    x = noise(2, 9, 3)
    whole, final = layer(x)
    first, state = layer(x[:, :4])
    second, last = layer(x[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(last, final, atol=1e-6, rtol=1e-6)


def test_the_layer_norm_lstm_follows_its_equations() -> None:
    layer = LayerNormLSTM(3, 5)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x, h, c = noise(2, 3), noise(2, 5, seed=1), noise(2, 5, seed=2)
    bias = layer.bias_ih_l0 + layer.bias_hh_l0
    drive = layer.norm_input(x @ layer.weight_ih_l0.T) + layer.norm_hidden(h @ layer.weight_hh_l0.T)
    i, f, g, o = (drive + bias).chunk(4, dim=-1)
    expected_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    expected_h = o.sigmoid() * layer.norm_cell(expected_c).tanh()
    hidden, (last_h, last_c) = layer(x[:, None], (h[None], c[None]))
    torch.testing.assert_close(hidden[:, 0], expected_h)
    torch.testing.assert_close(last_h[0], expected_h)
    torch.testing.assert_close(last_c[0], expected_c)


def test_the_layer_norm_lstm_does_not_mind_the_size_of_its_inputs() -> None:
    torch.manual_seed(0)
    layer = LayerNormLSTM(3, 5)
    # Far above the norm's epsilon, beside which only inputs near zero are small.
    x = 100.0 * noise(2, 6, 3)
    small, _ = layer(x)
    large, _ = layer(1000.0 * x)
    torch.testing.assert_close(small, large, atol=1e-4, rtol=1e-4)
