"""Zeros asked of a model that reads logs: how often a step is 0, beside how large it is otherwise.

Such a model forecasts what a step holds *when* it holds something; to it a zero is a gap. A shop
that has closed, a product sold one day in four and a branch that rests on Sundays are told apart
here, by the series' own history: the forecast is a mixture of 0, with a chance for each step ahead,
and of the model's distribution (a hurdle; Croston 1972, and Teunter, Syntetos & Babai 2011 for the
chance that fades as the zeros go on).
"""

from __future__ import annotations

import numpy as np

from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel
from forecasting.quantiles import normal_scores
from forecasting.resolved import Resolved

# What a value weighs beside one a season younger; a run of n zeros leaves this to the power n for
# the chance that the series lives.
FADING = 0.9
# Values that the rate of all steps counts for, beside those at one place in the season.
PRIOR = 1.0
# Chance of 0 from which a series that never showed anything else is forecast as 0.
SURE = 0.9
# Improbability of a run of zeros, in natural logs, from which on something has ended: 1 in 50. And
# the smallest chance of a zero that one place in the season counts with.
SURPRISED = 3.9
SMALLEST = 1e-3
# Longest season, in steps, whose places are looked at one by one.
LONGEST_SEASON = 400


def takes_zeros(config: Resolved) -> bool:
    """Whether a model reads logs, to which a zero is no number: it is a fact all the same."""
    return not config.model.y_transform.reads_zero


def stays_zero(window: Panel) -> Array:
    """[N] whether a series shows zeros and nothing else, often enough to expect nothing else."""
    zeros = np.bincount(window.series, weights=window.y == 0.0, minlength=len(window))
    others = np.bincount(
        window.series, weights=(window.y != 0.0) & ~np.isnan(window.y), minlength=len(window)
    )
    return np.asarray((others == 0) & (1.0 - FADING**zeros >= SURE))


def zero_chances(window: Panel, season: int, horizon: int) -> Float:
    """[N, H] the chance that each step ahead is 0; 0 for a series that shows none.

    Parameters
    ----------
    window : the rows that a forecast looks at; y is NaN where nothing was observed.
    season : steps; zeros that come at one place in it are expected there again.
    """
    count = len(window)
    season = season if 1 <= season <= LONGEST_SEASON else 1
    series, observed = window.series, ~np.isnan(window.y)
    # 1 for the last row of a series: how many steps before the first one ahead it lies.
    back = window.offsets[1:][series] - np.arange(window.rows)
    zero = observed & (window.y == 0.0)
    place = series * season + (-back) % season
    weight = np.where(observed, FADING ** ((back - 1) // season), 0.0)
    shape = (count, season)
    seen = np.bincount(place, weights=weight, minlength=count * season).reshape(shape)
    zeros = np.bincount(place, weights=weight * zero, minlength=count * season).reshape(shape)
    everywhere = zeros.sum(1) / np.maximum(seen.sum(1), 1e-12)
    rate = (zeros + PRIOR * everywhere[:, None]) / (seen + PRIOR)
    # Zeros since anything else was seen: a season of them and more is no pattern within it.
    newest = np.full(count, np.inf)
    alive = observed & ~zero
    np.minimum.at(newest, series[alive], back[alive])
    lately = zero & (back < newest[series])
    run = np.bincount(series, weights=lately, minlength=count)
    # ... and so is a shorter run that what was seen before it makes improbable.
    of_run = np.bincount(place, weights=weight * lately, minlength=count * season)
    before_seen = seen - of_run.reshape(shape)
    before_zeros = np.minimum(zeros - (seen - before_seen), before_seen)
    usual = before_zeros.sum(1) / np.maximum(before_seen.sum(1), 1e-12)
    expected = (before_zeros + PRIOR * usual[:, None]) / (before_seen + PRIOR)
    surprise = np.bincount(
        series[lately],
        weights=-np.log(np.maximum(expected.ravel()[place[lately]], SMALLEST)),
        minlength=count,
    )
    ended = (run >= season) | (surprise > SURPRISED)
    gone = np.where(ended, 1.0 - FADING**run, 0.0)
    chances = np.maximum(rate, gone[:, None])[:, np.arange(horizon) % season]
    any_zero = np.bincount(series, weights=zero, minlength=count) > 0
    return np.where(any_zero[:, None], chances, 0.0)


def with_zeros(
    values: Array, trained: tuple[float, ...], wanted: tuple[float, ...], chances: Float
) -> Array:
    """Quantiles of the mixture of 0, with its chance, and of positive values.

    Parameters
    ----------
    values : [N, H, Q] quantiles at the ``trained`` levels in a scale that rises with y, such as
        logs. chances : [N, H] of 0.

    Returns
    -------
    [N, H, W] in the scale of ``values``; -inf stands for 0.
    """
    knots = normal_scores(np.asarray(trained))
    out = np.empty((*chances.shape, len(wanted)))
    for k, level in enumerate(wanted):
        # Of the positive part, the level whose quantile is the mixture's.
        inner = (level - chances) / np.maximum(1.0 - chances, 1e-12)
        at = _scores(np.clip(inner, 1e-6, 1.0 - 1e-6))
        left = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, len(knots) - 2)
        share = (at - knots[left]) / (knots[left + 1] - knots[left])
        low, high = (np.take_along_axis(values, i[..., None], -1)[..., 0] for i in (left, left + 1))
        out[..., k] = np.where(inner > 0.0, low + (high - low) * share, -np.inf)
    return out


def _scores(levels: Float) -> Float:
    """The standard normal quantiles of any array of levels, each distinct one computed once."""
    distinct, index = np.unique(levels, return_inverse=True)
    return np.asarray(normal_scores(distinct)[index.reshape(levels.shape)])


def keep_from_below_zero(window: Panel, wanted: Array, mean: Array) -> None:
    """In place, for series that show nothing below 0, as no series did in training."""
    below = np.bincount(window.series, weights=window.y < 0.0, minlength=len(window)) > 0
    for values in (wanted, mean):
        values[~below] = np.maximum(values[~below], 0.0)
