"""Configs of the messy files, and small tables to spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipelines.config.file import read_yaml
from pipelines.ingestion import DataConfig, IngestResult, ingest

CONFIGS = Path(__file__).parent / "messy"


@pytest.fixture
def messy_config(shared_data: Path) -> Callable[[str], DataConfig]:
    def config(name: str) -> DataConfig:
        values = read_yaml(CONFIGS / f"{name}.yaml")["data"]
        return DataConfig.parse({**values, "source": str(shared_data / "messy" / f"{name}.csv")})

    return config


@pytest.fixture
def tidy() -> pd.DataFrame:
    """Three daily series of 40 rows, positive, without anything odd."""
    rng = np.random.default_rng(3)
    parts = [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": pd.date_range("2024-01-01", periods=40, freq="D"),
                "y": np.round(50 + 10 * np.sin(np.arange(40) / 3) + rng.normal(0, 2, 40), 2),
            }
        )
        for name in ("north", "south", "west")
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def mend(tmp_path: Path) -> Callable[..., IngestResult]:
    """Write text to a file, or take a frame, and ingest it."""

    def run(
        table: str | bytes | pd.DataFrame, strict: bool = False, **settings: Any
    ) -> IngestResult:
        config = DataConfig.parse(settings)
        if isinstance(table, pd.DataFrame):
            return ingest(config, source=table, strict=strict)
        path = tmp_path / "table.csv"
        path.write_bytes(table.encode() if isinstance(table, str) else table)
        return ingest(config, source=path, strict=strict)

    return run
