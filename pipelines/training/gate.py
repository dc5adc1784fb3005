"""The gate: may the challenger become champion?

To add a check, write a function from a `Case` to an `Answer` and name it in `CHECKS`; its limit
stands in `pipelines.config.GateConfig`.

Every model is judged on the same frozen rolling origins. The challenger must be better than
seasonal naive, must not be worse than the champion by more than the margin (both by a paired
bootstrap interval, so that luck alone does not promote), and must pass the guards.

Models are compared on the delivered table alone; that the table itself still tells the story the
champion was trained on is what the checks in `OF_THE_DATA` ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import GatecastError
from forecasting.evaluation.bootstrap import paired_bootstrap
from pipelines.config import GateConfig
from pipelines.data.revision import UNKNOWN, Found, Revision

if TYPE_CHECKING:
    import pandas as pd


EXIT_REFUSED = 3
SMALLEST_SEGMENT = 5  # units; the mean of fewer says nothing about a segment


class RefusedError(GatecastError):
    """A model was not let into production, and without it the command cannot go on."""

    exit_code = EXIT_REFUSED


@dataclass(frozen=True)
class Judged:
    """How one model did on the frozen origins.

    Attributes
    ----------
    errors : [U] the gate's metric of each unit (a series, or a series at an origin when there
        are few series), in the same order for every model; NaN where it gave no forecast.
    coverage : share of actuals inside the checked interval; None when it gives no interval.
    bias : mean(forecast - actual) / mean(|actual|).
    finite : whether every number it gave was finite.
    refused : share of the units it gave no forecast for.
    latency_ms, size_mb : None for a baseline.
    """

    name: str
    errors: Array
    coverage: float | None = None
    bias: float | None = None
    finite: bool = True
    refused: float = 0.0
    latency_ms: float | None = None
    size_mb: float | None = None

    @property
    def mean(self) -> float:
        """Mean of `errors` over the units it has a forecast of; NaN where it has none."""
        return float(np.nanmean(self.errors)) if np.isfinite(self.errors).any() else float("nan")


@dataclass(frozen=True)
class Check:
    """One line of the decision.

    Attributes
    ----------
    key : its entry in `CHECKS`, for programs; ``name`` is for people.
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
        return bool(self.failed & OF_THE_DATA)

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


@dataclass(frozen=True)
class Before:
    """The delivery beside what the champion was trained on.

    Attributes
    ----------
    revision : what the delivery changed; None where there is nothing to compare with.
    problem : why nothing could be compared, though there is something.
    accepted : why a person takes the delivery as it is, whatever it changed; None: nobody does.
    """

    revision: Revision | None = None
    problem: str | None = None
    accepted: str | None = None


@dataclass(frozen=True)
class Case:
    """What is put before the gate.

    Attributes
    ----------
    challenger, champion, naive : judged on the same units; no champion when there is none yet.
    segments : [U] name of each unit's segment; None when the config names no column.
    drift : shift of the data against the champion's reference profile, as ``|ln ratio|``.
    champion_problem : why there is a champion that could not be judged.
    before : the data beside what the champion was trained on.
    """

    challenger: Judged
    champion: Judged | None
    naive: Judged
    config: GateConfig
    segments: Array | None = None
    drift: float | None = None
    champion_problem: str | None = None
    before: Before = Before()


NOTHING_BEFORE = Before()


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
    answers = {key: check(case) for key, check in CHECKS.items()}
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
    told = f"{check.name} {check.value} accepted: {reason}"
    return replace(check, passed=True, detail=told)


class Answer(NamedTuple):
    """What one check says, in words for people."""

    name: str
    value: str
    limit: str
    passed: bool
    detail: str = ""


def _finite(case: Case) -> Answer:
    model, config = case.challenger, case.config
    share = f"{100 * model.refused:.1f} % of units without a forecast"
    value = share if model.finite else "a value that is not finite"
    limit = f"all finite, {100 * config.max_refused:.1f} % without"
    passed = model.finite and model.refused <= config.max_refused
    return Answer("finite forecasts", value, limit, passed)


def _interval(a: Judged, b: Judged, config: GateConfig) -> tuple[float, float, float]:
    """Difference of the means a - b with its bootstrap interval, over units both forecast."""
    both = np.isfinite(a.errors) & np.isfinite(b.errors)
    if not both.any():
        return float("nan"), float("nan"), float("nan")
    return paired_bootstrap(
        a.errors[both], b.errors[both], samples=config.samples, level=config.level, seed=config.seed
    )


def _better_than_naive(case: Case) -> Answer:
    model, naive, config = case.challenger, case.naive, case.config
    _, low, high = _interval(model, naive, config)
    return Answer(
        f"{config.metric} against seasonal naive",
        f"{model.mean:.4f} - {naive.mean:.4f}, interval [{low:+.4f}, {high:+.4f}]",
        "interval under 0",
        bool(high < 0),
        f"{config.metric} {model.mean:.3f} against seasonal naive {naive.mean:.3f}",
    )


def _not_worse(case: Case) -> Answer:
    model, champion, config = case.challenger, case.champion, case.config
    name = f"{config.metric} against the champion"
    if case.champion_problem is not None:
        return Answer(name, f"not comparable: {case.champion_problem}", "comparable", False)
    if champion is None:
        return Answer(name, "no champion yet", "-", True)
    _, low, high = _interval(model, champion, config)
    allowed = config.margin * champion.mean
    return Answer(
        name,
        f"{model.mean:.4f} - {champion.mean:.4f}, interval [{low:+.4f}, {high:+.4f}]",
        f"interval under {allowed:+.4f} ({100 * config.margin:g} % margin)",
        bool(high <= allowed),
        f"{champion.name} {champion.mean:.3f}",
    )


def _coverage(case: Case) -> Answer | None:
    coverage, config = case.challenger.coverage, case.config
    if coverage is None:
        return None
    low, high = config.coverage
    return Answer(
        f"coverage of the {100 * config.interval:g} % interval",
        f"{100 * coverage:.1f} %",
        f"{100 * low:g} to {100 * high:g} %",
        bool(low <= coverage <= high),
    )


def _bias(case: Case) -> Answer | None:
    bias, limit = case.challenger.bias, case.config.max_bias
    if bias is None:
        return None
    passed = bool(abs(bias) <= limit)
    return Answer("relative bias", f"{100 * bias:+.1f} %", f"within {100 * limit:g} %", passed)


def _worst_segment(case: Case) -> Answer | None:
    if case.segments is None:
        return None
    model, segments = case.challenger, case.segments.astype(str)
    reference = case.champion if case.champion is not None else case.naive
    worst, loss = "", -np.inf
    both = np.isfinite(model.errors) & np.isfinite(reference.errors)
    for name in np.unique(segments[both]):
        inside = both & (segments == name)
        if inside.sum() < SMALLEST_SEGMENT:
            continue
        base = float(reference.errors[inside].mean())
        share = float(model.errors[inside].mean()) / base - 1.0 if base > 0 else 0.0
        if share > loss:
            worst, loss = name, share
    if not worst:
        return None
    return Answer(
        "worst segment",
        f"{worst}: {100 * loss:+.1f} % against {reference.name}",
        f"{100 * case.config.max_segment_loss:+.0f} %",
        bool(loss <= case.config.max_segment_loss),
    )


def _latency(case: Case) -> Answer | None:
    return _limit("latency", case.challenger.latency_ms, case.config.max_latency_ms, "ms")


def _bundle_size(case: Case) -> Answer | None:
    return _limit("size", case.challenger.size_mb, case.config.max_size_mb, "MB")


def _shift(case: Case) -> Answer | None:
    return _limit("shift of the data", case.drift, case.config.max_shift, "|ln|")


def _limit(name: str, value: float | None, limit: float, unit: str) -> Answer | None:
    if value is None:
        return None
    passed = bool(np.isfinite(value) and value <= limit)
    return Answer(name, f"{value:.3g} {unit}", f"{limit:g} {unit}", passed)


def _comparable(case: Case) -> Answer | None:
    before = case.before
    if before.problem is None:
        return None
    return Answer("what came before", f"not comparable: {before.problem}", "comparable", False)


def _lost(case: Case) -> Answer | None:
    return _share(case, "series lost", lambda r: r.lost, case.config.max_lost)


def _new(case: Case) -> Answer | None:
    return _share(case, "series new", lambda r: r.new, case.config.max_new)


def _revised(case: Case) -> Answer | None:
    return _share(case, "values revised", lambda r: r.revised, case.config.max_revised)


def _shifted(case: Case) -> Answer | None:
    name = "series moved against their stamps"
    return _share(case, name, lambda r: r.shifted, case.config.max_shifted)


def _jumped(case: Case) -> Answer | None:
    return _share(case, "series whose clock jumped", lambda r: r.jumped, case.config.max_jumped)


def _stale(case: Case) -> Answer | None:
    return _share(case, "series fallen behind", lambda r: r.stale, case.config.max_stale)


def _share(case: Case, name: str, part: Callable[[Revision], Found], limit: float) -> Answer | None:
    if case.before.revision is None:
        return None
    found = part(case.before.revision)
    value = f"{100 * found.share:.1f} % ({found.count:,} of {found.of:,}"
    value += f", such as {found.example!r})" if found.example else ")"
    return Answer(name, value, f"{100 * limit:g} %", bool(found.share <= limit))


def _ahead(case: Case) -> Answer | None:
    revision = case.before.revision
    if revision is None:
        return None
    limit = case.config.max_ahead
    limit = revision.horizon if limit is None else limit
    value = f"{revision.ahead:,} steps" + (f" ({revision.ahead_id!r})" if revision.ahead else "")
    return Answer("farthest row ahead", value, f"{limit:,} steps", revision.ahead <= limit)


def _newest(case: Case) -> Answer | None:
    change = case.before.revision.newest if case.before.revision is not None else UNKNOWN
    if not np.isfinite(change.value):
        return None
    limit = max(case.config.max_newest, change.usual)
    value, allowed = f"{np.exp(change.value):.3g} times", f"{np.exp(-limit):.3g} to"
    return Answer(
        "level of the newest rows",
        f"{value} the usual",
        f"{allowed} {np.exp(limit):.3g}",
        bool(abs(change.value) <= limit),
    )


def _unlike(case: Case) -> Answer | None:
    change = case.before.revision.unlike if case.before.revision is not None else UNKNOWN
    if not np.isfinite(change.value):
        return None
    limit = max(case.config.max_unlike, change.usual)
    name, value = "series unlike themselves", f"{change.value:+.3g} |ln|"
    return Answer(name, value, f"{limit:.3g} |ln|", bool(change.value <= limit))


# In the order of the table that people read. A check that has nothing to look at gives None.
CHECKS: dict[str, Callable[[Case], Answer | None]] = {
    "finite": _finite,
    "naive": _better_than_naive,
    "champion": _not_worse,
    "coverage": _coverage,
    "bias": _bias,
    "segment": _worst_segment,
    "latency": _latency,
    "size": _bundle_size,
    "shift": _shift,
    "before": _comparable,
    "lost": _lost,
    "new": _new,
    "revised": _revised,
    "shifted": _shifted,
    "jumped": _jumped,
    "stale": _stale,
    "ahead": _ahead,
    "newest": _newest,
    "unlike": _unlike,
}
# Those that look at the data and not at the model: a person may know that the data are right.
OF_THE_DATA = frozenset(list(CHECKS)[list(CHECKS).index("shift") :])
