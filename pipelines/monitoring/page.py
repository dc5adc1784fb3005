"""The page of a check: one HTML file that stands alone, charts as SVG inside it."""

from __future__ import annotations

import datetime
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forecasting.plotting import ACCENT, ACTUAL, GRID, INK, QUIET, STYLE
from pipelines.machine.files import write_text
from pipelines.monitoring.drift import TESTS
from pipelines.monitoring.finding import QUESTIONS, Verdict

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pipelines.monitoring.finding import Finding
    from pipelines.monitoring.watch import Evidence, Watch

COLOURS = {
    Verdict.FINE: "#2f855a",
    Verdict.LOOK: "#b7791f",
    Verdict.RETRAIN: "#c53030",
    Verdict.UNTESTED: "#5d6b7e",
}
SERIES_DRAWN = 6
ROWS_DRAWN = 6  # blocks of history in the chart of a series
SERIES_LISTED = 50
BLOCKS_DRAWN = 24
_STYLE = """
:root { --ink: #1c2430; --soft: #5d6b7e; --line: #d8dee7; --card: #f6f8fb }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: #fff; max-width: 68rem;
  margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p { margin: .3rem 0 } .soft { color: var(--soft) }
.verdict { border-left: .5rem solid; padding: .8rem 1.2rem; margin: 1.2rem 0;
  background: var(--card) }
.verdict b { font-size: 1.35rem } .verdict ul { margin: .3rem 0; padding-left: 1.2rem }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .7rem }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem }
.cards b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; font-size: .92em }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
th { color: var(--soft); font-weight: 600 } td { overflow-wrap: anywhere }
.alarm { color: #c53030; font-weight: 600 } .scroll { overflow-x: auto }
figure { margin: 1rem 0 } svg { width: 100%; height: auto; display: block }
"""


def write_page(watch: Watch, evidence: Evidence, path: Path) -> Path:
    """Write the page of a check, whole or not at all."""
    return write_text(page(watch, evidence), path)


def page(watch: Watch, evidence: Evidence) -> str:
    """The HTML of a check; every text of the user's data is escaped."""
    now = datetime.datetime.now().astimezone()
    version = f", champion version {watch.version}" if watch.version else ""
    title = f"{watch.model}: {watch.verdict}"
    reasons = "".join(f"<li>{escape(r)}" for r in watch.reasons)
    parts = [
        f"<h1>{escape(watch.model)}</h1>",
        f"<p class=soft>Checked {now:%Y-%m-%d %H:%M %Z}{version}; {watch.total:,} series.</p>",
        f'<div class=verdict style="border-color:{COLOURS[watch.verdict]}">'
        f"<b>{escape(watch.verdict)}</b>{f'<ul>{reasons}</ul>' if reasons else ''}</div>",
        _cards(watch, evidence),
        "".join(f"<p class=soft>{escape(note)}.</p>" for note in watch.notes),
        "<h2>Tests</h2>",
        f"<p>The newest block against the earlier ones (accuracy: blocks of {watch.recent} steps, "
        f"data: {watch.block}). When nothing has changed, the chance of any alarm in one check "
        f"is at most {100 * watch.false_alarms:g} %.</p>",
        _tests(watch),
        _control_charts(watch),
        *_accuracy(watch, evidence),
        *_series(watch, evidence),
        "<h2>What became of the forecasts</h2>",
        _table(
            ["rows", "what"],
            [[f"{n:,}", escape(what)] for what, n in watch.counts.items()],
            numbers={0},
        ),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + "\n</body></html>\n"
    )


def _cards(watch: Watch, evidence: Evidence) -> str:
    s = watch.scores
    cards = [(f"{watch.counts['judged']:,}", "forecasts that came true")]
    nominal = evidence.joined.nominal
    for prefix, when in (("", "all"), ("newest_", "newest block")):
        if not s:
            break
        cards.append((f"{s[f'{prefix}mase']:.3f}", f"MASE, {when}"))
        if np.isfinite(s[f"{prefix}coverage"]):
            share = f"{100 * s[f'{prefix}coverage']:.1f} %"
            cards.append((share, f"in the {100 * nominal:.3g} % interval, {when}"))
    boxes = "".join(f"<div><b>{value}</b>{escape(name)}</div>" for value, name in cards)
    return f"<div class=cards>{boxes}</div>"


def _tests(watch: Watch) -> str:
    rows = []
    for f in watch.findings:
        if not f.possible:
            state, expected, p = "too little history", "", ""
        else:
            state = "<span class=alarm>alarm</span>" if f.alarm else "no alarm"
            low = f"{f.low:+.3f} to " if np.isfinite(f.low) else "up to "
            expected, p = f"{low}{f.high:+.3f}", f"{f.p:.2g}"
        value = f"{f.value:+.3f}" if np.isfinite(f.value) else ""
        rows.append([escape(f.name), value, expected, p, f"{f.allowed:.2g}", str(f.blocks), state])
    state = "no alarm"
    if watch.series:
        state = "<span class=alarm>alarm</span>"
    elif not any(f.possible for f in watch.findings):
        state = "too little history"
    number, allowed = str(len({f.id for f in watch.series})), f"{watch.false_alarms / TESTS:.2g}"
    rows.append(["single series", number, "0", "", allowed, "", state])
    head = ["test", "newest", "expected", "p", "alarm below", "earlier blocks", ""]
    return _table(head, rows, numbers={1, 2, 3, 4, 5})


def _accuracy(watch: Watch, evidence: Evidence) -> list[str]:
    if evidence.by_step.empty:
        return []
    return [
        "<h2>Error, bias and coverage over time</h2>",
        _figure(_over_time(watch, evidence)),
        "<h2>By horizon</h2>",
        _figure(_by_horizon(watch, evidence)),
    ]


def _series(watch: Watch, evidence: Evidence) -> list[str]:
    parts = []
    if watch.series:
        rows = [
            [escape(f.id), f.kind, f"{f.change:+.2f}", f"{f.score:+.1f}", f"{f.p:.1g}"]
            for f in watch.series[:SERIES_LISTED]
        ]
        more = len(watch.series) - SERIES_LISTED
        parts += [
            "<h2>Series that changed</h2>",
            _figure(_drawn_series(watch, evidence)),
            _table(["series", "what", "change", "score", "p"], rows, numbers={2, 3, 4}),
            f"<p class=soft>and {more:,} more</p>" if more > 0 else "",
        ]
    if watch.silent:
        names = ", ".join(escape(i) for i in watch.silent[:SERIES_LISTED])
        more = len(watch.silent) - SERIES_LISTED
        parts += ["<h2>Series without new values</h2>", f"<p>{names}"]
        parts.append(f" and {more:,} more</p>" if more > 0 else "</p>")
    return parts


def _table(head: list[str], rows: list[list[str]], *, numbers: set[int]) -> str:
    """Cells are HTML already."""

    def cells(tag: str, values: list[str]) -> str:
        kinds = [" class=n" if k in numbers else "" for k in range(len(values))]
        return "".join(f"<{tag}{kind}>{v}" for kind, v in zip(kinds, values, strict=True))

    body = "".join(f"<tr>{cells('td', row)}" for row in rows)
    return f"<div class=scroll><table><thead><tr>{cells('th', head)}<tbody>{body}</table></div>"


# -- charts --------------------------------------------------------------------------------


def _figure(figure: Figure) -> str:
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gatecast"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def _axes(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.0, height * rows), layout="constrained")
        return figure, figure.subplots(rows, columns, squeeze=False)


def _control_charts(watch: Watch) -> str:
    """Blocks of each test that could be made, oldest to newest; where the newest should lie."""
    tests = [finding for finding in watch.findings if finding.possible]
    if not tests:
        return ""
    columns = min(len(tests), 3)
    figure, axes = _axes(-(-len(tests) // columns), columns, 2.5)
    for ax, finding in zip(axes.flat, tests, strict=False):
        _control(ax, finding)
    for ax in list(axes.flat)[len(tests) :]:
        ax.set_axis_off()
    return _figure(figure)


def _control(ax: Axes, finding: Finding) -> None:
    values = finding.values[:BLOCKS_DRAWN]
    x = -np.arange(len(values))
    if np.isfinite(finding.high):
        bottom = finding.low if np.isfinite(finding.low) else None
        if bottom is not None:
            ax.axhspan(bottom, finding.high, color=ACCENT, alpha=0.1, linewidth=0)
        else:
            ax.axhline(finding.high, color=ACCENT, alpha=0.5, linewidth=1, linestyle="--")
    ax.plot(x[1:], values[1:], color=QUIET, linewidth=1, marker="o", markersize=3)
    ax.plot(x[:1], values[:1], color=ACTUAL if finding.alarm else ACCENT, marker="o", markersize=7)
    ax.set_title(finding.name)
    ax.set_xlabel("block, 0 the newest")
    ax.set_ylabel(QUESTIONS[finding.key].axis, fontsize=7)


def _over_time(watch: Watch, evidence: Evidence) -> Figure:
    table = evidence.by_time.tail(400)
    figure, axes = _axes(1, 3, 2.6)
    x = table["ds"].to_numpy()
    newest = table["time"].to_numpy() > table["time"].max() - watch.recent
    for ax, name, title in zip(
        axes.flat, ("mase", "bias", "coverage"), ("MASE", "bias, scaled", "coverage"), strict=True
    ):
        ax.plot(x, table[name], color=INK, linewidth=1)
        ax.plot(x[newest], table[name][newest], color=ACTUAL, linewidth=1.6, label="newest block")
        if name == "coverage" and np.isfinite(evidence.joined.nominal):
            ax.axhline(evidence.joined.nominal, color=ACCENT, linestyle="--", linewidth=1)
            ax.set_ylim(-0.03, 1.03)
        if name == "bias":
            ax.axhline(0, color=GRID, linewidth=1)
        ax.set_title(title)
        ax.tick_params(axis="x", labelrotation=30)
    axes[0, 0].legend(fontsize=7)
    return figure


def _by_horizon(watch: Watch, evidence: Evidence) -> Figure:
    """The newest block beside all earlier ones, by horizon step."""
    rows = evidence.joined.rows
    new = rows["time"] > rows["time"].max() - watch.recent
    figure, axes = _axes(1, 3, 2.6)
    parts = ((rows[~new], QUIET, "earlier"), (rows[new], ACTUAL, "newest block"))
    for part, colour, label in parts:
        if part.empty:
            continue
        means = part.groupby("step")[["scaled", "signed", "inside"]].mean()
        for ax, name in zip(axes.flat, means.columns, strict=True):
            ax.plot(means.index, means[name], color=colour, marker="o", markersize=3, label=label)
    for ax, title in zip(axes.flat, ("MASE", "bias, scaled", "coverage"), strict=True):
        ax.set_title(title)
        ax.set_xlabel("horizon step")
    if np.isfinite(evidence.joined.nominal):
        axes[0, 2].axhline(evidence.joined.nominal, color=ACCENT, linestyle="--", linewidth=1)
    axes[0, 0].legend(fontsize=7)
    return figure


def _drawn_series(watch: Watch, evidence: Evidence) -> Figure:
    """The last blocks of the most striking series, with the forecasts made for them."""
    names = list(dict.fromkeys(f.id for f in watch.series))[:SERIES_DRAWN]
    place = {str(name): k for k, name in enumerate(evidence.panel.ids)}
    columns = min(3, len(names))
    figure, axes = _axes(-(-len(names) // columns), columns, 2.4)
    rows = evidence.joined.rows
    for ax, name in zip(axes.flat, names, strict=False):
        one = evidence.panel.select(np.array([place[name]])).tail(ROWS_DRAWN * watch.block)
        ds = one.freq.stamps(one.start, 0, one.rows)[0]
        ax.plot(ds, one.y, color=INK, linewidth=1)
        first = max(one.rows - watch.block, 0)
        ax.axvspan(ds[first], ds[-1], color=ACTUAL, alpha=0.08, linewidth=0)
        _latest_forecasts(ax, rows[(rows["unique_id"] == name) & (rows["ds"] >= ds[0])])
        ax.set_title(name[:40])
        ax.tick_params(axis="x", labelrotation=30)
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    return figure


def _latest_forecasts(ax: Axes, rows: pd.DataFrame) -> None:
    if rows.empty:
        return
    latest = rows.sort_values(["ds", "step"]).drop_duplicates("ds")
    ds = latest["ds"].to_numpy()
    ax.fill_between(
        ds,
        latest["low"].to_numpy(),
        latest["high"].to_numpy(),
        color=ACCENT,
        alpha=0.2,
        linewidth=0,
    )
    ax.plot(ds, latest["median"], color=ACCENT, linewidth=1.3)
