"""A backtest whose tables are of the kind, and call series, as the table that was given."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

from forecasting.data.forecast import with_ids_as_given
from forecasting.evaluation.backtest import Backtest
from forecasting.interop.kinds import as_pandas, is_foreign, like


@dataclass(frozen=True)
class Rolled(Backtest):
    """See `Backtest`; ``given`` is the table that was forecast, or some rows of its."""

    given: Any

    @classmethod
    def of(cls, backtest: Backtest, given: Any) -> Rolled:
        """A backtest as it answers whoever gave this table."""
        return cls(**{f.name: getattr(backtest, f.name) for f in fields(Backtest)}, given=given)

    @property
    def table(self) -> Any:
        """Long table ``unique_id, ds, cutoff, step, y, model, mean, q<level>…``."""
        return self._out(super().table)

    def scores(self) -> Any:
        """One row per model, one column per measure of `METRICS`."""
        return self._out(super().scores())

    def by_step(self) -> Any:
        """Scores per model and horizon step."""
        return self._out(super().by_step())

    def by_series(self) -> Any:
        """Scores per model and series."""
        return self._out(super().by_series())

    def by_cutoff(self) -> Any:
        """Scores per model and distance of the cutoff from the end."""
        return self._out(super().by_cutoff())

    def _out(self, frame: pd.DataFrame) -> Any:
        if "unique_id" in frame.columns:
            frame = with_ids_as_given(frame, as_pandas(self.given)["unique_id"])
        if is_foreign(self.given):
            return frame
        if frame.index.name is not None and not isinstance(self.given, pd.DataFrame):
            frame = frame.reset_index()
        return like(frame, self.given)
