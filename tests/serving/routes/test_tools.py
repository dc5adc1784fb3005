"""The tools of /mcp, asked by the protocol's own client: the routes' answers, keys and limits."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main
from serving.app import Application
from serving.keys import add
from serving.routes.tools import OFFERS
from serving.security import FORECAST
from tests.serving.conftest import Caller
from tests.serving.test_forecast import series
from tests.serving.test_security import bearer, keyed

pytest.importorskip("mcp", reason="mcp is not installed: pip install 'gatecast[mcp]'")
import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

MODES = ("legacy", "2026-07-28", "auto")  # the handshake of old, the newest version, whichever
ROUTES = {
    "forecast": "/v1/forecast",
    "explain": "/v1/explain",
    "anomalies": "/v1/anomalies",
}
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def told(
    app: Any, ask: Callable[[Client], Any], mode: str = "legacy", key: str | None = None
) -> Any:
    """What the protocol's client gets; `ask` is given it, connected."""

    async def go() -> Any:
        headers = bearer(key) if key else {}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, headers=headers) as http:
            wire = streamable_http_client("http://127.0.0.1/mcp", http_client=http)
            async with Client(wire, mode=mode) as client:
                return await ask(client)

    return asyncio.run(go())


def used(app: Any, name: str, arguments: dict[str, Any], **options: Any) -> Any:
    return told(app, lambda client: client.call_tool(name, arguments), **options)


@pytest.fixture
def body() -> dict[str, Any]:
    return {"model": "monthly", "series": [series()]}


@pytest.fixture
def closed(app: Application, tmp_path: Path) -> tuple[Caller, Path]:
    file = tmp_path / "keys.json"
    return keyed(app, file), file


@pytest.mark.parametrize("mode", MODES)
def test_the_client_finds_the_tools(app: Application, mode: str) -> None:
    found = told(app, lambda client: client.list_tools(), mode)
    assert [tool.name for tool in found.tools] == list(OFFERS)
    for tool in found.tools:
        assert tool.description
        assert tool.input_schema["type"] == "object"
        assert tool.input_schema["additionalProperties"] is False
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ROUTES)
def test_a_tool_answers_what_its_route_does(
    app: Application, call: Caller, body: dict[str, Any], name: str, mode: str
) -> None:
    result = used(app, name, body, mode=mode)
    assert not result.is_error
    expected = call.post(body, ROUTES[name]).json()
    assert result.structured_content == expected
    assert json.loads(result.content[0].text) == expected


def test_models_are_listed_and_described(app: Application, call: Caller) -> None:
    listed = used(app, "list_models", {}).structured_content
    assert listed == call("GET", "/v1/models").json()
    described = used(app, "describe_model", {"name": "retail"}).structured_content
    assert described == call("GET", "/v1/models/retail").json()


@pytest.mark.parametrize("name", ROUTES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"series": [{**series(), "y": [1.0, "two"]}]},
        {"series": [{**series(), "start": "soon"}]},
        {"series": []},
        {"series": [series()], "horizon": 0},
        {"series": [series()], "horizon": 2**64},
        {"series": [series()], "colour": "red"},
        {"series": [series()], "model": "none"},
        {},
    ],
)
def test_a_refusal_has_the_routes_code_and_place(
    app: Application, call: Caller, name: str, wrong: dict[str, Any]
) -> None:
    wrong = {"model": "monthly", **wrong}
    result = used(app, name, wrong)
    refused = call.post(wrong, ROUTES[name])
    assert refused.status_code in (404, 422)
    assert result.is_error
    expected = {**refused.json(), "request_id": None}
    assert {**result.structured_content, "request_id": None} == expected
    assert json.loads(result.content[0].text)["code"] == expected["code"]


@pytest.mark.parametrize("arguments", [{}, {"name": 3}, {"name": "none"}])
def test_a_model_that_is_not_there_is_told(app: Application, arguments: dict[str, Any]) -> None:
    result = used(app, "describe_model", arguments)
    assert result.is_error
    code = "unknown_model" if arguments.get("name") == "none" else "invalid_request"
    assert result.structured_content["code"] == code


def test_an_unknown_tool_is_an_error_of_the_protocol(app: Application) -> None:
    async def ask(client: Client) -> str:
        with pytest.raises(MCPError, match="there are: list_models, ") as caught:
            await client.call_tool("train", {})
        return str(caught.value)

    assert "no tool of this name" in told(app, ask)


def test_a_key_opens_the_tools_and_its_scope_decides(
    app: Application, closed: tuple[Caller, Path], body: dict[str, Any]
) -> None:
    call, file = closed
    good, other = add(file, "good", ["forecast"]), add(file, "other", ["metrics"])
    assert not used(call.app, "forecast", body, key=good).is_error
    for headers, status, code in (
        ({}, 401, "key_needed"),
        (bearer("wrong"), 401, "wrong_key"),
        (bearer(other), 403, "scope_missing"),
    ):
        answer = call("POST", "/mcp", json=MESSAGE, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_each_tool_needs_the_scope_that_the_path_needs(app: Application) -> None:
    guards = {route.answer: route.guard for route in app.service.routes}
    assert all(guards[offer.answer] is FORECAST for offer in OFFERS.values())


def test_a_quota_counts_questions_of_tools(closed: tuple[Caller, Path], app: Application) -> None:
    call, file = closed
    token = add(file, "slow", ["forecast"], per_minute=6)
    headers = {**bearer(token), "accept": "application/json, text/event-stream"}
    codes = [call("POST", "/mcp", json=MESSAGE, headers=headers).status_code for _ in range(4)]
    assert codes[0] == 200
    assert codes[-1] == 429


def test_limits_of_bodies_hold(app: Application) -> None:
    small = Application(app.settings.model_copy(update={"max_body": 2000}))
    small.service.models = app.service.models
    answer = Caller(small)("POST", "/mcp", json={**MESSAGE, "pad": "x" * 3000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


@pytest.mark.parametrize("text", ['{"a": NaN}', '{"a": 1, "a": 2}', "[1", ""])
def test_what_is_no_plain_json_is_refused_before_it_is_read(call: Caller, text: str) -> None:
    headers = {"content-type": "application/json"}
    answer = call("POST", "/mcp", content=text, headers=headers)
    assert 400 <= answer.status_code < 423
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_may_be_packed(call: Caller) -> None:
    import gzip

    headers = {
        "content-type": "application/json",
        "content-encoding": "gzip",
        "accept": "application/json, text/event-stream",
    }
    content = gzip.compress(json.dumps(MESSAGE).encode())
    answer = call("POST", "/mcp", content=content, headers=headers)
    assert answer.status_code == 200
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == list(OFFERS)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_no_sessions_or_streams(call: Caller, method: str) -> None:
    answer = call(method, "/mcp")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_page_of_another_name_cannot_ask(call: Caller) -> None:
    headers = {"origin": "http://elsewhere.example"}
    answer = call("POST", "http://127.0.0.1/mcp", json=MESSAGE, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (403, "unknown_origin")


def test_a_fault_of_ours_tells_nothing_of_itself(
    app: Application, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str | None) -> None:
        raise RuntimeError("a secret of the machine")

    monkeypatch.setattr(app.service, "answering", broken)
    result = used(app, "forecast", body)
    assert result.is_error
    assert result.structured_content["code"] == "internal_error"
    assert "secret" not in result.content[0].text
    assert app.service.bodies.held == 0


def test_it_is_switched_off_by_a_setting(app: Application) -> None:
    off = Application(app.settings.model_copy(update={"mcp": False}))
    answer = Caller(off)("POST", "/mcp", json=MESSAGE)
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_path")
    assert "GATECAST_MCP=false" in answer.json()["detail"]


def test_without_the_package_it_says_what_to_install(
    app: Application, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    answer = Caller(app)("POST", "/mcp", json=MESSAGE)
    assert answer.status_code == 404
    assert "pip install 'gatecast[mcp]'" in answer.json()["detail"]
    monkeypatch.setenv("GATECAST_MCP", "true")
    assert main(["--model", "monthly", "--port", "0"]) == 2
    assert "pip install 'gatecast[mcp]'" in capsys.readouterr().err
