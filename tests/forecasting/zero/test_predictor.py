"""`Zero` from a table: right stamps, right order, bad input refused with one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from forecasting.bundle import sha256
from forecasting.errors import BundleError, DataError
from forecasting.forecaster import Forecaster
from forecasting.zero.network import Shape, ZeroNetwork
from forecasting.zero.predictor import CARD, FORMAT, LONGEST_HORIZON, WEIGHTS, Zero
from tests.forecasting.samples import seasonal_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that nobody trained."""
    made = tmp_path_factory.mktemp("zero")
    torch.manual_seed(0)
    network = ZeroNetwork(Shape(hidden=8, layers=2))
    save_file({k: v.half() for k, v in network.state_dict().items()}, made / WEIGHTS)
    (made / CARD).write_text(json.dumps({"format": FORMAT, "sha256": sha256(made / WEIGHTS)}))
    return made


@pytest.fixture(scope="module")
def zero(folder: Path) -> Zero:
    return Zero.load(folder)


def table(rows: int = 60, freq: str | None = "MS") -> pd.DataFrame:
    draw = np.random.default_rng(0)
    ds = np.arange(rows) if freq is None else pd.date_range("2015-01-01", periods=rows, freq=freq)
    parts = [
        pd.DataFrame({"unique_id": name, "ds": ds, "y": 50 + draw.standard_normal(rows).cumsum()})
        for name in ("b", "a")
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("freq", [None, "15min", "h", "D", "B", "W-SUN", "MS", "QS", "YS"])
@pytest.mark.parametrize("horizon", [1, 70])
def test_a_table_of_any_step_is_forecast(zero: Zero, freq: str | None, horizon: int) -> None:
    df = table(freq=freq)
    found = zero.predict(df, horizon, quantiles=[0.05, 0.5, 0.9])
    assert list(found.columns) == ["unique_id", "ds", "mean", "q0.05", "q0.5", "q0.9"]
    assert len(found) == 2 * horizon
    last = df["ds"].iloc[-1]
    step = 1 if freq is None else pd.tseries.frequencies.to_offset(freq)
    assert found["ds"].iloc[0] == last + step
    assert np.isfinite(found[["mean", "q0.05", "q0.9"]].to_numpy()).all()
    assert (found["q0.05"] < found["q0.5"]).all()
    assert (found["q0.5"] < found["q0.9"]).all()


def test_a_series_alone_is_forecast_as_among_others_of_the_same_season(zero: Zero) -> None:
    df = table()
    both = zero.predict(df, 5, season=12)
    alone = zero.predict(df[df["unique_id"] == "b"], 5, season=12)
    together = both[both["unique_id"] == "b"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone.reset_index(drop=True), together, rtol=1e-5)


def test_rows_that_are_missing_are_missing_values(zero: Zero) -> None:
    df = table()
    holed = df.drop(index=[5, 6, 30])
    as_nan = df.assign(y=df["y"].where(~df.index.isin([5, 6, 30])))
    pd.testing.assert_frame_equal(zero.predict(holed, 4), zero.predict(as_nan, 4))


def test_a_table_of_polars_comes_back_as_one(zero: Zero) -> None:
    frame = seasonal_frame(2, rows=40)
    forecast = zero.predict(pl.from_pandas(frame), 5)
    assert isinstance(forecast, pl.DataFrame)
    expected = zero.predict(frame, 5)
    pd.testing.assert_frame_equal(forecast.to_pandas(), expected, check_dtype=False)


def test_order_of_rows_does_not_matter(zero: Zero) -> None:
    df = table()
    shuffled = df.sample(frac=1.0, random_state=1)
    one, other = zero.predict(df, 4), zero.predict(shuffled, 4)
    for name in ("a", "b"):
        rows = [t[t["unique_id"] == name].reset_index(drop=True) for t in (one, other)]
        pd.testing.assert_frame_equal(*rows)


@pytest.mark.parametrize(
    "y",
    [[7.0] * 40, [0.0] * 40, [3.0], [1e-12, 2e-12] * 20, [1e12, -1e12] * 20,
     [1.0] * 20 + [9.0] * 20, [np.nan] * 36 + [1.0, 2.0, np.nan, 3.0],
     [0.0] * 30 + [5.0] + [0.0] * 9],
)  # fmt: skip
def test_odd_series_give_finite_forecasts_of_their_own_size(zero: Zero, y: list[float]) -> None:
    df = pd.DataFrame({"unique_id": "x", "ds": np.arange(len(y)), "y": y})
    found = zero.predict(df, 12, freq="step")[["mean", "q0.1", "q0.9"]].to_numpy()
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 50 * np.nanmax(np.abs(y))
    if np.nanmin(y) >= 0:
        assert found.min() >= 0
    if np.nanmin(y) == np.nanmax(y):
        assert found[:, 0] == pytest.approx(np.nanmin(y), rel=1e-12)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"horizon": 0}, "horizon = 0 is outside"),
        ({"horizon": LONGEST_HORIZON + 1}, "is outside 1"),
        ({"horizon": 2.5}, "must be a whole number of steps"),
        ({"season": 0}, "season = 0 is outside"),
        ({"season": 2.0}, "must be a whole number of steps"),
        ({"quantiles": 0.5}, "must be a list of levels"),
        ({"quantiles": [1.0]}, "outside (0, 1)"),
        ({"quantiles": ["high"]}, "no number within"),
        ({"quantiles": [0.1, 0.1000001]}, "six digits"),
        ({"df": [1, 2]}, "df must be a table of pandas, polars or Arrow"),
        ({"df": table().rename(columns={"y": "value"})}, "y"),
        ({"df": table().assign(y=np.nan)}, "no value is observed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    zero: Zero, change: dict[str, object], said: str
) -> None:
    given: dict[str, object] = {"df": table(), "horizon": 4, **change}
    with pytest.raises(DataError, match=said.replace("(", r"\(").replace(")", r"\)")) as caught:
        zero.predict(**given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for name in (WEIGHTS, CARD):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS).write_bytes(bytes(content))
    with pytest.raises(BundleError, match="not what its card describes"):
        Zero.load(tmp_path)
    (tmp_path / CARD).write_text('{"format": 99, "sha256": ""}')
    with pytest.raises(BundleError, match="of format 99"):
        Zero.load(tmp_path)
    (tmp_path / CARD).write_text("[")
    with pytest.raises(BundleError, match="damaged"):
        Zero.load(tmp_path)
    (tmp_path / CARD).unlink()
    with pytest.raises(BundleError, match="install again"):
        Zero.load(tmp_path)


def test_the_weights_that_are_shipped_forecast_better_than_the_last_season() -> None:
    draw = np.random.default_rng(5)
    rows, horizon, season = 96, 12, 12
    shapes = draw.standard_normal((30, season))
    y = np.tile(shapes, 9) + np.linspace(0.0, 3.0, rows + horizon)
    y += 0.7 * draw.standard_normal(y.shape)
    names = np.repeat(np.arange(30), rows)
    ds = np.tile(pd.date_range("2015-01-01", periods=rows, freq="MS"), 30)
    df = pd.DataFrame({"unique_id": names, "ds": ds, "y": y[:, :rows].ravel()})
    found = Forecaster.zero().predict(df, horizon)
    actual = y[:, rows:]
    ours = np.abs(found["q0.5"].to_numpy().reshape(30, -1) - actual).mean()
    naive = np.abs(y[:, rows - season : rows] - actual).mean()
    assert ours < naive
    between = (found["q0.1"] <= actual.ravel()) & (actual.ravel() <= found["q0.9"])
    assert 0.65 < between.mean() < 0.95


def test_it_is_loaded_and_asked_without_torch(folder: Path) -> None:
    program = (
        "import sys, numpy as np, pandas as pd\n"
        "from forecasting.zero.predictor import Zero\n"
        "df = pd.DataFrame({'unique_id': 'x', 'ds': np.arange(40), 'y': np.arange(40.0)})\n"
        f"assert len(Zero.load({str(folder)!r}).predict(df, 3)) == 3\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
