"""A canary: sides that stick, answers of two versions that never mix, a challenger that breaks."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.prediction.predictor import Predictor
from serving.app import Application
from serving.models.canary import Split, on_challengers_side, same_question
from serving.reading.body import ARROW
from serving.reading.json_form import read_json
from serving.routes import series as routes
from serving.routes.route import CANARY
from serving.settings import ServingSettings
from serving.states.asked import enough_for
from tests.serving.conftest import Caller
from tests.serving.store import Store
from tests.serving.test_forecast import rich_series

SHARE = 0.5
START = "2015-01-01"


def history(seed: int) -> list[float]:
    t = np.arange(48)
    noise = np.random.default_rng(seed).normal(0, 2, len(t))
    return list((100 + seed + 20 * np.sin(2 * np.pi * t / 12) + noise).round(3))


def body(ids: list[str], **more: Any) -> dict[str, Any]:
    series = [{"id": name, "start": START, "y": history(k)} for k, name in enumerate(ids)]
    return {"series": series, **more}


def theirs(ids: list[str], model: str = "monthly", share: float = SHARE) -> list[str]:
    return [name for name in ids if on_challengers_side(model, name, share)]


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether two forecasts are one version's: another batch rounds the last digits otherwise."""
    numbers = [[*one.pop("quantiles").values(), one.pop("mean")] for one in (found, expected)]
    return found == expected and np.allclose(*numbers, rtol=1e-6, atol=0)


def application(store: Store, **given: Any) -> Application:
    values = {"models": ("monthly",), "home": store.home, "threads": 1, "log_level": "error"}
    app = Application(ServingSettings.read({}, **{**values, **given}))
    app.service.models.load()
    for rival in app.service.models.rivals.values():
        rival.refresh()
    return app


@dataclass
class Beside:
    """A service with a canary, and one of each version alone: what its answers must be made of."""

    canary: Caller
    champion: Caller
    challenger: Caller
    store: Store


@pytest.fixture(scope="module")
def beside(
    tmp_path_factory: pytest.TempPathFactory, plain: Path, plain_again: Path
) -> Iterator[Beside]:
    store = Store(tmp_path_factory.mktemp("canary"))
    store.register("monthly", plain)
    store.register("monthly", plain_again, alias="challenger")
    apps = [
        application(store, canary=SHARE),
        application(store),
        application(store, alias="challenger"),
    ]
    yield Beside(*(Caller(app) for app in apps), store)
    for app in apps:
        app.service.close()


@given(st.floats(0.01, 1), st.integers(0, 2**32))
@settings(max_examples=20)
def test_the_share_of_drawn_series_is_the_one_asked_for(share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = [f"series-{number}" for number in rng.integers(0, 2**60, 2000)]
    found = np.mean([on_challengers_side("a model", name, share) for name in drawn])
    # Five standard deviations of a share of 2,000.
    assert abs(found - share) <= 5 * np.sqrt(share * (1 - share) / 2000) + 1e-9


@given(st.text(), st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_the_series_of_a_smaller_one(
    model: str, series: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert on_challengers_side(model, series, low) <= on_challengers_side(model, series, high)
    assert not on_challengers_side(model, series, 0.0)
    assert on_challengers_side(model, series, 1.0)


def test_another_process_puts_every_series_on_the_same_side() -> None:
    ids = [f"shop-{k}" for k in range(200)]
    code = (
        "import json, sys; from serving.models.canary import on_challengers_side as side;"
        "print(json.dumps([side('monthly', i, 0.3) for i in json.load(sys.stdin)]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(ids), capture_output=True, text=True
    )
    assert json.loads(run.stdout) == [on_challengers_side("monthly", i, 0.3) for i in ids], (
        run.stderr
    )


@given(st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=1, max_size=8, unique=True))
@settings(max_examples=12, deadline=None)
def test_every_forecast_is_of_the_version_that_the_answer_says(
    beside: Beside, ids: list[str]
) -> None:
    answer = beside.canary.post(body(ids))
    found, champion, challenger = answer.json(), beside.champion.post(body(ids)).json(), (
        beside.challenger.post(body(ids)).json()
    )  # fmt: skip
    taken = theirs(ids)
    for k, name in enumerate(ids):
        other = challenger if name in taken else champion
        assert same(dict(found["forecasts"][k]), dict(other["forecasts"][k]))
        others = champion if name in taken else challenger
        assert not same(dict(found["forecasts"][k]), dict(others["forecasts"][k]))
    if not taken:
        assert found == champion
        assert CANARY not in answer.headers
        return
    assert found["canary"] == {
        "alias": "challenger",
        "version": 2,
        "run_id": challenger["model"]["run_id"],
        "share": SHARE,
        "ids": taken,
    }
    assert answer.headers[CANARY] == f"monthly@2 {len(taken)}/{len(ids)}"
    assert found["model"]["version"] == (2 if len(taken) == len(ids) else 1)


IDS = [f"shop-{k}" for k in range(9)]


def test_flat_arrow_and_many_series_are_split_alike(beside: Beside) -> None:
    readable = beside.canary.post(body(IDS)).json()
    means = [forecast["mean"] for forecast in readable["forecasts"]]
    y = [value for k in range(len(IDS)) for value in history(k)]
    flat = beside.canary.post({"ids": IDS, "sizes": [48] * len(IDS), "start": START, "y": y}).json()
    assert np.reshape(flat["mean"], (len(IDS), -1)) == pytest.approx(np.array(means))
    assert flat["canary"] == readable["canary"]
    sent = pa.table(
        {
            "id": IDS,
            "start": pa.array([np.datetime64(START, "us")] * len(IDS)),
            "y": [history(k) for k in range(len(IDS))],
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, sent.schema) as writer:
        writer.write_table(sent)
    answer = beside.canary(
        "POST",
        "/v1/forecast",
        content=sink.getvalue().to_pybytes(),
        headers={"content-type": ARROW},
    )
    with pa.ipc.open_stream(answer.content) as reader:
        table = reader.read_all()
    assert np.array(table.column("mean").to_pylist()) == pytest.approx(np.array(means))
    assert json.loads(table.schema.metadata[b"gatecast"])["canary"] == readable["canary"]

    many = [f"m{k}" for k in range(150)]
    found = beside.canary.post(body(many)).json()
    champion, challenger = (c.post(body(many)).json() for c in (beside.champion, beside.challenger))
    for k, name in enumerate(many):
        other = challenger if name in theirs(many) else champion
        assert found["forecasts"][k]["mean"] == pytest.approx(other["forecasts"][k]["mean"])
    assert found["canary"]["ids"] == theirs(many)


def test_mlflows_protocol_is_split_by_the_same_sides(beside: Beside) -> None:
    frame = pd.concat(
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range(START, periods=48, freq="MS").strftime("%Y-%m-%d"),
                "y": history(k),
            }
        )
        for k, name in enumerate(IDS)
    )
    sent = {"dataframe_split": {"columns": [*frame], "data": frame.to_numpy(object).tolist()}}
    found, champion, challenger = (
        caller.post(sent, "/invocations").json()
        for caller in (beside.canary, beside.champion, beside.challenger)
    )
    for row, one, other in zip(
        found["predictions"], champion["predictions"], challenger["predictions"], strict=True
    ):
        expected = other if row["unique_id"] in theirs(IDS) else one
        assert [row.pop(name) for name in ("unique_id", "ds")] == [
            expected.pop(name) for name in ("unique_id", "ds")
        ]
        assert row == pytest.approx(expected, rel=1e-6)
    assert found["canary"]["ids"] == theirs(IDS)
    assert found["model"] == champion["model"]


def one_of_each() -> tuple[str, str]:
    taken = theirs(IDS)
    return taken[0], next(name for name in IDS if name not in taken)


def test_a_kept_series_is_answered_by_its_side(beside: Beside) -> None:
    for name, version in zip(one_of_each(), (2, 1), strict=True):
        told = {"start": START, "y": history(3), "begin": True, "forecast": True}
        appended = beside.canary.post(told, f"/v1/series/{name}/append").json()
        asked = beside.canary("GET", f"/v1/series/{name}/forecast").json()
        assert appended["forecasts"] == asked["forecasts"]
        assert asked["model"]["version"] == version
        assert ("canary" in asked) == ("canary" in appended) == (version == 2)


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/explain", {}),
        ("/v1/anomalies", {"last": 3}),
        ("/v1/scenarios", {"scenarios": [{"name": "as-it-is"}]}),
        ("/v1/forecast", {"aggregate": [{"steps": 2}]}),
    ],
)
def test_what_is_asked_of_series_as_one_is_answered_by_one_version(
    beside: Beside, path: str, more: dict[str, Any]
) -> None:
    mine, yours = one_of_each()[::-1]
    alone = beside.canary.post(body([yours], **more), path)
    expected = beside.challenger.post(body([yours], **more), path)
    if expected.status_code != 200:
        # Without known-future covariates there are no scenarios, whoever answers.
        assert (alone.status_code, alone.json()["code"]) == (422, expected.json()["code"])
        return
    told = alone.json()
    assert told.pop("canary")["ids"] == [yours]
    assert told == expected.json()
    both = beside.canary.post(body([mine, yours], **more), path).json()
    assert both.pop("canary")["fell_back"] == {"because": "together", "ids": [yours]}
    assert both == beside.champion.post(body([mine, yours], **more), path).json()


def test_notes_are_those_of_the_version_that_answers(beside: Beside) -> None:
    service = beside.canary.app.service
    loaded = service.models.keepers["monthly"].current
    query = read_json(json.loads(json.dumps(body(IDS))), loaded.spec)
    split = service.canaries.split(loaded, query)
    (answer,) = service.batcher.compute(loaded, [query])
    (other,) = service.batcher.compute(split.rival, [split.part])
    ours, yours = [{"code": "champion's"}], [{"code": "challenger's"}]
    answer.query.notes.update(dict.fromkeys(range(len(IDS)), ours))
    other.query.notes.update(dict.fromkeys(split.places[1:], yours))
    notes = service.canaries.merged(split, answer, other).query.notes
    silent, *taken = split.places
    assert notes == {k: yours if k in taken else ours for k in range(len(IDS)) if k != silent}


def test_of_a_kept_series_as_much_is_read_as_either_version_looks_at(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {1: 3, 2: 40}
    versions = {
        id(keeper["monthly"].current.predictor): keeper["monthly"].current.origin.version
        for keeper in (
            beside.canary.app.service.models.keepers,
            beside.canary.app.service.models.rivals,
        )
    }
    asked = []

    def watched(looked_at: int) -> Any:
        asked.append(looked_at)
        return enough_for(looked_at)

    monkeypatch.setattr(routes, "rows_looked_at", lambda engine: rows[versions[id(engine)]])
    monkeypatch.setattr(routes, "enough_for", watched)
    told = {"start": START, "y": history(3), "begin": True}
    assert beside.canary.post(told, "/v1/series/longer/append").status_code == 200
    assert beside.canary("GET", "/v1/series/longer/forecast").status_code == 200
    assert asked == [40]


@pytest.mark.parametrize("heavy", [False, True])
def test_a_slow_challenger_does_not_keep_the_event_loop(
    tmp_path: Path, rich: Path, monkeypatch: pytest.MonkeyPatch, heavy: bool
) -> None:
    store = Store(tmp_path)
    store.register("monthly", rich)
    store.register("monthly", rich, alias="challenger")
    app = application(store, canary=1.0)
    rival = app.service.models.rivals["monthly"]
    rival.current = replace(rival.current, heavy=heavy)
    threads: list[int] = []
    compute = Split.asked

    def watched(self: Split, *rest: Any) -> Any:
        threads.append(threading.get_ident())
        return compute(self, *rest)

    monkeypatch.setattr(Split, "asked", watched)
    asked = {
        "series": [rich_series(0, history=False)],
        "scenarios": [{"name": "sale", "future": {"promo": 1}}],
    }
    told = Caller(app).post(asked, "/v1/scenarios").json()
    assert told["canary"]["ids"] == ["store-0"]
    # The event loop is this test's own thread.
    assert [thread == threading.get_ident() for thread in threads] == [not heavy]
    app.service.close()


class Broken:
    """Fails, or answers what is no number."""

    def __init__(self, inner: Predictor, way: str) -> None:
        self.inner, self.way = inner, way

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def predict_panel(self, *args: Any, **options: Any) -> Any:
        if self.way == "raises":
            raise MemoryError("no room")
        found = self.inner.predict_panel(*args, **options)
        if self.way == "NaN":
            return replace(found, mean=np.full_like(found.mean, np.nan))
        return replace(
            found,
            ids=found.ids[:0],
            mean=found.mean[:0],
            quantiles=found.quantiles[:0],
            start=found.start[:0],
        )


@pytest.mark.parametrize("way", ["raises", "NaN", "nothing"])
def test_a_challenger_that_breaks_leaves_the_champions_answer(
    beside: Beside, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    service = beside.canary.app.service
    rival = service.models.rivals["monthly"]
    broken = replace(rival.current, predictor=Broken(rival.current.predictor, way))
    monkeypatch.setattr(rival, "current", broken)
    counted = service.metrics.canary.labels("monthly", "failed")
    before, ids = counted._value.get(), theirs(IDS)
    found = beside.canary.post(body(IDS)).json()
    told = found.pop("canary")
    assert told["ids"] == []
    assert told["fell_back"] == {"because": "failed", "ids": ids}
    assert found == beside.champion.post(body(IDS)).json()
    assert counted._value.get() == before + len(ids)


def test_a_challenger_of_other_covariates_is_not_asked(
    plain: Path, rich: Path, beside: Beside
) -> None:
    beside.store.register("other", plain)
    beside.store.register("other", rich, alias="challenger")
    canary = Caller(application(beside.store, canary=1.0, models=("other",)))
    found = canary.post(body(IDS)).json()
    assert found.pop("canary")["fell_back"] == {"because": "other_question", "ids": IDS}
    expected = beside.champion.post(body(IDS)).json()
    assert found["forecasts"] == expected["forecasts"]
    one, other = (
        k.current.spec
        for k in (
            canary.app.service.models.keepers["other"],
            canary.app.service.models.rivals["other"],
        )
    )
    assert same_question(one, one, one.horizon + 1)
    assert not same_question(one, other, 1)


def test_the_challenger_comes_goes_and_is_promoted(
    beside: Beside, plain: Path, plain_again: Path
) -> None:
    store = beside.store
    store.register("moved", plain)
    app = application(store, canary=1.0, models=("moved",))
    caller, rival = Caller(app), app.service.models.rivals["moved"]
    assert "canary" not in caller.post(body(["a"])).json()
    second = store.register("moved", plain_again, alias="challenger")
    assert rival.refresh()
    told = caller.post(body(["a"])).json()
    assert (told["model"]["version"], told["canary"]["ids"]) == (second, ["a"])
    assert app.service.metrics.challenger.labels("moved")._value.get() == second
    # As champion it is no challenger any more, whichever alias is looked at first.
    store.alias("moved", second)
    app.service.models.keepers["moved"].refresh()
    told = caller.post(body(["a"])).json()
    assert (told["model"]["version"], "canary" in told) == (second, False)
    assert rival.refresh()
    assert rival.current is None


def test_a_challenger_that_cannot_be_loaded_is_counted_and_stops_nothing(
    beside: Beside, plain: Path, plain_again: Path
) -> None:
    store = beside.store
    store.register("half", plain)
    app = application(store, canary=1.0, models=("half",))
    store.register("half", plain_again, alias="challenger", finished=False)
    rival = app.service.models.rivals["half"]
    with pytest.raises(Exception, match="never finished"):
        rival.refresh()
    assert rival.current is None
    counted = app.service.metrics.challenger_failures.labels("half", "version")
    assert counted._value.get() == 1
    assert not rival.refresh(patient=True)
    assert "canary" not in Caller(app).post(body(["a"])).json()
    assert app.service.models.keepers["half"].problem is None


def test_off_it_is_not_there(beside: Beside) -> None:
    service = beside.champion.app.service
    assert service.models.rivals == {}
    assert service.shadow is None
    answer = beside.champion.post(body(IDS))
    assert "canary" not in answer.json()
    assert CANARY not in answer.headers


def test_the_followed_alias_cannot_be_its_own_challenger() -> None:
    with pytest.raises(Exception, match="followed already"):
        ServingSettings.read({}, models=("m",), shadow="champion")
    with pytest.raises(Exception, match="followed already"):
        ServingSettings.read({}, models=("m",), alias="challenger", canary=0.1)
