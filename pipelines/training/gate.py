"""The gate: may the challenger become champion?

Every model is judged on the same frozen rolling origins. The challenger must be better than
seasonal naive, must not be worse than the champion by more than the margin (both by a paired
bootstrap interval, so that luck alone does not promote), and must pass the guards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import GatecastError
from forecasting.evaluation.bootstrap import paired_bootstrap
from pipelines.config import GateConfig

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
    """One line of the decision."""

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
    def reason(self) -> str:
        """One sentence: what decided."""
        failed = [c for c in self.checks if not c.passed]
        if failed:
            return "refused: " + "; ".join(f"{c.name} {c.value} (limit {c.limit})" for c in failed)
        return "promoted: " + "; ".join(c.detail for c in self.checks if c.detail)

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
    """
    checks = [
        _finite(challenger, config),
        _better_than_naive(challenger, naive, config),
        _not_worse(challenger, champion, config, champion_problem),
    ]
    checks += _coverage(challenger, config)
    checks += _bias(challenger, config)
    reference = champion if champion is not None else naive
    checks += _worst_segment(challenger, reference, config, segments)
    if challenger.latency_ms is not None:
        checks.append(_limit("latency", challenger.latency_ms, config.max_latency_ms, "ms"))
    if challenger.size_mb is not None:
        checks.append(_limit("size", challenger.size_mb, config.max_size_mb, "MB"))
    if drift is not None:
        checks.append(_limit("shift of the data", drift, config.max_shift, "|ln|"))
    name = champion.name if champion is not None else None
    return Decision(challenger.name, name, config.metric, tuple(checks))


def _finite(model: Judged, config: GateConfig) -> Check:
    share = f"{100 * model.refused:.1f} % of units without a forecast"
    value = share if model.finite else "a value that is not finite"
    limit = f"all finite, {100 * config.max_refused:.1f} % without"
    return Check("finite forecasts", value, limit, model.finite and _under(model, config))


def _under(model: Judged, config: GateConfig) -> bool:
    return model.refused <= config.max_refused


def _interval(a: Judged, b: Judged, config: GateConfig) -> tuple[float, float, float]:
    """Difference of the means a - b with its bootstrap interval, over units both forecast."""
    both = np.isfinite(a.errors) & np.isfinite(b.errors)
    if not both.any():
        return float("nan"), float("nan"), float("nan")
    return paired_bootstrap(
        a.errors[both], b.errors[both], samples=config.samples, level=config.level, seed=config.seed
    )


def _better_than_naive(model: Judged, naive: Judged, config: GateConfig) -> Check:
    _, low, high = _interval(model, naive, config)
    return Check(
        f"{config.metric} against seasonal naive",
        f"{model.mean:.4f} - {naive.mean:.4f}, interval [{low:+.4f}, {high:+.4f}]",
        "interval under 0",
        bool(high < 0),
        f"{config.metric} {model.mean:.3f} against seasonal naive {naive.mean:.3f}",
    )


def _not_worse(
    model: Judged, champion: Judged | None, config: GateConfig, problem: str | None
) -> Check:
    name = f"{config.metric} against the champion"
    if problem is not None:
        return Check(name, f"not comparable: {problem}", "comparable", False)
    if champion is None:
        return Check(name, "no champion yet", "-", True)
    _, low, high = _interval(model, champion, config)
    allowed = config.margin * champion.mean
    return Check(
        name,
        f"{model.mean:.4f} - {champion.mean:.4f}, interval [{low:+.4f}, {high:+.4f}]",
        f"interval under {allowed:+.4f} ({100 * config.margin:g} % margin)",
        bool(high <= allowed),
        f"{champion.name} {champion.mean:.3f}",
    )


def _coverage(model: Judged, config: GateConfig) -> list[Check]:
    if model.coverage is None:
        return []
    low, high = config.coverage
    return [
        Check(
            f"coverage of the {100 * config.interval:g} % interval",
            f"{100 * model.coverage:.1f} %",
            f"{100 * low:g} to {100 * high:g} %",
            bool(low <= model.coverage <= high),
        )
    ]


def _bias(model: Judged, config: GateConfig) -> list[Check]:
    if model.bias is None:
        return []
    passed = bool(abs(model.bias) <= config.max_bias)
    return [
        Check("bias", f"{100 * model.bias:+.1f} %", f"within {100 * config.max_bias:g} %", passed)
    ]


def _worst_segment(
    model: Judged, reference: Judged, config: GateConfig, segments: Array | None
) -> list[Check]:
    if segments is None:
        return []
    worst, loss = "", -np.inf
    both = np.isfinite(model.errors) & np.isfinite(reference.errors)
    for name in np.unique(segments[both].astype(str)):
        inside = both & (segments.astype(str) == name)
        if inside.sum() < SMALLEST_SEGMENT:
            continue
        base = float(reference.errors[inside].mean())
        share = float(model.errors[inside].mean()) / base - 1.0 if base > 0 else 0.0
        if share > loss:
            worst, loss = name, share
    if not worst:
        return []
    return [
        Check(
            "worst segment",
            f"{worst}: {100 * loss:+.1f} % against {reference.name}",
            f"{100 * config.max_segment_loss:+.0f} %",
            bool(loss <= config.max_segment_loss),
        )
    ]


def _limit(name: str, value: float, limit: float, unit: str) -> Check:
    passed = bool(np.isfinite(value) and value <= limit)
    return Check(name, f"{value:.3g} {unit}", f"{limit:g} {unit}", passed)
