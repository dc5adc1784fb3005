"""Nobody comes in without a key by mistake, and no password comes out."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting.errors import ConfigError
from serving import keys as keyring
from serving.app import Application
from serving.keys import PREFIX, SCOPES, KeyFileError, Keys, add, read, revoke
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
        f"postgresql://127.0.0.1:9/mlflow?user=me&password={PASSWORD}",
        f"http://127.0.0.1:9?token={PASSWORD}",
    ],
)
def test_the_password_of_the_store_is_never_shown(
    uri: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.models.registry.CLIENT_SECONDS", 0.5)
    # MLflow tries for 100 s, all the while with a lock that other tests of this process need.
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 1)
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
    masking.keep_secrets_of(f"http://u:{PASSWORD}@h")
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
    settings = app.settings.model_copy(update={"hosts": ("forecasts.example.org",), "open": True})
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


@pytest.mark.parametrize("host", [*KNOWN, *UNKNOWN])
def test_a_page_of_another_name_uses_nothing(app: Application, host: str) -> None:
    settings = app.settings.model_copy(update={"hosts": ("forecasts.example.org",)})
    other = Application(settings)
    other.service.models = app.service.models
    known = host in KNOWN and host != ""
    for origin in (f"http://{host}", f"https://{host}", host, "null"):
        expected = 200 if known and "://" in origin else 403
        found = asyncio.run(_asked(other, "/v1/models", "localhost", "127.0.0.1", origin))
        assert found == expected, origin
        assert asyncio.run(_asked(other, "/livez", "localhost", "127.0.0.1", origin)) == 200


async def _asked(
    app: Application, path: str, host: str, arrived: str | None, origin: str | None = None
) -> int:
    """The status of an answer to a connection that came to an address of this machine."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    headers = [(b"host", host.encode())] if host else []
    headers += [(b"origin", origin.encode())] if origin is not None else []
    server = None if arrived is None else (arrived, 3000)
    scope = {"type": "http", "method": "GET", "path": path, "headers": headers, "server": server,
             "query_string": b"", "client": None}  # fmt: skip
    await app(scope, receive, send)
    return int(sent[0]["status"])


def test_names_are_read_whatever_stands_between_them() -> None:
    settings = ServingSettings.read({"GATECAST_HOSTS": " a.example, b.example ,, "})
    assert settings.hosts == ("a.example", "b.example")


def test_a_key_is_kept_as_a_hash_for_its_owner_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "home" / "keys.json"
    assert keyring.main([f"--file={file}", "new", "shop", "--scope", "metrics,forecast"]) == 0
    token = capsys.readouterr().out.strip()
    assert token.startswith(PREFIX)
    assert len(token) == len(PREFIX) + 43
    assert token not in file.read_text()
    assert token[len(PREFIX) :] not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    found = Keys(file).find(token)
    assert found is not None
    assert (found.name, found.scopes) == ("shop", ("forecast", "metrics"))
    file.chmod(0o640)
    assert keyring.main([f"--file={file}", "revoke", "shop"]) == 0
    assert file.stat().st_mode & 0o777 == 0o640, "who may read it is its owner's decision"
    assert keyring.main([f"--file={file}", "list"]) == 0
    said = capsys.readouterr().out
    assert "revoked" in said
    assert token not in said


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(wrong=st.text(), at=st.integers(0, 46), bit=st.integers(0, 6))
def test_any_other_text_is_no_key(tmp_path: Path, wrong: str, at: int, bit: int) -> None:
    file = tmp_path / "keys.json"
    if not file.exists():
        (tmp_path / "token").write_text(add(file, "shop", ["forecast"]))
    token = (tmp_path / "token").read_text()
    keys = Keys(file, "the-one-of-the-settings")
    flipped = token[:at] + chr(ord(token[at]) ^ 1 << bit) + token[at + 1 :]
    for other in (wrong, flipped, token[:-1], f"{token} ", "", read(file)[0].sha256):
        assert keys.find(other) is None
    assert keys.find(token) is not None
    assert getattr(keys.find("the-one-of-the-settings"), "scopes", None) == SCOPES


def test_every_key_is_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.json"
    tokens = [add(file, f"k{i}", ["forecast"]) for i in range(4)]
    keys, compared = Keys(file, "own"), []

    def noted(one: str, other: str) -> bool:
        compared.append(other)
        return one == other

    monkeypatch.setattr(keyring.hmac, "compare_digest", noted)
    for given_key in (*tokens, "own", "none"):
        compared.clear()
        keys.find(given_key)
        assert len(compared) == 5, "an early end would tell where it is"


def test_a_change_of_the_file_is_seen_at_once(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = Keys(file)
    assert not keys.any
    token = add(file, "shop", ["forecast"])
    assert keys.any
    found = keys.find(token)
    assert found is not None
    assert found.revoked is None
    revoke(file, "shop")
    found = keys.find(token)
    assert found is not None
    assert found.revoked is not None
    assert not keys.any
    file.unlink()
    assert keys.find(token) is None


def entry(**more: Any) -> str:
    """A file with one key that is not as it should be."""
    good = {"name": "a", "scopes": ["forecast"], "sha256": "0" * 64}
    return json.dumps({"keys": [{**good, **more}]})


DAMAGED = [
    *("", "[]", "{}", '{"keys": 3}', '{"keys": [{"name": "a"}]}', "\xff", "[" * 9999),
    *(entry(scopes=["all"]), entry(sha256="0"), entry(revoked=0), entry(more=1)),
    *(entry(name="../x"), entry(per_minute="9"), entry(max_body=0), entry(per_minute=True)),
]


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_file_lets_nobody_in_but_by_the_key_of_the_settings(
    tmp_path: Path, content: str
) -> None:
    file = tmp_path / "keys.json"
    keys = Keys(file, "own")
    token = add(file, "shop", ["forecast"])
    assert keys.find(token) is not None
    file.write_text(content, encoding="latin-1")
    with pytest.raises(KeyFileError, match="damaged"):
        keys.find(token)
    assert keys.find("own") is not None
    with pytest.raises(KeyFileError):
        add(file, "other", ["forecast"])
    assert file.read_text(encoding="latin-1") == content
    with pytest.raises(KeyFileError):
        ServingSettings.read({"GATECAST_API_KEYS": str(file)})


@pytest.mark.parametrize(
    ("name", "scopes", "more", "said"),
    [
        ("../x", ["forecast"], {}, "cannot be called"),
        ("GATECAST_API_KEY", ["forecast"], {}, "cannot be called"),
        ("a", [], {}, "needs a scope"),
        ("a", ["all"], {}, "no scope 'all'"),
        ("a", ["forecast"], {"per_minute": 0}, "--per-minute 0"),
        ("a", ["forecast"], {"max_body": -1}, "--max-body -1"),
        ("taken", ["forecast"], {}, "another name"),
    ],
)
def test_a_key_that_cannot_be_made_changes_nothing(
    tmp_path: Path, name: str, scopes: list[str], more: dict[str, int], said: str
) -> None:
    file = tmp_path / "keys.json"
    add(file, "taken", ["refresh"])
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=said):
        add(file, name, scopes, **more)
    assert file.read_bytes() == before
    with pytest.raises(ConfigError, match="there are: taken"):
        revoke(file, "nobody")


def test_keys_made_at_once_are_all_there(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    with ThreadPoolExecutor(8) as pool:
        tokens = list(pool.map(lambda i: add(file, f"k{i}", ["forecast"]), range(24)))
    keys = Keys(file)
    assert [getattr(keys.find(token), "name", None) for token in tokens] == [
        f"k{i}" for i in range(24)
    ]


def test_a_key_in_a_log_line_is_hidden(tmp_path: Path) -> None:
    token = add(tmp_path / "keys.json", "shop", ["forecast"])
    assert token not in masking.hide(f"path=/v1/{token}/x")
