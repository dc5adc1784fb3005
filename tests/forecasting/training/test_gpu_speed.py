"""The GPU measurement's own pieces, small; see benchmarks/speed_gpu.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from forecasting.data.panel import Panel
from tests.forecasting.samples import make_panel

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
TASK = {"cell": "gru", "hidden": 16, "batch": 8, "context": 12, "horizon": 4, "threads": 1,
        "steps": 2}  # fmt: skip


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import speed_gpu

    yield speed_gpu
    for name in ("speed", "speed_clock", "speed_gpu", "speed_ours"):
        sys.modules.pop(name, None)


@pytest.fixture
def panel() -> Panel:
    return make_panel([80, 60, 70], freq="h")


def test_kernels_that_run_at_once_count_once(gpu: ModuleType) -> None:
    assert gpu.covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.4)]) == 4.0
    assert gpu.covered([]) == 0.0


def test_without_a_gpu_the_script_says_so(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["speed_gpu.py"])
    assert gpu.main() == 2
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_the_bare_loop_replays_as_a_graph(gpu: ModuleType, panel: Panel, cell: str) -> None:
    assert gpu.bare(panel, TASK | {"cell": cell})["windows_per_wall_s"] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32", "tf32", "bf16"])
@pytest.mark.parametrize("graphs", [False, True])
def test_training_is_timed(gpu: ModuleType, panel: Panel, precision: str, graphs: bool) -> None:
    assert gpu.train(panel, TASK, precision, graphs)["windows_per_wall_s"] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("at_once", [1, 2])
def test_members_in_streams_are_timed(gpu: ModuleType, panel: Panel, at_once: int) -> None:
    assert gpu.members(panel, TASK, at_once)["windows_per_wall_s"] > 0


@pytest.mark.gpu
def test_the_share_of_busy_time_is_a_share(gpu: ModuleType, panel: Panel) -> None:
    assert 0.0 < gpu.busy(panel, TASK, "32")["share"] <= 1.0


@pytest.mark.gpu
def test_accuracy_and_prediction_are_timed(
    gpu: ModuleType, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "LENGTHS", (2,))
    found: dict[str, Any] = gpu.accuracy(panel, np.ones((3, 4)))
    assert len(found["runs"]) == gpu.BLOCKS
    assert gpu.predict(50)["wall_s"] > 0
