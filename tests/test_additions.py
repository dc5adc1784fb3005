"""What docs/architecture.md says of adding is so: a dummy added that way works end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
import yaml
from pydantic import Field
from torch import Tensor

from forecasting import Forecaster
from forecasting.arrays import Array
from forecasting.classical.pool import MEMBERS, Fits
from forecasting.errors import ConfigError, GatecastError
from forecasting.networks.decoders import DECODERS, DirectDecoder
from forecasting.networks.fast_lstm import FastLSTM
from forecasting.networks.recurrent import LAYERS
from forecasting.parts import CELLS, CLASSICAL, CellFacts, ClassicalFacts, DecoderFacts
from forecasting.parts import DECODERS as ABOUT_DECODERS
from forecasting.prediction.predictor import Predictor
from pipelines import cli, commands
from pipelines.config import ExperimentConfig, GateConfig, build_config, load_config
from pipelines.ingestion import DataConfig, ingest
from pipelines.ingestion.ledger import Ledger
from pipelines.ingestion.read.sources import OPENERS
from pipelines.ingestion.report.page import page
from pipelines.ingestion.report.words import WORDS
from pipelines.ingestion.series.table import Table
from serving import routes
from serving.app import Application
from serving.routes import table as routes_table
from serving.settings import ServingSettings
from tests.serving.conftest import Caller

COMMAND = '''
import typer

def register(app: typer.Typer) -> None:
    app.command("greet")(greet)

def greet(name: str) -> None:
    """Greet. Example: `gatecast greet Ann`"""
    print(f"good day, {name}")
'''


def table() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=40, freq="D")
    return pd.DataFrame({"unique_id": "a", "ds": days, "y": range(40)})


@pytest.fixture
def almanac(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of its own, as an entry of OPENERS."""

    def read_almanac(source: str, config: DataConfig) -> tuple[pa.Table, dict[str, Any]]:
        assert source == "almanac://tides/2024"
        return pa.Table.from_pandas(table(), preserve_index=False), {"kind": "almanac"}

    monkeypatch.setitem(OPENERS, "almanac", read_almanac)


@pytest.mark.usefixtures("almanac")
def test_a_new_source_is_an_entry() -> None:
    result = ingest(DataConfig(source="almanac://tides/2024"))
    expected = ingest(DataConfig(), source=table())
    pd.testing.assert_frame_equal(result.frame, expected.frame)
    assert result.report.to_dict()["facts"]["kind"] == "almanac"


@pytest.mark.usefixtures("almanac")
def test_a_new_source_goes_through_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["ingest", "almanac://tides/2024", "--out", "clean"]
    assert not cli.build()(arguments, standalone_mode=False)
    (file,) = (tmp_path / "clean").glob("*.parquet")
    assert pd.read_parquet(file)["y"].tolist() == list(range(40))


def test_a_scheme_nobody_reads_is_refused() -> None:
    with pytest.raises(GatecastError, match="almanac"):
        ingest(DataConfig(source="almanac://tides/2024"))


def test_a_new_command_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "greet.py").write_text(COMMAND)
    before = cli.command_modules()
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert cli.command_modules() == [*before, "greet"]
    cli.build()(["greet", "Ann"], standalone_mode=False)
    assert capsys.readouterr().out == "good day, Ann\n"


def test_the_help_lists_commands_in_the_order_that_is_written_down() -> None:
    assert cli.command_modules() == list(cli.FIRST)


class MirrorDecoder(DirectDecoder):
    """Like the direct one, with every number the other way round."""

    def forward(
        self, hidden: Tensor, states: Any, ahead: Tensor | None, context: Tensor | None
    ) -> Tensor:
        return -super().forward(hidden, states, ahead, context)


def weekly(count: int = 4, rows: int = 60) -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=rows, freq="D")
    t, rng = np.arange(rows), np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": days,
                "y": 50.0 + 9.0 * np.sin(2 * np.pi * (t + i) / 7) + rng.normal(0, 1, rows),
            }
        )
        for i in range(count)
    )


def fitted(folder: Path, model: dict[str, Any]) -> tuple[Forecaster, pd.DataFrame]:
    """A forecaster with some settings, whose saved bundle forecasts alike without torch."""
    training = {"max_steps": 3, "start": "none", "threads": 1}
    small = {"hidden_size": 8, "layers": 2, **model}
    frame = weekly()
    forecaster = Forecaster.fit(frame, horizon=3, config={"model": small, "training": training})
    forecaster.save(folder)
    forecast = forecaster.predict(frame)
    for other in (Forecaster.load(folder), Predictor.load(folder)):
        columns = ["mean", "q0.1", "q0.5", "q0.9"]
        np.testing.assert_allclose(other.predict(frame)[columns], forecast[columns], rtol=1e-4)
    return forecaster, forecast


def test_a_new_decoder_is_a_class_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="mirror"):
        fitted(tmp_path / "refused", {"decoder": "mirror"})
    monkeypatch.setitem(DECODERS, "mirror", MirrorDecoder)
    monkeypatch.setitem(ABOUT_DECODERS, "mirror", DecoderFacts())
    forecaster, _ = fitted(tmp_path / "mirror", {"decoder": "mirror"})
    assert isinstance(forecaster.networks[0].decoder, MirrorDecoder)


def test_a_new_decoder_that_feeds_back_is_held_to_what_that_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(ABOUT_DECODERS, "stepper", DecoderFacts(feeds_back=True))
    with pytest.raises(ConfigError, match=r"model\.decoder = stepper feeds back one step"):
        Forecaster.fit(weekly(), horizon=3, config={"model": {"decoder": "stepper", "segment": 7}})


def test_a_new_cell_is_a_layer_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = ("input", "forget", "candidate", "output")
    monkeypatch.setitem(LAYERS, "twin", FastLSTM)
    monkeypatch.setitem(CELLS, "twin", CellFacts(gates, memory="forget", states=2))
    (twin, forecast), (_, expected) = (
        fitted(tmp_path / cell, {"cell": cell}) for cell in ("twin", "lstm")
    )
    pd.testing.assert_frame_equal(forecast, expected)
    state = twin.update(twin.encode(weekly(rows=50)), weekly().groupby("unique_id").tail(10))
    assert np.isfinite(twin.predict(state=state)["mean"]).all()
    remembers = twin.networks[0].encoder.layers[0].bias_ih_l0
    assert isinstance(remembers, torch.Tensor)


def test_a_new_classical_forecast_is_a_function_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(fits: Fits, horizon: int) -> Array:
        ends = fits.block.y[fits.block.lengths - 1, np.arange(fits.block.y.shape[1])]
        return np.tile(ends, (horizon, 1))

    monkeypatch.setitem(MEMBERS, "last", last)
    monkeypatch.setitem(CLASSICAL, "last", ClassicalFacts())
    model = {"pool": {"last": 1.0}, "blend": 1.0, "transform": "identity"}
    _, forecast = fitted(tmp_path / "last", model)
    ends = weekly().groupby("unique_id")["y"].last().repeat(3)
    np.testing.assert_allclose(forecast["q0.5"], ends, rtol=1e-6)


ROUTE = """
from serving.routes.route import Call, Reply, Route

async def greet(call: Call) -> Reply:
    return Reply.json({"hello": call.arguments["name"]})

ROUTES = (Route("GET", "/greet/{name}", greet, "Greets", lambda service: {}),)
"""


def test_a_new_route_is_a_file_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "greet.py").write_text(ROUTE)
    monkeypatch.setattr(routes, "__path__", [*routes.__path__, str(tmp_path)])
    lines = Path(routes_table.__file__).read_text()
    lines = lines.replace("    openapi,\n", "    greet,\n    openapi,\n")
    written: dict[str, Any] = {}
    exec(lines.replace("ROUTES = (", "ROUTES = (*greet.ROUTES,"), written)
    monkeypatch.setattr("serving.app.ROUTES", written["ROUTES"])
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = ServingSettings.read({}, models=("m",), home=tmp_path, tracking_uri=store)
    call = Caller(Application(settings))
    assert call("GET", "/greet/Ann").json() == {"hello": "Ann"}
    assert call("POST", "/greet/Ann").status_code == 405
    assert (
        call("GET", "/openapi.json").json()["paths"]["/greet/{name}"]["get"]["summary"] == "Greets"
    )


def test_a_new_repair_is_a_function_its_words_and_its_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.ingestion.ways import careful

    def round_halves(table: Table, ledger: Ledger) -> Table:
        rows = np.flatnonzero(table.y % 1 == 0.5)
        ledger.note(
            "half", "changed", "halves are rounded up", **table.places(rows), before=table.y[rows]
        )
        table.y[rows] += 0.5
        return table

    mended = careful.drop_duplicates

    def then_rounded(table: Table, *rest: Any, **more: Any) -> Table:
        return round_halves(mended(table, *rest, **more), rest[1])

    # Where its call would stand.
    monkeypatch.setattr(careful, "drop_duplicates", then_rounded)
    monkeypatch.setitem(WORDS, "half", "halves among whole numbers")
    frame = table()
    frame["y"] = frame["y"].astype(float)
    frame.loc[5, "y"] = 5.5
    frame = frame.iloc[::-1]  # out of order, so that it goes the careful way
    result = ingest(DataConfig(), source=frame)
    assert result.frame["y"].tolist() == [*range(5), 6, *range(6, 40)]
    assert "halves among whole numbers" in result.report.summary
    assert "halves among whole numbers" in page(result.report)
    findings = result.report.to_dict()["findings"]
    assert [f["count"] for f in findings if f["code"] == "half"] == [1]


def test_a_new_key_of_a_config_is_a_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class WiderGate(GateConfig):
        max_worst: float = Field(2.0, gt=0, description="worst unit")

    class Wider(ExperimentConfig):
        gate: WiderGate = WiderGate()

    values = {"name": "x", "horizon": 3, "data": {"source": "x.csv"}, "gate": {"max_worst": 1.5}}
    file = tmp_path / "x.yaml"
    file.write_text(yaml.safe_dump(values))
    with pytest.raises(ConfigError, match=r"gate\.max_worst"):
        load_config(file)
    monkeypatch.setattr("pipelines.config.experiment.ExperimentConfig", Wider)
    config, other = load_config(file), load_config(file, ["gate.max_worst=1"])
    assert (config.gate.max_worst, other.gate.max_worst) == (1.5, 1.0)  # type: ignore[attr-defined]
    assert config.digest() != other.digest()
    assert yaml.safe_load(config.to_yaml())["gate"] == {"max_worst": 1.5}
    with pytest.raises(ConfigError, match=r"gate.max_worst.*greater than 0"):
        build_config({**values, "gate": {"max_worst": -1}})
