"""`Forecaster.fit` left alone: sensible forecasts of whatever a table holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
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


# -- what people hold: tables of their own kind, pictures, backtests, a summary --------------


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster.fit(seasonal_frame(3, rows=60), horizon=3, config=QUICK, device="cpu")


@pytest.mark.parametrize("kind", [pl.from_pandas, pa.Table.from_pandas])
def test_a_forecast_comes_in_the_kind_of_its_table(fitted: Forecaster, kind: Any) -> None:
    """With the numbers that pandas' own table gives, to the last bit, and so for the fit."""
    frame = seasonal_frame(3, rows=60)
    given = kind(frame)
    forecast = fitted.predict(given)
    assert type(forecast) is type(given)
    expected = fitted.predict(frame)
    pd.testing.assert_frame_equal(forecast.to_pandas(), expected, check_dtype=False)
    again = Forecaster.fit(given, horizon=3, config=QUICK, device="cpu")
    pd.testing.assert_frame_equal(again.predict(frame), expected)
    assert fitted.encode(given).panel.rows == fitted.encode(frame).panel.rows


def test_covariates_come_in_a_kind_of_their_own() -> None:
    frame = seasonal_frame(2, rows=40).assign(promo=np.tile([0.0, 1.0], 40))
    ahead = seasonal_frame(2, rows=43).assign(promo=1.0).groupby("unique_id").tail(3)
    ahead = ahead.drop(columns="y")
    static = pd.DataFrame({"unique_id": ["s0", "s1"], "size": [1.0, 2.0]})
    options: dict[str, Any] = {"horizon": 3, "config": QUICK, "device": "cpu"}
    forecaster = Forecaster.fit(frame, static=pl.from_pandas(static), future=["promo"], **options)
    expected = forecaster.predict(frame, future=ahead, static=static)
    found = forecaster.predict(
        pl.from_pandas(frame), future=pa.Table.from_pandas(ahead), static=static
    )
    pd.testing.assert_frame_equal(found.to_pandas(), expected, check_dtype=False)
    state = forecaster.encode(pl.from_pandas(frame), static=pl.from_pandas(static))
    by_state = forecaster.predict(state=state, future=pl.from_pandas(ahead))
    pd.testing.assert_frame_equal(by_state, expected, rtol=1e-4)


def test_a_picture_holds_the_series_asked_for(fitted: Forecaster, tmp_path: Path) -> None:
    frame = seasonal_frame(3, rows=60)
    figure = fitted.plot(frame, series=["s2", "s0"], title="Two")
    axes = [ax for ax in figure.axes if ax.lines]
    assert [ax.get_title(loc="left") for ax in axes] == ["s2", "s0"]
    forecast = fitted.predict(frame).set_index("unique_id")
    for ax in axes:
        name = ax.get_title(loc="left")
        history, median = (np.asarray(line.get_ydata()) for line in ax.lines[:2])
        own = frame.loc[frame["unique_id"] == name, "y"].to_numpy()
        np.testing.assert_array_equal(history, own[-28:])
        np.testing.assert_allclose(median[1:], forecast.loc[name, "q0.5"])
    figure.savefig(tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_table_what_was_fitted_on_is_drawn(fitted: Forecaster, tmp_path: Path) -> None:
    own, given = fitted.plot(), fitted.plot(seasonal_frame(3, rows=60))
    for one, other in zip(own.axes, given.axes, strict=True):
        for a, b in zip(one.lines, other.lines, strict=True):
            np.testing.assert_allclose(a.get_ydata(), b.get_ydata())
    fitted.save(tmp_path / "b")
    with pytest.raises(DataError, match="a loaded forecaster has no table"):
        Forecaster.load(tmp_path / "b").plot()


def test_a_backtest_trains_before_its_first_cutoff(
    fitted: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = seasonal_frame(3, rows=60)
    seen: list[Panel] = []
    train = Forecaster.train.__func__  # type: ignore[attr-defined]

    def spied(cls: Any, panel: Panel, config: ForecasterConfig, **options: Any) -> Forecaster:
        seen.append(panel)
        assert config.model.blend is None, "chosen anew, by the rows before the cutoff alone"
        found: Forecaster = train(cls, panel, config, **options)
        return found

    monkeypatch.setattr(Forecaster, "train", classmethod(spied))
    found = fitted.backtest(pl.from_pandas(frame), windows=2, step=4, device="cpu")
    (panel,) = seen
    assert panel.lengths.tolist() == [53, 53, 53]
    assert isinstance(found.table, pl.DataFrame)
    assert found.models == ["forecaster", "seasonal_naive"]
    table = found.table.to_pandas()
    assert sorted(table["cutoff"].unique()) == sorted(frame["ds"].unique()[[52, 56]])
    merged = table.merge(frame, on=["unique_id", "ds"], suffixes=("", "_known"))
    np.testing.assert_array_equal(merged["y"], merged["y_known"])
    # Its forecasts are those of a forecaster fitted by hand on the same rows.
    past = frame.groupby("unique_id").head(53)
    hand = Forecaster.fit(past, horizon=3, config=QUICK, device="cpu").predict(past)
    own = table[(table["cutoff"] == frame["ds"][52]) & (table["model"] == "forecaster")]
    np.testing.assert_allclose(own["q0.5"], hand["q0.5"])


def test_a_backtest_as_it_is_asks_this_forecaster(fitted: Forecaster) -> None:
    frame = seasonal_frame(3, rows=60)
    table = fitted.backtest(frame, windows=1, retrain=False).table
    known = fitted.predict(frame.groupby("unique_id").head(57))
    own = table[table["model"] == "forecaster"]
    np.testing.assert_allclose(own["q0.5"], known["q0.5"])


def test_a_backtest_that_refits_asks_one_trained_at_each_cutoff(fitted: Forecaster) -> None:
    frame = seasonal_frame(3, rows=60)
    found = fitted.backtest(frame, windows=2, retrain=1, device="cpu")
    assert set(found.models) == {"forecaster", "refitted", "seasonal_naive"}
    once, again = (found.table.query(f"model == '{m}'") for m in ("forecaster", "refitted"))
    first = frame["ds"][53]
    same = [t[t["cutoff"] == first]["q0.5"].to_numpy() for t in (once, again)]
    np.testing.assert_array_equal(*same)
    known = frame.groupby("unique_id").head(57)
    hand = Forecaster.fit(known, horizon=3, config=QUICK, device="cpu").predict(known)
    later = again[again["cutoff"] == frame["ds"][56]]
    np.testing.assert_allclose(later["q0.5"], hand["q0.5"])


def test_a_loaded_forecaster_is_trained_anew_with_what_was_chosen(
    fitted: Forecaster, tmp_path: Path
) -> None:
    fitted.save(tmp_path / "b")
    loaded, frame = Forecaster.load(tmp_path / "b"), seasonal_frame(3, rows=60)
    table = loaded.backtest(frame, windows=1, device="cpu").table
    own = table[table["model"] == "forecaster"]
    assert np.isfinite(own["q0.5"]).all()
    assert not np.allclose(own["q0.5"], fitted.backtest(frame, windows=1, retrain=False)
                           .table.query("model == 'forecaster'")["q0.5"])  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"windows": 30}, "no series has more than 90 rows, which 30 windows"),
        ({"windows": 0}, "both must be 1 or more"),
        ({"step": 0}, "both must be 1 or more"),
        ({"windows": 1.5}, "whole number"),
    ],
)
def test_a_backtest_that_cannot_be_is_refused(
    fitted: Forecaster, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        fitted.backtest(seasonal_frame(3, rows=60), retrain=False, **options)


def test_the_summary_tells_of_this_training_and_is_kept(fitted: Forecaster, tmp_path: Path) -> None:
    text = fitted.summary()
    assert text.splitlines()[0] == repr(fitted) == "Forecaster(horizon=3, freq='D')"
    assert "on 3 series, 180 rows" in text
    count = sum(p.numel() for n in fitted.networks for p in n.parameters())
    assert f"{count:,} parameters" in text
    assert f"MASE {fitted.swing['ensemble']:.3f}" in text
    page = fitted._repr_html_()
    assert all(title in page for title in ("networks", "looks back", "season", "trained"))
    fitted.save(tmp_path / "b")
    assert Forecaster.load(tmp_path / "b").summary() == text
