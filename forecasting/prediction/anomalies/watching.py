"""Points of a table that were judged, and what comes next judged from where they stand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.data.forecast import as_given
from forecasting.data.growing import arrived, merged
from forecasting.errors import DataError
from forecasting.interop.kinds import as_pandas
from forecasting.prediction.anomalies.chances import Learned
from forecasting.prediction.anomalies.found import Found
from forecasting.prediction.anomalies.picture import draw
from forecasting.prediction.anomalies.watch import Standing, go_on
from forecasting.prediction.engine import Engine

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        return as_given(self.found.to_frame(), self.given)

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
        points, part = go_on(self.engine, part, rows, self.rate)
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
        return replace(self, found=points, standing=moved, given=new_rows)

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
