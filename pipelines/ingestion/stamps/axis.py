"""Whether steps of some hours are kept by the wall clock or by the time that has passed.

Daylight saving leaves no trace in hourly stamps but the doubled and the skipped hour. A reading
every six hours at 0, 6, 12 and 18 o'clock keeps the wall clock, and its steps are five and seven
hours long twice a year: an axis in UTC would move half of its year by an hour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.ledger import NAT
from pipelines.ingestion.segments import mode
from pipelines.ingestion.stamps.readings import DAY

HOUR = DAY // 24
_SAMPLE = 200_000


def keeps_wall_clock(
    wall: Array, codes: Array, config: DataConfig, to_utc: Callable[[], Array]
) -> bool:
    """Whether the stamps are regular on the wall clock, and less so in UTC.

    Parameters
    ----------
    wall : [T] int64 microseconds of the wall clock, `NAT` where unknown.
    codes : [T] the series of each row, -1 for none.
    to_utc : gives [T] the instants; asked for only when the step makes a difference.
    """
    if config.stamps.axis != "auto":
        return config.stamps.axis == "clock"
    rows = np.flatnonzero((wall != NAT) & (codes >= 0))
    if not len(rows):
        return False
    step = _step(wall, codes, rows, config)
    # Steps up to an hour lie on the same grid before and after the change.
    if not HOUR < step < DAY or DAY % step:
        return False
    utc = to_utc()[rows]
    local, owner = wall[rows], codes[rows]
    if len(np.unique(local - utc)) == 1:
        return False
    count = int(owner.max()) + 1
    by_wall, by_time = (int(mode(owner, v % step, count)[1].sum()) for v in (local, utc))
    return by_wall > by_time


def _step(wall: Array, codes: Array, known: Array, config: DataConfig) -> int:
    """The commonest step in microseconds, of some series; 0 where there is none."""
    if config.freq is not None:
        freq = Frequency.parse(config.freq)
        return int(freq.size) if freq.unit == "time" else 0
    owner = codes[known]
    if len(known) > _SAMPLE:
        first = int(np.searchsorted(np.cumsum(np.bincount(owner)), _SAMPLE))
        known = known[owner <= first]
        owner = codes[known]
    stamps = wall[known]
    order = np.lexsort((stamps, owner))
    owner, stamps = owner[order], stamps[order]
    steps = np.diff(stamps)[owner[1:] == owner[:-1]]
    sizes, often = np.unique(steps[steps > 0], return_counts=True)
    return int(sizes[often.argmax()]) if len(sizes) else 0
