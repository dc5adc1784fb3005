"""What a request holds that training never saw is noted, series by series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.config import Occasion, Occasions
from forecasting.data.calendar import Frequency
from forecasting.known.occasions import columns
from forecasting.schema import Covariate, Schema
from serving.models.keeper import spec_of
from serving.reading.json_form import read_json
from serving.reading.noted import note_unfamiliar
from serving.reading.query import Limits, Options, Query, Spec
from tests.forecasting.samples import LEVELS, MIXES, make_panel, quantiles, settings, untrained
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
    note_unfamiliar(query, Spec(Frequency.parse("D"), SCHEMA, 2))
    assert query.notes == expected


def test_a_static_covariate_that_a_form_leaves_out_is_missing_for_every_series() -> None:
    schema = Schema(
        covariates=(
            Covariate(name="region", role="static", type="categorical", categories=("n", "s")),
            Covariate(name="size", role="static", mean=1.0, std=1.0),
        )
    )
    query = Query(
        options=Options(horizon=1),
        ids=["a", "b"],
        position=np.arange(2),
        y=np.zeros(2),
        sizes=np.ones(2, np.int64),
        start=np.zeros(2, np.int64),
        tz=None,
        past={},
        future={},
        static={"size": np.array([1.0, np.nan])},
    )
    note_unfamiliar(query, Spec(Frequency.parse("D"), schema, 2))
    region, size = (
        {"code": "missing_static", "where": {"column": name}} for name in ("region", "size")
    )
    assert query.notes == {0: [region], 1: [region, size]}


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


def test_a_calendar_and_what_is_filled_say_the_same_over_http_and_are_noted() -> None:
    """Nobody gives the days; what lies beyond them, and what was filled, is told of each series."""
    days = Occasions(
        groups=(Occasion(name="x", days=("2024-01-22", "2024-01-30"), before=2),),
        until="2024-01-31",
    )
    schema = Schema(covariates=(*MIXES["future"].covariates, *columns(days)))
    config = settings().replace(occasions=days, ahead={"promo": "last"})
    model = untrained(config, schema)
    panel = make_panel([20, 30], schema=MIXES["future"])
    assert panel.horizon is not None
    panel.horizon[1, 1:, 0] = np.nan
    series = []
    for i, size in enumerate((20, 30)):
        own = slice(int(panel.offsets[i]), int(panel.offsets[i + 1]))
        ahead = np.concatenate([panel.future[own], panel.horizon[i]])
        names = [None, *MIXES["future"].covariates[1].categories]
        series.append(
            {
                "id": f"s{i}",
                "start": "2024-01-01",
                "y": panel.y[own].tolist(),
                "future": {
                    "promo": [None if np.isnan(v) else v for v in ahead[:, 0].tolist()],
                    "holiday": [names[int(code)] for code in ahead[:, 1]],
                },
            }
        )
        assert len(panel.y[own]) == size
    spec = spec_of(model, Limits())
    assert [c.name for c in spec.schema.covariates] == ["promo", "holiday"]
    query = read_json({"series": series}, spec)
    with pytest.warns(UserWarning, match="known up to 2024-01-31"):
        over_http, own = (quantiles(model, p) for p in (query.panel(spec), panel))
    assert over_http == pytest.approx(own, rel=1e-6)
    assert query.notes == {
        1: [
            {"code": "filled_ahead", "where": {"column": "promo", "steps": 2, "fill": "last"}},
            {"code": "beyond_calendar", "where": {"known_until": "2024-01-31"}},
        ]
    }
    assert len(LEVELS) == own.shape[-1]


@hypothesis_settings(max_examples=15, deadline=None, derandomize=True)
@given(st.sampled_from([-999.0, 9999.0, 99999.0]), st.integers(1, 4), st.integers(0, 4))
def test_histories_that_are_not_what_they_seem_are_noted_in_every_form(
    code: float, many: int, ended: int
) -> None:
    model = untrained(settings(model={"nonnegative": True}))
    spec = spec_of(model, Limits())
    odd = [50.0 + k % 7 for k in range(20)]
    odd[-many:] = [code] * many
    y: list[float | None] = [*odd, *[None] * ended]
    calm = [50.0 + k % 7 for k in range(30)]
    expected = [{"code": "code_for_missing", "where": {"column": "y", "value": code, "rows": many}}]
    if ended:
        expected.append({"code": "open_end", "where": {"column": "y", "rows": ended}})
    series = [
        {"id": "calm", "start": "2024-01-01", "y": calm},
        {"id": "odd", "start": "2024-01-01", "y": y},
    ]
    flat = {
        "ids": ["calm", "odd"], "y": [*calm, *y], "sizes": [30, len(y)], "start": "2024-01-01"
    }  # fmt: skip
    for body in ({"series": series}, flat):
        assert read_json(body, spec).notes == {1: expected}
