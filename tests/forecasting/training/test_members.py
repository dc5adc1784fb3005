"""Members trained at once are those trained one by one, and what goes wrong ends them all."""

from __future__ import annotations

import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

import forecasting.training.module
from forecasting.config import ForecasterConfig
from forecasting.errors import ConfigError
from forecasting.forecaster import Forecaster
from forecasting.hardware import shares
from forecasting.networks import fast_lstm
from forecasting.networks.recurrent import Dropout
from forecasting.training import members
from forecasting.training.epochs import LossError
from forecasting.training.members import member_seed, out_of_memory
from forecasting.windows.training import Windows
from tests.forecasting.samples import MIXES, draw_on_a_small_device, make_panel, settings

CPU = torch.device("cpu")


def several(at_once: int | None, **training: Any) -> ForecasterConfig:
    return settings(training={"members": 3, "at_once": at_once, **training})


def weights(forecaster: Forecaster) -> list[Tensor]:
    return [value for n in forecaster.networks for value in n.state_dict().values()]


@pytest.mark.parametrize("at_once", [2, pytest.param(7, marks=pytest.mark.slow)])
@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
@pytest.mark.parametrize(
    "cells",
    [("gru", "lstm"), *(pytest.param((c,), marks=pytest.mark.slow) for c in ("gru", "lstm"))],
)
def test_trained_at_once_they_are_those_trained_one_after_another(
    cells: tuple[str, ...], decoder: str, at_once: int
) -> None:
    panel = make_panel([60, 40, 50], schema=MIXES["all"])
    # Everything that draws at random in a step, and stopping at epochs of their own.
    options: dict[str, Any] = {
        "members": 3, "cell_mix": cells, "noise": 0.1, "unseen": 0.2, "max_steps": 16,
        "epoch_steps": 4, "validation": "refit", "patience": 1,
    }  # fmt: skip
    found = [
        Forecaster.train(panel, settings(model={"dropout": 0.3, "decoder": decoder},
                            training={**options, "at_once": n}), device="cpu")
        for n in (1, at_once)
    ]  # fmt: skip
    for one, other in zip(*map(weights, found), strict=True):
        assert torch.equal(one, other)


def test_rows_come_in_the_callers_thread_and_in_the_order_of_each_member() -> None:
    seen: list[tuple[int, int]] = []

    def on_epoch(row: dict[str, Any]) -> None:
        assert threading.current_thread() is threading.main_thread()
        seen.append((row["member"], row["step"]))

    config = several(3, max_steps=8, epoch_steps=2)
    forecaster = Forecaster.train(make_panel([40, 30]), config, on_epoch=on_epoch, device="cpu")
    assert [(row["member"], row["step"]) for row in forecaster.history] == seen
    for member in range(3):
        assert [step for number, step in seen if number == member] == [2, 4, 6, 8]


def test_threads_are_dealt_out_and_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, seen = Windows.draw, set()

    def watched(self: Windows, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        seen.add((threading.current_thread().name.split("_")[0], torch.get_num_threads()))
        return draw(self, size, generator)

    monkeypatch.setattr(Windows, "draw", watched)
    before, enough = torch.get_num_threads(), {"batch_size": 4096, "max_steps": 1}
    Forecaster.train(make_panel([40]), several(None, threads=7, **enough), device="cpu")
    assert seen == {("gatecast-member", 2)}
    assert torch.get_num_threads() == before
    # Of four members on three threads, three share them and the last has all.
    seen.clear()
    Forecaster.train(make_panel([40]), several(None, threads=3, members=4, **enough), device="cpu")
    assert seen == {("gatecast-member", 1), ("MainThread", 3)}


def test_little_work_takes_one_thread_however_threads_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw, seen = Windows.draw, []

    def watched(self: Windows, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        seen.append(torch.get_num_threads())
        return draw(self, size, generator)

    monkeypatch.setattr(Windows, "draw", watched)
    for policy, hidden, threads in (("PASSIVE", 4, 1), ("passive", 8, 3), ("ACTIVE", 4, 1)):
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
        config = settings(
            model={"hidden_size": hidden},
            training={"threads": 3, "batch_size": 2048, "max_steps": 1},
        )
        Forecaster.train(make_panel([40]), config, device="cpu")
        assert set(seen) == {threads}
        seen.clear()


def test_callbacks_are_called_for_one_member_at_a_time_unless_asked() -> None:
    class Together(pl.Callback):
        def __init__(self, parties: int) -> None:
            self.barrier = threading.Barrier(parties, timeout=60)
            self.threads: set[str] = set()

        def on_train_start(self, *args: Any) -> None:
            self.barrier.wait()
            self.threads.add(threading.current_thread().name)

    panel = make_panel([40])
    for at_once, parties in ((None, 1), (3, 3)):
        together = Together(parties)
        Forecaster.train(panel, several(at_once, threads=3), callbacks=[together], device="cpu")
        assert len(together.threads) == parties


def test_a_member_that_fails_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    honest, steps = forecasting.training.module.training_loss, 4000

    def spoiled(output: Any, batch: dict[str, Tensor], config: ForecasterConfig) -> Tensor:
        loss = honest(output, batch, config)
        return loss * torch.nan if config.training.seed == member_seed(0, 1) else loss

    monkeypatch.setattr(forecasting.training.module, "training_loss", spoiled)
    seen: list[dict[str, Any]] = []
    with pytest.raises(LossError, match="loss of member 1 is not a number at step 1,"):
        Forecaster.train(
            make_panel([40]), several(3, max_steps=steps), on_epoch=seen.append, device="cpu"
        )
    assert all(row["step"] < steps for row in seen)
    assert not [t for t in threading.enumerate() if t.name.startswith("gatecast-member")]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_who_listens_can_end_it(error: type[BaseException]) -> None:
    seen: list[int] = []

    def enough(row: dict[str, Any]) -> None:
        seen.append(row["step"])
        raise error("enough")

    before = torch.get_num_threads()
    with pytest.raises(error, match="enough"):
        Forecaster.train(
            make_panel([40]), several(3, max_steps=4000), on_epoch=enough, device="cpu"
        )
    assert len(seen) == 1
    assert torch.get_num_threads() == before
    assert not [t for t in threading.enumerate() if t.name.startswith("gatecast-member")]


def test_memory_that_holds_one_batch_less_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Windows, "draw", draw_on_a_small_device(3))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        small = Forecaster.train(make_panel([40, 30]), several(2, batch_size=6), device="cpu")
    ours = [str(w.message) for w in said if "out of memory" in str(w.message)]
    assert len(ours) == 1
    assert "batch_size = 6: going on with 3" in ours[0]
    assert len([w for w in said if "2 members at once: going on one by one" in str(w.message)]) == 1
    expected = Forecaster.train(make_panel([40, 30]), several(1, batch_size=3), device="cpu")
    for one, other in zip(weights(small), weights(expected), strict=True):
        assert torch.equal(one, other)


def test_memory_for_one_member_at_a_time_costs_no_smaller_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    draw, inside = Windows.draw, threading.Semaphore(1)

    def small_device(self: Windows, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        if not inside.acquire(blocking=False):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        try:
            time.sleep(0.02)
            return draw(self, size, generator)
        finally:
            inside.release()

    monkeypatch.setattr(Windows, "draw", small_device)
    with pytest.warns(RuntimeWarning, match="3 members at once: going on one by one") as said:
        small = Forecaster.train(make_panel([40, 30]), several(3), device="cpu")
    assert not [w for w in said if "batch_size" in str(w.message)]
    monkeypatch.setattr(Windows, "draw", draw)
    expected = Forecaster.train(make_panel([40, 30]), several(1), device="cpu")
    for one, other in zip(weights(small), weights(expected), strict=True):
        assert torch.equal(one, other)


def test_a_large_lstm_is_to_rounding_the_one_trained_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast_lstm, "MOST_KEPT", 1)
    found = []
    for at_once in (1, 3):
        config = settings(
            model={"cell": "lstm"}, training={"members": 3, "at_once": at_once, "max_steps": 20}
        )
        found.append(Forecaster.train(make_panel([60, 40]), config, device="cpu"))
    for one, other in zip(*map(weights, found), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_a_thread_keeps_its_share_whatever_others_set() -> None:
    def later() -> int:
        layer = torch.nn.Linear(4, 4)
        layer(torch.ones(2, 4))
        return torch.get_num_threads()

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(1, initializer=shares.settle, initargs=(3,)) as pool:
            pool.submit(int).result()
            torch.set_num_threads(1)
            assert pool.submit(later).result() == 3
    finally:
        torch.set_num_threads(before)


def test_graphs_are_captured_by_one_training_at_a_time() -> None:
    with pytest.raises(ConfigError, match=r"training\.at_once = 1"):
        several(2, graphs=True)
    assert members.at_once(several(None), torch.device("cuda")) == 1


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_dropout_draws_the_same_from_a_generator_of_its_own(share: float) -> None:
    own, usual = Dropout(share), nn.Dropout(share)
    own.generator = torch.Generator().manual_seed(5)
    torch.manual_seed(5)
    x = torch.randn(40, 30, requires_grad=True)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    ours = own(x)
    assert torch.equal(torch.get_rng_state(), before)
    theirs = usual(x)
    assert torch.equal(ours, theirs)
    grads = [torch.autograd.grad(y.pow(2).sum(), x)[0] for y in (ours, theirs)]
    assert torch.equal(*grads)
    assert own.eval()(x) is x


def test_out_of_memory_lowers_the_batch_and_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Windows, "draw", draw_on_a_small_device(3))
    config = settings(training={"batch_size": 6, "members": 2, "max_steps": 4})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trained = Forecaster.train(make_panel([40, 30]), config, device="cpu")
    ours = [str(w.message) for w in said if "out of memory" in str(w.message)]
    assert len(ours) == 1
    assert "batch_size = 6: going on with 3" in ours[0]
    assert {row["step"] for row in trained.history if row["member"] == 1} == {4}


def test_out_of_memory_with_one_window_is_an_error_and_others_are_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*args: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Windows, "draw", none_left)
    with pytest.warns(RuntimeWarning, match="out of memory"), pytest.raises(RuntimeError):
        Forecaster.train(make_panel([40]), settings(training={"batch_size": 2}), device="cpu")
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not out_of_memory(RuntimeError("shapes do not fit"))
