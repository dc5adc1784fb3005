"""What `forecasting.streaming.reading` carries from row to row, and how panels grow by rows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import Panel
from forecasting.ensemble import Ensemble
from forecasting.errors import DataError, listed
from forecasting.schema import Schema

if TYPE_CHECKING:
    import pandas as pd


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

    def __repr__(self) -> str:
        return f"State({len(self.count):,} series, {int(self.count.sum()):,} rows read)"

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
            raise DataError(
                f"{source} holds series the state has never read: "
                f"{listed(list(map(repr, unknown)), 5)}; encode their history first"
            )
        return np.array([self._place[str(i)] for i in ids], dtype=np.int64)

    def save(self, path: str | Path) -> None:
        """Write one safetensors file; no pickle."""
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


def fingerprint(forecaster: Ensemble) -> str:
    """Tells forecasters apart: a hash of the settings and of each member's first layer."""
    digest = hashlib.sha256(forecaster.config.model_dump_json().encode())
    for network in forecaster.networks:
        weight: Any = network.encoder.layers[0].weight_hh_l0
        digest.update(weight.detach().cpu().numpy().tobytes())
    return digest.hexdigest()


def with_ahead(state: State, future: pd.DataFrame, horizon: int) -> Panel:
    """The kept panel with the known-future covariates of a table as its horizon.

    Rows of the table outside the ``horizon`` steps ahead are passed over.

    Raises
    ------
    DataError : stamps off the grid that goes on, a series the state does not have, or whatever
        `Panel.from_frame` refuses.
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
