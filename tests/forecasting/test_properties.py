"""What must be true of every forecast, whatever the network: causality, scaling, independence."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from tests.forecasting.samples import (
    CELLS,
    LEVELS,
    MIXES,
    make_panel,
    quantiles,
    settings,
    untrained,
    with_y,
)

# No shrinking: an example takes long enough, and the network drawn is shown as it is.
few = hypothesis_settings(
    max_examples=int(os.environ.get("GATECAST_TEST_EXAMPLES", "12")),
    deadline=None,
    derandomize="GATECAST_TEST_EXAMPLES" not in os.environ,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
HORIZON = 3


@st.composite
def networks(draw: st.DrawFn, **fixed: Any) -> ForecasterConfig:
    """Networks of every cell, decoder, head, segment and scaling that go together."""
    decoder = draw(st.sampled_from(("direct", "encoder_decoder", "recursive")))
    heads = ["quantiles", "student_t"]
    if decoder != "recursive":
        heads.append("point")
        if "transform" not in fixed:
            heads.append("negative_binomial")
    segment = 1 if decoder == "recursive" else draw(st.sampled_from((1, 2, 4)))
    window = draw(st.integers(segment, segment + 4))
    bidirectional = decoder == "direct" and draw(st.booleans())
    cell = draw(st.sampled_from(CELLS[:3] if bidirectional else CELLS))
    model = {
        "decoder": decoder,
        "cell": cell,
        "head": draw(st.sampled_from(heads)),
        "segment": segment,
        "window": window,
        "scale_window": window + draw(st.integers(2, 4)),
        "steps": draw(st.integers(1, 5)),
        "lags": draw(st.sampled_from(((), (6,), (2, 9)))),
        "level": draw(st.sampled_from(("mean", "last"))),
        "layers": draw(st.integers(1, 2)),
        "layer_norm": draw(st.booleans()),
        "residual": draw(st.booleans()),
        "skip": draw(st.booleans()),
        "calendar": draw(st.booleans()),
        "cycle": draw(st.sampled_from((0, 4))),
        "bidirectional": bidirectional,
        **fixed,
    }
    training = {"origins": "last"} if bidirectional else {}
    return settings(horizon=HORIZON, model=model, training=training)


def panel_for(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, missing: float = 0.0
) -> Panel:
    """A random panel that the network can read: of counts where it needs them."""
    panel = make_panel(sizes, schema=MIXES[mix], seed=seed, missing=missing)
    counts = config.model.head == "negative_binomial"
    return with_y(panel, np.round(np.abs(panel.y))) if counts else panel


mixes = st.sampled_from(sorted(MIXES))
lengths = st.lists(st.integers(2, 30), min_size=1, max_size=4)
seeds = st.integers(0, 10_000)


@few
@given(networks(), mixes, lengths, seeds)
def test_changing_the_last_observation_changes_the_first_step(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int
) -> None:
    panel = panel_for(config, mix, sizes, seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    changed = panel.y.copy()
    changed[panel.offsets[1:] - 1] += 700.0
    before, after = (quantiles(forecaster, p) for p in (panel, with_y(panel, changed)))
    assert (np.abs(before[:, 0] - after[:, 0]).max(axis=-1) > 1e-6).all()


@few
@given(networks(), mixes, lengths, seeds, st.integers(1, 6))
def test_changing_anything_after_the_cutoff_changes_nothing(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, back: int
) -> None:
    panel = panel_for(config, mix, [n + 6 for n in sizes], seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    rng = np.random.default_rng(seed)
    position = np.arange(panel.rows) - panel.offsets[panel.series]
    later = position >= (panel.lengths - back)[panel.series]
    y = np.where(later, rng.random(panel.rows) * 1e6, panel.y)
    y[later & (rng.random(panel.rows) < 0.3)] = np.nan
    past = panel.past.copy()
    past[later] = 0.0
    changed = replace(panel, y=y, past=past)
    a, b = (quantiles(forecaster, p.truncate(back, HORIZON)) for p in (panel, changed))
    np.testing.assert_array_equal(a, b)


@few
@given(networks(), st.sampled_from(("future", "all")), lengths, seeds, st.integers(0, 2))
def test_a_known_future_covariate_at_a_step_changes_that_step(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, step: int
) -> None:
    assume(config.model.head != "negative_binomial")
    panel = panel_for(config, mix, sizes, seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    assert panel.horizon is not None
    for column, value in ((0, 9.0), (1, None)):
        horizon = panel.horizon.copy()
        other = 3.0 - horizon[:, step, column]
        horizon[:, step, column] = value if value is not None else other
        a, b = (quantiles(forecaster, p) for p in (panel, replace(panel, horizon=horizon)))
        moved = np.abs(a - b).max(axis=-1)
        assert (moved[:, step] > 1e-6).all()
        # A direct decoder reads each step's covariates for that step alone; the others run
        # forward in time. Neither looks back from a later step.
        assert (moved[:, :step] == 0).all() or config.model.bidirectional
        if config.model.decoder == "direct":
            np.testing.assert_array_equal(np.delete(moved, step, axis=1), 0.0)


@few
@given(
    networks(),
    mixes,
    lengths,
    seeds,
    st.floats(1e-6, 1e6),
    st.floats(-1e3, 1e3),
)
def test_forecasts_scale_and_shift_with_the_series(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, scale: float, shift: float
) -> None:
    assume(config.model.head != "negative_binomial")
    panel = make_panel([n + 3 for n in sizes], schema=MIXES[mix], seed=seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    shift = shift * scale
    a = quantiles(forecaster, panel) * scale + shift
    b = quantiles(forecaster, with_y(panel, panel.y * scale + shift))
    spread = scale * np.ptp(panel.y)
    np.testing.assert_allclose(a, b, atol=2e-4 * spread, rtol=0)


@few
@given(networks(transform="log", spread="none"), lengths, seeds, st.floats(1e-9, 1e9))
def test_forecasts_on_logs_scale_with_the_series(
    config: ForecasterConfig, sizes: list[int], seed: int, scale: float
) -> None:
    panel = make_panel([n + 3 for n in sizes], seed=seed, positive=True)
    forecaster = untrained(config, seed=seed)
    a = quantiles(forecaster, panel) * scale
    b = quantiles(forecaster, with_y(panel, panel.y * scale))
    np.testing.assert_allclose(a, b, rtol=1e-3)


@few
@given(networks(), mixes, lengths, seeds, st.floats(0.0, 0.5))
def test_batch_composition_and_padding_change_nothing(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, missing: float
) -> None:
    panel = panel_for(config, mix, sizes, seed, missing)
    forecaster = untrained(config, panel.schema, seed=seed)
    together = quantiles(forecaster, panel)
    backwards = quantiles(forecaster, panel.select(np.arange(len(panel))[::-1]))[::-1]
    alone = np.concatenate([quantiles(forecaster, panel.select([i])) for i in range(len(panel))])
    size = np.abs(together).max() + 1.0
    np.testing.assert_allclose(together, backwards, atol=1e-5 * size)
    np.testing.assert_allclose(together, alone, atol=1e-5 * size)


@few
@given(networks(), mixes, seeds)
def test_history_before_the_context_changes_nothing(
    config: ForecasterConfig, mix: str, seed: int
) -> None:
    panel = panel_for(config, mix, [80, 64], seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    a, b = (quantiles(forecaster, p) for p in (panel, panel.tail(forecaster.context)))
    np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@few
@given(networks(), st.sampled_from(("past", "all")), lengths, seeds)
def test_a_masked_value_has_no_influence(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int
) -> None:
    """Whatever number stands under a mask, the network's numbers are the same to the last bit."""
    import torch

    from forecasting.windows.prediction import assemble

    panel = make_panel([n + 4 for n in sizes], schema=MIXES[mix], seed=seed, missing=0.4)
    forecaster = untrained(config, panel.schema, seed=seed)
    batch, _, _ = assemble(panel, config, 2)
    rng = np.random.default_rng(seed)
    batch["past_mask"][..., 0] *= rng.random(batch["past_mask"].shape[:2]) < 0.5
    tensors = {k: torch.from_numpy(np.array(v)) for k, v in batch.items()}
    noisy = {k: v.clone() for k, v in tensors.items()}
    for name in ("y", "past"):
        mask = tensors["mask" if name == "y" else "past_mask"]
        hidden = mask == 0
        noisy[name][hidden] = 1e4 * torch.randn(int(hidden.sum()))
        tensors[name][hidden] = 0.0
    network = forecaster.networks[0]
    for a, b in zip(network(tensors), network(noisy), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@few
@given(
    networks(),
    lengths,
    seeds,
    st.lists(st.floats(0.001, 0.999), min_size=2, max_size=6, unique=True),
)
def test_quantiles_never_cross_at_any_level(
    config: ForecasterConfig, sizes: list[int], seed: int, wanted: list[float]
) -> None:
    panel = panel_for(config, "none", sizes, seed)
    forecaster = untrained(config, seed=seed)
    values = forecaster.predict_panel(panel, quantiles=sorted(wanted)).quantiles
    assert np.isfinite(values).all()
    assert (np.diff(values, axis=-1) >= -1e-9 * np.abs(values[..., 1:])).all()


@few
@given(networks(), mixes, lengths, seeds, st.integers(1, HORIZON))
def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(
    config: ForecasterConfig, mix: str, sizes: list[int], seed: int, horizon: int
) -> None:
    panel = panel_for(config, mix, sizes, seed)
    forecaster = untrained(config, panel.schema, seed=seed)
    whole = quantiles(forecaster, panel)
    cut = panel if panel.horizon is None else replace(panel, horizon=panel.horizon[:, :horizon])
    part = quantiles(forecaster, cut, horizon=horizon)
    np.testing.assert_allclose(part, whole[:, :horizon], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("head", ["quantiles", "student_t", "negative_binomial", "point"])
def test_extending_beyond_the_trained_horizon_keeps_its_beginning(head: str) -> None:
    panel = make_panel([30, 9], positive=head == "negative_binomial")
    forecaster = untrained(settings(model={"head": head}))
    short = quantiles(forecaster, panel)
    long = forecaster.predict_panel(panel, horizon=11, quantiles=LEVELS, extend=True)
    assert long.quantiles.shape == (2, 11, len(LEVELS))
    np.testing.assert_allclose(long.quantiles[:, :3], short)
    assert np.isfinite(long.quantiles).all()
    assert (np.diff(long.quantiles, axis=-1) >= 0).all()


def test_extending_feeds_the_medians_back() -> None:
    panel = make_panel([30])
    forecaster = untrained(settings())
    first = forecaster.predict_panel(panel, quantiles=LEVELS).quantiles[0, :, 2]
    longer = Panel.from_arrays(
        ["s0"], np.concatenate([panel.y, first]), np.array([33]), panel.start, panel.freq
    )
    second = forecaster.predict_panel(longer, quantiles=LEVELS).quantiles[0, :, 2]
    both = forecaster.predict_panel(panel, horizon=6, quantiles=LEVELS, extend=True)
    np.testing.assert_allclose(both.quantiles[0, 3:, 2], second, rtol=1e-6)


def test_uncertainty_of_sampled_paths_grows_with_the_horizon() -> None:
    config = settings(
        horizon=8, model={"decoder": "recursive", "samples": 200, "level": "last", "skip": True}
    )
    from forecasting.forecaster import Forecaster

    rng = np.random.default_rng(0)
    panel = make_panel([60] * 8)
    panel = with_y(panel, rng.normal(size=480).reshape(8, 60).cumsum(axis=1).ravel())
    config = config.replace(training={"max_steps": 60, "batch_size": 32, "epoch_steps": 60})
    values = quantiles(Forecaster.train(panel, config, device="cpu"), panel)
    width = (values[..., -1] - values[..., 0]).mean(axis=0)
    assert width[-1] > 1.5 * width[0]
