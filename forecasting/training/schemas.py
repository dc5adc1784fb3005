"""The covariates of a panel as training sees them: their means, and the categories it shows."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.resolved import Resolved
from forecasting.schema import Schema
from forecasting.windows.prediction import STILL


def encoded(schema: Schema, config: Resolved) -> Schema:
    """The schema with the covariates encoded as ``model.encoding`` says, where it says anything."""
    if not config.model.encoding:
        return schema
    return Schema(
        covariates=tuple(c.replace(encoding=config.model.encoding) for c in schema.covariates)
    )


def fitted_schema(panel: Panel) -> Schema:
    """The schema with what this panel alone says of its columns.

    Of real ones mean and deviation, of categorical ones the categories that networks are shown:
    weights of others would stay as they were drawn.
    """
    if not panel.schema.covariates:
        return panel.schema
    fitted = []
    blocks = {"past": panel.past, "future": panel.future, "static": panel.static}
    rows = _shown(panel)
    column = {"past": 0, "future": 0, "static": 0}
    for covariate in panel.schema.covariates:
        values = blocks[covariate.role][:, column[covariate.role]]
        column[covariate.role] += 1
        known = values[~np.isnan(values)]
        if covariate.type == "real" and len(known):
            spread, still = float(known.std()), STILL * float(np.abs(known).max())
            covariate = covariate.replace(
                mean=float(known.mean()),
                std=spread if spread > still else 0.0,
                low=float(known.min()),
                high=float(known.max()),
            )
        elif covariate.type == "categorical":
            codes = np.unique(values[rows[covariate.role]])
            categories = [covariate.categories[int(c) - 1] for c in codes[codes >= 1]]
            covariate = covariate.replace(categories=tuple(categories) or covariate.categories)
        fitted.append(covariate)
    return Schema(covariates=tuple(fitted))


def _shown(panel: Panel) -> dict[str, Array]:
    """By role, which rows (or series) of covariates are ever read in training: bool."""
    seen = ~np.isnan(panel.y)
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    last = np.full(len(panel), -1, np.int64)
    np.maximum.at(last, panel.series[seen], position[seen])
    ends = last[panel.series]
    several = np.bincount(panel.series, weights=seen, minlength=len(panel)) >= 2
    inside = several[panel.series]
    return {
        "past": inside & (position < ends),
        "future": inside & (position <= ends),
        "static": several,
    }


def fitted(panel: Panel) -> Panel:
    """A panel under the schema that fits it."""
    return panel.under(fitted_schema(panel))
