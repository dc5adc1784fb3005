"""Settings with nothing left to the data: of every panel, of bundles made before a setting came."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting import bundle
from forecasting.config import ForecasterConfig
from forecasting.errors import ConfigError
from forecasting.resolved import Resolved, ResolvedModel, ResolvedTraining
from forecasting.settings import Settings
from forecasting.training.defaults import resolve
from tests.forecasting.samples import make_panel, settings

GROUPS: dict[str, type[Settings]] = {"model": ResolvedModel, "training": ResolvedTraining}


def narrowed(kind: type[Settings]) -> list[str]:
    """Settings that may be None where a user asks, and may not once they are resolved."""
    asked = typing.get_type_hints(kind.__mro__[1])
    resolved = typing.get_type_hints(kind)
    return [
        name
        for name in kind.model_fields
        if type(None) in typing.get_args(asked[name])
        and type(None) not in typing.get_args(resolved[name])
    ]


CASES = [(group, name) for group, kind in GROUPS.items() for name in narrowed(kind)]


def test_what_is_chosen_from_the_data_is_narrowed() -> None:
    left = {
        name
        for kind in GROUPS.values()
        for name in kind.model_fields
        if kind.model_fields[name].default is None and name not in narrowed(kind)
    }
    # Off, or left to the machine; and what follows from a network's other widths or the schema.
    assert left == {
        "decoder_size", "encoding", "clip_value", "patience", "graphs", "threads", "at_once",
        "minutes",
    }  # fmt: skip
    assert len(CASES) == 26


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 90), min_size=1, max_size=5),
    horizon=st.integers(1, 12),
    season=st.sampled_from([None, 1, 4, 12]),
    chosen=st.sampled_from([{}, {"head": "negative_binomial"}, {"window": 6}, {"blend": 0.3}]),
    seed=st.integers(0, 99),
)
def test_every_panel_resolves_to_settings_that_stay(
    lengths: list[int], horizon: int, season: int | None, chosen: dict[str, Any], seed: int
) -> None:
    values = {"horizon": horizon, "season": season, "model": chosen}
    panel = make_panel(lengths, seed=seed, missing=0.1)
    found = resolve(ForecasterConfig.parse(values), panel)
    assert isinstance(found, Resolved)
    assert resolve(found, panel) == found
    assert Resolved.plainest(found) == found
    assert Resolved.model_validate_json(found.model_dump_json()) == found
    for name, value in chosen.items():
        assert getattr(found.model, name) == value


def test_what_was_not_there_yet_does_nothing() -> None:
    model = Resolved.plainest(ForecasterConfig(horizon=3)).model
    # A spread of one unit, whatever the level, where a series cannot say its own; no bound at 0;
    # nothing beside the network; y as it is.
    assert model.usual_spread == (0.0, 1.0)
    assert not model.nonnegative
    assert (model.blend, model.pool, model.cycle, model.lags) == (0.0, {}, 0, ())
    assert (model.calendar, model.dropout, model.strides) == (False, 0.0, ())
    assert model.y_transform.forward(np.array([-3.5]))[0] == -3.5
    training = Resolved.plainest(ForecasterConfig(horizon=3)).training
    assert (training.start, training.noise, training.weight_decay) == ("none", 0.0, 0.0)
    assert training.linear_mix == ()


@pytest.mark.parametrize(("group", "name"), CASES)
def test_none_is_refused_once_settings_are_resolved(group: str, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{group}\.{name} = None"):
        settings().replace(**{group: {name: None}})


@pytest.mark.parametrize(("group", "name"), CASES)
def test_a_bundle_from_before_a_setting_is_read_without_it(
    group: str, name: str, tmp_path: Path
) -> None:
    config = settings()
    values = config.model_dump(mode="json")
    for old in (None, "absent"):
        if old is None:
            values[group][name] = None
        else:
            del values[group][name]
        content = {"config": values, "schema": {}, "correction": None, "cells": ["gru"]}
        (tmp_path / "config.json").write_text(json.dumps(content))
        read = bundle.read(tmp_path).config
        assert getattr(getattr(read, group), name) is not None
        others = read.replace(**{group: {name: getattr(getattr(config, group), name)}})
        assert others == config
