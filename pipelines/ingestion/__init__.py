"""From a raw table to a clean one, with a report of every repair."""

from pipelines.ingestion.config import DataConfig

__all__ = ["DataConfig"]
