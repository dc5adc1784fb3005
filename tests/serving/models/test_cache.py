"""Signed champions: with a key ring nothing else is opened, and the old one goes on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from forecasting import bundle as bundles
from forecasting.errors import SignatureError
from forecasting.signing import SIGNATURE, Ring, SigningKey
from serving.__main__ import main
from serving.app import Application
from serving.models import cache as caching
from serving.models.keeper import Keeper
from tests.serving.conftest import KEY, Caller
from tests.serving.models.test_keeper import service
from tests.serving.store import Store
from tests.serving.test_forecast import series


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("signed"))


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture
def ring(tmp_path: Path, key: SigningKey) -> Ring:
    ring = Ring(tmp_path / "ring")
    ring.add("trainer", key)
    return ring


def files(store: Store, name: str, version: int) -> Path:
    source = store.client.get_model_version(name, str(version)).source
    return Path(urlparse(source).path)


def failures(app: Application) -> dict[str, float]:
    return {
        s.labels["reason"]: s.value
        for m in app.service.metrics.registry.collect()
        for s in m.samples
        if s.name == "gatecast_load_failures_total"
    }


def break_signature(store: Store, name: str, first: int, second: int, how: str) -> None:
    """Make the second version one that must be refused."""
    older, newer = files(store, name, first), files(store, name, second)
    if how == "unsigned":
        (newer / SIGNATURE).unlink()
    elif how == "damaged_signature":
        (newer / SIGNATURE).write_text("{}")
    elif how == "wrong_signature":
        text = (newer / SIGNATURE).read_text()
        (newer / SIGNATURE).write_text(text.replace('\\"signed\\": \\"2', '\\"signed\\": \\"3'))
    elif how == "other_version":
        # What an intruder with the registry would do: an old champion under a new number.
        shutil.copytree(older, newer, dirs_exist_ok=True)
        digest = store.client.get_model_version(name, str(first)).tags["bundle_sha256"]
        store.client.set_model_version_tag(name, str(second), "bundle_sha256", digest)
    elif how == "other_bundle":
        shutil.copy(older / SIGNATURE, newer)
    else:
        signer = SigningKey.create(newer.parent / "stranger")
        subject = {"kind": "model", "model": name, "version": second}
        run = store.client.get_model_version(name, str(second)).run_id
        signer.sign(newer, run=run, **subject)


HOWS = ["unsigned", "damaged_signature", "wrong_signature", "other_version", "other_bundle",
        "unknown_key"]  # fmt: skip


@pytest.mark.parametrize("how", HOWS)
def test_the_old_champion_goes_on_beside_one_that_is_not_signed_right(
    registry: Store,
    ring: Ring,
    key: SigningKey,
    plain: Path,
    plain_again: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    how: str,
) -> None:
    first = registry.register(how, plain, signer=key)
    app = service(registry, how, tmp_path / "home", key_ring=ring.folder)
    app.service.models.load()
    assert app.service.models.ready
    second = registry.register(how, plain_again, signer=key, alias=None)
    break_signature(registry, how, first, second, how)
    registry.alias(how, second)
    call = Caller(app)
    answer = call("POST", f"/v1/models/{how}/refresh", headers={"x-api-key": KEY})
    assert (answer.status_code, answer.json()["code"]) == (503, "refresh_failed")
    assert failures(app) == {how: 1.0}
    assert f"version {second} of '{how}'" in answer.json()["detail"]
    assert call.post({"series": [series()]}).json()["model"]["version"] == first
    # Without a ring the same version is taken, if its hashes are right.
    assert service(registry, how, tmp_path / "open").service.models.ready


def test_the_reason_stands_in_the_log(
    registry: Store,
    ring: Ring,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(
        "serving.running.logs.write", lambda level, event, **more: said.append(more)
    )
    registry.register("logged", plain)
    app = service(registry, "logged", tmp_path / "home", key_ring=ring.folder)
    assert not app.service.models.ready
    assert [line["code"] for line in said if line.get("code")] == ["unsigned"]


def test_no_file_of_an_unsigned_version_is_opened(
    registry: Store,
    ring: Ring,
    plain: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.register("unopened", plain)
    opened: list[Any] = []
    monkeypatch.setattr(bundles, "verify", lambda *a, **k: opened.append(a))
    monkeypatch.setattr("serving.models.keeper.open_bundle", lambda *a: opened.append(a))
    app = service(registry, "unopened", tmp_path / "home", key_ring=ring.folder)
    assert not app.service.models.ready
    assert opened == []


def test_a_version_that_is_signed_after_it_was_fetched_is_taken(
    registry: Store, ring: Ring, key: SigningKey, plain: Path, tmp_path: Path
) -> None:
    version = registry.register("later", plain)
    assert service(registry, "later", tmp_path / "home").service.models.ready
    app = service(registry, "later", tmp_path / "home", key_ring=ring.folder)
    assert not app.service.models.ready
    run = registry.client.get_model_version("later", str(version)).run_id
    folder = files(registry, "later", version)
    key.sign(folder, kind="model", model="later", version=version, run=run)
    assert keeper(app, "later").refresh()
    # The same files as another version: the signature in the cache is not of that one.
    registry.register("later", plain, signer=key)
    assert keeper(app, "later").refresh()


def keeper(app: Application, name: str) -> Keeper:
    return app.service.models.keepers[name]


def test_when_the_key_is_revoked_what_answers_goes_on_and_is_told_once(
    registry: Store, ring: Ring, key: SigningKey, plain: Path, tmp_path: Path
) -> None:
    version = registry.register("revoked", plain, signer=key)
    app = service(registry, "revoked", tmp_path / "home", key_ring=ring.folder)
    ring.revoke("trainer", "lost")
    for _ in range(3):
        assert keeper(app, "revoked").refresh() is False
    assert "was revoked" in str(keeper(app, "revoked").problem)
    assert failures(app) == {"revoked_key": 1.0}
    assert Caller(app).post({"series": [series()]}).json()["model"]["version"] == version
    # A start takes it no more, not even from the cache.
    again = service(registry, "revoked", tmp_path / "home", key_ring=ring.folder)
    assert not again.service.models.ready
    # Signed by another key it comes back.
    fresh = SigningKey.create(tmp_path / "fresh")
    ring.add("fresh", fresh)
    run = registry.client.get_model_version("revoked", str(version)).run_id
    fresh.sign(
        files(registry, "revoked", version), kind="model", model="revoked", version=version, run=run
    )
    assert keeper(again, "revoked").refresh()


def test_a_remembered_version_must_be_signed_too(
    registry: Store, ring: Ring, key: SigningKey, plain: Path, tmp_path: Path
) -> None:
    registry.register("offline", plain)
    registry.register("signed-offline", plain, signer=key)
    for name, ready in (("offline", False), ("signed-offline", True)):
        home = tmp_path / name
        assert service(registry, name, home).service.models.ready
        record = home / "cache" / "models" / name / "followed.json"
        assert json.loads(record.read_text())["name"] == name
        away = Store.__new__(Store)
        away.uri = "http://127.0.0.1:9"
        app = service(away, name, home, key_ring=ring.folder)
        assert app.service.models.ready is ready


def test_workers_that_fetch_the_same_version_do_not_undo_a_signature(
    registry: Store, ring: Ring, key: SigningKey, plain: Path, tmp_path: Path
) -> None:
    version = registry.register("race", plain, signer=key)
    app = service(registry, "race", tmp_path / "home", key_ring=ring.folder)
    loaded = keeper(app, "race").current
    assert loaded is not None
    (loaded.folder / SIGNATURE).unlink()
    with pytest.raises(SignatureError):
        keeper(app, "race").cache.check_signature(loaded.folder, loaded.version)
    cache = caching.Cache("race", app.settings)
    assert cache.get(loaded.version, None) == loaded.folder
    cache.check_signature(loaded.folder, loaded.version)
    assert loaded.version.number == version


@pytest.mark.parametrize("made", [False, True])
def test_a_ring_without_keys_stops_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, made: bool
) -> None:
    if made:
        (tmp_path / "ring").mkdir()
    monkeypatch.setenv("GATECAST_KEY_RING", str(tmp_path / "ring"))
    assert main(["--model", "m"]) == 2
    assert "holds no key" in capsys.readouterr().err


def test_an_empty_name_of_a_ring_is_none(registry: Store, tmp_path: Path) -> None:
    from serving.settings import ServingSettings

    assert ServingSettings.read({"GATECAST_KEY_RING": ""}).key_ring is None
    settings = ServingSettings.read({"GATECAST_KEY_RING": str(tmp_path)})
    assert settings.variables()["GATECAST_KEY_RING"] == str(tmp_path)
