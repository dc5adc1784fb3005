"""A state moved on row by row forecasts what reading everything again forecasts."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError
from forecasting.forecaster import Forecaster
from forecasting.streaming import reading as streaming
from forecasting.streaming.state import State
from tests.forecasting.samples import LEVELS, MIXES, make_panel, settings, untrained

HORIZON = 3
few = hypothesis_settings(
    max_examples=int(os.environ.get("GATECAST_TEST_EXAMPLES", "15")),
    deadline=None,
    derandomize="GATECAST_TEST_EXAMPLES" not in os.environ,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


def from_state(forecaster: Forecaster, state: State, **options: Any) -> np.ndarray:
    found = streaming.forecast(forecaster, state, quantiles=LEVELS, **options)
    assert found.problems == []
    return found.quantiles


def from_panel(forecaster: Forecaster, panel: Panel) -> np.ndarray:
    found = forecaster.predict_panel(panel, quantiles=LEVELS)
    assert found.problems == []
    return found.quantiles


def assert_same(one: np.ndarray, other: np.ndarray) -> None:
    np.testing.assert_allclose(one, other, atol=1e-5 * max(np.abs(other).max(), 1.0), rtol=1e-5)


def table(panel: Panel) -> pd.DataFrame:
    """The history and, for known-future covariates, the steps ahead as rows without y."""
    if panel.horizon is None:
        return panel.to_frame()
    ahead = panel.horizon.shape[1]
    whole = replace(
        panel,
        offsets=panel.offsets + ahead * np.arange(len(panel) + 1),
        y=_with(panel, panel.y, np.full((len(panel), ahead), np.nan)),
        past=_with(panel, panel.past, np.full((len(panel), ahead, panel.past.shape[1]), np.nan)),
        future=_with(panel, panel.future, panel.horizon),
        horizon=None,
    )
    return whole.to_frame()


def _with(panel: Panel, rows: np.ndarray, ahead: np.ndarray) -> np.ndarray:
    parts = []
    for i in range(len(panel)):
        parts += [rows[panel.offsets[i] : panel.offsets[i + 1]], ahead[i]]
    return np.concatenate(parts)


def streamed(forecaster: Forecaster, panel: Panel, start: list[int], sizes: list[int]) -> State:
    """The state after ``start`` rows of each series and then ``sizes`` rows at a time."""
    frame = table(panel)
    step = frame.groupby("unique_id", sort=False).cumcount().to_numpy()
    first = frame["unique_id"].map(dict(zip(panel.ids, start, strict=True))).to_numpy()
    length = frame["unique_id"].map(dict(zip(panel.ids, panel.lengths, strict=True))).to_numpy()
    state = forecaster.encode(panel.truncate(panel.lengths - np.array(start), HORIZON))
    for at, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        end = np.minimum(first + at + size, length)
        future = None
        if panel.schema.future:
            future = frame[(step >= end) & (step < end + HORIZON)].drop(columns="y")
        state = forecaster.update(state, frame[(step >= first + at) & (step < end)], future=future)
    return state


MODELS = st.fixed_dictionaries(
    {
        "cell": st.sampled_from(("lstm", "gru", "rnn", "layer_norm_lstm")),
        "decoder": st.sampled_from(("direct", "encoder_decoder")),
        "segment": st.sampled_from((1, 2, 3, 5)),
        "layers": st.integers(1, 3),
        "layer_norm": st.booleans(),
        "lags": st.sampled_from(((), (6,), (2, 9))),
        "level": st.sampled_from(("mean", "last")),
        "calendar": st.booleans(),
        "cycle": st.sampled_from((0, 7)),
    }
)


@few
@given(
    model=MODELS,
    mix=st.sampled_from(tuple(MIXES)),
    start=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    sizes=st.lists(st.sampled_from((1, 1, 2, 7)), min_size=1, max_size=6),
    missing=st.sampled_from((0.0, 0.3)),
    members=st.integers(1, 2),
)
def test_updates_equal_encoding_everything_again(
    model: dict[str, Any],
    mix: str,
    start: list[int],
    sizes: list[int],
    missing: float,
    members: int,
) -> None:
    forecaster = untrained(settings(model=model), MIXES[mix], seed=1, members=members)
    lengths = [n + sum(sizes) for n in start]
    panel = make_panel(lengths, schema=MIXES[mix], missing=missing, seed=sum(lengths))
    # A forecast from the middle needs an observed value there; the history may lack any other.
    panel.y[np.concatenate([panel.offsets[:-1], panel.offsets[1:] - 1])] = 5.0
    again = forecaster.encode(panel)
    state = streamed(forecaster, panel, start, sizes)
    assert_same(from_state(forecaster, state), from_state(forecaster, again))


@few
@given(model=MODELS, mix=st.sampled_from(tuple(MIXES)), data=st.data())
def test_a_history_the_window_holds_is_forecast_as_predict_does(
    model: dict[str, Any], mix: str, data: st.DataObject
) -> None:
    config = settings(model={**model, "steps": 12})
    forecaster = untrained(config, MIXES[mix], seed=2)
    limit = 12 * model["segment"]
    lengths = data.draw(st.lists(st.integers(1, limit), min_size=1, max_size=4))
    # Behind a stretch without two different values, predict takes a lag's unit from the window.
    missing = 0.0 if model["lags"] else 0.2
    panel = make_panel(lengths, schema=MIXES[mix], missing=missing, seed=sum(lengths))
    state = forecaster.encode(panel)
    assert_same(from_state(forecaster, state), from_panel(forecaster, panel))


@pytest.mark.parametrize("head", ["quantiles", "student_t"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sampled_paths_start_from_the_state(cell: str, head: str) -> None:
    model = {"cell": cell, "head": head, "decoder": "recursive", "steps": 40, "calendar": True}
    forecaster = untrained(settings(model=model), MIXES["past"], seed=2)
    panel = make_panel([30, 21], schema=MIXES["past"])
    state = streamed(forecaster, panel, [20, 11], [1, 4, 5])
    assert_same(from_state(forecaster, state), from_panel(forecaster, panel))


@pytest.mark.parametrize("head", ["negative_binomial", "point"])
def test_every_head_forecasts_from_a_state(head: str) -> None:
    forecaster = untrained(settings(model={"head": head, "steps": 40}), seed=2)
    panel = make_panel([30, 21], positive=True)
    panel = replace(panel, y=np.round(panel.y))
    state = streamed(forecaster, panel, [20, 11], [3, 7])
    assert_same(from_state(forecaster, state), from_panel(forecaster, panel))


@pytest.mark.parametrize("transform", ["log", "asinh"])
def test_logs_and_a_moving_level_need_no_rescaling_of_the_past(transform: str) -> None:
    model = {"transform": transform, "spread": "none", "steps": 60, "segment": 2}
    forecaster = untrained(settings(model=model), seed=2)
    panel = make_panel([80], positive=True)
    # The level grows a thousandfold while the stream runs.
    panel = replace(panel, y=panel.y * np.geomspace(1.0, 1000.0, 80))
    state = streamed(forecaster, panel, [10], [1] * 20 + [50])
    assert_same(from_state(forecaster, state), from_panel(forecaster, panel))


def test_a_history_that_stands_still_keeps_the_width_predict_gives_it() -> None:
    forecaster = untrained(settings(model={"steps": 40}), seed=2)
    y = np.concatenate([np.arange(10.0), np.full(15, 4.0)])
    panel = replace(make_panel([25]), y=y)
    state = streamed(forecaster, panel, [8], [1] * 17)
    assert_same(from_state(forecaster, state), from_panel(forecaster, panel))


@pytest.mark.parametrize("segment", [1, 2])
def test_a_lag_behind_a_stretch_that_stands_still_does_not_depend_on_the_blocks(
    segment: int,
) -> None:
    forecaster = untrained(settings(model={"segment": segment, "lags": (12,)}), seed=2)
    rng = np.random.default_rng(0)
    y = np.concatenate([rng.normal(size=15), np.full(16, 4.0), 30.0 * rng.normal(size=9)])
    panel = replace(make_panel([40, 20]), y=np.concatenate([y, rng.normal(size=20)]))
    again = from_state(forecaster, forecaster.encode(panel))
    for sizes in ([1] * 32, [5, 9, 18]):
        state = streamed(forecaster, panel, [8, 2], sizes)
        assert_same(from_state(forecaster, state), again)


def test_a_gap_in_the_stamps_is_missing_values() -> None:
    forecaster = untrained(settings(model={"segment": 2}), MIXES["past"], seed=3)
    panel = make_panel([40, 25], schema=MIXES["past"])
    gone = np.zeros(panel.rows, dtype=bool)
    gone[30:35] = True
    past = np.where(gone[:, None], np.nan, panel.past)
    holed = replace(panel, y=np.where(gone, np.nan, panel.y), past=past)
    frame = table(panel)
    state = forecaster.encode(panel.truncate(np.array([15, 5])))
    assert repr(state) == f"State(2 series, {panel.rows - 20} rows read)"
    state = forecaster.update(state, frame.iloc[[*range(25, 30), *range(35, 40)]])
    state = forecaster.update(state, frame.iloc[60:65])
    assert_same(from_state(forecaster, state), from_state(forecaster, forecaster.encode(holed)))


def test_covariates_announced_before_a_gap_fill_it() -> None:
    forecaster = untrained(settings(), MIXES["future"], seed=3)
    panel = make_panel([20], schema=MIXES["future"])
    frame = table(panel)
    state = forecaster.encode(panel.truncate(3, HORIZON))
    state = forecaster.update(state, frame.iloc[18:20], future=frame.iloc[20:])
    holed = replace(panel, y=np.where(np.arange(20) == 17, np.nan, panel.y))
    assert_same(from_state(forecaster, state), from_state(forecaster, forecaster.encode(holed)))


def test_covariates_announced_far_ahead_serve_later_updates_too() -> None:
    forecaster = untrained(settings(horizon=2), MIXES["future"], seed=3)
    panel = make_panel([20], schema=MIXES["future"], horizon=5)
    frame = table(panel)
    state = forecaster.encode(panel)
    arrived = frame.iloc[20:23].assign(y=[1.0, np.nan, 2.0])
    known = frame.assign(y=[*panel.y, 1.0, np.nan, 2.0, np.nan, np.nan])
    expected = forecaster.encode(known)
    assert_same(
        from_state(forecaster, forecaster.update(state, arrived)), from_state(forecaster, expected)
    )


def test_a_row_that_arrives_without_y_is_a_missing_value_and_no_step_ahead() -> None:
    forecaster = untrained(settings(), MIXES["future"], seed=3)
    panel = make_panel([20], schema=MIXES["future"])
    frame = table(panel)
    state = forecaster.encode(panel.truncate(1, HORIZON))
    state = forecaster.update(state, frame.iloc[19:20].assign(y=np.nan), future=frame.iloc[20:])
    assert list(state.count) == [20]
    holed = replace(panel, y=np.where(np.arange(20) == 19, np.nan, panel.y))
    assert_same(from_state(forecaster, state), from_state(forecaster, forecaster.encode(holed)))


def test_series_move_on_alone_and_leave_the_others_where_they_were() -> None:
    forecaster = untrained(settings(), seed=3)
    panel = make_panel([20, 30, 25])
    before = forecaster.encode(panel.truncate(np.array([0, 6, 0])))
    frame = table(panel)
    after = forecaster.update(before, frame[frame["unique_id"] == "s1"].tail(6))
    assert_same(from_state(forecaster, after), from_state(forecaster, forecaster.encode(panel)))
    np.testing.assert_array_equal(after.count, [20, 30, 25])


def test_an_update_leaves_the_state_it_was_given_as_it_was() -> None:
    forecaster = untrained(settings(model={"segment": 2}), seed=3)
    panel = make_panel([20])
    state = forecaster.encode(panel.truncate(5))
    before = from_state(forecaster, state)
    forecaster.update(state, table(panel).tail(5))
    np.testing.assert_array_equal(from_state(forecaster, state), before)


def test_the_cost_of_an_update_does_not_grow_with_the_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forecaster = untrained(settings(model={"segment": 4}), seed=3)
    read: list[int] = []
    network = forecaster.networks[0]
    plain = network.read

    def counted(x: Any, states: Any = None) -> Any:
        read.append(x.shape[0] * x.shape[1])
        return plain(x, states)

    monkeypatch.setattr(network, "read", counted)
    sizes = set()
    for length in (200, 5000):
        panel = make_panel([length])
        state = forecaster.encode(panel.truncate(1))
        read.clear()
        state = forecaster.update(state, table(panel).tail(1))
        assert read == [1]
        arrays = [state.panel.y, *state.hidden, *(p for s in state.states[0] for p in s)]
        sizes.add(sum(a.nbytes for a in arrays))
    assert len(sizes) == 1


def test_a_long_history_is_read_in_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    forecaster = untrained(settings(model={"segment": 2}), seed=3)
    panel = make_panel([300, 41])
    whole = from_state(forecaster, forecaster.encode(panel))
    monkeypatch.setattr(streaming, "BLOCK", 8)
    monkeypatch.setattr(streaming, "STEPS_PER_CALL", 8)
    assert_same(from_state(forecaster, forecaster.encode(panel)), whole)


def test_predict_takes_a_state_in_place_of_a_table() -> None:
    schema = MIXES["future"]
    forecaster = untrained(settings(model={"steps": 40}), schema, seed=3)
    panel = make_panel([20, 15], schema=schema)
    frame = table(panel)
    history = frame[frame["y"].notna()]
    future = frame[frame["y"].isna()].drop(columns="y")
    expected = forecaster.predict(history, future=future, horizon=2)
    state = forecaster.encode(history)
    found = forecaster.predict(state=state, future=future, horizon=2)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-4)


def test_a_state_survives_its_file(tmp_path: Path) -> None:
    forecaster = untrained(settings(model={"segment": 2}), MIXES["all"], seed=3, members=2)
    panel = make_panel([20, 15], schema=MIXES["all"])
    state = forecaster.encode(panel.truncate(4, HORIZON))
    state.save(tmp_path / "state.safetensors")
    opened = State.load(tmp_path / "state.safetensors")
    np.testing.assert_array_equal(from_state(forecaster, opened), from_state(forecaster, state))
    rows = table(panel)
    rest = rows.groupby("unique_id", sort=False).tail(4 + HORIZON)
    ahead = rows.groupby("unique_id", sort=False).tail(HORIZON)
    rest = rest.drop(ahead.index)
    moved = forecaster.update(opened, rest, future=ahead.drop(columns="y"))
    assert_same(from_state(forecaster, moved), from_state(forecaster, forecaster.encode(panel)))


def test_stamps_with_a_time_zone_and_integer_stamps_stream_alike(tmp_path: Path) -> None:
    for freq, tz in (("h", "Europe/Vienna"), ("step", None), ("ME", None)):
        forecaster = untrained(settings(freq=freq, model={"steps": 40}), seed=3)
        panel = make_panel([30], freq=freq, tz=tz)
        frame = panel.to_frame()
        state = forecaster.encode(frame.iloc[:26])
        state.save(tmp_path / "state")
        state = forecaster.update(State.load(tmp_path / "state"), frame.iloc[26:])
        found, expected = forecaster.predict(state=state), forecaster.predict(frame)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-4)


@pytest.fixture
def started() -> tuple[Forecaster, State, pd.DataFrame]:
    forecaster = untrained(settings(), seed=3)
    panel = make_panel([20, 15])
    return forecaster, forecaster.encode(panel.truncate(2)), panel.to_frame()


def test_an_unknown_series_is_named(started: tuple[Forecaster, State, pd.DataFrame]) -> None:
    forecaster, state, frame = started
    with pytest.raises(DataError, match="'new-1'"):
        forecaster.update(state, frame.tail(2).assign(unique_id="new-1"))


def test_a_row_read_before_is_refused(started: tuple[Forecaster, State, pd.DataFrame]) -> None:
    forecaster, state, frame = started
    with pytest.raises(DataError, match=r"'s0'.* was read already"):
        forecaster.update(state, frame.iloc[17:20])


def test_a_stamp_off_the_grid_is_refused(started: tuple[Forecaster, State, pd.DataFrame]) -> None:
    forecaster, state, frame = started
    late = frame.iloc[18:20].assign(ds=lambda f: f["ds"] + pd.Timedelta("1h"))
    with pytest.raises(DataError, match="does not lie on the grid"):
        forecaster.update(state, late)


def test_another_forecasters_state_is_refused(
    started: tuple[Forecaster, State, pd.DataFrame],
) -> None:
    _, state, frame = started
    other = untrained(settings(), seed=4)
    with pytest.raises(DataError, match="another forecaster"):
        other.update(state, frame.iloc[18:20])
    with pytest.raises(DataError, match="another forecaster"):
        other.predict(state=state)


def test_a_table_beside_a_state_or_neither_is_refused(
    started: tuple[Forecaster, State, pd.DataFrame],
) -> None:
    forecaster, state, frame = started
    with pytest.raises(DataError, match="it holds the rest"):
        forecaster.predict(frame, state=state)
    with pytest.raises(DataError, match="give a table, or a state"):
        forecaster.predict()


def test_a_missing_future_covariate_is_named() -> None:
    forecaster = untrained(settings(), MIXES["future"], seed=3)
    panel = make_panel([20], schema=MIXES["future"])
    state = forecaster.encode(replace(panel, horizon=None))
    with pytest.raises(DataError, match="'promo' is not given for step 1 of 3"):
        forecaster.predict(state=state)


def test_a_bidirectional_encoder_has_no_state() -> None:
    config = settings(model={"bidirectional": True}, training={"origins": "last"})
    with pytest.raises(ConfigError, match="bidirectional"):
        untrained(config).encode(make_panel([20]))


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="no saved state"):
        State.load(tmp_path / "state")
