"""Refuse a table that needs repairs, where none are wanted."""

from __future__ import annotations

from forecasting.errors import DataError
from pipelines.ingestion.raw import MALFORMED
from pipelines.ingestion.report.report import Report


def refuse_repairs(report: Report) -> None:
    """An error that names all repairs, if there are any."""
    repaired = report.repaired
    left_out = report.values["rows"]["lines_left_out"]
    if not repaired and not left_out.get(MALFORMED):
        return
    parts = [f"{f['count']:,} {f['code']}" for f in repaired]
    parts += [f"{n:,} {reason}" for reason, n in left_out.items() if reason == MALFORMED]
    where = ""
    if repaired and repaired[0]["positions"]:
        first = repaired[0]["positions"][0]
        places = [f"{k} {first[k]!r}" for k in ("unique_id", "ds", "row", "column") if k in first]
        where = f"; the first: {repaired[0]['detail']} ({', '.join(places)})"
    raise DataError(
        f"the table needs repairs, which strict forbids: {', '.join(parts)}{where}; mend the "
        "source, or ingest without strict"
    )
