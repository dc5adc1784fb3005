"""Every loss against an obvious NumPy loop, the likelihoods against SciPy."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from forecasting import Forecaster
from forecasting.config import ForecasterConfig, LossConfig
from forecasting.errors import ConfigError
from forecasting.networks.heads import NegativeBinomial, StudentT
from forecasting.networks.output import Output
from forecasting.training.losses import (
    SPREAD_SHARE,
    TERMS,
    Residuals,
    pinball,
    targets,
    training_loss,
)
from forecasting.windows.geometry import Geometry
from tests.forecasting.samples import (
    LEVELS,
    forecasts_of_every_engine,
    make_panel,
    same_weights,
    settings,
    with_y,
)

B, ORIGINS, H = 3, 4, 3
OFF = {"pinball": 0.0, "likelihood": 0.0}


def _case(config: ForecasterConfig, seed: int = 0) -> tuple[Output, dict[str, torch.Tensor]]:
    """A random output of the network and a random batch that fits it."""
    rng = np.random.default_rng(seed)
    geometry = Geometry.of(config)
    rows = geometry.rows + H
    head = config.model.head
    size = {"quantiles": len(LEVELS), "student_t": 3, "negative_binomial": 2, "point": 1}[head]
    params = rng.normal(size=(B, ORIGINS, H, size))
    if head == "quantiles":
        params = np.sort(params, axis=-1)
    elif head == "student_t":
        params[..., 1:] = np.exp(params[..., 1:]) + np.array([0.0, 2.0])
    elif head == "negative_binomial":
        params = np.exp(params)
    y = rng.normal(size=(B, rows)) * 2.0
    counts = head == "negative_binomial"
    if counts:
        y = rng.poisson(3.0, size=(B, rows)).astype(float)

    def tensor(values: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(values), dtype=torch.float64)

    mask = rng.random((B, rows)) < 0.8
    batch = {
        "y": tensor(y * mask),
        "mask": tensor(mask),
        "valid": tensor(rng.random((B, geometry.steps)) < 0.8),
        "loss_unit": tensor(np.exp(rng.normal(size=B))),
        "mase_unit": tensor(np.exp(rng.normal(size=B))),
        "centre": tensor(np.zeros(B) if counts else rng.normal(size=B)),
        "unit": tensor(np.ones(B) if counts else np.exp(rng.normal(size=B))),
    }
    level = np.zeros((B, ORIGINS, 1)) if counts else rng.normal(size=(B, ORIGINS, 1))
    output = Output(
        tensor(params),
        tensor(level),
        tensor(np.exp(rng.normal(size=(B, ORIGINS, 1)))),
        torch.arange(ORIGINS),
    )
    return output, batch


def _slow(output: Output, batch: dict[str, torch.Tensor], config: ForecasterConfig) -> float:
    """The training loss, one target at a time."""
    model, terms, geometry = config.model, config.training.loss, Geometry.of(config)
    params, level, scale = (t.numpy() for t in output[:3])
    total = weight = 0.0
    for b in range(B):
        unit, centre = float(batch["unit"][b]), float(batch["centre"][b])
        for o in range(ORIGINS):
            if not batch["valid"][b, o]:
                continue
            for h in range(H):
                at = geometry.reach - 1 + o * geometry.segment + h + 1
                if not batch["mask"][b, at]:
                    continue
                weight += 1.0
                y, s, mu = float(batch["y"][b, at]), scale[b, o, 0], level[b, o, 0]
                z, p = (y - mu) / s, params[b, o, h]
                share = 1.0
                if model.spread == "mad" and model.head != "negative_binomial":
                    share = s / max(s, SPREAD_SHARE * float(batch["loss_unit"][b]))
                point = p[len(LEVELS) // 2] if model.head == "quantiles" else p[0]
                error = (z - point) * share
                if model.head == "quantiles":
                    pin = [
                        2.0 * (tau * (z - q) if z >= q else (1 - tau) * (q - z))
                        for tau, q in zip(LEVELS, p, strict=True)
                    ]
                    total += terms.pinball * float(np.mean(pin)) * share
                elif model.head == "student_t":
                    logpdf = stats.t.logpdf((z - p[0]) / p[1], p[2]) - math.log(p[1])
                    total -= terms.likelihood * logpdf
                elif model.head == "negative_binomial":
                    mean, r = p[0] * s, 1.0 / p[1]
                    total -= terms.likelihood * stats.nbinom.logpmf(y, r, r / (r + mean))
                total += (terms.mae or 0.0) * abs(error) + terms.mse * error**2
                total += terms.huber * (error**2 / 2 if abs(error) < 1 else abs(error) - 0.5)
                forecast = point * s + mu
                a, f = (
                    _original(y * unit + centre, model),
                    _original(forecast * unit + centre, model),
                )
                if a != f:
                    total += terms.smape * abs(a - f) / (abs(a) + abs(f))
                ratio = abs(a - f) / float(batch["mase_unit"][b])
                total += terms.mase * (ratio if ratio < 10 else 10 * (1 + math.log(ratio / 10)))
    return total / max(weight, 1.0)


def _original(t: float, model: Any) -> float:
    back = {"identity": lambda v: v, "log": math.exp, "log1p": math.expm1, "asinh": math.sinh}
    return float(back[model.transform](t))


@pytest.mark.parametrize("transform", ["identity", "log", "log1p", "asinh"])
@pytest.mark.parametrize("term", ["pinball", "mae", "mse", "huber", "smape", "mase"])
@pytest.mark.parametrize("segment", [1, 2])
def test_each_term_equals_a_plain_loop(term: str, transform: str, segment: int) -> None:
    spread = "mad" if transform == "identity" else "none"
    model = {"transform": transform, "spread": spread, "segment": segment}
    config = settings(model=model, training={"loss": OFF | {term: 1.5}})
    output, batch = _case(config)
    expected = _slow(output, batch, config)
    assert training_loss(output, batch, config).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("head", ["student_t", "negative_binomial"])
def test_each_likelihood_equals_scipy(head: str) -> None:
    config = settings(model={"head": head}, training={"loss": {"likelihood": 1.0, "mae": 0.5}})
    output, batch = _case(config, seed=1)
    expected = _slow(output, batch, config)
    assert training_loss(output, batch, config).item() == pytest.approx(expected, rel=1e-6)


def test_a_point_head_without_terms_takes_the_absolute_error() -> None:
    config = settings(model={"head": "point"})
    with_mae = settings(model={"head": "point"}, training={"loss": OFF | {"mae": 1.0}})
    output, batch = _case(config)
    assert training_loss(output, batch, config) == training_loss(output, batch, with_mae)


def test_terms_add_up() -> None:
    terms = {"pinball": 0.5, "huber": 2.0, "smape": 1.0, "mase": 0.25}
    config = settings(training={"loss": terms})
    output, batch = _case(config)
    assert training_loss(output, batch, config).item() == pytest.approx(
        _slow(output, batch, config), rel=1e-5
    )


def test_the_pinball_at_the_median_is_the_absolute_error() -> None:
    y, f = torch.randn(50), torch.randn(50, 1)
    torch.testing.assert_close(pinball(y, f, (0.5,)), (y - f[:, 0]).abs())


def test_likelihoods_hold_far_out() -> None:
    z = torch.tensor([0.0, 1e3, -1e6], dtype=torch.float64)
    params = torch.tensor([[0.0, 1.0, 3.0]] * 3, dtype=torch.float64)
    expected = -stats.t.logpdf(z.numpy(), 3.0)
    np.testing.assert_allclose(StudentT.likelihood(params, z, z, z).numpy(), expected, rtol=1e-9)
    counts = torch.tensor([0.0, 1e4], dtype=torch.float64)
    shape = torch.tensor([[5.0, 0.3]] * 2, dtype=torch.float64)
    r = 1 / 0.3
    expected = -stats.nbinom.logpmf(counts.numpy(), r, r / (r + 10.0))
    scale = torch.tensor([2.0, 2.0], dtype=torch.float64)
    found = NegativeBinomial.likelihood(shape, counts / scale, counts, scale)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9)


def test_targets_are_the_values_right_after_each_origin() -> None:
    config = settings(model={"segment": 2, "lags": (9,)})
    geometry = Geometry.of(config)
    rows = geometry.rows + H
    batch = {
        "y": torch.arange(rows, dtype=torch.float32)[None],
        "mask": torch.ones(1, rows),
        "valid": torch.ones(1, geometry.steps),
    }
    output = Output(torch.zeros(1, 4, H, 5), *(torch.zeros(1, 4, 1),) * 2, torch.arange(4))
    values, _ = targets(output, batch, geometry)
    ends = geometry.reach - 1 + 2 * np.arange(4)
    np.testing.assert_array_equal(values[0], ends[:, None] + 1 + np.arange(H))
    assert ends[-1] == geometry.rows - 1


@pytest.mark.parametrize("head", ["quantiles", "student_t", "negative_binomial", "point"])
def test_gradients_are_finite_even_where_nothing_counts(head: str) -> None:
    terms = {"mae": 1.0, "mse": 1.0, "huber": 1.0, "smape": 1.0, "mase": 1.0}
    config = settings(model={"head": head}, training={"loss": terms})
    for empty in (False, True):
        output, batch = _case(config)
        if empty:
            batch["mask"] = torch.zeros_like(batch["mask"])
            batch["y"] = torch.zeros_like(batch["y"])
        params = output.params.clone().requires_grad_(True)
        loss = training_loss(output._replace(params=params), batch, config)
        loss.backward()
        assert torch.isfinite(loss)
        assert params.grad is not None
        assert torch.isfinite(params.grad).all()
        if empty:
            assert loss == 0
            assert not params.grad.any()


def test_a_masked_target_and_an_invalid_origin_count_nothing() -> None:
    config = settings()
    output, batch = _case(config)
    before = training_loss(output, batch, config)
    noisy = dict(batch)
    noisy["y"] = batch["y"] + 1e6 * (1 - batch["mask"])
    assert training_loss(output, noisy, config) == before
    params = output.params + 1e3 * (1 - batch["valid"][:, :ORIGINS, None, None])
    assert training_loss(output._replace(params=params), batch, config) == before


def _far_off(residuals: Residuals) -> torch.Tensor:
    """A term of this test's own: the fourth power of the error."""
    return residuals.error.square().square()


def test_every_term_has_a_weight_among_the_settings() -> None:
    assert TERMS.keys() == LossConfig.model_fields.keys() - {"more"}


def test_an_entry_of_the_table_is_all_that_a_new_term_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = make_panel([40, 30])
    plain = settings(training={"loss": {"mae": 0.5}})
    config = settings(training={"loss": {"mae": 0.5, "more": {"far_off": 0.25}}})
    output, batch = _case(config)
    with monkeypatch.context() as table:
        table.setitem(TERMS, "far_off", _far_off)
        alone = settings(training={"loss": OFF | {"mae": 0.0, "more": {"far_off": 0.25}}})
        terms = [training_loss(output, batch, part).item() for part in (plain, alone)]
        assert terms[1] > 0.0
        assert training_loss(output, batch, config).item() == pytest.approx(sum(terms))
        forecaster = Forecaster.train(panel, config, device="cpu")
        assert not same_weights(forecaster, Forecaster.train(panel, plain, device="cpu"))
        first, *others = forecasts_of_every_engine(forecaster, panel, tmp_path)
    # What only training needs, forecasting does without.
    others += forecasts_of_every_engine(Forecaster.load(tmp_path / "bundle"), panel, tmp_path / "x")
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4, atol=1e-4)


def test_a_term_that_there_is_none_of_is_refused_before_training() -> None:
    config = settings(training={"loss": {"more": {"far_off": 0.25}}})
    with pytest.raises(ConfigError, match=r"training\.loss\.more\.far_off.*pinball, likelihood"):
        Forecaster.train(make_panel([40]), config, device="cpu")


@pytest.mark.parametrize("more", [{"mae": 1.0}, {"far_off": -1.0}, {"far_off": "much"}])
def test_the_weight_of_a_new_term_is_a_number_under_a_new_name(more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"training\.loss\.more"):
        settings(training={"loss": {"more": more}})


@pytest.mark.parametrize("head", ["quantiles", "student_t", "negative_binomial"])
def test_a_loss_without_weights_is_refused(head: str) -> None:
    config = settings(model={"head": head}, training={"loss": OFF | {"mae": 0.0}})
    panel = make_panel([40])
    panel = with_y(panel, np.round(np.abs(panel.y)))
    with pytest.raises(ConfigError, match=r"training\.loss: all weights are 0.*give (pin|like)"):
        Forecaster.train(panel, config, device="cpu")
