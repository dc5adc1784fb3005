"""Products take one thread while many series are forecast, and what they had afterwards."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from forecasting.hardware.products import _libraries, products_on_one_thread
from forecasting.prediction.engine import FEW
from tests.forecasting.samples import make_panel, settings, untrained


def counts() -> set[int]:
    return {library.get_num_threads() for library in _libraries().lib_controllers}


def test_a_product_has_one_thread_and_then_as_many_as_before() -> None:
    assert _libraries().lib_controllers
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        with products_on_one_thread():
            assert counts() == {1}
        assert counts() == before


def test_forecasts_beside_each_other_leave_it_as_it_was() -> None:
    first, second = products_on_one_thread(), products_on_one_thread()
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert counts() == {1}
        second.__exit__(None, None, None)
        assert counts() == before


@pytest.mark.parametrize("many", [False, True])
def test_many_series_are_forecast_within_it_and_few_are_not_worth_it(many: bool) -> None:
    engine = untrained(settings())
    runner, seen = engine.runner, []

    def watched(batch: Any) -> Any:
        seen.append(counts())
        return runner(batch)

    engine.runner = watched
    with threadpool_limits(2, user_api="blas"):
        before = counts()
        found = engine.predict_panel(make_panel([30] * (FEW + many)))
        assert counts() == before
    assert seen == [{1} if many else before]
    assert np.isfinite(found.quantiles).all()
