"""A set-up: its MLflow store, where its artifacts go, its state folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import ConfigError
from forecasting.masking import masked
from pipelines.machine.databases import with_driver
from pipelines.machine.state import home
from pipelines.tracking.moved import DATABASE
from pipelines.tracking.store import SQLITE, connect, on_a_server

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


@dataclass(frozen=True)
class Place:
    """One side of a move.

    Attributes
    ----------
    client
        None: the store is yet to be made, and holds nothing.
    artifacts
        Root of new experiments; None: as the server says.
    state
        State folder; None where it is not at hand.
    """

    uri: str
    client: MlflowClient | None
    artifacts: str | None = None
    state: Path | None = None

    @property
    def name(self) -> str:
        """The store's address without its password."""
        return masked(self.uri)

    def opened(self) -> MlflowClient:
        """The store's client.

        Raises
        ------
        ConfigError
            There is no store yet.
        """
        if self.client is None:
            raise ConfigError(f"{self.name} is no MLflow store yet")
        return self.client


def source_of(uri: str | None) -> Place:
    """The set-up that is moved: by default what lies in the state folder.

    Raises
    ------
    ConfigError
        There is nothing.
    """
    own = f"{SQLITE}{home() / DATABASE}"
    address = with_driver(uri or own)
    if address.startswith(SQLITE) and not _file(address).is_file():
        raise ConfigError(
            f"{masked(address)}: there is no store to move; go to the folder where models were "
            "trained, set GATECAST_HOME, or name a store with --from"
        )
    return Place(address, connect(address), state=_file(own).parent if address == own else None)


def target_of(uri: str, *, artifacts: str | None, state: Path | None, dry: bool) -> Place:
    """The set-up that is moved to; made where there is none, unless it is a dry run.

    Raises
    ------
    ConfigError
        A database whose machine has no place for artifacts that all others could read.
    """
    address = with_driver(uri)
    if address.startswith(SQLITE):
        file = _file(address)
        address = f"{SQLITE}{file}"
        state = state or file.parent
        artifacts = artifacts or str(file.parent / "artifacts")
    elif not on_a_server(address) and artifacts is None:
        raise ConfigError(
            f"{masked(address)} holds rows, and models are files: name their root, which every "
            "machine reads, with --artifacts (s3://bucket/folder, or a shared folder)"
        )
    client = None if dry and _absent(address) else connect(address)
    return Place(address, client, artifacts, state)


def paged(ask: Callable[[str | None], Any]) -> list[Any]:
    """All that a store lists; ``ask`` gives the page after a token, with None the first."""
    items: list[Any] = []
    token = None
    while True:
        page = ask(token)
        items += page
        token = page.token
        if not token:
            return items


def _file(address: str) -> Path:
    return Path(address.removeprefix(SQLITE)).expanduser().resolve()


def _absent(address: str) -> bool:
    """Whether a dry run would make a store: a file, or tables of a database."""
    if on_a_server(address):
        return False
    if address.startswith(SQLITE):
        return not _file(address).is_file()
    import sqlalchemy as sa

    engine = sa.create_engine(address, connect_args={"connect_timeout": 10})
    try:
        return not sa.inspect(engine).has_table("experiments")
    except sa.exc.SQLAlchemyError as error:
        from pipelines.machine.databases import reason

        raise ConfigError(f"{masked(address)}: {masked(reason(error))}") from None
    finally:
        engine.dispose()
