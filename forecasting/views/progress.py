"""A bar for people who wait for a training: in a terminal or a notebook, nowhere else."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import Any, Self

from tqdm.std import tqdm

PHASES = {
    "validation": "training, the newest rows held back",
    "final": "training on every row",
}


def about(seconds: float) -> str:
    """A time as one says it beforehand: about 45 s, about 1 min 20 s, about 2 h 10 min."""
    if seconds < 57.5:
        return f"about {max(5 * round(seconds / 5), 5)} s"
    if seconds < 3570:
        step = 10 if seconds < 595 else 60
        minutes, rest = divmod(step * round(seconds / step), 60)
        return f"about {minutes} min" + (f" {rest} s" if rest else "")
    hours, rest = divmod(300 * round(seconds / 300), 3600)
    return f"about {hours} h" + (f" {rest // 60} min" if rest else "")


def is_watched() -> bool:
    """Whether a person sees what this process writes now: a notebook, or a terminal."""
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


class Bar:
    """Shows each row of a training's history; a context manager, which clears what it drew.

    Parameters
    ----------
    shown : draw at all; None: where somebody watches.
    members : networks to be trained, where that is known.
    """

    def __init__(self, shown: bool | None, members: int | None = None) -> None:
        self.shown = is_watched() if shown is None else shown
        self.members = members or 1
        self.phase = ""
        self.steps: dict[int, int] = {}
        self.bar: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def expect(self, seconds: float) -> None:
        """Write how long the training takes, once that is known."""
        if self.shown:
            tqdm.write(f"training takes {about(seconds)}", file=sys.stderr)

    def __call__(self, row: dict[str, Any]) -> None:
        """Take a row of history: ``phase``, ``member``, ``step``, ``of`` and ``train_loss``."""
        if not self.shown:
            return
        if row["phase"] != self.phase:
            self.__exit__()
            self.phase, self.steps = row["phase"], {}
            title = PHASES.get(self.phase, self.phase)
            total = row["of"] * self.members
            self.bar = _kind()(desc=title, unit="step", total=total, leave=False)
        self.steps[row["member"]] = row["step"]
        self.bar.total = row["of"] * max(self.members, len(self.steps))
        self.bar.set_postfix({"loss": f"{row['train_loss']:.3g}"}, refresh=False)
        self.bar.update(sum(self.steps.values()) - self.bar.n)


class _Terminal(tqdm):  # type: ignore[misc]
    # Else the first bar would begin a thread that outlives it.
    monitor_interval = 0


def _in_notebook() -> bool:
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


def _kind() -> Any:
    """The bar that suits where it is drawn; in a notebook without widgets, one of letters."""
    if not _in_notebook() or find_spec("ipywidgets") is None:
        return _Terminal
    widget = importlib.import_module("tqdm.notebook").tqdm_notebook
    return type("Widget", (widget,), {"monitor_interval": 0})
