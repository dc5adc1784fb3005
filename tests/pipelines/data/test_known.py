"""Covariates joined as they were known: beside a slow loop, and nothing of later in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError
from pipelines.config import build_config
from pipelines.data.known import Said, add_known, known_ahead
from pipelines.data.prepare import prepare
from pipelines.ingestion.config import KnownConfig

HORIZON = 3


def panel_of(lengths: list[int], freq: str = "D") -> Panel:
    frames = []
    for k, length in enumerate(lengths):
        ds: Any = pd.date_range("2024-01-30", periods=length, freq=freq) if freq != "step" else (
            np.arange(5, 5 + length)
        )  # fmt: skip
        frames.append(pd.DataFrame({"unique_id": f"s{k}", "ds": ds, "y": np.arange(length) * 1.0}))
    return Panel.from_frame(pd.concat(frames), freq=freq)


@st.composite
def sayings(draw: st.DrawFn) -> tuple[Panel, Said]:
    """A panel, and values said of it: before, within and after it, at any hour."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    freq = draw(st.sampled_from(["D", "MS", "h", "step"]))
    panel = panel_of(lengths, freq)
    count = draw(st.integers(1, 30))
    whole = st.lists(st.integers(-3, 14), min_size=count, max_size=count)
    series = np.array(
        draw(st.lists(st.integers(0, len(lengths) - 1), min_size=count, max_size=count))
    )
    step, said = np.array(draw(whole)), np.array(draw(whole))
    known = panel.freq.shift(panel.start[series], said)
    if freq != "step":
        # Somewhere within its step, and never at the same moment.
        known = known + (np.arange(count) * 7).astype("timedelta64[s]")
    else:
        _, first = np.unique(np.stack([series, step, said]), axis=1, return_index=True)
        series, step, known = series[first], step[first], known[first]
    values = np.arange(len(series), dtype=float)
    return panel, Said(series, step, known, values)


@given(sayings())
@settings(max_examples=150, deadline=None)
def test_every_value_is_the_newest_that_a_slow_loop_finds(drawn: tuple[Panel, Said]) -> None:
    panel, said = drawn
    past, ahead = known_ahead(said, panel, HORIZON)
    for k in range(len(panel)):
        length = int(panel.lengths[k])
        for step in range(length + HORIZON):
            best: tuple[Any, float] | None = None
            for row in range(len(said.series)):
                if said.series[row] != k or said.step[row] != step:
                    continue
                after_cutoff = panel.freq.shift(
                    panel.start[k : k + 1], np.array([step - HORIZON + 1])
                )
                if step < length and said.known[row] >= after_cutoff[0]:
                    continue
                if best is None or said.known[row] > best[0]:
                    best = said.known[row], said.values[row]
            found = past[panel.offsets[k] + step] if step < length else ahead[k, step - length]
            assert found == best[1] if best is not None else np.isnan(found)


@given(sayings())
@settings(max_examples=100, deadline=None)
def test_at_no_cutoff_a_model_sees_what_was_said_later(drawn: tuple[Panel, Said]) -> None:
    """Whatever is said after a cutoff changes nothing that is forecast or learned from there."""
    panel, said = drawn
    past, _ = known_ahead(said, panel, HORIZON)
    for back in range(1, int(panel.lengths.max())):
        cutoff = panel.freq.shift(panel.start, panel.lengths - back)
        later = said.known >= cutoff[said.series]
        other = Said(said.series, said.step, said.known, np.where(later, -99.0, said.values))
        changed, _ = known_ahead(other, panel, HORIZON)
        for k in range(len(panel)):
            end = int(panel.lengths[k]) - back
            if end <= 0:
                continue
            # Of the window that ends there: its history, and the horizon after it.
            reach = slice(
                panel.offsets[k], min(panel.offsets[k] + end + HORIZON, panel.offsets[k + 1])
            )
            np.testing.assert_array_equal(past[reach], changed[reach])


@pytest.mark.parametrize("freq", ["ME", "QE", "W-SUN", "YE"])
def test_stamps_at_the_end_of_a_step_are_the_cutoffs_own_day(freq: str) -> None:
    panel = panel_of([6], freq)
    # Of the last row: the cutoff lies HORIZON steps before it.
    cutoff = panel.freq.shift(panel.start, np.array([5 - HORIZON]))[0]
    hours = np.array([23, 24 + 1, 24 * 5]).astype("timedelta64[h]")
    for said, seen in zip(hours, (True, False, False), strict=True):
        one = Said(np.zeros(1, int), np.array([5]), np.array([cutoff + said]), np.array([7.0]))
        past, _ = known_ahead(one, panel, HORIZON)
        assert (past[5] == 7.0) == seen


def table(**more: Any) -> pd.DataFrame:
    """Of each day's price a first word ten days ahead, and a last one on the day itself."""
    days = pd.date_range("2024-01-01", periods=40)
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": days,
                "known_at": days - pd.Timedelta(days=ahead) + pd.Timedelta(hours=9),
                "price": np.arange(40.0) + 1000 * (ahead == 0),
            }
        )
        for name in ("a", "b")
        for ahead in (10, 0)
    ]
    return pd.concat(parts, ignore_index=True).assign(**more)


def history() -> pd.DataFrame:
    days = pd.date_range("2024-01-01", periods=30)
    return pd.concat(
        pd.DataFrame({"unique_id": name, "ds": days, "y": np.arange(30.0)}) for name in ("a", "b")
    )


def known(source: Path, **more: Any) -> KnownConfig:
    return KnownConfig(source=str(source), columns=("price",), **more)


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_the_history_has_the_first_word_and_what_is_ahead_the_newest(
    tmp_path: Path, suffix: str
) -> None:
    frame, said = tmp_path / "sales.parquet", tmp_path / f"prices.{suffix}"
    history().to_parquet(frame, index=False)
    # Of two days ahead the last word is there already.
    spoken = table()
    spoken = spoken[(spoken["price"] < 1000) | (spoken["ds"] <= "2024-02-01")]
    spoken.to_parquet(said, index=False) if suffix == "parquet" else spoken.to_csv(
        said, index=False
    )
    config = build_config(
        {
            "name": "m",
            "horizon": HORIZON,
            "data": {
                "source": str(frame),
                "freq": "D",
                "known": {"source": str(said), "columns": "price"},
            },
        }
    )
    prepared = prepare(config)
    panel = prepared.panel
    (price,) = panel.schema.future
    assert (price.name, price.mean) == ("price", pytest.approx(14.5))
    np.testing.assert_array_equal(panel.future[:, 0].reshape(2, 30), [np.arange(30.0)] * 2)
    assert panel.horizon is not None
    np.testing.assert_array_equal(panel.horizon[:, :, 0], [[1030.0, 1031.0, 32.0]] * 2)
    assert any("price was known 3 steps ahead for 60 of 60 rows" in line for line in prepared.said)
    # What the panel says of a cutoff is what was said by then.
    np.testing.assert_array_equal(panel.truncate(5, HORIZON).horizon[0, :, 0], [25.0, 26.0, 27.0])


def test_a_zone_is_compared_as_time_passes(tmp_path: Path) -> None:
    stamps = pd.date_range("2024-03-30", periods=72, freq="h", tz="Europe/Madrid")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(72.0)})
    panel = Panel.from_frame(frame, freq="h")
    spoken = pd.DataFrame(
        {
            "unique_id": "a",
            "ds": stamps,
            "known_at": stamps.tz_convert("UTC") - pd.Timedelta(hours=HORIZON - 1, seconds=1),
            "price": np.arange(72.0),
        }
    )
    spoken.to_parquet(tmp_path / "p.parquet", index=False)
    whole, _ = add_known(panel, known(tmp_path / "p.parquet"), HORIZON)
    np.testing.assert_array_equal(whole.future[:, 0], np.arange(72.0))
    # A second later it came too late for each of them.
    late = spoken.assign(known_at=spoken["known_at"] + pd.Timedelta(seconds=1))
    late.to_parquet(tmp_path / "p.parquet", index=False)
    with pytest.raises(DataError, match="no value was known 3 steps ahead"):
        add_known(panel, known(tmp_path / "p.parquet"), HORIZON)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.drop(columns="known_at"),
            "has no column known_at; it has unique_id, ds, price",
        ),
        (lambda t: t.assign(unique_id="nobody"), "none of the series of the history"),
        (lambda t: t.assign(ds=t["ds"] + pd.Timedelta(hours=1)), "does not lie on the grid"),
        (lambda t: t.assign(price="dear"), "column price: 'dear' is no number"),
        (lambda t: t.assign(known_at="soon"), "column known_at: 'soon' is no stamp"),
        (lambda t: t.assign(known_at=t["known_at"].dt.tz_localize("UTC")), "has a time zone"),
        (lambda t: t.assign(known_at=7), "known_at holds numbers"),
        (
            lambda t: t.assign(known_at=t["known_at"].where(t.index != 4)),
            "row 5: unique_id, ds and",
        ),
        (
            lambda t: t.assign(known_at=pd.Timestamp("2023-01-01")),
            "two values of price for 2024-01",
        ),
        (lambda t: t.assign(known_at=pd.Timestamp("2030-01-01")), "two values of price"),
        (lambda t: t[t["price"] >= 1000], "no value was known 3 steps ahead"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: Any, said: str) -> None:
    panel = Panel.from_frame(history(), freq="D")
    change(table()).to_parquet(tmp_path / "p.parquet", index=False)
    with pytest.raises(DataError, match=said):
        add_known(panel, known(tmp_path / "p.parquet"), HORIZON)


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    frame = history().assign(price=1.0)
    panel = Panel.from_frame(frame, freq="D", future=["price"])
    table().to_parquet(tmp_path / "p.parquet", index=False)
    with pytest.raises(ConfigError, match="'price' is a covariate of"):
        add_known(panel, known(tmp_path / "p.parquet"), HORIZON)
