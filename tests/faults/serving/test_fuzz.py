"""Whatever is sent, an answer comes that says what is wrong, and no number that is none."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import psutil
import pyarrow as pa
import pytest

from tests.faults.rows import Measure
from tests.faults.serving.mutants import mutants
from tests.faults.serving.traffic import Answer, Caller, LostError, question
from tests.serving.process import Server
from tests.serving.store import Store

CALLERS = 12
MET = {200, 400, 404, 405, 406, 408, 411, 413, 415, 421, 422, 431}
PART = 500  # requests between two looks at the service


@pytest.fixture(scope="module")
def server(store: Store) -> Iterator[Server]:
    """A service of three models that gives up soon on what does not come."""
    limits = {"GATECAST_HEAD_SECONDS": "1", "GATECAST_BODY_SECONDS": "1"}
    with Server(store, "monthly", "retail", "power", **limits) as started:
        yield started


@pytest.mark.slow
@pytest.mark.fault("fuzz")
@pytest.mark.timeout(7200)
def test_mutants_of_every_form_are_answered(server: Server, measure: Measure) -> None:
    count = measure.count(1_400, 1_000_000)
    found = asyncio.run(_fuzz(server.port, count, seed=count))
    process = psutil.Process(server.process.pid)
    size = process.memory_info().rss >> 20
    assert asyncio.run(Caller(server.port).ask(question())).status == 200
    statuses = ", ".join(f"{n:,} × {s or 'closed'}" for s, n in sorted(found.statuses.items()))
    measure.says(
        f"{count:,} mutants on sockets, {len(found.forms)} forms: {statuses}; none unanswered, "
        f"longest answer {found.longest:.1f} s, process {size} MB after",
        statuses={str(k): v for k, v in found.statuses.items()},
        forms=dict(found.forms),
        longest_seconds=round(found.longest, 2),
        megabytes=size,
    )


class _Found:
    def __init__(self) -> None:
        self.statuses: Counter[int] = Counter()
        self.forms: Counter[str] = Counter()
        self.longest = 0.0


async def _fuzz(port: int, count: int, seed: int) -> _Found:
    draw, found = random.Random(seed), _Found()
    makers = list(mutants(draw).items())
    callers = [Caller(port) for _ in range(CALLERS)]
    waiting = iter(range(count))

    async def call(caller: Caller) -> None:
        for turn in waiting:
            form, make = makers[turn % len(makers)]
            raw, whole = make()
            found.forms[form] += 1
            began = time.monotonic()
            try:
                answer = await caller.ask(raw, patience=30)
            except LostError as error:
                # What breaks HTTP itself may end the connection; it must not hang.
                if whole or "no answer within" in str(error):
                    raise AssertionError((form, raw)) from error
                found.statuses[0] += 1
                continue
            finally:
                found.longest = max(found.longest, time.monotonic() - began)
            found.statuses[answer.status] += 1
            _check(answer, form, raw)
            if not whole:
                # What is left of one request would be read as the next.
                caller.close()

    await asyncio.gather(*(call(caller) for caller in callers))
    return found


def _check(answer: Answer, form: str, raw: bytes) -> None:
    assert answer.status in MET, (form, answer, raw)
    head = answer.head.lower()
    assert b"x-request-id: " in head or answer.status == 400, (form, answer, raw)
    if not answer.body or b"\r\ncontent-encoding:" in head:
        return
    kind = head.split(b"\r\ncontent-type: ")[1].split(b"\r\n")[0]
    if b"arrow" in kind:
        with pa.ipc.open_stream(answer.body) as reader:
            rows = reader.read_all()
        for name in rows.column_names:
            if name == "mean" or name.startswith("q"):
                values = rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
                assert np.isfinite(values).all(), (form, raw)
    elif b"json" in kind:
        said = orjson.loads(answer.body)
        if answer.status == 200:
            _only_numbers(said)
        else:
            assert said["code"], (form, raw)
            assert said["detail"], (form, raw)


def _only_numbers(said: dict[str, Any]) -> None:
    """Every mean and quantile is a number."""
    for forecast in said.get("forecasts", []):
        for values in (forecast["mean"], *forecast["quantiles"].values()):
            assert all(isinstance(v, float | int) and math.isfinite(v) for v in values), said
    for row in said.get("predictions", []):
        numbers = [v for k, v in row.items() if k == "mean" or k.startswith("q")]
        assert all(isinstance(v, float | int) and math.isfinite(v) for v in numbers), said
    if isinstance(said.get("mean"), list):
        for values in (said["mean"], *said["quantiles"].values()):
            assert all(isinstance(v, float | int) and math.isfinite(v) for v in values), said


@pytest.mark.slow
@pytest.mark.fault("fuzz")
@pytest.mark.timeout(7200)
def test_what_the_document_describes_is_what_is_answered(server: Server, measure: Measure) -> None:
    """Cases that schemathesis draws from the OpenAPI document, right ones and wrong ones."""
    schemathesis = pytest.importorskip(
        "schemathesis", reason="schemathesis is not installed: pip install 'gatecast[faults]'"
    )
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.specs.openapi import checks as of_openapi

    checks = [
        schemathesis.checks.not_a_server_error,
        of_openapi.status_code_conformance,
        of_openapi.content_type_conformance,
        of_openapi.response_schema_conformance,
    ]

    schema = schemathesis.openapi.from_dict(server.http.get("/openapi.json").json())
    each = measure.count(12, 2_000)
    seen: Counter[int] = Counter()
    operations = 0
    for operation in (result.ok() for result in schema.get_all_operations()):
        operations += 1
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=each,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate],
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = case.call(base_url=server.address)
                seen[answer.status_code] += 1
                case.validate_response(answer, checks=checks)

            # Some operations have nothing that could be wrong.
            with contextlib.suppress(Unsatisfiable):
                ask()
    statuses = ", ".join(f"{n:,} × {s}" for s, n in sorted(seen.items()))
    measure.says(
        f"{seen.total():,} cases of schemathesis over {operations} operations: {statuses}",
        statuses={str(k): v for k, v in seen.items()},
    )
