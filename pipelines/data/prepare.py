"""The first stage: from the configured source to a panel that can be trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError
from forecasting.masking import HIDDEN, concealing, masked
from pipelines.config import ExperimentConfig
from pipelines.data.profile import panel_digest

if TYPE_CHECKING:
    from pipelines.ingestion.report.report import Report

PUBLIC = "dataset:"  # a public data set by name instead of a table: dataset:m3_monthly


@dataclass(frozen=True)
class Prepared:
    """A panel and where it came from.

    Attributes
    ----------
    report
        The ingestion's report of every repair; None for a public data set, and where every
        series is taken: looking through all values for it takes as long as reading them.
    source
        What was read, for the lineage, without its passwords and tokens.
    left_out
        Series that are too short to train on and are not in the panel.
    planned
        What a person should know of the table of known-future covariates, a line each.
    reading
        How the stamps were read where they could be read otherwise; "" where they could not.
    mended
        What was done to the table while it was read; "" for nothing.
    leaks
        Covariates that are y itself; "" for none. It is looked for where something is trained.
    """

    panel: Panel
    source: str
    report: Report | None = None
    left_out: int = 0
    planned: tuple[str, ...] = ()
    reading: str = ""
    mended: str = ""
    leaks: str = ""

    @cached_property
    def digest(self) -> str:
        """The data hash of runs and versions; taken once, however often it is asked for."""
        return panel_digest(self.panel)

    @property
    def summary(self) -> str:
        """One line on the data for a person."""
        lengths = self.panel.lengths
        return (
            f"{len(self.panel):,} series, {self.panel.rows:,} rows "
            f"({int(lengths.min())} to {int(lengths.max())} each), freq {self.panel.freq.alias}"
            + (f"; {self.left_out:,} too short to train on left out" if self.left_out else "")
        )

    @property
    def said(self) -> list[str]:
        """The summary, and what else no command must keep to itself, a line each."""
        return [self.summary, *filter(None, [self.mended, self.reading, self.leaks]), *self.planned]

    @property
    def notes(self) -> list[str]:
        """What a person should know of how the tables were read, a line each."""
        own = self.report.notes if self.report is not None else []
        return [*own, *self.planned]


def prepare(
    config: ExperimentConfig, *, every_series: bool = False, future: str | None = None
) -> Prepared:
    """Read, clean and check the data of an experiment.

    Parameters
    ----------
    every_series
        Also those without the ``data.flags.min_rows`` values that training asks for: they can
        be forecast, but nothing is learnt from them. No report is made then.
    future
        A second table with known-future covariates, see `pipelines.data.plan`.

    Raises
    ------
    DataError, ConfigError
        Nothing to read, or a table that cannot be used, with what to do about it.
    """
    source = config.data.source
    if not source:
        raise ConfigError("data.source: required, but not given; name a file, folder or URL")
    with concealing(source):
        if source.startswith(PUBLIC):
            prepared = _public(source, config, future)
        else:
            prepared = _ingested(source, config, every_series, future)
    panel = prepared.panel
    if config.history is not None:
        panel = panel.tail(config.history)
    if not len(panel) or not panel.rows:
        raise DataError(f"{masked(source)}: no series with a value is left to train on")
    return replace(prepared, panel=panel, source=masked(source))


def _public(source: str, config: ExperimentConfig, future: str | None) -> Prepared:
    from pipelines.data.datasets import load

    if future is not None:
        raise ConfigError(f"--future: {source} has no covariates; it belongs to a table of yours")
    tasks = load(source.removeprefix(PUBLIC))
    fitting = [task for task in tasks if task.horizon == config.horizon] or tasks
    return Prepared(fitting[0].train, source)


def _ingested(
    source: str, config: ExperimentConfig, every_series: bool, future: str | None
) -> Prepared:
    from pipelines.ingestion import ingest
    from pipelines.ingestion.report.words import mended
    from pipelines.ingestion.result.future import note_leaks

    result = ingest(config.data, freq=config.freq)
    panel = result.panel()
    planned: tuple[str, ...] = ()
    if future is not None:
        from pipelines.data.plan import add_plan

        panel, notes = add_plan(future, panel, result.config, config.horizon, result.clean.facts)
        planned = tuple(notes)
    if config.data.known is not None:
        from pipelines.data.known import add_known

        panel, notes = add_known(panel, config.data.known, config.horizon)
        planned = (*planned, *notes)
    prepared = Prepared(
        panel,
        source,
        planned=planned,
        reading=str(result.clean.facts.get("reading", "")),
        mended=mended(result.clean.ledger),
    )
    if every_series:
        return prepared
    prepared = replace(prepared, leaks=note_leaks(result.clean, config.horizon, panel))
    trainable = result.trainable
    if trainable.all():
        return replace(prepared, report=result.report)
    if not trainable.any():
        raise DataError(
            f"{source}: none of the {len(panel):,} series has the data.flags.min_rows = "
            f"{result.config.flags.min_rows} values that training asks for"
        )
    return replace(
        prepared,
        panel=panel.select(trainable),
        report=result.report,
        left_out=int((~trainable).sum()),
    )


def source_name(source: str) -> str:
    """A short name of a source, for runs: a file's without its endings, or the data set's."""
    from pipelines.ingestion.read.sources import PACKED, TEXT

    if source.startswith(PUBLIC):
        return source.removeprefix(PUBLIC)
    file = Path(masked(source).split("?")[0].split("#")[0])
    if file.suffix.lower() in PACKED:  # calls.csv.gz; of calls.2024.gz the year is kept
        file = Path(file.stem)
        stem = file.stem if file.suffix.lower() in TEXT else file.name
    else:
        stem = file.stem
    return stem.rpartition(f"{HIDDEN}@")[2] or "table"
