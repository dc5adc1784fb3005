"""Looking back: what was known, who was asked, and whether what was said comes out again."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError, GatecastError
from pipelines.cli import build
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.forecasts.cutoffs import Past, known_at, read_stamp
from pipelines.forecasts.forecast import forecast
from pipelines.forecasts.past import look_back
from pipelines.ingestion.config import KnownConfig
from pipelines.registry import registry as registering
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect
from tests.pipelines.small import crown, monthly_panel, small_bundle

Make = Callable[..., ExperimentConfig]
NUMBERS = ["mean", "q0.1", "q0.5", "q0.9"]


class Clock(datetime.datetime):
    """Says that it is some other day."""

    today_is = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.today_is


@pytest.fixture(scope="module")
def config(state: Path, experiment: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Version 1 was champion from 1988 on, version 2 from 1991 on; rows end in 1991."""
    months = np.arange(144)
    y = 50.0 + 5.0 * np.sin(months * np.pi / 6.0) + np.random.default_rng(0).normal(size=(8, 144))
    path = tmp_path_factory.mktemp("dated") / "dated.parquet"
    monthly_panel(y, "1980-01-01").to_frame().to_parquet(path)
    made = experiment("looked", data={"source": str(path)})
    with pytest.MonkeyPatch.context() as patch:
        for year in (1988, 1991):
            Clock.today_is = datetime.datetime(year, 1, 1, tzinfo=datetime.UTC)
            patch.setattr(registering.datetime, "datetime", Clock)
            panel = prepare(made).panel.truncate(0 if year == 1988 else 12)
            folder = tmp_path_factory.mktemp("bundle")
            crown(made, small_bundle(made, panel, folder))
            patch.undo()
    return made


def test_the_history_says_who_was_champion(config: ExperimentConfig) -> None:
    registry = Registry(connect(None))
    for day, version in (("1988-01-02", 1), ("1990-12-31", 1), ("1991-06-01", 2)):
        moment = datetime.datetime.fromisoformat(day).replace(tzinfo=datetime.UTC)
        assert registry.champion_at("looked", moment) == version
    with pytest.raises(GatecastError, match=r"first was made champion at 1988-01-01.*looked@1"):
        registry.champion_at("looked", datetime.datetime(1987, 1, 1, tzinfo=datetime.UTC))


def test_what_is_said_of_a_past_cutoff_is_what_the_cut_table_gets(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    looked = look_back(config, Past.as_of("1990-12-31"), out=str(tmp_path / "then.parquet"))
    assert [batch.version for batch in looked.batches] == [1]
    then = pd.read_parquet(tmp_path / "then.parquet")
    table = pd.read_parquet(str(config.data.source))
    table[table["ds"] <= "1990-12-31"].to_parquet(tmp_path / "cut.parquet")
    forecast(
        config, model="looked@1", data=str(tmp_path / "cut.parquet"),
        out=str(tmp_path / "now.parquet"), track=False,
    )  # fmt: skip
    now = pd.read_parquet(tmp_path / "now.parquet")
    for name in ("unique_id", "cutoff", "ds", "step", *NUMBERS):
        assert then[name].equals(now[name]), name
    assert then["cutoff"].max() <= pd.Timestamp("1990-12-31")


def test_a_backfill_asks_each_cutoff_of_its_champion(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    past = Past("1990-08-15", "1991-02-15", every=3)
    looked = look_back(config, past, out=str(tmp_path / "all.parquet"))
    found = pd.read_parquet(tmp_path / "all.parquet")
    newest = found.groupby("version")["cutoff"].max().dt.strftime("%Y-%m").to_dict()
    assert newest == {1: "1990-11", 2: "1991-02"}
    assert len(looked.batches) == 3 - 1
    assert "versions 1, 2" in looked.line
    again = look_back(config, past, out=f"{tmp_path / 'folder'}/")
    files = sorted((tmp_path / "folder").glob("*.parquet"))
    assert len(files) == len(again.batches) == 2
    together = pd.concat(map(pd.read_parquet, files))
    assert sorted(together["q0.5"]) == sorted(found["q0.5"])


def test_what_was_kept_comes_out_as_it_was_said(config: ExperimentConfig, tmp_path: Path) -> None:
    """Bit for bit; and where the table is another now it is said, and what was said stays."""
    table = pd.read_parquet(str(config.data.source))
    early = table[table["ds"] <= "1989-06-30"]
    early.to_parquet(tmp_path / "early.parquet")
    kept = tmp_path / "kept.parquet"
    # A version that nobody would ask by the history: what was kept says who was.
    forecast(config, model="looked@2", data=str(tmp_path / "early.parquet"), out=str(kept),
             track=False)  # fmt: skip
    own = config.model_copy(update={"monitor": config.monitor.replace(forecasts=str(kept))})
    said: list[str] = []
    looked = look_back(own, Past.as_of("1989-06-30"), out=str(tmp_path / "x.csv"), say=said.append)
    assert looked.batches[0].version == 2
    assert looked.agreement.same == looked.batches[0].series > 0
    assert "come out again bit for bit" in looked.line
    assert any("version 2 learned from rows after 1989-06" in line for line in said)
    table.loc[table["ds"] < "1989-06-01", "y"] *= 1.5
    table.to_parquet(tmp_path / "revised.parquet")
    looked = look_back(
        own, Past.as_of("1989-06-30"), data=str(tmp_path / "revised.parquet"),
        out=str(tmp_path / "y.parquet"),
    )  # fmt: skip
    assert looked.agreement.other > 0
    assert "otherwise: the table" in looked.line
    before, after = (pd.read_parquet(p) for p in (kept, tmp_path / "y.parquet"))
    assert before[NUMBERS].equals(after[NUMBERS])


@pytest.mark.parametrize(
    ("past", "reason"),
    [
        (Past.as_of("soon"), "'soon' is no date: write it as 2024-01-31"),
        (Past.as_of("NaN"), "'NaN' is no date"),
        (Past("1990-02-02", "1990-02-20"), "no stamp of the data lies between"),
        (Past.as_of("1700-01-01"), "before the first row of the data"),
        (Past("2091-01-01", "2092-01-01"), "after the last row of the data"),
        (Past("1990-02-01", "1990-01-01"), "the second is before the first"),
        (Past("1990-01-01", "1990-02-01", every=0), "--every 0"),
        (Past.as_of("1987-01-01"), "no version of 'looked' was champion at 1987-01-01"),
        (Past.as_of("1990-01-01T00:00+01:00"), "has a time zone"),
    ],
)
def test_a_past_that_cannot_be_looked_at_is_refused(
    config: ExperimentConfig, tmp_path: Path, past: Past, reason: str
) -> None:
    with pytest.raises(GatecastError, match=reason):
        look_back(config, past, out=str(tmp_path / "none.parquet"))
    assert not (tmp_path / "none.parquet").exists()


def test_a_past_is_refused_where_covariates_are_joined_as_of_now(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    known = KnownConfig(source=str(tmp_path / "prices.csv"), columns=("price",))
    own = config.model_copy(update={"data": config.data.replace(known=known)})
    with pytest.raises(ConfigError, match="later values would be seen"):
        look_back(own, Past.as_of("1990-12-31"), out=str(tmp_path / "none.parquet"))


def test_what_is_said_now_is_not_overwritten_by_what_was_said(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    own = config.model_copy(
        update={"forecast": config.forecast.replace(output=str(tmp_path / "now.parquet"))}
    )
    with pytest.raises(ConfigError, match="is one file, which holds what is said now"):
        look_back(own, Past.as_of("1990-12-31"))


def test_what_is_known_at_a_stamp_ends_there_for_every_series() -> None:
    panel = monthly_panel(np.arange(24.0).reshape(2, 12))
    known = known_at(panel, np.datetime64("2000-05-20"), 3)
    assert known.lengths.tolist() == [5, 5]
    late = Panel.from_arrays(
        ["a", "b"], np.arange(8.0), np.array([6, 2]),
        np.array(["2000-01-01", "2000-09-01"], "datetime64[us]"), "MS",
    )  # fmt: skip
    assert known_at(late, np.datetime64("2000-08-31"), 3).ids.tolist() == ["a"]


def test_cutoffs_lie_on_the_grid_and_not_before_the_first(config: ExperimentConfig) -> None:
    panel = monthly_panel(np.arange(24.0).reshape(2, 12))
    found = Past("2000-02-10", "2000-06-01", 2).cutoffs(panel)
    assert [str(c)[:7] for c in found] == ["2000-04", "2000-06"]
    for late in ("2000-12-01", "2000-12-20", "2091-01-01"):
        found = Past.as_of(late).cutoffs(panel)
        assert [str(c)[:10] for c in found] == ["2000-12-01"]
    with pytest.raises(DataError, match="10,000 are made at once"):
        Past("1900", "2100").cutoffs(
            Panel.from_arrays(["a"], np.zeros(20_000), np.array([20_000]),
                              np.array(["1990-01-01"], "datetime64[us]"), "D")
        )  # fmt: skip


@pytest.mark.parametrize("hour", ["2026-03-29T02:30", "2026-10-25T02:30"])
def test_an_hour_that_a_clock_skips_or_strikes_twice_is_asked_for_with_its_offset(
    hour: str,
) -> None:
    stamps = pd.date_range("2026-03-01", periods=24, freq="h", tz="Europe/Madrid")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0})
    panel = Panel.from_frame(frame, freq="h")
    with pytest.raises(DataError, match=f"'{hour}' is no hour in Europe/Madrid, or two"):
        read_stamp(hour, panel)
    assert str(read_stamp(f"{hour}+01:00", panel))[:16] == hour.replace("T02", "T01")


def test_the_command_looks_back_and_refuses_both_at_once(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    path = tmp_path / "looked.yaml"
    path.write_text(config.to_yaml())
    run = CliRunner().invoke(
        build(), ["forecast", str(path), "--as-of", "1990-12-31", "--out", str(tmp_path / "a.csv")]
    )
    assert run.exit_code == 0, run.output
    assert "as of 1 cutoff, version 1" in run.output
    to = str(tmp_path / "b.csv")
    run = CliRunner().invoke(
        build(), ["forecast", str(path), "--as-of", "1990-12-31", "--out", to, "--json"]
    )
    answer = json.loads(run.stdout)
    assert answer["made"] == [to]
    assert [batch["version"] for batch in answer["batches"]] == [1]
    both = [
        "forecast",
        str(path),
        "--as-of",
        "1990-12-31",
        "--backfill",
        "1990-01-01",
        "1990-02-01",
    ]
    refused = CliRunner().invoke(build(), both)
    assert refused.exit_code != 0
    assert "exclude each other" in str(refused.exception) + refused.output


def test_looking_back_fails_where_too_many_series_have_no_forecast(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    frame = pd.read_parquet(str(config.data.source))
    silent = frame["unique_id"].isin(frame["unique_id"].unique()[:3]) & (frame["ds"] > "1985-01-01")
    frame.loc[silent, "y"] = np.nan
    frame.to_parquet(tmp_path / "silent.parquet")
    path = tmp_path / "looked.yaml"
    path.write_text(config.to_yaml())
    asked = ["forecast", str(path), "--data", str(tmp_path / "silent.parquet")]
    asked += ["--as-of", "1990-12-31", "--out", str(tmp_path / "a.csv")]
    run = CliRunner().invoke(build(), asked)
    assert run.exit_code == 1, run.output
    assert "37.5 % of the series have no forecast; gate.max_refused allows" in run.output
    assert (tmp_path / "a.csv").is_file()
