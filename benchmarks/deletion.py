"""A deletion test of explanations: does what they call large change the forecast when it is gone?

A part of `benchmarks.questions`, beside sampled Shapley values (Castro, Gómez & Tejada 2009).
"""

from __future__ import annotations

import numpy as np
import torch

from forecasting import Forecaster
from forecasting.arrays import Array, Float
from forecasting.data.panel import Panel
from forecasting.networks.output import tensors_of
from forecasting.prediction.why.explain import scales
from forecasting.prediction.why.member import shown_rows
from forecasting.windows.prediction import assemble

# Points of the path, and so many network calls for sampled Shapley values.
POINTS = 32
# Neighbouring rows that are told or not together: so many groups of them.
GROUPS = 16


class Game:
    """The scaled median of one series as a function of which groups of its rows are told."""

    def __init__(self, engine: Forecaster, panel: Panel) -> None:
        steps = int(engine.geometry.steps_for(panel.lengths)[0])
        batch, _, _ = assemble(panel.under(engine.schema), engine.config, steps)
        self.network, geometry = engine.networks[0], engine.geometry
        self.batch = tensors_of(batch)
        self.x, self.shown, _ = self.network.features(self.batch)
        rows = batch["y"].shape[1]
        ends = np.arange(geometry.reach - 1, rows, geometry.segment)
        self.group_of = np.arange(rows) * GROUPS // rows
        self.place = self.group_of[ends[:, None] + shown_rows(geometry)]
        level, spread = scales(batch["y"], batch["mask"], engine.config)
        member = engine.members()[0]
        (shares,) = member.shares(batch, level, spread, POINTS)
        self.gradients = np.stack(
            [shares.rows[:, self.group_of == g].sum(axis=1) for g in range(GROUPS)]
        )

    def __call__(self, told: Array) -> Float:
        """[K, H] medians with the groups ``told`` [K, G]."""
        kept = torch.from_numpy(told.astype(np.float32))[:, torch.from_numpy(self.place)]
        count, width = len(told), self.shown.shape[2]
        x = self.x.expand(count, -1, -1).clone()
        x[..., :width] *= kept
        shown = self.shown.expand(count, -1, -1) * kept
        batch = {k: v.expand(count, *v.shape[1:]) for k, v in self.batch.items()}
        with torch.inference_mode():
            hidden, states = self.network.read(x)
            last = torch.tensor([x.shape[1] - 1])
            params = self.network.decode(batch, hidden[:, -1:], states, shown[:, -1:], last)
            return self.network.head.point(params)[:, 0].numpy().astype(np.float64)

    def shapley(self, calls: int, seed: int) -> Float:
        """[G, H] sampled Shapley values of about so many calls."""
        rng = np.random.default_rng(seed)
        total, many = np.zeros((GROUPS, self.gradients.shape[1])), max(calls // (GROUPS + 1), 1)
        for _ in range(many):
            order = rng.permutation(GROUPS)
            told = np.zeros((GROUPS + 1, GROUPS))
            for k, group in enumerate(order):
                told[k + 1 :, group] = 1.0
            values = self(told)
            total[order] += np.diff(values, axis=0)
        return total / many

    def area(self, parts: Array) -> float:
        """Mean over steps of the area between deleting the least first and the most first.

        In units of how far the median moves between all told and nothing told.
        """
        areas = []
        ends = self(np.array([np.ones(GROUPS), np.zeros(GROUPS)]))
        for h in range(parts.shape[1]):
            curves = []
            for order in (np.argsort(parts[:, h]), np.argsort(-parts[:, h])):
                told = np.ones((GROUPS + 1, GROUPS))
                for k, group in enumerate(order):
                    told[k + 1 :, group] = 0.0
                curves.append(self(told)[:, h].mean())
            unit = max(abs(ends[0, h] - ends[1, h]), 0.1)
            areas.append((curves[0] - curves[1]) / unit)
        return float(np.mean(areas))


def deletion(engine: Forecaster, panel: Panel, count: int) -> list[list[str]]:
    """Rows of the deletion test: larger is better."""
    areas: dict[str, list[float]] = {"ours": [], "same": [], "many": []}
    for i in range(min(count, len(panel))):
        game = Game(engine, panel.select(np.array([i])))
        areas["ours"].append(game.area(game.gradients))
        areas["same"].append(game.area(game.shapley(POINTS, i)))
        areas["many"].append(game.area(game.shapley(40 * POINTS, i)))
    means = {name: float(np.mean(values)) for name, values in areas.items()}
    won = np.mean(np.array(areas["ours"]) > np.array(areas["same"]))
    return [
        [f"deletion test, {POINTS} points beside Shapley values of {POINTS} calls",
         f"{means['ours']:.3f}", f"{means['same']:.3f}", f"better in {100 * won:.0f} %"],
        [f"same, of {40 * POINTS} calls", f"{means['ours']:.3f}", f"{means['many']:.3f}", ""],
    ]  # fmt: skip
