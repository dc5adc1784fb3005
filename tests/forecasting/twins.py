"""Slow, obvious twins of what the core does fast."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch

from forecasting.config import ForecasterConfig
from forecasting.data.calendar import calendar_features, phase
from forecasting.data.panel import Panel
from forecasting.networks import ForecastNetwork
from forecasting.training.losses import training_loss
from forecasting.windows.geometry import Geometry
from forecasting.windows.training import Windows


def slow_window(
    panel: Panel, config: ForecasterConfig, windows: Windows, i: int, origin: int
) -> dict[str, Any]:
    """The window of one series that ends at one origin, row by row."""
    geometry = Geometry.of(config)
    back = (geometry.steps - 1) * geometry.segment
    if config.training.origins == "all":
        back = min(back, origin // geometry.segment * geometry.segment)
    first_end = origin - back
    start = first_end - geometry.reach + 1
    rows = geometry.rows + geometry.horizon
    at = int(panel.offsets[i])
    length = int(panel.lengths[i])
    y = config.model.y_transform.forward(panel.y[at : at + length])
    z = (y - float(windows.centre[i])) / float(windows.unit[i])
    out: dict[str, Any] = {"y": np.zeros(rows), "mask": np.zeros(rows)}
    for name, columns, count in (
        ("past", panel.schema.past, geometry.rows),
        ("future", panel.schema.future, rows),
    ):
        if columns:
            out[name] = np.zeros((count, len(columns)))
            out[f"{name}_mask"] = np.zeros((count, len(columns)))
    last = max(np.flatnonzero(~np.isnan(y)), default=-1)
    for k in range(rows):
        row = start + k
        if not 0 <= row < length:
            continue
        if not np.isnan(y[row]):
            out["y"][k], out["mask"][k] = z[row], 1.0
        for name, block, columns in (
            ("past", panel.past, panel.schema.past),
            ("future", panel.future, panel.schema.future),
        ):
            if columns and k < len(out[name]):
                for j, c in enumerate(columns):
                    value = block[at + row, j]
                    if c.type == "categorical":
                        out[name][k, j] = 0.0 if np.isnan(value) else value
                        out[f"{name}_mask"][k, j] = 1.0
                    elif not np.isnan(value):
                        out[name][k, j] = (value - c.mean) / c.std
                        out[f"{name}_mask"][k, j] = 1.0
    if config.model.calendar:
        stamps = panel.freq.stamps(panel.start[i : i + 1], start, rows)[0]
        out["time"] = calendar_features(stamps, panel.freq)
        out["inside"] = np.array([0 <= start + k < length for k in range(rows)])
    if config.model.cycle:
        now = panel.freq.stamps(panel.start[i : i + 1], start, 1)[0]
        out["phase"] = phase(now, panel.freq, config.model.cycle)[0]
    ends = [first_end + k * geometry.segment for k in range(geometry.steps)]
    out["valid"] = np.array([float(0 <= e < last) for e in ends])
    return out


def slow_training(
    panel: Panel, config: ForecasterConfig, steps: int
) -> tuple[list[float], ForecastNetwork]:
    """Losses and averaged network of an ordinary training loop over windows cut out one by one."""
    settings = config.training
    windows = Windows(panel, config, torch.device("cpu"))
    usable, low, high = windows.usable.tolist(), windows.low.tolist(), windows.high.tolist()
    rows = Geometry.of(config).rows
    generator = torch.Generator().manual_seed(settings.seed)
    torch.manual_seed(settings.seed)
    network = ForecastNetwork(config, panel.schema, windows.calendar)
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p], "weight_decay": (settings.weight_decay or 0.0) if p.ndim > 1 else 0.0}
            for p in network.parameters()
        ],
        lr=settings.learning_rate,
    )
    losses = []
    for step in range(steps):
        pick = torch.randint(len(usable), (settings.batch_size or 1,), generator=generator)
        where = torch.rand(settings.batch_size or 1, generator=generator)
        parts = []
        for k, share in zip(pick.tolist(), where.tolist(), strict=True):
            origin = low[k] + int(share * (high[k] - low[k] + 1))
            part = slow_window(panel, config, windows, usable[k], origin)
            part.pop("inside", None)
            series = usable[k]
            for name in ("loss_unit", "mase_unit", "centre", "unit"):
                part[name] = np.asarray(getattr(windows, name)[series])
            parts.append(part)
        batch = {
            name: torch.tensor(
                np.stack([p[name] for p in parts]),
                dtype=torch.int64 if name == "phase" else torch.float32,
            )
            for name in parts[0]
        }
        history = {**batch, "y": batch["y"][:, :rows], "mask": batch["mask"][:, :rows]}
        output = network(history, every_origin=settings.origins == "all")
        loss = training_loss(output, batch, config)
        optimizer.zero_grad()
        loss.backward()
        norm = math.sqrt(sum(float((p.grad**2).sum()) for p in network.parameters()))
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * one_cycle(step, settings.max_steps or 1)
            for p in group["params"]:
                p.grad *= min(1.0, (settings.clip_norm or math.inf) / (norm + 1e-6))
        optimizer.step()
        decay = min(settings.ema, (2.0 + step) / (11.0 + step))
        with torch.no_grad():
            for mean, p in zip(averaged.parameters(), network.parameters(), strict=True):
                mean.copy_(decay * mean + (1.0 - decay) * p)
        losses.append(loss.item())
    return losses, averaged


def one_cycle(step: int, total: int) -> float:
    """Share of the learning rate: up over the first 30 % of steps, then down, both as cosines."""
    warm = max(int(0.3 * total), 1)
    if step < warm:
        return 0.04 + 0.96 * 0.5 * (1.0 - math.cos(math.pi * (step + 1) / warm))
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm) / (total - warm))) + 1e-4
