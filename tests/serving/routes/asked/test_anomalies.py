"""Points judged over HTTP: the library's numbers, and what is refused and where."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting.prediction.engine import Engine
from forecasting.prediction.predictor import Predictor
from serving.reading.query import Limits
from tests.serving.conftest import Caller
from tests.serving.test_parity import flat, frame_of, random_panel, readable

PATH = "/v1/anomalies"
MOST = 2  # series of a random panel
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
COLUMNS = ("expected", "low", "high", "p")


def body_of(engine: Engine, seed: int) -> dict[str, Any]:
    """Series of random lengths with gaps; their known-future covariates end with the history."""
    asked = readable(random_panel(engine, seed))
    steps = engine.config.horizon
    for one in asked:
        for name, values in one.get("future", {}).items():
            one["future"][name] = values[:-steps]
    return {"series": [one for one in asked if len(one["y"]) > 20][:MOST]}


@pytest.mark.parametrize("name", ["monthly", "retail", "power"])
def test_the_library_and_the_service_judge_alike(
    call: Caller, request: pytest.FixtureRequest, name: str
) -> None:
    engine: Predictor = request.getfixturevalue(name)
    body = body_of(engine, 3)
    answer = call.post({**body, "model": name, "rate": 0.05}, PATH).json()
    told = {one["id"]: one for one in answer["series"]}
    assert answer["rate"] == 0.05
    assert told
    panel = random_panel(engine, 3)
    panel = panel.select(np.flatnonzero(panel.lengths > 20)[:MOST])
    frame, static = frame_of(panel)
    found = engine.anomalies(frame, rate=0.05, static=static)
    for series, rows in found.groupby("unique_id"):
        one = told.pop(str(series))
        for column in COLUMNS:
            given = np.array(one[column], dtype=np.float64)
            np.testing.assert_allclose(given, rows[column].to_numpy(), **TOLERANCE)
        assert one["anomaly"] == rows["anomaly"].tolist()
        assert [kind or "" for kind in one["kind"]] == rows["kind"].tolist()
    assert not told


def test_the_flat_form_answers_alike(call: Caller, monthly: Predictor) -> None:
    body = body_of(monthly, 5)
    told = call.post(body, PATH).json()["series"]
    answer = call.post(flat(body["series"]), PATH).json()
    assert answer["ids"] == [one["id"] for one in told]
    assert answer["sizes"] == [len(one["ds"]) for one in told]
    for column in ("ds", "anomaly", "kind", *COLUMNS):
        assert answer[column] == [value for one in told for value in one[column]]


def test_the_newest_points_alone_are_judged(call: Caller, monthly: Predictor) -> None:
    y = [100.0 + 10 * (t % 12) + t % 5 for t in range(60)]
    body = {"series": [{"id": "a", "start": "2015-01-01", "y": [*y[:-1], 900.0]}], "last": 2}
    (one,) = call.post(body, PATH).json()["series"]
    assert one["ds"] == ["2019-11-01T00:00:00", "2019-12-01T00:00:00"]
    assert one["kind"] == [None, "high"]
    assert one["high"][1] < 900.0


def series(**more: Any) -> dict[str, Any]:
    return {"id": "a", "start": "2015-01-01", "y": list(range(30)), **more}


@pytest.mark.parametrize("last", [1_000, 2**63, 2**64 - 1])
def test_more_points_than_there_are_is_all_that_can_be_judged(
    call: Caller, monthly: Predictor, last: int
) -> None:
    body = body_of(monthly, 5)
    answer = call.post({**body, "last": last}, PATH)
    assert answer.status_code == 200
    found = [len(one["ds"]) for one in answer.json()["series"]]
    assert found == [len(one["ds"]) for one in call.post(body, PATH).json()["series"]]


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        ({"rate": 0}, "rate", "out_of_range"),
        ({"rate": 0.51}, "rate", "out_of_range"),
        ({"rate": "1 %"}, "rate", "wrong_type"),
        ({"rate": True}, "rate", "wrong_type"),
        ({"rate": None}, "rate", "wrong_type"),
        ({"last": 0}, "last", "out_of_range"),
        ({"last": 1.5}, "last", "wrong_type"),
        ({"tz": 3}, "tz", "wrong_type"),
        ({"horizon": 3}, "horizon", "unknown_key"),
        ({"quantiles": [0.1]}, "quantiles", "unknown_key"),
        ({"series": [series(y=[1, "two"])]}, "series[0].y[1]", "wrong_type"),
        ({"series": []}, "series", "empty"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(
    call: Caller, body: dict[str, Any], place: str, code: str
) -> None:
    answer = call.post({"series": [series()], **body}, PATH)
    assert answer.status_code == 422
    assert [(e["place"], e["code"]) for e in answer.json()["errors"]] == [(place, code)]


def test_what_concerns_one_series_leaves_the_others_alone(call: Caller) -> None:
    asked = [series(), series(id="b", y=[1.0, 2.0]), series(id="c", y=[None] * 40)]
    answer = call.post({"series": asked}, PATH).json()
    assert [one["id"] for one in answer["series"]] == ["a"]
    assert [(e["id"], e["code"]) for e in answer["errors"]] == [
        ("b", "too_short"),
        ("c", "too_short"),
    ]
    nothing = call.post({"model": "retail", "series": [series()]}, PATH).json()
    assert nothing["series"] == []
    assert nothing["errors"][0]["code"] == "missing_past_covariate"


def test_more_points_than_a_request_should_cost_are_refused_before_work(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = call.app.service.loaded("monthly")
    monkeypatch.setattr(
        type(loaded.spec), "limits", property(lambda _: Limits(windows=50)), raising=False
    )
    asked = [series(), series(id="b")]
    answer = call.post({"series": asked}, PATH)
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_much_work"
    assert answer.json()["limit"] == 50
    assert call.post({"series": asked, "last": 25}, PATH).status_code == 200


def test_the_document_describes_the_route(call: Caller) -> None:
    document = call("GET", "/openapi.json").json()
    assert "post" in document["paths"][PATH]
    assert document["components"]["schemas"]["WatchRequest"]["properties"]["rate"]["maximum"] == 0.5
