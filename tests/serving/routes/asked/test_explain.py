"""Explanations over HTTP: the library's numbers, and what is refused and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting.prediction.predictor import Predictor
from forecasting.prediction.why.explain import explain
from serving.reading.query import Limits
from tests.serving.conftest import Caller
from tests.serving.test_parity import flat, random_panel, readable

PATH = "/v1/explain"
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("name", ["monthly", "retail", "power"])
def test_the_library_and_the_service_explain_alike(
    call: Caller, request: pytest.FixtureRequest, name: str
) -> None:
    engine: Predictor = request.getfixturevalue(name)
    panel = random_panel(engine, 7).select(np.arange(3))
    body = {"model": name, "series": readable(panel), "points": 8}
    answer = call.post(body, PATH).json()
    found = explain(engine, engine.members(), panel, points=8)
    assert [one["id"] for one in answer["explanations"]] == [str(i) for i in found.panel.ids]
    forecasts = call.post({"model": name, "series": readable(panel), "quantiles": [0.5]}).json()
    for k, one in enumerate(answer["explanations"]):
        assert list(one["parts"]) == list(found.names)
        parts = np.array(list(one["parts"].values()))
        np.testing.assert_allclose(parts.T, found.parts[k], **TOLERANCE)
        median = forecasts["forecasts"][k]["quantiles"]["0.5"]
        np.testing.assert_allclose(one["median"], median, **TOLERANCE)
        np.testing.assert_allclose(parts.sum(axis=0), median, rtol=1e-6)
    again = call.post({"model": name, **flat(readable(panel)), "points": 8}, PATH).json()
    assert again["explanations"] == answer["explanations"]


def series(**more: Any) -> dict[str, Any]:
    return {"id": "a", "start": "2015-01-01", "y": list(range(30)), **more}


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        ({"points": 0}, "points", "out_of_range"),
        ({"points": 257}, "points", "out_of_range"),
        ({"points": 1.5}, "points", "wrong_type"),
        ({"points": True}, "points", "wrong_type"),
        ({"horizon": 7}, "horizon", "horizon_too_long"),
        ({"horizon": "6"}, "horizon", "wrong_type"),
        ({"tz": 3}, "tz", "wrong_type"),
        ({"extend": True}, "extend", "unknown_key"),
        ({"quantiles": [0.1]}, "quantiles", "unknown_key"),
        ({"series": [series(y=[1, "two"])]}, "series[0].y[1]", "wrong_type"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    call: Caller, body: dict[str, Any], place: str, code: str
) -> None:
    answer = call.post({"series": [series()], **body}, PATH)
    assert answer.status_code == 422
    assert [(e["place"], e["code"]) for e in answer.json()["errors"]] == [(place, code)]


def test_what_cannot_be_extended_is_not_told_to_be(call: Caller) -> None:
    answer = call.post({"series": [series()], "horizon": 7}, PATH).json()
    assert "ask for less" in answer["detail"]
    assert "extend" not in answer["detail"]


def test_what_concerns_one_series_leaves_the_others_alone(call: Caller) -> None:
    asked = [series(id="c", y=[None] * 40), series()]
    answer = call.post({"series": asked}, PATH).json()
    assert [one["id"] for one in answer["explanations"]] == ["a"]
    assert [(e["id"], e["code"]) for e in answer["errors"]] == [("c", "no_observations")]
    nothing = call.post({"model": "retail", "series": [series()]}, PATH).json()
    assert nothing["explanations"] == []
    assert nothing["errors"][0]["code"] == "missing_past_covariate"


def test_more_windows_than_a_request_should_cost_are_refused_before_work(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = call.app.service.loaded("monthly")
    monkeypatch.setattr(
        type(loaded.spec), "limits", property(lambda _: Limits(windows=50)), raising=False
    )
    answer = call.post({"series": [series()], "points": 9}, PATH)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_much_work"
    assert call.post({"series": [series()], "points": 8}, PATH).status_code == 200


def test_the_document_describes_the_route(call: Caller) -> None:
    document = call("GET", "/openapi.json").json()
    assert "post" in document["paths"][PATH]
    assert document["components"]["schemas"]["WhyRequest"]["properties"]["points"]["maximum"] == 256
