"""What a request holds that training never saw is noted, series by series."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.config import Covariate, Schema
from serving.reading.query import Options, Query, note_unfamiliar
from tests.serving.conftest import Caller
from tests.serving.test_forecast import rich_series

SCHEMA = Schema(
    covariates=(
        Covariate(name="kind", role="past", type="categorical", categories=("a", "b")),
        Covariate(name="weather", role="future", type="categorical", categories=("rain", "sun")),
        Covariate(name="price", role="future", mean=2.0, std=1.0, low=1.0, high=3.0),
        Covariate(name="flat", role="past", mean=5.0, std=0.0, low=5.0, high=5.0),
        Covariate(name="old", role="past", mean=5.0, std=1.0),
    )
)
VALUES: dict[str, list[Any]] = {
    "kind": ["a", "b", "c", None],
    "weather": ["rain", "sun", "Rain", None],
    "price": [1.0, 3.0, 5.0, 5.1, -1.1, np.nan],
    "flat": [5.0, 5.5, np.nan],
    "old": [5.0, 1e9],
}
STRANGE = {"c", "Rain", 5.1, -1.1, 5.5}


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 3), st.data())
def test_each_series_is_told_its_first_unfamiliar_value_of_a_column(
    lengths: list[int], horizon: int, data: st.DataObject
) -> None:
    given_values: dict[str, dict[str, Any]] = {"past": {}, "future": {}}
    expected: dict[int, list[dict[str, Any]]] = {}
    for covariate in (*SCHEMA.past, *SCHEMA.future):
        extra = horizon if covariate.role == "future" else 0
        flat: list[Any] = []
        for i, length in enumerate(lengths):
            size = length + extra
            drawn = data.draw(
                st.lists(st.sampled_from(VALUES[covariate.name]), min_size=size, max_size=size)
            )
            flat += drawn
            first = next((value for value in drawn if value in STRANGE), None)
            if first is not None and covariate.name != "old":
                code = "unseen_category" if isinstance(first, str) else "outside_training"
                where = {"column": covariate.name, "value": first}
                expected.setdefault(i, []).append({"code": code, "where": where})
        kind = object if covariate.type == "categorical" else np.float64
        column = np.empty(len(flat), kind)
        column[:] = flat
        given_values[covariate.role][covariate.name] = column
    sizes = np.array(lengths)
    query = Query(
        options=Options(horizon=horizon),
        ids=[f"s{i}" for i in range(len(sizes))],
        position=np.arange(len(sizes)),
        y=np.zeros(int(sizes.sum())),
        sizes=sizes,
        start=np.zeros(len(sizes), np.int64),
        tz=None,
        **given_values,
    )
    note_unfamiliar(query, SCHEMA)
    assert query.notes == expected


def test_a_promotion_far_beyond_training_is_noted_over_http(call: Caller) -> None:
    asked = [rich_series(0), rich_series(1)]
    asked[1]["future"]["promo"][-1] = 100
    asked[1]["past"]["temp"][0] = 1e6
    calm, wild = call.post({"model": "retail", "series": asked}).json()["forecasts"]
    assert "notes" not in calm
    assert wild["notes"] == [
        {"code": "outside_training", "where": {"column": "temp", "value": 1e6}},
        {"code": "outside_training", "where": {"column": "promo", "value": 100.0}},
    ]
