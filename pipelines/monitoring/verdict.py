"""What is said of a watch: its verdict, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from pipelines.monitoring.drift import FEWEST_BLOCKS
from pipelines.monitoring.finding import Finding, SeriesFinding, Verdict
from pipelines.monitoring.past import Joined

WIDESPREAD = 0.2  # more of the series than this changed one by one: no longer single series


def blocks_of(rows: pd.DataFrame, length: int) -> Array:
    """[R] block of each row's stamp, 0 the newest."""
    time = rows["time"].to_numpy()
    return np.asarray((time.max(initial=0) - time) // length)


def versions_judged(rows: pd.DataFrame, recent: int) -> set[int]:
    """The versions that made the forecasts of the newest block."""
    return set(rows.loc[blocks_of(rows, recent) == 0, "version"]) if len(rows) else set()


def verdict_of(
    findings: list[Finding],
    series: list[SeriesFinding],
    silent: list[str],
    *,
    total: int,
    tests: int,
    champion: int | None,
    versions: set[int],
    same_data: bool,
) -> tuple[Verdict, list[str]]:
    """What to do, and why.

    Parameters
    ----------
    total, tests
        Series in all, and tests of single ones that there was history for.
    versions
        Those that made the newest forecasts; errors of others than the champion teach nothing.
    same_data
        Whether the champion was trained on these very data.
    """
    reasons = []
    worse = [f for f in findings if f.alarm]
    replaced = champion is not None and bool(versions) and champion not in versions
    for finding in worse:
        text = f"{finding.name} {_where(finding)} (p = {finding.p:.1g})"
        if finding.about == "accuracy" and replaced:
            text += f", by versions before the champion, {champion}"
        reasons.append(text)
    names = sorted({f.id for f in series})
    if names:
        reasons.append(f"{len(names)} of {total} series changed: {_listed(names)}")
    if silent:
        reasons.append(f"{len(silent)} series get no more values: {_listed(silent)}")
    counted = [f for f in worse if not (f.about == "accuracy" and replaced)]
    if counted or len(names) > max(WIDESPREAD * total, 1):
        if not same_data:
            return Verdict.RETRAIN, reasons
        reasons.append("the champion was trained on these very data: look before you train again")
        return Verdict.LOOK, reasons
    if names or silent:
        return Verdict.LOOK, reasons
    if not tests and not any(f.possible for f in findings):
        reasons.append(
            f"no test has the {FEWEST_BLOCKS} earlier blocks it needs: nothing was looked at"
        )
        return Verdict.UNTESTED, reasons
    return Verdict.FINE, reasons


def _where(finding: Finding) -> str:
    return "above what is usual" if finding.value > finding.high else "below what is usual"


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def scores_of(rows: pd.DataFrame, recent: int) -> dict[str, float]:
    if rows.empty:
        return {}
    newest = rows[blocks_of(rows, recent) == 0]
    out: dict[str, float] = {}
    for prefix, part in (("", rows), ("newest_", newest)):
        out |= {
            f"{prefix}mase": float(part["scaled"].mean()),
            f"{prefix}bias": float(part["signed"].mean()),
            f"{prefix}coverage": float(part["inside"].mean()),
        }
    return out


def notes_of(
    findings: list[Finding], joined: Joined, backtest: dict[str, float], rows: pd.DataFrame
) -> list[str]:
    notes = []
    if rows.empty:
        notes.append("no forecast has come true yet: only the data were looked at")
    elif "mase" in backtest:
        notes.append(
            f"MASE {rows['scaled'].mean():.3f} in use, {backtest['mase']:.3f} on the backtest of "
            "the champion"
        )
    idle = [f.name for f in findings if not f.possible]
    if idle:
        notes.append(f"too little history to test: {', '.join(idle)}")
    strange = {k: joined.counts[k] for k in ("series not in the data", "off the grid")}
    notes += [f"{n:,} forecast rows left out: {what}" for what, n in strange.items() if n]
    return notes
