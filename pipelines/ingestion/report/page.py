"""The report as one HTML page that stands alone."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forecasting.errors import listed

if TYPE_CHECKING:
    from pipelines.ingestion.report.report import Report

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5d6b7e; --line: #d8dee7; --page: #fff;
  --card: #f6f8fb; --series: #2b6cb0; --gap: #e8b04b; --mark: #c53030; --ok: #2f855a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #9aa7b8; --line: #364152;
  --page: #12161d; --card: #1b212b; --series: #7ab3ef; --gap: #8a6a24; --mark: #ff7b72;
  --ok: #6cc495; } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 68rem; margin: 2rem auto; padding: 0 1.2rem }
h1 { font-size: 1.5rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem }
p { margin: .3rem 0 } .soft { color: var(--soft) }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .7rem;
  margin: 1.2rem 0 }
.counts div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem }
.counts b { display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums }
.scroll { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-size: .92em }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td { overflow-wrap: anywhere } th { color: var(--soft); font-weight: 600 }
td.removed, td.changed, td.inserted, td.flagged { white-space: nowrap }
.removed, .changed { color: var(--mark) } .inserted { color: var(--gap) }
figure { margin: 1rem 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; padding: .7rem .9rem }
figcaption { margin-bottom: .3rem } svg { width: 100%; height: auto; display: block }
svg text { fill: var(--soft); font: 11px system-ui, sans-serif }
.legend i { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem;
  margin: 0 .3rem 0 .9rem; vertical-align: -1px }
details { margin: .2rem 0 } summary { cursor: pointer }
"""
_SHOWN = 50


def write_html(report: Report, path: str | Path) -> None:
    """The report for people: one page, nothing beside it."""
    Path(path).write_text(page(report), encoding="utf-8")


def page(report: Report) -> str:
    """The whole page; every text of the user's data is escaped."""
    values = report.values
    title = f"Ingestion of {values['source']}"
    body = [
        f"<h1>{_text(title)}</h1>",
        f"<p class=soft>{_text(values['summary'])}</p>",
        _counts(values),
        "<h2>Rows in, rows out</h2>",
        _accounting(values),
        "<h2>What was found</h2>",
        _findings(values),
        _series(values),
        _drawings(report),
        "<h2>How the table was read</h2>",
        _facts(values),
        _positions(values),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body></html>\n"
    )


def _text(value: Any) -> str:
    return escape(str(value))


def _counts(values: dict[str, Any]) -> str:
    rows, series = values["rows"], values["series"]
    cards = [
        ("rows read", rows["in"]),
        ("rows of the panel", rows["out"]),
        ("series", series["out"]),
        ("observed values", values["values"]["observed"]),
        ("missing values", values["values"]["missing"]),
    ]
    boxes = [f"<div><b>{number:,}</b>{name}</div>" for name, number in cards]
    boxes.append(f"<div><b>{_text(values['freq'])}</b>frequency</div>")
    return f"<div class=counts>{''.join(boxes)}</div>"


def _accounting(values: dict[str, Any]) -> str:
    from pipelines.ingestion.report.words import WORDS

    rows = values["rows"]
    lines = [("rows read", "", rows["in"])]
    lines += [(WORDS.get(c, c), "−", n) for c, n in rows["removed"].items()]
    lines += [
        (WORDS.get(c, c) + ", inserted as missing", "+", n) for c, n in rows["inserted"].items()
    ]
    lines.append(("rows of the panel", "=", rows["out"]))
    body = "".join(
        f"<tr><td>{_text(name)}<td class=n>{sign} {number:,}" for name, sign, number in lines
    )
    left_out = ", ".join(f"{n:,} {_text(w)}s" for w, n in rows["lines_left_out"].items() if n)
    extra = f"<p class=soft>Before that, lines left out: {left_out}.</p>" if left_out else ""
    if not rows["balanced"]:
        extra += "<p class=removed>The rows do not add up. This is a fault of Gatecast.</p>"
    return f"<table><tbody>{body}</tbody></table>{extra}"


def _findings(values: dict[str, Any]) -> str:
    if not values["findings"]:
        return "<p>Nothing: the table was clean.</p>"
    from pipelines.ingestion.report.words import WORDS

    rows = []
    for f in values["findings"]:
        columns = ", ".join(f["columns"]) or "row"
        rows.append(
            f"<tr><td>{_text(WORDS.get(f['code'], f['code']))}<br><span class=soft>"
            f"{_text(f['code'])}</span><td class={f['action']}>{f['action']}"
            f"<td class=n>{f['count']:,}<td class=n>{f['series']:,}<td>{_text(columns)}"
            f"<td>{_text(f['detail'])}"
        )
    head = "<tr><th>what<th>done<th class=n>places<th class=n>series<th>column<th>how"
    table = f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"
    return f"<div class=scroll>{table}</div>"


def _series(values: dict[str, Any]) -> str:
    series = values["series"]
    parts = []
    for code, words in (
        ("no_values", "without any value; kept, but nothing can be forecast from them"),
        ("too_short", "too short to train on; kept for prediction"),
        ("constant", "constant"),
    ):
        group = series[code]
        if group["count"]:
            names = ", ".join(_text(i) for i in group["ids"][:_SHOWN])
            more = f" and {group['count'] - _SHOWN:,} more" if group["count"] > _SHOWN else ""
            parts.append(f"<p><b>{group['count']:,}</b> {words}: {names}{more}</p>")
    if values["totals"] and series["out"] > 1:
        names = ", ".join(_text(i) for i in values["totals"])
        parts.append(
            f"<p>By their names, sums of the others; ids.drop leaves them out: {names}</p>"
        )
    if series["vanished"]:
        names = ", ".join(_text(i) for i in series["vanished"][:_SHOWN])
        parts.append(f"<p>Nothing is left of: {names}</p>")
    return "<h2>Series to know about</h2>" + "".join(parts) if parts else ""


def _drawings(report: Report) -> str:
    if not report.figures:
        return ""
    worst = {w["unique_id"]: w for w in report.values["worst"]}
    legend = (
        "<p class='soft legend'><i style='background:var(--series)'></i>values"
        "<i style='background:var(--gap);opacity:.45'></i>missing in the panel"
        "<i style='background:var(--mark)'></i>mended or flagged: the value as it was</p>"
    )
    out = []
    for name, svg in report.figures:
        about = worst.get(name, {})
        findings = ", ".join(f"{n:,} {_text(c)}" for c, n in about.get("findings", {}).items())
        out.append(
            f"<figure><figcaption><b>{_text(name)}</b> <span class=soft>{about.get('rows', 0):,} "
            f"rows; {findings}</span></figcaption>{svg}</figure>"
        )
    return "<h2>The worst series</h2>" + legend + "".join(out)


def _facts(values: dict[str, Any]) -> str:
    facts = {**values["facts"]}
    rows = [("mapping", {k: v for k, v in values["mapping"].items() if v})]
    rows += [("frequency", values["frequency"]["evidence"]), *facts.items()]
    body = "".join(f"<tr><td>{_text(k)}<td>{_shown(v)}" for k, v in rows)
    out = f"<table><tbody>{body}</tbody></table>"
    others = values["frequency"].get("series") or []
    if others:
        lines = "".join(
            f"<tr><td>{_text(o['unique_id'])}<td>{_text(o['step'])}<td class=n>"
            f"{100 * o['share_of_steps']:.1f} %"
            for o in others[:_SHOWN]
        )
        more = f" ({_SHOWN} of {len(others):,})" if len(others) > _SHOWN else ""
        out += (
            f"<details><summary>Series that do not keep the step throughout{more}</summary>"
            "<table><thead><tr><th>series<th>its step<th class=n>share of its steps</thead>"
            f"<tbody>{lines}</tbody></table></details>"
        )
    return out


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{_text(k)}: {_shown(v)}" for k, v in value.items())
    if isinstance(value, list):
        return listed([_text(v) for v in value], 20)
    return _text(value)


def _positions(values: dict[str, Any]) -> str:
    from pipelines.ingestion.report.words import WORDS

    out = []
    for f in values["findings"]:
        lines = "".join(
            f"<tr><td>{_text(p.get('unique_id', ''))}<td>{_text(p.get('ds', ''))}"
            f"<td class=n>{p.get('row', '')}<td>{_text(p.get('column', ''))}"
            f"<td>{_text(p.get('before', ''))}<td>{_text(p.get('after', ''))}"
            for p in f["positions"][:_SHOWN]
        )
        more = f", the first {_SHOWN}" if f["count"] > _SHOWN else ""
        out.append(
            f"<details><summary>{_text(WORDS.get(f['code'], f['code']))}: {f['count']:,}{more}"
            "</summary><div class=scroll><table><thead><tr><th>series<th>ds<th class=n>row"
            f"<th>column<th>before<th>after</thead><tbody>{lines}</tbody></table></div></details>"
        )
    return "<h2>Where</h2>" + "".join(out) if out else ""
