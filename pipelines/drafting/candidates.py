"""Columns that are neither series, time nor value: which of them may be covariates, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest

MOST = 30  # columns looked at
MOST_ROWS = 2_000_000  # of the table; beyond that each look takes long
MOST_CATEGORIES = 100
# Names that ask for a column that only says where a row stood.
NUMBERS_OF_ROWS = ("__index_level_0__", "Unnamed: 0", "index", "")


@dataclass(frozen=True)
class Candidate:
    """A column and what it may be.

    Attributes
    ----------
    role : as what it may be declared; None: it is of no use as it is.
    type : ``real`` or ``categorical``.
    why : what speaks for it, in words.
    ahead : rows after the last value of y that carry it, in the shortest series.
    """

    name: str
    role: Literal["past", "future", "static"] | None
    type: Literal["real", "categorical"]
    why: str
    ahead: int = 0

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return {"name": self.name, "role": self.role, "type": self.type, "why": self.why}

    def setting(self) -> dict[str, Any]:
        """Its entry below ``data.covariates``."""
        entry: dict[str, Any] = {"name": self.name, "role": self.role}
        return entry | ({"type": "categorical"} if self.type == "categorical" else {})


def candidates(result: IngestResult, source: str, roles: dict[str, Any]) -> list[Candidate]:
    """The columns left aside, each with what it may be.

    Parameters
    ----------
    roles : the settings below ``data`` that tell series, time and value apart.
    """
    names = [n for n in result.clean.aside if n not in NUMBERS_OF_ROWS]
    if not names or result.config.layout != "long" or len(result.clean.y) > MOST_ROWS:
        return []
    columns = []
    for name in names[:MOST]:
        try:
            values = _column(name, source, roles)
        except DataError as error:
            why = str(error).split(";")[0]
            columns.append(Candidate(name, None, "real", f"cannot be read so: {why}"))
            continue
        columns.append(_judged(name, values))
    return columns


def _column(name: str, source: str, roles: dict[str, Any]) -> pd.DataFrame:
    """``unique_id, y, value`` with every row, those without y too."""
    own = {k: v for k, v in roles.items() if k != "covariates"}
    # As one that is known ahead, no row is cut off for want of y.
    alias = "value_" if name in ("unique_id", "ds", "y") else name
    declared = {"name": alias, "column": name, "role": "future"}
    config = DataConfig.parse({**own, "source": source, "covariates": [declared]}, at="data")
    frame = ingest(config).frame
    return frame[["unique_id", "y", alias]].rename(columns={alias: "value"})


def _judged(name: str, frame: pd.DataFrame) -> Candidate:
    known = frame["value"].notna()
    number = pd.api.types.is_numeric_dtype(frame["value"])
    kind: Literal["real", "categorical"] = "real" if number else "categorical"
    if not known.any():
        return Candidate(name, None, kind, "it has no values")
    by_series = frame["value"].groupby(frame["unique_id"])
    distinct = by_series.nunique()
    several = len(distinct) > 1
    levels = frame["value"].nunique()
    if several and (distinct <= 1).all():
        if kind == "categorical" and levels == len(distinct):
            return Candidate(name, None, kind, "another name of each series")
        if levels == 1:
            return Candidate(name, None, kind, "the same everywhere")
        return Candidate(name, "static", kind, f"one value per series, {levels:,} in all")
    if levels == 1:
        return Candidate(name, None, kind, "the same everywhere")
    if kind == "categorical" and levels > MOST_CATEGORIES:
        return Candidate(name, None, kind, f"{levels:,} different texts are no categories")
    ahead = _ahead(frame, known)
    if ahead:
        why = f"stands in at least {ahead} rows after the last value of y: known ahead"
        return Candidate(name, "future", kind, why, ahead)
    # Rows that were absent have neither.
    share = 100 * float(known[frame["y"].notna()].mean())
    full = "in every row" if share == 100 else f"in {share:.3g} % of the rows"
    return Candidate(name, "past", kind, f"{full}, none of them after the last value of y")


def _ahead(frame: pd.DataFrame, known: pd.Series) -> int:
    """Rows with a value after the last y, in the series that has fewest."""
    observed = frame["y"].notna().to_numpy()
    place = np.arange(len(frame))
    last = pd.Series(np.where(observed, place, -1)).groupby(frame["unique_id"].to_numpy()).max()
    after = place > frame["unique_id"].map(last).to_numpy()
    counts = pd.Series(after & known.to_numpy()).groupby(frame["unique_id"].to_numpy()).sum()
    return int(counts.min())
