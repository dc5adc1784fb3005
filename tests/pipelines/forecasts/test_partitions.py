"""A folder forecast file by file is the table forecast at once; nothing is half there or twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.errors import ConfigError, DataError
from pipelines.cli import build
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import prepare
from pipelines.forecasts import forecast as score
from pipelines.forecasts import partitions
from pipelines.forecasts.forecast import forecast
from pipelines.forecasts.partitions import forecast_partitions, partitions_of
from tests.pipelines.small import crown, small_bundle

Make = Callable[..., ExperimentConfig]
KEYS = ["unique_id", "step"]


@pytest.fixture(scope="module")
def folder(monthly: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table in three files, one of them in a folder of its own; and a mark that is no data."""
    root = tmp_path_factory.mktemp("parts")
    (root / "region=b").mkdir()
    ids = monthly["unique_id"].unique()
    for k, name in enumerate(("a.parquet", "region=b/b.parquet", "c.parquet")):
        monthly[monthly["unique_id"].isin(ids[k::3])].to_parquet(root / name, index=False)
    monthly.head(0).to_parquet(root / "empty.parquet", index=False)
    (root / "_SUCCESS").touch()
    return root


@pytest.fixture(scope="module")
def config(
    state: Path, experiment: Make, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """An experiment with a champion of a few steps."""
    made = experiment("parted")
    crown(made, small_bundle(made, prepare(made).panel, tmp_path_factory.mktemp("bundle")))
    return made


def read(path: str | Path) -> pd.DataFrame:
    parts = [pd.read_parquet(p, partitioning=None) for p in sorted(Path(path).rglob("*.parquet"))]
    frame = pd.concat(parts, ignore_index=True).sort_values(KEYS, ignore_index=True)
    return frame.drop(columns=["created", "job"])


def test_files_one_at_a_time_give_what_the_table_gives_bit_for_bit(
    config: ExperimentConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "CHUNK", 5)
    whole = forecast(config, out=str(tmp_path / "whole") + "/")
    parts = forecast_partitions(config, data=str(folder), out=str(tmp_path / "parts"))
    pd.testing.assert_frame_equal(read(parts.target), read(Path(whole.target).parent))
    assert (parts.series, parts.rows, parts.asked) == (whole.series, whole.rows, whole.asked)
    names = {p.relative_to(parts.target).as_posix() for p in Path(parts.target).rglob("*.parquet")}
    assert names == {"a.parquet", "region=b/b.parquet", "c.parquet"}
    assert [p.name for p in (tmp_path / "parts").iterdir()] == [Path(parts.target).name]


def test_a_run_that_was_cut_off_goes_on_with_the_files_that_are_missing(
    config: ExperimentConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(forecast_partitions(config, data=str(folder), out=str(tmp_path / "e")).target)
    asked: list[str] = []
    one = partitions._one

    def cut(run: Any, file: Path, *rest: Any) -> None:
        asked.append(file.name)
        if file.name == "c.parquet" and asked.count(file.name) == 1:
            raise KeyboardInterrupt
        one(run, file, *rest)

    monkeypatch.setattr(partitions, "_one", cut)
    out = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        forecast_partitions(config, data=str(folder), out=str(out))
    assert [p for p in out.iterdir() if not p.name.startswith(".")] == []
    again = forecast_partitions(config, data=str(folder), out=str(out))
    assert [name for name in asked if asked.count(name) > 1] == ["c.parquet", "c.parquet"]
    assert again.kept + again.series == again.asked
    pd.testing.assert_frame_equal(read(again.target), expected)


def test_a_kill_after_the_forecasts_took_their_place_loses_none(
    config: ExperimentConfig, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = shutil.rmtree

    def killed(path: Path, **options: Any) -> None:
        if path.name.endswith(".facts"):
            raise KeyboardInterrupt
        remove(path, **options)

    with monkeypatch.context() as patched:
        patched.setattr(partitions.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            forecast_partitions(config, data=str(folder), out=str(tmp_path))
    (target,) = [p for p in tmp_path.iterdir() if not p.name.startswith(".")]
    before = read(target)
    again = forecast_partitions(config, data=str(folder), out=str(tmp_path))
    pd.testing.assert_frame_equal(read(again.target), before)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_what_others_keep_beside_it_stays_and_what_a_kill_took_away_comes_back(
    config: ExperimentConfig, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / ".vim.old").mkdir()
    (tmp_path / ".bashrc.old").touch()
    (tmp_path / ".other-v1.under-way").mkdir()
    # A run of earlier data was being replaced when it was killed; another had been.
    (tmp_path / ".parted-v1-0123abcd.old").mkdir()
    (tmp_path / ".parted-v1-0123abcd.old" / "a.parquet").touch()
    (tmp_path / ".parted-v1-4567abcd.old").mkdir()
    (tmp_path / "parted-v1-4567abcd").mkdir()
    (tmp_path / ".parted-v1-4567abcd.under-way").mkdir()
    written = forecast_partitions(config, data=str(folder), out=str(tmp_path))
    assert (tmp_path / "parted-v1-0123abcd" / "a.parquet").exists()
    assert {p.name for p in tmp_path.iterdir()} == {
        ".vim.old", ".bashrc.old", ".other-v1.under-way", "parted-v1-0123abcd",
        "parted-v1-4567abcd", Path(written.target).name,
    }  # fmt: skip


def test_text_that_one_file_cannot_tell_the_reading_of_is_refused(
    config: ExperimentConfig, monthly: pd.DataFrame, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    monthly.assign(y=monthly["y"].astype(str)).to_parquet(source / "a.parquet", index=False)
    with pytest.raises(DataError, match=r"csv\.decimal"):
        forecast_partitions(config, data=str(source), out=str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="would be read as series"):
        forecast_partitions(config, data=str(source), out=str(source / "out"))


def test_a_series_in_two_files_is_refused_and_nothing_is_written(
    config: ExperimentConfig, monthly: pd.DataFrame, tmp_path: Path
) -> None:
    source, first = tmp_path / "source", monthly["unique_id"].iloc[0]
    source.mkdir()
    own = monthly[monthly["unique_id"] == first]
    own.head(60).to_parquet(source / "old.parquet", index=False)
    own.tail(40).to_parquet(source / "new.parquet", index=False)
    with pytest.raises(DataError, match=r"in new.parquet and old.parquet"):
        forecast_partitions(config, data=str(source), out=str(tmp_path / "out"))
    assert [p for p in (tmp_path / "out").iterdir() if not p.name.startswith(".")] == []


def test_series_that_cannot_be_forecast_are_told_and_the_others_are(
    config: ExperimentConfig, monthly: pd.DataFrame, folder: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    pd.read_parquet(folder / "a.parquet").to_parquet(source / "a.parquet")
    last = monthly.groupby("unique_id").tail(1).head(1).assign(unique_id="lone", y=np.nan)
    last.to_parquet(source / "b.parquet", index=False)
    written = forecast_partitions(config, data=str(source), out=str(tmp_path / "out"))
    assert [problem.id for problem in written.problems] == ["lone"]
    assert written.asked == written.series + 1
    assert "lone" not in set(read(written.target)["unique_id"])


def test_what_is_no_folder_of_parquet_files_is_said(
    config: ExperimentConfig, table: Path, tmp_path: Path
) -> None:
    assert partitions_of(str(table)) == []
    (tmp_path / "a.csv").write_text("unique_id,ds,y\n")
    assert partitions_of(str(tmp_path)) == []
    run = CliRunner().invoke(
        build(), ["forecast", "parted", "--data", str(table), "--workers", "2"]
    )
    assert isinstance(run.exception, ConfigError)
    assert "a folder of Parquet files" in str(run.exception)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"data": {"known": {"source": "prices.csv", "columns": "price"}}}, "data.known is joined"),
        ({"forecast": {"future": "plan.csv"}}, "stand below the history in each"),
        ({"forecast": {"joint": {"paths": 10}}}, "made of all series at once"),
    ],
)
def test_what_needs_all_series_at_once_is_refused(
    config: ExperimentConfig, folder: Path, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    values = config.model_dump(mode="json", exclude_unset=True)
    for section, told in changed.items():
        values[section] = {**values.get(section, {}), **told}
    with pytest.raises(ConfigError, match=said):
        forecast_partitions(build_config(values), data=str(folder), out=str(tmp_path / "to"))
    assert not (tmp_path / "to").exists()


def test_the_command_forecasts_a_folder(
    config: ExperimentConfig, folder: Path, tmp_path: Path
) -> None:
    command = ["forecast", "parted", "--data", str(folder), "--workers", "1"]
    run = CliRunner().invoke(build(), [*command, "--out", str(tmp_path / "out") + "/"])
    assert run.exit_code == 0, run.output
    assert len(read(tmp_path / "out")) == 24 * config.horizon
