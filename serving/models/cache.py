"""The files of a model's versions on this machine: fetched, checked, kept by their hash."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from forecasting import bundle
from forecasting.errors import BundleError, GatecastError, SignatureError
from forecasting.signing import SIGNATURE, Ring
from serving.models.registry import Version, fetch
from serving.models.remembered import cache_folder
from serving.running import logs
from serving.settings import ServingSettings

KEPT_VERSIONS: Final = 4


class VersionError(GatecastError):
    """A version that must not answer: unfinished, damaged, or with another answer than it had."""


class Cache:
    """The fetched versions of one model."""

    def __init__(self, name: str, settings: ServingSettings) -> None:
        self.name, self.settings = name, settings
        self.folder = cache_folder(settings, name)
        self.ring = Ring(settings.key_ring) if settings.key_ring is not None else None

    def get(self, version: Version, used: Path | None) -> Path:
        """The folder of a version, whose signature and hashes are right.

        Parameters
        ----------
        used : the folder of the version that answers, which is kept.
        """
        folder = self.folder / str(version.digest)
        if _digest(folder) == version.digest:
            try:
                self.check_signature(folder, version)
                bundle.verify(folder, trusted=True)
                return folder
            except SignatureError:
                # It may have been signed since; what is fetched is checked again.
                pass
            except BundleError:
                logs.warning("a file in the cache is damaged: fetching again", folder=str(folder))
        self.folder.mkdir(parents=True, exist_ok=True)
        for private in (self.settings.cache, self.folder):
            private.chmod(0o700)
        scratch = Path(tempfile.mkdtemp(prefix=".fetch-", dir=self.folder))
        try:
            fetch(version, scratch, self.settings.store)
            if _digest(scratch) != version.digest:
                raise VersionError(
                    f"version {version.number} of {self.name!r} is not what was registered (its "
                    "manifest has another SHA-256); roll back, or train again"
                )
            self.check_signature(scratch, version)
            bundle.verify(scratch, trusted=True)
            self._place(scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        self._tidy({folder, used})
        return folder

    def check_signature(self, folder: Path, version: Version) -> None:
        """`SignatureError` unless a key of the ring signed these files as this very version."""
        if self.ring is not None:
            self.ring.check(
                folder,
                str(version.digest),
                f"version {version.number} of {self.name!r}",
                kind="model",
                model=self.name,
                version=version.number,
                run=version.run_id,
            )

    def _place(self, scratch: Path, folder: Path) -> None:
        scratch.chmod(0o700)
        for _ in range(2):
            try:
                scratch.rename(folder)
                return
            except OSError:
                # Another worker was faster, or a damaged folder is in the way.
                if _same(folder, scratch) and _whole(folder):
                    return
                shutil.rmtree(folder, ignore_errors=True)
        raise VersionError(f"cannot write {folder}: check its permissions and the space left")

    def _tidy(self, used: set[Path | None]) -> None:
        folders = [f for f in self.folder.iterdir() if f.is_dir() and not f.name.startswith(".")]
        folders.sort(key=lambda f: f.stat().st_mtime, reverse=True)
        for folder in folders[KEPT_VERSIONS:]:
            if folder not in used:
                shutil.rmtree(folder, ignore_errors=True)


def _digest(folder: Path) -> str | None:
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    except OSError:
        return None


def _whole(folder: Path) -> bool:
    try:
        bundle.verify(folder, trusted=True)
    except BundleError:
        return False
    return True


def _same(folder: Path, other: Path) -> bool:
    """Whether two bundles have the same manifest and the same signature, or both none."""
    return all(_bytes(folder / f) == _bytes(other / f) for f in ("manifest.json", SIGNATURE))


def _bytes(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
