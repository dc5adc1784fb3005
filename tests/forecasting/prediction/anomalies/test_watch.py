"""Is this point odd: each point by those before it, at a rate that is held."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from forecasting import Forecaster, Predictor
from forecasting.errors import DataError
from forecasting.prediction.anomalies.chances import DEFAULT, Learned
from forecasting.prediction.anomalies.expected import Expected
from forecasting.prediction.anomalies.found import HIGH, KINDS, LOW, NEW_LEVEL
from forecasting.prediction.anomalies.watch import _kinds, _learn, watch
from forecasting.quantiles import interpolation
from tests.forecasting.samples import LEVELS, MIXES, make_panel, settings, untrained

RATE = 0.01


def clean(series: int, rows: int, seed: int = 0, noise: Any = None) -> pd.DataFrame:
    """A season of seven about a level, and noise: nothing in it is odd."""
    rng = np.random.default_rng(seed)
    t = np.arange(rows)
    parts = []
    for i in range(series):
        shocks = rng.normal(size=rows) if noise is None else noise(rng, rows)
        y = 100.0 * (i + 1) + 10.0 * np.sin(2 * np.pi * t / 7) + 2.0 * shocks
        stamps = pd.date_range("2024-01-01", periods=rows, freq="D")
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": stamps, "y": y}))
    return pd.concat(parts, ignore_index=True)


@cache
def trained() -> Forecaster:
    config = {
        "model": {"hidden_size": 8, "layers": 1, "transform": "identity"},
        "training": {"max_steps": 30, "threads": 1, "start": "none"},
    }
    return Forecaster.fit(clean(6, 100, seed=1), horizon=2, freq="D", config=config, device="cpu")


def test_false_alarms_come_as_often_as_was_asked() -> None:
    table = trained().anomalies(clean(10, 220, seed=2), rate=0.05)
    p = table["p"].dropna()
    assert len(p) > 2000
    assert 0.035 < table.loc[p.index, "anomaly"].mean() < 0.065
    for chance in (0.25, 0.5, 0.75):
        assert abs((p < chance).mean() - chance) < 0.07


@pytest.mark.parametrize("rate", [0.01, 0.05])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.normal(size=size),
        lambda rng, size: 2.0 * rng.normal(size=size),
        lambda rng, size: rng.standard_t(3.0, size),
        lambda rng, size: rng.normal(size=size) * np.linspace(0.5, 2.0, size),
    ],
    ids=["as expected", "twice as wide", "heavy tails", "wider and wider"],
)
def test_the_rate_is_held_whatever_the_scores(rate: float, draw: Any) -> None:
    rng, sizes = np.random.default_rng(0), np.full(30, 600)
    score = np.concatenate([draw(rng, size) for size in sizes])
    _, chance, _ = _learn(Learned.nothing(30), score, sizes, rate)
    assert 0.8 * rate < (chance < rate).mean() < 1.2 * rate


@pytest.mark.parametrize("size", [25.0, -25.0])
def test_a_planted_spike_is_found_at_its_step(size: float) -> None:
    frame = clean(3, 160, seed=4)
    frame.loc[frame["ds"] == "2024-05-20", "y"] += size
    found = trained().anomalies(frame)
    at = found[found["ds"] == "2024-05-20"]
    assert at["anomaly"].all()
    assert set(at["kind"]) == {"high" if size > 0 else "low"}
    assert (at["p"] < 0.002).all()
    after = found[found["ds"] > "2024-05-21"]
    assert after["anomaly"].mean() < 0.05


def test_a_dropout_is_found_where_it_begins() -> None:
    frame = clean(3, 160, seed=5)
    frame.loc[frame["ds"].between("2024-05-20", "2024-05-23"), "y"] = 0.0
    found = trained().anomalies(frame)
    assert (found.loc[found["ds"] == "2024-05-20", "kind"] == "low").all()


def test_a_level_that_has_moved_is_told_and_then_taken_as_it_is() -> None:
    frame = clean(3, 200, seed=6)
    frame.loc[frame["ds"] >= "2024-05-20", "y"] += 40.0
    found = trained().anomalies(frame)
    assert (found.loc[found["ds"] == "2024-05-20", "kind"] == "high").all()
    settled = found[found["ds"] >= "2024-06-08"]
    assert settled["anomaly"].mean() < 0.05


def test_points_one_by_one_are_judged_as_all_at_once() -> None:
    frame = clean(3, 110, seed=7)
    frame.loc[frame["ds"] == "2024-04-10", "y"] += 30.0
    frame.loc[(frame["ds"] == "2024-04-12") & (frame["unique_id"] == "s1"), "y"] = np.nan
    known, new = frame[frame["ds"] < "2024-04-05"], frame[frame["ds"] >= "2024-04-05"]
    at_once = trained().anomalies(frame)
    standing, parts = trained().watch(known), []
    parts.append(standing.table)
    for _, rows in new.groupby("ds"):
        # Rows of one series may come later than those of the others.
        late = rows["unique_id"] == "s2"
        for some in (rows[~late], rows[late]):
            standing = standing.update(some)
            parts.append(standing.table)
    joined = pd.concat(parts).sort_values(["unique_id", "ds"], ignore_index=True)
    for name in ("expected", "low", "high", "p"):
        np.testing.assert_allclose(joined[name], at_once[name], rtol=1e-5)
    assert (joined["kind"] == at_once["kind"]).all()
    assert at_once["anomaly"].any()


@effort(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_point_is_judged_by_those_before_it_alone(data: st.DataObject) -> None:
    schema = MIXES[data.draw(st.sampled_from(sorted(MIXES)))]
    panel = make_panel([30, 26], schema=schema, missing=0.1, seed=data.draw(st.integers(0, 9)))
    panel.y[panel.offsets[:-1]] = 1.0  # rows before the first value are left out
    engine = untrained(settings(), schema)
    at = data.draw(st.integers(12, 25))
    changed = panel.y.copy()
    changed[at:30] += 100.0
    one, _ = watch(engine, panel, RATE)
    other, _ = watch(engine, replace(panel, y=changed), RATE)
    for name in ("median", "low", "high"):
        np.testing.assert_array_equal(getattr(one, name)[: at + 1], getattr(other, name)[: at + 1])
    np.testing.assert_array_equal(one.chance[:at], other.chance[:at])
    # Nor by its neighbours.
    np.testing.assert_array_equal(one.chance[30:], other.chance[30:])


@effort(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_point_is_odd_where_it_lies_outside_its_interval(data: st.DataObject) -> None:
    transform = data.draw(st.sampled_from(["identity", "log", "asinh"]))
    head = data.draw(st.sampled_from(["quantiles", "student_t", "point"]))
    panel = make_panel([60], positive=True, seed=data.draw(st.integers(0, 99)))
    engine = untrained(settings(model={"transform": transform, "head": head}))
    rate = data.draw(st.sampled_from([0.01, 0.1, 0.5]))
    found, _ = watch(engine, panel, rate)
    judged = found.judged
    outside = (found.y < found.low - 1e-9) | (found.y > found.high + 1e-9)
    np.testing.assert_array_equal(found.anomaly[judged], outside[judged])
    np.testing.assert_array_equal(found.anomaly, found.chance < rate)
    assert (found.low[judged] <= found.median[judged] + 1e-9).all()
    assert (found.median[judged] <= found.high[judged] + 1e-9).all()


def test_a_bundle_without_torch_judges_alike(tmp_path: Path) -> None:
    frame = clean(3, 90, seed=8)
    trained().save(tmp_path / "bundle")
    served = Predictor.load(tmp_path / "bundle").anomalies(frame)
    for name in ("expected", "low", "high", "p"):
        np.testing.assert_allclose(served[name], trained().anomalies(frame)[name], rtol=1e-5)


def test_what_cannot_be_judged_says_so() -> None:
    with pytest.raises(DataError, match="it has 3 observed values; a point is judged once 8"):
        trained().anomalies(clean(1, 3))
    for rate in (0.0, 0.6, "a lot", True, float("nan")):
        with pytest.raises(DataError, match=r"rate = .* must"):
            trained().anomalies(clean(1, 60), rate=rate)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="last = 0 must be 1 or more"):
        trained().anomalies(clean(1, 60), last=0)
    standing = trained().watch(clean(1, 60))
    with pytest.raises(DataError, match="never watched: x"):
        standing.update(clean(1, 2).assign(unique_id="x"))
    with pytest.raises(DataError, match="was read already"):
        standing.update(clean(1, 2))


def test_a_missing_value_is_no_anomaly_and_its_interval_is_told() -> None:
    frame = clean(2, 90, seed=9)
    frame.loc[frame["ds"] == "2024-03-20", "y"] = np.nan
    found = trained().anomalies(frame)
    gap = found[found["ds"] == "2024-03-20"]
    assert gap["p"].isna().all()
    assert not gap["anomaly"].any()
    assert (gap["low"] < gap["high"]).all()


def test_the_last_points_alone_cost_as_many_forecasts(monkeypatch: pytest.MonkeyPatch) -> None:
    engine, counted = trained(), []
    plain = Forecaster.predict_panel

    def counting(self: Any, panel: Any, **options: Any) -> Any:
        counted.append(len(panel))
        return plain(self, panel, **options)

    monkeypatch.setattr(Forecaster, "predict_panel", counting)
    table = engine.anomalies(clean(2, 90), last=5)
    assert len(table) == 10
    assert sum(counted) == 10
    assert len(engine.anomalies(clean(2, 90), last=2**70)) == 180


def test_scores_and_values_are_each_others_way_back() -> None:
    config = settings(model={"transform": "log"}).model
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.lognormal(size=(50, len(LEVELS))), axis=1)
    expected = Expected.of(quantiles, LEVELS, config)
    score = rng.normal(0, 3, 50)
    np.testing.assert_allclose(expected.scores(expected.at(score)), score, rtol=1e-9)
    inner = interpolation(LEVELS, (0.37,))(np.log(quantiles))[:, 0]
    score = np.full(50, -0.33185334643681663)
    np.testing.assert_allclose(expected.at(score), np.exp(inner))


def test_the_table_of_chances_is_its_own_way_back() -> None:
    for chance in (0.9, 0.3, 0.05, 0.01, 1e-4):
        assert DEFAULT.chance(np.array(DEFAULT.score(chance))) == pytest.approx(chance, rel=1e-6)
    assert DEFAULT.score(0.05) == pytest.approx(1.96, abs=0.001)


def test_three_in_a_row_are_a_new_level_however_they_came() -> None:
    score = np.array([5.0, 5.0, 5.0, 0.0, -5.0, np.nan, -5.0, -5.0, 5.0])
    alarm = np.abs(score) > 3
    series = np.zeros(9, np.int64)
    kind, run = _kinds(score, alarm, series, np.zeros(1, np.int64))
    assert kind.tolist() == [HIGH, HIGH, NEW_LEVEL, 0, LOW, 0, LOW, NEW_LEVEL, HIGH]
    assert run.tolist() == [1]
    parts = np.zeros(1, np.int64)
    told: list[int] = []
    for one, odd in zip(score, alarm, strict=True):
        some, parts = _kinds(np.array([one]), np.array([odd]), np.zeros(1, np.int64), parts)
        told += some.tolist()
    assert told == kind.tolist()
    assert KINDS[NEW_LEVEL] == "new level"


def test_counts_are_judged_in_whole_numbers() -> None:
    config = settings(model={"head": "negative_binomial", "transform": "identity"})
    panel = make_panel([60], positive=True)
    found, _ = watch(untrained(config), replace(panel, y=np.round(panel.y)), RATE)
    assert found.judged.any()
    assert np.isfinite(found.high[found.judged]).all()


def test_a_picture_shows_the_series_that_hold_anomalies() -> None:
    frame = clean(3, 120, seed=10)
    frame.loc[(frame["unique_id"] == "s2") & (frame["ds"] == "2024-04-20"), "y"] += 90.0
    figure = trained().watch(frame, rate=1e-6).plot(series=1, title="odd")
    assert [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes] == ["s2"]
    with pytest.raises(DataError, match="a picture holds 1 to 24"):
        trained().watch(frame).plot(series=0)


@pytest.mark.parametrize(("mix", "zone"), [("all", None), ("none", "Europe/Berlin")])
def test_what_was_expected_is_the_forecast_of_the_history_cut_there(
    mix: str, zone: str | None
) -> None:
    """Covariates of the point itself among it, and across a change of the clock."""
    freq = "h" if zone else "D"
    panel = make_panel([36], schema=MIXES[mix], freq=freq, tz=zone)
    first = "2024-10-26T12:00" if zone else "2024-10-26"
    panel = replace(panel, start=np.array([first], "datetime64[us]"))
    engine = untrained(settings(freq=freq), MIXES[mix])
    found, _ = watch(engine, panel, RATE)
    assert found.judged.sum() > 20
    for row in np.flatnonzero(found.judged):
        cut = panel.truncate(36 - int(row), horizon=1)
        alone = engine.predict_panel(cut, horizon=1, quantiles=LEVELS).quantiles[0, 0]
        assert found.median[row] == pytest.approx(alone[len(LEVELS) // 2], rel=1e-5, abs=1e-5)


def test_one_point_beyond_measure_does_not_blunt_those_after_it() -> None:
    score = np.random.default_rng(0).normal(size=200)
    score[100], score[120] = 1e9, 6.0
    scale, chance, _ = _learn(Learned.nothing(1), score, np.array([200]), RATE)
    assert scale[120] < 3.0
    assert chance[120] < RATE


@effort(max_examples=12, deadline=None, derandomize=True)
@given(seed=st.integers(0, 99), last=st.sampled_from([None, 5, 12]), season=st.sampled_from([4, 9]))
def test_a_point_is_judged_once_enough_values_were_seen_before_it(
    seed: int, last: int | None, season: int
) -> None:
    panel = make_panel([40], missing=0.5, seed=seed).begun()
    found, _ = watch(untrained(settings(season=season)), panel, RATE, last=last)
    known, rows = ~np.isnan(panel.y), slice(-len(found.y), None)
    enough = (np.cumsum(known) - known >= max(8, season + 1))[rows]
    told = ~np.isnan(found.median)
    assert not told[~enough].any()
    # Where nothing near was seen there is no forecast.
    assert told[enough & np.append(False, known[:-1])[rows]].all()
    np.testing.assert_array_equal(found.judged, told & known[rows])


def test_values_that_are_missing_count_for_nothing_seen() -> None:
    panel = make_panel([40])
    panel.y[1:33] = np.nan
    found, _ = watch(untrained(settings()), panel, RATE, last=3)
    assert not found.judged.any()


def test_the_threshold_is_moved_so_far_and_no_further() -> None:
    for score, way in ((np.full(300, 1e9), 1), (np.zeros(300), -1)):
        _, _, learned = _learn(Learned.nothing(1), score, np.array([300]), 0.5)
        assert learned.moved.tolist() == [2.0 * way]


def test_one_count_more_than_nothing_is_within_what_was_expected() -> None:
    model = settings(model={"head": "negative_binomial", "transform": "identity"}).model
    expected = Expected.of(np.zeros((1, len(LEVELS))), LEVELS, model)
    assert expected.scores(np.ones(1)) == pytest.approx(expected.knots[-1])


def test_where_nothing_lies_below_zero_no_interval_does() -> None:
    model = settings(model={"nonnegative": True}).model
    expected = Expected.of(np.array([[1.0, 2.0, 3.0, 4.0, 5.0]]), LEVELS, model)
    assert expected.at(np.array([-9.0])) == 0.0


@effort(max_examples=12, deadline=None)
@given(
    st.sampled_from([0.0, -0.5, -5.0, -999.0, -1e9]),
    st.integers(20, 50),
    st.sampled_from(["log", "identity"]),
)
def test_what_logs_cannot_read_is_an_anomaly_and_no_end_to_judging(
    value: float, place: int, transform: str
) -> None:
    panel = make_panel([60], positive=True, seed=3)
    engine = untrained(settings(model={"transform": transform, "nonnegative": True}))
    calm, _ = watch(engine, panel, RATE)
    y = panel.y.copy()
    y[place] = value
    found, _ = watch(engine, replace(panel, y=y), RATE)
    assert found.anomaly[place] == (value < calm.low[place]) or transform == "identity"
    if transform == "log":
        assert KINDS[found.kind[place]] == "low"
        assert found.chance[place] < RATE
    assert found.judged[place:].all()
    if transform == "log" and value < 0:
        y[place] = np.nan
        missing, _ = watch(engine, replace(panel, y=y), RATE)
        np.testing.assert_array_equal(found.median[place:], missing.median[place:])
