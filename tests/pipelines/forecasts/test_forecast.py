"""Batch forecasts: right numbers in every target, nothing twice, no crash that costs a run."""

from __future__ import annotations

import datetime
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from forecasting.data.panel import Panel
from forecasting.errors import DataError, GatecastError
from forecasting.prediction.example import example_panel
from forecasting.prediction.predictor import Predictor
from forecasting.schema import Schema
from pipelines.cli import build
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import prepare
from pipelines.forecasts import forecast as score
from pipelines.forecasts.file_target import FileTarget
from pipelines.forecasts.forecast import forecast, write
from pipelines.forecasts.job import Job
from pipelines.forecasts.targets import target_of
from pipelines.machine.state import locked
from pipelines.registry.registered import registered_config
from pipelines.training.evaluate import evaluate
from tests.pipelines.small import crown, small_bundle

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"
LEVELS = (0.1, 0.5, 0.9)
Make = Callable[..., ExperimentConfig]


@pytest.fixture(scope="module")
def config(state: Path, experiment: Make, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An experiment with a champion of a few steps."""
    made = experiment("scored")
    bundle = small_bundle(made, prepare(made).panel, tmp_path_factory.mktemp("bundle"))
    crown(made, bundle)
    return made


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.load(BUNDLE)


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five series a piece, so that two dozen series are several pieces."""
    monkeypatch.setattr(score, "CHUNK", 5)


def job(predictor: Predictor, **changes: Any) -> Job:
    values = {
        "model": "m",
        "version": 1,
        "run_id": "r",
        "digest": "d" * 32,
        "newest": "2024-01-01",
        "horizon": predictor.config.horizon,
        "levels": LEVELS,
        "created": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    }
    return Job(**{**values, **changes})


class Dying(FileTarget):
    """A target whose process dies after two pieces."""

    def write(self, piece: int, table: pa.Table) -> None:
        if piece == 2:
            raise KeyboardInterrupt
        super().write(piece, table)


def test_every_series_is_written_with_what_the_predictor_says(
    config: ExperimentConfig, tmp_path: Path, pieces: None
) -> None:
    written = forecast(config, out=str(tmp_path / "out.parquet"))
    found = pd.read_parquet(tmp_path / "out.parquet")
    panel = prepare(config).panel
    registry = score.Registry(score.connect())
    loaded = score.load(registry, registry.version("scored", None))
    expected = loaded.predict_panel(panel, horizon=6, quantiles=LEVELS)
    assert written.series == len(panel) == found["unique_id"].nunique()
    assert not written.problems
    assert list(found["unique_id"]) == list(np.repeat(expected.ids, 6))
    np.testing.assert_allclose(found["q0.5"], expected.quantiles[:, :, 1].ravel(), rtol=1e-6)
    np.testing.assert_allclose(found["mean"], expected.mean.ravel(), rtol=1e-6)
    assert list(found["cutoff"]) == list(np.repeat(panel.last, 6))
    assert set(found["version"]) == {1}
    assert set(found["run_id"]) == {registry.version("scored", None).run_id}


def test_csv_and_sqlite_hold_what_parquet_holds(
    predictor: Predictor, tmp_path: Path, state: Path, pieces: None
) -> None:
    panel = example_panel(predictor, 12)
    outs = ["a.parquet", "a.csv"]
    for out in outs:
        write(predictor, panel, job(predictor), target_of(str(tmp_path / out), "t"))
    write(predictor, panel, job(predictor), target_of(f"sqlite:///{tmp_path}/a.db", "t"))
    parquet = pd.read_parquet(tmp_path / "a.parquet")
    csv = pd.read_csv(tmp_path / "a.csv", parse_dates=["ds", "cutoff"])
    with sqlite3.connect(tmp_path / "a.db") as connection:
        table = pd.read_sql("SELECT * FROM t", connection)
    table = parquet[["unique_id", "step"]].merge(table, validate="1:1")[table.columns]
    for other in (csv, table):
        assert list(other.columns) == list(parquet.columns)
        np.testing.assert_array_equal(other["q0.9"], parquet["q0.9"])
        np.testing.assert_array_equal(pd.to_datetime(other["ds"]), parquet["ds"])
        assert list(other["unique_id"]) == list(parquet["unique_id"])


def test_a_table_written_twice_holds_every_forecast_once(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/f.db"
    first = forecast(config, out=url)
    again = forecast(config, out=url)
    shorter = config.model_copy(update={"history": 60})
    other_data = forecast(shorter, out=url)
    with sqlite3.connect(tmp_path / "f.db") as connection:
        rows = connection.execute("SELECT COUNT(*) FROM forecasts").fetchone()[0]
        jobs = connection.execute("SELECT COUNT(DISTINCT job) FROM forecasts").fetchone()[0]
    assert rows == first.rows == other_data.rows
    assert (again.rows, again.kept) == (0, first.series)
    assert jobs == 1  # the later job's rows took the place of the earlier one's


@pytest.mark.parametrize("out", ["f.parquet", "f.csv"])
def test_a_run_that_was_cut_off_goes_on_and_leaves_nothing_twice(
    predictor: Predictor, tmp_path: Path, state: Path, pieces: None, out: str
) -> None:
    panel = example_panel(predictor, 23)
    path = str(tmp_path / out)
    with pytest.raises(KeyboardInterrupt):
        write(predictor, panel, job(predictor), Dying(path), workers=1)
    assert list(tmp_path.iterdir()) == []  # no half file
    written = write(predictor, panel, job(predictor), FileTarget(path), workers=2)
    read = pd.read_csv if out.endswith("csv") else pd.read_parquet
    found = read(path)
    assert (written.kept, written.series) == (10, 13)
    assert len(found) == 23 * predictor.config.horizon
    assert not found.duplicated(["unique_id", "cutoff", "step"]).any()
    assert [p.name for p in tmp_path.iterdir()] == [out]


def test_a_table_that_was_cut_off_is_completed(
    predictor: Predictor, tmp_path: Path, state: Path, pieces: None, monkeypatch: Any
) -> None:
    panel = example_panel(predictor, 23)
    url = f"sqlite:///{tmp_path}/f.db"
    target = target_of(url, "f")
    whole = target.write
    monkeypatch.setattr(
        target, "write", lambda k, t: whole(k, t) if k < 2 else pytest.fail("cut off")
    )
    with pytest.raises(pytest.fail.Exception):
        write(predictor, panel, job(predictor), target, workers=1)
    written = write(predictor, panel, job(predictor), target_of(url, "f"))
    with sqlite3.connect(tmp_path / "f.db") as connection:
        rows = connection.execute("SELECT COUNT(*) FROM f").fetchone()[0]
    assert (written.kept, written.series) == (10, 13)
    assert rows == 23 * predictor.config.horizon


def test_pieces_of_other_data_are_not_taken_over(
    predictor: Predictor, tmp_path: Path, state: Path, pieces: None
) -> None:
    panel = example_panel(predictor, 12)
    path = str(tmp_path / "f.parquet")
    with pytest.raises(KeyboardInterrupt):
        write(predictor, panel, job(predictor), Dying(path), workers=1)
    written = write(predictor, panel, job(predictor, digest="e" * 32), FileTarget(path))
    assert (written.kept, written.series) == (0, 12)


def test_series_that_cannot_be_forecast_are_named_and_the_others_go_on(
    config: ExperimentConfig, table: Path, tmp_path: Path
) -> None:
    frame = pd.read_parquet(table)
    lost = frame["unique_id"].iloc[0]
    frame.loc[frame["unique_id"] == lost, "y"] = np.nan
    frame.to_parquet(tmp_path / "gap.parquet", index=False)
    written = forecast(config, data=str(tmp_path / "gap.parquet"), out=str(tmp_path / "f.parquet"))
    assert [p.id for p in written.problems] == [str(lost)]
    assert lost not in set(pd.read_parquet(tmp_path / "f.parquet")["unique_id"])
    assert written.series == frame["unique_id"].nunique() - 1


def test_a_folder_gets_one_file_per_job(config: ExperimentConfig, tmp_path: Path) -> None:
    folder = tmp_path / "forecasts"
    forecast(config, out=f"{folder}/")
    forecast(config, out=f"{folder}/")
    forecast(config.model_copy(update={"history": 60}), out=f"{folder}/")
    assert len(list(folder.glob("*.parquet"))) == 2


def test_two_runs_into_one_place_take_turns(config: ExperimentConfig, tmp_path: Path) -> None:
    out = str(tmp_path / "f.parquet")
    held = "forecast-" + score.hashlib.sha256(out.encode()).hexdigest()[:16]
    with locked(held), pytest.raises(GatecastError, match="another gatecast process"):
        forecast(config, out=out)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("x.xlsx", r"\.parquet or \.csv"),
        ("s3://bucket/x.parquet", "cannot be written to"),
        ("mysql://u:secret@h/db", "SQLite or PostgreSQL|driver"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_any_work(
    experiment: Make, tmp_path: Path, out: str, message: str
) -> None:
    with pytest.raises(DataError, match=message) as raised:
        forecast(experiment("nobody"), out=out)
    assert "secret" not in str(raised.value)


def test_a_folder_that_cannot_be_written_to_is_one_clear_line(
    config: ExperimentConfig, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatecastError, match="cannot write"):
        forecast(config, out=str(tmp_path / "file" / "f.parquet"))


def test_a_table_of_something_else_is_left_alone(
    predictor: Predictor, tmp_path: Path, state: Path
) -> None:
    with sqlite3.connect(tmp_path / "f.db") as connection:
        connection.execute("CREATE TABLE sales (id INTEGER, y REAL)")
    panel = example_panel(predictor, 2)
    with pytest.raises(DataError, match="no table of forecasts"):
        write(predictor, panel, job(predictor), target_of(f"sqlite:///{tmp_path}/f.db", "sales"))


def test_a_table_gets_columns_for_levels_it_did_not_have(
    predictor: Predictor, tmp_path: Path, state: Path
) -> None:
    panel = example_panel(predictor, 2)
    url = f"sqlite:///{tmp_path}/f.db"
    write(predictor, panel, job(predictor), target_of(url, "f"))
    wide = job(predictor, levels=(0.05, 0.5, 0.95), digest="e" * 32, version=2)
    write(predictor, panel, wide, target_of(url, "f"))
    with sqlite3.connect(tmp_path / "f.db") as connection:
        table = pd.read_sql("SELECT * FROM f", connection)
    assert len(table) == 2 * 2 * predictor.config.horizon
    assert table.loc[table["version"] == 2, "q0.95"].notna().all()
    assert table.loc[table["version"] == 1, "q0.95"].isna().all()


@pytest.mark.postgres
def test_postgresql_holds_what_parquet_holds_and_nothing_twice(
    predictor: Predictor, tmp_path: Path, state: Path, pieces: None
) -> None:
    import sqlalchemy as sa

    url = os.environ["GATECAST_TEST_POSTGRES"]
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE IF EXISTS gatecast_test_forecasts")
    panel = example_panel(predictor, 12)
    write(predictor, panel, job(predictor), target_of(str(tmp_path / "f.parquet"), "t"))
    for digest in ("d" * 32, "d" * 32, "e" * 32):
        target = target_of(url, "gatecast_test_forecasts")
        write(predictor, panel, job(predictor, digest=digest), target)
    found = pd.read_sql('SELECT * FROM gatecast_test_forecasts ORDER BY "unique_id", step', engine)
    expected = pd.read_parquet(tmp_path / "f.parquet").sort_values(["unique_id", "step"])
    np.testing.assert_array_equal(found["q0.9"], expected["q0.9"])
    np.testing.assert_array_equal(found["ds"].astype("datetime64[us]"), expected["ds"])


def test_a_panel_with_new_categories_is_read_in_the_models_codes(predictor: Predictor) -> None:
    panel = example_panel(predictor, 3)
    frame = panel.to_frame()
    frame["kind"] = ["0-new", "a", "b", "c", None] * (len(frame) // 5)
    static = pd.DataFrame(
        {"unique_id": panel.ids, "size": [1.0, 2.0, 9.0], "region": ["s", "a-new", "n"]}
    )
    ahead = [
        {"unique_id": i, "ds": d, "promo": 1.0, "holiday": "y"}
        for i, stamps in zip(panel.ids, panel.freq.stamps(panel.last, 1, 3), strict=True)
        for d in stamps
    ]
    frame = pd.concat([frame, pd.DataFrame(ahead)], ignore_index=True)
    own = Panel.from_frame(frame, static=static, past=["kind", "temp"], future=["promo", "holiday"])
    meant = Panel.from_frame(frame, static=static, schema=predictor.schema, freq=own.freq)
    assert own.schema != meant.schema
    got = predictor.predict_panel(own, quantiles=LEVELS)
    np.testing.assert_allclose(
        got.quantiles, predictor.predict_panel(meant, quantiles=LEVELS).quantiles
    )


def test_the_backtest_reads_data_in_the_models_codes_too(predictor: Predictor) -> None:
    panel = example_panel(predictor, 4, rows=40)
    covariates = [
        c.replace(categories=("0-new", *c.categories))
        if c.type == "categorical"
        else c.replace(mean=c.mean + 5.0, std=2.0 * c.std)
        for c in panel.schema.covariates
    ]
    frame = panel.to_frame()
    static = pd.DataFrame({"unique_id": panel.ids, "size": 3.0, "region": "n"})
    own = Schema(covariates=tuple(covariates))
    config = build_config(
        {"name": "b", "data": {"source": "x"}, "horizon": 3, "backtest": {"windows": 2}}
    )
    scores = [
        evaluate(
            Panel.from_frame(frame, static=static, schema=schema, freq="D"),
            {"m": predictor},
            config,
        ).scores_of("m")
        for schema in (own, predictor.schema)
    ]
    assert scores[0] == pytest.approx(scores[1])


def test_a_covariate_the_data_lack_is_named(predictor: Predictor) -> None:
    frame = example_panel(predictor, 2).to_frame()
    plain = Panel.from_frame(frame[["unique_id", "ds", "y"]])
    with pytest.raises(DataError, match="'temp'"):
        plain.under(predictor.schema)


def test_another_frequency_is_refused(config: ExperimentConfig, tmp_path: Path) -> None:
    days = pd.date_range("2020-01-01", periods=80, freq="D")
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": np.arange(80.0)})
    frame.to_parquet(tmp_path / "daily.parquet", index=False)
    with pytest.raises(DataError, match="freq"):
        forecast(config, data=str(tmp_path / "daily.parquet"), out=str(tmp_path / "f.parquet"))
    assert not (tmp_path / "f.parquet").exists()


def test_the_config_of_a_registered_model_comes_back(config: ExperimentConfig) -> None:
    assert registered_config("scored").digest() == config.digest()
    with pytest.raises(GatecastError, match="no registered model"):
        registered_config("nobody")


def test_the_command_forecasts_a_registered_model_and_counts_refusals(
    config: ExperimentConfig, table: Path, tmp_path: Path
) -> None:
    frame = pd.read_parquet(table)
    gaps = frame["unique_id"].unique()[:4]
    frame.loc[frame["unique_id"].isin(gaps), "y"] = np.nan
    frame.to_parquet(tmp_path / "gaps.parquet", index=False)
    run = CliRunner().invoke
    good = run(build(), ["forecast", "scored", "--out", str(tmp_path / "f.csv")])
    assert good.exit_code == 0, good.output
    assert "24 series" in good.stdout
    listed = str(tmp_path / "p.csv")
    arguments = ["--data", str(tmp_path / "gaps.parquet"), "--problems", listed]
    bad = run(build(), ["forecast", "scored@1", *arguments, "--out", str(tmp_path / "g.csv")])
    assert bad.exit_code == 1
    assert len(pd.read_csv(listed)) == 4


@pytest.mark.usefixtures("pieces")
def test_what_is_odd_about_histories_is_said_once(config: ExperimentConfig, tmp_path: Path) -> None:
    """In pieces, and with paths beside."""
    panel = prepare(config).panel
    frame = panel.to_frame()
    ends = frame.groupby("unique_id")["ds"].transform("max") == frame["ds"]
    frame.loc[ends, "y"] = 99999.0
    path = tmp_path / "odd.parquet"
    frame.to_parquet(path)
    joint = build_config({**config.model_dump(exclude_unset=True), "forecast": {"joint": {
        "paths": 5, "output": str(tmp_path / "joint")}}})  # fmt: skip
    said: list[str] = []
    forecast(joint, data=str(path), out=str(tmp_path / "odd.csv"), track=False, say=said.append)
    [line] = [line for line in said if "99999" in line]
    assert f"({len(panel)} series are so)" in line
    assert len(set(said)) == len(said)
