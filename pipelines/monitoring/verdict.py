"""What is said of a watch: its verdict, and why."""

from __future__ import annotations

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.errors import listed
from pipelines.monitoring.drift import FEWEST_BLOCKS
from pipelines.monitoring.finding import Finding, SeriesFinding, Verdict
from pipelines.monitoring.past import OFF_GRID, STRANGERS, Joined

WIDESPREAD = 0.2  # more of the series than this changed one by one: no longer single series
# Where no test of the errors has history enough: how many must have come true to speak of them,
# times the backtest's MASE, and share of what an interval should cover, from which it is plain that
# something is wrong.
FEWEST_JUDGED = 10
GROSS = 3.0
HARDLY_COVERED = 0.5
NAMED = 5  # series


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
    noticed: list[str],
    *,
    total: int,
    champion: int | None,
    versions: set[int],
    same_data: bool,
) -> tuple[Verdict, list[str]]:
    """What to do, and why.

    Parameters
    ----------
    noticed
        What else is to be looked at, a reason each; see `noticed`.
    total
        Series in all.
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
        reasons.append(f"{len(names)} of {total} series changed: {listed(names, NAMED)}")
    reasons += noticed
    counted = [f for f in worse if not (f.about == "accuracy" and replaced)]
    if counted or len(names) > max(WIDESPREAD * total, 1):
        if not same_data:
            return Verdict.RETRAIN, reasons
        reasons.append("the champion was trained on these very data: look before you train again")
        return Verdict.LOOK, reasons
    if names or noticed:
        return Verdict.LOOK, reasons
    if any(f.possible for f in findings if f.about == "accuracy"):
        return Verdict.FINE, reasons
    looked = "only the data were looked at" if any(f.possible for f in findings) else (
        "nothing was looked at")  # fmt: skip
    if not versions:
        return Verdict.UNTESTED, [*reasons, f"no forecast has come true yet: {looked}"]
    reasons.append(
        f"no test of the forecasts has the {FEWEST_BLOCKS} earlier blocks it needs: {looked}"
    )
    return Verdict.UNTESTED, reasons


def noticed(
    rows: pd.DataFrame,
    joined: Joined,
    findings: list[Finding],
    silent: list[str],
    backtest: dict[str, float],
) -> list[str]:
    """What no test asks and is to be looked at all the same, a reason each.

    Series that get no more values; forecasts of series that the data do not hold; and, where no
    test of the errors has the history it needs, errors far beyond those of the backtest.
    """
    reasons = []
    if silent:
        reasons.append(f"{len(silent)} series get no more values: {listed(silent, NAMED)}")
    strangers = joined.counts[STRANGERS]
    if strangers:
        reasons.append(
            f"{strangers:,} forecast rows are of series that the data do not hold: have the ids "
            "changed?"
        )
    tested = any(f.possible for f in findings if f.about == "accuracy")
    scores = scores_of(rows[rows["scaled"].notna()], 1) if len(rows) else {}
    if tested or len(rows) < FEWEST_JUDGED or not scores:
        return reasons
    usual = backtest.get("mase", np.nan)
    if scores["mase"] > GROSS * usual:
        reasons.append(
            f"MASE {scores['mase']:.3g} in use is over {GROSS:g} times the {usual:.3g} of the "
            "backtest, and no test has the history to say how rare that is"
        )
    if scores["coverage"] < HARDLY_COVERED * joined.nominal:
        reasons.append(
            f"{scores['coverage']:.0%} of what came lies in intervals of {joined.nominal:.0%}, and "
            "no test has the history to say how rare that is"
        )
    return reasons


def _where(finding: Finding) -> str:
    return "above what is usual" if finding.value > finding.high else "below what is usual"


def scores_of(rows: pd.DataFrame, recent: int) -> dict[str, float]:
    """Scores of all rows, and under ``newest_`` of the last ``recent`` steps; none of no row.

    ``mase`` and ``bias`` in mean seasonal differences, ``coverage`` as a share, 0 to 1.
    """
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
    """What a person should know of a check beside its verdict, a sentence each."""
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
    if joined.counts[OFF_GRID]:
        notes.append(f"{joined.counts[OFF_GRID]:,} forecast rows left out: off the grid")
    return notes
