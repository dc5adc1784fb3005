"""What `forecasting.streaming` carries from row to row, and how panels grow by rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.calendar import Frequency
from forecasting.config import Schema
from forecasting.errors import DataError
from forecasting.inference import Array
from forecasting.panel import Panel, ranges

if TYPE_CHECKING:
    import pandas as pd

    from forecasting.forecaster import Forecaster

STATE_VERSION = 1


@dataclass(frozen=True)
class State:
    """Where a forecaster stands after reading N series; never changed, only replaced.

    Attributes
    ----------
    panel : the last rows of each series (at most ``Forecaster.context``), its static covariates
        and the known-future covariates ahead.
    count : [N] rows read since each series began.
    hidden : per member [N, D], the encoder's output at the last row.
    states : per member and layer (h, c) or (h,), each [p, N, D], one per phase.
    fingerprint : of the forecaster that made it.
    """

    panel: Panel
    count: Array
    hidden: tuple[Array, ...]
    states: tuple[tuple[tuple[Array, ...], ...], ...]
    fingerprint: str

    @property
    def ids(self) -> Array:
        """[N] the series."""
        return self.panel.ids

    @cached_property
    def _place(self) -> dict[str, int]:
        return {str(name): i for i, name in enumerate(self.panel.ids)}

    def positions(self, ids: Array, source: str) -> Array:
        """[n] where these series stand; `DataError` names those that do not."""
        unknown = [str(i) for i in ids if str(i) not in self._place]
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise DataError(
                f"{source} holds series the state has never read: "
                f"{', '.join(map(repr, unknown[:5]))}{more}; encode their history first"
            )
        return np.array([self._place[str(i)] for i in ids], dtype=np.int64)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; no pickle."""
        from safetensors.numpy import save_file

        panel = self.panel
        tensors = {
            "offsets": panel.offsets,
            "y": panel.y,
            "start": panel.start.astype(np.int64),
            "past": panel.past,
            "future": panel.future,
            "static": panel.static,
            "count": self.count,
        }
        if panel.horizon is not None:
            tensors["horizon"] = panel.horizon
        for m, (hidden, layers) in enumerate(zip(self.hidden, self.states, strict=True)):
            tensors[f"hidden.{m}"] = hidden
            for d, layer in enumerate(layers):
                for k, part in enumerate(layer):
                    tensors[f"states.{m}.{d}.{k}"] = part
        about = {
            "version": STATE_VERSION,
            "ids": [str(i) for i in panel.ids],
            "freq": panel.freq.alias,
            "tz": panel.tz,
            "schema": panel.schema.model_dump(mode="json"),
            "fingerprint": self.fingerprint,
            "layers": [[len(layer) for layer in layers] for layers in self.states],
        }
        contiguous = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
        save_file(contiguous, str(path), metadata={"state": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> State:
        """Read a saved state; `DataError` for a file that is none, or a newer one."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="numpy") as file:
                about = json.loads((file.metadata() or {})["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise DataError(f"{path} is no saved state ({error}); encode the history") from None
        if about["version"] > STATE_VERSION:
            raise DataError(
                f"{path} has state version {about['version']}, this program reads up to "
                f"{STATE_VERSION}; upgrade gatecast, or encode the history again"
            )
        freq = Frequency.parse(about["freq"])
        panel = Panel(
            ids=np.array(about["ids"], dtype=object),
            offsets=tensors["offsets"],
            y=tensors["y"],
            start=tensors["start"].astype(np.int64 if freq.integer else "datetime64[us]"),
            freq=freq,
            tz=about["tz"],
            schema=Schema.parse(about["schema"]),
            past=tensors["past"],
            future=tensors["future"],
            horizon=tensors.get("horizon"),
            static=tensors["static"],
        )
        return cls(
            panel=panel,
            count=tensors["count"],
            hidden=tuple(tensors[f"hidden.{m}"] for m in range(len(about["layers"]))),
            states=tuple(
                tuple(
                    tuple(tensors[f"states.{m}.{d}.{k}"] for k in range(parts))
                    for d, parts in enumerate(layers)
                )
                for m, layers in enumerate(about["layers"])
            ),
            fingerprint=about["fingerprint"],
        )


def fingerprint(forecaster: Forecaster) -> str:
    """Tells forecasters apart: a hash of the settings and of each member's first layer."""
    digest = hashlib.sha256(forecaster.config.model_dump_json().encode())
    for network in forecaster.networks:
        weight: Any = network.encoder.layers[0].weight_hh_l0
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def piece(panel: Panel, series: Array, begin: Array, end: Array) -> Panel:
    """Rows ``begin`` to ``end`` of some series, which may be named more than once."""
    rows = ranges(panel.offsets[:-1][series] + begin, end - begin)
    return replace(
        panel,
        ids=panel.ids[series],
        offsets=np.concatenate([[0], np.cumsum(end - begin)]),
        y=panel.y[rows],
        start=panel.freq.shift(panel.start[series], begin),
        past=panel.past[rows],
        future=panel.future[rows],
        horizon=None,
        static=panel.static[series],
    )


def arrived(table: pd.DataFrame, like: Panel) -> Panel:
    """The rows of a table as history, also those without y at its end.

    `Panel.from_frame` would take such rows for steps ahead, were their covariates known-future.
    """
    schema = like.schema
    moved = (c.replace(role="past") for c in schema.future)
    columns = Schema(covariates=(*schema.past, *moved))
    panel = Panel.from_frame(table, freq=like.freq, schema=columns)
    past = len(schema.past)
    return replace(panel, past=panel.past[:, :past], future=panel.past[:, past:], schema=schema)


def extended(kept: Panel, rows: Panel) -> Panel:
    """``kept`` with the rows of ``rows`` appended, series by series in the same order.

    Rows between the two are missing values; their known-future covariates are those that were
    announced. The horizon is what is left of the announced one.

    Raises
    ------
    DataError : a row already read, a stamp off the grid, another time zone.
    """
    if kept.tz != rows.tz:
        raise DataError(
            f"the new rows have time zone {rows.tz}, the history has {kept.tz}: bring both into one"
        )
    freq = kept.freq
    following = freq.shift(kept.start, kept.lengths)
    gap = freq.steps_between(following, rows.start)
    late, off = gap < 0, freq.shift(following, gap) != rows.start
    if late.any():
        i = int(np.flatnonzero(late)[0])
        raise DataError(
            f"series {kept.ids[i]!r}: ds = {rows.start[i]} was read already, the state ends at "
            f"{freq.shift(following, -1)[i]} ({int(late.sum())} such series); a state only moves "
            "on: to correct the past, encode the history again"
        )
    if off.any():
        i = int(np.flatnonzero(off)[0])
        raise DataError(
            f"series {kept.ids[i]!r}: ds = {rows.start[i]} does not lie on the grid of "
            f"freq = {freq.alias} that goes on at {following[i]}"
        )
    before, new = kept.lengths, rows.lengths
    lengths = before + gap + new
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    old_at = ranges(offsets[:-1], before)
    new_at = ranges(offsets[:-1] + before + gap, new)

    def grown(old: Array, fresh: Array) -> Array:
        out = np.full((int(offsets[-1]), *old.shape[1:]), np.nan)
        out[old_at], out[new_at] = old, fresh
        return out

    future, horizon = grown(kept.future, rows.future), None
    if kept.horizon is not None:
        width = kept.horizon.shape[1]
        announced = np.minimum(gap, width)
        series = np.repeat(np.arange(len(kept)), announced)
        step = ranges(np.zeros_like(announced), announced)
        future[offsets[series] + before[series] + step] = kept.horizon[series, step]
        ahead = np.arange(width) + (gap + new)[:, None]
        left = kept.horizon[np.arange(len(kept))[:, None], np.minimum(ahead, width - 1)]
        horizon = np.where((ahead < width)[..., None], left, np.nan)
    return replace(
        kept,
        offsets=offsets,
        y=grown(kept.y, rows.y),
        past=grown(kept.past, rows.past),
        future=future,
        horizon=horizon,
    )


def merged(panel: Panel, part: Panel, where: Array) -> Panel:
    """The panel with series ``where`` replaced by those of ``part``."""
    if len(where) == len(panel) and bool((where == np.arange(len(panel))).all()):
        return part
    count, lengths = len(panel), np.concatenate([panel.lengths, part.lengths])
    horizon = None
    if panel.horizon is not None or part.horizon is not None:
        blocks = [p.horizon if p.horizon is not None else _unknown(p) for p in (panel, part)]
        width = max(b.shape[1] for b in blocks)
        horizon = np.concatenate([_widened(b, width) for b in blocks])
    both = replace(
        panel,
        ids=np.concatenate([panel.ids, part.ids]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        y=np.concatenate([panel.y, part.y]),
        start=np.concatenate([panel.start, part.start]),
        past=np.concatenate([panel.past, part.past]),
        future=np.concatenate([panel.future, part.future]),
        horizon=horizon,
        static=np.concatenate([panel.static, part.static]),
    )
    index = np.arange(count)
    index[where] = count + np.arange(len(where))
    return both.select(index)


def with_ahead(state: State, future: pd.DataFrame, horizon: int) -> Panel:
    """The kept panel with the known-future covariates of a table as its horizon.

    Rows of the table outside the ``horizon`` steps ahead are passed over.
    """
    panel = state.panel
    columns = Schema(covariates=panel.schema.future)
    table = Panel.from_frame(future.assign(y=np.nan), freq=panel.freq, schema=columns)
    where = state.positions(table.ids, "future")
    following = panel.freq.shift(panel.start, panel.lengths)[where]
    step = panel.freq.steps_between(following, table.start)
    if (panel.freq.shift(following, step) != table.start).any():
        raise DataError(
            f"future: the stamps do not lie on the grid of freq = {panel.freq.alias} that goes "
            f"on at {following[0]}"
        )
    series = table.series
    ahead = np.arange(table.rows) - table.offsets[series] + step[series]
    inside = (ahead >= 0) & (ahead < horizon)
    block = np.full((len(panel), horizon, len(columns.covariates)), np.nan)
    block[where[series[inside]], ahead[inside]] = table.future[inside]
    return replace(panel, horizon=block)


def _widened(block: Array, width: int) -> Array:
    out = np.full((len(block), width, block.shape[2]), np.nan)
    out[:, : block.shape[1]] = block
    return out


def _unknown(panel: Panel) -> Array:
    return np.full((len(panel), 1, panel.future.shape[1]), np.nan)
