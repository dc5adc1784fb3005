"""One set of numbers: over HTTP in every form, from the library, in the backtest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from forecasting.evaluation.backtest import backtest
from forecasting.prediction.engine import Engine
from forecasting.prediction.predictor import Predictor
from serving.app import Application
from tests.serving.conftest import Caller
from tests.serving.reading.test_arrow_form import ask, read, stream, table

LEVELS = (0.05, 0.5, 0.83)
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
MODELS = ("monthly", "retail", "power")


def random_panel(engine: Engine, seed: int, count: int = 6) -> Panel:
    """Series of random lengths and levels with gaps and every covariate of a model."""
    rng = np.random.default_rng(seed)
    schema, freq, horizon = engine.schema, engine.freq, engine.config.horizon
    sizes = rng.integers(1, 2 * engine.context, count)
    sizes[0] = 1
    rows, ahead = int(sizes.sum()), int(sizes.sum()) + count * horizon
    y = 1 + np.abs(rng.normal(50, 10, rows)) * np.repeat(rng.lognormal(0, 2, count), sizes)
    gaps = rng.random(rows) < 0.15
    # In a long table, rows without y at a series' end are its horizon: each ends in a value.
    gaps[np.cumsum(sizes) - 1] = False
    y[gaps] = np.nan
    first = np.array(["2019-01-01", "2020-06-01", "2021-11-01"], "datetime64[us]")
    start = freq.shift(rng.choice(first, count), rng.integers(0, 50, count))

    def column(covariate: Any, size: int) -> Any:
        if covariate.type == "categorical":
            return rng.choice(np.array([*covariate.categories, "unseen"], object), size)
        return rng.normal(covariate.mean, covariate.std, size)

    past = {c.name: column(c, rows) for c in schema.past}
    for values in past.values():
        values[rng.random(rows) < 0.1] = np.nan
    return Panel.from_arrays(
        [f"s{i}" for i in range(count)],
        y,
        sizes,
        start,
        freq,
        schema=schema,
        past=past,
        future={c.name: column(c, ahead) for c in schema.future},
        future_sizes=sizes + horizon,
        static={c.name: column(c, count) for c in schema.static},
    )


def readable(panel: Panel) -> list[dict[str, Any]]:
    """The series of a panel as a request has them."""

    def plain(values: Any) -> list[Any]:
        return [None if v != v else v for v in np.asarray(values, np.float64).tolist()]

    def named(values: Any, covariate: Any) -> list[Any]:
        if covariate.type == "real":
            return plain(values)
        names = ["unseen", *covariate.categories]
        return [names[int(v)] for v in np.asarray(values).tolist()]

    asked = []
    for i in range(len(panel)):
        rows = slice(panel.offsets[i], panel.offsets[i + 1])
        series: dict[str, Any] = {
            "id": str(panel.ids[i]),
            "start": str(panel.start[i]),
            "y": plain(panel.y[rows]),
        }
        schema = panel.schema
        if schema.past:
            series["past"] = {
                c.name: named(panel.past[rows, j], c) for j, c in enumerate(schema.past)
            }
        if schema.future:
            assert panel.horizon is not None
            series["future"] = {
                c.name: named(np.append(panel.future[rows, j], panel.horizon[i, :, j]), c)
                for j, c in enumerate(schema.future)
            }
        if schema.static:
            series["static"] = {
                c.name: named(panel.static[i : i + 1, j], c)[0] for j, c in enumerate(schema.static)
            }
        asked.append(series)
    return asked


def flat(asked: list[dict[str, Any]]) -> dict[str, Any]:
    """The same request in the flat form."""
    body: dict[str, Any] = {
        "ids": [s["id"] for s in asked],
        "y": [v for s in asked for v in s["y"]],
        "sizes": [len(s["y"]) for s in asked],
        "start": [s["start"] for s in asked],
    }
    for role in ("past", "future"):
        for name in asked[0].get(role, {}):
            body.setdefault(role, {})[name] = [v for s in asked for v in s[role][name]]
    for name in asked[0].get("static", {}):
        body.setdefault("static", {})[name] = [s["static"][name] for s in asked]
    return body


def frame_of(panel: Panel) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The panel as a user's long table, known-future rows at the end, and the static table."""
    frame = panel.to_frame()
    if panel.schema.future:
        assert panel.horizon is not None
        steps = panel.horizon.shape[1]
        ahead = pd.DataFrame(
            {
                "unique_id": np.repeat(panel.ids, steps),
                "ds": panel.freq.stamps(panel.last, 1, steps).ravel(),
            }
        )
        for j, covariate in enumerate(panel.schema.future):
            ahead[covariate.name] = panel.horizon[:, :, j].ravel()
        frame = pd.concat([frame, ahead], ignore_index=True)
    if not panel.schema.static:
        return frame, None
    static = pd.DataFrame({"unique_id": panel.ids})
    for series, column in zip(panel.schema.static, panel.static.T, strict=True):
        names = np.array(["unseen", *series.categories], dtype=object)
        real = series.type == "real"
        static[series.name] = column if real else names[column.astype(int)]
    return frame, static


def quantiles_of(forecasts: list[dict[str, Any]]) -> np.ndarray:
    """[N, h, Q]"""
    return np.array([[f["quantiles"][f"{q:g}"] for q in LEVELS] for f in forecasts]).transpose(
        0, 2, 1
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(3))
def test_every_form_gives_the_librarys_numbers(
    app: Application, call: Caller, name: str, seed: int
) -> None:
    loaded = app.service.models.keepers[name].current
    assert loaded is not None
    engine = loaded.predictor
    panel = random_panel(engine, seed)
    horizon = engine.config.horizon
    expected = engine.predict_panel(panel, quantiles=LEVELS)
    assert not expected.problems
    asked = readable(panel)
    options = {"model": name, "horizon": horizon, "quantiles": list(LEVELS)}
    body = call.post({**options, "series": asked}).json()
    assert body["errors"] == []
    found = quantiles_of(body["forecasts"])
    np.testing.assert_allclose(found, expected.quantiles, **TOLERANCE)
    means = [f["mean"] for f in body["forecasts"]]
    np.testing.assert_allclose(means, expected.mean, **TOLERANCE)
    stamps = [f["ds"] for f in body["forecasts"]]
    assert np.array_equal(np.array(stamps, "datetime64[us]"), expected.stamps())

    machine = call.post({**options, **flat(asked)}).json()
    assert machine["ds"] == [d for s in stamps for d in s]
    for k, level in enumerate(LEVELS):
        columns = np.reshape(machine["quantiles"][f"{level:g}"], (len(panel), horizon))
        np.testing.assert_allclose(columns, expected.quantiles[:, :, k], **TOLERANCE)

    arrow, _ = read(ask(call, stream(table(asked), **options)).content)
    for k, level in enumerate(LEVELS):
        columns = np.array(arrow[f"q{level:g}"].to_pylist())
        np.testing.assert_allclose(columns, expected.quantiles[:, :, k], **TOLERANCE)

    frame, static = frame_of(panel)
    long = engine.predict(frame, static=static, quantiles=LEVELS)
    columns = long[[f"q{q:g}" for q in LEVELS]].to_numpy().reshape(len(panel), horizon, -1)
    np.testing.assert_allclose(columns, expected.quantiles, **TOLERANCE)


def test_a_mixed_batch_gives_what_each_would_get_alone(app: Application, call: Caller) -> None:
    bodies, expected = [], []
    for seed in range(4):
        for name in MODELS:
            loaded = app.service.models.keepers[name].current
            assert loaded is not None
            panel = random_panel(loaded.predictor, 10 + seed)
            for i, series in enumerate(readable(panel)):
                bodies.append({"model": name, "series": [series], "quantiles": list(LEVELS)})
                alone = loaded.predictor.predict_panel(panel.select([i]), quantiles=LEVELS)
                expected.append(alone.quantiles)
    for answer, wanted in zip(call.together(bodies), expected, strict=True):
        assert answer.json()["errors"] == []
        found = quantiles_of(answer.json()["forecasts"])
        np.testing.assert_allclose(found, wanted, **TOLERANCE)


@pytest.mark.parametrize("name", MODELS)
def test_the_backtest_scored_what_the_service_answers(
    app: Application, call: Caller, name: str
) -> None:
    loaded = app.service.models.keepers[name].current
    assert loaded is not None
    engine, horizon = loaded.predictor, loaded.spec.horizon
    panel = random_panel(engine, 30, count=8)
    long_enough = np.flatnonzero(panel.lengths > 3 * horizon)
    panel = panel.select(long_enough)
    result = backtest(
        panel,
        {"ours": lambda p: engine.predict_panel(p, quantiles=LEVELS)},
        horizon=horizon,
        season=engine.config.season or 1,
        windows=2,
        levels=LEVELS,
    )
    scored = result.table
    cut = panel.truncate(2 * horizon, horizon)
    body = call.post({"model": name, "series": readable(cut), "quantiles": list(LEVELS)}).json()
    for forecast in body["forecasts"]:
        rows = scored[scored["unique_id"] == forecast["id"]]
        rows = rows[rows["cutoff"] == rows["cutoff"].min()].sort_values("step")
        for level in LEVELS:
            wanted = rows[f"q{level:g}"].to_numpy()
            np.testing.assert_allclose(forecast["quantiles"][f"{level:g}"], wanted, **TOLERANCE)


def test_a_forecast_does_not_depend_on_the_schema_of_the_panel(retail: Predictor) -> None:
    panel = random_panel(retail, 5)
    expected = retail.predict_panel(panel, quantiles=LEVELS)
    frame, static = frame_of(panel)
    # Means and deviations of other rows, and categories in another order beside an unknown one.
    assert static is not None
    other = Panel.from_frame(
        frame, freq="MS", static=static, past=["temp"], future=["promo"], categorical=[]
    )
    assert other.schema != retail.schema
    assert other.schema.static[0].categories != retail.schema.static[0].categories
    found = retail.predict_panel(other, quantiles=LEVELS)
    np.testing.assert_allclose(found.quantiles, expected.quantiles, **TOLERANCE)


def public_tasks() -> list[str]:
    from pipelines.data.datasets import registry

    return list(registry())


@pytest.mark.slow
@pytest.mark.parametrize("name", public_tasks())
def test_public_sets_are_answered_as_the_library_and_the_backtest_do(
    name: str, tmp_path: Path, shared_data: Path
) -> None:
    from forecasting.config import ForecasterConfig
    from forecasting.forecaster import Forecaster
    from pipelines.data.datasets import load
    from serving.settings import ServingSettings
    from tests.serving.store import Store

    task = load(name, root=shared_data)[0]
    chosen = np.arange(min(len(task.full), 12))
    train = task.train.select(chosen)
    config = ForecasterConfig.parse(
        {
            "horizon": task.horizon,
            "season": task.about.season,
            "model": {"hidden_size": 8, "layers": 1},
            "training": {"max_steps": 4, "batch_size": 8, "threads": 1, "validation_windows": 1},
        }
    )
    store = Store(tmp_path)
    store.register("public", Forecaster.train(train, config).save(tmp_path / "bundle"))
    settings = ServingSettings.read({}, models=("public",), home=tmp_path, log_level="error")
    app = Application(settings)
    app.service.models.load()
    loaded = app.service.models.keepers["public"].current
    assert loaded is not None
    engine: Predictor = loaded.predictor  # type: ignore[assignment]
    panel = task.history.select(chosen)
    expected = engine.predict_panel(panel, quantiles=LEVELS)
    asked = readable(panel)
    for series, start in zip(asked, panel.start, strict=True):
        series["start"] = int(start) if engine.freq.integer else str(start)
        if panel.tz is not None and engine.freq.sub_daily:
            series["start"] += "Z"
    options: dict[str, Any] = {"quantiles": list(LEVELS)}
    if panel.tz is not None:
        options["tz"] = panel.tz
    body = Caller(app).post({**options, "series": asked}).json()
    assert [f["id"] for f in body["forecasts"]] == [str(i) for i in expected.ids]
    np.testing.assert_allclose(quantiles_of(body["forecasts"]), expected.quantiles, **TOLERANCE)
    result = backtest(
        task.full.select(chosen),
        {"ours": lambda p: engine.predict_panel(p, quantiles=LEVELS)},
        horizon=task.horizon,
        season=task.about.season,
        windows=1,
        levels=LEVELS,
    )
    if int(task.origins[0]) == task.horizon:
        for forecast in body["forecasts"]:
            rows = result.table[result.table["unique_id"] == forecast["id"]].sort_values("step")
            np.testing.assert_allclose(
                forecast["quantiles"]["0.5"], rows["q0.5"].to_numpy(), **TOLERANCE
            )
    app.service.close()
