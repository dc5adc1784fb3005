"""The gate: may the challenger become champion?

To add a check, write a function from a `Case` to an `Answer` and name it in the table of
`model_checks` or `data_checks`; its limit stands in `pipelines.config.GateConfig`.

Every model is judged on the same frozen rolling origins. The challenger must be better than
seasonal naive, must not be worse than the champion by more than the margin (both by a paired
bootstrap interval, so that luck alone does not promote), and must pass the guards.

Models are compared on the delivered table alone; that the table itself still tells the story the
champion was trained on is what the checks of the data ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from forecasting.arrays import Array
from forecasting.errors import GatecastError
from pipelines.config import GateConfig
from pipelines.training.case import NOTHING_BEFORE, Answer, Before, Case, Judged
from pipelines.training.data_checks import OF_THE_DATA
from pipelines.training.model_checks import OF_THE_MODEL

if TYPE_CHECKING:
    import pandas as pd


EXIT_REFUSED = 3


def all_checks() -> dict[str, Callable[[Case], Answer | None]]:
    """The checks by key, in the order of the table that people read."""
    return {**OF_THE_MODEL, **OF_THE_DATA}


class RefusedError(GatecastError):
    """A model was not let into production, and without it the command cannot go on."""

    exit_code = EXIT_REFUSED


@dataclass(frozen=True)
class Check:
    """One line of the decision.

    Attributes
    ----------
    key : its entry in its table, for programs; ``name`` is for people.
    """

    key: str
    name: str
    value: str
    limit: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Decision:
    """What the gate said, and why."""

    challenger: str
    champion: str | None
    metric: str
    checks: tuple[Check, ...] = field(default_factory=tuple)

    @property
    def promote(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> frozenset[str]:
        """Keys of the checks that did not pass."""
        return frozenset(check.key for check in self.checks if not check.passed)

    @property
    def doubts_the_data(self) -> bool:
        """Whether what failed is, among others, the data: nothing should be forecast from them."""
        return not self.failed.isdisjoint(OF_THE_DATA)

    @property
    def because(self) -> str:
        """What decided: the checks that failed, or what the challenger was better than."""
        failed = [c for c in self.checks if not c.passed]
        if failed:
            return "; ".join(f"{c.name} {c.value} (limit {c.limit})" for c in failed)
        return "; ".join(c.detail for c in self.checks if c.detail)

    @property
    def reason(self) -> str:
        """One sentence: the decision and what decided. Whether it was acted on is not in it."""
        return f"{'passed' if self.promote else 'refused'}: {self.because}"

    def table(self) -> pd.DataFrame:
        """The decision as a table: check, value, limit, passed, detail."""
        import pandas as pd

        rows = [
            {
                "check": c.name,
                "value": c.value,
                "limit": c.limit,
                "passed": "yes" if c.passed else "NO",
                "detail": c.detail,
            }
            for c in self.checks
        ]
        return pd.DataFrame(rows, columns=["check", "value", "limit", "passed", "detail"])

    def markdown(self) -> str:
        """The same for the description of a model version."""
        lines = ["| check | value | limit | passed |", "|---|---|---|---|"]
        lines += [
            f"| {c.name} | {_cell(c.value)} | {_cell(c.limit)} "
            f"| {'yes' if c.passed else '**no**'} |"
            for c in self.checks
        ]
        return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that cannot end its cell of a Markdown table."""
    return text.replace("|", "\\|")


def decide(
    challenger: Judged,
    champion: Judged | None,
    naive: Judged,
    config: GateConfig,
    *,
    segments: Array | None = None,
    drift: float | None = None,
    champion_problem: str | None = None,
    before: Before = NOTHING_BEFORE,
) -> Decision:
    """Judge a challenger.

    Parameters
    ----------
    challenger, champion, naive
        Judged on the same units; `champion` is None when there is none yet.
    segments : [U]
        Name of each unit's segment.
    drift
        Shift of the data against the champion's reference profile, as ``|ln ratio|``.
    champion_problem
        Why there is a champion that could not be judged. Then only a person may replace it.
    before
        The data beside what the champion was trained on, and whether a person accepts the change.
    """
    case = Case(challenger, champion, naive, config, segments, drift, champion_problem, before)
    answers = {key: check(case) for key, check in all_checks().items()}
    checks = [
        _accepted(Check(key, *answer), before.accepted)
        for key, answer in answers.items()
        if answer is not None
    ]
    name = champion.name if champion is not None else None
    return Decision(challenger.name, name, config.metric, tuple(checks))


def _accepted(check: Check, reason: str | None) -> Check:
    """A check of the data that failed passes where a person takes the data as they are."""
    if check.passed or reason is None or check.key not in OF_THE_DATA:
        return check
    detail = f"{check.name} {check.value} accepted: {reason}"
    return replace(check, passed=True, detail=detail)
