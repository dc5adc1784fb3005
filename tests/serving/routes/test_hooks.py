"""MLflow's webhooks: signed, passed on, and every replica swaps at once."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.webhooks.delivery import _generate_hmac_signature

from forecasting.errors import ConfigError
from serving.app import Application
from serving.routes.hooks import ID, OLDEST_SECONDS, PASSED, PATH, SIGNATURE, TIME, signature
from serving.settings import ServingSettings
from tests.faults.serving.proxy import free_port
from tests.serving.conftest import Caller
from tests.serving.process import Server
from tests.serving.store import Store

SECRET = "a-secret-of-forty-letters"
NEVER = "86400"  # seconds between polls


def message(name: str = "monthly", alias: str = "champion", **other: Any) -> bytes:
    data = {"name": name, "alias": alias, "version": "2"}
    told = {"entity": "model_version_alias", "action": "created", "data": data, **other}
    return json.dumps(told).encode()


def signed(body: bytes, *, secret: str = SECRET, age: float = 0.0, **more: str) -> dict[str, Any]:
    """A request as MLflow sends it, by MLflow's own arithmetic; each has an id of its own."""
    stamp, identity = str(int(time.time() - age)), str(uuid.uuid4())
    right = _generate_hmac_signature(secret, identity, stamp, body.decode())
    return {"content": body, "headers": {ID: identity, TIME: stamp, SIGNATURE: right, **more}}


@pytest.fixture(scope="module")
def hooked(settings: ServingSettings) -> Caller:
    values = settings.model_dump() | {"hook_secret": SECRET}
    return Caller(Application(ServingSettings.model_validate(values)))


def waited_for(done: Callable[[], bool]) -> None:
    """Wait until work beside has been done."""
    end = time.monotonic() + 20
    while not done() and time.monotonic() < end:
        time.sleep(0.01)


@given(st.text(max_size=20), st.integers(0, 2**40), st.text(max_size=200), st.text(min_size=1))
def test_a_signature_is_mlflows(identity: str, stamp: int, body: str, secret: str) -> None:
    ours = signature(secret, identity, str(stamp), body.encode())
    assert ours == _generate_hmac_signature(secret, identity, str(stamp), body)


def test_an_alias_that_was_set_is_looked_at(hooked: Caller) -> None:
    keeper = hooked.app.service.models.keepers["monthly"]
    before = keeper.nudges()
    answer = hooked("POST", PATH, **signed(message()))
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"followed": ["monthly"], "fetched": [], "passed": 0}
    assert all(now > then for now, then in zip(keeper.nudges(), before, strict=True))


def test_a_message_that_comes_again_moves_nothing_in_any_worker(
    hooked: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []
    keeper = hooked.app.service.models.keepers["monthly"]
    monkeypatch.setattr(keeper, "prefetch", fetched.append)
    another = Caller(Application(hooked.app.settings))
    monkeypatch.setattr(another.app.service.models.keepers["monthly"], "prefetch", fetched.append)
    heard = signed(message(alias="challenger"))
    first = hooked("POST", PATH, **heard)
    assert first.json() == {"followed": [], "fetched": ["monthly"], "passed": 0}
    before = keeper.nudges()
    for caller in (hooked, another):
        again = caller("POST", PATH, **heard)
        assert again.status_code == 200
        assert again.json() == {"followed": [], "fetched": [], "passed": 0, "known": True}
    assert hooked("POST", PATH, **signed(message(alias="challenger"))).json()["fetched"]
    waited_for(lambda: len(fetched) == 2)
    assert (fetched, keeper.nudges()) == (["challenger"] * 2, before)


@pytest.mark.parametrize(
    "body",
    [
        message("nobodys"),
        message(alias="challenger"),
        message(entity="model_version"),
        message(action="deleted"),
        message(data=None),
        message(data={"name": ["monthly"], "alias": "champion"}),
        b"[]",
        b"3",
    ],
)
def test_what_moves_no_model_of_ours_moves_nothing(hooked: Caller, body: bytes) -> None:
    keepers = hooked.app.service.models.keepers.values()
    before = [keeper.nudges() for keeper in keepers]
    answer = hooked("POST", PATH, **signed(body))
    assert (answer.status_code, answer.json()["followed"]) == (200, [])
    assert [keeper.nudges() for keeper in keepers] == before


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda r: r["headers"].pop(SIGNATURE), "wrong_hook_signature"),
        (lambda r: r["headers"].pop(ID), "wrong_hook_signature"),
        (lambda r: r["headers"].update({SIGNATURE: "v1,é"}), "wrong_hook_signature"),
        (lambda r: r["headers"].update({TIME: "soon"}), "wrong_hook_signature"),
        (lambda r: r["headers"].update({TIME: str(int(time.time()) + 1)}), "wrong_hook_signature"),
        (lambda r: r.update(content=r["content"] + b" "), "wrong_hook_signature"),
        (lambda r: r.update(signed(message(), secret="another")), "wrong_hook_signature"),
        (lambda r: r.update(signed(message(), age=OLDEST_SECONDS + 60)), "old_hook_signature"),
        (lambda r: r.update(signed(message(), age=-OLDEST_SECONDS - 60)), "old_hook_signature"),
    ],
)
def test_what_mlflow_did_not_sign_lately_is_refused(
    hooked: Caller, change: Callable[[dict[str, Any]], Any], code: str
) -> None:
    keeper = hooked.app.service.models.keepers["monthly"]
    before = keeper.nudges()
    request = signed(message())
    change(request)
    request["headers"] = {k: v.encode("latin-1") for k, v in request["headers"].items()}
    answer = hooked("POST", PATH, **request)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert keeper.nudges() == before
    assert SECRET not in answer.text


def test_a_body_that_is_no_json_or_too_long_is_refused(hooked: Caller) -> None:
    assert hooked("POST", PATH, **signed(b"{")).json()["code"] == "malformed_json"
    assert hooked("POST", PATH, **signed(b" " * 70_000)).status_code == 413


@pytest.mark.parametrize("stamp", ["soon", "", "nan", "1e9", "-1", "9" * 400, "\u0663"])
def test_a_signed_time_that_is_none_is_old(hooked: Caller, stamp: str) -> None:
    request = signed(message())
    right = signature(
        SECRET, request["headers"][ID], stamp.encode().decode("latin-1"), request["content"]
    )
    request["headers"] |= {TIME: stamp.encode(), SIGNATURE: right}
    answer = hooked("POST", PATH, **request)
    assert (answer.status_code, answer.json()["code"]) == (401, "old_hook_signature")


def test_of_a_body_that_is_too_long_no_more_is_taken(hooked: Caller) -> None:
    taken: list[int] = []

    async def endless() -> Any:
        for k in range(1_000):
            taken.append(k)
            yield b" " * 8_192

    answer = hooked("POST", PATH, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert len(taken) < 20


def test_without_a_secret_no_webhook_is_taken(call: Caller) -> None:
    answer = call("POST", PATH, **signed(message()))
    assert (answer.status_code, answer.json()["code"]) == (403, "no_hook_configured")


def test_a_peer_is_a_host_and_a_port() -> None:
    assert ServingSettings.read({}, peers="a:1, [::1]:2").peers == ("a:1", "[::1]:2")
    for wrong in ("a", "a:", ":1", "a:b", "a:0", "a:65536", "a:\u0663", "a:\u00b2"):
        with pytest.raises(ConfigError, match="is not host:port"):
            ServingSettings.read({}, peers=wrong)


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "\u00e9\u0000", "never.invalid", "[::1"])
def test_a_peer_whose_name_is_none_loses_its_message_and_no_other(
    settings: ServingSettings, host: str
) -> None:
    values = settings.model_dump() | {"hook_secret": SECRET, "peers": (f"{host}:9",)}
    caller = Caller(Application(ServingSettings.model_validate(values)))
    answer = caller("POST", PATH, **signed(message()))
    assert (answer.status_code, answer.json()["passed"]) == (200, 0)


def test_a_message_that_was_passed_on_is_not_passed_on_again(
    settings: ServingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = settings.model_dump() | {"hook_secret": SECRET, "peers": ("127.0.0.1:9",)}
    caller = Caller(Application(ServingSettings.model_validate(values)))
    told: list[str] = []
    monkeypatch.setattr("serving.routes.hooks._tell", lambda peer, *_: told.append(peer) or 1)
    first = caller("POST", PATH, **signed(message())).json()
    assert (first["passed"], told) == (1, ["127.0.0.1:9"])
    second = caller("POST", PATH, **signed(message(), **{PASSED: "1"})).json()
    assert (second["passed"], len(told)) == (0, 1)


def version(server: Server) -> int:
    return int(server.http.get("/readyz").json()["models"]["m"])


@pytest.mark.slow
def test_every_replica_swaps_though_none_polls_and_one_peer_is_away(
    tmp_path: Path, plain: Path, plain_again: Path
) -> None:
    store = Store(tmp_path / "home")
    store.register("m", plain)
    away = free_port()
    ports = [free_port(), free_port()]
    peers = ",".join(f"127.0.0.1:{port}" for port in (*ports, away))
    shared = {"GATECAST_POLL_SECONDS": NEVER, "GATECAST_HOOK_SECRET": SECRET}
    with ExitStack() as stack:
        replicas = [
            stack.enter_context(
                Server(
                    store,
                    "m",
                    port=port,
                    GATECAST_PEERS=peers,
                    # Replicas have no folder in common.
                    GATECAST_HOME=str(tmp_path / str(port)),
                    GATECAST_TRACKING_URI=store.uri,
                    **shared,
                )
            )
            for port in ports
        ]
        assert [version(replica) for replica in replicas] == [1, 1]
        # A challenger is fetched ahead, by both; nobody answers by it.
        challenger = store.register("m", plain_again, alias="challenger")
        told = signed(message("m", "challenger"))
        answer = httpx.post(f"{replicas[0].address}{PATH}", **told, trust_env=False, timeout=10)
        assert answer.json() == {"followed": [], "fetched": ["m"], "passed": 2}
        digest = hashlib.sha256((plain_again / "manifest.json").read_bytes()).hexdigest()
        ahead = [tmp_path / str(port) / "cache" / "models" / "m" / digest for port in ports]
        end = time.monotonic() + 20
        while not all(folder.is_dir() for folder in ahead):
            assert time.monotonic() < end
            time.sleep(0.02)
        assert [version(replica) for replica in replicas] == [1, 1]
        # What is here is not fetched again: the store has lost it.
        shutil.rmtree(store.home / "artifacts")
        store.alias("m", challenger)
        answer = httpx.post(
            f"{replicas[0].address}{PATH}", **signed(message("m")), trust_env=False, timeout=10
        )
        # Itself and the other; the one that is away is said in the log, and polls when it is back.
        assert answer.json() == {"followed": ["m"], "fetched": [], "passed": 2}
        end = time.monotonic() + 20
        while [version(replica) for replica in replicas] != [2, 2]:
            assert time.monotonic() < end, [replica.text() for replica in replicas]
            time.sleep(0.02)
        assert any(line["event"] == "a peer cannot be told" for line in replicas[0].lines())
        assert all(SECRET not in replica.text() for replica in replicas)


@pytest.mark.slow
def test_a_refresh_reaches_every_worker(tmp_path: Path, plain: Path, plain_again: Path) -> None:
    store = Store(tmp_path / "home")
    store.register("m", plain)
    port = free_port()
    words = ["-m", "serving", "--model", "m", "--port", str(port), "--workers", "2"]
    command = [sys.executable, *words]
    with Server(store, "m", command=command, port=port, GATECAST_POLL_SECONDS=NEVER) as server:
        store.register("m", plain_again)
        key = {"authorization": "Bearer a-key-for-tests"}
        assert server.http.post("/v1/models/m/refresh", headers=key).status_code == 200
        end, seen = time.monotonic() + 60, 0
        while seen < 40:
            # A new connection may reach either worker.
            ready = httpx.get(f"{server.address}/readyz", trust_env=False).json()
            seen = seen + 1 if ready["models"]["m"] == 2 else 0
            assert time.monotonic() < end
