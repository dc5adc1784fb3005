"""How strangers' rows stand to the best peer: by set and size, and by size over all sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.benchmark.strangers import PEERS, Row

BEGIN, END = "<!-- strangers:begin -->", "<!-- strangers:end -->"
HEAD = ("series", "set", "draws", "MASE", "best peer", "its MASE", "ratio", "in 80 %")
HEAD_BY_SIZE = (
    "series",
    "sets",
    "ratio, geometric mean",
    "worst ratio",
    "at least as good",
    "in 80 %",
    "within 72–88 %",
)
# Shares of the 80 % interval that are close enough to what it says.
FAIR = (0.72, 0.88)


@dataclass(frozen=True)
class Line:
    """All draws of one size from one task together.

    Attributes
    ----------
    ratio : our mean MASE over that of the peer who is best here, ``best``.
    """

    task: str
    size: int
    draws: int
    mase: float
    best: str
    theirs: float
    coverage: float

    @property
    def ratio(self) -> float:
        """Ours over the best of theirs: below 1 is ahead of all of them."""
        return self.mase / self.theirs


def together(rows: Sequence[Row]) -> list[Line]:
    """A line for each task and size; draws whose MASE is not known are left out."""
    lines = []
    for task, size in dict.fromkeys((r.task, r.size) for r in rows):
        mine = [r for r in rows if (r.task, r.size) == (task, size) and math.isfinite(r.mase)]
        if not mine:
            continue
        means = {peer: float(np.mean([r.peers[peer] for r in mine])) for peer in PEERS}
        best = min(means, key=lambda peer: means[peer])
        lines.append(
            Line(
                task=task,
                size=size,
                draws=len(mine),
                mase=float(np.mean([r.mase for r in mine])),
                best=best,
                theirs=means[best],
                coverage=float(np.mean([r.coverage for r in mine])),
            )
        )
    return sorted(lines, key=lambda line: (line.size or math.inf, line.task))


def by_size(lines: Sequence[Line]) -> list[list[str]]:
    """Of each size: tasks, geometric mean and worst of the ratios, ahead or equal, coverage."""
    out = []
    for size in dict.fromkeys(line.size for line in lines):
        mine = [line for line in lines if line.size == size]
        ratios = np.array([line.ratio for line in mine])
        worst, shares = mine[int(ratios.argmax())], [line.coverage for line in mine]
        out.append(
            [
                str(size or "all"),
                str(len(mine)),
                f"{np.exp(np.log(ratios).mean()):.3f}",
                f"{worst.ratio:.3f} ({worst.task})",
                f"{int((ratios <= 1.0).sum())} of {len(mine)}",
                f"{min(shares):.0%} to {max(shares):.0%}",
                f"{sum(FAIR[0] <= share <= FAIR[1] for share in shares)} of {len(mine)}",
            ]
        )
    return out


def cells(line: Line) -> list[str]:
    """Texts under `HEAD`."""
    return [
        str(line.size or "all"),
        line.task,
        str(line.draws),
        f"{line.mase:.3f}",
        line.best,
        f"{line.theirs:.3f}",
        f"{line.ratio:.3f}",
        f"{line.coverage:.0%}",
    ]


def markdown(lines: Sequence[Line]) -> str:
    """By size first, then every line."""
    tables = (HEAD_BY_SIZE, by_size(lines)), (HEAD, [cells(line) for line in lines])
    return "\n".join(_table(head, texts) for head, texts in tables)


def _table(head: Sequence[str], texts: Sequence[Sequence[str]]) -> str:
    rule = ["---:"] * len(head)
    return "".join("| " + " | ".join(row) + " |\n" for row in (head, rule, *texts))
