"""Small panels begin from networks that come with the package, where validation finds them good."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from forecasting import Forecaster, ForecasterConfig, Panel, Predictor
from forecasting.bundle import sha256
from forecasting.data.panel import Panel as PanelType
from forecasting.errors import BundleError, ConfigError
from forecasting.pretrained import weights
from forecasting.resolved import Resolved
from forecasting.selection import judging
from forecasting.selection.decider import Decided, Decider
from forecasting.selection.held_back import Evidence, Origin
from forecasting.selection.starts import Start, best
from forecasting.training import fit
from forecasting.training.defaults import START_SERIES, STARTS, resolve, started
from forecasting.training.members import Trained
from forecasting.training.schemas import fitted_schema

MONTHS = 60


def series(count: int = 1, rows: int = MONTHS, seed: int = 0) -> pd.DataFrame:
    """Monthly series with a trend, a season and noise."""
    draw = np.random.default_rng(seed)
    steps = np.arange(rows)
    parts = []
    for i in range(count):
        level = 100.0 * (i + 1) * np.exp(0.004 * steps)
        season = 1.0 + 0.2 * np.sin(2.0 * np.pi * (steps + i) / 12.0)
        y = level * season * np.exp(draw.normal(0.0, 0.03, rows))
        ds = pd.date_range("2015-01-01", periods=rows, freq="MS")
        parts.append(pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": y}))
    return pd.concat(parts, ignore_index=True)


def panel(count: int = 1, rows: int = MONTHS) -> PanelType:
    return Panel.from_frame(series(count, rows), freq="MS")


def config(horizon: int = 6, **training: object) -> ForecasterConfig:
    return ForecasterConfig(horizon=horizon).replace(training={"threads": 1, **training})


def asked_of(data: PanelType, wanted: ForecasterConfig) -> ForecasterConfig | None:
    return started(wanted, resolve(wanted, data), data)


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The shipped starts in a folder of the test's own, in their place."""
    folder = tmp_path / "starting"
    folder.mkdir()
    for file in weights.FOLDER.iterdir():
        if file.suffix in (".json", ".safetensors"):
            shutil.copy(file, folder)
    monkeypatch.setattr(weights, "FOLDER", folder)
    return folder


def spoil(folder: Path, name: str) -> None:
    """Weights that forecast nonsense, and a card that vouches for them."""
    path = folder / f"{name}.safetensors"
    tensors = load_file(str(path))
    generator = torch.Generator().manual_seed(0)
    for key, value in tensors.items():
        if "skip" in key:
            tensors[key] = torch.randn(value.shape, generator=generator).to(value.dtype)
    save_file(tensors, path)
    card = json.loads((folder / weights.CARD).read_text())
    card["starts"][name]["sha256"] = sha256(path)
    (folder / weights.CARD).write_text(json.dumps(card))


@pytest.mark.parametrize("name", sorted(STARTS.values()))
def test_the_weights_are_those_of_the_card_and_small(name: str) -> None:
    networks = weights.load(name, Resolved.plainest(weights.available()[name]))
    assert len(networks) == len(weights.cells(name))
    assert all(torch.isfinite(p).all() for n in networks for p in n.parameters())
    assert sum(f.stat().st_size for f in weights.FOLDER.glob("*.safetensors")) < 5e6


def test_the_card_says_what_was_read() -> None:
    card = json.loads((weights.FOLDER / weights.CARD).read_text())
    for entry in card["starts"].values():
        assert entry["held"] == 0
        for about in entry["data"].values():
            assert about["files"]
            assert not any("test" in file for file in about["files"])


def test_altered_weights_are_refused(copy: Path) -> None:
    path = copy / "monthly.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x00\x01")
    with pytest.raises(BundleError, match="not what its card describes"):
        weights.load("monthly", Resolved.plainest(weights.available()["monthly"]))


def test_a_shorter_horizon_is_the_beginning_of_the_longer_one() -> None:
    known, data = Resolved.plainest(weights.available()["monthly"]), panel(3)
    medians = []
    for horizon in (known.horizon, 5):
        settings = known.replace(horizon=horizon, freq="MS")
        engine = Forecaster(
            config=settings, schema=data.schema, networks=weights.load("monthly", settings)
        )
        medians.append(engine.predict_panel(data, quantiles=(0.1, 0.5, 0.9)).quantiles)
    np.testing.assert_allclose(medians[1], medians[0][:, :5], rtol=1e-5)


def test_a_small_panel_may_begin_from_a_start_and_a_big_one_may_not() -> None:
    assert asked_of(panel(3), config()) is not None
    assert asked_of(panel(START_SERIES + 1, 30), config()) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"horizon": 400}, "beyond the start's"),
        ({"season": 7}, "no start knows the season 7"),
        ({"model": {"hidden_size": 8}}, "are not the start's"),
    ],
)
def test_a_start_asked_for_in_vain_says_why(changes: dict[str, object], why: str) -> None:
    wanted = config(start="tuned").replace(**changes)
    with pytest.raises(ConfigError, match=why):
        asked_of(panel(3), wanted)
    assert asked_of(panel(3), wanted.replace(training={"start": None})) is None


def test_who_sets_the_training_trains_from_nothing() -> None:
    assert asked_of(panel(3), config(max_steps=20)) is None
    assert asked_of(panel(3), config(start="none")) is None


def test_one_short_series_is_forecast_saved_and_served_alike(tmp_path: Path) -> None:
    frame = series(1, 14)
    forecaster = Forecaster.fit(frame, horizon=6, freq="MS", config={"training": {"threads": 1}})
    assert forecaster.config.training.start == "shipped"
    expected = forecaster.predict(frame)
    assert np.isfinite(expected[["q0.1", "q0.5", "q0.9"]].to_numpy()).all()
    folder = forecaster.save(tmp_path / "bundle")
    assert json.loads((folder / "manifest.json").read_text())["start"] == "shipped"
    for engine in (Forecaster.load(folder), Predictor.load(folder)):
        found = engine.predict(frame)
        np.testing.assert_allclose(found["q0.5"], expected["q0.5"], rtol=1e-4)
    tenfold = forecaster.predict(frame.assign(y=10.0 * frame["y"]))
    np.testing.assert_allclose(tenfold["q0.5"], 10.0 * expected["q0.5"], rtol=1e-4)


def test_what_each_beginning_scored_is_kept() -> None:
    forecaster = Forecaster.train(panel(2), config(), device="cpu")
    assert forecaster.config.training.start in ("shipped", "none")
    assert {"start_shipped", "start_none"} <= set(forecaster.swing)


def promoted(count: int) -> PanelType:
    """With a covariate that grows, so that what was known of it tells the cutoff."""
    frame = series(count)
    frame["promo"] = frame.groupby("unique_id").cumcount().astype(float)
    return Panel.from_frame(frame, freq="MS", past=["promo"])


@pytest.mark.parametrize(
    ("data", "begun"),
    [(panel(8), True), (promoted(8), True), (promoted(8), False)],
    ids=["plain", "with a covariate", "from nothing"],
)
def test_no_way_to_begin_is_trained_on_the_rows_it_is_judged_by(
    data: PanelType, begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuned or from nothing, beside a start or alone: each sees the rows up to the cutoff."""
    seen: list[tuple[str, bool, PanelType]] = []
    honest, read = fit.train_members, Origin.each

    def quick(data: PanelType, config: ForecasterConfig, *args: Any, **more: Any) -> Trained:
        seen.append((args[1], bool(more["begin"]), data))
        return honest(data, config, *args, **more | {"steps": 1})

    asked: list[tuple[PanelType, int]] = []

    def judged(data: PanelType, config: Any, backs: Any) -> tuple[Origin, ...]:
        asked.append((data, max(backs)))
        return read(data, config, backs)

    monkeypatch.setattr(fit, "TUNED_ROWS", 0)
    monkeypatch.setattr(fit, "train_members", quick)
    monkeypatch.setattr(fit.Origin, "each", judged)
    # Looks at errors all along the histories, from origins of its own.
    for room in (fit, judging):
        monkeypatch.setattr(room, "rolled_widening", lambda *_: None)
    wanted = config() if begun else config(start="none")
    Forecaster.train(data, wanted, device="cpu")
    before = [(tuned, known) for phase, tuned, known in seen if phase == "validation"]
    can_begin = asked_of(data, wanted) is not None
    assert {tuned for tuned, _ in before} == ({True, False} if can_begin else {False})
    (held,) = {back for _, back in asked}
    past = data.truncate(held)
    for _, known in before:
        np.testing.assert_array_equal(known.y, past.y)
        assert known.schema == fitted_schema(past)
    assert all(whole.schema == fitted_schema(past) for whole, _ in asked)


def test_started_networks_are_calibrated_by_what_was_held_back() -> None:
    data = panel(8)
    for start in ("shipped", "tuned"):
        wanted = config(start=start).replace(training={"max_steps": 2})
        forecaster = Forecaster.train(data, wanted, device="cpu")
        assert forecaster.config.training.start == start
        assert forecaster.correction is not None
        assert np.abs(forecaster.correction).max() > 0.0
        assert (
            Forecaster.train(data, wanted.replace(calibrate=False), device="cpu").correction is None
        )


@pytest.mark.slow
def test_a_spoiled_start_is_noticed_and_left(copy: Path) -> None:
    spoil(copy, "monthly")
    forecaster = Forecaster.train(panel(4), config(), device="cpu")
    assert forecaster.config.training.start == "none"
    assert forecaster.swing["start_none"] < forecaster.swing["start_shipped"]


def test_tuning_moves_the_weights_and_the_same_seed_moves_them_alike() -> None:
    wanted = config(start="tuned", max_steps=5, validation="none")
    once, again = (Forecaster.train(panel(4), wanted, device="cpu") for _ in range(2))
    shipped = weights.load("monthly", once.config)
    for a, b, c in zip(once.networks, again.networks, shipped, strict=True):
        skips = [n.state_dict()["skip.weight"] for n in (a, b, c)]
        assert torch.equal(skips[0], skips[1])
        assert not torch.equal(skips[0], skips[2])


def test_without_starts_everything_is_trained_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    assert asked_of(panel(3), config()) is None


def test_what_is_simpler_stays_unless_the_other_is_surely_better() -> None:
    noise = np.random.default_rng(0).normal(0.0, 0.3, 40)

    def judged(name: str, errors: np.ndarray) -> Start:
        nothing = Evidence(config(), [], (), ())
        decided = Decided(Decider(), nothing, nothing, nothing)
        return Start(name, decided, np.stack([errors, errors]))

    simple = judged("shipped", np.ones(40))
    hardly = judged("tuned", 1.0 + noise - noise.mean() - 0.01)
    assert hardly.score < simple.score
    assert best([simple, hardly]) is simple
    surely = judged("tuned", 0.5 + noise)
    assert best([simple, hardly, surely]) is surely
