"""`Forecaster`: fit, predict, save, load; the one door of this package.

What is trained, judged, streamed and saved is an `Ensemble`; the rooms below know only that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from forecasting.config import ForecasterConfig
from forecasting.data.panel import Panel
from forecasting.data.tables import need_frame, say_left_aside
from forecasting.ensemble import Ensemble
from forecasting.errors import DataError
from forecasting.hardware.devices import pick_device
from forecasting.hardware.side_by_side import OnEpoch
from forecasting.prediction.engine import whole_steps
from forecasting.saving import save as saving
from forecasting.streaming import reading
from forecasting.streaming.state import State
from forecasting.zero.predictor import Zero

if TYPE_CHECKING:
    import pytorch_lightning as pl


class Forecaster(Ensemble):
    """An ensemble of trained members that people hold: it is fitted, asked, saved and loaded."""

    @classmethod
    def fit(
        cls,
        df: pd.DataFrame,
        *,
        horizon: int,
        freq: str | None = None,
        static: pd.DataFrame | None = None,
        past: Sequence[str] = (),
        future: Sequence[str] = (),
        categorical: Sequence[str] = (),
        config: ForecasterConfig | dict[str, Any] | None = None,
        members: int | None = None,
        seed: int | None = None,
        device: str = "auto",
    ) -> Self:
        """Train on a long table ``unique_id, ds, y`` and covariates.

        Parameters
        ----------
        horizon : steps to forecast. freq : pandas alias; inferred when not given.
        static : one row per series, columns beside ``unique_id``. past, future : columns of
            ``df`` known up to the cutoff, and over the horizon too. categorical : which of all
            these are categories although they are numbers; text always is.
        config : settings, or a dict of them; whatever is left open is chosen from the data.

        Raises
        ------
        DataError, ConfigError, TrainingError.
        """
        need_frame(df, "df")
        horizon = whole_steps(horizon)
        if not isinstance(config, ForecasterConfig):
            config = ForecasterConfig.parse({**(config or {}), "horizon": horizon})
        changes: dict[str, Any] = {"horizon": horizon}
        if freq is not None:
            changes["freq"] = freq
        chosen = {"members": members, "seed": seed}
        chosen = {key: value for key, value in chosen.items() if value is not None}
        config = config.replace(**changes, **({"training": chosen} if chosen else {}))
        panel = Panel.from_frame(
            df, freq=config.freq, static=static, past=past, future=future, categorical=categorical
        )
        say_left_aside(df, [*past, *future, *(static.columns if static is not None else ())])
        return cls.train(panel, config, device=device)

    @classmethod
    def train(
        cls,
        panel: Panel,
        config: ForecasterConfig,
        *,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: OnEpoch | None = None,
        device: str = "auto",
    ) -> Self:
        """Train on a panel; see `forecasting.training.fit.fit`."""
        # Lightning takes seconds to import, and who only forecasts needs none.
        from forecasting.training import fit as training

        return cls._of(
            training.fit(panel, config, callbacks=callbacks, on_epoch=on_epoch, device=device)
        )

    def refit(
        self,
        panel: Panel,
        *,
        backs: Sequence[int],
        steps: int | None = None,
        callbacks: Sequence[pl.Callback] = (),
        on_epoch: OnEpoch | None = None,
        device: str = "auto",
    ) -> Self:
        """Another forecaster with these settings, trained on every row of a panel.

        See `forecasting.training.fit.refit`.
        """
        from forecasting.training import fit as training

        return self._of(
            training.refit(
                self,
                panel,
                backs=backs,
                steps=steps,
                callbacks=callbacks,
                on_epoch=on_epoch,
                device=device,
            )
        )

    def predict(
        self,
        df: pd.DataFrame | None = None,
        *,
        future: pd.DataFrame | None = None,
        static: pd.DataFrame | None = None,
        horizon: int | None = None,
        quantiles: Sequence[float] = (0.1, 0.5, 0.9),
        extend: bool = False,
        state: State | None = None,
    ) -> pd.DataFrame:
        """Forecast a long table, or from a ``state`` that has read it.

        See `Engine.predict`. With a state (of `encode` or `update`) neither ``df`` nor ``static``
        is given; the state holds them. ``extend`` needs the table.
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
            self, state, future=future, horizon=horizon, quantiles=quantiles
        )
        if forecast.problems:
            first = forecast.problems[0]
            raise DataError(
                f"{len(forecast.problems)} of {len(state.ids)} series cannot be forecast; "
                f"first: series {first.id!r}: {first.detail}"
            )
        return forecast.to_frame()

    def encode(self, panel: Panel | pd.DataFrame, *, static: pd.DataFrame | None = None) -> State:
        """The state after reading every row of a panel or long table.

        See `forecasting.streaming.reading`.
        """
        if not isinstance(panel, Panel):
            panel = Panel.from_frame(panel, freq=self.freq, static=static, schema=self.schema)
        return reading.encode(self, panel)

    def update(
        self, state: State, new_rows: pd.DataFrame, *, future: pd.DataFrame | None = None
    ) -> State:
        """The state after some more rows, at a cost that does not grow with the history."""
        return reading.update(self, state, new_rows, future=future)

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
    def _of(cls, ensemble: Ensemble) -> Self:
        """The same networks and facts behind this door."""
        return cls(
            config=ensemble.config,
            schema=ensemble.schema,
            networks=ensemble.networks,
            correction=ensemble.correction,
            history=ensemble.history,
            swing=ensemble.swing,
        )
