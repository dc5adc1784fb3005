"""Paths, totals and hierarchies over HTTP are the library's, in every form of a request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.forecaster import Forecaster
from forecasting.paths.drawn import Drawn
from forecasting.paths.sampling import Draws
from forecasting.prediction.predictor import Predictor
from serving.app import Application
from tests.serving.conftest import Caller
from tests.serving.reading.test_arrow_form import ask, read, stream, table
from tests.serving.test_forecast import rich_series
from tests.serving.test_parity import flat, frame_of, random_panel, readable

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
LEVELS = [0.1, 0.5, 0.9]


def alike(count: int = 4, rows: int = 40) -> pd.DataFrame:
    """Monthly series that begin and end together."""
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(count)], rows),
            "ds": np.tile(pd.date_range("2020-01-01", periods=rows, freq="MS"), count),
            "y": rng.uniform(50, 150, count * rows),
        }
    )


def asked_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {"id": name, "start": str(part.ds.iloc[0]), "y": part.y.tolist()}
        for name, part in frame.groupby("unique_id", sort=False)
    ]


REGIONS = ["n", "s", "n", "s"]
JOINT: dict[str, Any] = {
    "paths": 30,
    "seed": 7,
    "labels": {"region": REGIONS},
    "aggregate": [{"steps": 3, "blocks": True}, {"by": ["region"]}, {"steps": 6, "by": []}],
    "hierarchy": {"levels": [[], ["region"]], "nonnegative": True},
}


@pytest.fixture(scope="module")
def wanted(plain: Any) -> Drawn:
    static = pd.DataFrame({"unique_id": [f"s{i}" for i in range(4)], "region": REGIONS})
    return Forecaster.load(plain).paths(alike(), 30, seed=7, static=static)


def test_the_readable_form_is_the_librarys(call: Caller, wanted: Drawn) -> None:
    body = call.post({"series": asked_of(alike()), **JOINT}).json()
    assert body["joint"] == {"paths": 30, "seed": 7, "dependence": "learned"}
    found = np.array([f["paths"] for f in body["forecasts"]])
    np.testing.assert_allclose(found, wanted.paths.values.transpose(0, 2, 1), **TOLERANCE)
    expected = [
        wanted.totals(steps=3, blocks=True),
        wanted.totals(by="region"),
        wanted.totals(steps=6, by=[]),
    ]
    for told, frame in zip(body["aggregates"], expected, strict=True):
        assert told["errors"] == []
        rows = [
            (t["id"], pd.Timestamp(ds), a, b, m, *(t["quantiles"][f"{q:g}"][k] for q in LEVELS))
            for t in told["totals"]
            for k, (ds, a, b, m) in enumerate(
                zip(t["ds"], told["first_step"], told["last_step"], t["mean"], strict=True)
            )
        ]
        over_http = pd.DataFrame(rows, columns=frame.columns)
        pd.testing.assert_frame_equal(over_http, frame, check_dtype=False, rtol=1e-5, atol=1e-5)
    hierarchy = wanted.coherent([[], "region"], nonnegative=True)
    nodes = body["hierarchy"]["nodes"]
    assert body["hierarchy"]["how"] == "wls_struct"
    assert [n["id"] for n in nodes] == hierarchy.unique_id.unique().tolist()
    np.testing.assert_allclose(
        [n["mean"] for n in nodes], hierarchy["mean"].values.reshape(7, 6), **TOLERANCE
    )
    np.testing.assert_allclose(
        [n["quantiles"]["0.9"] for n in nodes], hierarchy["q0.9"].values.reshape(7, 6), **TOLERANCE
    )
    mean = np.array([n["mean"] for n in nodes])
    np.testing.assert_allclose(mean[0], mean[3:].sum(axis=0), rtol=1e-12)


def test_the_other_forms_are_the_readable_one(call: Caller) -> None:
    asked = asked_of(alike())
    body = call.post({"series": asked, **JOINT}).json()
    other = call.post({**flat(asked), **JOINT}).json()
    content, about = read(ask(call, stream(table(asked), **JOINT)).content)
    paths = np.array([f["paths"] for f in body["forecasts"]])
    np.testing.assert_array_equal(np.reshape(other["paths"], paths.shape), paths)
    np.testing.assert_array_equal(np.reshape(content["paths"].to_pylist(), paths.shape), paths)
    for told in (other, about):
        for key in ("joint", "aggregates", "hierarchy"):
            assert told[key] == body[key]


def test_groups_that_would_bear_one_name_are_refused_with_their_place(call: Caller) -> None:
    labels = {"p": ["a/b", "a", "c", "c"], "q": ["c", "b/c", "d", "e"]}
    for more, place in (
        ({"aggregate": [{"by": ["p"]}, {"by": ["p", "q"]}]}, "aggregate[1].by"),
        ({"hierarchy": {"levels": [[], ["p", "q"]]}}, "hierarchy.levels[1]"),
    ):
        for asked in (asked_of(alike()), [{**one, "y": [None]} for one in asked_of(alike())]):
            answer = call.post({"series": asked, "labels": labels, **more})
            assert answer.status_code == 422
            told = [(e["place"], e["code"]) for e in answer.json()["errors"]]
            assert told == [(place, "ambiguous")]


@pytest.mark.parametrize("name", ["retail", "power"])
def test_covariates_zones_and_own_categories(
    call: Caller, name: str, request: pytest.FixtureRequest
) -> None:
    predictor: Predictor = request.getfixturevalue(name)
    panel = random_panel(predictor, 3)
    frame, static = frame_of(panel)
    drawn = Drawn.by(predictor, frame, Draws(20, 1), static=static)
    asked = readable(panel)
    tell = {"aggregate": [{"by": ["region"]}]} if name == "retail" else {}
    body = call.post({"model": name, "series": asked, "paths": 20, "seed": 1, **tell}).json()
    found = np.array([f["paths"] for f in body["forecasts"]])
    scale = np.abs(drawn.paths.values).max()
    np.testing.assert_allclose(
        found, drawn.paths.values.transpose(0, 2, 1), rtol=1e-5, atol=1e-5 * scale
    )
    if tell:
        assert static is not None
        groups = [t["id"] for t in body["aggregates"][0]["totals"]]
        errors = [e["id"] for e in body["aggregates"][0]["errors"]]
        assert {*groups, *errors} == set(static.region)


def test_what_is_asked_together_changes_no_forecast_and_no_neighbour(call: Caller) -> None:
    asked = asked_of(alike())
    plain = call.post({"series": asked}).json()["forecasts"]
    joint = {"series": asked, "paths": 5, "aggregate": [{"steps": 2}]}
    found = call.together([joint, {"series": asked}, {**joint, "seed": 1}])
    for answer in found:
        for one, other in zip(answer.json()["forecasts"], plain, strict=True):
            np.testing.assert_allclose(one["mean"], other["mean"], rtol=1e-6)
            np.testing.assert_allclose(
                one["quantiles"]["0.9"], other["quantiles"]["0.9"], rtol=1e-6
            )
    assert "paths" not in found[1].json()["forecasts"][0]
    one, other = (found[k].json()["forecasts"][0]["paths"] for k in (0, 2))
    assert one != other


def test_a_series_that_was_refused_leaves_its_groups_without_a_total(call: Caller) -> None:
    asked = asked_of(alike())
    asked[2]["y"] = [None] * 40
    tell = {"labels": {"region": ["a", "b", "c", "a"]}, "aggregate": [{"by": ["region"]}]}
    (told,) = call.post({"series": asked, **tell}).json()["aggregates"]
    assert [t["id"] for t in told["totals"]] == ["a", "b"]
    assert [(e["id"], e["code"]) for e in told["errors"]] == [("c", "member_without_forecast")]
    # What is refused while it is read is as much a member as what cannot be forecast.
    shops = [rich_series(0), {**rich_series(1), "past": {}}, rich_series(2)]
    body = {"model": "retail", "aggregate": [{"by": ["region"]}], "paths": 4}
    answer = call.post({**body, "series": shops}).json()
    assert [e["code"] for e in answer["errors"]] == ["missing_past_covariate"]
    (told,) = answer["aggregates"]
    assert [t["id"] for t in told["totals"]] == ["south"]
    assert [e["id"] for e in told["errors"]] == ["north"]
    answer = call.post({**body, "series": [{**shop, "past": {}} for shop in shops]}).json()
    assert answer["forecasts"] == []
    (told,) = answer["aggregates"]
    assert told["totals"] == []
    assert [e["id"] for e in told["errors"]] == ["south", "north"]


def test_a_hierarchy_that_cannot_add_up_is_refused(call: Caller) -> None:
    asked = asked_of(alike())
    asked[2]["y"] = [None] * 40
    answer = call.post({"series": asked, "hierarchy": {"levels": [[]]}})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["place"], error["code"]) == ("hierarchy", "cannot_add_up")
    assert "'s2'" in error["detail"]
    shop = {**rich_series(1), "past": {}}
    answer = call.post({"model": "retail", "series": [shop], "hierarchy": {"levels": [[]]}})
    assert answer.status_code == 422


def test_limits_hold_before_anything_is_drawn(app: Application) -> None:
    few = {"max_draws": 1_000, "max_output": 1_000, "max_windows": 4}
    limited = Application(app.service.settings.model_copy(update=few))
    limited.service.models.load()
    ask_, asked = Caller(limited), asked_of(alike())
    told = ask_.post({"series": asked, "paths": 100}).json()
    assert (told["status"], told["code"], told["limit"]) == (413, "too_much_work", 1_000)
    assert "GATECAST_MAX_DRAWS" in told["detail"]
    told = ask_.post({"series": asked, "paths": 40}).json()
    assert (told["status"], told["code"]) == (413, "answer_too_large")
    told = ask_.post({"series": asked, "paths": 5, "hierarchy": {"levels": [[]]}}).json()
    assert (told["status"], told["code"], told["limit"]) == (413, "too_much_work", 4)
    assert "GATECAST_MAX_WINDOWS" in told["detail"]
    limited.service.close()
