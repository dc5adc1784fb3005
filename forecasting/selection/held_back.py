"""Held-back origins, each read once: what was known there, what came, what networks say of it.

Whatever is decided by held-back origins (shares of classical forecasts, idle members, the
correction of the quantiles, the start) is a function of the arrays here: nothing cuts the panel or
asks a network a second time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple, Self

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.pool import classical
from forecasting.config import Classical
from forecasting.data.mapped import by_series
from forecasting.data.panel import Panel, observed
from forecasting.data.scale import mase_scale, typical_step
from forecasting.ensemble import Ensemble
from forecasting.networks import ForecastNetwork
from forecasting.prediction.engine import Rows
from forecasting.prediction.reading import Pool, Reading
from forecasting.resolved import Resolved
from forecasting.windows.geometry import Geometry

# Cutoffs are stamps where more than this share of the series reach the last stamp of a panel.
MOST_REACH = 0.5
# Steps ahead, of all series together, that are looked at from one origin: more say the same.
MOST_STEPS = 1_000_000


@dataclass(frozen=True)
class Origin:
    """The n series of a panel that had begun so many rows before their ends.

    Attributes
    ----------
    known : the series up to there. actual : [n, H] what came, NaN where unknown.
    scale : [n] mean seasonal difference, the unit of MASE; NaN where a history holds no season
        twice. step : [n] the same, or where most histories are so short, the mean plain difference.
    season : steps, of both. pool : the pool's forecasts from there, each asked for once.
    """

    known: Panel
    actual: Array
    scale: Array
    step: Array
    season: int
    pool: Pool

    @classmethod
    def each(cls, panel: Panel, config: Resolved, backs: Sequence[int]) -> tuple[Self, ...]:
        """The origins so many rows before each series' end, of `MOST_STEPS` ahead at most."""
        most = max(MOST_STEPS // config.horizon, 1)
        if len(panel) > most:
            panel = panel.select(np.arange(most) * len(panel) // most)
        origins = []
        for back in backs:
            history = panel.truncate(back, config.horizon)
            scale, step = _units(history, config.season)
            actual = panel.after(back, config.horizon)
            origins.append(cls(history, actual, scale, step, config.season, asked_once(classical)))
        return tuple(origins)

    def by_season(self, season: int) -> Self:
        """The same in the units of another season."""
        if season == self.season:
            return self
        scale, step = _units(self.known, season)
        return replace(self, scale=scale, step=step, season=season)


def _units(known: Panel, season: int) -> tuple[Array, Array]:
    """[n] each: scale and step of `Origin`."""
    scale = step = mase_scale(known.y, known.offsets, season)
    if np.isfinite(scale).mean() < 0.5:
        step = typical_step(known.y, known.offsets, season)
    return scale, step


def asked_once(pool: Pool) -> Pool:
    """A pool that answers what it was asked before, to the bit, from memory."""
    answers: dict[tuple[object, ...], Array] = {}

    def ask(y: Array, offsets: Array, season: int, horizon: int,
            names: Sequence[Classical], rows: int) -> Array:  # fmt: skip
        digest = blake2b(y.tobytes())
        digest.update(offsets.tobytes())
        key = (digest.digest(), len(y), season, horizon, tuple(names), rows)
        if key not in answers:
            answers[key] = pool(y, offsets, season, horizon, names, rows)
        return answers[key]

    return ask


def origins_within(rows: int, horizon: int) -> list[int]:
    """Origins in the last ``rows``, as rows before each end: a horizon apart, the oldest first."""
    return list(range(rows, horizon - 1, -horizon))


@dataclass(frozen=True)
class Evidence:
    """What networks make of held-back origins.

    Attributes
    ----------
    config : the networks' settings. networks : asked once each, together.
    origins : of one panel. readings : per origin its chunks, positions and answer.
    reasons : why the settings are what they are, as far as these origins decided.
    """

    config: Resolved
    networks: list[ForecastNetwork]
    origins: tuple[Origin, ...]
    readings: tuple[tuple[tuple[Rows, Reading], ...], ...]
    reasons: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        networks: list[ForecastNetwork],
        origins: Sequence[Origin],
        config: Resolved,
    ) -> Evidence:
        """Ask networks that were trained on rows up to the earliest of the origins."""
        engine = Ensemble(config=config, schema=origins[0].known.schema, networks=networks)
        with_classical = not config.model.counts
        readings = []
        for origin in origins:
            engine.pool = origin.pool
            readings.append(tuple(engine.readings(origin.known, with_classical=with_classical)))
        in_season = tuple(origin.by_season(config.season) for origin in origins)
        return cls(config, networks, in_season, tuple(readings))

    def only(self, members: Sequence[int], config: Resolved) -> Evidence:
        """That of some of the networks, under their own settings."""
        numbers = list(members)
        return Evidence(
            config,
            [self.networks[m] for m in numbers],
            self.origins,
            tuple(
                tuple((i, replace(r, params=r.params[:, numbers])) for i, r in chunks)
                for chunks in self.readings
            ),
            self.reasons,
        )

    @property
    def pool(self) -> tuple[Classical, ...]:
        """The classical forecasts that were asked, by name."""
        return next((reading.names for chunks in self.readings for _, reading in chunks), ())

    def with_blend(self, share: float) -> Evidence:
        """The same under another share of the classical forecasts."""
        return replace(self, config=self.config.replace(model={"blend": share}))

    def with_pool(self, weights: dict[Classical, float]) -> Evidence:
        """The same under other weights of the classical forecasts that were asked."""
        return replace(self, config=self.config.replace(model={"pool": weights}))

    def because(self, reason: str) -> Evidence:
        """The same, with one more reason."""
        return replace(self, reasons=(*self.reasons, reason))

    def quantiles(
        self, origin: int, blend: float, members: Sequence[int] | None = None
    ) -> tuple[Array, Array]:
        """[n, H, Q] at an origin and their spread [n], in transformed units; see `Reading`."""
        count = len(self.origins[origin].known)
        model = self.config.model
        values = np.empty((count, self.config.horizon, len(model.quantile_levels)))
        spread = np.empty(count)
        for index, reading in self.readings[origin]:
            values[index] = reading.quantiles(self.config, None, blend=blend, members=members)
            spread[index] = reading.spread
        return values, spread

    def medians(self, origin: int, blend: float, members: Sequence[int] | None = None) -> Array:
        """[n, H] at an origin, in the panel's units."""
        values, _ = self.quantiles(origin, blend, members)
        middle = values[..., values.shape[-1] // 2]
        return self.config.model.y_transform.inverse(middle)

    def mase(self, members: Sequence[int] | None = None) -> float:
        """Mean absolute scaled error of the median over all origins; NaN where none is known."""
        blend, errors = self.config.model.blend, []
        for number, origin in enumerate(self.origins):
            point = self.medians(number, blend, members)
            with np.errstate(invalid="ignore", divide="ignore"):
                scaled = np.abs(origin.actual - point) / origin.scale[:, None]
            errors.append(scaled[np.isfinite(scaled)])
        return float(np.concatenate(errors).mean()) if sum(map(len, errors)) else math.nan

    def errors_in_spreads(self, blend: float | None = None) -> list[Array]:
        """Per origin [n, H, Q]: what came less each quantile, in units of the spread.

        NaN for a series without a spread of its own. Where nothing was observed, or nothing
        deviated, the spread is a stand-in: such errors say nothing of other series and must not
        widen their intervals.

        ``blend`` : share of the classical forecasts; None: the settings' own.
        """
        blend = self.config.model.blend if blend is None else blend
        transform = self.config.model.y_transform
        errors = []
        for number, origin in enumerate(self.origins):
            values, spread = self.quantiles(number, blend)
            # In place: one origin's errors may be a good part of memory.
            off = np.subtract(transform.forward(origin.actual)[..., None], values, out=values)
            off /= spread[:, None, None]
            off[~has_spread(origin.known, self.config)] = np.nan
            errors.append(off)
        return errors

    def errors_by_forecast(self, blend: float) -> Array:
        """[2, F] of each series at each origin: absolute error in steps, and sMAPE, 0 to 2.

        Means over the steps ahead; NaN where none is known.
        """
        return self.errors_of([self.medians(k, blend) for k in range(len(self.origins))])

    def errors_of(self, points: Sequence[Array]) -> Array:
        """[2, F] as `errors_by_forecast`, of a point forecast [n, H] per origin."""
        in_steps, relative = [], []
        for origin, point in zip(self.origins, points, strict=True):
            with np.errstate(invalid="ignore", divide="ignore"):
                off = np.abs(origin.actual - point)
                in_steps.append(_row_means(off / origin.step[:, None]))
                relative.append(_row_means(2.0 * off / (np.abs(origin.actual) + np.abs(point))))
        return np.stack([np.concatenate(in_steps), np.concatenate(relative)])


class Parted(NamedTuple):
    """A panel whose last rows are held back: who judges, and what networks may learn from."""

    judging: Panel
    past: Panel


def parted(panel: Panel, rows: int) -> Parted:
    """A panel with the last ``rows`` held back, by the calendar where that can be.

    Where most series reach the panel's last stamp, the cutoff is a stamp, the same for all: what
    one series knows after it tells nothing of another. Series that ended before are learned from
    up to there and judge nothing. Elsewhere, and of whole numbers, which are no common clock, each
    series is held back from its own end.
    """
    last = panel.last
    reaches = last == last.max()
    if panel.freq.integer or reaches.all() or reaches.mean() <= MOST_REACH:
        return Parted(panel, panel.truncate(rows))
    ended = panel.freq.steps_between(last, last.max())
    past = panel.truncate(np.maximum(rows - ended, 0))
    return Parted(panel.select(np.flatnonzero(reaches)), past)


def rows_to_validate(panel: Panel, config: Resolved) -> int:
    """Rows at the end of each history that validation keeps from training; 0 for none."""
    settings = config.training
    if settings.validation == "none":
        return 0
    if not config.calibrate and settings.patience is None and settings.validation == "refit":
        return 0
    first, _ = observed(panel.y, panel.offsets)
    first = np.where(first >= 0, first, panel.lengths)
    for windows in range(settings.validation_windows, 0, -1):
        rows = windows * config.horizon
        # What is left must still hold a window and a horizon to learn from, for most series.
        enough = panel.lengths - first >= rows + config.horizon + config.model.window
        learnable = _values_before(panel, rows) >= 2
        if (enough & learnable).mean() >= 0.5:
            return rows
    return 0


def _values_before(panel: Panel, rows: int) -> Array:
    """[N] values of each series that stand before its last ``rows`` rows."""

    def told(y: Array, offsets: Array) -> Array:
        seen = np.concatenate([[0], np.cumsum(~np.isnan(y))])
        until = np.maximum(offsets[1:] - rows, offsets[:-1])
        return np.asarray(seen[until] - seen[offsets[:-1]])

    return by_series(told, panel.y, panel.offsets)


def rows_to_judge_a_start(panel: Panel, config: Resolved) -> int:
    """Rows at the end of each history to judge on; 0 where a season before them is too much."""
    settings = config.training
    if settings.validation == "none":
        return 0
    least = max(config.season, 4)
    for windows in range(settings.validation_windows, 0, -1):
        rows = windows * config.horizon
        if (panel.lengths >= rows + least).mean() >= 0.5:
            return rows
    return 0


def has_spread(known: Panel, config: Resolved) -> Array:
    """[n] whether a series shows a spread of its own."""
    window = known.tail(Geometry.of(config).rows)
    t = config.model.y_transform.forward(window.y)
    seen, series = ~np.isnan(t), window.series
    low, high = np.full(len(known), np.inf), np.full(len(known), -np.inf)
    np.minimum.at(low, series[seen], t[seen])
    np.maximum.at(high, series[seen], t[seen])
    return np.asarray(high > low if config.model.spread == "mad" else high >= low)


def _row_means(values: Array) -> Array:
    """[n] means of what is finite; NaN where nothing is."""
    fine = np.isfinite(values)
    count = fine.sum(axis=1)
    total = np.where(fine, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
