"""The measures of a backtest, in one table that everything that scores, judges or shows reads.

To add one, write an entry of `METRICS`: the config takes its name for ``backtest.metric`` and
``gate.metric``, a backtest has its column, the runs its figures and curves, the commands print it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.arrays import Array
from forecasting.evaluation import metrics
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


def metric_named(name: str, table: Mapping[str, Metric] | None = None) -> str:
    """The name, if it is of a measure that decides.

    Raises
    ------
    ValueError : no such measure; the message lists those there are.
    """
    names = [key for key, metric in (table or METRICS).items() if metric.decides]
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
