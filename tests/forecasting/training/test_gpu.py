"""What must hold on a GPU: it trains, and what it trained is at home on a CPU."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from forecasting.config import DISTRIBUTIONS
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.hardware.torch_state import products_in
from forecasting.prediction.predictor import Predictor
from forecasting.training.fit import pick_device
from forecasting.windows.training import Windows, WindowStream
from tests.forecasting.samples import CELLS, MIXES, course_of_loss, make_panel, quantiles, settings

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
def test_what_a_gpu_trained_forecasts_the_same_on_a_cpu(
    cell: str, decoder: str, tmp_path: Path
) -> None:
    config = settings(
        model={"cell": cell, "decoder": decoder},
        training={"max_steps": 20, "validation": "refit", "patience": 2},
        calibrate=True,
    )
    panel = make_panel([60, 50, 40], schema=MIXES["all"], missing=0.1)
    trained = Forecaster.train(panel, config, device="cuda")
    assert all(np.isfinite(row["train_loss"]) for row in trained.history)
    trained.save(tmp_path / "b")
    on_cpu, served = Forecaster.load(tmp_path / "b"), Predictor.load(tmp_path / "b")
    on_gpu = Forecaster.load(tmp_path / "b", device="cuda")
    assert next(on_cpu.networks[0].parameters()).device.type == "cpu"
    assert next(on_gpu.networks[0].parameters()).device.type == "cuda"
    expected = quantiles(trained, panel)
    size = np.abs(expected).max()
    for engine in (on_cpu, served, on_gpu):
        np.testing.assert_allclose(quantiles(engine, panel), expected, rtol=1e-4, atol=1e-4 * size)


def test_a_gpu_and_a_cpu_draw_and_train_alike() -> None:
    assert pick_device("auto").type == "cuda"
    panel = make_panel([60, 50])
    config = settings(training={"max_steps": 30, "epoch_steps": 10, "batch_size": 64})
    gpu, cpu = (Forecaster.train(panel, config, device=d) for d in ("cuda", "cpu"))
    # The devices draw other windows from one seed, so only the course of the loss is alike.
    a, b = (f.history[-1]["train_loss"] for f in (gpu, cpu))
    assert a == pytest.approx(b, rel=0.3)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_one_network_gives_the_same_loss_and_gradient_on_both(cell: str) -> None:
    from forecasting.networks import ForecastNetwork
    from forecasting.training.losses import training_loss

    config = settings(model={"cell": cell})
    panel = make_panel([60, 50])
    torch.manual_seed(0)
    network = ForecastNetwork(config, panel.schema, 0)
    found = []
    for device in (torch.device("cpu"), torch.device("cuda")):
        network.zero_grad()
        network.to(device)
        windows = Windows(panel, config, device)
        batch = windows.gather(
            torch.tensor([0, 1], device=device), torch.tensor([40, 45], device=device)
        )
        rows = network.geometry.rows
        history = {**batch, "y": batch["y"][:, :rows], "mask": batch["mask"][:, :rows]}
        loss = training_loss(network(history, every_origin=True), batch, config)
        loss.backward()
        grads = torch.cat([p.grad.ravel().cpu() for p in network.parameters()])
        found.append((loss.item(), grads))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_low_precision_learns_what_full_precision_does(precision: str, cell: str) -> None:
    losses = course_of_loss(cell, precision, "cuda")
    np.testing.assert_allclose(losses, course_of_loss(cell, "32", "cuda"), rtol=0.05)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("mix", ["none", "all"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
def test_replayed_steps_are_the_steps(cell: str, decoder: str, mix: str, dropout: float) -> None:
    panel = make_panel([60, 50], schema=MIXES[mix])
    found = []
    for graphs in (False, True):
        config = settings(
            model={"cell": cell, "decoder": decoder, "dropout": dropout},
            training={"max_steps": 20, "epoch_steps": 1, "graphs": graphs, "noise": 0.1},
        )
        found.append(
            [row["train_loss"] for row in Forecaster.train(panel, config, device="cuda").history]
        )
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("head", DISTRIBUTIONS)
@pytest.mark.parametrize("precision", ["32", "bf16", "tf32"])
def test_steps_are_replayed_without_being_asked(
    head: str, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    panel = make_panel([60, 50])
    panel = replace(panel, y=np.abs(np.round(panel.y)))
    for asked in (None, False):
        config = settings(
            model={"head": head},
            training={"max_steps": 12, "epoch_steps": 1, "precision": precision, "graphs": asked},
        )
        losses = [
            row["train_loss"] for row in Forecaster.train(panel, config, device="cuda").history
        ]
        if asked is None:
            replayed = losses
    np.testing.assert_allclose(
        replayed, losses, rtol=1e-3 if precision == "32" else 0.05, atol=1e-4
    )
    assert "not replayed" not in caplog.text


def test_two_fits_in_threads_replay_what_each_gives_alone() -> None:
    panels = [make_panel([60, 50]), make_panel([40, 70, 30])]
    config = settings(model={"dropout": 0.2}, training={"max_steps": 40})

    def fit(panel: Panel) -> np.ndarray:
        return quantiles(Forecaster.train(panel, config, device="cuda"), panel)

    alone = [fit(panel) for panel in panels]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(fit, panels))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_float32_is_float32_in_the_recurrent_layers() -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.LSTM(64, 256), torch.randn(50, 32, 64)
    expected = layer.double()(x.double())[0]
    layer, x = layer.float().cuda(), x.cuda()
    with products_in("32"):
        exact = (layer(x)[0].double().cpu() - expected).abs().max()
    with products_in("tf32"):
        rough = (layer(x)[0].double().cpu() - expected).abs().max()
    assert exact < 1e-5 < rough


def test_no_step_waits_for_the_device() -> None:
    from forecasting.training.module import ForecastModule

    config, panel = settings(training={"batch_size": 16}), make_panel([60, 50])
    device = torch.device("cuda")
    windows = Windows(panel, config, device)
    module = ForecastModule(config, panel.schema, 0).to(device)
    batches = iter(WindowStream(windows, 16, 4, 0))
    module.training_step(next(batches), 0).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 4):
            module.training_step(next(batches), step).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_members_in_streams_of_their_own_are_those_trained_one_after_another() -> None:
    panel = make_panel([60, 50], schema=MIXES["all"])
    found = []
    for at_once in (1, 3):
        config = settings(
            model={"dropout": 0.3},
            training={"max_steps": 20, "members": 3, "at_once": at_once, "noise": 0.1},
        )
        found.append(quantiles(Forecaster.train(panel, config, device="cuda"), panel))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-3)
