"""Which rows a forecast of a kept series looks at."""

from __future__ import annotations

from forecasting.prediction.predictor import Predictor
from serving.states.asked import enough_for, rows_looked_at


def test_rows_are_counted_from_one_with_a_value() -> None:
    enough = enough_for(3)
    assert not enough({"y": [1.0, 2.0]})
    assert enough({"y": [1.0, None, None]})
    # A series begins with its first value: with none before, fewer would be looked at.
    assert not enough({"y": [None, 2.0, 3.0]})
    assert enough({"y": [None, 1.0, None, None]})
    assert not enough({"y": [None] * 9})


def test_across_a_change_of_the_clock_more_rows_are_looked_at(
    monthly: Predictor, power: Predictor
) -> None:
    assert rows_looked_at(monthly) >= monthly.context
    assert rows_looked_at(power) > max(power.context, power.config.season)
