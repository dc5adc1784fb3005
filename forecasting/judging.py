"""Judging: what held-back origins say of trained networks, and what follows from it."""

from __future__ import annotations

import math

import numpy as np

from forecasting import transforms
from forecasting.calibration import conformal_correction
from forecasting.config import ForecasterConfig
from forecasting.forecaster import Forecaster
from forecasting.geometry import Geometry
from forecasting.metrics import mase_scale
from forecasting.networks import ForecastNetwork
from forecasting.panel import Panel
from forecasting.starting.choice import BLENDS

# Shares of the Theta forecast are chosen from so many forecasts on.
ENOUGH_TO_BLEND = 30


def validation_rows(panel: Panel, config: ForecasterConfig) -> int:
    """Rows at the end of each history that validation keeps from training; 0 for none."""
    settings = config.training
    if settings.validation == "none":
        return 0
    if not config.calibrate and settings.patience is None and settings.validation == "refit":
        return 0
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    known = ~np.isnan(panel.y)
    first = panel.lengths.copy()
    np.minimum.at(first, panel.series[known], position[known])
    for windows in range(settings.validation_windows or 1, 0, -1):
        held = windows * config.horizon
        # What is left must still hold a window and a horizon to learn from, for most series.
        enough = panel.lengths - first >= held + config.horizon + (config.model.window or 1)
        left = known & (position < (panel.lengths - held)[panel.series])
        learnable = np.bincount(panel.series[left], minlength=len(panel)) >= 2
        if (enough & learnable).mean() >= 0.5:
            return held
    return 0


def judge(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> tuple[dict[str, float], np.ndarray | None]:
    """Swing of the members' scores (MASE of the median) and the conformal correction."""
    levels = config.model.quantile_levels
    scores = np.zeros(len(networks) + 1)
    errors = []
    for index, group in enumerate([*([n] for n in networks), networks]):
        engine = Forecaster(config=config, schema=panel.schema, networks=group)
        found = []
        for back in backs:
            known = panel.truncate(back, config.horizon)
            values, spread = engine.scaled_quantiles(known)
            actual = actuals(panel, back, config.horizon)
            t = transforms.forward(actual, config.model.transform or "identity")
            if index == len(networks):
                scaled_errors = (t[..., None] - values) / spread[:, None, None]
                errors.append(np.where(_has_spread(known, config), scaled_errors, np.nan))
            point = transforms.inverse(
                values[..., len(levels) // 2], config.model.transform or "identity"
            )
            scale = mase_scale(known.y, known.offsets, config.season or 1)
            with np.errstate(invalid="ignore", divide="ignore"):
                scaled = np.abs(actual - point) / scale[:, None]
            found.append(scaled[np.isfinite(scaled)])
        scores[index] = float(np.concatenate(found).mean()) if sum(map(len, found)) else math.nan
    members, swing = scores[:-1], {}
    if np.isfinite(scores).all():
        swing = {
            "min": float(np.min(members)),
            "median": float(np.median(members)),
            "max": float(np.max(members)),
            "ensemble": float(scores[-1]),
        }
    correction = None
    if config.calibrate:
        correction = conformal_correction(errors, levels)
    return swing, correction


def blended(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> ForecasterConfig:
    """The settings with a share of the Theta forecast halfway to what held-back origins ask for.

    Halfway from the rule's: they judge networks that have read less than the final ones will.
    Scored by MASE and, where every value is positive, by sMAPE too, each relative to no blend.
    """
    transform = config.model.transform or "identity"
    middle = len(config.model.quantile_levels) // 2
    weights = np.array(BLENDS)
    scaled = np.zeros((len(backs), len(weights)))
    relative = np.zeros((len(backs), len(weights)))
    positive = bool(np.nanmin(panel.y) > 0.0)
    for index, back in enumerate(backs):
        known = panel.truncate(back, config.horizon)
        actual = actuals(panel, back, config.horizon)
        scale = mase_scale(known.y, known.offsets, config.season or 1)
        ends = []
        for blend in (0.0, 1.0):
            settings = config.replace(model={"blend": blend})
            engine = Forecaster(config=settings, schema=panel.schema, networks=networks)
            ends.append(engine.scaled_quantiles(known)[0][..., middle])
        for j, weight in enumerate(weights):
            point = transforms.inverse((1.0 - weight) * ends[0] + weight * ends[1], transform)
            with np.errstate(invalid="ignore", divide="ignore"):
                error = np.abs(actual - point) / scale[:, None]
                share = np.abs(actual - point) / (np.abs(actual) + np.abs(point))
            scaled[index, j] = error[np.isfinite(error)].mean() if np.isfinite(error).any() else 0.0
            relative[index, j] = np.nanmean(share) if positive else 0.0
    total = scaled.mean(0) / max(scaled.mean(0)[0], 1e-12)
    if positive:
        total = total + relative.mean(0) / max(relative.mean(0)[0], 1e-12)
    asked = float(weights[total.argmin()])
    return config.replace(model={"blend": round((asked + (config.model.blend or 0.0)) / 2.0, 3)})


def _has_spread(known: Panel, config: ForecasterConfig) -> np.ndarray:
    """[n, 1, 1] whether an origin has a spread of its own to measure errors in.

    Where nothing was observed, or nothing deviated, the spread is a stand-in: such errors say
    nothing of other series and must not widen their intervals.
    """
    window = known.tail(Geometry.of(config).rows)
    t = transforms.forward(window.y, config.model.transform or "identity")
    seen, series = ~np.isnan(t), window.series
    low, high = np.full(len(known), np.inf), np.full(len(known), -np.inf)
    np.minimum.at(low, series[seen], t[seen])
    np.maximum.at(high, series[seen], t[seen])
    needed = high > low if config.model.spread == "mad" else high >= low
    return np.asarray(needed)[:, None, None]


def actuals(panel: Panel, back: int, horizon: int) -> np.ndarray:
    """[n, H] values after the cutoff ``back`` rows before each end, for `truncate`'s series."""
    kept = np.flatnonzero(panel.lengths - back > 0)
    cut = panel.lengths[kept] - back
    steps = cut[:, None] + np.arange(horizon)
    inside = steps < panel.lengths[kept, None]
    source = np.minimum(panel.offsets[:-1][kept, None] + steps, panel.rows - 1)
    return np.where(inside, panel.y[source], np.nan)
