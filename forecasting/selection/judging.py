"""What follows from held-back origins: the share of Theta, idle members, correction and swing."""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array
from forecasting.selection.calibration import conformal_correction
from forecasting.selection.held_back import Evidence

# Shares of the Theta forecast to choose from, and forecasts from which on one is chosen.
BLENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
ENOUGH_TO_BLEND = 30


def correction_and_swing(evidence: Evidence) -> tuple[Array | None, dict[str, float]]:
    """The conformal correction [H, Q], and how the members' scores (MASE of the median) differ.

    The swing is empty where a score is not known.
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
    return conformal_correction(evidence.errors_in_spreads(), levels), swing


def idle_members(evidence: Evidence) -> list[int]:
    """Members with a solved median, where the ensemble's MASE is not below that of the others."""
    mix = evidence.config.training.linear_mix or ()
    numbers = range(len(evidence.networks))
    solved = [k for k in numbers if mix and mix[k % len(mix)] != "trained"]
    trained = [k for k in numbers if k not in solved]
    if not solved or evidence.mase() < evidence.mase(trained):
        return []
    return solved


def share_of_theta(evidence: Evidence) -> float:
    """The share of the Theta forecast halfway between the rule's and the one that errs least.

    Halfway, for origins are few, and judge networks that have read less than the final ones will.
    Scored by the error in steps and, where every value is positive, by sMAPE too, each relative to
    no blend. The rule's where no error is known.
    """
    rule = evidence.config.model.blend or 0.0
    scores = np.array([_means(evidence.errors_by_forecast(share)) for share in BLENDS])
    if not all_positive(evidence):
        scores = scores[:, :1]
    if not np.isfinite(scores).all():
        return rule
    total = (scores / np.maximum(scores[0], 1e-12)).sum(axis=1)
    return round((BLENDS[int(total.argmin())] + rule) / 2.0, 3)


def all_positive(evidence: Evidence) -> bool:
    """Whether every value known at the origins, and every one that came, is above 0."""
    values = [v for origin in evidence.origins for v in (origin.known.y, origin.actual)]
    return not any((v <= 0.0).any() for v in values)


def _means(errors: Array) -> Array:
    """[2] means of errors [2, F] over what is known; NaN where nothing is."""
    known = np.isfinite(errors)
    count = known.sum(axis=1)
    total = np.where(known, errors, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
