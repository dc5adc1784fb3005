"""The Python client: tables in and out, patience, and errors that can be acted on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import numpy as np
import pandas as pd
import pytest

from forecasting.data.calendar import Frequency
from forecasting.errors import DataError
from forecasting.paths.drawn import Drawn
from forecasting.paths.sampling import Draws
from forecasting.prediction.predictor import Predictor
from serving import client as module
from serving.app import Application
from serving.client import Client, ServiceError
from tests.serving.conftest import KEY, sales, stores

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}


class Bridge(httpx.BaseTransport):
    """Leads a client to the application without a socket, after some prepared answers."""

    def __init__(self, app: Application, *before: httpx.Response | Exception) -> None:
        self.inner, self.before = httpx.ASGITransport(app=app), list(before)  # type: ignore[arg-type]
        self.count = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        if self.before:
            first = self.before.pop(0)
            if isinstance(first, Exception):
                raise first
            return first

        async def send() -> httpx.Response:
            answer = await self.inner.handle_async_request(
                httpx.Request(request.method, request.url, headers=request.headers,
                              content=request.read())
            )  # fmt: skip
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=await answer.aread()
            )

        return asyncio.run(send())


@pytest.fixture
def client(app: Application) -> Iterator[Client]:
    with Client("http://test", api_key=KEY, transport=Bridge(app)) as made:
        yield made


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the client waited, without waiting."""
    found: list[float] = []
    monkeypatch.setattr(module.time, "sleep", found.append)
    return found


def test_a_table_gives_the_table_of_the_library(client: Client, monthly: Predictor) -> None:
    frame = sales()[["unique_id", "ds", "y"]]
    found = client.forecast(frame, quantiles=[0.2, 0.5], horizon=4)
    expected = monthly.predict(frame, quantiles=[0.2, 0.5], horizon=4)
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)


def test_paths_and_totals_come_as_the_library_gives_them(
    client: Client, monthly: Predictor
) -> None:
    frame = sales(4)[["unique_id", "ds", "y"]]
    asked = {"paths": 6, "seed": 2, "aggregate": [{"steps": 3, "by": []}]}
    found = client.forecasts(frame, horizon=4, together=asked)
    drawn = Drawn.by(monthly, frame, Draws(6, 2), horizon=4)
    pd.testing.assert_frame_equal(found.paths, drawn.table, check_dtype=False, rtol=1e-5)
    (total,) = found.together["aggregates"][0]["totals"]
    assert total["mean"][0] == pytest.approx(drawn.totals(steps=3, by=[])["mean"].iloc[0])
    assert list(found.frame.columns) == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert client.forecasts(frame).paths is None


def test_covariates_go_along(client: Client, retail: Predictor) -> None:
    frame = sales()
    cut = frame.groupby("unique_id").cumcount() >= 68
    future = frame[cut][["unique_id", "ds", "promo"]]
    history = frame[~cut]
    found = client.forecasts(history, future=future, static=stores(), model="retail")
    expected = retail.predict(history, future=future, static=stores())
    np.testing.assert_allclose(found.frame["q0.5"], expected["q0.5"], **TOLERANCE)
    assert (found.errors, found.notes) == ([], [])
    assert found.model["name"] == "retail"


def test_static_columns_of_the_table_go_along(client: Client, retail: Predictor) -> None:
    frame = sales()
    cut = frame.groupby("unique_id").cumcount() >= 68
    future = frame[cut][["unique_id", "ds", "promo"]]
    history = frame[~cut]
    long = history.merge(stores(), on="unique_id")
    apart = client.forecast(history, future=future, static=stores(), model="retail")
    found = client.forecast(long, future=future, model="retail")
    pd.testing.assert_frame_equal(found, apart)
    assert (
        found["q0.5"]
        != client.forecast(
            history, future=future, static=stores().assign(region="north"), model="retail"
        )["q0.5"]
    ).any()
    pd.testing.assert_frame_equal(
        retail.predict(long, future=future), retail.predict(history, future=future, static=stores())
    )


def test_zones_come_back(client: Client, power: Predictor) -> None:
    stamps = pd.date_range("2026-03-28", periods=60, freq="h", tz="Europe/Madrid")
    frame = pd.DataFrame({"unique_id": "m", "ds": stamps, "y": np.arange(60.0)})
    found = client.forecast(frame, model="power")
    expected = power.predict(frame)
    assert list(found["ds"]) == list(expected["ds"])
    np.testing.assert_allclose(found["mean"], expected["mean"], **TOLERANCE)


@pytest.mark.parametrize("day", [29, 30, 31])
def test_days_that_a_short_month_cuts_come_back(
    client: Client, monthly: Predictor, day: int
) -> None:
    """Wherever rows end: the first step ahead may be cut where those after it are not."""
    stamps = Frequency.parse("MS").stamps(np.array([f"2019-01-{day}"], "datetime64[us]"), 0, 30)[0]
    for count in (25, 27, 29):
        frame = pd.DataFrame({"unique_id": "m", "ds": stamps[:count], "y": np.arange(count) + 5.0})
        other = frame.assign(
            unique_id="n", ds=pd.date_range("2019-01-01", periods=count, freq="MS")
        )
        for table in (frame, pd.concat([other, frame])):
            found, expected = client.forecast(table), monthly.predict(table)
            assert list(found["ds"]) == list(expected["ds"])


def test_what_is_odd_about_a_history_is_a_warning(client: Client) -> None:
    frame = sales(2)[["unique_id", "ds", "y"]].fillna(100.0)
    frame.loc[frame.index[-1], "y"] = 9999.0
    with pytest.warns(UserWarning, match=r"series 'store-1': y holds 9999 in 1 rows"):
        client.forecast(frame)


def test_a_refused_series_is_an_error_or_stands_beside_the_others(client: Client) -> None:
    frame = sales(2)[["unique_id", "ds", "y"]]
    frame.loc[frame["unique_id"] == "store-1", "y"] = np.nan
    with pytest.raises(DataError, match="1 series cannot be forecast; first: series 'store-1'"):
        client.forecast(frame)
    found = client.forecasts(frame)
    assert set(found.frame["unique_id"]) == {"store-0"}
    assert found.errors[0]["code"] == "no_observations"


def test_a_refusal_carries_its_code_and_places(client: Client) -> None:
    frame = sales(1)[["unique_id", "ds", "y"]]
    with pytest.raises(ServiceError, match="beyond 6") as caught:
        client.forecast(frame, horizon=9)
    assert (caught.value.status, caught.value.code) == (422, "invalid_request")
    assert caught.value.errors[0]["pointer"] == "/horizon"
    assert caught.value.request_id
    assert len(client.forecast(frame, horizon=9, extend=True)) == 9
    with pytest.raises(ServiceError, match="no model") as caught:
        client.model("nope")
    assert caught.value.code == "unknown_model"


def test_it_tries_again_as_late_as_it_is_asked(app: Application, naps: list[float]) -> None:
    busy = httpx.Response(503, headers={"retry-after": "7"}, json={"code": "too_busy"})
    lost = httpx.ConnectError("refused")
    bridge = Bridge(app, busy, lost, httpx.Response(502))
    assert len(Client("http://test", transport=bridge).models()) == 3
    assert bridge.count == 4
    assert naps[0] == 7.0
    assert all(0 < nap < 1 for nap in naps[1:])


def test_it_gives_up_and_says_why(app: Application, naps: list[float]) -> None:
    away = [httpx.ConnectError("refused") for _ in range(3)]
    with pytest.raises(ServiceError, match="no answer from http://test"):
        Client("http://test", retries=2, transport=Bridge(app, *away)).models()
    full = [httpx.Response(503, json={"detail": "busy", "code": "too_busy"}) for _ in range(2)]
    with pytest.raises(ServiceError, match="503: busy"):
        Client("http://test", retries=1, transport=Bridge(app, *full)).models()
    broken = Bridge(app, httpx.Response(500, text="oops"))
    with pytest.raises(ServiceError, match="500: oops"):
        Client("http://test", transport=broken).models()
    assert broken.count == 1


def test_a_refresh_uses_the_key(client: Client, app: Application) -> None:
    assert client.refresh("monthly")["swapped"] is False
    with pytest.raises(ServiceError, match="401"):
        Client("http://test", transport=Bridge(app)).refresh("monthly")


def test_a_kept_series_is_begun_appended_to_forecast_and_forgotten(
    client: Client, retail: Predictor
) -> None:
    whole = sales(1).assign(promo=lambda f: f["promo"].astype(float))
    rows, ahead = whole[:-4].drop(index=3), whole[-4:].drop(columns=["y", "temp", "unique_id"])
    about = {"region": "north", "area": np.float64(80.0)}
    series = rows.drop(columns="unique_id")
    first = client.append("shop 1/2", series[:40], begin=True, static=about, model="retail")
    assert (first["rows"], first["appended"]) == (41, 41)
    last = client.append("shop 1/2", series[38:], future=ahead, model="retail")
    assert last["known"] == 2
    found = client.forecast_of("shop 1/2", horizon=3, quantiles=[0.3], model="retail")
    expected = retail.predict(
        rows.assign(unique_id="shop 1/2"), horizon=3, quantiles=[0.3],
        future=ahead.assign(unique_id="shop 1/2"),
        static=pd.DataFrame([{"unique_id": "shop 1/2", **about}]),
    )  # fmt: skip
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)
    with pytest.raises(ServiceError) as refused:
        client.append("shop 1/2", series[:2].assign(y=1.0), model="retail")
    assert (refused.value.status, refused.value.code) == (409, "contradiction")
    client.forget("shop 1/2", model="retail")
    with pytest.raises(ServiceError, match="nothing is kept"):
        client.forecast_of("shop 1/2", model="retail")
