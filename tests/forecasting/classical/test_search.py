from __future__ import annotations

import numpy as np

from forecasting.classical.search import Constant, search

AT = np.array([[0.31, 0.9], [0.05, 0.52]])  # [D, N]: where two series err least


def bowl(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a - AT[0]) ** 2 + (b - AT[1]) ** 2


def test_each_series_gets_its_own_constants_closer_with_every_round() -> None:
    grid = Constant((0.1, 0.5, 0.9), 0.0, 1.0)
    away = [np.abs(search(bowl, (grid, grid), rounds) - AT).max() for rounds in (0, 2, 8)]
    assert away[0] > away[1] > away[2]
    assert away[2] < 0.01


def test_it_finds_the_best_of_a_grid_and_never_loses_it() -> None:
    """The slow twin: every combination, one after the other."""
    grid = (0.1, 0.4, 0.8)
    constants = (Constant(grid, 0.1, 0.8),) * 2
    best = [min((float(bowl(np.array([[a]]), np.array([[b]]))[0, n]), a, b)
                for a in grid for b in grid) for n in range(2)]  # fmt: skip
    np.testing.assert_allclose(search(bowl, constants, 0), np.array(best).T[1:])
    after = search(bowl, constants, 3)
    assert (bowl(*after[:, None])[0] <= [error for error, _, _ in best]).all()


def test_bounds_hold_and_a_grid_of_one_value_is_not_left() -> None:
    found = search(bowl, (Constant((0.5,), 0.0, 1.0), Constant((0.1, 0.3), 0.1, 0.4)), 6)
    assert found[0].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(found[1], [0.1, 0.4])
