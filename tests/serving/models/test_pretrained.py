"""`--model zero`: forecasts over HTTP with no training and no registry, and clear refusals."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from forecasting.errors import DataError
from forecasting.zero.predictor import LONGEST_HORIZON, Zero
from serving.__main__ import _check_models
from serving.app import Application
from serving.client import Client
from serving.settings import ServingSettings
from tests.serving.conftest import KEY, Caller
from tests.serving.store import Store
from tests.serving.test_client import Bridge

ARROW = "application/vnd.apache.arrow.stream"
KEYED = {"authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def zero(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """A service that holds the pretrained network, in an empty home."""
    home = tmp_path_factory.mktemp("empty")
    settings = ServingSettings.read({}, models=("zero",), home=home, api_key=KEY, log_level="error")
    _check_models(settings)
    application = Application(settings)
    application.service.models.load()
    assert application.service.models.ready
    yield Caller(application)
    application.service.close()


def wave(rows: int = 60, seed: int = 0) -> list[float]:
    y = 100 + 20 * np.sin(2 * np.pi * np.arange(rows) / 12)
    return [float(v) for v in y + np.random.default_rng(seed).standard_normal(rows)]


def series(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"id": name, "start": "2020-01-01", "y": wave(), **more}


def asked(**more: Any) -> dict[str, Any]:
    return {
        "series": [series("a"), series("b", y=wave(seed=1))],
        "freq": "MS",
        "horizon": 5,
        **more,
    }


def expected(**more: Any) -> pd.DataFrame:
    table = pd.concat(
        pd.DataFrame(
            {"unique_id": n, "ds": pd.date_range("2020-01-01", None, 60, "MS"), "y": wave(seed=s)}
        )
        for s, n in enumerate("ab")
    )
    return Zero.load().predict(table, 5, **more)


def test_it_answers_what_the_library_does(zero: Caller) -> None:
    body = zero.post(asked(quantiles=[0.05, 0.5])).json()
    whole = expected(quantiles=[0.05, 0.5])
    assert body["model"]["name"] == "zero"
    assert body["errors"] == []
    for forecast, (_, part) in zip(body["forecasts"], whole.groupby("unique_id"), strict=True):
        assert forecast["ds"] == [f"2025-0{m}-01T00:00:00" for m in range(1, 6)]
        np.testing.assert_allclose(forecast["mean"], part["mean"], rtol=1e-6)
        np.testing.assert_allclose(forecast["quantiles"]["0.05"], part["q0.05"], rtol=1e-6)


def test_the_flat_form_and_arrow_say_the_same(zero: Caller) -> None:
    whole = expected()
    flat = {"y": [*wave(), *wave(seed=1)], "sizes": [60, 60], "start": "2020-01-01"}
    answer = zero.post({**flat, "ids": ["a", "b"], "freq": "MS", "horizon": 5}).json()
    np.testing.assert_allclose(answer["mean"], whole["mean"], rtol=1e-6)
    stamps = np.array(["2020-01-01"] * 2, "datetime64[us]")
    table = pa.table({"id": ["a", "b"], "start": stamps, "y": [wave(), wave(seed=1)]})
    told = {"gatecast": json.dumps({"model": "zero", "freq": "MS", "horizon": 5})}
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.with_metadata(told)) as writer:
        writer.write_table(table.replace_schema_metadata(told))
    sent = sink.getvalue().to_pybytes()
    reply = zero("POST", "/v1/forecast", content=sent, headers={"content-type": ARROW})
    assert reply.status_code == 200
    found = pa.ipc.open_stream(reply.content).read_all()
    np.testing.assert_allclose(np.concatenate(found["mean"].to_pylist()), whole["mean"], rtol=1e-6)


def test_the_client_says_what_the_table_does(zero: Caller) -> None:
    table = pd.DataFrame(
        {"unique_id": "a", "ds": pd.date_range("2020-01-01", None, 60, "MS"), "y": wave()}
    )
    with Client("http://test", api_key=KEY, transport=Bridge(zero.app)) as client:
        found = client.forecast(table, horizon=5)
        with pytest.raises(DataError, match="say how far"):
            client.forecast(table)
    pd.testing.assert_frame_equal(found, Zero.load().predict(table, 5), rtol=1e-6)


def test_whole_numbers_need_no_frequency_and_a_season_may_be_told(zero: Caller) -> None:
    one = {"series": [series(start=7)], "horizon": 2}
    body = zero.post({**one, "season": 12}).json()
    assert body["forecasts"][0]["ds"] == [67, 68]
    assert zero.post({**one, "season": 1}).json()["forecasts"] != body["forecasts"]


def test_histories_that_are_not_what_they_seem_are_noted(zero: Caller) -> None:
    odd = [*wave()[:-1], -999.0]
    sent = asked(series=[series("a", y=odd), series("b"), series("c", y=[*wave(), None, None])])
    first, plain, open_end = zero.post({"model": "zero", **sent}).json()["forecasts"]
    assert first["notes"] == [
        {"code": "code_for_missing", "where": {"column": "y", "value": -999.0, "rows": 1}}
    ]
    assert "notes" not in plain
    assert open_end["notes"] == [{"code": "open_end", "where": {"column": "y", "rows": 2}}]


@pytest.mark.parametrize("y", [[5.0], [5.0] * 4, [None, 5.0, None, 5.0]])
def test_a_series_of_one_value_is_noted_and_has_an_interval(
    zero: Caller, y: list[float | None]
) -> None:
    sent = asked(series=[series("still", y=y), series("moves")], quantiles=[0.05, 0.95])
    still, moves = zero.post({"model": "zero", **sent}).json()["forecasts"]
    where = {"column": "y", "value": 5.0, "rows": sum(value is not None for value in y)}
    assert still["notes"] == [{"code": "equal_values", "where": where}]
    low, high = (still["quantiles"][level] for level in ("0.05", "0.95"))
    assert all(a < 5.0 < b for a, b in zip(low, high, strict=True))
    assert "notes" not in moves


def test_an_answer_hangs_on_its_own_series_alone(zero: Caller) -> None:
    """Which season is read is chosen by a request's series: others at the same time are not."""
    bodies = [asked(series=[series(y=wave(seed=s)[s:])], horizon=3 + s) for s in range(4)]
    alone = [zero.post(body).json() for body in bodies]
    together = [reply.json() for reply in zero.together(bodies)]
    assert together == alone


def test_it_says_what_it_is_and_its_example_works(zero: Caller) -> None:
    (line,) = zero("GET", "/v1/models", headers=KEYED).json()["models"]
    assert (line["name"], line["kind"], line["freq"], line["ready"]) == (
        "zero", "pretrained", None, True,
    )  # fmt: skip
    assert line["horizon"] == LONGEST_HORIZON
    about = zero("GET", "/v1/models/zero", headers=KEYED).json()
    assert about["lineage"]["bundle_sha256"] == Zero.load().card["sha256"]
    assert zero.post(about["example"]).status_code == 200
    refreshed = zero("POST", "/v1/models/zero/refresh", headers=KEYED)
    assert refreshed.json() == {
        "model": {"name": "zero", "version": line["version"], "run_id": None}, "swapped": False,
    }  # fmt: skip
    assert zero("GET", "/readyz").json()["models"] == {"zero": line["version"]}
    assert "zero" in zero("GET", "/openapi.json").text


@pytest.mark.parametrize(
    ("change", "place", "code"),
    [
        ({"freq": None}, "freq", "missing"),
        ({"freq": 7}, "freq", "wrong_type"),
        ({"freq": "fortnight"}, "freq", "out_of_range"),
        ({"freq": "9" * 30 + "h"}, "freq", "wrong_type"),
        ({"horizon": None}, "horizon", "missing"),
        ({"horizon": 0}, "horizon", "out_of_range"),
        ({"horizon": "5"}, "horizon", "wrong_type"),
        ({"horizon": LONGEST_HORIZON + 1}, "horizon", "horizon_too_long"),
        ({"horizon": LONGEST_HORIZON + 1, "extend": True}, "horizon", "horizon_too_long"),
        ({"season": 0}, "season", "out_of_range"),
        ({"season": 12.0}, "season", "wrong_type"),
        ({"season": True}, "season", "wrong_type"),
        ({"paths": 100}, "paths", "trained_only"),
        ({"hierarchy": {"levels": [[]]}}, "hierarchy", "trained_only"),
        ({"quantiles": [2]}, "quantiles[0]", "out_of_range"),
        ({"sesaon": 12}, "sesaon", "unknown_key"),
        ({"series": []}, "series", "empty"),
        ({"series": [series(start=5)]}, "series[0].start", "wrong_type"),
        ({"series": [series(past={"x": [1.0]})]}, "series[0].past.x", "unknown_covariate"),
        ({"series": 3}, "series", "wrong_type"),
    ],
)
def test_what_is_wrong_is_named(
    zero: Caller, change: dict[str, Any], place: str, code: str
) -> None:
    reply = zero.post(asked(**change))
    assert reply.status_code == 422
    assert (place, code) in [(e["place"], e["code"]) for e in reply.json()["errors"]]


def test_a_series_that_cannot_be_forecast_leaves_the_others(zero: Caller) -> None:
    odd = [series("empty", y=[]), series("silent", y=[None] * 9)]
    body = zero.post(asked(series=[*odd, series("fine")])).json()
    assert [f["id"] for f in body["forecasts"]] == ["fine"]
    assert {e["id"]: e["code"] for e in body["errors"]} == {
        "empty": "no_observations", "silent": "no_observations",
    }  # fmt: skip
    nothing = zero.post(asked(series=odd)).json()
    assert nothing["forecasts"] == []
    assert len(nothing["errors"]) == 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/explain", {"series": [series()]}),
        ("POST", "/v1/scenarios", {"series": [series()]}),
        ("POST", "/v1/anomalies", {"series": [series()]}),
        ("POST", "/v1/series/a/append", {"start": "2020-01-01", "y": [1.0], "begin": True}),
        ("GET", "/v1/series/a/forecast", None),
        ("GET", "/v1/series/a", None),
        ("DELETE", "/v1/series/a", None),
        ("POST", "/invocations", {"inputs": {"unique_id": ["a"], "ds": [1], "y": [1.0]}}),
    ],
)
def test_what_needs_a_trained_model_says_so(
    zero: Caller, method: str, path: str, body: dict[str, Any] | None
) -> None:
    reply = zero(method, path, json=body, headers=KEYED)
    assert reply.status_code == 422
    assert reply.json()["code"] == "trained_only"


def test_it_answers_beside_trained_models(store: Store) -> None:
    settings = ServingSettings.read(
        {}, models=("monthly", "zero"), home=store.home, api_key=KEY, log_level="error"
    )
    _check_models(settings)
    application = Application(settings)
    application.service.models.load()
    call = Caller(application)
    assert call.post(asked(model="zero")).status_code == 200
    (error,) = call.post(asked()).json()["errors"]
    assert (error["place"], error["code"]) == ("freq", "unknown_key")
    application.service.close()


def test_a_registered_model_of_that_name_is_not_passed_over(tmp_path: Path, plain: Path) -> None:
    store = Store(tmp_path)
    store.register("zero", plain)
    ran = subprocess.run(
        [sys.executable, "-m", "serving", "--model", "zero", "--port", "0"],
        env={"PYTHONPATH": ".", "GATECAST_HOME": str(store.home), "PATH": ""},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "is the name of the pretrained network" in ran.stderr


@pytest.mark.parametrize("freq", ["99999YS", "58454YS", "99999MS", "99999W", "99999QS", "99999B"])
@pytest.mark.parametrize("horizon", [3, 1_000])
def test_steps_that_lead_out_of_the_calendar_are_refused(
    zero: Caller, freq: str, horizon: int
) -> None:
    answer = zero.post(asked(freq=freq, horizon=horizon), headers=KEYED)
    assert answer.status_code == 200, answer.json()
    found = answer.json()
    assert found["forecasts"] == []
    assert {error["code"] for error in found["errors"]} <= {"out_of_range", "start_off_grid"}
