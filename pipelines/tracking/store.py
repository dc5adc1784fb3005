"""The store behind MLflow: where it is, and whether it answers."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from forecasting.errors import GatecastError
from forecasting.masking import concealed, masked
from pipelines.machine.databases import with_driver
from pipelines.machine.state import home, locked, quiet
from pipelines.tracking.moved import DATABASE, follow_home

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


SQLITE = "sqlite:///"


class StoreVersionError(GatecastError):
    """A store whose tables another version of MLflow made."""


def default_uri() -> str:
    """Tracking URI: ``MLFLOW_TRACKING_URI`` or SQLite in the state folder."""
    return with_driver(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home() / DATABASE}")


def on_a_server(uri: str) -> bool:
    """Whether a store is a server's, which makes and migrates its own tables."""
    return uri.startswith("http")


def connect(uri: str | None = None) -> MlflowClient:
    """A client of a store that is there and migrated.

    Raises
    ------
    GatecastError
        When the store cannot be reached or is no MLflow store.
    """
    quiet()
    uri = with_driver(uri or default_uri())
    if "://" not in uri or uri.startswith("file:"):
        raise GatecastError(
            f"tracking.uri {masked(uri)!r} is not usable: give sqlite:///path/mlflow.db, "
            "postgresql://... or http(s)://..."
        )
    if not on_a_server(uri):
        # MLflow's client alone comes without them, and tells only that it cannot read the store.
        import alembic  # noqa: F401
        import sqlalchemy  # noqa: F401
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        if uri.startswith(SQLITE):
            Path(uri.removeprefix(SQLITE)).expanduser().parent.mkdir(parents=True, exist_ok=True)
        # Several processes that open a new database at once corrupt its migration: one goes
        # first, and whoever holds the lock later finds the work done.
        with _database_lock(uri):
            _knock(uri)
            _make_database(uri)
            client = MlflowClient(uri, registry_uri=uri)
            _open(client, uri)
            if uri == f"sqlite:///{home() / DATABASE}":
                follow_home()
    except GatecastError:
        raise
    except Exception as error:  # MLflow opens a store under its driver's and its migration's errors
        # MLflow tells of it in words alone.
        kind = StoreVersionError if "mlflow db upgrade" in str(error) else GatecastError
        raise kind(
            concealed(f"the MLflow store {uri} cannot be used: {brief(error)}", uri)
        ) from None
    return client


def _database_lock(uri: str) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if on_a_server(uri) else locked("mlflow-migration")


def _open(client: MlflowClient, uri: str) -> None:
    """Ask for one of what a store holds: MLflow makes and migrates its tables when first asked."""
    client.search_experiments(max_results=1)
    if not on_a_server(uri):
        client.search_registered_models(max_results=1)


def _make_database(uri: str) -> None:
    """A new SQLite file is made beside its place and then put there.

    MLflow's first migration takes dozens of steps, and where it is cut off (a full disk, a kill)
    the file left behind can neither be used nor mended.
    """
    if not uri.startswith(SQLITE):
        return
    from mlflow.tracking import MlflowClient

    place = Path(uri.removeprefix(SQLITE)).expanduser()
    if not place.name or (place.exists() and place.stat().st_size):
        return
    # A name of its own for each try: MLflow remembers those that it has opened.
    half = place.with_name(f"{place.name}.half-{uuid.uuid4().hex}")
    address = f"{SQLITE}{half}"
    try:
        for file in place.parent.glob(f"{place.name}.half-*"):
            file.unlink()
        _open(MlflowClient(address, registry_uri=address), address)
        half.replace(place)
    finally:
        for file in place.parent.glob(f"{half.name}*"):
            file.unlink()


def _knock(uri: str) -> None:
    """Fail at once where no database answers: MLflow would ask ten times, over 100 seconds."""
    if on_a_server(uri) or uri.startswith("sqlite"):
        return
    from sqlalchemy import create_engine

    # A host that takes the call and never speaks is away, too.
    patience = {"connect_timeout": 10} if uri.startswith("postgresql") else {}
    engine = create_engine(uri, connect_args=patience)
    engine.connect().close()
    engine.dispose()


def brief(error: BaseException) -> str:
    """First line of an error's text, at most 300 characters, without secrets."""
    text = masked(str(error)).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]


def store_errors() -> tuple[type[Exception], ...]:
    """What a store that was opened fails with, SQL or server."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    return MlflowException, RequestException
