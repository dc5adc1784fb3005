"""Patterns of a day follow the wall clock at every step below a day; answers stay instants."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting import Forecaster
from forecasting.data.calendar import Frequency, phase
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock, wall_backs
from forecasting.schema import Covariate, Schema

# Changes of the clock in both directions, on both hemispheres, by an hour and by half of one.
CHANGES = {
    "Europe/Berlin": ("2024-03-31", "2024-10-27"),
    "America/New_York": ("2024-03-10", "2024-11-03"),
    "Australia/Sydney": ("2024-10-06", "2024-04-07"),
    "America/Santiago": ("2024-09-08", "2024-04-07"),
    "Australia/Lord_Howe": ("2024-10-06", "2024-04-07"),
    "Europe/Dublin": ("2024-03-31", "2024-10-27"),
    "Africa/Casablanca": ("2024-04-14", "2024-03-10"),
}
STILL = ("Asia/Kolkata", "Asia/Kathmandu", "UTC", "+05:30")
STEPS = ("15min", "30min", "h", "2h", "6h")
SCHEMA = Schema(
    covariates=(
        Covariate.parse({"name": "p", "role": "past"}),
        Covariate.parse({"name": "f", "role": "future"}),
        Covariate.parse(
            {"name": "c", "role": "future", "type": "categorical", "categories": ("a", "b")}
        ),
    )
)


def instants(zone: str, near: str, step: str, back: int, rows: int) -> pd.DatetimeIndex:
    # Where clocks change at midnight, the day begins an hour late.
    midnight = pd.Timestamp(near).tz_localize(zone, nonexistent="shift_forward", ambiguous=True)
    start = midnight.tz_convert("UTC") - back * pd.tseries.frequencies.to_offset(step)
    return pd.date_range(start, periods=rows, freq=step).tz_convert(zone)


def panel_of(parts: list[pd.DatetimeIndex], step: str, ahead: int, seed: int) -> Panel:
    """Random values with holes, and covariates of every kind over h instants more."""
    rng = np.random.default_rng(seed)
    sizes = np.array([len(p) - ahead for p in parts])
    total, wide = int(sizes.sum()), int(sizes.sum()) + ahead * len(parts)
    panel = Panel.from_arrays(
        [f"s{i}" for i in range(len(parts))],
        np.where(rng.random(total) < 0.2, np.nan, rng.normal(size=total)),
        sizes,
        np.array([p[0].tz_convert("UTC").tz_localize(None) for p in parts], "datetime64[us]"),
        step,
        schema=SCHEMA,
        past={"p": rng.normal(size=total)},
        future={"f": rng.normal(size=wide), "c": rng.choice(["a", "b"], wide)},
        future_sizes=sizes + ahead,
    )
    return replace(panel, tz=str(parts[0].tz))


def slow(panel: Panel, parts: list[pd.DatetimeIndex], step: str) -> tuple[list[Any], list[Any]]:
    """Step by step: the values of every wall clock step of the history, and of every instant ahead
    the step of the wall clock."""
    size = pd.Timedelta(panel.freq.size, "us")
    histories, aheads = [], []
    for i, stamps in enumerate(parts):
        year = stamps[0].tz_convert("UTC").year
        first = pd.Timestamp(f"{year}-01-01", tz="UTC")
        offsets = [
            (first + pd.Timedelta(days=d)).tz_convert(stamps.tz).utcoffset()
            for d in range(0, 365, 7)
        ]
        grid = (stamps[0].tz_convert("UTC").tz_localize(None) + min(offsets)) - pd.Timestamp(0)
        labels = []
        for stamp in stamps:
            steps, rest = divmod(stamp.tz_localize(None) - pd.Timestamp(0) - grid, size)
            steps += rest > size / 2
            labels.append(pd.Timestamp(0) + grid + steps * size)
        begin, end = panel.offsets[i], panel.offsets[i + 1]
        count = int(end - begin)
        until = min(labels[count:], default=max(labels) + size)
        values = defaultdict(list)
        for row, label in zip(range(begin, end), labels, strict=False):
            if label < until:
                values[label].append(row)
        histories.append(dict(sorted(values.items())))
        aheads.append(labels[count:])
    return histories, aheads


@st.composite
def situations(draw: Callable[..., Any]) -> tuple[str, str, int, list[pd.DatetimeIndex], int]:
    zone = draw(st.sampled_from([*CHANGES, *STILL]))
    near = draw(st.sampled_from(CHANGES.get(zone, ("2024-03-31",))))
    step = draw(st.sampled_from(STEPS))
    ahead = draw(st.integers(1, 12))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        back = draw(st.integers(-6, 40))
        parts.append(instants(zone, near, step, back, draw(st.integers(2, 60)) + ahead))
    return zone, step, ahead, parts, draw(st.integers(0, 99))


@settings(max_examples=60, deadline=None)
@given(situation=situations())
def test_a_panel_is_laid_on_the_clock_as_step_by_step(situation: Any) -> None:
    zone, step, ahead, parts, seed = situation
    panel = panel_of(parts, step, ahead, seed)
    wall = on_wall_clock(panel, ahead)
    histories, aheads = slow(panel, parts, step)
    if wall is None:
        for history, following in zip(histories, aheads, strict=True):
            labels = [*history, *following]
            assert all(len(rows) == 1 for rows in history.values())
            assert set(np.diff(np.array(labels, "datetime64[us]")).astype(int)) <= {panel.freq.size}
        return
    assert wall.panel.tz is None
    assert zone in CHANGES
    for i, (history, following) in enumerate(zip(histories, aheads, strict=True)):
        rows = slice(wall.panel.offsets[i], wall.panel.offsets[i + 1])
        stamps = wall.panel.freq.stamps(wall.panel.start[i], 0, int(wall.panel.lengths[i]))[0]
        if not history:
            # All that is known lies in steps that are asked for: it is kept.
            continue
        assert stamps[0] == np.datetime64(min(history))
        assert stamps[-1] == np.datetime64(max(history))
        for at, stamp in zip(range(rows.start, rows.stop), stamps, strict=True):
            source = history.get(pd.Timestamp(stamp), [])
            y = panel.y[source]
            right = np.nanmean(y) if (~np.isnan(y)).any() else np.nan
            np.testing.assert_allclose(wall.panel.y[at], right, rtol=1e-12)
            if len(source) == 1:
                np.testing.assert_array_equal(wall.panel.y[at], y[0])
                assert wall.panel.past[at, 0] == panel.past[source[0], 0]
                assert wall.panel.future[at].tolist() == panel.future[source[0]].tolist()
            if source:
                assert wall.panel.future[at, 1] == panel.future[source[0], 1]
        assert not np.isnan(wall.panel.future[rows]).any()
        first = pd.Timestamp(stamps[-1]) + pd.Timedelta(panel.freq.size, "us")
        size = pd.Timedelta(panel.freq.size, "us")
        assert wall.step[i].tolist() == [(label - first) // size for label in following]
        assert wall.panel.horizon is not None
        for k, label in enumerate(following):
            if following.index(label) == k:
                horizon = wall.panel.horizon[i, wall.step[i, k]]
                assert horizon.tolist() == panel.horizon[i, k].tolist()  # type: ignore[index]


@pytest.mark.parametrize("zone", STILL)
@pytest.mark.parametrize("step", STEPS)
def test_a_zone_that_never_changes_is_left_as_it_is(zone: str, step: str) -> None:
    panel = panel_of([instants(zone, "2024-01-01", step, 0, 3000)], step, 5, 0)
    assert on_wall_clock(panel, 5) is None


@pytest.mark.parametrize(
    ("zone", "step"),
    [("Europe/Berlin", "6h"), ("Europe/Berlin", "2h"), ("Australia/Lord_Howe", "h")],
)
def test_a_step_longer_than_the_change_is_left_as_it_is(zone: str, step: str) -> None:
    panel = panel_of([instants(zone, "2023-01-01", step, 0, 9000)], step, 5, 0)
    assert on_wall_clock(panel, 5) is None
    # And its steps of the day are those of the other half of the year.
    cycle = pd.Timedelta(1, "D") // pd.Timedelta(panel.freq.size, "us")
    later = panel.tail(1000)
    moved = (phase(panel.start, panel.freq, cycle, zone) + panel.rows - 1000) % cycle
    assert moved.tolist() == phase(later.start, later.freq, cycle, zone).tolist()


@pytest.mark.parametrize(
    ("near", "values"),
    [("2024-03-31", [0, 1, np.nan, 2, 3]), ("2024-10-27", [0, 1, 2.5, 4])],
)
def test_the_spring_hour_is_missing_and_the_autumn_hour_is_the_mean(
    near: str, values: list[float]
) -> None:
    count = int(np.nanmax(values)) + 1
    stamps = pd.date_range(near, periods=count, freq="h", tz="Europe/Berlin")
    table = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(count, dtype=float)})
    wall = on_wall_clock(Panel.from_frame(table))
    assert wall is not None
    np.testing.assert_array_equal(wall.panel.y, values)


def test_origins_are_no_earlier_by_the_wall_clock() -> None:
    stamps = pd.date_range("2024-10-26", periods=72, freq="h", tz="Europe/Berlin")
    panel = Panel.from_frame(pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0}))
    assert wall_backs(panel, [12, 48, 70]) == [12, 47, 69]


# -- forecasts ---------------------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "training": {"max_steps": 4, "start": "none", "validation": "none"},
    "model": {"hidden_size": 4, "layers": 1, "steps": 60},
}


def hourly(zone: str, near: str, before: int, after: int) -> pd.DataFrame:
    stamps = instants(zone, near, "h", before, before + after)
    y = 50 + 10 * np.sin(stamps.hour / 24 * 2 * np.pi) + np.arange(len(stamps)) * 0.01
    return pd.DataFrame({"unique_id": "a", "ds": stamps, "y": y})


def without_zone(table: pd.DataFrame) -> pd.DataFrame:
    local = table.assign(ds=table["ds"].dt.tz_localize(None))
    return local.groupby(["unique_id", "ds"], as_index=False).mean()


@pytest.fixture(scope="module")
def model() -> Forecaster:
    table = hourly("Europe/Berlin", "2024-03-31", 900, 24)
    return Forecaster.fit(table, horizon=24, config=CONFIG, device="cpu")


def test_training_reads_a_zoned_table_as_its_twin_without_zone(model: Forecaster) -> None:
    twin = without_zone(hourly("Europe/Berlin", "2024-03-31", 900, 24))
    other = Forecaster.fit(twin, horizon=24, config=CONFIG, device="cpu")
    pd.testing.assert_frame_equal(model.predict(twin), other.predict(twin))


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Australia/Sydney", "America/New_York"])
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("after", [6, 7, 24, 100])
def test_a_forecast_after_a_change_is_that_of_the_twin_without_zone(
    model: Forecaster, zone: str, direction: int, after: int
) -> None:
    table = hourly(zone, CHANGES[zone][direction], 400, after)
    zoned, twin = model.predict(table), model.predict(without_zone(table))
    assert (zoned["ds"].dt.tz_localize(None) == twin["ds"]).all()
    pd.testing.assert_frame_equal(zoned.drop(columns="ds"), twin.drop(columns="ds"))


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("step", STEPS)
def test_every_instant_has_the_forecast_of_its_step_of_the_day(
    model: Forecaster, monkeypatch: pytest.MonkeyPatch, zone: str, direction: int, step: str
) -> None:
    asked = []

    def by_the_clock(panel: Panel, steps: int, levels: tuple[float, ...]) -> Any:
        """A model that knows only what the clock shows."""
        asked.append((steps, panel.tz))
        stamps = panel.freq.stamps(panel.start, panel.lengths, steps)
        day = stamps.astype("datetime64[D]")
        mean = (stamps - day).astype(np.int64) / 3.6e9
        quantiles = np.repeat(mean[..., None], len(levels), axis=2)
        start = stamps[:, 0]
        forecast = Forecast(panel.ids, start, panel.freq, panel.tz, mean, quantiles, levels)
        return forecast, np.arange(len(panel))

    monkeypatch.setattr(model, "_forecast", by_the_clock)
    monkeypatch.setattr(model, "freq", Frequency.parse(step))
    for back in range(-4, 110, 3):
        stamps = instants(zone, CHANGES[zone][direction], step, back + 60, 60)
        table = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": 1.0})
        out = model.predict(table, horizon=24, quantiles=(0.9, 0.1))
        assert len(out) == 24
        expected = pd.date_range(stamps[-1], periods=25, freq=step)[1:]
        assert (out["ds"] == expected).all()
        if asked[-1][1] is None:
            hours = (expected.hour + expected.minute / 60).to_numpy(dtype=float)
            size = pd.Timedelta(model.freq.size, "us") / pd.Timedelta(1, "h")
            off = np.abs((out["mean"].to_numpy() - hours + 12) % 24 - 12)
            assert off.max() < max(size, 1e-9)
            if zone != "Australia/Lord_Howe" or step in ("15min", "30min"):
                assert off.max() == 0.0
            np.testing.assert_array_equal(out["q0.1"], out["mean"])
        assert max(steps for steps, _ in asked) <= 24


@pytest.mark.parametrize("after", [-30, -12, 0, 5, 40])
def test_covariates_announced_for_instants_reach_their_steps(after: int) -> None:
    rng = np.random.default_rng(0)
    table = hourly("Europe/Berlin", "2024-03-31", 900, after)
    table["promo"] = rng.integers(0, 2, len(table)).astype(float)
    ahead = pd.date_range(table["ds"].iloc[-1], periods=25, freq="h")[1:]
    future = pd.DataFrame({"unique_id": "a", "ds": ahead, "promo": 1.0})
    model = Forecaster.fit(table, horizon=24, future=["promo"], config=CONFIG, device="cpu")
    out = model.predict(table, future=future)
    assert (out["ds"] == ahead).all()
    assert np.isfinite(out["mean"]).all()


@pytest.mark.parametrize("near", CHANGES["Europe/Berlin"])
@pytest.mark.parametrize("after", [1, 5, 30])
def test_a_state_that_grows_over_a_change_forecasts_as_predict_does(
    model: Forecaster, near: str, after: int
) -> None:
    # No longer than the network looks back: beyond, a state remembers more.
    table = hourly("Europe/Berlin", near, 50, after + 3)
    state = model.encode(table.iloc[:40])
    state = model.update(state, table.iloc[40:])
    out, right = model.predict(state=state), model.predict(table)
    assert (out["ds"] == right["ds"]).all()
    np.testing.assert_allclose(out["mean"], right["mean"], rtol=1e-4)


@pytest.mark.parametrize("near", CHANGES["Europe/Berlin"])
def test_a_state_goes_on_row_by_row_and_from_the_start_alike(model: Forecaster, near: str) -> None:
    table = hourly("Europe/Berlin", near, 50, 12)
    state = model.encode(table.iloc[:45])
    for row in range(45, len(table)):
        state = model.update(state, table.iloc[row : row + 1])
        out = model.predict(state=state)
        assert out["ds"].iloc[0] == table["ds"].iloc[row] + pd.Timedelta(1, "h")
        assert len(out) == 24
    right = model.predict(table)
    np.testing.assert_allclose(out["mean"], right["mean"], rtol=1e-3)
