"""The copy task: say what was heard s steps ago.

A sequence of s + 1 values is uniform noise in [-1, 1]; the first alone carries a mark. After the
last the network names the marked value. Nothing but a memory of s steps can do it, so it tells the
cells apart (Hochreiter & Schmidhuber 1997, section 5). docs/gates.md shows the outcome.
"""

from __future__ import annotations

import torch
from torch import nn

from forecasting.config import ForecasterConfig, ModelConfig
from forecasting.networks import RecurrentStack
from forecasting.resolved import Resolved

# Variance of a uniform value in [-1, 1]: what answering "zero" costs.
CHANCE = 1.0 / 3.0
AVERAGED = 25


def train(
    cell: str,
    delay: int,
    *,
    updates: int = 600,
    initialisation: str = "chrono",
    hidden_size: int = 32,
    batch_size: int = 64,
    learning_rate: float = 3e-3,
    seed: int = 0,
) -> list[float]:
    """Train a one-layer `RecurrentStack` on the task.

    Parameters
    ----------
    delay : s, steps between the marked value and the answer.
    initialisation : of `ModelConfig`; ``default`` is PyTorch's own.

    Returns
    -------
    The squared error as a share of chance (1 = knows nothing, 0 = recalls), every `AVERAGED`
    updates the mean of the last so many, on values never seen before.
    """
    model = ModelConfig(
        cell=cell, hidden_size=hidden_size, layers=1, steps=delay + 1, initialisation=initialisation
    )
    config = Resolved.plainest(ForecasterConfig(horizon=1, model=model)).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        stack, answer = RecurrentStack(2, config), nn.Linear(hidden_size, 1)
    generator = torch.Generator().manual_seed(seed + 1)
    parameters = [*stack.parameters(), *answer.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    errors, recent = [], []
    for update in range(1, updates + 1):
        x = torch.zeros(batch_size, delay + 1, 2)
        x[..., 0] = 2.0 * torch.rand(batch_size, delay + 1, generator=generator) - 1.0
        x[:, 0, 1] = 1.0
        hidden, _ = stack(x)
        loss = (answer(hidden[:, -1])[:, 0] - x[:, 0, 0]).square().mean() / CHANCE
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent.append(loss.item())
        if update % AVERAGED == 0:
            errors.append(sum(recent) / len(recent))
            recent = []
    return errors
