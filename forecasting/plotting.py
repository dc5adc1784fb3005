"""Pictures of forecasts: fan charts, error by horizon, calibration.

Figures are built without pyplot, so that they work in any thread and never open a window.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.arrays import Array
from forecasting.errors import GatecastError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


INK, QUIET, GRID = "#1f2933", "#7b8794", "#e4e7eb"
ACCENT, ACTUAL = "#0f6fb8", "#d1495b"
# Okabe and Ito's colours, told apart by people with any kind of colour vision.
CYCLE = ("#0f6fb8", "#d55e00", "#009e73", "#cc79a7", "#7b8794", "#e69f00", "#56b4e9", "#1f2933")
# Of a picture: legend entries, and letters of a title, that the width of one panel holds.
LEGEND_ENTRIES = 3
TITLE_LETTERS = 50
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 150,
}


@dataclass(frozen=True)
class Fan:
    """One series with its forecast.

    Attributes
    ----------
    title : str
        Shown above the panel.
    history_ds, history_y : [n]
        What was known; stamps or integer steps.
    ds : [h]
        Forecast stamps.
    levels : tuple of float
        Quantile levels, rising, with 0.5 among them.
    quantiles : [h, Q]
    actual : [h] or None
        What happened, where it is known.
    """

    title: str
    history_ds: Array
    history_y: Array
    ds: Array
    levels: tuple[float, ...]
    quantiles: Array
    actual: Array | None = None


def _style() -> AbstractContextManager[None]:
    import matplotlib

    return matplotlib.rc_context(STYLE)


def fan_chart(fans: Sequence[Fan], *, title: str = "", columns: int = 2) -> Figure:
    """History, median, intervals and what really happened, one panel per series.

    Parameters
    ----------
    fans
        At least one; panels are filled row by row.
    columns
        Panels side by side.
    """
    if not fans:
        raise GatecastError("a fan chart needs at least one series")
    with _style():
        from matplotlib.figure import Figure

        columns = min(columns, len(fans))
        rows = -(-len(fans) // columns)
        figure = Figure(figsize=(5.4 * columns, 2.7 * rows + 0.7), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for position, ax in enumerate(axes.flat):
            if position < len(fans):
                _draw_fan(ax, fans[position])
            else:
                ax.set_axis_off()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        # A panel's width holds so many entries: more go into further rows, none past the edge.
        across = min(len(labels), LEGEND_ENTRIES * columns)
        figure.legend(handles, labels, loc="outside lower center", ncols=across)
        if title:
            title = textwrap.fill(title, TITLE_LETTERS * columns)
            figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def _draw_fan(ax: Axes, fan: Fan) -> None:
    levels = np.asarray(fan.levels)
    middle = int(np.argmin(np.abs(levels - 0.5)))
    # The bands start at the last known value, so that the fan opens where the history ends.
    known = np.flatnonzero(np.isfinite(fan.history_y))
    ds, quantiles = fan.ds, fan.quantiles
    if len(known):
        ds = np.concatenate([fan.history_ds[known[-1:]], ds])
        quantiles = np.concatenate([np.full((1, len(levels)), fan.history_y[known[-1]]), quantiles])
    pairs = [(i, len(levels) - 1 - i) for i in range(middle)]
    shades = np.linspace(0.14, 0.36, max(len(pairs), 1))
    for shade, (low, high) in zip(shades, pairs, strict=False):
        share = round(100 * (levels[high] - levels[low]), 1)
        ax.fill_between(
            ds,
            quantiles[:, low],
            quantiles[:, high],
            color=ACCENT,
            alpha=float(shade),
            linewidth=0,
            label=f"{share:g} % interval",
        )
    ax.plot(fan.history_ds, fan.history_y, color=INK, linewidth=1.1, label="history")
    ax.plot(ds, quantiles[:, middle], color=ACCENT, linewidth=1.8, label="median forecast")
    if fan.actual is not None:
        ax.plot(
            fan.ds,
            fan.actual,
            color=ACTUAL,
            linewidth=0.8,
            marker="o",
            markersize=3.2,
            markeredgewidth=0,
            label="what happened",
        )
    ax.set_title(fan.title)
    ax.margins(x=0.01)
    _plain_numbers(ax)


def _plain_numbers(ax: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    ax.yaxis.set_major_locator(MaxNLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    lines = ax.get_lines()
    if lines and np.asarray(lines[0].get_xdata()).dtype.kind == "M":
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator: Any = AutoDateLocator(minticks=3, maxticks=7)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        formatter: Any = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_formatter(formatter)


def error_by_step(
    curves: Mapping[str, Array], *, metric: str, title: str = "Error by horizon"
) -> Figure:
    """One line per model: the metric (up to [H] values) at each step of the horizon."""
    with _style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
        for color, (name, values) in zip(_colors(len(curves)), curves.items(), strict=True):
            ax.plot(
                np.arange(1, len(values) + 1),
                values,
                color=color,
                linewidth=1.8,
                marker="o",
                markersize=3,
                label=name,
            )
        ax.set_title(title)
        ax.set_xlabel("steps ahead")
        ax.set_ylabel(metric)
        ax.set_ylim(bottom=0)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.legend()
    return figure


def calibration(
    levels: Sequence[float], observed: Mapping[str, Array], *, title: str = "Calibration"
) -> Figure:
    """Share of actuals under each quantile against its level; on the diagonal is right.

    Parameters
    ----------
    levels : [Q]
    observed
        For each model the shares, [Q].
    """
    with _style():
        from matplotlib.figure import Figure
        from matplotlib.ticker import PercentFormatter

        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 3)))
        for color, (name, shares) in zip(_colors(len(observed)), observed.items(), strict=True):
            ax.plot(
                levels, shares, color=color, linewidth=1.6, marker="o", markersize=4, label=name
            )
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(title)
        ax.set_xlabel("quantile level")
        ax.set_ylabel("actuals under the quantile")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0))
        ax.legend(loc="upper left")
    return figure


def _colors(count: int) -> list[str]:
    return [CYCLE[i % len(CYCLE)] for i in range(count)]
