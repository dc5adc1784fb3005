"""Why this forecast: parts that add up to it, and that are what gradients along a path say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from forecasting import Forecaster, Predictor
from forecasting.config import Occasion, Occasions
from forecasting.errors import BundleError, DataError
from forecasting.known.occasions import columns
from forecasting.networks.output import tensors_of
from forecasting.prediction.anomalies.watch import watch
from forecasting.prediction.why.explain import (
    explain,
    median_weights,
    scales,
    stretches,
)
from forecasting.prediction.why.layers import layer_of
from forecasting.schema import Schema
from forecasting.windows.prediction import assemble
from tests.forecasting.samples import MIXES, make_panel, settings, untrained

OPTIONS: dict[str, list[Any]] = {
    "cell": ["gru", "lstm", "rnn"],
    "head": ["quantiles", "student_t", "point"],
    "layers": [1, 2, 3],
    "residual": [False, True],
    "layer_norm": [False, True],
    "embedding": [False, True],
    "transform": ["identity", "log", "asinh"],
    "level": ["mean", "last"],
    "spread": ["mad", "none"],
    "lags": [(), (9,)],
    "cycle": [0, 7],
    "calendar": [False, True],
    "segment": [1, 2],
    "skip": [False, True],
    "blend": [0.0, 0.4],
    "nonnegative": [False, True],
}


def drawn(data: st.DataObject) -> tuple[Forecaster, Any]:
    """A forecaster of any shape that can be explained, and a panel for it."""
    model = {name: data.draw(st.sampled_from(values), name) for name, values in OPTIONS.items()}
    if model["blend"] and data.draw(st.booleans(), "pool"):
        model["pool"] = {"drift": 0.5, "seasonal": 0.5}
    mix = data.draw(st.sampled_from(sorted(MIXES)), "mix")
    members = data.draw(st.sampled_from([1, 2, 3]), "members")
    engine = untrained(settings(model=model), MIXES[mix], members=members)
    panel = make_panel(
        [40, 9, 23],
        schema=MIXES[mix],
        missing=0.1,
        positive=True,
        seed=data.draw(st.integers(0, 9)),
    )
    return engine, panel


@effort(max_examples=25, deadline=None)
@given(data=st.data())
def test_the_parts_add_up_to_the_median(data: st.DataObject) -> None:
    engine, panel = drawn(data)
    if data.draw(st.booleans(), "corrected"):
        engine.correction = 0.3 * np.random.default_rng(0).normal(size=(3, 5))
        engine.correction[:, 2] = 0.1
    found = explain(engine, engine.members(), panel, points=4)
    median = engine.predict_panel(panel, quantiles=(0.5,)).quantiles[..., 0]
    room = 1e-6 * np.abs(median).max()
    np.testing.assert_allclose(found.parts.sum(axis=2), median, rtol=0, atol=room)
    np.testing.assert_array_equal(found.median, median)


@effort(max_examples=10, deadline=None)
@given(data=st.data())
def test_shares_are_the_integrated_gradients_of_the_network(data: st.DataObject) -> None:
    engine, panel = drawn(data)
    panel = panel.select(np.array([0]))
    steps = int(engine.geometry.steps_for(panel.lengths)[0])
    batch, _, _ = assemble(panel.under(engine.schema), engine.config, steps)
    level, spread = scales(batch["y"], batch["mask"], engine.config)
    member, network = engine.members()[0], engine.networks[0]
    (shares,) = member.shares(batch, level, spread, 48)
    rows, whole, base = slow_shares(network, tensors_of(batch), batch["y"].shape[1], 48)
    room = 2e-4 * max(1.0, float(np.abs(whole).max()))
    np.testing.assert_allclose(shares.rows, rows, rtol=0, atol=room)
    # Layer norms of random weights bend sharply: the whole takes more points than its comparison.
    (shares,) = member.shares(batch, level, spread, 256)
    total = shares.rows.sum(axis=1) + shares.season + shares.covariates.sum(axis=1)
    np.testing.assert_allclose(total, whole - base, rtol=0, atol=5 * room)


def slow_shares(
    network: Any, batch: Any, rows: int, points: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[H, R] of each row, and [H] medians at both ends, by torch's own gradients."""
    geometry = network.geometry
    x, shown, _ = network.features(batch)
    ends = np.arange(geometry.reach - 1, rows, geometry.segment)
    index = [np.arange(1 - geometry.window, 1)]
    for lag, width in zip(geometry.lags, geometry.lag_widths(), strict=True):
        index.append(np.arange(1 - lag, 1 - lag + width))
    place = ends[:, None] + np.concatenate(index)
    nothing = {
        k: torch.zeros_like(v) if k in ("past", "future", "static", "time") else v
        for k, v in batch.items()
    }
    flat, _, _ = network.features(nothing)
    flat = flat.clone()
    width = shown.shape[2]
    flat[..., :width] = 0.0
    nodes, weights = np.polynomial.legendre.leggauss(points)
    origin = torch.tensor([x.shape[1] - 1])
    out = np.zeros((geometry.horizon, rows))
    ahead = [network.horizon_features(b, origin, geometry.horizon) for b in (nothing, batch)]
    static = [network._static(b) for b in (nothing, batch)]

    def median(share: float, inputs: torch.Tensor) -> torch.Tensor:
        hidden, states = network.read(inputs)
        known = None if ahead[0] is None else ahead[0] + share * (ahead[1] - ahead[0])
        told = None if static[0] is None else static[0] + share * (static[1] - static[0])
        raw = network.decoder(hidden[:, -1:], states, known, told)
        skip = torch.zeros_like(raw[..., 0])
        return network.head.point(network.head(raw, skip))[0, 0]

    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        inputs = (flat + float(node) * (x - flat)).detach().requires_grad_()
        value = median(float(node), inputs)
        for h in range(geometry.horizon):
            (slope,) = torch.autograd.grad(value[h], inputs, retain_graph=True)
            part = (slope * (x - flat))[0, :, :width].numpy() * weight
            np.add.at(out[h], place.ravel(), part.ravel())
    if network.skip is not None:
        part = (network.skip.weight * shown[0, -1]).detach().numpy()
        for h in range(geometry.horizon):
            np.add.at(out[h], place[-1], part[h])
    with torch.no_grad():
        whole = network.head.point(network(batch).params)[0, 0].numpy()
        base = median(0.0, flat).numpy()
        if network.skip is not None:
            base = base + network.skip.bias.numpy()
        if network.skip_ahead is not None and ahead[0] is not None:
            base = base + network.skip_ahead(ahead[0])[0, 0, :, 0].numpy()
    return out, whole, base


@pytest.mark.filterwarnings("ignore:known-future covariate")
def test_days_of_a_calendar_are_covariates_that_nobody_gives() -> None:
    groups = (Occasion(name="x", days=("2024-01-22", "2024-01-31"), before=2),)
    days = Occasions(groups=groups, until="2024-12-31")
    schema = Schema(covariates=(*MIXES["future"].covariates, *columns(days)))
    config = settings().replace(occasions=days, ahead={"promo": "last"})
    engine = untrained(config, schema)
    panel = make_panel([30], schema=MIXES["future"])
    assert panel.horizon is not None
    panel.horizon[0, 1:, 0] = np.nan
    found = explain(engine, engine.members(), panel)
    of_days = [c for c, name in enumerate(found.names) if name == f"future {columns(days)[0].name}"]
    assert np.abs(found.parts[..., of_days]).max() > 1e-4
    np.testing.assert_allclose(found.parts.sum(axis=2), found.median, rtol=1e-6)
    judged, _ = watch(engine, panel, 0.01)
    assert judged.judged.sum() == 22


def test_a_bundle_without_torch_explains_alike(tmp_path: Path) -> None:
    engine = untrained(settings(), MIXES["all"], members=2)
    panel = make_panel([30, 20], schema=MIXES["all"])
    engine.save(tmp_path / "bundle")
    served = Predictor.load(tmp_path / "bundle")
    ours, theirs = (explain(e, e.members(), panel) for e in (engine, served))
    assert ours.names == theirs.names
    np.testing.assert_allclose(ours.parts, theirs.parts, rtol=1e-5, atol=1e-5)
    weights = tmp_path / "bundle" / "model.safetensors"
    changed = Predictor.load(tmp_path / "bundle")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="has changed since it was opened"):
        changed.members()


@pytest.mark.parametrize("name", ["past", "future", "static"])
def test_a_covariate_that_is_as_usual_adds_nothing(name: str) -> None:
    schema = MIXES[name]
    engine = untrained(settings(), schema)
    panel = make_panel([30], schema=schema, seed=3)
    (real,) = (k for k, c in enumerate(schema.covariates) if c.type == "real")
    mean = schema.covariates[real].mean
    usual = {name: getattr(panel, name).copy()}
    usual[name][:, real] = mean
    if name == "future":
        assert panel.horizon is not None
        usual["horizon"] = panel.horizon.copy()
        usual["horizon"][..., real] = mean
    at = f"{name} {schema.covariates[real].name}"
    moved, still = (explain(engine, engine.members(), p) for p in (panel, replace(panel, **usual)))
    assert np.abs(moved.parts[..., moved.names.index(at)]).max() > 1e-3
    assert np.abs(still.parts[..., still.names.index(at)]).max() == 0.0


def test_the_table_has_a_column_for_each_part_and_the_picture_their_bars() -> None:
    engine = untrained(settings(), MIXES["past"])
    panel = make_panel([30, 30], schema=MIXES["past"])
    frame = panel.to_frame()
    why = engine.why(frame, horizon=2)
    table = why.table
    names = [c for c in table.columns if c not in ("unique_id", "ds", "median")]
    assert names[:3] == ["level", "base", "season"]
    assert names[-3:] == ["blend", "calibration", "limits"]
    assert {"past temp", "past kind"} <= set(names)
    assert len(table) == 4
    np.testing.assert_allclose(table[names].sum(axis=1), table["median"])
    np.testing.assert_allclose(
        table["median"], engine.predict(frame, horizon=2, quantiles=[0.5])["q0.5"]
    )
    assert engine.explain(frame, horizon=2).equals(table)
    (ax,) = why.plot("s1").axes
    assert "median" in ax.get_legend_handles_labels()[1]
    with pytest.raises(DataError, match="no series 'x' was explained"):
        why.plot("x")


def test_what_cannot_be_explained_says_so() -> None:
    panel = make_panel([30])
    for model, told in (
        ({"decoder": "encoder_decoder"}, "model.decoder = encoder_decoder"),
        ({"cell": "layer_norm_lstm"}, "model.cell = layer_norm_lstm"),
        ({"head": "negative_binomial"}, "model.head = negative_binomial"),
    ):
        engine = untrained(settings(model=model))
        with pytest.raises(DataError, match=told):
            explain(engine, engine.members(), panel)
    engine = untrained(settings())
    for points in (0, 1000, 2.5):
        with pytest.raises(DataError, match=r"points = |must be a whole number"):
            explain(engine, engine.members(), panel, points=points)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="cannot be explained; first: series 's0': no value"):
        engine.explain(panel.to_frame().assign(y=np.nan))


def test_the_median_of_members_is_made_of_those_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 3, 4, 5):
        medians = rng.normal(size=(6, count, 4))
        weight = median_weights(medians)
        np.testing.assert_allclose((weight * medians).sum(axis=1), np.median(medians, axis=1))
        np.testing.assert_allclose(weight.sum(axis=1), 1.0)


def test_stretches_cover_a_history_without_a_gap() -> None:
    for rows in (1, 5, 12, 69, 500):
        for season in (1, 4, 12):
            edges = stretches(rows, season)
            assert len(edges) <= 8
            assert edges[0][0] == 0
            assert edges[-1][1] == rows
            assert all(a < b for a, b in edges)
            assert [b for _, b in edges[:-1]] == [a for a, _ in edges[1:]]


@pytest.mark.parametrize("cell", ["gru", "lstm", "rnn"])
def test_a_layer_and_its_gradients_are_torchs(cell: str) -> None:
    rng, torch_layer = np.random.default_rng(0), {
        "gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN,
    }[cell](4, 5, batch_first=True)  # fmt: skip
    layer = layer_of({k: v.detach().numpy() for k, v in torch_layer.state_dict().items()}, cell)
    x = torch.tensor(rng.normal(size=(2, 6, 4)), dtype=torch.float32, requires_grad=True)
    hidden, _ = torch_layer(x)
    ours, tape = layer.forward(x.detach().numpy() @ layer.W.T + layer.bias)
    np.testing.assert_allclose(ours, hidden.detach().numpy(), atol=1e-6)
    want = rng.normal(size=(2, 3, 5)).astype(np.float32)
    slopes = layer.backward(tape, None, want) @ layer.W
    for h in range(3):
        (slope,) = torch.autograd.grad(
            (hidden[:, -1] * torch.from_numpy(want[:, h])).sum(), x, retain_graph=True
        )
        np.testing.assert_allclose(np.moveaxis(slopes[:, :, h], 0, 1), slope, atol=1e-5)
