from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasting.data.panel import Panel
from forecasting.evaluation.baselines import seasonal_naive
from forecasting.forecaster import Forecaster
from pipelines.benchmark import peers, strangers
from pipelines.benchmark.scores import LEVELS, score_task, summary
from pipelines.benchmark.strangers import MEAN, Peers, drawn, measured, stranger
from pipelines.data.datasets import Task
from tests.pipelines.benchmark.test_benchmark import make_task

FAST = {
    "model": {"hidden_size": 4, "layers": 1, "blend": 0.5},
    "training": {"max_steps": 2, "epoch_steps": 2, "threads": 1},
}


@pytest.fixture(autouse=True)
def kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows and peers of a test are kept in its own folder; the peers are quick ones."""
    monkeypatch.setattr(strangers, "ROWS", tmp_path / "rows")
    monkeypatch.setattr(strangers, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(strangers, "load", lambda name: [make_task(metric="mase", future=True)])

    def twice(task: Task, peer: str) -> Any:
        times = {peers.AUTO_ETS: 1.0, peers.AUTO_THETA: 3.0}.get(peer, 1.5)

        def predict(panel: Panel) -> Any:
            told = seasonal_naive(panel, task.horizon, season=12, levels=LEVELS)
            return replace(told, mean=times * told.mean, quantiles=times * told.quantiles)

        return predict

    monkeypatch.setattr(peers, "predictor", twice)


def test_a_stranger_says_nothing_but_values() -> None:
    task = make_task(metric="mase", future=True, origins=3)
    asked = stranger(task)
    assert asked.full.freq.seasons == ()
    assert asked.full.freq.alias == "step"
    assert asked.full.schema.covariates == ()
    np.testing.assert_array_equal(asked.full.y, task.full.y)
    assert asked.origins.tolist() == [18]
    assert asked.train.rows == task.full.rows - 6 * 18
    # Inside the history nothing of the test part is left at all.
    within = stranger(task, within=True)
    assert within.full.rows == task.full.rows - 6 * 18
    assert within.origins.tolist() == task.origins[:1].tolist()


def test_draws_are_the_same_again_and_differ_from_each_other() -> None:
    task = make_task(count=40)
    first = drawn(task, 10, 0)
    np.testing.assert_array_equal(first, drawn(task, 10, 0))
    assert first.tolist() != drawn(task, 10, 1).tolist()
    assert len(set(first)) == 10
    assert (np.diff(first) > 0).all()


def test_peers_are_made_once_for_a_series_whatever_draw_it_is_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    task = stranger(make_task(metric="mase"))
    asked: list[int] = []
    predictor = peers.predictor

    def counted(part: Task, peer: str) -> Any:
        asked.append(len(part.full))
        return predictor(part, peer)

    monkeypatch.setattr(peers, "predictor", counted)
    few = Peers(task).points(peers.SEASONAL_NAIVE, np.array([1, 4]))
    more = Peers(task).points(peers.SEASONAL_NAIVE, np.array([0, 1, 4]))
    np.testing.assert_array_equal(few, more[1:])
    assert asked == [2, 1]
    alone = predictor(task, peers.SEASONAL_NAIVE)(task.history)
    np.testing.assert_allclose(more, alone.quantiles[[0, 1, 4]][..., LEVELS.index(0.5)])
    # The mean of both stands between them.
    both = [Peers(task).points(p, np.array([2])) for p in (peers.AUTO_ETS, peers.AUTO_THETA)]
    np.testing.assert_allclose(Peers(task).points(MEAN, np.array([2])), (both[0] + both[1]) / 2)


def test_a_row_scores_what_a_forecaster_makes_of_the_subset_and_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = list(measured(["made"], {2: 2, 99: 3}, settings=FAST))
    assert [(r.size, r.draw) for r in rows] == [(2, 0), (2, 1)]
    task = stranger(make_task(metric="mase", future=True))
    part = replace(task, full=task.full.select(drawn(task, 2, 0)))
    naive = peers.predictor(part, peers.AUTO_ETS)
    expected = summary(score_task(part, naive))["mase"]
    assert rows[0].peers[peers.AUTO_ETS] == pytest.approx(expected)
    assert 0.0 <= rows[0].coverage <= 1.0
    assert rows[0].mase > 0.0
    assert rows[0].chosen["blend"] == 0.5

    # A run that goes on trains nothing again.
    monkeypatch.setattr(Forecaster, "train", None)
    assert list(measured(["made"], {2: 2}, settings=FAST)) == rows


def test_whole_sets_and_the_ends_of_histories_are_other_rows() -> None:
    (row,) = measured(["made"], {strangers.WHOLE: 1}, settings=FAST)
    (within,) = measured(["made"], {strangers.WHOLE: 1}, settings=FAST, within=True)
    assert row.size == within.size == strangers.WHOLE
    assert row.peers != within.peers
    assert len(list(strangers.ROWS.glob("*.json"))) == 2
