"""The report: every repair counted, listed with its place, and the rows accounted for."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.arrays import Array
from forecasting.data.mapped import by_series
from forecasting.data.seasons import seasons_in, told
from forecasting.errors import DataError, listed
from forecasting.masking import hide, masked
from pipelines.ingestion.clean import Clean, stamp_texts
from pipelines.ingestion.columns.alike import say_alike
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import Entry
from pipelines.ingestion.raw import MALFORMED, shown
from pipelines.ingestion.report.drawing import draw_worst
from pipelines.ingestion.report.words import DONE, WORDS

VERSION = 1
# Key of a report's facts: the first columns that nothing was made of.
ASIDE = "columns left aside"
MOST_ASIDE = 100
_TOTAL = re.compile(r"(?i)(grand |sub)?totals?|sum|summe|gesamt|all|average|mean|totale?s?")


# Facts that are told besides the summary, in this order.
_NOTED = (
    "titles", "letters", "names", "marks", "reading", "marked", "lost end", "ahead", "leaks",
    "season",
)  # fmt: skip


@dataclass
class Report:
    """What was found in a table and what was done about it.

    Attributes
    ----------
    values : plain values, as written to JSON.
    clean : the series with all places; None when the table was mended in pieces.
    figures : names and drawings (SVG) of the worst series.
    """

    values: dict[str, Any]
    clean: Clean | None = field(repr=False)
    figures: list[tuple[str, str]] = field(repr=False, default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return self.values

    @property
    def summary(self) -> str:
        """One line for a person."""
        return str(self.values["summary"])

    @property
    def notes(self) -> list[str]:
        """What a person should know of how the table was read, a line each."""
        facts = self.values["facts"]
        lines = [str(facts[key]) for key in _NOTED if key in facts]
        aside = facts.get(ASIDE, [])
        if aside:
            named = listed(aside, 8)
            lines.append(
                f"columns left aside: {named}; to use one, declare it in data.covariates: "
                f"{{name: {aside[0]}, role: past}} (or future, static)"
            )
        return lines

    @property
    def repaired(self) -> list[dict[str, Any]]:
        """What ``--strict`` refuses."""
        return [f for f in self.values["findings"] if f["repair"]]

    def repairs(self) -> pd.DataFrame:
        """Every place of every finding, one row each, without a limit."""
        if self.clean is None:
            raise DataError("the places of a table in pieces are in its repairs.parquet only")
        clean = self.clean
        return clean.ledger.frame(clean.names, lambda ds: stamp_texts(ds, clean))

    def write_json(self, path: str | Path) -> None:
        """The report for machines."""
        text = json.dumps(self.values, ensure_ascii=False, indent=1, allow_nan=False)
        Path(path).write_text(text + "\n", encoding="utf-8")


def build_report(clean: Clean, config: DataConfig) -> Report:
    """The report of a finished ingestion."""
    limits = config.report
    ledger = clean.ledger
    rows_out = len(clean.y)
    removed, inserted = ledger.counts("removed"), ledger.counts("inserted")
    findings = [_finding(e, clean, limits.positions) for e in ledger.entries.values()]
    lengths = np.diff(clean.offsets)
    missing = int(by_series(_missing, clean.y, clean.offsets).sum())
    seasons = seasons_in(clean.y, clean.offsets)
    aside: dict[str, Any] = {ASIDE: clean.aside[:MOST_ASIDE]} if clean.aside else {}
    if names := say_alike(clean.ids, clean.offsets, clean.start, clean.freq):
        aside["names"] = names
    values: dict[str, Any] = {
        "version": VERSION,
        "source": masked(str(config.source)) if config.source else "table in memory",
        "summary": "",
        "freq": clean.freq.alias,
        "zone": clean.tz,
        "rows": {
            "in": clean.rows_in,
            "removed": removed,
            "inserted": inserted,
            "out": rows_out,
            "balanced": clean.rows_in - sum(removed.values()) + sum(inserted.values()) == rows_out,
            "lines_left_out": clean.removed_lines,
        },
        "values": {
            "observed": rows_out - missing,
            "missing": missing,
        },
        "series": {
            "out": len(clean.ids),
            "vanished": _vanished(clean)[: limits.series],
            "shortest": int(lengths.min()) if len(lengths) else 0,
            "longest": int(lengths.max(initial=0)),
            **{c: _listed(clean, m, limits.series) for c, m in (clean.series_flags or {}).items()},
        },
        "mapping": {
            "layout": config.layout, "id": list(config.id or ()), "ds": list(config.ds or ()),
            "y": config.y,
        },
        "frequency": _frequency(clean, limits.series),
        "facts": {**clean.facts, **aside, "season": told(seasons, clean.freq.seasons)},
        "findings": findings,
        "totals": [str(i) for i in clean.ids if _TOTAL.fullmatch(str(i))][: limits.series],
        "worst": _worst(clean, limits.series),
        "settings": hide(config.model_dump(mode="json", exclude_unset=True)),
    }  # fmt: skip
    values["summary"] = summarise(values)
    return Report(_plain(values), clean, draw_worst(clean, troubles(clean), limits.drawings))


def summarise(values: dict[str, Any]) -> str:
    """One line on a report's values."""
    rows = values["rows"]
    done: dict[tuple[str, str], int] = {}
    for finding in values["findings"]:
        if finding["repair"] or finding["action"] in ("removed", "flagged"):
            what = (DONE[finding["action"]], WORDS.get(finding["code"], finding["code"]))
            done[what] = done.get(what, 0) + finding["count"]
    parts = [f"{count:,} {what} {verb}" for (verb, what), count in done.items()]
    malformed = rows.get("lines_left_out", {}).get(MALFORMED, 0)
    if malformed:
        parts.append(f"{malformed:,} lines with another number of cells left out")
    short = values["series"]["too_short"]["count"] + values["series"]["no_values"]["count"]
    if short:
        parts.append(f"{short:,} series too short to train on")
    head = (
        f"{rows['in']:,} rows in, {rows['out']:,} out, {values['series']['out']:,} series, "
        f"freq {values['freq']}"
    )
    return head + (": " + ", ".join(parts) if parts else "; nothing to mend")


def _finding(entry: Entry, clean: Clean, limit: int) -> dict[str, Any]:
    series = np.concatenate(entry.series)
    names, counts = np.unique(series, return_counts=True)
    order = np.lexsort((names, -counts))
    columns = entry.head(limit)
    texts = stamp_texts(columns["ds"], clean)
    named = np.concatenate([clean.names, [None]])
    positions = [
        {
            "unique_id": named[s], "ds": t, "row": int(r) or None, "column": c or None,
            "before": b, "after": a,
        }
        for s, t, r, c, b, a in zip(
            columns["series"], texts, columns["row"], columns["column"], columns["before"],
            columns["after"], strict=True,
        )
    ]  # fmt: skip
    return {
        "code": entry.code,
        "action": entry.action,
        "repair": entry.repair,
        "detail": entry.detail,
        "count": entry.count,
        "columns": entry.per_column(),
        "series": len(names),
        "per_series": {
            str(named[names[i]]): int(counts[i]) for i in order[: max(limit, 1)] if names[i] >= 0
        },
        "positions": [{k: v for k, v in p.items() if v is not None} for p in positions],
        "positions_left_out": max(entry.count - limit, 0),
    }


def _vanished(clean: Clean) -> list[str]:
    """Series of which no row is left; another spelling of a series is none."""
    noted = [s for e in clean.ledger.entries.values() for s in e.series]
    numbers = np.unique(np.concatenate(noted)) if noted else np.empty(0, np.int64)
    return [str(clean.names[i]) for i in numbers[numbers >= len(clean.ids)]]


def _listed(clean: Clean, mask: Array, limit: int) -> dict[str, Any]:
    at = np.flatnonzero(mask)
    return {"count": len(at), "ids": [str(i) for i in clean.ids[at[:limit]]]}


def _frequency(clean: Clean, limit: int) -> dict[str, Any]:
    steps = clean.steps
    if steps is None:
        count, number = len(clean.y) - len(clean.ids), f"{len(clean.ids):,}"
        evidence = {
            "inferred from": f"all {count:,} steps, in {number} of {number} series",
            "series per step": {clean.freq.alias: len(clean.ids)},
        }
        return {"alias": clean.freq.alias, "evidence": evidence, "series": []}
    alike = (steps.alias == clean.freq.alias) | (steps.alias == "")
    other = np.flatnonzero(~alike | ((steps.share < 1) & (steps.alias != "")))
    other = other[np.argsort(steps.share[other], kind="stable")][:limit]
    return {
        "alias": clean.freq.alias,
        "evidence": steps.evidence,
        "series": [
            {
                "unique_id": str(clean.ids[i]),
                "step": str(steps.alias[i]),
                "share_of_steps": round(float(steps.share[i]), 4),
            }
            for i in other
        ],
    }


def troubles(clean: Clean) -> Array:
    """[N] places in the ledger per series."""
    count = len(clean.ids)
    total = np.zeros(count, np.int64)
    for entry in clean.ledger.entries.values():
        for series in entry.series:
            known = series[(series >= 0) & (series < count)]
            total += np.bincount(known, minlength=count)
    return total


def _missing(y: Array, offsets: Array) -> Array:
    """[N] missing values of each series."""
    total = np.concatenate([[0], np.cumsum(np.isnan(y))])
    return np.asarray(total[offsets[1:]] - total[offsets[:-1]])


def _worst(clean: Clean, limit: int) -> list[dict[str, Any]]:
    total = troubles(clean)
    order = np.argsort(-total, kind="stable")[:limit]
    order = order[total[order] > 0]
    per_code = {
        code: np.bincount(
            np.concatenate([s[(s >= 0) & (s < len(total))] for s in entry.series]),
            minlength=len(total),
        )
        for code, entry in clean.ledger.entries.items()
    }
    offsets = clean.offsets
    return [
        {
            "unique_id": str(clean.ids[i]),
            "rows": int(offsets[i + 1] - offsets[i]),
            "missing": int(np.isnan(clean.y[offsets[i] : offsets[i + 1]]).sum()),
            "findings": {code: int(n[i]) for code, n in per_code.items() if n[i]},
        }
        for i in order
    ]


def _plain(value: Any) -> Any:
    """Values that JSON knows; numbers that are none become text."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None if value != value else str(value)
    if isinstance(value, str):
        return shown(value, 500)[1:-1] if len(value) > 500 else value
    return value if isinstance(value, int | float | bool | None) else str(value)
