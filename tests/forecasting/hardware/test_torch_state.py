"""Torch's own precision and random state, shared out among trainings in threads."""

from __future__ import annotations

import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from forecasting.forecaster import Forecaster
from forecasting.hardware.torch_state import own_randomness, products_in
from forecasting.training.members import LIGHTNING
from tests.forecasting.samples import make_panel, same_weights, settings


def test_tf32_holds_only_where_all_ask_for_it() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with products_in("tf32"):
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cudnn.allow_tf32
        with products_in("32"):
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.backends.cudnn.allow_tf32
        assert torch.backends.cudnn.allow_tf32
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_nobody_else_draws_from_what_one_has_seeded() -> None:
    def draw(seed: int) -> float:
        with own_randomness():
            torch.manual_seed(seed)
            # Were the others let in while this one waits, it would draw from their seed.
            threading.Event().wait(0.02)
            return torch.rand(()).item()

    state = torch.get_rng_state()
    alone = [draw(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(4))) == alone
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_fits_in_threads_are_those_of_each_alone(dropout: float) -> None:
    panels = [make_panel([30 + 5 * k, 20]) for k in range(4)]
    config = settings(
        model={"dropout": dropout}, training={"members": 2, "max_steps": 15, "threads": 1}
    )

    def fit(k: int) -> Forecaster:
        return Forecaster.train(panels[k], config.replace(training={"seed": 10 * k}), device="cpu")

    filters = list(warnings.filters)
    loggers = [logging.getLogger(name) for name in LIGHTNING]
    levels = [logger.level for logger in loggers]
    precision, state = torch.get_float32_matmul_precision(), torch.get_rng_state()
    alone = [fit(k) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(fit, range(4)))
    for one, other in zip(together, alone, strict=True):
        assert same_weights(one, other)
    assert list(warnings.filters) == filters
    assert levels == [
        logging.getLogger(n).level for n in ("pytorch_lightning", "lightning.pytorch")
    ]
    assert torch.get_float32_matmul_precision() == precision
    assert torch.equal(torch.get_rng_state(), state)
