"""Each wrong field of what is asked of series together: its status, its code, its place."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving.conftest import Caller

S = {"id": "a", "start": "2020-01-01", "y": [1.0, 2.0, 3.0]}
TWO = {"series": [S, {**S, "id": "b"}]}


@pytest.mark.parametrize(
    ("body", "where", "code"),
    [
        ({"paths": 1}, "paths", "out_of_range"),
        ({"paths": 1_001}, "paths", "out_of_range"),
        ({"paths": 2.0}, "paths", "wrong_type"),
        ({"paths": True}, "paths", "wrong_type"),
        ({"paths": 5, "seed": -1}, "seed", "out_of_range"),
        ({"paths": 5, "seed": "x"}, "seed", "wrong_type"),
        ({"seed": 1}, "seed", "missing"),
        ({"labels": {"region": ["n", "s"]}}, "labels", "missing"),
        ({"paths": 5, "labels": [1]}, "labels", "wrong_type"),
        ({"paths": 5, "labels": {"r": "n"}}, "labels.r", "wrong_type"),
        ({"paths": 5, "labels": {"r": ["n"]}}, "labels.r", "length_mismatch"),
        ({"paths": 5, "labels": {"r": ["n", 1]}}, "labels.r[1]", "wrong_type"),
        ({"paths": 5, "labels": {"r": ["", None]}}, "labels.r[0]", "wrong_type"),
        ({"aggregate": {"steps": 2}}, "aggregate", "wrong_type"),
        ({"aggregate": []}, "aggregate", "wrong_type"),
        ({"aggregate": [{"steps": 2}] * 21}, "aggregate", "wrong_type"),
        ({"aggregate": [{"steps": 2}, 7]}, "aggregate[1]", "wrong_type"),
        ({"aggregate": [{"steps": 7}]}, "aggregate[0].steps", "out_of_range"),
        ({"aggregate": [{"by": ["region"]}]}, "aggregate[0].by[0]", "unknown_column"),
        ({"aggregate": [{"groups": {"x": ["a", "a"]}}]}, "aggregate[0].groups.x", "duplicate"),
        ({"hierarchy": [[]]}, "hierarchy", "wrong_type"),
        ({"hierarchy": {"levels": [["moon"]]}}, "hierarchy.levels[0][0]", "unknown_column"),
        ({"hierarchy": {"levels": [[]], "how": "best"}}, "hierarchy.how", "out_of_range"),
        ({"hierarchy": {"levels": [[]], "extra": 1}}, "hierarchy.extra", "unknown_key"),
    ],
)
def test_a_wrong_field_has_its_place(
    call: Caller, body: dict[str, Any], where: str, code: str
) -> None:
    answer = call.post({**TWO, **body})
    assert answer.status_code == 422
    assert (where, code) in [(e["place"], e["code"]) for e in answer.json()["errors"]]


def test_null_is_left_out(call: Caller) -> None:
    nothing = dict.fromkeys(("aggregate", "hierarchy", "labels", "seed"))
    answer = call.post({**TWO, "paths": 3, **nothing})
    assert answer.status_code == 200


def test_a_label_may_not_hide_a_covariate(call: Caller) -> None:
    from tests.serving.test_forecast import rich_series

    body = {"model": "retail", "series": [rich_series(0)], "paths": 3}
    answer = call.post({**body, "labels": {"region": ["north"]}})
    assert [e["place"] for e in answer.json()["errors"]] == ["labels.region"]


def test_paths_reach_so_far_and_no_further(call: Caller) -> None:
    answer = call.post({**TWO, "paths": 3, "horizon": 2_001, "extend": True})
    assert [e["code"] for e in answer.json()["errors"]] == ["horizon_too_long"]
