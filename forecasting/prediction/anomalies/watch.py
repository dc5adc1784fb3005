"""Is this point odd? Every point beside the forecast from the points before it.

Each point is forecast from the rows before it as they are, one step ahead, and its score read off
that forecast's quantiles. What scores mean is learned as they come, series by series
(`forecasting.prediction.anomalies.chances`), so points judged together are those judged one by one
as they arrive, and no series is judged by its neighbours. A level that has moved is one for the
network as soon as it has seen it: the values that tell of it are alarms, those after it are not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from forecasting.arrays import Array
from forecasting.data.growing import extended, piece
from forecasting.data.mapped import ranges
from forecasting.data.panel import Panel
from forecasting.data.wall import rows_for
from forecasting.errors import DataError, SeriesProblem
from forecasting.prediction.anomalies.chances import DEFAULT, Learned
from forecasting.prediction.anomalies.expected import Expected
from forecasting.prediction.anomalies.found import HIGH, LOW, NEW_LEVEL, Found
from forecasting.prediction.checks import unreadable
from forecasting.prediction.engine import Engine

# Anomalies in a row, on one side, of which the last is called the new level.
NEW_LEVEL_AFTER = 3
# Observed values before a point that can be judged: so many, or a season and one.
LEAST_SEEN = 8
# Points forecast at once: their windows lie in memory side by side.
AT_ONCE = 2048
# The highest rate that may be asked for.
MOST = 0.5
SHORT = "it has {} observed values; a point is judged once {} lie before it"


@dataclass(frozen=True)
class Standing:
    """Where N series stand after their points were judged; never changed, only replaced.

    Attributes
    ----------
    panel : the last rows of each, as further points are forecast from them.
    seen : [N] values observed since each began. learned : of their scores.
    run : [N] anomalies in a row up to now, those on the low side below 0.
    """

    panel: Panel
    seen: Array
    learned: Learned
    run: Array


def check_rate(rate: object) -> float:
    """A rate of false alarms; `DataError` where it is none."""
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.number):
        raise DataError(f"rate = {rate!r} must be a number within (0, {MOST:g}], such as 0.01")
    if not 0.0 < rate <= MOST:
        raise DataError(f"rate = {rate!r} must lie within (0, {MOST:g}], such as 0.01")
    return float(rate)


def watch(
    engine: Engine, panel: Panel, rate: float, *, last: int | None = None
) -> tuple[Found, Standing]:
    """Judge the points of every series of a panel, each by those before it.

    Parameters
    ----------
    rate : of false alarms, a share of the points.
    last : judge so many points at each end alone; those before are history, and nothing is learned
        of their scores.

    Raises
    ------
    DataError : a rate that is none; a frequency or covariates other than the model's.
    """
    rate = check_rate(rate)
    engine.check(panel, 1, (), extend=False)
    panel = panel.under(engine.schema).begun()
    count = len(panel)
    began = np.maximum(panel.lengths - (panel.rows if last is None else last), 0)
    before = ranges(np.zeros_like(began), panel.lengths)
    known = (before < np.repeat(began, panel.lengths)) & ~np.isnan(panel.y)
    seen = np.bincount(panel.series, weights=known, minlength=count).astype(np.int64)
    standing = Standing(panel, seen, Learned.nothing(count), np.zeros(count, np.int64))
    return _judged(engine, standing, began, rate)


def go_on(engine: Engine, standing: Standing, rows: Panel, rate: float) -> tuple[Found, Standing]:
    """Judge further points of the series of a standing, in the same order of series.

    Steps between the standing's last row and the first of ``rows`` are missing values, which are
    rows of the result too.

    Raises
    ------
    DataError : a rate that is none; a row judged already, a stamp off the grid.
    """
    grown = replace(standing, panel=extended(standing.panel, rows))
    return _judged(engine, grown, standing.panel.lengths, check_rate(rate))


def _judged(
    engine: Engine, standing: Standing, began: Array, rate: float
) -> tuple[Found, Standing]:
    """Judge the rows of a standing's panel from ``began`` [N] on."""
    panel, count = standing.panel, len(standing.panel)
    wall = panel.tz is not None and panel.freq.sub_daily
    context = rows_for(engine.context, panel.freq) if wall else engine.context
    sizes = panel.lengths - began
    series = np.repeat(np.arange(count), sizes)
    place = np.repeat(began, sizes) + ranges(np.zeros_like(sizes), sizes)
    expected, expectable, lost = _expected(engine, panel, series, place, context)
    y = panel.y[panel.offsets[series] + place]
    observed = (~np.isnan(y)).astype(np.int64)
    before = np.cumsum(observed) - observed
    first = np.cumsum(sizes) - sizes
    before += (standing.seen - np.append(before, 0)[first])[series]
    least = max(LEAST_SEEN, min(engine.config.season + 1, engine.context))
    expectable &= before >= least
    score = np.where(expectable, expected.scores(y), np.nan)
    scale, chance, learned = _learn(standing.learned, score, sizes, rate)
    reach = DEFAULT.score(rate) * scale
    kind, run = _kinds(score, chance < rate, series, standing.run)
    seen = standing.seen + np.bincount(series, weights=observed, minlength=count).astype(np.int64)
    for i in np.flatnonzero((seen < least) & (np.bincount(series, expectable, count) == 0)):
        lost[int(i)] = SeriesProblem("", "too_short", SHORT.format(seen[i], least), {"column": "y"})
    points = Found(
        panel=panel,
        sizes=sizes,
        stamps=np.asarray(panel.freq.shift(panel.start[series], place)),
        y=y,
        median=np.where(expectable, expected.median, np.nan),
        low=np.where(expectable, expected.at(-reach), np.nan),
        high=np.where(expectable, expected.at(reach), np.nan),
        chance=chance,
        kind=kind,
        problems={i: replace(p, id=str(panel.ids[i])) for i, p in sorted(lost.items())},
    )
    return points, Standing(panel.tail(context), seen, learned, run)


def _expected(
    engine: Engine, panel: Panel, series: Array, place: Array, context: int
) -> tuple[Expected, Array, dict[int, SeriesProblem]]:
    """What each of R points was expected to be, and [R] whether it could be forecast.

    And the last problem of each series none of whose points could.
    """
    levels, model = engine.config.model.quantile_levels, engine.config.model
    quantiles, expectable = np.full((len(series), len(levels)), np.nan), np.zeros(len(series), bool)
    problems: dict[int, SeriesProblem] = {}
    panel = _without_unreadable(panel, engine)
    for begin in range(0, len(series), AT_ONCE):
        some, at = series[begin : begin + AT_ONCE], place[begin : begin + AT_ONCE]
        windows = piece(panel, some, np.maximum(at - context, 0), at)
        ahead = panel.future[panel.offsets[some] + at][:, None] if panel.schema.future else None
        windows = replace(windows, ids=np.arange(len(some)), horizon=ahead)
        forecast = engine.predict_panel(windows, horizon=1, quantiles=levels)
        rows = begin + np.asarray(forecast.ids, np.int64)
        quantiles[rows], expectable[rows] = forecast.quantiles[:, 0], True
        problems |= {int(some[int(p.id)]): p for p in forecast.problems}
    answered = set(series[expectable].tolist())
    lost = {i: p for i, p in problems.items() if i not in answered}
    return Expected.of(quantiles, levels, model), expectable, lost


def _without_unreadable(panel: Panel, engine: Engine) -> Panel:
    """What a model cannot read as missing, which is an anomaly where it stands and no history.

    A series that is mostly so stays: that is a problem of its own.
    """
    bad = unreadable(panel.y, engine.config)
    if not bad.any():
        return panel
    count = len(panel)
    often = np.bincount(panel.series, weights=bad, minlength=count)
    counts = np.bincount(panel.series, weights=~np.isnan(panel.y), minlength=count)
    some = bad & (2 * often < counts)[panel.series]
    return replace(panel, y=np.where(some, np.nan, panel.y))


def _learn(
    learned: Learned, score: Array, sizes: Array, rate: float
) -> tuple[Array, Array, Learned]:
    """[R] scale and chance of each score, NaN for none, and what all of them say."""
    first, size, usual = np.cumsum(sizes) - sizes, np.abs(score), DEFAULT.usual
    scale, chance = np.ones(len(score)), np.full(len(score), np.nan)
    for step in range(int(sizes.max(initial=0))):
        series = np.flatnonzero(sizes > step)
        row = first[series] + step
        scale[row] = learned.scale[series]
        judged = ~np.isnan(size[row])
        series, row = series[judged], row[judged]
        chance[row] = DEFAULT.chance(size[row] / scale[row])
        learned = learned.after(series, size[row], chance[row], rate, usual)
    return scale, chance, learned


def _kinds(score: Array, alarm: Array, series: Array, run: Array) -> tuple[Array, Array]:
    """[R] place in `KINDS` of each point, and [N] the runs that the series end in.

    Parameters
    ----------
    run : [N] alarms in a row before, those on the low side below 0.
    """
    kind, run = np.zeros(len(score), np.int8), run.copy()
    judged = np.flatnonzero(~np.isnan(score))
    if not len(judged):
        return kind, run
    side, of = np.where(alarm, np.sign(score), 0.0)[judged].astype(np.int64), series[judged]
    opens = np.ones(len(judged), bool)
    opens[1:] = (of[1:] != of[:-1]) | (side[1:] != side[:-1])
    begin = np.flatnonzero(opens)
    length = np.arange(len(judged)) - begin[np.cumsum(opens) - 1] + 1
    # What a series had in a row before goes on with its first points.
    heads = np.concatenate([[True], of[1:] != of[:-1]])
    goes_on = np.maximum.accumulate(np.where(heads, begin[np.cumsum(opens) - 1], 0))
    length += np.where(
        (goes_on == begin[np.cumsum(opens) - 1]) & (side * run[of] > 0), np.abs(run[of]), 0
    )
    kind[judged] = np.select([side > 0, side < 0], [HIGH, LOW], 0)
    kind[judged[(side != 0) & (length == NEW_LEVEL_AFTER)]] = NEW_LEVEL
    last = np.concatenate([of[1:] != of[:-1], [True]])
    run[of[last]] = (side * length)[last]
    return kind, run
