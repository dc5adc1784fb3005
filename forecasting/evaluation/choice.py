"""What could have forecast a panel, how each erred at held-back origins, and why one is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import pandas as pd

# What is asked, in the order in which it is decided.
QUESTIONS = ("beginning", "networks", "classical", "together", "beside")


@dataclass(frozen=True)
class Tried:
    """One that could have forecast.

    Attributes
    ----------
    question : of `QUESTIONS`. name : its own.
    error : mean absolute error at the held-back origins, in mean seasonal differences of the
        histories (MASE; plain differences where most histories hold no season twice); NaN unknown.
    share : of the median that is forecast, 0 to 1; None where it is not a mean of this and others.
    kept : whether what forecasts is made of it.
    """

    question: str
    name: str
    error: float
    share: float | None
    kept: bool


@dataclass(frozen=True)
class Choice:
    """How a forecaster was chosen.

    Attributes
    ----------
    origins, forecasts : held-back origins, and forecasts of a series from one of them with any
        value to compare with; 0 where nothing could be held back.
    tried : what could have forecast. reasons : a sentence for each decision.
    swing : min, median and max score of the networks there (MASE), and of all together
        (``ensemble``); of each way to begin ``start_shipped``, ``start_tuned``, ``start_none``.
    """

    origins: int = 0
    forecasts: int = 0
    tried: tuple[Tried, ...] = ()
    reasons: tuple[str, ...] = ()
    swing: dict[str, float] = field(default_factory=dict)

    @property
    def table(self) -> pd.DataFrame:
        """``question, candidate, error, share, kept``, a row for each that was tried."""
        import pandas as pd

        return pd.DataFrame(
            {
                "question": [t.question for t in self.tried],
                "candidate": [t.name for t in self.tried],
                "error": [t.error for t in self.tried],
                "share": [math.nan if t.share is None else t.share for t in self.tried],
                "kept": [t.kept for t in self.tried],
            }
        )

    def __str__(self) -> str:
        lines = [self._head()]
        width = max((len(t.name) for t in self.tried), default=0)
        for question in QUESTIONS:
            rows = [t for t in self.tried if t.question == question]
            lines += [f"  {question}"] * bool(rows)
            lines += [
                f"    {'→' if t.kept else ' '} {t.name:<{width}}  {_error(t.error)}  {_share(t)}"
                for t in rows
            ]
        return "\n".join(line.rstrip() for line in [*lines, *(f"  {r}" for r in self.reasons)])

    def markdown(self) -> str:
        """The head, a table, and the reasons as a list."""
        lines = [self._head(), ""]
        if self.tried:
            lines += ["| question | candidate | error | share | kept |", "|---|---|--:|--:|:-:|"]
            lines += [
                f"| {t.question} | {t.name} | {_error(t.error)} | {_share(t)} "
                f"| {'✓' if t.kept else ''} |"
                for t in self.tried
            ]
            lines.append("")
        return "\n".join([*lines, *(f"- {reason}" for reason in self.reasons)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(t.question)}</td><td>{escape(t.name)}</td>"
            f"<td>{_error(t.error)}</td><td>{_share(t)}</td><td>{'✓' if t.kept else ''}</td></tr>"
            for t in self.tried
        )
        head = "<tr><th>question<th>candidate<th>error<th>share<th>kept</tr>" if rows else ""
        reasons = "".join(f"<li>{escape(reason)}</li>" for reason in self.reasons)
        return (
            f"<div><strong>{escape(self._head())}</strong><table>{head}{rows}</table>"
            f"<ul>{reasons}</ul></div>"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values, the swing apart; an error that is not known is None."""
        trials = [
            {**asdict(t), "error": t.error if math.isfinite(t.error) else None} for t in self.tried
        ]
        return {
            "origins": self.origins,
            "forecasts": self.forecasts,
            "tried": trials,
            "reasons": list(self.reasons),
        }

    @classmethod
    def of_json(cls, told: Mapping[str, Any] | None) -> Self:
        """From `to_json`; empty for None, as bundles of before hold."""
        if not told:
            return cls()
        trials = tuple(
            Tried(**{**t, "error": math.nan if t["error"] is None else t["error"]})
            for t in told["tried"]
        )
        return cls(told["origins"], told["forecasts"], trials, tuple(told["reasons"]))

    def because(self, reasons: Sequence[str]) -> Self:
        """The same with more reasons."""
        return replace(self, reasons=(*self.reasons, *reasons))

    def _head(self) -> str:
        if not self.origins:
            return "nothing was held back, so nothing was tried"
        plural = "s" * (self.origins > 1)
        return f"tried at {self.origins} held-back origin{plural}, {self.forecasts:,} forecasts"


def _error(error: float) -> str:
    return f"{error:.3f}" if math.isfinite(error) else "unknown"


def _share(one: Tried) -> str:
    return "" if one.share is None else f"{one.share:.0%}"
