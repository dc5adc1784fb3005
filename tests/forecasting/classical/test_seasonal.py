from __future__ import annotations

import numpy as np
import pytest

from forecasting.classical.block import Block
from forecasting.classical.seasonal import adjusted, seasonal_pattern
from tests.forecasting.classical.samples import restless


def plain_pattern(y: np.ndarray, season: int) -> np.ndarray:
    """One series without holes: means of what is left of a centred moving average, shrunk."""
    half, rests = season // 2, [[] for _ in range(season)]
    for t in range(half, len(y) - half):
        span = y[t - half : t + half + 1].copy()
        if season % 2 == 0:
            span[[0, -1]] /= 2.0
        rests[t % season].append(y[t] - span.sum() / season)
    pattern = np.array([np.mean(rest) for rest in rests])
    noise = sum(float(((np.array(r) - np.mean(r)) ** 2).sum()) for r in rests)
    free = max(sum(map(len, rests)) - season, 1)
    cycles = np.mean([len(rest) for rest in rests])
    pattern -= pattern.mean()
    power = (pattern**2).sum() / max(season - 1, 1)
    return np.clip(1.0 - noise / free / cycles / power, 0.0, 1.0) * pattern


@pytest.mark.parametrize("season", [3, 4, 12])
def test_the_pattern_equals_a_plain_loop(season: int) -> None:
    y, _ = restless([5 * season + 1] * 6, season)
    rows = y.reshape(6, -1)
    found = seasonal_pattern(rows, np.ones(rows.shape, np.bool_), season)
    np.testing.assert_allclose(found, [plain_pattern(row, season) for row in rows], atol=1e-9)
    assert np.ptp(found, axis=1).max() > 0.0


@pytest.mark.parametrize("ratios", [True, False])
def test_what_is_taken_out_comes_back(ratios: bool) -> None:
    """Of positive series and of others, of several lengths, some too short for a season."""
    y, offsets = restless([40, 33, 21, 5, 1, 37], 4)
    y[offsets[1] : offsets[2]] -= y[offsets[1] : offsets[2]].mean()
    block = Block.of(y, offsets, 4)
    whole = adjusted(block, 4, ratios=ratios)
    assert whole.ratios.any() == ratios
    ahead = np.arange(8)[:, None] + block.lengths
    index = np.take_along_axis(whole.index, ahead % 4, axis=0)
    flat = np.ones((8, len(block.lengths)))
    np.testing.assert_allclose(whole.again(flat), np.where(whole.ratios, index, 1.0 + index))
    here = whole.index[np.arange(len(block.y)) % 4]
    back = np.where(whole.ratios, whole.block.y * here, whole.block.y + here)
    np.testing.assert_allclose(np.where(block.seen, back, 0.0), block.y, atol=1e-12)


def test_a_season_that_grows_with_its_level_leaves_a_line() -> None:
    steps = np.arange(48)
    y = (100.0 + 2.0 * steps) * np.exp(0.3 * np.sin(2 * np.pi * steps / 12))
    left = adjusted(Block.of(y, np.array([0, 48]), 12), 12).block
    line = left.y[:, 0] * left.unit[0]
    assert np.abs(np.diff(line, 2)).max() < 0.05 * np.abs(np.diff(y, 2)).max()
