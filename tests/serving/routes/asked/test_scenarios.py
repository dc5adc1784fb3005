"""Scenarios over HTTP: the library's numbers, and what is refused and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from forecasting.paths.planned import Planned, Wanted
from forecasting.paths.sampling import Draws
from forecasting.prediction.predictor import Predictor
from serving.app import Application
from serving.client import Client
from serving.reading.query import Limits
from tests.serving.conftest import KEY, Caller, sales, stores
from tests.serving.test_client import Bridge
from tests.serving.test_parity import flat, frame_of, random_panel, readable

PATH = "/v1/scenarios"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
STEPS = 4
LEVELS = [0.1, 0.6]


def body(**more: Any) -> dict[str, Any]:
    """Two shops, and a sale."""
    y = [100.0 + 10 * (t % 12) + t % 5 for t in range(30)]
    series = [
        {
            "id": name,
            "start": "2015-01-01",
            "y": y,
            "past": {"temp": [10.0] * 30},
            "future": {"promo": [0, 1] * 15 + [0] * STEPS},
            "static": {"region": "north", "area": 100.0},
        }
        for name in ("a", "b")
    ]
    sale = {"name": "sale", "future": {"promo": [0, 1, 1, 0]}}
    return {"model": "retail", "series": series, "scenarios": [sale], **more}


@pytest.fixture
def client(app: Application) -> Iterator[Client]:
    with Client("http://test", api_key=KEY, transport=Bridge(app)) as made:
        yield made


def test_the_library_and_the_service_compare_alike(call: Caller, retail: Predictor) -> None:
    panel = random_panel(retail, 4)
    panel = panel.select(np.arange(1, 4))
    own = {"s2": {"promo": [1, 0, 0, 1]}}
    plans = [{"name": "sale", "future": {"promo": 1}}, {"name": "own", "series": own}]
    asked = {"model": "retail", "quantiles": LEVELS, "scenarios": plans, "paths": 60, "seed": 3}
    series = readable(panel)
    answer = call.post({**asked, "series": series}, PATH).json()
    assert answer["errors"] == []
    assert answer["joint"] == {"paths": 60, "seed": 3, "dependence": "learned"}
    assert answer["base"] == "base"
    frame, static = frame_of(panel)
    ahead = panel.freq.stamps(panel.last[[1]], 1, STEPS).ravel()
    table = pd.DataFrame({"unique_id": "s2", "ds": ahead, "promo": [1, 0, 0, 1]})
    told = Planned.by(
        retail, frame, {"sale": {"promo": 1}, "own": table},
        Wanted(quantiles=LEVELS, draws=Draws(60, 3)), static=static,
    )  # fmt: skip
    for kind, found in (("", told.table), ("difference", told.differences)):
        names = ["base", "sale", "own"] if not kind else ["sale", "own"]
        given = {one["name"]: one["forecasts"] for one in answer["scenarios"]}
        for name in names:
            rows = found[found["scenario"] == name]
            assert [one["id"] for one in given[name]] == ["s1", "s2", "s3"]
            for one in given[name]:
                mine = rows[rows["unique_id"] == one["id"]]
                content = one[kind] if kind else one
                np.testing.assert_allclose(content["mean"], mine["mean"], **CLOSE)
                for level in LEVELS:
                    values = content["quantiles"][f"{level:g}"]
                    np.testing.assert_allclose(values, mine[f"q{level:g}"], **CLOSE)
                if kind:
                    np.testing.assert_allclose(content["median"], mine["median"], **CLOSE)
                    total = told.totals.set_index(["scenario", "unique_id"]).loc[(name, one["id"])]
                    np.testing.assert_allclose(content["total"]["mean"], total["mean"], **CLOSE)
                    np.testing.assert_allclose(
                        content["total"]["quantiles"]["0.6"], total["q0.6"], **CLOSE
                    )
    assert call.post({**asked, **flat(series)}, PATH).json() == answer


def test_each_scenario_is_what_the_forecast_says_of_it(call: Caller) -> None:
    asked = body(scenarios=[{"name": "sale", "future": {"promo": 1}}])
    answer = call.post(asked, PATH).json()
    for scenario, promo in zip(answer["scenarios"], (0, 1), strict=True):
        series = [
            {**one, "future": {"promo": [*one["future"]["promo"][:30], *[promo] * STEPS]}}
            for one in asked["series"]
        ]
        alone = call.post({"model": "retail", "series": series}).json()["forecasts"]
        for mine, theirs in zip(scenario["forecasts"], alone, strict=True):
            assert mine["ds"] == theirs["ds"]
            np.testing.assert_allclose(mine["mean"], theirs["mean"], **CLOSE)
            for level, values in theirs["quantiles"].items():
                np.testing.assert_allclose(mine["quantiles"][level], values, **CLOSE)


def test_what_equals_the_base_differs_by_zero_and_names_a_base(call: Caller) -> None:
    same = {"name": "same", "future": {"promo": 0}}
    answer = call.post(body(scenarios=[same]), PATH).json()
    for one in answer["scenarios"][1]["forecasts"]:
        moved = one["difference"]
        assert moved["mean"] == moved["median"] == [0.0] * STEPS
        assert all(values == [0.0] * STEPS for values in moved["quantiles"].values())
        assert set(moved["total"]["quantiles"].values()) == {0.0}
    asked = body(scenarios=[{"name": "base", "future": {"promo": 1}}, same], base="same")
    for one in asked["series"]:
        del one["future"]
    answer = call.post(asked, PATH).json()
    assert answer["base"] == "same"
    assert [one["name"] for one in answer["scenarios"]] == ["base", "same"]
    assert ["difference" in one["forecasts"][0] for one in answer["scenarios"]] == [True, False]


def test_what_training_never_saw_is_noted_where_it_stands(call: Caller) -> None:
    asked = body(scenarios=[{"name": "sale", "future": {"promo": [0, 0, 900, 0]}}])
    asked["series"][0]["static"] = {"region": "moon", "area": 100.0}
    base, sale = call.post(asked, PATH).json()["scenarios"]
    assert sale["notes"] == [
        {"code": "outside_training", "where": {"column": "promo", "value": 900}}
    ]
    (note,) = base["forecasts"][0]["notes"]
    assert (note["code"], "notes" in sale["forecasts"][0]) == ("unseen_category", False)


PLAN = {"name": "sale", "future": {"promo": 1}}


@pytest.mark.parametrize(
    ("more", "place", "code"),
    [
        ({"scenarios": None}, "scenarios", "missing"),
        ({"scenarios": []}, "scenarios", "empty"),
        ({"scenarios": {"sale": 1}}, "scenarios", "wrong_type"),
        ({"scenarios": [3]}, "scenarios[0]", "wrong_type"),
        ({"scenarios": [PLAN] * 51}, "scenarios", "out_of_range"),
        ({"scenarios": [PLAN, PLAN]}, "scenarios[1].name", "duplicate"),
        ({"scenarios": [{**PLAN, "name": "base"}]}, "scenarios[0].name", "duplicate"),
        ({"scenarios": [{**PLAN, "name": 3}]}, "scenarios[0].name", "wrong_type"),
        ({"scenarios": [{**PLAN, "name": "x" * 257}]}, "scenarios[0].name", "wrong_type"),
        ({"scenarios": [{"future": {"promo": 1}}]}, "scenarios[0].name", "missing"),
        ({"scenarios": [{"name": "sale"}]}, "scenarios[0].future", "empty"),
        ({"scenarios": [{**PLAN, "futur": 1}]}, "scenarios[0].futur", "unknown_key"),
        ({"future": 3}, "scenarios[0].future", "wrong_type"),
        ({"future": {"price": 1}}, "scenarios[0].future.price", "unknown_covariate"),
        ({"future": {"temp": 1}}, "scenarios[0].future.temp", "not_known_ahead"),
        ({"future": {"region": "north"}}, "scenarios[0].future.region", "not_known_ahead"),
        ({"future": {"promo": [1, 1]}}, "scenarios[0].future.promo", "length_mismatch"),
        ({"future": {"promo": [1, None, 1, 1]}}, "scenarios[0].future.promo[1]", "missing"),
        ({"future": {"promo": None}}, "scenarios[0].future.promo", "missing"),
        ({"future": {"promo": [1, 1, 1, "a"]}}, "scenarios[0].future.promo[3]", "wrong_type"),
        ({"future": {"promo": True}}, "scenarios[0].future.promo", "wrong_type"),
        ({"own": 3}, "scenarios[0].series", "wrong_type"),
        ({"own": {"a": 3}}, "scenarios[0].series.a", "wrong_type"),
        ({"own": {"c": {"promo": 1}}}, "scenarios[0].series.c", "unknown_series"),
        ({"own": {"a": {"price": 1}}}, "scenarios[0].series.a.price", "unknown_covariate"),
        ({"base": "nobody"}, "base", "unknown_scenario"),
        ({"base": 3}, "base", "wrong_type"),
        ({"paths": 1}, "paths", "out_of_range"),
        ({"paths": "many"}, "paths", "wrong_type"),
        ({"seed": -1}, "seed", "out_of_range"),
        ({"horizon": 5}, "horizon", "horizon_too_long"),
        ({"quantiles": [2]}, "quantiles[0]", "out_of_range"),
        ({"extend": True}, "extend", "unknown_key"),
        ({"aggregate": []}, "aggregate", "unknown_key"),
        ({"series": []}, "series", "empty"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    call: Caller, more: dict[str, Any], place: str, code: str
) -> None:
    if {"future", "own"} & more.keys():
        plan = {"name": "sale", "future": more.get("future"), "series": more.get("own")}
        more = {"scenarios": [{key: told for key, told in plan.items() if told is not None}]}
    answer = call.post(body(**more), PATH)
    assert answer.status_code == 422
    assert [(e["place"], e["code"]) for e in answer.json()["errors"]] == [(place, code)]


def test_what_concerns_one_series_leaves_the_others_alone(call: Caller) -> None:
    asked = body()
    asked["series"][0]["y"] = [None] * 30
    asked["series"].append({**asked["series"][1], "id": "c", "past": {}})
    answer = call.post(asked, PATH).json()
    assert [[f["id"] for f in one["forecasts"]] for one in answer["scenarios"]] == [["b"], ["b"]]
    assert [(e["id"], e["code"]) for e in answer["errors"]] == [
        ("a", "no_observations"),
        ("c", "missing_past_covariate"),
    ]
    nothing = call.post(body(series=asked["series"][2:]), PATH).json()
    assert [one["forecasts"] for one in nothing["scenarios"]] == [[], []]
    assert [e["id"] for e in nothing["errors"]] == ["c"]
    blank = body()
    del blank["series"][1]["future"]
    (error,) = call.post(blank, PATH).json()["errors"]
    assert (error["id"], error["code"]) == ("b", "missing_future_covariate")


@pytest.mark.parametrize(
    ("limits", "code", "limit"),
    [
        (Limits(windows=3), "too_much_work", 3),
        (Limits(draws=3_199), "too_much_work", 3_199),
        (Limits(output=159), "answer_too_large", 159),
        (Limits(series=1), "too_many_series", 1),
    ],
)
def test_more_than_a_request_should_cost_is_refused_before_work(
    call: Caller, monkeypatch: pytest.MonkeyPatch, limits: Limits, code: str, limit: int
) -> None:
    spec = type(call.app.service.loaded("retail").spec)
    monkeypatch.setattr(spec, "limits", property(lambda _: limits), raising=False)
    answer = call.post(body(), PATH)
    assert (answer.status_code, answer.json()["code"]) == (413, code)
    assert answer.json()["limit"] == limit


def test_a_model_without_covariates_ahead_says_so(call: Caller) -> None:
    series = [{"id": "a", "start": "2015-01-01", "y": [1, 2, 3]}]
    answer = call.post({"series": series, "scenarios": [PLAN]}, PATH).json()
    (error,) = answer["errors"]
    assert (error["place"], error["code"]) == ("scenarios[0].future.promo", "unknown_covariate")
    assert "it has: none" in error["detail"]


def test_the_client_gives_the_library_s_tables(client: Client, retail: Predictor) -> None:
    frame, static = sales(4), stores(4)
    stamps = pd.date_range("2021-01-01", periods=STEPS, freq="MS")
    ahead = pd.DataFrame(
        [(f"store-{i}", ds, 0.0) for i in range(4) for ds in stamps],
        columns=["unique_id", "ds", "promo"],
    )
    own = ahead[ahead["unique_id"] == "store-2"].assign(promo=1.0)
    plans = {"sale": {"promo": [0, 1, 0, 1]}, "own": own}
    found = client.scenarios(frame, plans, future=ahead, static=static, model="retail")
    told = Planned.by(retail, frame, plans, future=ahead, static=static)
    assert (found.base, found.errors, found.notes) == ("base", [], [])
    for mine, theirs in (
        (found.table, told.table),
        (found.differences, told.differences),
        (found.totals, told.totals),
    ):
        pd.testing.assert_frame_equal(mine, theirs, check_dtype=False, rtol=1e-5, atol=1e-5)
    with pytest.raises(DataError, match="'price' is no covariate"):
        client.scenarios(
            frame, {"sale": ahead.assign(price=1)}, future=ahead, static=static, model="retail"
        )


def test_the_document_describes_the_route(call: Caller) -> None:
    document = call("GET", "/openapi.json").json()
    assert "post" in document["paths"][PATH]
    asked = document["components"]["schemas"]["PlanRequest"]
    assert asked["required"] == ["series", "scenarios"]
    assert asked["properties"]["scenarios"]["maxItems"] == 50
