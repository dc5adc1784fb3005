"""Training of `gatecast-zero` goes on exactly where it was broken off, on the very same batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import zero_series
from benchmarks.pretrain_zero import (
    LEAST_WEIGHED,
    Recipe,
    Training,
    batches,
    checkpoints,
    ending,
    loss,
    train,
)
from benchmarks.zero_corpus import INPUTS, Corpus, Plan
from forecasting.errors import DataError
from forecasting.zero.network import LEVELS, Shape, ZeroNetwork

PLAN = Plan(sets=(), patches=64)
RECIPE = Recipe(shape=Shape(hidden=8, layers=2), plan=PLAN, steps=12)


def trained(folder: Path, *stops: int) -> Training:
    """Trained to the last of ``stops``, loaded anew at each of the others."""
    training = Training(RECIPE)
    for stop in stops:
        train(training, Corpus(PLAN), folder, until=stop, say=lambda line: None)
        training = Training.load(checkpoints(folder)[-1])
    return training


@settings(max_examples=6, deadline=None)
@given(broken=st.sets(st.integers(1, 8), max_size=3))
def test_training_in_pieces_is_training_at_once(
    broken: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = trained(tmp_path_factory.mktemp("whole"), 9)
    parts = trained(tmp_path_factory.mktemp("parts"), *sorted(broken), 9)
    assert whole.step == parts.step == 9
    assert whole.points == parts.points
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[key]), key
        assert torch.equal(whole.mean[key], parts.mean[key]), key


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path: Path) -> None:
    trained(tmp_path, 2)
    (tmp_path / ".part-1").mkdir()
    (tmp_path / "step-00000003").mkdir()
    (found,) = checkpoints(tmp_path)
    assert Training.load(found).step == 2


def test_only_the_newest_checkpoints_stay_and_none_holds_pickle(tmp_path: Path) -> None:
    trained(tmp_path, 1, 2, 3)
    assert [p.name for p in checkpoints(tmp_path)] == ["step-00000002", "step-00000003"]
    assert {p.suffix for p in tmp_path.rglob("*") if p.is_file()} == {".safetensors", ".json"}


def test_batches_of_other_processes_are_those_of_this_one() -> None:
    corpus = Corpus(PLAN)
    own, others = (list(batches(corpus, 3, 7, workers)) for workers in (0, 2))
    for one, other in zip(own, others, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) for k in one)


def test_the_rate_rises_stays_and_falls() -> None:
    recipe = Recipe(steps=100)
    rates = [recipe.rate_at(step) for step in range(1, 101)]
    assert rates[:5] == sorted(rates[:5])
    assert set(rates[5:64]) == {recipe.rate}
    assert rates[64:] == sorted(rates[64:], reverse=True)
    assert rates[-1] == 0.0


def test_an_end_may_be_moved_while_the_rate_is_flat() -> None:
    training = Training(replace(RECIPE, steps=100))
    training.step = 40
    assert ending(training, 100) == training.recipe
    moved = ending(training, 62)
    assert moved.rate_at(40) == moved.rate
    assert moved.rate_at(62) == 0.0
    assert moved.warm * 62 == pytest.approx(5.0)
    for step, steps in ((40, 50), (80, 200), (2, 200)):
        training.step = step
        with pytest.raises(DataError, match="cannot be the end"):
            ending(training, steps)


def test_the_loss_is_the_quantile_loss() -> None:
    torch.manual_seed(0)
    network = ZeroNetwork(Shape(hidden=8, layers=1))
    batch = {k: torch.from_numpy(v) for k, v in Corpus(PLAN)[1].items()}
    names = INPUTS
    with torch.no_grad():
        said, level, spread, unit = network(*(batch[k] for k in names))
        found = float(loss(network, batch))
    counted = batch["seen"].sum(-1).cumsum(1)
    total, count = 0.0, 0
    for i, t, k in np.argwhere(batch["y_seen"].numpy() > 0):
        if counted[i, t] < 5 or spread[i, t] <= 2e-4:
            continue
        y = float(torch.clamp((batch["y"][i, t, k] - level[i, t]) / spread[i, t], -10, 10))
        errors = y - said[i, t, k].double().numpy()
        levels = np.array(LEVELS)
        each = float(np.maximum(levels * errors, (levels - 1) * errors).mean())
        total += each / max(float(unit[i, t]), LEAST_WEIGHED)
        count += 1
    assert count
    assert found == pytest.approx(total / count, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 10_000))
def test_every_batch_is_finite_and_shows_and_asks_something(number: int) -> None:
    with np.errstate(all="raise", under="ignore"):
        batch = Corpus(PLAN)[number]
    assert all(np.isfinite(v).all() for v in batch.values())
    assert batch["x"].shape[0] * batch["x"].shape[1] == 64
    assert set(np.unique(batch["seen"])) | set(np.unique(batch["y_seen"])) <= {0.0, 1.0}
    assert not batch["x"][batch["seen"] == 0].any()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(128, 600))
def test_made_series_are_finite(seed: int, rows: int) -> None:
    draw = np.random.default_rng(seed)
    season = zero_series.seasons(draw, 12, rows)
    assert (2 * season <= rows).all()
    y = zero_series.series(draw, season, rows)
    assert y.shape == (12, rows)
    assert np.isfinite(y).all()
