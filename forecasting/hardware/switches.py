"""Settings of the whole process that trainings in several threads want at the same time.

Log levels, warning filters and precisions exist once per process, and the usual context managers
put back what they found. Two that overlap put back each other's: the process stays changed for
good. Here the first that comes turns a setting and the last that leaves turns it back.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)


class Switch(Generic[Value]):
    """One setting of the process.

    Parameters
    ----------
    turned : sets it to a value, and when left sets it back.
    settle : what holds where several values are asked for.
    """

    def __init__(
        self,
        turned: Callable[[Value], AbstractContextManager[Any]],
        settle: Callable[[Sequence[Value]], Value],
    ) -> None:
        self.turned, self.settle = turned, settle
        self.lock = threading.Lock()
        self.asked: list[Value] = []
        self.holds: tuple[Value, AbstractContextManager[Any]] | None = None

    @contextmanager
    def at(self, value: Value) -> Iterator[None]:
        """Within it the setting has this value, or what all who ask for one settle on."""
        with self.lock:
            self.asked.append(value)
            try:
                self._turn()
            except BaseException:
                self.asked.remove(value)
                raise
        try:
            yield
        finally:
            with self.lock:
                self.asked.remove(value)
                self._turn()

    def _turn(self) -> None:
        value = self.settle(self.asked) if self.asked else None
        if self.holds is not None and (value is None or self.holds[0] != value):
            (_, setting), self.holds = self.holds, None
            setting.__exit__(None, None, None)
        if self.holds is None and value is not None:
            setting = self.turned(value)
            setting.__enter__()
            self.holds = value, setting


@contextmanager
def _errors_only(names: frozenset[str]) -> Iterator[None]:
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in names}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def _silence(_: bool) -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_LOGGERS = Switch(_errors_only, lambda asked: frozenset[str]().union(*asked))
_WARNINGS = Switch(_silence, any)


def errors_only(*names: str) -> AbstractContextManager[None]:
    """Within it the loggers of these names tell errors only."""
    return _LOGGERS.at(frozenset(names))


def no_warnings() -> AbstractContextManager[None]:
    """Within it Python shows no warnings."""
    return _WARNINGS.at(True)
