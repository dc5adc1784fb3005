"""One forecast, three ways to it: the library, the service and the backtest say the same."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting import Forecaster
from forecasting.data.panel import Panel
from forecasting.evaluation.backtest import backtest
from pipelines.config import build_config
from pipelines.demo.processes import command, pick_port, running
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import Registry
from pipelines.tracking.store import connect
from pipelines.training.train import train

HORIZON, LEVELS = 4, [0.1, 0.5, 0.9]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily sales of eight shops with a promotion known ahead, a temperature, and gaps."""
    rng = np.random.default_rng(5)
    frames = []
    for shop in range(8):
        rows = 90 + 7 * shop
        days = np.arange(rows)
        promo = (rng.random(rows) < 0.2).astype(float)
        y = 20 + shop + 5 * np.sin(2 * np.pi * days / 7) + 6 * promo + rng.normal(0, 1, rows)
        y[rng.integers(0, rows - 10, 4)] = np.nan
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": f"shop-{shop}",
                    "ds": pd.date_range("2026-01-01", periods=rows, freq="D"),
                    "y": y,
                    "temp": rng.normal(10, 5, rows),
                    "promo": promo,
                }
            )
        )
    path = tmp_path_factory.mktemp("shops") / "shops.parquet"
    pd.concat(frames).to_parquet(path, index=False)
    return path


@pytest.mark.timeout(240)
def test_http_library_and_backtest_agree(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / ".gatecast"))
    config = build_config(
        {
            "name": "shops",
            "horizon": HORIZON,
            "data": {
                "source": str(table),
                "covariates": [
                    {"name": "temp", "role": "past"},
                    {"name": "promo", "role": "future"},
                ],
            },
            "model": {"layers": 1, "hidden_size": 16, "steps": 14},
            "training": {"max_steps": 30, "batch_size": 16, "threads": 1, "members": 2},
            "backtest": {"windows": 2},
            "gate": {"max_bias": 9.0, "coverage": [0, 1], "level": 0.51, "metric": "rmse"},
            "tracking": {"system_metrics": False},
        }
    )
    outcome = train(config)
    registry = Registry(connect())
    version = registry.version("shops", outcome.version)
    bundle = registry.download(version, tmp_path / "bundles")
    frame = pd.read_parquet(table)
    panel = Panel.from_frame(frame, past=("temp",), future=("promo",))
    forecaster = Forecaster.load(bundle)

    # The backtest, with the very bundle that is served.
    judged = backtest(
        panel,
        {"model": lambda known: forecaster.predict_panel(known, quantiles=LEVELS)},
        horizon=HORIZON,
        season=7,
        windows=1,
        levels=tuple(LEVELS),
    )
    of_backtest = {
        name: judged.quantiles["model"][row] for row, name in enumerate(judged.ids.astype(str))
    }

    # The library, on the same history as a frame.
    history = _without_tail(frame)
    ahead = _tail(frame)[["unique_id", "ds", "promo"]]
    table_of_library = forecaster.predict(history, future=ahead, quantiles=LEVELS)

    alias = "champion" if outcome.promoted else "challenger"
    port = pick_port("127.0.0.1", 0)
    url = f"http://127.0.0.1:{port}"
    with running(command(["shops"], port=port, alias=alias), f"{url}/readyz", name="parity"):
        answer = _post(url, {"series": _series(history, ahead), "quantiles": LEVELS})
    assert answer["errors"] == []
    assert answer["model"]["version"] == outcome.version
    assert answer["model"]["run_id"] == outcome.run_id
    for forecast in answer["forecasts"]:
        name = forecast["id"]
        of_http = np.array([forecast["quantiles"][f"{level:g}"] for level in LEVELS]).T
        rows = table_of_library[table_of_library["unique_id"] == name]
        of_library = rows[[f"q{level:g}" for level in LEVELS]].to_numpy()
        np.testing.assert_allclose(of_http, of_library, rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(of_library, of_backtest[name], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(forecast["mean"], rows["mean"], rtol=1e-5, atol=1e-4)
        assert [pd.Timestamp(ds) for ds in forecast["ds"]] == list(rows["ds"])


def _tail(frame: pd.DataFrame) -> pd.DataFrame:
    back = frame.groupby("unique_id").cumcount(ascending=False)
    return frame[back < HORIZON]


def _without_tail(frame: pd.DataFrame) -> pd.DataFrame:
    back = frame.groupby("unique_id").cumcount(ascending=False)
    return frame[back >= HORIZON]


def _series(history: pd.DataFrame, ahead: pd.DataFrame) -> list[dict[str, Any]]:
    out = []
    for name, rows in history.groupby("unique_id"):
        known = ahead[ahead["unique_id"] == name]["promo"]
        out.append(
            {
                "id": name,
                "start": rows["ds"].iloc[0].isoformat(),
                "y": [None if np.isnan(v) else float(v) for v in rows["y"]],
                "past": {"temp": rows["temp"].tolist()},
                "future": {"promo": [*rows["promo"].tolist(), *known.tolist()]},
            }
        )
    return out


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{url}/v1/forecast",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.loads(answer.read()))
