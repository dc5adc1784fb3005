"""What a model was trained on, in few numbers: enough to see later what a new delivery changed.

Per series the first and last stamp, the number of rows, the newest rows, and a sample of the older
ones. Kept as one Parquet file beside the model; its size is bounded, however long the series are.
"""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.panel import observed
from forecasting.errors import DataError, GatecastError

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

FORMAT = 1
VALUES = 4_000_000  # of all series together; a file of some 50 MB
FEWEST, MOST = 4, 32  # values per series; half of them are the newest rows
META = b"gatecast.fingerprint"


@dataclass(frozen=True)
class Fingerprint:
    """N series as they were.

    Attributes
    ----------
    ids : [N] names.
    first, last : [N] stamps of the first and the last value; ``datetime64[us]`` or int64.
    rows : [N] from the one to the other.
    positions : [N, K] steps after ``first`` of the values kept, -1 for none. The first ``K // 2``
        are the newest rows, newest first; the others lie evenly over what is older.
    values : [N, K] as they were, NaN where missing.
    freq : the step. made : when it was taken, ``datetime64[us]`` in UTC.
    """

    ids: Array
    first: Array
    last: Array
    rows: Array
    positions: Array
    values: Array
    freq: Frequency
    made: np.datetime64

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def run(self) -> int:
        """How many of the columns are the newest rows."""
        return self.positions.shape[1] // 2

    @cached_property
    def newest(self) -> np.datetime64 | np.int64:
        """The stamp of the newest value of all."""
        stamp: np.datetime64 | np.int64 = self.last.max()
        return stamp

    @classmethod
    def of(
        cls, panel: Panel, *, made: np.datetime64 | None = None, budget: int = VALUES
    ) -> Fingerprint:
        """Take it of a panel; series without a value are left out.

        Parameters
        ----------
        made
            Now, in UTC; default: the machine's clock.
        budget
            Values kept of all series together, within `FEWEST` and `MOST` of each.
        """
        begin, end = observed(panel.y, panel.offsets)
        places = np.flatnonzero(end >= 0)
        begin, end = begin[places], end[places]
        rows = end - begin + 1
        width = int(np.clip(budget // max(len(places), 1), FEWEST, MOST))
        positions = sample(rows, width)
        row = panel.offsets[:-1][places, None] + begin[:, None] + np.maximum(positions, 0)
        values = (
            np.where(positions >= 0, panel.y[row], np.nan) if len(places) else row.astype(float)
        )
        return cls(
            ids=panel.ids[places].astype(str).astype(object),
            first=panel.freq.shift(panel.start[places], begin),
            last=panel.freq.shift(panel.start[places], end),
            rows=rows,
            positions=positions,
            values=values,
            freq=panel.freq,
            made=utc_now() if made is None else made,
        )

    def write(self, path: Path) -> None:
        """As one Parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        width = self.positions.shape[1]
        meta = {"format": FORMAT, "freq": self.freq.alias, "made": str(self.made)}
        table = pa.table(
            {
                "unique_id": pa.array(self.ids, pa.string()),
                "first": self.first.astype(np.int64),
                "last": self.last.astype(np.int64),
                "rows": self.rows.astype(np.int64),
                "positions": _lists(self.positions.astype(np.int64), width),
                "values": _lists(self.values, width),
            }
        ).replace_schema_metadata({META: json.dumps(meta).encode()})
        pq.write_table(table, path, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> Fingerprint:
        """What `write` wrote.

        Raises
        ------
        GatecastError
            The file is none, or of a newer Gatecast.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
            meta = json.loads((table.schema.metadata or {})[META])
            if int(meta["format"]) > FORMAT:
                raise GatecastError(f"{path} is of a newer gatecast: upgrade")
            freq = Frequency.parse(str(meta["freq"]))
            stamps = np.int64 if freq.integer else "datetime64[us]"
            columns = {name: table[name].combine_chunks() for name in table.column_names}
            positions, values = columns["positions"], columns["values"]
            shape = (table.num_rows, positions.type.list_size)
            return cls(
                ids=np.array(columns["unique_id"].to_pylist(), dtype=object),
                first=columns["first"].to_numpy().astype(stamps),
                last=columns["last"].to_numpy().astype(stamps),
                rows=columns["rows"].to_numpy(),
                positions=positions.flatten().to_numpy().reshape(shape),
                values=values.flatten().to_numpy().reshape(shape),
                freq=freq,
                made=np.datetime64(str(meta["made"]), "us"),
            )
        except (pa.ArrowException, OSError, KeyError, ValueError, DataError) as error:
            raise GatecastError(f"{path} holds no fingerprint of data: {error}") from error


def sample(rows: Array, width: int) -> Array:
    """[N, width] which of so many rows are kept: half the newest, half evenly of the older.

    -1 where a series has no more rows.
    """
    run = width // 2
    newest = rows[:, None] - 1 - np.arange(run)
    older = np.maximum(rows - run, 0)[:, None]
    even = np.arange(width - run)
    spread = (2 * even + 1) * older // (2 * (width - run))
    # Fewer old rows than places: each once.
    spread = np.where(older >= width - run, spread, np.where(even < older, even, -1))
    return np.concatenate([np.where(newest >= 0, newest, -1), spread], axis=1)


def utc_now() -> np.datetime64:
    """The time by the machine's clock, ``datetime64[us]`` in UTC."""
    return np.datetime64(datetime.datetime.now(datetime.UTC).replace(tzinfo=None), "us")


def _lists(block: Array, width: int) -> object:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(block).ravel()), width)
