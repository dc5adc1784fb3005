"""A piece of work that depends on no other, and what a place where such work is done must do."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from forecasting.errors import GatecastError

if TYPE_CHECKING:
    from forecasting.data.panel import Panel

Row = dict[str, Any]
Tell = Callable[[Row], None]


def nobody(_row: Row) -> None:
    """Hears rows, and does nothing with them."""


@dataclass(frozen=True)
class Hand:
    """What work is handed beside its parcel.

    Attributes
    ----------
    tell : takes rows of plain values, such as those of a training's history.
    out : a folder for the files that the work makes. kept : one for what it goes on from when it
        is done again after it was cut off; it need not exist.
    """

    tell: Tell = nobody
    out: Path | None = None
    kept: Path | None = None


# From a parcel of plain values and bytes, and what was shared (panels and folders), to an answer of
# plain values.
Work = Callable[[Mapping[str, Any], Sequence[Any], Hand], dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """Work to be done, here or elsewhere.

    Attributes
    ----------
    name : for people.
    work : ``module:function`` of this package, of type `Work`.
    parcel : plain values and bytes.
    shared : what `Place.share` gave.
    tell, out, kept : as of `Hand`, on the side of who asks.
    """

    name: str
    work: str
    parcel: Mapping[str, Any]
    shared: tuple[Any, ...] = ()
    tell: Tell = nobody
    out: Path | None = None
    kept: Path | None = None


class Place(Protocol):
    """Where tasks are done. `do` may be called from as many threads at once as there are workers.

    Attributes
    ----------
    workers : tasks at the same time.
    """

    @property
    def workers(self) -> int:
        """Tasks at the same time."""

    def share(self, value: Panel | Path) -> Any:
        """A panel, or a folder of files, for any number of tasks."""

    def do(self, task: Task) -> dict[str, Any]:
        """Does a task and waits for its answer; raises the error that it ended with."""

    def close(self) -> None:
        """Ends what was started for it."""


def work_named(name: str) -> Work:
    """The function that a task names.

    Raises
    ------
    GatecastError : it is none of this package's.
    """
    module, _, function = name.partition(":")
    if module.partition(".")[0] != "pipelines":
        raise GatecastError(f"{name!r} is no work of Gatecast's")
    work: Work = getattr(importlib.import_module(module), function)
    return work


ECHO = f"{__name__}:echo"


def echo(parcel: Mapping[str, Any], _shared: Sequence[Any], _hand: Hand) -> dict[str, Any]:
    """A work that gives its parcel back: what a task costs by itself."""
    return dict(parcel)


class Here:
    """Tasks in this process, in the thread that asks; they have all of its threads."""

    workers = 1

    def share(self, value: Panel | Path) -> Any:
        """The thing itself."""
        return value

    def do(self, task: Task) -> dict[str, Any]:
        """Does a task."""
        hand = Hand(task.tell, task.out, task.kept)
        return work_named(task.work)(task.parcel, task.shared, hand)

    def close(self) -> None:
        """Nothing was started."""
