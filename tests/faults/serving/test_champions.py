"""New champions, good ones and bad ones, while the old one answers."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from forecasting.bundle import FILES
from forecasting.errors import GatecastError
from serving.running import logs
from tests.faults.rows import Measure
from tests.faults.serving.champions import ALL, hostile
from tests.faults.serving.traffic import Answer, Traffic, question
from tests.serving.conftest import KEY
from tests.serving.conftest import Caller as InProcess
from tests.serving.models.test_keeper import sample, service
from tests.serving.process import Server
from tests.serving.store import Store
from tests.serving.test_forecast import series

# What was accepted, or never ended, before this table was made.
MENDED = ("config: an extra covariate", "config.json a link to /dev/zero")


def means(answer: Answer) -> tuple[int, tuple[float, ...]]:
    body = json.loads(answer.body)
    return body["model"]["version"], tuple(body["forecasts"][0]["mean"])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("champions"))


@pytest.mark.slow
@pytest.mark.fault("swap")
@pytest.mark.timeout(3600)
def test_champions_change_under_load_and_nobody_notices(
    registry: Store, plain: Path, plain_again: Path, measure: Measure
) -> None:
    swaps = measure.count(6, 200)
    versions = [registry.register("swapped", bundle) for bundle in (plain, plain_again)]

    async def scenario(server: Server) -> tuple[Traffic, list[float]]:
        process, sizes = psutil.Process(server.process.pid), []
        async with Traffic(server.port, question(), callers=4, keep=means) as traffic:
            for turn in range(swaps):
                wanted = versions[turn % 2]
                await asyncio.to_thread(registry.alias, "swapped", wanted)
                for _ in range(2000):
                    await asyncio.sleep(0.02)
                    assert traffic.failed == 0, (traffic.statuses, traffic.lost)
                    if traffic.kept and traffic.kept[-1][0] == wanted:
                        break
                else:
                    raise AssertionError(f"version {wanted} does not answer")
                sizes.append(process.memory_info().rss / (1 << 20))
        return traffic, sizes

    with Server(registry, "swapped", GATECAST_POLL_SECONDS="0.02") as server:
        traffic, sizes = asyncio.run(scenario(server))
    assert traffic.failed == 0
    by_version: dict[int, set[tuple[float, ...]]] = {}
    for version, mean in traffic.kept:
        by_version.setdefault(version, set()).add(tuple(round(m, 3) for m in mean))
    assert {version: len(found) for version, found in by_version.items()} == dict.fromkeys(
        versions, 1
    )
    # The first few swaps fill the cache of versions and the allocator's pools.
    growth = sizes[-1] - sizes[min(len(sizes) // 4, 20)]
    measure.goal("no growth beyond 20 MB", growth <= 20)
    measure.says(
        f"{swaps} swaps under {traffic.statuses.total():,} requests: none failed, each answer from "
        f"one version; {growth:+.1f} MB from the first quarter to the end",
        requests=traffic.statuses.total(),
        growth_megabytes=round(growth, 1),
    )


@pytest.mark.slow
@pytest.mark.fault("hostile")
@pytest.mark.timeout(3600)
def test_no_hostile_champion_answers_or_ends_the_old_one(
    registry: Store,
    plain: Path,
    plain_again: Path,
    tmp_path: Path,
    measure: Measure,
    capfd: Any,
) -> None:
    kinds = [*ALL[::6], *MENDED] if measure.quick else ALL
    good = registry.register("kept", plain)
    app = service(registry, "kept", tmp_path / "home", load_seconds=4)
    call, keeper = InProcess(app), app.service.models.keepers["kept"]
    expected = call.post({"series": [series()]}).json()["forecasts"]
    accepted, unsaid = [], []
    logs.configure("warning")
    for number, kind in enumerate(kinds):
        before = sample(app, "gatecast_load_failures_total")
        hostile(kind, plain_again, tmp_path / str(number), registry, "kept")
        capfd.readouterr()
        try:
            keeper.refresh()
            accepted.append(kind)
        except GatecastError as error:
            line = next((x for x in capfd.readouterr().err.splitlines() if "stays" in x), "")
            counted = sample(app, "gatecast_load_failures_total") == before + 1
            if not (counted and "\n" not in str(error) and "kept" in line):
                unsaid.append((kind, str(error), line, counted))
        answer = call.post({"series": [series()]})
        assert answer.status_code == 200, kind
        shutil.rmtree(tmp_path / str(number), ignore_errors=True)
    assert (accepted, unsaid) == ([], [])
    body = call.post({"series": [series()]}).json()
    assert body["model"]["version"] == good
    assert body["forecasts"] == expected
    registry.alias("kept", good)
    answer = call("POST", "/v1/models/kept/refresh", headers={"x-api-key": KEY})
    assert answer.status_code == 200
    measure.says(
        f"{len(kinds)} kinds of {len(ALL)}: every one refused, counted and named in the log; the "
        "old one answered the same before and after",
        kinds=len(kinds),
    )


@pytest.mark.fault("flips")
@pytest.mark.timeout(3600)
def test_a_flipped_bit_anywhere_in_a_bundle_is_refused(
    registry: Store, plain: Path, tmp_path: Path, measure: Measure
) -> None:
    """In the files as they lie in the registry, and in those that the service keeps."""
    count, draw = measure.count(40, 1000), random.Random(0)
    version = registry.register("flipped", plain)
    source = str(registry.client.get_model_version("flipped", str(version)).source)
    where = Path(source.removeprefix("file://"))
    app = service(registry, "flipped", tmp_path / "home")
    keeper = app.service.models.keepers["flipped"]
    loaded = keeper.current
    assert loaded is not None
    files = (*FILES, "manifest.json")
    refused = 0
    for turn in range(count):
        path = where / files[turn % len(files)]
        whole = path.read_bytes()
        content = bytearray(whole)
        bit = draw.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        # In the cache, too: it must be noticed there, and not be mended by what is damaged.
        (loaded.folder / path.name).write_bytes(content)
        try:
            keeper._load(loaded.version)
        except GatecastError:
            refused += 1
        path.write_bytes(whole)
    assert refused == count
    assert keeper._load(loaded.version).version == loaded.version
    measure.says(
        f"{refused:,} of {count:,} refused, in registry and cache at once", refused=refused
    )
