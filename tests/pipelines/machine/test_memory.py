"""How much memory there is: the machine's, or what a container leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.machine import memory


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, 8_000 * 1024), ("max", 8_000 * 1024), ("5000000", 4_000_000), ("900000", 1 << 20)],
)
def test_the_smaller_of_machine_and_container_counts(
    limit: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = {"/proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"}
    if limit is not None:
        texts |= {
            "/sys/fs/cgroup/memory.max": f"{limit}\n",
            "/sys/fs/cgroup/memory.stat": "anon 1000000\nfile 5\n",
        }

    def read(path: Path, encoding: str | None = None) -> str:
        if str(path) not in texts:
            raise FileNotFoundError(path)
        return texts[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert memory.usable() == expected
