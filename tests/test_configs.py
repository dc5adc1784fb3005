"""Every example in configs/ is read as it stands, on a table of its shape, and trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting import Forecaster
from pipelines.config import ExperimentConfig, load_config
from pipelines.data.prepare import prepare
from pipelines.training.train import train

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
# What makes training a moment; the rest stands as it is in the file.
SMALL = (
    "model.hidden_size=8",
    "model.layers=1",
    "training.max_steps=4",
    "training.members=1",
    "training.threads=1",
)
# What lets the gate of the whole pipeline pass what so short a training gives.
LENIENT = (
    "gate.margin=1",
    "gate.max_bias=50",
    "gate.level=0.51",
    "gate.coverage=[0, 1]",
    "gate.max_segment_loss=100",
    "tracking.system_metrics=false",
)


def wave(count: int, rows: int, season: int, freq: str) -> pd.DataFrame:
    """A long table of `count` series with a season and noise."""
    rng = np.random.default_rng(0)
    ds = pd.date_range("2018-01-01", periods=rows, freq=freq)
    t = np.arange(rows)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": ds,
                "y": 100 + 10 * i + 20 * np.sin(2 * np.pi * t / season) + rng.normal(0, 3, rows),
            }
        )
        for i in range(count)
    ]
    return pd.concat(parts, ignore_index=True).round({"y": 2})


def shops() -> None:
    wave(12, 36, 12, "MS").to_csv("shops.csv", index=False)


def retail() -> None:
    rng = np.random.default_rng(1)
    frame = wave(4, 414, 7, "D").set_axis(["product", "day", "sold"], axis=1)
    frame["price"] = rng.choice([1.99, 2.49], len(frame))
    frame["promotion"] = rng.choice(["none", "flyer", "shelf"], len(frame))
    frame["footfall"] = rng.integers(100, 200, len(frame)).astype(float)
    ahead = frame["day"] > frame["day"].max() - pd.Timedelta(days=14)
    frame.loc[ahead, ["sold", "footfall"]] = np.nan
    frame.to_csv("sales.csv", index=False)
    products = pd.DataFrame(
        {
            "product": [f"s{i}" for i in range(4)],
            "category": [*"aabb"],
            "size": [1.0, 2.0, 3.0, 4.0],
        }
    )
    products.to_csv("products.csv", index=False)


def load() -> None:
    frame = wave(2, 24 * 90, 24, "h").set_axis(["region", "time", "load"], axis=1)
    frame["temperature"] = np.random.default_rng(1).normal(10, 5, len(frame)).round(1)
    ahead = frame["time"] > frame["time"].max() - pd.Timedelta(hours=24)
    frame.loc[ahead, "load"] = np.nan
    frame.to_parquet("load.parquet", index=False)


def parts() -> None:
    frame = wave(6, 80, 52, "W-MON")
    frame["y"] = np.random.default_rng(1).poisson(0.8, len(frame))
    frame.to_csv("parts.csv", index=False)


def revenue() -> None:
    wave(1, 20, 4, "QS")[["ds", "y"]].to_csv("revenue.csv", index=False)


def demand() -> None:
    wave(5, 90, 7, "D").to_csv("demand.csv", index=False)


def public() -> None:
    """Nothing: the set comes with a package."""


TABLES: dict[str, Callable[[], None]] = {
    "short_seasonal": shops,
    "retail_covariates": retail,
    "hourly_temperature": load,
    "counts": parts,
    "one_short_series": revenue,
    "tuned_scheduled": demand,
    "m3_monthly": public,
}


@pytest.fixture(params=TABLES)
def name(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A config's name, in a folder with the table that it names."""
    monkeypatch.chdir(tmp_path)
    TABLES[request.param]()
    return str(request.param)


def small(name: str, *further: str) -> ExperimentConfig:
    config = load_config(CONFIGS / f"{name}.yaml")
    # Weights that are shipped have a size of their own.
    fixed = config.training.start == "shipped"
    size = () if fixed else SMALL
    return load_config(CONFIGS / f"{name}.yaml", [*size, *further])


def test_every_example_has_a_table_here() -> None:
    assert {path.stem for path in CONFIGS.iterdir()} == TABLES.keys()


def test_an_example_is_short_and_says_how_to_run_it(root: Path) -> None:
    for path in CONFIGS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 45, path
        assert f"`gatecast train configs/{path.name}`" in text or "gatecast tune" in text, path


def test_an_example_trains_and_forecasts(name: str) -> None:
    config = small(name)
    panel = prepare(config).panel
    for role in ("past", "future"):
        names = tuple(column.name for column in getattr(panel.schema, role))
        assert names == config.data.role(role)
    static = ("category", "size") if config.data.static else ()
    assert tuple(column.name for column in panel.schema.static) == static
    if name == "m3_monthly":
        panel = panel.select(np.arange(20))
    for candidate in config.candidates:
        settings = config.forecaster(candidate, freq=panel.freq.alias)
        forecaster = Forecaster.train(panel, settings)
        forecast = forecaster.predict_panel(panel, quantiles=config.forecast.levels)
        assert forecast.problems == []
        assert forecast.quantiles.shape == (len(panel), config.horizon, 3)
        assert np.isfinite(forecast.quantiles).all()
        assert (np.diff(forecast.quantiles, axis=2) >= 0).all()
        if name == "counts":
            assert (forecast.quantiles >= 0).all()


@pytest.mark.slow
def test_an_example_runs_from_table_to_champion(name: str) -> None:
    if name == "m3_monthly":
        pytest.skip("`gatecast demo` runs this one")
    outcome = train(small(name, *LENIENT))
    assert outcome.version is not None
