"""The parent of several workers: who has died is known at once."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

import pytest

from serving.running.workers import answers


def replies(pipe: Connection) -> None:
    pipe.send(bool(pipe.recv()))
    pipe.recv()


def dies_when_asked(pipe: Connection) -> None:
    pipe.recv()


def dies(pipe: Connection) -> None:
    return


def started(work: Callable[[Connection], None]) -> Any:
    """As uvicorn holds a worker: its parent keeps both ends of the pipe open."""
    parent, child = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=work, args=(child,))
    process.start()
    return SimpleNamespace(parent_conn=parent, child_conn=child, process=process)


@pytest.mark.parametrize("work", [dies_when_asked, dies])
def test_a_worker_that_dies_while_it_is_asked_is_not_waited_for(
    work: Callable[[Connection], None],
) -> None:
    worker = started(work)
    assert not answers(worker, timeout=3600)
    worker.process.join()


def test_a_worker_that_answers_lives() -> None:
    worker = started(replies)
    assert answers(worker, timeout=3600)
    worker.parent_conn.send(b"end")
    worker.process.join()


def test_a_worker_that_hangs_does_not_for_ever() -> None:
    worker = started(replies)
    assert answers(worker, timeout=3600)
    worker.process.kill()
    worker.process.join()
    assert not answers(worker, timeout=0.01)
