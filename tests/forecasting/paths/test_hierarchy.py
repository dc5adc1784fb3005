"""Levels of a hierarchy: which sums there are, and what is no level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting.errors import DataError
from forecasting.paths.hierarchy import Hierarchy, Levels, refuse_parts_missing
from forecasting.paths.totals import TotalError

LABELS = {"state": ["a", "a", "b", None], "kind": ["x", "y", "x", "x"]}


def test_sums_of_nested_and_crossed_levels() -> None:
    found = Hierarchy.of(LABELS, [[], ["state"], ["kind"], ["state", "kind"]], 4)
    assert found.names == [
        "total", "a", "b", "unknown", "x", "y", "a/x", "a/y", "b/x", "unknown/x",
    ]  # fmt: skip
    assert found.levels[:5] == ["total", "state", "state", "state", "kind"]
    assert found.keys[7] == {"state": "a", "kind": "y"}
    dense = found.matrix.toarray()
    np.testing.assert_array_equal(dense[:3], [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 1, 0]])
    np.testing.assert_array_equal(dense[4], [1, 0, 1, 1])
    assert (dense.sum(axis=0) == 4).all()


def test_settings_of_a_hierarchy() -> None:
    given = {"levels": [[], "state", ["state", "kind"]], "how": "ols", "nonnegative": True}
    levels = Levels.of(given, tuple(LABELS))
    assert levels == Levels(((), ("state",), ("state", "kind")), "ols", True)


@pytest.mark.parametrize(
    ("given", "path", "code"),
    [
        ([], (), "wrong_type"),
        ({}, ("levels",), "wrong_type"),
        ({"levels": "state"}, ("levels",), "wrong_type"),
        ({"levels": []}, ("levels",), "out_of_range"),
        ({"levels": [["state"]] * 21}, ("levels",), "out_of_range"),
        ({"levels": [[], ["moon"]]}, ("levels", 1, 0), "unknown_column"),
        ({"levels": [3]}, ("levels", 0), "wrong_type"),
        ({"levels": [["state", "kind"], ["kind", "state"]]}, ("levels", 1), "duplicate"),
        ({"levels": [[]], "how": "best"}, ("how",), "out_of_range"),
        ({"levels": [[]], "nonnegative": 1}, ("nonnegative",), "wrong_type"),
        ({"levels": [[]], "shape": 1}, ("shape",), "unknown_key"),
    ],
)
def test_what_is_no_hierarchy_is_refused_with_its_place(
    given: Any, path: tuple[str | int, ...], code: str
) -> None:
    with pytest.raises(TotalError) as caught:
        Levels.of(given, tuple(LABELS))
    assert (caught.value.path, caught.value.code) == (path, code)


def test_sums_and_levels_that_would_bear_one_name_are_refused() -> None:
    labels = {
        "state": ["n/a", "n"],
        "kind": ["b", "a/b"],
        "series": ["x", "y"],
        "state/kind": ["x"],
    }
    with pytest.raises(TotalError) as caught:
        Hierarchy.of(labels, [[], ["state", "kind"]], 2)
    assert (caught.value.path, caught.value.code) == (("levels", 1), "ambiguous")
    for levels in ([["series"]], [["state", "kind"], ["state/kind"]]):
        with pytest.raises(TotalError, match="another level is called") as caught:
            Levels.of({"levels": levels}, tuple(labels))
        assert (caught.value.path, caught.value.code) == (
            ("levels", len(levels) - 1),
            "ambiguous",
        )


def test_missing_parts_are_named() -> None:
    refuse_parts_missing([], "have no forecast")
    with pytest.raises(DataError, match="2 series of the hierarchy have no forecast, such as 'a'"):
        refuse_parts_missing(["a", "b"], "have no forecast")
