"""The account of a choice: all that could have forecast, at the origins that decided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from forecasting.arrays import Array
from forecasting.evaluation.baselines import naive_arrays
from forecasting.evaluation.choice import Choice, Tried
from forecasting.selection.held_back import Evidence
from forecasting.selection.rule import lead
from forecasting.selection.starts import Start

# Where fewer forecasts can be compared, who is ahead is chance more often than not.
FEW = 30


def account(
    settled: Evidence,
    *,
    before: Evidence | None = None,
    starts: Sequence[Start] = (),
    begun: str = "",
) -> Choice:
    """What was tried on the way to networks and shares.

    Parameters
    ----------
    settled : what forecasts, and its shares. before : with the members that were dropped.
    starts : the ways to begin that were compared, the first the simplest; ``begun`` : which of
        them is kept.

    Returns
    -------
    Choice : its errors in the unit of `Evidence.errors_of`.
    """
    before = settled if before is None else before
    blend = settled.config.model.blend
    together = _errors(settled, blend)
    known = np.isfinite(together)
    rows = [Tried("beginning", s.name, s.score, None, s.name == begun) for s in starts]
    rows += _networks(before, settled, blend)
    rows += _classical(settled, blend)
    rows.append(Tried("together", "what is kept", _mean(together), 1.0, True))
    naive = [_naive(settled, number) for number in range(len(settled.origins))]
    error = _mean(settled.errors_of(naive)[0])
    rows.append(Tried("beside", "seasonal naive", error, 0.0, False))
    reasons = [*_beginnings(starts), *settled.reasons]
    if known.sum() < FEW:
        reasons.append(
            f"{int(known.sum())} forecasts are few: the errors above may well be chance, and rules "
            "for panels like this one decide more than they do"
        )
    return Choice(len(settled.origins), int(known.sum()), tuple(rows), tuple(reasons))


def unseen(why: str) -> Choice:
    """The account where nothing was held back."""
    return Choice(reasons=(why,))


def _networks(before: Evidence, settled: Evidence, blend: float) -> list[Tried]:
    """Each network alone, and all of them, without any classical forecast."""
    members = {id(network) for network in settled.networks}
    rows = []
    if len(before.networks) > 1:
        for number, network in enumerate(before.networks):
            name = f"{network.config.model.cell.replace('_', ' ').upper()} {number + 1}"
            error = _mean(_errors(before, 0.0, [number]))
            rows.append(Tried("networks", name, error, None, id(network) in members))
    if len(settled.networks) < len(before.networks):
        error = _mean(_errors(before, 0.0))
        rows.append(Tried("networks", f"all {len(before.networks)}", error, None, False))
    name = "those kept" if len(settled.networks) > 1 else "the network"
    error = _mean(_errors(settled, 0.0))
    rows.append(Tried("networks", name, error, round(1.0 - blend, 3), blend < 1.0))
    return rows


def _classical(settled: Evidence, blend: float) -> list[Tried]:
    """Each classical forecast alone, and their weighted mean."""
    if settled.config.model.counts:
        return []
    pool, rows = settled.pool, []
    if len(pool) > 1:
        weights = settled.config.model.pool
        for name in pool:
            alone = settled.with_pool({name: 1.0})
            share = round(blend * weights.get(name, 0.0), 3)
            rows.append(Tried("classical", name, _mean(_errors(alone, 1.0)), share, share > 0.0))
    name = "weighted mean" if len(pool) > 1 else next(iter(pool), "Theta")
    error = _mean(_errors(settled, 1.0))
    rows.append(Tried("classical", name, error, round(blend, 3), blend > 0.0))
    return rows


def _beginnings(starts: Sequence[Start]) -> list[str]:
    """A sentence for each way to begin that stood against the one kept so far."""
    sentences = []
    for one in starts[1:]:
        start = starts[0]
        gain, unsure = lead(start.errors, one.errors)
        if np.isfinite(gain):
            doubt = f"± {unsure:.1%}" if np.isfinite(unsure) else "in one forecast"
            sentences.append(
                f"beginning {one.name!r} errs {-gain:+.1%} {doubt} beside {start.name!r}: "
                "what is simpler is kept unless another is better by a standard error"
            )
    return sentences


def _errors(evidence: Evidence, blend: float, members: Sequence[int] | None = None) -> Array:
    points = [evidence.medians(k, blend, members) for k in range(len(evidence.origins))]
    return np.asarray(evidence.errors_of(points)[0])


def _naive(evidence: Evidence, number: int) -> Array:
    """[n, H] the last season, repeated."""
    history = evidence.origins[number].known
    season, horizon = evidence.config.season, evidence.config.horizon
    return np.asarray(naive_arrays(history.y, history.offsets, horizon, season, (0.5,)).mean)


def _mean(errors: Array) -> float:
    known = errors[np.isfinite(errors)]
    return float(known.mean()) if len(known) else float("nan")
