"""Settings: immutable, checked where they are made, wrong ones named by their key path."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from forecasting.config import ForecasterConfig, ModelConfig
from forecasting.errors import ConfigError
from forecasting.schema import Covariate, Schema


def test_the_smallest_configuration_is_a_horizon() -> None:
    config = ForecasterConfig.parse({"horizon": 12})
    assert config.model.cell in ("gru", "lstm")
    assert config.training.origins == "all"
    assert ForecasterConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "horizon"),
        ({"horizon": 0}, "horizon = 0: .*greater than or equal to 1"),
        ({"horizon": 3, "modle": {}}, "modle: unknown key; allowed here: ahead, calendar, calib"),
        ({"horizon": 3, "model": {"hiden_size": 4}}, r"model\.hiden_size: unknown.*hidden_size"),
        ({"horizon": 3, "model": {"cell": "tcn"}}, r"model\.cell = 'tcn': .*'lstm', 'gru'"),
        ({"horizon": 3, "training": {"loss": {"mea": 1}}}, r"training\.loss\.mea: unknown key"),
        ({"horizon": 3, "training": {"learning_rate": -1}}, r"training\.learning_rate = -1"),
        ({"horizon": 3, "training": {"learning_rate": float("nan")}}, r"training\.learning_rate"),
        ({"horizon": 3, "model": {"dropout": 1.0}}, r"model\.dropout = 1\.0"),
        ({"horizon": 3, "model": {"quantile_levels": [0.1, 0.9]}}, "odd number"),
        ({"horizon": 3, "model": {"quantile_levels": [0.5]}}, "three levels or more"),
        ({"horizon": 3, "model": {"quantile_levels": [0.9, 0.5, 0.1]}}, "must rise"),
        ({"horizon": 3, "model": {"quantile_levels": [0.1, 0.4, 0.9]}}, "middle level"),
        ({"horizon": 3, "model": {"quantile_levels": [0.0, 0.5, 0.9]}}, r"quantile_levels\.0"),
        ({"horizon": 3, "model": {"window": 2, "segment": 4}}, "at least model.segment = 4"),
        ({"horizon": 3, "model": {"decoder": "recursive", "segment": 2}}, "segment = 1, not 2"),
        ({"horizon": 3, "model": {"decoder": "recursive", "head": "point"}}, "not point"),
        ({"horizon": 3, "model": {"decoder": "recursive", "head": "negative_binomial"}},
         "not negative_binomial"),
        ({"horizon": 3, "model": {"decoder": "recursive"}, "training": {"origins": "last"}},
         "training.origins = all"),
        ({"horizon": 3, "model": {"head": "negative_binomial", "transform": "log"}},
         "transform = identity, not log"),
        ({"horizon": 3, "model": {"bidirectional": True}}, "training.origins = last"),
        ({"horizon": 3, "model": {"bidirectional": True},
          "training": {"origins": "last", "graphs": True}}, "training.graphs"),
        ({"horizon": 3, "model": {"bidirectional": True, "hidden_size": 5}}, "must be even"),
        ({"horizon": 3, "model": {"bidirectional": True, "cell": "layer_norm_lstm"}},
         "one direction only"),
        ({"horizon": "many", "model": {"cell": 3}}, r"horizon = 'many'.*; model\.cell = 3"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named_by_its_path(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        ForecasterConfig.parse(values)
    assert "\n" not in str(caught.value)


def test_settings_cannot_be_changed_in_place() -> None:
    config = ForecasterConfig(horizon=3)
    with pytest.raises(ValidationError):
        config.horizon = 4  # type: ignore[misc]
    with pytest.raises(ValidationError):
        config.model.layers = 4  # type: ignore[misc]


def test_replacing_is_checked_and_leaves_the_rest() -> None:
    config = ForecasterConfig.parse({"horizon": 3, "model": {"layers": 3}})
    other = config.replace(horizon=4, model={"hidden_size": 8})
    assert (other.horizon, other.model.hidden_size, other.model.layers) == (4, 8, 3)
    assert config.model.hidden_size == 64
    with pytest.raises(ConfigError, match=r"model\.layers = 0"):
        config.replace(model={"layers": 0})


def test_a_schema_lists_its_columns_by_role() -> None:
    schema = Schema(
        covariates=(
            Covariate(name="a", role="past"),
            Covariate(name="b", role="static"),
            Covariate(name="c", role="past", type="categorical", categories=("x",)),
        )
    )
    assert [c.name for c in schema.past] == ["a", "c"]
    assert [c.name for c in schema.static] == ["b"]
    assert schema.future == ()
    with pytest.raises(ConfigError, match="role = 'later'"):
        Covariate.parse({"name": "a", "role": "later"})


def test_every_setting_says_its_limits_in_its_schema() -> None:
    properties = ModelConfig.model_json_schema()["properties"]
    assert {"exclusiveMaximum": 1.0, "minimum": 0.0, "type": "number"} in (
        properties["dropout"]["anyOf"]
    )
    assert properties["hidden_size"]["minimum"] == 1
