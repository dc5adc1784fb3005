"""The network in NumPy is the network in torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forecasting.zero import arithmetic, network
from forecasting.zero.patches import cut


@pytest.mark.parametrize("season", [1, 24, 168])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_numpy_and_torch_agree(season: int, layers: int) -> None:
    torch.manual_seed(0)
    made = network.ZeroNetwork(network.Shape(hidden=24, layers=layers)).eval()
    for layer in (made.skip, made.repeat):
        torch.nn.init.normal_(layer.weight, std=0.1)
    twin = arithmetic.Network({k: v.numpy() for k, v in made.state_dict().items()})
    y = np.random.default_rng(0).standard_normal((7, 600)).cumsum(axis=1)
    y[1, 300:] = np.nan
    y[2] = 7.0
    y[3] *= 1e9
    y[4, :590] = np.nan
    y[5] = np.abs(y[5])
    longer = 168 if season == 24 else 1
    patches = cut(y, season, 12, longer, more=3)
    with torch.no_grad():
        slow = made(*(torch.from_numpy(a) for a in patches.inputs))
    for one, other in zip(slow[:3], twin(patches, 4), strict=True):
        np.testing.assert_allclose(one[:, -4:].numpy(), other, rtol=1e-5, atol=1e-5)
