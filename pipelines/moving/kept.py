"""Forecasts that were kept: from the state folder into another one, or into a database's table."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.forecasts.job import KEY, Job
from pipelines.forecasts.table_target import open_engine, split_name
from pipelines.forecasts.targets import target_of
from pipelines.machine.files import aside
from pipelines.moving.renamed import Renamed

if TYPE_CHECKING:
    import pyarrow as pa

FOLDERS = ("forecasts", "joint")  # of the state folder
MEDIAN = "q0.5"
RUN = "run_id"  # the column that names the run a forecast's model came of


def files_in(state: Path | None) -> list[Path]:
    """Files of kept forecasts, relative to the state folder; hidden ones are half written."""
    if state is None:
        return []
    return [
        file.relative_to(state)
        for folder in FOLDERS
        for file in sorted((state / folder).rglob("*"))
        if file.is_file() and not file.name.startswith(".")
    ]


def copy_files(source: Path, target: Path, renamed: Renamed) -> int:
    """Copy what the other folder lacks, each file whole or not at all; how many were copied.

    They name the run that their model came of; that gets its new id.
    """
    copied = 0
    for file in files_in(source):
        if not (target / file).exists():
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            with aside(target / file) as scratch:
                _write(source / file, scratch, renamed)
            copied += 1
    return copied


def is_row_file(file: Path) -> bool:
    """Whether a kept file holds rows that a table of forecasts can hold."""
    return file.parts[0] == FOLDERS[0] and file.suffix == ".parquet"


def copy_rows(source: Path, url: str, table: str, renamed: Renamed) -> int:
    """Put all Parquet files into a table, same rows again being the same; how many files."""
    files = 0
    for file in files_in(source):
        if not is_row_file(file):
            continue
        rows = renamed_rows(source / file, renamed)
        target = target_of(url, table)
        target.open(_job(rows))
        target.write(0, rows)
        target.finish()
        files += 1
    return files


def unlike_files(source: Path, target: Path, renamed: Renamed) -> Iterator[str]:
    """Files that are not in the other folder as they are here."""
    for file in files_in(source):
        if not (target / file).is_file():
            yield f"{file} is not there"
        elif file.suffix == ".parquet":
            if not renamed_rows(source / file, renamed).equals(renamed_rows(target / file, None)):
                yield f"{file} holds other rows"
        elif _text(source / file, renamed) != (target / file).read_bytes():
            yield f"{file} is another file"


def unlike_rows(source: Path, url: str, table: str, renamed: Renamed) -> Iterator[str]:
    """Forecasts in the files that the table does not hold as they are."""
    medians: dict[tuple[object, ...], float] = {}
    for file in files_in(source):
        if is_row_file(file):
            rows: Any = renamed_rows(source / file, renamed).select([*KEY, MEDIAN])
            columns: dict[str, list[Any]] = rows.to_pydict()
            # A file that comes later replaces, as in the table.
            keys = zip(*(columns[name] for name in KEY), strict=True)
            medians.update(zip(keys, columns[MEDIAN], strict=True))
    place = KEY.index("cutoff")  # which databases give back in types of their own
    counts = Counter((*key[:place], *key[place + 1 :], value) for key, value in medians.items())
    lacking = counts - _rows_of(url, table)
    if lacking:
        yield f"{lacking.total():,} forecasts are not in table {table} as they are in the files"


def _rows_of(url: str, table: str) -> Counter[tuple[object, ...]]:
    import sqlalchemy as sa

    schema, name = split_name(table)
    engine = open_engine(url)
    columns: list[Any] = [sa.column(one) for one in (*KEY, MEDIAN) if one != "cutoff"]
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table(name, schema=schema):
                return Counter()
            result = connection.execute(
                sa.select(*columns).select_from(sa.table(name, schema=schema))
            )
            return Counter(tuple(row) for row in result)
    finally:
        engine.dispose()


def renamed_rows(file: Path, renamed: Renamed | None) -> pa.Table:
    """A Parquet file's rows, with the new ids of runs."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(file)
    if renamed is None or RUN not in table.column_names:
        return table
    place = table.column_names.index(RUN)
    old = table.column(RUN).to_pylist()
    new = pa.array([renamed.ids.get(one, one) for one in old], table.schema.field(RUN).type)
    return table.set_column(place, table.schema.field(RUN), new)


def _write(file: Path, scratch: Path, renamed: Renamed) -> None:
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(renamed_rows(file, renamed), scratch)
    else:
        scratch.write_bytes(_text(file, renamed))


def _text(file: Path, renamed: Renamed) -> bytes:
    content = file.read_bytes()
    try:
        return renamed.text(content.decode()).encode()
    except UnicodeDecodeError:
        return content


def _job(table: pa.Table) -> Job:
    """The job that wrote a file, as far as a target asks for it."""
    first = {name: table.column(name)[0].as_py() for name in ("model", "version", RUN, "job")}
    return Job(
        model=first["model"],
        version=int(first["version"]),
        run_id=first[RUN],
        digest=first["job"],
        newest="",
        horizon=1,
        levels=(),
        created=datetime.datetime.now(datetime.UTC),
    )
