"""Each table looked at once, for all tests that only look at what was seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.drafting.look import Look, look_at
from tests.pipelines.drafting.tables import KINDS


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Look]:
    """What is seen in a table, by its name."""
    folder = tmp_path_factory.mktemp("tables")
    looks: dict[str, Look] = {}

    def look(name: str) -> Look:
        if name not in looks:
            looks[name] = look_at(str(KINDS[name].write(folder)), {})
        return looks[name]

    return look
