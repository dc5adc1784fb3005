"""Draws the pictures of docs/concepts.md.

python -m docs.draw_concepts
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

from forecasting.plotting import ACCENT, ACTUAL, INK, QUIET, STYLE

FOLDER = Path(__file__).with_name("images")


def series(rows: int) -> np.ndarray[Any, Any]:
    """A made-up series with a season of 12."""
    at = np.arange(rows)
    noise = np.random.default_rng(3).normal(0, 1.2, rows)
    return 50 + 0.15 * at + 8 * np.sin(2 * np.pi * at / 12) + noise


def window(figure: Any) -> None:
    """Lookback, cutoff, horizon."""
    ax = figure.subplots()
    y, cutoff, back, ahead = series(84), 66, 36, 12
    ax.axvspan(cutoff - back, cutoff, color=QUIET, alpha=0.13, lw=0)
    ax.axvspan(cutoff, cutoff + ahead, color=ACCENT, alpha=0.10, lw=0)
    ax.plot(np.arange(cutoff + 1), y[: cutoff + 1], color=INK, lw=1.2)
    steps = np.arange(cutoff, cutoff + ahead + 1)
    middle = np.concatenate([[y[cutoff]], series(84)[cutoff + 1 : cutoff + ahead + 1]])
    width = np.sqrt(np.arange(ahead + 1)) * 1.6
    ax.fill_between(steps, middle - width, middle + width, color=ACCENT, alpha=0.25, lw=0)
    ax.plot(steps, middle, color=ACCENT, lw=1.6)
    ax.axvline(cutoff, color=ACTUAL, lw=1.2)
    top = ax.get_ylim()[1]
    for x, text, color in (
        (cutoff - back / 2, "lookback: what is read", QUIET),
        (cutoff + ahead / 2, "horizon", ACCENT),
    ):
        ax.text(x, top, text, ha="center", va="bottom", color=color)
    ax.annotate("cutoff", (cutoff, ax.get_ylim()[0]), (cutoff - 2, ax.get_ylim()[0] + 1),
                ha="right", color=ACTUAL)  # fmt: skip
    ax.set_yticks([])
    ax.set_xticks([])


def origins(figure: Any) -> None:
    """Three past cutoffs, one below the other."""
    axes = figure.subplots(3, 1, sharex=True)
    y, ahead = series(84), 12
    for place, ax in enumerate(axes):
        cutoff = 83 - ahead * (3 - place)
        ax.plot(y, color=QUIET, lw=0.8, alpha=0.6)
        ax.plot(np.arange(cutoff + 1), y[: cutoff + 1], color=INK, lw=1.2)
        steps = np.arange(cutoff + 1, cutoff + ahead + 1)
        ax.plot(steps, y[steps] + np.random.default_rng(place).normal(0, 1.5, ahead), color=ACCENT)
        ax.axvspan(cutoff, cutoff + ahead, color=ACCENT, alpha=0.10, lw=0)
        ax.axvline(cutoff, color=ACTUAL, lw=1.0)
        ax.set_title(f"origin {place + 1}", fontsize=9)
        ax.set_yticks([])
    axes[-1].set_xticks([])


def gate(figure: Any) -> None:
    """From a training to the service."""
    ax = figure.subplots()
    ax.set_axis_off()
    ax.set_xlim(0, 10)
    ax.set_ylim(0, 4)
    boxes = {
        "train": (1.2, 2.9, "training", QUIET),
        "challenger": (3.6, 2.9, "challenger", ACCENT),
        "gate": (6.0, 2.9, "gate", ACTUAL),
        "champion": (8.6, 2.9, "champion", ACCENT),
        "service": (8.6, 0.8, "service", INK),
        "stays": (6.0, 0.8, "stays challenger,\nthe champion stays", QUIET),
    }
    for x, y, text, color in boxes.values():
        box = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": color, "lw": 1.4}
        ax.text(x, y, text, ha="center", va="center", color=color, bbox=box, fontsize=10)
    arrows = (
        ("train", "challenger", ""),
        ("challenger", "gate", ""),
        ("gate", "champion", "yes"),
        ("gate", "stays", "no"),
        ("champion", "service", "follows"),
    )
    for start, end, text in arrows:
        (x, y, *_), (u, v, *_) = boxes[start], boxes[end]
        gap = np.array([u - x, v - y]) / np.hypot(u - x, v - y)
        room = 0.85 if x != u else 0.45
        style = {"arrowstyle": "->", "color": QUIET, "lw": 1.3}
        ax.annotate("", (u - room * gap[0], v - room * gap[1]),
                    (x + room * gap[0], y + room * gap[1]), arrowprops=style)  # fmt: skip
        beside = (0.12, 0.0) if x == u else (0.0, 0.18)
        ax.text((x + u) / 2 + beside[0], (y + v) / 2 + beside[1], text, color=QUIET, fontsize=9)


PICTURES = {
    "window": (window, (6.4, 2.8)),
    "origins": (origins, (6.4, 3.4)),
    "gate": (gate, (7, 2.6)),
}


def main() -> None:
    """Draw all of them."""
    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        for name, (draw, size) in PICTURES.items():
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            figure.savefig(FOLDER / f"concepts-{name}.png", dpi=130)
            print(f"docs/images/concepts-{name}.png")


if __name__ == "__main__":
    main()
