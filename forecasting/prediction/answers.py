"""What people ask of a forecaster, tables in and tables out; without torch, of any engine.

`Predictor` and `Forecaster` both answer, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, overload

from forecasting.data.forecast import as_given, with_ids_as_given
from forecasting.data.panel import Panel
from forecasting.errors import DataError, warn
from forecasting.interop.kinds import TableT, Tabular, as_pandas, like
from forecasting.prediction.anomalies.watch import check_rate, watch
from forecasting.prediction.anomalies.watching import Watch, whole
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import Engine
from forecasting.prediction.why.explain import POINTS, explain
from forecasting.prediction.why.member import Member
from forecasting.prediction.why.told import Why
from forecasting.quantiles import ASKED

# False alarms, as a share of the points, where nobody asks for another.
RATE = 0.01


class Answers(Engine):
    """An engine that is asked in tables: what comes next, what it would have said before, what its
    forecasts are made of, and which points are odd.
    """

    @overload
    def predict(
        self,
        df: TableT,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
    ) -> TableT: ...

    @overload
    def predict(
        self,
        df: Any,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
    ) -> Any: ...

    def predict(
        self,
        df: Any,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
    ) -> Any:
        """Forecast a long table ``unique_id, ds, y`` and covariates.

        Parameters
        ----------
        df : of pandas, polars or Arrow; or series of Darts, or a data set of GluonTS.
        future : known-future covariates of the steps ahead, ``unique_id, ds`` and their columns
            (or as trailing rows of ``df`` without y). static : one row per series.
        horizon : steps, at most the trained horizon (more only with ``extend``, which feeds
            medians back and is less certain than it says). quantiles : any levels in (0, 1).

        Returns
        -------
        ``unique_id, ds, mean, q<level>…``, with the ids as ``df`` has them and in the kind of
        ``df``; see `forecasting.interop` for series of Darts and data sets of GluonTS.

        Raises
        ------
        DataError : bad input, or series that cannot be forecast, each named.
        """
        table = as_pandas(df)
        panel = self.panel_of(table, static=static, future=future)
        forecast = self.predict_panel(panel, horizon=horizon, quantiles=quantiles, extend=extend)
        return like(with_ids_as_given(forecast.whole().to_frame(), table["unique_id"]), df)

    def historical(
        self,
        df: Any,
        *,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        least: int | None = None,
        every: int = 1,
        last: int | None = None,
    ) -> Any:
        """What this model says at every origin of a table's histories, beside what happened.

        Each forecast is that of `predict` for the history cut there. Where the model has learned
        from these rows the forecasts are in-sample, and flatter it: to judge one, see `backtest`.

        Parameters
        ----------
        df : as `predict` takes it, covariates known ahead in it. horizon : steps; None: as trained.
        least : rows of history before the first origin; None: a season and one. every : rows
            between origins, counted back from the end of each series. last : of each series, the
            last so many origins; None: all.

        Returns
        -------
        ``unique_id, cutoff, step, ds, y, mean, q<level>…``, in the kind of ``df``. A warning says
        how many origins could not be forecast from, and why the first could not.

        Raises
        ------
        DataError : as `predict`; no origin, or more than an answer should hold.
        """
        panel = self.panel_of(df, static=static)
        forecasts = self.historical_panel(
            panel, horizon=horizon, quantiles=quantiles, least=least, every=every, last=last
        )
        if forecasts.left_out:
            warn(
                f"{forecasts.left_out:,} of {forecasts.left_out + len(forecasts.origins):,} "
                f"origins cannot be forecast from: {forecasts.reason}"
            )
        return as_given(forecasts.to_frame(), df)

    def members(self) -> list[Member]:
        """The networks, as far as it takes to explain what they forecast.

        Raises
        ------
        NotImplementedError : an engine that does not say; what is derived from it does.
        """
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
        panel = self.panel_of(df, static=static, future=future)
        return replace(self.why_panel(panel, horizon=horizon, points=points), given=df)

    def why_panel(self, panel: Panel, *, horizon: int | None = None, points: int = POINTS) -> Why:
        """Explain the median of every series of a panel; as `why`, its table of pandas."""
        explained = explain(self, self.members(), panel, horizon=horizon, points=points)
        if explained.problems:
            first = explained.problems[0]
            raise DataError(
                f"{len(explained.problems)} of {len(panel)} series cannot be explained; first: "
                f"series {first.id!r}: {first.detail}"
            )
        return Why(explained, _names(panel))

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
        and name, ``blend``, ``calibration`` and ``limits``; a row for each series and step, all in
        the units of ``y``. They add up to the median.

        Raises
        ------
        DataError : as `why`.
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
        panel = self.panel_of(df, static=static)
        return replace(self.watch_panel(panel, rate=rate, last=last), given=df)

    def watch_panel(self, panel: Panel, *, rate: float = RATE, last: int | None = None) -> Watch:
        """Judge every point of a panel; as `watch`, its table of pandas."""
        last = None if last is None else whole_steps(last)
        if last is not None and last < 1:
            raise DataError(f"last = {last} must be 1 or more points")
        last = None if last is None else min(last, max(panel.rows, 1))
        points, standing = watch(self, panel, rate, last=last)
        return Watch(self, check_rate(rate), whole(points), standing, _names(panel))

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
        it is an anomaly, and which: ``high``, ``low`` or ``new level``. A row for each point
        judged, in the units of ``y``; ``p`` within (0, 1], missing where nothing was observed.

        Raises
        ------
        DataError : as `watch`.
        """
        return self.watch(df, rate=rate, last=last, static=static).table


def _names(panel: Panel) -> Any:
    """A table of a panel's names, which says how an answer's ids are written."""
    import pandas as pd

    return pd.DataFrame({"unique_id": panel.ids})
