"""Forecasts in original units: from the trained levels to any level and means, zeros and bounds."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.prediction.zeros import (
    keep_from_below_zero,
    stays_zero,
    takes_zeros,
    with_zeros,
    zero_chances,
)
from forecasting.quantiles import interpolation, mean_nodes, mean_weights
from forecasting.resolved import Resolved
from forecasting.windows.geometry import Geometry


def in_original_units(
    panel: Panel,
    config: Resolved,
    values: Array,
    counted: Array | None,
    levels: tuple[float, ...],
    plain: bool,
) -> tuple[Array, Array]:
    """[N, h, W] at the wanted levels and [N, h] means, in the panel's units.

    Parameters
    ----------
    values : [N, h, Q] at the trained levels, in transformed units. counted : [N, H] means of
        counts. plain : whether all of the panel's values are there and above 0.
    """
    steps, trained = values.shape[1], config.model.quantile_levels
    transform = config.model.y_transform
    quantiles = transform.inverse(interpolation(trained, levels)(values))
    if counted is not None:
        # A distribution of counts knows its mean; quantiles of rare ones are all 0.
        quantiles, mean = np.maximum(quantiles, 0.0), counted[:, :steps]
    elif transform.grows:
        tail, weights = mean_nodes(trained)
        nodes = tail.roughly(values.reshape(-1, len(trained)))
        mean = (transform.inverse(nodes) @ weights).reshape(-1, steps)
    else:
        mean = transform.inverse(values) @ mean_weights(trained)
    if plain:
        if config.model.nonnegative:
            quantiles, mean = np.maximum(quantiles, 0.0), np.maximum(mean, 0.0)
        return quantiles, mean
    window = panel.tail(Geometry.of(config).rows)
    if config.model.nonnegative:
        keep_from_below_zero(window, quantiles, mean)
    if (window.y == 0.0).any():
        if takes_zeros(config):
            _mix_with_zeros(window, config, values, levels, quantiles, mean)
        still = stays_zero(window)
        quantiles[still], mean[still] = 0.0, 0.0
    return quantiles, mean


def _mix_with_zeros(
    window: Panel,
    config: Resolved,
    values: Array,
    levels: tuple[float, ...],
    wanted: Array,
    mean: Array,
) -> None:
    """Where a model of logs was given zeros: ``wanted`` and ``mean`` as mixtures, in place."""
    chances = zero_chances(window, config.season, values.shape[1])
    some = np.flatnonzero(chances.any(axis=1))
    mixed = with_zeros(values[some], config.model.quantile_levels, levels, chances[some])
    positive = config.model.y_transform.inverse(mixed)
    wanted[some] = np.where(np.isneginf(mixed), 0.0, positive)
    mean[some] *= 1.0 - chances[some]
