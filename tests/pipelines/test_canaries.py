"""Secrets given to every command are afterwards in nothing that it printed, wrote or told."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pyarrow as pa
import pytest
import yaml

from pipelines import cli
from pipelines.config import ExperimentConfig
from pipelines.ingestion.read.sources import OPENERS
from tests.pipelines.sinks import Hook

CANARIES = ("canary-Pa55+word", "canary-T0ken+x")
TABLE = f"canned://ann:{CANARIES[0]}@host/table.csv;{CANARIES[1]}?token={CANARIES[1]}#{CANARIES[0]}"
DEAD = [
    f"http://ann:{CANARIES[0]}@127.0.0.1:9/x.csv?token={CANARIES[1]}",
    f"postgresql://ann:{CANARIES[0]}@127.0.0.1:9/db?password={CANARIES[1]}",
    f"postgresql://ann:{CANARIES[0]}@{CANARIES[1]}@127.0.0.1:9/db",
    f"http://127.0.0.1:9/x.csv;jsessionid={CANARIES[0]}#{CANARIES[1]}",
    f"nowhere://ann:{quote(CANARIES[0])}@127.0.0.1:9/x#access_token={CANARIES[1]}",
]


def traces(text: bytes) -> list[bytes]:
    """The forms of the canaries in some bytes: plain, percent-encoded, base64."""
    forms = {form.encode() for c in CANARIES for form in (c, quote(c), quote(c, safe=""))}
    forms |= {base64.b64encode(c.encode()).rstrip(b"=")[:-1] for c in CANARIES}
    forms |= {b"Pa55", b"T0ken"}
    return [form for form in forms if form in text]


@pytest.fixture
def gatecast(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., int]:
    """Runs a command in this process, in a folder of its own; nothing it prints has a secret."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / ".gatecast"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gatecast", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        printed = capfd.readouterr()
        assert not traces((printed.out + printed.err).encode()), printed
        return int(left.value.code or 0)

    return run


def search(folder: Path, *without: Path) -> None:
    """No file below a folder has a secret in it or in its name."""
    for path in folder.rglob("*"):
        assert not traces(str(path.relative_to(folder)).encode()), path
        if path.is_file() and path not in without:
            assert not traces(path.read_bytes()), path


def test_a_source_that_answers_leaves_no_secret_behind(
    gatecast: Callable[..., int],
    experiment: Callable[..., ExperimentConfig],
    monthly: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    hook: Hook,
) -> None:
    def opened(source: str, _: Any) -> tuple[pa.Table, dict[str, Any]]:
        assert source == TABLE
        return pa.Table.from_pandas(monthly, preserve_index=False), {"kind": "canned"}

    monkeypatch.setitem(OPENERS, "canned", opened)
    values = yaml.safe_load(experiment("canary").to_yaml())
    values["data"]["source"] = TABLE
    values["candidates"] = {"gru": {}}
    hook.url += f"?token={CANARIES[1]}"
    events = ["failed", "refused", "promoted", "drift"]
    values["schedule"] = {"webhook": hook.url, "notify": events}
    config = tmp_path / "canary.yaml"
    config.write_text(yaml.safe_dump(values))
    assert gatecast("ingest", "--config", str(config), "--out", "clean") == 0
    assert gatecast("train", str(config), "--notify") in (0, 3)
    assert gatecast("forecast", str(config), "--out", "forecasts.parquet") == 0
    assert gatecast("forecast", str(config), "--out", DEAD[1], "--notify") != 0
    assert gatecast("forecast", str(config), "--data", DEAD[0], "--notify") != 0
    assert gatecast("monitor", str(config)) == 0
    gatecast("history", "canary")
    assert hook.bodies
    assert not traces(json.dumps(hook.bodies).encode())
    search(tmp_path, config)


@pytest.mark.parametrize("source", DEAD)
@pytest.mark.parametrize("command", ["ingest", "train", "backtest"])
def test_a_source_that_is_away_is_told_without_its_secrets(
    gatecast: Callable[..., int], tmp_path: Path, command: str, source: str
) -> None:
    more = [] if command == "ingest" else ["--horizon", "3"]
    more += (
        ["--set", "table=t" if command == "ingest" else "data.table=t"] if "sql" in source else []
    )
    assert gatecast(command, source, *more) in (1, 2)
    search(tmp_path)


def test_what_a_scheduler_would_show_is_refused(
    gatecast: Callable[..., int], experiment: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    config = tmp_path / "canary.yaml"
    config.write_text(experiment("canary").to_yaml())
    at = ["schedule", "add", str(config), "--every", "6h"]
    assert gatecast(*at, "--set", f"data.source={DEAD[0]}") == 2
    assert gatecast(*at, "--set", f"schedule.webhook=http://127.0.0.1:9/hooks/{CANARIES[1]}") == 2
    search(tmp_path)


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "PREFECT_API_URL"])
def test_the_doctor_tells_no_password_of_a_store(
    gatecast: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv(variable, f"http://ann:{CANARIES[0]}@127.0.0.1:9/api?token={CANARIES[1]}")
    gatecast("doctor")
    search(tmp_path)
