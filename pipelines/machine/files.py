"""Files written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    with aside(target) as scratch:
        if target.suffix == ".parquet":
            frame.to_parquet(scratch, index=False)
        else:
            frame.to_csv(scratch, index=False)
    return target


def write_text(text: str, path: str | Path, *, private: bool = False) -> Path:
    """Write a text as UTF-8; a file that was there is replaced at the end.

    Parameters
    ----------
    private : readable by its owner only, as it holds a secret.

    Raises
    ------
    DataError
        A folder that cannot be written to.
    """
    target = Path(path)
    with aside(target, 0o600 if private else 0o644) as scratch:
        scratch.write_text(text, encoding="utf-8")
    return target


def check_writable(path: str | Path) -> None:
    """`DataError` where `write_text` would end in one: asked before hours of work, not after."""
    _new_beside(Path(path)).unlink()


@contextmanager
def aside(target: Path, mode: int = 0o644) -> Iterator[Path]:
    """A file beside the target, which takes its place when the block ends well.

    Raises
    ------
    DataError
        A folder that cannot be written to.
    """
    scratch = _new_beside(target)
    try:
        yield scratch
        scratch.chmod(mode)
        with scratch.open("rb") as file:
            # Else a power cut may leave the new name on an old, or no, content.
            os.fsync(file.fileno())
        scratch.replace(target)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _new_beside(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.parent)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror}") from error
    os.close(handle)
    return Path(name)
