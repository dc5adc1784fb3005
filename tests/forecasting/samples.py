"""Small panels, settings and networks that the tests of the forecasting core share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from forecasting.config import ForecasterConfig
from forecasting.data.calendar import Frequency, calendar_names
from forecasting.data.panel import Panel
from forecasting.forecaster import Forecaster
from forecasting.networks import ForecastNetwork
from forecasting.prediction.predictor import Predictor
from forecasting.resolved import Resolved
from forecasting.schema import Covariate, Schema
from forecasting.streaming import reading
from forecasting.windows.training import Windows

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9)
CELLS = ("lstm", "gru", "rnn", "layer_norm_lstm")

_COVARIATES = {
    "past": (
        Covariate(name="temp", role="past", mean=10.0, std=4.0),
        Covariate(name="kind", role="past", type="categorical", categories=("a", "b", "c")),
    ),
    "future": (
        Covariate(name="promo", role="future", mean=0.5, std=0.5),
        Covariate(name="holiday", role="future", type="categorical", categories=("x", "y")),
    ),
    "static": (
        Covariate(name="size", role="static", mean=3.0, std=1.0),
        Covariate(
            name="region",
            role="static",
            type="categorical",
            encoding="onehot",
            categories=("n", "s"),
        ),
    ),
}
MIXES = {
    "none": Schema(),
    "past": Schema(covariates=_COVARIATES["past"]),
    "future": Schema(covariates=_COVARIATES["future"]),
    "static": Schema(covariates=_COVARIATES["static"]),
    "all": Schema(covariates=sum(_COVARIATES.values(), ())),
}


def settings(**options: Any) -> Resolved:
    """A configuration with nothing left open, small enough to train in a moment."""
    return Resolved.plainest(asked(**options))


def asked(
    *,
    horizon: int = 3,
    season: int = 4,
    freq: str = "D",
    model: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    calibrate: bool = False,
) -> ForecasterConfig:
    """The same as a user would ask for it: what is not named here is left to the rules."""
    values: dict[str, Any] = {
        "hidden_size": 6,
        "layers": 2,
        "segment": 1,
        "window": 5,
        "steps": 4,
        "scale_window": 7,
        "lags": (),
        "calendar": False,
        "cycle": 0,
        "transform": "identity",
        "level": "mean",
        "spread": "mad",
        "quantile_levels": LEVELS,
        "samples": 20,
        "embedding_size": 2,
        "dropout": 0.0,
        "blend": 0.0,
        "pool": {},
        "pool_rows": 16,
    }
    training_values: dict[str, Any] = {
        "max_steps": 5,
        "batch_size": 8,
        "epoch_steps": 5,
        "threads": 1,
        "validation": "none",
        "loss": {"mae": 0.0},
    }
    return ForecasterConfig.parse(
        {
            "horizon": horizon,
            "season": season,
            "freq": freq,
            "calibrate": calibrate,
            "model": {**values, **(model or {})},
            "training": {**training_values, **(training or {})},
        }
    )


def make_panel(
    lengths: list[int],
    *,
    seed: int = 0,
    schema: Schema | None = None,
    horizon: int = 3,
    freq: str = "D",
    missing: float = 0.0,
    positive: bool = False,
    tz: str | None = None,
) -> Panel:
    """Random walks with a season of four steps, and random covariates."""
    schema = schema or Schema()
    rng = np.random.default_rng(seed)
    sizes = np.array(lengths)
    rows, count = int(sizes.sum()), len(sizes)
    ahead = sizes + horizon
    y = np.concatenate(
        [
            20.0 * rng.normal()
            + rng.normal(size=n).cumsum()
            + 3.0 * np.sin(np.arange(n) * np.pi / 2.0)
            for n in lengths
        ]
    )
    if positive:
        y = np.exp(y / 40.0) * 50.0
    if missing:
        gone = rng.random(rows) < missing
        # The last value stays, so that every series can be forecast.
        gone[np.cumsum(sizes) - 1] = False
        y = np.where(gone, np.nan, y)

    def column(covariate: Covariate, size: int) -> Any:
        if covariate.type == "categorical":
            return rng.choice(np.array(covariate.categories, dtype=object), size)
        return covariate.mean + covariate.std * rng.normal(size=size)

    step = Frequency.parse(freq)
    first: Any = 1 if step.integer else np.datetime64("2024-01-01T00:00:00", "us")
    if step.end:
        first = step.shift(np.array([first]), 0)[0]
    return Panel.from_arrays(
        [f"s{i}" for i in range(count)],
        y,
        sizes,
        np.array([first] * count),
        step,
        schema=schema,
        tz=tz,
        past={c.name: column(c, rows) for c in schema.past},
        future={c.name: column(c, int(ahead.sum())) for c in schema.future},
        future_sizes=ahead,
        static={c.name: column(c, count) for c in schema.static},
    )


def untrained(
    config: Resolved, schema: Schema | None = None, *, seed: int = 0, members: int = 1
) -> Forecaster:
    """A forecaster of random weights, none of them zero: every path from input to output acts."""
    schema = schema or Schema()
    columns = len(calendar_names(Frequency.parse(config.freq or "step")))
    networks = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(members):
            network = ForecastNetwork(config, schema, columns if config.model.calendar else 0)
            with torch.no_grad():
                for parameter in network.parameters():
                    parameter.add_(0.2 * torch.randn_like(parameter))
            networks.append(network.eval().requires_grad_(False))
    return Forecaster(config=config, schema=schema, networks=networks)


def with_y(panel: Panel, y: np.ndarray) -> Panel:
    """The same panel with other values of y."""
    return replace(panel, y=np.asarray(y, dtype=np.float64))


def quantiles(forecaster: Any, panel: Panel, **options: Any) -> np.ndarray:
    """[N, h, Q] at the test's levels."""
    return np.asarray(forecaster.predict_panel(panel, quantiles=LEVELS, **options).quantiles)


def seasonal_frame(
    series: int = 3, rows: int = 60, freq: str = "D", start: str = "2024-01-01", seed: int = 0
) -> pd.DataFrame:
    """A long frame of seasonal series of different levels."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": pd.date_range(start, periods=rows, freq=freq),
                "y": 10.0 * (i + 2)
                + 3.0 * np.sin(2 * np.pi * np.arange(rows) / 7)
                + rng.normal(size=rows),
            }
        )
        for i in range(series)
    ]
    return pd.concat(parts, ignore_index=True)


def same_weights(a: Forecaster, b: Forecaster) -> bool:
    """Whether two forecasters hold the same numbers, member by member."""
    return all(
        torch.equal(x, y)
        for n, m in zip(a.networks, b.networks, strict=True)
        for x, y in zip(n.state_dict().values(), m.state_dict().values(), strict=True)
    )


def course_of_loss(cell: str, precision: str, device: str) -> list[float]:
    """The mean loss of each ten of sixty steps of one training."""
    from forecasting.forecaster import Forecaster

    config = settings(
        model={"cell": cell, "hidden_size": 16},
        training={"precision": precision, "max_steps": 60, "epoch_steps": 10, "batch_size": 32},
    )
    history = Forecaster.train(make_panel([60, 50]), config, device=device).history
    return [row["train_loss"] for row in history]


def forecasts_of_every_engine(forecaster: Forecaster, panel: Panel, path: Path) -> list[np.ndarray]:
    """[N, H, Q] of the networks themselves, loaded again, by ONNX Runtime and from states.

    From so many rows that a window holds the first of them too.
    """
    panel = panel.tail(forecaster.geometry.steps * forecaster.geometry.segment)
    forecaster.save(path / "bundle")
    engines = (
        forecaster,
        Forecaster.load(path / "bundle"),
        Predictor.load(path / "bundle"),
    )
    streamed = reading.forecast(forecaster, forecaster.encode(panel), quantiles=LEVELS)
    return [*(quantiles(engine, panel) for engine in engines), np.asarray(streamed.quantiles)]


def draw_on_a_small_device(most: int) -> Callable[..., dict[str, Tensor]]:
    """`Windows.draw` where memory holds no batch of more than so many windows."""
    draw = Windows.draw

    def small_device(self: Windows, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return draw(self, size, generator)

    return small_device
