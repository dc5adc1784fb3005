"""A table of what is known ahead gives what history and plan give when put together by hand."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError
from pipelines.cli import build
from pipelines.config import ExperimentConfig, build_config
from pipelines.data.prepare import Prepared, prepare
from pipelines.forecasts.forecast import forecast
from pipelines.training.backtest import backtest_only
from tests.pipelines.small import crown, small_bundle

HORIZON, DAYS, KNOWN = 5, 70, 60
COVARIATES = (
    {"name": "price", "role": "future"},
    {"name": "kind", "role": "future", "type": "categorical"},
)
Make = Callable[..., ExperimentConfig]


def whole(names: str = "ab") -> pd.DataFrame:
    """Daily sales of some shops with price and kind of day; y is known for the first days only."""
    days = pd.date_range("2024-01-01", periods=DAYS)
    parts = []
    for k, name in enumerate(names):
        rng = np.random.default_rng(k)
        y = 50.0 + 10 * np.sin(np.arange(DAYS) * 2 * np.pi / 7) + rng.normal(size=DAYS)
        y[KNOWN:] = np.nan
        price = (3.0 + (np.arange(DAYS) + k) % 4 / 4).round(2)
        kind = np.where(np.arange(DAYS) % 7 < 5, "work", "free")
        frame = {"unique_id": name, "ds": days, "y": y.round(3), "price": price, "kind": kind}
        parts.append(pd.DataFrame(frame))
    return pd.concat(parts, ignore_index=True)


def parts(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """History, and plan after it."""
    known = frame["ds"] < frame["ds"].min() + pd.Timedelta(days=KNOWN)
    return frame[known], frame[~known].drop(columns="y")


def experiment(source: Path, **data: Any) -> ExperimentConfig:
    values = {"source": str(source), "covariates": list(COVARIATES), **data}
    return build_config(
        {
            "name": "planned",
            "data": values,
            "horizon": HORIZON,
            "season": 7,
            "model": {"layers": 1, "hidden_size": 8, "steps": 7, "segment": 1},
            "training": {"max_steps": 3, "validation": "none", "threads": 1},
            "candidates": {"gru": {"model": {"cell": "gru"}}},
            "backtest": {"windows": 2},
            "tracking": {"system_metrics": False},
        }
    )


def read(folder: Path, history: pd.DataFrame, plan: pd.DataFrame, **data: Any) -> Prepared:
    history.to_csv(folder / "history.csv", index=False)
    plan.to_csv(folder / "plan.csv", index=False)
    config = experiment(folder / "history.csv", **data)
    return prepare(config, every_series=True, future=str(folder / "plan.csv"))


def together(folder: Path, *tables: pd.DataFrame) -> Panel:
    """The slow twin: one table, by hand."""
    pd.concat(tables, ignore_index=True).to_csv(folder / "both.csv", index=False)
    return prepare(experiment(folder / "both.csv"), every_series=True).panel


def assert_same(found: Panel, wanted: Panel, width: int = HORIZON) -> None:
    # Means and deviations are those of the history; a model's own take their place.
    kinds = [[(c.name, c.type, c.categories) for c in p.schema.future] for p in (found, wanted)]
    assert kinds[0] == kinds[1]
    for name in ("ids", "offsets", "start"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    for name in ("y", "future"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert (found.horizon is None) == (wanted.horizon is None)
    if found.horizon is not None and wanted.horizon is not None:
        both = [np.full((len(p), width, 2), np.nan) for p in (found, wanted)]
        for block, panel in zip(both, (found, wanted), strict=True):
            given = panel.horizon[:, :width]  # type: ignore[index]
            block[:, : given.shape[1]] = given
            # In a hole of one table a category is "unseen"; what is not planned is not given.
            block[:, :, 1] = np.where(block[:, :, 1] == 0, np.nan, block[:, :, 1])
        np.testing.assert_array_equal(both[0], both[1])


def test_history_and_plan_are_what_one_table_is(tmp_path: Path) -> None:
    history, plan = parts(whole())
    found = read(tmp_path, history, plan)
    assert_same(found.panel, together(tmp_path, history, plan))
    assert found.planned == ()


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_plans_with_holes_and_late_values_are_what_one_table_is(
    tmp_path: Path, data: st.DataObject
) -> None:
    history, plan = parts(whole("abc"))
    kept = data.draw(st.lists(st.booleans(), min_size=len(plan), max_size=len(plan)))
    plan = plan[np.array(kept) | (plan["unique_id"] == "a")]
    blank = data.draw(st.sets(st.integers(0, len(plan) - 1), max_size=5))
    plan = plan.assign(price=plan["price"].mask(np.isin(np.arange(len(plan)), list(blank))))
    late = data.draw(st.integers(0, 3))
    last = history["ds"] > history["ds"].max() - pd.Timedelta(days=late)
    history = history.assign(y=history["y"].mask(last & (history["unique_id"] == "b")))
    # A series of which not one day is known whole is no case of one table: it would take the
    # days ahead for history.
    whole_days = plan.dropna().groupby("unique_id").size()
    plan = plan[plan["unique_id"].isin(whole_days.index)]
    found = read(tmp_path, history, plan.sample(frac=1.0, random_state=1))
    assert_same(found.panel, together(tmp_path, history, plan))


def test_a_plan_without_ids_holds_for_every_series_and_says_so(tmp_path: Path) -> None:
    frame = whole()
    frame["price"] = frame.groupby("ds")["price"].transform("min")
    history, plan = parts(frame)
    shared = plan[plan["unique_id"] == "a"].drop(columns="unique_id")
    found = read(tmp_path, history, shared)
    assert_same(found.panel, together(tmp_path, history, plan))
    (said,) = found.planned
    assert "no column unique_id: its values are taken for every series" in said
    with pytest.raises(DataError, match=r"plan\.csv: series 'every series' has several rows"):
        read(tmp_path, history, parts(whole())[1].drop(columns="unique_id"))


def test_plans_of_other_series_are_left_aside_or_refused(tmp_path: Path) -> None:
    history, plan = parts(whole("abc"))
    few = history[history["unique_id"] != "c"]
    found = read(tmp_path, few, plan)
    assert_same(found.panel, together(tmp_path, few, plan[plan["unique_id"] != "c"]))
    assert "1 of its series are not in the history, the first is 'c'" in found.planned[0]
    with pytest.raises(DataError, match="there a series is called 'a', here 'c'"):
        read(tmp_path, few, plan[plan["unique_id"] == "c"])


def test_what_the_history_says_itself_is_kept(tmp_path: Path) -> None:
    frame = whole()
    history, plan = parts(frame)
    all_days = frame.drop(columns="y").assign(price=frame["price"] + 1.0)
    found = read(tmp_path, history, all_days)
    assert_same(found.panel, together(tmp_path, history, plan.assign(price=plan["price"] + 1.0)))
    assert f"{2 * KNOWN} of its values for stamps of the history are others" in found.planned[0]
    blank = history.assign(price=np.nan, kind=None)
    blank.loc[blank.groupby("unique_id").cumcount() < 20, ["price", "kind"]] = [1.0, "work"]
    filled = read(tmp_path, blank, frame.drop(columns="y"))
    later = np.arange(2 * KNOWN) % KNOWN >= 20
    own = together(tmp_path, history, plan)
    np.testing.assert_array_equal(filled.panel.future[later], own.future[later])


def test_stamps_off_the_grid_and_other_zones_are_refused(tmp_path: Path) -> None:
    history, plan = parts(whole())
    weekly = history[history["ds"].dt.day_of_week == 0]
    with pytest.raises(DataError, match=r"step|grid|freq"):
        read(tmp_path, weekly, plan, irregular={"policy": "refuse"})
    hours = pd.date_range("2024-03-01", periods=KNOWN, freq="h").astype(str)
    hourly = pd.DataFrame({"unique_id": "a", "ds": hours, "y": 1.0, "price": 2.0, "kind": "work"})
    ahead = hourly.head(2).drop(columns="y").assign(ds=["2024-03-03T12:00Z", "2024-03-03T13:00Z"])
    with pytest.raises(DataError, match="time zone, in the history none"):
        read(tmp_path, hourly, ahead)


def test_a_plan_of_nothing_that_is_known_ahead_is_refused(tmp_path: Path) -> None:
    history, plan = parts(whole())
    with pytest.raises(ConfigError, match="role: future"):
        read(tmp_path, history, plan, covariates=[])
    with pytest.raises(DataError, match="'price' is not in the table"):
        read(tmp_path, history, plan.drop(columns="price"))


@pytest.mark.timeout(300)
def test_the_commands_forecast_and_backtest_with_a_plan(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history, plan = parts(whole())
    history.to_csv("history.csv", index=False)
    plan.to_csv("plan.csv", index=False)
    pd.concat([history, plan]).to_csv("both.csv", index=False)
    config = experiment(Path("history.csv"))
    crown(config, small_bundle(config, prepare(config).panel, tmp_path / "bundle"))
    run = CliRunner().invoke
    bare = run(build(), ["forecast", "planned", "--out", "bare.csv"])
    assert bare.exit_code != 0
    assert "'price' is not given for step 1" in bare.output + str(bare.exception)
    done = run(build(), ["forecast", "planned", "--future", "plan.csv", "--out", "one.csv"])
    assert done.exit_code == 0, done.output
    forecast(config, data="both.csv", out="two.csv")
    columns = ["unique_id", "cutoff", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    pd.testing.assert_frame_equal(pd.read_csv("one.csv")[columns], pd.read_csv("two.csv")[columns])
    named = config.model_copy(
        update={"forecast": config.forecast.model_copy(update={"future": "plan.csv"})}
    )
    forecast(named, out="three.csv")
    pd.testing.assert_frame_equal(
        pd.read_csv("three.csv")[columns], pd.read_csv("two.csv")[columns]
    )
    # Of the last days of the history nobody has written down the prices yet.
    newest = history["ds"] > history["ds"].max() - pd.Timedelta(days=2 * HORIZON)
    history.assign(price=history["price"].mask(newest)).to_csv("blank.csv", index=False)
    history.drop(columns="y").to_csv("prices.csv", index=False)
    scores = [
        backtest_only(experiment(Path(source)), future=future).scores
        for source, future in (("history.csv", None), ("blank.csv", "prices.csv"))
    ]
    pd.testing.assert_frame_equal(*scores)
    done = run(build(), ["backtest", "--help"])
    assert "--future" in done.output


@pytest.mark.timeout(300)
def test_the_recipe_for_every_day_works_as_it_stands(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "monitoring.md").read_text()
    (recipe,) = re.findall(r"^```cron\n(.*?)^```", page, re.M | re.S)
    lines = [line.split("gatecast ", 1)[1] for line in recipe.splitlines() if "gatecast " in line]
    assert [shlex.split(line)[0] for line in lines] == ["forecast", "monitor"]
    monkeypatch.chdir(tmp_path)
    frame = whole()
    frame["y"] = frame["y"].fillna(50.0)
    days = frame.groupby("unique_id").cumcount()
    frame[days < KNOWN - 20].to_csv("training.csv", index=False)
    config = experiment(Path("training.csv")).model_copy(update={"name": "demand"})
    crown(config, small_bundle(config, prepare(config).panel, tmp_path / "bundle"))
    for today in (KNOWN - 1, KNOWN, KNOWN + 1):
        frame[days < today].to_csv("today.csv", index=False)
        ahead = (days >= today) & (days < today + HORIZON)
        frame[ahead].drop(columns="y").to_csv("promotions.csv", index=False)
        done = [CliRunner().invoke(build(), shlex.split(line)) for line in lines]
        assert [one.exit_code for one in done] == [0, 0], [one.output for one in done]
    assert len(list(Path("forecasts").iterdir())) == 3
    # Of two series: two days of the first forecast and one of the second.
    assert "6 forecasts have come true" in done[1].output


@pytest.mark.parametrize(
    ("before", "ahead", "other"),
    [
        ("{}", "{}%", True), ("{}%", "{}", True), ("{}%", "{}%", False), ("€{}", "${}", True),
        ("€{}", "{}", False), ("{}‰", "{} %", True), ("{}", "{}€", False),
    ],
)  # fmt: skip
def test_a_plan_in_another_unit_is_refused(
    tmp_path: Path, before: str, ahead: str, other: bool
) -> None:
    history, plan = parts(whole())
    signed = [
        table.assign(price=[form.format(p) for p in table["price"]])
        for table, form in ((history, before), (plan, ahead))
    ]
    if other:
        with pytest.raises(DataError, match=r"column price: its numbers bear .* in the history"):
            read(tmp_path, *signed)
    else:
        assert_same(read(tmp_path, *signed).panel, together(tmp_path, history, plan))


def test_two_values_for_one_series_and_stamp_are_refused(tmp_path: Path) -> None:
    history, plan = parts(whole())
    again = plan.head(2)
    assert_same(
        read(tmp_path, history, pd.concat([plan, again])).panel, together(tmp_path, history, plan)
    )
    with pytest.raises(DataError, match=r"plan\.csv: series 'a' has several rows"):
        read(tmp_path, history, pd.concat([plan, again.assign(price=9.0)]))
