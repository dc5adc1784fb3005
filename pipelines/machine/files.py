"""Tables written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from forecasting.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def write_table(frame: pd.DataFrame, path: str | Path) -> Path:
    """Write a frame to ``.parquet`` or ``.csv``; a file that was there is replaced at the end.

    Raises
    ------
    DataError
        Another ending, or a folder that cannot be written to.
    """
    target = Path(path)
    if target.suffix not in (".parquet", ".csv"):
        raise DataError(f"{target}: a table is written as .parquet or .csv; name it so")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}") from error
    os.close(handle)
    try:
        if target.suffix == ".parquet":
            frame.to_parquet(scratch, index=False)
        else:
            frame.to_csv(scratch, index=False)
        os.chmod(scratch, 0o644)
        os.replace(scratch, target)
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise
    return target
