"""What ingestion hands on: the clean table as a frame or as a panel, and the report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.mapped import blocks
from forecasting.data.panel import Panel, public_stamps
from pipelines.ingestion.clean import Clean, stamps
from pipelines.ingestion.columns.columns import Column
from pipelines.ingestion.columns.values import check_values
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.report.report import Report, build_report
from pipelines.ingestion.result.panels import to_panel
from pipelines.ingestion.series.flags import raise_flags, series_flags
from pipelines.ingestion.series.table import Table


@dataclass
class IngestResult:
    """A clean table and the report of how it became one.

    Attributes
    ----------
    clean : the series as flat arrays.
    config : as used, with the columns' roles filled in.
    """

    clean: Clean
    config: DataConfig

    @property
    def freq(self) -> str:
        """The step of the panel, a pandas alias or ``step``."""
        return self.clean.freq.alias

    @cached_property
    def report(self) -> Report:
        """What was found and what was done about it."""
        look_at_values(self.clean, self.config)
        return build_report(self.clean, self.config)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """The long table ``unique_id, ds, y`` and the covariates that move in time.

        One row per step of every series, sorted; missing values are NaN. ``ds`` carries the zone
        where there is one.
        """
        clean = self.clean
        sizes = np.diff(clean.offsets)
        series = np.repeat(np.arange(len(sizes)), sizes)
        frame = pd.DataFrame({"unique_id": pd.Series(clean.ids, dtype="str").take(series).array})
        frame["ds"] = public_stamps(stamps(clean), clean)
        frame["y"] = clean.y
        for name, column in clean.columns.items():
            frame[name] = values(column)
        return frame

    @cached_property
    def static(self) -> pd.DataFrame | None:
        """One row per series: ``unique_id`` and the static covariates; None without any."""
        if not self.clean.static:
            return None
        columns = {n: values(c) for n, c in self.clean.static.items()}
        return pd.DataFrame({"unique_id": pd.Series(self.clean.ids, dtype="str"), **columns})

    def panel(self) -> Panel:
        """The panel to train on; made from the arrays, the frame is not built."""
        return to_panel(self.clean)

    @property
    def trainable(self) -> Array:
        """[N] whether a series has the ``flags.min_rows`` values that training asks for."""
        look_at_values(self.clean, self.config)
        flags = self.clean.series_flags or {}
        out = np.ones(len(self.clean.ids), bool)
        for name in ("too_short", "no_values"):
            out &= ~flags.get(name, ~out)
        return out


def look_at_values(clean: Clean, config: DataConfig) -> None:
    """Raise the flags of a table that came in by the fast way, which changes nothing in it."""
    if clean.series_flags is not None:
        return
    flags_of_blocks = [_looked_at(clean, config, *some) for some in blocks(clean.offsets)]
    empty: dict[str, Array] = series_flags(clean.y[:0], np.zeros(1, np.int64), config.flags, 0)
    clean.series_flags = {
        name: np.concatenate([none, *(flags[name] for flags in flags_of_blocks)])
        for name, none in empty.items()
    }


def _looked_at(clean: Clean, config: DataConfig, first: int, last: int) -> dict[str, Array]:
    """The flags of some series, one after the other; what is found goes into the ledger."""
    offsets = clean.offsets[first : last + 1]
    begin, end = int(offsets[0]), int(offsets[-1])
    codes = np.repeat(np.arange(last - first, dtype=np.int32), np.diff(offsets))
    ds = stamps(clean, first, last).astype(np.int64)
    y, rows = clean.y[begin:end], np.arange(begin + 1, end + 1)
    table = Table(clean.ids[first:last], codes, ds, y, rows, before=first)
    check_values(y, "y", config.values, config.flags, table.with_ledger(clean.ledger))
    return raise_flags(table, offsets - begin, config.flags, clean.freq, clean.ledger)


def values(column: Column) -> Any:
    """A covariate as a user sees it: numbers, or names of categories."""
    if column.categories is None:
        return column.values
    names = np.concatenate([column.categories, [np.nan]]).astype(object)
    return pd.Series(names[column.values], dtype="str")
