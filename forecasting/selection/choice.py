"""Whether a small panel is forecast by a pretrained start, by a tuned one, or from nothing.

Each is judged on origins held back from all of them, at every share of the Theta forecast. Where
nothing can be held back the start forecasts as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.data.scale import typical_step
from forecasting.networks import ForecastNetwork
from forecasting.selection.judging import BLENDS, halfway, held_back_forecasts

# What is simpler is kept unless another is better by so many standard errors of the difference.
SURE = 1.0


@dataclass(frozen=True)
class Judged:
    """One way to forecast a panel, scored at held-back origins.

    Attributes
    ----------
    name : ``shipped``, ``tuned`` or ``none``. config : its settings, the blend chosen.
    errors : [F] of each forecast, mean over its steps, relative to a common unit; NaN unknown.
    mase : mean absolute scaled error.
    """

    name: str
    config: ForecasterConfig
    networks: list[ForecastNetwork]
    errors: Array
    mase: float


def held_back(panel: Panel, config: ForecasterConfig) -> int:
    """Rows at the end of each history to judge on; 0 where a season before them is too much."""
    settings = config.training
    if settings.validation == "none":
        return 0
    least = max(config.season or 1, 4)
    for windows in range(settings.validation_windows or 1, 0, -1):
        held = windows * config.horizon
        if (panel.lengths >= held + least).mean() >= 0.5:
            return held
    return 0


def judged(
    name: str,
    networks: list[ForecastNetwork],
    panel: Panel,
    config: ForecasterConfig,
    backs: Sequence[int],
    *,
    open_blend: bool,
) -> Judged:
    """Score networks trained on rows up to the earliest of ``backs``, at the best blend."""
    transform = config.model.transform or "identity"
    held = held_back_forecasts(networks, panel, config, backs)
    units = [
        typical_step(each.known.y, each.known.offsets, config.season or 1)[:, None] for each in held
    ]

    def errors(blend: float) -> tuple[Array, Array]:
        scaled, share = [], []
        for each, unit in zip(held, units, strict=True):
            point = each.point(blend, transform)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.abs(each.actual - point)
                scaled.append(_row_means(error / unit))
                share.append(_row_means(2.0 * error / (np.abs(each.actual) + np.abs(point))))
        return np.concatenate(scaled), np.concatenate(share)

    chosen = config.model.blend or 0.0
    if open_blend:
        found = [errors(b) for b in BLENDS]
        first = [max(float(np.nanmean(e)), 1e-12) for e in found[0]]
        total = [sum(float(np.nanmean(e)) / f for e, f in zip(pair, first, strict=True))
                 for pair in found]  # fmt: skip
        chosen = halfway(config, BLENDS[int(np.argmin(total))])
    scaled, share = errors(chosen)
    return Judged(
        name=name,
        config=config.replace(model={"blend": chosen}, training={"start": name}),
        networks=networks,
        errors=np.stack([scaled, share]),
        mase=float(np.nanmean(scaled)),
    )


def best(candidates: Sequence[Judged]) -> Judged:
    """The first, unless a later one is better by `SURE` standard errors of the difference."""
    kept = candidates[0]
    for other in candidates[1:]:
        unit = np.maximum(np.nanmean(kept.errors, axis=1, keepdims=True), 1e-12)
        gain = ((kept.errors - other.errors) / unit).mean(axis=0)
        gain = gain[np.isfinite(gain)]
        if len(gain) and gain.mean() > SURE * gain.std() / np.sqrt(len(gain)):
            kept = other
    return kept


def _row_means(values: Array) -> Array:
    """[n] means of what is finite; NaN where nothing is."""
    fine = np.isfinite(values)
    count = fine.sum(axis=1)
    total = np.where(fine, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
