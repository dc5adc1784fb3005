"""A panel in the terms of a model that was trained on another one.

Codes of categories and the standardisation of numbers belong to the model. A panel read today
has its own: a new category shifts every code after it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forecasting.config import Covariate, Schema
from forecasting.errors import DataError

if TYPE_CHECKING:
    from forecasting.panel import Panel

Array = npt.NDArray[Any]


def recode(panel: Panel, schema: Schema) -> Panel:
    """The panel with the covariates of `schema`, in its order and with its codes.

    Columns the model does not know are left out; a category it never saw becomes code 0.

    Raises
    ------
    DataError
        A covariate the model needs is missing, or has another role or type.
    """
    if panel.schema == schema:
        return panel
    there = {c.name: c for c in panel.schema.covariates}
    for wanted in schema.covariates:
        _same_kind(there.get(wanted.name), wanted, list(there))
    return replace(
        panel,
        schema=schema,
        past=_columns(panel.past, panel.schema.past, schema.past),
        future=_columns(panel.future, panel.schema.future, schema.future),
        horizon=_columns(panel.horizon, panel.schema.future, schema.future)
        if panel.horizon is not None and schema.future
        else None,
        static=_columns(panel.static, panel.schema.static, schema.static),
    )


def _same_kind(found: Covariate | None, wanted: Covariate, names: list[str]) -> None:
    if found is None:
        listed = ", ".join(names) or "none"
        raise DataError(
            f"the model needs the {wanted.role} covariate {wanted.name!r}, which the data do not "
            f"have (covariates there: {listed}); declare it under data.covariates, with "
            "`column:` where it has been renamed"
        )
    if (found.role, found.type) != (wanted.role, wanted.type):
        raise DataError(
            f"covariate {wanted.name!r} is {found.role} and {found.type} in the data, but the "
            f"model was trained with it as {wanted.role} and {wanted.type}"
        )


def _columns(block: Array, have: tuple[Covariate, ...], want: tuple[Covariate, ...]) -> Array:
    """[..., C] columns picked by name, categories translated."""
    place = {c.name: k for k, c in enumerate(have)}
    out = np.empty((*block.shape[:-1], len(want)))
    for k, covariate in enumerate(want):
        values = block[..., place[covariate.name]]
        if covariate.type == "categorical":
            own = have[place[covariate.name]].categories
            known = {name: code for code, name in enumerate(covariate.categories, 1)}
            codes = np.array([0, *(known.get(name, 0) for name in own)], dtype=np.float64)
            # Beyond the end of a series a code is NaN: not given, which is not "unseen".
            translated = codes[np.nan_to_num(values).astype(np.int64)]
            values = np.where(np.isnan(values), np.nan, translated)
        out[..., k] = values
    return out
