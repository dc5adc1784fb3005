"""What tests can find, and what can be made of it: keys for programs, words for people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np

from forecasting.arrays import Array


class Verdict(StrEnum):
    """What a check comes to; the values are what JSON, runs and pages show."""

    FINE = "fine"
    LOOK = "look at these series"
    RETRAIN = "retrain"
    UNTESTED = "too little history to tell"


@dataclass(frozen=True)
class Question:
    """What one test of all series together asks.

    Attributes
    ----------
    name, axis
        For people: in tables, and beside its chart.
    about
        Whether the data have changed or the forecasts have become worse.
    """

    name: str
    about: Literal["data", "accuracy"]
    axis: str


QUESTIONS = {
    "error": Question(
        "error of the forecasts",
        "accuracy",
        "ln of the error against each series' usual one",
    ),
    "bias": Question(
        "bias of the forecasts",
        "accuracy",
        "forecast − actual, in units of the series' scale",
    ),
    "coverage": Question("coverage of the interval", "accuracy", "share of actuals inside"),
    "level": Question(
        "level of the data",
        "data",
        "change of the typical level, in usual steps",
    ),
    "spread": Question("spread of the data", "data", "ln of the change of the typical step"),
}


@dataclass(frozen=True)
class Finding:
    """One test.

    Attributes
    ----------
    key
        Of what was asked, in `QUESTIONS`.
    value, low, high
        What was seen in the newest block, and where it should lie if nothing has changed.
    p
        Chance of something as extreme when nothing has changed; NaN when the test is impossible.
    allowed
        Its share of the false-alarm rate.
    blocks
        Earlier blocks it was held against.
    values : [B]
        Of every block, the newest first; NaN where a block is empty.
    """

    key: str
    value: float
    low: float
    high: float
    p: float
    allowed: float
    blocks: int
    values: Array

    @property
    def name(self) -> str:
        """What was asked, for people."""
        return QUESTIONS[self.key].name

    @property
    def about(self) -> Literal["data", "accuracy"]:
        """Whether it was asked of the data or of the forecasts."""
        return QUESTIONS[self.key].about

    @property
    def possible(self) -> bool:
        """Whether there was history enough to test."""
        return bool(np.isfinite(self.p))

    @property
    def alarm(self) -> bool:
        """Whether chance alone would hardly give as much."""
        return self.possible and self.p < self.allowed


@dataclass(frozen=True)
class SeriesFinding:
    """A series whose newest block does not follow from its earlier ones."""

    id: str
    kind: str  # level, spread or error
    change: float
    score: float
    p: float
