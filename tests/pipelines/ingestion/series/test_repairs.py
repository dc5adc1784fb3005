"""Each defect put into a clean table is mended by its policy, counted, and listed where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.errors import DataError
from pipelines.ingestion import IngestResult

Mend = Callable[..., IngestResult]


def finding(result: IngestResult, code: str) -> dict[str, Any]:
    found = {f["code"]: f for f in result.report.to_dict()["findings"]}
    assert code in found, f"{code} is not among {sorted(found)}"
    return found[code]


def check_rows(result: IngestResult) -> None:
    rows = result.report.to_dict()["rows"]
    assert rows["balanced"]
    assert rows["out"] == len(result.frame)


def test_a_clean_table_is_left_as_it_is(tidy: pd.DataFrame, mend: Mend) -> None:
    result = mend(tidy, strict=True)
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)
    assert result.report.summary.endswith("nothing to mend")


def test_identical_and_conflicting_duplicates(tidy: pd.DataFrame, mend: Mend) -> None:
    twice = pd.concat([tidy, tidy.iloc[[5, 5, 60]], tidy.iloc[[7]].assign(y=99.0)])
    result = mend(twice)
    assert finding(result, "identical_duplicate")["count"] == 3
    conflict = finding(result, "conflicting_duplicate")
    assert conflict["positions"][0]["ds"] == "2024-01-08"
    assert conflict["positions"][0]["row"] == 8
    assert result.frame.loc[7, "y"] == 99.0
    check_rows(result)
    assert mend(twice, duplicates={"conflicting": "first"}).frame.loc[7, "y"] == tidy.loc[7, "y"]
    mean = mend(twice, duplicates={"conflicting": "mean"}).frame.loc[7, "y"]
    assert mean == pytest.approx((tidy.loc[7, "y"] + 99) / 2)
    with pytest.raises(DataError, match=r"north.*2024-01-08"):
        mend(twice, duplicates={"conflicting": "refuse"})


def test_many_conflicts_mean_a_forgotten_id_column(tidy: pd.DataFrame, mend: Mend) -> None:
    merged = tidy.assign(unique_id="all")
    with pytest.raises(DataError, match="forgotten"):
        mend(merged)


def test_unsorted_rows_are_sorted_and_counted(tidy: pd.DataFrame, mend: Mend) -> None:
    shuffled = tidy.sample(frac=1, random_state=0)
    result = mend(shuffled)
    frame = result.frame
    pd.testing.assert_frame_equal(frame, tidy, check_dtype=False)
    assert finding(result, "unsorted")["count"] > 0
    assert result.clean.ids.tolist() == ["north", "south", "west"]


def test_gaps_become_missing_rows_and_outages_too(tidy: pd.DataFrame, mend: Mend) -> None:
    holes = tidy.drop(index=[3, 4, 50])
    result = mend(holes)
    assert finding(result, "gap")["per_series"] == {"north": 2, "south": 1}
    assert [p["ds"] for p in finding(result, "gap")["positions"]] == [
        "2024-01-04", "2024-01-05", "2024-01-11",
    ]  # fmt: skip
    assert result.frame["y"].isna().sum() == 3
    check_rows(result)
    with pytest.raises(DataError, match="absent"):
        mend(holes, gaps={"policy": "refuse"})


def test_a_mistyped_year_does_not_fill_the_memory(tidy: pd.DataFrame, mend: Mend) -> None:
    tidy.loc[39, "ds"] = pd.Timestamp("2199-01-01")
    with pytest.raises(DataError, match=r"north.*max_growth"):
        mend(tidy)


def test_jittered_stamps_snap_to_the_grid(tidy: pd.DataFrame, mend: Mend) -> None:
    late = tidy.copy()
    late.loc[[2, 61], "ds"] += pd.Timedelta(hours=2)
    result = mend(late)
    assert finding(result, "irregular")["count"] == 2
    assert finding(result, "irregular")["positions"][0]["after"] == "2024-01-03T00:00:00"
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)
    with pytest.raises(DataError, match="row 3"):
        mend(late, irregular={"policy": "refuse"})


@pytest.mark.parametrize(("how", "first"), [("sum", 6.0), ("mean", 2.0), ("last", 3.0)])
def test_rows_are_resampled_to_a_longer_step(how: str, first: float, mend: Mend) -> None:
    ds = pd.date_range("2024-01-01", periods=72, freq="8h")
    table = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.tile([1.0, 2.0, 3.0], 24)})
    result = mend(table, freq="D", irregular={"policy": "resample", "aggregate": how})
    assert result.frame["y"].tolist() == [first] * 24
    assert finding(result, "merged")["count"] == 48
    check_rows(result)


def test_sentinels_infinities_and_texts_become_missing(tidy: pd.DataFrame, mend: Mend) -> None:
    values = tidy["y"].astype(str).to_numpy(dtype=object)
    values[[1, 2, 3, 4, 5, 6]] = ["-999", "N/A", "-", "inf", "broken", ""]
    result = mend(tidy.assign(y=values).to_csv(index=False))
    assert result.frame["y"].isna().to_numpy().nonzero()[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert finding(result, "sentinel")["positions"][0]["row"] == 2
    assert finding(result, "missing_code")["count"] == 2
    assert finding(result, "infinite")["count"] == 1
    assert finding(result, "not_a_number")["positions"][0]["before"] == "broken"
    check_rows(result)


def test_a_sentinel_in_a_series_that_is_negative_anyway_is_flagged_only(
    tidy: pd.DataFrame, mend: Mend
) -> None:
    cold = tidy.assign(y=tidy["y"] - 60)
    cold.loc[5, "y"] = -999.0
    result = mend(cold)
    assert finding(result, "sentinel_kept")["count"] == 1
    assert result.frame.loc[5, "y"] == -999.0
    asked = mend(cold, values={"missing": -999})
    assert np.isnan(asked.frame.loc[5, "y"])


def test_limits_signs_and_zeros_by_policy(tidy: pd.DataFrame, mend: Mend) -> None:
    odd = tidy.copy()
    odd.loc[4, "y"], odd.loc[9, "y"], odd.loc[12, "y"] = -3.0, 0.0, 5000.0
    plain = mend(odd)
    assert finding(plain, "negative_kept")["positions"][0]["before"] == -3.0
    assert plain.frame.loc[9, "y"] == 0.0
    asked = mend(odd, values={"minimum": 0, "maximum": 1000, "zeros": "missing"})
    assert asked.frame["y"].isna().to_numpy().nonzero()[0].tolist() == [4, 9, 12]
    with pytest.raises(DataError, match=r"row 13.*north.*5000"):
        mend(odd, values={"maximum": 1000, "outside": "refuse"})


def test_spikes_flat_lines_and_changes_of_unit_are_flagged(mend: Mend) -> None:
    rng = np.random.default_rng(0)
    y = np.round(100 + rng.normal(0, 5, 300), 2)
    spiked, flat, unit = y.copy(), y.copy(), y.copy()
    spiked[150] = 2000.0
    flat[100:130] = 97.5
    unit[200:] *= 1000
    ds = pd.date_range("2024-01-01", periods=300, freq="D")
    names = {"spiked": spiked, "flat": flat, "unit": unit, "plain": y}
    table = pd.concat([pd.DataFrame({"unique_id": n, "ds": ds, "y": v}) for n, v in names.items()])
    result = mend(table)
    assert finding(result, "spike_kept")["per_series"] == {"spiked": 1}
    assert finding(result, "flat_kept")["per_series"] == {"flat": 30}
    change = finding(result, "unit_change")
    assert change["per_series"] == {"unit": 1}
    assert change["positions"][0]["ds"] == str(ds[200].date())
    assert result.frame["y"].notna().all()
    asked = mend(table, flags={"spikes": "missing", "flat_policy": "missing"}).frame
    assert asked.groupby("unique_id")["y"].apply(lambda v: int(v.isna().sum())).to_dict() == {
        "flat": 30, "plain": 0, "spiked": 1, "unit": 0,
    }  # fmt: skip


def test_blanks_at_the_ends_are_trimmed_when_asked(tidy: pd.DataFrame, mend: Mend) -> None:
    ragged = tidy.copy()
    ragged.loc[[0, 1, 79], "y"] = np.nan
    assert len(mend(ragged).frame) == 120
    result = mend(ragged, blanks="trim")
    assert finding(result, "leading_blank")["count"] == 2
    assert finding(result, "trailing_blank")["count"] == 1
    assert result.frame.groupby("unique_id").size().to_dict() == {
        "north": 38, "south": 39, "west": 40,
    }  # fmt: skip
    check_rows(result)


def test_ids_with_blanks_and_twins_in_case_are_one_series(tidy: pd.DataFrame, mend: Mend) -> None:
    names = tidy["unique_id"].to_numpy(dtype=object)
    names[3], names[4], names[60] = " north", "NORTH", "South  "
    result = mend(tidy.assign(unique_id=names))
    pd.testing.assert_frame_equal(result.frame, tidy, check_dtype=False)
    assert finding(result, "id_blanks")["count"] == 2
    assert finding(result, "id_case")["positions"][-1]["before"] in ("NORTH", "South")
    with pytest.raises(DataError, match="NORTH"):
        mend(tidy.assign(unique_id=names), ids={"twins": "refuse"})


def test_twins_that_both_have_all_stamps_stay_apart(tidy: pd.DataFrame, mend: Mend) -> None:
    two = tidy.replace({"unique_id": {"south": "NORTH"}})
    result = mend(two)
    assert len(result.clean.ids) == 3
    assert finding(result, "id_twin_kept")["count"] == 40


def test_rows_without_id_or_stamp_are_accounted_for(tidy: pd.DataFrame, mend: Mend) -> None:
    text = tidy.to_csv(index=False) + ",2024-01-05,7\nnorth,,8\nnorth,someday,9\n"
    result = mend(text)
    assert finding(result, "no_id")["positions"][0]["row"] == 121
    assert [p["row"] for p in finding(result, "unreadable_stamp")["positions"]] == [122, 123]
    check_rows(result)
    with pytest.raises(DataError, match="row 12"):
        mend(text, stamps={"unreadable": "refuse"})


def test_totals_are_left_out_when_named(tidy: pd.DataFrame, mend: Mend) -> None:
    total = tidy.groupby("ds", as_index=False)["y"].sum().assign(unique_id="TOTAL")
    result = mend(pd.concat([tidy, total]), ids={"drop": "^TOTAL$"})
    assert "TOTAL" not in result.clean.ids
    assert finding(result, "dropped_id")["count"] == 40
    check_rows(result)


def test_units_and_scales(mend: Mend) -> None:
    frame = pd.DataFrame(
        {
            "ds": pd.date_range("2024-01-01", periods=6, freq="D"),
            "y": [1.0, 2.0, 3000.0, 4000.0, 5.0, 6.0],
            "unit": ["MW", "MW", "kW", "kW", "??", "MW"],
        }
    )
    values = {"unit": {"column": "unit", "scale": {"MW": 1, "kW": 0.001}}, "scale": 10}
    result = mend(frame, ds="ds", y="y", series="load", values=values)
    np.testing.assert_allclose(result.clean.y, [10, 20, 30, 40, np.nan, 60])
    assert finding(result, "unknown_unit")["count"] == 1


def test_series_of_another_step(tidy: pd.DataFrame, mend: Mend) -> None:
    weekly = pd.DataFrame(
        {"unique_id": "weekly", "ds": pd.date_range("2024-01-01", periods=30, freq="7D"), "y": 1.0}
    )
    both = pd.concat([tidy, weekly])
    with pytest.raises(DataError, match="weekly"):
        mend(both)
    dropped = mend(both, other_freq="drop")
    assert finding(dropped, "other_freq")["count"] == 30
    check_rows(dropped)
    kept = mend(both, other_freq="keep")
    assert kept.frame.groupby("unique_id").size()["weekly"] == 29 * 7 + 1


def test_the_table_given_is_not_changed(tidy: pd.DataFrame, mend: Mend) -> None:
    spoiled = pd.concat([tidy, tidy.iloc[[3]]]).sample(frac=1, random_state=1)
    spoiled.iloc[4, 2] = np.inf
    before = spoiled.copy(deep=True)
    mend(spoiled, flags={"spikes": "missing"})
    pd.testing.assert_frame_equal(spoiled, before)
