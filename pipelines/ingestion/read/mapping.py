"""Which columns are the series, the time and the value: from the config, else from the table."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa

from forecasting.errors import DataError
from pipelines.ingestion.config import DataConfig
from pipelines.ingestion.raw import is_text, shown
from pipelines.ingestion.read.calendars import (
    refuse_calendar,
    refuse_turned,
)
from pipelines.ingestion.read.heads import headless
from pipelines.ingestion.read.long import Whole, look, refuse_hidden_parts, settle_long
from pipelines.ingestion.read.proposal import OPEN, MappingError, flow, in_braces, short
from pipelines.ingestion.stamps.stamps import NAT, read_stamps

FIRST_YEAR = 1600  # numbers in a header that are as large are years
RISING = 0.8  # share of steps upwards from which on integers count something
_NUMBERED = re.compile(r"^[A-Za-z_. ]{0,12}?(\d{1,6})$")


def settle(
    config: DataConfig, headers: list[list[str]], sample: pa.Table, whole: Whole | None = None
) -> DataConfig:
    """The config with layout and columns filled in.

    Parameters
    ----------
    sample : the first rows; columns by position, named by the last of ``headers``.
    whole : gives all rows of some columns, by name, in the same positions: a table sorted by series
        holds one series only in its first rows.

    Raises
    ------
    MappingError : more than one reading; it holds a proposal.
    """
    names = [n.strip() for n in headers[-1]]
    if len(headers) == 1:
        _refuse_headless(config, names, sample)
    if config.layout == "calendar":
        return config.replace(ds=config.ds or (names[0],))
    lower = [n.lower() for n in names]
    plain = {"ds", "y"} <= {*lower} and config.layout is None
    if config.layout in (None, "rows") and not (config.id or config.y or plain or headers[1:]):
        refuse_calendar(config, names, sample)
    if config.layout == "rows":
        return config.replace(id=config.id or (names[0],))
    if config.layout == "wide" or (config.layout is None and len(headers) > 1):
        return config.replace(layout="wide", ds=config.ds or (names[0],))
    if config.ds and config.y and (config.id or config.series):
        return config.replace(layout="long")
    canonical = {r: names[lower.index(r)] for r in ("unique_id", "ds", "y") if lower.count(r) == 1}
    ds = config.ds or ((canonical["ds"],) if "ds" in canonical else None)
    y = config.y or canonical.get("y")
    ids = config.id or ((canonical["unique_id"],) if "unique_id" in canonical else None)
    if ds and y and (ids or config.series):
        if config.ds is None:
            refuse_hidden_parts(config, (ids, ds, y), names, sample, whole)
        return config.replace(layout="long", id=ids, ds=ds, y=y)
    if config.layout is None and not (ds or y or config.id):
        by_header = _stamps_in_header(config, names, sample)
        if by_header is not None:
            return by_header
    _refuse_more_headers(config, names, sample)
    seen = look(config, names, sample)
    return settle_long(config, ids, ds, y, names, seen, (sample, whole))


def _refuse_headless(config: DataConfig, names: list[str], sample: pa.Table) -> None:
    """A first row of values in place of a header would be lost."""
    named = {
        *(config.id or ()),
        *(config.ds or ()),
        config.y,
        *(c.source for c in config.covariates),
    }
    if config.csv.header_lines != 1 or named & set(names) or not headless(names, sample):
        return
    columns = [f"c{i + 1}" for i in range(len(names))]
    numbered = config.replace(
        id=None, ds=_counting(columns, sample), y=None, covariates=(), csv={"header_lines": 0}
    )
    try:
        settled = settle(numbered, [columns], sample)
        roles: dict[str, Any] = {"layout": settled.layout} if settled.layout != "long" else {}
        roles |= {"id": short(settled.id)} if settled.id else {"series": settled.series or "name"}
        roles |= {"ds": short(settled.ds or (OPEN,)), "y": settled.y}
    except MappingError as error:
        roles = dict(error.roles)
    roles = {"csv": {"header_lines": 0}} | {k: v for k, v in roles.items() if v}
    raise MappingError(
        f"the table has no header: its first row ({', '.join(map(shown, names[:6]))}) reads like "
        "the rows below it and would be lost; write a line of names above it, or number the "
        f"columns with data: {in_braces(roles)} (in memory: read the file "
        "with header=None)",
        roles,
    )


def _counting(columns: list[str], sample: pa.Table) -> tuple[str, ...] | None:
    """The first column of integers that mostly rise from row to row: steps, years, 20240131."""
    for name, column in zip(columns, sample.columns, strict=True):
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return None
        if pa.types.is_integer(column.type) and column.null_count == 0:
            steps = np.diff(column.to_numpy())
            if len(steps) and (steps > 0).mean() > RISING:
                return (name,)
    return None


def wanted_columns(config: DataConfig, units: Collection[str] = ()) -> set[str] | None:
    """Names that are read; None for all.

    Parameters
    ----------
    units : columns of units, which are looked at, too, where none is named; see `unit_columns`.
    """
    if config.layout != "long":
        return None
    names = {*(config.id or ()), *(config.ds or ("ds",)), config.y or "y"}
    for values in (config.values, *config.covariates):
        if values.unit is not None:
            names.add(values.unit.column)
    looked_at = set() if config.values.unit is not None else set(units)
    return names | looked_at | {c.source for c in config.covariates}


def text_columns(config: DataConfig, names: list[str]) -> set[str]:
    """Names whose cells must stay as they were written: ``007`` is no number."""
    texts = set(config.id or (names[:1] if config.layout == "rows" else ()))
    for values in (config.values, *config.covariates):
        if values.unit is not None:
            texts.add(values.unit.column)
    if len(config.ds or ()) > 1 or config.stamps.formats:
        texts |= set(config.ds or ())
    return texts | {c.source for c in config.covariates if c.type == "categorical"}


def _stamps_in_header(config: DataConfig, names: list[str], sample: pa.Table) -> DataConfig | None:
    """One row per series, when the header holds dates or counts 1, 2, 3, …"""
    if len(names) < 4:
        return None
    readable = [bool(re.search(r"\d", n)) for n in names]
    tail = [n for n, digits in zip(names, readable, strict=True) if digits]
    if len(tail) < max(3, 0.6 * len(names)) or not readable[-1]:
        return None
    first = readable.index(True)
    if not all(readable[first:]):
        return None
    numbered = [_NUMBERED.match(n) for n in tail]
    counts = [int(m[1]) for m in numbered if m]
    consecutive = len(counts) == len(tail) and all(
        b - a == 1 for a, b in itertools.pairwise(counts)
    )
    if not consecutive:
        try:
            stamps = read_stamps(pa.array(tail), "of the header", config.stamps)
            if stamps.integer or (stamps.rows() == NAT).any():
                return None
        except DataError:
            # Several readings of the same stamps: they are stamps, and which ones is asked later.
            pass
    elif first == 0 or len(tail) < 5:
        return None
    ids = names[: max(first, 1)]
    if any(pa.types.is_floating(sample.column(i).type) for i in range(len(ids))):
        return None  # values stand before them: a row per value, with numbered covariates
    texts = [is_text(sample.column(i).type) for i in range(len(ids))]
    # Identifiers are text, or at least one column stands alone before the values.
    if first != 1 and not any(texts):
        return None
    if not consecutive or counts[0] >= FIRST_YEAR:
        refuse_turned(config, names, ids, sample)
    return config.replace(layout="rows", id=tuple(ids))


def _refuse_more_headers(config: DataConfig, names: list[str], sample: pa.Table) -> None:
    """A second header line among the rows shows in names that repeat above cells of text."""
    repeated = len(set(names)) < 0.8 * len(names)
    if not repeated or config.csv.header_lines != 1 or not sample.num_rows or len(names) < 3:
        return
    first = [str(c[0].as_py() or "") for c in sample.columns[1:]]
    if sum(bool(re.search(r"[^\W\d_]{2}", cell)) for cell in first) < 0.8 * len(first):
        return
    corner = str(sample.column(0)[0].as_py() or names[0])
    roles = f"layout: wide, csv: {{header_lines: 2}}, ds: {flow(corner)}"
    raise MappingError(
        f"the header names columns twice and the first row holds text ({shown(first[0])}, …): it "
        f"seems to be a second header line; set data: {{{roles}}} if each column is a series",
        {"layout": "wide", "csv": {"header_lines": 2}, "ds": corner},
    )
