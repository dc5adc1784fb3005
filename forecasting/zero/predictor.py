"""`Zero`: forecasts of any series by a network that was trained on none of its kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from forecasting.arrays import Array
from forecasting.bundle import sha256
from forecasting.data.forecast import Forecast, with_ids_as_given
from forecasting.data.panel import Panel
from forecasting.data.strides import say_mixed
from forecasting.data.tables.needs import need_frame
from forecasting.data.tables.warned import say_codes, say_names, say_open_ends, say_truths
from forecasting.errors import BundleError, DataError, SeriesProblem, listed, warn
from forecasting.interop.kinds import as_pandas, like
from forecasting.prediction.checks import whole_steps
from forecasting.prediction.engine import BEYOND_FLOAT
from forecasting.prediction.odd import equal_values, said_of
from forecasting.quantiles import ASKED, Interpolation, check_levels, mean_weights
from forecasting.zero.arithmetic import Network
from forecasting.zero.constants import LEVELS
from forecasting.zero.decoding import Reads, Way, decode
from forecasting.zero.patches import LONGEST_SEASON
from forecasting.zero.still import Usual, about_one_value
from forecasting.zero.ways import candidates, choose, ends

FOLDER = Path(__file__).parents[1] / "pretrained"
WEIGHTS, CARD = "zero.safetensors", "zero.json"
# What the card's networks are built and read like; it changes with `patches` and `network`.
FORMAT = 2
# Beyond it more is forecast blindly than was ever read in training.
LONGEST_HORIZON = 1_024
# Series read and forecast at once: what lies in memory does not grow with the panel.
AT_ONCE = 1_024


class Zero:
    """A pretrained network behind the door that forecasters have: a table in, quantiles out.

    Covariates are not read: other columns are left aside.

    Attributes
    ----------
    card : what it was trained on and how. folder : where its weights lie, if in a file.
    """

    def __init__(self, network: Reads, card: dict[str, Any], folder: Path | None = None) -> None:
        self.network, self.card, self.folder = network, card, folder

    @classmethod
    def load(cls, folder: str | Path = FOLDER) -> Zero:
        """Open the weights of a folder; `BundleError` says what is wrong with them."""
        path, about = Path(folder) / WEIGHTS, Path(folder) / CARD
        if not path.is_file() or not about.is_file():
            raise BundleError(f"no {WEIGHTS} and {CARD} in {folder}: install again")
        try:
            card: dict[str, Any] = json.loads(about.read_text("utf-8"))
            digest, form = card["sha256"], card["format"]
        except (ValueError, KeyError, TypeError):
            raise BundleError(f"{about} is damaged: install again") from None
        if form != FORMAT:
            raise BundleError(f"{path} is of format {form}, this program reads {FORMAT}: upgrade")
        if sha256(path) != digest:
            raise BundleError(f"{path} is not what its card describes: install again")
        return cls(Network(load_file(str(path))), card, Path(folder))

    def predict(
        self,
        df: Any,
        horizon: int,
        *,
        freq: str | None = None,
        season: int | None = None,
        quantiles: Sequence[float] = ASKED,
    ) -> Any:
        """Forecast a long table ``unique_id, ds, y``, with nothing trained.

        Parameters
        ----------
        df : of pandas, polars or Arrow; or series of Darts, or a data set of GluonTS.
        horizon : steps, up to `LONGEST_HORIZON`. freq : pandas alias; inferred when not given.
        season : in steps, 1 for none; when not given, those that the stamps and the values say are
            tried at the end of the history. quantiles : any levels in (0, 1).

        Returns
        -------
        ``unique_id, ds, mean, q<level>…``, with the ids as ``df`` has them and in its kind.

        Raises
        ------
        DataError : bad input, or series that cannot be forecast, the first named.
        """
        table = as_pandas(df)
        need_frame(table, "df")
        panel = Panel.from_frame(table, freq=freq)
        aside = [str(name) for name in table.columns if name not in ("unique_id", "ds", "y")]
        if aside:
            warn(
                f"columns left aside: {listed(aside, 8)}; this network reads no covariates, which "
                "a forecaster of Forecaster.fit does"
            )
        say_names(panel.ids)
        say_truths(table["y"])
        say_codes(panel.y, panel.offsets)
        say_mixed(panel)
        say_open_ends(panel.y, panel.offsets, panel.ids)
        for sentence in said_of(equal_values(panel), panel.ids):
            warn(sentence)
        forecast = self.predict_panel(panel, horizon, season=season, quantiles=quantiles)
        return like(with_ids_as_given(forecast.whole().to_frame(), table["unique_id"]), df)

    def predict_panel(
        self,
        panel: Panel,
        horizon: int,
        *,
        season: int | None = None,
        way: Way | None = None,
        usual: Usual | None = None,
        quantiles: Sequence[float] = ASKED,
    ) -> Forecast:
        """Forecast every series from its end; covariates are not read.

        Parameters
        ----------
        way, usual : as `way_of` and `Usual.of` found them, for parts of a larger panel; None: found
            here.

        Raises
        ------
        DataError : a horizon, a season or a level that cannot be. What concerns single series is
            in ``Forecast.problems`` instead.
        """
        horizon = whole_steps(horizon)
        _check(horizon, season, quantiles)
        panel = panel.begun()
        silent = _silent(panel)
        problems = [
            SeriesProblem(
                str(panel.ids[i]), "no_observations", "no value is observed", {"column": "y"}
            )
            for i in np.flatnonzero(silent)
        ]
        panel = panel.select(np.flatnonzero(~silent)) if silent.any() else panel
        mean = np.empty((len(panel), horizon))
        answers = np.empty((len(panel), horizon, len(quantiles)))
        if len(panel):
            if way is None:
                way = choose(self.network, panel, candidates(panel, season), horizon)
            # Asked where a series stands still.
            usual_of = cache(lambda: usual or Usual.of(panel))
            weights, interpolation = mean_weights(LEVELS), Interpolation(LEVELS, tuple(quantiles))
            for begin in range(0, len(panel), AT_ONCE):
                some = slice(begin, begin + AT_ONCE)
                part = panel if len(panel) <= AT_ONCE else panel.select(some)
                values = self._quantiles(part, way, usual_of, horizon)
                mean[some], answers[some] = values @ weights, interpolation(values)
        start, freq = panel.following()
        forecast = Forecast(
            ids=panel.ids,
            start=start,
            freq=freq,
            tz=panel.tz,
            mean=mean,
            quantiles=answers,
            levels=tuple(quantiles),
            problems=problems,
            days=panel.days(),
        )
        finite = np.isfinite(forecast.mean).all(axis=1) & np.isfinite(forecast.quantiles).all(
            axis=(1, 2)
        )
        if finite.all():
            return forecast
        return forecast.without(np.flatnonzero(~finite), "not_finite", BEYOND_FLOAT)

    def way_of(self, panel: Panel, horizon: int, *, season: int | None = None) -> Way:
        """How a panel is read: the season that forecast its own ends best."""
        horizon = whole_steps(horizon)
        _check(horizon, season, ASKED)
        panel = panel.begun()
        places = np.flatnonzero(~_silent(panel))
        if not len(places):
            return Way()
        panel = panel.select(places)
        return choose(self.network, panel, candidates(panel, season), horizon)

    def _quantiles(
        self, part: Panel, way: Way, usual_of: Callable[[], Usual], horizon: int
    ) -> Array:
        """[N, horizon, Q]; of what never fell below 0 nothing is forecast below it."""
        y = ends(part)
        values = decode(self.network, y, way, horizon)
        seen = np.isfinite(y)
        low, high = (
            np.where(seen, y, end).min(axis=1) if end > 0 else np.where(seen, y, end).max(axis=1)
            for end in (np.inf, -np.inf)
        )
        still = np.flatnonzero(low == high)
        if len(still):
            # What they showed before the rows that are read is not looked at.
            rows = part.select(still).tail(y.shape[1])
            values[still] = about_one_value(rows, usual_of(), horizon)
        values[low >= 0.0] = np.maximum(values[low >= 0.0], 0.0)
        return values


def _silent(panel: Panel) -> Array:
    """[N] whether no value of a series is observed."""
    return np.asarray(panel.counts == 0)


def _check(horizon: int, season: int | None, quantiles: Sequence[Any]) -> None:
    if not 1 <= horizon <= LONGEST_HORIZON:
        raise DataError(
            f"horizon = {horizon} is outside 1..{LONGEST_HORIZON}, what the pretrained network can "
            "forecast; ask for less, or of a longer step"
        )
    if season is not None and (isinstance(season, bool) or not isinstance(season, int)):
        raise DataError(f"season = {season!r} must be a whole number of steps, 1 for none")
    if season is not None and not 1 <= season <= LONGEST_SEASON:
        raise DataError(
            f"season = {season} is outside 1..{LONGEST_SEASON}: give the steps of a shorter one, "
            "1 for none"
        )
    check_levels(quantiles)
