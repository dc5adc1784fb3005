"""The clock: what may be scheduled, when it fires, and a scheduled run that registers a model."""

from __future__ import annotations

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from forecasting.errors import ConfigError, GatecastError
from pipelines.config import ExperimentConfig, ForecastConfig, MonitorConfig, build_config
from pipelines.jobs.run import Ended, JobResult, following, trained
from pipelines.machine.state import HOME_VARIABLE
from pipelines.scheduling.schedule import add
from pipelines.scheduling.server import alive
from pipelines.scheduling.times import interval_of, machine_zone, schedule_of, upcoming
from pipelines.training.gate import Check, Decision
from tests.pipelines.waiting import until

PARIS = ZoneInfo("Europe/Paris")


def fires(cron: str, zone: str, start: datetime.datetime, count: int) -> list[datetime.datetime]:
    times = upcoming(schedule_of(cron, None, zone), count, start)
    return [when.astimezone(ZoneInfo(zone)) for when in times]


def test_a_nightly_run_keeps_its_hour_through_both_changes_of_the_clock() -> None:
    for month, day in ((3, 27), (10, 23)):
        start = datetime.datetime(2026, month, day, 12, tzinfo=PARIS)
        nights = fires("0 3 * * *", "Europe/Paris", start, 4)
        assert [(n.day, n.hour, n.minute) for n in nights] == [(day + k, 3, 0) for k in range(1, 5)]


def test_an_hour_that_is_skipped_or_doubled_fires_once() -> None:
    for month, day in ((3, 27), (10, 23)):
        start = datetime.datetime(2026, month, day, 12, tzinfo=PARIS)
        nights = fires("30 2 * * *", "Europe/Paris", start, 4)
        assert [n.day for n in nights] == [day + k for k in range(1, 5)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cron": "0 25 * * *"}, "--cron '0 25"),
        ({"cron": "* * * *"}, "five fields"),
        ({"cron": "0 3 * * * *"}, "five fields"),
        ({"cron": "0 0 31 2 *"}, "--cron"),
        ({"cron": "0 3 * * *", "timezone": "Europe/Pariis"}, "no such time zone"),
        ({"cron": "0 3 * * *", "every": "6h"}, "either"),
        ({}, "either"),
        ({"every": "1 fortnight"}, "number and a unit"),
        ({"every": "1s"}, "shortest"),
        ({"cron": "0 3 * * *", "job": "nap"}, "--job 'nap'"),
        ({"cron": "0 3 * * *", "overrides": ["schedule.smtp=smtp://me:pw@h"]}, "--set schedule"),
    ],
)
def test_what_could_never_run_is_refused_at_once(
    tmp_path: Path, arguments: dict[str, Any], said: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nhorizon: 3\ndata: {source: x.csv}\n")
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        add(path, **arguments)
    assert "pw@" not in str(caught.value)


def test_intervals_are_read_with_their_unit() -> None:
    assert interval_of("90s").total_seconds() == 90
    assert interval_of("6h").total_seconds() == 6 * 3600
    assert interval_of("1.5d").total_seconds() == 36 * 3600


def test_the_machines_zone_is_a_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    ZoneInfo(machine_zone())
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    assert machine_zone() == "Asia/Kathmandu"
    monkeypatch.setenv("TZ", "CET-1CEST")
    assert machine_zone() != "CET-1CEST"


def test_without_prefect_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from pipelines.scheduling.supervisor import supervise

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GatecastError, match="let cron run `gatecast train"):
        supervise()


@pytest.mark.slow
def test_a_shared_server_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from pipelines.scheduling.server import ensure

    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with pytest.raises(GatecastError, match=r"no Prefect server answers at http://127.0.0.1:1"):
        ensure()


@pytest.mark.parametrize(
    ("failed", "promoted", "state", "events"),
    [
        ((), True, "Promoted", ("promoted",)),
        ((), False, "Registered", ()),
        (("bias",), False, "Refused", ("refused",)),
        (("bias", "shift"), False, "Refused", ("refused", "drift")),
    ],
)
def test_outcomes_become_states_and_events(
    failed: tuple[str, ...], promoted: bool, state: str, events: tuple[str, ...]
) -> None:
    keys = ("naive", "bias", "shift")
    checks = tuple(Check(key, f"name of {key}", "1", "0", key not in failed) for key in keys)
    outcome: Any = SimpleNamespace(
        decision=Decision("gru", None, "mase", checks),
        promoted=promoted,
        version=3,
        run_id="r",
        data_hash="d",
        late="",
        evaluation=SimpleNamespace(has_champion=False, champion_problem=None),
    )
    result = trained(outcome)
    assert (result.state, result.events) == (state, events)
    assert result.line.startswith("version 3 ")
    assert all(f"name of {key}" in result.line for key in failed)
    assert ("promoted: " in result.line) is promoted
    assert result.champion is promoted
    outcome.decision = None
    assert (trained(outcome).state, trained(outcome).events) == ("Unchanged", ())
    outcome.late = "3 of 3 series have fallen behind"
    assert (trained(outcome).state, trained(outcome).events) == ("Unchanged", ("drift",))
    assert trained(outcome).line.endswith(outcome.late)


def test_forecasts_follow_training_where_there_is_a_champion_and_a_place_for_them() -> None:
    with_place = build_config(
        {"name": "x", "horizon": 3, "data": {"source": "x.csv"}, "forecast": {"output": "o.csv"}}
    )
    without = with_place.model_copy(update={"forecast": ForecastConfig()})
    refused = JobResult(Ended.REFUSED, "", ("refused",), champion=True)
    assert following("train", with_place, refused) == "forecast"
    assert following("train", with_place, JobResult(Ended.REFUSED, "", champion=False)) is None
    assert following("train", without, refused) is None
    moved = JobResult(Ended.REFUSED, "", ("refused",), champion=True, doubts_the_data=True)
    assert following("train", with_place, moved) is None
    assert following("forecast", with_place, JobResult(Ended.FORECAST, "")) is None


def test_training_follows_watching_only_where_it_is_asked_for() -> None:
    quiet = build_config({"name": "x", "horizon": 3, "data": {"source": "x.csv"}})
    eager = quiet.model_copy(update={"monitor": MonitorConfig(retrain=True)})
    assert following("monitor", eager, JobResult(Ended.RETRAIN, "")) == "train"
    assert following("monitor", quiet, JobResult(Ended.RETRAIN, "")) is None
    assert following("monitor", eager, JobResult(Ended.LOOK, "")) is None


# ------------------------------------------------------------------ with a server of its own

Gatecast = Callable[..., str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scheduled")


@pytest.fixture(scope="module")
def gatecast(place: Path) -> Iterator[Gatecast]:
    """The command, in a folder whose scheduler ends with the module."""
    variables = os.environ | {HOME_VARIABLE: str(place / ".gatecast"), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pipelines.cli", *arguments],
            cwd=place,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    yield run
    run("schedule", "--stop")


@pytest.fixture(scope="module")
def notices() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook's address, and what it was told."""
    told: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", told
        server.shutdown()


@pytest.fixture
def write(
    place: Path, experiment: Callable[..., ExperimentConfig], notices: tuple[str, list[Any]]
) -> Callable[..., Path]:
    """The small experiment as a config file."""

    def make(name: str, **changes: Any) -> Path:
        settings = {
            "webhook": notices[0],
            "notify": ["failed", "refused", "promoted"],
            "retry_delay": [0.1],
        } | changes.pop("schedule", {})
        config = experiment(name, schedule=settings, **changes)
        path = place / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
        return path

    return make


@pytest.fixture
def scheduled(gatecast: Gatecast) -> Iterator[Callable[..., str]]:
    """Put a config on the clock until the test ends."""
    names: list[str] = []

    def put(path: Path, *when: str) -> str:
        names.append(path.stem)
        return gatecast("schedule", str(path), *when)

    yield put
    for name in names:
        gatecast("schedule", name, "--remove")


@pytest.mark.slow
@pytest.mark.timeout(1800)
class TestOnAServer:
    def test_a_scheduled_run_fires_and_registers_a_model(
        self,
        gatecast: Gatecast,
        write: Callable[..., Path],
        place: Path,
        scheduled: Callable[..., str],
        notices: tuple[str, list[dict[str, Any]]],
    ) -> None:
        said = scheduled(write("nightly"), "--every", "30s", "--tz", "Europe/Paris")
        assert "every 30s (Europe/Paris)" in said
        notice = until(lambda: next((n for n in notices[1] if n["model"] == "nightly"), None))
        assert notice["event"] == "promoted"
        assert "nightly: champion 1" in gatecast("history", "nightly")
        # The next runs find nothing new, and say so; none of them registers anything.
        listed = until(lambda: "Unchanged" in (text := gatecast("schedule", "--list")) and text)
        assert "nightly  train  every 30s" in listed
        assert "nightly: champion 1\n" in gatecast("history", "nightly")
        until(lambda: "training gru" in gatecast("schedule", "nightly", "--logs"))
        private = place / ".gatecast" / "prefect"
        assert private.stat().st_mode & 0o077 == 0
        assert not list((private).glob("storage/*")), "Prefect stored a pickled result"

    def test_paused_it_waits_and_resumed_it_runs(
        self, gatecast: Gatecast, write: Callable[..., Path], scheduled: Callable[..., str]
    ) -> None:
        path = write("paused")
        scheduled(path, "--cron", "0 3 * * *", "--tz", "Etc/UTC")
        assert "(Etc/UTC)  paused" in gatecast("schedule", str(path), "--pause")
        assert "(Etc/UTC)  paused" in gatecast("schedule", "--list")
        assert "(Etc/UTC)  next" in gatecast("schedule", "paused", "--resume")
        # Scheduled again it is replaced, and what was planned for the old hour with it.
        gatecast("schedule", str(path), "--pause")
        again = gatecast("schedule", str(path), "--cron", "30 4 * * 1", "--tz", "Europe/Paris")
        assert "30 4 * * 1 (Europe/Paris)  next" in again
        assert "0 3 * * *" not in gatecast("schedule", "--list")

    def test_a_run_by_hand_ends_within_its_time_and_tells_of_it(
        self,
        gatecast: Gatecast,
        write: Callable[..., Path],
        scheduled: Callable[..., str],
        notices: tuple[str, list[dict[str, Any]]],
    ) -> None:
        path = write("endless", training={"max_steps": 500_000}, schedule={"timeout": 20})
        scheduled(path, "--cron", "0 3 * * *")
        assert "is queued" in gatecast("schedule", "endless", "--run-now")
        notice = until(lambda: next((n for n in notices[1] if n["model"] == "endless"), None))
        assert notice["event"] == "failed"
        assert "longer than schedule.timeout, 20 s" in notice["message"]
        assert gatecast("schedule", "endless", "--logs").count("reading the data") == 1

    def test_a_killed_run_is_told_of_and_its_place_is_free_again(
        self,
        gatecast: Gatecast,
        write: Callable[..., Path],
        place: Path,
        scheduled: Callable[..., str],
        notices: tuple[str, list[dict[str, Any]]],
    ) -> None:
        path = write("killed", training={"max_steps": 500_000})
        scheduled(path, "--cron", "0 3 * * *")
        gatecast("schedule", "killed", "--run-now")
        until(lambda: "training gru" in gatecast("schedule", "killed", "--logs"))
        os.kill(run_process(place), signal.SIGKILL)
        notice = until(lambda: next((n for n in notices[1] if n["model"] == "killed"), None))
        assert "the run's process died" in notice["message"]
        assert "killed" not in gatecast("history", "killed", code=2)
        write("killed")
        gatecast("schedule", "killed", "--run-now")
        until(lambda: any(n["event"] == "promoted" for n in notices[1] if n["model"] == "killed"))
        assert "killed: champion 1" in gatecast("history", "killed")

    def test_after_an_outage_one_run_catches_up(
        self,
        gatecast: Gatecast,
        write: Callable[..., Path],
        place: Path,
        scheduled: Callable[..., str],
    ) -> None:
        path = write("outage", training={"max_steps": 500_000})
        scheduled(path, "--every", "20s")
        until(lambda: "training gru" in gatecast("schedule", "outage", "--logs"))
        folder = place / ".gatecast" / "prefect"
        for name in ("supervisor", "server", "worker"):
            os.kill(int((folder / f"{name}.pid").read_text()), signal.SIGKILL)
        os.kill(run_process(place), signal.SIGKILL)
        write("outage")
        time.sleep(45)
        gatecast("schedule", "--list")
        log = until(lambda: (t := (folder / "supervisor.log").read_text()).count("ready") > 1 and t)
        assert "its process was gone after an outage; queued again" in log
        assert "the last of them catches up" in log
        until(lambda: "outage: champion 1" in try_history(gatecast, "outage"))

    def test_stopped_nothing_of_it_is_left(self, gatecast: Gatecast, place: Path) -> None:
        assert "stopped" in gatecast("schedule", "--stop")
        folder = place / ".gatecast" / "prefect"
        for name in ("supervisor", "server", "worker"):
            assert not alive(int((folder / f"{name}.pid").read_text()), "prefect")
        assert "no scheduler was running" in gatecast("schedule", "--stop")


def run_process(place: Path) -> int:
    """The process of the run under way in a state folder."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text()
            home = f"{HOME_VARIABLE}={place / '.gatecast'}"
            if "prefect.engine" in command and home in (folder / "environ").read_text():
                return int(folder.name)
        except OSError:
            continue
    raise AssertionError("no run is under way")


def try_history(gatecast: Gatecast, name: str) -> str:
    try:
        return gatecast("history", name)
    except AssertionError:
        return ""
