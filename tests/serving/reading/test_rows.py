"""Tables of the usual kind need no data frame, and nobody can tell from the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving.routes import invocations
from tests.serving.conftest import Caller
from tests.serving.routes.test_invocations import layouts, plain_frame

Columns = dict[str, list[Any]]


def table(count: int = 2) -> Columns:
    return layouts(plain_frame(count))["inputs"]  # type: ignore[no-any-return]


def changed(change: Callable[[Columns], Any]) -> Columns:
    columns = table()
    change(columns)
    return columns


def put(column: str, row: int, value: Any) -> Callable[[Columns], Any]:
    return lambda columns: columns[column].__setitem__(row, value)


def each(column: str, work: Callable[[Any], Any]) -> Callable[[Columns], Any]:
    return lambda columns: columns.update({column: [work(value) for value in columns[column]]})


def drop(row: int) -> Callable[[Columns], Any]:
    return lambda columns: [values.pop(row) for values in columns.values()]


def reorder(order: Callable[[int], list[int]]) -> Callable[[Columns], Any]:
    def change(columns: Columns) -> None:
        for name, values in columns.items():
            columns[name] = [values[k] for k in order(len(values))]

    return change


PLAIN: dict[str, Callable[[Columns], Any]] = {
    "as it is": lambda columns: None,
    "a missing value": put("y", 5, None),
    "whole numbers": each("y", lambda value: None if value is None else round(value)),
    "series in another order": reorder(lambda n: [*range(n // 2, n), *range(n // 2)]),
    "dates only": each("ds", lambda value: value[:10]),
    "a space between": each("ds", lambda value: value.replace("T", " ")),
}
OTHER: dict[str, Callable[[Columns], Any]] = {
    "a gap": drop(3),
    "ends at another time": drop(-1),
    "backwards": reorder(lambda n: list(range(n))[::-1]),
    "mixed": reorder(lambda n: [*range(0, n, 2), *range(1, n, 2)]),
    "a row twice": reorder(lambda n: [0, *range(n)]),
    "missing at the end": put("y", -1, None),
    "missing at the beginning": put("y", 0, None),
    "nothing but missing": each("y", lambda value: None),
    "zones": each("ds", lambda value: f"{value}Z"),
    "an offset": each("ds", lambda value: f"{value}+02:00"),
    "a word for a stamp": put("ds", 0, "today"),
    "no stamp": put("ds", 0, ""),
    "months without days": each("ds", lambda value: value[:7]),
    "a day in the month": each("ds", lambda value: value.replace("-01T", "-15T")),
    "off by an hour": each("ds", lambda value: value.replace("T00", "T01")),
    "a stamp of another kind": put("ds", 4, "2021-05-09T00:00:00"),
    "an impossible day": put("ds", 0, "2021-02-31"),
    "far away": each("ds", lambda value: "9" + value[1:]),
    "numbers for ids": each("unique_id", lambda value: int(value[-1])),
    "no id": put("unique_id", 0, None),
    "an empty id": each("unique_id", lambda value: ""),
    "text for a number": put("y", 2, "5"),
    "true for a number": put("y", 2, True),
    "too large": put("y", 2, 1e308),
    "no rows": lambda columns: [values.clear() for values in columns.values()],
    "one row": reorder(lambda n: [0]),
    "another column": lambda columns: columns.update(z=columns["y"]),
    "no values": lambda columns: columns.pop("y"),
    "uneven": lambda columns: columns["y"].append(1.0),
}


@pytest.mark.parametrize("kind", [*PLAIN, *OTHER])
@pytest.mark.parametrize("params", [{}, {"horizon": 2, "quantiles": [0.25]}, {"horizon": 9}])
def test_the_answer_is_that_of_the_data_frame(
    call: Caller, monkeypatch: pytest.MonkeyPatch, kind: str, params: dict[str, Any]
) -> None:
    body = {"inputs": changed({**PLAIN, **OTHER}[kind]), "params": params}
    found = call.post(body, "/invocations")
    monkeypatch.setattr(invocations, "read_plain", lambda *_: None)
    expected = call.post(body, "/invocations")
    assert found.status_code == expected.status_code, (found.text, expected.text)
    if expected.status_code != 200:
        assert found.json()["detail"] == expected.json()["detail"]
        return
    ours, theirs = (pd.DataFrame(answer.json()["predictions"]) for answer in (found, expected))
    assert list(ours.columns) == list(theirs.columns)
    for name in ours.columns:
        if name in ("unique_id", "ds"):
            assert list(ours[name]) == list(theirs[name])
        else:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-6)


def test_words_are_no_stamps(call: Caller) -> None:
    for word in ("today", "now", "NaT"):
        answer = call.post({"inputs": changed(put("ds", 0, word))}, "/invocations")
        assert answer.status_code == 422
        assert "ds, row 0: must be an ISO 8601 stamp" in answer.json()["detail"]


@pytest.mark.parametrize("kind", list(PLAIN))
def test_the_usual_kind_makes_no_data_frame(
    call: Caller, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def none(*_: Any) -> Any:
        raise AssertionError("a data frame was made")

    monkeypatch.setattr(invocations, "_frame", none)
    assert call.post({"inputs": changed(PLAIN[kind])}, "/invocations").status_code == 200


def test_thousands_of_series_keep_their_order(call: Caller) -> None:
    columns = table(1)
    rows = len(columns["y"])
    many: Columns = {
        "unique_id": [f"s{k:04d}" for k in range(1000) for _ in range(rows)],
        "ds": columns["ds"] * 1000,
        "y": columns["y"] * 1000,
    }
    answer = call.post({"inputs": many, "params": {"horizon": 1}}, "/invocations").json()
    assert [row["unique_id"] for row in answer["predictions"]] == [f"s{k:04d}" for k in range(1000)]
