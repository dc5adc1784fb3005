"""What follows from held-back origins: correction and swing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.arrays import Array
from forecasting.data.panel import Panel
from forecasting.networks import ForecastNetwork
from forecasting.resolved import Resolved
from forecasting.selection.calibration import (
    ENOUGH_FORECASTS,
    beside,
    conformal_correction,
    forecasts_in,
    widening,
)
from forecasting.selection.held_back import Evidence, Origin

# Origins all along a history at which the classical forecasts' errors are looked at.
ROLLED = 24
# Rows that stand before the first of them, at least, beside a season and two.
LEAST_ROWS = 6
# Rows of a panel up to which they are: more have enough origins that were held back.
MOST_ROWS = 200_000


def correction_and_swing(
    evidence: Evidence,
    panel: Panel,
    otherwise: Array | None = None,
    errors: Sequence[Array] | None = None,
) -> tuple[Array | None, dict[str, float]]:
    """The correction [H, Q], and how the members' scores (MASE of the median) differ.

    The swing is empty where a score is not known.

    Parameters
    ----------
    panel : all rows that are known, to look at errors all along them where held-back origins are
        few. otherwise : the correction where the origins say nothing of one.
    errors : per origin [n, H, Q], in spreads, to learn the correction from; None: the evidence's.
    """
    config, count = evidence.config, len(evidence.networks)
    score, swing = evidence.mase(), {}
    members = [evidence.mase([m]) for m in range(count)] if count > 1 else [score]
    if np.isfinite([*members, score]).all():
        swing = {
            "min": float(np.min(members)),
            "median": float(np.median(members)),
            "max": float(np.max(members)),
            "ensemble": score,
        }
    if not config.calibrate:
        return None, swing
    levels = config.model.quantile_levels
    errors = evidence.errors_in_spreads() if errors is None else errors
    held, forecasts = conformal_correction(errors, levels), forecasts_in(errors)
    if held is None and otherwise is not None:
        return otherwise, swing
    if forecasts >= ENOUGH_FORECASTS:
        return held, swing
    return beside(held, forecasts, rolled_widening(evidence.networks, panel, config)), swing


def rolled_widening(
    networks: list[ForecastNetwork], panel: Panel, config: Resolved
) -> Array | None:
    """What intervals are to be widened by, [H, Q], for the classical forecasts' errors all along.

    The networks have seen these rows, the classical forecasts have not: medians are theirs, and
    how far the quantiles lie from them the networks'. None where histories are too short.
    """
    if not config.calibrate or config.training.validation == "none":
        return None
    if config.model.counts or panel.rows > MOST_ROWS:
        return None
    most = int(np.median(panel.lengths)) - max(config.season + 2, LEAST_ROWS)
    if most < 1:
        return None
    backs = sorted({int(back) for back in np.linspace(1, most, ROLLED)}, reverse=True)
    evidence = Evidence.of(networks, Origin.each(panel, config, backs), config)
    # Where none has a share, what the networks erred by is all there is.
    blend = 1.0 if config.model.pool or config.model.blend else 0.0
    return widening(evidence.errors_in_spreads(blend), config.model.quantile_levels)
