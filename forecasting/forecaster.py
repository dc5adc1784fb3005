"""`Forecaster`: fit, predict, save, load; the one door of this package.

What is trained, judged, streamed and saved is an `Ensemble`; the rooms below know only that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from forecasting import plotting
from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.data.strides import say_mixed
from forecasting.data.tables.needs import need_frame
from forecasting.data.tables.warned import (
    say_codes,
    say_left_aside,
    say_names,
    say_open_ends,
    say_truths,
)
from forecasting.ensemble import Ensemble
from forecasting.errors import DataError, warn
from forecasting.evaluation.backtest import Model, Refitted, backtest
from forecasting.evaluation.baselines import seasonal_naive
from forecasting.hardware.devices import pick_device
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.interop.kinds import TableT, Tabular, as_pandas
from forecasting.known.leaks import say_leaks
from forecasting.known.occasions import with_closed_days
from forecasting.paths.drawn import Drawn
from forecasting.paths.planned import Planned, Wanted
from forecasting.paths.sampling import PATHS, Draws
from forecasting.prediction.checks import whole_steps
from forecasting.quantiles import ASKED
from forecasting.saving import save as saving
from forecasting.streaming import reading
from forecasting.streaming.state import State
from forecasting.views import fans, summary
from forecasting.views.progress import Bar
from forecasting.views.rolled import Rolled
from forecasting.zero.predictor import Zero

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from matplotlib.figure import Figure

# Of a picture: levels, and how many of the first series are kept to draw without a table.
DRAWN_LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
KEPT_TO_DRAW = 4


class Forecaster(Ensemble):
    """An ensemble of trained members that people hold: it is fitted, asked, saved and loaded.

    Attributes
    ----------
    asked : the settings that training was given, before it chose the rest; None when loaded.
    """

    asked: ForecasterConfig | None = None
    _kept: Panel | None = None

    @classmethod
    def fit(
        cls,
        df: Any,
        *,
        horizon: int,
        freq: str | None = None,
        static: Tabular | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        categorical: Sequence[str] = (),
        config: ForecasterConfig | dict[str, Any] | None = None,
        members: int | None = None,
        seed: int | None = None,
        device: str = "auto",
        verbose: bool | None = None,
        checkpoints: str | Path | None = None,
    ) -> Self:
        """Train on a long table ``unique_id, ds, y`` and covariates.

        Parameters
        ----------
        df : of pandas, polars or Arrow; or series of Darts, or a data set of GluonTS.
        horizon : steps to forecast. freq : pandas alias; inferred when not given.
        static : one row per series, columns beside ``unique_id``. past, future : columns of
            ``df`` known up to the cutoff, and over the horizon too. categorical : which of all
            these are categories although they are numbers; text always is.
        config : settings, or a dict of them; whatever is left open is chosen from the data.
        verbose : a progress bar; None: in a terminal or a notebook.
        checkpoints : a folder for what is under way. Killed, the same call goes on from there and
            ends with the same weights; delete it when the forecaster is saved.

        Raises
        ------
        DataError, ConfigError, TrainingError.
        """
        df, static = as_pandas(df), as_pandas(static)
        need_frame(df, "df")
        horizon = whole_steps(horizon)
        if not isinstance(config, ForecasterConfig):
            config = ForecasterConfig.parse({**(config or {}), "horizon": horizon})
        changes: dict[str, Any] = {"horizon": horizon}
        if freq is not None:
            changes["freq"] = with_closed_days(freq)
        chosen = {"members": members, "seed": seed}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        config = config.replace(**changes, **({"training": chosen} if chosen else {}))
        panel = Panel.from_frame(
            df, freq=config.freq, static=static, past=past, future=future, categorical=categorical
        )
        say_left_aside(df, [*past, *future, *(static.columns if static is not None else ())])
        say_names(panel.ids)
        say_truths(df["y"])
        say_codes(panel.y, panel.offsets)
        say_mixed(panel)
        say_leaks(panel, horizon)
        if not future:
            say_open_ends(panel.y, panel.offsets, panel.ids)
        with Bar(verbose, config.training.members) as bar:
            return cls.train(panel, config, on_epoch=bar, device=device, checkpoints=checkpoints)

    @classmethod
    def train(
        cls,
        panel: Panel,
        config: ForecasterConfig,
        *,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: OnEpoch | None = None,
        device: str = "auto",
        checkpoints: str | Path | None = None,
    ) -> Self:
        """Train on a panel; see `forecasting.training.fit.fit`."""
        # Lightning takes seconds to import, and who only forecasts needs none.
        from forecasting.training import fit as training

        began = time.perf_counter()
        trained = training.fit(
            panel,
            config,
            callbacks=callbacks,
            on_epoch=on_epoch,
            device=device,
            checkpoints=checkpoints,
        )
        return cls._trained_on(panel, trained, config, time.perf_counter() - began)

    def refit(
        self,
        panel: Panel,
        *,
        backs: Sequence[int],
        steps: int | None = None,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: OnEpoch | None = None,
        device: str = "auto",
        checkpoints: str | Path | None = None,
    ) -> Self:
        """Another forecaster with these settings, trained on every row of a panel.

        See `forecasting.training.fit.refit`.
        """
        from forecasting.training import fit as training

        began = time.perf_counter()
        trained = training.refit(
            self,
            panel,
            backs=backs,
            steps=steps,
            callbacks=callbacks,
            on_epoch=on_epoch,
            device=device,
            checkpoints=checkpoints,
        )
        return self._trained_on(panel, trained, self.asked, time.perf_counter() - began)

    def carry_on(
        self,
        df: Any,
        *,
        static: Tabular | None = None,
        past: Sequence[str] | None = None,
        future: Sequence[str] | None = None,
        unseen: int | None = None,
        steps: int | None = None,
        on_epoch: OnEpoch | None = None,
        device: str = "auto",
    ) -> Self:
        """Another forecaster, trained on for a little from this one's weights: on a table that has
        grown, or a panel of it, at a fraction of the cost of `fit`.

        Parameters
        ----------
        df : all rows there are now, as `fit` takes them, or a `Panel`. New series, new categories
            and covariates that come or go are taken in, and said in a warning.
        past, future : as `fit` takes them; None: this forecaster's own.
        unseen : rows at the end of the series that this one has not seen; None: told by the newest
            stamp it was trained on.
        steps : of the optimiser; None: a share of those of a training from nothing.

        Raises
        ------
        StartAnewError : what is there asks for another network; `fit` one. DataError, TrainingError
            : as `fit`.
        """
        from forecasting.training import carry_on as training

        began = time.perf_counter()
        panel = df
        if not isinstance(df, Panel):
            own = self.schema
            panel = Panel.from_frame(
                as_pandas(df),
                freq=self.freq,
                static=as_pandas(static),
                past=[c.name for c in own.past] if past is None else past,
                future=[c.name for c in own.future] if future is None else future,
                categorical=[c.name for c in own.covariates if c.type == "categorical"],
            )
        trained, notes = training.carry_on(
            self,
            panel,
            unseen=self.rows_since(panel) if unseen is None else unseen,
            steps=steps,
            on_epoch=on_epoch,
            device=device,
        )
        for note in notes:
            warn(note)
        seconds = time.perf_counter() - began
        # The panel's own covariates may be more, or others, than those that were there before.
        return self._trained_on(panel, trained, self.asked, seconds)

    def rows_since(self, panel: Panel) -> int:
        """Rows at the end of a panel that came after the training; 0 where that is not known."""
        until = self.fitted.get("until")
        if until is None or not len(panel):
            return 0
        then = np.array([int(until)], np.int64 if panel.freq.integer else "datetime64[us]")
        return max(int(panel.freq.steps_between(then, panel.last.max()[None])[0]), 0)

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
        state: None = None,
    ) -> TableT: ...

    @overload
    def predict(
        self,
        df: Any = None,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
        state: State | None = None,
    ) -> Any: ...

    def predict(
        self,
        df: Any = None,
        *,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        extend: bool = False,
        state: State | None = None,
    ) -> Any:
        """Forecast a long table, or from a ``state`` that has read it.

        See `Engine.predict`: what went in, such as a table of polars, comes out. With a state (of
        `encode` or `update`) neither ``df`` nor ``static`` is given; the state holds them.
        ``extend`` needs the table.
        """
        if state is None:
            if df is None:
                raise DataError("there is nothing to forecast: give a table, or a state")
            return super().predict(
                df, future=future, static=static, horizon=horizon, quantiles=quantiles,
                extend=extend,
            )  # fmt: skip
        if df is not None or static is not None or extend:
            raise DataError("with a state go only future, horizon and quantiles: it holds the rest")
        forecast = reading.forecast(
            self, state, future=as_pandas(future), horizon=horizon, quantiles=quantiles
        )
        return forecast.whole().to_frame()

    def paths(
        self,
        df: Any,
        paths: int = PATHS,
        *,
        seed: int = 0,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        extend: bool = False,
    ) -> Drawn:
        """Joint sample paths of the steps ahead, from which totals follow.

        Parameters
        ----------
        df, future, static, horizon, extend : as `predict` takes them; ``static`` may have columns
            of categories beyond those of the model, to add up by.
        paths : how many; those of a step are quantiles of its forecast. seed : another one
            draws others.

        Returns
        -------
        Drawn : ``.table`` and ``.totals(steps=7, by="region")``, in the kind of ``df``.

        Raises
        ------
        DataError : as `predict`, and for more paths than there may be.
        """
        return Drawn.by(
            self,
            df,
            Draws(paths, seed),
            future=future,
            static=static,
            horizon=horizon,
            extend=extend,
        )

    def scenarios(
        self,
        df: Any,
        scenarios: Mapping[str, Any],
        *,
        base: str | None = None,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = ASKED,
        draws: Draws | None = None,
    ) -> Planned:
        """What if: forecasts under other known-future covariates, and what they change.

        Parameters
        ----------
        df, future, static, horizon, quantiles : as `predict` takes them.
        scenarios : by name a table ``unique_id, ds`` and columns known ahead, of some series or
            all; or ``{"promo": 0}``: by column a value for every step, or a list with one for
            each. What a scenario does not say is as in the table.
        base : the scenario that others are compared with; None: what the table says of the steps
            ahead, under the name "base". draws : how many paths, and which; 200 of seed 0.

        Returns
        -------
        Planned : ``.table``, ``.differences``, ``.totals`` in the kind of ``df``, and ``.plot()``.

        Raises
        ------
        DataError : as `predict`; a scenario that says what is not known ahead, or not every step.
        """
        options = Wanted(base, horizon, quantiles, draws)
        return Planned.by(self, df, scenarios, options, future=future, static=static)

    def plot(
        self,
        df: Any = None,
        *,
        series: int | str | Sequence[Any] = KEPT_TO_DRAW,
        future: Tabular | None = None,
        static: Tabular | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = DRAWN_LEVELS,
        title: str = "",
    ) -> Figure:
        """Draw forecasts as fan charts; the figure is handed back, and shown by nobody.

        A notebook shows it where it is a cell's last line; else ``.savefig(path)`` keeps it.

        Parameters
        ----------
        df : as `predict` takes it. None: what the forecaster was fitted on, of which it keeps the
            end of the first few series.
        series : how many of the first series are drawn, or the names of those that are, at most
            24.

        Raises
        ------
        DataError : as `predict`; an unknown series; no table where none was fitted on.
        """
        panel = self._kept if df is None else self.panel_of(df, static=static, future=future)
        if panel is None:
            raise DataError("there is nothing to draw: a loaded forecaster has no table; give one")
        levels = tuple(sorted({0.5, *quantiles}))
        panel = fans.chosen(panel, series)
        forecast = self.predict_panel(panel, horizon=horizon, quantiles=levels).whole()
        return plotting.fan_chart(fans.fans(panel, forecast, self.config.season), title=title)

    def backtest(
        self,
        df: Any,
        *,
        windows: int = 3,
        step: int | None = None,
        future: Tabular | None = None,
        static: Tabular | None = None,
        retrain: bool | int = True,
        device: str = "auto",
        verbose: bool | None = None,
    ) -> Rolled:
        """What would have been forecast at past cutoffs, beside what happened.

        Parameters
        ----------
        windows, step : cutoffs, and rows between them; default: the horizon.
        retrain : train anew, once, on the rows before the first cutoff, with the settings that
            this one was given. False: ask this forecaster as it is, which is only fair for rows
            that it was not trained on. A number n: beside the one that was trained once, one that
            is trained anew at every n-th cutoff, on all that was known there (``refitted``).

        Returns
        -------
        Rolled : ``.scores()``, ``.table`` and more, in the kind of ``df``. Its models are
            ``forecaster`` and, as a yardstick, ``seasonal_naive``.

        Raises
        ------
        DataError : histories too short for the first cutoff; TrainingError : as `fit`.
        """
        panel, horizon = self.panel_of(df, static=static, future=future), self.config.horizon
        windows, rows = whole_steps(windows), whole_steps(horizon if step is None else step)
        if windows < 1 or rows < 1:
            raise DataError(f"windows = {windows}, step = {rows}: both must be 1 or more")
        first = horizon + (windows - 1) * rows
        if not (panel.lengths > first).any():
            raise DataError(
                f"no series has more than {first} rows, which {windows} windows of {horizon} "
                f"steps, {rows} apart, need; ask for fewer windows"
            )
        engine, again = self, None if isinstance(retrain, bool) else whole_steps(retrain)
        if retrain or again is not None:
            config = (self.asked or self.config).replace(freq=self.config.freq)
            past = panel.truncate(first)
            with Bar(verbose, config.training.members) as bar:
                engine = self.train(past, config, on_epoch=bar, device=device)
        levels, season = self.config.model.quantile_levels, self.config.season
        models: dict[str, Model] = {
            "forecaster": partial(engine.predict_panel, horizon=horizon, quantiles=levels),
            "seasonal_naive": partial(
                seasonal_naive, horizon=horizon, season=season, levels=levels
            ),
        }
        if again is not None:

            def train(known: Panel) -> Model:
                fitted = self.train(known, config, device=device)
                return partial(fitted.predict_panel, horizon=horizon, quantiles=levels)

            models["refitted"] = Refitted(train, again)
        result = backtest(
            panel, models, horizon=horizon, season=season, windows=windows, step=rows,
            levels=levels,
        )  # fmt: skip
        return Rolled.of(result, df)

    def summary(self) -> str:
        """What this forecaster is, in some lines: networks, what it reads, scores, its training."""
        return summary.as_text(str(self), summary.facts(self, self.fitted))

    def __repr__(self) -> str:
        config = self.config
        return f"Forecaster(horizon={config.horizon}, freq={config.freq!r})"

    def _repr_html_(self) -> str:
        return summary.as_html(str(self), summary.facts(self, self.fitted))

    def encode(self, panel: Any, *, static: Tabular | None = None) -> State:
        """The state after reading every row of a panel or long table.

        See `forecasting.streaming.reading`.
        """
        if not isinstance(panel, Panel):
            panel = self.panel_of(panel, static=static)
        return reading.encode(self, panel)

    def update(self, state: State, new_rows: Tabular, *, future: Tabular | None = None) -> State:
        """The state after some more rows, at a cost that does not grow with the history."""
        moved = reading.update(self, state, as_pandas(new_rows), future=as_pandas(future))
        self.say_odd(moved.panel)
        return moved

    def save(
        self,
        path: str | Path,
        *,
        metrics: Mapping[str, Any] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write a bundle folder: all of it, or nothing.

        ``metrics`` and ``extra`` (lineage and the like) are kept in the manifest.
        """
        return saving.save(self, path, metrics=metrics, extra=extra)

    @classmethod
    def load(cls, path: str | Path, *, device: str = "cpu", trusted: bool = False) -> Self:
        """Open a bundle with torch; `BundleError` says what is wrong with it.

        Where ``GATECAST_KEY_RING`` names a ring the bundle must be signed by a key in it, unless
        it is ``trusted``: made here, or checked before.
        """
        return cls._of(saving.load(path, trusted=trusted)).to(str(pick_device(device)))

    @staticmethod
    def zero() -> Zero:
        """The pretrained network: forecasts any table with no training; see docs/zero.md."""
        return Zero.load()

    @classmethod
    def _trained_on(
        cls, panel: Panel, ensemble: Ensemble, asked: ForecasterConfig | None, seconds: float
    ) -> Self:
        """What training made, with how long it took, and enough of the panel for a picture."""
        forecaster = cls._of(ensemble)
        seasons = fans.SEASONS * forecaster.config.season
        rows = max(forecaster.context, fans.HORIZONS * forecaster.config.horizon, seasons)
        forecaster.asked = asked
        forecaster.fitted = {
            "seconds": round(seconds, 3),
            "series": len(panel),
            "rows": panel.rows,
            "until": float(panel.last.max().astype(np.int64)),
        }
        first = panel.select(np.arange(min(KEPT_TO_DRAW, len(panel))))
        forecaster._kept = first.tail(rows).under(forecaster.schema)
        return forecaster

    @classmethod
    def _of(cls, ensemble: Ensemble) -> Self:
        """The same networks and facts behind this door."""
        return cls(
            config=ensemble.config,
            schema=ensemble.reads,
            networks=ensemble.networks,
            correction=ensemble.correction,
            dependence=ensemble.dependence,
            history=ensemble.history,
            fitted=ensemble.fitted,
            choice=ensemble.choice,
        )
