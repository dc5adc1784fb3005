"""A forecast made in one go beside one that is finished once its history was read."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from forecasting.networks.decoders import DECODERS
from forecasting.networks.output import answer, stack, tensors_of
from forecasting.windows.batch import cut
from forecasting.windows.prediction import assemble
from tests.forecasting.samples import MIXES, make_panel, settings, untrained


@pytest.mark.parametrize("decoder", sorted(DECODERS))
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("mix", ["none", "all"])
def test_what_is_read_and_finished_is_what_one_call_forecasts(
    decoder: str, cell: str, mix: str
) -> None:
    model: dict[str, Any] = {"decoder": decoder, "cell": cell, "calendar": True, "cycle": 5}
    config = settings(model=model)
    network = untrained(config, MIXES[mix]).networks[0]
    arrays, _, _ = assemble(make_panel([30, 20], schema=MIXES[mix]), config, 4)
    batch = tensors_of(arrays)
    with torch.no_grad():
        whole = network(batch)
        hidden, states = network.read(network.features(batch)[0])
        rows, reach = batch["y"].shape[1], network.geometry.reach
        for seen in (batch, cut(batch, rows - reach, rows)):
            finished = network.finish(seen, hidden[:, -1:], states)
            for one, other in zip(whole[:3], finished[:3], strict=True):
                torch.testing.assert_close(one, other)


@pytest.mark.parametrize("decoder", sorted(DECODERS))
def test_the_last_of_every_origin_is_the_last_origin(decoder: str) -> None:
    config = settings(model={"decoder": decoder, "steps": 6})
    network = untrained(config).networks[0]
    arrays, _, _ = assemble(make_panel([30, 20]), config, 6)
    batch = tensors_of(arrays)
    with torch.no_grad():
        every = network(batch, every_origin=True)
        hidden, states = network.read(network.features(batch)[0])
        _, shown, _ = network.features(batch)
        last = torch.tensor([5])
        wanted = network.decode(batch, hidden[:, -1:], states, shown[:, -1:], last)
    assert every.origins[-1] == 5
    torch.testing.assert_close(every.params[:, -1:], wanted)
    assert every.params.shape[1] == len(every.origins) == every.level.shape[1]


def test_members_are_stacked_in_their_order() -> None:
    config = settings()
    forecaster = untrained(config, members=3)
    arrays, _, _ = assemble(make_panel([30, 20]), config, 4)
    batch = tensors_of(arrays)
    with torch.no_grad():
        outputs = [network(batch) for network in forecaster.networks]
    params, level, scale = stack(outputs)
    assert params.shape[:2] == level.shape == scale.shape == (2, 3)
    for member, output in enumerate(outputs):
        assert torch.equal(params[:, member], output.params[:, 0])
        assert torch.equal(level[:, member], output.level[:, 0, 0])
        assert torch.equal(scale[:, member], output.scale[:, 0, 0])
    for array, tensor in zip(answer(outputs), (params, level, scale), strict=True):
        assert (array == tensor.numpy()).all()
