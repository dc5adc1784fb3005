"""How much of a forecast is classical, and which: shares and weights by held-back origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.config import Classical
from forecasting.selection.held_back import Evidence
from forecasting.selection.rule import lead

# Shares of the classical forecasts to choose from.
BLENDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
# Picks that the weights of a pool are made of.
PICKS = 20
# Weights of a pool up to this are not worth their time.
LEAST_WEIGHT = 0.01
# Forecasts at held-back origins that say as much as a rule does; most that they may say of a share.
LIKE_A_RULE = 100
MOST_TRUST = 0.5
# Of a start as it is: a lead of so many standard errors is believed halfway, from so many forecasts
# on.
HALF_SURE = 3.0
LEAST_FORECASTS = 8


@dataclass(frozen=True)
class Blend:
    """A share of the classical forecasts, and what it lies between.

    Attributes
    ----------
    rule : the settings' own. best : the one that errs least at held-back origins. trust : how far
        it is to be believed against the rule, 0 to 1.
    """

    rule: float
    best: float
    trust: float

    @property
    def share(self) -> float:
        """Of the median, 0 to 1."""
        if not self.trust:
            return self.rule
        return round(self.trust * self.best + (1.0 - self.trust) * self.rule, 3)


def share_of_classical(evidence: Evidence) -> Blend:
    """The share of the classical forecasts between the rule's and the one that errs least.

    The more forecasts are known the nearer to the latter, at most halfway: they judge networks that
    have read less than the final ones will. A start as it is reads no more: there a lead that is
    beyond chance is believed as far as it is. Scored by the error in steps and, where every value
    is positive, by sMAPE too, each relative to no blend. The rule's where no error is known.
    """
    rule = evidence.config.model.blend
    errors = [evidence.errors_by_forecast(share) for share in BLENDS]
    scores = np.array([_means(each) for each in errors])
    if not all_positive(evidence):
        scores = scores[:, :1]
    if not np.isfinite(scores).all():
        return Blend(rule, rule, 0.0)
    place = int((scores / np.maximum(scores[0], 1e-12)).sum(axis=1).argmin())
    trust = min(_trust(errors[0]), MOST_TRUST)
    if evidence.config.training.start == "shipped":
        kinds = scores.shape[1]
        ruled = evidence.errors_by_forecast(rule)
        trust = max(trust, _lead_as_trust(ruled[:kinds], errors[place][:kinds]))
    return Blend(rule, BLENDS[place], trust)


def weights_of_pool(evidence: Evidence) -> dict[Classical, float]:
    """Weights of the classical forecasts, by name: what errs least, drawn towards equal weights.

    Forecast after forecast goes into a bag, each time the one with which the bag's mean errs least;
    the shares of the bag are the weights. The fewer forecasts are known, the nearer to equal ones.
    Scored as `share_of_classical` is, relative to equal weights. The settings' own where no error
    is known.

    Source: Caruana, Niculescu-Mizil, Crew & Ksikes (2004), "Ensemble selection from libraries of
    models".
    """
    pool, transform = evidence.config.model.pool, evidence.config.model.y_transform
    names, kinds = list(pool), 2 if all_positive(evidence) else 1
    if len(names) < 2:
        return pool
    alone = [evidence.with_pool({name: 1.0}) for name in names]
    medians = [
        np.stack([transform.forward(one.medians(k, 1.0)) for one in alone])
        for k in range(len(evidence.origins))
    ]

    def scores(weights: Array) -> Array:
        points = [transform.inverse(np.tensordot(weights, each, axes=1)) for each in medians]
        return _means(evidence.errors_of(points))[:kinds]

    equal = np.full(len(names), 1.0 / len(names))
    unit = scores(equal)
    if not np.isfinite(unit).all():
        return pool
    bag = np.zeros(len(names))
    for size in range(1, PICKS + 1):
        losses = [
            (scores((bag + pick) / size) / np.maximum(unit, 1e-12)).sum()
            for pick in np.eye(len(names))
        ]
        bag[int(np.argmin(losses))] += 1.0
    trust = _trust(evidence.errors_of([each[0] for each in medians]))
    shares = trust * bag / PICKS + (1.0 - trust) * equal
    large = {name: float(w) for name, w in zip(names, shares, strict=True) if w > LEAST_WEIGHT}
    total = sum(large.values())
    return {name: weight / total for name, weight in large.items()}


def with_shares(evidence: Evidence, *, blend: bool, pool: bool) -> Evidence:
    """The evidence under the classical forecasts' weights (``pool``), and share, it asks for."""
    if pool and len(evidence.config.model.pool) > 1:
        evidence = evidence.with_pool(weights_of_pool(evidence)).because(
            "the classical forecasts are weighted by what errs least together, drawn towards equal "
            "weights, the more so the fewer forecasts there are"
        )
    if not blend:
        return evidence
    share = share_of_classical(evidence)
    return evidence.with_blend(share.share).because(
        f"the classical forecasts have {share.share:.0%} of the median: {share.best:.0%} errs "
        f"least here, the rule for such a panel is {share.rule:.0%}, and the former is "
        f"trusted {share.trust:.0%} against it"
    )


def all_positive(evidence: Evidence) -> bool:
    """Whether every value known at the origins, and every one that came, is above 0."""
    values = [v for origin in evidence.origins for v in (origin.known.y, origin.actual)]
    return not any((v <= 0.0).any() for v in values)


def _trust(errors: Array) -> float:
    """How far errors [2, F] are to be believed against a rule, 0 to 1."""
    count = int(np.isfinite(errors[0]).sum())
    return count / (count + LIKE_A_RULE)


def _lead_as_trust(rule: Array, best: Array) -> float:
    """How far the lead of the best over the rule, errors [K, F] each, is beyond chance, 0 to 1."""
    gain, unsure = lead(rule, best)
    count = int(np.isfinite(rule + best).all(axis=0).sum())
    if count < LEAST_FORECASTS or not gain > 0.0:
        return 0.0
    return gain**2 / (gain**2 + (HALF_SURE * unsure) ** 2)


def _means(errors: Array) -> Array:
    """[2] means of errors [2, F] over what is known; NaN where nothing is."""
    known = np.isfinite(errors)
    count = known.sum(axis=1)
    total = np.where(known, errors, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
