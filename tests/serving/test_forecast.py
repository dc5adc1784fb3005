"""`POST /v1/forecast`: what a caller asks, and what comes back."""

from __future__ import annotations

import gzip
from typing import Any

import httpx
import numpy as np
import pytest
import zstandard

from forecasting.prediction.predictor import Predictor
from serving.app import Application
from tests.serving.conftest import Caller, sales, stores

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def series(name: str = "a", rows: int = 40, **more: Any) -> dict[str, Any]:
    y = 100 + 10 * np.sin(np.arange(rows) / 2)
    return {"id": name, "start": "2020-01-01", "y": y.tolist(), **more}


def rich_series(index: int = 0, horizon: int = 4, history: bool = True) -> dict[str, Any]:
    """One series of the sales table as a request has it."""
    frame = sales()
    part = frame[frame["unique_id"] == f"store-{index}"]
    cut = len(part) - horizon
    static = stores().iloc[index]
    y = part["y"].tolist()[:cut]
    return {
        "id": f"store-{index}",
        "start": "2015-01-01",
        "y": [None if v != v else v for v in y],
        "past": {"temp": part["temp"].tolist()[:cut]},
        "future": {"promo": part["promo"].tolist()[0 if history else cut :]},
        "static": {"region": static["region"], "area": float(static["area"])},
    }


def test_a_forecast_has_what_the_contract_says(call: Caller) -> None:
    answer = call.post({"series": [series()], "horizon": 3, "quantiles": [0.05, 0.5]})
    assert answer.status_code == 200
    body = answer.json()
    assert body["model"]["name"] == "monthly"
    assert body["model"]["version"] == 1
    assert len(body["model"]["run_id"]) == 32
    (forecast,) = body["forecasts"]
    assert forecast["id"] == "a"
    assert forecast["ds"] == [f"2023-0{m}-01T00:00:00" for m in (5, 6, 7)]
    assert list(forecast["quantiles"]) == ["0.05", "0.5"]
    assert len(forecast["mean"]) == 3
    assert all(np.isfinite(forecast["mean"]))
    assert body["errors"] == []
    assert "extended" not in body


def test_left_out_options_take_their_defaults(call: Caller) -> None:
    body = call.post({"series": [series()]}).json()
    assert len(body["forecasts"][0]["mean"]) == 6
    assert list(body["forecasts"][0]["quantiles"]) == ["0.1", "0.5", "0.9"]


def test_one_bad_series_never_fails_the_others(call: Caller) -> None:
    good, gone = series("good"), {**series("gone"), "y": [None] * 9}
    skew = {**series("skew"), "start": "9000-01-01", "y": [1.0] * 12_100}
    body = call.post({"series": [gone, good, skew]}).json()
    assert [f["id"] for f in body["forecasts"]] == ["good"]
    assert [e["id"] for e in body["errors"]] == ["gone", "skew"]
    assert body["errors"][0]["code"] == "no_observations"
    alone = call.post({"series": [good]}).json()["forecasts"][0]
    np.testing.assert_allclose(body["forecasts"][0]["mean"], alone["mean"], **TOLERANCE)


def test_quarters_asked_of_a_model_of_months_are_told_so(call: Caller) -> None:
    quarters = [v for k in range(12) for v in (100.0 + k, None, None)]
    sent = [series("months"), {**series("quarters"), "y": quarters}]
    body = call.post({"series": sent}).json()
    assert [f["id"] for f in body["forecasts"]] == ["months"]
    assert [(e["id"], e["code"]) for e in body["errors"]] == [("quarters", "other_step")]
    assert "3 steps of MS" in body["errors"][0]["detail"]
    stamps = [f"{2015 + k // 4}-{k % 4 * 3 + 1:02}-01" for k in range(12)]
    table = {"unique_id": ["q"] * 12, "ds": stamps, "y": [100.0 + k for k in range(12)]}
    answer = call.post({"inputs": table}, "/invocations")
    assert answer.status_code == 422
    assert "3 steps of MS" in answer.json()["detail"]


def test_a_request_of_nothing_but_bad_series_is_answered(call: Caller) -> None:
    body = call.post({"series": [{**series(), "y": []}]}).json()
    assert body["forecasts"] == []
    assert body["errors"][0]["code"] == "no_observations"


@pytest.mark.parametrize("history", [True, False], ids=["with history", "horizon only"])
def test_covariates_reach_the_model(call: Caller, history: bool) -> None:
    asked = rich_series(2, history=history)
    body = call.post({"model": "retail", "series": [asked]}).json()
    before = body["forecasts"][0]["mean"]
    steps = len(asked["future"]["promo"])
    for change in (
        {"future": {"promo": [*asked["future"]["promo"][: steps - 4], 9, 9, 9, 9]}},
        {"past": {"temp": [t + 30 for t in asked["past"]["temp"]]}},
        {"static": {"region": "north" if asked["static"]["region"] == "south" else "south"}},
    ):
        after = call.post({"model": "retail", "series": [{**asked, **change}]}).json()
        assert not np.allclose(after["forecasts"][0]["mean"], before), change


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"future": {"promo": [1, 0]}}, "missing_future_covariate", {"column": "promo", "step": 3}),
        (
            {"future": {"promo": [1, 0, None, 1]}},
            "missing_future_covariate",
            {"column": "promo", "step": 3},
        ),
        ({"future": {"promo": [1] * 9}}, "length_mismatch", {"column": "promo"}),
        ({"past": {}}, "missing_past_covariate", {"column": "temp"}),
        ({"past": {"temp": [1, 2]}}, "length_mismatch", {"column": "temp"}),
    ],
)
def test_a_series_is_refused_with_its_reason(
    call: Caller, change: dict[str, Any], code: str, where: dict[str, Any]
) -> None:
    bad = {**rich_series(0), **change}
    body = call.post({"model": "retail", "series": [bad, rich_series(1)]}).json()
    assert [f["id"] for f in body["forecasts"]] == ["store-1"]
    (error,) = body["errors"]
    assert (error["id"], error["code"], error["where"]) == ("store-0", code, where)


def test_unseen_categories_are_accepted_and_flagged(call: Caller) -> None:
    asked = rich_series()
    asked["static"]["region"] = "mars"
    del asked["static"]["area"]
    (forecast,) = call.post({"model": "retail", "series": [asked]}).json()["forecasts"]
    assert forecast["notes"] == [
        {"code": "unseen_category", "where": {"column": "region", "value": "mars"}},
        {"code": "missing_static", "where": {"column": "area"}},
    ]


def test_a_longer_horizon_is_refused_with_the_limit_or_extended(call: Caller) -> None:
    refused = call.post({"series": [series()], "horizon": 7})
    assert refused.status_code == 422
    assert "beyond 6" in refused.json()["errors"][0]["detail"]
    body = call.post({"series": [series()], "horizon": 15, "extend": True}).json()
    assert body["extended"] == {"trained_horizon": 6, "from_step": 7}
    assert len(body["forecasts"][0]["ds"]) == 15
    plain = call.post({"series": [series()]}).json()["forecasts"][0]
    np.testing.assert_allclose(body["forecasts"][0]["mean"][:6], plain["mean"], **TOLERANCE)


def test_the_flat_form_gives_the_same_numbers(call: Caller) -> None:
    asked = [series("a"), series("b", 25), series("c", 3)]
    readable = call.post({"series": asked, "horizon": 2}).json()["forecasts"]
    flat = call.post(
        {
            "y": [v for s in asked for v in s["y"]],
            "sizes": [len(s["y"]) for s in asked],
            "start": "2020-01-01",
            "ids": ["a", "b", "c"],
            "horizon": 2,
        }
    ).json()
    assert flat["ids"] == ["a", "b", "c"]
    assert flat["horizon"] == 2
    assert flat["ds"] == [d for f in readable for d in f["ds"]]
    np.testing.assert_allclose(flat["mean"], [v for f in readable for v in f["mean"]], **TOLERANCE)
    expected = [v for f in readable for v in f["quantiles"]["0.9"]]
    np.testing.assert_allclose(flat["quantiles"]["0.9"], expected, **TOLERANCE)


def test_the_flat_form_takes_covariates(call: Caller) -> None:
    asked = [rich_series(0), rich_series(3)]
    readable = call.post({"model": "retail", "series": asked}).json()["forecasts"]
    for history in (True, False):
        promo = [rich_series(i, history=history)["future"]["promo"] for i in (0, 3)]
        flat = call.post(
            {
                "model": "retail",
                "y": [v for s in asked for v in s["y"]],
                "sizes": [len(s["y"]) for s in asked],
                "start": [s["start"] for s in asked],
                "past": {"temp": [v for s in asked for v in s["past"]["temp"]]},
                "future": {"promo": [v for p in promo for v in p]},
                "static": {k: [s["static"][k] for s in asked] for k in ("region", "area")},
            }
        ).json()
        assert flat["ids"] == ["0", "1"]
        means = [v for f in readable for v in f["mean"]]
        assert np.allclose(flat["mean"], means, **TOLERANCE) == history


@pytest.mark.parametrize(
    ("start", "zone", "first"),
    [
        ("2026-03-28T00:00:00", None, "2026-03-29T01:00:00"),
        ("2026-03-28T00:00:00Z", None, "2026-03-29T01:00:00Z"),
        ("2026-03-28T00:00:00+05:30", None, "2026-03-29T01:00:00+05:30"),
        # Spain skips 02:00 on 29 March: 25 hours after midnight it is 02:00, which is 03:00.
        ("2026-03-28T00:00:00+01:00", "Europe/Madrid", "2026-03-29T01:00:00+01:00"),
        ("2026-03-28T01:00:00", "Europe/Madrid", "2026-03-29T03:00:00+02:00"),
    ],
)
def test_stamps_follow_frequency_and_zone(
    call: Caller, start: str, zone: str | None, first: str
) -> None:
    asked: dict[str, Any] = {"id": "m", "start": start, "y": [10.0] * 25}
    body: dict[str, Any] = {"model": "power", "series": [asked], "horizon": 2}
    if zone:
        body["tz"] = zone
    assert call.post(body).json()["forecasts"][0]["ds"][0] == first


def test_a_year_beyond_iso_8601_is_refused_for_its_series(call: Caller) -> None:
    late = {**series("late"), "start": "9000-01-01", "y": [1.0] * 12_100}
    body = call.post({"series": [late, series()]}).json()
    assert body["errors"][0]["code"] == "out_of_range"
    assert len(body["forecasts"]) == 1


def test_values_beyond_a_double_are_a_problem_of_their_series(call: Caller) -> None:
    big = {**series("big"), "y": [1e308, -1e308] * 20}
    body = call.post({"series": [big, series()]}).json()
    assert [f["id"] for f in body["forecasts"]][-1] == "a"
    for forecast in body["forecasts"]:
        assert None not in forecast["mean"]


def test_compressed_bodies_are_read_and_long_answers_compressed(call: Caller) -> None:
    content = httpx.Request("POST", "http://x", json={"series": [series()]}).content
    plain = call("POST", "/v1/forecast", content=content, headers=_headers())
    for name, packed in (
        ("gzip", gzip.compress(content)),
        ("zstd", zstandard.ZstdCompressor().compress(content)),
    ):
        headers = {**_headers(), "content-encoding": name}
        answer = call("POST", "/v1/forecast", content=packed, headers=headers)
        assert answer.json()["forecasts"] == plain.json()["forecasts"]
    many = {"series": [series(f"s{i}") for i in range(60)]}
    for accepted in ("gzip", "zstd", "identity"):
        answer = call.post(many, headers={"accept-encoding": accepted})
        assert answer.headers.get("content-encoding", "identity") == accepted
        assert len(answer.json()["forecasts"]) == 60


def _headers() -> dict[str, str]:
    return {"content-type": "application/json"}


def test_requests_that_arrive_together_are_computed_together(
    app: Application, call: Caller
) -> None:
    bodies = [{"series": [series(f"s{i}", 20 + i)], "horizon": 1 + i % 6} for i in range(32)]
    alone = [call.post(body).json()["forecasts"] for body in bodies]
    before = _batches(app)
    together = call.together(bodies)
    assert _batches(app) - before < 16
    for answer, expected in zip(together, alone, strict=True):
        (found,), (wanted,) = answer.json()["forecasts"], expected
        assert (found["id"], found["ds"]) == (wanted["id"], wanted["ds"])
        np.testing.assert_allclose(found["mean"], wanted["mean"], **TOLERANCE)
        for level in wanted["quantiles"]:
            np.testing.assert_allclose(
                found["quantiles"][level], wanted["quantiles"][level], **TOLERANCE
            )


def _batches(app: Application) -> float:
    return next(
        s.value
        for m in app.service.metrics.registry.collect()
        for s in m.samples
        if s.name == "gatecast_batch_requests_count"
    )


def test_a_mixed_batch_keeps_everyones_options(call: Caller) -> None:
    bodies: list[dict[str, Any]] = [
        {"series": [series("a")], "quantiles": [0.9, 0.2], "horizon": 2},
        {"series": [{**series("b"), "y": [None]}]},
        {"series": [series("c"), series("d", 10)], "quantiles": [0.7]},
        {"series": [rich_series(1)], "model": "retail"},
        {"series": [{"id": "m", "start": "2026-03-28", "y": [10.0] * 30}], "model": "power"},
        {"series": [series("e")], "horizon": 9, "extend": True},
    ]
    alone = [call.post(body).json() for body in bodies]
    for found, wanted in zip(call.together(bodies), alone, strict=True):
        body = found.json()
        assert body["model"] == wanted["model"]
        assert body["errors"] == wanted["errors"]
        assert [list(f["quantiles"]) for f in body["forecasts"]] == [
            list(f["quantiles"]) for f in wanted["forecasts"]
        ]
        for f, w in zip(body["forecasts"], wanted["forecasts"], strict=True):
            np.testing.assert_allclose(f["mean"], w["mean"], **TOLERANCE)


def test_the_example_of_each_model_works_when_posted(call: Caller) -> None:
    for name in ("monthly", "retail", "power"):
        about = call("GET", f"/v1/models/{name}").json()
        answer = call.post(about["example"])
        assert answer.status_code == 200
        assert answer.json()["errors"] == []
        assert len(answer.json()["forecasts"][0]["mean"]) == about["horizon"]


def test_the_median_is_the_librarys(call: Caller, monthly: Predictor) -> None:
    frame = sales()[["unique_id", "ds", "y"]]
    frame = frame[frame["unique_id"] == "store-4"]
    y = [None if v != v else v for v in frame["y"].tolist()]
    body = {"series": [{"id": "store-4", "start": "2015-01-01", "y": y}]}
    found = call.post(body).json()["forecasts"][0]
    expected = monthly.predict(frame)
    np.testing.assert_allclose(found["quantiles"]["0.5"], expected["q0.5"], **TOLERANCE)


def test_an_answer_without_a_forecast_keeps_its_form_with_a_zone(call: Caller) -> None:
    asked = {"id": "m", "start": "2026-03-28T00:00:00Z", "y": [None]}
    body = call.post({"model": "power", "series": [asked]}).json()
    assert body["forecasts"] == []
    assert body["errors"][0]["code"] == "no_observations"
