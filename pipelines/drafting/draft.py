"""A config written from what was seen in a table: short, commented, and ready to train."""

from __future__ import annotations

from typing import Any

from pipelines.config import build_config
from pipelines.config.file import merge
from pipelines.drafting.look import ORIGINS, Look
from pipelines.ingestion.read.proposal import flow

COLUMN = 32  # where comments begin


def draft(
    look: Look, *, name: str, file: str, more: dict[str, Any] | None = None
) -> tuple[str, dict[str, Any]]:
    """The text of a config, and its values, which have been checked.

    Parameters
    ----------
    file : what the config will be called, for the command in its first lines.
    more : settings outside ``data`` that the user gave, such as ``model.cell``.
    """
    facts = look.facts()
    lines = [
        f"# {_seen(facts)}",
        f"# Written by gatecast init; train it with: gatecast train {file}",
    ]
    lines += ["", _commented(f"name: {flow(name)}", "the experiment and the registered model")]
    lines += ["", "data:", f"  source: {flow(look.source)}"]
    lines += _roles(look)
    lines += _covariates(look)
    lines += ["", _commented(f"horizon: {look.horizon}", "steps to forecast")]
    lines += [_season(facts)]
    sections = dict(more or {})
    if look.counts and "model" not in sections:
        head = "# model: {head: negative_binomial}"
        lines += [
            "",
            _commented(head, "counts, many of them 0: this may suit them"),
        ]
    if look.origins != ORIGINS:
        own = {"windows": look.origins, **sections.pop("backtest", {})}
        lines += ["", _commented(f"backtest: {flow(own)}", "the history allows no more cutoffs")]
    lines += [line for key, value in sections.items() for line in ("", f"{key}: {flow(value)}")]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text, _checked(text, file)


def _seen(facts: dict[str, Any]) -> str:
    series = f"{facts['series']:,} series" if facts["series"] != 1 else "one series"
    lengths = f"{facts['shortest']:,} to {facts['longest']:,} rows each"
    if facts["shortest"] == facts["longest"]:
        lengths = f"{facts['longest']:,} rows" + (" each" if facts["series"] != 1 else "")
    holes = f", {facts['missing']:,} values missing" if facts["missing"] else ""
    return f"{series}, {lengths}, freq {facts['frequency']}{holes}"


def _roles(look: Look) -> list[str]:
    comments = {
        "id": "what tells the series apart",
        "series": "a name for the only series",
        "ds": "when",
        "y": "what is forecast",
        "layout": "a row per value, or a column, row or year per series",
    }
    roles = {k: v for k, v in look.roles.items() if k not in ("source", "covariates", "freq")}
    lines = [_commented(f"  {key}: {flow(v)}", comments.get(key, "")) for key, v in roles.items()]
    alias = look.result.clean.freq.alias
    origin = "as given" if "freq" in look.roles else "found in the stamps"
    lines.append(_commented(f"  freq: {flow(alias)}", origin))
    if "ahead" in look.result.clean.facts and not look.ahead and "blanks" not in look.roles:
        lines.append(_commented("  blanks: trim", "rows after the last value hold nothing to use"))
    return lines


def _covariates(look: Look) -> list[str]:
    covariates = look.roles.get("covariates")
    if covariates:
        return [f"  covariates: {flow(covariates)}"]
    sure = [c for c in look.candidates if c.role == "future"]
    maybe = [c for c in look.candidates if c.role in ("past", "static")]
    lines = ["  covariates:"] if sure else []
    lines += [_commented(f"    - {flow(c.setting())}", c.why) for c in sure]
    if maybe:
        lines.append(
            "  # Other columns, left out; take the mark off those that tell of y. Of one that"
        )
        lines.append(
            "  # is known ahead say role: future, and bring it with forecast --future TABLE:"
        )
        if not sure:
            lines.append("  # covariates:")
        lines += [_commented(f"  #   - {flow(c.setting())}", c.why) for c in maybe]
    useless = [c.name for c in look.candidates if c.role is None]
    if useless:
        lines.append(f"  # Of no use as they are: {', '.join(useless)}")
    return lines


def _season(facts: dict[str, Any]) -> str:
    stamps, values = facts["season"]["stamps"], facts["season"]["values"]
    by_stamps = f"stamps say {' and '.join(map(str, stamps))}" if stamps else "stamps say none"
    by_values = f"values show {' and '.join(map(str, values))}" if values else "values show none"
    period = (stamps or values or [1])[0]
    return _commented(f"# season: {period}", f"left out, it is chosen: {by_stamps}, {by_values}")


def _commented(text: str, comment: str) -> str:
    return f"{text:<{COLUMN}} # {comment}" if comment else text


def _checked(text: str, file: str) -> dict[str, Any]:
    import yaml

    values: dict[str, Any] = merge({}, yaml.safe_load(text))
    build_config(values, origin=file)
    return values
