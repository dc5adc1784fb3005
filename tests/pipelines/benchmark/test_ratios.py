from __future__ import annotations

import math

import pytest

from pipelines.benchmark.ratios import by_size, cells, markdown, together
from pipelines.benchmark.strangers import PEERS, WHOLE, Row


def row(task: str, size: int, mase: float, theirs: list[float], coverage: float = 0.8) -> Row:
    return Row(
        task=task,
        set=task,
        size=size,
        draw=0,
        mase=mase,
        peers=dict(zip(PEERS, theirs, strict=True)),
        coverage=coverage,
        seconds=2.0,
    )


def test_draws_are_averaged_before_the_best_peer_is_picked() -> None:
    rows = [
        row("a", 1, 1.0, [0.5, 1.5, 1.0, 2.0]),
        row("a", 1, 2.0, [2.5, 1.5, 1.8, 2.0]),
        row("a", 1, math.nan, [0.1, 0.1, 0.1, 0.1]),
    ]
    (line,) = together(rows)
    assert (line.draws, line.mase, line.best) == (2, 1.5, PEERS[2])
    assert line.theirs == pytest.approx(1.4)
    assert line.ratio == pytest.approx(1.5 / 1.4)
    assert cells(line)[4:7] == [PEERS[2], "1.400", "1.071"]


def test_sizes_are_summed_up_with_the_worst_named() -> None:
    lines = together(
        [
            row("a", WHOLE, 1.2, [1.0, 2.0, 1.5, 3.0]),
            row("b", 10, 0.5, [1.0, 2.0, 1.5, 3.0], 0.6),
            row("a", 10, 2.0, [1.0, 2.0, 1.5, 3.0]),
        ]
    )
    ten, whole = by_size(lines)
    assert ten == ["10", "2", "1.000", "2.000 (a)", "1 of 2", "60% to 80%", "1 of 2"]
    assert whole[:5] == ["all", "1", "1.200", "1.200 (a)", "0 of 1"]
    text = markdown(lines)
    assert text.count("\n| all |") == 2
    assert "| 10 | b | 1 | 0.500 | AutoETS | 1.000 | 0.500 | 60% |" in text
