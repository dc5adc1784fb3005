"""Signatures: nothing but what a trusted key signed is taken, and every refusal has its name."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forecasting import bundle
from forecasting.bundle import FILES
from forecasting.errors import BundleError, ConfigError, SignatureError
from forecasting.forecaster import Forecaster
from forecasting.prediction.predictor import Predictor
from forecasting.signing import (
    PURPOSE,
    RING_VARIABLE,
    SIGNATURE,
    Claim,
    Ring,
    SigningKey,
    configured_key,
    configured_ring,
)

BUNDLE = Path(__file__).resolve().parent.parent / "bundles" / "format-1"
SUBJECT = {"kind": "model", "model": "sales", "version": 3, "run": "r1"}
QUICK = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "trainer")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return SigningKey.create(tmp_path_factory.mktemp("keys") / "other")


@pytest.fixture
def ring(tmp_path: Path, key: SigningKey) -> Ring:
    ring = Ring(tmp_path / "ring")
    ring.add("trainer", key)
    return ring


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> Path:
    folder = tmp_path_factory.mktemp("signed") / "bundle"
    shutil.copytree(BUNDLE, folder)
    key.sign(folder, **SUBJECT)
    return folder


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed, tmp_path / "copy"))


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def refusal(ring: Ring, folder: Path, **subject: Any) -> str:
    with pytest.raises(SignatureError) as refused:
        ring.check(folder, digest(folder), "it", **(subject or SUBJECT))
    return refused.value.reason


def test_what_a_trusted_key_signed_is_taken(ring: Ring, signed: Path) -> None:
    claim = ring.check(signed, digest(signed), "it", **SUBJECT)
    assert asdict(claim) == {**SUBJECT, "manifest": digest(signed), "signed": claim.signed}
    assert claim.signed.startswith("20")


@QUICK
@given(data=st.data())
def test_any_flipped_bit_of_a_signature_is_refused(
    ring: Ring, signed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray((signed / SIGNATURE).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    (tmp_path / SIGNATURE).write_bytes(content)
    with pytest.raises(SignatureError):
        ring.check(tmp_path, digest(signed), "it", **SUBJECT)


@QUICK
@given(data=st.data())
def test_any_flipped_bit_of_a_manifest_or_a_file_is_refused(
    ring: Ring, signed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "flipped"
    if not folder.exists():
        shutil.copytree(signed, folder)
    name = data.draw(st.sampled_from(["manifest.json", *FILES]))
    content = bytearray((signed / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / name).write_bytes(content)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(RING_VARIABLE, str(ring.folder))
            with pytest.raises(BundleError) as refused:
                bundle.verify(folder)
        if name == "manifest.json":
            assert isinstance(refused.value, SignatureError)
            assert refused.value.reason == "other_bundle"
    finally:
        shutil.copy(signed / name, folder / name)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10**9))
def test_any_other_keys_signature_is_refused(
    ring: Ring, signed: Path, tmp_path: Path, turn: int
) -> None:
    stranger = SigningKey.create(tmp_path / f"stranger-{turn}-{len(list(tmp_path.iterdir()))}")
    stranger.sign(signed, tmp_path, **SUBJECT)
    with pytest.raises(SignatureError) as refused:
        ring.check(tmp_path, digest(signed), "it", **SUBJECT)
    assert refused.value.reason == "unknown_key"
    # And when it says that it is the trusted one.
    text = (tmp_path / SIGNATURE).read_text().replace(stranger.id, ring.held()[0].id)
    (tmp_path / SIGNATURE).write_text(text)
    with pytest.raises(SignatureError) as refused:
        ring.check(tmp_path, digest(signed), "it", **SUBJECT)
    assert refused.value.reason == "wrong_signature"


@pytest.mark.parametrize(
    "change",
    [{"kind": "judged"}, {"model": "other"}, {"version": 2}, {"version": 4}, {"run": "r2"},
     {"run": None}],
)  # fmt: skip
def test_a_signature_of_another_version_or_model_is_no_signature(
    ring: Ring, signed: Path, change: dict[str, Any]
) -> None:
    assert refusal(ring, signed, **(SUBJECT | change)) == "other_version"


def test_a_bundle_that_belongs_to_no_registry_is_no_registered_version(
    ring: Ring, copy: Path, key: SigningKey
) -> None:
    key.sign(copy)
    assert ring.check(copy, digest(copy), "it").kind == "bundle"
    assert refusal(ring, copy) == "other_version"


def test_a_signature_moved_beside_another_bundle_is_refused(
    ring: Ring, copy: Path, signed: Path
) -> None:
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"season": 99}))
    assert refusal(ring, copy) == "other_bundle"


def test_a_text_signed_for_another_purpose_is_no_signature(
    ring: Ring, copy: Path, key: SigningKey
) -> None:
    envelope = json.loads((copy / SIGNATURE).read_text())
    signature = key._private.sign(envelope["claim"].encode()).hex()
    (copy / SIGNATURE).write_text(json.dumps({**envelope, "signature": signature}, indent=1) + "\n")
    assert refusal(ring, copy) == "wrong_signature"
    assert PURPOSE.endswith(b"\n")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "{}",
        lambda text: "[]",
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.upper(),
        lambda text: text.replace('"key"', '"k\\u0065y"'),
        lambda text: text.replace('"key": "', '"key": "../'),
        lambda text: text + " " * (1 << 15),
        lambda text: "[" * 20_000,
    ],
)
def test_a_signature_has_one_spelling(ring: Ring, copy: Path, change: Callable[[str], str]) -> None:
    (copy / SIGNATURE).write_text(change((copy / SIGNATURE).read_text()))
    assert refusal(ring, copy) == "damaged_signature"


def test_an_unsigned_bundle_is_refused_where_a_ring_is_set_and_taken_where_none_is(
    ring: Ring, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / SIGNATURE).unlink()
    for load in (bundle.verify, Predictor.load, Forecaster.load):
        monkeypatch.delenv(RING_VARIABLE, raising=False)
        load(copy)
        monkeypatch.setenv(RING_VARIABLE, str(ring.folder))
        with pytest.raises(SignatureError, match="is not signed"):
            load(copy)
        load(copy, trusted=True)


def test_mlflows_loader_asks_for_a_signature_too(
    ring: Ring, copy: Path, signed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from serving.pyfunc import _load_pyfunc

    (copy / SIGNATURE).unlink()
    monkeypatch.setenv(RING_VARIABLE, str(ring.folder))
    with pytest.raises(SignatureError):
        _load_pyfunc(str(copy))
    assert _load_pyfunc(str(signed)).engine.config.horizon


def test_nothing_of_an_unsigned_bundle_is_opened(
    ring: Ring, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / SIGNATURE).unlink()
    monkeypatch.setenv(RING_VARIABLE, str(ring.folder))
    monkeypatch.setattr(bundle.json, "loads", lambda *_: pytest.fail("the manifest was parsed"))
    monkeypatch.setattr(bundle, "sha256", lambda *_: pytest.fail("a file was read"))
    with pytest.raises(SignatureError):
        bundle.verify(copy)


def test_a_revoked_key_opens_nothing_and_does_not_come_back(
    ring: Ring, signed: Path, other: SigningKey, key: SigningKey, tmp_path: Path
) -> None:
    ring.add("other", other)
    before = Path(shutil.copytree(ring.folder, tmp_path / "older"))
    assert ring.revoke("trainer", "lost").id == key.id
    assert refusal(ring, signed) == "revoked_key"
    for file in before.iterdir():
        shutil.copy(file, ring.folder)
    assert refusal(ring, signed) == "revoked_key"
    # Whatever its mark holds, and without its public half.
    (ring.folder / f"{key.id}.revoked").write_text("")
    found = next(held for held in ring.held() if held.name == "trainer")
    assert "cannot be read" in str(found.revoked)
    (ring.folder / f"{key.id}.pub").unlink()
    assert refusal(ring, signed) == "revoked_key"
    with pytest.raises(ConfigError, match="revoked"):
        ring.require(key)
    ring.require(other)


def test_rings_that_are_none_trust_nobody(ring: Ring, signed: Path, key: SigningKey) -> None:
    assert refusal(Ring(ring.folder / "gone"), signed) == "no_ring"
    file = ring.folder / f"{key.id}.pub"
    file.write_text("{}")
    assert refusal(ring, signed) == "no_ring"
    with pytest.raises(ConfigError, match="damaged"):
        ring.held()
    file.unlink()
    assert refusal(ring, signed) == "unknown_key"


def test_a_public_key_under_another_ones_id_is_refused(
    ring: Ring, signed: Path, key: SigningKey, other: SigningKey
) -> None:
    ring.add("other", other)
    shutil.copy(ring.folder / f"{other.id}.pub", ring.folder / f"{key.id}.pub")
    assert refusal(ring, signed) == "no_ring"


def test_a_private_key_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    made = SigningKey.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    assert SigningKey.load(path).id == made.id
    with pytest.raises(ConfigError, match="not overwritten"):
        SigningKey.create(path)
    assert SigningKey.load(path).id == made.id
    for mode in (0o640, 0o604, 0o620, 0o666):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod 600"):
            SigningKey.load(path)
    assert [file.name for file in path.parent.iterdir()] == ["key"]


def test_what_is_no_private_key_is_named(tmp_path: Path, ring: Ring) -> None:
    with pytest.raises(ConfigError, match="cannot read the signing key"):
        SigningKey.load(tmp_path / "gone")
    path = tmp_path / "key"
    for content in (b"", b"rubbish", next(ring.folder.iterdir()).read_bytes()):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="no ed25519 private key"):
            SigningKey.load(path)


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x" * 65, "é"])
def test_a_key_has_a_plain_name(ring: Ring, other: SigningKey, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be called"):
        ring.add(name, other)


def test_names_of_a_ring_are_one_keys_each(ring: Ring, other: SigningKey) -> None:
    with pytest.raises(ConfigError, match="choose another"):
        ring.add("trainer", other)
    with pytest.raises(ConfigError, match="there are: trainer"):
        ring.revoke("nobody", "why")


def test_settings_come_from_the_environment_and_an_empty_one_is_none() -> None:
    assert configured_ring({}) is None
    assert configured_ring({RING_VARIABLE: " "}) is None
    found = configured_ring({RING_VARIABLE: "~/ring"})
    assert found is not None
    assert found.folder == Path.home() / "ring"
    assert configured_key(None, {}) is None
    assert configured_key("a", {"GATECAST_SIGNING_KEY": "b"}) == Path("a")
    assert configured_key(None, {"GATECAST_SIGNING_KEY": "b"}) == Path("b")


def test_a_claim_that_says_more_or_less_than_it_should_is_damaged(
    ring: Ring, copy: Path, key: SigningKey
) -> None:
    text = json.dumps({"kind": "model", "manifest": digest(copy)})
    signature = key._private.sign(PURPOSE + text.encode()).hex()
    envelope = {"claim": text, "key": key.id, "signature": signature}
    (copy / SIGNATURE).write_text(json.dumps(envelope, indent=1) + "\n")
    assert refusal(ring, copy) == "damaged_signature"
    assert Claim("model", "m").version is None
