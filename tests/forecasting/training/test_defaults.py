"""Rules that choose what a user left open, and nothing that was chosen."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from forecasting.config import ForecasterConfig, LossConfig, ModelConfig, TrainingConfig
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError
from forecasting.training.defaults import resolve, season_of, started
from forecasting.training.members import member_seed


def monthly(count: int = 6, rows: int = 72) -> Panel:
    rng = np.random.default_rng(0)
    steps = np.arange(rows)
    waves = [100 + 20 * np.sin(2 * np.pi * steps / 12 + i) for i in range(count)]
    y = np.concatenate(waves) + rng.normal(size=count * rows)
    sizes = np.full(count, rows)
    start = np.full(count, np.datetime64("2015-01-01", "us"))
    return Panel.from_arrays([f"m{i}" for i in range(count)], y, sizes, start, "MS")


def defaults(kind: type[ModelConfig | TrainingConfig]) -> list[tuple[str, Any]]:
    """Settings whose default is a value."""
    plain = kind().model_dump()
    return [(name, value) for name, value in plain.items() if value is not None]


@pytest.mark.parametrize(("name", "value"), defaults(ModelConfig))
def test_a_setting_of_the_model_given_as_its_default_is_kept(name: str, value: Any) -> None:
    config = ForecasterConfig.parse({"horizon": 3, "model": {name: value}}).replace(horizon=4)
    assert config.model.given == {name}
    panel = monthly()
    resolved = resolve(config, panel)
    assert resolved.model.model_dump()[name] == value
    # The network is set: no start takes its place.
    assert started(config, resolved, panel) is None


@pytest.mark.parametrize(("name", "value"), defaults(TrainingConfig))
def test_a_setting_of_training_given_as_its_default_is_kept(name: str, value: Any) -> None:
    config = ForecasterConfig.parse({"horizon": 3, "training": {name: value}}).replace(horizon=4)
    assert config.training.given == {name}
    resolved = resolve(config, monthly())
    kept = resolved.training.model_dump()[name]
    if name == "loss":
        kept, value = ({k: v or 0.0 for k, v in loss.items()} for loss in (kept, value))
    assert kept == value


def test_an_open_panel_may_begin_from_a_start_and_a_replaced_config_stays_open() -> None:
    open_config = ForecasterConfig.parse({"horizon": 3}).replace(season=12, training={"seed": 4})
    panel = monthly()
    assert started(open_config, resolve(open_config, panel), panel) is not None


@pytest.mark.parametrize("rate", [3e-3, 2.9e-3])
def test_a_learning_rate_that_is_given_is_trained_with_whatever_it_is(rate: float) -> None:
    config = ForecasterConfig.parse(
        {"horizon": 3, "training": {"start": "tuned", "learning_rate": rate}}
    )
    panel = monthly()
    settings = started(config, resolve(config, panel), panel)
    assert settings is not None
    assert settings.training.learning_rate == rate
    left = ForecasterConfig.parse({"horizon": 3, "training": {"start": "tuned"}})
    rule = started(left, resolve(left, panel), panel)
    assert rule is not None
    assert rule.training.learning_rate == 5e-4


@pytest.mark.parametrize("start", ["shipped", "tuned"])
@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("model", "cell", "gru"),
        ("model", "hidden_size", 8),
        ("model", "quantile_levels", (0.1, 0.5, 0.9)),
        ("training", "loss", {"pinball": 0.0, "mae": 1.0}),
        ("training", "loss", {}),
        ("training", "cell_mix", ("lstm",)),
        ("training", "members", 1),
    ],
)
def test_what_a_start_would_overrule_is_refused_by_name(
    start: str, section: str, name: str, value: Any
) -> None:
    values: dict[str, Any] = {"horizon": 3, "training": {"start": start}}
    values.setdefault(section, {})[name] = value
    config = ForecasterConfig.parse(values)
    panel = monthly()
    with pytest.raises(ConfigError, match=rf"start = {start}: {section}\.{name} = .*start's"):
        started(config, resolve(config, panel), panel)


@pytest.mark.parametrize("start", ["shipped", "tuned"])
def test_what_a_start_keeps_may_be_given_and_a_started_config_starts_again(start: str) -> None:
    beside = {"batch_size": 7, "members": 3, "patience": 2, "ema": 0.5, "validation": "holdout"}
    config = ForecasterConfig.parse(
        {
            "horizon": 3,
            "model": {"blend": 0.25, "segment": 3, "transform": "log"},
            "training": {"start": start, **beside},
        }
    )
    panel = monthly()
    settings = started(config, resolve(config, panel), panel)
    assert settings is not None
    kept = settings.training.model_dump()
    assert {name: kept[name] for name in beside} == beside
    assert settings.model.blend == 0.25
    assert started(settings, resolve(settings, panel), panel) == settings


def test_a_loss_that_is_given_gets_no_further_terms() -> None:
    given = {"horizon": 3, "training": {"loss": LossConfig().model_dump()}}
    chosen = resolve(ForecasterConfig.parse(given), monthly()).training.loss
    assert (chosen.mae, chosen.smape, chosen.mse) == (0.0, 0.0, 0.0)
    left = resolve(ForecasterConfig.parse({"horizon": 3}), monthly()).training.loss
    assert left.mae == 0.5


def test_plain_steps_take_the_season_of_their_values(caplog: pytest.LogCaptureFixture) -> None:
    months = monthly()
    steps = Panel.from_arrays(
        list(months.ids), months.y, months.lengths, np.zeros(len(months), np.int64), "step"
    )
    config = ForecasterConfig.parse({"horizon": 3})
    with caplog.at_level(logging.INFO):
        assert season_of(steps, config) == 12
    assert "season 12, found in 6 of 6 series" in caplog.text
    assert resolve(config, steps).season == 12
    # The season that a user says goes before it, and stamps that say one.
    assert season_of(steps, config.replace(season=4)) == 4
    assert season_of(months, config) == 12
    walk = np.cumsum(np.random.default_rng(2).normal(size=90))
    restless = Panel.from_arrays(["w"], walk, np.array([90]), np.zeros(1, np.int64), "step")
    assert season_of(restless, config) == 1


def test_stamps_that_say_no_season_leave_it_to_the_values(caplog: pytest.LogCaptureFixture) -> None:
    months, day = monthly(), np.datetime64("2020-01-01", "us")
    start = np.repeat(day, len(months))
    every_third = Panel.from_arrays(list(months.ids), months.y, months.lengths, start, "3D")
    config = ForecasterConfig.parse({"horizon": 3})
    assert season_of(every_third, config) == 12
    # Where stamps say one, what is found is said beside it.
    with caplog.at_level(logging.INFO):
        assert season_of(months, config) == 12
    assert "stamps say season 12; season 12, found in 6 of 6 series" in caplog.text


def test_members_of_any_two_seeds_differ() -> None:
    seeds = [member_seed(seed, member) for seed in range(40) for member in range(20)]
    assert len(set(seeds)) == len(seeds)
    assert [member_seed(seed, 0) for seed in range(5)] == list(range(5))
    assert max(seeds) < 2**32
