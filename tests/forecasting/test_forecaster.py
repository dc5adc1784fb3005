"""`Forecaster.fit` left alone: sensible forecasts of whatever a table holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.config import ForecasterConfig
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError, TrainingError
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from forecasting.training.defaults import resolve
from tests.forecasting.samples import seasonal_frame

QUICK = {
    "model": {"hidden_size": 8, "layers": 1},
    "training": {"max_steps": 5, "batch_size": 8, "epoch_steps": 5, "threads": 1},
}


def _quick(**model: Any) -> dict[str, Any]:
    return QUICK | {"model": QUICK["model"] | model}


def _series(y: Any, name: str = "a", freq: str = "D") -> pd.DataFrame:
    values = np.asarray(y, dtype=float)
    ds = pd.date_range("2022-01-03", periods=len(values), freq=freq)
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": values})


def _forecast(frame: pd.DataFrame, horizon: int, **options: Any) -> pd.DataFrame:
    """Fit, forecast, and check what every forecast owes: size, order, rising finite quantiles."""
    config = options.pop("config", QUICK)
    forecaster = Forecaster.fit(frame, horizon=horizon, config=config, device="cpu", **options)
    out = forecaster.predict(frame)
    ids = list(dict.fromkeys(frame["unique_id"].map(str)))
    assert list(out["unique_id"]) == [i for i in ids for _ in range(horizon)]
    values = out[["mean", "q0.1", "q0.5", "q0.9"]].to_numpy()
    assert np.isfinite(values).all()
    assert (np.diff(values[:, 1:], axis=1) >= 0).all()
    return out


RNG = np.random.default_rng(7)
WALK = 50.0 + RNG.normal(size=120).cumsum()


@pytest.mark.parametrize("series", [1, 10])
def test_a_table_of_one_or_ten_series(series: int) -> None:
    frame = seasonal_frame(series, rows=70)
    out = _forecast(frame, 7)
    for name, part in out.groupby("unique_id"):
        history = frame.loc[frame["unique_id"] == name, "y"]
        assert part["q0.5"].between(history.min() - 10, history.max() + 10).all()
        assert list(part["ds"]) == list(pd.date_range("2024-03-11", periods=7))


@pytest.mark.parametrize(
    ("y", "low", "high"),
    [
        pytest.param(np.full(60, 7.0), 5.0, 9.0, id="constant"),
        pytest.param(np.zeros(60), -2.0, 2.0, id="all zero"),
        pytest.param(np.where(np.arange(90) % 9 == 0, 5.0, 0.0), -10.0, 15.0, id="intermittent"),
        pytest.param(np.where(np.arange(90) < 60, 10.0, 1000.0) + RNG.normal(size=90), 700.0,
                     1300.0, id="level shift"),
        pytest.param(-WALK, -80.0, -20.0, id="negative"),
        pytest.param(WALK - WALK.mean(), -30.0, 30.0, id="around zero"),
        pytest.param(WALK * 1e12, 2e13, 8e13, id="huge"),
        pytest.param(WALK * 1e-12, 2e-11, 8e-11, id="tiny"),
        pytest.param(1e12 + WALK, 1e12 - 50, 1e12 + 150, id="small moves of a huge level"),
        pytest.param([3.0, 4.0, 5.0], -20.0, 30.0, id="shorter than the horizon"),
        pytest.param([3.0, 4.0], -20.0, 30.0, id="two values"),
        pytest.param(np.where(RNG.random(90) < 0.5, np.nan, WALK[:90]), 20.0, 80.0,
                     id="half missing"),
        pytest.param(np.r_[np.full(60, np.nan), WALK[:8]], 20.0, 80.0, id="missing at first"),
        pytest.param(np.r_[WALK[:60], np.full(4, np.nan)], 20.0, 80.0, id="missing at last"),
        pytest.param(np.where(np.arange(90) == 40, 1e9, WALK[:90]), -1e9, 1e9, id="one outlier"),
    ],
)  # fmt: skip
def test_series_of_every_kind_are_forecast_sensibly(y: Any, low: float, high: float) -> None:
    horizon = 7 if len(np.asarray(y)) > 3 else 5
    out = _forecast(_series(y), horizon)
    assert out["q0.5"].between(low, high).all(), out
    width = out["q0.9"] - out["q0.1"]
    known = np.asarray(y, float)[~np.isnan(np.asarray(y, float))]
    assert (width <= 20 * max(np.ptp(known), 1.0)).all()


def test_series_of_every_kind_in_one_table() -> None:
    kinds = {
        "plain": WALK[:90],
        "constant": np.full(90, 7.0),
        "zero": np.zeros(90),
        "huge": WALK[:90] * 1e12,
        "tiny": WALK[:90] * 1e-12,
        "short": WALK[:3],
        "negative": -WALK[:90],
    }
    frame = pd.concat([_series(y, name) for name, y in kinds.items()], ignore_index=True)
    out = _forecast(frame, 7).set_index("unique_id")
    for name, y in kinds.items():
        size = max(np.abs(y).max(), 1.0 if name in ("zero", "constant") else 0.0)
        assert (out.loc[name, "q0.5"].abs() < 3 * size).all(), name
    assert (out.loc["huge", "q0.5"] > 1e13).all()
    assert out.loc["tiny", "q0.5"].between(1e-11, 1e-10).all()


@pytest.mark.parametrize(
    ("freq", "rows", "horizon"),
    [("YS", 30, 4), ("YE-DEC", 14, 6), ("QS", 40, 8), ("MS", 100, 18), ("ME", 30, 12),
     ("W-MON", 120, 13), ("B", 100, 5), ("h", 400, 24), ("30min", 900, 48), ("15min", 300, 8),
     ("min", 200, 10), ("4h", 100, 6)],
)  # fmt: skip
def test_tables_of_every_frequency(freq: str, rows: int, horizon: int) -> None:
    t = np.arange(rows)
    y = 100 + 20 * np.sin(2 * np.pi * t / 24) + RNG.normal(size=rows)
    frame = pd.concat([_series(y, "a", freq), _series(y[rows // 3 :] * 2, "b", freq)])
    out = _forecast(frame, horizon)
    ahead = pd.date_range("2022-01-03", periods=rows + horizon, freq=freq)[-horizon:]
    assert list(out.loc[out["unique_id"] == "a", "ds"]) == list(ahead)


def test_integer_stamps_go_on_counting() -> None:
    frame = pd.DataFrame({"unique_id": "a", "ds": np.arange(10, 130), "y": WALK})
    assert list(_forecast(frame, 4)["ds"]) == [130, 131, 132, 133]


def test_local_stamps_come_back_in_their_zone() -> None:
    ds = pd.date_range("2024-03-25", periods=150, freq="h", tz="Europe/Berlin")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": WALK.tolist() + WALK[:30].tolist()})
    out = _forecast(frame, 3)
    assert list(out["ds"]) == list(pd.date_range(ds[-1], periods=4, freq="h")[1:])
    assert str(out["ds"].dt.tz) == "Europe/Berlin"


def test_a_series_that_was_never_observed_is_named_and_the_others_go_on() -> None:
    frame = pd.concat([seasonal_frame(2), _series(np.full(60, np.nan), "empty")])
    forecaster = Forecaster.fit(frame, horizon=3, config=QUICK, device="cpu")
    panel = Panel.from_frame(frame, freq="D")
    forecast = forecaster.predict_panel(panel)
    assert [p.id for p in forecast.problems] == ["empty"]
    assert list(forecast.ids) == ["s0", "s1"]
    with pytest.raises(DataError, match="'empty'"):
        forecaster.predict(frame)


def test_the_edge_cases_file(shared_data: Path) -> None:
    raw = pd.read_csv(shared_data / "messy" / "06_edge_cases.csv")
    raw.columns = ["unique_id", "ds", "y", *raw.columns[3:]]
    raw["y"] = pd.to_numeric(raw["y"], errors="coerce").replace([np.inf, -np.inf], np.nan)
    raw["ds"] = pd.to_datetime(raw["ds"], errors="coerce", format="mixed")
    frame = raw.dropna(subset=["unique_id", "ds"]).drop_duplicates(["unique_id", "ds"])
    observed = frame.dropna(subset=["y"]).groupby("unique_id")["y"].size()
    frame = frame[frame["unique_id"].isin(observed.index)][["unique_id", "ds", "y"]]
    forecaster = Forecaster.fit(frame, horizon=6, config=QUICK, device="cpu")
    forecast = forecaster.predict_panel(Panel.from_frame(frame, freq=forecaster.freq))
    assert len(forecast.ids) + len(forecast.problems) == frame["unique_id"].nunique()
    assert np.isfinite(forecast.quantiles).all()
    assert np.isfinite(forecast.mean).all()


def test_covariates_of_every_role_from_a_plain_table(tmp_path: Path) -> None:
    frame = seasonal_frame(3, rows=60)
    frame["temp"] = np.where(RNG.random(180) < 0.2, np.nan, RNG.normal(size=180))
    frame["promo"] = RNG.integers(0, 2, 180)
    frame["kind"] = RNG.choice(["a", "b"], 180)
    frame.loc[frame.groupby("unique_id").tail(4).index, ["y", "temp"]] = np.nan
    static = pd.DataFrame({"unique_id": ["s0", "s1", "s2"], "region": ["n", "s", "n"]})
    forecaster = Forecaster.fit(
        frame, horizon=4, static=static, past=["temp"], future=["promo", "kind"], config=QUICK,
        device="cpu",
    )  # fmt: skip
    out = forecaster.predict(frame, static=static)
    assert list(out["ds"].unique()) == list(frame["ds"].unique()[-4:])
    forecaster.save(tmp_path / "b")
    served = Predictor.load(tmp_path / "b").predict(frame, static=static)
    pd.testing.assert_frame_equal(out, served, rtol=1e-5)
    unseen = static.assign(region="somewhere else")
    other = forecaster.predict(frame.assign(kind="never seen"), static=unseen)
    assert np.isfinite(other["mean"]).all()
    without_static = forecaster.predict(frame)
    assert np.isfinite(without_static["mean"]).all()


@pytest.mark.parametrize("head", ["quantiles", "student_t", "negative_binomial", "point"])
@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
def test_every_head_and_decoder_can_be_chosen(head: str, decoder: str) -> None:
    if decoder == "recursive" and head in ("negative_binomial", "point"):
        with pytest.raises(ConfigError, match="recursive"):
            ForecasterConfig.parse({"horizon": 3, "model": {"head": head, "decoder": decoder}})
        return
    frame = seasonal_frame(2)
    frame["y"] = frame["y"].round().clip(0)
    _forecast(frame, 4, config=_quick(head=head, decoder=decoder, samples=20))


def test_arguments_of_fit_reach_the_configuration() -> None:
    frame = seasonal_frame(2)
    forecaster = Forecaster.fit(
        frame, horizon=3, freq="D", members=2, seed=9, config=QUICK, device="cpu"
    )
    assert (len(forecaster.networks), forecaster.config.training.seed) == (2, 9)
    assert (forecaster.config.horizon, forecaster.config.freq) == (3, "D")
    given = ForecasterConfig.parse(QUICK | {"horizon": 5})
    again = Forecaster.fit(frame, horizon=2, config=given, device="cpu")
    assert again.config.horizon == 2
    with pytest.raises(ConfigError, match="unknown key"):
        Forecaster.fit(frame, horizon=2, config={"modell": {}})
    with pytest.raises(TrainingError, match="no series has two observed values"):
        Forecaster.fit(_series([1.0]), horizon=2, freq="D", config=QUICK, device="cpu")


def test_forecasting_changes_nothing() -> None:
    frame = seasonal_frame(2)
    forecaster = Forecaster.fit(frame, horizon=3, config=QUICK, device="cpu")
    before = frame.copy()
    weights = [p.clone() for p in forecaster.networks[0].parameters()]
    first = forecaster.predict(frame)
    pd.testing.assert_frame_equal(forecaster.predict(frame), first)
    pd.testing.assert_frame_equal(frame, before)
    assert all(
        (a == b).all() for a, b in zip(weights, forecaster.networks[0].parameters(), strict=True)
    )


# -- the rules of defaults.py --------------------------------------------------------------


@pytest.mark.parametrize("freq", ["YS", "QS", "MS", "W-MON", "D", "B", "h", "30min", "min", "step"])
@pytest.mark.parametrize("rows", [1, 2, 5, 13, 60, 700])
@pytest.mark.parametrize("horizon", [1, 12, 48])
def test_the_defaults_leave_nothing_open_and_fit_together(
    freq: str, rows: int, horizon: int
) -> None:
    step = Frequency.parse(freq)
    start: Any = [1] if step.integer else [np.datetime64("2024-01-01", "us")]
    panel = Panel.from_arrays(["a"], np.linspace(1, 2, rows), np.array([rows]), start, step)
    config = resolve(ForecasterConfig(horizon=horizon), panel)
    model = config.model
    for name in ("segment", "window", "steps", "lags", "calendar", "cycle", "transform", "level",
                 "spread", "scale_window"):  # fmt: skip
        assert getattr(model, name) is not None, name
    assert model.window >= model.segment
    assert model.scale_window >= model.window
    assert resolve(config, panel) == config, "what is chosen must be chosen again"


def test_what_a_user_chose_is_kept() -> None:
    panel = Panel.from_frame(seasonal_frame(2, rows=200))
    chosen = {"segment": 2, "window": 5, "steps": 3, "lags": (14,), "calendar": False,
              "cycle": 7, "transform": "asinh", "level": "last", "spread": "mad",
              "scale_window": 6}  # fmt: skip
    config = ForecasterConfig.parse({"horizon": 3, "season": 7, "model": chosen})
    model = resolve(config, panel).model
    assert {k: getattr(model, k) for k in chosen} == chosen
