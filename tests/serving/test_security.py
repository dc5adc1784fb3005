"""Who may do what: scopes, quotas, revocation while the service runs, and what the log says."""

from __future__ import annotations

import asyncio
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import ConfigError
from serving.app import Application
from serving.errors import RequestError
from serving.keys import SCOPES, ApiKey, add, revoke
from serving.routes import table
from serving.running import logs
from serving.security import Quotas
from serving.settings import ServingSettings
from tests.serving.conftest import KEY, Caller
from tests.serving.test_forecast import series

CLOSED = {"protect": True, "public_metrics": False, "public_docs": False}
# Every route that needs a key here, and the scope that it needs.
ROUTES: list[tuple[str, str, str, Any]] = [
    ("forecast", "POST", "/v1/forecast", {"series": [series()]}),
    ("forecast", "POST", "/v1/explain", {"series": [series()]}),
    ("forecast", "POST", "/v1/anomalies", {"series": [series()]}),
    ("forecast", "POST", "/v1/scenarios", {"series": [series()]}),
    ("forecast", "POST", "/v1/series/{id}/append", {"start": "2015-01-01", "y": [1]}),
    ("forecast", "GET", "/v1/series/{id}/forecast", None),
    ("forecast", "GET", "/v1/series/{id}", None),
    ("forecast", "DELETE", "/v1/series/{id}", None),
    ("forecast", "POST", "/invocations", {"inputs": {}}),
    ("forecast", "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
    ("forecast", "GET", "/v1/models", None),
    ("forecast", "GET", "/v1/models/retail", None),
    ("forecast", "GET", "/openapi.json", None),
    ("forecast", "GET", "/docs", None),
    ("refresh", "POST", "/v1/models/retail/refresh", None),
    ("metrics", "GET", "/metrics", None),
]
# Asks for a signature instead.
SIGNED = {("POST", "/v1/hooks/mlflow")}
OPEN = ["/livez", "/healthz", "/readyz", "/ping", "/"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def keyed(app: Application, file: Path, **more: Any) -> Caller:
    """A service with the models of another and a file of keys."""
    update = {"api_keys": file, "api_key": None, **CLOSED, **more}
    other = Application(app.settings.model_copy(update=update))
    other.service.models = app.service.models
    return Caller(other)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_every_route_is_listed_here_or_open(app: Application) -> None:
    named = {(m, p.replace("retail", "{name}")) for _, m, p, _ in ROUTES}
    opened = {("GET", path) for path in (*OPEN, "/explorer/{name}")}
    assert {(r.method, r.path) for r in table.ROUTES} == named | opened | SIGNED


@pytest.mark.parametrize("held", [c for n in (1, 2) for c in itertools.combinations(SCOPES, n)])
def test_a_scope_opens_its_routes_and_no_other(
    app: Application, file: Path, held: tuple[str, ...]
) -> None:
    token = add(file, "caller", held)
    call = keyed(app, file)
    for scope, method, path, body in ROUTES:
        for headers in (bearer(token), {"x-api-key": token}):
            answer = call(method, path, json=body, headers=headers)
            if scope in held:
                assert answer.status_code not in (401, 403), path
                continue
            assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing"), path
            assert answer.json()["scope"] == scope
            assert repr(scope) in answer.json()["detail"]


@pytest.mark.parametrize("given", [None, "", "x", "a-key-for-tests", "Ω", "gck_" + "A" * 43])
def test_any_wrong_key_is_401_everywhere(app: Application, file: Path, given: str | None) -> None:
    add(file, "caller", SCOPES)
    call = keyed(app, file)
    for _, method, path, body in ROUTES:
        headers = {} if given is None else {"x-api-key": given.encode("utf-8").decode("latin-1")}
        answer = call(method, path, json=body, headers={k: v.encode("latin-1")
                                                        for k, v in headers.items()})  # fmt: skip
        assert answer.status_code == 401, path
        assert answer.headers["www-authenticate"] == "Bearer"
    for path in OPEN:
        assert call("GET", path).status_code in (200, 307)


def test_without_any_key_what_needs_one_says_so(app: Application, file: Path) -> None:
    call = keyed(app, file)
    for _, method, path, body in ROUTES:
        answer = call(method, path, json=body, headers=bearer("x"))
        assert (answer.status_code, answer.json()["code"]) == (403, "no_key_configured")


def test_a_key_is_revoked_and_another_made_while_the_service_runs(
    app: Application, file: Path
) -> None:
    first = add(file, "first", ["forecast"])
    call = keyed(app, file)
    assert call("GET", "/v1/models", headers=bearer(first)).status_code == 200
    revoke(file, "first")
    answer = call("GET", "/v1/models", headers=bearer(first))
    assert (answer.status_code, answer.json()["code"]) == (401, "revoked_key")
    second = add(file, "second", ["forecast"])
    assert call("GET", "/v1/models", headers=bearer(second)).status_code == 200


def test_the_key_of_the_settings_goes_on_beside_named_ones(app: Application, file: Path) -> None:
    token = add(file, "caller", ["metrics"])
    call = keyed(app, file, api_key=app.settings.api_key)
    for _, method, path, body in ROUTES:
        assert call(method, path, json=body, headers=bearer(KEY)).status_code not in (401, 403)
    assert call("GET", "/metrics", headers=bearer(token)).status_code == 200
    # Whatever becomes of the file.
    file.write_text("rubbish")
    assert call("GET", "/v1/models", headers=bearer(KEY)).status_code == 200
    answer = call("GET", "/metrics", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (503, "keys_unreadable")


def test_the_log_has_the_name_of_a_key_and_never_the_key(
    app: Application, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    token = add(file, "the-shop", ["forecast"])
    call = keyed(app, file, access_log=True)
    logs.configure("info")
    try:
        call("GET", "/v1/models", headers=bearer(token))
        call("GET", "/v1/models", headers=bearer("wrong-" + token))
        call("GET", f"/v1/models/{token}", headers=bearer(token))
    finally:
        logs.configure("error")
    said = capfd.readouterr().err
    lines = [json.loads(line) for line in said.splitlines() if '"request"' in line]
    assert [(line.get("key"), line["status"]) for line in lines] == [
        ("the-shop", 200),
        (None, 401),
        ("the-shop", 404),
    ]
    assert token not in said


def test_a_key_has_its_share_of_requests(app: Application, file: Path) -> None:
    token, free = add(file, "few", ["forecast"], per_minute=6), add(file, "free", ["forecast"])
    call = keyed(app, file)
    assert call("GET", "/v1/models", headers=bearer(token)).status_code == 200
    answer = call("GET", "/v1/models", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    # Others go on, and health is nobody's share.
    assert call("GET", "/v1/models", headers=bearer(free)).status_code == 200
    assert call("GET", "/livez", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("per_minute", [1, 7, 60, 6000])
def test_over_any_time_no_more_pass_than_allowed_and_those_that_wait_do(
    per_minute: int, workers: int
) -> None:
    now = 0.0
    quotas = Quotas(workers, clock=lambda: now)
    key = ApiKey("k", ("forecast",), "0" * 64, per_minute=per_minute)
    rate = per_minute / 60 / workers
    passed = []
    for _ in range(400):
        try:
            quotas.take(key)
            passed.append(now)
            now += 0.1 / rate
        except RequestError as refused:
            wait = int(refused.headers["retry-after"])
            assert wait >= 1
            now += wait
            quotas.take(key)
            passed.append(now)
    burst = max(1.0, rate * 10)
    for first, last in itertools.combinations(range(0, len(passed), 7), 2):
        assert last - first <= burst + rate * (passed[last] - passed[first]) + 1e-6


@pytest.mark.parametrize("packed", [False, True])
def test_a_key_has_its_size_of_bodies(app: Application, file: Path, packed: bool) -> None:
    import gzip

    token = add(file, "small", ["forecast"], max_body=2000)
    call = keyed(app, file)
    body = json.dumps({"series": [series()], "x": " " * 3000}).encode()
    headers = bearer(token) | {"content-type": "application/json"}
    if packed:
        headers["content-encoding"] = "gzip"
        body = gzip.compress(body)
        assert len(body) < 2000
    answer = call("POST", "/v1/forecast", content=body, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert answer.json()["limit"] == 2000
    small = call("POST", "/v1/forecast", json={"series": [series()]}, headers=bearer(token))
    assert small.status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_where_others_can_come_forecasts_need_a_key(host: str, file: Path) -> None:
    given = {"GATECAST_HOST": host, "GATECAST_API_KEYS": str(file)}
    with pytest.raises(ConfigError, match="there is no key"):
        ServingSettings.read(given)
    add(file, "caller", ["forecast"])
    assert ServingSettings.read(given).protected
    with pytest.raises(ConfigError, match="GATECAST_OPEN=true as well"):
        ServingSettings.read({**given, "GATECAST_PROTECT": "false"})
    opened = {**given, "GATECAST_OPEN": "true"}
    assert not ServingSettings.read(opened).protected
    assert not ServingSettings.read({**opened, "GATECAST_PROTECT": "false"}).protected
    assert ServingSettings.read({**opened, "GATECAST_PROTECT": "true"}).protected
    revoke(file, "caller")
    with pytest.raises(ConfigError, match="there is no key"):
        ServingSettings.read(given)


@pytest.mark.parametrize("name", ["PROTECT=true", "PUBLIC_METRICS=false", "PUBLIC_DOCS=false"])
def test_what_is_closed_needs_a_key_that_opens_it(name: str, tmp_path: Path) -> None:
    variable, _, value = name.partition("=")
    with pytest.raises(ConfigError, match="needs a key"):
        ServingSettings.read({"GATECAST_HOME": str(tmp_path), f"GATECAST_{variable}": value})


@pytest.mark.parametrize(
    ("arrived", "closed"),
    [("127.0.0.1", False), ("::1", False), ("::ffff:127.0.0.1", False), ("/run/socket", False),
     (None, False), ("192.0.2.1", True), ("2001:db8::1", True), ("::ffff:192.0.2.1", True)],
)  # fmt: skip
def test_under_another_server_the_connection_tells_whether_others_can_come(
    app: Application, file: Path, arrived: str | None, closed: bool
) -> None:
    token = add(file, "caller", ["forecast"])
    for opened in (False, True):
        call = keyed(app, file, protect=None, open=opened)
        status = asyncio.run(_status(call.app, arrived, {}))
        assert status == (401 if closed and not opened else 200)
        assert asyncio.run(_status(call.app, arrived, bearer(token))) == 200


async def _status(app: Application, arrived: str | None, headers: dict[str, str]) -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/v1/models", "query_string": b"",
             "headers": [(k.encode(), v.encode()) for k, v in headers.items()], "client": None,
             "server": None if arrived is None else (arrived, 3000)}  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_the_document_says_where_a_key_is_needed(app: Application, file: Path) -> None:
    token = add(file, "caller", ["forecast"])
    paths = keyed(app, file)("GET", "/openapi.json", headers=bearer(token)).json()["paths"]
    for _, method, path, _ in ROUTES:
        if path in ("/openapi.json", "/docs", "/mcp"):
            continue  # the document is silent on itself, and on another protocol
        operation = paths[path.replace("retail", "{name}")][method.lower()]
        assert operation["security"], path
        assert {"401", "403"} <= operation["responses"].keys()
    public = Caller(app)("GET", "/openapi.json").json()["paths"]
    assert "security" not in public["/v1/forecast"]["post"]
    assert public["/v1/models/{name}/refresh"]["post"]["security"]
