"""What held-back origins decide of networks: one procedure, each origin read once.

Candidates are judged by one rule (`rule`): what is simpler stays unless another is better by a
standard error of the difference. The errors that calibrate intervals are those of rows that shares
and weights were not chosen by: each origin's under what the others choose; of a single one, each
half of the series under what the other half chooses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from forecasting.arrays import Array
from forecasting.selection.held_back import Evidence
from forecasting.selection.shares import with_shares

# Parts that held-back origins are taken in turn in, at most: neighbours go together.
MOST_PARTS = 4


@dataclass(frozen=True)
class Decider:
    """What a user left to held-back origins.

    Attributes
    ----------
    blend, pool : the share of classical forecasts, and their weights. members : whether networks
        whose linear path is solved forecast along.
    """

    blend: bool = False
    pool: bool = False
    members: bool = False

    def decide(self, evidence: Evidence) -> Decided:
        """Members first, then the shares beside those."""
        chosen = self._kept(evidence) if self.members else evidence
        return Decided(self, evidence, chosen, self.share(chosen))

    def share(self, evidence: Evidence) -> Evidence:
        """The evidence under the shares it asks for."""
        return with_shares(evidence, blend=self.blend, pool=self.pool)

    def _kept(self, evidence: Evidence) -> Evidence:
        """Without members that are idle."""
        config, count = evidence.config, len(evidence.networks)
        idle = idle_members(evidence)
        if not idle:
            return evidence
        members = [m for m in range(count) if m not in idle]
        settings = {"linear_mix": (), "members": len(members)}
        return evidence.only(members, config.replace(training=settings)).because(
            f"{len(idle)} of {count} networks have a solved linear path and "
            "err no less together with the others than those do alone: they are dropped"
        )


@dataclass(frozen=True)
class Decided:
    """What was decided, and what by.

    Attributes
    ----------
    before : with every member. asked : without idle ones, shares as rules have them.
    settled : under the shares that were chosen.
    """

    decider: Decider
    before: Evidence
    asked: Evidence
    settled: Evidence

    def unseen_errors(self) -> list[Array]:
        """Per origin [n, H, Q], in spreads: each under shares that its rows had no say in."""
        parts = _parts(self.asked) if self.decider.blend or self.decider.pool else []
        if len(parts) < 2:
            return self.settled.errors_in_spreads()
        errors: list[Array] = []
        for part in parts:
            others = [~mask for mask in part]
            config = self.decider.share(_seen(self.asked, others)).config
            errors_there = replace(self.settled, config=config).errors_in_spreads()
            errors = errors or [np.full_like(each, np.nan) for each in errors_there]
            for whole, each, mask in zip(errors, errors_there, part, strict=True):
                whole[mask] = each[mask]
        return errors


def idle_members(evidence: Evidence) -> list[int]:
    """Members with a solved median, where the ensemble's MASE is not below that of the others."""
    mix = evidence.config.training.linear_mix
    numbers = range(len(evidence.networks))
    solved = [k for k in numbers if mix and mix[k % len(mix)] != "trained"]
    trained = [k for k in numbers if k not in solved]
    if not solved or evidence.mase() < evidence.mase(trained):
        return []
    return solved


def _parts(evidence: Evidence) -> list[list[Array]]:
    """Which series count at each origin, [n] each, in every part; nothing is in two of them."""
    counts = [len(origin.known) for origin in evidence.origins]
    if len(counts) == 1:
        odd = np.arange(counts[0]) % 2 == 1
        return [[odd], [~odd]] if counts[0] > 1 else []
    groups = np.array_split(np.arange(len(counts)), min(len(counts), MOST_PARTS))
    return [[np.full(n, k in group) for k, n in enumerate(counts)] for group in groups]


def _seen(evidence: Evidence, masks: Sequence[Array]) -> Evidence:
    """The evidence as if nothing had come of series that do not count."""
    origins = [
        replace(origin, actual=np.where(mask[:, None], origin.actual, np.nan))
        for origin, mask in zip(evidence.origins, masks, strict=True)
    ]
    return replace(evidence, origins=tuple(origins))
