"""A benchmark's figures as tables: on the terminal and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from forecasting.errors import DataError
from forecasting.evaluation.catalogue import METRICS
from pipelines.benchmark.benchmark import Report, Row
from pipelines.benchmark.peers import SEASONAL_NAIVE

# Title of a column and how its figure is shown; shares are percentages.
COLUMNS = {name: (metric.title, metric.text) for name, metric in METRICS.items()} | {
    "owa": ("OWA", "{:.3f}"),
    "mse": ("MSE", "{:.3f}"),
    "mae_log": ("MAE of logs", "{:.4f}"),
    "msis": ("MSIS", "{:.2f}"),
    "coverage80": ("in 80 %", "{:.1%}"),
    "coverage95": ("in 95 %", "{:.1%}"),
}
_ALWAYS = ("smape", "mase", "wql", "msis", "coverage80", "coverage95")
BEGIN, END = "<!-- benchmark:begin -->", "<!-- benchmark:end -->"


def cells(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Titles and texts of one task's table, the task's own metric first."""
    metric = rows[0].metric
    names = [metric, *(c for c in _ALWAYS if c != metric)]
    titles = ["model", *(COLUMNS[n][0] for n in names), "seconds", "members", "to seasonal naive"]
    lines = []
    for row in rows:
        figures = [_figure(row.scores.get(n), COLUMNS[n][1]) for n in names]
        name = f"{row.model} (published)" if row.kind == "published" else row.model
        seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
        lines.append([name, *figures, seconds, _swing(row), _versus(row)])
    return titles, lines


def terminal_tables(report: Report) -> Iterable[Table]:
    """One rich table per task."""
    for task, rows in by_task(report.rows).items():
        titles, lines = cells(rows)
        table = Table(title=f"{task} ({COLUMNS[rows[0].metric][0]} first)", title_justify="left")
        for k, title in enumerate(titles):
            table.add_column(title, justify="left" if k == 0 else "right")
        best = _best(rows)
        for row, line in zip(rows, lines, strict=True):
            style = "bold" if row is best else ("dim" if row.kind == "published" else "")
            table.add_row(*line, style=style)
        yield table


def markdown(reports: Sequence[Report]) -> str:
    """The tables of several runs; where two ran the same model on a task, the later counts."""
    if not reports:
        raise DataError("there is no benchmark result to report: run `gatecast benchmark` first")
    latest: dict[tuple[str, str, str], Row] = {}
    for report in sorted(reports, key=lambda r: r.created):
        # Published figures are the registry's as it was last read, not all it ever held.
        sets = {r.task for r in report.rows if r.kind == "published"}
        for key in [k for k, r in latest.items() if r.kind == "published" and r.task in sets]:
            del latest[key]
        for row in report.rows:
            latest[row.task, row.kind, row.model] = row
    last = max(reports, key=lambda r: r.created)
    packages = ", ".join(f"{k} {v}" for k, v in last.versions.items())
    parts = [f"Measured on {last.machine}; {packages}."]
    for task, rows in by_task(latest.values()).items():
        titles, lines = cells(rows)
        parts.append(f"#### {task}")
        rule = ["---", *["---:"] * (len(titles) - 1)]
        table = [titles, rule, *lines]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in table))
    return "\n\n".join(parts) + "\n"


def write_markdown(path: Path, text: str, *, begin: str = BEGIN, end: str = END) -> None:
    """Put tables between the markers of a page, or at the end of one without markers."""
    page = path.read_text("utf-8") if path.is_file() else "# Accuracy\n"
    if begin in page and end in page:
        head, tail = page.split(begin)[0], page.split(end, 1)[1]
    else:
        head, tail = page.rstrip("\n") + "\n\n", "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{head}{begin}\n{text}{end}{tail}", "utf-8")


def by_task(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows of each task: ours, then peers, then published figures."""
    order = {"ours": 0, "peer": 1, "published": 2}
    out: dict[str, list[Row]] = {}
    for row in rows:
        out.setdefault(row.task, []).append(row)
    return {task: sorted(entries, key=lambda r: order[r.kind]) for task, entries in out.items()}


def _best(rows: Sequence[Row]) -> Row | None:
    run = [r for r in rows if r.kind != "published" and r.metric in r.scores]
    return min(run, key=lambda r: r.scores[r.metric], default=None)


def _figure(value: float | None, text: str) -> str:
    return "" if value is None or math.isnan(value) else text.format(value)


def _swing(row: Row) -> str:
    if not {"min", "max"} <= set(row.swing):
        return ""
    return f"{row.swing['min']:.3f}–{row.swing['max']:.3f}"


def _versus(row: Row) -> str:
    if SEASONAL_NAIVE not in row.versus:
        return ""
    value, low, high = row.versus[SEASONAL_NAIVE]
    return f"{value:+.3g} [{low:+.3g}, {high:+.3g}]"
