"""Small drawings of series for the report: the line, what is missing, what was mended."""

from __future__ import annotations

from typing import Any

import numpy as np

from forecasting.arrays import Array
from pipelines.ingestion.clean import Clean, stamp_texts

WIDTH, HEIGHT, LEFT, BOTTOM = 900, 170, 62, 20
POINTS = 700


def draw_worst(clean: Clean, trouble: Array, count: int) -> list[tuple[str, str]]:
    """Names and SVG drawings of the series with most ``trouble`` [N], the worst first."""
    worst = np.argsort(-trouble, kind="stable")[:count]
    return [(str(clean.ids[i]), draw(clean, int(i))) for i in worst if trouble[i] > 0]


def draw(clean: Clean, series: int) -> str:
    """One series as SVG; colours come from the page."""
    begin, end = int(clean.offsets[series]), int(clean.offsets[series + 1])
    y = clean.y[begin:end]
    if not len(y):
        return ""
    marks = _marks(clean, series)
    low, high = _limits(y)
    x_of = _scale(0, max(len(y) - 1, 1), LEFT, WIDTH - 8)
    y_of = _scale(low, high, HEIGHT - BOTTOM, 8)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">', *_gaps(y, x_of)]
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y_of(v):.1f}" y2="{y_of(v):.1f}" '
        'stroke="var(--line)"/>'
        f'<text x="{LEFT - 6}" y="{y_of(v) + 4:.1f}" text-anchor="end">{_short(v)}</text>'
        for v in (low, (low + high) / 2, high)
    ]
    parts += [
        f'<polyline fill="none" stroke="var(--series)" stroke-width="1.2" points="{line}"/>'
        for line in _lines(y, x_of, y_of)
    ]
    parts += [
        f'<circle cx="{x_of(step):.1f}" cy="{y_of(min(max(value, low), high)):.1f}" r="2.6" '
        'fill="var(--mark)"/>'
        for step, value in marks
        if 0 <= step < len(y)
    ]
    first, last = _ends(clean, series, len(y))
    parts += [
        f'<text x="{LEFT}" y="{HEIGHT - 4}">{first}</text>',
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 4}" text-anchor="end">{last}</text>',
        "</svg>",
    ]
    return "".join(parts)


def _scale(low: float, high: float, a: float, b: float) -> Any:
    span = high - low if high > low else 1.0
    return lambda v: a + (v - low) / span * (b - a)


def _short(value: float) -> str:
    """A number that fits beside the axis."""
    size = abs(value)
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if limit <= size < 1e15:
            return f"{value / (1e3 if unit == 'k' else limit):.4g}{unit}"
    return f"{value:.4g}"


def _limits(y: Array) -> tuple[float, float]:
    values = y[~np.isnan(y)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 1.0, high + 1.0)


def _ends(clean: Clean, series: int, rows: int) -> tuple[str, str]:
    start = clean.start[series : series + 1]
    stamps = start if clean.freq.integer else start.astype("datetime64[us]")
    last = np.asarray(clean.freq.shift(stamps, rows - 1)).astype(np.int64)
    texts = stamp_texts(np.concatenate([start, last]), clean)
    return str(texts[0]), str(texts[1])


def _gaps(y: Array, x_of: Any) -> list[str]:
    """Bands where values are missing; neighbours closer than a pixel become one."""
    missing = np.isnan(y)
    if not missing.any():
        return []
    edges = np.diff(np.concatenate([[0], missing.astype(np.int8), [0]]))
    begins, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    near = len(y) / (WIDTH - LEFT)
    apart = np.concatenate([[True], begins[1:] - ends[:-1] > near])
    begins, ends = begins[apart], ends[np.concatenate([apart[1:], [True]])]
    return [
        f'<rect x="{x_of(b - 0.5):.1f}" y="4" width="{max(x_of(e - 0.5) - x_of(b - 0.5), 1):.1f}" '
        f'height="{HEIGHT - BOTTOM - 2}" fill="var(--gap)" opacity=".45"/>'
        for b, e in zip(begins.tolist(), ends.tolist(), strict=True)
    ]


def _lines(y: Array, x_of: Any, y_of: Any) -> list[str]:
    """Lines between gaps; long series keep the extremes of each bucket."""
    step = np.arange(len(y))
    if len(y) > 2 * POINTS:
        bucket = step * POINTS // len(y)
        heads = np.searchsorted(bucket, np.arange(POINTS))
        low, high = np.where(np.isnan(y), np.inf, y), np.where(np.isnan(y), -np.inf, y)
        least = np.minimum.reduceat(low, heads)
        most = np.maximum.reduceat(high, heads)
        least, most = (
            np.where(np.isinf(least), np.nan, least),
            np.where(np.isinf(most), np.nan, most),
        )
        step = np.repeat(heads, 2)
        y = np.stack([least, most], axis=1).ravel()
    known = ~np.isnan(y)
    edges = np.diff(np.concatenate([[0], known.astype(np.int8), [0]]))
    out = []
    for b, e in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
        if e - b == 1:
            x, v = x_of(step[b]), y_of(y[b])
            out.append(f"{x - 0.6:.1f},{v:.1f} {x + 0.6:.1f},{v:.1f}")
        else:
            pairs = zip(step[b:e].tolist(), y[b:e].tolist(), strict=True)
            out.append(" ".join(f"{x_of(s):.1f},{y_of(v):.1f}" for s, v in pairs))
    return out


def _marks(clean: Clean, series: int) -> list[tuple[int, float]]:
    """Steps and values of what was changed or flagged in y, at most a few hundred."""
    out: list[tuple[int, float]] = []
    start = clean.start[series]
    for entry in clean.ledger.entries.values():
        if entry.action == "inserted" or entry.code in ("unsorted", "id_blanks", "id_case"):
            continue
        for part, numbers in enumerate(entry.series):
            at = np.flatnonzero(numbers == series)[:200]
            if not len(at) or entry.column[part][0] not in ("", "y"):
                continue
            ds = entry.ds[part][at]
            stamps = ds if clean.freq.integer else ds.astype("datetime64[us]")
            origin = start if clean.freq.integer else np.datetime64(int(start), "us")
            steps = clean.freq.steps_between(origin, stamps)
            before = entry.before[part]
            for i, step in zip(at.tolist(), steps.tolist(), strict=True):
                value = _number(before[i])
                if value is not None:
                    out.append((int(step), value))
    return out[:400]


def _number(value: Any) -> float | None:
    if isinstance(value, float | int | np.floating) and np.isfinite(value):
        return float(value)
    return None
