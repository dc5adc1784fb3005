"""What is kept of a panel: its ends, its newest rows, a sample; bounded, and read as written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.data.panel import Panel, observed
from forecasting.errors import GatecastError
from pipelines.data.fingerprint import FEWEST, MOST, Fingerprint, sample


def panel_of(lengths: list[int], freq: str, seed: int) -> Panel:
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(sum(lengths)) < 0.3, np.nan, rng.normal(size=sum(lengths)))
    start = np.full(len(lengths), 5) if freq == "step" else ["2020-01-01"] * len(lengths)
    kind = np.int64 if freq == "step" else "datetime64[us]"
    ids = [f"ä{i}" for i in range(len(lengths))]
    return Panel.from_arrays(ids, y, np.array(lengths), np.array(start, kind), freq)


panels = st.builds(
    panel_of,
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
    st.sampled_from(["MS", "h", "D", "W-SUN", "step"]),
    st.integers(0, 10_000),
)


@settings(max_examples=60, deadline=None)
@given(panel=panels)
def test_it_holds_the_rows_that_a_loop_would_keep(panel: Panel) -> None:
    print_ = Fingerprint.of(panel)
    kept = 0
    for i, name in enumerate(panel.ids):
        y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
        known = np.flatnonzero(np.isfinite(y))
        if not len(known):
            continue
        assert print_.ids[kept] == name
        first, last = known[0], known[-1]
        assert print_.first[kept] == panel.freq.shift(panel.start[i : i + 1], int(first))[0]
        assert print_.last[kept] == panel.freq.shift(panel.start[i : i + 1], int(last))[0]
        assert print_.rows[kept] == last - first + 1
        at = print_.positions[kept]
        assert at[0] == last - first, "the last row is among them"
        there = at >= 0
        np.testing.assert_array_equal(print_.values[kept][there], y[first + at[there]])
        assert np.isnan(print_.values[kept][~there]).all()
        kept += 1
    assert len(print_) == kept


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(st.integers(1, 200), min_size=1, max_size=8), width=st.integers(4, 40))
def test_a_sample_has_the_newest_rows_and_each_row_once(rows: list[int], width: int) -> None:
    found = sample(np.array(rows), width)
    for length, positions in zip(rows, found, strict=True):
        there = positions[positions >= 0]
        assert len(set(there)) == len(there) == min(length, width)
        assert there.max() == length - 1
        newest = set(range(max(length - width // 2, 0), length))
        assert newest <= set(there)


@settings(max_examples=25, deadline=None)
@given(panel=panels)
def test_it_is_read_as_it_was_written(
    panel: Panel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("print") / "fingerprint.parquet"
    made = np.datetime64("2026-01-02T03:04:05", "us")
    written = Fingerprint.of(panel, made=made)
    written.write(path)
    read = Fingerprint.read(path)
    for name in ("ids", "first", "last", "rows", "positions", "values"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name), name)
    assert (read.freq, read.made) == (written.freq, made)
    assert read.first.dtype == written.first.dtype


def test_its_size_is_bounded_by_the_series_and_not_by_their_length() -> None:
    panel = panel_of([5000] * 50, "h", 0)
    assert Fingerprint.of(panel).values.shape == (50, MOST)
    assert Fingerprint.of(panel, budget=50 * 10).values.shape == (50, 10)
    assert Fingerprint.of(panel, budget=1).values.shape == (50, FEWEST)


def test_ends_are_those_of_the_values_and_not_of_the_rows() -> None:
    y = np.array([np.nan, 1.0, np.nan, 2.0, np.nan, np.nan, np.nan])
    begin, end = observed(y, np.array([0, 5, 7]))
    assert (list(begin), list(end)) == ([1, -1], [3, -1])


def test_a_file_that_is_none_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "fingerprint.parquet"
    path.write_bytes(b"no table")
    with pytest.raises(GatecastError, match=r"fingerprint\.parquet holds no fingerprint"):
        Fingerprint.read(path)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(GatecastError, match="holds no fingerprint"):
        Fingerprint.read(path)
