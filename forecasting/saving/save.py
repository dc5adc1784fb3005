"""An ensemble to a bundle folder and back."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from forecasting import bundle
from forecasting.data.calendar import Frequency, calendar_names
from forecasting.ensemble import Ensemble
from forecasting.errors import BundleError
from forecasting.evaluation.choice import Choice
from forecasting.networks import ForecastNetwork
from forecasting.networks.decoders import StateDecoder
from forecasting.saving.onnx import export_onnx, golden

# What a manifest tells of the training; bundles were saved without it before.
FITTED = {"seconds", "series", "rows"}
# And, of late, the newest stamp there, in microseconds or steps.
UNTIL = "until"
# A decoder that read its steps both ways, as bundles were trained before.
DECODED_BACKWARDS = re.compile(r"decoder\.stack\..*_reverse$")


def save(
    ensemble: Ensemble,
    path: str | Path,
    *,
    metrics: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a bundle folder: all of it, or nothing.

    ``metrics`` and ``extra`` (lineage and the like) are kept in the manifest.
    """
    target = Path(path)
    if target.is_file() or (
        target.is_dir() and any(target.iterdir()) and not (target / "manifest.json").is_file()
    ):
        raise BundleError(
            f"{target} exists and is no saved forecaster: it is not overwritten; "
            "name another folder"
        )
    together = ensemble.dependence
    target.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        tensors = {
            f"{m}.{name}": value.detach().cpu().contiguous()
            for m, network in enumerate(ensemble.networks)
            for name, value in network.state_dict().items()
        }
        save_file(tensors, half / "model.safetensors", metadata={"format": "pt"})
        export_onnx(ensemble, half / "model.onnx")
        bundle.write_json(
            half / "config.json",
            {
                "config": ensemble.config.model_dump(mode="json"),
                "schema": ensemble.reads.model_dump(mode="json"),
                "correction": None if ensemble.correction is None else ensemble.correction.tolist(),
                "cells": [n.config.model.cell for n in ensemble.networks],
                "dependence": together.to_json() if together.learned else None,
            },
        )
        bundle.write_manifest(
            half,
            {
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "horizon": ensemble.config.horizon,
                "freq": ensemble.config.freq,
                "season": ensemble.config.season,
                "context": ensemble.context,
                "quantile_levels": list(ensemble.config.model.quantile_levels),
                "covariates": ensemble.schema.model_dump(mode="json")["covariates"],
                "members": {"count": len(ensemble.networks), **ensemble.swing},
                "start": ensemble.config.training.start,
                "fitted": ensemble.fitted,
                "choice": ensemble.choice.to_json(),
                "metrics": dict(metrics or {}),
                "golden": golden(ensemble),
                **dict(extra or {}),
            },
        )
        # A service under another account reads what training wrote.
        half.chmod(0o755)
        for file in half.iterdir():
            file.chmod(0o644)
        if target.exists():
            shutil.rmtree(target)
        half.replace(target)
    except BaseException:
        shutil.rmtree(half, ignore_errors=True)
        raise
    return target


def load(path: str | Path, *, trusted: bool = False) -> Ensemble:
    """Open a bundle with torch; `BundleError` says what is wrong with it. See `bundle.verify`."""
    manifest = bundle.verify(path, trusted=trusted)
    parts = bundle.read(path)
    file = Path(path) / "model.safetensors"
    try:
        tensors = load_file(str(file))
    except SafetensorError as error:
        raise BundleError(f"{file} holds no weights: {error}; fetch the bundle again") from None
    calendar = 0
    if parts.config.model.calendar:
        calendar = len(calendar_names(Frequency.parse(parts.config.freq)))
    networks = []
    for m, cell in enumerate(parts.cells):
        member = parts.config.replace(model={"cell": cell})
        network = ForecastNetwork(member, parts.schema, calendar)
        prefix = f"{m}."
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if
                   k.startswith(prefix)}  # fmt: skip
        decoder = network.decoder
        if isinstance(decoder, StateDecoder) and any(DECODED_BACKWARDS.match(k) for k in weights):
            decoder.read_both_ways(member.model)
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            raise BundleError(f"{path}: the weights do not fit the settings: {error}") from None
        networks.append(network.eval().requires_grad_(False))
    if any(int(name.partition(".")[0]) >= len(networks) for name in tensors):
        raise BundleError(f"{path}: there are weights of more members than the settings name")
    swing = {k: v for k, v in manifest.get("members", {}).items() if k != "count"}
    fitted = manifest.get("fitted", {})
    return Ensemble(
        config=parts.config,
        schema=parts.schema,
        networks=networks,
        correction=parts.correction,
        dependence=parts.dependence,
        choice=replace(Choice.of_json(manifest.get("choice")), swing=swing),
        fitted=_told(fitted) if fitted.keys() >= FITTED else {},
    )


def _told(fitted: Mapping[str, float]) -> dict[str, float]:
    return {name: fitted[name] for name in fitted if name in FITTED or name == UNTIL}
