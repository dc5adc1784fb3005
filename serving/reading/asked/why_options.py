"""What is asked of forecasts that are to be explained: how far, and along how fine a path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from forecasting.prediction.why.explain import MOST_POINTS, POINTS
from serving.errors import Faults, show
from serving.reading.query import (
    Options,
    Query,
    Question,
    Spec,
    read_horizon,
    read_zone,
    refuse_windows,
)


@dataclass(frozen=True)
class WhyOptions(Options):
    """Of all series alike; ``points`` of the path that gradients are taken along."""

    points: int = POINTS


def read_why_options(body: Mapping[str, Any], spec: Spec, faults: Faults) -> WhyOptions:
    """Horizon and points; what is wrong goes to ``faults``."""
    points = body.get("points", POINTS)
    if type(points) is not int:
        faults.add(("points",), "wrong_type", f"must be a whole number, not {show(points)}")
        points = POINTS
    elif not 1 <= points <= MOST_POINTS:
        detail = f"must lie within 1 to {MOST_POINTS}, not {show(points)}"
        faults.add(("points",), "out_of_range", detail)
        points = POINTS
    horizon = read_horizon(body, spec, None, faults)
    return WhyOptions(horizon=horizon, levels=(), tz=read_zone(body, faults), points=points)


WHY: Final = Question(frozenset({"model", "horizon", "points", "tz"}), read_why_options)


def windows_of(query: Query, spec: Spec) -> int:
    """How many windows it takes; refuse more than one request should cost.

    Gradients of every step at every point of the path cost about what that many windows do.
    """
    options = query.options
    points = options.points if isinstance(options, WhyOptions) else POINTS
    windows = len(query.sizes) * points * spec.horizon
    refuse_windows(
        windows,
        spec.limits.windows,
        f"{len(query.sizes)} series, {points} points of the path and {spec.horizon} steps "
        f"would take the network over {windows} windows",
        "ask for fewer series or points at a time",
    )
    return windows
