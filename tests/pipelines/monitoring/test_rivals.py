"""Champion and challenger on what happened, beside the plain way of reckoning it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from forecasting.errors import DataError
from pipelines.monitoring.rivals import read_compared, rivalries
from tests.pipelines.small import monthly_panel

SERIES, ROWS, HORIZON, SEASON = 8, 60, 3, 12


@pytest.fixture(scope="module")
def panel() -> Panel:
    rng = np.random.default_rng(0)
    wave = 50 + 5 * np.sin(2 * np.pi * np.arange(ROWS) / SEASON)
    return monthly_panel(wave + rng.normal(0, 1, (SERIES, ROWS)))


def kept(panel: Panel, *, off: float = 0.0, last: int = 2) -> list[dict[str, Any]]:
    """Lines as the service writes them; the challenger errs by ``off`` more than the champion."""
    rng = np.random.default_rng(1)
    lines = []
    for k, name in enumerate(panel.ids):
        y = panel.y[panel.offsets[k] : panel.offsets[k + 1]]
        for cutoff in (ROWS - 8, ROWS - last):
            first = panel.freq.shift(panel.start[:1], np.array([cutoff]))
            stamps = [
                str(panel.freq.shift(first, np.array([step]))[0].astype("datetime64[s]"))
                for step in range(HORIZON)
            ]
            known = np.append(y, [50.0] * HORIZON)[cutoff : cutoff + HORIZON]
            median = known + rng.normal(0, 1, HORIZON)
            told = {
                name: {"version": version, "mean": [], "quantiles": {"0.5": list(median + more)}}
                for name, version, more in (("champion", 3, 0.0), ("challenger", 4, off))
            }
            cut = str(panel.freq.shift(first, np.array([-1]))[0].astype("datetime64[s]"))
            lines.append({"unique_id": str(name), "cutoff": cut, "ds": stamps, **told})
    return lines


def written(folder: Path, lines: list[dict[str, Any]], name: str = "20260101-1.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_the_scores_are_those_of_a_plain_loop(panel: Panel, tmp_path: Path) -> None:
    lines = kept(panel, off=0.7)
    (found,) = rivalries(read_compared(written(tmp_path, lines), print), panel, SEASON)
    frame = panel.to_frame()
    errors: dict[str, dict[str, list[float]]] = {"champion": {}, "challenger": {}}
    for name in map(str, panel.ids):
        own = frame[frame["unique_id"] == name].set_index("ds")["y"]
        mine = [line for line in lines if line["unique_id"] == name]
        first = pd.Timestamp(mine[0]["ds"][0])
        before = own[own.index < first].to_numpy()
        scale = np.abs(before[SEASON:] - before[:-SEASON]).mean()
        for who, scores in errors.items():
            for line in mine:
                for ds, median in zip(line["ds"], line[who]["quantiles"]["0.5"], strict=True):
                    if pd.Timestamp(ds) in own.index:
                        error = abs(median - own[pd.Timestamp(ds)]) / scale
                        scores.setdefault(name, []).append(error)
    for who in errors:
        expected = np.mean([np.mean(scores) for scores in errors[who].values()])
        assert getattr(found, f"{who}_mase") == pytest.approx(expected)
    assert found.rows == sum(map(len, errors["champion"].values())) == SERIES * (HORIZON + 2)
    assert (found.champion, found.challenger, found.series) == (3, 4, SERIES)


@pytest.mark.parametrize(
    ("off", "said"),
    [(8.0, "the champion is better"), (0.0, "no difference that luck does not explain")],
)
def test_who_is_better_is_said_where_luck_cannot_explain_it(
    panel: Panel, tmp_path: Path, off: float, said: str
) -> None:
    compared = read_compared(written(tmp_path, kept(panel, off=off)), print)
    (found,) = rivalries(compared, panel, SEASON)
    assert said in found.line


def test_the_last_word_counts_and_what_was_cut_off_is_said(panel: Panel, tmp_path: Path) -> None:
    lines = kept(panel, off=9.0)
    written(tmp_path, lines)
    written(tmp_path, kept(panel, off=0.0), "20260102-1.jsonl")
    half = json.dumps(lines[0])[:40]
    (tmp_path / "20260103-1.jsonl").write_text(half)
    told: list[str] = []
    compared = read_compared(tmp_path, told.append)
    assert len(compared) == len(lines) * HORIZON
    assert (compared["champion_median"] == compared["challenger_median"]).all()
    assert told == [f"1 line below {tmp_path} cut off, and left out"]


def test_nothing_kept_says_nothing_and_another_file_is_named(panel: Panel, tmp_path: Path) -> None:
    assert rivalries(read_compared(tmp_path, print), panel, SEASON) == []
    written(tmp_path, [{"unique_id": "a"}])
    with pytest.raises(DataError, match=r"20260101-1\.jsonl, line 1 is nothing that"):
        read_compared(tmp_path, print)


def test_stamps_of_another_kind_and_what_has_not_come_true_are_left_out(
    panel: Panel, tmp_path: Path
) -> None:
    lines = kept(panel)
    for line in lines:
        line["ds"] = [f"{ds}+01:00" for ds in line["ds"]]
    assert rivalries(read_compared(written(tmp_path, lines), print), panel, SEASON) == []
    for line in lines:
        line["ds"] = [f"2099-0{step}-01T00:00:00" for step in (1, 2, 3)]
    assert rivalries(read_compared(written(tmp_path, lines), print), panel, SEASON) == []
