"""What a forecast is: quantiles and mean of some series over the steps ahead."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.encoding import category
from forecasting.data.panel import public_stamps
from forecasting.errors import DataError, SeriesProblem
from forecasting.interop.kinds import as_pandas, in_kind_of
from forecasting.quantiles import column_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Forecast:
    """Forecasts of N series over h steps.

    Attributes
    ----------
    ids : [N]. start : [N] stamp of the first forecast step. freq, tz : of the panel.
    mean : [N, h] float64, mean of the predictive distribution.
    quantiles : [N, h, Q] float64, rising along Q. levels : the Q levels.
    problems : series that could not be forecast; they are not among ``ids``.
    days : [N] the day of the month that each series keeps to, where they keep to several that a
        short month cuts; None: ``freq`` says it.
    """

    ids: Array
    start: Array
    freq: Frequency
    tz: str | None
    mean: Array
    quantiles: Array
    levels: tuple[float, ...]
    problems: list[SeriesProblem] = field(default_factory=list)
    days: Array | None = None

    def stamps(self) -> Array:
        """[N, h] stamps of the forecast steps."""
        stamps = self.freq.stamps(self.start, 0, self.mean.shape[1])
        for day in () if self.days is None else np.unique(self.days).tolist():
            own = self.days == day
            freq = replace(self.freq, day=day)
            stamps[own] = freq.stamps(self.start[own], 0, stamps.shape[1])
        return stamps

    def whole(self) -> Self:
        """The same, where every series could be forecast.

        Raises
        ------
        DataError : naming the first series that could not.
        """
        if self.problems:
            first = self.problems[0]
            raise DataError(
                f"{len(self.problems)} of {len(self.problems) + len(self.ids)} series cannot be "
                f"forecast; first: series {first.id!r}: {first.detail}"
            )
        return self

    def to_frame(self) -> pd.DataFrame:
        """Long table ``unique_id, ds, mean, q<level>…``, one row per series and step."""
        import pandas as pd

        steps = self.mean.shape[1]
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(self.ids, steps),
                "ds": public_stamps(self.stamps().ravel(), self),
                "mean": self.mean.ravel(),
            }
        )
        for k, level in enumerate(self.levels):
            frame[column_of(level)] = self.quantiles[:, :, k].ravel()
        return frame

    def without(self, lost: Array, code: str, detail: str) -> Forecast:
        """The forecast without the series at positions ``lost`` [n], each named a problem of y."""
        beyond = [SeriesProblem(str(self.ids[i]), code, detail, {"column": "y"}) for i in lost]
        kept = np.setdiff1d(np.arange(len(self.ids)), lost)
        return replace(
            self,
            ids=self.ids[kept],
            start=self.start[kept],
            mean=self.mean[kept],
            quantiles=self.quantiles[kept],
            days=None if self.days is None else self.days[kept],
            problems=[*self.problems, *beyond],
        )


def as_given(answer: pd.DataFrame, given: Any) -> Any:
    """An answer ``unique_id, …`` in the kind of the table it was asked with, its ids as there."""
    return in_kind_of(with_ids_as_given(answer, as_pandas(given)["unique_id"]), given)


def with_ids_as_given(forecast: pd.DataFrame, given: pd.Series) -> pd.DataFrame:
    """A forecast with its series called as in the column ``given``: numbers are numbers again."""
    import pandas as pd

    firsts = given.drop_duplicates()
    of_categories = isinstance(given.dtype, pd.CategoricalDtype)
    if not of_categories and all(isinstance(value, str) for value in firsts):
        return forecast
    place: dict[str, int] = {}
    for row, value in enumerate(firsts):
        place.setdefault(category(value), row)
    rows = forecast["unique_id"].map(place).to_numpy(dtype=np.int64)
    return forecast.assign(unique_id=firsts.iloc[rows].array)
