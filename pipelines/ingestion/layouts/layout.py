"""Tables of every layout become the same thing: one row per value."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.layouts.by_parts import calendar_rows
from pipelines.ingestion.layouts.cells import Rows
from pipelines.ingestion.layouts.long import long_rows
from pipelines.ingestion.layouts.per_series import rows_of_series
from pipelines.ingestion.layouts.wide import wide_rows
from pipelines.ingestion.raw import Raw, is_text, shown

MOST_HEADERS = 1000  # headers among the rows that are looked at


def to_rows(raw: Raw, config: DataConfig, name: str) -> Rows:
    """The table, one row per value; cells of wide tables are read column by column."""
    _refuse_other_headers(raw, config)
    if config.layout == "wide":
        rows = wide_rows(raw, config)
    elif config.layout == "rows":
        rows = rows_of_series(raw, config)
    elif config.layout == "calendar":
        rows = calendar_rows(raw, config, name)
    else:
        rows = long_rows(raw, config, name)
    rows.facts = {**raw.facts, **rows.stamps.facts, **rows.y.facts, **rows.facts}
    return rows


def _refuse_other_headers(raw: Raw, config: DataConfig) -> None:
    """A header that stands again among the rows, its names in another order.

    Raises
    ------
    DataError : the values below it would be read under the wrong names.
    """
    anchors = config.id if config.layout == "rows" else config.ds
    names = {n.strip().casefold() for n in raw.names} - {""}
    for anchor in anchors or (raw.names[0],):
        column = raw.column(anchor, "ds")
        if not is_text(column.type):
            continue
        texts = pc.utf8_trim_whitespace(column)
        named = pc.is_in(pc.utf8_lower(texts), pa.array(sorted(names), texts.type))
        for at in np.flatnonzero(named.to_numpy())[:MOST_HEADERS]:
            cells = [raw.table.column(i)[int(at)].as_py() for i in range(len(raw.names))]
            if not all(c is None or isinstance(c, str) for c in cells):
                continue  # a number beside it: a name that happens to be one of the header's
            pairs = [
                (c.strip(), n.strip())
                for c, n in zip(cells, raw.names, strict=True)
                if isinstance(c, str) and c.strip() and n.strip()
            ]
            if all(c.casefold() == n.casefold() for c, n in pairs):
                continue
            if any(re.search(r"\d", c) and c.casefold() not in names for c, _ in pairs):
                continue
            place = raw.row[at] if raw.row is not None else at + 1
            there, here = next((c, n) for c, n in pairs if c.casefold() != n.casefold())
            raise DataError(
                f"row {place} is a header with other names than the first: it has {shown(there)} "
                f"where that has {shown(here)}, and the rows below it would be read under the "
                "wrong names; read each part by its own header and join them (pandas.concat)"
            )
