"""The prediction side: do known-future covariates reach the horizon for every series?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.panel import Panel, public_stamps
from forecasting.errors import SeriesProblem
from forecasting.known.leaks import leaks, said_of_leaks
from pipelines.ingestion.clean import Clean
from pipelines.ingestion.result.panels import to_panel

CODE = "missing_future_covariate"


def missing_future(panel: Panel, horizon: int) -> pd.DataFrame:
    """Every value of a known-future covariate that a forecast needs and that is not there.

    Returns
    -------
    One row per value: ``unique_id``, ``ds``, ``column`` and ``step`` (1 to ``horizon``); empty
    when nothing is missing. Series that do not appear can be forecast.
    """
    series, step, column = _absent(panel, horizon)
    stamps = panel.freq.shift(panel.last[series], step + 1)
    names = np.array([c.name for c in panel.schema.future], dtype=object)
    return pd.DataFrame(
        {
            "unique_id": panel.ids[series],
            "ds": public_stamps(stamps, panel),
            "column": names[column] if len(names) else np.empty(0, dtype=object),
            "step": step + 1,
        }
    )


def note_leaks(clean: Clean, horizon: int | None, panel: Panel | None = None) -> str:
    """What is said of covariates that are y itself, kept among the facts; "" for none.

    Parameters
    ----------
    horizon : steps that are forecast; None: not known yet. panel : of ``clean``, made here if not
        at hand.
    """
    if panel is None:
        if all(c.config.role == "static" for c in clean.columns.values()):
            return ""
        panel = to_panel(clean)
    line = said_of_leaks(leaks(panel, horizon or 1))
    if line:
        clean.facts["leaks"] = line
    return line


def future_problems(panel: Panel, horizon: int) -> list[SeriesProblem]:
    """One problem per series that cannot be forecast, naming its first missing value."""
    missing = missing_future(panel, horizon)
    counts = missing.groupby("unique_id", sort=False).size().to_dict()
    problems = []
    for row in missing.drop_duplicates("unique_id").to_dict("records"):
        more = counts[row["unique_id"]] - 1
        problems.append(
            SeriesProblem(
                str(row["unique_id"]),
                CODE,
                f"{row['column']} is missing for {row['ds']}"
                + (f" and {more} more" if more else ""),
                {"column": row["column"], "ds": str(row["ds"]), "step": row["step"]},
            )
        )
    return problems


def _absent(panel: Panel, horizon: int) -> tuple[Array, Array, Array]:
    """Series, step (from 0) and column of every missing value, in that order."""
    covariates = panel.schema.future
    block = np.full((len(panel), horizon, len(covariates)), np.nan)
    if panel.horizon is not None:
        width = min(horizon, panel.horizon.shape[1])
        block[:, :width] = panel.horizon[:, :width]
    absent = np.isnan(block)
    for place, covariate in enumerate(covariates):
        if covariate.type == "categorical":
            absent[:, :, place] |= block[:, :, place] == 0
    series, step, column = np.nonzero(absent)
    return series, step, column


def note_future(clean: Clean, horizon: int) -> None:
    """What a forecast of ``horizon`` steps lacks, into the ledger.

    A table that ends with its last value is for training: nothing is missing from it.
    """
    if not any(c.config.role == "future" for c in clean.columns.values()):
        return
    panel = to_panel(clean)
    if panel.horizon is None:
        clean.facts["horizon"] = "no row reaches beyond the last value: a table to train on"
        return
    series, step, column = _absent(panel, horizon)
    stamps = np.asarray(panel.freq.shift(panel.last[series], step + 1)).astype(np.int64)
    for place, covariate in enumerate(panel.schema.future):
        own = column == place
        clean.ledger.note(
            "future_missing", "flagged",
            f"a forecast of {horizon} steps needs this value of a known-future covariate",
            series=series[own], ds=stamps[own], column=covariate.name, repair=False,
        )  # fmt: skip
    short = len(np.unique(series))
    clean.facts["horizon"] = (
        f"{short:,} of {len(panel):,} series lack covariates for {horizon} steps"
    )
