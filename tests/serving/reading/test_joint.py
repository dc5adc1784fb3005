"""Each wrong field of what is asked of series together: its status, its code, its place."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from forecasting.paths.hierarchy import Levels
from forecasting.paths.sampling import Draws
from forecasting.paths.totals import Total
from serving.errors import RequestError
from serving.models.together import _check_sums
from serving.reading.joint import _check_cost
from serving.reading.together import Joint
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


def test_what_is_asked_costs_its_passes_its_members_and_the_paths_shown() -> None:
    """4 series over 6 steps in 10 paths: two totals, and a level of sums."""
    groups = Total(groups={"one": ("a", "b"), "two": ("b", "c", "d")})
    joint = Joint(Draws(10), True, (Total(steps=2), groups), Levels(((),)))
    options: Any = SimpleNamespace(horizon=6, levels=(0.1, 0.5, 0.9))
    numbers, told = (4 * 4 + 5) * 60, 4 * 6 * 4 * 4 + 4 * 60

    def check(draws: int, output: int) -> None:
        spec: Any = SimpleNamespace(limits=SimpleNamespace(draws=draws, output=output))
        _check_cost(joint, 4, spec, options)

    check(numbers, told)
    with pytest.raises(RequestError, match=f"are {numbers} numbers"):
        check(numbers - 1, told)
    with pytest.raises(RequestError, match=f"could hold {told} numbers"):
        check(numbers, told - 1)


def test_a_hierarchy_costs_the_windows_of_its_series_and_sums_at_every_origin() -> None:
    """4 series, 3 sums, 1 + 8 origins, and a horizon of three times the model's, not whole."""
    joint = Joint(Draws(10), True, levels=Levels(((), ("k",)), "mint_shrink"))
    windows = (4 + 3) * 9 * 3

    def check(limit: int) -> None:
        spec: Any = SimpleNamespace(limits=SimpleNamespace(windows=limit), horizon=6)
        _check_sums({"k": ["x", "y", "x", "y"]}, joint, 4, spec, 13)

    check(windows)
    with pytest.raises(RequestError, match=f"over {windows} windows"):
        check(windows - 1)
