"""One batch forecast to be written: its columns, its key, and what a target must do."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from forecasting.data.panel import public_stamps
from forecasting.quantiles import column_of

if TYPE_CHECKING:
    from forecasting.data.forecast import Forecast
    from forecasting.data.panel import Panel


KEY = ("model", "version", "unique_id", "cutoff", "step")


FIXED = ("model", "version", "run_id", "unique_id", "cutoff", "step", "ds", "mean")


LAST = ("created", "job")


class Predicts(Protocol):
    """What forecasts a panel: a trained model, or the pretrained network."""

    def predict_panel(
        self, panel: Panel, *, horizon: int, quantiles: tuple[float, ...]
    ) -> Forecast:
        """Forecast every series from its end."""


@dataclass(frozen=True)
class Maker:
    """Which model forecasts, and by which weights."""

    model: str
    version: int
    run_id: str
    digest: str


@dataclass(frozen=True)
class Job:
    """One batch of forecasts: who forecasts what.

    Attributes
    ----------
    digest
        Of model, data, horizon and levels: the same job run again has the same one.
    newest
        Latest cutoff of the series, as text that may stand in a file's name.
    """

    model: str
    version: int
    run_id: str
    digest: str
    newest: str
    horizon: int
    levels: tuple[float, ...]
    created: datetime.datetime

    @property
    def columns(self) -> list[str]:
        """Columns of the output, in order."""
        return [*FIXED, *(column_of(level) for level in self.levels), *LAST]


def table_of(forecast: Forecast, cutoffs: Any, job: Job) -> pa.Table:
    """Forecasts as rows of the output, one per series and step.

    Parameters
    ----------
    cutoffs : [N]
        Stamp of the last known row of each forecast series.
    """
    count, steps = forecast.mean.shape
    rows = count * steps
    columns: dict[str, Any] = {
        "model": pa.repeat(job.model, rows),
        "version": pa.repeat(pa.scalar(job.version, pa.int32()), rows),
        "run_id": pa.repeat(job.run_id, rows),
        "unique_id": pa.array(forecast.ids.astype(object), pa.string()).take(
            pa.array(np.repeat(np.arange(count), steps))
        ),
        "cutoff": pa.array(public_stamps(np.repeat(cutoffs, steps), forecast)),
        "step": pa.array(np.tile(np.arange(1, steps + 1, dtype=np.int32), count)),
        "ds": pa.array(public_stamps(forecast.stamps().ravel(), forecast)),
        "mean": pa.array(forecast.mean.ravel()),
    }
    for k, level in enumerate(forecast.levels):
        columns[column_of(level)] = pa.array(
            np.ascontiguousarray(forecast.quantiles[:, :, k]).ravel()
        )
    stamp = pa.scalar(job.created, pa.timestamp("us", tz="UTC"))
    columns["created"] = pa.repeat(stamp, rows)
    columns["job"] = pa.repeat(job.digest, rows)
    return pa.table(columns)


class Target(Protocol):
    """A place for the forecasts of one job."""

    name: str

    def open(self, job: Job) -> None:
        """Make sure it can be written to, before any work is done."""

    def done(self, ids: Sequence[str]) -> np.ndarray:
        """[N] bool, the series whose forecasts of this job are there already."""

    def write(self, piece: int, table: pa.Table) -> None:
        """Add one piece, whole or not at all."""

    def finish(self) -> str:
        """Put the result in place; returns where it is."""


def readable(table: pa.Table) -> pa.Table:
    """Stamps as ISO 8601 text, with their offset where there is one."""
    for place, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            text = iso_text(table.column(place))
            table = table.set_column(place, field.name, text)
    return table


def iso_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 text of a stamp column: seconds, or microseconds where some stamp has them."""
    import pyarrow.compute as pc

    unique = column.combine_chunks().dictionary_encode()
    stamps = unique.dictionary.to_pandas()
    fine = bool((stamps.dt.microsecond != 0).any())
    texts = [s.isoformat(timespec="microseconds" if fine else "seconds") for s in stamps]
    return pa.chunked_array([pc.take(pa.array(texts, pa.string()), unique.indices)])
