"""What came after held-back origins, beside what was known at them."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.judging import actuals
from tests.forecasting.samples import make_panel


@pytest.mark.parametrize("back", [1, 3, 8, 20])
@pytest.mark.parametrize("horizon", [1, 5])
def test_actuals_are_those_of_the_series_that_reach_back_far_enough(
    back: int, horizon: int
) -> None:
    """One as long as the cut, one shorter: neither has a past, neither has actuals."""
    panel = make_panel([20, 2, 8, 30, 3, 9], missing=0.2)
    known = panel.truncate(back, horizon)
    found = actuals(panel, back, horizon)
    expected = []
    for i, name in enumerate(panel.ids):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        if name in known.ids:
            after = y[len(y) - back : len(y) - back + horizon]
            expected.append(np.pad(after, (0, horizon - len(after)), constant_values=np.nan))
    np.testing.assert_array_equal(found, np.array(expected).reshape(-1, horizon))
    assert len(known) == (panel.lengths > back).sum()
