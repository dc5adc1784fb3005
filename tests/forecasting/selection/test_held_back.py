"""Held-back origins: read once, and what is made of them equals asking anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting.classical import pool
from forecasting.config import Classical
from forecasting.data.panel import Panel
from forecasting.data.scale import mase_scale
from forecasting.ensemble import Ensemble
from forecasting.forecaster import Forecaster
from forecasting.prediction import engine, window_theta
from forecasting.selection import held_back
from forecasting.selection import shares as classical_shares
from forecasting.selection.held_back import Evidence, Origin, origins_within, parted
from forecasting.selection.judging import correction_and_swing
from forecasting.selection.rule import lead
from forecasting.selection.shares import (
    BLENDS,
    MOST_TRUST,
    share_of_classical,
    weights_of_pool,
    with_shares,
)
from tests.forecasting.samples import make_panel, settings, untrained, with_y

BACKS = [6, 3]
POOL: dict[str, Any] = {
    "pool": {"theta": 0.25, "damped": 0.25, "seasonal": 0.25, "drift": 0.25},
    "pool_rows": 20,
}
MODELS: list[dict[str, Any]] = [
    {},
    {"transform": "log"},
    {"head": "student_t"},
    {"decoder": "recursive", "segment": 1},
    {"cell": "lstm", "decoder": "encoder_decoder"},
    POOL,
    {**POOL, "transform": "log"},
]


def asked(networks: list[Any], panel: Panel, config: Any) -> Evidence:
    return Evidence.of(networks, Origin.each(panel, config, BACKS), config)


def evidence_of(model: dict[str, Any], members: int = 3) -> tuple[Evidence, Panel]:
    forecaster = untrained(settings(model=model), members=members)
    panel = make_panel([30, 25, 5, 2], positive=True, missing=0.1)
    networks = forecaster.networks
    return asked(networks, panel, forecaster.config), panel


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("blend", [0.0, 0.3, 1.0])
def test_what_is_made_of_one_reading_equals_a_forecast_of_its_own(
    model: dict[str, Any], blend: float
) -> None:
    """At any share of Theta, of any of the members, at any origin."""
    evidence, panel = evidence_of(model)
    for number, back in enumerate(BACKS):
        for members in (None, [1], [0, 2]):
            networks = evidence.networks
            chosen = networks if members is None else [networks[m] for m in members]
            config = evidence.config.replace(model={"blend": blend})
            alone = Ensemble(config=config, schema=panel.schema, networks=chosen)
            known = panel.truncate(back, config.horizon)
            forecast = alone.predict_panel(known, quantiles=config.model.quantile_levels)
            assert list(forecast.ids) == list(evidence.origins[number].known.ids)
            medians = evidence.medians(number, blend, members)
            middle = len(config.model.quantile_levels) // 2
            np.testing.assert_array_equal(medians, forecast.quantiles[..., middle])


def test_each_network_and_theta_are_asked_once_for_each_origin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = {"assemble": 0, "theta": 0}

    def counted(name: str, honest: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            calls[name] += 1
            return honest(*args, **more)

        return call

    monkeypatch.setattr(engine, "assemble", counted("assemble", engine.assemble))
    reading = "forecasting.prediction.reading.window_theta"
    monkeypatch.setattr(reading, counted("theta", window_theta.window_theta))
    panel = make_panel([30, 30, 30])
    forecaster = untrained(settings(), members=3)
    evidence = asked(forecaster.networks, panel, forecaster.config)
    share_of_classical(evidence)
    # Too short to look at errors all along them, which asks from origins of its own.
    correction_and_swing(evidence, panel.tail(5))
    assert calls == {"assemble": len(BACKS), "theta": len(BACKS)}


def test_a_pool_is_asked_once_for_each_origin_however_many_networks_are_judged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one season or another, of another transform: what is told is what each alone is told."""
    calls = []

    def counted(*asked: Any) -> Any:
        calls.append(asked)
        return pool.classical(*asked)

    panel = make_panel([30, 30, 30], positive=True)
    models = [POOL, {**POOL, "transform": "log", "window": 6, "scale_window": 6}]
    forecasters = [untrained(settings(model=model), members=1) for model in models]
    alone = [asked(f.networks, panel, f.config) for f in forecasters]
    monkeypatch.setattr(held_back, "classical", counted)
    origins = Origin.each(panel, forecasters[0].config, BACKS)
    beside = [Evidence.of(f.networks, origins, f.config) for f in (*forecasters, forecasters[0])]
    assert len(calls) == len(BACKS)
    for one, other in zip([*alone, alone[0]], beside, strict=True):
        for number in range(len(BACKS)):
            np.testing.assert_array_equal(one.medians(number, 1.0), other.medians(number, 1.0))
    # Another season: the errors have other units, and the pool is asked again.
    config = forecasters[0].config.replace(season=1)
    plain = Evidence.of(forecasters[0].networks, origins, config)
    assert len(calls) == 2 * len(BACKS)
    np.testing.assert_array_equal(
        plain.errors_by_forecast(0.5),
        asked(forecasters[0].networks, panel, config).errors_by_forecast(0.5),
    )


def slow_mase(evidence: Evidence, panel: Panel) -> float:
    """Series by series, step by step."""
    errors = []
    for number, back in enumerate(BACKS):
        point = evidence.medians(number, evidence.config.model.blend or 0.0)
        row = 0
        for i in range(len(panel)):
            y = panel.y[panel.offsets[i] : panel.offsets[i + 1]]
            if len(y) <= back:
                continue
            before = y[: len(y) - back]
            season = evidence.config.season or 1
            unit = mase_scale(before, np.array([0, len(before)]), season)[0]
            for step in range(evidence.config.horizon):
                place = len(y) - back + step
                if place < len(y) and np.isfinite(y[place]) and unit > 0:
                    errors.append(abs(y[place] - point[row, step]) / unit)
            row += 1
    return float(np.mean(errors))


def test_the_score_is_that_of_a_plain_loop() -> None:
    evidence, panel = evidence_of({"blend": 0.4})
    assert evidence.mase() == pytest.approx(slow_mase(evidence, panel), rel=1e-12)


@pytest.mark.parametrize(("like_a_rule", "trust"), [(100, None), (0.0, MOST_TRUST)])
@pytest.mark.parametrize("perfect", [0.0, 1.0])
@pytest.mark.parametrize("model", [{}, POOL], ids=["window", "pool"])
def test_the_share_of_classical_goes_as_far_to_the_best_one_as_forecasts_are_known(
    monkeypatch: pytest.MonkeyPatch,
    model: dict[str, Any],
    perfect: float,
    like_a_rule: float,
    trust: float | None,
) -> None:
    evidence, _ = evidence_of({"blend": 0.2, **model})
    origins = tuple(
        replace(origin, actual=evidence.medians(number, perfect))
        for number, origin in enumerate(evidence.origins)
    )
    monkeypatch.setattr(classical_shares, "LIKE_A_RULE", like_a_rule)
    known = sum(int(np.isfinite(origin.step).sum()) for origin in origins)
    trust = known / (known + like_a_rule) if trust is None else trust
    expected = trust * perfect + (1.0 - trust) * 0.2
    found = share_of_classical(replace(evidence, origins=origins)).share
    assert found == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize("model", [POOL, {**POOL, "transform": "log"}], ids=str)
@pytest.mark.parametrize("best", ["damped", "drift"])
def test_weights_of_the_pool_go_to_what_errs_least(
    monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], best: Classical
) -> None:
    """From equal weights, where little is known, all the way, where much is."""
    evidence, _ = evidence_of(model)
    alone = evidence.with_pool({best: 1.0})
    origins = tuple(
        replace(origin, actual=alone.medians(number, 1.0))
        for number, origin in enumerate(evidence.origins)
    )
    evidence = replace(evidence, origins=origins)
    shares = []
    for like_a_rule in (1e9, 10.0, 1e-9):
        monkeypatch.setattr(classical_shares, "LIKE_A_RULE", like_a_rule)
        weights = weights_of_pool(evidence)
        assert sum(weights.values()) == pytest.approx(1.0)
        shares.append(weights[best])
    assert shares[0] == pytest.approx(0.25, abs=1e-3)
    assert shares[0] < shares[1] < shares[2] == 1.0


def test_weights_err_no_more_than_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the simplex in steps of a tenth, on the forecasts that they are learned from."""
    monkeypatch.setattr(classical_shares, "LIKE_A_RULE", 0.0)
    evidence, _ = evidence_of({**POOL, "pool": {"theta": 0.5, "drift": 0.5}})

    def error(weights: dict[Classical, float]) -> float:
        errors = evidence.with_pool(weights).errors_by_forecast(1.0)
        return float((np.nanmean(errors, axis=1) / unit).sum())

    unit = np.nanmean(evidence.errors_by_forecast(1.0), axis=1)
    plain = [error({"theta": k / 10, "drift": 1.0 - k / 10}) for k in range(11)]
    assert error(weights_of_pool(evidence)) <= min(plain) * 1.01


def test_what_a_user_has_set_is_left_alone() -> None:
    evidence, _ = evidence_of({**POOL, "blend": 0.3})
    model = with_shares(evidence, blend=False, pool=False).config.model
    assert (model.blend, model.pool) == (0.3, POOL["pool"])
    learned = with_shares(evidence, blend=False, pool=True).config.model
    assert learned.blend == 0.3
    assert learned.pool != POOL["pool"]


def test_the_best_share_is_the_one_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence, _ = evidence_of({"blend": 0.0})
    monkeypatch.setattr(classical_shares, "LIKE_A_RULE", 0.0)
    totals = []
    for share in BLENDS:
        errors = evidence.errors_by_forecast(share)
        first = evidence.errors_by_forecast(0.0)
        totals.append(sum(np.nanmean(errors[k]) / np.nanmean(first[k]) for k in range(2)))
    assert share_of_classical(evidence).share == round(BLENDS[int(np.argmin(totals))] / 2, 3)


def biased(start: str, away: float) -> Evidence:
    """Evidence of which Theta alone is right, and the network is so far off."""
    evidence, _ = evidence_of({"blend": 0.3})
    evidence = replace(evidence, config=evidence.config.replace(training={"start": start}))
    right = [evidence.medians(k, 1.0) for k in range(len(BACKS))]
    origins = [
        replace(origin, actual=told + away * (told - evidence.medians(k, 0.0)))
        for k, (origin, told) in enumerate(zip(evidence.origins, right, strict=True))
    ]
    return replace(evidence, origins=tuple(origins))


def test_a_sure_lead_is_believed_of_a_start_as_it_is_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its networks read no more when they forecast; others are believed halfway at most."""
    monkeypatch.setattr(classical_shares, "LEAST_FORECASTS", 4)
    anew, shipped = (share_of_classical(biased(start, 0.0)) for start in ("none", "shipped"))
    assert anew.best == shipped.best == 1.0
    assert anew.trust < 0.1
    ruled, best = (biased("shipped", 0.0).errors_by_forecast(share) for share in (0.3, 1.0))
    gain, unsure = lead(ruled, best)
    assert shipped.trust == pytest.approx(gain**2 / (gain**2 + 9.0 * unsure**2))
    assert shipped.trust > anew.trust
    assert shipped.share > anew.share


def test_of_few_forecasts_no_lead_is_sure() -> None:
    few = biased("shipped", 0.0)
    assert np.isfinite(few.errors_by_forecast(0.3)[0]).sum() == 4
    assert share_of_classical(few) == share_of_classical(biased("none", 0.0))


def test_origins_of_which_nothing_is_known_decide_nothing() -> None:
    evidence, _ = evidence_of({"blend": 0.2})
    whole = make_panel([60, 50, 40, 20], positive=True)
    blank = tuple(replace(o, actual=np.full_like(o.actual, np.nan)) for o in evidence.origins)
    silent = replace(evidence, origins=blank)
    assert share_of_classical(silent).share == 0.2
    config = silent.config.replace(calibrate=True, training={"validation": "refit"})
    calibrated = replace(silent, config=config)
    for panel, known in ((whole, True), (whole.tail(5), False)):
        correction, swing = correction_and_swing(calibrated, panel)
        assert (correction is not None) == known
        assert swing == {}
    # One silent origin beside one that speaks leaves the word to that one.
    half = replace(evidence, origins=(blank[0], evidence.origins[1]))
    alone = Evidence(
        evidence.config, evidence.networks, evidence.origins[1:], evidence.readings[1:]
    )
    assert share_of_classical(half) == share_of_classical(alone)


def test_shares_count_only_where_every_value_is_above_zero() -> None:
    forecaster = untrained(settings())
    panel = make_panel([30, 20], positive=True)
    assert classical_shares.all_positive(asked(forecaster.networks, panel, forecaster.config))
    y = panel.y.copy()
    y[3] = 0.0
    low = asked(forecaster.networks, with_y(panel, y), forecaster.config)
    assert not classical_shares.all_positive(low)


@pytest.mark.parametrize(
    ("rows", "horizon", "backs"), [(6, 3, [6, 3]), (7, 3, [7, 4]), (3, 3, [3]), (2, 3, [])]
)
def test_origins_lie_a_horizon_apart(rows: int, horizon: int, backs: list[int]) -> None:
    assert origins_within(rows, horizon) == backs


@pytest.mark.parametrize("kind", ["constant", "lately silent", "constant at the end"])
def test_panels_that_show_no_error_are_trained_saved_and_loaded(kind: str, tmp_path: Any) -> None:
    """Their scores are not known: they are left out of the bundle, not written as no number."""
    panel = make_panel([40, 40, 40], positive=True)
    y = panel.y.reshape(3, 40).copy()
    if kind == "constant":
        y[:] = 7.0
    elif kind == "lately silent":
        y[:, -12:] = np.nan
    else:
        y[:, -30:] = y[:, -30:-29]
    config = settings(training={"max_steps": 3, "start": None, "validation": "refit"})
    forecaster = Forecaster.train(with_y(panel, y.ravel()), config, device="cpu")
    assert np.isfinite(list(forecaster.swing.values())).all()
    forecaster.save(tmp_path / "bundle")
    again = Forecaster.load(tmp_path / "bundle")
    assert again.swing == pytest.approx(forecaster.swing)


@pytest.mark.parametrize("validation", ["refit", "holdout"])
@pytest.mark.parametrize("members", [1, 3])
def test_what_is_refitted_is_what_was_judged(validation: str, members: int) -> None:
    """As many networks, of the same cells and losses, each trained again on every row."""
    config = settings(
        training={
            "max_steps": 4,
            "validation": validation,
            "members": members,
            "cell_mix": ("gru", "lstm"),
        }
    )
    panel = make_panel([60, 60, 60], positive=True)
    judged = Forecaster.train(panel.truncate(6), config, device="cpu")
    shipped = judged.refit(panel, backs=[6, 3], device="cpu")
    assert len(shipped.networks) == len(judged.networks)
    for ours, theirs in zip(shipped.networks, judged.networks, strict=True):
        assert ours.config.model == theirs.config.model
        assert ours.config.training.loss == theirs.config.training.loss
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert not all(torch.equal(a, b) for a, b in pairs)
    assert shipped.config == judged.config


def test_a_refit_keeps_the_correction_where_its_origins_say_too_little() -> None:
    panel = make_panel([60] * 12, positive=True)
    config = settings(calibrate=True, training={"max_steps": 4, "validation": "refit"})
    judged = Forecaster.train(panel, config, device="cpu")
    assert judged.correction is not None
    y = panel.y.reshape(12, 60).copy()
    y[:, -6:] = np.nan
    again = judged.refit(with_y(panel, y.ravel()), backs=[3], device="cpu")
    np.testing.assert_array_equal(again.correction, judged.correction)


def ragged(ends: list[int], freq: str = "D") -> Panel:
    """Series of 30 rows and their end, counted from one beginning."""
    tables = []
    for number, end in enumerate(ends):
        count = 30 + end
        stamps = np.arange(count) if freq == "1" else pd.date_range("2024-01-01", periods=count)
        y = 1.0 + np.arange(count)
        tables.append(pd.DataFrame({"unique_id": f"s{number}", "ds": stamps, "y": y}))
    return Panel.from_frame(pd.concat(tables), freq=freq)


def test_where_most_series_reach_the_end_the_cutoff_is_one_stamp_for_all() -> None:
    panel = ragged([20, 20, 17, 5, 20])
    judging, past = parted(panel, 6)
    assert list(judging.ids) == ["s0", "s1", "s4"]
    # Six days before the last for all: what ended three days early keeps all but three of its own.
    assert past.lengths.tolist() == [44, 44, 44, 35, 44]
    assert (past.last <= panel.last.max() - np.timedelta64(6, "D")).all()
    # Of networks that never see more than that, those series are asked that can tell.
    assert (judging.lengths - 6 == past.lengths[[0, 1, 4]]).all()


@pytest.mark.parametrize(
    ("ends", "freq"),
    [([20, 20, 20], "D"), ([20, 5, 3, 2, 1], "D"), ([20, 20, 5], "1")],
    ids=["all", "few", "numbers"],
)
def test_elsewhere_each_series_is_held_back_from_its_own_end(ends: list[int], freq: str) -> None:
    panel = ragged(ends, freq)
    judging, past = parted(panel, 6)
    assert judging is panel
    np.testing.assert_array_equal(past.lengths, panel.lengths - 6)


def test_a_training_judges_by_series_that_reach_the_end_alone() -> None:
    """Where one more ended long ago the others are judged at the same origins."""
    frame = make_panel([60, 60, 60], freq="D", positive=True).to_frame()
    first = frame[frame["unique_id"] == frame["unique_id"].iloc[0]].iloc[:40]
    more = pd.concat([frame, first.assign(unique_id="ended")])
    own = {"model": {"hidden_size": 4}, "training": {"max_steps": 2, "threads": 1, "start": "none"}}
    choices = [
        Forecaster.fit(table, horizon=4, config=own, verbose=False).choice
        for table in (frame, more)
    ]
    assert [c.forecasts for c in choices] == [3 * choices[0].origins] * 2
    naive = [[t.error for t in c.tried if t.question == "beside"] for c in choices]
    assert naive[0] == naive[1]


def test_an_origin_looks_at_some_series_evenly_where_a_panel_has_more_than_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel, config = make_panel([12] * 10), untrained(settings()).config
    (whole,) = Origin.each(panel, config, [4])
    assert list(whole.known.ids) == list(panel.ids)
    monkeypatch.setattr(held_back, "MOST_STEPS", 3 * config.horizon)
    (some,) = Origin.each(panel, config, [4])
    assert list(some.known.ids) == list(panel.ids[[0, 3, 6]])
    np.testing.assert_array_equal(some.actual, whole.actual[[0, 3, 6]])
