"""A forecaster's settings with nothing left to be chosen from the data.

:func:`forecasting.training.defaults.resolve` makes them from a panel, a bundle keeps them, and all
that trains or forecasts takes them. What may still be None here says "off" (a bound on gradients,
patience) or is left to the machine (threads, members at once, graphs). Imports no torch.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from forecasting.config import Classical, ForecasterConfig, ModelConfig, TrainingConfig
from forecasting.settings import Positive, Share
from forecasting.transforms import TRANSFORMS, Transform

Amount = Annotated[float, Field(ge=0.0)]


class ResolvedModel(ModelConfig):
    """The network as it is built; see `ModelConfig` for what each setting is."""

    dropout: Annotated[float, Field(ge=0.0, lt=1.0)]
    embedding: bool
    segment: Positive
    window: Positive
    steps: Positive
    lags: tuple[Positive, ...]
    calendar: bool
    cycle: Annotated[int, Field(ge=0)]
    transform: str
    level: Literal["mean", "last"]
    spread: Literal["mad", "none"]
    scale_window: Positive
    usual_spread: tuple[float, float]
    nonnegative: bool
    strides: tuple[int, ...]
    blend: Share
    pool: dict[Classical, Share]
    pool_rows: Positive

    @cached_property
    def y_transform(self) -> Transform:
        """The function of y that the network reads."""
        return TRANSFORMS[self.transform]


class ResolvedTraining(TrainingConfig):
    """The training as it is done; see `TrainingConfig` for what each setting is."""

    start: Literal["none", "shipped", "tuned"]
    max_steps: Positive
    batch_size: Positive
    weight_decay: Amount
    linear_mix: tuple[Literal["trained", "solved"], ...]
    validation_windows: Positive
    epoch_steps: Positive
    noise: Amount


class Resolved(ForecasterConfig):
    """All there is to know to train a forecaster, and to forecast with it."""

    freq: str
    season: Positive
    model: ResolvedModel
    training: ResolvedTraining

    @classmethod
    def plainest(cls, config: ForecasterConfig) -> Self:
        """With what is None at the value that does least: as if the setting did not exist.

        Bundles of an earlier gatecast hold None where a setting came later; those networks were
        trained without.
        """
        values = config.model_dump(exclude_unset=True)
        window = config.model.window or 1
        least = {
            "model": {**MODEL_WITHOUT, "scale_window": window, "embedding": window > 1},
            "training": TRAINING_WITHOUT,
        }
        for group, settings in least.items():
            section = values.setdefault(group, {})
            for name, value in settings.items():
                if section.get(name) is None:
                    section[name] = value
        for name, value in (("freq", "step"), ("season", 1)):
            if values.get(name) is None:
                values[name] = value
        return cls.parse(values)


# What a setting is where it did not exist.
MODEL_WITHOUT: dict[str, Any] = {
    "dropout": 0.0,
    "segment": 1,
    "window": 1,
    "steps": 1,
    "lags": (),
    "calendar": False,
    "cycle": 0,
    "transform": "identity",
    "level": "mean",
    "spread": "mad",
    "usual_spread": (0.0, 1.0),
    "nonnegative": False,
    "strides": (),
    "blend": 0.0,
    "pool": {},
    "pool_rows": 1,
}
TRAINING_WITHOUT: dict[str, Any] = {
    "start": "none",
    "max_steps": 1,
    "batch_size": 64,
    "weight_decay": 0.0,
    "linear_mix": (),
    "validation_windows": 1,
    "epoch_steps": 50,
    "noise": 0.0,
}
