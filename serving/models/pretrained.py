"""The network that comes with Gatecast, served as a model that needs no training and no registry.

It has no frequency and no horizon of its own: a request says both. Its weights are part of the
installation and checked by their hash; nothing is fetched, and there is no alias to follow.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import Any, ClassVar, Final, Self

import numpy as np

from forecasting.arrays import Array
from forecasting.data.calendar import Frequency
from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import GatecastError
from forecasting.schema import Schema
from forecasting.zero.patches import LONGEST_SEASON, Patches
from forecasting.zero.predictor import FORMAT, LONGEST_HORIZON, Zero
from serving.errors import Faults, show
from serving.models.batcher import SMALL, AbandonedError
from serving.models.registry import Version
from serving.reading.query import Limits, Query, Spec
from serving.reading.together import JOINT_KEYS
from serving.running import logs
from serving.running.metrics import Metrics
from serving.settings import ServingSettings
from serving.writing.answer import Origin
from serving.writing.joint import Together

NAME: Final = "zero"
# What a request says to it, and to no trained model.
OWN_KEYS: Final = frozenset({"freq", "season"})
# Rules of a frequency may be long; counts of steps beyond this reach out of the calendar.
LONGEST_FREQ: Final = 200
LARGE_COUNT: Final = re.compile(r"\d{6}")
# Steps and season that the time of a batch is measured with.
MEASURED_ROWS, MEASURED_HORIZON, MEASURED_SEASON = 256, 24, 12


@dataclass(frozen=True)
class Pretrained:
    """The network in memory; `reading` makes of it what one request asks."""

    # Which season a request is read with hangs on all of its series.
    alone: ClassVar[bool] = True

    zero: Zero
    spec: Spec
    origin: Origin
    heavy: bool
    batch_seconds: float
    version: Version
    loaded_at: float
    season: int | None = None

    @classmethod
    def load(cls, settings: ServingSettings) -> Pretrained:
        """Open the weights; `BundleError` says what is wrong with them."""
        zero = Zero.load()
        draw = np.random.default_rng(0)
        y = draw.standard_normal(SMALL * MEASURED_ROWS)
        sizes, freq = np.full(SMALL, MEASURED_ROWS), Frequency.parse("step")
        panel = Panel.from_arrays(
            np.arange(SMALL), y, sizes, np.zeros(SMALL, np.int64), freq, schema=Schema()
        )
        began = time.perf_counter()
        zero.predict_panel(panel, MEASURED_HORIZON, season=MEASURED_SEASON)
        return cls(
            zero=zero,
            spec=Spec(
                freq,
                Schema(),
                min(LONGEST_HORIZON, settings.max_horizon),
                Limits.of(settings),
                looked_at=sys.maxsize,
            ),
            origin=Origin(NAME, FORMAT, None, LONGEST_HORIZON),
            heavy=True,
            batch_seconds=time.perf_counter() - began,
            version=Version(NAME, FORMAT, None, str(zero.folder)),
            loaded_at=time.time(),
        )

    def reading(self, asked: Mapping[str, Any], begin: Any) -> tuple[Pretrained, dict[str, Any]]:
        """The network under a request's frequency and season, and the request without them.

        Parameters
        ----------
        begin : the first stamp of the first series: a whole number says its own frequency.

        Raises
        ------
        RequestError : 422 naming what is missing, wrong, or beyond it.
        """
        faults = Faults()
        for key in sorted(asked.keys() & JOINT_KEYS):
            detail = (
                f"{NAME} forecasts each series by itself: paths, totals and hierarchies are made "
                "by models that were trained"
            )
            faults.add((key,), "trained_only", detail)
        freq, season = self._freq(asked, begin, faults), _season(asked, faults)
        _check_horizon(asked, self.spec.horizon, faults)
        faults.stop()
        rest = {key: value for key, value in asked.items() if key not in OWN_KEYS}
        return replace(self, spec=replace(self.spec, freq=freq), season=season), rest

    def _freq(self, asked: Mapping[str, Any], begin: Any, faults: Faults) -> Frequency:
        text = asked.get("freq")
        if text is None and type(begin) is int:
            return self.spec.freq
        if text is None:
            detail = (
                f'is needed by {NAME}, which has none of its own: the step of the series, as "h", '
                '"D" or "MS"'
            )
            faults.add(("freq",), "missing", detail)
        elif type(text) is not str or len(text) > LONGEST_FREQ or LARGE_COUNT.search(text):
            detail = f'must be a frequency such as "h", "15min" or "MS", not {show(text)}'
            faults.add(("freq",), "wrong_type", detail)
        else:
            try:
                return Frequency.parse(text)
            except GatecastError as error:
                faults.add(("freq",), "out_of_range", str(error))
        return self.spec.freq

    def seconds_of(self, count: int, horizon: int) -> float:
        """An estimate of the time that so many series and steps take, with ways to read tried."""
        steps = 1.0 + horizon / MEASURED_HORIZON / 8.0
        return self.batch_seconds * steps * max(1.0, count / SMALL)

    def until(self, stop: Event) -> Self:
        """The same network, whose work ends at its next run once ``stop`` is set."""
        network = self.zero.network

        def run(patches: Patches, last: int) -> tuple[Array, Array, Array]:
            if stop.is_set():
                raise AbandonedError
            return network(patches, last)

        return replace(self, zero=Zero(run, self.zero.card, self.zero.folder))

    def forecast(self, query: Query) -> tuple[Forecast, Together | None]:
        """What `Servable.forecast` is for trained models."""
        options = query.options
        forecast = self.zero.predict_panel(
            query.panel(self.spec), options.horizon, season=self.season, quantiles=options.levels
        )
        return forecast, None

    def nothing(self, query: Query) -> Together | None:
        """What is told of all series together where none has a forecast: nothing is asked."""
        return None


class Included:
    """What `Keeper` is for trained models: `current` answers from the start and never changes."""

    def __init__(self, settings: ServingSettings, metrics: Metrics) -> None:
        self.name, self.settings, self.metrics = NAME, settings, metrics
        self.current: Pretrained | None = None
        self.problem: str | None = None

    def refresh(self, *, patient: bool = False) -> bool:
        """Open the weights where that was not done; True when they answer since now."""
        if self.current is not None:
            return False
        try:
            self.current = Pretrained.load(self.settings)
        except GatecastError as error:
            if self.problem is None:
                logs.warning("the pretrained network cannot be opened", reason=str(error))
            self.problem = str(error)
            raise
        self.problem = None
        self.metrics.version.labels(NAME).set(self.current.version.number)
        self.metrics.loaded.labels(NAME).set(self.current.loaded_at)
        return True

    def nudge(self) -> None:
        """There is no alias to look at."""

    def prefetch(self, alias: str) -> None:
        """There is nothing to fetch."""

    def nudges(self) -> tuple[int, int]:
        """Nobody nudges."""
        return 0, 0


def first_stamp(asked: Mapping[str, Any]) -> Any:
    """Of the first series of a JSON request, whatever it is; None where there is none."""
    series = asked.get("series")
    if type(series) is list and series and type(series[0]) is dict:
        return series[0].get("start")
    start = asked.get("start")
    return start[0] if type(start) is list and start else start


def _season(asked: Mapping[str, Any], faults: Faults) -> int | None:
    season = asked.get("season")
    if season is None:
        return None
    if type(season) is not int:
        detail = f"must be a whole number of steps, 1 for none, not {show(season)}"
        faults.add(("season",), "wrong_type", detail)
    elif not 1 <= season <= LONGEST_SEASON:
        detail = f"must lie within 1 (none) and {LONGEST_SEASON} steps, not {season}"
        faults.add(("season",), "out_of_range", detail)
    else:
        return season
    return None


def _check_horizon(asked: Mapping[str, Any], most: int, faults: Faults) -> None:
    horizon = asked.get("horizon")
    if horizon is None:
        detail = f"is needed by {NAME}, which has none of its own: steps ahead, up to {most}"
        faults.add(("horizon",), "missing", detail)
    elif type(horizon) is int and horizon > most:
        detail = f"{horizon} is beyond {most}, the most that {NAME} forecasts here"
        faults.add(("horizon",), "horizon_too_long", detail)
