"""Joint paths as people hold them: tables in, tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from forecasting.data.encoding import category
from forecasting.data.forecast import as_given
from forecasting.data.panel import Panel
from forecasting.data.tables.needs import need_frame
from forecasting.interop.kinds import Tabular, as_pandas, in_kind_of
from forecasting.paths.coherent import coherent
from forecasting.paths.hierarchy import Levels
from forecasting.paths.reconcile import How
from forecasting.paths.sampling import Draws, Labels, Paths, sample
from forecasting.paths.totals import Total, add_up, quantiles_of_paths
from forecasting.prediction.engine import Engine
from forecasting.quantiles import ASKED


@dataclass(frozen=True)
class Drawn:
    """Joint sample paths of a table's series, and what they add up to.

    Attributes
    ----------
    paths : the paths as arrays. given : the table they were drawn for.
    """

    paths: Paths
    given: Any
    engine: Engine
    panel: Panel
    extend: bool = False

    @classmethod
    def by(
        cls,
        engine: Engine,
        df: Any,
        draws: Draws,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        extend: bool = False,
    ) -> Self:
        """Paths of every series of a long table; see `Forecaster.paths`."""
        table, beside = as_pandas(df), as_pandas(static)
        need_frame(table, "df")
        panel = engine.panel_of(table, static=beside, future=future)
        paths = sample(engine, panel, draws, horizon=horizon, extend=extend)
        paths.forecast.whole()
        labels = {**paths.labels, **labels_beside(beside, paths)}
        return cls(replace(paths, labels=labels), df, engine, panel, extend)

    def __len__(self) -> int:
        return len(self.paths)

    def __repr__(self) -> str:
        count, steps, paths = self.paths.values.shape
        return f"Drawn({count} series, {steps} steps, {paths} paths)"

    @property
    def table(self) -> Any:
        """``unique_id, ds, path, y``: paths are numbered from 1."""
        return as_given(self.paths.to_frame(), self.given)

    def totals(
        self,
        *,
        steps: int | None = None,
        blocks: bool = False,
        by: str | Sequence[str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        quantiles: Sequence[float] = ASKED,
    ) -> Any:
        """Quantiles of totals, ``unique_id, ds, first_step, last_step, mean, q<level>…``.

        Parameters
        ----------
        steps : the first so many steps added up, or with ``blocks`` every so many; None: none.
        by : static columns of which equal categories make a group; ``[]``: all series in one.
            groups : names of series by group. None of both: each series stays alone.

        Raises
        ------
        TotalError, DataError : naming what cannot be added up.
        """
        settings = {"steps": steps, "blocks": blocks, "by": by, "groups": groups}
        content = {key: value for key, value in settings.items() if value is not None}
        total = Total.of(content, self.paths.values.shape[1], tuple(self.paths.labels))
        frame = add_up(self.paths, total).whole().to_frame(quantiles)
        if total.by is None and total.groups is None:
            return as_given(frame, self.given)
        return in_kind_of(frame, self.given)

    def coherent(
        self,
        levels: Sequence[str | Sequence[str]],
        *,
        how: How | None = None,
        nonnegative: bool = False,
        quantiles: Sequence[float] = ASKED,
    ) -> Any:
        """Forecasts of the series and of sums of them that add up, in every path.

        Parameters
        ----------
        levels : of the sums, each by the static columns whose equal categories are added up:
            ``[[], ["state"], ["state", "region"]]``; of no column, all series.
        how : ``bottom_up``, ``ols``, ``wls_struct``, ``wls`` or ``mint_shrink``; None:
            ``wls_struct``, or ``bottom_up`` where the model has covariates that sums have none of.
        nonnegative : nothing below 0.

        Returns
        -------
        ``level, unique_id, ds, mean, q<level>…``, sums first.

        Raises
        ------
        TotalError, DataError : naming what is no level, or cannot be added up.
        """
        content: dict[str, Any] = {"levels": list(levels), "nonnegative": nonnegative}
        hierarchy = Levels.of(content | ({"how": how} if how else {}), tuple(self.paths.labels))
        own = quantiles_of_paths(self.paths.values, quantiles)
        forecast = replace(self.paths.forecast, quantiles=own, levels=tuple(quantiles))
        paths = replace(self.paths, forecast=forecast)
        forecasts = coherent(self.engine, self.panel, paths, hierarchy, extend=self.extend)
        return in_kind_of(forecasts.to_frame(), self.given)


def labels_beside(static: Any, paths: Paths) -> Labels:
    """The columns of a static table as categories of the series asked for, None where missing."""
    if static is None:
        return {}
    place = {category(name): row for row, name in enumerate(static["unique_id"])}
    rows = [place.get(str(name)) for name in paths.asked.tolist()]
    labels: dict[str, list[str | None]] = {}
    for column in static.columns:
        if column != "unique_id":
            blank = static[column].isna().tolist()
            categories = [
                None if missing else category(value)
                for value, missing in zip(static[column].tolist(), blank, strict=True)
            ]
            labels[str(column)] = [None if row is None else categories[row] for row in rows]
    return labels
