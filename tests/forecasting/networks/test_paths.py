"""Sample paths beside paths that are read anew, from their first row, at every step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from forecasting.networks.network import ForecastNetwork
from forecasting.networks.output import tensors_of
from forecasting.networks.paths import stratified_draws
from forecasting.windows.batch import Batch, batch_of, cut, named
from forecasting.windows.prediction import assemble
from tests.forecasting.samples import LEVELS, MIXES, make_panel, settings, untrained


def slow_paths(network: ForecastNetwork, batch: Batch[Tensor]) -> np.ndarray:
    """[N, paths, H] each series and path alone, its whole window read again at every step."""
    count, rows = batch["y"].shape
    horizon, paths = network.draws.shape
    out = np.zeros((count, paths, horizon))
    for series in range(count):
        for path in range(paths):
            window = {name: value[series : series + 1] for name, value in named(batch).items()}
            for k in range(horizon):
                part = cut(batch_of(window), 0, rows + k, ahead=1)
                x, shown, scale = network.features(part)
                hidden, states = network.read(x)
                last = torch.tensor([x.shape[1] - 1])
                params = network.decode(part, hidden[:, -1:], states, shown[:, -1:], last)
                value = network.head.draw(params[:, 0, 0], network.draws[k, path])
                value = value * scale.spread[:, -1, 0] + scale.level[:, -1, 0]
                out[series, path, k] = value.item()
                window["y"] = torch.cat([window["y"], value[None]], dim=1)
                window["mask"] = torch.cat([window["mask"], torch.ones(1, 1)], dim=1)
                for name in ("past", "past_mask"):
                    if name in window:
                        missing = torch.zeros_like(window[name][:, :1])
                        window[name] = torch.cat([window[name], missing], dim=1)
    return out


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("head", ["quantiles", "student_t"])
@pytest.mark.parametrize("mix", ["none", "all"])
def test_paths_are_those_of_windows_read_anew(cell: str, head: str, mix: str) -> None:
    model: dict[str, Any] = {"cell": cell, "head": head, "samples": 10, "cycle": 5}
    config = settings(model={**model, "decoder": "recursive", "calendar": True})
    forecaster = untrained(config, MIXES[mix])
    network = forecaster.networks[0]
    arrays, _, _ = assemble(make_panel([30, 6], schema=MIXES[mix]), config, config.model.steps or 1)
    batch = tensors_of(arrays)
    with torch.no_grad():
        output = network(batch)
        slow = np.sort(slow_paths(network, batch), axis=1)
    position = np.clip(np.array(LEVELS) * 10 - 0.5, 0, 9)
    below = np.minimum(np.floor(position).astype(int), 8)
    share = np.minimum(position - below, 1.0)[:, None]
    wanted = slow[:, below] * (1.0 - share) + slow[:, below + 1] * share
    np.testing.assert_allclose(
        output.params[:, 0].numpy(), wanted.transpose(0, 2, 1), rtol=1e-4, atol=1e-4
    )


def test_each_step_has_one_draw_in_every_stratum() -> None:
    draws = stratified_draws(50, 4)
    normal = torch.distributions.Normal(0.0, 1.0)
    strata = (normal.cdf(draws) * 50).floor().sort(dim=1).values
    assert torch.equal(strata, torch.arange(50.0).expand(4, -1))
    assert not torch.equal(draws[0], draws[1])
