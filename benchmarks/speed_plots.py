"""Pictures and tables of docs/speed.md from the committed results; nothing is measured here.

python benchmarks/speed_plots.py benchmarks/results/<machine>-<date>.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
COLOURS = {
    "gatecast": "#1b6ca8",
    "gatecast, threads that sleep": "#3d8bc0",
    "gatecast, members at once": "#8fc4e3",
    "neuralforecast": "#d1495b",
    "darts": "#edae49",
    "gluonts": "#8f5fa8",
    "bare": "#6c757d",
    "bare, memory kept": "#adb5bd",
    "matrix products alone": "#e3e6e8",
}
RATE = "windows_per_wall_s"
RATE_LABEL = "windows per second, two cores"


def training(found: dict[str, Any], axes: plt.Axes) -> None:
    """Bars of windows per second, a group per cell."""
    names = [n for n in COLOURS if any(f"{c}/{n}" in found for c in ("lstm", "gru"))]
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        at = [c + (k - (len(names) - 1) / 2) * width for c in range(2)]
        rates = [found.get(f"{c}/{name}", {}).get(RATE, np.nan) for c in ("lstm", "gru")]
        bars = axes.bar(at, rates, width, label=name, color=COLOURS[name])
        texts = ["" if np.isnan(rate) else f"{rate:.0f}" for rate in rates]
        axes.bar_label(bars, texts, fontsize=7)
    axes.set_xticks([0, 1], ["LSTM", "GRU"])
    axes.set_ylabel(RATE_LABEL)
    axes.set_title("Training, 2 × 128, 96 steps, batch 256")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)


def by_hidden_size(found: dict[str, Any], axes: plt.Axes) -> None:
    """Lines of windows per second over the hidden size; of the LSTM dashed."""
    sizes: set[int] = set()
    for prefix, style in (("", "-"), ("lstm, ", "--")):
        for name, colour in COLOURS.items():
            points = sorted(
                (int(key.partition("/")[0]), entry[RATE])
                for key, entry in found.items()
                if key.partition("/")[2] == prefix + name and RATE in entry
            )
            if points:
                axes.plot(*zip(*points, strict=True), style, marker="o", label=prefix + name,
                          color=colour)  # fmt: skip
                sizes |= {size for size, _ in points}
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(sizes), [str(size) for size in sorted(sizes)])
    axes.set_yscale("log")
    axes.set_xlabel("hidden size")
    axes.set_ylabel(RATE_LABEL)
    axes.set_title("Training two layers, batch 128: GRU, and LSTM dashed")
    axes.legend(fontsize=8)


def by_series(found: dict[str, Any], axes: plt.Axes) -> None:
    """Seconds over the number of series, the rows in all staying the same."""
    counts = sorted(int(k) for k in found)
    ready = [found[str(n)]["ready"]["cpu_s"] for n in counts]
    draw = [1e3 * found[str(n)]["draw"]["cpu_s"] for n in counts]
    axes.plot(counts, ready, marker="o", color="#1b6ca8", label="making windows ready, s")
    axes.plot(counts, draw, marker="s", color="#d1495b", label="drawing a batch of 256, ms")
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("series that ten million rows are spread over")
    axes.set_ylabel("seconds, milliseconds of CPU")
    axes.set_title("Cost as series grow")
    axes.legend(fontsize=8)


PICTURES = {"train": training, "sizes": by_hidden_size, "scale": by_series}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures")
    options = parser.parse_args()
    found = json.loads(options.results.read_text("utf-8"))
    for part, draw in PICTURES.items():
        if part not in found:
            continue
        figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
        draw(found[part], axes)
        axes.spines[["top", "right"]].set_visible(False)
        options.out.mkdir(parents=True, exist_ok=True)
        picture = options.out / f"speed_{part}.png"
        figure.savefig(picture, dpi=130)
        print(f"written to {picture}")


if __name__ == "__main__":
    main()
