"""A panel that has travelled is the panel that was sent."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from forecasting.training.checkpoints import signature
from pipelines.data.profile import panel_digest
from pipelines.spread.panels import panel_bytes, panel_of


def with_covariates(freq: str, tz: str | None = None) -> Panel:
    rng = np.random.default_rng(0)
    parts = []
    for i, rows in enumerate((30, 41, 25)):
        start = np.arange(rows) if freq == "step" else pd.date_range(
            "2020-01-31", periods=rows, freq=freq, tz=tz)  # fmt: skip
        y = rng.normal(size=rows)
        y[[3, rows - 2, rows - 1]] = np.nan
        parts.append(
            pd.DataFrame(
                {
                    "unique_id": f"s{i}",
                    "ds": start,
                    "y": y,
                    "seen": rng.normal(size=rows),
                    "kind": rng.choice(["a", "b"], rows),
                    "promo": rng.integers(0, 2, rows).astype(float),
                }
            )
        )
    static = pd.DataFrame({"unique_id": ["s0", "s1", "s2"], "region": ["n", "s", "n"]})
    return Panel.from_frame(
        pd.concat(parts), freq=freq, static=static, past=["seen", "kind"], future=["promo"]
    )


@pytest.mark.parametrize(
    ("freq", "tz"),
    [("D", None), ("h", "Europe/Berlin"), ("MS", None), ("ME", None), ("W-SUN", None), ("B", None),
     ("step", None)],
)  # fmt: skip
def test_nothing_of_a_panel_is_lost_or_changed(freq: str, tz: str | None) -> None:
    panel = with_covariates(freq, tz)
    back = panel_of(panel_bytes(panel))
    assert panel.horizon is not None
    assert panel_digest(back) == panel_digest(panel)
    assert signature(back) == signature(panel)
    assert back.freq == panel.freq
    assert back.freq.day == panel.freq.day
    for name in ("offsets", "y", "start", "past", "future", "horizon", "static"):
        sent, come = getattr(panel, name), getattr(back, name)
        assert come.dtype == sent.dtype, name
        assert come.flags.writeable, name
        np.testing.assert_array_equal(come, sent)


def test_parts_of_a_panel_travel_as_what_they_are() -> None:
    panel = with_covariates("D")
    for part in (panel.truncate(4, horizon=2), panel.select(np.array([2, 0])), panel.tail(5)):
        assert signature(panel_of(panel_bytes(part))) == signature(part)


def test_series_without_rows_travel() -> None:
    panel = with_covariates("D").select(np.array([], int))
    assert len(panel_of(panel_bytes(panel))) == 0
