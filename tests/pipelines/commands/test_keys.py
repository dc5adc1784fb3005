"""``gatecast keys``: made, listed, revoked, and never shown."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from forecasting.bundle import verify
from forecasting.errors import SignatureError
from forecasting.signing import KEY_VARIABLE, RING_VARIABLE, Ring, SigningKey
from pipelines.cli import build
from pipelines.machine.state import HOME_VARIABLE

BUNDLE = Path(__file__).resolve().parents[2] / "bundles" / "format-1"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "home"))
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.delenv(RING_VARIABLE, raising=False)


def keys(*words: str) -> Result:
    return CliRunner().invoke(build(), ["keys", *words])


def test_a_key_is_made_used_listed_and_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "holds no key" in keys("list").output
    made = keys("new", "trainer")
    assert made.exit_code == 0, made.output
    path, ring = tmp_path / "home" / "keys" / "trainer", tmp_path / "home" / "ring"
    assert f"{KEY_VARIABLE}={path}" in made.output
    assert f"{RING_VARIABLE}={ring}" in made.output
    secret = path.read_text().splitlines()[1]
    assert secret not in made.output
    assert [secret in file.read_text() for file in ring.iterdir()] == [False]
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    monkeypatch.setenv(RING_VARIABLE, str(ring))
    with pytest.raises(SignatureError):
        verify(bundle)
    assert keys("sign", str(bundle), "--key", str(path)).exit_code == 0
    verify(bundle)
    assert "trusted" in keys("list").output
    assert keys("revoke", "trainer", "--reason", "lost").exit_code == 0
    assert "revoked" in keys("list").output
    assert "lost" in keys("list").output
    with pytest.raises(SignatureError, match="revoked"):
        verify(bundle)


def test_keys_of_callers_are_the_services(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made = keys("api", "new", "shop", "--scope", "forecast,metrics", "--per-minute", "60")
    assert made.exit_code == 0
    token = capfd.readouterr().out.strip()
    assert token.startswith("gck_")
    file = tmp_path / "home" / "api-keys.json"
    assert token not in file.read_text()
    assert keys("api", "list").exit_code == 0
    assert "forecast,metrics" in capfd.readouterr().out
    assert keys("api", "revoke", "shop").exit_code == 0
    assert keys("api", "revoke", "nobody").exit_code == 2
    assert capfd.readouterr().err.count("gatecast: there is no key 'nobody'") == 1


def test_a_name_that_is_taken_leaves_no_private_key_behind(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert keys("new", "a", "--key", str(first), "--ring", str(tmp_path / "ring")).exit_code == 0
    refused = keys("new", "a", "--key", str(second), "--ring", str(tmp_path / "ring"))
    assert "choose another" in str(refused.exception)
    assert not second.exists()
    assert [key.id for key in Ring(tmp_path / "ring").held()] == [SigningKey.load(first).id]


def test_who_signs_needs_a_key_and_a_bundle_that_is_whole(tmp_path: Path) -> None:
    assert "--key FILE" in str(keys("sign", str(BUNDLE)).exception)
    path = tmp_path / "key"
    SigningKey.create(path)
    broken = Path(shutil.copytree(BUNDLE, tmp_path / "broken"))
    (broken / "model.onnx").write_bytes(b"")
    assert "has changed" in str(keys("sign", str(broken), "--key", str(path)).exception)
    assert "say why" in str(keys("revoke", "a", "--reason", " ").exception)
