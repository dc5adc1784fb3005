"""Messages are taken once, by one worker or another, and forgotten when they hold no longer."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from serving.running.deliveries import Deliveries


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abc")), max_size=12))
def test_of_all_workers_one_takes_a_message_once(
    tmp_path_factory: object, told: list[tuple[int, str]]
) -> None:
    folder = tmp_path_factory.mktemp("hooks")  # type: ignore[attr-defined]
    workers, seen = [Deliveries(folder) for _ in range(3)], set()
    for worker, message in told:
        assert workers[worker].first(message) == (message not in seen)
        seen.add(message)


def test_what_is_too_old_to_be_taken_is_forgotten(tmp_path: Path) -> None:
    deliveries = Deliveries(tmp_path, seconds=60)
    assert deliveries.first("a")
    (file,) = tmp_path.iterdir()
    os.utime(file, (0, 0))
    assert Deliveries(tmp_path, seconds=60).first("b")
    assert not file.exists()


def test_without_a_folder_a_worker_remembers_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    deliveries = Deliveries(tmp_path / "file" / "hooks")
    assert [deliveries.first("a") for _ in range(2)] == [True, False]
