"""A bar where somebody watches, and nothing anywhere else."""

from __future__ import annotations

import sys
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from forecasting.views import progress
from forecasting.views.progress import Bar


def _row(phase: str, member: int, step: int) -> dict[str, Any]:
    return {"phase": phase, "member": member, "step": step, "of": 100, "train_loss": 0.25}


def test_steps_of_all_members_are_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    threads = threading.active_count()
    with Bar(True, members=2) as bar:
        bar(_row("validation", 0, 50))
        assert (bar.bar.n, bar.bar.total) == (50, 200)
        bar(_row("validation", 1, 50))
        bar(_row("validation", 0, 100))
        assert (bar.bar.n, bar.bar.total) == (150, 200)
        bar(_row("final", 0, 50))
        assert (bar.bar.n, bar.bar.total) == (50, 200)
        assert "training on every row" in bar.bar.desc
    assert bar.bar is None
    written = capsys.readouterr()
    assert written.out == ""
    assert "newest rows held back" in written.err
    assert threading.active_count() == threads


@pytest.mark.parametrize("shown", [False, None])
def test_a_log_gets_no_bar(capsys: pytest.CaptureFixture[str], shown: bool | None) -> None:
    with Bar(shown) as bar:
        bar(_row("final", 0, 100))
    assert capsys.readouterr() == ("", "")


def test_somebody_watches_a_terminal_and_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not progress.is_watched()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: True))
        assert progress.is_watched()
        patch.setattr(sys, "stderr", None)
        assert not progress.is_watched()
    shell = type("ZMQInteractiveShell", (), {})()
    notebook = ModuleType("IPython")
    notebook.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    assert progress.is_watched()


def test_a_notebook_without_widgets_gets_letters(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    with Bar(None) as bar:
        bar(_row("final", 0, 100))
    assert "0/100" in capsys.readouterr().err


def test_a_training_that_fails_leaves_no_bar() -> None:
    bar = Bar(True)
    with pytest.raises(KeyError, match="phase"), bar:
        [bar(row) for row in (_row("final", 0, 10), {})]
    assert bar.bar is None


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (2, "5 s"),
        (57, "55 s"),
        (58, "1 min"),
        (81, "1 min 20 s"),
        (594, "9 min 50 s"),
        (596, "10 min"),
        (3569, "59 min"),
        (3571, "1 h"),
        (7810, "2 h 10 min"),
    ],
)
def test_a_time_is_said_as_one_says_it_beforehand(seconds: float, told: str) -> None:
    assert progress.about(seconds) == f"about {told}"


@pytest.mark.parametrize("shown", [True, False])
def test_how_long_it_takes_is_written_where_a_bar_is(
    capsys: pytest.CaptureFixture[str], shown: bool
) -> None:
    with Bar(shown) as bar:
        bar.expect(80.0)
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.strip() == ("training takes about 1 min 20 s" if shown else "")
