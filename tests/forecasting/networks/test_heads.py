"""Heads: their two halves agree, and one of a test's own goes through all of the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.nn import functional

from forecasting import Forecaster
from forecasting.config import ForecasterConfig, ModelConfig
from forecasting.errors import ConfigError
from forecasting.networks.heads import HEADS, Head
from forecasting.quantiles import DISTRIBUTIONS, Distribution, normal_scores, quantiles_of
from tests.forecasting.samples import (
    LEVELS,
    forecasts_of_every_engine,
    make_panel,
    quantiles,
    settings,
)

DRAWN = sorted(name for name, distribution in DISTRIBUTIONS.items() if distribution.drawn)


class Laplace(Head):
    """Location and scale > 0: D = 2."""

    scored_by = "likelihood"
    size = 2

    def forward(self, raw: Tensor, skip: Tensor) -> Tensor:
        return torch.stack([raw[..., 0] + skip, functional.softplus(raw[..., 1]) + 1e-4], dim=-1)

    @staticmethod
    def likelihood(params: Tensor, scaled: Tensor, target: Tensor, scale: Tensor) -> Tensor:
        location, width = params.unbind(-1)
        return (scaled - location).abs() / width + torch.log(2.0 * width)

    def draw(self, params: Tensor, normal: Tensor) -> Tensor:
        location, width = params.unbind(-1)
        tail = 0.5 * (1.0 - torch.erf(normal.abs() / 2.0**0.5))
        return location - torch.sign(normal) * width * torch.log(2.0 * tail)


def laplace_quantiles(params: Any, scale: Any, levels: tuple[float, ...]) -> Any:
    location, width = (params[..., j, None].astype(np.float64) for j in range(2))
    return stats.laplace.ppf(np.asarray(levels), location, width)


@pytest.fixture
def laplace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "laplace", Laplace)
    monkeypatch.setitem(DISTRIBUTIONS, "laplace", Distribution(laplace_quantiles, drawn=True))


def made(name: str) -> tuple[Head, ModelConfig, Tensor]:
    """A head, its settings and parameters [7, 3, D] it makes of random numbers."""
    config = settings(model={"head": name}).model
    head = HEADS[name](config)
    generator = torch.Generator().manual_seed(1)
    raw = 2.0 * torch.randn(7, 3, head.size, generator=generator)
    return head, config, head(raw, torch.randn(7, 3, generator=generator))


def test_every_head_says_without_torch_what_its_parameters_are() -> None:
    assert HEADS.keys() == DISTRIBUTIONS.keys()


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_middle_number_moves_the_point_as_the_skip_does(name: str) -> None:
    head, _, _ = made(name)
    raw, skip = torch.zeros(head.size), torch.tensor(0.0)
    moved = raw.clone()
    moved[head.middle] = 0.3
    params = head(moved, skip)
    torch.testing.assert_close(head.point(params), head.point(head(raw, skip + 0.3)))
    assert params.shape == (head.size,)


@pytest.mark.parametrize("name", sorted(HEADS))
def test_the_quantiles_of_any_parameters_rise_about_the_point(name: str) -> None:
    head, config, params = made(name)
    scale = np.full((7, 3), 2.0)
    values = quantiles_of(params.numpy(), scale, config)
    assert values.shape == (7, 3, len(LEVELS))
    assert (np.diff(values, axis=-1) >= 0.0).all()
    if not config.counts:
        point = head.point(params).numpy()
        np.testing.assert_allclose(values[..., len(LEVELS) // 2], point, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*DRAWN, "laplace"])
@pytest.mark.usefixtures("laplace")
def test_what_is_drawn_at_a_level_is_the_quantile_there(name: str) -> None:
    head, config, params = made(name)
    wanted = quantiles_of(params.numpy(), np.ones((7, 3)), config)
    for k, score in enumerate(normal_scores(np.asarray(LEVELS))):
        found = head.draw(params, torch.tensor(float(score)))
        np.testing.assert_allclose(found.numpy(), wanted[..., k], rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
@pytest.mark.usefixtures("laplace")
def test_an_entry_in_either_table_is_all_that_a_new_head_takes(
    tmp_path: Path, decoder: str
) -> None:
    panel = make_panel([40, 30, 9])
    config = settings(
        model={"head": "laplace", "decoder": decoder},
        training={"max_steps": 20, "validation": "holdout", "loss": {"mae": 0.2}},
        calibrate=True,
    )
    forecaster = Forecaster.train(panel, config, device="cpu")
    assert all(isinstance(network.head, Laplace) for network in forecaster.networks)
    first, *others = forecasts_of_every_engine(forecaster, panel, tmp_path)
    assert (np.diff(first, axis=-1) > 0.0).all()
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("laplace")
def test_a_new_head_learns_by_its_own_likelihood() -> None:
    panel = make_panel([60, 50])
    config = settings(model={"head": "laplace"}, training={"max_steps": 60, "epoch_steps": 10})
    rows = Forecaster.train(panel, config, device="cpu").history
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert np.isfinite(quantiles(Forecaster.train(panel, config, device="cpu"), panel)).all()


@pytest.mark.parametrize("name", ["laplace", "", "Quantiles"])
def test_a_head_that_stands_in_no_table_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"model.head = {name!r}.*'quantiles'"):
        ForecasterConfig.parse({"horizon": 3, "model": {"head": name}})
