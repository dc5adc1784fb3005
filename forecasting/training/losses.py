"""Training losses: pinball, likelihoods and point terms, averaged over what was observed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from forecasting.errors import ConfigError
from forecasting.networks.heads import HEADS, Head
from forecasting.networks.output import Output
from forecasting.resolved import Resolved
from forecasting.windows.batch import Batch
from forecasting.windows.geometry import Geometry
from forecasting.windows.prediction import takes_unit

# An origin's own spread may vanish; its errors are measured in at least this share of the
# series' typical seasonal difference, so that no quiet stretch outweighs all else.
SPREAD_SHARE = 0.2
# Logs beyond this are clipped before they are turned back, so that float32 holds what they become.
FURTHEST = 60.0


@dataclass(frozen=True)
class Residuals:
    """What a term of the loss is told of forecasts and what came; [B, O, H] where nothing is said.

    Attributes
    ----------
    target : conditioned values. scaled : the same about each origin's level, over its scale.
    share : [B, O, 1] how much an error in units of the scale counts, at most 1.
    """

    output: Output
    batch: Batch[Tensor]
    config: Resolved
    target: Tensor
    scaled: Tensor
    share: Tensor

    @property
    def head(self) -> type[Head]:
        """What the parameters mean."""
        return HEADS[self.config.model.head]

    @cached_property
    def point(self) -> Tensor:
        """The median, location or mean, about the level and over the scale."""
        return self.head.point(self.output.params)

    @cached_property
    def error(self) -> Tensor:
        """What came less the point, in units of the scale, by its share."""
        return (self.scaled - self.point) * self.share

    def original(self) -> tuple[Tensor, Tensor]:
        """What came and the point, in original units."""
        unit, centre = self.of_series("unit"), self.of_series("centre")
        both = (self.target, self.conditioned_point)
        y, point = (_original(v * unit + centre, self.config) for v in both)
        return y, point

    @cached_property
    def conditioned_point(self) -> Tensor:
        """The point beside ``target``."""
        return self.point * self.output.scale + self.output.level

    def of_series(self, name: Literal["unit", "centre", "loss_unit", "mase_unit"]) -> Tensor:
        """[B, 1, 1] an entry of the batch that has one value per series."""
        return self.batch[name][:, None, None]


def training_loss(
    output: Output, batch: Batch[Tensor], config: Resolved, total: Tensor | None = None
) -> Tensor:
    """The weighted sum of the configured terms, a scalar.

    Each origin counts by the observed values among its H targets; origins outside ``valid``
    count nothing.

    Parameters
    ----------
    total : what the sum over targets is divided by; None: the number of them that count.
    """
    target, weight = targets(output, batch, Geometry.of(config))
    weight = weight / (weight.sum() if total is None else total).clamp(min=1.0)
    scaled = (target - output.level) / output.scale
    if takes_unit(config):
        share = spread_share(output.scale, batch)
    else:
        share = torch.ones_like(output.scale)
    residuals = Residuals(output, batch, config, target, scaled, share)
    loss = target.new_zeros(())
    for name, factor in weights_of(config).items():
        loss = loss + factor * (TERMS[name](residuals) * weight).sum()
    return loss


def weights_of(config: Resolved) -> dict[str, float]:
    """The terms that count, and by how much; in the order of `TERMS`.

    Of `pinball` and `likelihood` the one that scores the head. Where nothing would count, a head
    that neither scores is scored by the absolute error of its point.

    Raises
    ------
    ConfigError : a weight of a term that there is none of, or no weight at all.
    """
    loss, scored_by = config.training.loss, HEADS[config.model.head].scored_by
    unknown = [name for name in loss.more if name not in TERMS]
    if unknown:
        raise ConfigError(
            f"training.loss.more.{unknown[0]}: there is no such term of the loss; "
            f"there are {', '.join(TERMS)}"
        )
    terms = {**loss.model_dump(exclude={"more"}), **loss.more}
    weights = {
        name: terms[name]
        for name in TERMS
        if terms.get(name) and (name == scored_by or name not in OF_HEADS)
    }
    if weights or scored_by is None:
        return weights or {"mae": 1.0}
    raise ConfigError(
        f"training.loss: all weights are 0, so there is nothing to learn from; give {scored_by}, "
        "or a term of the point such as mae, a weight"
    )


def targets(output: Output, batch: Batch[Tensor], geometry: Geometry) -> tuple[Tensor, Tensor]:
    """The H values after each origin, and 1 where one is observed and the origin is valid.

    Returns
    -------
    target, weight : [B, O, H'] with H' the steps the output covers.
    """
    return following(output.origins, output.params.shape[2], batch, geometry)


def following(
    origins: Tensor, steps: int, batch: Batch[Tensor], geometry: Geometry
) -> tuple[Tensor, Tensor]:
    """The ``steps`` values after each of the recurrent steps ``origins`` [O]; see `targets`."""
    ends = origins * geometry.segment + geometry.reach
    index = ends[:, None] + torch.arange(steps, device=ends.device)
    valid = batch["valid"][:, origins, None]
    return batch["y"][:, index], batch["mask"][:, index] * valid


def counted(origins: int, steps: int, batch: Batch[Tensor], geometry: Geometry) -> Tensor:
    """How many targets count, of the first so many origins of all windows: a scalar."""
    ends = torch.arange(origins, device=batch["mask"].device) * geometry.segment + geometry.reach
    up_to = functional.pad(batch["mask"].cumsum(1), (1, 0))
    return ((up_to[:, ends + steps] - up_to[:, ends]) * batch["valid"]).sum()


def spread_share(spread: Tensor, batch: Batch[Tensor]) -> Tensor:
    """[B, O, 1] weights, at most 1, of errors measured in each origin's ``spread`` [B, O, 1]."""
    return spread / torch.maximum(spread, SPREAD_SHARE * batch["loss_unit"][:, None, None])


def pinball(target: Tensor, quantiles: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Twice the pinball loss, averaged over levels: [...]; at the median it is |error|."""
    tau = _constant(levels, target.dtype, target.device)
    error = target[..., None] - quantiles
    return 2.0 * torch.maximum(tau * error, (tau - 1.0) * error).mean(-1)


@cache
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Values on a device, sent there once: each time would wait for it."""
    # What is made while a loss is only looked at must also serve training.
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def _pinball(residuals: Residuals) -> Tensor:
    levels = residuals.config.model.quantile_levels
    return pinball(residuals.scaled, residuals.output.params, levels) * residuals.share


def _likelihood(residuals: Residuals) -> Tensor:
    output = residuals.output
    return residuals.head.likelihood(
        output.params, residuals.scaled, residuals.target, output.scale
    )


def _huber(residuals: Residuals) -> Tensor:
    """Squared up to an error of 1, absolute beyond."""
    error = residuals.error
    return torch.where(error.abs() < 1.0, 0.5 * error.square(), error.abs() - 0.5)


def _smape(residuals: Residuals) -> Tensor:
    """|y - f| / (|y| + |f|) in original units, within [0, 1]."""
    unit = residuals.of_series("unit")
    if residuals.config.model.y_transform.ratios:
        # For positive values the ratio is exactly this, without leaving the log scale.
        off = (residuals.target - residuals.conditioned_point).abs()
        return torch.tanh(off * unit / 2.0)
    y, f = residuals.original()
    return (y - f).abs() / (y.abs() + f.abs() + 1e-6 * unit)


def _mase(residuals: Residuals) -> Tensor:
    """|y - f| over the series' mean seasonal difference, original units; capped far out."""
    y, f = residuals.original()
    ratio = (y - f).abs() / residuals.of_series("mase_unit")
    # Linear to 10, then logarithmic: a blow-up teaches without drowning the rest.
    return torch.where(ratio < 10.0, ratio, 10.0 * (1.0 + torch.log(ratio.clamp(min=10.0) / 10.0)))


# The loss of every target, [B, O, H], by the name of its weight in `training.loss` (or, of those
# added, in `training.loss.more`).
TERMS: dict[str, Callable[[Residuals], Tensor]] = {
    "pinball": _pinball,
    "likelihood": _likelihood,
    "mae": lambda residuals: residuals.error.abs(),
    "mse": lambda residuals: residuals.error.square(),
    "huber": _huber,
    "smape": _smape,
    "mase": _mase,
}
# Terms that score a whole distribution, each of certain heads.
OF_HEADS = ("pinball", "likelihood")


def _original(t: Tensor, config: Resolved) -> Tensor:
    transform = config.model.y_transform
    original: Tensor = transform.back(t.clamp(-FURTHEST, FURTHEST) if transform.grows else t, torch)
    return original
