"""The short way for clean typed tables gives what the long way gives, or steps aside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecasting.data.mapped import folder_of
from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, entry, ingest
from pipelines.ingestion.ways import fast

FREQUENCIES = ("15min", "h", "4h", "D", "B", "W-THU", "MS", "ME", "QS-JAN", "QE-DEC", "YE-DEC")


def table(freq: str, series: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range("2001-01-01", periods=30 + i, freq=freq),
                "y": np.round(rng.normal(50, 2, 30 + i), 3),
            }
        )
        for i in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    # Series run across batches, and batches across series.
    monkeypatch.setattr(fast, "BATCH", 17)


def short_way(source: pa.Table | Path, config: DataConfig | None = None) -> IngestResult | None:
    given = source if isinstance(source, pa.Table) else str(source)
    return entry.fast_way(given, config or DataConfig())


def long_way(source: pa.Table, monkeypatch: pytest.MonkeyPatch) -> IngestResult:
    monkeypatch.setattr(entry, "fast_way", lambda *_: None)
    return ingest(DataConfig(), source=source)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("freq", FREQUENCIES)
def test_both_ways_agree(freq: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(freq)
    frame.loc[[3, 40], "y"] = np.nan
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(arrow, tmp_path / "t.parquet", row_group_size=23)
    quick, memory = short_way(tmp_path / "t.parquet"), short_way(arrow)
    assert quick is not None
    assert memory is not None
    slow = long_way(arrow, monkeypatch)
    for found in (quick, memory):
        assert found.freq == slow.freq == freq
        pd.testing.assert_frame_equal(found.frame, slow.frame)
        assert found.report.to_dict()["findings"] == slow.report.to_dict()["findings"]
        assert found.report.summary == slow.report.summary
        np.testing.assert_array_equal(found.panel().y, slow.panel().y)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("kind", ["int32", "int64", "uint16", "float32", "bool"])
def test_integers_steps_and_narrow_floats(kind: str) -> None:
    ids = pa.array(np.repeat(np.arange(5), 20)).cast(pa.int32())
    steps = pa.array(np.tile(np.arange(1, 21), 5))
    values = pa.array((np.arange(100) % 7).astype(kind))
    found = short_way(pa.table({"unique_id": ids, "ds": steps, "y": values}))
    if kind == "bool":
        assert found is None
        return
    assert found is not None
    assert found.freq == "step"
    assert found.clean.ids.tolist() == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(found.clean.y, np.arange(100) % 7)


def _spoil(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    at = 45
    ds, y = frame.columns.get_loc("ds"), frame.columns.get_loc("y")
    if name == "duplicate":
        return pd.concat([frame.iloc[:at], frame.iloc[[at - 1]], frame.iloc[at:]])
    if name == "gap":
        return frame.drop(index=at)
    if name == "unsorted":
        order = np.arange(len(frame))
        order[[at, at + 1]] = order[[at + 1, at]]
        return frame.iloc[order]
    if name == "split series":
        return pd.concat([frame.iloc[:40], frame.iloc[70:], frame.iloc[40:70]])
    if name == "off the grid":
        frame.iloc[at, ds] += pd.Timedelta(hours=1)
    if name == "sentinel":
        frame.iloc[at, y] = -999
    if name == "infinite":
        frame.iloc[at, y] = np.inf
    if name == "no stamp":
        frame.iloc[at, ds] = pd.NaT
    if name == "no id":
        frame.iloc[at, 0] = None
    if name == "id with blank":
        frame.iloc[at:64, 0] = "s1 "
    if name == "id in capitals":
        frame.iloc[:30, 0] = "S1"
    if name == "year 1600":
        frame["ds"] = frame["ds"].map(lambda d: d.replace(year=d.year - 400)).astype("M8[us]")
    return frame


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(
    "defect",
    ["duplicate", "gap", "unsorted", "split series", "off the grid", "sentinel", "infinite",
     "no stamp", "no id", "id with blank", "id in capitals", "year 1600"],
)  # fmt: skip
def test_the_short_way_steps_aside_for_every_defect(defect: str) -> None:
    spoiled = pa.Table.from_pandas(_spoil(defect, table("D")), preserve_index=False)
    assert short_way(spoiled) is None


def test_a_configured_policy_takes_the_long_way() -> None:
    arrow = pa.Table.from_pandas(table("D"), preserve_index=False)
    assert short_way(arrow) is not None
    for settings in (
        {"values": {"minimum": 0}}, {"flags": {"spikes": "missing"}}, {"blanks": "trim"},
        {"stamps": {"zone": "Europe/Berlin"}}, {"ids": {"drop": "s1"}},
    ):  # fmt: skip
        assert short_way(arrow, DataConfig.parse(settings)) is None


def test_flags_are_raised_when_the_report_is_asked_for(
    mend: Callable[..., IngestResult],
) -> None:
    frame = table("D", series=1)
    frame = pd.concat([frame] * 4).assign(ds=pd.date_range("2020-01-01", periods=120, freq="D"))
    frame.iloc[60, 2] = 9999.0
    found = short_way(pa.Table.from_pandas(frame, preserve_index=False))
    assert found is not None
    assert found.clean.series_flags is None
    codes = [f["code"] for f in found.report.to_dict()["findings"]]
    assert codes == ["spike_kept"]
    assert found.report.to_dict()["findings"] == mend(frame).report.to_dict()["findings"]


def partitioned(frame: pd.DataFrame, folder: Path, parts: int = 3) -> Path:
    """The table in a folder of files, whole series in each."""
    folder.mkdir()
    names = frame["unique_id"].unique()
    for k, some in enumerate(np.array_split(names, parts)):
        own = frame[frame["unique_id"].isin(some)]
        own.to_parquet(folder / f"part-{k}.parquet", index=False)
    return folder


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("store", ["memory", "mapped", "auto"])
def test_a_partitioned_table_is_the_table_in_one_piece_wherever_it_lies(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("forecasting.data.mapped.BLOCK_ROWS", 40)
    frame = table("MS", series=7)
    frame.loc[[3, 40], "y"] = np.nan
    frame.loc[[60, 120], "y"] = 9000.0
    whole = short_way(pa.Table.from_pandas(frame, preserve_index=False))
    folder = partitioned(frame, tmp_path / "table")
    parts = short_way(folder, DataConfig.parse({"store": store}))
    assert whole is not None
    assert parts is not None
    assert (folder_of(parts.clean.y) is not None) == (store == "mapped")
    pd.testing.assert_frame_equal(parts.frame, whole.frame)
    one, other = (found.report.to_dict() for found in (whole, parts))
    for told in one, other:
        del told["facts"], told["source"], told["settings"]
    assert one == other
    assert one["findings"]


def test_values_are_mapped_by_themselves_when_they_are_much_of_the_memory_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATECAST_HOME", str(tmp_path / "home"))
    frame = table("D")
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    for usable, mapped in ((16 * 8 * len(frame), False), (16 * 8 * len(frame) - 16, True)):
        monkeypatch.setattr(fast, "usable", lambda usable=usable: usable)
        found = short_way(arrow)
        assert found is not None
        assert (folder_of(found.clean.y) == tmp_path / "home" / "mapped") == mapped
        np.testing.assert_array_equal(found.clean.y, frame["y"])


@pytest.mark.parametrize("defect", ["duplicate", "gap", "split series"])
def test_a_partitioned_table_with_a_defect_goes_the_long_way(defect: str, tmp_path: Path) -> None:
    folder = partitioned(_spoil(defect, table("D")), tmp_path / "table", parts=2)
    assert short_way(folder) is None or defect == "split series"
    assert len(ingest(DataConfig(), source=str(folder)).clean.ids) == 4


def test_partitions_of_different_kinds_are_refused_by_the_long_way(tmp_path: Path) -> None:
    folder = partitioned(table("D"), tmp_path / "table", parts=2)
    table("D").assign(y="many").to_parquet(folder / "part-9.parquet", index=False)
    assert short_way(folder) is None
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        ingest(DataConfig(), source=str(folder))
