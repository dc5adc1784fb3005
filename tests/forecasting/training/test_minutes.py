"""A training that has so much time plans no more steps than fit, and none beyond the rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forecasting.config import ForecasterConfig
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.resolved import Resolved
from forecasting.training import fit as fitting
from forecasting.training import minutes
from forecasting.training.members import at_once
from forecasting.training.minutes import LEAST_STEPS, seconds_per_step, within_minutes
from tests.forecasting.samples import MIXES, make_panel, settings

CPU = torch.device("cpu")
PANEL = make_panel([40, 30])


def planned(second: float, **training: Any) -> Resolved:
    """Settings of a training on a machine that takes so many seconds for a step."""
    return within_minutes(PANEL, settings(training=training), CPU, lambda *_: second)


@given(
    st.floats(1e-4, 10.0),
    st.floats(0.01, 1e3),
    st.integers(1, 5),
    st.sampled_from(["refit", "holdout", "none"]),
    st.sampled_from([1, 2]),
)
def test_what_is_planned_fits_or_is_the_least(
    second: float, minutes: float, members: int, validation: str, together: int
) -> None:
    rule = 400
    options = {"members": members, "validation": validation, "at_once": together, "max_steps": rule}
    config = planned(second, minutes=minutes, **options)
    steps = config.training.max_steps
    assert LEAST_STEPS <= steps <= rule
    # One after another each would take its own time; at once they share the cores.
    trainings = members * (2 if validation == "refit" else 1)
    if steps > LEAST_STEPS:
        assert steps * trainings * second <= 60.0 * minutes * (1 + 1e-9)
    if steps < rule:
        rounds = -(-members // min(at_once(config, CPU), members)) * together
        longer = (steps + 1) * max(rounds, members) * (2 if validation == "refit" else 1)
        assert longer * second > 60.0 * minutes * (1 - 1e-9)


def test_without_a_bound_nothing_is_tried() -> None:
    def never(*_: Any) -> float:
        raise AssertionError

    config = settings()
    assert within_minutes(PANEL, config, CPU, never) is config


@pytest.mark.parametrize("schema", ["none", "all"])
def test_the_pace_is_learned_without_a_trace(schema: str) -> None:
    panel = make_panel([40, 30], schema=MIXES["all"]) if schema == "all" else PANEL
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert seconds_per_step(panel, settings(model={"dropout": 0.2}), CPU) > 0.0
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.slow
def test_a_bound_is_kept_in_the_settings_and_trains_what_so_many_steps_train(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def train(**training: Any) -> Forecaster:
        model = {"hidden_size": 6, "layers": 1}
        values = {"horizon": 3, "model": model, "training": {"start": "none", **training}}
        return Forecaster.train(PANEL, ForecasterConfig.parse(values), device="cpu")

    monkeypatch.setattr(fitting, "within_minutes", lambda p, c, d: minutes.within_minutes(
        p, c, d, lambda *_: 0.01))  # fmt: skip
    bounded = train(minutes=0.02)
    steps = bounded.config.training.max_steps
    assert steps == 60
    plain = train(max_steps=steps)
    for one, other in zip(bounded.networks, plain.networks, strict=True):
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_two_lengths_at_once_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"training\.minutes: training\.max_steps says already"):
        Forecaster.train(PANEL, settings(training={"minutes": 1, "max_steps": 5}))
