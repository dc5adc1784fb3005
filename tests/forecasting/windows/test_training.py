"""Windows by index against windows cut out one by one in plain Python."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, reject
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import chi2

from forecasting.config import ForecasterConfig
from forecasting.data.mapped import Filling
from forecasting.data.panel import Panel
from forecasting.errors import TrainingError
from forecasting.training.module import ForecastModule
from forecasting.windows.geometry import Geometry
from forecasting.windows.training import Windows, WindowStream
from tests.forecasting.samples import MIXES, make_panel, settings, untrained, with_y
from tests.forecasting.twins import slow_window

some = hypothesis_settings(max_examples=20, deadline=None)
CPU = torch.device("cpu")


@st.composite
def cases(draw: st.DrawFn) -> tuple[Panel, ForecasterConfig]:
    segment = draw(st.sampled_from((1, 2, 3)))
    config = settings(
        model={
            "segment": segment,
            "window": segment + draw(st.integers(0, 3)),
            "steps": draw(st.integers(1, 6)),
            "lags": draw(st.sampled_from(((), (5,), (2, 11)))),
            "calendar": draw(st.booleans()),
            "cycle": draw(st.sampled_from((0, 5))),
            "level": draw(st.sampled_from(("mean", "last"))),
        },
        training={"origins": draw(st.sampled_from(("all", "last")))},
    )
    sizes = draw(st.lists(st.integers(2, 25), min_size=1, max_size=4))
    panel = make_panel(
        sizes,
        schema=MIXES[draw(st.sampled_from(sorted(MIXES)))],
        seed=draw(st.integers(0, 999)),
        missing=draw(st.sampled_from((0.0, 0.3))),
    )
    return with_y(panel, np.where(np.isnan(panel.y).all(), 1.0, panel.y)), config


def windows_of(panel: Panel, config: ForecasterConfig) -> Windows:
    """Its windows; a panel that has none to train on is drawn again."""
    try:
        return Windows(panel, config, CPU)
    except TrainingError:
        reject()


@some
@given(cases(), st.integers(0, 999))
def test_a_gathered_batch_equals_windows_cut_out_one_by_one(
    case: tuple[Panel, ForecasterConfig], seed: int
) -> None:
    panel, config = case
    windows = windows_of(panel, config)
    rng = np.random.default_rng(seed)
    series = rng.integers(0, len(panel), 6)
    origins = np.array([rng.integers(0, n) for n in panel.lengths[series]])
    batch = windows.gather(torch.tensor(series), torch.tensor(origins))
    for b, (i, origin) in enumerate(zip(series, origins, strict=True)):
        slow = slow_window(panel, config, windows, int(i), int(origin))
        inside = slow.pop("inside", None)
        for name, expected in slow.items():
            found = batch[name][b].numpy()
            if name == "time":
                # Outside the series nothing is read but at padded steps: its own edge stands there.
                found, expected = found[inside], expected[inside]
            np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=name)
        if panel.schema.static:
            np.testing.assert_allclose(
                batch["static"][b, 1].numpy(), panel.static[i, 1], err_msg="static"
            )


@some
@given(cases(), st.integers(0, 999))
def test_neighbours_and_the_time_after_the_horizon_change_no_batch(
    case: tuple[Panel, ForecasterConfig], seed: int
) -> None:
    panel, config = case
    windows = windows_of(panel, config)
    rng = np.random.default_rng(seed)
    i = int(rng.integers(0, len(panel)))
    origin = int(rng.integers(0, panel.lengths[i]))
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    geometry = Geometry.of(config)
    # A short series' window begins with it, so its later steps reach beyond the origin.
    reach = (geometry.steps - 1) * geometry.segment + geometry.horizon
    other = (panel.series != i) | (position > origin + reach)
    assert other.any() or len(panel) == 1
    y = panel.y.copy()
    y[other] += rng.normal(size=int(other.sum())) * 50.0
    past, future = panel.past.copy(), panel.future.copy()
    past[other], future[other] = 0.0, 0.0
    start = panel.start.copy()
    start[np.arange(len(panel)) != i] += np.timedelta64(3, "D")
    changed = Windows(replace(panel, y=y, past=past, future=future, start=start), config, CPU)
    at = (torch.tensor([i]), torch.tensor([origin]))
    a, b = windows.gather(*at), changed.gather(*at)
    centre = {
        n: (w.centre[i].item(), w.unit[i].item()) for n, w in (("a", windows), ("b", changed))
    }
    for name in a:
        left, right = a[name], b[name]
        if name in ("centre", "unit", "loss_unit", "mase_unit"):
            continue
        if name == "y":
            left = (left * centre["a"][1] + centre["a"][0]) * a["mask"]
            right = (right * centre["b"][1] + centre["b"][0]) * b["mask"]
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize("decoder", ["direct", "encoder_decoder", "recursive"])
@pytest.mark.parametrize("level", ["mean", "last"])
def test_an_origin_in_training_does_not_see_what_comes_after_it(decoder: str, level: str) -> None:
    """What is output at origin j, in the series' own units, is the same whatever follows j."""
    config = settings(
        model={"decoder": decoder, "level": level, "lags": (6,), "cycle": 4, "steps": 8}
    )
    panel = make_panel([40, 40], schema=MIXES["all"])
    network = untrained(config, panel.schema).networks[0]
    geometry = Geometry.of(config)
    series, origin = torch.tensor([0, 1]), torch.tensor([30, 35])
    for cut in (24, 28):
        position = np.arange(panel.rows) - panel.offsets[panel.series]
        later = position > cut
        y = np.where(later, panel.y * 3.0 + 100.0, panel.y)
        past = np.where(later[:, None], 1.0, panel.past)
        found = []
        for p in (panel, replace(panel, y=y, past=past)):
            windows = Windows(p, config, CPU)
            batch = windows.gather(series, origin)
            history = {**batch, "y": batch["y"][:, : geometry.rows],
                       "mask": batch["mask"][:, : geometry.rows]}  # fmt: skip
            output = network(history, every_origin=True)
            z = output.params * output.scale[..., None] + output.level[..., None]
            unit, centre = (batch[n][:, None, None, None] for n in ("unit", "centre"))
            found.append((z * unit + centre, output.origins))
        (a, origins), (b, _) = found
        ends = origin[:, None] - (geometry.steps - 1 - origins) * geometry.segment
        before = ends <= cut
        assert before.any()
        torch.testing.assert_close(a[before], b[before], rtol=1e-4, atol=1e-3)
        assert (a[~before] - b[~before]).abs().max() > 1e-2


def test_the_module_hides_the_horizon_from_the_network() -> None:
    """Loss at the last origin: y beyond the history reaches the loss as target only."""
    config = settings()
    panel = make_panel([40])
    module = ForecastModule(config, panel.schema, 0).eval()
    batch = Windows(panel, config, CPU).gather(torch.tensor([0]), torch.tensor([30]))
    seen = []
    module.network.register_forward_pre_hook(lambda m, args: seen.append(args[0]["y"].shape[1]))
    module.training_step(batch, 0)
    assert seen == [Geometry.of(config).rows]


@pytest.mark.parametrize("sampling", ["series", "windows"])
def test_drawn_origins_can_be_learned_from(sampling: str) -> None:
    config = settings(model={"steps": 2}, training={"sampling": sampling})
    panel = make_panel([4, 60, 11, 2], missing=0.3)
    windows = Windows(panel, config, CPU)
    drawn = np.zeros(len(panel))
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        batch = windows.draw(50, generator)
        drawn += np.bincount(batch["series"].numpy(), minlength=len(panel))
        assert batch["valid"].sum(1).min() >= 1
    assert set(np.flatnonzero(drawn)) == set(windows.usable.tolist())
    if sampling == "windows":
        assert drawn[1] > 3 * drawn[2]
    else:
        assert drawn[drawn > 0].min() > 0.7 * drawn.max()


@pytest.mark.parametrize("sampling", ["series", "windows"])
def test_every_window_of_a_mapped_panel_is_drawn_alike(sampling: str, tmp_path: Path) -> None:
    """As often as chance says, and those that the panel in memory gives for the same seed."""
    config = settings(model={"steps": 2}, training={"sampling": sampling})
    panel = make_panel([9, 14, 11, 20], missing=0.1)
    filling = Filling(tmp_path)
    filling.add(panel.y)
    held = Windows(replace(panel, y=filling.done()), config, CPU)
    draws = 200
    pairs, generators = [], [torch.Generator().manual_seed(4) for _ in range(2)]
    for _ in range(draws):
        batch = held.draw(100, generators[0])
        twin = Windows(panel, config, CPU).draw(100, generators[1]) if not pairs else None
        if twin is not None:
            for name in ("y", "mask", "series", "origin", "centre", "unit"):
                assert torch.equal(batch[name], twin[name])
        pairs.append(torch.stack([batch["series"], batch["origin"]], dim=1))
    windows = [
        (int(series), origin)
        for series, low, high in zip(held.usable, held.low, held.high, strict=True)
        for origin in range(int(low), int(high) + 1)
    ]
    of_series = np.array([sum(s == series for s, _ in windows) for series, _ in windows])
    share = 1.0 / (held.usable_count * of_series) if sampling == "series" else 1.0 / len(windows)
    expected = draws * 100 * np.broadcast_to(share, len(windows))
    found, counts = np.unique(torch.cat(pairs).numpy(), axis=0, return_counts=True)
    assert [tuple(pair) for pair in found.tolist()] == windows
    assert chi2.sf(((counts - expected) ** 2 / expected).sum(), len(windows) - 1) > 0.01


def test_windows_cover_the_newest_values() -> None:
    """The last observation of each series is somebody's target, the first somebody's history."""
    config = settings(model={"steps": 2, "window": 2, "scale_window": 3})
    panel = make_panel([30])
    windows = Windows(panel, config, CPU)
    generator = torch.Generator().manual_seed(0)
    batch = windows.draw(400, generator)
    z = (panel.y - windows.centre.item()) / windows.unit.item()
    shown = batch["y"][batch["mask"] > 0].numpy()
    for value in (z[0], z[-1]):
        assert np.abs(shown - value).min() < 1e-5


def test_series_of_one_observation_teach_nothing_and_are_left_out() -> None:
    config = settings()
    panel = make_panel([5, 5])
    y = panel.y.copy()
    y[1:5] = np.nan
    windows = Windows(with_y(panel, y), config, CPU)
    assert windows.usable.tolist() == [1]
    with pytest.raises(TrainingError, match="no series has two observed values"):
        Windows(with_y(panel, np.full(10, np.nan)), config, CPU)


def test_a_stream_goes_on_where_it_stood_and_repeats_with_its_seed() -> None:
    windows = Windows(make_panel([30, 20]), settings(), CPU)
    one = WindowStream(windows, 4, 3, seed=5)
    first, second = [b["y"] for b in one], [b["y"] for b in one]
    again = [b["y"] for b in WindowStream(windows, 4, 6, seed=5)]
    for a, b in zip(first + second, again, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(first[0], second[0])
