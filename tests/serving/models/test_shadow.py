"""A shadow: after the answer, within a budget, never in the way, and both forecasts kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.app import Application
from serving.models.compared import MOST_FILE, Journal
from serving.models.shadow import Budget
from tests.serving.conftest import Caller
from tests.serving.models.test_canary import IDS, application, body
from tests.serving.store import Store


@dataclass
class Shadowed:
    """A service with a shadow of all requests, and what it kept."""

    caller: Caller
    app: Application

    def kept(self) -> list[dict[str, Any]]:
        self.app.service.shadow.drain()
        files = sorted(self.app.settings.compared.glob("*/*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def counted(self, outcome: str) -> float:
        self.app.service.shadow.drain()
        metrics = self.app.service.metrics
        return float(metrics.shadow.labels("monthly", outcome)._value.get())


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, plain: Path, plain_again: Path) -> Store:
    store = Store(tmp_path_factory.mktemp("shadow"))
    store.register("monthly", plain)
    store.register("monthly", plain_again, alias="challenger")
    return store


@pytest.fixture
def shadowed(registry: Store, tmp_path: Path) -> Iterator[Shadowed]:
    app = application(
        registry,
        home=tmp_path,
        tracking_uri=registry.uri,
        shadow="challenger",
        shadow_share=1.0,
        shadow_budget=1.0,
    )
    # No clock decides what is kept here.
    app.service.shadow.budget = Budget(1.0, lambda: 0.0)
    app.service.shadow.budget.spend(-1e9)
    app.service.shadow.budget.spend = lambda seconds: None
    yield Shadowed(Caller(app), app)
    app.service.close()


def test_what_both_say_is_kept_and_the_answer_is_the_champions(shadowed: Shadowed) -> None:
    answer = shadowed.caller.post(body(IDS, quantiles=[0.1, 0.5]))
    told = answer.json()
    assert (told["model"]["version"], "canary" in told) == (1, False)
    service = shadowed.app.service
    rival = service.models.rivals["monthly"].current
    kept = shadowed.kept()
    assert [line["unique_id"] for line in kept] == IDS
    for line, forecast in zip(kept, told["forecasts"], strict=True):
        assert line["cutoff"] == "2018-12-01T00:00:00"
        assert line["ds"] == forecast["ds"]
        assert line["champion"] == {
            "version": 1, "mean": forecast["mean"], "quantiles": forecast["quantiles"],
        }  # fmt: skip
        assert line["challenger"]["version"] == rival.origin.version == 2
        assert line["challenger"]["quantiles"].keys() == {"0.1", "0.5"}
        assert line["challenger"]["mean"] != line["champion"]["mean"]
    assert shadowed.counted("kept") == 1


def test_the_same_forecast_is_not_computed_twice(shadowed: Shadowed) -> None:
    for _ in range(3):
        shadowed.caller.post(body(IDS[:2]))
        shadowed.app.service.shadow.drain()
    assert len(shadowed.kept()) == 2
    assert shadowed.counted("known") == 2
    shadowed.caller.post(body(IDS[:3]))
    assert [line["unique_id"] for line in shadowed.kept()] == IDS[:3]


def test_of_many_series_as_many_are_computed_as_a_batch_holds(shadowed: Shadowed) -> None:
    shadowed.caller.post(body([f"m{k}" for k in range(100)]))
    assert len(shadowed.kept()) == 64


def test_without_a_median_or_with_totals_nothing_is_kept(shadowed: Shadowed) -> None:
    shadowed.caller.post(body(IDS, quantiles=[0.1, 0.9]))
    shadowed.caller.post(body(IDS, aggregate=[{"steps": 2}]))
    assert shadowed.kept() == []
    assert shadowed.counted("no_median") == shadowed.counted("other_question") == 1


def test_a_spent_budget_a_full_queue_and_a_busy_service_drop_it(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = shadowed.app.service.shadow
    with monkeypatch.context() as patch:
        patch.setattr(shadow, "under_way", lambda: 1_000)
        shadowed.caller.post(body(["a"]))
        assert shadowed.counted("busy") == 1
    go_on, begun = threading.Event(), threading.Event()

    def wait(offer: Any) -> str:
        begun.set()
        go_on.wait(20)
        return "kept"

    with monkeypatch.context() as patch:
        patch.setattr(shadow, "_keep", wait)
        shadowed.caller.post(body(["a"]))
        assert begun.wait(20)
        for _ in range(40):
            # The queue is full after 32: answers come all the same.
            assert shadowed.caller.post(body(["a"])).status_code == 200
        go_on.set()
        assert shadowed.counted("dropped") == 40 - 32
    shadow.budget = Budget(0.1, lambda: 0.0)
    shadow.budget.spend(1.0)
    shadowed.caller.post(body(["a"]))
    assert shadowed.counted("over_budget") == 1
    assert shadowed.kept() == []


def test_a_challenger_that_fails_and_a_disk_that_is_full_harm_no_answer(
    shadowed: Shadowed, monkeypatch: pytest.MonkeyPatch
) -> None:
    rival = shadowed.app.service.models.rivals["monthly"]

    class Fails:
        def __getattr__(self, name: str) -> Any:
            raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(rival, "current", replace(rival.current, predictor=Fails()))
        assert len(shadowed.caller.post(body(IDS)).json()["forecasts"]) == len(IDS)
        assert shadowed.counted("failed") == 1
    shadowed.app.settings.compared.write_text("in the way")
    assert len(shadowed.caller.post(body(IDS)).json()["forecasts"]) == len(IDS)
    assert shadowed.counted("unwritten") == 1
    # What could not be kept then is kept when it is asked for again.
    shadowed.app.settings.compared.unlink()
    shadowed.caller.post(body(IDS))
    assert [line["unique_id"] for line in shadowed.kept()] == IDS


def test_what_the_challenger_takes_is_taken_from_the_budget(shadowed: Shadowed) -> None:
    shadow = shadowed.app.service.shadow
    shadow.budget = Budget(1.0, lambda: 0.0)
    before = shadow.budget.left
    shadowed.caller.post(body(IDS))
    assert len(shadowed.kept()) == len(IDS)
    spent = shadowed.app.service.metrics.shadow_seconds.labels("monthly")._value.get()
    assert before - shadow.budget.left == pytest.approx(spent)
    assert spent > 0


def test_a_canary_keeps_both_without_a_shadow(registry: Store, tmp_path: Path) -> None:
    app = application(registry, home=tmp_path, tracking_uri=registry.uri, canary=1.0)
    told = Caller(app).post(body(IDS)).json()
    kept = Shadowed(Caller(app), app).kept()
    assert [line["challenger"]["mean"] for line in kept] == [f["mean"] for f in told["forecasts"]]
    assert all(line["champion"]["mean"] != line["challenger"]["mean"] for line in kept)
    app.service.close()


@given(
    st.floats(0.001, 1),
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=40),
)
def test_a_budget_is_never_overdrawn_by_more_than_one_piece_of_work(
    share: float, events: list[tuple[float, float]]
) -> None:
    now = 0.0
    budget = Budget(share, lambda: now)
    used = largest = 0.0
    for pause, work in events:
        now += pause
        if budget.left > 0:
            budget.spend(work)
            used, largest = used + work, max(largest, work)
        # A second's worth was there at the start.
        assert used <= share * (now + 1.0) + largest + 1e-6


def test_the_oldest_files_go_when_they_grow_too_many(tmp_path: Path) -> None:
    line = b"x" * (MOST_FILE // 2)
    journal = Journal(tmp_path, 4 * MOST_FILE)
    for _ in range(20):
        journal.write("a/b", [line])
    (folder,) = tmp_path.iterdir()
    assert folder.name == "a%2Fb"
    size = sum(file.stat().st_size for file in folder.iterdir())
    assert 2 * MOST_FILE <= size <= 4 * MOST_FILE + len(line)


def test_workers_of_a_small_limit_leave_each_other_what_they_write(tmp_path: Path) -> None:
    ours, theirs = Journal(tmp_path, 1 << 20), Journal(tmp_path, 1 << 20)
    for turn in range(3):
        ours.write("m", [b"ours %d" % turn])
        theirs.write("m", [b"theirs %d" % turn])
    (folder,) = tmp_path.iterdir()
    said = b"".join(file.read_bytes() for file in folder.iterdir()).split(b"\n")
    assert sorted(said)[1:] == sorted(b"%s %d" % (who, k) for who in (b"ours", b"theirs")
                                      for k in range(3))  # fmt: skip
    for file in folder.iterdir():
        file.unlink()
    ours.write("m", [b"again"])
    assert [file.read_bytes() for file in folder.iterdir()] == [b"again\n"]
