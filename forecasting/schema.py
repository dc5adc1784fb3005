"""The columns beside y, as a forecaster was trained with them. This module imports no torch."""

from __future__ import annotations

from functools import cached_property
from typing import Literal

import numpy as np

from forecasting.arrays import Array
from forecasting.settings import Settings


class Covariate(Settings):
    """A column beside y.

    Attributes
    ----------
    role : ``past`` (known up to the cutoff), ``future`` (known over the horizon too),
        ``static`` (one value per series).
    type : ``real`` or ``categorical``.
    encoding : how a categorical column enters the network.
    categories : the values seen in training, in code order from 1; code 0 is "unseen or missing".
    mean, std : standardisation of a real column, fitted on the training panel; a std of 0 says that
        it never moved there.
    low, high : the least and the largest value there; None in bundles that did not say.
    """

    name: str
    role: Literal["past", "future", "static"]
    type: Literal["real", "categorical"] = "real"
    encoding: Literal["embedding", "onehot"] = "embedding"
    categories: tuple[str, ...] = ()
    mean: float = 0.0
    std: float = 1.0
    low: float | None = None
    high: float | None = None


def moments(values: Array) -> dict[str, float]:
    """``mean`` and ``std`` of a real covariate by its values, missing ones left aside.

    Those of a panel that is not trained on yet: 1 for a ``std`` of 0, and neither for no value.

    Parameters
    ----------
    values : of any shape, NaN = missing.
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return {}
    spread = float(values.std())
    return {"mean": float(values.mean()), "std": spread if spread > 0 else 1.0}


class Schema(Settings):
    """The covariates a forecaster was trained with, in column order per role."""

    covariates: tuple[Covariate, ...] = ()

    def role(self, role: str) -> tuple[Covariate, ...]:
        """The covariates of one role, in the order of the panel's columns."""
        return tuple(c for c in self.covariates if c.role == role)

    @cached_property
    def past(self) -> tuple[Covariate, ...]:
        """Known up to now only: the columns of ``Panel.past``."""
        return self.role("past")

    @cached_property
    def future(self) -> tuple[Covariate, ...]:
        """Known ahead: the columns of ``Panel.future``."""
        return self.role("future")

    @cached_property
    def static(self) -> tuple[Covariate, ...]:
        """One value per series: the columns of ``Panel.static``."""
        return self.role("static")
