"""Thousands of broken requests: never a 5xx, never a long answer, always a reason."""

from __future__ import annotations

import asyncio
import copy
import random
from typing import Any

import httpx
import orjson
import pytest

from serving.app import Application
from serving.reading.body import ARROW
from tests.serving.reading.test_arrow_form import stream, table
from tests.serving.routes.test_invocations import layouts, plain_frame
from tests.serving.test_forecast import rich_series, series

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 1.5, -0.0, 1e308, 5e-324, 2**63, -(2**63), 10**19, "", "x", "1",
    "NaN", "2020-01-01", "2020-13-01", "9999-12-31T23:59:59", "0001-01-01", "2020-01-01T00:00:00Z",
    "2020-01-01T00:00:00+14:00", "2020-02-30", "\u0000", "\U0001f600", "a" * 5000, [], {}, [[]],
    [None], [0] * 3, {"": 0}, {"y": []}, [{}], "Europe/Madrid", "../../etc/passwd", "h", 99, 0.5,
)  # fmt: skip
NAMES = ("id", "y", "start", "sizes", "horizon", "quantiles", "extend", "tz", "model", "series",
         "past", "future", "static", "labels", "by", "levels", "groups", "how",
         "promo", "columns", "data", "params", "~/", "")  # fmt: skip


def seeds() -> list[tuple[str, Any]]:
    """Requests that work, to be broken."""
    rich = {"model": "retail", "series": [rich_series(0), rich_series(1)], "horizon": 3}
    flat = {
        "y": [1.0, 2.0, None, 4.0, 5.0],
        "sizes": [3, 2],
        "start": ["2020-01-01", "2021-01-01"],
        "ids": ["a", "b"],
        "quantiles": [0.1, 0.9],
    }
    power = {"model": "power", "tz": "Europe/Madrid", "horizon": 8, "extend": True,
             "series": [{"id": "m", "start": "2026-03-28", "y": [1.0, 2.0, 3.0]}]}  # fmt: skip
    short = {"series": [series("a", 5), series("b", 3)], "horizon": 2}
    joint = {"series": [series("a", 9), series("b", 9)], "horizon": 2, "paths": 4, "seed": 1,
             "labels": {"g": ["n", "s"]},
             "aggregate": [{"steps": 2, "by": ["g"]}, {"groups": {"m": ["a", "b"]}}],
             "hierarchy": {"levels": [[], ["g"]], "how": "wls", "nonnegative": True}}  # fmt: skip
    tables = layouts(plain_frame(1).head(6))
    scoring = [{name: content, "params": {"horizon": 2}} for name, content in tables.items()]
    forecasts = [("/v1/forecast", body) for body in (rich, flat, power, short, joint)]
    return forecasts + [("/invocations", body) for body in scoring]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a body and every key in it."""
    found: list[tuple[Any, Any]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        found.append((value, key))
        if isinstance(inner, dict | list):
            found += places(inner)
    return found


def broken(body: Any, draw: random.Random) -> Any:
    body = copy.deepcopy(body)
    for _ in range(draw.randint(1, 3)):
        everywhere = places(body)
        if not everywhere:
            break
        holder, key = draw.choice(everywhere)
        what = draw.randrange(5)
        if what == 0:
            del holder[key]
        elif what == 1 and isinstance(holder, dict):
            holder[draw.choice(NAMES)] = draw.choice(VALUES)
        elif what == 2 and isinstance(holder, list):
            holder.insert(draw.randint(0, len(holder)), copy.deepcopy(draw.choice(VALUES)))
        elif what == 3 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = copy.deepcopy(draw.choice(VALUES))
    return body


def run(app: Application, count: int, seed: int) -> dict[int, int]:
    draw, good, statuses = random.Random(seed), seeds(), {}

    async def all_of_them() -> None:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            for _ in range(count):
                path, body = draw.choice(good)
                try:
                    content = orjson.dumps(broken(body, draw))
                except TypeError:
                    continue
                headers = {"content-type": "application/json"}
                answer = await client.post(path, content=content, headers=headers)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                assert answer.status_code in (200, 400, 404, 413, 422), content
                assert len(answer.content) < 100_000, content
                found = orjson.loads(answer.content)
                if answer.status_code != 200:
                    assert found["detail"], content
                    for error in found.get("errors", []):
                        assert error["pointer"].startswith("/") or not error["pointer"]

    asyncio.run(all_of_them())
    return statuses


def test_broken_bodies_are_refused_with_a_reason(app: Application) -> None:
    statuses = run(app, 1500, seed=0)
    assert statuses[422] > 100
    assert statuses[200] > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_many_more_broken_bodies(app: Application, seed: int) -> None:
    run(app, 10_000, seed)


@pytest.mark.parametrize(
    ("count", "seed"), [(600, 0), pytest.param(20_000, 1, marks=pytest.mark.slow)]
)
def test_broken_bytes_are_refused(app: Application, count: int, seed: int) -> None:
    draw = random.Random(seed)
    asked = [series("a", 6), series("b", 4)]
    arrow = stream(table(asked), horizon=2)
    text = orjson.dumps({"series": asked})

    async def scenario() -> None:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            for turn in range(count):
                content, kind = (arrow, ARROW) if turn % 2 else (text, "application/json")
                damaged = bytearray(content)
                for _ in range(draw.randint(1, 4)):
                    damaged[draw.randrange(len(damaged))] = draw.randrange(256)
                if draw.random() < 0.2:
                    del damaged[draw.randrange(len(damaged)) :]
                headers = {"content-type": kind, "accept": "application/json"}
                if draw.random() < 0.1:
                    headers["content-encoding"] = draw.choice(["gzip", "zstd"])
                sent = bytes(damaged)
                answer = await client.post("/v1/forecast", content=sent, headers=headers)
                assert answer.status_code in (200, 400, 404, 413, 415, 422), (turn, sent)

    asyncio.run(scenario())
