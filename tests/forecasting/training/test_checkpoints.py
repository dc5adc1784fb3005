"""Who goes on from what was kept ends with the weights of who was never stopped."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from forecasting.data.panel import Panel
from forecasting.errors import TrainingError
from forecasting.forecaster import Forecaster
from forecasting.training import checkpoints
from forecasting.training.checkpoints import Checkpoints, signature
from tests.forecasting.samples import MIXES, make_panel, settings

# Everything that draws at random in a step, and stopping at epochs of their own.
OPTIONS: dict[str, Any] = {
    "members": 2, "cell_mix": ("gru", "lstm"), "noise": 0.1, "unseen": 0.2, "max_steps": 16,
    "epoch_steps": 4, "validation": "refit", "patience": 2,
}  # fmt: skip


class Killed(BaseException):
    """Ends a training as a signal would: nobody cleans up after it."""


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)


def trained(panel: Panel, folder: Path | None, stop: int = 0, **model: Any) -> Forecaster:
    """A forecaster; killed as its row of history so-and-so is told."""
    told = iter(range(1, 1000))

    def kill(_row: dict[str, Any]) -> None:
        if next(told) == stop:
            raise Killed

    config = settings(model={"dropout": 0.3, **model}, training=OPTIONS)
    return Forecaster.train(panel, config, device="cpu", on_epoch=kill, checkpoints=folder)


def weights(forecaster: Forecaster) -> Iterator[torch.Tensor]:
    return (value for network in forecaster.networks for value in network.state_dict().values())


def assert_same(one: Forecaster, other: Forecaster) -> None:
    for a, b in zip(weights(one), weights(other), strict=True):
        assert torch.equal(a, b)
    assert one.swing == other.swing
    assert np.array_equal(one.correction, other.correction) or one.correction is other.correction
    timeless = [
        sorted(
            ({k: v for k, v in row.items() if k != "windows_per_s"} for row in f.history),
            key=lambda row: (row["phase"], row["member"], row["step"]),
        )
        for f in (one, other)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("decoder", ["direct", "recursive"])
def test_killed_after_every_row_it_ends_with_the_same_weights(decoder: str, tmp_path: Path) -> None:
    panel = make_panel([60, 40, 50], schema=MIXES["all"])
    whole = trained(panel, None, decoder=decoder)
    kills = 0
    while kills < 100:
        try:
            # Rows of what was kept come first: one more than last time is one epoch's work.
            ended = trained(panel, tmp_path, stop=kills + 1, decoder=decoder)
        except Killed:
            kills += 1
        else:
            break
    assert kills == len(whole.history)
    assert_same(ended, whole)
    assert_same(trained(panel, tmp_path, decoder=decoder), whole)


def test_what_is_finished_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel([60, 40, 50])
    first = trained(panel, tmp_path)

    def none(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is left to be trained")

    monkeypatch.setattr("pytorch_lightning.Trainer.fit", none)
    assert_same(trained(panel, tmp_path), first)


def test_other_data_and_settings_begin_anew(tmp_path: Path) -> None:
    panel = make_panel([60, 40, 50])
    trained(panel, tmp_path)
    y = panel.y.copy()
    y[-1] += 1.0
    other = make_panel([60, 40, 50])
    object.__setattr__(other, "y", y)
    assert_same(trained(other, tmp_path), trained(other, None))
    assert_same(trained(panel, tmp_path, hidden_size=12), trained(panel, None, hidden_size=12))


def test_a_file_that_is_not_whole_counts_for_nothing(tmp_path: Path) -> None:
    panel = make_panel([60, 40, 50])
    with pytest.raises(Killed):
        trained(panel, tmp_path, stop=3)
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-7])
    assert_same(trained(panel, tmp_path), trained(panel, None))


def test_a_refit_goes_on_too(tmp_path: Path) -> None:
    panel = make_panel([70, 60])
    judged = trained(panel.truncate(8), None)
    whole = judged.refit(panel, backs=[4], device="cpu")

    def kill(row: dict[str, Any]) -> None:
        if row["step"] >= 8:
            raise Killed

    with pytest.raises(Killed):
        judged.refit(panel, backs=[4], device="cpu", on_epoch=kill, checkpoints=tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    assert_same(judged.refit(panel, backs=[4], device="cpu", checkpoints=tmp_path), whole)


def test_two_that_go_on_at_once_both_end_well(tmp_path: Path) -> None:
    panel = make_panel([60, 40, 50])
    with pytest.raises(Killed):
        trained(panel, tmp_path, stop=3)
    found: list[Forecaster] = []
    threads = [
        threading.Thread(target=lambda: found.append(trained(panel, tmp_path))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = trained(panel, None)
    assert len(found) == 2
    for one in found:
        assert_same(one, whole)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(TrainingError, match=r"cannot be written to .*file"):
        trained(make_panel([60, 40]), file)


def test_nothing_of_it_is_pickled(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(make_panel([60, 40, 50]), tmp_path, stop=3)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} == {".safetensors"}


PLAIN = st.recursive(
    st.integers() | st.floats(allow_nan=False) | st.text() | st.none(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=6,
)


@given(PLAIN, PLAIN)
def test_signatures_differ_where_parts_do(one: Any, other: Any) -> None:
    assert (signature(one) == signature(other)) == (repr(one) == repr(other))
    assert signature(one, other) != signature([one, other])


def test_signatures_know_every_column() -> None:
    panel = make_panel([20, 30], schema=MIXES["all"])
    seen = {
        signature(panel),
        signature(panel.truncate(1)),
        signature(panel.select(np.array([1, 0]))),
    }
    assert len(seen) == 3
    assert signature(panel) == signature(make_panel([20, 30], schema=MIXES["all"]))
    assert Checkpoints.within(None) is None
