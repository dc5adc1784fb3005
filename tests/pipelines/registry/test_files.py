"""Signed versions: what is not signed becomes no champion and forecasts nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from typer.testing import CliRunner

from forecasting.errors import ConfigError, SignatureError
from forecasting.signing import KEY_VARIABLE, RING_VARIABLE, SIGNATURE, Ring, SigningKey
from pipelines.cli import build
from pipelines.registry.registered import load
from pipelines.registry.registry import Registry
from tests.pipelines.registry.conftest import BUNDLE


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture
def ring(tmp_path: Path, key: SigningKey, monkeypatch: pytest.MonkeyPatch) -> Ring:
    """A ring that is set, with one key."""
    ring = Ring(tmp_path / "ring")
    ring.add("trainer", key)
    monkeypatch.setenv(RING_VARIABLE, str(ring.folder))
    return ring


def test_a_signed_version_is_promoted_and_forecasts(
    ring: Ring, registry: Registry, name: str, add: Callable[..., int], key: SigningKey
) -> None:
    add(key, judged=BUNDLE)
    registry.promote(name, None, reason="", action="promoted")
    version = registry.version(name, None)
    assert load(registry, version).config.horizon
    assert registry.download_judged(version, ring.folder.parent / "judged").is_dir()


def test_an_unsigned_version_becomes_no_champion_until_somebody_vouches_for_it(
    ring: Ring,
    registry: Registry,
    name: str,
    add: Callable[..., int],
    key: SigningKey,
    tmp_path: Path,
) -> None:
    first = add(key)
    registry.promote(name, None, reason="", action="promoted")
    second = add(None, judged=BUNDLE)
    version = registry.version(name, second)
    for refused in (
        lambda: registry.promote(name, None, reason="", action="forced"),
        lambda: load(registry, version),
        lambda: registry.download_judged(version, tmp_path / "judged"),
    ):
        with pytest.raises(SignatureError, match="is not signed"):
            refused()
    assert registry.aliases(name)["champion"] == first
    path = tmp_path / "key"
    SigningKey.create(path)
    command = ["keys", "sign", f"{name}@{second}", "--key", str(path)]
    assert CliRunner().invoke(build(), command).exit_code == 0
    with pytest.raises(SignatureError, match="is not in the key ring"):
        registry.promote(name, second, reason="", action="forced")
    ring.add("second", SigningKey.load(path))
    registry.promote(name, second, reason="", action="forced")
    assert registry.aliases(name)["champion"] == second
    registry.download_judged(version, tmp_path / "judged")


def test_the_files_of_an_older_version_under_a_new_number_are_refused(
    ring: Ring,
    registry: Registry,
    name: str,
    add: Callable[..., int],
    key: SigningKey,
    tmp_path: Path,
) -> None:
    first, second = (registry.version(name, add(key)) for _ in range(2))
    shutil.copytree(urlparse(first.source).path, urlparse(second.source).path, dirs_exist_ok=True)
    registry.download(first, tmp_path)
    with pytest.raises(SignatureError, match="of another one") as refused:
        registry.download(second, tmp_path)
    assert refused.value.reason == "other_version"


def test_a_key_that_was_revoked_takes_what_it_signed_with_it_even_from_the_cache(
    ring: Ring,
    registry: Registry,
    name: str,
    add: Callable[..., int],
    key: SigningKey,
    tmp_path: Path,
) -> None:
    version = registry.version(name, add(key))
    registry.download(version, tmp_path)
    ring.revoke("trainer", "lost")
    with pytest.raises(SignatureError, match="was revoked"):
        registry.download(version, tmp_path)


def test_without_a_ring_nothing_is_asked_of_a_version(
    registry: Registry, name: str, add: Callable[..., int], tmp_path: Path
) -> None:
    add(None)
    registry.promote(name, None, reason="", action="promoted")
    folder = registry.download(registry.version(name, None), tmp_path)
    assert not (folder / SIGNATURE).exists()


def test_the_key_that_signs_must_be_one_that_the_ring_trusts(
    ring: Ring,
    experiment: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pipelines.training.train import signing_key

    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert signing_key(experiment()) is None
    stranger = tmp_path / "stranger"
    SigningKey.create(stranger)
    config = experiment(tracking={"signing_key": str(stranger)})
    with pytest.raises(ConfigError, match="is not in the key ring"):
        signing_key(config)
    # Its path is nobody's business but the trainer's.
    assert "stranger" not in config.to_yaml()
    monkeypatch.delenv(RING_VARIABLE)
    found = signing_key(config)
    assert found is not None
    monkeypatch.setenv(KEY_VARIABLE, str(stranger))
    assert getattr(signing_key(experiment()), "id", None) == found.id
