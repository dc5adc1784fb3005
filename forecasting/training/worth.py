"""Which covariates are worth having: what the held-back error becomes without each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.evaluation.backtest import Backtest, backtest
from forecasting.prediction.checks import whole_steps
from forecasting.quantiles import ASKED
from forecasting.schema import Schema
from forecasting.training.fit import fit


@dataclass(frozen=True)
class Worth:
    """How a forecaster errs on held-back rows without a covariate.

    Attributes
    ----------
    name : of the covariate; empty for all of them there, None for none.
    mase : mean absolute scaled error of the median. change : of it, against all there; positive
        where the covariate helps. error : standard error of the change, over series and cutoffs.
    """

    name: str | None
    mase: float
    change: float
    error: float


def worth(
    panel: Panel,
    config: ForecasterConfig,
    *,
    windows: int = 3,
    device: str = "cpu",
    say: Callable[[str], None] = lambda line: None,
) -> list[Worth]:
    """Train with all covariates, without each, and without any, and judge on the newest rows.

    All are trained with the same settings on the rows before the first of ``windows`` cutoffs, a
    horizon apart; the covariates are worth what they are worth beside the others.

    Parameters
    ----------
    panel : with covariates. config : of the forecaster that is trained, its horizon in steps.
    windows : cutoffs, 1 or more. device : as torch names it. say : is told what is trained.

    Returns
    -------
    All there first, then without each, those that help most first, then without any.

    Raises
    ------
    DataError : a panel without covariates, or histories too short; TrainingError : as `fit`.
    """
    names = [c.name for c in panel.schema.covariates]
    windows = whole_steps(windows)
    if not names:
        raise DataError("the data have no covariates: there is nothing to leave out")
    if windows < 1 or not (panel.lengths > windows * config.horizon).any():
        raise DataError(
            f"windows = {windows}: no series has more rows than so many horizons of "
            f"{config.horizon} steps; ask for fewer, at least 1"
        )
    without: list[tuple[str | None, list[str]]] = [("", names)]
    without += [(name, [other for other in names if other != name]) for name in names]
    if len(names) > 1:
        without.append((None, []))
    judged = {}
    for name, schema in without:
        say(f"training without {'any' if name is None else name}" if name != "" else "training")
        judged[name] = _judged(panel, schema, config, windows, device)
    whole = judged[""].errors("forecaster")["mase"]
    worths = [_worth(name, one, whole) for name, one in judged.items()]
    order = sorted(range(1, 1 + len(names)), key=lambda k: -worths[k].change)
    return [worths[0], *(worths[k] for k in order), *worths[1 + len(names) :]]


def _judged(
    panel: Panel, kept: list[str], config: ForecasterConfig, windows: int, device: str
) -> Backtest:
    """A backtest of a forecaster that has only some of the covariates."""
    covariates = tuple(c for c in panel.schema.covariates if c.name in kept)
    some = panel.under(Schema(covariates=covariates))
    engine = fit(some.truncate(windows * config.horizon), config, device=device)
    model = partial(engine.predict_panel, horizon=config.horizon, quantiles=ASKED)
    season = engine.config.season
    return backtest(
        some, {"forecaster": model}, horizon=config.horizon, season=season, windows=windows,
        levels=ASKED,
    )  # fmt: skip


def _worth(name: str | None, judged: Backtest, whole: np.ndarray) -> Worth:
    errors = judged.errors("forecaster")["mase"]
    change = np.nanmean(errors - whole, axis=1) if errors.shape == whole.shape else np.empty(0)
    change = change[np.isfinite(change)]
    count = len(change)
    return Worth(
        name=name,
        mase=float(np.nanmean(errors)),
        change=float(change.mean()) if count else math.nan,
        error=float(change.std(ddof=1) / np.sqrt(count)) if count > 1 else math.nan,
    )
