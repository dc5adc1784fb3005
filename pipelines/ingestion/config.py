"""What a table looks like and what may be done to it: `DataConfig`, every policy with its default.

A default never guesses at a number: it repairs what has one reading, flags what has several, and
refuses what would lose much.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from forecasting.data.calendar import Frequency
from forecasting.known.occasions import with_closed_days
from forecasting.settings import Settings

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Names = tuple[str, ...]
Aggregate = Literal["mean", "sum", "min", "max", "first", "last"]

DEFAULT_CODES: Names = (
    "", "NA", "N/A", "n/a", "#N/A", "#NA", "NaN", "nan", "NAN", "null", "NULL", "Null", "None",
    "none", "nil", "-", "--", "---", "—", "–", ".", "..", "...", "?", "#VALUE!", "#REF!",
    "#DIV/0!", "#NUM!", "missing", "MISSING", "(null)", "\\N", "<NA>", "NaT", "k.A.", "n.a.",
)  # fmt: skip


def _several(value: Any) -> Any:
    """A single name where a list of names is meant."""
    return (value,) if isinstance(value, (str, int, float)) else value


class CsvConfig(Settings):
    """How a text table is written. ``None`` means found out from the file."""

    encoding: str | None = None
    separator: str | None = Field(None, min_length=1, max_length=1)
    quote: str | None = Field('"', min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = None
    thousands: str | None = Field(None, max_length=1, description='"" for none')
    comment: str | None = Field(None, description="lines that begin with it are left out")
    skip_lines: int = Field(0, ge=0, description="lines before the header")
    header_lines: int = Field(1, ge=0, le=20, description="0: columns are named c1, c2, …")
    drop_lines: Names = Field((), description="regular expressions of lines to leave out")
    malformed: Literal["drop", "refuse"] = Field(
        "drop", description="lines with another number of cells than the header"
    )

    _listed = field_validator("drop_lines", mode="before")(_several)


class UnitConfig(Settings):
    """A column that names the unit of each value, and what a unit is worth."""

    column: str
    scale: dict[str, float]


class ValueConfig(Settings):
    """How numbers of one column are read."""

    missing: Names = Field((), description="further codes for missing, as text; -999 for instance")
    minimum: float | None = Field(None, description="below it a value is impossible")
    maximum: float | None = Field(None, description="above it a value is impossible")
    outside: Literal["missing", "flag", "refuse"] = "missing"
    zeros: Literal["keep", "missing"] = "keep"
    scale: float = Field(1.0, description="factor on every value")
    unit: UnitConfig | None = None

    @field_validator("missing", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        value = _several(value)
        return tuple(str(v) for v in value) if isinstance(value, (list, tuple)) else value

    @model_validator(mode="after")
    def _ordered(self) -> ValueConfig:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        if self.scale == 0:
            raise ValueError("scale must not be 0")
        return self


class CovariateConfig(ValueConfig):
    """A column beside y.

    ``spread: day`` gives a value that stands on one row of a day to the whole day. ``fill`` is
    what absent rows and cells mean; without it they are missing.
    """

    name: str
    column: str | None = Field(None, description="its name in the source; default: name")
    role: Literal["past", "future", "static"] = "past"
    type: Literal["real", "categorical"] | None = None
    recode: dict[str, str] = Field(default_factory=dict, description="categories to rename")
    spread: Literal["day"] | None = None
    fill: str | float | None = None

    @property
    def source(self) -> str:
        """Its column in the source."""
        return self.column or self.name


class IdConfig(Settings):
    """How series are named.

    ``template`` builds a name from the columns of the id: ``"s{store:0>3}_{product}"``, with
    Python's alignment marks. ``rename`` translates the values of a column first.
    """

    template: str | None = None
    separator: str = Field("/", description="between several id columns without a template")
    rename: dict[str, dict[str, str]] = Field(default_factory=dict)
    trim: bool = Field(True, description="remove blanks around, and double blanks inside")
    twins: Literal["auto", "merge", "keep", "refuse"] = Field(
        "auto",
        description="ids that differ in case or Unicode form only; auto: merge unless both "
        "have rows for the same stamps",
    )
    drop: Names = Field((), description="regular expressions of ids to leave out, such as TOTAL")
    max_length: int = Field(1000, ge=1, description="characters")

    _listed = field_validator("drop", mode="before")(_several)


class StampFormat(Settings):
    """One way a time stamp is written.

    ``format`` is a strptime pattern (``%G-W%V`` too), or ``iso``, ``epoch_s``, ``epoch_ms``,
    ``epoch_us``, ``epoch_ns``, ``epoch_d`` (Unix time), ``excel``, ``excel_1904`` (days of a
    spreadsheet), ``mjd`` (modified Julian days), ``ticks`` (.NET), ``filetime`` (Windows),
    any count as ``days since 1960-01-01`` (hours, minutes, seconds, milliseconds), ``year``,
    ``financial_year``, ``half_year``, ``quarter``, ``month`` (with its year, 01/19 or Jan-19),
    ``week`` or ``step``.
    """

    format: str = Field(min_length=1)
    zone: str | None = Field(None, description="zone of stamps written so, without an offset")
    weekday: int = Field(1, ge=1, le=7, description="day a week is stamped with, 1 = Monday")


class StampConfig(Settings):
    """How time is written, and what its stamps mean."""

    formats: tuple[StampFormat, ...] = Field((), description="empty: found out from the values")
    day_first: bool | None = Field(None, description="01/02 is the first of February")
    freq: str | None = Field(None, description="the step that readings are judged by; data.freq's")
    most_growth: float = Field(
        2.0,
        ge=1.0,
        description="a table that would grow to more than so many times its stamps, between the "
        "first and the last, is refused unless freq is given",
    )
    zone: str | None = Field(None, description="zone of stamps without an offset, Europe/Berlin")
    label: Literal["start", "end"] = Field("start", description="end: a stamp ends its interval")
    axis: Literal["auto", "clock", "time"] = Field(
        "auto", description="what a step of some hours keeps to: the wall clock, or passed time"
    )
    ambiguous: Literal["order", "first", "second", "refuse"] = Field(
        "order", description="the doubled hour in autumn; order: as the rows stand in the source"
    )
    nonexistent: Literal["shift", "drop", "refuse"] = Field(
        "shift", description="the hour that is skipped in spring"
    )
    unreadable: Literal["drop", "refuse"] = Field("drop", description="rows without a usable stamp")
    max_unreadable: Share = Field(0.05, description="more than this share is an error")
    earliest: str = "1700-01-01"
    latest: str = "2200-12-31"

    @field_validator("formats", mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        value = _several(value)
        if isinstance(value, (list, tuple)):
            return tuple({"format": v} if isinstance(v, str) else v for v in value)
        return value

    @field_validator("zone")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return _zone(value)


class DuplicateConfig(Settings):
    """Rows with the same id and stamp."""

    identical: Literal["drop", "refuse"] = "drop"
    conflicting: Aggregate | Literal["refuse"] = "last"
    max_share: Share = Field(
        0.2, description="more conflicts than this share of rows means a forgotten id column"
    )


class IrregularConfig(Settings):
    """Stamps that do not lie on the grid of the frequency."""

    policy: Literal["snap", "resample", "refuse"] = "snap"
    aggregate: Aggregate = Field("mean", description="for resample, and snapped rows that collide")
    tolerance: float = Field(0.5, gt=0, le=0.5, description="furthest snap, in steps")
    max_share: Share = Field(0.2, description="snapping more than this share of rows is an error")


class FlagConfig(Settings):
    """What is looked for in the values. Flagged, not changed, unless the policy says missing."""

    sentinels: Literal["auto", "missing", "flag", "keep"] = Field(
        "auto", description="-999 and its like; auto: missing where a series is else not negative"
    )
    infinite: Literal["missing", "refuse"] = "missing"
    negative: Literal["keep", "flag", "missing", "refuse"] = Field(
        "flag", description="negative values in a series that is else (99 %) not negative"
    )
    flat: int = Field(0, ge=0, description="rows of one value in a row; 0: from the series")
    flat_policy: Literal["keep", "flag", "missing"] = "flag"
    spikes: Literal["keep", "flag", "missing"] = "flag"
    spike_size: float = Field(12.0, gt=3, description="distance from the median, in robust sigmas")
    units: Literal["keep", "flag"] = "flag"
    unit_factor: float = Field(8.0, gt=1, description="smallest lasting change of level")
    min_rows: int = Field(3, ge=1, description="observed values a series needs for training")


class GapConfig(Settings):
    """Absent rows inside a series become missing values."""

    policy: Literal["insert", "refuse"] = "insert"
    max_growth: float = Field(
        50.0, ge=1, description="a table that would grow more than this has a wrong frequency"
    )


class StaticConfig(Settings):
    """A table with one row per series."""

    source: str
    id: str = "unique_id"
    columns: Names | None = Field(None, description="default: all")


class KnownConfig(Settings):
    """A long table of covariates known ahead, with a stamp of when each value was known.

    A value may stand there several times, each as it was said then. ``columns`` : numbers.
    """

    source: str
    columns: Names = Field(min_length=1)
    id: str = "unique_id"
    ds: str = "ds"
    known_at: str = "known_at"

    _listed = field_validator("columns", mode="before")(_several)

    @field_validator("columns")
    @classmethod
    def _own(cls, value: Names) -> Names:
        if len(set(value)) != len(value):
            raise ValueError("the same column twice")
        return value


class NewerConfig(Settings):
    """Rows that are read: those whose column is greater. A column of partitions spares their files.

    Of Parquet, Delta, Iceberg, and of a table of a database.
    """

    column: str
    than: str = Field(description="a date, stamp, number or text, as the column holds")

    @field_validator("than", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        # YAML reads dates and numbers.
        return value if isinstance(value, (str, bool)) else str(value)


class ReportConfig(Settings):
    """How much the report holds; the table of repairs beside it holds all of them."""

    positions: int = Field(1000, ge=0, description="positions listed per kind of repair")
    series: int = Field(1000, ge=0, description="series listed one by one")
    drawings: int = Field(12, ge=0, le=200, description="worst series drawn")


class DataConfig(Settings):
    """From a raw table to a clean one.

    Attributes
    ----------
    source : a file, folder, glob, fsspec URL or SQLAlchemy URL.
    format : found out from the source unless given.
    query, table : of a database. newer : only rows or partitions after some value are read.
    layout : ``long`` (a row per value), ``wide`` (a column per series), ``rows`` (a row per
        series, stamps or steps in the header) or ``calendar`` (a row per year, month or day, its
        months, days or hours in the header).
    id, ds, y : columns of the source. Several id columns are joined, several ds columns (date and
        time) are read as one stamp.
    levels : names of the header lines of a wide table, for ``ids.template``.
    series : the name of the only series, in a table without ids.
    freq : a pandas alias or ``step``; inferred when not given.
    """

    source: str | None = None
    format: Literal["csv", "parquet", "arrow", "sql"] | None = None
    query: str | None = None
    table: str | None = None
    layout: Literal["long", "wide", "rows", "calendar"] | None = None
    id: Names | None = None
    ds: Names | None = None
    y: str | None = None
    series: str | None = None
    levels: Names = ()
    freq: str | None = None
    other_freq: Literal["refuse", "drop", "keep"] = Field(
        "refuse", description="series that clearly keep another step than the rest"
    )
    covariates: tuple[CovariateConfig, ...] = ()
    static: StaticConfig | None = None
    known: KnownConfig | None = None
    newer: NewerConfig | None = None
    blanks: Literal["auto", "keep", "trim"] = Field(
        "auto", description="missing values before and after a series; auto: trim in wide tables"
    )
    stream: bool | None = Field(None, description="by row group; default: when memory is short")
    store: Literal["auto", "memory", "mapped"] = Field(
        "auto",
        description="where values lie: in memory, or in files that are mapped; auto: mapped "
        "from a sixteenth of the memory at hand on; results are the same",
    )
    max_columns: int = Field(100_000, ge=2)
    csv: CsvConfig = CsvConfig()
    ids: IdConfig = IdConfig()
    stamps: StampConfig = StampConfig()
    values: ValueConfig = ValueConfig()
    duplicates: DuplicateConfig = DuplicateConfig()
    irregular: IrregularConfig = IrregularConfig()
    gaps: GapConfig = GapConfig()
    flags: FlagConfig = FlagConfig()
    report: ReportConfig = ReportConfig()

    _listed = field_validator("id", "ds", "levels", mode="before")(_several)

    @field_validator("covariates", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        value = _several(value)
        if isinstance(value, (list, tuple)):
            return tuple({"name": v} if isinstance(v, str) else v for v in value)
        return value

    @field_validator("freq")
    @classmethod
    def _parsed(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                value = with_closed_days(value)
                Frequency.parse(value)
            except Exception as error:
                raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _fitting(self) -> DataConfig:
        names = [c.name for c in self.covariates]
        twice = sorted({n for n in names if names.count(n) > 1})
        reserved = sorted({"unique_id", "ds", "y"} & set(names))
        if twice or reserved:
            raise ValueError(f"covariates: the name {(twice or reserved)[0]!r} is already taken")
        if self.id and self.series:
            raise ValueError("id and series exclude each other: series names the only one")
        if self.query and self.table:
            raise ValueError("query and table exclude each other")
        if self.query and self.newer:
            raise ValueError("query and newer exclude each other: put the condition into the query")
        return self

    def role(self, role: str) -> tuple[str, ...]:
        """Names of the covariates of one role, in the order given."""
        return tuple(c.name for c in self.covariates if c.role == role)


def _zone(value: str | None) -> str | None:
    if value is not None:
        from zoneinfo import ZoneInfo

        try:
            ZoneInfo(value)
        except Exception:
            raise ValueError(
                f"{value!r} is no time zone; use a name such as Europe/Berlin or UTC"
            ) from None
    return value
