"""Random bytes never crash; random defects put into a clean table are all found and reported."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import GatecastError
from pipelines.ingestion import DataConfig, ingest

QUIET = settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
FREQUENCIES = ("15min", "h", "D", "W-SUN", "MS", "QE-DEC")
ROLES = {"id": "unique_id", "ds": "ds", "y": "y"}


def swallow(content: bytes, name: str = "t.csv", **values: Any) -> None:
    """Ingest whatever it is: a clean table whose rows add up, or one clear error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        result = refused = None
        try:
            result = ingest(DataConfig.parse(values), source=path)
        except GatecastError as error:
            refused = str(error)
    if result is None:
        assert refused
        assert len(refused) < 3000
        return
    check(result.report.to_dict(), result.frame)
    result.panel()


def check(report: dict[str, Any], frame: pd.DataFrame) -> None:
    assert report["rows"]["balanced"]
    assert report["rows"]["out"] == len(frame)
    assert not frame.duplicated(["unique_id", "ds"]).any()
    assert not np.isinf(frame["y"]).any()
    for _, part in frame.groupby("unique_id", sort=False):
        assert part["ds"].is_monotonic_increasing
    series = frame["unique_id"]
    assert (series != series.shift()).sum() == series.nunique()


@QUIET
@given(st.binary(max_size=400), st.sampled_from(["t.csv", "t.parquet", "t.arrow", "t.csv.gz"]))
def test_random_bytes(content: bytes, name: str) -> None:
    swallow(content, name)
    swallow(content, name, **ROLES)


cells = st.one_of(
    st.sampled_from(
        ["", "NA", "-", "1", "-999", "1,5", "2024-01-01", "01/02/2024", "24:00", "a", "A", " a ",
         "2024-01-01T00:00:00+02:00", "1e400", "inf", '"', "1.234,5", "9999-12-31", "١٢", "😀"]
    ),
    st.text(max_size=6),
    st.floats().map(str),
    st.integers(-(10**20), 10**20).map(str),
    st.datetimes().map(str),
)  # fmt: skip


@QUIET
@given(
    st.lists(st.lists(cells, min_size=1, max_size=5), min_size=1, max_size=12),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from([{}, ROLES, {"layout": "wide"}, {"layout": "rows"}]),
)
def test_random_cells(rows: list[list[str]], separator: str, mapping: dict[str, str]) -> None:
    lines = [separator.join(("unique_id", "ds", "y"))] + [separator.join(r) for r in rows]
    swallow("\n".join(lines).encode("utf-8", "surrogatepass"), **mapping)


@QUIET
@given(st.data())
def test_random_bytes_inside_a_clean_table(data: st.DataObject) -> None:
    text = clean_table(3, 30, "D").to_csv(index=False).encode()
    spoiled = bytearray(text)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(spoiled) - 1))
        spoiled[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    swallow(bytes(spoiled), **ROLES)


def clean_table(series: int, rows: int, freq: str, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"series {i}",
                "ds": pd.date_range("2020-01-01", periods=rows, freq=freq),
                "y": np.round(100 + rng.normal(0, 3, rows), 3),
            }
        )
        for i in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


DEFECTS = (
    "gap", "identical_duplicate", "conflicting_duplicate", "sentinel", "infinite", "missing_code",
    "not_a_number", "id_blanks", "id_case", "no_id", "unreadable_stamp",
)  # fmt: skip


def plant(frame: pd.DataFrame, plan: dict[int, str]) -> tuple[pd.DataFrame, Counter[str]]:
    """The table, all text, with one defect at each chosen row; and how often each is in it."""
    table = frame.astype({"y": object})
    table["ds"] = frame["ds"].dt.strftime("%Y-%m-%dT%H:%M:%S").astype(object)
    table["unique_id"] = table["unique_id"].astype(object)
    drop, extra = [], []
    counts: Counter[str] = Counter()
    for row, defect in plan.items():
        counts[defect] += 1
        if defect == "gap":
            drop.append(row)
        elif defect in ("identical_duplicate", "conflicting_duplicate"):
            copy = table.loc[row].copy()
            copy["y"] = copy["y"] if defect[0] == "i" else 55.5
            extra.append(copy)
        elif defect in ("sentinel", "infinite", "missing_code", "not_a_number"):
            bad = {"sentinel": "-999", "infinite": "inf", "missing_code": "N/A"}
            table.loc[row, "y"] = bad.get(defect, "soon")
        elif defect == "id_blanks":
            table.loc[row, "unique_id"] += "  "
        elif defect == "id_case":
            table.loc[row, "unique_id"] = str(table.loc[row, "unique_id"]).upper()
        elif defect == "no_id":
            table.loc[row, "unique_id"] = ""
            counts["gap"] += 1
        else:
            table.loc[row, "ds"] = "sometime"
            counts["gap"] += 1
    spoiled = table.drop(index=drop)
    if extra:
        spoiled = pd.concat([spoiled, pd.DataFrame(extra)])
    return spoiled, counts


@pytest.mark.parametrize("freq", FREQUENCIES)
@settings(QUIET, max_examples=15)
@given(data=st.data(), shuffle=st.booleans())
def test_every_planted_defect_is_found(freq: str, data: st.DataObject, shuffle: bool) -> None:
    frame = clean_table(4, 60, freq)
    # First and last rows stay: a series that begins later has no gap before it.
    inner = [r for r in range(len(frame)) if r % 60 not in (0, 59)]
    rows = data.draw(st.lists(st.sampled_from(inner), min_size=1, max_size=10, unique=True))
    plan = {r: data.draw(st.sampled_from(DEFECTS)) for r in rows}
    spoiled, counts = plant(frame, plan)
    if shuffle:
        spoiled = spoiled.sample(frac=1, random_state=0)
    config = DataConfig.parse({**ROLES, "flags": {"spikes": "keep", "flat_policy": "keep"}})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        spoiled.to_csv(path, index=False)
        result = ingest(config, source=path)
    found = {f["code"]: f["count"] for f in result.report.to_dict()["findings"]}
    found.pop("unsorted", None)
    assert found == dict(counts)
    check(result.report.to_dict(), result.frame)
    assert result.clean.ids.tolist() == sorted(f"series {i}" for i in range(4))
    # All that was not touched is as it was.
    kept = [r for r in range(len(frame)) if r not in plan]
    both = frame.loc[kept].merge(result.frame, on=["unique_id", "ds"], suffixes=("", "_found"))
    assert len(both) == len(kept)
    np.testing.assert_array_equal(both["y"], both["y_found"])
