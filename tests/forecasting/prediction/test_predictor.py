"""A predictor in other processes, and bundles that are not of one piece."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from forecasting import Forecaster, Predictor
from forecasting.errors import BundleError
from tests.forecasting.samples import MIXES, make_panel, settings, untrained


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


def rewritten(bundle: Path, file: str, content: bytes) -> None:
    """Another file, with its hash in the manifest."""
    (bundle / file).write_bytes(content)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["sha256"][file] = hashlib.sha256(content).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("role", ["past", "future", "static"])
def test_a_covariate_that_the_graph_does_not_read_is_refused(tmp_path: Path, role: str) -> None:
    """Nobody would be forecast without it, and nobody by it."""
    untrained(settings(), MIXES[role]).save(tmp_path / "with")
    Predictor.load(tmp_path / "with")
    untrained(settings()).save(tmp_path / "without")
    rewritten(tmp_path / "without", "config.json", (tmp_path / "with" / "config.json").read_bytes())
    name = MIXES[role].covariates[0].name
    with pytest.raises(BundleError, match=f"asks for the covariate '{name}'"):
        Predictor.load(tmp_path / "without")


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 4096])
def test_weights_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    untrained(settings()).save(tmp_path / "bundle")
    rewritten(tmp_path / "bundle", "model.safetensors", content)
    with pytest.raises(BundleError, match=r"model\.safetensors holds no weights"):
        Forecaster.load(tmp_path / "bundle")
