"""Batch forecasts by the network that comes with Gatecast: nothing trained, nothing registered."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from forecasting.data.forecast import Forecast
from forecasting.data.panel import Panel
from forecasting.errors import ConfigError
from forecasting.prediction.odd import equal_values, said_of
from forecasting.schema import Schema
from forecasting.zero.decoding import Way
from forecasting.zero.predictor import FORMAT, LONGEST_HORIZON, Zero
from forecasting.zero.still import Usual
from pipelines.config import ExperimentConfig
from pipelines.data.prepare import prepare
from pipelines.forecasts.forecast import BatchForecast, job_of, write
from pipelines.forecasts.job import Maker
from pipelines.forecasts.targets import default_output, target_of
from pipelines.machine.say import Say, silent
from pipelines.machine.state import locked

NAME: Final = "zero"  # of the model, as `gatecast serve` has it


class Pretrained:
    """The network on one panel: which season it is read with, and how far its series move, is
    found once, for all of it.

    Attributes
    ----------
    version : of the weights' format. digest : of the weights, and of how they read the panel.
    """

    version: Final = FORMAT

    def __init__(self, zero: Zero, way: Way, usual: Usual) -> None:
        self.zero, self.way, self.usual = zero, way, usual
        text = f"{zero.card['sha256']} {way} {usual}"
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def reading(cls, panel: Panel, config: ExperimentConfig) -> Pretrained:
        """The network as it reads a panel under an experiment's horizon and season."""
        if config.horizon > LONGEST_HORIZON:
            raise ConfigError(
                f"horizon = {config.horizon} is beyond {LONGEST_HORIZON}, the most that {NAME} "
                "forecasts; ask for less, or of a longer step"
            )
        zero = Zero.load()
        way = zero.way_of(panel, config.horizon, season=config.season)
        return cls(zero, way, Usual.of(panel))

    def predict_panel(self, panel: Panel, *, horizon: int, quantiles: Sequence[float]) -> Forecast:
        """Forecast some series of the panel."""
        return self.zero.predict_panel(
            panel, horizon, way=self.way, usual=self.usual, quantiles=quantiles
        )


def forecast_pretrained(
    config: ExperimentConfig,
    *,
    data: str | None = None,
    out: str | None = None,
    table: str | None = None,
    say: Say = silent,
) -> BatchForecast:
    """Forecast every series from its end; no store is asked or written to.

    Parameters
    ----------
    data, out, table : as `pipelines.forecasts.forecast.forecast` takes them.

    Raises
    ------
    GatecastError : data that cannot be read, a horizon that cannot be, an output that cannot be
        written.
    """
    began = time.monotonic()
    if config.forecast.joint is not None:
        raise ConfigError(
            f"{NAME} forecasts each series by itself: paths, totals and hierarchies "
            "(forecast.joint) are made by models that were trained"
        )
    output = out or config.forecast.output or default_output(NAME)
    target = target_of(output, table or config.forecast.table)
    if data is not None:
        config = config.model_copy(update={"data": config.data.replace(source=data)})
    prepared = prepare(config, every_series=True)
    for line in prepared.said:
        say(line)
    panel = prepared.panel.under(Schema())
    network = Pretrained.reading(panel, config)
    say(f"the pretrained network, read with season {network.way.season}")
    for line in said_of(equal_values(panel), panel.ids):
        say(line)
    maker = Maker(NAME, network.version, "", network.digest)
    lock = hashlib.sha256(target.name.encode()).hexdigest()[:16]
    with locked(f"forecast-{lock}", wait=1.0):
        job = job_of(maker, panel, config.horizon, config.forecast.levels)
        written = write(network, panel, job, target, say=say)
    return replace(written, seconds=time.monotonic() - began)
