"""Checks of the challenger: is it better than seasonal naive, no worse than the champion, sound?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasting.evaluation.bootstrap import paired_bootstrap
from pipelines.config import GateConfig
from pipelines.training.case import Answer, Case, Judged, limited

SMALLEST_SEGMENT = 5  # units; the mean of fewer says nothing about a segment


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
    return limited("latency", case.challenger.latency_ms, case.config.max_latency_ms, "ms")


def _bundle_size(case: Case) -> Answer | None:
    return limited("size", case.challenger.size_mb, case.config.max_size_mb, "MB")


# In the order of the table that people read. A check that has nothing to look at gives None.
OF_THE_MODEL: dict[str, Callable[[Case], Answer | None]] = {
    "finite": _finite,
    "naive": _better_than_naive,
    "champion": _not_worse,
    "coverage": _coverage,
    "bias": _bias,
    "segment": _worst_segment,
    "latency": _latency,
    "size": _bundle_size,
}
