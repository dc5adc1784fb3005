"""From a raw table to a clean one, with a report of every repair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipelines.ingestion.config import DataConfig

if TYPE_CHECKING:
    from pipelines.ingestion.entry import ingest
    from pipelines.ingestion.read.proposal import MappingError
    from pipelines.ingestion.report.report import Report
    from pipelines.ingestion.result.result import IngestResult

__all__ = ["DataConfig", "IngestResult", "MappingError", "Report", "ingest"]
_HOMES = {
    "ingest": "entry",
    "IngestResult": "result.result",
    "MappingError": "read.proposal",
    "Report": "report.report",
}


def __getattr__(name: str) -> Any:
    # pandas and pyarrow are loaded when a table is read, not when a config is.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
