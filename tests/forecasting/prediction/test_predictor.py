"""A predictor in other processes."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from forecasting import Predictor
from tests.forecasting.samples import make_panel, settings, untrained


@pytest.mark.parametrize("threads", [1, 2])
def test_a_predictor_forecasts_the_same_in_a_worker_process(tmp_path: Path, threads: int) -> None:
    """The worker gets the graph itself: the bundle's folder may be gone by then."""
    untrained(settings(), members=2).save(tmp_path / "bundle")
    predictor, panel = Predictor.load(tmp_path / "bundle", threads=threads), make_panel([9, 30])
    for file in (tmp_path / "bundle").iterdir():
        file.unlink()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        elsewhere = pool.submit(predictor.predict_panel, panel).result(timeout=60)
    here = predictor.predict_panel(panel)
    np.testing.assert_array_equal(elsewhere.quantiles, here.quantiles)
    np.testing.assert_array_equal(elsewhere.mean, here.mean)
