"""Poisoned deliveries are not promoted, honest ones are: by the data's checks, and by training."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from pipelines.config import build_config
from pipelines.machine.state import HOME_VARIABLE
from pipelines.registry.registry import Registry
from pipelines.tracking.tracker import open_tracker
from pipelines.training.train import train
from tests.datasets import needs_data
from tests.faults.rows import Measure, share
from tests.pipelines.data.test_revision import (
    SETS,
    half_gone,
    ids_swapped,
    known,
    load,
    moved,
    newest_times,
    refused,
    revision,
    rows,
    with_y,
)

Harm = Callable[[Panel], Panel]
BELOW = 12  # newest rows of each series that the harm meets


def last(change: Callable[[np.ndarray], np.ndarray]) -> Harm:
    """Change the newest rows of every series."""

    def to(y: np.ndarray, _: int) -> np.ndarray:
        y[-BELOW:] = change(y[-BELOW:])
        return y

    return lambda panel: with_y(panel, to)


def frozen(panel: Panel) -> Panel:
    """The feed repeats its last value."""

    def to(y: np.ndarray, _: int) -> np.ndarray:
        y[-BELOW:] = y[-BELOW - 1]
        return y

    return with_y(panel, to)


def mostly_missing(panel: Panel) -> Panel:
    rng = np.random.default_rng(0)
    return with_y(panel, lambda y, _: np.where(rng.random(len(y)) < 0.9, np.nan, y))


def cut(panel: Panel) -> Panel:
    """A history that begins late: most of what was known is gone."""
    return panel.tail(20)


def ahead(panel: Panel) -> Panel:
    """Stamps that have not been yet."""
    return replace(panel, start=panel.freq.shift(panel.start, 400))


def noise(panel: Panel) -> Panel:
    """Values of no series at all."""
    rng = np.random.default_rng(1)
    return with_y(panel, lambda y, _: rng.uniform(np.nanmin(y), np.nanmax(y) + 1, len(y)))


# A label that leaks and a key that comes twice are met as tables, in training (see below).
POISON: dict[str, Harm] = {
    "unit × 1000": last(lambda y: y * 1000),
    "all zeros": last(np.zeros_like),
    "moved by a step": moved(1),
    "90 % missing": mostly_missing,
    "ids swapped": ids_swapped,
    "history cut": cut,
    "dates ahead": ahead,
    "a frozen feed": frozen,
    "another sign": last(np.negative),
    "half of the series gone": half_gone,
    "newest row twice": newest_times(2.0),
    "random values": noise,
}
HONEST = 8  # deliveries in a row of each set


def config_of(name: str, source: Path) -> dict[str, object]:
    _, season, horizon, _ = SETS[name]
    return {
        "name": name,
        "data": {"source": str(source)},
        "horizon": horizon,
        "season": season,
        "model": {"layers": 1, "hidden_size": 16},
        # A small size trains little, and may not beat the naive forecast; the full one as it does.
        "training": {"threads": 1, **({} if share() == 1.0 else {"max_steps": 120})},
        "candidates": {"gru": {"model": {"cell": "gru"}}},
        "backtest": {"windows": 2},
        # How fast a forecast is beside whatever else runs here is not what is tested.
        "gate": {"max_latency_ms": 60_000.0},
        "tracking": {"system_metrics": False},
    }


class Trainer:
    """Trains a set's deliveries in a state folder of its own."""

    def __init__(self, name: str, folder: Path, store: Path, patch: pytest.MonkeyPatch) -> None:
        self.name, self.folder = name, folder
        folder.mkdir()
        shutil.copy(store, folder / "mlflow.db")
        patch.setenv(HOME_VARIABLE, str(folder))

    def __call__(self, panel: Panel | pd.DataFrame, *, promote: bool = True) -> str | None:
        """None where a delivery passes; else why it does not."""
        frame = panel.to_frame() if isinstance(panel, Panel) else panel
        path = self.folder / "delivery.parquet"
        frame[["unique_id", "ds", "y"]].to_parquet(path, index=False)
        try:
            outcome = train(build_config(config_of(self.name, path)), promote=promote)
        except GatecastError as error:
            return f"refused to train: {error}"
        if outcome.decision is None or outcome.decision.promote:
            return None
        return outcome.decision.reason


@needs_data
@pytest.mark.fault("poison")
@pytest.mark.parametrize("name", [*SETS][:2] if share() is None else [*SETS])
def test_the_datas_own_checks_refuse_what_is_poisoned(name: str, measure: Measure) -> None:
    """Without any training, beside the fingerprint of the delivery before."""
    panel = load(name)
    let_pass = []
    for kind, harm in POISON.items():
        if not refused(revision(known(panel, name), harm(panel), *SETS[name][1:3])):
            let_pass.append(kind)
    # What the data alone do not tell must be told by the model's checks, in the full version.
    assert len(let_pass) <= 3, let_pass
    stopped = [
        number
        for number in range(HONEST)
        if refused(
            revision(
                panel.truncate((number + 1) * SETS[name][3]),
                panel.truncate(number * SETS[name][3]),
                *SETS[name][1:3],
            )
        )
    ]
    assert stopped == []
    measure.says(
        f"{name}: {len(POISON) - len(let_pass)} of {len(POISON)} kinds refused by the data's "
        f"checks alone{f' (not {let_pass})' if let_pass else ''}; {HONEST} of {HONEST} honest pass",
        let_pass=let_pass,
    )


@needs_data
@pytest.mark.skipif(share() is None, reason="trains for minutes: make faults")
@pytest.mark.fault("poison")
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", SETS)
def test_no_poisoned_delivery_is_promoted_and_honest_ones_are(
    name: str,
    tmp_path: Path,
    empty_store: Path,
    measure: Measure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole of `gatecast train`, with the gate as it comes."""
    delivered = Trainer(name, tmp_path / "home", empty_store, monkeypatch)
    panel, step = load(name), SETS[name][3]
    honest = measure.count(2, HONEST)
    first = delivered(panel.truncate(honest * step))
    if first is not None:
        # There must be a champion whose data the others are held against.
        registry = Registry(open_tracker(build_config(config_of(name, tmp_path))).client)
        registry.promote(name, 1, reason="to begin with", action="forced")
    passed = [delivered(panel.truncate(k * step)) for k in reversed(range(honest))]
    promoted = []
    for kind, harm in list(POISON.items())[: measure.count(3, len(POISON))]:
        if delivered(harm(panel), promote=False) is None:
            promoted.append(kind)
    frame = panel.to_frame()
    twice = pd.concat([frame, frame.assign(y=frame["y"] * 3)])
    if delivered(twice, promote=False) is None:
        promoted.append("keys that come twice")
    refusals = [why for why in passed if why is not None]
    measure.says(
        f"{name}, trained: {len(promoted)} poisoned would have been promoted"
        f"{f' ({promoted})' if promoted else ''}; {len(passed) - len(refusals)} of "
        f"{len(passed)} honest retrains pass; the first model: {first or 'promoted'}",
        promoted=promoted,
        honest=[len(passed) - len(refusals), len(passed)],
        refusals=refusals,
    )
    measure.goal("38 of 40 honest retrains", len(refusals) <= 0.05 * len(passed))
    assert promoted == []


def test_rows_are_those_of_a_series() -> None:
    """`last` meets the newest rows of each series and no others."""
    panel = Panel.from_arrays(["a", "b"], np.arange(40.0), [20, 20], np.array([1, 1]), "step")
    changed = last(np.negative)(panel)
    for part in rows(panel):
        same = panel.y[part] == changed.y[part]
        assert same[:-BELOW].all()
        assert not same[-BELOW:][panel.y[part][-BELOW:] != 0].any()
