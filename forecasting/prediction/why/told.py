"""An explanation as a table and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting import plotting
from forecasting.data.forecast import as_given
from forecasting.data.panel import public_stamps
from forecasting.errors import DataError
from forecasting.prediction.why.explain import Explained

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Parts with a colour of their own in a picture; the others are added up.
DRAWN_PARTS = 6


@dataclass(frozen=True)
class Why:
    """An explanation, and the table that was asked about."""

    explained: Explained
    given: Any

    @property
    def table(self) -> Any:
        """``unique_id, ds, median`` and a column for each part, which add up to the median."""
        import pandas as pd

        explained = self.explained
        steps = explained.median.shape[1]
        frame = pd.DataFrame(
            {
                "unique_id": np.repeat(explained.panel.ids, steps),
                "ds": public_stamps(explained.stamps.ravel(), explained.panel),
                "median": explained.median.ravel(),
                **{name: explained.parts[..., c].ravel() for c, name in enumerate(explained.names)},
            }
        )
        return as_given(frame, self.given)

    def plot(self, series: str | int | None = None, *, title: str = "") -> Figure:
        """Draw what moves one series' forecast away from its level, step by step.

        Parameters
        ----------
        series : its name; None: the first.

        Raises
        ------
        DataError : no such series.
        """
        explained = self.explained
        names = [str(name) for name in explained.panel.ids]
        if not names or (series is not None and str(series) not in names):
            raise DataError(f"no series {series!r} was explained")
        i = 0 if series is None else names.index(str(series))
        parts = explained.parts[i, :, 1:]
        order = np.argsort(-np.abs(parts).mean(axis=0), kind="stable")
        largest = [int(c) for c in order[:DRAWN_PARTS] if np.abs(parts[:, c]).max() > 0]
        bars = {explained.names[c + 1]: parts[:, c] for c in largest}
        rest = parts.sum(axis=1) - sum(bars.values(), np.zeros(len(parts)))
        if np.abs(rest).max() > 1e-9 * max(float(np.abs(parts).max()), 1e-300):
            bars["all else"] = rest
        return plotting.parts_chart(
            explained.stamps[i], explained.parts[i, :, 0], bars, title=title or names[i]
        )
