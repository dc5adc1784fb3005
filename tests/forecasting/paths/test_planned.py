"""Scenarios in tables: the numbers of the arrays, and what is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from forecasting.errors import DataError
from forecasting.forecaster import Forecaster
from forecasting.paths.sampling import Draws
from tests.forecasting.paths.test_sampling import LEARNED
from tests.forecasting.samples import MIXES, settings, untrained

DAYS = pd.date_range("2026-01-01", periods=30)
AHEAD = pd.date_range("2026-01-31", periods=3)


def forecaster() -> Forecaster:
    made = untrained(settings(), MIXES["future"])
    made.dependence = LEARNED
    return made


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": DAYS,
                "y": 50 + rng.normal(0, 5, 30),
                "promo": rng.integers(0, 2, 30).astype(float),
                "holiday": rng.choice(["x", "y"], 30),
            }
        )
        for name in ("a", "b")
    )


def future(promo: float = 0.0, names: str = "ab") -> pd.DataFrame:
    rows = [(name, ds, promo, "x") for name in names for ds in AHEAD]
    return pd.DataFrame(rows, columns=["unique_id", "ds", "promo", "holiday"])


def test_tables_say_what_predict_says_and_what_differs() -> None:
    engine, df = forecaster(), table()
    plan = engine.scenarios(df, {"sale": {"promo": 2.0}}, future=future())
    told = plan.table
    assert list(told) == ["scenario", "unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    for name, promo in (("base", 0.0), ("sale", 2.0)):
        rows = told[told["scenario"] == name].drop(columns="scenario").reset_index(drop=True)
        alone = engine.predict(df, future=future(promo))
        pd.testing.assert_frame_equal(rows, alone, rtol=1e-5)
    both = told.set_index("scenario")
    gap = both.loc["sale", "q0.5"].to_numpy() - both.loc["base", "q0.5"].to_numpy()
    np.testing.assert_allclose(plan.differences["median"], gap)
    assert set(plan.differences["scenario"]) == {"sale"}
    np.testing.assert_allclose(
        plan.totals["mean"], plan.differences.groupby("unique_id")["mean"].sum()
    )
    assert repr(plan) == "Planned('sale' beside 'base')"


def test_all_ways_to_say_a_scenario_say_the_same() -> None:
    engine, df = forecaster(), table()
    ways: dict[str, Any] = {
        "one value": {"promo": 1.0},
        "a list": {"promo": [1.0, 1.0, 1.0]},
        "an array": {"promo": np.ones(3)},
        "a table": future(1.0).drop(columns="holiday"),
        "with rows around it": pd.concat(
            [future(1.0), future(9.0).assign(ds=lambda f: f["ds"] + pd.Timedelta(days=3))]
        ),
        "of polars": pl.from_pandas(future(1.0)),
    }
    told = engine.scenarios(df, ways, future=future()).differences
    first = told[told["scenario"] == "one value"].iloc[:, 3:].to_numpy()
    for name in ways:
        np.testing.assert_array_equal(told[told["scenario"] == name].iloc[:, 3:].to_numpy(), first)
    assert (first != 0.0).any()


def test_series_that_a_scenario_leaves_out_stay_as_they_are() -> None:
    plan = forecaster().scenarios(table(), {"sale": future(1.0, "b")}, future=future())
    moved = plan.differences.groupby("unique_id")["mean"].agg(lambda v: (v != 0).any())
    assert moved.to_dict() == {"a": False, "b": True}


def test_what_comes_in_as_polars_goes_out_so_and_numbers_stay_names() -> None:
    df = table().assign(unique_id=lambda f: f["unique_id"].map({"a": 1, "b": 2}))
    ahead = future().assign(unique_id=lambda f: f["unique_id"].map({"a": 1, "b": 2}))
    plan = forecaster().scenarios(pl.from_pandas(df), {"sale": {"holiday": "y"}}, future=ahead)
    assert isinstance(plan.table, pl.DataFrame)
    assert plan.totals["unique_id"].to_list() == [1, 2]


def test_other_paths_are_another_seeds() -> None:
    one, other = (
        forecaster()
        .scenarios(table(), {"sale": {"promo": 3.0}}, future=future(), draws=Draws(20, seed))
        .totals
        for seed in (0, 1)
    )
    assert not np.array_equal(one["q0.1"], other["q0.1"])
    np.testing.assert_array_equal(one["mean"], other["mean"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"price": 1}, "scenario 'plan': 'price' is no covariate of the model"),
        ({}, "names no covariate"),
        ({"y": 1}, "'y' is what is forecast"),
        ({"promo": [1, 2]}, "promo has 2 values for 3 steps"),
        ({"promo": "much"}, "promo = 'much' at step 1 is no number"),
        ({"promo": float("nan")}, "promo is missing at step 1"),
        ({"promo": [0, pd.NA, 0]}, "promo is missing at step 2"),
        ({"promo": 10**400}, "at step 1 is no number"),
        ({"promo": np.ones((3, 1))}, "at step 1 is no number"),
        ({"holiday": pd.NA}, "holiday is missing at step 1"),
        ({"holiday": [["x"]] * 3}, "at step 1 is no name of a category"),
        ({"holiday": pd.Timestamp("2026-01-01")}, "at step 1 is no name of a category"),
        ({"holiday": [None, "x", "y"]}, "holiday is missing at step 1"),
        (future().iloc[:5], "series 'b': promo is missing at 2026-02-02"),
        (future().assign(holiday=["x"] * 5 + [None]), "series 'b': holiday is missing at 2026"),
        (future(names="ac"), "series that the table does not: 'c'"),
        (future().assign(price=1), "'price' is no covariate"),
        (future().assign(ds=lambda f: f["ds"] + pd.Timedelta(hours=1)), "grid|freq"),
        (future().assign(promo="much"), "scenario 'plan': column promo"),
        (3, "scenario 'plan'"),
    ],
)
def test_a_wrong_scenario_is_refused_by_name(told: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        forecaster().scenarios(table(), {"plan": told}, future=future())


def test_what_is_known_of_the_past_alone_can_be_no_scenario() -> None:
    engine = untrained(settings(), MIXES["all"])
    df = table().assign(temp=1.0, kind="a")
    static = pd.DataFrame({"unique_id": ["a", "b"], "size": 1.0, "region": "n"})
    for column in ("temp", "region"):
        with pytest.raises(DataError, match=f"'{column}' is a (past|static) covariate"):
            engine.scenarios(df, {"plan": {column: 1}}, future=future(), static=static)


def test_a_level_that_is_asked_for_twice_is_told_once_and_is_itself() -> None:
    engine, df = forecaster(), table()
    plan, twice = (
        engine.scenarios(df, {"sale": {"promo": 2.0}}, future=future(), quantiles=levels)
        for levels in ([0.1, 0.9], [0.1, 0.1, 0.9, 0.1])
    )
    for name in ("table", "differences", "totals"):
        pd.testing.assert_frame_equal(getattr(twice, name), getattr(plan, name))


def test_a_future_that_is_not_all_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"series 'a': .*promo"):
        forecaster().scenarios(table(), {"sale": {"holiday": "y"}})
    with pytest.raises(DataError, match="a mapping of names"):
        forecaster().scenarios(table(), ["sale"])  # type: ignore[arg-type]


def test_the_picture_shows_the_base_and_each_scenario() -> None:
    plan = forecaster().scenarios(
        table(), {"sale": {"promo": 1.0}, "feast": {"holiday": "y"}}, future=future()
    )
    above, below = plan.plot("b").axes
    assert [text.get_text() for text in above.get_legend().get_texts()] == ["base", "sale", "feast"]
    assert above.get_title() == ""
    assert above.get_title(loc="left") == "b"
    assert len(below.collections) == 2
    with pytest.raises(DataError, match="no series 'c'"):
        plan.plot("c")
    narrow = forecaster().scenarios(
        table(), {"sale": {"promo": 1.0}}, future=future(), quantiles=[0.5]
    )
    with pytest.raises(DataError, match="ask for them"):
        narrow.plot()
