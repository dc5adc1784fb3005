"""Judging: what held-back origins say of trained networks, and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.ensemble import Ensemble
from forecasting.networks import ForecastNetwork
from forecasting.prediction.engine import Engine, Runner
from forecasting.selection.calibration import conformal_correction
from forecasting.windows import transforms
from forecasting.windows.geometry import Geometry

# Shares of the Theta forecast that validation chooses from, from so many forecasts on.
BLENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ENOUGH_TO_BLEND = 30


@dataclass(frozen=True)
class HeldBack:
    """What networks forecast from a held-back origin, and what came.

    Attributes
    ----------
    known : the n series up to the origin. actual : [n, H], NaN where unknown.
    alone, theta : [n, H] medians of the networks and of Theta, in transformed units.
    """

    known: Panel
    actual: np.ndarray
    alone: np.ndarray
    theta: np.ndarray

    def point(self, share: float, transform: str) -> np.ndarray:
        """[n, H] medians with a share of Theta, in the panel's units."""
        return transforms.inverse((1.0 - share) * self.alone + share * self.theta, transform)


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
    score, errors = _scored(networks, panel, config, backs)
    members, swing = [score], {}
    if len(networks) > 1:
        members = [_scored([n], panel, config, backs)[0] for n in networks]
    if np.isfinite([*members, score]).all():
        swing = {
            "min": float(np.min(members)),
            "median": float(np.median(members)),
            "max": float(np.max(members)),
            "ensemble": score,
        }
    correction = None
    if config.calibrate:
        correction = conformal_correction(errors, config.model.quantile_levels)
    return swing, correction


def without_idle(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> tuple[list[ForecastNetwork], ForecasterConfig]:
    """The members and their settings, less those with a solved median where these do not help.

    They stay where the ensemble's MASE is below that of the others alone.
    """
    mix = config.training.linear_mix or ()
    trained = [n for k, n in enumerate(networks) if mix[k % len(mix)] == "trained"]
    both, alone = (_scored(group, panel, config, backs)[0] for group in (networks, trained))
    if both < alone:
        return networks, config
    return trained, config.replace(training={"linear_mix": (), "members": len(trained)})


def _scored(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> tuple[float, list[np.ndarray]]:
    """MASE of the median of an ensemble, and per origin its errors [n, H, Q] in units of spread."""
    middle = len(config.model.quantile_levels) // 2
    transform = config.model.transform or "identity"
    engine = Ensemble(config=config, schema=panel.schema, networks=networks)
    found, errors = [], []
    for back in backs:
        known = panel.truncate(back, config.horizon)
        values, spread = engine.scaled_quantiles(known)
        actual = panel.after(back, config.horizon)
        off = transforms.forward(actual, transform)[..., None] - values
        errors.append(np.where(_has_spread(known, config), off / spread[:, None, None], np.nan))
        point = transforms.inverse(values[..., middle], transform)
        scale = mase_scale(known.y, known.offsets, config.season or 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            scaled = np.abs(actual - point) / scale[:, None]
        found.append(scaled[np.isfinite(scaled)])
    return float(np.concatenate(found).mean()) if sum(map(len, found)) else math.nan, errors


def blended(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: list[int]
) -> ForecasterConfig:
    """The settings with a share of the Theta forecast halfway to what held-back origins ask for.

    Halfway from the rule's: they judge networks that have read less than the final ones will.
    Scored by MASE and, where every value is positive, by sMAPE too, each relative to no blend.
    """
    transform = config.model.transform or "identity"
    scaled = np.zeros((len(backs), len(BLENDS)))
    relative = np.zeros((len(backs), len(BLENDS)))
    positive = bool(np.nanmin(panel.y) > 0.0)
    for index, held in enumerate(held_back_forecasts(networks, panel, config, backs)):
        scale = mase_scale(held.known.y, held.known.offsets, config.season or 1)
        for j, share in enumerate(BLENDS):
            point = held.point(share, transform)
            with np.errstate(invalid="ignore", divide="ignore"):
                off = np.abs(held.actual - point)
                error = off / scale[:, None]
                ratio = off / (np.abs(held.actual) + np.abs(point))
            scaled[index, j] = error[np.isfinite(error)].mean() if np.isfinite(error).any() else 0.0
            relative[index, j] = np.nanmean(ratio) if positive else 0.0
    total = scaled.mean(0) / max(scaled.mean(0)[0], 1e-12)
    if positive:
        total = total + relative.mean(0) / max(relative.mean(0)[0], 1e-12)
    return config.replace(model={"blend": halfway(config, BLENDS[int(total.argmin())])})


def halfway(config: ForecasterConfig, asked: float) -> float:
    """The share of Theta between the rule's and what held-back origins ask for: they are few."""
    return round((asked + (config.model.blend or 0.0)) / 2.0, 3)


def held_back_forecasts(
    networks: list[ForecastNetwork], panel: Panel, config: ForecasterConfig, backs: Sequence[int]
) -> list[HeldBack]:
    """Forecasts from each origin, so many rows before the series' ends, without and by Theta."""
    middle = len(config.model.quantile_levels) // 2
    asked = Ensemble(config=config, schema=panel.schema, networks=networks).runner
    found = []
    for back in backs:
        known = panel.truncate(back, config.horizon)
        medians = []
        for share, runner in zip((0.0, 1.0), _and_again(asked), strict=True):
            engine = Engine(config.replace(model={"blend": share}), panel.schema, None, runner)
            medians.append(engine.scaled_quantiles(known)[0][..., middle])
        found.append(HeldBack(known, panel.after(back, config.horizon), *medians))
    return found


def _and_again(runner: Runner) -> tuple[Runner, Runner]:
    """A runner, and one that gives its answers once more, in their order, without asking."""
    answers: list[tuple[Array, Array, Array]] = []

    def ask(batch: Mapping[str, Array]) -> tuple[Array, Array, Array]:
        answers.append(runner(batch))
        return answers[-1]

    return ask, lambda _: answers.pop(0)


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
