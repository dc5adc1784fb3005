"""Any horizon from patches: the steps in order, none fed back, and upside down is downside up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.arrays import Array
from forecasting.zero.arithmetic import Network
from forecasting.zero.constants import LEVELS, STEPS
from forecasting.zero.decoding import Way, decode, decode_each
from forecasting.zero.network import Shape, ZeroNetwork
from forecasting.zero.patches import WIDTH, Patches, patch_length


class Clock:
    """Says of each step how far it lies beyond the last patch in which anything was seen."""

    def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
        count, total = patches.x.shape[:2]
        length = round(float(patches.place[0, 0, 0]) * WIDTH)
        slots = np.arange(STEPS)
        inside = slots // WIDTH * length + slots % WIDTH
        empty = total - 1 - np.flatnonzero(patches.seen[0].any(axis=-1)).max(initial=0)
        begin = (np.arange(last) - (last - 1) + empty) * length
        steps = np.where(slots % WIDTH < length, begin[:, None] + inside, np.nan)
        said = np.broadcast_to(steps[None, :, :, None], (count, last, STEPS, len(LEVELS)))
        level = np.zeros((count, last))
        return (said - patches.centre[:, None, None, None]) / patches.unit[
            :, None, None, None
        ], level, np.ones((count, last))  # fmt: skip


@pytest.mark.parametrize("season", [1, 7, 24, 52, 168])
@pytest.mark.parametrize("horizon", [1, 31, 64, 65, 200])
def test_steps_come_in_order_and_none_is_left_out(season: int, horizon: int) -> None:
    y = np.random.default_rng(0).standard_normal((3, 5 * patch_length(season)))
    found = decode(Clock(), y, Way(season), horizon, flip=False)
    assert found.shape == (3, horizon, len(LEVELS))
    np.testing.assert_allclose(found[..., 0], np.tile(np.arange(horizon), (3, 1)), atol=1e-4)


def test_each_series_is_forecast_alone_whatever_stands_beside_it() -> None:
    draw = np.random.default_rng(0)

    class Mean:
        def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
            told = patches.x.sum(axis=(1, 2)) / patches.seen.sum(axis=(1, 2))
            said = np.broadcast_to(told[:, None, None, None], (len(told), last, STEPS, len(LEVELS)))
            return said, np.zeros((len(told), last)), np.ones((len(told), last))

    y = np.full((600, 90), np.nan)
    for i, row in enumerate(y):
        row[90 - draw.integers(1, 90) :] = i
    found = decode(Mean(), y, Way(), 3)
    np.testing.assert_allclose(found[:, 0, 0], np.arange(600), atol=1e-3)


@settings(deadline=None, max_examples=20)
@given(
    rows=st.integers(1, 400),
    horizon=st.integers(1, 150),
    count=st.sampled_from([1, 3, 90]),
    seed=st.integers(0, 9),
)
def test_several_ways_at_once_are_each_by_itself(
    rows: int, horizon: int, count: int, seed: int
) -> None:
    draw = np.random.default_rng(seed)
    y = np.exp(0.1 * draw.standard_normal((count, rows)).cumsum(axis=1))
    y[:, : rows // 2][draw.random((count, rows // 2)) < 0.3] = np.nan
    ways = [Way(24, 168), Way(24), Way(168), Way(12), Way(), Way(12, logs=True)]
    torch.manual_seed(0)
    made = ZeroNetwork(Shape(hidden=8, layers=2))
    network = Network({k: v.numpy() for k, v in made.state_dict().items()})
    for way, found in zip(ways, decode_each(network, y, ways, horizon), strict=True):
        np.testing.assert_allclose(found, decode(network, y, way, horizon), rtol=1e-4, atol=1e-4)


def test_logs_are_taken_and_given_back() -> None:
    y = np.exp(np.random.default_rng(0).standard_normal((2, 64)))

    class Last:
        def __call__(self, patches: Patches, last: int) -> tuple[Array, Array, Array]:
            said = np.broadcast_to(
                patches.x[:, -1, -1][:, None, None, None],
                (len(patches.x), last, STEPS, len(LEVELS)),
            )
            return said, np.zeros((len(y), last)), np.ones((len(y), last))

    found = decode(Last(), y, Way(logs=True), 2)
    np.testing.assert_allclose(found[:, 0, 0], y[:, -1], rtol=1e-5)
