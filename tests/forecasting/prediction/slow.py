"""The slow, obvious twin of the engine: one series after the other, one value after the other."""

from __future__ import annotations

from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from forecasting.classical.pool import classical
from forecasting.data.calendar import calendar_features, phase
from forecasting.data.panel import Panel
from forecasting.prediction.engine import Engine
from forecasting.prediction.window_theta import window_theta
from forecasting.prediction.zeros import stays_zero, takes_zeros, with_zeros, zero_chances
from forecasting.windows.batch import batch_of
from forecasting.windows.conditioning import condition
from forecasting.windows.prediction import standardise, takes_centre, takes_unit


def slow_forecast(
    engine: Engine, panel: Panel, steps: int, levels: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """[N, h, W] quantiles and [N, h] means of series that can all be forecast."""
    # Rows before the first value are no history.
    alone = [panel.select(np.array([i])).begun() for i in range(len(panel))]
    each = [_one(engine, one, steps, levels) for one in alone]
    return np.stack([q for q, _ in each]), np.stack([m for _, m in each])


def _one(
    engine: Engine, panel: Panel, steps: int, levels: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    config, model = engine.config, engine.config.model
    batch, centre, unit = _batch(engine, panel)
    params, level, scale = (part[0] for part in engine.runner(batch_of(batch)))
    level, scale = float(level[0]), float(scale[0])
    trained = model.quantile_levels
    members = [
        model.told_by.quantiles(p[None], np.full((1, 1), scale), trained)[0].astype(np.float64)
        for p in params
    ]
    values = np.median(members, axis=0)
    if model.blend:
        told = _told(engine, panel, batch, centre, unit)
        for h in range(config.horizon):
            away = (told[h] - level) / scale - values[h, len(trained) // 2]
            values[h] += model.blend * away if np.isfinite(told[h]) else 0.0
    if engine.correction is not None:
        values = np.array([_rising(row) for row in values + engine.correction])
    values = values * scale + level
    if model.y_transform.grows:
        low, high = _bounds(batch)
        values = np.clip(values, low, high)
    values = (values * unit + centre)[:steps]
    back = model.y_transform.inverse
    wanted = back(np.array([[_at(row, trained, q) for q in levels] for row in values]))
    mean = np.array([_mean(row, trained, back, model.y_transform.grows) for row in values])
    if model.told_by.count_mean is not None:
        told_means = [model.told_by.count_mean(p, np.array(scale)) for p in params]
        wanted, mean = np.maximum(wanted, 0.0), np.mean(told_means, axis=0)[:steps]
    window = panel.tail(engine.geometry.rows)
    if model.nonnegative and not (window.y < 0.0).any():
        wanted, mean = np.maximum(wanted, 0.0), np.maximum(mean, 0.0)
    if takes_zeros(config) and (window.y == 0.0).any():
        chances = zero_chances(window, config.season, steps)
        mixed = with_zeros(values[None], trained, levels, chances)[0]
        wanted = np.where(np.isneginf(mixed), 0.0, back(mixed))
        mean = mean * (1.0 - chances[0])
    if stays_zero(window)[0]:
        wanted, mean = 0.0 * wanted, 0.0 * mean
    return wanted, mean


def _batch(engine: Engine, panel: Panel) -> tuple[dict[str, Any], float, float]:
    """What a network reads of one series, row by row."""
    config, schema = engine.config, panel.schema
    count = int(engine.geometry.steps_for(panel.lengths)[0])
    rows, horizon = engine.geometry.length(count), config.horizon
    first = int(panel.lengths[0]) - rows
    shown = panel.tail(rows)
    t = config.model.y_transform.forward(shown.y)
    centre, unit = (
        float(part[0])
        for part in condition(
            t,
            ~np.isnan(t),
            shown.series,
            1,
            centred=takes_centre(config),
            scaled=takes_unit(config),
            usual=config.model.usual_spread,
        )
    )
    y, mask = np.zeros((1, rows), np.float32), np.zeros((1, rows), np.float32)
    past = np.full((1, rows, len(schema.past)), np.nan)
    future = np.full((1, rows + horizon, len(schema.future)), np.nan)
    for k in range(rows):
        row = first + k
        if row < 0:
            continue
        past[0, k], future[0, k] = panel.past[row], panel.future[row]
        value = config.model.y_transform.forward(panel.y[row : row + 1])[0]
        if not np.isnan(value):
            y[0, k], mask[0, k] = (value - centre) / unit, 1.0
    if panel.horizon is not None:
        width = min(horizon, panel.horizon.shape[1])
        future[0, rows : rows + width] = panel.horizon[0, :width]
    batch: dict[str, Any] = {"y": y, "mask": mask}
    for name, block in (("past", past), ("future", future), ("static", panel.static)):
        columns = schema.role(name)
        if columns:
            block = np.where(
                [c.type == "categorical" for c in columns], np.nan_to_num(block), block
            )
            batch[name], batch[f"{name}_mask"] = standardise(block, columns)
    stamps = panel.freq.stamps(panel.start, first, rows + horizon)
    if config.model.calendar:
        batch["time"] = calendar_features(stamps, panel.freq, panel.tz)
    if config.model.cycle:
        batch["phase"] = phase(stamps[:, 0], panel.freq, config.model.cycle, panel.tz)
    return batch, centre, unit


def _told(
    engine: Engine, panel: Panel, batch: dict[str, Any], centre: float, unit: float
) -> np.ndarray:
    """[H] the classical forecast of one series, in conditioned units."""
    config, model = engine.config, engine.config.model
    season = config.season
    if not model.pool:
        return window_theta(batch["y"], batch["mask"], season, config.horizon)[0]
    forward = model.y_transform.forward
    y = np.where(np.isnan(forward(panel.y)), np.nan, panel.y)
    names = tuple(model.pool)
    told = classical(y, panel.offsets, season, config.horizon, names, model.pool_rows)[:, 0]
    read = (forward(told) - centre) / unit
    seen = batch["y"][0][batch["mask"][0] > 0]
    if len(seen):
        read = np.where(np.isfinite(told) & np.isnan(read), seen.min(), read)
    if model.y_transform.grows:
        read = np.clip(read, *_bounds(batch))
    return np.asarray(sum(w * part for w, part in zip(model.pool.values(), read, strict=True)))


def _bounds(batch: dict[str, Any]) -> tuple[float, float]:
    seen = batch["y"][0][batch["mask"][0] > 0].astype(np.float64)
    span = np.ptp(seen) if len(seen) >= 8 and np.ptp(seen) > 0 else np.inf
    return seen.min() - span, seen.max() + span


def _rising(row: np.ndarray) -> np.ndarray:
    row, middle = row.copy(), len(row) // 2
    for k in range(middle + 1, len(row)):
        row[k] = max(row[k], row[k - 1])
    for k in range(middle - 1, -1, -1):
        row[k] = min(row[k], row[k + 1])
    return row


def _at(row: np.ndarray, trained: tuple[float, ...], level: float) -> float:
    """A quantile on the line in the normal score between its neighbours."""
    knots = [NormalDist().inv_cdf(q) for q in trained]
    return _on_line(row, knots, NormalDist().inv_cdf(level))


def _on_line(row: np.ndarray, knots: list[float], score: float) -> float:
    k = min(max(sum(knot <= score for knot in knots) - 1, 0), len(knots) - 2)
    share = (score - knots[k]) / (knots[k + 1] - knots[k])
    return float(row[k] + (row[k + 1] - row[k]) * share)


def _mean(row: np.ndarray, trained: tuple[float, ...], back: Any, grows: bool) -> float:
    if not grows:
        edges = [0.0, *((a + b) / 2 for a, b in pairwise(trained)), 1.0]
        return float(sum(v * w for v, w in zip(back(row), np.diff(edges), strict=True)))
    knots = [NormalDist().inv_cdf(q) for q in trained]
    scores, weights = np.polynomial.hermite_e.hermegauss(32)
    near = [(s, w) for s, w in zip(scores, weights, strict=True) if abs(s) <= 3.7]
    total = sum(w * float(back(np.array(_on_line(row, knots, s)))) for s, w in near)
    return total / sum(w for _, w in near)
