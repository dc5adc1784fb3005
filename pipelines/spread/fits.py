"""Trainings as tasks: a forecaster anew, again on every row, or on from another; and a trial.

What each of them makes is the same wherever it is done, bit for bit where torch has as many
threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.errors import DataError
from pipelines.spread.task import Hand, Row, Tell

if TYPE_CHECKING:
    from forecasting.forecaster import Forecaster

EXPECTED = "expected_seconds"  # of a row that tells how long a training will take, alone
BUNDLE = "bundle"  # the folder of what was trained, in a task's `out`
ANEW, AGAIN, ON, TRIAL = (f"{__name__}:{name}" for name in ("anew", "again", "on", "trial"))


def anew(parcel: Mapping[str, Any], shared: Sequence[Any], hand: Hand) -> dict[str, Any]:
    """Train on a panel from nothing.

    Parameters
    ----------
    parcel : ``settings`` of a `ForecasterConfig`. shared : the panel.

    Returns
    -------
    dict : ``swing``, ``seconds``, ``settings`` and ``history``; the bundle lies in ``hand.out``.
    """
    from forecasting.config import ForecasterConfig
    from forecasting.forecaster import Forecaster

    settings = ForecasterConfig.parse(parcel["settings"])
    return _saved(
        hand,
        lambda: Forecaster.train(
            shared[0], settings, on_epoch=_Told(hand.tell), checkpoints=hand.kept
        ),
    )  # fmt: skip


def again(parcel: Mapping[str, Any], shared: Sequence[Any], hand: Hand) -> dict[str, Any]:
    """Train what a bundle holds once more, on every row.

    Parameters
    ----------
    parcel : ``backs`` and ``steps``, as `Forecaster.refit` takes them. shared : the panel, and the
        bundle's folder.
    """
    return _saved(
        hand,
        lambda: _loaded(shared[1]).refit(
            shared[0],
            backs=parcel["backs"],
            steps=parcel["steps"],
            on_epoch=_Told(hand.tell),
            checkpoints=hand.kept,
        ),
    )


def on(_parcel: Mapping[str, Any], shared: Sequence[Any], hand: Hand) -> dict[str, Any]:
    """Train on from a bundle, for a little.

    Parameters
    ----------
    shared : the panel, and the bundle's folder.
    """
    return _saved(hand, lambda: _loaded(shared[1]).carry_on(shared[0], on_epoch=_Told(hand.tell)))


def trial(parcel: Mapping[str, Any], shared: Sequence[Any], _hand: Hand) -> dict[str, Any]:
    """Train up to an origin and forecast from there: the error of settings that are tried.

    Parameters
    ----------
    parcel : ``settings`` of a `ForecasterConfig`; ``back``, the origin as rows before each series'
        end; ``levels`` and ``metric``.
    shared : the panel.

    Returns
    -------
    dict : ``error``.

    Raises
    ------
    DataError : the error is no number.
    """
    from forecasting.config import ForecasterConfig
    from forecasting.evaluation.backtest import backtest
    from forecasting.forecaster import Forecaster

    panel, back, levels = shared[0], parcel["back"], tuple(parcel["levels"])
    settings = ForecasterConfig.parse(parcel["settings"])
    horizon = settings.horizon
    forecaster = Forecaster.train(panel.truncate(back, horizon=horizon), settings)
    result = backtest(
        panel.truncate(back - horizon, horizon=horizon),
        {"trial": partial(forecaster.predict_panel, horizon=horizon, quantiles=levels)},
        horizon=horizon,
        season=forecaster.config.season or panel.freq.season,
        windows=1,
        levels=levels,
    )
    error = float(result.scores()[parcel["metric"]].to_numpy(np.float64)[0])
    if not np.isfinite(error):
        raise DataError(f"its {parcel['metric']} is no number")
    return {"error": error}


class _Told:
    """Hands on the rows of a training, and how long it will take as a row of its own."""

    def __init__(self, tell: Tell) -> None:
        self.tell = tell

    def __call__(self, row: Row) -> None:
        self.tell(row)

    def expect(self, seconds: float) -> None:
        self.tell({EXPECTED: seconds})


def _loaded(folder: Path) -> Forecaster:
    """What was trained here, or checked when it was fetched."""
    from forecasting.forecaster import Forecaster

    return Forecaster.load(folder, trusted=True)


def _saved(hand: Hand, train: Callable[[], Forecaster]) -> dict[str, Any]:
    assert hand.out is not None
    began = time.monotonic()
    forecaster = train()
    forecaster.save(hand.out / BUNDLE)
    return {
        "swing": forecaster.swing,
        "seconds": time.monotonic() - began,
        "settings": forecaster.config.model_dump(mode="json"),
        "history": forecaster.history,
    }
