"""Trainings that have so much time: steps by how fast this machine takes them."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable

import torch

from forecasting.data.panel import Panel
from forecasting.hardware.threads import worthwhile_threads
from forecasting.hardware.torch_state import own_randomness, products_in
from forecasting.resolved import Resolved
from forecasting.training.members import at_once
from forecasting.training.module import ForecastModule
from forecasting.windows.training import Windows

# Steps that are taken to learn the pace, after one that makes ready.
TRIED = 5
# Steps that a training takes at least, whatever its time: fewer teach next to nothing.
LEAST_STEPS = 50

LOG = logging.getLogger(__name__)

Pace = Callable[[Panel, Resolved, torch.device], float]


def seconds_per_step(panel: Panel, config: Resolved, device: torch.device) -> float:
    """Seconds of one member's step, by the clock: the median of a few that are not kept."""
    settings = config.training
    windows = Windows(panel, config, device)
    seconds = []
    with (
        own_randomness(device),
        products_in(settings.precision),
        worthwhile_threads(settings.batch_size, config.model.hidden_size),
    ):
        module = ForecastModule(config, panel.schema, windows.calendar).to(device)
        optimizer = torch.optim.AdamW(module.network.parameters(), fused=True)
        draws = torch.Generator(windows.home).manual_seed(settings.seed)
        for _ in range(1 + TRIED):
            began = time.perf_counter()
            module.training_step(windows.draw(settings.batch_size, draws), 0).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def within_minutes(
    panel: Panel, config: Resolved, device: torch.device, pace: Pace = seconds_per_step
) -> Resolved:
    """The settings with as many steps as ``training.minutes`` holds, and no more than by rule.

    ``pace`` tells the seconds of one member's step; at least `LEAST_STEPS` are taken.

    How fast a machine is differs from run to run, and so may the number of steps: who wants the
    same weights again gives ``training.max_steps`` as the outcome names it.
    """
    minutes, settings = config.training.minutes, config.training
    if minutes is None:
        return config
    together = min(at_once(config, device), settings.members)
    rounds = -(-settings.members // together)
    # The networks that are judged, and those that have seen every row.
    rounds *= 2 if settings.validation == "refit" else 1
    # Members at the same time share what the machine has.
    each = pace(panel, config, device) * rounds * (together if device.type == "cpu" else 1)
    steps = min(settings.max_steps, max(int(60.0 * minutes / each), LEAST_STEPS))
    LOG.info(
        "training takes %d steps of each member, about %.0f s (training.minutes = %g, %d by rule)",
        steps, steps * each, minutes, settings.max_steps,
    )  # fmt: skip
    return config.replace(training={"max_steps": steps})
