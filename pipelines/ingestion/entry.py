"""`ingest`: one call from a source to a clean table."""

from __future__ import annotations

from pathlib import Path

from forecasting.errors import ConfigError
from forecasting.masking import HIDDEN, masked
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.read.sources import Source, read
from pipelines.ingestion.report.strict import refuse_repairs
from pipelines.ingestion.result.future import note_future
from pipelines.ingestion.result.result import IngestResult
from pipelines.ingestion.series.anchors import refuse_other_anchor
from pipelines.ingestion.ways.careful import clean
from pipelines.ingestion.ways.fast import (
    clean_raw,
    fast_way,
    may_be_fast,
)


def ingest(
    config: DataConfig,
    *,
    strict: bool = False,
    freq: str | None = None,
    source: Source | None = None,
    horizon: int | None = None,
) -> IngestResult:
    """A clean panel from a raw table, and the report of every repair.

    Parameters
    ----------
    strict : refuse instead of repairing.
    freq : a pandas alias or ``step``, before the config's.
    source : a path, URL, pandas or Arrow table, before the config's.
    horizon : steps for which known-future covariates are looked for; what a forecast would lack
        is in the report.

    Raises
    ------
    DataError : what cannot be mended or, when strict, what would have to be; with its place.
    MappingError : the columns' roles are neither configured nor plain to see.
    """
    if source is None:
        source = config.source
    if source is None:
        raise ConfigError("data.source: required, but not given; name a file, folder or URL")
    if isinstance(source, str | Path):
        config = config.replace(source=str(source))
    if freq is not None:
        config = config.replace(freq=freq)
    result = fast_way(source, config)
    if result is None:
        raw, settled = read(source, config)
        fast_clean = clean_raw(raw, settled) if may_be_fast(settled) else None
        result = IngestResult(fast_clean or clean(raw, settled, _name(source)), settled)
    panel = result.clean
    refuse_other_anchor(panel.ids, panel.start, panel.freq, config.freq)
    if horizon is not None:
        note_future(result.clean, horizon)
    if strict:
        refuse_repairs(result.report)
    return result


def _name(source: Source) -> str:
    """The only series of a table without ids bears the table's name."""
    if not isinstance(source, str | Path):
        return "series"
    name = Path(masked(str(source)).split("?")[0].rstrip("/")).name
    return name.rpartition(f"{HIDDEN}@")[2].split(".")[0] or "series"
