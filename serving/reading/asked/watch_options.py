"""What is asked of points that are to be judged: a rate of false alarms, and which points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from forecasting.prediction.anomalies.watch import MOST
from forecasting.prediction.answers import RATE
from serving.errors import Faults, show
from serving.reading.query import Options, Query, Question, Spec, read_zone, refuse_windows

MOST_ROWS: Final = 2**62


@dataclass(frozen=True)
class WatchOptions(Options):
    """Of all series alike.

    Attributes
    ----------
    rate : of false alarms, a share of the points. last : points judged at each end; None: all.
    """

    rate: float = RATE
    last: int | None = None


def read_watch_options(body: Mapping[str, Any], spec: Spec, faults: Faults) -> WatchOptions:
    """Rate and points; what is wrong goes to ``faults``."""
    rate, last = body.get("rate", RATE), body.get("last")
    if type(rate) is not float and type(rate) is not int:
        faults.add(("rate",), "wrong_type", f"must be a number, not {show(rate)}")
        rate = RATE
    elif not 0.0 < rate <= MOST:
        detail = f"must lie above 0, up to {MOST:g}, not {show(rate)}"
        faults.add(("rate",), "out_of_range", detail)
        rate = RATE
    if last is not None and type(last) is not int:
        faults.add(("last",), "wrong_type", f"must be a whole number, not {show(last)}")
        last = None
    elif last is not None and last < 1:
        faults.add(("last",), "out_of_range", f"must be at least 1, not {last}")
        last = None
    # No history is as long; what follows counts in 64 bits.
    last = None if last is None else min(last, MOST_ROWS)
    zone = read_zone(body, faults)
    return WatchOptions(horizon=0, levels=(), tz=zone, rate=float(rate), last=last)


WATCH: Final = Question(frozenset({"model", "rate", "last", "tz"}), read_watch_options)


def check_points(query: Query, spec: Spec) -> int:
    """How many points are to be judged; refuse more than one request should cost."""
    options = query.options
    last = options.last if isinstance(options, WatchOptions) else None
    points = int(query.sizes.sum() if last is None else np.minimum(query.sizes, last).sum())
    refuse_windows(
        points,
        spec.limits.windows,
        f"{points} points to judge would run the network over as many windows",
        'ask for fewer series at a time, or for the newest points of each with "last"',
    )
    return points
