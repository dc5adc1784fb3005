"""A loss that is no number ends training well, and how long one takes is told ahead, once."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import forecasting.training.module
from forecasting.config import ForecasterConfig
from forecasting.forecaster import Forecaster
from forecasting.training import pace
from forecasting.training.epochs import LossError
from forecasting.training.fit import fit
from forecasting.training.pace import WORTH_TELLING, Expected
from tests.forecasting.samples import make_panel, settings

SMALL = {
    "horizon": 2,
    "model": {"layers": 1, "hidden_size": 4, "pool": {}, "blend": 0.0},
    "training": {"max_steps": 16, "epoch_steps": 8, "members": 2, "start": "none"},
}


def test_a_loss_that_is_no_number_names_its_series_and_keeps_the_weights_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, calls = forecasting.training.module.training_loss, itertools.count()

    def spoiled(output: Any, batch: dict[str, Tensor], config: Any) -> Tensor:
        loss = honest(output, batch, config)
        bad = bool((batch["series"] == 1).any()) and next(calls) >= 6
        return loss * torch.nan if bad else loss

    monkeypatch.setattr(forecasting.training.module, "training_loss", spoiled)
    every_step = pl.callbacks.ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=1)
    config = settings(training={"max_steps": 40, "epoch_steps": 20, "batch_size": 8})
    match = r"not a number at step \d+, in the batch of series 's1'"
    with pytest.raises(LossError, match=match) as caught:
        Forecaster.train(make_panel([40, 30, 35]), config, device="cpu", callbacks=[every_step])
    assert caught.value.series == ["s1"]
    assert 1 <= caught.value.step <= 20
    assert all(torch.isfinite(v).all() for v in caught.value.state.values())
    assert Path(every_step.best_model_path).is_file()


def test_weights_stay_as_they_were_before_a_loss_that_is_no_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest, calls = forecasting.training.module.training_loss, itertools.count()
    seen: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
            seen.append(
                torch.cat([p.detach().ravel().clone() for p in module.network.parameters()])
            )

    def spoiled(output: Any, batch: dict[str, Tensor], config: Any) -> Tensor:
        return honest(output, batch, config) * (torch.nan if next(calls) == 4 else 1.0)

    monkeypatch.setattr(forecasting.training.module, "training_loss", spoiled)
    config = settings(training={"max_steps": 8, "epoch_steps": 8})
    with pytest.raises(LossError, match="step 5,"):
        Forecaster.train(make_panel([40, 30]), config, device="cpu", callbacks=[Watch()])
    assert not torch.equal(seen[2], seen[3])
    for later in seen[4:]:
        assert torch.equal(later, seen[3])


class Ticking:
    """A clock that goes on by so many seconds at each look."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 0.0, seconds

    def __call__(self) -> float:
        self.now += self.seconds
        return self.now


@given(st.floats(0.01, 40.0), st.integers(1, 5), st.integers(4, 2_000), st.integers(0, 3))
def test_a_steady_pace_is_told_to_the_second(
    each: float, rounds: int, total: int, begun: int
) -> None:
    ahead = Expected(rounds, Ticking(each))
    told = [ahead.step(0, begun + k, total) for k in range(1, total - begun + 1)]
    heard = [seconds for seconds in told if seconds is not None]
    left = each * (total * rounds - begun - 1)
    long_enough = total - begun > 5 and each * (total - begun - 1) >= 2.2
    assert len(heard) <= 1
    if heard:
        assert heard[0] == pytest.approx(left)
        assert heard[0] >= WORTH_TELLING * 0.999
    elif long_enough:
        assert left <= WORTH_TELLING * 1.001


def test_of_members_at_the_same_time_all_are_watched() -> None:
    ahead = Expected(2, Ticking(1.0))
    told = [ahead.step(member, done, 100) for done in range(1, 12) for member in (1, 0)]
    heard = [seconds for seconds in told if seconds is not None]
    # Each step is a look at the clock, and the first of all is not counted.
    assert heard == [pytest.approx(2.0 * 100 - 1.0)]


def test_short_members_add_up_and_those_that_a_checkpoint_has_do_not_count() -> None:
    """Ten members of a second and a half each, one after the other, three of them finished."""
    ahead = Expected(10, Ticking(0.1))
    for _ in range(3):
        ahead.finished()
    told = [ahead.step(member, done, 15) for member in range(7) for done in range(1, 16)]
    (heard,) = [seconds for seconds in told if seconds is not None]
    assert heard == pytest.approx(0.1 * 15 * 7, rel=0.1)


class Follower:
    """Hears rows, and what is expected."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.heard: list[tuple[int, float]] = []

    def __call__(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def expect(self, seconds: float) -> None:
        self.heard.append((len(self.rows), seconds))


@pytest.mark.parametrize("validation", ["refit", "none"])
def test_a_training_tells_it_before_its_first_epoch_ends_and_once(
    monkeypatch: pytest.MonkeyPatch, validation: str
) -> None:
    for name, value in (("LEAST_SECONDS", 0.0), ("WORTH_TELLING", 0.0)):
        monkeypatch.setattr(pace, name, value)
    config = ForecasterConfig.parse(
        {**SMALL, "training": {**SMALL["training"], "validation": validation, "at_once": 1}}
    )
    follower, rows = Follower(), []
    trained = fit(make_panel([40, 44, 48]), config, on_epoch=follower, device="cpu")
    (place, seconds), *more = follower.heard
    assert (place, more) == (0, [])
    assert seconds > 0.0
    assert follower.rows == trained.history
    # Who takes rows alone is told of rows alone.
    again = fit(make_panel([40, 44, 48]), config, on_epoch=rows.append, device="cpu")
    assert rows == again.history


def test_short_trainings_say_nothing() -> None:
    follower = Follower()
    config = ForecasterConfig.parse(SMALL)
    fit(make_panel([40, 44, 48]), config, on_epoch=follower, device="cpu")
    assert (bool(follower.rows), follower.heard) == (True, [])
