"""A whole saved forecaster in NumPy, from scaled history to quantiles, with no torch and no ONNX.

Covers the network that training chooses by itself: ``decoder = direct``, ``head = quantiles``, no
covariates. It shares no arithmetic with `forecasting.networks`, so that each checks the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from forecasting import bundle
from forecasting.arrays import Array
from forecasting.errors import BundleError
from forecasting.explain.reference import Layer, Trace, layers_of, member_tensors, read
from forecasting.prediction.answers import Answers
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch
from forecasting.windows.geometry import Geometry


class Reading(NamedTuple):
    """What a network made of a batch.

    Attributes
    ----------
    traces : per layer, bottom first, gates and states ``[B, S, H]``.
    hidden : [B, S, H] what the stack hands to the decoder, after norms and residuals.
    params : [B, H, Q] scaled quantiles at the last step. level, scale : [B].
    """

    traces: list[Trace]
    hidden: Array
    params: Array
    level: Array
    scale: Array


@dataclass(frozen=True)
class ReferenceNetwork:
    """One member: its tensors by name, as the bundle stores them, and its layers."""

    config: Resolved
    tensors: Mapping[str, Array]
    layers: list[Layer]

    @classmethod
    def load(cls, bundle_path: str | Path, member: int = 0) -> ReferenceNetwork:
        """One member of a saved bundle; `BundleError` for a network outside this file's scope."""
        parts = bundle.read(bundle_path)
        model = parts.config.model
        if model.decoder != "direct" or model.head != "quantiles" or parts.schema.covariates:
            raise BundleError(
                f"{bundle_path}: the NumPy network knows decoder = direct, head = quantiles and "
                "no covariates; its layers alone are read with "
                "forecasting.explain.reference.load_layers"
            )
        tensors, cell = member_tensors(bundle_path, member)
        wide = {k: np.asarray(v, dtype=np.float64) for k, v in tensors.items()}
        return cls(parts.config, wide, layers_of(tensors, cell))

    def __call__(self, batch: Batch[Array]) -> Reading:
        """Read a batch of `windows.prediction.assemble`: ``y``, ``mask`` [B, R] and so on."""
        features, shown, level, scale = self.features(batch)
        x = self._linear("embedding", features) if "embedding.weight" in self.tensors else features
        traces, hidden = self.stack(x)
        context = self._linear("decoder.context", hidden[:, -1])
        raw = self._linear("decoder.out", gelu(context))
        raw = raw.reshape(len(raw), self.config.horizon, -1)
        median = raw[..., raw.shape[-1] // 2]
        if "skip.weight" in self.tensors:
            median = median + self._linear("skip", shown[:, -1])
        if "cycle" in self.tensors:
            rows = batch["y"].shape[1]
            median = median + self._cycle(batch, rows + np.arange(self.config.horizon))
        params = spread_out(raw, median)
        return Reading(traces, hidden, params, level[:, -1], scale[:, -1])

    def features(self, batch: Batch[Array]) -> tuple[Array, Array, Array, Array]:
        """Inputs [B, S, F], values for the skip [B, S, K], level and scale [B, S], step by step."""
        y, mask = (np.asarray(v, dtype=np.float64) for v in (batch["y"], batch["mask"]))
        geometry = Geometry.of(self.config)
        steps = []
        for end in range(geometry.reach - 1, y.shape[1], geometry.segment):
            level, scale = self.level_and_scale(y[:, : end + 1], mask[:, : end + 1])
            shown_at = [end + np.arange(1 - geometry.window, 1)]
            for lag, width in zip(geometry.lags, geometry.lag_widths(), strict=True):
                shown_at.append(end - lag + 1 + np.arange(width))
            index = np.concatenate(shown_at)
            values = (y[:, index] - level[:, None]) / scale[:, None]
            if "cycle" in self.tensors:
                values = values - self._cycle(batch, index)
            shown = values * mask[:, index]
            parts = [shown, mask[:, index[: geometry.window]]]
            if "time" in batch:
                parts.append(batch["time"][:, end].astype(np.float64))
            steps.append((np.concatenate(parts, axis=1), shown, level, scale))
        x, shown, level, scale = (np.stack(part, axis=1) for part in zip(*steps, strict=True))
        return x, shown, level, scale

    def level_and_scale(self, y: Array, mask: Array) -> tuple[Array, Array]:
        """[B] each, from the last W values of histories [B, R] that end at the origin."""
        geometry, model = Geometry.of(self.config), self.config.model
        y, mask = y[:, -geometry.scale_window :], mask[:, -geometry.scale_window :]
        count = np.maximum(mask.sum(1), 1.0)
        if model.level == "last":
            latest = (mask * np.arange(1, y.shape[1] + 1)).argmax(1)
            level = y[np.arange(len(y)), latest] * (mask.sum(1) > 0)
        else:
            near, near_mask = y[:, -geometry.level_window :], mask[:, -geometry.level_window :]
            seen = near_mask.sum(1)
            level = np.where(
                seen > 0,
                (near * near_mask).sum(1) / np.maximum(seen, 1.0),
                (y * mask).sum(1) / count,
            )
        if model.spread == "none":
            return level, np.ones(len(y))
        deviation = (np.abs(y - level[:, None]) * mask).sum(1) / count
        floor = 1e-6 * (np.abs(y) * mask).max(1) + 1e-12
        return level, np.where(deviation > floor, deviation, 1.0)

    def stack(self, x: Array) -> tuple[list[Trace], Array]:
        """The layers one on the other: each normed and added to its input where so configured."""
        traces = []
        for depth, layer in enumerate(self.layers):
            trace = read(x, layer)
            hidden = trace.h
            if f"encoder.norms.{depth}.weight" in self.tensors:
                hidden = self._norm(f"encoder.norms.{depth}", hidden)
            if self.config.model.residual and hidden.shape[-1] == x.shape[-1]:
                hidden = hidden + x
            traces.append(trace)
            x = hidden
        return traces, x

    def _linear(self, name: str, x: Array) -> Array:
        return np.asarray(x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"])

    def _norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        return np.asarray(unit * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"])

    def _cycle(self, batch: Batch[Array], rows: Array) -> Array:
        cycle = self.tensors["cycle"]
        return np.asarray(cycle[(batch["phase"][:, None] + rows) % len(cycle)])


def gelu(x: Array) -> Array:
    """x Φ(x), with Φ the normal distribution function."""
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(x * 0.5 * (1.0 + erf(x / math.sqrt(2.0))))


def spread_out(raw: Array, median: Array) -> Array:
    """Quantiles [..., Q] that cannot cross: from the median outwards by positive gaps."""
    middle = raw.shape[-1] // 2
    gaps = np.logaddexp(0.0, raw - 2.0)
    above = median[..., None] + np.cumsum(gaps[..., middle + 1 :], axis=-1)
    below = median[..., None] - np.cumsum(gaps[..., :middle][..., ::-1], axis=-1)[..., ::-1]
    return np.concatenate([below, median[..., None], above], axis=-1)


def load(bundle_path: str | Path) -> Answers:
    """A saved forecaster that predicts with the NumPy networks: slow, and equal to the others."""
    manifest = bundle.verify(bundle_path)
    parts = bundle.read(bundle_path)
    members = [
        ReferenceNetwork.load(bundle_path, m) for m in range(int(manifest["members"]["count"]))
    ]

    def run(batch: Batch[Array]) -> tuple[Array, Array, Array]:
        readings = [member(batch) for member in members]
        return (
            np.stack([r.params for r in readings], axis=1),
            np.stack([r.level for r in readings], axis=1),
            np.stack([r.scale for r in readings], axis=1),
        )

    return Answers(parts.config, parts.schema, parts.correction, run)
