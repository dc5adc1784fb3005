"""Keys by their paths: all of them are there, and a misspelt or misplaced one is recognised."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config import ExperimentConfig, build_config
from pipelines.config.keys import meant, paths

PATHS = list(paths(ExperimentConfig))


def test_paths_are_those_that_a_config_may_set() -> None:
    assert len(PATHS) == len(set(PATHS)) > 150
    assert {"horizon", "model.hidden_size", "data.stamps.zone", "gate.max_bias"} <= set(PATHS)
    assert "candidates" in PATHS
    # What stands in a list or under a free name has no one path.
    assert not [path for path in PATHS if path.startswith(("candidates.", "data.covariates."))]


@given(st.sampled_from(PATHS))
def test_a_key_at_the_wrong_place_is_found_by_its_name(path: str) -> None:
    last = path.rpartition(".")[2]
    found = meant(last, ExperimentConfig, [])
    assert found is not None
    assert found.rpartition(".")[2] == last


def test_what_is_allowed_there_goes_first() -> None:
    assert meant("horizn", ExperimentConfig, ["horizon", "history"]) == "horizon"
    assert meant("nothing_alike", ExperimentConfig, ["horizon"]) is None


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ({"hidden_size": 3}, "did you mean 'model.hidden_size'?"),
        ({"max_stepz": 3}, "did you mean 'training.max_steps'?"),
        ({"horizont": 3}, "did you mean 'horizon'?"),
    ],
)
def test_the_error_says_what_is_meant(values: dict[str, int], hint: str) -> None:
    given = {"name": "x", "data": {"source": "x.csv"}, "horizon": 6, **values}
    with pytest.raises(Exception, match="unknown key") as error:
        build_config(given)
    assert hint in str(error.value)
