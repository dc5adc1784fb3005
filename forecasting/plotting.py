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
from forecasting.errors import GatecastError, lacking

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
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise lacking("a picture", error) from None

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
        figure, axes = _panels(len(fans), columns)
        for position, ax in enumerate(axes.flat):
            if position < len(fans):
                _draw_fan(ax, fans[position])
            else:
                ax.set_axis_off()
        _legend_and_title(figure, axes, title)
    return figure


def _draw_fan(ax: Axes, fan: Fan) -> None:
    levels = np.asarray(fan.levels)
    middle = int(np.argmin(np.abs(levels - 0.5)))
    # The bands start at the last known value, so that the fan opens where the history ends.
    rows = np.flatnonzero(np.isfinite(fan.history_y))
    ds, quantiles = fan.ds, fan.quantiles
    if len(rows):
        ds = np.concatenate([fan.history_ds[rows[-1:]], ds])
        quantiles = np.concatenate([np.full((1, len(levels)), fan.history_y[rows[-1]]), quantiles])
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


@dataclass(frozen=True)
class Watched:
    """Points of one series beside what was expected of them; [n] each, NaN where unknown."""

    title: str
    ds: Array
    y: Array
    median: Array
    low: Array
    high: Array
    anomaly: Array


def watch_chart(
    watched: Sequence[Watched], *, rate: float, title: str = "", columns: int = 2
) -> Figure:
    """Points, the intervals they were expected in, and those outside, one panel per series."""
    if not watched:
        raise GatecastError("a picture of points needs at least one series")
    with _style():
        figure, axes = _panels(len(watched), columns)
        for position, ax in enumerate(axes.flat):
            if position < len(watched):
                _draw_watched(ax, watched[position], rate)
            else:
                ax.set_axis_off()
        _legend_and_title(figure, axes, title)
    return figure


def _draw_watched(ax: Axes, one: Watched, rate: float) -> None:
    label = f"expected, {100 * (1 - rate):g} % interval"
    ax.fill_between(one.ds, one.low, one.high, color=ACCENT, alpha=0.2, linewidth=0, label=label)
    ax.plot(one.ds, one.median, color=ACCENT, linewidth=0.9, label="median")
    ax.plot(one.ds, one.y, color=INK, linewidth=1.0, label="what came")
    odd = np.flatnonzero(one.anomaly)
    ax.plot(
        one.ds[odd], one.y[odd], linestyle="none", marker="o", markersize=5.5, color=ACTUAL,
        markerfacecolor="none", markeredgewidth=1.6, label="anomaly",
    )  # fmt: skip
    ax.set_title(one.title)
    ax.margins(x=0.01)
    _plain_numbers(ax)


def _panels(count: int, columns: int) -> tuple[Figure, Any]:
    """A figure with a panel for each of so many series."""
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(5.4 * columns, 2.7 * rows + 0.7), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _legend_and_title(figure: Figure, axes: Any, title: str) -> None:
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = axes.shape[1]
    # A panel's width holds so many entries: more go into further rows, none past the edge.
    across = min(len(labels), LEGEND_ENTRIES * columns)
    figure.legend(handles, labels, loc="outside lower center", ncols=across)
    if title:
        title = textwrap.fill(title, TITLE_LETTERS * columns)
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)


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


def parts_chart(ds: Array, level: Array, parts: Mapping[str, Array], *, title: str = "") -> Figure:
    """What moves a forecast away from its level, as bars on each other, and their sum as a line.

    Parameters
    ----------
    ds, level : [h]. parts : [h] each, by name.
    """
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.6, 4.4), layout="constrained")
        ax = figure.subplots()
        place = np.arange(len(ds))
        above, below = np.zeros(len(ds)), np.zeros(len(ds))
        for color, (name, values) in zip(_colors(len(parts)), parts.items(), strict=True):
            bottom = np.where(values >= 0, above, below)
            ax.bar(place, values, bottom=bottom, color=color, width=0.82, label=name)
            above, below = above + np.maximum(values, 0), below + np.minimum(values, 0)
        total = np.sum([*parts.values(), np.zeros(len(ds))], axis=0)
        ax.plot(place, total, color=INK, linewidth=1.4, marker="o", markersize=3.5, label="median")
        ax.axhline(0.0, color=INK, linewidth=0.9)
        every = max(1, -(-len(ds) // 8))
        text = np.datetime_as_string(ds, unit="m") if ds.dtype.kind == "M" else ds.astype(str)
        if ds.dtype.kind == "M" and (ds == ds.astype("datetime64[D]")).all():
            text = np.datetime_as_string(ds, unit="D")
        ax.set_xticks(place[::every], text[::every])
        ax.set_title(title)
        ax.set_ylabel(f"away from the level, {level.mean():,.6g}")
        ax.margins(x=0.01)
        ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def scenarios_chart(
    ds: Array,
    base: str,
    forecast: Array,
    others: Mapping[str, tuple[Array, Array, Array, Array]],
    *,
    title: str = "",
) -> Figure:
    """Forecasts of scenarios beside the base's, and below what each changes of it.

    Parameters
    ----------
    ds, forecast : [h] of the base. others : by name the forecast, its difference from the base,
        and the low and high end of the difference's band, [h] each.
    """
    with _style():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.6, 5.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        above.plot(ds, forecast, color=INK, linewidth=1.8, label=base)
        for color, (name, (mean, moved, low, high)) in zip(
            _colors(len(others)), others.items(), strict=True
        ):
            above.plot(ds, mean, color=color, linewidth=1.6, label=name)
            below.fill_between(ds, low, high, color=color, alpha=0.2, linewidth=0)
            below.plot(ds, moved, color=color, linewidth=1.6)
        below.axhline(0.0, color=INK, linewidth=0.9)
        above.set_title(title)
        above.set_ylabel("mean forecast")
        below.set_ylabel(f"less {base}: mean, 80 % of paths")
        above.margins(x=0.01)
        for ax in (above, below):
            _plain_numbers(ax)
        if ds.dtype.kind == "M":
            below.tick_params(axis="x", labelrotation=30)
        above.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


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
