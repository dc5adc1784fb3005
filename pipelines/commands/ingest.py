"""``gatecast ingest``: from a raw table to a clean panel and a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pipelines.commands.common import SetOption
from pipelines.terminal.outcome import complain, done, tell, wants_json
from pipelines.terminal.waiting import waiting

if TYPE_CHECKING:
    from pipelines.ingestion import DataConfig

SHOWN = 40


def register(app: typer.Typer) -> None:
    """Add ``ingest``."""
    app.command("ingest")(ingest)


def ingest(
    source: str | None = typer.Argument(
        None, metavar="[SOURCE]", help="File, folder, URL or database; default: data.source."
    ),
    config: str | None = typer.Option(
        None, "--config", "-c", help="A YAML file with a data section."
    ),
    out: str | None = typer.Option(None, "--out", "-o", help="Folder to write to; default: none."),
    strict: bool = typer.Option(False, "--strict", help="Refuse instead of repairing."),
    freq: str | None = typer.Option(None, "--freq", help="Step of the series; default: inferred."),
    sets: list[str] | None = SetOption,
) -> None:
    """Clean a raw table; say what was done about it.

    Writes `panel.parquet`, `report.html`, `report.json`, and where there is something in them
    `static.parquet` and `repairs.parquet`: all of them, or nothing.

    Example: `gatecast ingest sales.csv --config sales.yaml --out clean/`
    """
    from pipelines.ingestion import MappingError
    from pipelines.ingestion.pieces import ingest_to
    from pipelines.ingestion.result.output import written

    settings, horizon = _settings(source, config, sets)
    try:
        with waiting(f"reading {source or settings.source}"):
            report = ingest_to(settings, out, strict=strict, freq=freq, horizon=horizon)
    except MappingError as error:
        complain(f"Paste this into the config, if it is right:\n\n{error.proposal}\n")
        raise
    tell(report.summary)
    for line in report.notes:
        tell(f"  {line}")
    for finding in report.to_dict()["findings"][:SHOWN]:
        tell(
            f"  {finding['count']:>10,}  {finding['code']:<22} {finding['action']:<9}"
            f" {finding['detail']}"
        )
    values = report.to_dict()
    if report.to_dict()["findings"]:
        tell("what such a code means: gatecast docs CODE")
    if out is not None:
        paths = written(out)
        for path in paths:
            print(path)
        panel = next((str(path) for path in paths if Path(path).name == "panel.parquet"), out)
        done({"report": values}, following=f"gatecast init {shlex.quote(panel)}")
        if wants_json():
            done(made=paths)
        return
    done({"report": values})
    tell("Nothing was written; --out FOLDER keeps the clean table and the report.")


def _settings(
    source: str | None, config: str | None, sets: list[str] | None
) -> tuple[DataConfig, int | None]:
    """The data section, and the horizon where the file is a whole experiment."""
    from forecasting.errors import ConfigError
    from pipelines.config import build_config
    from pipelines.config.file import override, read_yaml
    from pipelines.ingestion import DataConfig

    values: dict[str, Any] = override(read_yaml(config) if config else {}, sets or ())
    data: Any = values.get("data", {})
    if not isinstance(data, dict):
        raise ConfigError(f"{config}: data: expected keys and values such as 'y: sales'")
    if source is not None:
        data = {**data, "source": source}
    if {"name", "horizon"} <= set(values):
        whole = build_config({**values, "data": data}, origin=str(config))
        return whole.data, whole.horizon
    unknown = sorted(set(values) - {"data"})
    if unknown and "data" not in values:
        raise ConfigError(
            f"{config or '--set'}: no data section, only {', '.join(unknown[:5])}; put what "
            "concerns the table below data:"
        )
    return DataConfig.parse(data, at="data"), None
