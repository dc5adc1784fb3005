"""What people ask of a forecaster beside the next values; without torch, of any engine.

`Predictor` and `Forecaster` both answer, with the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.data.forecast import with_ids_as_given
from forecasting.data.growing import arrived, merged
from forecasting.data.panel import Panel
from forecasting.errors import DataError
from forecasting.interop.kinds import Tabular, as_pandas, is_foreign, like
from forecasting.prediction.anomalies.chances import Learned
from forecasting.prediction.anomalies.found import Found
from forecasting.prediction.anomalies.picture import draw
from forecasting.prediction.anomalies.watch import Standing, check_rate, go_on, watch
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.prediction.why.explain import POINTS, explain
from forecasting.prediction.why.member import Member
from forecasting.prediction.why.told import Why

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# False alarms, as a share of the points, where nobody asks for another.
RATE = 0.01


class Answers(Engine):
    """An engine that can be asked whether points are odd, and why it forecasts what it does."""

    def members(self) -> list[Member]:
        """The networks, as far as it takes to explain what they forecast."""
        raise NotImplementedError

    def why(
        self,
        df: Any,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        points: int = POINTS,
    ) -> Why:
        """Explain the median of every series of a long table.

        Parameters
        ----------
        df, future, static, horizon : as `predict` takes them.
        points : of the path that the networks' gradients are taken along.

        Returns
        -------
        Why : ``.table`` and ``.plot()``.

        Raises
        ------
        DataError : as `predict`; a model that is not spelled out
            (`forecasting.prediction.why.member.check_explainable`).
        """
        panel = Panel.from_frame(
            df, freq=self.freq, static=static, schema=self.schema, future_frame=future
        )
        found = explain(self, self.members(), panel, horizon=horizon, points=points)
        if found.problems:
            first = found.problems[0]
            raise DataError(
                f"{len(found.problems)} of {len(panel)} series cannot be explained; first: series "
                f"{first.id!r}: {first.detail}"
            )
        return Why(found, df)

    def explain(
        self,
        df: Any,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        points: int = POINTS,
    ) -> Any:
        """What the median of every step is made of, in the kind of ``df``.

        See `why`; returns ``unique_id, ds, median`` and a column for each part: ``level``,
        ``base``, ``season``, stretches of the history by how far they lie back, covariates by role
        and name, ``blend``, ``calibration`` and ``limits``. They add up to the median.
        """
        return self.why(df, future=future, static=static, horizon=horizon, points=points).table

    def watch(
        self,
        df: Any,
        *,
        rate: float = RATE,
        last: int | None = None,
        static: Tabular | None = None,
    ) -> Watch:
        """Judge every point of a long table by the points before it, and stand by for more.

        Parameters
        ----------
        df, static : as `predict` takes them; known-future covariates over the history.
        rate : share of false alarms, within (0, 0.5]. last : judge so many points at the end of
            each series; those before are history alone. None: all.

        Returns
        -------
        Watch : ``.table``, ``.plot()``, and ``.update(new_rows)`` for what comes next.

        Raises
        ------
        DataError : bad input, a rate that is none, or a series none of whose points can be judged.
        """
        last = None if last is None else whole_steps(last)
        if last is not None and last < 1:
            raise DataError(f"last = {last} must be 1 or more points")
        panel = Panel.from_frame(df, freq=self.freq, static=static, schema=self.schema)
        last = None if last is None else min(last, max(panel.rows, 1))
        found, standing = watch(self, panel, rate, last=last)
        return Watch(self, check_rate(rate), whole(found), standing, df)

    def anomalies(
        self,
        df: Any,
        *,
        rate: float = RATE,
        last: int | None = None,
        static: Tabular | None = None,
    ) -> Any:
        """What was expected of every point of a long table, and which of them are odd.

        See `watch`; returns ``unique_id, ds, y, expected, low, high, p, anomaly, kind`` in the kind
        of ``df``: the interval a point was expected in from those before it, its p-value, whether
        it is an anomaly, and which: ``high``, ``low`` or ``new level``.
        """
        return self.watch(df, rate=rate, last=last, static=static).table


@dataclass(frozen=True)
class Watch:
    """Points judged, and where their series stand; never changed, only replaced.

    Attributes
    ----------
    engine : what forecasts. rate : of false alarms. found : the points judged last.
    standing : what the next points are judged from. given : the table that came in.
    """

    engine: Engine
    rate: float
    found: Found
    standing: Standing
    given: Any

    @property
    def table(self) -> Any:
        """Of the points judged last, see `Answers.anomalies`."""
        frame = with_ids_as_given(self.found.to_frame(), as_pandas(self.given)["unique_id"])
        return frame if is_foreign(self.given) else like(frame, self.given)

    def update(self, new_rows: Any) -> Watch:
        """Judge further rows, at a cost that does not grow with the history.

        Parameters
        ----------
        new_rows : ``unique_id, ds, y`` and the model's past and future covariates, of any of the
            series, each later than what was judged. A row left out between is a missing value.

        Raises
        ------
        DataError : an unknown series, a row already judged, a stamp off the grid.
        """
        standing = self.standing
        rows = arrived(as_pandas(new_rows), standing.panel)
        places = {str(name): i for i, name in enumerate(standing.panel.ids)}
        unknown = [str(name) for name in rows.ids if str(name) not in places]
        if unknown:
            raise DataError(
                f"new_rows holds series that were never watched: {', '.join(unknown[:5])}"
                f"{' …' if len(unknown) > 5 else ''}; watch their history first"
            )
        where = np.array([places[str(name)] for name in rows.ids], dtype=np.int64)
        learned = standing.learned
        part = Standing(
            standing.panel.select(where),
            standing.seen[where],
            Learned(*(values[where] for values in learned.parts)),
            standing.run[where],
        )
        found, part = go_on(self.engine, part, rows, self.rate)
        moved = Standing(
            merged(standing.panel, part.panel, where),
            _with(standing.seen, where, part.seen),
            Learned(
                *(
                    _with(old, where, new)
                    for old, new in zip(learned.parts, part.learned.parts, strict=True)
                )
            ),
            _with(standing.run, where, part.run),
        )
        return replace(self, found=found, standing=moved, given=new_rows)

    def plot(self, *, series: int = 4, title: str = "") -> Figure:
        """Draw what was expected, what came, and the anomalies, of the first series."""
        return draw(self.found, self.rate, series=series, title=title)


def whole(found: Found) -> Found:
    """The same, where something of every series could be judged; else `DataError` names one."""
    for problem in found.problems.values():
        raise DataError(
            f"{len(found.problems)} of {len(found.panel)} series cannot be judged; first: series "
            f"{problem.id!r}: {problem.detail}"
        )
    return found


def _with(values: Any, where: Any, new: Any) -> Any:
    out = values.copy()
    out[where] = new
    return out
