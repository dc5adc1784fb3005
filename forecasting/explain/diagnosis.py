"""A diagnosis as arrays, as JSON and as one picture; `forecasting.explain.diagnose` makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.arrays import Array
from forecasting.plotting import CYCLE, GRID, INK, QUIET, STYLE

# Gate activation, of 0 to 1, below which it counts as shut.
SHUT = 0.1
# Gate activation, of 0 to 1, above which it counts as open.
OPEN = 0.9
# Where the gradient has fallen to this share of its strongest, the signal counts as lost.
FADED = 0.01


@dataclass(frozen=True)
class GateUse:
    """How a gate is used over all series, steps and units: shares and the mean, in [0, 1]."""

    shut: float
    open: float
    mean: float


@dataclass(frozen=True)
class LayerDiagnosis:
    """One layer.

    Attributes
    ----------
    gates : by name; empty for a vanilla RNN.
    memory : [H] effective memory of each unit in recurrent steps, rising: what was read fades by
        a factor e over so many. Empty for a vanilla RNN.
    """

    gates: dict[str, GateUse]
    memory: Array


# What a network of vanilla cells that has learned nothing is called among the gradients.
UNTRAINED = "vanilla rnn, untrained"


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes
    ----------
    cell : of the member looked at. segment : data steps per recurrent step. series : how many
        were looked at. freq : of the data.
    gradients : by network, [S] mean norm of d(forecast) / d(input) so many recurrent steps back;
        position 0 is the last step. The first network is the forecaster's own.
    layers : bottom first.
    """

    cell: str
    segment: int
    freq: str
    series: int
    gradients: dict[str, Array]
    layers: tuple[LayerDiagnosis, ...] = field(default=())

    @property
    def steps(self) -> int:
        """Recurrent steps looked back, S."""
        return len(next(iter(self.gradients.values())))

    def reach(self, network: str) -> int:
        """Recurrent steps back over which a network's gradient is above `FADED` of its peak."""
        gradient = self.gradients[network]
        alive = np.flatnonzero(gradient > FADED * gradient.max(initial=0.0))
        return int(alive[-1]) + 1 if len(alive) else 0

    def summary(self) -> dict[str, Any]:
        """The numbers to log, as plain JSON: steps are data steps where the name says so."""

        def memory(layer: LayerDiagnosis) -> dict[str, float]:
            if not len(layer.memory):
                return {}
            percentiles = np.percentile(layer.memory, [10, 50, 90])
            names = ("memory_p10", "memory_median", "memory_p90")
            steps = dict(zip(names, percentiles.tolist(), strict=True))
            return {**steps, "memory_median_data_steps": float(percentiles[1] * self.segment)}

        return {
            "cell": self.cell,
            "freq": self.freq,
            "series": self.series,
            "steps": self.steps,
            "data_steps": self.steps * self.segment,
            "gradient": {
                name: {
                    "reach": self.reach(name),
                    "reach_data_steps": self.reach(name) * self.segment,
                    "farthest_over_last": float(values[-1] / max(values[0], 1e-30)),
                }
                for name, values in self.gradients.items()
            },
            "layers": [
                {
                    "gates": {
                        name: {"shut": use.shut, "open": use.open, "mean": use.mean}
                        for name, use in layer.gates.items()
                    },
                    **memory(layer),
                }
                for layer in self.layers
            ],
        }


def plot_diagnosis(diagnosis: Diagnosis, path: str | Path) -> Path:
    """Draw gradient by time step, gate use and memory side by side into a PNG file."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    target = Path(path)
    with rc_context(STYLE):
        gated = any(len(layer.memory) for layer in diagnosis.layers)
        figure = Figure(figsize=(13.0, 4.2) if gated else (6.0, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 3 if gated else 1, squeeze=False)[0]
        _draw_gradients(axes[0], diagnosis)
        if gated:
            _draw_gates(axes[1], diagnosis)
            _draw_memory(axes[2], diagnosis)
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target)
    return target


def _step_name(diagnosis: Diagnosis) -> str:
    if diagnosis.segment == 1:
        return "steps"
    return f"recurrent steps, {diagnosis.segment} data steps each"


def _draw_gradients(axes: Any, diagnosis: Diagnosis) -> None:

    for k, (name, gradient) in enumerate(diagnosis.gradients.items()):
        back = np.arange(len(gradient))
        relative = np.maximum(gradient / max(gradient.max(initial=0.0), 1e-30), 1e-30)
        style: dict[str, Any] = {"color": CYCLE[k % len(CYCLE)], "lw": 2.0 if k == 0 else 1.4}
        if name == UNTRAINED:
            style |= {"color": QUIET, "ls": (0, (4, 2))}
        axes.plot(back, relative, label=name, marker="o" if len(back) < 30 else None, ms=3, **style)
    axes.axhline(FADED, color=QUIET, lw=0.8, ls=":")
    axes.annotate(
        "1 %: lost", (0.01, FADED), xycoords=("axes fraction", "data"), xytext=(0, -3),
        textcoords="offset points", va="top", color=QUIET, fontsize=8,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=1e-6, top=2.0)
    axes.invert_xaxis()
    axes.set_xlabel(f"{_step_name(diagnosis)} back from the origin")
    axes.set_ylabel("gradient of the forecast, share of its peak")
    axes.set_title("Does the signal reach the past?")
    axes.legend(loc="lower left", fontsize=8)


def _draw_gates(axes: Any, diagnosis: Diagnosis) -> None:

    names, uses = [], []
    for depth, layer in enumerate(diagnosis.layers):
        for name, use in layer.gates.items():
            names.append(f"layer {depth + 1}  {name}")
            uses.append(use)
    at = np.arange(len(names))[::-1]
    shut, wide = np.array([u.shut for u in uses]), np.array([u.open for u in uses])
    axes.barh(at, shut, color=CYCLE[1], height=0.6, label=f"shut (< {SHUT:g})")
    axes.barh(at, 1.0 - shut - wide, left=shut, color=GRID, height=0.6, label="between")
    axes.barh(at, wide, left=1.0 - wide, color=CYCLE[0], height=0.6, label=f"open (> {OPEN:g})")
    mean = [u.mean for u in uses]
    axes.plot(mean, at, ls="", marker="|", ms=11, mew=2, color=INK, label="mean")
    axes.set_yticks(at, names)
    axes.grid(visible=False)
    axes.set_xlim(0.0, 1.0)
    axes.set_ylim(-0.6, len(names) + 0.4)
    axes.set_xlabel("share of activations")
    axes.set_title("How saturated are the gates?")
    axes.legend(loc="upper left", ncols=4, fontsize=7.5, columnspacing=0.9, handlelength=1.2,
                borderaxespad=0.0, handletextpad=0.4)  # fmt: skip


def _draw_memory(axes: Any, diagnosis: Diagnosis) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for depth, layer in enumerate(diagnosis.layers):
        share = (np.arange(len(layer.memory)) + 0.5) / len(layer.memory)
        label = f"layer {depth + 1}, median {np.median(layer.memory):.3g}"
        axes.plot(share, layer.memory, color=CYCLE[depth % len(CYCLE)], lw=2, label=label)
    axes.axhline(diagnosis.steps, color=QUIET, lw=0.8, ls=":")
    axes.annotate(
        f"all {diagnosis.steps} steps read", (0.01, diagnosis.steps), va="bottom", color=QUIET,
        xycoords=("axes fraction", "data"), xytext=(0, 2), textcoords="offset points", fontsize=8,
    )  # fmt: skip
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0.0, 1.0)
    axes.set_xlabel("units, from the shortest memory to the longest")
    axes.set_ylabel(f"memory in {_step_name(diagnosis)}")
    axes.set_title("How long does each unit remember?")
    axes.legend(loc="lower right", fontsize=8)
