"""How far the work is, for who waits: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pipelines.machine.say import Progress
from pipelines.terminal.outcome import is_quiet, tell

T = TypeVar("T")

PATIENCE = 2.0  # seconds that nobody minds
BETWEEN_LINES = 30.0  # seconds between two lines in a log
LEAST_SECONDS = 0.5  # of work, to tell its pace by; what another process did is heard all at once


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Shows shares of pieces of work: a bar on a terminal; elsewhere a line at every quarter."""
    if is_quiet():
        yield lambda *_: None
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Quarters()
        return
    from rich.progress import BarColumn, ProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    class Pace(ProgressColumn):
        def render(self, task: Any) -> Text:
            if task.finished or not task.speed:
                return Text("")
            return Text(pace(task.speed, (task.total or 1.0) - task.completed), "dim")

    columns = (
        TextColumn("  {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        Pace(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, share: float) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0)
            bars.update(tasks[what], completed=share)

        yield show


@dataclass
class _Work:
    """What is waited for: since when, and how much of it is done, where that is known."""

    what: str
    began: float
    counted_from: float = 0.0
    share: float = 0.0

    def line(self) -> str:
        now = time.monotonic()
        line = f"  {self.what}, {span(now - self.began)}"
        if 0 < self.share < 1:
            speed = self.share / max(now - self.counted_from, 1e-9)
            line += f", {100 * self.share:.0f} %, {pace(speed, 1 - self.share)}"
        return line


_work: _Work | None = None


def advance(share: float) -> None:
    """Say which share of what somebody waits for is done; where nobody waits, nothing happens."""
    if _work is not None:
        if not _work.counted_from:
            _work.counted_from = time.monotonic()
        _work.share = share


def counted(parts: Iterable[T], total: int) -> Iterator[T]:
    """The parts of a piece of work as they are; who waits for it sees how many are done."""
    advance(0.0)
    for number, part in enumerate(parts, start=1):
        yield part
        advance(number / max(total, 1))


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Work that may take long: after two seconds what is done and for how long, and its pace.

    Below it `advance` and `counted` say how much is done.
    """
    global _work
    if is_quiet():
        yield
        return
    ended = threading.Event()
    work = _work = _Work(what, time.monotonic())
    watched = sys.stderr is not None and sys.stderr.isatty()

    def watch() -> None:
        visible = False
        while not ended.wait(0.2 if visible else PATIENCE if watched else BETWEEN_LINES):
            if watched:
                sys.stderr.write(f"\r{work.line()}\x1b[K")
                sys.stderr.flush()
                visible = True
            else:
                tell(work.line())
        if visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        _work = None
        ended.set()
        watcher.join()


class Quarters:
    """A line at every quarter of a piece of work, with its pace."""

    def __init__(self) -> None:
        self.told: dict[str, int] = {}
        self.began: dict[str, float] = {}

    def __call__(self, what: str, share: float) -> None:
        quarter = int(4 * share + 1e-9)
        began = self.began.setdefault(what, time.monotonic())
        if quarter < self.told.get(what, 0):  # it has begun anew
            self.told[what] = 0
            began = self.began[what] = time.monotonic()
        if quarter > self.told.get(what, 0):
            self.told[what] = quarter
            passed = time.monotonic() - began
            line = f"  {what}: {25 * quarter} %, {passed:.0f} s"
            if 0 < share < 1 and passed >= LEAST_SECONDS:
                line += f", {pace(share / passed, 1 - share)}"
            tell(line)


def pace(speed: float, left: float) -> str:
    """Rate and time left, of work in shares of a whole and shares per second."""
    rate = 100 * speed
    rate_text = f"{rate:.1f} %/s" if rate >= 1 else f"{60 * rate:.1f} %/min"
    return f"{rate_text}, {span(left / speed)} left"


def span(seconds: float) -> str:
    """A time as a person reads it: 40 s, 3:20 min, 1:05 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
