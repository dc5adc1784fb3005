"""The two engines agree: torch as trained, ONNX Runtime as served."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from forecasting.prediction.zeros import zero_chances
from forecasting.resolved import Resolved
from tests.forecasting.samples import (
    CELLS,
    LEVELS,
    MIXES,
    make_panel,
    quantiles,
    settings,
    untrained,
    with_y,
)

HEADS = ("quantiles", "student_t", "negative_binomial", "point")
DECODERS = ("direct", "encoder_decoder", "recursive")


def _combinations() -> list[object]:
    """All of them; every pair of two settings is among those that are not slow."""
    found = []
    for (c, cell), (d, decoder), (h, head) in itertools.product(
        *(list(enumerate(names)) for names in (CELLS, DECODERS, HEADS))
    ):
        if decoder == "recursive" and h >= 2:
            continue
        pair = (c + d) % (2 if decoder == "recursive" else 4) == h
        for mix in MIXES:
            marks = [] if pair and mix == "all" else [pytest.mark.slow]
            found.append(pytest.param(cell, decoder, head, mix, marks=marks))
    return found


def _agree(forecaster: Forecaster, folder: Path, sizes: list[int], *, counts: bool = False) -> None:
    forecaster.save(folder)
    predictor = Predictor.load(folder)
    loaded = Forecaster.load(folder)
    for seed, missing in ((0, 0.0), (1, 0.3)):
        panel = make_panel(sizes, schema=forecaster.schema, seed=seed, missing=missing)
        if counts:
            panel = with_y(panel, np.round(np.abs(panel.y)))
        a = forecaster.predict_panel(panel, quantiles=LEVELS)
        for other in (predictor, loaded):
            b = other.predict_panel(panel, quantiles=LEVELS)
            size = np.abs(a.quantiles).max() + 1.0
            np.testing.assert_allclose(b.quantiles, a.quantiles, rtol=1e-5, atol=1e-5 * size)
            np.testing.assert_allclose(b.mean, a.mean, rtol=1e-5, atol=1e-5 * size)
            assert (b.ids == a.ids).all()


@pytest.mark.parametrize(("cell", "decoder", "head", "mix"), _combinations())
def test_both_engines_agree_for_every_cell_decoder_head_and_covariates(
    cell: str, decoder: str, head: str, mix: str, tmp_path: Path
) -> None:
    model = {"cell": cell, "decoder": decoder, "head": head, "layers": 1, "hidden_size": 4}
    forecaster = untrained(settings(model=model), MIXES[mix])
    _agree(forecaster, tmp_path / "b", [1, 2, 9, 30], counts=head == "negative_binomial")


@pytest.mark.parametrize(
    "model",
    [
        {"segment": 4, "window": 4},
        {"segment": 4, "window": 6, "decoder": "encoder_decoder"},
        {"lags": (6, 11), "cycle": 4, "calendar": True},
        {"lags": (6,), "cycle": 4, "calendar": True, "decoder": "encoder_decoder"},
        {"lags": (6,), "cycle": 4, "calendar": True, "decoder": "recursive"},
        {"level": "last", "layer_norm": True, "residual": False, "skip": False},
        {"dropout": 0.3, "layers": 3},
        {"bidirectional": True},
        {"embedding": False, "window": 1},
        {"transform": "asinh", "spread": "none"},
        {"cell": "layer_norm_lstm", "segment": 2, "window": 3, "steps": 9},
    ],
    ids=str,
)
def test_both_engines_agree_for_every_way_to_read_the_history(
    model: dict[str, object], tmp_path: Path
) -> None:
    training = {"origins": "last"} if model.get("bidirectional") else {}
    config = settings(model=model, training=training)
    _agree(untrained(config, MIXES["all"]), tmp_path / "b", [1, 3, 8, 40])


def test_members_are_combined_by_the_median_in_both_engines(tmp_path: Path) -> None:
    forecaster = untrained(settings(), members=3)
    _agree(forecaster, tmp_path / "b", [12, 20])
    panel = make_panel([12, 20])
    each = [
        quantiles(Forecaster(config=forecaster.config, schema=forecaster.schema, networks=[n]),
                  panel) for n in forecaster.networks
    ]  # fmt: skip
    np.testing.assert_allclose(
        quantiles(forecaster, panel), np.median(each, axis=0), rtol=1e-5, atol=1e-5
    )


def test_members_of_different_cells_are_saved_and_loaded(tmp_path: Path) -> None:
    a, b = (untrained(settings(model={"cell": cell})) for cell in ("gru", "lstm"))
    mixed = Forecaster(config=a.config, schema=a.schema, networks=[*a.networks, *b.networks])
    _agree(mixed, tmp_path / "b", [12, 20])


def test_many_threads_get_what_one_gets(tmp_path: Path) -> None:
    forecaster = untrained(settings())
    forecaster.save(tmp_path / "b")
    predictor = Predictor.load(tmp_path / "b")
    panels = [make_panel([5 + k, 30], seed=k) for k in range(24)]
    for engine in (forecaster, predictor):
        alone = [quantiles(engine, p) for p in panels]
        with ThreadPoolExecutor(6) as pool:
            together = list(pool.map(lambda p, e=engine: quantiles(e, p), panels))
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def plain() -> Forecaster:
    return untrained(settings())


@pytest.fixture(scope="module")
def with_covariates() -> Forecaster:
    return untrained(settings(), MIXES["all"])


def test_a_series_without_observations_is_a_problem_and_the_others_go_on(
    plain: Forecaster,
) -> None:
    panel = make_panel([9, 12, 7])
    y = panel.y.copy()
    y[9:21] = np.nan
    forecast = plain.predict_panel(with_y(panel, y), quantiles=LEVELS)
    assert list(forecast.ids) == ["s0", "s2"]
    assert [(p.id, p.code) for p in forecast.problems] == [("s1", "no_observations")]
    np.testing.assert_allclose(
        forecast.quantiles, quantiles(plain, panel.select([0, 2])), rtol=1e-6, atol=1e-6
    )


def test_a_series_last_observed_before_the_context_is_a_problem(plain: Forecaster) -> None:
    panel = make_panel([plain.context + 5])
    y = panel.y.copy()
    y[5:] = np.nan
    forecast = plain.predict_panel(with_y(panel, y))
    assert [p.code for p in forecast.problems] == ["no_observations"]
    assert str(plain.context) in forecast.problems[0].detail
    assert forecast.mean.shape == (0, 3)


def test_a_missing_future_covariate_names_series_column_and_step(
    with_covariates: Forecaster,
) -> None:
    panel = make_panel([9, 12], schema=with_covariates.schema)
    assert panel.horizon is not None
    horizon = panel.horizon.copy()
    horizon[1, 2, 0] = np.nan
    forecast = with_covariates.predict_panel(replace(panel, horizon=horizon))
    (problem,) = forecast.problems
    assert (problem.id, problem.code) == ("s1", "missing_future_covariate")
    assert problem.where == {"column": "promo", "step": 3}
    # Asked for two steps only, the third is not needed.
    short = with_covariates.predict_panel(replace(panel, horizon=horizon), horizon=2)
    assert short.problems == []


def test_negative_values_are_a_problem_for_a_model_of_counts() -> None:
    forecaster = untrained(settings(model={"head": "negative_binomial"}))
    panel = make_panel([9, 12])
    y = np.abs(panel.y)
    y[3] = -1.0
    forecast = forecaster.predict_panel(with_y(panel, y))
    assert [(p.id, p.code) for p in forecast.problems] == [("s0", "negative_count")]
    assert np.isfinite(forecast.quantiles).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_values_beyond_what_floats_hold_are_a_problem_of_their_series_alone(
    plain: Forecaster, tmp_path: Path
) -> None:
    plain.save(tmp_path)
    panel = make_panel([9, 12])
    y = panel.y.copy()
    y[:9] = 1.7e308 * (-1.0) ** np.arange(9)
    for engine in (plain, Predictor.load(tmp_path)):
        forecast = engine.predict_panel(with_y(panel, y), quantiles=LEVELS)
        assert [(p.id, p.code) for p in forecast.problems] == [("s0", "not_finite")]
        assert list(forecast.ids) == ["s1"]
        np.testing.assert_allclose(forecast.quantiles, quantiles(engine, panel)[1:], rtol=1e-5)
        assert len(forecast.to_frame()) == forecast.mean.size


@pytest.mark.parametrize("size", [1e-300, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("mix", ["none", "all"])
def test_series_of_any_size_are_forecast_in_their_own_units(size: float, mix: str) -> None:
    forecaster = untrained(settings(), MIXES[mix])
    panel = make_panel([9, 12], schema=MIXES[mix])
    far = quantiles(forecaster, with_y(panel, size * panel.y)) / size
    np.testing.assert_allclose(far, quantiles(forecaster, panel), rtol=1e-4, atol=1e-4)


LOGS = {"transform": "log", "spread": "none"}


def test_a_model_of_logs_mixes_zeros_in_as_often_as_a_series_shows_them() -> None:
    """Otherwise it forecasts what it does where the zeros are gaps."""
    forecaster = untrained(settings(model=LOGS))
    panel = make_panel([9, 9], positive=True)
    y = panel.y.copy()
    y[4] = np.nan
    gap = forecaster.predict_panel(with_y(panel, y), quantiles=LEVELS)
    y[4] = 0.0
    zero = forecaster.predict_panel(with_y(panel, y), quantiles=LEVELS)
    chances = zero_chances(with_y(panel, y), forecaster.config.season or 1, 3)
    assert (chances[0] > 0.0).all()
    np.testing.assert_allclose(zero.mean, gap.mean * (1.0 - chances), rtol=1e-12)
    assert (zero.quantiles[0] <= gap.quantiles[0]).all()
    assert (zero.quantiles[0] < gap.quantiles[0]).any()
    np.testing.assert_array_equal(zero.quantiles[1], gap.quantiles[1])


@pytest.mark.parametrize("transform", ["log", "log1p"])
@pytest.mark.parametrize("value", [-3.0, -1.0, -1e-9, -1e300])
def test_a_value_that_a_model_of_logs_cannot_read_is_named(transform: str, value: float) -> None:
    forecaster = untrained(settings(model={**LOGS, "transform": transform}))
    panel = make_panel([9, 7], positive=True)
    y = panel.y.copy()
    y[4] = value
    forecast = forecaster.predict_panel(with_y(panel, y))
    if transform == "log1p" and value > -1.0:
        assert not forecast.problems
        return
    (problem,) = forecast.problems
    assert (problem.id, problem.code) == ("s0", "outside_domain")
    said = f"1 of its last 9 values cannot be read, the first is {value:g}"
    assert problem.detail.startswith(said)
    assert "model.transform" in problem.detail
    assert list(forecast.ids) == ["s1"]


def test_zeros_alone_are_forecast_as_zero_once_there_are_many() -> None:
    forecaster = untrained(settings(model={**LOGS, "window": 30}))
    panel = make_panel([40, 5, 40], positive=True)
    y = panel.y.copy()
    y[:45] = 0.0
    forecast = forecaster.predict_panel(with_y(panel, y), quantiles=LEVELS)
    assert list(forecast.ids) == ["s0", "s2"]
    assert not forecast.quantiles[0].any()
    assert not forecast.mean[0].any()
    assert [(p.id, p.code) for p in forecast.problems] == [("s1", "no_observations")]
    assert "above 0" in forecast.problems[0].detail


def test_an_empty_panel_gives_an_empty_forecast(plain: Forecaster) -> None:
    panel = make_panel([9]).select(np.array([], dtype=int))
    forecast = plain.predict_panel(panel)
    assert forecast.quantiles.shape == (0, 3, 3)
    assert forecast.to_frame().empty


@pytest.mark.parametrize("horizon", [0, -1, 4])
def test_a_horizon_outside_the_trained_one_is_refused(plain: Forecaster, horizon: int) -> None:
    with pytest.raises(DataError, match=f"horizon = {horizon} is outside 1..3"):
        plain.predict_panel(make_panel([9]), horizon=horizon)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, 10.0, float("nan")])
def test_a_level_outside_zero_and_one_is_refused(plain: Forecaster, level: float) -> None:
    with pytest.raises(DataError, match="outside"):
        plain.predict_panel(make_panel([9]), quantiles=(0.5, level))


def test_extending_needs_no_future_covariates(with_covariates: Forecaster) -> None:
    panel = make_panel([9], schema=with_covariates.schema)
    with pytest.raises(DataError, match="known-future covariates"):
        with_covariates.predict_panel(panel, horizon=5, extend=True)


def test_another_frequency_or_other_covariates_are_refused(plain: Forecaster) -> None:
    with pytest.raises(DataError, match="freq = h, the model was trained on D"):
        plain.predict_panel(make_panel([9], freq="h"))
    informed = untrained(settings(), schema=MIXES["past"])
    with pytest.raises(DataError, match="the model needs the past covariate"):
        informed.predict_panel(make_panel([9]))


def test_covariates_that_the_model_does_not_know_change_nothing(plain: Forecaster) -> None:
    told = make_panel([9], schema=MIXES["past"])
    bare = told.under(plain.schema)
    assert bare.past.shape == (9, 0)
    np.testing.assert_array_equal(
        plain.predict_panel(told).quantiles, plain.predict_panel(bare).quantiles
    )


def test_weekly_data_of_another_weekday_can_be_forecast() -> None:
    forecaster = untrained(settings(freq="W-MON"))
    for freq in ("W-SUN", "7D", "W"):
        panel = make_panel([9], freq=freq)
        assert forecaster.predict_panel(panel).mean.shape == (1, 3)


def test_any_level_lies_between_its_neighbours(plain: Forecaster) -> None:
    panel = make_panel([20])
    levels = tuple(np.linspace(0.001, 0.999, 301))
    values = plain.predict_panel(panel, quantiles=levels).quantiles
    assert (np.diff(values, axis=-1) > 0).all()
    exact = plain.predict_panel(panel, quantiles=LEVELS).quantiles
    np.testing.assert_array_equal(
        plain.predict_panel(panel, quantiles=LEVELS[::-1]).quantiles, exact[..., ::-1]
    )


def test_the_mean_is_the_mean_of_the_quantile_function(plain: Forecaster) -> None:
    panel = make_panel([20])
    forecast = plain.predict_panel(panel, quantiles=tuple((np.arange(400) + 0.5) / 400))
    width = np.ptp(forecast.quantiles, axis=-1)
    middle = forecast.quantiles.mean(axis=-1)
    assert (np.abs(forecast.mean - middle) < 0.1 * width).all()


def test_frames_and_panels_give_the_same(plain: Forecaster) -> None:
    panel = make_panel([9, 20], missing=0.2)
    frame = plain.predict(panel.to_frame(), quantiles=LEVELS)
    expected = plain.predict_panel(panel, quantiles=LEVELS).to_frame()
    pd.testing.assert_frame_equal(frame, expected)
    shuffled = panel.to_frame().dropna().sample(frac=1.0, random_state=0)
    again = plain.predict(shuffled, quantiles=LEVELS).sort_values(["unique_id", "ds"])
    pd.testing.assert_frame_equal(again.reset_index(drop=True), expected, rtol=1e-5)


def test_future_rows_may_come_in_their_own_table(with_covariates: Forecaster) -> None:
    panel = make_panel([9, 20], schema=with_covariates.schema)
    assert panel.horizon is not None
    frame = panel.to_frame()
    stamps = panel.freq.stamps(panel.start, panel.lengths, 3)
    promo, holiday = panel.horizon[..., 0].ravel(), panel.horizon[..., 1].ravel().astype(int)
    future = pd.DataFrame(
        {
            "unique_id": np.repeat(panel.ids, 3),
            "ds": stamps.ravel(),
            "promo": promo,
            "holiday": np.array([None, "x", "y"], dtype=object)[holiday],
        }
    )
    static = pd.DataFrame(
        {
            "unique_id": panel.ids,
            "size": panel.static[:, 0],
            "region": np.array([None, "n", "s"], dtype=object)[panel.static[:, 1].astype(int)],
        }
    )
    expected = with_covariates.predict_panel(panel).to_frame()
    own = with_covariates.predict(frame, future=future, static=static)
    pd.testing.assert_frame_equal(own, expected)
    trailing = pd.concat([frame, future], ignore_index=True)
    pd.testing.assert_frame_equal(with_covariates.predict(trailing, static=static), expected)


def test_a_series_without_rows_is_named_though_all_others_are_positive(
    plain: Forecaster,
) -> None:
    start = np.array(["2024-01-01", "2024-01-01"], "datetime64[us]")
    panel = Panel.from_arrays(
        ["full", "empty"], np.full(9, 5.0), np.array([9, 0]), start, plain.freq, schema=plain.schema
    )
    found = plain.predict_panel(panel)
    assert list(found.ids) == ["full"]
    assert [(p.id, p.code) for p in found.problems] == [("empty", "no_observations")]


def test_a_frame_that_cannot_be_forecast_names_the_series(plain: Forecaster) -> None:
    frame = make_panel([9, 5]).to_frame()
    frame.loc[frame["unique_id"] == "s1", "y"] = np.nan
    with pytest.raises(DataError, match=r"1 of 2 series cannot be forecast.*'s1'"):
        plain.predict(frame)


def test_a_resolved_configuration_survives_json(plain: Forecaster) -> None:
    text = plain.config.model_dump_json()
    assert Resolved.model_validate_json(text) == plain.config


def test_many_series_are_forecast_alike_in_chunks_at_once_and_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("forecasting.prediction.predictor.Predictor.chunk", 3)
    panel = make_panel([40, 12, 30, 25, 9, 40, 33, 21, 18, 40, 11])
    Forecaster.train(panel, settings(), device="cpu").save(tmp_path / "b")
    one, several = (Predictor.load(tmp_path / "b", threads=n) for n in (1, 3))
    assert one.single_threaded is None
    np.testing.assert_array_equal(quantiles(several, panel), quantiles(one, panel))

    def broken(batch: object) -> None:
        raise ValueError("no such input")

    several.single_threaded = broken  # type: ignore[assignment]
    with pytest.raises(ValueError, match="no such input"):
        several.predict_panel(panel)
