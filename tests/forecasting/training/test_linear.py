"""The solved linear path: the ridge regression of what follows on what was seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.networks import ForecastNetwork
from forecasting.schema import Schema
from forecasting.selection.decider import idle_members
from forecasting.selection.held_back import Evidence, Origin
from forecasting.training import linear
from forecasting.training.defaults import LONG_HISTORY, resolve
from forecasting.training.members import member_seed
from forecasting.windows.training import Windows, WindowStream
from tests.forecasting.samples import MIXES, make_panel, settings, with_y

CPU = torch.device("cpu")


def _solved(panel: Panel, config: ForecasterConfig) -> tuple[ForecastNetwork, bool]:
    windows = Windows(panel, config, CPU)
    network = ForecastNetwork(config, panel.schema, windows.calendar)
    return network, linear.solve_linear_path(network, windows, seed=0)


@pytest.mark.parametrize(
    "model", [{}, {"spread": "none"}, {"level": "last"}, {"segment": 2, "lags": (6,)}]
)
def test_it_is_the_ridge_regression_over_cut_out_windows(
    model: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "ORIGINS", 800)
    panel, config = make_panel([120, 90], missing=0.02), settings(model=model)
    network, done = _solved(panel, config)
    assert done
    assert network.skip is not None
    windows, geometry = Windows(panel, config, CPU), network.geometry
    batches = -(-800 // (linear.WINDOWS_AT_ONCE * geometry.steps))
    x, target, weight = [], [], []
    for batch in WindowStream(windows, linear.WINDOWS_AT_ONCE, batches, 0):
        history = {k: v[:, : geometry.rows] if k in ("y", "mask") else v for k, v in batch.items()}
        _, shown, scale = network.features(history)
        for row in range(len(shown)):
            for step in range(geometry.steps):
                end = geometry.reach + step * geometry.segment
                ahead = slice(end, end + geometry.horizon)
                if not batch["mask"][row, ahead].all() or not batch["valid"][row, step]:
                    continue
                level, spread = float(scale.level[row, step, 0]), float(scale.spread[row, step, 0])
                x.append([*shown[row, step].tolist(), 1.0])
                target.append(((batch["y"][row, ahead] - level) / spread).tolist())
                weight.append(spread / max(spread, 0.2 * float(batch["loss_unit"][row])))
    inputs, wanted, root = np.array(x), np.array(target), np.sqrt(weight)[:, None]
    penalty = linear.RIDGE * np.square(root * inputs).sum() / inputs.shape[1]
    stacked = np.vstack([root * inputs, np.sqrt(penalty) * np.eye(inputs.shape[1])])
    zeros = np.zeros((inputs.shape[1], wanted.shape[1]))
    expected = np.linalg.lstsq(stacked, np.vstack([root * wanted, zeros]), rcond=None)[0]
    np.testing.assert_allclose(network.skip.weight.numpy().T, expected[:-1], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(network.skip.bias.numpy(), expected[-1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("head", ["quantiles", "student_t", "point"])
@pytest.mark.parametrize(("decoder", "mix"), [("direct", "none"), ("direct", "future"),
                                              ("encoder_decoder", "none")])  # fmt: skip
def test_training_leaves_the_solved_median_and_learns_the_spread(
    head: str, decoder: str, mix: str
) -> None:
    panel = make_panel([120, 90], schema=MIXES[mix])
    config = settings(
        model={"head": head, "decoder": decoder},
        training={"linear_mix": ("solved",), "max_steps": 6, "weight_decay": 0.1},
    )
    solved, done = _solved(panel, config)
    assert done
    trained = Forecaster.train(panel, config, device="cpu").networks[0]
    assert solved.skip is not None
    assert trained.skip is not None
    torch.testing.assert_close(trained.skip.weight, solved.skip.weight)
    torch.testing.assert_close(trained.skip.bias, solved.skip.bias)
    windows = Windows(panel, config, CPU)
    batch = windows.gather(torch.tensor([0, 1]), torch.tensor([60, 70]))
    rows = trained.geometry.rows
    batch = {k: v[:, :rows] if k in ("y", "mask") else v for k, v in batch.items()}
    found = trained(batch)
    median = found.params[..., trained.head.size // 2 if head == "quantiles" else 0]
    _, shown, _ = trained.features(batch)
    linear_alone = trained.skip(shown[:, -1:])
    if trained.skip_ahead is not None:
        ahead = trained.horizon_features(batch, found.origins, config.horizon)
        linear_alone = linear_alone + trained.skip_ahead(ahead)[..., 0]
    torch.testing.assert_close(median, linear_alone)
    if head != "point":
        moved = trained.state_dict()["encoder.layers.0.weight_hh_l0"]
        torch.manual_seed(0)
        fresh = ForecastNetwork(config, panel.schema, windows.calendar)
        assert not torch.allclose(moved, fresh.state_dict()["encoder.layers.0.weight_hh_l0"])


def test_members_take_their_linear_paths_in_turn() -> None:
    panel = make_panel([120, 90])
    config = settings(training={"linear_mix": ("trained", "solved"), "members": 2})
    both = Forecaster.train(panel, config, device="cpu").networks
    alone = Forecaster.train(panel, settings(training={"members": 1}), device="cpu").networks[0]
    again = Forecaster.train(
        panel,
        settings(training={"linear_mix": ("solved",), "seed": member_seed(0, 1)}),
        device="cpu",
    ).networks[0]
    for found, expected in zip(both, (alone, again), strict=True):
        for value, wanted in zip(
            found.state_dict().values(), expected.state_dict().values(), strict=True
        ):
            torch.testing.assert_close(value, wanted)


@pytest.mark.parametrize("holes", ["short", "every second value"])
def test_too_few_whole_horizons_leave_the_path_to_training(holes: str) -> None:
    panel = make_panel([9, 8])
    if holes != "short":
        panel = make_panel([120, 90])
        panel = with_y(panel, np.where(np.arange(panel.rows) % 2, panel.y, np.nan))
    config = settings()
    network, done = _solved(panel, config)
    fresh = ForecastNetwork(config, Schema(), Windows(panel, config, CPU).calendar)
    assert not done
    assert network.skip is not None
    assert fresh.skip is not None
    assert network.skip.weight.requires_grad
    torch.testing.assert_close(network.skip.weight, fresh.skip.weight)


def test_long_histories_get_a_member_more_with_a_solved_median() -> None:
    long, short = make_panel([LONG_HISTORY] * 2, freq="h"), make_panel([400] * 2, freq="h")
    asked = ForecasterConfig(horizon=24)
    chosen = resolve(asked, long).training
    assert (chosen.members, chosen.linear_mix) == (2, ("trained", "solved"))
    several = resolve(asked.replace(training={"members": 2}), long).training
    assert (several.members, several.linear_mix) == (3, ("trained", "trained", "solved"))
    assert resolve(asked, short).training.linear_mix == ()
    assert resolve(asked.replace(model={"skip": False}), long).training.members == 1
    assert resolve(asked.replace(training={"members": 1000}), long).training.members == 1000
    own = asked.replace(training={"linear_mix": ("solved",)})
    assert resolve(own, long).training.linear_mix == ("solved",)


@pytest.mark.parametrize("follows_a_line", [True, False])
def test_held_back_origins_decide_whether_the_solved_member_stays(follows_a_line: bool) -> None:
    """It stays where the future is linear in the window, and goes where it is anything but."""
    rng = np.random.default_rng(0)
    panel = make_panel([LONG_HISTORY] * 2, freq="h", horizon=6)
    if follows_a_line:
        y = np.stack([np.sin(np.arange(LONG_HISTORY) * 2 * np.pi / 31 + k) for k in range(2)])
        panel = with_y(panel, (10.0 + y).ravel() + 0.01 * rng.normal(size=panel.rows))
    config = settings(
        horizon=6, season=24, freq="h", model={"window": 48, "scale_window": 48, "steps": 2},
        training={"validation": "holdout", "max_steps": 5, "linear_mix": ("trained", "solved"),
                  "members": 2},
    )  # fmt: skip
    windows = Windows(panel.truncate(24), config, CPU)
    torch.manual_seed(0)
    trained, solved = (ForecastNetwork(config, Schema(), windows.calendar) for _ in range(2))
    linear.solve_linear_path(solved, windows, seed=0)
    if not follows_a_line:
        assert solved.skip is not None
        with torch.no_grad():
            solved.skip.bias.add_(5.0)
    evidence = Evidence.of([trained, solved], Origin.each(panel, config, [24, 18, 12, 6]), config)
    assert idle_members(evidence) == ([] if follows_a_line else [1])
