"""MLflow's ways to the same answers: its scoring protocol, its Python models, its server."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.prediction.predictor import Predictor
from tests.serving.conftest import Caller, sales, stores
from tests.serving.process import Server
from tests.serving.store import Store

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


def plain_frame(count: int = 3) -> pd.DataFrame:
    return sales(count)[["unique_id", "ds", "y"]]


def layouts(frame: pd.DataFrame) -> dict[str, Any]:
    """A table in each of the protocol's layouts."""
    texts = frame.assign(ds=frame["ds"].map(lambda stamp: stamp.isoformat()))
    columns = {
        name: [None if v != v else v for v in texts[name].tolist()] for name in texts.columns
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    split = {"columns": list(columns), "data": [list(row.values()) for row in rows]}
    return {
        "dataframe_split": split,
        "dataframe_records": rows,
        "inputs": columns,
        "instances": rows,
    }


@pytest.mark.parametrize("layout", ["dataframe_split", "dataframe_records", "inputs", "instances"])
def test_every_layout_gives_the_librarys_numbers(
    call: Caller, monthly: Predictor, layout: str
) -> None:
    frame = plain_frame()
    body = {layout: layouts(frame)[layout], "params": {"horizon": 3, "quantiles": [0.3, 0.5]}}
    answer = call.post(body, "/invocations")
    assert answer.status_code == 200, answer.text
    found = pd.DataFrame(answer.json()["predictions"])
    expected = monthly.predict(frame, horizon=3, quantiles=[0.3, 0.5])
    assert list(found.columns) == list(expected.columns)
    assert list(found["unique_id"]) == list(expected["unique_id"])
    assert list(pd.to_datetime(found["ds"])) == list(expected["ds"])
    np.testing.assert_allclose(found["q0.3"], expected["q0.3"], **TOLERANCE)


def test_covariates_stand_in_columns(call: Caller, retail: Predictor) -> None:
    frame = sales(3).merge(stores(3), on="unique_id")
    frame.loc[frame.groupby("unique_id").cumcount() >= 68, "y"] = np.nan
    body = {"dataframe_records": layouts(frame)["dataframe_records"], "params": {"model": "retail"}}
    answer = call.post(body, "/invocations").json()
    assert answer["model"]["name"] == "retail"
    found = pd.DataFrame(answer["predictions"])
    expected = retail.predict(sales(3).assign(y=frame["y"].to_numpy()), static=stores(3))
    np.testing.assert_allclose(found["q0.9"], expected["q0.9"], **TOLERANCE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "must hold one of"),
        ({"inputs": {"y": [1]}, "instances": []}, "must hold one of"),
        ({"inputs": {"y": 3}}, "inputs.y must be an array"),
        ({"inputs": {"unique_id": ["a"], "ds": ["x"], "y": [1]}}, "ds"),
        ({"inputs": {"unique_id": ["a"], "ds": [5], "y": [1]}}, "must be an ISO 8601 stamp"),
        ({"inputs": {"unique_id": [None], "ds": ["2020-01-01"], "y": [1]}}, "unique_id, row 0"),
        ({"inputs": {"unique_id": ["a"], "ds": ["2020-01-01"], "y": ["1"]}}, "y, row 0"),
        ({"inputs": {"unique_id": ["a"], "ds": ["2020-01-01"], "y": [True]}}, "y, row 0"),
        ({"inputs": {"unique_id": ["a"], "ds": ["2020-01-01"]}}, "missing column y"),
        ({"inputs": {"unique_id": ["a", "b"], "ds": ["2020-01-01"], "y": [1]}}, "lengths"),
        ({"dataframe_split": {"columns": ["y"], "data": [[1, 2]]}}, "must have 1 values"),
        ({"dataframe_split": {"columns": ["y", "y"], "data": []}}, "each once"),
        ({"dataframe_records": [1]}, "must be an object"),
        ({"inputs": {"unique_id": ["a"], "ds": ["2020-01-01"], "y": [1], "z": [1]}}, "'z'"),
    ],
)
def test_a_wrong_table_is_refused_with_the_reason(call: Caller, body: Any, said: str) -> None:
    answer = call.post(body, "/invocations")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert said in answer.json()["detail"]


@pytest.mark.parametrize(
    "params",
    [{"horizon": 1.5}, {"horizon": "3"}, {"horizon": True}, {"horizon": [3]}, {"horizon": {}},
     {"quantiles": "x"}, {"quantiles": 3}, {"quantiles": [2]}, {"quantiles": ["a"]},
     {"quantiles": []}, {"quantiles": [0.5] * 100}, {"horizon": 10**9, "extend": True},
     {"extend": 1}, {"stray": 1}, {"horizon": 99}, [], "x", {"model": 3}],
)  # fmt: skip
def test_wrong_parameters_are_refused(call: Caller, params: Any) -> None:
    body = {"inputs": layouts(plain_frame(1))["inputs"], "params": params}
    assert call.post(body, "/invocations").status_code == 422


@pytest.fixture(scope="module")
def registered(tmp_path_factory: pytest.TempPathFactory, plain: Path, rich: Path) -> Store:
    store = Store(tmp_path_factory.mktemp("mlflow"))
    store.register("monthly", plain)
    store.register("retail", rich)
    return store


def test_a_python_model_of_mlflow_gives_the_same(
    registered: Store, monthly: Predictor, retail: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)
    mlflow.set_tracking_uri(registered.uri)
    try:
        model = mlflow.pyfunc.load_model("models:/monthly@champion")
        covariates = mlflow.pyfunc.load_model("models:/retail@champion")
    finally:
        mlflow.set_tracking_uri(None)
    found = model.predict(plain_frame())
    pd.testing.assert_frame_equal(found, monthly.predict(plain_frame()))
    frame = sales(3).merge(stores(3), on="unique_id")
    frame.loc[frame.groupby("unique_id").cumcount() >= 68, "y"] = np.nan
    history = sales(3).assign(y=frame["y"].to_numpy())
    found = covariates.predict(frame)
    pd.testing.assert_frame_equal(found, retail.predict(history, static=stores(3)))


@pytest.mark.slow
def test_mlflows_own_server_gives_the_same(registered: Store, call: Caller) -> None:
    source = registered.client.get_model_version_by_alias("monthly", "champion").source
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", source,
               "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    body = {"dataframe_split": layouts(plain_frame())["dataframe_split"]}
    with Server(registered, command=command, port=port, ready="/ping") as other:
        theirs = other.http.post("/invocations", json=body).json()["predictions"]
    ours = call.post(body, "/invocations").json()["predictions"]
    assert [row["unique_id"] for row in theirs] == [row["unique_id"] for row in ours]
    for level in ("mean", "q0.1", "q0.5", "q0.9"):
        np.testing.assert_allclose(
            [row[level] for row in theirs], [row[level] for row in ours], **TOLERANCE
        )


def test_nothing_of_a_pickle_is_allowed() -> None:
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


@pytest.mark.parametrize("ordered", [True, False])
def test_what_is_odd_about_a_history_stands_beside_the_predictions(
    call: Caller, ordered: bool
) -> None:
    frame = plain_frame(2)
    frame["y"] = frame["y"].fillna(100.0)
    calm = call.post({"dataframe_split": layouts(frame)["dataframe_split"]}, "/invocations").json()
    assert "notes" not in calm
    frame.loc[frame.index[-1], "y"] = 9999.0
    # Rows out of order take the way through a data frame.
    frame = frame if ordered else frame[::-1]
    told = call.post({"dataframe_split": layouts(frame)["dataframe_split"]}, "/invocations").json()
    [note] = told["notes"]
    assert note.startswith("series 'store-1': y holds 9999 in 1 rows")
