"""What a shadow and a canary cost the caller: four services side by side, asked in turn.

    python -m benchmarks.canary            # --brief for a look

Each request has a series that no request had before, so that no forecast is known to the shadow.
In a round every service is asked once, and who is first moves on, so that whatever else the machine
does meets them all. The ratios are of medians over the rounds, to the service without either.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import orjson

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.load import WARM_ROUNDS, Connection  # noqa: E402
from benchmarks.servers import (  # noqa: E402
    HORIZON,
    JSON,
    MODEL,
    Server,
    free_port,
    histories,
    register,
    train,
)

OFF = "off"
RIVALS = {
    OFF: {},
    "off, once more": {},
    "shadow as it comes": {"GATECAST_SHADOW": "challenger"},
    "shadow of every request": {"GATECAST_SHADOW": "challenger", "GATECAST_SHADOW_SHARE": "1"},
    "canary 0.05": {"GATECAST_CANARY": "0.05"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--brief", action="store_true", help="few rounds, for a look")
    brief = parser.parse_args().brief
    rounds = 30 if brief else 3000
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        bundle = train(home / "bundle")
        register(bundle, home)
        challenge(bundle, home)
        servers = {name: server(name, more, home) for name, more in RIVALS.items()}
        try:
            for one in servers.values():
                one.start()
            for one in servers.values():
                one.wait()
            for name in RIVALS:
                if RIVALS[name]:
                    wait_for_challenger(servers[name])
            times = asyncio.run(asked_in_turn(servers, rounds))
            counted = {name: counts(one) for name, one in servers.items()}
        finally:
            for one in servers.values():
                one.stop()
    usual = statistics.median(times[OFF])
    print(
        "| lone requests | p50, ms | over off | p99 over off | shadow: kept, over budget, other |"
    )
    print("|---|---|---|---|---|")
    for name, taken in times.items():
        ratio = statistics.median(taken) / usual
        tail = percentile(taken, 0.99) / percentile(times[OFF], 0.99)
        kept, spent, other = counted[name]
        print(
            f"| {name} | {statistics.median(taken):.3f} | {ratio:.3f} | {tail:.2f} | "
            f"{kept:.0f}, {spent:.0f}, {other:.0f} |"
        )
    print(
        f"\n{rounds} rounds; load of the machine {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores"
    )


def challenge(bundle: Path, home: Path) -> None:
    """The same bundle once more, as challenger."""
    from pipelines.registry.registry import Registry
    from pipelines.tracking.tracker import Tracker

    tracker = Tracker.open(
        "serving", uri=f"sqlite:///{home / 'mlflow.db'}", artifacts=(home / "artifacts").as_uri()
    )
    with tracker.run("benchmark") as run:
        Registry(tracker.client).register(MODEL, run, bundle, tags={}, description="challenger")


def server(name: str, more: dict[str, str], home: Path) -> Server:
    """A service on the same registry, with state of its own."""
    port = free_port()
    own = home / re.sub(r"\W", "-", name)
    own.mkdir()
    place = {
        "GATECAST_HOME": str(own),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'mlflow.db'}",
        "GATECAST_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "serving", "--model", MODEL, "--port", str(port)]
    return Server(name, command, {**place, **more}, port, "/readyz")


def wait_for_challenger(one: Server) -> None:
    """Until a service holds its challenger."""
    end = time.monotonic() + 60
    while sample(one, "gatecast_challenger_version") < 1:
        if time.monotonic() > end:
            raise SystemExit(f"{one.name}: no challenger within a minute")
        time.sleep(0.1)


async def asked_in_turn(servers: dict[str, Server], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each service in each round."""
    loop = asyncio.get_running_loop()
    connections = {
        name: (await loop.create_connection(Connection, "127.0.0.1", one.port))[1]
        for name, one in servers.items()
    }
    y = histories(1)[0].tolist()
    times: dict[str, list[float]] = {name: [] for name in servers}
    names = [*servers]
    for turn in range(-WARM_ROUNDS, rounds):
        series = [{"id": f"s{turn}", "start": 1, "y": y}]
        body = orjson.dumps({"series": series, "horizon": HORIZON, "model": MODEL})
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            head = (
                f"POST /v1/forecast HTTP/1.1\r\nHost: 127.0.0.1:{servers[name].port}\r\n"
                f"Content-Type: {JSON}\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            began = time.perf_counter()
            status, _ = await connections[name].ask(head.encode() + body)
            if status != 200:
                raise SystemExit(f"{name} answered {status}")
            if turn >= 0:
                times[name].append(1e3 * (time.perf_counter() - began))
    for connection in connections.values():
        connection.transport.close()
    return times


def counts(one: Server) -> tuple[float, float, float]:
    """Requests of the shadow: kept, over budget, and all others."""
    kept, spent = (
        sample(one, "gatecast_shadow_requests_total", f'outcome="{outcome}"')
        for outcome in ("kept", "over_budget")
    )
    return kept, spent, sample(one, "gatecast_shadow_requests_total") - kept - spent


def sample(one: Server, name: str, label: str = "") -> float:
    """The sum of a metric's samples with a label."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{one.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    lines = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", text, re.M)
    return sum(float(value) for labels, value in lines if label in labels)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


if __name__ == "__main__":
    main()
