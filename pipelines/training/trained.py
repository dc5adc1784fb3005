"""A candidate that was trained: its bundle, and the facts kept of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.evaluation.choice import Choice

if TYPE_CHECKING:
    from forecasting.config import ForecasterConfig


@dataclass(frozen=True)
class Trained:
    """One fitted model: its bundle on disk and what training it was like.

    ``swing`` : least, median and largest score of its members. ``seconds`` : of its training.
    """

    name: str
    bundle: Path
    config: ForecasterConfig
    history: list[dict[str, Any]]
    swing: dict[str, Any]
    seconds: float
    skipped: bool

    @property
    def steps(self) -> int | None:
        """Training steps that the kept weights took; None when nothing was written down."""
        final = [int(row["step"]) for row in self.history if row.get("phase") == "final"]
        return max(final, default=None)


def bundle_choice(bundle: Path) -> Choice:
    """How a bundle's forecaster was chosen."""
    return Choice.of_json(json.loads((bundle / "manifest.json").read_text()).get("choice"))


def bundle_weights(bundle: Path) -> str:
    """SHA-256 of a bundle's weights."""
    return str(json.loads((bundle / "manifest.json").read_text())["sha256"]["model.safetensors"])


def describe(settings: ForecasterConfig) -> str:
    """A candidate in a few words: cell, layers × width, members."""
    model = settings.model
    text = f"{model.cell} {model.layers}×{model.hidden_size}, {model.decoder}"
    if model.segment and model.segment > 1:
        text += f", segment {model.segment}"
    members = settings.training.members
    return text + (f", {members} members" if members > 1 else "")
