"""Pictures keep what they say within their edges."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.plotting import Fan, fan_chart

LEVELS = (0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975)


@pytest.mark.parametrize("panels", [1, 2, 3, 5])
def test_legend_and_title_lie_within_the_picture(panels: int) -> None:
    steps, ahead = np.arange(40), np.arange(40, 52)
    quantiles = 100.0 + np.arange(len(LEVELS)) + np.zeros((12, 1))
    fan = Fan("series", steps, steps + 50.0, ahead, LEVELS, quantiles, quantiles[:, 3])
    title = "Forecasts of the champion against what happened, on its last origin"
    figure = fan_chart([fan] * panels, title=title)
    figure.canvas.draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6
    for part in (legend, figure._suptitle):
        box = part.get_window_extent()
        assert box.x0 >= figure.bbox.x0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= figure.bbox.y0
