"""What is on disk: weights as safetensors, the graph as ONNX, everything else as JSON.

No pickle anywhere. ``manifest.json`` names every file with its SHA-256 and the format version; a
changed byte, a missing file or a newer format is refused before anything is read. Where a key ring
is set, so is what no trusted key has signed (`forecasting.signing`). No torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forecasting.config import ForecasterConfig
from forecasting.copula.dependence import Dependence
from forecasting.errors import BundleError, ConfigError
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.signing import configured_ring

FORMAT_VERSION = 1
FILES = ("model.safetensors", "model.onnx", "config.json")


@dataclass(frozen=True)
class Parts:
    """The contents of ``config.json``: settings, covariates, conformal correction [H, Q], cells.

    ``dependence`` : of errors; None in bundles from before it was learned, and where nothing was.
    """

    config: Resolved
    schema: Schema
    correction: npt.NDArray[Any] | None
    cells: tuple[str, ...]
    dependence: Dependence | None = None


def verify(path: str | Path, *, trusted: bool = False) -> dict[str, Any]:
    """The manifest, once every file it names is there and unchanged.

    Parameters
    ----------
    trusted : made here, or its signature was checked before: none is asked for. Otherwise one of a
        key in the ring that ``GATECAST_KEY_RING`` names is, where it names one.

    Raises
    ------
    BundleError : naming the file and what to do. SignatureError : naming the reason.
    """
    folder = Path(path)
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise BundleError(f"{folder} is no saved forecaster: it has no manifest.json")
    data = manifest.read_bytes()
    ring = None if trusted else configured_ring()
    if ring is not None:
        ring.check(folder, hashlib.sha256(data).hexdigest(), str(folder))
    try:
        content: dict[str, Any] = json.loads(data)
        version, sums = int(content["format_version"]), dict(content["sha256"])
        if version < 1:
            raise ValueError(version)
    except (ValueError, KeyError, TypeError):
        raise BundleError(f"{manifest} is damaged; fetch the bundle again") from None
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{folder} has bundle format {version}, this program reads up to {FORMAT_VERSION}; "
            "upgrade gatecast"
        )
    for name in FILES:
        if name not in sums:
            raise BundleError(f"{manifest} names no checksum for {name}; fetch the bundle again")
        if not (folder / name).is_file():
            raise BundleError(f"{folder} is incomplete: {name} is missing; fetch the bundle again")
        if sha256(folder / name) != sums[name]:
            raise BundleError(
                f"{folder / name} has changed since it was saved (SHA-256 differs from the "
                "manifest); fetch the bundle again"
            )
    return content


def read(path: str | Path) -> Parts:
    """Settings, schema, correction and members' cells of a verified bundle."""
    file = Path(path) / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        correction, together = content["correction"], content.get("dependence")
        return Parts(
            config=Resolved.plainest(ForecasterConfig.parse(content["config"])),
            schema=Schema.parse(content["schema"]),
            correction=None if correction is None else np.asarray(correction, dtype=np.float64),
            cells=tuple(map(str, content["cells"])),
            dependence=None if together is None else Dependence.from_json(together),
        )
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(
            f"{file} cannot be read ({type(error).__name__}: {error}); fetch the bundle again, or "
            "open it with the gatecast that saved it"
        ) from None


def write_manifest(folder: Path, content: dict[str, Any]) -> None:
    """Complete a bundle: the manifest is written last, so that a half-written one has none."""
    content = {
        "format_version": FORMAT_VERSION,
        "sha256": {name: sha256(folder / name) for name in FILES},
        **content,
    }
    write_json(folder / "manifest.json", content)


def write_json(path: Path, content: Any) -> None:
    """Write and flush to disk under another name, then rename."""
    half = path.with_name(path.name + ".part")
    with half.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    half.replace(path)


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
