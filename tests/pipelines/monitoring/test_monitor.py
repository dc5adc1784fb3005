"""Watching: forecasts joined with what happened, the verdict, the page, the run in MLflow."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.cli import build
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.profile import panel_digest
from pipelines.forecasts.kept import read_forecasts
from pipelines.jobs.run import JOBS, Ended, JobResult, watched
from pipelines.machine.files import write_table
from pipelines.monitoring.finding import Verdict
from pipelines.monitoring.monitor import check, monitor
from pipelines.monitoring.page import page
from pipelines.monitoring.past import join, widest
from pipelines.monitoring.watch import Evidence, Watch
from pipelines.tracking.store import connect
from pipelines.training.gate import EXIT_REFUSED
from tests.pipelines.small import monthly_panel, past_forecasts

N, T, HORIZON = 20, 180, 12


def truth(seed: int = 0) -> np.ndarray:
    """[N, T + horizon] seasonal medians."""
    rng = np.random.default_rng(seed)
    season = 5.0 * np.sin(2 * np.pi * np.arange(T + HORIZON) / 12)
    return np.asarray(50.0 + rng.normal(size=(N, 1)) * 5 + season)


@pytest.fixture(scope="module")
def calm() -> tuple[Panel, pd.DataFrame]:
    """A panel that does what the forecasts say, with noise of deviation 1."""
    medians = truth()
    y = medians[:, :T] + np.random.default_rng(1).normal(size=(N, T))
    panel = monthly_panel(y)
    return panel, past_forecasts(panel, medians, HORIZON, every=6)


def config(**monitor: Any) -> ExperimentConfig:
    return build_config(
        {"name": "watched", "data": {"source": "x"}, "horizon": HORIZON, "monitor": monitor}
    )


def changed(panel: Panel, change: Callable[[np.ndarray], None]) -> Panel:
    """The panel after a change of its [N, T] values."""
    y = panel.y.reshape(N, T).copy()
    change(y)
    return replace(panel, y=y.ravel())


def look(panel: Panel, past: pd.DataFrame, **facts: Any) -> Watch:
    return look_closely(panel, past, **facts)[0]


def look_closely(panel: Panel, past: pd.DataFrame, **facts: Any) -> tuple[Watch, Evidence]:
    return check(panel, past, config(), champion=1, **facts)


def test_a_calm_panel_is_fine(calm: tuple[Panel, pd.DataFrame]) -> None:
    watch = look(*calm)
    assert watch.verdict is Verdict.FINE
    assert watch.reasons == []
    assert watch.scores["coverage"] == pytest.approx(0.8, abs=0.02)
    assert len(watch.findings) == 5
    assert all(f.possible for f in watch.findings)


def test_the_join_is_that_of_a_plain_merge(calm: tuple[Panel, pd.DataFrame]) -> None:
    panel, past = calm
    joined = join(past, panel, 12)
    plain = past.merge(panel.to_frame(), on=["unique_id", "ds"])
    assert joined.counts["judged"] == len(plain)
    assert joined.counts["not yet known"] == len(past) - len(plain)
    np.testing.assert_array_equal(joined.rows["y"], plain["y"])
    assert joined.nominal == pytest.approx(0.8)


def test_errors_are_in_units_of_what_came_before_the_first_forecast(
    calm: tuple[Panel, pd.DataFrame],
) -> None:
    panel, past = calm
    rows = join(past, panel, 12).rows
    own = rows[rows["unique_id"] == "s3"]
    y = panel.y.reshape(N, T)[3]
    known = T // 2 + 1  # rows before the first stamp that was forecast
    scale = np.abs(y[12:known] - y[: known - 12]).mean()
    np.testing.assert_allclose(own["scaled"], (own["median"] - own["y"]).abs() / scale)


def test_a_shift_of_everything_says_retrain(calm: tuple[Panel, pd.DataFrame]) -> None:
    panel, past = calm

    def up(y: np.ndarray) -> None:
        y[:, -12:] += 6.0

    watch = look(changed(panel, up), past)
    assert watch.verdict is Verdict.RETRAIN
    assert any("level of the data" in r for r in watch.reasons)
    assert any("bias of the forecasts below" in r for r in watch.reasons)


def test_the_same_data_cannot_teach_the_champion_more(calm: tuple[Panel, pd.DataFrame]) -> None:
    def up(y: np.ndarray) -> None:
        y[:, -12:] += 6.0

    panel = changed(calm[0], up)
    watch = look(panel, calm[1], trained_on=panel_digest(panel))
    assert watch.verdict is Verdict.LOOK
    assert any("trained on these very data" in r for r in watch.reasons)


def test_errors_of_a_version_that_was_replaced_are_no_reason_to_train(
    calm: tuple[Panel, pd.DataFrame],
) -> None:
    panel, past = calm
    off = past.assign(
        **{"q0.5": past["q0.5"] + 8.0 * (past["ds"] > panel.last[0] - 31536000000000)}
    )
    assert look(panel, off).verdict is Verdict.RETRAIN
    watch, _ = check(panel, off, config(), champion=2)
    assert watch.verdict is Verdict.FINE
    assert any("before the champion, 2" in r for r in watch.reasons)


def test_single_series_are_named(calm: tuple[Panel, pd.DataFrame]) -> None:
    def wild(y: np.ndarray) -> None:
        y[4, -12:] += 60.0

    watch = look(changed(calm[0], wild), calm[1])
    assert watch.verdict is Verdict.LOOK
    assert {f.id for f in watch.series} == {"s4"}


def test_series_that_stop_are_named_and_do_not_ring_otherwise(
    calm: tuple[Panel, pd.DataFrame],
) -> None:
    def stop(y: np.ndarray) -> None:
        y[2, -20:] = np.nan
        y[5, :] = np.nan

    watch = look(changed(calm[0], stop), calm[1])
    assert watch.silent == ["s2"]
    assert watch.series == []
    assert watch.verdict is Verdict.LOOK
    assert watch.counts["value missing"] > 0


def test_series_that_are_gone_and_missing_actuals_are_counted_not_judged(
    calm: tuple[Panel, pd.DataFrame],
) -> None:
    panel, past = calm
    watch, evidence = look_closely(panel.select(np.arange(15)), past)
    assert watch.counts["series not in the data"] == len(past) // 4
    assert watch.verdict is Verdict.LOOK
    assert watch.reasons == [
        f"{len(past) // 4:,} forecast rows are of series that the data do not hold: have the ids "
        "changed?"
    ]
    assert set(evidence.by_series["unique_id"]) == {f"s{i}" for i in range(15)}


def test_a_history_cut_short_leaves_old_forecasts_out(calm: tuple[Panel, pd.DataFrame]) -> None:
    watch = look(calm[0].tail(60), calm[1])
    assert watch.counts["older than the data"] > 0


def test_nothing_forecast_yet_is_no_error(calm: tuple[Panel, pd.DataFrame], tmp_path: Path) -> None:
    nothing = read_forecasts(str(tmp_path / "none.parquet"), "forecasts", "watched")
    watch, evidence = look_closely(calm[0], nothing)
    assert watch.verdict is Verdict.UNTESTED
    assert watch.reasons == ["no forecast has come true yet: only the data were looked at"]
    assert "fine" not in page(watch, evidence)


@pytest.mark.parametrize("wrong", ["level", "interval"])
def test_errors_far_beyond_the_backtests_are_not_fine_though_no_test_is_possible(
    calm: tuple[Panel, pd.DataFrame], wrong: str
) -> None:
    panel, past = calm
    lately = past[past["ds"] >= np.sort(past["ds"].unique())[-2 * HORIZON]]
    quantiles = [c for c in past.columns if c.startswith("q")]
    if wrong == "level":
        off = lately.assign(**{c: 1000.0 * lately[c] for c in quantiles})
    else:
        middle = lately["q0.5"] + 3.0
        off = lately.assign(**dict.fromkeys(quantiles, middle))
    facts = {"backtest": {"mase": 1.0 if wrong == "level" else 100.0}}
    honest, broken = (look(panel, p, **facts) for p in (lately, off))
    assert honest.verdict is Verdict.UNTESTED
    assert broken.verdict is Verdict.LOOK
    words = "times the 1 of the backtest" if wrong == "level" else "0% of what came lies in"
    assert any(words in reason for reason in broken.reasons)


@pytest.mark.parametrize("rows", [13, 24, 60])
def test_where_nothing_could_be_tested_nothing_is_said_to_be_fine(rows: int) -> None:
    medians = truth()
    panel = monthly_panel(medians[:, :rows] + np.random.default_rng(1).normal(size=(N, rows)))
    past = past_forecasts(panel, medians[:, : rows + HORIZON], HORIZON, every=6)
    watch, evidence = look_closely(panel, past)
    assert watch.verdict is Verdict.UNTESTED
    assert watched(watch).state == "Untested"
    assert watched(watch).events == ()
    text = page(watch, evidence)
    assert "too little history to tell" in text
    assert "no alarm" not in text
    assert "block, 0 the newest" not in text


def test_another_frequency_is_one_clear_line(calm: tuple[Panel, pd.DataFrame]) -> None:
    weekly = monthly_panel(np.random.default_rng(0).normal(size=(N, T)), "2000-01-02", "W-SUN")
    with pytest.raises(DataError, match="do not lie on the grid"):
        look(weekly, calm[1])
    steps = Panel.from_arrays(["s0"], np.zeros(50), np.array([50]), np.array([1]), "step")
    with pytest.raises(DataError, match="integer steps"):
        look(steps, calm[1])


def test_zones_of_files_and_panel_meet(tmp_path: Path, state: Path) -> None:
    hours = pd.date_range("2025-10-25", periods=72, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.arange(72.0)})
    panel = Panel.from_frame(frame)
    past = frame.iloc[30:40].assign(
        model="m", version=1, cutoff=hours[29], step=range(1, 11), **{"q0.5": frame["y"]}
    )
    write_table(past.drop(columns="y"), tmp_path / "f.parquet")
    for source in (tmp_path / "f.parquet", tmp_path / "f.csv"):
        if source.suffix == ".csv":
            text = past.drop(columns="y").assign(
                ds=[s.isoformat() for s in past["ds"]], cutoff=hours[29].isoformat()
            )
            text.to_csv(source, index=False)
        joined = join(read_forecasts(str(source), "t", "m"), panel, 1)
        assert joined.counts["judged"] == 10
        np.testing.assert_array_equal(joined.rows["y"], np.arange(30.0, 40.0))


def test_the_latest_of_two_forecasts_counts(
    calm: tuple[Panel, pd.DataFrame], tmp_path: Path
) -> None:
    _, past = calm
    early = past.assign(created="2026-01-01T00:00:00+00:00", version=1)
    late = past.assign(created="2026-01-02T00:00:00.123456+00:00", version=2)
    folder = tmp_path / "folder"
    write_table(late, folder / "a.csv")
    write_table(early, folder / "b.csv")
    found = read_forecasts(str(folder), "t", "watched")
    assert len(found) == len(past)
    assert set(found["version"]) == {2}


def test_a_table_with_other_columns_or_a_damaged_file_is_named(
    calm: tuple[Panel, pd.DataFrame], tmp_path: Path
) -> None:
    write_table(calm[1].rename(columns={"q0.5": "median"}), tmp_path / "f.parquet")
    with pytest.raises(DataError, match=r"no column q0\.5"):
        read_forecasts(str(tmp_path / "f.parquet"), "t", "watched")
    (tmp_path / "g.parquet").write_bytes(b"PAR1 half a file")
    with pytest.raises(DataError, match="damaged"):
        read_forecasts(str(tmp_path / "g.parquet"), "t", "watched")


def test_a_database_is_asked_for_this_model_and_recent_stamps_only(
    calm: tuple[Panel, pd.DataFrame], tmp_path: Path
) -> None:
    panel, past = calm
    text = past.assign(ds=[d.isoformat() for d in past["ds"]], cutoff=past["cutoff"].astype(str))
    with sqlite3.connect(tmp_path / "f.db") as connection:
        text.to_sql("f", connection, index=False)
        text.assign(model="another").to_sql("f", connection, index=False, if_exists="append")
    url = f"sqlite:///{tmp_path}/f.db"
    assert len(read_forecasts(url, "f", "watched")) == len(past)
    since = panel.last[0] - np.timedelta64(365, "D")
    recent = read_forecasts(url, "f", "watched", since=since)
    assert 0 < len(recent) < len(past)
    assert read_forecasts(url, "nothing_yet", "watched").empty


def test_the_widest_pair_of_levels_is_judged() -> None:
    assert widest(["q0.05", "q0.1", "q0.5", "q0.9", "mean"]) == (0.1, 0.9)
    assert widest(["q0.5"]) is None


def test_the_page_shows_names_as_text_and_needs_nothing_from_outside(
    calm: tuple[Panel, pd.DataFrame],
) -> None:
    def wild(y: np.ndarray) -> None:
        y[4, -12:] += 60.0

    panel, past = calm
    evil = "<script>alert(1)</script>"
    ids = np.where(panel.ids == "s4", evil, panel.ids).astype(object)
    past = past.assign(unique_id=past["unique_id"].replace("s4", evil))
    text = page(*look_closely(changed(replace(panel, ids=ids), wild), past))
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert text.count("<svg") == 4
    assert 'src="' not in text
    assert "@import" not in text


def test_the_command_logs_its_verdict_and_retrains_when_told(
    calm: tuple[Panel, pd.DataFrame], tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up(y: np.ndarray) -> None:
        y[:, -12:] += 6.0

    panel = changed(calm[0], up)
    panel.to_frame().to_parquet(tmp_path / "data.parquet", index=False)
    write_table(calm[1], tmp_path / "past" / "one.parquet")
    path = tmp_path / "c.yaml"
    values = {"name": "watched", "data": {"source": str(tmp_path / "data.parquet")}}
    path.write_text(json.dumps({**values, "horizon": HORIZON}))
    trained: list[str] = []

    def train(config: ExperimentConfig, *, trigger: str, say: Any) -> JobResult:
        trained.append(f"{config.name} {trigger}")
        return JobResult(Ended.REFUSED, "version 2 was refused", ("refused",))

    monkeypatch.setitem(JOBS, "train", train)
    arguments = ["monitor", str(path), "--forecasts", str(tmp_path / "past"), "--json"]
    run = CliRunner().invoke(build(), arguments)
    assert run.exit_code == 0, run.output
    facts = json.loads(run.stdout.strip().splitlines()[-1])
    assert facts["verdict"] == "retrain"
    assert trained == []
    assert (state / "monitor" / "watched.html").is_file()
    client = connect()
    logged = client.get_run(facts["run_id"])
    assert logged.data.tags["verdict"] == "retrain"
    assert len(client.get_metric_history(facts["run_id"], "horizon/mase")) == HORIZON
    assert {a.path for a in client.list_artifacts(facts["run_id"])} >= {
        "tests.json",
        "watched.html",
    }
    run = CliRunner().invoke(build(), [*arguments, "--retrain"])
    assert run.exit_code == EXIT_REFUSED
    assert json.loads(run.stdout)["verdict"] == "retrain"
    assert trained == ["watched after monitor"]


def test_forecasts_that_are_named_and_not_there_are_no_reason_to_say_fine(
    calm: tuple[Panel, pd.DataFrame], tmp_path: Path, state: Path
) -> None:
    calm[0].to_frame().to_parquet(tmp_path / "data.parquet", index=False)
    settings = config().model_dump(mode="json", exclude_unset=True)
    named = build_config({**settings, "data": {"source": str(tmp_path / "data.parquet")}})
    with pytest.raises(DataError, match=r"--forecasts .*typo\.parquet: there is no such file"):
        monitor(named, forecasts=str(tmp_path / "typo.parquet"), track=False)
    (tmp_path / "none yet").mkdir()
    watch = monitor(
        named, forecasts=str(tmp_path / "none yet"), page=tmp_path / "page.html", track=False
    )
    assert "no forecast has come true yet" in watch.notes[0]
