"""Arrow IPC streams in and out: one row per series, no Python object per value.

A request has the columns ``id`` (text), ``start`` (timestamp or integer), ``y`` (list of numbers)
and one column per covariate, ``past.<name>`` and ``future.<name>`` (lists) and ``static.<name>``.
Options stand as JSON under the key ``gatecast`` of the schema's metadata. An answer has ``id``,
``start`` (the first step), ``mean`` and ``q<level>`` (lists); model and errors stand in its
metadata under the same key.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson

from forecasting.arrays import Array
from forecasting.errors import SeriesProblem
from forecasting.schema import Covariate
from serving.errors import Faults, RequestError, show
from serving.reading import stamps
from serving.reading.arrow_guard import check_dictionary, check_schema, check_stream
from serving.reading.flat_form import check_columns, with_history
from serving.reading.joint import read_joint
from serving.reading.query import (
    OPTION_KEYS,
    Options,
    Query,
    Spec,
    check_size,
    read_options,
    refuse_unknown,
)
from serving.reading.twice import refuse_twice

if TYPE_CHECKING:
    import pyarrow as pa

KEY: Final = b"gatecast"
LISTED: Final = ("past", "future")
# Of each unit of stamps but nanoseconds, which are divided.
MICROSECONDS: Final = {"D": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}
MAX_DECODED: Final = 128 << 20  # bytes of a dictionary-encoded column once decoded


def open_table(body: bytes, most: int) -> tuple[pa.Table, dict[str, Any]]:
    """The table of a request and its options; ``most`` bounds its bytes in memory."""
    import pyarrow as pa

    try:
        check_stream(body, most)
        with pa.ipc.open_stream(body) as reader:
            check_schema(reader.schema)
            # Names and types that are no text would be met only where they are used.
            _ = reader.schema.names, [str(kind) for kind in reader.schema.types]
            batches, size = [], 0
            for batch in reader:
                # Offsets that point outside their buffers would be read as they are.
                batch.validate(full=True)
                size += batch.nbytes
                if size > most:
                    raise RequestError(
                        413, "body_too_large", f"the table holds more than {most} bytes"
                    )
                batches.append(batch)
            table = pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, ValueError, OSError, TypeError, NotImplementedError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0][:200]
        raise RequestError(
            400, "malformed_arrow", f"the body is not an Arrow IPC stream: {reason}"
        ) from None
    metadata = (table.schema.metadata or {}).get(KEY, b"{}")
    try:
        options = orjson.loads(metadata)
    except orjson.JSONDecodeError:
        options = None
    if options is not None:
        refuse_twice(metadata, options)
    if type(options) is not dict:
        raise RequestError(
            422, "invalid_request", "the metadata key gatecast must hold a JSON object"
        )
    return table, options


def first_stamp(table: pa.Table) -> int | None:
    """A whole number where stamps are such; None for any others."""
    import pyarrow as pa

    if table.column_names.count("start") != 1:
        return None
    return 0 if pa.types.is_integer(table.schema.field("start").type) else None


def read_arrow(table: pa.Table, body: dict[str, Any], spec: Spec) -> Query:
    """Check a table; see `serving.reading.json_form.read_json`. NaN and null are missing values."""
    faults = Faults()
    refuse_unknown(body, OPTION_KEYS, (), faults)
    options = read_options(body, spec, faults)
    known = {"id", "start", "y"} | {f"{c.role}.{c.name}" for c in spec.schema.covariates}
    for name in table.column_names:
        if name not in known:
            detail = f"unknown column; this model takes: {', '.join(sorted(known))}"
            faults.add((name[:256],), "unknown_column", detail)
    needed = {"id", "start", "y"} | {f"{c.role}.{c.name}" for c in spec.schema.covariates if
                                     c.role in LISTED}  # fmt: skip
    for name in sorted(needed):
        if table.column_names.count(name) != 1:
            faults.add((name,), "missing", "the column is needed, once")
    for name in sorted(known - needed):
        if table.column_names.count(name) > 1:
            faults.add((name,), "duplicate", "two columns have this name")
    faults.stop()
    if table.num_rows == 0:
        faults.add((), "empty", "the table holds no series")
        faults.stop()
    check_size(table.num_rows, options, spec)
    options = replace(options, joint=read_joint(body, spec, options, table.num_rows, faults))
    y, sizes = _numbers(table, "y", faults)
    ids = _ids(table, faults)
    start, zone = _starts(table, spec, options, faults)
    faults.stop()
    query = Query(options, ids, np.arange(len(ids)), y, sizes, start, zone)
    good = np.ones(len(ids), bool)
    past = {c.name: _past(table, c, query, good, faults) for c in spec.schema.past}
    future = {c.name: _future(table, c, query, good, faults) for c in spec.schema.future}
    static = {
        c.name: _static(table, c, faults)
        for c in spec.schema.static
        if f"static.{c.name}" in table.column_names
    }
    faults.stop()
    query.past, query.future, query.static = past, future, static
    return check_columns(query, spec, good)


def _column(table: pa.Table, name: str) -> Any:
    """One chunk, dictionaries decoded."""
    import pyarrow as pa

    chunks = table.column(name).chunks
    # One is used where it lies.
    column = chunks[0] if len(chunks) == 1 else table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks)
    if not pa.types.is_dictionary(column.type):
        return column
    check_dictionary(column, MAX_DECODED)
    return column.dictionary_decode()


def _listed(table: pa.Table, name: str, faults: Faults) -> tuple[Any, Array] | None:
    """The values of a list column, one after the other, and how many each row has."""
    import pyarrow as pa

    column = _column(table, name)
    kind = column.type
    if not (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        faults.add((name,), "wrong_type", f"must be a column of lists, not {kind}")
        return None
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        faults.add((name, row), "missing", "is null; an empty list says that nothing is known")
        return None
    values = column.flatten()
    sizes = column.value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return values, sizes


def _numbers(table: pa.Table, name: str, faults: Faults) -> tuple[Array, Array]:
    listed = _listed(table, name, faults)
    nothing = np.zeros(0), np.zeros(0, np.int64)
    if listed is None:
        return nothing
    values = _floats(listed[0], (name,), faults)
    return nothing if values is None else (values, listed[1])


def _floats(values: Any, where: tuple[str, ...], faults: Faults) -> Array | None:
    import pyarrow as pa

    kind = values.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind)):
        faults.add(where, "wrong_type", f"must hold numbers, not {kind}")
        return None
    out = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    out = np.asarray(out, np.float64)
    if np.isinf(out).any():
        at = int(np.flatnonzero(np.isinf(out))[0])
        faults.add(where, "not_finite", f"value {at} is infinite; null is missing")
    return out


def _texts(values: Any, where: tuple[str, ...], faults: Faults) -> Array:
    import pyarrow as pa

    kind = values.type
    plain = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
    if not (plain or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        faults.add(where, "wrong_type", f"must hold text, not {kind}")
        return np.full(len(values), None, dtype=object)
    out = np.empty(len(values), dtype=object)
    out[:] = values.to_pylist()
    return out if plain else np.array([None if v is None else str(v) for v in out], dtype=object)


def _ids(table: pa.Table, faults: Faults) -> list[str]:
    import pyarrow as pa

    column = _column(table, "id")
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        faults.add(("id",), "wrong_type", f"must be a column of text, not {column.type}")
        return []
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        faults.add(("id", row), "missing", "is null")
        return []
    ids: list[str] = column.to_pylist()
    if len(set(ids)) != len(ids):
        first: dict[str, int] = {}
        for i, name in enumerate(ids):
            if first.setdefault(name, i) != i:
                faults.add(("id", i), "duplicate", f"{show(name)} is row {first[name]}, too")
    return ids


def _starts(
    table: pa.Table, spec: Spec, options: Options, faults: Faults
) -> tuple[Array, str | None]:
    import pyarrow as pa

    column, freq = _column(table, "start"), spec.freq
    kind = column.type
    nothing: tuple[Array, None] = (np.zeros(0, "datetime64[us]"), None)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        faults.add(("start", row), "missing", "is null")
        return nothing
    temporal = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not (pa.types.is_string(kind) or (numeric if freq.integer else temporal)):
        expected = "steps" if freq.integer else "timestamps"
        faults.add(("start",), "wrong_type", f"must be a column of {expected}, not {kind}")
        return nothing
    if not temporal:
        return stamps.read_starts(
            column.to_pylist(), freq, options.tz, lambda i: ("start", i), faults
        )
    start = _microseconds(column)
    if start is None:
        detail = f"years from {stamps.FIRST_YEAR} to {stamps.LAST_YEAR} are taken"
        faults.add(("start",), "out_of_range", detail)
        return nothing
    zone = kind.tz if pa.types.is_timestamp(kind) else None
    if zone is not None and not stamps.is_zone(zone):
        detail = f"must have a zone such as Europe/Madrid, not {show(zone)}"
        faults.add(("start",), "unknown_zone", detail)
        return nothing
    if options.tz is not None or (zone is not None and not freq.sub_daily):
        offset = "" if zone is None else "+00:00"
        return stamps.read_starts(
            [stamp.isoformat() + offset for stamp in start.tolist()],
            freq,
            options.tz or zone,
            lambda i: ("start", i),
            faults,
        )
    return start, zone


def _microseconds(column: Any) -> Array | None:
    """Stamps as ``datetime64[us]``; None where one is no year that is taken, or would overflow."""
    import pyarrow as pa

    kind = column.type
    days = pa.types.is_date32(kind)
    unit = "D" if days else "ms" if pa.types.is_date64(kind) else kind.unit
    ticks = column.cast(pa.int32() if days else pa.int64()).to_numpy(zero_copy_only=False)
    first = np.datetime64(f"{stamps.FIRST_YEAR}-01-01", "us").astype(np.int64)
    last = np.datetime64(f"{stamps.LAST_YEAR + 1}-01-01", "us").astype(np.int64)
    size = MICROSECONDS.get(unit)
    if size is None:
        micro = ticks // 1_000
    elif ((ticks < first // size) | (ticks > last // size)).any():
        return None
    else:
        micro = ticks.astype(np.int64) * size
    outside = (micro < first) | (micro >= last)
    return None if outside.any() else micro.astype("datetime64[us]")


def _covariate(table: pa.Table, covariate: Covariate, faults: Faults) -> tuple[Array, Array] | None:
    name = f"{covariate.role}.{covariate.name}"
    listed = _listed(table, name, faults)
    if listed is None:
        return None
    values, sizes = listed
    if covariate.type == "categorical":
        return _texts(values, (name,), faults), sizes
    numbers = _floats(values, (name,), faults)
    return None if numbers is None else (numbers, sizes)


def _past(
    table: pa.Table, covariate: Covariate, query: Query, good: Array, faults: Faults
) -> Array:
    column = _covariate(table, covariate, faults)
    if column is None:
        return np.zeros(0)
    return _fitting(query, covariate, column, query.sizes, good, "as many as y has")


def _future(
    table: pa.Table, covariate: Covariate, query: Query, good: Array, faults: Faults
) -> Array:
    column = _covariate(table, covariate, faults)
    if column is None:
        return np.zeros(0)
    values, sizes = column
    steps = query.options.horizon
    if (sizes == steps).all():
        return with_history(values, query.sizes, steps)
    expected = "the horizon for all series, or history and horizon"
    return _fitting(query, covariate, column, query.sizes + steps, good, expected)


def _fitting(
    query: Query,
    covariate: Covariate,
    found: tuple[Array, Array],
    wanted: Array,
    good: Array,
    expected: str,
) -> Array:
    """Values in the widths wanted; a series that gives another width is refused."""
    values, sizes = found
    wrong = sizes != wanted
    if not wrong.any():
        return values
    for i in np.flatnonzero(wrong & good).tolist():
        detail = f"covariate {covariate.name!r} has {sizes[i]} values; expected {expected}"
        where = {"column": covariate.name}
        query.problems.append((i, SeriesProblem(query.ids[i], "length_mismatch", detail, where)))
        good[i] = False
    return _resized(values, sizes, wanted, wrong)


def _resized(values: Array, sizes: Array, wanted: Array, wrong: Array) -> Array:
    """Values in the widths wanted, rows of another width blank."""
    missing: Any = None if values.dtype == object else np.nan
    out = np.full(int(wanted.sum()), missing, dtype=values.dtype)
    out[np.repeat(~wrong, wanted)] = values[np.repeat(~wrong, sizes)]
    return out


def _static(table: pa.Table, covariate: Covariate, faults: Faults) -> Any:
    name = f"static.{covariate.name}"
    column = _column(table, name)
    if covariate.type == "categorical":
        return _texts(column, (name,), faults)
    values = _floats(column, (name,), faults)
    return np.full(table.num_rows, np.nan) if values is None else values
