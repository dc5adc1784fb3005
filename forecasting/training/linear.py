"""Members whose median is linear in the window: solved in one go, only the spread is trained."""

from __future__ import annotations

import math

import torch

from forecasting.networks import ForecastNetwork
from forecasting.training.losses import following, spread_share
from forecasting.windows.training import Windows, WindowStream

# Origins that the sums are taken over.
ORIGINS = 20_000
# Windows gathered at once.
WINDOWS_AT_ONCE = 64
# The ridge, as a share of the mean square of the inputs.
RIDGE = 1.0
# Origins needed per input.
ENOUGH = 4


@torch.no_grad()
def solve_linear_path(network: ForecastNetwork, windows: Windows, seed: int) -> bool:
    """Set ``network.skip`` to the ridge regression of the horizon on the window, and keep it so.

    The recurrent part is left the spread about it: its share of the median is nothing, and stays
    so in training. Inputs and targets are scaled by what each origin knew, and weigh as in the
    training loss. Origins with holes in their horizon are left out.

    Parameters
    ----------
    windows : those the network will be trained on. seed : of their draw.

    Returns
    -------
    Whether it was done: False where there are too few whole origins, and the path is as it was.
    """
    if network.skip is None:
        return False
    network.to(windows.device)
    steps, inputs = network.skip.weight.shape
    gram = torch.zeros(inputs + 1, inputs + 1, dtype=torch.float64, device=windows.device)
    cross = torch.zeros(inputs + 1, steps, dtype=torch.float64, device=windows.device)
    seen = 0
    batches = math.ceil(ORIGINS / (WINDOWS_AT_ONCE * network.geometry.steps))
    for batch in WindowStream(windows, WINDOWS_AT_ONCE, batches, seed):
        _, shown, scale = network.features(network.history(batch))
        origins = torch.arange(shown.shape[1], device=shown.device)
        values, counted = following(origins, steps, batch, network.geometry)
        whole = counted.all(dim=-1)
        target = ((values - scale.level) / scale.spread)[whole].double()
        weight = spread_share(scale.spread, batch)[whole].double()
        x = torch.cat([shown[whole].double(), torch.ones_like(weight)], dim=1)
        gram += (weight * x).T @ x
        cross += (weight * x).T @ target
        seen += len(x)
    # The same origin may have been drawn more than once.
    if min(seen, int(windows.length.sum())) < ENOUGH * inputs:
        return False
    gram += RIDGE * gram.trace() / len(gram) * torch.eye(len(gram), device=gram.device)
    solved = torch.linalg.solve(gram, cross).float()
    network.skip.weight.copy_(solved[:-1].T)
    network.skip.bias.copy_(solved[-1])
    keep_linear_path(network)
    return True


def is_solved(network: ForecastNetwork) -> bool:
    """Whether a network's median was solved: all that its decoder says of it is 0."""
    if network.skip is None:
        return False
    silent = _heard(network) == 0.0
    return not bool(network.decoder.out.weight[silent].any())


@torch.no_grad()
def keep_linear_path(network: ForecastNetwork) -> None:
    """Leave the linear path as it is: the decoder's numbers for the median, or the location, are 0
    and get no gradient.
    """
    assert network.skip is not None
    network.skip.requires_grad_(False)
    out, heard = network.decoder.out, _heard(network)
    for parameter, mask in ((out.weight, heard[:, None]), (out.bias, heard)):
        parameter.mul_(mask)
        parameter.register_hook(mask.mul)  # type: ignore[no-untyped-call]


def _heard(network: ForecastNetwork) -> torch.Tensor:
    """[R] 1 for each of the decoder's numbers but those of the median, or the location."""
    out = network.decoder.out
    at = torch.arange(out.out_features, device=out.weight.device) % network.head.size
    return (at != network.head.middle).float()
