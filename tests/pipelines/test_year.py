"""A year in minutes: Australian retail turnover, revealed month by month to the scheduled job.

December 2017 is the first delivery. Then every month brings its rows, and the job that the
scheduler calls runs once: train, judge, register, promote or not, forecast. In April the delivery
is in the wrong unit. In July the machine dies in the middle of the run. In September somebody
forces a bad model through and takes it back. From October on turnover is twice as high for good:
the gate stops at it, and the operator, who knows why, accepts the revision.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from mlflow.entities import Run

from pipelines.config import ExperimentConfig, load_config
from pipelines.jobs.run import JOBS, JobResult, following, trained
from pipelines.machine.say import silent
from pipelines.registry.registry import CHAMPION, Registry
from pipelines.tracking.tracker import open_tracker
from pipelines.training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

SERIES_STEP, HISTORY, HORIZON, SEASON = 5, 120, 3, 12
POISON, OUTAGE, FORCED, REGIME = 4, 7, 9, 10  # months of 2018
UNIT_ERROR, NEW_LEVEL = 1000.0, 2.0
BAD = ["model.blend=0", "model.layers=1", "training.max_steps=1", "training.learning_rate=1e-6"]


@dataclass
class Year:
    """The place where it happens, and what happened."""

    place: Path
    rows: pd.DataFrame
    results: dict[int, list[JobResult]] = field(default_factory=dict)
    champions: dict[int, int] = field(default_factory=dict)
    verdicts: dict[int, JobResult] = field(default_factory=dict)
    accepted: list[JobResult] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.place / "retail.yaml"

    def config(self, *overrides: str) -> ExperimentConfig:
        return load_config(self.path, overrides)

    def registry(self) -> Registry:
        return Registry(open_tracker(self.config()).client)

    def month(self, number: int) -> pd.Timestamp:
        """The first day of a month of 2018; 0 is December 2017."""
        return pd.Timestamp(2017, 12, 1) + pd.DateOffset(months=number)

    def truth(self, upto: int) -> pd.DataFrame:
        """What really happened, up to a month."""
        known = self.rows[self.rows["ds"] <= self.month(upto)].copy()
        known.loc[known["ds"] >= self.month(REGIME), "y"] *= NEW_LEVEL
        return known

    def deliver(self, number: int) -> None:
        """The table as it comes in a month: all of it, its newest rows wrong in April."""
        table = self.truth(number)
        if number == POISON:
            table.loc[table["ds"] == self.month(number), "y"] *= UNIT_ERROR
        table.to_parquet(self.place / "retail.parquet", index=False)

    def run(self, number: int, *overrides: str) -> list[JobResult]:
        """What the scheduler's flow does: the job, and what follows it."""
        config, step, done = self.config(*overrides), "train", []
        while step is not None:
            done.append(JOBS[step](config, trigger=f"month {number}", say=lambda _: None))
            step = following(step, config, done[-1])
        return done

    def accept(self, number: int) -> None:
        """What an operator does who knows that the data are right."""
        config = self.config()
        outcome = train(config, trigger="by hand", accept_revision="two chains have merged")
        self.accepted = [trained(outcome), JOBS["forecast"](config, trigger="by hand", say=silent)]

    def watch(self, number: int) -> JobResult:
        """The other scheduled job: past forecasts beside what the delivery says happened."""
        return JOBS["monitor"](self.config(), trigger=f"month {number}", say=lambda _: None)

    def champion(self) -> int:
        return int(self.registry().version("retail", CHAMPION).version)

    def forecasts(self) -> pd.DataFrame:
        """Every forecast written so far."""
        with sqlite3.connect(self.place / "forecasts.db") as database:
            frame = pd.read_sql("select * from forecasts", database)
        for column in ("cutoff", "ds"):
            frame[column] = pd.to_datetime(frame[column])
        return frame


def die_in_the_middle(year: Year) -> None:
    """The job in a process of its own, killed as soon as it trains."""
    code = (
        "import sys; from pipelines.config import load_config\n"
        "from pipelines.jobs.run import JOBS\n"
        "JOBS['train'](load_config(sys.argv[1], ['training.max_steps=100000']), trigger='outage',"
        " say=lambda line: print(line, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(year.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("training"):
                break
        time.sleep(3)
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def year(state: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Year:
    """The whole year, played once."""
    place = tmp_path_factory.mktemp("year")
    rows = pd.read_parquet(shared_data / "aus_retail" / "data.parquet")
    counts = rows.groupby("unique_id")["ds"].agg(["count", "max"])
    whole = counts.index[(counts["count"] >= 400) & (counts["max"] == rows["ds"].max())]
    played = Year(place, rows[rows["unique_id"].isin(whole[::SERIES_STEP])])
    played.path.write_text(yaml.safe_dump(settings(place)))
    for month in range(13):
        played.deliver(month)
        if month == OUTAGE:
            die_in_the_middle(played)
        else:
            if month:
                played.verdicts[month] = played.watch(month)
            played.results[month] = played.run(month)
        if month == REGIME:
            played.accept(month)
        played.champions[month] = played.champion()
        if month == FORCED:
            force_and_take_back(played, month)
    return played


def settings(place: Path) -> dict[str, Any]:
    return {
        "name": "retail",
        "data": {"source": str(place / "retail.parquet")},
        "horizon": HORIZON,
        "season": SEASON,
        "history": HISTORY,
        "model": {"cell": "gru", "layers": 1, "hidden_size": 24, "transform": "log"},
        "training": {
            "max_steps": 60,
            "batch_size": 32,
            "learning_rate": 0.005,
            "validation": "none",
            "threads": 1,
        },
        "backtest": {"windows": 3, "step": 1},
        "gate": {"margin": 0.05},
        "tracking": {"system_metrics": False},
        "forecast": {"output": f"sqlite:///{place / 'forecasts.db'}"},
    }


def force_and_take_back(year: Year, month: int) -> None:
    registry = year.registry()
    (refused, *_) = year.run(month, *BAD)
    assert refused.state == "Refused", refused.line
    bad = int(refused.facts["version"])
    registry.promote("retail", bad, reason="I trust the new one", action="forced")
    JOBS["forecast"](year.config(), trigger="by hand", say=lambda _: None)
    registry.rollback("retail", reason="its forecasts are off")


def errors(year: Year, forecasts: pd.DataFrame) -> pd.DataFrame:
    """Forecasts beside what really happened, and beside the value of a year before."""
    truth = year.truth(12)
    joined = forecasts.merge(truth, on=["unique_id", "ds"])
    before = truth.assign(ds=truth["ds"] + pd.DateOffset(years=1)).rename(columns={"y": "naive"})
    joined = joined.merge(before, on=["unique_id", "ds"])
    joined["error"] = (joined["q0.5"] - joined["y"]).abs() / joined["y"]
    joined["naive_error"] = (joined["naive"] - joined["y"]).abs() / joined["y"]
    return joined


def test_the_first_model_becomes_champion_and_forecasts(year: Year) -> None:
    first = year.results[0]
    assert [r.state for r in first] == ["Promoted", "Forecast"], [r.line for r in first]
    assert year.champions[0] == 1


def test_a_quiet_month_promotes_or_refuses_and_always_says_why(year: Year) -> None:
    quiet = [m for m in range(1, REGIME) if m not in (POISON, OUTAGE)]
    states = [year.results[m][0].state for m in quiet]
    assert set(states) <= {"Promoted", "Refused"}
    assert states.count("Promoted") >= len(quiet) // 2, [year.results[m][0].line for m in quiet]
    for month in quiet:
        line = year.results[month][0].line
        assert "mase" in line
        assert [r.state for r in year.results[month]][1:] == ["Forecast"]


def test_the_poisoned_month_is_refused_and_forecast_from_by_nobody(year: Year) -> None:
    (only,) = year.results[POISON]
    assert only.state == "Refused"
    assert only.events == ("refused", "drift")
    assert "shift of the data" in only.line
    assert year.champions[POISON] == year.champions[POISON - 1]
    assert year.month(POISON) not in set(year.forecasts()["cutoff"])
    assert year.forecasts()["q0.5"].max() < 5 * NEW_LEVEL * year.rows["y"].max()


def test_the_month_after_the_poison_is_as_any_other(year: Year) -> None:
    assert "drift" not in year.results[POISON + 1][0].events
    assert year.month(POISON + 1) in set(year.forecasts()["cutoff"])


def test_the_outage_left_nothing_and_the_next_run_caught_up(year: Year) -> None:
    assert year.champions[OUTAGE] == year.champions[OUTAGE - 1]
    assert year.month(OUTAGE) not in set(year.forecasts()["cutoff"])
    assert year.month(OUTAGE + 1) in set(year.forecasts()["cutoff"])
    tracker = open_tracker(year.config())
    runs: list[Run] = tracker.client.search_runs([tracker.experiment_id], max_results=5000)
    assert {r.info.status for r in runs} == {"FINISHED", "FAILED"}
    died = [r for r in runs if r.data.tags.get("error") == "the process died"]
    assert {r.data.tags.get("trigger") for r in died} >= {"outage"}
    assert all(r.info.status == "FAILED" for r in died)


def test_the_forced_model_is_worse_and_one_command_takes_it_back(year: Year) -> None:
    history = year.registry().history("retail")
    actions = [event.action for event in history]
    forced = actions.index("forced")
    assert history[forced].reason == "I trust the new one"
    assert actions[forced - 1] == "refused"
    assert actions[forced + 1] == "rolled back"
    assert history[forced + 1].version == history[forced].replaced
    joined = errors(year, year.forecasts())
    of_month = joined[joined["cutoff"] == year.month(FORCED)]
    by_version = of_month[of_month["ds"] < year.month(REGIME)].groupby("version")["error"].mean()
    if not by_version.empty:
        assert by_version[history[forced].version] > by_version[history[forced].replaced]
    assert year.champions[FORCED + 1] != history[forced].version


def test_every_step_of_the_year_is_in_the_history(year: Year) -> None:
    history = year.registry().history("retail")
    versions = len(year.registry().versions("retail"))
    actions = [event.action for event in history]
    assert actions.count("registered") == versions == 14  # 12 deliveries that ran, two by hand
    assert actions.count("promoted") + actions.count("refused") == versions
    assert all(event.reason for event in history)


def test_forecasts_are_never_there_twice_and_beat_the_year_before(year: Year) -> None:
    forecasts = year.forecasts()
    key = ["model", "version", "unique_id", "cutoff", "step"]
    assert not forecasts.duplicated(key).any()
    assert np.isfinite(forecasts[["mean", "q0.1", "q0.5", "q0.9"]].to_numpy()).all()
    series = year.rows["unique_id"].nunique()
    months = [m for m in range(13) if m not in (POISON, OUTAGE)]
    assert len(forecasts) == series * HORIZON * (len(months) + 1)  # and those of the forced one
    joined = errors(year, forecasts)
    champions = {year.month(m): v for m, v in year.champions.items()}
    good = joined[joined["version"] == joined["cutoff"].map(champions)]
    calm = good[good["ds"] < year.month(REGIME)]
    assert calm["error"].mean() < 0.9 * calm["naive_error"].mean()
    inside = (calm["y"] >= calm["q0.1"]) & (calm["y"] <= calm["q0.9"])
    assert 0.65 < inside.mean() < 0.95


def test_a_new_level_is_taken_for_an_accident_until_a_person_accepts_it(year: Year) -> None:
    (only,) = year.results[REGIME]
    assert only.events == ("refused", "drift"), only.line
    assert "level of the newest rows" in only.line
    taken, forecast = year.accepted
    assert taken.state == "Promoted", taken.line
    assert "accepted: two chains have merged" in taken.line
    assert forecast.state == "Forecast"
    for month in (REGIME + 1, REGIME + 2):
        assert "drift" not in year.results[month][0].events, year.results[month][0].line


def test_a_new_level_is_followed_within_two_months(year: Year) -> None:
    joined = errors(year, year.forecasts())
    surprised = joined[
        (joined["cutoff"] < year.month(REGIME)) & (joined["ds"] >= year.month(REGIME))
    ]
    settled = joined[joined["cutoff"] >= year.month(REGIME + 1)]
    assert surprised["error"].mean() > 0.4
    assert settled["error"].mean() < 0.5 * surprised["error"].mean()


def test_watching_is_quiet_in_quiet_months_and_loud_when_something_happened(year: Year) -> None:
    said = {month: result.line for month, result in year.verdicts.items()}
    loud = {month for month, result in year.verdicts.items() if result.state == "Retrain"}
    assert POISON in loud, said
    assert REGIME in loud, said
    quiet = {m for m in said if m < REGIME and m not in (POISON, POISON + 1)}
    assert not loud & quiet, said
    assert all(year.verdicts[m].events == ("drift",) for m in loud)
