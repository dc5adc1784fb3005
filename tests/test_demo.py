"""`gatecast demo`, with training made short: what it prints, writes and leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHORT = [f"candidates.{name}.training.max_steps=40" for name in ("gru", "lstm")]
THETA_SMAPE = 13.89  # of the competition's tables


def run(folder: Path, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GATECAST_")}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "demo", *arguments],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(Path(__file__).resolve().parent.parent)},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_serves_what_it_trained_and_says_how_good_it_is(tmp_path: Path) -> None:
    sets = [part for text in SHORT for part in ("--set", text)]
    done = run(tmp_path, *sets)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/demo/summary.json").read_text())
    assert set(summary) >= {
        "smape",
        "mase",
        "smape_naive2",
        "model",
        "seconds",
        "forecast_http_ms",
        "picture",
    }
    assert set(summary["seconds"]) >= {"ingest", "train", "backtest", "register", "serve"}
    assert summary["model"]["name"] == "m3-monthly"
    assert summary["model"]["version"] == 1
    assert summary["served_by"] == summary["model"]
    assert summary["smape_naive2"] == pytest.approx(16.76, abs=0.2)
    assert 10 < summary["smape"] < summary["smape_naive2"]
    assert (tmp_path / summary["picture"]).read_bytes().startswith(b"\x89PNG")
    assert f"{summary['smape']:.2f}" in done.stdout
    assert f"{THETA_SMAPE}" in done.stdout
    # A first forecast is there before anything is trained.
    assert done.stderr.index("before any training") < done.stderr.index("training gru")
    # Its own processes are gone, and what it leaves is a model another command finds.
    said = done.stderr.split("starting the service on ")[1]
    url = said.split()[0]
    assert not _answers(url)
    assert url not in done.stdout
    told = " ".join(done.stdout.split())
    assert "gatecast serve --model m3-monthly" in told
    assert "gatecast ui m3-monthly" in told


@pytest.mark.slow  # the whole demo, twice
@pytest.mark.timeout(1200)
def test_the_whole_demo_beats_theta_and_makes_version_2_when_repeated(tmp_path: Path) -> None:
    for version in (1, 2):
        done = run(tmp_path, "--exit", timeout=600)
        assert done.returncode == 0, done.stderr
        summary = json.loads((tmp_path / "runs/demo/summary.json").read_text())
        assert summary["model"]["version"] == version
        assert summary["served_by"] == summary["model"]
        assert summary["smape"] < THETA_SMAPE


def test_a_port_in_use_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        done = run(tmp_path, "--port", str(port))
    assert done.returncode == 2
    assert f"port {port}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def _answers(url: str) -> bool:
    from pipelines.demo.processes import _answers as answers

    return answers(f"{url}/livez")
