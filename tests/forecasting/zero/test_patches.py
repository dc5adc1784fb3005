"""Any series as patches: nothing moved, nothing seen that is not there, lags as loops find them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.arrays import Array
from forecasting.zero.patches import AHEAD, WIDTH, cut, patch_length, read

SEASONS = st.sampled_from([1, 2, 4, 7, 12, 24, 48, 52, 53, 60, 96, 168, 365])


@pytest.mark.parametrize(
    ("season", "length"),
    [(1, 32), (4, 32), (7, 28), (12, 24), (24, 24), (48, 24), (52, 26), (96, 32), (168, 28),
     (336, 28), (365, 32)],
)  # fmt: skip
def test_patches_are_whole_seasons_or_seasons_whole_patches(season: int, length: int) -> None:
    assert patch_length(season) == length


@given(season=st.integers(1, 400))
def test_no_patch_is_longer_than_its_slots_or_wastes_half_of_them(season: int) -> None:
    assert WIDTH // 2 <= patch_length(season) <= WIDTH


@settings(deadline=None)
@given(season=SEASONS, rows=st.integers(1, 300), patches=st.integers(1, 6), seed=st.integers(0, 99))
def test_the_newest_rows_are_kept_in_order(season: int, rows: int, patches: int, seed: int) -> None:
    y = _holed(seed, rows)
    made = cut(y, season, patches)
    length = patch_length(season)
    back = made.centre[:, None, None] + made.unit[:, None, None] * made.x[..., :length]
    back[made.seen[..., :length] == 0] = np.nan
    kept = min(rows, patches * length)
    expected = np.full((len(y), patches * length), np.nan)
    expected[:, patches * length - kept :] = y[:, rows - kept :]
    np.testing.assert_allclose(back.reshape(len(y), -1), expected, rtol=1e-4, atol=1e-4)
    assert not made.seen[..., length:].any()


@settings(deadline=None, max_examples=25)
@given(season=SEASONS, patches=st.integers(1, 8), seed=st.integers(0, 99))
def test_lags_are_the_newest_values_at_the_same_place_of_the_season(
    season: int, patches: int, seed: int
) -> None:
    length = patch_length(season)
    points = _holed(seed, patches * length)
    seasons = np.array([[season, 1], [season, 168], [season, 30]])
    made = read(points, seasons, length)
    scaled = (points - made.centre[:, None]) / made.unit[:, None]
    for i, which, t, slot in np.ndindex(len(points), 2, patches, AHEAD * length):
        target, own = (t + 1) * length + slot, seasons[i, which]
        earlier = [u for u in range(target - own, -1, -own) if u < (t + 1) * length]
        told = [scaled[i, u] for u in earlier if np.isfinite(scaled[i, u])] if own > 1 else []
        place = slot // length * WIDTH + slot % length
        expected = told[0] if told else 0.0
        assert made.lag_seen[i, t, which, place] == bool(told)
        assert made.lag[i, t, which, place] == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(deadline=None)
@given(season=SEASONS, patches=st.integers(1, 5), more=st.integers(0, 3), seed=st.integers(0, 99))
def test_patches_beyond_the_end_are_those_of_rows_not_seen(
    season: int, patches: int, more: int, seed: int
) -> None:
    length = patch_length(season)
    y = _holed(seed, patches * length)
    made = cut(y, season, patches, 168, more)
    longer = np.pad(y, ((0, 0), (0, more * length)), constant_values=np.nan)
    twin = cut(longer, season, patches + more, 168)
    for one, other in zip(made.inputs, twin.inputs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_units_do_not_matter_however_large() -> None:
    y = np.random.default_rng(0).standard_normal((3, 100)).cumsum(axis=1)
    plain, huge = cut(y, 12, 4), cut(y * 1e300, 12, 4)
    np.testing.assert_allclose(plain.x, huge.x, rtol=1e-5, atol=1e-6)
    assert np.isfinite(huge.centre).all()


def _holed(seed: int, rows: int) -> Array:
    draw = np.random.default_rng(seed)
    y = draw.standard_normal((3, rows)).cumsum(axis=1)
    y[draw.random(y.shape) < 0.2] = np.nan
    return y
