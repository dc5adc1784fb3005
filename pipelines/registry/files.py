"""The files of a version: fetched from its run, checked against its hashes, signed and checked."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from forecasting.bundle import sha256
from forecasting.errors import GatecastError
from forecasting.signing import SigningKey, configured_ring
from pipelines.machine.state import home
from pipelines.registry.mlmodel import ARTIFACT_FOLDER
from pipelines.tracking.store import brief

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

MODEL, JUDGED = "model", "judged"  # kinds of bundles, and what their signatures say they are
FOLDERS = {MODEL: ARTIFACT_FOLDER, JUDGED: "judged"}  # of the run
HASH_TAG, JUDGED_TAG = "bundle_sha256", "judged_sha256"
FINGERPRINT_FOLDER, FINGERPRINT_FILE = "before", "fingerprint.parquet"
FINGERPRINT_TAG = "fingerprint_sha256"

Check = Callable[[Path], None]


class Kept(NamedTuple):
    """A bundle of a version: which one, where it lies, the hash it was registered with."""

    kind: str
    source: str
    digest: str


def kept(version: ModelVersion, kind: str) -> Kept | None:
    """One of a version's bundles; None where it has none of the kind."""
    digest = version.tags.get(HASH_TAG if kind == MODEL else JUDGED_TAG)
    source = str(version.source)
    if kind != MODEL:
        source = source.removesuffix(ARTIFACT_FOLDER) + FOLDERS[kind]
    return None if digest is None else Kept(kind, source, digest)


def fetch_bundle(client: MlflowClient, version: ModelVersion, one: Kept, folder: Path) -> Path:
    """A bundle in a folder below ``folder``, by its hash; signed, where a key ring is set.

    Raises
    ------
    GatecastError : it cannot be read, or is not what was registered. SignatureError.
    """
    ring = configured_ring()

    def check(place: Path) -> None:
        _check_hash(place, version, one)
        if ring is not None:
            subject = _subject(version, one.kind)
            ring.check(place, one.digest, _named(version, one.kind), **subject)

    return _fetched(client, version, one, folder, check)


def sign_bundle(
    client: MlflowClient, version: ModelVersion, signer: SigningKey, bundle: Path, kind: str
) -> None:
    """Put a signature beside a bundle that was uploaded to the version's run."""
    with tempfile.TemporaryDirectory() as scratch:
        file = signer.sign(bundle, Path(scratch), **_subject(version, kind))
        client.log_artifact(str(version.run_id), str(file), FOLDERS[kind])


def sign_version(client: MlflowClient, version: ModelVersion, signer: SigningKey) -> None:
    """Sign the bundles that a version has now.

    They have the hashes of its tags, and no more is known of them: who signs vouches.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for kind in FOLDERS:
            one = kept(version, kind)
            if one is not None:
                whole = partial(_check_hash, version=version, one=one)
                folder = _fetched(client, version, one, Path(scratch) / kind, whole)
                sign_bundle(client, version, signer, folder, kind)


def fetch_fingerprint(client: MlflowClient, version: ModelVersion) -> Path | None:
    """The file that says what a version was trained on; None where it keeps none."""
    digest = version.tags.get(FINGERPRINT_TAG)
    if digest is None:
        return None
    what = f"what version {version.version} of {version.name!r} was trained on"
    target = home() / "cache" / "fingerprints" / f"{digest}.parquet"

    def check(file: Path) -> None:
        if sha256(file) != digest:
            raise GatecastError(f"{what} is damaged: its file has another hash than then")

    if not target.is_file() or sha256(target) != digest:
        source = str(version.source).removesuffix(ARTIFACT_FOLDER) + FINGERPRINT_FOLDER
        _fetch(client, f"{source}/{FINGERPRINT_FILE}", target, check, what)
    return target


def bundle_digest(bundle: Path) -> str:
    """SHA-256 of a bundle's manifest, which in turn holds the hash of each of its files."""
    manifest = bundle / "manifest.json"
    if not manifest.is_file():
        raise GatecastError(f"{bundle} holds no manifest.json: it is no saved forecaster")
    return hashlib.sha256(manifest.read_bytes()).hexdigest()


def _fetched(
    client: MlflowClient, version: ModelVersion, one: Kept, folder: Path, check: Check
) -> Path:
    target = folder / one.digest
    try:
        check(target)
    except GatecastError:
        # Not there yet, damaged, or signed since it was fetched.
        _fetch(client, one.source, target, check, f"the files of {_named(version, one.kind)}")
    return target


def _fetch(client: MlflowClient, source: str, target: Path, check: Check, what: str) -> None:
    """Put an artifact, file or folder, at ``target`` once it passes its check."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = tempfile.mkdtemp(dir=target.parent)
    try:
        got = Path(
            download_artifacts(
                artifact_uri=source, dst_path=scratch, tracking_uri=client.tracking_uri
            )
        )
        check(got)
        if target.is_dir():
            shutil.rmtree(target)
        got.replace(target)
    except (MlflowException, OSError) as error:
        raise GatecastError(f"{what} cannot be read: {brief(error)}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check_hash(bundle: Path, version: ModelVersion, one: Kept) -> None:
    if bundle_digest(bundle) != one.digest:
        raise GatecastError(
            f"{_named(version, one.kind)} is damaged: its manifest no longer has the hash it was "
            "registered with; roll back or train again"
        )


def _named(version: ModelVersion, kind: str) -> str:
    what = f"version {version.version} of {version.name!r}"
    return what if kind == MODEL else f"{what} as it was judged"


def _subject(version: ModelVersion, kind: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "model": str(version.name),
        "version": int(version.version),
        "run": str(version.run_id),
    }
