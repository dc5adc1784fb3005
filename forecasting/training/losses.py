"""Training losses: pinball, likelihoods and point terms, averaged over what was observed."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from forecasting.config import ForecasterConfig
from forecasting.networks.heads import point_of
from forecasting.networks.output import Output
from forecasting.windows.batch import Batch
from forecasting.windows.geometry import Geometry

# An origin's own spread may vanish; its errors are measured in at least this share of the
# series' typical seasonal difference, so that no quiet stretch outweighs all else.
SPREAD_SHARE = 0.2
# Logs beyond this are clipped before they are turned back, so that float32 holds what they become.
FURTHEST = 60.0
PARAMETRIC = ("student_t", "negative_binomial")


def training_loss(output: Output, batch: Batch[Tensor], config: ForecasterConfig) -> Tensor:
    """The weighted sum of the configured terms, a scalar.

    Each origin counts by the observed values among its H targets; origins outside ``valid``
    count nothing.
    """
    target, weight = targets(output, batch, Geometry.of(config))
    terms, model = config.training.loss, config.model
    weight = weight / weight.sum().clamp(min=1.0)
    scaled = (target - output.level) / output.scale
    if model.spread == "none" or model.head == "negative_binomial":
        share = torch.ones_like(output.scale)
    else:
        share = spread_share(output.scale, batch)
    total = target.new_zeros(())
    point = point_of(output.params, model.head)
    if model.head == "quantiles" and terms.pinball:
        losses = pinball(scaled, output.params, model.quantile_levels)
        total = total + terms.pinball * (losses * share * weight).sum()
    elif model.head in PARAMETRIC and terms.likelihood:
        likelihood = (
            student_t(scaled, output.params)
            if model.head == "student_t"
            else negative_binomial(target, output.params, output.scale)
        )
        total = total + terms.likelihood * (likelihood * weight).sum()
    error = (scaled - point) * share
    mae = terms.mae or 0.0
    if model.head == "point" and not (terms.mae or terms.mse or terms.huber or terms.smape
                                      or terms.mase):  # fmt: skip
        mae = 1.0
    if mae:
        total = total + mae * (error.abs() * weight).sum()
    if terms.mse:
        total = total + terms.mse * (error.square() * weight).sum()
    if terms.huber:
        huber = torch.where(error.abs() < 1.0, 0.5 * error.square(), error.abs() - 0.5)
        total = total + terms.huber * (huber * weight).sum()
    if terms.smape or terms.mase:
        point_z = point * output.scale + output.level
        if terms.smape:
            total = total + terms.smape * (_smape(target, point_z, batch, config) * weight).sum()
        if terms.mase:
            total = total + terms.mase * (_mase(target, point_z, batch, config) * weight).sum()
    return total


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


def student_t(target: Tensor, params: Tensor) -> Tensor:
    """Negative log-likelihood of a location-scale Student-t: [...]."""
    location, scale, dof = params.unbind(-1)
    z = (target - location) / scale
    half = (dof + 1.0) / 2.0
    log_norm = torch.lgamma(half) - torch.lgamma(dof / 2.0) - 0.5 * torch.log(dof * math.pi)
    return -(log_norm - torch.log(scale) - half * torch.log1p(z * z / dof))


def negative_binomial(target: Tensor, params: Tensor, scale: Tensor) -> Tensor:
    """Negative log-likelihood of counts with mean m and variance m + a m^2: [...]."""
    mean, dispersion = params[..., 0] * scale, params[..., 1]
    r = 1.0 / dispersion
    count = target.clamp(min=0.0)
    log_p = torch.lgamma(count + r) - torch.lgamma(r) - torch.lgamma(count + 1.0)
    log_p = log_p + r * torch.log(r / (r + mean)) + count * torch.log(mean / (r + mean))
    return -log_p


def _smape(target: Tensor, point: Tensor, batch: Batch[Tensor], config: ForecasterConfig) -> Tensor:
    """|y - f| / (|y| + |f|) in original units, within [0, 1]."""
    unit, centre = batch["unit"][:, None, None], batch["centre"][:, None, None]
    if config.model.y_transform.ratios:
        # For positive values the ratio is exactly this, without leaving the log scale.
        return torch.tanh((target - point).abs() * unit / 2.0)
    y, f = (_original(v * unit + centre, config) for v in (target, point))
    return (y - f).abs() / (y.abs() + f.abs() + 1e-6 * unit)


def _mase(target: Tensor, point: Tensor, batch: Batch[Tensor], config: ForecasterConfig) -> Tensor:
    """|y - f| over the series' mean seasonal difference, original units; capped far out."""
    unit, centre = batch["unit"][:, None, None], batch["centre"][:, None, None]
    y, f = (_original(v * unit + centre, config) for v in (target, point))
    ratio = (y - f).abs() / batch["mase_unit"][:, None, None]
    # Linear to 10, then logarithmic: a blow-up teaches without drowning the rest.
    return torch.where(ratio < 10.0, ratio, 10.0 * (1.0 + torch.log(ratio.clamp(min=10.0) / 10.0)))


def _original(t: Tensor, config: ForecasterConfig) -> Tensor:
    transform = config.model.y_transform
    original: Tensor = transform.back(t.clamp(-FURTHEST, FURTHEST) if transform.grows else t, torch)
    return original
