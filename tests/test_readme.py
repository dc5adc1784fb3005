"""The README does what it says: its blocks are run as they stand, its links lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.config import build_config
from pipelines.data.datasets import load
from pipelines.data.prepare import prepare
from pipelines.demo.processes import pick_port
from pipelines.machine.state import HOME_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
SERIES = 12
# What makes training short, and lets the gate pass what so short a training gives.
QUICK = {
    "model.layers": 1,
    "model.hidden_size": 16,
    "training.max_steps": 40,
    "training.members": 1,
    "backtest.windows": 2,
    "gate.max_bias": 5,
    "gate.level": 0.51,
    "gate.coverage": "[0, 1]",
    "tracking.system_metrics": "false",
}


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)
    return str(found)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `sales.csv`: series of the M3 competition under a calendar."""
    folder = tmp_path_factory.mktemp("readme")
    (task,) = load("m3_monthly")
    frame = task.train.select(slice(0, 20 * SERIES, 20)).to_frame()
    step = frame.groupby("unique_id").cumcount().to_numpy().astype("timedelta64[M]")
    frame["ds"] = (np.datetime64("2015-01", "M") + step).astype("datetime64[us]")
    frame[["unique_id", "ds", "y"]].to_csv(folder / "sales.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def test_the_table_shown_is_read_as_it_stands(folder: Path) -> None:
    shown = block("csv").splitlines()
    written = (folder / "sales.csv").read_text().splitlines()
    assert shown[0] == written[0]
    assert all(re.fullmatch(r"[\w-]+,\d{4}-\d{2}-01,\d+", line) for line in shown[1:])


def test_who_has_no_table_gets_one_that_is_read_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("awk") is None:
        pytest.skip("needs awk")
    subprocess.run(["bash", "-euc", block("bash")], cwd=tmp_path, check=True, timeout=30)
    monkeypatch.chdir(tmp_path)
    config = build_config({"name": "sales", "data": {"source": "sales.csv"}, "horizon": 12})
    prepared = prepare(config)
    assert (len(prepared.panel), prepared.panel.rows) == (12, 12 * 96)
    assert prepared.panel.freq.alias == "MS"
    # Nothing but the season is said of it.
    assert prepared.notes == ["stamps say season 12; season 12, found in 12 of 12 series"]
    assert (prepared.panel.y > 0).all()


@pytest.mark.timeout(300)
def test_the_shell_block_trains_serves_and_forecasts(folder: Path) -> None:
    script = block("sh")
    assert len(script.splitlines()) <= 10
    settings = " ".join(f"--set '{key}={value}'" for key, value in QUICK.items())
    script = script.replace("--horizon 12", f"--horizon 12 {settings}")
    script = script.replace("3000", str(pick_port("127.0.0.1", 0)))
    tools = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{tools}:{os.environ['PATH']}",
        "NO_PROXY": "*",
        HOME_VARIABLE: str(folder / ".gatecast"),
    }
    result = subprocess.run(
        ["bash", "-euc", f"trap 'kill $(jobs -p)' EXIT\n{script}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "seasonal_naive" in result.stdout
    assert "sales version 1" in result.stdout
    answer = json.loads(result.stdout[result.stdout.index('{"') :])
    check_answer(answer)


def check_answer(answer: dict[str, Any]) -> None:
    assert answer["model"]["name"] == "sales"
    assert answer["errors"] == []
    (forecast,) = answer["forecasts"]
    assert forecast["ds"][0].startswith("2026-01-01")
    low, middle, high = (np.array(forecast["quantiles"][q]) for q in ("0.1", "0.5", "0.9"))
    assert len(middle) == 3
    assert (low <= middle).all()
    assert (middle <= high).all()
    # Of the size of the series it was asked about.
    assert ((middle > 60) & (middle < 300)).all()


def test_the_python_block_fits_predicts_saves_and_loads(folder: Path) -> None:
    code = block("python")
    quick = "{'model': {'layers': 1, 'hidden_size': 16}, 'training': {'max_steps': 20}}"
    names: dict[str, Any] = {}
    exec(code.replace("horizon=12)", f"horizon=12, config={quick}, members=1)"), names)
    forecast = names["forecast"]
    said = re.search(r"`forecast` is a frame with `([^`]+)`", README)
    assert said is not None
    assert list(forecast.columns) == said[1].split(", ")
    assert len(forecast) == 12
    assert forecast["ds"].min() == pd.Timestamp("1961-01-01")
    assert (folder / "forecast.png").read_bytes().startswith(b"\x89PNG")
    pd.testing.assert_frame_equal(forecast, names["same"])


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    lost = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    assert lost == []


def test_every_command_the_readme_names_exists() -> None:
    import typer

    from pipelines import cli

    known = typer.main.get_command(cli.build()).commands  # type: ignore[attr-defined]
    assert set(re.findall(r"`?gatecast ([a-z]+)\b", README)) <= set(known)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"`?\$? ?make ([a-z]+)\b", block("console"))) <= targets


def test_the_pictures_are_pictures() -> None:
    for link in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", README):
        assert (ROOT / link).read_bytes().startswith(b"\x89PNG"), link
