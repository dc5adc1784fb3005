"""Covariates known ahead that are missing for some steps: filled as said, or refused as before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.known.ahead import filled_ahead, missing_ahead, said_of_filled
from tests.forecasting.samples import MIXES, make_panel, settings, untrained


def panel(missing: float = 0.4, seed: int = 0, lengths: tuple[int, ...] = (12, 7, 3)) -> Panel:
    whole = make_panel(list(lengths), schema=MIXES["future"], seed=seed)
    rng = np.random.default_rng(seed)
    assert whole.horizon is not None
    horizon = np.where(rng.random(whole.horizon.shape) < missing, np.nan, whole.horizon)
    future = np.where(rng.random(whole.future.shape) < 0.2, np.nan, whole.future)
    return replace(whole, horizon=horizon, future=future)


def slow(given: Panel, column: int, way: str, season: int) -> np.ndarray:
    """[N, H] filled step by step, looking back through history and horizon."""
    assert given.horizon is not None
    out = []
    for i in range(len(given)):
        own = given.future[given.offsets[i] : given.offsets[i + 1], column]
        row = [*own, *given.horizon[i, :, column]]
        for at in range(len(own), len(row)):
            if not np.isnan(row[at]):
                continue
            if way == "last":
                known = [v for v in row[:at] if not np.isnan(v)]
                row[at] = known[-1] if known else np.nan
            elif way == "seasonal":
                row[at] = row[at - season] if at - season >= 0 else np.nan
        out.append(row[len(own) :])
    return np.array(out)


@examples(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(["last", "seasonal", "unknown"]),
    season=st.integers(1, 5),
    seed=st.integers(0, 200),
    missing=st.sampled_from([0.0, 0.4, 1.0]),
)
def test_what_stands_for_missing_values_is_found_by_walking_back(
    way: str, season: int, seed: int, missing: float
) -> None:
    given = panel(missing, seed)
    found = filled_ahead(given, {"promo": way}, 3, season)  # type: ignore[dict-item]
    assert found.horizon is not None
    assert given.horizon is not None
    if way == "seasonal" and season == 1:
        way = "last" if not np.isnan(given.future[given.offsets[1:] - 1, 0]).any() else way
    if way != "unknown" and not (way == "seasonal" and season == 1):
        walked = slow(given, 0, way, season)
        assert np.array_equal(found.horizon[..., 0], walked, equal_nan=True)
    assert np.array_equal(found.horizon[..., 1], given.horizon[..., 1], equal_nan=True)


def test_it_is_said_where_else_it_is_refused() -> None:
    given = panel(0.0)
    assert given.horizon is not None
    horizon = given.horizon.copy()
    horizon[1, 2, 0] = np.nan
    given = replace(given, horizon=horizon)
    strict = untrained(settings(), MIXES["future"])
    (problem,) = strict.predict_panel(given).problems
    assert (problem.id, problem.code) == ("s1", "missing_future_covariate")
    for way in ("last", "seasonal", "unknown"):
        mild = untrained(settings().replace(ahead={"promo": way}), MIXES["future"])
        with pytest.warns(UserWarning, match="'promo' is not given for 1 of 9 steps.*series 's1'"):
            found = mild.predict_panel(given)
        assert found.problems == []
        assert np.isfinite(found.mean).all()
    assert said_of_filled(panel(0.0), {"promo": "last"}, 3) == []
    assert missing_ahead(replace(given, horizon=None), 0, 2).all()


def test_what_is_filled_is_forecast_as_if_it_had_been_given() -> None:
    whole = make_panel([15], schema=MIXES["future"], horizon=3)
    assert whole.horizon is not None
    horizon = whole.horizon.copy()
    horizon[0, 1:, 0] = horizon[0, 0, 0]
    lacking = horizon.copy()
    lacking[0, 1:, 0] = np.nan
    mild = untrained(settings().replace(ahead={"promo": "last"}), MIXES["future"])
    with pytest.warns(UserWarning, match="not given for 2 of 3 steps"):
        found = mild.predict_panel(replace(whole, horizon=lacking))
    assert np.array_equal(found.mean, mild.predict_panel(replace(whole, horizon=horizon)).mean)
