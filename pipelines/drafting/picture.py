"""Series drawn as letters for a terminal, and as a picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from forecasting.arrays import Array
from pipelines.ingestion import IngestResult
from pipelines.ingestion.clean import stamp_texts, stamps

BARS = "▁▂▃▄▅▆▇█"
HOLE = "·"
WIDTH = 64
SHOWN = 4
DRAWN = 6
NAME = 16


def sparkline(y: Array, width: int = WIDTH) -> str:
    """A series as one line of bars, from its lowest to its highest value.

    Parameters
    ----------
    y : [n] values, NaN where missing. Of more than ``width`` values neighbours share a bar, their
        mean; where none of them is known, a dot stands.
    """
    y = np.asarray(y, np.float64)
    if not len(y):
        return ""
    edges = np.linspace(0, len(y), min(width, len(y)) + 1).round().astype(int)
    parts = [y[a:b][np.isfinite(y[a:b])] for a, b in itertools.pairwise(edges)]
    means = np.array([part.mean() if len(part) else np.nan for part in parts])
    if not np.isfinite(means).any():
        return HOLE * len(means)
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    span = high - low
    letters = []
    for mean in means:
        if not np.isfinite(mean):
            letters.append(HOLE)
        elif span <= 0:
            letters.append(BARS[3])
        else:
            letters.append(BARS[min(int((mean - low) / span * len(BARS)), len(BARS) - 1)])
    return "".join(letters)


def typical(result: IngestResult, most: int) -> list[int]:
    """Numbers of some series, from the lowest level to the highest."""
    clean = result.clean
    sums = np.add.reduceat(np.nan_to_num(np.abs(clean.y)), clean.offsets[:-1])
    order = np.argsort(sums / np.maximum(np.diff(clean.offsets), 1), kind="stable")
    shares = np.linspace(0, 1, most) if len(order) > most else np.linspace(0, 1, len(order))
    return [int(order[round(share * (len(order) - 1))]) for share in shares]


def drawn(result: IngestResult, most: int = SHOWN) -> list[str]:
    """Some series as lines for a terminal: name, bars, lowest and highest value, first and last."""
    clean = result.clean
    at = stamps(clean).astype(np.int64)
    lines = []
    for number in typical(result, most):
        rows = slice(int(clean.offsets[number]), int(clean.offsets[number + 1]))
        y = clean.y[rows]
        name = str(clean.ids[number])
        name = name if len(name) <= NAME else f"{name[: NAME - 1]}…"
        values = y[np.isfinite(y)]
        extent = f"{values.min():.4g} to {values.max():.4g}" if len(values) else "no values"
        first, last = stamp_texts(at[rows][[0, -1]], clean)
        lines.append(f"  {name:<{NAME}} {sparkline(y)}")
        if len(y) > 2 * WIDTH:
            lines.append(f"  {'  the newest rows':<{NAME}} {sparkline(y[-WIDTH:])}")
        lines.append(f"  {'':<{NAME}} {extent}, {len(y):,} rows, {first} to {last}")
    return lines


def draw(result: IngestResult, path: Path, *, title: str, horizon: int) -> None:
    """Some series as a picture: every value, gaps shaded, the steps to come behind the line.

    Raises
    ------
    OSError : the file cannot be written.
    """
    import matplotlib

    from forecasting.plotting import ACCENT, INK, QUIET, STYLE

    clean = result.clean
    at = stamps(clean)
    chosen = typical(result, DRAWN)
    with matplotlib.rc_context(STYLE):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
        from matplotlib.figure import Figure

        columns = min(2, len(chosen))
        rows = -(-len(chosen) // columns)
        figure = Figure(figsize=(5.4 * columns, 2.3 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for place, ax in enumerate(axes.flat):
            if place >= len(chosen):
                ax.set_axis_off()
                continue
            number = chosen[place]
            own = slice(int(clean.offsets[number]), int(clean.offsets[number + 1]))
            ds, y = at[own], clean.y[own]
            ax.plot(ds, y, color=ACCENT, linewidth=0.9)
            for start, end in holes(y):
                ax.axvspan(ds[start], ds[min(end, len(ds) - 1)], color=QUIET, alpha=0.2, lw=0)
            positions = np.flatnonzero(np.isfinite(y))
            if len(positions):
                ahead = clean.freq.shift(ds[positions[[-1, -1]]], np.array([1, horizon]))
                ax.axvspan(ahead[0], ahead[1], color=ACCENT, alpha=0.12, lw=0)
            ax.set_title(str(clean.ids[number])[:40])
            if not clean.freq.integer:
                ticks = AutoDateLocator(minticks=3, maxticks=7)
                ax.xaxis.set_major_locator(ticks)
                ax.xaxis.set_major_formatter(ConciseDateFormatter(ticks))
            ax.locator_params(axis="y", nbins=4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
        figure.savefig(path)


def holes(y: Array) -> list[tuple[int, int]]:
    """First row and end of each stretch of missing values, those at the ends left out."""
    missing = ~np.isfinite(y)
    positions = np.flatnonzero(~missing)
    if not len(positions):
        return []
    missing[: positions[0]] = missing[positions[-1] :] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]]).astype(int)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
