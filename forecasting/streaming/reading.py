"""Forecasting as rows arrive: read a history once, then only what is new.

A `State` keeps, per series, the states of every recurrent layer and the last
``Forecaster.context`` rows, whatever the length of the history; an update reads the new rows and
nothing else. With p data steps per recurrent step there are p sets of states, one per phase: the
row at position t ends a recurrent step of phase ``t mod p``, so each new row moves one of them.

What is frozen and what is refreshed
------------------------------------
*Nothing is frozen.* Level and spread are causal: each recurrent step takes its own from the last
rows up to its end, so a step once read needs no other scaling later. The conditioning that keeps
float32 exact (centre and unit of `windows.conditioning.condition`) is taken anew from the kept rows
at every update and every forecast; the network's inputs do not depend on it. (They would in
one corner: a lag that reaches behind W values of which no two differ, where the spread is one
unit. Such a step is read by itself, its unit taken from the rows it looks at, however the rows
arrived.)

A state has read the whole history, `Forecaster.predict` reads the last ``model.steps`` recurrent
steps of it. Up to that length both give the same forecast. Beyond it a state remembers longer than
training showed the network; encode the last ``Forecaster.context`` rows where that is not wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.data.growing import arrived, extended, merged, piece
from forecasting.data.panel import Panel
from forecasting.data.wall import on_wall_clock, rows_for
from forecasting.ensemble import Ensemble
from forecasting.errors import ConfigError, DataError
from forecasting.networks.output import answer, tensors_of
from forecasting.networks.recurrent import States
from forecasting.parts import CELLS
from forecasting.prediction.engine import Engine, Runner
from forecasting.prediction.reading import Reading
from forecasting.quantiles import ASKED
from forecasting.streaming.state import State, fingerprint, with_ahead
from forecasting.windows.batch import Batch, each
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import assemble, takes_unit

if TYPE_CHECKING:
    import pandas as pd


# Recurrent steps read at a time, and steps of all series together in one call: bounds on memory.
BLOCK = 512
STEPS_PER_CALL = 32_768


def encode(forecaster: Ensemble, panel: Panel) -> State:
    """The state after reading every row of a panel.

    Raises
    ------
    DataError : a frequency or covariates other than the model's, a series that stands twice.
    ConfigError : a bidirectional encoder, which must see the end of a window first.
    """
    if forecaster.config.model.bidirectional:
        raise ConfigError(
            "model.bidirectional = true reads each window backwards too, so it has no state to "
            "carry on: use predict, or train with model.bidirectional = false"
        )
    if forecaster.config.occasions is not None:
        raise ConfigError(
            "a forecaster with a calendar keeps no state: the days ahead are told anew with each "
            "forecast; use predict"
        )
    forecaster.check(panel, 1, (), extend=False)
    panel = panel.under(forecaster.schema).begun()
    ids, counts = np.unique(panel.ids.astype(str), return_counts=True)
    if (counts > 1).any():
        raise DataError(f"series {ids[counts > 1][0]!r} stands twice in the panel")
    segment, count = forecaster.geometry.segment, len(panel)
    hidden, states = [], []
    for network in forecaster.networks:
        width = network.config.model.hidden_size
        parts = CELLS[network.config.model.cell].states
        hidden.append(np.zeros((count, width), np.float32))
        states.append(
            tuple(
                tuple(np.zeros((segment, count, width), np.float32) for _ in range(parts))
                for _ in network.encoder.layers
            )
        )
    state = State(
        panel=panel,
        count=np.zeros(count, np.int64),
        hidden=tuple(hidden),
        states=tuple(states),
        fingerprint=fingerprint(forecaster),
    )
    return _advanced(forecaster, state, np.arange(count), panel, None)


def update(
    forecaster: Ensemble,
    state: State,
    new_rows: pd.DataFrame,
    *,
    future: pd.DataFrame | None = None,
) -> State:
    """The state after some more rows; the one given stays as it is.

    Parameters
    ----------
    new_rows : ``unique_id, ds, y`` and the model's past and future covariates, of any of the
        state's series, each later than what the state has read. All of them have happened: a row
        without y is a missing value, and so is a row left out between.
    future : known-future covariates of the steps ahead, ``unique_id, ds`` and their columns;
        without it what is left of those announced earlier.

    Raises
    ------
    DataError : an unknown series, a row already read, a stamp off the grid, another state's model.
    """
    _belongs(forecaster, state)
    rows = arrived(new_rows, state.panel)
    where = state.positions(rows.ids, "new_rows")
    joined = extended(state.panel.select(where), rows)
    moved = _advanced(forecaster, state, where, joined, state.panel)
    if future is None:
        return moved
    return replace(moved, panel=with_ahead(moved, future, forecaster.config.horizon))


def forecast(
    forecaster: Ensemble,
    state: State,
    *,
    future: pd.DataFrame | None = None,
    horizon: int | None = None,
    quantiles: Sequence[float] = ASKED,
) -> Forecast:
    """Forecast every series of a state from its last row.

    ``future`` holds the known-future covariates of the steps ahead, ``unique_id, ds`` and their
    columns; without it those that came with the rows are used. Series that cannot be forecast are
    in ``Forecast.problems``.
    """
    _belongs(forecaster, state)
    if future is not None:
        state = replace(state, panel=with_ahead(state, future, forecaster.config.horizon))
    return _StateEngine(forecaster, state).predict_panel(
        state.panel, horizon=horizon, quantiles=quantiles
    )


class _StateEngine(Engine):
    """The arithmetic around a network, with the reading of the history already done."""

    reads_all = True

    def __init__(self, forecaster: Ensemble, state: State) -> None:
        super().__init__(
            forecaster.config, forecaster.schema, forecaster.correction, forecaster.runner
        )
        self.forecaster, self.state = forecaster, state

    def anew(self) -> Engine:
        """Rows that a state has not read are read with those that it keeps."""
        return self.forecaster

    def read_chunk(self, panel: Panel, steps: int, runner: Runner, with_classical: bool) -> Reading:
        """Of series whose history is read: what is left to do takes the place of ``runner``."""
        where = self.state.positions(panel.ids, "the panel")
        return super().read_chunk(panel, steps, partial(self._decode, where), with_classical)

    def _decode(self, where: Array, batch: Batch[Array]) -> tuple[Array, Array, Array]:
        """All members from the states of the series at positions ``where``."""
        state = self.state
        phase = (state.count[where] - 1) % self.geometry.segment
        tensors = tensors_of(batch, self.forecaster.device)
        outputs = []
        with torch.inference_mode():
            for network, hidden, layers in zip(
                self.forecaster.networks, state.hidden, state.states, strict=True
            ):
                carried = _pick(layers, phase, where, self.forecaster.device)
                last = torch.from_numpy(hidden[where])[:, None].to(self.forecaster.device)
                outputs.append(network.finish(tensors, last, carried))
            return answer(outputs)


def _advanced(
    forecaster: Ensemble, state: State, where: Array, joined: Panel, kept: Panel | None
) -> State:
    """The state once series ``where`` have read what ``joined`` has beyond ``kept``.

    ``joined`` holds the kept rows and the new ones of these series, and their horizon.
    """
    geometry = forecaster.geometry
    rows, before = _as_read(joined), np.zeros(len(joined), np.int64)
    if kept is not None:
        before = _as_read(kept.select(where)).lengths
    fresh = rows.lengths - before
    hidden = tuple(part.copy() for part in state.hidden)
    states = tuple(tuple(tuple(p.copy() for p in s) for s in layers) for layers in state.states)
    begin = rows.lengths - fresh
    reader = _Reader(forecaster, rows, where, state.count[where] - begin, hidden, states)
    while (begin < rows.lengths).any():
        end = np.minimum(begin + geometry.segment * BLOCK, rows.lengths)
        # Of every phase the first new row, how many follow, and the last of them.
        first = begin[:, None] + np.arange(geometry.segment)
        steps = np.maximum(-(-(end[:, None] - first) // geometry.segment), 0)
        last = first + (steps - 1) * geometry.segment
        for count in np.unique(steps[steps > 0]):
            series, phase = np.nonzero(steps == count)
            width = max(STEPS_PER_CALL // int(count), 1)
            for at in range(0, len(series), width):
                i, stop = series[at : at + width], last[series, phase][at : at + width] + 1
                reader.walk(i, stop, int(count))
        begin = end
    count = state.count.copy()
    count[where] += fresh
    grown = merged(state.panel, joined, where)
    context = forecaster.context
    if grown.tz is not None and grown.freq.sub_daily:
        context = rows_for(context, grown.freq)
    return replace(state, panel=grown.tail(context), count=count, hidden=hidden, states=states)


def _as_read(panel: Panel) -> Panel:
    """Instants by the wall clock of their zone, with all that has been read of them."""
    wall = on_wall_clock(panel, whole=True)
    return panel if wall is None else wall.panel


@dataclass(frozen=True)
class _Reader:
    """Moves the states of series ``where`` on, in place, over the rows of their panel.

    ``base`` [n] is the position of each panel's first row since its series began.
    """

    forecaster: Ensemble
    rows: Panel
    where: Array
    base: Array
    hidden: tuple[Array, ...]
    states: tuple[tuple[tuple[Array, ...], ...], ...]

    def walk(self, series: Array, stop: Array, count: int) -> None:
        """Read ``count`` recurrent steps of one phase each; the last ends before row ``stop``."""
        geometry, config = self.forecaster.geometry, self.forecaster.config
        begin = np.maximum(stop - geometry.length(count), 0)
        batch, _, _ = assemble(piece(self.rows, series, begin, stop), config, count)
        if count > 1 and geometry.reach > geometry.scale_window and takes_unit(config):
            alone = _stands_still(batch, geometry)
            for back in range(count - 1, -1, -1) if alone.any() else ():
                self.walk(series[alone], stop[alone] - back * geometry.segment, 1)
            batch = each(batch, lambda value: value[~alone])
            series, stop = series[~alone], stop[~alone]
        if len(series):
            self._read(batch, series, stop)

    def _read(self, batch: Batch[Array], series: Array, stop: Array) -> None:
        device = self.forecaster.device
        where, final = self.where[series], stop == self.rows.lengths[series]
        phase = (self.base[series] + stop - 1) % self.forecaster.geometry.segment
        tensors = tensors_of(batch, device)
        with torch.inference_mode():
            for network, top, layers in zip(
                self.forecaster.networks, self.hidden, self.states, strict=True
            ):
                x, _, _ = network.features(tensors)
                seen, after = network.read(x, _pick(layers, phase, where, device))
                top[where[final]] = seen[:, -1].cpu().numpy()[final]
                for layer, new in zip(layers, after, strict=True):
                    for part, value in zip(layer, new, strict=True):
                        part[phase, where] = value[0].cpu().numpy()


def _stands_still(batch: Batch[Array], geometry: Geometry) -> Array:
    """[B] whether at any recurrent step no two of the last W observed values differ."""
    width = geometry.scale_window
    known = batch["mask"] > 0
    ends = slice(geometry.reach - width, None, geometry.segment)
    low = sliding_window_view(np.where(known, batch["y"], np.inf), width, axis=1)[:, ends].min(-1)
    high = sliding_window_view(np.where(known, batch["y"], -np.inf), width, axis=1)[:, ends].max(-1)
    return np.asarray((low >= high).any(axis=1))


def _pick(
    layers: tuple[tuple[Array, ...], ...], phase: Array, where: Array, device: torch.device
) -> States:
    return tuple(
        tuple(torch.from_numpy(part[phase, where])[None].to(device) for part in layer)
        for layer in layers
    )


def _belongs(forecaster: Ensemble, state: State) -> None:
    if state.fingerprint != fingerprint(forecaster):
        raise DataError(
            "this state was made by another forecaster (or another training of it): encode the "
            "history again"
        )
