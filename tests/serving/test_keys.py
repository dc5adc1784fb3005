"""Nobody comes in without a key by mistake, and no password comes out."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from forecasting.errors import ConfigError
from serving.app import Application
from serving.running import masking
from serving.settings import ServingSettings
from tests.serving.conftest import KEY, Caller
from tests.serving.test_forecast import series

PASSWORD = "hush-7f3a"


@pytest.mark.parametrize("key", ["", " ", "\t"])
def test_an_empty_key_protects_nothing_and_stops_the_start(key: str) -> None:
    environment = {"GATECAST_API_KEY": key, "GATECAST_PROTECT": "true"}
    with pytest.raises(ConfigError, match="GATECAST_API_KEY"):
        ServingSettings.read(environment)
    assert ServingSettings.read({"GATECAST_API_KEY": key}).api_key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_another_address_than_loopback_needs_a_key_or_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match="GATECAST_OPEN=true"):
        ServingSettings.read({"GATECAST_HOST": host})
    assert ServingSettings.read({"GATECAST_HOST": host, "GATECAST_OPEN": "true"}).host == host
    assert ServingSettings.read({"GATECAST_HOST": host, "GATECAST_API_KEY": "k"}).host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_none(host: str) -> None:
    assert ServingSettings.read({"GATECAST_HOST": host}).api_key is None


@pytest.fixture
def protected(settings: ServingSettings, app: Application) -> Caller:
    other = Application(settings.model_copy(update={"protect": True}))
    other.service.models = app.service.models
    return Caller(other)


def test_what_is_protected_opens_to_the_key_alone(protected: Caller) -> None:
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/v1/forecast", {"series": [series()]}),
        ("POST", "/invocations", {"inputs": {}}),
        ("GET", "/v1/models", None),
        ("GET", "/v1/models/retail", None),
    ]
    for method, path, body in asked:
        for headers in ({}, {"x-api-key": ""}, {"authorization": "Bearer "}, {"x-api-key": "no"}):
            answer = protected(method, path, json=body, headers=headers)
            assert answer.status_code == 401, (path, headers)
        assert protected(method, path, json=body, headers={"x-api-key": KEY}).status_code != 401


def test_the_document_shows_nothing_of_the_data_where_a_key_is_needed(protected: Caller) -> None:
    text = protected("GET", "/openapi.json").text
    assert "example-1" not in text
    assert "north" not in text
    operation = json.loads(text)["paths"]["/v1/forecast"]["post"]
    assert "401" in operation["responses"]


@pytest.mark.parametrize(
    "uri",
    [
        f"http://me:{PASSWORD}@127.0.0.1:9",
        f"http://me:{PASSWORD}@127.0.0.1:notaport",
        f"postgresql://me:{PASSWORD}@127.0.0.1:9/mlflow",
    ],
)
def test_the_password_of_the_store_is_never_shown(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.models.registry.CLIENT_SECONDS", 0.5)
    app = Application(ServingSettings.read({}, models=("m",), home=tmp_path, tracking_uri=uri))
    app.service.models.load()
    call = Caller(app)
    for path in ("/v1/models", "/v1/models/m", "/readyz", "/metrics"):
        assert PASSWORD not in call("GET", path).text
    problem = call("GET", "/v1/models").json()["models"][0]["problem"]
    assert problem
    said = capfd.readouterr()
    assert PASSWORD not in said.err + said.out
    assert "no version to answer with" in said.err


@pytest.mark.parametrize(
    "text",
    ["postgresql://u:p@ss@h/db refused", "at 'https://token@h/x'", f"pass {PASSWORD} seen"],
)
def test_masking_leaves_no_secret(text: str) -> None:
    masking.keep_secret(f"http://u:{PASSWORD}@h")
    shown = masking.hide(text)
    for secret in ("p@ss", "token@", PASSWORD):
        assert secret not in shown
    assert masking.HIDDEN in shown


KNOWN = ["localhost", "LOCALHOST:3000", "127.0.0.1:3000", "[::1]:3000", "192.0.2.7", "a.localhost",
         "forecasts.example.org", "Forecasts.Example.org:443", "localhost.", ""]  # fmt: skip
UNKNOWN = ["evil.example", "evil.example:3000", "127.0.0.1.evil.example", "localhost.evil.example",
           "forecasts.example.org.evil.example", "1", "[evil.example]", "evil.example:80:localhost",
           "localhost@evil.example", "[::1]evil.example", "localhost:evil.example", "::1", "[::1",
           "127.0.0.1:80:80"]  # fmt: skip


@pytest.mark.parametrize("host", [*KNOWN, *UNKNOWN])
@pytest.mark.parametrize("arrived", ["127.0.0.1", "::1", "192.0.2.1", None])
def test_a_name_that_leads_to_this_machine_by_trickery_reads_nothing(
    app: Application, host: str, arrived: str | None
) -> None:
    settings = app.settings.model_copy(update={"hosts": ("forecasts.example.org",)})
    refused = host in UNKNOWN and arrived is not None
    for one in (settings, settings.model_copy(update={"hosts": ()})):
        if not one.hosts and ("example.org" in host.lower() or arrived == "192.0.2.1"):
            continue
        other = Application(one)
        other.service.models = app.service.models
        found = asyncio.run(_asked(other, "/v1/models", host, arrived))
        assert found == (421 if refused else 200)
        assert asyncio.run(_asked(other, "/metrics", host, arrived)) == found
        assert asyncio.run(_asked(other, "/livez", host, arrived)) == 200
    protected = Application(settings.model_copy(update={"protect": True}))
    protected.service.models = app.service.models
    assert asyncio.run(_asked(protected, "/v1/models", host, arrived)) == 401


async def _asked(app: Application, path: str, host: str, arrived: str | None) -> int:
    """The status of an answer to a connection that came to an address of this machine."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"host", host.encode())] if host else []
    server = None if arrived is None else (arrived, 3000)
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "server": server,
             "query_string": b"", "client": None}  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_names_are_read_whatever_stands_between_them() -> None:
    settings = ServingSettings.read({"GATECAST_HOSTS": " a.example, b.example ,, "})
    assert settings.hosts == ("a.example", "b.example")
