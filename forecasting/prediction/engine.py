"""Prediction without torch: what the library, the backtest and the service all run.

`Engine` is the arithmetic around a network; `Predictor` gives it ONNX Runtime, `Forecaster` gives
it torch. Both are stateless per call and safe under any number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, TypeVar

import numpy as np

from forecasting.arrays import Array
from forecasting.classical.pool import classical
from forecasting.config import Schema
from forecasting.copula.dependence import Dependence
from forecasting.copula.learning import USUAL
from forecasting.data.calendar import Frequency
from forecasting.data.forecast import Forecast
from forecasting.data.growing import continued
from forecasting.data.panel import Panel
from forecasting.data.tables.warned import say_names
from forecasting.data.wall import OnTheWall, on_wall_clock, rows_for
from forecasting.errors import DataError, SeriesProblem, warn
from forecasting.hardware.products import products_on_one_thread
from forecasting.interop.kinds import Tabular
from forecasting.known.ahead import filled_ahead, said_of_filled
from forecasting.known.occasions import beyond, with_occasions, without_occasions
from forecasting.prediction.checks import unfamiliar, unknown_categories, usable, whole_steps
from forecasting.prediction.historical import Historical, Origins, forecasts_of_the_past
from forecasting.prediction.odd import odd_histories, said_of
from forecasting.prediction.original import in_original_units
from forecasting.prediction.reading import Pool, Reading
from forecasting.quantiles import ASKED, check_levels
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import assemble

# A runner maps a batch of arrays to params [B, M, H, D], level [B, M], scale [B, M].
Runner = Callable[[Batch[Array]], tuple[Array, Array, Array]]

# Positions of some series: [n], or neighbours. And what is made of them.
Rows = Array | slice
Result = TypeVar("Result")

# Raised when means or quantiles are made of a network's numbers in another way: a bundle says
# which way its golden answer was made. 2: means of logs have their upper tail, those of counts
# are the distribution's own.
ARITHMETIC = 2
# Said of a series whose values are beyond float's range.
BEYOND_FLOAT = "its forecast is no finite number; look for extreme values in y or in its covariates"
MEDIAN = 0.5
# Series per run of torch: enough to fill the cores, or a GPU.
CHUNK = 1024
# Series up to which no product is large enough to be shared out over threads.
FEW = 8


class Engine:
    """Checks a panel, assembles windows, runs the network, undoes the scaling.

    Parameters
    ----------
    config : resolved configuration. schema : the covariates that the network reads; those that a
        caller gives, without the ones that are made of its calendar, are `schema` then.
    correction : [H, Q] conformal correction in units of scale, or None.
    runner : the network. single_threaded : the network on one core each time, for many series: then
        so many chunks are forecast at once as there are ``threads``.
    dependence : how errors go together over steps and series, which sample paths are drawn by.
    """

    # Whether what was read of a history stays read, as a state's does.
    reads_all = False
    # Series per run of the network, and of all that is made of it.
    chunk = CHUNK

    def __init__(
        self,
        config: Resolved,
        schema: Schema,
        correction: Array | None,
        runner: Runner,
        single_threaded: Runner | None = None,
        threads: int = 1,
        dependence: Dependence = USUAL,
    ) -> None:
        self.dependence = dependence
        self.single_threaded, self.threads = single_threaded, threads
        self.config, self.reads, self.correction = config, schema, correction
        self.schema = without_occasions(schema, config.occasions)
        self.geometry = Geometry.of(config)
        self.freq = Frequency.parse(config.freq)
        self.runner = runner
        self.pool: Pool = classical

    @property
    def context(self) -> int:
        """Rows of history a forecast looks at, at most."""
        model = self.config.model
        pooled = model.pool_rows if model.pool and model.blend else 0
        return max(self.geometry.rows, pooled)

    def panel_of(
        self, df: Any, *, static: Tabular | None = None, future: Tabular | None = None
    ) -> Panel:
        """A long table ``unique_id, ds, y`` under the model's schema and frequency.

        Parameters
        ----------
        df, static, future : as `Answers.predict` takes them.

        Raises
        ------
        DataError : naming the column, series or row that does not fit the model.
        """
        panel = Panel.from_frame(
            df, freq=self.freq, static=static, schema=self.schema, future_frame=future
        )
        say_names(panel.ids)
        self.say_odd(panel)
        return panel

    def say_odd(self, panel: Panel, names: Sequence[str] | None = None) -> None:
        """Warn of histories that are not what they seem; see `prediction.odd`.

        ``names`` : of the series; None: the panel's.
        """
        odd = odd_histories(panel.tail(self.context), self.config)
        for sentence in said_of(odd, panel.ids if names is None else names):
            warn(sentence)

    def predict_panel(
        self,
        panel: Panel,
        *,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
    ) -> Forecast:
        """Forecast every series from its end.

        Raises
        ------
        DataError : a horizon beyond the trained one without ``extend``, a level outside (0, 1), a
            frequency or covariates other than the model's. What concerns single series is in
            ``Forecast.problems`` instead.
        """
        steps = self.config.horizon if horizon is None else whole_steps(horizon)
        self.check(panel, steps, quantiles, extend)
        return self.checked(panel, steps, tuple(quantiles))

    def checked(self, panel: Panel, steps: int, levels: tuple[float, ...]) -> Forecast:
        """As `predict_panel`, of what `check` has passed."""
        notes = [*unknown_categories(panel, self.schema), *self._notes_ahead(panel, steps)]
        for note in notes:
            warn(note)
        # Standardised and coded as in training, whatever the panel was made with.
        panel = self.as_read(panel, steps).begun()
        if panel.tz is not None and panel.freq.sub_daily:
            # What lies further back may lie beyond a change of the clock.
            panel = panel.tail(rows_for(self.context, panel.freq))
        wall = on_wall_clock(panel, steps, whole=self.reads_all)
        if wall is None:
            return self._forecast(panel, steps, levels)[0]
        return self._by_the_wall_clock(panel, wall, steps, levels)

    def as_read(self, panel: Panel, steps: int = 0) -> Panel:
        """A panel under the schema that the network reads: with the days of the calendar, and what
        stands for missing covariates known ahead, for ``steps`` or a whole horizon.
        """
        ahead = max(steps, self.config.horizon)
        panel = with_occasions(panel, self.config.occasions, ahead).under(self.reads)
        return filled_ahead(panel, self.config.ahead, steps, self.config.season)

    def _notes_ahead(self, panel: Panel, steps: int) -> list[str]:
        """What is to be said of covariates known ahead."""
        notes = said_of_filled(panel.under(self.schema), self.config.ahead, steps)
        late = beyond(panel, self.config.occasions, steps)
        return [*notes, late] if late is not None else notes

    def _by_the_wall_clock(
        self, panel: Panel, wall: OnTheWall, steps: int, levels: tuple[float, ...]
    ) -> Forecast:
        """Forecast by the clock of the panel's zone, and read it off for ``steps`` instants."""
        all_levels = levels if MEDIAN in levels else (*levels, MEDIAN)
        needed = int(wall.step.max()) + 1
        # A clock that skips an hour takes one step more to the same instant.
        trained = needed if steps > self.config.horizon else min(needed, self.config.horizon)
        forecast, places = self._forecast(wall.panel, trained, all_levels)
        step = wall.step[places]
        mean, quantiles = forecast.mean, forecast.quantiles
        late = np.flatnonzero(step.max(axis=1, initial=0) >= trained)
        if len(late):
            extra = needed - trained
            median = quantiles[late, :extra, all_levels.index(MEDIAN)]
            further = continued(wall.panel.select(places[late]), median)
            more, there = self.anew()._forecast(further, trained, all_levels)
            mean = np.pad(mean, [(0, 0), (0, extra)], mode="edge")
            quantiles = np.pad(quantiles, [(0, 0), (0, extra), (0, 0)], mode="edge")
            mean[late[there], trained:] = more.mean[:, -extra:]
            quantiles[late[there], trained:] = more.quantiles[:, -extra:]
        rows = np.arange(len(places))[:, None]
        return replace(
            forecast,
            start=panel.freq.shift(panel.start, panel.lengths)[places],
            tz=panel.tz,
            mean=mean[rows, step],
            quantiles=quantiles[rows, step][..., : len(levels)],
            levels=levels,
        )

    def anew(self) -> Engine:
        """The engine that reads a history anew."""
        return self

    def _forecast(
        self, panel: Panel, steps: int, levels: tuple[float, ...]
    ) -> tuple[Forecast, Array]:
        """Forecast every series that can be, and their positions in the panel."""
        plain = _all_positive(panel)
        panel, places, problems = self._usable(panel, min(steps, self.config.horizon), plain)
        for note in unfamiliar(panel):
            warn(note)
        if steps > self.config.horizon and len(panel):
            values, counted = self._extended(panel, *self._trained(panel), steps)
            quantiles, mean = in_original_units(
                panel, self.config, values[:, :steps], counted, levels, plain
            )
        else:
            quantiles, mean = self._at_once(panel, steps, levels, plain)
        start, freq = panel.following()
        forecast = Forecast(
            ids=panel.ids,
            start=start,
            freq=freq,
            tz=panel.tz,
            mean=mean,
            quantiles=quantiles,
            levels=levels,
            problems=problems,
            days=panel.days(),
        )
        # Any number that is none makes the sum none; a sum beyond float's range is looked into.
        if math.isfinite(float(quantiles.sum()) + float(mean.sum())):
            return forecast, places
        finite = np.isfinite(forecast.mean).all(axis=1) & np.isfinite(quantiles).all(axis=(1, 2))
        if finite.all():
            return forecast, places
        lost = np.flatnonzero(~finite)
        return forecast.without(lost, "not_finite", BEYOND_FLOAT), np.delete(places, lost)

    def historical_panel(
        self,
        panel: Panel,
        *,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        least: int | None = None,
        every: int = 1,
        last: int | None = None,
    ) -> Historical:
        """`historical` of a panel; see there."""
        steps = self.config.horizon if horizon is None else whole_steps(horizon)
        self.check(panel, steps, quantiles, False)
        least = self.config.season + 1 if least is None else whole_steps(least)
        every, last = whole_steps(every), None if last is None else whole_steps(last)
        if min(least, every, 1 if last is None else last) < 1:
            raise DataError(f"least = {least}, every = {every}, last = {last}: each must be 1 up")
        origins = Origins.of(panel.under(self.schema), least=least, every=every, last=last)
        return forecasts_of_the_past(
            lambda part: self.predict_panel(part, horizon=steps, quantiles=quantiles),
            origins,
            horizon=steps,
            levels=tuple(quantiles),
            context=self.context,
        )

    def stop(self) -> None:
        """End forecasts under way in other threads, where the engine can."""

    def check(self, panel: Panel, steps: int, quantiles: Sequence[float], extend: bool) -> None:
        """Raise `DataError` if a panel, horizon or level does not fit the model."""
        if steps < 1 or (steps > self.config.horizon and not extend):
            raise DataError(
                f"horizon = {steps} is outside 1..{self.config.horizon}, what the model was "
                "trained for; ask for less, or set extend to continue by recursion"
            )
        if steps > self.config.horizon and self.reads.future:
            raise DataError(
                f"horizon = {steps} cannot be extended beyond {self.config.horizon}: the model "
                "needs known-future covariates"
            )
        check_levels(quantiles)
        if not panel.freq.same_step(self.freq):
            raise DataError(
                f"the series have freq = {panel.freq.alias}, the model was trained on "
                f"{self.freq.alias}"
            )

    # -- inside ----------------------------------------------------------------------------

    def _usable(
        self, panel: Panel, steps: int, plain: bool
    ) -> tuple[Panel, Array, list[SeriesProblem]]:
        """The series that can be forecast, their positions, and why the others cannot.

        ``plain`` : whether every value is there and above 0, which any model reads.
        """
        if plain and not self.reads.future:
            return panel, np.arange(len(panel)), []
        good, problems = usable(
            panel, panel.tail(self.geometry.rows), self.config, self.reads, steps
        )
        return (panel if len(good) == len(panel) else panel.select(good)), good, problems

    def _at_once(
        self, panel: Panel, steps: int, levels: tuple[float, ...], plain: bool
    ) -> tuple[Array, Array]:
        """[N, h, W] at the wanted levels and [N, h] means, chunk by chunk from end to end."""

        def forecast(part: Panel, count: int, runner: Runner) -> tuple[Array, Array]:
            values, counted = self._trained_of(part, count, runner)
            return in_original_units(part, self.config, values[:, :steps], counted, levels, plain)

        quantiles, mean = np.empty((0, steps, len(levels))), np.empty((0, steps))
        for index, (some, means) in self._each_chunk(panel, forecast):
            if len(means) == len(panel):
                return some, means
            if not len(mean):
                quantiles = np.empty((len(panel), steps, len(levels)))
                mean = np.empty((len(panel), steps))
            quantiles[index], mean[index] = some, means
        return quantiles, mean

    def readings(self, panel: Panel, *, with_classical: bool) -> list[tuple[Rows, Reading]]:
        """What the network makes of every series: positions [n] of each chunk, and its reading."""
        work = partial(self.read_chunk, with_classical=with_classical)
        return list(self._each_chunk(panel, work))

    def _each_chunk(
        self, panel: Panel, work: Callable[[Panel, int, Runner], Result]
    ) -> Iterator[tuple[Rows, Result]]:
        """``work`` on the series of a panel, so many of one length at a time, with positions."""
        steps = self.geometry.steps_for(panel.lengths)
        size = self.chunk
        chunks: list[tuple[Rows, int]] = []
        if len(steps) and (steps == steps[0]).all():
            of_all = int(steps[0])
            chunks = [(slice(k, k + size), of_all) for k in range(0, len(steps), size)]
        else:
            for count in np.unique(steps):
                chosen = np.flatnonzero(steps == count)
                chunks += [(chosen[k : k + size], int(count)) for k in range(0, len(chosen), size)]

        def run(chunk: tuple[Rows, int], runner: Runner) -> tuple[Rows, Result]:
            index, count = chunk
            part = panel if len(chunks) == 1 else panel.select(index)
            return index, work(part, count, runner)

        with nullcontext() if len(panel) <= FEW else products_on_one_thread():
            if self.single_threaded is None or len(chunks) == 1:
                for chunk in chunks:
                    yield run(chunk, self.runner)
                return
            with ThreadPoolExecutor(self.threads, "gatecast-predict") as pool:
                # Taken one by one: an error is raised, that of the first chunk.
                yield from pool.map(run, chunks, repeat(self.single_threaded))

    def read_chunk(self, panel: Panel, steps: int, runner: Runner, with_classical: bool) -> Reading:
        """The network's answer on the last recurrent steps of a chunk."""
        batch, centre, unit = assemble(panel, self.config, steps, self.geometry)
        answer = runner(batch)
        beside = panel if with_classical else None
        return Reading.of(batch, (centre, unit), answer, self.config, beside=beside, pool=self.pool)

    def _trained_of(self, part: Panel, steps: int, runner: Runner) -> tuple[Array, Array | None]:
        """[n, H, Q] of a chunk at the trained levels, in transformed units, and means of counts."""
        blend = self.config.model.blend
        reading = self.read_chunk(part, steps, runner, with_classical=blend > 0.0)
        values = reading.quantiles(self.config, self.correction, blend=blend)
        return values, reading.count_means(self.config)

    def _trained(self, panel: Panel) -> tuple[Array, Array | None]:
        """[N, H, Q] at the trained levels, in transformed units, and the means of counts [N, H]."""
        model = self.config.model
        values = np.empty((len(panel), self.config.horizon, len(model.quantile_levels)))
        means = np.empty((len(panel), self.config.horizon)) if model.counts else None
        for index, (part, mean) in self._each_chunk(panel, self._trained_of):
            values[index] = part
            if means is not None:
                means[index] = mean
        return values, means

    def _extended(
        self, panel: Panel, values: Array, counted: Array | None, steps: int
    ) -> tuple[Array, Array | None]:
        """Continue past the horizon by feeding the median back, window by window."""
        transform = self.config.model.y_transform
        middle = values.shape[2] // 2
        parts, means = [values], [counted]
        while sum(p.shape[1] for p in parts) < steps:
            median = transform.inverse(parts[-1][:, :, middle])
            panel = continued(panel, median)
            ahead, mean = self._trained(panel)
            # The uncertainty already reached at the seam is carried on, never lost.
            spread = parts[-1][:, -1:] - parts[-1][:, -1:, middle : middle + 1]
            parts.append(ahead + spread)
            means.append(mean)
        known_means = [m for m in means if m is not None]
        return np.concatenate(parts, axis=1), np.concatenate(
            known_means, axis=1
        ) if known_means else None


def _all_positive(panel: Panel) -> bool:
    """Whether every series has values, and all are there and above 0."""
    return bool(panel.lengths.all()) and bool(panel.y.min(initial=np.inf) > 0.0)
