"""The measures of a backtest and the models to beat: two tables, read by all that score or judge.

To add a measure, write an entry of `METRICS`: the config takes its name for ``backtest.metric`` and
``gate.metric``, a backtest has its column, the runs its figures and curves, the commands print it.
To add a model to beat, write an entry of `BASELINES`: the config takes its name in
``backtest.baselines``, and the benchmark on public data has it among its peers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import numpy as np

from forecasting.arrays import Array
from forecasting.data.forecast import Forecast
from forecasting.evaluation import baselines, metrics, statistical
from forecasting.quantiles import Interpolation


@dataclass(frozen=True)
class Outcomes:
    """What one model said at M origins, and what happened.

    Attributes
    ----------
    actual : [M, H], NaN where there is nothing to count: unknown, or not forecast.
    point : [M, H] the point forecasts.
    quantiles : [M, H, Q] of the Q ``levels``; without any where a model gives points only.
    scale : [M] mean absolute seasonal difference of the history before each origin.
    """

    actual: Array
    point: Array
    quantiles: Array
    levels: tuple[float, ...]
    scale: Array

    def ends(self, width: int) -> tuple[Array, Array]:
        """[M, H] both ends of the central interval of ``width`` percent."""
        tail = (100 - width) / 200.0
        ends = Interpolation(self.levels, (tail, 1.0 - tail))(self.quantiles)
        return ends[..., 0], ends[..., 1]


@dataclass(frozen=True)
class Metric:
    """One measure.

    Attributes
    ----------
    title : heading of its column; text : how a figure of it is written.
    steps : [M, H] of some outcomes, NaN where there is nothing to count; its mean over steps, and
        then over origins, is the measure.
    finish : what is done to a mean of ``steps``, such as a root.
    overall : of the whole panel, where that is not the mean over origins.
    decides : whether less of it is better, so that it may choose the winner and open the gate.
    parted : whether it is also told by step, series and origin.
    shown : whether commands print it.
    benchmarked : whether the benchmark on public data scores it too, from points alone.
    """

    title: str
    text: str
    steps: Callable[[Outcomes], Array]
    finish: Callable[[Array], Array] = np.asarray
    overall: Callable[[Outcomes], float] | None = None
    decides: bool = True
    parted: bool = True
    shown: bool = True
    benchmarked: bool = False

    def by_origin(self, outcomes: Outcomes) -> Array:
        """[M] mean of ``steps`` at each origin, not yet finished; NaN with nothing to count."""
        steps = self.steps(outcomes)
        known = np.isfinite(steps)
        counts = known.sum(axis=1)
        means = np.full(len(steps), np.nan)
        totals = np.where(known, steps, 0.0).sum(axis=1)
        return np.asarray(np.divide(totals, counts, out=means, where=counts > 0))

    def score(self, outcomes: Outcomes) -> float:
        """The measure of the whole panel; NaN with nothing to count."""
        if self.overall is not None:
            return self.overall(outcomes)
        return float(self.finish(np.asarray(metrics.average(self.by_origin(outcomes)))))


def metric_named(name: str) -> str:
    """The name, if it is of a measure that decides.

    Raises
    ------
    ValueError : no such measure; the message lists those there are.
    """
    names = [key for key, metric in METRICS.items() if metric.decides]
    if name not in names:
        raise ValueError(f"{name!r} is not allowed; it should be one of {', '.join(names)}")
    return name


def _each(values: Array) -> Array:
    """Every step as a series of one step, so that the measures average nothing away."""
    return np.asarray(values)[..., None]


def _smape(o: Outcomes) -> Array:
    return metrics.smape(_each(o.actual), _each(o.point))


def _mase(o: Outcomes) -> Array:
    return metrics.mase(_each(o.actual), _each(o.point), o.scale[:, None])


def _mae(o: Outcomes) -> Array:
    return metrics.mae(_each(o.actual), _each(o.point))


def _mse(o: Outcomes) -> Array:
    return metrics.mse(_each(o.actual), _each(o.point))


def _wql(o: Outcomes) -> Array:
    """Twice the quantile loss in units of the series' scale, as |y| may be 0 at one step."""
    loss = metrics.pinball(_each(o.actual), o.quantiles[..., None, :], o.levels)
    return 2.0 * loss / _positive(o.scale)[:, None]


def _bias(o: Outcomes) -> Array:
    return metrics.bias(_each(o.actual), _each(o.point)) / _positive(o.scale)[:, None]


def _positive(scale: Array) -> Array:
    return np.where(scale > 0, scale, np.nan)


def _coverage(width: int) -> Metric:
    def steps(o: Outcomes) -> Array:
        low, high = o.ends(width)
        return metrics.coverage(_each(o.actual), _each(low), _each(high))

    def overall(o: Outcomes) -> float:
        low, high = o.ends(width)
        return float(metrics.coverage(o.actual.ravel(), low.ravel(), high.ravel()))

    return Metric(f"in {width} %", "{:.3f}", steps, overall=overall, decides=False, parted=False)


METRICS: dict[str, Metric] = {
    "smape": Metric("sMAPE", "{:.2f}", _smape, benchmarked=True),
    "mase": Metric("MASE", "{:.3f}", _mase, benchmarked=True),
    "mae": Metric(
        "MAE",
        "{:.4g}",
        _mae,
        overall=lambda o: float(metrics.mae(o.actual.ravel(), o.point.ravel())),
        benchmarked=True,
    ),
    "rmse": Metric(
        "RMSE",
        "{:.4g}",
        _mse,
        finish=np.sqrt,
        overall=lambda o: float(metrics.rmse(o.actual.ravel(), o.point.ravel())),
        parted=False,
        shown=False,
    ),
    "wql": Metric(
        "WQL",
        "{:.4f}",
        _wql,
        overall=lambda o: metrics.wql(o.actual, o.quantiles, o.levels),
        parted=False,
    ),
    # In units of the scale of MASE: the gate's own bias is a share of the mean |actual|.
    "bias": Metric("scaled bias", "{:+.3f}", _bias, decides=False),
    "coverage_80": _coverage(80),
    "coverage_95": _coverage(95),
}


@dataclass(frozen=True)
class Baseline:
    """A model to beat.

    Attributes
    ----------
    title : its name in tables for people.
    forecast : called with a panel, a horizon, ``season=`` and ``levels=``.
    packages : what it needs installed beside this package.
    fitted : whether it is fitted to one series after the other: it takes minutes, and ``jobs=``.
    peer : whether the benchmark on public data compares with it.
    """

    title: str
    forecast: Callable[..., Forecast]
    packages: tuple[str, ...] = ()
    fitted: bool = False
    peer: bool = True

    @property
    def missing(self) -> list[str]:
        """The packages it needs that are not installed."""
        return [name for name in self.packages if not _installed(name)]


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


BASELINES: dict[str, Baseline] = {
    "seasonal_naive": Baseline("seasonal naive", baselines.seasonal_naive),
    "naive": Baseline("naive", baselines.naive, peer=False),
    "naive2": Baseline("Naive2", baselines.naive2),
    "auto_ets": Baseline("AutoETS", statistical.auto_ets, ("statsforecast",), fitted=True),
    "auto_theta": Baseline("AutoTheta", statistical.auto_theta, ("statsforecast",), fitted=True),
}


def baseline_named(name: str) -> str:
    """The name, if it is of a baseline.

    Raises
    ------
    ValueError : no such baseline; the message lists those there are.
    """
    if name not in BASELINES:
        raise ValueError(f"{name!r} is not allowed; it should be one of {', '.join(BASELINES)}")
    return name
