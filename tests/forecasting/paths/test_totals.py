"""Totals are sums of the paths, and what cannot be added up is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from forecasting.errors import DataError
from forecasting.paths.sampling import Draws, Paths, sample
from forecasting.paths.totals import Total, TotalError, add_up
from tests.forecasting.samples import MIXES, make_panel, settings, untrained

COLUMNS = ("region", "kind")


@pytest.fixture(scope="module")
def paths() -> Paths:
    engine = untrained(settings(horizon=6), MIXES["none"])
    found = sample(engine, make_panel([30, 25, 28, 40]), Draws(30))
    # Their histories begin together: for the tests they end so, too.
    forecast = replace(found.forecast, start=found.forecast.start[[0] * 4])
    labels = {"region": ["n", "s", "n", None], "kind": ["a", "a", "b", "b"]}
    return replace(found, forecast=forecast, labels=labels)


def plainly(paths: Paths, members: list[list[int]], stretches: list[tuple[int, int]]) -> Any:
    """[G, B, S] sums, one by one."""
    return np.array(
        [
            [paths.values[rows][:, a - 1 : b].sum(axis=(0, 1)) for a, b in stretches]
            for rows in members
        ]
    )


@examples(max_examples=25, deadline=None, derandomize=True)
@given(steps=st.integers(1, 6), blocks=st.booleans(), data=st.data())
def test_totals_are_sums_of_paths(
    paths: Paths, steps: int, blocks: bool, data: st.DataObject
) -> None:
    by = data.draw(st.sampled_from([None, [], ["region"], ["kind"], ["region", "kind"]]))
    given_ = {"steps": steps, "blocks": blocks} | ({} if by is None else {"by": by})
    found = add_up(paths, Total.of(given_, 6, COLUMNS))
    names = {
        None: (["s0", "s1", "s2", "s3"], [[0], [1], [2], [3]]),
        (): (["total"], [[0, 1, 2, 3]]),
        ("region",): (["n", "s", "unknown"], [[0, 2], [1], [3]]),
        ("kind",): (["a", "b"], [[0, 1], [2, 3]]),
        ("region", "kind"): (["n/a", "s/a", "n/b", "unknown/b"], [[0], [1], [2], [3]]),
    }[None if by is None else tuple(by)]
    count = 6 // steps if blocks else 1
    stretches = [(k * steps + 1, (k + 1) * steps) for k in range(count)]
    assert found.names == names[0]
    assert list(zip(found.first, found.last, strict=True)) == stretches
    np.testing.assert_allclose(found.values, plainly(paths, names[1], stretches), rtol=1e-12)
    one = plainly(replace(paths, values=paths.forecast.mean[..., None]), names[1], stretches)
    np.testing.assert_allclose(found.mean, one[..., 0], rtol=1e-12)


def test_groups_of_given_names_add_up_at_each_step_and_may_overlap(paths: Paths) -> None:
    groups = {"one": ["s3"], "most": ["s0", "s3", "s1"]}
    found = add_up(paths, Total.of({"groups": groups}, 6, ()))
    np.testing.assert_allclose(found.values[0], paths.values[3])
    np.testing.assert_allclose(found.values[1], paths.values[[0, 3, 1]].sum(axis=0))
    frame = found.to_frame((0.1, 0.9))
    assert list(frame.columns) == [
        "unique_id", "ds", "first_step", "last_step", "mean", "q0.1", "q0.9",
    ]  # fmt: skip
    assert (frame["q0.1"] <= frame["q0.9"]).all()
    assert frame.ds.is_monotonic_increasing or len(frame) == 12


def test_groups_that_cannot_be_added_up_are_named_and_the_others_go_on(paths: Paths) -> None:
    groups = {"good": ["s0", "s1"], "strange": ["s0", "x"]}
    found = add_up(paths, Total.of({"groups": groups}, 6, ()))
    assert found.names == ["good"]
    assert [(p.id, p.code) for p in found.problems] == [("strange", "unknown_series")]
    with pytest.raises(DataError, match="1 of 2 totals cannot be made; first: 'strange'"):
        found.whole()


def test_groups_that_would_bear_one_name_are_refused_and_not_added_up(paths: Paths) -> None:
    labels = {"region": ["n/a", "n", "s", "s"], "kind": ["b", "a/b", "c", "d"]}
    with pytest.raises(TotalError, match=r"\['n/a', 'b'\] and \['n', 'a/b'\].*'n/a/b'") as caught:
        add_up(replace(paths, labels=labels), Total.of({"by": ["region", "kind"]}, 6, COLUMNS))
    assert (caught.value.path, caught.value.code) == (("by",), "ambiguous")
    alone = add_up(replace(paths, labels=labels), Total.of({"by": ["region"]}, 6, COLUMNS))
    assert alone.names == ["n/a", "n", "s"]


def test_names_are_looked_up_once_for_all_groups(paths: Paths) -> None:
    asked = Lookups(paths.asked.tolist())
    groups = {f"g{k}": ["x"] for k in range(50)}
    found = add_up(replace(paths, asked=asked), Total.of({"groups": groups}, 6, ()))
    assert len(found.problems) == 50
    assert asked.count == 1


class Lookups:
    """Names that count how often all of them are gone through."""

    def __init__(self, names: list[str]) -> None:
        self.names, self.count = names, 0

    def tolist(self) -> list[str]:
        self.count += 1
        return self.names


def test_series_of_other_origins_are_not_added_up(paths: Paths) -> None:
    start = paths.forecast.start.copy()
    start[2] += np.timedelta64(1, "D")
    apart = replace(paths, forecast=replace(paths.forecast, start=start))
    found = add_up(apart, Total.of({"by": []}, 6, ()))
    assert found.names == []
    assert found.mean.shape == (0, 6)
    assert found.problems[0].code == "starts_differ"
    assert "2024" in found.problems[0].detail


def test_a_group_of_which_a_series_has_no_forecast_is_none(paths: Paths) -> None:
    kept = [0, 1, 3]
    forecast = replace(
        paths.forecast,
        start=paths.forecast.start[kept],
        mean=paths.forecast.mean[kept],
        ids=paths.forecast.ids[kept],
    )
    without = replace(paths, forecast=forecast, names=paths.names[kept], values=paths.values[kept])
    found = add_up(without, Total.of({"by": ["kind"]}, 6, COLUMNS))
    assert found.names == ["a"]
    assert [(p.id, p.code) for p in found.problems] == [("b", "member_without_forecast")]


def test_a_total_beyond_floats_range_is_a_problem_and_no_number(paths: Paths) -> None:
    values = paths.values.copy()
    values[[0, 2]] = 1e308
    found = add_up(replace(paths, values=values), Total.of({"by": ["region"]}, 6, COLUMNS))
    assert found.names == ["s", "unknown"]
    assert [(p.id, p.code) for p in found.problems] == [("n", "not_finite")]
    found = add_up(replace(paths, values=values), Total.of({"steps": 2}, 6, COLUMNS))
    assert found.names == ["s1", "s3"]


@pytest.mark.parametrize(
    ("given", "path", "code"),
    [
        ("steps", (), "wrong_type"),
        ({}, (), "empty"),
        ({"step": 3}, ("step",), "unknown_key"),
        ({"steps": 0}, ("steps",), "out_of_range"),
        ({"steps": 7}, ("steps",), "out_of_range"),
        ({"steps": 2.0}, ("steps",), "wrong_type"),
        ({"steps": True}, ("steps",), "wrong_type"),
        ({"steps": 2, "blocks": 1}, ("blocks",), "wrong_type"),
        ({"blocks": True, "by": []}, ("blocks",), "missing"),
        ({"by": 3}, ("by",), "wrong_type"),
        ({"by": [3]}, ("by", 0), "wrong_type"),
        ({"by": ["moon"]}, ("by", 0), "unknown_column"),
        ({"by": ["kind", "kind"]}, ("by", 1), "duplicate"),
        ({"by": ["kind"] * 9}, ("by",), "out_of_range"),
        ({"by": [], "groups": {"a": ["s0"]}}, ("groups",), "conflict"),
        ({"groups": {}}, ("groups",), "wrong_type"),
        ({"groups": {"a": []}}, ("groups", "a"), "wrong_type"),
        ({"groups": {"a": [1]}}, ("groups", "a", 0), "wrong_type"),
        ({"groups": {"a": ["s0", "s0"]}}, ("groups", "a"), "duplicate"),
    ],
)
def test_what_is_no_total_is_refused_with_its_place(
    given: Any, path: tuple[str | int, ...], code: str
) -> None:
    with pytest.raises(TotalError) as caught:
        Total.of(given, 6, COLUMNS)
    assert (caught.value.path, caught.value.code) == (path, code)


def test_a_group_begins_where_its_series_do(paths: Paths) -> None:
    start = paths.forecast.start.copy()
    start[3] += np.timedelta64(2, "D")
    apart = replace(paths, forecast=replace(paths.forecast, start=start))
    total = Total.of({"steps": 2, "groups": {"a": ["s0", "s1"], "b": ["s3"]}}, 6, ())
    found = add_up(apart, total)
    assert found.start.tolist() == start[[0, 3]].tolist()
    assert found.stamps()[:, 0].tolist() == start[[0, 3]].tolist()
