"""The tables of a question, read as `gatecast forecast` reads them: by the model's config."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from forecasting.data.panel import Panel
from forecasting.errors import ConfigError, DataError, GatecastError
from pipelines.commands.diagnose import RUN_ID, read_table
from pipelines.machine.say import heard_by
from pipelines.terminal.outcome import tell

if TYPE_CHECKING:
    from forecasting.prediction.answers import Answers
    from pipelines.config import ExperimentConfig


def panel_of(
    what: str,
    engine: Answers,
    data: str,
    *,
    future: str | None = None,
    static: str | None = None,
) -> Panel:
    """A table as the panel that a model is asked about.

    Parameters
    ----------
    what : the model, as the command was given it. What a saved folder says of its table is
        ``unique_id, ds, y``; a registered model was trained by a config, which says the rest.
    data, future, static : files or, with a config, any source.

    Raises
    ------
    DataError, ConfigError : a table that cannot be read so.
    """
    config = _config(what)
    if config is None:
        return _plain(engine, data, future, static)
    try:
        return _by_config(config, engine, data, future, static)
    except DataError as error:
        # Tables as the library takes them have always been taken.
        try:
            panel = _plain(engine, data, future, static)
        except GatecastError:
            raise error from None
        tell(f"{data} was read as unique_id, ds, y, not by the model's config: {error}")
        return panel


def _config(what: str) -> ExperimentConfig | None:
    """The config that a model was trained by; None where nothing keeps it."""
    from pipelines.registry.registered import registered_config
    from pipelines.registry.registry import Registry
    from pipelines.tracking.store import connect

    if Path(what).is_dir():
        return None
    if RUN_ID.fullmatch(what):
        tags = Registry(connect()).client.get_run(what).data.tags
        if not (tags.get("model") and tags.get("version")):
            return None
        what = f"{tags['model']}@{tags['version']}"
    try:
        return registered_config(what)
    except GatecastError as error:
        tell(f"{error}; the table is read as unique_id, ds, y")
        return None


def _by_config(
    config: ExperimentConfig, engine: Answers, data: str, future: str | None, static: str | None
) -> Panel:
    from pipelines.data.prepare import prepare

    section = config.data.replace(source=data)
    if static is not None:
        if section.static is None:
            raise ConfigError("--static: the model's config names no static table, data.static")
        section = section.replace(static=section.static.replace(source=static))
    config = config.model_copy(update={"data": section})
    prepared = prepare(config, every_series=True, future=future or config.forecast.future)
    for line in prepared.said:
        tell(line)
    panel = prepared.panel.under(engine.schema)
    with heard_by(tell):
        engine.say_odd(panel)
    return panel


def _plain(engine: Answers, data: str, future: str | None, static: str | None) -> Panel:
    tables = [None if path is None else read_table(Path(path)) for path in (data, future, static)]
    frame, ahead, about = tables
    assert isinstance(frame, pd.DataFrame)
    return engine.panel_of(frame, static=about, future=ahead)
