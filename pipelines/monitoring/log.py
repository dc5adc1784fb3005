"""A check in MLflow: curves over time and horizon, the tests as tables, the page."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipelines.monitoring.past import scores_by
from pipelines.monitoring.rivals import PAIR

if TYPE_CHECKING:
    from pipelines.monitoring.watch import Evidence, Watch
    from pipelines.tracking.run import Run
    from pipelines.tracking.tracker import Tracker

STAMPS_LOGGED = 400
SERIES_LISTED = 200


def log(tracker: Tracker, watch: Watch, evidence: Evidence, source: str, page: Path) -> str:
    """One run per check: curves over time and horizon, the tests, the page."""
    title = f"monitor {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M}"
    tags = {
        "kind": "monitor",
        "model": watch.model,
        "version": watch.version,
        "verdict": str(watch.verdict),
        "reasons": "; ".join(watch.reasons) or None,
        "source": source,
    }
    with tracker.run(title, tags=tags) as run:
        run.metrics(watch.scores)
        run.metrics({f"rows/{name.replace(' ', '_')}": n for name, n in watch.counts.items()})
        for rivalry in watch.rivals:
            pair = f"challenger_{rivalry.challenger}_champion_{rivalry.champion}"
            run.metrics({f"{pair}/{n}": v for n, v in rivalry.facts().items() if n not in PAIR})
        run.metrics({"series_changed": len({f.id for f in watch.series})})
        run.metrics({"series_silent": len(watch.silent)})
        for name in ("mase", "bias", "coverage"):
            _curve(run, f"time/{name}", evidence.by_time[name].tail(STAMPS_LOGGED))
            _curve(run, f"horizon/{name}", evidence.by_step[name], evidence.by_step["step"])
        _over_time(run, evidence)
        run.flush()
        run.table(findings_table(watch), "tests.json")
        run.table(series_table(watch).head(SERIES_LISTED), "series_changed.json")
        worst = evidence.by_series.sort_values("mase", ascending=False).head(SERIES_LISTED)
        run.table(worst, "errors_by_series.json")
        run.table(evidence.by_time.tail(STAMPS_LOGGED), "by_time.json")
        run.file(page)
        return run.id


def _curve(
    run: Run, name: str, values: Iterable[float], steps: Iterable[int] | None = None
) -> None:
    """A stepped metric, written with the others in one batch."""
    for step, value in zip(steps if steps is not None else count(1), values, strict=False):
        run.epoch({name: float(value)}, int(step))


def _over_time(run: Run, evidence: Evidence) -> None:
    """The error of the first, middle and last horizon step over time."""
    steps = evidence.by_step["step"].to_numpy()
    if not len(steps):
        return
    for step in sorted({int(steps[0]), int(steps[len(steps) // 2]), int(steps[-1])}):
        rows = evidence.joined.rows
        curve = scores_by(rows[rows["step"] == step], "time").tail(STAMPS_LOGGED)
        for name in ("mase", "bias", "coverage"):
            _curve(run, f"time_step_{step}/{name}", curve[name])


def findings_table(watch: Watch) -> pd.DataFrame:
    """The tests as a table for people."""
    rows = [
        {
            "test": f.name,
            "newest": f.value,
            "expected_from": f.low if np.isfinite(f.low) else np.nan,
            "expected_to": f.high,
            "p": f.p,
            "alarm_below": f.allowed,
            "earlier_blocks": f.blocks,
            "alarm": ("ALARM" if f.alarm else "no") if f.possible else "too little history",
        }
        for f in watch.findings
    ]
    return pd.DataFrame(rows)


def series_table(watch: Watch) -> pd.DataFrame:
    """The series that changed, and those without new values, as a table for people."""
    columns = ["unique_id", "what", "change", "score", "p"]
    rows = [(f.id, f.kind, f.change, f.score, f.p) for f in watch.series]
    rows += [(name, "no more values", np.nan, np.nan, np.nan) for name in watch.silent]
    return pd.DataFrame(rows, columns=columns)
