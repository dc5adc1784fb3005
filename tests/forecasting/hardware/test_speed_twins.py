"""What is fast equals what is slow and obvious."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import forecasting.hardware.threads
import forecasting.training.module
from forecasting.forecaster import Forecaster
from forecasting.hardware import shares
from forecasting.hardware.graphs import ReplayedLoss
from forecasting.networks import fast_gru, fast_lstm
from forecasting.networks import scripted as recurrence
from forecasting.networks.fast_gru import FastGRU
from forecasting.networks.fast_lstm import FastLSTM
from forecasting.networks.recurrent import make_cell
from forecasting.schema import Schema
from forecasting.windows import training as windows
from forecasting.windows.training import Windows
from tests.forecasting.samples import (
    MIXES,
    make_panel,
    quantiles,
    settings,
    with_y,
)
from tests.forecasting.twins import slow_training

CPU = torch.device("cpu")
UseThreads = Callable[[int], None]
PLAIN = {"segment": 1, "window": 1, "lags": (), "calendar": False, "cycle": 0}


@pytest.fixture
def use_threads() -> Iterator[UseThreads]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("origins", ["all", "last"])
@pytest.mark.parametrize("threads", [1, 3])
def test_twenty_fast_steps_equal_a_loop_over_windows_cut_out_one_by_one(
    cell: str, origins: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "LEAST_WORK", 16)
    monkeypatch.setattr(forecasting.hardware.threads, "WORTH_WAKING", 1)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    steps = 20
    config = settings(
        model=PLAIN | {"cell": cell, "steps": 12, "hidden_size": 16},
        training={"max_steps": steps, "epoch_steps": 1, "origins": origins, "threads": threads},
    )
    panel = make_panel([40, 60, 30], missing=0.05)
    trained = Forecaster.train(panel, config, device="cpu")
    with monkeypatch.context() as patch:
        # The slow twin has nothing of ours in its recurrent layers.
        for layers in (fast_gru, fast_lstm):
            patch.setattr(layers, "written_out", lambda layer, x: False)
        expected, averaged = slow_training(panel, config, steps)
    found = [row["train_loss"] for row in trained.history]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    fast = quantiles(trained, panel)
    trained.networks[0].load_state_dict(averaged.state_dict())
    np.testing.assert_allclose(fast, quantiles(trained, panel), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("given", ["a state", "no state"])
@pytest.mark.parametrize(("threads", "scripted"), [(1, True), (2, True), (3, True), (1, False)])
def test_the_fast_gru_and_its_gradients_equal_those_of_torch(
    width: int,
    given: str,
    threads: int,
    scripted: bool,
    monkeypatch: pytest.MonkeyPatch,
    use_threads: UseThreads,
) -> None:
    """Shared out among cores, too, however unevenly, and without torch's own interpreter."""
    if not scripted:
        monkeypatch.setattr(fast_gru, "scripted", lambda function: function)
    else:
        assert fast_gru.scripted(fast_gru._read) is not fast_gru._read
    use_threads(threads)
    monkeypatch.setattr(shares, "LEAST_WORK", 1)
    # Several steps to a chunk, and a rest.
    monkeypatch.setattr(recurrence, "ROWS_IN_CACHE", 15 if threads > 1 else 1024)
    torch.manual_seed(0)
    slow = nn.GRU(width, 8, batch_first=True, dtype=torch.float64)
    fast = FastGRU(width, 8, batch_first=True, dtype=torch.float64)
    fast.load_state_dict(slow.state_dict())
    x = torch.randn(5, 11, width, dtype=torch.float64, requires_grad=True)
    start = torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True)
    state = start if given == "a state" else None
    found = []
    for layer in (slow, fast):
        layer.zero_grad()
        x.grad = start.grad = None
        hidden, last = layer(x, state)
        (hidden.square().sum() + last.sin().sum() + hidden[:, 3].sum()).backward()
        gradients = [p.grad for p in (x, *layer.parameters(), *([start] if state is not None else
                                                                []))]  # fmt: skip
        found.append([hidden, last, *gradients])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("width", [3, 40])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("used", ["hidden", "h", "c", "all"])
@pytest.mark.parametrize(("threads", "compiled"), [(1, True), (2, True), (3, True), (1, False)])
def test_the_fast_lstm_and_its_gradients_equal_those_of_torch(
    width: int,
    given: bool,
    used: str,
    threads: int,
    compiled: bool,
    monkeypatch: pytest.MonkeyPatch,
    use_threads: UseThreads,
) -> None:
    """Shared out among cores, and by one where it is trained in a thread of its own."""
    if not compiled:
        monkeypatch.setattr(fast_lstm, "scripted", lambda function: function)
    use_threads(threads)
    monkeypatch.setattr(shares, "LEAST_WORK", 1)
    monkeypatch.setattr(fast_lstm, "MOST_KEPT", 1)
    # Several steps to a chunk, and a rest.
    monkeypatch.setattr(recurrence, "ROWS_IN_CACHE", 15 if threads > 1 else 1024)
    torch.manual_seed(0)
    slow = nn.LSTM(width, 8, batch_first=True, dtype=torch.float64)
    fast = FastLSTM(width, 8, batch_first=True, dtype=torch.float64)
    fast.load_state_dict(slow.state_dict())
    # What is read is an earlier layer's output where states are given, else data.
    x = torch.randn(5, 11, width, dtype=torch.float64, requires_grad=given)
    first = [torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def learned(layer: nn.LSTM) -> list[Tensor]:
        leaves = [*([x, *first] if given else []), *layer.parameters()]
        for leaf in leaves:
            leaf.grad = None
        hidden, (h, c) = layer(x, (first[0], first[1]) if given else None)
        terms = {"hidden": hidden[:, 3].square().sum(), "h": h.sin().sum(), "c": c.pow(3).sum()}
        sum(v for k, v in terms.items() if used in (k, "all")).backward()
        return [hidden, h, c, *(leaf.grad for leaf in leaves)]

    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
        assert pool.submit(fast._written_out, x).result()
        found = pool.submit(learned, fast).result()
    for a, b in zip(learned(slow), found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11)


def test_an_lstm_is_torchs_own_where_that_is_the_faster_or_the_only_way(
    use_threads: UseThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, large = FastLSTM(3, 8, batch_first=True), torch.randn(4096, 5, 3)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    use_threads(1)
    assert not layer._written_out(large)
    use_threads(2)
    assert not layer._written_out(large[:2])
    assert layer._written_out(large)
    assert not FastLSTM(3, 8, batch_first=True, bidirectional=True)._written_out(large)
    with torch.no_grad():
        assert not layer._written_out(large)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not layer._written_out(large)
    monkeypatch.delenv("OMP_WAIT_POLICY")
    assert not layer._written_out(large)
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(layer._written_out, large).result()
        assert pool.submit(layer._written_out, large.expand(4096, 5, 3).repeat(8, 1, 1)).result()


def test_windows_are_shared_out_whole_and_only_where_there_is_work(
    use_threads: UseThreads,
) -> None:
    use_threads(3)
    for count, size, parts in ((256, 128, 2), (512, 128, 3), (64, 64, 1), (1, 8, 1)):
        found = shares.shares(count, size)
        assert len(found) == parts
        assert [i for part in found for i in range(count)[part]] == list(range(count))


def test_a_share_that_fails_is_told_and_leaves_the_threads_as_they_were(
    use_threads: UseThreads,
) -> None:
    use_threads(2)
    for bad in (0, 1):
        with pytest.raises(ZeroDivisionError):
            shares.each_on_a_core(lambda k: 1 // k, [1 - bad, bad])
        assert torch.get_num_threads() == 2
    with torch.enable_grad():
        assert shares.each_on_a_core(lambda _: torch.is_grad_enabled(), [0, 1]) == [False, False]


def test_a_forked_process_shares_out_with_threads_of_its_own(use_threads: UseThreads) -> None:
    use_threads(2)
    assert shares.each_on_a_core(lambda k: k + 1, [0, 1]) == [1, 2]
    child = os.fork()
    if child == 0:
        os._exit(0 if shares.each_on_a_core(lambda k: k + 1, [0, 1]) == [1, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("mix", ["none", "all"])
def test_a_captured_loss_is_the_loss_and_captured_once(mix: str, dropout: float) -> None:
    """By a capture that runs the step again; that a graph's replay is the same, a GPU shows."""
    captures = []

    def capture(
        step: Callable[[], tuple[Tensor, ...]], draws: torch.Generator | None
    ) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        assert draws is not None
        before = draws.get_state()
        filled = step()
        draws.set_state(before)

        def replay() -> None:
            for own, new in zip(filled, step(), strict=True):
                own.copy_(new)

        captures.append(filled)
        return filled, replay

    panel, config = make_panel([60, 50], schema=MIXES[mix]), settings(model={"dropout": dropout})
    windows_of = Windows(panel, config, CPU)
    module = forecasting.training.module.ForecastModule(config, panel.schema, windows_of.calendar)
    draws = torch.Generator()
    module.draw_from(draws)
    replayed = ReplayedLoss(module.network, module._loss, draws, capture)
    for k in range(3):
        batch = windows_of.gather(torch.tensor([0, 1]), torch.tensor([40 + k, 45]))
        draws.manual_seed(k)
        expected = module.loss_of(batch)
        (2.0 * expected).backward()
        gradients = [p.grad for p in module.network.parameters()]
        module.network.zero_grad()
        draws.manual_seed(k)
        found = replayed(module.network.history(batch), batch)
        # The gradients are those of this batch, even if the next has been replayed since.
        (2.0 * found).backward()
        again = [p.grad for p in module.network.parameters()]
        replayed(module.network.history(batch), batch)
        torch.testing.assert_close(found, expected)
        for a, b in zip(again, gradients, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                torch.testing.assert_close(a, b)
        module.network.zero_grad()
    single = windows_of.gather(torch.tensor([0]), torch.tensor([40]))
    with pytest.raises(ValueError, match="captured for"):
        replayed(module.network.history(single), single)
    assert len(captures) == 1
    assert not any(t is b for t in replayed.inputs for b in batch.values())


def _no_graph(*_: Any) -> Any:
    raise RuntimeError("operation not permitted when stream is capturing")


def test_where_no_graph_can_be_had_steps_are_taken_plainly_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module_of = forecasting.training.module
    panel = make_panel([60, 50])

    class Unable(ReplayedLoss[Any]):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, capture=_no_graph)

    monkeypatch.setattr(module_of, "ReplayedLoss", Unable)
    for graphs in (None, True):
        config = settings(training={"graphs": graphs})
        windows_of = Windows(panel, config, CPU)
        module = module_of.ForecastModule(config, panel.schema, windows_of.calendar)
        batch = windows_of.gather(torch.tensor([0, 1]), torch.tensor([40, 45]))
        assert module.replays
        if graphs:
            with pytest.raises(RuntimeError, match="not permitted"):
                module._replayed_loss(module.network.history(batch), batch)
            continue
        found = module._replayed_loss(module.network.history(batch), batch)
        torch.testing.assert_close(found, module.loss_of(batch))
        assert not module.replays
        assert "not replayed as CUDA graphs" in caplog.text
    several = module_of.ForecastModule(settings(training={"at_once": 2}), panel.schema, 0)
    assert not several.replays


def test_the_fast_gru_stands_back_where_torch_has_the_better_kernel() -> None:
    layer = make_cell("gru", 2, 4)
    assert isinstance(layer, FastGRU)
    x = torch.randn(3, 6, 2)
    expected, _ = layer(x)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], expected)
        assert not fast_gru.written_out(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fast_gru.written_out(layer, x)
    assert not fast_gru.written_out(FastGRU(2, 4, batch_first=True, bidirectional=True), x)


@pytest.mark.parametrize("transform", ["identity", "log", "log1p", "asinh"])
def test_a_panel_mapped_from_a_file_trains_as_one_in_memory(tmp_path: Path, transform: str) -> None:
    panel = make_panel([40, 30], positive=True, missing=0.1)
    np.save(tmp_path / "y.npy", panel.y)
    mapped = replace(panel, y=np.load(tmp_path / "y.npy", mmap_mode="r"))
    config = settings(model={"transform": transform}, training={"max_steps": 6, "epoch_steps": 1})
    losses = [
        [row["train_loss"] for row in Forecaster.train(p, config, device="cpu").history]
        for p in (panel, mapped)
    ]
    assert losses[0] == losses[1]


def test_windows_on_a_cpu_read_the_panel_in_place() -> None:
    panel = make_panel([40, 30])
    drawn = Windows(panel, settings(), CPU)
    assert drawn.y.data_ptr() == panel.y.__array_interface__["data"][0]


def test_a_panel_kept_as_float32_trains_alike() -> None:
    panel = make_panel([40, 30])
    config = settings(training={"max_steps": 5, "epoch_steps": 1})
    single = replace(panel, y=panel.y.astype(np.float32))
    a, b = (
        [row["train_loss"] for row in Forecaster.train(p, config, device="cpu").history]
        for p in (panel, single)
    )
    np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_statistics_do_not_depend_on_the_blocks_they_are_taken_in(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, config = make_panel([5, 40, 2, 12, 9], missing=0.2), settings()
    whole = Windows(panel, config, CPU)
    monkeypatch.setattr("forecasting.data.mapped.BLOCK_ROWS", block)
    pieces = Windows(panel, config, CPU)
    for name in ("centre", "unit", "loss_unit", "mase_unit", "usable", "low", "high", "last_known"):
        assert torch.equal(getattr(whole, name), getattr(pieces, name)), name


@pytest.mark.parametrize("freq", ["h", "D", "B", "MS", "ME", "QE-DEC"])
@pytest.mark.parametrize("aligned", [True, False])
def test_shared_stamps_give_the_features_of_each_rows_own(
    freq: str, aligned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel([30, 20, 25], freq=freq)
    start = panel.start.copy()
    start[1] = panel.freq.shift(panel.start[1:2], 4)[0] if aligned else panel.start[1]
    panel = replace(panel, start=start)
    config = settings(freq=freq, model={"calendar": True})
    at = torch.tensor([0, 1, 2, 1]), torch.tensor([20, 10, 24, 3])
    shared = Windows(panel, config, CPU)
    assert len(shared.time) < panel.rows
    monkeypatch.setattr(
        windows,
        "_calendar",
        lambda p: (
            windows.calendar_features(
                p.freq.shift(
                    p.start[p.series], np.arange(p.rows) - p.offsets[:-1][p.series]
                ),
                p.freq,
                p.tz,
            ),
            p.offsets[:-1],
        ),
    )  # fmt: skip
    own = Windows(panel, config, CPU)
    assert torch.equal(shared.gather(*at)["time"], own.gather(*at)["time"])


def test_series_on_grids_of_their_own_keep_their_own_stamps() -> None:
    panel = make_panel([30, 20], freq="h")
    start = panel.start + np.array([0, 90], "timedelta64[m]")
    features, first = windows._calendar(replace(panel, start=start))
    assert len(features) == panel.rows
    assert first.tolist() == [0, 30]


def test_sampling_by_windows_draws_every_origin_alike() -> None:
    panel = make_panel([60, 15])
    config = settings(training={"sampling": "windows"})
    made = Windows(panel, config, CPU)
    counts = (made.high - made.low + 1).double()
    batch = made.draw(20_000, torch.Generator().manual_seed(0))
    share = (batch["series"] == 0).double().mean()
    assert share == pytest.approx(float(counts[0] / counts.sum()), abs=0.02)


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_a_batch_travels_whole_from_where_the_data_lies(mix: str) -> None:
    schema: Schema = MIXES[mix]
    panel = make_panel([40, 30], schema=schema)
    made = Windows(with_y(panel, panel.y), settings(), CPU, home=CPU)
    batch = made.draw(4, torch.Generator().manual_seed(0))
    assert {v.device for v in batch.values()} == {CPU}
    assert {v.dtype for k, v in batch.items() if k.endswith("mask")} == {torch.float32}
