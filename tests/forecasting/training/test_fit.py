"""Training: equal to a slow obvious loop, repeatable, and blind to what it must not see."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from forecasting.errors import ConfigError, DataError, TrainingError
from forecasting.forecaster import Forecaster
from forecasting.hardware.devices import pick_device
from forecasting.schema import Covariate, Schema
from forecasting.training.members import member_seed
from forecasting.training.module import ForecastModule
from forecasting.training.schemas import fitted_schema
from forecasting.windows.training import Windows
from tests.forecasting.samples import (
    MIXES,
    course_of_loss,
    make_panel,
    quantiles,
    same_weights,
    settings,
    with_y,
)
from tests.forecasting.twins import slow_training


@pytest.mark.parametrize(
    ("mix", "model"),
    [
        ("none", {"cell": "gru"}),
        ("none", {"cell": "lstm", "segment": 2, "lags": (6,), "cycle": 4}),
        ("past", {"decoder": "encoder_decoder", "steps": 6}),
        ("future", {"head": "student_t", "calendar": False}),
        ("none", {"decoder": "recursive", "transform": "asinh", "spread": "none"}),
    ],
)
@pytest.mark.parametrize("origins", ["all", "last"])
def test_fast_training_equals_slow_training(mix: str, model: dict[str, Any], origins: str) -> None:
    if model.get("decoder") == "recursive":
        origins = "all"
    steps = 20
    config = settings(
        model=model,
        training={"max_steps": steps, "epoch_steps": 1, "origins": origins, "unseen": 0.0},
    )
    panel = make_panel([12, 40, 25], schema=MIXES[mix], missing=0.1)
    panel = replace(panel, schema=fitted_schema(panel))
    expected, averaged = slow_training(panel, config, steps)
    forecaster = Forecaster.train(panel, config, device="cpu")
    found = [row["train_loss"] for row in forecaster.history]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    weights = forecaster.networks[0].state_dict()
    for name, value in averaged.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-4)


def test_the_same_seed_gives_the_same_weights_and_another_gives_others() -> None:
    panel = make_panel([30, 20])
    config = settings(training={"seed": 3})
    first = Forecaster.train(panel, config, device="cpu")
    torch.manual_seed(12345)
    np.random.seed(1)
    assert same_weights(first, Forecaster.train(panel, config, device="cpu"))
    assert not same_weights(
        first, Forecaster.train(panel, settings(training={"seed": 4}), device="cpu")
    )


def test_training_leaves_the_callers_randomness_and_threads_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    Forecaster.train(make_panel([20]), settings(training={"threads": threads + 1}), device="cpu")
    assert torch.get_num_threads() == threads
    torch.testing.assert_close(torch.rand(3), expected)


def test_tf32_ends_with_the_training() -> None:
    before = torch.get_float32_matmul_precision()
    seen = []
    config = settings(training={"precision": "tf32"})
    Forecaster.train(
        make_panel([20]),
        config,
        on_epoch=lambda _: seen.append(torch.get_float32_matmul_precision()),
        device="cpu",
    )
    assert set(seen) == {"high"}
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_bf16_learns_what_full_precision_does(cell: str) -> None:
    low, full = (course_of_loss(cell, precision, "cpu") for precision in ("bf16", "32"))
    np.testing.assert_allclose(low, full, rtol=0.05)
    assert low != full


def test_members_differ_by_seed_loss_and_cell_and_forecast_with_their_median() -> None:
    config = settings(
        training={
            "members": 3,
            "cell_mix": ("gru", "lstm"),
            "loss_mix": ({"pinball": 1.0}, {"pinball": 1.0, "smape": 1.0}),
        }
    )
    panel = make_panel([30, 20])
    forecaster = Forecaster.train(panel, config, device="cpu")
    assert [n.config.model.cell for n in forecaster.networks] == ["gru", "lstm", "gru"]
    assert [n.config.training.loss.smape for n in forecaster.networks] == [0.0, 1.0, 0.0]
    assert [n.config.training.seed for n in forecaster.networks] == [
        member_seed(0, k) for k in range(3)
    ]
    each = [
        quantiles(Forecaster(config=forecaster.config, schema=panel.schema, networks=[n]), panel)
        for n in forecaster.networks
    ]
    assert np.ptp(each, axis=0).max() > 1e-4
    np.testing.assert_allclose(
        quantiles(forecaster, panel), np.median(each, axis=0), rtol=1e-5, atol=1e-5
    )


def test_a_member_is_the_same_alone_as_among_others() -> None:
    panel = make_panel([30, 20])
    several = Forecaster.train(panel, settings(training={"members": 2, "seed": 5}), device="cpu")
    seed = member_seed(5, 1)
    alone = Forecaster.train(panel, settings(training={"seed": seed}), device="cpu")
    second = Forecaster(config=alone.config, schema=panel.schema, networks=several.networks[1:])
    assert same_weights(second, alone)


# -- categories ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["embedding", "onehot"])
def test_categories_enter_as_configured(encoding: str) -> None:
    panel = make_panel([40, 30], schema=MIXES["all"])
    forecaster = Forecaster.train(panel, settings(model={"encoding": encoding}), device="cpu")
    kinds = [c for c in forecaster.schema.covariates if c.type == "categorical"]
    assert {c.encoding for c in kinds} == {encoding}
    tables = sum(
        len(getattr(forecaster.networks[0], role).tables) for role in ("past", "future", "static")
    )
    assert tables == (3 if encoding == "embedding" else 0)


@pytest.mark.parametrize("encoding", ["embedding", "onehot"])
def test_an_unseen_category_is_forecast_between_the_seen_ones(encoding: str) -> None:
    """Its token is learned from windows whose category was hidden: what is common to all."""
    schema = Schema(
        covariates=(
            Covariate(name="slope", role="static", type="categorical", categories=("up", "down")),
        )
    )
    # Two rows each: nothing but the category tells whether the second goes up or down.
    count = 40
    panel = make_panel([2] * count, schema=schema)
    panel.static[:, 0] = np.arange(count) % 2 + 1.0
    first = np.random.default_rng(0).normal(size=count)
    step = np.where(panel.static[:, 0] == 1, 5.0, -5.0)
    panel = with_y(panel, np.stack([first, first + step], axis=1).ravel())
    config = settings(
        horizon=1,
        model={"encoding": encoding, "calendar": False, "level": "last", "spread": "none",
               "window": 4, "scale_window": 8, "layers": 1, "hidden_size": 12},
        training={"max_steps": 250, "batch_size": 64, "epoch_steps": 250, "unseen": 0.2,
                  "learning_rate": 0.02},
    )  # fmt: skip
    forecaster = Forecaster.train(panel, config, device="cpu")
    known = panel.truncate(1)

    def median(code: float) -> float:
        some = replace(known, static=np.full((count, 1), code))
        forecast = forecaster.predict_panel(some).quantiles[:, 0, 1]
        return float(np.median(forecast - known.y))

    up, unseen, down = median(1.0), median(0.0), median(2.0)  # of what is added to the last value
    assert up > 3.0 > unseen > -3.0 > down


def test_a_category_that_only_the_schema_knows_is_forecast_as_unseen() -> None:
    panel = make_panel([40, 30], schema=MIXES["past"])
    panel.past[:, 1] = np.where(panel.past[:, 1] == 3, 1.0, panel.past[:, 1])
    forecaster = Forecaster.train(panel, settings(), device="cpu")
    found = []
    for code in (0.0, 3.0):
        past = panel.past.copy()
        past[:, 1] = code
        found.append(quantiles(forecaster, replace(panel, past=past)))
    np.testing.assert_array_equal(found[0], found[1])


# -- what a step does ----------------------------------------------------------------------


def test_history_holds_a_row_per_epoch_and_is_told_as_it_is_made() -> None:
    told: list[dict[str, Any]] = []
    config = settings(training={"max_steps": 6, "epoch_steps": 2, "members": 2})
    forecaster = Forecaster.train(make_panel([30]), config, on_epoch=told.append, device="cpu")
    assert told == forecaster.history
    assert [(r["member"], r["step"]) for r in told] == [(m, s) for m in (0, 1) for s in (2, 4, 6)]
    for row in told:
        assert {"train_loss", "lr", "grad_norm", "windows_per_s"} <= set(row)
        assert all(math.isfinite(row[k]) for k in ("train_loss", "lr", "grad_norm"))


def test_steps_that_do_not_fill_an_epoch_are_trained_all_the_same() -> None:
    config = settings(training={"max_steps": 5, "epoch_steps": 3})
    forecaster = Forecaster.train(make_panel([30]), config, device="cpu")
    assert forecaster.history[-1]["step"] == 5


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ("constant", {0: 0.025, 9: 1.0, 99: 1.0}),
        ("cosine", {9: 1.0, 55: 0.5, 99: 0.0}),
        ("one_cycle", {0: 0.04, 29: 1.0, 65: 0.5, 99: 0.0}),
    ],
)
def test_the_learning_rate_warms_up_and_follows_its_schedule(
    schedule: str, at: dict[int, float]
) -> None:
    config = settings(training={"schedule": schedule, "max_steps": 100, "warmup": 0.1})
    module = ForecastModule(config, Schema(), 0)
    rates = [module._rate(step) for step in range(100)]
    for step, rate in at.items():
        assert rates[step] == pytest.approx(rate, abs=0.02)
    peak = int(np.argmax(rates))
    assert (np.diff(rates[: peak + 1]) >= 0).all()
    assert (np.diff(rates[peak:]) <= 0).all()


def test_gradients_are_clipped_by_norm_and_by_value() -> None:
    class Watch(pl.Callback):
        norms: list[float] = []  # noqa: RUF012
        largest: list[float] = []  # noqa: RUF012

        def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
            pass

        def on_before_zero_grad(self, trainer: Any, module: Any, optimizer: Any) -> None:
            grads = [p.grad for p in module.network.parameters() if p.grad is not None]
            if grads:
                self.norms.append(float(torch.cat([g.ravel() for g in grads]).norm()))
                self.largest.append(max(float(g.abs().max()) for g in grads))

    for clip, field in (("clip_norm", "norms"), ("clip_value", "largest")):
        watch = Watch()
        watch.norms, watch.largest = [], []
        training = {"clip_norm": None, "clip_value": None} | {clip: 1e-3}
        config = settings(training=training | {"max_steps": 3})
        forecaster = Forecaster.train(make_panel([30]), config, callbacks=[watch], device="cpu")
        assert getattr(watch, field)
        assert max(getattr(watch, field)) <= 1e-3 * 1.001
        assert forecaster.history[0]["grad_norm"] > 1e-3


def test_without_averaging_the_last_weights_are_kept() -> None:
    panel = make_panel([30])
    last: dict[str, torch.Tensor] = {}

    class Keep(pl.Callback):
        def on_train_end(self, trainer: Any, module: Any) -> None:
            last.update({k: v.clone() for k, v in module.network.state_dict().items()})

    plain = Forecaster.train(
        panel, settings(training={"ema": 0.0}), callbacks=[Keep()], device="cpu"
    )
    for name, value in plain.networks[0].state_dict().items():
        torch.testing.assert_close(value, last[name], rtol=0, atol=0)
    averaged = Forecaster.train(
        panel, settings(training={"ema": 0.99}), callbacks=[Keep()], device="cpu"
    )
    assert any(not torch.equal(v, last[n]) for n, v in averaged.networks[0].state_dict().items())


def test_dropout_and_noise_act_in_training_only() -> None:
    panel = make_panel([30, 20])
    base = Forecaster.train(panel, settings(), device="cpu")
    for change in ({"model": {"dropout": 0.5}}, {"training": {"noise": 0.5}}):
        other = Forecaster.train(panel, settings(**change), device="cpu")
        assert not same_weights(base, other)
        np.testing.assert_array_equal(quantiles(other, panel), quantiles(other, panel))


def test_noise_falls_on_what_was_observed_and_on_nothing_else() -> None:
    panel = make_panel([40, 30], missing=0.4)
    module = ForecastModule(settings(training={"noise": 0.5}), panel.schema, 0)
    windows = Windows(panel, module.config, torch.device("cpu"))
    batch = windows.gather(torch.tensor([0, 1]), torch.tensor([30, 20]))
    seen = []
    module.network.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    module.training_step(batch, 0)
    plain = module.network.history(batch)
    missing = plain["mask"] == 0
    assert missing.any()
    assert (seen[0]["y"][missing] == 0.0).all()
    assert (seen[0]["y"][~missing] != plain["y"][~missing]).all()


def test_weights_decay_and_biases_and_gains_do_not() -> None:
    panel = make_panel([40])
    config = settings(training={"weight_decay": 0.3, "learning_rate": 0.1})
    module = ForecastModule(config, panel.schema, 0)
    before = {name: p.detach().clone() for name, p in module.network.named_parameters()}
    module.broken.zero_()
    optimizer = module.configure_optimizers()["optimizer"]
    rate = optimizer.param_groups[0]["lr"]
    for p in module.network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in module.network.named_parameters():
        kept = 1.0 - rate * 0.3 if p.ndim > 1 else 1.0
        torch.testing.assert_close(p.detach(), before[name] * kept, msg=name)
    assert any(v.ndim == 1 and v.abs().max() > 0 for v in before.values())


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_loss_that_is_no_number_stops_with_advice() -> None:
    config = settings(training={"learning_rate": 1.0, "clip_norm": None, "max_steps": 4,
                                "loss": {"mse": 1e38}})  # fmt: skip
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        Forecaster.train(make_panel([30]), config, device="cpu")


def test_counts_below_zero_are_refused_where_they_stand() -> None:
    config = settings(model={"head": "negative_binomial"})
    panel = make_panel([9, 9])
    y = np.abs(panel.y)
    y[11] = -2.0
    with pytest.raises(DataError, match="'s1' has y = -2"):
        Forecaster.train(with_y(panel, y), config, device="cpu")


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(TrainingError, match="no series has two observed values"):
        Forecaster.train(with_y(make_panel([9]), np.full(9, np.nan)), settings(), device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said() -> None:
    assert pick_device("auto").type == "cpu"
    with pytest.raises(TrainingError, match="use device = cpu"):
        Forecaster.train(make_panel([9]), settings(), device="cuda")


def test_real_columns_are_standardised_by_the_training_panel_alone() -> None:
    schema = Schema(
        covariates=(
            Covariate(name="a", role="past", mean=99.0, std=99.0),
            Covariate(name="b", role="future", mean=99.0, std=99.0),
            Covariate(name="c", role="static", mean=99.0, std=99.0),
            Covariate(name="d", role="past", mean=99.0, std=99.0),
        )
    )
    panel = make_panel([30, 20], schema=schema)
    panel.past[:, 1] = 4.0
    panel.past[3, 0] = np.nan
    fitted = {c.name: c for c in fitted_schema(panel).covariates}
    assert fitted["a"].mean == pytest.approx(np.nanmean(panel.past[:, 0]))
    assert fitted["b"].std == pytest.approx(panel.future[:, 0].std())
    assert fitted["c"].mean == pytest.approx(panel.static[:, 0].mean())
    assert (fitted["d"].mean, fitted["d"].std) == (4.0, 0.0)  # it never moved


def test_a_device_of_another_kind_is_named_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="device = tpu: choose auto, cpu, cuda"):
        pick_device("tpu")


@pytest.mark.parametrize("rate", [0.01, 0.2, 5.0])
def test_noise_on_counts_leaves_them_counts(rate: float) -> None:
    """Noise of a unit's size would make sparse counts negative, and their scale with them."""
    rng = np.random.default_rng(2)
    panel = with_y(make_panel([300, 200]), rng.poisson(rate, 500).astype(float))
    config = settings(model={"head": "negative_binomial"}, training={"noise": 0.5, "max_steps": 12})
    history = Forecaster.train(panel, config, device="cpu").history
    assert np.isfinite([row["train_loss"] for row in history]).all()
