"""The network in torch: no state sees what it forecasts, and units are nothing to it."""

from __future__ import annotations

import numpy as np
import torch

from forecasting.zero.network import Shape, ZeroNetwork
from forecasting.zero.patches import Patches, cut


def network() -> ZeroNetwork:
    torch.manual_seed(1)
    made = ZeroNetwork(Shape(hidden=16, layers=2)).eval()
    for layer in (made.skip, made.repeat):
        torch.nn.init.normal_(layer.weight, std=0.1)
    return made


def run(made: ZeroNetwork, patches: Patches) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        found: tuple[torch.Tensor, ...] = made(*(torch.from_numpy(a) for a in patches.inputs))
    return found


def test_what_comes_later_changes_nothing_before() -> None:
    y = np.random.default_rng(0).standard_normal((2, 6 * 24)).cumsum(axis=1)
    made, patches = network(), cut(y, 24, 6)
    changed = cut(y, 24, 6)
    changed.x[:, 4:] += 3.0
    changed.lag[:, 4:] -= 1.0
    before, after = run(made, patches), run(made, changed)
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one[:, :4], other[:, :4])
        assert not torch.equal(one[:, 4:], other[:, 4:])


def test_quantiles_rise() -> None:
    y = np.random.default_rng(0).standard_normal((5, 100)) * 100.0
    quantiles = run(network(), cut(y, 7, 3))[0]
    assert (quantiles.diff(dim=-1) > 0).all()


def test_units_and_levels_go_through() -> None:
    y = np.random.default_rng(0).standard_normal((2, 96)).cumsum(axis=1)
    made = network()
    found = []
    for about, unit in ((0.0, 1.0), (-700.0, 30.0)):
        patches = cut(about + unit * (y - y.max() - 1.0), 12, 4)
        said, level, spread, _ = run(made, patches)
        inside = level[..., None, None] + spread[..., None, None] * said
        values = patches.centre[:, None, None, None] + patches.unit[
            :, None, None, None
        ] * inside.numpy().astype(np.float64)
        found.append((values - about) / unit)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3)
