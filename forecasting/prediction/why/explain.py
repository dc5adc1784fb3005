"""Why this forecast: what each step's median is made of, in the series' units, adding up to it.

In the units of the model's transform a median is a sum: the level, what the network says of a
history that stands at its level (``base``), what each part of the history and each covariate add
to that, the pull of the classical forecasts (``blend``) and of the calibration. Where the transform
bends, every part is given the same share of the way from the level to the median that it has there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock, rows_for
from forecasting.errors import DataError, SeriesProblem
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.prediction.reading import Reading
from forecasting.prediction.why.member import Member, check_explainable
from forecasting.resolved import Resolved
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import assemble

# Points of the path, where nobody asks for more; and at most.
POINTS, MOST_POINTS = 16, 256
# Stretches that a history is told in, at most.
STRETCHES = 8
# Series whose networks are asked at once.
AT_ONCE = 256
MEDIAN = 0.5
AROUND = ("level", "base", "season")
BEYOND = ("blend", "calibration", "limits")


@dataclass(frozen=True)
class Explained:
    """What the medians of N series over h steps are made of.

    Attributes
    ----------
    panel : the series explained. stamps : [N, h]. median : [N, h].
    names : of the C parts. parts : [N, h, C], in the series' units; their sum is the median.
    problems : series that cannot be forecast; they are not in ``panel``. kept : [N] places of those
        that are, in the panel that was asked about.
    """

    panel: Panel
    stamps: Array
    median: Array
    names: tuple[str, ...]
    parts: Array
    problems: list[SeriesProblem]
    kept: Array


def explain(
    engine: Engine,
    members: Sequence[Member],
    panel: Panel,
    *,
    horizon: int | None = None,
    points: int = POINTS,
) -> Explained:
    """Explain the median of every series of a panel.

    Parameters
    ----------
    members : the engine's networks. points : of the path that gradients are taken along.

    Raises
    ------
    DataError : as `Engine.predict_panel`; a model that is not spelled out here; a number of points
        that is none; a clock that skips a step of the horizon.
    """
    config = engine.config
    check_explainable(config, tuple(member.cell for member in members))
    points = whole_steps(points)
    if not 1 <= points <= MOST_POINTS:
        raise DataError(f"points = {points} must lie within 1 to {MOST_POINTS}")
    steps = config.horizon if horizon is None else whole_steps(horizon)
    numbered = replace(panel, ids=np.arange(len(panel)))
    forecast = engine.predict_panel(numbered, horizon=steps, quantiles=(MEDIAN,))
    places = np.asarray(forecast.ids, np.int64)
    kept_panel = panel.select(places)
    read = engine.as_read(kept_panel, steps).begun()
    wall = None
    if read.tz is not None and read.freq.sub_daily:
        read = read.tail(rows_for(engine.context, read.freq))
        wall = on_wall_clock(read, steps)
    step = np.broadcast_to(np.arange(steps), (len(read), steps))
    if wall is not None:
        read, step = wall.panel, wall.step
        if (step >= config.horizon).any():
            raise DataError(
                "the clock skips an hour before the last step asked for, which is then one beyond "
                "the trained horizon: ask for a step less"
            )
    names, parts, whole = _parts(engine, members, read, points)
    index = np.arange(len(read))[:, None]
    parts, whole = parts[index, step], whole[index, step]
    median = forecast.quantiles[:, :, 0]
    # What is never below zero, or zero at times, is so after the transform.
    parts[..., -1] += median - whole
    problems = [replace(p, id=str(panel.ids[int(p.id)])) for p in forecast.problems]
    return Explained(kept_panel, forecast.stamps(), median, names, parts, problems, places)


def _parts(
    engine: Engine, members: Sequence[Member], panel: Panel, points: int
) -> tuple[tuple[str, ...], Array, Array]:
    """Names [C], parts [N, H, C] and medians [N, H] before zeros and bounds at zero."""
    config, geometry = engine.config, engine.geometry
    count = geometry.steps_for(panel.lengths)
    longest = geometry.length(int(count.max(initial=1)))
    edges = stretches(longest, config.season)
    schema = engine.reads
    covariates = [f"{c.role} {c.name}" for c in (*schema.past, *schema.future, *schema.static)]
    history = [f"history {a + 1}-{b}" if b > a + 1 else f"history {b}" for a, b in edges]
    names = (*AROUND, *history, *covariates, *BEYOND)
    parts = np.zeros((len(panel), config.horizon, len(names)))
    whole = np.zeros((len(panel), config.horizon))
    for each in np.unique(count):
        chosen = np.flatnonzero(count == each)
        for begin in range(0, len(chosen), AT_ONCE):
            some = chosen[begin : begin + AT_ONCE]
            chunk = _of_chunk(engine, members, panel.select(some), int(each), points, edges)
            parts[some], whole[some] = chunk
    return names, parts, whole


def _of_chunk(
    engine: Engine,
    members: Sequence[Member],
    panel: Panel,
    steps: int,
    points: int,
    edges: list[tuple[int, int]],
) -> tuple[Array, Array]:
    """[n, H, C] parts and [n, H] medians of series that fill as many recurrent steps."""
    config, model = engine.config, engine.config.model
    batch, centre, unit = assemble(panel, config, steps, engine.geometry)
    blend = model.blend
    reading = Reading.of(
        batch,
        (centre, unit),
        engine.runner(batch),
        config,
        beside=panel if blend else None,
        pool=engine.pool,
    )
    place = model.quantile_levels.index(MEDIAN) if model.head == "quantiles" else 0
    medians = reading.params[..., place].astype(np.float64)
    weight = median_weights(medians)
    level, spread = scales(batch["y"], batch["mask"], config)
    grouped = np.zeros((len(panel), config.horizon, len(edges) + len(engine.reads.covariates) + 1))
    of_row = _groups(batch["y"].shape[1], config, edges)
    for m, member in enumerate(members):
        for i, shares in enumerate(member.shares(batch, level, spread, points)):
            by_group = np.zeros(grouped.shape[1:])
            np.add.at(by_group, (np.arange(config.horizon)[:, None], of_row), shares.rows)
            by_group[:, 0] += shares.season
            by_group[:, len(edges) + 1 :] = shares.covariates
            grouped[i] += weight[i, m, :, None] * by_group
    middle = (weight * medians).sum(axis=1)
    base = middle - grouped.sum(axis=2)
    width = reading.spread[:, None]
    begin = np.broadcast_to((reading.centre + reading.level * reading.unit)[:, None], base.shape)
    centre_level = len(model.quantile_levels) // 2
    plain = reading.quantiles(config, None, blend=0.0)[..., centre_level]
    blended = reading.quantiles(config, None, blend=blend)[..., centre_level] if blend else plain
    final = reading.quantiles(config, engine.correction, blend=blend)[..., centre_level]
    around = np.stack([begin, base * width], axis=2)
    beyond = np.stack([blended - plain, final - blended, plain - begin - middle * width], axis=2)
    parts = np.concatenate([around, grouped * width[..., None], beyond], axis=2)
    return _untransformed(parts, final, config)


def _untransformed(parts: Array, final: Array, config: Resolved) -> tuple[Array, Array]:
    """Parts [n, H, C] in the series' units, of which the first is the level; and their sums."""
    transform = config.model.y_transform
    begin = parts[..., 0]
    there, here = transform.inverse(final.copy()), transform.inverse(begin.copy())
    way = final - begin
    near = np.abs(way) < 1e-9 * (1.0 + np.abs(begin))
    slope = np.where(near, 0.0, (there - here) / np.where(near, 1.0, way))
    out = parts * slope[..., None]
    out[..., 0] = np.where(near, there, here)
    return out, there


def median_weights(medians: Array) -> Array:
    """[n, M, H] what each member counts for in the median of [n, M, H]: 1, or a half for two."""
    count = medians.shape[1]
    rank = np.argsort(np.argsort(medians, axis=1, kind="stable"), axis=1)
    middle = {(count - 1) // 2, count // 2}
    return np.asarray(np.isin(rank, list(middle)) / len(middle))


def stretches(rows: int, season: int) -> list[tuple[int, int]]:
    """Stretches of a history of so many rows, as rows back from its end: (0, 12) is the last 12.

    A season each where there is one, else each twice as long as the one after it; at most
    `STRETCHES`, the oldest taking all that is left.
    """
    edges = [0]
    while edges[-1] < rows and len(edges) < STRETCHES:
        length = season if season > 1 else max(edges[-1] + 1, 1)
        edges.append(min(edges[-1] + length, rows))
    if edges[-1] < rows:
        edges.append(rows)
    return list(pairwise(edges))


def _groups(rows: int, config: Resolved, edges: list[tuple[int, int]]) -> Array:
    """[H, R] the group of each row for each step: 0 for the season's place, else its stretch."""
    back = np.arange(rows - 1, -1, -1)
    stretch = np.searchsorted([b for _, b in edges], back, side="right") + 1
    if config.season <= 1:
        return np.broadcast_to(stretch, (config.horizon, rows))
    apart = np.arange(config.horizon)[:, None] + 1 + back
    return np.where(apart % config.season == 0, 0, stretch)


def scales(y: Array, mask: Array, config: Resolved) -> tuple[Array, Array]:
    """[n, S] level and spread at every recurrent step, as `forecasting.networks.scaling` has them.

    Parameters
    ----------
    y, mask : [n, R] of an assembled batch.
    """
    geometry, model = Geometry.of(config), config.model
    ends = slice(geometry.reach - geometry.scale_window, None, geometry.segment)
    values, known = (
        sliding_window_view(part.astype(np.float64), geometry.scale_window, axis=1)[:, ends]
        for part in (y, mask)
    )
    count = np.maximum(known.sum(axis=-1), 1.0)
    if model.level == "last":
        latest = (known * np.arange(1, geometry.scale_window + 1)).argmax(axis=-1)
        level = np.take_along_axis(values, latest[..., None], axis=-1)[..., 0]
        level = level * (known.sum(axis=-1) > 0)
    else:
        near = known[..., -geometry.level_window :]
        some = near.sum(axis=-1)
        near_total = (values[..., -geometry.level_window :] * near).sum(axis=-1)
        total = (values * known).sum(axis=-1)
        level = np.where(some > 0, near_total / np.maximum(some, 1.0), total / count)
    if model.spread == "none":
        return level, np.ones_like(level)
    deviation = (np.abs(values - level[..., None]) * known).sum(axis=-1) / count
    floor = 1e-6 * (np.abs(values) * known).max(axis=-1) + 1e-12
    return level, np.where(deviation > floor, deviation, 1.0)
