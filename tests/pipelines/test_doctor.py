"""The doctor finds what is missing, says what to do, and is not stopped by its own failures."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from threading import Thread

import pytest

from pipelines import doctor
from pipelines.doctor import Check


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("GATECAST_HOME", str(folder))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_working_installation_is_ready(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert doctor.main() == 0
    table = capsys.readouterr().out
    for name in ("python", "packages", "device", "processor", "disk space", "tracking store"):
        assert name in table
    assert table.rstrip().endswith("Ready.")


def test_every_failed_check_says_what_to_do(state: Path) -> None:
    assert [check for check in doctor.run_doctor() if not check.ok and not check.fix] == []


def test_a_missing_essential_makes_the_command_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checks = [Check("packages", False, "none", "install [them]"), Check("port", True, "free")]
    monkeypatch.setattr(doctor, "run_doctor", lambda **_: checks)
    assert doctor.main() == 1
    printed = capsys.readouterr().out
    assert "install [them]" in printed
    assert "Not ready: packages." in printed


def test_an_optional_lack_does_not_make_the_command_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [Check("port", False, "in use", "stop it", essential=False)]
    monkeypatch.setattr(doctor, "run_doctor", lambda **_: checks)
    assert doctor.main() == 0


@pytest.mark.slow
def test_torch_is_loaded_only_where_it_is_asked_for(state: Path) -> None:
    code = "import atexit, sys; atexit.register(lambda: print('torch' in sys.modules))\n"
    code += "from pipelines.cli import main; main()"
    if doctor.NVIDIA_DRIVER.exists():
        pytest.skip("where there is a driver, torch is asked for the GPU")
    for options, loaded in (([], "False"), (["--thorough"], "True")):
        command = [sys.executable, "-c", code, "doctor", *options]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert run.stdout.splitlines()[-2:] == ["Ready.", loaded], run.stderr


def test_what_does_not_load_is_named_by_the_thorough_doctor(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(doctor, "SLOW", ("onnxruntime",))
    (check,) = [c for c in doctor.run_doctor(thorough=True) if c.name == "onnxruntime"]
    assert not check.ok
    assert "does not load" in check.found
    assert "again" in check.fix


def test_a_lean_installation_is_ready_and_told_what_it_lacks(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    true = metadata.version

    def lean(name: str) -> str:
        if name in ("torch", "mlflow"):
            raise metadata.PackageNotFoundError(name)
        return true(name)

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(doctor.metadata, "version", lean)
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: ["numpy>=2"])
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setitem(sys.modules, "alembic", None)
    state.mkdir()
    with closing(sqlite3.connect(state / "mlflow.db")) as database:
        database.execute("CREATE TABLE registered_models (name TEXT)")
    monkeypatch.setattr(doctor, "NVIDIA_DRIVER", state / "no-driver")
    assert doctor.main(thorough=False) == 0
    checks = {check.name: check for check in doctor.run_doctor()}
    for name, group in (("device", "train"), ("tracking store", "pipelines")):
        assert not checks[name].ok
        assert not checks[name].essential
        assert f"[{group}]" in checks[name].fix
    assert "gatecast demo" not in capsys.readouterr().out


def test_a_check_that_breaks_is_reported_and_the_others_still_run(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> list[Check]:
        raise RuntimeError("driver went away")

    monkeypatch.setattr(doctor, "check_device", broken)
    checks = {check.name: check for check in doctor.run_doctor()}
    assert not checks["device"].ok
    assert "driver went away" in checks["device"].found
    assert checks["state folder"].ok


def test_a_package_outside_its_range_and_one_that_is_missing_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = ["numpy>=99", "no-such-distribution>=1", "pandas", "gone; python_version<'3'"]
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    summary, *wrong = doctor.check_packages()
    assert not summary.ok
    assert "1 of 3 in range" in summary.found
    assert [(check.name, check.found) for check in wrong] == [
        ("numpy", metadata.version("numpy")),
        ("no-such-distribution", "not installed"),
    ]
    assert "numpy>=99" in wrong[0].fix


def test_a_missing_extra_is_optional_and_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["numpy", "no-such-distribution; extra == 'schedule'"]
    )
    (check,) = doctor.check_extras()
    assert (check.name, check.ok, check.essential) == ("extra: schedule", False, False)
    assert "[schedule]" in check.fix


def test_an_old_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4, "final", 0))
    (check,) = doctor.check_python()
    assert not check.ok
    assert check.found.startswith("3.10.4")
    assert ">=3.11" in check.fix


def test_more_threads_thancores_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cores", lambda: 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setenv("MKL_NUM_THREADS", "2")
    (check,) = doctor.check_processor()
    assert (check.ok, check.essential) == (False, False)
    assert check.fix == "set OMP_NUM_THREADS to at most 2"


def test_a_state_folder_that_cannot_be_made_is_essential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / "file" / "state"))
    (check,) = doctor.check_state()
    assert (check.ok, check.essential) == (False, True)
    assert "GATECAST_HOME" in check.fix


def test_too_little_disk_space_is_told(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("usage", (), {"free": 2**20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: usage)
    space = doctor.check_state()[1]
    assert not space.ok
    assert "free at least" in space.fix


def test_a_store_that_does_not_exist_yet_is_fine_and_stays_absent(state: Path) -> None:
    (check,) = doctor.check_tracking()
    assert check.ok
    assert not (state / "mlflow.db").exists()


def test_a_file_that_is_no_database_is_told(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mlflow.db"
    file.write_bytes(b"this is no database, but long enough to look like a file" * 20)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file}")
    (check,) = doctor.check_tracking()
    assert not check.ok
    assert "no SQLite database" in check.found


def test_a_store_of_another_schema_is_told(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.tracking.store import connect

    connect(f"sqlite:///{tmp_path}/new.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    assert doctor.check_tracking()[0].ok
    old = shutil.copy(tmp_path / "new.db", tmp_path / "old.db")
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{old}")
    (check,) = doctor.check_tracking()
    assert not check.ok
    assert "mlflow db upgrade" in check.fix


def test_a_dead_tracking_server_is_told_without_its_password(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:hush@127.0.0.1:9")
    (check,) = doctor.check_tracking()
    assert not check.ok
    assert "hush" not in check.found + check.fix


def test_a_busy_port_is_noted_with_another_one(busy_port: int) -> None:
    (check,) = doctor.check_port(busy_port)
    assert (check.ok, check.essential) == (False, False)
    assert check.found == f"{busy_port} is in use"
    assert str(busy_port + 1) in check.fix


def test_the_named_scheduler_is_asked(monkeypatch: pytest.MonkeyPatch, busy_port: int) -> None:
    class Healthy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/api/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Keep the tests' output clean."""

    server = HTTPServer(("127.0.0.1", 0), Healthy)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        assert doctor.check_scheduler()[0].ok
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/other")
        assert not doctor.check_scheduler()[0].ok
    finally:
        server.shutdown()
        server.server_close()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    (check,) = doctor.check_scheduler()
    assert (check.ok, check.essential) == (False, False)


def test_a_data_folder_that_is_not_there_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_DATA", str(tmp_path))
    assert doctor.check_data()[0].ok
    monkeypatch.setenv("GATECAST_DATA", str(tmp_path / "absent"))
    assert not doctor.check_data()[0].ok


def test_a_folder_of_the_users_that_hides_ours_is_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [check.ok for check in doctor.check_names()] == [True]
    (tmp_path / "forecasting").mkdir()
    (tmp_path / "serving.py").touch()
    (check,) = doctor.check_names()
    assert not check.ok
    assert not check.essential
    assert check.found.startswith("forecasting, serving.py in ")
    assert "rename" in check.fix


def test_our_own_sources_hide_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert [check.ok for check in doctor.check_names()] == [True]


def test_of_a_wheel_no_file_is_named_that_it_does_not_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    missing = metadata.PackageNotFoundError("x")

    def nothing(_: str) -> str:
        raise missing

    monkeypatch.setattr(doctor.metadata, "version", nothing)
    monkeypatch.setattr(doctor, "_installed", lambda: True)
    fixes = [check.fix for check in doctor.check_extras() if not check.ok]
    assert fixes
    assert not any("constraints.txt" in fix or " -e " in fix for fix in fixes)
    assert any('pip install "gatecast[' in fix for fix in fixes)
    (tmp_path / "constraints.txt").touch()
    fixes = [check.fix for check in doctor.check_extras() if not check.ok]
    assert all("-c constraints.txt -e " in fix for fix in fixes)
