"""What the demo shows before it trains: forecasts of the pretrained network, as they are."""

from __future__ import annotations

from forecasting.zero.predictor import Zero
from pipelines.demo.demo import SEASON, SHOWN_SERIES, SHOWN_STEPS, first_forecasts
from tests.forecasting.samples import make_panel


def test_first_forecasts_are_those_of_the_pretrained_network() -> None:
    panel = make_panel([40 + k for k in range(9)], freq="step", positive=True)
    title, *lines = first_forecasts(panel)
    assert "before any training" in title
    assert len(lines) == SHOWN_SERIES
    found = Zero.load().predict_panel(panel, SHOWN_STEPS, season=SEASON)
    told = dict(zip(found.ids, found.quantiles, strict=True))
    for line in lines:
        name, _, numbers = line.strip().partition(": ")
        medians, _, rest = numbers.partition("  (")
        assert medians.split() == [f"{value:,.0f}" for value in told[name][:, 1]]
        low, high = told[name][-1, [0, 2]]
        assert rest.endswith(f"{low:,.0f} to {high:,.0f})")
