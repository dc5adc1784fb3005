"""Small work overtakes large, and what nobody waits for ends."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from serving.app import Application
from serving.models.batcher import AbandonedError
from serving.reading.body import GoneError
from serving.routes.route import Call
from serving.running.lanes import HUGE_SECONDS, Lanes
from serving.settings import ServingSettings
from tests.serving.conftest import Caller
from tests.serving.test_forecast import series


def test_small_work_is_done_while_large_work_fills_its_lane() -> None:
    async def scenario() -> list[str]:
        lanes, gate, order = Lanes(), threading.Event(), []

        def large() -> None:
            assert gate.wait(10)
            order.append("large")

        waiting = [asyncio.ensure_future(lanes.run(large, 5.0 + k)) for k in range(4)]
        await lanes.run(lambda: order.append("small"))
        medium = asyncio.ensure_future(lanes.run(lambda: order.append("medium"), 1.0))
        await medium
        gate.set()
        await asyncio.gather(*waiting)
        lanes.close()
        return order

    # One huge piece at a time leaves a thread for what is only large.
    assert asyncio.run(scenario()) == ["small", "medium", *["large"] * 4]


def test_the_shorter_of_two_that_wait_goes_first() -> None:
    async def scenario() -> list[float]:
        lanes, gate, order = Lanes(), threading.Event(), []
        blocker = asyncio.ensure_future(lanes.run(lambda: gate.wait(10), HUGE_SECONDS + 1))
        await asyncio.sleep(0)
        pieces = [
            asyncio.ensure_future(lanes.run(lambda s=s: order.append(s), s))  # type: ignore[misc]
            for s in (90.0, 30.0, 60.0)
        ]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(blocker, *pieces)
        lanes.close()
        return order

    assert asyncio.run(scenario()) == [30.0, 60.0, 90.0]


def test_an_error_in_a_lane_reaches_who_asked() -> None:
    async def scenario() -> None:
        lanes = Lanes()
        for seconds in (0.0, 1.0):
            with pytest.raises(KeyError):
                await lanes.run(lambda: {}["nothing"], seconds)
        lanes.close()

    asyncio.run(scenario())


def test_work_ends_when_its_caller_leaves(app: Application) -> None:
    ended = threading.Event()

    async def scenario() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        def work(stop: threading.Event) -> None:
            if stop.wait(10):
                ended.set()

        with pytest.raises(GoneError):
            await Call(app.service, receive, {}, "id").compute(work, 1.0)

    asyncio.run(scenario())
    assert ended.wait(10)


def test_an_abandoned_forecast_stops_at_the_next_run_of_the_network(app: Application) -> None:
    stop = threading.Event()
    loaded = app.service.loaded("monthly")
    runs = 0
    engine = loaded.until(stop).predictor
    run = engine.runner

    def counted(batch: Any) -> Any:
        nonlocal runs
        runs += 1
        if runs == 3:
            stop.set()
        return run(batch)

    engine.runner = counted
    from forecasting.prediction.example import example_panel

    with pytest.raises(AbandonedError):
        engine.predict_panel(example_panel(engine, 1), horizon=6 * 50, extend=True)
    assert runs == 3
    # The version itself goes on.
    assert Caller(app).post({"series": [series()]}).status_code == 200


def test_work_beyond_the_limit_is_refused_before_it_is_begun(
    settings: ServingSettings, app: Application
) -> None:
    limited = Application(settings.model_copy(update={"max_windows": 10}))
    limited.service.models.load()
    call = Caller(limited)
    fits = {"series": [series("a"), series("b", 7)], "horizon": 30, "extend": True}
    assert call.post(fits).status_code == 200
    for body in (
        {**fits, "horizon": 31},
        {"sizes": [40] * 3, "y": [1.0] * 120, "start": "2020-01-01", "horizon": 24, "extend": True},
    ):
        answer = call.post(body)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_much_work")
        assert answer.json()["limit"] == 10
