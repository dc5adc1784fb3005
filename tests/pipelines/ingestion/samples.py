"""A table of one series whose stamps are written so, read as `ingest` reads any."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from forecasting.errors import DataError
from pipelines.ingestion import DataConfig, IngestResult, ingest


def read(ds: Sequence[object], **config: object) -> IngestResult:
    """What becomes of these stamps, one a row, under the settings of a `DataConfig`."""
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": [1.5 + i % 5 for i in range(len(ds))]})
    return ingest(DataConfig.parse(config), source=frame)


def attempt(ds: Sequence[object]) -> tuple[IngestResult | None, str]:
    """The result, or None and why it was refused."""
    try:
        return read(ds), ""
    except DataError as error:
        return None, str(error)
