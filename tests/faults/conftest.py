"""What tests of faults share: how large they are, and where their figures go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.rows import ROWS, Measure, wanted

KEEPS = pytest.StashKey[bool]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the rows that are not asked for."""
    kept, left = [], []
    for item in items:
        mark = item.get_closest_marker("fault")
        (kept if mark is None or wanted(mark.args[0]) else left).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = kept


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Remember how a test went, for its line of the results."""
    report = yield
    if report.when == "call":
        item.stash[KEEPS] = report.passed
    return report


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Iterator[Measure]:
    """Takes what a test finds; the mark ``fault`` names its row."""
    row = request.node.get_closest_marker("fault").args[0]
    assert row in ROWS, row
    measured = Measure(row, request.node.name)
    yield measured
    measured.write(request.node.stash.get(KEEPS, False))
