"""Tables of a question: by the model's config where one is kept, as `gatecast forecast` reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as drawn
from hypothesis import strategies as st

from forecasting import Predictor
from forecasting.errors import ConfigError, DataError
from forecasting.schema import Covariate, Schema
from pipelines.commands.asked import common
from pipelines.commands.asked.common import panel_of
from pipelines.config import ExperimentConfig, build_config
from tests.forecasting.samples import settings, untrained

SCHEMA = Schema(covariates=(Covariate.parse({"name": "promo", "role": "future"}),))
DATA = {"source": "none.csv", "id": "shop", "ds": "day", "y": "sold",
        "covariates": [{"name": "promo", "column": "offer", "role": "future"}]}  # fmt: skip


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = untrained(settings(), SCHEMA).save(tmp_path_factory.mktemp("bundle") / "b")
    return Predictor.load(folder)


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> ExperimentConfig:
    found = build_config({"name": "shops", "data": DATA, "horizon": 3}, origin="test")
    monkeypatch.setattr(common, "_config", lambda what: found)
    return found


def plain(days: int, first: str = "2024-01-20") -> pd.DataFrame:
    ds = pd.date_range(first, periods=days)
    parts = [
        pd.DataFrame({"unique_id": f"shop {k}", "ds": ds, "y": np.arange(days) + 10.5 * k,
                      "promo": (np.arange(days) + k) % 3 % 2.0})
        for k in range(2)
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def written(frame: pd.DataFrame, path: Path, form: str, decimal: str) -> str:
    named = frame.rename(columns={"unique_id": "shop", "ds": "day", "y": "sold", "promo": "offer"})
    named["day"] = named["day"].dt.strftime(form)
    named.to_csv(path, index=False, sep=";", decimal=decimal)
    return str(path)


@given(
    st.sampled_from(["%d.%m.%Y", "%d/%m/%Y", "%Y%m%d", "%Y-%m-%d", "%m/%d/%y"]),
    st.sampled_from([",", "."]), st.integers(30, 80),
)  # fmt: skip
@drawn(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_registered_model_reads_as_it_was_trained(
    engine: Predictor, config: ExperimentConfig, tmp_path: Path, form: str, decimal: str, days: int
) -> None:
    frame = plain(days)
    head, ahead = frame[frame["ds"] < frame["ds"].max() - pd.Timedelta(2, "D")], frame
    ahead = frame.drop(head.index).drop(columns="y")
    data = written(head, tmp_path / "history.csv", form, decimal)
    later = written(ahead, tmp_path / "ahead.csv", form, decimal)
    panel = panel_of("shops", engine, data, future=later)
    pd.testing.assert_frame_equal(
        engine.why_panel(panel, horizon=3).table, engine.explain(head, future=ahead, horizon=3)
    )
    judged = engine.watch_panel(panel_of("shops", engine, data), last=5).table
    pd.testing.assert_frame_equal(judged, engine.anomalies(head, last=5))


def test_a_table_of_the_library_is_taken_and_said(
    engine: Predictor, config: ExperimentConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.csv"
    plain(40).to_csv(path, index=False)
    panel = panel_of("shops", engine, str(path))
    assert list(panel.to_frame()["y"]) == list(plain(40)["y"])
    assert "was read as unique_id, ds, y, not by the model's config" in capsys.readouterr().err


def test_what_cannot_be_read_by_the_config_is_told_by_the_config(
    engine: Predictor, config: ExperimentConfig, tmp_path: Path
) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a;b\n1;2\n2;3\n")
    with pytest.raises(DataError, match="ds = 'day' is not in the table"):
        panel_of("shops", engine, str(path))
    data = written(plain(40), path, "%d.%m.%Y", ",")
    with pytest.raises(ConfigError, match="names no static table"):
        panel_of("shops", engine, data, static=str(path))
