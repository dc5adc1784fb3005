"""What champion and challenger said of the same series, kept until it is known who was right.

A line of JSON for each series, in files below ``<home>/compared/<model>``; `gatecast monitor` reads
them. A line holds both forecasts, so that none is there without the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import numpy as np
import orjson

from forecasting.arrays import Array
from serving.reading.stamps import write_stamps
from serving.writing.answer import JSON_OPTIONS, Answer

MOST_FILE: Final = 8 << 20  # bytes of a file, about; then another is begun


def lines(champion: Answer, challenger: Answer, places: Sequence[int]) -> Iterator[bytes]:
    """A line for each series at these places of the request that both answers forecast."""
    both = np.intersect1d(np.intersect1d(champion.position, challenger.position), places)
    mine, theirs = (np.searchsorted(a.position, both) for a in (champion, challenger))
    if not len(both):
        return
    query = champion.query
    rows = np.searchsorted(query.position, both)
    cutoffs = write_stamps(cutoffs_of(champion, rows), champion.freq, query.tz)
    stamps = write_stamps(champion.stamps[mine], champion.freq, query.tz)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for k, place in enumerate(both.tolist()):
        yield orjson.dumps(
            {
                "unique_id": query.ids[place],
                "cutoff": cutoffs[k][0],
                "ds": stamps[k],
                "champion": _said(champion, int(mine[k])),
                "challenger": _said(challenger, int(theirs[k])),
                "created": now,
            },
            option=JSON_OPTIONS,
        )


def cutoffs_of(answer: Answer, rows: Array) -> Array:
    """[M, 1] last stamps of the histories at rows [M] of the query."""
    query, freq = answer.query, answer.freq
    cutoffs = replace(freq, day=0).shift(query.start[rows], query.sizes[rows] - 1)
    return np.asarray(cutoffs).reshape(-1, 1)


def _said(answer: Answer, row: int) -> dict[str, Any]:
    return {
        "version": answer.origin.version,
        "mean": np.ascontiguousarray(answer.mean[row]),
        "quantiles": {
            key: np.ascontiguousarray(answer.quantiles[row, :, k])
            for k, key in enumerate(answer.keys)
        },
    }


class Journal:
    """Files of lines of one worker, of which the oldest go when all workers' grow too many."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._files: dict[str, Path] = {}
        # Small enough that those which several workers write at are not too many by themselves.
        self.most_file = min(MOST_FILE, most // 16)

    def write(self, model: str, told: list[bytes]) -> None:
        """Append lines to a model's file; `OSError` where that is not possible."""
        folder = self.folder / quote(model, safe="")
        file = self._files.get(model)
        if file is None or not 0 <= _size(file) <= self.most_file:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
            file = self._files[model] = folder / f"{now}-{os.getpid()}.jsonl"
            self._tidy(folder)
        # One write: another reader sees whole lines, but for what a full disk cut off.
        try:
            with file.open("ab") as opened:
                opened.write(b"".join(line + b"\n" for line in told))
        except OSError:
            # Its last line may be cut off: the next one begins a file.
            del self._files[model]
            raise

    def _tidy(self, folder: Path) -> None:
        files = sorted(folder.glob("*.jsonl"), reverse=True)
        held = self.most_file
        for file in files:
            # Another worker may take one away at the same moment.
            held += max(_size(file), 0)
            if held > self.most:
                file.unlink(missing_ok=True)


def _size(file: Path) -> int:
    """Bytes of a file; -1 where there is none."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1
