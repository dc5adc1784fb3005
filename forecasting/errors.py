"""Errors written for the person who must act: what was wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class GatecastError(Exception):
    """Base of every error a user can cause and mend; its text is one clear line."""


class DataError(GatecastError):
    """A table, panel or request that cannot be used as it is."""


class ConfigError(GatecastError):
    """A setting that is unknown, of the wrong type, or impossible beside another."""


class BundleError(GatecastError):
    """A saved forecaster that is damaged, incomplete, or newer than this program."""


class SignatureError(BundleError):
    """A bundle that is not signed by a key that is trusted.

    Attributes
    ----------
    reason : ``unsigned``, ``damaged_signature``, ``unknown_key``, ``revoked_key``,
        ``wrong_signature``, ``other_bundle``, ``other_version``, ``no_ring``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class TrainingError(GatecastError):
    """Training that cannot go on: a loss that is not a number, nothing to learn from."""


def listed(names: Sequence[str], most: int) -> str:
    """Names for a message: the first of them, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@dataclass(frozen=True)
class SeriesProblem:
    """One series that was refused while the others went on.

    Attributes
    ----------
    id : the series.
    code : short machine-readable name of the problem, such as ``missing_future_covariate``.
    detail : one sentence for a person.
    where : where in the series, for instance ``{"column": "promo", "step": 2}``.
    """

    id: str
    code: str
    detail: str
    where: dict[str, Any] = field(default_factory=dict)


class StartAnewError(TrainingError):
    """What is there cannot be trained on from a model: it must be trained anew."""
