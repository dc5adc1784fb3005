"""What a network is shown when it forecasts, against windows laid out cell by cell."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.data.calendar import calendar_features, phase
from forecasting.data.panel import Panel
from forecasting.resolved import Resolved
from forecasting.schema import Covariate
from forecasting.windows.batch import named
from forecasting.windows.conditioning import condition
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import FURTHEST, assemble, standardise
from tests.forecasting.samples import MIXES, make_panel, settings

CYCLE = 5


def cell(value: float, covariate: Covariate) -> tuple[float, float]:
    """A covariate's value and mask as a network reads them."""
    if covariate.type == "categorical":
        return (0.0 if np.isnan(value) else value), 1.0
    if np.isnan(value):
        return 0.0, 0.0
    return min(max((value - covariate.mean) / covariate.std, -FURTHEST), FURTHEST), 1.0


def slow_end(panel: Panel, config: Resolved, steps: int, i: int) -> dict[str, Any]:
    """The end of one series, cell by cell."""
    geometry = Geometry.of(config)
    rows = max([geometry.scale_window, *geometry.lags]) + (steps - 1) * geometry.segment
    at, length = int(panel.offsets[i]), int(panel.lengths[i])
    first, ahead = length - rows, geometry.horizon
    t = np.full(rows, np.nan)
    for k in range(rows):
        if first + k >= 0:
            t[k] = config.model.y_transform.forward(panel.y[at + first + k : at + first + k + 1])[0]
    known = ~np.isnan(t)
    (centre,), (unit,) = condition(
        t, known, np.zeros(rows, np.int64), 1,
        centred=not config.model.counts,
        scaled=config.model.spread != "none" and not config.model.counts,
        usual=config.model.usual_spread,
    )  # fmt: skip
    out: dict[str, Any] = {
        "y": np.where(known, (t - centre) / unit, 0.0),
        "mask": known.astype(float),
        "centre": centre,
        "unit": unit,
    }
    stamps = panel.freq.stamps(panel.start[i : i + 1], first, rows + ahead)[0]
    if config.model.calendar:
        out["time"] = calendar_features(stamps, panel.freq, panel.tz)
    if config.model.cycle:
        out["phase"] = phase(stamps[:1], panel.freq, config.model.cycle, panel.tz)[0]
    for name, block, columns, more in (
        ("past", panel.past, panel.schema.past, 0),
        ("future", panel.future, panel.schema.future, ahead),
    ):
        if not columns:
            continue
        values = np.zeros((2, rows + more, len(columns)))
        for k in range(rows + more):
            for j, covariate in enumerate(columns):
                value, row = np.nan, first + k
                if 0 <= row < length:
                    value = block[at + row, j]
                elif row >= length and panel.horizon is not None:
                    step = row - length
                    value = panel.horizon[i, step, j] if step < panel.horizon.shape[1] else np.nan
                values[:, k, j] = cell(value, covariate)
        out[name], out[f"{name}_mask"] = values
    if panel.schema.static:
        cells = [cell(panel.static[i, j], c) for j, c in enumerate(panel.schema.static)]
        out["static"], out["static_mask"] = zip(*cells, strict=True)
    return out


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    sizes=st.one_of(
        st.lists(st.integers(1, 30), min_size=1, max_size=4),
        st.integers(20, 30).map(lambda n: [n, n, n]),
    ),
    mix=st.sampled_from(sorted(MIXES)),
    freq=st.sampled_from(("D", "MS", "h", "W-SUN")),
    later=st.booleans(),
    steps=st.integers(1, 4),
    model=st.fixed_dictionaries(
        {
            "segment": st.sampled_from((1, 2)),
            "lags": st.sampled_from(((), (5,), (2, 11))),
            "calendar": st.booleans(),
            "cycle": st.sampled_from((0, CYCLE)),
            "transform": st.sampled_from(("identity", "log")),
            "spread": st.sampled_from(("mad", "none")),
        }
    ),
    missing=st.sampled_from((0.0, 0.4)),
    ahead=st.sampled_from((None, 1, 3)),
    seed=st.integers(0, 99),
)
def test_ends_of_series_are_what_loops_over_their_cells_lay_out(
    sizes: list[int], mix: str, freq: str, later: bool, steps: int, model: dict[str, Any],
    missing: float, ahead: int | None, seed: int,
) -> None:  # fmt: skip
    config = settings(freq=freq, model=model)
    panel = make_panel(
        sizes, schema=MIXES[mix], freq=freq, missing=missing, seed=seed, positive=True,
        tz="Europe/Madrid" if freq == "h" else None,
    )  # fmt: skip
    if later:
        # Series that do not begin together.
        panel = replace(panel, start=panel.freq.shift(panel.start, 3 * np.arange(len(panel))))
    if panel.horizon is not None:
        panel = replace(panel, horizon=None if ahead is None else panel.horizon[:, :ahead])
    batch, centre, unit = assemble(panel, config, steps)
    for i in range(len(panel)):
        expected = slow_end(panel, config, steps, i)
        assert named(batch).keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_allclose(
                named(batch)[name][i], values, rtol=1e-5, atol=1e-5, err_msg=name
            )
        assert (centre[i], unit[i]) == pytest.approx((expected["centre"], expected["unit"]))


def test_what_never_moved_is_nothing_and_what_moved_far_is_as_far_as_it_gets() -> None:
    columns = (
        Covariate(name="price", role="future", mean=0.3, std=1e-12),
        Covariate(name="promo", role="future", mean=1.0, std=2.0),
        Covariate(name="shop", role="future", type="categorical", categories=("a", "b")),
    )
    values = np.array([[0.5, 4.0, 30.0], [0.3, 1e9, np.nan], [np.nan, -1e9, 1.0]])
    standard, mask = standardise(values, columns)
    assert standard.dtype == mask.dtype == np.float32
    np.testing.assert_allclose(
        standard, [[0.0, 1.5, 30.0], [0.0, FURTHEST, 0.0], [0.0, -FURTHEST, 1.0]]
    )
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 1, 1], [0, 1, 1]])


def test_windows_are_as_long_as_their_steps_look_back() -> None:
    geometry = Geometry.of(settings(model={"segment": 3, "window": 5, "steps": 4, "lags": (2, 11)}))
    assert (geometry.reach, geometry.rows, geometry.length(1)) == (11, 20, 11)
    # A value fills a step, and so many values as a segment has fill no second one.
    np.testing.assert_array_equal(
        geometry.steps_for(np.array([0, 1, 3, 4, 6, 7, 9, 10, 12, 13, 99])),
        [1, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4],
    )
    assert geometry.lag_widths() == (2, 3)
